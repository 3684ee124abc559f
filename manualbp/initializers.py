"""Initialisation: functions of (key, inputs, outputs, dtype) that give weights and bias.

Weights have shape (inputs, outputs), biases (outputs,).
"""

import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

Initializer = Callable[[jax.Array, int, int, Any], tuple[jax.Array, jax.Array]]


def gaussian(key, inputs, outputs, dtype):
    """Weights from N(0, 1/inputs), biases from N(0, 1) (note 001, SGD-NEURAL-NET, lines 2-3).

    Args:
      key: of jax.random.
      inputs: units before the layer.
      outputs: units of the layer.
      dtype: of the parameters.

    Returns:
      Weights of shape (inputs, outputs) and a bias of shape (outputs,).
    """
    for_w, for_b = jax.random.split(key)
    w = jax.random.normal(for_w, (inputs, outputs), dtype) / math.sqrt(inputs)
    return w, jax.random.normal(for_b, (outputs,), dtype)


def zeros(key, inputs, outputs, dtype):
    """All zero (note 004; note 003: not where there is a hidden layer, whose units stay equal).

    Args:
      key: of jax.random.
      inputs: units before the layer.
      outputs: units of the layer.
      dtype: of the parameters.

    Returns:
      Weights of shape (inputs, outputs) and a bias of shape (outputs,).
    """
    del key
    return jnp.zeros((inputs, outputs), dtype), jnp.zeros((outputs,), dtype)


def glorot(key, inputs, outputs, dtype):
    """Weights from U(-r, r), r = sqrt(6 / (inputs + outputs)), biases 0 (Glorot, Bengio 2010).

    Args:
      key: of jax.random.
      inputs: units before the layer.
      outputs: units of the layer.
      dtype: of the parameters.

    Returns:
      Weights of shape (inputs, outputs) and a bias of shape (outputs,).
    """
    r = math.sqrt(6 / (inputs + outputs))
    w = jax.random.uniform(key, (inputs, outputs), dtype, -r, r)
    return w, jnp.zeros((outputs,), dtype)


def he(key, inputs, outputs, dtype):
    """Weights from N(0, 2/inputs), biases 0 (He et al. 2015, arXiv:1502.01852).

    Args:
      key: of jax.random.
      inputs: units before the layer.
      outputs: units of the layer.
      dtype: of the parameters.

    Returns:
      Weights of shape (inputs, outputs) and a bias of shape (outputs,).
    """
    w = jax.random.normal(key, (inputs, outputs), dtype) * math.sqrt(2 / inputs)
    return w, jnp.zeros((outputs,), dtype)
