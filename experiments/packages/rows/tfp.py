"""TensorFlow Probability's JAX substrate."""

import jax
import jax.numpy as jnp

from .common import DIFFERENCES, Row, definite, f32, normal, positive, unit

TFP = "tensorflow_probability.substrates.jax"
SPECIAL = f"{TFP}.math.special"
BESSEL = f"{TFP}.math.bessel"
LINALG = f"{TFP}.math.linalg"
T = f"{TFP}.distributions.student_t"
CHI2 = f"{TFP}.distributions.noncentral_chi2"
MANUAL = f"{TFP}.experimental.math.manual_special_functions"
IMPLICIT = "the derivative of the quantile function at the sample, not of the sampler's program"
NO_ORDER = "no gradient for the order, as a comment in the source says"
FACTOR = "the derivative by the Cholesky factor is given to the matrix of which it is the factor"


def key(seed: int = 0):
    return jax.random.key(seed)  # as TFP's samplers make of any seed


def factor(a):
    return jnp.linalg.cholesky(a)


ROWS = [
    Row(
        f"{TFP}.distributions.gamma:_random_gamma_gradient",
        lambda: ((4,), positive(4), positive(4, seed=1), None, key(), False),
        "intended",
        IMPLICIT,
    ),
    Row(
        f"{TFP}.distributions.inverse_gaussian:_random_inverse_gaussian_gradient",
        lambda: ((4,), positive(4), positive(4, seed=1), key()),
        "intended",
        IMPLICIT,
    ),
    Row(
        f"{TFP}.distributions.two_piece_normal:_two_piece_normal_sample_with_gradient",
        lambda: ((4,), positive(4), key()),
        "intended",
        IMPLICIT,
    ),
    Row(
        f"{TFP}.distributions.von_mises:_von_mises_sample_with_gradient",
        lambda: ((4,), positive(4), key()),
        "intended",
        IMPLICIT,
        near=False,
        in64=False,
    ),
    Row(
        f"{CHI2}:_nc2_cdf_naive",
        lambda: (3 * positive(3), 2 + positive(3), positive(3, seed=1)),
        "right",
        DIFFERENCES,
        argnums=(0, 2),
    ),
    Row(
        f"{CHI2}:_nc2_cdf_naive",
        lambda: (3 * positive(3), 2 + positive(3), positive(3, seed=1)),
        "wrong",
        "the rule leaves the degrees of freedom out; nothing says so",
        argnums=(1,),
        label="freedom",
    ),
    Row(
        f"{CHI2}:_nc2_quantile_naive",
        lambda: (unit(3), 2 + positive(3), positive(3, seed=1), f32(1e-6)),
        "right",
        "autodiff cannot; differences of a root found to 1e-6 are unsure; 1 / density at the "
        "quantile is the derivative of an inverse",
        argnums=(0,),
    ),
    Row(
        f"{CHI2}:_nc2_quantile_naive",
        lambda: (unit(3), 2 + positive(3), positive(3, seed=1), f32(1e-6)),
        "wrong",
        "the rule leaves the distribution's parameters out; nothing says so",
        argnums=(1, 2),
        label="parameters",
    ),
    Row(f"{T}:_stdtr_custom_gradient", lambda: (2 + positive(4), normal(4))),
    Row(f"{T}:_stdtrit_custom_gradient", lambda: (2 + positive(4), unit(4)), "right", DIFFERENCES),
    Row(
        f"{TFP}.experimental.distributions.marginal_fns:_retrying_cholesky_custom_gradient",
        lambda: (definite(3), f32(1e-6), 5, True),
    ),
    Row(f"{MANUAL}:_exp_pade_4_4_impl", lambda: (normal(5),)),
    Row(f"{MANUAL}:_expm1_pade_4_4_impl", lambda: (normal(5),)),
    Row(f"{MANUAL}:_log1p_pade_4_4_impl", lambda: (positive(5),)),
    Row(f"{MANUAL}:_log_pade_4_4_impl", lambda: (positive(5),)),
    Row(
        f"{BESSEL}:_bessel_iv_ratio_custom_gradient",
        lambda: (1 + positive(4), positive(4, seed=1)),
        "right",
        DIFFERENCES,
        argnums=(1,),
    ),
    Row(
        f"{BESSEL}:_bessel_iv_ratio_custom_gradient",
        lambda: (1 + positive(4), positive(4, seed=1)),
        "intended",
        NO_ORDER,
        argnums=(0,),
        label="order",
    ),
    Row(
        f"{BESSEL}:_bessel_ive_custom_gradient",
        lambda: (positive(4), positive(4, seed=1)),
        "right",
        DIFFERENCES,
        argnums=(1,),
    ),
    Row(
        f"{BESSEL}:_bessel_ive_custom_gradient",
        lambda: (positive(4), positive(4, seed=1)),
        "intended",
        NO_ORDER,
        argnums=(0,),
        label="order",
    ),
    Row(
        f"{BESSEL}:_bessel_kve_custom_gradient",
        lambda: (positive(4), positive(4, seed=1)),
        "right",
        DIFFERENCES,
        argnums=(1,),
    ),
    Row(
        f"{BESSEL}:_bessel_kve_custom_gradient",
        lambda: (positive(4), positive(4, seed=1)),
        "intended",
        NO_ORDER,
        argnums=(0,),
        label="order",
    ),
    Row(
        f"{BESSEL}:_log_bessel_ive_custom_gradient",
        lambda: (positive(4), positive(4, seed=1)),
        "right",
        DIFFERENCES,
        argnums=(1,),
    ),
    Row(
        f"{BESSEL}:_log_bessel_ive_custom_gradient",
        lambda: (positive(4), positive(4, seed=1)),
        "intended",
        NO_ORDER,
        argnums=(0,),
        label="order",
    ),
    Row(
        f"{BESSEL}:_log_bessel_kve_custom_gradient",
        lambda: (positive(4), positive(4, seed=1)),
        "right",
        DIFFERENCES,
        argnums=(1,),
    ),
    Row(
        f"{BESSEL}:_log_bessel_kve_custom_gradient",
        lambda: (positive(4), positive(4, seed=1)),
        "intended",
        NO_ORDER,
        argnums=(0,),
        label="order",
    ),
    Row(f"{TFP}.math.generic:_log_cosh_custom_gradient", lambda: (2 * normal(6),)),
    Row(f"{LINALG}:_hpsd_logdet_custom_gradient", lambda: (definite(3), None)),
    Row(
        f"{LINALG}:_hpsd_solve_custom_gradient",
        lambda: (definite(3), normal(3, 2), factor(definite(3))),
        "intended",
        FACTOR,
        near=False,
    ),
    Row(
        f"{LINALG}:_hpsd_quadratic_form_solve_custom_gradient",
        lambda: (definite(3), normal(3, 2), None),
        "wrong",
        "B' A^-1 B has the tangent dB' S + S' dB with S = A^-1 B; the rule has 2 S' dB",
    ),
    Row(
        f"{LINALG}:_hpsd_quadratic_form_solve_custom_gradient",
        lambda: (definite(3), normal(3, 1), None),
        label="one column",
    ),
    Row(
        f"{LINALG}:_hpsd_quadratic_form_solvevec_custom_gradient",
        lambda: (definite(3), normal(3), None),
    ),
    Row(
        f"{SPECIAL}:_betainc_custom_gradient",
        lambda: (f32(1.0, 0.7, 2.0), f32(1.0, 1.5, 0.6), f32(0.5, 0.4, 0.8)),
        "wrong",
        "where a = b = 1 and x = 0.5 the gradient of a is -0.375, not log(0.5) / 2 = -0.347",
        label="of 1",
    ),
    Row(
        f"{SPECIAL}:_betaincinv_custom_gradient",
        lambda: (positive(4), positive(4, seed=1), unit(4)),
        "right",
        DIFFERENCES,
    ),
    Row(f"{SPECIAL}:_dawsn_custom_gradient", lambda: (normal(5),)),
    Row(f"{SPECIAL}:_erfcx_custom_gradient", lambda: (normal(5),)),
    Row(
        f"{SPECIAL}:_igammacinv_custom_gradient",
        lambda: (positive(4), unit(4)),
        "right",
        DIFFERENCES,
    ),
    Row(
        f"{SPECIAL}:_igammainv_custom_gradient",
        lambda: (positive(4), unit(4)),
        "right",
        DIFFERENCES,
    ),
    Row(f"{SPECIAL}:_lambert_custom_gradient", lambda: (positive(5),), "right", DIFFERENCES),
    Row(
        f"{SPECIAL}:_lambert_custom_gradient",
        lambda: (f32(-0.3, -0.2, -0.1),),
        "right",
        DIFFERENCES,
        label="negative",
    ),
    Row(f"{SPECIAL}:_lbeta_custom_gradient", lambda: (positive(4), positive(4, seed=1))),
    Row(
        f"{SPECIAL}:_log_gamma_difference_custom_gradient",
        lambda: (positive(4), 8 + positive(4, seed=1)),
    ),
    Row(
        f"{SPECIAL}:_owens_t_custom_gradient",
        lambda: (normal(5), normal(5, seed=1)),
        "right",
        DIFFERENCES,
    ),
    Row(
        f"{TFP}.math.generic:_reduce_kahan_sum<_variadic_reduce_custom_grad>",
        lambda: ((normal(3, 4), jnp.zeros((3, 4), jnp.float32)), (0.0, 0.0), (1,), kahan, (3, 1)),
        "intended",
        "the gradient of an exact sum: its compensation carries none",
        near=False,
    ),
]

NOT_ASKED = {
    f"{TFP}.distributions.mixture_same_family:_prevent_2nd_derivative": (
        "raises in its rule, and is meant to"
    ),
    f"{TFP}.internal.custom_gradient:_prevent_gradient_helper": (
        "raises in its rule, and is meant to"
    ),
    f"{TFP}.internal.distribute_lib:rwb_pbroadcast": "stands for a collective over a named axis",
    f"{TFP}.internal.distribute_lib:rwb_psum": "stands for a collective over a named axis",
}


def kahan(x, y):
    from tensorflow_probability.substrates.jax.math import generic

    return generic._kahan_reduction(x, y)
