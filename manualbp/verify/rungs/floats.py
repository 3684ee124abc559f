"""The rule in the dtype that was asked about, beside autodiff, both against the exact truth.

A rule whose floats lose digits only where an entry is far below its usual size is right. One is
wrong where the definition's own value is right to half its digits, and the gradient is not: NaN,
infinite, or off by more than half the digits of the entry's natural scale, which is the larger of
its true size and its median size over ordinary points; unless rounding the inputs explains it.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np

from manualbp.verify.ask.problem import Problem
from manualbp.verify.evidence import Entry, FloatFinding
from manualbp.verify.numbers.arithmetic import is_made
from manualbp.verify.numbers.walk import Straddles, Unsupported
from manualbp.verify.rungs.exact import Comparison, agreement, floats

# So often the movement of the truth under rounded inputs explains an error
EXPLAINS = 16.0
# Inputs of ordinary size, beyond which a float may overflow or vanish on the way
_ORDINARY = 1e-12, 1e4
# Entries of an array of each kind that are looked at
_MOST = 128
# The largest number of an array by the smallest, where they are of about one size
_EVEN = 1e6
# Among inputs that are not plain it must leave no digit; at given ones be so many times as far off
_NOTHING_LEFT, _GIVEN = 0.25, 4.0
# So many times as far off as autodiff is no worse than autodiff
_PARITY = 16.0
# Points that say of what size an entry is
_FEW = 8
# The larger of an entry's sizes by its median, where a function is saturated
SATURATED = 16.0
# So many roundings of an array's largest entry are never grossly off: entries share terms
_ROUNDINGS = 128
# Digits that float64 may lose, where strict, if the problem itself is well conditioned
_LOST = 1e-10


def half_digits(dtype: Any) -> float:
    """The relative error that leaves half the digits of a dtype."""
    return float(jnp.finfo(dtype).eps) ** 0.5


def ordinary(problem: Problem, point: Sequence[np.ndarray]) -> bool:
    """Whether the squares of all inputs are numbers of the dtype, and no input is flushed to 0."""
    limits = jnp.finfo(problem.dtype)
    # an interval is asked about from end to end
    low = max(_ORDINARY[0], float(limits.tiny) ** 0.5)
    high = min(_ORDINARY[1], float(limits.max) ** 0.5 / 4)
    for k, x in enumerate(point[: len(problem.parts)]):
        if x.dtype.kind == "f" and problem.spec(k).domain != "interval":
            sizes = np.abs(x[x != 0])
            if np.any((sizes < low) | (sizes > high)):
                return False
    return True


def huge(problem: Problem, point: Sequence[np.ndarray]) -> bool:
    """Whether the square of an input is no number of the dtype, or nearly none."""
    high = min(_ORDINARY[1], float(jnp.finfo(problem.dtype).max) ** 0.5 / 4)
    return any(
        x.dtype.kind == "f" and np.abs(x).max(initial=0.0) > high
        for x in point[: len(problem.parts)]
    )


def _plain(problem: Problem, point: Sequence[np.ndarray]) -> bool:
    """Whether the inputs are such that no program of a right rule is far off.

    Products of two of them, rounded, still have half their digits, and the numbers of each array
    are of about one size: elsewhere terms far larger than their sum may cancel in any program.
    """
    eps = float(jnp.finfo(problem.dtype).eps)
    if eps > 1e-6:  # half precision
        return False
    for k, x in enumerate(point[: len(problem.parts)]):
        sizes = np.abs(x[x != 0]) if x.dtype.kind == "f" else np.zeros(0)
        if not sizes.size or problem.spec(k).domain == "interval":
            continue
        if sizes.max() > eps**-0.25 / 4 or sizes.max() > _EVEN * sizes.min():
            return False
    return True


def natural_scales(gradients: Sequence[np.ndarray], ordinary: np.ndarray) -> list[np.ndarray]:
    """The median size of each entry over ordinary points; that of its array where it is 0.

    Where a function is saturated at most points, a softmax, say, its larger sizes count.
    """
    scales = []
    for x in gradients:
        with np.errstate(all="ignore"):
            sizes = np.abs(x[ordinary]) if len(ordinary) else np.abs(x)
            sizes = np.where(np.isfinite(sizes), sizes, 0.0)
            larger = np.quantile(sizes, 0.9, axis=0)
            own = np.median(sizes, axis=0)
            own = np.where(own < larger / SATURATED, larger, own)
            used = sizes[sizes > 0]
            all_ = float(np.quantile(used, 0.9)) if used.size else 0.0
            if len(ordinary) < _FEW and used.size:  # what an entry is is not seen at a few points
                own = np.maximum(own, float(np.median(used)))
        scales.append(np.where(own > 0, own, all_))
    return scales


def far(
    native: Sequence[np.ndarray], wide: Sequence[np.ndarray], scales: Sequence[np.ndarray],
    dtype: Any,
) -> np.ndarray:  # fmt: skip
    """Which points show results that are far from the same program's in float64."""
    half, top = half_digits(dtype), float(jnp.finfo(dtype).max) / 4
    rows = np.zeros(len(native[0]) if native else 0, bool)
    for got, want, scale in zip(native, wide, scales, strict=True):
        with np.errstate(all="ignore"):
            size = np.maximum(np.abs(want), scale)
            off = ~(np.abs(got - want) <= half * size) & np.isfinite(want) & (np.abs(want) < top)
        rows |= off.reshape(len(got), -1).any(axis=1)
    return rows


def compared(
    comparison: Comparison,
    rule: tuple[list, list | None],
    autodiff: tuple[list, list | None],
    scales: Sequence[np.ndarray],
    value_scales: Sequence[np.ndarray],
    scales_at: Callable[[], Sequence[np.ndarray]],
    given: bool,
) -> Iterator[FloatFinding]:
    """Findings of the entries at one point whose numbers the dtype can hold.

    Args:
      comparison: exact, there.
      rule: values and cotangents of the rule, in the dtype asked.
      autodiff: those of the definition.
      scales: natural scales of the entries of each gradient.
      value_scales: and of each value.
      scales_at: natural scales of the gradients among inputs as large as those of the point.
      given: whether it is a point that the user gave.
    """
    problem = comparison.problem
    half, limits = half_digits(problem.dtype), jnp.finfo(problem.dtype)
    results: list[tuple[Any, int, Any, Any, Any, Any]] = []
    for leaf, (exact, got, scale) in enumerate(
        zip(comparison.value, autodiff[0], value_scales, strict=True)
    ):
        truth = floats(exact)
        with np.errstate(all="ignore"):
            fine = np.abs(got - truth) <= half / 8 * np.maximum(np.abs(truth), scale)
        if not np.all(fine | ~is_made(exact)):  # of large programs not all is made
            return
        results.append(("value", leaf, truth, rule[0][leaf], got, scale))
    for leaf, exact in enumerate(comparison.pull):
        truth = floats(exact)
        other = autodiff[1][leaf] if autodiff[1] is not None else np.full_like(truth, np.nan)
        pulled = rule[1] or []
        results.append(("gradient", leaf, truth, pulled[leaf], other, scales[leaf]))
    plain = _plain(problem, comparison.point)
    for of, leaf, truth, got, other, scale in results:
        with np.errstate(all="ignore"):
            size = np.maximum(np.abs(truth), scale)
            error = np.abs(got - truth)
            most = np.abs(truth).max(initial=0.0, where=np.isfinite(truth))
            off = ~(error <= np.maximum(half * size, _ROUNDINGS * limits.eps * most))
            if not plain and np.any(off):
                if of == "gradient":
                    size = np.maximum(size, scales_at()[leaf])
                # autodiff, as far off, says that the problem is ill conditioned here
                theirs = np.abs(np.where(np.isfinite(truth), other - truth, 0.0))
                worst = np.nan_to_num(theirs, nan=np.inf).max(initial=0.0)
                if not given:  # where the array is graded, its largest entries say what is lost
                    largest = np.abs(truth).max(initial=0.0, where=~np.isnan(truth))
                    size = np.maximum(size, half * largest / _NOTHING_LEFT)
                off = ~(error <= (_GIVEN * half if given else _NOTHING_LEFT) * size)
                off &= ~(error <= np.minimum(_PARITY * worst, size / 2))
            # what is as large as the largest number, or a limit, overflows in any program
            held = np.isfinite(truth) & (np.abs(truth) < float(limits.max) / 4)
        for index in _looked_at(off, held):
            entry = Entry(of, leaf, index)
            finding = comparison.entry(entry)
            if finding.relation not in ("same", "similar", "guard"):
                continue
            if finding.truth == "difference quotients":  # autodiff is no truth here
                continue
            explained = 0.0
            grossly = bool(off[index])
            if grossly:
                explained = comparison.spread(entry, problem.dtype)
                with np.errstate(all="ignore"):
                    grossly = not error[index] <= EXPLAINS * explained
            yield FloatFinding(
                entry, float(truth[index]), float(got[index]), float(other[index]),
                float(size[index]), explained, grossly, at=comparison.at,
            )  # fmt: skip


def _looked_at(off: np.ndarray, held: np.ndarray) -> list[tuple]:
    """Entries that are off, and a spread of the others."""
    places = [*np.argwhere(off & held)[:_MOST].tolist(), *np.argwhere(held)[:_MOST].tolist()]
    return list(dict.fromkeys(map(tuple, places)))


def lost(comparison: Comparison, entry: Entry, got: float) -> bool:
    """Whether float64 lost digits of an entry that the problem itself has not.

    The truth is moved by rounding the inputs: an error far beyond that is the arithmetic's.
    """
    finding = comparison.entry(entry)
    if finding.relation not in ("same", "similar") or isinstance(finding.expected, tuple):
        return False
    # an approximation of the definition, or its rounded constants, is held to what it computes
    truth = float(finding.got)
    # next to overflow and underflow no digits are owed
    if not 1e-290 < abs(truth) < 1e290:
        return False
    error = abs(got - truth) if np.isfinite(got) else np.inf
    if error <= _LOST * abs(truth) or error <= 1e4 * comparison.spread(entry):
        return False
    # where terms of other entries cancel in it, an entry is as good as the largest is
    results = comparison.results(entry)
    sizes = np.abs(floats(results))
    size = float(np.max(sizes, initial=0.0, where=np.isfinite(sizes)))
    return error > _LOST * size or not _depends_on_others(comparison, entry, results)


def _depends_on_others(comparison: Comparison, entry: Entry, results: np.ndarray) -> bool:
    """Whether the exact result changes when other entries of its arguments do."""
    moved = [x.copy() for x in comparison.point]
    for x in moved:
        if x.shape == results.shape and x.dtype.kind == "f":
            own = x[entry.index]
            x *= 1 + 2.0**-10
            x[entry.index] = own
    try:
        again = comparison.elsewhere(moved, entry)
    except (Straddles, Unsupported):
        return False
    return agreement(again, results[entry.index]) < 20.0


def grade(findings: Sequence[FloatFinding], problem: Problem) -> str:
    """How the rule's float arithmetic compares with that of jax.grad of the definition."""
    findings = [f for f in findings if f.entry.of == "gradient"]
    if not findings:
        return ""
    limits = jnp.finfo(problem.dtype)
    eps, tiny = float(limits.eps), float(limits.tiny)

    def ulps(f: FloatFinding, got: float) -> float:
        error = abs(got - f.truth)
        return error / (eps * max(f.scale, tiny)) if np.isfinite(error) else np.inf

    ours = max(findings, key=lambda f: ulps(f, f.rule))
    known = [f for f in findings if not np.isnan(f.autodiff) or not np.isnan(f.truth)]
    theirs = max(known, key=lambda f: ulps(f, f.autodiff))
    a, b = ulps(ours, ours.rule), ulps(theirs, theirs.autodiff)
    word = "better than" if a * 4 < b else "worse than" if a > 4 * b + 4 else "as good as"
    return (
        f"{word} autodiff: at worst {_ulps(a)} ULP of {problem.dtype} of an entry's natural scale, "
        f"jax.grad {_ulps(b)} "
        f"(at the rule's worst: truth {ours.truth:.6g}, rule {ours.rule:.6g}, "
        f"autodiff {ours.autodiff:.6g})"
    )


def _ulps(x: float) -> str:
    return "infinitely many" if np.isinf(x) else f"{x:.1f}" if x < 100 else f"{x:.0e}"
