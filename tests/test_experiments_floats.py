"""The experiment on every float: its tables say what sweeps found, and wrong names are one line."""

import importlib
import sys
from pathlib import Path

import pytest

pytest.importorskip("matplotlib")
pytest.importorskip("rich")
pytest.importorskip("optax")

EXPERIMENTS = Path(__file__).resolve().parent.parent / "experiments"


@pytest.fixture
def run(monkeypatch, tmp_path):
    """A function: the experiment with some arguments, and its folder."""
    monkeypatch.syspath_prepend(EXPERIMENTS)

    def call(*arguments):
        monkeypatch.setattr(sys, "argv", ["every_float.py", "--out", str(tmp_path), *arguments])
        importlib.import_module("every_float").main()
        return tmp_path

    return call


def test_sigmoid_in_float16(run):
    out = run("--rules", "sigmoid", "--dtypes", "float16")
    text = (out / "results" / "every_float.md").read_text()
    (row,) = [line for line in text.splitlines() if line.startswith("| `sigmoid`")]
    assert "| 65,536 | 0.5 \\| 0.5 |" in row
    assert "| 2e3 | 7.625 | 3142 | 0 |" in row  # jax.grad of jax.nn.sigmoid
    assert "Nothing." in text  # beyond the bounds
    assert (out / "pictures" / "every_float_sigmoid.png").stat().st_size > 10_000
    # what is finished is read, not repeated
    before = sorted((f, f.stat().st_mtime_ns) for f in (out / "work").iterdir())
    run("--rules", "sigmoid", "--dtypes", "float16")
    assert before == sorted((f, f.stat().st_mtime_ns) for f in (out / "work").iterdir())


@pytest.mark.parametrize("arguments", [("--rules", "sigmoyd"), ("--dtypes", "int8")])
def test_wrong_names(run, arguments, capsys):
    with pytest.raises(SystemExit):
        run(*arguments)
    assert f"got '{arguments[1]}'" in capsys.readouterr().err


def test_several_arguments_are_tried_in_two_ways(run, monkeypatch):
    out = run("--rules", "prelu", "--dtypes", "float16")
    assert "65,536 x 4 of slope" in (out / "results" / "every_float.md").read_text()
    module, asked = importlib.import_module("every_float"), []
    monkeypatch.setattr(module, "accuracy", lambda *a, **how: asked.append(how))
    for name, full in (("sigmoid", True), ("prelu", True), ("prelu", False)):
        asked.clear()
        module.sweeps(module.rules()[name], "float32", full, out, 0)
        ours = [(how["exhaustive"], how["others"]) for how in asked[::2]]
        one, some = (True, {"slope": (0.25,)}), (False, None)
        assert ours == {"sigmoid": [(True, {})]}.get(name, [some, one] if full else [some])
