"""Inputs that reach the bug: many scales, specials, ties, zeros, every kind of label.

Each domain is drawn from the same real numbers, in every style; what is drawn lies in its domain
after it has been rounded to the dtype that was asked for.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np

if TYPE_CHECKING:
    from manualbp.verify.ask.domains import Spec

# The points that functions of one variable break at: kinks and clips in use, the tails of the
# exponential in each dtype, subnormals, the largest numbers whose square still fits.
SPECIAL = np.array(
    [0.0, -0.0, 1.0, -1.0, 0.5, -0.5, 2.0, -2.0, 3.0, -3.0, 6.0, -6.0, 1e-3, -1e-3, 1e-8, -1e-8,
     1e-30, -1e-30, 1e-38, 9.0, -9.0, 17.0, -17.0, 20.0, -20.0, 40.0, -40.0, 88.0, -88.0, 100.0,
     -100.0, 710.0, -710.0, 800.0, -800.0, 1e4, -1e4, 1e10, -1e10, 1e18, -1e18]
)  # fmt: skip
# The same of float16, whose exponential overflows at 11.1, and its square at 256
SPECIAL_HALF = np.array(
    [0.0, -0.0, 1.0, -1.0, 0.5, -0.5, 2.0, -2.0, 3.0, -3.0, 6.0, -6.0, 1e-3, -1e-3, 6.2e-5,
     -6.2e-5, 9.0, -9.0, 11.0, -11.0, 17.0, -17.0, 40.0, -40.0, 100.0, -100.0, 255.0, -255.0,
     3e4, -3e4]
)  # fmt: skip

STYLES = ("round", "normal", "ties", "special", "wide", "scaled", "equal", "tails")


def draw(spec: "Spec", rng: np.random.Generator, style: str, points: int | None = None) -> Any:
    """One array of the specification, in float64 (complex128), exactly one of its own dtype.

    With `points`, as many of them, stacked on a leading axis. A key or a static value is the one
    that was given.
    """
    match spec.domain:
        case "none":
            return None
        case "static":
            return spec.value
        case "key":
            return _key(spec, rng)
    stack = (1 if points is None else points, *spec.shape)
    if spec.integral:
        x = _integers(spec, stack, rng, style).astype(jnp.dtype(spec.kind))
    elif spec.floating.kind == "c":
        x = _complex(spec, stack, rng, style)
    else:
        half = spec.floating == np.float16
        x = DOMAINS[spec.domain](_real(stack, rng, style, half), rng, style, spec)
        x = _settled(spec, np.asarray(x, np.float64))
    return x[0] if points is None else x


def draw_styles(spec: "Spec", rng: np.random.Generator, points: int) -> np.ndarray:
    """A stack of arrays whose styles take turns, as STYLES has them."""
    out: Any = None
    for k, style in enumerate(STYLES):
        x = draw(spec, rng, style, len(range(k, points, len(STYLES))))
        if out is None:
            out = np.empty((points, *spec.shape), x.dtype)
        out[k :: len(STYLES)] = x
    return out


def rounded(x: Any, dtype: np.dtype) -> np.ndarray:
    """The nearest numbers that the dtype has, in float64."""
    with np.errstate(over="ignore"):
        return np.asarray(x, np.float64).astype(dtype).astype(np.float64)


def ranks(x: Any, dtype: np.dtype) -> np.ndarray:
    """The place of each among the numbers of a dtype, 0 at zero, subnormals left out.

    Most hardware takes subnormals for zero, so that numbers which differ by one are equal.
    """
    bits, least = _patterns(dtype)
    pattern = np.asarray(x, np.float64).astype(dtype).view(bits).astype(np.int64)
    size = pattern & (2 ** (8 * dtype.itemsize - 1) - 1)
    return np.where(size < least, 0, size - least + 1) * np.where(np.asarray(x) < 0, -1, 1)


def of_ranks(places: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """The numbers at these places, in float64."""
    bits, least = _patterns(dtype)
    size = np.where(places == 0, 0, np.abs(places) + (least - 1)).astype(bits)
    return size.view(dtype).astype(np.float64) * np.where(places < 0, -1.0, 1.0)


def _patterns(dtype: np.dtype) -> tuple[Any, int]:
    bits = np.dtype(f"uint{8 * dtype.itemsize}")
    tiny = np.asarray(jnp.finfo(dtype).tiny, dtype)
    return bits, int(tiny.view(bits))


def _settled(spec: "Spec", x: np.ndarray) -> np.ndarray:
    """What was drawn, rounded, and in its domain still."""
    low, high = spec.ends
    x = rounded(np.clip(x, low, high), spec.floating)
    match spec.domain:
        case "nonzero":
            return np.where(x == 0, np.copysign(1.0, x), x)
        case "sorted":
            return _apart(x, spec)
        case "distinct":
            flat = x.reshape(len(x), int(np.prod(spec.shape)))
            order = np.argsort(flat, axis=-1, kind="stable")
            apart = _apart(np.take_along_axis(flat, order, -1), spec)
            np.put_along_axis(flat, order, apart, -1)
            return flat.reshape(x.shape)
        case "definite":
            return _definite_still(x, spec.floating)
    return x


def _apart(x: np.ndarray, spec: "Spec") -> np.ndarray:
    """Increasing numbers with equal ones moved up to the next of the dtype, down at its end."""
    if np.all(np.diff(x) > 0):
        return x
    least, most = ranks(np.array(spec.ends), spec.floating).tolist()
    n = x.shape[-1]
    step = np.arange(n)
    places = np.maximum(ranks(x, spec.floating), least + step)
    places = np.maximum.accumulate(places - step, axis=-1) + step
    return of_ranks(np.minimum(places, most - (n - 1 - step)), spec.floating)


def _definite_still(x: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """Where rounding has moved an eigenvalue below 0, the diagonal weighs more."""
    one = np.eye(x.shape[-1], dtype=bool)
    while True:
        indefinite = np.any(np.linalg.eigvalsh(x) <= 0, axis=-1)
        if not np.any(indefinite):
            return x
        x = np.where(indefinite[..., None, None] & ~one, rounded(x / 2, dtype), x)


def _key(spec: "Spec", rng: np.random.Generator) -> Any:
    if spec.value is not None:
        return spec.value
    key = jax.random.key(int(rng.integers(2**31)))
    return jax.random.split(key, spec.shape) if spec.shape else key


def _integers(
    spec: "Spec", stack: tuple[int, ...], rng: np.random.Generator, style: str
) -> np.ndarray:
    if spec.domain == "permutation":
        x = np.broadcast_to(np.arange(stack[-1]), stack)
        return x if style == "equal" else rng.permuted(x, axis=-1)
    low, below = spec.range
    if spec.domain in ("counts", "offsets"):
        return _groups(spec, stack, rng, style)
    if spec.domain == "mask":
        mask = rng.random(stack) < (1.0 if style == "equal" else 0.5)
        sure = rng.integers(0, stack[-1], (*stack[:-1], 1)) == np.arange(stack[-1])
        return mask | (sure & ~mask.any(axis=-1, keepdims=True))
    if spec.distinct:
        values = np.array(spec.values, object)
        size, n = int(np.prod(spec.shape)), below - low + len(values)
        chosen = [rng.choice(n, size, replace=False) for _ in range(stack[0])]
        drawn = [
            np.where(k < below - low, k + low, values[np.maximum(k - (below - low), 0)])
            if len(values)
            else k + low
            for k in chosen
        ]
        return np.array(drawn).reshape(stack)
    one = (stack[0], *(1 for _ in stack[1:]))
    wide = np.uint64 if below > 2**63 else np.int64
    x = rng.integers(low, max(below, low + 1), stack, dtype=wide)
    if style == "equal" and x.size:  # one number for all entries of a point
        x = np.broadcast_to(x.reshape(stack[0], -1)[:, 0].reshape(one), stack)
    if not spec.values:
        return x
    # each entry now and then one of the further values, or every entry
    share = rng.choice([0.25, 1.0], one) if style == "special" else np.full(one, 0.25)
    further = rng.random(stack) < (share if below > low else 1.0)
    return np.where(further, rng.choice(np.array(spec.values), stack), x)


def _groups(
    spec: "Spec", stack: tuple[int, ...], rng: np.random.Generator, style: str
) -> np.ndarray:
    """Offsets between which rows fall into groups, empty ones among them; or their counts."""
    rows, n = spec.below - 1, stack[-1] + (1 if spec.domain == "counts" else 0)
    even = np.linspace(0, rows, n).astype(int)
    drawn = even if style == "equal" else rng.integers(0, rows + 1, (*stack[:-1], n))
    return grouped(spec, np.broadcast_to(drawn, (*stack[:-1], n)))


def grouped(spec: "Spec", cuts: np.ndarray) -> np.ndarray:
    """Offsets, of integers in any order that stand for them, or the counts between them."""
    offsets = np.sort(cuts, axis=-1)
    offsets[..., 0], offsets[..., -1] = 0, spec.below - 1
    return np.diff(offsets, axis=-1) if spec.domain == "counts" else offsets


def _complex(
    spec: "Spec", stack: tuple[int, ...], rng: np.random.Generator, style: str
) -> np.ndarray:
    """Real and imaginary parts of their own."""
    part = np.dtype(f"float{4 * spec.floating.itemsize}")
    x, y = (rounded(_real(stack, rng, style, False), part) for _ in range(2))
    z = x + 1j * y
    return np.where(z == 0, 1.0, z) if spec.domain == "nonzero" else z


def _real(shape: tuple[int, ...], rng: np.random.Generator, style: str, half: bool) -> np.ndarray:
    """Numbers in a style; for float16 (`half`) such that their squares mostly fit."""
    one = (shape[0], *(1 for _ in shape[1:]))  # a number for all entries of a point
    special = SPECIAL_HALF if half else SPECIAL
    match style:
        case "round":  # what a counterexample should be made of
            return rng.integers(-3, 4, shape).astype(float)
        case "ties":
            return rng.integers(-1, 2, shape) * rng.choice([0.5, 1.0, 2.0], one)
        case "special":  # of half the points all entries are of ordinary size
            ordinary = special[(np.abs(special) >= 1e-8) & (np.abs(special) <= 100)]
            return np.where(
                rng.integers(0, 2, one), rng.choice(special, shape), rng.choice(ordinary, shape)
            )
        case "wide":
            scales = (-4, 3) if half else (-12, 4)
            return rng.choice([-1.0, 1.0], shape) * 10.0 ** rng.uniform(*scales, shape)
        case "scaled":
            most = 2 if half else 3
            return rng.normal(size=shape) * 10.0 ** rng.uniform(-most, most, one)
        case "equal":
            return np.broadcast_to(rng.choice(special[:20], one), shape)
        case "tails":
            most = 10 if half else 60
            row = (*shape[:-1], 1) if len(shape) > 1 else shape  # some rows are far out together
            far = rng.uniform(-1.7 * most, 1.7 * most, row)
            near = rng.uniform(-4, 4, shape)
            return np.where(rng.integers(0, 2, row), far + near, near * most / 4)
    return rng.normal(size=shape) * 2


def _positive(x: np.ndarray, rng: np.random.Generator, style: str, spec: "Spec") -> np.ndarray:
    return np.abs(x) + (np.abs(x) < 1e-12)


def _unit(x: np.ndarray, rng: np.random.Generator, style: str, spec: "Spec") -> np.ndarray:
    inside = 1 / (1 + np.exp(-np.clip(x, -15, 15)))
    return np.round(inside * 8).clip(1, 7) / 8 if style in ("round", "ties", "equal") else inside


def _labels(x: np.ndarray, rng: np.random.Generator, style: str, spec: "Spec") -> np.ndarray:
    if style in ("normal", "scaled", "tails"):
        return rng.uniform(0, 1, x.shape)
    return (x > 0).astype(float)


def _interval(x: np.ndarray, rng: np.random.Generator, style: str, spec: "Spec") -> np.ndarray:
    """Both ends and what lies next to them, eighths of the way, and anything between."""
    low, high = np.clip(spec.ends, -1e300, 1e300)
    if spec.high is None:
        return low + np.abs(x)
    if spec.low is None:
        return high - np.abs(x)
    width = high - low
    one = (len(x), *(1 for _ in x.shape[1:]))
    match style:
        case "special":
            inside = [v for v in SPECIAL if low <= v <= high]
            return rng.choice([low, high, low + width / 2, *inside], x.shape)
        case "round" | "ties":
            return low + width * rng.integers(0, 9, x.shape) / 8
        case "equal":
            return np.broadcast_to(low + width * rng.integers(0, 9, one) / 8, x.shape)
        case "wide" | "tails":
            near = width * 10.0 ** rng.uniform(-7, 0, x.shape)
            return np.where(rng.integers(0, 2, x.shape), low + near, high - near)
    return rng.uniform(low, high, x.shape)


def _simplex(x: np.ndarray, rng: np.random.Generator, style: str, spec: "Spec") -> np.ndarray:
    if style == "round":  # eighths that sum to one
        return (
            rng.multinomial(8 - x.shape[-1], np.ones(x.shape[-1]) / x.shape[-1], x.shape[:-1]) / 8
            + 1 / 8
            if x.shape[-1] < 8
            else _softmax(x)
        )
    inside = _softmax(_clipped(x, spec))
    if style != "special":
        return inside
    # every other row is a corner: a label that is sure
    corner = rng.integers(0, 2, (*x.shape[:-1], 1)) == 1
    return np.where(corner, _onehot(x, rng, style, spec), inside)


def _logsimplex(x: np.ndarray, rng: np.random.Generator, style: str, spec: "Spec") -> np.ndarray:
    x = _clipped(x, spec)
    x = x - x.max(-1, keepdims=True, initial=-np.inf)
    return x - np.log(np.exp(x).sum(-1, keepdims=True))


def _weights(x: np.ndarray, rng: np.random.Generator, style: str, spec: "Spec") -> np.ndarray:
    if style in ("round", "tails", "special"):
        return _corners(rng.integers(0, x.shape[-1], x.shape[:-1]), x.shape[-1])
    if style in ("ties", "equal"):
        return np.abs(x) % 3
    one = (len(x), *(1 for _ in x.shape[1:]))
    return _softmax(x) * rng.choice([1.0, 1.0, 0.5, 3.0], one)


def _probability(x: np.ndarray, rng: np.random.Generator, style: str, spec: "Spec") -> np.ndarray:
    """Both ends, and numbers next to them."""
    if style in ("special", "ties"):
        return np.clip(x, 0, 1)
    near = np.abs(x) / (1 + np.abs(x))
    return np.where(rng.integers(0, 2, x.shape), near, 1 - near) if style == "wide" else near


def _onehot(x: np.ndarray, rng: np.random.Generator, style: str, spec: "Spec") -> np.ndarray:
    if style == "equal":  # one class for all rows of a point
        one = (len(x), *(1 for _ in x.shape[1:-1]))
        classes = np.broadcast_to(rng.integers(0, x.shape[-1], one), x.shape[:-1])
    else:
        classes = rng.integers(0, x.shape[-1], x.shape[:-1])
    return _corners(classes, x.shape[-1])


def _sorted(x: np.ndarray, rng: np.random.Generator, style: str, spec: "Spec") -> np.ndarray:
    """From a start on, gaps of one size or of many; float32 keeps apart what lies 1/32 apart."""
    coarse = spec.floating.itemsize == 2
    least, far = (1 / 4, 4) if coarse else (1 / 32, 64)
    gaps = np.clip(np.abs(x), 1.0 if style in ("round", "equal") else least, 4)
    steps = np.cumsum(gaps, axis=-1)
    (low, high), start = spec.ends, np.clip(x[..., :1], -far, far)
    if spec.low is None and spec.high is None:
        return start + steps
    at_end = style in ("ties", "equal")  # the first at the lower end, or the last at the upper
    first = steps[..., :1]
    if spec.low is not None and spec.high is not None:
        whole = steps[..., -1:] + 1 - at_end
        return low + (high - low) * (steps - first * at_end) / np.where(whole == 0, 1, whole)
    if spec.high is None:
        at_end &= low == 0 or abs(low) > 1e-3  # and not at the least positive number
        return low + steps - first * at_end + np.abs(start) * (not at_end)
    at_end &= high == 0 or abs(high) > 1e-3
    return high - (steps - first * at_end + np.abs(start) * (not at_end))[..., ::-1]


def _distinct(x: np.ndarray, rng: np.random.Generator, style: str, spec: "Spec") -> np.ndarray:
    if style not in ("round", "ties", "equal"):
        return x
    size = int(np.prod(x.shape[1:]))
    whole = np.broadcast_to(np.arange(size) - size // 2, (len(x), size))
    return rng.permuted(whole, axis=-1).reshape(x.shape) * (1.0 if style == "round" else 0.5)


def _symmetric(x: np.ndarray, rng: np.random.Generator, style: str, spec: "Spec") -> np.ndarray:
    if spec.low is not None or spec.high is not None:
        x = _interval(x, rng, style, spec)
    return np.tril(x) + np.swapaxes(np.tril(x, -1), -1, -2)


def _definite(x: np.ndarray, rng: np.random.Generator, style: str, spec: "Spec") -> np.ndarray:
    """Well conditioned, then graded; of whole numbers; with equal eigenvalues."""
    n = x.shape[-1]
    one = np.eye(n)
    clipped = np.clip(x, -3, 3)
    match style:
        case "round":  # of determinant 1
            lower = np.tril(np.sign(x), -1) + one
            return lower @ np.swapaxes(lower, -1, -2)
        case "ties" | "equal":
            same = one * rng.choice([0.5, 1.0, 2.0], (len(x), *(1 for _ in x.shape[1:])))
            return np.broadcast_to(same, x.shape)
    matrix = clipped @ np.swapaxes(clipped, -1, -2) / max(n, 1) + 0.5 * one
    if style in ("wide", "special"):  # rounding an entry moves no eigenvalue below 0
        most = 1 if spec.floating == np.float16 else 2
        size = 10.0 ** rng.uniform(-most, most, (*x.shape[:-1], 1))
        matrix = size * matrix * np.swapaxes(size, -1, -2)
    return (matrix + np.swapaxes(matrix, -1, -2)) / 2


def _clipped(x: np.ndarray, spec: "Spec") -> np.ndarray:
    """Logits whose softmax the dtype can tell from 0."""
    most = 4 if spec.floating == np.float16 else 12
    return np.clip(x, -most, most)


def _corners(classes: np.ndarray, n: int) -> np.ndarray:
    return (classes[..., None] == np.arange(n)).astype(float)


def _softmax(x: np.ndarray) -> np.ndarray:
    e = np.exp(x - x.max(-1, keepdims=True, initial=-np.inf))
    return e / e.sum(-1, keepdims=True)


# From real numbers of a style to those of a domain: (x, rng, style, spec) -> x
DOMAINS: dict[str, Callable[..., np.ndarray]] = {
    "real": lambda x, *_: x,
    "positive": _positive,
    "negative": lambda *drawn: -_positive(*drawn),
    "nonnegative": lambda x, *_: np.abs(x),
    "nonpositive": lambda x, *_: -np.abs(x),
    "nonzero": lambda x, *_: x,
    "unit": _unit,
    "probability": _probability,
    "labels": _labels,
    "binary": lambda x, *_: (x > 0).astype(float),
    "interval": _interval,
    "simplex": _simplex,
    "logsimplex": _logsimplex,
    "weights": _weights,
    "onehot": _onehot,
    "sorted": _sorted,
    "distinct": _distinct,
    "symmetric": _symmetric,
    "definite": _definite,
}
