"""The record that holds one equation of a lecture note."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, eq=False)
class Claim:
    """One equation of a lecture note, as printed, beside what it claims to equal.

    A claim holds where `as_printed(*args)` and `truth(*args)` are the same pytree of the same
    shapes and values at every point; shapes that differ, or operands that do not conform, do
    not hold. In `points` a nested list is an array; everything else is passed as it is.
    """

    id: str  # "note/topic/what", unique
    place: str  # the note, the line or lines of its text
    printed: str  # TeX, as printed, with the left side that a chain of equations omits
    as_printed: Callable  # the printed right side, term by term
    truth: Callable  # what the left side means; a gradient is autodiff of its definition
    points: tuple[tuple, ...]  # arguments to try, in order, few and round numbers first
    corrected: str = ""  # TeX of the equation that holds; "" where the printed one does
    correction: Callable | None = None  # the same as code: equal to `truth` everywhere
    remark: str = ""  # a convention, a domain, or why it fails
    decimals: int | None = None  # a printed number: `truth` is rounded to so many decimals
    explore: bool = True  # False where random real arguments would leave the stated domain
    kink: bool = False  # True where no derivative exists: a convention, not an error
    supplied: bool = False  # True where the note leaves the equation out: `printed` is ours

    def __post_init__(self) -> None:
        """Turn the nested lists of `points` into arrays."""
        points = tuple(tuple(_array(value) for value in point) for point in self.points)
        object.__setattr__(self, "points", points)


def _array(value: object) -> object:
    return np.asarray(value) if isinstance(value, list) else value
