"""Which way does gradient descent go: on a convex surface, on one with two minima, in a valley?

All in two weights, so that the loss is a surface and the descent a path, in float64, with
gradients derived by hand. Logistic regression on overlapping and on separable classes, the
network w2 tanh(w1 x), and least squares in a narrow valley, with steps below and beyond
2/lambda_max.

    python experiments/descent_paths.py

Look at: which starts end where. One minimum if convex; two if not, and a saddle between them at
which descent hangs; a zig-zag across the valley, and beyond 2/lambda_max no descent at all; and
separable classes, where a convex loss has no minimum and the weights grow as log t for ever.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
from common import COLORS, keep, options, show
from matplotlib import pyplot as plt
from sklearn.datasets import load_breast_cancer, load_iris

import manualbp as bp

# Fractions of the limit 2/lambda_max, and steps that are drawn
FRACTIONS = {1.05: 8, 0.95: 40, 0.1: 40}
SWEEP = (0.2, 0.4, 0.6, 0.8, 0.9, 0.95, 0.98, 1.02, 1.05, 1.1, 1.2)


def standardised(v):
    return (v - v.mean(axis=0)) / v.std(axis=0)


class Surface:
    """A loss of two weights (u, v) with its gradient, from a network of manualbp."""

    def __init__(self, network, x, y, pack, unpack):
        """Take the network, its data, and how two weights become its parameters and back."""
        self.network, self.x, self.y = network, jnp.asarray(x), jnp.asarray(y)
        self.pack, self.unpack = pack, unpack

    def at(self, weights):
        """The loss and its gradient by the two weights, by hand."""
        loss, grad = self.network.loss_and_grad(self.pack(weights), self.x, self.y, check=False)
        return loss, self.unpack(grad)

    @functools.partial(jax.jit, static_argnums=(0, 3))
    def descend(self, start, rate, steps):
        """The path of gradient descent, shape (steps + 1, 2), and the loss at each point."""

        def step(weights, _):
            loss, gradient = self.at(weights)
            return weights - rate * gradient, (weights, loss)

        return jax.lax.scan(step, start, length=steps + 1)[1]

    def grid(self, us, vs):
        """The loss over a grid, rows along v."""
        points = jnp.stack(jnp.meshgrid(us, vs), axis=-1).reshape(-1, 2)
        losses = jax.jit(lambda p: jax.lax.map(lambda w: self.at(w)[0], p, batch_size=256))
        return losses(points).reshape(len(vs), len(us))


def line(loss, x, y, bias):
    """A surface over weight and bias, or over two weights and no bias, of a linear model."""
    if bias:
        network = bp.mlp((1, 1), loss=loss)
        pack = lambda w: (bp.Dense(w[:1, None], w[1:]), ())  # noqa: E731
        unpack = lambda g: jnp.concatenate([g[0].w[:, 0], g[0].b])  # noqa: E731
    else:
        network = bp.mlp((2, 1), loss=loss, layer=bp.dense_without_bias)
        pack, unpack = lambda w: (w[:, None], ()), lambda g: g[0][:, 0]
    return Surface(network, x, np.reshape(y, (-1, 1)).astype(np.float64), pack, unpack)


def overlapping():
    """Logistic regression of the diagnosis on one measurement, 'mean texture'."""
    x, y = load_breast_cancer(return_X_y=True)
    return line(bp.sigmoid_binary_cross_entropy, standardised(x[:, 1:2]), y, bias=True)


def separable(flipped=0):
    """Logistic regression of setosa against versicolor on length and width of petals, no bias.

    With so many labels flipped the classes overlap.
    """
    x, y = load_iris(return_X_y=True)
    x, y = standardised(x[y < 2, 2:]), y[y < 2].copy()
    y[:flipped] = 1
    return line(bp.sigmoid_binary_cross_entropy, x, y, bias=False)


def two_minima():
    """The network w2 tanh(w1 x), squared error, on the values of tanh(1.5 x)."""
    network = bp.mlp(
        (1, 1, 1), activation=bp.tanh, loss=bp.squared_error, layer=bp.dense_without_bias
    )
    x = np.linspace(-2, 2, 21)[:, None]
    return Surface(
        network, x, np.tanh(1.5 * x),
        lambda w: (w[:1, None], (), w[1:, None], ()),
        lambda g: jnp.concatenate([g[0][0], g[2][0]]),
    )  # fmt: skip


def valley():
    """Least squares on two measurements that say nearly the same, and its Hessian.

    'mean compactness' and 'mean concavity' of the tumours, against 'mean concave points'.
    """
    x = standardised(load_breast_cancer().data[:, 5:8])
    surface = line(bp.squared_error, x[:, :2], x[:, 2], bias=False)
    return surface, 2 * x[:, :2].T @ x[:, :2] / len(x)  # of mean (w . x - y)^2


def on_the_border(surface, u, low, high, rate, steps):
    """A start (u, v) between those that end in one minimum and in the other, by bisection."""
    for _ in range(52):  # until low and high are neighbours in float64
        middle = (low + high) / 2
        path, _ = surface.descend(jnp.array([u, middle]), rate, steps)
        low, high = (middle, high) if path[-1, 0] < 0 else (low, middle)
    return [u, (low + high) / 2]


def growth(surface, hessian, fractions, steps=60):
    """The factor of |w - w*| a step once the steepest direction rules: measured and predicted.

    A step multiplies the error along an eigenvector of eigenvalue l by 1 - eta l; started along
    the steepest one, |1 - eta lambda_max|, which is 1 at eta = 2/lambda_max.
    """
    values, vectors = np.linalg.eigh(hessian)
    least = np.linalg.lstsq(np.asarray(surface.x), np.asarray(surface.y)[:, 0], rcond=None)[0]
    rows = []
    for fraction in fractions:
        rate = fraction * 2 / values[-1]
        start = jnp.array(least + vectors[:, -1])
        path, losses = (np.asarray(v) for v in surface.descend(start, rate, steps))
        far = np.linalg.norm(path - least, axis=1)
        # over the steps in which rounding has no say yet
        last = int(np.flatnonzero(far > 1e-9)[-1])
        rows.append({
            "rate / limit": fraction,
            "predicted": float(abs(1 - rate * values[-1])),
            "measured": float((far[last] / far[0]) ** (1 / last)),
            "loss at start": float(losses[0]),
            "loss at end": float(losses[-1]),
        })  # fmt: skip
    return rows


def margin(x, y):
    """The largest least margin of a line through 0: max over |u| = 1 of min y_i (x_i . u)."""
    angles = np.linspace(0, 2 * np.pi, 360001)
    signed = np.asarray(x) * (2 * np.asarray(y) - 1)
    least = np.full(angles.shape, np.inf)
    for a, b in signed:
        least = np.minimum(least, a * np.cos(angles) + b * np.sin(angles))
    return float(least.max())


def contours(ax, surface, us, vs, levels, title):
    us, vs = jnp.linspace(*us, 81), jnp.linspace(*vs, 81)
    z = np.asarray(surface.grid(us, vs))
    levels = np.quantile(z, np.linspace(0, 1, levels) ** 2)
    ax.contour(us, vs, z, levels=levels, colors="0.75", linewidths=0.8)
    ax.grid(visible=False)
    ax.set(xlabel="$w_1$", ylabel="$w_2$", title=title)


def draw_path(ax, path, color, label=None):
    path = np.asarray(path)
    ax.plot(*path.T, ".-", ms=3, lw=1.2, color=color, label=label)
    ax.plot(*path[0], "o", ms=7, color=color, mec="k")


def one_minimum(ax):
    """Panel 1: a convex surface."""
    surface = overlapping()
    starts = [(-4.5, 2.5), (-4.0, -2.5), (2.0, 3.0), (2.5, -2.5), (0.0, 0.0)]
    contours(ax, surface, (-5, 3), (-3.5, 3.5), 14, "Convex: every start, one minimum")
    ends = []
    for start, color in zip(starts, COLORS, strict=False):
        path, losses = surface.descend(jnp.array(start), 1.0, 400)
        draw_path(ax, path, color)
        ends.append({"start": start, "end": path[-1], "loss": float(losses[-1])})
    ax.plot(*ends[0]["end"], "k*", ms=14, label="minimum")
    ax.set(xlabel="weight", ylabel="bias")
    ax.legend(loc="lower center")
    return ends


def saddle_and_minima(ax, over_time):
    """Panels 2 and 3: two minima and the saddle, and how long descent hangs there."""
    surface, rate, steps = two_minima(), 0.1, 3000
    border = on_the_border(surface, -1.0, 0.0, 2.2, rate, steps)
    starts = {
        (2.5, -0.5): 0, (0.5, 2.0): 0, (-0.6, 1.4): 0,
        (-2.5, 0.5): 1, (-0.5, -2.0): 1, (0.6, -1.4): 1,
        tuple(border): 2, (0.0, 0.0): 6,
    }  # fmt: skip
    contours(ax, surface, (-3, 3), (-2.5, 2.5), 16, "$w_2 \\tanh(w_1 x)$: two minima, a saddle")
    found = []
    for start, color in starts.items():
        path, losses = surface.descend(jnp.array(start), rate, steps)
        draw_path(ax, path, COLORS[color])
        found.append({"start": start, "end": path[-1], "loss": float(losses[-1])})
    ax.plot(*np.array([found[0]["end"], found[3]["end"]]).T, "k*", ms=14, label="minimum")
    ax.plot(0, 0, "kX", ms=10, label="saddle, a start too")
    ax.legend(loc="upper left", fontsize=8)

    left = []
    for i, off in enumerate((1e-1, 1e-4, 1e-8, 1e-12, 0.0)):
        path, losses = surface.descend(jnp.array([border[0], border[1] + off]), rate, 400)
        label = f"{off:g} off the border" if off else "as near as float64 can"
        over_time.plot(losses, color=plt.colormaps["viridis"](i / 5), label=label)
        # how many steps the loss is within 1 % of the saddle's
        still = np.abs(np.asarray(losses) / found[-1]["loss"] - 1) < 0.01
        left.append({"off the border": off, "steps at the saddle's loss": int(still.sum())})
    over_time.axhline(found[-1]["loss"], color="k", ls=":", label="start at (0, 0): for ever")
    over_time.set(xlabel="steps", ylabel="mean squared error", ylim=(0, 1),
                  title="At the saddle the loss stands still")  # fmt: skip
    over_time.legend(fontsize=8, loc="upper right")
    return {"ends": found, "border": border, "waits": left}


def steps_in_a_valley(ax, factors):
    """Panels 4 and 5: zig-zag and divergence in a valley."""
    surface, hessian = valley()
    values = np.linalg.eigvalsh(hessian)
    limit = 2 / values[-1]
    title = f"A valley, $\\lambda_{{max}}/\\lambda_{{min}}$ = {values[-1] / values[0]:.0f}"
    contours(ax, surface, (-1.6, 1.8), (-0.8, 2.6), 18, title)
    runs = []
    for (fraction, steps), color in zip(FRACTIONS.items(), COLORS, strict=False):
        path, losses = surface.descend(jnp.array([-1.2, 0.9]), fraction * limit, steps)
        label = f"$\\eta$ = {fraction} $\\cdot\\, 2/\\lambda_{{max}}$, {steps} steps"
        draw_path(ax, path, color, label)
        runs.append({"rate / limit": fraction, "path": path, "loss": losses})
    least = np.linalg.lstsq(np.asarray(surface.x), np.asarray(surface.y)[:, 0], rcond=None)[0]
    ax.plot(*least, "k*", ms=14, label="minimum")
    ax.set(xlim=(-1.6, 1.8), ylim=(-0.8, 2.6))
    ax.legend(loc="lower right", fontsize=8)
    rows = growth(surface, hessian, SWEEP)
    fine = np.linspace(0, 1.25, 100)
    factors.plot(fine, np.abs(1 - 2 * fine), "-", color="0.5", label=r"$|1 - \eta\lambda_{max}|$")
    factors.plot([r["rate / limit"] for r in rows], [r["measured"] for r in rows], "o",
                 label="measured")  # fmt: skip
    factors.axhspan(1, 1.6, color=COLORS[1], alpha=0.12)
    factors.text(0.05, 1.25, "the error grows: divergence", color=COLORS[1])
    factors.set(xlabel=r"learning rate / (2/$\lambda_{max}$)", ylabel="factor of the error a step",
                ylim=(0, 1.6), title="The limit of the rate is 2/$\\lambda_{max}$")  # fmt: skip
    factors.legend(loc="lower left")
    return {"eigenvalues": values, "limit": limit, "runs": runs, "growth": rows}


def no_minimum(ax, steps):
    """Panel 6: the norm of the weights on separable classes, and on overlapping ones."""
    times = np.unique(np.geomspace(10, steps, 60).astype(int))
    found = {}
    for flipped, label in ((0, "separable: no minimum"), (5, "5 of 100 labels flipped: a minimum")):
        surface = separable(flipped)
        path, losses = surface.descend(jnp.zeros(2), 2.0, steps)
        norms = np.linalg.norm(np.asarray(path), axis=1)
        ax.plot(times, norms[times], "o-" if not flipped else "s-", ms=3, label=label)
        found[label] = {"steps": times, "norm": norms[times], "loss": np.asarray(losses)[times]}
        if not flipped:
            decades = 10 ** np.arange(1, len(str(steps)) - 1)
            slopes = {
                f"{t} to {10 * t}": float((norms[10 * t] - norms[t]) / np.log(10)) for t in decades
            }
            predicted = 1 / margin(surface.x, surface.y)
            ax.plot(times, norms[times[-1]] + predicted * np.log(times / times[-1]), "--",
                    color="0.4", label=f"slope 1/margin = {predicted:.3g}")  # fmt: skip
            found["slopes of the norm by log t"] = slopes
            found["1 / margin"] = predicted
    ax.set(xlabel="steps t", ylabel="norm of the weights", xscale="log", ylim=(0, None),
           title="Separable classes: the norm grows as log t")  # fmt: skip
    ax.legend(loc="upper left", fontsize=8)
    return found


def main():
    parser = options(__doc__, steps=100000)
    chosen = parser.parse_args()
    if not 1000 <= chosen.steps <= 10**7:
        parser.error(f"--steps: expected 1000 to 10000000, got {chosen.steps}")
    figure, axes = plt.subplots(2, 3, figsize=(16, 10))
    with jax.enable_x64(True):
        convex = one_minimum(axes[0, 0])
        non_convex = saddle_and_minima(axes[0, 1], axes[0, 2])
        narrow = steps_in_a_valley(axes[1, 0], axes[1, 1])
        endless = no_minimum(axes[1, 2], chosen.steps)

    pair = lambda w: "({:.6f}, {:.6f})".format(*map(float, w))  # noqa: E731
    columns = ("start", "end", "loss at the end")
    show("Convex: logistic regression in weight and bias", columns,
         [(pair(r["start"]), pair(r["end"]), r["loss"]) for r in convex])  # fmt: skip
    show("Not convex: w2 tanh(w1 x)", columns,
         [(pair(r["start"]), pair(r["end"]), r["loss"]) for r in non_convex["ends"]])  # fmt: skip
    show(f"Valley: factor of the error a step; limit 2/lambda_max = {narrow['limit']:.4f}",
         ("rate / limit", "predicted", "measured", "loss at start", "after 60 steps"),
         [tuple(r.values()) for r in narrow["growth"]])  # fmt: skip
    show("How long it hangs: steps with a loss within 1 % of the saddle's",
         ("start off the border", "steps"),
         [tuple(r.values()) for r in non_convex["waits"]])  # fmt: skip
    show(f"Logistic regression: norm of the weights after {chosen.steps} steps",
         ("classes", "norm"),
         [(k, float(v["norm"][-1])) for k, v in endless.items() if "minimum" in k])  # fmt: skip
    law = endless["1 / margin"]
    show(f"Separable: slope of the norm by log t, in the limit 1/margin = {law:.4g}",
         ("steps", "slope"),
         list(endless["slopes of the norm by log t"].items()))  # fmt: skip
    keep(chosen.out, "descent_paths", figure, {
        "convex": convex, "not convex": non_convex, "valley": narrow, "no minimum": endless,
    })  # fmt: skip


if __name__ == "__main__":
    main()
