"""Losses: one number an example, and beside each its gradient derived by hand.

Predictions come first, then targets or labels; a loss of vectors reduces the last axis, and
leading axes are examples. Nothing is averaged over examples: the caller reduces. Half precision
computes inside in float32 and rounds once. Integer labels outside 0 .. classes - 1 raise; under
jit, where they cannot, that example's loss and gradient are NaN.
"""

import math
from typing import Any

import jax.numpy as jnp

from manualbp._checks import (
    Array,
    broadcasts,
    floating,
    has_classes,
    integer_labels,
    labels_below,
    one_hot,
    positive_entries,
    same_dtype,
    same_shape,
    within,
)
from manualbp._rule import Rule, align, no_cotangent, sum_to, widen
from manualbp.activations import (
    decays,
    log_probabilities,
    pull_log_probabilities,
    shifted,
    two_decays,
)

SQUARED = "note 000, 'Backpropagation', step 1; note 002, 'Loss'"
BINARY = "note 004, 'Binary cross-entropy loss'"
MULTICLASS = "note 004, 'Multiclass cross-entropy loss'"


def _classes(scores: Any) -> int:
    """Entries of the last axis; 0 where there is none, which fwd refuses."""
    return (jnp.shape(scores) or (0,))[-1]


def _pair(name: str, first: tuple[str, Any], second: tuple[str, Any]) -> tuple[Array, Array]:
    """Two floating arrays of one shape and dtype."""
    arrays = {argument: floating(name, argument, x) for argument, x in (first, second)}
    same_shape(name, **arrays)
    same_dtype(name, **arrays)
    a, b = arrays.values()
    return a, b


def _times_log(y: Array, log_p: Array) -> Array:
    """y log p with 0 log 0 = 0: a class that cannot occur costs nothing, unless p is NaN."""
    nothing = (y == 0) & ~jnp.isnan(log_p)
    return jnp.where(nothing, 0, y * jnp.where(nothing, 0, log_p))


# Squared errors


def _squared(name: str, factor, tex: str, source: str) -> Rule:
    """factor(K) * sum over the last axis of (predictions - targets)^2."""

    def fwd(predictions, targets):
        p, t = _pair(name, ("predictions", predictions), ("targets", targets))
        has_classes(name, "predictions", p)
        error = widen(p) - widen(t)
        # in this order nothing overflows before the loss does
        loss = jnp.sum((factor(p.shape[-1]) * error) * error, axis=-1)
        return loss.astype(p.dtype), (p, t)

    def bwd(saved, dy):
        p, t = saved
        g = 2 * factor(p.shape[-1]) * widen(dy)[..., None]
        dp = (g * (widen(p) - widen(t))).astype(dy.dtype)
        return dp, -dp

    return Rule(name, fwd, bwd, tex, source, saves="p and t")


squared_error = _squared(
    "squared_error",
    lambda k: 1.0,
    tex=r"\sum_k (p_k - t_k)^2, \quad dp = 2(p - t), \quad dt = -dp",
    source=f"{SQUARED}; note 004, linear regression",
)

half_squared_error = _squared(
    "half_squared_error",
    lambda k: 0.5,
    tex=r"\tfrac12 \sum_k (p_k - t_k)^2, \quad dp = p - t, \quad dt = -dp",
    source=f"{SQUARED} ('MSE')",
)

mean_squared_error = _squared(
    "mean_squared_error",
    lambda k: 1.0 / k,
    tex=r"\tfrac1K \sum_k (p_k - t_k)^2, \quad dp = \tfrac2K (p - t), \quad dt = -dp",
    source=f"{SQUARED}, averaged over the outputs",
)


def _gaussian_fwd(mean, variance, targets):
    name = "gaussian_nll"
    m, t = _pair(name, ("mean", mean), ("targets", targets))
    has_classes(name, "mean", m)
    v = floating(name, "variance", variance)
    same_dtype(name, mean=m, variance=v)
    remedy = f"give one variance (), or one an output {m.shape[-1:]}"
    broadcasts(name, "variance", v, "mean", m, remedy)
    error, wide = widen(m) - widen(t), align(widen(v), m.ndim)
    # in this order nothing overflows before the loss does
    terms = 0.5 * (jnp.log(wide) + math.log(2 * math.pi)) + (0.5 * error) * (error / wide)
    return jnp.sum(terms, axis=-1).astype(m.dtype), (error, v)


def _gaussian_bwd(saved, dy):
    error, v = saved
    g, wide = widen(dy)[..., None], align(widen(v), error.ndim)
    scaled = error / wide
    dm = (g * scaled).astype(dy.dtype)
    dv = sum_to(g * (0.5 / wide - (0.5 * scaled) * scaled), v.shape)
    return dm, dv.astype(v.dtype), -dm


gaussian_nll = Rule(
    "gaussian_nll",
    _gaussian_fwd,
    _gaussian_bwd,
    tex=r"\tfrac12 \sum_k [\log 2\pi v_k + (t_k - m_k)^2 / v_k], \quad dm = (m - t)/v, \quad "
    r"dv = \tfrac12 [1 - (m - t)^2/v]/v, \quad dt = -dm",
    source="note 001, 'Output Units: Linear' (mean of a conditional Gaussian)",
    saves="the error m - t and the variance",
    validate=lambda mean, variance, targets: positive_entries(
        "gaussian_nll",
        "variance",
        variance,
        "a variance is a square: predict its logarithm and exponentiate",
    ),
)


# Two classes


def _check_binary(name: str, labels: Any) -> None:
    within(name, "labels", labels, 0, 1, "map labels of -1 and 1 with (labels + 1) / 2")


def _check_probabilities(name: str, probabilities: Any, labels: Any) -> None:
    within(
        name,
        "probabilities",
        probabilities,
        0,
        1,
        "for scores before the sigmoid or softmax use the loss of logits",
    )
    _check_binary(name, labels)


def _log1m(p: Array) -> Array:
    """log(1 - p). XLA's log1p loses 129 ULP in float64 for p from 0.29 to 0.41."""
    return jnp.where(p < 0.25, jnp.log1p(-p), jnp.log(1 - p))


def _bce_fwd(probabilities, labels):
    p, y = _pair("binary_cross_entropy", ("probabilities", probabilities), ("labels", labels))
    wide, label = widen(p), widen(y)
    loss = -_times_log(label, jnp.log(wide)) - _times_log(1 - label, _log1m(wide))
    return loss.astype(p.dtype), (p, y)


def _bce_bwd(saved, dy):
    p, y = (widen(x) for x in saved)
    # p - y is exact for soft labels near p; a hard label that p has reached leaves one term
    reached = (p == y) & ((y == 0) | (y == 1))
    slope = jnp.where(reached, 1 - 2 * y, (p - y) / (p * (1 - p)))
    g = widen(dy)
    dy_label = g * (_log1m(p) - jnp.log(p))
    return (g * slope).astype(dy.dtype), dy_label.astype(dy.dtype)


binary_cross_entropy = Rule(
    "binary_cross_entropy",
    _bce_fwd,
    _bce_bwd,
    tex=r"-[y \log p + (1 - y) \log(1 - p)], \quad dp = (p - y) / (p(1 - p)), \quad "
    r"dy = \log(1 - p) - \log p; \; 0 \log 0 = 0",
    source=f"{BINARY}, one observation",
    saves="p and y",
    validate=lambda probabilities, labels: _check_probabilities(
        "binary_cross_entropy", probabilities, labels
    ),
)


def _logit_terms(z: Array, y: Array) -> tuple[Array, Array]:
    """The loss and its slope in z, from one exponential that cannot overflow.

    -y log s(z) - (1 - y) log s(-z) = |z| (1 - y or y) + log(1 + e^-|z|), all terms positive.
    """
    e = jnp.exp(-jnp.abs(z))
    towards = jnp.where(z >= 0, 1 - y, y)  # the label's weight on the other side
    linear = jnp.where(towards == 0, 0, towards * jnp.abs(z))
    tail = e / (1 + e)
    return linear + jnp.log1p(e), jnp.where(z >= 0, towards - tail, tail - towards)


def _sigmoid_bce_fwd(logits, labels):
    z, y = _pair("sigmoid_binary_cross_entropy", ("logits", logits), ("labels", labels))
    loss, _ = _logit_terms(widen(z), widen(y))
    return loss.astype(z.dtype), (z, y)


def _sigmoid_bce_bwd(saved, dy):
    z, y = (widen(x) for x in saved)
    _, slope = _logit_terms(z, y)
    g = widen(dy)
    return (g * slope).astype(dy.dtype), (-g * z).astype(dy.dtype)


sigmoid_binary_cross_entropy = Rule(
    "sigmoid_binary_cross_entropy",
    _sigmoid_bce_fwd,
    _sigmoid_bce_bwd,
    tex=r"-y \log \sigma(z) - (1 - y) \log \sigma(-z), \quad dz = \sigma(z) - y, \quad dy = -z",
    source=f"{BINARY}; note 003, 'For an output layer'",
    saves="z and y",
    validate=lambda logits, labels: _check_binary("sigmoid_binary_cross_entropy", labels),
)


def _logistic_fwd(logits, labels):
    z, y = _pair("logistic_loss", ("logits", logits), ("labels", labels))
    m = (2 * widen(y) - 1) * widen(z)
    loss = jnp.maximum(-m, 0) + jnp.log1p(jnp.exp(-jnp.abs(m)))
    return loss.astype(z.dtype), (z, y)


def _logistic_bwd(saved, dy):
    z, y = (widen(x) for x in saved)
    sign = 2 * y - 1
    m = sign * z
    e, rest = two_decays(m)
    # sigma(-m) = s rest
    s, rest = jnp.where(m >= 0, e, 1) / (1 + e * rest), jnp.where(m >= 0, rest, 1)
    g = -widen(dy)
    # s vanishes at infinity, where z alone would make it inf * 0
    dlabel = jnp.where(s == 0, 0, 2 * g * z * s * rest)
    return (g * sign * s * rest).astype(dy.dtype), dlabel.astype(dy.dtype)


logistic_loss = Rule(
    "logistic_loss",
    _logistic_fwd,
    _logistic_bwd,
    tex=r"-\log \sigma((2y - 1)z), \quad dz = -(2y - 1)\,\sigma(-(2y - 1)z), \quad "
    r"dy = -2z\,\sigma(-(2y - 1)z)",
    source="note 001, 'Output Units: Sigmoid' (labels 0 and 1)",
    saves="z and y",
    validate=lambda logits, labels: _check_binary("logistic_loss", labels),
)


def _multilabel_fwd(logits, labels):
    name = "multilabel_binary_cross_entropy"
    z, y = _pair(name, ("logits", logits), ("labels", labels))
    has_classes(name, "logits", z)
    loss, _ = _logit_terms(widen(z), widen(y))
    return jnp.sum(loss, axis=-1).astype(z.dtype), (z, y)


def _multilabel_bwd(saved, dy):
    return _sigmoid_bce_bwd(saved, dy[..., None])


multilabel_binary_cross_entropy = Rule(
    "multilabel_binary_cross_entropy",
    _multilabel_fwd,
    _multilabel_bwd,
    tex=r"\sum_k [-y_k \log \sigma(z_k) - (1 - y_k) \log \sigma(-z_k)], \quad "
    r"dz = \sigma(z) - y, \quad dy = -z",
    source="note 004, 'Multi-label multi-class classification'",
    saves="z and y",
    validate=lambda logits, labels: _check_binary("multilabel_binary_cross_entropy", labels),
)


# Many classes


def _ce_fwd(probabilities, labels):
    p, y = _pair("cross_entropy", ("probabilities", probabilities), ("labels", labels))
    has_classes("cross_entropy", "probabilities", p)
    loss = -jnp.sum(_times_log(widen(y), jnp.log(widen(p))), axis=-1)
    return loss.astype(p.dtype), (p, y)


def _ce_bwd(saved, dy):
    p, y = (widen(x) for x in saved)
    g = -widen(dy)[..., None]
    dp = jnp.where((y == 0) & (p == 0), 0, g * (y / p))
    return dp.astype(dy.dtype), (g * jnp.log(p)).astype(dy.dtype)


cross_entropy = Rule(
    "cross_entropy",
    _ce_fwd,
    _ce_bwd,
    tex=r"-\sum_k y_k \log p_k, \quad dp = -y/p, \quad dy = -\log p; \; 0 \log 0 = 0",
    source=f"{MULTICLASS}, one observation",
    saves="p and y",
    validate=lambda probabilities, labels: _check_probabilities(
        "cross_entropy", probabilities, labels
    ),
)


def _softmax_ce_fwd(logits, labels):
    z, y = _pair("softmax_cross_entropy", ("logits", logits), ("labels", labels))
    has_classes("softmax_cross_entropy", "logits", z)
    wide, w = widen(z), widen(y)
    log_p = log_probabilities(wide)
    loss = -jnp.sum(_times_log(w, log_p), axis=-1)
    return loss.astype(z.dtype), (-pull_log_probabilities(wide, w), log_p)


def _softmax_ce_bwd(saved, dy):
    slope, log_p = saved
    g = widen(dy)[..., None]
    return (g * slope).astype(dy.dtype), (-g * log_p).astype(dy.dtype)


softmax_cross_entropy = Rule(
    "softmax_cross_entropy",
    _softmax_ce_fwd,
    _softmax_ce_bwd,
    tex=r"-\sum_k y_k \log p_k, \; p = \mathrm{softmax}(z), \quad dz = (\sum_k y_k)\,p - y, "
    r"\quad dy = -\log p",
    source=f"note 000, 'cross entropy' (sign corrected); {MULTICLASS}; note 003",
    saves="both gradients themselves: sum(y) p - y, with 1 - p of the largest as the sum of the "
    "others, and log p, which goes where labels get no gradient",
)


def _integer_fwd(logits, labels):
    name = "softmax_cross_entropy_with_integer_labels"
    z = floating(name, "logits", logits)
    has_classes(name, "logits", z)
    labels = integer_labels(name, labels, z)
    wide = widen(z)
    own = one_hot(labels, z.shape[-1])
    e = jnp.where(own, 0, decays(wide))
    others = jnp.sum(e, axis=-1, keepdims=True)
    at = labels[..., None]
    behind = -jnp.take_along_axis(shifted(wide), at, axis=-1, mode="clip")
    e_own = jnp.exp(-behind)
    # where the label leads, e_own is 1 and log1p(others) has lost nothing
    loss = behind + jnp.log1p(others + (e_own - 1))
    # a label that no class has leaves no entry: NaN, not the loss of another class
    known = (labels >= 0) & (labels < z.shape[-1])
    loss = jnp.where(known, loss[..., 0], jnp.nan)
    total = jnp.where(known[..., None], others + e_own, jnp.nan)
    # scattered: a selection XLA fuses into what follows, and the matrix products take longer
    slope = jnp.put_along_axis(e / total, at, -others / total, axis=-1, inplace=False, mode="drop")
    return loss.astype(z.dtype), (slope, labels)


def _integer_bwd(saved, dy):
    slope, labels = saved
    return (widen(dy)[..., None] * slope).astype(dy.dtype), no_cotangent(labels)


softmax_cross_entropy_with_integer_labels = Rule(
    "softmax_cross_entropy_with_integer_labels",
    _integer_fwd,
    _integer_bwd,
    tex=r"\log \sum_j e^{z_j} - z_c, \quad dz_i = p_i, \; dz_c = -\sum_{j \ne c} p_j",
    source=f"{MULTICLASS}; note 001, 'Training a Neural Network'",
    saves="the gradient itself: p, with 1 - p of the label as the sum of the others",
    validate=lambda logits, labels: labels_below(
        "softmax_cross_entropy_with_integer_labels", labels, _classes(logits)
    ),
)


def _nll_fwd(log_probabilities, labels):
    name = "negative_log_likelihood"
    log_p = floating(name, "log_probabilities", log_probabilities)
    has_classes(name, "log_probabilities", log_p)
    labels = integer_labels(name, labels, log_p)
    own = one_hot(labels, log_p.shape[-1])
    loss = -jnp.sum(jnp.where(own, log_p, 0), axis=-1)
    return jnp.where(jnp.any(own, axis=-1), loss, jnp.nan), own


def _nll_bwd(own, dy):
    g = jnp.where(jnp.any(own, axis=-1), -dy, jnp.nan)[..., None]
    labels = jnp.empty(own.shape[:-1], jnp.int32)
    return jnp.where(own | jnp.isnan(g), g, 0), no_cotangent(labels)


negative_log_likelihood = Rule(
    "negative_log_likelihood",
    _nll_fwd,
    _nll_bwd,
    tex=r"-\log p_c, \quad d(\log p)_i = -[i = c]",
    source="note 001, 'Training a Neural Network - Loss Function'",
    saves="which entry is the label's",
    validate=lambda log_probabilities, labels: labels_below(
        "negative_log_likelihood", labels, _classes(log_probabilities)
    ),
)

RULES = (
    squared_error,
    half_squared_error,
    mean_squared_error,
    gaussian_nll,
    binary_cross_entropy,
    sigmoid_binary_cross_entropy,
    logistic_loss,
    multilabel_binary_cross_entropy,
    cross_entropy,
    softmax_cross_entropy,
    softmax_cross_entropy_with_integer_labels,
    negative_log_likelihood,
)
