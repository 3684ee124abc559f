"""Per-example norms, clipping and noise against vmap(jax.grad) of plain JAX networks, and Optax."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from optax.contrib import differentially_private_aggregate

import manualbp as bp
from manualbp import Dense
from tests.runs import assert_refused, costs
from tests.test_networks import (
    BATCH,
    CASES,
    IN_FLOAT32,
    assert_trees_close,
    batch,
    build,
    parameters,
    slopes_a_channel,
    textbook,
)

DIGITS = {np.float64: 12, np.float32: 4}


def truth(name, params, x, y):
    """vmap(jax.grad) of the textbook network: the gradient of each example."""

    def loss(p, x, y):
        # a definition wants a key's place filled, and params without it have no gradient there
        return jnp.sum(
            textbook(name)(
                tuple(None if isinstance(own, tuple) and not own else own for own in p), x, y
            )
        )

    return jax.jit(jax.vmap(jax.grad(loss), in_axes=(None, 0, 0)))(params, x, y)


def squares(tree):
    """||g_i||^2 over all arrays of a tree of per-example gradients."""
    return sum(np.sum(np.reshape(g, (len(g), -1)) ** 2, axis=1) for g in jax.tree.leaves(tree))


def clipped(each, bound):
    """g / max(1, ||g|| / C), summed."""
    scale = 1 / np.maximum(1, np.sqrt(squares(each)) / bound)
    return jax.tree.map(lambda g: np.tensordot(scale, np.asarray(g), axes=1), each)


@pytest.mark.parametrize(
    ("name", "dtype"),
    [*((name, np.float64) for name in CASES), *((name, np.float32) for name in IN_FLOAT32)],
)
def test_norms_gradients_and_clipping_are_those_of_vmap_grad(name, dtype):
    network, digits = build(name), DIGITS[dtype]
    with jax.enable_x64(True):
        x, y = batch(name, dtype)
        each = truth(name, parameters(network), *batch(name))
        layers = tuple(squares(own) if jax.tree.leaves(own) else () for own in each)
        bound = float(np.median(np.sqrt(squares(each))))  # some within, some beyond
        share = bound / np.sqrt(len(jax.tree.leaves(layers)))

        def all_of_them(p, x, y):  # compiled once
            return (
                bp.per_example_grads(network, p, x, y),
                tuple(bp.per_example_norms(network, p, x, y)),
                bp.importance_scores(network, p, x, y),
                bp.clipped_grads(network, p, x, y, bound, reduction="sum"),
                bp.clipped_grads(network, p, x, y, bound),
                bp.clipped_grads(network, p, x, y, bound, per_layer=True, reduction="sum"),
            )

        found = jax.jit(all_of_them)(parameters(network, dtype), x, y)
        assert {g.dtype for g in jax.tree.leaves(found)} == {np.dtype(dtype)}
        total = clipped(each, bound)
        wanted = (
            each,
            (squares(each), layers),
            np.sqrt(squares(each)),
            total,
            jax.tree.map(lambda g: g / BATCH, total),
            tuple(clipped(own, share) if jax.tree.leaves(own) else () for own in each),
        )
        assert_trees_close(found, wanted, digits)


def test_a_slope_for_each_channel_and_chains_within_chains():
    block = bp.chain(bp.dense, bp.prelu)
    flat = build("learned activations")
    nested = bp.Network(
        bp.chain(block, bp.chain(bp.tanh), bp.dense_without_bias), bp.squared_error, (4, 6, 3), None
    )
    rng = np.random.default_rng(0)
    draw = lambda *shape: rng.normal(size=shape)  # noqa: E731
    with jax.enable_x64(True):
        params = ((Dense(draw(4, 6), draw(6)), draw(6)), (), draw(6, 3))
        x, y = draw(BATCH, 4), draw(BATCH, 3)

        def plain(p, x, y):
            z = x @ p[0][0].w + p[0][0].b
            z = jnp.tanh(jnp.where(z > 0, z, p[0][1] * z))
            return jnp.sum((z @ p[2] - y) ** 2)

        each = jax.vmap(jax.grad(plain), in_axes=(None, 0, 0))(params, x, y)
        assert_trees_close(bp.per_example_grads(nested, params, x, y), each, 12)
        norms = bp.per_example_norms(nested, params, x, y)
        wanted = tuple(map(squares, each[0])), (), squares(each[2])
        assert_trees_close(norms.layers, wanted, 12)
        # one slope a channel in the place of one a layer
        params, (x, y) = slopes_a_channel(flat), batch("learned activations")
        each = truth("learned activations", params, x, y)
        np.testing.assert_allclose(bp.per_example_norms(flat, params, x, y).total, squares(each))


def test_a_deep_lean_network_keeps_what_the_norms_need():
    name = "rectifiers"
    fast, lean = build(name), build(name, memory="lean")
    with jax.enable_x64(True):
        params, (x, y) = parameters(fast), batch(name)
        wanted, found = (bp.clipped_grads(n, params, x, y, 0.5) for n in (fast, lean))
        assert_trees_close(found, wanted, 13)


def test_randomized_slopes_are_those_of_the_key():
    network, key = build("randomized"), jax.random.key(3)
    with jax.enable_x64(True):
        params, (x, y) = parameters(network), batch("randomized")
        each = bp.per_example_grads(network, params, x, y, key)
        _, total = network.loss_and_grad(params, x, y, key, reduction="sum")
        assert_trees_close(jax.tree.map(lambda g: g.sum(0), each), total, 12)
        norms = bp.per_example_norms(network, params, x, y, key)
        np.testing.assert_allclose(norms.total, squares(each), rtol=1e-12)


@pytest.mark.parametrize("clip", [0.05, 0.5, 100.0])
def test_the_clipped_mean_is_that_of_optax(clip):
    name = "sigmoids"
    network = build(name)
    with jax.enable_x64(True):
        params, (x, y) = parameters(network), batch(name)
        transform = differentially_private_aggregate(clip, 0.0, jax.random.key(0))
        wanted, _ = transform.update(truth(name, params, x, y), transform.init(params), params)
        assert_trees_close(bp.clipped_grads(network, params, x, y, clip), wanted, 12)


def test_noise_has_its_deviation_and_follows_the_key():
    network = bp.mlp((180, 200, 3), activation=bp.tanh)  # weights drawn in three parts
    params = parameters(network, np.float32)
    x = np.random.default_rng(0).normal(size=(8, 180)).astype(np.float32)
    y = np.arange(8) % 3
    clip, sigma = 0.5, 4.0
    for reduction, n in (("mean", 8), ("sum", 1)):
        plain = bp.clipped_grads(network, params, x, y, clip, reduction=reduction)
        first, again, other = (
            bp.clipped_grads(network, params, x, y, clip, jax.random.key(i), sigma,
                             reduction=reduction)
            for i in (0, 0, 1)
        )  # fmt: skip
        for a, b, c in zip(*map(jax.tree.leaves, (first, again, other)), strict=True):
            np.testing.assert_array_equal(a, b)
            assert np.all(np.asarray(a) != c)
        noise = np.concatenate(
            [np.ravel(a - b) for a, b in zip(*map(jax.tree.leaves, (first, plain)), strict=True)]
        )
        # five standard errors
        np.testing.assert_allclose(noise.std(), sigma * clip / n, rtol=5 / np.sqrt(2 * noise.size))
        assert abs(noise.mean()) < 5 * sigma * clip / n / np.sqrt(noise.size)
        # the draws of different arrays differ, and of different parts of one
        weights, bias, part = np.ravel(first[0].w - plain[0].w), first[0].b - plain[0].b, 2**14
        assert abs(np.corrcoef(weights[:200], bias)[0, 1]) < 5 / np.sqrt(200)
        for a, b in ((0, part), (part, 2 * part), (0, 2 * part)):
            size = min(part, weights.size - b)
            assert size > 3000
            pair = weights[a : a + size], weights[b : b + size]
            assert abs(np.corrcoef(*pair)[0, 1]) < 5 / np.sqrt(size)


def test_the_noise_scale_is_unbiased():
    """Over all batches of two from a population, parts average to those of the population."""
    name = "regression"
    network = build(name)
    with jax.enable_x64(True):
        params, (x, y) = parameters(network), batch(name)
        each = truth(name, params, x, y)
        g = np.concatenate([np.reshape(leaf, (BATCH, -1)) for leaf in jax.tree.leaves(each)], 1)
        # drawn with replacement: examples are independent
        pairs = np.array([(i, j) for i in range(BATCH) for j in range(BATCH)])
        found = [bp.gradient_noise_scale(network, params, x[p], y[p]) for p in pairs]
        trace = np.mean([f.covariance_trace for f in found])
        square = np.mean([f.squared_gradient for f in found])
        np.testing.assert_allclose(trace, g.var(axis=0).sum(), rtol=1e-12)
        np.testing.assert_allclose(square, np.sum(g.mean(axis=0) ** 2), rtol=1e-12)
        whole = bp.gradient_noise_scale(network, params, x, y)
        np.testing.assert_allclose(whole.covariance_trace, g.var(axis=0, ddof=1).sum(), rtol=1e-12)
        np.testing.assert_allclose(whole.scale, whole.covariance_trace / whole.squared_gradient)


@pytest.mark.parametrize("layer", [bp.dense, bp.dense_without_bias, bp.dense_augmented])
def test_the_noise_scale_of_layers_wider_than_the_batch(layer):
    """Whose squared mean gradient comes from the pairs of examples."""
    network = bp.mlp((40, 50, 30, 2), activation=bp.prelu, layer=layer)
    rng = np.random.default_rng(0)
    with jax.enable_x64(True):
        params, x, y = parameters(network), rng.normal(size=(4, 40)), np.arange(4) % 2
        each = bp.per_example_grads(network, params, x, y)
        g = np.concatenate([np.reshape(leaf, (4, -1)) for leaf in jax.tree.leaves(each)], 1)
        found = bp.gradient_noise_scale(network, params, x, y)
        trace = g.var(axis=0, ddof=1).sum()
        np.testing.assert_allclose(found.covariance_trace, trace, rtol=1e-12)
        wanted = np.sum(g.mean(axis=0) ** 2) - trace / 4
        np.testing.assert_allclose(found.squared_gradient, wanted, rtol=1e-12)


@pytest.mark.parametrize("dtype", [jnp.float16, jnp.bfloat16])
def test_half_precision_squares_in_float32(dtype):
    """The squared norm of this gradient is beyond float16."""
    network = bp.mlp((2, 2), loss=bp.half_squared_error, init=bp.initializers.zeros)
    params = network.init(jax.random.key(0), dtype)
    x, y = jnp.full((3, 2), 30, dtype), jnp.full((3, 2), -20, dtype)
    norms = bp.per_example_norms(network, params, x, y)
    assert norms.total.dtype == jnp.float32
    np.testing.assert_allclose(norms.total, np.full(3, (2 * 900 + 1) * 2 * 400.0))
    grads = bp.clipped_grads(network, params, x, y, 1.0)
    assert {g.dtype for g in jax.tree.leaves(grads)} == {jnp.dtype(dtype)}
    norm = np.sqrt(sum(np.sum(np.asarray(g, np.float64) ** 2) for g in jax.tree.leaves(grads)))
    np.testing.assert_allclose(norm, 1, rtol=4 * float(jnp.finfo(dtype).eps))


def test_examples_of_infinite_and_no_gradient():
    """An overflown norm leaves nothing of its example, zero stays zero, NaN shows."""
    network = bp.mlp((1, 1), loss=bp.half_squared_error, layer=bp.dense_without_bias)
    params = (jnp.zeros((1, 1)), ())
    x, y = jnp.array([[1e20], [1.0], [1.0]]), jnp.array([[1e20], [0.0], [-0.5]])
    grads = bp.clipped_grads(network, params, x, y, 1.0, reduction="sum")
    np.testing.assert_array_equal(grads[0], [[0.5]])
    y = y.at[1].set(np.nan)
    assert np.isnan(bp.clipped_grads(network, params, x, y, 1.0)[0]).all()


# Cost: exact, as XLA counts it

WIDTHS, MANY = (64, 128, 128, 10), 64


# A plain step of prelu has no array that it could share with the slopes' norms; beside norms alone
# XLA keeps the factors of tanh's slope
@pytest.mark.optimized
@pytest.mark.parametrize(("activation", "twice"), [(bp.relu, 2), (bp.tanh, 2.7), (bp.prelu, 2.5)])
def test_no_array_of_batch_times_parameters(activation, twice):
    network = bp.mlp(WIDTHS, activation=activation)
    params = network.init(jax.random.key(0))
    x, y = jnp.ones((MANY, WIDTHS[0])), jnp.zeros(MANY, jnp.int32)
    size = 4 * sum(p.size for p in jax.tree.leaves(params))
    memory, flops = costs(network.loss_and_grad, params, x, y)
    each, _ = costs(lambda *a: bp.per_example_grads(network, *a), params, x, y)
    functions = {
        "norms": (lambda *a: bp.per_example_norms(network, *a), twice, 0.8),
        "clipped": (lambda *a: bp.clipped_grads(network, *a, 1.0), twice, 1.1),
        "by layer": (lambda *a: bp.clipped_grads(network, *a, 1.0, per_layer=True), twice, 1.1),
    }
    for name, (f, more_memory, more_flops) in functions.items():
        found = costs(f, params, x, y)
        assert found[0] <= more_memory * memory + 1024, name
        assert found[0] < MANY * size / 10, name
        assert found[1] <= more_flops * flops, name
    assert each < MANY * size  # not even for those who want it all: the rest is the result


@pytest.mark.optimized
@pytest.mark.parametrize("activation", [bp.relu, bp.tanh])
def test_noise_and_its_scale_make_no_array_of_the_parameters(activation):
    """At 784-1024-1024-10, batch 256: compiled and not run."""
    network = bp.mlp((784, 1024, 1024, 10), activation=activation)
    form = jax.ShapeDtypeStruct
    params = jax.eval_shape(lambda: network.init(jax.random.key(0)))
    args = params, form((256, 784), "f4"), form((256,), "i4")
    memory, flops = costs(network.loss_and_grad, *args)
    key = jax.random.key(0)
    noise = costs(lambda *a: bp.clipped_grads(network, *a, 1.0, key, 1.0), *args)
    scale = costs(lambda *a: bp.gradient_noise_scale(network, *a), *args)
    for found in (noise, scale):
        assert found[0] <= 2 * memory
        assert found[1] <= 1.1 * flops


# Misuse

NETWORK = bp.mlp((3, 4, 2), activation=bp.tanh)
PARAMS = NETWORK.init(jax.random.key(0))
X, Y = np.ones((5, 3), np.float32), np.zeros(5, np.int32)
SCALE = bp.Rule("scale", lambda s, x: (s * x, (s, x)), lambda r, dy: (dy, dy), "", "")
SCALED = bp.Network(bp.chain(bp.dense, bp.chain(SCALE)), bp.squared_error, (3, 2), None)


def clip(bound=1.0, **options):
    return bp.clipped_grads(NETWORK, PARAMS, X, Y, bound, **options)


BOUND = r"clipped_grads: expected clip_norm to be a positive finite number, got "
SIGMA = r"clipped_grads: expected noise_multiplier to be a finite number from 0 on, got "
MISTAKES = {
    "a zero bound": (lambda: clip(0), BOUND + "0$"),
    "a negative bound": (lambda: clip(-1.0), BOUND + r"-1\.0$"),
    "an infinite bound": (lambda: clip(np.inf), BOUND + "inf$"),
    "a bound that is not a number": (lambda: clip(jnp.float32(np.nan)), BOUND + "nan$"),
    "two bounds": (lambda: clip(np.ones(2)), BOUND + "an array"),
    "a word": (lambda: clip("1"), BOUND + "'1'$"),
    "negative noise": (lambda: clip(noise_multiplier=-1), SIGMA + "-1$"),
    "infinite noise": (lambda: clip(noise_multiplier=np.inf), SIGMA + "inf$"),
    "noise without a key": (
        lambda: clip(noise_multiplier=1.0),
        r"clipped_grads: expected a key for the noise, got None: pass .*",
    ),
    "no key": (lambda: clip(key=0), r"clipped_grads: expected a key, got 0: make one .*"),
    "a median": (lambda: clip(reduction="median"), r"clipped_grads: expected reduction 'mean' .*"),
    "layers": (lambda: clip(per_layer=2), r"clipped_grads: expected per_layer to be True .* got 2"),
    "a layer of one's own": (
        lambda: bp.per_example_norms(SCALED, (), X, X),
        r"per_example_norms: expected layers with a per-example form \(dense, .*\), got scale of "
        r"\(s, x\): use jax\.vmap of its gradient",
    ),
    "no network": (
        lambda: bp.importance_scores(bp.tanh, PARAMS, X, Y),
        r"importance_scores: expected a network, got Rule\(tanh\): make one with mlp\(\)",
    ),
    "no loss": (
        lambda: bp.per_example_grads(bp.mlp((3, 2), loss=None), PARAMS, X, Y),
        r"per_example_grads: expected a network with a loss, got none: .*",
    ),
    "labels out of range": (
        lambda: bp.per_example_norms(NETWORK, PARAMS, X, Y + 2),
        r"softmax_cross_entropy_with_integer_labels: expected labels in 0\.\.1, got 2: .*",
    ),
    "parameters that are not finite": (
        lambda: bp.per_example_norms(NETWORK, jax.tree.map(lambda p: p / 0, PARAMS), X, Y),
        r"per_example_norms: expected finite params, got NaN or infinity in params\[0\]\.w: .*",
    ),
    "one example": (
        lambda: bp.gradient_noise_scale(NETWORK, PARAMS, X[:1], Y[:1]),
        r"gradient_noise_scale: expected at least two examples, got 1: one has no variance",
    ),
    "a slope for each example": (
        lambda: bp.per_example_norms(
            bp.Network(bp.chain(bp.prelu), bp.squared_error, (3,), None), (X,), X, X
        ),
        r"per_example: expected the parameter of prelu to be one a layer \(\) or a channel "
        r"\(3,\), got shape \(5, 3\)",
    ),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_told_in_one_line_before_compiling(mistake, caplog):
    call, expected = MISTAKES[mistake]
    assert_refused(call, expected, caplog, before="norms|grads|clipped|scale|dot|exp")


def test_a_bound_and_noise_may_be_scheduled_without_compiling_again(compilations):
    key = jax.random.key(0)
    first = clip(2.0, noise_multiplier=2.0, key=key)
    before = compilations()
    for bound, sigma in ((1.0, 0.5), (2, 1), (jnp.float32(3.0), np.float32(1))):
        clip(bound, noise_multiplier=sigma, key=key)
    assert compilations() == before
    step = jax.jit(lambda c: clip(c, noise_multiplier=c, key=key))
    assert_trees_close(step(2.0), first, 5)
