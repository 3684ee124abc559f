"""Factors, terms, signs and transposes; conjugates of complex numbers, as pairs of real ones."""

import functools
import math

import jax.numpy as jnp
from jax import lax

import manualbp
import reference
from manualbp.verify import Spec
from tests.wrong_rules.shared import (
    CONJUGATE,
    EXPONENTIAL,
    MATRIX,
    OTHER,
    POSITIVE,
    POWER_OF_2,
    PRODUCT,
    REAL23,
    SIGMOID,
    SOFTMAX,
    TANH,
    TERM,
    Right,
    X,
    Y,
    by_slope,
    of_kind,
    of_rule,
    sech2,
    sigmoid,
    sigmoid_slope,
    softmax,
    softmax_pull,
    softplus,
    vjp,
)

term, conjugate = map(of_kind, (TERM, CONJUGATE))

# Of one array, entry by entry

HALF_SQUARE = Right(lambda x: 0.5 * x * x, lambda x, dy: (x * dy,), lambda x: x**2 / 2, form=vjp)
COSINE = Right(jnp.cos, lambda x, dy: (-dy * jnp.sin(x),), form=vjp)
RECIPROCAL = by_slope(lambda x: 1 / x, lambda x: -1 / (x * x))
DECIMAL_LOGARITHM = by_slope(
    jnp.log10,
    lambda x: 1 / (x * math.log(10)),
    lambda x: jnp.log(x) / math.log(10),
    args=(POSITIVE,),
)
X_SINE = by_slope(lambda x: x * jnp.sin(x), lambda x: jnp.sin(x) + x * jnp.cos(x))
SOFTPLUS = of_rule(manualbp.softplus, reference.softplus, value=softplus)
SILU = of_rule(manualbp.silu, reference.silu)
SWISH_OF_2 = by_slope(
    lambda z: z * sigmoid(2 * z),
    lambda z: sigmoid(2 * z) * (1 + 2 * z * sigmoid(-2 * z)),
    lambda z: z / (1 + jnp.exp(-2 * z)),
)
LEAKY_RELU = of_rule(
    manualbp.leaky_relu(),
    lambda z: jnp.where(z < 0, 0.01 * z, z),
    value=lambda z: jnp.where(z >= 0, z, 0.01 * z),
)
HUBER = by_slope(
    lambda e: jnp.where(jnp.abs(e) <= 2, 0.5 * e * e, 2 * (jnp.abs(e) - 1)),
    lambda e: jnp.clip(e, -2, 2),
    lambda e: jnp.where(e**2 <= 4, e**2 / 2, 2 * jnp.abs(e) - 2),
)
PINBALL = by_slope(
    lambda e: jnp.maximum(0.25 * e, -0.75 * e),
    lambda e: jnp.where(e > 0, 0.25, -0.75),
    lambda e: jnp.where(e > 0, 0.25 * e, -0.75 * e),
)

GELU = math.sqrt(2 / math.pi)


def gelu_tanh(x):
    return x * sigmoid(2 * GELU * (x + 0.044715 * x**3))


def gelu_tanh_slope(x):
    u = 2 * GELU * (x + 0.044715 * x**3)
    return sigmoid(u) * (1 + x * sigmoid(-u) * 2 * GELU * (1 + 3 * 0.044715 * x**2))


def gelu_tanh_definition(x):
    return 0.5 * x * (1 + jnp.tanh(GELU * (x + 0.044715 * x**3)))


def gelu_exact_slope(x):
    density = jnp.exp(-0.5 * x * x) / math.sqrt(2 * math.pi)
    return 0.5 * lax.erfc(-x / math.sqrt(2)) + x * density


# Of several arguments, or along rows

DIFFERENCE = Right(lambda a, b: a - b, lambda a, b, dy: (dy, -dy), args=(X, Y))
QUOTIENT = Right(lambda a, b: a / b, lambda a, b, dy: (dy / b, -dy * a / (b * b)), args=(X, Y))
POWER = Right(
    lambda p, x: x**p,
    lambda p, x, dy: (jnp.sum(dy * jnp.log(x) * x**p), dy * p * x ** (p - 1)),
    lambda p, x: jnp.exp(p * jnp.log(x)),
    (Spec((), "unit"), Spec((3,), "unit")),
)


def half_mse_error(z, t):
    """sigmoid(z) - t, where 1 - sigmoid(z) is sigmoid(-z)."""
    return jnp.where(t == 1, -sigmoid(-z), sigmoid(z) - t)


HALF_MSE = Right(
    lambda z, t: 0.5 * jnp.sum(half_mse_error(z, t) ** 2),
    lambda z, t, dy: (dy * half_mse_error(z, t) * sigmoid_slope(z), -dy * half_mse_error(z, t)),
    lambda z, t: jnp.sum((1 / (1 + jnp.exp(-z)) - t) ** 2) / 2,
    (X, Spec((3,), "labels")),
)


def normalised(x):
    centred = x - jnp.mean(x, axis=-1, keepdims=True)
    scale = jnp.sqrt(jnp.mean(centred * centred, axis=-1, keepdims=True) + 1e-3)
    return centred / scale, scale


def layer_norm_pull(gain, x, dy, mean_term=True, product_term=True):
    y, scale = normalised(x)
    g = dy * gain
    dx = g
    if mean_term:
        dx = dx - jnp.mean(g, axis=-1, keepdims=True)
    if product_term:
        dx = dx - y * jnp.mean(g * y, axis=-1, keepdims=True)
    return jnp.sum(dy * y, axis=0), dx / scale


def layer_norm_definition(gain, x):
    mean = jnp.sum(x, axis=-1, keepdims=True) / x.shape[-1]
    variance = jnp.sum((x - mean) ** 2, axis=-1, keepdims=True) / x.shape[-1]
    return gain * (x - mean) / jnp.sqrt(variance + 1e-3)


LAYER_NORM = Right(
    lambda gain, x: gain * normalised(x)[0],
    layer_norm_pull,
    layer_norm_definition,
    (X, Spec((2, 3), "unit")),
)


def attention_pull(q, k, v, dy, row_sum=True):
    p = softmax(q @ k.T)
    dp = dy @ v.T
    ds = softmax_pull(p, dp) if row_sum else p * dp
    return ds @ k, ds.T @ q, p.T @ dy


def attention_definition(q, k, v):
    e = jnp.exp(q @ k.T)
    return (e / jnp.sum(e, axis=-1, keepdims=True)) @ v


ATTENTION = Right(
    lambda q, k, v: softmax(q @ k.T) @ v,
    attention_pull,
    attention_definition,
    (MATRIX, OTHER, MATRIX.T),
)
LOG_SOFTMAX = of_rule(manualbp.log_softmax, reference.log_softmax)
GAUSSIAN_NLL = of_rule(manualbp.gaussian_nll, reference.gaussian_nll, (REAL23, POSITIVE, REAL23))
WEIGHT_DECAY = Right(
    lambda w, x: jnp.sum(x * w) + 0.5 * jnp.sum(w * w),
    lambda w, x, dy: (dy * (x + w), dy * w),
    lambda w, x: jnp.sum(x * w) + jnp.sum(w**2) / 2,
    (X, Y),
)
QUADRATIC_FORM = Right(
    lambda a, x: x @ a @ x,
    lambda a, x, dy: (dy * jnp.outer(x, x), dy * ((a + a.T) @ x)),
    lambda a, x: jnp.sum(a * x * x[:, None]),
    (MATRIX, MATRIX[1]),
)
TRACE = Right(
    lambda a, b: jnp.trace(a @ b),
    lambda a, b, dy: (dy * b.T, dy * a.T),
    lambda a, b: jnp.sum(a * b.T),
    (MATRIX, OTHER),
)


def two_by_two(*entries):
    return jnp.stack(entries).reshape(2, 2)


ADJUGATE = Right(
    lambda a: two_by_two(a[1, 1], -a[0, 1], -a[1, 0], a[0, 0]),
    lambda a, dy: (two_by_two(dy[1, 1], -dy[0, 1], -dy[1, 0], dy[0, 0]),),
    lambda a: jnp.trace(a) * jnp.eye(2, dtype=a.dtype) - a,
    (MATRIX,),
)


def complex_product(a, b):
    return jnp.stack([a[0] * b[0] - a[1] * b[1], a[0] * b[1] + a[1] * b[0]])


COMPLEX_PRODUCT = Right(
    complex_product,
    lambda a, b, dy: (
        jnp.stack([dy[0] * b[0] + dy[1] * b[1], -dy[0] * b[1] + dy[1] * b[0]]),
        jnp.stack([dy[0] * a[0] + dy[1] * a[1], -dy[0] * a[1] + dy[1] * a[0]]),
    ),
    args=(MATRIX, OTHER),
)
SQUARE_MODULUS = Right(
    lambda a: a[0] * a[0] + a[1] * a[1],
    lambda a, dy: (2 * dy * a,),
    lambda a: jnp.abs(lax.complex(a[0], a[1])) ** 2,
    (MATRIX,),
    vjp,
)

RULES = (
    term("square_without_its_2", POWER_OF_2, "factor.*1/2", slope=lambda x: x),
    term("half_square_with_a_2", HALF_SQUARE, "factor.*2", pull=lambda x, dy: (2 * x * dy,)),
    term("cosine_without_its_sign", COSINE, "sign", pull=lambda x, dy: (dy * jnp.sin(x),)),
    term("difference_with_two_pluses", DIFFERENCE, "sign", pull=lambda a, b, dy: (dy, dy)),
    term(
        "quotient_without_its_sign",
        QUOTIENT,
        "sign",
        pull=lambda a, b, dy: (dy / b, dy * a / (b * b)),
    ),
    term("reciprocal_not_squared", RECIPROCAL, "missing factor|factor", slope=lambda x: -1 / x),
    term(
        "decimal_logarithm_without_its_constant", DECIMAL_LOGARITHM, "factor", slope=lambda x: 1 / x
    ),
    term(
        "power_without_the_logarithm",
        POWER,
        "factor",
        pull=lambda p, x, dy: (jnp.sum(dy * x**p), dy * p * x ** (p - 1)),
    ),
    term("product_rule_with_one_term", X_SINE, "term", slope=jnp.sin),
    term(
        "sigmoid_without_its_slope",
        HALF_MSE,
        "missing factor",
        pull=lambda z, t, dy: (dy * half_mse_error(z, t), -dy * half_mse_error(z, t)),
    ),
    term("tanh_derivative_at_its_output", TANH, "output", slope=lambda x: sech2(jnp.tanh(x))),
    term(
        "softplus_derivative_at_its_output",
        SOFTPLUS,
        "output",
        slope=lambda z: sigmoid(softplus(z)),
    ),
    term("sigmoid_slope_of_its_input", SIGMOID, "input|output|factor", slope=lambda z: z * (1 - z)),
    term(
        "layer_norm_without_the_mean_term",
        LAYER_NORM,
        "term",
        pull=functools.partial(layer_norm_pull, mean_term=False),
    ),
    term(
        "layer_norm_without_the_product_term",
        LAYER_NORM.as_vjp(),
        "term",
        pull=functools.partial(layer_norm_pull, product_term=False),
    ),
    term(
        "attention_without_the_row_sum",
        ATTENTION,
        "term",
        pull=functools.partial(attention_pull, row_sum=False),
    ),
    term(
        "softmax_as_if_entry_by_entry",
        SOFTMAX,
        "term",
        pull=lambda z, dy: (dy * softmax(z) * (1 - softmax(z)),),
    ),
    term(
        "log_softmax_sums_without_the_cotangent",
        LOG_SOFTMAX,
        "linear",
        pull=lambda z, dy: (dy - softmax(z),),
    ),
    term("swish_without_its_second_term", SILU, "term", slope=sigmoid),
    term(
        "swish_gradient_of_beta_1",
        SWISH_OF_2,
        "term|factor",
        slope=lambda z: sigmoid(2 * z) * (1 + z * sigmoid(-2 * z)),
    ),
    term(
        "tanh_gelu_with_the_slope_of_the_exact_one",
        by_slope(gelu_tanh, gelu_tanh_slope, gelu_tanh_definition),
        "digits|approximat|term",
        slope=gelu_exact_slope,
    ),
    term("0.09_percent_too_much_everywhere", TANH, "factor", slope=lambda x: 1.0009 * sech2(x)),
    term(
        "relative_error_1e-8_everywhere",
        EXPONENTIAL.asked_in(jnp.float64),
        "factor",
        slope=lambda x: (1 + 1e-8) * jnp.exp(x),
    ),
    term(
        "leaky_slope_of_another_layer",
        LEAKY_RELU,
        "factor|branch",
        slope=lambda z: jnp.where(z >= 0, 1, 0.1),
    ),
    term(
        "huber_slope_saturates_at_1",
        HUBER,
        "factor|branch|tail",
        slope=lambda e: jnp.clip(e, -1, 1),
    ),
    term(
        "pinball_sign_below",
        PINBALL,
        "sign|branch|kink",
        slope=lambda e: jnp.where(e > 0, 0.25, 0.75),
    ),
    term(
        "gaussian_variance_gradient_without_its_half",
        GAUSSIAN_NLL,
        "factor.*2",
        pull=lambda *args: tuple(
            factor * g for factor, g in zip((1, 2, 1), GAUSSIAN_NLL.pull(*args), strict=True)
        ),
    ),
    term(
        "weight_decay_doubled",
        WEIGHT_DECAY,
        "term",
        pull=lambda w, x, dy: (dy * (x + 2 * w), dy * w),
    ),
    term(
        "matrix_product_transposed",
        PRODUCT,
        "transposed",
        pull=lambda w, x, dy: (dy.T @ x, dy @ w.T),
    ),
    term(
        "matrix_product_with_the_weight_not_transposed",
        PRODUCT.as_vjp(),
        "transposed",
        pull=lambda w, x, dy: (x.T @ dy, dy @ w),
    ),
    term(
        "quadratic_form_as_if_symmetric",
        QUADRATIC_FORM,
        "transposed|term",
        pull=lambda a, x, dy: (dy * jnp.outer(x, x), 2 * dy * (a @ x)),
    ),
    term(
        "trace_of_a_product_not_transposed",
        TRACE,
        "transposed",
        pull=lambda a, b, dy: (dy * b, dy * a),
    ),
    term(
        "inverse_of_2_by_2_without_transposes",
        ADJUGATE,
        "transposed",
        pull=lambda a, dy: (two_by_two(dy[1, 1], -dy[1, 0], -dy[0, 1], dy[0, 0]),),
    ),
    conjugate(
        "complex_product_without_the_conjugate",
        COMPLEX_PRODUCT,
        "conjugate|sign|term",
        pull=lambda a, b, dy: (complex_product(dy, b), complex_product(dy, a)),
    ),
    conjugate(
        "complex_square_modulus_conjugated",
        SQUARE_MODULUS,
        "sign|conjugate",
        pull=lambda a, dy: (2 * dy * jnp.stack([a[0], -a[1]]),),
    ),
)
