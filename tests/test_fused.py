"""The fused linear layer and softmax cross-entropy: the judge, chunks of every size, memory."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import manualbp as bp
import reference
from manualbp.verify import Spec, check
from tests.test_networks import assert_trees_close

fused = bp.linear_softmax_cross_entropy
CLASSES = 11


def arguments(*leading, features=4, classes=CLASSES, seed=0):
    rng = np.random.default_rng(seed)
    h, w, b = (rng.normal(size=s) for s in ((*leading, features), (features, classes), (classes,)))
    return h, w, b, rng.integers(0, classes, leading), rng.normal(size=leading)


def value_and_gradients(loss, h, w, b, labels, dy):
    y, pull = jax.vjp(lambda *floats: loss(*floats, labels), h, w, b)
    return y, pull(dy)


@pytest.mark.parametrize("chunk", [1, 2])  # of three classes: a loop, and one that does not divide
def test_the_judge_passes_it(chunk):
    args = Spec((2, 2)), Spec((2, 3)), Spec((3,)), Spec((2,), "integers", below=3)
    report = check(fused(chunk), *args)
    assert report.verdict == "PASS", report


@pytest.mark.parametrize(
    ("chunk", "leading"),
    [
        *((chunk, (7,)) for chunk in (None, 1, 3, 4, 10, CLASSES, 20)),
        *((3, leading) for leading in ((), (2, 3), (0,), (1, 0))),
    ],
)
def test_every_chunk_gives_the_gradients_of_the_definition_for_any_cotangent(chunk, leading):
    with jax.enable_x64(True):
        args = arguments(*leading)
        found = jax.jit(lambda *a: value_and_gradients(fused(chunk), *a))(*args)
        wanted = value_and_gradients(reference.linear_softmax_cross_entropy(), *args)
    assert_trees_close(found, wanted, 12)


def test_second_derivatives_and_vmap():
    h, w, b, labels, _ = arguments(3, classes=5)
    with jax.enable_x64(True):

        def second(loss):
            def norm(h, w, b):
                g = jax.grad(lambda *a: jnp.mean(loss(*a, labels) ** 2), argnums=(0, 1, 2))(h, w, b)
                return sum(jnp.sum(jnp.sin(x)) for x in g)

            return jax.jit(jax.grad(norm, argnums=(0, 1, 2)))(h, w, b)

        wanted = second(reference.linear_softmax_cross_entropy())
        assert_trees_close(second(fused(2)), wanted, 11)
        one = lambda h, label: fused(2)(h, w, b, label)  # noqa: E731
        found = jax.vmap(jax.value_and_grad(one))(h, labels)
        whole, (dh, _, _) = value_and_gradients(fused(2), h, w, b, labels, np.ones(3))
        assert_trees_close(found, (whole, dh), 13)


def test_ignored_labels_and_labels_of_no_class():
    h, w, b, labels, dy = arguments(6)
    kept = np.array([0, 2, 3, 5])
    labels[[1, 4]] = -100
    with jax.enable_x64(True):
        loss = fused(3, ignore=-100)
        y, (dh, dw, db) = value_and_gradients(loss, h, w, b, labels, dy)
        wanted = value_and_gradients(fused(3), h[kept], w, b, labels[kept], dy[kept])
        assert_trees_close((y[kept], (dh[kept], dw, db)), wanted, 13)
        ignored = np.array([1, 4])
        assert not np.any(y[ignored])
        assert not np.any(dh[ignored])
        for bad in (-1, CLASSES):
            labels[2] = bad
            message = rf"^linear_softmax_cross_entropy: expected labels in 0\.\.10, got {bad}: "
            with pytest.raises(ValueError, match=message):
                loss(h, w, b, labels)
            y, (dh, _, _) = jax.jit(lambda *a: value_and_gradients(loss, *a))(h, w, b, labels, dy)
            for x in (y[:, None], dh):
                assert np.isnan(x).all(axis=1).tolist() == [False, False, True, *[False] * 3]
                assert np.isnan(x).any(axis=1).tolist() == [False, False, True, *[False] * 3]


@pytest.mark.parametrize("lead", [20.0, 80.0, -200.0])
def test_sure_examples_keep_their_digits(lead):
    """Where the label leads by so much, 1 - p and the loss are e^-lead, not 0."""
    tolerance = 1e-7 * abs(lead)  # the rounding of the lead itself
    h, w, b = np.zeros((1, 1), np.float32), np.zeros((1, 3), np.float32), np.zeros(3, np.float32)
    b[1] = lead
    y, (_, _, db) = value_and_gradients(fused(2), h, w, b, np.array([1]), np.ones(1, np.float32))
    others = 2 * np.exp(-lead)
    np.testing.assert_allclose(y, [np.log1p(others)], rtol=tolerance)
    np.testing.assert_allclose(db[1], -others / (1 + others), rtol=tolerance)


def test_classes_that_cannot_occur():
    """A bias of -inf masks a class; a logit of inf leaves no doubt, in either direction."""
    h, w, b, labels, dy = arguments(4)
    b[[0, 1, 5]] = -np.inf
    labels[:] = [2, 3, 4, 6]
    left = np.array([2, 3, 4, 6, 7, 8, 9, 10])
    with jax.enable_x64(True):
        y, (dh, dw, db) = value_and_gradients(fused(2), h, w, b, labels, dy)
        fewer = np.searchsorted(left, labels)
        wanted = value_and_gradients(fused(3), h, w[:, left], b[left], fewer, dy)
        assert_trees_close((y, (dh, dw[:, left], db[left])), wanted, 13)
        assert not np.any(np.asarray(dw)[:, [0, 1, 5]])
        b[7] = np.inf
        assert np.all(fused(2)(h, w, b, labels) == np.inf)
        assert np.all(fused(2)(h, w, b, np.full(4, 7)) == 0)


@pytest.mark.parametrize("dtype", [jnp.float16, jnp.bfloat16])
def test_half_precision_accumulates_in_float32(dtype):
    """The weight gradient of many examples, each below half of the sum's last digit."""
    n = 5000
    h, w, b = jnp.ones((n, 1), dtype), jnp.zeros((1, 4), dtype), jnp.zeros(4, dtype)
    labels = jnp.zeros(n, jnp.int32)
    y, (dh, dw, db) = value_and_gradients(fused(3), h, w, b, labels, jnp.ones(n, dtype))
    assert {x.dtype for x in (y, dh, dw, db)} == {jnp.dtype(dtype)}
    eps = float(jnp.finfo(dtype).eps)
    np.testing.assert_allclose(np.asarray(y, np.float64), np.full(n, np.log(4)), rtol=eps)
    for g in (dw[0], db):
        wanted = [-0.75 * n, 0.25 * n, 0.25 * n, 0.25 * n]
        np.testing.assert_allclose(np.asarray(g, np.float64), wanted, rtol=eps)


def test_the_logits_of_the_batch_are_never_held():
    n, features, classes = 256, 16, 8192
    form = jax.ShapeDtypeStruct
    args = form((n, features), "f4"), form((features, classes), "f4"), form((classes,), "f4")
    labels = form((n,), "i4")

    def memory(loss):
        step = jax.value_and_grad(lambda *a: jnp.mean(loss(*a)), argnums=(0, 1, 2))
        return jax.jit(step).lower(*args, labels).compile().memory_analysis().temp_size_in_bytes

    plain = memory(lambda h, w, b, y: optax.softmax_cross_entropy_with_integer_labels(h @ w + b, y))
    assert plain >= 4 * n * classes
    assert memory(fused(256)) <= 0.15 * plain


H, W, B, Y = (np.asarray(x, np.float32) for x in arguments(5)[:4])
Y = Y.astype(np.int32)
NAME = "linear_softmax_cross_entropy: expected "
SHAPES = NAME + r"h \(\.\.\., features\), w \(features, classes\) and b \(classes,\), got h "
MISTAKES = {
    "no chunk": (lambda: fused(0), NAME + "chunk to be a positive integer, got 0"),
    "a negative chunk": (lambda: fused(-3), NAME + "chunk to be a positive integer, got -3"),
    "a part of a chunk": (lambda: fused(1.5), NAME + r"chunk to be an integer, got 1\.5"),
    "a true chunk": (lambda: fused(True), NAME + "chunk to be an integer, got True"),
    "a word to ignore": (lambda: fused(1, "x"), NAME + "ignore to be an integer, got 'x'"),
    "weights transposed": (lambda: fused()(H, W.T, B, Y), SHAPES + r"\(5, 4\), w \(11, 4\) and b "),
    "a bias of another size": (
        lambda: fused()(H, W, B[1:], 0 * Y),
        SHAPES + r".* b \(10,\): one row",
    ),
    "no class": (lambda: fused()(H, W[:, :0], B[:0], Y), SHAPES + r".* b \(0,\): one row an"),
    "a number": (lambda: fused()(np.float32(1), W, B, Y), SHAPES + r"\(\), w"),
    "labels of another size": (
        lambda: fused()(H, W, B, Y[1:]),
        NAME + r"labels of shape \(5,\) to match scores of shape \(5, 11\), got \(4,\): give one",
    ),
    "floating labels": (
        lambda: fused()(H, W, B, np.ones(5, np.float32)),
        NAME + "integer labels, got float32",
    ),
    "another dtype": (
        lambda: fused()(H.astype(np.float16), W, B, Y),
        NAME + "h of dtype float32 to match w, got float16: convert",
    ),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_told_in_one_line(mistake):
    call, expected = MISTAKES[mistake]
    with pytest.raises((TypeError, ValueError)) as raised:
        call()
    assert re.match(expected, str(raised.value)), str(raised.value)
    assert "\n" not in str(raised.value)
