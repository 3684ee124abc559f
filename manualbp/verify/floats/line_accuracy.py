"""Rung 5 of `manualbp verify` for functions of numbers, along the whole line of each dtype."""

from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from manualbp._rule import Rule
from manualbp.verify.floats.sampled import Accuracy, Error
from manualbp.verify.floats.sweep import GOOD, Question
from manualbp.verify.floats.ulps import FINDINGS, LOST, line_of

_PLACES = {16: 2**16, 32: 2**16, 64: 256}
# Places of exact arithmetic, and sets of the other arguments
_EXACT, _SETS = 100, 2
# What is held against jax.grad; ours must give NaN and infinity where the truth does, too
_NAN = sum(1 << FINDINGS.index(k) for k in ("NaN, truth is not", "infinite, truth is finite"))


def line_accuracy(
    rule: Rule, peer: Callable[..., Any], dtype: str, definition: Callable, seed: int = 0
) -> Accuracy:
    """The largest errors of a rule and of a peer's `jax.grad`, as `accuracy` measures them.

    Every float16 and bfloat16 is tried, and places all along float32 and float64. The truth is the
    rule's float64 form, compared with the definition in exact arithmetic at a hundred places; for
    float64 results it is exact arithmetic.

    Args:
      rule: of the catalogue, a function of numbers.
      peer: what people use today, of the same arguments.
      dtype: of the arguments.
      definition: of the rule.
      seed: of the places.

    Returns:
      The errors in ULPs of the largest term; inf where a result is NaN or infinite and the truth
      is not (of the rule: the other way round, too), or where the float64 form is no truth.
    """
    line = line_of(dtype)
    with (
        jax.enable_x64(True),
        jax.numpy_dtype_promotion("standard"),
        np.errstate(all="ignore"),
    ):
        asked = Question([rule, peer], line, truth=rule, definition=definition, of_numbers=True)
        asked.seed, asked.by_form = seed, line.bits < 64
        asked.exact_points = _EXACT if asked.by_form else _PLACES[64]
        # one form for all dtypes: the line of float32 has the ordinary numbers of half precision
        if line.bits != 16 or "crosses" not in asked.found_before:
            if asked.form_checked()[1] > GOOD and asked.by_form:
                bad = Error(np.inf, "the float64 form")
                return Accuracy(bad, bad, Error(), 0)
            asked.found_before["crosses"] = asked.crosses
        asked.crosses = asked.found_before["crosses"]
        rng = np.random.default_rng(seed)
        width = 2**line.bits // _PLACES[line.bits]
        worst, inputs = [Error(), Error(), Error()], 0
        for g, (places, _) in zip(range(_SETS), asked.probes(), strict=False):
            if asked.by_form:
                places = np.arange(_PLACES[line.bits], dtype=np.uint64) * np.uint64(width)
                places += rng.integers(0, width, len(places), np.uint64)
            inputs += len(places)
            if asked.by_form:
                places, errors, flags = asked.worst(places, g)
            else:
                *_, errors, flags = asked.judged(places, g)
            n = len(errors) // 2
            lost = np.concatenate([flags[:n] & LOST, flags[n:] & _NAN]) != 0
            errors = np.where(lost, np.inf, errors)
            for k, rows in enumerate((errors[:1], errors[1:n], errors[n + 1 :])):
                at = int(np.argmax(rows.max(axis=0, initial=0.0))) if len(rows) else 0
                found = float(rows[:, at].max(initial=0.0))
                if found > worst[k].ulps:
                    args = asked.arguments(places[at : at + 1], g)
                    worst[k] = Error(found, ", ".join(f"{x[0]:.6g}" for x in args))
    value, gradient, autodiff = worst
    return Accuracy(value, gradient, autodiff, inputs)
