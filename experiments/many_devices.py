"""What changes from one device to eight: the collectives, the memory of a device, the time?

One gradient of a 256-512-512-512-64 network by hand, compiled for 1, 2, 4 and 8 devices that
JAX simulates on this CPU, each count in a process of its own. Data parallel splits the batch over
the devices, tensor parallel splits the weights. The same total work each time.

    python experiments/many_devices.py

Look at the memory of one device (left, middle), which is exact, and at what travels between the
devices. The time (right) says nothing of real devices: the simulated ones share the same cores,
and it alone differs from run to run.
"""

import json
import math
import os
import re
import statistics
import subprocess
import sys
import time

import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
from common import COLORS, keep, options, show

import manualbp as bp

DEVICES = (1, 2, 4, 8)
WIDTHS = (256, 512, 512, 512, 64)
MODES = {"data": "data parallel", "model": "tensor parallel"}
KINDS = ("all-reduce", "all-gather", "reduce-scatter", "all-to-all", "collective-permute")
PARTS = {"arguments": "parameters and batch", "output": "gradient", "temporary": "temporary"}


def collectives(text):
    """The collectives of a compiled program, and the numbers that each moves."""
    found = re.findall(
        rf"= ([^=]*?) ({'|'.join(KINDS)})(?:-start)?\(", re.sub(r"/\*.*?\*/", "", text)
    )
    return [
        [kind, sum(math.prod(map(int, filter(None, d.split(",")))) for d in shapes)]
        for shapes, kind in ((re.findall(r"\w\[([\d,]*)\]", form), kind) for form, kind in found)
    ]


def measure(batch, seed, repeats):
    """One row a mode, on all the devices of this process; printed as JSON."""
    network = bp.mlp(WIDTHS, activation=bp.tanh)
    params = network.init(jax.random.key(seed))
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(batch, WIDTHS[0])).astype(np.float32)
    y = rng.integers(0, WIDTHS[-1], batch).astype(np.int32)
    want = network.loss_and_grad(params, x, y)

    @jax.jit
    def step(params, x, y):
        return network.loss_and_grad(params, x, y)

    rows = []
    for axis in MODES:
        mesh = jax.sharding.Mesh(jax.devices(), (axis,))
        args = bp.place_params(mesh, params), *bp.place_batch(mesh, x, y)
        program = step.lower(*args).compile()
        got = jax.block_until_ready(program(*args))
        apart = jax.tree.map(lambda a, b: np.abs(a - b).max() / np.abs(b).max(), got, want)
        times = []
        for _ in range(repeats):
            start = time.perf_counter()
            jax.block_until_ready(program(*args))
            times.append(time.perf_counter() - start)
        memory = program.memory_analysis()
        rows.append(
            {
                "devices": len(jax.devices()),
                "axis": axis,
                "collectives": collectives(program.as_text()),
                "arguments MB": memory.argument_size_in_bytes / 1e6,
                "output MB": memory.output_size_in_bytes / 1e6,
                "temporary MB": memory.temp_size_in_bytes / 1e6,
                "median ms": statistics.median(times) * 1e3,
                "largest relative difference to one device": float(
                    jnp.max(jnp.array(jax.tree.leaves(apart)))
                ),
            }
        )
    print(json.dumps(rows))


def in_a_process(devices, given):
    """The rows for so many devices; how many there are is settled before JAX starts."""
    flag = f"--xla_force_host_platform_device_count={devices}"
    done = subprocess.run(
        [sys.executable, __file__, "--measure", "1"]
        + [f"--{name}={getattr(given, name)}" for name in ("batch", "seed", "repeats")],
        env={**os.environ, "JAX_PLATFORMS": "cpu", "XLA_FLAGS": flag},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
        timeout=600,
    )
    return json.loads(done.stdout.splitlines()[-1])


def draw(rows):
    figure, axes = plt.subplots(1, 3, figsize=(11, 4.2))
    places = np.arange(len(DEVICES))
    top = max(sum(row[f"{part} MB"] for part in PARTS) for row in rows)
    for axis, (mode, title) in zip(axes, MODES.items(), strict=False):
        own = [row for row in rows if row["axis"] == mode]
        below = np.zeros(len(own))
        for color, (part, label) in zip(COLORS, PARTS.items(), strict=False):
            height = np.array([row[f"{part} MB"] for row in own])
            axis.bar(places, height, 0.65, below, color=color, label=label)
            below += height
        for place, row, height in zip(places, own, below, strict=True):
            n = len(row["collectives"])
            says = f"{n} all-reduce{'s' * (n > 1)}" if n else "no collective"
            axis.text(place, height + top / 60, says, ha="center", fontsize=8)
        split = "batch" if mode == "data" else "weights"
        axis.set(title=f"{title}: the {split} split", ylim=(0, 1.15 * top), xlabel="devices")
        axis.set_xticks(places, DEVICES)
        axis.grid(axis="x", visible=False)
    axes[0].set_ylabel("memory of one device [MB]")
    axes[0].legend(loc="upper right")
    for color, (mode, title) in zip(COLORS[3:], MODES.items(), strict=False):
        times = [row["median ms"] for row in rows if row["axis"] == mode]
        axes[2].plot(places, times, "o-", color=color, label=title)
    axes[2].set(
        title=f"time on {os.cpu_count()} cores, shared by all", ylabel="median of a gradient [ms]"
    )
    axes[2].set(xlabel="devices (simulated on the same cores)", ylim=(0, None))
    axes[2].set_xticks(places, DEVICES)
    axes[2].legend(loc="lower right")
    return figure


def main():
    parser = options(__doc__, batch=1024, repeats=7, measure=0)
    given = parser.parse_args()
    if given.batch < 1 or given.batch % max(DEVICES):
        parser.error(f"--batch must be a positive multiple of {max(DEVICES)}, got {given.batch}")
    if given.repeats < 1:
        parser.error(f"--repeats must be positive, got {given.repeats}")
    if given.measure:
        return measure(given.batch, given.seed, given.repeats)
    rows = [row for devices in DEVICES for row in in_a_process(devices, given)]
    unexpected = {kind for row in rows for kind, _ in row["collectives"]} - {"all-reduce"}
    if unexpected:
        raise SystemExit(f"collectives that nobody asked for: {unexpected}")
    columns = ("parallel", "devices", "reduces", "of MB", "arguments", "output", "temp", "ms")
    show(
        f"one gradient, {'-'.join(map(str, WIDTHS))}, batch {given.batch}, MB of one device",
        columns,
        [
            (
                MODES[row["axis"]].split()[0],
                row["devices"],
                len(row["collectives"]),
                sum(n for _, n in row["collectives"]) * 4 / 1e6,
                *(row[f"{part} MB"] for part in PARTS),
                row["median ms"],
            )
            for row in sorted(rows, key=lambda row: row["axis"])
        ],
    )
    worst = max(row["largest relative difference to one device"] for row in rows)
    print(f"largest relative difference to the gradient on one device: {worst:.1e}")
    numbers = {"widths": WIDTHS, "batch": given.batch, "cores": os.cpu_count(), "rows": rows}
    keep(given.out, "many_devices", draw(rows), numbers)


if __name__ == "__main__":
    main()
