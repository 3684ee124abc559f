"""How much memory and time does a softmax over many classes need, if its logits are never held?

Value and gradients (h, w, b) of the mean cross-entropy of h @ w + b, compiled ahead: Optax with
jax.grad beside linear_softmax_cross_entropy with tiles of several sizes and with every option.
Results of one loss are checked against each other, then all are timed in turn in one process.
Look at the ratios: 1 is Optax; of CPU time where other programs run too.

    python experiments/bench_fused.py            2,048 examples, 256 features, 32,768 classes
    python experiments/bench_fused.py --quick    256 examples, 64 features, 4,096 classes
"""

import statistics
import time

import jax
import jax.numpy as jnp
import numpy as np
import optax
from common import keep, options, show

import manualbp as bp


def main():
    parser = options(__doc__, rounds=5)
    parser.add_argument("--quick", action="store_true", help="small shapes")
    given = parser.parse_args()
    if not 1 <= given.rounds <= 1000:
        parser.error("--rounds: expected 1 to 1000")
    n, features, classes = (256, 64, 4096) if given.quick else (2048, 256, 32768)
    keys = jax.random.split(jax.random.key(given.seed), 4)
    h = jax.random.normal(keys[0], (n, features))
    w = jax.random.normal(keys[1], (features, classes)) / features**0.5
    b = 0.1 * jax.random.normal(keys[2], (classes,))
    labels = jax.random.randint(keys[3], (n,), 0, classes)

    def plain(h, w, b, labels):
        return optax.softmax_cross_entropy_with_integer_labels(h @ w + b, labels)

    fused = bp.linear_softmax_cross_entropy
    weights = jnp.linspace(0.5, 1.5, classes)
    optioned = fused(ignore=-100, label_smoothing=0.1, z_loss=1e-4, weighted=True)
    losses = {"Optax and jax.grad": plain, "fused": fused()}
    for chunk, rows in ((classes // 32, n), (classes // 16, n), (classes // 64, n // 8)):
        losses[f"fused, {rows} x {chunk} at a time"] = fused(chunk, rows=rows)
    every = "fused, every option"
    losses[every] = lambda *a: optioned(*a, weights)

    def compiled(loss):
        step = jax.value_and_grad(lambda *a: jnp.mean(loss(*a)), argnums=(0, 1, 2))
        return jax.jit(step).lower(h, w, b, labels).compile()

    programs = {name: compiled(loss) for name, loss in losses.items()}
    wanted = None
    for name, program in programs.items():
        if name == every:
            continue
        found = jax.block_until_ready(program(h, w, b, labels))
        wanted = wanted or found
        for x, y in zip(jax.tree.leaves(found), jax.tree.leaves(wanted), strict=True):
            np.testing.assert_allclose(x, y, rtol=1e-3, atol=1e-4 * float(jnp.abs(y).max()))
    times, busy = ({name: [] for name in programs} for _ in range(2))
    for _ in range(given.rounds):
        for name, program in programs.items():
            start, used = time.perf_counter(), time.process_time()
            jax.block_until_ready(program(h, w, b, labels))
            times[name].append(time.perf_counter() - start)
            busy[name].append(time.process_time() - used)
    rows = [
        [
            name,
            statistics.median(times[name]),
            statistics.median(busy[name]),
            p.memory_analysis().temp_size_in_bytes / 1e6,
        ]
        for name, p in programs.items()
    ]
    rows = [[*row, *(own / optax for own, optax in zip(row[1:], rows[0][1:], strict=True))]
            for row in rows]  # fmt: skip
    columns = ["", "s", "CPU s", "temporary MB", "time / Optax", "CPU / Optax", "memory / Optax"]
    title = f"{n} x {features} x {classes}, median of {given.rounds}"
    show(title, columns, rows)
    keep(given.out, "bench_fused", None, {"title": title, "columns": columns, "rows": rows})


if __name__ == "__main__":
    main()
