"""What does clipping each example's gradient cost, if no example's gradient is ever made?

A compiled gradient of a minibatch, by hand, beside the norms of its examples, its clipped mean
(as DP-SGD wants it), its noise scale, and the clipped mean as vmap(jax.grad) makes it. All are
compiled ahead, clipped means are checked against each other, then timed in turn in one process.
MB are of temporary memory. Look at the columns of ratios: 1 is a plain step.

    python experiments/benchmarks/per_example.py            784-1024-1024-10, batch 256
    python experiments/benchmarks/per_example.py --quick    784-256-10, batch 64, a few seconds
"""

import jax
import jax.numpy as jnp
from measure import (
    agree,
    compiled,
    finish,
    milliseconds,
    options,
    quartiles,
    ratio,
    scores,
    take_turns,
    target,
)

import manualbp as bp

CLIP = 1.0


def by_vmap(params, x, labels, activation=jax.nn.relu):
    """The clipped mean as one writes it in plain JAX: g / max(1, ||g|| / C), averaged."""
    apply = scores(activation)

    def loss(params, x, label):
        return -jax.nn.log_softmax(apply(params, x))[label]

    each = jax.vmap(jax.grad(loss), in_axes=(None, 0, 0))(params, x, labels)
    leaves = [g.reshape(len(x), -1) for g in jax.tree.leaves(each)]
    norms = jnp.sqrt(sum(jnp.sum(g * g, axis=1) for g in leaves))
    scale = 1 / (len(x) * jnp.maximum(1, norms / CLIP))
    return jax.tree.map(lambda g: jnp.tensordot(scale, g, axes=1), each)


def main():
    parser = options(__doc__, seconds=20.0)
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
    args = params, x, labels
    programs, memory, compiling = {}, {}, {}
    for name, step in steps.items():
        programs[name], memory[name], compiling[name] = compiled(step, *args, repeats=1)
    agree(programs["clipped"](*args), programs["vmap(grad)"](*args))
    calls = {name: 5 for name in programs if name != "vmap(grad)"}  # a slow one less often
    times = take_turns(programs, args, seconds, calls=calls)
    flops = {name: program.cost_analysis()["flops"] for name, program in programs.items()}
    rows = [
        [
            name,
            milliseconds(times, name),
            ratio(times, name, "plain"),
            quartiles(times, name, "plain"),
            memory[name],
            memory[name] / memory["plain"],
            flops[name] / flops["plain"],
            compiling[name],
        ]
        for name in programs
    ]
    columns = ["", "ms", "time / plain", "quartiles", "MB", "MB / plain", "flop / plain",
               "compile s"]  # fmt: skip
    targets = [
        target("time, clipped / plain", ratio(times, "clipped", "plain"), 1.4),
        target("time, clipped / vmap(grad)", ratio(times, "clipped", "vmap(grad)"), 1 / 80),
        target("memory, clipped / plain", memory["clipped"] / memory["plain"], 2.0),
        target("flop, clipped / plain", flops["clipped"] / flops["plain"], 1.1),
    ]
    title = f"{'-'.join(map(str, widths))}, batch {batch}, medians of {len(times['plain'])} rounds"
    finish(given, "per_example", title, columns, rows, targets)


if __name__ == "__main__":
    main()
