"""What kind of bug it is, from how the wrong result relates to the right one."""

from fractions import Fraction
from typing import Any

import numpy as np

from manualbp.verify._exact import TOGETHER, floats
from manualbp.verify._problem import ContractBroken

_OF_CONTRACT = {
    "structure": "one cotangent an argument, in the argument's own tree, is missing or too many",
    "shape": "missing sum over a broadcast axis, or a transposed result",
    "dtype": "wrong dtype: a cotangent has the dtype of its argument",
    "linearity": "not linear in the cotangent: it is applied twice, clipped, or added to",
    "cotangent": "ignores the incoming cotangent: multiply by dy",
    "paths": "depends on how it is called: state, randomness or a Python branch",
}


SECOND = ("second derivative wrong: bwd hides part of its dependence on the arguments",)


def of_contract(broken: ContractBroken) -> tuple[str, ...]:
    return (_OF_CONTRACT[broken.kind],)


def of_floats(got: float, expected: float) -> tuple[str, ...]:
    if not np.isfinite(got):
        return ("overflow: the right function, in arithmetic that overflows or divides by zero",)
    if got == 0:
        return ("cancellation: the right function, whose digits are all lost in this tail",)
    return ("cancellation: the right function, in arithmetic that loses digits",)


def of_finding(comparison: Any, leaf: int, index: tuple, finding: Any) -> tuple[str, ...]:
    """Relations between got and expected at the failing point, the most telling first."""
    if leaf < 0:
        return ("the forward value is wrong, before any gradient",)
    if finding.why == TOGETHER:
        return (
            "at a tie: each entry alone is a possible derivative, all together are none: the "
            "parts must add up to one",
        )
    if isinstance(finding.expected, tuple):
        return ("wrong value at a kink: outside the one-sided derivatives",)
    return of_arrays(*_entries(comparison, leaf))


def of_arrays(got: np.ndarray, expected: np.ndarray, rounding: float = 1e-9) -> tuple[str, ...]:
    """How one wrong cotangent relates to the right one."""
    if not np.any(got) and np.any(expected):
        return ("the gradient of this argument is zero",)
    found = []
    with np.errstate(all="ignore"):
        ratios = got / expected
    ratios = ratios[np.isfinite(ratios) & (expected != 0)]
    constant = ratios.size > 1 and np.allclose(ratios, ratios[0], rtol=rounding)
    if ratios.size and (constant or got.size == 1):
        found.append(_factor(float(ratios.flat[0]), rounding))
    square = got.ndim == 2 and got.shape[0] == got.shape[1] > 1
    if square and np.allclose(got, expected.T, rtol=rounding):
        found.append("transposed")
    with np.errstate(all="ignore"):
        wrong = ~(np.abs(got - expected) <= rounding * np.abs(expected))
    if not found and 0 < wrong.sum() < got.size:
        found.append(
            f"wrong for {int(wrong.sum())} of {got.size} entries only: a branch, a tail, "
            "a tie or an index"
        )
    return tuple(found) or ("no simple relation to the right gradient",)


def _entries(comparison: Any, leaf: int) -> tuple[np.ndarray, np.ndarray]:
    return floats(comparison.exact.our_pull[leaf]), floats(comparison.exact.pull[leaf])


def _factor(ratio: float, rounding: float) -> str:
    if np.isclose(ratio, -1, rtol=rounding):
        return "sign flipped"
    simple = Fraction(ratio).limit_denominator(1000)
    if simple not in (0, 1) and np.isclose(float(simple), ratio, rtol=rounding):
        return f"off by a constant factor: got = {simple} x expected"
    if abs(ratio - 1) < 1e-4:
        return f"off by a constant factor: got = (1 {ratio - 1:+.3g}) x expected"
    return f"off by a factor: got = {ratio:.6g} x expected"
