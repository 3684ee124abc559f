"""Schedules of learning rates, eta(t): functions of the number t of updates so far, from 0.

`gradient_descent` takes any such function, Optax's schedules too; Optax's optimisers take these.
"""

from collections.abc import Callable
from typing import Any

import jax.numpy as jnp

from manualbp._checks import in_range, positive

Schedule = Callable[[Any], Any]


def constant(rate: float) -> Schedule:
    """The same rate at every update.

    Args:
      rate: positive.

    Returns:
      The schedule.

    Raises:
      ValueError: the rate is not positive and finite.
    """
    rate = positive("constant", "rate", rate)
    return lambda t: rate


def step(rate: float, every: int, factor: float = 0.1) -> Schedule:
    """The rate times factor^floor(t / every).

    Args:
      rate: at first, positive.
      every: so many updates it stays the same.
      factor: by which it is multiplied then, in (0, 1].

    Returns:
      The schedule.

    Raises:
      ValueError: one of them is out of range.

    Example:
      >>> eta = step(0.4, every=10, factor=0.5)
      >>> [float(eta(t)) for t in (0, 9, 10, 25)]
      [0.4..., 0.4..., 0.2..., 0.1...]
    """
    rate, every = positive("step", "rate", rate), _updates("step", "every", every)
    factor = in_range("step", "factor", factor, lambda f: 0 < f <= 1, "in (0, 1]")
    # whole numbers: t times the rounded 1 / every, which XLA makes of t / every, may fall short
    return lambda t: rate * jnp.power(factor, _real(jnp.asarray(t) // every))


def inverse_time(rate: float, half_after: int = 1) -> Schedule:
    """The rate / (1 + t / half_after): 1/t, whose sum diverges and whose squares' sum does not.

    With these two properties stochastic gradient descent converges (Robbins, Monro 1951).

    Args:
      rate: at first, positive.
      half_after: so many updates halve it.

    Returns:
      The schedule.

    Raises:
      ValueError: one of them is out of range.

    Example:
      >>> eta = inverse_time(0.5, half_after=100)
      >>> [float(eta(t)) for t in (0, 100, 300)]
      [0.5, 0.25, 0.125]
    """
    rate = positive("inverse_time", "rate", rate)
    half_after = _updates("inverse_time", "half_after", half_after)
    return lambda t: rate / (1 + _real(t) / half_after)


def cosine(rate: float, updates: int, last: float = 0.0) -> Schedule:
    """From the rate down to a last one along half a cosine (Loshchilov, Hutter 2017).

    Args:
      rate: at first, positive.
      updates: after so many it stays at the last rate.
      last: the last rate, from 0 to the first.

    Returns:
      The schedule.

    Raises:
      ValueError: one of them is out of range.

    Example:
      >>> eta = cosine(0.5, 100)
      >>> [round(float(eta(t)), 6) for t in (0, 50, 100, 200)]
      [0.5, 0.25, 0.0, 0.0]
    """
    rate, updates = positive("cosine", "rate", rate), _updates("cosine", "updates", updates)
    last = in_range("cosine", "last", last, lambda v: 0 <= v <= rate, f"from 0 to {rate}")
    return lambda t: (
        last + (rate - last) * 0.5 * (1 + jnp.cos(jnp.pi * jnp.minimum(_real(t) / updates, 1)))
    )


def _updates(name: str, argument: str, value: Any) -> int:
    """A number of updates."""
    whole = in_range(name, argument, value, lambda v: v >= 1 and v == int(v), "a whole number >= 1")
    return int(whole)


def _real(t: Any) -> Any:
    """A number of updates in floating point, of JAX's own width."""
    return jnp.asarray(t, jnp.result_type(float))
