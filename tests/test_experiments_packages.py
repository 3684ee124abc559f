"""The experiment on rules of other packages: found, asked and counted, and its truth measured."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("optax")
pytest.importorskip("rich")

SCRIPT = Path(__file__).resolve().parent.parent / "experiments" / "packages"
RELU6 = "jax._src.nn.functions:relu6"
ROWS = ("optax.losses._classification:weighted_logsoftmax",)


def run(*arguments):
    return subprocess.run(
        [sys.executable, SCRIPT, *map(str, arguments)], capture_output=True, text=True, check=False
    )


def test_a_rule_is_asked_and_counted(tmp_path):
    out = tmp_path / "packages.json"
    ended = run(
        *("--packages", "optax", "--rules", "weighted_logsoftmax"),
        *("--out", out, "--given"),
    )
    assert ended.returncode == 0, ended.stderr
    numbers = json.loads(out.read_text())
    assert tuple(row["rule"] for row in numbers["rows"]) == ROWS
    for row in numbers["rows"]:
        assert row["truth"] == "right"
        assert row["outcome"] == {"PASS": "right", "FAIL": "wrong"}.get(
            row["verdict"], row["verdict"].lower()
        )
    assert set(numbers["packages"]) == {"optax"}
    assert set(ROWS) <= {name for names in numbers["found"].values() for name in names}
    assert numbers["packages"]["optax"]["questions"] == 1 == numbers["all"]["questions"]
    assert numbers["points"] == "given"


def test_other_points_are_tried_unless_told_not_to(tmp_path):
    out = tmp_path / "packages.json"
    ended = run("--packages", "jax", "--rules", f"^{RELU6}$", "--out", out)
    assert ended.returncode == 0, ended.stderr
    numbers = json.loads(out.read_text())
    assert numbers["points"] == "explored"
    assert [row["outcome"] for row in numbers["rows"]] == ["right"]


def test_truth_without_the_judge(tmp_path):
    out = tmp_path / "truth.json"
    ended = run(
        *("--packages", "jax", "--rules", ":relu6$|sinc_maclaurin first", "--truth", "--out", out)
    )
    assert ended.returncode == 0, ended.stderr
    measured = {row["rule"]: row["measured"] for row in json.loads(out.read_text())["rows"]}
    assert measured == {
        RELU6: "right",
        "jax._src.numpy.ufuncs:_sinc_maclaurin first derivative": "wrong",
    }


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--packages", "nojax"), "got 'nojax'"),
        (("--rules", "("), "expected a regular expression"),
        (("--limit-seconds", "0"), "expected more than 0"),
    ],
)
def test_wrong_options_are_one_line(arguments, said):
    ended = run(*arguments)
    assert ended.returncode == 2
    assert said in ended.stderr.splitlines()[-1]
