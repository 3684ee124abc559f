"""A linear layer and softmax cross-entropy in one rule, which never holds the batch's logits.

With n examples, d features and k classes the logits are n x k, and autodiff keeps arrays of that
size: far more than h, w and their gradients where k is a vocabulary. Here they are made a tile of
some examples and some classes at a time. Every loss of this module has the form

    loss = sum_j a_j (lse - z_j) + zeta lse^2,   lse = log sum_j e^{z_j},   A = sum_j a_j,
    a_j = v_j [(1 - epsilon) y_j + epsilon / k],
    dz_j = (A + 2 zeta lse) p_j - a_j,   p_j = e^{z_j - lse},

with labels y (one-hot for an integer), weights v of classes, label smoothing epsilon and the
coefficient zeta of the z-loss. With the largest logit z_m split off, r = sum_{j != m} e^{z_j - z_m}
and B = sum_{j != m} a_j,

    loss = sum_j a_j (z_m - z_j) + A log(1 + r) + zeta lse^2,   lse = z_m + log(1 + r),
    dz_m = (B + 2 zeta lse - a_m r) / (1 + r),
    dz_j = (A + 2 zeta lse) e^{z_j - z_m} / (1 + r) - a_j   for the others:

no exponential overflows, every term of the cross-entropy is positive, r / (1 + r) = 1 - p_m keeps
its digits where class m leads, and every other p_j is 1/2 at most. What still cancels in dz does
so because the gradient itself vanishes there.

Integer labels c without weights, smoothing and z-loss need one class apart, the label's, with
s = sum_{j != c} e^{z_j - z_m}:

    loss = z_m - z_c + log(1 + (s + (e^{z_c - z_m} - 1))),   dz_c = -sum_{j != c} p_j.

Sources: note 004, 'Multiclass cross-entropy loss'; Szegedy et al. 2016, arXiv:1512.00567, section
7 (label smoothing); Chowdhery et al. 2022, arXiv:2204.02311, section 5, and Zoph et al. 2022,
arXiv:2202.08906 (z-loss); Milakov and Gimelshein 2018, arXiv:1805.02867 (the sum of exponentials,
chunk by chunk); Wijmans et al. 2024, arXiv:2411.09009 (logits made again in the backward pass).
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from manualbp._checks import (
    Array,
    brief,
    floating,
    in_range,
    integer,
    integer_labels,
    labels_below,
    nonnegative_entries,
    same_dtype,
)
from manualbp._chunks import over, put, take
from manualbp._rule import Rule, named, no_cotangent, wide_dtype, widen
from manualbp.activations import minus
from manualbp.layers import _matmul, _rows
from manualbp.losses import softmax_cross_entropy_with_integer_labels

# Logits of a tile where no chunk is given: 4 MB in float32. Fewer than 64 classes or examples at a
# time would make the products slow.
_LOGITS, _FEWEST, _EXAMPLES = 2**20, 64, 2048


def linear_softmax_cross_entropy(
    chunk: int | None = None,
    ignore: int | None = None,
    *,
    label_smoothing: float = 0.0,
    z_loss: float = 0.0,
    weighted: bool = False,
    rows: int | None = None,
) -> Rule:
    """Softmax cross-entropy of h @ w + b, without the logits of the batch.

    Arguments of the rule are `(h, w, b, labels)`: h of shape (..., features), w (features,
    classes), b (classes,), and labels: integers of shape (...), or soft ones of shape (...,
    classes) in the dtype of h, which get a gradient. One loss an example; the backward pass makes
    the logits again, one product more, unless a tile holds all of them: with integer labels alone
    their gradient is kept then. Half precision computes inside in float32.

    Args:
      chunk: how many classes are held at a time, which need not divide their number. None: such
        that a tile has a million logits at most.
      ignore: a label whose examples have loss 0 and gradient 0, such as -100; None: there is none.
      label_smoothing: epsilon in [0, 1): labels become (1 - epsilon) labels + epsilon / classes.
      z_loss: the coefficient, 0 at least, of (log sum exp)^2, which is added to each loss.
      weighted: whether the rule has a last argument `weights` of shape (classes,), which gets a
        gradient. As in PyTorch, each multiplies the term of its class, after smoothing: without
        smoothing the weight of the label's class multiplies the cross-entropy. The z-loss has no
        weight, and nothing is divided by the weights' sum.
      rows: how many examples are held at a time, as `chunk` of classes.

    Returns:
      A rule of (h, w, b, labels), or of (h, w, b, labels, weights).

    Raises:
      ValueError: naming the option and what was expected. The rule: for shapes and dtypes that do
        not fit; where values can be seen, for labels out of range or all ignored, and for weights
        that are negative or not finite.

    >>> loss = linear_softmax_cross_entropy(chunk=2)
    >>> print(loss(jnp.ones((2, 4)), jnp.zeros((4, 3)), jnp.zeros(3), jnp.array([0, 2])))
    [1.0986123 1.0986123]
    """
    name = "linear_softmax_cross_entropy"
    for argument, size in (("chunk", chunk), ("rows", rows)):
        if size is not None and integer(name, argument, size) < 1:
            raise ValueError(f"{name}: expected {argument} to be a positive integer, got {size}")
    if ignore is not None:
        ignore = integer(name, "ignore", ignore)
    smoothing = in_range(
        name, "label_smoothing", label_smoothing, lambda v: 0 <= v < 1, "a number in [0, 1)"
    )
    zeta = in_range(name, "z_loss", z_loss, lambda v: v >= 0, "a finite number from 0 on")
    if not isinstance(weighted, bool):
        raise ValueError(f"{name}: expected weighted to be True or False, got {brief(weighted)}")

    def validate(h, w, b, labels, weights=None):
        if not jnp.issubdtype(jnp.result_type(labels), jnp.floating):
            labels_below(name, labels, (jnp.shape(b) or (0,))[-1], ignore)
        if weighted:
            nonnegative_entries(name, "weights", weights, "a weight of 0 leaves a class out")

    fwd, bwd = _by_tiles(name, chunk, rows, ignore, smoothing, zeta)
    return Rule(
        named(
            name, chunk=chunk, ignore=ignore, label_smoothing=smoothing, z_loss=zeta,
            weighted=weighted, rows=rows,
        ),
        fwd if weighted else lambda h, w, b, labels: fwd(h, w, b, labels, None),
        bwd if weighted else lambda saved, dy: bwd(saved, dy)[:4],
        tex=r"\sum_j a_j (\ell - z_j) + \zeta \ell^2, \; \ell = \log \sum_j e^{z_j}, \; "
        r"a_j = v_j [(1 - \epsilon) y_j + \epsilon / k], \; z = h w + b, \quad "
        r"dz_j = (\sum_i a_i + 2 \zeta \ell) p_j - a_j, \; dh = dz\,w^T, \; dw = h^T dz, \; "
        r"db = \sum dz, \; dy_j = (1 - \epsilon) v_j (\ell - z_j), \; "
        r"dv_j = \sum (\ell - z_j)\,a_j / v_j",
        source="note 004, 'Multiclass cross-entropy loss'; arXiv:1512.00567; arXiv:2204.02311; "
        "arXiv:1805.02867; arXiv:2411.09009",
        saves="the arguments, and three numbers an example (five with soft labels or options): the "
        "largest logit and the sums over the others; dz itself where it is no more than a tile",
        validate=validate,
    )  # fmt: skip


def _checked(
    name: str, h: Any, w: Any, b: Any, labels: Any, weights: Any, ignore: int | None
) -> tuple[Array, Array, "_Layer"]:
    """Examples as rows, their labels, and what has a column a class."""
    h, w, b = (floating(name, a, x) for a, x in (("h", h), ("w", w), ("b", b)))
    same_dtype(name, w=w, h=h, b=b)
    if h.shape[-1:] != w.shape[:1] or w.ndim != 2 or b.shape != w.shape[1:] or 0 in b.shape:
        raise ValueError(
            f"{name}: expected h (..., features), w (features, classes) and b (classes,), got h "
            f"{h.shape}, w {w.shape} and b {b.shape}: one row an example, one column a class"
        )
    shape = (*h.shape[:-1], *b.shape)
    soft = jnp.issubdtype(jnp.result_type(labels), jnp.floating) and jnp.ndim(labels) == len(shape)
    if soft and ignore is not None:
        raise ValueError(
            f"{name}: expected integer labels, of which {ignore} is ignored, got soft labels"
        )
    if not soft:
        logits: Any = jax.ShapeDtypeStruct(shape, h.dtype)
        labels = integer_labels(name, labels, logits).reshape(-1)
    else:
        labels = _rows(_like(name, "soft labels", labels, w, shape))
    weights = None if weights is None else _like(name, "weights", weights, w, b.shape)
    return _rows(h), labels, _Layer(w, b, weights)


def _like(name: str, argument: str, x: Any, w: Array, shape: tuple[int, ...]) -> Array:
    """x as an array of this shape, and of the dtype of w."""
    x = floating(name, argument, x)
    same_dtype(name, w=w, **{argument: x})
    if x.shape != shape:
        raise ValueError(
            f"{name}: expected {argument} of shape {shape}, got {x.shape}: one column a class"
        )
    return x


class _Sums(NamedTuple):
    """Of each example, over the classes seen so far; m is the first of the largest logits."""

    at: Any  # m
    top: Any  # z_m
    rest: Any  # sum over j != m of e^{z_j - z_m}
    a_top: Any  # a_m
    a_rest: Any  # sum over j != m of a_j
    behind: Any  # sum of a_j (z_m - z_j)


def _cost(a: Array, gap: Array) -> Array:
    """a gap, where a class that cannot occur (an infinite gap) and is no label's costs nothing."""
    return a * jnp.where((a == 0) & (gap == jnp.inf), 0, gap)


def _numbers(start: Any, length: int) -> Array:
    return start + jnp.arange(length, dtype=jnp.int32)[None, :]


def _add(seen: _Sums, z: Array, a: Array, start: Any) -> _Sums:
    """The sums with one chunk of classes more: its logits z and coefficients a."""
    first = jnp.argmax(z, axis=1, keepdims=True)  # not max: second derivatives are right at ties
    found = jnp.take_along_axis(z, first, axis=1)[:, 0]
    better = (found > seen.top) | (seen.at < 0)
    at = jnp.where(better, start + first[:, 0].astype(jnp.int32), seen.at)
    top = jnp.where(better, found, seen.top)
    others = _numbers(start, z.shape[1]) != at[:, None]
    gap = -minus(z, top[:, None])
    moved = -minus(seen.top, top)
    # nothing seen: rest is -1, and with the 1 of the largest logit there is no exponential yet
    rest = jnp.where(better, seen.rest + 1, seen.rest) * jnp.exp(-moved)
    a_found = jnp.take_along_axis(a, first, axis=1)[:, 0]
    return _Sums(
        at,
        top,
        rest + jnp.sum(jnp.where(others, jnp.exp(-gap), 0), axis=1),
        jnp.where(better, a_found, seen.a_top),
        seen.a_rest + jnp.where(better, seen.a_top, 0) + jnp.sum(jnp.where(others, a, 0), axis=1),
        seen.behind + _cost(seen.a_top + seen.a_rest, moved) + jnp.sum(_cost(a, gap), axis=1),
    )  # fmt: skip


class _Layer(NamedTuple):
    """What has a column a class, or some of its columns, or their gradients."""

    w: Any
    b: Any
    v: Any  # weights of classes, or None

    def columns(self, start: Any, length: int) -> "_Layer":
        return jax.tree.map(lambda p: widen(take(p, start, length, p.ndim - 1)), self)

    def put(self, part: "_Layer", start: Any) -> "_Layer":
        return jax.tree.map(lambda p, own: put(p, own, start, p.ndim - 1), self, part)

    def logits(self, x: Array) -> Array:
        return _matmul(x, self.w) + self.b[None, :]

    def weighted(self, s: Array) -> Array:
        return s if self.v is None else s * self.v[None, :]


class _Others(NamedTuple):
    """Of each example, over the classes seen so far."""

    top: Any  # the largest logit
    others: Any  # sum over all but the label's of e^{z_j - top}
    own: Any  # the label's logit


def _finite(*xs: Array) -> list[Array]:
    """With the largest number in place of infinity: differences of equal ones are 0."""
    return [jnp.clip(x, -jnp.finfo(x.dtype).max, jnp.finfo(x.dtype).max) for x in xs]


def _without_own(seen: _Others, z: Array, labels: Array) -> _Others:
    """The sums with one chunk of classes more: its logits z, and labels counted from its start."""
    at, here = labels[:, None], (labels >= 0) & (labels < z.shape[1])
    found = jnp.take_along_axis(z, jnp.where(here, labels, 0)[:, None], axis=1)[:, 0]
    # no function of the logits: what a row is shifted by changes no probability
    top = jax.lax.stop_gradient(jnp.maximum(seen.top, jnp.max(z, axis=1)))
    z, before, base = _finite(z, seen.top, top)
    e = jnp.where(_numbers(0, z.shape[1]) == at, 0, jnp.exp(z - base[:, None]))
    return _Others(
        top,
        seen.others * jnp.exp(before - base) + jnp.sum(e, axis=1),
        jnp.where(here, found, seen.own),
    )


def _by_tiles(
    name: str, chunk: Any, rows: Any, ignore: Any, smoothing: float, zeta: float
) -> tuple[Callable, Callable]:
    """fwd and bwd, over chunks of classes and, within each, of examples."""

    def sizes(n, classes):
        c = min(classes, chunk or max(_FEWEST, _LOGITS // max(min(n, rows or _EXAMPLES), 1)))
        return min(n, rows or max(_FEWEST, _LOGITS // c)), c

    def left_out(labels):
        return jnp.zeros(len(labels), bool) if ignore is None else labels == ignore

    def shares(labels, classes, i, r, j, c):
        """(1 - epsilon) y + epsilon / k in a tile; 0 where left out, NaN for an unknown label."""
        if labels.ndim == 2:
            s = widen(jax.lax.dynamic_slice(labels, (i, j), (r, c)))
        else:
            labels = take(labels, i, r)
            known = (labels >= 0) & (labels < classes) | left_out(labels)
            own = labels[:, None] == _numbers(j, c).astype(labels.dtype)
            s = jnp.where(known[:, None], own.astype(float), jnp.nan)
        if smoothing:
            s = (1 - smoothing) * s + smoothing / classes
        return s if ignore is None else jnp.where(left_out(labels)[:, None], 0, s)

    def whole(n, classes):
        """Whether the logits of all are no more than a tile."""
        return chunk is None and rows is None and n * classes <= _LOGITS

    def numbered(labels, classes):
        """As int32: -1 for what is no class, and 0, a class like any, for what is left out."""
        known = jnp.where((labels >= 0) & (labels < classes), labels, -1).astype(jnp.int32)
        return jnp.where(left_out(labels), 0, known)

    def one_class(labels, weights):
        """Whether each example has one label, and nothing else counts."""
        return labels.ndim == 1 and weights is None and not smoothing and not zeta

    def over_tiles(x, layer, add, seen):
        """The sums after add(sums of some examples, their logits, columns, i, r, j, c) of each."""
        n, classes = len(x), len(layer.b)
        r, c = sizes(n, classes)

        def of_classes(j, c, seen):
            own = layer.columns(j, c)

            def of_rows(i, r, seen):
                part = jax.tree.map(lambda s: take(s, i, r), seen)
                part = add(part, own.logits(take(x, i, r)), own, i, r, j, c)
                return jax.tree.map(lambda s, own: put(s, own, i), seen, part)

            return over(n, r, of_rows, seen)

        return over(classes, c, of_classes, seen)

    def sums_of_one_class(x, labels, layer):
        n, wide = len(x), wide_dtype(x.dtype)
        if whole(n, len(layer.b)):
            z = layer.columns(0, len(layer.b)).logits(widen(x))
            loss, (slope, _) = softmax_cross_entropy_with_integer_labels.fwd(z, labels)
            return loss, slope

        def add(seen, z, own, i, r, j, c):
            return _without_own(seen, z, take(labels, i, r) - j)

        start = jnp.full(n, -jnp.inf, wide), jnp.zeros(n, wide), jnp.full(n, jnp.nan, wide)
        seen = over_tiles(x, layer, add, _Others(*start))
        behind = minus(seen.top, seen.own)
        e_own = jnp.exp(-behind)
        loss = behind + jnp.log1p(seen.others + (e_own - 1))
        total = seen.others + e_own
        return loss, (*_finite(seen.top), 1 / total, seen.others / total)

    def slopes_of_one_class(x, labels, layer, g, saved):
        if whole(len(x), len(layer.b)):
            return lambda own, rows, i, r, j, c: (g[:, None] * saved, None)
        top, scale, others = saved
        at_label, scale = -g * others, g * scale

        def slope(own, rows, i, r, j, c):
            column = lambda p: take(p, i, r)[:, None]  # noqa: E731
            (z,) = _finite(own.logits(rows))
            dz = column(scale) * jnp.exp(z - column(top))
            return jnp.where(_numbers(0, c) == column(labels) - j, column(at_label), dz), None

        return slope

    def sums(x, labels, layer):
        n, wide = len(x), wide_dtype(x.dtype)

        def add(seen, z, own, i, r, j, c):
            a = own.weighted(shares(labels, len(layer.b), i, r, j, c).astype(wide))
            return _add(seen, z, a, j)

        zeros = jnp.zeros(n, wide)
        seen = _Sums(jnp.full(n, -1, jnp.int32), zeros - jnp.inf, zeros - 1, zeros, zeros, zeros)
        seen = over_tiles(x, layer, add, seen)
        log_total = jnp.log1p(seen.rest)  # less z_m
        loss = seen.behind + (seen.a_top + seen.a_rest) * log_total
        if zeta:
            loss += zeta * (seen.top + log_total) * (seen.top + log_total)
        return loss, seen._replace(behind=None)

    def slopes(x, labels, layer, g, seen):
        wide, log_total = wide_dtype(x.dtype), jnp.log1p(seen.rest)
        pull = 2 * zeta * (seen.top + log_total) if zeta else 0
        share = g / (1 + seen.rest)
        at_top = share * ((seen.a_rest + pull) - seen.a_top * seen.rest)
        elsewhere = share * (seen.a_top + seen.a_rest + pull)

        def slope(own, rows, i, r, j, c):
            column = lambda p: take(p, i, r)[:, None]  # noqa: E731
            s = shares(labels, len(layer.b), i, r, j, c).astype(wide)
            gap = -minus(own.logits(rows), column(seen.top))
            dz = column(elsewhere) * jnp.exp(-gap) - column(g) * own.weighted(s)
            dz = jnp.where(_numbers(j, c) == column(seen.at), column(at_top), dz)
            return dz, (s, gap + column(log_total))  # log sum exp - z_j

        return slope

    def fwd(h, w, b, labels, weights):
        x, flat, layer = _checked(name, h, w, b, labels, weights, ignore)
        if one_class(flat, weights):
            loss, seen = sums_of_one_class(x, numbered(flat, len(layer.b)), layer)
        else:
            loss, seen = sums(x, flat, layer)
        loss = loss if ignore is None else jnp.where(left_out(flat), 0, loss)
        loss = loss.reshape(jnp.shape(h)[:-1]).astype(x.dtype)
        return loss, (h, w, b, labels, weights, seen)

    def bwd(saved, dy):
        h, w, b, labels, weights, seen = saved
        x, flat, layer = _checked(name, h, w, b, labels, weights, ignore)
        n, classes, wide = len(x), len(layer.b), wide_dtype(x.dtype)
        r, c = sizes(n, classes)
        g = widen(dy).reshape(-1)
        g = g if ignore is None else jnp.where(left_out(flat), 0, g)
        if one_class(flat, weights):
            slope = slopes_of_one_class(x, numbered(flat, classes), layer, g, seen)
        else:
            slope = slopes(x, flat, layer, g, seen)

        def of_classes(j, c, carry):
            own = layer.columns(j, c)

            def of_rows(i, r, carry):
                dx, dlabels, (dw, db, dv) = carry
                rows, some = take(x, i, r), take(g, i, r)[:, None]
                dz, shared = slope(own, rows, i, r, j, c)
                dx = put(dx, take(dx, i, r) + _matmul(dz, own.w.T), i)
                dw, db = dw + _matmul(rows.T, dz), db + jnp.sum(dz, axis=0)
                if dv is not None:
                    dv += jnp.sum(some * _cost(*shared), axis=0)
                if dlabels is not None:
                    part = (1 - smoothing) * some * own.weighted(shared[1])
                    part = part.astype(dlabels.dtype)
                    dlabels = jax.lax.dynamic_update_slice(dlabels, part, (i, j))
                return dx, dlabels, _Layer(dw, db, dv)

            carry, grads = carry[:2], carry[2]
            *carry, part = over(n, r, of_rows, (*carry, jax.tree.map(jnp.zeros_like, own)))
            return *carry, grads.put(part, j)

        dlabels = jnp.zeros_like(flat) if flat.ndim == 2 else None
        start = jnp.zeros(x.shape, wide), dlabels, jax.tree.map(jnp.zeros_like, layer)
        dx, dlabels, grads = over(classes, c, of_classes, start)
        dlabels = no_cotangent(labels) if dlabels is None else dlabels.reshape(jnp.shape(labels))
        return dx.reshape(jnp.shape(h)).astype(x.dtype), *grads[:2], dlabels, grads.v

    return fwd, bwd
