"""What people use today for each rule, whose jax.grad is measured beside ours."""

import ast
import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from manualbp._rule import Rule
from manualbp.verify.ask.definitions import base_name, definition_of


def peer_of(rule: Rule) -> Callable[..., Any] | None:
    """The function of jax.nn, jax.numpy or optax of the same arguments; else the definition."""
    name, values, table = base_name(rule), _hyperparameters(rule.name), _table()
    if name not in table:
        return definition_of(rule)
    return table[name](**values) if values else table[name]


def _hyperparameters(name: str) -> dict[str, float]:
    call = ast.parse(name, mode="eval").body
    if not isinstance(call, ast.Call):
        return {}
    return {k.arg: ast.literal_eval(k.value) for k in call.keywords if k.arg}


def _table() -> dict[str, Callable[..., Any]]:
    try:
        import optax
    except ModuleNotFoundError:
        optax = None
    table: dict[str, Callable[..., Any]] = {
        "sigmoid": jax.nn.sigmoid,
        "tanh": jnp.tanh,
        "relu": jax.nn.relu,
        "leaky_relu": lambda slope: lambda z: jax.nn.leaky_relu(z, slope),
        "absolute": jnp.abs,
        "softplus": jax.nn.softplus,
        "elu": lambda alpha: lambda z: jax.nn.elu(z, alpha),
        "swish": lambda beta: lambda z: z * jax.nn.sigmoid(beta * z),
        "learnable_swish": lambda beta, z: z * jax.nn.sigmoid(beta * z),
        "silu": jax.nn.silu,
        "softmax": jax.nn.softmax,
        "log_softmax": jax.nn.log_softmax,
        "logsumexp": lambda z: jax.nn.logsumexp(z, axis=-1),
        "gaussian_nll": lambda m, v, t: (
            0.5 * jnp.sum(jnp.log(v) + (m - t) ** 2 / v + math.log(2 * math.pi), axis=-1)
        ),
        "dense": lambda p, x: x @ p.w + p.b,
        "dense_without_bias": lambda w, x: x @ w,
        "dense_augmented": lambda theta, x: (
            jnp.concatenate([x, jnp.ones_like(x[..., :1])], axis=-1) @ theta
        ),
        "logistic_loss": lambda z, y: -jax.nn.log_sigmoid((2 * y - 1) * z),
    }
    if optax is not None:
        table |= {
            "sigmoid_binary_cross_entropy": optax.sigmoid_binary_cross_entropy,
            "multilabel_binary_cross_entropy": lambda z, y: jnp.sum(
                optax.sigmoid_binary_cross_entropy(z, y), axis=-1
            ),
            "softmax_cross_entropy": optax.softmax_cross_entropy,
            "softmax_cross_entropy_with_integer_labels": (
                optax.softmax_cross_entropy_with_integer_labels
            ),
        }
    return table
