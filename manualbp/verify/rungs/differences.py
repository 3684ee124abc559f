"""Where no exact form exists: float64 differences of the definition, with an error estimate."""

from collections.abc import Iterator, Sequence

import numpy as np

from manualbp.verify.ask.problem import Problem
from manualbp.verify.rungs.exact import Finding

# Steps are the size of the entry times these; each is half of the one before
_LEVELS = 9
_FIRST = 2.0**-4


# Two float64 programs of one function may differ by so much where it is ill conditioned
_ROUNDING = 1e-7


def decide(
    problem: Problem,
    point: Sequence[np.ndarray],
    got: Sequence[np.ndarray],
    autodiff: Sequence[np.ndarray],
) -> Iterator[tuple[int, np.ndarray, dict[tuple, Finding]]]:
    """For each differentiated leaf the estimated gradient, and a finding for every entry.

    Central differences are extrapolated to step 0 (Ridders 1982); the estimate's own error is the
    largest disagreement between the two best extrapolations. An entry is right within ten of
    those errors, wrong beyond a hundred if autodiff sides with the estimate, and undecided else.

    Args:
      problem: whose definition is differenced, in float64.
      point: leaves, then cotangents.
      got: our cotangents of the differentiated leaves.
      autodiff: those of jax.vjp of the definition.
    """
    for leaf, k in enumerate(problem.differentiated):
        estimate, error = _richardson(problem, point, k)
        findings = {
            index: _decide_entry(
                *(float(x[index]) for x in (got[leaf], autodiff[leaf], estimate, error))
            )
            for index in np.ndindex(estimate.shape)
        }
        yield leaf, estimate, findings


def _decide_entry(got: float, autodiff: float, estimate: float, error: float) -> Finding:
    truth = "float64 differences"
    if not np.isfinite(estimate):
        return Finding("undecided", got, estimate, truth, why="no estimate")

    def near(x: float, errors: float) -> bool:
        return abs(x - estimate) <= max(errors * error, _ROUNDING * max(abs(x), abs(estimate)))

    if near(got, 10):
        gap, size = max(abs(got - estimate), error), max(abs(got), abs(estimate))
        return Finding(
            "right", got, estimate, truth, -np.log10(gap / size) if gap and size else np.inf
        )
    if near(autodiff, 10) and not near(got, 100):
        return Finding("wrong", got, estimate, truth)
    return Finding("undecided", got, estimate, truth, why="the estimate is too rough")


def _richardson(problem: Problem, point: Sequence[np.ndarray], k: int):
    """The derivative in every entry of array k, and a bound on its error."""
    x = np.asarray(point[k], np.float64)
    n = x.size
    size = np.maximum(np.abs(x.ravel()), 1.0)
    steps = _FIRST * 0.5 ** np.arange(_LEVELS)[:, None] * size  # (levels, entries)
    moved = np.zeros((2, _LEVELS, n, n))
    for sign in (0, 1):
        moved[sign][:, np.arange(n), np.arange(n)] = (1 - 2 * sign) * steps
    stack = [np.repeat(np.asarray(a)[None], moved[..., 0].size, 0) for a in point]
    stack[k] = x + moved.reshape(-1, *x.shape)
    values = np.asarray(
        problem.compiled_loss(stack[: len(problem.free)], stack[len(problem.free) :])
    )
    plus, minus = values.reshape(2, _LEVELS, n)
    with np.errstate(all="ignore"):
        table = (plus - minus) / (2 * steps)
        # the terms of a small value need not be small: the largest value met stands for them
        noise = 4 * np.finfo(float).eps * np.nanmax(np.abs(values), initial=0.0) / steps
        best, error = table[-1], np.full(n, np.inf)
        previous = table
        for order in range(1, _LEVELS):
            better = previous[1:] + (previous[1:] - previous[:-1]) / (4.0**order - 1)
            for row in range(len(better)):
                bound = np.maximum(np.abs(better[row] - previous[row + 1]), noise[row + order])
                improves = bound < error
                best, error = (
                    np.where(improves, better[row], best),
                    np.where(improves, bound, error),
                )
            previous = better
    return best.reshape(x.shape), error.reshape(x.shape)
