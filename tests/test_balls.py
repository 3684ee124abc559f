"""What balls say of constants, of held values, at limits and of complex numbers."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flint import acb, arb
from jax import lax

from manualbp.verify.numbers.balls import Arb, precision
from manualbp.verify.numbers.walk import Straddles, Unsupported, evaluate, lift

POINTS = [0.0, 1.0, -1.0, 2.0, -2.0, 0.5, -0.5, -3.0, 30.0, -30.0, np.inf, -np.inf, np.nan]
UNARY = """
    neg abs sign exp exp2 log expm1 log1p logistic tanh sinh cosh sin cos tan asin acos atan asinh
    acosh atanh sqrt rsqrt cbrt erf erfc erf_inv lgamma digamma square bessel_i0e bessel_i1e floor
    ceil
"""
COMPLEX = [complex(x, y) for x in (0.0, 1.0, -1.0, 0.5, -2.0) for y in (0.0, 0.25, -1.0, 2.0)]
UNARY_COMPLEX = """
    neg abs sign exp exp2 log expm1 log1p logistic tanh sinh cosh sin cos tan asin acos atan asinh
    acosh atanh sqrt rsqrt square real imag conj
"""


def run(function, *arguments, **options):
    arithmetic = Arb(**options)
    with jax.enable_x64(True):
        arguments = [np.asarray(x) for x in arguments]
        jaxpr = jax.make_jaxpr(function)(*arguments)
        with precision(256):
            return evaluate(jaxpr, [lift(x, arithmetic.lift) for x in arguments], arithmetic)


def one(function, *arguments, **options):
    return run(function, *arguments, **options)[0].item()


def number(x):
    return complex(float(x.real), float(x.imag)) if isinstance(x, acb) else float(x)


def outcomes(name, function, points, **options):
    """Numbers of balls beside JAX's, where balls have one."""
    with jax.enable_x64(True):
        truth = getattr(lax, name)(*map(np.asarray, zip(*points, strict=True)))
    for point, want in zip(points, np.asarray(truth), strict=True):
        try:
            yield point, number(function(*map(Arb().lift, point))), want
        except (Straddles, Unsupported):
            yield point, None, want


@pytest.mark.parametrize("name", UNARY.split())
def test_functions_at_limits(name):
    for point, got, want in outcomes(name, Arb().function(name, 1), [(x,) for x in POINTS]):
        assert got is not None, point
        np.testing.assert_allclose(got, want, rtol=1e-10, atol=1e-14, err_msg=str(point))


PAIRS = [(x, y) for x in POINTS for y in POINTS]
TWO = {
    "add": Arb.add,
    "atan2": Arb().atan2,
    "div": Arb().div,
    "igamma": Arb().function("igamma", 2),
    "igammac": Arb().function("igammac", 2),
    "max": Arb().maximum,
    "min": Arb().minimum,
    "mul": Arb.mul,
    "pow": Arb().power,
    "rem": Arb().function("rem", 2),
    "sub": Arb.sub,
}


@pytest.mark.parametrize("name", TWO)
def test_functions_of_two_at_limits(name):
    refused = 0
    for pair, got, want in outcomes(name, TWO[name], PAIRS):
        refused += got is None
        if got is not None:
            np.testing.assert_allclose(got, want, rtol=1e-10, atol=1e-12, err_msg=str(pair))
    # at 0 and infinity, where JAX has NaN or, by x, a number
    assert refused == {"igamma": 8, "igammac": 4}.get(name, 0)


@pytest.mark.parametrize("n", range(-3, 4))
def test_integer_powers_at_limits(n):
    for x in POINTS:
        got, want = float(Arb().integer_power(arb(x), n)), float(lax.integer_pow(x, n))
        np.testing.assert_allclose(got, want, rtol=1e-6, err_msg=str(x))


@pytest.mark.parametrize("name", UNARY_COMPLEX.split())
def test_functions_of_complex_numbers(name):
    function = Arb().complex_function(name, 1)
    decided = 0
    for point, got, want in outcomes(name, function, [(z,) for z in COMPLEX]):
        if got is not None:
            decided += 1
            np.testing.assert_allclose(got, want, rtol=1e-10, atol=1e-14, err_msg=str(point))
    assert decided >= 15


@pytest.mark.parametrize(
    ("name", "x"),
    [
        ("log", arb(1, 2)), ("sqrt", arb(0, 1)), ("rsqrt", arb(0, 1)), ("asin", arb(1, 0.5)),
        ("acosh", arb(1, 0.5)), ("atanh", arb(1, 0.5)), ("log1p", arb(-1, 0.5)),
        ("digamma", arb(0, 1)), ("lgamma", arb(-1, 0.5)), ("floor", arb(1, 0.5)),
        ("exp", arb(10) ** 300), ("sign", arb(0, 1)),
    ],
)  # fmt: skip
def test_what_reaches_across_an_edge_straddles(name, x):
    with pytest.raises(Straddles):
        Arb().function(name, 1)(x)


def test_a_divisor_around_zero_straddles():
    with pytest.raises(Straddles):
        Arb().div(arb(1), arb(0, 1))
    assert Arb(ties_open=True).div(arb(1), arb(0, 1)).is_nan()
    assert Arb(ties_open=True).function("log", 1)(arb(1, 2)).is_nan()


# Constants


@pytest.mark.parametrize(
    ("dtype", "short", "long", "bits"),
    [
        ("float64", [0.5, 3.0, 1e6, 2.0**-40], [0.1, 1 / 3], 53),
        ("float32", [0.5, 3.0, 1e-3 * 1000, 4095.0], [0.1, 1 / 3, 4097.0], 24),
        ("bfloat16", [0.5, 3.0, 15.0], [0.1, 17.0], 8),
        ("float16", [0.5, 3.0, 31.0], [0.1, 33.0], 11),
    ],
)
def test_a_rounded_constant_holds_what_rounds_to_it(dtype, short, long, bits):
    dtype = jnp.dtype(dtype)
    balls = Arb(rounded_constants=True)
    for x in short:
        assert balls.constant(x, dtype).is_exact()
    for x in long:
        rounded = float(np.asarray(x, dtype))
        ball = balls.constant(rounded, dtype)
        assert ball.contains(arb(x))
        assert float(ball.rad()) == pytest.approx(rounded * 2.0**-bits, rel=1e-6)
        assert Arb().constant(rounded, dtype).is_exact()


def test_a_programs_constants_are_of_its_dtype():
    with jax.enable_x64(True):
        jaxpr = jax.make_jaxpr(lambda x: x * 0.1 + np.full(2, 0.3, np.float32))(
            np.ones(2, np.float32)
        )
    balls = Arb(rounded_constants=True)
    (got,) = evaluate(jaxpr, [lift(np.ones(2), balls.lift)], balls)
    assert got[0].contains(arb("0.4"))
    assert float(got[0].rad()) == pytest.approx(0.4 * 2.0**-24, rel=1e-3)


def test_a_complex_constant_is_rounded_in_both_parts():
    ball = Arb(rounded_constants=True).constant(complex(0.1, 0.5), np.dtype(np.complex128))
    assert not ball.real.is_exact()
    assert ball.imag.is_exact()


def test_guards_become_what_they_stand_for():
    def guarded(x):
        return x / (x + 1e-10) + jnp.maximum(x, 1e-6) + 1e-5 + (1 - 1e-7) * x

    balls = Arb(without_guards=True)
    with jax.enable_x64(True):
        jaxpr = jax.make_jaxpr(guarded)(2.0)
        (got,) = evaluate(jaxpr, [lift(np.array(2.0), balls.lift)], balls)
    assert balls.guards == {1e-10, 1e-6}  # a factor next to 1 is none
    assert abs(float(got.item()) - (5.00001 - 2e-7)) < 1e-14
    # an argument is no constant of the program
    assert one(lambda x: x, 1e-10, without_guards=True) == arb(1e-10)
    assert Arb(without_guards=True).constant(1.0, np.dtype(float)) == 1
    assert Arb().constant(1e-10, np.dtype(float)) == arb(1e-10)


# What a program holds constant


def test_a_quotient_holds_what_the_definition_stops():
    def straight_through(x):
        return x + lax.stop_gradient(jnp.floor(x) - x)

    held = []
    assert one(straight_through, 1.25) == 1
    assert one(straight_through, 1.25, holding="record", held=held) == 1
    (x,) = held
    assert x.item() == -0.25
    step = 2.0**-20
    moved = one(straight_through, 1.25 + step, holding="replay", held=held)
    assert moved == 1 + step


def test_several_values_are_held_in_order():
    def program(x):
        return lax.stop_gradient(x) * x + lax.stop_gradient(x[::-1]) * 3

    held = []
    run(program, [1.0, 2.0], holding="record", held=held)
    assert [x.tolist() for x in held] == [[1, 2], [2, 1]]
    (got,) = run(program, [5.0, 7.0], holding="replay", held=held)
    assert got.tolist() == [1 * 5 + 6, 2 * 7 + 3]


def test_another_way_through_the_program_is_noticed():
    def program(x):
        return lax.cond(x > 0, lambda x: lax.stop_gradient(x), lambda x: x, x)

    with pytest.raises(Unsupported, match="another way"):
        run(program, 1.0, holding="replay", held=[])
    with pytest.raises(Unsupported, match="another way"):
        run(program, 1.0, holding="replay", held=[np.ones(3)])
    with pytest.raises(ValueError, match="together"):
        Arb(holding="record")


# Complex numbers

Z = np.array([[1 + 2j, 0.5 - 1j], [-0.25j, 3 + 0j]])
PROGRAMS = {
    "arithmetic": lambda z: z * z - 3j * z + z / (2 + z) - z.conj(),
    "parts": lambda z: jnp.abs(z) + z.real * z.imag + lax.complex(z.real, z.imag),
    "functions": lambda z: jnp.exp(z) + jnp.sin(z) + jnp.tanh(z / 3),
    "powers": lambda z: z**3 + (z + 4) ** 2.5 + (2 + z) ** -2,
    "matmul": lambda z: z @ z.T.conj(),
    "sums": lambda z: z.sum(0) + z.mean() + z.prod() + jnp.cumsum(z, 1)[0],
    "movement": lambda z: jnp.concatenate([z.T, jnp.pad(z, 1)[1:3, 1:3]])[::-1],
    "gather": lambda z: z[jnp.array([1, 0, 1])].at[0].set(2j),
    "where": lambda z: jnp.where((z == 0.5 - 1j) | (z.real > 2), z, 2 * z),
    "conversion": lambda z: jnp.arange(2) * z + z.real.astype(z.dtype),
    "fft": lambda z: jnp.fft.fft(z) + jnp.fft.ifft(z),
    "real fft": lambda z: jnp.fft.irfft(jnp.fft.rfft(z.real)) + 0j,
    "scan": lambda z: lax.scan(lambda c, r: (c * r, c + r), z[0], z)[1],
    "grad": jax.grad(lambda z: jnp.sum(jnp.abs(jnp.exp(z)) ** 2)),
    "norm": jax.grad(lambda z: jnp.sqrt(jnp.sum((z * z.conj()).real))),
}


@pytest.mark.filterwarnings("ignore:.*tracing-time.*")
@pytest.mark.parametrize("name", PROGRAMS)
def test_complex_programs_agree_with_float64(name):
    with jax.enable_x64(True), jax.numpy_dtype_promotion("standard"):
        (got,) = run(PROGRAMS[name], Z)
        want = np.asarray(jax.jit(PROGRAMS[name])(Z))
    found = np.array([number(x) for x in got.ravel()]).reshape(got.shape)
    np.testing.assert_allclose(found, want, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize(
    ("function", "name"),
    [
        (lambda z: lax.sort(z), "sort"),
        (lambda z: lax.convert_element_type_p.bind(
            z, new_dtype=np.dtype(float), weak_type=False, sharding=None), "convert_element_type"),
        (lambda z: lax.max(z, z), "max"),
        (lambda z: lax.linalg.cholesky(z, symmetrize_input=False), "cholesky"),
    ],
)  # fmt: skip
def test_what_has_no_form_for_complex_numbers_is_named(function, name):
    with pytest.raises(Unsupported, match=f"{name} of complex numbers"):
        run(function, Z)


def test_a_cut_is_not_decided():
    # floats go by the sign of a zero, which numbers do not have
    for function in (jnp.log, jnp.sqrt):
        with pytest.raises(Straddles):
            run(function, np.array(-1 + 0j))


# Linear algebra


def test_linear_algebra_is_that_of_its_definition():
    a = np.array([[4.0, 1.0, 0.5], [1.0, 3.0, -1.0], [0.5, -1.0, 5.0]])
    b = np.array([[1.0, 2.0], [0.5, -1.0], [3.0, 0.0]])
    with jax.enable_x64(True):
        programs = {
            "cholesky": lambda: jnp.linalg.cholesky(a) @ b,
            "solve": lambda: jnp.linalg.solve(a, b),
            "inverse, determinant": lambda: jnp.linalg.inv(a) * jnp.linalg.det(a),
            "qr": lambda: jnp.linalg.qr(a)[0] @ b,
            "slogdet": lambda: jnp.linalg.slogdet(a)[1],
        }
        for name, program in programs.items():
            (got,) = run(lambda a, b, p=program: p(), a, b)
            np.testing.assert_allclose(
                np.vectorize(float)(got), program(), rtol=1e-12, err_msg=name
            )


def test_a_matrix_that_is_not_definite_has_no_root():
    indefinite = np.array([[1.0, 2.0], [2.0, 1.0]])
    singular = np.ones((2, 2))
    for x in (indefinite, singular):
        (root,) = run(lambda x: lax.linalg.cholesky(x, symmetrize_input=False), x)
        assert all(np.isnan(float(v)) for v in root[np.tril_indices(2)])


# Order, of balls that are apart, equal, NaN, or across each other

WIDE = arb(0.5, 1.0)
ORDERED = [(1.0, 2.0), (2.0, 1.0), (1.0, 1.0), (np.nan, 1.0), (1.0, np.nan), (-np.inf, np.inf)]


@pytest.mark.parametrize("name", ["lt", "le", "gt", "ge", "eq", "ne"])
def test_comparisons_are_those_of_floats(name):
    with jax.enable_x64(True):
        for x, y in ORDERED:
            want = bool(getattr(lax, name)(np.float64(x), np.float64(y)))
            assert Arb().compare(name, arb(x), arb(y)) is want, (x, y)
    with pytest.raises(Straddles):
        Arb().compare(name, WIDE, arb(1.0))


def test_a_ball_is_equal_to_itself_and_to_its_like():
    assert Arb().compare("eq", WIDE, WIDE)
    assert Arb().compare("le", WIDE, arb(0.5, 1.0))
    assert not Arb().compare("lt", WIDE, arb(0.5, 1.0))


@pytest.mark.parametrize(("name", "numpy"), [("maximum", np.maximum), ("minimum", np.minimum)])
def test_the_larger_and_the_smaller(name, numpy):
    larger = getattr(Arb(), name)
    for x, y in ORDERED:
        np.testing.assert_equal(float(larger(arb(x), arb(y))), numpy(x, y))
    across = larger(WIDE, arb(1.0))
    assert across.contains(1.0)
    assert across.contains(float(numpy(1.5, 1.0)))
    assert across.contains(float(numpy(-0.5, 1.0)))


@pytest.mark.parametrize("first", [True, False])
def test_ties_are_decided_as_they_are_told(first):
    """Which of two equal numbers is taken for the larger, and by all that compare them."""
    x, y = arb(2.0), arb(2.0)
    arithmetic = Arb(ties=[first])
    assert arithmetic.maximum(x, y) is (x if first else y)
    assert arithmetic.minimum(x, y) is (y if first else x)
    assert arithmetic.compare("gt", x, y) is first
    assert arithmetic.compare("eq", x, y) is False
    assert arithmetic.compare("eq", x, x) is True
    z = arb(3.0)
    assert arithmetic.maximum(x, z) is z
    assert arithmetic.minimum(z, y) is y
    assert Arb(ties=[]).compare("lt", arb(1.0), arb(1.0)) is True  # beyond what is told


def test_open_ties_are_neither():
    arithmetic = Arb(ties_open=True)
    assert arithmetic.compare("lt", arb(1.0), arb(1.0)) is None
    assert arithmetic.compare("lt", arb(1.0), arb(2.0)) is True


@pytest.mark.parametrize(("x", "y"), [(2.0, 0.5 + 1j), (0.5 + 1j, 2.0), (1 + 1j, 1 - 1j)])
def test_powers_of_complex_numbers(x, y):
    def ball(v):
        return acb(v.real, v.imag) if isinstance(v, complex) else arb(v)

    assert abs(number(Arb().power(ball(x), ball(y))) - x**y) < 1e-12
