"""Textbook definitions of the layers and of a network: rows are examples."""

import inspect

import jax.numpy as jnp


def dense(params, x):
    w, b = params
    return jnp.sum(x[..., :, None] * w, axis=-2) + b


def dense_without_bias(w, x):
    return jnp.sum(x[..., :, None] * w, axis=-2)


def dense_augmented(theta, x):
    return dense_without_bias(theta[:-1], x) + theta[-1]


def network(*definitions, loss=None):
    """f_n(... f_1(x)), with one entry of params for each definition (() for one of x alone).

    With a loss, a function of (params, x, y): the loss of each example.
    """

    def forward(params, x):
        for f, own in zip(definitions, params, strict=True):
            x = f(x) if len(inspect.signature(f).parameters) == 1 else f(own, x)
        return x

    if loss is None:
        return forward
    return lambda params, x, y: loss(forward(params, x), y)
