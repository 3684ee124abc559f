"""The jaxpr interpreter over balls: against float64 evaluation by JAX, and where floats fail."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flint import arb
from jax import lax
from jax.ad_checkpoint import checkpoint_name

from manualbp.verify.numbers.balls import Arb, precision
from manualbp.verify.numbers.walk import Straddles, Unsupported, evaluate, lift

X = np.array([[0.5, -1.25, 3.0], [2.0, 0.25, -0.75]])
POSITIVE = np.abs(X) + 0.5
UNIT = np.clip(X / 4, -0.9, 0.9)

PROGRAMS = {
    "arithmetic": (lambda x: x * x - 3 * x + x / (1 + x * x), X),
    "exponentials": (lambda x: jnp.exp(x) + jnp.expm1(x) + jnp.exp2(x), X),
    "logarithms": (lambda x: jnp.log(x) + jnp.log1p(x) + jnp.sqrt(x) + lax.rsqrt(x), POSITIVE),
    "hyperbolic": (lambda x: jnp.tanh(x) + jnp.sinh(x) + jnp.cosh(x) + jax.nn.sigmoid(x), X),
    "trigonometric": (lambda x: jnp.sin(x) + jnp.cos(x) + jnp.arctan(x) + jnp.tan(x), X),
    "inverses": (lambda x: jnp.arcsin(x) + jnp.arctanh(x) + jnp.arccos(x), UNIT),
    "erf": (lambda x: lax.erf(x) + lax.erfc(x), X),
    "gamma": (lambda x: lax.lgamma(x) + lax.digamma(x), POSITIVE),
    "bessel": (lambda x: lax.bessel_i0e(x) + lax.bessel_i1e(x), X),
    "incomplete gamma": (lambda x: lax.igamma(x, 2 * x) + lax.igammac(2 * x, x), POSITIVE),
    "incomplete beta": (lambda x: lax.betainc(x, 2 * x, 0.3 + 0 * x), POSITIVE),
    "polygamma": (lambda x: lax.polygamma(1 + 0 * x, x) + lax.polygamma(0 * x, x), POSITIVE),
    "remainder": (lambda x: lax.rem(x, 0 * x + 0.3) + lax.rem(-x, 0 * x + 0.7), X),
    "zeta": (lambda x: lax.zeta(x + 1, x), POSITIVE),
    "powers": (lambda x: x**3 + x**-2 + x**2.5, POSITIVE),
    "where": (lambda x: jnp.where(x > 0, jnp.sqrt(jnp.abs(x)), -x), X),
    "clip, max, min, abs, sign": (
        lambda x: jnp.clip(x, -1, 1) + jnp.maximum(x, 0.3) + jnp.minimum(x, 1) + jnp.abs(x)
        + jnp.sign(x), X),
    "floor, ceil": (lambda x: jnp.floor(x) + 2 * jnp.ceil(x), X),
    "sums": (lambda x: x.sum(0) + x.mean() + x.prod() + x.max(0) + x.min(), X),
    "cumulative": (lambda x: jnp.cumsum(x, 1) + jnp.cumprod(x, 0) + lax.cummax(x), X),
    "matmul": (lambda x: x @ x.T, X),
    "einsum": (lambda x: jnp.einsum("ij,kj->ik", x, jnp.tanh(x)), X),
    "movement": (
        lambda x: jnp.concatenate([x.T.reshape(2, 3)[:, ::-1], jnp.pad(x, ((0, 1), (0, 0)))]), X),
    "gather": (lambda x: x[jnp.array([1, 0, 1])] + jnp.take_along_axis(
        x, jnp.array([[2], [0]]), 1)[0], X),
    "scatter": (lambda x: x.at[jnp.array([0, 0]), jnp.array([1, 1])].add(x[:, 0]), X),
    "sort": (lambda x: jnp.sort(x, axis=1) + x[0, jnp.argsort(x[0])], X),
    "argmax": (lambda x: jax.nn.one_hot(jnp.argmax(x, 1), 3) * x, X),
    "scan": (lambda x: lax.scan(lambda c, r: (c * r, c + r), x[0], x)[1], X),
    "cond": (lambda x: lax.cond(x[0, 0] > 0, jnp.exp, jnp.tanh, x), X),
    "while": (lambda x: lax.while_loop(lambda c: c[0] < 3, lambda c: (c[0] + 1, c[1] * 1.5),
                                       (0, x))[1], X),
    "jit, checkpoint": (lambda x: jax.checkpoint(jax.jit(jnp.tanh))(x), X),
    "custom_jvp": (jax.nn.relu, X),
    "integers": (lambda x: x * (jnp.arange(3) % 2 == 0).astype(x.dtype), X),
    "logsumexp": (lambda x: jax.nn.logsumexp(x, axis=1), X),
    "grad": (jax.grad(lambda x: jnp.sum(jax.nn.softmax(x) * jnp.tanh(x))), X),
    "gather beyond": (lambda x: x.at[5].get(mode="fill", fill_value=7.0) + x[0], X),
    "reshape with dimensions": (lambda x: lax.reshape(x, (6,), (1, 0)), X),
    "round": (lambda x: lax.round(x * 2) + 3 * lax.round(
        x * 2, lax.RoundingMethod.TO_NEAREST_EVEN), X),
    "cumlogsumexp": (lambda x: lax.cumlogsumexp(x, 1) + lax.cumlogsumexp(x, 0, reverse=True), X),
    "top_k": (lambda x: jnp.concatenate([y.astype(x.dtype) for y in lax.top_k(x, 2)]), X),
    "sort of several": (lambda x: lax.sort((jnp.round(x), -x), num_keys=2)[1], X),
    "scatter min, max, mul": (lambda x: x.at[0, 1].min(-9.0).at[1].max(0.5).at[:, 0].mul(
        jnp.array([2.0, 3.0])), X),
    "pool": (lambda x: lax.reduce_window(x, -jnp.inf, lax.max, (1, 2), (1, 1), "SAME")
             + lax.reduce_window(x, 0.0, lax.add, (2, 2), (1, 1), ((0, 1), (1, 0))), X),
    "grad of a pool": (jax.grad(lambda x: jnp.sum(jnp.tanh(
        lax.reduce_window(x, -jnp.inf, lax.max, (2, 2), (1, 1), "VALID")))), X),
    "convolution": (lambda x: lax.conv_general_dilated(
        jnp.stack([x, x * x])[None], jnp.arange(8.0).reshape(1, 2, 2, 2), (1, 2),
        ((1, 0), (0, 1)), rhs_dilation=(1, 2)), X),
    "grouped convolution": (lambda x: lax.conv_general_dilated(
        jnp.stack([x, x * x])[None], jnp.arange(16.0).reshape(4, 1, 2, 2), (1, 1), "SAME",
        feature_group_count=2), X),
    "reduce": (lambda x: lax.reduce(x, 1.0, lambda a, b: a * b + 0 * a, (1,)), X),
    "triangular solve": (lambda x: lax.linalg.triangular_solve(
        x @ x.T + 3 * jnp.eye(2), x, left_side=True, lower=True), X),
    "linear solve": (lambda x: lax.custom_linear_solve(
        lambda v: x @ (x.T @ v) + v, x[:, 0],
        lambda f, b: jnp.linalg.solve(x @ x.T + jnp.eye(2), b), symmetric=True), X),
    "solve": (lambda x: jnp.linalg.solve(x.T @ x + jnp.eye(3), x.T), X),
    "cholesky": (lambda x: jnp.linalg.cholesky(x @ x.T + jnp.eye(2)), X),
    "qr": (lambda x: jnp.linalg.qr(x)[0] @ jnp.linalg.qr(x.T)[1], X),
    "reversed scan": (lambda x: lax.scan(lambda c, r: (c * r, (c + r, 3)), x[0], x, reverse=True)
                      [1][0], X),
    "checkpointed": (jax.grad(jax.checkpoint(lambda x: jnp.sum(jnp.sin(x) ** 2))), X),
    "name, barrier": (lambda x: checkpoint_name(lax.optimization_barrier(x), "x") * 2, X),
    "reductions of booleans": (lambda x: jnp.where(
        (x > 0).any(0) & ~(x > 2).all(0) | (x != x).any(), x, -x), X),
}  # fmt: skip


def balls(function, *arguments, ties_open=False, bits=256):
    with jax.enable_x64(True):
        jaxpr = jax.make_jaxpr(function)(*arguments)
        with precision(bits):
            ar = Arb(ties_open=ties_open)
            return evaluate(jaxpr, [lift(np.asarray(a), ar.lift) for a in arguments], ar)


def floats(array):
    return np.vectorize(float, otypes=[float])(array)


@pytest.mark.filterwarnings("ignore:.*tracing-time.*")
@pytest.mark.parametrize("name", PROGRAMS)
def test_agrees_with_float64(name):
    function, x = PROGRAMS[name]
    got = [floats(y) for y in balls(function, x)]
    with jax.enable_x64(True):
        want = jax.tree.leaves(function(jnp.asarray(x)))
    assert len(got) == len(want)
    for a, b in zip(got, want, strict=True):
        assert a.shape == b.shape
        np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-14)


def test_what_overflows_in_floats_is_exact():
    def loss(z):
        return -jnp.log(jnp.exp(z) / jnp.sum(jnp.exp(z)))[0]

    (got,) = balls(jax.grad(loss), np.array([900.0, 0.0, -5.0]))
    assert abs(float(got[1]) - np.exp(-900.0)) == 0.0  # underflows as a float, not as a ball
    assert got[1] > 0
    assert got[1] < arb(10) ** -390


def test_a_cancellation_that_loses_everything_in_floats():
    (got,) = balls(lambda x: (1 + x) - 1, np.array(1e-30))
    assert float(got.item()) == 1e-30


def test_a_comparison_that_cannot_be_decided_is_never_guessed():
    with pytest.raises(Straddles):
        balls(lambda x: jnp.where(jnp.exp(x) * jnp.exp(-x) < 1, 0.0, x), np.array(0.7))


def test_equal_entries_tie():
    (got,) = balls(lambda x: jnp.argmax(jax.nn.softmax(x)), np.array([1.0, 2.0, 2.0]))
    assert int(got) == 1


def test_ties_open_give_every_choice():
    (got,) = balls(jax.grad(lambda x: jnp.maximum(x, 0)), np.array(0.0), ties_open=True)
    ball = got.item()
    assert ball.contains(0)
    assert ball.contains(1)
    assert not ball.contains(2)


@pytest.mark.parametrize(
    "which",
    [
        lambda x: (x > 0).any(),
        lambda x: (x >= 0).all(),
        lambda x: (x > 0)[::-1][:1].reshape(()),
        lambda x: lax.dynamic_slice(x > 0, (1,), (1,))[0],
        lambda x: ~(x > 0)[1] | (x[0] > 5),
    ],
)
def test_an_open_comparison_stays_open(which):
    (got,) = balls(lambda x: jnp.where(which(x), 3.0, 1.0), np.zeros(2), ties_open=True)
    assert got.item().contains(1)
    assert got.item().contains(3)
    with pytest.raises(Straddles):  # no integer
        balls(lambda x: which(x).astype(int) + 1, np.zeros(2), ties_open=True)


def test_an_unknown_primitive_is_named():
    with pytest.raises(Unsupported, match="eigh"):
        balls(jnp.linalg.eigh, np.eye(2))


def test_nan_is_last_in_order_and_first_among_the_largest():
    x = np.array([2.0, np.nan, -1.0, np.inf])
    (got,) = balls(jnp.sort, x)
    np.testing.assert_array_equal(floats(got), [-1, 2, np.inf, np.nan])
    assert int(balls(jnp.argmax, x)[0]) == 1
    assert int(balls(jnp.argmin, x)[0]) == 1


def test_a_singular_system_is_not_decided():
    def solved(x):
        return lax.custom_linear_solve(lambda v: x * v.sum(), x, lambda f, b: b, symmetric=True)

    with pytest.raises(Straddles, match="singular"):
        balls(solved, np.ones(2))


def test_precision_is_restored():
    import flint

    before = flint.ctx.prec
    with pytest.raises(RuntimeError), precision(999):
        raise RuntimeError
    assert flint.ctx.prec == before
