"""Libraries for training: layers, losses, quantisation, spikes, distributions, optimisers."""

import jax
import jax.numpy as jnp

from .common import CLIPPED, DIFFERENCES, Row, between, f32, normal, positive

FP8 = "flax.linen.fp8_ops"
OWN = "the new scale and history of amax are given in the place of gradients"
THROUGH = "straight through: the derivative of rounding is taken as one"
BOUND = "the slope is cut off near 0, and is the gradient elsewhere"
CONV = (((1,), (0,)), ((), ()))


def scale_and_history():
    return f32([1.0]), jnp.zeros(4, jnp.float32)


def precision():
    from cuequivariance_jax.triangle import _sigmoid_gated_dual_gemm

    return _sigmoid_gated_dual_gemm.Precision.IEEE


ROWS = [
    # Optax
    Row(
        "optax.losses._classification:weighted_logsoftmax",
        lambda: (normal(4, 5), jax.nn.softmax(normal(4, 5, seed=1))),
    ),
    Row("optax.projections._projections:_projection_unit_simplex", lambda: (normal(6),)),
    # Flax
    Row(
        f"{FP8}:dot_general_with_precision",
        lambda: (normal(3, 4), normal(4, 2, seed=1), CONV, None, None),
    ),
    Row(
        f"{FP8}:in_qdq",
        lambda: (jnp.float32, jnp.float8_e4m3fn, normal(3, 4), *scale_and_history()),
        "intended",
        f"{THROUGH}; {OWN}",
        in64=False,
        near=False,
    ),
    Row(
        f"{FP8}:out_qdq",
        lambda: (jnp.float32, jnp.float8_e5m2, normal(3, 4), *scale_and_history()),
        "intended",
        f"the cotangent is rounded to 8 bits; {OWN}",
        in64=False,
        near=False,
    ),
    Row(
        f"{FP8}:in_q",
        lambda: (jnp.float32, jnp.float8_e4m3fn, normal(3, 4), *scale_and_history()),
        "intended",
        f"no gradient for what is rounded; {OWN}",
        in64=False,
        near=False,
    ),
    Row(
        f"{FP8}:out_dq",
        lambda: (jnp.float32, f32([0.5]), f32([0.25]), normal(3, 4)),
        "intended",
        "the gradient passes unscaled: the product of 8 bits before it has scaled it",
        in64=False,
        near=False,
    ),
    Row(
        f"{FP8}:quantized_dot",
        lambda: (
            normal(4, 8),
            normal(4, 8).astype(jnp.float8_e4m3fn),
            f32([1.0]),
            normal(8, 4, seed=1),
            normal(8, 4, seed=1).astype(jnp.float8_e4m3fn),
            f32([1.0]),
            f32([1.0]),
            jnp.zeros(4, jnp.float32),
            CONV,
            jnp.float32,
        ),
        "intended",
        f"the gradient of the rounded factors is given to those before rounding; {OWN}",
        in64=False,
        near=False,
    ),
    # AQT
    Row(
        "aqt.jax_legacy.jax.fp_cast:downcast_sat_ftz",
        lambda: (normal(6), -3, 3, 3),
        "intended",
        THROUGH,
        near=False,
        in64=False,
    ),
    Row(
        "aqt.jax_legacy.jax.primitives:floor_with_gradient",
        lambda: (3 * normal(6),),
        "intended",
        THROUGH,
        near=False,
    ),
    Row(
        "aqt.jax_legacy.jax.primitives:round_with_gradient",
        lambda: (3 * normal(6),),
        "intended",
        THROUGH,
        near=False,
    ),
    # Distributions
    Row("numpyro.distributions.util:log1mexp", lambda: (-positive(5),)),
    Row(
        "distrax._src.distributions.von_mises:_von_mises_cdf",
        lambda: (normal(4), positive(4), jnp.dtype("float32")),
        in64=False,
    ),
    Row(
        "distrax._src.distributions.von_mises:_von_mises_sample",
        lambda: ((4,), positive(4), jax.random.PRNGKey(0), jnp.dtype("float32")),
        "intended",
        "the derivative of the quantile function at the sample, not of the sampler's program",
        in64=False,
        near=False,
    ),
    Row("distrax._src.utils.math:multiply_no_nan", lambda: (normal(4), normal(4, seed=1))),
    Row("distrax._src.utils.math:power_no_nan", lambda: (positive(4), normal(4, seed=1))),
    Row("distreqx.utils.math:multiply_no_nan", lambda: (normal(4), normal(4, seed=1))),
    Row("distreqx.utils.math:power_no_nan", lambda: (positive(4), normal(4, seed=1))),
    # Square roots
    Row(
        "kfac_jax._src.utils.math:_sqrt_bound_derivative",
        lambda: (positive(5), 1000.0),
        beyond=BOUND,
    ),
    Row(
        "kfac_jax._src.utils.math:_sqrt_bound_derivative",
        lambda: (f32(1e-4, 1e-3, 2.0), 10.0),
        "intended",
        BOUND,
        label="at the bound",
    ),
    Row(
        "recurrentgemma.jax.layers:sqrt_bound_derivative",
        lambda: (positive(5), 1000.0),
        beyond=BOUND,
    ),
    Row(
        "recurrentgemma.jax.layers:sqrt_bound_derivative",
        lambda: (f32(1e-4, 1e-3, 2.0), 10.0),
        "intended",
        BOUND,
        label="at the bound",
    ),
    # Attention, normalisation, gates
    Row(
        "tokamax._src.ops.attention.base:_softmax",
        lambda: (normal(2, 4, 6), True),
        "intended",
        "the maximum and the denominator are residuals, and carry no gradient",
    ),
    Row(
        "tokamax._src.ops.flex_attention.base:_softmax",
        lambda: (normal(2, 4, 6), True),
        "intended",
        "the maximum and the denominator are residuals, and carry no gradient",
    ),
    Row("tokamax._src.benchmarking:_optimization_barrier", lambda: (normal(3),)),
    Row(
        "cuequivariance_jax.triangle._layer_norm_transpose:_layer_norm",
        lambda: (normal(1, 4, 8), positive(8), normal(8, seed=1), 1e-5, True, 0, True),
        "right",
        DIFFERENCES,
        in64=False,
    ),
    Row(
        "cuequivariance_jax.triangle._sigmoid_gated_dual_gemm:_sigmoid_gated_dual_gemm_core",
        lambda: (
            normal(4, 8),
            normal(4, 8, seed=1),
            normal(6, 8, seed=2),
            normal(6, 8, seed=3),
            normal(6, seed=4),
            normal(6, seed=5),
            jnp.ones(4, jnp.float32),
            False,
            False,
            precision(),
            True,
            True,
            True,
            False,
        ),
        "right",
        DIFFERENCES,
        in64=False,
    ),
    Row(
        "cuequivariance_jax.triangle._triangle_attention:triangle_attention_custom_vjp",
        lambda: (
            *(normal(1, 2, 2, 4, 8, seed=k) for k in range(3)),
            normal(1, 1, 2, 4, 4, seed=3),
            jnp.ones((1, 2, 1, 1, 4), bool),
            0.35,
            None,
        ),
        "intended",
        "the sums and maxima beside the result are residuals, and carry no gradient",
        in64=False,
    ),
    # Spikes
    Row(
        "jaxsnn.discrete.functional.threshold:superspike",
        lambda: (normal(6), 80),
        "intended",
        "a surrogate: the slope of a fast sigmoid for that of a step",
        near=False,
    ),
    Row("jaxsnn.event.solver.lif_analytical:_lambertwk0", lambda: (f32(0.7), 5)),
    Row(
        "spyx.experimental.compress:packed_spike_dense",
        lambda: ((normal(4, 16) > 0).astype(jnp.float32), normal(16, 3, seed=1)),
        "right",
        "for spikes of 0 and 1 and first derivatives, as its docstring says",
        near=False,
        order=1,
    ),
    # Physics engines
    Row("brax.math:safe_arccos", lambda: (between(-0.9, 0.9, 5),), beyond=CLIPPED),
    Row("brax.math:safe_arcsin", lambda: (between(-0.9, 0.9, 5),), beyond=CLIPPED),
    Row(
        "mujoco.mjx._src.collision_sdf:_cylinder",
        lambda: (f32(0.9, 0.5, 0.2), f32(0.5, 0.6, 0.0)),
        argnums=(0,),
        label="beside",
    ),
    Row(
        "mujoco.mjx._src.collision_sdf:_cylinder",
        lambda: (f32(0.9, 0.5, 1.2), f32(0.5, 0.6, 0.0)),
        argnums=(0,),
        label="over the rim",
    ),
    Row(
        "mujoco.mjx._src.collision_sdf:_cylinder",
        lambda: (f32(0.1, 0.2, 0.1), f32(0.5, 0.6, 0.0)),
        "right",
        "autodiff is NaN: the square root of 0 outside stands beside; differences agree",
        argnums=(0,),
        label="inside",
    ),
]

NOT_ASKED = {
    "slax:pack": "packs bits: no floating result",
    "slax:unpack": "unpacks integers: no floating argument",
    "recurrentgemma.jax.pallas:_lru": "a kernel for a TPU, without an interpreted form",
}
