"""Gradients derived by hand, written as pure JAX functions, and decided by a verifier.

>>> import jax, manualbp
>>> print(f"{jax.grad(manualbp.tanh)(10.0):.3g}")   # jax.grad(jnp.tanh) gives 0
8.24e-09
"""

from manualbp import activations, initializers, layers, losses, networks
from manualbp._rule import Rule, chain, elementwise, sum_to
from manualbp.activations import (
    absolute,
    binary_step,
    elu,
    generalized_relu,
    heaviside,
    identity,
    leaky_relu,
    learnable_swish,
    log_softmax,
    logsumexp,
    prelu,
    randomized_relu,
    relu,
    sigmoid,
    silu,
    softmax,
    softplus,
    swish,
    tanh,
)
from manualbp.layers import Dense, dense, dense_augmented, dense_without_bias
from manualbp.losses import (
    binary_cross_entropy,
    cross_entropy,
    gaussian_nll,
    half_squared_error,
    logistic_loss,
    mean_squared_error,
    multilabel_binary_cross_entropy,
    negative_log_likelihood,
    sigmoid_binary_cross_entropy,
    softmax_cross_entropy,
    softmax_cross_entropy_with_integer_labels,
    squared_error,
)
from manualbp.networks import Network, mlp, with_loss

__version__ = "0.1.0"

RULES = activations.RULES + losses.RULES + layers.RULES

__all__ = [
    "RULES",
    "Dense",
    "Network",
    "Rule",
    "absolute",
    "activations",
    "binary_cross_entropy",
    "binary_step",
    "chain",
    "cross_entropy",
    "dense",
    "dense_augmented",
    "dense_without_bias",
    "elementwise",
    "elu",
    "gaussian_nll",
    "generalized_relu",
    "half_squared_error",
    "heaviside",
    "identity",
    "initializers",
    "layers",
    "leaky_relu",
    "learnable_swish",
    "log_softmax",
    "logistic_loss",
    "logsumexp",
    "losses",
    "mean_squared_error",
    "mlp",
    "multilabel_binary_cross_entropy",
    "negative_log_likelihood",
    "networks",
    "prelu",
    "randomized_relu",
    "relu",
    "sigmoid",
    "sigmoid_binary_cross_entropy",
    "silu",
    "softmax",
    "softmax_cross_entropy",
    "softmax_cross_entropy_with_integer_labels",
    "softplus",
    "squared_error",
    "sum_to",
    "swish",
    "tanh",
    "with_loss",
]
