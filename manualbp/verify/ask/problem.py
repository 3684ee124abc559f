"""One function under judgement, on arguments of one shape: its programs, compiled and exact."""

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend import core

import manualbp
from manualbp._rule import Rule
from manualbp.verify.ask import domains as _inputs
from manualbp.verify.ask import thresholds as _thresholds
from manualbp.verify.numbers.walk import is_floating

# Points at which lines in search of thresholds start
_BASES = 6


@dataclass(frozen=True)
class Subject:
    """What is judged: a function and the backward pass that somebody wrote for it.

    Attributes:
      name: for the report.
      forward: `forward(*args) -> y`.
      backward: `backward(args, dy) -> (y, cotangents)`: the value that fwd gives, and what bwd
        gives as written, one cotangent an argument.
      definition: the undecorated function, where the subject carries it; else None.
      forward_mode: whether it has a JVP rule.
      importing: the line of Python that imports it as `rule`, or nothing.
    """

    name: str
    forward: Callable[..., Any]
    backward: Callable[[tuple, Any], tuple[Any, Any]]
    definition: Callable[..., Any] | None = None
    forward_mode: bool = False
    importing: str = ""


def subject_of(rule: Any) -> Subject:
    """The subject behind a Rule, a custom_vjp or custom_jvp function or a (fwd, bwd) pair.

    Raises:
      TypeError: it is none of them.
    """
    if isinstance(rule, Rule):
        subject = _of_pair(rule.name, rule.fwd, rule.bwd)
        known = getattr(manualbp, rule.name, None) is rule
        return replace(subject, importing=_importing("manualbp", rule.name)) if known else subject
    custom = custom_of(rule)
    if custom is not None:
        return _of_custom(custom)
    if isinstance(rule, functools.partial) and custom_of(rule.func) is not None:
        whole = _of_custom(custom_of(rule.func))
        bound = functools.partial(whole.definition or rule.func, *rule.args, **rule.keywords)
        pull = functools.partial(_pull_back, rule)
        return Subject(whole.name, rule, pull, bound, whole.forward_mode)
    if isinstance(rule, tuple) and len(rule) == 2 and all(map(callable, rule)):
        return _of_pair(getattr(rule[0], "__name__", "fwd"), *rule)
    raise TypeError(
        "check: expected a Rule, a jax.custom_vjp or custom_jvp function or a pair (fwd, bwd), got "
        f"{type(rule).__name__}: a plain function has no backward pass of its own to judge"
    )


def custom_of(rule: Any) -> Any:
    """The custom_vjp or custom_jvp function itself, under jit and other decorators; else None."""
    while not isinstance(rule, jax.custom_vjp | jax.custom_jvp):
        if not hasattr(rule, "__wrapped__"):
            return None
        rule = rule.__wrapped__
    return rule


def _kept(build: Callable[..., Subject]) -> Callable[..., Subject]:
    """One subject for one rule, so that what is traced for it is found again."""
    cached = functools.lru_cache(maxsize=512)(build)

    def subject(*parts: Any) -> Subject:
        try:
            hash(parts)
        except TypeError:
            return build(*parts)
        return cached(*parts)

    return subject


@_kept
def _of_pair(name: str, fwd: Callable, bwd: Callable) -> Subject:
    def both(args: tuple) -> tuple[Any, Any]:
        results = fwd(*args)
        if not isinstance(results, tuple) or len(results) != 2:
            raise ContractBroken(
                "structure", f"expected fwd to give (value, residuals), got {_kind(results)}"
            )
        return results

    def backward(args: tuple, dy: Any) -> tuple[Any, Any]:
        y, residuals = both(args)
        return y, bwd(residuals, dy)

    return Subject(name, lambda *args: both(args)[0], backward)


def _of_custom(rule: Any) -> Subject:
    # in a notebook a rule is defined again and again
    return _of_rules(rule, *(getattr(rule, name, None) for name in ("fwd", "bwd", "jvp")))


@_kept
def _of_rules(rule: Any, *defined: Any) -> Subject:
    return Subject(
        getattr(rule, "__name__", type(rule).__name__),
        rule,
        functools.partial(_pull_back, rule),
        vars(rule)["__wrapped__"],
        isinstance(rule, jax.custom_jvp),
        _importing_of(rule),
    )


def _importing_of(rule: Any) -> str:
    """The line that imports a function which its module names so, or a comment."""
    module, name = getattr(rule, "__module__", None), getattr(rule, "__qualname__", "")
    if module is None or module == "__main__" or "<" in name or "." in name:
        return f"rule = ...  # {getattr(rule, '__name__', 'your function')}"
    return _importing(module, name)


def _importing(module: str, name: str) -> str:
    return f"from {module} import {name} as rule"


def _pull_back(function: Any, args: tuple, dy: Any) -> tuple[Any, Any]:
    fixed = getattr(function, "nondiff_argnums", ())
    moved = [k for k in range(len(args)) if k not in fixed]

    def of(*xs: Any) -> Any:
        every = list(args)
        for k, x in zip(moved, xs, strict=True):
            every[k] = x
        return function(*every)

    y, pull = jax.vjp(of, *(args[k] for k in moved))
    given = dict(zip(moved, pull(dy), strict=True))
    return y, tuple(given.get(k) for k in range(len(args)))


class Problem:
    """A subject, its definition, and arguments described by specifications.

    Numbers travel as flat lists of arrays: the leaves of the arguments that are arrays, then one
    cotangent for each floating leaf of the value. A key is fixed, and part of the program.
    """

    def __init__(
        self,
        subject: Subject,
        definition: Callable[..., Any],
        args: tuple,
        argnums: Sequence[int] | None = None,
    ):
        self.subject, self.definition = subject, definition
        paths, self.tree = jax.tree_util.tree_flatten_with_path(args, is_leaf=lambda x: x is None)
        leaves = [_inputs.Spec((), "none") if x is None else x for _, x in paths]
        self.specs = [_inputs.spec_of(x) for x in leaves]
        self.paths = [_path_text(path) for path, _ in paths]
        self._shapes: dict[np.dtype, Any] = {}
        self._ours: dict[np.dtype, Any] = {}
        self.kept: dict[str, Any] = {}  # what others find out once and ask again
        rng = np.random.default_rng(0)
        self._fixed = {
            i: _inputs.draw(s, rng, "normal")
            for i, s in enumerate(self.specs)
            if s.domain in ("key", "none", "static")
        }
        self.free = [i for i in range(len(leaves)) if i not in self._fixed]
        self.argnums = argnums
        wanted = range(len(args)) if argnums is None else argnums
        self.differentiated = [
            k
            for k, i in enumerate(self.free)
            if self.specs[i].domain != "integers" and paths[i][0][0].idx in wanted
        ]

    # Arguments and values

    def arguments(self, leaves: Sequence[Any]) -> tuple:
        """The tuple of arguments whose array leaves these are."""
        by_place = dict(zip(self.free, leaves, strict=True))
        return self.tree.unflatten(
            [by_place.get(i, self._fixed.get(i)) for i in range(len(self.specs))]
        )

    def contains(self, point: Sequence[Any]) -> bool:
        """Whether the leaves of a point (cotangents may follow) are in their domains."""
        return all(self.specs[i].contains(x) for i, x in zip(self.free, point, strict=False))

    def name_of(self, k: int) -> str:
        """How a user would write the k-th differentiated argument."""
        return self.paths[self.free[self.differentiated[k]]]

    def draw(self, rng: np.random.Generator, style: str, dtype: Any = np.float64) -> list:
        """Array leaves for one point."""
        drawn = [_inputs.draw(self.specs[i], rng, style) for i in self.free]
        return [x.astype(dtype) if is_floating(x.dtype) else x for x in drawn]

    def draw_styles(self, rng: np.random.Generator, points: int) -> list:
        """Array leaves for many points, stacked, in every style in turn."""
        return [_inputs.draw_styles(self.specs[i], rng, points) for i in self.free]

    def given_leaves(self, args: tuple) -> list | None:
        """The array leaves of concrete arguments; None where some are specifications."""
        leaves = jax.tree.leaves(args, is_leaf=lambda x: x is None)
        found = [leaves[i] for i in self.free]
        if any(isinstance(x, _inputs.Spec) for x in found):
            return None
        arrays = [np.asarray(x) for x in found]
        return [x.astype(np.float64) if is_floating(x.dtype) else x for x in arrays]

    def with_specs(self, specs: Sequence[Any]) -> "Problem":
        """The same question about arguments of other shapes."""
        args = self.tree.unflatten(specs)
        return Problem(self.subject, self.definition, args, self.argnums)

    def values_shape(self, dtype: Any = np.float64) -> Any:
        """The tree of shapes and dtypes of the definition's value."""
        dtype = np.dtype(dtype)
        if dtype not in self._shapes:
            leaves = self.draw(np.random.default_rng(0), "normal", dtype)
            with mode_of(dtype):
                self._shapes[dtype] = jax.eval_shape(
                    lambda *xs: self.definition(*self.arguments(xs)), *leaves
                )
        return self._shapes[dtype]

    def cotangents(self, shape: Any, rng: np.random.Generator, style: str) -> list:
        """One cotangent for each floating leaf of the value, in float64."""
        return [x[0] for x in self._cotangents(shape, rng, style, 1)]

    def cotangents_styles(self, shape: Any, rng: np.random.Generator, points: int) -> list:
        """Cotangents for many points, stacked: round and normal ones in turn."""
        both = [
            self._cotangents(shape, rng, style, len(range(k, points, 2)))
            for k, style in enumerate(("round", "normal"))
        ]
        out = []
        for even, odd in zip(*both, strict=True):
            x = np.empty((points, *even.shape[1:]))
            x[::2], x[1::2] = even, odd
            out.append(x)
        return out

    def _cotangents(self, shape: Any, rng: np.random.Generator, style: str, points: int) -> list:
        out = []
        for leaf in jax.tree.leaves(shape):
            if is_floating(leaf.dtype):
                if style == "round":
                    x = rng.choice([-2.0, -1.0, 1.0, 2.0, 3.0], (points, *leaf.shape))
                else:
                    x = rng.normal(size=(points, *leaf.shape)) + 0.5
                out.append(np.asarray(x, np.float32).astype(np.float64))
        return out

    # Programs of flat lists

    def _dy(self, shape: Any, cotangents: Sequence[Any]) -> Any:
        leaves, tree = jax.tree.flatten(shape)
        given = iter(cotangents)
        return tree.unflatten(
            [
                jnp.asarray(next(given), leaf.dtype)
                if is_floating(leaf.dtype)
                else np.zeros(leaf.shape, jax.dtypes.float0)
                for leaf in leaves
            ]
        )

    def ours(
        self, leaves: Sequence[Any], cotangents: Sequence[Any], inspect: Callable | None = None
    ) -> tuple[list, list]:
        """The subject's value and its own backward pass: floating leaves of each.

        `inspect(args, y, given)`, where there is one, sees what the subject gives.
        """
        args = self.arguments(leaves)
        dtype = next((x.dtype for x in leaves if is_floating(x.dtype)), np.dtype(np.float64))
        y, given = self.subject.backward(args, self._dy(self.values_shape(dtype), cotangents))
        flat = self._flat_cotangents(args, given)
        if inspect is not None:
            inspect(args, y, given)
        return floating_leaves(y), [flat[self.free[k]] for k in self.differentiated]

    def trace_ours(self, dtype: Any, inspect: Callable | None = None) -> Any:
        """`ours` as a jaxpr, for floating arguments of a dtype, traced once."""
        dtype = np.dtype(dtype)
        if dtype not in self._ours:
            with mode_of(dtype):
                leaves, dy = self.example(dtype)
                program = functools.partial(self.ours, inspect=inspect)
                self._ours[dtype] = jax.make_jaxpr(program)(leaves, dy)
        return self._ours[dtype]

    def example(self, dtype: Any = np.float64) -> tuple[list, list]:
        """Leaves and cotangents of the right shapes, to trace programs with."""
        leaves = self.draw(np.random.default_rng(0), "normal", dtype)
        dy = self.cotangents(self.values_shape(dtype), np.random.default_rng(0), "round")
        return leaves, [c.astype(dtype) for c in dy]

    def truth(self, leaves: Sequence[Any], cotangents: Sequence[Any]) -> tuple[list, list]:
        """The definition's value and jax.vjp of it."""
        return self._value_and_pull(self.definition, leaves, cotangents)

    def pull_of(self, function: Callable, leaves: Sequence[Any], cotangents: Sequence[Any]) -> list:
        """jax.vjp of another function of the same arguments."""
        return self._value_and_pull(function, leaves, cotangents)[1]

    def _with(self, leaves: Sequence[Any], differentiated: Sequence[Any]) -> list:
        """The leaves, with others in the places of those that are differentiated."""
        new = list(leaves)
        for k, x in zip(self.differentiated, differentiated, strict=True):
            new[k] = x
        return new

    def _value_and_pull(
        self, function: Callable, leaves: Sequence[Any], cotangents: Sequence[Any]
    ) -> tuple[list, list]:
        def of_differentiated(differentiated):
            return function(*self.arguments(self._with(leaves, differentiated)))

        y, pull = jax.vjp(of_differentiated, [leaves[k] for k in self.differentiated])
        shape = jax.eval_shape(lambda: y)
        return floating_leaves(y), pull(self._dy(shape, cotangents))[0]

    def loss(self, leaves: Sequence[Any], cotangents: Sequence[Any]) -> Any:
        """The definition's value against the cotangents: the number whose gradient is judged."""
        y = floating_leaves(self.definition(*self.arguments(leaves)))
        return sum((jnp.sum(a * b) for a, b in zip(y, cotangents, strict=True)), jnp.zeros(()))

    def _flat_cotangents(self, args: tuple, given: Any) -> list:
        """One cotangent a leaf of the arguments; zeros where None was given."""
        if not isinstance(given, tuple | list) or len(given) != len(args):
            raise ContractBroken(
                "structure",
                f"expected a tuple of {len(args)} cotangents, one an argument, got {_kind(given)}",
            )
        flat: list = []
        for i, (arg, cotangent) in enumerate(zip(args, given, strict=True)):
            leaves, tree = jax.tree.flatten(arg, is_leaf=lambda x: x is None)
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

    # What follows runs the traced programs, so that the user's code is traced once a dtype

    def compiled(self, leaves: Sequence[Any], cotangents: Sequence[Any]) -> tuple[Any, Any]:
        """Both programs over a stack of points: floating leaves of the value, and cotangents."""
        return self.run(leaves, cotangents)[:2]

    def run(self, leaves: Sequence[Any], cotangents: Sequence[Any]) -> tuple[Any, Any, np.ndarray]:
        """The same, and their decisions, a row a point."""
        program, stacks = self.programs[0], [*leaves, *cotangents]
        n, most = len(stacks[0]), len(_thresholds.GRID)
        found = []
        for start in range(0, n, most):  # as many at a time, so that nothing is compiled twice
            rows = np.resize(np.arange(start, min(start + most, n)), most)
            found.append(jax.tree.map(np.asarray, program(*(np.asarray(x)[rows] for x in stacks))))
        both, went = jax.tree.map(lambda *parts: np.concatenate(parts)[:n], *found)
        k = len(both[0]) - len(self.differentiated)
        ours, truth = ((results[:k], results[k:]) for results in both)
        return ours, truth, went

    @functools.cached_property
    def programs(self) -> tuple[Callable[..., Any], list]:
        """Results and decisions of both over a stack of points, compiled; and the branches."""
        run, branches = _thresholds.decisions([self.traced.ours, self.traced.truth])
        return jit_quickly(jax.vmap(run)), branches

    @functools.cached_property
    def compiled_loss(self) -> Callable[..., Any]:
        """The definition's value against the cotangents, over a stack of points."""
        return jit_quickly(jax.vmap(self.loss))

    @functools.cached_property
    def compiled_scan(self) -> Callable[..., Any]:
        """The subject alone over a stack of points, one after the other."""

        def step(_, point):
            return None, self.split(self.traced.ours, *point)

        return jit_quickly(
            lambda leaves, cotangents: jax.lax.scan(step, None, (leaves, cotangents))[1]
        )

    def split(self, jaxpr: Any, leaves: Sequence[Any], cotangents: Sequence[Any]) -> tuple:
        """A traced program's results: floating leaves of the value, and of the cotangents."""
        results = core.jaxpr_as_fun(jaxpr)(*leaves, *cotangents)
        n = len(results) - len(self.differentiated)
        return results[:n], results[n:]

    @functools.cached_property
    def thresholds(self) -> list[list]:
        """Inputs (leaves, then cotangents) where either program changes its way, and beside."""
        rng = np.random.default_rng(0)
        starts = zip(*self.draw_styles(rng, _BASES), strict=True)
        dys = self.cotangents(self.values_shape(), rng, "round")
        n = len(self.free)
        movable = [k for k in self.differentiated if not self.specs[self.free[k]].structured]
        movable += range(n, n + len(dys))
        program, branches = self.programs
        points = [[*p, *dys] for p in starts]
        found = _thresholds.find(lambda *xs: program(*xs)[1], branches, points, movable)
        return [p for p in found if self.contains(p)]

    @functools.cached_property
    def traced(self) -> "Traced":
        """The programs as jaxprs, for float64 arguments."""
        truth = self.traced_truth
        return Traced(self.trace_ours(np.float64), truth)

    @functools.cached_property
    def traced_truth(self) -> Any:
        """`truth` as a jaxpr, for float64 arguments."""
        with mode_of(np.float64):
            return jax.make_jaxpr(self.truth)(*self.example())

    @functools.cached_property
    def traced_loss(self) -> Any:
        """`loss` as a jaxpr, for float64 arguments."""
        with mode_of(np.float64):
            return jax.make_jaxpr(self.loss)(*self.example())

    @functools.cached_property
    def traced_second(self) -> tuple[Any, Any]:
        """The derivative of each pullback along one direction, as jaxprs."""
        programs = (self.traced.ours, self.traced.truth)
        # which has no forward derivative; the same derivative is taken of both
        forward = not any("custom_vjp_call" in str(p) for p in programs)

        def second(jaxpr: Any) -> Any:
            def pulled(leaves, cotangents, differentiated):
                return self.split(jaxpr, self._with(leaves, differentiated), cotangents)[1]

            def along(leaves, cotangents):
                at = [leaves[k] for k in self.differentiated]
                program = functools.partial(pulled, leaves, cotangents)
                if forward:
                    return jax.jvp(program, (at,), (_direction(at),))[1]
                out, pull = jax.vjp(program, at)
                return pull([jnp.ones_like(x) for x in out])[0]

            return jax.make_jaxpr(along)(*self.example())

        return second(programs[0]), second(programs[1])

    @functools.cached_property
    def traced_forward(self) -> tuple[Any, Any]:
        """The JVPs of subject and definition along one direction, as jaxprs."""

        def forward(function: Callable) -> Any:
            def along(leaves, _):
                at = [leaves[k] for k in self.differentiated]

                def of(differentiated):
                    return floating_leaves(
                        function(*self.arguments(self._with(leaves, differentiated)))
                    )

                return jax.jvp(of, (at,), (_direction(at),))[1]

            return jax.make_jaxpr(along)(*self.example())

        return forward(self.subject.forward), forward(self.definition)


def _direction(at: Sequence[Any]) -> list:
    return [1 + jnp.arange(x.size, dtype=x.dtype).reshape(x.shape) for x in at]


@dataclass(frozen=True)
class Traced:
    """Jaxprs of the subject's and of the definition's value and pullback."""

    ours: Any
    truth: Any


class ContractBroken(Exception):
    """The backward pass is not of the form that JAX expects."""

    def __init__(self, kind: str, text: str):
        super().__init__(text)
        self.kind = kind


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


def mode_of(dtype: Any) -> Any:
    """64-bit mode for float64, and for no other dtype: as its users run it."""
    return jax.enable_x64(np.dtype(dtype) == np.float64)


def floating_leaves(tree: Any) -> list:
    return [x for x in map(jnp.asarray, jax.tree.leaves(tree)) if is_floating(x.dtype)]


def _zero(x: Any) -> Any:
    if not (hasattr(x, "dtype") or isinstance(x, bool | int | float | complex)):
        return None
    if is_floating(jnp.result_type(x)):
        return jnp.zeros(jnp.shape(x), jnp.result_type(x))
    return np.zeros(jnp.shape(x), jax.dtypes.float0)


def first_line(problem: Exception) -> str:
    """Of an exception's message."""
    lines = str(problem).splitlines()
    return lines[0][:200] if lines else "no message"


def _kind(x: Any) -> str:
    return f"a {type(x).__name__} of {len(x)}" if isinstance(x, tuple | list) else type(x).__name__


def _path_text(path: tuple) -> str:
    return f"argument {path[0].idx}{jax.tree_util.keystr(path[1:])}"
