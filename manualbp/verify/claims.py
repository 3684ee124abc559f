"""Judging the equations that lecture notes print: each holds, or fails with a counterexample."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Literal

import jax
import numpy as np

from manualbp.verify.ask.definitions import lecture_notes
from manualbp.verify.rungs import exact as _exact

# Both sides are evaluated in balls; what is left is the rounding of numbers such as 0.1 to
# float64, relative to the result and, for results that should be 0, to terms of order one.
_RELATIVE, _ABSOLUTE = 1e-9, 1e-12
_DRAWS = 3


@dataclass(frozen=True)
class Judgement:
    """What became of one claim.

    Attributes:
      claim: as transcribed.
      verdict: of the printed equation: "holds" or "does not hold".
      args: where it fails: the first, simplest point.
      printed: what the printed side gives there; the error's text where it cannot be evaluated.
      truth: what it should give.
      correction: the verdict of the corrected equation, over all points; None without one.
    """

    claim: Any
    verdict: Literal["holds", "does not hold"]
    args: tuple | None = None
    printed: Any = None
    truth: Any = None
    correction: Literal["holds", "does not hold"] | None = None

    def to_dict(self) -> dict[str, Any]:
        """Plain Python, for json."""
        return {
            "id": self.claim.id,
            "place": self.claim.place,
            "printed": self.claim.printed,
            "verdict": self.verdict,
            "counterexample": None if self.args is None else [show(a) for a in self.args],
            "printed gives": None if self.args is None else show(self.printed),
            "truth": None if self.args is None else show(self.truth),
            "corrected": self.claim.corrected or None,
            "correction": self.correction,
            "remark": self.claim.remark or None,
        }


def judge(claim: Any, seed: int = 0) -> Judgement:
    """Decide one claim, and its correction, at its own points and at random ones.

    Args:
      claim: a `Claim` of the lecture notes.
      seed: of the random points.
    """
    with jax.enable_x64(True):
        failure = _first_failure(claim, claim.as_printed, seed)
        correction: Literal["holds", "does not hold"] | None = None
        if claim.correction is not None:
            wrong = _first_failure(claim, claim.correction, seed)
            correction = "holds" if wrong is None else "does not hold"
    if failure is None:
        return Judgement(claim, "holds", correction=correction)
    return Judgement(claim, "does not hold", *failure, correction=correction)


def _first_failure(claim: Any, side: Callable, seed: int) -> tuple[tuple, Any, Any] | None:
    truth_of, side_of = _Side(claim.truth), _Side(side)
    for point in _points(claim, seed):
        truth = truth_of(point)
        if claim.decimals is not None:
            truth = jax.tree.map(lambda x: np.round(x, claim.decimals), truth)
        try:
            got = side_of(point)
        except (TypeError, ValueError) as error:
            return point, str(error).splitlines()[0], truth
        if not _same(got, truth):
            return point, got, truth
    return None


class _Side:
    """One side of an equation, traced once and evaluated in exact arithmetic: nothing compiles."""

    def __init__(self, function: Callable):
        self.function = function
        self.traced: Any = None

    def __call__(self, point: tuple) -> Any:
        """The result as float64 arrays, correctly rounded but for the last bits."""
        numbers = [np.asarray(x, np.float64) for x in point if _is_real(x)]
        given = tuple(x.shape for x in numbers), tuple(_plain(x) for x in point)
        if self.traced is None or self.traced[0] != given:
            self.traced = given, *self._trace(point, numbers)
        _, jaxpr, tree = self.traced
        if jaxpr is None:
            return jax.tree.map(lambda x: np.asarray(x, np.float64), self.function(*point))
        results = _exact.run(jaxpr, numbers, precisions=_exact.PRECISIONS[:1])
        return tree.unflatten([np.vectorize(float, otypes=[float])(x) for x in results])

    def _trace(self, point: tuple, numbers: list) -> tuple[Any, Any]:
        def program(*values):
            rest = iter(values)
            return self.function(*(next(rest) if _is_real(x) else x for x in point))

        try:
            jaxpr, shape = jax.make_jaxpr(program, return_shape=True)(*numbers)
        except jax.errors.ConcretizationTypeError:  # it looks at values: evaluate as it is
            return None, None
        return jaxpr, jax.tree.structure(shape)


def _is_real(x: Any) -> bool:
    return np.issubdtype(np.asarray(x).dtype, np.floating)


def _plain(x: Any) -> Any:
    """What a trace depends on of an argument that is not traced."""
    return None if _is_real(x) else repr(x)


def _points(claim: Any, seed: int) -> Iterator[tuple]:
    yield from claim.points
    if not claim.explore:
        return
    rng = np.random.default_rng(seed)
    for _ in range(_DRAWS):
        yield tuple(
            rng.normal(size=np.shape(x)) * 1.5 if _is_real(x) else x for x in claim.points[0]
        )


def _same(got: Any, truth: Any) -> bool:
    a, tree = jax.tree.flatten(got)
    b, other = jax.tree.flatten(truth)
    return tree == other and all(
        x.shape == y.shape and np.allclose(x, y, rtol=_RELATIVE, atol=_ABSOLUTE)
        for x, y in zip(a, b, strict=True)
    )


def show(x: Any) -> str:
    """A number or array in few digits, as a person would write it."""
    if isinstance(x, str):
        return x
    if isinstance(x, tuple | list):
        return f"({', '.join(map(show, x))})"
    if isinstance(x, dict):
        return ", ".join(f"{k} = {show(v)}" for k, v in x.items())
    array = np.asarray(x)
    if array.ndim == 0:
        return f"{array.item():.6g}" if array.dtype.kind == "f" else repr(array.item())
    return f"[{', '.join(show(row) for row in array)}]"


def judge_note(name: str, seed: int = 0) -> list[dict[str, Any]]:
    """Every claim of one lecture note, by its number, as `Judgement.to_dict` has it."""
    return [judge(claim, seed).to_dict() for claim in lecture_notes().NOTES[name]]
