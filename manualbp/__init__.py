"""Gradients derived by hand, written as pure JAX functions, and decided by a verifier.

>>> import jax, manualbp
>>> print(f"{jax.grad(manualbp.tanh)(10.0):.3g}")   # jax.grad(jnp.tanh) gives 0
8.24e-09
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from manualbp import (
        activations,
        fused,
        initializers,
        layers,
        losses,
        networks,
        per_example,
        saving,
        schedules,
        second_order,
        sharding,
        training,
    )
    from manualbp._rule import Rule, chain, checkpointed, elementwise, sum_to
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
    from manualbp.fused import linear_softmax_cross_entropy
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
    from manualbp.per_example import (
        clipped_grads,
        gradient_noise_scale,
        importance_scores,
        per_example_grads,
        per_example_norms,
    )
    from manualbp.second_order import (
        gauss_newton_diagonal,
        gauss_newton_vector_product,
        hessian_diagonal,
        hessian_vector_product,
        kronecker_factors,
    )
    from manualbp.sharding import param_shardings, place_batch, place_params
    from manualbp.training import (
        Optimizer,
        TrainingError,
        evaluate,
        gradient_descent,
        train,
    )

    RULES: tuple[Rule, ...]

__version__ = "0.1.0"

__all__ = [
    "RULES",
    "Dense",
    "Network",
    "Optimizer",
    "Rule",
    "TrainingError",
    "absolute",
    "activations",
    "binary_cross_entropy",
    "binary_step",
    "chain",
    "checkpointed",
    "clipped_grads",
    "cross_entropy",
    "dense",
    "dense_augmented",
    "dense_without_bias",
    "elementwise",
    "elu",
    "evaluate",
    "fused",
    "gauss_newton_diagonal",
    "gauss_newton_vector_product",
    "gaussian_nll",
    "generalized_relu",
    "gradient_descent",
    "gradient_noise_scale",
    "half_squared_error",
    "heaviside",
    "hessian_diagonal",
    "hessian_vector_product",
    "identity",
    "importance_scores",
    "initializers",
    "kronecker_factors",
    "layers",
    "leaky_relu",
    "learnable_swish",
    "linear_softmax_cross_entropy",
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
    "per_example",
    "per_example_grads",
    "per_example_norms",
    "place_batch",
    "place_params",
    "prelu",
    "randomized_relu",
    "relu",
    "saving",
    "schedules",
    "second_order",
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
    "train",
    "training",
    "with_loss",
]

# Where a name is looked for. JAX is imported with the first of them that somebody asks for, so
# that `import manualbp`, which starting pytest does where this is installed, stays cheap.
_MODULES = (
    "_rule",
    "activations",
    "losses",
    "layers",
    "fused",
    "networks",
    "initializers",
    "per_example",
    "second_order",
    "training",
    "schedules",
    "saving",
    "sharding",
)

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
