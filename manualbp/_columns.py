"""Diagonals and factors of `second_order`: columns that go back through the network.

Columns have shape (columns, examples, units): square roots of H_L, or the rows of the Hessian of a
layer's units. Examples are taken a chunk at a time, so that few of them are held.
"""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from manualbp import layers
from manualbp._checks import Array
from manualbp._chunks import over, take
from manualbp._r_operator import (
    LEARNED,
    Step,
    form,
    forward,
    loss_gradient,
    loss_roots,
    loss_times,
    nested,
)
from manualbp._rule import Rule, widen
from manualbp.layers import _matmul
from manualbp.networks import Network

# Numbers that a diagonal or a factor holds at a time beside the results: 1 MB in float32
_HELD = 2**18


class KroneckerFactors(NamedTuple):
    """Of one dense layer, whose block of the Gauss-Newton matrix is about A (x) G.

    Attributes:
      A: the mean of a a^T, a the layer's input, with a last 1 where the layer has a bias: the
        rows of [w; b].
      G: the mean of g g^T, g the gradient in the layer's output: the columns of w.
    """

    A: Any
    G: Any


def _wide_steps(network: Network, params: Any, x: Array, key: Any) -> tuple[list[Step], Array]:
    """The forward pass in its own dtype, with residuals in float32 at least."""

    def wide(a):
        return widen(a) if jnp.issubdtype(a.dtype, jnp.floating) else a

    steps, z = forward(network, params, x, key)
    return [step._replace(saved=jax.tree.map(wide, step.saved)) for step in steps], z


def _examples(saved: Any, start: Any, length: int) -> Any:
    """Residuals of some examples: of a tuple, the last has them on its first axis."""
    *own, x = saved if isinstance(saved, tuple) else (saved,)
    x = take(x, start, length, 0)
    return (*own, x) if own else x


def _pull(rule: Rule, saved: Any, columns: Array) -> Array:
    """J^T of each column."""
    return jax.vmap(lambda column: rule.bwd(saved, column)[-1])(columns)


def _pull_own(rule: Rule, saved: Any, column: Array) -> Array:
    """The gradient of a learned parameter for each example, shape (examples, *its own)."""
    own, x = saved
    return jax.vmap(lambda x, dy: rule.bwd((own, x), dy)[0])(x, column)


def _over_examples(examples: int, chunk: int, part: Callable[[Any, int], list]) -> list:
    """The sum of part(start, length) over all examples, a chunk at a time."""
    chunk = min(examples, max(chunk, 1))
    shapes = jax.eval_shape(lambda: part(0, chunk))
    zero = jax.tree.map(lambda s: jnp.zeros(s.shape, s.dtype), shapes)
    return over(examples, chunk, lambda *at: jax.tree.map(jnp.add, at[2], part(*at[:2])), zero)


def _widest(steps: list[Step], z: Array) -> int:
    """Units of the widest layer."""
    return max(x.shape[-1] for x in (z, *(step.x for step in steps[1:])))


@functools.partial(jax.jit, static_argnames=("network", "mean"))
def gauss_newton_diagonal(network, params, x, y, key, mean):
    steps, z = _wide_steps(network, params, x, key)
    roots = loss_roots(network.loss, z, y)

    def part(start, length):
        columns, sums = take(roots, start, length, 1), []
        for step in reversed(steps):
            rule, saved = step.rule, _examples(step.saved, start, length)
            own: Any = ()
            if rule in layers.RULES:  # sum_c (a s_c)^2 = a^2 sum_c s_c^2, and once more for b
                own = rule.bwd((saved[0], saved[1] ** 2), jnp.sum(columns**2, axis=0))[0]
            elif rule in LEARNED:
                each = jax.vmap(functools.partial(_pull_own, rule, saved))(columns)
                own = jnp.sum(each**2, axis=(0, 1))
            sums.append(own)
            columns = _pull(rule, saved, columns)
        return sums[::-1]

    chunk = _HELD // (roots.shape[0] * _widest(steps, z))
    return _scaled(network, params, _over_examples(x.shape[0], chunk, part), x, mean)


@functools.partial(jax.jit, static_argnames=("network", "mean"))
def hessian_diagonal(network, params, x, y, key, mean):
    steps, z = _wide_steps(network, params, x, key)
    cotangents = [widen(loss_gradient(network, z, y, 1.0))]
    for step in reversed(steps[1:]):
        cotangents.append(step.rule.bwd(step.saved, cotangents[-1])[-1])
    units = jnp.eye(z.shape[-1], dtype=cotangents[0].dtype)
    # H_L of each example, shape (outputs, examples, outputs)
    output = jax.vmap(lambda e: loss_times(network.loss, z, y, jnp.broadcast_to(e[None], z.shape)))(
        units
    )

    def part(start, length):
        curvature, sums = take(output, start, length, 1), []
        for step, dy in zip(reversed(steps), cotangents, strict=True):
            rule, saved = step.rule, _examples(step.saved, start, length)
            dy = take(dy, start, length, 0)
            own: Any = ()
            diagonal = jnp.diagonal(curvature, axis1=0, axis2=2)
            half = _pull(rule, saved, curvature)
            if rule in layers.RULES:
                own = rule.bwd((saved[0], saved[1] ** 2), diagonal)[0]
            elif rule in LEARNED:
                own = _learned_diagonal(rule, saved, curvature, dy)
            sums.append(own)
            curvature = _pull(rule, saved, jnp.transpose(half, (2, 1, 0)))
            if rule not in layers.RULES:
                one, zero = jnp.ones_like(dy), jnp.zeros_like(dy)
                v = jnp.zeros_like(saved[0]) if rule in LEARNED else ()
                _, _, bend = form(rule).backward(saved, v, one, dy, zero)
                curvature = curvature + jnp.eye(dy.shape[-1], dtype=dy.dtype)[:, None] * bend[None]
        return sums[::-1]

    chunk = _HELD // _widest(steps, z) ** 2
    return _scaled(network, params, _over_examples(x.shape[0], chunk, part), x, mean)


def _learned_diagonal(rule: Rule, saved: Any, curvature: Array, dy: Array) -> Array:
    """The sum over examples of y_a^T H_y y_a + y_aa dy, for a slope a layer or a channel."""
    own = saved[0]
    half = jax.vmap(functools.partial(_pull_own, rule, saved))(curvature)
    shared = own.size == 1
    half = half.reshape(half.shape[:2]).T if shared else jnp.diagonal(half, axis1=0, axis2=2)
    curved = jnp.sum(_pull_own(rule, saved, half), axis=0)
    zero = jnp.zeros_like(dy)
    return curved + form(rule).backward(saved, jnp.ones_like(own), zero, dy, zero)[0]


def _scaled(network, params, sums, x, mean):
    tree = nested(network.rule, iter(sums))
    leaves = [s / x.shape[0] if mean else s for s in jax.tree.leaves(tree)]
    return jax.tree.unflatten(jax.tree.structure(params), leaves)


@functools.partial(jax.jit, static_argnames=("network", "fisher"))
def kronecker_factors(network, params, x, y, key, fisher):
    draws = signs = key
    if fisher == "sampled":
        draws, signs = jax.random.split(key)
    steps, z = _wide_steps(network, params, x, draws)
    if fisher == "empirical":
        roots = widen(loss_gradient(network, z, y, 1.0))[None]
    else:
        roots = loss_roots(network.loss, z, y)
    if fisher == "sampled":
        drawn = jax.random.rademacher(signs, roots.shape[:2], roots.dtype)
        roots = jnp.sum(drawn[:, :, None] * roots, axis=0, keepdims=True)

    def part(start, length):
        columns, sums = take(roots, start, length, 1), []
        for step in reversed(steps):
            flat = columns.reshape(-1, columns.shape[-1])
            sums.append(_matmul(flat.T, flat) if step.rule in layers.RULES else ())
            columns = _pull(step.rule, _examples(step.saved, start, length), columns)
        return sums[::-1]

    n = x.shape[0]
    chunk = _HELD // (roots.shape[0] * _widest(steps, z))
    factors: list[Any] = []
    for step, g in zip(steps, _over_examples(n, chunk, part), strict=True):
        if step.rule in layers.RULES:
            _, a = step.saved
            if step.rule is layers.dense:
                a = jnp.concatenate([a, jnp.ones_like(a[:, :1])], axis=1)
            factors.append(KroneckerFactors(_matmul(a.T, a) / n, g / n))
        else:
            factors.append(())
    return nested(network.rule, iter(factors))
