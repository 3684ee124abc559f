"""check: a rule and a definition go in, a verdict with evidence comes out."""

import functools
import inspect
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import jax
import numpy as np

from manualbp._rule import Rule
from manualbp.verify.ask import thresholds
from manualbp.verify.ask.definitions import definition_of
from manualbp.verify.ask.domains import Spec, spec_of
from manualbp.verify.ask.problem import Problem, first_line
from manualbp.verify.ask.question import check_argnums, examine, with_static
from manualbp.verify.ask.sampling import EFFORT, Level, Points, points_for, spread
from manualbp.verify.ask.subject import ContractBroken, Subject, subject_of
from manualbp.verify.evidence import (
    Branches,
    Counterexample,
    Entry,
    Evidence,
    Finding,
    FloatFinding,
    Report,
)
from manualbp.verify.numbers import wide
from manualbp.verify.numbers.against_floats import disagreement
from manualbp.verify.numbers.walk import Straddles, Unsupported
from manualbp.verify.rungs import contract, differences, exact
from manualbp.verify.rungs import floats as float_rung
from manualbp.verify.rungs import higher as higher_rung
from manualbp.verify.rungs.proof import prove
from manualbp.verify.verdict import diagnosis
from manualbp.verify.verdict.decide import decide, power
from manualbp.verify.verdict.report import reproduction
from manualbp.verify.verdict.shrink import shrink

# Where float64 results differ by more, exact arithmetic decides: triage, no verdict.
_TRIAGE = 1e-10
# Numbers that exact arithmetic makes in a run, and at one point, at most
_BUDGET, _MOST = 2e6, 4e6
# Points that are compared at once: a wrong rule is told from the first
_AT_ONCE = 8
# Points beside one, at which a value that does not jump is nearly the same
_NUDGES = (1.0, 1 + 1e-9, 1 - 1e-9)
# The part of an entry's natural scale by which autodiff must be off to be told
_GROSSLY = 1e-6
# What a judge must not raise, whatever it is asked
_NET: tuple[type[Exception], ...] = (Exception,)
# Points whose floats alone look wrong, for exact arithmetic
_FLOAT_SUSPECTS = 8


def check(
    rule: Any,
    *args: Any,
    definition: Callable[..., Any] | None = None,
    argnums: int | Sequence[int] | None = None,
    explore: bool = True,
    level: Level = "standard",
    seed: int = 0,
    intended: str | Callable | tuple[str, Callable] | None = None,
    strict: bool = False,
    order: int = 2,
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
        estimator, say); then it passes if only its gradient is another's, and fails if it is the
        gradient. Or what it is meant to be, `intended(*args, dy) -> cotangents`, alone or behind
        the reason: then it is held to that.
      strict: fail where float results lose digits at all that the problem does not lose.
      order: 1 asks for the gradient alone, 2 for the gradient's own derivative, too.

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
    numbers = (argnums,) if isinstance(argnums, int) else argnums
    subject = subject_of(rule, numbers)
    definition = _definition(rule, subject, definition)
    if not args:
        raise ValueError(
            f"check: expected the arguments of {subject.name}, got none: pass arrays or Spec((3,))"
        )
    if level not in EFFORT:
        raise ValueError(f"check: expected level 'quick', 'standard' or 'full', got {level!r}")
    if order not in (1, 2):
        raise ValueError(f"check: expected order 1 or 2, got {order!r}")
    check_argnums(numbers, len(args))
    args = with_static(rule, args)
    reason, pull = _intention(intended)
    ambient = bool(jax.config.jax_enable_x64)  # type: ignore[attr-defined]
    # promotion as JAX has it by default; 64-bit mode is ours where numbers are, and a program has
    # it where it was asked for
    with (
        jax.enable_x64(True),
        jax.numpy_dtype_promotion("standard"),
        np.errstate(all="ignore"),
    ):
        problem = problem_of(subject, definition, args, numbers, ambient, pull)
        unclear = examine(problem, rule)
        if unclear:
            run = _Run(problem, seed, strict, order)
            run.saw("contract", "UNDECIDED", unclear)
            return run.report("UNDECIDED")
        run = _Run(problem, seed, strict, order)
        try:
            report = judge(run, args, explore, level, linear=_linear(intended, pull))
        except jax.errors.JaxRuntimeError as error:  # of the compiler or a device, not of a rule
            run.saw("judge", "UNDECIDED", f"JAX raises: {first_line(error)}")
            report = run.report("UNDECIDED")
        except _NET as error:
            text = f"the judge raises {type(error).__name__}, please report it: {first_line(error)}"
            run.saw("judge", "UNDECIDED", text)
            report = run.report("UNDECIDED")
    if level == "full" and explore and intended is None:
        report = with_proof(report, problem)
    return report if intended is None or pull is not None else _as_intended(report, reason)


def with_proof(report: Report, problem: Problem, seconds: float = 2.0) -> Report:
    """The report with what was proved; a refutation fails it."""
    proof = prove(problem, seconds)
    verdict = "FAIL" if proof.verdict == "REFUTED" else report.verdict
    return replace(report, proof=proof, verdict=verdict)


def problem_of(
    subject: Subject,
    definition: Callable,
    args: tuple,
    argnums: Sequence[int] | None = None,
    wide_mode: bool = False,
    intended: Callable | None = None,
) -> Problem:
    """The problem, kept from one run to the next where only values differ: compiled once."""
    leaves, tree = jax.tree.flatten(args, is_leaf=lambda x: x is None)
    rows = {np.shape(x)[0] for x in leaves if hasattr(x, "shape") and np.ndim(x) > 1}
    specs = tuple(Spec((), "none") if x is None else spec_of(x, rows) for x in leaves)
    names = _argument_names(subject, definition, len(args))
    given = (subject, definition, tree, specs, None if argnums is None else tuple(argnums), names,
             wide_mode, intended)  # fmt: skip
    try:
        return _problem(*given)
    except TypeError:  # a static argument that has no hash
        return _problem.__wrapped__(*given)


@functools.lru_cache(maxsize=512)
def _problem(subject, definition, tree, specs, argnums, names, wide_mode, intended):
    args = tree.unflatten(specs)
    return Problem(subject, definition, args, argnums, names, wide_mode, intended)


def _argument_names(subject: Subject, definition: Callable, n: int) -> tuple[str, ...]:
    """The names of the arguments, as in the signature."""
    for function in (subject.definition, definition, subject.forward):
        try:
            found = inspect.signature(function).parameters.values()  # type: ignore[arg-type]
        except (TypeError, ValueError):
            continue
        names = [p.name for p in found if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
        if len(names) >= n:
            return tuple(names[:n])
    return ()


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


def _intention(intended: Any) -> tuple[str, Callable | None]:
    """The reason, and the derivative that is meant, of what was given as intended."""
    if intended is None or isinstance(intended, str):
        return intended or "", None
    reason, pull = (
        intended if isinstance(intended, tuple) and len(intended) == 2 else ("", intended)
    )
    if not callable(pull) or not isinstance(reason, str):
        raise TypeError(
            "check: expected intended as a reason, a function (*args, dy) -> cotangents or both, "
            f"got {intended!r}"
        )
    return reason, pull


def _linear(intended: Any, pull: Callable | None) -> bool | None:
    """Whether linearity is asked: of what clips that it is odd; nothing of what is given."""
    return True if intended is None else None if pull is not None else False


# What an intention explains: the gradient itself, and nothing beside it
_GRADIENT_SHAPED = ("exact", "differences")


def _as_intended(report: Report, reason: str) -> Report:
    """The verdict on a rule that is meant not to be the gradient, for a reason."""
    note = f"intended not to be the gradient: {reason}"
    last = report.evidence[-1]
    example = report.counterexample
    explained = (
        report.verdict == "FAIL"
        and last.rung in _GRADIENT_SHAPED
        and example is not None
        and example.argument != "value"
        and not np.any(~np.isfinite(np.asarray(example.got)))
    )
    if report.verdict == "PASS":
        note += "; but nothing that differs from the gradient was found"
    elif report.verdict == "FAIL" and not explained:
        note += "; but what is wrong is not that"
    verdict: Any = {"PASS": "FAIL", "FAIL": "PASS" if explained else "FAIL"}.get(
        report.verdict, report.verdict
    )
    return replace(report, verdict=verdict, notes=(*report.notes, note))


class _Run:
    """What one question has shown so far; the report is made of it."""

    def __init__(self, problem: Problem, seed: int, strict: bool, order: int):
        self.problem, self.seed, self.strict, self.order = problem, seed, strict, order
        self.evidence: list[Evidence] = []
        self.notes: list[str] = []
        self.decided: Counter[str] = Counter()
        self.branches: Branches | None = None
        self.power: float | None = None
        self.grade = ""

    def saw(self, rung: str, verdict: Any, text: str, compared: int = 0) -> None:
        self.evidence.append(Evidence(rung, verdict, text, compared))

    def note(self, text: str) -> None:
        if text and text not in self.notes:
            self.notes.append(text)

    def report(
        self, verdict: Any, example: Counterexample | None = None, diagnosis: tuple[str, ...] = ()
    ) -> Report:
        return Report(
            self.problem.subject.name,
            verdict,
            tuple(self.evidence),
            self.problem.asked_in_words,
            self.grade,
            example,
            diagnosis,
            tuple(self.notes),
            self.seed,
            dict(self.decided),
            self.branches,
            self.power,
        )


def judge(run: _Run, args: tuple, explore: bool, level: Level, linear: bool | None) -> Report:
    """The report on a question: rung by rung, until one decides."""
    problem = run.problem
    try:
        compared = contract.check_form(problem)
        points = points_for(problem, args, explore, level, run.seed)
        compared += contract.check_paths(problem, points.ordinary, linear)
    except ContractBroken as broken:
        if broken.kind == "untraceable":
            run.saw("contract", "UNDECIDED", f"{broken}: it cannot be traced by jax.jit")
            return run.report("UNDECIDED")
        run.saw("contract", "FAIL", str(broken))
        return run.report("FAIL", None, diagnosis.of_contract(broken))
    run.saw("contract", "PASS", f"{compared} conditions hold", compared)
    if not points.stacks or not problem.value_parts or not problem.differentiated:
        run.saw("exact", "UNDECIDED", "no number was compared")
        return run.report("UNDECIDED")
    ours, truth, went = problem.run(points.stacks)
    native = problem.native(points.stacks)
    scene = Scene(problem, points, ours, truth, native)
    compared, suspects = triage(ours, truth)
    differ = sum(len(x) for x in suspects.values())
    what = f"{compared:,} numbers compared, {differ:,} left to exact arithmetic"
    if truth[1] is None:
        what = f"JAX cannot differentiate the definition ({problem.why_no_autodiff})"
    run.saw("autodiff", "UNDECIDED" if differ or truth[1] is None else "PASS", what, compared)
    ways, unvisited = thresholds.coverage(went, problem.branches)
    texts = tuple(f"{text}{f' ({n} times)' * (n > 1)}" for text, n in unvisited.items())
    run.branches = Branches(ways, ways - unvisited.total(), texts) if ways else None
    if truth[1] is None:
        return _by_differences(run, scene, "no autodiff")
    try:
        return _by_exact(run, scene, suspects)
    except Unsupported as primitive:
        return _by_differences(run, scene, f"{primitive} has no exact form")
    except TooLarge as reason:
        return _by_differences(run, scene, str(reason))


def _by_exact(run: _Run, scene: "Scene", suspects: dict[int, list[Entry]]) -> Report:
    """Findings of all comparisons, decided; then floats, and higher derivatives."""
    problem, points = run.problem, scene.points
    findings: list[Finding] = []
    undecided: list[str] = []
    by_point = scene.by_point
    for p, comparison in scene.compared(suspects):
        if isinstance(comparison, Straddles):
            undecided.append(str(comparison))
            continue
        comparison.at = p
        by_point[p] = comparison
        for finding in comparison.findings(suspects.get(p, ())):
            found = replace(finding, at=p)
            if not run.strict and found.relation == "other" and scene.negligible(found):
                found = replace(found, relation="negligible")
            findings.append(found)
            if found.relation == "other":
                break  # what fails the rule is told from one entry
        if findings and findings[-1].relation == "other":
            break
    decision = decide(findings, small=scene.small)
    because = decision.because
    if isinstance(because, Finding) and because.relation == "similar" and not because.nearby:
        nearby = _nearby(by_point[because.at], because)
        findings = [replace(f, nearby=nearby) if f is because else f for f in findings]
        decision = decide(findings, small=scene.small)
    for f in findings:
        run.decided["skipped" if f.relation in _UNDECIDED else f.truth] += 1
    doubt = _doubt(problem, scene)
    if doubt and (decision.verdict != "PASS" or run.strict):
        text = f"the judge's own arithmetic of {doubt} differs from JAX's in float64"
        run.saw("exact", "UNDECIDED", text)
        return run.report("UNDECIDED")
    if isinstance(decision.because, Finding):
        return _failed(run, scene, by_point[decision.because.at], decision.because)
    floats = scene.floats(by_point, run.strict)
    run.grade = float_rung.grade(floats, problem)
    decision = decide(findings, floats, run.strict, scene.small)
    if isinstance(decision.because, FloatFinding):
        return _failed_floats(run, scene, by_point[decision.because.at], decision.because)
    if not points.only_given or not any(c._at_a_tie for c in by_point.values()):
        higher_rungs = [(higher_rung.forward, diagnosis.FORWARD)]
        if run.order == 2:
            higher_rungs.append((higher_rung.second, diagnosis.SECOND))
            higher_rungs.append((higher_rung.by_hand, diagnosis.BY_HAND))
        for higher, told in higher_rungs:
            found = higher(problem, points.ordinary)
            run.note(found.note)
            if found.wrong:
                run.saw("exact", "FAIL", found.wrong)
                return run.report("FAIL", None, told)
    _notes(run, findings, scene)
    decided = sum(n for truth, n in run.decided.items() if truth != "skipped")
    if decision.verdict == "UNDECIDED" or decided == 0:
        why = undecided[0] if undecided else decision.reason
        if run.decided["skipped"] and not undecided:
            why = (
                "no number was compared: the definition is undefined, NaN or infinite, wherever "
                "it was looked at"
            )
        run.saw("exact", "UNDECIDED", why)
        return run.report("UNDECIDED")
    text = f"{decided:,} numbers decided in balls of 256 bits and more"
    if run.decided["skipped"]:
        text += f"; {run.decided['skipped']:,} skipped, where the definition has no value or slope"
    if undecided:
        text += f"; {len(undecided)} points undecided ({undecided[0]})"
    run.saw("exact", "PASS", text, decided)
    run.power = power(findings)
    return run.report("PASS")


_UNDECIDED = ("skipped", "undecided", "negligible")
# Styles of points whose numbers may be tiny, huge, or of many sizes at once
_FAR_OUT = ("special", "wide", "scaled", "tails", "threshold")


class TooLarge(Exception):
    """The programs make more numbers than exact arithmetic is given time for."""


class Scene:
    """Both programs over all points, in float64 and in the dtype asked: what rungs look at."""

    def __init__(self, problem: Problem, points: Points, ours: Any, truth: Any, native: Any):
        self.problem, self.points = problem, points
        self.ours, self.truth, self.native = ours, truth, native
        ordinary = points.of_styles("normal", "round")
        pulled = truth[1] if truth[1] is not None else ours[1]
        self.scales = float_rung.natural_scales(pulled, ordinary)
        self.value_scales = float_rung.natural_scales(truth[0], ordinary)
        self.by_point: dict[int, exact.Comparison] = {}

    def small(self, finding: Finding) -> bool:
        """Whether a difference is less than half the digits of the entry's natural scale.

        Or one that rounding the inputs makes too, or among inputs of huge size.
        """
        if finding.entry.of == "value":
            scale = float(self.value_scales[finding.entry.leaf][finding.entry.index])
        else:
            scale = float(self.scales[finding.entry.leaf][finding.entry.index])
        got, expected = float(finding.got), float(finding.expected)
        size = max(abs(expected), scale)
        off = abs(got - expected)
        if off <= float_rung.half_digits(self.problem.dtype) * size:
            return True
        comparison = self.by_point.get(finding.at)
        if comparison is None:
            return False
        if float_rung.huge(self.problem, comparison.point):
            return True
        moved = comparison.spread(finding.entry, self.problem.dtype)
        return off <= float_rung.EXPLAINS * moved

    def negligible(self, finding: Finding) -> bool:
        """Whether a difference lies far out, below half the digits of the entry's natural scale."""
        points, p = self.points, finding.at
        far_out = p not in points.special and points.style(p) in _FAR_OUT
        sided = isinstance(finding.expected, tuple)
        return far_out and not points.only_given and not sided and self.small(finding)

    @functools.cached_property
    def float_suspects(self) -> np.ndarray:
        """Points whose gradient in the dtype asked is far off in float64's eyes, not the value."""
        dtype = self.problem.dtype
        off = float_rung.far(self.native[0][1], self.ours[1], self.scales, dtype)
        return off & ~float_rung.far(self.native[1][0], self.truth[0], self.value_scales, dtype)

    def compared(self, suspects: dict[int, list]) -> Iterator[tuple[int, Any]]:
        """Exact comparisons at the points chosen, the simplest first; or why there is none.

        Raises:
          Unsupported: a primitive has no exact form.
          TooLarge: the programs make too many numbers.
        """
        problem, points = self.problem, self.points
        cost = sum(wide.operations(p) for p in (problem.traced.ours, problem.traced.truth))
        if cost > _MOST:
            raise TooLarge(f"{cost:,} operations are too many for exact arithmetic")
        drawn = range(points.drawn)
        chosen = [p for p in points.special if p in suspects]
        chosen += spread([p for p in suspects if p in drawn and p not in chosen], points.decide)
        chosen += [p for p in points.special if p not in chosen]
        floats = [p for p in np.flatnonzero(self.float_suspects).tolist() if p in drawn]
        chosen += spread([p for p in floats if p not in chosen], _FLOAT_SUSPECTS)
        chosen += spread([p for p in drawn if p not in suspects and p not in chosen], points.always)
        chosen += list(points.at_thresholds)
        chosen = [p for p in chosen if points.exists(p)]
        most = max(2, int(_BUDGET / max(cost, 1)))
        if len(chosen) > most:  # thresholds and ordinary points in turn
            first = [p for p in chosen if p not in points.at_thresholds]
            last = [p for p in chosen if p in points.at_thresholds]
            chosen = first[: max(1, most - len(last), most // 2)]
            chosen += last[: most - len(chosen)]
        for start in range(0, len(chosen), _AT_ONCE):
            some = chosen[start : start + _AT_ONCE]
            yield from zip(
                some, exact.compare_many(problem, [points.point(p) for p in some]), strict=True
            )

    def floats(self, comparisons: dict[int, exact.Comparison], strict: bool) -> list[FloatFinding]:
        """Findings in the dtype asked, at drawn points; where strict, of lost digits everywhere."""
        found: list[FloatFinding] = []
        for p, comparison in comparisons.items():
            if strict:
                found += self._lost(p, comparison)
            drawn = p < self.points.drawn or p in self.points.special
            if not (drawn and float_rung.ordinary(self.problem, comparison.point)):
                continue
            rule, autodiff = (
                ([x[p] for x in values], None if pulled is None else [x[p] for x in pulled])
                for values, pulled in self.native
            )
            larger = functools.partial(self._scales_at, p)
            found += float_rung.compared(
                comparison, rule, autodiff, self.scales, self.value_scales, larger,
                p == 0 and p in self.points.special,
            )  # fmt: skip
        return found

    @functools.lru_cache(maxsize=8)  # noqa: B019  # a scene lives as long as its run
    def _scales_at(self, p: int) -> list[np.ndarray]:
        """Natural scales where each array is as large as at a point, and else ordinary."""
        rows = self.points.of_styles("normal")[:16]
        stacks = [x[rows] for x in self.points.stacks]
        for k, x in enumerate(self.points.point(p)[: len(self.problem.parts)]):
            if self.problem.spec(k).scales and x.size:
                axes = tuple(range(1, stacks[k].ndim))
                own = np.sqrt(np.mean(stacks[k] ** 2, axis=axes, keepdims=True))
                stacks[k] = stacks[k] * (np.sqrt(np.mean(x**2)) / np.where(own > 0, own, 1.0))
        ours, truth, _ = self.problem.run(stacks)
        pulled = truth[1] if truth[1] is not None else ours[1]
        return float_rung.natural_scales(pulled, np.arange(len(rows)))

    def _lost(self, p: int, comparison: exact.Comparison) -> Iterator[FloatFinding]:
        """Entries whose digits float64 loses, though the problem does not."""
        for f in comparison.findings():
            results = self.ours[0] if f.entry.of == "value" else self.ours[1]
            got = float(results[f.entry.leaf][(p, *f.entry.index)])
            if float_rung.lost(comparison, f.entry, got):
                truth = float(f.expected)
                yield FloatFinding(f.entry, truth, got, np.nan, abs(truth), 0.0, False, True, p)


def triage(ours: Any, truth: Any) -> tuple[int, dict[int, list[Entry]]]:
    """Entries on which the two float64 programs differ, by point, the simplest points first."""
    found: dict[int, list[Entry]] = {}
    compared = 0
    pairs: list[tuple[Any, int, Any, Any]] = [
        ("value", k, a, b) for k, (a, b) in enumerate(zip(ours[0], truth[0], strict=True))
    ]
    if truth[1] is not None:
        pairs += [
            ("gradient", k, a, b) for k, (a, b) in enumerate(zip(ours[1], truth[1], strict=True))
        ]
    for of, leaf, got, expected in pairs:
        compared += got.size
        with np.errstate(all="ignore"):
            close = np.abs(got - expected) <= _TRIAGE * np.abs(expected)
        # what is not finite is looked at, also where the definition overflows too
        for at in np.argwhere(~(close | (got == expected)) | ~np.isfinite(got)).tolist():
            found.setdefault(at[0], []).append(Entry(of, leaf, tuple(at[1:])))
    return compared, dict(sorted(found.items(), key=lambda item: (item[0] % 8, item[0])))


def _nearby(comparison: exact.Comparison, finding: Finding) -> tuple[float, ...]:
    """got / expected - 1 of an entry at neighbouring points."""
    factors = []
    for step in (1.25, 0.875):
        moved = [x * step if x.dtype.kind == "f" else x for x in comparison.point]
        try:
            near = exact.compare(comparison.problem, moved).entry(finding.entry)
        except (Straddles, Unsupported):
            continue
        if near.relation in ("same", "similar"):
            factors.append(near.factor)
    return tuple(factors)


def _doubt(problem: Problem, scene: Scene) -> str:
    """The primitive whose exact form is not what JAX computes in float64, or nothing."""
    n = len(problem.value_parts)
    for p in scene.points.of_styles("normal", "round").tolist():
        comparison = scene.by_point.get(p)
        if comparison is None:
            continue
        for program, balls, results in (
            (problem.traced.ours, [*comparison.our_value, *comparison.our_pull], scene.ours),
            (problem.traced.truth, [*comparison.value, *comparison.pull], scene.truth),
        ):
            for k, ball in enumerate(balls):
                jax_gives = (results[0][k] if k < n else results[1][k - n])[p]
                # a program that loses digits is asked about, too: equation by equation it is right
                if not _near(exact.floats(ball), jax_gives):
                    named = disagreement(program, scene.points.point(p))
                    if named is not None:
                        return named
                    break
    return ""


def _near(x: np.ndarray, y: np.ndarray) -> bool:
    """Whether two evaluations of one program agree, of the largest entry, where both are finite."""
    both = np.isfinite(x) & np.isfinite(y)
    size = np.abs(x).max(initial=0.0, where=both)
    return bool(np.all(np.abs(x - y)[both] <= 1e-6 * size))


def _by_differences(run: _Run, scene: Scene, why: str) -> Report:
    """Where there is no exact form: float64 differences of the definition decide."""
    problem, points = run.problem, scene.points
    findings: list[Finding] = []
    # steps fit entries of about one size; across many scales an estimate means nothing
    even = [p for p in points.of_styles("round", "normal").tolist() if p not in points.special]
    for p in [*points.special, *even]:
        if len(findings) > 500:
            break
        point = points.point(p)
        if not points.exists(p):
            continue
        pulled = [x[p] for x in scene.ours[1]]
        autodiff = None if scene.truth[1] is None else [x[p] for x in scene.truth[1]]
        findings += _values_by_floats(scene, p)
        findings += differences.decide(problem, point, pulled, autodiff, p)
    decision = decide(findings)
    if isinstance(decision.because, Finding):
        finding = decision.because
        example = _example(run, finding, points.point(finding.at))
        run.saw("differences", "FAIL", "the rule is not the gradient")
        told: tuple[str, ...] = ("the forward value is wrong, before any gradient",)
        if finding.entry.of == "gradient":
            got = scene.ours[1][finding.entry.leaf][finding.at]
            want = (
                scene.truth[1][finding.entry.leaf][finding.at]
                if scene.truth[1] is not None
                else None
            )
            told = diagnosis.of_arrays(got, want) if want is not None else diagnosis.UNKNOWN
        return run.report("FAIL", example, told)
    for f in findings:
        run.decided["skipped" if f.relation == "undecided" else f.truth] += 1
    undecided = run.decided.pop("skipped", 0)
    decided = run.decided[differences.TRUTH]
    text = f"{why}: float64 differences decided {decided:,} numbers, not {undecided:,}"
    verdict: Any = "PASS" if decided > max(undecided, 0) else "UNDECIDED"
    run.saw("differences", verdict, text, decided)
    return run.report(verdict)


def _values_by_floats(scene: Scene, p: int) -> list[Finding]:
    """The rule's value beside the definition's, in float64, where that does not jump."""
    findings: list[Finding] = []
    point = scene.points.point(p)
    near = [np.stack([x * s if x.dtype.kind == "f" else x for s in _NUDGES]) for x in point]
    values = scene.problem.run(near)[1][0]
    if not all(_near(x[0], y) for x in values for y in x):
        return findings
    for leaf, (got, want) in enumerate(zip(scene.ours[0], scene.truth[0], strict=True)):
        with np.errstate(all="ignore"):
            size = np.abs(want[p]).max(initial=0.0, where=np.isfinite(want[p]))
            off = ~(np.abs(got[p] - want[p]) <= 1e-6 * size) & np.isfinite(want[p])
        for at in np.argwhere(off)[:1].tolist():
            entry = Entry("value", leaf, tuple(at))
            truth: Any = differences.TRUTH
            findings.append(
                Finding(
                    entry, "other", float(got[p][tuple(at)]), float(want[p][tuple(at)]), truth, at=p
                )
            )
    return findings


def _failed(run: _Run, scene: Scene, comparison: exact.Comparison, finding: Finding) -> Report:
    # told from the whole arrays, of which a small counterexample shows too little
    told = diagnosis.of_finding(scene, comparison, finding)
    if finding.relation == "other":
        comparison, finding = shrink(
            (comparison, finding), run.seed, smaller=not scene.points.only_given
        )
    example = _example(run, finding, comparison.point, comparison.problem)
    run.saw("exact", "FAIL", "the rule is not the gradient")
    return run.report("FAIL", example, told)


def _failed_floats(
    run: _Run, scene: Scene, comparison: exact.Comparison, finding: FloatFinding
) -> Report:
    got = finding.rule
    truth = comparison.entry(finding.entry)
    shown = replace(truth, got=got, expected=finding.truth)
    example = _example(run, shown, comparison.point)
    run.saw(
        "floats", "FAIL",
        f"the formula is right, its {run.problem.dtype} arithmetic is not: truth "
        f"{finding.truth:.6g}, rule {finding.rule:.6g}, autodiff {finding.autodiff:.6g}",
    )  # fmt: skip
    return run.report("FAIL", example, diagnosis.of_floats(got, finding.truth))


def _example(
    run: _Run, finding: Finding, point: list, problem: Problem | None = None
) -> Counterexample:
    """What a user runs to see it: arrays in the dtypes asked, where these hold the point."""
    problem = problem or run.problem
    n = len(problem.parts)
    asked = problem.asked(point)
    held = all(np.array_equal(a.astype(b.dtype), b) for a, b in zip(asked, point, strict=True))
    shown = asked if held else point
    args, dys = problem.arguments(problem.concrete(shown[:n])), shown[n:]
    entry = finding.entry
    expected = _number(finding.expected)
    got = _number(finding.got)
    if held:
        try:
            values, pulled = problem.native([np.asarray(x)[None] for x in point])[0]
            native = (values if entry.of == "value" else pulled)[entry.leaf][0][entry.index]
            # what the lines print, unless their rounding hides what is wrong
            far = abs(got - np.mean(expected))
            got = float(native) if not abs(native - got) > 1e-3 * far else got
        except Exception:  # what runs in balls need not run alone
            pass
    one = expected if isinstance(expected, float) else np.nan
    spacing = float(jax.numpy.finfo(problem.dtype).eps) * max(abs(one), 1e-300)
    ulps = abs(got - one) / spacing if np.isfinite(one) else None
    path = "value" if entry.of == "value" else problem.name_of(entry.leaf)
    place = None if entry.of == "value" else problem.path_of(entry.leaf)
    halves = any(p.half for p in (*problem.parts, *problem.value_parts))  # of complex numbers
    static = any(s.domain == "static" for s in problem.specs)
    plain = problem.subject.importing and not (static or halves)
    code = (
        reproduction(
            problem.subject.importing, args, tuple(dys), place, entry.index, problem.wide_mode
        )
        if plain
        else ""
    )
    dy = dys[0] if len(dys) == 1 else tuple(dys)
    names = tuple(problem.argument(i) for i in range(len(args)))
    return Counterexample(
        args, dy, path, entry.index, expected, got, finding.truth, ulps, code, names
    )


def _notes(run: _Run, findings: list[Finding], scene: Scene) -> None:
    """What is worth knowing of a pass."""
    if any(f.relation == "kink" for f in findings):
        run.note("at a kink the rule's value lies between the one-sided derivatives")
    digits = min((f.digits for f in findings if f.relation in ("same", "similar")), default=np.inf)
    if digits < exact.SAME:
        run.note(f"an approximation: rule and definition agree to {digits:.1f} digits")
    far = [f for f in findings if f.relation == "negligible"]
    if far:
        got, expected = float(far[0].got), float(far[0].expected)
        run.note(
            f"another function far out, by less than half the digits of the entry's natural scale "
            f"({got:.3g} for {expected:.3g}, say): strict refuses that"
        )
    guards = [f for f in findings if f.relation == "guard"]
    if guards:
        plain = [f for f in guards if float_rung.ordinary(run.problem, scene.points.point(f.at))]
        worst = max((abs(float(f.got) - float(f.expected)) for f in plain), default=0.0)
        run.note(
            f"right up to a guard ({guards[0].why}), which makes a difference of {worst:.2g} at "
            "most where inputs are of ordinary size"
        )
    if scene.truth[1] is None:
        return
    for f in findings:
        drawn = f.at < scene.points.drawn  # at thresholds float64 overflows
        if drawn and f.relation == "same" and f.entry.of == "gradient":
            autodiff = float(scene.truth[1][f.entry.leaf][(f.at, *f.entry.index)])
            truth = float(f.expected)
            size = max(abs(truth), float(scene.scales[f.entry.leaf][f.entry.index]))
            if np.isfinite(truth) and not abs(autodiff - truth) <= _GROSSLY * size:
                where = scene.points.style(f.at)
                run.note(
                    f"autodiff of the definition is off in float64 at a point ({where}): "
                    f"{autodiff:.6g} for {truth:.6g}; the rule is right there"
                )
                return


def _number(x: Any) -> Any:
    return tuple(float(v) for v in x) if isinstance(x, tuple) else float(x)


__all__ = ["Level", "assert_correct", "check"]
