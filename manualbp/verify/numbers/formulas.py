"""Formulas as numbers: quotients of polynomials, for the interpreter.

A program run over these numbers becomes a formula in normal form. The indeterminates are the
entries of its arguments and the functions met on the way: an exponential is a product of powers
of a few independent ones, a logarithm a sum over prime factors, a square root carries its square.
Whatever is left has no known relation, so that two formulas that are the same quotient are the
same function wherever both are defined. The converse is not promised.

Where a program compares, it goes one way; a path lists which sign each polynomial was taken to
have, and replaying a path up to one decision and then the other way visits every branch.
"""

import itertools
import math
import operator
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

import numpy as np
from flint import Ordering, fmpq, fmpq_mat, fmpq_mpoly, fmpq_mpoly_ctx, fmpz
from flint.utils.flint_exceptions import DomainError

from manualbp.verify.numbers import arithmetic, linear
from manualbp.verify.numbers.arithmetic import Unsupported, significant_bits

_LARGEST = float(np.finfo(np.float64).max)
# Pairs of terms that are multiplied or reduced, and terms that are factored, at most
_MOST_PAIRS, _MOST_REDUCED, _MOST_FACTORED = 200_000, 3_000_000, 400
_LONG = 1000
_ORDERS = {"lt": (-1,), "le": (-1, 0), "gt": (1,), "ge": (0, 1), "eq": (0,), "ne": (-1, 1)}
# f(-x) is so many times f(x)
_SYMMETRY = {"sin": -1, "cos": 1, "erf": -1, "erf_inv": -1, "atan": -1, "asin": -1}
_FUNCTIONS = {*_SYMMETRY, "lgamma", "digamma"}
# What a constant of many digits may be a small multiple of: 2^(i/2) pi^(j/2), by (i, j); and the
# logarithm of 2^i 5^j pi^k, by (i, j, k)
_ROOTS = {(i, j): 2 ** (i / 2) * math.pi ** (j / 2) for i in (0, 1) for j in range(-2, 3) if i or j}
_LOGS = {
    (i, j, k): math.log(2**i * 5**j * math.pi**k)
    for i, j, k in ((1, 0, 0), (1, 1, 0), (0, 0, 1), (1, 0, 1))
}
# How many digits, and which largest denominators (alone, and of multiples of roots), a constant is
# guessed to have, by the bits of its dtype: so few that a guess is no chance
_GUESSES = {53: (12, 1000, 64), 24: (6, 30, 16)}
_NO_GUESS = (2, 1, 1)


class TooLarge(Exception):
    """A formula too long to work with."""


class Restart(Exception):
    """Indeterminates are too few or too coarse; what is needed is noted."""


class Quotient:
    """A quotient of polynomials in lowest terms; the same quotient is the same object."""

    __slots__ = ("den", "num")

    def __init__(self, num: fmpq_mpoly, den: fmpq_mpoly):
        self.num, self.den = num, den


# A number of the arithmetic: NaN and the infinities are floats
Number = Quotient | float


@dataclass
class Notes:
    """What a run finds out for the next.

    Attributes:
      room: how many indeterminates there are beside the arguments.
      parts: for an exponent, as text, the divisor that makes all exponents met its multiples.
    """

    room: int = 16
    parts: dict[str, int] = field(default_factory=dict)


def _kept(method: Callable) -> Callable:
    """A method of numbers that is run once for each, whatever the path."""

    def of(self: "Symbolic", *xs: Any) -> Any:
        key = (method.__name__, *xs)
        if key not in self._results:
            self._results[key] = method(self, *xs)
        return self._results[key]

    return of


class Symbolic:
    """The arithmetic of formulas along one path, for the interpreter.

    Args:
      symbols: names of the entries of the arguments.
      notes: of earlier runs.
      tick: called at each step; raises to stop.

    Attributes:
      path: the decisions so far: the sign of each polynomial.
    """

    name = "formulas"

    def __init__(self, symbols: Sequence[str], notes: Notes, tick: Callable[[], None]):
        self.notes, self.tick = notes, tick
        size = len(symbols) + notes.room
        self._ctx = fmpq_mpoly_ctx.get([f"k{i}" for i in range(size)], Ordering.lex)
        self._unit = self._ctx.constant(1)
        self._known: dict[tuple, list[Quotient]] = {}
        self._results: dict[tuple, Any] = {}
        self._names: list[str] = []
        self._positive: set[int] = set()
        self._signs: dict[Quotient, int] = {}  # of polynomials, on every path
        self._squares: dict[int, fmpq_mpoly] = {}  # of roots
        self._logs: dict[int, Quotient] = {}  # the polynomial that a log is of
        self._exponents: dict[int, Quotient] = {}  # of exponentials, linearly independent
        self._origins: dict[int, str] = {}  # what an exponent was before its division into parts
        self.path: dict[Quotient, int] = {}
        self._plan: tuple[int, ...] = ()
        self.zero: Number = self._rational(fmpq(0))
        self.one: Number = self._rational(fmpq(1))
        self._minus: Number = self._rational(fmpq(-1))
        self.symbols = [self._function(name) for name in symbols]

    def follow(self, plan: tuple[int, ...]) -> None:
        """Begin a path: these signs first, then positive ones."""
        self._plan, self.path = plan, {}

    def assume_positive(self, x: Number) -> None:
        """Take a polynomial for positive on every path: the domain of an argument."""
        assert isinstance(x, Quotient)
        ((f, _),) = self._factors(x)
        self._signs[f] = 1 if x.num.leading_coefficient() > 0 else -1
        if len(f.num) == 1 and self._signs[f] > 0:
            self._positive.add(self._index(f))

    def intervals(self) -> dict[int, tuple[Fraction | float, Fraction | float]]:
        """Between what numbers this path takes single symbols to lie, where it bounds them."""
        found: dict[int, tuple[Fraction | float, Fraction | float]] = {}
        for q, sign in self.path.items():
            f = q.num
            used = [i for i, n in enumerate(f.degrees()) if n]
            if len(used) > 1 or f.total_degree() > 1 or used[0] >= len(self.symbols):
                continue
            lead = f.leading_coefficient()
            root = (self._ctx.gen(used[0]) * lead - f).leading_coefficient() / lead
            bound = Fraction(int(root.p), int(root.q))
            low, high = found.get(used[0], (-math.inf, math.inf))
            found[used[0]] = (max(low, bound), high) if sign > 0 else (low, min(high, bound))
        return found

    def text(self, x: Number) -> str:
        """As a formula of the arguments."""
        if isinstance(x, float):
            return str(x)
        text = str(x.num) if x.den.is_one() else f"({x.num})/({x.den})"
        return re.sub(r"k(\d+)", lambda m: self._names[int(m[1])], text)

    # Normal form

    def _quotient(self, num: fmpq_mpoly, den: fmpq_mpoly | None = None) -> Quotient:
        """In lowest terms, without roots in the denominator and squares of roots anywhere."""
        num, den = self._reduced(num), self._unit if den is None else self._reduced(den)
        for i in reversed(self._squares):
            if den.degrees()[i]:  # den is a + b g: times a - b g it has no root
                g = self._ctx.gen(i)
                conjugate = den.compose(*(-x if x == g else x for x in self._ctx.gens()))
                num, den = (self._reduced(self._product(p, conjugate)) for p in (num, den))
        if not den.is_constant():
            if len(num) * len(den) > _MOST_REDUCED:
                raise TooLarge(f"a quotient of {len(num)} by {len(den)} terms")
            num, den = _in_lowest_terms(num, den)
        lead = den.leading_coefficient()
        if lead != 1:
            num, den = num / lead, den / lead
        # polynomials have no hash, and as text long ones take longer than their arithmetic
        top = (num.monomial(0), num.leading_coefficient()) if len(num) else ()
        key = len(num), len(den), *top
        alike = self._known.setdefault(key, [])
        for known in alike:
            if known.num == num and known.den == den:
                return known
        alike.append(Quotient(num, den))
        return alike[-1]

    def _reduced(self, p: fmpq_mpoly) -> fmpq_mpoly:
        """With the square of each root replaced."""
        for i in reversed(self._squares):
            if p.degrees()[i] < 2:
                continue
            by_power: dict[int, dict] = {}
            for monomial, c in p.to_dict().items():
                whole, part = divmod(monomial[i], 2)
                by_power.setdefault(whole, {})[*monomial[:i], part, *monomial[i + 1 :]] = c
            parts = (
                self._product(self._ctx.from_dict(terms), self._squares[i] ** n)
                for n, terms in by_power.items()
            )
            return self._reduced(sum(parts, self._ctx.constant(0)))
        return p

    def _product(self, p: fmpq_mpoly, q: fmpq_mpoly) -> fmpq_mpoly:
        self.tick()
        if len(p) * len(q) > _MOST_PAIRS:
            raise TooLarge(f"a product of {len(p)} by {len(q)} terms")
        return p * q

    def _rational(self, c: fmpq) -> Quotient:
        return self._quotient(self._ctx.constant(c))

    def _function(self, name: str, positive: bool = False) -> Quotient:
        """The indeterminate of that name."""
        if name not in self._names:
            if len(self._names) == self._ctx.nvars():
                self.notes.room *= 2
                raise Restart
            self._names.append(name)
        i = self._names.index(name)
        if positive:
            self._positive.add(i)
        return self._quotient(self._ctx.gen(i))

    def _generator(self, x: Quotient) -> int:
        """The number of an indeterminate; -1 for what is none."""
        return self._index(x) if len(x.num) == 1 and not x.num.is_constant() else -1

    def _index(self, x: Quotient) -> int:
        """The number of an indeterminate."""
        return next(i for i, n in enumerate(x.num.degrees()) if n)

    @_kept
    def _factors(self, x: Quotient) -> list[tuple[Quotient, int]]:
        """Prime factors of positive leading coefficients, and powers: their product is x or -x."""
        self.tick()
        if max(len(x.num), len(x.den)) > _MOST_FACTORED:
            raise TooLarge(f"the factors of {len(x.num)} terms")
        content, factors = x.num.factor()
        content_below, below = x.den.factor()
        content /= content_below
        numbers = [*_primes(content.p), *((prime, -n) for prime, n in _primes(content.q))]
        return [
            *((self._rational(fmpq(prime)), n) for prime, n in numbers),
            *((self._quotient(f), n) for f, n in factors),
            *((self._quotient(f), -n) for f, n in below),
        ]

    # Signs

    def sign(self, x: Number) -> int:
        """-1, 0 or 1, on this path."""
        if isinstance(x, float):
            return int(np.sign(x))
        if x is self.zero:
            return 0
        sign = 1 if x.num.leading_coefficient() > 0 else -1
        for f, n in self._factors(x):
            if n % 2:
                sign *= self._sign_of(f)
        return sign

    def _sign_of(self, f: Quotient) -> int:
        """The sign of a prime factor: known everywhere, or decided on this path."""
        if f not in self._signs and self._is_positive(f.num):
            self._signs[f] = 1
        if f in self._signs:
            return self._signs[f]
        gap = self._gap_of_exponents(f)
        if gap is not None:
            return self.sign(gap)
        if f not in self.path:
            n = len(self.path)
            self.path[f] = self._plan[n] if n < len(self._plan) else 1
        return self.path[f]

    def _is_positive(self, f: fmpq_mpoly) -> bool:
        """Whether a polynomial is positive everywhere, as far as its terms or squares show."""
        used = [i for i, n in enumerate(f.degrees()) if n]
        terms = f.to_dict()
        if all(c > 0 for c in terms.values()) and all(
            i in self._positive or all(m[i] % 2 == 0 for m in terms) for i in used
        ):
            return True
        if f.total_degree() != 2:
            return False
        # a quadratic form, of the symbols and 1, is a sum of squares if its pivots are positive
        matrix = [[fmpq(0)] * (len(used) + 1) for _ in range(len(used) + 1)]
        for monomial, c in terms.items():
            places = [k for k, i in enumerate(used) for _ in range(int(monomial[i]))]
            j, k = [*places, -1, -1][:2]
            matrix[j][k] += c / 2
            matrix[k][j] += c / 2
        while matrix:
            (pivot, *row), *rest = matrix
            if pivot < 0 or (pivot == 0 and any(x != 0 for x in row)):
                return False
            matrix = [
                [x - (a * y / pivot if pivot else 0) for x, y in zip(line, row, strict=True)]
                for a, *line in rest
            ]
        return True

    @_kept
    def _gap_of_exponents(self, f: Quotient) -> Number | None:
        """What has the sign of a difference of two exponentials: the difference of exponents."""
        terms = sorted(f.num.to_dict().items(), key=lambda term: -term[1])
        if len(terms) != 2 or not terms[0][1] > 0 > terms[1][1]:
            return None
        total = self._log(self._rational(-terms[0][1] / terms[1][1]))
        for i, (n, m) in enumerate(zip(terms[0][0], terms[1][0], strict=True)):
            if (n or m) and i not in self._exponents:
                return None
            if n != m:
                step = self._rational(fmpq(int(n) - int(m)))
                total = self.add(total, self.mul(step, self._exponents[i]))
        return total

    def _order(self, x: Number, y: Number) -> int:
        if x is y:
            return 0
        if isinstance(x, float) or isinstance(y, float):
            a, b = (v if isinstance(v, float) else 0.0 for v in (x, y))
            return int(a > b) - int(a < b)
        return self.sign(self.sub(x, y))

    # Arithmetic

    @_kept
    def lift(self, x: Any) -> Number:
        if isinstance(x, complex):
            raise Unsupported("complex numbers")
        return self._rational(fmpq(*x.as_integer_ratio())) if math.isfinite(x) else float(x)

    @_kept
    def constant(self, x: Any, dtype: Any) -> Number:
        """The number that a constant of a program stands for, given what it was rounded to.

        Itself where it has few bits; else the short decimal, the small fraction or the multiple
        of roots and logarithms of 2, 5 and pi that rounds to it; else itself.
        """
        if isinstance(x, complex):
            return self.lift(x)
        if abs(x) >= _LARGEST:  # where a clip has no effect
            return math.copysign(math.inf, x)
        bits, short = significant_bits(dtype)
        if math.isnan(x) or (math.frexp(x)[0] * 2**short).is_integer():
            return self.lift(x)
        digits, small, factors = _GUESSES.get(bits, _NO_GUESS)
        for near in (Fraction(f"{x:.{digits}g}"), Fraction(x).limit_denominator(small)):
            if _rounds(near, x, bits):
                return self._fraction(near)
        for powers, size in itertools.chain(_ROOTS.items(), _LOGS.items()):
            for ratio, combine in ((x / size, self.mul), (x * size, self.div)):
                factor = Fraction(ratio).limit_denominator(factors)
                if _rounds(factor, ratio, bits):
                    return combine(self._fraction(factor), self._irrational(powers))
        return self.lift(x)

    def _fraction(self, c: Fraction) -> Number:
        return self._rational(fmpq(c.numerator, c.denominator))

    def _irrational(self, powers: tuple[int, ...]) -> Number:
        """2^(i/2) pi^(j/2) or log 2^i 5^j pi^k."""
        root_pi = self._function("sqrt(pi)", positive=True)
        if len(powers) == 2:
            two = self._sqrt(self.lift(2.0 ** powers[0]))
            return self.mul(two, self.integer_power(root_pi, powers[1]))
        i, j, k = powers
        return self._log(self.mul(self.lift(2.0**i * 5.0**j), self.integer_power(root_pi, 2 * k)))

    def _apply(self, name: str, x: Number, y: Number) -> Number:
        """A sum, product or quotient; beside an infinity a finite number counts by its sign."""
        if isinstance(x, float) or isinstance(y, float) or (name == "div" and y is self.zero):
            a, b = (v if isinstance(v, float) else float(self.sign(v)) for v in (x, y))
            return self.lift(float(_FLOATS[name](np.float64(a), np.float64(b))))
        key = (name, id(x), id(y))
        found = self._results.get(key)
        if found is None:
            times = self._product
            if name == "mul":
                num, den = times(x.num, y.num), times(x.den, y.den)
            elif name == "div":
                num, den = times(x.num, y.den), times(x.den, y.num)
            elif x.den == y.den:
                num, den = x.num + y.num, x.den
            else:
                num, den = times(x.num, y.den) + times(y.num, x.den), times(x.den, y.den)
            found = self._results[key] = self._quotient(num, den)
        return found

    def add(self, x: Number, y: Number) -> Number:
        return self._apply("add", x, y)

    def mul(self, x: Number, y: Number) -> Number:
        if x is self.one or y is self.one:
            return y if x is self.one else x
        return self._apply("mul", x, y)

    def sub(self, x: Number, y: Number) -> Number:
        return self.add(x, self.neg(y))

    def neg(self, x: Number) -> Number:
        return -x if isinstance(x, float) else self.mul(self._minus, x)

    def div(self, x: Number, y: Number) -> Number:
        return self._apply("div", x, y)

    def integer_power(self, x: Number, n: int) -> Number:
        if n < 0:
            return self.div(self.one, self.integer_power(x, -n))
        total = self.one
        for _ in range(n):
            total = self.mul(total, x)
        return total

    def power(self, x: Number, y: Number) -> Number:
        """Of a positive number, or to a whole power."""
        if isinstance(y, Quotient) and y.num.is_constant():
            exponent = y.num.leading_coefficient() if y is not self.zero else fmpq(0)
            if y.den.is_one() and exponent.q == 1:
                return self.integer_power(x, int(exponent.p))
        if x is self.zero:
            return self.zero if self.sign(y) > 0 else math.nan
        return self.exp(self.mul(y, self._log(x)))

    def atan2(self, y: Number, x: Number) -> Number:
        raise Unsupported("atan2")

    def maximum(self, x: Number, y: Number) -> Number:
        return math.nan if _nan(x, y) else x if self._order(x, y) >= 0 else y

    def minimum(self, x: Number, y: Number) -> Number:
        return math.nan if _nan(x, y) else x if self._order(x, y) <= 0 else y

    def compare(self, name: str, x: Number, y: Number) -> bool:
        return name == "ne" if _nan(x, y) else self._order(x, y) in _ORDERS[name]

    def union(self, x: Number, y: Number) -> Number:
        raise Unsupported("a comparison left open")

    def complex(self, x: Number, y: Number) -> Number:
        raise Unsupported("complex numbers")

    def complex_function(self, name: str, arguments: int) -> Callable[..., Number]:
        raise Unsupported("complex numbers")

    def matmul(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        return arithmetic.matmul(self, x, y)

    def solve(self, matrix: np.ndarray, right: np.ndarray) -> np.ndarray:
        return linear.solve(self, matrix, right)

    def fourier(self, x: Sequence[Number], inverse: bool) -> Sequence[Number]:
        raise Unsupported("fft")

    def stop(self, x: np.ndarray) -> np.ndarray:
        return x

    def is_finite(self, x: Number) -> bool:
        return isinstance(x, Quotient)

    def is_nan(self, x: Number) -> bool:
        return _nan(x)

    def instead(self, eqn: object, xs: list) -> object:
        """No equation has a result of its own."""
        return None

    def integer_part(self, x: Number) -> int:
        raise Unsupported("the integer part of a formula")

    # Functions

    def function(self, name: str, arguments: int) -> Callable[..., Number]:
        if arguments != 1:
            raise Unsupported(name)
        if name in _FUNCTIONS:
            return lambda x: self._odd_or_even(name, x)
        function = _UNARY.get(name)
        if function is None:
            raise Unsupported(name)
        return lambda x: math.nan if _nan(x) else function(self, x)

    def _odd_or_even(self, name: str, x: Number) -> Number:
        """A function of which its symmetry is known, and the square of a sine."""
        if isinstance(x, float):
            raise Unsupported(f"{name} of an infinity")
        if x is not self.zero and x.num.leading_coefficient() < 0 and name in _SYMMETRY:
            y = self._odd_or_even(name, self.neg(x))
            return y if _SYMMETRY[name] > 0 else self.neg(y)
        y = self._function(f"{name}({self.text(x)})")
        if name == "sin":
            cosine = self._function(f"cos({self.text(x)})").num
            self._squares[self._index(y)] = 1 - cosine * cosine
        return y

    def exp(self, x: Number) -> Number:
        """Of c log |f| it is |f|^c; of the rest, powers of independent exponentials."""
        if isinstance(x, float):
            return self.lift(float(np.exp(x)))
        found, rest = self.one, x.num
        if x.den.is_one():
            for monomial, c in x.num.to_dict().items():
                i = next((i for i, n in enumerate(monomial) if n), -1)
                if sum(monomial) == 1 and i in self._logs and (2 * c).q == 1:
                    power = self._absolute_power(self._logs[i], int((2 * c).p))
                    found, rest = self.mul(found, power), rest - c * self._ctx.gen(i)
        if rest.is_zero():
            return found
        return self.mul(found, self._exp_in_basis(self._quotient(rest, x.den)))

    @_kept
    def _exp_in_basis(self, x: Quotient) -> Number:
        """By solving for the exponent as a sum of multiples of those known."""
        exponents = [*self._exponents.values(), x]
        den = self._unit
        for e in exponents:
            den = self._product(den, e.den) / den.gcd(e.den)
        vectors = [self._product(e.num, den / e.den).to_dict() for e in exponents]
        monomials = {m: None for v in vectors for m in v}
        matrix = fmpq_mat([[v.get(m, fmpq(0)) for v in vectors] for m in monomials])
        solved, rank = matrix.rref()
        n = len(self._exponents)
        if rank > n:  # independent of the others
            text = self.text(x)
            parts = self.notes.parts.get(text, 1)
            part = self._quotient(x.num / parts, x.den)
            generator = self._function(f"exp({self.text(part)})", positive=True)
            self._exponents[self._index(generator)] = part
            self._origins[self._index(generator)] = text
            return self.integer_power(generator, parts)
        total = self.one
        for k, i in enumerate(self._exponents):
            c = solved[k, n]
            if c.q != 1:
                text = self._origins[i]
                self.notes.parts[text] = self.notes.parts.get(text, 1) * int(c.q)
                raise Restart
            power = self.integer_power(self._quotient(self._ctx.gen(i)), int(c.p))
            total = self.mul(total, power)
        return total

    def _log(self, x: Number) -> Number:
        """Along prime factors; NaN where x is negative."""
        sign = self.sign(x)
        if isinstance(x, float) or sign <= 0:
            return x if sign > 0 else math.nan if sign < 0 else -math.inf
        total = self.zero
        for f, n in self._factors(x):
            total = self.add(total, self.mul(self._rational(fmpq(n)), self._log_absolute(f)))
        return total

    def _log_absolute(self, f: Quotient) -> Number:
        """log |f| of a prime factor."""
        i = self._generator(f)
        if i in self._exponents:
            return self._exponents[i]
        if i in self._squares and i in self._positive:  # a root, no sine
            return self.mul(self.lift(0.5), self._log(self._quotient(self._squares[i])))
        y = self._function(f"log({self.text(f)})")
        self._logs[self._index(y)] = f
        return y

    def _sqrt(self, x: Number) -> Number:
        """Along prime factors; NaN where x is negative."""
        sign = self.sign(x)
        if isinstance(x, float) or sign <= 0:
            return math.nan if sign < 0 else x
        total = self.one
        for f, n in self._factors(x):
            total = self.mul(total, self._absolute_power(f, n))
        return total

    def _absolute_power(self, f: Quotient, n: int) -> Number:
        """|f|^(n/2) of a prime factor."""
        whole, half = divmod(n, 2)
        size = self._quotient(f.num * self._sign_of(f))
        power = self.integer_power(size, whole)
        if not half:
            return power
        i = self._generator(f)
        if i in self._exponents:
            return self.mul(power, self.exp(self.mul(self._exponents[i], self.lift(0.5))))
        root = self._function(f"sqrt({self.text(size)})", positive=True)
        self._squares[self._index(root)] = size.num
        return self.mul(power, root)


def _in_lowest_terms(num: fmpq_mpoly, den: fmpq_mpoly) -> tuple[fmpq_mpoly, fmpq_mpoly]:
    """Without common factors."""
    if len(num) < _LONG:
        common = num.gcd(den)
        return (num, den) if common.is_one() else (num / common, den / common)
    # the few factors of a denominator in turn take a thirtieth of the time of a long gcd
    for factor, times in den.factor()[1]:
        for _ in range(times):
            try:
                num = num / factor
            except DomainError:
                break
            den = den / factor
    return num, den


def _nan(*xs: Number) -> bool:
    return any(isinstance(x, float) and math.isnan(x) for x in xs)


def _rounds(exact: Fraction, x: float, bits: int) -> bool:
    """Whether a number is within two roundings of a float of so many bits."""
    return exact != 0 and abs(exact - Fraction(x)) <= abs(Fraction(x)) / 2 ** (bits - 2)


def _primes(n: Any) -> list[tuple[int, int]]:
    """The prime factors of |n| and their powers."""
    return [(int(prime), int(times)) for prime, times in abs(fmpz(n)).factor()]


_FLOATS: dict[str, Callable] = {"add": operator.add, "mul": operator.mul, "div": np.divide}

_UNARY: dict[str, Callable[[Symbolic, Number], Number]] = {
    "neg": Symbolic.neg,
    "abs": lambda ar, x: x if ar.sign(x) >= 0 else ar.neg(x),
    "sign": lambda ar, x: ar.lift(float(ar.sign(x))),
    "square": lambda ar, x: ar.mul(x, x),
    "exp": Symbolic.exp,
    "exp2": lambda ar, x: ar.exp(ar.mul(x, ar._log(ar.lift(2.0)))),
    "expm1": lambda ar, x: ar.sub(ar.exp(x), ar.one),
    "log": Symbolic._log,
    "log1p": lambda ar, x: ar._log(ar.add(ar.one, x)),
    "logistic": lambda ar, x: ar.div(ar.one, ar.add(ar.one, ar.exp(ar.neg(x)))),
    "tanh": lambda ar, x: ar.sub(
        ar.one, ar.div(ar.lift(2.0), ar.add(ar.exp(ar.add(x, x)), ar.one))
    ),
    "sinh": lambda ar, x: ar.mul(ar.lift(0.5), ar.sub(ar.exp(x), ar.exp(ar.neg(x)))),
    "cosh": lambda ar, x: ar.mul(ar.lift(0.5), ar.add(ar.exp(x), ar.exp(ar.neg(x)))),
    "asinh": lambda ar, x: ar._log(ar.add(x, ar._sqrt(ar.add(ar.mul(x, x), ar.one)))),
    "atanh": lambda ar, x: ar.mul(
        ar.lift(0.5), ar.sub(ar._log(ar.add(ar.one, x)), ar._log(ar.sub(ar.one, x)))
    ),
    "sqrt": Symbolic._sqrt,
    "rsqrt": lambda ar, x: ar.div(ar.one, ar._sqrt(x)),
    "tan": lambda ar, x: ar.div(ar._odd_or_even("sin", x), ar._odd_or_even("cos", x)),
    "erfc": lambda ar, x: ar.sub(ar.one, ar._odd_or_even("erf", x)),
}
