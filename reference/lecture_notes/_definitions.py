"""Textbook definitions that the claims are measured against: naive on purpose, forward only."""

from collections.abc import Callable

import jax
import jax.numpy as jnp


def sigmoid(t):
    """Logistic function, 1 / (1 + e^-t)."""
    return 1 / (1 + jnp.exp(-t))


def tanh(t):
    """Hyperbolic tangent, sinh t / cosh t."""
    return jnp.sinh(t) / jnp.cosh(t)


def relu(t):
    """The larger of 0 and t."""
    return jnp.maximum(0.0, t)


def softmax(z):
    """e^z_k / sum_j e^z_j along the last axis."""
    return jnp.exp(z) / jnp.sum(jnp.exp(z), axis=-1, keepdims=True)


def squared_error(y, z):
    """Half the squared distance of z from y."""
    return jnp.sum((y - z) ** 2) / 2


def cross_entropy(y, p):
    """Cross-entropy of the distribution p under the labels y."""
    return -jnp.sum(y * jnp.log(p))


def binary_cross_entropy(y, p):
    """Cross-entropy of the Bernoulli distributions p under the labels y, elementwise."""
    return -(y * jnp.log(p) + (1 - y) * jnp.log(1 - p))


def bernoulli(y, p):
    """Probability of the outcome y, 0 or 1, when 1 has probability p."""
    return p**y * (1 - p) ** (1 - y)


def append_one(a):
    """Append the dummy feature 1 that multiplies the bias, along the last axis."""
    return jnp.concatenate([a, jnp.ones_like(a[..., :1])], axis=-1)


def derivative(f: Callable) -> Callable:
    """Derivative of an elementwise function, by autodiff."""
    return jax.grad(lambda t: jnp.sum(f(t)))


def pullback(f: Callable, x, dy):
    """Cotangent of x when f(x) has the cotangent dy, by autodiff."""
    return jax.vjp(f, x)[1](dy)[0]


def partials(f: Callable, x):
    """df/dx, one entry at a time: the slope of the scalar f along each unit direction."""
    units = jnp.eye(x.size).reshape(x.size, *x.shape)
    slopes = [jax.jvp(f, (x,), (unit,))[1] for unit in units]
    return jnp.stack(slopes).reshape(x.shape)
