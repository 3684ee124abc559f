"""What a number is to the walk over a jaxpr: the arithmetic, and arrays of its numbers."""

import functools
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import jax
import jax.numpy as jnp
import numpy as np


class Unsupported(Exception):
    """A primitive that has no form in this arithmetic."""


class Straddles(Exception):
    """A comparison that the precision at hand does not decide."""


class Arithmetic(Protocol):
    """What the interpreter asks of numbers.

    Complex numbers are an arithmetic's own affair: it lifts them, or raises Unsupported. Those
    that it lifts are added, multiplied and divided as all others are.
    """

    name: str

    def lift(self, x: Any) -> Any: ...
    # a constant of the program, which was rounded to a dtype
    def constant(self, x: Any, dtype: Any) -> Any: ...
    # a function of so many numbers, by its primitive; raises Unsupported
    def function(self, name: str, arguments: int) -> Callable[..., Any]: ...
    def complex_function(self, name: str, arguments: int) -> Callable[..., Any]: ...
    def complex(self, x: Any, y: Any) -> Any: ...
    def add(self, x: Any, y: Any) -> Any: ...
    def mul(self, x: Any, y: Any) -> Any: ...
    def sub(self, x: Any, y: Any) -> Any: ...
    def div(self, x: Any, y: Any) -> Any: ...
    def power(self, x: Any, y: Any) -> Any: ...
    def integer_power(self, x: Any, n: int) -> Any: ...
    def atan2(self, y: Any, x: Any) -> Any: ...
    def maximum(self, x: Any, y: Any) -> Any: ...
    def minimum(self, x: Any, y: Any) -> Any: ...
    def compare(self, name: str, x: Any, y: Any) -> bool | None: ...
    def union(self, x: Any, y: Any) -> Any: ...
    def is_finite(self, x: Any) -> bool: ...
    def is_nan(self, x: Any) -> bool: ...
    def integer_part(self, x: Any) -> int: ...
    # of matrices
    def matmul(self, x: np.ndarray, y: np.ndarray) -> np.ndarray: ...
    def solve(self, matrix: np.ndarray, right: np.ndarray) -> np.ndarray: ...
    def fourier(self, x: Sequence[Any], inverse: bool) -> Sequence[Any]: ...
    # an array that the program holds constant
    def stop(self, x: np.ndarray) -> np.ndarray: ...
    # a result of its own for an equation (a list: all its results), or None
    def instead(self, eqn: Any, xs: list) -> Any: ...


@functools.cache
def is_floating(dtype: Any) -> bool:
    return jnp.issubdtype(dtype, jnp.floating)


@functools.cache
def is_complex(dtype: Any) -> bool:
    return jnp.issubdtype(dtype, jnp.complexfloating)


@functools.cache
def significant_bits(dtype: Any) -> tuple[int, int]:
    """Of a floating or complex dtype: how many it has, and how many a short constant has.

    A constant of more bits (0.1, a third, log 2) stands for the real number it was rounded from;
    one of fewer (0.5, 3, 1e6) for itself.
    """
    bits = jnp.finfo(dtype).nmant + 1
    return bits, 30 if bits == 53 else bits // 2


def is_number(dtype: Any) -> bool:
    """Whether arrays of it become arrays of an arithmetic's numbers."""
    return is_floating(dtype) or is_complex(dtype)


def lift(x: Any, number: Callable[[Any], Any]) -> Any:
    """An array as numbers of the arithmetic where it is floating or complex, else as it is."""
    dtype = getattr(x, "dtype", None)
    if dtype is None:
        x = np.asarray(x)
        dtype = x.dtype
    if dtype == jax.dtypes.float0 or not is_number(dtype):
        return x
    wide = np.complex128 if is_complex(dtype) else np.float64
    return array([number(v) for v in np.asarray(x, wide).ravel().tolist()], np.shape(x))


def literal(atom: Any) -> np.ndarray:
    """What stands in a program itself, in its dtype."""
    return np.asarray(atom.val, atom.aval.dtype)


def has_numbers(x: Any) -> bool:
    """Whether an array holds the arithmetic's numbers, or comparisons left open."""
    return isinstance(x, np.ndarray) and x.dtype.kind == "O"


def is_made(x: np.ndarray) -> np.ndarray:
    """Where an array holds anything, of which some entries alone were made."""
    return np.not_equal(x, np.array(None, object))


def array(numbers: Sequence[Any], shape: Sequence[int]) -> np.ndarray:
    out = np.empty(len(numbers), dtype=object)
    out[:] = numbers
    return out.reshape(tuple(shape))


def as_array(x: Any) -> Any:
    """A number that NumPy took out of its array of no axes, put back."""
    return x if hasattr(x, "shape") else array([x], ())


def each(function: Callable[..., Any], *arrays: np.ndarray) -> np.ndarray:
    out = np.frompyfunc(function, len(arrays), 1)(*arrays)
    return out if isinstance(out, np.ndarray) else array([out], ())


def each_bool(function: Callable[..., bool | None], *arrays: np.ndarray) -> np.ndarray:
    """Booleans, as NumPy's where all are decided."""
    out = each(function, *arrays)
    return out if any(x is None for x in out.ravel()) else out.astype(bool)


def matmul(ar: Arithmetic, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """The product of two matrices, entry by entry."""
    columns = y.T
    out = []
    for row in x:
        for column in columns:
            total = ar.lift(0.0)
            for a, b in zip(row, column, strict=True):
                total = ar.add(total, ar.mul(a, b))
            out.append(total)
    return array(out, (len(x), len(columns)))
