"""Real arithmetic in balls (python-flint's Arb): each number with a proven bound on its error."""

import contextlib
import math
import operator
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import flint
from flint import arb

from manualbp.verify.numbers.walk import Straddles, Unsupported

# A float64 constant of more than 30 significant bits (0.1, a third, log 2) stands for the real
# number it was rounded from; one of fewer (0.5, 3, 1e6) for itself.
_EXACT_BITS = 30


ZERO, ONE, NAN, INF, MINUS_INF = arb(0), arb(1), arb("nan"), arb("inf"), arb("-inf")


@contextlib.contextmanager
def precision(bits: int) -> Iterator[None]:
    """Arb's working precision, restored on leaving."""
    before = flint.ctx.prec
    flint.ctx.prec = bits
    try:
        yield
    finally:
        flint.ctx.prec = before


def is_nan(x: arb) -> bool:
    return bool(x.is_nan())


def _order(x: arb, y: arb) -> int | None:
    """-1, 0 or 1 as x is below, equal to or above y; None beside a NaN.

    Two balls that agree in every bit of midpoint and radius, hundreds of them, are one computation
    on equal entries: a tie.
    """
    if x < y:
        return -1
    if x > y:
        return 1
    if x == y:
        return 0
    if is_nan(x) or is_nan(y):
        return None
    if x.mid() == y.mid() and x.rad() == y.rad():
        return 0
    raise Straddles(f"{x.str(6)} against {y.str(6)}")


_ORDERS = {"lt": (-1,), "le": (-1, 0), "gt": (1,), "ge": (0, 1), "eq": (0,), "ne": (-1, 1, None)}


class Arb:
    """The arithmetic of balls, for the interpreter.

    Args:
      rounded_constants: widen each constant of a program that looks rounded to a ball that holds
        every real number rounding to it.
      ties_open: leave comparisons of equal numbers open, so that a program's derivative at a kink
        comes out as the ball of all derivatives that a choice at each kink would give.
      ties: decide them one way or the other instead: whether the first of two equal numbers is
        the larger, tie by tie in the order in which a program meets them (False where the list
        ends). `met` says how many it met.
    """

    name = "Arb"

    def __init__(
        self,
        rounded_constants: bool = False,
        ties_open: bool = False,
        ties: Sequence[bool] | None = None,
        without_guards: bool = False,
        held: list | None = None,
        holding: str = "",
    ):
        self.rounded_constants = rounded_constants
        self.ties_open = ties_open
        self.ties = ties
        self._pairs: dict[tuple[int, int], tuple[bool, arb, arb]] = {}

    @property
    def met(self) -> int:
        return len(self._pairs)

    def instead(self, eqn: object, xs: list) -> object:
        return None

    def _first_is_larger(self, x: arb, y: arb) -> bool:
        """How a tie of two numbers is decided; the same whichever way it is asked."""
        assert self.ties is not None
        if (id(y), id(x)) in self._pairs:
            return not self._pairs[id(y), id(x)][0]
        key = id(x), id(y)
        if key not in self._pairs:
            n = len(self._pairs)
            # kept alive, so that no other number takes its id
            self._pairs[key] = (n < len(self.ties) and self.ties[n], x, y)
        return self._pairs[key][0]

    def lift(self, x: float) -> arb:
        return arb(x)

    def constant(self, x: float) -> arb:
        if not self.rounded_constants or not math.isfinite(x) or x == 0:
            return arb(x)
        mantissa = math.frexp(x)[0]
        if (mantissa * 2**_EXACT_BITS).is_integer():
            return arb(x)
        return arb(x, abs(x) * 2.0**-53)

    def function(self, name: str, arguments: int) -> Callable[..., arb]:
        function: Any = (_BINARY if arguments == 2 else _UNARY).get(name)
        if function is None or arguments > 2:
            raise Unsupported(name)
        if self.ties_open and name == "sign":
            return lambda x: arb(0, 1) if x == 0 else function(x)
        if self.ties is not None and name == "sign":
            return lambda x: self._sign_at_tie(x) if x == 0 else function(x)
        return function

    add = staticmethod(operator.add)
    mul = staticmethod(operator.mul)
    sub = staticmethod(operator.sub)

    def div(self, x: arb, y: arb) -> arb:
        if y.is_finite() and y != 0:
            return x / y
        if y == 0:  # the limits of floats, which balls do not have
            return NAN if x == 0 or is_nan(x) else _sign(x) * INF
        return ZERO if y in (INF, MINUS_INF) and x.is_finite() else x / y

    def power(self, x: arb, y: arb) -> arb:
        return x**y

    def integer_power(self, x: arb, n: int) -> arb:
        return x**n if n >= 0 else self.div(ONE, x**-n)

    def atan2(self, y: arb, x: arb) -> arb:
        return arb.atan2(y, x)

    def maximum(self, x: arb, y: arb) -> arb:
        if self.ties is not None and x is not y and _order(x, y) == 0:
            return x if self._first_is_larger(x, y) else y  # itself, so that it is known again
        if is_nan(x) or is_nan(y):
            return NAN
        return x if x > y else y if y > x else x.max(y)

    def minimum(self, x: arb, y: arb) -> arb:
        if self.ties is not None and x is not y and _order(x, y) == 0:
            return y if self._first_is_larger(x, y) else x
        if is_nan(x) or is_nan(y):
            return NAN
        return x if x < y else y if y < x else x.min(y)

    def compare(self, name: str, x: arb, y: arb) -> bool | None:
        order = _order(x, y)
        if self.ties is not None and order == 0 and x is not y:
            order = 1 if self._first_is_larger(x, y) else -1
        return None if self.ties_open and order == 0 else order in _ORDERS[name]

    def union(self, x: arb, y: arb) -> arb:
        return x.union(y)

    def _sign_at_tie(self, x: arb) -> arb:
        return ONE if self._first_is_larger(x, ZERO) else -ONE

    def is_finite(self, x: arb) -> bool:
        return bool(x.is_finite())

    def integer_part(self, x: arb) -> int:
        """Truncation toward zero."""
        below = x.floor().unique_fmpz() if _sign(x) >= 0 else x.ceil().unique_fmpz()
        if below is None:
            raise Straddles(f"the integer part of {x.str(6)}")
        return int(below)


def _sign(x: arb) -> int:
    return _order(x, ZERO) or 0


def _rounded(to_integer):
    def apply(x: arb) -> arb:
        y = to_integer(x)
        if not y.is_exact():
            raise Straddles(f"the integer next to {x.str(6)}")
        return y

    return apply


def _exp(x: arb) -> arb:
    return x.exp() if x.is_finite() else _at_infinity(x, INF, ZERO)


def _log(x: arb) -> arb:
    if x == 0:
        return MINUS_INF
    return x.log() if x.is_finite() else _at_infinity(x, INF, NAN)


def _expm1(x: arb) -> arb:
    return x.expm1() if x.is_finite() else _at_infinity(x, INF, -ONE)


def _log1p(x: arb) -> arb:
    if x == -1:
        return MINUS_INF
    return x.log1p() if x.is_finite() else _at_infinity(x, INF, NAN)


def _at_infinity(x: arb, high: arb, low: arb) -> arb:
    """The limit at an infinity; what is neither, a NaN or a ball without bound, is NaN."""
    return high if x == INF else low if x == MINUS_INF else NAN


def _bounded(function, at_infinity: float, at_minus_infinity: float):
    """A function with limits, which balls would otherwise give as the whole range."""
    high, low = arb(at_infinity), arb(at_minus_infinity)

    def apply(x: arb) -> arb:
        return function(x) if x.is_finite() else _at_infinity(x, high, low)

    return apply


def _sign_of(x: arb) -> arb:
    return x if is_nan(x) else arb(_sign(x))


_UNARY = {
    "neg": lambda x: -x,
    "abs": abs,
    "sign": _sign_of,
    "exp": _exp,
    "exp2": lambda x: _exp(x * arb(2).log()),
    "log": _log,
    "expm1": _expm1,
    "log1p": _log1p,
    "logistic": _bounded(lambda x: 1 / (1 + (-x).exp()), 1, 0),
    "tanh": _bounded(lambda x: x.tanh(), 1, -1),
    "sinh": lambda x: x.sinh(),
    "cosh": lambda x: x.cosh(),
    "sin": lambda x: x.sin(),
    "cos": lambda x: x.cos(),
    "tan": lambda x: x.tan(),
    "asin": lambda x: x.asin(),
    "acos": lambda x: x.acos(),
    "atan": lambda x: x.atan(),
    "asinh": lambda x: x.asinh(),
    "acosh": lambda x: x.acosh(),
    "atanh": lambda x: x.atanh(),
    "sqrt": lambda x: x.sqrt(),
    "rsqrt": lambda x: x.rsqrt(),
    "cbrt": lambda x: arb(_sign(x)) * abs(x).root(3),
    "erf": _bounded(lambda x: x.erf(), 1, -1),
    "erfc": _bounded(lambda x: x.erfc(), 0, 2),
    "erf_inv": lambda x: x.erfinv(),
    "lgamma": lambda x: abs(x.gamma()).log() if _sign(x) <= 0 else x.lgamma(),
    "digamma": lambda x: x.digamma(),
    "square": lambda x: x * x,
    "bessel_i0e": lambda x: x.bessel_i(0) * (-abs(x)).exp(),
    "bessel_i1e": lambda x: x.bessel_i(1) * (-abs(x)).exp(),
    "floor": _rounded(lambda x: x.floor()),
    "ceil": _rounded(lambda x: x.ceil()),
}


def _remainder(x: arb, y: arb) -> arb:
    quotient = x / y
    whole = _UNARY["ceil" if _sign(quotient) < 0 else "floor"](quotient)
    return x - y * whole


_BINARY: dict[str, Callable[[arb, arb], arb]] = {
    "igamma": lambda a, x: x.gamma_lower(a, regularized=1),
    "igammac": lambda a, x: x.gamma_upper(a, regularized=1),
    "rem": _remainder,
    "zeta": lambda s, q: s.zeta(q),
}
