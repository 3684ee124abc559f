"""Errors in units in the last place (ULPs), and the number line of all floats of a dtype."""

import functools
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flint import arb
from jax.extend import core

from manualbp.verify.numbers.balls import precision
from manualbp.verify.numbers.walk import CALLS, is_floating

# What is counted beside the largest error
FINDINGS = (
    "above 4 ULP",
    "above 4 ULP of the largest term",
    "relative error above 1e-3",  # of normal numbers, and more than one ULP
    "NaN, truth is not",
    "infinite, truth is finite",
    "not NaN, truth is",
    "finite, truth is infinite",
)
MOST_ULPS, MOST_RELATIVE = 4.0, 1e-3
# The bits of FINDINGS that are no matter of digits
LOST = 0b1111000


class Line:
    """All floats of a dtype in order: place 0 is -NaN, the half of all places +0.

    Attributes:
      kind: the dtype.
      limits: its `finfo`.
      bits: 16, 32 or 64.
      blocks: of neighbours, for each of which the largest error is kept: 1/16 of a binade in
        float16, 1/2 in bfloat16, 1/128 in float32, 2 in float64.
      width: places in a block.
      flushes: whether the backend takes subnormal results for zero, and subnormal inputs.
    """

    def __init__(self, kind: np.dtype):
        self.kind, self.limits = kind, jnp.finfo(kind)
        self.bits = 8 * kind.itemsize
        self.blocks = {2: 2**10, 4: 2**16, 8: 2**10}[kind.itemsize]
        self.width = 2**self.bits // self.blocks
        self.integer = np.dtype(f"u{kind.itemsize}")
        self.flushes = self._flushing()

    def numbers(self, places: Any, xp: Any = np) -> Any:
        """The floats at places."""
        half = 2 ** (self.bits - 1)
        pattern = xp.where(places >= half, places - half, 2**self.bits - 1 - places)
        return pattern.astype(self.integer).view(self.kind)

    def wide(self, x: Any, xp: Any = np) -> Any:
        """The same numbers in float64; subnormal ones from their bits, which backends flush."""
        if self.bits == 64:
            return x
        pattern, half = x.view(self.integer), 2 ** (self.bits - 1)
        size = (pattern & (half - 1)).astype(np.float64) * float(self.limits.smallest_subnormal)
        small = xp.where(pattern >= half, -size, size)
        return xp.where(size < float(self.limits.tiny), small, x.astype(np.float64))

    def place(self, x: float) -> int:
        """The place of a float."""
        pattern, half = int(np.asarray(x, self.kind).view(self.integer)), 2 ** (self.bits - 1)
        return pattern + half if pattern < half else 2**self.bits - 1 - pattern

    def exponents(self) -> np.ndarray:
        """The first place of each exponent of each sign."""
        mantissas = 2**self.limits.nmant
        return np.arange(2**self.bits // mantissas, dtype=np.uint64) * np.uint64(mantissas)

    def _flushing(self) -> tuple[bool, bool]:
        tiny = np.asarray(self.limits.tiny, self.kind)
        below = np.asarray(int(tiny.view(self.integer)) // 2, self.integer).view(self.kind)
        half = np.asarray(0.5, self.kind)
        more = np.asarray(2.0**30 if self.bits > 16 else 4, self.kind)
        product = jax.jit(lambda x, y: x * y)
        return bool(product(tiny, half) == 0), bool(product(below, more) == 0)


@functools.cache
def line_of(kind: Any) -> Line:
    """The line of a dtype."""
    return Line(jnp.dtype(kind))


def measure(xp, got, truth, low, term, limits, flushed) -> tuple:
    """The error in ULPs of the truth, in ULPs of its largest term, and FINDINGS as bits.

    `truth + low` is the truth; all are float64.
    """
    largest, tiny = float(limits.max), float(limits.tiny)
    beyond = min(2.0 * 2.0 ** (limits.maxexp - 1), float(np.finfo(np.float64).max))
    size = xp.abs(truth)
    overflows = xp.isinf(truth) | (size >= largest + largest * float(limits.eps) / 4)
    g, t = xp.clip(got, -beyond, beyond), xp.clip(truth, -beyond, beyond)
    # where the truth overflows, any number as large as that is right
    far = xp.where(overflows & (g == xp.copysign(beyond, t)), 0.0, xp.abs((g - t) - low))
    if flushed:
        far = xp.where((g == 0) & (size < tiny * (1 + 4 * float(limits.eps))), 0.0, far)
    error = in_ulps(far, xp.abs(t), limits)
    term = xp.where(xp.isfinite(term) & (term > size), term, xp.abs(t))
    in_terms = in_ulps(far, xp.clip(term, 0.0, beyond), limits)
    nan, lost = xp.isnan(got) & ~xp.isnan(truth), xp.isnan(truth) & ~xp.isnan(got)
    infinite = xp.isinf(got) & ~overflows & (error > MOST_ULPS)
    finite = xp.isfinite(got) & overflows & (error > MOST_ULPS)
    ordinary = ~(xp.isnan(error) | infinite | finite)
    found = (
        ordinary & (error > MOST_ULPS),
        ordinary & (in_terms > MOST_ULPS),
        ordinary & (far > MOST_RELATIVE * size) & (error > 1) & (size >= tiny),
        nan,
        infinite,
        lost,
        finite,
    )
    flags = sum(xp.where(f, 1 << bit, 0).astype(xp.int32) for bit, f in enumerate(found))
    return xp.where(ordinary, error, 0.0), xp.where(ordinary, in_terms, 0.0), flags


def in_ulps(far: Any, size: Any, limits: Any) -> Any:
    """An error in units in the last place of numbers of that size: the exponent read off bits."""
    # in order as integers, since all are positive: infinity and NaN count as the largest power
    least, most = (np.float64(p).view(np.uint64) for p in (limits.tiny, 2.0 ** (limits.maxexp - 1)))
    power = (size.view(np.uint64) & np.uint64(0x7FF0000000000000)).clip(least, most)
    if limits.nmant == 52:  # whose largest power has no normal inverse
        return far / (power.view(np.float64) * float(limits.eps))
    inverse = np.uint64((2 * 1023 + limits.nmant) << 52) - power
    return far * inverse.view(np.float64)


def spacing(x: np.ndarray, dtype: Any) -> np.ndarray:
    """An ULP of a dtype at numbers given in float64."""
    limits = jnp.finfo(dtype)
    size = np.maximum(np.abs(x), float(limits.tiny))
    return 2.0 ** np.floor(np.log2(size)) * float(limits.eps)


def two_floats(ball: arb) -> tuple[float, float]:
    """A ball as a float64 and the rest; NaN where it is not known well enough."""
    high = float(ball)
    if not np.isfinite(high):
        return high, 0.0
    vague = not ball.is_exact() and ball.rel_accuracy_bits() < 80
    if vague and not float(abs(ball).upper()) < 1e-320:
        return np.nan, 0.0
    with precision(256):
        return high, float(ball - arb(high))


def depends(jaxpr: Any, place: int) -> list[bool]:
    """Which results of a program are computed from one of its inputs."""
    from_it = {jaxpr.invars[place]}
    for eqn in jaxpr.eqns:
        if any(not isinstance(v, core.Literal) and v in from_it for v in eqn.invars):
            from_it.update(eqn.outvars)
    return [not isinstance(v, core.Literal) and v in from_it for v in jaxpr.outvars]


# The largest term of each sum, carried through a program


def with_terms(closed: Any) -> Callable[..., list]:
    """The program's results, then for each the size of its largest term."""

    def run(*args: Any) -> list:
        out = _terms(closed.jaxpr, closed.consts, [(a, jnp.abs(a)) for a in args])
        return [v for v, _ in out] + [s for _, s in out]

    return run


def _terms(jaxpr: Any, consts: Sequence[Any], pairs: Sequence[tuple]) -> list[tuple]:
    values: dict[Any, tuple] = {v: _own(c) for v, c in zip(jaxpr.constvars, consts, strict=True)}
    values.update(zip(jaxpr.invars, pairs, strict=True))

    def read(atom: Any) -> tuple:
        return _own(jnp.asarray(atom.val)) if isinstance(atom, core.Literal) else values[atom]

    for eqn in jaxpr.eqns:
        ins = [read(v) for v in eqn.invars]
        name = eqn.primitive.name
        inner = eqn.params.get(CALLS.get(name, ""))
        if name == "optimization_barrier":  # what is saved is not what is measured here
            out = ins
        elif inner is not None:
            closed = inner if isinstance(inner, core.ClosedJaxpr) else core.ClosedJaxpr(inner, ())
            out = _terms(closed.jaxpr, closed.consts, ins)
        else:
            results = eqn.primitive.bind(*(v for v, _ in ins), **eqn.params)
            results = results if eqn.primitive.multiple_results else [results]
            rule = _TERMS.get(name)
            if rule is None or not all(is_floating(y.dtype) for y in results):
                out = [_own(y) for y in results]
            else:
                out = list(zip(results, rule(eqn, ins), strict=True))
        values.update(zip(eqn.outvars, out, strict=True))
    return [read(v) for v in jaxpr.outvars]


def _own(x: Any) -> tuple:
    return x, jnp.abs(x) if is_floating(jnp.result_type(x)) else x


def _passed(eqn: Any, ins: list) -> list:
    """Data movement: the terms move as the values do."""
    first = [ins[0][0]] if eqn.primitive.name == "select_n" else []
    out = eqn.primitive.bind(*first, *(s for _, s in ins[len(first) :]), **eqn.params)
    return list(out) if eqn.primitive.multiple_results else [out]


_MOVED = (
    *("reshape", "broadcast_in_dim", "squeeze", "copy", "reduce_sum", "select_n"),
    *("transpose", "slice", "concatenate", "rev", "convert_element_type"),
)
_TERMS: dict[str, Callable[[Any, list], list]] = {
    **dict.fromkeys(
        ("add", "sub", "add_any"), lambda eqn, ins: [jnp.maximum(ins[0][1], ins[1][1])]
    ),
    **dict.fromkeys(_MOVED, _passed),
    "dot_general": lambda eqn, ins: [eqn.primitive.bind(ins[0][1], ins[1][1], **eqn.params)],
    "mul": lambda eqn, ins: [ins[0][1] * ins[1][1]],
    "div": lambda eqn, ins: [ins[0][1] / jnp.abs(ins[1][0])],
    "neg": lambda eqn, ins: [ins[0][1]],
}
