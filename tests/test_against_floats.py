"""A primitive whose form in balls is wrong is named before it accuses anyone."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from test_interpreter import PROGRAMS

from manualbp.verify.numbers import primitives
from manualbp.verify.numbers.against_floats import disagreement
from manualbp.verify.numbers.arithmetic import each

X = np.array([[0.5, -1.25, 3.0], [2.0, 0.25, -0.75]])


def disagree(function, x):
    with jax.enable_x64(True):
        return disagreement(jax.make_jaxpr(function)(x), [x])


@pytest.mark.filterwarnings("ignore:.*tracing-time.*")
@pytest.mark.parametrize("name", PROGRAMS)
def test_agrees(name):
    assert disagree(*PROGRAMS[name]) is None


def broken(monkeypatch, name, **changed):
    row = dataclasses.replace(primitives.PRIMITIVES[name], **changed)
    monkeypatch.setitem(primitives.PRIMITIVES, name, row)


def test_a_broken_sum_is_named(monkeypatch):
    broken(monkeypatch, "add", numbers=lambda eqn, xs, ar: each(ar.sub, *xs))
    assert disagree(lambda x: jnp.exp(x * x + x), X) == "add"


def test_a_broken_reshape_is_named(monkeypatch):
    broken(monkeypatch, "reshape", anything=lambda p, x: x.T.reshape(p["new_sizes"]))
    assert disagree(lambda x: jnp.tanh(x.reshape(3, 2)).sum(), X) == "reshape"


def test_a_result_of_another_shape_is_named(monkeypatch):
    broken(monkeypatch, "transpose", anything=lambda p, x: x)
    assert disagree(lambda x: x.T * 2, X) == "transpose"


def test_an_exception_is_named(monkeypatch):
    broken(monkeypatch, "sort", numbers=lambda eqn, xs, ar: xs[7])
    assert disagree(lambda x: jnp.sort(x, axis=1), X) == "sort"


def test_a_primitive_inside_a_loop_is_named(monkeypatch):
    broken(monkeypatch, "mul", numbers=lambda eqn, xs, ar: each(ar.add, *xs))
    assert disagree(lambda x: jax.lax.map(lambda r: r * r, x), X) == "mul"


def test_wrong_integers_are_named(monkeypatch):
    broken(monkeypatch, "argmax", numbers=primitives.PRIMITIVES["argmin"].numbers)
    assert disagree(lambda x: x[0, jnp.argmax(x[0])], X) == "argmax"


def test_a_lost_nan_is_named(monkeypatch):
    broken(monkeypatch, "max", numbers=lambda eqn, xs, ar: xs[0])
    x = np.array([1.0, -1.0])
    assert disagree(lambda x: jnp.maximum(jnp.ones(2), jnp.log(x)), x) is None  # NaN goes in
    broken(monkeypatch, "div", numbers=lambda eqn, xs, ar: xs[0])
    assert disagree(lambda x: (x - 1) / (x - 1), x) == "div"


def test_what_rounding_decides_is_not_compared():
    # equal in floats, and at every rounding of the arguments something else
    assert disagree(lambda x: jnp.where(jnp.exp(x) > jnp.exp(x + 1e-30), 1.0, 0.0), X) is None
    assert disagree(lambda x: jnp.floor(x * 4 / 3 * 3), np.array([0.25, 0.5])) is None


def test_what_has_no_form_is_nothing_to_disagree_about():
    assert disagree(lambda x: jnp.linalg.svd(x, compute_uv=False), X) is None
