"""The interpreter against JAX's own harnesses of its primitives: in balls, and in float64.

Every harness of float32 or complex64 numbers, at most 3,000 of them, is right, or refused by name.
None is wrong and none crashes.
"""

import collections
import functools
import math
import warnings

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flint import acb, arb

from manualbp.verify.numbers.balls import Arb, precision
from manualbp.verify.numbers.walk import Straddles, Unsupported, evaluate, lift

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from jax._src.internal_test_util import test_harnesses

MOST = 3000
WIDE = {np.dtype(np.float32): np.float64, np.dtype(np.complex64): np.complex128}

# Where numbers mean something else than floats do: how many harnesses differ, and why
OTHERWISE = {
    "reduce_precision": (4, "a rounding to bfloat16 or float16, which real numbers do not have"),
}

# How many of a group have no form in balls, or none that holds for complex numbers (of which JAX
# orders pairs), NaN or arguments outside of a function's domain
REFUSED = {
    "bitcast_convert_type": 3,
    "cholesky": 5,
    "cummax": 2,
    "cummin": 2,
    "eig": 24,
    "eigh": 12,
    "lu": 3,
    "max": 4,
    "min": 4,
    "nextafter": 3,
    "qr": 8,
    "random_gamma": 2,
    "reduce": 1,
    "reduce_max": 1,
    "reduce_min": 1,
    "reduce_window_max": 2,
    "reduce_window_min": 1,
    "regularized_incomplete_beta": 1,
    "scatter_max": 1,
    "scatter_min": 1,
    "sort": 1,
    "svd": 40,
    "top_k": 1,
}


@functools.cache
def groups():
    found = collections.defaultdict(list)
    for harness in test_harnesses.all_harnesses:
        if harness.dtype in (jnp.float32, jnp.complex64):
            found[harness.group_name].append(harness)
    return dict(found)


def number(x):
    if isinstance(x, acb):
        return complex(float(x.real), float(x.imag))
    return float(x) if isinstance(x, arb) else x


def floats(x, dtype):
    return np.array([number(v) for v in np.ravel(x)], dtype).reshape(np.shape(x))


def program(harness):
    """Traced in float64 where that is possible, with arguments and results; how near these are."""
    given = [np.asarray(x) for x in harness.dyn_args_maker(np.random.RandomState(0))]
    if sum(math.prod(x.shape) for x in given) > MOST:
        return None
    wide = [x.astype(WIDE.get(x.dtype, x.dtype)) for x in given]
    for arguments, tolerance in ((wide, 1e-9), (given, 1e-4)):
        try:
            jaxpr = jax.make_jaxpr(harness.dyn_fun)(*arguments)
            truth = jax.jit(jax.extend.core.jaxpr_as_fun(jaxpr))(*arguments)
        except (TypeError, ValueError, NotImplementedError, jax.errors.JaxRuntimeError):
            continue
        return jaxpr, arguments, list(map(np.asarray, truth)), tolerance
    return None


def outcome(harness):
    """What becomes of a harness: right, WRONG, refused, or None if it is large or does not run."""
    found = program(harness)
    if found is None:
        return None
    jaxpr, arguments, truth, tolerance = found
    try:
        with precision(256):
            balls = Arb()
            got = evaluate(jaxpr, [lift(x, balls.lift) for x in arguments], balls)
    except (Straddles, Unsupported):
        return "refused"
    for x, y in zip(got, truth, strict=True):
        if x.shape != y.shape or not same(floats(x, y.dtype), y, tolerance):
            return "WRONG"
    return "right"


def same(x, y, tolerance):
    if y.dtype.kind not in "fc":
        return np.array_equal(x, y)
    return np.allclose(x, y, rtol=tolerance, atol=tolerance / 10, equal_nan=True)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("group", sorted(groups()))
def test_harnesses(group):
    with jax.enable_x64(True), jax.numpy_dtype_promotion("standard"):
        found = collections.Counter(map(outcome, groups()[group]))
    assert found["WRONG"] == OTHERWISE.get(group, (0, ""))[0]
    assert found["refused"] <= REFUSED.get(group, 0)
