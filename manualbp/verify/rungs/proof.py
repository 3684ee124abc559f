"""Rung 4: both programs as formulas, whose difference is zero on every open branch.

The hand-derived value and backward pass, and `jax.vjp` of the definition, are run over formulas
along every path of signs that their comparisons can take. On each path every entry of the two is
the same quotient, or a point is looked for at which exact arithmetic tells them apart.

What is proved holds over the reals, for the shapes at hand, inside of the arguments' domains (a
label lies between 0 and 1), wherever no comparison is a tie and no divisor is zero. Constants
stand for the decimals, fractions and multiples of pi, square roots and logarithms that they were
rounded from.
"""

import itertools
import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from fractions import Fraction
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from manualbp.verify.ask.domains import STYLES, Spec, in_dtype
from manualbp.verify.ask.problem import Problem
from manualbp.verify.ask.subject import ContractBroken
from manualbp.verify.evidence import Finding, Proof
from manualbp.verify.numbers.formulas import Notes, Restart, Symbolic, TooLarge
from manualbp.verify.numbers.walk import Straddles, Unsupported, evaluate
from manualbp.verify.rungs import exact as _exact
from manualbp.verify.rungs.floats import half_digits

# Entries of arguments and cotangents, paths followed, and points tried to refute, at most
_MOST_ENTRIES, _MOST_PATHS, _POINTS = 60, 128, 64
# What to make of the length of an axis: 3 where possible, for classes; never 1, where a sum over
# it, or an exchange of its entries, would not show. And how many axes, the last ones, to leave out
_CUTS: tuple[tuple[Callable[[int], int], int], ...] = (
    (lambda n: n if n <= 3 else 2, 0),
    (lambda n: min(n, 2), 0),
    (lambda n: n, 0),
    (lambda n: min(n, 2), 1),
)
# Characters of a remaining formula that are shown
_SHOWN = 300


class _Late(Exception):
    """The time is up."""


class _Differ(Exception):
    """A difference that is not identically zero."""


def prove(problem: Problem, seconds: float = 2.0) -> Proof:
    """Show that the subject's value and backward pass are the definition's, as formulas.

    Args:
      problem: the subject, its definition and its arguments; long axes are cut, and numbers are
        float64, in which decimals are told from what they were rounded to.
      seconds: of the processor, after which it gives up; tracing JAX programs is not interrupted.

    Returns:
      A Proof, whose verdict says whether that succeeded.
    """
    start = time.thread_time()
    with (
        jax.enable_x64(True),
        jax.numpy_dtype_promotion("standard"),
        np.errstate(all="ignore"),
    ):
        proof = Proof("NOT PROVED", remaining="shape too large")
        deadline = start + seconds
        try:
            problem = _in_float64(problem)
            for small in _smaller(problem):
                now = time.thread_time()
                if now > deadline:
                    break
                try:
                    truth = small.traced.truth
                except Exception:  # whatever the user's code raises on other shapes
                    if small is problem:
                        raise
                    continue
                if truth is None:
                    why = small.why_no_autodiff
                    proof = replace(proof, remaining=f"JAX cannot differentiate it ({why})")
                    continue
                prover = _Prover(small, now + (deadline - now) * 3 / 4)  # some is left to others
                proof = prover.prove()
                if not prover.too_much:
                    break
        except Exception as error:  # or on its own
            proof = replace(proof, remaining=f"{type(error).__name__}: {error}")
    return replace(proof, seconds=time.thread_time() - start)


def _in_float64(problem: Problem) -> Problem:
    """The problem in float64, where it can be asked there."""
    wide = problem.with_specs(in_dtype(problem.specs, "float64"))
    try:
        _ = wide.traced
    except Exception:  # a rule of other dtypes alone
        return problem
    return wide


def _smaller(problem: Problem) -> Iterator[Problem]:
    """The problem with its axes cut, as far as it can be run, that with most cases first."""
    axes = {n for s in problem.specs for n in s.shape}
    tried: list[list[Spec]] = []
    for cut, without in _CUTS:
        specs = [
            replace(
                s,
                shape=tuple(map(cut, s.shape[: len(s.shape) - without])),
                below=cut(s.below) if s.below in axes and s.kind != "bool" else s.below,
            )
            for s in problem.specs
        ]
        if specs in tried:
            continue
        tried.append(specs)
        other = problem
        if specs != problem.specs:
            other = problem.with_specs(specs)
            try:
                if 0 in {x.size for x in jax.tree.leaves(other.value_shape)}:
                    continue
            except Exception:  # whatever the user's code raises on other shapes
                continue
        if sum(math.prod(p.shape) for p in (*other.parts, *other.value_parts)) <= _MOST_ENTRIES:
            yield other


def _named(problem: Problem) -> list[tuple[str, Spec]]:
    """Names of the parts of arguments and cotangents, and what they are."""
    named = []
    for k, part in enumerate(problem.parts):
        name = problem.paths[part.place].replace("argument ", "x")
        named.append((f"{name}.{part.half}" if part.half else name, problem.spec(k)))
    taken = {name.partition("[")[0].partition(".")[0] for name, _ in named}
    dy = "dy" if "dy" not in taken else "cotangent"
    for k, part in enumerate(problem.value_parts):
        one = len(problem.value_parts) == 1
        named.append((dy if one else f"{dy}{k}", Spec(part.shape, dtype="float64")))
    return named


def _rows(spec: Spec) -> tuple[int, Callable[[], Iterator[Sequence[int]]]] | None:
    """How many rows there are of a domain of the last axis, and a function that gives them."""
    n, below = spec.shape[-1] if spec.shape else 0, spec.below
    match spec.domain:
        case "permutation":
            return math.factorial(n), lambda: itertools.permutations(range(n))
        case "mask":
            return 2**n - 1, lambda: filter(any, itertools.product((0, 1), repeat=n))
        case "counts" | "offsets":
            counts = spec.domain == "counts"
            cuts = n - (1 if counts else 2)

            def of_groups() -> Iterator[Sequence[int]]:
                for inner in itertools.combinations_with_replacement(range(below), cuts):
                    offsets = [0, *inner, below - 1]
                    yield [b - a for a, b in itertools.pairwise(offsets)] if counts else offsets

            return math.comb(below + cuts - 1, cuts), of_groups
    return None


def _ways(spec: Spec) -> tuple[int, Callable[[], Iterator[Sequence[int]]]]:
    """How many arrays of integers there are, and a function that gives their entries."""
    size = math.prod(spec.shape)
    row = _rows(spec)
    if row is not None:
        one, each = row
        rows = math.prod(spec.shape[:-1])
        return one**rows, lambda: map(
            tuple, map(itertools.chain.from_iterable, itertools.product(each(), repeat=rows))
        )
    values = [0, 1] if spec.kind == "bool" else [*range(*spec.range), *spec.values]
    if spec.distinct:
        return math.perm(len(values), size), lambda: itertools.permutations(values, size)
    return len(values) ** size, lambda: itertools.product(values, repeat=size)


class _Prover:
    """One run on one problem."""

    def __init__(self, problem: Problem, deadline: float):
        self.problem, self.deadline = problem, deadline
        self.notes = Notes()
        self.branches = self.paths = self.combinations = 0
        self.too_much = False
        # The branch at hand: its labels, and between what numbers entries lie
        self.near: tuple[list, dict[int, tuple[Fraction | float, Fraction | float]]] = [], {}

    def _tick(self) -> None:
        if time.thread_time() > self.deadline:
            raise _Late

    def prove(self) -> Proof:
        """The verdict, without its time."""
        shapes = ", ".join(f"{name} {spec.shape}" for name, spec in _named(self.problem))
        try:
            self._prove()
        except _Differ as difference:
            return self._refute(Proof("NOT PROVED", shapes, self.branches, None, str(difference)))
        except _Late:
            reason, self.too_much = "time limit", True
        except TooLarge as formula:
            reason, self.too_much = str(formula), True
        except Unsupported as primitive:
            reason = f"no form of {primitive}"
        except (Straddles, ContractBroken) as problem:
            reason = str(problem)
        else:
            return Proof("PROVED", shapes, self.branches)
        return Proof("NOT PROVED", shapes, self.branches, remaining=reason)

    def _prove(self) -> None:
        """Every path, from the start again where formulas need other indeterminates."""
        while True:
            self.branches = self.paths = 0
            try:
                arithmetic, formulas = self._formulas()
                for integers in self._integers():
                    self._follow_all(arithmetic, formulas, integers)
            except Restart:
                self._tick()
                continue
            if not self.branches:
                raise _Differ("the definition has no value")
            return

    def _integers(self) -> Iterator[list[np.ndarray]]:
        """Every combination of labels."""
        specs = [self.problem.specs[place] for place in self.problem.free]
        found = [s for s in specs if s.integral]
        ways = [_ways(s) for s in found]
        self.combinations = math.prod(n for n, _ in ways)
        if self.combinations > _MOST_PATHS:
            raise TooLarge("too many branches")
        for chosen in itertools.product(*(entries() for _, entries in ways)):
            yield [
                np.array(entries, np.int64).reshape(s.shape).astype(jnp.dtype(s.kind))
                for entries, s in zip(chosen, found, strict=True)
            ]

    def _follow_all(self, arithmetic: Symbolic, formulas: list, integers: list) -> None:
        """Both programs along every path."""
        rest = iter(integers)
        arguments = [next(rest) if x is None else x for x in formulas]
        traced = self.problem.traced
        plans: list[tuple[int, ...]] = [()]
        while plans:
            plan = plans.pop()
            arithmetic.follow(plan)
            ours, truth = (
                evaluate(program, arguments, arithmetic) for program in (traced.ours, traced.truth)
            )
            signs = tuple(arithmetic.path.values())
            self.paths += 1
            # the first path tells how many there may be
            expected = self.combinations * 2 ** len(signs) if self.paths == 1 else self.paths
            if expected > _MOST_PATHS:
                raise TooLarge("too many branches")
            plans += [(*signs[:i], -signs[i]) for i in range(len(plan), len(signs))]
            self.near = integers, arithmetic.intervals()
            if all(low < high for low, high in self.near[1].values()):
                self.branches += self._same(arithmetic, ours, truth)

    def _formulas(self) -> tuple[Symbolic, list]:
        """An arithmetic; an array of its indeterminates a floating argument, None for labels."""
        named = _named(self.problem)
        arithmetic = Symbolic(
            [
                name + (f"[{','.join(map(str, index))}]" if index else "")
                for name, spec in named
                if not spec.integral
                for index in np.ndindex(spec.shape)
            ],
            self.notes,
            self._tick,
        )
        symbols = iter(arithmetic.symbols)
        arguments: list[Any] = []
        for _, spec in named:
            if spec.integral:
                arguments.append(None)
                continue
            array = np.empty(math.prod(spec.shape), object)
            array[:] = own = list(itertools.islice(symbols, array.size))
            arguments.append(array.reshape(spec.shape))
            low, high = spec.bounds
            for x in own:
                if low is not None and low >= 0:  # positive, or at least not negative
                    arithmetic.assume_positive(x)
                    if high is not None and high <= 1:
                        arithmetic.assume_positive(arithmetic.sub(arithmetic.one, x))
                elif high is not None and high <= 0:
                    arithmetic.assume_positive(arithmetic.neg(x))
        return arithmetic, arguments

    def _same(self, arithmetic: Symbolic, ours: list, truth: list) -> bool:
        """Whether the definition has a value on this path, and then ours is the same."""
        n = len(truth) - len(self.problem.differentiated)
        if not all(arithmetic.is_finite(x) for array in truth[:n] for x in array.ravel()):
            return False
        for k, (got, expected) in enumerate(zip(ours, truth, strict=True)):
            name = "value" if k < n else f"gradient of {self.problem.name_of(k - n)}"
            if got.shape != expected.shape:
                raise _Differ(f"{name}: expected the shape {expected.shape}, got {got.shape}")
            for index in np.ndindex(got.shape):
                x, y = got[index], expected[index]
                if not arithmetic.is_finite(y):
                    raise _Differ(f"{name}: autodiff of the definition is undefined")
                if x is not y:
                    text = arithmetic.text(arithmetic.sub(x, y))
                    where = "".join(
                        f", where {arithmetic.text(p)} {'>' if sign > 0 else '<'} 0"
                        for p, sign in arithmetic.path.items()
                    )
                    at = f" at {index}" if index else ""
                    raise _Differ(f"{name}{at}: {_cut(text)} left{_cut(where)}")
        return True

    def _refute(self, proof: Proof) -> Proof:
        """REFUTED with a point at which exact arithmetic finds ours wrong, if one is found."""
        problem, rng = self.problem, np.random.default_rng(0)
        for style in itertools.islice(itertools.cycle(STYLES), _POINTS):
            if time.thread_time() > self.deadline:
                break
            dy = problem.cotangents(rng, "round")
            point = self._moved_near([*problem.draw(rng, style), *dy])
            try:
                wrong = any(map(_refutes, _exact.compare(problem, point).findings()))
            except (Straddles, Unsupported, ValueError):
                continue
            if wrong:
                return replace(proof, verdict="REFUTED", point=tuple(point))
        return proof

    def _moved_near(self, point: list) -> list:
        """The point with the labels of the branch at hand, and entries between its bounds."""
        integers, intervals = iter(self.near[0]), self.near[1]
        moved, n = [], 0
        for x in point:
            if x.dtype.kind != "f":
                moved.append(next(integers))
                continue
            flat = x.ravel().copy()
            for i, (low, high) in intervals.items():
                if n <= i < n + x.size and not low < flat[i - n] < high:
                    bounded = math.isfinite(low), math.isfinite(high)
                    inside = (
                        (low + high) / 2 if all(bounded) else low + 1 if bounded[0] else high - 1
                    )
                    flat[i - n] = float(inside)
            n += x.size
            moved.append(flat.reshape(x.shape))
        return moved


def _refutes(finding: Finding) -> bool:
    """Whether it is another function's entry: a guard makes no more than a small difference."""
    if finding.relation == "guard":
        return abs(finding.factor) > half_digits(np.dtype(np.float64))
    return finding.relation == "other"


def _cut(text: str) -> str:
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]} ..."


__all__ = ["prove"]
