"""What the repository promises about itself; each test names whatever is missing."""

import ast
import gc
import inspect
import re
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import manualbp
import reference
from manualbp.verify import Spec, check
from manualbp.verify.cases import CASES
from tests.table import KINKS, TABLE

ROOT = Path(__file__).parents[1]
RULES = {rule.name: rule for rule in manualbp.RULES}


def base(name):
    """The name without hyperparameters."""
    return name.partition("(")[0]


# Every rule is complete


def test_names_are_unique_and_public():
    assert len(RULES) == len(manualbp.RULES)
    assert len(set(map(base, RULES))) == len(RULES)
    missing = [name for name in RULES if base(name) not in manualbp.__all__]
    assert not missing, "not in manualbp.__all__"
    for name, rule in RULES.items():
        found = getattr(manualbp, base(name))
        found = found if isinstance(found, manualbp.Rule) else found()
        assert found.name == rule.name


def test_every_public_rule_is_in_the_catalogue():
    public = {n for n in manualbp.__all__ if isinstance(getattr(manualbp, n), manualbp.Rule)}
    assert public <= {base(name) for name in RULES}


def test_every_rule_has_a_definition():
    missing = [n for n in RULES if not callable(getattr(reference, base(n), None))]
    assert not missing, "no definition of that name in reference"


def test_every_definition_takes_the_arguments_of_its_rule():
    differ = {}
    for name, rule in RULES.items():
        ours = tuple(inspect.signature(rule.fwd).parameters)
        definition = eval(name, {}, vars(reference))
        theirs = tuple(inspect.signature(definition).parameters)
        if ours != theirs:
            differ[name] = (ours, theirs)
    assert not differ


@pytest.mark.parametrize("field", ["source", "tex", "saves"])
def test_every_rule_states_its(field):
    missing = [name for name, rule in RULES.items() if not getattr(rule, field).strip()]
    assert not missing, f"no {field}"


def test_every_equation_has_its_derivative():
    """y' or a differential after the value, and at a kink the value there."""
    lacks = [
        n for n, rule in RULES.items() if not re.search(r"\\quad (\\;|\\partial |d|y')", rule.tex)
    ]
    assert not lacks, "no derivative in tex"
    mute = [
        name
        for name, rule in RULES.items()
        if rule.kink is not None and not re.search(r"z = 0", rule.tex)
    ]
    assert not mute, "a kink, but not the value there in tex"


def test_every_rule_has_a_row_in_the_tests_table():
    assert sorted(map(base, RULES)) == sorted(TABLE)
    tested = {base(name) for name in KINKS}
    untested = [n for n, rule in RULES.items() if rule.kink is not None and base(n) not in tested]
    assert not untested, "a kink, but no row in tests.table.KINKS"


def test_every_rule_has_a_row_in_the_judges_table():
    assert sorted(map(base, RULES)) == sorted(CASES)


def test_every_rule_is_in_the_documentation():
    pages = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
    text = "\n".join(page.read_text() for page in pages if page.exists())
    missing = [n for n in RULES if not re.search(rf"(?<!\w){base(n)}(?!\w)", text)]
    assert not missing, "no word of it in README.md or docs"


# Documentation of the public names


def public_functions():
    """Functions, factories and methods that a user calls, by their full name."""
    modules = (manualbp, manualbp.initializers)
    for module in modules:
        names = getattr(module, "__all__", None) or [
            n for n, f in vars(module).items() if getattr(f, "__module__", "") == module.__name__
        ]
        for name in names:
            found = getattr(module, name)
            if inspect.isfunction(found):
                yield f"{module.__name__}.{name}", found
            elif inspect.isclass(found):
                for method, f in vars(found).items():
                    if inspect.isfunction(f) and not method.startswith("_"):
                        yield f"{module.__name__}.{name}.{method}", f
    from manualbp import verify
    from manualbp.verify import strategies

    for name in ("check", "assert_correct"):
        yield f"manualbp.verify.{name}", getattr(verify, name)
    for name in strategies.__all__:
        yield f"manualbp.verify.strategies.{name}", getattr(strategies, name)


FUNCTIONS = dict(public_functions())


@pytest.mark.parametrize("name", FUNCTIONS)
def test_every_public_function_says_what_it_takes_and_gives(name):
    function = FUNCTIONS[name]
    text = inspect.getdoc(function) or ""
    assert text, "no docstring"
    parameters = [p for p in inspect.signature(function).parameters if p != "self"]
    if not parameters:
        return
    assert re.search(r"^Args:$", text, re.M), "no Args"
    silent = [p for p in parameters if not re.search(rf"^ +\*?{p}(, \w+)*: |, {p}: ", text, re.M)]
    assert not silent, "arguments without a word"
    assert re.search(r"^(Returns|Yields):$", text, re.M), "no Returns"


def test_every_public_class_has_a_docstring():
    for name in manualbp.__all__:
        found = getattr(manualbp, name)
        assert inspect.getdoc(found), name


def test_every_name_in_all_is_there():
    assert all(hasattr(manualbp, name) for name in manualbp.__all__)


# Two sides that never import each other


def imports(path):
    """The modules that a file imports, absolute names."""
    package = path.relative_to(ROOT).with_suffix("").parts[:-1]
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            start = package[: len(package) - node.level + 1] if node.level else ()
            module = ".".join((*start, *([node.module] if node.module else [])))
            yield module
            yield from (f"{module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Call):
            called = ast.unparse(node.func)
            if called.split(".")[-1] in ("import_module", "__import__", "spec_from_file_location"):
                yield f"<{called}>"


def files(folder):
    return [p for p in sorted((ROOT / folder).rglob("*.py")) if "__pycache__" not in p.parts]


LOADER = ROOT / "manualbp" / "verify" / "ask" / "definitions.py"
# the user's own modules, by the names on the command line
TARGETS = ROOT / "manualbp" / "verify" / "ask" / "targets.py"
# its own modules, when they are asked for
INIT = ROOT / "manualbp" / "__init__.py"


def test_the_library_and_the_reference_do_not_import_each_other():
    assert len(files("manualbp")) > 20
    assert len(files("reference")) > 5
    for path in files("manualbp"):
        for name in imports(path):
            allowed = path in (LOADER, TARGETS, INIT) and name.startswith("<")
            wrong = name.split(".")[0] == "reference" or name.startswith("manualbp.reference")
            assert allowed or not (wrong or name.startswith("<")), f"{path.name} imports {name}"
    for path in files("reference"):
        for name in imports(path):
            assert name.split(".")[0] != "manualbp", f"{path.name} imports {name}"
            assert not name.startswith("<"), f"{path.name} imports {name}"


USE_THE_JUDGE = ("cli.py", "__main__.py", "pytest_plugin.py")


def test_the_library_does_not_import_its_judge():
    """`import manualbp` must do without what only the judge needs."""
    judge = ("manualbp.verify", "manualbp.cli", "manualbp.pytest_plugin")
    for path in files("manualbp"):
        if ROOT / "manualbp" / "verify" in path.parents or path.name in USE_THE_JUDGE:
            continue
        for name in imports(path):
            assert not name.startswith(judge), f"{path.name} imports {name}"


# Importing changes and needs nothing

IMPORTED = """
import sys
import jax, jaxlib, numpy
import jax.numpy
before, settings = set(sys.modules), dict(jax.config.values)
import manualbp
from manualbp import *
new = {name.partition(".")[0] for name in set(sys.modules) - before}
print(sorted(new - {"jax", "jaxlib", "numpy", "manualbp"} - sys.stdlib_module_names))
print([k for k, v in jax.config.values.items() if k not in settings or settings[k] != v])
print("manualbp.verify" in sys.modules, jax.live_arrays())
"""
LAZY = """
import sys
import manualbp, manualbp.pytest_plugin
print("jax" in sys.modules, "numpy" in sys.modules)
print(set(manualbp.__all__) <= set(dir(manualbp)), hasattr(manualbp, "relo"), "jax" in sys.modules)
print(manualbp.RULES[0] is manualbp.activations.RULES[0], "jax" in sys.modules)
"""


def run(code):
    out = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert out.returncode == 0, out.stderr
    return out.stdout.splitlines()


def test_import_needs_jax_and_numpy_alone_and_changes_no_setting():
    assert run(IMPORTED) == ["[]", "[]", "False []"]


def test_jax_is_imported_with_the_first_name_that_is_used():
    """Whoever starts pytest where manualbp is installed does not wait for JAX."""
    assert run(LAZY) == ["False False", "True False False", "True True"]


def test_the_judge_changes_no_setting():
    import flint

    def settings():
        return dict(jax.config.values), flint.ctx.prec, flint.ctx.dps, flint.ctx.cap

    before = settings()
    assert jnp.ones(1).dtype == np.float32
    assert check(manualbp.sigmoid, Spec((2,))).verdict == "PASS"
    wrong = manualbp.elementwise("sigmoid", manualbp.tanh, jnp.ones_like, tex="", source="")
    assert check(wrong, Spec((2,))).verdict == "FAIL"
    assert settings() == before
    assert jnp.ones(1).dtype == np.float32


def test_a_value_that_differs_from_fwd_leaves_no_mode_behind():
    """The check that takes the first finding alone; what is left is collected after it."""
    twice = jax.custom_vjp(lambda x: 2 * x)
    twice.defvjp(lambda x: (2.5 * x, None), lambda _, dy: (2 * dy,))
    assert "differs from its fwd" in str(check(twice, Spec((2,))))
    gc.collect()
    assert jnp.ones(1).dtype == np.float32
