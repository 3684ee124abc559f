"""Does training by hand stay with training by jax.grad, step for step, or do they drift apart?

The same network is trained twice on scikit-learn's digits: on its hand-derived gradient, and on
jax.grad of the same network written plainly; from the same weights, on the same mini-batches, with
the same optimiser. Both run in one compiled loop. The largest difference of any weight is recorded
after every step, in float64 and in float32.

    python experiments/lockstep.py        1,000 steps: five runs, in both precisions

Look at the left panels: in float64 the difference must stay below 1e-12 (the script fails if it
does not), and in float32 the two loss curves must be one.
A difference is also given in ULPs of the largest weight of its array: the spacing of floating-point
numbers there. A weight's own ULP would not do: it shrinks to nothing for a weight near zero, whose
rounding errors come from sums of the size of its neighbours.
The weights by hand are compared to those of `manualbp.train` too: equal to the last bit.
"""

import sys

import jax
import jax.numpy as jnp
import numpy as np
import optax
from common import at_least, keep, options, plt, show
from rich.progress import track
from sklearn.datasets import load_digits

import manualbp as bp
from manualbp.training import batches

WIDTHS = (64, 32, 16, 10)
BATCH = 32
LIMIT = 1e-12
# each activation, and what a JAX user writes for it
ACTIVATIONS = {
    "tanh": (bp.tanh, jnp.tanh),
    "sigmoid": (bp.sigmoid, jax.nn.sigmoid),
    "relu": (bp.relu, jax.nn.relu),
    "silu": (bp.silu, jax.nn.silu),
}
RUNS = (*((name, "sgd") for name in ACTIVATIONS), ("tanh", "adam"))


def plain_loss(activation):
    """The network and its loss as one would write them without this library."""

    def loss(params, x, labels):
        *hidden, last = params[::2]  # between them stand the activations' entries, ()
        for w, b in hidden:
            x = activation(x @ w + b)
        log_p = jax.nn.log_softmax(x @ last[0] + last[1])
        return -jnp.mean(jnp.take_along_axis(log_p, labels[:, None], axis=1))

    return loss


def optimizers(name):
    """For the training by hand, and for the other: the same rule, of this library and of Optax."""
    if name == "adam":
        return optax.adam(0.003), optax.adam(0.003)
    return bp.gradient_descent(0.1), optax.sgd(0.1)


def both(network, loss, by_hand, by_grad, params, x, y, rows):
    """Both trainings in one loop over rows of indices: weights, and what is seen at every step."""

    def step(carry, indices):
        (hand, own), (auto, other) = carry
        inputs, labels = x[indices], y[indices]
        hand_loss, gradient = network.loss_and_grad(hand, inputs, labels, check=False)
        change, own = by_hand.update(gradient, own, hand)
        hand = optax.apply_updates(hand, change)
        auto_loss, gradient = jax.value_and_grad(loss)(auto, inputs, labels)
        change, other = by_grad.update(gradient, other, auto)
        auto = optax.apply_updates(auto, change)
        pairs = list(zip(jax.tree.leaves(hand), jax.tree.leaves(auto), strict=True))
        far = jnp.stack([jnp.max(jnp.abs(h - a)) for h, a in pairs])
        largest = jnp.stack([jnp.max(jnp.abs(a)) for _, a in pairs])
        return ((hand, own), (auto, other)), (hand_loss, auto_loss, far, largest)

    start = (params, by_hand.init(params)), (params, by_grad.init(params))
    (hand, auto), seen = jax.lax.scan(step, start, rows)
    return hand[0], auto[0], seen


def lockstep(activation, optimizer, dtype, steps, seed):
    """One run: differences and losses at every step, as a dictionary of NumPy arrays."""
    with jax.enable_x64(dtype == "float64"):
        x, y = load_digits(return_X_y=True)
        whole = len(x) // BATCH * BATCH  # no smaller last batch, which jax.grad would compile anew
        x, y = jnp.asarray(x[:whole] / 16, dtype), jnp.asarray(y[:whole], "int32")
        rule, function = ACTIVATIONS[activation]
        network = bp.mlp(WIDTHS, activation=rule)
        params = network.init(jax.random.key(seed), x.dtype)
        by_hand, by_grad = optimizers(optimizer)
        # `train` first: its state has the key from which the order of examples follows
        trained = bp.train(
            network, (x, y), by_hand, steps=steps, batch_size=BATCH,
            key=jax.random.key(seed), params=params,
        )  # fmt: skip
        epochs = range(-(-steps // (whole // BATCH)))
        rows = [batches(trained.state.key, epoch, whole, BATCH)[0] for epoch in epochs]
        loop = jax.jit(lambda *args: both(network, plain_loss(function), by_hand, by_grad, *args))
        hand, _, seen = loop(params, x, y, jnp.concatenate(rows)[:steps])
        pairs = zip(jax.tree.leaves(hand), jax.tree.leaves(trained.params), strict=True)
        hand_loss, auto_loss, far, largest = map(np.asarray, seen)
        return {
            "difference": far.max(axis=1),
            "ulps": (far / np.spacing(largest)).max(axis=1),
            "loss by hand": hand_loss,
            "loss by jax.grad": auto_loss,
            "relative loss": np.abs(hand_loss - auto_loss) / np.abs(auto_loss),
            "as train": all(np.array_equal(h, t) for h, t in pairs),
        }


def so_far(values):
    """The largest until each step; no difference at all has no place on a logarithmic axis."""
    largest = np.maximum.accumulate(values)
    return np.where(largest > 0, largest, np.nan)


def picture(found, steps):
    """Differences of weights above, losses below."""
    figure, ((absolute, ulps), (loss, relative)) = plt.subplots(2, 2, figsize=(12, 8))
    at, window = 1 + np.arange(steps), min(50, steps)
    smooth = np.ones(window) / window
    for (activation, optimizer, dtype), run in found.items():
        color = f"C{RUNS.index((activation, optimizer))}"
        style = {"color": color, "linestyle": "-" if dtype == "float64" else ":"}
        absolute.loglog(at, so_far(run["difference"]), **style)
        ulps.loglog(at, so_far(run["ulps"]), **style)
        if dtype == "float32":
            relative.semilogy(at, so_far(run["relative loss"]), **style)
            curves = [
                np.convolve(run[f"loss by {way}"], smooth, "valid") for way in ("jax.grad", "hand")
            ]
            loss.semilogy(at[window - 1 :], curves[0], color=color, linewidth=4, alpha=0.4)
            loss.semilogy(at[window - 1 :], curves[1], color="black", linewidth=0.8)
    absolute.axhline(LIMIT, color="black", linestyle="--", linewidth=1)
    absolute.text(1.1, LIMIT * 1.4, "limit for float64: 1e-12", fontsize=9)
    absolute.set(
        title="Largest difference of any weight, so far",
        xlabel="step",
        ylabel="|by hand - by jax.grad|",
    )
    ulps.set(title="The same, in ULPs of its array's largest weight", xlabel="step", ylabel="ULPs")
    loss.set(
        title="Loss, float32: by jax.grad (wide, coloured) and by hand (thin, black)",
        xlabel="step", ylabel=f"cross-entropy (nats), mean of {window} batches",
    )  # fmt: skip
    relative.set(
        title="Largest relative difference of the float32 losses, so far",
        xlabel="step",
        ylabel="|difference| / loss",
    )
    ulps.yaxis.set_major_formatter("{x:g}")
    ulps.yaxis.set_minor_formatter("{x:g}")
    lines = [plt.Line2D([], [], color=f"C{i}") for i in range(len(RUNS))]
    lines += [plt.Line2D([], [], color="gray", linestyle=s) for s in ("-", ":")]
    names = [f"{a}, {o}" for a, o in RUNS] + ["float64", "float32"]
    figure.legend(lines, names, loc="outside lower center", ncols=len(names))
    return figure


def main():
    parser = options(__doc__, steps=1000)
    args = parser.parse_args()
    at_least(parser, args, steps=1)

    found, rows = {}, []
    jobs = [(*run, dtype) for run in RUNS for dtype in ("float64", "float32")]
    for activation, optimizer, dtype in track(jobs, "training twice"):
        run = lockstep(activation, optimizer, dtype, args.steps, args.seed)
        found[activation, optimizer, dtype] = run
        row = (
            f"{activation}, {optimizer}", dtype, float(run["difference"].max()),
            float(run["ulps"].max()), float(run["relative loss"].max()),
            float(run["loss by hand"][-1]), "yes" if run["as train"] else "no",
        )  # fmt: skip
        rows.append(row)
    columns = ("network", "dtype", "weights", "in ULPs", "losses", "last loss", "as train")
    show(
        f"Largest differences by hand and by jax.grad in {args.steps} steps: weights absolute, "
        "losses relative;\nas train: the weights of manualbp.train have the same bits",
        columns,
        rows,
    )
    keep(
        args.out,
        "lockstep",
        picture(found, args.steps),
        {
            "steps": args.steps,
            "widths": WIDTHS,
            "largest differences": [dict(zip(columns, row, strict=True)) for row in rows],
        },
    )
    worst = max(run["difference"].max() for key, run in found.items() if key[2] == "float64")
    if not worst < LIMIT:
        sys.exit(f"lockstep: float64 weights differ by {worst:.3g}, expected less than {LIMIT}")
    if not all(run["as train"] for run in found.values()):
        sys.exit("lockstep: the weights of manualbp.train differ from those of the loop")


if __name__ == "__main__":
    main()
