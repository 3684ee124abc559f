"""Argument checks: one line that says what was expected, what came, and the remedy."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

Array = jax.Array


def is_concrete(x: Any) -> bool:
    """Whether the values of x can be read, which inside jit, vmap and grad they cannot."""
    return not isinstance(x, jax.core.Tracer)


def floating(rule: str, argument: str, x: Any) -> Array:
    """x as an array, which must be real and floating."""
    x = jnp.asarray(x)
    if not jnp.issubdtype(x.dtype, jnp.floating):
        raise TypeError(
            f"{rule}: expected floating-point {argument}, got {x.dtype}: "
            f"convert it with {argument}.astype(jnp.float32)"
        )
    return x


def same_dtype(rule: str, **arrays: Array) -> None:
    """All arrays have the dtype of the first."""
    (first, reference), *others = arrays.items()
    for name, x in others:
        if x.dtype != reference.dtype:
            raise TypeError(
                f"{rule}: expected {name} of dtype {reference.dtype} to match {first}, "
                f"got {x.dtype}: convert one of them with .astype"
            )


def same_shape(rule: str, **arrays: Array) -> None:
    """All arrays have the shape of the first."""
    (first, reference), *others = arrays.items()
    for name, x in others:
        if x.shape != reference.shape:
            raise ValueError(
                f"{rule}: expected {name} of shape {reference.shape} to match {first}, "
                f"got {x.shape}: reshape or broadcast it first"
            )


def has_classes(rule: str, argument: str, x: Array) -> None:
    """x has a last axis of at least one entry."""
    if x.ndim == 0 or x.shape[-1] == 0:
        raise ValueError(
            f"{rule}: expected {argument} with at least one entry on a last axis, "
            f"got shape {x.shape}: give one row an example, one column a class"
        )


def integer_labels(rule: str, labels: Any, scores: Array) -> Array:
    """Labels as an integer array of the shape of scores without the last axis."""
    labels = jnp.asarray(labels)
    if not jnp.issubdtype(labels.dtype, jnp.integer):
        raise TypeError(
            f"{rule}: expected integer labels, got {labels.dtype}: convert them with "
            "labels.astype(jnp.int32), or use the loss for one-hot and soft labels"
        )
    if labels.shape != scores.shape[:-1]:
        raise ValueError(
            f"{rule}: expected labels of shape {scores.shape[:-1]} to match scores of shape "
            f"{scores.shape}, got {labels.shape}: give one integer an example"
        )
    # an int8 cannot count to 300 classes
    return labels.astype(jnp.int32) if labels.dtype.itemsize < 4 else labels


def one_hot(labels: Array, classes: int) -> Array:
    """Which entry of a row is the label's: booleans, all False where no class has it."""
    columns = jnp.arange(classes, dtype=labels.dtype)
    return labels[..., None] == columns.reshape((1,) * labels.ndim + (classes,))


def labels_below(rule: str, labels: Any, classes: int) -> None:
    """Concrete labels lie in 0 .. classes - 1."""
    if not is_concrete(labels) or np.size(labels) == 0:
        return
    values = np.asarray(labels)  # NumPy's own minimum: jnp's would be traced inside jit
    low, high = int(values.min()), int(values.max())
    if low < 0 or high >= classes:
        raise ValueError(
            f"{rule}: expected labels in 0..{classes - 1}, got {low if low < 0 else high}: "
            "count classes from 0, and drop or weight examples without a class"
        )


def within(rule: str, argument: str, x: Any, low: float, high: float, remedy: str) -> None:
    """Concrete values lie in [low, high]; NaN counts as outside."""
    if not is_concrete(x) or np.size(x) == 0:
        return
    values = np.asarray(x, dtype=np.float64)
    outside = ~((values >= low) & (values <= high))
    if outside.any():
        raise ValueError(
            f"{rule}: expected {argument} in [{low:g}, {high:g}], "
            f"got {values[outside].flat[0]:g}: {remedy}"
        )


def finite_leaves(rule: str, argument: str, tree: Any) -> None:
    """All concrete floating leaves of the tree are finite."""
    for path, leaf in jax.tree_util.tree_leaves_with_path(tree):
        if not is_concrete(leaf) or not jnp.issubdtype(jnp.result_type(leaf), jnp.floating):
            continue
        if not np.isfinite(np.asarray(leaf, dtype=np.float64)).all():
            raise ValueError(
                f"{rule}: expected finite {argument}, got NaN or infinity in "
                f"{argument}{jax.tree_util.keystr(path)}: lower the learning rate, or start "
                "again from the last finite state"
            )


def positive(rule: str, argument: str, value: float) -> float:
    """A hyperparameter that must be a positive, finite number."""
    return in_range(rule, argument, value, value > 0, "a positive finite number")


def finite(rule: str, argument: str, value: float) -> float:
    """A hyperparameter that must be a finite number."""
    return in_range(rule, argument, value, True, "a finite number")


def in_range(rule: str, argument: str, value: float, holds: bool, expected: str) -> float:
    """A hyperparameter fixed in a factory, as a Python float."""
    if not (holds and np.isfinite(value)):
        raise ValueError(f"{rule}: expected {argument} to be {expected}, got {value}")
    return float(value)
