"""Every rule against autodiff of its textbook definition, and through JAX's transformations."""

import functools
import os
import subprocess
import sys
import zlib
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import manualbp
import reference
from tests.table import KEY, KINKS, TABLE, cotangents, draw, draw_round

pytestmark = pytest.mark.optimized
RULES = {rule.name: rule for rule in manualbp.RULES}
DTYPES = ("float16", "bfloat16", "float32", "float64")

# Tolerances, in units of the dtype's eps (twice the error of one rounding).
# ROUNDINGS, relative to the number itself: half precision computes in float32 and rounds once (a
# drawn slope and its product: twice); float32 and float64 round each step of a formula.
ROUNDINGS = {"float16": 1, "bfloat16": 1, "float32": 4, "float64": 4}
# SUMS, relative to the largest term: what cancels in a sum of up to a dozen terms, each of a few
# roundings, in the dtype that is computed in.
SUMS = 32
# The power of two that scales a cotangent, which must overflow nowhere
POWER = {"float16": 6, "bfloat16": 40, "float32": 40, "float64": 300}

names = pytest.mark.parametrize("name", RULES)


@functools.cache
def definition(name):
    """The textbook definition of a rule, by name: `elu(alpha=1.0)` calls the factory `elu`."""
    return eval(name, {}, vars(reference))


def rows(name):
    return TABLE[name.partition("(")[0]]


def rng_of(*parts):
    return np.random.default_rng(zlib.crc32(repr(parts).encode()))


def is_floating(x):
    return jnp.issubdtype(jnp.result_type(x), jnp.floating)


def floats_of(args):
    return [x for x in jax.tree.leaves(args) if is_floating(x)]


def with_floats(args, values):
    """args, with other floating leaves in place of its own."""
    values = iter(values)
    return jax.tree.map(lambda x: next(values) if is_floating(x) else x, args)


def value_and_gradients(f, weights, args):
    """The value, and the gradient of its weighted sum in every floating leaf."""
    y, pull = jax.vjp(of_floats(f, args), *floats_of(args))
    return y, pull(jnp.broadcast_to(jnp.asarray(weights, y.dtype), y.shape))


def cast(args, dtype):
    return jax.tree.map(lambda x: jnp.asarray(x, dtype) if is_floating(x) else x, args)


def of_floats(f, args):
    """f as a function of the floating leaves of its arguments alone."""
    return lambda *floats: f(*with_floats(args, floats))


def assert_close(actual, expected, dtype, scale, context):
    """Equal up to roundings of the dtype and cancellation among terms of size `scale`."""
    eps, wide = (float(jnp.finfo(d).eps) for d in (dtype, max(dtype, "float32", key=_bits)))
    tiny = float(jnp.finfo(dtype).smallest_subnormal)
    actual, expected = np.asarray(actual, np.float64), np.asarray(expected, np.float64)
    assert actual.shape == expected.shape, f"{context}: {actual.shape} is not {expected.shape}"
    allowed = ROUNDINGS[dtype] * eps * np.abs(expected) + SUMS * wide * scale + tiny
    wrong = ~(np.abs(actual - expected) <= allowed)
    assert not wrong.any(), (
        f"{context}: expected {expected[wrong][0]!r}, got {actual[wrong][0]!r} at "
        f"{np.argwhere(wrong)[0].tolist()}, {wrong.sum()} of {wrong.size} entries wrong"
    )


def _bits(dtype):
    return jnp.finfo(dtype).bits


def size_of(args, dy):
    """The largest term that the sums of a value or a cotangent are made of, roughly."""
    top = [float(np.max(np.abs(x), initial=1.0)) for x in floats_of(args)]
    return max(top) ** 2 * float(np.max(np.abs(dy), initial=0.0))


# Forms: rules x dtypes x shapes, traced and not compiled


def cotangent_dtype(x):
    return jnp.result_type(x) if is_floating(x) else jax.dtypes.float0


@names
@pytest.mark.parametrize("dtype", DTYPES)
def test_cotangents_have_the_trees_shapes_and_dtypes_of_the_arguments(name, dtype):
    rule = RULES[name]

    def forms(args):
        found = []

        def trace(*floats):
            given = with_floats(args, floats)
            y, residuals = rule.fwd(*given)
            found.extend((given, y, rule.bwd(residuals, jnp.ones_like(y))))
            return rule(*given)

        return jax.eval_shape(trace, *floats_of(args)), *found

    with jax.enable_x64(True):
        for row in rows(name):
            args = cast(draw(row, rng_of(name, row)), dtype)
            y, given, direct, dargs = forms(args)
            expected = jax.eval_shape(definition(name), *args)
            assert (y.shape, y.dtype) == (expected.shape, dtype), row
            assert (direct.shape, direct.dtype) == (y.shape, y.dtype), row
            assert isinstance(dargs, tuple), row
            assert len(dargs) == len(args), row
            assert jax.tree.structure(dargs) == jax.tree.structure(given), row
            for x, dx in zip(jax.tree.leaves(given), jax.tree.leaves(dargs), strict=True):
                assert (dx.shape, dx.dtype) == (jnp.shape(x), cotangent_dtype(x)), row


@names
def test_rank_promotion_may_be_an_error(name):
    """As in the sessions of users who have it so (`jax_numpy_rank_promotion`)."""
    with jax.enable_x64(True), jax.numpy_rank_promotion("raise"):
        for row in rows(name):
            args = draw(row, rng_of(name, row))
            value_and_ones = functools.partial(value_and_gradients, RULES[name], 1.0)
            jax.eval_shape(of_floats(lambda *given: value_and_ones(given), args), *floats_of(args))  # noqa: B023


# Values and cotangents: rules x dtypes x shapes x cotangents


def value_and_pullbacks(f, args, dys):
    y, pull = jax.vjp(of_floats(f, args), *floats_of(args))
    return y, jax.vmap(pull)(dys)


def case_of(name, row, power):
    """Arguments of one row, and a stack of cotangents, in float64."""
    args = draw(row, rng_of(name, row))
    shape = jax.eval_shape(definition(name), *args).shape
    return args, np.stack(list(cotangents(shape, rng_of(name, row), power)))


def assert_agree(dtype, args, dys, ours, truth, context):
    (y, pullbacks), (y_true, pullbacks_true) = ours, truth
    context = f"{context} in {dtype} at {jax.tree.map(np.shape, args)}"
    assert y.dtype == dtype, context
    assert_close(y, y_true, dtype, size_of(args, 1.0), f"{context}: value")
    for j, (arg, got, expected) in enumerate(
        zip(floats_of(args), pullbacks, pullbacks_true, strict=True)
    ):
        assert got.dtype == dtype, context
        assert got.shape == (len(dys), *np.shape(arg)), context
        assert not np.any(got[1]), f"{context}: a zero cotangent must give zero"
        for k, dy in enumerate(dys):
            where = f"{context}: cotangent {k}, argument {j}"
            assert_close(got[k], expected[k], dtype, size_of(args, dy), where)


@names
def test_value_and_cotangents_are_those_of_the_definition(name):
    """Every shape, in float64: one compiled call."""

    def run(cases):
        return [
            [value_and_pullbacks(f, args, dys) for f in (RULES[name], definition(name))]
            for args, dys in cases
        ]

    with jax.enable_x64(True):
        cases = [case_of(name, row, POWER["float64"]) for row in rows(name)]
        results = jax.jit(run)(cases)
    for (args, dys), (ours, truth) in zip(cases, results, strict=True):
        assert_agree("float64", args, dys, ours, truth, name)


@names
def test_value_and_cotangents_in_less_precision(name):
    """The last shape, in the other dtypes, against the definition in float64."""
    # the draw of a randomised rule differs from dtype to dtype
    row = next(row for row in reversed(rows(name)) if KEY not in row)
    dtypes = ("float16", "bfloat16", "float32")

    def run(cases, dys):
        ours = [value_and_pullbacks(RULES[name], *case) for case in cases]
        return ours, value_and_pullbacks(definition(name), cast(cases[0][0], "float64"), dys)

    with jax.enable_x64(True):
        args = draw(row, rng_of(name, row))
        stacks = [case_of(name, row, POWER[dtype])[1] for dtype in dtypes]
        cases = [cast((args, dys), d) for d, dys in zip(dtypes, stacks, strict=True)]
        ours, (y, pullbacks) = jax.jit(run)(cases, np.concatenate(stacks))
    for i, (dtype, dys) in enumerate(zip(dtypes, stacks, strict=True)):
        truth = y, [dx[i * len(dys) :][: len(dys)] for dx in pullbacks]
        assert_agree(dtype, args, dys, ours[i], truth, name)


N = 1000  # ones: their sum stops at 256 in bfloat16, at 2048 in float16
ONES = {
    "prelu": ((), (N,)),
    "generalized_relu": ((1,), (N, 1)),
    "learnable_swish": ((), (N,)),
    "gaussian_nll": ((N,), (), (N,)),
    "dense": (manualbp.Dense((1, 1), (1,)), (N, 1)),
    "dense_without_bias": ((1, 1), (N, 1)),
    "dense_augmented": ((2, 1), (N, 1)),
}


@pytest.mark.parametrize("name", ONES)
def test_sums_over_examples_are_not_kept_in_half_precision(name):
    def ones(shape):
        # below 0, where prelu's slope has a gradient; a variance is positive
        return np.ones(shape) if name == "gaussian_nll" and shape == () else -np.ones(shape)

    args = jax.tree.map(
        ones, ONES[name], is_leaf=lambda x: type(x) is tuple and set(map(type, x)) <= {int}
    )
    if name == "gaussian_nll":
        args = (3 * args[0], *args[1:])
    halves = ("bfloat16", "float16")

    def run(args):
        wide = value_and_gradients(definition(name), 1.0, args)[1]
        return wide, [value_and_gradients(RULES[name], 1.0, cast(args, d))[1] for d in halves]

    with jax.enable_x64(True):
        truth, found = jax.jit(run)(args)
    for dtype, gradients in zip(halves, found, strict=True):
        for got, expected in zip(gradients, truth, strict=True):
            got = np.asarray(got, np.float64)
            np.testing.assert_allclose(got, expected, rtol=float(jnp.finfo(dtype).eps))


LABEL_DTYPES = ("int8", "uint8", "int16", "int32", "uint32", "int64", "uint64")
integer_losses = pytest.mark.parametrize(
    "name", ["softmax_cross_entropy_with_integer_labels", "negative_log_likelihood"]
)


@integer_losses
def test_labels_of_any_integer_dtype(name):
    """300 classes, more than eight bits hold, and labels that they do."""

    def run(scores, labels):
        return [value_and_gradients(RULES[name], 1.0, (scores, x)) for x in labels]

    with jax.enable_x64(True):
        scores = np.linspace(-1, 1, 600).reshape(2, 300)
        truth = value_and_gradients(definition(name), 1.0, (scores, np.array([3, 100])))
        found = jax.jit(run)(scores, [np.array([3, 100], dtype) for dtype in LABEL_DTYPES])
    for dtype, got in zip(LABEL_DTYPES, found, strict=True):
        for a, b in zip(jax.tree.leaves(got), jax.tree.leaves(truth), strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-13, atol=1e-16, err_msg=dtype)


@integer_losses
def test_concrete_labels_may_be_closed_over(name):
    """Under jit they are looked at as NumPy arrays, or not at all."""
    labels = jnp.array([0, 2])
    gradient = jax.jit(jax.grad(lambda scores: jnp.sum(RULES[name](scores, labels))))
    assert np.all(np.isfinite(gradient(np.zeros((2, 3), np.float32))))


@integer_losses
def test_labels_out_of_range_do_not_wrap_around_under_jit(name):
    """2^32 + 1 is no class, though its low 32 bits say 1."""
    with jax.enable_x64(True):
        labels = np.array([1, 2**32 + 1, -(2**32) + 1])
        found = jax.jit(RULES[name])(np.zeros((3, 2)), labels)
    assert np.isnan(found).tolist() == [False, True, True]


# Transformations

COPIES = 2


@names
def test_transformations_agree_with_a_python_loop(name):
    """jit, vmap over each argument and all, scan, checkpoint, jit of grad of vmap: one program."""
    row = rows(name)[-1]
    rng = rng_of(name, "transformations")
    run = functools.partial(value_and_gradients, RULES[name])

    with jax.enable_x64(True):
        examples = [draw(row, rng) for _ in range(COPIES)]
        args = jax.tree.map(lambda *xs: jnp.stack(xs), *examples)
        weights = rng.normal(size=jax.eval_shape(definition(name), *examples[0]).shape)

        def at(*indices):
            """The arguments, each of the example with its index."""
            return tuple(
                jax.tree.map(lambda x, i=i: x[i], a) for a, i in zip(args, indices, strict=True)
            )

        def everything(args, weights):
            several = range(COPIES)
            same = [run(weights, at(*[i] * len(args))) for i in several]
            pairs = {
                "vmap": (jax.vmap(lambda a: run(weights, a))(args), same),
                "scan": (jax.lax.scan(lambda c, a: (c, run(weights, a)), None, args)[1], same),
                "checkpoint": (
                    [
                        value_and_gradients(
                            jax.checkpoint(RULES[name]), weights, at(*[i] * len(args))
                        )
                        for i in several
                    ],
                    same,
                ),
            }
            for j in range(len(args)):
                axes = tuple(0 if k == j else None for k in range(len(args)))
                first = tuple(
                    a if k == j else b
                    for k, (a, b) in enumerate(zip(args, at(*[0] * len(args)), strict=True))
                )
                alone = jax.vmap(lambda *a: run(weights, a), in_axes=axes)(*first)
                indices = [[i if k == j else 0 for k in range(len(args))] for i in several]
                pairs[f"vmap over argument {j}"] = (alone, [run(weights, at(*i)) for i in indices])
            return pairs

        def total(args, weights):
            batched = jax.vmap(RULES[name])
            y, gradients = value_and_gradients(batched, weights[None], args)
            return y, gradients

        eager = [run(weights, example) for example in examples[:1]]
        pairs = jax.jit(everything)(args, weights)
        pairs["jit of grad of vmap"] = (jax.jit(total)(args, weights), pairs["vmap"][1])
        pairs["eager"] = (eager, pairs["vmap"][1][:1])
    for how, (got, loop) in pairs.items():
        if not isinstance(got, list):
            loop = jax.tree.map(lambda *xs: np.stack(xs), *loop)
        for a, b in zip(jax.tree.leaves(got), jax.tree.leaves(loop), strict=True):
            assert_close(a, b, "float64", size_of(examples, weights), f"{name}: {how}")


# The second derivative does not exist where the branches of these meet
ONCE = ("elu",)


@names
def test_gradient_of_gradient_is_that_of_the_definition(name):
    """At generic points, and where stable forms change branches: zeros, ties, hard labels."""
    rule, row, rng = RULES[name], rows(name)[-1], rng_of(name, "second")
    smooth = rule.kink is None and name.partition("(")[0] not in ONCE

    def twice(f, args, weights, directions):
        def once(*floats):
            _, gradients = value_and_gradients(f, weights, with_floats(args, floats))
            return sum(jnp.vdot(v, g) for v, g in zip(directions, gradients, strict=True))

        return jax.grad(once, argnums=tuple(range(len(directions))))(*floats_of(args))

    with jax.enable_x64(True):
        points = [draw(row, rng)] + [draw_round(row, rng) for _ in range(4 if smooth else 0)]
        weights = rng.normal(size=jax.eval_shape(definition(name), *points[0]).shape)
        directions = [rng.normal(size=np.shape(x)) for x in floats_of(points[0])]
        both = jax.jit(
            lambda args: [twice(f, args, weights, directions) for f in (rule, definition(name))]
        )
        for args in points:
            ours, truth = both(args)
            for j, (got, expected) in enumerate(zip(ours, truth, strict=True)):
                context = f"{name}: second derivative, argument {j}, at {args}"
                assert_close(got, expected, "float64", 10 * size_of(args, weights), context)


def test_the_model_of_a_user_runs_the_backward_pass_by_hand():
    """jax.grad of plain JAX code around a rule gives what only its odd bwd can give."""
    odd = manualbp.Rule(
        "odd", lambda z: (z * z, z), lambda z, dy: (1000 * dy + z,), tex="", source=""
    )

    def model(w, x):
        return jnp.sum(jnp.sin(odd(x @ w)))

    w, x = np.full((2, 1), 0.5, np.float32), np.ones((3, 2), np.float32)
    dz = 1000 * np.cos(1.0) + 1
    for gradient in (jax.grad(model), jax.jit(jax.grad(model))):
        np.testing.assert_allclose(gradient(w, x), np.full((2, 1), 3 * dz), rtol=1e-6)
    np.testing.assert_allclose(jax.value_and_grad(model)(w, x)[0], 3 * np.sin(1.0), rtol=1e-6)


def test_chain_is_composition():
    """The value and every gradient, with parameters and without, in a chain of chains."""
    relu, dense, prelu = manualbp.relu, manualbp.dense, manualbp.prelu
    rng = rng_of("chain")
    w, b, slope, x = (rng.normal(size=shape) for shape in ((3, 2), 2, 2, (4, 3)))
    with jax.enable_x64(True):
        chained = manualbp.chain(manualbp.chain(dense, prelu), manualbp.chain(manualbp.tanh, relu))
        params = ((manualbp.Dense(w, b), slope), ())
        got = value_and_gradients(chained, 1.0, (params, x))
        by_hand = value_and_gradients(
            lambda p, x: relu(manualbp.tanh(prelu(p[0][1], dense(p[0][0], x)))), 1.0, (params, x)
        )
    for a, b in zip(jax.tree.leaves(got), jax.tree.leaves(by_hand), strict=True):
        np.testing.assert_array_equal(a, b)
    alone = manualbp.chain(manualbp.tanh, relu)
    np.testing.assert_array_equal(alone(x), relu(manualbp.tanh(x)))


SHARDED = """
import jax, jax.numpy as jnp, numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec
import manualbp

assert len(jax.devices()) == 8
jax.config.update("jax_enable_x64", True)
network = manualbp.mlp((4, 6, 3), activation=[manualbp.prelu])
params = network.init(jax.random.key(0), jnp.float64)
rng = np.random.default_rng(0)
x, y = rng.normal(size=(16, 4)), rng.integers(0, 3, 16)
alone = network.loss_and_grad(params, x, y)
mesh = Mesh(np.array(jax.devices()), ("examples",))
rows = NamedSharding(mesh, PartitionSpec("examples"))
params = jax.device_put(params, NamedSharding(mesh, PartitionSpec()))
x, y = jax.device_put(x, rows), jax.device_put(y, rows)
assert len(x.addressable_shards) == 8
prediction = network(params, x)
assert prediction.sharding.is_equivalent_to(NamedSharding(mesh, PartitionSpec("examples", None)), 2)
for found in (
    network.loss_and_grad(params, x, y),
    jax.jit(jax.value_and_grad(lambda p: jnp.mean(network.loss(network(p, x), y))))(params),
):
    for a, b in zip(jax.tree.leaves(found), jax.tree.leaves(alone), strict=True):
        assert len(a.sharding.device_set) == 8
        np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-15)
print("equal")
"""


def test_a_batch_sharded_over_eight_devices_gives_the_gradient_of_one():
    flags = f"{os.environ.get('XLA_FLAGS', '')} --xla_force_host_platform_device_count=8"
    out = subprocess.run(
        [sys.executable, "-c", SHARDED],
        env={**os.environ, "XLA_FLAGS": flags, "JAX_PLATFORMS": "cpu"},
        cwd=Path(__file__).parents[1],
        capture_output=True,
        text=True,
        check=False,
    )
    assert out.stdout == "equal\n", out.stderr


# Kinks


@pytest.mark.parametrize("name", KINKS)
def test_at_a_kink_the_derivative_is_the_one_that_tex_states(name):
    rule = eval(name, {n: getattr(manualbp, n) for n in manualbp.__all__})
    for kink in KINKS[name]:
        for sign in (1.0, -1.0):  # z is the last argument: 0 and -0
            args = cast((*kink.args[:-1], sign * kink.args[-1]), np.float32)
            _, slopes = value_and_gradients(rule, 1.0, args)
            expected = [s for s in kink.slopes if s is not None]
            assert [float(x) for x in slopes] == expected, (name, args)
            if rule.kink is not None:
                differentiable = float(rule.kink(*args)) != 0
                assert differentiable == (name == "elu(alpha=1.0)"), (name, args)


@names
def test_away_from_its_kinks_a_rule_does_not_claim_one(name):
    rule = RULES[name]
    if rule.kink is not None:
        args = draw(rows(name)[-1], rng_of(name, "kink"))
        assert np.all(np.asarray(rule.kink(*args)) != 0)


# Residuals

ELEMENTWISE = [name for name, row in TABLE.items() if row is TABLE["identity"]]


@pytest.mark.parametrize("name", [n for n in RULES if n.partition("(")[0] in ELEMENTWISE])
def test_an_elementwise_rule_keeps_one_array_which_saves_names(name):
    rule = RULES[name]
    z = np.linspace(-2.0, 2.0, 5, dtype=np.float32)
    y, residuals = rule.fwd(z)
    (kept,) = jax.tree.leaves(residuals)
    if rule.saves.startswith("the output"):
        assert kept is y
    else:
        assert rule.saves.startswith("the input")
        np.testing.assert_array_equal(kept, z)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("softmax", [(2, 3)]),
        ("log_softmax", [(2, 3)]),
        ("logsumexp", [(2, 3)]),
        ("prelu", [(3,), (2, 3)]),
        ("generalized_relu", [(3,), (2, 3)]),
        ("learnable_swish", [(3,), (2, 3)]),
        ("squared_error", [(2, 3), (2, 3)]),
        ("half_squared_error", [(2, 3), (2, 3)]),
        ("mean_squared_error", [(2, 3), (2, 3)]),
        ("gaussian_nll", [(2, 3), (3,)]),
        ("binary_cross_entropy", [(2, 3), (2, 3)]),
        ("sigmoid_binary_cross_entropy", [(2, 3), (2, 3)]),
        ("logistic_loss", [(2, 3), (2, 3)]),
        ("multilabel_binary_cross_entropy", [(2, 3), (2, 3)]),
        ("cross_entropy", [(2, 3), (2, 3)]),
        ("softmax_cross_entropy", [(2, 3), (2, 3)]),
        ("softmax_cross_entropy_with_integer_labels", [(2, 3), (2,)]),
        ("negative_log_likelihood", [(2, 3)]),
        ("dense", [(3, 2), (4, 3)]),
        ("dense_without_bias", [(3, 2), (4, 3)]),
        ("dense_augmented", [(4, 2), (4, 4)]),
    ],
)
def test_the_residuals_of_a_rule_are_these(name, expected):
    args = cast(draw(rows(name)[-1], rng_of(name)), np.float32)
    _, residuals = jax.eval_shape(RULES[name].fwd, *args)
    assert [x.shape for x in jax.tree.leaves(residuals)] == expected
