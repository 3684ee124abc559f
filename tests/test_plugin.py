"""The pytest plugin, as pytest loads it: quiet until a test asks for the fixture."""

import subprocess
import sys
import tomllib
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
GRADIENTS = """
import jax
import jax.numpy as jnp
import pytest
from manualbp.verify import Spec

def gradient(name, factor):
    def cube(x):
        return x**3
    cube.__name__ = cube.__qualname__ = name
    f = jax.custom_vjp(cube)
    f.defvjp(lambda x: (x**3, x), lambda x, dy: (factor * x**2 * dy,))
    return f

@pytest.mark.gradients(level="standard", seed=3)
def test_right(gradients):
    assert gradients(gradient("right", 3), Spec((2,))).seed == 3

def test_wrong(gradients):
    gradients(gradient("wrong", 2), Spec((2,)))

def test_waived(gradients):
    gradients(gradient("known", 2), Spec((2,)))

@pytest.mark.gradients(strict=True)
def test_strict(gradients):
    def sigmoid(x):
        return 1 / (1 + jnp.exp(-x))
    def forward(x):
        return sigmoid(x), sigmoid(x)
    loses_digits = forward, lambda y, dy: (dy * y * (1 - y),)
    gradients(loses_digits, Spec((2,)), definition=sigmoid, strict=False)
    with pytest.raises(AssertionError, match="float32 arithmetic is not"):
        gradients(loses_digits, Spec((2,)), definition=sigmoid)

@pytest.mark.gradients(sed=3)
def test_marker(gradients):
    pass
"""
WAIVER = """
[[tool.manualbp.waivers]]
rule = "{rule}"
verdict = "FAIL"
reason = "later"
expires = 2999-12-31
"""


def run(folder, *arguments):
    """Pytest in a process of its own, with this plugin, and others only if they are named."""
    out = subprocess.run(
        [sys.executable, "-W", "error", "-m", "pytest", "-p", "manualbp.pytest_plugin",
         "-p", "no:cacheprovider", "--strict-markers", "-W", "error", *arguments],
        cwd=folder, capture_output=True, text=True, check=False,
        env={"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "PYTHONPATH": str(ROOT), "COLUMNS": "200"},
    )  # fmt: skip
    assert not out.stderr
    return out


def properties(file):
    return {
        case.get("name"): {p.get("name"): p.get("value") for p in case.iter("property")}
        for case in ElementTree.parse(file).getroot().iter("testcase")
    }


def test_pytest_finds_the_plugin():
    content = tomllib.loads((ROOT / "pyproject.toml").read_text())
    assert content["project"]["entry-points"]["pytest11"] == {"manualbp": "manualbp.pytest_plugin"}


def test_a_suite_without_gradients_notices_nothing(tmp_path):
    test = "import sys\ndef test_it():\n    assert not {'jax', 'numpy', 'flint'} & set(sys.modules)"
    (tmp_path / "test_it.py").write_text(test)
    (tmp_path / "pyproject.toml").write_text("[tool.manualbp]\nwrong = 1\n")
    out = run(tmp_path, "-q")
    assert out.stdout.split()[:3] == [".", "[100%]", "1"], out.stdout
    assert len(out.stdout.splitlines()) == 2


@pytest.mark.parametrize("xdist", [(), ("-p", "xdist", "-n", "1")], ids=["one process", "xdist"])
def test_the_fixture_judges_and_shows_the_report_alone(tmp_path, xdist):
    (tmp_path / "test_it.py").write_text(GRADIENTS)
    waivers = WAIVER.format(rule="known") + WAIVER.format(rule="test_it:right")
    (tmp_path / "pyproject.toml").write_text(waivers)
    out = run(tmp_path, "--manualbp-level", "quick", "--junitxml", "r.xml", *xdist)
    assert out.returncode == 1
    assert "1 failed, 3 passed, 1 error" in out.stdout
    shown = out.stdout.partition("FAILURES")[2]
    assert "\nFAIL  wrong  (seed 0)  x: float32[2] real\n  contract    PASS" in shown
    assert ".py:" not in shown.partition("short test summary")[0], "a traceback"
    assert "FAILED test_it.py::test_wrong - FAIL wrong: off by a constant factor" in shown
    assert "marker gradients: expected level=, seed= and strict=, got sed: write" in out.stdout
    assert "\nWAIVED  known: FAIL until 2999-12-31: later\n" in shown
    assert "\nSTALE  waiver of test_it:right: the rule passes now: remove it" in shown
    found = properties(tmp_path / "r.xml")
    stale = found["test_right"].pop("manualbp waiver")
    assert stale.startswith("STALE")
    assert found["test_right"] == {
        "rule": "right", "verdict": "PASS", "seed": "3", "level": "standard",
    }  # fmt: skip
    assert found["test_wrong"] == {
        "rule": "wrong", "verdict": "FAIL", "seed": "0", "level": "quick",
        "diagnosis": "off by a constant factor: got = 2/3 x expected",
    }  # fmt: skip
    assert found["test_waived"]["verdict"] == "FAIL"


def test_a_waiver_that_lacks_something_fails_the_test_in_one_line(tmp_path):
    (tmp_path / "test_it.py").write_text("def test_it(gradients):\n    pass\n")
    (tmp_path / "pyproject.toml").write_text(WAIVER.format(rule="f").replace("later", ""))
    out = run(tmp_path)
    assert "\npyproject.toml: waiver 1 (f): expected reason as text, got ''" in out.stdout
    assert "_waivers.py" not in out.stdout, "a traceback"
