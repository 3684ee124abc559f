"""The walk over a jaxpr, with the arithmetic as a parameter.

A program traced by JAX is run again over other numbers: balls, expressions, whatever an
arithmetic offers. Floating and complex values are NumPy arrays of such numbers; integers and
booleans stay what they are. What a primitive does to arrays stands in the table of primitives;
here are calls, branches and loops.

An arithmetic may leave a comparison open (None): then booleans are arrays of True, False and
None, and a selection over None is the union of both cases.
"""

import functools
import math
from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np
from jax.extend import core

from manualbp.verify.numbers import needed
from manualbp.verify.numbers.arithmetic import (
    Arithmetic,
    Straddles,
    Unsupported,
    array,
    as_array,
    each,
    has_numbers,
    is_complex,
    is_floating,
    is_number,
    lift,
    literal,
)
from manualbp.verify.numbers.primitives import FUNCTION, PRIMITIVES, bind
from manualbp.verify.numbers.windows import windows

__all__ = [
    "CALLS",
    "CONTROL",
    "Arithmetic",
    "Straddles",
    "Unsupported",
    "evaluate",
    "is_floating",
    "lift",
    "primitive",
]


def evaluate(
    closed: core.ClosedJaxpr,
    arguments: Sequence[Any],
    arithmetic: Arithmetic,
    wanted: Sequence[np.ndarray] | None = None,
) -> list[Any]:
    """The results of the program.

    Args:
      closed: the program.
      arguments: arrays of numbers of the arithmetic, and of integers; with masks also of floats,
        of which what is needed is lifted.
      arithmetic: of the numbers.
      wanted: masks of the results; what is not wanted, nor needed for what is, stays None. All
        where there are none.

    Raises:
      Unsupported: a primitive without a form in this arithmetic, named.
      Straddles: a comparison that is not decided at this precision.
    """
    if wanted is not None and not all(map(np.all, wanted)):
        return _run_partly(closed, arguments, arithmetic, wanted)
    if wanted is not None:
        arguments = [x if has_numbers(x) else lift(x, arithmetic.lift) for x in arguments]
    consts = [_constant(c, arithmetic) for c in closed.consts]
    return _run(closed.jaxpr, consts, arguments, arithmetic)


def _run_partly(
    closed: Any, arguments: Sequence[Any], ar: Arithmetic, wanted: Sequence[np.ndarray]
) -> list[Any]:
    """Only what the entries wanted need."""
    jaxpr, consts, inner = closed.jaxpr, closed.consts, _opens(ar)
    known = _known(jaxpr, consts, arguments, ar)
    masks = needed.backwards(jaxpr, known, wanted, inner)
    values: dict[Any, Any] = dict(known)
    for v, x in zip(jaxpr.constvars, consts, strict=True):
        dtype = x.dtype if hasattr(x, "dtype") else np.asarray(x).dtype
        number = functools.partial(ar.constant, dtype=dtype)
        values.setdefault(v, _lifted_partly(x, masks.get(v), number))
    for v, x in zip(jaxpr.invars, arguments, strict=True):
        values[v] = x if has_numbers(x) else _lifted_partly(x, masks.get(v), ar.lift)

    def read(atom: Any) -> Any:
        if isinstance(atom, core.Literal):
            return _constant(literal(atom), ar)
        return values[atom] if atom in values else needed.holes(atom.aval)

    for eqn in jaxpr.eqns:
        asked = [needed.mask_of(masks, v) for v in eqn.outvars]
        if not any(map(np.any, asked)) or eqn.outvars[0] in known:
            continue
        results = _equation_partly(eqn, [read(v) for v in eqn.invars], ar, asked, inner)
        values.update(zip(eqn.outvars, map(as_array, results), strict=True))
    return [read(v) for v in jaxpr.outvars]


def _equation_partly(
    eqn: Any, xs: list[Any], ar: Arithmetic, wanted: list[np.ndarray], inner: Any
) -> list[Any]:
    name = eqn.primitive.name
    body = _body(eqn)
    if name == "scan":
        opened = inner(eqn, [None if has_numbers(x) else x for x in xs])
        return _scan(eqn, xs, ar, needed.scanned(eqn, opened, wanted, inner))
    if body is not None:
        return evaluate(body, xs, ar, wanted)
    if PRIMITIVES.get(name, FUNCTION).needs in ("product", "scattered"):
        return primitive(eqn, xs, ar, wanted[0])
    some = needed.only(eqn, xs, wanted, lambda eqn, xs: _equation(eqn, xs, ar))
    return _equation(eqn, xs, ar) if some is None else some


def cost(
    closed: core.ClosedJaxpr, arguments: Sequence[Any], ar: Arithmetic, wanted: Sequence[np.ndarray]
) -> float:
    """How many operations `evaluate` of the entries wanted takes, about."""
    counted: list[float] = []
    known = _known(closed.jaxpr, closed.consts, arguments, ar)
    needed.backwards(closed.jaxpr, known, wanted, _opens(ar), counted)
    return sum(counted)


def _opens(ar: Arithmetic) -> needed.Inner:
    """What opens a call or a scan: its program, and what is known in it."""

    def inner(eqn: Any, values: list) -> tuple[Any, dict] | None:
        body = _body(eqn)
        if body is None:
            return None
        if eqn.primitive.name == "scan":  # what is carried, and the rows, change from step to step
            n = eqn.params["num_consts"]
            values = values[:n] + [None] * len(values[n:])
        return body.jaxpr, _known(body.jaxpr, body.consts, values, ar)

    return inner


def _body(eqn: Any) -> Any:
    """The program of a call or a scan, closed."""
    name = eqn.primitive.name
    if name not in CALLS and name != "scan":
        return None
    inner = eqn.params[CALLS.get(name, "jaxpr")]
    return inner if isinstance(inner, core.ClosedJaxpr) else core.ClosedJaxpr(inner, ())


def _known(jaxpr: Any, consts: Sequence[Any], arguments: Sequence[Any], ar: Arithmetic) -> dict:
    """Values of the variables that hold no numbers and follow from such alone."""
    values: dict[Any, Any] = {}
    given = zip((*jaxpr.constvars, *jaxpr.invars), (*consts, *arguments), strict=True)
    for v, x in given:
        if x is None or is_number(v.aval.dtype) or has_numbers(x):
            continue
        if np.shape(x) == v.aval.shape:
            values[v] = x
    for eqn in jaxpr.eqns:
        atoms = [v for v in eqn.invars if not isinstance(v, core.Literal)]
        if eqn.effects or any(v not in values for v in atoms):
            continue
        every: Any = (*eqn.invars, *eqn.outvars)
        if any(is_number(v.aval.dtype) for v in every):
            continue
        xs = [literal(v) if isinstance(v, core.Literal) else values[v] for v in eqn.invars]
        values.update(zip(eqn.outvars, map(as_array, _equation(eqn, xs, ar)), strict=True))
    return values


def _lifted_partly(x: Any, mask: np.ndarray | None, number: Callable[[Any], Any]) -> Any:
    """An array as numbers where they are needed; where none is, as it is."""
    if mask is None or not np.any(mask):
        return x
    some = lift(x if np.all(mask) else np.asarray(x)[mask], number)
    if np.all(mask) or not has_numbers(some):
        return some if np.all(mask) else x
    out = np.empty(np.shape(x), object)
    out[mask] = some
    return out


def _constant(x: Any, ar: Arithmetic) -> Any:
    dtype = x.dtype if hasattr(x, "dtype") else np.asarray(x).dtype
    return lift(x, lambda v: ar.constant(v, dtype))


def _run(jaxpr: Any, consts: Sequence[Any], arguments: Sequence[Any], ar: Arithmetic) -> list[Any]:
    values: dict[Any, Any] = {}

    def read(atom: Any) -> Any:
        if isinstance(atom, core.Literal):
            return _constant(literal(atom), ar)
        return values[atom]

    values.update(zip(jaxpr.constvars, consts, strict=True))
    values.update(zip(jaxpr.invars, arguments, strict=True))
    for eqn in jaxpr.eqns:
        results = _equation(eqn, [read(v) for v in eqn.invars], ar)
        values.update(zip(eqn.outvars, map(as_array, results), strict=True))
    return [read(v) for v in jaxpr.outvars]


def _equation(eqn: Any, xs: list[Any], ar: Arithmetic) -> list[Any]:
    changed = ar.instead(eqn, xs)
    if changed is not None:
        return changed if isinstance(changed, list) else [changed]
    name = eqn.primitive.name
    if name in CALLS:
        inner = eqn.params[CALLS[name]]
        if isinstance(inner, core.ClosedJaxpr):
            return evaluate(inner, xs, ar)
        return _run(inner, (), xs, ar)
    if name in CONTROL:
        return CONTROL[name](eqn, xs, ar)
    return primitive(eqn, xs, ar)


def primitive(
    eqn: Any, xs: list[Any], ar: Arithmetic, wanted: np.ndarray | None = None
) -> list[Any]:
    """The results of an equation that is no call, branch or loop.

    Of a product, and of what is scattered, a mask says which entries are wanted.
    """
    name = eqn.primitive.name
    row = PRIMITIVES.get(name, FUNCTION)
    if row.anything is not None:
        return [row.anything(eqn.params, *xs)]
    if not any(map(has_numbers, xs)):
        return _without_numbers(eqn, xs, row.integers, ar)
    if not any(is_number(v.aval.dtype) for v in eqn.invars) and not row.left_open:
        raise Straddles(f"{name} of a comparison left open")
    of_complex = any(is_complex(v.aval.dtype) for v in eqn.invars)
    if row.numbers is not None:
        if of_complex and not row.complex:
            raise Unsupported(f"{name} of complex numbers")
        out = row.numbers(eqn, xs, ar, *([] if wanted is None else [wanted]))
        return out if isinstance(out, list) else [out]
    function = ar.complex_function if of_complex else ar.function
    return [each(function(name, len(xs)), *xs)]


def _without_numbers(eqn: Any, xs: list[Any], function: Any, ar: Arithmetic) -> list[Any]:
    """No number of the arithmetic goes in: NumPy where it has the function, else JAX.

    Numbers that come out were computed from integers, and stand for themselves.
    """
    if function is not None and all(
        isinstance(x, np.ndarray) and x.dtype.kind in "biu" for x in xs
    ):
        with np.errstate(over="ignore"):  # integers wrap around
            out = np.asarray(function(eqn.params, *xs), eqn.outvars[0].aval.dtype)
        return [lift(out, ar.lift)]
    return [lift(y, ar.lift) for y in bind(eqn, xs)]


# Control flow: (equation, values, arithmetic) -> results


def _cond(eqn, xs, ar):
    index, *operands = xs
    if has_numbers(index):
        raise Straddles("a branch at a tie")
    branch = int(np.clip(int(index), 0, len(eqn.params["branches"]) - 1))
    return evaluate(eqn.params["branches"][branch], operands, ar)


def _while(eqn, xs, ar):
    p = eqn.params
    n, m = p["cond_nconsts"], p["body_nconsts"]
    cond_consts, body_consts, carry = xs[:n], xs[n : n + m], xs[n + m :]
    for _ in range(_MOST_STEPS):
        (go,) = evaluate(p["cond_jaxpr"], [*cond_consts, *carry], ar)
        if any(x is None for x in np.ravel(go)):
            raise Straddles("a loop that ends at a tie")
        go = np.asarray(go, bool)
        if not go.any():
            return carry
        new = evaluate(p["body_jaxpr"], [*body_consts, *carry], ar)
        carry = new if go.all() else [_where(go, *both) for both in zip(new, carry, strict=True)]
    raise Unsupported(f"while, after {_MOST_STEPS} steps")


def _where(go: np.ndarray, new: Any, old: Any) -> np.ndarray:
    """Of a loop over a batch only some go on."""
    new, old = as_array(new), as_array(old)
    return np.where(go.reshape(go.shape + (1,) * (new.ndim - go.ndim)), new, old)


def _scan(eqn, xs, ar, wanted=None):
    p = eqn.params
    n, m, length = p["num_consts"], p["num_carry"], p["length"]
    consts, carry, stacked = xs[:n], xs[n : n + m], xs[n + m :]
    steps = range(length - 1, -1, -1) if p["reverse"] else range(length)
    rows: list[list[Any]] = [[] for _ in eqn.outvars[m:]]
    for i in steps:
        here = [as_array(x[i]) for x in map(as_array, stacked)]
        out = evaluate(p["jaxpr"], [*consts, *carry, *here], ar, wanted)
        carry = [as_array(x) for x in out[:m]]
        for row, y in zip(rows, out[m:], strict=True):
            row.append(as_array(y))
    if p["reverse"]:
        rows = [row[::-1] for row in rows]
    stacks = [_stack(row, v.aval) for row, v in zip(rows, eqn.outvars[m:], strict=True)]
    return [*carry, *stacks]


def _stack(rows: list[Any], aval: Any) -> Any:
    if any(map(has_numbers, rows)) or is_number(aval.dtype):
        return array([number for y in rows for number in np.ravel(y)], aval.shape)
    if jax.dtypes.issubdtype(aval.dtype, jax.dtypes.extended):
        return jax.numpy.stack(rows)
    return np.asarray(rows, aval.dtype).reshape(aval.shape)


def _reduce(eqn, xs, ar):
    """By a function of the user's, which is taken for associative."""
    n = len(xs) // 2
    axes = eqn.params["dimensions"]
    kept = [i for i in range(xs[0].ndim) if i not in axes]
    shape = [xs[0].shape[i] for i in kept]
    length = math.prod(xs[0].shape[i] for i in axes)
    columns = [x.transpose(*kept, *axes).reshape(*shape, length) for x in xs[:n]]
    total = [np.broadcast_to(start, shape) for start in xs[n:]]
    for i in range(length):
        step = [as_array(c[..., i]) for c in columns]
        total = _by_entries(eqn.params["jaxpr"], [*total, *step], shape, ar)
    return total


def _reduce_window(eqn, xs, ar):
    """By a function of the user's; what lies in the padding is the initial value."""
    n = len(xs) // 2
    places = windows(xs[0].shape, eqn.params)
    total = [np.broadcast_to(start, places.shape[:-1]) for start in xs[n:]]
    pools = [np.append(x.ravel(), start) for x, start in zip(xs, xs[n:], strict=False)]
    for k in range(places.shape[-1]):
        step = [as_array(pool[places[..., k]]) for pool in pools]
        total = _by_entries(eqn.params["jaxpr"], [*total, *step], places.shape[:-1], ar)
    return total


def _by_entries(jaxpr: Any, arrays: list[Any], shape: Sequence[int], ar: Arithmetic) -> list[Any]:
    """A function of numbers, for each entry of arrays of one shape."""
    if not isinstance(jaxpr, core.ClosedJaxpr):
        jaxpr = core.ClosedJaxpr(jaxpr, ())
    flat = [np.ravel(x) for x in arrays]
    rows = [evaluate(jaxpr, [as_array(x[i]) for x in flat], ar) for i in range(math.prod(shape))]
    return [
        _stack([as_array(row[k]) for row in rows], jax.ShapeDtypeStruct(tuple(shape), a.dtype))
        for k, a in enumerate(jaxpr.out_avals)
    ]


def _linear_solve(eqn, xs, ar):
    """By what is to be solved, not by the user's solver: the matrix, a column at a time."""
    matvec, count = eqn.params["jaxprs"].matvec, eqn.params["const_lengths"].matvec
    consts, right = xs[:count], xs[sum(eqn.params["const_lengths"]) :]
    avals = [v.aval for v in eqn.outvars]
    size = sum(math.prod(a.shape) for a in avals)
    columns = []
    for unit in np.eye(size):
        parts = np.split(unit, np.cumsum([math.prod(a.shape) for a in avals])[:-1])
        lifted = [lift(x.reshape(a.shape), ar.lift) for x, a in zip(parts, avals, strict=True)]
        columns.append(
            np.concatenate([y.ravel() for y in evaluate(matvec, [*consts, *lifted], ar)])
        )
    solved = ar.solve(
        np.stack(columns, 1), np.concatenate([x.ravel() for x in right]).reshape(size, 1)
    )
    parts = np.split(solved.ravel(), np.cumsum([math.prod(a.shape) for a in avals])[:-1])
    return [x.reshape(a.shape) for x, a in zip(parts, avals, strict=True)]


_MOST_STEPS = 10_000

CALLS = {
    "jit": "jaxpr",
    "pjit": "jaxpr",
    "closed_call": "call_jaxpr",
    "composite": "jaxpr",
    "core_call": "call_jaxpr",
    "checkpoint": "jaxpr",
    "remat": "jaxpr",
    "remat2": "jaxpr",
    "custom_jvp_call": "call_jaxpr",
    "custom_vjp_call": "call_jaxpr",
    "custom_vjp_call_jaxpr": "fun_jaxpr",
    "custom_lin": "jaxpr",
}

CONTROL: dict[str, Callable[..., list[Any]]] = {
    "cond": _cond,
    "custom_linear_solve": _linear_solve,
    "reduce": _reduce,
    "reduce_window": _reduce_window,
    "scan": _scan,
    "while": _while,
}
