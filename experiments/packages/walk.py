"""Every function with a custom derivative that a package holds when it is imported.

A module's names are looked through, its classes' attributes, what a decorated function wraps or
encloses, and what a partial application is made of. A rule that is made only when a function is
called is not there to be found; a row of the table can make one.
"""

import functools
import importlib
import inspect
import pkgutil
import re
import sys
import warnings
from collections.abc import Iterator
from typing import Any

import jax

DEPTH = 4  # of wrappers and closures around a rule
WRAPPERS = ("filter_custom_vjp", "filter_custom_jvp")  # Equinox's: objects that hold the rule


def modules(package: str, skip: tuple[str, ...] = ()) -> Iterator[Any]:
    """A package and what can be imported of its modules, tests and examples left out."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        root = importlib.import_module(package)
        yield root
        if not hasattr(root, "__path__"):
            return
        for found in pkgutil.walk_packages(root.__path__, f"{package}.", onerror=lambda name: None):
            parts = found.name.split(".")
            if any(p.startswith(("test", "conftest", "example", "__main__")) for p in parts):
                continue
            if any(parts[-1].endswith(end) for end in ("_test", "_tests")):
                continue
            if found.name.startswith(skip or ("/",)):
                continue
            try:
                yield importlib.import_module(found.name)
            except BaseException:  # parts that need what is not installed, scripts that exit
                continue


def is_rule(value: Any) -> bool:
    return isinstance(value, jax.custom_vjp | jax.custom_jvp) or type(value).__name__ in WRAPPERS


def inside(value: Any, depth: int = DEPTH) -> Iterator[tuple[str, Any]]:
    """The rules that a value is, wraps, encloses or is applied to, with the way to each."""
    if is_rule(value):
        yield "", value
        return
    if depth == 0:
        return
    if isinstance(value, functools.partial):
        for way, rule in inside(value.func, depth - 1):
            yield f".func{way}", rule
        return
    if isinstance(value, staticmethod | classmethod):
        value = value.__func__
    if isinstance(value, property):
        value = value.fget
    wrapped = None if isinstance(value, type) else vars_of(value).get("__wrapped__")
    if wrapped is not None:
        for way, rule in inside(wrapped, depth - 1):
            yield f".__wrapped__{way}", rule
    if inspect.isfunction(value):
        for name, cell in zip(value.__code__.co_freevars, value.__closure__ or (), strict=True):
            try:
                content = cell.cell_contents
            except ValueError:  # not yet filled
                continue
            if (
                is_rule(content)
                or inspect.isfunction(content)
                or type(content).__name__ == "PjitFunction"
            ):
                for way, rule in inside(content, depth - 1):
                    yield f"<{name}>{way}", rule


def vars_of(value: Any) -> dict:
    try:
        return vars(value)
    except TypeError:
        wrapped = getattr(value, "__wrapped__", None) if callable(value) else None
        return {} if wrapped is None else {"__wrapped__": wrapped}


def members(module: Any) -> Iterator[tuple[str, Any]]:
    for name, value in list(vars(module).items()):
        yield name, value
        if isinstance(value, type) and value.__module__ == module.__name__:
            for attribute, content in list(vars(value).items()):
                yield f"{name}.{attribute}", content
        elif isinstance(value, dict) and not name.startswith("__") and len(value) < 200:
            for key, content in list(value.items()):
                if isinstance(key, str) and callable(content):
                    yield f"{name}[{key}]", content


def find(name: str) -> Any:
    """The rule of that name, as `custom_rules` gives them."""
    module, way = name.split(":")
    value: Any = importlib.import_module(module)
    for step in re.findall(r"\[[^]]*\]|<[^>]*>|[^.\[<]+", way):
        if step[0] == "<":
            names = value.__code__.co_freevars
            value = value.__closure__[names.index(step[1:-1])].cell_contents
        elif step[0] == "[":
            value = value[step[1:-1]]
        elif isinstance(value, type):
            value = vars(value)[step]
            value = getattr(value, "__func__", getattr(value, "fget", None) or value)
        else:
            value = vars(value)[step] if step == "__wrapped__" else getattr(value, step)
    return value


def inner(rule: Any) -> Any:
    """The function that a rule decorates."""
    return vars(rule).get("__wrapped__") or getattr(rule, "fn", None) or getattr(rule, "fun", None)


def home(rule: Any) -> str:
    """The module in which a rule was written."""
    return getattr(inner(rule), "__module__", None) or ""


def custom_rules(package: str, skip: tuple[str, ...] = ()) -> dict[str, Any]:
    """Each rule that the package itself wrote, once, as "module:name" by where it was written."""
    names: dict[int, tuple[tuple, str, Any]] = {}
    for module in modules(package, skip):
        for name, value in members(module):
            try:
                found = list(inside(value))
            except Exception:  # objects that answer to no attribute
                continue
            for way, rule in found:
                where = home(rule)
                if where and where.split(".")[0] != package.split(".")[0]:
                    continue  # another package's, imported from there
                text = f"{module.__name__}:{name}{way}"
                rank = (bool(way), where != module.__name__, len(text), text)
                if id(rule) not in names or rank < names[id(rule)][0]:
                    names[id(rule)] = (rank, text, rule)
    return dict(sorted((text, rule) for _, text, rule in names.values()))


if __name__ == "__main__":
    for package in sys.argv[1:]:
        rules = custom_rules(package)
        print(package, len(rules))
        for name, rule in rules.items():
            try:
                signature = str(inspect.signature(inner(rule)))
            except (TypeError, ValueError):
                signature = "?"
            fixed = getattr(rule, "nondiff_argnums", ())
            print(f"  {name} {type(rule).__name__[:10]} {fixed} {signature[:200]}")
