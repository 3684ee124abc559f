"""How fast is a sweep over every float32, beside the float64 truth alone?

The sweep evaluates a rule's value and derivative in float32, the same in float64, the errors in
ULPs, and keeps what is largest. The truth alone is the float64 value and derivative at the same
bit patterns. Both run in turn on chunks spread evenly over all 2^32 bit patterns; a sweep looks
twice at a chunk where something is out of the ordinary, so that its speed depends on the rule. The
float64 truth is first compared with exact arithmetic at some points.

    python experiments/benchmarks/sweep.py                    a minute
    python experiments/benchmarks/sweep.py --chunks 256       longer, steadier
    python experiments/benchmarks/sweep.py --quick            two rules, two chunks

Look at the column "sweep / truth": 0.5 means that checking costs as much as the truth itself.
"""

import time

import jax
import jax.numpy as jnp
import numpy as np
from measure import finish, options, target

import manualbp as bp
from manualbp.verify import _sweep, _ulps

RULES = (bp.sigmoid, bp.tanh, bp.softplus, bp.silu)


def seconds(function, *args):
    """Wall time and time of all processors."""
    wall, cpu = time.perf_counter(), time.process_time()
    jax.block_until_ready(function(*args))
    return time.perf_counter() - wall, time.process_time() - cpu


def race(rule, chunks, seed):
    """Rates in millions of inputs a second."""
    line = _ulps.line_of("float32")
    question = _sweep.Question([rule], line)
    question.samples = width = line.width
    with np.errstate(all="ignore"):
        off = question.form_checked()[1]  # and finds which results pass through zero
    if off > _sweep.GOOD:
        raise ValueError(f"{rule.name}: the float64 truth is off by {off:.3g} ULP")
    sweep = _sweep.looker(question)

    @jax.jit
    def truth(blocks):
        return question.form([line.numbers(question.places(blocks, jnp), jnp).reshape(-1)])[0]

    rows = _sweep.CHUNK // width
    starts = np.random.default_rng(seed).choice(line.blocks // rows, chunks, replace=False) * rows
    times = {"sweep": np.zeros(2), "truth": np.zeros(2)}
    # compile what is ordinary (large numbers) and what is not (NaN)
    for start in (0, line.blocks - 200 * rows, line.blocks // 2):
        sweep(jnp.arange(start, start + rows, dtype=jnp.uint32), [])
        jax.block_until_ready(truth(jnp.arange(start, start + rows, dtype=jnp.uint32)))
    for start in starts:
        blocks = jnp.arange(start, start + rows, dtype=jnp.uint32)
        times["sweep"] += seconds(sweep, blocks, [])
        times["truth"] += seconds(truth, blocks)
    inputs = chunks * _sweep.CHUNK
    rates = {name: inputs / t / 1e6 for name, t in times.items()}
    return {
        "rule": rule.name,
        "inputs": inputs,
        "sweep M/s": rates["sweep"][0],
        "truth M/s": rates["truth"][0],
        "sweep / truth": rates["sweep"][0] / rates["truth"][0],
        "sweep / truth, processor time": rates["sweep"][1] / rates["truth"][1],
        "all 2^32, minutes": 2**32 / rates["sweep"][0] / 1e6 / 60,
    }


def main():
    parser = options(__doc__, chunks=64)
    args = parser.parse_args()
    if not 1 <= args.chunks <= 4096:
        parser.error(f"expected --chunks from 1 to 4096, got {args.chunks}")
    with jax.enable_x64(True):
        rules, chunks = (RULES[:2], 2) if args.quick else (RULES, args.chunks)
        rows = [race(rule, chunks, args.seed) for rule in rules]
    slowest = min(row["sweep / truth, processor time"] for row in rows)
    targets = [target("sweep / truth, processor time, worst rule", slowest, 0.5, least=True)]
    title = "a sweep of float32"
    finish(args, "sweep", title, list(rows[0]), [list(r.values()) for r in rows], targets)


if __name__ == "__main__":
    main()
