"""Checks on eight simulated devices, run by test_many_devices.py in a process of their own.

How many devices there are is settled once a process, before JAX starts.

    XLA_FLAGS=--xla_force_host_platform_device_count=8 python -m tests.on_eight_devices
"""

import dataclasses
import json
import math
import re
import time
import traceback

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

import manualbp as bp

# Sums in another order: so many units in the last place of the largest sum of absolute terms,
# the terms being the gradients of single examples; the same in float32 and float64
ULPS = 8
WIDTHS = (16, 32, 24, 32, 8)  # two pairs of dense layers
EXAMPLES = 64

CHECKS = {}


def check(function):
    CHECKS[function.__name__] = function
    return function


def problem(dtype, activation=bp.tanh, loss="labels", widths=WIDTHS):
    """A network, its parameters and a batch."""
    rng = np.random.default_rng(0)
    x = jnp.asarray(rng.normal(size=(EXAMPLES, widths[0])), dtype)
    if loss == "labels":
        network = bp.mlp(widths, activation=activation)
        y = jnp.asarray(rng.integers(0, widths[-1], EXAMPLES), jnp.int32)
    else:
        network = bp.mlp(widths, activation=activation, loss=bp.half_squared_error)
        y = jnp.asarray(rng.normal(size=(EXAMPLES, widths[-1])), dtype)
    shapes = jax.eval_shape(lambda: network.init(jax.random.key(0), dtype))
    params = jax.tree.map(lambda a: jnp.asarray(rng.normal(size=a.shape) / 4, dtype), shapes)
    return network, params, x, y


def ulps(got, want, sizes=None):
    """The largest difference of each leaf, in units in the last place of the largest size in it."""

    def apart(a, b, size):
        a, b = np.asarray(a), np.asarray(b)
        assert (a.shape, a.dtype) == (b.shape, b.dtype)
        return float(np.abs(a - b).max() / np.spacing(np.abs(size).max().astype(a.dtype)))

    return max(jax.tree.leaves(jax.tree.map(apart, got, want, want if sizes is None else sizes)))


def sizes_of(network, params, x, y, reduction):
    """The sums over the examples of absolute values, where a sum may cancel."""

    def one(x, y):
        return network.loss_and_grad(params, x[None], y[None], reduction="sum")

    terms = jax.jit(jax.vmap(one))(x, y)
    weight = 1 / EXAMPLES if reduction == "mean" else 1
    return jax.tree.map(lambda a: np.abs(np.asarray(a)).sum(0) * weight, terms)


def collectives(text):
    """The collectives of a compiled program: of each kind, how many numbers each moves."""
    kinds = (
        "all-reduce|all-gather|reduce-scatter|all-to-all|collective-permute|collective-broadcast"
    )
    found = re.findall(rf"= ([^=]*?) ({kinds})(?:-start)?\(", re.sub(r"/\*.*?\*/", "", text))
    return [
        (kind, sum(math.prod(map(int, filter(None, dims.split(",")))) for dims in shapes))
        for shapes, kind in ((re.findall(r"\w\[([\d,]*)\]", form), kind) for form, kind in found)
    ]


def compare(axes, dtype, activation, expected, loss="labels", reduction="mean"):
    """The network on a mesh against one device; returns the ULPs between them."""
    with jax.enable_x64(dtype == "float64"):
        network, params, x, y = problem(dtype, activation, loss)
        want = network.loss_and_grad(params, x, y, reduction=reduction)
        mesh = Mesh(np.reshape(jax.devices(), tuple(axes.values())), tuple(axes))

        def step(params, x, y):
            return network.loss_and_grad(params, x, y, reduction=reduction)

        placed = bp.place_params(mesh, params), *bp.place_batch(mesh, x, y)
        program = jax.jit(step).lower(*placed).compile()
        got = program(*placed)
        found = collectives(program.as_text())
        assert sorted(found) == sorted(expected(params)), found
        for gradient, own in zip(jax.tree.leaves(got[1]), jax.tree.leaves(placed[0]), strict=True):
            assert gradient.sharding.is_equivalent_to(own.sharding, own.ndim)
        apart = ulps(got, want, sizes_of(network, params, x, y, reduction))
        assert apart <= ULPS, f"{apart} ULPs"
        return apart


def count(params):
    return sum(leaf.size for leaf in jax.tree.leaves(params))


# Data parallel: one all-reduce, of the gradient and the loss


def of_gradient(params):
    return [("all-reduce", count(params) + 1)]


@check
def data_parallel_tanh_float32():
    return compare({"data": 8}, "float32", bp.tanh, of_gradient)


@check
def data_parallel_prelu_sum_of_squares_float64():
    return compare({"data": 8}, "float64", bp.prelu, of_gradient, "targets", "sum")


@check
def what_a_deep_network_makes_again_moves_nothing():
    network = bp.mlp((16,) * 5 + (8,), activation=bp.tanh)
    kept = dataclasses.replace(network, rule=bp.chain(*network.rule.parts))
    params, x, y = network.init(jax.random.key(0)), jnp.ones((16, 16)), jnp.zeros(16, jnp.int32)
    for axis in ("data", "model"):
        mesh = Mesh(jax.devices(), (axis,))
        placed = bp.place_params(mesh, params), *bp.place_batch(mesh, x, y)
        found, wanted = (
            sorted(collectives(jax.jit(n.loss_and_grad).lower(*placed).compile().as_text()))
            for n in (network, kept)
        )
        assert found == wanted, (axis, found, wanted)
        assert found


# Tensor parallel: one all-reduce a pair forward, one backward but for the first pair, whose
# inputs need no gradient; and one of what learnable activations sum over their units


def of_pairs(rows, *, slopes=0):
    moved = [rows * WIDTHS[2], rows * WIDTHS[4], rows * WIDTHS[2]]
    return [("all-reduce", n) for n in [*moved, *([slopes] if slopes else [])]]


@check
def tensor_parallel_softplus_float32():
    return compare({"model": 8}, "float32", bp.softplus, lambda params: of_pairs(EXAMPLES))


@check
def tensor_parallel_prelu_float64():
    return compare({"model": 8}, "float64", bp.prelu, lambda params: of_pairs(EXAMPLES, slopes=2))


# Both: rows over four devices, weights over two


def own_part(params):
    """Numbers of the gradient that one device keeps, the loss included."""
    shardings = bp.param_shardings(
        Mesh(np.reshape(jax.devices(), (4, 2)), ("data", "model")), params
    )
    parts = jax.tree.map(lambda a, s: math.prod(s.shard_shape(a.shape)), params, shardings)
    return sum(jax.tree.leaves(parts)) + 1


@check
def data_and_tensor_parallel_silu_sum_float64():
    def expected(params):
        return [*of_pairs(EXAMPLES // 4), ("all-reduce", own_part(params))]

    axes = {"data": 4, "model": 2}
    return compare(axes, "float64", bp.silu, expected, reduction="sum")


@check
def data_and_tensor_parallel_prelu_float32():
    def expected(params):
        return [*of_pairs(EXAMPLES // 4), ("all-reduce", 2), ("all-reduce", own_part(params))]

    return compare({"data": 4, "model": 2}, "float32", bp.prelu, expected)


# By hand: each device runs loss_and_grad on its part, and the collectives are written out


def by_hand(reduce, **options):
    """The compiled gradient, its result, that of one device, and the sizes of its sums."""
    network, params, x, y = problem("float32", bp.prelu)
    mesh = Mesh(jax.devices(), ("data",))

    def part(params, x, y):
        own = network.loss_and_grad(params, x, y, reduction="sum")
        return jax.tree.map(reduce, own)

    spread = jax.shard_map(
        part, mesh=mesh, in_specs=(P(), P("data"), P("data")), out_specs=P(), **options
    )
    program = jax.jit(spread).lower(params, x, y).compile()
    want = network.loss_and_grad(params, x, y)
    return program, program(params, x, y), want, sizes_of(network, params, x, y, "mean")


@check
def mean_over_the_batch_is_a_psum():
    program, *compared = by_hand(lambda g: jax.lax.psum(g, "data") / EXAMPLES)
    assert {kind for kind, _ in collectives(program.as_text())} == {"all-reduce"}
    apart = ulps(*compared)
    assert apart <= ULPS, f"{apart} ULPs"
    return apart


@check
def a_missing_psum_is_refused_by_shard_map():
    with pytest.raises(ValueError, match="replicat"):
        by_hand(lambda g: g / EXAMPLES)


@check
def a_missing_psum_is_refused_by_the_comparison():
    """With what shard_map itself refuses switched off."""
    program, *compared = by_hand(lambda g: g / EXAMPLES, check_vma=False)
    assert not collectives(program.as_text())
    apart = ulps(*compared)
    assert apart > 1000 * ULPS, f"{apart} ULPs"
    return apart


@check
def a_mean_of_sums_is_refused_by_the_comparison():
    """pmean, where the parts are sums: an eighth of the gradient."""
    _, *compared = by_hand(lambda g: jax.lax.pmean(g, "data") / EXAMPLES)
    apart = ulps(*compared)
    assert apart > 1000 * ULPS, f"{apart} ULPs"
    return apart


@check
def a_pair_of_dense_layers_by_hand_needs_one_psum_each_way():
    """Forward the psum is of the outputs, backward of the gradient of the inputs."""
    with jax.enable_x64(True):
        network, params, x, _ = problem("float64", bp.sigmoid, widths=(16, 32, 8))
        first, _, second, _ = params
        dy = jax.random.normal(jax.random.key(3), (EXAMPLES, 8), "float64")

        def pair(first, second, x, dy):
            h, kept_first = bp.dense.fwd(first, x)
            a, kept_activation = bp.sigmoid.fwd(h)
            part, kept_second = bp.dense_without_bias.fwd(second.w, a)
            y = jax.lax.psum(part, "model") + second.b  # the bias once
            dw, da = bp.dense_without_bias.bwd(kept_second, dy)
            (dh,) = bp.sigmoid.bwd(kept_activation, da)
            dfirst, dx = bp.dense.bwd(kept_first, dh)
            return y, dfirst, bp.Dense(dw, jnp.sum(dy, 0)), jax.lax.psum(dx, "model")

        columns, rows = bp.Dense(P(None, "model"), P("model")), bp.Dense(P("model"), P())
        spread = jax.shard_map(
            pair,
            mesh=Mesh(jax.devices(), ("model",)),
            in_specs=(columns, rows, P(), P()),
            out_specs=(P(), columns, rows, P()),
        )
        program = jax.jit(spread).lower(first, second, x, dy).compile()
        y, saved = network.rule.fwd(params, x)
        (dfirst, _, dsecond, _), dx = network.rule.bwd(saved, dy)
        found = collectives(program.as_text())
        # neither waits for the other here, so XLA sends both at once
        assert found == [("all-reduce", EXAMPLES * 8 + EXAMPLES * 16)], found
        apart = ulps(program(first, second, x, dy), (y, dfirst, dsecond, dx))
        assert apart <= ULPS, f"{apart} ULPs"
        return apart


# Memory, and what is refused


def placed(shape, sharding):
    return jax.ShapeDtypeStruct(shape.shape, shape.dtype, sharding=sharding)


@check
def memory_of_a_device_falls():
    """Data parallel what the examples need, tensor parallel what the weights need."""
    for axis, widths, examples in (("data", (16, 64, 64, 8), 4096), ("model", (8, 512, 512, 8), 8)):
        network = bp.mlp(widths, activation=bp.tanh)
        params = jax.eval_shape(lambda of=network: of.init(jax.random.key(0)))
        needed = {}
        for n in (1, 8):
            mesh = Mesh(jax.devices()[:n], (axis,))
            rows = NamedSharding(mesh, P("data") if axis == "data" else P())
            args = (
                jax.tree.map(placed, params, bp.param_shardings(mesh, params)),
                placed(jax.ShapeDtypeStruct((examples, widths[0]), "float32"), rows),
                placed(jax.ShapeDtypeStruct((examples,), "int32"), rows),
            )
            program = jax.jit(lambda *a, of=network: of.loss_and_grad(*a)).lower(*args).compile()
            memory = program.memory_analysis()
            own = sum(
                math.prod(a.sharding.shard_shape(a.shape)) * a.dtype.itemsize
                for a in jax.tree.leaves(args)
            )
            assert memory.argument_size_in_bytes == own, (memory, own)
            needed[n] = own + memory.temp_size_in_bytes + memory.output_size_in_bytes
        assert needed[8] < needed[1] / 3, (axis, needed)


@check
def what_does_not_divide_is_refused_in_one_line():
    _, params, x, y = problem("float32", widths=(16, 30, 8))
    data, model = Mesh(jax.devices(), ("data",)), Mesh(jax.devices(), ("model",))
    other = Mesh(jax.devices(), ("batch",))
    for call, says in (
        (lambda: bp.place_batch(data, x[:30], y[:30]), "take a batch of 32"),
        (lambda: bp.place_params(model, params), "hidden widths of multiples of 8"),
        (lambda: bp.place_params(other, params), "an axis 'data' or 'model'"),
        (lambda: bp.place_batch(jax.devices(), x, y), "expected a mesh"),
    ):
        with pytest.raises((TypeError, ValueError), match=says) as error:
            call()
        assert "\n" not in str(error.value)


@check
def a_mesh_of_explicit_axes_will_do():
    network, params, x, y = problem("float32", widths=(16, 8))
    mesh = jax.make_mesh((8,), ("data",), axis_types=(jax.sharding.AxisType.Explicit,))
    got = network.loss_and_grad(bp.place_params(mesh, params), *bp.place_batch(mesh, x, y))
    apart = ulps(got, network.loss_and_grad(params, x, y))
    assert apart <= ULPS, f"{apart} ULPs"


@check
def layers_without_bias_and_slopes_of_each_unit_are_split_too():
    network = bp.mlp((16, 32, 8), activation=bp.prelu, layer=bp.dense_without_bias)
    first, _, second, last = network.init(jax.random.key(0))
    params = first, jnp.full(32, 0.25), second, last
    shardings = bp.param_shardings(Mesh(jax.devices(), ("model",)), params)
    specs = [leaf.spec for leaf in jax.tree.leaves(shardings)]
    assert specs == [P(None, "model"), P("model"), P("model")], specs


def main():
    jax.config.update("jax_numpy_dtype_promotion", "strict")
    results = {}
    for name, function in CHECKS.items():
        start = time.perf_counter()
        try:
            said, error = function(), None
        except Exception:
            said, error = None, traceback.format_exc()
        seconds = time.perf_counter() - start
        results[name] = {"error": error, "ulps": said, "seconds": round(seconds, 2)}
    print(json.dumps({"devices": len(jax.devices()), "checks": results}))


if __name__ == "__main__":
    main()
