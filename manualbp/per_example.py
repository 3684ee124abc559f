"""Per-example gradients without per-example gradients: norms, clipping and noise of a minibatch.

A dense layer's gradient for one example is the outer product of its input a and its delta, so its
squared norm is ||a||^2 ||delta||^2 (and ||delta||^2 more for the bias), and the sum of the clipped
gradients is one contraction a^T (s delta) with one scale s an example. Both come from the a and
delta that one forward and one backward pass make anyway; an array of batch x parameters is never
made. Losses are summed over outputs, never over examples: the gradient of an example is that of
its own loss, not divided by the number of examples.

Sources: Goodfellow 2015, arXiv:1510.01799 (norms); Abadi et al. 2016, arXiv:1607.00133,
algorithm 1 (clipping and noise); McMahan et al. 2018, arXiv:1812.06210 (clipping by layer);
McCandlish et al. 2018, arXiv:1812.06162, appendix A.1 (noise scale); Alain et al. 2015,
arXiv:1511.06481 (importance).
"""

import functools
import math
import operator
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from manualbp import activations, layers
from manualbp._checks import Array, brief, in_range, is_concrete, random_key
from manualbp._chunks import over, put, take
from manualbp._rule import Rule, argument_names, chain, described, widen
from manualbp.layers import _matmul
from manualbp.networks import Network, _check_reduction, for_each_example, with_loss

# Normal numbers drawn at a time
_DRAWN = 2**14


class Norms(NamedTuple):
    """Squared gradient norms, one an example.

    Attributes:
      total: over all parameters, shape (examples,).
      layers: as params, with an array of shape (examples,) in the place of each layer or
        activation with parameters, and () where there are none.
    """

    total: Any
    layers: Any


class NoiseScale(NamedTuple):
    """How noisy the gradient of one example is, beside the true gradient G.

    Attributes:
      scale: tr(Sigma) / |G|^2, the batch at which noise and gradient are of one size.
      covariance_trace: tr(Sigma) of one example's gradient, unbiased.
      squared_gradient: |G|^2, unbiased, hence negative at times: average both over several
        batches before dividing.
    """

    scale: Any
    covariance_trace: Any
    squared_gradient: Any


@dataclass(frozen=True)
class _Layer:
    """What the backward pass knows at one rule: its residuals, and the cotangent of its output."""

    rule: Rule
    residuals: Any
    dy: Array

    def gradient(self, dy: Array) -> Any:
        """The gradient of the parameters, summed over the examples."""
        return self.rule.bwd(self.residuals, dy)[0]

    def each(self) -> Any:
        """The gradient of the parameters, one an example."""
        # parameters come first in the residuals of every rule of _SQUARED
        pull = jax.vmap(lambda saved, dy: self.rule.bwd(saved, dy)[0], in_axes=((None, 0), 0))
        return pull(self.residuals, self.dy)


def _squares(x: Array) -> Array:
    """The sum of squares of each example."""
    wide = widen(x)
    return jnp.sum(wide * wide, axis=tuple(range(1, x.ndim)))


def _outer(bias: int) -> Callable[[_Layer], Array]:
    """||a delta^T||^2 = ||a||^2 ||delta||^2, and once more ||delta||^2 for a bias."""

    def squared(layer: _Layer) -> Array:
        _, a = layer.residuals
        if a.ndim != 2:
            raise ValueError(
                f"per_example: expected an input of {layer.rule.name} of shape (examples, units), "
                f"got {a.shape}: a layer used at many places has no norm of this form"
            )
        return (_squares(a) + bias) * _squares(layer.dy)

    return squared


def _small(layer: _Layer) -> Array:
    """Of parameters that are no more than the units: made for each example, then squared."""
    slope, z = layer.residuals
    if slope.ndim > 1:
        raise ValueError(
            f"per_example: expected the parameter of {layer.rule.name} to be one a layer () or a "
            f"channel {z.shape[-1:]}, got shape {slope.shape}"
        )
    return _squares(layer.each())


# How often ||delta||^2 counts for a bias
_BIAS: dict[Rule, int] = {
    layers.dense: 1,
    layers.dense_without_bias: 0,
    layers.dense_augmented: 0,  # its a includes the 1
}

# The rules with parameters that have a per-example form
_SQUARED: dict[Rule, Callable[[_Layer], Array]] = {
    **{rule: _outer(bias) for rule, bias in _BIAS.items()},
    activations.prelu: _small,
    activations.generalized_relu: _small,
    activations.learnable_swish: _small,
}


def per_example_norms(
    network: Network,
    params: Any,
    x: Array,
    y: Array,
    key: Array | None = None,
    *,
    check: bool = True,
) -> Norms:
    """The squared gradient norm of each example, by layer and in total, in one pass.

    Args:
      network: of dense layers and of activations that treat each example by itself.
      params: as its `init` gives them.
      x: inputs, shape (examples, inputs).
      y: targets, first axis the examples.
      key: for randomised activations in training.
      check: look at the values of concrete arguments too, before anything is compiled.

    Returns:
      The norms, in float32 at least.

    Raises:
      TypeError, ValueError: a layer without a per-example form, or as `loss_and_grad`.

    >>> import manualbp
    >>> network = manualbp.mlp((2, 3))
    >>> params = network.init(jax.random.key(0))
    >>> norms = per_example_norms(network, params, jnp.ones((4, 2)), jnp.zeros(4, jnp.int32))
    >>> norms.total.shape
    (4,)
    """
    x, y = _checked("per_example_norms", network, params, x, y, key, check)
    return _norms(network, params, x, y, key)


def importance_scores(
    network: Network,
    params: Any,
    x: Array,
    y: Array,
    key: Array | None = None,
    *,
    check: bool = True,
) -> Array:
    """The gradient norm of each example: the sampling weights of least variance.

    Sampled with probability p_i = score_i / sum(scores) and weighted 1 / (n p_i), examples give
    an unbiased gradient of the least variance (arXiv:1511.06481).

    Args:
      network: as for `per_example_norms`, and so the other arguments.
      params: as its `init` gives them.
      x: inputs.
      y: targets.
      key: for randomised activations in training.
      check: look at values too.

    Returns:
      Norms, not squared, shape (examples,).
    """
    x, y = _checked("importance_scores", network, params, x, y, key, check)
    return jnp.sqrt(_norms(network, params, x, y, key).total)


def per_example_grads(
    network: Network,
    params: Any,
    x: Array,
    y: Array,
    key: Array | None = None,
    *,
    check: bool = True,
) -> Any:
    """The gradient of each example: batch x parameters, for those who want it all.

    Args:
      network: as for `per_example_norms`, and so the other arguments.
      params: as its `init` gives them.
      x: inputs.
      y: targets.
      key: for randomised activations in training.
      check: look at values too.

    Returns:
      The tree of params, each array with a first axis of examples.
    """
    x, y = _checked("per_example_grads", network, params, x, y, key, check)
    return _grads(network, params, x, y, key)


def clipped_grads(
    network: Network,
    params: Any,
    x: Array,
    y: Array,
    clip_norm: Any,
    key: Array | None = None,
    noise_multiplier: Any = 0,
    *,
    per_layer: bool = False,
    reduction: Literal["mean", "sum"] = "mean",
    check: bool = True,
) -> Any:
    r"""The gradient of DP-SGD: each example's clipped to a norm, summed, noised, divided.

    (1/n) [sum_i g_i / max(1, ||g_i|| / C) + N(0, sigma^2 C^2 I)]. This is the mechanism alone:
    drawing the batch at random and accounting for the privacy spent are the caller's. With
    batches of random size take reduction="sum" and divide by their expected size.

    Args:
      network: as for `per_example_norms`.
      params: as its `init` gives them.
      x: inputs, shape (examples, inputs).
      y: targets, first axis the examples.
      clip_norm: C, positive and finite.
      key: for the noise, and for randomised activations; a new one each step.
      noise_multiplier: sigma, the noise's standard deviation as a multiple of C.
      per_layer: clip the gradient of each of k layers and learnable activations to C / sqrt(k),
        so that the whole still has norm C at most.
      reduction: "mean" over the examples, or "sum".
      check: look at values too.

    Returns:
      The gradient, a tree of params.

    Raises:
      TypeError, ValueError: naming the argument, what was expected, and the remedy.
    """
    caller = "clipped_grads"
    clip_norm = _scalar(caller, "clip_norm", clip_norm, lambda v: v > 0, "a positive finite number")
    sigma = _scalar(
        caller, "noise_multiplier", noise_multiplier, lambda v: v >= 0, "a finite number from 0 on"
    )
    noisy = not is_concrete(sigma) or sigma != 0
    if noisy and key is None:
        raise TypeError(
            f"{caller}: expected a key for the noise, got None: pass jax.random.key(...), a new "
            "one each step"
        )
    if not isinstance(per_layer, bool | np.bool_):
        raise TypeError(f"{caller}: expected per_layer to be True or False, got {brief(per_layer)}")
    _check_reduction(caller, reduction)
    x, y = _checked(caller, network, params, x, y, key, check)
    options = (bool(per_layer), reduction == "mean", noisy)
    return _clipped(network, params, x, y, clip_norm, key, sigma, *options)


def gradient_noise_scale(
    network: Network,
    params: Any,
    x: Array,
    y: Array,
    key: Array | None = None,
    *,
    check: bool = True,
) -> NoiseScale:
    """B_simple = tr(Sigma) / |G|^2 of McCandlish et al. 2018, from one batch.

    From batches of one and of n: the mean of ||g_i||^2 is |G|^2 + tr(Sigma) in expectation, and
    the squared norm of the mean gradient |G|^2 + tr(Sigma) / n.

    Args:
      network: as for `per_example_norms`, and so the other arguments.
      params: as its `init` gives them.
      x: inputs, of two examples at least.
      y: targets.
      key: for randomised activations in training.
      check: look at values too.

    Returns:
      The scale and its two parts.
    """
    caller = "gradient_noise_scale"
    x, y = _checked(caller, network, params, x, y, key, check)
    if x.shape[0] < 2:
        raise ValueError(
            f"{caller}: expected at least two examples, got {x.shape[0]}: one has no variance"
        )
    return _noise_scale(network, params, x, y, key)


def _scalar(
    caller: str, argument: str, value: Any, holds: Callable[[float], bool], expected: str
) -> Any:
    """A number whose value is checked where it can be seen; it may be traced, to be scheduled."""
    if not is_concrete(value):
        if value.shape == ():
            return value
    elif isinstance(value, jax.Array | np.ndarray) and value.shape == ():
        value = value.item()
    return in_range(caller, argument, value, holds, expected)


def _checked(
    caller: str, network: Any, params: Any, x: Any, y: Any, key: Any, check: bool
) -> tuple[Array, Array]:
    """The examples as arrays, once the network has a per-example form and shapes fit."""
    if not isinstance(network, Network):
        raise TypeError(f"{caller}: expected a network, got {brief(network)}: make one with mlp()")
    _check_forms(caller, network.rule)
    if key is not None:
        random_key(caller, key)
    return network._checked(caller, params, x, y, key, check)


def _check_forms(caller: str, rule: Rule) -> None:
    for part in rule.parts:
        _check_forms(caller, part)
    if not rule.parts and _has_parameters(rule) and rule not in _SQUARED:
        raise ValueError(
            f"{caller}: expected layers with a per-example form "
            f"({', '.join(r.name for r in _SQUARED)}), got {described(rule)}: use jax.vmap of its "
            "gradient"
        )


def _has_parameters(rule: Rule) -> bool:
    first, *more = argument_names(rule)
    return bool(more) and first != "key"  # a key is no parameter


def _backward(network: Network, params: Any, x: Array, y: Array, key: Any) -> Any:
    """A _Layer in the place of each entry of params, for the sum of the examples' losses."""
    assert network.loss is not None
    loss, rule = for_each_example(network.loss), _kept(network.rule)
    losses, (saved, saved_loss) = with_loss(rule, loss).fwd(network._with_draws(params, key), x, y)
    dprediction, _ = loss.bwd(saved_loss, jnp.ones_like(losses))
    return _walk(rule, saved, dprediction)[0]


def _kept(rule: Rule) -> Rule:
    """The chain of its parts, which keeps the residuals of each, where the rule itself may not."""
    return chain(*map(_kept, rule.parts)) if rule.parts else rule


def _walk(rule: Rule, saved: Any, dy: Array) -> tuple[Any, Array]:
    """The layers of a rule, and the cotangent of its input."""
    if not rule.parts or not _has_parameters(rule):
        return _Layer(rule, saved, dy), rule.bwd(saved, dy)[-1]
    found = []
    for part, residuals in zip(reversed(rule.parts), reversed(saved), strict=True):
        own, dy = _walk(part, residuals, dy)
        found.append(own)
    return tuple(reversed(found)), dy


def _map(f: Callable[..., Any], tree: Any, *others: Any) -> Any:
    """f of each layer with parameters; () in the place of the others."""
    return jax.tree.map(
        lambda layer, *rest: f(layer, *rest) if _has_parameters(layer.rule) else (), tree, *others
    )


def _squared(layer: _Layer) -> Array:
    return _SQUARED[layer.rule](layer)


def _squared_mean(layer: _Layer) -> Array:
    """The squared norm of the mean of the examples' gradients.

    For a layer ||a^T delta||^2 = sum over pairs of examples of (a a^T) (delta delta^T), without
    an array of the parameters' size where the examples are fewer than the units.
    """
    n, units = layer.dy.shape[0], layer.dy.shape[-1]
    if layer.rule in _BIAS:
        a = layer.residuals[1]
        inputs = a.shape[-1]
        if n * (inputs + units) <= inputs * units:
            by_inputs = _matmul(a, a.T) + _BIAS[layer.rule]
            return jnp.sum(by_inputs * (_matmul(layer.dy, layer.dy.T) / n**2))
    mean = jax.tree.leaves(layer.gradient(layer.dy / n))
    return functools.reduce(operator.add, (jnp.sum(widen(g) ** 2) for g in mean))


@functools.partial(jax.jit, static_argnames="network")
def _norms(network, params, x, y, key):
    by_layer = _map(_squared, _backward(network, params, x, y, key))
    return Norms(sum(jax.tree.leaves(by_layer)), by_layer)


@functools.partial(jax.jit, static_argnames="network")
def _grads(network, params, x, y, key):
    return _map(_Layer.each, _backward(network, params, x, y, key))


@functools.partial(jax.jit, static_argnames=("network", "per_layer", "mean", "noisy"))
def _clipped(network, params, x, y, clip_norm, key, sigma, per_layer, mean, noisy):
    draws: Any = None
    noise: Any = None
    if key is not None:
        draws, noise = jax.random.split(key)
    tree = _backward(network, params, x, y, draws)
    squared = jax.tree.leaves(_map(_squared, tree))
    weight = 1 / x.shape[0] if mean else 1.0
    norms = [jnp.sqrt(s) for s in (squared if per_layer else [sum(squared)])]
    clip_norm, sigma = (jnp.asarray(v, norms[0].dtype) for v in (clip_norm, sigma))
    bound = clip_norm / math.sqrt(len(norms))
    # bound / max(norm, bound): 1 within it, 0 at infinity, NaN for NaN, and nothing divided by 0
    scales = [weight * (bound / jnp.maximum(norm, bound)) for norm in norms]
    of_layer = iter(scales if per_layer else scales * len(squared))

    def summed(layer):
        scale = next(of_layer).reshape(-1, *(1,) * (layer.dy.ndim - 1))
        return layer.gradient((widen(layer.dy) * scale).astype(layer.dy.dtype))

    grads = _map(summed, tree)
    if not noisy:
        return grads
    leaves, form = jax.tree.flatten(grads)
    keys = jax.random.split(noise, len(leaves))
    deviation = sigma * clip_norm * weight
    noised = [_noised(g, k, deviation) for g, k in zip(leaves, keys, strict=True)]
    return jax.tree.unflatten(form, noised)


def _noised(g: Array, key: Array, deviation: Array) -> Array:
    """g + N(0, deviation^2), in its place; a draw makes several arrays of its own size."""

    def add(start, length, flat):
        own = widen(take(flat, start, length))
        drawn = jax.random.normal(jax.random.fold_in(key, start), (length,), own.dtype)
        return put(flat, own + deviation.astype(own.dtype) * drawn, start)

    return over(g.size, _DRAWN, add, g.reshape(-1)).reshape(g.shape)


@functools.partial(jax.jit, static_argnames="network")
def _noise_scale(network, params, x, y, key):
    n = x.shape[0]
    tree = _backward(network, params, x, y, key)
    of_one = sum(jax.tree.leaves(_map(_squared, tree))).mean()
    of_all = sum(jax.tree.leaves(_map(_squared_mean, tree)))
    trace = n / (n - 1) * (of_one - of_all)
    square = (n * of_all - of_one) / (n - 1)
    return NoiseScale(trace / square, trace, square)
