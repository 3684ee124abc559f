"""The judge refuses every wrong rule of the table, shows why, and passes its correct twin."""

import functools
import re

import numpy as np
import pytest

from manualbp.verify import Report, check
from tests.wrong_rules import KINDS, WRONG_RULES, WrongRule

BY_NAME = {entry.name: entry for entry in WRONG_RULES}
names = pytest.mark.parametrize("name", BY_NAME)

# How many labels name the mistake, of all
NAMED = 0.4


@functools.cache
def judged(name: str) -> Report:
    entry = BY_NAME[name]
    return check(entry.wrong, *entry.args, definition=entry.definition)


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
def test_correct_twin_passes(name):
    entry = BY_NAME[name]
    report = check(entry.right, *entry.args, definition=entry.definition)
    assert report.verdict == "PASS", report


def test_the_diagnosis_names_the_mistake():
    missed = [
        f"{entry.name}: expected {entry.diagnosis!r}, got {judged(entry.name).diagnosis}"
        for entry in WRONG_RULES
        if not named(entry)
    ]
    assert len(missed) <= (1 - NAMED) * len(WRONG_RULES), "\n".join(missed)
