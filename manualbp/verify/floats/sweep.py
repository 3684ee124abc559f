"""Rung 5, exhaustively: the error of a value and its derivatives at every float there is."""

import functools
import hashlib
import inspect
import itertools
import re
import time
import weakref
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend import core
from jax.sharding import Mesh, NamedSharding, PartitionSpec

import manualbp
from manualbp._checks import brief
from manualbp._rule import Rule
from manualbp.verify.ask.definitions import base_name, definition_of
from manualbp.verify.ask.domains import Spec, in_dtype
from manualbp.verify.ask.problem import Problem, jit_quickly
from manualbp.verify.ask.question import problem_of
from manualbp.verify.ask.subject import Subject, subject_of
from manualbp.verify.cases import BOUNDS, CASES
from manualbp.verify.floats.checkpoint import Checkpoint
from manualbp.verify.floats.found import Sweep, sweep_of
from manualbp.verify.floats.ulps import (
    FINDINGS,
    LOST,
    depends,
    in_ulps,
    line_of,
    measure,
    two_floats,
    with_terms,
)
from manualbp.verify.numbers.walk import Straddles, Unsupported
from manualbp.verify.rungs import exact as _exact

# Evaluated at once: so many that starting programs takes no time, so few that their memory, all
# that a sweep takes, is used again rather than mapped anew each time
CHUNK = 2**20
# The same away from sweeps, for which programs are compiled
_SIZE = 2**16
# A float64 form is the truth where exact arithmetic finds it this good, in ULPs of the dtype
GOOD = 0.01
# How many inputs are tried in each block where not all are, by bits of the dtype
_SAMPLES = {16: 8, 32: 64, 64: 1}
# At how many points a float64 form is compared with exact arithmetic, by bits of the dtype
_EXACT_POINTS = {16: 300, 32: 2000, 64: 300}
# Values that the other arguments take, by domain
_GRID = {
    "labels": (0.0, 1.0, 0.25),
    "positive": (1.0, 0.25, 100.0),
    "weights": (0.0, 1.0, 0.5),
    "real": (1.0, -3.0, 0.25, 0.0),
}
_DOMAINS = {
    **dict.fromkeys(("unit", "labels", "probability", "simplex"), (0.0, 1.0)),
    **dict.fromkeys(("positive", "weights"), (0.0, np.inf)),
}
# What was found out about a truth, as long as that is kept
_FOUND: weakref.WeakKeyDictionary[Problem, dict[str, Any]] = weakref.WeakKeyDictionary()


def accuracy(
    function: Any,
    dtype: Any = "float16",
    *,
    argument: str | int | None = None,
    others: dict[str, Sequence[float]] | None = None,
    domain: tuple[float, float] | None = None,
    exhaustive: bool | None = None,
    truth: Any = None,
    definition: Callable[..., Any] | None = None,
    checkpoint: str | Path | None = None,
    again: bool = False,
    seed: int = 0,
) -> Sweep:
    """The largest errors of a function of numbers and of its gradient, over all inputs there are.

    The error is |got - truth| / ulp(truth), where ulp is the spacing of the dtype at the truth,
    and below its normal numbers that of its subnormal ones. An infinite result stands for the
    first power of two beyond the largest number, so that rounding there counts as rounding. Where
    the truth passes through zero as a sum of larger terms (the derivative of swish at -1.28), the
    error is measured in ULPs of the largest term, too; that is looked at where the error exceeds
    4 ULP (1 in half precision). The terms are those of sums in the float64 form; results that have
    one sign everywhere, such as tails that vanish, have none. Where the backend
    flushes subnormal numbers, a zero is no error where the truth is subnormal (to 4 ULP), and a
    subnormal input may be taken as zero. At kinks of a rule its derivatives are not measured.

    Results are those of the compiled function over arrays. The truth is computed beside them, by
    the rule's own float64 form where that differs from the definition in exact arithmetic by less
    than 0.01 ULP of the dtype at random points, each exponent, thresholds and the worst points
    found; else by exact arithmetic alone, which takes a millisecond an input. Devices share the
    work.

    Args:
      function: a rule, a `jax.custom_vjp` or `jax.custom_jvp` function, a pair (fwd, bwd), or a
        function of numbers, whose gradient is then `jax.grad`'s. One that sums over the last axis,
        as losses do, is taken on vectors of one entry.
      dtype: float16, bfloat16, float32 or float64.
      argument: that is swept, by name or place; "z" if there is one, else the first.
      others: values of the other arguments, by name; in all combinations. A few if None.
      domain: the interval of the argument outside which nothing is counted.
      exhaustive: try all bit patterns; the default for half precision. float32 has 2^32, and is
        otherwise sampled evenly, 64 in each 1/128 of a binade; float64 is searched: from each
        exponent and threshold uphill.
      truth: the rule whose float64 form is the truth; the function itself if None.
      definition: for exact arithmetic; if None as for `check`, else the function itself.
      checkpoint: a file that ends in .npz, which keeps what is done every 20 s; a sweep that was
        interrupted goes on from it, and one that is finished is read from it.
      again: repeat what is finished, and what another version has begun.
      seed: of the sampling.

    Returns:
      A Sweep.

    Raises:
      TypeError, ValueError: the question cannot be put; says what was expected and the remedy.
      OSError: the checkpoint cannot be written; said before the work.

    Example:
      >>> import manualbp
      >>> sweep = accuracy(manualbp.sigmoid, "float16")
      >>> [(part.name, part.ulps < 1, part.findings) for part in sweep.parts]
      [('value', True, {}), ('dz', True, {})]
    """
    line = line_of(_kind(dtype))
    bits = line.bits
    if exhaustive is None:
        exhaustive = bits == 16
    if exhaustive and bits == 64:
        raise ValueError(
            "accuracy: expected exhaustive=False for float64, got True: it has 2^64 numbers"
        )
    with (
        jax.enable_x64(True),
        jax.numpy_dtype_promotion("standard"),
        np.errstate(all="ignore"),
    ):
        asked = Question([function], line, argument, others, domain, truth, definition)
        asked.samples = line.width if exhaustive else _SAMPLES[bits]
        asked.seed = seed
        store = Checkpoint(checkpoint, again, asked.identity())
        if store.finished is not None:
            return Sweep.read(store.finished, store.state["worst"])
        start = time.perf_counter()
        state = store.begin(_nothing(asked))
        checked = asked.form_checked()
        asked.by_form = bits < 64 and checked[1] <= GOOD
        if bits == 64:
            _search(asked, state)
        elif asked.by_form:
            _sweep(asked, state, store)
        elif bits == 32 and exhaustive:
            raise ValueError(
                f"accuracy: expected a float64 form good to {GOOD} ULP for all 2^32 inputs, got "
                f"one of {checked[1]:.3g}: give truth=, a rule, or exhaustive=False"
            )
        else:
            asked.samples = asked.samples if bits == 16 else 2
            _sweep_exactly(asked, state, store)
        seconds = float(state["seconds"]) + time.perf_counter() - start
        sweep = sweep_of(asked, state, checked, store.identity, exhaustive, seconds)
        store.write(state, sweep)
    return sweep


def _kind(dtype: Any) -> np.dtype:
    try:
        kind = jnp.dtype(dtype)
    except TypeError:
        kind = None
    if kind is None or kind not in map(jnp.dtype, ("float16", "bfloat16", "float32", "float64")):
        raise ValueError(
            "accuracy: expected dtype float16, bfloat16, float32 or float64, got "
            f"{brief(dtype) if kind is None else kind.name}: integers have no ULPs"
        )
    with jax.enable_x64(True):
        try:
            _compiled_sum(jnp.ones(1, kind))
        except Exception as reason:
            raise ValueError(
                f"accuracy: expected a dtype of the backend {jax.default_backend()}, got "
                f"{kind.name}: it has none ({str(reason).splitlines()[0][:80]})"
            ) from None
    return kind


def _compiled_sum(x: Any) -> Any:
    return jax.block_until_ready(jax.jit(lambda x: x + x)(x))


class Question:
    """Functions of numbers in a dtype, their common truth, and the inputs."""

    samples = 1  # tried in each block
    seed = 0
    by_form = False  # whether the float64 form is the truth
    crosses: tuple[bool, ...] = ()  # which results pass through zero
    exact_points = 0  # at which that is compared with exact arithmetic; a number by dtype if 0

    def __init__(
        self,
        functions,
        line,
        argument=None,
        others=None,
        domain=None,
        truth=None,
        definition=None,
        of_numbers=False,
    ):
        self.line = line
        subjects = [_described(f) for f in functions]
        known = functions[0] if truth is None else truth
        self.name = subjects[0][0].name
        known_subject, names, domains = _described(known)
        if len(names) != len(subjects[0][1]):  # else a rule knows the domains
            _, names, domains = subjects[0]
        if definition is None and isinstance(known, Rule):
            definition = definition_of(known)
        definition = definition or known_subject.definition or known_subject.forward
        shape = _shape if of_numbers else _elementwise
        self.shape, args = shape(subjects[0][0], domains)
        self.true = problem_of(known_subject, definition, in_dtype(args, "float64"))
        own = in_dtype(args, line.kind)
        problems = [problem_of(subject, definition, own) for subject, *_ in subjects]
        free = [names[i] for i in self.true.free]
        parts = ("value", *(f"d{free[k]}" for k in self.true.differentiated))
        self.names = parts * len(functions)
        self.swept = _place(self.name, free, argument)
        self.argument = free[self.swept]
        spec = self.true.specs[self.true.free[self.swept]]
        self.domain = domain or _DOMAINS.get(spec.domain, (-np.inf, np.inf))
        self.grid = self._grid(free, others or {})
        self.kink = getattr(known, "kink", None)
        self._form = self.true.trace_ours()
        self._programs = [problem.trace_ours() for problem in problems]
        # which results depend on the argument: NaN in is NaN out for these alone
        self.depends = depends(self._form.jaxpr, self.swept) * len(functions)

    def _grid(self, free: list[str], others: dict) -> list[tuple[float, ...]]:
        """The other arguments' values, rounded to the dtype, in all combinations."""
        unknown = set(others) - {name for name in free if name != self.argument}
        if unknown:
            raise ValueError(
                f"accuracy: expected others of {', '.join(free)} without {self.argument}, got "
                f"{', '.join(sorted(unknown))}"
            )
        values = []
        for k, name in enumerate(free):
            if k != self.swept:
                domain = self.true.specs[self.true.free[k]].domain
                given = others.get(name, _GRID.get(domain, _GRID["real"]))
                values.append(tuple(float(x) for x in np.asarray(given, self.line.kind)))
        return list(itertools.product(*values))

    def identity(self) -> dict[str, Any]:
        """What makes two sweeps the same: the programs themselves, inputs, versions, the device."""
        text = re.sub(r"0x[0-9a-f]+", "", "".join(map(str, [*self._programs, self._form])))
        return {
            "function": self.name,
            "dtype": self.line.kind.name,
            "argument": self.argument,
            "inputs": [*map(list, self.grid), *self.domain, self.samples, self.seed],
            "program": hashlib.sha256(text.encode()).hexdigest()[:16],
            "manualbp": manualbp.__version__,
            "jax": jax.__version__,
            "backend": jax.default_backend(),
            "device": jax.devices()[0].device_kind,
        }

    # Inputs

    def tried(self, block: int) -> np.ndarray:
        """The places of a block that are tried."""
        return self.places(np.asarray([block]), np).ravel().astype(np.uint64)

    def places(self, blocks: Any, xp: Any) -> Any:
        """(blocks, samples): all, or one in each of as many strata, the ends among them."""
        stratum = self.line.width // self.samples
        j = xp.arange(self.samples, dtype=xp.uint32)[None, :]
        start = blocks.astype(xp.uint32)[:, None] * np.uint32(self.line.width)
        if stratum == 1:
            return start + j
        mixed = (start + j + np.uint32(self.seed)) * np.uint32(2654435761)
        mixed = (mixed ^ (mixed >> 15)) * np.uint32(2246822519)
        inside = (mixed ^ (mixed >> 13)) % np.uint32(stratum)
        inside = xp.where(j == 0, 0, xp.where(j == self.samples - 1, stratum - 1, inside))
        return start + j * np.uint32(stratum) + inside.astype(xp.uint32)

    def numbers(self, blocks: Any) -> Any:
        """All numbers tried in some blocks, in a program."""
        return self.line.numbers(self.places(blocks, jnp), jnp).reshape(-1)

    def arguments(self, places: Any, g: int) -> list[np.ndarray]:
        """All arguments as float64, at places and with a set of the others."""
        x = self.line.wide(self.line.numbers(np.asarray(places, np.uint64)))
        given = [np.full(len(x), v) for v in self.grid[g]]
        return [*given[: self.swept], x, *given[self.swept :]]

    def others(self, g: int) -> list:
        """The other arguments, as the dtype's numbers."""
        return [np.asarray(v, self.line.kind) for v in self.grid[g]]

    # Programs over arrays of numbers

    def _run(self, program: Callable, xs: Sequence[Any]) -> list:
        """Value and derivatives, each of the shape (n,)."""
        n = xs[0].shape[0]
        xs = [x.reshape(n, *self.shape) for x in xs]
        return [y.reshape(n) for y in jax.vmap(program)(*xs, jnp.ones(n, xs[0].dtype))]

    def got(self, xs: Sequence[Any]) -> list:
        """The function's results, as users compile it: nothing else is fused with it."""
        xs = jax.lax.optimization_barrier(list(xs))
        results = [self._run(core.jaxpr_as_fun(program), xs) for program in self._programs]
        return jax.lax.optimization_barrier([y for ys in results for y in ys])

    def form(self, xs: Sequence[Any]) -> tuple[list, list]:
        """The float64 form's results, and the size of the largest term of each."""
        both = self._run(with_terms(self._form), [self.line.wide(x, jnp) for x in xs])
        parts, times = len(both) // 2, len(self._programs)
        return both[:parts] * times, both[parts:] * times

    def spread(self, x: Any, others: Sequence[Any]) -> list:
        """All arguments, from the one swept and numbers for the others."""
        given = [jnp.full_like(x, v) for v in others]
        return [*given[: self.swept], x, *given[self.swept :]]

    @functools.cached_property
    def compiled_got(self) -> Callable:
        """`got` of numbers and the other arguments, in float64."""
        return jax.jit(
            lambda x, others: jnp.stack(
                [self.line.wide(y, jnp) for y in self.got(self.spread(x, others))]
            )
        )

    @property
    def compiled_form(self) -> Callable:
        """The form's results and terms of float64 arguments; the same for every dtype."""
        found = self.found_before
        if "form" not in found:
            run = with_terms(self._form)
            found["form"] = jit_quickly(lambda xs: jnp.stack(self._run(run, xs)))
        return found["form"]

    @property
    def found_before(self) -> dict[str, Any]:
        """What was found out about the truth, also for other dtypes and functions."""
        return _FOUND.setdefault(self.true, {})

    @functools.cached_property
    def looked_at(self) -> Callable:
        """Errors, errors in terms and findings of numbers, compiled; the form is the truth."""

        @jax.jit
        def judge(x, others):
            xs = self.spread(x, others)
            form, terms = self.form(xs)
            got = [self.line.wide(y, jnp) for y in self.got(xs)]
            at_zero = self.form(self.spread(jnp.asarray([0.0, -0.0], x.dtype), others))[0]
            wide = [self.line.wide(a, jnp) for a in xs]
            return self._judge(jnp, wide, got, form, [0.0] * len(got), terms, at_zero)

        return judge

    def judged(self, places: np.ndarray, g: int, raw: Sequence[np.ndarray] | None = None) -> tuple:
        """got, truth, error, error in terms and findings at places, by the truth in use."""
        got, form, terms, at_zero = raw or self.raw_at(places, g)
        xs = self.arguments(places, g)
        if self.by_form:
            return got, form, *self._judge(np, xs, got, form, [0.0] * len(got), terms, at_zero)
        high, low, known = self.balls(xs)
        # limits, which balls do not have, are those of the form; where neither is, nothing counts
        x = xs[self.swept]
        high = np.where(np.isinf(x), form, high)
        low = np.where(np.isfinite(high), low, 0.0)
        judged = self._judge(np, xs, got, high, low, terms, at_zero)
        known |= np.isinf(x) | np.isnan(x)
        return got, high, *(np.where(known, y, np.zeros_like(y)) for y in judged)

    def raw_at(self, places: np.ndarray, g: int) -> list[np.ndarray]:
        """got, form and terms at any number of places, and the form at 0 and -0."""
        got = []
        for some in self._batches(places):
            x = self.line.numbers(np.resize(some, _SIZE))
            got.append(np.asarray(self.compiled_got(x, self.others(g)))[:, : len(some)])
        zeros, found = [self.line.place(0.0), self.line.place(-0.0)], self.found_before
        key = f"at zero {self.swept} {self.grid[g]} {len(self._programs)}"
        if key not in found:
            found[key] = self._form_at(np.asarray(zeros, np.uint64), g)[0]
        return [np.concatenate(got, axis=1), *self._form_at(places, g), found[key]]

    def worst(self, places: np.ndarray, g: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Some of the places; errors in terms, and findings there. The largest are among them.

        An error in ULPs of the truth is never smaller than one in ULPs of its largest term, and
        takes a fraction of the time: what is measured in full is what it leaves.
        """
        got, form, terms, at_zero = self.raw_at(places, g)
        quick = in_ulps(np.abs(got - form), np.abs(form), self.line.limits)
        # of results that are all rounded right, one in twenty is off by as much
        most = quick.max(axis=1, initial=0.0, where=np.isfinite(quick))
        least = 0.95 * np.minimum(most, 0.5)
        while True:
            some = np.flatnonzero(~(quick <= least[:, None]).all(axis=0))  # and what is NaN
            columns = [x[:, some] for x in (got, form, terms)]
            *_, errors, flags = self.judged(places[some], g, [*columns, at_zero])
            missed = errors.max(axis=1, initial=0.0) < least
            if not missed.any():
                return places[some], errors, flags
            least[missed] = 0.0

    def _form_at(self, places: np.ndarray, g: int) -> tuple[np.ndarray, np.ndarray]:
        """The form's results and the size of their largest terms."""
        found = []
        for some in self._batches(places):
            xs = self.arguments(np.resize(some, _SIZE), g)
            found.append(np.asarray(self.compiled_form(xs))[:, : len(some)])
        form, terms = np.split(np.concatenate(found, axis=1), 2)
        times = len(self._programs), 1
        return np.tile(form, times), np.tile(terms, times)

    def _batches(self, places: np.ndarray) -> list[np.ndarray]:
        places = np.asarray(places, np.uint64)
        return [places[at : at + _SIZE] for at in range(0, max(len(places), 1), _SIZE)]

    def _judge(self, xp, xs, got, truth, low, terms, at_zero) -> tuple:
        x, limits = xs[self.swept], self.line.limits
        counted = ((x >= self.domain[0]) & (x <= self.domain[1])) | xp.isnan(x)
        smooth = counted & self.smooth(xp, xs)
        flushed, as_zero = self.line.flushes
        subnormal = (xp.abs(x) < float(limits.tiny)) & (x != 0) & as_zero
        out = []
        for k in range(len(self.names)):
            t, rest = truth[k], low[k]
            # the truth beside a subnormal input that is taken as zero
            instead = xp.where(xp.signbit(x), at_zero[k][1], at_zero[k][0])
            y = xp.where(subnormal & (xp.abs(got[k]) < float(limits.tiny)), 0.0, got[k])
            near = (y == instead) | (xp.isnan(y) & xp.isnan(instead))
            near = subnormal & (near | (xp.abs(y - instead) < xp.abs(y - t)))
            y, t, rest = (xp.where(near, a, b) for a, b in ((y, got[k]), (instead, t), (0.0, rest)))
            if self.depends[k]:
                t = xp.where(xp.isnan(x), xp.nan, t)
            term = terms[k] if self.crosses[k] else 0.0 * terms[k]
            measured = measure(xp, y, t, rest, term, limits, flushed)
            shown = counted if self.names[k] == "value" else smooth
            out.append([xp.where(shown, m, xp.zeros_like(m)) for m in measured])
        return tuple(xp.stack(column) for column in zip(*out, strict=True))

    def smooth(self, xp: Any, xs: Sequence[Any]) -> Any:
        """Where the rule is differentiable: at a kink, conventions differ."""
        if self.kink is None:
            return True
        return xp.asarray(self.kink(*self.true.arguments(xs))) != 0

    # Exact arithmetic

    def balls(self, xs: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """The definition in exact arithmetic: as two float64s each, and where it is known."""
        n, times, truth = len(xs[0]), len(self._programs), self.true.traced_truth
        parts = len(self.names) // times
        high, low = np.full((parts, n), np.nan), np.zeros((parts, n))
        stacks = [x.reshape(n, *self.shape) for x in xs]
        for at in range(0, n, 256):
            some = [x[at : at + 256] for x in [*stacks, np.ones(n)]]
            try:
                rows = [] if truth is None else _exact.run_many(truth, some)
            except Unsupported:
                rows = []
            for i, row in enumerate(rows):
                if not isinstance(row, Straddles):
                    for k, array in enumerate(row):
                        high[k, at + i], low[k, at + i] = two_floats(np.asarray(array).ravel()[0])
        known = np.isfinite(high).all(axis=0)
        return np.tile(high, (times, 1)), np.tile(low, (times, 1)), known

    def form_checked(self, more: Sequence[tuple[np.ndarray, int]] = ()) -> tuple:
        """The float64 form's error: in ULPs, in those of its largest term; at how many points."""
        points = list(more)
        # by the truth, which a rule and its peer share
        key = f"truth {self.line.kind} {self.grid} {self.domain} {self.seed} {len(self.names)}"
        if not points and key in self.found_before:
            self.crosses, checked = self.found_before[key]
            return checked
        worst, known_points = np.zeros(2), 0
        truths = [
            (places, g, *self.balls(self.arguments(places, g)))
            for places, g in points or self.probes()
        ]
        if not points:
            signs = np.concatenate(
                [np.sign(high[:, known]) for *_, high, _, known in truths], axis=1
            )
            self.crosses = tuple((signs.min(axis=1) < 0) & (signs.max(axis=1) > 0))
        for places, g, high, low, known in truths:
            xs = self.arguments(places, g)
            form, terms = self._form_at(places, g)
            known_points += int(known.sum())
            for k in range(len(self.names)):
                term = terms[k] * self.crosses[k]
                far = measure(np, form[k], high[k], low[k], term, self.line.limits, False)
                shown = known & (self.smooth(np, xs) if k else True)
                worst = np.maximum(worst, [e[shown].max(initial=0.0) for e in far[:2]])
                if (far[2][shown] & LOST).any():  # NaN or infinite on one side alone
                    worst[:] = np.inf
        if not known_points:
            worst[:] = np.inf
        checked = *worst.tolist(), known_points
        if not more:
            self.found_before[key] = self.crosses, checked
        return checked

    def probes(self) -> list[tuple[np.ndarray, int]]:
        """Ends and a random place of each exponent, thresholds, and as many of ordinary size."""
        rng = np.random.default_rng(self.seed)
        first, mantissas = self.line.exponents(), 2**self.line.limits.nmant
        within = rng.integers(0, mantissas, len(first), np.uint64)
        each = [first, first + np.uint64(mantissas - 1), first + within, self.thresholds()]
        most = self.exact_points or _EXACT_POINTS[self.line.bits]
        ordinary = [self.line.place(x) for x in rng.uniform(-20, 20, most)]
        chosen = []
        for places in (np.concatenate(each), np.asarray(ordinary, np.uint64)):
            x = self.line.wide(self.line.numbers(places))
            inside = np.isfinite(x) & (x >= self.domain[0]) & (x <= self.domain[1])
            chosen.append(rng.permutation(np.unique(places[inside]))[: most // 2])
        some, sets = np.concatenate(chosen), len(self.grid)
        return [(np.sort(some[g::sets]), g) for g in range(sets)]

    def thresholds(self) -> np.ndarray:
        """Places on, just below and just above each comparison of rule and definition."""
        found = {self.line.place(x) for x in (0.0, 1.0, -1.0)}
        try:
            points = self.true.thresholds
        except (TypeError, ValueError, jax.errors.JaxRuntimeError):
            points = []
        found |= {self.line.place(float(np.ravel(p[self.swept])[0])) for p in points}
        around = {k + step for k in found for step in (-1, 0, 1)}
        return np.asarray(sorted(k for k in around if 0 <= k < 2**self.line.bits), np.uint64)


def _described(function: Any) -> tuple[Subject, list[str], list[str]]:
    """The subject, and name and domain of each argument."""
    try:
        subject = subject_of(function)
    except TypeError:
        raise TypeError(
            f"accuracy: expected a rule or a function of numbers, got {brief(function)}"
        ) from None
    source = function.fwd if isinstance(function, Rule) else function
    parameters = inspect.signature(source[0] if isinstance(source, tuple) else source).parameters
    names = [
        p.name
        for p in parameters.values()
        if p.default is p.empty and p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)
    ]
    domains = ["real"] * len(names)
    if isinstance(function, Rule) and function.name in {rule.name for rule in manualbp.RULES}:
        domains = [getattr(case, "domain", "real") for case in CASES[base_name(function)]]
    alone = {"key": "none", "simplex": "unit"}  # of one entry
    return subject, names, [alone.get(d, d) for d in domains]


def _shape(subject: Subject, domains: list[str]) -> tuple[tuple[int, ...], tuple]:
    """What `_elementwise` gives for a function that is known to be one of numbers."""
    three = jax.ShapeDtypeStruct((3,), np.float32)
    args = [None if d == "none" else three for d in domains]
    shape = () if jax.eval_shape(subject.forward, *args).shape == (3,) else (1,)
    return shape, _specs(shape, domains)


def _specs(shape: tuple[int, ...], domains: list[str]) -> tuple[Spec, ...]:
    return tuple(Spec(() if d == "none" else shape, d) for d in domains)


def _elementwise(subject: Subject, domains: list[str]) -> tuple[tuple[int, ...], tuple]:
    """The shape of arguments on which it is a function of numbers, and those arguments."""
    refused = ValueError(
        f"accuracy: expected a function of numbers, entry by entry, got {subject.name}: close over "
        "its other entries, as in lambda z: softmax(jnp.stack([z, 0.0]))[0]"
    )
    if "integers" in domains or not set(domains) - {"none"}:
        raise refused
    three = np.asarray([0.25, 0.5, 0.75], np.float32)

    @jax.jit
    def compiled(x: Any) -> Any:
        return subject.forward(*(None if d == "none" else x for d in domains))

    def call(x: np.ndarray) -> np.ndarray:
        return np.asarray(compiled(x))

    try:
        alone = call(three)
        if alone.shape == (3,):
            poisoned = call(np.where([False, True, False], np.nan, three).astype(np.float32))
            if call(three[0]).shape == () and np.array_equal(alone[::2], poisoned[::2]):
                return (), _specs((), domains)
        # a sum, or mean, over the last axis
        single = [call(three[k : k + 1]) for k in range(3)]
        if alone.shape == () and all(y.shape == () for y in single):
            close = [np.allclose(alone, f(single), rtol=1e-5, atol=1e-6) for f in (np.sum, np.mean)]
            if any(close):
                return (1,), _specs((1,), domains)
    except (TypeError, ValueError, IndexError):
        pass
    raise refused


def _place(name: str, free: list[str], argument: str | int | None) -> int:
    if argument is None:
        return free.index("z") if "z" in free else 0
    if isinstance(argument, int) and 0 <= argument < len(free):
        return argument
    if argument in free:
        return free.index(argument)
    raise ValueError(f"accuracy: expected an argument of {name}({', '.join(free)}), got {argument}")


# Sweeps: what is known of each block of neighbours, for each part


def _nothing(asked: Question) -> dict[str, np.ndarray]:
    parts, blocks = len(asked.names), asked.line.blocks
    return {
        "worst": np.zeros(
            (2, parts, blocks), np.float32
        ),  # ULPs of the truth, and of the largest term
        "grid": np.zeros((2, parts, blocks), np.uint16),  # the set of others there
        "count": np.zeros((len(FINDINGS), parts, blocks), np.int64),
        "searched": np.zeros((2, 0), np.uint64),  # place and set of others, where few are tried
        "done": np.zeros((), np.int64),
        "inputs": np.zeros((), np.int64),
        "seconds": np.zeros(()),
    }


def _merge(state: dict, blocks: np.ndarray, g: int, worst: Any, count: Any, inputs: int) -> None:
    """What was found in some blocks, each once."""
    worst = np.asarray(worst, np.float32)
    larger = worst > state["worst"][..., blocks]
    state["grid"][..., blocks] = np.where(larger, g, state["grid"][..., blocks])
    state["worst"][..., blocks] = np.maximum(state["worst"][..., blocks], worst)
    state["count"][..., blocks] += count
    state["inputs"] += inputs


def _merge_places(asked: Question, state: dict, places: np.ndarray, g: int) -> np.ndarray:
    """The same for what is found at places; the errors there."""
    _, _, *errors, flags = asked.judged(places, g)
    block = (places // np.uint64(asked.line.width)).astype(np.int64)
    blocks, inverse = np.unique(block, return_inverse=True)
    worst = np.zeros((2, len(asked.names), len(blocks)))
    count = np.zeros((len(FINDINGS), len(asked.names), len(blocks)), np.int64)
    for part in range(len(asked.names)):
        for metric in range(2):
            np.maximum.at(worst[metric, part], inverse, errors[metric][part])
        for bit in range(len(FINDINGS)):
            np.add.at(count[bit, part], inverse, (flags[part] >> bit) & 1)
    _merge(state, blocks, g, worst, count, len(places))
    return np.stack(errors)


def _sweep(asked: Question, state: dict, store: Checkpoint) -> None:
    """All blocks on all devices, with each set of the other arguments."""
    line, devices = asked.line, len(jax.devices())
    rows = max(1, min(line.blocks, CHUNK // asked.samples) // devices) * devices
    chunks = -(-line.blocks // rows)
    few = max(1, rows // 16 // devices) * devices
    again = thorough(asked, few)
    run = looker(asked, rows, again)
    for step in store.steps(state, chunks * len(asked.grid)):
        g, c = divmod(step, chunks)
        blocks = np.arange(c * rows, min((c + 1) * rows, line.blocks))
        worst, count = run(blocks, asked.others(g))
        _merge(state, blocks, g, worst, count, len(blocks) * asked.samples)
    _settle(asked, state, few, again)


def _settle(asked: Question, state: dict, few: int, again: Callable) -> None:
    """The largest errors, where a first look has only bounded them.

    It counts what lies outside the domain and at kinks, and has no largest terms.
    """
    line = asked.line
    ends = line.wide(line.numbers(_ends(line)))
    outside = (ends[1] < asked.domain[0]) | (ends[0] > asked.domain[1])  # and NaN is inside
    state["worst"][..., outside] = 0
    known = outside
    for metric, part in np.ndindex(2, len(asked.names)):
        bound = state["worst"][metric, part]
        while True:
            open_ = np.flatnonzero(~known & (bound > bound[known].max(initial=0.0)))
            if not len(open_):
                break
            some = open_[np.argsort(-bound[open_], kind="stable")[:few]]
            found = np.stack([again(some, asked.others(g))[0] for g in range(len(asked.grid))])
            state["worst"][..., some] = found.max(axis=0)
            state["grid"][..., some] = found.argmax(axis=0)
            known[some] = True


def _ends(line: Any) -> np.ndarray:
    """The first and the last place of each block."""
    first = np.arange(line.blocks, dtype=np.uint64) * np.uint64(line.width)
    return np.stack([first, first + np.uint64(line.width - 1)])


def _shared() -> NamedSharding:
    """Blocks spread over all devices."""
    return NamedSharding(Mesh(np.asarray(jax.devices()), ("blocks",)), PartitionSpec("blocks"))


def _repeated(blocks: np.ndarray, size: int) -> np.ndarray:
    """As many blocks each time, for which programs are compiled."""
    return np.resize(blocks, size).astype(np.uint32)


def looker(asked: Question, rows: int, again: Callable) -> Callable:
    """A function of up to so many blocks and the other arguments: largest errors, and counts.

    It is several programs: XLA would fuse the errors into their maxima, and compute them one by
    one. An ordinary block needs no second look, by `again`, which takes five times as long. The
    errors of one are bounds: see `_settle`.
    """
    line, share = asked.line, _shared()
    limits, enough = line.limits, BOUNDS[line.kind.name]
    has_nan = np.isnan(line.numbers(_ends(line))).any(axis=0)  # they lie at both ends of the line

    def error(got, truth):
        got, size = got.astype(truth.dtype), jnp.abs(truth)
        far = in_ulps(jnp.abs(got - truth), size, limits)
        if line.flushes[0]:
            far = jnp.where((got == 0) & (size < float(limits.tiny)), 0, far)
        far = far.astype(jnp.float32)  # half as much to read again
        return jnp.where(jnp.isnan(far), jnp.inf, far)  # jaxlib 0.10.2's maximum may drop NaN

    @functools.partial(jax.jit, in_shardings=(share, None))
    def errors(blocks, others):
        xs = asked.spread(asked.numbers(blocks), others)
        return list(map(error, asked.got(xs), asked.form(xs)[0]))

    @jax.jit
    def largest(far):
        return jnp.stack([e.reshape(-1, asked.samples).max(axis=-1) for e in far])

    def run(blocks, others):
        worst = np.asarray(largest(errors(_repeated(blocks, rows), others)))[:, : len(blocks)]
        doubtful = np.flatnonzero((worst > enough).any(axis=0) | has_nan[blocks])
        worst = np.stack([worst] * 2)
        count = np.zeros((len(FINDINGS), *worst.shape[1:]), np.int64)
        if len(doubtful):
            worst[..., doubtful], count[..., doubtful] = again(blocks[doubtful], others)
        return worst, count

    return run


def thorough(asked: Question, few: int) -> Callable:
    """The same of any number of blocks, so many at a time, with all that is measured."""
    samples, parts = asked.samples, len(asked.names)
    numbers = jax.jit(asked.numbers, in_shardings=_shared())

    @jax.jit
    def tally(error, term, flags):
        worst = [e.reshape(parts, -1, samples).max(axis=-1) for e in (error, term)]
        # three counts in one sum: each needs 17 bits
        wide = flags.reshape(parts, -1, samples).astype(jnp.int64)
        counts = []
        for bit in range(0, len(FINDINGS), 3):
            three = [((wide >> (bit + k)) & 1) << (20 * k) for k in range(3)]
            total = sum(three).sum(axis=-1)
            counts += [(total >> (20 * k)) & (2**20 - 1) for k in range(3)]
        return jnp.stack(worst), jnp.stack(counts[: len(FINDINGS)])

    def run(blocks, others):
        found = []
        for at in range(0, len(blocks), few):
            some = blocks[at : at + few]
            both = tally(*asked.looked_at(numbers(_repeated(some, few)), others))
            found.append([np.asarray(f)[..., : len(some)] for f in both])
        return tuple(np.concatenate(column, axis=-1) for column in zip(*found, strict=True))

    return run


def _sweep_exactly(asked: Question, state: dict, store: Checkpoint) -> None:
    """The same with exact arithmetic as the truth: in half precision all, else few."""
    blocks = np.arange(0, asked.line.blocks, 1 if asked.line.bits == 16 else 32)
    chunks = np.array_split(blocks, max(1, len(blocks) * asked.samples // 1024))
    for step in store.steps(state, len(chunks) * len(asked.grid)):
        g, c = divmod(step, len(chunks))
        _merge_places(asked, state, np.concatenate([asked.tried(b) for b in chunks[c]]), g)


def _search(asked: Question, state: dict) -> None:
    """float64: from each exponent and threshold uphill, with exact arithmetic as the truth."""
    rng = np.random.default_rng(asked.seed)
    parts, last = len(asked.names), 2**asked.line.bits

    for g in range(len(asked.grid)):
        places, errors = np.zeros(0, np.uint64), np.zeros((2, parts, 0))

        def look(some: Any, g: int = g) -> None:
            nonlocal places, errors
            new = np.setdiff1d(np.asarray(some, np.uint64), places)
            places = np.concatenate([places, new])
            errors = np.concatenate([errors, _merge_places(asked, state, new, g)], axis=-1)

        step = 1 if g == 0 else 8
        starts = asked.line.exponents()[g % step :: step]
        starts = starts + rng.integers(0, 2**asked.line.limits.nmant, len(starts), np.uint64)
        look(np.concatenate([starts, asked.thresholds()]))
        for metric, part in np.ndindex(2, parts):
            for bits in range(48, -1, -8 if g else -4):
                best = np.sort(places[np.argsort(-errors[metric, part], kind="stable")[:12]])
                moves = rng.integers(1, 2 ** (bits + 4), (len(best), 3)).astype(np.int64)
                tried = best.astype(object)[:, None] + moves * rng.choice([-1, 1], moves.shape)
                look([k for k in tried.ravel() if 0 <= k < last])
        tagged = np.stack([places, np.full(len(places), g, np.uint64)])
        state["searched"] = np.concatenate([state["searched"], tagged], axis=1)
