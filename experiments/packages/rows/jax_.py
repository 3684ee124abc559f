"""JAX's own."""

import jax.numpy as jnp

from .common import (
    DIFFERENCES,
    Row,
    complex_normal,
    definite,
    f32,
    i32,
    normal,
    positive,
    unit,
)

SPECIAL = "jax._src.scipy.special"
LINALG = "jax._src.numpy.linalg"
OPS = "jax.experimental.pallas.ops"


def decay(y, t, rate):
    return -rate * y + jnp.sin(t)


def odeint_args():
    return (decay, 1e-6, 1e-6, jnp.inf, jnp.inf, normal(3), f32([0.0, 0.5, 1.0]), positive(3))


ROWS = [
    Row("jax._src.nn.functions:relu", lambda: (normal(4, 8),)),
    Row("jax._src.nn.functions:relu6", lambda: (4 * normal(4, 8),)),
    Row("jax._src.nn.functions:log1mexp", lambda: (positive(4, 3),)),
    Row("jax._src.nn.functions:_softmax", lambda: (normal(4, 5), -1)),
    Row(
        "jax._src.nn.functions:_softmax",
        lambda: (normal(4, 5), -1, normal(4, 5, seed=1) > -0.5, -jnp.inf),
        label="masked",
    ),
    Row("jax._src.lax.other:logaddexp", lambda: (normal(5), normal(5, seed=1))),
    Row(
        "jax._src.lax.other:logaddexp",
        lambda: (complex_normal(5), complex_normal(5, seed=1)),
        label="complex",
    ),
    Row("jax._src.lax.other:logaddexp2", lambda: (normal(5), normal(5, seed=1))),
    Row("jax._src.numpy.lax_numpy:_i0", lambda: (normal(6),)),
    Row(
        "jax._src.numpy.ufuncs:_frexp",
        lambda: (f32(0.7, 3.0, -5.5, 11.0),),
        "right",
        "autodiff takes the bits of a number for constants; differences agree with the rule",
    ),
    Row(
        "jax._src.numpy.ufuncs:_sinc_maclaurin",
        lambda: (0, f32(0.0, 0.0)),
        "right",
        "of a constant, whose second derivative is not the rule's: the function's value at 0 alone",
        near=False,
        order=1,
    ),
    Row(
        "jax._src.numpy.ufuncs:_sinc_maclaurin",
        lambda: (1, f32(0.0, 0.0)),
        "intended",
        "the k-th derivative of sin(x)/x at 0, written as a constant; the rule gives the next one",
        near=False,
        label="first derivative",
    ),
    Row(f"{LINALG}:_det", lambda: (normal(3, 3),)),
    Row(f"{LINALG}:_det", lambda: (normal(2, 4, 4),), label="batch"),
    Row(f"{LINALG}:_det", lambda: (complex_normal(3, 3),), label="complex"),
    Row(f"{LINALG}:_pinv", lambda: (normal(4, 3),)),
    Row(f"{LINALG}:_pinv", lambda: (definite(3), None, True), label="hermitian"),
    Row(f"{LINALG}:_slogdet_lu", lambda: (normal(3, 3),)),
    Row(f"{LINALG}:_slogdet_lu", lambda: (complex_normal(3, 3),), label="complex"),
    Row(f"{LINALG}:_slogdet_qr", lambda: (normal(3, 3),), "right", DIFFERENCES),
    Row(f"{LINALG}:_slogdet_small", lambda: (normal(2, 2),)),
    Row(f"{SPECIAL}:_dawsn", lambda: (normal(6),)),
    Row(f"{SPECIAL}:_erfcx", lambda: (normal(6),)),
    Row(f"{SPECIAL}:_owens_t_impl", lambda: (positive(4), unit(4))),
    Row(f"{SPECIAL}:_owens_t_impl", lambda: (normal(6), normal(6, seed=1)), label="signs"),
    Row(f"{SPECIAL}:_wofz", lambda: (complex_normal(4),)),
    Row(f"{SPECIAL}:_xlogx", lambda: (positive(4),)),
    Row(f"{SPECIAL}:expi", lambda: (positive(4),)),
    Row(f"{SPECIAL}:expn", lambda: (2, positive(4)), "right", DIFFERENCES),
    Row(
        f"{SPECIAL}:hyp1f1",
        lambda: (positive(3), positive(3, seed=1), normal(3, seed=2)),
        "right",
        DIFFERENCES,
    ),
    Row(
        f"{SPECIAL}:hyp2f1",
        lambda: (positive(3), positive(3, seed=1), 2 + unit(3), unit(3) / 2),
        "right",
        DIFFERENCES,
    ),
    Row(
        f"{SPECIAL}:log_ndtr",
        lambda: (f32(-1e4, -3e3, -1.0, 2.0), 3),
        "wrong",
        "in float32 the slope at -10,000 is 2,981: the difference of two squares' halves",
        label="far out",
    ),
    Row(f"{SPECIAL}:logit", lambda: (unit(5),)),
    Row(f"{SPECIAL}:poch", lambda: (positive(4), positive(4, seed=1))),
    Row(f"{SPECIAL}:sici", lambda: (positive(4),)),
    Row(f"{SPECIAL}:xlog1py", lambda: (positive(4), positive(4, seed=1))),
    Row(f"{SPECIAL}:xlogy", lambda: (positive(4), positive(4, seed=1))),
    Row(
        f"{SPECIAL}:zeta",
        lambda: (1.5 + positive(4), positive(4, seed=1)),
        "right",
        DIFFERENCES,
        argnums=(1,),
    ),
    Row("jax._src.third_party.scipy.special:fresnel", lambda: (2 * normal(5),)),
    Row(
        "jax.experimental.ode:_odeint",
        odeint_args,
        "unknown",
        "the derivative of the continuous problem, not of the steps that solve it: 5e-6 from "
        "differences at the tolerance of 1e-6 that is asked for",
    ),
    Row(
        f"{OPS}.gpu.layer_norm:layer_norm",
        lambda: (normal(1, 4, 8), positive(8), normal(8, seed=1), 1, 3, 1e-5, "xla", True),
        "right",
        DIFFERENCES,
    ),
    Row(
        f"{OPS}.gpu.rms_norm:rms_norm",
        lambda: (normal(1, 4, 8), positive(8), normal(8, seed=1), 1, 3, 1e-5, "xla", True),
        "right",
        DIFFERENCES,
    ),
    Row(
        f"{OPS}.tpu.flash_attention:_mha_reference",
        lambda: (
            *(normal(1, 2, 4, 8, seed=k) for k in range(3)),
            None,
            None,
            False,
            -1e9,
            1.0,
            False,
        ),
        in64=False,
    ),
    Row(
        f"{OPS}.tpu.flash_attention:_mha_reference",
        lambda: (
            *(normal(1, 2, 4, 8, seed=k) for k in range(3)),
            normal(1, 2, 4, 4, seed=3),
            None,
            True,
            -1e9,
            1.0,
            False,
        ),
        in64=False,
        label="causal, bias",
    ),
    Row(
        f"{OPS}.tpu.splash_attention.splash_attention_kernel:_attention_reference_custom",
        lambda: (
            jnp.tril(jnp.ones((4, 4), bool)),
            *(normal(4, 8, seed=k) for k in range(3)),
            None,
            None,
            -1e9,
            False,
            "flash",
            None,
        ),
    ),
    Row(
        f"{OPS}.tpu.splash_attention.splash_attention_kernel:_attention_reference_custom",
        lambda: (
            jnp.tril(jnp.ones((4, 4), bool)),
            *(normal(4, 8, seed=k) for k in range(3)),
            None,
            None,
            -1e9,
            False,
            "vanilla",
            5.0,
        ),
        label="soft cap",
    ),
    Row(
        f"{OPS}.tpu.megablox:gmm",
        lambda: (
            normal(128, 128),
            normal(2, 128, 128, seed=1),
            i32(48, 80),
            jnp.float32,
            (128, 128, 128),
            None,
            None,
            False,
            True,
        ),
        "right",
        DIFFERENCES,
        in64=False,
    ),
    Row(
        "jax._src.ad_checkpoint:primal_left_tangent_right",
        lambda: (normal(3), normal(3, seed=1)),
        "intended",
        "the value of one argument with the tangent of the other: how a rematerialised value is "
        "joined to its residual",
    ),
]

NOT_ASKED = {
    "jax._src.cudnn.fused_attention_stablehlo:_dot_product_attention": "runs on a GPU only",
    "jax._src.cudnn.fused_attention_stablehlo:_dot_product_attention_fp8": "runs on a GPU only",
    "jax._src.cudnn.scaled_matmul_stablehlo:scaled_dot_general_fn": "runs on a GPU only",
    "jax.experimental.rnn:lstm": "runs on a GPU only",
    f"{OPS}.gpu.attention_mgpu:attention": "runs on a Hopper GPU only",
    "jax._src.lax.control_flow.solves:_custom_root": "takes traced programs as arguments",
    "jax._src.state.discharge:_eval_jaxpr_ad_error": "raises in its rule, and is meant to",
}
