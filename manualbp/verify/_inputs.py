"""Inputs that reach the bug: many scales, specials, ties, zeros, every kind of label."""

from dataclasses import dataclass
from typing import Any

import jax
import numpy as np

# The points that functions of one variable break at: kinks and clips in use, the tails of the
# exponential in each dtype, subnormals, the largest numbers whose square still fits.
SPECIAL = np.array(
    [0.0, -0.0, 1.0, -1.0, 0.5, -0.5, 2.0, -2.0, 3.0, -3.0, 6.0, -6.0, 1e-3, -1e-3, 1e-8, -1e-8,
     1e-30, -1e-30, 1e-38, 9.0, -9.0, 17.0, -17.0, 20.0, -20.0, 40.0, -40.0, 88.0, -88.0, 100.0,
     -100.0, 710.0, -710.0, 800.0, -800.0, 1e4, -1e4, 1e10, -1e10, 1e18, -1e18]
)  # fmt: skip


@dataclass(frozen=True)
class Spec:
    """An argument to be made: its shape, and the domain of its values.

    Attributes:
      shape: of the array.
      domain: "real", "positive", "unit" (between 0 and 1), "labels" (0, 1 and between),
        "simplex" (sums to one), "weights" (soft labels of any sum, one-hot among them),
        "integers" (0 .. below - 1), "key" (of jax.random), "none", or "static" (a value that is
        no array and is passed as it is).
      below: the number of classes, for integers.
      kind: the dtype of integers; "bool" for booleans.
      value: what is static.
    """

    shape: tuple[int, ...] = ()
    domain: str = "real"
    below: int = 0
    kind: str = "int32"
    value: Any = None


def spec_of(leaf: Any) -> Any:
    """The specification of a concrete array, from its dtype and values; a Spec as it is."""
    if isinstance(leaf, Spec):
        return leaf
    if jax.dtypes.issubdtype(getattr(leaf, "dtype", np.asarray(leaf).dtype), jax.dtypes.prng_key):
        return Spec((), "key")
    x = np.asarray(leaf)
    if np.issubdtype(x.dtype, np.integer) or x.dtype == bool:
        below = 2 if x.dtype == bool else int(x.max(initial=0)) + 1
        return Spec(x.shape, "integers", below, str(x.dtype))
    return Spec(x.shape)


def draw(spec: Spec, rng: np.random.Generator, style: str, points: int | None = None) -> Any:
    """One array of the specification, in float64, exactly representable in float32.

    With `points`, as many of them, stacked on a leading axis.
    """
    if spec.domain == "none":
        return None
    if spec.domain == "static":
        return spec.value
    if spec.domain == "key":
        return jax.random.key(int(rng.integers(2**31)))
    stack = (1 if points is None else points, *spec.shape)
    if spec.domain == "integers":
        x = rng.integers(0, max(spec.below, 1), stack).astype(spec.kind)
    else:
        x = DOMAINS[spec.domain](_real(stack, rng, style), rng, style)
        x = np.asarray(x, np.float32).astype(np.float64)
    return x[0] if points is None else x


def draw_styles(spec: Spec, rng: np.random.Generator, points: int) -> np.ndarray:
    """A stack of arrays whose styles take turns, as STYLES has them."""
    out: Any = None
    for k, style in enumerate(STYLES):
        x = draw(spec, rng, style, len(range(k, points, len(STYLES))))
        if out is None:
            out = np.empty((points, *spec.shape), x.dtype)
        out[k :: len(STYLES)] = x
    return out


STYLES = ("round", "normal", "ties", "special", "wide", "scaled", "equal", "tails")


def _real(shape: tuple[int, ...], rng: np.random.Generator, style: str) -> np.ndarray:
    one = (shape[0], *(1 for _ in shape[1:]))  # a number for all entries of a point
    match style:
        case "round":  # what a counterexample should be made of
            return rng.integers(-3, 4, shape).astype(float)
        case "ties":
            return rng.integers(-1, 2, shape) * rng.choice([0.5, 1.0, 2.0], one)
        case "special":
            return rng.choice(SPECIAL, shape)
        case "wide":
            return rng.choice([-1.0, 1.0], shape) * 10.0 ** rng.uniform(-12, 4, shape)
        case "scaled":
            return rng.normal(size=shape) * 10.0 ** rng.uniform(-3, 3, one)
        case "equal":
            return np.broadcast_to(rng.choice(SPECIAL[:20], one), shape)
        case "tails":
            return rng.uniform(-60, 60, shape)
    return rng.normal(size=shape) * 2


def _positive(x: np.ndarray, rng: np.random.Generator, style: str) -> np.ndarray:
    return np.abs(x) + (np.abs(x) < 1e-12)


def _unit(x: np.ndarray, rng: np.random.Generator, style: str) -> np.ndarray:
    inside = 1 / (1 + np.exp(-np.clip(x, -15, 15)))
    return np.round(inside * 8).clip(1, 7) / 8 if style in ("round", "ties", "equal") else inside


def _labels(x: np.ndarray, rng: np.random.Generator, style: str) -> np.ndarray:
    if style in ("normal", "scaled", "tails"):
        return rng.uniform(0, 1, x.shape)
    return (x > 0).astype(float)


def _simplex(x: np.ndarray, rng: np.random.Generator, style: str) -> np.ndarray:
    if style == "round":  # eighths that sum to one
        return (
            rng.multinomial(8 - x.shape[-1], np.ones(x.shape[-1]) / x.shape[-1], x.shape[:-1]) / 8
            + 1 / 8
            if x.shape[-1] < 8
            else _softmax(x)
        )
    return _softmax(np.clip(x, -12, 12))


def _weights(x: np.ndarray, rng: np.random.Generator, style: str) -> np.ndarray:
    if style in ("round", "tails", "special"):
        return np.eye(x.shape[-1])[rng.integers(0, x.shape[-1], x.shape[:-1])]
    if style in ("ties", "equal"):
        return np.abs(x) % 3
    one = (len(x), *(1 for _ in x.shape[1:]))
    return _softmax(x) * rng.choice([1.0, 1.0, 0.5, 3.0], one)


def _softmax(x: np.ndarray) -> np.ndarray:
    e = np.exp(x - x.max(-1, keepdims=True, initial=-np.inf))
    return e / e.sum(-1, keepdims=True)


DOMAINS = {
    "real": lambda x, rng, style: x,
    "positive": _positive,
    "unit": _unit,
    "labels": _labels,
    "simplex": _simplex,
    "weights": _weights,
}
