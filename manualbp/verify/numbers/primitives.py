"""What primitives do to arrays of numbers: one table, a row a primitive.

A row says what a primitive is for arrays of anything, of integers and booleans, and of numbers.
A primitive without a row is a function of numbers, entry by entry, if the arithmetic has one of
that name; on integers alone it is run by JAX itself.
"""

import functools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np
from jax import lax

from manualbp.verify.numbers import linear, windows
from manualbp.verify.numbers.arithmetic import (
    Straddles,
    Unsupported,
    array,
    each,
    each_bool,
    has_numbers,
    is_complex,
    is_floating,
)


@dataclass(frozen=True)
class Row:
    """How a primitive is run.

    Attributes:
      numbers: (equation, values, arithmetic) -> result, or a list of them, where numbers or open
        comparisons are among the values; None for a function of the arithmetic. A product, and
        what is scattered, may be given a mask of the entries that are wanted.
      integers: (parameters, *arrays) -> result by NumPy, where all are integers or booleans; None
        for JAX's own.
      anything: (parameters, *arrays) -> result, whatever the arrays hold.
      complex: whether `numbers` holds for complex numbers, too.
      left_open: whether it may be asked of comparisons left open.
      needs: what entries of the results need of the operands: the "entries" at their places, what
        is "moved" there or "indexed" by integers, updates "scattered" to them, what is "reduced"
        to them, the "lines" along an axis, rows and columns of a "product", or "all".
    """

    numbers: Callable[..., Any] | None = None
    integers: Callable[..., Any] | None = None
    anything: Callable[..., Any] | None = None
    complex: bool = False
    left_open: bool = False
    needs: str = "all"


FUNCTION = Row(needs="entries")


def bind(eqn: Any, xs: list[Any], **changed: Any) -> list[Any]:
    """The primitive itself, on integers, booleans and keys."""
    out = eqn.primitive.bind(*xs, **{**eqn.params, **changed})
    outs = out if eqn.primitive.multiple_results else [out]
    keys = jax.dtypes.extended
    return [y if jax.dtypes.issubdtype(y.dtype, keys) else np.asarray(y) for y in outs]


# Movement


def _broadcast(params, x, *dynamic):
    shape, axes = params["shape"], params["broadcast_dimensions"]
    kept = [1] * len(shape)
    for axis, n in zip(axes, x.shape, strict=True):
        kept[axis] = n
    return np.broadcast_to(x.reshape(kept), shape)


def _reshape(params, x):
    order = params["dimensions"]  # in which the axes are read
    return (x if order is None else x.transpose(order)).reshape(params["new_sizes"])


def _pad(params, x, fill):
    low, high, inner = zip(*params["padding_config"], strict=True) if x.ndim else ((), (), ())
    sizes = [n + max(n - 1, 0) * k for n, k in zip(x.shape, inner, strict=True)]
    beyond = zip(sizes, low, high, strict=True)
    out = np.full([n + max(a, 0) + max(b, 0) for n, a, b in beyond], fill.item(), x.dtype)
    places = zip(sizes, low, inner, strict=True)
    out[tuple(slice(max(a, 0), max(a, 0) + n, k + 1) for n, a, k in places)] = x
    cut = zip(out.shape, low, high, strict=True)
    return out[tuple(slice(max(-a, 0), n - max(-b, 0)) for n, a, b in cut)]


def _slice(params, x):
    strides = params["strides"] or (1,) * x.ndim
    bounds = zip(params["start_indices"], params["limit_indices"], strides, strict=True)
    return x[tuple(slice(*bound) for bound in bounds)]


def _move(eqn, xs, ar):
    """The primitive itself moves positions, and numbers follow."""
    operands = tuple(
        x.shape if has_numbers(x) else (x.shape, x.dtype, np.asarray(x).tobytes()) for x in xs
    )
    numbers = np.concatenate([x.ravel() for x in xs if has_numbers(x)])
    # last, what a gather out of bounds fills in
    fill = eqn.params.get("fill_value")
    pool = np.append(numbers, array([ar.lift(float("nan") if fill is None else fill)], (1,)))
    return [pool[places] for places in positions(eqn, operands)]


@functools.lru_cache(maxsize=2048)
def positions(eqn: Any, operands: tuple) -> list[np.ndarray]:
    """Where each entry of the results comes from, among the entries of the operands that move.

    Args:
      eqn: a movement.
      operands: the shape of each that moves; shape, dtype and bytes of the others.
    """
    count = 0
    xs = []
    for operand in operands:
        if operand and isinstance(operand[-1], bytes):
            shape, dtype, data = operand
            xs.append(np.frombuffer(data, dtype).reshape(shape))
        else:
            size = math.prod(operand)
            xs.append(np.arange(count, count + size, dtype=np.float64).reshape(operand))
            count += size
    changed = {"fill_value": -1.0} if eqn.params.get("fill_value") is not None else {}
    with jax.enable_x64(True):
        results = bind(eqn, xs, **changed)
    return [np.where((x >= 0) & (x < count), x, count).astype(int) for x in results]


def _scatter(method: str) -> Callable[..., Any]:
    def apply(eqn, xs, ar, wanted=None):
        """Each update is added, multiplied, ... where the primitive would put it, and is wanted."""
        operand, indices, updates = xs
        combine = getattr(ar, method)
        out = operand.copy().ravel()
        data = np.asarray(indices)
        places = targets(eqn, operand.shape, data.shape, data.dtype, data.tobytes(), updates.shape)
        for target, update in zip(places.tolist(), updates.ravel(), strict=True):
            if target >= 0 and (wanted is None or wanted.flat[target]):
                out[target] = combine(out[target], update)
        return out.reshape(operand.shape)

    return apply


@functools.lru_cache(maxsize=2048)
def targets(eqn, shape, indices_shape, dtype, data, updates_shape) -> np.ndarray:
    """The place in the raveled operand to which each update goes, raveled; -1 where it is dropped.

    What is added to a place comes back to the update by the transpose of scatter-add.
    """
    indices = np.frombuffer(data, dtype).reshape(indices_shape)
    options = ("dimension_numbers", "indices_are_sorted", "unique_indices", "mode")
    chosen = {name: eqn.params[name] for name in options}
    if chosen["mode"] == lax.GatherScatterMode.PROMISE_IN_BOUNDS:
        chosen["mode"] = lax.GatherScatterMode.FILL_OR_DROP  # as a scatter does, not a gather
    places = np.arange(1.0, math.prod(shape) + 1).reshape(shape)
    with jax.enable_x64(True):
        added = functools.partial(lax.scatter_add, np.zeros(shape), indices, **chosen)
        (back,) = jax.linear_transpose(added, jax.ShapeDtypeStruct(updates_shape, np.float64))(
            places
        )
    return np.asarray(back).ravel().astype(int) - 1


# Numbers, entry by entry


def _method(name: str) -> Callable[..., Any]:
    return lambda eqn, xs, ar: each(getattr(ar, name), *xs)


def _compare(name: str) -> Callable[..., Any]:
    return lambda eqn, xs, ar: each_bool(lambda x, y: ar.compare(name, x, y), *xs)


def _three(x: bool | None, y: bool | None, decides: bool) -> bool | None:
    """`and` (False decides) and `or` (True decides) where None is open."""
    if (x is not None and bool(x) is decides) or (y is not None and bool(y) is decides):
        return decides
    return None if x is None or y is None else not decides


def _logical(decides: bool) -> Callable[..., Any]:
    return lambda eqn, xs, ar: each_bool(lambda x, y: _three(x, y, decides), *xs)


def _not(eqn, xs, ar):
    return each_bool(lambda x: None if x is None else not x, xs[0])


def _select_n(eqn, xs, ar):
    which, *cases = xs
    if has_numbers(which):
        low, high = cases

        def pick(open_, x, y):
            return ar.union(x, y) if open_ is None else y if open_ else x

        return each(pick, which, low, high)
    chosen = np.broadcast_to(np.asarray(which).astype(int), cases[0].shape)
    out = cases[0].copy()
    for k, case in enumerate(cases[1:], 1):
        out[chosen == k] = case[chosen == k]
    return out


def _clamp(eqn, xs, ar):
    low, x, high = xs
    return each(ar.minimum, each(ar.maximum, x, low), high)


def _convert(eqn, xs, ar):
    old, new = eqn.invars[0].aval.dtype, eqn.params["new_dtype"]
    if old == np.bool_:
        if not is_floating(new):
            raise Straddles("an integer of a comparison left open")
        zero, one = ar.lift(0.0), ar.lift(1.0)
        return each(lambda x: ar.union(zero, one) if x is None else one if x else zero, xs[0])
    if is_complex(new):
        return xs[0] if is_complex(old) else _complex(eqn, xs, ar)
    if is_complex(old):
        raise Unsupported("convert_element_type of complex numbers")
    if is_floating(new):
        return xs[0]  # a rounding, which real arithmetic does not have
    if new == np.bool_:
        zero = ar.lift(0.0)
        return each_bool(lambda x: ar.compare("ne", x, zero), xs[0])
    parts = each(ar.integer_part, xs[0])
    kept = np.iinfo(new)
    if any(not kept.min <= n <= kept.max for n in parts.ravel()):
        raise Unsupported(f"a number beyond {np.dtype(new).name} as an integer")
    return parts.astype(new)


def _bitcast(eqn, xs, ar):
    if eqn.params["new_dtype"] != eqn.invars[0].aval.dtype:
        raise Unsupported("bitcast_convert_type")
    return xs[0]


def _complex(eqn, xs, ar):
    """Of real parts, and imaginary ones where they are given."""
    zero = ar.lift(0.0)
    return each(ar.complex, *xs) if len(xs) == 2 else each(lambda x: ar.complex(x, zero), *xs)


def _conj(eqn, xs, ar):
    if not is_complex(eqn.invars[0].aval.dtype):
        return _complex(eqn, xs, ar)
    return each(ar.complex_function("conj", 1), *xs)


def _round(eqn, xs, ar):
    floor, half = ar.function("floor", 1), ar.lift(0.5)

    def away(x):
        if ar.compare("ge", x, ar.lift(0.0)):
            return floor(ar.add(x, half))
        return ar.sub(ar.lift(0.0), floor(ar.sub(half, x)))

    def to_even(x):
        y = floor(ar.add(x, half))
        tie = ar.compare("eq", ar.sub(y, x), half)
        return ar.sub(y, ar.lift(1.0)) if tie and ar.integer_part(y) % 2 else y

    to_integer = away if int(eqn.params["rounding_method"]) == 0 else to_even
    return each(lambda x: to_integer(x) if ar.is_finite(x) else x, xs[0])


def _integer_pow(eqn, xs, ar):
    return each(lambda x: ar.integer_power(x, eqn.params["y"]), xs[0])


def _pow(eqn, xs, ar):
    base, exponent = xs
    if not has_numbers(exponent):
        return each(lambda x, n: ar.integer_power(x, int(n)), base, np.asarray(exponent))
    return each(ar.power, base, exponent)


# Numbers along axes


def _fold(x: np.ndarray, axes: Sequence[int], function: Callable, start: Any) -> np.ndarray:
    """Reduce over axes, in order."""
    kept = [i for i in range(x.ndim) if i not in axes]
    shape = [x.shape[i] for i in kept]
    columns = x.transpose(*kept, *axes).reshape(math.prod(shape), -1 if x.size else 0)
    results = []
    for column in columns:
        total = start
        for number in column:
            total = number if total is None else function(total, number)
        results.append(total)
    return array(results, shape)


def _reduce(method: str, start: float) -> Callable[..., Any]:
    return lambda eqn, xs, ar: _fold(xs[0], eqn.params["axes"], getattr(ar, method), ar.lift(start))


def _reduce_logical(decides: bool) -> Callable[..., Any]:
    return lambda eqn, xs, ar: _fold(
        xs[0], eqn.params["axes"], lambda x, y: _three(x, y, decides), not decides
    )


def _argmax(sign: str) -> Callable[..., Any]:
    """The first NaN, or else the first of the largest."""

    def apply(eqn, xs, ar):
        (axis,) = eqn.params["axes"]
        moved = np.moveaxis(xs[0], axis, -1)
        best = []
        for row in moved.reshape(-1, moved.shape[-1]):
            top = next((i for i, x in enumerate(row) if ar.is_nan(x)), None)
            if top is None:
                top = 0
                for i in range(1, len(row)):
                    if ar.compare(sign, row[i], row[top]):
                        top = i
            best.append(top)
        return np.asarray(best, eqn.params["index_dtype"]).reshape(moved.shape[:-1])

    return apply


def _cumulative(method: str) -> Callable[..., Any]:
    def apply(eqn, xs, ar):
        axis, reverse = eqn.params["axis"], eqn.params["reverse"]
        x = np.flip(xs[0], axis) if reverse else xs[0]
        rows = np.moveaxis(x, axis, 0).copy()
        for i in range(1, len(rows)):
            step = each(getattr(ar, method), rows[i - 1], rows[i])
            rows[i] = step if step.shape else step.item()
        out = np.moveaxis(rows, 0, axis)
        return np.flip(out, axis) if reverse else out

    return apply


def _cumlogsumexp(eqn, xs, ar):
    exp, log = ar.function("exp", 1), ar.function("log", 1)
    return each(log, _cumulative("add")(eqn, [each(exp, xs[0])], ar))


class Product:
    """A product of stacks of matrices: [batch, rows, inner] and [batch, inner, columns]."""

    def __init__(self, eqn: Any):
        (self.contract_a, self.contract_b), (self.batch_a, self.batch_b) = eqn.params[
            "dimension_numbers"
        ]
        self.a, self.b = (v.aval.shape for v in eqn.invars)
        mine = (*self.contract_a, *self.batch_a)
        self.free_a = [i for i in range(len(self.a)) if i not in mine]
        mine = (*self.contract_b, *self.batch_b)
        self.free_b = [i for i in range(len(self.b)) if i not in mine]
        self.batch = [self.a[i] for i in self.batch_a]
        self.rows = [self.a[i] for i in self.free_a]
        self.columns = [self.b[i] for i in self.free_b]
        self.inner = [self.a[i] for i in self.contract_a]
        self.n = [math.prod(x) for x in (self.batch, self.rows, self.inner, self.columns)]

    def left(self, x: np.ndarray) -> np.ndarray:
        order = (*self.batch_a, *self.free_a, *self.contract_a)
        return x.transpose(order).reshape(self.n[0], self.n[1], self.n[2])

    def right(self, x: np.ndarray) -> np.ndarray:
        order = (*self.batch_b, *self.contract_b, *self.free_b)
        return x.transpose(order).reshape(self.n[0], self.n[2], self.n[3])

    def asked(self, mask: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Rows and columns of each product that are needed."""
        mask = mask.reshape(self.n[0], self.n[1], self.n[3])
        return np.any(mask, axis=2), np.any(mask, axis=1)


def _dot_general(eqn, xs, ar, wanted=None):
    p = Product(eqn)
    left, right = p.left(xs[0]), p.right(xs[1])
    shape = eqn.outvars[0].aval.shape
    rows, columns = p.asked(np.ones(shape, bool) if wanted is None else wanted)
    out = array([None] * math.prod(shape), (p.n[0], p.n[1], p.n[3]))
    for i, (r, c) in enumerate(zip(rows, columns, strict=True)):
        if r.any():
            out[i][np.ix_(r, c)] = ar.matmul(left[i][r], right[i][:, c])
    return out.reshape(shape)


def _fft(eqn, xs, ar):
    kind, lengths = int(eqn.params["fft_type"]), eqn.params["fft_lengths"]
    (x,) = xs
    if x.size == 0:
        return array([], eqn.outvars[0].aval.shape)
    axes = list(range(x.ndim - len(lengths), x.ndim))
    inverse = kind in (1, 3)

    def along(x, axis, transform):
        rows = np.moveaxis(x, axis, -1)
        out = [transform(list(row)) for row in rows.reshape(-1, rows.shape[-1])]
        flat = [number for row in out for number in row]
        return np.moveaxis(array(flat, (*rows.shape[:-1], len(out[0]))), -1, axis)

    def whole(row):
        return ar.fourier(row, inverse)

    if kind in (0, 1):
        for axis in axes:
            x = along(x, axis, whole)
        return x
    n = lengths[-1]
    if kind == 2:  # of real numbers, half of the result
        x = along(x, axes[-1], lambda row: whole(row)[: n // 2 + 1])
        for axis in axes[:-1]:
            x = along(x, axis, whole)
        return x
    conj, real = (ar.complex_function(name, 1) for name in ("conj", "real"))

    def to_real(row):
        rest = [conj(row[n - k]) for k in range(n // 2 + 1, n)]
        ends = [0, n // 2] if n % 2 == 0 else [0]  # read as real
        half = [ar.complex(real(v), ar.lift(0.0)) if k in ends else v for k, v in enumerate(row)]
        return [real(v) for v in whole([*half[: n // 2 + 1], *rest])]

    for axis in axes[:-1]:
        x = along(x, axis, whole)
    return along(x, axes[-1], to_real)


# Order


def _sort(eqn, xs, ar):
    axis, keys = eqn.params["dimension"], eqn.params["num_keys"]
    moved = [np.moveaxis(x, axis, -1) for x in xs]
    shape = moved[0].shape
    rows = [m.reshape(-1, shape[-1]) for m in moved]
    out = [np.empty_like(r) for r in rows]
    for r in range(rows[0].shape[0]):
        columns = [row[r] for row in rows[:keys]]
        in_order = functools.cmp_to_key(functools.partial(_order, columns, ar))
        order = sorted(range(shape[-1]), key=in_order)
        for target, source in zip(out, rows, strict=True):
            target[r] = source[r][order]
    return [np.moveaxis(o.reshape(shape), -1, axis) for o in out]


def _order(columns: list[np.ndarray], ar: Any, i: int, j: int) -> int:
    """-1, 0 or 1 as row i comes before row j, with it or after it; NaN is last."""
    for column in columns:
        x, y = column[i], column[j]
        if column.dtype != object:
            order = int(x > y) - int(x < y)
        elif ar.is_nan(x) or ar.is_nan(y):
            order = int(ar.is_nan(x)) - int(ar.is_nan(y))
        else:
            order = -1 if ar.compare("lt", x, y) else 1 if ar.compare("lt", y, x) else 0
        if order:
            return order
    return 0


def _top(x: np.ndarray, k: int, axis: int, sign: str, ar: Any) -> list[np.ndarray]:
    """The first k in order, each with its index; equal ones by index."""
    moved = np.moveaxis(x, axis, -1)
    if any(map(ar.is_nan, x.ravel())):
        raise Unsupported("top_k beside a NaN")

    def before(row, i, j):
        return -1 if ar.compare(sign, row[i], row[j]) else int(ar.compare(sign, row[j], row[i]))

    orders = [
        sorted(range(len(row)), key=functools.cmp_to_key(functools.partial(before, row)))[:k]
        for row in moved.reshape(-1, moved.shape[-1])
    ]
    places = np.array(orders, np.int32).reshape(*moved.shape[:-1], k)
    return [np.moveaxis(y, -1, axis) for y in (np.take_along_axis(moved, places, -1), places)]


def _top_k(eqn, xs, ar):
    return _top(xs[0], eqn.params["k"], eqn.params.get("axis", -1), "gt", ar)


def _approx_top_k(eqn, xs, ar):
    """As a CPU does it: exactly."""
    p = eqn.params
    if not p["aggregate_to_topk"]:
        raise Unsupported("approx_top_k without aggregation")
    return _top(xs[0], p["k"], p["reduction_dimension"], "gt" if p["is_max_k"] else "lt", ar)


# Integers and booleans, by NumPy


def _plain(function: Callable[..., Any]) -> Callable[..., Any]:
    return lambda params, *xs: function(*xs)


def _iota(params):
    shape, axis = params["shape"], params["dimension"]
    count = np.arange(shape[axis]).reshape([-1 if i == axis else 1 for i in range(len(shape))])
    return np.broadcast_to(count, shape).astype(params["dtype"])


def _same(params: dict, x: Any) -> Any:
    return x


def _all_same(eqn: Any, xs: list, ar: Any) -> list:
    return list(xs)


PRIMITIVES: dict[str, Row] = {
    # movement: NumPy moves arrays of anything
    "broadcast_in_dim": Row(anything=_broadcast, needs="moved"),
    "concatenate": Row(anything=lambda p, *xs: np.concatenate(xs, p["dimension"]), needs="moved"),
    "copy": Row(anything=_same, needs="moved"),
    "copy_p": Row(anything=_same, needs="moved"),
    "expand_dims": Row(anything=lambda p, x: np.expand_dims(x, p["dimensions"]), needs="moved"),
    "name": Row(anything=_same, needs="moved"),
    "pad": Row(anything=_pad, needs="moved"),
    "reshape": Row(anything=_reshape, needs="moved"),
    "reshard": Row(anything=_same, needs="moved"),
    "rev": Row(anything=lambda p, x: np.flip(x, p["dimensions"]), needs="moved"),
    "sharding_constraint": Row(anything=_same, needs="moved"),
    "slice": Row(anything=_slice, needs="moved"),
    "squeeze": Row(anything=lambda p, x: np.squeeze(x, tuple(p["dimensions"])), needs="moved"),
    "transpose": Row(anything=lambda p, x: x.transpose(p["permutation"]), needs="moved"),
    # movement: the primitive itself moves positions
    "dynamic_slice": Row(_move, complex=True, left_open=True, needs="indexed"),
    "dynamic_update_slice": Row(_move, complex=True, left_open=True, needs="indexed"),
    "gather": Row(_move, complex=True, left_open=True, needs="indexed"),
    "scatter": Row(_move, complex=True, left_open=True, needs="indexed"),
    "split": Row(_move, complex=True, left_open=True, needs="indexed"),
    "stack": Row(_move, complex=True, left_open=True, needs="indexed"),
    "tile": Row(_move, complex=True, left_open=True, needs="indexed"),
    "unstack": Row(_move, complex=True, left_open=True, needs="indexed"),
    # the identity of real numbers
    "bitcast_convert_type": Row(_bitcast, complex=True, needs="entries"),
    "device_put": Row(_all_same, complex=True),
    "optimization_barrier": Row(_all_same, complex=True, left_open=True),
    "reduce_precision": Row(_all_same, complex=True, needs="entries"),
    "stop_gradient": Row(lambda eqn, xs, ar: ar.stop(xs[0]), complex=True, needs="entries"),
    # arithmetic
    "add": Row(_method("add"), _plain(np.add), complex=True, needs="entries"),
    "add_any": Row(_method("add"), complex=True, needs="entries"),
    "atan2": Row(_method("atan2"), needs="entries"),
    "clamp": Row(_clamp, needs="entries"),
    "div": Row(_method("div"), complex=True, needs="entries"),
    "integer_pow": Row(_integer_pow, complex=True, needs="entries"),
    "max": Row(_method("maximum"), _plain(np.maximum), needs="entries"),
    "min": Row(_method("minimum"), _plain(np.minimum), needs="entries"),
    "mul": Row(_method("mul"), _plain(np.multiply), complex=True, needs="entries"),
    "pow": Row(_pow, complex=True, needs="entries"),
    "round": Row(_round, needs="entries"),
    "sub": Row(_method("sub"), _plain(np.subtract), complex=True, needs="entries"),
    # complex numbers
    "complex": Row(_complex, needs="entries"),
    "conj": Row(_conj, complex=True, needs="entries"),
    # comparisons and what is made of them
    "and": Row(_logical(False), _plain(np.bitwise_and), left_open=True, needs="entries"),
    "convert_element_type": Row(
        _convert,
        lambda p, x: x.astype(p["new_dtype"]),
        complex=True,
        left_open=True,
        needs="entries",
    ),
    "eq": Row(_compare("eq"), _plain(np.equal), complex=True, needs="entries"),
    "ge": Row(_compare("ge"), _plain(np.greater_equal), needs="entries"),
    "gt": Row(_compare("gt"), _plain(np.greater), needs="entries"),
    "is_finite": Row(
        lambda eqn, xs, ar: each_bool(ar.is_finite, xs[0]), complex=True, needs="entries"
    ),
    "le": Row(_compare("le"), _plain(np.less_equal), needs="entries"),
    "lt": Row(_compare("lt"), _plain(np.less), needs="entries"),
    "ne": Row(_compare("ne"), _plain(np.not_equal), complex=True, needs="entries"),
    "not": Row(_not, _plain(np.invert), left_open=True, needs="entries"),
    "or": Row(_logical(True), _plain(np.bitwise_or), left_open=True, needs="entries"),
    "select_n": Row(
        _select_n,
        lambda p, which, *cases: np.choose(which, cases),
        complex=True,
        left_open=True,
        needs="entries",
    ),
    # along axes
    "argmax": Row(_argmax("gt"), needs="reduced"),
    "argmin": Row(_argmax("lt"), needs="reduced"),
    "cumlogsumexp": Row(_cumlogsumexp, needs="lines"),
    "cummax": Row(_cumulative("maximum"), needs="lines"),
    "cummin": Row(_cumulative("minimum"), needs="lines"),
    "cumprod": Row(_cumulative("mul"), complex=True, needs="lines"),
    "cumsum": Row(_cumulative("add"), complex=True, needs="lines"),
    "reduce_and": Row(
        _reduce_logical(False), lambda p, x: np.all(x, p["axes"]), left_open=True, needs="reduced"
    ),
    "reduce_max": Row(_reduce("maximum", -math.inf), needs="reduced"),
    "reduce_min": Row(_reduce("minimum", math.inf), needs="reduced"),
    "reduce_or": Row(
        _reduce_logical(True), lambda p, x: np.any(x, p["axes"]), left_open=True, needs="reduced"
    ),
    "reduce_prod": Row(_reduce("mul", 1.0), complex=True, needs="reduced"),
    "reduce_sum": Row(_reduce("add", 0.0), complex=True, needs="reduced"),
    # in order
    "approx_top_k": Row(_approx_top_k),
    "sort": Row(_sort, needs="lines"),
    "top_k": Row(_top_k),
    # by index
    "scatter-add": Row(_scatter("add"), complex=True, needs="scattered"),
    "scatter-max": Row(_scatter("maximum"), needs="scattered"),
    "scatter-min": Row(_scatter("minimum"), needs="scattered"),
    "scatter-mul": Row(_scatter("mul"), complex=True, needs="scattered"),
    "scatter-sub": Row(_scatter("sub"), complex=True, needs="scattered"),
    # in windows
    "conv_general_dilated": Row(windows.convolution, complex=True),
    "reduce_window_max": Row(windows.reduce_windows("maximum", -math.inf)),
    "reduce_window_min": Row(windows.reduce_windows("minimum", math.inf)),
    "reduce_window_sum": Row(windows.reduce_windows("add", 0.0), complex=True),
    "select_and_gather_add": Row(windows.select_and_gather_add),
    "select_and_scatter_add": Row(windows.select_and_scatter_add),
    # linear algebra
    "cholesky": Row(linear.cholesky),
    "dot_general": Row(_dot_general, complex=True, needs="product"),
    "fft": Row(_fft, complex=True),
    "lu": Row(linear.lu),
    "qr": Row(linear.qr),
    "triangular_solve": Row(linear.triangular_solve, complex=True),
    "tridiagonal_solve": Row(linear.tridiagonal_solve),
    # of integers alone
    "debug_callback": Row(lambda eqn, xs, ar: []),
    "debug_print": Row(lambda eqn, xs, ar: []),
    "iota": Row(integers=_iota),
}
