"""A linear layer and softmax cross-entropy in one rule, which never holds the batch's logits.

With n examples, d features and k classes the logits are n x k, and autodiff keeps arrays of that
size: far more than h, w and their gradients where k is a vocabulary. Here they are made a chunk
at a time. Split into the label's class c and the others, the loss of one example is

    t = log sum_{j != c} e^{z_j} - z_c,   loss = log(1 + e^t),
    dz_c = -sigma(t),   dz_j = e^{z_j - t - z_c} sigma(t),

in which nothing cancels where the label leads.

Sources: note 004, 'Multiclass cross-entropy loss'; Milakov and Gimelshein 2018, arXiv:1805.02867
(the sum of exponentials, chunk by chunk); Wijmans et al. 2024, arXiv:2411.09009 (logits made
again in the backward pass).
"""

import operator
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from manualbp._checks import (
    Array,
    brief,
    floating,
    integer_labels,
    is_concrete,
    labels_below,
    same_dtype,
)
from manualbp._rule import Rule, named, no_cotangent, wide_dtype, widen
from manualbp.activations import _sigmoid, _softplus
from manualbp.layers import _matmul, _rows

# Logits held at a time where no chunk is given: 8 MB in float32. Fewer than 64 classes at a time
# would make the products slow, and no smaller than h itself.
_LOGITS, _FEWEST = 2**21, 64


def linear_softmax_cross_entropy(chunk: int | None = None, ignore: int | None = None) -> Rule:
    """softmax_cross_entropy_with_integer_labels of h @ w + b, without the logits of the batch.

    Arguments of the rule are `(h, w, b, labels)`: h of shape (..., features), w (features,
    classes), b (classes,), integer labels of shape (...). One loss an example, as every loss of
    this library; the backward pass makes the logits again, one product more.

    Args:
      chunk: how many classes are held at a time, which need not divide their number. None: some
        two million logits.
      ignore: a label whose examples have loss 0 and gradient 0, such as -100; None: there is none.

    Returns:
      A rule of (h, w, b, labels).

    Raises:
      ValueError: the chunk is no positive integer, or the label to ignore is none.

    >>> loss = linear_softmax_cross_entropy(chunk=2)
    >>> print(loss(jnp.ones((2, 4)), jnp.zeros((4, 3)), jnp.zeros(3), jnp.array([0, 2])))
    [1.0986123 1.0986123]
    """
    name = "linear_softmax_cross_entropy"
    if chunk is not None and _integer(name, "chunk", chunk) < 1:
        raise ValueError(f"{name}: expected chunk to be a positive integer, got {chunk}")
    if ignore is not None:
        ignore = _integer(name, "ignore", ignore)

    def validate(h, w, b, labels):
        if is_concrete(labels) and ignore is not None:
            labels = np.asarray(labels)
            labels = labels[labels != ignore]
        labels_below(name, labels, (jnp.shape(b) or (0,))[-1])

    return Rule(
        named(name, chunk=chunk, ignore=ignore),  # type: ignore[arg-type]
        *_by_classes(name, chunk, ignore),
        tex=r"\log \sum_j e^{z_j} - z_c, \; z = h w + b, \quad dz_i = p_i, \; "
        r"dz_c = -\sum_{j \ne c} p_j, \; dh = dz\,w^T, \; dw = h^T dz, \; db = \sum dz",
        source="note 004, 'Multiclass cross-entropy loss'; arXiv:1805.02867; arXiv:2411.09009",
        saves="the arguments, and two numbers an example: the label's logit, and log sum exp of "
        "the others",
        validate=validate,
    )


def _integer(name: str, argument: str, value: Any) -> int:
    try:
        if not isinstance(value, bool):
            return operator.index(value)
    except TypeError:
        pass
    raise ValueError(f"{name}: expected {argument} to be an integer, got {brief(value)}")


def _over(size: int, chunk: int, step: Callable[[Any, int, Any], Any], carry: Any) -> Any:
    """The carry after step(start, length, carry) of each chunk; the last may be shorter."""
    full, rest = divmod(size, chunk)
    if full == 1:
        carry = step(0, chunk, carry)
    elif full:
        carry, _ = jax.lax.scan(
            lambda c, i: (step(i * chunk, chunk, c), None), carry, jnp.arange(full)
        )
    return step(full * chunk, rest, carry) if rest else carry


def _take(x: Array, start: Any, length: int, axis: int) -> Array:
    return jax.lax.dynamic_slice_in_dim(x, start, length, axis)


def _put(x: Array, part: Array, start: Any, axis: int) -> Array:
    return jax.lax.dynamic_update_slice_in_dim(x, part.astype(x.dtype), start, axis)


def _checked(name: str, h: Any, w: Any, b: Any, labels: Any) -> tuple[Array, ...]:
    """The arrays, with all examples as rows."""
    h, w, b = (floating(name, a, x) for a, x in (("h", h), ("w", w), ("b", b)))
    same_dtype(name, w=w, h=h, b=b)
    if h.shape[-1:] != w.shape[:1] or w.ndim != 2 or b.shape != w.shape[1:] or 0 in b.shape:
        raise ValueError(
            f"{name}: expected h (..., features), w (features, classes) and b (classes,), got h "
            f"{h.shape}, w {w.shape} and b {b.shape}: one row an example, one column a class"
        )
    logits: Any = jax.ShapeDtypeStruct((*h.shape[:-1], *b.shape), h.dtype)
    labels = integer_labels(name, labels, logits)
    return _rows(h), w, b, labels.reshape(-1)


def _own(labels: Array, start: Any, length: int) -> Array:
    """Which of these classes is the label's."""
    classes = jnp.arange(length, dtype=labels.dtype) + jnp.asarray(start, labels.dtype)
    return labels[:, None] == classes[None, :]


def _largest(z: Array) -> Array:
    """Of each row, as a finite number: the shift of its exponentials."""
    return jnp.clip(jnp.max(z, axis=1), jnp.finfo(z.dtype).min, jnp.finfo(z.dtype).max)


def _slope(z: Array, own: Array, others: Array, q: Array) -> Array:
    """dz = q e^{z_j - others}, and -q at the label, for q = dy sigma(t)."""
    # masked before the exponential: the label's may overflow, and -inf - -inf is NaN
    lowered = jnp.where(own | (z == -jnp.inf), -jnp.inf, z - others[:, None])
    return q[:, None] * jnp.where(own, -1, jnp.exp(lowered))


def _by_classes(name: str, chunk: int | None, ignore: int | None) -> tuple[Callable, Callable]:
    def chunk_of(n, classes):
        return min(classes, chunk or max(_FEWEST, _LOGITS // max(n, 1)))

    def logits(h, w, b, start, length):
        own_w = widen(_take(w, start, length, 1))
        return _matmul(h, own_w) + widen(_take(b, start, length, 0))[None, :], own_w

    def known(labels, classes, x):
        """x, 0 for the label to ignore, and NaN where no class has the label."""
        x = jnp.where((labels >= 0) & (labels < classes), x, jnp.nan)
        return x if ignore is None else jnp.where(labels == ignore, 0, x)

    def fwd(h, w, b, labels):
        rows, w, b, flat = _checked(name, h, w, b, labels)
        n, wide = rows.shape[0], wide_dtype(rows.dtype)

        def step(start, length, carry):
            top, total, own_z = carry
            z, _ = logits(rows, w, b, start, length)
            own = _own(flat, start, length)
            others = jnp.where(own, -jnp.inf, z)
            # the shift drops out of every derivative
            new = jax.lax.stop_gradient(jnp.maximum(top, _largest(others)))
            added = jnp.sum(jnp.exp(others - new[:, None]), axis=1)
            total = total * jnp.exp(top - new) + added
            return new, total, own_z + jnp.sum(jnp.where(own, z, 0), axis=1)

        start = jnp.full(n, jnp.finfo(wide).min, wide), jnp.zeros(n, wide), jnp.zeros(n, wide)
        top, total, own_z = _over(w.shape[1], chunk_of(n, w.shape[1]), step, start)
        others = top + jnp.log(total)
        loss = known(flat, w.shape[1], _softplus(others - own_z))
        shape = jnp.shape(labels)
        return loss.reshape(shape).astype(w.dtype), (h, w, b, labels, others, own_z)

    def bwd(saved, dy):
        h, w, b, labels, others, own_z = saved
        rows, _, _, flat = _checked(name, h, w, b, labels)
        n, classes = rows.shape[0], w.shape[1]
        q = known(flat, classes, widen(dy).reshape(-1) * _sigmoid(others - own_z))

        def step(start, length, carry):
            dh, dw, db = carry
            z, own_w = logits(rows, w, b, start, length)
            dz = _slope(z, _own(flat, start, length), others, q)
            dw = _put(dw, _matmul(rows.T, dz), start, 1)
            return dh + _matmul(dz, own_w.T), dw, _put(db, jnp.sum(dz, axis=0), start, 0)

        start = jnp.zeros(rows.shape, q.dtype), jnp.zeros_like(w), jnp.zeros_like(b)
        dh, dw, db = _over(classes, chunk_of(n, classes), step, start)
        return dh.reshape(jnp.shape(h)).astype(w.dtype), dw, db, no_cotangent(labels)

    return fwd, bwd
