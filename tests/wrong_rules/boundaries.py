"""The slope at a kink, and how ties share a gradient."""

import jax.numpy as jnp
import numpy as np

import manualbp
import reference
from tests.wrong_rules.shared import (
    BOUNDARY,
    POWER_OF_2,
    TIES,
    Right,
    X,
    Y,
    by_slope,
    of_kind,
    of_rule,
    pair,
    vjp,
)

boundary, ties = map(of_kind, (BOUNDARY, TIES))

RELU = of_rule(manualbp.relu, reference.relu, value=lambda z: jnp.maximum(z, 0))
RELU_OF_A_HALF = by_slope(
    RELU.value, lambda z: jnp.where(z == 0, 0.5, (z > 0).astype(z.dtype)), reference.relu
)
HARD_SWISH = by_slope(
    lambda x: x * jnp.clip(x + 3, 0, 6) / 6,
    lambda x: jnp.where(x < -3, 0, jnp.where(x >= 3, 1, x / 3 + 0.5)),
    lambda x: x * jnp.minimum(jnp.maximum(x + 3, 0), 6) / 6,
)
RELU6 = by_slope(
    lambda x: jnp.clip(x, 0, 6),
    lambda x: ((x > 0) & (x < 6)).astype(x.dtype),
    lambda x: jnp.minimum(jnp.maximum(x, 0), 6),
)
SOFT_SHRINK = by_slope(
    lambda x: jnp.where(x > 0.375, x - 0.375, jnp.where(x < -0.375, x + 0.375, 0)),
    lambda x: (jnp.abs(x) > 0.375).astype(x.dtype),
    lambda x: jnp.sign(x) * jnp.maximum(jnp.abs(x) - 0.375, 0),
)
HARD_SHRINK = by_slope(
    lambda x: jnp.maximum(x - 0.37, 0),
    lambda x: (x > 0.37).astype(x.dtype),
    lambda x: jnp.where(x > 0.37, x - 0.37, 0),
)
ABSOLUTE = by_slope(jnp.abs, jnp.sign, reference.absolute)


def max_shared(x, dy):
    top = x == jnp.max(x)
    return (jnp.where(top, dy / jnp.sum(top, dtype=x.dtype), 0),)


def pooled(x):
    return jnp.max(x.reshape(2, 2), axis=1)


def pooled_pull(x, dy):
    first = jnp.arange(2) == jnp.argmax(x.reshape(2, 2), axis=1)[:, None]
    return (jnp.where(first, dy[:, None], 0).ravel(),)


def pooled_pull_to_all(x, dy):
    top = x.reshape(2, 2) == jnp.max(x.reshape(2, 2), axis=1, keepdims=True)
    return (jnp.where(top, dy[:, None], 0).ravel(),)


RULES = (
    boundary(
        "relu_slope_2_at_0",
        RELU,
        "kink",
        rule=manualbp.Rule(
            "relu_slope_2_at_0",
            *pair(RELU.value, lambda z, dy: (jnp.where(z == 0, 2 * dy, jnp.where(z > 0, dy, 0)),)),
            tex="",
            source="",
            kink=lambda z: z,
        ),
    ),
    boundary(
        "relu_slope_not_zero_below",
        RELU_OF_A_HALF,
        "kink",
        slope=lambda z: jnp.where(z == 0, -1, jnp.where(z > 0, 1, 0)).astype(z.dtype),
    ),
    boundary(
        "hard_swish_slope_at_3",
        HARD_SWISH,
        "kink",
        slope=lambda x: jnp.where(
            x < -3, 0, jnp.where(x == 3, 2.5, jnp.where(x > 3, 1, x / 3 + 0.5))
        ),
    ),
    boundary(
        "relu6_slope_2_at_6",
        RELU6,
        "kink",
        slope=lambda x: jnp.where(x == 6, 2, jnp.where((x > 0) & (x < 6), 1, 0)).astype(x.dtype),
    ),
    boundary(
        "soft_shrink_slope_at_its_threshold",
        SOFT_SHRINK,
        "kink",
        slope=lambda x: (
            (jnp.abs(x) > 0.375).astype(x.dtype) - (jnp.abs(x) == 0.375).astype(x.dtype)
        ),
    ),
    boundary(
        "hard_shrink_slope_at_a_threshold_between_floats",
        HARD_SHRINK,
        "kink",
        slope=lambda x: jnp.where(x == 0.37, 7, jnp.where(x > 0.37, 1, 0)).astype(x.dtype),
    ),
    boundary(
        "square_slope_1_at_exactly_0",
        POWER_OF_2,
        "zero|only",
        slope=lambda x: jnp.where(x == 0, 1, 2 * x),
    ),
    boundary(
        "absolute_value_slope_nan_at_0", ABSOLUTE, "kink|zero", slope=lambda x: x / jnp.abs(x)
    ),
    ties(
        "every_largest_entry_gets_the_whole",
        Right(jnp.max, max_shared),
        "ties",
        pull=lambda x, dy: (jnp.where(x == jnp.max(x), dy, 0),),
    ),
    ties(
        "maximum_of_two_counted_twice",
        Right(
            jnp.maximum,
            lambda a, b, dy: (jnp.where(a >= b, dy, 0), jnp.where(b > a, dy, 0)),
            args=(X, Y),
        ),
        "ties",
        pull=lambda a, b, dy: (jnp.where(a >= b, dy, 0), jnp.where(b >= a, dy, 0)),
    ),
    ties(
        "maximum_of_two_counted_never",
        Right(
            jnp.maximum,
            lambda a, b, dy: (
                jnp.where(a == b, dy / 2, jnp.where(a > b, dy, 0)),
                jnp.where(a == b, dy / 2, jnp.where(b > a, dy, 0)),
            ),
            lambda a, b: jnp.where(a > b, a, b),
            (X, Y),
        ),
        "ties",
        pull=lambda a, b, dy: (jnp.where(a > b, dy, 0), jnp.where(b > a, dy, 0)),
    ),
    ties(
        "max_pool_ties_in_a_window",
        Right(
            pooled,
            pooled_pull,
            lambda x: jnp.maximum(x[::2], x[1::2]),
            (np.array([1.0, 2.0, -1.0, 0.5], np.float32),),
            vjp,
        ),
        "ties",
        pull=pooled_pull_to_all,
    ),
)
