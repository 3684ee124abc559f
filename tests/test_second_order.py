"""Hessians by hand against jax.jvp(jax.grad) and jax.hessian of the textbook definitions."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.flatten_util import ravel_pytree

import manualbp as bp
import reference
from manualbp._r_operator import DIAGONAL, FORMS, SOFTMAX
from tests.runs import assert_refused, costs
from tests.test_networks import (
    BATCH,
    CASES,
    assert_trees_close,
    batch,
    build,
    definition_of,
    parameters,
    slopes_a_channel,
    textbook,
)

# Neither softmax nor log-softmax is an output unit here: scores go to a loss of logits
SUPPORTED = [n for n in CASES if n not in ("rectifiers", "log-softmax")]
DIGITS = {np.float64: 11, np.float32: 4}
cases = pytest.mark.parametrize(
    ("name", "dtype"),
    [
        *((name, np.float64) for name in SUPPORTED),
        ("rectified scores", np.float32),
    ],
)


def truth(name, params):
    """The network's output and its losses, as functions of the parameters in one vector."""
    _, activations, output, loss, layer = CASES[name]
    rules = [r for activation in (*activations, output) for r in (layer, activation)]
    network = reference.network(*map(definition_of, rules))
    plain = tuple(None if isinstance(p, tuple) and not p else p for p in params)
    flat, unravel = ravel_pytree(plain)

    def scores(p, x):
        return network(unravel(p), x)

    def losses(p, x, y):
        return jnp.sum(textbook(name)(unravel(p), x, y))

    def loss_of(z, y):
        return jnp.sum(definition_of(loss)(z, y))

    return flat, scores, losses, loss_of


@functools.cache
def matrices_of(name):
    """Those of the case's own parameters and batch, compiled once."""
    return matrices(name, parameters(build(name)), *batch(name))


def matrices(name, params, x, y):
    """The Hessian and the Gauss-Newton matrix of the sum of losses."""
    flat, scores, losses, loss_of = truth(name, params)

    @jax.jit
    def both(p):
        h = jax.hessian(losses)(p, x, y)
        j = jax.jacobian(scores)(p, x)
        curvature = jax.vmap(jax.hessian(loss_of))(scores(p, x), y)
        return h, jnp.einsum("nkp,nkl,nlq->pq", j, curvature, j)

    return both(flat)


def like(params, vector):
    """A vector as a tree of params."""
    return ravel_pytree(params)[1](jnp.asarray(vector, ravel_pytree(params)[0].dtype))


def direction(params, seed=3):
    rng = np.random.default_rng(seed)
    return jax.tree.map(lambda p: rng.normal(size=p.shape).astype(p.dtype), params)


@cases
def test_products_and_diagonals_are_those_of_the_full_matrices(name, dtype):
    network = build(name)
    with jax.enable_x64(True):
        params = parameters(network)
        v = direction(params)
        h, g = matrices_of(name)
        flat = ravel_pytree(v)[0]
        wanted = [like(params, a) for a in (h @ flat, g @ flat, jnp.diag(h), jnp.diag(g))]
        own, own_v = parameters(network, dtype), jax.tree.map(lambda a: a.astype(dtype), v)
        x, y = batch(name, dtype)

        def all_of_them(p, v, x, y):  # compiled once
            return [
                bp.hessian_vector_product(network, p, x, y, v, reduction="sum"),
                bp.gauss_newton_vector_product(network, p, x, y, v, reduction="sum"),
                bp.hessian_diagonal(network, p, x, y, reduction="sum"),
                bp.gauss_newton_diagonal(network, p, x, y, reduction="sum"),
            ]

        found = jax.jit(all_of_them)(own, own_v, x, y)
        assert {a.dtype for a in jax.tree.leaves(found)} == {np.dtype(dtype)}
        assert_trees_close(found, wanted, DIGITS[dtype])


def test_the_mean_is_the_sum_over_the_examples_number():
    name = "sigmoids"
    network = build(name)
    with jax.enable_x64(True):
        params, (x, y) = parameters(network), batch(name)
        v = direction(params)
        for f, more in (
            (bp.hessian_vector_product, (v,)),
            (bp.gauss_newton_vector_product, (v,)),
            (bp.hessian_diagonal, ()),
            (bp.gauss_newton_diagonal, ()),
        ):
            mean = f(network, params, x, y, *more)
            total = f(network, params, x, y, *more, reduction="sum")
            assert_trees_close(jax.tree.map(lambda a: BATCH * a, mean), total, 13)


@pytest.mark.parametrize("name", ["sigmoids", "learned activations"])
def test_products_under_vmap_are_symmetric_matrices(name):
    """By unit vectors, mapped over: <u, Hv> = <v, Hu>, and no eigenvalue of G is negative."""
    network = build(name)
    with jax.enable_x64(True):
        params, (x, y) = parameters(network), batch(name)
        flat, unravel = ravel_pytree(params)
        units = jax.vmap(unravel)(jnp.eye(flat.size))
        wanted = matrices_of(name)
        functions = bp.hessian_vector_product, bp.gauss_newton_vector_product
        for f, matrix in zip(functions, wanted, strict=True):
            columns = jax.jit(
                jax.vmap(lambda v, f=f: f(network, params, x, y, v, reduction="sum"))
            )(units)
            found = np.asarray(jax.vmap(lambda c: ravel_pytree(c)[0])(columns))
            size = np.abs(found).max()
            np.testing.assert_allclose(found, found.T, atol=1e-13 * size)
            np.testing.assert_allclose(found, matrix, atol=1e-11 * size)
        assert np.linalg.eigvalsh((found + found.T) / 2).min() > -1e-13 * size


def test_a_slope_for_each_channel_and_chains_within_chains():
    name = "learned activations"
    network = build(name)
    with jax.enable_x64(True):
        params, (x, y) = slopes_a_channel(network), batch(name)
        h, g = matrices(name, params, x, y)
        options = {"reduction": "sum"}
        assert_trees_close(
            [
                bp.hessian_diagonal(network, params, x, y, **options),
                bp.gauss_newton_diagonal(network, params, x, y, **options),
            ],
            [like(params, jnp.diag(h)), like(params, jnp.diag(g))],
            11,
        )
        # the same rules, nested
        rules = network.rule.parts
        nested = bp.Network(
            bp.chain(bp.chain(*rules[:2]), bp.chain(bp.chain(bp.identity)), bp.chain(*rules[2:])),
            network.loss, network.widths, network.start,
        )  # fmt: skip
        inside = (params[:2], (), params[2:])
        v = direction(params)
        wanted = like(params, h @ ravel_pytree(v)[0])
        found = bp.hessian_vector_product(nested, inside, x, y, (v[:2], (), v[2:]), **options)
        assert jax.tree.structure(found) == jax.tree.structure(inside)
        assert_trees_close((*found[0], *found[2]), wanted, 11)
        factors = bp.kronecker_factors(nested, inside, x, y)
        plain = bp.kronecker_factors(network, params, x, y)
        assert_trees_close((*factors[0], *factors[2]), plain, 13)


def test_rules_before_the_first_layer():
    network = bp.Network(
        bp.chain(bp.tanh, bp.dense, bp.sigmoid), bp.binary_cross_entropy, (3, 2), None
    )
    rng = np.random.default_rng(0)
    with jax.enable_x64(True):
        params = ((), bp.Dense(rng.normal(size=(3, 2)), rng.normal(size=2)), ())
        x, y = rng.normal(size=(4, 3)), rng.integers(0, 9, (4, 2)) / 8
        one = bp.Network(bp.chain(bp.dense, bp.sigmoid), network.loss, (3, 2), None)
        v = direction(params)
        for f in (bp.hessian_vector_product, bp.gauss_newton_vector_product):
            found = f(network, params, x, y, v)
            assert_trees_close(found[1:], f(one, params[1:], np.tanh(x), y, v[1:]), 13)
            assert found[0] == ()
        for f in (bp.hessian_diagonal, bp.gauss_newton_diagonal, bp.kronecker_factors):
            found = f(network, params, x, y)
            assert_trees_close(found[1:], f(one, params[1:], np.tanh(x), y), 13)


def test_randomized_slopes_are_those_of_the_key():
    name, key = "randomized", jax.random.key(3)
    network = build(name)
    with jax.enable_x64(True):
        params, (x, y) = parameters(network), batch(name)
        v = direction(params)
        drawn = network._with_draws(params, key)

        def losses(p):
            p = tuple(k if i in network.randomized else own
                      for i, (own, k) in enumerate(zip(p, drawn, strict=True)))  # fmt: skip
            return jnp.mean(textbook(name)(p, x, y))

        wanted = jax.jvp(jax.grad(losses), (params,), (v,))[1]
        found = bp.hessian_vector_product(network, params, x, y, v, key)
        assert_trees_close(found, wanted, 12)
        unit = jax.tree.map(jnp.zeros_like, params)
        first = unit[0]._replace(w=unit[0].w.at[1, 2].set(1.0))
        h = bp.hessian_vector_product(network, params, x, y, (first, *unit[1:]), key)
        diagonal = bp.hessian_diagonal(network, params, x, y, key)
        np.testing.assert_allclose(diagonal[0].w[1, 2], h[0].w[1, 2], rtol=1e-12)


@pytest.mark.parametrize("activation", [bp.sigmoid, bp.tanh])
def test_lean_memory_gives_the_same(activation):
    fast, lean = (bp.mlp((4, 6, 5, 3), activation=activation, memory=m) for m in ("fast", "lean"))
    with jax.enable_x64(True):
        params, (x, y) = parameters(fast), batch("no hidden layer")
        v = direction(params)
        for f, more in ((bp.hessian_vector_product, (v,)), (bp.hessian_diagonal, ())):
            a, b = (f(network, params, x, y, *more) for network in (fast, lean))
            assert_trees_close(a, b, 12)


# Second derivatives alone

SECOND = [r for r in bp.RULES if r.second is not None] + [bp.elu(2.0), bp.swish(-0.5)]


@pytest.mark.parametrize("rule", SECOND, ids=lambda r: r.name)
def test_second_derivatives_are_those_of_the_definitions(rule):
    z = np.array([-30.0, -3.0, -0.7, -1e-3, 1e-3, 0.4, 2.4, 5.0, 30.0])
    with jax.enable_x64(True):
        definition = definition_of(rule)
        if rule.name.startswith("randomized"):
            one, fwd = (lambda z: definition(None, z)), (lambda z: rule.fwd(None, z))
        else:
            one, fwd = definition, rule.fwd
        wanted = jax.vmap(jax.grad(jax.grad(one)))(jnp.asarray(z))
        found = rule.second(fwd(jnp.asarray(z))[1]) if rule.second != 0 else np.zeros_like(z)
        np.testing.assert_allclose(found, wanted, rtol=1e-9, atol=1e-14)


@pytest.mark.optimized
@pytest.mark.parametrize("rule", [r for r in SECOND if r.second], ids=lambda r: r.name)
def test_second_derivatives_keep_their_tails_in_float32(rule):
    """To 1e-5 of float64's, and finite at both ends."""
    z = np.array([-60.0, -25.0, -9.0, 9.0, 25.0, 60.0])
    found = rule.second(rule.fwd(jnp.asarray(z, jnp.float32))[1])
    with jax.enable_x64(True):
        wanted = rule.second(rule.fwd(jnp.asarray(z))[1])
    np.testing.assert_allclose(found, wanted, rtol=3e-5, atol=1e-37)
    ends = rule.second(rule.fwd(jnp.array([-jnp.inf, -3e38, 3e38, jnp.inf]))[1])
    np.testing.assert_array_equal(ends, 0)


def test_every_elementwise_rule_has_a_second_derivative():
    lacking = {r.name for r in bp.RULES if r.second is None} - {r.name for r in FORMS}
    losses = {r.name for r in bp.losses.RULES}
    assert lacking - losses == {"softmax", "log_softmax", "logsumexp"}
    assert losses - {r.name for r in (*DIAGONAL, *SOFTMAX)} == {
        "gaussian_nll",  # of three arguments
        "cross_entropy",
        "negative_log_likelihood",
    }


@pytest.mark.parametrize("activation", [bp.relu, bp.leaky_relu(), bp.absolute, bp.elu(2.0)])
def test_at_a_kink_both_derivatives_are_of_one_side(activation):
    """All hidden units at 0: H is that of the line (or the exponential) which f' belongs to."""
    z = jnp.zeros(1)
    _, saved = activation.fwd(z)
    slope = float(activation.bwd(saved, jnp.ones(1))[0][0])
    bend = 0.0 if activation.second == 0 else float(activation.second(saved)[0])
    network = bp.mlp((2, 3, 2), activation=activation)
    with jax.enable_x64(True):
        params = parameters(network)
        params = (params[0]._replace(b=np.zeros(3)), *params[1:])
        x, labels = np.zeros((4, 2)), np.arange(4) % 2

        def plain(p):
            h = x @ p[0].w + p[0].b
            out = (slope * h + bend / 2 * h * h) @ p[2].w + p[2].b
            return jnp.mean(reference.softmax_cross_entropy_with_integer_labels(out, labels))

        v = direction(params)
        wanted = jax.jvp(jax.grad(plain), (params,), (v,))[1]
        found = bp.hessian_vector_product(network, params, x, labels, v)
        assert_trees_close(found, wanted, 12)


@pytest.mark.optimized
def test_a_sure_example_keeps_its_curvature_in_float32():
    """p (1 - p) at p = 1 - e^-30, which 1 - p in float32 has lost."""
    network = bp.mlp((1, 2), layer=bp.dense_without_bias)
    params = (jnp.array([[30.0, 0.0]]), ())
    x, y = jnp.ones((1, 1)), jnp.zeros(1, jnp.int32)
    wanted = np.exp(-30) / (1 + np.exp(-30)) ** 2
    for f in (bp.hessian_diagonal, bp.gauss_newton_diagonal):
        np.testing.assert_allclose(f(network, params, x, y)[0], [[wanted] * 2], rtol=1e-5)
    v = (jnp.array([[1.0, 0.0]]), ())
    for f in (bp.hessian_vector_product, bp.gauss_newton_vector_product):
        found = f(network, params, x, y, v)[0]
        np.testing.assert_allclose(found, [[wanted, -wanted]], rtol=1e-5)


def test_a_label_without_a_class_is_nan_under_jit():
    network = bp.mlp((2, 3), activation=bp.tanh)
    params = parameters(network, np.float32)
    x, y = jnp.ones((2, 2)), jnp.array([0, 3])
    found = jax.jit(lambda y: bp.hessian_vector_product(network, params, x, y, params))(y)
    assert np.isnan(found[0].w).all()


@pytest.mark.parametrize("dtype", [jnp.float16, jnp.bfloat16])
def test_half_precision(dtype):
    network = bp.mlp((3, 4, 2), activation=bp.learnable_swish)
    params, half = (parameters(network, d) for d in (np.float32, dtype))
    params = jax.tree.map(lambda p: p.astype(np.float32), half)
    x, y = np.linspace(-1, 1, 12, dtype=np.float32).reshape(4, 3).astype(dtype), np.arange(4) % 2
    own = x.astype(np.float32)
    found = bp.hessian_vector_product(network, half, x, y, half)
    wanted = bp.hessian_vector_product(network, params, own, y, params)
    assert {a.dtype for a in jax.tree.leaves(found)} == {jnp.dtype(dtype)}
    for a, b in zip(jax.tree.leaves(found), jax.tree.leaves(wanted), strict=True):
        size = float(jnp.abs(b).max())
        np.testing.assert_allclose(a.astype(np.float32), b, atol=0.05 * size)
    for f in (bp.hessian_diagonal, bp.gauss_newton_diagonal, bp.kronecker_factors):
        found = f(network, half, x, y)
        assert {a.dtype for a in jax.tree.leaves(found)} == {jnp.dtype(jnp.float32)}


# Kronecker factors


@pytest.mark.parametrize("name", ["sigmoids", "rectified scores", "regression", "many labels"])
def test_factors_of_one_example_make_its_gauss_newton_blocks(name):
    network = build(name)
    with jax.enable_x64(True):
        params, (x, y) = parameters(network), batch(name)
        x, y = x[:1], y[:1]
        g = np.asarray(matrices(name, params, x, y)[1])
        factors = bp.kronecker_factors(network, params, x, y)
        start = 0
        for own, of_layer in zip(params, factors, strict=True):
            if not jax.tree.leaves(own):
                assert of_layer == ()
                continue
            size = sum(p.size for p in jax.tree.leaves(own))  # rows of [w; b], one after another
            block = g[start : start + size, start : start + size]
            found = np.kron(of_layer.A, of_layer.G)
            np.testing.assert_allclose(found, block, atol=1e-12 * np.abs(block).max())
            start += size


def test_factors_are_means_of_outer_products():
    name = "sigmoids"
    network = build(name)
    with jax.enable_x64(True):
        params, (x, y) = parameters(network), batch(name)
        one = [bp.kronecker_factors(network, params, x[i : i + 1], y[i : i + 1])
               for i in range(BATCH)]  # fmt: skip
        mean = jax.tree.map(lambda *a: sum(a) / BATCH, *one)
        assert_trees_close(bp.kronecker_factors(network, params, x, y), mean, 13)
        empirical = bp.kronecker_factors(network, params, x, y, fisher="empirical")
        each = bp.per_example_grads(network, params, x, y)
        for own, f in zip(each, empirical, strict=True):
            if f != ():
                np.testing.assert_allclose(f.G, own.b.T @ own.b / BATCH, rtol=1e-11, atol=1e-15)
        assert_trees_close([f.A for f in empirical if f], [f.A for f in mean if f], 13)


@pytest.mark.parametrize("loss", [bp.squared_error, bp.multilabel_binary_cross_entropy, None])
def test_sampled_factors_are_the_exact_ones_on_average(loss):
    options = {} if loss is None else {"loss": loss}
    network = bp.mlp((3, 4, 3), activation=bp.tanh, **options)
    with jax.enable_x64(True):
        params = parameters(network)
        x = np.random.default_rng(0).normal(size=(6, 3))
        y = np.arange(6) % 3 if loss is None else np.eye(3)[np.arange(6) % 3]
        exact = bp.kronecker_factors(network, params, x, y)
        keys = jax.random.split(jax.random.key(0), 4000)
        draw = lambda k: bp.kronecker_factors(network, params, x, y, k, fisher="sampled")  # noqa: E731
        found = jax.jit(jax.vmap(draw))(keys)
        for f, e in zip(found, exact, strict=True):
            if e != ():
                error = np.asarray(f.G).std(axis=0) / np.sqrt(len(keys))
                assert np.all(np.abs(np.mean(f.G, axis=0) - e.G) <= 5 * error + 1e-12)
                assert np.asarray(f.G).std() > 0


# Cost: exact, as XLA counts it

PLAIN = {"tanh": jnp.tanh, "relu": jax.nn.relu, "softplus": jax.nn.softplus}


def plain_loss(activation):
    def scores(params, x):
        for i in range(0, len(params), 2):
            x = x @ params[i].w + params[i].b
            x = activation(x) if i < len(params) - 2 else x
        return x

    def mean(z, y):
        return -jnp.mean(jnp.take_along_axis(jax.nn.log_softmax(z), y[:, None], axis=1))

    return scores, mean


def by_autodiff(activation):
    """Hv and GGNv of the plain network."""
    scores, mean = plain_loss(activation)

    def hessian(p, x, y, v):
        return jax.jvp(jax.grad(lambda p: mean(scores(p, x), y)), (p,), (v,))[1]

    def gauss_newton(p, x, y, v):
        z, pull = jax.vjp(lambda p: scores(p, x), p)
        _, jv = jax.jvp(lambda p: scores(p, x), (p,), (v,))
        return pull(jax.jvp(jax.grad(lambda z: mean(z, y)), (z,), (jv,))[1])[0]

    return hessian, gauss_newton


def shapes(widths, examples, activation):
    network = bp.mlp(widths, activation=getattr(bp, activation))
    params = jax.eval_shape(lambda: network.init(jax.random.key(0)))
    x = jax.ShapeDtypeStruct((examples, widths[0]), jnp.float32)
    return network, params, x, jax.ShapeDtypeStruct((examples,), jnp.int32)


SIZES = [((784, 256, 128, 10), 128), ((784, 1024, 1024, 10), 512)]
# The inputs of tanh are kept beside its outputs, which is what its tails cost
MORE = {("tanh", 128): 1.34}


@pytest.mark.optimized
@pytest.mark.parametrize(("widths", "examples"), SIZES)
@pytest.mark.parametrize("activation", PLAIN)
def test_products_take_no_more_than_autodiff(activation, widths, examples):
    network, params, x, y = shapes(widths, examples, activation)
    ours = bp.hessian_vector_product, bp.gauss_newton_vector_product
    limits = 1, MORE.get((activation, examples), 1.001)
    for f, plain, limit in zip(ours, by_autodiff(PLAIN[activation]), limits, strict=True):
        memory, flops = costs(
            lambda p, x, y, v, f=f: f(network, p, x, y, v, check=False), params, x, y, params
        )
        most, plain_flops = costs(plain, params, x, y, params)
        assert memory <= limit * most, f.__name__
        assert flops <= 1.01 * plain_flops, f.__name__


@pytest.mark.optimized
def test_diagonals_and_factors_hold_no_array_of_batch_times_parameters():
    network, params, x, y = shapes((64, 128, 128, 10), 512, "tanh")
    size = 4 * sum(p.size for p in jax.tree.leaves(params))
    functions = bp.gauss_newton_diagonal, bp.kronecker_factors, bp.hessian_diagonal
    for f in functions:
        memory, _ = costs(lambda *a, f=f: f(network, *a, check=False), params, x, y)
        assert memory < 512 * size / 8, f.__name__


# Misuse

NETWORK = bp.mlp((3, 4, 2), activation=bp.tanh)
X, Y = np.ones((5, 3), np.float32), np.zeros(5, np.int32)
PARAMS = parameters(NETWORK, np.float32)
HV = "hessian_vector_product: expected "


def product(v=PARAMS, network=NETWORK, p=PARAMS, y=Y, **options):
    return bp.hessian_vector_product(network, p, X, y, v, **options)


def of(**options):
    network = bp.mlp((3, 4, 2), **options)
    return network, parameters(network, np.float32)


def with_w(w):
    return (PARAMS[0]._replace(w=w), *PARAMS[1:])


SOFTMAX_OUTPUT, ITS = of(output=bp.softmax, loss=bp.cross_entropy)
UNBIASED, _ = of(layer=bp.dense_without_bias)
PRELU, SLOPES = of(activation=bp.prelu)
OWN = bp.elementwise("square", lambda z: z * z, lambda z: 2 * z, tex="", source="")
REMEDY = r": make v of params, as with jax\.tree\.map\(jnp\.ones_like, params\)$"
MISTAKES = {
    "a softmax within": (
        lambda: product(network=SOFTMAX_OUTPUT, p=ITS, v=ITS),
        HV + r"rules whose second derivative is known \(dense, .*\), got softmax of \(z\): leave "
        "softmax to a loss of logits$",
    ),
    "a rule of one's own": (
        lambda: product(network=bp.mlp((3, 4, 2), activation=OWN)),
        HV
        + r"rules whose second derivative .*, or elementwise with second=\.\.\.\), got square .*",
    ),
    "a loss of probabilities": (
        lambda: product(network=bp.mlp((3, 2), loss=bp.cross_entropy)),
        HV + r"a loss whose Hessian is known \(squared_error, .*\), got cross_entropy of .*",
    ),
    "no loss": (
        lambda: bp.hessian_diagonal(bp.mlp((3, 2), loss=None), PARAMS, X, Y),
        r"hessian_diagonal: expected a network with a loss, got none: .*",
    ),
    "no network": (
        lambda: bp.gauss_newton_diagonal(bp.tanh, PARAMS, X, Y),
        r"gauss_newton_diagonal: expected a network, got Rule\(tanh\): make one with mlp\(\)$",
    ),
    "v of another tree": (
        lambda: product(parameters(UNBIASED, np.float32)),
        HV + r"v of the tree of params, got PyTreeDef.*" + REMEDY,
    ),
    "v of another shape": (
        lambda: product(with_w(np.ones((4, 3), np.float32))),
        HV + r"v\[0\]\.w of shape \(3, 4\) and dtype float32, got \(4, 3\) and float32" + REMEDY,
    ),
    "v of another dtype": (
        lambda: product(with_w(jnp.ones((3, 4), jnp.float16))),
        HV + r"v\[0\]\.w of .* and dtype float32, got \(3, 4\) and float16" + REMEDY,
    ),
    "v that is not finite": (
        lambda: product(with_w(np.full((3, 4), np.inf, np.float32))),
        HV + r"finite v, got NaN or infinity in v\[0\]\.w: give a finite direction$",
    ),
    "parameters that are not finite": (
        lambda: product(p=jax.tree.map(lambda a: a * np.float32(np.nan), PARAMS)),
        HV + r"finite params, got NaN or infinity in params\[0\]\.w: .*",
    ),
    "labels out of range": (
        lambda: product(y=Y + 2),
        r"softmax_cross_entropy_with_integer_labels: expected labels in 0\.\.1, got 2: .*",
    ),
    "a median": (
        lambda: product(reduction="median"),
        HV + r"reduction 'mean' or 'sum', got 'median'",
    ),
    "no key": (lambda: product(key=0), HV + r"a key, got 0: make one .*"),
    "another Fisher": (
        lambda: bp.kronecker_factors(NETWORK, PARAMS, X, Y, fisher="true"),
        r"kronecker_factors: expected fisher 'exact', 'sampled' or 'empirical', got 'true'$",
    ),
    "samples without a key": (
        lambda: bp.kronecker_factors(NETWORK, PARAMS, X, Y, fisher="sampled"),
        r"kronecker_factors: expected a key for fisher='sampled', got None: pass .*",
    ),
    "a slope for each example": (
        lambda: bp.hessian_diagonal(
            PRELU, (SLOPES[0], np.ones((5, 4), np.float32), *SLOPES[2:]), X, Y
        ),
        r"hessian_diagonal: expected the parameter of prelu to be one a layer \(\) or one a "
        r"channel, got shape \(5, 4\)$",
    ),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_told_in_one_line_before_compiling(mistake, caplog):
    call, expected = MISTAKES[mistake]
    assert_refused(call, expected, caplog, before="product|diagonal|factors|dot")
