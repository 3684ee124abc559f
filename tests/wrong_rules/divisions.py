"""Divisions by what is zero, and masks put around a NaN that is there already."""

import jax.numpy as jnp

from tests.wrong_rules.shared import (
    DIVISION,
    MASK,
    TRUE,
    WIDE,
    Right,
    by_slope,
    no_cotangent,
    of_kind,
    softmax_pull,
    vjp,
)

division, mask = map(of_kind, (DIVISION, MASK))


def product_pull(x, dy):
    """Products of all other entries, from both sides, without a division."""
    left = [jnp.ones_like(x[0])]
    right = [jnp.ones_like(x[0])]
    for i in range(x.shape[0] - 1):
        left.append(left[-1] * x[i])
        right.append(right[-1] * x[x.shape[0] - 1 - i])
    return (dy * jnp.stack(left) * jnp.stack(right[::-1]),)


def cumprod_pull(x, dy):
    n = x.shape[0]
    dx = []
    for i in range(n):
        before = jnp.prod(x[:i]) if i else jnp.ones_like(x[0])
        total, after = jnp.zeros_like(x[0]), jnp.ones_like(x[0])
        for k in range(i, n):
            after = after * x[k] if k > i else after
            total = total + dy[k] * after
        dx.append(before * total)
    return (jnp.stack(dx),)


def cumprod_definition(x):
    return jnp.stack([jnp.prod(x[: i + 1]) for i in range(x.shape[0])])


def norm(x):
    """Scaled by the largest entry, whose square may vanish or overflow."""
    largest = jnp.max(jnp.abs(x))
    scale = jnp.where(largest == 0, 1, largest)
    return largest * jnp.sqrt(jnp.sum((x / scale) ** 2))


def norm_pull(x, dy):
    n = norm(x)
    return (dy * x / jnp.where(n == 0, 1, n),)


def norm_definition(x):
    total = jnp.sum(x**2)
    return jnp.where(total == 0, 0, jnp.sqrt(jnp.where(total == 0, 1, total)))


def or_1(x):
    """x where it is positive, else 1."""
    return jnp.where(x > 0, x, 1)


def masked_softmax(mask, z):
    top = jnp.max(jnp.where(mask, z, -jnp.inf), axis=-1, keepdims=True)
    e = jnp.where(mask, jnp.exp(jnp.where(mask, z, 0) - jnp.where(top > -jnp.inf, top, 0)), 0)
    total = jnp.sum(e, axis=-1, keepdims=True)
    return e / or_1(total)


def masked_softmax_definition(mask, z):
    e = jnp.where(~mask, 0, jnp.exp(z))
    total = jnp.sum(e, axis=-1, keepdims=True)
    return jnp.where(total > 0, e / or_1(total), 0)


def masked_softmax_nan(mask, z, dy):
    e = jnp.exp(jnp.where(mask, z, -jnp.inf))
    p = e / jnp.sum(e, axis=-1, keepdims=True)
    return no_cotangent(mask), softmax_pull(p, dy)


CUBE = by_slope(lambda x: x**3, lambda x: 3 * x * x, lambda x: x * x * x)
X_ROOT = by_slope(
    lambda x: jnp.where(x > 0, x * jnp.sqrt(or_1(x)), 0),
    lambda x: jnp.where(x > 0, 1.5 * jnp.sqrt(or_1(x)), 0),
    lambda x: jnp.where(x > 0, or_1(x) ** 1.5, 0),
)
LOGARITHM = by_slope(
    lambda x: jnp.where(x > 0, jnp.log(or_1(x)), 0), lambda x: jnp.where(x > 0, 1 / or_1(x), 0)
)
X_LOGARITHM = by_slope(
    lambda x: jnp.where(x > 0, x * jnp.log(or_1(x)), 0),
    lambda x: jnp.where(x > 0, jnp.log(or_1(x)) + 1, 0),
)
MASKED_SOFTMAX = Right(
    masked_softmax,
    lambda mask, z, dy: (no_cotangent(mask), softmax_pull(masked_softmax(mask, z), dy)),
    masked_softmax_definition,
    (TRUE, WIDE),
)
MASKED_SQUARE = Right(
    lambda mask, x: jnp.where(mask, x * x, 0),
    lambda mask, x, dy: (no_cotangent(mask), jnp.where(mask, 2 * x * dy, 0)),
    lambda mask, x: jnp.where(mask, x**2, 0),
    (TRUE, WIDE),
)

RULES = (
    division(
        "product_divided_by_each_entry",
        Right(jnp.prod, product_pull, form=vjp),
        "zero|overflow|divi",
        pull=lambda x, dy: (dy * jnp.prod(x) / x,),
    ),
    division(
        "product_gradient_0_wherever_an_entry_is",
        Right(jnp.prod, product_pull, lambda x: x[0] * x[1] * x[2]),
        "zero|only",
        pull=lambda x, dy: (jnp.where(x == 0, 0, dy * jnp.prod(x) / jnp.where(x == 0, 1, x)),),
    ),
    division(
        "cumulative_product_divided_by_each_entry",
        Right(jnp.cumprod, cumprod_pull, cumprod_definition),
        "zero|overflow|divi",
        pull=lambda x, dy: (jnp.cumsum((dy * jnp.cumprod(x))[::-1])[::-1] / x,),
    ),
    division("power_divided_by_its_base", CUBE, "zero|overflow|divi", slope=lambda x: 3 * x**3 / x),
    mask(
        "norm_at_0_divides_by_itself",
        Right(norm, norm_pull, norm_definition, form=vjp),
        "zero|overflow|divi|kink",
        pull=lambda x, dy: (dy * x / norm(x),),
    ),
    mask(
        "root_guarded_after_it_is_taken",
        X_ROOT,
        "zero|NaN|branch",
        value=lambda x: jnp.sqrt(jnp.maximum(x, 0)) * x,
        slope=lambda x: jnp.where(x > 0, 1.5, 0) * jnp.sqrt(x),
    ),
    mask(
        "logarithm_guarded_by_a_product",
        LOGARITHM,
        "zero|NaN|branch",
        slope=lambda x: (x > 0).astype(x.dtype) / jnp.maximum(x, 0),
    ),
    mask(
        "softmax_of_a_row_all_masked",
        MASKED_SOFTMAX,
        "overflow|divi|NaN|mask",
        pull=masked_softmax_nan,
    ),
    mask(
        "gradient_of_masked_entries_kept",
        MASKED_SQUARE,
        "only|mask",
        pull=lambda mask, x, dy: (no_cotangent(mask), 2 * x * dy),
    ),
    mask(
        "zero_times_log_zero",
        X_LOGARITHM,
        "zero|NaN|branch",
        slope=lambda x: (x * jnp.log(x) + x) / x,
    ),
)
