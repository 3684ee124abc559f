"""When does the perceptron of lecture note 001 learn, and how fast?

The perceptron is a binary step of w x + b. The derivative of a step is 0, so gradient descent
cannot move it (measured first): it has a rule of its own (Rosenblatt 1958), applied at each example
that it gets wrong: w += (y - step(w x + b)) x, the bias likewise. Where a line separates the
classes, Novikoff 1962 bounds the updates by (R/margin)^2, whatever the order.

    python experiments/perceptron.py
    python experiments/perceptron.py --epochs 500

Look at: the line turning until nothing is wrong; updates against the bound; and XOR and two moons,
which no line separates, where the updates never end.
"""

import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
from common import COLORS, keep, options, show
from sklearn.datasets import make_moons

import manualbp as bp

MARGINS = (0.02, 0.05, 0.1, 0.2, 0.4)  # half the gap kept free between the classes


def with_one(x):
    """Inputs with a last entry 1, so that the bias is a weight."""
    return np.concatenate([x, np.ones((len(x), 1))], axis=1)


def train(x, y, epochs):
    """The perceptron rule, example by example, from w = 0.

    Args:
      x: inputs, shape (examples, d).
      y: labels 0 and 1.
      epochs: at most so many passes; it stops after one without an update.

    Returns:
      The weights (bias last) after each update, and the updates of each epoch.
    """
    rows = with_one(x)
    weights, updates = [np.zeros(rows.shape[1])], []
    for _ in range(epochs):
        before = len(weights)
        for row, label in zip(rows, y, strict=True):
            error = label - (row @ weights[-1] > 0)
            if error:
                weights.append(weights[-1] + error * row)
        updates.append(len(weights) - before)
        if updates[-1] == 0:
            break
    return np.array(weights), updates


def margin(x, y, steps=2000):
    """A margin that a unit vector reaches over all (x, 1), almost the largest (Gilbert 1966).

    The largest margin is the distance of 0 from the hull of the signed examples. Each step goes
    from the nearest point found so far towards the example that leaves least room.
    """
    signed = with_one(x) * np.where(y == 1, 1, -1)[:, None]
    w = signed[0]
    for _ in range(steps):
        away = w - signed[np.argmin(signed @ w)]
        if away @ away > 0:
            w = w - np.clip(w @ away / (away @ away), 0, 1) * away
    return float(np.min(signed @ w) / np.linalg.norm(w))


def separable(rng, examples, gap):
    """Points of the square [-1, 1]^2 on both sides of a line, none nearer to it than gap."""
    angle = rng.uniform(0, 2 * np.pi)
    normal, offset = np.array([np.cos(angle), np.sin(angle)]), rng.uniform(-0.3, 0.3)
    x = rng.uniform(-1, 1, (100 * examples, 2))
    side = x @ normal + offset
    x, side = x[np.abs(side) >= gap], side[np.abs(side) >= gap]
    return x[:examples], (side[:examples] > 0).astype(int)


def bound_of(x, y):
    """Novikoff's (R/margin)^2."""
    return (np.linalg.norm(with_one(x), axis=1).max() / margin(x, y)) ** 2


def gradient_through_the_step(x, y):
    """The largest entry of the gradient of the squared error through the step: 0."""
    network = bp.mlp((2, 1), output=bp.heaviside, loss=bp.squared_error)
    params = network.init(jax.random.key(0))
    target = jnp.asarray(y[:, None], jnp.float32)
    loss, grads = network.loss_and_grad(params, jnp.asarray(x, jnp.float32), target)
    return float(loss), max(float(jnp.abs(leaf).max()) for leaf in jax.tree.leaves(grads))


def same_as_rule(w, x):
    """The predictions of the weights by the library's own step."""
    return np.asarray(bp.heaviside(jnp.asarray(with_one(x) @ w, jnp.float32))).astype(int)


def picture_of(axis, x, y, weights, title, last_thick):
    """The points, and the lines w x + b = 0 of some updates, pale to dark."""
    for label, marker in ((0, "o"), (1, "^")):
        axis.scatter(*x[y == label].T, marker=marker, s=28, color=COLORS[label], zorder=3)
    low, high = x.min(axis=0) - 0.3, x.max(axis=0) + 0.3
    axis.set(xlim=(low[0], high[0]), ylim=(low[1], high[1]), title=title)
    axis.set(xlabel="input $x_1$", ylabel="input $x_2$")
    axis.grid(False)
    at = np.array([low[0], high[0]])
    for i, (a, b, c) in enumerate(weights):
        thick = last_thick and i == len(weights) - 1
        style = {"color": "k", "linewidth": 3 if thick else 1}
        style["alpha"] = 1 if thick else 0.12 + 0.6 * (i + 1) / len(weights)
        if b:
            axis.plot(at, -(a * at + c) / b, **style)
        elif a:
            axis.axvline(-c / a, **style)


def draw(runs, scores, bound):
    figure, axes = plt.subplot_mosaic([[0, 1, 2], [3, 4, 4]], figsize=(13, 8.2))
    for i, (name, (x, y, weights, updates)) in enumerate(runs.items()):
        done = updates[-1] == 0
        said = f"all {len(weights) - 1} updates, the last thick" if done else "the last 12 updates"
        own = weights[1:] if done else weights[-12:]
        picture_of(axes[i], x, y, own, f"{name}: {said}", done)
    axis = axes[3]
    for gap, color in zip(MARGINS, COLORS, strict=False):
        own = [s for s in scores if s["gap"] == gap]
        bounds = [s["bound"] for s in own]
        axis.plot(bounds, [s["updates"] for s in own], "o", color=color, label=f"{gap}")
    ends = [min(s["updates"] for s in scores) + 1, max(s["bound"] for s in scores)]
    axis.plot(ends, ends, "k--", label="the bound")
    axis.set(xscale="log", yscale="log", title="separable data: updates until nothing is wrong")
    axis.set(xlabel="Novikoff's bound $(R/\\gamma)^2$", ylabel="updates made")
    axis.legend(title="gap to the line", fontsize=8, title_fontsize=8, loc="upper left")
    axis = axes[4]
    longest = max(len(updates) for *_, updates in runs.values())
    for (name, (*_, updates)), color in zip(runs.items(), COLORS[2:], strict=False):
        total = np.cumsum(updates)
        at = np.arange(1, len(total) + 1)
        axis.plot(at, total, "o-", markersize=3, color=color, label=name)
        if updates[-1] == 0:
            axis.hlines(total[-1], at[-1], longest, colors=color, linewidth=1)
            axis.hlines(bound, 1, longest, colors=color, linestyles="--", label="its bound")
    axis.set(xscale="log", yscale="log", title="without a separating line the updates never end")
    axis.set(xlabel="epoch (pass over the examples)", ylabel="updates so far")
    axis.legend()
    return figure


def main():
    parser = options(__doc__, examples=80, epochs=200, repeats=8)
    given = parser.parse_args()
    if not 10 <= given.examples <= 500:
        parser.error("--examples: expected 10 to 500")
    if not 2 <= given.epochs <= 2000:
        parser.error("--epochs: expected 2 to 2000")
    if not 1 <= given.repeats <= 50:
        parser.error("--repeats: expected 1 to 50")
    rng = np.random.default_rng(given.seed)
    scores = []
    for gap in MARGINS:
        for _ in range(given.repeats):
            x, y = separable(rng, given.examples, gap)
            # the bound says when it must end: every epoch but the last makes an update
            bound = bound_of(x, y)
            weights, updates = train(x, y, int(bound) + 2)
            right = bool((same_as_rule(weights[-1], x) == y).all())
            scores.append(
                {"gap": gap, "updates": len(weights) - 1, "bound": bound, "epochs": len(updates)}
                | {"all right": right, "within the bound": len(weights) - 1 <= bound}
            )
    show(
        f"separable data, {given.repeats} sets a gap, {given.examples} examples each",
        ("gap", "updates, median", "most", "bound, median", "most of updates/bound", "converged"),
        [
            (
                gap,
                float(np.median([s["updates"] for s in own])),
                max(s["updates"] for s in own),
                float(np.median([s["bound"] for s in own])),
                max(s["updates"] / s["bound"] for s in own),
                f"{sum(s['all right'] for s in own)} of {len(own)}",
            )
            for gap in MARGINS
            for own in [[s for s in scores if s["gap"] == gap]]
        ],
    )
    line = separable(np.random.default_rng(given.seed + 1), given.examples, 0.1)
    xor = np.array([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]]), np.array([0, 1, 1, 0])
    moons = make_moons(given.examples, noise=0.1, random_state=given.seed)
    data = {"a line separates": line, "XOR": xor, "two moons": moons}
    runs = {name: (x, y, *train(x, y, given.epochs)) for name, (x, y) in data.items()}
    shown = {}
    for name, (x, y, weights, updates) in runs.items():
        wrong = int((same_as_rule(weights[-1], x) != y).sum())
        # (R/margin)^2 >= updates, so so many updates leave no larger margin than this
        at_most = np.linalg.norm(with_one(x), axis=1).max() / np.sqrt(len(weights) - 1)
        shown[name] = {
            "epochs": len(updates),
            "updates": len(weights) - 1,
            "updates of the last epoch": updates[-1],
            "wrong at the end": f"{wrong} of {len(y)}",
            "so the margin is at most": float(at_most),
        }
    columns = ("data", *shown["XOR"])
    show("three sets", columns, [(name, *row.values()) for name, row in shown.items()])
    loss, gradient = gradient_through_the_step(*line)
    show(
        "gradient descent through the step",
        ("squared error at the start", "largest entry of its gradient"),
        [(loss, gradient)],
    )
    numbers = {
        "separable": scores,
        "three sets": shown,
        "bound of the first": bound_of(*line),
        "gradient through the step": gradient,
    }
    keep(given.out, "perceptron", draw(runs, scores, bound_of(*line)), numbers)


if __name__ == "__main__":
    main()
