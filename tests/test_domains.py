"""What is asked about: every domain is drawn, told, moved in, inferred and put into words."""

import json
from dataclasses import asdict, replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from manualbp.verify.ask.domains import (
    DOMAINS,
    STYLES,
    Spec,
    describe,
    draw,
    draw_styles,
    infer,
    spec_of,
)
from manualbp.verify.ask.points import of_ranks, ranks

DTYPES = ("float16", "bfloat16", "float32", "float64")
BOUNDED = ("interval", "sorted", "symmetric")
SHAPES = [(), (1,), (4,), (0,), (2, 3), (3, 3), (2, 9, 9), (0, 2, 2), (2, 0), (40,)]
BOUNDS = [(0, None), (None, 0), (-1, 1), (0, 0.95), (1e-30, None), (2.5, 7), (None, -0.3)]


@st.composite
def floating_specs(draw_one):
    """Any floating specification that there is."""
    domain = draw_one(st.sampled_from(list(DOMAINS)))
    low, high = draw_one(st.sampled_from(BOUNDS)) if domain in BOUNDED else (None, None)
    if domain in BOUNDED[1:] and draw_one(st.booleans()):
        low = high = None
    shape, dtype = draw_one(st.sampled_from(SHAPES)), draw_one(st.sampled_from(DTYPES))
    try:
        return Spec(shape, domain, dtype=dtype, low=low, high=high)
    except ValueError:  # no such array
        return Spec(shape, dtype=dtype)


@st.composite
def integral_specs(draw_one):
    shape = draw_one(st.sampled_from([s for s in SHAPES if np.prod(s) < 30]))
    kind = draw_one(st.sampled_from(["int32", "int8", "uint8", "int64", "uint32"]))
    if shape and draw_one(st.booleans()):
        domain = draw_one(st.sampled_from(["permutation", "counts", "offsets", "mask"]))
        if domain == "mask" and shape[-1]:
            return Spec(shape, "mask", kind="bool")
        if domain == "offsets" and shape[-1] < 2:
            domain = "counts"
        if domain in ("counts", "offsets") and shape[-1]:
            return Spec(shape, domain, draw_one(st.integers(1, 100)), kind)
        return Spec(shape, "permutation", kind=kind)
    signed = not kind.startswith("u")
    low = draw_one(st.sampled_from([None, -5])) if signed else None
    values = draw_one(st.sampled_from([(), (-100,), (-100, -7)])) if signed else ()
    distinct = draw_one(st.booleans())
    below = draw_one(st.integers(30 if distinct else 0, 100))
    return Spec(
        shape, "integers", below=below, kind=kind, low=low, values=values, distinct=distinct
    )


@given(floating_specs() | integral_specs(), st.sampled_from(STYLES), st.integers(0, 1000))
@settings(max_examples=600, deadline=None)
def test_all_that_is_drawn_is_in_its_domain_and_of_its_dtype(spec, style, seed):
    x = draw(spec, np.random.default_rng(seed), style, 3)
    assert x.shape == (3, *spec.shape)
    assert all(map(spec.contains, x)), (spec, x)
    if spec.integral:
        assert x.dtype == spec.kind
        return
    assert x.dtype == np.float64
    assert np.all(np.isfinite(x))
    assert np.array_equal(x, x.astype(spec.floating).astype(np.float64))
    for point in x:
        kept = spec.project(point)
        assert spec.contains(kept)
        assert np.allclose(kept, point, rtol=0.02, atol=0.02)  # as bfloat16 has it
    one = draw(spec, np.random.default_rng(seed), style)
    assert one.shape == spec.shape


@given(floating_specs())
@settings(max_examples=200, deadline=None)
def test_centres_are_in_their_domain(spec):
    centre = spec.centre()
    without = ("binary", "onehot", "distinct")
    assert (centre is None) == (spec.domain in without)
    if centre is not None and (spec.domain != "symmetric" or spec.low is spec.high):
        assert centre.shape == spec.shape
        assert spec.contains(centre), centre


@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize("dtype", ["complex64", "complex128"])
def test_complex_numbers_have_parts_of_their_own(dtype, style):
    for domain in ("real", "nonzero"):
        spec = Spec((4, 3), domain, dtype=dtype)
        z = draw(spec, np.random.default_rng(0), style, 20)
        assert z.dtype == np.complex128
        assert np.array_equal(z, z.astype(dtype))
        assert not np.array_equal(z.real, z.imag)
        assert all(map(spec.contains, z))
    assert not np.any(Spec((2,), dtype=dtype).centre())


def test_float16_numbers_are_mostly_moderate():
    x = draw_styles(Spec((50,), dtype="float16"), np.random.default_rng(0), 200)
    assert np.mean(np.abs(x) < 256) > 0.95


@pytest.mark.parametrize("dtype", DTYPES)
def test_places_of_numbers_count_them(dtype):
    dtype = jnp.dtype(dtype)
    tiny, eps = float(jnp.finfo(dtype).tiny), float(jnp.finfo(dtype).eps)
    x = np.array([-tiny, -0.0, 0.0, tiny / 2, tiny, 1.0, 1 + eps])
    places = ranks(x, dtype)
    assert places[:5].tolist() == [-1, 0, 0, 0, 1]
    assert places[6] - places[5] == 1
    assert of_ranks(places, dtype).tolist() == [-tiny, 0, 0, 0, tiny, 1, 1 + eps]


MEMBERS = [
    (Spec((2,), "negative"), [-1, -2], [-1, 0]),
    (Spec((2,), "nonnegative"), [0, 2], [-1, 0]),
    (Spec((2,), "nonpositive"), [0, -2], [1, 0]),
    (Spec((2,), "binary"), [0, 1], [0, 0.5]),
    (Spec((2,), "interval", low=-1, high=0.95), [-1, 0.95], [0, 1]),
    (Spec((2,), "interval", low=0.5), [0.5, 1e9], [0.4, 1]),
    (Spec((2,), "simplex"), [0.25, 0.75], [0.25, 0.5]),
    (Spec((2,), "logsimplex"), np.log([0.25, 0.75]), [-1, -1]),
    (Spec((2,), "distinct"), [1, 2], [2, 2]),
    (Spec((2,), "sorted", low=0), [0, 2], [-1, 2]),
    (Spec((2, 2), "symmetric"), [[1, 2], [2, 1]], [[1, 2], [3, 1]]),
    (Spec((2, 2), "definite"), [[2, 1], [1, 2]], [[1, 2], [2, 1]]),
    (Spec((2,), "integers", 5, values=(-100,)), [4, -100], [4, -1]),
    (Spec((2,), "integers", 5, low=-2), [4, -2], [4, -3]),
    (Spec((2,), "integers", 5, distinct=True), [4, 2], [4, 4]),
    (Spec((3,), "permutation"), [2, 0, 1], [2, 0, 0]),
    (Spec((2, 2), "mask", kind="bool"), [[True, False], [True, True]], [[True, True], [False] * 2]),
    (Spec((3,), "counts", 9), [5, 0, 3], [5, 1, 3]),
    (Spec((2,), "counts", 9), [5, 3], [9, -1]),
    (Spec((3,), "offsets", 9), [0, 2, 8], [0, 2, 7]),
    (Spec((3,), "offsets", 9), [0, 0, 8], [1, 1, 8]),
    (Spec((4,), "offsets", 9), [0, 3, 3, 8], [0, 4, 3, 8]),
]


@pytest.mark.parametrize(("spec", "inside", "outside"), MEMBERS, ids=str)
def test_members_are_told_from_others(spec, inside, outside):
    assert spec.contains(np.array(inside))
    assert not spec.contains(np.array(outside))


@pytest.mark.parametrize(
    ("spec", "moved", "expected"),
    [
        (Spec((3,), "sorted"), [3, 1, 2], [1, 2, 3]),
        (Spec((3,), "sorted", low=0), [3, -1, 2], [0, 2, 3]),
        (Spec((2,), "simplex"), [3, -1], [1, 0]),
        (Spec((2,), "simplex"), [-3, -1], [0.5, 0.5]),
        (Spec((2,), "logsimplex"), [5, 5], np.log([0.5, 0.5])),
        (Spec((2,), "interval", low=-1, high=1), [3, 0], [1, 0]),
        (Spec((2,), "interval", high=1), [3, -9], [1, -9]),
        (Spec((2, 2), "symmetric"), [[1, 4], [2, 1]], [[1, 3], [3, 1]]),
        (Spec((2, 2), "definite"), [[9, 4], [2, 9]], [[9, 3], [3, 9]]),
        (Spec((2,), "positive"), [-1, 2], [-1, 2]),
    ],
    ids=str,
)
def test_moved_arrays_come_back(spec, moved, expected):
    assert np.allclose(spec.project(np.array(moved, float)), expected)


def test_what_moves():
    unmoved = {d for d in DOMAINS if not _any(d).movable}
    assert unmoved == {"onehot", "binary"}
    others = (Spec((3,), "integers", 2), Spec((3,), "permutation"), Spec((), "key"))
    assert not any(s.movable for s in (*others, Spec((), "none"), Spec((), "static", value=1)))


def _any(domain):
    return Spec((2, 2), domain, low=0 if domain == "interval" else None)


@pytest.mark.parametrize(
    ("spec", "centre"),
    [
        (Spec((2,)), [0, 0]),
        (Spec((2,), "positive"), [1, 1]),
        (Spec((2,), "negative"), [-1, -1]),
        (Spec((2,), "unit"), [0.5, 0.5]),
        (Spec((4,), "simplex"), [0.25] * 4),
        (Spec((2, 2), "definite"), np.eye(2)),
        (Spec((2, 2), "symmetric"), np.eye(2)),
        (Spec((3,), "sorted"), [-1, 0, 1]),
        (Spec((3,), "sorted", low=0, high=4), [1, 2, 3]),
        (Spec((), "interval", low=0, high=0.5), 0.25),
    ],
    ids=str,
)
def test_centres(spec, centre):
    assert np.array_equal(spec.centre(), centre)


f32 = np.float32
LP = np.log(np.array([[0.2, 0.5, 0.3], [0.1, 0.1, 0.8]], f32))
TINY = float(np.finfo(f32).tiny)
BELOW_ONE = 1 - float(np.finfo(f32).epsneg)


def integers(shape, below, **options):
    return Spec(shape, "integers", below, "int32", **options)


def floats(shape, domain="real", **options):
    return Spec(shape, domain, **options)


INFERRED = [
    # each entry for itself
    (f32([1, 2, 3]), floats((3,), "positive"), "float32[3] > 0"),
    (f32([-1, -2, -0.5]), floats((3,), "negative"), "float32[3] < 0"),
    (f32([0, 2]), floats((2,), "nonnegative"), "float32[2] >= 0"),
    (f32([0, -2]), floats((2,), "nonpositive"), "float32[2] <= 0"),
    (f32([1, -2]), floats((2,)), "float32[2] real"),
    (f32([0.2, 0.5]), floats((2,), "unit"), "float32[2] between 0 and 1"),
    (f32([0, 0.5]), floats((2,), "probability"), "float32[2] in 0..1"),
    (f32([0, 1, 1]), floats((3,), "binary"), "float32[3] of 0 and 1"),
    (f32(0.8), floats((), "unit"), "float32[] between 0 and 1"),
    (f32(1), floats((), "positive"), "float32[] > 0"),
    (f32(0), floats(()), "float32[] real"),
    # equal numbers say nothing, nor does nothing
    (np.ones(3, f32), floats((3,)), "float32[3] real"),
    (np.zeros((2, 2), f32), floats((2, 2)), "float32[2,2] real"),
    (np.zeros((0, 2), f32), floats((0, 2)), "float32[0,2] real"),
    (np.full(4, 0.25, f32), floats((4,), "simplex"), "float32[4], rows sum to 1"),
    # rows
    (f32([0.2, 0.5, 0.3]), floats((3,), "simplex"), "float32[3], rows sum to 1"),
    (f32([1, 0, 0]), floats((3,), "onehot"), "float32[3], rows one-hot"),
    (f32([[1, 0], [1, 0]]), floats((2, 2), "onehot"), "float32[2,2], rows one-hot"),
    (f32([1, 0]), floats((2,), "binary"), "float32[2] of 0 and 1"),
    (np.eye(3, dtype=f32), floats((3, 3), "onehot"), "float32[3,3], rows one-hot"),
    (LP, floats((2, 3), "logsimplex"), "float32[2,3], exponentials of rows sum to 1"),
    (-f32([1, 2, 0.5]), floats((3,), "negative"), "float32[3] < 0"),
    (f32([-1, 0, 2, 9]), floats((4,), "sorted"), "float32[4] increasing"),
    (f32([1, 2, 4, 5]), floats((4,), "sorted", low=TINY), "float32[4] increasing, > 0"),
    (f32([0, 2, 4, 5]), floats((4,), "sorted", low=0), "float32[4] increasing, >= 0"),
    (
        f32([0.1, 0.2, 0.5, 0.9]),
        floats((4,), "sorted", low=TINY, high=BELOW_ONE),
        "float32[4] increasing, between 0 and 1",
    ),
    (f32([1, 2, 4]), floats((3,), "positive"), "float32[3] > 0"),
    # matrices
    (f32([[2, 1], [1, 2]]), floats((2, 2), "definite"), "float32[2,2] positive definite"),
    (f32([[1, -2], [-2, 1]]), floats((2, 2), "symmetric"), "float32[2,2] symmetric"),
    (
        f32([[0, 2], [2, 0]]),
        floats((2, 2), "symmetric", low=0),
        "float32[2,2] symmetric, >= 0",
    ),
    # what is not finite decides nothing
    (
        f32([1, np.inf, 2]),
        floats((3,), "positive", note="1 of the given entries not finite"),
        "float32[3] > 0 (1 of the given entries not finite)",
    ),
    # integers
    (np.int32([0, 1, 2]), integers((3,), 3), "int32[3] in 0..2"),
    (np.int32([0, -100, 4, 2]), integers((4,), 5, values=(-100,)), "int32[4] in 0..4 or -100"),
    (np.int32([-1, -1]), integers((2,), 0, values=(-1,)), "int32[2] in -1"),
    (np.int32(range(-5, 3)), integers((8,), 3, low=-5, distinct=True), None),
    (np.int32([2, 0, 3, 1]), Spec((4,), "permutation"), "int32[4] permutation"),
    (np.int32([[1, 0, 2], [0, 1, 2]]), Spec((2, 3), "permutation"), "int32[2,3] permutation"),
    (np.int32([3, 1, 3]), integers((3,), 4), "int32[3] in 0..3"),
    (
        np.int32([6, 1, 2, 4, 5, 3, 0, 8]),
        integers((8,), 9, distinct=True),
        "int32[8] in 0..8, all different",
    ),
    (np.int32([900, 17, 3, 100, 5, 77]), integers((6,), 901), "int32[6] in 0..900"),
    (np.zeros(0, np.int32), integers((0,), 1), "int32[0] in 0"),
    (np.array([True, False]), Spec((2,), "integers", 2, "bool"), "bool[2]"),
    (np.int32(3), integers((), 4), "int32[] in 0..3"),
    (np.uint8([255, 1]), Spec((2,), "integers", 256, "uint8"), "uint8[2] in 0..255"),
    (jnp.array([1, 7], jnp.int4), Spec((2,), "integers", 8, "int4"), "int4[2] in 0..7"),
    # plain Python
    (0.8, floats((), "positive", weak=True), "float > 0"),
    (0.0, floats((), weak=True), "float real"),
    (-1e-6, floats((), "negative", weak=True), "float < 0"),
    (1j, Spec((), dtype="complex64", weak=True), "complex real"),
    (3, Spec((), "static", value=3), "3"),
    (True, Spec((), "static", value=True), "True"),
    ("mean", Spec((), "static", value="mean"), "'mean'"),
    (None, Spec((), "none"), "None"),
    # what has no values
    (jax.ShapeDtypeStruct((2,), jnp.bfloat16), Spec((2,), dtype="bfloat16"), "bfloat16[2] real"),
    (jax.ShapeDtypeStruct((2,), np.int8), Spec((2,), "integers", 2, "int8"), "int8[2] in 0..1"),
    (jax.ShapeDtypeStruct((2,), bool), Spec((2,), "integers", 2, "bool"), "bool[2]"),
    (jnp.ones(2, jnp.complex64), Spec((2,), dtype="complex64"), "complex64[2] real"),
]


@pytest.mark.parametrize(("leaf", "spec", "words"), INFERRED, ids=lambda x: str(x)[:40])
def test_given_arguments_say_their_domain(leaf, spec, words):
    found = infer(leaf)
    assert found == spec
    assert (found.weak, found.note) == (spec.weak, spec.note)
    assert words is None or describe(found) == words
    if not isinstance(leaf, jax.ShapeDtypeStruct) and hasattr(leaf, "dtype") and not spec.note:
        assert found.contains(leaf)


@pytest.mark.parametrize("dtype", [*DTYPES, jnp.complex64])
def test_the_dtype_asked_about_is_that_of_the_array(dtype):
    x = np.array([1, 2]).astype(jnp.dtype(dtype))
    assert infer(x).floating == x.dtype


@given(floating_specs(), st.integers(0, 100))
@settings(max_examples=200, deadline=None)
def test_what_is_drawn_is_of_the_domain_that_it_says(spec, seed):
    x = draw(spec, np.random.default_rng(seed), "normal").astype(spec.floating)
    assert infer(x).contains(x)
    assert infer(x).floating == spec.floating


def test_keys_are_kept():
    for key in (jax.random.key(7), jax.random.split(jax.random.key(7), 3)):
        spec = infer(key)
        assert (spec.domain, spec.shape) == ("key", key.shape)
        assert draw(spec, np.random.default_rng(0), "normal") is key
        assert spec == infer(jnp.copy(key))
        assert hash(spec) == hash(infer(jnp.copy(key)))
    assert infer(jax.random.key(7)) != infer(jax.random.key(8))
    assert draw(Spec((3,), "key"), np.random.default_rng(0), "normal").shape == (3,)
    assert describe(Spec((3,), "key")) == "key[3]"


def test_values_that_are_equal_in_python_are_told_apart():
    values = (1, 1.0, True, np.ones(2), np.ones(2, f32), [1], "1")
    assert len({Spec((), "static", value=v) for v in values}) == len(values)
    assert Spec((), "static", value=np.ones(2)) == Spec((), "static", value=np.ones(2))


def test_a_specification_is_as_it_was():
    assert spec_of(Spec((3,))) == Spec((3,)) == Spec((3,), dtype="float32")
    assert Spec((3,)) != Spec((3,), dtype="bfloat16")
    assert Spec((3,), "integers", below=5) == Spec((3,), "integers", 5, "int32")
    assert replace(Spec((3,), "integers", 5), shape=(2,)) == Spec((2,), "integers", 5)
    assert repr(Spec((3,))) == "Spec((3,))"
    assert eval(repr(Spec((3,), "sorted", low=0.0))) == Spec((3,), "sorted", low=0)
    json.dumps([asdict(s) for s in (Spec((3,), "interval", low=0), Spec((3,), "integers", 5))])


@pytest.mark.parametrize(
    ("arguments", "options", "message"),
    [
        (((3,),), {"dtype": "float8"}, "Spec: expected a dtype of float32, float64, float16"),
        (
            ((3,), "positive"),
            {"dtype": "complex64"},
            "Spec: expected real or nonzero as the domain",
        ),
        (((3,), "unit"), {"low": 0}, "Spec: expected low and high for interval, sorted, symmetric"),
        (((3,), "interval"), {}, "Spec: expected low or high of an interval, got neither"),
        (((3,), "interval"), {"low": 1, "high": 0}, "Spec: expected numbers of float32 from low"),
        (
            ((3,), "interval"),
            {"low": 1.001, "high": 1.002, "dtype": "bfloat16"},
            "Spec: expected numbers of bfloat16 from low to high, got none from 1.001 to 1.002",
        ),
        (
            ((9,), "sorted"),
            {"low": 1, "high": 1.05, "dtype": "bfloat16"},
            r"Spec: expected as many different numbers of bfloat16 as shape \(9,\) has, got 7",
        ),
        (((3,), "real"), {"values": (1,)}, "Spec: expected values and distinct for integers alone"),
        (((3,), "integers", 5, "uint8"), {"values": (-1,)}, "Spec: expected integers that uint8"),
        (((3,), "integers", 5), {"values": (3,)}, r"Spec: expected further values outside 0..4"),
        (((6,), "integers", 5), {"distinct": True}, "Spec: expected as many different integers"),
        (((3,), "integers", 5, "float32"), {}, "Spec: expected a kind of int4, int8"),
        (((), "permutation"), {}, "Spec: expected at least one axis for permutation"),
        (((3,), "mask"), {}, "Spec: expected booleans of at least one column for mask, got int32"),
        (((3,), "counts"), {}, r"Spec: expected at least 1 entries and below, .*: write Spec"),
        (((1,), "offsets", 9), {}, r"Spec: expected at least 2 entries and below, .*: write Spec"),
        (((2, 3), "symmetric"), {}, "Spec: expected square matrices"),
    ],
)
def test_what_cannot_be_is_refused_in_one_line(arguments, options, message):
    with pytest.raises(ValueError, match=message) as raised:
        Spec(*arguments, **options)
    assert "\n" not in str(raised.value)
    assert ": " in str(raised.value).removeprefix("Spec: ")


def test_a_dtype_that_is_not_judged_is_refused():
    with pytest.raises(ValueError, match=r"check: expected arguments of float32, .* cast it"):
        infer(jnp.ones(3, jnp.float8_e4m3fn))


@pytest.mark.parametrize(
    ("given", "rows", "domain", "text"),
    [
        ([80, 48], {2, 128}, "counts", "int32[2], sum 128"),
        ([0, 80, 80, 128], {4, 128}, "offsets", "int32[4], rising from 0 to 128"),
        ([80, 48], {2, 64}, "integers", None),
        ([1, 2, 0, 1], {4}, "integers", None),  # labels of four rows
        ([0, 1, 2, 3], {4}, "integers", None),
    ],
)
def test_groups_of_rows_are_told_from_labels(given, rows, domain, text):
    spec = infer(np.int32(given), rows)
    assert spec.domain == domain
    assert text is None or describe(spec) == text
    assert spec.contains(np.int32(given))
