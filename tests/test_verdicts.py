"""What PASS, FAIL and UNDECIDED answer: the dtype, domain and digits that were asked about."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax
from jax.extend import core
from jax.interpreters import mlir

from manualbp.verify import Spec, check


def custom(value, bwd, **options):
    """A custom_vjp function whose residuals are its arguments."""
    function = jax.custom_vjp(value, **options)
    function.defvjp(lambda *args: (value(*args), args), bwd)
    return function


def f32(x):
    return jnp.asarray(x, jnp.float32)


def bf16(x):
    return jnp.asarray(x, jnp.bfloat16)


# Digits


def from_output(value, slope):
    function = jax.custom_vjp(value)
    function.defvjp(lambda x: (value(x),) * 2, lambda y, dy: (dy * slope(y),))
    return function


def softmax(x):
    return jax.nn.softmax(x)


def softmax_pull(p, dy):
    return p * (dy - jnp.sum(p * dy, -1, keepdims=True))


def layer_norm(x):
    d = x - x.mean(-1, keepdims=True)
    return d * lax.rsqrt(jnp.mean(d * d, -1, keepdims=True) + 1e-5)


def layer_norm_pull(args, dy):
    (x,) = args
    d = x - x.mean(-1, keepdims=True)
    r = lax.rsqrt(jnp.mean(d * d, -1, keepdims=True) + 1e-5)
    n = d * r
    return (r * (dy - dy.mean(-1, keepdims=True) - n * jnp.mean(dy * n, -1, keepdims=True)),)


def weighted(scores, values):
    return jax.nn.softmax(scores) @ values


def weighted_pull(args, dy):
    p = jax.nn.softmax(args[0])
    return softmax_pull(p, dy @ args[1].T), p.T @ dy


def guarded(z):
    e = jnp.exp(z - jnp.max(z))
    return e / (jnp.sum(e) + 1e-9)


unguarded = jax.custom_vjp(guarded)
unguarded.defvjp(lambda z: (guarded(z),) * 2, lambda p, dy: (softmax_pull(p, dy),))


def wrong_guard(x):  # where |x| is small, 1e-3 is no guard
    return x / (jnp.abs(x) + 1e-3)


def ratio(x):  # (e^x - 1) / x, whose slope written so is noise near 0
    return jnp.where(x == 0, 1.0, jnp.expm1(x) / jnp.where(x == 0, 1.0, x))


def ratio_pull(args, dy):
    (x,) = args
    safe = jnp.where(x == 0, 1.0, x)
    slope = (safe * jnp.exp(safe) - jnp.expm1(safe)) / (safe * safe)
    return (dy * jnp.where(x == 0, 0.5, slope),)


def unstable_pull(args, dy):
    e = jnp.exp(args[0])
    return (softmax_pull(e / e.sum(-1, keepdims=True), dy),)


def sinc(x):
    return jnp.where(jnp.abs(x) < 1e-8, 1.0, jnp.sin(x) / jnp.where(x == 0, 1.0, x))


def sinc_pull(args, dy):
    (x,) = args
    near = jnp.abs(x) < 1e-8
    safe = jnp.where(near, 1.0, x)
    return (dy * jnp.where(near, 0.0, (jnp.cos(x) - jnp.sin(x) / safe) / safe),)


def summed_low(args, dy):
    (x, w) = args
    low = (dy * x).astype(jnp.bfloat16)
    total = lax.scan(lambda c, row: (c + row, None), jnp.zeros(w.shape, jnp.bfloat16), low)[0]
    return dy * w, total.astype(w.dtype)


DIGITS = {
    "tanh from its output": (from_output(jnp.tanh, lambda y: 1 - y * y), (Spec((3,)),), "PASS"),
    "sigmoid from its output": (
        from_output(jax.nn.sigmoid, lambda y: y * (1 - y)), (Spec((3,)),), "PASS"),
    "softmax of the textbook": (
        custom(softmax, lambda r, dy: (softmax_pull(softmax(r[0]), dy),)),
        (Spec((2, 4)),), "PASS"),
    "attention of the textbook": (
        custom(weighted, weighted_pull), (Spec((3, 4)), Spec((4, 2))), "PASS"),
    "layer norm of the textbook": (custom(layer_norm, layer_norm_pull), (Spec((2, 4)),), "PASS"),
    "a guard left out": (unguarded, (Spec((3,)),), "PASS"),
    "a guard that is none": (
        custom(wrong_guard, lambda r, dy: (0 * dy * r[0],)), (Spec((3,)),), "FAIL"),
    "noise near 0": (custom(ratio, ratio_pull), (Spec((4,)),), "FAIL"),
    "nothing near 0": (custom(sinc, sinc_pull), (Spec((4,)),), "FAIL"),
    "overflow at 100": (custom(softmax, unstable_pull), (f32([[0.5, 2.0]]),), "FAIL"),
    "a sum in bfloat16": (
        custom(lambda x, w: x * w, summed_low), (Spec((64, 2)), Spec((2,))), "FAIL"),
}  # fmt: skip


@pytest.mark.parametrize("case", DIGITS)
def test_digits_count_where_the_entry_is_of_its_natural_size(case):
    rule, args, verdict = DIGITS[case]
    report = check(rule, *args)
    assert report.verdict == verdict, report


def test_strict_refuses_a_loss_below_the_natural_scale_and_says_so():
    rule, args, _ = DIGITS["tanh from its output"]
    report = check(rule, *args, strict=True)
    assert report.verdict == "FAIL", report
    assert "cancellation" in report.diagnosis[0]


def test_a_guard_is_named_with_what_it_changes():
    report = check(unguarded, Spec((3,)))
    assert any("1e-09" in note and "guard" in note for note in report.notes), report


def test_arithmetic_is_graded_beside_autodiff():
    report = check(DIGITS["tanh from its output"][0], Spec((3,)))
    assert "than autodiff" in report.grade or "as autodiff" in report.grade
    assert "ULP of float32" in report.grade


# The dtype asked

inside = custom(
    lambda x: (x.astype(jnp.float32) ** 3).astype(x.dtype),
    lambda r, dy: (
        (3 * dy.astype(jnp.float32) * r[0].astype(jnp.float32) ** 2).astype(r[0].dtype),
    ),
)
accumulated = custom(
    lambda x: lax.scan(lambda c, v: (c + jnp.sin(v), None), jnp.zeros(()), x)[0],
    lambda r, dy: (dy * jnp.cos(r[0]),),
)
wide_loss = custom(
    lambda x: jnp.sum(x.astype(jnp.float32) ** 2),
    lambda r, dy: ((2 * dy * r[0].astype(jnp.float32)).astype(r[0].dtype),),
)
left_wide = custom(lambda x: 3 * x, lambda r, dy: (3 * dy.astype(jnp.float32),))


def half_only(x):
    if x.dtype != jnp.bfloat16:
        raise TypeError("a kernel of bfloat16")
    return x * x


DTYPES = {
    "float32 inside, bfloat16 asked": (inside, (bf16([1.5, -2.0]),), "PASS"),
    "float32 inside, float64 asked": (inside, (Spec((2,), dtype="float64"),), "FAIL"),
    "float32 accumulator": (accumulated, (f32([0.5, 1.0, -2.0]),), "PASS"),
    "float32 loss of bfloat16": (wide_loss, (bf16([1.5, -2.0]),), "PASS"),
    "bfloat16 alone": (custom(half_only, lambda r, dy: (2 * r[0] * dy,)), (bf16([1.5]),), "PASS"),
    "wrong, bfloat16 alone": (
        custom(half_only, lambda r, dy: (r[0] * dy,)),
        (bf16([1.5]),),
        "FAIL",
    ),
    "cotangent left wide": (left_wide, (bf16([1.0, 2.0]),), "FAIL"),
    "cotangent left wide, float32": (left_wide, (f32([1.0, 2.0]),), "PASS"),
}


@pytest.mark.parametrize("case", DTYPES)
def test_the_dtype_asked_is_the_one_that_counts(case):
    rule, args, verdict = DTYPES[case]
    report = check(rule, *args)
    assert report.verdict == verdict, report


def test_a_report_is_in_the_dtype_asked():
    rule, args, _ = DTYPES["wrong, bfloat16 alone"]
    report = check(rule, *args)
    assert "bfloat16" in str(report).splitlines()[0]
    assert report.counterexample.args[0].dtype == jnp.bfloat16
    assert report.counterexample.ulps <= 2**9


# The domain asked


def entropy(p):
    return -jnp.sum(p * jnp.log(p), -1)


def interpolate(x, knots):
    return jnp.sum(jnp.maximum(x - knots, 0))


DOMAINS = {
    "positive numbers": (
        custom(jnp.sqrt, lambda r, dy: (dy * 0.5 / jnp.sqrt(r[0]),)),
        (f32([1.0, 4.0, 2.5]),),
        "PASS",
    ),
    "only the point given": (
        custom(jnp.log, lambda r, dy: (dy / jnp.abs(r[0]),)),
        (f32([2.0, 3.0]),),
        "PASS",
    ),
    "probabilities": (
        custom(entropy, lambda r, dy: (-dy * (jnp.log(r[0]) + 1),)),
        (f32([0.5, 0.25, 0.25]),),
        "PASS",
    ),
    "a permutation": (
        custom(lambda x, p: x[p], lambda r, dy: (dy[jnp.argsort(r[1])], None)),
        (f32([1.0, 5.0, -2.0, 0.0]), jnp.array([2, 0, 3, 1])),
        "PASS",
    ),
    "indices that repeat": (
        custom(lambda x, i: x[i], lambda r, dy: (jnp.zeros_like(r[0]).at[r[1]].set(dy), None)),
        (f32([1.0, 5.0, -2.0, 0.0]), jnp.array([2, 0, 2])),
        "FAIL",
    ),
}


@pytest.mark.parametrize("case", DOMAINS)
def test_given_arrays_say_where_the_question_lies(case):
    rule, args, verdict = DOMAINS[case]
    report = check(rule, *args, explore=case != "only the point given")
    assert report.verdict == verdict, report


def test_the_first_line_says_what_was_asked():
    report = check(DOMAINS["positive numbers"][0], f32([1.0, 4.0, 2.5]))
    assert "float32[3] > 0" in str(report).splitlines()[0]


# Soundness


def window(v):
    return jnp.where((v > 3.14159) & (v < 3.1416), 1.0, 3 * v * v)


def hidden(wrong):
    return lambda x: (x**3, x), lambda x, dy: (wrong(x) * dy,)


HIDDEN = {
    "map": lambda x: lax.map(window, x),
    "scan": lambda x: lax.scan(lambda c, v: (c, window(v)), 0.0, x)[1],
    "branch": lambda x: lax.cond(jnp.sum(x) > -1e9, window, lambda v: 3 * v * v, x),
    "loop": lambda x: lax.fori_loop(0, 1, lambda i, v: window(v), x),
}


@pytest.mark.parametrize("where", HIDDEN)
def test_comparisons_inside_of_control_flow_are_found(where):
    report = check(hidden(HIDDEN[where]), f32([1.0, 2.0, -0.5]), definition=lambda x: x**3)
    assert report.verdict == "FAIL", report
    right = hidden(lambda x: lax.map(lambda v: 3 * v * v, x))
    assert check(right, f32([1.0, 2.0, -0.5]), definition=lambda x: x**3).verdict == "PASS"


def square_root_of_square(x):  # autodiff gives 0 at 0, a rule 0 too: the slope is 1
    return jnp.maximum(x, 0.0) - jnp.maximum(-x, 0.0)


zero_together = custom(square_root_of_square, lambda r, dy: (dy * jnp.abs(jnp.sign(r[0])),))
one_together = custom(square_root_of_square, lambda r, dy: (dy,))


def test_rule_and_autodiff_wrong_together_at_a_tie_are_refused():
    definition = lambda x: jax.nn.relu(x) - jax.nn.relu(-x)  # noqa: E731
    assert check(zero_together, f32([0.0, 0.5]), definition=definition).verdict == "FAIL"
    assert check(one_together, f32([0.0, 0.5]), definition=definition).verdict == "PASS"


def straight_through(x):
    return x + lax.stop_gradient(jnp.floor(x) - x)


def test_stop_gradient_holds_its_value():
    through = custom(jnp.floor, lambda r, dy: (dy,))
    stopped = custom(jnp.floor, lambda r, dy: (0 * dy,))
    assert check(through, Spec((3,)), definition=straight_through).verdict == "PASS"
    assert check(stopped, Spec((3,)), definition=straight_through).verdict == "FAIL"


COMPLEX = jnp.array([1 + 2j, -0.5 + 1j], jnp.complex64)


@pytest.mark.parametrize(
    ("bwd", "verdict"),
    [
        (lambda r, dy: (dy * 3 * r[0] ** 2,), "PASS"),
        (lambda r, dy: (dy * 3 * jnp.conj(r[0]) ** 2,), "FAIL"),
    ],
)
def test_complex_numbers_follow_the_convention_of_jax(bwd, verdict):
    report = check(custom(lambda z: z**3, bwd), COMPLEX)
    assert report.verdict == verdict, report


def fixed_point(a):
    def step(z):
        return 0.5 * (z + a / z)

    return lax.while_loop(lambda z: jnp.any(jnp.abs(z * z - a) > 1e-6 * a), step, a + 1)


@pytest.mark.parametrize(("factor", "verdict"), [(0.5, "PASS"), (0.6, "FAIL")])
def test_definitions_that_jax_cannot_differentiate_are_differenced(factor, verdict):
    rule = jax.custom_vjp(fixed_point)
    rule.defvjp(lambda a: (fixed_point(a),) * 2, lambda z, dy: (factor * dy / z,))
    report = check(rule, f32([2.0, 5.0]), level="quick")
    assert report.verdict == verdict, report
    assert report.evidence[-1].rung == "differences"


def primitive_of(name, function):
    """A package's own primitive, which JAX can run and not differentiate."""
    primitive = core.Primitive(name)
    primitive.def_impl(function)
    primitive.def_abstract_eval(lambda x, **_: jax.core.ShapedArray(x.shape, jnp.float32))
    mlir.register_lowering(primitive, mlir.lower_fun(function, multiple_results=False))
    return primitive


def _sines(x, *, precision):
    assert precision == "highest"  # a parameter of its own meaning
    return jnp.sin(x.astype(jnp.float32))


sines = primitive_of("sines", _sines)


@pytest.mark.parametrize(("factor", "verdict"), [(1.0, "PASS"), (1.01, "FAIL")])
def test_a_foreign_primitive_is_differenced_in_its_own_dtype(factor, verdict):
    def value(x):
        return 2 * sines.bind(x, precision="highest")

    rule = custom(value, lambda r, dy: (factor * 2 * dy * jnp.cos(r[0]),))
    report = check(rule, f32([0.3, 1.2, -2.0]))
    assert report.verdict == verdict, report
    assert report.evidence[-1].rung == "differences"


def test_a_definition_whose_autodiff_leaks_is_differenced():
    def squared(x):  # its inner rule closes over what is differentiated
        inner = jax.custom_vjp(lambda y: x * y)
        inner.defvjp(lambda y: (x * y, None), lambda _, dy: (x * dy,))
        return inner(x)

    report = check(custom(squared, lambda r, dy: (2 * dy * r[0],)), f32([0.3, 1.2]))
    assert report.verdict == "PASS", report


# Masks


def biased(scores, bias):
    return jax.nn.softmax(scores + bias)


BIAS = jnp.where(jnp.tril(jnp.ones((3, 3), bool)), 0, -jnp.inf).astype(jnp.float32)
BIASED = {
    "right": (lambda g, p: (g, g), "PASS"),
    "not a number where masked": (lambda g, p: (g, g / p * p), "FAIL"),
    "its sign": (lambda g, p: (g, -g), "FAIL"),
}


@pytest.mark.parametrize("explore", [True, False])
@pytest.mark.parametrize("case", BIASED)
def test_infinities_of_a_mask_are_numbers_to_compare_at(case, explore):
    pull, verdict = BIASED[case]
    rule = jax.custom_vjp(biased)
    rule.defvjp(lambda *args: (biased(*args),) * 2, lambda p, dy: pull(softmax_pull(p, dy), p))
    report = check(rule, f32(np.random.default_rng(0).normal(size=(3, 3))), BIAS, explore=explore)
    assert report.verdict == verdict, report


def test_floats_are_asked_where_a_mask_leaves_something_in_each_row():
    def attention(scores, mask):  # of a row without any, only rounding is left
        return jax.nn.softmax(jnp.where(mask, scores, scores - 1e9))

    rule = jax.custom_vjp(attention)
    rule.defvjp(
        lambda s, m: (attention(s, m), (jnp.where(m, s, s - 1e9), m)),
        lambda r, dy: (softmax_pull(jnp.exp(r[0] - jax.nn.logsumexp(r[0], -1, keepdims=True)), dy),
                       None),
    )  # fmt: skip
    scores = f32(np.random.default_rng(0).normal(size=(3, 3)))
    assert check(rule, scores, BIAS == 0).verdict == "PASS"
    assert check(rule, scores, Spec((3, 3), "mask", kind="bool")).verdict == "PASS"
    assert check(rule, scores, Spec((3, 3), "integers", 2, "bool")).verdict == "FAIL"


# Digits far out, and approximations


def test_two_approximations_that_meet_are_one():
    def sine(x):  # of six digits, by two series
        near = x - x**3 / 6 + x**5 / 120 - x**7 / 5040.0
        far = near + x**9 / 362880.0
        return jnp.where(jnp.abs(x) < 0.25, near, far)

    rule = custom(sine, lambda r, dy: (dy * jnp.cos(r[0]),))
    report = check(rule, Spec((4,), "interval", low=-0.3, high=0.3))
    assert report.verdict == "PASS", report
    assert "approximation" in " ".join(report.notes)


def test_the_slope_of_an_approximation_has_half_its_digits():
    def ripple(size):
        factor = lambda x: 1 + size * jnp.sin(40 * x)  # noqa: E731
        rule = custom(jnp.sin, lambda r, dy: (dy * jnp.cos(r[0]) * factor(r[0]),))
        return check(rule, Spec((4,), "interval", low=0.2, high=1.2))

    assert ripple(2e-6 / 3).verdict == "PASS"
    assert ripple(1e-4).verdict == "FAIL"


def test_far_out_what_is_below_the_natural_scale_is_for_the_strict():
    def saturates(x):
        return jnp.tanh(jnp.clip(x, -20, 20))

    rule = custom(saturates, lambda r, dy: (dy / jnp.cosh(r[0]) ** 2,))
    report = check(rule, Spec((3,)))
    assert report.verdict == "PASS", report
    assert "far out" in " ".join(report.notes)
    assert check(rule, Spec((3,)), strict=True).verdict == "FAIL"


def test_kinks_that_are_given_are_no_wrong_second_derivatives():
    rule = custom(lambda x: jnp.maximum(x, 0) ** 2, lambda r, dy: (2 * dy * jnp.maximum(r[0], 0),))
    assert check(rule, f32([0.0, 1.0]), explore=False).verdict == "PASS"


# Intentions

clipped = custom(lambda x: x, lambda r, dy: (jnp.clip(dy, -1, 1),))
not_odd = custom(lambda x: x, lambda r, dy: (jnp.minimum(dy, 1),))
other_value = custom(lambda x: x + 1, lambda r, dy: (jnp.clip(dy, -1, 1),))


def test_an_intention_explains_the_gradient_alone():
    def ask(rule, **options):
        return check(rule, jnp.ones(3), definition=lambda x: x, **options).verdict

    assert ask(clipped) == "FAIL"
    assert ask(clipped, intended="clips the gradient") == "PASS"
    assert ask(not_odd, intended="clips the gradient") == "FAIL"
    assert ask(other_value, intended="clips the gradient") == "FAIL"
    assert ask(custom(lambda x: x, lambda r, dy: (dy,)), intended="clips the gradient") == "FAIL"


def test_an_intention_may_be_a_function():
    def ask(intended):
        return check(clipped, jnp.ones(3), definition=lambda x: x, intended=intended).verdict

    assert ask(("clips", lambda x, dy: jnp.clip(dy, -1, 1))) == "PASS"
    assert ask(lambda x, dy: (jnp.clip(dy, -1, 1),)) == "PASS"
    assert ask(("clips elsewhere", lambda x, dy: jnp.clip(dy, -2, 2))) == "FAIL"
    with pytest.raises(TypeError, match="expected intended as a reason, a function"):
        ask(3)


# Questions of every form

masked = jax.custom_vjp(lambda x, m: jnp.sum(x * m), nondiff_argnums=(1,))
masked.defvjp(lambda x, m: (jnp.sum(x * m), None), lambda m, r, dy: (dy * m,))


@functools.partial(jax.custom_vjp, nondiff_argnums=(1,))
def sharpened(x, power):
    return jnp.abs(x) ** power


sharpened.defvjp(
    lambda x, power: (jnp.abs(x) ** power, x),
    lambda power, x, dy: (dy * power * jnp.abs(x) ** (power - 1) * jnp.sign(x),),
)


@functools.partial(jax.custom_jvp, nondiff_argnums=(0,))
def powers(exponents, x):
    return [x**k for k in exponents]


@powers.defjvp
def _(exponents, primals, tangents):
    (x,), (dx,) = primals, tangents
    return powers(exponents, x), [k * x ** (k - 1) * dx for k in exponents]


FORMS = {
    "an array that is not differentiated": (
        masked,
        (Spec((3,)), np.array([1.0, 0, 2])),
        {},
        "PASS",
    ),
    "a specification in such a place": (
        sharpened,
        (Spec((3,)), Spec((), "interval", low=2, high=4)),
        {},
        "PASS",
    ),
    "a new key": (
        custom(
            lambda k, x: x * jax.random.bernoulli(k, 0.5, x.shape),
            lambda r, dy: (None, dy * jax.random.bernoulli(r[0], 0.5, dy.shape)),
        ),
        (jax.random.key(3), Spec((4,))),
        {},
        "PASS",
    ),
    "a shape": (
        one_together,
        (jax.ShapeDtypeStruct((3,), jnp.float32),),
        {"definition": lambda x: x},
        "PASS",
    ),
    "a function around a rule": (
        lambda x, *, scale=2.0: scale * clipped(x),
        (Spec((3,)),),
        {"definition": lambda x: 2 * x},
        "FAIL",
    ),
    "a Python number": (
        custom(lambda x, s: x * s, lambda r, dy: (dy * r[1], jnp.sum(dy * r[0]))),
        (bf16([1.0, 2.0]), 0.5),
        {},
        "PASS",
    ),
    "a constant that is a container": (
        powers,
        ((1, 2, 3), Spec((2,))),
        {},
        "PASS",
    ),
    "a constant beside the value": (
        custom(lambda x: (x * x, 1.0), lambda r, dy: (2 * r[0] * dy[0],)),
        (Spec((2,)),),
        {},
        "PASS",
    ),
}


@pytest.mark.parametrize("form", FORMS)
def test_questions_of_every_form(form):
    rule, args, options, verdict = FORMS[form]
    report = check(rule, *args, **options)
    assert report.verdict == verdict, report


def test_a_function_without_definition_is_told_to_pass_one():
    with pytest.raises(ValueError, match=r"expected a definition for .*pass definition="):
        check(lambda x: clipped(x), Spec((3,)))


def test_a_definition_that_branches_on_values_is_told_in_one_line():
    def branches(x):
        return x if x[0] > 0 else -x

    with pytest.raises(ValueError, match="cannot be traced") as raised:
        check(custom(branches, lambda r, dy: (dy,)), Spec((3,)))
    assert "\n" not in str(raised.value)


def test_a_long_counterexample_is_no_longer_than_a_screen():
    wrong = custom(jnp.sin, lambda r, dy: (dy * jnp.sin(r[0]),))
    report = check(wrong, np.linspace(0.1, 3, 200).astype(np.float32), explore=False)
    assert report.verdict == "FAIL"
    assert max(map(len, str(report).splitlines())) < 400
    assert str(report).count("\n") < 60
