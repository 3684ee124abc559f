"""The subject: a function and the backward pass that somebody wrote for it, in any wrapping."""

import functools
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import jax

import manualbp
from manualbp._rule import Rule


class ContractBroken(Exception):
    """The backward pass is not of the form that JAX expects."""

    def __init__(self, kind: str, text: str):
        super().__init__(text)
        self.kind = kind


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
      second: of a rule that acts entry by entry and knows it, y'' from the arguments.
    """

    name: str
    forward: Callable[..., Any]
    backward: Callable[[tuple, Any], tuple[Any, Any]]
    definition: Callable[..., Any] | None = None
    forward_mode: bool = False
    importing: str = ""
    second: Callable[..., Any] | None = None


def subject_of(rule: Any, argnums: Sequence[int] | None = None) -> Subject:
    """The subject behind a Rule, a custom function, a pair (fwd, bwd) or a function around one.

    Args:
      rule: what the user has.
      argnums: the arguments to differentiate; jax.vjp moves no others, as jax.grad does not.

    Raises:
      TypeError: it is none of them.
    """
    if isinstance(rule, Rule):
        subject = _of_pair(rule.name, rule.fwd, rule.bwd)
        if callable(rule.second):
            subject = replace(subject, second=_second_of(rule))
        known = getattr(manualbp, rule.name, None) is rule
        return replace(subject, importing=_importing("manualbp", rule.name)) if known else subject
    moved = None if argnums is None else tuple(argnums)
    custom = custom_of(rule)
    if custom is not None:
        return _of_custom(custom, moved)
    if isinstance(rule, functools.partial) and custom_of(rule.func) is not None:
        whole = _of_custom(custom_of(rule.func), moved)
        bound = functools.partial(whole.definition or rule.func, *rule.args, **rule.keywords)
        pull = functools.partial(_pull_back, rule, moved)
        return Subject(whole.name, rule, pull, bound, whole.forward_mode)
    if isinstance(rule, tuple) and len(rule) == 2 and all(map(callable, rule)):
        return _of_pair(getattr(rule[0], "__name__", "fwd"), *rule)
    if callable(rule):  # whatever jax.vjp makes of it is what is judged
        name = getattr(rule, "__name__", type(rule).__name__)
        pull = functools.partial(_pull_back, rule, moved)
        return Subject(name, rule, pull, None, False, _importing_of(rule))
    raise TypeError(
        "check: expected a Rule, a jax.custom_vjp or custom_jvp function, a pair (fwd, bwd) or a "
        f"function around one, got {type(rule).__name__}"
    )


@functools.lru_cache(maxsize=512)
def _second_of(rule: Rule) -> Callable[..., Any]:
    return lambda *args: rule.second(rule.fwd(*args)[1])  # type: ignore[operator, misc]


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
                "structure", f"expected fwd to give (value, residuals), got {kind_of(results)}"
            )
        return results

    def backward(args: tuple, dy: Any) -> tuple[Any, Any]:
        y, residuals = both(args)
        return y, bwd(residuals, dy)

    return Subject(name, lambda *args: both(args)[0], backward)


def _of_custom(rule: Any, argnums: tuple[int, ...] | None) -> Subject:
    # in a notebook a rule is defined again and again
    return _of_rules(rule, argnums, *(getattr(rule, name, None) for name in ("fwd", "bwd", "jvp")))


@_kept
def _of_rules(rule: Any, argnums: tuple[int, ...] | None, *defined: Any) -> Subject:
    return Subject(
        getattr(rule, "__name__", type(rule).__name__),
        rule,
        functools.partial(_pull_back, rule, argnums),
        vars(rule)["__wrapped__"],
        isinstance(rule, jax.custom_jvp),
        _importing_of(rule),
    )


def _importing_of(rule: Any) -> str:
    """The line that imports a function which its module names so, or a comment."""
    module, name = getattr(rule, "__module__", None), getattr(rule, "__qualname__", "")
    found = getattr(sys.modules.get(module or ""), name, None)
    if module == "__main__" or found is not rule:
        return f"rule = ...  # {getattr(rule, '__name__', 'your function')}"
    return _importing(str(module), name)


def _importing(module: str, name: str) -> str:
    return f"from {module} import {name} as rule"


def _pull_back(
    function: Any, argnums: tuple[int, ...] | None, args: tuple, dy: Any
) -> tuple[Any, Any]:
    """Value and cotangents through jax.vjp; None for what is no array, or not asked for."""
    fixed = getattr(function, "nondiff_argnums", ())
    wanted = range(len(args)) if argnums is None else argnums
    moved = [k for k in sorted(wanted) if k not in fixed and _moves(args[k])]

    def of(*xs: Any) -> Any:
        every = list(args)
        for k, x in zip(moved, xs, strict=True):
            every[k] = x
        return function(*every)

    y, pull = jax.vjp(of, *(args[k] for k in moved))
    given = dict(zip(moved, pull(dy), strict=True))
    return y, tuple(given.get(k) for k in range(len(args)))


def _moves(arg: Any) -> bool:
    """Whether an argument holds arrays, and nothing but arrays."""
    leaves = jax.tree.leaves(arg)
    return bool(leaves) and all(isinstance(x, jax.Array) or hasattr(x, "dtype") for x in leaves)


def kind_of(x: Any) -> str:
    """What came in the place of a tuple, for a message."""
    return f"a {type(x).__name__} of {len(x)}" if isinstance(x, tuple | list) else type(x).__name__
