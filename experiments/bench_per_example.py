"""What does clipping each example's gradient cost, if no example's gradient is ever made?

A compiled gradient of a minibatch, by hand, beside the norms of its examples, its clipped mean
(as DP-SGD wants it), its noise scale, and the clipped mean as vmap(jax.grad) makes it. All are
compiled ahead, clipped means are checked against each other, then timed in turn in one process.
MB are of temporary memory. Look at the columns of ratios: 1 is a plain step.

    python experiments/bench_per_example.py            784-1024-1024-10, batch 256
    python experiments/bench_per_example.py --quick    784-256-10, batch 64, a few seconds
"""

import statistics
import time

import jax
import jax.numpy as jnp
import numpy as np
from common import keep, options, show

import manualbp as bp

CLIP = 1.0


def by_vmap(params, x, labels):
    """The clipped mean as one writes it in plain JAX: g / max(1, ||g|| / C), averaged."""

    def loss(params, x, label):
        for i in range(0, len(params), 2):
            x = x @ params[i].w + params[i].b
            x = jax.nn.relu(x) if i < len(params) - 2 else x
        return -jax.nn.log_softmax(x)[label]

    each = jax.vmap(jax.grad(loss), in_axes=(None, 0, 0))(params, x, labels)
    leaves = [g.reshape(len(x), -1) for g in jax.tree.leaves(each)]
    norms = jnp.sqrt(sum(jnp.sum(g * g, axis=1) for g in leaves))
    scale = 1 / (len(x) * jnp.maximum(1, norms / CLIP))
    return jax.tree.map(lambda g: jnp.tensordot(scale, g, axes=1), each)


def main():
    parser = options(__doc__, seconds=20.0)
    parser.add_argument("--quick", action="store_true", help="a small network, a short race")
    given = parser.parse_args()
    if not 0 < given.seconds < 3600:
        parser.error("--seconds: expected a time between 0 and 3600")
    widths, batch = ((784, 256, 10), 64) if given.quick else ((784, 1024, 1024, 10), 256)
    seconds = min(given.seconds, 2.0) if given.quick else given.seconds
    network = bp.mlp(widths)
    keys = jax.random.split(jax.random.key(given.seed), 3)
    params = network.init(keys[0])
    x = jax.random.normal(keys[1], (batch, widths[0]))
    labels = jax.random.randint(keys[2], (batch,), 0, widths[-1])
    steps = {
        "plain": network.loss_and_grad,
        "norms": lambda *a: bp.per_example_norms(network, *a),
        "clipped": lambda *a: bp.clipped_grads(network, *a, CLIP),
        "by layer": lambda *a: bp.clipped_grads(network, *a, CLIP, per_layer=True),
        "with noise": lambda *a: bp.clipped_grads(network, *a, CLIP, keys[0], 1.0),
        "noise scale": lambda *a: bp.gradient_noise_scale(network, *a),
        "vmap(grad)": by_vmap,
    }
    programs = {name: jax.jit(f).lower(params, x, labels).compile() for name, f in steps.items()}
    run = {name: lambda p=p: jax.block_until_ready(p(params, x, labels)) for name, p in
           programs.items()}  # fmt: skip
    wanted, found = run["vmap(grad)"](), run["clipped"]()
    for a, b in zip(jax.tree.leaves(wanted), jax.tree.leaves(found), strict=True):
        np.testing.assert_allclose(b, a, rtol=1e-3, atol=1e-5 * float(jnp.abs(a).max()))
    times = {name: [] for name in run}
    end = time.perf_counter() + seconds
    while time.perf_counter() < end or len(times["vmap(grad)"]) < 2:
        for name, once in run.items():
            for _ in range(1 if name == "vmap(grad)" else 5):  # a slow one less often
                start = time.perf_counter()
                once()
                times[name].append(time.perf_counter() - start)
    rows = []
    for name, program in programs.items():
        memory = program.memory_analysis().temp_size_in_bytes
        flops = program.cost_analysis()["flops"]
        rows.append([name, 1e3 * statistics.median(times[name]), memory / 1e6, flops / 1e9])
    plain = rows[0]
    rows = [[*row, row[1] / plain[1], row[2] / plain[2], row[3] / plain[3]] for row in rows]
    columns = ["", "ms", "MB", "Gflop", "time ratio", "MB ratio", "flop ratio"]
    title = f"{'-'.join(map(str, widths))}, batch {batch}, median of {len(times['plain'])}"
    show(title, columns, rows)
    keep(given.out, "bench_per_example", None, {"title": title, "columns": columns, "rows": rows})


if __name__ == "__main__":
    main()
