"""One function under judgement, on arguments of one shape: its programs, compiled and exact."""

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from manualbp._rule import Rule
from manualbp.verify import _inputs, _thresholds
from manualbp.verify._interpreter import is_floating


@dataclass(frozen=True)
class Subject:
    """What is judged: a function and the backward pass that somebody wrote for it.

    Attributes:
      name: for the report.
      forward: `forward(*args) -> y`.
      backward: `backward(args, dy) -> (y, cotangents)`: the value that fwd gives, and what bwd
        gives as written, one cotangent an argument.
      definition: the undecorated function, where the subject carries it; else None.
    """

    name: str
    forward: Callable[..., Any]
    backward: Callable[[tuple, Any], tuple[Any, Any]]
    definition: Callable[..., Any] | None = None


def subject_of(rule: Any) -> Subject:
    """The subject behind a Rule, a custom_vjp function or a (fwd, bwd) pair.

    Raises:
      TypeError: it is none of them.
    """
    if isinstance(rule, Rule):
        return _of_pair(rule.name, rule.fwd, rule.bwd)
    if isinstance(rule, jax.custom_vjp):
        return Subject(
            getattr(rule, "__name__", "custom_vjp"),
            rule,
            functools.partial(_pull_back, rule),
            vars(rule)["__wrapped__"],
        )
    if isinstance(rule, tuple) and len(rule) == 2 and all(map(callable, rule)):
        return _of_pair(getattr(rule[0], "__name__", "fwd"), *rule)
    raise TypeError(
        "check: expected a Rule, a jax.custom_vjp function or a pair (fwd, bwd), got "
        f"{type(rule).__name__}: a plain function has no backward pass of its own to judge"
    )


def _of_pair(name: str, fwd: Callable, bwd: Callable) -> Subject:
    def backward(args: tuple, dy: Any) -> tuple[Any, Any]:
        y, residuals = fwd(*args)
        return y, bwd(residuals, dy)

    return Subject(name, lambda *args: fwd(*args)[0], backward)


def _pull_back(function: Callable, args: tuple, dy: Any) -> tuple[Any, Any]:
    y, pull = jax.vjp(function, *args)
    return y, pull(dy)


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
        self._stacks: dict[int, Any] = {}
        rng = np.random.default_rng(0)
        self._fixed = {
            i: _inputs.draw(s, rng, "normal")
            for i, s in enumerate(self.specs)
            if s.domain in ("key", "none")
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

    def name_of(self, k: int) -> str:
        """How a user would write the k-th differentiated argument."""
        return self.paths[self.free[self.differentiated[k]]]

    def draw(self, rng: np.random.Generator, style: str, dtype: Any = np.float64) -> list:
        """Array leaves for one point."""
        drawn = [_inputs.draw(self.specs[i], rng, style) for i in self.free]
        return [x.astype(dtype) if is_floating(x.dtype) else x for x in drawn]

    def given_leaves(self, args: tuple) -> list | None:
        """The array leaves of concrete arguments; None where some are specifications."""
        leaves = jax.tree.leaves(args, is_leaf=lambda x: x is None)
        found = [leaves[i] for i in self.free]
        if any(isinstance(x, _inputs.Spec) for x in found):
            return None
        arrays = [np.asarray(x) for x in found]
        return [x.astype(np.float64) if is_floating(x.dtype) else x for x in arrays]

    def values_shape(self, dtype: Any = np.float64) -> Any:
        """The tree of shapes and dtypes of the definition's value."""
        leaves = self.draw(np.random.default_rng(0), "normal", dtype)
        return jax.eval_shape(lambda *xs: self.definition(*self.arguments(xs)), *leaves)

    def cotangents(self, shape: Any, rng: np.random.Generator, style: str) -> list:
        """One cotangent for each floating leaf of the value, in float64."""
        out = []
        for leaf in jax.tree.leaves(shape):
            if is_floating(leaf.dtype):
                if style == "round":
                    x = rng.choice([-2.0, -1.0, 1.0, 2.0, 3.0], leaf.shape)
                else:
                    x = rng.normal(size=leaf.shape) + 0.5
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

    def ours(self, leaves: Sequence[Any], cotangents: Sequence[Any]) -> tuple[list, list]:
        """The subject's value and its own backward pass: floating leaves of each."""
        args = self.arguments(leaves)
        shape = jax.eval_shape(self.subject.forward, *args)
        y, given = self.subject.backward(args, self._dy(shape, cotangents))
        flat = self._flat_cotangents(args, given)
        return floating_leaves(y), [flat[self.free[k]] for k in self.differentiated]

    def truth(self, leaves: Sequence[Any], cotangents: Sequence[Any]) -> tuple[list, list]:
        """The definition's value and jax.vjp of it."""
        return self._value_and_pull(self.definition, leaves, cotangents)

    def pull_of(self, function: Callable, leaves: Sequence[Any], cotangents: Sequence[Any]) -> list:
        """jax.vjp of another function of the same arguments."""
        return self._value_and_pull(function, leaves, cotangents)[1]

    def _value_and_pull(
        self, function: Callable, leaves: Sequence[Any], cotangents: Sequence[Any]
    ) -> tuple[list, list]:
        def of_differentiated(differentiated):
            new = list(leaves)
            for k, x in zip(self.differentiated, differentiated, strict=True):
                new[k] = x
            return function(*self.arguments(new))

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

    @functools.cached_property
    def compiled(self) -> Callable[..., Any]:
        """Both programs over a stack of points, in one compiled call."""

        def both(leaves, cotangents):
            return self.ours(leaves, cotangents), self.truth(leaves, cotangents)

        return jax.jit(jax.vmap(both))

    @functools.cached_property
    def compiled_loss(self) -> Callable[..., Any]:
        """The definition's value against the cotangents, over a stack of points."""
        return jax.jit(jax.vmap(self.loss))

    @functools.cached_property
    def compiled_paths(self) -> Callable[..., Any]:
        """The subject alone over a stack of points, by vmap and by scan."""

        def program(leaves, cotangents):
            def step(_, point):
                return None, self.ours(*point)

            scanned = jax.lax.scan(step, None, (leaves, cotangents))[1]
            return jax.vmap(self.ours)(leaves, cotangents), scanned

        return jax.jit(program)

    def traced_stack(self, n: int) -> Any:
        """The definition's value and pullback as one jaxpr over n points."""
        if n not in self._stacks:
            leaves = self.draw(np.random.default_rng(0), "normal")
            dy = self.cotangents(self.values_shape(), np.random.default_rng(0), "round")
            many = [[np.stack([x] * n) for x in group] for group in (leaves, dy)]
            self._stacks[n] = jax.make_jaxpr(jax.vmap(self.truth))(*many)
        return self._stacks[n]

    @functools.cached_property
    def decisions(self) -> tuple[Callable[..., Any], list]:
        """Every decision of both programs over a stack of inputs, compiled; and their places."""
        run, branches = _thresholds.decisions([self.traced.ours, self.traced.truth])
        return jax.jit(jax.vmap(run)), branches

    def thresholds(self, points: list[list], limit: int) -> list[list]:
        """Inputs (leaves, then cotangents) where either program changes its way, and beside."""
        rng = np.random.default_rng(0)
        shape = self.values_shape()
        dys = self.cotangents(shape, rng, "round")
        n = len(self.free)
        found = _thresholds.find(
            self.decisions[0],
            [[*p, *dys] for p in points],
            [*self.differentiated, *range(n, n + len(dys))],
            limit,
        )
        return found

    @functools.cached_property
    def traced(self) -> "Traced":
        """The programs as jaxprs, for float64 arguments."""
        leaves = self.draw(np.random.default_rng(0), "normal")
        dy = self.cotangents(self.values_shape(), np.random.default_rng(0), "round")
        return Traced(
            *(jax.make_jaxpr(program)(leaves, dy) for program in (self.ours, self.truth, self.loss))
        )

    @functools.cached_property
    def traced_second(self) -> tuple[Any, Any]:
        """The derivative of each pullback, against fixed directions, as jaxprs."""
        leaves = self.draw(np.random.default_rng(0), "normal")
        dy = self.cotangents(self.values_shape(), np.random.default_rng(0), "round")

        def second(program: Callable) -> Callable:
            def against(differentiated, leaves, cotangents):
                new = list(leaves)
                for k, x in zip(self.differentiated, differentiated, strict=True):
                    new[k] = x
                pulled = program(new, cotangents)[1]
                weights = [1 + jnp.arange(p.size, dtype=p.dtype).reshape(p.shape) for p in pulled]
                return sum((jnp.sum(w * p) for w, p in zip(weights, pulled, strict=True)), 0.0)

            def gradient(leaves, cotangents):
                return jax.grad(against)(
                    [leaves[k] for k in self.differentiated], leaves, cotangents
                )

            return gradient

        ours, truth = (jax.make_jaxpr(second(p))(leaves, dy) for p in (self.ours, self.truth))
        return ours, truth


@dataclass(frozen=True)
class Traced:
    """Jaxprs of the subject's and the definition's value and pullback, and of the loss."""

    ours: Any
    truth: Any
    loss: Any


class ContractBroken(Exception):
    """The backward pass is not of the form that JAX expects."""

    def __init__(self, kind: str, text: str):
        super().__init__(text)
        self.kind = kind


def floating_leaves(tree: Any) -> list:
    return [x for x in map(jnp.asarray, jax.tree.leaves(tree)) if is_floating(x.dtype)]


def _zero(x: Any) -> Any:
    if x is None:
        return None
    if is_floating(jnp.result_type(x)):
        return jnp.zeros(jnp.shape(x), jnp.result_type(x))
    return np.zeros(jnp.shape(x), jax.dtypes.float0)


def _kind(x: Any) -> str:
    return f"a {type(x).__name__} of {len(x)}" if isinstance(x, tuple | list) else type(x).__name__


def _path_text(path: tuple) -> str:
    return f"argument {path[0].idx}{jax.tree_util.keystr(path[1:])}"
