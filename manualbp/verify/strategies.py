"""Hypothesis strategies for tests of gradients: the inputs at which gradients go wrong.

Edge-heavy floats, sizes 0 and 1, ties, labels of every kind, repeated indices, arrays with a
structure, and the points on and beside every comparison that a function makes. All of them shrink
towards simple values.

>>> from hypothesis import find
>>> a = find(arrays((2, 2), domain="definite"), lambda a: a[0, 1] != 0)
>>> bool(np.linalg.det(a) > 0)
True
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from hypothesis.strategies import SearchStrategy

from manualbp._rule import Rule
from manualbp.verify.ask.definitions import definition_of
from manualbp.verify.ask.domains import Spec, in_dtype
from manualbp.verify.ask.points import grouped
from manualbp.verify.ask.question import problem_of
from manualbp.verify.ask.subject import Subject, subject_of
from manualbp.verify.numbers.walk import is_floating

__all__ = [
    "arguments",
    "arrays",
    "cotangents",
    "floats_of",
    "integers",
    "labels",
    "repeated_indices",
    "shapes",
    "threshold_points",
    "ties",
]

Arrays = SearchStrategy[np.ndarray]
_FLOATS = ("float16", "bfloat16", "float32", "float64")
_ROUND = (0.0, 1.0, -1.0, 2.0, -2.0, 0.5, -0.5, 3.0, -0.0)


def floats_of(
    dtype: Any = "float32",
    *,
    min_value: float | None = None,
    max_value: float | None = None,
    allow_nan: bool = False,
    allow_infinity: bool = False,
) -> SearchStrategy[float]:
    """Floats that a dtype has, its edges often: both zeros, subnormals, the largest, next to 1.

    Args:
      dtype: "float16", "bfloat16", "float32" or "float64".
      min_value: the least, itself one of the dtype; without it, minus the largest number.
      max_value: the greatest, likewise.
      allow_nan: NaN too.
      allow_infinity: both infinities too, where no bound is given.

    Returns:
      A strategy of Python floats, each exactly one of the dtype.

    Raises:
      ValueError: the dtype is another, or does not have a bound.

    Example:
      >>> from hypothesis import find
      >>> find(floats_of("bfloat16"), lambda x: x > 0)
      1.0
    """
    dtype = _floating("floats_of", dtype)
    info = jnp.finfo(dtype)
    largest, tiny, eps = float(info.max), float(info.tiny), float(info.eps)
    low = -largest if min_value is None else min_value
    high = largest if max_value is None else max_value
    for bound in (low, high):
        if _rounded(bound, dtype) != bound:
            raise ValueError(
                f"floats_of: expected bounds that {dtype} has, got {bound}: round it to one"
            )
    edges = [float(info.smallest_subnormal), tiny, eps, 1 + eps, 1 - eps / 2, largest**0.5, largest]
    edges += [float(np.log(largest)), float(-np.log(tiny)), 6.0, 20.0, 40.0, 100.0]
    known = [*_ROUND, *(_rounded(sign * x, dtype) for x in edges for sign in (1, -1))]
    inside = [x for x in known if low <= x <= high and (low < 0 or not np.signbit(x))]
    width = 32 if dtype == jnp.bfloat16 else 8 * dtype.itemsize
    drawn = st.floats(low, high, width=width)  # type: ignore[arg-type]
    drawn = drawn.map(lambda x: _rounded(x, dtype))
    others = [np.nan] * allow_nan
    if allow_infinity:
        others += [np.inf] * (max_value is None) + [-np.inf] * (min_value is None)
    chosen = st.sampled_from([*inside, *others]) if inside or others else st.nothing()
    return chosen | drawn


def shapes(min_dims: int = 0, max_dims: int = 3, max_side: int = 4) -> Any:
    """Shapes, sizes 0 and 1 among them.

    Args:
      min_dims: the fewest axes.
      max_dims: the most axes.
      max_side: the longest axis.

    Returns:
      A strategy of tuples.

    Example:
      >>> from hypothesis import find
      >>> find(shapes(), lambda s: len(s) == 2)
      (0, 0)
    """
    return hnp.array_shapes(min_dims=min_dims, max_dims=max_dims, min_side=0, max_side=max_side)


def arrays(
    shape: Any,
    dtype: Any = "float32",
    domain: str = "real",
    *,
    low: float | None = None,
    high: float | None = None,
) -> Arrays:
    """Floating arrays of a domain.

    Args:
      shape: a tuple, or a strategy of tuples such as `shapes()`.
      dtype: "float16", "bfloat16", "float32" or "float64".
      domain: as `Spec` has it, but for integers: "real", "positive", "negative", "unit",
        "interval", "simplex", "onehot", "sorted", "definite" and others.
      low: the least entry, of an interval, a sorted or a symmetric array.
      high: the greatest, likewise.

    Returns:
      A strategy of NumPy arrays.

    Raises:
      ValueError: there is no such dtype or domain, or no array of that shape is in the domain.

    Example:
      >>> from hypothesis import find
      >>> p = find(arrays((3,), domain="simplex"), lambda p: p[0] == 0.5)
      >>> float(p.sum())
      1.0
    """
    dtype = _floating("arrays", dtype)
    if domain not in _DOMAINS:
        raise ValueError(
            f"arrays: expected a domain of {', '.join(_DOMAINS)}, got {domain!r}: integers() makes "
            "integers, arguments() what a Spec says"
        )
    if isinstance(shape, SearchStrategy):
        return shape.flatmap(lambda s: arrays(s, dtype, domain, low=low, high=high))
    return _DOMAINS[domain](Spec(shape, domain, dtype=dtype.name, low=low, high=high))


def ties(shape: tuple[int, ...], dtype: Any = "float32", values: int = 3) -> Arrays:
    """Arrays in which values are repeated.

    Args:
      shape: of the array.
      dtype: of the array, floating.
      values: at most so many different ones.

    Returns:
      A strategy of NumPy arrays.

    Example:
      >>> from hypothesis import find
      >>> x = find(ties((3,), values=2), lambda x: x[0] > x[1])
      >>> bool(x[2] in x[:2])
      True
    """
    dtype = _floating("ties", dtype)
    pool = st.lists(floats_of(dtype), min_size=1, max_size=values)
    return pool.flatmap(lambda found: _filled(shape, dtype, st.sampled_from(found)))


def integers(shape: tuple[int, ...], below: int, dtype: Any = "int32") -> Arrays:
    """Integers from 0 to below - 1, such as class labels and indices.

    Args:
      shape: of the array.
      below: the number of classes.
      dtype: of integers or booleans.

    Returns:
      A strategy of NumPy arrays.

    Example:
      >>> from hypothesis import find
      >>> find(integers((2,), 5), lambda x: x[0] < x[1])
      array([0, 1], dtype=int32)
    """
    whole = st.integers(0, max(below, 1) - 1)
    return hnp.arrays(np.int64, shape, elements=whole).map(lambda x: x.astype(dtype))


def labels(
    shape: tuple[int, ...], classes: int, kind: str = "integer", dtype: Any = "float32"
) -> Arrays:
    """Labels of classes.

    Args:
      shape: of the batch, () for one example.
      classes: how many, at least one.
      kind: "integer", and with a last axis of the classes "onehot", "soft" (they sum to one) or
        "unnormalised" (they sum to anything).
      dtype: of all but integers.

    Returns:
      A strategy of NumPy arrays: int32 of that shape, or floating with one axis more.

    Raises:
      ValueError: there is no such kind, or no class.

    Example:
      >>> from hypothesis import find
      >>> find(labels((), 3, "onehot"), lambda y: y[2] == 1)
      array([0., 0., 1.], dtype=float32)
    """
    domains = {"onehot": "onehot", "soft": "simplex", "unnormalised": "weights"}
    if kind not in ("integer", *domains):
        raise ValueError(
            f"labels: expected the kind integer, {', '.join(domains)}, got {kind!r}: choose one"
        )
    if classes < 1:
        raise ValueError(f"labels: expected at least one class, got {classes}: pass classes=2")
    if kind == "integer":
        return integers(shape, classes)
    return arrays((*shape, classes), dtype, domains[kind])


@st.composite
def repeated_indices(
    draw: Callable[..., Any], shape: tuple[int, ...], below: int, dtype: Any = "int32"
) -> Any:
    """Indices of which one at least is there twice, where there are two.

    Args:
      draw: given by Hypothesis.
      shape: of the array.
      below: the length of what is indexed.
      dtype: of the indices.

    Returns:
      A strategy of NumPy arrays.

    Example:
      >>> from hypothesis import find
      >>> x = find(repeated_indices((2,), 9), lambda x: x[0] > 1)
      >>> bool(x[0] == x[1])
      True
    """
    x = draw(integers(shape, below, dtype))
    if x.size > 1:
        first = draw(st.integers(0, x.size - 2))
        x.flat[draw(st.integers(first + 1, x.size - 1))] = x.flat[first]
    return x


def cotangents(value: Any) -> SearchStrategy[Any]:
    """Cotangents of a value: round numbers, not all ones, which would hide what a mean hides.

    Args:
      value: a pytree of arrays, or of what `jax.eval_shape` gives.

    Returns:
      A strategy of the same trees: arrays of the same shapes and dtypes, float0 for integers.

    Example:
      >>> from hypothesis import find
      >>> dy = find(cotangents(np.zeros(2, np.float32)), lambda dy: dy[0] < 0)
      >>> dy.shape, dy.dtype.name
      ((2,), 'float32')
    """
    simple = st.sampled_from((1.0, 2.0, -1.0, -2.0, 3.0, 0.0))
    number = simple | st.integers(-64, 64).map(lambda n: n / 8)

    def of_leaf(x: Any) -> SearchStrategy[Any]:
        dtype = jnp.result_type(x)
        if not is_floating(dtype):
            return st.just(np.zeros(jnp.shape(x), jax.dtypes.float0))
        return _filled(jnp.shape(x), dtype, number)

    return _tree(value, of_leaf)


def arguments(*specs: Any, dtype: Any = "float32") -> SearchStrategy[tuple]:
    """The arguments of a function, as `Spec`s say.

    Args:
      *specs: `Spec`s, or pytrees of them; anything else in them stays as it is.
      dtype: of the floating ones that say none.

    Returns:
      A strategy of tuples, one entry an argument.

    Example:
      >>> from hypothesis import find
      >>> x, i = find(arguments(Spec((2,)), Spec((), "integers", below=9)), lambda a: a[1] > 3)
      >>> x.shape, 3 < int(i) < 9
      ((2,), True)
    """

    def of_leaf(spec: Any) -> SearchStrategy[Any]:
        match spec:
            case Spec(domain="none"):
                return st.none()
            case Spec(domain="static"):
                return st.just(spec.value)
            case Spec(domain="key"):
                return _keys(spec)
            case Spec(domain="permutation"):
                return _whole(spec.shape, 0, 2 * spec.shape[-1], spec.kind).map(_order)
            case Spec(domain="counts" | "offsets"):
                return _groups(spec)
            case Spec(domain="mask"):
                return hnp.arrays(bool, spec.shape).map(_some_in_each_row)
            case Spec(domain="integers"):
                return _integers(spec)
            case Spec() if spec.floating.kind == "c":
                return _complex(spec)
            case Spec():
                floating = _floating("arguments", spec.dtype or dtype)
                return _DOMAINS[spec.domain](replace(spec, dtype=floating.name))
        return st.just(spec)

    return _tree(specs, of_leaf)


def threshold_points(function: Any, *specs: Any) -> SearchStrategy[tuple]:
    """Arguments on, just below and just above each place where a function compares.

    The function is traced, and so are its definition and its gradient; what they compare, select,
    clamp and round is watched along lines through the space of inputs, and where results become 0
    or overflow.

    Args:
      function: a function in jax.numpy, or what `check` judges: a Rule, a custom_vjp or custom_jvp
        function or a pair (fwd, bwd).
      *specs: of its arguments, as `check` takes them.

    Returns:
      A strategy of tuples, one entry an argument, floating arrays in float64, which tells the
      neighbours of a threshold apart: use them under jax.enable_x64. Where nothing is found, it
      is `arguments(*specs, dtype="float64")`.

    Example:
      >>> from hypothesis import find
      >>> x, = find(threshold_points(lambda x: jnp.clip(x, -1, 2), Spec()), lambda a: a[0] > 1)
      >>> bool(abs(x - 2) < 1e-6)
      True
    """

    def points() -> SearchStrategy[tuple]:
        with jax.enable_x64(True), jax.numpy_dtype_promotion("standard"), np.errstate(all="ignore"):
            problem = problem_of(*_subject_and_definition(function), in_dtype(specs, "float64"))
            n = len(problem.parts)
            found = {b"".join(x.tobytes() for x in p[:n]): p[:n] for p in problem.thresholds}
        if not found:
            return arguments(*specs, dtype="float64")
        simple = sorted(found.values(), key=lambda p: sum(len(repr(x.tolist())) for x in p))
        return st.sampled_from(simple).map(lambda p: problem.arguments(list(map(np.array, p))))

    return st.deferred(points)  # traced with the first example, not where the test is defined


def _subject_and_definition(function: Any) -> tuple[Subject, Callable[..., Any]]:
    subject = subject_of(function)
    definition = definition_of(function) if isinstance(function, Rule) else subject.definition
    return subject, definition or subject.forward


def _tree(tree: Any, of_leaf: Callable[[Any], SearchStrategy[Any]]) -> SearchStrategy[Any]:
    leaves, form = jax.tree.flatten(tree)
    return st.tuples(*map(of_leaf, leaves)).map(form.unflatten)


def _floating(caller: str, dtype: Any) -> np.dtype:
    name = getattr(dtype, "__name__", None) or str(dtype)
    if name not in _FLOATS:
        raise ValueError(f"{caller}: expected a dtype of {', '.join(_FLOATS)}, got {name}: use one")
    return jnp.dtype(name)


def _rounded(x: float, dtype: np.dtype) -> float:
    with np.errstate(over="ignore"):
        return float(np.asarray(x, np.float64).astype(dtype))


# The arrays of each domain


def _filled(shape: Sequence[int], dtype: np.dtype, elements: SearchStrategy[float]) -> Arrays:
    """An array of such elements; NumPy itself has no bfloat16."""
    drawn = np.dtype(np.float32) if dtype == jnp.bfloat16 else dtype
    return hnp.arrays(drawn, tuple(shape), elements=elements).map(lambda x: x.astype(dtype))


def _whole(
    shape: Sequence[int], low: int, high: int, dtype: Any = np.int64, unique: bool = False
) -> Arrays:
    drawn = hnp.arrays(np.int64, tuple(shape), elements=st.integers(low, high), unique=unique)
    return drawn.map(lambda x: x.astype(dtype))


def _order(x: np.ndarray) -> np.ndarray:
    return np.argsort(x, axis=-1, kind="stable").astype(x.dtype)


def _some_in_each_row(x: np.ndarray) -> np.ndarray:
    x[..., 0] |= ~x.any(axis=-1)
    return x


def _groups(spec: Spec) -> SearchStrategy[Any]:
    """Offsets of groups, or the counts between them."""
    cuts = spec.shape[-1] + (1 if spec.domain == "counts" else 0)
    drawn = _whole((*spec.shape[:-1], cuts), 0, spec.below - 1)
    return drawn.map(lambda x: grouped(spec, x).astype(spec.kind))


def _keys(spec: Spec) -> SearchStrategy[Any]:
    if spec.value is not None:
        return st.just(spec.value)
    keys = st.integers(0, 2**31 - 1).map(jax.random.key)
    return keys.map(lambda key: jax.random.split(key, spec.shape)) if spec.shape else keys


def _integers(spec: Spec) -> Arrays:
    low, below = spec.range
    whole = st.integers(low, below - 1) if below > low else st.nothing()
    further = st.sampled_from(spec.values) if spec.values else st.nothing()
    dtype = np.uint64 if below > 2**63 else np.int64
    drawn = hnp.arrays(dtype, spec.shape, elements=whole | further, unique=spec.distinct)
    return drawn.map(lambda x: x.astype(jnp.dtype(spec.kind)))


def _complex(spec: Spec) -> Arrays:
    part = np.dtype(f"float{4 * spec.floating.itemsize}")
    numbers = st.tuples(floats_of(part), floats_of(part)).map(lambda parts: complex(*parts))
    if spec.domain == "nonzero":
        numbers = numbers.filter(lambda z: z != 0)
    return hnp.arrays(spec.floating, spec.shape, elements=numbers)


def _real(spec: Spec) -> Arrays:
    return _filled(spec.shape, spec.floating, floats_of(spec.floating)) | ties(
        spec.shape, spec.floating.name
    )


def _between(spec: Spec) -> Arrays:
    """Each entry for itself between the ends of the domain."""
    low, high = spec.ends
    inside = floats_of(spec.floating, min_value=low, max_value=high)
    return _filled(spec.shape, spec.floating, inside)


def _nonzero(spec: Spec) -> Arrays:
    elements = floats_of(spec.floating).filter(lambda x: x != 0)
    return _filled(spec.shape, spec.floating, elements)


def _binary(spec: Spec) -> Arrays:
    return _filled(spec.shape, spec.floating, st.sampled_from((0.0, 1.0)))


def _labels(spec: Spec) -> Arrays:
    return _binary(spec) | _between(spec)


def _simplex(spec: Spec) -> Arrays:
    return _distribution(spec).map(lambda x: x.astype(spec.floating))


def _logsimplex(spec: Spec) -> Arrays:
    return _distribution(spec).map(lambda x: np.log(x).astype(spec.floating))


def _distribution(spec: Spec) -> Arrays:
    powers = _whole(spec.shape, 0, 12).map(lambda k: 2.0**-k)
    return powers.map(lambda x: x / x.sum(-1, keepdims=True))


def _weights(spec: Spec) -> Arrays:
    any_sum = floats_of(spec.floating, min_value=0.0, max_value=3.0)
    return _onehot(spec) | _simplex(spec) | _filled(spec.shape, spec.floating, any_sum)


def _onehot(spec: Spec) -> Arrays:
    one = np.eye(spec.shape[-1]).astype(spec.floating)
    return _whole(spec.shape[:-1], 0, spec.shape[-1] - 1).map(lambda k: one[k])


def _sorted(spec: Spec) -> Arrays:
    if spec.low is None and spec.high is None:
        return _distinct(spec).map(lambda x: np.sort(x, axis=-1))
    low, high = spec.ends
    inside = floats_of(spec.floating, min_value=low, max_value=high).map(lambda x: x + 0.0)
    # a set of as many numbers, in order, for each row
    rows = int(np.prod(spec.shape[:-1]))
    row = st.lists(inside, min_size=spec.shape[-1], max_size=spec.shape[-1], unique=True)
    return st.lists(row.map(sorted), min_size=rows, max_size=rows).map(
        lambda x: np.array(x).reshape(spec.shape).astype(spec.floating)
    )


def _distinct(spec: Spec) -> Arrays:
    """Whole numbers that the dtype keeps apart, times a power of two."""
    most = max(128, 2 * int(np.prod(spec.shape)))
    most = min(2 ** (jnp.finfo(spec.floating).nmant + 1), most)
    return st.tuples(
        _whole(spec.shape, -most, most, unique=True), st.sampled_from((1.0, 1 / 32, 32.0))
    ).map(lambda drawn: (drawn[0] * drawn[1]).astype(spec.floating))


def _symmetric(spec: Spec) -> Arrays:
    """Of the lower triangle alone."""
    return _between(spec).map(
        lambda x: np.where(np.tri(x.shape[-1]) > 0, x, np.swapaxes(x, -1, -2))
    )


def _definite(spec: Spec) -> Arrays:
    """L Lᵀ of a unit lower triangle, its rows and columns scaled alike by powers of two."""
    shape, n = spec.shape, spec.shape[-1]

    def product(drawn: tuple) -> np.ndarray:
        lower = np.tril(drawn[0], -1) + np.eye(n)
        lower = lower * 2.0 ** drawn[1][..., None]
        return (lower @ np.swapaxes(lower, -1, -2)).astype(spec.floating)

    return st.tuples(_whole(shape, -2, 2), _whole(shape[:-1], -3, 3)).map(product)


_DOMAINS: dict[str, Callable[[Spec], Arrays]] = {
    "real": _real,
    **dict.fromkeys(
        ("positive", "negative", "nonnegative", "nonpositive", "unit", "probability", "interval"),
        _between,
    ),
    "nonzero": _nonzero,
    "labels": _labels,
    "binary": _binary,
    "simplex": _simplex,
    "logsimplex": _logsimplex,
    "weights": _weights,
    "onehot": _onehot,
    "sorted": _sorted,
    "distinct": _distinct,
    "symmetric": _symmetric,
    "definite": _definite,
}
