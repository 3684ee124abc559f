"""How many linear regions does a ReLU network carve, and does depth beat width?

Counted exactly, not on a grid: each unit's zero set cuts the convex cells of the layers below it,
in integers, so no tolerance decides whether a line passes a corner. The network is the one with
exactly these floating-point weights, in real arithmetic.

    python experiments/linear_regions.py
    python experiments/linear_regions.py --units 32 --samples 3

Look at: the counter against known counts and the construction of Montúfar et al. 2014, which
reaches their lower bound; then how far below that bound random networks of any depth stay.
"""

import math
from collections import defaultdict
from fractions import Fraction
from itertools import pairwise, product
from statistics import median

import matplotlib.pyplot as plt
import numpy as np
from common import COLORS, keep, options, show
from matplotlib.collections import PolyCollection

COUNTABLE = 3000  # regions of a folding network that are counted, not only bounded

# The counter. A point of the line (d = 1) or plane (d = 2) is a tuple of d + 1 integers, the last
# a positive common denominator; an affine function is a tuple of d + 1 integers, up to the scale
# that all functions of its layer share. The sign of their product is then exact.


def integers(*arrays):
    """Floating-point arrays as integers with one common power of two, and that power."""
    exact = [np.vectorize(Fraction, otypes=[object])(np.asarray(a, float)) for a in arrays]
    scale = max(value.denominator for a in exact for value in a.flat)
    return *(np.vectorize(int, otypes=[object])(a * scale) for a in exact), scale


def crossing(p, q, at_p, at_q):
    """The point between p and q where a function with values of opposite sign there is 0."""
    point = [abs(at_p) * b + abs(at_q) * a for a, b in zip(p, q, strict=True)]
    shared = math.gcd(*point)
    return tuple(value // shared for value in point)


def cut(corners, function):
    """The parts of a convex cell where the function is positive, and where it is not.

    Args:
      corners: in order; two for an interval.
      function: affine.

    Returns:
      The corners of both; None for a part without interior.
    """
    values = [sum(a * x for a, x in zip(function, c, strict=True)) for c in corners]
    if max(values) <= 0:
        return None, corners
    if min(values) >= 0:
        return corners, None
    above, below = [], []
    for i, (p, at_p) in enumerate(zip(corners, values, strict=True)):
        q, at_q = corners[i - 1], values[i - 1]
        if at_p * at_q < 0:
            point = crossing(p, q, at_p, at_q)
            above.append(point)
            below.append(point)
        if at_p >= 0:
            above.append(p)
        if at_p <= 0:
            below.append(p)
    # an interval is walked there and back, which meets its crossing twice
    return list(dict.fromkeys(above)), list(dict.fromkeys(below))


def cells(layers, corners, start=None):
    """The activation regions of a ReLU network inside a convex cell.

    Args:
      layers: weights (inputs, outputs) and bias of each layer; the last one is the readout.
      corners: of the cell, as integers with a common denominator.
      start: the inputs as affine functions of the cell, shape (inputs, d + 1); None where the
        inputs are its coordinates.

    Returns:
      For each region its corners, and the network's outputs as affine functions of it, in one
      scale for all regions.
    """
    inputs, scale = integers(np.eye(len(corners[0]))[:-1] if start is None else start)
    found = [(corners, inputs)]
    for depth, (w, b) in enumerate(layers, start=1):
        w, b, own = integers(w, b)
        pieces = []
        for shape, h in found:
            z = w.T @ h
            z[:, -1] += b * scale
            parts = [(shape, [])]
            for function in z if depth < len(layers) else ():
                parts = [
                    (part, [*on, active])
                    for whole, on in parts
                    for part, active in zip(cut(whole, function), (1, 0), strict=True)
                    if part is not None
                ]
            for part, on in parts:
                pieces.append((part, z * np.array(on, object)[:, None] if on else z))
        found, scale = pieces, scale * own
    return found


def neighbours(first, second):
    """Whether two convex cells share more than a corner (in 1-D: share an end)."""
    if len(first[0]) == 2:
        return not set(first).isdisjoint(second)
    for a, b in zip(first, first[1:] + first[:1], strict=True):
        edge = np.cross(np.array(a, object), np.array(b, object))
        on_line = [c for c in second if edge @ np.array(c, object) == 0]
        if len(on_line) < 2:
            continue
        axis = 0 if edge[1] else 1  # along which this edge has length
        spans = [sorted(Fraction(c[axis], c[-1]) for c in ends) for ends in ((a, b), on_line)]
        if max(s[0] for s in spans) < min(s[-1] for s in spans):
            return True
    return False


def linear_regions(found):
    """Connected regions on which the network is one affine function: cells, merged.

    Args:
      found: what `cells` gives.

    Returns:
      Their number.
    """
    same = defaultdict(list)
    for corners, outputs in found:
        same[tuple(outputs.flat)].append(corners)
    regions = 0
    for group in same.values():
        islands = []
        for corners in group:
            joined = [island for island in islands if any(neighbours(corners, c) for c in island)]
            islands = [island for island in islands if island not in joined]
            islands.append([corners, *(c for island in joined for c in island)])
        regions += len(islands)
    return regions


def box(low, high, d):
    """The interval or square [low, high]^d as corners."""
    low, high = Fraction(low), Fraction(high)
    scale = low.denominator * high.denominator
    a, b = int(low * scale), int(high * scale)
    if d == 1:
        return [(a, scale), (b, scale)]
    return [(a, a, scale), (b, a, scale), (b, b, scale), (a, b, scale)]


# What is known


def lower_bound(d, widths):
    """Regions that the best network of these hidden widths has at least.

    Montúfar, Pascanu, Cho, Bengio 2014, arXiv:1402.1869, Corollary 5: the product over all hidden
    layers but the last of floor(n_i/d)^d, times sum_{j<=d} C(n_L, j).
    """
    *below, last = widths
    return math.prod((n // d) ** d for n in below) * arrangement(d, last)


def upper_bound(d, widths):
    """Regions that no network of these widths exceeds (Montúfar 2017, SampTA, Proposition 3)."""
    rank, total = d, 1
    for n in widths:
        total *= arrangement(rank, n)
        rank = min(rank, n)
    return total


def arrangement(d, n):
    """Cells of n hyperplanes in general position in R^d (Zaslavsky 1975)."""
    return sum(math.comb(n, j) for j in range(d + 1))


def tangents(d, n):
    """n points (d = 1) or n lines (d = 2) in general position that all meet inside (0, 1)^d.

    Tangents of the parabola y = x^2 at x = s, t meet at ((s + t)/2, s t), never three in a point.
    """
    t = np.arange(1, n + 1)
    if d == 1:
        return np.full((1, n), n + 1.0), -t.astype(float)
    return np.array([2.0 * t * (n + 1), np.full(n, -((n + 1.0) ** 2))]), -(t.astype(float) ** 2)


def folding_network(d, n, depth):
    """The construction of Montúfar et al. 2014, whose count on [0, 1]^d is their lower bound.

    Every layer but the last folds each axis of the cube into floor(n/d) parts that all cover
    [0, 1] again: h_0 - h_1 + h_2 - ... with h_0 = relu(p x), h_i = relu(2 p x - 2 i) is a zigzag.
    The last layer cuts the folded cube by hyperplanes in general position. Weights are integers.
    """
    p = n // d
    fold = np.zeros((d, n))
    bias = np.zeros(n)
    unfold = np.zeros((n, d))
    for axis in range(d):
        for i in range(p):
            fold[axis, axis * p + i] = 2 * p if i else p
            bias[axis * p + i] = -2 * i
            unfold[axis * p + i, axis] = (-1) ** i
    w, b = tangents(d, n)
    # two units look the other way, so that nowhere all are off: that would hide the folds
    turned = [n - 1] if d == 1 else [0, n - 1]
    w[:, turned] *= -1
    b[turned] *= -1
    layers, before = [], np.eye(d)
    for _ in range(depth - 1):
        layers.append((before @ fold, bias))
        before = unfold
    layers.append((before @ w, b))
    return [*layers, (2.0 ** np.arange(n)[:, None], np.zeros(1))]


def random_networks(seed, samples, d, widths, init="gaussian"):
    """Networks with one output, with the distributions of `bp.initializers`.

    gaussian: weights N(0, 1/inputs), biases N(0, 1) (note 001); he: weights N(0, 2/inputs), no
    biases. Drawn by NumPy: JAX would compile each shape anew, which takes longer than the count.
    """
    draw = np.random.default_rng([seed, d, *widths]).normal
    gain, bias = {"gaussian": (1, 1.0), "he": (2, 0.0)}[init]
    return [
        [
            (draw(size=(n, m)) * math.sqrt(gain / n), bias * draw(size=m))
            for n, m in pairwise((d, *widths, 1))
        ]
        for _ in range(samples)
    ]


def parameters(d, widths):
    return sum(n * m + m for n, m in pairwise((d, *widths, 1)))


def checks():
    """Counts that must be met: what, expected, activation regions, linear regions."""
    rows = []
    for n in (3, 5, 8):
        layer = [tangents(2, n), (np.ones((n, 1)), np.zeros(1))]
        found = cells(layer, box(0, 1, 2))
        rows.append((f"1 layer, {n} lines in general position", arrangement(2, n), found))
    for n in (3, 5, 8):
        layers = random_networks(n, 1, 2, (n,), "he")[0]
        found = cells(layers, box(-1, 1, 2))
        rows.append((f"1 layer, {n} lines through 0 (no bias)", 2 * n, found))
    for d, n, depth in ((1, 3, 4), (1, 4, 4), (2, 4, 2), (2, 4, 3), (2, 6, 2), (2, 7, 2)):
        found = cells(folding_network(d, n, depth), box(0, 1, d))
        rows.append((f"folding, d={d}, {depth} layers of {n}", lower_bound(d, (n,) * depth), found))
    return [(what, want, len(found), linear_regions(found)) for what, want, found in rows]


def budgets(units, d=2):
    """Networks of equal units, and of about as many parameters as the one with two layers."""
    depths = [depth for depth in (1, 2, 3, 4, 6) if units // depth >= 2 * d]
    same_units = [(units // depth,) * depth for depth in depths]
    target = parameters(d, (units // 2,) * 2)
    same_parameters = []
    for depth in depths:
        n = 2 * d
        while parameters(d, (n + 1,) * depth) <= target:
            n += 1
        same_parameters.append((n,) * depth)
    return {"units": same_units, "parameters": same_parameters}


def measure(seed, samples, half_width, units):
    """Counts of random networks over the square, a row for each shape."""
    rows = []
    for budget, shapes in budgets(units).items():
        for widths in shapes:
            square = box(-half_width, half_width, 2)
            networks = random_networks(seed, samples, 2, widths)
            found = [cells(layers, square) for layers in networks]
            best = lower_bound(2, widths)
            folded = None
            if best <= COUNTABLE and min(widths) > 2:
                folded = linear_regions(
                    cells(folding_network(2, widths[0], len(widths)), box(0, 1, 2))
                )
            rows.append(
                {
                    "budget": budget,
                    "widths": widths,
                    "parameters": parameters(2, widths),
                    "activation regions": [len(own) for own in found],
                    "linear regions": [linear_regions(own) for own in found],
                    "folding weights": folded,
                    "lower bound on the best": best,
                    "upper bound": upper_bound(2, widths),
                }
            )
    return rows


def along_a_line(seed, samples, width=32, inputs=64, depths=(1, 2, 4, 8)):
    """Pieces on a segment between two random points, for networks of many inputs."""
    ends = np.random.default_rng(seed).normal(size=(samples, 2, inputs))
    rows = []
    for init, depth in product(("gaussian", "he"), depths):
        pieces = []
        networks = random_networks(seed, samples, inputs, (width,) * depth, init)
        for layers, (p, q) in zip(networks, ends, strict=True):
            found = cells(layers, box(0, 1, 1), start=np.stack([q - p, p], axis=1))
            pieces.append(linear_regions(found))
        rows.append(
            {"init": init, "widths": (width,) * depth, "units": width * depth, "pieces": pieces}
        )
    return rows


def paint(axis, found, title, seed):
    """The cells, each in a colour of its own."""
    shades = np.random.default_rng(seed).uniform(0.35, 0.95, (len(found), 3))
    shapes = [[(int(c[0]) / c[2], int(c[1]) / c[2]) for c in corners] for corners, _ in found]
    axis.add_collection(PolyCollection(shapes, facecolors=shades, edgecolors="k", linewidths=0.3))
    axis.autoscale()
    axis.margins(0)
    axis.set(title=title, xlabel="input $x_1$", ylabel="input $x_2$", aspect="equal")
    axis.grid(False)


def draw(seed, half_width, units, rows, lines):
    figure, axes = plt.subplots(2, 3, figsize=(13, 9))
    square = box(-half_width, half_width, 2)
    for axis, widths in zip(axes[0], ((units,), (units // 3,) * 3), strict=False):
        found = cells(random_networks(seed, 1, 2, widths)[0], square)
        paint(axis, found, f"random weights, {shape(widths)}: {len(found)} regions", seed)
    found = cells(folding_network(2, 6, 3), box(0, 1, 2))
    paint(axes[0, 2], found, f"folding weights, {shape((6,) * 3)}: {len(found)} regions", seed)
    for axis, budget in zip(axes[1], ("units", "parameters"), strict=False):
        own = [row for row in rows if row["budget"] == budget]
        depth = [len(row["widths"]) for row in own]
        axis.plot(depth, [row["upper bound"] for row in own], "v:", color=COLORS[3])
        axis.plot(depth, [row["lower bound on the best"] for row in own], "^--", color=COLORS[1])
        counted = [(x, row["folding weights"]) for x, row in zip(depth, own, strict=True)]
        counted = [(x, n) for x, n in counted if n is not None]
        axis.plot(*zip(*counted, strict=True), "*", color=COLORS[6], markersize=11, zorder=3)
        spread(axis, depth, [row["linear regions"] for row in own])
        most = max(row["parameters"] for row in own)
        size = f"{units}" if budget == "units" else f"at most {most}"
        axis.set_xticks(depth, [f"{len(row['widths'])}x{row['widths'][0]}" for row in own])
        axis.set(yscale="log", title=f"equal {budget} ({size})", ylabel="linear regions, log scale")
        axis.set_xlabel("hidden layers x units a layer")
    names = ("no network has more", "the best have at least", "folding weights, counted")
    axes[1, 0].legend([*names, "random weights, counted"], loc="upper left", fontsize=9)
    axes[1, 0].set_ylim(top=1e11)  # room for the legend
    axis = axes[1, 2]
    for init, color in (("he", COLORS[2]), ("gaussian", COLORS[0])):
        own = [row for row in lines if row["init"] == init]
        at = [row["units"] for row in own]
        spread(axis, at, [row["pieces"] for row in own], color)
    axis.plot(at, [n + 1 for n in at], "--", color=COLORS[4])
    said = ("random weights, he", "random weights, gaussian", "if each unit had one kink")
    axis.legend(axis.lines, said, loc="upper left", fontsize=9)
    axis.set_xscale("log", base=2)
    axis.set_xticks(at, [f"{row['units']}\n({shape(row['widths'])})" for row in own])
    axis.set_yscale("log", base=2)
    axis.set_yticks([8, 16, 32, 64, 128, 256], ["8", "16", "32", "64", "128", "256"])
    axis.set(title="along a segment in 64 inputs", ylabel="linear pieces, log scale")
    axis.set_xlabel("hidden units (layers x units a layer)")
    return figure


def spread(axis, x, counts, color=COLORS[0]):
    """Median of the counts at each x, and a bar from the least to the largest."""
    axis.plot(x, [median(own) for own in counts], "o-", color=color)
    least, largest = zip(*((min(own), max(own)) for own in counts), strict=True)
    axis.vlines(x, least, largest, color=color, linewidth=5, alpha=0.3)


def shape(widths):
    return f"{len(widths)}x{widths[0]}"


def main():
    parser = options(__doc__, units=24, samples=9, half_width=4.0)
    given = parser.parse_args()
    if not 12 <= given.units <= 48:
        parser.error("--units: expected 12 to 48 (more take minutes)")
    if not 1 <= given.samples <= 100:
        parser.error("--samples: expected 1 to 100")
    if not 0 < given.half_width < math.inf:
        parser.error("--half-width: expected a positive number")
    known = checks()
    show("the counter against known counts", ("network", "known", "cells", "regions"), known)
    rows = measure(given.seed, given.samples, given.half_width, given.units)
    show(
        f"random weights on [-{given.half_width}, {given.half_width}]^2: median of {given.samples}",
        ("equal", "hidden", "weights", "random", "folding", "best at least", "at most"),
        [
            (
                row["budget"],
                shape(row["widths"]),
                row["parameters"],
                median(row["linear regions"]),
                "" if row["folding weights"] is None else row["folding weights"],
                row["lower bound on the best"],
                row["upper bound"],
            )
            for row in rows
        ],
    )
    lines = along_a_line(given.seed, given.samples)
    show(
        f"pieces on a segment between two random points of 64 inputs: median of {given.samples}",
        ("weights", "hidden", "units", "pieces"),
        [(row["init"], shape(row["widths"]), row["units"], median(row["pieces"])) for row in lines],
    )
    numbers = {
        "options": {key: value for key, value in vars(given).items() if key != "out"},
        "known counts": [
            dict(
                zip(("network", "known", "activation regions", "linear regions"), row, strict=True)
            )
            for row in known
        ],
        "square": rows,
        "segment": lines,
    }
    keep(
        given.out,
        "linear_regions",
        draw(given.seed, given.half_width, given.units, rows, lines),
        numbers,
    )


if __name__ == "__main__":
    main()
