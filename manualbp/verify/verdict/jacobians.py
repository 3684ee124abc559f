"""How a wrong backward pass reads its cotangent, told from its whole matrix.

A backward pass is linear in the cotangent: a matrix with a row for each entry of the value and a
column for each entry of the argument, the Jacobian. Which rows a column reads, and where, says
more of a bug than one wrong number does.
"""

import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np

# Entries below this part of the largest count as 0, and differences below it as none
_SMALL = 1e-9
# Entries of a value whose Jacobian is made, and numbers in it, at most
_MOST, _NUMBERS = 512, 2**22


@dataclass(frozen=True)
class Jacobians:
    """Two matrices at one point: what the rule's backward pass is, and what it should be.

    Attributes:
      got, expected: (entries of the value, entries of the argument).
      outputs: the shape of each result, whose entries follow one another in the rows.
      shape: of the argument.
    """

    got: np.ndarray
    expected: np.ndarray
    outputs: tuple[tuple[int, ...], ...]
    shape: tuple[int, ...]


def measure(problem: Any, point: Sequence[np.ndarray], leaf: int, rows: int) -> Jacobians | None:
    """Both at a point (leaves, then cotangents), in float64.

    Args:
      problem: what is judged.
      point: where.
      leaf: the differentiated argument.
      rows: of a Jacobian at most; None is returned for larger values.
    """
    n = len(problem.parts)
    outputs = tuple(x.shape for x in point[n:])
    sizes = [int(np.prod(s)) for s in outputs]
    size = sum(sizes)
    if not 0 < size <= min(rows, _MOST) or size * sum(x.size for x in point) > _NUMBERS:
        return None
    basis = np.eye(size)
    ends = np.cumsum([0, *sizes])
    cotangents = [
        basis[:, a:b].reshape(size, *s) for a, b, s in zip(ends, ends[1:], outputs, strict=False)
    ]
    leaves = [np.repeat(x[None], size, axis=0) for x in point[:n]]
    ours, truth, _ = problem.run([*leaves, *cotangents])
    got, expected = (x[1][leaf].reshape(size, -1) for x in (ours, truth))
    if not (np.all(np.isfinite(got)) and np.all(np.isfinite(expected))):
        return None
    return Jacobians(got, expected, outputs, point[problem.differentiated[leaf]].shape)


def relation(pairs: Sequence[Jacobians]) -> str | None:
    """The simplest relation that holds at every point; None where they agree or none is found."""
    if not pairs or all(_same(p.got, p.expected) for p in pairs):
        return None
    first = pairs[0]
    factors = [_factor_of(p) for p in pairs]
    if None not in factors and len(set(factors)) == 1:
        return factor_text(float(factors[0] or 0.0))
    for text, change in _changes(first):
        if all(_same(p.got, change(p.expected)) for p in pairs):
            return text
    for test in (_outputs, _summed_before, _support):
        texts = {test(p) for p in pairs}
        if len(texts) == 1 and None not in texts:
            return texts.pop()
    return None


def factor_text(ratio: float, rounding: float = 1e-6) -> str:
    """A constant factor, as a fraction where it is one."""
    if np.isclose(ratio, -1, rtol=rounding):
        return "sign flipped"
    simple = Fraction(ratio).limit_denominator(1000)
    if simple not in (0, 1) and np.isclose(float(simple), ratio, rtol=rounding):
        return f"off by a constant factor: got = {simple} x expected"
    if abs(ratio - 1) < 1e-4:
        return f"off by a constant factor: got = (1 {ratio - 1:+.3g}) x expected"
    return f"off by a constant factor: got = {ratio:.6g} x expected"


def _same(x: np.ndarray, y: np.ndarray) -> bool:
    if x.shape != y.shape:
        return False
    size = max(np.abs(x).max(initial=0.0), np.abs(y).max(initial=0.0))
    return bool(np.all(np.abs(x - y) <= _SMALL * size))


def _nonzero(x: np.ndarray) -> np.ndarray:
    return np.abs(x) > _SMALL * np.abs(x).max(initial=0.0)


def _factor_of(p: Jacobians) -> float | None:
    """The one number that expected is multiplied by, to nine digits."""
    at = _nonzero(p.expected)
    if not at.any() or not _same(p.got[~at], np.zeros_like(p.got[~at])):
        return None
    ratios = p.got[at] / p.expected[at]
    if ratios[0] == 0 or not np.allclose(ratios, ratios[0], rtol=_SMALL, atol=0):
        return None
    return float(f"{ratios[0]:.9g}")


def _changes(p: Jacobians) -> Iterator[tuple[str, Callable[[np.ndarray], np.ndarray]]]:
    """What a mistake may have made of the right matrix, as functions of it."""
    n, m = p.expected.shape
    if n == m > 1:
        yield (
            "transposed: a matrix, an order reversed, or a conjugate that is missing",
            (lambda e: e.T),
        )
    one = len(p.outputs) == 1
    for what, shape, rows in (
        ("the cotangent", p.outputs[0] if one else (n,), True),
        ("the gradient", p.shape, False),
    ):
        places = np.arange(int(np.prod(shape))).reshape(shape)
        for i, j in itertools.combinations(range(len(shape)), 2):
            if shape[i] == shape[j] > 1:
                order = np.swapaxes(places, i, j).ravel()
                yield f"transposed: axes {i} and {j} of {what} are swapped", _ordered(order, rows)
        for k, length in enumerate(shape):
            if length > 1:
                order = np.flip(places, k).ravel()
                yield f"the order is reversed along axis {k} of {what}", _ordered(order, rows)
                for step in (1, -1):
                    order = np.roll(places, step, k).ravel()
                    yield (
                        f"an index is off by one along axis {k} of {what}",
                        _ordered(order, rows),
                    )
    if len(p.outputs) == 2 and p.outputs[0] == p.outputs[1]:
        yield "the cotangents of two results are swapped", _ordered(np.roll(np.arange(n), n // 2))
    yield "the sign is wrong for some entries: a branch or a conjugate", _signs_of(p)
    for what, found, rows in (
        ("the cotangent is read", _matching(p.got, p.expected), True),
        ("the gradient's entries are", _matching(p.got.T, p.expected.T), False),
    ):
        if found is not None:
            text = f"{what} in another order: an index, a permutation or an axis"
            yield text, _ordered(found, rows)


def _ordered(order: np.ndarray, rows: bool = True) -> Callable[[np.ndarray], np.ndarray]:
    return lambda e: e[order] if rows else e[:, order]


def _signs_of(p: Jacobians) -> Callable[[np.ndarray], np.ndarray]:
    signs = np.where(p.got * p.expected < 0, -1.0, 1.0)
    return lambda e: signs * e


def _matching(got: np.ndarray, expected: np.ndarray) -> np.ndarray | None:
    """The order in which the rows of one matrix are those of the other."""
    size = np.abs(expected).max(initial=0.0) or 1.0
    rounded = [np.round(x / size, 7) + 0.0 for x in (got, expected)]
    if len({tuple(row) for row in rounded[1]}) < len(expected):
        return None  # rows that are the same tell no order
    places = {tuple(row): i for i, row in enumerate(rounded[1])}
    order = [places.get(tuple(row), -1) for row in rounded[0]]
    return np.array(order) if len(order) > 1 and sorted(order) == list(range(len(order))) else None


def _outputs(p: Jacobians) -> str | None:
    """One of several results whose cotangent is not read, the others being right."""
    if len(p.outputs) < 2:
        return None
    ends = np.cumsum([0, *(int(np.prod(s)) for s in p.outputs)])
    for k, (a, b) in enumerate(itertools.pairwise(ends)):
        if not p.got[a:b].any() and p.expected[a:b].any():
            return f"the cotangent of result {k} is dropped"
    return None


def _summed_before(p: Jacobians) -> str | None:
    """A sum over an axis of the cotangent alone, where a product is to be summed."""
    if len(p.outputs) != 1:
        return None
    (shape,) = p.outputs
    got, expected = (x.reshape(*shape, -1) for x in (p.got, p.expected))
    for k, length in enumerate(shape):
        total = np.broadcast_to(expected.sum(k, keepdims=True), got.shape)
        if length > 1 and not _same(expected, total / length):
            if _same(got, total):
                return f"the cotangent is summed over axis {k} before the product, not after"
            if _same(got, total / length):
                return f"the cotangent is averaged over axis {k}: a sum before the product"
    return None


def _support(p: Jacobians) -> str | None:
    """Which entries of the cotangent each entry of the gradient reads, and which it should."""
    got, expected = _nonzero(p.got), _nonzero(p.expected)
    if len(p.outputs) != 1 or np.array_equal(got, expected):
        return None
    (shape,) = p.outputs
    read, wanted = _axes(got, shape), _axes(expected, shape)
    fewer = bool(np.all(expected[got]))
    if shape == p.shape and not np.any(got & ~np.eye(len(got), dtype=bool)):
        if not np.any(expected & ~np.eye(len(got), dtype=bool)):
            return None  # both entry by entry
        return (
            "a term is missing: each entry is treated alone, without its effect on the other "
            "results through a sum, a maximum or a normaliser"
        )
    if read - wanted and wanted - read:
        return (
            f"wrong axis: sums over axis {_list(read - wanted)} of the cotangent, "
            f"expected over axis {_list(wanted - read)}"
        )
    if fewer:
        over = _list(wanted - read or wanted)
        if not wanted:
            return None
        if _same(np.where(got, p.expected, 0.0), p.got):
            return (
                f"terms are missing: the sum over axis {over} of the cotangent is not whole "
                "(repeated indices, or a loop that ends early)"
            )
        return f"a sum over axis {over} of the cotangent, or a term of it, is missing"
    if np.all(got[expected]):
        return (
            f"cotangents of other entries are mixed in: one sum over axis {_list(read - wanted)} "
            "too many"
            if read - wanted
            else "cotangents of other entries are mixed in, in a sum or an index"
        )
    return "reads the wrong entries of the cotangent: an index, an order or an axis"


def _axes(support: np.ndarray, shape: tuple[int, ...]) -> set[int]:
    """The axes of the cotangent along which some entry of the gradient reads several entries."""
    found: set[int] = set()
    if not shape:  # the cotangent of a number has no axes
        return found
    for column in support.T:
        places = np.unravel_index(np.flatnonzero(column), shape)
        found |= {k for k, x in enumerate(places) if len(set(x.tolist())) > 1}
    return found


def _list(axes: set[int]) -> str:
    return " and ".join(map(str, sorted(axes))) or "none"
