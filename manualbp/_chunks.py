"""Loops over chunks of an array, of which the last may be shorter."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from manualbp._checks import Array


def over(size: int, chunk: int, step: Callable[[Any, int, Any], Any], carry: Any) -> Any:
    """The carry after step(start, length, carry) of each chunk; start is an int32."""
    full, rest = divmod(size, max(chunk, 1))
    if full == 1:
        carry = step(np.int32(0), chunk, carry)
    elif full:
        carry, _ = jax.lax.scan(
            lambda c, i: (step(i * chunk, chunk, c), None), carry, jnp.arange(full, dtype=jnp.int32)
        )
    return step(np.int32(full * chunk), rest, carry) if rest else carry


def take(x: Array, start: Any, length: int, axis: int = 0) -> Array:
    """So many entries of an axis, from start on."""
    return jax.lax.dynamic_slice_in_dim(x, start, length, axis)


def put(x: Array, part: Array, start: Any, axis: int = 0) -> Array:
    """x with these entries of an axis, from start on, in its own dtype."""
    return jax.lax.dynamic_update_slice_in_dim(x, part.astype(x.dtype), start, axis)
