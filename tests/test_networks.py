"""Whole networks against autodiff of their textbook definitions, and one weight at a time."""

import ast
import dataclasses
import itertools
import math
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import manualbp as bp
import reference
from manualbp import Dense
from manualbp.verify import Spec, check
from reference import scalar_backprop
from tests.runs import costs

BATCH = 5


def network_cases():
    dense, unbiased, augmented = bp.dense, bp.dense_without_bias, bp.dense_augmented
    one = (bp.tanh,)
    # widths, activations, output, loss, layer
    return {
        "no hidden layer": ((4, 3), (), bp.identity, CLASSES, dense),
        "sigmoids": (
            (4, 5, 4, 3, 4, 5, 3),
            (bp.sigmoid, bp.tanh, bp.softplus, bp.silu, bp.swish(0.5)),
            bp.identity,
            bp.softmax_cross_entropy,
            dense,
        ),
        "rectifiers": (
            (4, 5, 4, 6, 5, 4, 3),
            (bp.relu, bp.leaky_relu(), bp.absolute, bp.elu(), bp.elu(2.0)),
            bp.softmax,
            bp.cross_entropy,
            augmented,
        ),
        "rectified scores": (
            (4, 5, 4, 6, 5, 4, 3),
            (bp.relu, bp.leaky_relu(), bp.absolute, bp.elu(), bp.elu(2.0)),
            bp.identity,
            CLASSES,
            augmented,
        ),
        "learned activations": (
            (4, 6, 5, 4, 2),
            (bp.prelu, bp.generalized_relu, bp.learnable_swish),
            bp.identity,
            bp.half_squared_error,
            unbiased,
        ),
        "steps": ((4, 5, 5, 3), (bp.binary_step, bp.heaviside), bp.identity, CLASSES, dense),
        "randomized": (
            (4, 6, 5, 3),
            (bp.randomized_relu(), bp.randomized_relu(0.25, 0.5)),
            bp.identity,
            CLASSES,
            dense,
        ),
        "log-softmax": ((4, 5, 3), one, bp.log_softmax, bp.negative_log_likelihood, unbiased),
        "sigmoid output": ((4, 5, 3), one, bp.sigmoid, bp.binary_cross_entropy, augmented),
        "many labels": ((4, 5, 3), one, bp.identity, bp.multilabel_binary_cross_entropy, dense),
        "logits": ((4, 5, 2), one, bp.identity, bp.sigmoid_binary_cross_entropy, dense),
        "logistic": ((4, 5, 1), one, bp.identity, bp.logistic_loss, dense),
        "regression": ((4, 5, 3), one, bp.identity, bp.squared_error, dense),
        "bounded regression": ((4, 5, 3), one, bp.tanh, bp.mean_squared_error, dense),
    }


CLASSES = bp.softmax_cross_entropy_with_integer_labels
CASES = network_cases()
# Whose activations and losses are all of them
IN_FLOAT32 = ("sigmoids", "rectifiers", "learned activations", "sigmoid output", "logistic")
names = pytest.mark.parametrize("name", CASES)


def build(name, **options):
    widths, activations, output, loss, layer = CASES[name]
    return bp.mlp(widths, activation=activations, output=output, loss=loss, layer=layer, **options)


def definition_of(rule):
    return eval(rule.name, {}, vars(reference))


def textbook(name):
    """The same network and loss, from textbook definitions: a loss an example."""
    _, activations, output, loss, layer = CASES[name]
    rules = [r for activation in (*activations, output) for r in (layer, activation)]
    return reference.network(*map(definition_of, rules), loss=definition_of(loss))


def batch(name, dtype=np.float64):
    """Inputs, and targets as the loss wants them."""
    widths, _, _, loss, _ = CASES[name]
    rng = np.random.default_rng(len(name))
    x, outputs = rng.normal(size=(BATCH, widths[0])), widths[-1]
    if loss in (CLASSES, bp.negative_log_likelihood):
        return x.astype(dtype), rng.integers(0, outputs, BATCH)
    if "square" in loss.name:
        return x.astype(dtype), rng.normal(size=(BATCH, outputs)).astype(dtype)
    return x.astype(dtype), rng.integers(0, 9, (BATCH, outputs)).astype(dtype) / dtype(8)


def parameters(network, dtype=np.float64):
    """Weights of variance one, made without compiling an initialisation."""
    rng = np.random.default_rng(7)
    shapes = jax.eval_shape(lambda: network.init(jax.random.key(0), dtype))
    return jax.tree.map(lambda p: rng.normal(size=p.shape).astype(dtype), shapes)


def assert_trees_close(actual, expected, digits):
    """Equal to so many digits of the largest entry of each array."""
    assert jax.tree.structure(actual) == jax.tree.structure(expected)
    for (path, a), b in zip(
        jax.tree.leaves_with_path(actual), jax.tree.leaves(expected), strict=True
    ):
        a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
        size = np.max(np.abs(b), initial=0.0)
        tolerance = {"rtol": 10.0**-digits, "atol": size * 10.0**-digits}
        np.testing.assert_allclose(a, b, **tolerance, err_msg=jax.tree_util.keystr(path))


def autodiff(name, params, x, y, reduce=jnp.mean):
    """By jax.value_and_grad of the definition; reduce is over the examples."""

    def total(own, rest):
        loss = textbook(name)(
            jax.tree.map(lambda a, b: b if a is None else a, own, rest, is_leaf=none), x, y
        )
        return reduce(loss.reshape(BATCH, -1).sum(axis=1))

    none = lambda x: x is None  # noqa: E731
    floating = lambda x: jnp.issubdtype(x.dtype, jnp.floating)  # noqa: E731
    own = jax.tree.map(lambda x: x if floating(x) else None, params)
    rest = jax.tree.map(lambda x: None if floating(x) else x, params)
    return jax.jit(jax.value_and_grad(total))(own, rest)


# The whole network, by hand and by autodiff


@names
def test_loss_and_gradient_are_those_of_the_definition(name):
    network = build(name)
    with jax.enable_x64(True):
        x, y = batch(name)
        params = parameters(network)
        # the definition takes None in the place of the key of a randomised activation
        plain = tuple(None if i in network.randomized else p for i, p in enumerate(params))
        loss, grads = autodiff(name, plain, x, y)
        grads = tuple(() if i in network.randomized else g for i, g in enumerate(grads))
        found = network.loss_and_grad(params, x, y)
        assert_trees_close(found, (loss, grads), 12)
    assert jax.tree.map(jnp.shape, found[1]) == jax.tree.map(jnp.shape, params)
    if name in IN_FLOAT32:
        single = jax.tree.map(lambda p: p.astype(np.float32), params)
        found = network.loss_and_grad(single, *batch(name, np.float32))
        assert {g.dtype for g in jax.tree.leaves(found)} == {np.dtype(np.float32)}
        assert_trees_close(found, (loss, grads), 5)


@pytest.mark.parametrize("name", ["no hidden layer", "sigmoid output"])
def test_the_sum_over_examples_is_that_of_note_000(name):
    network = build(name)
    with jax.enable_x64(True):
        params, (x, y) = parameters(network), batch(name)
        found = network.loss_and_grad(params, x, y, reduction="sum")
        assert_trees_close(found, autodiff(name, params, x, y, jnp.sum), 12)
        mean = network.loss_and_grad(params, x, y)
        assert_trees_close(jax.tree.map(lambda g: BATCH * g, mean), found, 14)


def slopes_a_channel(network):
    """The parameters of "learned activations", one slope a channel in the place of one a layer."""
    params = list(parameters(network))
    for i, n in ((1, 6), (3, 5), (5, 4)):
        params[i] = jnp.linspace(0.5, 1.5, n) * params[i]
    return tuple(params)


def test_a_slope_for_each_channel():
    """A learned activation that starts with one value a channel learns one a channel."""
    name = "learned activations"
    network = build(name)
    with jax.enable_x64(True):
        params, (x, y) = slopes_a_channel(network), batch(name)
        found = network.loss_and_grad(params, x, y)
        assert_trees_close(found, autodiff(name, params, x, y), 12)


def test_randomized_slopes_are_drawn_from_the_key():
    name, (key, other_key) = "randomized", map(jax.random.key, (0, 1))
    network = build(name)
    with jax.enable_x64(True):
        params, (x, y) = parameters(network), batch(name)
        first, again, other = (
            network.loss_and_grad(params, x, y, k) for k in (key, key, other_key)
        )
        loss, grads = autodiff(name, network._with_draws(params, key), x, y)
        grads = tuple(() if i in network.randomized else g for i, g in enumerate(grads))
        assert_trees_close(first, (loss, grads), 12)
    for a, b in zip(jax.tree.leaves(first), jax.tree.leaves(again), strict=True):
        np.testing.assert_array_equal(a, b)
    assert float(first[0]) != float(other[0])


def test_a_prediction_with_a_key_is_that_of_training():
    network = build("randomized")
    x, _ = batch("randomized", np.float32)
    predict = jax.jit(network)
    first, again, other = (
        predict(parameters(network, np.float32), x, jax.random.key(i)) for i in (0, 0, 1)
    )
    np.testing.assert_array_equal(first, again)
    assert not np.allclose(first, other)


def test_lean_memory_keeps_the_outputs_alone_and_gives_the_same_gradient():
    widths, activations = (4, 6, 5, 3), (bp.sigmoid, bp.tanh)
    fast, lean = (bp.mlp(widths, activation=activations, memory=m) for m in ("fast", "lean"))
    with jax.enable_x64(True):
        params = parameters(fast)
        x, y = batch("no hidden layer")
        a, b = (network.loss_and_grad(params, x, y) for network in (fast, lean))
        assert_trees_close(a, b, 13)
    kept = [jax.eval_shape(n.rule.fwd, params, x)[1] for n in (fast, lean)]
    assert jax.tree.structure(kept[0]) == jax.tree.structure(kept[1])
    # what the outputs save: the next layer keeps each of them too
    residuals = [n.rule.fwd(params, x)[1] for n in (fast, lean)]
    for i, f in ((1, jax.nn.sigmoid), (3, jnp.tanh)):
        z, output = (jax.tree.leaves(saved[i])[0] for saved in residuals)
        np.testing.assert_allclose(output, f(z), rtol=1e-6)
        assert output is residuals[1][i + 1][1]


# Deep networks: blocks of layers that go forward once more

DEEP = [name for name in CASES if len(CASES[name][0]) > 5]


def deep(memory, hidden=8, width=64, activation=bp.relu):
    return bp.mlp((width,) * (hidden + 1) + (10,), activation=activation, memory=memory)


@pytest.mark.parametrize("name", DEEP)
def test_a_deep_lean_network_has_the_gradient_of_the_definition(name):
    lean = build(name, memory="lean")
    with jax.enable_x64(True):
        params, (x, y) = parameters(lean), batch(name)
        assert len(lean.rule.fwd(params, x)[1]) == 3  # blocks, two layers each
        assert_trees_close(lean.loss_and_grad(params, x, y), autodiff(name, params, x, y), 11)
        second = lambda network: jax.jit(  # noqa: E731
            jax.grad(lambda x: jnp.sum(jax.grad(lambda x: jnp.sum(network(params, x) ** 2))(x)))
        )(x)
        if name == "sigmoids":
            assert_trees_close(second(lean), second(build(name)), 11)


def test_deep_and_lean_draws_the_same_slopes_again():
    fast, lean = (deep(m, 5, 8, bp.randomized_relu()) for m in ("fast", "lean"))
    params, key = fast.init(jax.random.key(0)), jax.random.key(1)
    x, y = jax.random.normal(key, (20, 8)), jnp.arange(20) % 10
    wanted, found, none = (
        n.loss_and_grad(params, x, y, k) for n, k in ((fast, key), (lean, key), (lean, None))
    )
    assert_trees_close(found, wanted, 6)
    assert abs(float(none[0] - found[0])) > 1e-4


@pytest.mark.optimized
def test_deep_and_lean_gives_the_gradient_of_fast_to_the_bit():
    fast, lean = (deep(m, 6, 16) for m in ("fast", "lean"))
    params = fast.init(jax.random.key(0))
    x, y = jax.random.normal(jax.random.key(1), (32, 16)), jnp.arange(32) % 10
    a, b = (n.loss_and_grad(params, x, y) for n in (fast, lean))
    jax.tree.map(np.testing.assert_array_equal, a, b)
    # where no loss has a slope, neither has any parameter
    zero = lean.rule.bwd(lean.rule.fwd(params, x)[1], jnp.zeros((32, 10)))
    assert not any(np.any(g) for g in jax.tree.leaves(zero))


def memory_of_deep(memory, hidden, activation):
    """Compiled and not run; one array of a layer is 128 KB."""
    network, form = deep(memory, hidden, activation=activation), jax.ShapeDtypeStruct
    params = jax.eval_shape(lambda: network.init(jax.random.key(0)))
    x, y = form((512, 64), "f4"), form((512,), "i4")
    return costs(network.loss_and_grad, params, x, y)[0]


@pytest.mark.optimized
@pytest.mark.parametrize("activation", [bp.relu, bp.tanh])
def test_memory_of_deep_and_lean_grows_with_the_root_of_the_layers(activation):
    few, many, fast = (
        memory_of_deep(*of, activation) for of in (("lean", 8), ("lean", 32), ("fast", 32))
    )
    assert many <= 2.2 * few
    assert many <= 0.35 * fast


@pytest.mark.optimized
@pytest.mark.parametrize("activation", [bp.tanh, bp.sigmoid, bp.silu], ids=lambda rule: rule.name)
def test_deep_and_fast_keeps_one_array_a_layer(activation):
    """As relu does, of which the output is enough; the digits of both tails cost no second one."""
    ours, least = (memory_of_deep("fast", 32, rule) for rule in (activation, bp.relu))
    assert ours <= 1.1 * least
    network = deep("fast", 5, 16, activation)
    params = network.init(jax.random.key(0))
    x, y = jax.random.normal(jax.random.key(1), (32, 16)), jnp.arange(32) % 10
    kept = dataclasses.replace(network, rule=bp.chain(*network.rule.parts))
    found, wanted = (n.loss_and_grad(params, x, y) for n in (network, kept))
    assert_trees_close(found, wanted, 6)


# Each with its function in JAX, and how many times autodiff's operations a small step may have:
# the digits that autodiff loses cost some for each unit and each logit, which only there count
OPERATIONS = {
    bp.tanh: (jnp.tanh, 1.06),
    bp.relu: (jax.nn.relu, 1.03),
    bp.softplus: (jax.nn.softplus, 1.0),
    bp.silu: (jax.nn.silu, 1.11),
}


@pytest.mark.optimized
@pytest.mark.parametrize("widths", [(64, 32, 16, 3), (784, 256, 128, 10)], ids=str)
@pytest.mark.parametrize("activation", OPERATIONS, ids=lambda rule: rule.name)
def test_a_step_has_hardly_more_operations_than_by_autodiff(activation, widths):
    """Compiled and not run, as XLA counts them (exponentials apart)."""
    network = bp.mlp(widths, activation=activation)
    function, bound = OPERATIONS[activation]
    bound = bound if widths[0] == 64 else 1.02

    def plain(params, x, y):
        *hidden, last = params[::2]
        for layer in hidden:
            x = function(x @ layer.w + layer.b)
        log_p = jax.nn.log_softmax(x @ last.w + last.b)
        return -jnp.mean(jnp.take_along_axis(log_p, y[:, None], axis=1))

    params = jax.eval_shape(lambda: network.init(jax.random.key(0)))
    form = jax.ShapeDtypeStruct
    args = params, form((32, widths[0]), "f4"), form((32,), "i4")
    by_hand, by_autodiff = (
        costs(step, *args)[1] for step in (network.loss_and_grad, jax.value_and_grad(plain))
    )
    assert by_hand <= bound * by_autodiff


def test_the_judge_passes_a_checkpointed_chain():
    block = bp.checkpointed(bp.chain(bp.dense, bp.tanh, bp.dense_without_bias))
    args = (Dense(Spec((2, 2)), Spec((2,))), (), Spec((2, 2))), Spec((3, 2))
    definition = reference.network(reference.dense, reference.tanh, reference.dense_without_bias)
    report = check(block, *args, definition=definition)
    assert report.verdict == "PASS", report
    message = "checkpointed: expected a rule, got 3: pass a rule such as manualbp.dense, "
    with pytest.raises(TypeError, match=message):
        bp.checkpointed(3)


def test_the_three_layers_are_one_function():
    """[W b] with the dummy feature 1 is W with b; without a bias, b = 0."""
    widths, activation = (4, 6, 3), bp.tanh
    plain, augmented, unbiased = (
        bp.mlp(widths, activation=activation, layer=layer)
        for layer in (bp.dense, bp.dense_augmented, bp.dense_without_bias)
    )
    with jax.enable_x64(True):
        x, y = batch("no hidden layer")
        params = parameters(plain)

        def stack(p):
            return jnp.concatenate([p.w, p.b[None]]) if isinstance(p, bp.Dense) else p

        loss, grads = plain.loss_and_grad(params, x, y)
        assert_trees_close(
            augmented.loss_and_grad(tuple(map(stack, params)), x, y),
            (loss, tuple(map(stack, grads))),
            13,
        )
        without = tuple(p.w if isinstance(p, bp.Dense) else p for p in params)
        zeroed = tuple(
            p._replace(b=jnp.zeros_like(p.b)) if isinstance(p, bp.Dense) else p for p in params
        )
        loss, grads = plain.loss_and_grad(zeroed, x, y)
        expected = tuple(g.w if isinstance(g, bp.Dense) else g for g in grads)
        assert_trees_close(unbiased.loss_and_grad(without, x, y), (loss, expected), 13)


# Note 002: one weight at a time

UNITS = {
    bp.sigmoid: (
        lambda z: 1 / (1 + math.exp(-z)),
        lambda z: math.exp(-z) / (1 + math.exp(-z)) ** 2,
    ),
    bp.tanh: (math.tanh, lambda z: 1 / math.cosh(z) ** 2),
    bp.relu: (lambda z: max(0.0, z), lambda z: float(z > 0)),
    bp.identity: (lambda z: z, lambda z: 1.0),
}


@pytest.mark.parametrize(
    ("widths", "units"),
    [
        ((3, 2), (bp.identity,)),
        ((3, 4, 2), (bp.sigmoid, bp.sigmoid)),
        ((3, 4, 5, 3, 2), (bp.tanh, bp.relu, bp.sigmoid, bp.identity)),
        ((2, 3, 3, 3, 3, 1), (bp.tanh, bp.sigmoid, bp.tanh, bp.sigmoid, bp.tanh)),
    ],
)
def test_the_matrix_form_is_the_form_of_single_weights(widths, units):
    network = bp.mlp(
        widths,
        activation=units[:-1],
        output=units[-1],
        loss=bp.half_squared_error,
        layer=bp.dense_without_bias,
    )
    rng = np.random.default_rng(3)
    x, y = rng.normal(size=(BATCH, widths[0])), rng.normal(size=(BATCH, widths[-1]))
    with jax.enable_x64(True):
        params = parameters(network)
        loss, grads = network.loss_and_grad(params, x, y, reduction="sum")
    weights = [np.asarray(w).T.tolist() for w in params[::2]]
    values, slopes = zip(*(UNITS[unit] for unit in units), strict=True)
    total, sums = 0.0, [np.zeros_like(w) for w in map(np.array, weights)]
    for one_x, one_y in zip(x.tolist(), y.tolist(), strict=True):
        own, single = scalar_backprop.backprop(weights, one_x, one_y, values, slopes)
        total += own
        for s, g in zip(sums, single, strict=True):
            s += np.array(g)
    np.testing.assert_allclose(loss, total, rtol=2e-15 * 8)
    for got, expected in zip(grads[::2], sums, strict=True):
        size = np.max(np.abs(expected))
        np.testing.assert_allclose(np.asarray(got).T, expected, rtol=1e-13, atol=4e-16 * size)


# Maximum likelihood


def gaussian_of(variance):
    """The Gaussian negative log-likelihood of one fixed variance, as a loss of two arguments."""
    return bp.Rule(
        "gaussian",
        lambda mean, targets: bp.gaussian_nll.fwd(
            mean, jnp.full((), variance, mean.dtype), targets
        ),
        lambda saved, dy: bp.gaussian_nll.bwd(saved, dy)[::2],
        tex="",
        source="",
    )


@pytest.mark.parametrize("variance", [1.0, 4.0])
def test_to_maximise_likelihood_is_to_minimise_squared_error(variance):
    """Of a Gaussian: the same descent, with a step as many times longer as the variance is."""
    trained = []
    with jax.enable_x64(True):
        x, y = batch("regression")
        for loss, step in ((gaussian_of(variance), 0.5 * variance), (bp.half_squared_error, 0.5)):
            network = bp.mlp((4, 5, 3), activation=bp.tanh, loss=loss)
            params = parameters(network)
            values = []
            for _ in range(5):
                value, grads = network.loss_and_grad(params, x, y)
                params = jax.tree.map(lambda p, g, s=step: p - s * g, params, grads)
                values.append(float(value))
            trained.append((params, np.array(values)))
    (by_likelihood, nll), (by_squares, squares) = trained
    assert_trees_close(by_likelihood, by_squares, 13)
    np.testing.assert_allclose(
        nll, squares / variance + 1.5 * math.log(2 * math.pi * variance), rtol=1e-14
    )
    assert squares[-1] < squares[0]


# By hand: nothing here asks JAX for a derivative


def test_no_derivative_is_asked_of_jax(monkeypatch):
    def forbidden(*args, **kwargs):
        raise AssertionError("a derivative was asked of JAX")

    x, y = batch("learned activations", np.float32)
    network = bp.mlp((4, 5, 2), activation=bp.prelu, loss=bp.half_squared_error)
    params = parameters(network, np.float32)
    for name in ("grad", "value_and_grad", "vjp", "jvp", "linearize", "jacfwd", "jacrev"):
        monkeypatch.setattr(jax, name, forbidden)
    loss, _ = network.loss_and_grad(params, x, y)
    assert np.isfinite(loss)


def test_the_traced_step_has_no_rule_of_jax_in_it():
    names = set()
    for name in ("sigmoids", "rectifiers", "learned activations", "randomized"):
        network = build(name)
        params, (x, y) = parameters(network, np.float32), batch(name, np.float32)
        traced = jax.make_jaxpr(network.loss_and_grad)(params, x, y)
        names |= set(primitives(traced.jaxpr))
    assert "dot_general" in names
    assert not [name for name in names if "custom" in name or "checkpoint" in name]


def primitives(jaxpr):
    for equation in jaxpr.eqns:
        yield equation.primitive.name
        for value in equation.params.values():
            for inner in value if isinstance(value, (tuple, list)) else (value,):
                inner = getattr(inner, "jaxpr", inner)
                if hasattr(inner, "eqns"):
                    yield from primitives(inner)


def test_no_module_of_the_library_differentiates():
    package = Path(bp.__file__).parent
    derivatives = {
        "grad",
        "value_and_grad",
        "vjp",
        "jvp",
        "linearize",
        "jacfwd",
        "jacrev",
        "hessian",
    }
    for path in package.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            name = node.attr if isinstance(node, ast.Attribute) else getattr(node, "id", None)
            assert name not in derivatives, f"{path.name}:{node.lineno}"


# Compilation, jit and scan


def test_one_compilation_a_shape(compilations):
    network = bp.mlp((4, 7, 3), activation=bp.tanh)
    params = parameters(network, np.float32)
    rng = np.random.default_rng(0)
    data = {n: (rng.normal(size=(n, 4)).astype(np.float32), np.zeros(n, np.int32)) for n in (5, 6)}
    for n in (5, 6):
        network.loss_and_grad(params, *data[n])  # the checks look at NumPy arrays
    before = compilations()
    for n in (5, 6, 5):
        _, grads = network.loss_and_grad(params, *data[n])
    assert compilations() == before
    grads = jax.block_until_ready(grads)
    fresh = bp.mlp((4, 7, 3), activation=bp.tanh)
    fresh.loss_and_grad(params, *data[5])
    assert compilations() == before + 1


def test_training_inside_jit_and_scan_is_training_in_a_loop():
    name = "sigmoids"
    network = build(name)
    with jax.enable_x64(True):
        start = parameters(network)
        rng = np.random.default_rng(0)
        xs = rng.normal(size=(3, BATCH, 4))
        ys = np.eye(3)[rng.integers(0, 3, (3, BATCH))]

        def step(params, data):
            loss, grads = network.loss_and_grad(params, *data)
            return jax.tree.map(lambda p, g: p - 0.1 * g, params, grads), loss

        params, losses = start, []
        for data in zip(xs, ys, strict=True):
            params, loss = step(params, data)
            losses.append(loss)
        scanned = jax.jit(lambda p: jax.lax.scan(step, p, (xs, ys)))(start)
        assert_trees_close(scanned, (params, np.array(losses)), 13)
        many = jax.jit(jax.vmap(network.loss_and_grad, in_axes=(None, 0, 0)))(start, xs, ys)
        expected = [network.loss_and_grad(start, *data) for data in zip(xs, ys, strict=True)]
        assert_trees_close(many, jax.tree.map(lambda *g: np.stack(g), *expected), 13)


def test_the_network_is_a_differentiable_function():
    """jax.grad of a user's loss of the network, at any leading axes of x."""
    network = build("many labels")
    plain = reference.network(
        *(reference.dense, reference.tanh, reference.dense, reference.identity)
    )
    with jax.enable_x64(True):
        params = parameters(network)
        x = np.random.default_rng(1).normal(size=(2, 3, 4))

        def run(f, params):
            return [
                jax.value_and_grad(lambda p, x=x: jnp.sum(jnp.sin(f(p, x))))(params)
                for x in (x, x.reshape(6, 4), x[1, 2])
            ]

        ours, truth = jax.jit(lambda p: [run(f, p) for f in (network, plain)])(params)
    assert_trees_close(ours, truth, 12)
    assert_trees_close(ours[0], ours[1], 14)


# Half precision


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_the_mean_of_many_examples_in_half_precision(dtype):
    """Neither the loss nor the gradient stops growing at 256 (bfloat16) or 2048 (float16)."""
    n = 3000
    network = bp.mlp((2, 2), loss=bp.half_squared_error, init=bp.initializers.zeros)
    params = network.init(jax.random.key(0), dtype)
    x, y = jnp.ones((n, 2), dtype), jnp.full((n, 2), -2, dtype)
    loss, grads = network.loss_and_grad(params, x, y)
    assert {a.dtype for a in jax.tree.leaves((loss, grads))} == {jnp.dtype(dtype)}
    eps = float(jnp.finfo(dtype).eps)
    np.testing.assert_allclose(float(loss), 4.0, rtol=eps)
    for g in jax.tree.leaves(grads):
        np.testing.assert_allclose(np.asarray(g, np.float64), 2.0, rtol=2 * eps)


# Labels


def test_labels_out_of_range():
    """Raise where they can be seen; under jit, NaN for that example and no other."""
    network = bp.mlp((4, 5, 3), activation=bp.tanh)
    params = parameters(network, np.float32)
    x = np.random.default_rng(0).normal(size=(3, 4)).astype(np.float32)
    message = r"^softmax_cross_entropy_with_integer_labels: expected labels in 0\.\.2, got (3|-1): "
    for labels in ([0, 3, 2], [0, -1, 2]):
        labels = np.array(labels)
        with pytest.raises(ValueError, match=message):
            network.loss_and_grad(params, x, labels)
        with pytest.raises(ValueError, match=message):
            network.loss(network(params, x), labels)
        for found in (
            jax.jit(network.loss_and_grad)(params, x, labels),
            network.loss_and_grad(params, x, labels, check=False),
        ):
            assert np.isnan(found[0])
            assert all(np.all(np.isnan(g)) for g in jax.tree.leaves(found[1]))
        scores = network(params, x)
        losses, gradient = jax.jit(jax.vmap(jax.value_and_grad(network.loss)))(scores, labels)
        assert np.isnan(losses).tolist() == [False, True, False]
        assert np.isnan(gradient).all(axis=1).tolist() == [False, True, False]
        assert np.isnan(gradient).any(axis=1).tolist() == [False, True, False]


# Initialisation

init = bp.initializers


def drawn(initializer, inputs, outputs, dtype=jnp.float32, seed=0):
    return initializer(jax.random.key(seed), inputs, outputs, dtype)


@pytest.mark.parametrize("inputs", [3, 100])
def test_gaussian_weights_have_variance_one_over_inputs(inputs):
    w, b = drawn(init.gaussian, inputs, 20000)
    # five standard errors of the variance of so many draws
    for x, variance in ((w, 1 / inputs), (b, 1.0)):
        error = 5 * math.sqrt(2 / x.size)
        np.testing.assert_allclose(np.var(x), variance, rtol=error)
        np.testing.assert_allclose(np.mean(x), 0, atol=5 * math.sqrt(variance / x.size))
    assert not np.array_equal(w[0], b)


def test_he_weights_have_variance_two_over_inputs():
    w, b = drawn(init.he, 100, 2000)
    np.testing.assert_allclose(np.var(w), 2 / 100, rtol=5 * math.sqrt(2 / w.size))
    assert not np.any(b)


def test_glorot_weights_are_uniform_within_their_bound():
    w, b = drawn(init.glorot, 100, 500)
    r = math.sqrt(6 / 600)
    assert 0.999 * r < np.max(np.abs(w)) <= r
    np.testing.assert_allclose(np.var(w), r * r / 3, rtol=5 * math.sqrt(0.8 / w.size))
    assert not np.any(b)


def test_zeros_are_zero():
    assert not any(np.any(x) for x in drawn(init.zeros, 3, 2))


@pytest.mark.parametrize(
    ("layer", "shapes"),
    [
        ("dense", [(4, 5), (5,), (), (5, 3), (3,)]),
        ("dense_without_bias", [(4, 5), (), (5, 3)]),
        ("dense_augmented", [(5, 5), (), (6, 3)]),
    ],
)
def test_every_initialisation_fits_every_layer(layer, shapes):
    for name in ("gaussian", "zeros", "glorot", "he"):
        network = bp.mlp(
            (4, 5, 3), activation=bp.prelu, init=getattr(init, name), layer=getattr(bp, layer)
        )
        for dtype in (jnp.float16, jnp.bfloat16, jnp.float32):
            params = jax.eval_shape(lambda n=network, d=dtype: n.init(jax.random.key(0), d))
            assert [x.shape for x in jax.tree.leaves(params)] == shapes
            assert {x.dtype for x in jax.tree.leaves(params)} == {jnp.dtype(dtype)}


def test_initialisation_follows_the_key():
    network = bp.mlp((4, 4, 4, 4), activation=bp.tanh)
    first, again, other = (network.init(jax.random.key(seed)) for seed in (0, 0, 1))
    weights = [p.w for params in (first, other) for p in params[::2]]
    for a, b in itertools.combinations(weights, 2):
        assert not np.array_equal(a, b)
    for a, b in zip(jax.tree.leaves(first), jax.tree.leaves(again), strict=True):
        np.testing.assert_array_equal(a, b)


def test_zero_weights_leave_the_units_of_a_hidden_layer_equal():
    """Note 003: why zeros are for a network without a hidden layer."""
    network = bp.mlp((4, 5, 3), activation=bp.sigmoid, init=init.zeros)
    x, y = batch("no hidden layer", np.float32)
    params = network.init(jax.random.key(0))
    for _ in range(3):
        _, grads = network.loss_and_grad(params, x, y)
        params = jax.tree.map(lambda p, g: p - g, params, grads)
    w = params[0].w
    np.testing.assert_array_equal(w, np.broadcast_to(w[:, :1], w.shape))
