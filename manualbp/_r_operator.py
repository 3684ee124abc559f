"""R{.} of each rule, the Hessian of each loss, and the forward pass whose parts they go through.

The equations and their sources are in the docstring of `second_order`.
"""

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from manualbp import activations, layers, losses
from manualbp._checks import Array
from manualbp._rule import Rule, align, argument_names, sum_to, widen
from manualbp.layers import _matmul
from manualbp.networks import Network, for_each_example
from manualbp.per_example import _has_parameters


class Form(NamedTuple):
    """How R{.} goes through a rule; r is R{x}, None for an x that does not depend on theta.

    forward: (saved, v, r) -> R{y}; for a layer, whose x may have to be made first, of R{x} w.
    backward: (saved, v, r, dy, rdy) -> R{gradient of the parameters}, dx, R{dx}.
    """

    forward: Callable[[Any, Any, Any], Any]
    backward: Callable[[Any, Any, Any, Any, Any], tuple[Any, Any, Any]]


def late(x: Array, after: Array) -> Array:
    """x, to be used once `after` is known: what is made of it then is not kept from before.

    An optimization_barrier is gone before XLA's last search for common expressions.
    """
    return jnp.where(after.ravel()[0] > jnp.inf, 0, x)  # never so, which XLA does not see


def _affine(rule: Rule) -> Form:
    """A dense layer: bilinear, so that R{.} is the rule itself at v or at R{x}, added up."""
    biased = rule is layers.dense

    def forward(saved, v, rw):
        _, a = saved
        y = rule.fwd(v, a)[0] if biased else _matmul(a, v).astype(a.dtype)
        return y if rw is None else y + rw.astype(y.dtype)

    def backward(saved, v, r, dy, rdy):
        if r is None:
            return rule.bwd(saved, rdy)[0], None, None
        missing = saved[1].shape[-1] - r.shape[-1]  # the dummy feature 1 does not change
        r = jnp.pad(r, ((0, 0), (0, missing))) if missing else r
        v = v[0] if biased else v
        own, more = rule.bwd(saved, rdy)[0], rule.bwd((v, r), dy)[0]
        own = layers.Dense(own.w + more.w, own.b) if biased else own + more
        # the inputs are done with before the first dx is begun
        dy, rdy = (late(g, jax.tree.leaves(own)[0]) for g in (dy, rdy))
        return own, rule.bwd(saved, dy)[1], rule.bwd(saved, rdy)[1] + rule.bwd((v, r), dy)[1]

    return Form(forward, backward)


def _entrywise(rule: Rule) -> Form:
    """A rule without parameters that acts entry by entry: f' times is its backward pass."""

    def forward(saved, v, r):
        return None if r is None else rule.bwd(saved, r)[-1]

    def backward(saved, v, r, dy, rdy):
        dx, rdx = rule.bwd(saved, dy)[-1], rule.bwd(saved, rdy)[-1]
        if not callable(rule.second) or r is None:
            return (), dx, rdx
        bend = rule.second(jax.lax.optimization_barrier(saved))
        return (), dx, (widen(rdx) + bend * widen(r) * widen(dy)).astype(rdx.dtype)

    return Form(forward, backward)


def _rectify_forward(saved, v, r):
    slope, z = (align(s, saved[1].ndim) for s in saved)
    return jnp.where(z > 0, r, slope * r + align(v, z.ndim) * z)


def _rectify_backward(saved, v, r, dy, rdy):
    slope, z = (align(s, saved[1].ndim) for s in saved)
    own = jnp.where(z > 0, 0, widen(rdy) * widen(z) + widen(dy) * widen(r))
    rdz = jnp.where(z > 0, rdy, slope * rdy + align(v, z.ndim) * dy)
    dz = jnp.where(z > 0, dy, slope * dy)
    return sum_to(own, saved[0].shape).astype(z.dtype), dz, rdz


def _swish_parts(saved, v, r):
    """Wide z, R{z}, u = beta z and its R{u} = beta R{z} + R{beta} z, sqrt(sigma'(u))."""
    beta, z, v, r = (align(widen(a), saved[1].ndim) for a in (*saved, v, r))
    return z, r, beta * z, beta * r + v * z, activations.sigmoid_slope_root(beta * z)


def _swish_forward(saved, v, r):
    # dy/dbeta = z^2 sigma'(u)
    z, r, u, _, root = _swish_parts(saved, v, r)
    v = align(widen(v), z.ndim)
    return (
        activations._swish_slope(u, *activations.decays_of(u)) * r + v * (z * root) ** 2
    ).astype(saved[1].dtype)


def _swish_backward(saved, v, r, dy, rdy):
    # R{z^2 sigma'(u)} = 2 z R{z} sigma' + z^2 R{u} sigma'', sigma'' = -sigma' tanh(u/2)
    z, r, u, ru, root = _swish_parts(saved, v, r)
    g, rg = widen(dy), widen(rdy)
    own = (z * root) * (root * (rg * z + g * (2 * r - z * ru * jnp.tanh(0.5 * u))))
    slope = activations._swish_slope(u, *activations.decays_of(u))
    dz, rdz = slope * g, slope * rg + activations._swish_bend(u) * ru * g
    own = sum_to(own, saved[0].shape).astype(saved[0].dtype)
    return own, dz.astype(dy.dtype), rdz.astype(dy.dtype)


LEARNED = {
    activations.prelu: Form(_rectify_forward, _rectify_backward),
    activations.generalized_relu: Form(_rectify_forward, _rectify_backward),
    activations.learnable_swish: Form(_swish_forward, _swish_backward),
}
FORMS = {layer: _affine(layer) for layer in layers.RULES} | LEARNED


def form(rule: Rule) -> Form:
    return FORMS.get(rule) or _entrywise(rule)


def _logistic(z, y):
    sign = 2 * y - 1
    return sign * sign * activations._sigmoid_slope(sign * z)


def _bernoulli(p, y):
    def term(y, p):  # a label that cannot occur costs nothing
        return jnp.where(y == 0, 0, y / (p * p))

    return term(y, p) + term(1 - y, 1 - p)


# Losses whose H_L is diagonal, from prediction and target
DIAGONAL: dict[Rule, Callable[[Array, Array], Array]] = {
    losses.squared_error: lambda p, y: jnp.full_like(p, 2),
    losses.half_squared_error: lambda p, y: jnp.ones_like(p),
    losses.mean_squared_error: lambda p, y: jnp.full_like(p, 2 / p.shape[-1]),
    losses.sigmoid_binary_cross_entropy: lambda z, y: activations._sigmoid_slope(z),
    losses.multilabel_binary_cross_entropy: lambda z, y: activations._sigmoid_slope(z),
    losses.logistic_loss: _logistic,
    losses.binary_cross_entropy: _bernoulli,
}


def _known(z, y):
    """1, and NaN where no class has the label, as its loss is."""
    return jnp.where((y >= 0) & (y < z.shape[-1]), 1, jnp.nan).astype(z.dtype)


# Losses whose H_L is s (diag(p) - p p^T), and their s
SOFTMAX: dict[Rule, Callable[[Array, Array], Array]] = {
    losses.softmax_cross_entropy: lambda z, y: jnp.sum(y, axis=-1),
    losses.softmax_cross_entropy_with_integer_labels: _known,
}


def loss_times(loss: Rule, z: Array, y: Array, r: Array) -> Array:
    """H_L r for each example, all of shape (examples, outputs); wide."""
    z, r = widen(z), widen(r)
    y = widen(y) if jnp.issubdtype(y.dtype, jnp.floating) else y
    if loss in DIAGONAL:
        return DIAGONAL[loss](z, y) * r
    p = activations.softmax.fwd(z)[0]
    # the Jacobian of softmax, whose backward pass keeps the digits of 1 - p
    return SOFTMAX[loss](z, y)[:, None] * activations.softmax.bwd(p, r)[0]


def loss_roots(loss: Rule, z: Array, y: Array) -> Array:
    """Columns s_c with H_L = sum_c s_c s_c^T, shape (columns, examples, outputs); wide."""
    z = widen(z)
    y = widen(y) if jnp.issubdtype(y.dtype, jnp.floating) else y
    own = jnp.eye(z.shape[-1], dtype=bool)[:, None, :]
    if loss in DIAGONAL:
        return jnp.where(own, jnp.sqrt(DIAGONAL[loss](z, y))[None], 0)
    p = activations.softmax.fwd(z)[0]
    others = jnp.sum(jnp.where(own, 0, p[None]), axis=-1, keepdims=True)  # 1 - p_c
    scale = jnp.sqrt(SOFTMAX[loss](z, y)[:, None] * p)
    return scale.T[:, :, None] * jnp.where(own, others, -p[None])


# The passes


class Step(NamedTuple):
    """One rule of the forward pass: its parameters, input and residuals; whether these are y."""

    rule: Rule
    own: Any
    x: Any
    saved: Any
    saves_y: bool = False

    def fwd(self, x):
        """The output and the residuals."""
        has_own = len(argument_names(self.rule)) == 2
        return self.rule.fwd(self.own, x) if has_own else self.rule.fwd(x)

    def again(self, after):
        """Both, made anew once `after` is known, so that they need not be kept until then."""
        if self.saves_y and callable(self.rule.second):
            y = late(self.saved, after)
            return y, y
        return self.fwd(late(self.x, after))


def leaves(rule: Rule, params: Any) -> list[tuple[Rule, Any]]:
    """The rules that are no chains, first to last, each with its parameters."""
    if not rule.parts:
        return [(rule, params)]
    own = params if params and _has_parameters(rule) else ((),) * len(rule.parts)
    return [leaf for pair in zip(rule.parts, own, strict=True) for leaf in leaves(*pair)]


def nested(rule: Rule, of_leaves: Iterator) -> Any:
    """The tree of params again, from what belongs to each leaf."""
    if not rule.parts:
        return next(of_leaves)
    found = tuple(nested(part, of_leaves) for part in rule.parts)
    return found if _has_parameters(rule) else ()


def forward(network: Network, params: Any, x: Array, key: Any) -> tuple[list[Step], Array]:
    """Every step of the forward pass, and the prediction."""
    steps = []
    for rule, own in leaves(network.rule, network._with_draws(params, key)):
        step = Step(rule, own, x, None)
        y, saved = step.fwd(x)
        steps.append(step._replace(saved=saved, saves_y=saved is y))
        x = y
    return steps, x


def loss_gradient(network: Network, z: Array, y: Array, weight: float) -> Array:
    assert network.loss is not None
    loss = for_each_example(network.loss)
    values, saved = loss.fwd(z, y)
    return loss.bwd(saved, jnp.full_like(values, weight))[0]
