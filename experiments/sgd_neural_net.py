"""SGD-NEURAL-NET of note 001, as listed: what does updating inside the backward loop do?

The listing updates a layer's weights before it goes on to the layer below, whose error is then
propagated back through weights that are already new: no gradient of anything. Moved out of the
loop, the update uses the true gradient. Both are written out here as plain loops over layers, T
random samples, eta(t) = eta / (1 + t / 1000), and compared on scikit-learn's digits.

    python experiments/sgd_neural_net.py                both loops, T = 4,000, seven rates

Look at the error of the gradient as listed, at the same weights: none in the last layer, and in
those below in proportion to eta. So the listing is nearly right where steps are small, and fails
first where they are large.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
from common import at_least, keep, options, plt, show
from sklearn.datasets import load_digits

import manualbp as bp
from manualbp.training import batches

WIDTHS = (64, 32, 16, 10)
L = len(WIDTHS) - 1
F = (bp.tanh, bp.tanh, bp.identity)  # f^1 ... f^L; the loss has the softmax in it
LOSS = bp.softmax_cross_entropy_with_integer_labels
RATES = (0.003, 0.01, 0.03, 0.1, 0.2, 0.4, 0.8)
SHOWN = 0.1  # the rate whose course is drawn
CALM = 0.03  # below the rates at which float32's rounding is amplified: compared to `train`


def one_step(W, x, y, eta, inside):
    """Lines 6 to 21 of the listing for one sample: new weights, the loss, the gradient used."""
    W = list(W)  # W[l] has w and b (the listing's W^l and W^l_0); l from 0 here
    A, saved = [x], []
    for l in range(L):  # noqa: E741 - the listing's letter
        Z = A[l] @ W[l].w + W[l].b
        a, residuals = F[l].fwd(Z)
        A.append(a)
        saved.append(residuals)
    loss, at_loss = LOSS.fwd(A[L], y)
    gradient, dZ = [None] * L, None
    for l in reversed(range(L)):  # noqa: E741
        # back through W[l + 1]: with `inside`, that is no longer the W of the forward pass
        dA = W[l + 1].w @ dZ if l < L - 1 else LOSS.bwd(at_loss, jnp.ones_like(loss))[0]
        (dZ,) = F[l].bwd(saved[l], dA)
        gradient[l] = bp.Dense(jnp.outer(A[l], dZ), dZ)
        if inside:
            W[l] = moved(W[l], gradient[l], eta)
    if not inside:
        W = [moved(W[l], gradient[l], eta) for l in range(L)]  # noqa: E741
    return tuple(W), loss, tuple(gradient)


def moved(own, gradient, eta):
    """W - eta dL/dW."""
    return jax.tree.map(lambda w, g: w - eta * g, own, gradient)


def between(W):
    """As the network has its parameters: after each layer those of its activation, none."""
    return tuple(entry for own in W for entry in (own, ()))


def norm(own):
    """Of the weights and biases of a layer together."""
    return jnp.sqrt(sum(jnp.sum(leaf**2) for leaf in own))


@functools.partial(jax.jit, static_argnames=("inside", "network"))
def sgd_neural_net(network, W, x, y, samples, etas, inside):
    """T steps; each with its loss, and how far its gradient is from the true one, a layer.

    The true gradient is `loss_and_grad`'s at the same weights and sample.
    """

    def step(W, now):
        i, eta = now
        _, true = network.loss_and_grad(between(W), x[i][None], y[i][None], check=False)
        W, loss, used = one_step(W, x[i], y[i], eta, inside)
        true, tiny = true[::2], jnp.finfo(x.dtype).tiny
        error = [
            norm(jax.tree.map(jnp.subtract, u, t)) / jnp.maximum(norm(t), tiny)
            for u, t in zip(used, true, strict=True)
        ]
        return W, (loss, jnp.stack(error))

    return jax.lax.scan(step, W, (samples, etas))


def setting(seed, T):
    """Network, initial weights (Gaussian, as listed), data, and the samples that `train` takes."""
    x, y = load_digits(return_X_y=True)
    x, y = jnp.asarray(x / 16, "float32"), jnp.asarray(y, "int32")
    network = bp.mlp(WIDTHS, activation=bp.tanh, loss=LOSS, init=bp.initializers.gaussian)
    for_weights, for_samples = jax.random.split(jax.random.key(seed))
    W = network.init(for_weights)[::2]
    epochs = range(-(-T // len(x)))
    rows = [batches(for_samples, epoch, len(x), 1, "sample")[0][:, 0] for epoch in epochs]
    return network, W, (x, y), jnp.concatenate(rows)[:T]


def first_errors(network, W, x, y, samples):
    """Errors of the listing's gradients at the initial weights: a row a rate, mean of samples."""

    def error(i, eta):
        _, (_, found) = sgd_neural_net(network, W, x, y, i[None], eta[None], True)
        return found[0]

    over_samples = jax.vmap(error, (0, None))
    return jnp.mean(jax.vmap(over_samples, (None, 0))(samples, jnp.array(RATES)), axis=1)


def smooth(values, window):
    """Mean over so many neighbours."""
    return np.convolve(values, np.ones(window) / window, mode="valid")


def picture(losses, errors, first, final, window):
    """Errors of the gradient above, losses below."""
    figure, ((against, course), (loss, last)) = plt.subplots(2, 2, figsize=(12, 8))
    names = [f"layer {n + 1}" + (" (last)" if n == L - 1 else "") for n in range(L)]
    for layer, name in enumerate(names):
        none = ": none at all" if not first[:, layer].any() else ""
        against.loglog(RATES, first[:, layer], "o-", label=name + none)
        course.semilogy(smooth(errors[SHOWN, True][:, layer], window), label=name)
    worst = smooth(errors[SHOWN, False].max(axis=1), window)
    course.semilogy(worst, ":", color="black", label="moved out, worst layer")
    against.set(
        title="Update inside the loop: error of the gradient at the first weights",
        xlabel="eta", ylabel="relative error, mean of 200 samples",
    )  # fmt: skip
    course.set(
        title=f"and during training, eta(0) = {SHOWN}", xlabel="step",
        ylabel=f"relative error, mean of {window} steps",
    )  # fmt: skip
    for inside, label in ((True, "inside, as listed"), (False, "moved out")):
        color = "C1" if inside else "C0"
        for rate, line in ((SHOWN, "-"), (2 * SHOWN, ":")):
            loss.semilogy(smooth(losses[rate, inside], window), line, color=color,
                          label=f"{label}, eta(0) = {rate}")  # fmt: skip
        values = [final[rate, inside] for rate in RATES]
        last.loglog(RATES, values, "o-", color=color, label=label)
    loss.set(
        title="Loss of the samples", xlabel="step",
        ylabel=f"cross-entropy (nats), mean of {window} steps",
    )  # fmt: skip
    last.set(title="Loss of all digits after the last step", xlabel="eta(0)",
             ylabel="cross-entropy (nats)")  # fmt: skip
    for axis in (against, course, loss, last):
        axis.legend(fontsize=8)
    return figure


def main():
    parser = options(__doc__, T=4000)
    args = parser.parse_args()
    at_least(parser, args, T=200)
    network, W, (x, y), samples = setting(args.seed, args.T)

    schedules = [bp.schedules.inverse_time(rate, half_after=1000) for rate in RATES]
    etas = jnp.stack([jax.vmap(eta)(jnp.arange(args.T)) for eta in schedules])
    losses, errors, final, rows = {}, {}, {}, []
    for inside in (True, False):
        # all rates at once
        run = jax.vmap(lambda e: sgd_neural_net(network, W, x, y, samples, e, inside))  # noqa: B023
        after, (loss, error) = run(etas)
        for n, rate in enumerate(RATES):
            losses[rate, inside], errors[rate, inside] = np.asarray(loss[n]), np.asarray(error[n])
            own = between(jax.tree.map(lambda leaf: leaf[n], after))  # noqa: B023
            final[rate, inside] = bp.training.evaluate(network, own, (x, y))["loss"]
            if rate == CALM and not inside:
                moved_out = own
    for run, error in errors.items():
        medians = [float(m) for m in np.median(error, axis=0)]
        rows.append((run[0], "as listed" if run[1] else "moved out", *medians, final[run]))
    rows.sort(key=lambda row: row[0])
    by_train = bp.train(
        network, (x, y), bp.gradient_descent(schedules[RATES.index(CALM)]), steps=args.T,
        batch_size=1, order="sample", key=jax.random.key(args.seed),
    )  # fmt: skip
    pairs = zip(jax.tree.leaves(moved_out), jax.tree.leaves(by_train.params), strict=True)
    apart = max(float(jnp.max(jnp.abs(a - b))) for a, b in pairs)
    first = np.asarray(first_errors(network, W, x, y, samples[:200]))
    columns = ("eta(0)", "update", *(f"error, layer {n + 1}" for n in range(L)), "loss, all data")
    show(f"SGD-NEURAL-NET, {args.T} steps: relative error of the gradient, median", columns, rows)
    print(f"moved out and manualbp.train, eta(0) = {CALM}: weights differ by {apart:.2g} at most")
    keep(
        args.out,
        "sgd_neural_net",
        picture(losses, errors, first, final, 200),
        {
            "T": args.T,
            "rates": RATES,
            "error at the first weights, a row a rate": first,
            "runs": [dict(zip(columns, row, strict=True)) for row in rows],
            "largest difference of weights, moved out and train": apart,
        },
    )


if __name__ == "__main__":
    main()
