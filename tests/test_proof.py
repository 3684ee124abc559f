"""Proofs: what is right is proved, what is wrong never is, and time and reasons are told."""

import time

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flint import Ordering, fmpq_mpoly_ctx

import manualbp
from manualbp import activations, layers, losses
from manualbp.layers import Dense
from manualbp.networks import mlp, with_loss
from manualbp.verify import Spec, check
from manualbp.verify.ask.definitions import base_name, definition_of, reference
from manualbp.verify.ask.problem import Problem
from manualbp.verify.ask.subject import subject_of
from manualbp.verify.cases import CASES, KEY, real
from manualbp.verify.numbers import formulas as _symbolic
from manualbp.verify.rungs import proof as _proof
from tests.wrong_rules import WRONG_RULES, pair, slope

LONG = 30.0  # on a slow machine, under load

ELEMENTWISE = {
    "identity": (), "binary_step": (), "heaviside": (), "sigmoid": (), "tanh": (), "relu": (),
    "leaky_relu": (), "absolute": (), "generalized_relu": real(), "prelu": real(),
    "randomized_relu": KEY, "softplus": (), "elu": (), "swish": (), "learnable_swish": real(),
    "silu": (),
}  # fmt: skip

# Wrong somewhere in the interior of their domains, over the reals: by kind, the first of each
REFUTED = (
    "softmax_summed_over_the_other_axis",
    "layer_norm_without_the_mean_term",
    "layer_norm_without_the_product_term",
    "attention_without_the_row_sum",
    "tanh_derivative_at_its_output",
    "sigmoid_slope_of_its_input",
    "softmax_as_if_entry_by_entry",
    "cotangents_of_two_results_swapped",
    "convolution_kernel_flipped",
    "wrong_in_a_narrow_band",
    "wrong_for_the_last_class",
    "small_cotangents_dropped",
    "cross_entropy_for_labels_that_sum_to_1",
    "tanh_gelu_with_the_slope_of_the_exact_one",
)


def prove(rule, definition, *args, seconds=LONG):
    with jax.enable_x64(True):
        return _proof.prove(Problem(subject_of(rule), definition, args), seconds)


@pytest.mark.parametrize("rule", manualbp.RULES, ids=base_name)
def test_every_rule_is_proved(rule):
    proof = prove(rule, definition_of(rule), *CASES[base_name(rule)])
    assert (proof.verdict, proof.remaining) == ("PROVED", "")
    assert proof.branches >= 1


def test_the_elementwise_rules_are_all_there():
    along_rows = {"softmax", "log_softmax", "logsumexp"}
    assert ELEMENTWISE.keys() == {base_name(r) for r in activations.RULES} - along_rows


@pytest.mark.parametrize(
    "activation", [r for r in activations.RULES if base_name(r) in ELEMENTWISE], ids=base_name
)
def test_a_2_3_2_network_with_each_activation_is_proved(activation):
    loss = losses.half_squared_error
    network = mlp((2, 3, 2), activation=activation, loss=loss)
    rules = (layers.dense, activation, layers.dense, activations.identity)
    definition = reference().network(*map(definition_of, rules), loss=definition_of(loss))
    hidden, output = Dense(real(2, 3), real(3)), Dense(real(3, 2), real(2))
    params = (hidden, ELEMENTWISE[base_name(activation)], output, ())
    proof = prove(with_loss(network.rule, loss), definition, params, real(2), real(2))
    assert (proof.verdict, proof.remaining) == ("PROVED", "")
    assert "x0[0].w (2, 3), x0[0].b (3,)" in proof.shapes


@pytest.mark.parametrize("name", REFUTED)
def test_wrong_rules_are_refuted_and_their_twins_proved(name):
    (entry,) = (e for e in WRONG_RULES if e.name == name)
    proof = prove(entry.wrong, entry.definition, *entry.args)
    assert proof.verdict == "REFUTED"
    assert proof.point is not None
    assert prove(entry.right, entry.definition, *entry.args).verdict == "PROVED"


@pytest.mark.parametrize(
    "derivative",
    [
        lambda z: jnp.where(z > 1e6, 3 * z, 2 * z),
        lambda z: jnp.where((z > 0.3) & (z < 0.3001), 3 * z, 2 * z),
        lambda z: jnp.where(jnp.abs(z) < 1e-30, 3 * z, 2 * z),
        lambda z: jnp.where(jnp.exp(z) < 1e-9, 3 * z, 2 * z),
        lambda z: jnp.where(z[0] * z[1] > 5, 3 * z, 2 * z),
    ],
)
def test_a_rule_right_in_all_but_one_branch_is_refused(derivative):
    assert prove(slope(jnp.square, derivative), jnp.square, real(2)).verdict == "REFUTED"


# Rules that differ from their definitions by no more than is said here
EXPRESSIONS = {
    "short decimals": (lambda z: 0.1 * z, lambda z: 0.3 - 0.2 + 0 * z, "PROVED"),
    "multiples of pi": (lambda z: z**2 / jnp.sqrt(2 * jnp.pi), lambda z: z * 0.7978845608028654,
                        "PROVED"),
    "logarithms": (jnp.log2, lambda z: 1.4426950408889634 / z, "PROVED"),
    "powers": (lambda z: z**2.5, lambda z: 2.5 * z * jnp.sqrt(z), "PROVED"),
    "nested exponentials": (lambda z: jnp.exp(jnp.exp(z)), lambda z: jnp.exp(jnp.exp(z) + z),
                            "PROVED"),
    "halves of exponents": (jnp.exp, lambda z: jnp.exp(z / 2) ** 2, "PROVED"),
    "sines": (jnp.tan, lambda z: 1 + jnp.tan(-z) ** 2, "PROVED"),
    "the Gaussian": (jax.scipy.special.erf, lambda z: 1.1283791670955126 * jnp.exp(-z * z),
                     "PROVED"),
    "1e-9 too much": (jnp.exp, lambda z: (1 + 1e-9) * jnp.exp(z), "NOT PROVED"),
    "no known identity": (jnp.arctan, lambda z: 1 / (1 + z * z) + jnp.arctan(z)
                          - jnp.pi / 2 + jnp.arctan(1 / z), "NOT PROVED"),
}  # fmt: skip


@pytest.mark.parametrize("name", EXPRESSIONS)
def test_expressions(name):
    value, derivative, verdict = EXPRESSIONS[name]
    proof = prove(slope(value, derivative), value, Spec((2,), "positive"))
    assert proof.verdict == verdict, proof
    assert bool(proof.remaining) is (verdict != "PROVED")


def test_a_primitive_without_a_form_is_named():
    proof = prove(slope(jnp.floor, jnp.zeros_like), jnp.floor, real(2))
    assert (proof.verdict, proof.remaining) == ("NOT PROVED", "no form of floor")


def gather(x, i):
    return x[i]


def scattered(how):
    """The rule of `gather` that puts each cotangent in its place, in one of JAX's ways."""

    def bwd(saved, dy):
        x, i = saved
        added = getattr(jnp.zeros_like(x).at[i], how)(dy)
        return added, np.zeros(i.shape, jax.dtypes.float0)

    return (lambda *args: (gather(*args), args), bwd)


@pytest.mark.parametrize(
    ("indices", "verdict"),
    [
        (Spec((3,), "permutation"), "PROVED"),
        (Spec((2,), "offsets", below=3), "PROVED"),
        (Spec((2,), "counts", below=3), "REFUTED"),
        (Spec((3,), "integers", below=3, distinct=True), "PROVED"),
        (Spec((3,), "integers", below=3), "REFUTED"),
        (Spec((2,), "integers", below=2, values=(-1,)), "REFUTED"),
        (Spec((2,), "integers", below=3, low=1), "REFUTED"),
    ],
)
def test_every_array_of_integers_that_a_specification_allows_is_tried(indices, verdict):
    assert prove(scattered("add"), gather, real(3), indices).verdict == "PROVED"
    assert prove(scattered("set"), gather, real(3), indices).verdict == verdict


@pytest.mark.parametrize(
    ("spec", "verdict"),
    [
        (Spec((2,), "interval", low=0.5), "PROVED"),
        (Spec((2,), "probability"), "PROVED"),
        (Spec((2,), "interval", low=-1, high=1), "REFUTED"),
        (Spec((2,), "sorted"), "REFUTED"),
        (Spec((2,), "negative"), "REFUTED"),
        (Spec((2,), "nonzero"), "REFUTED"),
    ],
)
def test_signs_are_those_of_the_domain(spec, verdict):
    assert prove(slope(jnp.abs, jnp.ones_like), jnp.abs, spec).verdict == verdict


def test_the_sign_of_a_sum_is_not_that_of_a_negative_argument():
    def shifted(x):
        return jnp.abs(x + 1)

    rule = slope(shifted, jnp.ones_like)
    assert prove(rule, shifted, Spec((2,), "negative")).verdict == "REFUTED"


def test_what_jax_cannot_differentiate_is_told():
    def squares(x):
        return jax.lax.while_loop(lambda c: c[0] < 3, lambda c: (c[0] + 1, c[1] ** 2), (0, x))[1]

    proof = prove(slope(squares, lambda x: 8 * x**7), squares, real(2))
    assert proof.verdict == "NOT PROVED"
    assert proof.remaining.startswith("JAX cannot differentiate it (ValueError: Reverse-mode")


def test_shapes_that_cannot_be_cut_are_told():
    def fixed(x):
        return jnp.sum(x.reshape(10, 10), axis=0)

    rule = pair(fixed, lambda x, dy: (jnp.tile(dy, 10),))
    proof = prove(rule, fixed, real(100))
    assert (proof.verdict, proof.remaining) == ("NOT PROVED", "shape too large")


@pytest.mark.parametrize("seconds", [0.0, 1.0])
def test_the_time_limit_holds(seconds):
    def deep(x):
        for _ in range(6):
            x = jnp.tanh(jnp.cumsum(x) * x)
        return jnp.sum(jax.nn.log_softmax(x))

    rule = pair(deep, lambda x, dy: jax.vjp(deep, x)[1](dy))
    with jax.enable_x64(True):
        problem = Problem(subject_of(rule), deep, (real(3),))
        _ = problem.traced  # which is not interrupted
    start = time.perf_counter()
    proof = _proof.prove(problem, seconds)
    assert proof.verdict == "NOT PROVED"
    assert proof.remaining
    assert time.perf_counter() - start < seconds + 3


def test_a_report_of_the_full_level_carries_the_proof():
    report = check(manualbp.relu, Spec((2,)), level="full")
    assert report.proof is not None
    assert report.to_dict()["proof"]["verdict"] == "PROVED"
    assert "proof       PROVED     on every open branch (4), for z (2,), dy (2,)" in str(report)
    assert check(manualbp.relu, Spec((2,)), level="quick").proof is None


def test_long_quotients_are_reduced_like_short_ones(monkeypatch):
    a, b, c = fmpq_mpoly_ctx.get(["a", "b", "c"], Ordering.lex).gens()
    pairs = [
        ((a + b) ** 3 * (a - c), (a + b) ** 2 * (b + c)),  # some of one factor
        ((a + b) * (a - 2 * c), (a + b) ** 4),  # fewer than there are below
        ((a + b) * (a + c), (a - b) * 3),  # nothing
        ((a * b - c) ** 2 * 5, (c - a * b) * 2),  # all, of the other sign
    ]
    for num, den in pairs:
        short = _symbolic._in_lowest_terms(num, den)
        with monkeypatch.context() as patch:
            patch.setattr(_symbolic, "_LONG", 0)
            long = _symbolic._in_lowest_terms(num, den)
        assert short[0] * long[1] == long[0] * short[1]
        assert [len(x) for x in long] == [len(x) for x in short]
        assert num * long[1] == long[0] * den
