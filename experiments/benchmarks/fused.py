"""How much memory and time does a softmax over many classes need, if its logits are never held?

Value and gradients (h, w, b) of the mean cross-entropy of h @ w + b, compiled ahead: Optax with
jax.grad beside linear_softmax_cross_entropy with tiles of several sizes and with every option.
Results of one loss are checked against each other, then all are timed in turn in one process.
Look at the ratios: 1 is Optax; of CPU time where other programs run too.

    python experiments/benchmarks/fused.py            2,048 examples, 256 features, 32,768 classes
    python experiments/benchmarks/fused.py --quick    256 examples, 64 features, 4,096 classes
"""

import jax
import jax.numpy as jnp
import optax
from measure import (
    agree,
    compiled,
    finish,
    milliseconds,
    options,
    quartiles,
    ratio,
    take_turns,
    target,
)

import manualbp as bp


def main():
    parser = options(__doc__, rounds=5)
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
    plainly = "Optax and jax.grad"
    losses = {plainly: plain, "fused": fused()}
    for chunk, rows in ((classes // 32, n), (classes // 16, n), (classes // 64, n // 8)):
        losses[f"fused, {rows} x {chunk} at a time"] = fused(chunk, rows=rows)
    every = "fused, every option"
    losses[every] = lambda *a: optioned(*a, weights)

    args, programs, memory, compiling = (h, w, b, labels), {}, {}, {}
    for name, loss in losses.items():
        step = jax.value_and_grad(lambda *a, f=loss: jnp.mean(f(*a)), argnums=(0, 1, 2))
        programs[name], memory[name], compiling[name] = compiled(step, *args, repeats=1)
        if name != every:  # another loss
            agree(programs[name](*args), programs[plainly](*args), atol=1e-4)
    times = take_turns(programs, args, 0, least=given.rounds)
    rows = [
        [
            name,
            milliseconds(times, name),
            ratio(times, name, plainly),
            quartiles(times, name, plainly),
            ratio(times, name, plainly, clock=1),
            memory[name],
            memory[name] / memory[plainly],
            compiling[name],
        ]
        for name in programs
    ]
    columns = ["", "ms", "time / Optax", "quartiles", "CPU time / Optax", "temporary MB",
               "memory / Optax", "compile s"]  # fmt: skip
    targets = [
        target("time, fused / Optax", ratio(times, "fused", plainly), 1.0),
        target("CPU time, fused / Optax", ratio(times, "fused", plainly, clock=1), 1.0),
        target("memory, fused / Optax", memory["fused"] / memory[plainly], 0.15),
    ]
    title = f"{n} x {features} x {classes}, medians of {given.rounds} rounds"
    finish(given, "fused", title, columns, rows, targets)


if __name__ == "__main__":
    main()
