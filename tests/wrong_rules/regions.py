"""Wrong in one region or entry, in the value alone, or where the function's scale hides it."""

import jax.numpy as jnp
import numpy as np
from jax import lax

import reference
from tests.wrong_rules.shared import (
    ELU,
    MATRIX,
    REGION,
    SCALE,
    SINE,
    SQUARED,
    SQUARED_BY_SLOPE,
    TANH,
    VALUE,
    WIDE,
    Right,
    by_slope,
    of_kind,
    sech2,
)

region, value, scale = map(of_kind, (REGION, VALUE, SCALE))

SINH = by_slope(jnp.sinh, jnp.cosh, lambda x: (jnp.exp(x) - jnp.exp(-x)) / 2)
TINY_TANH = by_slope(
    lambda x: 1e-6 * jnp.tanh(x), lambda x: 1e-6 * sech2(x), lambda x: 1e-6 * reference.tanh(x)
)
HUGE_SINE = by_slope(lambda x: 1e6 * jnp.sin(x), lambda x: 1e6 * jnp.cos(x))
CONSTANT = Right(lambda x: jnp.full_like(x, 1e-12), lambda x, dy: (jnp.zeros_like(dy),))


def in_branches(below):
    """The gradient of x^2 where the sum is positive, of -x^2 elsewhere, where it is below * x."""
    return lambda x, dy: (
        lax.cond(jnp.sum(x) > 0, lambda d: 2 * x * d, lambda d: below * x * d, dy),
    )


SIGNED_SQUARE = Right(
    lambda x: lax.cond(jnp.sum(x) > 0, lambda v: v * v, lambda v: -v * v, x),
    in_branches(-2),
    lambda x: jnp.where(jnp.sum(x) > 0, x * x, -x * x),
)


def weighted_pull(large, small):
    return lambda x, dy: (dy * jnp.array([large, small], x.dtype) * x,)


RULES = (
    region(
        "wrong_beyond_20",
        TANH,
        "tail|cancellation",
        slope=lambda x: jnp.where(jnp.abs(x) > 20, 0, sech2(x)),
        below_scale=True,
    ),
    region(
        "clipped_beyond_20",
        SQUARED_BY_SLOPE,
        "tail|branch|clip",
        slope=lambda x: 2 * jnp.clip(x, -20, 20),
    ),
    region(
        "wrong_within_1e-6_of_0",
        SINH,
        "only|branch|tail|factor",
        slope=lambda x: jnp.where(jnp.abs(x) < 1e-6, 2, jnp.cosh(x)),
    ),
    region(
        "wrong_for_subnormals_of_float32",
        SINE.asked_in(jnp.float64),
        "only|branch|tail|zero",
        slope=lambda x: jnp.where((x != 0) & (jnp.abs(x) < 1.17e-38), 0, jnp.cos(x)),
    ),
    region(
        "wrong_in_a_narrow_band",
        SQUARED_BY_SLOPE,
        "branch|factor",
        slope=lambda x: jnp.where((x > 1.7) & (x < 1.7001), x, 2 * x),
    ),
    region(
        "elu_returns_its_output_on_one_branch",
        ELU,
        "branch|output",
        slope=lambda z: jnp.where(z > 0, 1, jnp.expm1(jnp.minimum(z, 0))),
    ),
    region("wrong_in_one_branch_of_cond", SIGNED_SQUARE, "branch|sign", pull=in_branches(2)),
    region(
        "one_entry_of_512",
        SINE.on(np.linspace(-2, 2, 512, dtype=np.float32)),
        "index",
        slope=lambda x: jnp.where(jnp.arange(x.size) == 300, 1.001, 1).astype(x.dtype) * jnp.cos(x),
    ),
    region(
        "last_entry_forgotten",
        SQUARED.on(WIDE[0]),
        "index",
        pull=lambda x, dy: ((2 * x * dy).at[-1].set(0),),
    ),
    value("value_0.1_percent_off", SINE, "value", value=lambda x: 1.001 * jnp.sin(x)),
    value(
        "value_20_percent_off_in_128_entries",
        SQUARED_BY_SLOPE.on(np.linspace(-2, 2, 128, dtype=np.float32)),
        "value",
        value=lambda x: 1.2 * x * x,
    ),
    value(
        "value_without_a_constant",
        Right(lambda x: jnp.sum(x * x) + 3, SQUARED.pull, lambda x: 3 + jnp.sum(x**2)),
        "value",
        value=lambda x: jnp.sum(x * x),
    ),
    scale("tiny_function_without_a_gradient", TINY_TANH, "zero", slope=jnp.zeros_like),
    scale(
        "huge_function_0.1_percent_off", HUGE_SINE, "factor", slope=lambda x: 1.001e6 * jnp.cos(x)
    ),
    scale(
        "small_entry_beside_a_large_one",
        Right(
            lambda x: jnp.sum(jnp.array([1e9, 1e-9], x.dtype) * x * x),
            weighted_pull(2e9, 2e-9),
            lambda x: 1e9 * x[0] ** 2 + 1e-9 * x[1] ** 2,
            (MATRIX[0],),
        ),
        "index|only",
        pull=weighted_pull(2e9, 1e-9),
    ),
    scale(
        "constant_function_with_a_gradient",
        CONSTANT,
        "should|term|extra",
        value=lambda x: 0 * x + 1e-12,
        pull=lambda x, dy: (1e-12 * dy,),
    ),
)
