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
      domain: "real", "positive", "nonzero", "unit" (between 0 and 1), "probability" (0 and 1 too),
        "labels" (0, 1 and between); along the last axis "simplex" (sums to one), "weights" (soft
        labels of any sum, one-hot among them), "onehot" (one 1, else 0) and "sorted" (strictly
        increasing, as knots are); over the last two "definite" (symmetric positive definite
        matrices); "integers" (0 .. below - 1), "key" (of jax.random), "none", or "static" (a value
        that is no array and is passed as it is).
      below: the number of classes, for integers.
      kind: the dtype of integers; "bool" for booleans.
      value: what is static.

    Raises:
      ValueError: there is no such domain, or no array of that shape is in it.

    Example:
      >>> Spec((3, 4), "definite")
      Traceback (most recent call last):
      ValueError: Spec: expected square matrices (..., n, n) for definite, got shape (3, 4): ...
    """

    shape: tuple[int, ...] = ()
    domain: str = "real"
    below: int = 0
    kind: str = "int32"
    value: Any = None

    def __post_init__(self):
        known = (*DOMAINS, "integers", "key", "none", "static")
        if self.domain not in known:
            raise ValueError(
                f"Spec: expected a domain of {', '.join(known)}, got {self.domain!r}: "
                "real takes any number"
            )
        if not isinstance(self.shape, tuple):
            raise ValueError(
                f"Spec: expected the shape as a tuple, got {self.shape!r}: write Spec((3,))"
            )
        if self.domain in ("simplex", "weights", "onehot", "sorted") and not self.shape:
            raise ValueError(
                f"Spec: expected at least one axis for {self.domain}, got shape (): "
                "it is a property of the last axis"
            )
        if self.domain in ("simplex", "weights", "onehot") and self.shape[-1] == 0:
            raise ValueError(
                f"Spec: expected at least one class for {self.domain}, got shape {self.shape}: "
                "an empty row has none"
            )
        if self.domain == "definite" and (len(self.shape) < 2 or self.shape[-1] != self.shape[-2]):
            raise ValueError(
                f"Spec: expected square matrices (..., n, n) for definite, got shape {self.shape}: "
                "make the last two axes equal"
            )

    @property
    def structured(self) -> bool:
        """Whether its entries belong together, so that moving one of them leaves the domain."""
        return self.domain in ("onehot", "sorted", "definite")

    def contains(self, x: Any) -> bool:
        """Whether an array that the search has made is still one of this specification.

        Of a simplex, and of labels of any sum, only the sign is asked: moving one entry to a
        threshold is how their sum is tested.
        """
        match self.domain:
            case "positive":
                return bool(np.all(x > 0))
            case "unit":
                return bool(np.all((x > 0) & (x < 1)))
            case "labels":
                return bool(np.all((x >= 0) & (x <= 1)))
            case "simplex" | "weights":
                return bool(np.all(x >= 0))
            case "nonzero":
                return bool(np.all(x != 0))
            case "probability":
                return bool(np.all((x >= 0) & (x <= 1)))
            case "onehot":
                return bool(np.all((x == 0) | (x == 1)) and np.all(x.sum(-1) == 1))
            case "sorted":
                return bool(np.all(np.diff(x) > 0))
            case "definite":
                return np.array_equal(x, np.swapaxes(x, -1, -2)) and bool(
                    np.all(np.linalg.eigvalsh(x) > 0)
                )
        return True


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


def _nonzero(x: np.ndarray, rng: np.random.Generator, style: str) -> np.ndarray:
    return np.where(x == 0, np.copysign(1.0, x), x)


def _probability(x: np.ndarray, rng: np.random.Generator, style: str) -> np.ndarray:
    """Both ends, and numbers next to them."""
    if style in ("special", "ties"):
        return np.clip(x, 0, 1)
    near = np.abs(x) / (1 + np.abs(x))
    return np.where(rng.integers(0, 2, x.shape), near, 1 - near) if style == "wide" else near


def _onehot(x: np.ndarray, rng: np.random.Generator, style: str) -> np.ndarray:
    if style == "equal":  # one class for all rows of a point
        one = (len(x), *(1 for _ in x.shape[1:-1]))
        classes = np.broadcast_to(rng.integers(0, x.shape[-1], one), x.shape[:-1])
    else:
        classes = rng.integers(0, x.shape[-1], x.shape[:-1])
    return np.eye(x.shape[-1])[classes]


def _sorted(x: np.ndarray, rng: np.random.Generator, style: str) -> np.ndarray:
    """From a start on, gaps of one size or of many; float32 keeps apart what lies 1/32 apart."""
    gaps = np.clip(np.abs(x), 1.0 if style in ("round", "equal") else 1 / 32, 4)
    return np.clip(x[..., :1], -64, 64) + np.cumsum(gaps, axis=-1)


def _definite(x: np.ndarray, rng: np.random.Generator, style: str) -> np.ndarray:
    """Well conditioned, then graded; of whole numbers; with equal eigenvalues."""
    n = x.shape[-1]
    one = np.eye(n)
    clipped = np.clip(x, -3, 3)
    match style:
        case "round":  # of determinant 1
            lower = np.tril(np.sign(x), -1) + one
            return lower @ np.swapaxes(lower, -1, -2)
        case "ties" | "equal":
            return one * rng.choice([0.5, 1.0, 2.0], (len(x), *(1 for _ in x.shape[1:])))
    matrix = clipped @ np.swapaxes(clipped, -1, -2) / max(n, 1) + 0.5 * one
    if style in ("wide", "special"):  # rounding an entry moves no eigenvalue below 0
        size = 10.0 ** rng.uniform(-2, 2, (*x.shape[:-1], 1))
        matrix = size * matrix * np.swapaxes(size, -1, -2)
    return (matrix + np.swapaxes(matrix, -1, -2)) / 2


def _softmax(x: np.ndarray) -> np.ndarray:
    e = np.exp(x - x.max(-1, keepdims=True, initial=-np.inf))
    return e / e.sum(-1, keepdims=True)


DOMAINS = {
    "real": lambda x, rng, style: x,
    "positive": _positive,
    "nonzero": _nonzero,
    "unit": _unit,
    "probability": _probability,
    "labels": _labels,
    "simplex": _simplex,
    "weights": _weights,
    "onehot": _onehot,
    "sorted": _sorted,
    "definite": _definite,
}
