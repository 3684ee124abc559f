"""`manualbp check`: somebody else's gradient from the command line."""

import json
import xml.etree.ElementTree as ElementTree

import pytest

from manualbp import cli
from manualbp.verify import Spec
from manualbp.verify.ask.targets import arguments

MODULE = """
import jax, jax.numpy as jnp

@jax.custom_vjp
def cube(x):
    return x**3
cube.defvjp(lambda x: (x**3, x), lambda x, dy: (3 * x**2 * dy,))

@jax.custom_vjp
def wrong(x):
    return x**3
wrong.defvjp(lambda x: (x**3, x), lambda x, dy: (2 * x**2 * dy,))

@jax.custom_jvp
def sine(x):
    return jnp.sin(x)
sine.defjvp(lambda x, dx: (jnp.sin(*x), jnp.cos(*x) * dx[0]))
forward_mode = jax.jit(sine)

@jax.custom_jvp
def wrong_forward_mode(x):
    return jnp.sin(x)
wrong_forward_mode.defjvp(lambda x, dx: (jnp.sin(*x), -jnp.cos(*x) * dx[0]))

def definition(w, x):
    return x @ w
def fwd(w, x):
    return x @ w, (w, x)
def bwd(saved, dy):
    w, x = saved
    return x.T @ dy, dy @ w.T
def plain(x):
    return x
"""


@pytest.fixture
def mine(tmp_path, monkeypatch):
    (tmp_path / "gradients_of_mine.py").write_text(MODULE)
    monkeypatch.syspath_prepend(tmp_path)
    return lambda name: f"gradients_of_mine:{name}"


def test_a_right_gradient_passes(mine, capsys):
    assert cli.main(["check", mine("cube"), "--args", "f32[3]", "--level", "quick"]) == cli.OK
    assert capsys.readouterr().out.startswith("PASS  cube")


def test_a_wrong_one_fails_and_says_so_in_json_and_junit(mine, capsys, tmp_path):
    files = ["--json", str(tmp_path / "r.json"), "--junit", str(tmp_path / "r.xml")]
    assert cli.main(["check", mine("wrong"), "--args", "f32[3]", *files]) == cli.FAILED
    assert "2/3 x expected" in capsys.readouterr().out
    assert json.loads((tmp_path / "r.json").read_text())["verdict"] == "FAIL"
    suite = ElementTree.parse(tmp_path / "r.xml").getroot()
    assert suite.get("failures") == "1"
    assert "2/3 x expected" in suite.find("testcase/failure").get("message")


def test_forward_mode_rules_under_jit_or_not(mine, capsys):
    given = ["--args", "f32[3]", "--level", "quick"]
    assert cli.main(["check", mine("forward_mode"), *given]) == cli.OK
    assert cli.main(["check", mine("wrong_forward_mode"), *given]) == cli.FAILED
    assert "sign flipped" in capsys.readouterr().out


def test_a_pair_with_its_definition(mine, capsys):
    given = ["--definition", mine("definition"), "--args", "f32[3,2], f32[4,3]"]
    assert cli.main(["check", mine("fwd,bwd"), *given, "--level", "quick"]) == cli.OK
    assert "PASS" in capsys.readouterr().out


def test_a_gradient_that_is_meant_to_differ(mine, capsys):
    given = ["--args", "f32[3]", "--level", "quick", "--intended", "damped"]
    assert cli.main(["check", mine("wrong"), *given]) == cli.OK
    assert cli.main(["check", mine("cube"), *given]) == cli.FAILED
    assert "intended not to be the gradient: damped" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("target", "args", "message"),
    [
        ("nowhere_at_all:f", "f32[3]", "no module 'nowhere_at_all': install it, or run where"),
        ("math", "f32[3]", "expected package.module:function, got 'math'"),
        ("math:sine", "f32[3]", "math has no 'sine'"),
        ("math:sin", "f32[3", "--args: expected arguments such as 'f32[8,16]"),
        ("math:sin", "(f32[3]", "--args: a bracket is not closed"),
        ("math:sin", "f32[3])", "--args: a bracket is closed that was not opened"),
        ("math:sin", "f33[3]", "--args: expected a dtype of bf16"),
        ("math:sin", "f32[3]<4", "--args: only integers have a bound"),
        ("math:sin", "f32[3]:negative", "--args: expected a domain of real, positive"),
        ("math:sin", "i32[3]:unit", "--args: integers have no domain"),
        ("math:sin", "f32[3]", "check: expected a Rule, a jax.custom_vjp or custom_jvp function"),
    ],
)
def test_what_cannot_be_asked_is_told_in_one_line(capsys, target, args, message):
    assert cli.main(["check", target, "--args", args]) == cli.USAGE
    captured = capsys.readouterr()
    assert captured.err.startswith(f"manualbp: {message}")
    assert captured.err.count("\n") == 1
    assert captured.out == ""


def test_arguments_of_every_kind():
    assert arguments("f32[2,3], (f64[], i32[4]<7), bool[2], f32[3]:unit, key, none") == (
        Spec((2, 3)),
        (Spec(()), Spec((4,), "integers", 7, "int32")),
        Spec((2,), "integers", 2, "bool"),
        Spec((3,), "unit"),
        Spec((), "key"),
        Spec((), "none"),
    )
    assert arguments("") == ()
