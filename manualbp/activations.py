"""Activations: each value, and beside it the derivative derived by hand.

`second=` is y'', which `second_order` wants; nothing else looks at it.

Every function takes and gives an array of any shape; softmax, log_softmax and logsumexp work
along the last axis. Parameters come first, as in `prelu(slope, z)`. Half precision computes
inside in float32 and rounds once.
"""

import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from manualbp._checks import (
    Array,
    broadcasts,
    finite,
    floating,
    has_classes,
    in_range,
    positive,
    random_key,
    same_dtype,
)
from manualbp._rule import Rule, align, elementwise, named, no_cotangent, sum_to, widen

HIDDEN = "note 001, 'Activation Functions for Hidden Nodes'"
OUTPUT = "note 001, 'Common Activation Functions for Output'"
MORE = "note 001, 'More activation functions'"
RECTIFIED = "note 001, 'Generalized Rectified Linear Units'"


def _decay(z: Array) -> Array:
    """exp(-|z|), which neither overflows nor has lost anything: the base of the sigmoid family."""
    return jnp.exp(-jnp.abs(z))


def _times(a: Any, z: Array) -> Array:
    """a z, where a = 0 times infinity is the limit 0 and not NaN."""
    product = a * z
    return jnp.where(jnp.isnan(product) & ~(jnp.isnan(a) | jnp.isnan(z)), 0, product)


def _squared(e: Array) -> Array:
    """(1 + e)^2, of which 1 + e first would round once more."""
    return 1 + e * (2 + e)


def _sigmoid(z: Array) -> Array:
    e = _decay(z)
    return jnp.where(z >= 0, 1, e) / (1 + e)


def _sigmoid_slope(z: Array) -> Array:
    """sigma(z) sigma(-z); from the output, a(1 - a) has lost the whole right tail by z = 17."""
    e = _decay(z)
    return e / _squared(e)


identity = elementwise(
    "identity",
    lambda z: z,
    lambda z: jnp.ones_like(z),
    tex=r"z, \quad y' = 1",
    source="note 000, 'A Neuron'; note 001, 'Output Units: Linear'",
    second=0,
)

binary_step = elementwise(
    "binary_step",
    jnp.sign,
    jnp.zeros_like,
    tex=r"\mathrm{sign}(z) \in \{-1, 0, 1\}, \quad y' = 0 \text{ (0 at the jump } z = 0)",
    source=OUTPUT,
    kink=lambda z: z,
    second=0,
)

heaviside = elementwise(
    "heaviside",
    lambda z: jnp.where(z > 0, 1, jnp.where(z <= 0, 0, z)),  # NaN stays NaN
    jnp.zeros_like,
    tex=r"[z > 0] \in \{0, 1\}, \quad y' = 0 \text{ (0 at the jump } z = 0)",
    source="note 001, 'Perceptron' (labels 0 and 1)",
    kink=lambda z: z,
    second=0,
)

sigmoid = elementwise(
    "sigmoid",
    _sigmoid,
    _sigmoid_slope,
    tex=r"\sigma(z) = 1/(1 + e^{-z}), \quad y' = \sigma(z)\,\sigma(-z)",
    source=f"note 000, 'A Neuron'; {OUTPUT}",
    second=lambda z: -_sigmoid_slope(z) * jnp.tanh(0.5 * z),  # 1 - 2 sigma = -tanh(z / 2)
)


def _tanh_slope(z: Array) -> Array:
    """sech^2(z) = 4e/(1 + e)^2; from the output, 1 - a^2 has lost both tails by |z| = 8."""
    size = jnp.abs(z)
    far = size > 40  # e vanishes before 4e does: it is two factors, and |z| - 2 exact
    e = jnp.exp(-2 * jnp.where(far, size - 2, size))
    rest = jnp.where(far, jnp.exp(jnp.asarray(-4, z.dtype)), 1)
    return 4 * e * rest / _squared(e * rest)


tanh = elementwise(
    "tanh",
    jnp.tanh,
    _tanh_slope,
    tex=r"\tanh z, \quad y' = \mathrm{sech}^2 z = 4 e^{-2|z|} / (1 + e^{-2|z|})^2",
    source=f"note 000, 'A Neuron'; {OUTPUT}",
    second=lambda z: -2 * jnp.tanh(z) * _tanh_slope(z),
)

relu = elementwise(
    "relu",
    lambda z: jnp.maximum(z, 0),
    lambda y: y > 0,
    saves="y",
    tex=r"\max(0, z), \quad y' = [z > 0] \text{ (0 at } z = 0)",
    source=f"{HIDDEN} (which prints 1 at 0; 0 here, as jax.nn and torch)",
    kink=lambda z: z,
    second=0,
)


def leaky_relu(slope: float = 0.01) -> Rule:
    """z for z >= 0, slope * z below; derivative 1 at 0 (note 001 and jax.nn).

    Args:
      slope: of the negative side, finite.

    Returns:
      A rule of z.

    Raises:
      ValueError: slope is no finite number.
    """
    slope = finite("leaky_relu", "slope", slope)
    return elementwise(
        named("leaky_relu", slope=slope),
        lambda z: jnp.where(z >= 0, z, _times(slope, z)),
        lambda z: jnp.where(z >= 0, 1, jnp.where(z < 0, jnp.asarray(slope, z.dtype), z)),
        tex=r"z \text{ if } z \ge 0 \text{ else } az, \quad y' = 1 \text{ or } a "
        r"\text{ (1 at } z = 0)",
        source=MORE,
        kink=lambda z: z,
        second=0,
    )


absolute = elementwise(
    "absolute",
    jnp.abs,
    jnp.sign,
    tex=r"|z|, \quad y' = \mathrm{sign}(z) \text{ (0 at } z = 0)",
    source=f"{RECTIFIED}: a = -1 (the note prints 1)",
    kink=lambda z: z,
    second=0,
)


def _rectify(name: str) -> tuple[Any, Any]:
    """fwd and bwd of max(0, z) + a min(0, z), for a that broadcasts to z."""

    def fwd(slope, z):
        slope, z = floating(name, "slope", slope), floating(name, "z", z)
        same_dtype(name, z=z, slope=slope)
        remedy = f"one slope a layer () or a channel {z.shape[-1:]}"
        broadcasts(name, "slope", slope, "z", z, remedy)
        return jnp.where(z > 0, z, _times(align(slope, z.ndim), z)), (slope, z)

    def bwd(saved, dy):
        slope, z = saved
        # selected last: as a sum of dy min(0, z) XLA would write min(0, z) out, an array a layer
        own = jnp.where(z > 0, 0, widen(dy) * widen(z))
        dslope = sum_to(own, slope.shape)
        dz = jnp.where(z > 0, dy, jnp.where(z <= 0, dy * align(slope, z.ndim), z))
        return dslope.astype(slope.dtype), dz

    return fwd, bwd


generalized_relu = Rule(
    "generalized_relu",
    *_rectify("generalized_relu"),
    tex=r"\max(0, z) + a \min(0, z), \quad \partial y/\partial z = 1 \text{ or } a "
    r"\text{ (} a \text{ at } z = 0), \quad \partial y/\partial a = \min(0, z)",
    source=RECTIFIED,
    kink=lambda slope, z: z,
    saves="the input z and the slope a: both gradients need the sign and size of z",
)

prelu = Rule(
    "prelu",
    *_rectify("prelu"),
    tex=generalized_relu.tex,
    source=f"{RECTIFIED}: 'Parametric ReLU: learn a'; He et al. 2015, arXiv:1502.01852, eq. 8-10",
    kink=generalized_relu.kink,
    saves=generalized_relu.saves,
)


def randomized_relu(lower: float = 1 / 8, upper: float = 1 / 3) -> Rule:
    """z for z > 0, a z below, with a drawn from U(lower, upper) for each entry.

    Arguments of the rule are `(key, z)`. With a key (`jax.random.key(0)`) it is the training
    form; with None in its place the test form, a = (lower + upper) / 2. Derivative a at 0.

    Args:
      lower: the least slope of the negative side, at most upper.
      upper: the largest.

    Returns:
      A rule of (key, z).

    Raises:
      ValueError: they are no finite numbers in this order.

    >>> import jax
    >>> print(randomized_relu(0.25, 0.75)(None, -2.0))
    -1.0
    >>> print(jax.grad(randomized_relu(), argnums=1)(jax.random.key(0), 3.0))
    1.0
    """
    upper = finite("randomized_relu", "upper", upper)
    lower = in_range(
        "randomized_relu", "lower", lower, lambda v: v <= upper, f"at most upper={upper}"
    )
    name = named("randomized_relu", lower=lower, upper=upper)

    def fwd(key, z):
        z = floating(name, "z", z)
        if key is None:
            drawn = jnp.full(z.shape, (lower + upper) / 2, z.dtype)
        else:
            random_key(name, key)
            drawn = jax.random.uniform(key, z.shape, widen(z).dtype, lower, upper)
        slope = jnp.where(z > 0, 1, jnp.where(z <= 0, drawn.astype(z.dtype), z))
        return _times(slope, z), (key, slope)

    def bwd(saved, dy):
        key, slope = saved
        return jax.tree.map(no_cotangent, key), dy * slope

    return Rule(
        name,
        fwd,
        bwd,
        tex=r"\max(0, z) + a \min(0, z), \; a \sim U(l, u) \text{ (training)}, \; a = (l + u)/2 "
        r"\text{ (test)}, \quad y' = 1 \text{ or } a \text{ (} a \text{ at } z = 0)",
        source=f"{RECTIFIED}: 'Randomized ReLU'; Xu et al. 2015, arXiv:1505.00853",
        kink=lambda key, z: z,
        saves="the slope of each entry, 1 or a: the derivative itself",
        second=0,
    )


def _softplus(z: Array) -> Array:
    # selections, not max and abs: the second derivative comes through here, at 0 too
    return jnp.where(z > 0, z, 0) + jnp.log1p(jnp.exp(jnp.where(z > 0, -z, z)))


softplus = elementwise(
    "softplus",
    _softplus,
    lambda y: -jnp.expm1(-y),
    saves="y",
    half=_sigmoid,  # half a ULP of y is one of y'
    tex=r"\ln(1 + e^z), \quad y' = \sigma(z) = 1 - e^{-y}",
    source=f"{HIDDEN} (gradient left blank there)",
    second=lambda y: -jnp.expm1(-y) * jnp.exp(-y),  # sigma(z) sigma(-z)
)


def elu(alpha: float = 1.0) -> Rule:
    """z for z > 0, alpha (e^z - 1) below; derivative alpha at 0.

    Args:
      alpha: minus the limit at -inf, positive.

    Returns:
      A rule of z.

    Raises:
      ValueError: alpha is no positive finite number.
    """
    alpha = positive("elu", "alpha", alpha)
    return elementwise(
        named("elu", alpha=alpha),
        lambda z: jnp.where(z > 0, z, alpha * jnp.expm1(jnp.minimum(z, 0))),
        # from the output, y + alpha has lost the tail by z = -17
        lambda z: jnp.where(z > 0, 1, alpha * jnp.exp(jnp.minimum(z, 0))),
        tex=r"z \text{ if } z > 0 \text{ else } \alpha(e^z - 1), \quad y' = 1 \text{ or } "
        r"\alpha e^z \text{ (} \alpha \text{ at } z = 0)",
        source=MORE,
        kink=lambda z: z if alpha != 1 else jnp.ones_like(z),
        second=lambda z: jnp.where(z > 0, 0, alpha * jnp.exp(jnp.minimum(z, 0))),
    )


def _finite(z: Array) -> Array:
    """Infinities as the largest numbers, so that a product with a vanished factor is 0."""
    return jnp.clip(z, jnp.finfo(z.dtype).min, jnp.finfo(z.dtype).max)


def two_decays(u: Array) -> tuple[Array, Array]:
    """exp(-|u|) as two factors, as it vanishes before z exp(-|u|) does. The second is mostly 1."""
    size = jnp.abs(u)
    most = jnp.asarray(math.floor(-math.log(jnp.finfo(u.dtype).tiny)), u.dtype)
    far = size > most - 7
    # |u| - most is exact there
    return jnp.exp(-jnp.where(far, size - most, size)), jnp.where(far, jnp.exp(-most), 1)


def _product(a: Any, z: Array) -> tuple[Array, Array]:
    """a z as a float, and what rounding took from it (Dekker 1971).

    Half a ULP of a large exponent is many ULPs of its exponential.
    """
    a = jnp.asarray(a, z.dtype)
    (a_high, a_low), (z_high, z_low) = _halves(a), _halves(z)
    u = _times(a, z)
    return u, ((a_high * z_high - u) + a_high * z_low + a_low * z_high) + a_low * z_low


def _halves(x: Array) -> tuple[Array, Array]:
    """x as a sum of two numbers of half its digits, whose products are exact (Veltkamp 1968)."""
    c = x * (2.0 ** ((jnp.finfo(x.dtype).nmant + 2) // 2) + 1)
    high = c - (c - x)
    return high, x - high


def decays_of(u: Array, low: Array | None = None) -> tuple[Array, Array]:
    """exp(-|u + low|) as two factors of at most 1, as it vanishes before z exp(-|u|) does."""
    size, info = jnp.abs(u), jnp.finfo(u.dtype)
    far = size > math.floor(math.log(info.eps / info.tiny))  # from where e low below vanishes
    e = jnp.exp(-jnp.where(far, 0.5 * size, size))
    rest = jnp.where(far, e, 1)
    if low is not None:
        # near the ends of the range the halves of a product overflow, or have lost their digits
        low, most = jnp.where(jnp.isfinite(low), low, 0), info.eps * size
        e -= e * jax.lax.clamp(-most, jnp.where(u < 0, -low, low), most)
    return e, rest


def _swish(z: Array, u: Array, e: Array, rest: Array) -> Array:
    """z sigma(u), for u = beta z and e rest = exp(-|u|)."""
    # sigma vanishes at -inf, where z alone would make it inf * 0
    return jnp.where(u >= 0, z, _finite(z) * e * rest) / (1 + e * rest)


def _swish_slope(u: Array, e: Array, rest: Array) -> Array:
    """d(z sigma(beta z))/dz at u = beta z: sigma(u) (1 + u sigma(-u))."""
    u, d = _finite(u), 1 + e * rest
    return jnp.where(u >= 0, d + u * e * rest, (d + u) * e * rest) / _squared(e * rest)


def sigmoid_slope_root(u: Array) -> Array:
    """sqrt(sigma'(u)), which has not vanished where x^2 sigma'(u) has not."""
    h = jnp.exp(-0.5 * jnp.abs(u))
    return h / (1 + h * h)


def _swish_bend(u: Array) -> Array:
    """d(_swish_slope)/du = sigma'(u) (2 - u tanh(u/2)), even in u."""
    root, u = sigmoid_slope_root(u), _finite(u)
    return (2 - u * jnp.tanh(0.5 * u)) * root * root


SWISH = (
    r"z\,\sigma(\beta z), \quad \partial y/\partial z = "
    r"\sigma(\beta z)\,(1 + \beta z\,\sigma(-\beta z))"
)


def swish(beta: float = 1.0) -> Rule:
    """z * sigmoid(beta z), for a fixed beta.

    Args:
      beta: finite; 1 gives silu.

    Returns:
      A rule of z.

    Raises:
      ValueError: beta is no finite number.
    """
    beta = finite("swish", "beta", beta)

    def scaled(z: Array) -> tuple[Array, Array, Array]:
        """beta z and its two decays."""
        if abs(math.frexp(beta)[0]) in (0, 0.5):  # of a power of two nothing is lost
            return (u := _times(beta, z)), *decays_of(u)
        u, low = _product(beta, z)
        with np.errstate(over="ignore"):
            lost = beta - float(np.asarray(beta, z.dtype))
        return u, *decays_of(u, low + lost * z)

    return elementwise(
        named("swish", beta=beta),
        lambda z: _swish(z, *scaled(z)),
        lambda z: _swish_slope(*scaled(z)),
        tex=SWISH,
        source=f"{MORE} (its gradient holds for beta = 1 only); Ramachandran et al. 2017, "
        "arXiv:1710.05941",
        second=lambda z: beta * _swish_bend(beta * z),
    )


silu = elementwise(
    "silu",
    lambda z: _swish(z, z, *two_decays(z)),
    lambda z: _swish_slope(z, *two_decays(z)),
    tex=r"z\,\sigma(z), \quad y' = \sigma(z)\,(1 + z\,\sigma(-z))",
    source=f"{MORE}: swish with beta = 1",
    second=_swish_bend,
)


def _scaled(beta: Array, x: Array) -> tuple[Array, Array, Array]:
    """u = beta x and its two decays."""
    u, low = _product(align(widen(beta), x.ndim), x)
    return u, *decays_of(u, low)


def _learnable_swish_fwd(beta, z):
    beta, z = (
        floating("learnable_swish", "beta", beta),
        floating("learnable_swish", "z", z),
    )
    same_dtype("learnable_swish", z=z, beta=beta)
    remedy = f"one beta a layer () or a channel {z.shape[-1:]}"
    broadcasts("learnable_swish", "beta", beta, "z", z, remedy)
    x = widen(z)
    return _swish(x, *_scaled(beta, x)).astype(z.dtype), (beta, z)


def _learnable_swish_bwd(saved, dy):
    # each computed anew: what fwd and they have in common XLA would keep, two more arrays a layer
    beta, z = jax.lax.optimization_barrier(saved)
    g = widen(dy)
    dz = g * _swish_slope(*_scaled(beta, widen(z)))

    beta, z = jax.lax.optimization_barrier((beta, z))
    x = widen(z)
    u, e, rest = _scaled(beta, x)
    # x^2 alone overflows where sigma' has long vanished; selected last: as a sum of products XLA
    # would write the factors out
    dbeta = jnp.where(jnp.isinf(u), 0, (g * (x * e / _squared(e * rest))) * (x * rest))
    return sum_to(dbeta, beta.shape).astype(beta.dtype), dz.astype(z.dtype)


learnable_swish = Rule(
    "learnable_swish",
    _learnable_swish_fwd,
    _learnable_swish_bwd,
    tex=SWISH + r", \quad \partial y/\partial\beta = z^2\,\sigma(\beta z)\,\sigma(-\beta z)",
    source=f"{MORE}; Ramachandran et al. 2017, arXiv:1710.05941 (beta learned)",
    saves="the input z and beta",
)


def _largest(x: Array) -> Array:
    """Of each row, and no function of it: what a row is shifted by changes no probability.

    So second derivatives are right also at ties.
    """
    return jax.lax.stop_gradient(jnp.max(x, axis=-1, keepdims=True))


def shifted(x: Array) -> Array:
    """x - max(x), where an infinite largest entry is 0 too: the limit, not inf - inf."""
    return minus(x, _largest(x))


def decays(x: Array) -> Array:
    """exp(x - max(x)), also where the difference is rounded.

    Half a ULP of a difference of 100 would be 32 ULP of its exponential. What rounding takes away
    from a difference is a number itself (Knuth, TAOCP 2, 4.2.2, theorem B), and exp(d + r) is
    exp(d) (1 + r) for so small an r.
    """
    most = jnp.finfo(x.dtype).max
    x, largest = (jnp.clip(v, -most, most) for v in (x, _largest(x)))  # not inf - inf
    d = x - largest
    back = x - d
    r = (x - (d + back)) + (back - largest)
    e = jnp.exp(d)
    # NaN where the difference overflows; and small whatever its terms
    return e + e * jnp.where(jnp.isnan(r), 0, jnp.clip(r, -1, 1))


def minus(x: Array, y: Array) -> Array:
    """x - y, and 0 for equal infinities."""
    finite_x, finite_y = (jnp.where(jnp.isfinite(v), v, 0) for v in (x, y))
    return jnp.where(x == y, finite_x - finite_y, x - y)


def _sum(x: Array) -> Array:
    """Of each row, as a column."""
    return jnp.sum(x, axis=-1, keepdims=True)


def sum_without_largest(x: Array) -> Array:
    """sum_j exp(x_j - max) - 1, whose log1p has lost nothing when one entry dominates."""
    top, e = x == _largest(x), decays(x)
    return _sum(jnp.where(top, 0, e)) + (_sum(jnp.where(top, e, 0)) - 1)


def _row(name: str, z: Any) -> Array:
    z = floating(name, "z", z)
    has_classes(name, "z", z)
    return z


def _probabilities(x: Array) -> Array:
    e = decays(x)
    return e / _sum(e)


def _softmax_fwd(z):
    z = _row("softmax", z)
    wide = widen(z)
    p = _probabilities(wide).astype(z.dtype)
    return p, p if wide.dtype == z.dtype else z  # half precision has rounded p


def _softmax_bwd(saved, dy):
    wide, g = widen(saved), widen(dy)
    if wide.dtype != saved.dtype:
        wide = _probabilities(wide)
    # The Jacobian's rows sum to 0, so dy may be shifted. Shifted by its entry at the largest p,
    # that p leaves the sum, and 1 - p never cancels.
    top = wide == _largest(wide)
    g = g - _sum(jnp.where(top, g, 0)) / _sum(top.astype(g.dtype))
    dz = wide * (g - _sum(wide * g))
    return (dz.astype(dy.dtype),)


softmax = Rule(
    "softmax",
    _softmax_fwd,
    _softmax_bwd,
    tex=r"p_i = e^{z_i} / \sum_j e^{z_j}, \quad dz_i = p_i (dp_i - \sum_j p_j\,dp_j)",
    source="note 001, 'Output Softmax Units'; note 000, 'Logistic Regression'",
    saves="the output p; in half precision, which has rounded it, the input z",
)


def log_probabilities(x: Array) -> Array:
    """log softmax, with the largest term split off."""
    return shifted(x) - jnp.log1p(sum_without_largest(x))


def pull_log_probabilities(x: Array, g: Array) -> Array:
    """dz_i = g_i - p_i sum(g), where for the largest p_i, 1 - p_i is the sum of the others."""
    top, e = x == _largest(x), decays(x)
    e_below, e_top, g_below, g_all = map(
        _sum, (jnp.where(top, 0, e), jnp.where(top, e, 0), jnp.where(top, 0, g), g)
    )
    total, alone = e_below + e_top, top & (e_top == 1)
    e_others = jnp.where(alone, e_below, total - e)
    g_others = jnp.where(alone, g_below, g_all - g)
    return (g * e_others - e * g_others) / total


def _log_softmax_fwd(z):
    z = _row("log_softmax", z)
    return log_probabilities(widen(z)).astype(z.dtype), z


def _log_softmax_bwd(z, dy):
    return (pull_log_probabilities(widen(z), widen(dy)).astype(dy.dtype),)


log_softmax = Rule(
    "log_softmax",
    _log_softmax_fwd,
    _log_softmax_bwd,
    tex=r"\log p_i = z_i - \log \sum_j e^{z_j}, \quad dz_i = dy_i - p_i \sum_j dy_j",
    source="note 001, 'Output Softmax Units'",
    saves="the input z: exp(log p) would have lost log p ULPs",
)


def _logsumexp_fwd(z):
    z = _row("logsumexp", z)
    wide = widen(z)
    y = jnp.max(wide, axis=-1) + jnp.log1p(sum_without_largest(wide)[..., 0])
    return y.astype(z.dtype), z


def _logsumexp_bwd(z, dy):
    wide = widen(z)
    p = _probabilities(wide)
    # A row of -inf stays -inf whatever one of its entries does. One with NaN has NaN for p, but may
    # have -inf for its maximum (jaxlib 0.10.2 on CPUs, eagerly, from 1,024 entries on).
    empty = (_largest(wide) == -jnp.inf) & ~jnp.isnan(p)
    return (jnp.where(empty, 0, widen(dy)[..., None] * p).astype(z.dtype),)


logsumexp = Rule(
    "logsumexp",
    _logsumexp_fwd,
    _logsumexp_bwd,
    tex=r"\log \sum_j e^{z_j}, \quad dz_i = p_i\,dy",
    source="note 001, 'Output Softmax Units' (the denominator); note 004, 'Multiclass "
    "cross-entropy loss'",
    saves="the input z",
)

RULES = (
    identity,
    binary_step,
    heaviside,
    sigmoid,
    tanh,
    relu,
    leaky_relu(),
    absolute,
    generalized_relu,
    prelu,
    randomized_relu(),
    softplus,
    elu(),
    swish(),
    learnable_swish,
    silu,
    softmax,
    log_softmax,
    logsumexp,
)
