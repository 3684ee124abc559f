"""What is asked about: the shape, dtype and domain of each argument, said or inferred."""

import math
from collections.abc import Callable, Collection
from dataclasses import dataclass, replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from manualbp.verify.ask.points import (
    DOMAINS,
    SPECIAL,
    STYLES,
    draw,
    draw_styles,
    of_ranks,
    ranks,
)

__all__ = [
    "DOMAINS",
    "FLOATING",
    "SPECIAL",
    "STYLES",
    "Spec",
    "describe",
    "draw",
    "draw_styles",
    "in_dtype",
    "infer",
    "spec_of",
]

FLOATING = ("float32", "float64", "float16", "bfloat16", "complex64", "complex128")

_KINDS = tuple(f"{sign}int{bits}" for sign in ("", "u") for bits in (4, 8, 16, 32, 64))
INTEGRAL = ("integers", "permutation", "counts", "offsets", "mask")
_OTHERS = (*INTEGRAL, "key", "none", "static")
_LAST_AXIS = (
    "simplex", "logsimplex", "weights", "onehot", "sorted", "permutation", "counts", "offsets",
    "mask",
)  # fmt: skip
_CLASSES = ("simplex", "logsimplex", "weights", "onehot")
_SQUARE = ("symmetric", "definite")
_BOUNDED = ("interval", "sorted", "symmetric")
# Matrices whose eigenvalues are computed to see whether they are definite
_MOST_ROWS = 512
# More negative integers than these are a range, not marks such as -100
_MOST_MARKS = 4


@dataclass(frozen=True, eq=False, repr=False)
class Spec:
    """An argument to be made: its shape, its dtype, and the domain of its values.

    Attributes:
      shape: of the array.
      domain: of each entry "real", "positive", "negative", "nonnegative", "nonpositive",
        "nonzero", "unit" (between 0 and 1), "probability" (0 and 1 too), "labels" (0, 1 and
        between), "binary" (0 or 1) and "interval" (from `low` to `high`); along the last axis
        "simplex" (sums to one), "logsimplex" (its exponentials do), "weights" (soft labels of any
        sum, one-hot among them), "onehot" (one 1, else 0), "sorted" (strictly increasing, as knots
        are) and "permutation" (of 0 .. n - 1); "distinct" (no entry is there twice); over the last
        two axes "symmetric" and "definite" (symmetric positive definite matrices); "integers"
        (0 .. below - 1), along the last axis "counts" (of groups, which sum to below - 1) and
        "offsets" (of groups, rising from 0 to below - 1) and "mask" (booleans, of kind "bool", a
        True in each row); "key" (of jax.random), "none", or "static" (a value that is no array
        and is passed as it is).
      below: the number of classes, for integers.
      kind: the dtype of integers; "bool" for booleans.
      value: what is static; of a key, the one that was given.
      dtype: the floating dtype that is asked about, "float32" if None; complex ones are real or
        nonzero.
      low: the least entry, itself among them; of an interval, a sorted or symmetric array, and of
        integers in place of 0.
      high: the greatest, likewise.
      values: further integers, such as -100 for a label that is left out.
      distinct: whether no integer is there twice.
      weak: whether it is a plain Python number, which takes the dtype of what it meets.
      note: what `describe` adds.

    Raises:
      ValueError: there is no such domain, or no array of that shape is in it.

    Example:
      >>> Spec((3, 4), "definite")
      Traceback (most recent call last):
      ValueError: Spec: expected square matrices (..., n, n) for definite, got shape (3, 4): ...
      >>> Spec((8,), "interval", dtype="bfloat16", low=-1, high=1).ends
      (-1.0, 1.0)
    """

    shape: tuple[int, ...] = ()
    domain: str = "real"
    below: int = 0
    kind: str = "int32"
    value: Any = None
    dtype: str | None = None
    low: float | None = None
    high: float | None = None
    values: tuple[int, ...] = ()
    distinct: bool = False
    weak: bool = False
    note: str = ""

    def __post_init__(self):
        known = (*DOMAINS, *_OTHERS)
        if self.domain not in known:
            raise ValueError(
                f"Spec: expected a domain of {', '.join(known)}, got {self.domain!r}: "
                "real takes any number"
            )
        if not isinstance(self.shape, tuple):
            raise ValueError(
                f"Spec: expected the shape as a tuple, got {self.shape!r}: write Spec((3,))"
            )
        if self.domain in _LAST_AXIS and not self.shape:
            raise ValueError(
                f"Spec: expected at least one axis for {self.domain}, got shape (): "
                "it is a property of the last axis"
            )
        if self.domain in _CLASSES and self.shape[-1] == 0:
            raise ValueError(
                f"Spec: expected at least one class for {self.domain}, got shape {self.shape}: "
                "an empty row has none"
            )
        if self.domain in _SQUARE and (len(self.shape) < 2 or self.shape[-1] != self.shape[-2]):
            raise ValueError(
                f"Spec: expected square matrices (..., n, n) for {self.domain}, got shape "
                f"{self.shape}: make the last two axes equal"
            )
        self._check_dtype()
        self._check_bounds()
        self._check_integers()

    def _check_dtype(self) -> None:
        if self.dtype is not None and self.dtype not in FLOATING:
            raise ValueError(
                f"Spec: expected a dtype of {', '.join(FLOATING)}, got {self.dtype!r}: integers "
                "have theirs in kind"
            )
        complex_ones = self.domain in DOMAINS and self.floating.kind == "c"
        if complex_ones and self.domain not in ("real", "nonzero"):
            raise ValueError(
                f"Spec: expected real or nonzero as the domain of {self.dtype}, got "
                f"{self.domain!r}: complex numbers have no order"
            )

    def _check_bounds(self) -> None:
        low, high = self.low, self.high
        bounded = (*_BOUNDED, "integers") if high is None else _BOUNDED
        if (low is not None or high is not None) and self.domain not in bounded:
            raise ValueError(
                f"Spec: expected low and high for {', '.join(_BOUNDED)} alone, got them for "
                f"{self.domain}: write Spec(shape, 'interval', low=..., high=...), or below= for "
                "integers"
            )
        if self.domain == "interval" and low is None and high is None:
            raise ValueError("Spec: expected low or high of an interval, got neither: pass low=0")
        if self.domain not in (*_BOUNDED, "distinct"):
            return
        least, most = ranks(np.array(self.ends), self.floating).tolist()
        if least > most or not self.ends[0] <= self.ends[1]:
            raise ValueError(
                f"Spec: expected numbers of {self.floating.name} from low to high, got none from "
                f"{low} to {high}: make it wider"
            )
        needed = {"sorted": self.shape[-1:], "distinct": self.shape}.get(self.domain, ())
        if math.prod(needed) > most - least + 1:
            raise ValueError(
                f"Spec: expected as many different numbers of {self.floating.name} as shape "
                f"{self.shape} has, got {most - least + 1} from {self.ends[0]} to {self.ends[1]}: "
                "make it wider"
            )

    def _check_integers(self) -> None:
        if (self.values or self.distinct) and self.domain != "integers":
            raise ValueError(
                f"Spec: expected values and distinct for integers alone, got them for "
                f"{self.domain}: write Spec(shape, 'integers', below=5, values=(-100,))"
            )
        if self.domain == "mask" and (self.kind != "bool" or not self.shape[-1]):
            raise ValueError(
                f"Spec: expected booleans of at least one column for mask, got {self.kind} of "
                f"shape {self.shape}: write Spec((3, 4), 'mask', kind='bool')"
            )
        if self.integral and self.kind not in (*_KINDS, "bool"):
            raise ValueError(
                f"Spec: expected a kind of {', '.join(_KINDS)} or bool, got {self.kind!r}: "
                "floating arrays have a dtype"
            )
        if not self.integral or self.kind == "bool":
            return
        if self.domain in ("counts", "offsets"):
            least = 1 if self.domain == "counts" else 2
            if self.shape[-1] < least or self.below < 1:
                raise ValueError(
                    f"Spec: expected at least {least} entries and below, one more than the rows, "
                    f"for {self.domain}, got shape {self.shape} and below={self.below}: write "
                    f"Spec((5,), {self.domain!r}, below=129) for 128 rows"
                )
        info, (low, below) = jnp.iinfo(jnp.dtype(self.kind)), self.range
        ends = [*self.values, *((low, below - 1) if below > low else ())]
        if ends and not info.min <= min(ends) <= max(ends) <= info.max:
            raise ValueError(
                f"Spec: expected integers that {self.kind} has, got {min(ends)} to {max(ends)}: "
                "pass another kind"
            )
        if any(low <= v < below for v in self.values):
            raise ValueError(
                f"Spec: expected further values outside {low}..{below - 1}, got {self.values}: "
                "leave out those that are drawn anyway"
            )
        if self.distinct and math.prod(self.shape) > below - low + len(self.values):
            raise ValueError(
                f"Spec: expected as many different integers as shape {self.shape} has, got "
                f"{below - low + len(self.values)}: raise below"
            )

    def __repr__(self) -> str:
        said = [repr(self.shape), *([repr(self.domain)] if self.domain != "real" else [])]
        for name, usual in _USUAL.items():
            value = getattr(self, name)
            if value is not usual and (name == "value" or value != usual):
                said.append(f"{name}={value!r}")
        return f"Spec({', '.join(said)})"

    def _identity(self) -> tuple:
        floating = self.floating.name if self.domain in DOMAINS else ""
        others = tuple(getattr(self, name) for name in _USUAL if name not in ("value", "dtype"))
        return self.shape, self.domain, floating, others, _token(self.value)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Spec) and self._identity() == other._identity()

    def __hash__(self) -> int:
        return hash(self._identity())

    @property
    def floating(self) -> np.dtype:
        """The floating or complex dtype that is asked about."""
        return jnp.dtype(self.dtype or "float32")

    @property
    def integral(self) -> bool:
        """Whether its entries are integers or booleans, of `kind`."""
        return self.domain in INTEGRAL

    @property
    def fixed(self) -> bool:
        """Whether nothing is drawn for it: a key, None, or a static value."""
        return self.domain in ("key", "none", "static")

    @property
    def structured(self) -> bool:
        """Whether its entries belong together, so that moving one of them leaves the domain."""
        return self.domain in (*_LAST_AXIS, *_SQUARE) and self.domain != "weights"

    @property
    def movable(self) -> bool:
        """Whether single entries may be moved to look for thresholds, and then projected."""
        return self.domain not in (*_OTHERS, "onehot", "binary")

    @property
    def scales(self) -> bool:
        """Whether a multiple of an array of it, by a positive number, is one of it too."""
        unbounded = self.low is None and self.high is None
        return unbounded and self.domain in (
            "real", "positive", "negative", "nonnegative", "nonpositive", "nonzero", "sorted",
            "distinct", "symmetric", "definite",
        )  # fmt: skip

    @property
    def range(self) -> tuple[int, int]:
        """The least integer and the first that is too large."""
        low = int(self.low or 0)
        return low, self.below if self.values else max(self.below, low + 1)

    @property
    def ends(self) -> tuple[float, float]:
        """The least and the greatest entry of the domain that the dtype has."""
        info = jnp.finfo(self.floating)
        most, tiny, below_one = float(info.max), float(info.tiny), 1 - float(info.epsneg)
        low = -most if self.low is None else _inward(self.low, self.floating, 1)
        high = most if self.high is None else _inward(self.high, self.floating, -1)
        known: dict[str, tuple[float, float]] = {
            "positive": (tiny, most),
            "negative": (-most, -tiny),
            "nonnegative": (0.0, most),
            "nonpositive": (-most, 0.0),
            "unit": (tiny, below_one),
            "logsimplex": (-most, 0.0),
            "weights": (0.0, most),
            **dict.fromkeys(("probability", "labels", "binary", "simplex", "onehot"), (0.0, 1.0)),
        }
        return known.get(self.domain, (low, high))

    @property
    def bounds(self) -> tuple[float | None, float | None]:
        """`low` and `high` of an interval with these ends; None where the dtype ends."""
        (low, high), most = self.ends, float(jnp.finfo(self.floating).max)
        return None if low == -most else low, None if high == most else high

    def contains(self, x: Any) -> bool:
        """Whether an array that the search has made is still one of this specification."""
        if self.fixed or self.domain == "real":
            return True
        x = np.asarray(x)
        if self.integral:
            return self._has_integers(x)
        x = x.astype(np.complex128 if self.floating.kind == "c" else np.float64)
        return bool(_CONTAINS[self.domain](x, self))

    def _has_integers(self, x: np.ndarray) -> bool:
        if self.domain == "permutation":
            return bool(np.all(np.sort(x, axis=-1) == np.arange(self.shape[-1])))
        if self.domain == "mask":
            return bool(np.all(np.any(x, axis=-1)))
        low, below = self.range
        if self.domain == "counts":
            return bool(np.all(x >= 0) and np.all(x.sum(-1) == below - 1))
        if self.domain == "offsets":
            ends = np.all(x[..., 0] == 0) and np.all(x[..., -1] == below - 1)
            return bool(ends and np.all(np.diff(x, axis=-1) >= 0))
        inside = ((x >= low) & (x < below)) | np.isin(x, self.values)
        return bool(np.all(inside)) and not (self.distinct and np.unique(x).size < x.size)

    def project(self, x: Any) -> Any:
        """A moved array back in the domain, where there is a natural way; else as it is."""
        match self.domain:
            case "interval" | "sorted":
                x = np.clip(x, -np.inf if self.low is None else self.low, self.high)
                return np.sort(x, axis=-1) if self.domain == "sorted" else x
            case "simplex":
                x = np.maximum(x, 0)
                total = x.sum(-1, keepdims=True)
                return np.where(total > 0, x / np.where(total > 0, total, 1), 1 / x.shape[-1])
            case "logsimplex":
                x = x - x.max(-1, keepdims=True)
                return x - np.log(np.exp(x).sum(-1, keepdims=True))
            case "symmetric" | "definite":
                x = (x + np.swapaxes(x, -1, -2)) / 2
                bounds = -np.inf if self.low is None else self.low, self.high
                return np.clip(x, *bounds)
        return x

    def centre(self) -> np.ndarray | None:
        """The array at the centre of the domain, where ties and equal eigenvalues show; or None."""
        x = self._centre()
        if x is None or self.floating.kind == "c":
            return x
        low, high = self.ends
        whole = np.broadcast_to(np.clip(x, low, high), self.shape)
        return whole.astype(self.floating).astype(np.float64)

    def _centre(self) -> Any:
        n = self.shape[-1] if self.shape else 0
        match self.domain:
            case "real" if self.floating.kind == "c":
                return np.zeros(self.shape, np.complex128)
            case "nonzero" if self.floating.kind == "c":
                return np.ones(self.shape, np.complex128)
            case "real":
                return 0.0
            case "positive" | "nonnegative" | "nonzero":
                return 1.0
            case "negative" | "nonpositive":
                return -1.0
            case "unit" | "probability" | "labels":
                return 0.5
            case "interval":
                return _between(self.low, self.high)
            case "simplex" | "weights":
                return 1 / n
            case "logsimplex":
                return -math.log(n)
            case "sorted":
                return self._evenly(n)
            case "symmetric" | "definite":
                return np.eye(n)
        return None

    def _evenly(self, n: int) -> np.ndarray:
        steps = np.arange(n) + 1.0
        if self.low is None and self.high is None:
            return steps - (n + 1) / 2
        if self.low is not None and self.high is not None:
            return self.low + (self.high - self.low) * steps / (n + 1)
        return self.low + steps if self.low is not None else (self.high or 0.0) - steps[::-1]


_USUAL: dict[str, Any] = {
    "below": 0,
    "kind": "int32",
    "value": None,
    "dtype": None,
    "low": None,
    "high": None,
    "values": (),
    "distinct": False,
    "weak": False,
    "note": "",
}


def _token(value: Any) -> Any:
    """What tells a value from others: 1, 1.0 and True are three, arrays are their contents."""
    if value is None:
        return None
    if _is_key(value):
        data = np.asarray(jax.random.key_data(value))
        return "key", str(value.dtype), data.shape, data.tobytes()
    if isinstance(value, np.ndarray | jax.Array):
        data = np.asarray(value)
        return "array", str(data.dtype), data.shape, data.tobytes()
    try:
        hash(value)
    except TypeError:
        return "object", id(value)  # which lives as long as the specification does
    return type(value), value


def _is_key(x: Any) -> bool:
    dtype = getattr(x, "dtype", None)
    return dtype is not None and jax.dtypes.issubdtype(dtype, jax.dtypes.prng_key)


def _inward(end: float, dtype: np.dtype, side: int) -> float:
    """The first number of the dtype from an end on, upwards (1) or downwards (-1)."""
    info = jnp.finfo(dtype)
    near = np.asarray(np.clip(end, float(info.min), float(info.max))).astype(dtype)
    if (near.astype(np.float64) - end) * side < 0:
        return float(of_ranks(ranks(near, dtype) + side, dtype))
    return float(near)


def _between(low: float | None, high: float | None) -> float:
    if low is not None and high is not None:
        return low / 2 + high / 2
    return low + 1.0 if low is not None else (high or 0.0) - 1.0


# Whether arrays are in a domain: (x in float64, spec) -> bool


def _sums_to_one(x: np.ndarray, terms: np.ndarray, dtype: np.dtype) -> bool:
    """Whether rows sum to one as far as roundings of so many terms allow.

    Each term p comes with an error of a few units of `x`'s own size beside it.
    """
    unit = float(jnp.finfo(dtype).eps) * (4 + math.log2(max(x.shape[-1], 1)))
    return bool(np.all(np.abs(x.sum(-1) - 1) <= unit * (1 + terms.sum(-1))))


def _in_simplex(x: np.ndarray, dtype: np.dtype) -> bool:
    return bool(np.all(x >= 0)) and _sums_to_one(x, np.zeros_like(x), dtype)


def _in_logsimplex(x: np.ndarray, dtype: np.dtype) -> bool:
    if not np.all(x <= 0):
        return False
    p = np.exp(x)
    return _sums_to_one(p, p * np.where(p > 0, np.abs(x), 0), dtype)


def _in_order(x: np.ndarray, spec: Spec) -> bool:
    return bool(np.all(np.diff(x) > 0)) and _within(x, spec)


def _within(x: np.ndarray, spec: Spec) -> bool:
    low, high = spec.low, spec.high
    return bool((low is None or np.all(x >= low)) and (high is None or np.all(x <= high)))


def _is_symmetric(x: np.ndarray) -> bool:
    return np.array_equal(x, np.swapaxes(x, -1, -2))


def _is_definite(x: np.ndarray) -> bool:
    if not (np.all(np.isfinite(x)) and _is_symmetric(x)):
        return False
    return bool(np.all(np.linalg.eigvalsh(x) > 0))


def _is_onehot(x: np.ndarray) -> bool:
    return bool(np.all((x == 0) | (x == 1)) and np.all(x.sum(-1) == 1))


_CONTAINS: dict[str, Callable[[np.ndarray, Spec], Any]] = {
    "positive": lambda x, _: np.all(x > 0),
    "negative": lambda x, _: np.all(x < 0),
    "nonnegative": lambda x, _: np.all(x >= 0),
    "nonpositive": lambda x, _: np.all(x <= 0),
    "nonzero": lambda x, _: np.all(x != 0),
    "unit": lambda x, _: np.all((x > 0) & (x < 1)),
    "probability": lambda x, _: np.all((x >= 0) & (x <= 1)),
    "labels": lambda x, _: np.all((x >= 0) & (x <= 1)),
    "binary": lambda x, _: np.all((x == 0) | (x == 1)),
    "interval": _within,
    "simplex": lambda x, spec: _in_simplex(x, spec.floating),
    "logsimplex": lambda x, spec: _in_logsimplex(x, spec.floating),
    "weights": lambda x, _: np.all(x >= 0),
    "onehot": lambda x, _: _is_onehot(x),
    "sorted": _in_order,
    "distinct": lambda x, _: np.unique(x).size == x.size,
    "symmetric": lambda x, spec: _is_symmetric(x) and _within(x, spec),
    "definite": lambda x, _: _is_definite(x),
}


# What given arguments say


def spec_of(leaf: Any, rows: Collection[int] = ()) -> Spec:
    """The specification of a concrete argument, as `infer` reads it; a Spec as it is."""
    return leaf if isinstance(leaf, Spec) else infer(leaf, rows)


def in_dtype(args: Any, dtype: Any) -> Any:
    """A tree of arguments as specifications, floating ones of a dtype, complex ones of its pairs.

    Example:
      >>> in_dtype((Spec((2,), "unit"), None, Spec((), "integers", below=3)), "float64")
      (Spec((2,), 'unit', dtype='float64'), None, Spec((), 'integers', below=3))
    """
    name = jnp.dtype(dtype).name

    def of_leaf(leaf: Any) -> Spec:
        spec = spec_of(leaf)
        if spec.integral or spec.fixed:
            return spec
        pairs = "complex128" if name == "float64" else "complex64"
        return replace(spec, dtype=pairs if spec.floating.kind == "c" else name)

    return jax.tree.map(of_leaf, args)


def infer(leaf: Any, rows: Collection[int] = ()) -> Spec:
    """The domain that a given argument is from, as far as its values say.

    Args:
      leaf: the argument.
      rows: how many rows the other arrays have: integers that sum to such a number are counts of
        groups of rows, those that rise from 0 to it their offsets.

    One number says its sign; equal numbers say nothing, but for a uniform distribution. A plain
    Python number is floating, or static where it is an integer or a boolean, as `jax.jit` would
    have to take it; what is no array is static.

    Raises:
      ValueError: its dtype is none that can be judged.

    Example:
      >>> infer(np.array([0.2, 0.5, 0.3], np.float32))
      Spec((3,), 'simplex', dtype='float32')
      >>> infer(np.array([0, -100, 4, 2]))
      Spec((4,), 'integers', below=5, kind='int64', values=(-100,))
    """
    if leaf is None:
        return Spec((), "none")
    if _is_key(leaf):
        given = None if isinstance(leaf, jax.ShapeDtypeStruct) else leaf
        return Spec(tuple(leaf.shape), "key", value=given)
    if not hasattr(leaf, "dtype"):
        if isinstance(leaf, float):
            return Spec((), _sign(np.array(leaf), ""), weak=True)
        if isinstance(leaf, complex):
            return Spec((), dtype="complex64", weak=True)
        return Spec((), "static", value=leaf)
    shape, dtype = tuple(leaf.shape), np.dtype(leaf.dtype)
    given = None if isinstance(leaf, jax.ShapeDtypeStruct) else np.asarray(leaf)
    if dtype.kind == "b":
        return Spec(shape, "integers", 2, "bool")
    if jax.dtypes.issubdtype(dtype, np.integer):
        if given is None:
            return Spec(shape, "integers", 2, dtype.name)
        return _of_groups(given, rows) or _of_integers(given)
    if dtype.name not in FLOATING:
        raise ValueError(
            f"check: expected arguments of {', '.join(FLOATING)}, integers or booleans, got "
            f"{dtype.name}: cast it"
        )
    if given is None or dtype.kind == "c":
        return Spec(shape, dtype=dtype.name)
    return _of_floats(given.astype(np.float64), dtype.name)


# Rows are taken for grouped from so many on; fewer are met by chance
_GROUPED = 8


def _of_groups(x: np.ndarray, rows: Collection[int]) -> Spec | None:
    """Counts or offsets of groups of rows, if these are some."""
    if x.ndim != 1 or x.size < 2 or np.any(x < 0):
        return None
    total, last = int(x.sum()), int(x[-1])
    if total in rows and total >= max(_GROUPED, x.size + 1):
        return Spec(x.shape, "counts", total + 1, x.dtype.name)
    rises = x[0] == 0 and np.all(np.diff(x) >= 0) and last in rows
    if rises and last >= max(_GROUPED, x.size):
        return Spec(x.shape, "offsets", last + 1, x.dtype.name)
    return None


def _of_integers(x: np.ndarray) -> Spec:
    shape, kind = x.shape, x.dtype.name
    x = x.astype(object if kind == "uint64" else np.int64)  # int4 has no comparisons of its own
    below = int(x.max(initial=0)) + 1
    if _is_permutation(x):
        return Spec(shape, "permutation", kind=kind)
    marks = np.unique(x[x < 0]).tolist()
    low = None
    if len(marks) > _MOST_MARKS:
        low, marks = marks[0], []
    elif marks and x.max() < 0:
        below = 0
    values = below - (low or 0) + len(marks)
    distinct = x.size >= 6 and np.unique(x).size == x.size and _rarely_distinct(x.size, values)
    return Spec(shape, "integers", below, kind, low=low, values=tuple(marks), distinct=distinct)


def _is_permutation(x: np.ndarray) -> bool:
    """Whether every row is one of 0 .. n - 1, and not all are in order, as numbers of rows are."""
    n = x.shape[-1] if x.shape else 0
    if n < 3 or not x.size or not np.all(np.sort(x, axis=-1) == np.arange(n)):
        return False
    return not np.all(x == np.arange(n))


def _rarely_distinct(size: int, values: int) -> bool:
    """Whether numbers drawn at random would be distinct in less than one case of twenty."""
    return math.exp(-size * (size - 1) / (2 * values)) < 0.05 or size == values


def _of_floats(x: np.ndarray, dtype: str) -> Spec:
    finite = x[np.isfinite(x)]
    missing = x.size - finite.size
    note = f"{missing} of the given entries not finite" if missing else ""
    if not missing:
        found = _structure(x, dtype)
        if found is not None:
            return found
    return Spec(x.shape, _sign(finite, dtype), dtype=dtype, note=note)


def _sign(x: np.ndarray, dtype: str) -> str:
    """The domain of the entries, each for itself; of a plain number (no dtype) the sign alone."""
    if not x.size or not np.all(np.isfinite(x)) or (x.size > 1 and np.all(x == x.flat[0])):
        return "real"
    low, high = x.min(), x.max()
    if low == high == 0:
        return "real"
    if dtype and low > 0 and high < 1:
        return "unit"
    if x.size > 1 and low >= 0 and high <= 1:
        return "binary" if np.all((x == 0) | (x == 1)) else "probability"
    if low >= 0:
        return "positive" if low > 0 else "nonnegative"
    if high <= 0:
        return "negative" if high < 0 else "nonpositive"
    return "real"


def _structure(x: np.ndarray, dtype: str) -> Spec | None:
    """What holds along the last axis or the last two; None where nothing does."""
    n = x.shape[-1] if x.shape else 0
    if x.size < 2 or n < 2:
        return None
    constant = np.all(x == x.flat[0])
    floating = jnp.dtype(dtype)
    if _is_onehot(x) and (x.size > n or n >= 3):
        return Spec(x.shape, "onehot", dtype=dtype)
    if _in_simplex(x, floating) and not _is_onehot(x) and (not constant or n >= 3):
        return Spec(x.shape, "simplex", dtype=dtype)
    if _in_logsimplex(x, floating) and (not constant or n >= 3):
        return Spec(x.shape, "logsimplex", dtype=dtype)
    if constant:
        return None
    low, high = Spec((), _sign(x, dtype), dtype=dtype).bounds
    if x.ndim > 1 and x.shape[-2] == n and _is_symmetric(x):
        if n <= _MOST_ROWS and _is_definite(x):
            return Spec(x.shape, "definite", dtype=dtype)
        return Spec(x.shape, "symmetric", dtype=dtype, low=low, high=high)
    if n >= 4 and np.all(np.diff(x) > 0):
        return Spec(x.shape, "sorted", dtype=dtype, low=low, high=high)
    return None


# In words


def describe(spec: Spec) -> str:
    """What an argument is, in a few words.

    Example:
      >>> describe(Spec((3,), "positive"))
      'float32[3] > 0'
      >>> describe(Spec((4,), "integers", below=5, values=(-100,)))
      'int32[4] in 0..4 or -100'
    """
    match spec.domain:
        case "none":
            return "None"
        case "static":
            text = repr(spec.value)
            return text if len(text) <= 40 and "\n" not in text else type(spec.value).__name__
        case "key":
            return f"key{list(spec.shape) if spec.shape else ''}"
    kind = spec.kind if spec.integral else spec.floating.name
    if spec.weak:
        kind = "complex" if spec.floating.kind == "c" else "float"
    axes = "" if spec.weak else f"[{','.join(map(str, spec.shape))}]"
    note = f" ({spec.note})" if spec.note else ""
    return f"{kind}{axes}{_words(spec)}{note}"


def _words(spec: Spec) -> str:
    if spec.domain == "integers":
        return "" if spec.kind == "bool" else _integers_in_words(spec)
    if spec.domain in ("counts", "offsets"):
        rows = spec.below - 1
        return f", sum {rows}" if spec.domain == "counts" else f", rising from 0 to {rows}"
    bounds = _bounds_in_words(spec)
    if spec.domain == "interval":
        return f" {bounds}"
    said = _WORDS.get(spec.domain, f" {spec.domain}")
    return f"{said}, {bounds}" if bounds else said


_WORDS = {
    "real": " real",
    "positive": " > 0",
    "negative": " < 0",
    "nonnegative": " >= 0",
    "nonpositive": " <= 0",
    "nonzero": " not 0",
    "unit": " between 0 and 1",
    "probability": " in 0..1",
    "labels": ", labels in 0..1",
    "binary": " of 0 and 1",
    "simplex": ", rows sum to 1",
    "logsimplex": ", exponentials of rows sum to 1",
    "weights": " >= 0, soft labels",
    "onehot": ", rows one-hot",
    "sorted": " increasing",
    "distinct": ", all different",
    "definite": " positive definite",
    "mask": ", a True in each row",
}


def _integers_in_words(spec: Spec) -> str:
    low, below = spec.range
    parts = [f"{low}..{below - 1}" if below > low + 1 else f"{low}"] if below > low else []
    parts += map(str, sorted(spec.values, reverse=True))
    return f" in {' or '.join(parts)}{', all different' if spec.distinct else ''}"


def _bounds_in_words(spec: Spec) -> str:
    """The interval, where there is one; the least positive number stands for an open end."""
    low, high = spec.low, spec.high
    if low is None and high is None:
        return ""
    info = jnp.finfo(spec.floating)
    if (low, high) == (float(info.tiny), 1 - float(info.epsneg)):
        return "between 0 and 1"
    if low is not None and high is not None:
        return f"in {low:g}..{high:g}"
    if low is not None:
        return "> 0" if low == float(info.tiny) else f">= {low:g}"
    return "< 0" if high == -float(info.tiny) else f"<= {high:g}"
