"""The gradient checkers that scorecard.py compares, each as `run(bridge, seed)`, and the bridge.

A checker takes functions of its own library. A rule of JAX reaches it through a function of that
library whose forward and backward passes call the rule's own fwd and bwd.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from manualbp.verify.ask.domains import draw, spec_of


class Bridge:
    """A rule and one draw of its arguments, as plain functions of its floating arrays.

    Integers, booleans and keys are closed over; trees are flattened.
    """

    def __init__(self, rule, args, seed, dtype):
        rng = np.random.default_rng(seed)
        leaves, self.tree = jax.tree.flatten(args)
        self.leaves = [draw(spec_of(leaf), rng, "normal") for leaf in leaves]
        self.free = [k for k, x in enumerate(self.leaves) if np.dtype("float64") == x.dtype]
        self.inputs = tuple(np.asarray(self.leaves[k], dtype) for k in self.free)
        self.rule = rule
        self.fwd, self.bwd = rule if isinstance(rule, tuple) else (rule.fwd, rule.bwd)

    def arguments(self, xs):
        leaves = list(self.leaves)
        for k, x in zip(self.free, xs, strict=True):
            leaves[k] = x
        return self.tree.unflatten(leaves)

    def function(self):
        """The rule as JAX has it, of the floating arrays."""
        call = self.rule
        if isinstance(call, tuple):
            call = jax.custom_vjp(lambda *args: self.fwd(*args)[0])
            call.defvjp(self.fwd, self.bwd)
        return lambda *xs: call(*self.arguments(xs))

    def forward(self, *xs):
        """Leaves of the value, and what `backward` needs."""
        y, residuals = self.fwd(*self.arguments([_copied(x) for x in xs]))
        leaves, tree = jax.tree.flatten(y)
        return leaves, (residuals, tree)

    def backward(self, kept, dys):
        """One cotangent a floating array; as many as there are, where their count is wrong."""
        residuals, tree = kept
        given = self.bwd(residuals, tree.unflatten([_copied(dy) for dy in dys]))
        leaves = jax.tree.leaves(given, is_leaf=lambda x: x is None)
        if len(leaves) != len(self.leaves):
            return leaves
        return [leaves[k] for k in self.free]


def _copied(x):
    """As a JAX array. A tool changes its inputs in place, and JAX would share their memory."""
    return x if isinstance(x, jax.Array) else jnp.asarray(np.array(x))


# Each of these imports its library, and returns what raises where the checker refuses


def jax_tool(order):
    from jax.test_util import check_grads

    def run(bridge, seed):  # the default modes raise at every custom_vjp: it has no forward mode
        check_grads(bridge.function(), bridge.inputs, order=order, modes=["rev"])

    return run


def chex_tool(order):
    import chex

    def run(bridge, seed):
        chex.assert_numerical_grads(bridge.function(), bridge.inputs, order=order, modes=["rev"])

    return run


def torch_tool(order, fast=False):
    import torch

    def run(bridge, seed):
        class Bridged(torch.autograd.Function):
            @staticmethod
            def forward(ctx, *xs):
                ys, ctx.kept = bridge.forward(*(x.detach().numpy() for x in xs))
                return tuple(torch.from_numpy(np.array(y)) for y in ys)

            @staticmethod
            def backward(ctx, *dys):
                given = bridge.backward(ctx.kept, [dy.detach().numpy() for dy in dys])
                return tuple(None if g is None else torch.from_numpy(np.array(g)) for g in given)

        inputs = tuple(torch.tensor(x, requires_grad=True) for x in bridge.inputs)
        torch.autograd.gradcheck(Bridged.apply, inputs, fast_mode=fast)

    return run


def autograd_tool(order):
    from autograd.extend import defvjp, primitive
    from autograd.test_util import check_grads

    def pulled(bridge, k, results):
        """The cotangent of the k-th array, of cotangents and arrays; JAX differentiates it."""

        def pull(*both):
            kept = bridge.forward(*both[results:])[1]
            given = bridge.backward(kept, both[:results])[k]
            return jnp.zeros_like(both[results + k]) if given is None else given

        def second(j, ans, *both):
            back = jax.vjp(pull, *map(_copied, both))[1]
            return lambda g: np.array(back(jnp.asarray(g))[j])

        first = primitive(lambda *both: np.array(pull(*both)))
        both = results + len(bridge.inputs)
        defvjp(first, *(functools.partial(second, j) for j in range(both)))
        return first

    def run(bridge, seed):
        np.random.seed(seed)  # the tool draws its directions from NumPy's own state
        count = len(jax.eval_shape(lambda *xs: bridge.forward(*xs)[0], *bridge.inputs))

        def value(*xs):
            ys = tuple(np.array(y) for y in bridge.forward(*xs)[0])
            return ys if count > 1 else ys[0]

        def pulls(k, ans, *xs):
            first = pulled(bridge, k, count)
            if count == 1:
                return lambda dy: first(dy, *xs)
            return lambda dy: first(*(dy[i] for i in range(count)), *xs)

        function = primitive(value)
        places = tuple(range(len(bridge.inputs)))
        defvjp(function, *(functools.partial(pulls, k) for k in places))
        check_grads(function, places, modes=["rev"])(*bridge.inputs)

    return run
