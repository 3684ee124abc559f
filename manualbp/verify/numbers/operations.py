"""How many numbers a program makes: the measure of what it costs."""

import math
from typing import Any

from jax.extend import core

# Programs of more operations are looked at in some entries alone
LARGE = 5e5
# Steps of a loop that are counted where their number is not known
_STEPS = 20


def programs_in(eqn: Any) -> list[Any]:
    """The programs inside of an equation."""
    found = [v for value in eqn.params.values()
             for v in (value if isinstance(value, tuple | list) else (value,))]  # fmt: skip
    closed = [v for v in found if isinstance(v, core.ClosedJaxpr)]
    plain = [v for v in found if isinstance(v, core.Jaxpr) and not v.constvars]
    return closed + [core.ClosedJaxpr(v, ()) for v in plain]


def operations(closed: Any) -> int:
    """How many numbers a program makes."""
    return sum(map(operations_of, closed.jaxpr.eqns))


def operations_of(eqn: Any) -> int:
    """How many numbers an equation makes, those on the way among them."""
    name, p, inner = eqn.primitive.name, eqn.params, programs_in(eqn)
    sizes = [math.prod(v.aval.shape) for v in eqn.outvars if hasattr(v.aval, "shape")]
    if inner:
        each = sum(map(operations, inner))
        return each * {"scan": p.get("length", 1), "while": _STEPS}.get(name, 1)
    if name == "dot_general":
        (contract, _), _ = p["dimension_numbers"]
        return 2 * math.prod(eqn.invars[0].aval.shape[i] for i in contract) * sum(sizes)
    if name == "conv_general_dilated":
        _, inputs, *kernel = (eqn.invars[1].aval.shape[i] for i in p["dimension_numbers"].rhs_spec)
        return 2 * inputs * math.prod(kernel) * sum(sizes)
    if name.startswith(("reduce_", "cum", "arg", "scatter", "sort")):
        return max([*sizes, *(math.prod(v.aval.shape) for v in eqn.invars)])
    return sum(sizes)
