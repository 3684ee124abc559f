"""A training step and clipped gradients of examples: by hand in JAX beside PyTorch.

The same weights and data, made by NumPy; gradients (the loss's, and the mean of the examples' own,
each clipped) agree to 1e-4 before any is timed. JAX and PyTorch run in a process each, in turn,
never both at once. PyTorch: eager, torch.compile, and torch.func's vmap(grad); Opacus if it is
installed. PyTorch takes its default of threads, or one where that is faster (threads on busy cores
wait for each other); it does not count temporary memory on a CPU. Compile time is that of the first
call.

    python experiments/benchmarks/torch_step.py            all, about eight minutes on two cores
    python experiments/benchmarks/torch_step.py --quick    one activation, the smaller network
"""

import itertools
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack
from multiprocessing import get_context

import jax_side
import numpy as np
import torch_side
from measure import agree, finish, options, target
from rich.progress import track

STEPS = {
    "by hand": jax_side,
    "jax.value_and_grad": jax_side,
    "PyTorch, eager": torch_side,
    "PyTorch, torch.compile": torch_side,
}
CLIPPED = {
    "by hand, clipped": jax_side,
    "jax.vmap(jax.grad)": jax_side,
    "PyTorch, vmap(grad)": torch_side,
    "Opacus": torch_side,
}
SHAPES = ((784, 256, 128, 10), 128), ((784, 1024, 1024, 10), 512)
SLOW = 128  # examples at most where each has a gradient of its own, of megabytes


def made(widths, batch, seed):
    """Weights, and a batch."""
    random = np.random.default_rng(seed)
    weights = [
        (random.normal(0, n**-0.5, (n, m)).astype("f4"), random.normal(0, 0.1, m).astype("f4"))
        for n, m in itertools.pairwise(widths)
    ]
    x = random.standard_normal((batch, widths[0]), np.float32)
    return weights, x, random.integers(0, widths[-1], batch, np.int32)


def measure(steps, activation, data, rounds):
    """A line of the table for each step."""
    lines, first, times = {}, {}, {}
    own = next(iter(steps))
    with ExitStack() as stack:
        sides = set(steps.values())
        pools = {
            s: stack.enter_context(ProcessPoolExecutor(1, get_context("spawn"))) for s in sides
        }
        for name, side in steps.items():
            try:
                found = pools[side].submit(side.prepare, name, activation, *data).result()
            except Exception as reason:  # a table with a hole says more than no table
                if side is jax_side:
                    raise
                lines[name] = [str(reason).splitlines()[0][:60], *[""] * 7]
                continue
            gradients, *first[name] = found
            agree(gradients, first.setdefault("gradients", gradients), rtol=1e-4, atol=1e-4)
            times[name] = []
        del first["gradients"]
        for r in range(rounds):
            for name in list(first)[:: 1 if r % 2 else -1]:
                times[name].append(pools[steps[name]].submit(steps[name].go, name, 5).result())
    for name, (seconds, megabytes, threads) in first.items():
        ratios = np.array(times[name]) / np.array(times[own])
        low, middle, high = np.percentile(ratios[:, 0], [25, 50, 75])
        lines[name] = [
            1e3 * float(np.median(times[name], axis=0)[0]),
            float(1 / middle),
            f"{1 / high:.2f} to {1 / low:.2f}",
            float(1 / np.median(ratios[:, 1])),
            "-" if megabytes is None else megabytes,
            seconds,
            threads,
            "yes",
        ]
    return [[name, *lines[name]] for name in steps]


def main():
    parser = options(__doc__, rounds=15)
    args = parser.parse_args()
    if not 1 <= args.rounds <= 1000:
        parser.error("--rounds: expected 1 to 1000")
    rounds = min(args.rounds, 2) if args.quick else args.rounds
    shapes, activations = SHAPES, ("tanh", "relu", "silu")
    if args.quick:
        shapes, activations = SHAPES[:1], activations[:1]
    jobs = [(STEPS, *job) for job in itertools.product(shapes, activations)]
    jobs += [(CLIPPED, (widths, min(batch, SLOW)), activations[0]) for widths, batch in shapes]
    rows = []
    for steps, (widths, batch), activation in track(jobs, "racing", transient=True):
        data = made(widths, batch, args.seed)
        what = f"{'-'.join(map(str, widths))}, batch {batch}, {activation}"
        rows += [[what, *line] for line in measure(steps, activation, data, rounds)]
    columns = ["", "", "ms", "by hand / it, time", "quartiles", "CPU time", "temporary MB",
               "compile s", "threads", "agrees"]  # fmt: skip
    targets = []
    for name in ("jax.value_and_grad", "PyTorch, eager", "PyTorch, torch.compile",
                 "PyTorch, vmap(grad)"):  # fmt: skip
        beside = [row[3] for row in rows if row[1] == name and row[3] != ""]
        if beside:
            targets.append(target(f"time, by hand / {name}, median", np.median(beside), 1.0))
    title = f"steps by hand and in PyTorch, medians of {rounds} rounds of 5 calls"
    finish(args, "torch_step", title, columns, rows, targets)


if __name__ == "__main__":
    main()
