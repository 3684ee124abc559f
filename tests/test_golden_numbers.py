"""Every worked example of the five lecture notes, number by number, in float64."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from reference.lecture_notes._definitions import (
    bernoulli,
    binary_cross_entropy,
    cross_entropy,
    derivative,
    relu,
    sigmoid,
    softmax,
    squared_error,
    tanh,
)


@pytest.fixture(autouse=True)
def _float64():
    with jax.enable_x64(True):
        yield


def assert_equals(actual, expected, digits=12):
    """Equal to so many significant digits; a printed 0 to so many decimals."""
    np.testing.assert_allclose(actual, expected, rtol=10.0**-digits, atol=10.0**-digits)


def assert_prints(actual, expected):
    """Equal to six decimals."""
    np.testing.assert_allclose(actual, expected, rtol=0, atol=5.01e-7)


def logistic_loss(w, b, x, y):
    return binary_cross_entropy(y, sigmoid(w @ x + b))


# The sentiment example, note 004, l.51-97


W = np.array([2.5, -5.0, -1.2, 0.5, 2.0, 0.7])
X = np.array([3.0, 2.0, 1.0, 3.0, 0.0, 4.19])
B = 0.1


def test_sentiment_score():
    assert_equals(W @ X + B, 0.833)
    assert_equals(sigmoid(W @ X + B), 0.6969888901292717)
    assert_equals(1 - sigmoid(W @ X + B), 0.3030111098707283)


def test_sentiment_word_count():
    assert_equals(jnp.log(66.0), 4.189654742026425)
    assert_equals(W[:5] @ X[:5] + W[5] * jnp.log(66.0) + B, 0.8327583194184972)


@pytest.mark.parametrize(
    ("y", "loss", "printed"),
    [(1.0, 0.3609858079049308, 0.36), (0.0, 1.1939858079049308, 1.2)],
)
def test_sentiment_loss(y, loss, printed):
    assert_equals(logistic_loss(W, B, X, y), loss)
    assert_equals(loss, printed, digits=2)


def test_sentiment_loss_of_the_rounded_probability():
    assert_equals(-jnp.log(0.70), 0.3566749, digits=7)
    assert_equals(-jnp.log(0.30), 1.2039728, digits=7)


@pytest.mark.parametrize(
    ("y", "db", "dw"),
    [
        (1.0, -0.3030111098707283, (-0.909033, -0.606022, -0.303011, -0.909033, 0, -1.269617)),
        (0.0, 0.6969888901292717, (2.090967, 1.393978, 0.696989, 2.090967, 0, 2.920383)),
    ],
)
def test_sentiment_gradient(y, db, dw):
    actual_dw, actual_db = jax.grad(logistic_loss, argnums=(0, 1))(W, B, X, y)
    assert_equals(actual_db, db)
    assert_prints(actual_dw, dw)


@pytest.mark.parametrize(("score", "loss"), [(1 - 0.733 + 0.1, 0.526390), (1 - 0.833, 0.613129)])
def test_sentiment_misprint(score, loss):
    assert_prints(-jnp.log(sigmoid(score)), loss)


# Cross-entropy of classes, note 004, l.109-131


def test_cat_dog_egg():
    losses = -np.array([1.0, 0.0, 0.0]) * jnp.log(np.array([0.5, 0.3, 0.2]))
    assert_equals(losses, [0.6931471805599453, 0, 0])
    assert_equals(jnp.sum(losses), 0.6931471805599453)


def test_class_table():
    y = np.eye(3)[[0, 1, 2, 1, 0]]
    p = np.array(
        [[0.5, 0.3, 0.2], [0.1, 0.2, 0.7], [0.4, 0.2, 0.4], [0.3, 0.5, 0.2], [0.4, 0.1, 0.5]]
    )
    losses = jax.vmap(cross_entropy)(y, p)
    assert_prints(losses, [0.693147, 1.609438, 0.916291, 0.693147, 0.916291])
    assert_equals(jnp.sum(losses), 4.828313737302301)
    assert_equals(jnp.mean(losses), 0.9656627474604601)


# Binary and several labels, note 004, l.149-230


def test_binary_table():
    y = np.array([1.0, 0.0, 0.0, 0.0, 1.0])
    p = np.array([0.7, 0.1, 0.8, 0.5, 0.4])
    losses = binary_cross_entropy(y, p)
    assert_prints(losses, [0.356675, 0.105361, 1.609438, 0.693147, 0.916291])
    assert_equals(jnp.sum(losses), 3.68091128446476)
    assert_equals(jnp.mean(losses), 0.7361822568929519)
    slopes = derivative(lambda p: binary_cross_entropy(y, p))(p)
    assert_equals(slopes, [-1 / 0.7, 1 / 0.9, 1 / 0.2, 1 / 0.5, -1 / 0.4])


LABELS = np.array([[1, 1, 0], [0, 1, 1], [1, 0, 1], [0, 1, 0], [1, 0, 0]], dtype=np.float64)
PROBABILITIES = np.array(
    [[0.5, 0.4, 0.2], [0.1, 0.4, 0.7], [0.8, 0.2, 0.4], [0.3, 0.5, 0.6], [0.5, 0.9, 0.5]]
)


def test_multi_label_table():
    losses = jnp.sum(binary_cross_entropy(LABELS, PROBABILITIES), axis=1)
    assert_prints(losses, [1.832581, 1.378326, 1.362578, 1.966113, 3.688879])
    assert_equals(jnp.sum(losses), 10.228477800208369)
    assert_equals(losses[0], -jnp.log(0.5) - jnp.log(0.4) - jnp.log(0.8))


def test_complement_table():
    y = np.stack([LABELS, 1 - LABELS], axis=2)
    p = np.stack([PROBABILITIES, 1 - PROBABILITIES], axis=2)
    assert_equals(cross_entropy(y, p), 10.228477800208369)
    assert_equals(-jnp.log(jnp.prod(bernoulli(LABELS, PROBABILITIES))), 10.228477800208369)


def test_multi_label_class_loss_misprint():
    assert_prints(-jnp.sum(LABELS[0] * jnp.log(PROBABILITIES[0])), 1.609438)


# One step of gradient descent, note 004, l.601-703


def test_mini_sentiment_steps():
    def loss(theta):
        return logistic_loss(theta[:2], theta[2], np.array([3.0, 2.0]), 1.0)

    theta = jnp.zeros(3)
    assert_equals(loss(theta), 0.6931471805599453)
    assert_equals(jax.grad(loss)(theta), [-1.5, -1.0, -0.5])

    theta = theta - 0.1 * jax.grad(loss)(theta)
    assert_equals(theta, [0.15, 0.1, 0.05])
    assert_equals(theta[:2] @ np.array([3.0, 2.0]) + theta[2], 0.7)
    assert_equals(loss(theta), 0.40318604888545784)
    gradient = [-0.9954366834955015, -0.6636244556636677, -0.33181222783183384]
    assert_equals(jax.grad(loss)(theta), gradient)

    theta = theta - 0.1 * jax.grad(loss)(theta)
    assert_equals(theta, [0.24954366834955016, 0.16636244556636676, 0.08318122278318338])


# Regression, graphs, counts, shapes


def test_linear_regression():
    def loss(phi):
        return (phi[0] + phi[1] * 1.7 - 0.4) ** 2

    phi = jnp.array([0.3, -0.7])
    assert_equals(phi[0] + phi[1] * 1.7 - 0.4, -1.29)
    assert_equals(jax.grad(loss)(phi), [-2.58, -4.386])


def test_computation_graph():
    a, b, c = 3.0, 1.0, -2.0
    d = 2 * b
    e = a + d
    assert (d, e, c * e) == (2.0, 5.0, -10.0)
    partials = jax.grad(lambda a, b, c: c * (a + 2 * b), argnums=(0, 1, 2))(a, b, c)
    assert partials == (-2.0, -4.0, 5.0)


def test_epoch():
    assert -(-1000 // 500) == 2


def test_layer_shapes():
    z0, w1, w2 = jnp.ones((1, 3)), jnp.ones((3, 2)), jnp.ones((2, 3))
    assert (sigmoid(z0 @ w1) @ w2).shape == (1, 3)


def test_hidden_delta_needs_weights_without_bias():
    delta, theta, slope = jnp.ones((5, 2)), jnp.ones((5, 2)), jnp.ones((5, 4))
    assert (delta @ theta[:-1].T).shape == slope.shape
    with pytest.raises(TypeError, match="incompatible shapes"):
        delta @ theta.T * slope


# Counterexamples to printed equations

Z = np.array([1.0, 2.0, 0.5])


def test_cross_entropy_sign():
    y = np.array([0.0, 1.0, 0.0])

    def loss(z):
        return cross_entropy(y, softmax(z))

    p = softmax(Z)
    assert_prints(loss(Z), 0.464369)
    assert_prints(jax.grad(loss)(Z), [0.231224, -0.371468, 0.140244])
    assert_prints(loss(Z - 0.05 * (y - p)), 0.475020)
    assert_prints(loss(Z - 0.05 * (p - y)), 0.453908)


def test_cross_entropy_of_labels_that_do_not_sum_to_one():
    y = np.array([0.5, 1.0, 0.0])
    log_h = jnp.log(jnp.sum(jnp.exp(Z)))
    assert_prints(jnp.sum(y * jnp.log(softmax(Z))), -1.196553)
    assert_prints(jnp.sum(y * Z) - log_h, 0.035631)
    slopes = jax.grad(lambda z: cross_entropy(y, softmax(z)))(Z)
    assert_prints(slopes, [-0.153164, -0.057202, 0.210367])


def test_log_softmax():
    assert_prints(jnp.log(softmax(Z)), [-1.464369, -0.464369, -1.964369])


def test_softmax_jacobian():
    expected = [[0.1778, -0.1453, -0.0324], [-0.1453, 0.2335, -0.0881], [-0.0324, -0.0881, 0.1206]]
    np.testing.assert_allclose(jax.jacobian(softmax)(Z), expected, rtol=0, atol=5.01e-5)


def test_swish_gradient():
    assert_prints(jax.grad(lambda z: z * sigmoid(2 * z))(1.0), 1.090784)


def test_multiclass_parentheses():
    f = np.array([1.0, 0.0])
    assert_prints(-jnp.log(softmax(f)[0]), 0.313262)
    assert_prints(-f[0] - jnp.log(jnp.sum(jnp.exp(f))), -2.313262)


def test_hidden_delta_needs_the_slope():
    def loss(w, u):
        return squared_error(0.0, u * tanh(w * 1.0))

    assert_prints(jax.grad(loss)(1.0, 1.0), 0.319850)
    assert_prints(tanh(1.0), 0.761594)


def test_updating_inside_the_backward_loop():
    def loss(w1, w2):
        return squared_error(0.0, w2 * relu(w1 * 1.0))

    dw1, dw2 = jax.grad(loss, argnums=(0, 1))(1.0, 1.0)
    assert (dw1, dw2) == (1.0, 1.0)
    assert jax.grad(loss)(1.0, 1.0 - dw2) == 0.0
