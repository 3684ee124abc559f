"""What kind of bug it is, from how the wrong result relates to the right one."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from manualbp.verify.ask.domains import STYLES
from manualbp.verify.ask.problem import Problem
from manualbp.verify.ask.subject import ContractBroken
from manualbp.verify.evidence import Finding
from manualbp.verify.rungs.exact import TOGETHER, floats
from manualbp.verify.verdict import jacobians as _jacobians
from manualbp.verify.verdict import mutants as _mutants

_OF_CONTRACT = {
    "structure": "one cotangent an argument, in the argument's own tree, is missing or too many",
    "shape": "wrong shape: missing sum over a broadcast axis, or a transposed result",
    "dtype": "wrong dtype: a cotangent has the dtype of its argument",
    "linearity": "not linear in the cotangent: it is applied twice, clipped, or added to",
    "cotangent": "ignores the incoming cotangent: multiply by dy",
    "nan": "NaN where the gradient is 0: zero times infinity, a division by zero, or a branch that "
    "is masked after it has overflowed",
    "value": "the forward value: the function and its fwd give different ones",
    "precision": "computed in lower precision somewhere, float32 or less: digits are lost",
    "untraceable": "the rule branches on values, and cannot be traced",
    "raises": "the rule's own code raises for arguments that its definition takes",
    "paths": "depends on how it is called: state, randomness or a Python branch",
}


SECOND = (
    "second derivative wrong: bwd hides part of its dependence on the arguments; order=1 asks for "
    "the gradient alone",
)


BY_HAND = ("the second derivative that the rule states by hand is wrong",)


FORWARD = ("JVP wrong: its tangents differ, or it is not linear in them",)


def of_contract(broken: ContractBroken) -> tuple[str, ...]:
    return (_OF_CONTRACT[broken.kind],)


def of_floats(got: float, expected: float) -> tuple[str, ...]:
    if not np.isfinite(got):
        return ("overflow: the right function, in arithmetic that overflows or divides by zero",)
    if got == 0:
        return ("cancellation: the right function, whose digits are all lost in this tail",)
    return ("cancellation: the right function, in arithmetic that loses digits",)


@dataclass(frozen=True)
class Sample:
    """Both programs in float64 over a stack of points.

    Attributes:
      problem: what is judged.
      leaves, cotangents: of the arguments and the value, stacked.
      ours, truth: (values, cotangents of the arguments), stacked.
      drawn: how many of them were drawn in every style in turn; the others lie at thresholds.
    """

    problem: Problem
    leaves: list
    cotangents: list
    ours: Any
    truth: Any
    drawn: int

    def ordinary(self, leaf: int) -> np.ndarray:
        """Points of no special place, at which both gradients are finite."""
        rows = [p for p in range(self.drawn) if STYLES[p % len(STYLES)] in ("round", "normal")]
        got, expected = self.pulled(leaf, rows)
        return np.array(rows)[~_any(~np.isfinite(got) | ~np.isfinite(expected))]

    def pulled(self, leaf: int, rows: Any = slice(None)) -> tuple[np.ndarray, np.ndarray]:
        """The gradient of an argument at those points: the rule's, and the definition's."""
        return self.ours[1][leaf][rows], self.truth[1][leaf][rows]

    def point(self, p: int) -> list:
        """Leaves, then cotangents."""
        return [x[p] for x in (*self.leaves, *self.cotangents)]


# Where no gradient is known beside the rule's
UNKNOWN = ("the gradient is not the slope of the definition",)


def of_finding(scene: Any, comparison: Any, finding: Finding) -> tuple[str, ...]:
    """Relations between the wrong gradient and the right one, the most telling first.

    Args:
      scene: both programs over many points.
      comparison: exact, at the point that failed.
      finding: what was found of the entry that failed.
    """
    if finding.entry.of == "value":
        return ("the forward value is wrong, before any gradient",)
    if finding.why == TOGETHER:
        return (
            "ties: each entry alone is a possible derivative, all together are none: the parts "
            "that equal entries get must add up to one",
        )
    if isinstance(finding.expected, tuple):
        return ("wrong value at a kink: outside the one-sided derivatives",)
    n, leaf = len(scene.problem.parts), finding.entry.leaf
    stacks = scene.points.stacks
    sample = Sample(
        scene.problem, stacks[:n], stacks[n:], scene.ours, scene.truth, scene.points.drawn
    )
    got, expected = _entries(comparison, leaf)
    if got.shape != expected.shape:
        return of_arrays(got, expected)
    if not np.isfinite(float(finding.got)):
        return ("NaN or infinity where the gradient is finite: a division by zero or an overflow",)
    looks = [lambda: _everywhere(sample, comparison, leaf), lambda: _by_place(sample, leaf)]
    if not _wrong_mostly(sample, leaf):
        looks.reverse()
    looks.append(lambda: of_arrays(got, expected))
    found = next(found for look in looks if (found := look()))
    if finding.relation == "guard":
        text = f"a small constant ({finding.why}) is no guard: what it changes is not small"
        found = (*found, text)
    return found


def _wrong_mostly(sample: Sample, leaf: int) -> bool:
    """Whether the rule is wrong at most points of no special place."""
    rows = sample.ordinary(leaf)
    return bool(np.mean(_any(_differ(*sample.pulled(leaf, rows)))) > 0.5) if len(rows) else False


def _everywhere(sample: Sample, comparison: Any, leaf: int) -> tuple[str, ...]:
    """Relations that hold at all ordinary points, if the rule is wrong there."""
    rows = sample.ordinary(leaf)
    got, expected = sample.pulled(leaf, rows)
    if not np.any(_differ(got, expected)):
        return ()
    if not np.any(got):
        return ("the gradient of this argument is zero",)
    places = [p for p, wrong in zip(rows, _any(_differ(got, expected)), strict=True) if wrong]
    normal = [p for p in places if STYLES[p % len(STYLES)] == "normal"] or places
    points = [sample.point(p) for p in normal[:2]]
    found = [_jacobians.measure(sample.problem, x, leaf, len(sample.ours[1][leaf])) for x in points]
    matrices = [x for x in found if x is not None]
    for relation in (
        lambda: _jacobians.relation(matrices),
        lambda: _of_another(sample, leaf, rows),
        lambda: _at_another_place(sample, leaf, rows),
        lambda: _by_known(sample, leaf, rows),
        lambda: _mutants.explain(sample.problem, [comparison.point, *points], leaf),
    ):
        text = relation()
        if text:
            return (text, *_by_place(sample, leaf, sure=0.98))
    return ()


def _differ(got: np.ndarray, expected: np.ndarray) -> np.ndarray:
    with np.errstate(all="ignore"):
        return ~(np.abs(got - expected) <= 1e-6 * np.abs(expected))


def _same(x: np.ndarray, y: np.ndarray, rounding: float = 1e-7) -> bool:
    return x.shape == y.shape and bool(
        np.allclose(x, y, rtol=rounding, atol=rounding * 1e-6 * np.abs(y).max(initial=0.0))
    )


def _of_another(sample: Sample, leaf: int, rows: np.ndarray) -> str:
    """Whether it is the right gradient of another argument."""
    got = sample.ours[1][leaf][rows]
    for k, other in enumerate(sample.truth[1]):
        if k != leaf and got[0].size > 1 and _same(got, other[rows]):
            return f"swapped: this is the gradient of {sample.problem.name_of(k)}"
    return ""


def _at_another_place(sample: Sample, leaf: int, rows: np.ndarray) -> str:
    """Whether the derivative is taken at the output instead of the input, or the other way."""
    problem = sample.problem
    k = problem.differentiated[leaf]
    x = sample.leaves[k]
    if len(sample.truth[0]) != 1 or sample.truth[0][0].shape != x.shape:
        return ""
    leaves = list(sample.leaves)
    leaves[k] = np.where(np.isfinite(sample.truth[0][0]), sample.truth[0][0], 0.0)
    stacks = [*leaves, *sample.cotangents]
    moved = [np.asarray(y[1][leaf])[rows] for y in problem.run(stacks)[:2]]
    if _same(moved[1], sample.ours[1][leaf][rows]):
        return "the derivative is taken at the output, the value, where the input is meant"
    if _same(moved[0], sample.truth[1][leaf][rows]):
        return "the derivative in terms of the output is given the input"
    return ""


def _by_known(sample: Sample, leaf: int, rows: np.ndarray) -> str:
    """A factor or a term that is a known function of the arguments, the value or the cotangent."""
    got, expected = sample.pulled(leaf, rows)
    differ = _differ(got, expected)
    branch = "in one branch, " if np.mean(differ) < 0.9 else ""
    nonzero = differ & (got != 0)
    with np.errstate(all="ignore"):
        ratio, extra = expected / got, expected - got
        factor = _constant((got / expected)[differ])
        if factor is not None:
            return branch + _jacobians.factor_text(factor)
        for name, array in _known(sample, rows):
            x = _fitted(array, got.shape)
            if x is None or np.ptp(x) == 0:
                continue
            factor = _constant((ratio / x)[nonzero])
            if factor is not None:
                return f"{branch}missing factor: got x {_times(factor, name)} = expected"
            factor = _constant((ratio * x)[nonzero])
            if factor is not None:
                return f"{branch}a factor too many: expected x {_times(1 / factor, name)} = got"
            term = _constant((extra / x)[differ])
            if term is not None:
                text = f"got + {_times(term, name)} = expected"
                return f"{branch}a term is missing or too many: {text}"
    return ""


def _fitted(x: np.ndarray, shape: tuple[int, ...]) -> np.ndarray | None:
    """Arrays of each point, spread over the entries of another; None where they do not fit."""
    own = x.shape[1:] if x[0].size > 1 else ()
    x = x.reshape(len(x), *(1 for _ in range(len(shape) - 1 - len(own))), *own)
    try:
        return np.broadcast_to(x, shape)
    except ValueError:
        return None


def _times(constant: float, name: str) -> str:
    return name if np.isclose(constant, 1) else f"{constant:.4g} {name}"


def _constant(x: np.ndarray) -> float | None:
    """The number that all entries are, where they are and there are enough to tell."""
    if x.size < 8 or not np.isfinite(x[0]) or x[0] == 0:
        return None
    return float(x[0]) if np.allclose(x, x[0], rtol=1e-6, atol=0) else None


_FUNCTIONS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "{}": lambda x: x,
    "{}^2": lambda x: x * x,
    "(1 - {})": lambda x: 1 - x,
    "(1 - {}^2)": lambda x: 1 - x * x,
    "{} (1 - {})": lambda x: x * (1 - x),
    "sigmoid({})": lambda x: 1 / (1 + np.exp(-x)),
    "sigmoid'({})": lambda x: 1 / (2 + np.exp(-x) + np.exp(x)),
    "tanh'({})": lambda x: 1 / np.cosh(x) ** 2,
    "exp({})": np.exp,
    "exp(-{})": lambda x: np.exp(-x),
    "cos({})": np.cos,
    "sin({})": np.sin,
}


def _known(sample: Sample, rows: np.ndarray) -> Iterator[tuple[str, np.ndarray]]:
    """Arrays that a factor or a term may be, by name."""
    problem = sample.problem
    dys, values = sample.cotangents, sample.truth[0]
    named = [(f"dy{_number(i, dys)}", x) for i, x in enumerate(dys)]
    arrays = [
        (problem.paths[place], sample.leaves[k])
        for k, place in enumerate(problem.free)
        if sample.leaves[k].dtype.kind == "f"
    ]
    arrays += [(f"value{_number(i, values)}", x) for i, x in enumerate(values)]
    for name, x in (*named, *arrays):
        yield name, x[rows]
    for name, x in arrays:
        for text, function in _FUNCTIONS.items():
            y = function(x[rows])
            yield text.replace("{}", name), y
            for of, dy in named:
                spread = _fitted(dy[rows], y.shape)
                if spread is not None:
                    yield f"{of} {text.replace('{}', name)}", spread * y


def _number(i: int, of: list) -> str:
    return f" {i}" if len(of) > 1 else ""


def _by_place(sample: Sample, leaf: int, sure: float = 0.5) -> tuple[str, ...]:
    """What the entries, or points, have in common at which the rule is wrong, and only those."""
    got, expected = sample.pulled(leaf)
    defined = np.isfinite(expected) & ((got != 0) | (expected != 0))  # two zeros tell nothing
    wrong = _differ(got, expected) & defined
    if not wrong.any() or wrong[defined].all():
        return ()
    usual = [p for p in range(sample.drawn) if STYLES[p % len(STYLES)] in ("normal", "tails")]
    entries = np.argwhere(np.any(wrong, axis=0))
    if len(entries) <= wrong[0].size // 2 and np.any(wrong[usual]):
        places = ", ".join(str(tuple(map(int, i))) for i in entries[:3])
        return (f"wrong only at index {places}: an index, or the end of a loop",)
    some, known = _any(wrong), _any(defined)
    zero = [("the gradient is zero: masked, unused or tied entries", expected == 0)]
    for least in (0.98, sure):
        for text, holds in (*_conditions(sample, sample.problem.differentiated[leaf]), *zero):
            which, of = (wrong, defined) if holds.shape == wrong.shape else (some, known)
            if _tells(which[of], holds[of], least):
                return (f"wrong only where {text}",)
    return ()


def _any(x: np.ndarray) -> Any:
    return np.any(x.reshape(len(x), -1), axis=1)


def _tells(wrong: np.ndarray, holds: np.ndarray, least: float) -> bool:
    """Whether a condition holds at nearly all wrong entries, and at few others."""
    if not (wrong.any() and holds.any() and not holds.all()):
        return False
    return bool(np.mean(holds[wrong]) >= 0.98 and np.mean(wrong[holds]) >= least)


def _conditions(sample: Sample, k: int) -> Iterator[tuple[str, np.ndarray]]:
    """Conditions on entries of the argument that is differentiated, or on whole points."""
    problem = sample.problem
    names = [problem.paths[place] for place in problem.free]
    x, name = sample.leaves[k], names[k]
    for value in (0.0, 1.0, -1.0, 0.5, -0.5, 2.0, 3.0, 6.0):
        yield f"{name} = {value:g}: a kink or a special value", x == value
    yield f"{name} < 0: a branch", x < 0
    yield f"{name} > 0: a branch", x > 0
    for other, named in zip(sample.leaves, names, strict=True):
        if other.shape == x.shape and other.dtype.kind != "f":
            yield f"{named} is 0 or false: a mask", other == 0
        elif other is not x and other.shape == x.shape:
            yield f"{name} < {named}: a branch", x < other
            yield f"{name} > {named}: a branch", x > other
            yield f"{name} = {named}: a tie", x == other
    for bound in (1.0, 2.0, 3.0, 5.0, 6.0, 10.0, 20.0, 40.0, 88.0, 100.0, 700.0):
        yield f"|{name}| > {bound:g}: a branch or a tail", np.abs(x) > bound
        yield f"{name} > {bound:g}: a branch or a tail", x > bound
        yield f"{name} < -{bound:g}: a branch or a tail", x < -bound
    for bound in (1e-30, 1e-8, 1e-4, 1e-2, 1.0):
        yield f"|{name}| < {bound:g}: next to 0", np.abs(x) < bound
    for j, (other, named) in enumerate(zip(sample.leaves, names, strict=True)):
        if other.ndim > 1:
            yield from _of_points(other, named, j == k)


def _of_points(x: np.ndarray, name: str, differentiated: bool) -> Iterator[tuple[str, np.ndarray]]:
    """Conditions on an array as a whole: labels, ties, zeros, indices."""
    rows = x.reshape(len(x), -1)
    if x.dtype.kind != "f":
        yield f"{name} repeats an index", _repeats(rows)
        yield f"{name} has a zero, or false: a mask", _any(rows == 0)
        return
    if not differentiated and np.all(rows >= 0):
        hard = ~_any((rows != 0) & (rows != 1))
        one = ~_any(~np.isclose(x.sum(-1), 1).reshape(len(x), -1))
        yield f"the labels {name} are soft, not 0 or 1", ~hard
        yield f"the labels {name} do not sum to 1", ~one
        yield f"the labels {name} are not one-hot", ~(hard & one)
    yield f"{name} has ties", _repeats(rows)
    yield f"{name} has a zero", _any(rows == 0)
    yield f"{name} has two zeros", (rows == 0).sum(1) > 1


def _repeats(rows: np.ndarray) -> np.ndarray:
    ordered = np.sort(rows, axis=1)
    return (ordered[:, 1:] == ordered[:, :-1]).any(1)


def of_arrays(got: np.ndarray, expected: np.ndarray, rounding: float = 1e-6) -> tuple[str, ...]:
    """How one wrong cotangent relates to the right one, where no more is known."""
    if got.shape != expected.shape:
        return (_OF_CONTRACT["shape"],)
    if not np.any(got) and np.any(expected):
        return ("the gradient of this argument is zero",)
    at = expected != 0
    if at.sum() > 1 and not np.any(got[~at]):
        ratios = got[at] / expected[at]
        if np.all(np.isfinite(ratios)) and np.allclose(ratios, ratios[0], rtol=rounding):
            return (_jacobians.factor_text(float(ratios[0]), rounding),)
    with np.errstate(all="ignore"):
        wrong = ~(np.abs(got - expected) <= rounding * np.abs(expected))
        far = np.abs(got - expected)[at].max(initial=0.0) / np.abs(expected).max(initial=0.0)
    if 0 < wrong.sum() < got.size:
        return (
            f"wrong for {int(wrong.sum())} of {got.size} entries only: a branch, a tail, "
            "a tie or an index",
        )
    if far < 0.02 and np.all(at):
        return (
            f"close to the right gradient, to {-np.log10(far):.1f} digits: of another "
            "approximation of the function",
        )
    return ("no simple relation to the right gradient",)


def _entries(comparison: Any, leaf: int) -> tuple[np.ndarray, np.ndarray]:
    return floats(comparison.our_pull[leaf]), floats(comparison.pull[leaf])
