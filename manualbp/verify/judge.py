"""Rung by rung, from points to findings to a verdict."""

from collections import Counter
from dataclasses import replace
from typing import Any

import numpy as np

from manualbp.verify.ask import thresholds
from manualbp.verify.ask.problem import Problem
from manualbp.verify.ask.sampling import Level, points_for
from manualbp.verify.ask.subject import ContractBroken
from manualbp.verify.evidence import (
    Branches,
    Counterexample,
    Entry,
    Evidence,
    Finding,
    FloatFinding,
    Report,
)
from manualbp.verify.numbers.against_floats import disagreement
from manualbp.verify.numbers.operations import LARGE
from manualbp.verify.numbers.walk import Straddles, Unsupported
from manualbp.verify.rungs import contract, differences, exact
from manualbp.verify.rungs import floats as float_rung
from manualbp.verify.rungs import higher as higher_rung
from manualbp.verify.scene import Scene, TooLarge, triage
from manualbp.verify.verdict import diagnosis
from manualbp.verify.verdict.decide import decide, power
from manualbp.verify.verdict.example import example_of
from manualbp.verify.verdict.shrink import shrink

# Points beside one, at which a value that does not jump is nearly the same
_NUDGES = (1.0, 1 + 1e-9, 1 - 1e-9)
# The part of an entry's natural scale by which autodiff must be off to be told
_GROSSLY = 1e-6
# What decides something
_TOLD = ("same", "similar", "kink", "guard", "other")
# What decides nothing
_UNDECIDED = ("skipped", "undecided", "negligible")


class Run:
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
        """What a rung says."""
        self.evidence.append(Evidence(rung, verdict, text, compared))

    def note(self, text: str) -> None:
        """What the user is to know beside the verdict, once."""
        if text and text not in self.notes:
            self.notes.append(text)

    def report(
        self, verdict: Any, example: Counterexample | None = None, diagnosis: tuple[str, ...] = ()
    ) -> Report:
        """All of it, with the verdict."""
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


def judge(run: Run, args: tuple, explore: bool, level: Level, linear: bool | None) -> Report:
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


def _by_exact(run: Run, scene: Scene, suspects: dict[int, list[Entry]]) -> Report:
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
            if found.relation in ("other", "guard", "similar") and not run.strict:
                found = scene.on_its_scale(found)
            findings.append(found)
            if found.relation == "other":
                break  # what fails the rule is told from one entry
        if findings and findings[-1].relation == "other":
            break
    if problem.cost > LARGE and not any(f.relation == "other" for f in findings):
        more, open_ = _of_unreached(scene, suspects, findings)
        wrong = next((f for f in more if f.relation == "other"), None)
        if wrong is not None:
            return _failed_by_differences(run, scene, wrong)
        if open_:
            run.saw("exact", "UNDECIDED", f"float64 differs in {open_}, and nothing decides it")
            return run.report("UNDECIDED")
        for f in more:
            run.decided["skipped" if f.relation == "undecided" else f.truth] += 1
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
    if problem.cost > LARGE:
        every = sum(x.size for x in (*scene.ours[0], *scene.ours[1]))
        text += f", of {every:,} that float64 compares"
    if run.decided["skipped"]:
        text += f"; {run.decided['skipped']:,} skipped: no value or slope there, or negligible"
    if undecided:
        text += f"; {len(undecided)} points undecided ({undecided[0]})"
    run.saw("exact", "PASS", text, decided)
    run.power = power(findings)
    return run.report("PASS")


def _nearby(comparison: exact.Comparison, finding: Finding) -> tuple[float, ...]:
    """got / expected - 1 of an entry at neighbouring points."""
    factors = []
    for step in (1.25, 0.875):
        moved = [  # zeros, too, have neighbours
            np.where(x == 0, step - 1, x * step) if x.dtype.kind == "f" else x
            for x in comparison.point
        ]
        if not comparison.problem.contains(moved):
            continue
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
                    if problem.cost > LARGE:
                        return "a primitive"
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


def _by_differences(run: Run, scene: Scene, why: str) -> Report:
    """Where there is no exact form: float64 differences of the definition decide."""
    problem, points = run.problem, scene.points
    findings: list[Finding] = []
    # steps fit entries of about one size; across many scales an estimate means nothing
    even = [p for p in points.of_styles("round", "normal").tolist() if p not in points.special]
    left = differences.points_in_time(problem)
    for p in [*points.special, *even]:
        if len(findings) > 500 or left == 0:
            break
        point = points.point(p)
        if not points.exists(p) or any(np.any(np.isnan(x[p])) for x in scene.truth[0]):
            continue
        pulled = [x[p] for x in scene.ours[1]]
        autodiff = None if scene.truth[1] is None else [x[p] for x in scene.truth[1]]
        left -= 1
        findings += _values_by_floats(scene, p)
        findings += differences.decide(problem, point, pulled, autodiff, p)
    decision = decide(findings)
    if isinstance(decision.because, Finding):
        return _failed_by_differences(run, scene, decision.because)
    for f in findings:
        run.decided["skipped" if f.relation == "undecided" else f.truth] += 1
    undecided = run.decided.pop("skipped", 0)
    decided = run.decided[differences.TRUTH]
    text = f"{why}: float64 differences decided {decided:,} numbers, not {undecided:,}"
    verdict: Any = "PASS" if decided > max(undecided, 0) else "UNDECIDED"
    run.saw("differences", verdict, text, decided)
    return run.report(verdict)


def _failed_by_differences(run: Run, scene: Scene, finding: Finding) -> Report:
    example = example_of(run.problem, finding, scene.points.point(finding.at))
    run.saw("differences", "FAIL", "the rule is not the gradient")
    told: tuple[str, ...] = ("the forward value is wrong, before any gradient",)
    if finding.entry.of == "gradient":
        got = scene.ours[1][finding.entry.leaf][finding.at]
        want = (
            scene.truth[1][finding.entry.leaf][finding.at] if scene.truth[1] is not None else None
        )
        told = diagnosis.of_arrays(got, want) if want is not None else diagnosis.UNKNOWN
    return run.report("FAIL", example, told)


def _of_unreached(
    scene: Scene, suspects: dict[int, list[Entry]], findings: list[Finding]
) -> tuple[list[Finding], str]:
    """Differences, of gradients that exact arithmetic took too long for; and what stays open.

    Open is a gradient on which the float64 programs differ, and that nothing decides.
    """
    reached = {f.entry.leaf for f in findings if f.entry.of == "gradient" and f.relation in _TOLD}
    missing = set(range(len(scene.ours[1]))) - reached
    if not missing:
        return [], ""
    points = scene.points
    near = [p for p in points.of_styles("round", "normal").tolist() if points.exists(p)]
    of_missing = {
        p
        for p in near
        if any(e.of == "gradient" and e.leaf in missing for e in suspects.get(p, ()))
    }
    if not near:
        return [], ""
    p = min(of_missing, default=near[0])
    ours, truth = ([x[p] for x in side[1]] for side in (scene.ours, scene.truth))
    decided = differences.decide(scene.problem, points.point(p), ours, truth, p)
    found = [f for f in decided if f.entry.leaf in missing]
    told = {f.entry.leaf for f in found if f.relation in _TOLD}
    left = sorted(missing - told) if of_missing else []
    return found, ", ".join(scene.problem.name_of(leaf) for leaf in left)


def _values_by_floats(scene: Scene, p: int) -> list[Finding]:
    """The rule's value beside the definition's, in float64, where that does not jump."""
    findings: list[Finding] = []
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
    if not findings:
        return []
    point = scene.points.point(p)
    near = [np.stack([x * s if x.dtype.kind == "f" else x for s in _NUDGES]) for x in point]
    values = scene.problem.run(near)[1][0]
    return findings if all(_near(x[0], y) for x in values for y in x) else []


def _failed(run: Run, scene: Scene, comparison: exact.Comparison, finding: Finding) -> Report:
    # told from the whole arrays, of which a small counterexample shows too little
    told = diagnosis.of_finding(scene, comparison, finding)
    if finding.relation == "other":
        comparison, finding = shrink(
            (comparison, finding), run.seed, smaller=not scene.points.only_given
        )
    example = example_of(comparison.problem, finding, comparison.point)
    run.saw("exact", "FAIL", "the rule is not the gradient")
    return run.report("FAIL", example, told)


def _failed_floats(
    run: Run, scene: Scene, comparison: exact.Comparison, finding: FloatFinding
) -> Report:
    got = finding.rule
    truth = comparison.entry(finding.entry)
    shown = replace(truth, got=got, expected=finding.truth)
    example = example_of(run.problem, shown, comparison.point)
    run.saw(
        "floats", "FAIL",
        f"the formula is right, its {run.problem.dtype} arithmetic is not: truth "
        f"{finding.truth:.6g}, rule {finding.rule:.6g}, autodiff {finding.autodiff:.6g}",
    )  # fmt: skip
    return run.report("FAIL", example, diagnosis.of_floats(got, finding.truth))


def _notes(run: Run, findings: list[Finding], scene: Scene) -> None:
    """What is worth knowing of a pass."""
    if any(f.relation == "kink" for f in findings):
        run.note("at a kink the rule's value lies between the one-sided derivatives")
    digits = min((f.digits for f in findings if f.relation in ("same", "similar")), default=np.inf)
    if digits < exact.SAME:
        run.note(f"an approximation: rule and definition agree to {digits:.1f} digits")
    far = [f for f in findings if f.relation == "negligible" and f.digits < exact.SIMILAR]
    if far:
        got, expected = float(far[0].got), float(far[0].expected)
        run.note(
            "another function far out, below half the digits of the entry's natural scale or where "
            f"inputs are as small as a guard ({got:.3g} for {expected:.3g}, say): strict refuses it"
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
