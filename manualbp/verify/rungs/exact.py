"""Rung 3: both programs in exact arithmetic, and difference quotients that need no autodiff."""

import functools
import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import jax
import numpy as np
from flint import arb
from jax.extend import core

from manualbp.verify.ask.problem import Problem
from manualbp.verify.numbers.balls import Arb, is_nan, precision
from manualbp.verify.numbers.walk import Straddles, Unsupported, evaluate, is_floating, lift

# Bits at which a comparison is tried before it is left undecided
PRECISIONS = (256, 1024, 4096)
# Two results that agree to so many digits are one function; to SIMILAR, one is an approximation
SAME, SIMILAR = 20.0, 6.0
# Ways to decide ties are tried one by one, two to the power of this many at most
MOST_TIES = 6
# The quotient's step, relative to the argument's size: with 1024 bits 60 digits are left
STEP = 2.0**-200
# Neighbours of a point at which its condition is measured
NUDGES = 8
# Why a finding at a kink is wrong though its entry alone is not
TOGETHER = "possible alone, not together with the other entries"


@dataclass(frozen=True)
class Finding:
    """How one entry of a gradient (or value) compares with the truth.

    Attributes:
      verdict: "right", "wrong", "kink" (between the one-sided limits) or "undecided".
      expected: the truth; at a kink the two one-sided derivatives.
      truth: which truth decided: "autodiff" or "difference quotients".
      digits: to how many decimal digits the two agree.
      why: what was not decided; or TOGETHER.
    """

    verdict: Literal["right", "wrong", "kink", "undecided"]
    got: Any = None
    expected: Any = None
    truth: str = "autodiff"
    digits: float = np.inf
    why: str = ""


@dataclass(frozen=True)
class Exact:
    """The value and cotangents of both programs at one point, as balls."""

    our_value: list
    our_pull: list
    value: list
    pull: list


def run(
    jaxpr: Any,
    point: Sequence[Any],
    rounded_constants: bool = False,
    precisions: Sequence[int] = PRECISIONS,
) -> list:
    """The program at a point, at the first precision that leaves every result accurate.

    At the last precision the results are taken as they come.

    Raises:
      Straddles: none did.
      Unsupported: a primitive without a form in balls.
    """
    last: Straddles | None = None
    for bits in precisions:
        with jax.enable_x64(True), precision(bits):
            arithmetic = Arb(rounded_constants)
            try:
                results = evaluate(jaxpr, [lift(x, arithmetic.lift) for x in point], arithmetic)
            except Straddles as straddle:
                last = straddle
                continue
        if rounded_constants or bits == precisions[-1] or all(map(accurate, results)):
            return results
    assert last is not None
    raise last


# So many points are run one by one in less time than it takes to trace a program for them all
_FEW = 3


def run_many(jaxpr: Any, stacks: Sequence[np.ndarray]) -> list[list | Straddles]:
    """`run` at each point of a stack: at once, and alone where that decides nothing.

    One pass over the program serves all points, which costs far less than a pass for each.
    """
    n = len(stacks[0]) if stacks else 0
    results: list[list | None] = [None] * n
    open_ = list(range(n)) if n > _FEW else []
    for bits in PRECISIONS:
        if not open_:
            break
        # repeated up to a few lengths, as the program is traced anew for each
        rows = np.resize(open_, _padded(len(open_)))
        try:
            with jax.enable_x64(True), precision(bits):
                arithmetic = Arb()
                lifted = [lift(x[rows], arithmetic.lift) for x in stacks]
                together = evaluate(_vmapped(jaxpr, len(rows)), lifted, arithmetic)
        except (Straddles, Unsupported):  # some point straddles; or batched, it has no form
            continue
        for k, i in enumerate(open_):
            row = [np.asarray(x[k]) for x in together]
            if bits == PRECISIONS[-1] or all(map(accurate, row)):
                results[i] = row
        open_ = [i for i in open_ if results[i] is None]
    return [
        row if row is not None else _run_or_reason(jaxpr, [x[i] for x in stacks])
        for i, row in enumerate(results)
    ]


def _padded(n: int) -> int:
    return 2 ** (n - 1).bit_length() if n <= 16 else -(-n // 16) * 16


@functools.lru_cache(maxsize=256)
def _vmapped(jaxpr: Any, n: int) -> Any:
    stacks = [jax.ShapeDtypeStruct((n, *a.shape), a.dtype) for a in jaxpr.in_avals]
    return jax.make_jaxpr(jax.vmap(core.jaxpr_as_fun(jaxpr)))(*stacks)


def _run_or_reason(jaxpr: Any, point: list) -> list | Straddles:
    try:
        return run(jaxpr, point)
    except Straddles as reason:
        return reason


def accurate(array: Any) -> bool:
    """Whether every ball is narrow, or a naive formula has cancelled its digits away."""
    return array.dtype != object or all(
        x.is_exact() or not x.is_finite() or x.rel_accuracy_bits() > 80 for x in array.ravel()
    )


def both(problem: Problem, point: Sequence[Any], rounded_constants: bool = False) -> Exact:
    """Both programs at a point (leaves, then cotangents)."""
    ours, truth = (run(p, point, rounded_constants) for p in _programs(problem))
    return _exact(problem, ours, truth)


def _programs(problem: Problem) -> tuple[Any, Any]:
    return problem.traced.ours, problem.traced.truth


def _exact(problem: Problem, ours: list, truth: list) -> Exact:
    n = len(ours) - len(problem.differentiated)
    return Exact(ours[:n], ours[n:], truth[:n], truth[n:])


def agreement(x: arb, y: arb) -> float:
    """Decimal digits to which two numbers agree for certain; inf where they are equal.

    Two balls about zero are zero, as far as the highest precision can tell; NaN where one is too
    wide to say.
    """
    if x == y:
        return np.inf
    if not (x.is_finite() and y.is_finite()):
        return 0.0
    if x.overlaps(y):
        if x.contains(0) and y.contains(0):
            return np.inf
        bits = min(x.rel_accuracy_bits(), y.rel_accuracy_bits())
        return np.nan if bits <= 80 else bits * np.log10(2.0)
    with precision(1024):
        size = abs(x).upper().max(abs(y).upper())
        relative = (abs(x - y).upper() / size).upper()
    return np.inf if relative == 0 else max(0.0, -float(relative.log()) / np.log(10.0))


def only_constants(ours: Any, truth: Any, point: Sequence[Any], leaf: int, index: tuple) -> bool:
    """Whether the rounding of constants such as 0.1 explains a difference of two programs."""
    try:
        x, y = (run(p, point, rounded_constants=True)[leaf][index] for p in (ours, truth))
    except Straddles:  # a threshold that is itself a rounded constant
        return False
    return _overlap(x, y)


def _overlap(x: arb, y: arb) -> bool:
    return bool(x.is_finite() and y.is_finite() and x.overlaps(y))


def by_digits(digits: float, got: arb, expected: arb, truth: str) -> Finding:
    """The verdict on two numbers that agree to so many digits."""
    if np.isnan(digits):
        return Finding("undecided", got, expected, truth, why="the truth is below all precision")
    return Finding("right" if digits >= SIMILAR else "wrong", got, expected, truth, digits)


def compare(problem: Problem, point: Sequence[Any]) -> "Comparison":
    """Every entry of value and gradient at one point, decided on demand."""
    return Comparison(problem, point, both(problem, point))


def compare_many(problem: Problem, points: Sequence[list]) -> "list[Comparison | Straddles]":
    """`compare` at each point, or why it cannot be."""
    stacks = [np.stack(x) for x in zip(*points, strict=True)]
    ours, truth = (run_many(p, stacks) for p in _programs(problem))
    found: list[Comparison | Straddles] = []
    for point, a, b in zip(points, ours, truth, strict=True):
        if isinstance(a, Straddles):
            found.append(a)
        elif isinstance(b, Straddles):
            found.append(b)
        else:
            found.append(Comparison(problem, point, _exact(problem, a, b)))
    return found


class Comparison:
    """Decides entries at one point; the second truths are only computed where they are needed."""

    def __init__(self, problem: Problem, point: Sequence[Any], exact: Exact):
        self.problem, self.point, self.exact = problem, list(point), exact
        self._decisions: dict[tuple, Finding] = {}

    def results(self, leaf: int) -> np.ndarray:
        """The definition's exact entries: of a cotangent, or for -1 - k of the k-th value."""
        return self.exact.value[-1 - leaf] if leaf < 0 else self.exact.pull[leaf]

    def entry(self, leaf: int, index: tuple) -> Finding:
        """One entry of such a leaf, decided once."""
        if (leaf, index) not in self._decisions:
            finding = self.value(-1 - leaf, index) if leaf < 0 else self.gradient(leaf, index)
            self._decisions[leaf, index] = finding
        return self._decisions[leaf, index]

    def elsewhere(self, point: Sequence[Any], leaf: int, index: tuple) -> arb:
        """The definition's exact entry at another point."""
        return run(self.problem.traced.truth, point)[self._place(leaf)][index]

    def _place(self, leaf: int) -> int:
        """Where such a leaf stands among the results of a program."""
        return -1 - leaf if leaf < 0 else len(self.exact.value) + leaf

    def spread(self, leaf: int, index: tuple) -> float:
        """How far the definition's exact entry moves when inputs move by a rounding of float64."""
        results = [float(row[self._place(leaf)][index]) for row in self._nudged]
        finite = [r for r in results if np.isfinite(r)]
        return max(finite) - min(finite) if len(finite) > 1 else 0.0

    @functools.cached_property
    def _nudged(self) -> list[list]:
        """The definition with every floating input at one of its neighbours, some times."""
        rng = np.random.default_rng(0)
        stacks = []
        for x in self.point:
            many = np.stack([x] * NUDGES)
            if is_floating(many.dtype):
                many = np.nextafter(many, rng.choice([-np.inf, np.inf], many.shape))
            stacks.append(many)
        rows = run_many(self.problem.traced.truth, stacks)
        return [row for row in rows if not isinstance(row, Straddles)]

    def value(self, leaf: int, index: tuple) -> Finding:
        """One entry of the value."""
        got, expected = self.exact.our_value[leaf][index], self.exact.value[leaf][index]
        if is_nan(expected):
            return Finding("undecided", got, expected, why="the definition is undefined here")
        digits = agreement(got, expected)
        if digits < SAME and self._only_constants("our_value", "value", leaf, index):
            digits = SAME
        return by_digits(digits, got, expected, "autodiff")

    def gradient(self, leaf: int, index: tuple) -> Finding:
        """One entry of the cotangent of a differentiated leaf."""
        got, expected = self.exact.our_pull[leaf][index], self.exact.pull[leaf][index]
        digits = agreement(got, expected) if not is_nan(expected) else 0.0
        if digits < SAME and self._only_constants("our_pull", "pull", leaf, index):
            digits = SAME
        if not digits < SAME:
            return by_digits(digits, got, expected, "autodiff")
        # autodiff and the rule differ: the function itself decides
        try:
            left, right = self.quotients(leaf, index)
        except Straddles as straddle:
            return Finding("undecided", got, expected, why=str(straddle))
        if is_nan(left) or is_nan(right):
            defined = right if is_nan(left) else left
            if is_nan(defined):
                return Finding("undecided", got, expected, why="the definition is undefined here")
            left = right = defined
        name = "difference quotients"
        if agreement(left, right) >= SAME:
            finding = by_digits(agreement(got, left), got, left, name)
            return finding if finding.verdict != "wrong" else self._at_kink(leaf, index, finding)
        with precision(256):
            low, high = sorted((left, right), key=float)
        if not _between(got, low, high):
            return self._at_kink(leaf, index, Finding("wrong", got, (low, high), name))
        return Finding("kink", got, (low, high), name)

    @functools.cached_property
    def findings(self) -> list[tuple[int, tuple, Finding]]:
        """All that `entries` yields."""
        return list(self.entries())

    def entries(self, leaf: int | None = None) -> Iterator[tuple[int, tuple, Finding]]:
        """A finding for every entry, those of the value first: (leaf, index, finding).

        Leaf -1 - k is the k-th of the value. Where each entry of the gradient is possible at a
        kink but all together are not, as for max(x, y) at x = y, the last finding says so.
        """
        kink = None
        for k, array in enumerate(self.exact.value):
            if leaf in (None, -1 - k):
                for index in np.ndindex(array.shape):
                    yield -1 - k, index, self.entry(-1 - k, index)
        for k, array in enumerate(self.exact.pull):
            if leaf in (None, k):
                for index in np.ndindex(array.shape):
                    finding = self.entry(k, index)
                    kink = (k, index, finding) if finding.verdict == "kink" else kink
                    yield k, index, finding
        if kink is not None and self._possible is False:
            yield *kink[:2], replace(kink[2], verdict="wrong", why=TOGETHER)

    def _at_kink(self, leaf: int, index: tuple, finding: Finding) -> Finding:
        """A last look: at a kink, right is what some choice at each comparison gives.

        Conventions at several kinks need not add up to a one-sided derivative of the whole.
        """
        hull = self._hull
        if hull is None or not self._nonsmooth:
            return finding
        ball = hull[len(self.exact.value) + leaf][index]
        if not ball.is_finite() or not _between(finding.got, ball.lower(), ball.upper()):
            return finding
        return Finding("kink", finding.got, (ball.lower(), ball.upper()), finding.truth)

    @functools.cached_property
    def _hull(self) -> list | None:
        """The definition's gradient with every choice at ties open; None where that fails."""
        with jax.enable_x64(True), precision(PRECISIONS[0]):
            arithmetic = Arb(ties_open=True)
            lifted = [lift(x, arithmetic.lift) for x in self.point]
            try:
                return evaluate(self.problem.traced.truth, lifted, arithmetic)
            except (Straddles, Unsupported):
                return None

    @functools.cached_property
    def _possible(self) -> bool | None:
        """Whether the whole gradient is a mixture of those that each way to decide ties gives.

        None where there are too many ways, or none can be run.
        """
        first = self._decided(())
        if first is None or first[1] > MOST_TIES:
            return None
        n, ours = len(self.exact.value), _flat(self.exact.our_pull)
        # the first decided every tie by False, as the last would; most rules decide all ties alike
        ties = itertools.product((True, False), repeat=first[1])
        others = itertools.islice(ties, 2 ** first[1] - 1)
        found = []
        for way in itertools.chain([first], map(self._decided, others)):
            if way is not None:
                found.append(_flat(way[0][n:]))
                if np.array_equal(found[-1], ours):
                    return True
            if len(found) == 2 and _on_segment(ours, *found):  # one convention for every tie
                return True
        from scipy.optimize import nnls  # slow to import, and seldom needed

        corners = np.array(found)
        if not (np.all(np.isfinite(corners)) and np.all(np.isfinite(ours))):
            return None
        size = max(np.abs(corners).max(initial=0.0), np.abs(ours).max(initial=0.0))
        if size == 0:
            return True
        # weights >= 0 that sum to 1 and mix the corners to ours
        matrix = np.vstack([corners.T / size, np.ones(len(corners))])
        _, distance = nnls(matrix, np.append(ours / size, 1.0))
        return bool(distance < 1e-7)

    def _decided(self, ties: Sequence[bool]) -> tuple[list, int] | None:
        """The definition with ties decided so, and how many it met."""
        with jax.enable_x64(True), precision(PRECISIONS[0]):
            arithmetic = Arb(ties=ties)
            lifted = [lift(x, arithmetic.lift) for x in self.point]
            try:
                return evaluate(self.problem.traced.truth, lifted, arithmetic), arithmetic.met
            except (Straddles, Unsupported):
                return None

    @functools.cached_property
    def _nonsmooth(self) -> bool:
        """Whether the definition has a kink here: forward and backward slopes along a line differ.

        Programs also compare where functions are smooth; there a rule gets no such freedom.
        """
        rng = np.random.default_rng(0)
        for _ in range(3):
            direction = {
                k: rng.choice([-1.0, 1.0], self.point[k].shape)
                * (1 + rng.random(self.point[k].shape))
                for k in self.problem.differentiated
            }
            try:
                back, ahead = self._slopes(direction, 1.0)
            except Straddles:
                continue
            if not (is_nan(back) or is_nan(ahead)) and agreement(back, ahead) < SAME:
                return True
        return False

    def _only_constants(self, ours: str, theirs: str, leaf: int, index: tuple) -> bool:
        """Whether the rounding of constants such as 0.1 explains the difference."""
        x, y = getattr(self._rounded, ours, None), getattr(self._rounded, theirs, None)
        if x is None or y is None:
            return False
        return _overlap(x[leaf][index], y[leaf][index])

    @functools.cached_property
    def _rounded(self) -> Exact | None:
        try:
            return both(self.problem, self.point, rounded_constants=True)
        except Straddles:  # a threshold that is itself a rounded constant
            return None

    def quotients(self, leaf: int, index: tuple) -> tuple[arb, arb]:
        """One-sided derivatives of the definition in one entry, from its forward program alone."""
        k = self.problem.differentiated[leaf]
        direction = np.zeros(self.point[k].shape)
        direction[index] = 1.0
        return self._slopes({k: direction}, abs(float(self.point[k][index])))

    def _slopes(self, direction: dict[int, np.ndarray], size: float) -> tuple[arb, arb]:
        """Backward and forward derivative along a line.

        Each is extrapolated from two steps, which leaves an error of the order of the step
        squared: more than SAME digits wherever the function is smooth on that side.
        """
        with jax.enable_x64(True), precision(1024):
            h = arb(STEP) * max(size, 2.0**-40)
            centre, *moved = self._losses(direction, [arb(0), -h, -2 * h, h, 2 * h])
            near_left, far_left, near_right, far_right = (x - centre for x in moved)
            left = 2 * near_left / -h - far_left / (-2 * h)
            return left, 2 * near_right / h - far_right / (2 * h)

    def _losses(self, direction: dict[int, np.ndarray], steps: list[arb]) -> list[arb]:
        """The definition's value against the cotangents, at steps along a direction."""
        arithmetic = Arb()
        moved = [np.stack([lift(x, arithmetic.lift)] * len(steps)) for x in self.point]
        for k, along in direction.items():
            for row, h in enumerate(steps):
                moved[k][row] = moved[k][row] + lift(along, arithmetic.lift) * h
        return list(evaluate(_vmapped(self.problem.traced_loss, len(steps)), moved, arithmetic)[0])


def floats(array: np.ndarray) -> np.ndarray:
    """The midpoints of balls."""
    return np.asarray([float(x) for x in array.ravel()]).reshape(array.shape)


def _on_segment(x: np.ndarray, a: np.ndarray, b: np.ndarray) -> bool:
    """Whether x is a + t (b - a) for a t from 0 to 1, to float64."""
    along = b - a
    length = float(along @ along)
    if not 0 < length < np.inf:
        return False
    t = min(max(float((x - a) @ along) / length, 0.0), 1.0)
    size = max(np.abs(a).max(), np.abs(b).max())
    return bool(np.abs(a + t * along - x).max() <= 1e-12 * size)


def _flat(arrays: list) -> np.ndarray:
    return np.concatenate([floats(x).ravel() for x in arrays])


def _between(x: arb, low: arb, high: arb) -> bool:
    with precision(256):
        slack = (abs(low) + abs(high)) * arb(2) ** -60
        return bool(x >= low - slack) and bool(x <= high + slack)
