"""Sums over the wrong axes, or none; counts, ranks and sizes taken for others."""

import jax.numpy as jnp
import numpy as np

import manualbp
import reference
from manualbp.verify import Spec
from tests.wrong_rules.shared import (
    ADDED_BIAS,
    BROADCAST,
    EQUAL_ROWS,
    MATRIX,
    NORMALISER,
    OTHER,
    RANK,
    REAL23,
    SCALAR,
    SOFTMAX,
    SQUARED,
    SUM_OF_SQUARES,
    WIDE,
    Right,
    X,
    of_kind,
    of_rule,
    pair,
    softmax,
    vjp,
)

broadcast, normaliser, rank = map(of_kind, (BROADCAST, NORMALISER, RANK))

CUBE = np.arange(-6, 6, dtype=np.float32).reshape(2, 3, 2) / 4

GAIN = Right(
    lambda g, x: x * g, lambda g, x, dy: (jnp.sum(dy * x, axis=0), dy * g), args=(X, EQUAL_ROWS)
)
ROW_SCALE = Right(
    lambda s, x: x * s[:, None],
    lambda s, x, dy: (jnp.sum(dy * x, axis=1), dy * s[:, None]),
    args=(MATRIX[0], MATRIX),
)
OUTER_SUM = Right(
    lambda a, b: a[:, None] + b,
    lambda a, b, dy: (jnp.sum(dy, axis=1), jnp.sum(dy, axis=0)),
    args=(MATRIX[0], MATRIX[1]),
    form=vjp,
)
CENTRED = Right(
    lambda x: x - jnp.mean(x, axis=-1, keepdims=True),
    lambda x, dy: (dy - jnp.mean(dy, axis=-1, keepdims=True),),
    lambda x: x - jnp.sum(x, axis=-1, keepdims=True) / x.shape[-1],
    (WIDE,),
)
SCALED = Right(lambda c, x: c * x, lambda c, x, dy: (jnp.sum(dy * x), c * dy), args=(SCALAR, WIDE))
ROW_MEAN = Right(
    lambda x: jnp.mean(x, axis=-1),
    lambda x, dy: (jnp.broadcast_to(dy[:, None] / x.shape[1], x.shape),),
    lambda x: jnp.sum(x, axis=-1) / x.shape[-1],
    (WIDE,),
)
VARIANCE = Right(
    jnp.var,
    lambda x, dy: (2 * dy * (x - jnp.mean(x)) / x.size,),
    lambda x: jnp.sum((x - jnp.sum(x) / x.size) ** 2) / x.size,
)
UNIT_ROWS = Right(
    lambda x: x / jnp.sum(x, axis=-1, keepdims=True),
    lambda x, dy: (
        jnp.sum(x[:, None, :] * (dy[:, :, None] - dy[:, None, :]), axis=-1)
        / jnp.sum(x, axis=-1, keepdims=True) ** 2,
    ),
    args=(Spec((2, 2), "positive"),),
)
MEAN_SQUARED_ERROR = of_rule(
    manualbp.mean_squared_error, reference.mean_squared_error, (REAL23, REAL23)
)


def softmax_summed_over(axis):
    return lambda z, dy: (softmax(z) * (dy - jnp.sum(softmax(z) * dy, axis=axis, keepdims=True)),)


RULES = (
    broadcast(
        "bias_gradient_of_the_first_row_only", ADDED_BIAS, "sum", pull=lambda b, x, dy: (dy[0], dy)
    ),
    broadcast(
        "bias_gradient_not_summed",
        Right(
            ADDED_BIAS.value,
            lambda b, x, dy: (manualbp.sum_to(dy, b.shape), dy),
            args=ADDED_BIAS.args,
            form=vjp,
        ),
        "sum",
        pull=lambda b, x, dy: (dy, dy),
        form=pair,
    ),
    broadcast(
        "bias_gradient_averaged",
        ADDED_BIAS.as_vjp(),
        "factor",
        pull=lambda b, x, dy: (jnp.mean(dy, axis=0), dy),
    ),
    broadcast(
        "gain_gradient_sums_before_it_multiplies",
        GAIN,
        "sum|term|factor",
        pull=lambda g, x, dy: (jnp.sum(dy, axis=0) * jnp.mean(x, axis=0), dy * g),
    ),
    broadcast(
        "row_scale_summed_over_the_other_axis",
        ROW_SCALE,
        "axis",
        pull=lambda s, x, dy: (jnp.sum(dy * x, axis=0), dy * s[:, None]),
    ),
    broadcast(
        "outer_sum_axes_swapped",
        OUTER_SUM,
        "axis|swapped",
        pull=lambda a, b, dy: (jnp.sum(dy, axis=0), jnp.sum(dy, axis=1)),
    ),
    broadcast("centring_forgets_the_mean", CENTRED, "sum|term|mean", pull=lambda x, dy: (dy,)),
    broadcast(
        "scalar_gain_gradient_of_a_mean",
        SCALED,
        "factor",
        pull=lambda c, x, dy: (jnp.mean(dy * x), c * dy),
    ),
    normaliser(
        "mean_divided_by_the_rows",
        ROW_MEAN,
        "factor",
        pull=lambda x, dy: (jnp.broadcast_to(dy[:, None] / x.shape[0], x.shape),),
    ),
    normaliser(
        "mean_squared_error_divided_by_all_entries",
        MEAN_SQUARED_ERROR,
        "factor",
        pull=lambda p, t, dy: tuple(sign * 2 * (p - t) * dy[:, None] / p.size for sign in (1, -1)),
    ),
    normaliser(
        "sum_of_squares_divided_like_a_mean",
        SUM_OF_SQUARES.on(WIDE),
        "factor",
        pull=lambda x, dy: (2 * x * dy / x.size,),
    ),
    normaliser(
        "variance_with_one_degree_less",
        VARIANCE,
        "factor",
        pull=lambda x, dy: (2 * dy * (x - jnp.mean(x)) / (x.size - 1),),
    ),
    normaliser(
        "softmax_summed_over_the_other_axis",
        SOFTMAX.on(MATRIX),
        "axis|sum|term",
        pull=softmax_summed_over(0),
    ),
    normaliser(
        "unit_rows_normalised_by_columns",
        UNIT_ROWS,
        "axis|term",
        pull=lambda x, dy: (
            (dy * jnp.sum(x, axis=0) - jnp.sum(dy * x, axis=0)) / jnp.sum(x, axis=0) ** 2,
        ),
    ),
    rank(
        "bias_under_three_axes_summed_over_one",
        Right(
            lambda b, x: x + b,
            lambda b, x, dy: (jnp.sum(dy, axis=(0, 1)), dy),
            args=(MATRIX[0], CUBE),
        ),
        "sum",
        pull=lambda b, x, dy: (jnp.sum(dy, axis=0)[0], dy),
    ),
    rank(
        "batched_product_as_if_of_matrices",
        Right(
            lambda w, x: x @ w,
            lambda w, x, dy: (jnp.einsum("bij,bik->jk", x, dy), dy @ w.T),
            lambda w, x: jnp.sum(x[..., None] * w, axis=-2),
            (MATRIX, CUBE),
        ),
        "sum",
        pull=lambda w, x, dy: (x[0].T @ dy[0], dy @ w.T),
    ),
    rank(
        "batched_matmul_with_batches_mixed",
        Right(
            lambda a, b: a @ b,
            lambda a, b, dy: (dy @ jnp.swapaxes(b, 1, 2), jnp.swapaxes(a, 1, 2) @ dy),
            lambda a, b: jnp.sum(a[..., None] * b[:, None], axis=2),
            (CUBE, np.stack([MATRIX, OTHER])),
            vjp,
        ),
        "order|permut|term|index",
        pull=lambda a, b, dy: (dy @ jnp.swapaxes(b[::-1], 1, 2), jnp.swapaxes(a, 1, 2) @ dy),
    ),
    rank(
        "einsum_with_two_letters_swapped",
        Right(
            lambda a, b: jnp.einsum("ij,jk->ik", a, b),
            lambda a, b, dy: (jnp.einsum("ik,jk->ij", dy, b), jnp.einsum("ij,ik->jk", a, dy)),
            lambda a, b: jnp.sum(a[:, :, None] * b, axis=1),
            (MATRIX, OTHER),
        ),
        "transposed",
        pull=lambda a, b, dy: (jnp.einsum("ik,kj->ij", dy, b), jnp.einsum("ij,ik->jk", a, dy)),
    ),
    rank(
        "softmax_over_the_second_axis_of_three",
        SOFTMAX.on(np.zeros((2, 2, 2), np.float32)),
        "axis|sum|term",
        pull=softmax_summed_over(1),
    ),
    rank(
        "wrong_at_size_1_only",
        SQUARED.on(np.array([2.0], np.float32)),
        "factor",
        pull=lambda x, dy: ((2 + (x.size == 1)) * x * dy,),
    ),
    rank(
        "column_for_a_vector",
        Right(lambda x: 2 * x, lambda x, dy: (2 * dy,), lambda x: x + x),
        "shape",
        pull=lambda x, dy: (2 * dy[:, None],),
    ),
    rank(
        "value_a_column_for_a_vector",
        Right(
            lambda w, x: x @ w,
            lambda w, x, dy: (x.T @ dy, dy[:, None] * w),
            lambda w, x: jnp.sum(x * w, axis=-1),
            (X, WIDE),
        ),
        "shape|value",
        value=lambda w, x: x @ w[:, None],
        pull=lambda w, x, dy: ((x.T @ dy)[:, 0], dy * w),
    ),
)
