"""Networks: layers and activations chained, with their loss and its gradient by hand.

A network is a rule, and a network with its loss is a rule; `mlp` builds both with their
initialisation. `loss_and_grad` is one compiled function: nothing in it calls `jax.grad`.
"""

import dataclasses
import functools
import inspect
import itertools
import math
import operator
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np

from manualbp import activations, layers, losses
from manualbp._checks import brief, finite_leaves, floating, is_concrete, numbers, random_key
from manualbp._rule import (
    Rule,
    argument_names,
    chain,
    checkpointed,
    described,
    elementwise,
    only_rules,
    wide_dtype,
)
from manualbp.initializers import Initializer, glorot

# How each layer keeps the weights and bias that an initialiser gives it
_PACK: dict[Rule, Callable] = {
    layers.dense: layers.Dense,
    layers.dense_without_bias: lambda w, b: w,
    layers.dense_augmented: lambda w, b: jnp.concatenate([w, b[None]]),
}

# Where a learnable activation starts: PReLU at the value of He et al. 2015, swish as silu
_START = {
    activations.prelu: 0.25,
    activations.generalized_relu: 0.25,
    activations.learnable_swish: 1.0,
}

# Saving the output alone is the least memory, and what autodiff does; it costs the tails, where
# a(1 - a) rounds to 0: sigmoid beyond z = 17, tanh beyond |z| = 8 (float32).
_LEAN = {
    activations.sigmoid: elementwise(
        "sigmoid", activations._sigmoid, lambda y: y * (1 - y), saves="y",
        tex=activations.sigmoid.tex, source="note 001: g'(z) = g(z)(1 - g(z))",
        second=lambda y: y * (1 - y) * (1 - 2 * y),
    ),
    activations.tanh: elementwise(
        "tanh", jnp.tanh, lambda y: (1 - y) * (1 + y), saves="y",
        tex=activations.tanh.tex, source="note 001: g'(z) = 1 - g(z)^2",
        second=lambda y: -2 * y * (1 - y) * (1 + y),
    ),
}  # fmt: skip

# From so many hidden layers on, "lean" keeps the inputs of blocks of layers alone, and "fast" no
# output of an activation that keeps its input
_DEEP = 4


def with_loss(rule: Rule, loss: Rule) -> Rule:
    """A rule of (params, x, y): the loss of each example, and all gradients.

    Args:
      rule: a rule of (params, x), such as `chain(...)` or `network.rule`.
      loss: a rule of (prediction, target).

    Returns:
      A rule of (params, x, y).

    Raises:
      TypeError, ValueError: one of them is no rule, or of other arguments.
    """
    for given in (rule, loss):
        if not isinstance(given, Rule):
            raise TypeError(f"with_loss: expected two rules, got {brief(given)}: pass the rule")
    if len(argument_names(rule)) != 2 or len(argument_names(loss)) != 2:
        raise ValueError(
            f"with_loss: expected a rule of (params, x) and a loss of (prediction, target), got "
            f"{described(rule)} and {described(loss)}"
        )

    def fwd(params, x, y):
        prediction, saved = rule.fwd(params, x)
        per_example, saved_loss = loss.fwd(prediction, y)
        return per_example, (saved, saved_loss)

    def bwd(saved, dy):
        dprediction, dtarget = loss.bwd(saved[1], dy)
        dparams, dx = rule.bwd(saved[0], dprediction)
        return dparams, dx, dtarget

    return Rule(
        f"with_loss({rule.name}, {loss.name})",
        fwd,
        bwd,
        tex=r"L(f(x; \theta), y)",
        source="note 000, 'A hidden Layer'; note 001, 'Error back-propagation'",
        saves="the residuals of the network and of the loss",
    )


def for_each_example(loss: Rule) -> Rule:
    """A loss written for one example, lifted to a batch by vmap over the first axes."""

    def fwd(prediction, target):
        return jax.vmap(loss.fwd)(prediction, target)

    def bwd(saved, dy):
        # the target's gradient is not needed, and an integer's cannot pass through vmap
        return jax.vmap(lambda s, g: loss.bwd(s, g)[0])(saved, dy), None

    return Rule(loss.name, fwd, bwd, loss.tex, loss.source, saves=loss.saves)


@dataclass(frozen=True)
class Network:
    """A network of hand-derived rules, with its initialisation and loss. Built by `mlp`.

    Attributes:
      rule: (params, x) -> prediction, for x of shape (..., inputs).
      loss: a rule of (prediction, target) for one example, or None.
      widths: units a layer, inputs first.
      start: the initialisation, a function of (key, dtype).
      randomized: which entries of params are random draws, filled from a key at each call.
    """

    rule: Rule
    loss: Rule | None
    widths: tuple[int, ...]
    start: Callable[[jax.Array, Any], tuple]
    randomized: tuple[int, ...] = ()

    def init(self, key: jax.Array, dtype: Any = jnp.float32) -> tuple:
        """Parameters, a tuple with one entry a layer or activation, drawn from the key.

        Args:
          key: of jax.random.
          dtype: of the parameters, floating.

        Returns:
          The tuple, of arrays and of what the layers make of them.

        Raises:
          TypeError: the key or the dtype is none.
        """
        random_key("init", key)
        if not jnp.issubdtype(dtype, jnp.floating):
            raise TypeError(
                f"init: expected a floating-point dtype, got {jnp.dtype(dtype)}: use jnp.float32"
            )
        return self.start(key, dtype)

    def __call__(self, params: Any, x: jax.Array, key: jax.Array | None = None) -> jax.Array:
        """The prediction for x of shape (..., inputs); differentiable by the hand-derived rules.

        With a key, randomised activations draw their slopes (training); without, they use the
        mean slope (test).
        """
        return self.rule(self._with_draws(params, key), x)

    def loss_and_grad(
        self,
        params: Any,
        x: jax.Array,
        y: jax.Array,
        key: jax.Array | None = None,
        *,
        reduction: Literal["mean", "sum"] = "mean",
        check: bool = True,
    ) -> tuple[jax.Array, Any]:
        """The loss of a minibatch and its gradient in the parameters, by hand, compiled once.

        Args:
          params: as `init` gives them.
          x: inputs, shape (examples, inputs).
          y: targets, first axis the examples, as the loss wants them.
          key: for randomised activations in training.
          reduction: "mean" over the examples (1/m), or "sum" (note 000).
          check: look at the values of concrete arguments too (finite parameters, labels in
            range), before anything is compiled; shapes and dtypes are checked always.

        Returns:
          The loss, a scalar, and a gradient of the tree of params.

        Raises:
          ValueError, TypeError: naming the argument, what was expected, and the remedy.
        """
        _check_reduction("loss_and_grad", reduction)
        x, y = self._checked("loss_and_grad", params, x, y, key, check)
        return _loss_and_grad(self, params, x, y, key, reduction)

    def _checked(
        self, caller: str, params: Any, x: Any, y: Any, key: jax.Array | None, check: bool
    ) -> tuple[jax.Array, jax.Array]:
        """The examples as arrays, once shapes and, if asked for, values are known to fit."""
        x, y = self._examples(caller, x, y)
        if check:
            finite_leaves(caller, "params", params)
            if is_concrete(params):
                self._validate(params, x, y, key)
        return x, y

    def _examples(self, caller: str, x: Any, y: Any) -> tuple[jax.Array, jax.Array]:
        """The examples as arrays, once shapes are known to fit."""
        if self.loss is None:
            raise ValueError(
                f"{caller}: expected a network with a loss, got none: mlp(..., loss=...)"
            )
        x = floating(caller, "x", x)
        if x.ndim != 2 or x.shape[-1] != self.widths[0]:
            raise ValueError(
                f"{caller}: expected x of shape (examples, {self.widths[0]}), got {x.shape}: "
                "put one example a row"
            )
        if x.shape[0] == 0:
            raise ValueError(
                f"{caller}: expected at least one example, got an empty batch: "
                "skip it, its mean loss does not exist"
            )
        if y is None:
            raise TypeError(
                f"{caller}: expected y with one target an example, got None: pass targets"
            )
        numbers(caller, "y", y)
        y = jnp.asarray(y)
        if y.ndim == 0 or y.shape[0] != x.shape[0]:
            raise ValueError(
                f"{caller}: expected y with {x.shape[0]} examples to match x, got shape {y.shape}"
            )
        return x, y

    def _validate(self, params: Any, x: jax.Array, y: jax.Array, key: jax.Array | None) -> None:
        """Whether the loss takes these targets: their shape, dtype and values."""
        assert self.loss is not None
        prediction, _ = jax.eval_shape(self.rule.fwd, self._with_draws(params, key), x)
        if self.loss.validate is not None:
            # only the target's values are looked at: the prediction is not computed for it
            self.loss.validate(jnp.full(prediction.shape, 0.5, prediction.dtype), y)

    def _with_draws(self, params: Any, key: jax.Array | None) -> Any:
        """The parameters, with a key of its own in the place of each randomised activation."""
        if not self.randomized:
            return params
        keys = (
            [None] * len(self.randomized)
            if key is None
            else jax.random.split(key, len(self.randomized))
        )
        drawn = dict(zip(self.randomized, keys, strict=True))
        return tuple(drawn.get(i, own) for i, own in enumerate(params))


@functools.partial(jax.jit, static_argnames=("network", "reduction"))
def _loss_and_grad(network, params, x, y, key, reduction):
    weight = 1 / x.shape[0] if reduction == "mean" else 1.0
    return weighted_loss_and_grad(network, params, x, y, key, weight)


def weighted_loss_and_grad(
    network: Network, params: Any, x: jax.Array, y: jax.Array, key: Any, weights: Any
) -> tuple[jax.Array, Any]:
    """The sum of the examples' losses, each times its weight, and its gradient in params.

    One forward and one backward pass, the gradient contracted over the batch once; nothing is
    checked. `loss_and_grad` with equal weights; 0 leaves an example out.

    Args:
      network: with a loss.
      params: as its `init` gives them.
      x: inputs, shape (examples, inputs).
      y: targets, first axis the examples.
      key: for randomised activations, or None.
      weights: of the examples, shape (examples,), or one number for all.

    Returns:
      The weighted sum of losses, a scalar, and a gradient of the tree of params.
    """
    assert network.loss is not None
    rule = with_loss(network.rule, for_each_example(network.loss))
    losses, saved = rule.fwd(network._with_draws(params, key), x, y)
    wide = wide_dtype(losses.dtype)
    if not np.ndim(weights):  # one number: the sum is multiplied, not each loss
        total, dy = jnp.sum(losses, dtype=wide) * weights, jnp.full_like(losses, weights)
    else:
        # a loss of each output has more axes
        dy = weights.astype(losses.dtype).reshape(-1, *(1,) * (losses.ndim - 1))
        dy = jnp.broadcast_to(dy, losses.shape)
        total = jnp.sum(losses.astype(wide) * dy.astype(wide))
    dparams, _, _ = rule.bwd(saved, dy)
    for i in network.randomized:
        dparams = (*dparams[:i], (), *dparams[i + 1 :])
    return total.astype(losses.dtype), dparams


def _check_reduction(caller: str, reduction: str) -> None:
    if reduction not in ("mean", "sum"):
        raise ValueError(f"{caller}: expected reduction 'mean' or 'sum', got {reduction!r}")


def mlp(
    widths: Sequence[int],
    *,
    activation: Rule | Sequence[Rule] = activations.relu,
    output: Rule = activations.identity,
    loss: Rule | None = losses.softmax_cross_entropy_with_integer_labels,
    layer: Rule = layers.dense,
    init: Initializer = glorot,
    memory: Literal["fast", "lean"] = "fast",
) -> Network:
    """A multilayer perceptron of any depth and widths.

    Args:
      widths: units a layer, inputs first, outputs last: (64, 32, 3) has one hidden layer.
      activation: one for all hidden layers, or one for each. A rule of z, a learnable one
        (`prelu`, `learnable_swish`: one parameter a layer; start it with one a channel to learn
        one a channel), or `randomized_relu()`.
      output: the output unit; identity leaves scores to a loss of logits, which is the accurate
        way to use softmax and sigmoid.
      loss: a rule of (prediction, target) for one example.
      layer: dense, dense_without_bias or dense_augmented.
      init: gaussian, zeros, glorot, he, or any function of (key, inputs, outputs, dtype).
      memory: "fast" keeps what gives every digit of the derivative, from four hidden layers on one
        array a layer for it; "lean" keeps only the output of sigmoid and tanh, as autodiff does, at
        the cost of their tails, and from four hidden layers on only the input of each block of
        about sqrt(layers) of them, which goes forward once more to go back: more work, and memory
        that grows with sqrt(layers).

    Returns:
      The network.

    Raises:
      TypeError, ValueError: naming the argument, what was expected, and the remedy.

    Example:
      >>> import jax, manualbp
      >>> network = mlp((4, 8, 3), activation=manualbp.tanh)
      >>> params = network.init(jax.random.key(0))
      >>> x, y = jnp.ones((5, 4)), jnp.array([0, 1, 2, 1, 0])
      >>> loss, grads = network.loss_and_grad(params, x, y)
      >>> jax.tree.map(jnp.shape, grads) == jax.tree.map(jnp.shape, params)
      True
    """
    widths = _whole(widths)
    hidden = len(widths) - 2
    given = tuple(activation) if isinstance(activation, tuple | list) else (activation,)
    only_rules("mlp", "activation rules", given, "tanh")
    chosen = (activation,) * hidden if isinstance(activation, Rule) else given
    _check_arguments("an output unit of z alone", output, 1, "identity")
    if loss is not None:
        _check_arguments("a loss of (prediction, target)", loss, 2, "squared_error")
    if not callable(init):
        raise TypeError(
            f"mlp: expected init to be a function, got {brief(init)}: use one of "
            "manualbp.initializers"
        )
    if len(chosen) != hidden:
        raise ValueError(
            f"mlp: expected one activation or {hidden}, one for each hidden layer of widths "
            f"{widths}, got {len(chosen)}"
        )
    if memory not in ("fast", "lean"):
        raise ValueError(f"mlp: expected memory 'fast' or 'lean', got {memory!r}")
    if layer not in _PACK:
        raise ValueError(
            f"mlp: expected layer dense, dense_without_bias or dense_augmented, got {layer!r}: "
            "chain other layers with chain(...)"
        )
    starts: list[Callable] = []
    rules: list[Rule] = []
    for i, (inputs, outputs) in enumerate(itertools.pairwise(widths)):
        rules.append(layer)
        starts.append(lambda key, dtype, n=inputs, m=outputs: _PACK[layer](*init(key, n, m, dtype)))
        rule = chosen[i] if i < hidden else output
        rules.append(_LEAN.get(rule, rule) if memory == "lean" else rule)
        starts.append(_activation_start(rule))
    randomized = tuple(i for i, rule in enumerate(rules) if argument_names(rule)[0] == "key")
    network = chain(*rules)
    if hidden >= _DEEP:
        size = 2 * math.isqrt(len(rules) // 2)
        network = _in_blocks(network, size) if memory == "lean" else _without_outputs(network)

    def start(key, dtype):
        keys = jax.random.split(key, len(starts))
        return tuple(begin(k, dtype) for begin, k in zip(starts, keys, strict=True))

    return Network(network, loss, widths, start, randomized)


def _without_outputs(network: Rule) -> Rule:
    """A chain of (params, x) in which a layer's input is made again from what an activation saved.

    An accurate rule of z saves z; its output, which the layer after it would keep beside that, is
    an exponential away, and a deep network keeps one array a layer, not two.
    """
    rules = network.parts
    again = [
        i
        for i, (before, rule) in enumerate(itertools.pairwise(rules), 1)
        if rule in _PACK and _saves_its_input(before)
    ]
    if not again:
        return network

    def fwd(params, x):
        y, saved = network.fwd(params, x)
        return y, (params, tuple(() if i in again else own for i, own in enumerate(saved)))

    def bwd(saved, dy):
        params, saved = saved
        cotangents = []
        for i in reversed(range(len(rules))):
            rule, residuals = rules[i], saved[i]
            if i in again:
                z = saved[i - 1]
                # dx does not depend on x, of which z has the shape
                dx = rule.bwd(rule.fwd(params[i], z)[1], dy)[-1]
                # never inf; x is not made before dx, nor is that of the forward pass kept for it
                x = rules[i - 1].fwd(jnp.where(dx > jnp.inf, 0, z))[0]
                residuals = rule.fwd(params[i], x)[1]
                cotangents.append(rule.bwd(residuals, dy)[0])
                dy = dx
            else:
                *own, dy = rule.bwd(residuals, dy)
                cotangents.append(own[0] if own else ())
        return tuple(reversed(cotangents)), dy

    return dataclasses.replace(
        network, fwd=fwd, bwd=bwd, saves="the residuals of each rule but outputs of activations"
    )


@functools.cache
def _saves_its_input(rule: Rule) -> bool:
    """Whether it is a rule of one array, which is all that it keeps for the backward pass."""
    if len(inspect.signature(rule.fwd).parameters) != 1:
        return False
    program = jax.make_jaxpr(rule.fwd)(jax.ShapeDtypeStruct((1, 1), jnp.float32)).jaxpr
    return program.outvars[1:] == program.invars


def _in_blocks(network: Rule, size: int) -> Rule:
    """A chain of (params, x) as blocks of so many rules, each but the last checkpointed.

    Params stay as they are, one entry a rule. The last block is what the backward pass begins
    with: made again at once it would save nothing.
    """
    rules = network.parts
    starts = range(0, len(rules), size)
    blocks = [chain(*rules[i : i + size]) for i in starts]
    nested = chain(*map(checkpointed, blocks[:-1]), blocks[-1])

    def fwd(params, x):
        return nested.fwd(tuple(params[i : i + size] for i in starts), x)

    def bwd(saved, dy):
        dparams, dx = nested.bwd(saved, dy)
        return tuple(itertools.chain(*dparams)), dx

    return dataclasses.replace(
        network, fwd=fwd, bwd=bwd, saves="the inputs of blocks, and the residuals of the last"
    )


def _whole(widths: Any) -> tuple[int, ...]:
    """Widths as positive integers, NumPy's too."""
    try:
        given = [n for n in widths if not isinstance(n, bool)]
        found = tuple(operator.index(n) for n in given)
        ok = len(given) == len(widths) >= 2 and all(n > 0 for n in found)
    except TypeError:
        ok = False
    if not ok:
        raise ValueError(
            f"mlp: expected at least two positive integer widths, got {brief(widths)}: "
            "inputs first, outputs last"
        )
    return found


def _check_arguments(what: str, rule: Any, arguments: int, example: str) -> None:
    """A rule, of so many arguments."""
    if not isinstance(rule, Rule) or len(argument_names(rule)) != arguments:
        raise (ValueError if isinstance(rule, Rule) else TypeError)(
            f"mlp: expected {what}, got {described(rule)}: pass a rule such as manualbp.{example}"
        )


def _activation_start(rule: Rule) -> Callable[[jax.Array, Any], Any]:
    """What a learnable activation starts from; () for the others."""
    arguments = argument_names(rule)
    if len(arguments) == 1 or arguments[0] == "key":
        return lambda key, dtype: ()
    if rule not in _START:
        raise ValueError(
            f"mlp: expected an activation whose start is known, got {described(rule)}: "
            "chain it with chain(...) and make its parameters yourself"
        )
    return lambda key, dtype: jnp.asarray(_START[rule], dtype)
