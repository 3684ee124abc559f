"""A question of real size asked in a small shape, and what is found there at the size asked.

Where a program changes its way is searched along many lines, which a large one has no time for. A
threshold is a value that numbers have, whatever the shape: it is found in a small one.
"""

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from manualbp.verify.ask.domains import Spec

if TYPE_CHECKING:
    from manualbp.verify.ask.problem import Problem

# Axes no longer than this stay: heads, windows, channels
_KEPT = 4
# Points at thresholds of a large question
_MOST = 8


def resized(spec: Spec, sizes: dict[int, int]) -> Spec:
    """A specification with axes of other lengths; classes are as many as an axis of their number.

    Args:
      spec: of an argument.
      sizes: from old lengths to new ones.
    """
    shape = tuple(sizes.get(n, n) for n in spec.shape)
    return replace(spec, shape=shape, below=sizes.get(spec.below, spec.below))


def small(problem: "Problem") -> "Problem | None":
    """The same question in a small shape; None where the rule or the definition has no such.

    Axes of one length shrink together, those of different lengths to different ones.
    """
    lengths = sorted({n for spec in problem.specs for n in spec.shape if n > _KEPT})
    sizes = {n: _KEPT + 1 + i for i, n in enumerate(lengths)}
    if all(new >= old for old, new in sizes.items()):
        return None
    try:
        other = problem.with_specs([resized(s, sizes) for s in problem.specs])
        shapes = [x.aval.shape for x in other.traced.ours.jaxpr.outvars]
        wanted = other.traced.truth or other.traced_value
        if shapes[: len(wanted.out_avals)] != [x.shape for x in wanted.out_avals]:
            return None
    except Exception:  # whatever the user's code raises on other shapes
        return None
    return other


def thresholds(problem: "Problem") -> list[list]:
    """The points of the small question on and beside its thresholds, repeated up to the size asked.

    Integers and other arrays that hold no numbers are drawn; what leaves its domain goes.
    """
    other = small(problem)
    if other is None:
        return []
    rng = np.random.default_rng(0)
    whole = [*problem.draw(rng, "normal"), *problem.cotangents(rng, "round")]
    found = [
        [repeated(x, y.shape) if x.dtype.kind == "f" else y for x, y in zip(p, whole, strict=True)]
        for p in other.thresholds[:_MOST]
    ]
    return [p for p in found if problem.contains(p)]


def repeated(x: np.ndarray, shape: tuple[int, ...]) -> Any:
    """An array repeated along each of its axes, as far as a shape goes."""
    return x[np.ix_(*(np.arange(n) % m for n, m in zip(shape, x.shape, strict=True)))]
