"""Rung 1: the form of a backward pass, whatever its numbers."""

from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from manualbp.verify.ask.problem import (
    ContractBroken,
    Problem,
    first_line,
    floating_leaves,
    mode_of,
)
from manualbp.verify.numbers.walk import is_floating

DTYPES = ("float16", "bfloat16", "float32", "float64")

# Two evaluations of one formula, compiled differently, in float64: contraction and reordering of
# sums. A difference beyond it is looked at; it is no measure of correctness.
PATHS = 1e-9
# The difference that a rounding to float32 makes, or a few of them
ROUNDED = 1e-5


def check_contract(problem: Problem, seed: int) -> int:
    """Raise ContractBroken at the first finding; return how many conditions held.

    Args:
      problem: what is checked.
      seed: of the inputs.
    """
    held = 0
    for finding in _findings(problem, np.random.default_rng(seed)):
        held += 1
        if finding is not None:
            raise finding
    return held


def _findings(problem: Problem, rng: np.random.Generator) -> Iterator[ContractBroken | None]:
    forms = problem.kept.setdefault("forms", {})  # the same for every seed
    for dtype in DTYPES:
        if dtype not in forms:
            forms[dtype] = list(_form(problem, jnp.dtype(dtype)))
        yield from forms[dtype]
    yield from _linear_and_paths(problem, rng)


def _form(problem: Problem, dtype: Any) -> Iterator:
    """Trees, shapes and dtypes in one dtype, found by tracing: nothing is compiled."""
    found: list[ContractBroken | None] = []
    try:
        shape = problem.values_shape(dtype)
    except Exception:
        if dtype == np.float64:
            raise
        return  # the definition itself has no form in this dtype
    leaves, _ = problem.example(dtype)
    with mode_of(dtype):
        try:
            y = jax.eval_shape(lambda *xs: problem.subject.forward(*problem.arguments(xs)), *leaves)
        except ContractBroken as broken:
            yield broken
            return
        except Exception as raised:
            yield _raised(raised, dtype)
            return
    for finding in _same_form("value", y, shape):
        yield finding
        if finding is not None:
            return

    def inspect(args: tuple, y: Any, given: Any) -> None:
        found.append(None)
        for i, (arg, cotangent) in enumerate(zip(args, given, strict=True)):
            found.extend(_cotangent_form(f"argument {i}", arg, cotangent))

    try:
        problem.trace_ours(dtype, inspect)
    except ContractBroken as broken:
        found.append(broken)
    except Exception as raised:  # whatever the user's code raises, or JAX of it
        found.append(_raised(raised, dtype))
    yield from found


def _raised(problem: Exception, dtype: Any) -> ContractBroken:
    text = f"{type(problem).__name__} for {dtype} arguments: {first_line(problem)}"
    return ContractBroken("raises", text)


def _same_form(what: str, got: Any, expected: Any) -> Iterator[ContractBroken | None]:
    found, tree = jax.tree.flatten(got)
    wanted, other = jax.tree.flatten(expected)
    if tree != other:
        yield ContractBroken("structure", f"expected a {what} of tree {other}, got {tree}")
        return
    for a, b in zip(found, wanted, strict=True):
        if jnp.shape(a) != b.shape:
            yield ContractBroken(
                "shape", f"expected a {what} of shape {b.shape}, got {jnp.shape(a)}"
            )
        elif jnp.result_type(a) != b.dtype:
            yield ContractBroken(
                "dtype", f"expected a {what} of dtype {b.dtype}, got {jnp.result_type(a)}"
            )
        yield None


def _cotangent_form(what: str, arg: Any, cotangent: Any) -> Iterator[ContractBroken | None]:
    """Shape and dtype of each leaf; float0, None or nothing for what has no gradient."""
    if cotangent is None or arg is None:
        yield None
        return
    none = lambda x: x is None  # noqa: E731
    for a, c in zip(
        jax.tree.leaves(arg, is_leaf=none), jax.tree.leaves(cotangent, is_leaf=none), strict=True
    ):
        if c is None or a is None:
            continue
        shape, dtype = jnp.shape(a), jnp.result_type(a)
        if jnp.shape(c) != shape:
            yield ContractBroken(
                "shape",
                f"expected the cotangent of {what} to have shape {shape}, got {jnp.shape(c)}",
            )
        elif is_floating(dtype) and jnp.result_type(c) != dtype:
            yield ContractBroken(
                "dtype",
                f"expected the cotangent of {what} to have dtype {dtype}, got {jnp.result_type(c)}",
            )
        elif not is_floating(dtype) and c.dtype != jax.dtypes.float0:
            yield ContractBroken(
                "dtype",
                f"expected the cotangent of {what}, of {dtype}, to have "
                f"dtype float0, got {c.dtype}: return None or float0 zeros",
            )
        yield None


def _linear_and_paths(problem: Problem, rng: np.random.Generator) -> Iterator:
    """Linearity in the cotangent; and jit, vmap and scan give what the eager call gives."""
    points = [problem.draw(rng, "normal") for _ in range(2)]
    shape = problem.values_shape()
    dys = [problem.cotangents(shape, rng, "normal") for _ in points]
    flipped = [c * np.resize([3.0, -1.0, 2.0], c.shape) for c in dys[0]]
    scaled = [[c * factor for c in dys[0]] for factor in (0.0, *_FACTORS)]
    xs = [points[0], points[1], *[points[0]] * (2 + len(_FACTORS))]
    ds = [dys[0], dys[1], flipped, *scaled]
    stacked = [[np.stack(x) for x in zip(*group, strict=True)] for group in (xs, ds)]
    vmapped = problem.compiled(*stacked)[0]
    rows = [jax.tree.map(lambda x, i=i: x[i], vmapped) for i in range(len(xs))]
    yield from _linear(*(row[1] for row in (rows[0], *rows[2:])))
    first = jax.device_put(xs[0])
    for call in ("the eager call", "a second eager call"):
        eager = problem.ours(first, jax.device_put(ds[0]))
        yield from _agree(f"vmap under jit differs from {call}", eager, rows[0])
    primal = problem.subject.forward(*problem.arguments(first))
    text = "the function's own value differs from its fwd"
    yield from _agree(text, floating_leaves(primal), rows[0][0], "value")
    if "batches itself" not in problem.kept:  # the same for every seed, and slow to print
        problem.kept["batches itself"] = _batches_itself(problem.traced.ours.jaxpr)
    # otherwise a scan runs the very program that vmap ran: a difference would be JAX's
    if problem.kept["batches itself"]:
        scanned = problem.compiled_scan(*stacked)
        yield from _agree("scan under jit differs from vmap", vmapped, scanned)
        yield from _each_alone(problem, stacked)


# Primitives whose batching is written by hand; JAX's own are batched right, one by one and together
_OWN_BATCHING = ("custom_vmap", "callback", "ffi_call", "pallas_call")


def _batches_itself(jaxpr: Any) -> bool:
    text = str(jaxpr)
    return any(name in text for name in _OWN_BATCHING)


def _each_alone(problem: Problem, stacked: list[list]) -> Iterator:
    """vmap over each argument alone gives what it gives where the others are repeated."""
    arrays = [*stacked[0], *stacked[1]]
    n = len(stacked[0])

    def program(*xs: Any) -> Any:
        return problem.split(problem.traced.ours, xs[:n], xs[n:])

    for k in range(len(arrays)):
        mixed = [x if i == k else np.stack([x[0]] * len(x)) for i, x in enumerate(arrays)]
        alone = [x if i == k else x[0] for i, x in enumerate(arrays)]
        axes = tuple(0 if i == k else None for i in range(len(arrays)))
        one = jax.vmap(program, in_axes=axes)(*alone)
        text = f"vmap over input {k} alone differs from vmap over all"
        yield from _agree(text, jax.vmap(program)(*mixed), one)


_FACTORS = (2.0, -1.0, 2.0**-40, 2.0**40)


def _linear(once: list, flipped: list, zero: list, *scaled: list) -> Iterator:
    """Zero to zero, powers of two exactly, and another cotangent another result."""
    if any(np.any(np.isnan(x)) for x in zero):
        yield ContractBroken("nan", "a zero cotangent must give exactly zero, got NaN")
    nothing = not any(np.any(x != 0) for x in once)
    if not nothing and all(map(np.array_equal, once, flipped)):
        yield ContractBroken("cotangent", "the gradient ignores the incoming cotangent")
    yield None
    if any(np.any(x != 0) for x in zero):
        yield ContractBroken("linearity", "a zero cotangent must give exactly zero")
    yield None
    for factor, results in zip(_FACTORS, scaled, strict=True):
        for x, y in zip(once, results, strict=True):
            if not np.allclose(y, factor * x, rtol=1e-14, atol=0, equal_nan=True):
                yield ContractBroken(
                    "linearity",
                    "the gradient must be linear in the cotangent: "
                    f"{factor:g} times dy did not give {factor:g} times the "
                    "result",
                )
            yield None


def _agree(path: str, want: Any, got: Any, kind: str = "paths") -> Iterator[ContractBroken | None]:
    for a, b in zip(jax.tree.leaves(want), jax.tree.leaves(got), strict=True):
        a, b = np.asarray(a), np.asarray(b)
        scale = np.max(np.abs(a), initial=0.0, where=np.isfinite(a))
        if a.shape != b.shape or not np.allclose(
            a, b, rtol=PATHS, atol=PATHS * 1e-3 * scale, equal_nan=True
        ):
            rounded = a.shape == b.shape and np.allclose(
                a, b, rtol=ROUNDED, atol=ROUNDED * scale, equal_nan=True
            )
            yield ContractBroken("precision" if rounded else kind, path)
        yield None
