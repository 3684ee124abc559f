"""How does the error of one hidden layer fall as it grows wider, trained, and built by hand?

A continuous function with two bends on [-1, 1]. Trained: one hidden layer of 1 to 256 tanh units,
from several seeds. Built: the visual proof of note 001 ('Universality'), no training at all: each
hidden unit is a sigmoid so steep that it is a step, and the steps add up to a staircase. For a
function of slope at most K it errs by at most K h / 2, with h the width of a step: as 1/width.

    python experiments/universal_approximation.py                  widths 1 to 256, three seeds
    python experiments/universal_approximation.py --steps 20000    longer training

Look at the slopes on the right: the staircase keeps its promise, and falls as 1/width. Training
does with few units what the staircase needs many for, then levels off; at 256 units the staircase's
largest error is the smaller one, and a tanh is a sigmoid stretched, so better weights exist: that
they do does not say that training finds them (note 001).
"""

import jax
import jax.numpy as jnp
import numpy as np
import optax
from common import at_least, keep, options, plt, show
from rich.progress import track

import manualbp as bp

WIDTHS = (1, 2, 4, 8, 16, 32, 64, 128, 256)
SHOWN = (4, 16, 64)
STEEPEST = np.pi + 3  # the slope of `function` is at most that
POINTS = 256


def function(x):
    """A wave, and a ramp between two bends at -1/3 and 1/3."""
    return np.sin(2 * np.pi * x) / 2 + np.abs(1.5 * x + 0.5) - np.abs(1.5 * x - 0.5)


def staircase(width):
    """A network of so many steep sigmoids, and its parameters, chosen by hand.

    [-1, 1] is cut into width + 1 pieces; on each the network says the function's value at the
    middle. Between two pieces stands one sigmoid, times the difference of the two values.
    """
    h = 2 / (width + 1)
    middles = -1 + h * (np.arange(width + 1) + 0.5)
    between = -1 + h * np.arange(1, width + 1)
    heights = function(middles)
    steep = 50 / h  # half a piece away the sigmoid is within exp(-25) of 0 or 1
    hidden = bp.Dense(np.full((1, width), steep), -steep * between)
    output = bp.Dense(np.diff(heights)[:, None], heights[:1])
    network = bp.mlp((1, width, 1), activation=bp.sigmoid, loss=bp.squared_error)
    return network, jax.tree.map(lambda a: jnp.asarray(a, jnp.float32), (hidden, (), output, ()))


def spread(key, inputs, outputs, dtype):
    """Units whose bend lies anywhere in [-1, 1], of slopes that grow with their number."""
    if inputs > 1:
        return bp.initializers.glorot(key, inputs, outputs, dtype)
    for_slope, for_place = jax.random.split(key)
    steep = 2 + outputs / 8
    slope = jax.random.uniform(for_slope, (1, outputs), dtype, -min(steep, 12), min(steep, 12))
    return slope, -slope[0] * jax.random.uniform(for_place, (outputs,), dtype, -1, 1)


def trained(width, steps, rate, seed):
    """A network of one hidden layer, trained on evenly spaced points."""
    x = np.linspace(-1, 1, POINTS, dtype=np.float32)[:, None]
    network = bp.mlp((1, width, 1), activation=bp.tanh, loss=bp.squared_error, init=spread)
    optimizer = optax.adam(bp.schedules.cosine(rate, steps))
    data = x, function(x).astype(np.float32)
    return [
        (network, bp.train(network, data, optimizer, steps=steps, batch_size=32,
                           key=jax.random.key(s)).params)
        for s in seed
    ]  # fmt: skip


def errors(network, params):
    """Largest and root-mean-square error, at many more points than were trained on."""
    x = np.linspace(-1, 1, 20001, dtype=np.float32)[:, None]
    error = np.asarray(network(params, x), np.float64) - function(x.astype(np.float64))
    return np.max(np.abs(error)), np.sqrt(np.mean(error**2))


def slope(widths, errors):
    """Of the straight line through the logarithms."""
    return np.polyfit(np.log(widths), np.log(errors), 1)[0]


def picture(fits, learnt, built):
    """Fits at some widths, and errors against width."""
    figure = plt.figure(figsize=(13, 7))
    left, right = figure.subfigures(1, 2, width_ratios=(1.25, 1))
    axes = left.subplots(len(SHOWN), 2, sharex=True, sharey=True)
    x = np.linspace(-1, 1, 2001, dtype=np.float32)[:, None]
    for row, width in enumerate(SHOWN):
        for axis, kind in zip(axes[row], ("trained", "built"), strict=True):
            network, params = fits[kind, width]
            axis.plot(x, function(x), color="black", linewidth=2.5, alpha=0.35, label="function")
            color = "C0" if kind == "trained" else "C1"
            axis.plot(x, network(params, x), color=color, linewidth=1.2, label="network")
            what = "tanh, trained" if kind == "trained" else "steep sigmoids, built by hand"
            axis.set_title(f"{width} units: {what}", fontsize=10)
    axes[0, 0].legend(fontsize=8)
    for axis in axes[-1]:
        axis.set_xlabel("x")
    axis = right.subplots()
    widths = np.array(WIDTHS)
    for number, (name, line) in enumerate((("largest", "-"), ("RMS", "--"))):
        every = learnt[..., number]
        axis.fill_between(widths, every.min(axis=1), every.max(axis=1), color="C0", alpha=0.15)
        axis.loglog(widths, np.median(every, axis=1), "o" + line, color="C0",
                    label=f"trained, {name} error (band: all seeds)")  # fmt: skip
        axis.loglog(widths, built[:, number], "s" + line, color="C1", label=f"built, {name} error")
    axis.loglog(widths, STEEPEST / (widths + 1), ":", color="black", label="bound K h / 2 of built")
    axis.set(title="Error against width", xlabel="hidden units", ylabel="error")
    axis.set_xticks(widths, [str(w) for w in widths])
    axis.legend(fontsize=8, loc="lower left")
    return figure


def main():
    parser = options(__doc__, steps=3000, rate=0.02, seeds=3)
    args = parser.parse_args()
    at_least(parser, args, steps=1, seeds=1)
    if not 0 < args.rate < float("inf"):
        parser.error(f"--rate: expected a positive number, got {args.rate}")

    fits, learnt, built = {}, [], []
    for width in track(WIDTHS, "training"):
        runs = trained(width, args.steps, args.rate, range(args.seed, args.seed + args.seeds))
        learnt.append([errors(*run) for run in runs])
        by_hand = staircase(width)
        built.append(errors(*by_hand))
        fits["trained", width], fits["built", width] = runs[0], by_hand
    learnt, built = np.array(learnt), np.array(built)
    middle = np.median(learnt, axis=1)
    bound = STEEPEST / (np.array(WIDTHS) + 1)  # K h / 2, h = 2 / (width + 1)
    columns = ("units", "trained: largest", "RMS", "built: largest", "RMS", "bound")
    rows = [
        (width, *map(float, (*middle[n], *built[n], bound[n]))) for n, width in enumerate(WIDTHS)
    ]
    show(f"error, {args.steps} steps, median of {args.seeds} seeds", columns, rows)
    slopes = [float(slope(WIDTHS[3:], built[3:, k])) for k in (0, 1)]
    print(f"built, from 8 units: largest error as width^{slopes[0]:.2f}, RMS as {slopes[1]:.2f}")
    keep(
        args.out,
        "universal_approximation",
        picture(fits, learnt, built),
        {
            "steps": args.steps,
            "rate": args.rate,
            "widths": WIDTHS,
            "trained, every seed: largest, RMS": learnt,
            "built: largest, RMS": built,
            "bound": bound,
            "slope of built: largest, RMS": slopes,
        },
    )


if __name__ == "__main__":
    main()
