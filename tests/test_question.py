"""What may be asked of the judge: the forms of custom rules, and questions that cannot be put."""

import cProfile
import functools
import pstats
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.custom_derivatives import SymbolicZero

from manualbp.verify import Spec, check

X = Spec((3,))


def custom(value, pull, **options):
    """A custom_vjp function whose residuals are its arguments."""
    function = jax.custom_vjp(value, **options)
    function.defvjp(lambda *args: (value(*args), args), pull)
    return function


@functools.partial(jax.custom_vjp, nondiff_argnums=(1,))
def power(x, n):
    return x**n


power.defvjp(lambda x, n: (x**n, x), lambda n, x, dy: (dy * n * x ** (n - 1),))


@functools.partial(jax.custom_vjp, nondiff_argnums=(1,))
def wrong_power(x, n):
    return x**n


wrong_power.defvjp(lambda x, n: (x**n, x), lambda n, x, dy: (dy * n * x**n,))


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def each(f, x):
    return f(x)


each.defvjp(lambda f, x: (f(x), x), lambda f, x, dy: (dy * jax.vmap(jax.grad(f))(x),))


@functools.partial(jax.custom_vjp, nondiff_argnums=(1,))
def in_mode(x, mode):
    return x * (2 if mode == "double" else 3)


in_mode.defvjp(
    lambda x, mode: (in_mode(x, mode), None),
    lambda mode, _, dy: (dy * (2 if mode == "double" else 3),),
)


@jax.custom_vjp
def product(x, y):
    return x * y


product.defvjp(
    lambda x, y: (x.value * y.value, (x.value, y.value)),
    lambda xy, dy: (dy * xy[1], dy * xy[0]),
    symbolic_zeros=True,
)


def forward_rule(derivative, nondiff_argnums=()):
    function = jax.custom_jvp(jnp.sin, nondiff_argnums=nondiff_argnums)
    function.defjvp(lambda x, t: (jnp.sin(x[0]), derivative(x[0], t[0])))
    return function


@functools.partial(jax.custom_jvp, nondiff_argnums=(1,))
def power_forward(x, n):
    return x**n


power_forward.defjvp(lambda n, x, t: (x[0] ** n, n * x[0] ** (n - 1) * t[0]))

by_argument = jax.custom_jvp(lambda x, y: x * jnp.sin(y))
by_argument.defjvps(
    lambda dx, out, x, y: dx * jnp.sin(y), lambda dy, out, x, y: dy * x * jnp.cos(y)
)


@jax.custom_vjp
def of_a_tree(p):
    return {"a": p["w"] * 2, "n": jnp.arange(3)}


of_a_tree.defvjp(lambda p: (of_a_tree(p), None), lambda _, dy: ({"w": dy["a"] * 2},))

inner = custom(jnp.sinh, lambda args, dy: (dy * jnp.cosh(args[0]),))
# the derivative of its bwd goes through the inner rule
nested = custom(
    lambda x: inner(x) * x, lambda args, dy: (dy * (inner(args[0]) + args[0] * jnp.cosh(args[0])),)
)

FORMS = {
    "static number": (power, (X, 3), "PASS"),
    "static number, wrong": (wrong_power, (X, 3), "FAIL"),
    "static function": (each, (jnp.sin, X), "PASS"),
    "static text": (in_mode, (X, "double"), "PASS"),
    "bound by a keyword": (functools.partial(power, n=3), (X,), "PASS"),
    "bound by a keyword, wrong": (functools.partial(wrong_power, n=3), (X,), "FAIL"),
    "symbolic zeros": (product, (X, X), "PASS"),
    "JVP rule": (forward_rule(lambda x, t: jnp.cos(x) * t), (X,), "PASS"),
    "JVP rule, wrong": (forward_rule(lambda x, t: jnp.sin(x) * t), (X,), "FAIL"),
    "JVP rule, not linear": (forward_rule(lambda x, t: jnp.cos(x) * t * t), (X,), "FAIL"),
    "JVP rule, static number": (power_forward, (X, 3), "PASS"),
    "JVP rules by argument": (by_argument, (X, X), "PASS"),
    "trees, integer result": (of_a_tree, ({"w": X},), "PASS"),
    "nested": (nested, (X,), "PASS"),
}


@pytest.mark.parametrize("form", FORMS)
def test_form(form):
    rule, args, verdict = FORMS[form]
    report = check(rule, *args)
    assert report.verdict == verdict, report


def pair(value=lambda x: x, pull=lambda args, dy: (dy,)):
    return (lambda *args: (value(*args), args)), pull


def printing(x):
    jax.debug.print("{}", x)
    return x


without_rule = jax.custom_vjp(jnp.sin)

REFUSED = {
    "raises": (
        {"definition": lambda x: 1 / 0},
        "definition of .* raises ZeroDivisionError .*float",
    ),
    "integers": ({"definition": lambda x: jnp.floor(x).astype(int)}, "with a floating result, got"),
    "prints": ({"definition": printing}, "without side effects, got DebugEffect: remove printing"),
    "no function": ({"definition": 5}, "expected a function as the definition of .*, got int"),
    "itself": (
        {"rule": inner, "definition": lambda x: 2 * inner(x) / 2},
        "independent of .* got one",
    ),
    "does not fit": ({"rule": inner, "args": (X, X)}, "raises TypeError for arguments float"),
    "no rule": ({"rule": without_rule}, "expected a backward pass of sin: call sin.defvjp"),
    "argnums": ({"argnums": 7}, "expected argnums from 0 to 0, one of 1 arguments, got 7"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_question_that_cannot_be_put(case):
    options, message = REFUSED[case]
    options = {"rule": pair(), "args": (X,), **options}
    if not isinstance(options["rule"], jax.custom_vjp):
        options.setdefault("definition", lambda x: x)
    rule, args = options.pop("rule"), options.pop("args")
    with pytest.raises((TypeError, ValueError), match=message) as raised:
        check(rule, *args, **options)
    assert "\n" not in str(raised.value)


UNDECIDED = {
    "not finite": (lambda x: x * jnp.nan, "undefined, NaN or infinite, wherever it was looked at"),
    "not deterministic": (lambda x: x * np.random.default_rng().normal(), "not deterministic"),
    "nothing there": (lambda x: x, "no number was compared"),
}


@pytest.mark.parametrize("case", UNDECIDED)
def test_nothing_to_compare_is_undecided(case):
    definition, reason = UNDECIDED[case]
    x = Spec((0,)) if case == "nothing there" else X
    report = check(pair(), x, definition=definition)
    assert report.verdict == "UNDECIDED"
    assert reason in report.evidence[-1].text


def test_rule_that_raises_is_refused_for_that():
    report = check(pair(pull=lambda args, dy: (dy @ dy,)), Spec((2, 3)), definition=lambda x: x)
    assert report.verdict == "FAIL"
    assert "raises" in report.diagnosis[0]
    assert "TypeError" in report.evidence[-1].text


def test_fwd_without_residuals_is_told():
    report = check((lambda x: x, lambda x, dy: (dy,)), X, definition=lambda x: x)
    assert "expected fwd to give (value, residuals)" in report.evidence[-1].text


def test_power_and_branches_are_in_the_report():
    relu = custom(lambda x: jnp.maximum(x, 0), lambda args, dy: (jnp.where(args[0] > 0, dy, 0),))
    report = check(relu, X)
    assert report.verdict == "PASS"
    assert report.power is not None
    assert report.power <= 1e-19
    assert report.branches is not None
    assert report.branches.taken == report.branches.ways > 0
    hidden = custom(lambda x: x * 2, lambda args, dy: (jnp.where(args[0] * 0 > 1, 3.0, 2.0) * dy,))
    report = check(hidden, X)
    assert any("true in gt" in text for text in report.branches.unvisited), report
    assert "not taken: true in gt" in str(report)


@jax.custom_vjp
def scaled(p, x):
    return p["w"] * x


scaled.defvjp(
    lambda p, x: (scaled(p, x), (p, x)), lambda px, dy: ({"w": 2 * dy * px[1]}, dy * px[0]["w"])
)


def test_lines_that_reproduce_a_failure_do(capsys):
    example = check(scaled, {"w": X}, X).counterexample
    assert example.argument == "p['w']"
    assert f"from {__name__} import scaled as rule" in example.code
    exec(example.code, {})
    assert float(capsys.readouterr().out) == example.got


@jax.custom_batching.custom_vmap
def scale(x, y):
    return x * y


@scale.def_vmap
def _scale_batched(size, batched, x, y):
    factor = 1.0 if all(batched) else 2.0  # wrong where one of them is not batched
    return factor * x * y, True


def test_batching_of_one_argument_alone_is_looked_at():
    rule = (lambda x, y: (x * y, (x, y)), lambda xy, dy: (scale(dy, xy[1]), scale(dy, xy[0])))
    report = check(rule, X, X, definition=lambda x, y: x * y)
    assert report.verdict == "FAIL"
    assert "alone differs from vmap over all" in report.evidence[-1].text


def test_every_run_is_the_same():
    runs = {str(check(inner, X, level="quick", seed=3)) for _ in range(10)}
    assert len(runs) == 1


def test_rule_that_is_defined_again_is_judged_again():
    double = jax.custom_vjp(lambda x: 2 * x)
    double.defvjp(lambda x: (2 * x, None), lambda _, dy: (dy,))
    assert check(double, X).verdict == "FAIL"
    double.defvjp(lambda x: (2 * x, None), lambda _, dy: (2 * dy,))
    assert check(double, X).verdict == "PASS"


def test_a_profiler_goes_on_after_a_check():
    """One that is a function, and Python's own, which is none."""
    told = custom(jnp.sin, lambda saved, dy: (dy * jnp.cos(*saved),))
    with cProfile.Profile() as profiler:
        assert check(told, X, level="quick").verdict == "PASS"
        np.linspace(0, 1, 3)
    assert any("linspace" in str(function) for function in pstats.Stats(profiler).stats)
    events = []
    before = sys.getprofile()
    sys.setprofile(lambda *event: events.append(event[1]))
    try:
        function = custom(jnp.cos, lambda saved, dy: (-dy * jnp.sin(*saved),))
        check(function, X, level="quick")
        events.clear()
        np.linspace(0, 1, 3)
    finally:
        sys.setprofile(before)
    assert "call" in events


def test_order_1_asks_for_the_gradient_alone():
    def value(x):
        return x**3

    rule = jax.custom_vjp(value)
    rule.defvjp(lambda x: (x**3, jax.lax.stop_gradient(x)), lambda x, dy: (3 * x**2 * dy,))
    report = check(rule, Spec((2,)), level="quick")
    assert report.verdict == "FAIL"
    assert "order=1 asks for the gradient alone" in report.diagnosis[0]
    assert check(rule, Spec((2,)), level="quick", order=1).verdict == "PASS"
    with pytest.raises(ValueError, match="check: expected order 1 or 2, got 3"):
        check(rule, Spec((2,)), order=3)


def test_arguments_that_are_not_asked_about_are_not_moved():
    @jax.custom_jvp
    def scaled(a, x):
        return a * x

    @functools.partial(scaled.defjvp, symbolic_zeros=True)
    def _(primals, tangents):
        (a, x), (da, dx) = primals, tangents
        if type(da) is not SymbolicZero:
            raise NotImplementedError("a derivative by a is not there")
        return a * x, a * (dx if type(dx) is not SymbolicZero else jnp.zeros_like(x))

    args = Spec((2,)), Spec((2,))
    assert check(scaled, *args, argnums=1, level="quick").verdict == "PASS"
    assert check(scaled, *args, level="quick").verdict == "FAIL"
