"""The interpreter against JAX: the same program in balls and, equation by equation, in floats.

A judge that computes in balls of its own asks JAX first whether these are the right ones: a
primitive whose form here is wrong is named, and nobody is accused by it.
"""

import math
from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np
from flint import acb, arb

from manualbp.verify.numbers.arithmetic import (
    Straddles,
    Unsupported,
    as_array,
    has_numbers,
    is_number,
    lift,
    significant_bits,
)
from manualbp.verify.numbers.balls import Arb, precision
from manualbp.verify.numbers.walk import CALLS, CONTROL, evaluate, primitive

# What floats do and real numbers do not
_OTHERWISE = {"reduce_precision", "nextafter", "bitcast_convert_type"}
# How far results may be apart, of the largest entry, by the bits of the lowest precision among
# arguments and results; in fewer bits nothing is compared
_FAR = {53: 1e-6, 24: 1e-3}
_SMALLEST = 1e-200


class _Broken(Exception):
    """An equation that ended in an exception that is no refusal."""


class _Watched(Arb):
    """Balls that keep what they computed, of each equation the first time it is met."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: dict[int, tuple[Any, list, list]] = {}

    def instead(self, eqn: Any, xs: list) -> list | None:
        name = eqn.primitive.name
        if name in CALLS:
            return None
        try:
            results = CONTROL[name](eqn, xs, self) if name in CONTROL else primitive(eqn, xs, self)
        except (Straddles, Unsupported, _Broken):
            raise
        except Exception as error:
            raise _Broken(name) from error
        results = [as_array(x) for x in results]
        if id(eqn) not in self.seen and name not in _OTHERWISE and not eqn.effects:
            self.seen[id(eqn)] = eqn, xs, results
        return results


def disagreement(closed: Any, point: Sequence[np.ndarray], bits: int = 256) -> str | None:
    """The first primitive whose result in balls is not what JAX computes from the same arguments.

    Where rounding the arguments moves the result (a tie, a number next to an integer, an
    ill-conditioned system) or floats overflow, nothing is compared.

    Args:
      closed: a program, traced in float64.
      point: its arguments.
      bits: the precision of the balls.

    Returns:
      Its name; None where all agree, or where the program has no form in balls.
    """
    with jax.enable_x64(True), precision(bits):
        balls = _Watched()
        try:
            evaluate(closed, [lift(np.asarray(x), balls.lift) for x in point], balls)
        except (Straddles, Unsupported):
            return None
        except _Broken as broken:
            return str(broken)
        checked = [entry for entry in balls.seen.values() if _can_be_compared(*entry)]
        given = [
            [_floats(x, v.aval.dtype) for x, v in zip(xs, eqn.invars, strict=True)]
            for eqn, xs, _ in checked
        ]
        run = _in_jax([eqn for eqn, _, _ in checked])
        try:
            truth = run(given)
            moved = [run(_moved(given, seed)) for seed in range(3)]
        except (jax.errors.JaxRuntimeError, NotImplementedError):  # none that this backend has
            return None
    for (eqn, _, results), xs, want, others in zip(
        checked, given, truth, zip(*moved, strict=True), strict=True
    ):
        if all(np.all(np.isfinite(x)) for x in xs if x.dtype.kind in "fc") and not all(
            _agree(got, y, near, eqn) for got, y, *near in zip(results, want, *others, strict=True)
        ):
            return eqn.primitive.name
    return None


def _in_jax(eqns: list) -> Callable[[list], list]:
    """A function of the arguments of equations, each run by itself."""

    def each(given: list) -> list:
        found = []
        for eqn, xs in zip(eqns, given, strict=True):
            out = eqn.primitive.bind(*xs, **eqn.params)
            found.append(list(out) if eqn.primitive.multiple_results else [out])
        return found

    # one program for all, compiled quickly: it runs four times
    compiled = jax.jit(each, compiler_options={"xla_backend_optimization_level": 0})
    return lambda given: jax.tree.map(np.asarray, compiled(given))


def _can_be_compared(eqn: Any, xs: list, results: list) -> bool:
    avals = [v.aval for v in (*eqn.invars, *eqn.outvars)]
    if any(jax.dtypes.issubdtype(a.dtype, jax.dtypes.extended) for a in avals):
        return False
    of_open = any(has_numbers(x) and a.dtype == bool for x, a in zip(xs, avals, strict=False))
    return _bits(eqn) in _FAR and not of_open


def _bits(eqn: Any) -> int:
    """Of the lowest precision among arguments and results."""
    dtypes = [v.aval.dtype for v in (*eqn.invars, *eqn.outvars)]
    return min((significant_bits(t)[0] for t in dtypes if is_number(t)), default=53)


def _floats(x: Any, dtype: Any) -> np.ndarray:
    if not has_numbers(x):
        return np.asarray(x)
    return np.array([_float(v) for v in x.ravel()], dtype).reshape(x.shape)


def _float(x: Any) -> complex:
    if isinstance(x, acb):
        return complex(float(x.real.mid()), float(x.imag.mid()))
    return float(x.mid())


def _moved(given: list, seed: int) -> list:
    """Arguments, each entry moved by a few units in its last place."""
    rng = np.random.default_rng(seed)

    def move(x: np.ndarray) -> np.ndarray:
        if not is_number(x.dtype):
            return x
        step = 8 * 2.0 ** -significant_bits(x.dtype)[0]
        return (x * (1 + step * rng.choice([-1, 1], x.shape))).astype(x.dtype)

    return [[move(x) for x in xs] for xs in given]


def _agree(got: Any, want: np.ndarray, near: list[np.ndarray], eqn: Any) -> bool:
    """Whether a result is what JAX gives, as far as floats can say."""
    if np.shape(got) != want.shape:
        return False
    if not is_number(want.dtype):
        steady = np.all([x == want for x in near], axis=0)
        return bool(np.all((np.asarray(got) == want) | ~steady))
    far = _FAR[_bits(eqn)]
    x = _floats(got, want.dtype)
    finite = np.isfinite(want) & np.all([np.isfinite(y) for y in near], axis=0)
    undefined = np.isnan(want) & np.all([np.isnan(y) for y in near], axis=0)
    if np.any(undefined & ~np.isnan(x)) or np.any(finite & ~np.isfinite(x)):
        return False
    size = np.abs(want[finite]).max(initial=0.0)
    if size < _SMALLEST:  # next to where floats underflow
        return bool(np.all(np.abs(x[finite]) < 2 * _SMALLEST))
    width = np.array([_radius(v) for v in np.ravel(got)]).reshape(want.shape)
    steady = np.all([np.abs(y - want) <= far / 10 * size for y in near], axis=0)
    apart = np.abs(x - want) - width > far * size
    return not np.any(apart & finite & steady)


def _radius(x: Any) -> float:
    if isinstance(x, acb):
        return max(_radius(x.real), _radius(x.imag))
    return float(x.rad()) if isinstance(x, arb) and x.is_finite() else math.inf
