"""What does every activation let through, and where does its derivative vanish?

The value and the hand-derived derivative (`rule.bwd` with dy = 1) of every activation of the
catalogue, in float64; a dot is the value that the rule chose where the function has a kink or jump.

    python experiments/activation_zoo.py
    python experiments/activation_zoo.py --reach 4

Look at: which derivatives fall to 0 on one side (ReLU: a unit there stops learning) or on both
(sigmoid, tanh: they saturate), and which stay away from 0.
"""

import math

import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
from common import COLORS, keep, options, show

from manualbp import activations

SMALL = 1e-3  # below this a layer passes next to nothing
SCAN = 40.0  # how far out that is looked for
STEPS = 80_000  # of the scan, 0.001 each

# Each output of these depends on a whole row, so that there is no curve over one z. Over the row
# (z, 0) there is: its first output over z, which the last three panels show.
OF_A_ROW = (activations.softmax, activations.log_softmax, activations.logsumexp)

# What a parameter is usually fixed to, or starts from (He et al. 2015; Ramachandran et al. 2017)
USUAL = {
    activations.generalized_relu: ("a = 0.25", 0.25),
    activations.prelu: ("a = 0.25", 0.25),
    activations.learnable_swish: ("beta = 1", 1.0),
}


def curve(rule):
    """What stands over the panel, and z -> value, derivative and kink by the rule itself."""

    def of(*first):
        def both(z):
            y, saved = rule.fwd(*first, z)
            kink = jnp.ones_like(z) if rule.kink is None else rule.kink(*first, z)
            return y, rule.bwd(saved, jnp.ones_like(y))[-1], kink == 0

        return both

    def of_row(z):
        row = jnp.stack([z, jnp.zeros_like(z)], axis=-1)
        y, saved = rule.fwd(row)
        first = y[:, 0] if y.ndim == 2 else y
        dy = jnp.zeros_like(y).at[:, 0].set(1) if y.ndim == 2 else jnp.ones_like(y)
        return first, rule.bwd(saved, dy)[0][:, 0], jnp.zeros(z.shape, bool)

    if rule in OF_A_ROW:
        return f"{rule.name} of (z, 0)", of_row
    if rule in USUAL:
        said, value = USUAL[rule]
        return f"{rule.name}({said})", of(jnp.asarray(value, float))
    if rule.name.startswith("randomized_relu"):
        return "randomized_relu (test form)", of(None)  # without a key: the mean slope
    return rule.name, of()


def intervals(z, inside):
    """Where a condition on the grid holds, as text, for a table."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], inside.astype(int), [0]])))
    said = []
    for first, last in zip(edges[::2], edges[1::2] - 1, strict=True):
        low, high = z[first], z[last]
        if first == 0 and last == len(z) - 1:
            said.append("everywhere")
        elif first == 0:
            said.append(f"z <= {high:.2f}")
        elif last == len(z) - 1:
            said.append(f"z >= {low:.2f}")
        elif first == last:
            said.append(f"z = {low:.2f}")
        else:
            said.append(f"{low:.3f} <= z <= {high:.3f}")
    return ", ".join(said) or "nowhere"


def tabulate(rules, z):
    """Value, derivative and kink of all on one grid, as one compiled program."""
    said, functions = zip(*map(curve, rules), strict=True)
    found = jax.jit(lambda z: [function(z) for function in functions])(z)
    return [(name, *map(np.asarray, own)) for name, own in zip(said, found, strict=True)]


def measure(z, said, slope, kink):
    """Numbers of one activation: derivative at 0, its largest and least, where it is small."""
    return {
        "activation": said,
        "at 0": float(slope[z == 0][0]),
        "kink": bool(kink.any()),
        "least": float(slope.min()),
        "largest": float(slope.max()),
        f"|derivative| < {SMALL:g}": intervals(z, np.abs(slope) < SMALL),
    }


def draw(z, table, reach):
    columns = 5
    figure, axes = plt.subplots(
        math.ceil(len(table) / columns), columns, figsize=(14, 11), sharex=True, sharey=True
    )
    for axis in axes.flat[len(table) :]:
        axis.axis("off")
    for axis, (said, value, slope, kink) in zip(axes.flat, table, strict=False):
        # the two sides apart, so that no line is drawn across a jump
        for side in ((z < 0) & (z >= -reach), (z > 0) & (z <= reach)):
            axis.plot(z[side], value[side], color=COLORS[0], linewidth=2, label="y")
            axis.plot(z[side], slope[side], "--", color=COLORS[1], linewidth=2, label="dy/dz")
        axis.plot(
            z[kink], value[kink], "o", color=COLORS[0], markersize=10, label="y at a kink or jump"
        )
        axis.plot(
            z[kink],
            slope[kink],
            "o",
            color=COLORS[1],
            markersize=5,
            label="dy/dz there, by the rule",
        )
        axis.axhline(0, color="k", linewidth=0.6)
        axis.set_title(said, fontsize=10)
        axis.set(ylim=(-2.2, 3), xlim=(-reach, reach))
        axis.tick_params(labelbottom=True)
    figure.supxlabel("z", fontsize=11)
    for axis in axes[:, 0]:
        axis.set_ylabel("y and dy/dz")
    lines, labels = axes[0, 0].get_legend_handles_labels()
    shown = dict(zip(labels, lines, strict=True))
    figure.legend(shown.values(), shown.keys(), loc="outside upper center", ncols=4, frameon=False)
    return figure


def main():
    parser = options(__doc__, reach=6.0)
    given = parser.parse_args()
    if not 0.1 <= given.reach <= SCAN:
        parser.error(f"--reach: expected a number from 0.1 to {SCAN:g}")
    rules = [rule for rule in activations.RULES if rule not in OF_A_ROW] + list(OF_A_ROW)
    with jax.enable_x64(True):
        # k / 1000 with k whole, so that 0 is on the grid
        z = np.arange(-STEPS // 2, STEPS // 2 + 1) * (2 * SCAN / STEPS)
        table = tabulate(rules, z)
    rows = [measure(z, said, slope, kink) for said, _, slope, kink in table]
    by_name = {said: value for said, value, _, _ in table}
    twins = {
        f"{first} - {second}": float(np.abs(by_name[first] - by_name[second]).max())
        for first, second in (("softmax of (z, 0)", "sigmoid"), ("logsumexp of (z, 0)", "softplus"))
    }
    show(
        f"derivatives by hand, looked at on [-{SCAN:g}, {SCAN:g}] in steps of {2 * SCAN / STEPS:g}",
        tuple(rows[0]),
        [tuple(row.values()) for row in rows],
    )
    show("two of a row are known curves: largest difference", ("of", "is"), list(twins.items()))
    keep(
        given.out,
        "activation_zoo",
        draw(z, table, given.reach),
        {"rows": rows, "largest difference": twins},
    )


if __name__ == "__main__":
    main()
