"""Argument checks: one line that says what was expected, what came, and the remedy."""

import operator
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

Array = jax.Array


def is_concrete(x: Any) -> bool:
    """Whether the values of x can be read.

    Inside jit, vmap and grad they cannot, nor where a part is with other processes.
    """
    return not isinstance(x, jax.core.Tracer) and getattr(x, "is_fully_addressable", True)


def brief(x: Any) -> str:
    """What came, in one short line."""
    if isinstance(x, jax.Array | np.ndarray) and np.ndim(x):
        return f"an array of {x.dtype} of shape {x.shape}"
    if callable(x) and hasattr(x, "__name__"):
        return f"the function {x.__name__}"
    text = repr(x)
    return text if len(text) <= 60 and "\n" not in text else f"a {type(x).__name__}"


def numbers(rule: str, argument: str, tree: Any) -> None:
    """Every leaf of an argument is a number or an array of numbers."""
    for leaf in jax.tree.leaves(tree):
        kind = getattr(leaf, "dtype", np.dtype(type(leaf)) if np.isscalar(leaf) else None)
        if kind is None or getattr(kind, "kind", "V") in "OSUTMm":
            raise TypeError(
                f"{rule}: expected {argument} of numbers, got {brief(leaf)}: "
                "give a JAX or NumPy array"
            )


def floating(rule: str, argument: str, x: Any) -> Array:
    """x as an array, which must be real and floating."""
    try:
        x = jnp.asarray(x)
    except (TypeError, ValueError):
        raise TypeError(
            f"{rule}: expected one floating-point array {argument}, got {brief(x)}: "
            "give a JAX or NumPy array"
        ) from None
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


def broadcasts(rule: str, argument: str, x: Array, like: str, y: Array, remedy: str) -> None:
    """x broadcasts to y, and not the other way round."""
    try:
        fits = x.ndim <= y.ndim and np.broadcast_shapes(x.shape, y.shape) == y.shape
    except ValueError:
        fits = False
    if not fits:
        raise ValueError(
            f"{rule}: expected {argument} to broadcast to {like} of shape {y.shape}, "
            f"got {x.shape}: {remedy}"
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


def labels_below(rule: str, labels: Any, classes: int, ignore: int | None = None) -> None:
    """Concrete labels lie in 0 .. classes - 1, but for the one to ignore, which not all are."""
    if not is_concrete(labels) or np.size(labels) == 0 or classes < 1:
        return
    values = np.asarray(labels)  # NumPy's own minimum: jnp's would be traced inside jit
    if ignore is not None:
        values = values[values != ignore]
        if values.size == 0:
            raise ValueError(
                f"{rule}: expected at least one label other than {ignore}, got none: skip a batch "
                "that is ignored as a whole"
            )
    low, high = int(values.min()), int(values.max())
    if low < 0 or high >= classes:
        raise ValueError(
            f"{rule}: expected labels in 0..{classes - 1}, got {low if low < 0 else high}: "
            "count classes from 0, and drop or weight examples without a class"
        )


def within(rule: str, argument: str, x: Any, low: float, high: float, remedy: str) -> None:
    """Concrete values lie in [low, high]; NaN counts as outside."""
    expected = f"{argument} in [{low:g}, {high:g}]"
    _all_entries(rule, expected, x, lambda values: (values >= low) & (values <= high), remedy)


def positive_entries(rule: str, argument: str, x: Any, remedy: str) -> None:
    """Concrete values are positive; NaN is not."""
    _all_entries(rule, f"positive {argument}", x, lambda values: values > 0, remedy)


def nonnegative_entries(rule: str, argument: str, x: Any, remedy: str) -> None:
    """Concrete values are finite and 0 at least."""
    expected = f"finite {argument} from 0 on"
    _all_entries(rule, expected, x, lambda values: (values >= 0) & (values < np.inf), remedy)


def _all_entries(
    rule: str, expected: str, x: Any, holds: Callable[[np.ndarray], Any], remedy: str
) -> None:
    if not is_concrete(x) or np.size(x) == 0:
        return
    values = np.asarray(x, dtype=np.float64)
    outside = ~holds(values)
    if outside.any():
        raise ValueError(f"{rule}: expected {expected}, got {values[outside].flat[0]:g}: {remedy}")


def random_key(rule: str, key: Any) -> None:
    """A key of jax.random, new style or old."""
    dtype = getattr(key, "dtype", None)
    if dtype is not None and (jnp.issubdtype(dtype, jax.dtypes.prng_key) or dtype == np.uint32):
        return
    raise TypeError(f"{rule}: expected a key, got {brief(key)}: make one with jax.random.key(0)")


def finite_leaves(
    rule: str,
    argument: str,
    tree: Any,
    remedy: str = "lower the learning rate, or start again from the last finite state",
) -> None:
    """All concrete floating leaves of the tree are finite."""
    for path, leaf in jax.tree_util.tree_leaves_with_path(tree):
        if not is_concrete(leaf) or not jnp.issubdtype(jnp.result_type(leaf), jnp.floating):
            continue
        if not np.isfinite(np.asarray(leaf)).all():
            raise ValueError(
                f"{rule}: expected finite {argument}, got NaN or infinity in "
                f"{argument}{jax.tree_util.keystr(path)}: {remedy}"
            )


def positive(rule: str, argument: str, value: float) -> float:
    """A hyperparameter that must be a positive, finite number."""
    return in_range(rule, argument, value, lambda v: v > 0, "a positive finite number")


def finite(rule: str, argument: str, value: float) -> float:
    """A hyperparameter that must be a finite number."""
    return in_range(rule, argument, value, lambda v: True, "a finite number")


def in_range(
    rule: str, argument: str, value: Any, holds: Callable[[float], bool], expected: str
) -> float:
    """A hyperparameter fixed in a factory, as a Python float."""
    number = isinstance(value, int | float | np.integer | np.floating)
    if not (number and not isinstance(value, bool) and np.isfinite(value) and holds(value)):
        raise ValueError(f"{rule}: expected {argument} to be {expected}, got {brief(value)}")
    return float(value)


def integer(rule: str, argument: str, value: Any) -> int:
    """A hyperparameter that must be an integer, NumPy's too, and no boolean."""
    try:
        if not isinstance(value, bool):
            return operator.index(value)
    except TypeError:
        pass
    raise ValueError(f"{rule}: expected {argument} to be an integer, got {brief(value)}")
