"""Both programs in exact arithmetic, and difference quotients of the definition alone.

Autodiff of the definition, in balls, is the cheap truth. Where the rule differs from it, and at
every kink and tie also where the two agree (they can be wrong together), the definition itself
decides: one-sided difference quotients in balls, in which what `stop_gradient` holds stays held.
"""

import functools
import itertools
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flint import arb
from jax.extend import core

from manualbp.verify.ask.problem import Problem
from manualbp.verify.evidence import Entry, Finding
from manualbp.verify.numbers.arithmetic import as_array, is_made
from manualbp.verify.numbers.balls import Arb, is_nan, precision
from manualbp.verify.numbers.needed import Masks
from manualbp.verify.numbers.operations import programs_in
from manualbp.verify.numbers.walk import Straddles, Unsupported, evaluate, is_floating, lift

# Bits at which a comparison is tried before it is left undecided
PRECISIONS = (256, 1024, 4096)
# Two results that agree to so many digits are one function; to SIMILAR, one is an approximation
SAME, SIMILAR = 20.0, 6.0
# The quotient's step, relative to the argument's size: with 1024 bits 60 digits are left
STEP = 2.0**-200
# Neighbours of a point at which its condition is measured
NUDGES = 8
# Why a finding at a kink is wrong though its entry alone is not
TOGETHER = "possible alone, not together with the other entries"
# Entries of a point that are decided
_MOST_ENTRIES = 256
# Entries that are decided one by one, where each takes runs of its own
_ONE_BY_ONE = 48
# So often the movement of both programs under moved constants explains a difference
_JITTERS = 8
# An input of so many times the root of a guard, at most, is inside of it
_INSIDE = 10.0
# And a far smaller movement, to see that no branch changes
_NEARER = 2.0**-20
# Ways to decide ties are tried one by one, two to the power of this many at most
_MOST_TIES = 6


# Programs in balls


def run(
    jaxpr: Any,
    point: Sequence[Any],
    precisions: Sequence[int] = PRECISIONS,
    make: Callable[..., Arb] = Arb,
    wanted: Masks | None = None,
    **options: Any,
) -> list:
    """The program at a point, at the first precision that leaves every result accurate.

    At the last precision the results are taken as they come.

    Args:
      jaxpr: the program, traced in any dtypes.
      point: its arguments.
      precisions: bits, tried in order.
      make: the arithmetic.
      wanted: masks of the results that are made; all if None.
      options: of it; with any, results are taken as they come.

    Raises:
      Straddles: none left every comparison decided.
      Unsupported: a primitive without a form in balls.
    """
    last: Straddles | None = None
    for bits in precisions:
        with jax.enable_x64(True), precision(bits):
            arithmetic = make(**options)
            try:
                results = _evaluated(jaxpr, point, arithmetic, wanted)
            except Straddles as straddle:
                last = straddle
                continue
        if options or bits == precisions[-1] or all(map(accurate, results)):
            return results
    assert last is not None
    raise last


def _evaluated(jaxpr: Any, point: Sequence[Any], arithmetic: Arb, wanted: Masks | None) -> list:
    if wanted is None:
        return evaluate(jaxpr, [lift(x, arithmetic.lift) for x in point], arithmetic)
    results = evaluate(jaxpr, point, arithmetic, wanted)  # which lifts what is needed
    # what was made on the way and is not wanted is not there
    return [np.where(m, x, None) for x, m in zip(results, wanted, strict=True)]


# So many points are run one by one in less time than it takes to trace a program for them all
_FEW = 3


def run_many(
    jaxpr: Any, stacks: Sequence[np.ndarray], wanted: Masks | None = None
) -> list[list | Straddles]:
    """`run` at each point of a stack: at once, and alone where that decides nothing.

    One pass over the program serves all points, which costs far less than a pass for each.
    """
    n = len(stacks[0]) if stacks else 0
    results: list[list | None] = [None] * n
    open_ = list(range(n)) if n > _FEW and wanted is None else []
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
        except Exception:  # a primitive that has no batching rule
            break
        for k, i in enumerate(open_):
            row = [np.asarray(x[k]) for x in together]
            if bits == PRECISIONS[-1] or all(map(accurate, row)):
                results[i] = row
        open_ = [i for i in open_ if results[i] is None]
    return [
        row if row is not None else run_or_reason(jaxpr, [x[i] for x in stacks], wanted)
        for i, row in enumerate(results)
    ]


def _padded(n: int) -> int:
    return 2 ** (n - 1).bit_length() if n <= 16 else -(-n // 16) * 16


@functools.lru_cache(maxsize=256)
def _vmapped(jaxpr: Any, n: int) -> Any:
    stacks = [jax.ShapeDtypeStruct((n, *a.shape), a.dtype) for a in jaxpr.in_avals]
    return jax.make_jaxpr(jax.vmap(core.jaxpr_as_fun(jaxpr)))(*stacks)


def run_or_reason(jaxpr: Any, point: list, wanted: Masks | None = None) -> list | Straddles:
    """`run`, or why it decides nothing."""
    try:
        return run(jaxpr, point, wanted=wanted)
    except Straddles as reason:
        return reason


def accurate(array: Any) -> bool:
    """Whether every ball is narrow, or a naive formula has cancelled its digits away."""
    return array.dtype != object or all(
        x is None
        or x.is_exact()
        or not x.is_finite()
        or not isinstance(x, arb)
        or x.rel_accuracy_bits() > 80
        for x in array[is_made(array)]
    )


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


def floats(array: np.ndarray) -> np.ndarray:
    """The midpoints of balls; NaN where there is none."""
    if array.dtype != object:
        return np.asarray(array, np.float64)
    out = np.full(array.shape, np.nan)
    there = is_made(array)
    out[there] = [float(x) for x in array[there]]
    return out


class _Watching(Arb):
    """Balls that tell whether a program met a tie, or a jump such as a floor at an integer."""

    def __init__(self) -> None:
        super().__init__()
        self.tied = self.jumped = False

    def _meets(self, x: arb, y: arb) -> None:
        self.tied = self.tied or (x is not y and bool(x == y))

    def compare(self, name: str, x: arb, y: arb) -> bool | None:
        self._meets(x, y)
        return super().compare(name, x, y)

    def maximum(self, x: arb, y: arb) -> arb:
        self._meets(x, y)
        return super().maximum(x, y)

    def minimum(self, x: arb, y: arb) -> arb:
        self._meets(x, y)
        return super().minimum(x, y)

    def function(self, name: str, arguments: int) -> Callable[..., arb]:
        function = super().function(name, arguments)
        if name not in ("abs", "sign", "floor", "ceil", "round"):
            return function

        def watched(x: arb) -> arb:
            if name in ("floor", "ceil", "round"):
                self.jumped = self.jumped or bool((2 * x).is_integer())
            else:
                self.tied = self.tied or bool(x == 0)
            return function(x)

        return watched

    def integer_part(self, x: arb) -> int:
        self.jumped = self.jumped or bool(x.is_integer())
        return super().integer_part(x)


class _Jittered(Arb):
    """Balls, with each constant that looks rounded moved within its rounding."""

    def __init__(self, seed: int, scale: float):
        super().__init__(rounded_constants=True)
        self.rng, self.scale = np.random.default_rng(seed), scale

    def constant(self, x: float, dtype: Any) -> Any:
        widened = super().constant(x, dtype)
        if not isinstance(widened, arb) or widened.is_exact():
            return widened
        return widened.mid() + arb(self.scale * self.rng.uniform(-1, 1)) * widened.rad()


# One point


def compare_many(problem: Problem, points: Sequence[list]) -> "list[Comparison | Straddles]":
    """Every entry of value and gradient at each point, decided on demand; or why it cannot be.

    Raises:
      Unsupported: a primitive of either program has no exact form.
    """
    if not points:
        return []
    stacks = [np.stack(x) for x in zip(*points, strict=True)]
    ours, truth = (run_many(p, stacks) for p in (problem.traced.ours, problem.traced.truth))
    found: list[Comparison | Straddles] = []
    for at, (point, a, b) in enumerate(zip(points, ours, truth, strict=True)):
        if isinstance(a, Straddles):
            found.append(a)
        elif isinstance(b, Straddles):
            found.append(b)
        else:
            found.append(Comparison(problem, point, a, b, at))
    return found


def compare(problem: Problem, point: Sequence[Any], wanted: Masks | None = None) -> "Comparison":
    """The same at one point, alone; of the entries that are wanted, if not all are.

    Raises:
      Straddles, Unsupported: it cannot be.
    """
    programs = problem.traced.ours, problem.traced.truth
    ours, truth = (run(p, point, wanted=wanted) for p in programs)
    return Comparison(problem, point, ours, truth, wanted=wanted)


class Comparison:
    """Decides entries at one point; the second truths are only computed where they are needed."""

    def __init__(
        self,
        problem: Problem,
        point: Sequence[Any],
        ours: list,
        truth: list,
        at: int = 0,
        wanted: Masks | None = None,
    ):
        self.problem, self.point, self.at = problem, list(point), at
        self.our_value, self.our_pull = problem.split(ours)
        self.value, self.pull = problem.split(truth)
        self._decided: dict[Entry, Finding] = {}
        self.wanted = wanted  # masks of the entries that were made; None where all were

    def results(self, entry: Entry) -> np.ndarray:
        """The definition's exact results to which an entry belongs."""
        return (self.value if entry.of == "value" else self.pull)[entry.leaf]

    def got(self, entry: Entry) -> arb:
        """The rule's exact entry."""
        return (self.our_value if entry.of == "value" else self.our_pull)[entry.leaf][entry.index]

    def entry(self, entry: Entry) -> Finding:
        """One entry, decided once."""
        if entry not in self._decided:
            decide = self._value if entry.of == "value" else self._gradient
            self._decided[entry] = decide(entry)
        return self._decided[entry]

    def findings(self, first: Sequence[Entry] = ()) -> Iterator[Finding]:
        """Entries decided here: some that are asked for, those of the value, those of the gradient.

        Of large arrays a spread of them.
        """
        if self.wanted is not None:
            yield from map(self.entry, self.made)
            return
        values, entries = (
            _spread(first, _all_entries(of, arrays))
            for of, arrays in (("value", self.our_value), ("gradient", self.our_pull))
        )
        for entry in (*values, *entries):
            yield self.entry(entry)
        up_to_guards = any(self._decided[e].relation == "guard" for e in entries)
        if self._at_a_tie and not (self.problem.derivative_is_given or up_to_guards):
            yield from self._along(entries)

    @property
    def made(self) -> Iterator[Entry]:
        """The entries that are there: first those of the value."""
        n = len(self.value)
        for k, mask in enumerate(self.wanted or ()):
            of: Any = "value" if k < n else "gradient"
            for index in np.argwhere(mask).tolist():
                yield Entry(of, k if k < n else k - n, tuple(index))

    # The value

    def _value(self, entry: Entry) -> Finding:
        got, expected = self.got(entry), self.value[entry.leaf][entry.index]
        if is_nan(expected) or not expected.is_finite():
            why = "the definition has no value here"
            return Finding(entry, "skipped", got, expected, why=why, at=self.at)
        return self._compared(entry, got, expected, "autodiff")

    def _compared(self, entry: Entry, got: arb, expected: arb, truth: Any) -> Finding:
        """Two numbers: of one function, up to rounded constants or guards, similar, or others."""
        digits = agreement(got, expected)
        if np.isnan(digits):
            why = "the truth is below all precision"
            return Finding(entry, "undecided", got, expected, truth, why=why, at=self.at)
        if digits >= SAME:
            return Finding(entry, "same", got, expected, truth, digits, at=self.at)
        if self._vanish(got, expected) or self._only_constants(entry):
            return Finding(entry, "same", got, expected, truth, SAME, at=self.at)
        with precision(PRECISIONS[0]):
            factor = float(got / expected - 1) if expected != 0 else float("nan")
        if self._only_guards(entry):
            return Finding(
                entry, "guard", got, expected, truth, digits, factor, why=self.guards, at=self.at
            )
        relation: Any = "similar" if digits >= SIMILAR else "other"
        return Finding(entry, relation, got, expected, truth, digits, factor, at=self.at)

    def _vanish(self, x: arb, y: arb) -> bool:
        """Whether both are 0 in the dtype asked, whose least number is larger."""
        least = float(jnp.finfo(self.problem.dtype).smallest_subnormal) / 2
        return bool(abs(x) < least) and bool(abs(y) < least)

    # The gradient

    def _gradient(self, entry: Entry) -> Finding:
        got = self.got(entry)
        expected = self.pull[entry.leaf][entry.index]
        finding = None
        if not is_nan(expected):
            finding = self._compared(entry, got, expected, "autodiff")
            same = finding.relation in ("same", "undecided", "guard")
            if same or self.problem.derivative_is_given:
                return finding
        if finding is not None and self._infinite(entry) and not got.is_finite():
            return finding  # no step leads away from an infinity
        if self.wanted is not None:
            return self._among_choices(entry, finding)
        # autodiff and the rule differ: the function itself decides
        try:
            left, right = self.quotients(entry)
        except Straddles as straddle:
            if finding is not None and finding.relation == "similar":
                return finding
            return Finding(entry, "undecided", got, why=str(straddle), at=self.at)
        if not (left.is_finite() and right.is_finite()):
            defined = right if right.is_finite() else left
            if not defined.is_finite():
                why = "the definition has no derivative here"
                return Finding(entry, "skipped", got, why=why, at=self.at)
            left = right = defined
        name: Any = "difference quotients"
        if agreement(left, right) >= SAME:
            if finding is not None and agreement(finding.expected, left) >= SAME:
                return finding  # autodiff is right, and has been compared with already
            found = self._compared_with_quotient(entry, got, left)
            return found if found.relation != "other" else self._at_kink(found)
        with precision(256):
            low, high = sorted((left, right), key=float)
        if _between(got, low, high):
            return Finding(entry, "kink", got, (low, high), name, at=self.at)
        if _nearly_between(got, low, high):  # two approximations meet
            return self._compared_with_quotient(entry, got, left)
        if not got.is_finite() and not expected.is_finite():
            # there is no derivative, and autodiff has none to give either
            why = "the definition has no derivative here"
            return Finding(entry, "skipped", got, (low, high), name, why=why, at=self.at)
        return self._at_kink(Finding(entry, "other", got, (low, high), name, at=self.at))

    def _among_choices(self, entry: Entry, finding: Finding | None) -> Finding:
        """What differs from autodiff, beside all that choices at ties give.

        Of large programs, whose difference quotients would take as long as all entries do.
        """
        ball = None
        if self._hull is not None:
            ball = self._hull[len(self.value) + entry.leaf][entry.index]
        got = self.got(entry)
        if ball is None or not ball.is_finite():
            why = "no derivative that is certain"
            return Finding(entry, "undecided", got, why=why, at=self.at)
        ends = ball.lower(), ball.upper()
        if agreement(*ends) < SAME and _between(got, *ends):
            return Finding(entry, "kink", got, ends, "autodiff", at=self.at)
        return finding or self._compared(entry, got, ball.mid(), "autodiff")

    def _compared_with_quotient(self, entry: Entry, got: arb, quotient: arb) -> Finding:
        digits = SAME if self._vanish(got, quotient) else agreement(got, quotient)
        relation: Any = "same" if digits >= SAME else "similar" if digits >= SIMILAR else "other"
        if np.isnan(digits):
            relation = "undecided"
        name: Any = "difference quotients"
        with precision(PRECISIONS[0]):
            factor = float(got / quotient - 1) if relation == "similar" and quotient != 0 else 0.0
        return Finding(entry, relation, got, quotient, name, digits, factor, at=self.at)

    def quotients(self, entry: Entry) -> tuple[arb, arb]:
        """One-sided derivatives of the definition in one entry, from its forward program alone."""
        k = self.problem.differentiated[entry.leaf]
        if self._infinite(entry):
            return arb("nan"), arb("nan")
        direction = np.zeros(self.point[k].shape)
        direction[entry.index] = 1.0
        return self._slopes({k: direction}, abs(float(self.point[k][entry.index])))

    def _infinite(self, entry: Entry) -> bool:
        """Whether the argument's entry is an infinity, such as a mask's."""
        k = self.problem.differentiated[entry.leaf]
        return bool(np.isinf(self.point[k][entry.index]))

    def _slopes(self, direction: dict[int, np.ndarray], size: float) -> tuple[arb, arb]:
        """Backward and forward derivative along a line.

        Each is extrapolated from two steps, which leaves an error of the order of the step
        squared: more than SAME digits wherever the function is smooth on that side.
        """
        with jax.enable_x64(True), precision(1024):
            h = arb(STEP) * max(size, 2.0**-40)
            centre, *moved = self._losses(direction, [arb(0), -h, -2 * h, h, 2 * h])
            near_left, far_left, near_right, far_right = (x - centre for x in moved)
            return _slope(near_left / -h, far_left / (-2 * h)), _slope(
                near_right / h, far_right / (2 * h)
            )

    def _losses(self, direction: dict[int, np.ndarray], steps: list[arb]) -> list[arb]:
        """The definition's value against the cotangents, at steps along a direction."""
        held: list = []
        results = []
        for k, h in enumerate(steps):  # the first records what stop_gradient holds
            arithmetic = Arb(held=held, holding="replay" if k else "record")
            moved = [lift(x, arithmetic.lift) for x in self.point]
            for i, along in direction.items():
                moved[i] = as_array(moved[i] + lift(along, arithmetic.lift) * h)
            results.append(evaluate(self.problem.traced.loss, moved, arithmetic)[0].item())
        return results

    # Ties and kinks

    @functools.cached_property
    def _watched(self) -> tuple[bool, bool]:
        with jax.enable_x64(True), precision(PRECISIONS[0]):
            arithmetic = _Watching()
            try:
                evaluate(
                    self.problem.traced.loss,
                    [lift(x, arithmetic.lift) for x in self.point],
                    arithmetic,
                )
            except (Straddles, Unsupported):
                return False, False
        return arithmetic.tied, arithmetic.jumped

    @property
    def _at_a_tie(self) -> bool:
        return self.wanted is None and any(self._watched)

    def _along(self, entries: list[Entry]) -> Iterator[Finding]:
        """The whole gradient along random lines: its product with a direction is the slope there.

        One line says something of every entry. Where it says no, entries are asked one by one.
        """
        entries = [e for e in entries if not self._infinite(e)]
        for direction in self._directions(2):
            moved = {k: np.zeros_like(v) for k, v in direction.items()}
            for entry in entries:  # of large arrays those alone that are looked at
                k = self.problem.differentiated[entry.leaf]
                moved[k][entry.index] = direction[k][entry.index]
            try:
                back, ahead = self._slopes(moved, 1.0)
            except (Straddles, Unsupported):
                continue
            if not (back.is_finite() and ahead.is_finite()):
                continue
            with precision(1024):
                got = sum(
                    (
                        arb(float(direction[self.problem.differentiated[e.leaf]][e.index]))
                        * self._meant(e)
                        for e in entries
                    ),
                    arb(0),
                )
            smooth = agreement(back, ahead) >= SAME
            low, high = (back, ahead) if back <= ahead else (ahead, back)
            near = agreement(got, back) >= SIMILAR or self._vanish(got, back)
            if near if smooth else _nearly_between(got, low, high):
                continue
            yield from self._wrong_together(entries, got, (low, high), smooth)
            return

    def _meant(self, entry: Entry) -> arb:
        """The rule's entry; autodiff's where both are one function up to rounded constants."""
        finding = self.entry(entry)
        same = finding.relation == "same" and finding.truth == "autodiff"
        return self.pull[entry.leaf][entry.index] if same else self.got(entry)

    def _wrong_together(
        self, entries: list[Entry], got: arb, slopes: tuple[arb, arb], smooth: bool
    ) -> Iterator[Finding]:
        """The entry that is wrong, of a gradient that is wrong along a line."""
        kink = None
        for entry in entries[:_ONE_BY_ONE]:
            try:
                left, right = self.quotients(entry)
            except Straddles:
                continue
            if not (left.is_finite() and right.is_finite()):
                continue
            own = self._meant(entry)
            low, high = (left, right) if left <= right else (right, left)
            name: Any = "difference quotients"
            if agreement(left, right) >= SAME:
                if agreement(own, left) < SIMILAR and not self._vanish(own, left):
                    yield Finding(entry, "other", own, left, name, at=self.at)
                    return
            elif (
                own.is_finite()
                and not _nearly_between(own, low, high)
                and not self._conventional(entry)
            ):
                yield Finding(entry, "other", own, (low, high), name, at=self.at)
                return
            else:
                kink = Finding(entry, "other", own, (low, high), name, why=TOGETHER, at=self.at)
        if kink is not None and (smooth or self._possible is False):
            yield kink

    def _conventional(self, entry: Entry) -> bool:
        """Whether at a kink some choice at each comparison gives what the rule gives.

        Conventions at several kinks need not add up to a one-sided derivative of the whole; where
        the program jumps, the pieces beside the jump are no choices of it.
        """
        if self._watched[1] or self._hull is None or not self._nonsmooth:
            return False
        ball = self._hull[len(self.value) + entry.leaf][entry.index]
        got = self.got(entry)
        return ball.is_finite() and _between(got, ball.lower(), ball.upper())

    def _at_kink(self, finding: Finding) -> Finding:
        if not self._conventional(finding.entry) or self._hull is None:
            return finding
        ball = self._hull[len(self.value) + finding.entry.leaf][finding.entry.index]
        ends = ball.lower(), ball.upper()
        return Finding(finding.entry, "kink", finding.got, ends, finding.truth, at=self.at)

    @functools.cached_property
    def _hull(self) -> list | None:
        """The definition's gradient with every choice at ties open; None where that fails."""
        try:
            return run(
                self.problem.traced.truth,
                self.point,
                PRECISIONS[:1],
                wanted=self.wanted,
                ties_open=True,
            )
        except (Straddles, Unsupported):
            return None

    @functools.cached_property
    def _possible(self) -> bool | None:
        """Whether the whole gradient is a mixture of those that each way to decide ties gives.

        None where there are too many ways, or none can be run.
        """
        first = self._with_ties(())
        if first is None or first[1] > _MOST_TIES:
            return None
        n, ours = len(self.value), _flat(self.our_pull)
        found = [
            _flat(way[0][n:])
            for ties in itertools.product((True, False), repeat=first[1])
            if (way := self._with_ties(ties)) is not None
        ]
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

    def _with_ties(self, ties: Sequence[bool]) -> tuple[list, int] | None:
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
        for direction in self._directions(3):
            try:
                back, ahead = self._slopes(direction, 1.0)
            except (Straddles, Unsupported):
                continue
            if not (is_nan(back) or is_nan(ahead)) and agreement(back, ahead) < SAME:
                return True
        return False

    def _directions(self, n: int) -> Iterator[dict[int, np.ndarray]]:
        """Random directions that move every entry; in the first all move upwards."""
        rng = np.random.default_rng(0)
        for i in range(n):
            yield {
                k: (rng.choice([-1.0, 1.0], self.point[k].shape) if i else 1.0)
                * (1 + np.asarray(rng.random(self.point[k].shape)))
                for k in self.problem.differentiated
            }

    # Constants

    def _only_constants(self, entry: Entry) -> bool:
        """Whether the rounding of constants such as 0.1 explains the difference."""
        if self._rounded is not None:
            return _overlap(*self._pair(self._rounded, entry))
        # a threshold is a rounded constant, or too near to one: constants are moved, not widened
        x, y = self.got(entry), self.results(entry)[entry.index]
        if not (x.is_finite() and y.is_finite()):
            return False
        far, near = (self._moved(entry, scale) for scale in (1.0, _NEARER))
        # what moves as far for a far smaller move of constants takes another branch
        return far is not None and near is not None and bool(
            abs(x - y) <= _JITTERS * far and near <= far * (32 * _NEARER)
        )  # fmt: skip

    def _moved(self, entry: Entry, scale: float) -> arb | None:
        """How far the two programs move there, together, when constants do."""
        rows = [self._pair(both, entry) for both in self._jittered(scale)]
        if len(rows) < 2 or not all(v.is_finite() for row in rows for v in row):
            return None
        with precision(PRECISIONS[0]):
            moves = (abs(a - b) for a, b in zip(*rows, strict=True))
            return sum((m.upper() for m in moves), arb(0))

    @functools.lru_cache(maxsize=4)  # noqa: B019  # a comparison lives as long as its run
    def _jittered(self, scale: float) -> list[tuple[list, list]]:
        """Both programs, twice, with constants moved within so much of their roundings."""
        found = []
        for seed in range(2):
            make = functools.partial(_Jittered, seed, scale)
            try:
                ours, truth = (
                    run(p, self.point, make=make, wanted=self.wanted) for p in self._programs
                )
            except (Straddles, Unsupported):
                continue
            found.append((ours, truth))
        return found

    @property
    def _programs(self) -> tuple[Any, Any]:
        return self.problem.traced.ours, self.problem.traced.truth

    def _only_guards(self, entry: Entry) -> bool:
        """Whether the two are the same where small constants are 0."""
        both = self._unguarded
        if not self.guards or both is None:
            return False
        x, y = self._pair(both, entry)
        return bool(x.is_finite() and y.is_finite()) and agreement(x, y) >= SAME

    def _pair(self, both: tuple[list, list], entry: Entry) -> tuple[arb, arb]:
        at = entry.leaf + (0 if entry.of == "value" else len(self.value))
        x, y = both[0][at][entry.index], both[1][at][entry.index]
        return x, y

    @functools.cached_property
    def _rounded(self) -> tuple[list, list] | None:
        return self._both(rounded_constants=True)

    @functools.cached_property
    def _unguarded(self) -> tuple[list, list] | None:
        return self._both(without_guards=True, rounded_constants=True)

    def _both(self, **options: Any) -> tuple[list, list] | None:
        try:
            ours, truth = (
                run(p, self.point, PRECISIONS[:2], wanted=self.wanted, **options)
                for p in self._programs
            )
        except (Straddles, Unsupported):  # a threshold that is itself a rounded constant
            return None
        return ours, truth

    @functools.cached_property
    def guards(self) -> str:
        """The small constants of the two programs, in words; nothing where there are none."""
        return ", ".join(f"{g:.3g}" for g in self._guards)

    @functools.cached_property
    def _guards(self) -> list[float]:
        programs = self.problem.traced.ours, self.problem.traced.loss
        return sorted({g for program in programs for g in guards_of(program)})

    @functools.cached_property
    def inside_a_guard(self) -> bool:
        """Whether an input is about as small as such a constant, and not 0."""
        least = _INSIDE * max(self._guards, default=0.0) ** 0.5  # a guard of a square, say
        sizes = [np.abs(x) for x in self.point[: len(self.problem.parts)] if x.dtype.kind == "f"]
        return any(bool(np.any((x > 0) & (x <= least))) for x in sizes)

    # How sensitive the truth is

    def spread(self, entry: Entry, dtype: Any = np.float64) -> float:
        """How far the definition's exact entry moves when inputs move by half a rounding."""
        at = entry.leaf + (0 if entry.of == "value" else len(self.value))
        rows = self._nudged(np.dtype(dtype))
        results = [float(row[at][entry.index]) for row in rows if at < len(row)]
        finite = [r for r in results if np.isfinite(r)]
        return max(finite) - min(finite) if len(finite) > 1 else 0.0

    @functools.lru_cache(maxsize=4)  # noqa: B019  # a comparison lives as long as its run
    def _nudged(self, dtype: np.dtype) -> list[list]:
        """The definition with every floating input moved by half an ULP of a dtype, some times."""
        from manualbp.verify.floats.ulps import spacing

        rng = np.random.default_rng(0)
        stacks = []
        for x in self.point:
            many = np.stack([x] * NUDGES)
            if is_floating(many.dtype):
                # half an ULP, and of float64 one, as no number lies between
                step = 1.0 if dtype.itemsize == 8 else 0.5
                many = many + rng.choice([-step, step], many.shape) * spacing(many, dtype)
            stacks.append(many)
        rows = run_many(self.problem.traced.truth, stacks, self.wanted)
        return [row for row in rows if not isinstance(row, Straddles)]

    def elsewhere(self, point: Sequence[Any], entry: Entry) -> arb:
        """The definition's exact entry at another point."""
        at = entry.leaf + (0 if entry.of == "value" else len(self.value))
        return run(self.problem.traced.truth, point, wanted=self.wanted)[at][entry.index]


def _slope(near: arb, far: arb) -> arb:
    """Extrapolated from two steps; NaN where it grows as the step falls, as at the root of 0."""
    if near.is_finite() and far.is_finite() and abs(near) > 2**40 and agreement(near, far) < 3:
        return arb("nan")
    return 2 * near - far


def guards_of(closed: Any) -> Iterator[float]:
    """Constants of a program that are small."""
    for eqn in closed.jaxpr.eqns:
        for v in eqn.invars:
            if isinstance(v, core.Literal) and np.ndim(v.val) == 0:
                c = float(v.val) if is_floating(np.asarray(v.val).dtype) else 0.0
                if 0 < abs(c) <= 1e-6:
                    yield c
        for inner in programs_in(eqn):
            yield from guards_of(inner)


def _all_entries(of: Any, arrays: Sequence[np.ndarray]) -> Iterator[Entry]:
    for leaf, array in enumerate(arrays):
        for index in np.ndindex(array.shape):
            yield Entry(of, leaf, index)


def _spread(first: Sequence[Entry], entries: Iterator[Entry]) -> list[Entry]:
    """All entries where they are few; else those asked for, and others at random."""
    every = list(entries)
    if len(every) <= _MOST_ENTRIES:
        return every
    asked = [e for e in first if e.of == every[0].of][: _MOST_ENTRIES // 2]
    chosen = np.random.default_rng(0).permutation(len(every))[: _MOST_ENTRIES // 2]
    return list(dict.fromkeys([*asked, *(every[i] for i in sorted(chosen.tolist()))]))


def _flat(arrays: list) -> np.ndarray:
    return np.concatenate([floats(x).ravel() for x in arrays])


def _nearly_between(x: arb, low: arb, high: arb) -> bool:
    """Whether a number lies between two, or beside one as an approximation does."""
    return _between(x, low, high) or max(agreement(x, low), agreement(x, high)) >= SIMILAR


def _between(x: arb, low: arb, high: arb) -> bool:
    with precision(256):
        slack = (abs(low) + abs(high)) * arb(2) ** -60
        return bool(x >= low - slack) and bool(x <= high + slack)
