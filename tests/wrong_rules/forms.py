"""Nothing for a trainable argument; cotangents of another dtype, tree or order."""

import jax.numpy as jnp

import manualbp
import reference
from tests.wrong_rules.shared import (
    ADDED_BIAS,
    AFFINE,
    DTYPE,
    EXPONENTIAL,
    GATHER,
    REAL23,
    SCALAR,
    SQUARED,
    SQUARED_BY_SLOPE,
    ZERO,
    Affine,
    Right,
    X,
    Y,
    affine_pull,
    gather_pull,
    of_kind,
    of_rule,
)

zero, dtype = map(of_kind, (ZERO, DTYPE))

PRELU = Right(
    lambda a, x: jnp.where(x > 0, x, a * x),
    lambda a, x, dy: (jnp.sum(dy * jnp.minimum(x, 0)), jnp.where(x > 0, dy, a * dy)),
    args=(SCALAR, X),
)
SQUARED_ERROR = of_rule(manualbp.squared_error, reference.squared_error, (REAL23, REAL23))
SAWTOOTH = Right(
    lambda x: x - jnp.floor(x) + x, lambda x, dy: (2 * dy,), lambda x: 2 * x - jnp.floor(x)
)
ENTRY_PRODUCT = Right(lambda a, b: a * b, lambda a, b, dy: (dy * b, dy * a), args=(X, Y))


def wide(x):
    return x.astype(jnp.float64 if x.dtype == jnp.float64 else jnp.float32)


RULES = (
    zero(
        "bias_gradient_is_none", ADDED_BIAS, "zero|missing|None", pull=lambda b, x, dy: (None, dy)
    ),
    zero(
        "slope_gradient_is_zero",
        PRELU,
        "zero",
        pull=lambda a, x, dy: (jnp.zeros_like(a), jnp.where(x > 0, dy, a * dy)),
    ),
    zero(
        "gain_inside_a_tree_is_zero",
        AFFINE.as_vjp(),
        "zero",
        pull=lambda p, x, dy: (Affine(jnp.zeros_like(p.scale), dy.sum(0)), dy * p.scale),
    ),
    zero(
        "target_gradient_stopped",
        SQUARED_ERROR,
        "zero",
        pull=lambda p, t, dy: (SQUARED_ERROR.pull(p, t, dy)[0], jnp.zeros_like(t)),
    ),
    zero(
        "floor_of_the_gradient_is_lost",
        SAWTOOTH,
        "zero|kink",
        pull=lambda x, dy: (jnp.zeros_like(dy),),
    ),
    dtype(
        "cotangent_always_float32",
        SQUARED.asked_in(jnp.float64),
        "dtype",
        pull=lambda x, dy: ((2 * x * dy).astype(jnp.float32),),
    ),
    dtype(
        "half_precision_comes_back_wide",
        EXPONENTIAL.asked_in(jnp.bfloat16),
        "dtype",
        pull=lambda x, dy: (wide(dy) * jnp.exp(wide(x)),),
    ),
    dtype(
        "integer_argument_gets_integer_zeros",
        GATHER,
        "dtype",
        pull=lambda table, i, dy: (gather_pull(table, i, dy)[0], jnp.zeros_like(i)),
    ),
    dtype(
        "value_comes_back_wide",
        SQUARED_BY_SLOPE.asked_in(jnp.float16),
        "dtype",
        value=lambda x: wide(x) ** 2,
        pull=lambda x, dy: (2 * x * dy.astype(x.dtype),),
    ),
    dtype(
        "scale_and_shift_swapped",
        AFFINE,
        "structure|tree|swap",
        pull=lambda p, x, dy: (affine_pull(p, x, dy)[0][::-1], dy * p.scale),
    ),
    dtype(
        "scale_and_shift_swapped_in_the_right_tree",
        AFFINE,
        "swap",
        pull=lambda p, x, dy: (Affine(*affine_pull(p, x, dy)[0][::-1]), dy * p.scale),
    ),
    dtype(
        "one_cotangent_for_two_arguments",
        ENTRY_PRODUCT,
        "structure|missing",
        pull=lambda a, b, dy: (dy * b,),
    ),
    dtype(
        "cotangents_of_two_arguments_swapped",
        ENTRY_PRODUCT,
        "swap",
        pull=lambda a, b, dy: (dy * a, dy * b),
    ),
    dtype("bare_array_for_a_tuple", SQUARED, "tree|tuple", pull=lambda x, dy: 2 * x * dy),
)
