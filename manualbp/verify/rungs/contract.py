"""The first rung: the form of a backward pass, whatever its numbers."""

from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from manualbp.verify.ask.domains import INTEGRAL
from manualbp.verify.ask.problem import Problem, first_line, mapped, value_parts
from manualbp.verify.ask.subject import ContractBroken
from manualbp.verify.numbers.wide import narrow, widened

DTYPES = ("float16", "bfloat16", "float32", "float64")

# Two evaluations of one formula, compiled differently, in float64: contraction and reordering of
# sums. A difference beyond it is looked at; it is no measure of correctness.
PATHS = 1e-9
# The difference that a rounding to float32 makes, or a few of them
ROUNDED = 1e-5


def check_form(problem: Problem) -> int:
    """Raise ContractBroken where trees, shapes or dtypes are wrong; return how many were right."""
    return _first(form(problem))


def check_paths(problem: Problem, points: list, linear: bool | None = True) -> int:
    """Raise ContractBroken where it is not linear in the cotangent, or depends on how it is called.

    Args:
      problem: what is checked.
      points: two ordinary points of the domain, stacked: leaves, then cotangents.
      linear: whether it must be linear in the cotangent; else odd, and linear in small ones (what
        clips is); None where anything is allowed.
    """
    return _first(_linear_and_paths(problem, points, linear))


def _first(findings: Iterable[ContractBroken | None]) -> int:
    held = 0
    for finding in findings:
        held += 1
        if finding is not None:
            raise finding
    return held


def portability(problem: Problem) -> dict[str, str]:
    """What the form is in the other floating dtypes: why it is broken there, by dtype."""
    found = {}
    for dtype in DTYPES:
        if problem.dtype == np.dtype(dtype):
            continue
        specs = [
            replace(s, dtype=dtype) if s.domain not in _NOT_FLOATING else s for s in problem.specs
        ]
        try:
            other = problem.with_specs(specs)
            broken = next((b for b in form(other) if b is not None), None)
        except Exception:  # the definition itself has no form in this dtype
            continue
        if broken is not None:
            found[dtype] = str(broken)
    return found


_NOT_FLOATING = (*INTEGRAL, "key", "none", "static")


def form(problem: Problem) -> list[ContractBroken | None]:
    """Trees, shapes and dtypes in the dtypes asked for, found by tracing: nothing is compiled."""
    if problem.formed is None:
        problem.formed = _form(problem)
    return problem.formed


def _form(problem: Problem) -> list[ContractBroken | None]:
    with problem.mode():
        try:
            y = jax.eval_shape(
                lambda *xs: problem.subject.forward(*problem.arguments(xs)), *problem.leaf_forms
            )
        except ContractBroken as broken:
            return [broken]
        except Exception as raised:
            return [_raised(raised, problem)]
        same = list(_same_form("value", y, problem.value_shape))
    if any(finding is not None for finding in same):
        return same
    found: list[ContractBroken | None] = []

    def inspect(args: tuple, y: Any, given: Any) -> None:
        found.append(None)
        for i, (arg, cotangent) in enumerate(zip(args, given, strict=True)):
            found.extend(_cotangent_form(problem.argument(i), arg, cotangent))

    try:
        problem.trace_ours(inspect)
    except ContractBroken as broken:
        found.append(broken)
    except Exception as raised:  # whatever the user's code raises, or JAX of it
        found.append(_raised(raised, problem))
    return same + found


def _raised(error: Exception, problem: Problem) -> ContractBroken:
    text = f"{type(error).__name__} for {problem.dtype} arguments: {first_line(error)}"
    if isinstance(
        error, jax.errors.ConcretizationTypeError | jax.errors.TracerArrayConversionError
    ):
        return ContractBroken("untraceable", text)
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
        if c is None or a is None or not hasattr(a, "dtype"):
            continue
        if getattr(a, "weak_type", False) and jnp.issubdtype(jnp.result_type(c), jnp.floating):
            continue  # a Python number has the dtype of what it meets
        shape, dtype = jnp.shape(a), jnp.result_type(a)
        if jnp.shape(c) != shape:
            yield ContractBroken(
                "shape",
                f"expected the cotangent of {what} to have shape {shape}, got {jnp.shape(c)}",
            )
        elif jnp.issubdtype(dtype, jnp.inexact) and jnp.result_type(c) != dtype:
            yield ContractBroken(
                "dtype",
                f"expected the cotangent of {what} to have dtype {dtype}, got {jnp.result_type(c)}",
            )
        elif not jnp.issubdtype(dtype, jnp.inexact) and c.dtype != jax.dtypes.float0:
            yield ContractBroken(
                "dtype",
                f"expected the cotangent of {what}, of {dtype}, to have "
                f"dtype float0, got {c.dtype}: return None or float0 zeros",
            )
        yield None


def _linear_and_paths(problem: Problem, points: list, linear: bool | None) -> Iterator:
    """Linearity in the cotangent; and jit, vmap and scan give what the eager call gives."""
    n = len(problem.parts)
    xs, dys = [x[0] for x in points[:n]], [c[0] for c in points[n:]]
    flipped = [c * np.resize([3.0, -1.0, 2.0], c.shape) for c in dys]
    scaled = [[c * factor for c in dys] for factor in (0.0, *_FACTORS)]
    rows = [[*xs, *dys], [x[1] for x in points], [*xs, *flipped], *([*xs, *c] for c in scaled)]
    stacked = [np.stack(x) for x in zip(*rows, strict=True)]
    vmapped = problem.run(stacked)[0]
    each = [jax.tree.map(lambda x, i=i: x[i], vmapped) for i in range(len(rows))]
    if linear is not None and not any(np.any(np.isnan(x)) for x in vmapped[0]):
        yield from _linear(linear, *(row[1] for row in (each[0], *each[2:])))
    yield from _same_primal(problem, rows[0])
    if batches_itself(problem.traced.ours.jaxpr):
        program = mapped(widened(problem.traced.ours))
        scanned = jax.jit(lambda *ys: jax.lax.map(lambda y: widened(problem.traced.ours)(*y), ys))
        # a kernel that computes in its own dtype rounds there, in another order each time
        near = _eps_inside(problem) ** 0.6 if narrow(problem.traced.ours) else PATHS
        mapped_ones, ones = program(*stacked), scanned(*stacked)
        yield from _agree("scan under jit differs from vmap", mapped_ones, ones, near=near)
        yield from _each_alone(problem, stacked, near)


def _same_primal(problem: Problem, point: list) -> Iterator:
    """Two eager calls give what the traced program gives, and the function what its fwd gives."""
    n = len(problem.parts)
    given = problem.asked(point)
    with problem.mode():
        beside = [np.stack([x, *(x * s for s in _NUDGES)]) if x.dtype.kind in "fV" else
                  np.stack([x] * (1 + len(_NUDGES))) for x in given]  # fmt: skip
        stacked = problem.native(beside)[0]
        traced = [[x[0] for x in xs] for xs in stacked]
        # of a program that is ill conditioned there, every way of compiling gives another result
        slack = [[16 * np.abs(x - x[0]).max(axis=0) for x in xs] for xs in stacked]
        # compiled in other ways a program rounds otherwise, in the dtype that it has
        tolerance = _eps_inside(problem) ** 0.6
        leaves = [
            jax.device_put(x) if isinstance(x, np.ndarray) else jnp.asarray(x)
            for x in problem.concrete(given[:n])
        ]
        dys = jax.device_put(given[n:])
        again = [problem.ours(leaves, dys) for _ in range(2)]
        primal = value_parts(problem.subject.forward(*problem.arguments(leaves)))
    # outside of the mode: whoever takes the first finding alone must not stay in it
    for call, ours in zip(("the eager call", "a second eager call"), again, strict=True):
        path = f"a traced call differs from {call}"
        yield from _agree(path, ours, traced, "paths", tolerance, 1.0, slack)
    text = "the function's own value differs from its fwd"
    # where the function has no value, its fwd may have any
    there = [np.where(np.isnan(x), x, y) for x, y in zip(primal, traced[0], strict=True)]
    yield from _agree(text, primal, there, "value", tolerance, 1.0, slack[0])


# Arguments beside a point, a rounding or two of float32 away
_NUDGES = (1 + 2.0**-23, 1 - 2.0**-23, 1 + 2.0**-22, 1 - 2.0**-22)


def _eps_inside(problem: Problem) -> float:
    """Of the narrowest dtype that the rule computes in."""
    text = str(problem.traced.ours.jaxpr)
    inside = [d for d, short in (("bfloat16", "bf16["), ("float16", " f16[")) if short in text]
    return max(float(jnp.finfo(d).eps) for d in (problem.dtype, *inside))


# Primitives whose batching is written by hand; JAX's own are batched right, one by one and together
_OWN_BATCHING = ("custom_vmap", "ffi_call", "pallas_call")


def batches_itself(jaxpr: Any) -> bool:
    text = str(jaxpr)
    return any(name in text for name in _OWN_BATCHING)


def _each_alone(problem: Problem, stacked: list, near: float) -> Iterator:
    """vmap over each argument alone gives what it gives where the others are repeated."""
    program = widened(problem.traced.ours)
    for k in range(len(stacked)):
        mixed = [x if i == k else np.stack([x[0]] * len(x)) for i, x in enumerate(stacked)]
        alone = [x if i == k else x[0] for i, x in enumerate(stacked)]
        axes = tuple(0 if i == k else None for i in range(len(stacked)))
        text = f"vmap over input {k} alone differs from vmap over all"
        try:
            one, all_ = jax.vmap(program, in_axes=axes)(*alone), jax.vmap(program)(*mixed)
        except Exception:  # a kernel that cannot be mapped, or not in 64-bit mode
            continue
        yield from _agree(text, all_, one, near=near)


_FACTORS = (2.0, -1.0, 2.0**-40, 2.0**40, 2.0**-41)


def _linear(linear: bool, once: list, flipped: list, zero: list, *scaled: list) -> Iterator:
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
    references = [(once, factor) for factor in _FACTORS]
    if not linear:  # what clips is odd, and linear where it does not clip yet
        small = scaled[2]
        references = [(scaled[0], 1.0), (once, -1.0), (small, 1.0), (scaled[3], 1.0), (small, 0.5)]
    for (reference, factor), results in zip(references, scaled, strict=True):
        for x, y in zip(reference, results, strict=True):
            if not np.allclose(y, factor * x, rtol=1e-14, atol=0, equal_nan=True):
                yield ContractBroken(
                    "linearity",
                    "the gradient must be linear in the cotangent: "
                    f"{factor:g} times dy did not give {factor:g} times the "
                    "result",
                )
            yield None


def _agree(
    path: str, want: Any, got: Any, kind: str = "paths", near: float = PATHS, zero: float = 1e-3,
    slack: Any = None,
) -> Iterator[ContractBroken | None]:  # fmt: skip
    free = jax.tree.leaves(slack) if slack is not None else [0.0] * len(jax.tree.leaves(want))
    for a, b, more in zip(jax.tree.leaves(want), jax.tree.leaves(got), free, strict=True):
        a, b = (np.asarray(x).astype(np.float64) for x in (a, b))
        scale = np.max(np.abs(a), initial=0.0, where=np.isfinite(a))
        if a.shape != b.shape or not np.allclose(
            a, b, rtol=near, atol=near * zero * scale + np.nan_to_num(more), equal_nan=True
        ):
            rounded = a.shape == b.shape and np.allclose(
                a, b, rtol=ROUNDED, atol=ROUNDED * scale, equal_nan=True
            )
            yield ContractBroken("precision" if rounded else kind, path)
        yield None
