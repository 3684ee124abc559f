"""How fast is a sweep over every float32, beside the float64 truth alone?

The sweep evaluates a rule's value and derivative in float32, the same in float64, the errors in
ULPs, and keeps what is largest. The truth alone is the float64 value and derivative at the same
bit patterns, and the rule alone the same in float32, which nothing that checks it can do without.
All run in turn on chunks spread evenly over all 2^32 bit patterns; a sweep looks twice at 65,536
neighbours where something is out of the ordinary, so that its speed depends on the rule. The
float64 truth is first compared with exact arithmetic at some points.

    python experiments/benchmarks/sweep.py                    half a minute
    python experiments/benchmarks/sweep.py --chunks 1024      longer, steadier
    python experiments/benchmarks/sweep.py --quick            two rules, two chunks

Look at the column "sweep / truth": 0.5 means that checking costs as much as the truth itself,
and "rule's time / truth's" how much of that is the rule alone.
"""

import time

import jax
import numpy as np
from measure import finish, options, target

import manualbp as bp
from manualbp.verify.floats import sweep as _sweep
from manualbp.verify.floats import ulps as _ulps

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
    rows = _sweep.CHUNK // width
    sweep = _sweep.looker(question, rows, _sweep.thorough(question, 1))
    contenders = {
        "sweep": lambda blocks: sweep(blocks, []),
        "truth": jax.jit(lambda blocks: question.form([question.numbers(blocks)])[0]),
        "rule": jax.jit(lambda blocks: question.got([question.numbers(blocks)])),
    }

    def timed(start):
        blocks = np.arange(start, start + rows, dtype=np.uint32)
        return np.asarray([seconds(contender, blocks) for contender in contenders.values()])

    for start in (0, line.blocks // 2):  # compile what NaN needs and what numbers do
        timed(start)
    starts = np.random.default_rng(seed).choice(line.blocks // rows, chunks, replace=False) * rows
    inputs = chunks * _sweep.CHUNK
    rates = dict(zip(contenders, inputs / sum(map(timed, starts)) / 1e6, strict=True))
    return {
        "function": rule.name,
        "inputs": inputs,
        **{f"{name} M/s": rate[0] for name, rate in rates.items()},
        "sweep / truth": rates["sweep"][0] / rates["truth"][0],
        "the same, processor time": rates["sweep"][1] / rates["truth"][1],
        "rule's time / truth's": rates["truth"][1] / rates["rule"][1],
        "all 2^32, minutes": 2**32 / rates["sweep"][0] / 1e6 / 60,
    }


def main():
    parser = options(__doc__, chunks=256)
    args = parser.parse_args()
    if not 1 <= args.chunks <= 4096:
        parser.error(f"expected --chunks from 1 to 4096, got {args.chunks}")
    with jax.enable_x64(True):
        rules, chunks = (RULES[:2], 2) if args.quick else (RULES, args.chunks)
        rows = [race(rule, chunks, args.seed) for rule in rules]
    targets = [
        target(f"sweep / truth, {row['function']}", row["sweep / truth"], 0.5, least=True)
        for row in rows
    ]
    title = "a sweep of float32"
    finish(args, "sweep", title, list(rows[0]), [list(r.values()) for r in rows], targets)


if __name__ == "__main__":
    main()
