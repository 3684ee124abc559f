"""Rung 5: how well the float code computes its function, in units in the last place (ULPs)."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flint import arb

from manualbp._rule import Rule
from manualbp.verify import _exact
from manualbp.verify._arb import Arb, precision
from manualbp.verify._inputs import STYLES
from manualbp.verify._interpreter import evaluate, is_floating, lift
from manualbp.verify._problem import Problem

# A result as badly conditioned as this (a derivative next to its own zero) is measured in the
# change that half a ULP in the inputs makes: no form of fixed precision does better there.
_ROOT = 1000.0


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


def sampled_accuracy(
    problem: Problem,
    rule: Rule,
    dtype: str,
    peer: Callable[..., Any] | None = None,
    points: int | None = None,
    seed: int = 0,
) -> Accuracy:
    """The largest errors over sampled inputs, against the definition in exact arithmetic.

    Args:
      problem: the rule on its arguments. A rule of one vector of shape (n,) is taken entry by
        entry, and measured in ULPs of the truth; others in that or in the change that half a ULP
        in the inputs makes, if larger.
      rule: the rule, which knows its kinks.
      dtype: of the arguments.
      peer: what people use today, of the same arguments; its `jax.vjp` is measured beside.
      points: how many sets of arguments; enough for about 700 entries if None.
      seed: of the inputs.
    """
    kind = jnp.dtype(dtype)
    points = points or (120 if _entrywise(problem) else 56)
    rng = np.random.default_rng(seed)
    leaves, cotangents = _inputs(problem, kind, points, rng)
    got, others = _run(problem, peer, leaves, cotangents, kind)
    truth = _Truth(problem, [*leaves, *cotangents], kind, rng)
    worst = []
    for first, results in ((0, got[0]), (len(got[0]), got[1]), (len(got[0]), others)):
        found = [
            _worst(array, truth, first + k, _smooth(problem, rule, leaves, array), leaves)
            for k, array in enumerate(results)
        ]
        worst.append(max(found, key=lambda e: e.ulps, default=Error()))
    value, gradient, autodiff = worst
    return Accuracy(value, gradient, autodiff, int(np.prod(leaves[0].shape)) if leaves else 0)


def _smooth(problem: Problem, rule: Rule, leaves: list, array: np.ndarray) -> np.ndarray:
    """Where the rule is differentiable: at a kink, conventions differ and no error is counted."""
    zeros = rule.kink
    if zeros is None:
        return np.ones(array.shape, bool)
    with jax.enable_x64(True):
        kink = np.asarray(jax.vmap(lambda *xs: zeros(*problem.arguments(xs)))(*leaves))
    return kink != 0 if kink.shape == array.shape else np.ones(array.shape, bool)


def _inputs(
    problem: Problem, kind: Any, points: int, rng: np.random.Generator
) -> tuple[list, list]:
    drawn = [problem.draw(rng, STYLES[i % len(STYLES)]) for i in range(points)]
    leaves = [_representable(np.stack(x), kind) for x in zip(*drawn, strict=True)]
    with jax.enable_x64(True):
        shape = problem.values_shape()
    ones = _entrywise(problem)
    cotangents = []
    for i in range(points):
        dy = problem.cotangents(shape, rng, "round" if i % 2 else "normal")
        cotangents.append([np.ones_like(x) for x in dy] if ones else dy)
    return leaves, [_representable(np.stack(x), kind) for x in zip(*cotangents, strict=True)]


def _representable(x: np.ndarray, kind: Any) -> np.ndarray:
    """Values of the dtype, in float64; subnormals as 0, as backends flush them."""
    if not is_floating(x.dtype):
        return x
    limits = jnp.finfo(kind)
    x = np.clip(x, -float(limits.max), float(limits.max))
    x = x.astype(kind).astype(np.float64)
    return np.where(np.abs(x) < float(limits.tiny), 0.0, x)


def _run(
    problem: Problem, peer: Callable | None, leaves: list, cotangents: list, kind: Any
) -> tuple[Any, list]:
    """Our value and gradient, and the peer's gradient, in the dtype."""

    def program(xs, ds):
        ours = problem.ours(xs, ds)
        return ours, problem.pull_of(peer, xs, ds) if peer is not None else []

    def cast(x):
        return jnp.asarray(x.astype(kind) if is_floating(x.dtype) else x)

    with jax.enable_x64(kind == np.float64):
        compiled = jax.jit(jax.vmap(program))
        ours, others = compiled(list(map(cast, leaves)), list(map(cast, cotangents)))
    return jax.tree.map(_wide, ours), jax.tree.map(_wide, others)


def _wide(x: Any) -> np.ndarray:
    return np.asarray(x).astype(np.float64)


def _entrywise(problem: Problem) -> bool:
    return len(problem.specs) == 1 and len(problem.specs[0].shape) == 1


class _Truth:
    """The definition's value and gradient in balls at every point, and how inputs move them."""

    def __init__(self, problem: Problem, arrays: list, kind: Any, rng: np.random.Generator):
        self.problem, self.arrays, self.kind = problem, arrays, kind
        self.entrywise = _entrywise(problem)
        # float64 keeps no half of a ULP: move by many, and scale the change down
        self.many = 64 if kind == np.float64 else 1
        step = self.many * float(jnp.finfo(kind).eps) / 2
        self.moved_arrays = [
            [
                x * (1 + step * sign * rng.uniform(0.6, 1, x.shape)) if is_floating(x.dtype) else x
                for sign, x in zip(signs, arrays, strict=True)
            ]
            for signs in np.resize([[1, -1, 1], [1, 1, -1]], (2, len(arrays)))
        ]
        self.exact = self._stack(arrays)
        self.moved: list | None = None
        self.rough: dict[int, list] = {}
        for i in range(len(arrays[0])):
            if not all(_exact.accurate(np.asarray(array[i])) for array in self.exact):
                self.rough[i] = []
                again = self._point(arrays, i)
                for array, row in zip(self.exact, again, strict=True):
                    array[i] = row if row.shape else row.item()

    def _stack(self, arrays: list) -> list[np.ndarray]:
        """All points at once, in 256 bits: a naive formula may lose its digits there."""
        with jax.enable_x64(True), precision(_exact.PRECISIONS[0]):
            jaxpr = self.problem.traced_stack(len(arrays[0]))
            arithmetic = Arb()
            return evaluate(jaxpr, [lift(x, arithmetic.lift) for x in arrays], arithmetic)

    def _point(self, arrays: list, i: int) -> list[np.ndarray]:
        with jax.enable_x64(True):
            return _exact.run(
                self.problem.traced.truth, [x[i] for x in arrays], precisions=_exact.PRECISIONS[1:]
            )

    def spread(self, leaf: int, index: tuple) -> float:
        """How far the truth moves when every input moves by half a ULP."""
        row, at = index[0], index[1:]
        if row in self.rough:
            if not self.rough[row]:
                self.rough[row] = [self._point(m, row) for m in self.moved_arrays]
            moved: list[Any] = [np.asarray(m[leaf])[at] for m in self.rough[row]]
        else:
            if self.moved is None:
                self.moved = [self._stack(m) for m in self.moved_arrays]
            moved = [m[leaf][index] for m in self.moved]
        far = [abs(float(m - self.exact[leaf][index])) for m in moved]
        return max(far) / self.many if np.all(np.isfinite(far)) else 0.0


def _worst(got: np.ndarray, truth: _Truth, leaf: int, smooth: np.ndarray, leaves: list) -> Error:
    limits = jnp.finfo(truth.kind)
    tiny, largest = float(limits.tiny), float(limits.max)
    entries = []
    for index in np.ndindex(got.shape):
        t: Any = truth.exact[leaf][index]
        size = abs(float(t))
        if not (t.is_finite() and smooth[index]) or size > largest:
            continue
        if size < 16 * tiny and abs(got[index]) <= 16 * tiny:
            continue  # a factor of it was flushed to zero
        finite = np.isfinite(got[index])
        error = abs(float(arb(float(got[index])) - t)) if finite else np.inf
        entries.append((error / _spacing(size, limits), error, index, size))
    entries.sort(key=lambda e: -e[0])
    worst = Error()
    for ulps, error, index, size in entries:
        if ulps <= worst.ulps:
            break
        if np.isfinite(ulps) and ulps > 1:
            unit = _spacing(size, limits)
            spread = truth.spread(leaf, index)
            if not truth.entrywise or spread > _ROOT * unit:
                ulps = error / max(unit, spread)
        if ulps > worst.ulps:
            worst = Error(float(ulps), _place(leaves, index))
    return worst


def _spacing(size: float, limits: Any) -> float:
    exponent = np.floor(np.log2(size)) if size > 0 else limits.minexp
    return float(2.0 ** (max(exponent, limits.minexp) - limits.nmant))


def _place(leaves: list, index: tuple) -> str:
    """The entry of each argument that an entry of the result depends on, or its whole point."""
    parts = []
    for x in leaves:
        same = x.ndim == len(index) and all(i < n for i, n in zip(index, x.shape, strict=True))
        parts.append(f"{x[index]:.6g}" if same else str(np.round(x[index[0]], 6).tolist()))
    return ", ".join(parts)
