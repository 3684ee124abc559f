"""Where programs branch: the inputs on, just below and just above every comparison they make.

Both programs are run again in float64 with one thing changed: every comparison, selection, clamp,
abs, sign, maximum and floor reports which way it went. Along lines through the space of inputs
the places where an answer changes are bracketed and bisected to neighbouring floats.
"""

import itertools
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np

from manualbp.verify.numbers.walk import is_floating
from manualbp.verify.numbers.wide import Branch, Watch, widened

# No smaller numbers are tried but 0: products of a few of them still are numbers
_TINY = 1e-30
# Values of one entry along a line: many scales, both signs, and 0
GRID = np.unique(
    np.concatenate(
        [
            [-_TINY, 0.0, _TINY],
            *(sign * 10.0 ** np.linspace(-12, 12, 49) for sign in (-1, 1)),
            np.linspace(-12, 12, 49) + 0.01,
        ]
    )
)
MOST_LINES = 12
# Changes looked for between two neighbours of the grid
_MOST_CHANGES = 3


def decisions(jaxprs: Sequence[Any]) -> tuple[Callable[..., Any], list[Branch]]:
    """A function of the programs' inputs: the results of each, and every decision as one vector.

    And the branches that decide, a list that is filled when the function is traced.
    """
    branches: list[Branch] = []

    def run(*arguments: Any) -> Any:
        branches.clear()
        watch = Watch([], branches)
        found = []
        for closed in jaxprs:
            results = widened(closed, watch)(*arguments)
            found.append(results)
            # where a result underflows or overflows is a place to look at, too
            for x in results:
                if is_floating(x.dtype):
                    watch.note("result", "", {"zero": x == 0})
                    watch.note("result", "", {"finite": jnp.isfinite(x)})
        return found, jnp.concatenate(watch.taken) if watch.taken else jnp.zeros(0, bool)

    return run, branches


def coverage(went: np.ndarray, branches: Sequence[Branch]) -> tuple[int, Counter[str]]:
    """How many ways the comparisons can go, and those that they go at no point.

    Args:
      went: the decisions, a row a point.
      branches: of those decisions.
    """
    ends = np.cumsum([0, *(b.size for b in branches)])
    ways, unvisited = 0, Counter[str]()
    for k, branch in enumerate(branches):
        if branch.side != "below" or not branch.size:
            continue
        below, above = went[:, ends[k] : ends[k + 1]], went[:, ends[k + 1] : ends[k + 2]]
        for name, happened in _WAYS[branch.primitive](below, above).items():
            ways += 1
            if not np.any(happened):
                unvisited[f"{name} in {branch.place}"] += 1
    return ways, unvisited


def _answers(yes: Any) -> dict[str, Any]:
    return {"true": yes, "false": ~yes}


def _sides(below: Any, above: Any) -> dict[str, Any]:
    return {"first smaller": below, "first larger": above}


def _signs(below: Any, above: Any) -> dict[str, Any]:
    return {"negative": below, "positive": above}


# What each comparison can come to, from whether its first operand lies below or above the second
_WAYS: dict[str, Callable[[Any, Any], dict[str, Any]]] = {
    "lt": lambda below, above: _answers(below),
    "ge": lambda below, above: _answers(~below),
    "gt": lambda below, above: _answers(above),
    "le": lambda below, above: _answers(~above),
    "eq": lambda below, above: _answers(~below & ~above),
    "ne": lambda below, above: _answers(below | above),
    "max": _sides,
    "min": _sides,
    "abs": _signs,
    "sign": _signs,
    "clamp": lambda below, above: {
        "below": below,
        "above": above,
        "inside": ~below & ~above,
    },
}


def find(
    decide: Callable[..., Any],
    branches: Sequence[Branch],
    points: list[list],
    movable: Sequence[int],
    project: Callable[[list], list] = lambda point: point,
) -> list[list]:
    """Points on both sides of, and at, each change of a decision along lines.

    Those of changes not met before come first, since only the first few may be looked at.

    Args:
      decide: from stacked inputs, as many as the grid has, to stacked decisions.
      branches: of those decisions.
      points: where lines start, each a list of arrays.
      movable: the arrays whose entries are moved.
      project: brings a stack of points, whose entries were moved, back to the domain.
    """
    lines = list(itertools.islice(_lines(points, movable), MOST_LINES))
    if not lines:
        return []
    starts = [np.stack(x) for x in zip(*(line[0] for line in lines), strict=True)]

    def at(which: np.ndarray, values: np.ndarray) -> list:
        """The points at these values along these lines."""
        moved = [x[which] for x in starts]
        for i in np.unique(which):
            (_, k, entries), rows = lines[i], np.flatnonzero(which == i)
            moved[k][(rows, *entries)] = values[rows].reshape(-1, *(1 for _ in entries))
        return project(moved)

    new: list[list] = []
    again: list[list] = []
    met: set[tuple] = set()
    values_met: set[tuple] = set()
    brackets = _brackets(decide, at, len(lines))  # which also fills in the branches
    owners = np.repeat(np.arange(len(branches)), [b.size for b in branches])
    for line, low, high, flipped in brackets:
        _, k, entries = lines[line]
        change = (k, low < 0, *np.unique(owners[list(flipped)]).tolist())
        found = again if change in met else new
        met.add(change)
        for value in _around(low, high):
            key = (k, float(value), entries == (slice(None),) * len(entries))
            if key not in values_met:
                values_met.add(key)
                found.append([x[0] for x in at(np.array([line]), np.array([value]))])
    return new + again


def _around(low: float, high: float) -> np.ndarray:
    """Values at and next to a change."""
    if max(abs(low), abs(high)) <= _TINY:
        return np.array([-_TINY, 0.0, _TINY])
    beyond = np.nextafter([low, high], [-np.inf, np.inf])
    return np.unique([*beyond, low, high, _round(low, high)])


def _lines(points: list[list], movable: Sequence[int]) -> Iterator[tuple[list, int, tuple]]:
    """All entries of an array moved together; then single entries of each."""
    for k in movable:
        x = points[0][k]
        if x.size:
            yield points[0], k, (slice(None),) * x.ndim
    for n, point in enumerate(points[1:]):
        for k in movable:
            if point[k].ndim and point[k].size > 1:
                entry = np.unravel_index(n % point[k].size, point[k].shape)
                yield point, k, tuple(slice(i, i + 1) for i in entry)


def _brackets(decide: Callable, at: Callable, lines: int) -> list[tuple[int, float, float, tuple]]:
    """Neighbouring floats between which decisions change: (line, below, above, which)."""
    n = len(GRID)

    def answers(line: np.ndarray, values: np.ndarray) -> np.ndarray:
        rows = np.resize(np.arange(len(line)), n)  # as many points, so that nothing compiles twice
        return np.asarray(decide(*at(line[rows], values[rows])))[: len(line)]

    grid = np.stack([answers(np.full(n, i), GRID) for i in range(lines)])
    line, step = np.nonzero((grid[:, 1:] != grid[:, :-1]).any(axis=2))
    low, high, at_low, at_high = (
        GRID[step],
        GRID[step + 1],
        grid[line, step],
        grid[line, step + 1],
    )
    found: dict[tuple, None] = {}
    for _ in range(_MOST_CHANGES):
        line, low, high, at_low, at_high = (x[:n] for x in (line, low, high, at_low, at_high))
        if not len(line):
            break
        below, above = _ordered(low), _ordered(high)
        inner = np.arange(1, n // len(line) + 1)  # so many floats between are tried at once
        while np.any(above - below > 1):
            steps = np.maximum((above - below) // (len(inner) + 1), 1)
            tried = np.minimum(below[:, None] + steps[:, None] * inner, above[:, None])
            got = answers(np.repeat(line, len(inner)), _float(tried.ravel()))
            same = (got.reshape(*tried.shape, -1) == at_low[:, None]).all(axis=2)
            ends = np.column_stack([tried, above])
            first = np.argmin(np.column_stack([same, np.zeros(len(line), bool)]), axis=1)
            each = np.arange(len(line))
            below = np.where(first > 0, ends[each, first - 1], below)
            above = ends[each, first]
        below, above = _float(below), _float(above)
        now = answers(line, above)
        flipped = [tuple(np.flatnonzero(x).tolist()) for x in now != at_low]
        changes = zip(line.tolist(), below.tolist(), above.tolist(), flipped, strict=True)
        found |= dict.fromkeys(changes)
        # between this change and the next point of the grid there may be another
        more = (now != at_high).any(axis=1)
        line, low, high, at_low, at_high = (x[more] for x in (line, above, high, now, at_high))
    return sorted(found)


def _ordered(x: np.ndarray) -> np.ndarray:
    bits = np.asarray(x, np.float64).view(np.int64)
    return np.where(bits < 0, np.int64(-(2**63)) - bits, bits)


def _float(order: np.ndarray) -> np.ndarray:
    bits = np.where(order < 0, np.int64(-(2**63)) - order, order)
    return bits.view(np.float64)


def _round(low: float, high: float) -> float:
    """The roundest number next to the change, which is often what was meant."""
    for digits in range(-3, 10):
        rounded = round(low, digits)
        if abs(rounded - low) <= 1e-9 * max(abs(low), 1e-300):
            return rounded
    return low
