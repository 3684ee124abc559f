"""The command line, run as a user runs it."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest

from manualbp import cli


def run(*arguments, cwd=None):
    return subprocess.run(
        [sys.executable, "-m", "manualbp", *arguments],
        capture_output=True,
        text=True,
        check=False,
        cwd=cwd,
    )


def test_list_names_every_rule(capsys):
    import manualbp

    assert cli.main(["list"]) == 0
    out = capsys.readouterr().out
    for rule in manualbp.RULES:
        assert rule.name in out


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("relu", ["[z > 0]", "0 at", "the output"]),
        ("leaky_relu", ["leaky_relu(slope=0.01)", "1 at"]),
        ("softmax_cross_entropy", ["\\log p", "note 000"]),
    ],
)
def test_show_prints_equation_kink_source_and_residuals(capsys, name, expected):
    assert cli.main(["show", name]) == 0
    out = capsys.readouterr().out
    for part in ("value", "derivative", "kink", "saves", "source", *expected[:2]):
        assert part in out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["show", "sigmod"], "manualbp: no rule is called 'sigmod': did you mean sigmoid?\n"),
        (["verify", "rely"], "manualbp: no rule is called 'rely': did you mean relu?\n"),
        (["notes", "0002"], "manualbp: no lecture note is called '0002': did you mean 002?\n"),
    ],
)
def test_a_wrong_name_suggests_the_nearest(capsys, arguments, message):
    assert cli.main(arguments) == cli.USAGE
    captured = capsys.readouterr()
    assert captured.err == message


def test_no_command_prints_help(capsys):
    assert cli.main([]) == cli.USAGE
    assert "verify" in capsys.readouterr().out


def test_verify_one_rule_in_plain_text_and_json(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    out = run("verify", "relu", "dense", "--jobs", "1", "--json", str(tmp_path / "out.json"))
    assert out.returncode == 0, out.stdout + out.stderr
    assert "\x1b[" not in out.stdout  # no terminal, no colours
    assert "[1/2] PASS" in out.stdout
    assert "2 of 2 pass" in out.stdout
    found = json.loads((tmp_path / "out.json").read_text())
    assert [row["verdict"] for row in found["rules"]] == ["PASS", "PASS"]
    assert set(found["rules"][0]["ulps"]) == {"float16", "bfloat16", "float32", "float64"}
    assert found["versions"]["jax"]
    # errors are measured once, unless asked
    assert "--again" not in out.stdout
    for more, told in (([], True), (["--again"], False)):
        again = run("verify", "relu", "--jobs", "1", "--json", str(tmp_path / "more.json"), *more)
        assert ("ULPs on record for 1 of 1: measured on " in again.stdout) == told
        (row,) = json.loads((tmp_path / "more.json").read_text())["rules"]
        assert row["ulps"] == found["rules"][0]["ulps"]
        assert bool(row["ulps on record since"]) == told


def test_json_that_cannot_be_written_is_one_line():
    out = run("notes", "003", "--json", "/no/such/folder/x.json")
    assert out.returncode == cli.USAGE
    assert out.stderr.startswith("manualbp: --json: cannot write /no/such/folder/x.json")
    assert "Traceback" not in out.stderr


def test_notes_prints_counterexample_and_correction():
    out = run("notes", "002")
    assert out.returncode == 0
    assert "002/summary/delta-j  does not hold" in out.stdout
    assert "it gives  [1]" in out.stdout
    assert "truth     [0.25]" in out.stdout
    assert "(holds)" in out.stdout


def test_the_exit_status_is_1_where_a_rule_fails(monkeypatch, capsys):
    from manualbp.verify import catalogue as _catalogue
    from manualbp.verify.evidence import Evidence, Report

    report = Report("relu", "FAIL", (Evidence("exact", "FAIL", "planted"),))
    row = _catalogue.Row("relu", report, {}, "FAIL", 0.0)
    monkeypatch.setattr(_catalogue, "verify_all", lambda *a, **k: iter([row]))
    assert cli.main(["verify", "relu"]) == cli.FAILED
    out = capsys.readouterr().out
    assert "0 of 1 pass" in out
    assert "Not passing: relu." in out


def test_the_form_is_asked_for_in_every_dtype():
    from manualbp.verify import Spec, check
    from manualbp.verify import catalogue as _catalogue
    from manualbp.verify.ask.question import problem_of
    from manualbp.verify.ask.subject import subject_of

    def of_float32(back):
        rule = (lambda x: (2 * x, ()), back)
        report = check(rule, Spec((2,)), definition=lambda x: 2 * x, level="quick")
        assert report.verdict == "PASS"
        problem = problem_of(subject_of(rule), lambda x: 2 * x, (Spec((2,)),))
        return _catalogue.with_form_everywhere(report, problem)

    assert of_float32(lambda saved, dy: (2 * dy,)).verdict == "PASS"
    found = of_float32(lambda saved, dy: (2 * dy.astype("float32"),))
    assert found.verdict == "FAIL"
    assert found.evidence[-1].rung == "contract"
    for dtype in ("float16", "bfloat16", "float64"):
        text = f"in {dtype}: expected the cotangent of x to have dtype {dtype}, got float32"
        assert text in found.evidence[-1].text


def test_ctrl_c_ends_all_processes_at_once():
    """As a terminal sends it, to all of them."""
    # what a shell starts in the background has it ignored, and so have its children
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    verify = subprocess.Popen(
        [sys.executable, "-u", "-m", "manualbp", "verify", "--again", "--jobs", "3"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        env={**os.environ, "XDG_CACHE_HOME": os.devnull},  # nothing is kept
    )
    signal.signal(signal.SIGINT, before)
    assert verify.stdout.readline()  # one is done, others are at work
    os.killpg(verify.pid, signal.SIGINT)
    start = time.perf_counter()
    _, errors = verify.communicate(timeout=60)  # which the other processes would keep open, too
    assert time.perf_counter() - start < 20  # each takes a second, and all take minutes
    assert (verify.returncode, errors) == (130, "manualbp: interrupted\n")


def test_output_cut_off_by_its_reader_is_no_error():
    out = subprocess.run(
        f"{sys.executable} -m manualbp list | head -1",
        shell=True,
        capture_output=True,
        text=True,
        check=False,
    )
    assert out.stdout == "activations\n"
    assert out.stderr == ""
