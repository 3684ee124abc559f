"""How much memory does a step of a deep network need, if blocks of layers go forward twice?

Peak temporary memory and operations of one compiled step, value and gradient, as XLA counts them:
`mlp` fast and lean beside jax.value_and_grad of the network written plainly, and with
jax.checkpoint around each block of sqrt(layers) of it. Nothing is run.

    python experiments/bench_deep.py            8, 16 and 32 hidden layers of 512, batch 2,048
    python experiments/bench_deep.py --quick    4 and 9 of 64, batch 256
"""

import math

import jax
import jax.numpy as jnp
from common import keep, options, show

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
        log_p = jax.nn.log_softmax(x @ last.w + last.b)
        return -jnp.mean(jnp.take_along_axis(log_p, labels[:, None], axis=1))

    return jax.value_and_grad(loss)


def main():
    parser = options(__doc__)
    parser.add_argument("--quick", action="store_true", help="small networks")
    given = parser.parse_args()
    depths, width, batch = ((4, 9), 64, 256) if given.quick else ((8, 16, 32), 512, 2048)
    rows = []
    for name, (rule, function) in ACTIVATIONS.items():
        for depth in depths:
            widths, size = (width,) * (depth + 1) + (10,), math.isqrt(depth + 1)
            fast, lean = (bp.mlp(widths, activation=rule, memory=m) for m in ("fast", "lean"))
            params = jax.eval_shape(lambda n=fast: n.init(jax.random.key(0)))
            x = jax.ShapeDtypeStruct((batch, width), jnp.float32)
            labels = jax.ShapeDtypeStruct((batch,), jnp.int32)
            programs = [
                jax.jit(step).lower(params, x, labels).compile()
                for step in (
                    fast.loss_and_grad,
                    lean.loss_and_grad,
                    plain(function, size, lambda f: f),
                    plain(function, size, jax.checkpoint),
                )
            ]
            memory = [p.memory_analysis().temp_size_in_bytes / 1e6 for p in programs]
            work = programs[1].cost_analysis()["flops"] / programs[0].cost_analysis()["flops"]
            rows.append([name, depth, *memory, work])
    columns = ["", "hidden layers", "fast MB", "lean MB", "autodiff MB", "jax.checkpoint MB",
               "flop lean / fast"]  # fmt: skip
    title = f"width {width}, batch {batch}, {jax.devices()[0].device_kind}"
    show(title, columns, rows)
    keep(given.out, "bench_deep", None, {"title": title, "columns": columns, "rows": rows})


if __name__ == "__main__":
    main()
