"""What each rule of the catalogue is verified on: one row a rule, shapes and domains.

Shapes are small, because every entry is also decided in exact arithmetic.
"""

from manualbp.layers import Dense
from manualbp.verify._inputs import Spec


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
