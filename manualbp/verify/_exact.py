"""Rung 3: both programs in exact arithmetic, and difference quotients that need no autodiff."""

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import jax
import numpy as np
from flint import arb

from manualbp.verify._arb import Arb, is_nan, precision
from manualbp.verify._interpreter import Straddles, evaluate, lift
from manualbp.verify._problem import Problem

# Bits at which a comparison is tried before it is left undecided
PRECISIONS = (256, 1024, 4096)
# Two results that agree to so many digits are one function; to SIMILAR, one is an approximation
SAME, SIMILAR = 20.0, 6.0
# The quotient's step, relative to the argument's size: with 1024 bits 60 digits are left
STEP = 2.0**-200


@dataclass(frozen=True)
class Finding:
    """How one entry of a gradient (or value) compares with the truth.

    Attributes:
      verdict: "right", "wrong", "kink" (between the one-sided limits) or "undecided".
      expected: the truth; at a kink the two one-sided derivatives.
      truth: which truth decided: "autodiff" or "difference quotients".
      digits: to how many decimal digits the two agree.
      why: what was not decided.
    """

    verdict: Literal["right", "wrong", "kink", "undecided"]
    got: Any = None
    expected: Any = None
    truth: str = "autodiff"
    digits: float = np.inf
    why: str = ""


@dataclass(frozen=True)
class Exact:
    """The value and cotangents of both programs at one point, as balls."""

    our_value: list
    our_pull: list
    value: list
    pull: list


def run(
    jaxpr: Any,
    point: Sequence[Any],
    rounded_constants: bool = False,
    precisions: Sequence[int] = PRECISIONS,
) -> list:
    """The program at a point, at the first precision that decides every comparison and leaves
    every result accurate; at the last, as it comes.

    Raises:
      Straddles: none did.
      Unsupported: a primitive without a form in balls.
    """
    last: Straddles | None = None
    for bits in precisions:
        with jax.enable_x64(True), precision(bits):
            arithmetic = Arb(rounded_constants)
            try:
                results = evaluate(jaxpr, [lift(x, arithmetic.lift) for x in point], arithmetic)
            except Straddles as straddle:
                last = straddle
                continue
        if rounded_constants or bits == precisions[-1] or all(map(accurate, results)):
            return results
    assert last is not None
    raise last


def accurate(array: Any) -> bool:
    """Whether every ball is narrow, or a naive formula has cancelled its digits away."""
    return all(x.is_exact() or not x.is_finite() or x.rel_accuracy_bits() > 80
               for x in array.ravel())  # fmt: skip


def both(problem: Problem, point: Sequence[Any], rounded_constants: bool = False) -> Exact:
    """Both programs at a point (leaves, then cotangents)."""
    traced = problem.traced
    ours = run(traced.ours, point, rounded_constants)
    truth = run(traced.truth, point, rounded_constants)
    n = len(ours) - len(problem.differentiated)
    return Exact(ours[:n], ours[n:], truth[:n], truth[n:])


def agreement(x: arb, y: arb) -> float:
    """Decimal digits to which two numbers agree for certain; inf where they are equal.

    Two balls about zero are zero, as far as the highest precision can tell; NaN where one is too
    wide to say.
    """
    if x == y:
        return np.inf
    if not (x.is_finite() and y.is_finite()):
        return 0.0
    if x.overlaps(y):
        if x.contains(0) and y.contains(0):
            return np.inf
        if min(x.rel_accuracy_bits(), y.rel_accuracy_bits()) <= 80:
            return np.nan
    with precision(1024):
        size = abs(x).upper().max(abs(y).upper())
        relative = (abs(x - y).upper() / size).upper()
    return np.inf if relative == 0 else max(0.0, -float(relative.log()) / np.log(10.0))


def _by_digits(digits: float, got: arb, expected: arb, truth: str) -> Finding:
    if np.isnan(digits):
        return Finding("undecided", got, expected, truth, why="the truth is below all precision")
    return Finding("right" if digits >= SIMILAR else "wrong", got, expected, truth, digits)


def compare(problem: Problem, point: Sequence[Any]) -> "Comparison":
    """Every entry of value and gradient at one point, decided on demand."""
    return Comparison(problem, point, both(problem, point))


class Comparison:
    """Decides entries at one point; the second truths are only computed where they are needed."""

    def __init__(self, problem: Problem, point: Sequence[Any], exact: Exact):
        self.problem, self.point, self.exact = problem, list(point), exact

    def value(self, leaf: int, index: tuple) -> Finding:
        """One entry of the value."""
        got, expected = self.exact.our_value[leaf][index], self.exact.value[leaf][index]
        if is_nan(expected):
            return Finding("undecided", got, expected, why="the definition is undefined here")
        digits = agreement(got, expected)
        if digits < SAME and self._only_constants("our_value", "value", leaf, index):
            digits = SAME
        return _by_digits(digits, got, expected, "autodiff")

    def gradient(self, leaf: int, index: tuple) -> Finding:
        """One entry of the cotangent of a differentiated leaf."""
        got, expected = self.exact.our_pull[leaf][index], self.exact.pull[leaf][index]
        digits = agreement(got, expected) if not is_nan(expected) else 0.0
        if digits < SAME and self._only_constants("our_pull", "pull", leaf, index):
            digits = SAME
        if not digits < SAME:
            return _by_digits(digits, got, expected, "autodiff")
        # autodiff and the rule differ: the function itself decides
        try:
            left, right = self.quotients(leaf, index)
        except Straddles as straddle:
            return Finding("undecided", got, expected, why=str(straddle))
        if is_nan(left) or is_nan(right):
            defined = right if is_nan(left) else left
            if is_nan(defined):
                return Finding("undecided", got, expected, why="the definition is undefined here")
            left = right = defined
        name = "difference quotients"
        if agreement(left, right) >= SAME:
            return _by_digits(agreement(got, left), got, left, name)
        with precision(256):
            low, high = sorted((left, right), key=float)
            slack = (abs(low) + abs(high)) * arb(2) ** -60
            inside = bool(got >= low - slack) and bool(got <= high + slack)
        return Finding("kink" if inside else "wrong", got, (left, right), name)

    def _only_constants(self, ours: str, theirs: str, leaf: int, index: tuple) -> bool:
        """Whether the rounding of constants such as 0.1 explains the difference."""
        x, y = getattr(self._rounded, ours, None), getattr(self._rounded, theirs, None)
        if x is None or y is None:
            return False
        a, b = x[leaf][index], y[leaf][index]
        return bool(a.is_finite() and b.is_finite() and a.overlaps(b))

    @functools.cached_property
    def _rounded(self) -> Exact | None:
        try:
            return both(self.problem, self.point, rounded_constants=True)
        except Straddles:  # a threshold that is itself a rounded constant
            return None

    def quotients(self, leaf: int, index: tuple) -> tuple[arb, arb]:
        """One-sided derivatives of the definition, from its forward program alone.

        Each is extrapolated from two steps, which leaves an error of the order of the step
        squared: more than SAME digits wherever the function is smooth on that side.
        """
        sides = []
        with precision(1024):
            centre = self._loss(leaf, index, arb(0))
            x = self.point[self.problem.differentiated[leaf]][index]
            step = arb(STEP) * max(abs(float(x)), 2.0**-40)
            for h in (-step, step):
                first = (self._loss(leaf, index, h) - centre) / h
                second = (self._loss(leaf, index, 2 * h) - centre) / (2 * h)
                sides.append(2 * first - second)
        return sides[0], sides[1]

    def _loss(self, leaf: int, index: tuple, h: arb) -> arb:
        """The definition's value against the cotangents, with one entry moved by h."""
        arithmetic = Arb()
        moved = [lift(x, arithmetic.lift) for x in self.point]
        k = self.problem.differentiated[leaf]
        moved[k] = moved[k].copy()
        moved[k][index] = moved[k][index] + h
        return evaluate(self.problem.traced.loss, moved, arithmetic)[0].item()
