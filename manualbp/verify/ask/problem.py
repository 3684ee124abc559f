"""The question in numbers: a subject, its definition, and arguments of one shape, dtype and domain.

Programs are traced in the dtypes that were asked about. Numbers travel as flat lists of float64
(and integer) arrays: the parts of the arguments that are arrays, then the parts of one cotangent
for each floating leaf of the value. A complex array is two parts, its real and imaginary one. A key
is fixed, and part of the program.
"""

import functools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from manualbp.verify.ask import domains, size, thresholds
from manualbp.verify.ask.subject import ContractBroken, Subject, kind_of
from manualbp.verify.numbers import wide
from manualbp.verify.numbers.operations import operations, programs_in
from manualbp.verify.numbers.walk import is_floating

# Points at which lines in search of thresholds start
_BASES = 6
# Numbers in a stack of points, and in one that is run at once, at most
_MOST_NUMBERS, _AT_ONCE = 2**24, 2**22
# Operations of both programs over a stack of points, at most; and for the search of thresholds
_MOST_OPERATIONS, _SEARCHED = 1e10, 2e8


class Part(NamedTuple):
    """An array of real numbers: a leaf, or one half of a complex one."""

    place: int  # of the leaf
    half: str  # "", "re" or "im"
    dtype: np.dtype  # of the leaf
    shape: tuple[int, ...]


@dataclass(frozen=True)
class Traced:
    """The programs as jaxprs in the dtypes asked for: leaves and cotangents in, real parts out.

    Attributes:
      ours: value and pulled cotangents of the subject.
      truth: those of the definition by jax.vjp; None where JAX cannot differentiate it.
      loss: the definition's value against the cotangents.
    """

    ours: Any
    truth: Any
    loss: Any


class Problem:
    """A subject, its definition, and arguments described by specifications."""

    def __init__(
        self,
        subject: Subject,
        definition: Callable[..., Any],
        args: tuple,
        argnums: Sequence[int] | None = None,
        names: Sequence[str] = (),
        wide_mode: bool = False,
        intended: Callable[..., Any] | None = None,
    ):
        self.intended = intended
        self.subject, self.definition, self.argnums = subject, definition, argnums
        self.argument_names = tuple(names)
        paths, self.tree = jax.tree_util.tree_flatten_with_path(args, is_leaf=lambda x: x is None)
        leaves = [domains.Spec((), "none") if x is None else x for _, x in paths]
        self.specs = [domains.spec_of(x) for x in leaves]
        self.paths = [_path_text(path, self.argument_names) for path, _ in paths]
        self.places = [path[0].idx for path, _ in paths]
        self.keys = [jax.tree_util.keystr(path[1:]) for path, _ in paths]
        rng = np.random.default_rng(0)
        self._fixed = {i: _fixed_value(s, rng) for i, s in enumerate(self.specs) if s.fixed}
        self.parts = [
            part
            for i, s in enumerate(self.specs)
            if i not in self._fixed
            for part in _parts(i, _dtype(s), s.shape)
        ]
        wanted = range(len(args)) if argnums is None else argnums
        self.differentiated = [
            k
            for k, part in enumerate(self.parts)
            if not self.specs[part.place].integral and paths[part.place][0][0].idx in wanted
        ]
        # 64-bit mode where it was asked for, by a dtype or by the user's own setting
        self.wide_mode = wide_mode or any((p.dtype.itemsize >= 8 and p.half == "") or
                                          p.dtype == np.complex128 for p in self.parts)  # fmt: skip

    @property
    def dtype(self) -> np.dtype:
        """The narrowest floating dtype among the arguments: what half its digits are."""
        own = [_real(self.parts[k].dtype) for k in self.differentiated]
        own = own or [_real(p.dtype) for p in self.parts if p.dtype.kind in "fVc"]
        return max(own, key=lambda d: float(jnp.finfo(d).eps), default=np.dtype(np.float32))

    def mode(self) -> Any:
        """64-bit mode as the question has it."""
        return jax.enable_x64(self.wide_mode)

    def with_specs(self, specs: Sequence[Any]) -> "Problem":
        """The same question about arguments of other shapes or dtypes."""
        return Problem(
            self.subject, self.definition, self.tree.unflatten(specs), self.argnums,
            self.argument_names, self.wide_mode, self.intended,
        )  # fmt: skip

    def argument(self, i: int) -> str:
        """How a user would name the i-th argument."""
        names = self.argument_names
        return names[i] if i < len(names) else f"argument {i}"

    @property
    def asked_in_words(self) -> tuple[str, ...]:
        """Name, dtype and domain of each argument that is no constant."""
        return tuple(
            f"{path}: {domains.describe(spec)}"
            for path, spec in zip(self.paths, self.specs, strict=True)
            if spec.domain not in ("none", "static")
        )

    @property
    def free(self) -> list[int]:
        """Which leaf each part belongs to."""
        return [part.place for part in self.parts]

    def path_of(self, k: int) -> str:
        """The k-th differentiated part as Python finds it among the cotangents: "0['w']"."""
        part = self.parts[self.differentiated[k]]
        return f"[{self.places[part.place]}]{self.keys[part.place]}"

    def name_of(self, k: int) -> str:
        """How a user would write the k-th differentiated part."""
        part = self.parts[self.differentiated[k]]
        half = {"": "", "re": ", real part", "im": ", imaginary part"}[part.half]
        return self.paths[part.place] + half

    # Points

    def spec(self, k: int) -> domains.Spec:
        """The specification of a part: of a half of a complex array, a real one."""
        part = self.parts[k]
        spec = self.specs[part.place]
        return spec if not part.half else replace(spec, dtype=str(_real(part.dtype)))

    def contains(self, point: Sequence[Any]) -> bool:
        """Whether the leaves of a point (cotangents may follow) are in their domains and dtypes."""
        return all(
            self.spec(k).contains(x) and _fits(x, self.parts[k].dtype)
            for k, x in zip(range(len(self.parts)), point, strict=False)
        )

    def draw(self, rng: np.random.Generator, style: str) -> list:
        """Array leaves for one point."""
        return [domains.draw(self.spec(k), rng, style) for k in range(len(self.parts))]

    def draw_styles(self, rng: np.random.Generator, points: int) -> list:
        """Array leaves for many points, stacked, in every style in turn."""
        return [domains.draw_styles(self.spec(k), rng, points) for k in range(len(self.parts))]

    def centre(self) -> list | None:
        """The centre of the domain: equal eigenvalues, equal shares; None where there is none."""
        rng = np.random.default_rng(0)
        found = []
        for k in range(len(self.parts)):
            centre = self.spec(k).centre()
            found.append(domains.draw(self.spec(k), rng, "round") if centre is None else centre)
        return found

    def given_leaves(self, args: tuple) -> list | None:
        """The parts of concrete arguments; None where some are specifications."""
        leaves = jax.tree.leaves(args, is_leaf=lambda x: x is None)
        found = [leaves[p.place] for p in self.parts]
        if any(isinstance(x, domains.Spec | jax.ShapeDtypeStruct) for x in found):
            return None
        return [_half(np.asarray(x), p.half) for x, p in zip(found, self.parts, strict=True)]

    def cotangents(self, rng: np.random.Generator, style: str) -> list:
        """One cotangent for each part of the value, in float64."""
        return [x[0] for x in self._cotangents(rng, style, 1)]

    def cotangents_styles(self, rng: np.random.Generator, points: int) -> list:
        """Cotangents for many points, stacked: round and normal ones in turn."""
        both = [
            self._cotangents(rng, style, len(range(k, points, 2)))
            for k, style in enumerate(("round", "normal"))
        ]
        out = []
        for even, odd in zip(*both, strict=True):
            x = np.empty((points, *even.shape[1:]))
            x[::2], x[1::2] = even, odd
            out.append(x)
        return out

    def _cotangents(self, rng: np.random.Generator, style: str, points: int) -> list:
        out = []
        for part in self.value_parts:
            if style == "round":
                x = rng.choice([-2.0, -1.0, 1.0, 2.0, 3.0], (points, *part.shape))
            else:
                x = rng.normal(size=(points, *part.shape)) + 0.5
            out.append(np.asarray(x, _real(part.dtype)).astype(np.float64))
        return out

    def points_that_fit(self, most: int, numbers: float = _MOST_NUMBERS) -> int:
        """So many points that a stack of them stays small, and is soon run."""
        size = sum(math.prod(p.shape) for p in (*self.parts, *self.value_parts))
        return int(max(2, min(most, numbers // max(size, 1), _MOST_OPERATIONS // self.cost)))

    @functools.cached_property
    def cost(self) -> int:
        """Operations of both programs."""
        truth = self.traced.truth if self.traced.truth is not None else self.traced.loss
        return max(1, operations(self.traced.ours) + operations(truth))

    # Arguments, values and cotangents from parts

    def arguments(self, leaves: Sequence[Any]) -> tuple:
        """The tuple of arguments whose parts these are."""
        by_place = dict(self._fixed)
        for part, x in zip(self.parts, leaves, strict=True):
            if part.half == "im":
                by_place[part.place] = _complex(by_place[part.place], x, part.dtype)
            else:
                by_place[part.place] = x
        return self.tree.unflatten([by_place[i] for i in range(len(self.specs))])

    def concrete(self, leaves: Sequence[Any]) -> list:
        """Parts of arguments as a user passes them: of a Python number, itself."""
        return [
            x.item() if self.specs[part.place].weak and not part.half else x
            for part, x in zip(self.parts, leaves, strict=True)
        ]

    def asked(self, leaves: Sequence[Any]) -> list:
        """Parts (cotangents may follow) in the dtypes that the programs take."""
        kinds = [_real(p.dtype) for p in (*self.parts, *self.value_parts)]
        return [np.asarray(x).astype(d) for x, d in zip(leaves, kinds, strict=False)]

    def held(self, k: int, x: Any) -> np.ndarray:
        """The k-th part of a point as its dtype holds it, in float64."""
        dtype = _real((*self.parts, *self.value_parts)[k].dtype)
        x = np.asarray(x)
        return x.astype(dtype).astype(np.float64) if x.dtype.kind == "f" else x

    @functools.cached_property
    def value_shape(self) -> Any:
        """The tree of shapes and dtypes of the definition's value."""
        with self.mode():
            return jax.eval_shape(
                lambda *xs: self.definition(*self.arguments(xs)), *self.leaf_forms
            )

    @functools.cached_property
    def value_parts(self) -> list[Part]:
        """The real parts of the value's floating leaves."""
        leaves = jax.tree.leaves(self.value_shape)
        return [p for i, x in enumerate(leaves) for p in _parts(i, x.dtype, x.shape)
                if jnp.issubdtype(x.dtype, jnp.inexact)]  # fmt: skip

    @functools.cached_property
    def leaf_forms(self) -> list:
        """Shapes and dtypes of the parts of the arguments."""
        return [
            jax.ShapeDtypeStruct(p.shape, _real(p.dtype), weak_type=self.specs[p.place].weak)
            for p in self.parts
        ]

    @functools.cached_property
    def dy_forms(self) -> list:
        """Shapes and dtypes of the parts of a cotangent."""
        return [jax.ShapeDtypeStruct(p.shape, _real(p.dtype)) for p in self.value_parts]

    def _dy(self, cotangents: Sequence[Any]) -> Any:
        """The cotangent of the value, as jax.vjp takes it.

        z = x + iy comes apart as (x, y), so that (a, b) goes back as a - ib: JAX's convention.
        """
        leaves, tree = jax.tree.flatten(self.value_shape)
        out: list[Any] = [np.zeros(x.shape, jax.dtypes.float0) for x in leaves]
        for part, c in zip(self.value_parts, cotangents, strict=True):
            c = jnp.asarray(c, _real(part.dtype))
            if part.half == "im":
                out[part.place] = _complex(out[part.place], -c, part.dtype)
            else:
                out[part.place] = c
        return tree.unflatten(out)

    # The programs

    def ours(
        self, leaves: Sequence[Any], cotangents: Sequence[Any], inspect: Callable | None = None
    ) -> tuple[list, list]:
        """The subject's value and its own backward pass: real parts of each.

        `inspect(args, y, given)`, where there is one, sees what the subject gives.
        """
        args = self.arguments(leaves)
        y, given = self.subject.backward(args, self._dy(cotangents))
        flat = flat_cotangents(self.tree, args, given)
        if inspect is not None:
            inspect(args, y, given)
        return value_parts(y), [
            _pulled(flat[self.parts[k].place], self.parts[k].half) for k in self.differentiated
        ]

    def truth(self, leaves: Sequence[Any], cotangents: Sequence[Any]) -> tuple[list, list]:
        """The definition's value and jax.vjp of it; or the derivative that is intended."""
        if self.intended is not None:
            args, dy = self.arguments(leaves), self._dy(cotangents)
            given = self.intended(*args, dy)
            given = given if isinstance(given, tuple) and len(args) > 1 else (given,)
            given = given[0] if isinstance(given[0], tuple) else given
            flat = flat_cotangents(self.tree, args, given)
            return value_parts(self.definition(*args)), [
                _pulled(flat[self.parts[k].place], self.parts[k].half) for k in self.differentiated
            ]

        def of_differentiated(differentiated):
            return self.definition(*self.arguments(self.with_moved(leaves, differentiated)))

        y, pull = jax.vjp(of_differentiated, [leaves[k] for k in self.differentiated])
        return value_parts(y), pull(self._dy(cotangents))[0]

    def loss(self, leaves: Sequence[Any], cotangents: Sequence[Any]) -> Any:
        """The definition's value against the cotangents: the number whose gradient is judged."""
        y = value_parts(self.definition(*self.arguments(leaves)))
        dtype = np.float64 if self.wide_mode else np.float32
        terms = (
            jnp.sum(a.astype(dtype) * b.astype(dtype)) for a, b in zip(y, cotangents, strict=True)
        )
        return sum(terms, jnp.zeros((), dtype))

    def with_moved(self, leaves: Sequence[Any], differentiated: Sequence[Any]) -> list:
        """The leaves, with others in the places of those that are differentiated."""
        new = list(leaves)
        for k, x in zip(self.differentiated, differentiated, strict=True):
            new[k] = x
        return new

    def trace(self, function: Callable) -> Any:
        """A function of (leaves, cotangents) as a jaxpr, in the dtypes asked for."""
        with self.mode():
            closed = jax.make_jaxpr(function)(self.leaf_forms, self.dy_forms)
        if _leaks(closed):
            raise RuntimeError("a custom rule in it closes over a value that is differentiated")
        return closed

    def trace_ours(self, inspect: Callable | None = None) -> Any:
        """`ours` as a jaxpr, traced once."""
        if self._ours is None:
            self._ours = self.trace(functools.partial(self.ours, inspect=inspect))
        return self._ours

    _ours: Any = None
    formed: list | None = None  # what the form was found to be, when the subject was traced

    @functools.cached_property
    def traced_truth(self) -> Any:
        """`truth` as a jaxpr; None where JAX cannot differentiate the definition."""
        try:
            return self.trace(self.truth)
        except Exception as error:  # whatever JAX raises of a loop, a callback or a kernel
            self.why_no_autodiff = f"{type(error).__name__}: {first_line(error)}"
            return None

    why_no_autodiff = ""

    @functools.cached_property
    def traced(self) -> Traced:
        """All programs."""
        return Traced(self.trace_ours(), self.traced_truth, self.trace(self.loss))

    @functools.cached_property
    def derivative_is_given(self) -> bool:
        """Whether the definition states derivatives of its own, which its value does not know."""
        return self.intended is not None or "custom_vjp_call" in str(self.traced.loss.jaxpr)

    @functools.cached_property
    def iterates(self) -> bool:
        """Whether the definition is a loop that JAX cannot differentiate."""
        return self.traced.truth is None and "while[" in str(self.traced.loss.jaxpr)

    @functools.cached_property
    def traced_value(self) -> Any:
        """The definition's value alone, as a jaxpr of leaves and cotangents."""
        return self.trace(lambda leaves, dy: value_parts(self.definition(*self.arguments(leaves))))

    def split(self, results: Sequence[Any]) -> tuple[list, list]:
        """A program's results: parts of the value, and of the cotangents."""
        n = len(self.value_parts)
        return list(results[:n]), list(results[n:])

    # The programs over stacks of points

    def run(self, stacks: Sequence[Any]) -> tuple[Any, Any, np.ndarray]:
        """Both programs in float64 over a stack of points; and their decisions, a row a point.

        The definition's cotangents are None where JAX cannot differentiate it.
        """
        stacks = [np.asarray(x) for x in stacks]
        n, most = len(stacks[0]), self.batch
        found = []
        for start in range(0, n, most):  # as many at a time, so that nothing is compiled twice
            rows = np.resize(np.arange(start, min(start + most, n)), most)
            found.append(jax.tree.map(np.asarray, self.compiled(*(x[rows] for x in stacks))))
        both, went = jax.tree.map(lambda *parts: np.concatenate(parts)[:n], *found)
        ours, truth = map(self.split, both)
        return ours, truth if self.traced.truth is not None else (truth[0], None), went

    @functools.cached_property
    def batch(self) -> int:
        """So many points are run at once."""
        return self.points_that_fit(len(thresholds.GRID), _AT_ONCE)

    @functools.cached_property
    def _options(self) -> dict[str, Any]:
        """Of the compiler: a program of loops runs far longer than optimising it takes."""
        programs = [p for p in (self.traced.ours, self.traced.truth) if p is not None]
        looped = [p for p in programs if any(name in str(p.jaxpr) for name in _LOOPS)]
        return {} if sum(map(operations, looped)) > _HEAVY else quick_options()

    @functools.cached_property
    def compiled(self) -> Callable[..., Any]:
        """Results and decisions of both over a stack of points."""
        definition = self.traced.truth if self.traced.truth is not None else self.traced_value
        run, self.branches = thresholds.decisions([self.traced.ours, definition])
        return mapped(run, options=self._options)

    branches: list = []  # noqa: RUF012  # filled in when `compiled` is traced

    def native(self, stacks: Sequence[Any]) -> tuple[Any, Any]:
        """Both programs in the dtypes asked for, over a stack of points; results in float64."""
        kinds = [_real(p.dtype) for p in (*self.parts, *self.value_parts)]
        given = [np.asarray(x).astype(d) for x, d in zip(stacks, kinds, strict=True)]
        n, most = len(given[0]), self.batch
        found = []
        for start in range(0, n, most):  # as many at a time, so that nothing is compiled twice
            rows = np.resize(np.arange(start, min(start + most, n)), most)
            with self.mode():
                both = self._native(*(x[rows] for x in given))
            found.append([np.asarray(x).astype(np.float64) for x in both])
        results = [np.concatenate(x)[:n] for x in zip(*found, strict=True)]
        k = len(self.traced.ours.out_avals)
        ours, truth = self.split(results[:k]), self.split(results[k:])
        return ours, truth if self.traced.truth is not None else (truth[0], None)

    @functools.cached_property
    def _native(self) -> Callable[..., Any]:
        truth = self.traced.truth if self.traced.truth is not None else self.traced_value
        ours, truth = wide.bounded(self.traced.ours), wide.bounded(truth)
        return mapped(lambda *xs: [*ours(*xs), *truth(*xs)], options=self._options)

    @functools.cached_property
    def compiled_loss(self) -> Callable[..., Any]:
        """The definition's value against the cotangents, in float64, at points beside one.

        A function of (point, moved), stacks of the arrays that move, by place: what `stop_gradient`
        holds is held as it is at the point.
        """

        def held(point: list, rows: dict[int, Any]) -> Any:
            holding = wide.Holding()
            wide.widened(self.traced.loss, holding=holding)(*point)
            moved = [rows.get(k, x) for k, x in enumerate(point)]
            return wide.widened(self.traced.loss, holding=holding.replayed())(*moved)[0]

        programs: dict = {}

        def run(point: list, moved: dict[int, Any]) -> Any:
            if "program" not in programs:
                programs["program"] = jit_quickly(
                    lambda point, moved: jax.vmap(functools.partial(held, point))(moved)
                )
                try:
                    return programs["program"](point, moved)
                except Exception:  # a primitive without a batching rule
                    one = jit_quickly(held)
                    programs["program"] = lambda point, moved: np.stack(
                        [
                            one(point, dict(zip(moved, row, strict=True)))
                            for row in zip(*moved.values(), strict=True)
                        ]
                    )
            return programs["program"](point, moved)

        return run

    @functools.cached_property
    def thresholds(self) -> list[list]:
        """Inputs (leaves, then cotangents) where either program changes its way, and beside."""
        if self.cost * len(thresholds.GRID) * thresholds.MOST_LINES > _SEARCHED:
            return size.thresholds(self)
        rng = np.random.default_rng(0)
        starts = zip(*self.draw_styles(rng, _BASES), strict=True)
        dys = self.cotangents(rng, "round")
        movable = [k for k in self.differentiated if self.spec(k).movable]
        movable += range(len(self.parts), len(self.parts) + len(dys))
        points = [[*p, *dys] for p in starts]

        def decide(*xs: Any) -> Any:
            return self.run(xs)[2]

        self.run([np.stack([x]) for x in points[0]])  # which fills in the branches
        found = thresholds.find(decide, self.branches, points, movable, self._projected)
        return [p for p in found if self.contains(p)]

    def _projected(self, point: list) -> list:
        """A point whose moved entries are brought back to their domains."""
        n = len(self.parts)
        return [*(self.spec(k).project(x) for k, x in enumerate(point[:n])), *point[n:]]


def _leaks(closed: Any) -> bool:
    """Whether a program holds a value of a trace that is over."""
    own = any(isinstance(x, jax.core.Tracer) for x in closed.consts)
    return own or any(_leaks(p) for eqn in closed.jaxpr.eqns for p in programs_in(eqn))


# Programs that are worth optimising: the numbers they make, in loops
_LOOPS, _HEAVY = ("while[", "scan["), 5_000


def mapped(function: Callable, options: dict[str, Any] | None = None) -> Callable[..., Any]:
    """The function over stacks, compiled; one point after the other where it cannot be mapped.

    Args:
      function: of the arrays of one point.
      options: of the compiler; quick ones if None.
    """
    options = quick_options() if options is None else options
    together = jax.jit(jax.vmap(function), compiler_options=options)
    alone = jax.jit(function, compiler_options=options)
    works: list[bool] = []

    def run(*stacks: Any) -> Any:
        if not works:
            try:
                found = together(*stacks)
                works.append(True)
                return found
            except Exception:  # a primitive without a batching rule
                works.append(False)
        if works[0]:
            return together(*stacks)
        rows = [alone(*row) for row in zip(*stacks, strict=True)]
        return jax.tree.map(lambda *xs: np.stack(xs), *rows)

    return run


def jit_quickly(function: Callable) -> Callable:
    """Compiled quickly: such a program runs a few times."""
    return jax.jit(function, compiler_options=quick_options())


@functools.cache
def quick_options() -> dict[str, Any]:
    """Options of XLA; emitting fusions through MLIR takes longer than all else on a CPU."""
    options = {"xla_backend_optimization_level": 0, "xla_cpu_use_fusion_emitters": False}
    try:
        jax.jit(lambda: 0, compiler_options=options).lower().compile()
    except jax.errors.JaxRuntimeError:  # one that this XLA does not have
        del options["xla_cpu_use_fusion_emitters"]
    return options


def value_parts(tree: Any) -> list:
    """The real parts of a value's floating leaves."""
    out: list[Any] = []
    for x in map(jnp.asarray, jax.tree.leaves(tree)):
        if is_floating(x.dtype):
            out.append(x)
        elif jnp.issubdtype(x.dtype, jnp.complexfloating):
            out += [lax.real(x), lax.imag(x)]
    return out


def flat_cotangents(tree: Any, args: tuple, given: Any) -> list:
    """One cotangent a leaf of the arguments, whose tree it is; zeros where None was given.

    Raises:
      ContractBroken: the cotangents are not in the arguments' tree.
    """
    if not isinstance(given, tuple | list) or len(given) != len(args):
        raise ContractBroken(
            "structure",
            f"expected a tuple of {len(args)} cotangents, one an argument, got {kind_of(given)}",
        )
    flat: list = []
    for i, (own, arg, cotangent) in enumerate(zip(tree.children(), args, given, strict=True)):
        leaves, tree = jax.tree.flatten(arg, is_leaf=lambda x: x is None)
        if own.num_leaves != len(leaves):  # a constant that is a container
            flat.append(None)
            continue
        if cotangent is None and arg is not None:
            flat.extend(_zero(x) for x in leaves)
            continue
        found, other = jax.tree.flatten(cotangent, is_leaf=lambda x: x is None)
        if other != tree:
            raise ContractBroken(
                "structure",
                f"expected the cotangent of argument {i} to have the tree {tree}, got {other}",
            )
        flat.extend(_zero(x) if c is None else c for c, x in zip(found, leaves, strict=True))
    return flat


def _zero(x: Any) -> Any:
    if not (hasattr(x, "dtype") or isinstance(x, bool | int | float | complex)):
        return None
    dtype = jnp.result_type(x)
    if jnp.issubdtype(dtype, jnp.inexact):
        return jnp.zeros(jnp.shape(x), dtype)
    return np.zeros(jnp.shape(x), jax.dtypes.float0)


def _pulled(cotangent: Any, half: str) -> Any:
    """A cotangent, or a half of one: of x + iy it is u - iv, so that v is minus its half."""
    if not half:
        return jnp.asarray(cotangent)
    if not jnp.issubdtype(jnp.result_type(cotangent), jnp.complexfloating):
        return cotangent if half == "re" else jnp.zeros_like(cotangent)
    return lax.real(cotangent) if half == "re" else -lax.imag(cotangent)


def _parts(place: int, dtype: Any, shape: tuple[int, ...]) -> list[Part]:
    halves = ("re", "im") if jnp.issubdtype(dtype, jnp.complexfloating) else ("",)
    return [Part(place, half, np.dtype(dtype), tuple(shape)) for half in halves]


def _complex(re: Any, im: Any, dtype: Any) -> Any:
    if isinstance(re, np.ndarray) and isinstance(im, np.ndarray):
        return (re + 1j * im).astype(dtype)
    return lax.complex(jnp.asarray(re, _real(dtype)), jnp.asarray(im, _real(dtype)))


def _half(x: np.ndarray, half: str) -> np.ndarray:
    """A part of an array, floating ones in float64."""
    if half:
        x = x.real if half == "re" else x.imag
    return x.astype(np.float64) if is_floating(x.dtype) else x


def _real(dtype: Any) -> np.dtype:
    """The dtype of a part of an array."""
    return np.dtype({"complex64": np.float32, "complex128": np.float64}.get(str(dtype), dtype))


def _dtype(spec: domains.Spec) -> np.dtype:
    return np.dtype(spec.kind) if spec.integral else np.dtype(spec.floating)


def _fits(x: Any, dtype: np.dtype) -> bool:
    """Whether numbers are in the range of a floating dtype."""
    if x.dtype.kind != "f" or not jnp.issubdtype(dtype, jnp.inexact):
        return True
    return bool(np.all(np.abs(x) <= float(jnp.finfo(_real(dtype)).max)))


def _fixed_value(spec: domains.Spec, rng: np.random.Generator) -> Any:
    if spec.domain == "key" and spec.value is not None:
        return spec.value
    return domains.draw(spec, rng, "normal")


def first_line(problem: Exception) -> str:
    """Of an exception's message."""
    lines = str(problem).splitlines()
    return lines[0][:200] if lines else "no message"


def _path_text(path: tuple, names: Sequence[str]) -> str:
    place = path[0].idx
    own = names[place] if place < len(names) else f"argument {place}"
    return f"{own}{jax.tree_util.keystr(path[1:])}"
