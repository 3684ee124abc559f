"""Textbook definitions of the losses, one number an example.

Formulas: Goodfellow, Bengio, Courville, Deep Learning (2016), sections 5.5 and 6.2, and lecture
notes 000, 001 and 004.
"""

import math

import jax.numpy as jnp

from .activations import sigmoid, softmax
from .layers import dense_without_bias


def squared_error(predictions, targets):
    return jnp.sum((predictions - targets) ** 2, axis=-1)


def half_squared_error(predictions, targets):
    return squared_error(predictions, targets) / 2


def mean_squared_error(predictions, targets):
    return jnp.mean((predictions - targets) ** 2, axis=-1)


def gaussian_nll(mean, variance, targets):
    exponent = -((targets - mean) ** 2) / (2 * variance)
    density = jnp.exp(exponent) / jnp.sqrt(2 * math.pi * variance)
    return -jnp.sum(jnp.log(density), axis=-1)


def binary_cross_entropy(probabilities, labels):
    return -(labels * jnp.log(probabilities) + (1 - labels) * jnp.log(1 - probabilities))


def sigmoid_binary_cross_entropy(logits, labels):
    return -(labels * jnp.log(sigmoid(logits)) + (1 - labels) * jnp.log(sigmoid(-logits)))


def logistic_loss(logits, labels):
    return -jnp.log(sigmoid((2 * labels - 1) * logits))


def multilabel_binary_cross_entropy(logits, labels):
    return jnp.sum(sigmoid_binary_cross_entropy(logits, labels), axis=-1)


def cross_entropy(probabilities, labels):
    return -jnp.sum(labels * jnp.log(probabilities), axis=-1)


def softmax_cross_entropy(logits, labels):
    return cross_entropy(softmax(logits), labels)


def softmax_cross_entropy_with_integer_labels(logits, labels):
    return negative_log_likelihood(jnp.log(softmax(logits)), labels)


def negative_log_likelihood(log_probabilities, labels):
    return -jnp.take_along_axis(log_probabilities, labels[..., None], axis=-1)[..., 0]


def linear_softmax_cross_entropy(
    chunk=None,
    ignore=None,
    label_smoothing=0.0,
    z_loss=0.0,
    weighted=False,
    rows=None,
):
    def weighted_definition(h, w, b, labels, weights):
        logits = dense_without_bias(w, h) + b
        kept = True
        if labels.ndim < logits.ndim:
            kept = labels != ignore
            labels = (labels[..., None] == jnp.arange(len(b))).astype(b.dtype)
        smooth = (1 - label_smoothing) * labels + label_smoothing / len(b)
        loss = cross_entropy(softmax(logits), weights * smooth)
        if z_loss:
            loss = loss + z_loss * jnp.log(jnp.sum(jnp.exp(logits), axis=-1)) ** 2
        return jnp.where(kept, loss, 0)

    def definition(h, w, b, labels):
        return weighted_definition(h, w, b, labels, jnp.ones_like(b))

    return weighted_definition if weighted else definition
