"""What the rungs look at: both programs over all points, in float64 and in the dtype asked."""

import functools
import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from manualbp.verify.ask.domains import STYLES
from manualbp.verify.ask.problem import Problem
from manualbp.verify.ask.sampling import Points, spread
from manualbp.verify.evidence import Entry, Finding, FloatFinding
from manualbp.verify.numbers.balls import Arb
from manualbp.verify.numbers.operations import LARGE
from manualbp.verify.numbers.walk import Straddles, cost
from manualbp.verify.rungs import exact
from manualbp.verify.rungs import floats as float_rung

# Where float64 results differ by more, exact arithmetic decides: triage, no verdict.
_TRIAGE = 1e-10
# Numbers that exact arithmetic makes in a run, at most
_BUDGET = 2e6
# Operations that are spent on some entries of large programs, in all
_EFFORT = 1.5e6
# Entries of an array on which the programs differ, of a large one
_ASKED = 2
# Points that are compared at once: a wrong rule is told from the first
_AT_ONCE = 8
# Points whose floats alone look wrong, for exact arithmetic
_FLOAT_SUSPECTS = 8
# Styles of points whose numbers may be tiny, huge, or of many sizes at once
_FAR_OUT = ("special", "wide", "scaled", "tails", "threshold")


class TooLarge(Exception):
    """No entry needs so few operations that exact arithmetic is given time for it."""


class Scene:
    """Both programs over all points, in float64 and in the dtype asked: what rungs look at."""

    def __init__(self, problem: Problem, points: Points, ours: Any, truth: Any, native: Any):
        self.problem, self.points = problem, points
        self.ours, self.truth, self.native = ours, truth, native
        pulled = truth[1] if truth[1] is not None else ours[1]
        self.scales = self._natural(pulled)
        self.value_scales = self._natural(truth[0])
        self.by_point: dict[int, exact.Comparison] = {}

    def _natural(self, results: Sequence[np.ndarray]) -> list[np.ndarray]:
        """Natural scales at normal numbers; where these saturate a function, at round ones."""
        normal, round_ = (
            float_rung.natural_scales(results, self.points.of_styles(style))
            for style in ("normal", "round")
        )
        return [
            np.where(a < b / float_rung.SATURATED, b, a)
            for a, b in zip(normal, round_, strict=True)
        ]

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

    def on_its_scale(self, finding: Finding) -> Finding:
        """A number that is another's, beside its natural scale.

        Far out it is negligible below half the digits of that, or where an input is as small as a
        guard; elsewhere similar, where it agrees to SIMILAR digits of it, as where the slope of an
        approximation crosses 0.
        """
        points, p, entry = self.points, finding.at, finding.entry
        if points.only_given or isinstance(finding.expected, tuple):
            return finding
        far_out = p not in points.special and points.style(p) in _FAR_OUT
        small = self.small(finding)
        if finding.relation == "guard" and small:
            return finding
        if far_out and (small or self.by_point[p].inside_a_guard):
            return replace(finding, relation="negligible")
        off = abs(float(finding.got) - float(finding.expected))
        scale = float(self.scales[entry.leaf][entry.index]) if entry.of == "gradient" else 0.0
        if finding.relation == "other" and 0 < off <= 10.0**-exact.SIMILAR * scale:
            digits = math.log10(scale / off)
            return replace(finding, relation="similar", digits=digits, factor=off / scale)
        return finding

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
          TooLarge: each entry needs too many operations.
        """
        problem, points = self.problem, self.points
        drawn = range(points.drawn)
        decide, always, floats_ = points.decide, points.always, _FLOAT_SUSPECTS
        if problem.cost > LARGE:
            decide, always, floats_ = (max(2, n // 4) for n in (decide, always, floats_))
        chosen = [p for p in points.special if p in suspects]
        chosen += spread([p for p in suspects if p in drawn and p not in chosen], decide)
        chosen += [p for p in points.special if p not in chosen]
        floats = [p for p in np.flatnonzero(self.float_suspects).tolist() if p in drawn]
        chosen += spread([p for p in floats if p not in chosen], floats_)
        chosen += spread([p for p in drawn if p not in suspects and p not in chosen], always)
        chosen += list(points.at_thresholds)
        chosen = [p for p in chosen if points.exists(p)]
        if problem.cost > LARGE:
            yield from self._compared_partly(chosen, suspects)
            return
        most = max(2, int(_BUDGET / problem.cost))
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

    def _compared_partly(
        self, chosen: list[int], suspects: dict[int, list]
    ) -> Iterator[tuple[int, Any]]:
        """At the points chosen, some entries of each array, as long as the effort lasts."""
        left, any_ = _EFFORT, False
        for p in chosen:
            masks, takes = self._affordable(p, suspects.get(p, ()), left)
            if not any(map(np.any, masks)):
                continue
            left, any_ = left - takes, True
            try:
                yield p, exact.compare(self.problem, self.points.point(p), masks)
            except Straddles as reason:
                yield p, reason
        if not any_:
            raise TooLarge(f"each entry needs more than {_EFFORT:,.0f} operations")

    def _affordable(
        self, p: int, suspects: Sequence[Entry], left: float
    ) -> tuple[list[np.ndarray], float]:
        """Masks of entries at a point that cost at most half of what is left, and their cost."""
        problem, point, spent = self.problem, self.points.point(p), 0.0
        none = [np.zeros(x.shape[1:], bool) for x in (*self.ours[0], *self.ours[1])]
        masks = list(none)
        programs = problem.traced.ours, problem.traced.truth
        n = len(self.ours[0])
        for k, results in enumerate((*self.ours[0], *self.ours[1])):
            leaf = ("value", k) if k < n else ("gradient", k - n)
            asked = [e.index for e in suspects if (e.of, e.leaf) == leaf][:_ASKED]
            some = _some_entries(results[p], asked)
            for entries in (some, some[:2], some[-1:]):
                mask = np.zeros(results.shape[1:], bool)
                for index in entries:
                    mask[index] = True
                alone = [mask if i == k else other for i, other in enumerate(none)]
                takes = sum(cost(program, point, Arb(), alone) for program in programs)
                if entries and takes <= (left - spent) / 2:
                    masks[k], spent = mask, spent + takes
                    break
        return masks, spent

    def floats(self, comparisons: dict[int, exact.Comparison], strict: bool) -> list[FloatFinding]:
        """Findings in the dtype asked, at drawn points; where strict, of lost digits everywhere."""
        found: list[FloatFinding] = []
        for p, comparison in comparisons.items():
            if strict:
                found += self._lost(p, comparison)
            drawn = p < self.points.drawn or p in self.points.special
            if not (drawn and float_rung.ordinary(self.problem, comparison.point)):
                continue
            if self._masks_a_row(p):
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

    def _masks_a_row(self, p: int) -> bool:
        """Whether a mask leaves nothing of a row, while of each given row it leaves something.

        What such a row gives in exact arithmetic is asked; floats drown in a large mask's number.
        """
        if 0 not in self.points.special:
            return False
        for k, part in enumerate(self.problem.parts):
            if part.dtype == bool and part.shape:
                given, here = (self.points.stacks[k][q].any(axis=-1) for q in (0, p))
                if np.all(given) and not np.all(here):
                    return True
        return False

    @functools.lru_cache(maxsize=8)  # noqa: B019  # a scene lives as long as its run
    def _scales_at(self, p: int) -> list[np.ndarray]:
        """Natural scales where each array is as large as at a point, and else ordinary.

        Of several arrays growth times growth: where a softmax of their products is saturated, the
        terms of its gradient are still that large.
        """
        rows = self.points.of_styles("normal")[:16]
        stacks = [x[rows] for x in self.points.stacks]
        growth = {}
        for k, x in enumerate(self.points.point(p)[: len(self.problem.parts)]):
            if self.problem.spec(k).scales and x.size:
                axes = tuple(range(1, stacks[k].ndim))
                own = np.sqrt(np.mean(stacks[k] ** 2, axis=axes, keepdims=True))
                growth[k] = np.sqrt(np.mean(x**2)) / np.where(own > 0, own, 1.0)
        if len(growth) > 1:
            factor = math.prod(max(float(np.median(x)), 1.0) for x in growth.values())
            return [scale * factor for scale in self.scales]
        ours, truth, _ = self.problem.run(
            [x * growth[k] if k in growth else x for k, x in enumerate(stacks)]
        )
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


def _some_entries(results: np.ndarray, asked: list[tuple]) -> list[tuple]:
    """Entries of an array: those asked for, its first and last, its largest, and one at random."""
    if results.ndim == 0 or not results.size:
        return [()] * results.size
    largest = int(np.argmax(np.nan_to_num(np.abs(results)).ravel()))
    random = int(np.random.default_rng(0).integers(results.size))
    places = np.unravel_index([0, results.size - 1, largest, random], results.shape)
    return list(dict.fromkeys([*asked, *zip(*(x.tolist() for x in places), strict=True)]))


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
    return compared, dict(sorted(found.items(), key=lambda item: (item[0] % len(STYLES), item[0])))
