"""The judge refuses every wrong rule of the table, shows why, and passes its correct twin."""

import functools
import re

import jax.numpy as jnp
import numpy as np
import pytest

from manualbp.verify import Report, check
from tests.wrong_rules import KINDS, WRONG_RULES, WrongRule

# What is wrong with these, the diagnosis does not say yet
UNNAMED = {
    "binary_cross_entropy_for_hard_labels",
    "convolution_kernel_flipped",
    "cross_entropy_for_labels_that_sum_to_1",
    "labels_of_minus_1_and_1_taken_for_0_and_1",
    "logsumexp_gradient_not_shifted",
    "swish_gradient_of_beta_1",
}

BY_NAME = {entry.name: entry for entry in WRONG_RULES}
names = pytest.mark.parametrize("name", BY_NAME)


@functools.cache
def judged(name: str) -> Report:
    """Whose only fault lies below the natural scale is a fault to who is strict."""
    entry = BY_NAME[name]
    strict = entry.below_scale
    return check(entry.wrong, *entry.args, definition=entry.definition, strict=strict)


def named(entry: WrongRule) -> bool:
    return re.search(entry.diagnosis, " ".join(judged(entry.name).diagnosis)) is not None


def test_every_kind_is_there_and_every_name_is_new():
    assert len(BY_NAME) == len(WRONG_RULES) >= 90
    assert {entry.kind for entry in WRONG_RULES} == set(KINDS)


@names
def test_wrong_rule_is_refused(name):
    report = judged(name)
    assert report.verdict == "FAIL", report
    assert report.diagnosis, report
    found = named(BY_NAME[name])
    assert found is (name not in UNNAMED), f"label: {report.diagnosis}, listed: {not found}"
    example = report.counterexample
    if example is None:
        last = report.evidence[-1]
        assert last.rung == "contract" or "derivative of the gradient" in last.text, report
        return
    if isinstance(example.expected, tuple):
        low, high = example.expected
        outside = not low <= example.got <= high
        assert outside or "together" in report.diagnosis[0], report
    else:
        assert example.got != example.expected or np.isnan(example.got), report


@names
def test_correct_twin_passes_strictly(name):
    entry = BY_NAME[name]
    report = check(entry.right, *entry.args, definition=entry.definition, strict=True)
    assert report.verdict == "PASS", report


@pytest.mark.parametrize("name", [e.name for e in WRONG_RULES if e.below_scale])
def test_what_is_lost_below_the_natural_scale_passes(name):
    entry = BY_NAME[name]
    report = check(entry.wrong, *entry.args, definition=entry.definition)
    assert report.verdict == "PASS", report
    assert "autodiff: at worst" in report.grade or "far out" in " ".join(report.notes), report


def test_nine_labels_in_ten_are_right():
    assert len(UNNAMED) <= len(BY_NAME) / 10


def test_looking_at_given_values_alone_does_not_blind_a_later_look_everywhere():
    """Both runs share what is known of the problem; only the second looks at thresholds."""
    wrong = (
        lambda x: (x * x, x),
        lambda x, dy: (jnp.where(x == 2.71828, 0.0, 2 * x) * dy,),
    )
    given = np.array([1.0, 2.0])
    assert check(wrong, given, definition=jnp.square, explore=False).verdict == "PASS"
    assert check(wrong, given, definition=jnp.square).verdict == "FAIL"
