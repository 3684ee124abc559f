"""What does the batch size change: loss by epochs, loss by time, noise of the gradient, order?

Handwritten digits (scikit-learn's), 64-32-10, leaky ReLU, one learning rate for all. Batches of
1, 8, 64 and all examples; the variance of the minibatch gradient against its prediction; and data
sorted by class, shuffled in each epoch or not.

    python experiments/batch_sizes.py

Look at: above, that small batches lead by epochs, because they update more often, and less
clearly by time; below left, the variance on the line tr(Sigma)/B, and below it where batches are
drawn without replacement; below right, what is lost without shuffling. All is the same in each
run, but for seconds.
"""

import jax
import jax.numpy as jnp
import numpy as np
from common import COLORS, keep, options, show
from learning_rates import digits, network
from matplotlib import pyplot as plt

import manualbp as bp
from manualbp.networks import weighted_loss_and_grad

SIZES = (1, 8, 64, "all")
NOISE_SIZES = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024)
ORDERS = ("shuffle", "sequential")


def by_size(data, held_out, rate, epochs, seed):
    """Train with each batch size from the same weights; the loss of all data after each epoch."""
    runs = []
    for size in SIZES:
        losses = []
        result = bp.train(
            network(), data, bp.gradient_descent(rate), epochs=epochs, batch_size=size,
            held_out=held_out, key=jax.random.key(seed), progress=False,
            on_epoch=lambda epoch, params, to=losses: to.append(
                bp.evaluate(network(), params, data)["loss"]
            ),
        )  # fmt: skip
        history = result.history
        runs.append({
            "batch size": size,
            "updates": len(history.step_loss),
            "loss": losses,
            "seconds": history.seconds,
            "held-out accuracy": history.held_out["accuracy"],
        })  # fmt: skip
    return runs


def flat(tree):
    return jnp.concatenate([leaf.ravel() for leaf in jax.tree.leaves(tree)])


def noise(trained, params, data, sizes, draws, seed):
    """Variance of the minibatch gradient, all entries summed, measured and predicted.

    E |g_B - g|^2 is tr(Sigma)/B for examples drawn with replacement, for Sigma the covariance of
    the gradients of single examples; without replacement times (N - B)/(N - 1).

    Returns:
      A row for each size: predicted and measured with and without replacement, and the standard
      errors of the two that are measured.
    """
    x, y = (jnp.asarray(v) for v in data)
    points = len(x)

    def of_weights(params, x, y, weights):
        return flat(weighted_loss_and_grad(trained, params, x, y, None, weights)[1])

    one = jax.jit(jax.vmap(lambda p, x, y: of_weights(p, x[None], y[None], 1.0), (None, 0, 0)))
    single = np.asarray(one(params, x, y), np.float64)
    mean = single.mean(axis=0)
    trace = float(np.mean(np.sum((single - mean) ** 2, axis=1)))
    generator = np.random.default_rng(seed)
    rows, whole = [], jax.jit(of_weights)
    for size in sizes:
        row = {"batch size": size}
        for name, replace in (("with", True), ("without", False)):
            drawn = [generator.choice(points, size, replace) for _ in range(draws)]
            shares = np.stack([np.bincount(d, minlength=points) for d in drawn]) / size
            # the gradient of a batch is the mean of its examples' gradients
            found = shares @ single
            off = np.sum((found - mean) ** 2, axis=1)
            left = 1.0 if replace else (points - size) / (points - 1)
            row[f"{name}, predicted"] = trace / size * left
            row[f"{name}, measured"] = float(off.mean())
            row[f"{name}, error"] = float(off.std(ddof=1) / np.sqrt(draws))
        # of the last batch drawn: one backward pass for all its examples gives the same
        direct = np.asarray(whole(params, x, y, jnp.array(shares[-1], np.float32)))
        row["one pass - mean of singles"] = float(np.abs(direct - found[-1]).max())
        rows.append(row)
    return {"gradient norm squared": float(mean @ mean), "trace": trace, "rows": rows}


def by_order(data, held_out, rate, epochs, seed):
    """Train on data sorted by class, shuffled in each epoch or in the order given."""
    order = np.argsort(data[1], kind="stable")
    data = tuple(v[order] for v in data)
    runs = []
    for way in ORDERS:
        history = bp.train(
            network(), data, bp.gradient_descent(rate), epochs=epochs, batch_size=32, order=way,
            held_out=held_out, key=jax.random.key(seed), progress=False,
        ).history  # fmt: skip
        runs.append({
            "order": way,
            "loss": history.loss,
            "held-out loss": history.held_out["loss"],
            "held-out accuracy": history.held_out["accuracy"],
        })  # fmt: skip
    return runs


def draw_sizes(by_epoch, by_time, runs):
    for run in runs:
        epochs = np.arange(1, len(run["loss"]) + 1)
        label = f"B = {run['batch size']} ({run['updates']:,} updates)"
        by_epoch.plot(epochs, run["loss"], label=label)
        by_time.plot(1e3 * np.array(run["seconds"]), run["loss"], label=label)
    by_epoch.set(xlabel="epochs", title="By epochs: small batches update more often")
    by_time.set(xlabel="milliseconds of training", xlim=(0, None), title="By time on this machine")
    for ax in (by_epoch, by_time):
        ax.set(ylabel="loss of the training data (nats)", yscale="log")
        ax.legend(fontsize=8, loc="lower left")


def draw_noise(ax, found):
    sizes = [row["batch size"] for row in found["rows"]]
    for color, name, law in (
        (COLORS[0], "with", r"$\mathrm{tr}\,\Sigma / B$"),
        (COLORS[1], "without", r"$\frac{N - B}{N - 1}\,\mathrm{tr}\,\Sigma / B$"),
    ):
        measured, predicted, error = (
            np.array([row[f"{name}, {what}"] for row in found["rows"]])
            for what in ("measured", "predicted", "error")
        )
        ax.plot(sizes, predicted, "-", color=color, lw=1, label=f"{name} replacement: {law}")
        ax.errorbar(sizes, measured, 2 * error, fmt="o", ms=4, capsize=3, color=color,
                    label="measured, 2 standard errors")  # fmt: skip
    ax.axhline(found["gradient norm squared"], ls=":", color="0.4")
    ax.text(sizes[0], found["gradient norm squared"], " $|g|^2$, all data", va="bottom",
            fontsize=8, color="0.3")  # fmt: skip
    ax.set(xlabel="batch size B", ylabel=r"$E\,|g_B - g|^2$, all weights", xscale="log",
           yscale="log", title="Noise of the gradient falls as 1/B")  # fmt: skip
    ax.legend(fontsize=8, loc="lower left")


def draw_orders(ax, runs):
    says = {"shuffle": "shuffled each epoch", "sequential": "in order of class"}
    for run, color in zip(runs, COLORS, strict=False):
        epochs = np.arange(1, len(run["loss"]) + 1)
        label = says[run["order"]]
        ax.plot(epochs, run["held-out loss"], color=color, label=f"{label}: held out")
        ax.plot(epochs, run["loss"], "--", color=color, label=f"{label}: as seen in training")
    ax.set(xlabel="epochs", ylabel="loss (nats)", yscale="log",
           title="Data sorted by class, batches of 32")  # fmt: skip
    ax.legend(fontsize=8)


def main():
    parser = options(__doc__, epochs=20, draws=400, rate=0.1)
    chosen = parser.parse_args()
    for name, least, most in (("seed", 0, 2**31 - 1), ("epochs", 1, 1000), ("draws", 2, 10**4)):
        if not least <= getattr(chosen, name) <= most:
            parser.error(f"--{name}: expected {least} to {most}, got {getattr(chosen, name)}")
    if not 0 < chosen.rate <= 0.3:
        parser.error(f"--rate: expected more than 0 and at most 0.3, got {chosen.rate}")
    data, held_out = digits(chosen.seed)
    runs = by_size(data, held_out, chosen.rate, chosen.epochs, chosen.seed)
    # where a training has just begun: after one epoch
    params = bp.train(
        network(), data, bp.gradient_descent(chosen.rate), epochs=1, batch_size=64,
        key=jax.random.key(chosen.seed), progress=False,
    ).params  # fmt: skip
    found = noise(network(), params, data, NOISE_SIZES, chosen.draws, chosen.seed)
    orders = by_order(data, held_out, chosen.rate, chosen.epochs, chosen.seed)

    show(f"Batch sizes, learning rate {chosen.rate:g}, {chosen.epochs} epochs",
         ("batch size", "updates", "training loss", "held-out accuracy", "ms an epoch"),
         [(r["batch size"], r["updates"], float(r["loss"][-1]), float(r["held-out accuracy"][-1]),
           1e3 * float(r["seconds"][-1]) / len(r["loss"])) for r in runs])  # fmt: skip
    show("Variance of the minibatch gradient, measured / predicted (standard error)",
         ("batch size", "with replacement", "without"),
         [(r["batch size"], *(
             f"{r[f'{w}, measured'] / r[f'{w}, predicted']:.3f} "
             f"({r[f'{w}, error'] / r[f'{w}, predicted']:.3f})" for w in ("with", "without")))
          for r in found["rows"]])  # fmt: skip
    show("Data sorted by class, batches of 32",
         ("order", "training loss", "held-out loss", "held-out accuracy"),
         [(r["order"], *(float(r[k][-1]) for k in ("loss", "held-out loss", "held-out accuracy")))
          for r in orders])  # fmt: skip

    figure, axes = plt.subplots(2, 2, figsize=(12, 9))
    draw_sizes(*axes[0], runs)
    draw_noise(axes[1, 0], found)
    draw_orders(axes[1, 1], orders)
    keep(chosen.out, "batch_sizes", figure, {
        "seed": chosen.seed, "rate": chosen.rate, "sizes": runs, "noise": found, "orders": orders,
    })  # fmt: skip


if __name__ == "__main__":
    main()
