"""Primitives of linear algebra, by elimination, substitution and reflection."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from manualbp.verify.numbers.arithmetic import Straddles, Unsupported, array, is_complex


def _batched(function: Callable[..., Any], ranks: Sequence[int], *arrays: np.ndarray) -> list:
    """Results, a list each, for every matrix or vector of a stack, stacked again."""
    lead = arrays[0].shape[: arrays[0].ndim - ranks[0]]
    flat = [
        x.reshape(-1, *x.shape[x.ndim - rank :]) if x.size else x.reshape(0, *x.shape[-rank:])
        for x, rank in zip(arrays, ranks, strict=True)
    ]
    rows = [function(*row) for row in zip(*flat, strict=True)]
    if not rows:
        raise Unsupported("linear algebra of no entries")
    stacks = []
    for results in zip(*rows, strict=True):
        shape = (*lead, *results[0].shape)
        flat_results = [number for y in results for number in y.ravel()]
        stacks.append(
            array(flat_results, shape)
            if results[0].dtype.kind == "O"
            else np.asarray(flat_results, results[0].dtype).reshape(shape)
        )
    return stacks


def _dot(ar: Any, xs: Any, ys: Any) -> Any:
    total = ar.lift(0.0)
    for x, y in zip(xs, ys, strict=True):
        total = ar.add(total, ar.mul(x, y))
    return total


def _conj(x: np.ndarray, ar: Any, dtype: Any) -> np.ndarray:
    if not is_complex(dtype):
        return x
    function = ar.complex_function("conj", 1)
    return array([function(v) for v in x.ravel()], x.shape)


def cholesky(eqn, xs, ar):
    """Of the lower triangle; the upper one stays, as the primitive leaves it. NaN if indefinite."""
    root = ar.function("sqrt", 1)

    def one(a):
        n, out = len(a), a.copy()
        for j in range(n):
            left = ar.sub(a[j, j], _dot(ar, out[j, :j], out[j, :j]))
            if not ar.compare("gt", left, ar.lift(0.0)):
                return [array([ar.lift(float("nan"))] * a.size, a.shape)]
            out[j, j] = root(left)
            for i in range(j + 1, n):
                rest = ar.sub(a[i, j], _dot(ar, out[i, :j], out[j, :j]))
                out[i, j] = ar.div(rest, out[j, j])
        return [out]

    return _batched(one, (2,), xs[0])


def lu(eqn, xs, ar):
    """With partial pivoting: at each column the row of the largest entry, the first of them."""
    size = ar.function("abs", 1)

    def one(a):
        a = a.copy()
        rows, columns = a.shape
        order = np.arange(rows, dtype=np.int32)
        pivots = []
        for k in range(min(rows, columns)):
            at = k
            for i in range(k + 1, rows):
                if ar.compare("gt", size(a[i, k]), size(a[at, k])):
                    at = i
            pivots.append(at)
            a[[k, at]], order[[k, at]] = a[[at, k]], order[[at, k]]
            if ar.compare("eq", a[k, k], ar.lift(0.0)):
                continue  # LAPACK goes on, and leaves the column
            for i in range(k + 1, rows):
                a[i, k] = ar.div(a[i, k], a[k, k])
                for j in range(k + 1, columns):
                    a[i, j] = ar.sub(a[i, j], ar.mul(a[i, k], a[k, j]))
        return [a, np.asarray(pivots, np.int32), order]

    return _batched(one, (2,), xs[0])


def qr(eqn, xs, ar):
    """By Householder's reflections, with LAPACK's signs."""
    if eqn.params.get("pivoting"):
        raise Unsupported("qr with pivoting")
    root = ar.function("sqrt", 1)
    zero, one_ = ar.lift(0.0), ar.lift(1.0)

    def one(a):
        r = a.copy()
        m, n = r.shape
        q = array([one_ if i == j else zero for i in range(m) for j in range(m)], (m, m))
        for k in range(min(m - 1, n)):
            below = _dot(ar, r[k + 1 :, k], r[k + 1 :, k])
            if ar.compare("eq", below, zero):
                continue  # no reflection
            norm = root(ar.add(below, ar.mul(r[k, k], r[k, k])))
            negative = ar.compare("lt", r[k, k], zero)
            alpha = norm if negative else ar.sub(zero, norm)
            v = r[k:, k].copy()
            v[0] = ar.sub(v[0], alpha)
            half = ar.div(_dot(ar, v, v), ar.lift(2.0))
            for j in range(n):
                c = ar.div(_dot(ar, v, r[k:, j]), half)
                for i in range(k, m):
                    r[i, j] = ar.sub(r[i, j], ar.mul(c, v[i - k]))
            for i in range(m):
                c = ar.div(_dot(ar, q[i, k:], v), half)
                for j in range(k, m):
                    q[i, j] = ar.sub(q[i, j], ar.mul(c, v[j - k]))
        for i in range(m):
            r[i, : min(i, n)] = zero
        kept = m if eqn.params["full_matrices"] else min(m, n)
        return [q[:, :kept], r[:kept]]

    return _batched(one, (2,), xs[0])


def triangular_solve(eqn, xs, ar):
    p = eqn.params
    unit = p["unit_diagonal"]

    def one(a, b):
        # as a x = b of a lower triangle: transposed where it stands at the right, rows from the
        # end where the triangle is an upper one
        lower = p["lower"] != p["transpose_a"]
        if p["transpose_a"]:
            a = a.T
        if p["conjugate_a"]:
            a = _conj(a, ar, eqn.invars[0].aval.dtype)
        if not p["left_side"]:
            a, b, lower = a.T, b.T, not lower
        order = range(len(a)) if lower else range(len(a) - 1, -1, -1)
        out = np.empty_like(b)
        done: list[int] = []
        for i in order:
            for k in range(b.shape[1]):
                rest = ar.sub(b[i, k], _dot(ar, a[i, done], out[done, k]))
                out[i, k] = rest if unit else ar.div(rest, a[i, i])
            done.append(i)
        return [out if p["left_side"] else out.T]

    return _batched(one, (2, 2), *xs)


def tridiagonal_solve(eqn, xs, ar):
    if eqn.params.get("perturb_singular"):
        raise Unsupported("tridiagonal_solve with perturbation")

    def one(low, diagonal, high, b):
        n = len(diagonal)
        zero = ar.lift(0.0)
        matrix = array([zero] * (n * n), (n, n))
        for i in range(n):
            matrix[i, i] = diagonal[i]
            if i:
                matrix[i, i - 1] = low[i]
            if i + 1 < n:
                matrix[i, i + 1] = high[i]
        return [ar.solve(matrix, b)]

    return _batched(one, (1, 1, 1, 2), *xs)


def solve(ar: Any, matrix: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Gauss's elimination; the pivot is the first entry that is not zero."""
    a, b = matrix.copy(), right.copy()
    n, zero = len(a), ar.lift(0.0)
    for k in range(n):
        at = next((i for i in range(k, n) if ar.compare("ne", a[i, k], zero)), None)
        if at is None:
            raise Straddles("a singular system")
        a[[k, at]], b[[k, at]] = a[[at, k]], b[[at, k]]
        for i in range(n):
            if i == k:
                continue
            factor = ar.div(a[i, k], a[k, k])
            for part in (a, b):
                for j in range(part.shape[1]):
                    part[i, j] = ar.sub(part[i, j], ar.mul(factor, part[k, j]))
    for k in range(n):
        for j in range(b.shape[1]):
            b[k, j] = ar.div(b[k, j], a[k, k])
    return b
