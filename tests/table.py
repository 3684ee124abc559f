"""What each rule is tested on: one row a rule, one entry a shape; and the values at kinks.

Every value that `draw` gives is exact in all four dtypes (eighths below 4, which bfloat16 holds),
and lies where float64 autodiff of the naive definition loses no digits: away from kinks and tails.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np

from manualbp import Dense


@dataclass(frozen=True)
class Leaf:
    """One array: its shape and the domain of its values; `below` bounds integers."""

    shape: tuple[int, ...] = ()
    domain: str = "real"
    below: int = 0


def real(*shape: int) -> Leaf:
    return Leaf(shape)


def positive(*shape: int) -> Leaf:
    return Leaf(shape, "positive")


def unit(*shape: int) -> Leaf:
    return Leaf(shape, "unit")


def labels(*shape: int) -> Leaf:
    return Leaf(shape, "labels")


def weights(*shape: int) -> Leaf:
    return Leaf(shape, "weights")


def onehot(*shape: int) -> Leaf:
    return Leaf(shape, "onehot")


def classes(*shape: int, below: int) -> Leaf:
    return Leaf(shape, "integers", below)


KEY, NONE = Leaf((), "key"), Leaf((), "none")

# 0-d, size 0, size 1, a vector, a matrix, leading batch axes: the last is what one draw of the
# transformations' tests uses
ANY = ((), (0,), (1,), (5,), (3, 0), (2, 2, 3), (2, 3))
ROWS = ((1,), (5,), (0, 3), (4, 1), (2, 2, 3), (2, 3))
ELEMENTWISE = tuple((real(*shape),) for shape in ANY)
ALONG_ROWS = tuple((real(*shape),) for shape in ROWS)
# A parameter of a layer, of a channel, of an example, of an entry
BROADCAST = (
    (real(), real()),
    (real(), real(5)),
    (real(), real(0, 3)),
    (real(3), real(0, 3)),
    (real(0), real(2, 0)),
    (real(1), real(2, 3)),
    (real(2, 1), real(2, 3)),
    (real(2, 3), real(2, 3)),
    (real(3), real(2, 2, 3)),
    (real(3), real(2, 3)),
)
SQUARED = tuple((real(*shape), real(*shape)) for shape in ROWS)
BINARY = tuple((real(*shape), labels(*shape)) for shape in ANY)
INTEGER = (
    (real(1), classes(below=1)),
    (real(5), classes(below=5)),
    (real(0, 3), classes(0, below=3)),
    (real(2, 2, 3), classes(2, 2, below=3)),
    (real(2, 3), classes(2, below=3)),
)

TABLE: dict[str, tuple[tuple[Any, ...], ...]] = {
    "identity": ELEMENTWISE,
    "binary_step": ELEMENTWISE,
    "heaviside": ELEMENTWISE,
    "sigmoid": ELEMENTWISE,
    "tanh": ELEMENTWISE,
    "relu": ELEMENTWISE,
    "leaky_relu": ELEMENTWISE,
    "absolute": ELEMENTWISE,
    "generalized_relu": BROADCAST,
    "prelu": BROADCAST,
    "randomized_relu": (
        *((NONE, real(*shape)) for shape in ANY),
        (KEY, real(0)),
        (KEY, real()),
        (KEY, real(2, 3)),
    ),
    "softplus": ELEMENTWISE,
    "elu": ELEMENTWISE,
    "swish": ELEMENTWISE,
    "learnable_swish": BROADCAST,
    "silu": ELEMENTWISE,
    "softmax": ALONG_ROWS,
    "log_softmax": ALONG_ROWS,
    "logsumexp": ALONG_ROWS,
    "squared_error": SQUARED,
    "half_squared_error": SQUARED,
    "mean_squared_error": SQUARED,
    "gaussian_nll": (
        (real(1), positive(), real(1)),
        (real(0, 3), positive(3), real(0, 3)),
        (real(2, 3), positive(), real(2, 3)),
        (real(2, 3), positive(2, 1), real(2, 3)),
        (real(2, 3), positive(2, 3), real(2, 3)),
        (real(2, 2, 3), positive(3), real(2, 2, 3)),
        (real(2, 3), positive(3), real(2, 3)),
    ),
    "binary_cross_entropy": tuple((unit(*shape), labels(*shape)) for shape in ANY),
    "sigmoid_binary_cross_entropy": BINARY,
    "logistic_loss": BINARY,
    "multilabel_binary_cross_entropy": tuple((real(*shape), labels(*shape)) for shape in ROWS),
    "cross_entropy": (
        *((unit(*shape), weights(*shape)) for shape in ROWS),
        (unit(2, 3), onehot(2, 3)),
    ),
    "softmax_cross_entropy": (
        *((real(*shape), weights(*shape)) for shape in ROWS),
        (real(2, 3), onehot(2, 3)),
    ),
    "softmax_cross_entropy_with_integer_labels": INTEGER,
    "negative_log_likelihood": INTEGER,
    "dense": (
        (Dense(real(3, 2), real(2)), real(3)),
        (Dense(real(3, 2), real(2)), real(0, 3)),
        (Dense(real(1, 1), real(1)), real(1, 1)),
        (Dense(real(0, 2), real(2)), real(4, 0)),
        (Dense(real(3, 0), real(0)), real(4, 3)),
        (Dense(real(3, 2), real(2)), real(2, 2, 3)),
        (Dense(real(3, 2), real(2)), real(4, 3)),
    ),
    "dense_without_bias": (
        (real(3, 2), real(3)),
        (real(3, 2), real(0, 3)),
        (real(1, 1), real(1, 1)),
        (real(0, 2), real(4, 0)),
        (real(3, 0), real(4, 3)),
        (real(3, 2), real(2, 2, 3)),
        (real(3, 2), real(4, 3)),
    ),
    "dense_augmented": (
        (real(4, 2), real(3)),
        (real(4, 2), real(0, 3)),
        (real(2, 1), real(1, 1)),
        (real(1, 2), real(4, 0)),
        (real(4, 0), real(4, 3)),
        (real(4, 2), real(2, 2, 3)),
        (real(4, 2), real(4, 3)),
    ),
}


@dataclass(frozen=True)
class Kink:
    """The convention of a rule's tex: its arguments at the kink, and dy/d(argument) there."""

    args: tuple[float | None, ...]
    slopes: tuple[float | None, ...]


KINKS: dict[str, tuple[Kink, ...]] = {
    "binary_step": (Kink((0.0,), (0.0,)),),
    "heaviside": (Kink((0.0,), (0.0,)),),
    "relu": (Kink((0.0,), (0.0,)),),
    "leaky_relu(slope=0.01)": (Kink((0.0,), (1.0,)),),
    "leaky_relu(slope=2.0)": (Kink((0.0,), (1.0,)),),
    "absolute": (Kink((0.0,), (0.0,)),),
    "generalized_relu": (Kink((0.25, 0.0), (0.0, 0.25)), Kink((-1.0, 0.0), (0.0, -1.0))),
    "prelu": (Kink((0.25, 0.0), (0.0, 0.25)), Kink((3.0, 0.0), (0.0, 3.0))),
    "randomized_relu(lower=0.25, upper=0.75)": (Kink((None, 0.0), (None, 0.5)),),
    "elu(alpha=1.0)": (Kink((0.0,), (1.0,)),),  # no kink for this alpha
    "elu(alpha=2.0)": (Kink((0.0,), (2.0,)),),
}


# Values


def is_leaf(x: Any) -> bool:
    return isinstance(x, Leaf)


def draw(args: tuple, rng: np.random.Generator) -> tuple:
    """The arguments in float64 (int32 labels, a key, None), every number exact in bfloat16."""
    return jax.tree.map(lambda leaf: _array(leaf, rng), args, is_leaf=is_leaf)


def draw_round(args: tuple, rng: np.random.Generator) -> tuple:
    """-1, 0 and 1 for reals, 0 and 1 for labels: where the branches of stable forms meet."""

    def array(leaf: Leaf) -> Any:
        if leaf.domain == "real":
            return rng.integers(-1, 2, leaf.shape).astype(np.float64)
        if leaf.domain in ("labels", "weights"):
            return rng.integers(0, 2, leaf.shape).astype(np.float64)
        return _array(leaf, rng)

    return jax.tree.map(array, args, is_leaf=is_leaf)


def _array(leaf: Leaf, rng: np.random.Generator) -> Any:
    shape = leaf.shape
    match leaf.domain:
        case "real":
            return rng.choice([-1, 1], shape) * rng.integers(1, 25, shape) / 8
        case "positive":
            return rng.integers(1, 25, shape) / 8
        case "unit":
            return rng.integers(1, 8, shape) / 8
        case "labels":
            return rng.choice([0, 0.25, 0.5, 0.875, 1, 1], shape)
        case "weights":
            return rng.integers(0, 17, shape) / 8
        case "onehot":
            return np.eye(shape[-1])[rng.integers(0, shape[-1], shape[:-1])]
        case "integers":
            return rng.integers(0, leaf.below, shape).astype(np.int32)
        case "key":
            return jax.random.key(int(rng.integers(2**31)))
        case "none":
            return None
    raise ValueError(f"no such domain: {leaf.domain}")


def cotangents(shape: tuple[int, ...], rng: np.random.Generator, power: int) -> Iterator:
    """Random, zero, one entry alone, and scaled by a large and a small power of two."""
    dy = rng.integers(-16, 17, shape) / 8
    one = np.zeros(shape)
    if one.size:
        one.flat[rng.integers(one.size)] = 1.0
    yield from (dy, np.zeros(shape), one, dy * 2.0**power, dy * 2.0**-power)
