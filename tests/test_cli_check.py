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

@jax.custom_vjp
def scaled(x, factor, options):
    return x * factor * options["n"]
scaled.defvjp(lambda x, factor, options: (scaled(x, factor, options), (x, factor, options)),
              lambda saved, dy: (dy * saved[1] * saved[2]["n"], None, None))

@jax.custom_vjp
def sigmoid(x):
    return 1 / (1 + jnp.exp(-x))
def forward(x):
    y = sigmoid(x)
    return y, y
sigmoid.defvjp(forward, lambda y, dy: (dy * y * (1 - y),))

@jax.custom_vjp
def leaves(x):
    import sys
    sys.exit(0)
leaves.defvjp(lambda x: (x, x), lambda x, dy: (dy,))
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


def test_digits_that_are_lost_fail_where_that_is_asked(mine, capsys):
    given = ["check", mine("sigmoid"), "--args", "f32[3]", "--level", "quick"]
    assert cli.main(given) == cli.OK
    assert "arithmetic" in capsys.readouterr().out
    assert cli.main([*given, "--strict"]) == cli.FAILED
    assert "floats      FAIL" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("raise RuntimeError('no GPU\\nhere')", "importing {} raises RuntimeError: no GPU here"),
        ("def f(:", "{} is no Python: invalid syntax ("),
        ("import sys; sys.exit(0)", "importing {} calls sys.exit(0): expected a module that only"),
        ("import nowhere_at_all", "no module 'nowhere_at_all': install it, or run where"),
        ("from math import sine", "importing {} raises ImportError: cannot import name 'sine'"),
    ],
)
def test_a_module_that_cannot_be_imported_is_told_in_one_line(
    tmp_path, monkeypatch, capsys, text, told, request
):
    name = f"broken_{abs(hash(request.node.name))}"
    (tmp_path / f"{name}.py").write_text(text)
    monkeypatch.syspath_prepend(tmp_path)
    assert cli.main(["check", f"{name}:f", "--args", "f32[3]"]) == cli.USAGE
    captured = capsys.readouterr()
    assert captured.err.startswith(f"manualbp: {told.format(name)}")
    assert (captured.err.count("\n"), captured.out) == (1, "")


def test_code_that_ends_the_process_is_told_in_one_line(mine, capsys):
    assert cli.main(["check", mine("leaves"), "--args", "f32[3]"]) == cli.USAGE
    assert capsys.readouterr().err == f"manualbp: {mine('leaves')} raises SystemExit: 0\n"


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
        ("math:sin", "f32[3]:backwards", "--args: expected a domain of real, positive"),
        ("math:sin", "i32[3]:unit", "--args: integers have no domain unit: write i32[...]<10"),
        ("math:sin", "(f32[3]]", "--args: a bracket is closed that was not opened"),
        ("math:sin", "f32[3] f32[2]", "--args: expected arguments such as 'f32[8,16]"),
        ("math:sin", "f32[3],,f32[2]", "--args: expected arguments such as 'f32[8,16]"),
        ("math:sin", "f32[3]|3", "--args: only integers have a bound"),
        ("math:sin", "f32[3]:..", "--args: expected an interval such as 0..1 or 0.5.., got '..'"),
        ("math:sin", "f32[3]:interval", "--args: expected a domain of real, positive"),
        ("math:sin", "f32[3]:unit:positive", "Spec: expected low and high for interval, sorted"),
        ("math:sin", "f32[3]:sorted:unit:unit", "--args: expected one domain, got sorted and unit"),
        ("math:sin", "f32[3]:unit:0..1", "Spec: expected low and high for interval, sorted"),
        ("math:sin", "f32[3]:1..0", "Spec: expected numbers of float32 from low to high, got none"),
        ("math:sin", "i32[3]:0..0.5", "--args: expected integers from one to another, such as i32"),
        ("math:sin", "{w: f32[3]}", "--args: expected a dictionary such as {'w': f32[3,2]}"),
        ("math:sin", "{'w': f32[3]", "--args: a bracket is not closed"),
        ("math:sin", "c64[3]:unit", "Spec: expected real or nonzero as the domain of complex64"),
        ("math:sin", "'mean", "--args: expected arguments such as 'f32[8,16]"),
        ("math:pi", "f32[3]", "check: expected a Rule, a jax.custom_vjp or custom_jvp function"),
        ("math:sin", "f32[3]", "check: expected a definition for sin, got none: pass definition="),
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
        (Spec((), dtype="float64"), Spec((4,), "integers", 7, "int32")),
        Spec((2,), "integers", 2, "bool"),
        Spec((3,), "unit"),
        Spec((), "key"),
        Spec((), "none"),
    )
    assert arguments("") == ()


BF16 = {"dtype": "bfloat16"}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("bf16[3]", Spec((3,), **BF16)),
        ("f16[]", Spec((), dtype="float16")),
        ("f64[2,]", Spec((2,), dtype="float64")),
        ("c64[3]", Spec((3,), dtype="complex64")),
        ("c128[3]:nonzero", Spec((3,), "nonzero", dtype="complex128")),
        ("f32[3]:negative", Spec((3,), "negative")),
        ("f32[3]:-1..1", Spec((3,), "interval", low=-1, high=1)),
        ("f32[]:0..0.95", Spec((), "interval", low=0, high=0.95)),
        ("f32[]:1e-6..1.", Spec((), "interval", low=1e-6, high=1)),
        ("bf16[3] : -.5..", Spec((3,), "interval", low=-0.5, **BF16)),
        ("f32[3]:..-2", Spec((3,), "interval", high=-2)),
        ("f32[4]:sorted", Spec((4,), "sorted")),
        ("f32[4]:sorted:nonnegative", Spec((4,), "sorted", low=0)),
        ("f32[4]:sorted:positive", Spec((4,), "sorted", low=2**-126)),
        ("f32[4]:sorted:-1..1", Spec((4,), "sorted", low=-1, high=1)),
        ("f32[2,2]:symmetric:nonpositive", Spec((2, 2), "symmetric", high=0)),
        ("i32[8]<10|-100", Spec((8,), "integers", 10, values=(-100,))),
        ("i32[8]<10|-100|-1", Spec((8,), "integers", 10, values=(-100, -1))),
        ("bool[4,4]:mask", Spec((4, 4), "mask", kind="bool")),
        ("i32[4]<129:counts", Spec((4,), "counts", 129)),
        ("i64[5]<129:offsets", Spec((5,), "offsets", 129, "int64")),
        ("i64[8]:-5..5", Spec((8,), "integers", 6, "int64", low=-5)),
        ("i32[8]<10:distinct", Spec((8,), "integers", 10, distinct=True)),
        ("u8[4]:permutation", Spec((4,), "permutation", kind="uint8")),
        ("key[2]", Spec((2,), "key")),
        ("None", Spec((), "none")),
        ("0.5", 0.5),
        ("-3", -3),
        ("1e-6", 1e-6),
        ("2.", 2.0),
        ("True", True),
        ("False", False),
        ("'mean'", "mean"),
        ('"a, (b"', "a, (b"),
        ("()", ()),
        ("[]", []),
        ("{}", {}),
        ("(f32[3],)", (Spec((3,)),)),
        ("[f32[3], 2, [key]]", [Spec((3,)), 2, [Spec((), "key")]]),
        (
            "{'w': f32[3,2]:unit, 'more': {'b': (f32[2], -1)}}",
            {"w": Spec((3, 2), "unit"), "more": {"b": (Spec((2,)), -1)}},
        ),
    ],
)
def test_every_form_of_an_argument(text, expected):
    for written in (text, f" {text} ", f"{text},"):
        (found,) = arguments(written)
        assert found == expected
        assert type(found) is type(expected)
    assert arguments(f"f32[2], {text}") == (Spec((2,)), expected)


@pytest.mark.parametrize("dtype", ["bfloat16", "float16", "float64", "float32"])
def test_the_dtype_is_kept(dtype):
    short = dtype.replace("float", "f")
    assert arguments(f"{short}[3]")[0].floating.name == dtype
