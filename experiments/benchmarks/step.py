"""A compiled training step by hand against jax.value_and_grad of the same network, written plainly.

All are compiled ahead, checked against each other, then timed in turn in one process. For each
activation and shape: median time, peak temporary memory, compile time, as ratios by hand/autodiff;
`Optax` is jax.value_and_grad with Optax's loss.

    python experiments/benchmarks/step.py            all, about six minutes on two cores
    python experiments/benchmarks/step.py --quick    three activations, the smaller shapes
"""

import statistics

import jax
import jax.numpy as jnp
import optax
from measure import (
    agree,
    compiled,
    cross_entropy,
    finish,
    milliseconds,
    options,
    quartiles,
    ratio,
    scores,
    take_turns,
    target,
)
from rich.progress import track

import manualbp as bp

# each activation, and what a JAX user writes for it
ACTIVATIONS = {
    "sigmoid": (bp.sigmoid, jax.nn.sigmoid),
    "tanh": (bp.tanh, jnp.tanh),
    "relu": (bp.relu, jax.nn.relu),
    "leaky_relu": (bp.leaky_relu(0.01), jax.nn.leaky_relu),
    "absolute": (bp.absolute, jnp.abs),
    "softplus": (bp.softplus, jax.nn.softplus),
    "elu": (bp.elu(), jax.nn.elu),
    "silu": (bp.silu, jax.nn.silu),
    "prelu": (bp.prelu, lambda a, z: jnp.where(z >= 0, z, a * z)),
    "learnable_swish": (bp.learnable_swish, lambda b, z: z * jax.nn.sigmoid(b * z)),
}
LEARNABLE = ("prelu", "learnable_swish")
SHAPES = (
    ((64, 32, 16, 3), 32),
    ((784, 256, 128, 10), 128),
    ((784, 1024, 1024, 10), 512),
)


def contenders(name, widths):
    """A network, and name -> loss and gradients of (params, x, labels)."""
    rule, function = ACTIVATIONS[name]
    fast, lean = (bp.mlp(widths, activation=rule, memory=m) for m in ("fast", "lean"))
    apply = scores(function, name in LEARNABLE)

    def by_optax(params, x, y):
        return optax.softmax_cross_entropy_with_integer_labels(apply(params, x), y).mean()

    return fast, {
        "autodiff": jax.value_and_grad(lambda p, x, y: cross_entropy(apply(p, x), y)),
        "Optax": jax.value_and_grad(by_optax),
        "fast": fast.loss_and_grad,
        "lean": lean.loss_and_grad,
    }


def measure(name, widths, batch, seconds, seed):
    """One row: by hand (fast and lean) against autodiff."""
    network, steps = contenders(name, widths)
    keys = jax.random.split(jax.random.key(seed), 3)
    params = network.init(keys[0])
    x = jax.random.normal(keys[1], (batch, widths[0]))
    labels = jax.random.randint(keys[2], (batch,), 0, widths[-1])
    args = params, x, labels
    programs, memory, compiling = {}, {}, {}
    for own, step in steps.items():
        programs[own], memory[own], compiling[own] = compiled(step, *args)
    wanted = programs["autodiff"](*args)
    for program in programs.values():
        agree(program(*args), wanted, rtol=2e-3, atol=1e-4)
    times = take_turns(programs, args, seconds, least=11)
    return {
        "activation": name,
        "shape": "-".join(map(str, widths)),
        "batch": batch,
        "autodiff ms": milliseconds(times, "autodiff"),
        "time": ratio(times, "fast", "autodiff"),
        "quartiles": quartiles(times, "fast", "autodiff"),
        "time lean": ratio(times, "lean", "autodiff"),
        "time / Optax": ratio(times, "fast", "Optax"),
        "autodiff MB": memory["autodiff"],
        "memory": memory["fast"] / memory["autodiff"],
        "memory lean": memory["lean"] / memory["autodiff"],
        "memory / Optax": memory["fast"] / memory["Optax"],
        "autodiff compile s": compiling["autodiff"],
        "compile": compiling["fast"] / compiling["autodiff"],
    }


def main():
    parser = options(__doc__, seconds=5.0)
    given = parser.parse_args()
    if not 0 < given.seconds < 3600:
        parser.error("--seconds: expected a time between 0 and 3600")
    names = ("tanh", "relu", "softplus") if given.quick else tuple(ACTIVATIONS)
    seconds = min(given.seconds, 0.5) if given.quick else given.seconds
    jobs = [(name, *shape) for shape in SHAPES[: 2 if given.quick else 3] for name in names]
    rows = [measure(*job, seconds, given.seed) for job in track(jobs, "racing", transient=True)]
    bounds = {"time": 1.0, "time lean": 1.0, "time / Optax": 1.0, "compile": 1.0, "memory": 0.6}
    targets = [
        target(f"{column}, median of the rows", statistics.median(r[column] for r in rows), bound)
        for column, bound in bounds.items()
    ]
    for column in ("memory", "memory lean"):
        worst = max(row[column] for row in rows)
        targets.append(target(f"{column}, worst row", worst, 1.0))
    targets.append(target("time, worst row", max(row["time"] for row in rows), 1.1))
    title = "a training step, by hand / autodiff (below 1 is better)"
    finish(given, "step", title, list(rows[0]), [list(r.values()) for r in rows], targets)


if __name__ == "__main__":
    main()
