"""The steps of torch_step.py in JAX, in a process of their own, which starts no PyTorch."""

import jax
import jax.numpy as jnp
import numpy as np
from measure import compiled, cross_entropy, scores, turn
from per_example import CLIP, by_vmap

import manualbp as bp

_runs = {}
FUNCTIONS = {"tanh": jnp.tanh, "relu": jax.nn.relu, "silu": jax.nn.silu}


def prepare(name, activation, weights, x, y):
    """Compile a step, call it: gradients as NumPy arrays, seconds to compile, temporary MB."""
    widths = (*(len(w) for w, _ in weights), len(weights[-1][1]))
    network = bp.mlp(widths, activation=getattr(bp, activation))
    form = jax.tree.structure(jax.eval_shape(network.init, jax.random.key(0)))
    params = jax.tree.unflatten(form, map(jnp.asarray, sum(weights, ())))
    apply = scores(FUNCTIONS[activation])
    step = {
        "by hand": lambda *a: network.loss_and_grad(*a)[1],
        "jax.value_and_grad": jax.grad(lambda p, x, y: cross_entropy(apply(p, x), y)),
        "by hand, clipped": lambda *a: bp.clipped_grads(network, *a, CLIP),
        "jax.vmap(jax.grad)": lambda *a: by_vmap(*a, activation=FUNCTIONS[activation]),
    }[name]
    args = params, jnp.asarray(x), jnp.asarray(y)
    program, megabytes, seconds = compiled(step, *args)
    _runs[name] = lambda: jax.block_until_ready(program(*args))
    return [np.array(g) for g in jax.tree.leaves(_runs[name]())], seconds, megabytes, "default"


def go(name, calls):
    """Wall and CPU seconds of a call, medians of so many."""
    return turn(_runs[name], calls)
