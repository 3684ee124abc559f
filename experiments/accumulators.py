"""When are weights updated: after each example, after B of them, or at the end of the data?

The algorithm of note 000, 'Training Algorithm', to the letter: example by example, forward, back,
add the gradient to accumulators, and periodically update the weights and reset. The note adds
gradients up; elsewhere it divides by their number. Both, with three periods, on scikit-learn's
breast-cancer table and a network with a hidden layer of tanh units.

    python experiments/accumulators.py
    python experiments/accumulators.py --period 8 --hidden 32

Look at: with the mean, rarer updates get less far in an epoch; with the sum, the period hardly
matters until its one large step at the end of the data leaves the slope. Accumulated gradients are
those of the whole batch to the last digits, but example by example takes longer. Accumulated
deltas, of which the note also speaks, do not give the gradient of the weights. (Times, alone of
all numbers, differ from run to run.)
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
from common import at_least, keep, options, plt, show
from sklearn.datasets import load_breast_cancer
from tables import standardised_split

import manualbp as bp

ETA = 0.3  # with the mean of gradients
LAMBDA = 0.01  # with their sum


def network_of(inputs, hidden):
    return bp.mlp((inputs, hidden, 1), activation=bp.tanh, loss=bp.sigmoid_binary_cross_entropy)


@functools.partial(jax.jit, static_argnames=("network",))
def accumulated(network, params, x, y):
    """The sum of the examples' gradients, one after the other."""

    def one(sums, example):
        x, y = example
        _, gradient = network.loss_and_grad(params, x[None], y[None], reduction="sum", check=False)
        return jax.tree.map(jnp.add, sums, gradient), None

    return jax.lax.scan(one, jax.tree.map(jnp.zeros_like, params), (x, y))[0]


def at_once(network, params, x, y):
    """The same sum, of the whole batch in one matrix product a layer."""
    return network.loss_and_grad(params, x, y, reduction="sum")[1]


def difference(a, b):
    """The largest difference of two gradients, relative to the largest entry of each array."""
    pairs = zip(*(map(np.asarray, jax.tree.leaves(g)) for g in (a, b)), strict=True)
    return max(float(np.max(np.abs(p - q)) / np.max(np.abs(q))) for p, q in pairs)


def inputs_and_deltas(params, x, y):
    """Of both layers: what comes in, and the delta = dL/dz, a row an example."""
    hidden, _, output, _ = params
    z, _ = bp.dense.fwd(hidden, x)
    a, saved_tanh = bp.tanh.fwd(z)
    score, saved_output = bp.dense.fwd(output, a)
    loss, saved_loss = bp.sigmoid_binary_cross_entropy.fwd(score, y)
    delta_output, _ = bp.sigmoid_binary_cross_entropy.bwd(saved_loss, jnp.ones_like(loss))
    _, da = bp.dense.bwd(saved_output, delta_output)
    (delta_hidden,) = bp.tanh.bwd(saved_tanh, da)
    return (x, a), (delta_hidden, delta_output)


@functools.partial(jax.jit, static_argnames=("size",))
def from_sums(params, x, y, size):
    """Weight gradients rebuilt from sums over groups of so many examples, beside the right ones.

    Returns:
      Relative errors of both layers' weight gradient, means over the groups: of
      outer(sum of a, sum of delta), and of the same divided by the size.
    """
    groups = len(x) // size
    literal, divided, right = [], [], []
    for a, delta in zip(*inputs_and_deltas(params, x, y), strict=True):
        a, delta = (v.reshape(groups, size, -1) for v in (a, delta))
        product = jnp.einsum("gi,gj->gij", a.sum(axis=1), delta.sum(axis=1))
        literal.append(product.reshape(groups, -1))
        divided.append(product.reshape(groups, -1) / size)
        right.append(jnp.einsum("gni,gnj->gij", a, delta).reshape(groups, -1))
    literal, divided, right = (jnp.concatenate(v, axis=1) for v in (literal, divided, right))
    norm = jnp.linalg.norm(right, axis=1)
    wrong = [jnp.mean(jnp.linalg.norm(v - right, axis=1) / norm) for v in (literal, divided)]
    return jnp.stack(wrong)


def agreement(train, hidden, seed):
    """How far accumulated gradients are from those of the whole batch, in float32 and float64."""
    found = {}
    for dtype in ("float32", "float64"):
        with jax.enable_x64(dtype == "float64"):
            x, y = (jnp.asarray(v, dtype) for v in train)
            network = network_of(x.shape[1], hidden)
            params = network.init(jax.random.key(seed), x.dtype)
            apart = difference(accumulated(network, params, x, y), at_once(network, params, x, y))
            found[dtype] = {"difference": apart, "epsilon": float(jnp.finfo(dtype).eps)}
    return found


def race(network, train, held_out, start, epochs, period):
    """Loss of all training examples after each epoch, and seconds, for each way to update."""
    ways = {f"mean, every {n}": (ETA, "mean", 1, n) for n in (1, period, "all")}
    ways |= {f"sum, every {n}": (LAMBDA, "sum", 1, n) for n in (1, period, "all")}
    ways[f"mean, {period} at once"] = (ETA, "mean", period, period)
    runs = {}
    for name, (rate, reduction, size, every) in ways.items():
        result = bp.train(
            network, train, bp.gradient_descent(rate), epochs=epochs, batch_size=size,
            update_every=every, reduction=reduction, held_out=train, params=start, progress=False,
        )  # fmt: skip
        runs[name] = {
            "rate": rate,
            "loss": result.history.held_out["loss"],
            "seconds": result.history.seconds,
            "held-out accuracy": bp.evaluate(network, result.params, held_out)["accuracy"],
        }
    return runs


def picture(runs, sizes, errors, period, examples):
    figure, ((a, b), (c, d)) = plt.subplots(2, 2, figsize=(11, 8.5))
    labels = {1: "each example", period: f"every {period} examples", "all": f"all {examples}"}
    for i, (every, label) in enumerate(labels.items()):
        for axes, how in ((a, "mean"), (b, "sum")):
            loss = runs[f"{how}, every {every}"]["loss"]
            style = ("-", "--", "-")[i]  # two of the sums lie on each other
            axes.loglog(np.arange(1, len(loss) + 1), loss, style, color=f"C{i}", label=label)
        run = runs[f"mean, every {every}"]
        style = ("-", "--", "-")[i]
        c.loglog(1e3 * run["seconds"], run["loss"], style, color=f"C{i}", label=label)
    run = runs[f"mean, {period} at once"]
    label = f"{period} at once, one matrix product"
    c.loglog(1e3 * run["seconds"], run["loss"], "C4", label=label)
    ways = ((a, f"Mean of gradients, eta = {ETA}"), (b, f"Sum of gradients, lambda = {LAMBDA}"))
    for axes, title in ways:
        axes.set(title=title, xlabel="epochs", ylabel="training loss (nats an example)")
    a.legend(title="weights updated after", loc="lower left")
    b.legend(title="weights updated after", loc="lower left")
    c.set(
        title=f"Mean of gradients, eta = {ETA}, against time",
        xlabel="training time (ms, without compilation)",
        ylabel="training loss (nats an example)",
    )
    c.legend(loc="lower left")
    for k, label in enumerate(("sum of a times sum of delta", "the same, divided by their number")):
        d.semilogx(sizes, [e[k] for e in errors], "o-", color=f"C{3 + k}", label=label)
    d.axhline(1, color="black", linestyle="--", label="as wrong as no gradient at all (0)")
    d.set(
        title="Weight gradient rebuilt from accumulated deltas",
        xlabel="examples accumulated",
        ylabel="relative error of the weight gradient",
    )
    d.legend(loc="upper left")
    return figure


def main():
    parser = options(__doc__, epochs=60, period=32, hidden=16)
    args = parser.parse_args()
    at_least(parser, args, seed=0, epochs=1, period=2, hidden=1)
    (x, y), held_out = standardised_split(*load_breast_cancer(return_X_y=True), args.seed)
    if args.period >= len(x):
        parser.error(f"--period: expected less than {len(x)}, got {args.period}")
    whole = len(x) - len(x) % args.period  # each update is then of as many examples
    train, held_out = (
        (x.astype(np.float32), y[:, None].astype(np.float32))
        for x, y in ((x[:whole], y[:whole]), held_out)
    )
    network = network_of(x.shape[1], args.hidden)
    start = network.init(jax.random.key(args.seed))
    agree = agreement(train, args.hidden, args.seed)
    sizes = [n for n in (1, 2, 4, 8, 16, 32, 64, 128, 256) if n < whole] + [whole]
    cut = {n: whole - whole % n for n in sizes}
    errors = [from_sums(start, *(jnp.asarray(v[: cut[n]]) for v in train), n) for n in sizes]
    runs = race(network, train, held_out, start, args.epochs, args.period)

    show(
        f"Breast cancer: {whole} examples, {len(held_out[0])} held out, {args.epochs} epochs",
        ("way", "rate", "training loss", "held-out accuracy", "ms an epoch"),
        [
            (name, run["rate"], float(run["loss"][-1]), run["held-out accuracy"],
             f"{1e3 * run['seconds'][-1] / args.epochs:.2f}")
            for name, run in runs.items()
        ],
    )  # fmt: skip
    show(
        f"Gradients of {whole} examples accumulated one by one, against those of the batch",
        ("dtype", "largest relative difference", "epsilon of the dtype"),
        [(name, f"{v['difference']:.1e}", f"{v['epsilon']:.1e}") for name, v in agree.items()],
    )
    show(
        "Weight gradient from accumulated deltas: relative error",
        ("examples", "outer(sum a, sum delta)", "divided by their number"),
        [(n, *map(float, error)) for n, error in zip(sizes, errors, strict=True)],
    )
    numbers = {
        "seed": args.seed, "epochs": args.epochs, "examples": whole,
        "accumulated against batch": agree,
        "examples accumulated": sizes,
        "error of outer(sum a, sum delta)": [e[0] for e in errors],
        "error of it divided by their number": [e[1] for e in errors],
        "runs": {
            name: {
                "rate": run["rate"], "training loss": run["loss"][-1],
                "held-out accuracy": run["held-out accuracy"],
                "ms an epoch": 1e3 * run["seconds"][-1] / args.epochs,
            }
            for name, run in runs.items()
        },
    }  # fmt: skip
    keep(args.out, "accumulators", picture(runs, sizes, errors, args.period, whole), numbers)


if __name__ == "__main__":
    main()
