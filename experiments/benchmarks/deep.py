"""How much memory does a step of a deep network need, if blocks of layers go forward twice?

Peak temporary memory and operations of one compiled step, value and gradient, as XLA counts them:
`mlp` fast and lean beside jax.value_and_grad of the network written plainly, and with
jax.checkpoint around each block of sqrt(layers) of it. Gradients of the smallest network are
checked against each other; nothing else is run.

    python experiments/benchmarks/deep.py            8, 16 and 32 hidden layers of 512, batch 2,048
    python experiments/benchmarks/deep.py --quick    4 and 9 of 64, batch 256
"""

import math

import jax
import jax.numpy as jnp
from measure import agree, compiled, cross_entropy, finish, options, target

import manualbp as bp

ACTIVATIONS = {"relu": (bp.relu, jax.nn.relu), "tanh": (bp.tanh, jnp.tanh)}


def plain(activation, size, around):
    """The loss as one writes it in JAX, hidden layers in blocks of so many."""

    def block(layers, x):
        for layer in layers:
            x = activation(x @ layer.w + layer.b)
        return x

    def loss(params, x, labels):
        *hidden, last = params[::2]
        for i in range(0, len(hidden), size):
            x = around(block)(hidden[i : i + size], x)
        return cross_entropy(x @ last.w + last.b, labels)

    return jax.value_and_grad(loss)


def check(programs, network, x, labels, seed):
    """One call of each: the same loss and gradients."""
    keys = jax.random.split(jax.random.key(seed), 3)
    args = (
        network.init(keys[0]),
        jax.random.normal(keys[1], x.shape),
        jax.random.randint(keys[2], labels.shape, 0, network.widths[-1]),
    )
    for program in programs:
        agree(program(*args), programs[-1](*args), atol=1e-4)


def main():
    given = options(__doc__).parse_args()
    depths, width, batch = ((4, 9), 64, 256) if given.quick else ((8, 16, 32), 512, 2048)
    rows, ratios = [], []
    for name, (rule, function) in ACTIVATIONS.items():
        for depth in depths:
            widths, size = (width,) * (depth + 1) + (10,), math.isqrt(depth + 1)
            fast, lean = (bp.mlp(widths, activation=rule, memory=m) for m in ("fast", "lean"))
            params = jax.eval_shape(lambda n=fast: n.init(jax.random.key(0)))
            x = jax.ShapeDtypeStruct((batch, width), jnp.float32)
            labels = jax.ShapeDtypeStruct((batch,), jnp.int32)
            steps = (
                fast.loss_and_grad,
                lean.loss_and_grad,
                plain(function, size, lambda f: f),
                plain(function, size, jax.checkpoint),
            )
            found = [compiled(step, params, x, labels, repeats=1) for step in steps]
            programs, memory, seconds = zip(*found, strict=True)
            if depth == depths[0]:
                check(programs, fast, x, labels, given.seed)
            work = programs[1].cost_analysis()["flops"] / programs[0].cost_analysis()["flops"]
            ratios.append((memory[1] / min(memory[2:]), work, depth))
            rows.append([name, depth, *memory, ratios[-1][0], work, *seconds])
    columns = [
        "", "hidden layers", "fast MB", "lean MB", "autodiff MB", "jax.checkpoint MB",
        "memory lean / best of autodiff", "flop lean / fast", "fast compile s", "lean compile s",
        "autodiff compile s", "jax.checkpoint compile s",
    ]  # fmt: skip
    deepest = [r for r in ratios if r[2] == depths[-1]]
    targets = [
        target("memory, lean / best of autodiff, deepest", max(r[0] for r in deepest), 0.5),
        target("flop, lean / fast, worst row", max(r[1] for r in ratios), 1.35),
    ]
    title = f"width {width}, batch {batch}, {jax.devices()[0].device_kind}"
    finish(given, "deep", title, columns, rows, targets)


if __name__ == "__main__":
    main()
