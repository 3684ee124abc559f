"""Physics, chemistry, astronomy and special functions."""

import jax.numpy as jnp

from .common import (
    CLIPPED,
    DIFFERENCES,
    Row,
    between,
    complex_normal,
    definite,
    f32,
    i32,
    normal,
    positive,
    unit,
)

MD = "jax_md"
FRACTIONAL = "coordinates are fractions of a box, and gradients those of positions in space"
CHEB = "chebax._src"
QUANTILES = f"{CHEB}.recipes.quantiles"
CONJUGATE = "a conjugate stands in the gradient of the points, which JAX's has not"
SCIPY = "its gradient agrees with differences of SciPy's function; its own compile for minutes"
SPREAD = "nufftax.core.spread"


def spread(dimensions: int, interpolate: bool, draw):
    """Arguments of a spreading or an interpolation, as the public function passes them."""
    from nufftax.core import kernel, spread

    parameters = kernel.compute_kernel_params(1e-6)
    closures = spread._extract_phi_closures(spread._as_kernel(parameters), jnp.float32)
    points = [between(-3, 3, 4, seed=k) for k in range(dimensions)]
    n, width = 16, spread._as_kernel(parameters).nspread
    grid = draw(*(n,) * dimensions) if interpolate else draw(4)
    phi, dphi, phi_orig, dphi_orig, phi_args, dphi_args = closures
    if dimensions == 1:
        return (points[0], grid, n, width, *closures)
    sizes = (n,) * dimensions
    return (*points, grid, phi_args, dphi_args, *sizes, width, phi, dphi, phi_orig, dphi_orig)


ROWS = [
    # JAX MD
    *(
        Row(
            f"{MD}.{module}:transform_gradients",
            lambda: (definite(3), unit(4, 3)),
            "intended",
            FRACTIONAL,
        )
        for module in ("_energy.electrostatics", "mm_forcefields.nonbonded.electrostatics")
    ),
    Row(
        f"{MD}._nn.uma.common.rotation:safe_acos", lambda: (between(-0.9, 0.9, 5),), beyond=CLIPPED
    ),
    Row(
        f"{MD}._nn.uma.common.rotation:safe_atan2",
        lambda: (normal(5), normal(5, seed=1)),
        beyond="next to the origin the slope is bounded",
    ),
    Row(
        f"{MD}._nn.uma.kernels:_segment_mm_2d",
        lambda: (normal(6, 3), normal(2, 4, 3, seed=1), i32(2, 4)),
    ),
    Row(f"{MD}.mm_forcefields.reaxff.reaxff_helper:safe_sqrt", lambda: (positive(4),)),
    Row(
        f"{MD}.rigid_body:_quaternion_rotate",
        lambda: (f32(0.5, 0.5, 0.5, 0.5), normal(3)),
        "intended",
        "the gradient is projected onto unit quaternions",
        near=False,
    ),
    Row(
        f"{MD}.space:transform",
        lambda: (definite(3), unit(4, 3)),
        "intended",
        FRACTIONAL,
    ),
    # e3nn, nufftax, jax-healpy transforms
    Row(
        "e3nn_jax._src.utils.einsum:einsum",
        lambda: ("ij,jk->ik", normal(3, 4), normal(4, 2, seed=1)),
    ),
    Row(
        "e3nn_jax._src.spherical_harmonics:_custom_jvp_spherical_harmonics",
        lambda: ((0, 1, 2), normal(4, 3), "component", ("recursive", "dense")),
    ),
    *(
        Row(
            f"{SPREAD}:_{kind}_{d}d_vjp",
            lambda d=d, kind=kind: spread(d, kind == "interp", complex_normal),
            "wrong",
            CONJUGATE,
            argnums=tuple(range(d + 1)),
            in64=False,
        )
        for kind in ("spread", "interp")
        for d in (1, 2, 3)
    ),
    *(
        Row(
            f"{SPREAD}:_{kind}_{d}d_vjp",
            lambda d=d, kind=kind: spread(d, kind == "interp", normal),
            argnums=tuple(range(d + 1)),
            in64=False,
            label="real",
            # in three dimensions no point that is tried lies on the edge
            beyond="at the kernel's edge, where the slope is infinite, 0" if d < 3 else "",
        )
        for kind in ("spread", "interp")
        for d in (1, 2, 3)
    ),
    Row("jht.diff:_synthesis_vjp", lambda: (complex_normal(10), 2, 3, 0)),
    Row("jht.diff:_adjoint_synthesis_vjp", lambda: (normal(48), 2, 3, 0)),
    # ExoJAX, jaxoplanet
    Row("exojax.rt.chord:safe_sqrt", lambda: (positive(4),)),
    Row(
        "exojax.opacity.lpf.lpf:hjert",
        lambda: (f32(0.7), f32(0.4)),
        beyond="the slope of the function, to which the approximation is close",
    ),
    Row(
        "exojax.special.faddeeva:rewofzx",
        lambda: (f32(0.7), f32(0.4)),
        "wrong",
        "the constant 2 / sqrt(pi) is not multiplied by the cotangent",
    ),
    Row(
        "exojax.postproc.spin_rotation:integrated_rotkernel_trans",
        lambda: (between(-0.8, 0.0, 4), between(0.1, 0.8, 4)),
    ),
    Row(
        "exojax.postproc.spin_rotation:rotkernel_Gimenez",
        lambda: (between(-0.8, 0.8, 4), f32(0.4), f32(0.2)),
    ),
    Row("jaxoplanet.core.kepler:_kepler", lambda: (between(0.2, 6.0, 4), unit(4))),
    Row(
        "jaxoplanet.utils:zero_safe_sqrt",
        lambda: (positive(4),),
        beyond="where the square root is small its slope is that of 0",
    ),
    Row(
        "jaxoplanet.core.limb_dark:_p_integral",
        lambda: (10, 4, True, f32(0.6), f32(0.1)),
        beyond="the slope of the integral, to which the sum over nodes is close",
    ),
    # Galaxies, waves, lenses
    Row(
        "jax_galsim.bessel:kv", lambda: (f32(0.7), positive(4)), "right", DIFFERENCES, argnums=(1,)
    ),
    Row(
        "jax_galsim.bessel:kv",
        lambda: (f32(0.7), positive(4)),
        "intended",
        "the gradient of the order is documented as zero",
        argnums=(0,),
        label="order",
    ),
    Row(
        "ripplegw.waveforms.cbc.IMRPhenom_NRTidal.IMRPhenomD_NRTidalv2:get_planck_taper",
        lambda: (f32(1.05, 1.1, 1.15), f32(1.0)),
        argnums=(1,),
    ),
    Row(
        "ripplegw.waveforms.cbc.IMRPhenom_NRTidal.IMRPhenomD_NRTidalv2:get_planck_taper",
        lambda: (f32(1.05, 1.1, 1.15), f32(1.0)),
        "wrong",
        "the rule for the frequency is None, which JAX takes for zero",
        argnums=(0,),
        label="frequency",
    ),
    Row(
        "jaxtronomy.LensModel.Profiles.epl:EPLMajorAxis._hyp2f1_evaluate",
        lambda: (f32(0.2), f32(0.9), 0.2 * jnp.exp(1j * normal(3))),
        argnums=(1, 2),
        beyond="outside of its circle a series that is cut off, whose sums round to anything",
    ),
    Row(
        "jaxpole.filter:allpole",
        lambda: (normal(2, 6), normal(2, 6, 2, seed=1) / 3, normal(2, 2, seed=2)),
    ),
    Row("jaxpme.potentials:_exp1", lambda: (positive(5),)),
    Row("fftloggin.kernels:_loggamma", lambda: (complex_normal(4),), "right", DIFFERENCES),
    Row("fftloggin.kernels:_loggamma", lambda: (positive(4),), label="real"),
    # Bessel functions
    Row("jaxbessel.bessel:_bessel_jn", lambda: (3, 5 * positive(4))),
    Row("jaxbessel.bessel:j0", lambda: (5 * positive(4),)),
    Row("jaxbessel.bessel:j1", lambda: (5 * positive(4),)),
    Row("jaxbessel.fractional:_bessel_jv_over_xv", lambda: (0.5, 3 * positive(4))),
    Row("jaxbessel.spherical:_spherical_bessel_jn", lambda: (2, 3 * positive(4))),
    # chebax
    Row(
        f"{CHEB}.recipes._common:edge_slope",
        lambda: (positive(3), unit(3)),
        "intended",
        "zero that carries a slope, as its docstring says",
    ),
    Row(f"{CHEB}.recipes.besseli:_besseli_fn", lambda: (f32(1.3), positive(4), True)),
    Row(f"{CHEB}.recipes.lambertw:_w0", lambda: (positive(4),)),
    Row(
        f"{CHEB}.recipes.lambertw:_wm1",
        lambda: (f32(-0.3, -0.2, -0.1),),
        beyond="at -1/e the slope is infinite, that of the program large",
    ),
    Row(
        f"{QUANTILES}:_dPda",
        lambda: (positive(4), positive(4, seed=1)),
        "right",
        DIFFERENCES,
        argnums=(1,),
    ),
    Row(f"{QUANTILES}:_stdtr_cj", lambda: (f32(4.0), normal(4))),
    Row(f"{QUANTILES}:_log_stdtr_cj", lambda: (f32(4.0), normal(4))),
    Row(f"{QUANTILES}:_stdtrit_cj", lambda: (f32(4.0), unit(4)), "right", SCIPY),
    Row(f"{QUANTILES}:betaincinv", lambda: (f32(2.0), f32(3.0), unit(4)), "right", SCIPY),
    Row(f"{QUANTILES}:gammaincinv", lambda: (f32(2.0), unit(4)), "right", SCIPY),
    Row(f"{QUANTILES}:gammainccinv", lambda: (f32(2.0), unit(4)), "right", SCIPY),
    Row(f"{CHEB}.recipes.vonmises:_vonmises_cdf_cj", lambda: (f32(2.0), normal(4)), "right", SCIPY),
    Row(f"{CHEB}.recipes.vonmises:_vonmises_icdf_cj", lambda: (f32(2.0), unit(4)), "right", SCIPY),
    Row(f"{CHEB}.series:_chebval", lambda: (unit(4), normal(6), (0.0, 1.0))),
    Row(f"{CHEB}.series:_pw_chebval", lambda: (unit(4), normal(2, 6), (0.0, 0.5, 1.0))),
]

NOT_ASKED = {
    "s2fft.transforms.c_backend_spherical:ssht_forward": "needs a library that is not installed",
    "s2fft.transforms.c_backend_spherical:ssht_inverse": "needs a library that is not installed",
    "diffaaable.set_aaa.set_aaa:set_aaa": "chooses its number of poles by its numbers, eagerly",
    "diffaaable.tensor:tensor_aaa": "chooses its number of poles by its numbers, eagerly",
    "diffaaable.vectorial:_vectorial_aaa_diff": (
        "chooses its number of poles by its numbers, eagerly"
    ),
}
