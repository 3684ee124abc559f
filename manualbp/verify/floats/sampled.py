"""Rung 5: how well the float code computes its function, in units in the last place (ULPs)."""

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend import core

from manualbp._rule import wide_dtype
from manualbp.verify.ask.domains import in_dtype
from manualbp.verify.ask.problem import Problem
from manualbp.verify.floats.ulps import in_ulps, two_floats, with_terms
from manualbp.verify.numbers.walk import Straddles, is_floating
from manualbp.verify.rungs import exact as _exact


@dataclass(frozen=True)
class Error:
    """The largest error found.

    Attributes:
      ulps: |got - truth| / ulp(truth), where ulp is the spacing of the dtype at the truth; inf
        where the result is NaN or infinite and the truth is not.
      at: the inputs of that entry, as text.
    """

    ulps: float = 0.0
    at: str = ""


@dataclass(frozen=True)
class Accuracy:
    """Errors of one rule in one dtype: of its value, its gradient, and of autodiff's gradient."""

    value: Error
    gradient: Error
    autodiff: Error
    inputs: int

    @property
    def worst(self) -> float:
        """Of the rule, in ULPs."""
        return max(self.value.ulps, self.gradient.ulps)


def sampled_accuracy(
    problem: Problem,
    dtype: str,
    peer: Callable[..., Any] | None = None,
    points: int = 32,
    seed: int = 0,
) -> Accuracy:
    """The largest errors over sampled inputs, against the definition in exact arithmetic.

    The measure is componentwise: each entry's error in ULPs of its truth or of the sum of the
    magnitudes of its terms, whichever is larger; terms too small for the dtype may be missing. The
    terms are those of the rule's float64 form.

    Args:
      problem: the rule on its arguments in float64.
      dtype: of the arguments that it is measured on.
      peer: what people use today, of the same arguments; its `jax.vjp` is measured beside.
      points: how many sets of arguments.
      seed: of the inputs.
    """
    kind = jnp.dtype(dtype)
    asked = problem.with_specs(in_dtype(problem.specs, kind))
    leaves, cotangents = _inputs(asked, kind, points, np.random.default_rng(seed))
    got, others = _run(asked, peer, leaves, cotangents)
    truth = _exact_results(problem, [*leaves, *cotangents])
    terms = _terms(problem, leaves, cotangents)
    worst = []
    for first, results in ((0, got[0]), (len(got[0]), got[1]), (len(got[0]), others)):
        found = [
            _worst(array, truth[first + k], terms[first + k], kind, leaves)
            for k, array in enumerate(results)
        ]
        worst.append(max(found, key=lambda e: e.ulps, default=Error()))
    value, gradient, autodiff = worst
    return Accuracy(value, gradient, autodiff, int(np.prod(leaves[0].shape)) if leaves else 0)


def _inputs(asked: Problem, kind: Any, points: int, rng: np.random.Generator) -> tuple[list, list]:
    leaves, cotangents = asked.draw_styles(rng, points), asked.cotangents_styles(rng, points)
    return [_representable(x, kind) for x in leaves], [_representable(x, kind) for x in cotangents]


def _representable(x: np.ndarray, kind: Any) -> np.ndarray:
    """Values of the dtype, in float64; subnormals as 0, as backends flush them."""
    if not is_floating(x.dtype):
        return x
    limits = jnp.finfo(kind)
    x = np.clip(x, -float(limits.max), float(limits.max))
    x = x.astype(kind).astype(np.float64)
    return np.where(np.abs(x) < float(limits.tiny), 0.0, x)


def _run(asked: Problem, peer: Callable | None, leaves: list, cotangents: list) -> tuple[Any, list]:
    """Our value and gradient, and the peer's gradient, in the dtype."""
    ours = core.jaxpr_as_fun(asked.trace_ours())
    theirs = None
    if peer is not None:  # whose derivative is that of a definition
        args = asked.tree.unflatten(asked.specs)
        theirs = Problem(asked.subject, peer, args, asked.argnums).traced_truth
        assert theirs is not None, "a peer that JAX cannot differentiate"

    def program(*arrays):
        others = core.jaxpr_as_fun(theirs)(*arrays) if theirs is not None else []
        return asked.split(ours(*arrays)), asked.split(others)[1]

    with asked.mode():
        got, others = jax.jit(jax.vmap(program))(*asked.asked([*leaves, *cotangents]))
    return jax.tree.map(_wide, got), jax.tree.map(_wide, others)


def _wide(x: Any) -> np.ndarray:
    return np.asarray(x).astype(np.float64)


def _exact_results(problem: Problem, arrays: list) -> list[tuple[np.ndarray, np.ndarray]]:
    """Each result of the definition as two doubles, which hold it to 100 bits."""
    rows = _exact.run_many(problem.traced.truth, arrays)
    for row in rows:
        if isinstance(row, Straddles):
            raise row
    found = []
    for balls in zip(*rows, strict=True):
        stack = np.stack(balls)
        halves = [two_floats(b) for b in stack.ravel()]
        high, low = (np.reshape([h[k] for h in halves], stack.shape) for k in range(2))
        found.append((high, low))
    return found


def _terms(problem: Problem, leaves: list, cotangents: list) -> list[np.ndarray]:
    """The sum of the magnitudes of the terms of each result, by the float64 form."""
    with problem.mode():
        found = _terms_program(problem)(*leaves, *cotangents)
    return [_wide(x) for x in found[len(found) // 2 :]]


@functools.lru_cache(maxsize=64)
def _terms_program(problem: Problem) -> Callable[..., Any]:
    """Compiled once for all dtypes that are measured."""
    return jax.jit(jax.vmap(with_terms(problem.trace_ours())))


def _worst(got: np.ndarray, truth: tuple, terms: np.ndarray, kind: Any, leaves: list) -> Error:
    limits = jnp.finfo(kind)
    tiny, largest = float(limits.tiny), float(limits.max)
    high, low = truth
    size = np.abs(high)
    counted = np.isfinite(size) & (size <= largest) & ~((got == 0) & (size < tiny))
    with np.errstate(all="ignore"):
        error = np.where(np.isfinite(got), np.abs((got - high) - low), np.inf)
        # a few terms may have been flushed to zero
        error = np.maximum(error - 16 * float(jnp.finfo(wide_dtype(kind)).tiny), 0)
        size = np.fmax(size, np.where(np.isfinite(terms), terms, 0))
        ulps = np.where(counted, in_ulps(error, size, limits), 0.0)
    flat = int(ulps.argmax()) if ulps.size else 0
    if not ulps.size or not ulps.flat[flat] > 0:
        return Error()
    index = tuple(map(int, np.unravel_index(flat, ulps.shape)))
    return Error(float(ulps[index]), _place(leaves, index))


def _place(leaves: list, index: tuple) -> str:
    """The entry of each argument that an entry of the result depends on, or its whole point."""
    parts = []
    for x in leaves:
        same = x.ndim == len(index) and all(i < n for i, n in zip(index, x.shape, strict=True))
        parts.append(f"{x[index]:.6g}" if same else str(np.round(x[index[0]], 6).tolist()))
    return ", ".join(parts)
