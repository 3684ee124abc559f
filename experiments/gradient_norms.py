"""How much gradient reaches each layer of a deep network, and how do ReLU units die?

Plain stacks of one activation on the handwritten digits of scikit-learn (8 x 8 pixels): the norm of
dL/dW in every layer before any training, by `network.loss_and_grad`; and the share of ReLU units
that are 0 for every example (dead: no example moves their weights) before a few plain gradient
steps, after them, and after more steps of an ordinary size.

    python experiments/gradient_norms.py
    python experiments/gradient_norms.py --depth 40

Look at: sigmoid loses a factor in every layer; which initialisation keeps which activation level;
how steps that are too large, or biases that are too negative, kill units, some whole layers of
them; and how few come back.
"""

import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
from common import COLORS, keep, options, show
from sklearn.datasets import load_digits

import manualbp as bp

ACTIVATIONS = {
    "sigmoid": bp.sigmoid,
    "tanh": bp.tanh,
    "relu": bp.relu,
    "leaky relu": bp.leaky_relu(),
    "elu": bp.elu(),
    "silu": bp.silu,
}
INITIALIZERS = {
    "glorot": bp.initializers.glorot,
    "he": bp.initializers.he,
    "gaussian": bp.initializers.gaussian,
}
ORDINARY = 0.05  # a step size at which the network with he weights learns
RATES = (ORDINARY, 0.5, 0.7)
BIASES = (-0.3, -0.5, -1.0)
MORE = 50  # ordinary steps, after which units could have come back
WHEN = ("at the start", "after the steps", "later")


def examples(number):
    """The first digits, with mean 0 and variance 1 over all pixels."""
    x, y = load_digits(return_X_y=True)
    x = (x - x.mean()) / x.std()
    return jnp.asarray(x[:number], jnp.float32), jnp.asarray(y[:number])


def norms(grads):
    """The norm of dL/dW of each layer."""
    return [float(np.linalg.norm(np.asarray(layer.w, float))) for layer in grads[::2]]


def dead(params, x):
    """For each hidden layer, the share of ReLU units that are 0 for every example."""
    h, shares = np.asarray(x, float), []
    for layer in params[:-2:2]:
        h = np.maximum(h @ np.asarray(layer.w, float) + np.asarray(layer.b, float), 0)
        shares.append(float((h.max(axis=0) == 0).mean()))
    return shares


def shifted(params, bias):
    """The same weights, with every hidden bias set."""
    hidden = [
        layer._replace(b=jnp.full_like(layer.b, bias)) if layer else layer for layer in params[:-2]
    ]
    return (*hidden, *params[-2:])


def descend(net, params, x, y, rate, steps):
    """Plain gradient steps on all examples, as long as loss and gradient are finite numbers.

    Returns:
      The parameters, the loss before each step and after the last, the gradient at the end.
    """
    losses, last = [], None
    for step in range(steps + 1):
        loss, grads = net.loss_and_grad(params, x, y, check=False)
        if not (np.isfinite(loss) and np.isfinite(norms(grads)).all()):
            break
        losses.append(float(loss))
        last = params, losses, grads
        if step < steps:
            params = jax.tree.map(lambda p, g: p - rate * g, params, grads)
    return last


def dying(x, y, seed, depth, width, steps):
    """ReLU from he weights: too large steps, or the same weights with negative biases."""
    net = bp.mlp((x.shape[1], *(width,) * depth, 10), init=bp.initializers.he)
    start = net.init(jax.random.key(seed))
    runs = [(None, start, rate) for rate in RATES]
    runs += [(f"biases {bias}", shifted(start, bias), ORDINARY) for bias in BIASES]
    rows = []
    for name, params, rate in runs:
        after, losses, grads = descend(net, params, x, y, rate, steps)
        later, more, later_grads = descend(net, after, x, y, ORDINARY, MORE)
        rows.append(
            {
                "run": name or f"{len(losses) - 1} steps of {rate}",
                "finite steps": [len(losses) - 1, len(more) - 1],
                "dead at the start": dead(params, x),
                "dead after the steps": dead(after, x),
                "dead later": dead(later, x),
                "loss": [losses[0], losses[-1], more[-1]],
                "norm of dL/dW after the steps": norms(grads),
                "norm of dL/dW later": norms(later_grads),
            }
        )
    return rows


def draw(at_start, dead_at_start, rows, steps):
    figure, axes = plt.subplots(2, 3, figsize=(13, 8.5))
    every = np.array([norm for own in at_start.values() for norm in own.values()])
    least, most = every[every > 0].min(), every.max()
    for axis, (init, own) in zip(axes[0], at_start.items(), strict=True):
        for (name, norm), color in zip(own.items(), COLORS, strict=False):
            style = "--" if name == "leaky relu" else "-"  # it lies on relu
            axis.plot(range(1, len(norm) + 1), norm, style, color=color, label=name)
        axis.set(yscale="log", title=f"gradient at the start, {init} weights")
        axis.set(xlabel="layer (1 next to the inputs)", ylabel="norm of dL/dW, log scale")
        axis.set_ylim(least / 3, most * 3)
    axes[0, 0].legend(loc="lower right", fontsize=9)
    for (init, shares), color in zip(dead_at_start.items(), COLORS, strict=False):
        axes[1, 0].plot(range(1, len(shares) + 1), shares, "o-", ms=3, color=color, label=init)
    axes[1, 0].set(title="dead ReLU units at the start")
    layers = range(1, len(rows[0]["dead later"]) + 1)
    axes[1, 1].plot(layers, rows[0]["dead at the start"], ":", color="k", label="at the start")
    for i, row in enumerate(rows):
        axis, color = axes[1, 1 + (i >= len(RATES))], COLORS[i % len(RATES)]
        before = "dead after the steps" if i < len(RATES) else "dead at the start"
        axis.plot(layers, row[before], "o-", ms=4, color=color, label=row["run"])
        axis.plot(layers, row["dead later"], "x", ms=9, color=color)
    axes[1, 2].set(title=f"he weights, biases moved\n(cross: after {steps + MORE} ordinary steps)")
    axes[1, 1].set(
        title=f"he weights, {steps} steps or until overflow\n(cross: {MORE} ordinary ones more)"
    )
    for axis in axes[1]:
        axis.set(xlabel="hidden layer (1 next to the inputs)", ylabel="dead ReLU units, share")
        axis.set(ylim=(-0.03, 1.35), yticks=np.linspace(0, 1, 6))
        axis.xaxis.get_major_locator().set_params(integer=True)
        axis.legend(loc="upper left", fontsize=9, ncols=2)
    return figure


def main():
    parser = options(__doc__, depth=20, dying_depth=8, width=64, examples=256, steps=5)
    given = parser.parse_args()
    if not (2 <= given.depth <= 60 and 2 <= given.dying_depth <= 60):
        parser.error("--depth, --dying-depth: expected 2 to 60 hidden layers")
    if not 2 <= given.width <= 512:
        parser.error("--width: expected 2 to 512")
    if not 10 <= given.examples <= 1797:
        parser.error("--examples: expected 10 to 1797")
    if not 1 <= given.steps <= 200:
        parser.error("--steps: expected 1 to 200")
    x, y = examples(given.examples)
    widths = (x.shape[1], *(given.width,) * given.depth, 10)
    start = {
        name: bp.mlp(widths, init=init).init(jax.random.key(given.seed))
        for name, init in INITIALIZERS.items()
    }
    nets = {name: bp.mlp(widths, activation=rule) for name, rule in ACTIVATIONS.items()}
    at_start = {
        init: {name: norms(net.loss_and_grad(params, x, y)[1]) for name, net in nets.items()}
        for init, params in start.items()
    }
    show(
        f"norm of dL/dW at the start, {given.depth} hidden layers of {given.width}",
        ("activation", "weights", "first layer", "last layer", "factor a layer, downwards"),
        [
            (name, init, own[0], own[-1], (own[0] / own[-1]) ** (1 / given.depth))
            for name in ACTIVATIONS
            for init in INITIALIZERS
            for own in [at_start[init][name]]
        ],
    )
    dead_at_start = {init: dead(params, x) for init, params in start.items()}
    rows = dying(x, y, given.seed, given.dying_depth, given.width, given.steps)
    show(
        f"ReLU, {given.dying_depth} hidden layers, he weights: mean share of dead units",
        ("run", "dead: start", "then", f"{MORE} more", "loss: start", "then", f"{MORE} more"),
        [
            (row["run"], *(float(np.mean(row[f"dead {when}"])) for when in WHEN), *row["loss"])
            for row in rows
        ],
    )
    numbers = {"norm of dL/dW at the start": at_start, "dead at the start": dead_at_start}
    figure = draw(at_start, dead_at_start, rows, given.steps)
    keep(given.out, "gradient_norms", figure, {**numbers, "dying": rows})


if __name__ == "__main__":
    main()
