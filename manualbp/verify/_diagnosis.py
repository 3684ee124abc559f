"""What kind of bug it is, from how the wrong result relates to the right one."""

from fractions import Fraction
from typing import Any

import numpy as np

from manualbp.verify._exact import TOGETHER, floats
from manualbp.verify._problem import ContractBroken

_OF_CONTRACT = {
    "structure": "one cotangent an argument, in the argument's own tree, is missing or too many",
    "shape": "wrong shape: missing sum over a broadcast axis, or a transposed result",
    "dtype": "wrong dtype: a cotangent has the dtype of its argument",
    "linearity": "not linear in the cotangent: it is applied twice, clipped, or added to",
    "cotangent": "ignores the incoming cotangent: multiply by dy",
    "nan": "NaN where the gradient is 0: zero times infinity, a division by zero, or a branch that "
    "is masked after it has overflowed",
    "value": "the forward value: the function and its fwd give different ones",
    "precision": "computed in lower precision somewhere, float32 or less: digits are lost",
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
            "ties: each entry alone is a possible derivative, all together are none: the parts "
            "that equal entries get must add up to one",
        )
    if isinstance(finding.expected, tuple):
        return ("wrong value at a kink: outside the one-sided derivatives",)
    got, expected = _entries(comparison, leaf)
    if got.shape != expected.shape:
        return of_arrays(got, expected)
    return _other_gradients(comparison, leaf, got) or of_arrays(
        got, expected, known=_known(comparison)
    )


def _other_gradients(comparison: Any, leaf: int, got: np.ndarray) -> tuple[str, ...]:
    """Whether it is the right gradient of another argument."""
    for k, array in enumerate(comparison.exact.pull):
        other = floats(array)
        if k != leaf and got.size > 1 and got.shape == other.shape and _same(got, other):
            return (f"swapped: this is the gradient of {comparison.problem.name_of(k)}",)
    return ()


def _known(comparison: Any) -> dict[str, np.ndarray]:
    """The arrays that a factor or a term may be made of."""
    problem = comparison.problem
    n = len(problem.free)
    dys = comparison.point[n:]
    known = {f"cotangent {i}" if len(dys) > 1 else "the cotangent": x for i, x in enumerate(dys)}
    for k, place in enumerate(problem.free):
        if comparison.point[k].dtype.kind == "f":
            known[problem.paths[place]] = comparison.point[k]
    values = comparison.exact.value
    known |= {
        f"value {i}" if len(values) > 1 else "the value": floats(x) for i, x in enumerate(values)
    }
    products = {
        f"the cotangent times {name}": dy * x
        for dy in dys
        for name, x in known.items()
        if x.shape == dy.shape
    }
    return known | products


def _same(x: np.ndarray, y: np.ndarray, rounding: float = 1e-9) -> bool:
    return bool(np.allclose(x, y, rtol=rounding, atol=0))


def of_arrays(
    got: np.ndarray,
    expected: np.ndarray,
    rounding: float = 1e-9,
    known: dict[str, np.ndarray] | None = None,
) -> tuple[str, ...]:
    """How one wrong cotangent relates to the right one, and to arrays known by name."""
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
    if not found and got.shape == expected.shape and got.size > 1:
        found += _relations(got, expected, rounding, known or {})
    with np.errstate(all="ignore"):
        wrong = ~(np.abs(got - expected) <= rounding * np.abs(expected))
    if not found and 0 < wrong.sum() < got.size:
        found.append(
            f"wrong for {int(wrong.sum())} of {got.size} entries only: a branch, a tail, "
            "a tie or an index"
        )
    return tuple(found) or ("no simple relation to the right gradient",)


def _relations(
    got: np.ndarray, expected: np.ndarray, rounding: float, known: dict[str, np.ndarray]
) -> list[str]:
    """Relations of whole arrays, the simplest first; one is enough."""
    if _same(np.sort(got, axis=None), np.sort(expected, axis=None), rounding):
        return ["the right numbers in another order: an index, a permutation or an axis"]
    if _same(np.abs(got), np.abs(expected), rounding):
        return ["the sign is wrong for some entries: a branch or a conjugate"]
    with np.errstate(all="ignore"):
        ratio, extra = got / expected, got - expected
    for name, x in known.items():
        try:
            x = np.broadcast_to(x, got.shape)
        except ValueError:
            continue
        if np.ptp(x) == 0:
            continue
        for text, factor in (("times", ratio / x), ("divided by", ratio * x)):
            constant = _constant(factor, rounding)
            if constant is not None:
                return [f"off by a factor: got = {constant:.4g} x expected {text} {name}"]
        with np.errstate(all="ignore"):
            constant = _constant(extra / x, rounding)
        if constant is not None:
            return [f"a term too many or missing: got = expected + {constant:.4g} x {name}"]
    for axis in range(got.ndim):
        if got.shape[axis] > 1 and np.any(extra) and _same_along(extra, axis, rounding):
            return [f"a term is missing or too many that is summed over axis {axis}"]
    return []


def _constant(x: np.ndarray, rounding: float) -> float | None:
    """The number that all entries are, where they are."""
    first = x.flat[0]
    same = np.all(np.isfinite(x)) and first != 0 and _same(x, np.full_like(x, first), rounding)
    return float(first) if same else None


def _same_along(x: np.ndarray, axis: int, rounding: float) -> bool:
    return bool(np.all(np.ptp(x, axis=axis) <= rounding * np.max(np.abs(x))))


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
