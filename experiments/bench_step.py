"""A compiled training step by hand against jax.value_and_grad of the same network, written plainly.

Both are compiled ahead, checked against each other, then timed in turn in one process. For each
activation and shape: median time, peak temporary memory, compile time, as ratios by hand/autodiff.

    python experiments/bench_step.py            all, about four minutes on two cores
    python experiments/bench_step.py --quick    three activations, a few seconds
"""

import argparse
import json
import os
import platform
import statistics
import time
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from rich.console import Console
from rich.progress import track
from rich.table import Table

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


def plain(activation, learnable):
    """The loss of the network as one would write it without this library."""

    def loss(params, x, labels):
        for i in range(0, len(params), 2):
            x = x @ params[i].w + params[i].b
            if i < len(params) - 2:
                x = activation(params[i + 1], x) if learnable else activation(x)
        log_p = jax.nn.log_softmax(x)
        return -jnp.mean(jnp.take_along_axis(log_p, labels[:, None], axis=1))

    return loss


def compiled(step, *args):
    """The compiled step, its peak temporary memory in bytes, and seconds to compile, a median."""
    seconds = []
    for _ in range(3):
        jax.clear_caches()
        lowered = jax.jit(step).lower(*args)
        start = time.perf_counter()
        program = lowered.compile()
        seconds.append(time.perf_counter() - start)
    return program, program.memory_analysis().temp_size_in_bytes, statistics.median(seconds)


def race(programs, args, seconds):
    """Median time of each, run in turn for about so many seconds."""
    for program in programs:
        jax.block_until_ready(program(*args))
    times = [[] for _ in programs]
    end = time.perf_counter() + seconds
    while time.perf_counter() < end or len(times[0]) < 11:
        for program, own in zip(programs, times, strict=True):
            start = time.perf_counter()
            jax.block_until_ready(program(*args))
            own.append(time.perf_counter() - start)
    return [statistics.median(own) for own in times]


def measure(name, widths, batch, seconds):
    """One row: by hand (fast and lean) against autodiff."""
    rule, function = ACTIVATIONS[name]
    nets = [bp.mlp(widths, activation=rule, memory=m) for m in ("fast", "lean")]
    params = nets[0].init(jax.random.key(0))
    x = jax.random.normal(jax.random.key(1), (batch, widths[0]))
    labels = jax.random.randint(jax.random.key(2), (batch,), 0, widths[-1])
    steps = [jax.value_and_grad(plain(function, name in LEARNABLE))]
    steps += [net.loss_and_grad for net in nets]
    programs, memory, compile_time = zip(
        *(compiled(step, params, x, labels) for step in steps), strict=True
    )
    want = programs[0](params, x, labels)
    for program in programs[1:]:
        for a, b in zip(
            jax.tree.leaves(want), jax.tree.leaves(program(params, x, labels)), strict=True
        ):
            np.testing.assert_allclose(a, b, rtol=2e-3, atol=2e-5)
    times = race(programs, (params, x, labels), seconds)
    return {
        "activation": name,
        "shape": "-".join(map(str, widths)),
        "batch": batch,
        "autodiff ms": times[0] * 1e3,
        "time": times[1] / times[0],
        "time lean": times[2] / times[0],
        "memory": memory[1] / memory[0],
        "memory lean": memory[2] / memory[0],
        "compile": compile_time[1] / compile_time[0],
        "autodiff MB": memory[0] / 1e6,
    }


def show(console, rows):
    table = Table(title="by hand / autodiff (below 1 is better)")
    for column in rows[0]:
        table.add_column(column, justify="left" if column in ("activation", "shape") else "right")
    for row in rows:
        table.add_row(*(f"{v:.3g}" if isinstance(v, float) else str(v) for v in row.values()))
    console.print(table)
    for column in ("time", "time lean", "memory", "memory lean", "compile"):
        values = [row[column] for row in rows]
        console.print(
            f"{column:<12} median {statistics.median(values):.3f}  worst {max(values):.3f}"
        )


def machine():
    return (
        f"{os.cpu_count()} CPUs ({platform.machine()}), {jax.devices()[0].device_kind}, "
        f"jax {jax.__version__}, Python {platform.python_version()}, float32"
    )


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="three activations, short races")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the rows here too")
    options = parser.parse_args()
    names = ("tanh", "relu", "softplus") if options.quick else tuple(ACTIVATIONS)
    seconds = 1.0 if options.quick else 5.0
    jobs = [(name, *shape) for shape in SHAPES for name in names]
    console = Console(width=None if os.isatty(1) else 132)
    rows = [measure(*job, seconds) for job in track(jobs, "racing", console=console)]
    console.print(machine())
    show(console, rows)
    if options.json:
        options.json.write_text(json.dumps({"machine": machine(), "rows": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
