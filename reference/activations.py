"""Textbook definitions of the activations.

Formulas: Goodfellow, Bengio, Courville, Deep Learning (2016), chapter 6, and lecture notes 000
and 001, unless a line says otherwise.
"""

import jax
import jax.numpy as jnp


def identity(z):
    return z


def binary_step(z):
    return jnp.sign(z)


def heaviside(z):
    return (z > 0).astype(z.dtype)


def sigmoid(z):
    return 1 / (1 + jnp.exp(-z))


def tanh(z):
    return (jnp.exp(z) - jnp.exp(-z)) / (jnp.exp(z) + jnp.exp(-z))


def relu(z):
    return jnp.maximum(0, z)


def leaky_relu(slope):
    return lambda z: jnp.where(z < 0, slope * z, z)


def absolute(z):
    return jnp.where(z < 0, -z, z)


def generalized_relu(slope, z):
    return jnp.maximum(0, z) + slope * jnp.minimum(0, z)


def prelu(slope, z):
    """He et al. 2015, arXiv:1502.01852, equation 1."""
    return jnp.where(z > 0, z, slope * z)


def randomized_relu(lower, upper):
    """Xu et al. 2015, arXiv:1505.00853, section 3.4; the mean slope without a key."""

    def definition(key, z):
        mean = (lower + upper) / 2
        a = mean if key is None else jax.random.uniform(key, z.shape, z.dtype, lower, upper)
        return jnp.where(z > 0, z, a * z)

    return definition


def softplus(z):
    return jnp.log(1 + jnp.exp(z))


def elu(alpha):
    return lambda z: jnp.where(z > 0, z, alpha * (jnp.exp(z) - 1))


def swish(beta):
    """Ramachandran et al. 2017, arXiv:1710.05941, section 4."""
    return lambda z: z * sigmoid(beta * z)


def learnable_swish(beta, z):
    """Ramachandran et al. 2017, arXiv:1710.05941, section 4."""
    return z * sigmoid(beta * z)


def silu(z):
    return z * sigmoid(z)


def softmax(z):
    return jnp.exp(z) / jnp.sum(jnp.exp(z), axis=-1, keepdims=True)


def log_softmax(z):
    return jnp.log(softmax(z))


def logsumexp(z):
    return jnp.log(jnp.sum(jnp.exp(z), axis=-1))
