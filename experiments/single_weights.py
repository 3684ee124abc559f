"""Is backpropagation one weight at a time the same as its matrix form, to the last digits?

Lecture note 002 derives the gradient of each single weight, u_kj and w_ji, from delta_k and
delta_j. `reference/scalar_backprop.py` says that in loops over plain Python floats, for any number
of layers and with the factor g'(net_j) that the note's summary (section 4) leaves out of delta_j.
Here it meets `network.loss_and_grad`, which knows only matrices, on the same float64 weights.

    python experiments/single_weights.py
    python experiments/single_weights.py --steps 500

Look at: differences of a few units in the last place (ULP) in every layer, whatever the depth; two
training runs that stay together; and what happens to the gradient of w_ji without that factor.
"""

import math
from itertools import pairwise

import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
from common import COLORS, keep, options, show

import manualbp as bp
from reference.scalar_backprop import backprop

DEPTHS = (2, 3, 5, 9)  # layers of weights; 2 is the note's three-layer network
INPUTS, HIDDEN, OUTPUTS, EXAMPLES = 4, 6, 3, 8


def sigmoid(z):
    return 1 / (1 + math.exp(-z))


# Values and slopes as the notes have them
UNITS = {
    "tanh": (math.tanh, lambda z: 1 - math.tanh(z) ** 2, bp.tanh),
    "sigmoid": (sigmoid, lambda z: sigmoid(z) * (1 - sigmoid(z)), bp.sigmoid),
}


def network(depth, hidden="tanh"):
    """Hidden units tanh or sigmoid, output sigmoid, no biases: the note's network, any depth."""
    widths = (INPUTS, *(HIDDEN,) * (depth - 1), OUTPUTS)
    return bp.mlp(
        widths,
        activation=UNITS[hidden][2],
        output=bp.sigmoid,
        loss=bp.half_squared_error,
        layer=bp.dense_without_bias,
    )


def by_single_weights(weights, x, y, hidden="tanh", slope=None):
    """The summed loss and gradients, from loops over indices alone.

    Args:
      weights: one array (inputs, outputs) a layer, as the library has them.
      x: inputs, one example a row.
      y: targets.
      hidden: the name of the hidden units.
      slope: in place of their derivative.

    Returns:
      The loss, and gradients in the layout of weights.
    """
    matrices = [w.T.tolist() for w in weights]  # the note's w_ji leads from i to j
    values = [UNITS[hidden][0]] * (len(weights) - 1) + [UNITS["sigmoid"][0]]
    slopes = [slope or UNITS[hidden][1]] * (len(weights) - 1) + [UNITS["sigmoid"][1]]
    loss, total = 0.0, [np.zeros_like(w) for w in weights]
    for one_x, one_y in zip(x.tolist(), y.tolist(), strict=True):
        own, gradients = backprop(matrices, one_x, one_y, values, slopes)
        loss += own
        for layer, gradient in zip(total, gradients, strict=True):
            layer += np.array(gradient).T
    return loss, total


def by_matrices(net, weights, x, y):
    """The same from `network.loss_and_grad`."""
    params = [()] * (2 * len(weights))
    params[::2] = [jnp.asarray(w) for w in weights]
    loss, grads = net.loss_and_grad(tuple(params), x, y, reduction="sum")
    return float(loss), [np.asarray(g) for g in grads[::2]]


def ulps(a, b):
    """How far apart, in units in the last place of the second."""
    return np.abs(np.subtract(a, b)) / np.spacing(np.abs(b))


def problem(rng, depth):
    """Weights N(0, 1/inputs), inputs N(0, 1), targets 0 or 1."""
    widths = (INPUTS, *(HIDDEN,) * (depth - 1), OUTPUTS)
    weights = [rng.normal(size=(n, m)) / math.sqrt(n) for n, m in pairwise(widths)]
    x = rng.normal(size=(EXAMPLES, INPUTS))
    return weights, x, rng.integers(0, 2, (EXAMPLES, OUTPUTS)).astype(float)


def compare(rng, hidden):
    """For each depth: ULPs of each layer's gradient, the worst entry and the whole layer."""
    rows = []
    for depth in DEPTHS:
        weights, x, y = problem(rng, depth)
        loss, single = by_single_weights(weights, x, y, hidden)
        same_loss, matrix = by_matrices(network(depth, hidden), weights, x, y)
        rows.append(
            {
                "hidden units": hidden,
                "layers": depth,
                "loss, ULP": float(ulps(loss, same_loss)),
                "median entry, ULP": float(
                    np.median(
                        np.concatenate(
                            [ulps(s, m).ravel() for s, m in zip(single, matrix, strict=True)]
                        )
                    )
                ),
                "worst entry, ULP": [
                    float(ulps(s, m).max()) for s, m in zip(single, matrix, strict=True)
                ],
                "worst, ULP of the layer's largest": [
                    float(np.abs(s - m).max() / np.spacing(np.abs(m).max()))
                    for s, m in zip(single, matrix, strict=True)
                ],
            }
        )
    return rows


def without_the_slope(rng):
    """Relative error of each layer's gradient with delta_j as section 4 of the note prints it."""
    weights, x, y = problem(rng, 2)
    _, right = by_matrices(network(2), weights, x, y)
    _, printed = by_single_weights(weights, x, y, slope=lambda net: 1.0)
    return [
        float(np.linalg.norm(p - r) / np.linalg.norm(r))
        for p, r in zip(printed, right, strict=True)
    ]


def train(rng, steps, rate):
    """Loss of each step of plain gradient descent: by single weights, by matrices, as printed."""
    start, x, y = problem(rng, 2)
    net = network(2)
    ways = {
        "one weight at a time": lambda w: by_single_weights(w, x, y),
        "matrices": lambda w: by_matrices(net, w, x, y),
        "one at a time, g' left out": lambda w: by_single_weights(w, x, y, slope=lambda net: 1.0),
    }
    losses = {}
    for name, way in ways.items():
        weights, losses[name] = start, []
        for _ in range(steps):
            loss, gradients = way(weights)
            losses[name].append(loss)
            weights = [w - rate * g for w, g in zip(weights, gradients, strict=True)]
    return losses


def draw(rows, losses):
    figure, axes = plt.subplots(1, 3, figsize=(14, 4.6))
    markers = {"tanh": "o", "sigmoid": "s"}
    for row in rows:
        color = COLORS[DEPTHS.index(row["layers"])]
        worst = row["worst, ULP of the layer's largest"]
        label = f"{row['layers']} layers, {row['hidden units']}"
        style = "-" if row["hidden units"] == "tanh" else "--"
        at = np.arange(1, len(worst) + 1)
        axes[0].plot(
            at, worst, style, marker=markers[row["hidden units"]], color=color, label=label
        )
    axes[0].set(title="loops against matrices, at the start", xlabel="layer (1 next to the inputs)")
    axes[0].set(ylabel="worst difference, ULP of the layer's\nlargest entry", ylim=(0, None))
    axes[0].legend(fontsize=8, ncols=2)
    single, matrices, printed = losses.values()
    at = np.arange(len(single))
    axes[1].plot(at, single, color=COLORS[0], linewidth=5, alpha=0.4, label="one weight at a time")
    axes[1].plot(at, matrices, color=COLORS[6], linewidth=1.2, label="matrices")
    axes[1].plot(
        at, printed, ":", color=COLORS[1], label="one at a time, $g'$ left out of $\\delta_j$"
    )
    axes[1].set(title="training the note's three-layer network", xlabel="gradient step")
    axes[1].set(ylabel="loss, summed over examples", ylim=(0, None))
    axes[1].legend(fontsize=8)
    axes[2].plot(at, ulps(single, matrices), ".", markersize=3, color=COLORS[0])
    axes[2].set(title="the two loss curves, one minus the other", xlabel="gradient step")
    axes[2].set(ylabel="difference of the losses, ULP")
    axes[2].set_ylim(-0.2, None)
    axes[2].yaxis.get_major_locator().set_params(integer=True)
    return figure


def main():
    parser = options(__doc__, steps=300, rate=0.1)
    given = parser.parse_args()
    if not 1 <= given.steps <= 5000:
        parser.error("--steps: expected 1 to 5000")
    if not 0 < given.rate <= 10:
        parser.error("--rate: expected a number above 0 and at most 10")
    rng = np.random.default_rng(given.seed)
    with jax.enable_x64(True):
        rows = [row for hidden in UNITS for row in compare(rng, hidden)]
        error = without_the_slope(rng)
        losses = train(rng, given.steps, given.rate)
    show(
        "single weights against matrices, float64",
        ("hidden", "layers", "loss, ULP", "median entry", "worst entry", "worst, ULP of largest"),
        [tuple(max(v) if isinstance(v, list) else v for v in row.values()) for row in rows],
    )
    show(
        "delta_j without g'(net_j), as section 4 prints it: relative error of the gradient",
        ("of W (hidden - input)", "of U (output - hidden)"),
        [tuple(error)],
    )
    single, matrices, printed = losses.values()
    worst = float(ulps(single, matrices).max())
    show(
        f"loss after {given.steps} steps",
        (*losses, "worst difference of the first two, ULP"),
        [(single[-1], matrices[-1], printed[-1], worst)],
    )
    numbers = {
        "at the start": rows,
        "relative error without g'": error,
        "loss at the end": {name: own[-1] for name, own in losses.items()},
        "worst difference of the loss curves, ULP": worst,
    }
    keep(given.out, "single_weights", draw(rows, losses), numbers)


if __name__ == "__main__":
    main()
