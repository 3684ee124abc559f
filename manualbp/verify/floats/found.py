"""What a sweep over all floats found: errors, where they are, and what is wrong there."""

import json
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from manualbp.verify.floats.ulps import FINDINGS, LOST, MOST_ULPS, measure

_EXACT_INTERVALS = 8


@dataclass(frozen=True)
class Finding:
    """Inputs at which something is wrong.

    Attributes:
      count: how many.
      first: the arguments of the first of them, from -inf on.
      got: what the function gives there.
      expected: the truth there.
      intervals: of the argument swept: the first and the last in each run of neighbouring blocks
        (1/16 of a binade in float16, 1/2 in bfloat16, 1/128 in float32); of whole blocks where
        there are more than eight.
    """

    count: int
    first: tuple
    got: float
    expected: float
    intervals: tuple[tuple[float, float], ...]


@dataclass(frozen=True)
class Part:
    """The errors of the value, or of one derivative.

    Attributes:
      name: "value", or "d" and the argument.
      ulps: the largest finite |got - truth| / ulp(truth).
      at: the arguments there.
      term_ulps: the largest error in ULPs of the largest term, which is that of `ulps` or less.
      term_at: the arguments there.
      findings: by kind, of FINDINGS; only kinds that occur.
      curve: the largest error in each block of inputs, from -NaN to NaN.
      exponents: for each exponent of each sign that has one: its number of smallest size, the
        largest error, and how many inputs are above 4 ULP.
    """

    name: str
    ulps: float
    at: tuple
    term_ulps: float
    term_at: tuple
    findings: dict[str, Finding]
    curve: np.ndarray
    exponents: tuple[tuple[float, float, int], ...]

    def count(self, kind: str) -> int:
        """How many inputs show a kind of FINDINGS."""
        return self.findings[kind].count if kind in self.findings else 0


@dataclass(frozen=True)
class Sweep:
    """What `accuracy` found.

    Attributes:
      name: of the function.
      dtype: of all its arguments.
      argument: that is swept.
      others: the values that the other arguments take.
      exhaustive: whether every float of the dtype was tried.
      inputs: how many sets of arguments.
      parts: the value, then the derivative in each argument.
      limits: what is wrong at 0, -0, inf and -inf.
      truth: "float64 form" or "exact arithmetic".
      truth_ulps: the largest difference of the float64 form from exact arithmetic, in ULPs of the
        dtype, at `truth_points` random and adversarial inputs, the worst ones found among them.
      truth_term_ulps: the same in ULPs of the largest term.
      truth_points: how many those are.
      flushes: whether the backend flushes subnormal results and inputs to zero.
      measured: versions, backend and device.
      seconds: of computing.
    """

    name: str
    dtype: str
    argument: str
    others: tuple
    exhaustive: bool
    inputs: int
    parts: tuple[Part, ...]
    limits: tuple[str, ...]
    truth: str
    truth_ulps: float
    truth_term_ulps: float
    truth_points: int
    flushes: tuple[bool, bool]
    measured: dict[str, str]
    seconds: float

    def to_dict(self) -> dict[str, Any]:
        """Plain Python, for json; without the curves."""
        plain = asdict(self)
        for part in plain["parts"]:
            del part["curve"]
        return json.loads(json.dumps(plain))

    @classmethod
    def read(cls, plain: dict, worst: np.ndarray) -> "Sweep":
        """A sweep from its dictionary, and the largest errors kept beside it."""

        def tuples(x: Any) -> Any:
            return tuple(map(tuples, x)) if isinstance(x, list) else x

        parts = []
        for k, kept in enumerate(plain["parts"]):
            part: dict[str, Any] = {name: tuples(value) for name, value in kept.items()}
            part["findings"] = {
                kind: Finding(**{n: tuples(v) for n, v in found.items()})
                for kind, found in part["findings"].items()
            }
            parts.append(Part(curve=worst[0, k], **part))
        return cls(
            **{name: tuples(value) for name, value in plain.items()} | {"parts": tuple(parts)}
        )


def sweep_of(
    asked: Any, state: dict, checked: tuple, identity: dict, exhaustive: bool, seconds: float
) -> Sweep:
    """The report on a Question, from what is known of each block.

    Blocks keep how large and how many, and not where: the few that matter are looked at again.
    """
    parts: list[Part] = []
    worst: dict[int, list[int]] = {}
    for part, name in enumerate(asked.names):
        error, in_terms = (_locate(asked, state, metric, part) for metric in range(2))
        for *_, place, g in (error, in_terms):
            if place is not None:
                worst.setdefault(g, []).append(place)
        findings = {
            kind: _finding(asked, state, bit, part)
            for bit, kind in enumerate(FINDINGS)
            if state["count"][bit, part].any()
        }
        curve = state["worst"][0, part].copy()
        exponents = _by_exponent(asked, state, part)
        (ulps, at, *_), (term_ulps, term_at, *_) = error, in_terms
        parts.append(Part(name, ulps, at, term_ulps, term_at, findings, curve, exponents))
    if asked.by_form and worst:
        # the worst points found are where a wrong truth would show
        again = asked.form_checked([(np.asarray(k, np.uint64), g) for g, k in worst.items()])
        if np.isfinite(again[0]):
            checked = *map(max, checked[:2], again[:2]), checked[2] + again[2]
    if not asked.by_form:
        checked = 0.0, 0.0, int(state["inputs"])
    measured = {k: identity[k] for k in ("manualbp", "jax", "backend", "device")}
    return Sweep(
        asked.name,
        asked.line.kind.name,
        asked.argument,
        tuple(asked.grid),
        exhaustive,
        int(state["inputs"]),
        tuple(parts),
        _limits(asked),
        "float64 form" if asked.by_form else "exact arithmetic",
        checked[0],
        checked[1],
        checked[2],
        asked.line.flushes,
        measured,
        seconds,
    )


def _tried(asked: Any, state: dict, block: int, g: int) -> np.ndarray:
    """The places of a block that were tried with a set of the other arguments."""
    if asked.line.bits < 64:
        return asked.tried(block)
    places, sets = state["searched"]
    return np.sort(places[(sets == g) & (places // np.uint64(asked.line.width) == block)])


def _locate(asked: Any, state: dict, metric: int, part: int) -> tuple:
    """The largest error, the arguments there, its place and set of others."""
    worst = state["worst"][metric, part]
    block = int(np.argmax(worst))
    if not worst[block] > 0:
        return 0.0, (), None, 0
    g = int(state["grid"][metric, part, block])
    places = _tried(asked, state, block, g)
    errors = asked.judged(places, g)[2 + metric][part]
    at = int(places[errors.argmax()])
    return float(errors.max()), _arguments(asked, at, g), at, g


def _arguments(asked: Any, place: int, g: int) -> tuple:
    return tuple(float(x[0]) for x in asked.arguments([place], g))


def _finding(asked: Any, state: dict, bit: int, part: int) -> Finding:
    count = state["count"][bit, part]

    def look(block: int) -> tuple[np.ndarray, int, Any, Any]:
        """The places of a block that show it, of the first set of others that has some."""
        for g in range(len(asked.grid)):
            places = _tried(asked, state, block, g)
            got, truth, _, _, flags = asked.judged(places, g)
            hit = (flags[part] >> bit) & 1 == 1
            if hit.any():
                break
        return places[hit], g, got[part][hit], truth[part][hit]

    hit = np.flatnonzero(count)
    places, g, got, truth = look(hit[0])
    runs = np.split(hit, np.flatnonzero(np.diff(hit) > 1) + 1)
    intervals = []
    for run in runs:
        if len(runs) <= _EXACT_INTERVALS:
            ends = [look(run[0])[0][0], look(run[-1])[0][-1]]
        else:
            ends = [run[0] * asked.line.width, (run[-1] + 1) * asked.line.width - 1]
        low, high = asked.line.numbers(np.asarray(ends, np.uint64))
        intervals.append((float(low), float(high)))
    return Finding(
        int(count.sum()),
        _arguments(asked, int(places[0]), g),
        float(got[0]),
        float(truth[0]),
        tuple(intervals),
    )


def _by_exponent(asked: Any, state: dict, part: int) -> tuple:
    """A histogram: smallest number of the exponent, largest error, inputs above 4 ULP."""
    first = asked.line.exponents()
    n = min(len(first), asked.line.blocks)
    first = first[:: len(first) // n]
    worst = state["worst"][0, part].reshape(n, -1).max(axis=1)
    above = state["count"][0, part].reshape(n, -1).sum(axis=1)
    per = 2**asked.line.bits // n
    rows = []
    for k in np.flatnonzero((worst > 0) | (above > 0)).tolist():
        place = k * per if k >= n // 2 else (k + 1) * per - 1
        number = float(asked.line.numbers(np.asarray([place], np.uint64))[0])
        rows.append((number, float(worst[k]), int(above[k])))
    return tuple(rows)


def _limits(asked: Any) -> tuple[str, ...]:
    """What is wrong at infinities, by the definition far out, and at zeros of odd functions."""
    wrong = []
    far = np.asarray([2.0**40, 2.0**50, -(2.0**40), -(2.0**50)])
    at = [np.inf, -np.inf, 0.0, -0.0, 0.25, -0.25]
    places = np.asarray([asked.line.place(x) for x in at], np.uint64)
    for g, others in enumerate(asked.grid):
        xs = asked.arguments(places[:4], g)
        xs[asked.swept] = far
        high, _, _ = asked.balls(xs)
        got = asked.judged(places, g)[0]
        given = f" with {', '.join(map(str, others))}" if others else ""
        for k, name in enumerate(asked.names):
            for i, x in enumerate(at[:2]):
                near, further = high[k][2 * i : 2 * i + 2]
                if not asked.domain[0] <= x <= asked.domain[1] or not np.isfinite(near + further):
                    continue
                grows = abs(further) > 1.01 * abs(near)
                limit = np.copysign(np.inf, further) if grows else further
                limit = 0.0 if abs(further) < 0.99 * abs(near) else limit
                error = measure(
                    np, got[k][i], np.float64(limit), 0.0, np.float64(0), asked.line.limits, True
                )
                if error[0] > MOST_ULPS or error[2] & LOST:
                    wrong.append(f"{name} at {x}{given}: {got[k][i]:.6g}, the limit is {limit:.6g}")
        if asked.domain[0] <= -1:
            value, zeros = got[0], np.signbit(got[0][2:4])
            odd = value[4] == -value[5] != 0 and value[2] == 0
            if odd and (zeros[0] or not zeros[1]):
                wrong.append(f"value at 0 and -0{given}: {value[2]}, {value[3]}")
    return tuple(wrong)
