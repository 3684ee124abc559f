"""decide: from findings, which are data, to a verdict; power is the same on planted errors."""

import pytest
from flint import arb

from manualbp.verify.evidence import Entry, Finding, FloatFinding
from manualbp.verify.verdict.decide import approximates, decide, planted, power


def finding(relation="same", index=0, got=2, expected=2, digits=float("inf"), **more):
    entry = Entry(more.pop("of", "gradient"), more.pop("leaf", 0), (index,))
    return Finding(entry, relation, arb(got), arb(expected), digits=digits, **more)


def similar(index, factor, **more):
    return finding("similar", index, 2 * (1 + factor), 2, 12.0, factor=factor, **more)


SAME = [finding(index=i) for i in range(6)]


def in_floats(**more):
    return FloatFinding(Entry("gradient", 0, (0,)), 1.0, 1.0, 1.0, 1.0, 0.0, **more)


def test_nothing_decided_is_undecided_with_the_reason():
    assert decide([]).verdict == "UNDECIDED"
    skipped = finding("skipped", why="the definition has no value here")
    decision = decide([skipped, finding("undecided", why="later")])
    assert (decision.verdict, decision.reason) == ("UNDECIDED", "the definition has no value here")


@pytest.mark.parametrize("relation", ["same", "similar", "kink", "guard"])
def test_what_is_decided_and_right_passes(relation):
    assert decide([finding(relation)]).verdict == "PASS"


def test_the_first_other_entry_fails_and_is_named():
    wrong = [finding("other", 7), finding("other", 8)]
    decision = decide([*SAME, *wrong])
    assert decision.verdict == "FAIL"
    assert decision.because is wrong[0]


def test_a_guard_is_one_where_what_it_changes_is_small():
    guard = finding("guard", got=2.1)
    assert decide([*SAME, guard], small=lambda f: f.got < 3).verdict == "PASS"
    assert decide([*SAME, guard], small=lambda f: f.got < 1).because is guard


def test_one_entry_that_is_similar_among_many_that_are_the_same_is_wrong():
    one = similar(6, 1e-12)
    assert decide([*SAME, one]).because is one
    # not where there are as many of them, off by factors that change
    others = [similar(i, 1e-13 * i) for i in range(6, 14)]
    assert decide([*SAME, *others]).verdict == "PASS"


def test_all_entries_off_by_one_factor_are_wrong_however_small():
    assert decide([similar(i, 1e-9) for i in range(3)]).verdict == "FAIL"
    assert decide([similar(i, 1e-9) for i in range(2)]).verdict == "PASS"
    assert decide([similar(i, 1e-9 * (1 + i)) for i in range(3)]).verdict == "PASS"


def test_entries_of_other_results_do_not_count():
    elsewhere = [finding(index=i, leaf=1) for i in range(6)]
    values = [finding(index=i, of="value") for i in range(6)]
    assert decide([*elsewhere, *values, similar(0, 1e-12)]).verdict == "PASS"


def test_two_zeros_tell_nothing():
    zeros = [finding(index=i, got=0, expected=0) for i in range(6)]
    assert decide([*zeros, similar(6, 1e-12)]).verdict == "PASS"


def test_an_approximation_changes_from_place_to_place():
    constant = similar(6, 1e-9, nearby=(1e-9, 1.001e-9))
    changing = similar(6, 1e-9, nearby=(3e-9, 1e-10))
    assert decide([*SAME, constant]).verdict == "FAIL"
    assert decide([*SAME, changing]).verdict == "PASS"
    assert not approximates(similar(6, 1e-9), SAME)
    coefficients = [similar(i, 1e-14 * (1 + i)) for i in range(5)]
    assert approximates(coefficients[0], coefficients)
    assert not approximates(similar(9, 1e-9), coefficients)


def test_floats_fail_where_they_are_grossly_off_and_where_strict_where_digits_are_lost():
    assert decide(SAME, [in_floats(grossly=False)]).verdict == "PASS"
    assert decide(SAME, [in_floats(grossly=True)]).verdict == "FAIL"
    lost = in_floats(grossly=False, lost=True)
    assert decide(SAME, [lost]).verdict == "PASS"
    assert decide(SAME, [lost], strict=True).because is lost


def test_power_is_the_smallest_error_that_would_fail():
    assert power(SAME) == pytest.approx(1e-20)
    assert power([]) is None
    assert power([finding(of="value")]) is None
    few = decide([planted(SAME[0], 1e-5), SAME[1]])
    assert few.verdict == "FAIL"
    # a single entry has nothing beside it: only a difference of a few digits is seen
    assert 1e-7 < power([finding()]) <= 1e-5
    # and of several gradients the weakest counts
    assert power([*SAME, finding(leaf=1)]) == power([finding(leaf=1)])


def test_a_planted_error_is_of_the_size_that_was_asked():
    assert planted(finding(), 1e-9).relation == "similar"
    assert planted(finding(), 1e-9).factor == pytest.approx(1e-9)
    assert planted(finding(), 1e-25).relation == "same"
    assert planted(finding(got=0, expected=0), 1e-30).relation == "other"
