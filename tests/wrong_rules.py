"""Gradient rules that are wrong on purpose, each beside its correct twin.

A judge of gradients is only worth what it refuses. Each entry is one mistake that somebody made,
in a released library more often than not, and the same rule without it: the judge must refuse the
first and pass the second. A row is added here; the tests run over the table.
"""

import functools
import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

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
    """

    name: str
    kind: str
    wrong: Any
    right: Any
    definition: Callable[..., Any]
    args: tuple
    diagnosis: str


def pair(value: Callable, pull: Callable) -> tuple[Callable, Callable]:
    """(fwd, bwd) of a value and its `pull(*args, dy)`; residuals are the arguments."""

    def fwd(*args):
        return value(*args), args

    def bwd(args, dy):
        return pull(*args, dy)

    return fwd, bwd


def vjp(value: Callable, pull: Callable, primal: Callable | None = None) -> jax.custom_vjp:
    """The same as a jax.custom_vjp function, whose undecorated function may be another."""
    undecorated = value if primal is None else primal
    function = jax.custom_vjp(lambda *args: undecorated(*args))
    function.defvjp(*pair(value, pull))
    return function


def rule(name: str, value: Callable, pull: Callable, **more: Any) -> manualbp.Rule:
    """The same as a Rule."""
    return manualbp.Rule(name, *pair(value, pull), tex="", source="", **more)


def slope(value: Callable, derivative: Callable) -> tuple[Callable, Callable]:
    """A function of one array, entry by entry."""
    return pair(value, lambda x, dy: (dy * derivative(x),))


def value_of(right: manualbp.Rule) -> Callable:
    """The value of a right rule, whose gradient alone is to be wrong."""
    return lambda *args: right.fwd(*args)[0]


def pull_of(right: manualbp.Rule, *args: Any) -> tuple:
    """Its right gradient: arguments, then the cotangent."""
    *xs, dy = args
    return right.bwd(right.fwd(*xs)[1], dy)


def times_slope(derivative: Callable) -> Callable:
    return lambda x, dy: (dy * derivative(x),)


# Example arguments

X = np.array([1.0, -2.0, 0.5], np.float32)
Y = np.array([-1.0, 3.0, 0.25], np.float32)
ONE = np.array([2.0], np.float32)
SCALAR = np.array(1.5, np.float32)
SQUARE = np.array([[1.0, -2.0], [0.5, 3.0]], np.float32)
OTHER = np.array([[2.0, 1.0], [-1.0, 0.5]], np.float32)
WIDE = np.array([[1.0, -2.0, 0.5], [3.0, 0.25, -1.0]], np.float32)
TALL = np.array([[1.0, 0.5], [-2.0, 1.0], [0.25, -1.0]], np.float32)
EQUAL_ROWS = np.array([[1.0, -2.0, 0.5]] * 4, np.float32)
CUBE = np.arange(-6, 6, dtype=np.float32).reshape(2, 3, 2) / 4
TRUE = np.array([[True, False, True], [False, False, True]])
REAL23 = Spec((2, 3))
POSITIVE = Spec((3,), "positive")
KEY = Spec((), "key")
BATCH_OF_LABELS = Spec((2,), "integers", below=3)


# Shared formulas, stable


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


def square(x):
    return x * x


def softmax(z):
    e = jnp.exp(z - jnp.max(z, axis=-1, keepdims=True))
    return e / jnp.sum(e, axis=-1, keepdims=True)


def softmax_pull(p, dy):
    """p_i sum_j p_j (dy_i - dy_j), of which no term cancels another's digits."""
    return p * jnp.sum(p[..., None, :] * (dy[..., :, None] - dy[..., None, :]), axis=-1)


def wide(x):
    return x.astype(jnp.float64 if x.dtype == jnp.float64 else jnp.float32)


def one_hot(labels, like):
    classes = jnp.arange(like.shape[-1], dtype=labels.dtype)
    return (labels[..., None] == classes).astype(like.dtype)


# One-offs that need more than an expression


class Affine(NamedTuple):
    """A scale and a shift of the same shape, easily swapped."""

    scale: Any
    shift: Any


def affine(p, x):
    return x * p.scale + p.shift


def affine_pull(p, x, dy):
    return Affine(jnp.sum(dy * x, axis=0), jnp.sum(dy, axis=0)), dy * p.scale


def prelu(a, x):
    return jnp.where(x > 0, x, a * x)


def linear(w, x):
    return x @ w


def linear_pull(w, x, dy):
    return x.T @ dy, dy @ w.T


def layer_norm(gain, x):
    return gain * normalised(x)[0]


def normalised(x):
    centred = x - jnp.mean(x, axis=-1, keepdims=True)
    scale = jnp.sqrt(jnp.mean(centred * centred, axis=-1, keepdims=True) + 1e-3)
    return centred / scale, scale


def layer_norm_pull(gain, x, dy, mean_term=True, product_term=True):
    y, scale = normalised(x)
    g = dy * gain
    dx = g
    if mean_term:
        dx = dx - jnp.mean(g, axis=-1, keepdims=True)
    if product_term:
        dx = dx - y * jnp.mean(g * y, axis=-1, keepdims=True)
    return jnp.sum(dy * y, axis=0), dx / scale


def layer_norm_definition(gain, x):
    mean = jnp.sum(x, axis=-1, keepdims=True) / x.shape[-1]
    variance = jnp.sum((x - mean) ** 2, axis=-1, keepdims=True) / x.shape[-1]
    return gain * (x - mean) / jnp.sqrt(variance + 1e-3)


def attention(q, k, v):
    return softmax(q @ k.T) @ v


def attention_pull(q, k, v, dy, row_sum=True):
    p = softmax(q @ k.T)
    dp = dy @ v.T
    ds = softmax_pull(p, dp) if row_sum else p * dp
    return ds @ k, ds.T @ q, p.T @ dy


def attention_definition(q, k, v):
    e = jnp.exp(q @ k.T)
    return (e / jnp.sum(e, axis=-1, keepdims=True)) @ v


def attention_right(q, k, v, dy):
    return attention_pull(q, k, v, dy)


GELU = math.sqrt(2 / math.pi)


def gelu_tanh(x):
    return x * sigmoid(2 * GELU * (x + 0.044715 * x**3))


def gelu_tanh_slope(x):
    u = 2 * GELU * (x + 0.044715 * x**3)
    return sigmoid(u) * (1 + x * sigmoid(-u) * 2 * GELU * (1 + 3 * 0.044715 * x**2))


def gelu_exact_slope(x):
    density = jnp.exp(-0.5 * x * x) / math.sqrt(2 * math.pi)
    return 0.5 * lax.erfc(-x / math.sqrt(2)) + x * density


def gelu_tanh_definition(x):
    return 0.5 * x * (1 + jnp.tanh(GELU * (x + 0.044715 * x**3)))


def conv(kernel, x):
    """Valid correlation of two vectors, by slices."""
    n = x.shape[0] - kernel.shape[0] + 1
    return sum(kernel[i] * x[i : i + n] for i in range(kernel.shape[0]))


def conv_pull(kernel, x, dy, flip=False):
    n, m = dy.shape[0], kernel.shape[0]
    dkernel = jnp.stack([jnp.sum(dy * x[i : i + n]) for i in range(m)])
    taps = kernel[::-1] if flip else kernel
    dx = sum(jnp.pad(taps[i] * dy, (i, m - 1 - i)) for i in range(m))
    return dkernel, dx


def conv_definition(kernel, x):
    n = x.shape[0] - kernel.shape[0] + 1
    windows = jnp.stack([x[i : i + n] for i in range(kernel.shape[0])])
    return jnp.sum(kernel[:, None] * windows, axis=0)


def recurrence(a, x):
    """h_t = a h_(t-1) + x_t, all h_t."""

    def step(h, x_t):
        h = a * h + x_t
        return h, h

    return lax.scan(step, jnp.zeros_like(a), x)[1]


def recurrence_pull(a, x, dy, last=True):
    h = recurrence(a, x)

    def step(carried, this):
        dy_t, before = this
        g = dy_t + carried
        return a * g, (g, g * before)

    before = jnp.concatenate([jnp.zeros_like(h[:1]), h[:-1]])
    start = jnp.zeros_like(a)
    if not last:  # the loop starts at the last but one
        _, (g, da) = lax.scan(step, start, (dy[:-1], before[:-1]), reverse=True)
        return jnp.sum(da), jnp.concatenate([g, jnp.zeros_like(dy[:1])])
    _, (g, da) = lax.scan(step, start, (dy, before), reverse=True)
    return jnp.sum(da), g


def recurrence_definition(a, x):
    h, out = jnp.zeros_like(a), []
    for t in range(x.shape[0]):
        h = a * h + x[t]
        out.append(h)
    return jnp.stack(out)


def dropout_definition(key, x):
    return jnp.where(jax.random.bernoulli(key, 0.5, x.shape), 2 * x, 0)


def dropout(salt):
    """Dropout whose backward pass draws its mask again, from a key folded with salt."""

    def fwd(key, x):
        return dropout_definition(key, x), (key, x.shape)

    def bwd(saved, dy):
        key, shape = saved
        again = key if salt is None else jax.random.fold_in(key, salt)
        mask = jax.random.bernoulli(again, 0.5, shape)
        return np.zeros((), jax.dtypes.float0), jnp.where(mask, 2 * dy, 0)

    return fwd, bwd


def counting():
    """A backward pass that is wrong at every second call."""
    calls = itertools.count()

    def bwd(x, dy):
        return (2 * x * dy * (1 + next(calls) % 2),)

    return lambda x: (x * x, x), bwd


def random_noise():
    rng = np.random.default_rng(0)

    def bwd(x, dy):
        return (2 * x * dy * float(1 + 0.01 * rng.standard_normal()),)

    return lambda x: (x * x, x), bwd


def shared_buffer():
    """A backward pass that reads what the last forward pass left behind."""
    kept = []

    def fwd(x):
        before = kept.pop() if kept and not isinstance(x, jax.core.Tracer) else x
        if not isinstance(x, jax.core.Tracer):
            kept.append(x + 1)
        return x * x, before

    return fwd, lambda x, dy: (2 * x * dy,)


def eager_only(factor):
    """A backward pass with a Python branch on whether it is traced."""

    def bwd(x, dy):
        return (2 * x * dy * (factor if isinstance(dy, jax.core.Tracer) else 1),)

    return lambda x: (x * x, x), bwd


@functools.partial(jax.custom_batching.custom_vmap)
def doubled_unless_batched(x):
    return 2 * x


@doubled_unless_batched.def_vmap
def _(axis_size, in_batched, x):
    return 3 * x, True


@jax.custom_vjp
def half_slope(x):
    """2x whose own derivative is wrong."""
    return 2 * x


half_slope.defvjp(lambda x: (2 * x, None), lambda _, dy: (dy,))


def cond_slope(negative):
    return lambda x, dy: (
        lax.cond(jnp.sum(x) > 0, lambda d: 2 * x * d, lambda d: negative * x * d, dy),
    )


def cond_definition(x):
    return jnp.where(jnp.sum(x) > 0, x * x, -x * x)


def cond_value(x):
    return lax.cond(jnp.sum(x) > 0, lambda v: v * v, lambda v: -v * v, x)


def product_pull(x, dy):
    """Products of all other entries, from both sides, without a division."""
    left = [jnp.ones_like(x[0])]
    right = [jnp.ones_like(x[0])]
    for i in range(x.shape[0] - 1):
        left.append(left[-1] * x[i])
        right.append(right[-1] * x[x.shape[0] - 1 - i])
    return (dy * jnp.stack(left) * jnp.stack(right[::-1]),)


def cumprod_pull(x, dy):
    n = x.shape[0]
    dx = []
    for i in range(n):
        before = jnp.prod(x[:i]) if i else jnp.ones_like(x[0])
        total, after = jnp.zeros_like(x[0]), jnp.ones_like(x[0])
        for k in range(i, n):
            after = after * x[k] if k > i else after
            total = total + dy[k] * after
        dx.append(before * total)
    return (jnp.stack(dx),)


def cumprod_definition(x):
    return jnp.stack([jnp.prod(x[: i + 1]) for i in range(x.shape[0])])


def max_shared(x, dy):
    top = x == jnp.max(x)
    return (jnp.where(top, dy / jnp.sum(top, dtype=x.dtype), 0),)


def max_counted(x, dy):
    return (jnp.where(x == jnp.max(x), dy, 0),)


def masked_softmax_definition(mask, z):
    e = jnp.where(~mask, 0, jnp.exp(z))
    total = jnp.sum(e, axis=-1, keepdims=True)
    return jnp.where(total > 0, e / jnp.where(total > 0, total, 1), 0)


def masked_softmax(mask, z):
    top = jnp.max(jnp.where(mask, z, -jnp.inf), axis=-1, keepdims=True)
    e = jnp.where(mask, jnp.exp(jnp.where(mask, z, 0) - jnp.where(top > -jnp.inf, top, 0)), 0)
    total = jnp.sum(e, axis=-1, keepdims=True)
    return e / jnp.where(total > 0, total, 1)


def minus_one_hot(p, logits, labels, dy):
    """dy (p - one_hot) of a loss of integer labels."""
    dz = dy[:, None] * (p(logits) - one_hot(labels, logits)).astype(dy.dtype)
    return dz, no_cotangent(labels)


def no_cotangent(x):
    return np.zeros(x.shape, jax.dtypes.float0)


def masked_softmax_pull(mask, z, dy):
    return no_cotangent(mask), softmax_pull(masked_softmax(mask, z), dy)


def masked_softmax_nan(mask, z, dy):
    e = jnp.exp(jnp.where(mask, z, -jnp.inf))
    p = e / jnp.sum(e, axis=-1, keepdims=True)
    return no_cotangent(mask), softmax_pull(p, dy)


def gather(table, indices):
    return table[indices]


def gather_pull(table, indices, dy):
    return jnp.zeros_like(table).at[indices].add(dy), no_cotangent(indices)


def gather_definition(table, indices):
    picked = indices[:, None] == jnp.arange(table.shape[0], dtype=indices.dtype)
    return jnp.sum(jnp.where(picked[:, :, None], table, 0), axis=1)


def segment_sum(indices, x):
    return jnp.zeros(3, x.dtype).at[indices].add(x)


def sort_pull(x, dy):
    return (jnp.zeros_like(dy).at[jnp.argsort(x)].set(dy),)


def half_mse_error(z, t):
    """sigmoid(z) - t, where 1 - sigmoid(z) is sigmoid(-z)."""
    return jnp.where(t == 1, -sigmoid(-z), sigmoid(z) - t)


def half_mse(z, t):
    return 0.5 * jnp.sum(half_mse_error(z, t) ** 2)


def norm(x):
    """Scaled by the largest entry, whose square may vanish or overflow."""
    largest = jnp.max(jnp.abs(x))
    scale = jnp.where(largest == 0, 1, largest)
    return largest * jnp.sqrt(jnp.sum((x / scale) ** 2))


def norm_pull(x, dy):
    n = norm(x)
    return (dy * x / jnp.where(n == 0, 1, n),)


def norm_definition(x):
    total = jnp.sum(x**2)
    return jnp.where(total == 0, 0, jnp.sqrt(jnp.where(total == 0, 1, total)))


def log_cosh(x):
    """log(cosh(x)): log1p(2 sinh(x/2)^2) keeps small x, |x| - log(2) + ... keeps large x."""
    a = jnp.abs(x)
    small = jnp.minimum(a, 1)
    near = jnp.log1p(2 * jnp.sinh(small / 2) ** 2)
    return jnp.where(a < 1, near, a + jnp.log1p(jnp.expm1(-2 * a) / 2))


def safe_log(x):
    return jnp.where(x > 0, jnp.log(jnp.where(x > 0, x, 1)), 0)


WRONG_RULES = (
    # 1 broadcasting
    WrongRule(
        "bias_gradient_of_the_first_row_only",
        BROADCAST,
        wrong=pair(lambda b, x: x + b, lambda b, x, dy: (dy[0], dy)),
        right=pair(lambda b, x: x + b, lambda b, x, dy: (jnp.sum(dy, axis=0), dy)),
        definition=lambda b, x: x + b,
        args=(X, EQUAL_ROWS),
        diagnosis="sum",
    ),
    WrongRule(
        "bias_gradient_not_summed",
        BROADCAST,
        wrong=pair(lambda b, x: x + b, lambda b, x, dy: (dy, dy)),
        right=vjp(lambda b, x: x + b, lambda b, x, dy: (manualbp.sum_to(dy, b.shape), dy)),
        definition=lambda b, x: x + b,
        args=(X, EQUAL_ROWS),
        diagnosis="sum",
    ),
    WrongRule(
        "bias_gradient_averaged",
        BROADCAST,
        wrong=vjp(lambda b, x: x + b, lambda b, x, dy: (jnp.mean(dy, axis=0), dy)),
        right=vjp(lambda b, x: x + b, lambda b, x, dy: (jnp.sum(dy, axis=0), dy)),
        definition=lambda b, x: x + b,
        args=(X, EQUAL_ROWS),
        diagnosis="factor",
    ),
    WrongRule(
        "gain_gradient_sums_before_it_multiplies",
        BROADCAST,
        wrong=pair(
            lambda g, x: x * g,
            lambda g, x, dy: (jnp.sum(dy, axis=0) * jnp.mean(x, axis=0), dy * g),
        ),
        right=pair(lambda g, x: x * g, lambda g, x, dy: (jnp.sum(dy * x, axis=0), dy * g)),
        definition=lambda g, x: x * g,
        args=(X, EQUAL_ROWS),
        diagnosis="sum|term|factor",
    ),
    WrongRule(
        "row_scale_summed_over_the_other_axis",
        BROADCAST,
        wrong=pair(
            lambda s, x: x * s[:, None], lambda s, x, dy: (jnp.sum(dy * x, axis=0), dy * s[:, None])
        ),
        right=pair(
            lambda s, x: x * s[:, None], lambda s, x, dy: (jnp.sum(dy * x, axis=1), dy * s[:, None])
        ),
        definition=lambda s, x: x * s[:, None],
        args=(SQUARE[0], SQUARE),
        diagnosis="axis",
    ),
    WrongRule(
        "outer_sum_axes_swapped",
        BROADCAST,
        wrong=vjp(
            lambda a, b: a[:, None] + b, lambda a, b, dy: (jnp.sum(dy, axis=0), jnp.sum(dy, axis=1))
        ),
        right=vjp(
            lambda a, b: a[:, None] + b, lambda a, b, dy: (jnp.sum(dy, axis=1), jnp.sum(dy, axis=0))
        ),
        definition=lambda a, b: a[:, None] + b,
        args=(SQUARE[0], SQUARE[1]),
        diagnosis="axis|swapped",
    ),
    WrongRule(
        "centring_forgets_the_mean",
        BROADCAST,
        wrong=pair(lambda x: x - jnp.mean(x, axis=-1, keepdims=True), lambda x, dy: (dy,)),
        right=pair(
            lambda x: x - jnp.mean(x, axis=-1, keepdims=True),
            lambda x, dy: (dy - jnp.mean(dy, axis=-1, keepdims=True),),
        ),
        definition=lambda x: x - jnp.sum(x, axis=-1, keepdims=True) / x.shape[-1],
        args=(WIDE,),
        diagnosis="sum|term|mean",
    ),
    WrongRule(
        "scalar_gain_gradient_of_a_mean",
        BROADCAST,
        wrong=pair(lambda c, x: c * x, lambda c, x, dy: (jnp.mean(dy * x), c * dy)),
        right=pair(lambda c, x: c * x, lambda c, x, dy: (jnp.sum(dy * x), c * dy)),
        definition=lambda c, x: c * x,
        args=(SCALAR, WIDE),
        diagnosis="factor",
    ),
    # 2 boundaries
    WrongRule(
        "relu_slope_2_at_0",
        BOUNDARY,
        wrong=rule(
            "relu_slope_2_at_0",
            lambda z: jnp.maximum(z, 0),
            lambda z, dy: (jnp.where(z == 0, 2 * dy, jnp.where(z > 0, dy, 0)),),
            kink=lambda z: z,
        ),
        right=manualbp.relu,
        definition=reference.relu,
        args=(X,),
        diagnosis="kink",
    ),
    WrongRule(
        "relu_slope_not_zero_below",
        BOUNDARY,
        wrong=slope(
            lambda z: jnp.maximum(z, 0),
            lambda z: jnp.where(z == 0, -1, jnp.where(z > 0, 1, 0)).astype(z.dtype),
        ),
        right=slope(
            lambda z: jnp.maximum(z, 0), lambda z: jnp.where(z == 0, 0.5, (z > 0).astype(z.dtype))
        ),
        definition=reference.relu,
        args=(X,),
        diagnosis="kink",
    ),
    WrongRule(
        "hard_swish_slope_at_3",
        BOUNDARY,
        wrong=slope(
            lambda x: x * jnp.clip(x + 3, 0, 6) / 6,
            lambda x: jnp.where(
                x < -3, 0, jnp.where(x == 3, 2.5, jnp.where(x > 3, 1, x / 3 + 0.5))
            ),
        ),
        right=slope(
            lambda x: x * jnp.clip(x + 3, 0, 6) / 6,
            lambda x: jnp.where(x < -3, 0, jnp.where(x >= 3, 1, x / 3 + 0.5)),
        ),
        definition=lambda x: x * jnp.minimum(jnp.maximum(x + 3, 0), 6) / 6,
        args=(X,),
        diagnosis="kink",
    ),
    WrongRule(
        "relu6_slope_2_at_6",
        BOUNDARY,
        wrong=slope(
            lambda x: jnp.clip(x, 0, 6),
            lambda x: jnp.where(x == 6, 2, jnp.where((x > 0) & (x < 6), 1, 0)).astype(x.dtype),
        ),
        right=slope(lambda x: jnp.clip(x, 0, 6), lambda x: ((x > 0) & (x < 6)).astype(x.dtype)),
        definition=lambda x: jnp.minimum(jnp.maximum(x, 0), 6),
        args=(X,),
        diagnosis="kink",
    ),
    WrongRule(
        "soft_shrink_slope_at_its_threshold",
        BOUNDARY,
        wrong=slope(
            lambda x: jnp.where(x > 0.375, x - 0.375, jnp.where(x < -0.375, x + 0.375, 0)),
            lambda x: (jnp.abs(x) > 0.375).astype(x.dtype) - (jnp.abs(x) == 0.375).astype(x.dtype),
        ),
        right=slope(
            lambda x: jnp.where(x > 0.375, x - 0.375, jnp.where(x < -0.375, x + 0.375, 0)),
            lambda x: (jnp.abs(x) > 0.375).astype(x.dtype),
        ),
        definition=lambda x: jnp.sign(x) * jnp.maximum(jnp.abs(x) - 0.375, 0),
        args=(X,),
        diagnosis="kink",
    ),
    WrongRule(
        "hard_shrink_slope_at_a_threshold_between_floats",
        BOUNDARY,
        wrong=slope(
            lambda x: jnp.maximum(x - 0.37, 0),
            lambda x: jnp.where(x == 0.37, 7, jnp.where(x > 0.37, 1, 0)).astype(x.dtype),
        ),
        right=slope(lambda x: jnp.maximum(x - 0.37, 0), lambda x: (x > 0.37).astype(x.dtype)),
        definition=lambda x: jnp.where(x > 0.37, x - 0.37, 0),
        args=(X,),
        diagnosis="kink",
    ),
    WrongRule(
        "square_slope_1_at_exactly_0",
        BOUNDARY,
        wrong=slope(square, lambda x: jnp.where(x == 0, 1, 2 * x)),
        right=slope(square, lambda x: 2 * x),
        definition=lambda x: x**2,
        args=(X,),
        diagnosis="zero|only",
    ),
    WrongRule(
        "absolute_value_slope_nan_at_0",
        BOUNDARY,
        wrong=slope(jnp.abs, lambda x: x / jnp.abs(x)),
        right=slope(jnp.abs, jnp.sign),
        definition=reference.absolute,
        args=(X,),
        diagnosis="kink|zero",
    ),
    # 3 normalisers
    WrongRule(
        "mean_divided_by_the_rows",
        NORMALISER,
        wrong=pair(
            lambda x: jnp.mean(x, axis=-1),
            lambda x, dy: (jnp.broadcast_to(dy[:, None] / x.shape[0], x.shape),),
        ),
        right=pair(
            lambda x: jnp.mean(x, axis=-1),
            lambda x, dy: (jnp.broadcast_to(dy[:, None] / x.shape[1], x.shape),),
        ),
        definition=lambda x: jnp.sum(x, axis=-1) / x.shape[-1],
        args=(WIDE,),
        diagnosis="factor",
    ),
    WrongRule(
        "mean_squared_error_divided_by_all_entries",
        NORMALISER,
        wrong=pair(
            value_of(manualbp.mean_squared_error),
            lambda p, t, dy: tuple(sign * 2 * (p - t) * dy[:, None] / p.size for sign in (1, -1)),
        ),
        right=manualbp.mean_squared_error,
        definition=reference.mean_squared_error,
        args=(REAL23, REAL23),
        diagnosis="factor",
    ),
    WrongRule(
        "sum_of_squares_divided_like_a_mean",
        NORMALISER,
        wrong=vjp(lambda x: jnp.sum(x * x), lambda x, dy: (2 * x * dy / x.size,)),
        right=vjp(lambda x: jnp.sum(x * x), lambda x, dy: (2 * x * dy,)),
        definition=lambda x: jnp.sum(x**2),
        args=(WIDE,),
        diagnosis="factor",
    ),
    WrongRule(
        "variance_with_one_degree_less",
        NORMALISER,
        wrong=pair(jnp.var, lambda x, dy: (2 * dy * (x - jnp.mean(x)) / (x.size - 1),)),
        right=pair(jnp.var, lambda x, dy: (2 * dy * (x - jnp.mean(x)) / x.size,)),
        definition=lambda x: jnp.sum((x - jnp.sum(x) / x.size) ** 2) / x.size,
        args=(X,),
        diagnosis="factor",
    ),
    WrongRule(
        "softmax_summed_over_the_other_axis",
        NORMALISER,
        wrong=pair(
            softmax,
            lambda z, dy: (softmax(z) * (dy - jnp.sum(softmax(z) * dy, axis=0, keepdims=True)),),
        ),
        right=manualbp.softmax,
        definition=reference.softmax,
        args=(SQUARE,),
        diagnosis="axis|sum|term",
    ),
    WrongRule(
        "unit_rows_normalised_by_columns",
        NORMALISER,
        wrong=pair(
            lambda x: x / jnp.sum(x, axis=-1, keepdims=True),
            lambda x, dy: (
                (dy * jnp.sum(x, axis=0) - jnp.sum(dy * x, axis=0)) / jnp.sum(x, axis=0) ** 2,
            ),
        ),
        right=pair(
            lambda x: x / jnp.sum(x, axis=-1, keepdims=True),
            lambda x, dy: (
                jnp.sum(x[:, None, :] * (dy[:, :, None] - dy[:, None, :]), axis=-1)
                / jnp.sum(x, axis=-1, keepdims=True) ** 2,
            ),
        ),
        definition=lambda x: x / jnp.sum(x, axis=-1, keepdims=True),
        args=(Spec((2, 2), "positive"),),
        diagnosis="axis|term",
    ),
    # 4 factors and terms
    WrongRule(
        "square_without_its_2",
        TERM,
        wrong=slope(square, lambda x: x),
        right=slope(square, lambda x: 2 * x),
        definition=lambda x: x**2,
        args=(X,),
        diagnosis="factor.*1/2",
    ),
    WrongRule(
        "half_square_with_a_2",
        TERM,
        wrong=vjp(lambda x: 0.5 * x * x, lambda x, dy: (2 * x * dy,)),
        right=vjp(lambda x: 0.5 * x * x, lambda x, dy: (x * dy,)),
        definition=lambda x: x**2 / 2,
        args=(X,),
        diagnosis="factor.*2",
    ),
    WrongRule(
        "cosine_without_its_sign",
        TERM,
        wrong=vjp(jnp.cos, lambda x, dy: (dy * jnp.sin(x),)),
        right=vjp(jnp.cos, lambda x, dy: (-dy * jnp.sin(x),)),
        definition=jnp.cos,
        args=(X,),
        diagnosis="sign",
    ),
    WrongRule(
        "difference_with_two_pluses",
        TERM,
        wrong=pair(lambda a, b: a - b, lambda a, b, dy: (dy, dy)),
        right=pair(lambda a, b: a - b, lambda a, b, dy: (dy, -dy)),
        definition=lambda a, b: a - b,
        args=(X, Y),
        diagnosis="sign",
    ),
    WrongRule(
        "quotient_without_its_sign",
        TERM,
        wrong=pair(lambda a, b: a / b, lambda a, b, dy: (dy / b, dy * a / (b * b))),
        right=pair(lambda a, b: a / b, lambda a, b, dy: (dy / b, -dy * a / (b * b))),
        definition=lambda a, b: a / b,
        args=(X, Y),
        diagnosis="sign",
    ),
    WrongRule(
        "reciprocal_not_squared",
        TERM,
        wrong=slope(lambda x: 1 / x, lambda x: -1 / x),
        right=slope(lambda x: 1 / x, lambda x: -1 / (x * x)),
        definition=lambda x: 1 / x,
        args=(X,),
        diagnosis="missing factor|factor",
    ),
    WrongRule(
        "decimal_logarithm_without_its_constant",
        TERM,
        wrong=slope(jnp.log10, lambda x: 1 / x),
        right=slope(jnp.log10, lambda x: 1 / (x * math.log(10))),
        definition=lambda x: jnp.log(x) / math.log(10),
        args=(POSITIVE,),
        diagnosis="factor",
    ),
    WrongRule(
        "power_without_the_logarithm",
        TERM,
        wrong=pair(lambda p, x: x**p, lambda p, x, dy: (jnp.sum(dy * x**p), dy * p * x ** (p - 1))),
        right=pair(
            lambda p, x: x**p,
            lambda p, x, dy: (jnp.sum(dy * jnp.log(x) * x**p), dy * p * x ** (p - 1)),
        ),
        definition=lambda p, x: jnp.exp(p * jnp.log(x)),
        args=(Spec((), "unit"), Spec((3,), "unit")),
        diagnosis="factor",
    ),
    WrongRule(
        "product_rule_with_one_term",
        TERM,
        wrong=slope(lambda x: x * jnp.sin(x), jnp.sin),
        right=slope(lambda x: x * jnp.sin(x), lambda x: jnp.sin(x) + x * jnp.cos(x)),
        definition=lambda x: x * jnp.sin(x),
        args=(X,),
        diagnosis="term",
    ),
    WrongRule(
        "sigmoid_without_its_slope",
        TERM,
        wrong=pair(
            half_mse,
            lambda z, t, dy: (dy * half_mse_error(z, t), -dy * half_mse_error(z, t)),
        ),
        right=pair(
            half_mse,
            lambda z, t, dy: (
                dy * half_mse_error(z, t) * sigmoid_slope(z),
                -dy * half_mse_error(z, t),
            ),
        ),
        definition=lambda z, t: jnp.sum((1 / (1 + jnp.exp(-z)) - t) ** 2) / 2,
        args=(X, Spec((3,), "labels")),
        diagnosis="missing factor",
    ),
    WrongRule(
        "tanh_derivative_at_its_output",
        TERM,
        wrong=slope(jnp.tanh, lambda x: sech2(jnp.tanh(x))),
        right=slope(jnp.tanh, sech2),
        definition=reference.tanh,
        args=(X,),
        diagnosis="output",
    ),
    WrongRule(
        "softplus_derivative_at_its_output",
        TERM,
        wrong=slope(softplus, lambda z: sigmoid(softplus(z))),
        right=manualbp.softplus,
        definition=reference.softplus,
        args=(X,),
        diagnosis="output",
    ),
    WrongRule(
        "sigmoid_slope_of_its_input",
        TERM,
        wrong=slope(sigmoid, lambda z: z * (1 - z)),
        right=slope(sigmoid, sigmoid_slope),
        definition=reference.sigmoid,
        args=(X,),
        diagnosis="input|output|factor",
    ),
    WrongRule(
        "layer_norm_without_the_mean_term",
        TERM,
        wrong=pair(layer_norm, functools.partial(layer_norm_pull, mean_term=False)),
        right=pair(layer_norm, layer_norm_pull),
        definition=layer_norm_definition,
        args=(X, Spec((2, 3), "unit")),
        diagnosis="term",
    ),
    WrongRule(
        "layer_norm_without_the_product_term",
        TERM,
        wrong=vjp(layer_norm, functools.partial(layer_norm_pull, product_term=False)),
        right=vjp(layer_norm, layer_norm_pull),
        definition=layer_norm_definition,
        args=(X, Spec((2, 3), "unit")),
        diagnosis="term",
    ),
    WrongRule(
        "attention_without_the_row_sum",
        TERM,
        wrong=pair(attention, functools.partial(attention_pull, row_sum=False)),
        right=pair(attention, attention_right),
        definition=attention_definition,
        args=(SQUARE, OTHER, SQUARE.T),
        diagnosis="term",
    ),
    WrongRule(
        "softmax_as_if_entry_by_entry",
        TERM,
        wrong=pair(softmax, lambda z, dy: (dy * softmax(z) * (1 - softmax(z)),)),
        right=manualbp.softmax,
        definition=reference.softmax,
        args=(X,),
        diagnosis="term",
    ),
    WrongRule(
        "log_softmax_sums_without_the_cotangent",
        TERM,
        wrong=pair(value_of(manualbp.log_softmax), lambda z, dy: (dy - softmax(z),)),
        right=manualbp.log_softmax,
        definition=reference.log_softmax,
        args=(X,),
        diagnosis="linear",
    ),
    WrongRule(
        "swish_without_its_second_term",
        TERM,
        wrong=slope(value_of(manualbp.silu), sigmoid),
        right=manualbp.silu,
        definition=reference.silu,
        args=(X,),
        diagnosis="term",
    ),
    WrongRule(
        "swish_gradient_of_beta_1",
        TERM,
        wrong=slope(
            lambda z: z * sigmoid(2 * z), lambda z: sigmoid(2 * z) * (1 + z * sigmoid(-2 * z))
        ),
        right=slope(
            lambda z: z * sigmoid(2 * z), lambda z: sigmoid(2 * z) * (1 + 2 * z * sigmoid(-2 * z))
        ),
        definition=lambda z: z / (1 + jnp.exp(-2 * z)),
        args=(X,),
        diagnosis="term|factor",
    ),
    WrongRule(
        "tanh_gelu_with_the_slope_of_the_exact_one",
        TERM,
        wrong=slope(gelu_tanh, gelu_exact_slope),
        right=slope(gelu_tanh, gelu_tanh_slope),
        definition=gelu_tanh_definition,
        args=(X,),
        diagnosis="digits|approximat|term",
    ),
    WrongRule(
        "0.09_percent_too_much_everywhere",
        TERM,
        wrong=slope(jnp.tanh, lambda x: 1.0009 * sech2(x)),
        right=slope(jnp.tanh, sech2),
        definition=reference.tanh,
        args=(X,),
        diagnosis="factor",
    ),
    WrongRule(
        "relative_error_1e-8_everywhere",
        TERM,
        wrong=slope(jnp.exp, lambda x: (1 + 1e-8) * jnp.exp(x)),
        right=slope(jnp.exp, jnp.exp),
        definition=jnp.exp,
        args=(X,),
        diagnosis="factor",
    ),
    WrongRule(
        "leaky_slope_of_another_layer",
        TERM,
        wrong=slope(lambda z: jnp.where(z >= 0, z, 0.01 * z), lambda z: jnp.where(z >= 0, 1, 0.1)),
        right=manualbp.leaky_relu(),
        definition=lambda z: jnp.where(z < 0, 0.01 * z, z),
        args=(X,),
        diagnosis="factor|branch",
    ),
    WrongRule(
        "huber_slope_saturates_at_1",
        TERM,
        wrong=slope(
            lambda e: jnp.where(jnp.abs(e) <= 2, 0.5 * e * e, 2 * (jnp.abs(e) - 1)),
            lambda e: jnp.clip(e, -1, 1),
        ),
        right=slope(
            lambda e: jnp.where(jnp.abs(e) <= 2, 0.5 * e * e, 2 * (jnp.abs(e) - 1)),
            lambda e: jnp.clip(e, -2, 2),
        ),
        definition=lambda e: jnp.where(e**2 <= 4, e**2 / 2, 2 * jnp.abs(e) - 2),
        args=(X,),
        diagnosis="factor|branch|tail",
    ),
    WrongRule(
        "pinball_sign_below",
        TERM,
        wrong=slope(
            lambda e: jnp.maximum(0.25 * e, -0.75 * e), lambda e: jnp.where(e > 0, 0.25, 0.75)
        ),
        right=slope(
            lambda e: jnp.maximum(0.25 * e, -0.75 * e), lambda e: jnp.where(e > 0, 0.25, -0.75)
        ),
        definition=lambda e: jnp.where(e > 0, 0.25 * e, -0.75 * e),
        args=(X,),
        diagnosis="sign|branch|kink",
    ),
    WrongRule(
        "gaussian_variance_gradient_without_its_half",
        TERM,
        wrong=pair(
            value_of(manualbp.gaussian_nll),
            lambda *args: tuple(
                factor * g
                for factor, g in zip((1, 2, 1), pull_of(manualbp.gaussian_nll, *args), strict=True)
            ),
        ),
        right=manualbp.gaussian_nll,
        definition=reference.gaussian_nll,
        args=(REAL23, POSITIVE, REAL23),
        diagnosis="factor.*2",
    ),
    WrongRule(
        "weight_decay_doubled",
        TERM,
        wrong=pair(
            lambda w, x: jnp.sum(x * w) + 0.5 * jnp.sum(w * w),
            lambda w, x, dy: (dy * (x + 2 * w), dy * w),
        ),
        right=pair(
            lambda w, x: jnp.sum(x * w) + 0.5 * jnp.sum(w * w),
            lambda w, x, dy: (dy * (x + w), dy * w),
        ),
        definition=lambda w, x: jnp.sum(x * w) + jnp.sum(w**2) / 2,
        args=(X, Y),
        diagnosis="term",
    ),
    WrongRule(
        "matrix_product_transposed",
        TERM,
        wrong=pair(linear, lambda w, x, dy: (dy.T @ x, dy @ w.T)),
        right=pair(linear, linear_pull),
        definition=linear,
        args=(SQUARE, OTHER),
        diagnosis="transposed",
    ),
    WrongRule(
        "matrix_product_with_the_weight_not_transposed",
        TERM,
        wrong=vjp(linear, lambda w, x, dy: (x.T @ dy, dy @ w)),
        right=vjp(linear, linear_pull),
        definition=linear,
        args=(SQUARE, OTHER),
        diagnosis="transposed",
    ),
    WrongRule(
        "quadratic_form_as_if_symmetric",
        TERM,
        wrong=pair(
            lambda a, x: x @ a @ x, lambda a, x, dy: (dy * jnp.outer(x, x), 2 * dy * (a @ x))
        ),
        right=pair(
            lambda a, x: x @ a @ x, lambda a, x, dy: (dy * jnp.outer(x, x), dy * ((a + a.T) @ x))
        ),
        definition=lambda a, x: jnp.sum(a * x * x[:, None]),
        args=(SQUARE, SQUARE[1]),
        diagnosis="transposed|term",
    ),
    WrongRule(
        "trace_of_a_product_not_transposed",
        TERM,
        wrong=pair(lambda a, b: jnp.trace(a @ b), lambda a, b, dy: (dy * b, dy * a)),
        right=pair(lambda a, b: jnp.trace(a @ b), lambda a, b, dy: (dy * b.T, dy * a.T)),
        definition=lambda a, b: jnp.sum(a * b.T),
        args=(SQUARE, OTHER),
        diagnosis="transposed",
    ),
    WrongRule(
        "inverse_of_2_by_2_without_transposes",
        TERM,
        wrong=pair(
            lambda a: jnp.stack([a[1, 1], -a[0, 1], -a[1, 0], a[0, 0]]).reshape(2, 2),
            lambda a, dy: (jnp.stack([dy[1, 1], -dy[1, 0], -dy[0, 1], dy[0, 0]]).reshape(2, 2),),
        ),
        right=pair(
            lambda a: jnp.stack([a[1, 1], -a[0, 1], -a[1, 0], a[0, 0]]).reshape(2, 2),
            lambda a, dy: (jnp.stack([dy[1, 1], -dy[0, 1], -dy[1, 0], dy[0, 0]]).reshape(2, 2),),
        ),
        definition=lambda a: jnp.trace(a) * jnp.eye(2, dtype=a.dtype) - a,
        args=(SQUARE,),
        diagnosis="transposed",
    ),
    # 5 complex numbers, as pairs of real ones
    WrongRule(
        "complex_product_without_the_conjugate",
        CONJUGATE,
        wrong=pair(
            lambda a, b: jnp.stack([a[0] * b[0] - a[1] * b[1], a[0] * b[1] + a[1] * b[0]]),
            lambda a, b, dy: (
                jnp.stack([dy[0] * b[0] - dy[1] * b[1], dy[0] * b[1] + dy[1] * b[0]]),
                jnp.stack([dy[0] * a[0] - dy[1] * a[1], dy[0] * a[1] + dy[1] * a[0]]),
            ),
        ),
        right=pair(
            lambda a, b: jnp.stack([a[0] * b[0] - a[1] * b[1], a[0] * b[1] + a[1] * b[0]]),
            lambda a, b, dy: (
                jnp.stack([dy[0] * b[0] + dy[1] * b[1], -dy[0] * b[1] + dy[1] * b[0]]),
                jnp.stack([dy[0] * a[0] + dy[1] * a[1], -dy[0] * a[1] + dy[1] * a[0]]),
            ),
        ),
        definition=lambda a, b: jnp.stack([a[0] * b[0] - a[1] * b[1], a[0] * b[1] + a[1] * b[0]]),
        args=(SQUARE, OTHER),
        diagnosis="conjugate|sign|term",
    ),
    WrongRule(
        "complex_square_modulus_conjugated",
        CONJUGATE,
        wrong=vjp(
            lambda a: a[0] * a[0] + a[1] * a[1], lambda a, dy: (2 * dy * jnp.stack([a[0], -a[1]]),)
        ),
        right=vjp(lambda a: a[0] * a[0] + a[1] * a[1], lambda a, dy: (2 * dy * a,)),
        definition=lambda a: jnp.abs(lax.complex(a[0], a[1])) ** 2,
        args=(SQUARE,),
        diagnosis="sign|conjugate",
    ),
    # 6 nothing for a trainable argument
    WrongRule(
        "bias_gradient_is_none",
        ZERO,
        wrong=pair(lambda b, x: x + b, lambda b, x, dy: (None, dy)),
        right=pair(lambda b, x: x + b, lambda b, x, dy: (jnp.sum(dy, axis=0), dy)),
        definition=lambda b, x: x + b,
        args=(X, EQUAL_ROWS),
        diagnosis="zero|missing|None",
    ),
    WrongRule(
        "slope_gradient_is_zero",
        ZERO,
        wrong=pair(prelu, lambda a, x, dy: (jnp.zeros_like(a), jnp.where(x > 0, dy, a * dy))),
        right=pair(
            prelu,
            lambda a, x, dy: (jnp.sum(dy * jnp.minimum(x, 0)), jnp.where(x > 0, dy, a * dy)),
        ),
        definition=prelu,
        args=(SCALAR, X),
        diagnosis="zero",
    ),
    WrongRule(
        "gain_inside_a_tree_is_zero",
        ZERO,
        wrong=vjp(
            affine, lambda p, x, dy: (Affine(jnp.zeros_like(p.scale), dy.sum(0)), dy * p.scale)
        ),
        right=vjp(affine, affine_pull),
        definition=affine,
        args=(Affine(X, Y), WIDE),
        diagnosis="zero",
    ),
    WrongRule(
        "target_gradient_stopped",
        ZERO,
        wrong=pair(
            value_of(manualbp.squared_error),
            lambda p, t, dy: (pull_of(manualbp.squared_error, p, t, dy)[0], jnp.zeros_like(t)),
        ),
        right=manualbp.squared_error,
        definition=reference.squared_error,
        args=(REAL23, REAL23),
        diagnosis="zero",
    ),
    WrongRule(
        "floor_of_the_gradient_is_lost",
        ZERO,
        wrong=pair(lambda x: x - jnp.floor(x) + x, lambda x, dy: (jnp.zeros_like(dy),)),
        right=pair(lambda x: x - jnp.floor(x) + x, lambda x, dy: (2 * dy,)),
        definition=lambda x: 2 * x - jnp.floor(x),
        args=(X,),
        diagnosis="zero|kink",
    ),
    # 7 the incoming cotangent
    WrongRule(
        "cotangent_ignored",
        COTANGENT,
        wrong=vjp(jnp.tanh, lambda x, dy: (sech2(x),)),
        right=vjp(jnp.tanh, times_slope(sech2)),
        definition=reference.tanh,
        args=(X,),
        diagnosis="ignores",
    ),
    WrongRule(
        "cotangent_ignored_by_a_loss",
        COTANGENT,
        wrong=pair(
            value_of(manualbp.softmax_cross_entropy),
            lambda z, y, dy: pull_of(manualbp.softmax_cross_entropy, z, y, jnp.ones_like(dy)),
        ),
        right=manualbp.softmax_cross_entropy,
        definition=reference.softmax_cross_entropy,
        args=(REAL23, Spec((2, 3), "weights")),
        diagnosis="ignores",
    ),
    WrongRule(
        "cotangent_averaged_over_the_batch",
        COTANGENT,
        wrong=pair(
            value_of(manualbp.half_squared_error),
            lambda p, t, dy: pull_of(
                manualbp.half_squared_error, p, t, jnp.full_like(dy, jnp.mean(dy))
            ),
        ),
        right=manualbp.half_squared_error,
        definition=reference.half_squared_error,
        args=(REAL23, REAL23),
        diagnosis="cotangent",
    ),
    WrongRule(
        "cotangent_of_the_first_entry_for_all",
        COTANGENT,
        wrong=pair(square, lambda x, dy: (2 * x * dy[0],)),
        right=pair(square, lambda x, dy: (2 * x * dy,)),
        definition=square,
        args=(X,),
        diagnosis="cotangent",
    ),
    WrongRule(
        "cotangent_applied_twice",
        COTANGENT,
        wrong=pair(jnp.sin, lambda x, dy: (dy * dy * jnp.cos(x),)),
        right=pair(jnp.sin, lambda x, dy: (dy * jnp.cos(x),)),
        definition=jnp.sin,
        args=(X,),
        diagnosis="linear.*twice",
    ),
    WrongRule(
        "cotangent_without_its_sign",
        COTANGENT,
        wrong=pair(jnp.sin, lambda x, dy: (jnp.abs(dy) * jnp.cos(x),)),
        right=pair(jnp.sin, lambda x, dy: (dy * jnp.cos(x),)),
        definition=jnp.sin,
        args=(X,),
        diagnosis="linear",
    ),
    WrongRule(
        "cotangent_times_the_value",
        COTANGENT,
        wrong=vjp(lambda x: jnp.sum(x * x), lambda x, dy: (2 * x * dy * jnp.sum(x * x),)),
        right=vjp(lambda x: jnp.sum(x * x), lambda x, dy: (2 * x * dy,)),
        definition=lambda x: jnp.sum(x**2),
        args=(X,),
        diagnosis="factor",
    ),
    WrongRule(
        "cotangent_broadcast_from_the_other_axis",
        COTANGENT,
        wrong=pair(lambda x: jnp.sum(x * x, axis=1), lambda x, dy: (2 * x * dy,)),
        right=pair(lambda x: jnp.sum(x * x, axis=1), lambda x, dy: (2 * x * dy[:, None],)),
        definition=lambda x: jnp.sum(x**2, axis=1),
        args=(SQUARE,),
        diagnosis="cotangent|transposed|axis|index",
    ),
    # 8 two results
    WrongRule(
        "cotangent_of_the_second_result_dropped",
        OUTPUTS,
        wrong=pair(lambda x: (jnp.sin(x), x * x), lambda x, dy: (dy[0] * jnp.cos(x),)),
        right=pair(
            lambda x: (jnp.sin(x), x * x), lambda x, dy: (dy[0] * jnp.cos(x) + 2 * x * dy[1],)
        ),
        definition=lambda x: (jnp.sin(x), x**2),
        args=(X,),
        diagnosis="output|result|cotangent|term",
    ),
    WrongRule(
        "cotangents_of_two_results_swapped",
        OUTPUTS,
        wrong=vjp(
            lambda x: (jnp.sin(x), x * x), lambda x, dy: (dy[1] * jnp.cos(x) + 2 * x * dy[0],)
        ),
        right=vjp(
            lambda x: (jnp.sin(x), x * x), lambda x, dy: (dy[0] * jnp.cos(x) + 2 * x * dy[1],)
        ),
        definition=lambda x: (jnp.sin(x), x**2),
        args=(X,),
        diagnosis="output|result|cotangent|swap",
    ),
    WrongRule(
        "auxiliary_mean_without_a_gradient",
        OUTPUTS,
        wrong=pair(lambda x: {"y": x * x, "mean": jnp.mean(x)}, lambda x, dy: (2 * x * dy["y"],)),
        right=pair(
            lambda x: {"y": x * x, "mean": jnp.mean(x)},
            lambda x, dy: (2 * x * dy["y"] + dy["mean"] / x.size,),
        ),
        definition=lambda x: {"y": x**2, "mean": jnp.sum(x) / x.size},
        args=(X,),
        diagnosis="output|result|cotangent|term",
    ),
    # 9 layout
    WrongRule(
        "transpose_read_in_memory_order",
        LAYOUT,
        wrong=pair(lambda x: x.T, lambda x, dy: (dy.reshape(x.shape),)),
        right=pair(lambda x: x.T, lambda x, dy: (dy.T,)),
        definition=lambda x: x.T,
        args=(WIDE,),
        diagnosis="transposed|order|layout|permut",
    ),
    WrongRule(
        "square_transpose_not_undone",
        LAYOUT,
        wrong=pair(lambda x: x.T, lambda x, dy: (dy,)),
        right=pair(lambda x: x.T, lambda x, dy: (dy.T,)),
        definition=lambda x: x.T,
        args=(SQUARE,),
        diagnosis="transposed",
    ),
    WrongRule(
        "axes_moved_the_same_way_twice",
        LAYOUT,
        wrong=vjp(
            lambda x: jnp.transpose(x, (1, 2, 0)), lambda x, dy: (jnp.transpose(dy, (1, 2, 0)),)
        ),
        right=vjp(
            lambda x: jnp.transpose(x, (1, 2, 0)), lambda x, dy: (jnp.transpose(dy, (2, 0, 1)),)
        ),
        definition=lambda x: jnp.moveaxis(x, 0, -1),
        args=(np.ones((2, 2, 2), np.float32),),
        diagnosis="transposed|order|layout|permut",
    ),
    WrongRule(
        "cotangent_taken_for_one_number_expanded",
        LAYOUT,
        wrong=pair(lambda x: 3 * x, lambda x, dy: (jnp.full_like(x, 3) * dy.ravel()[0],)),
        right=pair(lambda x: 3 * x, lambda x, dy: (3 * dy,)),
        definition=lambda x: x + x + x,
        args=(WIDE,),
        diagnosis="cotangent",
    ),
    # 10 rank and size
    WrongRule(
        "bias_under_three_axes_summed_over_one",
        RANK,
        wrong=pair(lambda b, x: x + b, lambda b, x, dy: (jnp.sum(dy, axis=0)[0], dy)),
        right=pair(lambda b, x: x + b, lambda b, x, dy: (jnp.sum(dy, axis=(0, 1)), dy)),
        definition=lambda b, x: x + b,
        args=(SQUARE[0], CUBE),
        diagnosis="sum",
    ),
    WrongRule(
        "batched_product_as_if_of_matrices",
        RANK,
        wrong=pair(
            lambda w, x: x @ w,
            lambda w, x, dy: (x[0].T @ dy[0], dy @ w.T),
        ),
        right=pair(
            lambda w, x: x @ w, lambda w, x, dy: (jnp.einsum("bij,bik->jk", x, dy), dy @ w.T)
        ),
        definition=lambda w, x: jnp.sum(x[..., None] * w, axis=-2),
        args=(SQUARE, CUBE),
        diagnosis="sum",
    ),
    WrongRule(
        "batched_matmul_with_batches_mixed",
        RANK,
        wrong=vjp(
            lambda a, b: a @ b,
            lambda a, b, dy: (dy @ jnp.swapaxes(b[::-1], 1, 2), jnp.swapaxes(a, 1, 2) @ dy),
        ),
        right=vjp(
            lambda a, b: a @ b,
            lambda a, b, dy: (dy @ jnp.swapaxes(b, 1, 2), jnp.swapaxes(a, 1, 2) @ dy),
        ),
        definition=lambda a, b: jnp.sum(a[..., None] * b[:, None], axis=2),
        args=(CUBE, np.stack([SQUARE, OTHER])),
        diagnosis="order|permut|term|index",
    ),
    WrongRule(
        "einsum_with_two_letters_swapped",
        RANK,
        wrong=pair(
            lambda a, b: jnp.einsum("ij,jk->ik", a, b),
            lambda a, b, dy: (
                jnp.einsum("ik,kj->ij", dy, b),
                jnp.einsum("ij,ik->jk", a, dy),
            ),
        ),
        right=pair(
            lambda a, b: jnp.einsum("ij,jk->ik", a, b),
            lambda a, b, dy: (
                jnp.einsum("ik,jk->ij", dy, b),
                jnp.einsum("ij,ik->jk", a, dy),
            ),
        ),
        definition=lambda a, b: jnp.sum(a[:, :, None] * b, axis=1),
        args=(SQUARE, OTHER),
        diagnosis="transposed",
    ),
    WrongRule(
        "softmax_over_the_second_axis_of_three",
        RANK,
        wrong=pair(
            softmax,
            lambda z, dy: (softmax(z) * (dy - jnp.sum(softmax(z) * dy, axis=1, keepdims=True)),),
        ),
        right=manualbp.softmax,
        definition=reference.softmax,
        args=(np.zeros((2, 2, 2), np.float32),),
        diagnosis="axis|sum|term",
    ),
    WrongRule(
        "wrong_at_size_1_only",
        RANK,
        wrong=pair(square, lambda x, dy: ((2 + (x.size == 1)) * x * dy,)),
        right=pair(square, lambda x, dy: (2 * x * dy,)),
        definition=square,
        args=(ONE,),
        diagnosis="factor",
    ),
    WrongRule(
        "column_for_a_vector",
        RANK,
        wrong=pair(lambda x: 2 * x, lambda x, dy: (2 * dy[:, None],)),
        right=pair(lambda x: 2 * x, lambda x, dy: (2 * dy,)),
        definition=lambda x: x + x,
        args=(X,),
        diagnosis="shape",
    ),
    WrongRule(
        "value_a_column_for_a_vector",
        RANK,
        wrong=pair(
            lambda w, x: x @ w[:, None],
            lambda w, x, dy: ((x.T @ dy)[:, 0], dy * w),
        ),
        right=pair(lambda w, x: x @ w, lambda w, x, dy: (x.T @ dy, dy[:, None] * w)),
        definition=lambda w, x: jnp.sum(x * w, axis=-1),
        args=(X, WIDE),
        diagnosis="shape|value",
    ),
    # 11 division by zero
    WrongRule(
        "product_divided_by_each_entry",
        DIVISION,
        wrong=vjp(jnp.prod, lambda x, dy: (dy * jnp.prod(x) / x,)),
        right=vjp(jnp.prod, product_pull),
        definition=jnp.prod,
        args=(X,),
        diagnosis="zero|overflow|divi",
    ),
    WrongRule(
        "product_gradient_0_wherever_an_entry_is",
        DIVISION,
        wrong=pair(
            jnp.prod,
            lambda x, dy: (jnp.where(x == 0, 0, dy * jnp.prod(x) / jnp.where(x == 0, 1, x)),),
        ),
        right=pair(jnp.prod, product_pull),
        definition=lambda x: x[0] * x[1] * x[2],
        args=(X,),
        diagnosis="zero|only",
    ),
    WrongRule(
        "cumulative_product_divided_by_each_entry",
        DIVISION,
        wrong=pair(
            jnp.cumprod,
            lambda x, dy: (jnp.cumsum((dy * jnp.cumprod(x))[::-1])[::-1] / x,),
        ),
        right=pair(jnp.cumprod, cumprod_pull),
        definition=cumprod_definition,
        args=(X,),
        diagnosis="zero|overflow|divi",
    ),
    WrongRule(
        "power_divided_by_its_base",
        DIVISION,
        wrong=slope(lambda x: x**3, lambda x: 3 * x**3 / x),
        right=slope(lambda x: x**3, lambda x: 3 * x * x),
        definition=lambda x: x * x * x,
        args=(X,),
        diagnosis="zero|overflow|divi",
    ),
    # 12 overflow
    WrongRule(
        "logsumexp_gradient_not_shifted",
        OVERFLOW,
        wrong=pair(
            value_of(manualbp.logsumexp),
            lambda z, dy: (dy * jnp.exp(z) / jnp.sum(jnp.exp(z)),),
        ),
        right=manualbp.logsumexp,
        definition=reference.logsumexp,
        args=(X,),
        diagnosis="overflow",
    ),
    WrongRule(
        "softmax_value_not_shifted",
        OVERFLOW,
        wrong=pair(reference.softmax, functools.partial(pull_of, manualbp.softmax)),
        right=manualbp.softmax,
        definition=reference.softmax,
        args=(X,),
        diagnosis="overflow",
    ),
    WrongRule(
        "softplus_slope_from_growing_exponentials",
        OVERFLOW,
        wrong=slope(softplus, lambda z: jnp.exp(z) / (1 + jnp.exp(z))),
        right=slope(softplus, sigmoid),
        definition=reference.softplus,
        args=(X,),
        diagnosis="overflow",
    ),
    WrongRule(
        "softplus_value_from_growing_exponentials",
        OVERFLOW,
        wrong=slope(lambda z: jnp.log1p(jnp.exp(z)), sigmoid),
        right=slope(softplus, sigmoid),
        definition=reference.softplus,
        args=(X,),
        diagnosis="overflow",
    ),
    WrongRule(
        "sigmoid_slope_from_a_squared_exponential",
        OVERFLOW,
        wrong=slope(sigmoid, lambda z: jnp.exp(-z) / (1 + jnp.exp(-z)) ** 2),
        right=slope(sigmoid, sigmoid_slope),
        definition=reference.sigmoid,
        args=(X,),
        diagnosis="overflow|tail",
    ),
    WrongRule(
        "log_cosh_value_overflows",
        OVERFLOW,
        wrong=vjp(lambda x: jnp.log(jnp.cosh(x)), times_slope(jnp.tanh)),
        right=vjp(lambda x: log_cosh(x), times_slope(jnp.tanh)),
        definition=lambda x: jnp.log((jnp.exp(x) + jnp.exp(-x)) / 2),
        args=(X,),
        diagnosis="overflow",
    ),
    WrongRule(
        "integer_label_loss_not_shifted",
        OVERFLOW,
        wrong=pair(
            value_of(manualbp.softmax_cross_entropy_with_integer_labels),
            functools.partial(minus_one_hot, reference.softmax),
        ),
        right=manualbp.softmax_cross_entropy_with_integer_labels,
        definition=reference.softmax_cross_entropy_with_integer_labels,
        args=(REAL23, BATCH_OF_LABELS),
        diagnosis="overflow",
    ),
    # 13 tails
    WrongRule(
        "sigmoid_slope_from_its_output",
        TAIL,
        wrong=slope(sigmoid, lambda z: sigmoid(z) * (1 - sigmoid(z))),
        right=manualbp.sigmoid,
        definition=reference.sigmoid,
        args=(X,),
        diagnosis="cancellation|tail",
    ),
    WrongRule(
        "tanh_slope_from_its_output",
        TAIL,
        wrong=vjp(jnp.tanh, lambda x, dy: (dy * (1 - jnp.tanh(x) ** 2),)),
        right=manualbp.tanh,
        definition=reference.tanh,
        args=(X,),
        diagnosis="cancellation|tail",
    ),
    WrongRule(
        "elu_slope_from_its_output",
        TAIL,
        wrong=(
            lambda z: (jnp.where(z > 0, z, jnp.expm1(jnp.minimum(z, 0))),) * 2,
            lambda y, dy: (jnp.where(y > 0, dy, dy * (y + 1)),),
        ),
        right=manualbp.elu(),
        definition=reference.elu(1.0),
        args=(X,),
        diagnosis="cancellation|tail",
    ),
    WrongRule(
        "elu_value_as_exp_minus_1",
        TAIL,
        wrong=pair(
            lambda z: jnp.where(z > 0, z, jnp.exp(jnp.minimum(z, 0)) - 1),
            functools.partial(pull_of, manualbp.elu()),
        ),
        right=manualbp.elu(),
        definition=reference.elu(1.0),
        args=(X,),
        diagnosis="cancellation",
    ),
    WrongRule(
        "log1p_slope_of_a_rounded_sum",
        TAIL,
        wrong=slope(lambda x: jnp.log(1 + x), lambda x: 1 / (1 + x)),
        right=slope(jnp.log1p, lambda x: 1 / (1 + x)),
        definition=lambda x: jnp.log(1 + x),
        args=(POSITIVE,),
        diagnosis="cancellation",
    ),
    WrongRule(
        "difference_of_roots",
        TAIL,
        wrong=slope(
            lambda x: jnp.sqrt(x + 1) + jnp.sqrt(x),
            lambda x: (
                (jnp.sqrt(x + 1) - jnp.sqrt(x))
                * (jnp.sqrt(x + 1) + jnp.sqrt(x)) ** 2
                / (2 * jnp.sqrt(x * (x + 1)))
            ),
        ),
        right=slope(
            lambda x: jnp.sqrt(x + 1) + jnp.sqrt(x),
            lambda x: (1 / jnp.sqrt(x + 1) + 1 / jnp.sqrt(x)) / 2,
        ),
        definition=lambda x: jnp.sqrt(x + 1) + jnp.sqrt(x),
        args=(POSITIVE,),
        diagnosis="cancellation",
    ),
    WrongRule(
        "cross_entropy_of_a_sure_example",
        TAIL,
        wrong=pair(
            value_of(manualbp.softmax_cross_entropy_with_integer_labels),
            functools.partial(minus_one_hot, softmax),
        ),
        right=manualbp.softmax_cross_entropy_with_integer_labels,
        definition=reference.softmax_cross_entropy_with_integer_labels,
        args=(REAL23, BATCH_OF_LABELS),
        diagnosis="cancellation",
    ),
    # 14 masks
    WrongRule(
        "norm_at_0_divides_by_itself",
        MASK,
        wrong=vjp(norm, lambda x, dy: (dy * x / norm(x),)),
        right=vjp(norm, norm_pull),
        definition=norm_definition,
        args=(X,),
        diagnosis="zero|overflow|divi|kink",
    ),
    WrongRule(
        "root_guarded_after_it_is_taken",
        MASK,
        wrong=slope(
            lambda x: jnp.sqrt(jnp.maximum(x, 0)) * x,
            lambda x: jnp.where(x > 0, 1.5, 0) * jnp.sqrt(x),
        ),
        right=slope(
            lambda x: jnp.where(x > 0, x * jnp.sqrt(jnp.where(x > 0, x, 1)), 0),
            lambda x: jnp.where(x > 0, 1.5 * jnp.sqrt(jnp.where(x > 0, x, 1)), 0),
        ),
        definition=lambda x: jnp.where(x > 0, jnp.where(x > 0, x, 1) ** 1.5, 0),
        args=(X,),
        diagnosis="zero|NaN|branch",
    ),
    WrongRule(
        "logarithm_guarded_by_a_product",
        MASK,
        wrong=slope(safe_log, lambda x: (x > 0).astype(x.dtype) / jnp.maximum(x, 0)),
        right=slope(safe_log, lambda x: jnp.where(x > 0, 1 / jnp.where(x > 0, x, 1), 0)),
        definition=safe_log,
        args=(X,),
        diagnosis="zero|NaN|branch",
    ),
    WrongRule(
        "softmax_of_a_row_all_masked",
        MASK,
        wrong=pair(masked_softmax, masked_softmax_nan),
        right=pair(masked_softmax, masked_softmax_pull),
        definition=masked_softmax_definition,
        args=(TRUE, WIDE),
        diagnosis="overflow|divi|NaN|mask",
    ),
    WrongRule(
        "gradient_of_masked_entries_kept",
        MASK,
        wrong=pair(
            lambda mask, x: jnp.where(mask, x * x, 0),
            lambda mask, x, dy: (no_cotangent(mask), 2 * x * dy),
        ),
        right=pair(
            lambda mask, x: jnp.where(mask, x * x, 0),
            lambda mask, x, dy: (no_cotangent(mask), jnp.where(mask, 2 * x * dy, 0)),
        ),
        definition=lambda mask, x: jnp.where(mask, x**2, 0),
        args=(TRUE, WIDE),
        diagnosis="only|mask",
    ),
    WrongRule(
        "zero_times_log_zero",
        MASK,
        wrong=slope(
            lambda x: jnp.where(x > 0, x * jnp.log(jnp.where(x > 0, x, 1)), 0),
            lambda x: (x * jnp.log(x) + x) / x,
        ),
        right=slope(
            lambda x: jnp.where(x > 0, x * jnp.log(jnp.where(x > 0, x, 1)), 0),
            lambda x: jnp.where(x > 0, jnp.log(jnp.where(x > 0, x, 1)) + 1, 0),
        ),
        definition=lambda x: jnp.where(x > 0, x * jnp.log(jnp.where(x > 0, x, 1)), 0),
        args=(X,),
        diagnosis="zero|NaN|branch",
    ),
    # 15 ties
    WrongRule(
        "every_largest_entry_gets_the_whole",
        TIES,
        wrong=pair(jnp.max, max_counted),
        right=pair(jnp.max, max_shared),
        definition=jnp.max,
        args=(X,),
        diagnosis="ties",
    ),
    WrongRule(
        "maximum_of_two_counted_twice",
        TIES,
        wrong=pair(
            jnp.maximum,
            lambda a, b, dy: (jnp.where(a >= b, dy, 0), jnp.where(b >= a, dy, 0)),
        ),
        right=pair(
            jnp.maximum, lambda a, b, dy: (jnp.where(a >= b, dy, 0), jnp.where(b > a, dy, 0))
        ),
        definition=jnp.maximum,
        args=(X, Y),
        diagnosis="ties",
    ),
    WrongRule(
        "maximum_of_two_counted_never",
        TIES,
        wrong=pair(
            jnp.maximum, lambda a, b, dy: (jnp.where(a > b, dy, 0), jnp.where(b > a, dy, 0))
        ),
        right=pair(
            jnp.maximum,
            lambda a, b, dy: (
                jnp.where(a == b, dy / 2, jnp.where(a > b, dy, 0)),
                jnp.where(a == b, dy / 2, jnp.where(b > a, dy, 0)),
            ),
        ),
        definition=lambda a, b: jnp.where(a > b, a, b),
        args=(X, Y),
        diagnosis="ties",
    ),
    WrongRule(
        "max_pool_ties_in_a_window",
        TIES,
        wrong=vjp(
            lambda x: jnp.max(x.reshape(2, 2), axis=1),
            lambda x, dy: (
                jnp.where(
                    x.reshape(2, 2) == jnp.max(x.reshape(2, 2), axis=1, keepdims=True),
                    dy[:, None],
                    0,
                ).ravel(),
            ),
        ),
        right=vjp(
            lambda x: jnp.max(x.reshape(2, 2), axis=1),
            lambda x, dy: (
                jnp.where(
                    jnp.arange(2) == jnp.argmax(x.reshape(2, 2), axis=1)[:, None], dy[:, None], 0
                ).ravel(),
            ),
        ),
        definition=lambda x: jnp.maximum(x[::2], x[1::2]),
        args=(np.array([1.0, 2.0, -1.0, 0.5], np.float32),),
        diagnosis="ties",
    ),
    # 16 precision
    WrongRule(
        "secretly_in_float32",
        PRECISION,
        wrong=pair(
            linear,
            lambda w, x, dy: tuple(
                g.astype(x.dtype) for g in linear_pull(*(a.astype(jnp.float32) for a in (w, x, dy)))
            ),
        ),
        right=pair(linear, linear_pull),
        definition=linear,
        args=(SQUARE, OTHER),
        diagnosis="precision|float32|digits",
    ),
    WrongRule(
        "value_secretly_in_float32",
        PRECISION,
        wrong=slope(lambda x: jnp.exp(x.astype(jnp.float32)).astype(x.dtype), jnp.exp),
        right=slope(jnp.exp, jnp.exp),
        definition=jnp.exp,
        args=(X,),
        diagnosis="precision|float32|digits",
    ),
    WrongRule(
        "weight_gradient_accumulated_in_bfloat16",
        PRECISION,
        wrong=pair(
            linear,
            lambda w, x, dy: (
                (x.T.astype(jnp.bfloat16) @ dy.astype(jnp.bfloat16)).astype(x.dtype),
                dy @ w.T,
            ),
        ),
        right=pair(linear, linear_pull),
        definition=linear,
        args=(SQUARE, OTHER),
        diagnosis="precision|bfloat16|digits",
    ),
    WrongRule(
        "bias_gradient_accumulated_in_float16",
        PRECISION,
        wrong=pair(
            lambda b, x: x + b,
            lambda b, x, dy: (jnp.sum(dy.astype(jnp.float16), axis=0).astype(dy.dtype), dy),
        ),
        right=pair(lambda b, x: x + b, lambda b, x, dy: (jnp.sum(dy, axis=0), dy)),
        definition=lambda b, x: x + b,
        args=(X, EQUAL_ROWS),
        diagnosis="precision|float16|digits|linear",
    ),
    WrongRule(
        "residual_kept_in_float16",
        PRECISION,
        wrong=(
            lambda x: (x * x, x.astype(jnp.float16)),
            lambda kept, dy: (2 * kept.astype(dy.dtype) * dy,),
        ),
        right=(lambda x: (x * x, x), lambda x, dy: (2 * x * dy,)),
        definition=square,
        args=(X,),
        diagnosis="precision|float16|digits|overflow",
    ),
    # 17 types and trees
    WrongRule(
        "cotangent_always_float32",
        DTYPE,
        wrong=pair(square, lambda x, dy: ((2 * x * dy).astype(jnp.float32),)),
        right=pair(square, lambda x, dy: (2 * x * dy,)),
        definition=square,
        args=(X,),
        diagnosis="dtype",
    ),
    WrongRule(
        "half_precision_comes_back_wide",
        DTYPE,
        wrong=pair(jnp.exp, lambda x, dy: (wide(dy) * jnp.exp(wide(x)),)),
        right=pair(jnp.exp, lambda x, dy: (dy * jnp.exp(x),)),
        definition=jnp.exp,
        args=(X,),
        diagnosis="dtype",
    ),
    WrongRule(
        "integer_argument_gets_integer_zeros",
        DTYPE,
        wrong=pair(
            gather,
            lambda table, i, dy: (gather_pull(table, i, dy)[0], jnp.zeros_like(i)),
        ),
        right=pair(gather, gather_pull),
        definition=gather_definition,
        args=(TALL, np.array([0, 2, 2, 1], np.int32)),
        diagnosis="dtype",
    ),
    WrongRule(
        "value_comes_back_wide",
        DTYPE,
        wrong=pair(lambda x: wide(x) ** 2, lambda x, dy: (2 * x * dy.astype(x.dtype),)),
        right=slope(square, lambda x: 2 * x),
        definition=square,
        args=(X,),
        diagnosis="dtype",
    ),
    WrongRule(
        "scale_and_shift_swapped",
        DTYPE,
        wrong=pair(affine, lambda p, x, dy: (affine_pull(p, x, dy)[0][::-1], dy * p.scale)),
        right=pair(affine, affine_pull),
        definition=affine,
        args=(Affine(X, Y), WIDE),
        diagnosis="structure|tree|swap",
    ),
    WrongRule(
        "scale_and_shift_swapped_in_the_right_tree",
        DTYPE,
        wrong=pair(
            affine, lambda p, x, dy: (Affine(*affine_pull(p, x, dy)[0][::-1]), dy * p.scale)
        ),
        right=pair(affine, affine_pull),
        definition=affine,
        args=(Affine(X, Y), WIDE),
        diagnosis="swap",
    ),
    WrongRule(
        "one_cotangent_for_two_arguments",
        DTYPE,
        wrong=pair(lambda a, b: a * b, lambda a, b, dy: (dy * b,)),
        right=pair(lambda a, b: a * b, lambda a, b, dy: (dy * b, dy * a)),
        definition=lambda a, b: a * b,
        args=(X, Y),
        diagnosis="structure|missing",
    ),
    WrongRule(
        "cotangents_of_two_arguments_swapped",
        DTYPE,
        wrong=pair(lambda a, b: a * b, lambda a, b, dy: (dy * a, dy * b)),
        right=pair(lambda a, b: a * b, lambda a, b, dy: (dy * b, dy * a)),
        definition=lambda a, b: a * b,
        args=(X, Y),
        diagnosis="swap",
    ),
    WrongRule(
        "bare_array_for_a_tuple",
        DTYPE,
        wrong=pair(square, lambda x, dy: 2 * x * dy),
        right=pair(square, lambda x, dy: (2 * x * dy,)),
        definition=square,
        args=(X,),
        diagnosis="tree|tuple",
    ),
    # 18 state
    WrongRule(
        "dropout_mask_drawn_again_from_another_key",
        STATE,
        wrong=dropout(1),
        right=dropout(None),
        definition=dropout_definition,
        args=(KEY, X),
        diagnosis="index|only|mask|term",
    ),
    WrongRule(
        "second_call_differs_from_the_first",
        STATE,
        wrong=counting(),
        right=slope(square, lambda x: 2 * x),
        definition=square,
        args=(X,),
        diagnosis="state|called",
    ),
    WrongRule(
        "noise_in_the_gradient",
        STATE,
        wrong=random_noise(),
        right=slope(square, lambda x: 2 * x),
        definition=square,
        args=(X,),
        diagnosis="random|called",
    ),
    WrongRule(
        "residual_in_a_shared_buffer",
        STATE,
        wrong=shared_buffer(),
        right=slope(square, lambda x: 2 * x),
        definition=square,
        args=(X,),
        diagnosis="state|called",
    ),
    # 19 the second derivative
    WrongRule(
        "second_derivative_stopped",
        SECOND,
        wrong=slope(jnp.sin, lambda x: jnp.cos(lax.stop_gradient(x))),
        right=slope(jnp.sin, jnp.cos),
        definition=jnp.sin,
        args=(X,),
        diagnosis="second",
    ),
    WrongRule(
        "second_derivative_of_a_wrong_helper",
        SECOND,
        wrong=vjp(square, lambda x, dy: (dy * half_slope(x),)),
        right=vjp(square, lambda x, dy: (dy * 2 * x,)),
        definition=square,
        args=(X,),
        diagnosis="second",
    ),
    # 20 paths
    WrongRule(
        "primal_and_forward_pass_differ",
        PATHS,
        wrong=vjp(square, lambda x, dy: (2 * x * dy,), primal=lambda x: 1.01 * x * x),
        right=vjp(square, lambda x, dy: (2 * x * dy,)),
        definition=square,
        args=(X,),
        diagnosis="value|forward|fwd|primal",
    ),
    WrongRule(
        "forward_pass_differs_from_the_primal",
        PATHS,
        wrong=vjp(lambda x: 1.01 * x * x, lambda x, dy: (2 * x * dy,), primal=square),
        right=vjp(square, lambda x, dy: (2 * x * dy,)),
        definition=square,
        args=(X,),
        diagnosis="value|forward|fwd|primal",
    ),
    WrongRule(
        "jit_differs_from_eager",
        PATHS,
        wrong=eager_only(1.01),
        right=eager_only(1),
        definition=square,
        args=(X,),
        diagnosis="called",
    ),
    WrongRule(
        "vmap_differs_from_a_loop",
        PATHS,
        wrong=slope(square, doubled_unless_batched),
        right=slope(square, lambda x: 2 * x),
        definition=square,
        args=(X,),
        diagnosis="called|factor",
    ),
    # 21 regions
    WrongRule(
        "wrong_beyond_20",
        REGION,
        wrong=slope(jnp.tanh, lambda x: jnp.where(jnp.abs(x) > 20, 0, sech2(x))),
        right=slope(jnp.tanh, sech2),
        definition=reference.tanh,
        args=(X,),
        diagnosis="tail|cancellation",
    ),
    WrongRule(
        "clipped_beyond_20",
        REGION,
        wrong=slope(square, lambda x: 2 * jnp.clip(x, -20, 20)),
        right=slope(square, lambda x: 2 * x),
        definition=square,
        args=(X,),
        diagnosis="tail|branch|clip",
    ),
    WrongRule(
        "wrong_within_1e-6_of_0",
        REGION,
        wrong=slope(jnp.sinh, lambda x: jnp.where(jnp.abs(x) < 1e-6, 2, jnp.cosh(x))),
        right=slope(jnp.sinh, jnp.cosh),
        definition=lambda x: (jnp.exp(x) - jnp.exp(-x)) / 2,
        args=(X,),
        diagnosis="only|branch|tail|factor",
    ),
    WrongRule(
        "wrong_for_subnormals_of_float32",
        REGION,
        wrong=slope(
            jnp.sin, lambda x: jnp.where((x != 0) & (jnp.abs(x) < 1.17e-38), 0, jnp.cos(x))
        ),
        right=slope(jnp.sin, jnp.cos),
        definition=jnp.sin,
        args=(X,),
        diagnosis="only|branch|tail|zero",
    ),
    WrongRule(
        "wrong_in_a_narrow_band",
        REGION,
        wrong=slope(square, lambda x: jnp.where((x > 1.7) & (x < 1.7001), x, 2 * x)),
        right=slope(square, lambda x: 2 * x),
        definition=square,
        args=(X,),
        diagnosis="branch|factor",
    ),
    WrongRule(
        "elu_returns_its_output_on_one_branch",
        REGION,
        wrong=slope(
            lambda z: jnp.where(z > 0, z, jnp.expm1(jnp.minimum(z, 0))),
            lambda z: jnp.where(z > 0, 1, jnp.expm1(jnp.minimum(z, 0))),
        ),
        right=manualbp.elu(),
        definition=reference.elu(1.0),
        args=(X,),
        diagnosis="branch|output",
    ),
    WrongRule(
        "wrong_in_one_branch_of_cond",
        REGION,
        wrong=pair(cond_value, cond_slope(2)),
        right=pair(cond_value, cond_slope(-2)),
        definition=cond_definition,
        args=(X,),
        diagnosis="branch|sign",
    ),
    WrongRule(
        "one_entry_of_512",
        REGION,
        wrong=slope(
            jnp.sin,
            lambda x: jnp.where(jnp.arange(x.size) == 300, 1.001, 1).astype(x.dtype) * jnp.cos(x),
        ),
        right=slope(jnp.sin, jnp.cos),
        definition=jnp.sin,
        args=(np.linspace(-2, 2, 512, dtype=np.float32),),
        diagnosis="index",
    ),
    WrongRule(
        "last_entry_forgotten",
        REGION,
        wrong=pair(square, lambda x, dy: ((2 * x * dy).at[-1].set(0),)),
        right=pair(square, lambda x, dy: (2 * x * dy,)),
        definition=square,
        args=(WIDE[0],),
        diagnosis="index",
    ),
    # 22 values
    WrongRule(
        "value_0.1_percent_off",
        VALUE,
        wrong=slope(lambda x: 1.001 * jnp.sin(x), jnp.cos),
        right=slope(jnp.sin, jnp.cos),
        definition=jnp.sin,
        args=(X,),
        diagnosis="value",
    ),
    WrongRule(
        "value_20_percent_off_in_128_entries",
        VALUE,
        wrong=slope(lambda x: 1.2 * x * x, lambda x: 2 * x),
        right=slope(square, lambda x: 2 * x),
        definition=square,
        args=(np.linspace(-2, 2, 128, dtype=np.float32),),
        diagnosis="value",
    ),
    WrongRule(
        "value_without_a_constant",
        VALUE,
        wrong=pair(lambda x: jnp.sum(x * x), lambda x, dy: (2 * x * dy,)),
        right=pair(lambda x: jnp.sum(x * x) + 3, lambda x, dy: (2 * x * dy,)),
        definition=lambda x: 3 + jnp.sum(x**2),
        args=(X,),
        diagnosis="value",
    ),
    # 23 indices, order, ends of loops
    WrongRule(
        "repeated_rows_of_a_table_overwritten",
        INDEX,
        wrong=pair(
            gather,
            lambda table, i, dy: (jnp.zeros_like(table).at[i].set(dy), no_cotangent(i)),
        ),
        right=pair(gather, gather_pull),
        definition=gather_definition,
        args=(TALL, np.array([0, 2, 2, 1], np.int32)),
        diagnosis="index|indices",
    ),
    WrongRule(
        "scatter_gradient_without_a_gather",
        INDEX,
        wrong=pair(segment_sum, lambda i, x, dy: (no_cotangent(i), dy)),
        right=pair(segment_sum, lambda i, x, dy: (no_cotangent(i), dy[i])),
        definition=lambda i, x: jnp.sum(
            jnp.where(i[:, None] == jnp.arange(3, dtype=i.dtype), x[:, None], 0), axis=0
        ),
        args=(np.array([2, 0, 2], np.int32), X),
        diagnosis="indices|permut|order|term",
    ),
    WrongRule(
        "sort_undone_with_the_permutation_itself",
        INDEX,
        wrong=pair(jnp.sort, lambda x, dy: (dy[jnp.argsort(x)],)),
        right=pair(jnp.sort, sort_pull),
        definition=jnp.sort,
        args=(X,),
        diagnosis="indices|permut|order",
    ),
    WrongRule(
        "permutation_not_inverted",
        INDEX,
        wrong=pair(lambda x: x[np.array([1, 2, 0])], lambda x, dy: (dy[np.array([1, 2, 0])],)),
        right=pair(lambda x: x[np.array([1, 2, 0])], lambda x, dy: (dy[np.array([2, 0, 1])],)),
        definition=lambda x: jnp.stack([x[1], x[2], x[0]]),
        args=(X,),
        diagnosis="index|permut|order",
    ),
    WrongRule(
        "cumulative_sum_not_reversed",
        INDEX,
        wrong=vjp(jnp.cumsum, lambda x, dy: (jnp.cumsum(dy),)),
        right=vjp(jnp.cumsum, lambda x, dy: (jnp.cumsum(dy[::-1])[::-1],)),
        definition=lambda x: jnp.stack([jnp.sum(x[: i + 1]) for i in range(x.shape[0])]),
        args=(X,),
        diagnosis="order|revers|permut|total|term",
    ),
    WrongRule(
        "scan_backward_misses_the_last_step",
        INDEX,
        wrong=pair(recurrence, functools.partial(recurrence_pull, last=False)),
        right=pair(recurrence, lambda a, x, dy: recurrence_pull(a, x, dy)),
        definition=recurrence_definition,
        args=(SCALAR, X),
        diagnosis="index|term|step|only",
    ),
    WrongRule(
        "convolution_kernel_flipped",
        INDEX,
        wrong=pair(conv, functools.partial(conv_pull, flip=True)),
        right=pair(conv, lambda kernel, x, dy: conv_pull(kernel, x, dy)),
        definition=conv_definition,
        args=(X, np.linspace(-1, 2, 6, dtype=np.float32)),
        diagnosis="order|revers|total|term",
    ),
    WrongRule(
        "concatenation_cut_at_the_wrong_place",
        INDEX,
        wrong=pair(lambda a, b: jnp.concatenate([a, b]), lambda a, b, dy: (dy[3:], dy[:3])),
        right=pair(lambda a, b: jnp.concatenate([a, b]), lambda a, b, dy: (dy[:3], dy[3:])),
        definition=lambda a, b: jnp.concatenate([a, b]),
        args=(X, Y),
        diagnosis="swap|order|index",
    ),
    WrongRule(
        "difference_shifted_by_one",
        INDEX,
        wrong=pair(
            lambda x: x[1:] - x[:-1], lambda x, dy: (jnp.pad(dy, (0, 1)) - jnp.pad(dy, (1, 0)),)
        ),
        right=pair(
            lambda x: x[1:] - x[:-1], lambda x, dy: (jnp.pad(dy, (1, 0)) - jnp.pad(dy, (0, 1)),)
        ),
        definition=lambda x: jnp.diff(x),
        args=(X,),
        diagnosis="sign",
    ),
    # 24 labels
    WrongRule(
        "cross_entropy_for_labels_that_sum_to_1",
        LABELS,
        wrong=pair(
            value_of(manualbp.softmax_cross_entropy),
            lambda z, y, dy: (
                dy[:, None] * (softmax(z) - y),
                pull_of(manualbp.softmax_cross_entropy, z, y, dy)[1],
            ),
        ),
        right=manualbp.softmax_cross_entropy,
        definition=reference.softmax_cross_entropy,
        args=(REAL23, Spec((2, 3), "weights")),
        diagnosis="term|sum|label",
    ),
    WrongRule(
        "cross_entropy_for_hard_labels",
        LABELS,
        wrong=pair(
            value_of(manualbp.softmax_cross_entropy),
            lambda z, y, dy: pull_of(
                manualbp.softmax_cross_entropy, z, one_hot(jnp.argmax(y, axis=-1), y), dy
            ),
        ),
        right=manualbp.softmax_cross_entropy,
        definition=reference.softmax_cross_entropy,
        args=(REAL23, Spec((2, 3), "simplex")),
        diagnosis="label|only|term",
    ),
    WrongRule(
        "binary_cross_entropy_for_hard_labels",
        LABELS,
        wrong=pair(
            value_of(manualbp.sigmoid_binary_cross_entropy),
            lambda z, y, dy: (dy * jnp.where(y > 0.5, -sigmoid(-z), sigmoid(z)), -dy * z),
        ),
        right=manualbp.sigmoid_binary_cross_entropy,
        definition=reference.sigmoid_binary_cross_entropy,
        args=(Spec((3,)), Spec((3,), "labels")),
        diagnosis="label|only|term",
    ),
    WrongRule(
        "wrong_for_the_last_class",
        LABELS,
        wrong=pair(
            value_of(manualbp.negative_log_likelihood),
            lambda z, labels, dy: (
                jnp.where(labels == 2, 0, -dy)[:, None] * one_hot(labels, z),
                no_cotangent(labels),
            ),
        ),
        right=manualbp.negative_log_likelihood,
        definition=reference.negative_log_likelihood,
        args=(REAL23, BATCH_OF_LABELS),
        diagnosis="class|only",
    ),
    WrongRule(
        "labels_of_minus_1_and_1_taken_for_0_and_1",
        LABELS,
        wrong=pair(
            value_of(manualbp.logistic_loss),
            lambda z, y, dy: (
                dy * (sigmoid(z) - (y + 1) / 2),
                pull_of(manualbp.logistic_loss, z, y, dy)[1],
            ),
        ),
        right=manualbp.logistic_loss,
        definition=reference.logistic_loss,
        args=(Spec((3,)), Spec((3,), "labels")),
        diagnosis="label|term|only",
    ),
    # 25 not linear
    WrongRule(
        "gradient_clipped",
        LINEAR,
        wrong=pair(square, lambda x, dy: (jnp.clip(2 * x * dy, -1, 1),)),
        right=pair(square, lambda x, dy: (2 * x * dy,)),
        definition=square,
        args=(X,),
        diagnosis="linear.*clip",
    ),
    WrongRule(
        "gradient_clipped_at_1e6_only",
        LINEAR,
        wrong=pair(square, lambda x, dy: (jnp.clip(2 * x * dy, -1e6, 1e6),)),
        right=pair(square, lambda x, dy: (2 * x * dy,)),
        definition=square,
        args=(X,),
        diagnosis="linear|clip|tail|only",
    ),
    WrongRule(
        "gradient_with_a_constant_added",
        LINEAR,
        wrong=pair(square, lambda x, dy: (2 * x * dy + 1e-3,)),
        right=pair(square, lambda x, dy: (2 * x * dy,)),
        definition=square,
        args=(X,),
        diagnosis="linear.*added",
    ),
    WrongRule(
        "gradient_normalised",
        LINEAR,
        wrong=pair(
            square,
            lambda x, dy: (2 * x * dy / jnp.maximum(jnp.sqrt(jnp.sum(square(2 * x * dy))), 1),),
        ),
        right=pair(square, lambda x, dy: (2 * x * dy,)),
        definition=square,
        args=(X,),
        diagnosis="linear",
    ),
    WrongRule(
        "negative_cotangents_cut_off",
        LINEAR,
        wrong=pair(
            lambda z: jnp.maximum(z, 0),
            lambda z, dy: (jnp.where(z > 0, jnp.maximum(dy, 0), 0),),
        ),
        right=pair(lambda z: jnp.maximum(z, 0), lambda z, dy: (jnp.where(z > 0, dy, 0),)),
        definition=reference.relu,
        args=(X,),
        diagnosis="linear",
    ),
    WrongRule(
        "small_cotangents_dropped",
        LINEAR,
        wrong=pair(square, lambda x, dy: (jnp.where(jnp.abs(dy) < 1e-4, 0, 2 * x * dy),)),
        right=pair(square, lambda x, dy: (2 * x * dy,)),
        definition=square,
        args=(X,),
        diagnosis="linear",
    ),
    # 26 scale
    WrongRule(
        "tiny_function_without_a_gradient",
        SCALE,
        wrong=slope(lambda x: 1e-6 * jnp.tanh(x), jnp.zeros_like),
        right=slope(lambda x: 1e-6 * jnp.tanh(x), lambda x: 1e-6 * sech2(x)),
        definition=lambda x: 1e-6 * reference.tanh(x),
        args=(X,),
        diagnosis="zero",
    ),
    WrongRule(
        "huge_function_0.1_percent_off",
        SCALE,
        wrong=slope(lambda x: 1e6 * jnp.sin(x), lambda x: 1.001e6 * jnp.cos(x)),
        right=slope(lambda x: 1e6 * jnp.sin(x), lambda x: 1e6 * jnp.cos(x)),
        definition=lambda x: 1e6 * jnp.sin(x),
        args=(X,),
        diagnosis="factor",
    ),
    WrongRule(
        "small_entry_beside_a_large_one",
        SCALE,
        wrong=pair(
            lambda x: jnp.sum(jnp.array([1e9, 1e-9], x.dtype) * x * x),
            lambda x, dy: (dy * jnp.array([2e9, 1e-9], x.dtype) * x,),
        ),
        right=pair(
            lambda x: jnp.sum(jnp.array([1e9, 1e-9], x.dtype) * x * x),
            lambda x, dy: (dy * jnp.array([2e9, 2e-9], x.dtype) * x,),
        ),
        definition=lambda x: 1e9 * x[0] ** 2 + 1e-9 * x[1] ** 2,
        args=(SQUARE[0],),
        diagnosis="index|only",
    ),
    WrongRule(
        "constant_function_with_a_gradient",
        SCALE,
        wrong=pair(lambda x: 0 * x + 1e-12, lambda x, dy: (1e-12 * dy,)),
        right=pair(lambda x: jnp.full_like(x, 1e-12), lambda x, dy: (jnp.zeros_like(dy),)),
        definition=lambda x: jnp.full_like(x, 1e-12),
        args=(X,),
        diagnosis="should|term|extra",
    ),
)
