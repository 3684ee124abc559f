"""What is known of a rule: findings, and the report that is made of them. Data only."""

from dataclasses import asdict, dataclass, field
from typing import Any, Literal, NamedTuple

import jax
import numpy as np

Verdict = Literal["PASS", "FAIL", "UNDECIDED"]
# What decided an entry, by provenance
Truth = Literal["autodiff", "difference quotients", "float64 differences"]


class Entry(NamedTuple):
    """One number among a rule's results."""

    of: Literal["value", "gradient"]
    leaf: int  # among the parts of the value, or of the differentiated arguments
    index: tuple[int, ...]  # type: ignore[assignment]  # which a tuple has as a method


@dataclass(frozen=True)
class Finding:
    """How one entry of a rule compares with the truth at one point.

    Attributes:
      entry: which.
      relation: "same" function there; "similar", to some digits; "kink", between the one-sided
        derivatives; "guard", the same but for small constants; "other"; "negligible", the same,
        where it is below the entry's natural scale; "undecided"; "skipped", where the definition
        or its derivative does not exist.
      got: what the rule is there.
      expected: the truth; at a kink the two one-sided derivatives.
      truth: what decided.
      digits: to how many decimal digits the two agree.
      factor: got / expected - 1, where that is a number.
      nearby: the same factor at neighbouring points, of an entry that is similar: constant where
        the rule is off by a factor, changing where one of the two approximates the other.
      why: what was not decided, or what is wrong beside the entry itself.
      at: the point, among those looked at.
    """

    entry: Entry
    relation: Literal[
        "same", "similar", "kink", "guard", "other", "negligible", "undecided", "skipped"
    ]
    got: Any = None
    expected: Any = None
    truth: Truth = "autodiff"
    digits: float = np.inf
    factor: float = 0.0
    nearby: tuple[float, ...] = ()
    why: str = ""
    at: int = 0


@dataclass(frozen=True)
class FloatFinding:
    """An entry in the dtype that was asked about, beside autodiff and the truth.

    Attributes:
      entry: which.
      truth: of the rounded inputs.
      rule: what the rule gives.
      autodiff: what jax.grad of the definition gives; NaN where there is none.
      scale: the natural size of the entry: the larger of its true and its median size.
      explained: how far the truth moves when inputs move by half an ULP.
      grossly: whether it is off by more than half the digits of its natural scale, where the
        value is right and rounding the inputs does not explain it.
      lost: whether digits are lost at all that the problem does not lose.
      at: the point.
    """

    entry: Entry
    truth: float
    rule: float
    autodiff: float
    scale: float
    explained: float
    grossly: bool
    lost: bool = False
    at: int = 0


@dataclass(frozen=True)
class Evidence:
    """What one rung of the ladder found.

    Attributes:
      rung: "contract", "autodiff" or "exact".
      verdict: of this rung.
      text: one line.
      compared: how many numbers it compared.
    """

    rung: str
    verdict: Verdict
    text: str
    compared: int = 0


@dataclass(frozen=True)
class Counterexample:
    """An input at which the rule is wrong.

    Attributes:
      args: the arguments, as arrays.
      cotangent: of the value: dy.
      argument: which result is wrong: "value", or the argument whose gradient it is.
      index: of the wrong entry.
      expected: the truth there; at a kink, the two one-sided derivatives.
      got: what the rule gives.
      truth: what decided: "autodiff" or "difference quotients".
      ulps: the error in units in the last place of the expected number, in the rule's dtype.
      code: lines of Python that show it, where the rule is called as `rule`.
      names: of the arguments, as in the signature.
    """

    args: tuple
    cotangent: Any
    argument: str
    index: tuple
    expected: Any
    got: float
    truth: str
    ulps: float | None = None
    code: str = ""
    names: tuple[str, ...] = ()


@dataclass(frozen=True)
class Branches:
    """Which ways the comparisons of both programs went.

    Attributes:
      ways: that there are, two for each side of a comparison.
      taken: so many of them were.
      unvisited: those that were not, and where in the code they stand.
    """

    ways: int
    taken: int
    unvisited: tuple[str, ...] = ()


@dataclass(frozen=True)
class Proof:
    """What is known of a backward pass, for arguments of small shapes.

    Attributes:
      verdict: "PROVED", on every open branch the definition's value and derivative;
        "REFUTED", at a point it is not; or "NOT PROVED".
      shapes: of the arguments and cotangents.
      branches: how many were met on which the definition has a value.
      point: that refutes: arrays of arguments, then cotangents.
      remaining: what was not proved, or why not.
      seconds: that it took.
    """

    verdict: Literal["PROVED", "REFUTED", "NOT PROVED"]
    shapes: str = ""
    branches: int = 0
    point: tuple | None = None
    remaining: str = ""
    seconds: float = field(default=0.0, compare=False)

    def __str__(self) -> str:
        match self.verdict:
            case "PROVED":
                return f"on every open branch ({self.branches}), for {self.shapes}"
            case "REFUTED":
                return f"{self.remaining}, for {self.shapes}"
        return f"{self.remaining or 'no reason'}, for {self.shapes}"


@dataclass(frozen=True)
class Report:
    """The judgement of one rule.

    Attributes:
      name: of the rule.
      asked: dtype and domain of each argument, in words.
      verdict: PASS, FAIL or UNDECIDED.
      evidence: one entry a rung.
      grade: how its float arithmetic compares with autodiff's.
      counterexample: where it fails, if it does.
      diagnosis: the kind of bug, in words.
      notes: what is worth knowing of a pass too: kinks met, autodiff itself wrong.
      seed: that repeats the run.
      decided_by: how many entries each truth decided.
      branches: of both programs, where they have any.
      power: of a pass: the smallest relative error of one entry of a gradient that this run would
        have caught, found by planting such errors.
      proof: what was proved for small shapes, where that was tried.
    """

    name: str
    verdict: Verdict
    evidence: tuple[Evidence, ...]
    asked: tuple[str, ...] = ()
    grade: str = ""
    counterexample: Counterexample | None = None
    diagnosis: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    seed: int = 0
    decided_by: dict[str, int] = field(default_factory=dict)
    branches: Branches | None = None
    power: float | None = None
    proof: Proof | None = None

    def to_dict(self) -> dict[str, Any]:
        """The report in Python's own types, ready for json."""
        return _plain(asdict(self))

    def __str__(self) -> str:
        from manualbp.verify.verdict.report import text_of

        return text_of(self)


def _plain(x: Any) -> Any:
    if isinstance(x, dict):
        return {str(k): _plain(v) for k, v in x.items()}
    if isinstance(x, tuple | list):
        return [_plain(v) for v in x]
    if isinstance(x, jax.Array) and jax.dtypes.issubdtype(x.dtype, jax.dtypes.prng_key):
        return repr(x)
    if isinstance(x, np.ndarray | jax.Array):
        return _plain(np.asarray(x).tolist())
    if isinstance(x, np.generic):
        return _plain(x.item())
    return x if isinstance(x, str | int | float | bool | None) else repr(x)
