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
from manualbp.verify.numbers import wide
from manualbp.verify.rungs import exact
from manualbp.verify.rungs import floats as float_rung

# Where float64 results differ by more, exact arithmetic decides: triage, no verdict.
_TRIAGE = 1e-10
# Numbers that exact arithmetic makes in a run, and at one point, at most
_BUDGET, _MOST = 2e6, 4e6
# Points that are compared at once: a wrong rule is told from the first
_AT_ONCE = 8
# Points whose floats alone look wrong, for exact arithmetic
_FLOAT_SUSPECTS = 8
# Styles of points whose numbers may be tiny, huge, or of many sizes at once
_FAR_OUT = ("special", "wide", "scaled", "tails", "threshold")


class TooLarge(Exception):
    """The programs make more numbers than exact arithmetic is given time for."""


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
