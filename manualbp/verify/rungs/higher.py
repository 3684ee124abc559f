"""Second derivatives and JVPs: the pullback's own derivative, at points of no special place."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from manualbp.verify.ask.problem import Problem, first_line, value_parts
from manualbp.verify.numbers.balls import Arb, is_nan
from manualbp.verify.numbers.operations import LARGE, operations
from manualbp.verify.numbers.walk import Straddles, Unsupported, cost
from manualbp.verify.rungs import exact

# Large programs are looked at in two entries a result, if these take no more operations
_EFFORT = 5e5


class Higher(NamedTuple):
    """What came of one such comparison: the error in words, or a note."""

    wrong: str = ""
    note: str = ""
    compared: int = 0


def second(problem: Problem, stacks: Sequence[np.ndarray]) -> Higher:
    """The derivative of each pullback along one direction.

    Args:
      problem: what is judged.
      stacks: ordinary points, away from kinks: leaves, then cotangents.
    """
    if problem.traced.truth is None:
        return Higher()
    try:
        programs = [_derivative(problem, f) for f in (problem.ours, problem.truth)]
    except Exception as error:  # whatever differentiating the user's bwd raises
        return Higher(note=f"no second derivative: {first_line(error)}")
    return _same_programs(problem, "derivative of the gradient", programs, stacks)


def forward(problem: Problem, stacks: Sequence[np.ndarray]) -> Higher:
    """A JVP rule against the JVP of the definition."""
    if not problem.subject.forward_mode:
        return Higher()
    try:
        programs = [_jvp(problem, f) for f in (problem.subject.forward, problem.definition)]
    except Exception as error:
        return Higher(note=f"no JVP: {first_line(error)}")
    return _same_programs(problem, "JVP", programs, stacks)


def by_hand(problem: Problem, stacks: Sequence[np.ndarray]) -> Higher:
    """The y'' that a rule knows, of one that acts entry by entry."""
    if problem.subject.second is None or problem.traced.truth is None:
        return Higher()

    def ours(leaves, cotangents):
        return [problem.subject.second(*problem.arguments(leaves))]  # type: ignore[misc]

    def truth(leaves, cotangents):
        ones = [jnp.ones_like(c) for c in cotangents]

        def pulled(differentiated):
            return problem.truth(problem.with_moved(leaves, differentiated), ones)[1]

        at = [leaves[k] for k in problem.differentiated]
        out, pull = jax.vjp(pulled, at)
        return pull([jnp.ones_like(x) for x in out])[0][-1:]

    try:
        programs = [problem.trace(f) for f in (ours, truth)]
    except Exception as error:  # whatever the user's function raises
        return Higher(f"the second derivative by hand raises {type(error).__name__}")
    return _same_programs(problem, "second derivative by hand", programs, stacks)


def _derivative(problem: Problem, pullback: Callable) -> Any:
    def pulled(leaves, cotangents, differentiated):
        return pullback(problem.with_moved(leaves, differentiated), cotangents)[1]

    def along(leaves, cotangents):
        at = [leaves[k] for k in problem.differentiated]
        out, pull = jax.vjp(lambda d: pulled(leaves, cotangents, d), at)
        bent = pull([_direction(x) for x in out])[0]
        # symmetric matrices move along symmetric ones alone
        return [
            (x + x.mT) / 2 if problem.spec(k).domain in ("symmetric", "definite") else x
            for k, x in zip(problem.differentiated, bent, strict=True)
        ]

    return problem.trace(along)


def _jvp(problem: Problem, function: Callable) -> Any:
    def along(leaves, _):
        at = [leaves[k] for k in problem.differentiated]

        def of(differentiated):
            args = problem.arguments(problem.with_moved(leaves, differentiated))
            return value_parts(function(*args))

        return jax.jvp(of, (at,), ([_direction(x) for x in at],))[1]

    return problem.trace(along)


def _direction(x: Any) -> Any:
    return 1 + (jnp.arange(x.size) % 7).astype(x.dtype).reshape(x.shape)


def _same_programs(
    problem: Problem, what: str, programs: list, stacks: Sequence[np.ndarray]
) -> Higher:
    ours, truth = programs
    wanted = None
    if sum(map(operations, programs)) > LARGE:
        wanted = [_ends(a.shape) for a in truth.out_avals]
        first = [x[0] for x in stacks]
        if sum(cost(p, first, Arb(), wanted) for p in programs) > _EFFORT:
            return Higher(note=f"the {what} is not looked at, at this size")
        stacks = [x[:1] for x in stacks]
    try:
        results = [exact.run_many(p, stacks, wanted) for p in programs]
    except (Straddles, Unsupported):
        return Higher()
    note, compared = "", 0
    for p, row in enumerate(zip(*results, strict=True)):
        if any(isinstance(x, Straddles) for x in row):
            continue
        for leaf, (x, y) in enumerate(zip(*row, strict=True)):
            every = np.ndindex(y.shape) if wanted is None else _places(wanted[leaf])
            for index in every:
                got, expected = x[index], y[index]
                if is_nan(expected) or not expected.is_finite():
                    continue
                compared += 1
                if is_nan(got):
                    note = f"the {what} is NaN at an ordinary point"
                elif (digits := exact.agreement(got, expected)) < exact.SIMILAR:
                    point = [s[p] for s in stacks]
                    if digits >= _digits_at(problem, point) / 2:
                        continue
                    if _explained(ours, truth, point, leaf, index):
                        continue
                    return Higher(
                        f"the {what} is wrong: expected {float(expected):.9g}, got {float(got):.9g}"
                    )
    return Higher(note=note, compared=compared)


def _ends(shape: tuple[int, ...]) -> np.ndarray:
    """A mask of the first entry of an array and of its last."""
    mask = np.zeros(shape, bool)
    mask.flat[:1] = mask.flat[-1:] = True
    return mask


def _places(mask: np.ndarray) -> Iterator[tuple]:
    return map(tuple, np.argwhere(mask).tolist())


def _digits_at(problem: Problem, point: list) -> float:
    """To how many the gradients agree there; their derivatives agree to half as many.

    A function less than eps, with a second derivative of about 1, has a slope less than 2 sqrt(eps)
    (Landau's inequality).
    """
    try:
        pulled = [
            problem.split(exact.run(p, point))[1]
            for p in (problem.traced.ours, problem.traced.truth)
        ]
    except (Straddles, Unsupported):
        return np.inf
    pairs = zip(*(np.concatenate([x.ravel() for x in leaves]) for leaves in pulled), strict=True)
    digits = min((exact.agreement(x, y) for x, y in pairs), default=np.inf)
    return digits if digits >= exact.SIMILAR else np.inf  # what is no approximation


def _explained(ours: Any, truth: Any, point: list, leaf: int, index: tuple) -> bool:
    """Whether rounded constants, or guards, explain a difference."""
    if exact.only_constants(ours, truth, point, leaf, index):
        return True
    try:
        x, y = (
            exact.run(p, point, without_guards=True, rounded_constants=True)[leaf][index]
            for p in (ours, truth)
        )
    except (Straddles, Unsupported):
        return False
    return bool(x.is_finite() and y.is_finite() and x.overlaps(y))
