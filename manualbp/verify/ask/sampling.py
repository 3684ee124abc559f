"""The points at which a question is looked at: drawn, given, central, and at thresholds."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from manualbp.verify.ask.domains import STYLES
from manualbp.verify.ask.problem import Problem

Level = Literal["quick", "standard", "full"]

# points compared with autodiff, in one compiled call; points where the two disagree that exact
# arithmetic decides; points that it decides whatever autodiff says
EFFORT: dict[str, tuple[int, int, int]] = {
    "quick": (64, 8, 2),
    "standard": (512, 24, 8),
    "full": (4096, 96, 32),
}
# Points on and beside thresholds, at most
THRESHOLDS = 24
# Relative movement of given arguments of a loop that iterates until it is close
_NEAR = 0.1
# Cotangents at given arguments, where nothing else is tried
_GIVEN = 8


@dataclass(frozen=True)
class Points:
    """Stacks of points: parts of the arguments, then of the cotangent, with a leading axis.

    Attributes:
      stacks: all of them.
      drawn: how many come first, in every style in turn; a given point stands in the first place.
      at_thresholds: which lie on or beside a comparison.
      special: which are looked at in any case: given, or at the centre of the domain.
      ordinary: two points of no special place, stacked.
      only_given: whether nothing but given arguments is tried.
      decide, always: points for exact arithmetic, where the programs differ and elsewhere.
      seed: of the draws.
    """

    stacks: list[np.ndarray]
    drawn: int
    at_thresholds: range
    special: tuple[int, ...]
    ordinary: list[np.ndarray]
    only_given: bool
    decide: int
    always: int
    seed: int

    def point(self, p: int) -> list[np.ndarray]:
        """Parts of the arguments, then of the cotangent."""
        return [x[p] for x in self.stacks]

    def exists(self, p: int) -> bool:
        """Whether it is of numbers; infinities (those of a mask) are, where they are given."""
        given = self.only_given or p in self.special
        defined = (lambda x: ~np.isnan(x)) if given else np.isfinite
        return all(np.all(defined(x)) for x in self.point(p))

    def style(self, p: int) -> str:
        """In which style a point was drawn."""
        return STYLES[p % len(STYLES)] if p < self.drawn else "threshold"

    def of_styles(self, *styles: str) -> np.ndarray:
        """Drawn points of these styles."""
        found = [p for p in range(self.drawn) if self.only_given or self.style(p) in styles]
        return np.array(found, int)


def points_for(problem: Problem, args: tuple, explore: bool, level: Level, seed: int) -> Points:
    """The points of a question.

    Args:
      problem: whose domain they lie in.
      args: what was given: arrays are looked at in any case.
      explore: try other values; else only what was given.
      level: how many.
      seed: of what is drawn.
    """
    rng = np.random.default_rng(seed)
    number, decide, always = EFFORT[level]
    given = problem.given_leaves(args)
    if given is not None and not explore:
        dys = problem.cotangents_styles(rng, _GIVEN)
        stacks = [np.stack([x] * _GIVEN) for x in given] + dys
        normal = [np.stack([x] * 2) for x in given] + _normal(problem, rng)
        return Points(stacks, _GIVEN, range(0), (0,), normal, True, decide, always, seed)
    n = problem.points_that_fit(number)
    stacks = [*problem.draw_styles(rng, n), *problem.cotangents_styles(rng, n)]
    special = []
    if given is not None and problem.iterates:  # which may not end far from what was given
        for k, (x, first) in enumerate(zip(stacks, given, strict=False)):
            if x.dtype.kind == "f" and not problem.spec(k).structured:
                near = first * (1 + _NEAR * rng.standard_normal(x.shape))
                stacks[k] = np.asarray(problem.held(k, problem.spec(k).project(near)))
    if given is not None:
        for x, first in zip(stacks, given, strict=False):
            x[0] = first
        special.append(0)
    near = given is not None and problem.iterates
    found = [] if near else problem.thresholds[:THRESHOLDS]
    centre = None if near else problem.centre()
    extra = [*found]
    if centre is not None:
        special.append(n + len(extra))
        extra.append([*centre, *problem.cotangents(np.random.default_rng(0), "round")])
    if extra:
        stacks = [np.concatenate([x, *(p[k][None] for p in extra)]) for k, x in enumerate(stacks)]
    at_thresholds = range(n, n + len(found))
    return Points(
        stacks,
        n,
        at_thresholds,
        tuple(special),
        _ordinary(problem, given),
        False,
        decide,
        always,
        seed,
    )


def _ordinary(problem: Problem, given: list | None) -> list[np.ndarray]:
    """Two points of no special place, the same for every seed; of masks the given ones."""
    rng = np.random.default_rng(0)
    points = [problem.draw(rng, "normal") for _ in range(2)]
    for k, part in enumerate(problem.parts):
        if given is not None and part.dtype == bool:
            points = [[*p[:k], given[k], *p[k + 1 :]] for p in points]
    return [np.stack(x) for x in zip(*points, strict=True)] + _normal(problem, rng)


def _normal(problem: Problem, rng: np.random.Generator) -> list[np.ndarray]:
    dys = [problem.cotangents(rng, "normal") for _ in range(2)]
    return [np.stack(x) for x in zip(*dys, strict=True)]


def spread(points: Sequence[int], n: int) -> list[int]:
    """At most n of the points, every style of input among them."""
    styles = [[p for p in points if p % len(STYLES) == s] for s in range(len(STYLES))]
    found: list[int] = []
    while len(found) < n and any(styles):
        for group in styles:
            if group and len(found) < n:
                found.append(group.pop(0))
    return found
