"""Waivers in pyproject.toml: what they let pass, for how long, and what they may not lack."""

import datetime
import json
import tomllib
import xml.etree.ElementTree as ElementTree

import jax
import pytest

import manualbp
from manualbp import cli
from manualbp.verify.verdict.waivers import Waiver, apply, load, names_of, parse

DAY = datetime.date(2026, 12, 31)
WAIVER = Waiver("m:f", "FAIL", "the kernel is new", DAY)
TEXT = """
[[tool.manualbp.waivers]]
rule = "m:f"
verdict = "FAIL"
reason = "the kernel is new"
expires = 2026-12-31
"""


@pytest.mark.parametrize(
    ("names", "verdict", "today", "waived", "line"),
    [
        ({"f", "m:f"}, "FAIL", DAY, True, "WAIVED  m:f: FAIL until 2026-12-31: the kernel is new"),
        ({"m:f"}, "FAIL", DAY + datetime.timedelta(1), False, "EXPIRED  waiver of m:f: it held"),
        ({"m:f"}, "PASS", DAY, False, "STALE  waiver of m:f: the rule passes now: remove it"),
        ({"m:f"}, "UNDECIDED", DAY, False, "UNUSED  waiver of m:f: expected FAIL, got UNDECIDED"),
        ({"f", "n:f"}, "FAIL", DAY, False, None),
    ],
)
def test_what_a_waiver_makes_of_a_verdict(names, verdict, today, waived, line):
    outcome = apply([WAIVER], names, verdict, today)
    assert outcome.waived == waived
    assert len(outcome.lines) == (line is not None)
    assert line is None or outcome.lines[0].startswith(line)


def test_the_nearest_file_above_counts(tmp_path):
    inner = tmp_path / "a" / "b"
    inner.mkdir(parents=True)
    (tmp_path / "pyproject.toml").write_text(TEXT)
    assert load(inner) == (WAIVER,)
    (tmp_path / "a" / "pyproject.toml").write_text("[project]\n")
    assert load(inner) == ()


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('reason = "the kernel is new"\n', "", "expected reason as text, got nothing: write"),
        ('"the kernel is new"', '" "', "expected reason as text, got ' ': write reason"),
        ("expires = 2026-12-31\n", "", "expected expires as a date, got nothing: write expires"),
        ("2026-12-31", '"2026-12-31"', "got '2026-12-31': write expires = 2030-12-31, without"),
        ("2026-12-31", "2026-12-31T00:00:00", "expected expires as a date, got datetime"),
        ("reason", "why", "waiver 1 (m:f): expected only rule, verdict, reason, expires, got why"),
        ('"FAIL"', '"PASS"', "expected the verdict FAIL or UNDECIDED, got 'PASS': no other needs"),
        ('rule = "m:f"\n', "", "waiver 1: expected rule as text, got nothing"),
        ("waivers]]", "waiver]]", "[tool.manualbp]: expected only waivers, got waiver: remove or"),
        ("[[tool.manualbp.waivers]]", "[tool.manualbp.waivers]", "begin each with [[tool.manual"),
        (TEXT, TEXT + TEXT, "expected one waiver of m:f for FAIL, got two: remove one"),
    ],
)
def test_a_waiver_without_what_it_needs_is_refused_in_one_line(old, new, message):
    assert old in TEXT
    with pytest.raises(ValueError, match=r"^pyproject\.toml: ") as raised:
        parse(tomllib.loads(TEXT.replace(old, new)))
    assert message in str(raised.value)
    assert "\n" not in str(raised.value)


def test_a_rule_goes_by_its_name_and_by_its_place():
    def f(x):
        return x

    place = f"{__name__}:{test_a_rule_goes_by_its_name_and_by_its_place.__name__}.<locals>.f"
    assert names_of(jax.custom_vjp(f), "f") == {"f", place}
    assert names_of((f, f)) == {f"{place},{place.partition(':')[2]}"}
    assert names_of(manualbp.relu, "relu") == {"relu"}


MODULE = """
import jax
@jax.custom_vjp
def wrong_cube(x):
    return x**3
wrong_cube.defvjp(lambda x: (x**3, x), lambda x, dy: (2 * x**2 * dy,))
"""
TARGET = "waived_gradients_of_mine:wrong_cube"


@pytest.fixture
def command(tmp_path, monkeypatch):
    (tmp_path / "waived_gradients_of_mine.py").write_text(MODULE)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.chdir(tmp_path)
    return ["check", TARGET, "--args", "f32[2]", "--level", "quick"]


def waive(folder, **changes):
    values = {"rule": f'"{TARGET}"', "verdict": '"FAIL"', "reason": '"soon"', **changes}
    text = "\n".join(f"{k} = {v}" for k, v in {"expires": "2999-12-31", **values}.items())
    (folder / "pyproject.toml").write_text(f"[[tool.manualbp.waivers]]\n{text}\n")


def test_the_command_lets_a_waived_rule_pass_and_says_so(command, tmp_path, capsys):
    files = ["--json", str(tmp_path / "r.json"), "--junit", str(tmp_path / "r.xml")]
    waive(tmp_path)
    assert cli.main([*command, *files]) == cli.OK
    assert f"WAIVED  {TARGET}: FAIL until 2999-12-31: soon" in capsys.readouterr().out
    found = json.loads((tmp_path / "r.json").read_text())
    assert (found["verdict"], found["waived"], len(found["waivers"])) == ("FAIL", True, 1)
    suite = ElementTree.parse(tmp_path / "r.xml").getroot()
    assert (suite.get("failures"), suite.get("skipped")) == ("0", "1")
    waive(tmp_path, expires="2020-01-01")
    assert cli.main(command) == cli.FAILED
    assert "EXPIRED  waiver of" in capsys.readouterr().out


def test_the_command_refuses_a_waiver_without_a_reason(command, tmp_path, capsys):
    waive(tmp_path, reason='""')
    assert cli.main(command) == cli.USAGE
    captured = capsys.readouterr()
    assert captured.err.startswith("manualbp: pyproject.toml: waiver 1 (waived_gradients")
    assert (captured.err.count("\n"), captured.out) == (1, "")
