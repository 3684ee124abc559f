"""The public strategies: what they give is what they say, the edges are met, and they shrink."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import find, given, settings
from hypothesis import strategies as st

import manualbp
from manualbp import cli
from manualbp.verify import Spec, check, strategies
from manualbp.verify.ask.domains import DOMAINS, STYLES, draw
from manualbp.verify.ask.problem import Problem
from manualbp.verify.ask.subject import subject_of
from manualbp.verify.ask.targets import arguments

DTYPES = ("float16", "bfloat16", "float32", "float64")


def wide(x):
    return np.asarray(x, np.float64)


def is_definite(x):
    return np.array_equal(x, np.swapaxes(x, -1, -2)) and np.all(np.linalg.eigvalsh(x) > 0)


IN = {
    "real": lambda x: True,
    "positive": lambda x: np.all(x > 0),
    "negative": lambda x: np.all(x < 0),
    "nonnegative": lambda x: np.all(x >= 0),
    "nonpositive": lambda x: np.all(x <= 0),
    "binary": lambda x: np.all((x == 0) | (x == 1)),
    "interval": lambda x: np.all((x >= -0.5) & (x <= 3)),
    "logsimplex": lambda x: np.all(x <= 0) and np.allclose(np.exp(x).sum(-1), 1, atol=0.05),
    "distinct": lambda x: np.unique(x).size == x.size,
    "symmetric": lambda x: np.array_equal(x, np.swapaxes(x, -1, -2)),
    "nonzero": lambda x: np.all(x != 0),
    "unit": lambda x: np.all((x > 0) & (x < 1)),
    "probability": lambda x: np.all((x >= 0) & (x <= 1)),
    "labels": lambda x: np.all((x >= 0) & (x <= 1)),
    "simplex": lambda x: np.all(x > 0) and np.allclose(x.sum(-1), 1, atol=0.02),
    "weights": lambda x: np.all(x >= 0),
    "onehot": lambda x: np.all((x == 0) | (x == 1)) and np.all(x.sum(-1) == 1),
    "sorted": lambda x: np.all(np.diff(x) > 0),
    "definite": is_definite,
}


def test_every_domain_has_its_strategy():
    assert set(IN) == set(DOMAINS) == set(strategies._DOMAINS)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("domain", IN)
def test_arrays_lie_in_their_domain_and_in_the_range_of_their_dtype(domain, dtype):
    bounds = {"low": -0.5, "high": 3} if domain == "interval" else {}

    @given(strategies.arrays((2, 3, 3), dtype, domain, **bounds))
    @settings(max_examples=25)
    def holds(x):
        assert (x.shape, x.dtype) == ((2, 3, 3), jnp.dtype(dtype))
        assert np.all(np.isfinite(wide(x)))
        assert IN[domain](wide(x))

    holds()


@pytest.mark.parametrize("domain", ["sorted", "symmetric"])
def test_sorted_and_symmetric_arrays_keep_to_their_bounds(domain):
    @given(strategies.arrays((3, 3), "bfloat16", domain, low=0, high=0.95))
    @settings(max_examples=25)
    def holds(x):
        assert IN[domain](wide(x))
        assert np.all((wide(x) >= 0) & (wide(x) <= 0.95))

    holds()


@pytest.mark.parametrize("domain", ["nonzero", "probability", "onehot", "sorted", "definite"])
@pytest.mark.parametrize("shape", [(1, 1), (3, 3), (2, 4, 4)])
def test_what_the_judge_draws_lies_in_the_domain(domain, shape):
    rng = np.random.default_rng(0)
    spec = Spec(shape, domain)
    for style in STYLES:
        x = draw(spec, rng, style, 50)
        assert all(IN[domain](p) and spec.contains(p) for p in x), style
        assert np.array_equal(x, x.astype(np.float32))
    if shape != (1, 1) or domain != "sorted":
        assert not spec.contains(np.full(shape, 2.0 if domain == "probability" else 0.0))


@pytest.mark.parametrize(
    ("shape", "domain", "message"),
    [
        ((3,), "backwards", "Spec: expected a domain of real, positive, negative"),
        ([3], "real", r"Spec: expected the shape as a tuple, got \[3\]: write Spec\(\(3,\)\)"),
        ((), "sorted", r"Spec: expected at least one axis for sorted, got shape \(\): it is"),
        ((2, 0), "onehot", r"Spec: expected at least one class for onehot, got shape \(2, 0\)"),
        ((3,), "definite", r"Spec: expected square matrices \(..., n, n\) for definite, got shape"),
    ],
)
def test_a_domain_that_cannot_be_is_refused(shape, domain, message):
    with pytest.raises(ValueError, match=message):
        Spec(shape, domain)


def test_the_command_line_knows_the_domains(capsys):
    given = "f32[3,3]:definite, f32[4]:sorted, f32[2]:onehot, f32[]:nonzero, f32[2]:probability"
    domains = [spec.domain for spec in arguments(given)]
    assert domains == ["definite", "sorted", "onehot", "nonzero", "probability"]
    assert cli.main(["check", "math:sin", "--args", "f32[2,3]:definite"]) == cli.USAGE
    assert capsys.readouterr().err.startswith("manualbp: Spec: expected square matrices")


def test_the_search_stays_in_a_domain_with_a_structure():
    """Thresholds of a comparison between entries, and a counterexample: neither leaves it."""

    def area(a, x):
        return jnp.where(a[0, 0] > a[1, 1], a[0, 0], a[1, 1]) * jnp.maximum(x, 0)

    def bwd(saved, dy):
        return jax.vjp(area, *saved)[1](2 * dy)

    specs = (Spec((2, 2), "definite"), Spec((), "nonzero"))
    pair = (lambda *args: (area(*args), args), bwd)
    with jax.enable_x64(True):
        points = Problem(subject_of(pair), area, specs).thresholds
    assert points
    for a, x, _ in points:
        assert is_definite(a)
        assert x != 0
    report = check(pair, *specs, definition=area, level="quick")
    assert report.verdict == "FAIL"
    a, x = report.counterexample.args
    assert is_definite(a)
    assert x != 0


@pytest.mark.parametrize("dtype", DTYPES)
def test_floats_meet_their_edges(dtype):
    info = jnp.finfo(dtype)
    floats = strategies.floats_of(dtype, allow_nan=True, allow_infinity=True)
    for condition in (
        lambda x: x == 0 and np.signbit(x),
        lambda x: x == float(info.smallest_subnormal),
        lambda x: x == -float(info.max),
        lambda x: x == 1 + float(info.eps),
        np.isnan,
        lambda x: x == -np.inf,
    ):
        find(floats, condition)

    @given(strategies.floats_of(dtype, min_value=0.5))
    def fits(x):
        assert x >= 0.5
        assert float(np.asarray(x).astype(jnp.dtype(dtype))) == x

    fits()


def test_strategies_shrink_to_simple_values():
    def anything(x):
        return True

    simple = {
        "real": np.zeros(2), "positive": np.ones(2), "simplex": np.full(2, 0.5),
        "onehot": np.array([1.0, 0.0]), "sorted": np.array([0.0, 1.0]),
    }  # fmt: skip
    for domain, expected in simple.items():
        assert np.array_equal(find(strategies.arrays((2,), domain=domain), anything), expected)
    assert np.array_equal(find(strategies.arrays((2, 2), domain="definite"), anything), np.eye(2))


@given(st.data())
def test_indices_ties_labels_and_cotangents(data):
    indices = data.draw(strategies.repeated_indices((4,), 50))
    assert len(set(indices.tolist())) < 4
    assert len(set(data.draw(strategies.ties((5,), values=2)).tolist())) <= 2
    for kind, shape in (("integer", (3,)), ("onehot", (3, 4)), ("unnormalised", (3, 4))):
        y = data.draw(strategies.labels((3,), 4, kind))
        assert y.shape == shape
        assert np.all(y < 4)
    value = {"y": jax.ShapeDtypeStruct((2,), jnp.bfloat16), "n": np.zeros(3, np.int32)}
    dy = data.draw(strategies.cotangents(value))
    assert (dy["y"].shape, dy["y"].dtype) == ((2,), jnp.bfloat16)
    assert (dy["n"].shape, dy["n"].dtype) == ((3,), jax.dtypes.float0)


def test_shapes_have_sizes_0_and_1():
    find(strategies.shapes(), lambda s: 0 in s and 1 in s)
    find(strategies.arrays(strategies.shapes(), domain="nonzero"), lambda x: x.size == 0)


OF_EVERY_KIND = (
    Spec((3,), "integers", below=2),
    Spec((6,), "integers", below=9, low=2, values=(-100,), distinct=True),
    Spec((2, 3), "permutation", kind="uint8"),
    Spec((2, 3), "mask", kind="bool"),
    Spec((2, 3), "counts", below=9),
    Spec((4,), "offsets", below=9, kind="int64"),
    Spec((2,), "nonzero", dtype="complex64"),
    Spec((2,), "interval", dtype="bfloat16", low=0, high=0.95),
)


@given(
    strategies.arguments(
        (Spec((2,), "unit"), None), Spec((), "key"), Spec((3,), "key"), *OF_EVERY_KIND
    )
)
def test_arguments_of_every_kind(args):
    (x, nothing), key, keys, *others = args
    assert (x.shape, x.dtype, nothing) == ((2,), np.float32, None)
    assert jnp.issubdtype(key.dtype, jax.dtypes.prng_key)
    assert keys.shape == (3,)
    for x, spec in zip(others, OF_EVERY_KIND, strict=True):
        assert (x.shape, x.dtype) == (spec.shape, spec.kind if spec.integral else spec.floating)
        assert spec.contains(x)


@pytest.mark.parametrize(
    "function",
    [
        lambda x: jnp.clip(x, -1, 2),
        (lambda x: (jnp.clip(x, -1, 2), x), lambda x, dy: (jnp.where(x < 2, dy, 0),)),
    ],
    ids=["function", "pair"],
)
def test_threshold_points_lie_on_and_on_both_sides(function):
    points = strategies.threshold_points(function, Spec())
    for x in (2.0, np.nextafter(2, 0), np.nextafter(2, 3), -1.0, np.nextafter(-1, -2)):
        (found,) = find(points, lambda a, x=x: a[0] == x)
        assert found.dtype == np.float64


def test_threshold_points_of_rules_and_of_functions_without_any():
    find(strategies.threshold_points(manualbp.relu, Spec((2,))), lambda a: np.all(a[0] == 0))
    nothing = strategies.threshold_points(lambda x: 0 * x + 1, Spec((2,)))
    (found,) = find(nothing, lambda a: a[0][0] > 3)
    assert found.dtype == np.float64


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: strategies.floats_of("int8"), "floats_of: expected a dtype of float16, bfloat16"),
        (
            lambda: strategies.floats_of("float16", max_value=0.1),
            "bounds that float16 has, got 0.1",
        ),
        (lambda: strategies.arrays((2,), domain="integers"), "arrays: expected a domain of real"),
        (lambda: strategies.arrays((2, 3), domain="definite"), "Spec: expected square matrices"),
        (lambda: strategies.labels((2,), 0), "labels: expected at least one class, got 0"),
        (lambda: strategies.labels((2,), 3, "hard"), "labels: expected the kind integer, onehot"),
    ],
)
def test_what_there_is_not_is_refused_in_one_line(make, message):
    with pytest.raises(ValueError, match=message) as raised:
        make()
    assert "\n" not in str(raised.value)
