"""The incoming cotangent: ignored, misapplied, dropped for one result, or not entered linearly."""

import jax.numpy as jnp

import manualbp
import reference
from tests.wrong_rules.shared import (
    COTANGENT,
    CROSS_ENTROPY,
    LINEAR,
    MATRIX,
    OUTPUTS,
    REAL23,
    SINE,
    SQUARED,
    SUM_OF_SQUARES,
    TANH,
    Right,
    of_kind,
    of_rule,
    sech2,
    square,
)

cotangent, outputs, linear = map(of_kind, (COTANGENT, OUTPUTS, LINEAR))

HALF_SQUARED_ERROR = of_rule(
    manualbp.half_squared_error, reference.half_squared_error, (REAL23, REAL23)
)
ROW_SUMS_OF_SQUARES = Right(
    lambda x: jnp.sum(x * x, axis=1),
    lambda x, dy: (2 * x * dy[:, None],),
    lambda x: jnp.sum(x**2, axis=1),
    (MATRIX,),
)
SINE_AND_SQUARE = Right(
    lambda x: (jnp.sin(x), x * x),
    lambda x, dy: (dy[0] * jnp.cos(x) + 2 * x * dy[1],),
    lambda x: (jnp.sin(x), x**2),
)
SQUARE_AND_MEAN = Right(
    lambda x: {"y": x * x, "mean": jnp.mean(x)},
    lambda x, dy: (2 * x * dy["y"] + dy["mean"] / x.size,),
    lambda x: {"y": x**2, "mean": jnp.sum(x) / x.size},
)
RELU = Right(lambda z: jnp.maximum(z, 0), lambda z, dy: (jnp.where(z > 0, dy, 0),), reference.relu)

RULES = (
    cotangent("cotangent_ignored", TANH.as_vjp(), "ignores", pull=lambda x, dy: (sech2(x),)),
    cotangent(
        "cotangent_ignored_by_a_loss",
        CROSS_ENTROPY,
        "ignores",
        pull=lambda z, y, dy: CROSS_ENTROPY.pull(z, y, jnp.ones_like(dy)),
    ),
    cotangent(
        "cotangent_averaged_over_the_batch",
        HALF_SQUARED_ERROR,
        "cotangent",
        pull=lambda p, t, dy: HALF_SQUARED_ERROR.pull(p, t, jnp.full_like(dy, jnp.mean(dy))),
    ),
    cotangent(
        "cotangent_of_the_first_entry_for_all",
        SQUARED,
        "cotangent",
        pull=lambda x, dy: (2 * x * dy[0],),
    ),
    cotangent(
        "cotangent_applied_twice", SINE, "linear.*twice", pull=lambda x, dy: (dy * dy * jnp.cos(x),)
    ),
    cotangent(
        "cotangent_without_its_sign", SINE, "linear", pull=lambda x, dy: (jnp.abs(dy) * jnp.cos(x),)
    ),
    cotangent(
        "cotangent_times_the_value",
        SUM_OF_SQUARES,
        "factor",
        pull=lambda x, dy: (2 * x * dy * jnp.sum(x * x),),
    ),
    cotangent(
        "cotangent_broadcast_from_the_other_axis",
        ROW_SUMS_OF_SQUARES,
        "cotangent|transposed|axis|index",
        pull=lambda x, dy: (2 * x * dy,),
    ),
    outputs(
        "cotangent_of_the_second_result_dropped",
        SINE_AND_SQUARE,
        "output|result|cotangent|term",
        pull=lambda x, dy: (dy[0] * jnp.cos(x),),
    ),
    outputs(
        "cotangents_of_two_results_swapped",
        SINE_AND_SQUARE.as_vjp(),
        "output|result|cotangent|swap",
        pull=lambda x, dy: (dy[1] * jnp.cos(x) + 2 * x * dy[0],),
    ),
    outputs(
        "auxiliary_mean_without_a_gradient",
        SQUARE_AND_MEAN,
        "output|result|cotangent|term",
        pull=lambda x, dy: (2 * x * dy["y"],),
    ),
    linear(
        "gradient_clipped",
        SQUARED,
        "linear.*clip",
        pull=lambda x, dy: (jnp.clip(2 * x * dy, -1, 1),),
    ),
    linear(
        "gradient_clipped_at_1e6_only",
        SQUARED,
        "linear|clip|tail|only",
        pull=lambda x, dy: (jnp.clip(2 * x * dy, -1e6, 1e6),),
    ),
    linear(
        "gradient_with_a_constant_added",
        SQUARED,
        "linear.*added",
        pull=lambda x, dy: (2 * x * dy + 1e-3,),
    ),
    linear(
        "gradient_normalised",
        SQUARED,
        "linear",
        pull=lambda x, dy: (2 * x * dy / jnp.maximum(jnp.sqrt(jnp.sum(square(2 * x * dy))), 1),),
    ),
    linear(
        "negative_cotangents_cut_off",
        RELU,
        "linear",
        pull=lambda z, dy: (jnp.where(z > 0, jnp.maximum(dy, 0), 0),),
    ),
    linear(
        "small_cotangents_dropped",
        SQUARED,
        "linear",
        pull=lambda x, dy: (jnp.where(jnp.abs(dy) < 1e-4, 0, 2 * x * dy),),
    ),
)
