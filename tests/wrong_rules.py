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
    function = jax.custom_vjp(value if primal is None else primal)
    function.defvjp(*pair(value, pull))
    return function


def rule(name: str, value: Callable, pull: Callable, **more: Any) -> manualbp.Rule:
    """The same as a Rule."""
    return manualbp.Rule(name, *pair(value, pull), tex="", source="", **more)


def slope(value: Callable, derivative: Callable) -> tuple[Callable, Callable]:
    """A function of one array, entry by entry."""
    return pair(value, lambda x, dy: (dy * derivative(x),))


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


def one_hot(labels, like):
    return (labels[..., None] == jnp.arange(like.shape[-1])).astype(like.dtype)


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
    e = jnp.where(mask, jnp.exp(z), 0)
    total = jnp.sum(e, axis=-1, keepdims=True)
    return jnp.where(total > 0, e / jnp.where(total > 0, total, 1), 0)


def masked_softmax(mask, z):
    top = jnp.max(jnp.where(mask, z, -jnp.inf), axis=-1, keepdims=True)
    e = jnp.where(mask, jnp.exp(jnp.where(mask, z, 0) - jnp.where(top > -jnp.inf, top, 0)), 0)
    total = jnp.sum(e, axis=-1, keepdims=True)
    return e / jnp.where(total > 0, total, 1)


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
    picked = indices[:, None] == jnp.arange(table.shape[0])
    return jnp.sum(jnp.where(picked[:, :, None], table, 0), axis=1)


def segment_sum(indices, x):
    return jnp.zeros(3, x.dtype).at[indices].add(x)


def sort_pull(x, dy):
    return (jnp.zeros_like(dy).at[jnp.argsort(x)].set(dy),)


def half_mse(z, t):
    return 0.5 * jnp.sum((sigmoid(z) - t) ** 2)


def half_mse_error(z, t):
    """sigmoid(z) - t, where 1 - sigmoid(z) is sigmoid(-z)."""
    return jnp.where(t == 1, -sigmoid(-z), sigmoid(z) - t)


def norm(x):
    return jnp.sqrt(jnp.sum(x * x))


def norm_pull(x, dy):
    n = norm(x)
    return (dy * x / jnp.where(n == 0, 1, n),)


def norm_definition(x):
    total = jnp.sum(x * x)
    return jnp.where(total == 0, 0, jnp.sqrt(jnp.where(total == 0, 1, total)))


def safe_log(x):
    return jnp.where(x > 0, jnp.log(jnp.where(x > 0, x, 1)), 0)


def safe_log_definition(x):
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
        diagnosis="sum|rows",
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
        diagnosis="axis",
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
        wrong=slope(lambda z: jnp.maximum(z, 0), lambda z: jnp.where(z == 0, -1, z > 0)),
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
            lambda x: jnp.where(x < -3, 0, jnp.where(x == 3, 2.5, jnp.where(x > 3, 1, x / 3 + 0.5))),
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
        right=slope(
            lambda x: jnp.clip(x, 0, 6), lambda x: ((x > 0) & (x < 6)).astype(x.dtype)
        ),
        definition=lambda x: jnp.minimum(jnp.maximum(x, 0), 6),
        args=(X,),
        diagnosis="kink",
    ),
    WrongRule(
        "soft_shrink_slope_at_its_threshold",
        BOUNDARY,
        wrong=slope(
            lambda x: jnp.where(x > 0.375, x - 0.375, jnp.where(x < -0.375, x + 0.375, 0)),
            lambda x: jnp.where(jnp.abs(x) == 0.375, -1, jnp.abs(x) > 0.375).astype(x.dtype),
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
            lambda x: jnp.where(x == 0.37, 7, x > 0.37).astype(x.dtype),
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
        wrong=(
            manualbp.mean_squared_error.fwd,
            lambda saved, dy: tuple(
                sign * 2 * (saved[0] - saved[1]) * dy[:, None] / saved[0].size for sign in (1, -1)
            ),
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
        wrong=(
            manualbp.softmax.fwd,
            lambda p, dy: (p * (dy - jnp.sum(p * dy, axis=0, keepdims=True)),),
        ),
        right=manualbp.softmax,
        definition=reference.softmax,
        args=(SQUARE,),
        diagnosis="axis|sum",
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
        diagnosis="axis|no simple relation",
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
        wrong=pair(
            lambda p, x: x**p, lambda p, x, dy: (jnp.sum(dy * x**p), dy * p * x ** (p - 1))
        ),
        right=pair(
            lambda p, x: x**p,
            lambda p, x, dy: (jnp.sum(dy * jnp.log(x) * x**p), dy * p * x ** (p - 1)),
        ),
        definition=lambda p, x: jnp.exp(p * jnp.log(x)),
        args=(Spec((), "unit"), Spec((3,), "unit")),
        diagnosis="factor|no simple relation",
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
        wrong=(manualbp.softplus.fwd, lambda y, dy: (dy * sigmoid(y),)),
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
        diagnosis="input|output|no simple relation",
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
        wrong=(manualbp.softmax.fwd, lambda p, dy: (dy * p * (1 - p),)),
        right=manualbp.softmax,
        definition=reference.softmax,
        args=(X,),
        diagnosis="term",
    ),
    WrongRule(
        "log_softmax_sums_without_the_cotangent",
        TERM,
        wrong=(manualbp.log_softmax.fwd, lambda log_p, dy: (dy - jnp.exp(log_p),)),
        right=manualbp.log_softmax,
        definition=reference.log_softmax,
        args=(X,),
        diagnosis="linear|cotangent",
    ),
    WrongRule(
        "swish_without_its_second_term",
        TERM,
        wrong=(manualbp.silu.fwd, lambda z, dy: (dy * sigmoid(z),)),
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
        diagnosis="term|no simple relation",
    ),
    WrongRule(
        "tanh_gelu_with_the_slope_of_the_exact_one",
        TERM,
        wrong=slope(gelu_tanh, gelu_exact_slope),
        right=slope(gelu_tanh, gelu_tanh_slope),
        definition=gelu_tanh_definition,
        args=(X,),
        diagnosis="digits|approximat|no simple relation",
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
        diagnosis="factor|branch",
    ),
    WrongRule(
        "pinball_sign_below",
        TERM,
        wrong=slope(lambda e: jnp.maximum(0.25 * e, -0.75 * e), lambda e: jnp.where(e > 0, 0.25, 0.75)),
        right=slope(
            lambda e: jnp.maximum(0.25 * e, -0.75 * e), lambda e: jnp.where(e > 0, 0.25, -0.75)
        ),
        definition=lambda e: jnp.where(e > 0, 0.25 * e, -0.75 * e),
        args=(X,),
        diagnosis="sign|branch",
    ),
    WrongRule(
        "gaussian_variance_gradient_without_its_half",
        TERM,
        wrong=(
            manualbp.gaussian_nll.fwd,
            lambda saved, dy: (
                lambda dm, dv, dt: (dm, 2 * dv, dt)
            )(*manualbp.gaussian_nll.bwd(saved, dy)),
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
        diagnosis="conjugate|sign|no simple relation",
    ),
    WrongRule(
        "complex_square_modulus_conjugated",
        CONJUGATE,
        wrong=vjp(lambda a: a[0] * a[0] + a[1] * a[1], lambda a, dy: (2 * dy * a * SIGNS_OF(a),)),
        right=vjp(lambda a: a[0] * a[0] + a[1] * a[1], lambda a, dy: (2 * dy * a,)),
        definition=lambda a: jnp.abs(lax.complex(a[0], a[1])) ** 2,
        args=(SQUARE,),
        diagnosis="sign|conjugate",
    ),
)
