"""Errors at every float: what is known to be wrong is found, and nothing else."""

import errno
import json
import os
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import manualbp as bp
from manualbp._rule import elementwise
from manualbp.verify import accuracy
from manualbp.verify.floats import checkpoint as _checkpoint
from manualbp.verify.floats import sweep as _sweep
from manualbp.verify.floats import ulps as _ulps

pytestmark = pytest.mark.optimized
NAN, INFINITE, ABOVE = "NaN, truth is not", "infinite, truth is finite", "above 4 ULP"


def numbers(sweep):
    """All that two runs must agree in."""
    plain = sweep.to_dict()
    del plain["seconds"]
    return plain


@pytest.fixture(scope="module")
def sigmoid():
    return accuracy(bp.sigmoid, "float16")


def test_every_float16_of_a_good_rule(sigmoid):
    assert sigmoid.inputs == 2**16
    assert sigmoid.exhaustive
    assert sigmoid.truth == "float64 form"
    assert sigmoid.truth_ulps < 1e-6
    assert sigmoid.truth_points > 200
    assert not sigmoid.limits
    for part in sigmoid.parts:
        assert 0.4 < part.ulps < 0.51
        assert not part.findings
        assert len(part.curve) == 2**10
        assert max(ulps for _, ulps, _ in part.exponents) == np.float32(part.ulps)


def test_tails_of_jax_nn_sigmoid_are_lost():
    value, slope = accuracy(jax.nn.sigmoid, "float16", truth=bp.sigmoid).parts
    assert slope.ulps > 2000  # of 2048: every digit
    assert any(low < 10 < high for low, high in slope.findings[ABOVE].intervals)
    assert value.ulps < slope.ulps


def test_results_are_those_of_the_compiled_function():
    x = np.linspace(-20, 20, 2**12, dtype=np.float32)
    with jax.enable_x64(True):
        question = _sweep.Question([bp.tanh], _ulps.line_of("float32"))
        got = jax.jit(lambda x: question.got([x]))(x)

    def plain(z):
        y, saved = bp.tanh.fwd(z)
        return y, *bp.tanh.bwd(saved, jnp.ones_like(z))

    for mine, theirs in zip(got, jax.jit(plain)(x), strict=True):
        np.testing.assert_array_equal(mine, np.asarray(theirs, np.float64))


PLACE = float(np.float16(0.7))


def wrong_at_place(planted):
    return elementwise(
        "wrong",
        lambda z: jnp.where(z == PLACE, jnp.asarray(planted, z.dtype), z),
        jnp.ones_like,
        tex="",
        source="",
    )


@pytest.mark.parametrize(
    ("planted", "kind"), [(1.5, ABOVE), (float("nan"), NAN), (float("inf"), INFINITE)]
)
def test_one_wrong_float_is_found(planted, kind):
    wrong = wrong_at_place(planted)
    value, _ = accuracy(wrong, "float16", truth=bp.identity).parts
    found = value.findings[kind]
    assert found.count == 1
    assert found.first == (PLACE,)
    assert found.intervals == ((PLACE, PLACE),)
    np.testing.assert_equal((found.got, found.expected), (planted, PLACE))


@pytest.mark.parametrize(
    ("planted", "kind"), [(1.5, ABOVE), (float("nan"), NAN), (float("inf"), INFINITE)]
)
def test_one_wrong_float_among_a_block_of_all_float32_is_found(planted, kind):
    line = _ulps.line_of("float32")
    with jax.enable_x64(True), np.errstate(all="ignore"):
        question = _sweep.Question([wrong_at_place(planted)], line, truth=bp.identity)
        question.samples, question.exact_points = line.width, 100
        assert question.form_checked()[1] <= _sweep.GOOD
        there = line.place(PLACE) // line.width
        blocks = np.arange(there - 1, there + 3)
        look = _sweep.looker(question, len(blocks), _sweep.thorough(question, 1))
        _, count = look(blocks, [])
    value = count[_ulps.FINDINGS.index(kind), 0]
    assert value.tolist() == [0, 1, 0, 0]


def test_other_arguments_on_a_grid():
    sweep = accuracy(bp.prelu, "float16", others={"slope": (0.5, -2.0)})
    assert sweep.others == ((0.5,), (-2.0,))
    assert sweep.inputs == 2**17
    assert [part.name for part in sweep.parts] == ["value", "dslope", "dz"]


def test_limits_and_signs_of_zero():
    naive = elementwise(
        "naive",
        lambda z: jnp.where(z == 0, 0, z / (1 + jnp.abs(z))),
        lambda z: 1 / (1 + jnp.abs(z)) ** 2,
        tex="",
        source="",
    )
    sweep = accuracy(naive, "float16", definition=lambda z: z / (1 + jnp.abs(z)))
    assert any("value at inf: nan, the limit is 1" in line for line in sweep.limits)
    assert any("value at 0 and -0: 0.0, 0.0" in line for line in sweep.limits)


def test_where_the_form_is_bad_exact_arithmetic_is_the_truth():
    sweep = accuracy(
        lambda z: jnp.sqrt(1 + z) - 1, "bfloat16", exhaustive=False, domain=(1e-20, 1.0)
    )
    assert sweep.truth == "exact arithmetic"
    assert sweep.parts[0].ulps > 4


def test_float64_is_searched():
    _, slope = accuracy(jax.nn.sigmoid, "float64", truth=bp.sigmoid).parts
    assert slope.ulps > 1e15
    with pytest.raises(ValueError, match=r"exhaustive=False for float64.*2\^64"):
        accuracy(bp.sigmoid, "float64", exhaustive=True)


@pytest.mark.parametrize("name", ["binary_cross_entropy", "silu"])
def test_errors_are_those_of_a_second_look_at_everything(name, monkeypatch):
    """Outside a domain the first look is off by anything, and it has no largest terms."""

    def largest():
        parts = accuracy(getattr(bp, name), "float32").parts
        return [(part.ulps, part.term_ulps, part.term_at) for part in parts]

    found = largest()
    monkeypatch.setattr(_sweep, "looker", lambda asked, rows, again: again)
    assert found == largest()


def interrupted(monkeypatch, after):
    """Sweeps in 16 chunks that are interrupted so far on; nothing to interrupt if None."""
    chunk = _sweep.looker

    def broken(*args):
        run, steps = chunk(*args), iter(range(100))

        def step(*args):
            if next(steps) == after:
                raise KeyboardInterrupt
            return run(*args)

        return step

    monkeypatch.setattr(_sweep, "CHUNK", 2**12)
    monkeypatch.setattr(_sweep, "looker", broken)


def test_resumed_is_uninterrupted_and_finished_is_not_repeated(sigmoid, tmp_path, monkeypatch):
    file = tmp_path / "sigmoid.npz"
    with monkeypatch.context() as patch:
        interrupted(patch, 5)
        with pytest.raises(KeyboardInterrupt):
            accuracy(bp.sigmoid, "float16", checkpoint=file)
    with np.load(file) as kept:
        assert kept["['done']"] == 5
    with monkeypatch.context() as patch:
        interrupted(patch, 11)  # just what is left
        resumed = accuracy(bp.sigmoid, "float16", checkpoint=file)
    assert numbers(resumed) == numbers(sigmoid)
    with monkeypatch.context() as patch:
        interrupted(patch, 0)
        read = accuracy(bp.sigmoid, "float16", checkpoint=file)
        assert read.to_dict() == resumed.to_dict()
        np.testing.assert_array_equal(read.parts[1].curve, resumed.parts[1].curve)
        with pytest.raises(KeyboardInterrupt):
            accuracy(bp.sigmoid, "float16", checkpoint=file, again=True)


def test_a_checkpoint_of_something_else(tmp_path, monkeypatch):
    file = tmp_path / "identity.npz"
    accuracy(bp.identity, "float16", checkpoint=file)
    with pytest.raises(ValueError, match=r"^accuracy: expected a checkpoint with function absolut"):
        accuracy(bp.absolute, "float16", checkpoint=file)
    with pytest.raises(ValueError, match=r"^accuracy: expected a checkpoint with dtype bfloat16"):
        accuracy(bp.identity, "bfloat16", checkpoint=file)
    monkeypatch.setattr(bp, "__version__", "99")
    with pytest.raises(ValueError, match=r"with manualbp 99, got .*again=True to overwrite it$"):
        accuracy(bp.identity, "float16", checkpoint=file)
    file.write_text("not numbers")
    with pytest.raises(ValueError, match=r"got a file that is none: look at the path$"):
        accuracy(bp.identity, "float16", checkpoint=file)


def test_a_full_disk(tmp_path, monkeypatch):
    def full(*args):
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(_checkpoint, "save", full)
        with pytest.raises(OSError, match=r"^accuracy: .*got No space left on device: make room"):
            accuracy(bp.identity, "float16", checkpoint=tmp_path / "a.npz")
    # later on the work is not thrown away
    monkeypatch.setattr(_checkpoint.Checkpoint, "begin", lambda self, nothing: nothing)
    monkeypatch.setattr(_checkpoint, "save", full)
    with pytest.warns(UserWarning, match="No space left on device; what was there still is"):
        sweep = accuracy(bp.identity, "float16", checkpoint=tmp_path / "a.npz")
    assert sweep.inputs == 2**16


def test_two_devices_find_what_one_finds(sigmoid):
    program = (
        "import json, jax, manualbp; from manualbp.verify import accuracy;"
        "assert len(jax.devices()) == 2;"
        "print(json.dumps(accuracy(manualbp.sigmoid, 'float16').to_dict()))"
    )
    flags = f"{os.environ.get('XLA_FLAGS', '')} --xla_force_host_platform_device_count=2"
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, "XLA_FLAGS": flags, "JAX_PLATFORMS": "cpu"},
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    found = json.loads(done.stdout)
    del found["seconds"]
    assert found == numbers(sigmoid)
    assert "━" not in done.stderr  # no progress bar where nobody looks


@pytest.mark.parametrize(
    ("function", "dtype", "options", "message"),
    [
        (bp.softmax, "float16", {}, r"expected a function of numbers, .* got softmax: close over"),
        (jnp.cumsum, "float16", {}, r"expected a function of numbers"),
        (lambda z: z / jnp.sum(z), "float16", {}, r"expected a function of numbers"),
        (bp.sigmoid, "int32", {}, r"expected dtype .*, got int32: integers have no ULPs"),
        (bp.sigmoid, "float8_e4m3fn", {}, r"expected dtype .*, got float8_e4m3fn"),
        (bp.sigmoid, "no dtype", {}, r"expected dtype .*, got 'no dtype'"),
        (bp.prelu, "float16", {"argument": "w"}, r"an argument of prelu\(slope, z\), got w"),
        (bp.prelu, "float16", {"others": {"z": (1.0,)}}, r"expected others of .*, got z"),
        (bp.sigmoid, "float16", {"checkpoint": "a.txt"}, r"that ends in \.npz, got a\.txt"),
    ],
)
def test_bad_questions(function, dtype, options, message):
    with pytest.raises(ValueError, match=rf"^accuracy: .*{message}"):
        accuracy(function, dtype, **options)


def test_no_function_and_no_such_dtype(monkeypatch):
    with pytest.raises(TypeError, match=r"^accuracy: expected a rule or a function of numbers"):
        accuracy(3, "float16")

    def refused(x):
        raise RuntimeError("f64 is not supported\nmore")

    monkeypatch.setattr(_sweep, "_compiled_sum", refused)
    with pytest.raises(ValueError, match=r"of the backend cpu, got float64: it has none \(f64 is"):
        accuracy(bp.sigmoid, "float64")


@pytest.mark.parametrize("beta", [0.7, -1.9, 3.0])
def test_swish_keeps_its_digits_where_beta_z_is_rounded(beta):
    z = np.linspace(-100 / abs(beta), 100 / abs(beta), 200_001).astype(np.float32)
    y, pull = jax.vjp(bp.learnable_swish, np.full(len(z), beta, np.float32), z)
    dbeta, dz = pull(jnp.ones_like(y))
    fixed, pull = jax.vjp(bp.swish(beta), z)
    got = [(np.float32(beta), y, dz, dbeta), (beta, fixed, *pull(jnp.ones_like(y)))]
    for b, *results in got:
        x = z.astype(np.float64)
        u = float(b) * x
        s, rest = 1 / (1 + np.exp(-u)), 1 / (1 + np.exp(u))
        terms = [(x * s,), (s, s * u * rest), (x * x * s * rest,)]
        for result, parts in zip(results, terms, strict=False):
            largest = np.max(np.abs(parts), axis=0).astype(np.float32)
            error = np.abs(np.asarray(result, np.float64) - sum(parts)) / np.spacing(largest)
            assert np.max(error[np.abs(sum(parts)) > 2e-38]) < 5  # 67 without what rounding takes
