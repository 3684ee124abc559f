"""check: a rule and a definition go in, a verdict with evidence comes out."""

import functools
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import jax
import numpy as np
from flint import arb

from manualbp._rule import Rule
from manualbp.verify.ask import thresholds as _thresholds
from manualbp.verify.ask.definitions import definition_of
from manualbp.verify.ask.domains import STYLES, Spec, spec_of
from manualbp.verify.ask.problem import ContractBroken, Problem, Subject, first_line, subject_of
from manualbp.verify.ask.question import check_argnums, examine, with_static
from manualbp.verify.evidence import Branches, Counterexample, Evidence, Report, reproduction
from manualbp.verify.numbers.balls import is_nan, precision
from manualbp.verify.numbers.walk import Straddles, Unsupported
from manualbp.verify.rungs import differences as _differences
from manualbp.verify.rungs import exact as _exact
from manualbp.verify.rungs.contract import check_contract
from manualbp.verify.rungs.proof import prove
from manualbp.verify.verdict import diagnosis as _diagnosis
from manualbp.verify.verdict.shrink import shrink

Level = Literal["quick", "standard", "full"]

# points compared with autodiff, in one compiled call; points where the two disagree that exact
# arithmetic decides; points that it decides whatever autodiff says
_EFFORT: dict[str, tuple[int, int, int]] = {
    "quick": (64, 8, 2),
    "standard": (512, 24, 8),
    "full": (4096, 96, 32),
}
# Points on and beside thresholds, at most
THRESHOLDS = 24
_EVEN = ("round", "normal")
# Where float64 results differ by more, exact arithmetic decides: triage, no verdict.
_TRIAGE = 1e-10
# Coefficients of an approximation to float64 accuracy are off by this at most
_COEFFICIENTS = 1e-12
# Entries among which an error is planted
_PLANTED = 64
# Digits that float64 may lose where the problem itself is well conditioned.
_LOST = 1e-10


def check(
    rule: Any,
    *args: Any,
    definition: Callable[..., Any] | None = None,
    argnums: int | Sequence[int] | None = None,
    explore: bool = True,
    level: Level = "standard",
    seed: int = 0,
    intended: str | None = None,
) -> Report:
    """Judge a hand-derived gradient against a definition.

    Args:
      rule: a Rule, a `jax.custom_vjp` or `jax.custom_jvp` function, or a pair (fwd, bwd).
      *args: its arguments: arrays, pytrees of arrays, or `Spec`s that say shape and domain.
      definition: the function it should be the gradient of; for a rule of this library its
        textbook definition, for a custom function the undecorated one.
      argnums: the arguments to differentiate; all floating ones if None.
      explore: try other values of the same shapes; otherwise only the given ones.
      level: "quick", "standard" or "full": how many inputs; "full" also tries a proof for small
        shapes, if it may explore.
      seed: of the inputs; the same seed gives the same report.
      intended: the reason why the rule is meant not to be the gradient (a straight-through
        estimator, say); then it passes if it is not, and fails if it is.

    Returns:
      A Report: verdict "PASS", "FAIL" or "UNDECIDED", evidence, counterexample, diagnosis.

    Raises:
      TypeError, ValueError: the question cannot be put; says what was expected and the remedy.

    Example:
      >>> import manualbp
      >>> from manualbp.verify import Spec, check
      >>> check(manualbp.sigmoid, Spec((3,)), level="quick").verdict
      'PASS'
    """
    subject = subject_of(rule)
    definition = _definition(rule, subject, definition)
    if not args:
        raise ValueError(
            f"check: expected the arguments of {subject.name}, got none: pass arrays or Spec((3,))"
        )
    if level not in _EFFORT:
        raise ValueError(f"check: expected level 'quick', 'standard' or 'full', got {level!r}")
    numbers = (argnums,) if isinstance(argnums, int) else argnums
    check_argnums(numbers, len(args))
    args = with_static(rule, args)
    # promotion as JAX has it by default: 64-bit mode is ours, and makes jnp.arange int64
    with (
        jax.enable_x64(True),
        jax.numpy_dtype_promotion("standard"),
        np.errstate(all="ignore"),
    ):
        problem = problem_of(subject, definition, args, numbers)
        judge = Judge(problem, args, explore, level, seed)
        if "question" not in problem.kept:
            problem.kept["question"] = examine(problem, rule)
        reason = problem.kept["question"]
        try:
            report = judge.undecided(reason) if reason else judge.judge()
        except jax.errors.JaxRuntimeError as error:  # of the compiler or a device, not of a rule
            report = judge.undecided(f"JAX raises: {first_line(error)}")
    if level == "full" and explore:
        report = with_proof(report, problem)
    return report if intended is None else _as_intended(report, intended)


def with_proof(report: Report, problem: Problem, seconds: float = 2.0) -> Report:
    """The report with what was proved; a refutation fails it."""
    proof = prove(problem, seconds)
    verdict = "FAIL" if proof.verdict == "REFUTED" else report.verdict
    return replace(report, proof=proof, verdict=verdict)


def problem_of(
    subject: Subject, definition: Callable, args: tuple, argnums: Sequence[int] | None = None
) -> Problem:
    """The problem, kept from one run to the next where only values differ: compiled once."""
    leaves, tree = jax.tree.flatten(args, is_leaf=lambda x: x is None)
    specs = tuple(Spec((), "none") if x is None else spec_of(x) for x in leaves)
    return _problem(subject, definition, tree, specs, None if argnums is None else tuple(argnums))


@functools.lru_cache(maxsize=512)
def _problem(subject, definition, tree, specs, argnums):
    return Problem(subject, definition, tree.unflatten(specs), argnums)


def assert_correct(rule: Any, *args: Any, **options: Any) -> None:
    """`check`, for a test: raises AssertionError with the report unless the verdict is PASS.

    Args:
      rule: as `check` takes it.
      args: its arguments, arrays or `Spec`s.
      options: of `check`.

    Returns:
      None, where the verdict is PASS.

    Raises:
      AssertionError: it is FAIL or UNDECIDED; the text is the report.

    Example:
      >>> import manualbp
      >>> from manualbp.verify import Spec, assert_correct
      >>> assert_correct(manualbp.tanh, Spec((3,)), level="quick")
    """
    __tracebackhide__ = True  # pytest shows the line of the test, and the report
    report = check(rule, *args, **options)
    if report.verdict != "PASS":
        raise AssertionError(str(report))


def _definition(rule: Any, subject: Subject, given: Callable | None) -> Callable[..., Any]:
    if given is None and isinstance(rule, Rule):
        given = definition_of(rule)
    if given is None:
        given = subject.definition
    if given is None:
        raise ValueError(
            f"check: expected a definition for {subject.name}, got none: pass definition=, the "
            "function in plain jax.numpy whose gradient this is"
        )
    if isinstance(given, Rule):
        raise ValueError(
            f"check: expected a definition in plain jax.numpy, got the rule {given.name}: its "
            "derivative is hand-written too, and would be compared with itself"
        )
    return given


def _as_intended(report: Report, reason: str) -> Report:
    failed = report.verdict == "FAIL"
    note = f"intended not to be the gradient: {reason}"
    if not failed:
        note += "; but nothing that differs from the gradient was found"
    verdict: Any = "PASS" if failed else "FAIL"
    return replace(report, verdict=verdict, notes=(*report.notes, note))


@dataclass(frozen=True)
class Suspect:
    """An entry on which the two float64 programs do not agree."""

    point: int
    leaf: int  # -1 - k for the k-th leaf of the value
    index: tuple
    got: float
    floats_expected: float


class Judge:
    """One run: contract, then autodiff, then exact arithmetic where they differ and elsewhere."""

    def __init__(self, problem: Problem, args: tuple, explore: bool, level: Level, seed: int):
        self.problem, self.seed = problem, seed
        self.explore = explore
        self.points, self.decide, self.always = _EFFORT[level]
        self.given = problem.given_leaves(args)
        self.only_given = self.given is not None and not explore
        if self.only_given:
            self.points = 8  # cotangents
        self.at_thresholds = range(0)
        self.evidence: list[Evidence] = []
        self.notes: list[str] = []
        self.decided: Counter[str] = Counter()
        self.branches: Branches | None = None
        self.power: float | None = None

    def undecided(self, reason: str) -> Report:
        """A report for a question that has no answer."""
        self.evidence.append(Evidence("contract", "UNDECIDED", reason))
        return self._report("UNDECIDED")

    def judge(self) -> Report:
        try:
            compared = check_contract(self.problem, self.seed)
        except ContractBroken as broken:
            self.evidence.append(Evidence("contract", "FAIL", str(broken)))
            return self._report("FAIL", diagnosis=_diagnosis.of_contract(broken))
        self.evidence.append(Evidence("contract", "PASS", f"{compared} conditions hold", compared))
        stack, cotangents = self._inputs()
        ours, truth, went = self.problem.run(stack, cotangents)
        self.sample = _diagnosis.Sample(self.problem, stack, cotangents, ours, truth, self.points)
        compared, suspects = self._triage(ours, truth)
        self.agreeing = compared - len(suspects)
        self.evidence.append(
            Evidence(
                "autodiff",
                "PASS" if not suspects else "UNDECIDED",
                f"{compared:,} numbers compared, {len(suspects):,} left to exact arithmetic",
                compared,
            )
        )
        if stack and cotangents:
            ways, unvisited = _thresholds.coverage(went, self.problem.programs[1])
            texts = tuple(f"{text}{f' ({n} times)' * (n > 1)}" for text, n in unvisited.items())
            taken = ways - unvisited.total()
            self.branches = Branches(ways, taken, texts) if ways else None
        return self._adjudicate(stack, cotangents, ours, truth, suspects)

    def _inputs(self) -> tuple[list, list]:
        """A stack of points: leaves and cotangents with a leading axis."""
        rng = np.random.default_rng(self.seed)
        n = self.points
        cotangents = self.problem.cotangents_styles(self.problem.values_shape(), rng, n)
        if self.only_given:
            return [np.stack([x] * n) for x in self.given or ()], cotangents
        stack = self.problem.draw_styles(rng, n)
        if self.given is not None:
            for x, first in zip(stack, self.given, strict=True):
                x[0] = first
        thresholds = self.problem.thresholds[:THRESHOLDS]
        self.at_thresholds = range(n, n + len(thresholds))
        together = [
            np.concatenate([x, *(p[k][None] for p in thresholds)])
            for k, x in enumerate([*stack, *cotangents])
        ]
        return together[: len(stack)], together[len(stack) :]

    def _triage(self, ours: Any, truth: Any) -> tuple[int, list[Suspect]]:
        """Entries on which the float64 programs differ, the simplest points first."""
        suspects, compared = [], 0
        groups = [(-1 - k, a, b) for k, (a, b) in enumerate(zip(ours[0], truth[0], strict=True))]
        groups += [(k, a, b) for k, (a, b) in enumerate(zip(ours[1], truth[1], strict=True))]
        for leaf, got, expected in groups:
            compared += got.size
            with np.errstate(all="ignore"):
                close = np.abs(got - expected) <= _TRIAGE * np.abs(expected)
            # what is not finite is looked at, also where the definition overflows too
            differ = ~(close | (got == expected)) | ~np.isfinite(got)
            for where in np.argwhere(differ):
                point, *index = map(int, where)
                at = tuple(map(int, where))
                suspects.append(
                    Suspect(point, leaf, tuple(index), float(got[at]), float(expected[at]))
                )
        suspects.sort(key=lambda s: (s.point % len(STYLES), s.point, s.leaf))
        return compared, suspects

    def _adjudicate(
        self, stack: list, cotangents: list, ours: Any, truth: Any, suspects: list
    ) -> Report:
        """Decide suspects first, then a few points whatever autodiff said."""
        undecided: list[str] = []
        by_point: dict[int, list[Suspect]] = {}
        for s in suspects:
            by_point.setdefault(s.point, []).append(s)
        drawn = range(self.points if cotangents else 0)
        chosen = list(_spread([p for p in by_point if p in drawn], self.decide))
        chosen += _spread([p for p in drawn if p not in by_point], self.always)
        agreed: list[Agreed] = []
        wrong_floats: list[tuple[Suspect, _exact.Finding, _exact.Comparison]] = []
        points = {p: [x[p] for x in (*stack, *cotangents)] for p in chosen}
        points = {p: x for p, x in points.items() if all(np.all(np.isfinite(y)) for y in x)}
        try:
            comparisons = dict(
                zip(points, _exact.compare_many(self.problem, list(points.values())), strict=True)
            )
            if not self.only_given:
                comparisons |= dict(zip(self.at_thresholds, self._at_thresholds(), strict=True))
        except Unsupported as primitive:
            return self._by_differences(stack, cotangents, ours, truth, str(primitive))
        for p, comparison in comparisons.items():
            if isinstance(comparison, Straddles):
                undecided.append(str(comparison))
                continue
            for leaf, index, finding in comparison.findings:
                self.decided[finding.truth] += 1
                if finding.verdict == "wrong":
                    return self._failed(comparison, leaf, index, finding)
                if finding.verdict == "right":
                    agreed.append((comparison, leaf, index, finding))
                    got = ours[leaf >= 0][leaf if leaf >= 0 else -1 - leaf][(p, *index)]
                    s = Suspect(p, leaf, index, float(got), float("nan"))
                    if not wrong_floats and self._lost(comparison, s, finding):
                        wrong_floats.append((s, finding, comparison))
                if finding.verdict == "undecided":
                    self.decided["skipped"] += 1
            for s in by_point.get(p, ()):
                finding = comparison.entry(s.leaf, s.index)
                if finding.verdict == "kink":
                    self._note("at a kink the rule's value lies between the one-sided derivatives")
                elif finding.verdict == "right" and not _close(
                    s.floats_expected, float(_mid(finding.expected))
                ):
                    self._note(
                        "autodiff of the definition is wrong here in float64, the rule is right"
                    )
        rough = _rough(agreed)
        if rough is not None and not self._approximates(rough, agreed):
            return self._failed(*rough)
        if wrong_floats:
            return self._failed_floats(*wrong_floats[0])
        for look in (self._forward, self._second):
            failed = look(stack, cotangents)
            if failed is not None:
                return failed
        self._note_digits(agreed)
        decided = sum(n for truth, n in self.decided.items() if truth != "skipped")
        decided -= self.decided["skipped"]
        if decided <= 0 and undecided:
            self.evidence.append(Evidence("exact", "UNDECIDED", undecided[0]))
            return self._report("UNDECIDED")
        if decided <= 0 and self.agreeing == 0:
            why = "no number was compared"
            if self.decided["skipped"]:
                why += ": the definition is undefined, NaN or infinite, wherever it was looked at"
            self.evidence.append(Evidence("exact", "UNDECIDED", why))
            return self._report("UNDECIDED")
        text = f"{decided:,} numbers decided in balls of 256 bits and more"
        if undecided:
            text += f"; {len(undecided)} points undecided ({undecided[0]})"
        self.evidence.append(Evidence("exact", "PASS", text, decided))
        self.power = _power(agreed)
        return self._report("PASS")

    def _at_thresholds(self) -> list:
        """Comparisons where programs branch: the same points for every seed, kept."""
        kept = self.problem.kept
        if "thresholds" not in kept:
            kept["thresholds"] = _exact.compare_many(
                self.problem, self.problem.thresholds[: len(self.at_thresholds)]
            )
        return kept["thresholds"]

    def _by_differences(
        self,
        stack: list,
        cotangents: list,
        ours: Any,
        truth: Any,
        primitive: str,
    ) -> Report:
        """Where a primitive has no exact form: float64 differences of the definition decide."""
        undecided = 0
        # steps fit entries of about one size; across many scales an estimate means nothing
        for p in [
            p
            for p in range(min(self.points, _count(cotangents)))
            if p == 0 or STYLES[p % len(STYLES)] in _EVEN
        ]:
            if self.decided["float64 differences"] > 500:
                break
            point = [x[p] for x in (*stack, *cotangents)]
            if not all(np.all(np.isfinite(x)) for x in point):
                continue
            pulled, autodiff = ([x[p] for x in results[1]] for results in (ours, truth))
            for leaf, estimate, findings in _differences.decide(
                self.problem, point, pulled, autodiff
            ):
                for index, finding in findings.items():
                    if finding.verdict == "undecided":
                        undecided += 1
                        continue
                    self.decided[finding.truth] += 1
                    if finding.verdict == "wrong":
                        example = self._example(
                            self.problem, point, leaf, index, finding.expected, finding.got,
                            finding.truth,
                        )  # fmt: skip
                        text = "the rule is not the gradient"
                        self.evidence.append(Evidence("exact", "FAIL", text))
                        diagnosis = _diagnosis.of_arrays(pulled[leaf], estimate)
                        return self._report("FAIL", example, diagnosis)
        decided = self.decided["float64 differences"]
        text = (
            f"{primitive} has no exact form: float64 differences decided {decided:,} numbers, "
            f"not {undecided:,}"
        )
        verdict: Any = "PASS" if decided > 9 * undecided else "UNDECIDED"
        self.evidence.append(Evidence("exact", verdict, text, decided))
        return self._report(verdict)

    def _second(self, stack: list, cotangents: list) -> Report | None:
        """The derivative of the pullback itself, at points of no special place."""
        try:
            return self._same_programs(
                *self.problem.traced_second, "derivative of the gradient", _diagnosis.SECOND,
                stack, cotangents,
            )  # fmt: skip
        except Exception as error:  # whatever differentiating the user's bwd raises
            self._note(f"no second derivative: {first_line(error)}")
            return None

    def _forward(self, stack: list, cotangents: list) -> Report | None:
        """A JVP rule against the JVP of the definition."""
        if not self.problem.subject.forward_mode:
            return None
        return self._same_programs(
            *self.problem.traced_forward, "JVP", _diagnosis.FORWARD, stack, cotangents
        )

    def _same_programs(
        self, ours: Any, truth: Any, what: str, diagnosis: tuple, stack: list, cotangents: list
    ) -> Report | None:
        """A failure, where two programs differ at points of no special place."""
        # elsewhere than at given values the same for every seed, as few are needed
        kept = {} if self.only_given else self.problem.kept
        if what not in kept:
            given = [x[1:3] for x in (*stack, *cotangents)]
            stacks = given if self.only_given else self._ordinary()
            try:
                kept[what] = stacks, [_exact.run_many(p, stacks) for p in (ours, truth)]
            except (Straddles, Unsupported):
                return None
        stacks, results = kept[what]
        for p, row in enumerate(zip(*results, strict=True)):
            if any(isinstance(x, Straddles) for x in row):
                continue
            for leaf, (x, y) in enumerate(zip(*row, strict=True)):
                for index in np.ndindex(y.shape):
                    got, expected = x[index], y[index]
                    if is_nan(expected):
                        continue
                    if is_nan(got):
                        self._note(f"the {what} is NaN at an ordinary point")
                    elif _exact.agreement(got, expected) < _exact.SIMILAR:
                        point = [x[p] for x in stacks]
                        if _exact.only_constants(ours, truth, point, leaf, index):
                            continue
                        text = (
                            f"the {what} is wrong: expected {float(expected):.9g}, "
                            f"got {float(got):.9g}"
                        )
                        self.evidence.append(Evidence("exact", "FAIL", text))
                        return self._report("FAIL", None, diagnosis)
        return None

    def _ordinary(self) -> list[np.ndarray]:
        """Two points of no special place, stacked: leaves, then cotangents."""
        rng, shape = np.random.default_rng(0), self.problem.values_shape()
        points = [self.problem.draw(rng, "normal") for _ in range(2)]
        dys = [self.problem.cotangents(shape, rng, "normal") for _ in points]
        both = ([*x, *dy] for x, dy in zip(points, dys, strict=True))
        return [np.stack(x) for x in zip(*both, strict=True)]

    def _approximates(self, entry: "Agreed", agreed: "list[Agreed]") -> bool:
        """Whether the small difference of an entry is that of an approximation, or of a factor.

        It changes from place to place where the definition, a series say, approximates what the
        rule computes; a factor that is wrong stays what it is.
        """
        comparison, leaf, index, finding = entry
        if finding.expected == 0:
            return False
        factors = [finding.got / finding.expected - 1]
        with precision(_exact.PRECISIONS[0]):
            others = [
                float(f.got / f.expected - 1)
                for _, k, _, f in agreed
                if k == leaf and f.verdict == "right" and f.expected != 0
            ]
        # also those that rounded constants explain
        differing = {f"{x:.2g}" for x in others if abs(x) > 10.0**-_exact.SAME}
        if len(differing) > 3 and abs(factors[0]) < _COEFFICIENTS:
            return True
        for step in (1.25, 0.875):
            moved = [x * step if x.dtype.kind == "f" else x for x in comparison.point]
            try:
                near = _exact.compare(self.problem, moved).entry(leaf, index)
            except (Straddles, Unsupported):
                continue
            if near.verdict == "right":
                factors.append(near.got / near.expected - 1)
        sizes = np.array([float(x) for x in factors])
        return len(sizes) > 1 and not np.allclose(sizes, sizes[0], rtol=1e-2, atol=0)

    def _note_digits(self, agreed: "list[Agreed]") -> None:
        digits = min((f.digits for *_, f in agreed), default=np.inf)
        if digits < _exact.SAME:
            self._note(f"an approximation: rule and definition agree to {digits:.1f} digits")

    def _lost(self, comparison: _exact.Comparison, s: Suspect, finding: _exact.Finding) -> bool:
        """Whether float64 lost digits that the problem itself has not.

        The truth is moved by rounding the inputs: an error far beyond that is the arithmetic's.
        """
        # an approximation of the definition is held to what it computes itself
        same = finding.digits >= _exact.SAME
        truth = float(_mid(finding.expected) if same else finding.got)
        # next to overflow and underflow no digits are owed
        if not 1e-290 < abs(truth) < 1e290:
            return False
        error = abs(s.got - truth) if np.isfinite(s.got) else np.inf
        if error <= _LOST * abs(truth):
            return False
        if error <= 1e4 * comparison.spread(s.leaf, s.index):
            return False
        # where terms of other entries cancel in it, an entry is as good as the largest is
        size = _largest(comparison, s.leaf)
        return error > _LOST * size or not self._depends_on_others(comparison, s)

    def _depends_on_others(self, comparison: _exact.Comparison, s: Suspect) -> bool:
        """Whether the exact result changes when other entries of its arguments do."""
        results = comparison.results(s.leaf)
        moved = [x.copy() for x in comparison.point]
        for x in moved:
            if x.shape == results.shape and x.dtype.kind == "f":
                own = x[s.index]
                x *= 1 + 2.0**-10
                x[s.index] = own
        try:
            again = comparison.elsewhere(moved, s.leaf, s.index)
        except Straddles:
            return False
        return _exact.agreement(again, results[s.index]) < _exact.SAME

    def _failed(
        self, comparison: _exact.Comparison, leaf: int, index: tuple, finding: _exact.Finding
    ) -> Report:
        # told from the whole arrays, of which a small counterexample shows too little
        diagnosis = _diagnosis.of_finding(self.sample, comparison, leaf, finding)
        first = comparison, leaf, index, finding
        if finding.verdict == "wrong":
            first = shrink(first, self.seed, smaller=self.explore)
        comparison, leaf, index, finding = first
        got, expected = _number(finding.got), _number(finding.expected)
        example = self._example(
            comparison.problem, comparison.point, leaf, index, expected, got, finding.truth
        )
        self.evidence.append(Evidence("exact", "FAIL", "the rule is not the gradient"))
        return self._report("FAIL", example, diagnosis)

    def _failed_floats(
        self, s: Suspect, finding: _exact.Finding, comparison: _exact.Comparison
    ) -> Report:
        expected = _number(finding.expected)
        example = self._example(
            comparison.problem, comparison.point, s.leaf, s.index, expected, s.got, finding.truth
        )
        self.evidence.append(
            Evidence("exact", "FAIL", "the formula is right, its float64 arithmetic is not")
        )
        return self._report("FAIL", example, _diagnosis.of_floats(s.got, expected))

    def _example(
        self,
        problem: Problem,
        point: list,
        leaf: int,
        index: tuple,
        expected: Any,
        got: float,
        truth: str,
    ) -> Counterexample:
        n = len(problem.free)
        args = problem.arguments(point[:n])
        cotangents = point[n:]
        one = expected if isinstance(expected, float) else np.nan
        ulps = abs(got - one) / np.spacing(abs(one)) if np.isfinite(one) else None
        cotangent = cotangents[0] if len(cotangents) == 1 else tuple(cotangents)
        path = "value" if leaf < 0 else problem.name_of(leaf)
        importing = problem.subject.importing
        plain = importing and not any(s.domain == "static" for s in problem.specs)
        code = reproduction(importing, args, cotangent, path, index) if plain else ""
        return Counterexample(
            args, cotangent, path, index, expected, got, truth, ulps, code
        )  # fmt: skip

    def _note(self, text: str) -> None:
        if text not in self.notes:
            self.notes.append(text)

    def _report(
        self, verdict: Any, example: Counterexample | None = None, diagnosis: tuple[str, ...] = ()
    ) -> Report:
        return Report(
            self.problem.subject.name,
            verdict,
            tuple(self.evidence),
            example,
            diagnosis,
            tuple(self.notes),
            self.seed,
            dict(self.decided),
            self.branches,
            self.power,
        )


Agreed = tuple[_exact.Comparison, int, tuple, _exact.Finding]


def _rough(agreed: list[Agreed]) -> Agreed | None:
    """An entry that agrees to some digits only, where that is no approximation.

    Where most entries of a result are the same to SAME digits, the others are wrong; where all
    are off by one factor, however small, so are they.
    """
    by_leaf: dict[int, list[Agreed]] = {}
    for entry in agreed:
        by_leaf.setdefault(entry[1], []).append(entry)
    for entries in by_leaf.values():
        some = [e for e in entries if e[3].digits < _exact.SAME]
        if not some:
            continue
        telling = [e for e in entries if not (e[3].got == 0 and e[3].expected == 0)]
        if len(some) <= len(telling) / 2:
            return some[0]
        with precision(256):
            factors = [float(e[3].got / e[3].expected - 1) for e in some]
        typical = float(np.median(factors))
        if len(factors) >= 3 and all(abs(f - typical) <= 1e-3 * abs(typical) for f in factors):
            return some[0]
    return None


def _power(agreed: list[Agreed]) -> float | None:
    """The smallest relative error of one entry that is caught in every gradient.

    Errors are planted in the rule's exact result, and judged as all its entries are.
    """
    worst = None
    for leaf in {entry[1] for entry in agreed if entry[1] >= 0}:
        entries = [e for e in agreed if e[1] == leaf][:_PLANTED]
        # the rounding of a constant leaves an entry with fewer digits, and no place to plant
        whole = [_exact.agreement(e[3].got, _mid(e[3].expected)) >= 30 for e in entries]
        places = [i for i, e in enumerate(entries) if whole[i]]
        if not places:
            continue
        at = next((i for i in places if entries[i][3].got != 0), places[0])
        sizes = (10.0 ** np.arange(-30, 0)).tolist()
        caught = next((size for size in sizes if _caught(entries, at, size)), None)
        if caught is None:
            return None
        worst = max(worst or 0.0, caught)
    return worst


def _caught(entries: list[Agreed], at: int, size: float) -> bool:
    comparison, leaf, index, finding = entries[at]
    with precision(_exact.PRECISIONS[0]):
        planted = finding.got * (1 + arb(size)) if finding.got != 0 else arb(size)
    finding = _exact.by_digits(
        _exact.agreement(planted, _mid(finding.expected)), planted, finding.expected, finding.truth
    )
    changed = [*entries[:at], (comparison, leaf, index, finding), *entries[at + 1 :]]
    return finding.verdict == "wrong" or _rough(changed) is not None


def _spread(points: list[int], n: int) -> Iterator[int]:
    """At most n of the points, every style of input among them."""
    styles = [[p for p in points if p % len(STYLES) == s] for s in range(len(STYLES))]
    taken = 0
    while taken < n and any(styles):
        for group in styles:
            if group and taken < n:
                yield group.pop(0)
                taken += 1


def _count(stacks: list) -> int:
    return len(stacks[0]) if stacks else 0


def _largest(comparison: _exact.Comparison, leaf: int) -> float:
    sizes = np.abs(_exact.floats(comparison.results(leaf)))
    return float(np.max(sizes, initial=0.0, where=np.isfinite(sizes)))


def _mid(x: Any) -> Any:
    return x[0] if isinstance(x, tuple) else x


def _number(x: Any) -> Any:
    if isinstance(x, tuple):
        return tuple(float(v) for v in x)
    return float(x)


def _close(x: float, y: float) -> bool:
    return bool(np.isfinite(x)) and abs(x - y) <= _LOST * abs(y)


__all__ = ["Level", "assert_correct", "check"]
