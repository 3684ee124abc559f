"""Correct rules pass strictly, whatever the seed: the whole catalogue.

The scorecard asks about more seeds.
"""

import pytest

import manualbp
from manualbp.verify import check
from manualbp.verify.ask.definitions import base_name
from manualbp.verify.cases import CASES

SEEDS = 6

RULES = {rule.name: rule for rule in manualbp.RULES}


@pytest.mark.parametrize("name", RULES)
def test_no_seed_refuses_a_correct_rule(name):
    rule = RULES[name]
    args = CASES[base_name(rule)]
    reports = [check(rule, *args, level="quick", seed=seed, strict=True) for seed in range(SEEDS)]
    refused = [str(report) for report in reports if report.verdict == "FAIL"]
    assert not refused, f"{len(refused)} of {SEEDS} seeds, such as\n{refused[0]}"
    undecided = [str(report) for report in reports if report.verdict != "PASS"]
    assert len(undecided) <= 1, undecided[0]
