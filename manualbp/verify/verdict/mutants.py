"""Which one mistake turns the right gradient into the wrong one.

Autodiff's program of the definition is run again with one of its steps changed: a term of a sum
left out, a factor left out, a sign, a branch. Where that gives what the rule gives, the mistake is
found, with the line of the definition that it belongs to.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import jax
import numpy as np

from manualbp.verify.numbers.balls import Arb, precision
from manualbp.verify.numbers.operations import operations
from manualbp.verify.numbers.walk import Straddles, Unsupported, evaluate, lift
from manualbp.verify.numbers.wide import where
from manualbp.verify.rungs.exact import floats

# Runs of the changed program, and numbers that they make, at most
_TRIES, _NUMBERS = 200, 1e7


class _Changed(Arb):
    """Balls, with one equation of the program replaced."""

    def __init__(self, number: int, change: Callable[..., Any] | None):
        super().__init__()
        self.number, self.change = number, change
        self.equations: list[Any] = []

    def instead(self, eqn: Any, xs: list) -> Any:
        """The result of the equation where it is the one to change; else None."""
        if eqn.primitive.name not in _CHANGES:
            return None
        self.equations.append(eqn)
        mine = len(self.equations) - 1 == self.number
        return self.change(eqn, *xs) if mine and self.change is not None else None


def explain(problem: Any, points: Sequence[Sequence[np.ndarray]], leaf: int) -> str | None:
    """The change under which the definition's gradient is the rule's, at every point.

    Args:
      problem: what is judged.
      points: leaves, then cotangents; at least one at which the rule is wrong.
      leaf: the differentiated argument.
    """
    try:
        with jax.enable_x64(True), precision(256):
            lifted = [[lift(x, Arb().lift) for x in point] for point in points]
            got = [evaluate(problem.traced.ours, x, Arb()) for x in lifted]
            at = len(got[0]) - len(problem.differentiated) + leaf
            wanted = [floats(x[at]) for x in got]
            plain = _Changed(-1, None)
            evaluate(problem.traced.truth, lifted[0], plain)
            cost = len(points) * operations(problem.traced.truth)
            tries = range(min(_TRIES, int(_NUMBERS / max(cost, 1))))
            for _, (number, eqn, text, change) in zip(
                tries, _candidates(plain.equations), strict=False
            ):
                if all(
                    _matches(problem, x, at, number, change, y)
                    for x, y in zip(lifted, wanted, strict=True)
                ):
                    return f"{text}: as if in {where(eqn)}"
    except (Straddles, Unsupported):
        pass
    return None


def _candidates(equations: list) -> Iterator[tuple[int, Any, str, Callable[..., Any]]]:
    """Sums from the end, where the gradient is put together; then all else."""
    numbered = list(enumerate(equations))
    for terms in (True, False):
        for number, eqn in reversed(numbered):
            if (eqn.primitive.name == "add_any") is terms:
                for text, change in _CHANGES[eqn.primitive.name]:
                    yield number, eqn, text, change


def _matches(
    problem: Any, arguments: list, at: int, number: int, change: Callable, wanted: np.ndarray
) -> bool:
    try:
        results = evaluate(problem.traced.truth, arguments, _Changed(number, change))
    except (Straddles, Unsupported, ValueError, IndexError):  # a change that fits no shape
        return False
    found = floats(results[at])
    size = np.abs(wanted).max(initial=0.0)
    return found.shape == wanted.shape and bool(np.all(np.abs(found - wanted) <= 1e-10 * size))


def _first(eqn: Any, x: Any, y: Any) -> Any:
    return np.broadcast_to(x, eqn.outvars[0].aval.shape)


def _second(eqn: Any, x: Any, y: Any) -> Any:
    return np.broadcast_to(y, eqn.outvars[0].aval.shape)


def _numbers(x: Any) -> Any:
    if not (isinstance(x, np.ndarray) and x.dtype.kind == "O"):
        raise ValueError("not a floating value")
    return x


def _cumulative(eqn: Any, x: np.ndarray) -> np.ndarray:
    axis, reverse = eqn.params["axis"], not eqn.params["reverse"]
    turned = np.flip(x, axis) if reverse else x
    total = np.cumsum(turned, axis=axis, dtype=object)
    return np.flip(total, axis) if reverse else total


_TERMS = (("a term is missing", _first), ("a term is missing", _second))
_CHANGES: dict[str, Sequence[tuple[str, Callable[..., Any]]]] = {
    "add_any": (
        *_TERMS,
        ("one term is counted twice, another is missing", lambda eqn, x, y: x + x),
        ("one term is counted twice, another is missing", lambda eqn, x, y: y + y),
        ("the sign of a term is wrong", lambda eqn, x, y: x - y),
        ("the sign of a term is wrong", lambda eqn, x, y: y - x),
    ),
    "add": _TERMS,
    "sub": (
        ("a term is missing", _first),
        ("a term is missing", lambda eqn, x, y: -_second(eqn, x, y)),
    ),
    "mul": (
        ("a factor is missing", lambda eqn, x, y: _numbers(_first(eqn, x, y))),
        ("a factor is missing", lambda eqn, x, y: _numbers(_second(eqn, x, y))),
    ),
    "div": (("a divisor is missing", lambda eqn, x, y: _numbers(_first(eqn, x, y))),),
    "neg": (("the sign of a term is wrong", lambda eqn, x: x),),
    "select_n": (
        ("one branch is taken for all", lambda eqn, which, *cases: cases[0]),
        ("one branch is taken for all", lambda eqn, which, *cases: cases[-1]),
    ),
    "cumsum": (("the order of a cumulative sum is reversed", _cumulative),),
}
