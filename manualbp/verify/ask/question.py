"""The question that arguments, a definition and a rule make, and whether it can be put."""

import cProfile
import functools
import inspect
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from types import CodeType
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from manualbp._rule import Rule
from manualbp.verify.ask.domains import Spec, draw, spec_of
from manualbp.verify.ask.problem import Problem, first_line
from manualbp.verify.ask.subject import Subject, custom_of


def with_static(rule: Any, args: tuple) -> tuple:
    """Arguments that are no arrays, or that the rule does not differentiate, as they are.

    They are callables and strings, and those that nondiff_argnums names; a specification in such a
    place is drawn from once.
    """
    fixed = getattr(custom_of(rule), "nondiff_argnums", ())
    return tuple(
        _static(arg) if k in fixed or isinstance(arg, str) or callable(arg) else arg
        for k, arg in enumerate(args)
    )


def _static(arg: Any) -> Spec:
    if not isinstance(arg, Spec):
        return Spec((), "static", value=arg)
    if arg.domain in ("static", "none", "key"):
        return arg
    drawn = draw(arg, np.random.default_rng(0), "normal")
    return Spec((), "static", value=drawn if arg.shape else np.asarray(drawn).item())


def check_argnums(argnums: Sequence[int] | None, arguments: int) -> None:
    """Raise ValueError where one names no argument."""
    for k in argnums or ():
        if not 0 <= k < arguments:
            raise ValueError(
                f"check: expected argnums from 0 to {arguments - 1}, one of {arguments} arguments, "
                f"got {k}"
            )


def examine(problem: Problem, rule: Any) -> str:
    """Why no verdict is possible, or nothing.

    Raises:
      ValueError: the definition cannot be used, or the rule has no backward pass; says why.
    """
    name, definition = problem.subject.name, problem.definition
    if isinstance(custom_of(rule), jax.custom_vjp) and custom_of(rule).bwd is None:
        raise ValueError(f"check: expected a backward pass of {name}: call {name}.defvjp(fwd, bwd)")
    if isinstance(custom_of(rule), jax.custom_jvp) and custom_of(rule).jvp is None:
        raise ValueError(f"check: expected a JVP rule of {name}: call {name}.defjvp(rule)")
    if not callable(definition):
        raise TypeError(
            f"check: expected a function as the definition of {name}, got "
            f"{type(definition).__name__}: pass it in plain jax.numpy"
        )
    try:
        shape = problem.value_shape
    except jax.errors.ConcretizationTypeError as error:
        raise ValueError(
            f"check: the definition of {name} cannot be traced ({type(error).__name__}): pass "
            "definition=, the same function in plain jax.numpy without Python branches on values"
        ) from error
    except Exception as error:
        raise ValueError(
            f"check: the definition of {name} raises {type(error).__name__} for arguments "
            f"{_shapes(problem)}: {first_line(error)}"
        ) from error
    if not any(jnp.issubdtype(x.dtype, jnp.inexact) for x in jax.tree.leaves(shape)):
        raise ValueError(
            f"check: expected a definition of {name} with a floating result, got "
            f"{', '.join(str(x.dtype) for x in jax.tree.leaves(shape)) or 'none'}: it has no "
            "gradient"
        )
    with _calls(*_backward_passes(rule)) as called:
        _ = problem.traced_truth
    if called and problem.intended is None:
        raise ValueError(
            f"check: expected a definition independent of {name}, got one whose derivative is "
            f"{name}'s own backward pass: write it in plain jax.numpy"
        )
    programs = [problem.trace(problem.loss) for _ in range(2)]
    if programs[0].effects:
        kinds = ", ".join(sorted(type(x).__name__ for x in programs[0].effects))
        raise ValueError(
            f"check: expected a definition of {name} without side effects, got {kinds}: remove "
            "printing and callbacks"
        )
    if _text(programs[0]) != _text(programs[1]):
        return f"the definition of {name} is not deterministic: two calls give different programs"
    return ""


def _shapes(problem: Problem) -> str:
    return ", ".join(
        f"{s.kind if s.domain == 'integers' else 'float'}{list(s.shape)}"
        for s in problem.specs
        if s.domain not in ("static", "key", "none")
    )


def _text(program: Any) -> tuple:
    keys = jax.dtypes.prng_key
    consts = [
        jax.random.key_data(c) if jax.dtypes.issubdtype(c.dtype, keys) else c
        for c in program.consts
    ]
    return str(program), *(np.asarray(c).tobytes() for c in consts)


def _backward_passes(rule: Any) -> Iterator[Any]:
    custom = custom_of(rule)
    if isinstance(rule, Rule):
        yield rule.bwd
    elif isinstance(custom, jax.custom_vjp):
        yield custom.bwd
    elif isinstance(custom, jax.custom_jvp):
        yield custom.jvp
    elif isinstance(rule, tuple):
        yield rule[1]


@contextmanager
def _calls(*functions: Any) -> Iterator[list]:
    """Which of these Python functions are called meanwhile."""
    wanted: dict[CodeType, list] = {}
    for function in functions:
        while hasattr(function, "__wrapped__"):
            function = function.__wrapped__
        if hasattr(function, "__code__"):
            cells = [c.cell_contents for c in function.__closure__ or ()]
            wanted[function.__code__] = list(zip(function.__code__.co_freevars, cells, strict=True))
    called: list = []

    def profile(frame: Any, event: str, _: Any) -> None:
        mine = wanted.get(frame.f_code) if event == "call" else None
        # of two functions with one code, closures tell which it is
        if mine is not None and all(frame.f_locals.get(n) is x for n, x in mine):
            called.append(frame.f_code.co_name)

    before: Any = sys.getprofile()
    sys.setprofile(profile)
    try:
        yield called
    finally:
        sys.setprofile(before if callable(before) else None)
        if isinstance(before, cProfile.Profile):  # no function, and so up to Python 3.11
            before.enable()


def problem_of(
    subject: Subject,
    definition: Callable,
    args: tuple,
    argnums: Sequence[int] | None = None,
    wide_mode: bool = False,
    intended: Callable | None = None,
) -> Problem:
    """The problem, kept from one run to the next where only values differ: compiled once."""
    leaves, tree = jax.tree.flatten(args, is_leaf=lambda x: x is None)
    rows = {np.shape(x)[0] for x in leaves if hasattr(x, "shape") and np.ndim(x) > 1}
    specs = tuple(Spec((), "none") if x is None else spec_of(x, rows) for x in leaves)
    names = _argument_names(subject, definition, len(args))
    given = (subject, definition, tree, specs, None if argnums is None else tuple(argnums), names,
             wide_mode, intended)  # fmt: skip
    try:
        return _problem(*given)
    except TypeError:  # a static argument that has no hash
        return _problem.__wrapped__(*given)


@functools.lru_cache(maxsize=512)
def _problem(subject, definition, tree, specs, argnums, names, wide_mode, intended):
    args = tree.unflatten(specs)
    return Problem(subject, definition, args, argnums, names, wide_mode, intended)


def _argument_names(subject: Subject, definition: Callable, n: int) -> tuple[str, ...]:
    """The names of the arguments, as in the signature."""
    for function in (subject.definition, definition, subject.forward):
        try:
            found = inspect.signature(function).parameters.values()  # type: ignore[arg-type]
        except (TypeError, ValueError):
            continue
        names = [p.name for p in found if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
        if len(names) >= n:
            return tuple(names[:n])
    return ()
