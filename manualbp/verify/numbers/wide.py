"""A program traced in any dtype, run by JAX in float64, and what it decides on the way.

The walk here is traceable: control flow stays control flow, so that the result can be compiled and
mapped over many points. Roundings between floating dtypes are left out, as the reals have none.
Whatever has a dtype of its own (a callback, a kernel) runs in that dtype.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.extend import core

from manualbp.verify.numbers.operations import programs_in
from manualbp.verify.numbers.walk import CALLS, is_floating


@dataclass(frozen=True)
class Branch:
    """One comparison of a program.

    Attributes:
      primitive: that compares.
      place: where in the user's code it stands.
      side: what its booleans tell: "below", "above" or, for rounding, "even".
      size: how many booleans it gives for one point.
    """

    primitive: str
    place: str
    side: str
    size: int


@dataclass
class Watch:
    """What a run decided: booleans, and the comparison that each comes from."""

    taken: list[Any]
    branches: list[Branch]

    def note(self, primitive: str, place: str, sides: dict[str, Any]) -> None:
        for side, which in sides.items():
            self.taken.append(jnp.ravel(which))
            self.branches.append(Branch(primitive, place, side, math.prod(jnp.shape(which))))


class Holding:
    """What stop_gradient holds outside of loops, in the order in which a program comes to it."""

    def __init__(self, values: list[Any] | None = None):
        self.recorded: list[Any] = []
        self._left = values

    def replayed(self) -> "Holding":
        """The same, for a run that is to see the values recorded here."""
        return Holding(list(self.recorded))

    def hold(self, x: Any) -> Any:
        """The value that is held in the place of x."""
        if self._left is None:
            self.recorded.append(x)
            return x
        return self._left.pop(0)


class Run(NamedTuple):
    """How a program is run: whether floating numbers are widened, who watches, what is held."""

    widens: bool = True
    watch: Watch | None = None
    holding: Holding | None = None

    def watched(self, watch: Watch | None) -> "Run":
        """The same inside of a loop or a branch."""
        return self._replace(watch=watch, holding=None)


def widened(
    closed: core.ClosedJaxpr, watch: Watch | None = None, holding: Holding | None = None
) -> Callable[..., list[Any]]:
    """The program as a function of float64 (and integer) arrays; its floating results are float64.

    Args:
      closed: a program traced in any floating dtypes.
      watch: is told, while the function is traced, what the program compares.
      holding: records or replays what stop_gradient holds.
    """

    def run(*arguments: Any) -> list[Any]:
        return _run(closed.jaxpr, closed.consts, arguments, Run(True, watch, holding))

    return run


def bounded(closed: core.ClosedJaxpr) -> Callable[..., list[Any]]:
    """The program in its own dtypes, whose loops end after MOST_STEPS steps, in NaN."""
    if "while[" not in str(closed.jaxpr):
        return core.jaxpr_as_fun(closed)
    return lambda *arguments: _run(closed.jaxpr, closed.consts, arguments, Run(False))


# Steps of a loop, after which it is taken not to end
MOST_STEPS = 10_000


_WIDE = (np.dtype(np.float64), np.dtype(np.complex128))


def wide(x: Any) -> Any:
    """A floating array in float64, a complex one in complex128, another as it is."""
    if getattr(x, "dtype", None) in _WIDE:
        return x
    dtype = jnp.result_type(x)
    if is_floating(dtype):
        return jnp.asarray(x).astype(np.float64)
    if jnp.issubdtype(dtype, jnp.complexfloating):
        return jnp.asarray(x).astype(np.complex128)
    return x


def _run(jaxpr: Any, consts: Any, arguments: Sequence[Any], how: Run) -> list[Any]:
    lift = wide if how.widens else jnp.asarray
    values: dict[Any, Any] = dict(zip(jaxpr.constvars, map(lift, consts), strict=True))
    values.update(zip(jaxpr.invars, arguments, strict=True))

    def read(atom: Any) -> Any:
        if isinstance(atom, core.Literal):
            return lift(jnp.asarray(atom.val, atom.aval.dtype))  # type: ignore[attr-defined]
        return values[atom]

    for eqn in jaxpr.eqns:
        xs = [read(v) for v in eqn.invars]
        values.update(zip(eqn.outvars, _equation(eqn, xs, how), strict=True))
    return [read(v) for v in jaxpr.outvars]


def _equation(eqn: Any, xs: list[Any], how: Run) -> list[Any]:
    name = eqn.primitive.name
    if name in CALLS:
        return _run(*_open(eqn.params[CALLS[name]]), xs, how)
    if name in _CONTROL:
        return _CONTROL[name](eqn, xs, how)
    if name == "shard_map" and eqn.params["mesh"].size == 1:
        return _run(*_open(eqn.params["jaxpr"]), xs, how)
    if name in _COLLECTIVES and _alone(eqn):
        return list(xs)
    if name == "stop_gradient" and how.holding is not None:
        return [how.holding.hold(xs[0])]
    if not how.widens:
        out = eqn.primitive.bind(*xs, **eqn.params)
        return list(out) if eqn.primitive.multiple_results else [out]
    if name in ("reduce_precision", "optimization_barrier"):
        return list(xs)
    floating = all(is_floating(v.aval.dtype) for v in eqn.invars)
    if how.watch is not None and name in _DECISIONS and floating:
        how.watch.note(name, where(eqn), _DECISIONS[name](*xs))
    if name in _OWN_DTYPE or not _floats(eqn):
        return _native(eqn, xs)
    params = {k: _wide_parameter(v) for k, v in eqn.params.items()}
    if name in _PRODUCTS and "precision" in params:  # an algorithm of another dtype
        params["precision"] = None
    if params.get("update_jaxpr") is not None:
        params |= _wide_update(eqn.params["update_jaxpr"], eqn.params["update_consts"])
    out = eqn.primitive.bind(*xs, **params)
    # a package's primitive may give a dtype of its own
    return [wide(y) for y in (out if eqn.primitive.multiple_results else [out])]


def _open(inner: Any) -> tuple[Any, Any]:
    return (inner.jaxpr, inner.consts) if isinstance(inner, core.ClosedJaxpr) else (inner, ())


def _floats(eqn: Any) -> bool:
    return any(jnp.issubdtype(v.aval.dtype, jnp.inexact) for v in (*eqn.invars, *eqn.outvars))


# Which compute in the dtype that they are given, or reinterpret its bits
_OWN_DTYPE = {
    "bitcast_convert_type", "pure_callback", "io_callback", "debug_callback", "ffi_call",
    "pallas_call", "nextafter", "shard_map", "custom_vmap_call",
    "custom_partitioning", "reduce", "reduce_window", "linear_call", "run_state", "core_map",
}  # fmt: skip
_PRODUCTS = {"dot_general", "conv_general_dilated", "ragged_dot_general", "scaled_dot"}
# Over an axis of one device they do nothing
_COLLECTIVES = {
    "psum", "psum2", "psum_invariant", "pmax", "pmin", "all_gather_invariant", "pvary", "pcast",
    "reshard", "sharding_constraint", "mesh_cast",
}  # fmt: skip


def _alone(eqn: Any) -> bool:
    """Whether a collective's results have the shapes of its operands: one device, or none."""
    ins, outs = [v.aval.shape for v in eqn.invars], [v.aval.shape for v in eqn.outvars]
    return ins == outs


def _native(eqn: Any, xs: list[Any]) -> list[Any]:
    """The primitive in its own dtypes, its floating results widened."""
    given = [
        x.astype(v.aval.dtype) if jnp.issubdtype(v.aval.dtype, jnp.inexact) else x
        for x, v in zip(map(_array, xs), eqn.invars, strict=True)
    ]
    out = eqn.primitive.bind(*given, **eqn.params)
    return [wide(y) for y in (out if eqn.primitive.multiple_results else [out])]


def _array(x: Any) -> Any:
    return x if hasattr(x, "dtype") else jnp.asarray(x)


def _wide_update(jaxpr: Any, consts: Any) -> dict[str, Any]:
    """How a scatter combines two numbers, of float64 or complex128."""
    combine = widened(core.ClosedJaxpr(jaxpr, consts))
    number = wide(jnp.zeros((), jaxpr.invars[0].aval.dtype))
    closed = jax.make_jaxpr(lambda x, y: combine(x, y)[0])(number, number)
    return {"update_jaxpr": closed.jaxpr, "update_consts": tuple(closed.consts)}


def _wide_parameter(value: Any) -> Any:
    try:
        dtype = np.dtype(value) if isinstance(value, np.dtype | type) else None
    except TypeError:
        return value
    if dtype is None:
        return value
    if is_floating(dtype):
        return np.dtype(np.float64)
    return np.dtype(np.complex128) if jnp.issubdtype(dtype, jnp.complexfloating) else value


# Control flow: what is decided inside comes out of it as further results


def _watched(program: tuple[Any, Any], how: Run) -> tuple[Callable, list[Branch]]:
    """A function that also returns what it decided, and the comparisons, once it is traced."""
    branches: list[Branch] = []

    def both(*xs: Any) -> tuple[list[Any], list[Any]]:
        if how.watch is None:
            return _run(*program, xs, how.watched(None)), []
        branches.clear()
        own = Watch([], branches)
        return _run(*program, xs, how.watched(own)), own.taken

    return both, branches


def _scan(eqn: Any, xs: list[Any], how: Run) -> list[Any]:
    p = eqn.params
    n, m = p["num_consts"], p["num_carry"]
    consts, carry, stacked = xs[:n], xs[n : n + m], xs[n + m :]
    body, branches = _watched(_open(p["jaxpr"]), how)

    def step(carry: Any, x: Any) -> Any:
        out, taken = body(*consts, *carry, *x)
        return out[:m], (out[m:], taken)

    carry, (rows, taken) = lax.scan(step, carry, stacked, p["length"], p["reverse"])
    if how.watch is not None:
        _merge(how.watch, branches, taken, p["length"])
    return [*carry, *rows]


def _merge(watch: Watch, branches: list[Branch], taken: list[Any], times: int) -> None:
    for branch, which in zip(branches, taken, strict=True):
        watch.taken.append(jnp.ravel(which))
        watch.branches.append(
            Branch(branch.primitive, branch.place, branch.side, branch.size * times)
        )


def _cond(eqn: Any, xs: list[Any], how: Run) -> list[Any]:
    index, *operands = xs
    watched = [_watched(_open(b), how) for b in eqn.params["branches"]]
    forms = [jax.eval_shape(run, *operands)[1] for run, _ in watched]

    def branch(k: int) -> Callable:
        def of(*operands: Any) -> Any:
            out, taken = watched[k][0](*operands)
            return out, [
                taken if j == k else [jnp.zeros(x.shape, bool) for x in form]
                for j, form in enumerate(forms)
            ]

        return of

    out, taken = lax.switch(
        index.astype(np.int32), [branch(k) for k in range(len(watched))], *operands
    )
    if how.watch is not None:
        for (_, branches), group in zip(watched, taken, strict=True):
            _merge(how.watch, branches, group, 1)
    return list(out)


def _while(eqn: Any, xs: list[Any], how: Run) -> list[Any]:
    """Of the steps of a loop is told whether each answer was ever yes, and how often together."""
    p = eqn.params
    n, m = p["cond_nconsts"], p["body_nconsts"]
    cond_consts, body_consts, carry = xs[:n], xs[n : n + m], xs[n + m :]
    go_on = _open(p["cond_jaxpr"])
    body, branches = _watched(_open(p["body_jaxpr"]), how)
    form = jax.eval_shape(body, *body_consts, *carry)[1]
    seen = [jnp.zeros(x.shape, bool) for x in form]

    def step(state: Any) -> Any:
        carry, seen, count = state
        out, taken = body(*body_consts, *carry)
        go = goes(carry)
        if go.ndim:  # of a loop over a batch only some go on
            over = [go.reshape(go.shape + (1,) * (x.ndim - go.ndim)) for x in out]
            out = [jnp.where(g, a, b) for g, a, b in zip(over, out, carry, strict=True)]
        return out, [a | b for a, b in zip(seen, taken, strict=True)], count + 1

    def goes(carry: list[Any]) -> Any:
        return _run(*go_on, [*cond_consts, *carry], how.watched(None))[0]

    def cond(state: Any) -> Any:
        return jnp.any(goes(state[0])) & (state[2] < MOST_STEPS)

    out, seen, count = lax.while_loop(cond, step, (list(carry), seen, jnp.int32(0)))
    endless = count >= MOST_STEPS
    out = [jnp.where(endless, jnp.nan, x) if is_floating(x.dtype) else x for x in out]
    out = [x.astype(y.dtype) for x, y in zip(out, carry, strict=True)]
    if how.watch is not None:
        _merge(how.watch, branches, seen, 1)
        how.watch.note("while", where(eqn), {"even": count % 2 == 0})
    return out


def _linear_solve(eqn: Any, xs: list[Any], how: Run) -> list[Any]:
    """By the solver that the program brings."""
    lengths, jaxprs = eqn.params["const_lengths"], eqn.params["jaxprs"]
    first = lengths.matvec + lengths.vecmat
    consts, b = xs[first : first + lengths.solve], xs[sum(lengths) :]
    return _run(*_open(jaxprs.solve), [*consts, *b], how)


_CONTROL = {
    "scan": _scan,
    "cond": _cond,
    "while": _while,
    "custom_linear_solve": _linear_solve,
}


# What a comparison tells


def _order(x: Any, y: Any) -> dict[str, Any]:
    return {"below": x < y, "above": x > y}


def _sign(x: Any) -> dict[str, Any]:
    return _order(x, jnp.zeros_like(x))


_DECISIONS: dict[str, Callable[..., dict[str, Any]]] = {
    **dict.fromkeys(("lt", "le", "gt", "ge", "eq", "ne", "max", "min"), _order),
    "abs": _sign,
    "sign": _sign,
    "clamp": lambda low, x, high: {"below": x < low, "above": x > high},
    "floor": lambda x: {"even": jnp.floor(x) % 2 == 0},
    "ceil": lambda x: {"even": jnp.ceil(x) % 2 == 0},
    "round": lambda x: {"even": jnp.round(x) % 2 == 0},
}


def where(eqn: Any) -> str:
    """The primitive and the line of the user's code that it comes from, where there is one."""
    place = ""
    try:
        from jax._src import source_info_util

        for frame in source_info_util.user_frames(eqn.source_info.traceback):
            if not frame.file_name.startswith(_JUDGE):
                place = f"{frame.file_name}:{frame.start_line} ({frame.function_name})"
                break
    except Exception:  # JAX's own, and no part of its interface
        place = ""
    return f"{eqn.primitive.name} at {place}" if place else eqn.primitive.name


# The judge's own folder, which is not where users look
_JUDGE = str(Path(__file__).resolve().parents[1])


def narrow(closed: Any) -> bool:
    """Whether part of a program runs in a dtype of its own that is no float64."""
    for eqn in closed.jaxpr.eqns:
        floating = [v.aval.dtype for v in eqn.outvars if hasattr(v.aval, "dtype")]
        if eqn.primitive.name in _OWN_DTYPE and any(
            jnp.issubdtype(d, jnp.inexact) and d not in (np.float64, np.complex128)
            for d in floating
        ):
            return True
        if any(map(narrow, programs_in(eqn))):
            return True
    return False
