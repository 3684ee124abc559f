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
from manualbp.verify._arb import precision
from manualbp.verify._interpreter import Straddles, is_floating
from manualbp.verify._problem import Problem, mode_of

# Points whose truth is moved together
_CHUNK = 8
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

    @property
    def worst(self) -> float:
        """Of the rule, in ULPs."""
        return max(self.value.ulps, self.gradient.ulps)


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
      points: how many sets of arguments; enough for some 500 entries if None.
      seed: of the inputs.
    """
    kind = jnp.dtype(dtype)
    points = points or (80 if _entrywise(problem) else 32)
    rng = np.random.default_rng(seed)
    leaves, cotangents = _inputs(problem, kind, points, rng)
    got, others = _run(problem, peer, leaves, cotangents, kind)
    truth = _Truth(problem, [*leaves, *cotangents], kind, rng)
    kink = _kink(problem, rule, leaves)
    worst = []
    for first, results in ((0, got[0]), (len(got[0]), got[1]), (len(got[0]), others)):
        found = [
            _worst(array, truth, first + k, _smooth(kink, array), leaves)
            for k, array in enumerate(results)
        ]
        worst.append(max(found, key=lambda e: e.ulps, default=Error()))
    value, gradient, autodiff = worst
    return Accuracy(value, gradient, autodiff, int(np.prod(leaves[0].shape)) if leaves else 0)


def _kink(problem: Problem, rule: Rule, leaves: list) -> np.ndarray | None:
    """What is 0 at a kink, at every point; None where the rule has none."""
    zeros = rule.kink
    if zeros is None:
        return None
    with jax.enable_x64(True):
        return np.asarray(jax.vmap(lambda *xs: zeros(*problem.arguments(xs)))(*leaves))


def _smooth(kink: np.ndarray | None, array: np.ndarray) -> np.ndarray:
    """Where the rule is differentiable: at a kink, conventions differ and no error is counted."""
    if kink is None or kink.shape != array.shape:
        return np.ones(array.shape, bool)
    return kink != 0


def _inputs(
    problem: Problem, kind: Any, points: int, rng: np.random.Generator
) -> tuple[list, list]:
    leaves = problem.draw_styles(rng, points)
    cotangents = problem.cotangents_styles(problem.values_shape(), rng, points)
    if _entrywise(problem):
        cotangents = [np.ones_like(x) for x in cotangents]
    return [_representable(x, kind) for x in leaves], [_representable(x, kind) for x in cotangents]


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
    traced = problem.trace_ours(kind)

    def program(xs, ds):
        ours = problem.split(traced, xs, ds)
        return ours, problem.pull_of(peer, xs, ds) if peer is not None else []

    def cast(x):
        return x.astype(kind) if is_floating(x.dtype) else x

    with mode_of(kind):
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
        self.rows = self._at(arrays)
        self._moved: dict[int, tuple] = {}
        # two doubles hold each result to 100 bits, which is plenty beside the dtype's
        self.high, self.low = [], []
        for leaf in range(len(self.rows[0])):
            balls = np.stack([row[leaf] for row in self.rows])
            high = _exact.floats(balls)
            finite = np.isfinite(high)
            with precision(256):
                rest = [
                    float(b - arb(h)) if ok else 0.0
                    for b, h, ok in zip(balls.ravel(), high.ravel(), finite.ravel(), strict=True)
                ]
            self.high.append(high)
            self.low.append(np.reshape(rest, high.shape))

    def _at(self, arrays: list) -> list:
        found = _exact.run_many(self.problem.traced.truth, arrays)
        for row in found:
            if isinstance(row, Straddles):
                raise row
        return found

    def error(self, got: np.ndarray, leaf: int) -> np.ndarray:
        """|got - truth|, where both are finite; inf where only the truth is."""
        with np.errstate(all="ignore"):
            far = np.abs((got - self.high[leaf]) - self.low[leaf])
        return np.where(np.isfinite(got), far, np.inf)

    def spread(self, leaf: int, index: tuple) -> float:
        """How far the truth moves when every input moves by half a ULP."""
        row, at = index[0], index[1:]
        if row not in self._moved:
            rows = np.arange(
                row // _CHUNK * _CHUNK, min((row // _CHUNK + 1) * _CHUNK, len(self.rows))
            )
            moved = [self._at([x[rows] for x in m]) for m in self.moved_arrays]
            self._moved.update(zip(rows.tolist(), zip(*moved, strict=True), strict=True))
        with precision(256):
            far = [abs(float(m[leaf][at] - self.rows[row][leaf][at])) for m in self._moved[row]]
        return max(far) / self.many if np.all(np.isfinite(far)) else 0.0


def _worst(got: np.ndarray, truth: _Truth, leaf: int, smooth: np.ndarray, leaves: list) -> Error:
    limits = jnp.finfo(truth.kind)
    tiny, largest = float(limits.tiny), float(limits.max)
    size = np.abs(truth.high[leaf])
    # a factor of what is smallest was flushed to zero
    flushed = (size < 16 * tiny) & (np.abs(got) <= 16 * tiny)
    counted = np.isfinite(size) & smooth & (size <= largest) & ~flushed
    error = truth.error(got, leaf)
    unit = _spacing(size, limits)
    ulps = np.where(counted, error / unit, 0.0)
    worst = Error()
    for flat in np.argsort(-ulps, axis=None):
        index = tuple(map(int, np.unravel_index(flat, ulps.shape)))
        found = float(ulps[index])
        if not found > worst.ulps:
            break
        if np.isfinite(found) and found > 1:
            spread = truth.spread(leaf, index)
            if not truth.entrywise or spread > _ROOT * unit[index]:
                found = float(error[index]) / max(unit[index], spread)
        if found > worst.ulps:
            worst = Error(found, _place(leaves, index))
    return worst


def _spacing(size: np.ndarray, limits: Any) -> np.ndarray:
    """One unit in the last place of numbers of that size."""
    exponent = np.frexp(size)[1] - 1
    return np.ldexp(1.0, np.maximum(exponent, limits.minexp) - limits.nmant)


def _place(leaves: list, index: tuple) -> str:
    """The entry of each argument that an entry of the result depends on, or its whole point."""
    parts = []
    for x in leaves:
        same = x.ndim == len(index) and all(i < n for i, n in zip(index, x.shape, strict=True))
        parts.append(f"{x[index]:.6g}" if same else str(np.round(x[index[0]], 6).tolist()))
    return ", ".join(parts)
