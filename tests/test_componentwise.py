"""Rules of vectors, entry by entry: errors beside the sum of the magnitudes of each entry's terms.

The truth is NumPy's 80-bit arithmetic, of the formulas of the lecture notes and their derivatives.
A softmax is held to them at any distance from the largest entry, though the difference is rounded.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import manualbp as bp

pytestmark = pytest.mark.optimized
WIDE = np.longdouble
if np.finfo(WIDE).nmant < 60:
    pytest.skip("no arithmetic wider than float64", allow_module_level=True)

ROWS = {
    "ordinary": np.linspace(-3, 2, 7),
    "equal": np.full(5, 1.5),
    "one": np.array([2.0]),
    "large spread": np.array([-80.0, -3.0, 0.0, 4.0, 20.0]),
    "rounded differences": 7.3 - 80 * np.sqrt(np.linspace(0, 1, 97)),
    "large": np.array([1e4, 1e4 - 1, -1e4, 3.0]),
    "masked": np.array([-np.inf, 1.0, -np.inf, 0.5, -2.0]),
    "one left": np.array([-np.inf, 3.0, -np.inf]),
    "sure": np.array([30.0, 0.0, -1.0]),
    "near ties": np.array([1.0, 1.0 + 1e-6, 1.0 - 1e-6]),
    "thousand": np.sin(np.arange(1000.0)) * 8,
    "thousand equal": np.zeros(1000),
    "thousand, one leads": np.where(np.arange(1000) == 700, 40.0, 0.0),
}


def labels(kind, n, z):
    """Of finite classes only: a masked class that occurs costs infinity."""
    finite = np.isfinite(z)
    if kind == "one-hot":
        return np.eye(n)[np.flatnonzero(finite)[-1]]
    soft = np.where(finite, 1 + np.cos(np.arange(n)) ** 2, 0)
    return soft / soft.sum() if kind == "soft" else 3 * soft  # else not summing to one


def probabilities(z):
    """p, log p and the distance from the largest, in 80 bits."""
    below = z - z.max()
    total = np.exp(below).sum()
    return np.exp(below) / total, below - np.log(total), np.abs(below)


def results(rule, *args, dy):
    """Value and gradients, compiled."""
    return jax.jit(lambda *a: (lambda y, pull: (y, *pull(dy)))(*jax.vjp(rule, *a)))(*args)


def assert_close(got, truth, terms, dtype, what, extra=0):
    """Within 8 ULP of the terms, and some more where there are many additions."""
    got, truth = np.asarray(got).astype(WIDE), np.asarray(truth)
    unit = np.finfo(dtype).eps * np.maximum(terms, np.abs(truth)) + 64 * np.finfo(dtype).tiny
    with np.errstate(all="ignore"):
        far = np.where(got == truth, 0, np.abs(got - truth)) / (unit * (8 + extra))
    assert np.all(far <= 1), (what, float(np.max(far)))  # NaN is not


@pytest.fixture(params=["float32", "float64"])
def dtype(request):
    with jax.enable_x64(request.param == "float64"):
        yield np.dtype(request.param)


@pytest.mark.parametrize("name", ROWS)
def test_softmax_family(name, dtype):
    z = ROWS[name].astype(dtype)
    g = np.cos(3 * np.arange(z.size)).astype(dtype)
    p, log_p, far = probabilities(z.astype(WIDE))
    w = g.astype(WIDE)

    value, dz = results(bp.softmax, z, dy=g)
    assert_close(value, p, p, dtype, "p")
    terms = p * (np.abs(w) + (p * np.abs(w)).sum())
    assert_close(dz, p * (w - (p * w).sum()), terms, dtype, "softmax dz")

    finite = np.isfinite(z)
    value, dz = results(bp.log_softmax, z, dy=np.where(finite, g, 0).astype(dtype))
    assert_close(value[finite], log_p[finite], far[finite] + 7, dtype, "log p")
    wf = np.where(finite, w, 0)
    terms = np.abs(wf) + p * np.abs(wf).sum()
    assert_close(dz, wf - p * wf.sum(), terms, dtype, "log_softmax dz")

    value, dz = results(bp.logsumexp, z, dy=dtype.type(0.7))
    total = z.astype(WIDE).max() + np.log(np.exp(z.astype(WIDE) - z.max()).sum())
    assert_close(value, total, np.abs(z[finite]).max() + 7, dtype, "logsumexp")
    assert_close(dz, p * WIDE(dtype.type(0.7)), p, dtype, "logsumexp dz")


@pytest.mark.parametrize("kind", ["one-hot", "soft", "not summing to one"])
@pytest.mark.parametrize("name", ROWS)
def test_softmax_cross_entropy(name, kind, dtype):
    z = ROWS[name].astype(dtype)
    y = labels(kind, z.size, z).astype(dtype)
    dy = dtype.type(-1.3)
    p, log_p, far = probabilities(z.astype(WIDE))
    w, g = y.astype(WIDE), WIDE(dy)
    known = np.isfinite(log_p)
    far = np.where(known, far, 0)

    value, dz, _ = results(bp.softmax_cross_entropy, z, y, dy=dy)
    used = np.where(known, w * np.where(known, log_p, 0), 0)
    assert_close(value, -used.sum(), np.abs(w * (far + 7)).sum(), dtype, "loss")
    terms = np.abs(g) * (w.sum() * p + w)
    assert_close(dz, g * (w.sum() * p - w), terms, dtype, "dz")
    if kind != "one-hot":
        return
    c = int(y.argmax())
    value, dz = jax.jit(
        lambda z: jax.value_and_grad(bp.softmax_cross_entropy_with_integer_labels)(z, jnp.array(c))
    )(z)
    assert_close(value, -log_p[c], far[c] + 7, dtype, "loss of an integer")
    # the label's own entry keeps every digit of 1 - p
    own = np.where(np.arange(z.size) == c, -np.delete(p, c).sum(), p)
    assert_close(dz, own, np.abs(own), dtype, "dz of an integer")


@pytest.mark.parametrize("shape", [(1, 1, 1), (3, 4, 5), (64, 1000, 10)])
def test_dense(shape, dtype):
    m, n, k = shape
    rng = np.random.default_rng(0)
    scale = 10.0 ** rng.integers(-3, 4, n)
    x, w = (rng.normal(size=(m, n)) / scale).astype(dtype), rng.normal(size=(n, k)).astype(dtype)
    b, g = rng.normal(size=k).astype(dtype), rng.normal(size=(m, k)).astype(dtype)
    value, dp, dx = results(bp.dense, bp.Dense(jnp.asarray(w), jnp.asarray(b)), x, dy=g)
    X, W, B, G = (a.astype(WIDE) for a in (x, w, b, g))
    many = 2 * np.sqrt(n + m + k)  # additions, of which errors cancel at random
    assert_close(value, X @ W + B, np.abs(X) @ np.abs(W) + np.abs(B), dtype, "y", many)
    assert_close(dp.w, X.T @ G, np.abs(X.T) @ np.abs(G), dtype, "dw", many)
    assert_close(dp.b, G.sum(0), np.abs(G).sum(0), dtype, "db", many)
    assert_close(dx, G @ W.T, np.abs(G) @ np.abs(W.T), dtype, "dx", many)


@pytest.mark.parametrize("compiled", [True, False], ids=["compiled", "eager"])
@pytest.mark.parametrize("at", [0, 1250, 2499])
def test_nan_takes_its_row_however_long_that_is(at, compiled):
    """Also where the backend's maximum of many drops it, and is -inf if it stands last."""
    z = np.full((2, 2500), -np.inf, np.float32)
    z[:, 2], z[1, at] = 1, np.nan
    labels = jnp.eye(2500, dtype=z.dtype)[jnp.asarray([2, 2])]

    def found(rule, *fixed):
        def value_and_gradient(z):
            y, pull = jax.vjp(lambda z: rule(z, *fixed), z)
            return y.reshape(2, -1), pull(jnp.ones_like(y))[0]

        return (jax.jit(value_and_gradient) if compiled else value_and_gradient)(z)

    rows = [(bp.softmax,), (bp.log_softmax,), (bp.logsumexp,), (bp.softmax_cross_entropy, labels)]
    for rule, *fixed in rows:
        for y in found(rule, *fixed):
            assert np.isnan(y[1]).all(), rule.name
            if rule is not bp.log_softmax:  # whose sum of all entries' is infinite
                assert not np.isnan(y[0]).any(), rule.name
