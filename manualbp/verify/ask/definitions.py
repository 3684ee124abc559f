"""The one place where the verifier finds the textbook definitions.

They are the package `reference` of the repository, which the wheel carries as
`manualbp/reference`. No other module of `manualbp` knows of them.
"""

import ast
import functools
import importlib
import importlib.util
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

from manualbp._rule import Rule


@functools.cache
def reference() -> ModuleType:
    """The reference package: beside `manualbp` in a checkout, inside it in a wheel.

    Raises:
      ModuleNotFoundError: neither is there.
    """
    package = Path(__file__).resolve().parents[2]
    for name, folder in (
        ("manualbp.reference", package / "reference"),
        ("reference", package.parent / "reference"),
    ):
        if not (folder / "scalar_backprop.py").exists():
            continue
        loaded = sys.modules.get(name)
        if loaded is not None and Path(loaded.__file__ or "").parent == folder:
            return loaded
        spec = importlib.util.spec_from_file_location(
            name, folder / "__init__.py", submodule_search_locations=[str(folder)]
        )
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules[name] = module
        spec.loader.exec_module(module)
        return module
    raise ModuleNotFoundError(
        "manualbp.verify: expected the textbook definitions in manualbp/reference (wheel) or "
        f"beside {package} (checkout), found neither: install manualbp again"
    )


def lecture_notes() -> ModuleType:
    """The lecture notes' equations as printed, a subpackage of the reference."""
    return importlib.import_module(f"{reference().__name__}.lecture_notes")


@functools.cache
def definition_of(rule: Rule) -> Callable | None:
    """The textbook definition of a rule of ours, by name; None where there is none.

    A name with hyperparameters, `leaky_relu(slope=0.01)`, calls the factory of that name.
    """
    try:
        call = ast.parse(rule.name, mode="eval").body
    except SyntaxError:
        return None
    if isinstance(call, ast.Name):
        found = getattr(reference(), call.id, None)
        return found if callable(found) else None
    if not (isinstance(call, ast.Call) and isinstance(call.func, ast.Name)) or call.args:
        return None
    factory = getattr(reference(), call.func.id, None)
    if factory is None:
        return None
    return factory(**{k.arg: ast.literal_eval(k.value) for k in call.keywords if k.arg})


def base_name(rule: Rule) -> str:
    """The name without hyperparameters."""
    return rule.name.partition("(")[0]
