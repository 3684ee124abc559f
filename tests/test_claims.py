"""The lecture notes' equations: what fails as printed, and that what corrects it holds."""

import pytest

from manualbp.verify.claims import judge
from reference.lecture_notes import CLAIMS, NOTES, Claim

# The wrong equations that matter most, by what is wrong; none of them may ever be judged right
WRONG = {
    "000/cross-entropy/value": "sign",
    "000/cross-entropy/identity": "labels that do not sum to one",
    "000/cross-entropy/gradient": "sign",
    "000/input-layer/forward": "the raw input",
    "000/input-layer/weight-gradient": "the raw input",
    "000/weight-gradient/stray-sum": "no sum",
    "000/weight-gradient/outer-order": "order of the outer product",
    "000/accumulate/delta": "accumulate the gradient, not delta",
    "001/cost/log-likelihood": "sign",
    "001/swish/gradient": "g(z), not g(beta z)",
    "001/generalised-relu/absolute-value": "a = -1",
    "001/chain/multivariate": "by x_k",
    "001/sgd/activation-gradient": "does not conform",
    "001/sgd/pre-activation-gradient": "does not conform",
    "001/sgd/weight-gradient": "does not conform",
    "001/sgd/update-order": "updates inside the backward loop",
    "002/summary/delta-j": "g' missing",
    "004/multiclass-cross-entropy/parentheses": "parentheses",
    "004/sentiment/label-0": "sigma(-(wx + b))",
    "004/multi-label/class-loss": "both labels",
    "004/training/objective": "missing sum",
    "004/derivation/brackets": "missing brackets",
    "004/nested/product": "not weights by weights",
}

JUDGED = {claim.id: judge(claim) for claim in CLAIMS}


def test_ids_are_unique_and_name_their_note():
    assert len(JUDGED) == len(CLAIMS)
    for note, claims in NOTES.items():
        assert all(claim.id.startswith(f"{note}/") for claim in claims)


@pytest.mark.parametrize("name", WRONG)
def test_known_errors_are_found_with_a_counterexample_and_a_correction(name):
    found = JUDGED[name]
    assert found.verdict == "does not hold"
    assert found.args is not None
    assert found.correction == "holds"
    assert found.claim.corrected
    # few round numbers: the counterexample is one of the claim's own points
    assert any(found.args is point or found.args == point for point in found.claim.points)


def test_whatever_fails_has_a_correction_that_holds():
    for name, found in JUDGED.items():
        if found.verdict == "does not hold":
            assert found.correction == "holds", name


def test_how_many_hold():
    fails = {
        note: sum(JUDGED[c.id].verdict != "holds" for c in claims) for note, claims in NOTES.items()
    }
    assert fails == {"000": 12, "001": 28, "002": 2, "003": 0, "004": 11}


def test_the_judge_of_claims_can_say_no():
    claim = Claim(
        id="x/y/z",
        place="here",
        printed="2z",
        as_printed=lambda z: 2 * z,
        truth=lambda z: z * z,
        points=((2.0,), (0.0,)),  # both agree: only exploring finds the difference
    )
    assert judge(claim).verdict == "does not hold"


def test_to_dict_is_plain():
    found = JUDGED["002/summary/delta-j"].to_dict()
    assert found["printed gives"] == "[1]"
    assert found["truth"] == "[0.25]"
    assert found["correction"] == "holds"
