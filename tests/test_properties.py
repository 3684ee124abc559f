"""What must hold for any numbers: extremes, kinks, ties, subnormals, infinities, NaN, any labels.

Each family of rules is one compiled function a shape, so that an example costs no compilation.
XLA rounds subnormal float32 to zero, as inputs and as results: SMALL, the smallest normal number,
is the absolute error of everything here.
"""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import manualbp

pytestmark = pytest.mark.optimized
EPS = float(np.finfo(np.float32).eps)
BIG, SMALL, SUBNORMAL = (
    float(x)
    for x in (
        np.finfo(np.float32).max,
        np.finfo(np.float32).tiny,
        np.finfo(np.float32).smallest_subnormal,
    )
)
SPECIAL = (
    0.0, 1.0, 0.5, 2.0, 6.0, 17.0, 20.0, 40.0, 88.0, 89.0, 104.0, 150.0, 1e-3, 1e-8, 1e10, 1e19,
    1e30, BIG, BIG / 2, SMALL, SMALL / 2, SUBNORMAL, EPS, float(np.float32(0.1)),
)  # fmt: skip

finite = st.one_of(
    st.sampled_from([sign * x for x in SPECIAL for sign in (1.0, -1.0)]),
    st.floats(-20, 20, width=32),
    st.floats(width=32, allow_nan=False, allow_infinity=False),
)
anything = st.one_of(finite, st.sampled_from([math.inf, -math.inf, math.nan]))
examples = settings(max_examples=100)


def arrays(shape, elements):
    return hnp.arrays(np.float32, shape, elements=elements, fill=st.nothing())


# Elementwise activations: value and derivative of all at once

ELEMENTWISE = {
    rule.name: rule
    for rule in (
        manualbp.identity,
        manualbp.binary_step,
        manualbp.heaviside,
        manualbp.sigmoid,
        manualbp.tanh,
        manualbp.relu,
        manualbp.leaky_relu(),
        manualbp.absolute,
        manualbp.softplus,
        manualbp.elu(),
        manualbp.elu(2.0),
        manualbp.swish(),
        manualbp.swish(-0.5),
        manualbp.silu,
    )
}
LEARNED = {
    "prelu": manualbp.prelu,
    "generalized_relu": manualbp.generalized_relu,
    "learnable_swish": manualbp.learnable_swish,
}
WIDTH = 16
vectors = arrays((WIDTH,), finite)

# Value and derivative at -inf and at inf
LIMITS = {
    "identity": ((-math.inf, 1), (math.inf, 1)),
    "binary_step": ((-1, 0), (1, 0)),
    "heaviside": ((0, 0), (1, 0)),
    "sigmoid": ((0, 0), (1, 0)),
    "tanh": ((-1, 0), (1, 0)),
    "relu": ((0, 0), (math.inf, 1)),
    "leaky_relu(slope=0.01)": ((-math.inf, np.float32(0.01)), (math.inf, 1)),
    "absolute": ((math.inf, -1), (math.inf, 1)),
    "softplus": ((0, 0), (math.inf, 1)),
    "elu(alpha=1.0)": ((-1, 0), (math.inf, 1)),
    "elu(alpha=2.0)": ((-2, 0), (math.inf, 1)),
    "swish(beta=1.0)": ((0, 0), (math.inf, 1)),
    "swish(beta=-0.5)": ((-math.inf, 1), (0, 0)),
    "silu": ((0, 0), (math.inf, 1)),
}
# Bounds of the derivative: swish's reaches 1.0998 (at z = 2.4)
SLOPES = {
    "sigmoid": (0, 0.25),
    "tanh": (0, 1),
    "relu": (0, 1),
    "leaky_relu(slope=0.01)": (0, 1),
    "absolute": (-1, 1),
    "softplus": (0, 1),
    "elu(alpha=1.0)": (0, 1),
    "elu(alpha=2.0)": (0, 2),
    "swish(beta=1.0)": (-0.0999, 1.0999),
    "swish(beta=-0.5)": (-0.0999, 1.0999),
    "silu": (-0.0999, 1.0999),
}
NOT_MONOTONE = ("absolute", "swish(beta=1.0)", "swish(beta=-0.5)", "silu")


@jax.jit
def _elementwise(z):
    def both(rule):
        y, pull = jax.vjp(rule, z)
        return y, pull(jnp.ones_like(y))[0]

    return {name: both(rule) for name, rule in ELEMENTWISE.items()}


def elementwise(z):
    return jax.tree.map(np.asarray, _elementwise(z))


@jax.jit
def learned(parameter, z):
    def all_of(rule):
        y, pull = jax.vjp(rule, parameter, z)
        return y, *pull(jnp.ones_like(y))

    return {name: all_of(rule) for name, rule in LEARNED.items()}


@examples
@given(vectors)
def test_finite_numbers_give_finite_values_and_slopes_within_bounds(z):
    for name, (y, slope) in elementwise(z).items():
        assert np.all(np.isfinite(y)), name
        assert np.all(np.isfinite(slope)), name
        if name in SLOPES:
            low, high = SLOPES[name]
            assert np.all((slope >= low) & (slope <= high)), (name, slope)


@examples
@given(vectors)
def test_monotone_activations_are_monotone(z):
    z = np.sort(z)
    for name, (y, _) in elementwise(z).items():
        y = y.astype(np.float64)  # next to the largest float32 the allowance would overflow
        # two neighbouring floats may round to two neighbouring values in the wrong order
        falls = y[1:] < y[:-1] - 2 * EPS * np.abs(y[1:]) - SMALL
        assert name in NOT_MONOTONE or not np.any(falls), name


@examples
@given(arrays((WIDTH,), anything))
def test_nan_in_gives_nan_out(z):
    for name, (y, slope) in elementwise(z).items():
        np.testing.assert_array_equal(np.isnan(y), np.isnan(z), err_msg=name)
        assert not np.any(np.isnan(slope) & ~np.isnan(z)), name


def test_limits_at_infinity():
    assert set(LIMITS) == set(ELEMENTWISE)
    found = elementwise(np.array([-math.inf, math.inf] * (WIDTH // 2), np.float32))
    for name, (y, slope) in found.items():
        assert list(zip(y[:2], slope[:2], strict=True)) == list(LIMITS[name]), name


@examples
@given(vectors, vectors)
def test_learned_activations_are_finite_where_the_truth_is(parameter, z):
    """|y| and every slope is at most |z| + |a z| and |1 + a|, or for swish |z|."""
    found = jax.tree.map(np.asarray, learned(parameter, z))
    wide, a = z.astype(np.float64), parameter.astype(np.float64)
    fits = np.abs(a * wide) < BIG
    for name, (y, da, dz) in found.items():
        assert not np.any(np.isnan(y)), name
        assert np.all(np.isfinite(y) | ~fits), name
        assert np.all(np.isfinite(dz)), name
        if name != "learnable_swish":
            assert np.all(np.isfinite(da)), name
    # z^2 sigma(bz) sigma(-bz), from its logarithm
    u = np.abs(a * wide)
    with np.errstate(divide="ignore"):
        truth = np.exp(2 * np.log(np.abs(wide)) - u - 2 * np.log1p(np.exp(-u)))
    da = found["learnable_swish"][1].astype(np.float64)
    sure = truth < BIG / 2
    # u carries half an ulp of error, which the exponential multiplies by up to 200
    np.testing.assert_allclose(da[sure], truth[sure], rtol=1e-4, atol=SMALL)


def test_learned_activations_keep_nan():
    nan = np.full(WIDTH, np.nan, np.float32)
    for z, parameter in ((nan, np.ones_like(nan)), (-np.ones_like(nan), nan)):
        for name, (y, *_) in learned(parameter, z).items():
            assert np.all(np.isnan(y)), name


# Rows of scores


@functools.cache
def row_functions(shape):
    """softmax, log_softmax, logsumexp of scores: values, and pulled-back cotangents."""
    del shape  # one compiled function each

    @jax.jit
    def run(z, dy):
        found = {}
        for name in ("softmax", "log_softmax", "logsumexp"):
            y, pull = jax.vjp(getattr(manualbp, name), z)
            found[name] = y, pull(dy[..., 0] if name == "logsumexp" else dy)[0]
        return found

    return lambda *args: jax.tree.map(np.asarray, run(*args))


SHAPES = ((1,), (3,), (2, 5))
rows = st.sampled_from(SHAPES).flatmap(lambda shape: arrays(shape, finite))
some_rows = st.sampled_from(SHAPES).flatmap(lambda shape: arrays(shape, anything))
tied_rows = st.sampled_from(SHAPES).flatmap(
    lambda shape: arrays(shape, st.sampled_from([0.0, -0.0, 1.0, 88.0, -1e30, BIG, -BIG]))
)


@examples
@given(st.one_of(rows, tied_rows))
def test_softmax_is_a_distribution_and_its_logarithm(z):
    n = z.shape[-1]
    found = row_functions(z.shape)(z, np.ones_like(z))
    p, dz = found["softmax"]
    assert np.all((p >= 0) & (p <= 1))
    np.testing.assert_allclose(p.sum(-1), 1, rtol=4 * n * EPS)
    assert not np.any(dz), "a cotangent of ones must give exactly zero"
    log_p, dlog = found["log_softmax"]
    assert np.all(log_p <= 0)
    np.testing.assert_allclose(np.exp(log_p.astype(np.float64)), p, rtol=1e-5, atol=SMALL)
    # sum_i (1 - n p_i) = 0
    np.testing.assert_allclose(dlog.sum(-1), 0, atol=8 * n * n * EPS)
    top, total = z.max(-1).astype(np.float64), found["logsumexp"][0]
    # subnormal numbers may be flushed to zero
    assert np.all(total >= top - SMALL)
    most = top + math.log(n) + 2 * EPS * (np.abs(top) + math.log(n))
    assert np.all(total <= most + SMALL)
    np.testing.assert_allclose(found["logsumexp"][1], p, rtol=8 * EPS)


@examples
@given(rows, st.integers(-1000, 1000))
def test_softmax_does_not_see_a_shift(z, shift):
    # eighths below 2^13: every sum is exact, and so is the equality
    z = np.round(np.clip(z, -1000, 1000) * 8) / np.float32(8)
    dy = np.linspace(-1, 2, z.size, dtype=np.float32).reshape(z.shape)
    run = row_functions(z.shape)
    here, there = run(z, dy), run(z + np.float32(shift), dy)
    for name in ("softmax", "log_softmax"):
        np.testing.assert_array_equal(here[name], there[name], err_msg=name)
    np.testing.assert_array_equal(here["logsumexp"][1], there["logsumexp"][1])
    np.testing.assert_allclose(
        there["logsumexp"][0], here["logsumexp"][0] + np.float64(shift), rtol=4 * EPS, atol=1e-3
    )


@examples
@given(some_rows)
def test_rows_of_scores_are_nan_only_where_they_must_be(z):
    """NaN anywhere in a row is NaN in all of it; one infinity has a limit."""
    found = row_functions(z.shape)(z, np.ones_like(z))
    has_nan = np.isnan(z).any(-1)
    assert np.all(np.isnan(found["softmax"][0]).all(-1) >= has_nan)
    assert np.all(np.isnan(found["log_softmax"][0]).all(-1) >= has_nan)
    np.testing.assert_array_equal(np.isnan(found["logsumexp"][0]), has_nan)
    p = found["softmax"][0]
    one_top = ~has_nan & (np.isposinf(z).sum(-1) == 1)
    np.testing.assert_array_equal(p[one_top], np.isposinf(z)[one_top].astype(np.float32))
    some_finite = ~has_nan & ~np.isposinf(z).any(-1) & np.isfinite(z).any(-1)
    assert not np.any(np.isnan(p[some_finite]))
    assert not np.any(p[some_finite][np.isneginf(z[some_finite])])


# Losses


@functools.cache
def loss_functions(shape):
    """Every loss of (scores, targets) of one shape: value, and gradients in both."""
    del shape

    @jax.jit
    def run(scores, targets, integers):
        found = {}
        for loss in VECTOR_LOSSES:
            y, pull = jax.vjp(loss, scores, targets)
            found[loss.name] = y, *pull(jnp.ones_like(y))
        for loss in INTEGER_LOSSES:
            y, pull = jax.vjp(lambda z, loss=loss: loss(z, integers), scores)
            found[loss.name] = y, *pull(jnp.ones_like(y))
        return found

    return lambda *args: jax.tree.map(np.asarray, run(*args))


VECTOR_LOSSES = (
    manualbp.squared_error,
    manualbp.half_squared_error,
    manualbp.mean_squared_error,
    manualbp.sigmoid_binary_cross_entropy,
    manualbp.logistic_loss,
    manualbp.multilabel_binary_cross_entropy,
    manualbp.softmax_cross_entropy,
)
INTEGER_LOSSES = (manualbp.softmax_cross_entropy_with_integer_labels,)
SQUARES = ("squared_error", "half_squared_error", "mean_squared_error")


@st.composite
def classified(draw, elements=finite):
    """Scores, with labels of every kind: hard, one-hot, soft, of any sum; and integer ones."""
    shape = draw(st.sampled_from(SHAPES))
    scores = draw(arrays(shape, elements))
    integers = draw(hnp.arrays(np.int32, shape[:-1], elements=st.integers(0, shape[-1] - 1)))
    kind = draw(st.sampled_from(["onehot", "hard", "soft", "any sum"]))
    if kind == "onehot":
        labels = np.eye(shape[-1], dtype=np.float32)[integers]
    elif kind == "hard":
        labels = draw(arrays(shape, st.sampled_from([0.0, 1.0])))
    else:
        labels = draw(arrays(shape, st.one_of(st.floats(0, 1, width=32), st.just(0.0))))
        if kind == "soft":
            total = labels.sum(-1, keepdims=True)
            labels = np.where(total > SMALL, labels / np.maximum(total, SMALL), 1 / shape[-1])
            labels = labels.astype(np.float32)
    return scores, labels, integers, kind


@examples
@given(classified())
def test_losses_of_finite_scores(case):
    scores, labels, integers, kind = case
    n = scores.shape[-1]
    found = loss_functions(scores.shape)(scores, labels, integers)
    top = np.abs(scores).astype(np.float64).max(initial=0)
    for name, (loss, dscores, *dlabels) in found.items():
        assert not np.any(np.isnan(loss)), name
        assert np.all(loss >= 0), name
        # |y| of a square, or of a label times the difference of two scores, each twice
        if (4 * top**2 if name in SQUARES else 4 * n * top) < BIG / n:
            assert np.all(np.isfinite(loss)), name
            assert np.all(np.isfinite(dscores)), name
            assert all(np.all(np.isfinite(x)) for x in dlabels), name
        elif name not in SQUARES:
            assert np.all(np.isfinite(dscores)), name
    # (sum y) sum p - sum y = 0
    for name in ("softmax_cross_entropy", "softmax_cross_entropy_with_integer_labels"):
        np.testing.assert_allclose(found[name][1].sum(-1), 0, atol=8 * n * n * EPS, err_msg=name)
    for name, low in (("sigmoid_binary_cross_entropy", -1), ("logistic_loss", -1)):
        assert np.all((found[name][1] >= low) & (found[name][1] <= 1)), name
    if kind == "onehot":
        soft, whole = (
            found[name]
            for name in ("softmax_cross_entropy", "softmax_cross_entropy_with_integer_labels")
        )
        np.testing.assert_allclose(soft[0], whole[0], rtol=16 * EPS, atol=SMALL)
        np.testing.assert_allclose(soft[1], whole[1], rtol=16 * EPS, atol=SMALL)
        np.testing.assert_allclose(
            found["multilabel_binary_cross_entropy"][0],
            found["sigmoid_binary_cross_entropy"][0].sum(-1, dtype=np.float64),
            rtol=16 * EPS,
        )


@examples
@given(classified(), st.integers(-1000, 1000))
def test_softmax_cross_entropy_does_not_see_a_shift(case, shift):
    scores, labels, integers, _ = case
    scores = np.round(np.clip(scores, -1000, 1000) * 8) / np.float32(8)
    run = loss_functions(scores.shape)
    here, there = run(scores, labels, integers), run(scores + np.float32(shift), labels, integers)
    for name in ("softmax_cross_entropy", "softmax_cross_entropy_with_integer_labels"):
        for a, b in zip(here[name], there[name], strict=True):
            np.testing.assert_array_equal(a, b, err_msg=name)


@examples
@given(classified(anything), st.integers(0, 4))
def test_a_nan_score_gives_a_nan_loss(case, place):
    scores, labels, integers, _ = case
    scores[..., place % scores.shape[-1]] = np.nan
    labels[..., 0] = np.where(labels.sum(-1) == 0, 1, labels[..., 0])
    for name, (loss, *_) in loss_functions(scores.shape)(scores, labels, integers).items():
        lost = np.isnan(loss)
        if loss.shape == scores.shape:
            lost = lost[..., place % scores.shape[-1]]
        assert np.all(lost), name


@jax.jit
def of_probabilities(p, y):
    found = {}
    for loss in (manualbp.binary_cross_entropy, manualbp.cross_entropy):
        value, pull = jax.vjp(loss, p, y)
        found[loss.name] = value, *pull(jnp.ones_like(value))
    return found


@examples
@given(
    arrays((WIDTH,), st.floats(2.0**-20, 1 - 2.0**-20, width=32)),
    arrays((WIDTH,), st.one_of(st.floats(0, 1, width=32), st.sampled_from([0.0, 1.0]))),
)
def test_losses_of_probabilities(p, y):
    found = jax.tree.map(np.asarray, of_probabilities(p, y))
    for name, results in found.items():
        assert all(np.all(np.isfinite(x)) for x in results), name
        assert np.all(results[0] >= 0), name
    slope = found["binary_cross_entropy"][1]
    # p = y is the minimum
    assert np.all(np.sign(slope) == np.sign(p - y))


def test_certain_probabilities():
    """0 log 0 = 0: what is sure and right costs nothing, what is sure and wrong costs infinity."""
    p = np.array([0, 0, 1, 1] * (WIDTH // 4), np.float32)
    y = np.array([0, 1, 0, 1] * (WIDTH // 4), np.float32)
    loss, slope, _ = of_probabilities(p, y)["binary_cross_entropy"]
    np.testing.assert_array_equal(loss[:4], [0, np.inf, np.inf, 0])
    np.testing.assert_array_equal(slope[:4], [1, -np.inf, np.inf, -1])
    for first, expected in ((y, 0.0), (1 - y, np.inf)):
        assert of_probabilities(first, y)["cross_entropy"][0] == expected


# sum_to


@st.composite
def broadcast(draw):
    shape = draw(hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=3))
    small = tuple(draw(st.sampled_from([1, n])) for n in shape)
    return shape, small[draw(st.integers(0, len(small))) :]


@settings(max_examples=60)
@given(broadcast())
def test_sum_to_undoes_broadcasting(shapes):
    shape, small = shapes
    x = np.arange(math.prod(shape), dtype=np.float32).reshape(shape)
    expected = np.zeros(small, np.float32)
    for index in np.ndindex(shape):
        target = tuple(
            0 if n == 1 else i for n, i in zip(small, index[len(shape) - len(small) :], strict=True)
        )
        expected[target] += x[index]
    got = manualbp.sum_to(jnp.asarray(x), small)
    assert got.dtype == x.dtype
    np.testing.assert_array_equal(got, expected)


@pytest.mark.parametrize("name", ["relu", "leaky_relu(slope=0.01)", "absolute"])
def test_piecewise_linear_activations_are_homogeneous(name):
    z = np.linspace(-3, 3, WIDTH, dtype=np.float32)
    y = elementwise(z)[name][0]
    for power in (-100, 100):
        scaled = elementwise(z * np.float32(2.0**power))[name][0]
        np.testing.assert_array_equal(scaled, y * np.float32(2.0**power))
