r"""Second derivatives by hand: Hessian and Gauss-Newton products, diagonals, Kronecker factors.

Pearlmutter's R{.} = d/de (at theta + e v) of every line of the forward and the backward pass gives
Hv at the cost of about two gradients, and no more memory than the passes themselves:

    y = x w + b      R{y} = R{x} w + x v_w + v_b
    y = f(z)         R{y} = f'(z) R{z}
    L(p)             R{dp} = H_L R{p}
    dz = f'(z) dy    R{dz} = f'(z) R{dy} + f''(z) R{z} dy
    dw = x^T dy      R{dw} = x^T R{dy} + R{x}^T dy
    dx = dy w^T      R{dx} = R{dy} w^T + dy v_w^T

The generalised Gauss-Newton matrix is J^T H_L J, J of the network's output, output unit included:
H without the terms of dy. With H_L = sum_c s_c s_c^T its diagonal and the factors G come from
backpropagated columns s_c. The exact diagonal of H needs, for each example, the whole Hessian of
the units of each layer, H_x = w H_y w^T and H_z = f' H_y f' + diag(f'' dy); then the diagonal in w
is x_i^2 (H_y)_jj. Costs of the order of examples x units^3, so that is for small networks.

f'' stands beside f' in `activations`, and vanishes where f is a line; at a kink both are those of
the side that f' takes. H_L, diagonal but for softmax (p = softmax(z), s = sum of labels):

    squared_error, half_, mean_                    2, 1, 2/K
    sigmoid_binary_cross_entropy, multilabel_...   sigma(z) sigma(-z)
    logistic_loss                                  (2y - 1)^2 sigma(m) sigma(-m), m = (2y - 1) z
    binary_cross_entropy                           y/p^2 + (1 - y)/(1 - p)^2
    softmax_cross_entropy, with integer labels     s (diag(p) - p p^T); s_c = sqrt(s p_c) (e_c - p)

Sources: Pearlmutter 1994, Neural Computation 6(1), 147-160 (Hv); Schraudolph 2002, Neural
Computation 14(7), 1723-1738 (Gauss-Newton products); Martens and Grosse 2015, arXiv:1503.05671
(Kronecker factors); Botev et al. 2017, arXiv:1706.03662, eq. 6-9 (Hessians of the units of a
layer); Dangel et al. 2020, arXiv:1912.10985 (diagonal from square roots).
"""

import functools
from typing import Any, Literal

import jax
import jax.numpy as jnp

from manualbp import _columns, layers
from manualbp._checks import Array, brief, finite_leaves, random_key
from manualbp._columns import KroneckerFactors
from manualbp._r_operator import (
    DIAGONAL,
    FORMS,
    LEARNED,
    SOFTMAX,
    form,
    forward,
    late,
    leaves,
    loss_gradient,
    loss_times,
    nested,
)
from manualbp._rule import described
from manualbp.layers import _matmul
from manualbp.networks import Network, _check_reduction

__all__ = [
    "KroneckerFactors",
    "gauss_newton_diagonal",
    "gauss_newton_vector_product",
    "hessian_diagonal",
    "hessian_vector_product",
    "kronecker_factors",
]


def hessian_vector_product(
    network: Network,
    params: Any,
    x: Array,
    y: Array,
    v: Any,
    key: Array | None = None,
    *,
    reduction: Literal["mean", "sum"] = "mean",
    check: bool = True,
) -> Any:
    """Hv of the loss of a minibatch: the derivative of its gradient in the direction v.

    Args:
      network: of dense layers, of activations that act on each unit, and of a loss of the table.
      params: as its `init` gives them.
      x: inputs, shape (examples, inputs).
      y: targets, first axis the examples.
      v: a tree of params, of their shapes and dtypes; map over several with `jax.vmap`.
      key: for randomised activations in training.
      reduction: "mean" over the examples, or "sum", as in `loss_and_grad`.
      check: look at the values of concrete arguments too, before anything is compiled.

    Returns:
      Hv, a tree of params.

    Raises:
      TypeError, ValueError: a layer or loss without a second derivative by hand, v of another
        tree, or as `loss_and_grad`.

    >>> import manualbp
    >>> network = manualbp.mlp((2, 3), loss=manualbp.half_squared_error)
    >>> params = network.init(jax.random.key(0))
    >>> v = jax.tree.map(jnp.ones_like, params)
    >>> Hv = hessian_vector_product(network, params, jnp.ones((4, 2)), jnp.zeros((4, 3)), v)
    >>> print(Hv[0].b)      # linear: x v_w + v_b = 3
    [3. 3. 3.]
    """
    caller = "hessian_vector_product"
    return _vector_product(caller, network, params, x, y, v, key, reduction, check)


def gauss_newton_vector_product(
    network: Network,
    params: Any,
    x: Array,
    y: Array,
    v: Any,
    key: Array | None = None,
    *,
    reduction: Literal["mean", "sum"] = "mean",
    check: bool = True,
) -> Any:
    """J^T H_L J v: the product with the generalised Gauss-Newton matrix, which is never negative.

    Args:
      network: as for `hessian_vector_product`, and so the other arguments.
      params: as its `init` gives them.
      x: inputs.
      y: targets.
      v: a tree of params.
      key: for randomised activations in training.
      reduction: "mean" or "sum".
      check: look at values too.

    Returns:
      The product, a tree of params.
    """
    caller = "gauss_newton_vector_product"
    return _vector_product(caller, network, params, x, y, v, key, reduction, check)


def hessian_diagonal(
    network: Network,
    params: Any,
    x: Array,
    y: Array,
    key: Array | None = None,
    *,
    reduction: Literal["mean", "sum"] = "mean",
    check: bool = True,
) -> Any:
    """The exact diagonal of the Hessian, in time of the order of examples x units^3.

    Args:
      network: as for `hessian_vector_product`, and so the other arguments.
      params: as its `init` gives them; learned slopes one a layer () or a channel.
      x: inputs.
      y: targets.
      key: for randomised activations in training.
      reduction: "mean" or "sum".
      check: look at values too.

    Returns:
      The diagonal, a tree of params, in float32 at least.
    """
    x, y = _checked("hessian_diagonal", network, params, x, y, key, reduction, check)
    _check_slopes("hessian_diagonal", network, params)
    return _columns.hessian_diagonal(network, params, x, y, key, reduction == "mean")


def gauss_newton_diagonal(
    network: Network,
    params: Any,
    x: Array,
    y: Array,
    key: Array | None = None,
    *,
    reduction: Literal["mean", "sum"] = "mean",
    check: bool = True,
) -> Any:
    """The exact diagonal of the generalised Gauss-Newton matrix: a backward pass an output.

    Args:
      network: as for `hessian_diagonal`, and so the other arguments.
      params: as its `init` gives them.
      x: inputs.
      y: targets.
      key: for randomised activations in training.
      reduction: "mean" or "sum".
      check: look at values too.

    Returns:
      The diagonal, a tree of params, in float32 at least.
    """
    x, y = _checked("gauss_newton_diagonal", network, params, x, y, key, reduction, check)
    _check_slopes("gauss_newton_diagonal", network, params)
    return _columns.gauss_newton_diagonal(network, params, x, y, key, reduction == "mean")


def kronecker_factors(
    network: Network,
    params: Any,
    x: Array,
    y: Array,
    key: Array | None = None,
    *,
    fisher: Literal["exact", "sampled", "empirical"] = "exact",
    check: bool = True,
) -> Any:
    """KFAC's A and G of each dense layer, means over the examples.

    Args:
      network: as for `hessian_vector_product`, and so the other arguments.
      params: as its `init` gives them.
      x: inputs.
      y: targets; where G is not empirical, their values matter only if H_L depends on them.
      key: for "sampled", and for randomised activations in training; a new one each step.
      fisher: what G is the mean of. "exact": sum_c g_c g_c^T, the columns s_c of H_L
        backpropagated, one backward pass an output. "sampled": of g g^T with one g an example,
        the column sum_c +-s_c with random signs, whose covariance is H_L as that of labels
        drawn from the model is, at the cost of a gradient. "empirical": of the gradients at y.
      check: look at values too.

    Returns:
      A tree of params with `KroneckerFactors` in the place of each dense layer and () in that of
      all others, in float32 at least.

    >>> import manualbp
    >>> network = manualbp.mlp((2, 3))
    >>> params = network.init(jax.random.key(0))
    >>> A, G = kronecker_factors(network, params, jnp.ones((4, 2)), jnp.zeros(4, jnp.int32))[0]
    >>> print(A.shape, G.shape)
    (3, 3) (3, 3)
    """
    caller = "kronecker_factors"
    if fisher not in ("exact", "sampled", "empirical"):
        raise ValueError(
            f"{caller}: expected fisher 'exact', 'sampled' or 'empirical', got {brief(fisher)}"
        )
    if fisher == "sampled" and key is None:
        raise TypeError(
            f"{caller}: expected a key for fisher='sampled', got None: pass jax.random.key(...), a "
            "new one each step"
        )
    x, y = _checked(caller, network, params, x, y, key, "mean", check)
    return _columns.kronecker_factors(network, params, x, y, key, fisher)


def _checked(caller, network, params, x, y, key, reduction, check) -> tuple[Array, Array]:
    """The examples as arrays, once all derivatives are known by hand and shapes fit."""
    if not isinstance(network, Network):
        raise TypeError(f"{caller}: expected a network, got {brief(network)}: make one with mlp()")
    for rule, _ in leaves(network.rule, None):
        if rule not in FORMS and rule.second is None:
            raise ValueError(
                f"{caller}: expected rules whose second derivative is known "
                f"({', '.join(r.name for r in FORMS)}, or elementwise with second=...), got "
                f"{described(rule)}: leave softmax to a loss of logits"
            )
    known = (*DIAGONAL, *SOFTMAX)
    if network.loss is not None and network.loss not in known:
        raise ValueError(
            f"{caller}: expected a loss whose Hessian is known "
            f"({', '.join(r.name for r in known)}), got {described(network.loss)}"
        )
    _check_reduction(caller, reduction)
    if key is not None:
        random_key(caller, key)
    return network._checked(caller, params, x, y, key, check)


def _check_slopes(caller: str, network: Network, params: Any) -> None:
    """Learned parameters are one a layer or a channel: none is shared in another way."""
    for rule, own in leaves(network.rule, params):
        if rule in LEARNED and jnp.ndim(own) > 1:
            raise ValueError(
                f"{caller}: expected the parameter of {rule.name} to be one a layer () or one a "
                f"channel, got shape {jnp.shape(own)}"
            )


def _vector_product(caller, network, params, x, y, v, key, reduction, check):
    x, y = _checked(caller, network, params, x, y, key, reduction, check)
    remedy = "make v of params, as with jax.tree.map(jnp.ones_like, params)"
    wanted, found = jax.tree.structure(params), jax.tree.structure(v)
    if wanted != found:
        raise ValueError(f"{caller}: expected v of the tree of params, got {found}: {remedy}")
    for (path, p), leaf in zip(
        jax.tree_util.tree_leaves_with_path(params), jax.tree.leaves(v), strict=True
    ):
        kinds = [(jnp.shape(a), jnp.result_type(a)) for a in (p, leaf)]
        if kinds[0] != kinds[1]:
            (shape, dtype), (other, got) = kinds
            raise ValueError(
                f"{caller}: expected v{jax.tree_util.keystr(path)} of shape {shape} and dtype "
                f"{dtype}, got {other} and {got}: {remedy}"
            )
    if check:
        finite_leaves(caller, "v", v, "give a finite direction")
    gauss_newton = caller == "gauss_newton_vector_product"
    return _product(network, params, x, y, v, key, reduction == "mean", gauss_newton)


@functools.partial(jax.jit, static_argnames=("network", "mean", "gauss_newton"))
def _product(network, params, x, y, v, key, mean, gauss_newton):
    steps, z = forward(network, params, x, key)
    directions = [own for _, own in leaves(network.rule, v)]
    # a layer after an activation has its input made anew, where the pass would else keep it
    remade = [
        i > 0 and step.rule in layers.RULES and steps[i - 1].rule not in layers.RULES
        for i, step in enumerate(steps)
    ]

    def inputs(i, after):
        return steps[i].fwd(steps[i - 1].again(after)[0])[1] if remade[i] else steps[i].saved

    tangents: list[Any] = []
    r: Any = None
    for i, step in enumerate(steps):
        if r is None and step.rule in LEARNED:
            r = jnp.zeros_like(step.x)
        tangents.append(r)
        saved = step.saved
        if step.rule in layers.RULES and r is not None:
            r = _matmul(r, saved[0][: r.shape[-1]])
            # the peak of a Hessian product is later
            saved = inputs(i, r) if gauss_newton else saved
        r = form(step.rule).forward(saved, directions[i], r)

    weight = 1 / x.shape[0] if mean else 1.0
    rdy = (weight * loss_times(network.loss, z, y, r)).astype(z.dtype)
    dy = None if gauss_newton else loss_gradient(network, z, y, weight)
    products = []
    for i in reversed(range(len(steps))):
        step, r, before = steps[i], tangents[i], steps[i - 1]
        if rdy is None:  # before the first layer nothing depends on parameters
            products.append(())
            continue
        saved = inputs(i, rdy) if step.rule in layers.RULES else step.again(rdy)[1]
        if gauss_newton:
            own = step.rule.bwd(saved, rdy)[0]
            # the input is done with before dx is begun
            later = late(rdy, jax.tree.leaves(own)[0]) if step.rule in layers.RULES else rdy
            rdy = step.rule.bwd(saved, later)[-1]
        else:
            if remade[i]:
                _, kept = before.again(rdy)
                r = form(before.rule).forward(kept, directions[i - 1], tangents[i - 1])
            own, dy, rdy = form(step.rule).backward(saved, directions[i], r, dy, rdy)
        products.append(own if step.rule in FORMS else ())
    tree = nested(network.rule, reversed(products))
    return jax.tree.unflatten(jax.tree.structure(params), jax.tree.leaves(tree))
