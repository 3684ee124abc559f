"""Real and complex arithmetic in balls (python-flint's Arb): each number with a proven error.

A result is a ball that holds the exact one, or a limit that floats have and balls do not (1 / 0,
log 0), or NaN where the function has no value anywhere in its arguments. What is neither, as the
logarithm of a ball that reaches below 0, raises Straddles.
"""

import contextlib
import math
import operator
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Literal

import flint
import numpy as np
from flint import acb, acb_mat, arb, arb_mat

from manualbp.verify.numbers import arithmetic
from manualbp.verify.numbers.arithmetic import Straddles, Unsupported, array, significant_bits

ZERO, ONE = arb(0), arb(1)
NAN, INF, MINUS_INF = arb("nan"), arb("inf"), arb("-inf")

# A constant within so much of 0 is a guard, such as 1e-10 in a denominator
_GUARD = 1e-6

# Products of matrices of more multiplications are left to Arb
_FEW_PRODUCTS = 64


@contextlib.contextmanager
def precision(bits: int) -> Iterator[None]:
    """Arb's working precision, restored on leaving."""
    before = flint.ctx.prec
    flint.ctx.prec = bits
    try:
        yield
    finally:
        flint.ctx.prec = before


def is_nan(x: Any) -> bool:
    if isinstance(x, acb):
        return is_nan(x.real) or is_nan(x.imag)
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
      rounded_constants: widen each constant of a program that looks rounded, in its dtype, to a
        ball that holds every real number rounding to it.
      ties_open: leave comparisons of equal numbers open, so that a program's derivative at a kink
        comes out as the ball of all derivatives that a choice at each kink would give.
      ties: decide them one way or the other instead: whether the first of two equal numbers is
        the larger, tie by tie in the order in which a program meets them (False where the list
        ends). `met` says how many it met.
      without_guards: take constants of a program within 1e-6 of 0 for 0. `guards` lists which
        were.
      holding: "record" appends to `held` each value that the program holds constant
        (`stop_gradient`), in the order met; "replay" gives those of `held` instead of the values
        met, so that a difference quotient holds what the definition does.
      held: the arrays recorded.
    """

    name = "Arb"

    def __init__(
        self,
        rounded_constants: bool = False,
        ties_open: bool = False,
        ties: Sequence[bool] | None = None,
        without_guards: bool = False,
        holding: Literal["record", "replay"] | None = None,
        held: list[np.ndarray] | None = None,
    ):
        if (holding is None) is not (held is None):
            raise ValueError("holding and held are given together")
        self.rounded_constants = rounded_constants
        self.ties_open = ties_open
        self.ties = ties
        self.without_guards = without_guards
        self.guards: set[float] = set()
        self.holding = holding
        self.held = held
        self._replayed = 0
        self._pairs: dict[tuple[int, int], tuple[bool, arb, arb]] = {}

    @property
    def met(self) -> int:
        return len(self._pairs)

    def instead(self, eqn: object, xs: list) -> object:
        return None

    def stop(self, x: np.ndarray) -> np.ndarray:
        if self.held is None:
            return x
        if self.holding == "record":
            self.held.append(x)
            return x
        if self._replayed == len(self.held) or self.held[self._replayed].shape != x.shape:
            raise Unsupported("stop_gradient, where the program took another way")
        self._replayed += 1
        return self.held[self._replayed - 1]

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

    def lift(self, x: Any) -> Any:
        return acb(x.real, x.imag) if isinstance(x, complex) else arb(x)

    def constant(self, x: Any, dtype: Any) -> Any:
        """The ball that a constant of a program stands for.

        Args:
          x: a float or complex.
          dtype: what it was rounded to.
        """
        if isinstance(x, complex):
            return acb(self.constant(x.real, dtype), self.constant(x.imag, dtype))
        if not math.isfinite(x) or x == 0:
            return arb(x)
        if self.without_guards and abs(x) <= _GUARD:
            self.guards.add(x)
            return arb(0)
        if not self.rounded_constants:
            return arb(x)
        bits, short = significant_bits(dtype)
        mantissa = math.frexp(x)[0]
        if (mantissa * 2**short).is_integer():
            return arb(x)
        return arb(x, abs(x) * 2.0**-bits)

    def function(self, name: str, arguments: int) -> Callable[..., Any]:
        function: Any = _FUNCTIONS.get((name, arguments))
        if function is None:
            raise Unsupported(name)
        if name == "sign" and (self.ties_open or self.ties is not None):
            at_tie = self._sign_at_tie
            return lambda x: at_tie(x) if x == 0 else function(x)
        return self._or_any(function) if self.ties_open else function

    def _or_any(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """Among the choices at ties, those at which a function has no value: any number."""

        def apply(*xs: arb) -> arb:
            try:
                return function(*xs)
            except Straddles:
                if all(x.is_exact() for x in xs):
                    raise
                return NAN

        return apply

    def complex_function(self, name: str, arguments: int) -> Callable[..., Any]:
        function: Any = _OF_COMPLEX.get(name)
        if function is None or arguments > 1:
            raise Unsupported(f"{name} of complex numbers")
        return lambda x: function(acb(x))

    def complex(self, x: arb, y: arb) -> acb:
        return acb(x, y)

    add = staticmethod(operator.add)
    mul = staticmethod(operator.mul)
    sub = staticmethod(operator.sub)

    def div(self, x: Any, y: Any) -> Any:
        if isinstance(x, acb) or isinstance(y, acb):
            return self._complex_div(x, acb(y))
        if y.is_finite() and y != 0:
            return x / y
        if y.is_finite() and y.contains(0) and not y.is_exact():
            if self.ties_open or is_nan(x):
                return NAN
            raise Straddles(f"a divisor {y.str(6)}")
        if y == 0:  # the limits of floats, which balls do not have
            return NAN if x == 0 or is_nan(x) else _sign(x) * INF
        return ZERO if y in (INF, MINUS_INF) and x.is_finite() else NAN

    def _complex_div(self, x: Any, y: acb) -> acb:
        if not y.is_finite() or not acb(x).is_finite():
            raise Unsupported("div of a complex infinity or NaN")
        if y == 0:
            raise Unsupported("div by a complex zero")
        if y.contains(0):
            raise Straddles(f"a divisor {y.str(6)}")
        return x / y

    def power(self, x: Any, y: Any) -> Any:
        if isinstance(x, acb) or isinstance(y, acb):
            return _complex_power(acb(x), acb(y))
        return self._or_any(_power)(x, y) if self.ties_open else _power(x, y)

    def integer_power(self, x: Any, n: int) -> Any:
        if isinstance(x, arb) and not x.is_finite():
            return _power(x, arb(n))
        return x**n if n >= 0 else self.div(ONE, x**-n)

    def atan2(self, y: arb, x: arb) -> arb:
        return _atan2(y, x)

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

    def compare(self, name: str, x: Any, y: Any) -> bool | None:
        if isinstance(x, acb) or isinstance(y, acb):
            return self._compare_complex(name, acb(x), acb(y))
        order = _order(x, y)
        if self.ties is not None and order == 0 and x is not y:
            order = 1 if self._first_is_larger(x, y) else -1
        return None if self.ties_open and order == 0 else order in _ORDERS[name]

    def _compare_complex(self, name: str, x: acb, y: acb) -> bool:
        """Equal, or not."""
        if name not in ("eq", "ne"):
            raise Unsupported(f"{name} of complex numbers")
        equal = _order(x.real, y.real) == 0 and _order(x.imag, y.imag) == 0
        return equal is (name == "eq")

    def union(self, x: Any, y: Any) -> Any:
        return acb(x).union(acb(y)) if isinstance(x, acb) or isinstance(y, acb) else x.union(y)

    def _sign_at_tie(self, x: arb) -> arb:
        if self.ties_open:
            return arb(0, 1)
        return ONE if self._first_is_larger(x, ZERO) else -ONE

    def is_finite(self, x: Any) -> bool:
        return bool(x.is_finite())

    def is_nan(self, x: Any) -> bool:
        return is_nan(x)

    def integer_part(self, x: arb) -> int:
        """Truncation toward zero."""
        if not x.is_finite():
            raise Straddles("an infinity or NaN as an integer")
        below = x.floor().unique_fmpz() if _sign(x) >= 0 else x.ceil().unique_fmpz()
        if below is None:
            raise Straddles(f"the integer part of {x.str(6)}")
        return int(below)

    def matmul(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        few = len(x) * y.size <= _FEW_PRODUCTS
        if few or not all(v.is_finite() for v in [*x.ravel(), *y.ravel()]):
            return arithmetic.matmul(self, x, y)
        a, b = _matrices(x, y)
        return array((a * b).entries(), (len(x), y.shape[1]))

    def solve(self, matrix: np.ndarray, right: np.ndarray) -> np.ndarray:
        a, b = _matrices(matrix, right)
        try:
            solved = a.solve(b)
        except ZeroDivisionError:
            raise Straddles("a singular system") from None
        return array(solved.entries(), right.shape)

    def fourier(self, x: Sequence[Any], inverse: bool) -> Sequence[acb]:
        return acb.dft(x, inverse=inverse)


def _matrices(*arrays: np.ndarray) -> list[Any]:
    """Arb's matrices, complex ones where any is."""
    of_complex = any(isinstance(v, acb) for x in arrays for v in x.ravel())
    matrix: Any = acb_mat if of_complex else arb_mat
    return [matrix(*x.shape, x.ravel().tolist()) for x in arrays]


def _sign(x: arb) -> int:
    return _order(x, ZERO) or 0


# Functions of real numbers


def _real(
    function: Callable[[arb], arb],
    high: arb = NAN,
    low: arb = NAN,
    domain: tuple[float, float] = (-math.inf, math.inf),
    at: dict[float, arb] | None = None,
) -> Callable[[arb], arb]:
    """A function with its limits, NaN outside its domain.

    Args:
      function: in balls, inside its domain.
      high: at infinity.
      low: at minus infinity.
      domain: lowest and highest numbers at which it has a value.
      at: poles and other limits.
    """
    lowest, highest = domain
    limits = list((at or {}).items())

    def apply(x: arb) -> arb:
        if x == INF:
            return high
        if x == MINUS_INF:
            return low
        if not x.is_finite():
            return NAN
        for point, y in limits:
            if x == point:
                return y
        if x < lowest or x > highest:
            return NAN
        y = function(x)
        if not y.is_finite():
            raise Straddles(f"a value at {x.str(6)}")
        return y

    return apply


def _to_integer(round_: Callable[[arb], arb]) -> Callable[[arb], arb]:
    def apply(x: arb) -> arb:
        y = round_(x)
        if not y.is_exact():
            raise Straddles(f"the integer next to {x.str(6)}")
        return y

    return _real(apply, INF, MINUS_INF)


def _logistic(x: arb) -> arb:
    if x < 0:
        e = x.exp()
        return e / (1 + e)
    return 1 / (1 + (-x).exp())


def _is_pole(x: arb) -> bool:
    return bool(x <= 0) and bool(x.is_integer())


def _with_poles(value: arb, function: Callable[[arb], arb]) -> Callable[[arb], arb]:
    """With poles at 0, -1, -2, ..."""
    return lambda x: value if _is_pole(x) else function(x)


with precision(4096):  # more than any program is run at
    _HALF_PI = arb.pi() / 2

_EXP = _real(lambda x: x.exp(), INF, ZERO)

_UNARY: dict[str, Callable[[arb], arb]] = {
    "neg": lambda x: -x,
    "abs": abs,
    "sign": lambda x: x if is_nan(x) else arb(_sign(x)),
    "exp": _EXP,
    "exp2": lambda x: _EXP(x * arb(2).log()),
    "log": _real(lambda x: x.log(), INF, domain=(0, math.inf), at={0: MINUS_INF}),
    "expm1": _real(lambda x: x.expm1(), INF, -ONE),
    "log1p": _real(lambda x: x.log1p(), INF, domain=(-1, math.inf), at={-1: MINUS_INF}),
    "logistic": _real(_logistic, ONE, ZERO),
    "tanh": _real(lambda x: x.tanh(), ONE, -ONE),
    "sinh": _real(lambda x: x.sinh(), INF, MINUS_INF),
    "cosh": _real(lambda x: x.cosh(), INF, INF),
    "sin": _real(lambda x: x.sin()),
    "cos": _real(lambda x: x.cos()),
    "tan": _real(lambda x: x.tan()),
    "asin": _real(lambda x: x.asin(), domain=(-1, 1)),
    "acos": _real(lambda x: x.acos(), domain=(-1, 1)),
    "atan": _real(lambda x: x.atan(), _HALF_PI, -_HALF_PI),
    "asinh": _real(lambda x: x.asinh(), INF, MINUS_INF),
    "acosh": _real(lambda x: x.acosh(), INF, domain=(1, math.inf)),
    "atanh": _real(lambda x: x.atanh(), domain=(-1, 1), at={1: INF, -1: MINUS_INF}),
    "sqrt": _real(lambda x: x.sqrt(), INF, domain=(0, math.inf)),
    "rsqrt": _real(lambda x: x.rsqrt(), ZERO, domain=(0, math.inf), at={0: INF}),
    "cbrt": _real(lambda x: arb(_sign(x)) * abs(x).root(3), INF, MINUS_INF, at={0: ZERO}),
    "erf": _real(lambda x: x.erf(), ONE, -ONE),
    "erfc": _real(lambda x: x.erfc(), ZERO, arb(2)),
    "erf_inv": _real(lambda x: x.erfinv(), domain=(-1, 1), at={1: INF, -1: MINUS_INF}),
    "lgamma": _with_poles(
        INF, _real(lambda x: x.lgamma() if x > 0 else abs(x.gamma()).log(), INF, INF)
    ),
    "digamma": _with_poles(NAN, _real(lambda x: x.digamma(), INF)),
    "square": lambda x: x * x,
    "bessel_i0e": _real(lambda x: x.bessel_i(0) * (-abs(x)).exp(), ZERO, ZERO),
    "bessel_i1e": _real(lambda x: x.bessel_i(1) * (-abs(x)).exp(), ZERO, ZERO),
    "floor": _to_integer(lambda x: x.floor()),
    "ceil": _to_integer(lambda x: x.ceil()),
}


def _finite(y: arb, *xs: arb) -> arb:
    if not y.is_finite():
        raise Straddles("a value at " + ", ".join(x.str(6) for x in xs))
    return y


def _power(x: arb, y: arb) -> arb:
    """As C's pow, and NaN for other than whole powers of negative numbers."""
    if y == 0 or x == 1:
        return ONE
    if is_nan(x) or is_nan(y):
        return NAN
    if not y.is_finite():
        larger = _order(abs(x), ONE)
        return ONE if larger == 0 else INF if (larger == 1) is bool(y > 0) else ZERO
    whole = bool(y.is_integer())
    odd = whole and int(y.unique_fmpz() or 0) % 2 == 1
    if not x.is_finite():
        limit = INF if _sign(y) > 0 else ZERO
        return -limit if x < 0 and odd else limit
    if x == 0:
        return ZERO if _sign(y) > 0 else INF
    if x < 0 and not whole:
        if not y.contains_integer():
            return NAN
        raise Straddles(f"a power {y.str(6)} of a negative number")
    if not x > 0 and not whole:
        raise Straddles(f"a power of {x.str(6)}")
    return _finite(x**y, x, y)


def _atan2(y: arb, x: arb) -> arb:
    if is_nan(x) or is_nan(y):
        return NAN
    if not y.is_finite() and not x.is_finite():  # halfway between the axes
        sign = arb(_sign(y))
        return sign * _HALF_PI / 2 if x > 0 else 3 * sign * _HALF_PI / 2
    return _finite(arb.atan2(y, x), y, x)


def _remainder(x: arb, y: arb) -> arb:
    if not x.is_finite() or y == 0 or is_nan(y):
        return NAN
    if not y.is_finite():
        return x
    quotient = _finite(x / y, x, y)
    return x - y * _UNARY["ceil" if _sign(quotient) < 0 else "floor"](quotient)


def _igamma(a: arb, x: arb) -> arb:
    if a == 0 and x > 0 and x.is_finite():
        raise Unsupported("igamma at 0")  # 1, where JAX has NaN
    return _incomplete(a, x, ONE, lambda: x.gamma_lower(a, regularized=1))


def _igammac(a: arb, x: arb) -> arb:
    return _incomplete(a, x, ZERO, lambda: x.gamma_upper(a, regularized=1))


def _incomplete(a: arb, x: arb, last: arb, function: Callable[[], arb]) -> arb:
    """Of a, x >= 0; at infinity the last value, and at a = 0 as well."""
    if is_nan(a) or is_nan(x) or x < 0 or a < 0 or (a == 0 and x == 0):
        return NAN
    if a == 0 or x == INF:
        return last
    if x == 0:
        return ONE - last
    return _finite(function(), a, x)


def _zeta(s: arb, q: arb) -> arb:
    if not s > 1 or not q > 0 or not s.is_finite() or not q.is_finite():
        raise Unsupported("zeta beyond its series")
    return _finite(s.zeta(q), s, q)


def _polygamma(n: arb, x: arb) -> arb:
    if not n.is_integer() or n < 0 or not x > 0 or not x.is_finite():
        raise Unsupported("polygamma beyond positive numbers")
    return _finite(acb(x).polygamma(acb(n)).real if n > 0 else x.digamma(), n, x)


def _incomplete_beta(a: arb, b: arb, x: arb) -> arb:
    if not (a > 0 and b > 0 and x >= 0 and x <= 1 and a.is_finite() and b.is_finite()):
        raise Unsupported("regularized_incomplete_beta beyond its domain")
    return _finite(x.beta_lower(a, b, regularized=1), a, b, x)


_FUNCTIONS: dict[tuple[str, int], Callable[..., arb]] = {
    **{(name, 1): function for name, function in _UNARY.items()},
    ("igamma", 2): _igamma,
    ("igammac", 2): _igammac,
    ("polygamma", 2): _polygamma,
    ("regularized_incomplete_beta", 3): _incomplete_beta,
    ("rem", 2): _remainder,
    ("zeta", 2): _zeta,
}


# Functions of complex numbers


def _complex(
    function: Callable[[acb], acb], on_cut: Callable[[acb], bool] | None = None
) -> Callable[[acb], acb]:
    """A function inside its domain.

    Args:
      function: in balls.
      on_cut: whether a number may lie on a cut, where floats go by the sign of a zero.
    """

    def apply(z: acb) -> acb:
        if not z.is_finite():
            raise Unsupported("a function of a complex infinity or NaN")
        if on_cut is not None and on_cut(z):
            raise Straddles(f"a value at a cut, {z.str(6)}")
        y = function(z)
        if not y.is_finite():
            raise Straddles(f"a value at {z.str(6)}")
        return y

    return apply


def _negative(z: acb) -> bool:
    """Whether a number may lie on the negative axis."""
    return bool(z.imag.contains(0)) and not z.real >= 0


def _outside(z: acb) -> bool:
    """Whether a number may lie on the real axis, outside of [-1, 1]."""
    return bool(z.imag.contains(0)) and not abs(z.real) <= 1


def _outside_of_imaginary(z: acb) -> bool:
    return _outside(acb(z.imag, z.real))


def _complex_log(z: acb) -> acb:
    return _COMPLEX_LOG(z) if z != 0 else acb(MINUS_INF, ZERO)


def _complex_power(x: acb, y: acb) -> acb:
    if y == 0:
        return acb(1)
    if y.imag == 0 and y.real.is_integer() and abs(y.real) < 2**31:
        n = int(y.real.unique_fmpz() or 0)
        if n > 0 or x != 0:
            return x**n
    if x == 0:
        if y.imag == 0 and y.real > 0:
            return acb(0)
        raise Unsupported("pow of a complex zero")
    return (y * _COMPLEX_LOG(x)).exp()


def _complex_sign(z: acb) -> acb:
    if z == 0:
        return acb(0)
    if z.contains(0):
        raise Straddles(f"the sign of {z.str(6)}")
    return z / abs(z)


_COMPLEX_LOG = _complex(lambda z: z.log(), _negative)

_OF_COMPLEX: dict[str, Callable[[acb], Any]] = {
    "abs": abs,
    "acos": _complex(lambda z: z.acos(), _outside),
    "acosh": _complex(lambda z: z.acosh(), lambda z: _negative(z - 1)),
    "asin": _complex(lambda z: z.asin(), _outside),
    "asinh": _complex(lambda z: z.asinh(), _outside_of_imaginary),
    "atan": _complex(lambda z: z.atan(), _outside_of_imaginary),
    "atanh": _complex(lambda z: z.atanh(), _outside),
    "conj": lambda z: z.conjugate(),
    "cos": _complex(lambda z: z.cos()),
    "cosh": _complex(lambda z: z.cosh()),
    "exp": _complex(lambda z: z.exp()),
    "exp2": _complex(lambda z: (z * arb(2).log()).exp()),
    "expm1": _complex(lambda z: z.expm1()),
    "imag": lambda z: z.imag,
    "log": _complex_log,
    "log1p": _complex(lambda z: z.log1p(), lambda z: _negative(z + 1)),
    "logistic": _complex(lambda z: 1 / (1 + (-z).exp())),
    "neg": lambda z: -z,
    "real": lambda z: z.real,
    "rsqrt": _complex(lambda z: z.rsqrt(), _negative),
    "sign": _complex_sign,
    "sin": _complex(lambda z: z.sin()),
    "sinh": _complex(lambda z: z.sinh()),
    "sqrt": _complex(lambda z: z.sqrt(), _negative),
    "square": lambda z: z * z,
    "tan": _complex(lambda z: z.tan()),
    "tanh": _complex(lambda z: z.tanh()),
}
