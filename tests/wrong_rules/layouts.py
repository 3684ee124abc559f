"""Cotangents read in another layout; indices, orders and the ends of loops."""

import functools

import jax.numpy as jnp
import numpy as np
from jax import lax

from tests.wrong_rules.shared import (
    GATHER,
    INDEX,
    LAYOUT,
    MATRIX,
    SCALAR,
    WIDE,
    Right,
    X,
    Y,
    no_cotangent,
    of_kind,
    vjp,
)

layout, index = map(of_kind, (LAYOUT, INDEX))

TRANSPOSE = Right(lambda x: x.T, lambda x, dy: (dy.T,))
SEGMENT_SUM = Right(
    lambda i, x: jnp.zeros(3, x.dtype).at[i].add(x),
    lambda i, x, dy: (no_cotangent(i), dy[i]),
    lambda i, x: jnp.sum(
        jnp.where(i[:, None] == jnp.arange(3, dtype=i.dtype), x[:, None], 0), axis=0
    ),
    (np.array([2, 0, 2], np.int32), X),
)
SORT = Right(jnp.sort, lambda x, dy: (jnp.zeros_like(dy).at[jnp.argsort(x)].set(dy),))
ROTATION = Right(
    lambda x: x[np.array([1, 2, 0])],
    lambda x, dy: (dy[np.array([2, 0, 1])],),
    lambda x: jnp.stack([x[1], x[2], x[0]]),
)
CUMULATIVE_SUM = Right(
    jnp.cumsum,
    lambda x, dy: (jnp.cumsum(dy[::-1])[::-1],),
    lambda x: jnp.stack([jnp.sum(x[: i + 1]) for i in range(x.shape[0])]),
    form=vjp,
)
CONCATENATION = Right(
    lambda a, b: jnp.concatenate([a, b]), lambda a, b, dy: (dy[:3], dy[3:]), args=(X, Y)
)
DIFFERENCES = Right(
    lambda x: x[1:] - x[:-1],
    lambda x, dy: (jnp.pad(dy, (1, 0)) - jnp.pad(dy, (0, 1)),),
    lambda x: jnp.diff(x),
)


def recurrence(a, x):
    """h_t = a h_(t-1) + x_t, all h_t."""

    def step(h, x_t):
        h = a * h + x_t
        return h, h

    return lax.scan(step, jnp.zeros_like(a), x)[1]


def recurrence_pull(a, x, dy, last=True):
    h = recurrence(a, x)

    def step(carried, this):
        dy_t, before = this
        g = dy_t + carried
        return a * g, (g, g * before)

    before = jnp.concatenate([jnp.zeros_like(h[:1]), h[:-1]])
    start = jnp.zeros_like(a)
    if not last:  # the loop starts at the last but one
        _, (g, da) = lax.scan(step, start, (dy[:-1], before[:-1]), reverse=True)
        return jnp.sum(da), jnp.concatenate([g, jnp.zeros_like(dy[:1])])
    _, (g, da) = lax.scan(step, start, (dy, before), reverse=True)
    return jnp.sum(da), g


def recurrence_definition(a, x):
    h, out = jnp.zeros_like(a), []
    for t in range(x.shape[0]):
        h = a * h + x[t]
        out.append(h)
    return jnp.stack(out)


def conv(kernel, x):
    """Valid correlation of two vectors, by slices."""
    n = x.shape[0] - kernel.shape[0] + 1
    return sum(kernel[i] * x[i : i + n] for i in range(kernel.shape[0]))


def conv_pull(kernel, x, dy, flip=False):
    n, m = dy.shape[0], kernel.shape[0]
    dkernel = jnp.stack([jnp.sum(dy * x[i : i + n]) for i in range(m)])
    taps = kernel[::-1] if flip else kernel
    dx = sum(jnp.pad(taps[i] * dy, (i, m - 1 - i)) for i in range(m))
    return dkernel, dx


def conv_definition(kernel, x):
    n = x.shape[0] - kernel.shape[0] + 1
    windows = jnp.stack([x[i : i + n] for i in range(kernel.shape[0])])
    return jnp.sum(kernel[:, None] * windows, axis=0)


RULES = (
    layout(
        "transpose_read_in_memory_order",
        TRANSPOSE.on(WIDE),
        "transposed|order|layout|permut",
        pull=lambda x, dy: (dy.reshape(x.shape),),
    ),
    layout(
        "square_transpose_not_undone", TRANSPOSE.on(MATRIX), "transposed", pull=lambda x, dy: (dy,)
    ),
    layout(
        "axes_moved_the_same_way_twice",
        Right(
            lambda x: jnp.transpose(x, (1, 2, 0)),
            lambda x, dy: (jnp.transpose(dy, (2, 0, 1)),),
            lambda x: jnp.moveaxis(x, 0, -1),
            (np.ones((2, 2, 2), np.float32),),
            vjp,
        ),
        "transposed|order|layout|permut",
        pull=lambda x, dy: (jnp.transpose(dy, (1, 2, 0)),),
    ),
    layout(
        "cotangent_taken_for_one_number_expanded",
        Right(lambda x: 3 * x, lambda x, dy: (3 * dy,), lambda x: x + x + x, (WIDE,)),
        "cotangent",
        pull=lambda x, dy: (jnp.full_like(x, 3) * dy.ravel()[0],),
    ),
    index(
        "repeated_rows_of_a_table_overwritten",
        GATHER,
        "index|indices",
        pull=lambda table, i, dy: (jnp.zeros_like(table).at[i].set(dy), no_cotangent(i)),
    ),
    index(
        "scatter_gradient_without_a_gather",
        SEGMENT_SUM,
        "indices|permut|order|term",
        pull=lambda i, x, dy: (no_cotangent(i), dy),
    ),
    index(
        "sort_undone_with_the_permutation_itself",
        SORT,
        "indices|permut|order",
        pull=lambda x, dy: (dy[jnp.argsort(x)],),
    ),
    index(
        "permutation_not_inverted",
        ROTATION,
        "index|permut|order",
        pull=lambda x, dy: (dy[np.array([1, 2, 0])],),
    ),
    index(
        "cumulative_sum_not_reversed",
        CUMULATIVE_SUM,
        "order|revers|permut|total|term",
        pull=lambda x, dy: (jnp.cumsum(dy),),
    ),
    index(
        "scan_backward_misses_the_last_step",
        Right(recurrence, recurrence_pull, recurrence_definition, (SCALAR, X)),
        "index|term|step|only",
        pull=functools.partial(recurrence_pull, last=False),
    ),
    index(
        "convolution_kernel_flipped",
        Right(conv, conv_pull, conv_definition, (X, np.linspace(-1, 2, 6, dtype=np.float32))),
        "order|revers|total|term",
        pull=functools.partial(conv_pull, flip=True),
    ),
    index(
        "concatenation_cut_at_the_wrong_place",
        CONCATENATION,
        "swap|order|index",
        pull=lambda a, b, dy: (dy[3:], dy[:3]),
    ),
    index(
        "difference_shifted_by_one",
        DIFFERENCES,
        "sign",
        pull=lambda x, dy: (jnp.pad(dy, (0, 1)) - jnp.pad(dy, (1, 0)),),
    ),
)
