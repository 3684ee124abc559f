"""Questions of real size: some entries alone in exact arithmetic, and what is found of them."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flint import arb
from jax import lax

from manualbp.verify import check
from manualbp.verify.ask import size
from manualbp.verify.ask.question import problem_of
from manualbp.verify.ask.subject import subject_of
from manualbp.verify.numbers import needed
from manualbp.verify.numbers.balls import Arb, precision
from manualbp.verify.numbers.primitives import PRIMITIVES
from manualbp.verify.numbers.walk import cost, evaluate, lift


def custom(value, pull):
    rule = jax.custom_vjp(value)
    rule.defvjp(lambda *args: (value(*args), args), pull)
    return rule


def normal(*shapes):
    rng = np.random.default_rng(0)
    return tuple(jnp.asarray(rng.normal(size=s), jnp.float32) for s in shapes)


# Only what an entry needs

INDICES = np.array([[2, 0], [1, 3], [0, 0]])


def scanned(x):
    def step(carry, row):
        carry = jnp.tanh(carry + row @ row[:, None] * row)
        return carry, carry[::-1] * 2

    return lax.scan(step, x[0], x, reverse=True)


PROGRAMS = {
    "a product": lambda x: jnp.einsum("ij,kj->ki", x, jnp.sin(x)),
    "products in stacks": lambda x: jnp.einsum("bij,bjk->bki", *2 * [x.reshape(2, 2, 2, 2)[0]]),
    "a row": lambda x: jax.nn.softmax(x) * jnp.cumsum(x, axis=1),
    "order": lambda x: (jnp.sort(x, axis=0), jnp.argsort(x[1]), jnp.max(x, axis=(0, 1))),
    "movement": lambda x: jnp.pad(jnp.concatenate([x.T, x[::-1]]).reshape(4, 8)[:, 1:6:2], 1),
    "by index": lambda x: x[INDICES[:, 0]].at[INDICES[:, 1], 1].add(x[0, :3]),
    "by an index that is computed": lambda x: jnp.take_along_axis(x, jnp.argsort(x), axis=1),
    "a slice that is computed": lambda x: lax.dynamic_slice(x, (jnp.argmax(x[0]), 1), (2, 2)),
    "a loop": scanned,
    "a loop that counts": lambda x: lax.fori_loop(0, 3, lambda i, y: y.at[i].mul(y[i + 1]), x),
    "a loop that ends": lambda x: lax.while_loop(lambda y: y[0, 0] < 9, lambda y: y * y + 2, x),
    "branches": lambda x: lax.cond(x[0, 0] > 0, jnp.sin, lambda x: x * x[::-1], x),
    "windows": lambda x: lax.reduce_window(x, 0.0, lax.add, (2, 2), (1, 1), "SAME"),
    "a convolution": lambda x: jnp.convolve(x[0], x[1]),
    "a solution": lambda x: jnp.linalg.solve(x + 5 * jnp.eye(4), x),
    "calls": lambda x: jax.checkpoint(jax.nn.gelu)(jax.nn.relu(x) + jnp.where(x > 0, x, 3.0)),
    "constants": lambda x: x * np.arange(16.0).reshape(4, 4) + jnp.arange(4.0),
    "repeated": lambda x: (x[:, :1] + x) * x.sum(1, keepdims=True),
    "the derivative": lambda x: jax.grad(lambda y: jnp.sum(jnp.tanh(y @ y) ** 2))(x),
}


@pytest.mark.parametrize("name", PROGRAMS)
def test_entries_made_alone_are_those_made_with_all(name):
    with jax.enable_x64(True), precision(256):
        x = np.random.default_rng(3).normal(size=(4, 4))
        closed = jax.make_jaxpr(PROGRAMS[name])(x)
        balls = Arb()
        whole = evaluate(closed, [lift(x, balls.lift)], balls)
        for k, results in enumerate(whole):
            for index in np.ndindex(results.shape):
                wanted = [np.zeros(r.shape, bool) for r in whole]
                wanted[k][index] = True
                alone = evaluate(closed, [x], Arb(), wanted)[k][index]
                want = results[index]
                same = alone.overlaps(want) if isinstance(want, arb) else alone == want
                assert same, (index, alone, want)
                assert cost(closed, [x], balls, wanted) <= cost(
                    closed, [x], balls, [np.ones(r.shape, bool) for r in whole]
                )


def test_all_entries_wanted_are_numbers_too():
    """Arguments are lifted where all is wanted as well: their floats would be taken for exact."""
    with jax.enable_x64(True), precision(256):
        x = np.array([0.1, 2.0])
        closed = jax.make_jaxpr(jnp.sin)(x)
        (found,) = evaluate(closed, [x], Arb(), [np.ones(2, bool)])
        assert found[0].overlaps(arb(0.1).sin())
        assert found[0].rel_accuracy_bits() > 200


def test_the_table_of_primitives_says_what_each_needs():
    assert {row.needs for row in PRIMITIVES.values()} == set(needed.NEEDS)


def test_an_entry_of_a_product_costs_a_row_and_a_column():
    closed = jax.make_jaxpr(lambda x, y: jnp.exp(x) @ y)(*normal((50, 20), (20, 60)))
    one, every = np.zeros((50, 60), bool), np.ones((50, 60), bool)
    one[3, 4] = True
    point = [np.ones((50, 20)), np.ones((20, 60))]
    assert cost(closed, point, Arb(), [one]) < 50
    assert cost(closed, point, Arb(), [every]) > 3000


# Verdicts on large arrays


def dense(x, w, b):
    return jnp.tanh(x @ w + b)


def dense_pull(args, dy):
    x, w, _ = args
    dz = dy * (1 - dense(*args) ** 2)
    return dz @ w.T, x.T @ dz, dz.sum(0)


def one_wrong(args, dy):
    dx, dw, db = dense_pull(args, dy)
    return dx, dw.at[7, 11].mul(1.001), db


def transposed(args, dy):
    dx, dw, db = dense_pull(args, dy)
    return dx, dw.T, db


X, W, B = normal((32, 64), (64, 64), (64,))
ARGS = (X, W / 8, B)


def test_a_dense_layer_of_real_size():
    report = check(custom(dense, dense_pull), *ARGS)
    assert report.verdict == "PASS", report
    assert "decided in balls" in str(report)
    assert "that float64 compares" in str(report)


@pytest.mark.parametrize("pull", [one_wrong, transposed])
def test_one_wrong_entry_among_many_is_found(pull):
    report = check(custom(dense, pull), *ARGS)
    assert report.verdict == "FAIL", report
    assert len(str(report).splitlines()) < 50
    if pull is one_wrong:
        assert report.counterexample.index == (7, 11)


def clipped_pull(edge):
    return lambda args, dy: (dy * ((args[0] > 0) & (args[0] < edge)),)


@pytest.mark.parametrize(("edge", "verdict"), [(6, "PASS"), (7, "FAIL"), (6.001, "FAIL")])
def test_thresholds_are_found_in_a_small_shape(edge, verdict):
    x = normal((200, 300))[0]
    report = check(custom(lambda x: jnp.clip(x, 0, 6), clipped_pull(edge)), x)
    assert report.verdict == verdict, report


def test_a_question_is_small_where_its_rule_takes_other_shapes():
    def asked(value, *args):
        subject = subject_of(custom(value, lambda args, dy: jax.vjp(value, *args)[1](dy)))
        return problem_of(subject, subject.definition, args, None, False, None)

    with jax.enable_x64(True):
        args = normal((40, 3, 50), (50, 40))
        found = size.small(asked(lambda x, w: x @ w, *args))
        assert [s.shape for s in found.specs] == [(5, 3, 6), (6, 5)]
        assert size.small(asked(lambda x, w: (x @ w).reshape(4800), *args)) is None
        assert size.small(asked(lambda x: x * 2, *normal((3, 4)))) is None
    x = np.arange(6.0).reshape(2, 3)
    assert size.repeated(x, (5, 4)).tolist() == x[[0, 1, 0, 1, 0]][:, [0, 1, 2, 0]].tolist()


@pytest.mark.parametrize(("factor", "verdict"), [(1.0, "PASS"), (1.01, "FAIL")])
def test_what_no_entry_can_be_asked_of_is_differenced(factor, verdict):
    def value(x):  # each entry needs all of them, many times
        return lax.fori_loop(0, 60, lambda _, y: jnp.sin(y) + jnp.mean(y), x)

    x = normal((60, 100))[0]

    def pull(args, dy):
        (dx,) = jax.vjp(value, *args)[1](dy)
        return (dx.at[7, 9].multiply(factor),)

    assert check(custom(value, pull), x, explore=False).verdict == verdict


@pytest.mark.parametrize(("factor", "verdict"), [(1.0, "PASS"), (1.01, "FAIL")])
def test_a_gradient_that_is_too_much_beside_one_that_is_not(factor, verdict):
    def value(x, w):  # each entry of x needs all of x; w is asked about at once
        return lax.fori_loop(0, 60, lambda _, y: jnp.sin(y) + jnp.mean(y), x), w * w

    def pull(args, dy):
        dx, dw = jax.vjp(value, *args)[1](dy)
        return dx.at[7, 9].multiply(factor), dw

    args = normal((60, 80), (3,))
    assert check(custom(value, pull), *args, explore=False).verdict == verdict
