"""What each rule of the catalogue is verified on: one row a rule, shapes and domains.

Shapes are small, because every entry is also decided in exact arithmetic.
"""

from collections.abc import Callable
from typing import Any

from manualbp import activations, layers, losses
from manualbp._rule import Rule
from manualbp.layers import Dense
from manualbp.networks import mlp, with_loss
from manualbp.verify.ask.definitions import base_name, definition_of, reference
from manualbp.verify.ask.domains import Spec


def real(*shape: int) -> Spec:
    return Spec(shape)


def labels(*shape: int) -> Spec:
    return Spec(shape, "labels")


KEY = Spec((), "key")

CASES: dict[str, tuple] = {
    "identity": (real(6),),
    "binary_step": (real(6),),
    "heaviside": (real(6),),
    "sigmoid": (real(6),),
    "tanh": (real(6),),
    "relu": (real(6),),
    "leaky_relu": (real(6),),
    "absolute": (real(6),),
    "generalized_relu": (real(2, 3), real(2, 3)),
    "prelu": (real(3), real(2, 3)),
    "randomized_relu": (KEY, real(6)),
    "softplus": (real(6),),
    "elu": (real(6),),
    "swish": (real(6),),
    "learnable_swish": (real(3), real(2, 3)),
    "silu": (real(6),),
    "softmax": (real(2, 3),),
    "log_softmax": (real(2, 3),),
    "logsumexp": (real(2, 3),),
    "squared_error": (real(2, 3), real(2, 3)),
    "half_squared_error": (real(2, 3), real(2, 3)),
    "mean_squared_error": (real(2, 3), real(2, 3)),
    "gaussian_nll": (real(2, 3), Spec((3,), "positive"), real(2, 3)),
    "binary_cross_entropy": (Spec((6,), "unit"), labels(6)),
    "sigmoid_binary_cross_entropy": (real(6), labels(6)),
    "logistic_loss": (real(6), labels(6)),
    "multilabel_binary_cross_entropy": (real(2, 3), labels(2, 3)),
    "cross_entropy": (Spec((2, 3), "simplex"), Spec((2, 3), "weights")),
    "softmax_cross_entropy": (real(2, 3), Spec((2, 3), "weights")),
    "softmax_cross_entropy_with_integer_labels": (real(2, 3), Spec((2,), "integers", below=3)),
    "negative_log_likelihood": (real(2, 3), Spec((2,), "integers", below=3)),
    "dense": (Dense(real(3, 2), real(2)), real(4, 3)),
    "dense_without_bias": (real(3, 2), real(4, 3)),
    "dense_augmented": (real(4, 2), real(4, 3)),
}


# Rules that are no functions of numbers, one by one or summed over the last axis
OF_VECTORS = (
    "softmax",
    "log_softmax",
    "logsumexp",
    "softmax_cross_entropy",
    "softmax_cross_entropy_with_integer_labels",
    "negative_log_likelihood",
    "dense",
    "dense_without_bias",
    "dense_augmented",
)

# The most ULPs that value and gradient may be off, and why where it is more than these
BOUNDS = {"float16": 1.0, "bfloat16": 1.0, "float32": 4.0, "float64": 4.0}
_EXPM1 = "XLA's expm1 in float32 is off by 5 ULP for arguments of -0.5 to 0"
_SLOPE = "roundings of numerator, square and quotient meet near -0.54, at 23 of all 2^32 inputs"
_BETA = f"{_SLOPE}; of the decay and its correction (the slope in beta) at 2, for beta = 1"
EXCEPTIONS: dict[str, dict[str, tuple[float, str]]] = {
    "tanh": {
        "float32": (5.0, "XLA's tanh, the value, is off by 4.9 ULP at -5.126"),
        "float64": (8.0, "XLA's tanh, the value, is off by 6.5 ULP near 19"),
    },
    "softplus": {"float32": (7.0, f"the derivative from the output: {_EXPM1}")},
    "elu": {"float32": (6.0, f"the value: {_EXPM1}")},
    "silu": {"float32": (5.0, _SLOPE)},
    "swish": {"float32": (5.0, _SLOPE)},
    "learnable_swish": {"float32": (5.0, _BETA), "float64": (5.0, _BETA)},
}


def bound_of(name: str, dtype: str) -> tuple[float, str]:
    """The bound of a rule in ULPs, and its cause where it is not that of all rules."""
    return EXCEPTIONS.get(name.partition("(")[0], {}).get(dtype, (BOUNDS[dtype], ""))


def networks() -> dict[str, tuple[Rule, Callable[..., Any], tuple]]:
    """Whole networks with their losses: the rule, its definition, and arguments."""
    hidden = Dense(real(2, 3), real(3)), Dense(real(3, 2), real(2))
    return {
        "mlp 2-3-2, tanh, softmax cross-entropy": _network(
            (activations.tanh,),
            losses.softmax_cross_entropy_with_integer_labels,
            layers.dense,
            ((hidden[0], (), hidden[1], ()), real(4, 2), Spec((4,), "integers", below=2)),
        ),
        "mlp 2-3-2, sigmoid, Theta = [W b], binary cross-entropy": _network(
            (activations.sigmoid,),
            losses.multilabel_binary_cross_entropy,
            layers.dense_augmented,
            ((real(3, 3), (), real(4, 2), ()), real(4, 2), labels(4, 2)),
        ),
        "mlp 2-3-2, relu, no bias, half squared error": _network(
            (activations.relu,),
            losses.half_squared_error,
            layers.dense_without_bias,
            ((real(2, 3), (), real(3, 2), ()), real(4, 2), real(4, 2)),
        ),
        "mlp 2-3-3-2, prelu and learnable swish, squared error": _network(
            (activations.prelu, activations.learnable_swish),
            losses.squared_error,
            layers.dense,
            (
                (
                    hidden[0],
                    real(3),
                    Dense(real(3, 3), real(3)),
                    real(),
                    hidden[1],
                    (),
                ),
                real(4, 2),
                real(4, 2),
            ),
        ),
    }


def _network(
    hidden: tuple[Rule, ...], loss: Rule, layer: Rule, args: tuple
) -> tuple[Rule, Callable[..., Any], tuple]:
    widths = (2, *(3 for _ in hidden), 2)
    network = mlp(widths, activation=hidden, loss=loss, layer=layer)
    rules = [r for h in hidden for r in (layer, h)] + [layer, activations.identity]
    textbook = reference()
    definition = textbook.network(
        *(getattr(textbook, base_name(r)) for r in rules), loss=definition_of(loss)
    )
    return with_loss(network.rule, loss), definition, args
