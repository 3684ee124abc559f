"""What can a network without, with one and with two hidden layers tell apart in the plane?

Four sets of two classes that no straight line separates: XOR, moons, circles, spirals. Networks:
no hidden layer (logistic regression), one of 32 units, two of 16 each, two of 32 each (the sizes
of note 001, 'Training Multilayer Neural Network'), and two of 32 and 16. All are trained alike, by
mini-batch gradient descent on hand-derived gradients, and judged on points held out.

    python experiments/decision_boundaries.py                      tanh units
    python experiments/decision_boundaries.py --activation relu    boundaries become polygons

Look at a column from top to bottom: a line stays a line whatever the data; and at the spirals,
which ask most of the boundary.
"""

import jax
import jax.numpy as jnp
import numpy as np
from common import COLORS, at_least, keep, options, plt, show
from matplotlib.colors import LinearSegmentedColormap
from rich.progress import track
from sklearn.datasets import make_circles, make_moons

import manualbp as bp

POINTS = 512  # for training, and as many held out
NETWORKS = {
    "no hidden layer": (),
    "32": (32,),
    "16 and 16": (16, 16),
    "32 and 32": (32, 32),
    "32 and 16": (32, 16),
}
SHADES = LinearSegmentedColormap.from_list("classes", (COLORS[0], "white", COLORS[1]))
ACTIVATIONS = {"tanh": bp.tanh, "relu": bp.relu, "sigmoid": bp.sigmoid, "silu": bp.silu}


def xor(n, rng):
    """Classes by the sign of the product of the coordinates."""
    x = rng.uniform(-1, 1, (n, 2))
    y = x[:, 0] * x[:, 1] > 0
    return x + 0.05 * rng.normal(size=x.shape), y


def spirals(n, rng):
    """Two arms of one and a half turns, each the other one turned by half a turn."""
    y = np.arange(n) % 2
    turn = np.sqrt(rng.uniform(0.02, 1, n)) * 3 * np.pi  # the root: as dense outside as inside
    angle = turn + np.pi * y
    x = turn[:, None] * np.stack([np.cos(angle), np.sin(angle)], axis=1)
    return x + 0.3 * rng.normal(size=x.shape), y


def data_sets(seed):
    """Name -> (inputs, labels), half of them for training, in units of their spread."""
    n, rng = 2 * POINTS, np.random.default_rng(seed)
    found = {
        "XOR": xor(n, rng),
        "moons": make_moons(n, noise=0.15, random_state=seed),
        "circles": make_circles(n, noise=0.1, factor=0.5, random_state=seed),
        "spirals": spirals(n, rng),
    }
    return {
        name: (
            jnp.asarray((x - x.mean(axis=0)) / x.std(axis=0), jnp.float32),
            jnp.asarray(y[:, None], jnp.float32),
        )
        for name, (x, y) in found.items()
    }


def panel(axis, network, params, x, y):
    """Probabilities as colours, the boundary as a line, held-out points."""
    reach = float(jnp.max(jnp.abs(x))) * 1.05
    line = np.linspace(-reach, reach, 150, dtype=np.float32)
    grid = np.stack(np.meshgrid(line, line), axis=-1)
    p = np.asarray(bp.sigmoid(network(params, grid)))[..., 0]
    axis.contourf(line, line, p, np.linspace(0, 1, 11), cmap=SHADES, alpha=0.45)
    if p.min() < 0.5 < p.max():
        axis.contour(line, line, p, [0.5], colors="black", linewidths=1.2)
    for label, color in ((0, "C0"), (1, "C1")):
        of_class = np.asarray(x)[np.asarray(y)[:, 0] == label]
        axis.plot(*of_class.T, ".", color=color, markersize=3)
    axis.set(xticks=[], yticks=[], aspect="equal")


def main():
    parser = options(__doc__, epochs=300, rate=0.5)
    parser.add_argument("--activation", choices=tuple(ACTIVATIONS), default="tanh")
    args = parser.parse_args()
    at_least(parser, args, epochs=1)
    if not 0 < args.rate < float("inf"):
        parser.error(f"--rate: expected a positive number, got {args.rate}")
    if not 0 <= args.seed < 2**32:
        parser.error(f"--seed: expected 0 to 2^32 - 1, got {args.seed}")

    data = data_sets(args.seed)
    # one optimiser, and one network for all data: each is compiled once
    updates = args.epochs * POINTS // 32
    optimizer = bp.gradient_descent(bp.schedules.cosine(args.rate, updates))
    figure, axes = plt.subplots(len(data), len(NETWORKS), figsize=(13, 11.2))
    found = {name: [] for name in data}
    for column, (title, hidden) in enumerate(track(NETWORKS.items(), "training")):
        network = bp.mlp(
            (2, *hidden, 1), activation=ACTIVATIONS[args.activation],
            loss=bp.sigmoid_binary_cross_entropy,
        )  # fmt: skip
        for row, (name, (x, y)) in enumerate(data.items()):
            trained = bp.train(
                network, (x[:POINTS], y[:POINTS]), optimizer, epochs=args.epochs, batch_size=32,
                key=jax.random.key(args.seed),
            )  # fmt: skip
            held_out = x[POINTS:], y[POINTS:]
            accuracy = bp.training.evaluate(network, trained.params, held_out)["accuracy"]
            found[name].append(accuracy)
            axis = axes[row, column]
            panel(axis, network, trained.params, *held_out)
            layers = f"{len(hidden)} hidden layer" + "s" * (len(hidden) > 1)
            words = f"{layers}: {title}" if hidden else title
            axis.set_title(f"{words}\nheld out: {100 * accuracy:.1f} %", fontsize=10)
            if column == 0:
                axis.set_ylabel(name, fontsize=13)
    figure.suptitle(
        f"Decision boundaries (black) of networks with {args.activation} units, and held-out "
        "points; the colour is the probability of the orange class"
    )
    columns = ("data", *NETWORKS)
    rows = [(name, *(f"{100 * a:.1f} %" for a in row)) for name, row in found.items()]
    show(f"held-out accuracy, {args.activation}, {args.epochs} epochs", columns, rows)
    numbers = {name: dict(zip(NETWORKS, row, strict=True)) for name, row in found.items()}
    keep(
        args.out,
        "decision_boundaries",
        figure,
        {"activation": args.activation, "epochs": args.epochs, "rate": args.rate,
         "held-out accuracy": numbers},
    )  # fmt: skip


if __name__ == "__main__":
    main()
