"""The record of a wrong rule, the kinds, and what the rules of several kinds are made of."""

import functools
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

import manualbp
import reference
from manualbp.verify import Spec

# The kinds, with a public report of one of each

BROADCAST = "1 broadcast reduction missing or wrong: tensorflow/tensorflow#127690"
BOUNDARY = "2 value at a boundary: pytorch/pytorch#147801, jax-ml/jax#2107"
NORMALISER = "3 wrong axis or count in a normaliser: RubixML/ML#423"
TERM = "4 factor or term missing, doubled or extra: karpathy/llm.c#763"
CONJUGATE = "5 complex conjugate: jax-ml/jax#979, ml-explore/mlx#2178"
ZERO = "6 None or zero for a trainable argument: unslothai/unsloth#4533"
COTANGENT = "7 incoming cotangent ignored or misapplied: linkedin/Liger-Kernel#968"
OUTPUTS = "8 cotangent of another output dropped: hao-ai-lab/FastVideo#1388"
LAYOUT = "9 cotangent read in another layout: Dao-AILab/flash-attention#355"
RANK = "10 rank or size assumed: flagos-ai/FlagGems#5392"
DIVISION = "11 division by an input that is zero: tensorflow/tensorflow#119430"
OVERFLOW = "12 overflow to NaN: jax-ml/jax#764, jax-ml/jax#777"
TAIL = "13 cancellation in a tail: jax-ml/jax#40385, jax-ml/jax#39795"
MASK = "14 masked entries, where around a NaN: pytorch/pytorch#41508"
TIES = "15 ties over-counted: apache/mxnet#18563"
PRECISION = "16 low precision inside: linkedin/Liger-Kernel#950, karpathy/llm.c#476"
DTYPE = "17 dtype or tree of a cotangent: jax-ml/jax#23779, jax-ml/jax#7652"
STATE = "18 forward and backward hold different state: pytorch/pytorch#190717"
SECOND = "19 second derivative silently wrong: pytorch/pytorch#58509"
PATHS = "20 paths disagree: jax-ml/jax#10993, jax-ml/jax#38097"
REGION = "21 wrong in one region only: elu_backward of pytorch returned its output on one branch"
VALUE = "22 forward value wrong"
INDEX = "23 indices, order or a loop's end wrong: tenstorrent/tt-metal#53386"
LABELS = "24 right for some labels only: SeanNaren/warp-ctc#170"
LINEAR = "25 not linear in the cotangent"
SCALE = "26 hidden by the scale of the function: jax-ml/jax#3130"

KINDS = (
    BROADCAST, BOUNDARY, NORMALISER, TERM, CONJUGATE, ZERO, COTANGENT, OUTPUTS, LAYOUT, RANK,
    DIVISION, OVERFLOW, TAIL, MASK, TIES, PRECISION, DTYPE, STATE, SECOND, PATHS, REGION, VALUE,
    INDEX, LABELS, LINEAR, SCALE,
)  # fmt: skip


@dataclass(frozen=True)
class WrongRule:
    """A wrong rule and its correct twin.

    Attributes:
      name: of the mistake.
      kind: one of KINDS.
      wrong: what the judge must refuse.
      right: what it must pass.
      definition: whose gradient both should be, in plain jax.numpy.
      args: example arrays, or specifications.
      diagnosis: a pattern that names the mistake, for re.search in the report's diagnosis.
      below_scale: True if the function is right and so are the floats, up to half the digits of
        an entry's natural scale (the larger of its true and of its median size), wherever the
        definition's own float value is right; or, far out, no further off than its autodiff.
    """

    name: str
    kind: str
    wrong: Any
    right: Any
    definition: Callable[..., Any]
    args: tuple
    diagnosis: str
    below_scale: bool = False


# A value and its `pull(*args, dy)` as a rule; residuals are the arguments


def pair(value: Callable, pull: Callable) -> tuple[Callable, Callable]:
    """As (fwd, bwd)."""

    def fwd(*args):
        return value(*args), args

    def bwd(args, dy):
        return pull(*args, dy)

    return fwd, bwd


def vjp(value: Callable, pull: Callable, primal: Callable | None = None) -> jax.custom_vjp:
    """As a jax.custom_vjp function, whose undecorated function may be another."""
    undecorated = value if primal is None else primal
    function = jax.custom_vjp(lambda *args: undecorated(*args))
    function.defvjp(*pair(value, pull))
    return function


def slope(value: Callable, derivative: Callable) -> tuple[Callable, Callable]:
    """As (fwd, bwd) of one array, entry by entry."""
    return pair(value, _times(derivative))


def _times(derivative: Callable) -> Callable:
    return lambda x, dy: (dy * derivative(x),)


# Example arguments

X = np.array([1.0, -2.0, 0.5], np.float32)
Y = np.array([-1.0, 3.0, 0.25], np.float32)
SCALAR = np.array(1.5, np.float32)
MATRIX = np.array([[1.0, -2.0], [0.5, 3.0]], np.float32)
OTHER = np.array([[2.0, 1.0], [-1.0, 0.5]], np.float32)
WIDE = np.array([[1.0, -2.0, 0.5], [3.0, 0.25, -1.0]], np.float32)
TALL = np.array([[1.0, 0.5], [-2.0, 1.0], [0.25, -1.0]], np.float32)
EQUAL_ROWS = np.array([[1.0, -2.0, 0.5]] * 4, np.float32)
TRUE = np.array([[True, False, True], [False, False, True]])
REAL23 = Spec((2, 3))
POSITIVE = Spec((3,), "positive")
BATCH_OF_LABELS = Spec((2,), "integers", below=3)


@dataclass(frozen=True)
class Right:
    """A right rule, and what is asked of it and of what is wrong beside it.

    Attributes:
      value: the function.
      pull: its gradient, `pull(*args, dy)`.
      definition: whose gradient it is, in plain jax.numpy; the value itself if None.
      args: what it is asked on.
      form: `pair` or `vjp`: what makes a rule of value and pull.
      given: the rule, where it is no rule of that form.
    """

    value: Callable[..., Any]
    pull: Callable[..., tuple]
    definition: Callable[..., Any] | None = None
    args: tuple = (X,)
    form: Callable[..., Any] = pair
    given: Any = None

    @functools.cached_property
    def rule(self) -> Any:
        return self.form(self.value, self.pull) if self.given is None else self.given

    def on(self, *args: Any) -> "Right":
        """The same of other arguments."""
        return replace(self, args=args)

    def asked_in(self, dtype: Any) -> "Right":
        """The same of arguments of that dtype, where a mistake is one in no other."""
        return self.on(*(x.astype(dtype) for x in self.args))

    def as_vjp(self) -> "Right":
        """The same as a jax.custom_vjp function."""
        return replace(self, form=vjp)


def by_slope(value: Callable, derivative: Callable, definition: Any = None, **more: Any) -> Right:
    """A right function of one array, entry by entry."""
    return Right(value, _times(derivative), definition, **more)


def of_rule(
    rule: manualbp.Rule, definition: Callable, args: tuple = (X,), value: Any = None, **more: Any
) -> Right:
    """A rule of the library; what is wrong beside it may have a value of its own."""

    def pull(*args):
        *xs, dy = args
        return rule.bwd(rule.fwd(*xs)[1], dy)

    own = (lambda *args: rule.fwd(*args)[0]) if value is None else value
    return Right(own, pull, definition, args, given=rule, **more)


def of_kind(kind: str) -> Callable[..., WrongRule]:
    """What makes a WrongRule of that kind from a right one and its mistake."""

    def wrong(
        name: str,
        right: Right,
        diagnosis: str,
        *,
        value: Callable | None = None,
        pull: Callable | None = None,
        slope: Callable | None = None,
        form: Callable | None = None,
        rule: Any = None,
        below_scale: bool = False,
    ) -> WrongRule:
        """The right rule with another value, pull or slope, or with another rule altogether."""
        if rule is None:
            mistaken = right.pull if slope is None else _times(slope)
            rule = (form or right.form)(value or right.value, pull or mistaken)
        definition = right.definition or right.value
        return WrongRule(
            name, kind, rule, right.rule, definition, right.args, diagnosis, below_scale
        )

    return wrong


# Formulas, stable


def sigmoid(z):
    e = jnp.exp(-jnp.abs(z))
    return jnp.where(z >= 0, 1, e) / (1 + e)


def sigmoid_slope(z):
    e = jnp.exp(-jnp.abs(z))
    return e / ((1 + e) * (1 + e))


def sech2(z):
    return 4 * sigmoid_slope(2 * z)


def softplus(z):
    return jnp.maximum(z, 0) + jnp.log1p(jnp.exp(-jnp.abs(z)))


def elu(z):
    return jnp.where(z > 0, z, jnp.expm1(jnp.minimum(z, 0)))


def square(x):
    return x * x


def softmax(z):
    e = jnp.exp(z - jnp.max(z, axis=-1, keepdims=True))
    return e / jnp.sum(e, axis=-1, keepdims=True)


def softmax_pull(p, dy):
    """p_i sum_j p_j (dy_i - dy_j), of which no term cancels another's digits."""
    return p * jnp.sum(p[..., None, :] * (dy[..., :, None] - dy[..., None, :]), axis=-1)


def one_hot(labels, like):
    classes = jnp.arange(like.shape[-1], dtype=labels.dtype)
    return (labels[..., None] == classes).astype(like.dtype)


def no_cotangent(x):
    return np.zeros(x.shape, jax.dtypes.float0)


class Affine(NamedTuple):
    """A scale and a shift of the same shape, easily swapped."""

    scale: Any
    shift: Any


def affine_pull(p, x, dy):
    return Affine(jnp.sum(dy * x, axis=0), jnp.sum(dy, axis=0)), dy * p.scale


def linear_pull(w, x, dy):
    return x.T @ dy, dy @ w.T


def gather_pull(table, indices, dy):
    return jnp.zeros_like(table).at[indices].add(dy), no_cotangent(indices)


def _gather_definition(table, indices):
    picked = indices[:, None] == jnp.arange(table.shape[0], dtype=indices.dtype)
    return jnp.sum(jnp.where(picked[:, :, None], table, 0), axis=1)


# Right rules of which several kinds are made

SQUARED = Right(square, lambda x, dy: (2 * x * dy,))
SQUARED_BY_SLOPE = by_slope(square, lambda x: 2 * x)
POWER_OF_2 = by_slope(square, lambda x: 2 * x, lambda x: x**2)
SUM_OF_SQUARES = Right(
    lambda x: jnp.sum(x * x), lambda x, dy: (2 * x * dy,), lambda x: jnp.sum(x**2), form=vjp
)
SINE = by_slope(jnp.sin, jnp.cos)
EXPONENTIAL = by_slope(jnp.exp, jnp.exp)
TANH = by_slope(jnp.tanh, sech2, reference.tanh)
SIGMOID = by_slope(sigmoid, sigmoid_slope, reference.sigmoid)
SOFTMAX = of_rule(manualbp.softmax, reference.softmax, value=softmax)
ELU = of_rule(manualbp.elu(), reference.elu(1.0), value=elu)
ADDED_BIAS = Right(
    lambda b, x: x + b, lambda b, x, dy: (jnp.sum(dy, axis=0), dy), args=(X, EQUAL_ROWS)
)
AFFINE = Right(lambda p, x: x * p.scale + p.shift, affine_pull, args=(Affine(X, Y), WIDE))
PRODUCT = Right(lambda w, x: x @ w, linear_pull, args=(MATRIX, OTHER))
GATHER = Right(
    lambda table, indices: table[indices],
    gather_pull,
    _gather_definition,
    (TALL, np.array([0, 2, 2, 1], np.int32)),
)
CROSS_ENTROPY = of_rule(
    manualbp.softmax_cross_entropy,
    reference.softmax_cross_entropy,
    (REAL23, Spec((2, 3), "weights")),
)
