"""What does a learning rate too small, right and too big look like, and what do schedules change?

Handwritten digits (scikit-learn's, 8 x 8 pixels), 64-32-10, leaky ReLU, batches of 32, plain
stochastic gradient descent. Six rates over four decades from the same start; the biggest ends in
manualbp.TrainingError, which says at which step. Then four schedules that begin at one rate, three
seeds each: on the digits, which the network can learn by heart, and for a linear regression
(scikit-learn's diabetes, one example a step), whose errors no weights can remove.

    python experiments/learning_rates.py

Look at: above, how far each rate comes in the same time, and the first updates, in which too big
a rate goes to infinity; below, where falling rates help. A constant rate keeps jumping around the
minimum of the regression by the noise of its single examples, and falling ones come to rest; on
the digits that noise vanishes with the loss, and to fall costs progress.
"""

import functools

import jax
import numpy as np
from common import keep, options, show
from matplotlib import pyplot as plt
from sklearn.datasets import load_diabetes, load_digits

import manualbp as bp
from manualbp import schedules

RATES = (0.001, 0.01, 0.1, 1.0, 3.0, 10.0)
BATCH = 32
HELD_OUT = 360  # of 1,797
SEEDS = 3
DIGITS_RATE, LINE_RATE = 1.0, 0.01  # at which the schedules begin


def digits(seed):
    """Pixels in [0, 1] and labels, in an order drawn by the seed: (training, held out)."""
    x, y = load_digits(return_X_y=True)
    order = np.random.default_rng(seed).permutation(len(x))
    x, y = (x[order] / 16).astype(np.float32), y[order].astype(np.int32)
    return (x[HELD_OUT:], y[HELD_OUT:]), (x[:HELD_OUT], y[:HELD_OUT])


@functools.cache  # two networks made alike are compiled twice
def network():
    # leaky, because ReLU's units die at a rate too big, and then the loss stands still instead
    return bp.mlp((64, 32, 10), activation=bp.leaky_relu(0.1))


def by_rate(data, held_out, epochs, seed):
    """Train with each rate from the same weights; what each saw, and how it ended."""
    runs = []
    for rate in RATES:
        run = {"rate": rate, "diverged at step": None, "held-out accuracy": None}
        try:
            result = bp.train(
                network(), data, bp.gradient_descent(rate), epochs=epochs, batch_size=BATCH,
                held_out=held_out, key=jax.random.key(seed), progress=False,
            )  # fmt: skip
            run["held-out accuracy"] = result.history.held_out["accuracy"][-1]
        except bp.TrainingError as error:
            result = error.result
            # the last loss that it saw is the one that is not finite
            run["diverged at step"] = len(result.history.step_loss) - 1
            run["message"] = str(error)
        seen = result.history.step_loss
        run |= {"loss": result.history.loss, "step loss": seen[np.isfinite(seen)][:200]}
        runs.append(run)
    return runs


def regression():
    """Diabetes progression from ten measurements, all of mean 0 and variance 1."""
    x, y = load_diabetes(return_X_y=True)
    x, y = ((v - v.mean(axis=0)) / v.std(axis=0) for v in (x, y[:, None]))
    return x.astype(np.float32), y.astype(np.float32)


def least_loss(x, y):
    """The least mean squared error of any linear function, by numpy."""
    a = np.column_stack([x, np.ones(len(x))]).astype(np.float64)
    return float(np.mean((a @ np.linalg.lstsq(a, y, rcond=None)[0] - y) ** 2))


def by_schedule(trained, data, held_out, rate, batch_size, epochs, seed):
    """Train with each schedule, three seeds each; every run begins at the same rate."""
    updates = epochs * -(-len(data[0]) // batch_size)
    etas = {
        "constant": schedules.constant(rate),
        "step": schedules.step(rate, every=max(1, updates // 3), factor=0.1),
        "1/t": schedules.inverse_time(rate, half_after=max(1, updates // 20)),
        "cosine": schedules.cosine(rate, updates),
    }
    found = []
    for name, eta in etas.items():
        optimizer = bp.gradient_descent(eta)
        histories = [
            bp.train(
                trained, data, optimizer, epochs=epochs, batch_size=batch_size,
                held_out=held_out, key=jax.random.key(seed + i), progress=False,
            ).history
            for i in range(SEEDS)
        ]  # fmt: skip
        found.append({
            "schedule": name,
            "first rate": float(eta(0)),
            "last rate": float(eta(updates - 1)),
            "loss": [h.loss for h in histories],
            "held out": {k: [h.held_out[k] for h in histories] for k in histories[0].held_out},
        })  # fmt: skip
    return found


def draw_rates(whole, first, runs, batches):
    for run in runs:
        label = f"$\\eta$ = {run['rate']:g}"
        steps = run["step loss"]
        (line,) = first.plot(steps[:60], label=label)
        if run["diverged at step"] is None:
            whole.plot(np.arange(1, len(run["loss"]) + 1), run["loss"], label=label)
            continue
        whole.plot(np.arange(len(steps)) / batches, steps, label=f"{label}: diverges")
        first.plot(len(steps) - 1, steps[-1], "X", ms=9, color=line.get_color())
        first.annotate(f"infinite at\nstep {run['diverged at step']}", (len(steps) - 1, steps[-1]),
                       (8, -4), textcoords="offset points", va="top")  # fmt: skip
    whole.set(xlabel="epochs", ylabel="training loss (nats), mean of the epoch", yscale="log",
              ylim=(0.5 * min(min(r["loss"]) for r in runs if len(r["loss"])), 30),
              title="Too small, right, too big")  # fmt: skip
    first.set(xlabel="updates", ylabel="loss of the batch (nats)", yscale="log",
              title="The first updates: too big explodes")  # fmt: skip
    whole.legend(loc="lower left", fontsize=8)


def draw_schedules(ax, found, curves, title, label):
    """A line for each schedule: the mean of its seeds, in a band from least to most."""
    for run, losses in zip(found, curves, strict=True):
        epochs = np.arange(1, losses.shape[1] + 1)
        (line,) = ax.plot(epochs, losses.mean(axis=0), label=run["schedule"])
        ax.fill_between(epochs, losses.min(axis=0), losses.max(axis=0), alpha=0.2, lw=0,
                        color=line.get_color())  # fmt: skip
    ax.set(xlabel="epochs", ylabel=label, yscale="log", title=title)
    ax.legend(title=f"mean of {SEEDS} seeds, band: all", fontsize=8, ncols=2)


def spread(values):
    return f"{np.mean(values):.3g} ({np.min(values):.3g} to {np.max(values):.3g})"


def main():
    parser = options(__doc__, epochs=20)
    chosen = parser.parse_args()
    if not 0 <= chosen.seed < 2**31 - SEEDS:
        parser.error(f"--seed: expected 0 to {2**31 - SEEDS - 1}, got {chosen.seed}")
    if not 1 <= chosen.epochs <= 1000:
        parser.error(f"--epochs: expected 1 to 1000, got {chosen.epochs}")
    data, held_out = digits(chosen.seed)
    runs = by_rate(data, held_out, chosen.epochs, chosen.seed)
    on_digits = by_schedule(
        network(), data, held_out, DIGITS_RATE, BATCH, chosen.epochs, chosen.seed
    )
    line, examples = bp.mlp((10, 1), loss=bp.squared_error), regression()
    # "held out" are the training examples themselves: their loss after each epoch
    on_line = by_schedule(line, examples, examples, LINE_RATE, 1, 2 * chosen.epochs, chosen.seed)
    least = least_loss(*examples)
    excess = [np.array(run["held out"]["loss"]) - least for run in on_line]
    for run, above in zip(on_line, excess, strict=True):
        run["excess loss"] = above

    show("Learning rates, digits",
         ("rate", "first epoch's loss", "last epoch's", "held-out accuracy", ""),
         [(r["rate"], *((float(r["loss"][0]), float(r["loss"][-1])) if len(r["loss"]) else
                        ("-", "-")),
           "-" if r["held-out accuracy"] is None else float(r["held-out accuracy"]),
           "" if r["diverged at step"] is None else f"infinite at step {r['diverged at step']}")
          for r in runs])  # fmt: skip
    show(f"Schedules, digits: mean of {SEEDS} seeds (least to most)",
         ("schedule", "first rate", "last rate", "last epoch's training loss", "held-out loss"),
         [(r["schedule"], r["first rate"], r["last rate"], spread([h[-1] for h in r["loss"]]),
           spread([h[-1] for h in r["held out"]["loss"]])) for r in on_digits])  # fmt: skip
    show(f"Schedules, linear regression: loss above its minimum {least:.4f}",
         ("schedule", "first rate", "last rate", "above the minimum at the end"),
         [(r["schedule"], r["first rate"], r["last rate"], spread(r["excess loss"][:, -1]))
          for r in on_line])  # fmt: skip

    figure, axes = plt.subplots(2, 2, figsize=(12, 9))
    draw_rates(*axes[0], runs, -(-len(data[0]) // BATCH))
    draw_schedules(
        axes[1, 0], on_digits, [np.array(r["loss"]) for r in on_digits],
        f"Schedules from $\\eta$ = {DIGITS_RATE:g}, digits (learnt by heart)",
        "training loss (nats), mean of the epoch",
    )  # fmt: skip
    draw_schedules(
        axes[1, 1], on_line, excess,
        f"Schedules from $\\eta$ = {LINE_RATE:g}, regression (noise remains)",
        "mean squared error above its minimum",
    )  # fmt: skip
    keep(chosen.out, "learning_rates", figure, {
        "seed": chosen.seed, "batch size": BATCH, "rates": runs, "digits": on_digits,
        "least squared error": least, "regression": on_line,
    })  # fmt: skip


if __name__ == "__main__":
    main()
