"""Gradients derived by hand, written as pure JAX functions, and decided by a verifier.

>>> import jax, manualbp
>>> print(f"{jax.grad(manualbp.tanh)(10.0):.3g}")   # jax.grad(jnp.tanh) gives 0
8.24e-09
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from manualbp import activations, initializers, layers, losses, networks, sharding
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
    from manualbp.sharding import param_shardings, place_batch, place_params

    RULES: tuple[Rule, ...]

__version__ = "0.1.0"

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
    "param_shardings",
    "place_batch",
    "place_params",
    "prelu",
    "randomized_relu",
    "relu",
    "sharding",
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

# Where a name is looked for. JAX is imported with the first of them that somebody asks for, so
# that `import manualbp`, which starting pytest does where this is installed, stays cheap.
_MODULES = ("_rule", "activations", "losses", "layers", "networks", "initializers", "sharding")

if not TYPE_CHECKING:  # it would hide misspelt names from a type checker

    def __getattr__(name: str) -> Any:
        if name in _MODULES:
            return importlib.import_module(f"manualbp.{name}")  # which makes it an attribute
        if name not in __all__:
            raise AttributeError(f"module 'manualbp' has no attribute {name!r}")
        if name == "RULES":
            catalogues = (__getattr__(m) for m in ("activations", "losses", "layers"))
            value = sum((c.RULES for c in catalogues), ())
        else:
            homes = map(__getattr__, _MODULES)
            value = next(vars(m)[name] for m in homes if name in vars(m))
        globals()[name] = value
        return value

    def __dir__() -> list[str]:
        return sorted({*globals(), *__all__})
