"""What changes from one call or path to another, and derivatives of the gradient itself."""

import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from manualbp.verify import Spec
from tests.wrong_rules.shared import (
    PATHS,
    SECOND,
    SINE,
    SQUARED,
    SQUARED_BY_SLOPE,
    STATE,
    Right,
    X,
    no_cotangent,
    of_kind,
    square,
    vjp,
)

state, second, paths = map(of_kind, (STATE, SECOND, PATHS))


def dropout(key, x):
    return jnp.where(jax.random.bernoulli(key, 0.5, x.shape), 2 * x, 0)


def dropout_pull(key, x, dy, salt=None):
    """The mask is drawn again, from a key folded with salt."""
    again = key if salt is None else jax.random.fold_in(key, salt)
    mask = jax.random.bernoulli(again, 0.5, x.shape)
    return no_cotangent(key), jnp.where(mask, 2 * dy, 0)


def counting():
    """A backward pass that is wrong at every second call."""
    calls = itertools.count()
    return lambda x, dy: (2 * x * dy * (1 + next(calls) % 2),)


def random_noise():
    rng = np.random.default_rng(0)
    return lambda x, dy: (2 * x * dy * float(1 + 0.01 * rng.standard_normal()),)


def shared_buffer():
    """A backward pass that reads what the last forward pass left behind."""
    kept = []

    def fwd(x):
        before = kept.pop() if kept and not isinstance(x, jax.core.Tracer) else x
        if not isinstance(x, jax.core.Tracer):
            kept.append(x + 1)
        return x * x, before

    return fwd, lambda x, dy: (2 * x * dy,)


def traced_times(factor):
    """A backward pass with a Python branch on whether it is traced."""
    return lambda x, dy: (2 * x * dy * (factor if isinstance(dy, jax.core.Tracer) else 1),)


@functools.partial(jax.custom_batching.custom_vmap)
def doubled_unless_batched(x):
    return 2 * x


@doubled_unless_batched.def_vmap
def _(axis_size, in_batched, x):
    return 3 * x, True


@jax.custom_vjp
def half_slope(x):
    """2x whose own derivative is wrong."""
    return 2 * x


half_slope.defvjp(lambda x: (2 * x, None), lambda _, dy: (dy,))

RULES = (
    state(
        "dropout_mask_drawn_again_from_another_key",
        Right(dropout, dropout_pull, args=(Spec((), "key"), X)),
        "index|only|mask|term",
        pull=functools.partial(dropout_pull, salt=1),
    ),
    state("second_call_differs_from_the_first", SQUARED_BY_SLOPE, "state|called", pull=counting()),
    state("noise_in_the_gradient", SQUARED_BY_SLOPE, "random|called", pull=random_noise()),
    state("residual_in_a_shared_buffer", SQUARED_BY_SLOPE, "state|called", rule=shared_buffer()),
    second(
        "second_derivative_stopped", SINE, "second", slope=lambda x: jnp.cos(lax.stop_gradient(x))
    ),
    second(
        "second_derivative_of_a_wrong_helper",
        Right(square, lambda x, dy: (dy * 2 * x,), form=vjp),
        "second",
        slope=half_slope,
    ),
    paths(
        "primal_and_forward_pass_differ",
        SQUARED.as_vjp(),
        "value|forward|fwd|primal",
        rule=vjp(square, SQUARED.pull, primal=lambda x: 1.01 * x * x),
    ),
    paths(
        "forward_pass_differs_from_the_primal",
        SQUARED.as_vjp(),
        "value|forward|fwd|primal",
        rule=vjp(lambda x: 1.01 * x * x, SQUARED.pull, primal=square),
    ),
    paths(
        "jit_differs_from_eager", Right(square, traced_times(1)), "called", pull=traced_times(1.01)
    ),
    paths(
        "vmap_differs_from_a_loop", SQUARED_BY_SLOPE, "called|factor", slope=doubled_unless_batched
    ),
)
