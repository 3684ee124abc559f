"""Layers: the affine maps of the notes, rows as examples, and their gradients by hand.

With leading axes in x, the weight gradient is the sum over all examples, contracted once as one
matrix product. Half precision accumulates in float32.
"""

import math
from typing import Any, NamedTuple

import jax.numpy as jnp

from manualbp._checks import Array, brief, floating, same_dtype
from manualbp._rule import Rule, align, widen


class Dense(NamedTuple):
    """Parameters of `dense`: weights w of shape (inputs, outputs), bias b of shape (outputs,)."""

    w: Any
    b: Any


def _matmul(a: Array, b: Array) -> Array:
    """a @ b, accumulated in float32 at least."""
    # not preferred_element_type: XLA has no bfloat16 product with a float32 result on CPUs
    return jnp.matmul(widen(a), widen(b))


def _rows(x: Array) -> Array:
    """All examples as rows of one matrix."""
    return x.reshape(math.prod(x.shape[:-1]), x.shape[-1])


def _weights_and_input(name: str, w: Any, x: Any, extra: int = 0) -> tuple[Array, Array]:
    """Checked w (inputs + extra, outputs) and x (..., inputs)."""
    w, x = floating(name, "w", w), floating(name, "x", x)
    if w.ndim != 2 or w.shape[0] < extra:
        inputs = "inputs + 1" if extra else "inputs"
        raise ValueError(
            f"{name}: expected w of shape ({inputs}, outputs), got {w.shape}: one column an output"
        )
    if x.ndim == 0 or x.shape[-1] + extra != w.shape[0]:
        raise ValueError(
            f"{name}: expected x of shape (..., {w.shape[0] - extra}) to match w {w.shape}, "
            f"got {x.shape}"
        )
    same_dtype(name, w=w, x=x)
    return w, x


def _pull(w: Array, x: Array, dy: Array) -> tuple[Array, Array]:
    """dw = x^T dy, summed over all examples, and dx = dy w^T."""
    dw = _matmul(_rows(x).T, _rows(dy)).astype(w.dtype)
    return dw, _matmul(dy, w.T).astype(x.dtype)


def _dense_fwd(params, x):
    if not isinstance(params, tuple | list) or len(params) != 2:
        raise TypeError(
            f"dense: expected params of weights w and bias b, got {brief(params)}: use Dense(w, b)"
        )
    w, b = params
    w, x = _weights_and_input("dense", w, x)
    b = floating("dense", "b", b)
    same_dtype("dense", w=w, b=b)
    if b.shape != w.shape[1:]:
        raise ValueError(
            f"dense: expected b of shape {w.shape[1:]} to match w {w.shape}, got {b.shape}"
        )
    return (_matmul(x, w) + align(widen(b), x.ndim)).astype(x.dtype), (w, x)


def _dense_bwd(saved, dy):
    w, x = saved
    dw, dx = _pull(w, x, dy)
    db = jnp.sum(_rows(widen(dy)), axis=0).astype(w.dtype)
    return Dense(dw, db), dx


dense = Rule(
    "dense",
    _dense_fwd,
    _dense_bwd,
    tex=r"y = x w + b, \quad dw = x^T dy, \; db = \sum dy, \; dx = dy\,w^T",
    source="note 001, 'Notations' (z = wa + b); note 003, 'Backpropagation'",
    saves="the input x and the weights",
)


def _unbiased_fwd(w, x):
    w, x = _weights_and_input("dense_without_bias", w, x)
    return _matmul(x, w).astype(x.dtype), (w, x)


def _unbiased_bwd(saved, dy):
    w, x = saved
    return _pull(w, x, dy)


dense_without_bias = Rule(
    "dense_without_bias",
    _unbiased_fwd,
    _unbiased_bwd,
    tex=r"y = x w, \quad dw = x^T dy, \; dx = dy\,w^T",
    source="note 000, 'Layers' and 'Backpropagation cont'd'",
    saves="the input x and the weights",
)


def _augmented_fwd(theta, x):
    theta, x = _weights_and_input("dense_augmented", theta, x, extra=1)
    ones = jnp.ones((*x.shape[:-1], 1), x.dtype)
    a = jnp.concatenate([x, ones], axis=-1)
    return _matmul(a, theta).astype(x.dtype), (theta, a)


def _augmented_bwd(saved, dy):
    theta, a = saved
    dtheta, da = _pull(theta, a, dy)
    return dtheta, da[..., :-1]  # w, not Theta: the dummy feature has no gradient


dense_augmented = Rule(
    "dense_augmented",
    _augmented_fwd,
    _augmented_bwd,
    tex=r"y = [x\; 1]\,\Theta, \; \Theta = [w; b], \quad d\Theta = [x\; 1]^T dy, \; "
    r"dx = dy\,w^T",
    source="note 003, 'Backpropagation' (a includes the dummy feature 1); note 001, "
    "'Artificial Neuron'",
    saves="the input with the dummy feature 1, and Theta",
)

RULES = (dense, dense_without_bias, dense_augmented)
