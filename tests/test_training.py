"""Training against a plain loop in Python; its schedules, stops and errors."""

import dataclasses
import functools
import itertools
import math
import signal
import sys
import threading

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import manualbp as bp
from manualbp import schedules, training
from manualbp.training import TrainingError, batches, evaluate, gradient_descent, train
from tests.runs import Clock, bits

# Networks and optimisers of the whole file: what is compiled for one test serves the next
NETWORK = bp.mlp((3, 4, 2), activation=bp.tanh)
LINEAR = bp.mlp((3, 1), loss=bp.squared_error)
TWO_LOSSES = bp.mlp((3, 2), loss=bp.sigmoid_binary_cross_entropy)
LABELS = bp.mlp((3, 2), loss=bp.multilabel_binary_cross_entropy)
LEARNED = bp.mlp((3, 4, 4, 2), activation=(bp.prelu, bp.learnable_swish))
RANDOMIZED = bp.mlp((3, 4, 2), activation=bp.randomized_relu())
DESCENT = gradient_descent(0.5)
SLOW = gradient_descent(0.05)
STILL = gradient_descent(lambda t: 0.0)

POINTS = 10
rng = np.random.default_rng(0)
X = rng.normal(size=(POINTS, 3)).astype(np.float32)
CLASSES = rng.integers(0, 2, POINTS)
BITS = rng.integers(0, 2, (POINTS, 2)).astype(np.float32)
NUMBERS = rng.normal(size=(POINTS, 1)).astype(np.float32)
PARAMS = NETWORK.init(jax.random.key(1))


def run(network=NETWORK, y=CLASSES, optimizer=DESCENT, **options):
    options = {"epochs": 3, "batch_size": 4} | options
    if network is NETWORK:
        options.setdefault("params", PARAMS)
    return train(network, (options.pop("x", X), y), optimizer, **options)


def order(key, epoch, points=POINTS, batch_size=4, order="shuffle"):
    indices, counts = ORDER(key, epoch, points, batch_size, order)
    return [row[:count] for row, count in zip(*map(np.asarray, (indices, counts)), strict=True)]


ORDER = jax.jit(batches, static_argnums=(2, 3, 4))


def plain_loop(
    network, params, key, optimizer, steps, *, x=X, y=CLASSES,
    batch_size=4, update_every=None, order_of="shuffle", reduction="mean",
):  # fmt: skip
    """Gradients of one batch at a time, whatever `train` compiles; the losses, too."""
    update_every = {None: batch_size, "all": POINTS}.get(update_every, update_every)
    init, update = optimizer
    update = jax.jit(update)
    x, own, seen, total, losses = np.asarray(x), init(params), 0, None, []
    for epoch in itertools.count():
        for rows in order(key, epoch, POINTS, batch_size, order_of):
            if len(losses) == steps:
                return params, np.array(losses)
            loss, gradient = network.loss_and_grad(params, x[rows], y[rows], reduction="sum")
            gradient = jax.tree.map(lambda g: np.asarray(g, np.float64), gradient)
            total = gradient if total is None else jax.tree.map(np.add, total, gradient)
            seen += len(rows)
            losses.append(float(loss) / len(rows))
            if seen >= update_every or len(losses) % -(-POINTS // batch_size) == 0:
                of = seen if reduction == "mean" else 1
                gradient = jax.tree.map(lambda g, p, n=of: (g / n).astype(p.dtype), total, params)
                change, own = update(gradient, own, params)
                params = jax.tree.map(lambda p, c: np.asarray(p) + np.asarray(c), params, change)
                seen, total = 0, None


def assert_close(actual, expected, digits):
    assert jax.tree.structure(actual) == jax.tree.structure(expected)
    for a, b in zip(jax.tree.leaves(actual), jax.tree.leaves(expected), strict=True):
        assert np.asarray(a).dtype == np.asarray(b).dtype
        a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
        size = np.max(np.abs(b))
        np.testing.assert_allclose(a, b, rtol=10.0**-digits, atol=size * 10.0**-digits)


# The three descents, with accumulators and without

WAYS = {
    "stochastic": {"batch_size": 1, "order": "sequential"},
    "minibatches": {"batch_size": 4},
    "minibatches drawn with replacement": {"batch_size": 4, "order": "sample"},
    "the sum over minibatches": {"batch_size": 4, "reduction": "sum"},
    "all": {"batch_size": 10, "reduction": "sum"},
    "one by one, update after 4": {"batch_size": 1, "update_every": 4},
    "4 by 4, update after 8": {"batch_size": 4, "update_every": 8},
    "2 by 2, update at the end": {"batch_size": 2, "update_every": 10, "reduction": "sum"},
}


@pytest.mark.parametrize("way", WAYS)
def test_training_is_a_plain_loop(way):
    options = dict(WAYS[way])
    rows = -(-POINTS // options["batch_size"])
    steps = 2 * rows + 1
    optimizer = SLOW if options.get("reduction") == "sum" else DESCENT
    found = run(optimizer=optimizer, epochs=None, steps=steps, **options)
    options["order_of"] = options.pop("order", "shuffle")
    params, losses = plain_loop(NETWORK, PARAMS, found.state.key, optimizer, steps, **options)
    assert_close(found.params, params, 5)
    np.testing.assert_allclose(found.history.step_loss, losses, rtol=1e-5)
    counts = np.minimum(options["batch_size"], POINTS - options["batch_size"] * np.arange(rows))
    if options["order_of"] == "sample":
        counts[:] = options["batch_size"]
    epochs = range(0, steps - rows + 1, rows)
    by_epoch = [np.average(losses[i : i + rows], weights=counts) for i in epochs]
    np.testing.assert_allclose(found.history.loss, by_epoch, rtol=1e-5)
    assert len(found.history.seconds) == len(epochs)
    assert np.all(np.diff(found.history.seconds, prepend=0) > 0)


def test_all_at_once_is_one_by_one():
    """Accumulators of single examples, and the gradient of the whole batch: note 000."""
    one, batch = (run(**WAYS[w]) for w in ("one by one, update after 4", "minibatches"))
    assert_close(one.params, batch.params, 5)
    np.testing.assert_allclose(one.history.loss[0], batch.history.loss[0], rtol=0.2)
    assert not np.array_equal(one.history.loss, batch.history.loss)  # before other updates
    pairs, whole = (run(optimizer=SLOW, **WAYS[w]) for w in ("2 by 2, update at the end", "all"))
    assert_close(pairs.params, whole.params, 5)


def test_words_for_all_the_data():
    number, word = (run(optimizer=SLOW, reduction="sum", batch_size=b) for b in (POINTS, "all"))
    assert bits(number.state) == bits(word.state)
    options = WAYS["2 by 2, update at the end"]
    number, word = (run(optimizer=SLOW, **options | {"update_every": u}) for u in (10, "all"))
    assert bits(number.state) == bits(word.state)


@pytest.mark.parametrize(("dtype", "digits"), [("float64", 13), ("bfloat16", 1.5)])
def test_every_dtype_keeps_itself(dtype, digits):
    options = {"batch_size": 5, "update_every": 10}
    with jax.enable_x64(dtype == "float64"):
        x, params = jax.tree.map(lambda p: np.asarray(p).astype(dtype), (X, PARAMS))
        optimizer = gradient_descent(schedules.cosine(0.5, 9))
        found = run(x=x, params=params, optimizer=optimizer, **options)
        key = found.state.key
        expected, losses = plain_loop(NETWORK, params, key, optimizer, 6, x=x, **options)
        assert_close(found.params, expected, digits)
        np.testing.assert_allclose(found.history.step_loss, losses, rtol=10.0**-digits)
    assert {p.dtype for p in jax.tree.leaves(found.params)} == {jnp.dtype(dtype)}
    wide = np.float64 if dtype == "float64" else np.float32
    assert {s.dtype for s in jax.tree.leaves(found.state.sums[0])} == {np.dtype(wide)}


@pytest.mark.parametrize("options", [{"reduction": "sum"}, {"update_every": 10}])
def test_half_precision_does_not_overflow_in_a_sum(options):
    """Losses of 19600, of which four are too many for float16."""
    x, y = jnp.zeros((POINTS, 3), jnp.float16), jnp.full((POINTS, 1), 140, jnp.float16)
    params = jax.tree.map(jnp.zeros_like, LINEAR.init(jax.random.key(0), jnp.float16))
    found = run(
        LINEAR, y, gradient_descent(0.0005), x=x, params=params, batch_size=5, epochs=1, **options
    )
    np.testing.assert_allclose(found.history.step_loss[0], 19600, rtol=1e-3)
    sum_of = {"reduction": 5 * (280 + 278.6), "update_every": 280}[next(iter(options))]
    np.testing.assert_allclose(float(found.params[0].b[0]), 0.0005 * sum_of, rtol=5e-3)


@pytest.mark.parametrize(("network", "y"), [(TWO_LOSSES, BITS), (LABELS, BITS), (LEARNED, CLASSES)])
def test_every_loss_leaves_the_padding_out(network, y):
    params = network.init(jax.random.key(2))
    found = run(network, y, gradient_descent(0.1), params=params, epochs=2)
    expected, losses = plain_loop(
        network, params, found.state.key, gradient_descent(0.1), 6, y=y
    )  # fmt: skip
    assert_close(found.params, expected, 5)
    np.testing.assert_allclose(found.history.step_loss, losses, rtol=1e-5)
    if network is LEARNED:
        assert found.params[1] != params[1]
        assert found.params[3] != params[3]


def test_the_padding_is_of_the_batch_itself():
    """So that a loss is finite where that of its own examples is, whatever another's is."""
    indices, counts = ORDER(jax.random.key(0), 3, POINTS, 4, "shuffle")
    last = int(counts[-1])
    assert last == 2
    assert set(indices[-1, last:].tolist()) <= set(indices[-1, :last].tolist())


# Orders


def test_each_epoch_has_an_order_of_its_own():
    orders = [np.concatenate(order(jax.random.key(5), epoch)).tolist() for epoch in range(4)]
    assert all(sorted(one) == list(range(POINTS)) for one in orders)
    assert len(set(map(tuple, orders))) == 4
    assert np.concatenate(order(jax.random.key(5), 3)).tolist() == orders[3]
    assert np.concatenate(order(jax.random.key(6), 3)).tolist() != orders[3]
    assert [len(rows) for rows in order(jax.random.key(5), 0)] == [4, 4, 2]


def test_batches_drawn_with_replacement_are_of_all_the_data():
    epochs = [order(jax.random.key(0), i, POINTS, 4, "sample") for i in range(100)]
    assert all([len(rows) for rows in epoch] == [4, 4, 4] for epoch in epochs)
    rows = np.array(epochs).reshape(-1, 4)
    shares = np.bincount(rows.ravel(), minlength=POINTS) / rows.size
    np.testing.assert_allclose(shares, 0.1, atol=5 * np.sqrt(0.1 * 0.9 / rows.size))
    doubled = np.mean([len(set(row)) < 4 for row in rows.tolist()])
    np.testing.assert_allclose(doubled, 1 - 0.9 * 0.8 * 0.7, atol=5 * np.sqrt(0.25 / len(rows)))


def test_draws_differ_from_step_to_step_and_come_back():
    options = {"optimizer": STILL, "batch_size": 10, "order": "sequential", "steps": 4}
    first, again, other = (
        run(RANDOMIZED, **options, epochs=None, key=jax.random.key(i)).history.step_loss
        for i in (0, 0, 1)
    )
    assert len(set(first.tolist())) == 4
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)


def test_a_key_is_a_run():
    runs = [run(params=None, key=jax.random.key(i)) for i in (0, 0, 1)]
    default = run(params=None)
    assert bits(runs[0].state) == bits(runs[1].state) == bits(default.state)
    assert bits(runs[0].state) != bits(runs[2].state)


# Optimisers


def test_optimisers_of_optax():
    """Of accumulators, clipping, moments, params and a schedule."""
    rate = optax.cosine_decay_schedule(0.1, 9)
    parts = optax.clip_by_global_norm(0.1), optax.trace(0.9), optax.adamw(rate)
    optimizer = optax.MultiSteps(optax.chain(*parts), 2)
    with jax.numpy_dtype_promotion("standard"):  # as Optax wants it
        found = run(optimizer=optimizer)
        pair = optimizer.init, optimizer.update
        expected, losses = plain_loop(NETWORK, PARAMS, found.state.key, pair, 9)
    assert_close(found.params, expected, 4)
    np.testing.assert_allclose(found.history.step_loss, losses, rtol=1e-4)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64"])
@pytest.mark.parametrize("rate", [0.3, schedules.inverse_time(0.3, 2)])
def test_gradient_descent_is_that_of_optax(rate, dtype):
    with jax.enable_x64(dtype == "float64"):
        params = {"w": jnp.ones((2, 3), dtype), "b": (jnp.zeros(3, dtype),)}
        gradient = jax.tree.map(lambda p: jnp.full(p.shape, 0.7, dtype), params)
        found = []
        for init, update in (gradient_descent(rate), optax.sgd(rate)):
            state, changes = init(params), []
            for _ in range(3):
                change, state = update(gradient, state, params)
                changes.append(change)
            found.append(changes)
    ours, theirs = found
    assert {a.dtype for a in jax.tree.leaves(ours)} == {jnp.dtype(dtype)}
    assert bits(ours) == bits(theirs)


def test_a_training_with_optax_is_ours_to_the_bit():
    assert bits(run(optimizer=optax.sgd(0.5)).params) == bits(run().params)


# Schedules

FORMULAS = {
    "constant": (schedules.constant(0.3), lambda t: 0.3 + 0 * t),
    "step": (schedules.step(0.3, 7, 0.4), lambda t: 0.3 * 0.4 ** np.floor(t / 7)),
    "inverse_time": (schedules.inverse_time(0.3, 7), lambda t: 0.3 / (1 + t / 7)),
    "cosine": (
        schedules.cosine(0.3, 40, 0.1),
        lambda t: 0.1 + 0.2 * (1 + np.cos(np.pi * np.minimum(t / 40, 1))) / 2,
    ),
}


@pytest.mark.parametrize("name", FORMULAS)
def test_schedules_are_their_formulas(name):
    schedule, formula = FORMULAS[name]
    t = np.arange(50)
    for wide, digits in ((False, 6), (True, 14)):
        with jax.enable_x64(wide):
            found = jax.vmap(lambda t: jnp.asarray(schedule(t), float))(jnp.asarray(t))
            np.testing.assert_allclose(found, formula(t), rtol=10.0**-digits)
            assert abs(float(schedule(8)) - formula(8)) <= 10.0**-digits


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (FORMULAS["constant"][0], optax.constant_schedule(0.3)),
        (FORMULAS["step"][0], optax.exponential_decay(0.3, 7, 0.4, staircase=True)),
        (FORMULAS["cosine"][0], optax.cosine_decay_schedule(0.3, 40, 1 / 3)),
    ],
)
def test_schedules_are_those_of_optax(ours, theirs):
    with jax.numpy_dtype_promotion("standard"):
        for t in range(0, 50, 3):
            np.testing.assert_allclose(ours(t), theirs(t), rtol=1e-6)


def test_no_step_comes_late():
    """The quotient of t and a constant, which XLA makes a product, is below a whole number."""
    drops = jnp.arange(20)
    late = []
    for every in (41, 47, 49, 55, 61, 82, 100, 123, 1000):
        schedule = jax.jit(jax.vmap(schedules.step(1.0, every, 0.5)))
        expected = 0.5 ** np.arange(20)
        on, before = schedule(drops * every), schedule(drops * every + every - 1)
        if not (np.array_equal(on, expected) and np.array_equal(before, expected)):
            late.append(every)
    assert not late


# Stops


def test_epochs_and_steps_are_counted_from_the_first():
    first = run(epochs=2)
    assert (first.stopped, *map(int, first.state[-3:])) == ("epochs", 2, 0, 6)
    for ends, expected in (
        ({"epochs": 3}, ("epochs", 3, 0, 9)),
        ({"epochs": None, "steps": 8}, ("steps", 2, 2, 8)),
        ({"epochs": 3, "steps": 7}, ("steps", 2, 1, 7)),
        ({"epochs": 2, "steps": 7}, ("epochs", 2, 0, 6)),
        ({"epochs": 1}, ("epochs", 2, 0, 6)),
    ):
        found = run(**ends, resume=first.state)
        assert (found.stopped, *map(int, found.state[-3:])) == expected
        assert len(found.history.step_loss) == expected[-1] - 6


def test_patience():
    # in one order, or the rounding of another sum of the same losses might be lower
    still = run(optimizer=STILL, epochs=9, patience=2, order="sequential")
    assert still.stopped == "patience"
    assert len(still.history.loss) == 3  # the first is lower than nothing
    options = WAYS["all"] | {"optimizer": SLOW, "epochs": 5, "patience": 1}
    falling = run(**options)
    assert falling.stopped == "epochs"
    assert np.all(np.diff(falling.history.loss) < 0)
    impatient = run(**options, tolerance=0.5)
    assert (impatient.stopped, len(impatient.history.loss)) == ("patience", 2)
    rising = run(**options, held_out=(X, 1 - CLASSES))
    assert (rising.stopped, len(rising.history.loss)) == ("patience", 2)


# What is said on the way


def test_metrics_on_held_out_data():
    x, y = X[:7] + 0.5, CLASSES[:7]
    seen = {}
    found = run(held_out=(x, y), on_epoch=lambda epoch, params: seen.update({epoch: params}))
    assert sorted(seen) == [1, 2, 3]
    assert bits(seen[3]) == bits(found.params)
    for epoch, params in seen.items():
        assert all(isinstance(p, np.ndarray) for p in jax.tree.leaves(params))
        first, _, second, _ = jax.tree.map(lambda a: np.asarray(a, np.float64), params)
        scores = np.tanh(x @ first.w + first.b) @ second.w + second.b
        loss = np.log(np.exp(scores).sum(1)) - scores[np.arange(7), y]
        at = {name: values[epoch - 1] for name, values in found.history.held_out.items()}
        assert sorted(at) == ["accuracy", "loss"]
        np.testing.assert_allclose(at["loss"], loss.mean(), rtol=1e-5)
        np.testing.assert_allclose(at["accuracy"], np.mean(scores.argmax(1) == y), rtol=1e-6)
    assert evaluate(NETWORK, found.params, (x, y)) == pytest.approx(at)


@pytest.mark.parametrize(
    ("network", "y", "right"),
    [
        (TWO_LOSSES, BITS, lambda z, y: np.mean((z > 0) == (y > 0))),
        (LABELS, BITS, lambda z, y: np.mean((z > 0) == (y > 0))),
        (
            bp.mlp((3, 2), output=bp.softmax, loss=bp.cross_entropy),
            np.eye(2, dtype=np.float32)[CLASSES],
            lambda z, y: np.mean(z.argmax(1) == CLASSES),
        ),
    ],
)
def test_accuracy(network, y, right):
    params = network.init(jax.random.key(3))
    w, b = (np.asarray(a, np.float64) for a in params[0])
    z = X @ w + b
    found = evaluate(network, params, (X, y))
    np.testing.assert_allclose(found["accuracy"], right(z, y), rtol=1e-6)
    p = 1 / (1 + np.exp(-z)) if network.rule.name.endswith("identity)") else None
    if p is None:
        p = np.exp(z) / np.exp(z).sum(1, keepdims=True)
        loss = -np.log(p[np.arange(POINTS), CLASSES])
    else:
        loss = -np.where(y > 0, np.log(p), np.log(1 - p)).sum(1)
    np.testing.assert_allclose(found["loss"], loss.mean(), rtol=1e-5)


def test_own_metrics():
    def error(prediction, y):
        return jnp.abs(prediction - y)[:, 0]

    params = LINEAR.init(jax.random.key(3))
    found = evaluate(LINEAR, params, (X, NUMBERS), {"error": error})
    expected = np.mean(np.abs(X @ np.asarray(params[0].w) + np.asarray(params[0].b) - NUMBERS))
    assert found["error"] == pytest.approx(expected, rel=1e-5)
    assert sorted(evaluate(LINEAR, params, (X, NUMBERS))) == ["loss"]


def test_silent_where_there_is_no_terminal(capfd):
    run()
    assert capfd.readouterr() == ("", "")


def test_the_bar_is_on_stderr_and_what_is_printed_is_not(capfd, monkeypatch):
    monkeypatch.setenv("FORCE_COLOR", "1")  # Rich's word for a terminal
    monkeypatch.setenv("TTY_COMPATIBLE", "1")
    run(progress=True, on_epoch=lambda epoch, params: print("epoch", epoch))
    out, err = capfd.readouterr()
    assert out == "epoch 1\nepoch 2\nepoch 3\n"
    assert "train" in err
    run(progress=False)
    assert capfd.readouterr() == ("", "")


def test_without_rich_and_optax(capfd, monkeypatch):
    for name in ("rich", "rich.console", "rich.progress", "optax"):
        monkeypatch.setitem(sys.modules, name, None)
    for schedule in (schedules.step(0.1, 2), schedules.cosine(0.1, 5)):
        gradient_descent(schedule)
    assert run(progress=True).stopped == "epochs"
    assert capfd.readouterr() == ("", "")


# Compiled once; by hand; what is the caller's stays


def test_one_program_for_everything():
    run(held_out=(X, CLASSES))
    before = training._compiled._cache_size()
    state = run(epochs=None, steps=1).state
    run(epochs=None, steps=5, resume=state)
    run(epochs=7, params=None, key=jax.random.key(3))
    run(epochs=5, optimizer=gradient_descent(0.5), patience=1, held_out=(X, CLASSES))
    assert training._compiled._cache_size() == before
    run(bp.mlp((3, 4, 2), activation=bp.tanh), params=PARAMS)
    assert training._compiled._cache_size() == before + 1


def test_states_of_numbers_do_not_compile_again():
    """An optimiser's Python numbers, whose dtype would give way to others."""

    def update(gradient, rate, params):
        return jax.tree.map(lambda g: -rate * g, gradient), rate

    pair = (lambda params: 0.5, update)
    first, expected = run(optimizer=pair, epochs=1), run()
    before = training._compiled._cache_size()
    run(optimizer=pair, epochs=2, resume=first.state)
    assert bits(run(optimizer=pair).params) == bits(expected.params)
    assert training._compiled._cache_size() == before


def spied(monkeypatch, look):
    """Look at the arguments of each call of the compiled loop."""
    inner = training._compiled

    def spy(*args):
        result = inner(*args)
        look(inner, *args)
        return result

    monkeypatch.setattr(training, "_compiled", spy)


def test_states_are_donated_and_what_is_the_callers_is_not(monkeypatch):
    before = run(epochs=1).state
    copy = bits(before)
    gone = []
    spied(monkeypatch, lambda inner, plan, state, *_: gone.append(state))
    x, y = jnp.asarray(X), jnp.asarray(CLASSES)
    params, key = jax.tree.map(jnp.array, PARAMS), jax.random.key(0)
    run(x=x, y=y, params=params, key=key, held_out=(x, y))
    run(x=x, y=y, resume=before)
    assert len(gone) >= 6
    assert all(a.is_deleted() for state in gone for a in jax.tree.leaves(state.params))
    assert bits((params, key, x)) == bits((PARAMS, jax.random.key(0), X))
    assert bits(before) == copy


def names_of(jaxpr):
    for equation in jaxpr.eqns:
        yield str(equation.source_info.name_stack)
        for value in jax.tree.leaves(
            list(equation.params.values()), is_leaf=lambda v: hasattr(v, "jaxpr")
        ):
            inner = getattr(value, "jaxpr", value)
            if hasattr(inner, "eqns"):
                yield from names_of(inner)


def test_the_compiled_loop_was_not_differentiated(monkeypatch):
    traced = []

    def look(inner, plan, state, *args):
        own = jax.tree.map(lambda a: jax.ShapeDtypeStruct(a.shape, a.dtype), state)
        traced.append(jax.make_jaxpr(functools.partial(inner, plan))(own, *args))

    spied(monkeypatch, look)
    run(epochs=1, **WAYS["4 by 4, update after 8"])
    names = list(names_of(traced[0].jaxpr))
    assert len(names) > 50
    assert not [name for name in names if "transpose" in name or "jvp" in name]
    # and where JAX differentiates, the names say so
    gradient = jax.grad(lambda w: jnp.sum(bp.tanh(w) ** 2))
    step = jax.jit(lambda w: jax.lax.cond(w[0] > 0, gradient, jnp.sin, w))
    names = list(names_of(jax.make_jaxpr(step)(jnp.ones(2)).jaxpr))
    assert [name for name in names if "transpose" in name and "jvp" in name]


def test_every_backward_pass_is_the_rules_own(monkeypatch):
    """No derivative is asked of JAX, each rule's is, and what it says is what is learnt."""

    def forbidden(*args, **kwargs):
        raise AssertionError("a derivative was asked of JAX")

    called = []

    def counting(rule, factor=1):
        def bwd(saved, dy):
            called.append(rule.name)
            return jax.tree.map(lambda d: factor * d, rule.bwd(saved, dy))

        return dataclasses.replace(rule, bwd=bwd)

    rules = [counting(r) for r in (bp.dense, bp.tanh, bp.dense, bp.identity)]
    doubled = counting(bp.half_squared_error, 2)
    network = dataclasses.replace(
        bp.mlp((3, 4, 1), activation=bp.tanh, loss=bp.half_squared_error),
        rule=bp.chain(*rules),
        loss=doubled,
    )
    params = network.init(jax.random.key(0))
    plain = dataclasses.replace(network, loss=bp.half_squared_error)
    _, gradient = plain.loss_and_grad(params, X, NUMBERS)
    called.clear()
    for name in ("grad", "value_and_grad", "vjp", "jvp", "linearize", "jacfwd", "jacrev"):
        monkeypatch.setattr(jax, name, forbidden)
    found = run(network, NUMBERS, gradient_descent(0.25), params=params, steps=1, batch_size="all")
    times = {name: called.count(name) for name in called}
    assert times == {"half_squared_error": 1, "identity": 1, "dense": 2, "tanh": 1}
    assert_close(found.params, jax.tree.map(lambda p, g: p - 0.5 * g, params, gradient), 5)


# A loss that is not finite

# Descends to infinity, with a clock that has snapshots taken again and again
DIVERGES = gradient_descent(3.0)


def diverge(**options):
    return run(LINEAR, NUMBERS, DIVERGES, **{"epochs": 99} | options)


@pytest.fixture(scope="module")
def bad_step():
    """The first step with a loss that is not finite, found one step at a time."""
    state = diverge(epochs=None, steps=1).state
    while True:
        try:
            state = diverge(epochs=None, steps=int(state.step) + 1, resume=state).state
        except TrainingError:
            return int(state.step)


@pytest.mark.parametrize("ahead", [None, 1, 2, 3, 4, 5, 6, 7, 8])
def test_the_last_good_state_is_that_of_the_last_finite_loss(ahead, bad_step, monkeypatch):
    assert bad_step > 20
    start = None
    if ahead is not None:  # at every distance from a snapshot
        start = diverge(epochs=None, steps=bad_step - 14 - ahead).state
        monkeypatch.setattr(training, "time", Clock())
        monkeypatch.setattr(training, "_SECONDS", 0.5)
    epoch, batch = divmod(bad_step, 3)
    text = rf"^train: expected a finite loss, got (inf|nan) at step {bad_step} \(batch {batch} of "
    with pytest.raises(TrainingError, match=text + rf"epoch {epoch}, from 0\): lower ") as caught:
        diverge(resume=start)
    result = caught.value.result
    assert result.stopped == "not finite"
    assert int(result.state.step) == bad_step - 1
    expected = diverge(epochs=None, steps=bad_step - 1)
    assert bits(result.state) == bits(expected.state)
    # of which the loss is finite, and the next is not
    again = diverge(epochs=None, steps=bad_step, resume=result.state)
    assert again.history.step_loss[0] == result.history.step_loss[-2] < math.inf
    assert not np.isfinite(result.history.step_loss[-1])
    assert "\n" not in str(caught.value)


def test_the_first_loss_is_not_finite():
    with pytest.raises(TrainingError, match=r"at step 0 \(batch 0 of epoch 0, from 0\)") as caught:
        diverge(x=np.full_like(X, 3e38))
    assert int(caught.value.result.state.step) == 0
    y = NUMBERS.copy()
    y[7] = np.nan
    with pytest.raises(TrainingError, match=r"got nan at step 1 \(batch 1 of epoch 0") as caught:
        run(LINEAR, y, DIVERGES, order="sequential")
    assert int(caught.value.result.state.step) == 0


def test_the_last_update_is_not_finite():
    """Whose loss nobody has seen."""
    text = r"^train: expected finite parameters, got NaN or infinity at step 0 \(batch 0 of epoch"
    with pytest.raises(TrainingError, match=text) as caught:
        run(LINEAR, NUMBERS + 9, gradient_descent(3e38), epochs=None, steps=1)
    assert int(caught.value.result.state.step) == 0


# Ctrl-C


@pytest.fixture
def ctrl_c():
    """Ctrl-C, where something listens: what runs in the background ignores it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield lambda: signal.raise_signal(signal.SIGINT)
    signal.signal(signal.SIGINT, before)


def test_ctrl_c_ends_training_with_its_result(ctrl_c, capfd):
    found = run(epochs=9, on_epoch=lambda epoch, params: epoch == 2 and ctrl_c())
    assert (found.stopped, int(found.state.epoch)) == ("interrupted", 2)
    assert bits(found.state) == bits(run(epochs=2).state)
    assert capfd.readouterr() == ("", "train: interrupted after step 6\n")
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_a_second_ctrl_c_ends_it_at_once(ctrl_c):
    with pytest.raises(KeyboardInterrupt):
        run(epochs=9, on_epoch=lambda epoch, params: (ctrl_c(), ctrl_c()))
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_an_error_on_the_way_gives_ctrl_c_back(ctrl_c):
    with pytest.raises(ZeroDivisionError):
        run(on_epoch=lambda epoch, params: 1 / 0)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_who_ignores_ctrl_c_goes_on(ctrl_c):
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    assert run(on_epoch=lambda epoch, params: ctrl_c()).stopped == "epochs"
    assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN


def test_in_a_thread():
    found = []
    thread = threading.Thread(target=lambda: found.append(run()))
    thread.start()
    thread.join()
    assert bits(found[0].state) == bits(run().state)


# Bad input: one line, before anything is compiled

WITH_NAN = X.copy()
WITH_NAN[3, 1] = np.nan
WHOLE = r"to be a positive whole number, got "
OPTIMIZER = (
    r"^train: expected an optimizer, a pair \(init, update\), got .*: pass "
    r"manualbp\.gradient_descent\(0\.1\), or one of Optax$"
)
STATE = r"^train: expected a state with .*, got one with .*: resume with the network, optimizer "
FIRST = (
    r"^gradient_descent: expected a schedule that starts with a finite number of 0 or more, got "
)

MISTAKES = {
    "no network": (lambda: train("net", (X, CLASSES), DESCENT, epochs=1), TypeError,
        r"^train: expected a network, got 'net': make one with manualbp\.mlp\(\.\.\.\)$"),
    "a rule": (lambda: evaluate(NETWORK.rule, PARAMS, (X, CLASSES)), TypeError,
        r"^evaluate: expected a network, got Rule\(.*\): make one"),
    "no loss": (lambda: run(bp.mlp((3, 2), loss=None)), ValueError,
        r"^train: expected a network with a loss, got none: mlp\(\.\.\., loss=\.\.\.\)$"),
    "x alone": (lambda: train(NETWORK, X, DESCENT, epochs=1), TypeError,
        r"^train: expected data of inputs and targets, got an array .*: pass \(x, y\)$"),
    "held_out alone": (lambda: run(held_out=X), TypeError,
        r"^train: expected held_out of inputs and targets, got an array .*: pass \(x, y\)$"),
    "NaN in x": (lambda: run(x=WITH_NAN), ValueError,
        r"^train: expected finite x, got NaN or infinity in x: remove such examples, or "),
    "x of other inputs": (lambda: run(x=X[:, :2]), ValueError,
        r"^train: expected x of shape \(examples, 3\), got \(10, 2\): put one example a row$"),
    "x of integers": (lambda: run(x=X.astype(int)), TypeError,
        r"^train: expected floating-point x, got int"),
    "no examples": (lambda: run(x=X[:0], y=CLASSES[:0]), ValueError,
        r"^train: expected at least one example, got an empty batch"),
    "fewer targets": (lambda: run(y=CLASSES[:3]), ValueError,
        r"^train: expected y with 10 examples to match x, got shape \(3,\)$"),
    "labels from 1": (lambda: run(y=CLASSES + 1), ValueError,
        r"expected labels in 0\.\.1, got 2: count classes from 0"),
    "labels below 0": (lambda: run(y=CLASSES - 1), ValueError,
        r"expected labels in 0\.\.1, got -1: count classes from 0"),
    "held-out labels": (lambda: run(held_out=(X, CLASSES + 1)), ValueError,
        r"expected labels in 0\.\.1, got 2: count classes from 0"),
    "one-hot labels": (lambda: run(y=BITS), TypeError,
        r"expected integer labels, got float32: convert them"),
    "labels of two axes": (lambda: run(y=CLASSES[:, None]), ValueError,
        r"expected labels of shape \(\) to match scores of shape \(2,\), got \(1,\)"),
    "targets of one axis": (lambda: run(LINEAR, NUMBERS[:, 0]), ValueError,
        r"^squared_error: expected targets of shape \(1,\) to match predictions, got \(\)"),
    "targets of integers": (lambda: run(LINEAR, CLASSES[:, None]), TypeError,
        r"^squared_error: expected floating-point targets, got int32"),
    "labels of 7": (lambda: run(TWO_LOSSES, 7 * BITS), ValueError,
        r"^sigmoid_binary_cross_entropy: expected .*, got 7"),
    "zero epochs": (lambda: run(epochs=0), ValueError, rf"^train: expected epochs {WHOLE}0$"),
    "negative epochs": (lambda: run(epochs=-1), ValueError, rf"^train: expected epochs {WHOLE}-1$"),
    "True epochs": (lambda: run(epochs=True), ValueError, rf"^train: expected epochs {WHOLE}True$"),
    "half an epoch": (lambda: run(epochs=0.5), ValueError,
        rf"^train: expected epochs {WHOLE}0\.5$"),
    "zero steps": (lambda: run(steps=0), ValueError, rf"^train: expected steps {WHOLE}0$"),
    "zero patience": (lambda: run(patience=0), ValueError, rf"^train: expected patience {WHOLE}0$"),
    "no end": (lambda: run(epochs=None), ValueError,
        r"^train: expected epochs or steps, got neither: say epochs=10$"),
    "a negative tolerance": (lambda: run(tolerance=-1.0), ValueError,
        r"^train: expected tolerance to be a finite number of 0 or more, got -1\.0$"),
    "zero examples a batch": (lambda: run(batch_size=0), ValueError,
        rf"^train: expected batch_size {WHOLE}0$"),
    "True examples a batch": (lambda: run(batch_size=True), ValueError,
        rf"^train: expected batch_size {WHOLE}True$"),
    "no batch": (lambda: run(batch_size=None), ValueError,
        r"^train: expected a batch_size, got None: say 32, or 'all'$"),
    "a batch of more than all": (lambda: run(batch_size=11), ValueError,
        r"^train: expected batch_size of at most the 10 examples, got 11: say 'all', or give more"),
    "no multiple": (lambda: run(update_every=6), ValueError,
        r"^train: expected update_every to be a multiple of batch_size 4 and at most the 10 "),
    "an update of more than all": (lambda: run(update_every=12), ValueError,
        r"^train: expected update_every to be a multiple of batch_size 4 and at most the 10 "),
    "another order": (lambda: run(order="random"), ValueError,
        r"^train: expected order 'shuffle' or 'sequential' or 'sample', got 'random'$"),
    "another reduction": (lambda: run(reduction="median"), ValueError,
        r"^train: expected reduction 'mean' or 'sum', got 'median'$"),
    "metrics of nothing": (lambda: run(metrics={}), ValueError,
        r"^train: expected held_out for metrics, got none: pass held_out=\(x, y\)$"),
    "metrics by name": (lambda: run(metrics=["accuracy"], held_out=(X, CLASSES)), TypeError,
        r"^train: expected metrics of functions by name, got \['accuracy'\]: pass \{'name': "),
    "a number on epoch": (lambda: run(on_epoch=3), TypeError,
        r"^train: expected on_epoch to be a function of \(epoch, params\), got 3$"),
    "a seed": (lambda: run(key=0), TypeError,
        r"^train: expected a key, got 0: make one with jax\.random\.key\(0\)$"),
    "params with NaN": (
        lambda: run(params=jax.tree.map(lambda p: p * np.float32(np.nan), PARAMS)), ValueError,
        r"^train: expected finite params, got NaN or infinity in params\[0\]\.w"),
    "params in a list": (lambda: run(params=list(PARAMS)), ValueError,
        r"^train: expected params of the tree that the network's init gives, .*, got .*: start "),
    "a rate for an optimizer": (lambda: run(optimizer=0.1), TypeError, OPTIMIZER),
    "no call": (lambda: run(optimizer=gradient_descent), TypeError, OPTIMIZER),
    "three functions": (lambda: run(optimizer=(max, min, sum)), TypeError, OPTIMIZER),
    "the params of a state": (lambda: run(resume=PARAMS), TypeError,
        r"^train: expected resume to be a State or the path of one, got a tuple: pass result\.st"),
    "a state of accumulators": (
        lambda: run(resume=run(**WAYS["4 by 4, update after 8"]).state), ValueError,
        r"^train: expected a state with no sums\[0\]\[0\]\.w, got one with sums\[0\]\[0\]\.w of "),
    "a state of another network": (
        lambda: run(LEARNED, resume=run().state), ValueError, STATE),
    "a state of another optimizer": (
        lambda: run(optimizer=optax.sgd(0.1, momentum=0.9), resume=run().state), ValueError,
        r"^train: expected a state with optimizer\[0\]\.trace.* of float32 of shape \(3, 4\), "),
    "a state of smaller batches": (
        lambda: run(batch_size=10, reduction="sum",
                    resume=run(epochs=None, steps=2).state._replace(optimizer=())), ValueError,
        r"^train: expected a state within the 1 batches of an epoch, got one at batch 2: resume "),
    "a rate of 0": (lambda: gradient_descent(0), ValueError,
        r"^gradient_descent: expected learning_rate to be a positive finite number, got 0$"),
    "a negative rate": (lambda: gradient_descent(-0.1), ValueError, r"number, got -0\.1$"),
    "a rate of NaN": (lambda: gradient_descent(math.nan), ValueError, r"number, got nan$"),
    "an infinite rate": (lambda: gradient_descent(math.inf), ValueError, r"number, got inf$"),
    "a rate in words": (lambda: gradient_descent("fast"), ValueError, r"number, got 'fast'$"),
    "a true rate": (lambda: gradient_descent(True), ValueError, r"number, got True$"),
    "a schedule below 0": (lambda: gradient_descent(lambda t: -0.1), ValueError,
        FIRST + r"-0\.1: give eta\(t\) for t = 0, 1, \.\.\.$"),
    "a schedule of NaN": (lambda: gradient_descent(lambda t: math.nan), ValueError, FIRST + "nan"),
    "a schedule of nothing": (lambda: gradient_descent(lambda t: None), ValueError, FIRST + "None"),
    "a schedule of words": (lambda: gradient_descent(lambda t: "a"), ValueError, FIRST + "'a'"),
    "a schedule of arrays": (lambda: gradient_descent(lambda t: np.ones(2)), ValueError,
        FIRST + "an array of float64"),
    "no updates": (lambda: schedules.step(0.1, 0), ValueError,
        r"^step: expected every to be a whole number >= 1, got 0$"),
    "a growing step": (lambda: schedules.step(0.1, 5, 2.0), ValueError,
        r"^step: expected factor to be in \(0, 1\], got 2\.0$"),
    "half of an update": (lambda: schedules.inverse_time(0.1, 0.5), ValueError,
        r"^inverse_time: expected half_after to be a whole number >= 1, got 0\.5$"),
    "a cosine that rises": (lambda: schedules.cosine(0.1, 5, 0.2), ValueError,
        r"^cosine: expected last to be from 0 to 0\.1, got 0\.2$"),
    "a constant below 0": (lambda: schedules.constant(-1), ValueError,
        r"^constant: expected rate to be a positive finite number, got -1$"),
}  # fmt: skip


@pytest.mark.parametrize("name", MISTAKES)
def test_mistakes_are_told_in_one_line(name):
    call, error, text = MISTAKES[name]
    with pytest.raises(error, match=text) as caught:
        call()
    assert "\n" not in str(caught.value)


def test_a_schedule_may_begin_at_0():
    init, update = gradient_descent(lambda t: 0.5 * jnp.asarray(t, jnp.float32))
    change, state = update(jnp.ones(2), init(jnp.ones(2)))
    assert not np.any(change)
    change, _ = update(jnp.ones(2), state)
    np.testing.assert_array_equal(change, [-0.5, -0.5])
