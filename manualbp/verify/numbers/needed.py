"""What some entries of a program's results need: masks, walked backwards from the results.

An entry of an attention gradient needs a row of the scores, not the batch. Each row of the table of
primitives says how its results depend on its operands; what says nothing needs all of them.
"""

import functools
import math
from collections.abc import Callable, Sequence
from types import SimpleNamespace
from typing import Any

import numpy as np
from jax.extend import core

from manualbp.verify.numbers.arithmetic import array, as_array, has_numbers, is_number, literal
from manualbp.verify.numbers.operations import operations_of, programs_in
from manualbp.verify.numbers.primitives import FUNCTION, PRIMITIVES, Product, positions, targets

# Masks of the operands of an equation from masks of its results. `known` has the operands that are
# integers and follow from integers alone; None in the place of others.
Masks = list[np.ndarray]


def _sizes(eqn: Any) -> list[tuple[int, ...]]:
    return [tuple(getattr(v.aval, "shape", ())) for v in eqn.invars]


def _all(eqn: Any, known: list, wanted: Masks) -> Masks:
    some = any(np.any(w) for w in wanted)
    return [np.full(shape, some) for shape in _sizes(eqn)]


def _entries(eqn: Any, known: list, wanted: Masks) -> Masks:
    mask = wanted[0]
    if any(_axes_repeated(shape, mask.shape) is None for shape in _sizes(eqn)):
        return _all(eqn, known, wanted)
    return [_gathered(mask, shape) for shape in _sizes(eqn)]


def _axes_repeated(shape: tuple, whole: tuple) -> tuple[int, ...] | None:
    """Axes along which an operand is repeated; None where it does not fit."""
    if shape == ():
        return tuple(range(len(whole)))
    if len(shape) != len(whole) or any(n not in (1, m) for n, m in zip(shape, whole, strict=True)):
        return None
    return tuple(i for i, (n, m) in enumerate(zip(shape, whole, strict=True)) if n != m)


def _gathered(mask: np.ndarray, shape: tuple) -> np.ndarray:
    """A mask of an operand that is repeated."""
    axes = _axes_repeated(shape, mask.shape)
    if not axes and shape == mask.shape:
        return mask
    return np.asarray(mask.any(axes, keepdims=shape != ()))


def _numbered(eqn: Any) -> tuple[list[np.ndarray], int]:
    """A number for each entry of the operands that may move, one after the other."""
    count, out = 0, []
    for shape in _sizes(eqn):
        size = math.prod(shape)
        out.append(np.arange(count, count + size).reshape(shape))
        count += size
    return out, count


def _moved(eqn: Any, known: list, wanted: Masks) -> Masks:
    """Of what NumPy moves: the same movement of the places."""
    row = PRIMITIVES[eqn.primitive.name]
    assert row.anything is not None
    places, count = _numbered(eqn)
    flat = np.zeros(count, bool)
    flat[row.anything(eqn.params, *places)[wanted[0]]] = True
    return [flat[p] for p in places]


def _indexed(eqn: Any, known: list, wanted: Masks) -> Masks:
    """Of what the primitive itself moves, by integers that are known."""
    moving = [is_number(v.aval.dtype) for v in eqn.invars]
    if any(x is None for x, m in zip(known, moving, strict=True) if not m) or not any(moving):
        return _all(eqn, known, wanted)
    operands = tuple(
        shape if m else (np.shape(x), np.asarray(x).dtype, np.asarray(x).tobytes())
        for shape, m, x in zip(_sizes(eqn), moving, known, strict=True)
    )
    count = sum(math.prod(s) for s, m in zip(_sizes(eqn), moving, strict=True) if m)
    flat = np.zeros(count + 1, bool)  # last, what is filled in
    for places, mask in zip(positions(eqn, operands), wanted, strict=True):
        flat[places[mask]] = True
    out, start = [], 0
    for shape, m in zip(_sizes(eqn), moving, strict=True):
        size = math.prod(shape) if m else 0
        out.append(flat[start : start + size].reshape(shape) if m else np.ones(shape, bool))
        start += size
    return out


def _scattered(eqn: Any, known: list, wanted: Masks) -> Masks:
    operand, indices, updates = _sizes(eqn)
    if known[1] is None:
        return _all(eqn, known, wanted)
    data = np.asarray(known[1])
    places = targets(eqn, operand, data.shape, data.dtype, data.tobytes(), updates)
    mask = np.append(wanted[0].ravel(), False)[places]  # -1: dropped
    return [wanted[0], np.ones(indices, bool), mask.reshape(updates)]


def _reduced(eqn: Any, known: list, wanted: Masks) -> Masks:
    (shape,) = _sizes(eqn)
    return [np.broadcast_to(np.expand_dims(wanted[0], eqn.params["axes"]), shape)]


def _line(eqn: Any) -> int:
    return int(eqn.params["axis" if "axis" in eqn.params else "dimension"])


def _lines(eqn: Any, known: list, wanted: Masks) -> Masks:
    axis = _line(eqn)
    some = functools.reduce(np.logical_or, wanted).any(axis=axis, keepdims=True)
    return [np.broadcast_to(some, shape) for shape in _sizes(eqn)]


def _product(eqn: Any, known: list, wanted: Masks) -> Masks:
    p = Product(eqn)
    rows, columns = p.asked(wanted[0])
    a, b = np.zeros(p.a, bool), np.zeros(p.b, bool)
    order_a = (*p.batch_a, *p.free_a, *p.contract_a)
    order_b = (*p.batch_b, *p.free_b, *p.contract_b)
    ones = [1] * len(p.inner)
    a.transpose(order_a)[...] = rows.reshape(*p.batch, *p.rows, *ones)
    b.transpose(order_b)[...] = columns.reshape(*p.batch, *p.columns, *ones)
    return [a, b]


NEEDS: dict[str, Callable[[Any, list, Masks], Masks]] = {
    "all": _all,
    "entries": _entries,
    "moved": _moved,
    "indexed": _indexed,
    "scattered": _scattered,
    "reduced": _reduced,
    "lines": _lines,
    "product": _product,
}


# An equation for the entries that are needed alone


def only(eqn: Any, xs: list, wanted: Masks, run: Callable[[Any, list], list]) -> list | None:
    """The results of an equation where they are wanted; None where it has to be run whole.

    Args:
      eqn: the equation.
      xs: its operands; what is not needed of them is anything.
      wanted: masks of its results.
      run: runs an equation on operands.
    """
    needs = _kind(eqn)
    if needs is _all or all(map(np.all, wanted)):
        return None
    if needs is not _entries and not any(map(has_numbers, xs)):
        return None
    if needs is _entries:
        mask = wanted[0]
        if any(_axes_repeated(np.shape(x), mask.shape) is None for x in xs):
            return None
        some = [x if np.shape(x) == () else np.broadcast_to(x, mask.shape)[mask] for x in xs]
        return [_filled(y, mask) for y in run(eqn, some)]
    if needs is _reduced:
        (mask,) = wanted
        axes = eqn.params["axes"]
        kept = [i for i in range(xs[0].ndim) if i not in axes]
        rows = xs[0].transpose(*kept, *axes).reshape(*mask.shape, -1)[mask]
        return [_filled(y, mask) for y in run(_like(eqn, axes=(1,)), [rows])]
    if needs is _lines:
        axis = _line(eqn)
        lines = np.asarray(functools.reduce(np.logical_or, wanted).any(axis=axis))
        moved = [np.moveaxis(x, axis, -1)[lines] for x in xs]
        name = "axis" if "axis" in eqn.params else "dimension"
        found = run(_like(eqn, **{name: 1}), moved)
        return [np.moveaxis(_filled(y, lines), -1, axis) for y in found]
    return None


def _like(eqn: Any, **params: Any) -> Any:
    return SimpleNamespace(
        primitive=eqn.primitive, params={**eqn.params, **params}, invars=eqn.invars,
        outvars=eqn.outvars,
    )  # fmt: skip


def holes(aval: Any) -> Any:
    """What nothing needs: an array of nothing."""
    if not is_number(aval.dtype):
        return np.zeros(aval.shape, aval.dtype)
    return array([None] * math.prod(aval.shape), aval.shape)


def _filled(y: Any, mask: np.ndarray) -> np.ndarray:
    """Results put where they belong; nothing elsewhere."""
    y = as_array(y)
    shape = (*mask.shape, *y.shape[1:])
    out = np.empty(shape, object) if y.dtype == object else np.zeros(shape, y.dtype)
    out[mask] = y
    return out


# The walk backwards

# (equation, values of its operands that are known) -> a program inside and what is known in it
Inner = Callable[[Any, list], tuple[Any, dict[Any, Any]] | None]


def backwards(
    jaxpr: Any,
    known: dict[Any, Any],
    wanted: Sequence[np.ndarray],
    inner: Inner,
    counted: list[float] | None = None,
) -> dict[Any, np.ndarray]:
    """A mask for each variable of a program that is needed.

    Args:
      jaxpr: the program.
      known: values of the variables that are integers and follow from integers alone.
      wanted: masks of its results.
      inner: opens a call or a loop.
      counted: is given the operations of each equation.
    """
    counted = [] if counted is None else counted
    masks: dict[Any, np.ndarray] = {}

    def add(atom: Any, mask: np.ndarray) -> None:
        if not isinstance(atom, core.Literal):
            masks[atom] = masks[atom] | mask if atom in masks else np.asarray(mask)

    for v, mask in zip(jaxpr.outvars, wanted, strict=True):
        add(v, mask)
    for eqn in reversed(jaxpr.eqns):
        results = [mask_of(masks, v) for v in eqn.outvars]
        if not any(map(np.any, results)):
            continue
        values = [literal(v) if isinstance(v, core.Literal) else known.get(v) for v in eqn.invars]
        opened = inner(eqn, values)
        if opened is None:
            operands = _kind(eqn)(eqn, values, results)
            counted.append(_operations(eqn, operands, results))
        elif eqn.primitive.name == "scan":
            step: list[float] = []
            operands = _scanned(eqn, opened, results, inner, step)[1]
            counted.append(eqn.params["length"] * sum(step))
        else:
            body, within = opened
            some = backwards(body, within, results, inner, counted)
            operands = [mask_of(some, v) for v in body.invars]
        for v, mask in zip(eqn.invars, operands, strict=True):
            add(v, mask)
    return masks


def mask_of(masks: dict[Any, np.ndarray], v: Any) -> np.ndarray:
    """Of a variable; nothing where it is not needed."""
    return masks[v] if v in masks else np.zeros(getattr(v.aval, "shape", ()), bool)


def _kind(eqn: Any) -> Callable[[Any, list, Masks], Masks]:
    name = eqn.primitive.name
    if name not in PRIMITIVES and (len(eqn.outvars) > 1 or programs_in(eqn)):
        return _all
    return NEEDS[PRIMITIVES.get(name, FUNCTION).needs]


# Products of matrices are made by Arb at once, in a fraction of the time of as many operations
_AT_ONCE = 1 / 20


def _operations(eqn: Any, operands: Masks, results: Masks) -> float:
    """Of an equation, for the entries that are needed."""
    kind = _kind(eqn)
    if kind is _product:
        p = Product(eqn)
        rows, columns = (x.sum(axis=1) for x in p.asked(results[0]))
        return float((rows * columns).sum()) * p.n[2] * _AT_ONCE
    if kind is _all:
        return float(operations_of(eqn))
    if kind in (_moved, _indexed):
        return 0.0
    made = operands[2:] if kind is _scattered else (*operands, *results)
    return float(max(x.sum() for x in made))


def scanned(eqn: Any, opened: Any, wanted: Masks, inner: Inner) -> Masks:
    """Of a scan, masks of the results of a step, the same for all steps."""
    return _scanned(eqn, opened, wanted, inner)[0]


def _scanned(
    eqn: Any, opened: Any, wanted: Masks, inner: Inner, counted: list[float] | None = None
) -> tuple[Masks, Masks]:
    body, known = opened
    p = eqn.params
    n, m = p["num_consts"], p["num_carry"]
    step = [*wanted[:m], *(np.any(w, axis=0) for w in wanted[m:])]
    while True:
        each: list[float] = []
        some = backwards(body, known, step, inner, each)
        operands = [mask_of(some, v) for v in body.invars]
        carry = [a | b for a, b in zip(step[:m], operands[n : n + m], strict=True)]
        if all(map(np.array_equal, carry, step[:m])):
            break
        step[:m] = carry
    if counted is not None:
        counted.extend(each)
    rows = [np.broadcast_to(mask, (p["length"], *mask.shape)) for mask in operands[n + m :]]
    return step, [*operands[:n], *carry, *rows]
