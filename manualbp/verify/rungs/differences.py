"""Where no exact form exists: float64 differences of the definition, with an error estimate."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from manualbp.verify.ask.problem import Problem
from manualbp.verify.evidence import Entry, Finding
from manualbp.verify.numbers.operations import operations
from manualbp.verify.numbers.wide import narrow
from manualbp.verify.rungs.floats import half_digits

# Steps are the size of the entry times these; each is half of the one before
_LEVELS = 9
_FIRST = 2.0**-4
# Two float64 programs of one function may differ by so much: by constants rounded to float32
_ROUNDING = 1e-6
# Entries that are differenced one by one, and operations that they may take in all
_ENTRIES, _OPERATIONS = 24, 2e8
TRUTH: Any = "float64 differences"


def decide(
    problem: Problem,
    point: Sequence[np.ndarray],
    got: Sequence[np.ndarray],
    autodiff: Sequence[np.ndarray] | None,
    at: int = 0,
) -> Iterator[Finding]:
    """Findings at one point: every entry along random lines, and some entries alone.

    Central differences are extrapolated to step 0 (Ridders 1982); the estimate's own error is the
    largest disagreement between the two best extrapolations. A number is right within ten of
    those errors, wrong beyond a hundred if autodiff sides with the estimate, or is not there and
    half the digits differ, and undecided else.

    Args:
      problem: whose definition is differenced, in float64.
      point: leaves, then cotangents.
      got: our cotangents of the differentiated leaves.
      autodiff: those of jax.vjp of the definition, where there is one.
      at: which point it is.
    """
    rng = np.random.default_rng(0)
    # an iteration stops when it is close, and some programs have a dtype of their own: half the
    # digits are asked of them
    programs = [p for p in (problem.traced.ours, problem.traced.truth) if p is not None]
    noise = _noise(problem, point)
    most = int(max(1, min(_ENTRIES, _OPERATIONS / _each(problem))))
    rough = "while[" in str(problem.traced.loss.jaxpr) or noise > _EPS or any(map(narrow, programs))
    half = half_digits(problem.dtype)
    half = 32 * half if rough else half
    rounding = half / 4 if rough else _ROUNDING
    for leaf, k in enumerate(problem.differentiated):
        finite = np.isfinite(point[k])  # a mask's infinities do not move
        entries = _chosen(rng, got[leaf], None if autodiff is None else autodiff[leaf], most)
        entries = [i for i in entries if finite[i]]
        directions = [_one(point[k].shape, index) for index in entries]
        line = rng.choice([-1.0, 1.0], point[k].shape) * (
            1 + np.asarray(rng.random(point[k].shape))
        )
        line = np.where(finite, line, 0.0)
        estimates, errors = _richardson(problem, point, k, [line, *directions], noise)
        rows: list[tuple[Any, float, float | None]] = [
            (
                None,
                _along(got[leaf], line),
                None if autodiff is None else _along(autodiff[leaf], line),
            )
        ]
        rows += [
            (i, float(got[leaf][i]), None if autodiff is None else float(autodiff[leaf][i]))
            for i in entries
        ]
        terms = float(np.abs(got[leaf] * line).sum()) if np.all(np.isfinite(got[leaf])) else 0.0
        sizes = np.abs(got[leaf])[np.isfinite(got[leaf])]
        typical = float(np.median(sizes)) if sizes.size else 0.0
        for n, ((index, x, other), estimate, error) in enumerate(
            zip(rows, estimates, errors, strict=True)
        ):
            finding = _entry(
                Entry("gradient", leaf, index or ()), x, other, float(estimate), float(error),
                terms if n == 0 else typical, at, rounding, half,
            )  # fmt: skip
            if index is None and point[k].size > 1:
                if finding.relation == "other":
                    continue  # an entry says so too, or nothing is certain
                if finding.relation == "same":  # every entry of it counts as one
                    yield finding
                continue
            yield finding


def points_in_time(problem: Problem) -> int:
    """At so many points differences are soon done."""
    lines = len(problem.differentiated) * (1 + min(_ENTRIES, _OPERATIONS / _each(problem)))
    return int(max(2, 8 * _OPERATIONS / (lines * _each(problem))))


def _each(problem: Problem) -> int:
    """Operations of a derivative along a line."""
    return 2 * _LEVELS * max(operations(problem.traced.loss), 1)


def _chosen(
    rng: np.random.Generator, got: np.ndarray, autodiff: np.ndarray | None, most: int
) -> list[tuple]:
    """Entries to look at: those on which the two differ most, and a spread of the rest."""
    flat = np.arange(got.size)
    if autodiff is not None and got.size:
        with np.errstate(all="ignore"):
            off = np.abs(got - autodiff) / (np.abs(got) + np.abs(autodiff) + 1e-300)
        off = np.where(np.isfinite(off), off, 1.0).ravel()
        off[np.isfinite(got).ravel() != np.isfinite(autodiff).ravel()] = 2.0
        flat = np.concatenate([np.argsort(-off)[: (most + 1) // 2], rng.permutation(flat)])
    else:
        flat = rng.permutation(flat)
    some = list(dict.fromkeys(flat.tolist()))[:most]
    return [tuple(int(i) for i in np.unravel_index(n, got.shape)) for n in some]


def _one(shape: tuple[int, ...], index: tuple) -> np.ndarray:
    direction = np.zeros(shape)
    direction[index] = 1.0
    return direction


def _along(gradient: np.ndarray, line: np.ndarray) -> float:
    return float(np.sum(gradient * line, where=line != 0))


def _entry(
    entry: Entry, got: float, autodiff: float | None, estimate: float, error: float,
    terms: float, at: int, rounding: float, half: float,
) -> Finding:  # fmt: skip
    if not np.isfinite(estimate) or not np.isfinite(error):
        return Finding(entry, "undecided", got, estimate, TRUTH, why="no estimate", at=at)

    def near(x: float, errors: float) -> bool:
        size = max(abs(x), abs(estimate), terms)
        return abs(x - estimate) <= max(errors * error, rounding * size)

    if near(got, 10):
        gap, size = max(abs(got - estimate), error), max(abs(got), abs(estimate))
        digits = -np.log10(gap / size) if gap and size else np.inf
        return Finding(entry, "same", got, estimate, TRUTH, digits, at=at)
    if autodiff is not None and np.isfinite(autodiff):
        sides = near(autodiff, 10)
    else:  # an estimate that nothing sides with: of a bounded error, and far from it
        small = error <= 1e-4 * max(abs(estimate), 1e-300)
        far = not abs(got - estimate) <= half * max(abs(got), abs(estimate), terms)
        sides = (small and far) or (not np.isfinite(got) and error < 1e-3)
    if sides and not near(got, 100):
        return Finding(entry, "other", got, estimate, TRUTH, at=at)
    return Finding(entry, "undecided", got, estimate, TRUTH, why="the estimate is rough", at=at)


def _richardson(
    problem: Problem,
    point: Sequence[np.ndarray],
    k: int,
    directions: list[np.ndarray],
    relative: float,
) -> tuple[np.ndarray, np.ndarray]:
    """The derivative along each direction in array k, and a bound on its error."""
    x = np.asarray(point[k], np.float64)
    n = len(directions)
    along = np.stack(directions)
    moves = along != 0
    size = np.array(
        [max(np.abs(x[m]).max(initial=0.0), 1.0) if m.sum() == 1 else 1.0 for m in moves]
    )
    steps = _FIRST * 0.5 ** np.arange(_LEVELS)[:, None] * size  # (levels, directions)
    signs = np.array([1.0, -1.0])[:, None, None]
    moves = (signs * steps).reshape(-1)
    lines = np.resize(np.arange(n), len(moves))

    def moved(rows: np.ndarray) -> dict[int, np.ndarray]:
        far = moves[rows].reshape(-1, *(1 for _ in x.shape))
        return {k: x + far * along[lines[rows]]}

    values = _losses(problem, point, len(moves), moved)
    plus, minus = values.reshape(2, _LEVELS, n)
    with np.errstate(all="ignore"):
        table = (plus - minus) / (2 * steps)
        # the terms of a small value need not be small: the largest value met stands for them
        noise = 4 * relative * np.nanmax(np.abs(values), initial=0.0) / steps
        best, error = table[-1], np.full(n, np.inf)
        previous = table
        for order in range(1, _LEVELS):
            better = previous[1:] + (previous[1:] - previous[:-1]) / (4.0**order - 1)
            for row in range(len(better)):
                bound = np.maximum(np.abs(better[row] - previous[row + 1]), noise[row + order])
                improves = bound < error
                best = np.where(improves, better[row], best)
                error = np.where(improves, bound, error)
            previous = better
        # where a function is smooth its middle lies on the line, but for the square of the step
        middle = _losses(problem, point, 1, lambda rows: {k: x[None]})[0]
        bent = np.abs(plus[-1] + minus[-1] - 2 * middle) / steps[-1]
        smooth = bent <= np.abs(best) / 4 + 1e3 * noise[-1] + 1e-3 * np.nanmax(
            np.abs(best), initial=0.0
        )
        # where it jumps, or is a root, differences grow as steps shrink: extrapolation hides that
        smooth &= np.abs(table[-1] - table[-2]) <= np.abs(best) / 4 + 1e3 * noise[-1] + 1e-3 * (
            np.nanmax(np.abs(best), initial=0.0)
        )
        error = np.where(smooth, error, np.inf)
    return best, error


# Points that are run at once, and numbers in them
_AT_ONCE, _NUMBERS = 64, 2**22


def _losses(
    problem: Problem,
    point: Sequence[np.ndarray],
    count: int,
    moved: Callable[[np.ndarray], dict[int, np.ndarray]],
) -> np.ndarray:
    """The definition's value against the cotangents at so many points beside one, some at a time.

    Args:
      problem: whose definition it is.
      point: that they lie beside.
      count: how many there are.
      moved: the arrays that move, by place, at some of them.
    """
    centre = [np.asarray(a) for a in point]
    most = min(_AT_ONCE, max(1, _NUMBERS // max(1, sum(np.size(a) for a in point))))
    found = []
    for start in range(0, count, most):
        rows = np.arange(start, min(start + most, count))
        if count > most:  # as many each time, so that nothing is compiled twice
            rows = np.resize(rows, most)
        found.append(np.asarray(problem.compiled_loss(centre, moved(rows))))
    return np.concatenate(found)[:count]


_EPS = float(np.finfo(np.float64).eps)
# Steps of the noise's measure, and how far a smooth program's middle may lie from its line there
_NEAR = 2.0 ** -np.array([18.0, 20.0, 22.0])
_SMOOTH = 1e-9
# Along which it is measured
_LINES = 4


def _noise(problem: Problem, point: Sequence[np.ndarray]) -> float:
    """The rounding of the program that is differenced, relative to its values.

    Some run in a dtype of their own, and not all say so. Over small steps the middle of a smooth
    function lies on its line; at a kink it leaves the line by less and less, in noise it does not
    (difference tables of noise: Hamming 1971; Moré and Wild 2011).
    """
    own = float(np.finfo(np.float32).eps) if narrow(problem.traced.loss) else _EPS
    rng = np.random.default_rng(1)
    moves = np.concatenate([_NEAR, -_NEAR, [0.0]])
    stacks = {}
    for k in problem.differentiated:
        x = np.asarray(point[k], np.float64)
        size = np.abs(x).max(initial=1.0, where=np.isfinite(x))
        lines = rng.standard_normal((_LINES, *x.shape)) * size
        stacks[k] = lambda rows, x=x, lines=lines: (
            x + moves[rows // _LINES].reshape(-1, *(1 for _ in x.shape)) * lines[rows % _LINES]
        )

    def moved(rows: np.ndarray) -> dict[int, np.ndarray]:
        return {k: at(rows) for k, at in stacks.items()}

    values = _losses(problem, point, _LINES * len(moves), moved).reshape(len(moves), -1)
    plus, minus, middle = values[:3], values[3:6], values[6]
    scale = np.abs(values).max(initial=0.0)
    with np.errstate(all="ignore"):
        off = np.abs(plus + minus - 2 * middle).max(axis=1) / scale
    noisy = off[2] > _SMOOTH and off[2] > off[0] / 8
    return max(own, float(off[2])) if noisy else own
