"""A smaller counterexample: fewer entries, rounder numbers, while the rule still fails."""

import itertools
from collections.abc import Callable, Iterator
from typing import Any

import jax
import numpy as np

from manualbp.verify.ask.domains import Spec
from manualbp.verify.ask.problem import Problem
from manualbp.verify.ask.size import resized
from manualbp.verify.evidence import Finding
from manualbp.verify.numbers.operations import operations
from manualbp.verify.numbers.walk import Straddles, Unsupported
from manualbp.verify.rungs import exact

# A failure: where it stands, and what was found there
Failure = tuple[exact.Comparison, Finding]

# Exact evaluations spent on the search, and what one may cost
_TRIES, _NUMBERS = 60, 2e5


def shrink(failure: Failure, seed: int, smaller: bool = True) -> Failure:
    """The simplest failure of the same result (value, or gradient of the same argument) found.

    Args:
      failure: where the search starts.
      seed: of the points tried in smaller shapes.
      smaller: try smaller shapes too.
    """
    tries = iter(range(_TRIES))
    if smaller:
        failure = _in_smaller_shapes(failure, seed, tries)
    return _rounder(failure, tries)


def fails_at(problem: Problem, point: list, like: Finding) -> Failure | None:
    """The first entry of the same result that is wrong in the same way at a point."""
    if not problem.contains(point):
        return None
    try:
        comparison = exact.compare(problem, point)
        if comparison.pull is not None and [x.shape for x in comparison.our_pull] != [
            x.shape for x in comparison.pull
        ]:  # another failure, of the contract, on these shapes
            return None
        for finding in comparison.findings([like.entry]):
            same = finding.entry[:2] == like.entry[:2] and finding.why == like.why
            if finding.relation == "other" and same:
                return comparison, finding
    except (Straddles, Unsupported):
        pass
    return None


def _in_smaller_shapes(failure: Failure, seed: int, tries: Iterator[int]) -> Failure:
    """Axes of one length shrink together, since they may have to match."""
    comparison, finding = failure
    problem = comparison.problem
    if operations(problem.traced.ours) > _NUMBERS:
        return failure
    for sizes in _smaller_sizes(problem.specs):
        try:
            specs = [resized(s, sizes) for s in problem.specs]
            with jax.enable_x64(True):
                other = problem.with_specs(specs)
                _ = other.traced
        except Exception:  # whatever the user's code raises on other shapes
            continue
        rng = np.random.default_rng(seed)
        drawn = [other.draw(rng, style) for style in ("round", "ties", "round", "normal")]
        points = [[*leaves, *other.cotangents(rng, "round")] for leaves in drawn]
        for point in (_sliced(comparison.point, points[0]), *points):
            if next(tries, None) is None:
                return failure
            try:
                found = fails_at(other, point, finding)
            except Exception:  # made for other shapes
                break
            if found is not None:
                return found
    return failure


def _sliced(point: list, like: list) -> list:
    """The first entries of each array of a point, as many as another point has."""
    if any(x.ndim != y.ndim for x, y in zip(point, like, strict=True)):
        return like
    return [x[tuple(map(slice, y.shape))] for x, y in zip(point, like, strict=True)]


def _smaller_sizes(specs: list[Spec]) -> Iterator[dict[int, int]]:
    """Maps from old lengths to new ones, the smallest first."""
    lengths = sorted({n for s in specs for n in s.shape if n > 1})
    if not lengths or len(lengths) > 3:
        return
    for new in itertools.product(*([1, 2] if n > 2 else [1, n] for n in lengths)):
        sizes = dict(zip(lengths, new, strict=True))
        if sizes != {n: n for n in lengths}:
            yield sizes


def _rounder(failure: Failure, tries: Iterator[int]) -> Failure:
    """Simpler numbers, array by array, the boldest change first."""
    comparison, finding = failure
    problem, point = comparison.problem, list(comparison.point)
    if operations(problem.traced.ours) > _NUMBERS:
        return failure
    cotangents = range(len(problem.parts), len(point))
    floating = [k for k, x in enumerate(point) if x.dtype.kind == "f"]
    for k in [*cotangents, *(k for k in floating if k not in cotangents)]:
        for change in _SIMPLER:
            simpler = problem.held(k, change(point[k]))
            if np.array_equal(simpler, point[k]):
                break
            if next(tries, None) is None:
                return failure
            changed = [*point[:k], simpler, *point[k + 1 :]]
            found = fails_at(problem, changed, finding)
            if found is not None:
                point, failure = changed, found
                break
    return failure


_SIMPLER: tuple[Callable[[Any], Any], ...] = (
    np.zeros_like,
    np.ones_like,
    lambda x: np.full_like(x, np.round(x.flat[0]) if x.size else 0),
    np.round,
    lambda x: np.round(x, 1),
    lambda x: np.round(x, 3),
)
