"""Right formulas whose floating-point arithmetic is not: overflow, cancellation, low precision."""

import functools

import jax.numpy as jnp
import numpy as np

import manualbp
import reference
from manualbp.verify import Spec
from tests.wrong_rules.shared import (
    ADDED_BIAS,
    BATCH_OF_LABELS,
    ELU,
    EXPONENTIAL,
    OVERFLOW,
    POSITIVE,
    PRECISION,
    PRODUCT,
    REAL23,
    SIGMOID,
    SOFTMAX,
    SQUARED,
    TAIL,
    by_slope,
    linear_pull,
    no_cotangent,
    of_kind,
    of_rule,
    one_hot,
    sigmoid,
    softmax,
    softplus,
    vjp,
)

overflow, tail, precision = map(of_kind, (OVERFLOW, TAIL, PRECISION))


def log_cosh(x):
    """log(cosh(x)): log1p(2 sinh(x/2)^2) keeps small x, |x| - log(2) + ... keeps large x."""
    a = jnp.abs(x)
    small = jnp.minimum(a, 1)
    near = jnp.log1p(2 * jnp.sinh(small / 2) ** 2)
    return jnp.where(a < 1, near, a + jnp.log1p(jnp.expm1(-2 * a) / 2))


def minus_one_hot(p, logits, labels, dy):
    """dy (p - one_hot) of a loss of integer labels."""
    dz = dy[:, None] * (p(logits) - one_hot(labels, logits)).astype(dy.dtype)
    return dz, no_cotangent(labels)


def roots_slope_of_their_difference(x):
    return (
        (jnp.sqrt(x + 1) - jnp.sqrt(x))
        * (jnp.sqrt(x + 1) + jnp.sqrt(x)) ** 2
        / (2 * jnp.sqrt(x * (x + 1)))
    )


LOGSUMEXP = of_rule(manualbp.logsumexp, reference.logsumexp)
SOFTPLUS = by_slope(softplus, sigmoid, reference.softplus)
LOG_COSH = by_slope(log_cosh, jnp.tanh, lambda x: jnp.log((jnp.exp(x) + jnp.exp(-x)) / 2), form=vjp)
INTEGER_LABELS = of_rule(
    manualbp.softmax_cross_entropy_with_integer_labels,
    reference.softmax_cross_entropy_with_integer_labels,
    (REAL23, BATCH_OF_LABELS),
)
SIGMOID_OF_LIBRARY = of_rule(manualbp.sigmoid, reference.sigmoid, value=sigmoid)
TANH_OF_LIBRARY = of_rule(manualbp.tanh, reference.tanh, value=jnp.tanh, form=vjp)
LOGARITHM = by_slope(jnp.log1p, lambda x: 1 / (1 + x), lambda x: jnp.log(1 + x), args=(POSITIVE,))
ROOTS = by_slope(
    lambda x: jnp.sqrt(x + 1) + jnp.sqrt(x),
    lambda x: (1 / jnp.sqrt(x + 1) + 1 / jnp.sqrt(x)) / 2,
    args=(Spec((3,), "interval", low=0.5, high=1e8),),
)

RULES = (
    overflow(
        "logsumexp_gradient_not_shifted",
        LOGSUMEXP,
        "overflow",
        pull=lambda z, dy: (dy * jnp.exp(z) / jnp.sum(jnp.exp(z)),),
    ),
    overflow(
        "softmax_value_not_shifted", SOFTMAX, "overflow", value=reference.softmax, below_scale=True
    ),
    overflow(
        "softplus_slope_from_growing_exponentials",
        SOFTPLUS,
        "overflow",
        slope=lambda z: jnp.exp(z) / (1 + jnp.exp(z)),
        below_scale=True,
    ),
    overflow(
        "softplus_value_from_growing_exponentials",
        SOFTPLUS,
        "overflow",
        value=lambda z: jnp.log1p(jnp.exp(z)),
        below_scale=True,
    ),
    overflow(
        "sigmoid_slope_from_a_squared_exponential",
        SIGMOID,
        "overflow|tail",
        slope=lambda z: jnp.exp(-z) / (1 + jnp.exp(-z)) ** 2,
    ),
    overflow(
        "log_cosh_value_overflows",
        LOG_COSH,
        "overflow",
        value=lambda x: jnp.log(jnp.cosh(x)),
        below_scale=True,
    ),
    overflow(
        "integer_label_loss_not_shifted",
        # float32 exponentials of the first row are next to nothing, and its value is right
        INTEGER_LABELS.on(
            np.array([[-80, -88, -84], [1, -2, 0.5]], np.float32), np.array([2, 0], np.int32)
        ),
        "cancellation|overflow",
        pull=functools.partial(minus_one_hot, reference.softmax),
        below_scale=True,
    ),
    tail(
        "sigmoid_slope_from_its_output",
        SIGMOID_OF_LIBRARY,
        "cancellation|tail",
        slope=lambda z: sigmoid(z) * (1 - sigmoid(z)),
        below_scale=True,
    ),
    tail(
        "tanh_slope_from_its_output",
        TANH_OF_LIBRARY,
        "cancellation|tail",
        slope=lambda x: 1 - jnp.tanh(x) ** 2,
        below_scale=True,
    ),
    tail(
        "elu_slope_from_its_output",
        ELU,
        "cancellation|tail",
        rule=(lambda z: (ELU.value(z),) * 2, lambda y, dy: (jnp.where(y > 0, dy, dy * (y + 1)),)),
        below_scale=True,
    ),
    tail(
        "elu_value_as_exp_minus_1",
        ELU,
        "cancellation",
        value=lambda z: jnp.where(z > 0, z, jnp.exp(jnp.minimum(z, 0)) - 1),
        below_scale=True,
    ),
    tail(
        "log1p_slope_of_a_rounded_sum",
        LOGARITHM,
        "cancellation",
        value=lambda x: jnp.log(1 + x),
        below_scale=True,
    ),
    tail("difference_of_roots", ROOTS, "cancellation", slope=roots_slope_of_their_difference),
    tail(
        "cross_entropy_of_a_sure_example",
        INTEGER_LABELS,
        "cancellation",
        pull=functools.partial(minus_one_hot, softmax),
        below_scale=True,
    ),
    precision(
        "secretly_in_float32",
        PRODUCT.asked_in(jnp.float64),
        "precision|float32|digits",
        pull=lambda w, x, dy: tuple(
            g.astype(x.dtype) for g in linear_pull(*(a.astype(jnp.float32) for a in (w, x, dy)))
        ),
    ),
    precision(
        "value_secretly_in_float32",
        EXPONENTIAL.asked_in(jnp.float64),
        "precision|float32|digits",
        value=lambda x: jnp.exp(x.astype(jnp.float32)).astype(x.dtype),
    ),
    precision(
        "weight_gradient_accumulated_in_bfloat16",
        PRODUCT,
        "precision|bfloat16|digits",
        pull=lambda w, x, dy: (
            (x.T.astype(jnp.bfloat16) @ dy.astype(jnp.bfloat16)).astype(x.dtype),
            dy @ w.T,
        ),
    ),
    precision(
        "bias_gradient_accumulated_in_float16",
        ADDED_BIAS,
        "precision|float16|digits|linear",
        pull=lambda b, x, dy: (jnp.sum(dy.astype(jnp.float16), axis=0).astype(dy.dtype), dy),
    ),
    precision(
        "residual_kept_in_float16",
        SQUARED,
        "precision|float16|digits|overflow",
        rule=(
            lambda x: (x * x, x.astype(jnp.float16)),
            lambda kept, dy: (2 * kept.astype(dy.dtype) * dy,),
        ),
    ),
)
