"""The one command of all benchmarks, made short: its tables are there, and errors are one line."""

import importlib
import json
import subprocess
import sys
from pathlib import Path

import jax
import pytest

for needed in ("matplotlib", "optax", "rich"):
    pytest.importorskip(needed)

BENCHMARKS = Path(__file__).resolve().parent.parent / "experiments" / "benchmarks"


def benchmarks(*arguments):
    command = [sys.executable, BENCHMARKS, *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_results_have_the_table_and_the_machine(tmp_path):
    found = benchmarks("--quick", "--only", "growth", "--out", tmp_path)
    assert found.returncode == 0, found.stderr
    text = (tmp_path / "results.md").read_text()
    for piece in ("| CPU |", "| jaxlib |", "benchmarks --quick --only growth`", "## growth",
                  "| hidden layers | 4 | by hand, lean |", "](pictures/growth.png)"):  # fmt: skip
        assert piece in text
    numbers = json.loads((tmp_path / "results.json").read_text())["benchmarks"]["growth"]
    lean = numbers["columns"].index("MB / autodiff")
    assert all(row[lean] > 0 for row in numbers["rows"])
    assert {row[0] for row in numbers["rows"]} == {"width", "hidden layers", "batch", "classes"}
    assert (tmp_path / "pictures" / "growth.png").stat().st_size > 0


def test_an_unknown_name_is_an_error_of_one_line(tmp_path):
    found = benchmarks("--only", "growth,spede", "--out", tmp_path / "nothing")
    assert found.returncode == 1
    assert found.stderr.count("\n") == 1
    assert found.stderr.startswith("--only: expected names of growth, step, ")
    assert found.stderr.endswith("got 'spede'\n")
    assert not (tmp_path / "nothing").exists()


def test_one_that_fails_is_in_the_tables_and_the_others_go_on(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(BENCHMARKS)
    report = importlib.import_module("report")
    target = ["memory", 0.25, "<= 0.1", "NO"]
    found = {
        "bad": {"command": "python bad.py", "seconds": 1.0, "failed": "AssertionError: no"},
        "good": {"command": "python good.py", "seconds": 1.0, "title": "a | b", "columns": ["x"],
                 "rows": [[1 / 3]], "targets": [target]},
    }  # fmt: skip
    text = report.write(tmp_path, "python experiments/benchmarks", found)[0].read_text()
    assert "| bad | FAILED: AssertionError: no |" in text
    assert "| good | 0 of 1 | memory: 0.25, not <= 0.1 |" in text
    assert "| 0.333 |" in text


def test_contenders_must_agree_before_they_are_timed(monkeypatch):
    """A step whose gradient is wrong by one part in a hundred is not raced."""
    monkeypatch.syspath_prepend(BENCHMARKS)
    growth = importlib.import_module("growth")
    steps, args = growth.of_a_network(0, 4, 1, 8)
    right = steps[growth.FAST]

    def wrong(*a):
        return jax.tree.map(lambda g: 1.01 * g, right(*a))

    steps[growth.FAST] = wrong
    with pytest.raises(AssertionError, match="Not equal to tolerance"):
        growth.measure(steps, args, 1)
