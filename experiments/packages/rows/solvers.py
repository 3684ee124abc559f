"""Solvers, their parts, and programs that a derivative is carried around."""

import jax.numpy as jnp

from .common import DIFFERENCES, Row, complex_normal, definite, f32, normal, positive

SQRTM = "ott.math.matrix_square_root"
CACHE = "the derivative by the cached factor is given to the matrix of which it is the factor"
CLOSE = "the derivative of the continuous problem, not of the steps that solve it"
SYMMETRIC = "right for symmetric changes of a symmetric matrix, which is all that it may be given"
RELAXED = "the derivative of a smoothed problem, whose barrier is kept at target_kappa"


def decay(y, t, rate):
    return -rate * y + jnp.sin(t)


def convex(n: int = 3, m: int = 4):
    return definite(n), normal(n), normal(m, n, seed=1), positive(m, seed=2)


def symmetric(name: str):
    """A solver of nifty's behind what makes its matrix symmetric, as its users' are."""
    from nifty.re.tree_math import util

    rule = getattr(util, name)
    return lambda a, *others: rule((a + a.T) / 2, *others)


def linear_problem():
    from ott.geometry import pointcloud
    from ott.problems.linear import linear_problem as lp

    return lp.LinearProblem(pointcloud.PointCloud(normal(5, 2), normal(4, 2, seed=1), epsilon=0.1))


ROWS = [
    # Equinox, Lineax, Optimistix
    Row(
        "equinox.internal._nextafter:nextafter",
        lambda: (normal(4),),
        "right",
        DIFFERENCES,
    ),
    Row("equinox.internal._nextafter:prevbefore", lambda: (normal(4),), "right", DIFFERENCES),
    Row("lineax._misc:_asarray", lambda: (jnp.dtype("float32"), normal(3)), in64=False),
    Row("optimistix._misc:_asarray", lambda: (jnp.dtype("float32"), normal(3)), in64=False),
    Row("lineax._norm:_two_norm", lambda: (normal(5),)),
    Row(
        "lineax._norm:_two_norm",
        lambda: ({"w": normal(2, 3), "b": normal(3, seed=1)},),
        label="tree",
    ),
    Row("lineax._norm:_two_norm", lambda: (complex_normal(4),), label="complex"),
    Row(
        "lineax._norm:_zero_grad_at_zero",
        lambda: (normal(3),),
        beyond="the identity, whose gradient is zero at 0",
    ),
    # JAXopt
    Row("jaxopt._src.projection:_projection_unit_simplex", lambda: (normal(6),)),
    Row("jaxopt._src.projection:_projection_unit_sparse_simplex", lambda: (normal(6), 3, False)),
    # OTT
    Row(
        f"{SQRTM}:sqrtm",
        lambda: (definite(3), 1e-6, 0, 10, 1000, 1e-6),
        "right",
        DIFFERENCES,
        argnums=(0,),
    ),
    Row(f"{SQRTM}:sqrtm_only", lambda: (definite(3), 1e-6, 0, 10, 1000, 1e-6)),
    Row(f"{SQRTM}:inv_sqrtm_only", lambda: (definite(3), 1e-6, 0, 10, 1000, 1e-6)),
    Row("ott.math.utils:lambertw", lambda: (positive(5), 1e-8, 100), "right", DIFFERENCES),
    Row("ott.math.utils:logsumexp", lambda: (normal(3, 4), 1, False, None, False)),
    Row(
        "ott.math.utils:logsumexp",
        lambda: (normal(3, 4), 1, False, positive(3, 4, seed=1), False),
        label="weights",
    ),
    Row(
        "ott.math.utils:norm",
        lambda: (jnp.zeros((2, 3)), 2, -1, False),
        "wrong",
        "the value of a norm that is 0, where a gradient is asked for, is that of ones",
        label="of zeros",
    ),
    Row("ott.math.utils:softmin", lambda: (normal(3, 4), f32(0.5), -1), argnums=(0,)),
    Row(
        "ott.math.utils:softmin",
        lambda: (normal(3, 4), f32(0.5), -1),
        "wrong",
        "the rule gives None for gamma, which JAX takes for zero; the docstring says nothing",
        argnums=(1,),
        label="gamma",
    ),
    Row(
        "ott.solvers.linear.semidiscrete:_semidiscrete_loss",
        lambda: (normal(4), linear_problem()),
        argnums=(0,),
    ),
    # Quadratic programs
    Row(
        "qpax.explicit.elastic_qp:solve_qp_elastic_primal",
        lambda: (*convex(), f32(10.0), 1e-5, 1e-3, 30),
        "intended",
        RELAXED,
    ),
    Row(
        "qpax.implicit.elastic_qp:solve_qp_elastic_primal",
        lambda: (*convex(), f32(10.0), 1e-5, 1e-3, 30),
        "intended",
        RELAXED,
    ),
    Row(
        "qpax.explicit.diff_qp:solve_qp_primal",
        lambda: (
            definite(3),
            normal(3),
            normal(1, 3, seed=3),
            normal(1, seed=4),
            normal(4, 3, seed=1),
            positive(4, seed=2),
            1e-5,
            1e-3,
            30,
        ),
        "intended",
        RELAXED,
    ),
    Row(
        "qpax.implicit.diff_qp:solve_qp_primal",
        lambda: (
            definite(3),
            normal(3),
            normal(1, 3, seed=3),
            normal(1, seed=4),
            normal(4, 3, seed=1),
            positive(4, seed=2),
            1e-5,
            1e-3,
            30,
        ),
        "intended",
        RELAXED,
    ),
    # Matrices
    Row("nifty.re.tree_math.util:_solve", lambda: (definite(3), normal(3)), "intended", SYMMETRIC),
    Row("nifty.re.tree_math.util:_sqrtm", lambda: (definite(3),), "intended", SYMMETRIC),
    Row(
        "nifty.re.tree_math.util:_solve",
        lambda: (definite(3), normal(3)),
        make=lambda: symmetric("_solve"),
        definition=lambda a, b: jnp.linalg.solve((a + a.T) / 2, b),
        label="behind a symmetric matrix",
    ),
    Row(
        "dynamiqs.integrators.core.low_rank_integrator:_qr_solve_cached",
        lambda: (normal(4, 3), jnp.linalg.qr(normal(4, 3)), normal(4, 2, seed=1)),
        "intended",
        CACHE,
        near=False,
    ),
    Row(
        "dynamiqs.integrators.core.low_rank_integrator:_cholesky_solve_cached",
        lambda: (normal(4, 3), jnp.linalg.pinv(normal(4, 3)), normal(4, 2, seed=1)),
        "intended",
        CACHE,
        near=False,
    ),
    Row("varipeps.utils.svd:svd_wrapper", lambda: (normal(4, 3), False)),
    Row("varipeps.utils.svd:svd_only_u", lambda: (normal(4, 3), True), "right", DIFFERENCES),
    Row("varipeps.utils.svd:svd_only_vt", lambda: (normal(4, 3), True), "right", DIFFERENCES),
    Row(
        "fmmax.eig:eig",
        lambda: (complex_normal(3, 3), 1e-12),
        "unknown",
        "eigenvectors are given up to a phase, and so is their derivative",
        argnums=(0,),
    ),
    Row("folx.slogdet:slogdet", lambda: (normal(3, 3),)),
    Row(
        "folx.wrapped_functions:complex_abs",
        lambda: (jnp.array([1 + 1j, -2j, 0]),),
        "wrong",
        "NaN at 0, where the absolute value has the gradient 0 by JAX's convention",
        label="at 0",
    ),
    # Integrators
    Row(
        "bijx.solvers:_rk4_odeint",
        lambda: (decay, 0.25, normal(3), f32(0.0, 1.0), positive(3, seed=1)),
        "unknown",
        f"{CLOSE}: they differ by less than the error of the steps",
    ),
    Row(
        "netket.jax._expect:_expect",
        lambda: (None, None, None, log_pdf, energy, normal(3), normal(6, 3, seed=1)),
        "intended",
        "an expectation: the density moves with the parameters, its samples stay",
        argnums=(5,),
    ),
]

NOT_ASKED = {
    "equinox.internal._loop.checkpointed:_checkpointed_while_loop": (
        "its body is a function of a kind that its caller makes"
    ),
    "jaxopt._src.isotonic:_isotonic_l2_pav": (
        "its callback does not compile with numba 0.68, which is given read-only buffers"
    ),
    "equinox._ad:_nondifferentiable": "raises in its rule, and is meant to",
    "equinox._errors:_error": "its value is an error or its argument; takes a static program",
    "equinox.internal._loop.checkpointed:_stop_gradient_on_unperturbed": (
        "looks at which arguments are being differentiated, and takes a static tree"
    ),
    "equinox.debug._backward_nan:_backward_nan": "prints in its rule",
    "diffrax._adjoint:_loop_backsolve": "takes a solver's whole state",
    "ott.math.fixed_point_loop:fixpoint_iter_backprop": "takes traced constants of a loop",
    "ott.solvers.linear.sinkhorn:_iterations_implicit": "takes and gives a solver's whole state",
    "varipeps.ctmrg.routine:calc_ctmrg_env_custom_rule": "takes a tensor network's unit cell",
    "bijx.cg:_crouch_grossmann": "takes manifolds and a tableau, built by its caller",
    "diffaaable.adaptive:_adaptive_aaa_diff": "samples a function that users pass, eagerly",
}


def log_pdf(parameters, samples):
    return -jnp.sum(jnp.square(samples - parameters), axis=-1)


def energy(parameters, samples):
    return jnp.sum(jnp.cos(samples * parameters), axis=-1)
