"""A jaxpr interpreter with the arithmetic as a parameter.

A program traced by JAX is run again over other numbers: balls, expressions, whatever an
arithmetic offers. Floating values are NumPy arrays of such numbers; integers and booleans stay
what they are. Pure data movement runs the primitive itself on an array of positions.

An arithmetic may leave a comparison open (None): then booleans are arrays of True, False and
None, and a selection over None is the union of both cases.
"""

import functools
import math
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend import core


class Unsupported(Exception):
    """A primitive that has no form in this arithmetic."""


class Straddles(Exception):
    """A comparison that the precision at hand does not decide."""


class Arithmetic(Protocol):
    """What the interpreter asks of numbers."""

    name: str

    def lift(self, x: float) -> Any: ...
    def constant(self, x: float) -> Any: ...
    # a function of so many numbers, by its primitive; raises Unsupported
    def function(self, name: str, arguments: int) -> Callable[..., Any]: ...
    def add(self, x: Any, y: Any) -> Any: ...
    def mul(self, x: Any, y: Any) -> Any: ...
    def sub(self, x: Any, y: Any) -> Any: ...
    def div(self, x: Any, y: Any) -> Any: ...
    def power(self, x: Any, y: Any) -> Any: ...
    def integer_power(self, x: Any, n: int) -> Any: ...
    def atan2(self, y: Any, x: Any) -> Any: ...
    def maximum(self, x: Any, y: Any) -> Any: ...
    def minimum(self, x: Any, y: Any) -> Any: ...
    def compare(self, name: str, x: Any, y: Any) -> bool | None: ...
    def union(self, x: Any, y: Any) -> Any: ...
    def is_finite(self, x: Any) -> bool: ...
    def integer_part(self, x: Any) -> int: ...
    def instead(
        self, eqn: Any, xs: list
    ) -> Any: ...  # a result of its own for an equation, or None


@functools.cache
def is_floating(dtype: Any) -> bool:
    return jnp.issubdtype(dtype, jnp.floating)


def lift(x: Any, number: Callable[[float], Any]) -> Any:
    """An array as numbers of the arithmetic where it is floating, as it is otherwise."""
    dtype = getattr(x, "dtype", None)
    if dtype is None:
        x = np.asarray(x)
        dtype = x.dtype
    if dtype == jax.dtypes.float0 or not is_floating(dtype):
        return x
    flat = [number(float(v)) for v in np.asarray(x, dtype=np.float64).ravel()]
    return _array(flat, np.shape(x))


def _has_numbers(x: Any) -> bool:
    """Whether an array holds the arithmetic's numbers, or comparisons left open."""
    return isinstance(x, np.ndarray) and x.dtype.kind == "O"


def _array(numbers: Sequence[Any], shape: Sequence[int]) -> np.ndarray:
    out = np.empty(len(numbers), dtype=object)
    out[:] = numbers
    return out.reshape(tuple(shape))


def evaluate(
    closed: core.ClosedJaxpr, arguments: Sequence[Any], arithmetic: Arithmetic
) -> list[Any]:
    """The results of the program for arguments already lifted.

    Raises:
      Unsupported: a primitive without a form in this arithmetic, named.
      Straddles: a comparison that is not decided at this precision.
    """
    consts = [lift(c, arithmetic.constant) for c in closed.consts]
    return _run(closed.jaxpr, consts, arguments, arithmetic)


def _run(jaxpr: Any, consts: Sequence[Any], arguments: Sequence[Any], ar: Arithmetic) -> list[Any]:
    values: dict[Any, Any] = {}

    def read(atom: Any) -> Any:
        if isinstance(atom, core.Literal):
            aval: Any = atom.aval
            return lift(np.asarray(atom.val, aval.dtype), ar.constant)
        return values[atom]

    values.update(zip(jaxpr.constvars, consts, strict=True))
    values.update(zip(jaxpr.invars, arguments, strict=True))
    for eqn in jaxpr.eqns:
        results = _equation(eqn, [read(v) for v in eqn.invars], ar)
        values.update(zip(eqn.outvars, map(_as_array, results), strict=True))
    return [read(v) for v in jaxpr.outvars]


def _equation(eqn: Any, xs: list[Any], ar: Arithmetic) -> list[Any]:
    name = eqn.primitive.name
    changed = ar.instead(eqn, xs)
    if changed is not None:
        return [changed]
    if name in CALLS:
        inner = eqn.params[CALLS[name]]
        if isinstance(inner, core.ClosedJaxpr):
            return evaluate(inner, xs, ar)
        return _run(inner, (), xs, ar)
    if name in _CONTROL:
        return _CONTROL[name](eqn, xs, ar)
    if name in _ARRAYS:
        return [_ARRAYS[name](eqn.params, *xs)]
    if not any(map(_has_numbers, xs)):
        return _native(eqn, xs, ar)
    if name in _MOVES:
        return _move(eqn, xs, ar)
    if not any(is_floating(v.aval.dtype) for v in eqn.invars) and name not in _OPEN:
        raise Straddles(f"{name} of a comparison left open")
    rule = _RULES.get(name)
    if rule is None:
        return [_each(ar.function(name, len(xs)), *xs)]
    out = rule(eqn, xs, ar)
    return out if isinstance(out, list) else [out]


def _native(eqn: Any, xs: list[Any], ar: Arithmetic) -> list[Any]:
    """No number of the arithmetic goes in: NumPy where it has the function, else JAX."""
    function = _NUMPY.get(eqn.primitive.name)
    if function is not None and all(isinstance(x, np.ndarray) for x in xs):
        return [np.asarray(function(*xs), eqn.outvars[0].aval.dtype)]
    own = _NATIVE.get(eqn.primitive.name)
    if own is not None and all(isinstance(x, np.ndarray) and x.dtype.kind in "biu" for x in xs):
        return [lift(own(eqn.params, *xs), ar.constant)]
    return [lift(y, ar.constant) for y in _bind(eqn, xs)]


def _bind(eqn: Any, xs: list[Any], **changed: Any) -> list[Any]:
    """The primitive itself, on integers, booleans and keys."""
    out = eqn.primitive.bind(*xs, **{**eqn.params, **changed})
    outs = out if eqn.primitive.multiple_results else [out]
    keys = jax.dtypes.extended
    return [y if jax.dtypes.issubdtype(y.dtype, keys) else np.asarray(y) for y in outs]


def _move(eqn: Any, xs: list[Any], ar: Arithmetic) -> list[Any]:
    """Data movement: the primitive moves positions, and numbers follow."""
    operands = tuple(
        x.shape if _has_numbers(x) else (x.shape, x.dtype, np.asarray(x).tobytes()) for x in xs
    )
    numbers = [number for x in xs if _has_numbers(x) for number in x.ravel()]
    # last, what a gather out of bounds fills in
    pool = _array([*numbers, ar.lift(float("nan"))], (len(numbers) + 1,))
    return [pool[positions] for positions in _positions(eqn, operands)]


@functools.lru_cache(maxsize=2048)
def _positions(eqn: Any, operands: tuple) -> list[np.ndarray]:
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
    results = _bind(eqn, xs, **changed)
    return [np.where((x >= 0) & (x < count), x, count).astype(int) for x in results]


def _each(function: Callable[..., Any], *arrays: np.ndarray) -> np.ndarray:
    out = np.frompyfunc(function, len(arrays), 1)(*arrays)
    return out if isinstance(out, np.ndarray) else _array([out], ())


def _each_bool(function: Callable[..., bool | None], *arrays: np.ndarray) -> np.ndarray:
    """Booleans, as NumPy's where all are decided."""
    out = _each(function, *arrays)
    return out if any(x is None for x in out.ravel()) else out.astype(bool)


# One function a primitive: (equation, values, arithmetic) -> result


def _binary(method: str) -> Callable[..., Any]:
    return lambda eqn, xs, ar: _each(getattr(ar, method), *xs)


def _compare(name: str) -> Callable[..., Any]:
    return lambda eqn, xs, ar: _each_bool(lambda x, y: ar.compare(name, x, y), *xs)


def _fold(array: np.ndarray, axes: Sequence[int], function: Callable, start: Any) -> np.ndarray:
    """Reduce over axes, in order."""
    kept = [i for i in range(array.ndim) if i not in axes]
    shape = [array.shape[i] for i in kept]
    length = int(np.prod([array.shape[i] for i in axes]))
    columns = array.transpose(*kept, *axes).reshape(int(np.prod(shape)), length)
    results = []
    for column in columns:
        total = start
        for x in column:
            total = x if total is None else function(total, x)
        results.append(total)
    return _array(results, shape)


def _reduce(method: str, start: float | None) -> Callable[..., Any]:
    def apply(eqn, xs, ar):
        first = ar.lift(start) if start is not None else None
        return _fold(xs[0], eqn.params["axes"], getattr(ar, method), first)

    return apply


def _argmax(sign: str) -> Callable[..., Any]:
    def apply(eqn, xs, ar):
        (axis,) = eqn.params["axes"]
        moved = np.moveaxis(xs[0], axis, -1)
        best = []
        for row in moved.reshape(-1, moved.shape[-1]):
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
            step = _each(getattr(ar, method), rows[i - 1], rows[i])
            rows[i] = step if step.shape else step.item()
        out = np.moveaxis(rows, 0, axis)
        return np.flip(out, axis) if reverse else out

    return apply


def _dot_general(eqn, xs, ar):
    (contract_a, contract_b), (batch_a, batch_b) = eqn.params["dimension_numbers"]
    a, b = xs
    free_a = [i for i in range(a.ndim) if i not in (*contract_a, *batch_a)]
    free_b = [i for i in range(b.ndim) if i not in (*contract_b, *batch_b)]
    batch = [a.shape[i] for i in batch_a]
    inner = int(np.prod([a.shape[i] for i in contract_a]))
    rows, columns = [a.shape[i] for i in free_a], [b.shape[i] for i in free_b]
    left = a.transpose(*batch_a, *free_a, *contract_a).reshape(
        int(np.prod(batch)), int(np.prod(rows)), inner
    )
    right = b.transpose(*batch_b, *free_b, *contract_b).reshape(
        int(np.prod(batch)), int(np.prod(columns)), inner
    )
    out = []
    for matrix, other in zip(left, right, strict=True):
        for row in matrix:
            for column in other:
                total = ar.lift(0.0)
                for x, y in zip(row, column, strict=True):
                    total = ar.add(total, ar.mul(x, y))
                out.append(total)
    return _array(out, [*batch, *rows, *columns])


def _select_n(eqn, xs, ar):
    which, *cases = xs
    if _has_numbers(which):
        low, high = cases

        def pick(open_, x, y):
            return ar.union(x, y) if open_ is None else y if open_ else x

        return _each(pick, which, low, high)
    chosen = np.broadcast_to(np.asarray(which).astype(int), cases[0].shape)
    out = cases[0].copy()
    for k, case in enumerate(cases[1:], 1):
        out[chosen == k] = case[chosen == k]
    return out


def _not(eqn, xs, ar):
    return _each_bool(lambda x: None if x is None else not x, xs[0])


def _and(eqn, xs, ar):
    return _each_bool(lambda x, y: _three(x, y, False), *xs)


def _or(eqn, xs, ar):
    return _each_bool(lambda x, y: _three(x, y, True), *xs)


def _three(x: bool | None, y: bool | None, decides: bool) -> bool | None:
    """`and` (False decides) and `or` (True decides) where None is open."""
    if (x is not None and bool(x) is decides) or (y is not None and bool(y) is decides):
        return decides
    return None if x is None or y is None else not decides


def _clamp(eqn, xs, ar):
    low, x, high = xs
    return _each(ar.minimum, _each(ar.maximum, x, low), high)


def _convert(eqn, xs, ar):
    new = eqn.params["new_dtype"]
    if eqn.invars[0].aval.dtype == np.bool_:
        if not is_floating(new):
            raise Straddles("an integer of a comparison left open")
        zero, one = ar.lift(0.0), ar.lift(1.0)
        return _each(lambda x: ar.union(zero, one) if x is None else one if x else zero, xs[0])
    if is_floating(new):
        return xs[0]  # a rounding, which real arithmetic does not have
    if new == np.bool_:
        zero = ar.lift(0.0)
        return _each_bool(lambda x: ar.compare("ne", x, zero), xs[0])
    return np.asarray(_each(ar.integer_part, xs[0]), dtype=new)


def _integer_pow(eqn, xs, ar):
    return _each(lambda x: ar.integer_power(x, eqn.params["y"]), xs[0])


def _pow(eqn, xs, ar):
    base, exponent = xs
    if not is_floating(eqn.invars[1].aval.dtype):
        return _each(lambda x, n: ar.integer_power(x, int(n)), base, np.asarray(exponent))
    return _each(ar.power, base, exponent)


def _scatter_add(eqn, xs, ar):
    """Each update is added where the primitive would put it."""
    operand, indices, updates = xs
    out = operand.copy().ravel()
    data = np.asarray(indices)
    targets = _targets(eqn, operand.shape, data.shape, data.dtype, data.tobytes(), updates.shape)
    for target, update in zip(targets, updates.ravel(), strict=True):
        if target is not None:
            out[target] = ar.add(out[target], update)
    return out.reshape(operand.shape)


@functools.lru_cache(maxsize=2048)
def _targets(eqn, shape, indices_shape, dtype, data, updates_shape) -> list[int | None]:
    """The place in the operand to which each update is added; None where it is dropped."""
    indices = np.frombuffer(data, dtype).reshape(indices_shape)
    found: list[int | None] = [None] * math.prod(updates_shape)
    for start in range(0, len(found), 52):  # each update is a bit of its own
        place = np.arange(len(found)) - start
        bits = np.where((place >= 0) & (place < 52), 2.0 ** place.clip(0, 51), 0.0)
        (sums,) = _bind(eqn, [np.zeros(shape), indices, bits.reshape(updates_shape)])
        for target, total in enumerate(sums.ravel().astype(np.int64).tolist()):
            while total:
                found[start + (total & -total).bit_length() - 1] = target
                total &= total - 1
    return found


def _sort(eqn, xs, ar):
    axis, keys = eqn.params["dimension"], eqn.params["num_keys"]
    moved = [np.moveaxis(x, axis, -1) for x in xs]
    shape = moved[0].shape
    rows = [m.reshape(-1, shape[-1]) for m in moved]
    out = [np.empty_like(r) for r in rows]
    for r in range(rows[0].shape[0]):
        order: list[int] = []
        for i in range(shape[-1]):  # insertion keeps equal entries in order
            at = len(order)
            while at > 0 and _before(rows, keys, r, i, order[at - 1], ar):
                at -= 1
            order.insert(at, i)
        for target, source in zip(out, rows, strict=True):
            target[r] = source[r][order]
    return [np.moveaxis(o.reshape(shape), -1, axis) for o in out]


def _before(rows, keys, r, i, j, ar) -> bool:
    for k in range(keys):
        x, y = rows[k][r][i], rows[k][r][j]
        exact = rows[k].dtype != object
        if (x < y) if exact else ar.compare("lt", x, y):
            return True
        if (y < x) if exact else ar.compare("lt", y, x):
            return False
    return False


def _cond(eqn, xs, ar):
    index, *operands = xs
    if _has_numbers(index):
        raise Straddles("a branch at a tie")
    branch = int(np.clip(int(index), 0, len(eqn.params["branches"]) - 1))
    return evaluate(eqn.params["branches"][branch], operands, ar)


def _while(eqn, xs, ar):
    p = eqn.params
    n, m = p["cond_nconsts"], p["body_nconsts"]
    cond_consts, body_consts, carry = xs[:n], xs[n : n + m], xs[n + m :]
    for _ in range(_MOST_STEPS):
        (go,) = evaluate(p["cond_jaxpr"], [*cond_consts, *carry], ar)
        if go.item() is None:
            raise Straddles("a loop that ends at a tie")
        if not go:
            return carry
        carry = evaluate(p["body_jaxpr"], [*body_consts, *carry], ar)
    raise Unsupported(f"while, after {_MOST_STEPS} steps")


def _scan(eqn, xs, ar):
    p = eqn.params
    n, m, length = p["num_consts"], p["num_carry"], p["length"]
    consts, carry, stacked = xs[:n], xs[n : n + m], xs[n + m :]
    steps = range(length - 1, -1, -1) if p["reverse"] else range(length)
    rows: list[list[Any]] = [[] for _ in eqn.outvars[m:]]
    for i in steps:
        out = evaluate(p["jaxpr"], [*consts, *carry, *(x[i] for x in map(_as_array, stacked))], ar)
        carry = [_as_array(x) for x in out[:m]]
        for row, y in zip(rows, out[m:], strict=True):
            row.append(_as_array(y))
    if p["reverse"]:
        rows = [row[::-1] for row in rows]
    results = []
    for row, v in zip(rows, eqn.outvars[m:], strict=True):
        if is_floating(v.aval.dtype):
            flat = [number for y in row for number in y.ravel()]
            results.append(_array(flat, v.aval.shape))
        else:
            results.append(np.asarray(row, v.aval.dtype).reshape(v.aval.shape))
    return [*carry, *results]


def _as_array(x: Any) -> Any:
    """A number that NumPy took out of its array of no axes, put back."""
    return x if hasattr(x, "shape") else _array([x], ())


def _broadcast(params, x, *dynamic):
    shape, axes = params["shape"], params["broadcast_dimensions"]
    kept = [1] * len(shape)
    for axis, n in zip(axes, x.shape, strict=True):
        kept[axis] = n
    return np.broadcast_to(x.reshape(kept), shape)


def _iota(params):
    shape, axis = params["shape"], params["dimension"]
    count = np.arange(shape[axis]).reshape([-1 if i == axis else 1 for i in range(len(shape))])
    return np.broadcast_to(count, shape).astype(params["dtype"])


def _pad(params, x, fill):
    low, high, inner = zip(*params["padding_config"], strict=True)
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


_MOST_STEPS = 10_000

# Movement that NumPy does to an array of anything
_ARRAYS: dict[str, Callable[..., Any]] = {
    "broadcast_in_dim": _broadcast,
    "concatenate": lambda p, *xs: np.concatenate(xs, p["dimension"]),
    "expand_dims": lambda p, x: np.expand_dims(x, p["dimensions"]),
    "pad": _pad,
    "reshape": lambda p, x: x.reshape(p["new_sizes"]),
    "rev": lambda p, x: np.flip(x, p["dimensions"]),
    "slice": _slice,
    "squeeze": lambda p, x: np.squeeze(x, tuple(p["dimensions"])),
    "transpose": lambda p, x: x.transpose(p["permutation"]),
}

# Functions of integers and booleans
_NUMPY: dict[str, Callable[..., Any]] = {
    "add": np.add,
    "sub": np.subtract,
    "mul": np.multiply,
    "max": np.maximum,
    "min": np.minimum,
    "lt": np.less,
    "le": np.less_equal,
    "gt": np.greater,
    "ge": np.greater_equal,
    "eq": np.equal,
    "ne": np.not_equal,
    "and": np.bitwise_and,
    "or": np.bitwise_or,
    "not": np.invert,
}

# What may be asked of a comparison left open
_OPEN = {"and", "or", "not", "select_n", "convert_element_type", "reduce_or", "reduce_and"}

# The same, by parameters of the equation; a conversion's result may be floating
_NATIVE: dict[str, Callable[..., Any]] = {
    "convert_element_type": lambda p, x: x.astype(p["new_dtype"]),
    "iota": _iota,
    "select_n": lambda p, which, *cases: np.choose(which, cases),
    "reduce_and": lambda p, x: np.all(x, p["axes"]),
    "reduce_or": lambda p, x: np.any(x, p["axes"]),
}

CALLS = {
    "jit": "jaxpr",
    "pjit": "jaxpr",
    "closed_call": "call_jaxpr",
    "core_call": "call_jaxpr",
    "checkpoint": "jaxpr",
    "remat": "jaxpr",
    "remat2": "jaxpr",
    "custom_jvp_call": "call_jaxpr",
    "custom_vjp_call": "call_jaxpr",
    "custom_vjp_call_jaxpr": "fun_jaxpr",
    "custom_lin": "jaxpr",
}

_CONTROL: dict[str, Callable[..., list[Any]]] = {"cond": _cond, "while": _while, "scan": _scan}

_MOVES = {
    "dynamic_slice",
    "dynamic_update_slice",
    "gather",
    "scatter",
    "split",
    "stack",
    "tile",
    "unstack",
}

_RULES: dict[str, Callable[..., Any]] = {
    "add": _binary("add"),
    "add_any": _binary("add"),
    "mul": _binary("mul"),
    "sub": _binary("sub"),
    "div": _binary("div"),
    "max": _binary("maximum"),
    "min": _binary("minimum"),
    "atan2": _binary("atan2"),
    **{name: _compare(name) for name in ("lt", "le", "gt", "ge", "eq", "ne")},
    "reduce_sum": _reduce("add", 0.0),
    "reduce_prod": _reduce("mul", 1.0),
    "reduce_max": _reduce("maximum", None),
    "reduce_min": _reduce("minimum", None),
    "argmax": _argmax("gt"),
    "argmin": _argmax("lt"),
    "cumsum": _cumulative("add"),
    "cumprod": _cumulative("mul"),
    "cummax": _cumulative("maximum"),
    "cummin": _cumulative("minimum"),
    "dot_general": _dot_general,
    "not": _not,
    "and": _and,
    "or": _or,
    "reduce_or": lambda eqn, xs, ar: _fold(
        xs[0], eqn.params["axes"], lambda x, y: _three(x, y, True), False
    ),
    "reduce_and": lambda eqn, xs, ar: _fold(
        xs[0], eqn.params["axes"], lambda x, y: _three(x, y, False), True
    ),
    "select_n": _select_n,
    "clamp": _clamp,
    "convert_element_type": _convert,
    "integer_pow": _integer_pow,
    "pow": _pow,
    "scatter-add": _scatter_add,
    "scatter_add": _scatter_add,
    "sort": _sort,
    "is_finite": lambda eqn, xs, ar: _each_bool(ar.is_finite, xs[0]),
    "copy": lambda eqn, xs, ar: xs[0],
    "copy_p": lambda eqn, xs, ar: xs[0],
    "reduce_precision": lambda eqn, xs, ar: xs[0],
    "stop_gradient": lambda eqn, xs, ar: xs[0],
    "optimization_barrier": lambda eqn, xs, ar: list(xs),
}
