"""The fused linear layer and softmax cross-entropy: the judge, tiles of every size, memory."""

import functools
import re

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import manualbp as bp
import reference
from manualbp.verify import Spec, check
from tests.runs import costs
from tests.test_networks import assert_trees_close

fused = bp.linear_softmax_cross_entropy
CLASSES = 11


EVERYTHING = {"label_smoothing": 0.25, "z_loss": 0.125, "weighted": True}


def arguments(*leading, features=4, classes=CLASSES, seed=0):
    rng = np.random.default_rng(seed)
    h, w, b = (rng.normal(size=s) for s in ((*leading, features), (features, classes), (classes,)))
    return h, w, b, rng.integers(0, classes, leading), rng.normal(size=leading)


@functools.partial(jax.jit, static_argnums=0)
def value_and_gradients(loss, h, w, b, labels, dy):
    y, pull = jax.vjp(lambda *floats: loss(*floats, labels), h, w, b)
    return y, pull(dy)


@pytest.mark.parametrize("chunk", [1, 2])  # of three classes: a loop, and one that does not divide
def test_the_judge_passes_it(chunk):
    args = Spec((2, 2)), Spec((2, 3)), Spec((3,)), Spec((2,), "integers", below=3)
    report = check(fused(chunk), *args)
    assert report.verdict == "PASS", report


@pytest.mark.parametrize("labels", [Spec((2,), "integers", below=3), Spec((2, 3), "weights")])
def test_the_judge_passes_it_with_every_option(labels):
    """Tiles of one example and two of three classes."""
    loss = fused(2, rows=1, **EVERYTHING)
    report = check(loss, Spec((2, 2)), Spec((2, 3)), Spec((3,)), labels, Spec((3,), "positive"))
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


OPTIONS = {
    "smoothing": {"label_smoothing": 0.1},
    "z-loss": {"z_loss": 0.01},
    "weights": {"weighted": True},
    "everything": EVERYTHING,
}


def soft(*leading, seed=1):
    return np.random.default_rng(seed).dirichlet(np.ones(CLASSES), leading)


def all_gradients(loss, dy, *args):
    """Also those of soft labels and of weights."""
    floats = [i for i, x in enumerate(args) if x.dtype == np.float64]

    def of_floats(*given):
        filled = dict(zip(floats, given, strict=True))
        return loss(*(filled.get(i, x) for i, x in enumerate(args)))

    def run(dy, *given):
        y, pull = jax.vjp(of_floats, *given)
        return y, pull(dy)

    return jax.jit(run)(dy, *(args[i] for i in floats))


@pytest.mark.parametrize(
    ("options", "chunk", "rows", "leading", "is_soft"),
    [
        *((name, 4, None, (7,), is_soft) for name in OPTIONS for is_soft in (False, True)),
        (None, 4, 3, (7,), True),  # soft labels alone
        *(("everything", None, rows, (7,), False) for rows in (1, 7, 20)),
        *(("everything", 3, 2, (2, 3), is_soft) for is_soft in (False, True)),
        ("everything", 3, 2, (), True),
        ("everything", 3, 2, (0,), True),
    ],
)
def test_every_option_gives_the_gradients_of_the_definition(options, chunk, rows, leading, is_soft):
    h, w, b, labels, dy = arguments(*leading)
    options = OPTIONS.get(options, {}) | {"chunk": chunk, "rows": rows}
    weights = np.linspace(0, 2, CLASSES)  # one class without weight
    args = h, w, b, soft(*leading) if is_soft else labels
    args = (*args, weights) if options.get("weighted") else args
    with jax.enable_x64(True):
        found = all_gradients(fused(**options), dy, *args)
        wanted = all_gradients(reference.linear_softmax_cross_entropy(**options), dy, *args)
    assert_trees_close(found, wanted, 12)


def test_smoothing_and_weights_are_those_of_optax_and_pytorch():
    h, w, b, labels, _ = arguments(7)
    with jax.enable_x64(True):
        logits, onehot = h @ w + b, np.eye(CLASSES)[labels]
        smooth = optax.smooth_labels(onehot, 0.2)
        wanted = optax.softmax_cross_entropy(logits, smooth)
        assert_trees_close(fused(4, label_smoothing=0.2)(h, w, b, labels), wanted, 13)
        assert_trees_close(fused(4)(h, w, b, np.asarray(smooth)), wanted, 13)
        # torch.nn.functional.cross_entropy(weight=v, label_smoothing=0.2, reduction="none")
        v, log_p = np.linspace(0.5, 2, CLASSES), np.asarray(jax.nn.log_softmax(logits))
        wanted = -0.8 * v[labels] * log_p[range(7), labels] - 0.2 / CLASSES * (log_p @ v)
        loss = fused(4, label_smoothing=0.2, weighted=True)
        assert_trees_close(loss(h, w, b, labels, v), wanted, 13)
        wanted = v[labels] * optax.softmax_cross_entropy_with_integer_labels(logits, labels)
        assert_trees_close(fused(4, weighted=True)(h, w, b, labels, v), wanted, 13)
        lse = np.log(np.sum(np.exp(logits), axis=1))
        wanted = 1e-3 * lse**2 + optax.softmax_cross_entropy_with_integer_labels(logits, labels)
        assert_trees_close(fused(4, z_loss=1e-3)(h, w, b, labels), wanted, 13)


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


def test_second_derivatives_with_every_option_at_ties():
    h, w, b, _, _ = arguments(2, classes=5)
    w[:, 1], b[1] = w[:, 4], b[4]  # one logit twice
    w[:, 2], b[2] = w[:, 4], b[4]
    labels, weights = np.eye(5)[[1, 3]] / 2, np.arange(5.0)

    def second(loss):
        def norm(*args):
            g = jax.grad(lambda *a: jnp.mean(loss(*a) ** 2), argnums=range(5))(*args)
            return sum(jnp.sum(jnp.sin(x)) for x in g)

        return jax.jit(jax.grad(norm, argnums=range(5)))(h, w, b, labels, weights)

    with jax.enable_x64(True):
        wanted = second(reference.linear_softmax_cross_entropy(**EVERYTHING))
        assert_trees_close(second(fused(2, rows=1, **EVERYTHING)), wanted, 11)


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
        left_out = fused(3, ignore=-100, rows=4, **EVERYTHING)
        v = np.linspace(1, 2, CLASSES)
        found = all_gradients(left_out, dy, h, w, b, labels, v)
        wanted = all_gradients(fused(3, **EVERYTHING), dy[kept], h[kept], w, b, labels[kept], v)
        assert_trees_close((found[0][kept], found[1][1:]), (wanted[0], wanted[1][1:]), 13)
        assert not np.any(found[0][ignored])
        assert not np.any(found[1][0][ignored])
        for bad in (-1, CLASSES):
            labels[2] = bad
            message = rf"^linear_softmax_cross_entropy: expected labels in 0\.\.10, got {bad}: "
            with pytest.raises(ValueError, match=message):
                loss(h, w, b, labels)
            y, (dh, _, _) = jax.jit(lambda *a: value_and_gradients(loss, *a))(h, w, b, labels, dy)
            for x in (y[:, None], dh):
                assert np.isnan(x).all(axis=1).tolist() == [False, False, True, *[False] * 3]
                assert np.isnan(x).any(axis=1).tolist() == [False, False, True, *[False] * 3]


@pytest.mark.optimized
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


@pytest.mark.optimized
@pytest.mark.parametrize("lead", [0.0, 30.0, 300.0])
def test_smoothing_and_z_loss_far_from_zero(lead):
    """Against float64; a shift of all logits by 1,000 leaves float32 no exponential as it is."""
    h, w, b = np.zeros((1, 1), np.float32), np.zeros((1, 3), np.float32), np.zeros(3, np.float32)
    b += 1000
    b[1] += lead
    for label in (0, 1):
        args, ones = (h, w, b, np.array([label])), np.ones(1, np.float32)
        loss = fused(2, label_smoothing=0.01, z_loss=1e-4)
        y, (_, _, db) = value_and_gradients(loss, *args, ones)
        z = b.astype(np.float64)
        log_p = z - z.max() - np.log(np.sum(np.exp(z - z.max())))
        lse, s = z[1] - log_p[1], 0.99 * np.eye(3)[label] + 0.01 / 3
        np.testing.assert_allclose(y, [-s @ log_p + 1e-4 * lse**2], rtol=1e-6)
        wanted = (1 + 2e-4 * lse) * np.exp(log_p) - s
        np.testing.assert_allclose(db, wanted, rtol=1e-5, atol=1e-7)


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
    v, targets = jnp.ones(4, dtype), jax.nn.one_hot(labels, 4, dtype=dtype)
    loss = fused(3, rows=700, weighted=True)
    args = h, w, b, targets, v
    y, pull = jax.vjp(loss, *args)
    dh, dw, db, dlabels, dv = pull(jnp.ones(n, dtype))
    assert {x.dtype for x in (y, dh, dw, db, dlabels, dv)} == {jnp.dtype(dtype)}
    np.testing.assert_allclose(np.asarray(dw[0], np.float64), wanted, rtol=eps)
    np.testing.assert_allclose(np.asarray(dv, np.float64), [n * np.log(4), 0, 0, 0], rtol=eps)


def memory(loss, *args, argnums=(0, 1, 2)):
    step = jax.value_and_grad(lambda *a: jnp.mean(loss(*a)), argnums=argnums)
    return costs(step, *args)[0]


def form(*shape, dtype="f4"):
    return jax.ShapeDtypeStruct(shape, dtype)


@pytest.mark.optimized
def test_the_logits_of_the_batch_are_never_held():
    """At 2,048 x 256 x 32,768; compiled and not run."""
    n, d, k = 2048, 256, 32768
    args = form(n, d), form(d, k), form(k)
    hard, targets, weights = form(n, dtype="i4"), form(n, k), form(k)
    plain = memory(
        lambda h, w, b, y: optax.softmax_cross_entropy_with_integer_labels(h @ w + b, y),
        *args,
        hard,
    )
    assert plain >= 4 * n * k
    everything = fused(ignore=-100, **EVERYTHING), *args, hard, weights
    found = {
        "alone": memory(fused(), *args, hard),
        "a chunk": memory(fused(1000), *args, hard),
        "every option": memory(*everything, argnums=(0, 1, 2, 4)),
        "soft": memory(fused(**EVERYTHING), *args, targets, weights, argnums=(0, 1, 2, 3, 4)),
    }
    for name, bytes_ in found.items():
        assert bytes_ <= 0.1 * plain, name


@pytest.mark.optimized
def test_tiles_stay_as_small_for_many_more_examples():
    """What grows with the examples is h, and a few numbers each."""
    d, k = 8, 4096
    few, many = (
        memory(fused(**EVERYTHING), form(n, d), form(d, k), form(k), form(n, dtype="i4"), form(k))
        for n in (2**12, 2**16)
    )
    assert many - few <= 2**16 * 4 * (d + 16)


H, W, B, Y = (np.asarray(x, np.float32) for x in arguments(5)[:4])
Y = Y.astype(np.int32)
V, SOFT = np.ones(CLASSES, np.float32), np.ones((5, CLASSES), np.float32)
WEIGHTED = fused(weighted=True)
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
    "no row": (lambda: fused(rows=0), NAME + "rows to be a positive integer, got 0"),
    "a part of a row": (lambda: fused(rows=0.5), NAME + r"rows to be an integer, got 0\.5"),
    "all smoothed": (
        lambda: fused(label_smoothing=1),
        NAME + r"label_smoothing to be a number in \[0, 1\), got 1",
    ),
    "roughened": (
        lambda: fused(label_smoothing=-0.1),
        NAME + r"label_smoothing to be a number in \[0, 1\), got -0\.1",
    ),
    "a negative z-loss": (
        lambda: fused(z_loss=-1.0),
        NAME + r"z_loss to be a finite number from 0 on, got -1\.0",
    ),
    "a z-loss of NaN": (
        lambda: fused(z_loss=np.nan),
        NAME + "z_loss to be a finite number from 0 on, got nan",
    ),
    "weights for a flag": (
        lambda: fused(weighted=V),
        NAME + r"weighted to be True or False, got an array of float32 of shape \(11,\)",
    ),
    "weights forgotten": (
        lambda: WEIGHTED(H, W, B, Y),
        NAME[:28] + r".*: expected 5 arguments \(h, w, b, labels, weights\), got 4",
    ),
    "weights of another size": (
        lambda: WEIGHTED(H, W, B, Y, V[1:]),
        NAME + r"weights of shape \(11,\), got \(10,\): one column a class",
    ),
    "a negative weight": (
        lambda: WEIGHTED(H, W, B, Y, -V),
        NAME + "finite weights from 0 on, got -1: a weight of 0 leaves a class out",
    ),
    "a weight of NaN": (
        lambda: WEIGHTED(H, W, B, Y, V * np.nan),
        NAME + "finite weights from 0 on, got nan: a",
    ),
    "weights in another dtype": (
        lambda: WEIGHTED(H, W, B, Y, V.astype(np.float16)),
        NAME + "weights of dtype float32 to match w, got float16: convert",
    ),
    "soft labels of too few classes": (
        lambda: fused()(H, W, B, SOFT[:, 1:]),
        NAME + r"soft labels of shape \(5, 11\), got \(5, 10\): one column a class",
    ),
    "soft labels to ignore": (
        lambda: fused(ignore=-100)(H, W, B, SOFT),
        NAME + "integer labels, of which -100 is ignored, got soft labels$",
    ),
    "labels all ignored": (
        lambda: fused(ignore=-100)(H, W, B, 0 * Y - 100),
        NAME + "at least one label other than -100, got none: skip a batch",
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
