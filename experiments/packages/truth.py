"""What the gradient is, found without manualbp: float64 autodiff, and central differences.

Both are of the undecorated function. A rule is held to each at the row's own point and at others
around it, with cotangents drawn at random.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

STEP = {True: 3e-4, False: 1e-2}  # of differences, relative to size; in 64 bits, and in 32
AGREE = {
    True: 1e-6,
    False: 3e-3,
}  # of the gradient's size: above what the differences themselves err
POINTS = 3  # the row's own, and others near it
NEAR = 0.03  # how far those are away, relative to each entry
ENTRIES = 60  # at most so many entries of an argument have a difference, drawn at random


def wide(x: Any) -> Any:
    """The leaf in 64 bits, where it is of a floating or complex dtype."""
    if not hasattr(x, "dtype") or jnp.issubdtype(x.dtype, jax.dtypes.prng_key):
        return x
    if jnp.issubdtype(x.dtype, jnp.complexfloating):
        return jnp.asarray(x, np.complex128)
    return jnp.asarray(x, np.float64) if jnp.issubdtype(x.dtype, jnp.floating) else x


def moves(x: Any) -> bool:
    return hasattr(x, "dtype") and jnp.issubdtype(x.dtype, jnp.inexact)


def split(args: tuple, argnums: tuple[int, ...] | None, fixed: tuple[int, ...], in64: bool):
    """The leaves to differentiate and what builds the arguments from them."""
    wanted = set(range(len(args)) if argnums is None else argnums) - set(fixed)
    leaves, tree = jax.tree.flatten(args)
    owners = [k for k, a in enumerate(args) for _ in jax.tree.leaves(a)]
    free = [i for i, x in enumerate(leaves) if owners[i] in wanted and moves(x)]
    kept = [wide(x) if in64 and owners[i] not in fixed else x for i, x in enumerate(leaves)]

    def build(xs):
        every = list(kept)
        for i, x in zip(free, xs, strict=True):
            every[i] = x
        return tree.unflatten(every)

    return [kept[i] for i in free], build


def values(function: Callable, build: Callable) -> Callable:
    """The floating results, as a flat list, of the leaves."""

    def of(xs):
        results = map(jnp.asarray, jax.tree.leaves(function(*build(xs))))
        results = [y for y in results if moves(y)]
        return [y.astype(jnp.float32) if y.dtype.itemsize == 1 else y for y in results]

    return of


def loss_of(of: Callable) -> Callable:
    """The real part of the sum of cotangent times value: what a pullback differentiates in JAX."""

    def loss(xs, cotangents):
        return sum(jnp.sum(c * y).real for c, y in zip(cotangents, of(xs), strict=True))

    return loss


def compiled(function: Callable, *args: Any) -> Callable:
    """It compiled, or itself where it looks at its numbers."""
    quick = jax.jit(function)
    try:
        quick(*args)
    except Exception:
        return function
    return quick


def like(y: Any, rng: np.random.Generator) -> Any:
    c = rng.normal(size=y.shape)
    c = c + 1j * rng.normal(size=y.shape) if jnp.iscomplexobj(y) else c
    return jnp.asarray(c, y.dtype)


def differences(loss: Callable, xs: list, cotangents: list, chosen: list, in64: bool):
    """Central differences, once extrapolated, and how far the two steps are from each other."""
    gradients, doubt = [], 0.0
    for k, x in enumerate(xs):
        g = np.zeros(len(chosen[k]), x.dtype)
        for place, flat in enumerate(chosen[k]):
            for unit, sign in ((1, 1), (1j, -1))[: 1 + jnp.iscomplexobj(x)]:
                slopes = []
                for h in (STEP[in64], STEP[in64] / 2):
                    ends = []
                    for side in (1, -1):
                        moved = np.array(x).reshape(-1)
                        moved[flat] += side * h * max(abs(moved[flat]), 0.1) * unit
                        there = jnp.asarray(moved.reshape(x.shape))
                        ends.append(
                            (moved[flat], float(loss([*xs[:k], there, *xs[k + 1 :]], cotangents)))
                        )
                    (a, fa), (b, fb) = ends
                    slopes.append((fa - fb) / abs(a - b))
                best = (4 * slopes[1] - slopes[0]) / 3
                doubt = max(doubt, abs(best - slopes[1]))
                g[place] += best * sign * unit
        gradients.append(g)
    return gradients, doubt


def distance(a: list, b: list) -> tuple[float, float]:
    """The largest difference, and the largest size."""
    far = [float(np.max(np.abs(x - y), initial=0)) for x, y in zip(a, b, strict=True)]
    size = [float(np.max(np.abs(x), initial=0)) for x in (*a, *b)]
    return max(far, default=0.0), max(size, default=0.0)


def measure(
    rule: Callable,
    definition: Callable,
    args: tuple,
    argnums: tuple[int, ...] | None = None,
    fixed: tuple[int, ...] = (),
    around: bool = True,
    in64: bool = True,
    seed: int = 0,
) -> dict:
    """How far the rule is from autodiff of its definition and from differences, relative to size.

    Args:
      rule: with the custom derivative.
      definition: without.
      args: the arguments, as users pass them.
      argnums: of those to differentiate; all floating ones if None.
      fixed: the numbers of those that are no arrays to the rule.
      around: also at points near the arguments.
      in64: whether in float64; float32 where a rule takes nothing wider.
      seed: of cotangents and points.

    Returns:
      "autodiff" and "differences": the largest relative distance at any point, or the one line
      why there is none; "value": that of the rule's value from the definition's.
    """
    rng = np.random.default_rng(seed)
    with jax.enable_x64(in64), np.errstate(all="ignore"):
        xs, build = split(args, argnums, fixed, in64)
        ours, theirs = values(rule, build), values(definition, build)
        found: dict[str, Any] = {"entries": int(sum(x.size for x in xs))}
        cotangents = [like(y, rng) for y in theirs(xs)]
        chosen = [rng.permutation(x.size)[:ENTRIES] for x in xs]
        by_rule = compiled(jax.grad(loss_of(ours)), xs, cotangents)
        by_autodiff = compiled(jax.grad(loss_of(theirs)), xs, cotangents)
        value = compiled(loss_of(theirs), xs, cotangents)
        for point in range(POINTS if around else 1):
            if point:
                xs = [x * jnp.asarray(1 + NEAR * rng.uniform(-1, 1, x.shape), x.dtype) for x in xs]
                cotangents = [like(y, rng) for y in cotangents]
            given = [np.asarray(g) for g in by_rule(xs, cotangents)]
            try:
                truth = [np.asarray(g) for g in by_autodiff(xs, cotangents)]
            except Exception as problem:
                found["autodiff"] = f"{type(problem).__name__}: {first_line(problem)}"
            else:
                larger(found, "autodiff", *distance(given, truth))
            some = [g.reshape(-1)[c] for g, c in zip(given, chosen, strict=True)]
            truth, doubt = differences(value, xs, cotangents, chosen, in64)
            far, size = distance(some, truth)
            larger(found, "differences", max(0.0, far - 30 * doubt) if far == far else far, size)
            found["doubt"] = max(found.get("doubt", 0.0), doubt / size if size else doubt)
        larger(
            found, "value", *distance(*([np.asarray(y) for y in of(xs)] for of in (ours, theirs)))
        )
    return found


def larger(found: dict, key: str, far: float, size: float) -> None:
    relative = far / size if size else far
    before = found.get(key, 0.0)
    found[key] = relative if np.isnan(relative) else max(before, relative)


def first_line(problem: Exception) -> str:
    return (str(problem).strip() or "no text").splitlines()[0][:160]


def class_of(found: dict, in64: bool = True) -> str:
    """right or wrong as both ways say, or what else they say."""
    far = [found["autodiff"], found["differences"]]
    says = ["none" if isinstance(x, str) else "right" if x <= AGREE[in64] else "wrong" for x in far]
    if found["doubt"] > 1e-2:
        says[1] = "unsure"
    return says[0] if says[0] == says[1] else f"autodiff {says[0]}, differences {says[1]}"
