"""What the benchmarks share: compiling, taking turns, ratios, targets, and where results go."""

import os
import statistics
import sys
import time
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

HERE = Path(__file__).resolve().parent
sys.path.append(str(HERE.parent))  # what all experiments share

import common  # noqa: E402
from common import COLORS, plt  # noqa: E402

__all__ = ["COLORS", "plt"]

if not sys.stdout.isatty():
    os.environ.setdefault("COLUMNS", "150")  # tables in a file keep their columns whole


def options(doc, **defaults):
    """As of every experiment, --quick, and results here."""
    parser = common.options(doc, **defaults)
    parser.add_argument("--quick", action="store_true", help="small sizes, short races")
    parser.set_defaults(out=HERE)
    return parser


def scores(activation, learnable=False):
    """A network as one writes it in plain JAX, of parameters as manualbp.mlp has them."""

    def apply(params, x):
        for i in range(0, len(params), 2):
            x = x @ params[i].w + params[i].b
            if i < len(params) - 2:
                x = activation(params[i + 1], x) if learnable else activation(x)
        return x

    return apply


def cross_entropy(z, labels):
    """The mean softmax cross-entropy, in plain JAX."""
    return -jnp.mean(jnp.take_along_axis(jax.nn.log_softmax(z), labels[:, None], axis=1))


def compiled(step, *args, repeats=3):
    """The compiled step, its peak temporary memory in MB, and seconds to compile, a median."""
    seconds = []
    for _ in range(repeats):
        if repeats > 1:
            jax.clear_caches()
        lowered = jax.jit(step).lower(*args)
        start = time.perf_counter()
        program = lowered.compile()
        seconds.append(time.perf_counter() - start)
    return program, program.memory_analysis().temp_size_in_bytes / 1e6, statistics.median(seconds)


def agree(found, wanted, rtol=1e-3, atol=1e-5):
    """Raise unless two trees agree; atol is a share of the largest entry of a leaf."""
    for a, b in zip(jax.tree.leaves(found), jax.tree.leaves(wanted), strict=True):
        np.testing.assert_allclose(a, b, rtol=rtol, atol=atol * float(np.abs(b).max()))


def turn(run, calls=1):
    """Wall and CPU seconds of a call, each the median of so many."""
    both = []
    for _ in range(calls):
        start, used = time.perf_counter(), time.process_time()
        run()
        both.append((time.perf_counter() - start, time.process_time() - used))
    return np.median(both, axis=0)


def take_turns(programs, args, seconds, least=3, calls=None):
    """Time compiled programs in turn, for about so long, after one call that is not timed.

    Args:
      programs: name -> compiled program.
      args: of all of them.
      seconds: to go on for.
      least: rounds, also where they take longer.
      calls: name -> calls a round, 1 where it is not named.

    Returns:
      name -> wall and CPU seconds of each round, shape (rounds, 2).
    """
    runs = {n: lambda p=p: jax.block_until_ready(p(*args)) for n, p in programs.items()}
    for run in runs.values():
        run()
    times, order = {name: [] for name in runs}, list(runs)
    end = time.perf_counter() + seconds
    while time.perf_counter() < end or len(times[order[0]]) < least:
        for name in order:
            times[name].append(turn(runs[name], (calls or {}).get(name, 1)))
        order.reverse()  # nobody always runs after the same
    return {name: np.array(own) for name, own in times.items()}


def milliseconds(times, name):
    """The median of wall time."""
    return 1e3 * float(np.median(times[name][:, 0]))


def ratio(times, name, other, clock=0):
    """Median over rounds of time / other's in the same round; clock: 0 is wall, 1 is CPU."""
    return float(np.median(times[name][:, clock] / times[other][:, clock]))


def quartiles(times, name, other):
    """The middle half of those ratios, as text."""
    low, high = np.percentile(times[name][:, 0] / times[other][:, 0], [25, 75])
    return f"{low:.2f} to {high:.2f}"


def target(what, found, bound, least=False):
    """A line of the table of targets: at most bound, or at least."""
    met = found >= bound if least else found <= bound
    return [what, float(found), f"{'>=' if least else '<='} {bound}", "yes" if met else "NO"]


def finish(args, name, title, columns, rows, targets, figure=None, **more):
    """Print the tables, and keep what __main__.py collects; targets are for the full sizes."""
    if args.quick:
        targets = [[*line[:3], "not judged"] for line in targets]
    common.show(title, columns, rows)
    common.show("targets", ("target", "measured", "bound", "met"), targets)
    numbers = {"title": title, "columns": columns, "rows": rows, "targets": targets, **more}
    common.keep(args.out, name, figure, numbers)
