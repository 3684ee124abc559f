"""What the regression and text experiments compute, checked on cases with a known answer."""

import importlib
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import manualbp as bp

pytest.importorskip("matplotlib")
pytest.importorskip("sklearn")


@pytest.fixture
def experiment(monkeypatch):
    """A function: the script of this name, imported as Python runs it, with its folder first."""
    monkeypatch.syspath_prepend(str(Path(__file__).parents[1] / "experiments"))
    with jax.numpy_dtype_promotion("standard"):  # as a script has it
        yield importlib.import_module


@pytest.fixture
def points():
    """Well-conditioned inputs, and targets with noise; float64 needs to be enabled."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(40, 3))
    return x, x @ np.array([[1.0], [-2.0], [0.5]]) + 0.1 * rng.normal(size=(40, 1))


def test_split_standardises_with_the_training_examples_alone(experiment):
    x = np.random.default_rng(1).normal(3, 2, (50, 4))
    x[:, 2] = 7
    split = experiment("tables").standardised_split(x, np.arange(50), seed=0)
    (seen, numbers), (unseen, others) = split
    assert (len(seen), len(unseen)) == (40, 10)
    assert sorted([*numbers, *others]) == list(range(50))
    np.testing.assert_allclose(seen.mean(axis=0), 0, atol=1e-12)
    np.testing.assert_allclose(seen.std(axis=0), [1, 1, 0, 1], rtol=1e-12)
    assert np.abs(unseen.mean(axis=0)).max() > 1e-3


def test_full_descent_ends_at_the_least_squares_weights(experiment, points):
    script = experiment("linear_regression")
    x, y = points
    best = script.least_squares(x, y)
    np.testing.assert_allclose(x.T @ (x @ best - y), 0, atol=1e-11)  # the normal equations
    with jax.enable_x64(True):
        rate = bp.gradient_descent(1 / script.eigenvalues(x)[-1])
        result = bp.train(script.linear(3), (x, y), rate, epochs=150, batch_size="all")
    np.testing.assert_allclose(result.params[0], best, rtol=1e-10)


def test_factor_a_step_is_the_predicted_one(experiment, points):
    script = experiment("linear_regression")
    x, y = points
    lam, best = script.eigenvalues(x), script.least_squares(x, y)
    eta = np.array([0.5, 1.9, 2.1]) / lam[-1]
    with jax.enable_x64(True):
        distances = script.follow(x, y, best + 1, best, eta, 400)
    predicted = np.max(np.abs(1 - np.outer(eta, lam)), axis=1)
    np.testing.assert_allclose([script.factor(d) for d in distances], predicted, rtol=1e-3)


def test_penalised_descent_ends_where_the_gradient_vanishes(experiment, points):
    script = experiment("logistic_regression")
    x, y = points
    decay = 0.1
    with jax.enable_x64(True):
        labels = (y > 0).astype(float)
        network = script.regression(x, labels, bp.sigmoid_binary_cross_entropy)
        start = network.init(jax.random.key(0), x.dtype)
        params = script.penalised(network, start, x, labels, decay, 2000)
        _, gradient = network.loss_and_grad(params, x, labels)
    w = np.asarray(params[0].w)
    np.testing.assert_allclose(gradient[0].w, -decay * w, atol=1e-12)
    np.testing.assert_allclose(gradient[0].b, 0, atol=1e-12)


def test_accumulated_gradients_are_those_of_the_batch_and_deltas_are_not(experiment, points):
    script = experiment("accumulators")
    x, y = points
    with jax.enable_x64(True):
        x, y = jnp.asarray(x), jnp.asarray(y > 0, x.dtype)
        network = script.network_of(3, 5)
        params = network.init(jax.random.key(0), x.dtype)
        one_by_one = script.accumulated(network, params, x, y)
        whole = script.at_once(network, params, x, y)
        assert script.difference(one_by_one, whole) < 1e-13
        found = jax.tree.map(np.asarray, jax.jit(script.inputs_and_deltas)(params, x, y))
        (_, a), (delta_hidden, delta_output) = found
        np.testing.assert_allclose(a.T @ delta_output, whole[2].w, rtol=1e-10)
        np.testing.assert_allclose(delta_hidden.sum(axis=0), whole[0].b, rtol=1e-10)
        np.testing.assert_allclose(script.from_sums(params, x, y, 1), 0, atol=1e-12)
        assert np.min(script.from_sums(params, x, y, 40)) > 0.1


@pytest.mark.parametrize("classes", [2, 3])
def test_reviews_are_the_same_each_time_and_labelled_by_their_words(experiment, classes):
    script = experiment("text_classification")
    texts, labels = script.reviews(3, 60, classes)
    again, same = script.reviews(3, 60, classes)
    assert texts == again
    assert labels.tolist() == same.tolist()
    assert np.bincount(labels).tolist() == [60 // classes] * classes
    assert script.reviews(4, 60, classes)[0] != texts
    for words, label in zip(texts, labels, strict=True):
        sign = (-1, 1)[label] if classes == 2 else label - 1
        assert np.sign(worth(script, words)) == sign


def worth(script, words):
    """The sum of opinions, read from the words from left to right."""
    total, factor = 0, 1
    for word in words:
        if word in script.NEGATIONS:
            factor = -factor
        elif word in script.INTENSIFIERS:
            factor = 2 * factor
        else:
            total += factor * ((word in script.PRAISE) - (word in script.BLAME))
            factor = 1
    return total


def test_features_count_words_and_pairs(experiment):
    script = experiment("text_classification")
    texts = [["not", "good", "not", "good"], ["good", "film"]]
    names = script.vocabulary(texts, pairs=True, least=1)
    assert names == ["film", "good", "good film", "good not", "not", "not good"]
    assert script.features(texts, names, pairs=True).tolist() == [
        [0, 2, 0, 1, 2, 2],
        [1, 1, 1, 0, 0, 0],
    ]


def test_units_that_start_at_zero_stay_equal(experiment):
    script = experiment("text_classification")
    texts, labels = script.reviews(0, 64, 2)
    x = script.features(texts, script.vocabulary(texts, pairs=False, least=1), pairs=False)
    network = script.classifier(x.shape[1], 3, 2, bp.sigmoid, bp.initializers.zeros)
    y = script.targets(labels, 2)
    result = bp.train(network, (x, y), bp.gradient_descent(0.5), epochs=5, batch_size=8)
    theta = np.asarray(result.params[0])
    assert np.abs(theta).max() > 1e-4
    np.testing.assert_allclose(theta - theta[:, :1], 0, atol=1e-6 * np.abs(theta).max())
