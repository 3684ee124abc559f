"""From findings to a verdict: pure, so that it also says what a planted error would do."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from flint import arb

from manualbp.verify.evidence import Finding, FloatFinding, Verdict
from manualbp.verify.numbers.balls import precision
from manualbp.verify.rungs.exact import PRECISIONS, SAME, SIMILAR, agreement

# Coefficients of an approximation to float64 accuracy are off by this at most
_COEFFICIENTS = 1e-12
# Entries among which an error is planted
_PLANTED = 64


@dataclass(frozen=True)
class Decision:
    """A verdict, and what it rests on.

    Attributes:
      verdict: PASS, FAIL or UNDECIDED.
      because: the finding that fails it.
      reason: in a few words.
    """

    verdict: Verdict
    because: Finding | FloatFinding | None = None
    reason: str = ""


def decide(
    findings: Sequence[Finding],
    floats: Sequence[FloatFinding] = (),
    strict: bool = False,
    small: Callable[[Finding], bool] = lambda finding: True,
) -> Decision:
    """The verdict that findings make.

    Args:
      findings: of entries in exact arithmetic or by differences.
      floats: of entries in the dtype that was asked about.
      strict: fail where any digits are lost.
      small: whether what a guard changes is less than half the digits of the entry's natural scale.

    Returns:
      The decision: FAIL where an entry is another function's, or grossly off in floats; UNDECIDED
      where no entry was decided; else PASS.
    """
    for finding in findings:
        if finding.relation == "other" or (finding.relation == "guard" and not small(finding)):
            return Decision("FAIL", finding, "the rule is not the gradient")
    rough = _rough(findings)
    if rough is not None and not approximates(rough, findings):
        return Decision("FAIL", rough, "the rule is not the gradient")
    for found in floats:
        if found.grossly or (strict and found.lost):
            return Decision("FAIL", found, "the formula is right, its float arithmetic is not")
    if not any(f.relation in ("same", "similar", "kink", "guard") for f in findings):
        why = next((f.why for f in findings if f.why), "no number was compared")
        return Decision("UNDECIDED", None, why)
    return Decision("PASS")


def _rough(findings: Sequence[Finding]) -> Finding | None:
    """An entry that agrees to some digits only, where that is no approximation.

    Where most entries of a result are the same to SAME digits, the others are wrong; where all
    are off by one factor, however small, so are they.
    """
    by_leaf: dict[tuple, list[Finding]] = {}
    for f in findings:
        if f.relation in ("same", "similar"):
            by_leaf.setdefault((f.entry.of, f.entry.leaf), []).append(f)
    for entries in by_leaf.values():
        some = [f for f in entries if f.relation == "similar"]
        if not some:
            continue
        telling = [f for f in entries if not (f.got == 0 and f.expected == 0)]
        if len(some) <= len(telling) / 2:
            return some[0]
        factors = [f.factor for f in some]
        typical = float(np.median(factors))
        if len(factors) >= 3 and all(abs(f - typical) <= 1e-3 * abs(typical) for f in factors):
            return some[0]
    return None


def approximates(finding: Finding, findings: Sequence[Finding]) -> bool:
    """Whether the small difference of an entry is that of an approximation, or of a factor.

    It changes from place to place where the definition, a series say, approximates what the rule
    computes; a factor that is wrong stays what it is.
    """
    others = {
        f"{f.factor:.2g}"
        for f in findings
        if f.entry.of == finding.entry.of
        and f.entry.leaf == finding.entry.leaf
        and f.relation in ("same", "similar")
        and abs(f.factor) > 10.0**-SAME
    }
    if len(others) > 3 and abs(finding.factor) < _COEFFICIENTS:
        return True
    sizes = np.array([finding.factor, *finding.nearby])
    return len(sizes) > 1 and not np.allclose(sizes, sizes[0], rtol=1e-2, atol=0)


def power(findings: Sequence[Finding]) -> float | None:
    """The smallest relative error of one entry that is caught in every gradient.

    Errors are planted in the rule's exact result, and decided as all its entries are.
    """
    worst = None
    for leaf in sorted({f.entry.leaf for f in findings if f.entry.of == "gradient"}):
        entries = [
            f
            for f in findings
            if f.entry.of == "gradient"
            and f.entry.leaf == leaf
            and f.relation in ("same", "similar")
        ][:_PLANTED]
        # the rounding of a constant leaves an entry with fewer digits, and no place to plant
        places = [
            i
            for i, f in enumerate(entries)
            if isinstance(f.got, arb) and f.factor == 0 and f.digits >= SAME and _agree(f)
        ]
        if not places:
            continue
        at = next((i for i in places if entries[i].got != 0), places[0])
        sizes = (10.0 ** np.arange(-30, 0)).tolist()
        caught = next((size for size in sizes if _caught(entries, at, size)), None)
        if caught is None:
            return None
        worst = max(worst or 0.0, caught)
    return worst


def _agree(finding: Finding) -> bool:
    return isinstance(finding.expected, arb) and agreement(finding.got, finding.expected) >= 30


def _caught(entries: list[Finding], at: int, size: float) -> bool:
    return decide([*entries[:at], planted(entries[at], size), *entries[at + 1 :]]).verdict == "FAIL"


def planted(finding: Finding, size: float) -> Finding:
    """The finding that an error of this relative size would have been."""
    with precision(PRECISIONS[0]):
        got = finding.got * (1 + arb(size)) if finding.got != 0 else arb(size)
        factor = float(got / finding.expected - 1) if finding.expected != 0 else float("inf")
    digits = agreement(got, finding.expected)
    relation: Any = "same" if digits >= SAME else "similar" if digits >= SIMILAR else "other"
    return replace(
        finding, relation=relation, got=got, digits=digits, factor=factor, nearby=(factor,)
    )
