"""What the command line names: functions as package.module:function, arguments as f32[8,16]."""

import importlib
import re
from typing import Any

from manualbp.verify.ask.domains import DOMAINS, Spec

_FLOATS = {"f16", "bf16", "f32", "f64"}
_INTEGERS = {
    **{f"i{n}": f"int{n}" for n in (8, 16, 32, 64)},
    **{f"u{n}": f"uint{n}" for n in (8, 16, 32, 64)},
    "bool": "bool",
}
_ITEM = re.compile(
    r"(?P<dtype>[a-z]+\d*)\[(?P<shape>[\d,\s]*)\](?:<(?P<below>\d+)|:(?P<domain>[a-z]+))?"
)
_TOKEN = re.compile(rf"\s*(?:(?P<item>{_ITEM.pattern})|(?P<word>key|none)|(?P<mark>[(),]))")
_FORM = "such as 'f32[8,16], (f32[16], f32[]), i32[8]<10, f32[3]:positive, key'"


def load(target: str) -> Any:
    """The object that `package.module:name` names; a pair where two names follow, `m:fwd,bwd`.

    Raises:
      ValueError: it is not of that form, or there is no such module or name.
    """
    module_name, colon, names = target.partition(":")
    if not (module_name and colon and names):
        raise ValueError(f"expected package.module:function, got {target!r}")
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as problem:
        raise ValueError(
            f"no module {problem.name!r}: install it, or run where Python finds it"
        ) from problem
    found = []
    for name in names.split(","):
        value: Any = module
        for part in name.strip().split("."):
            if not hasattr(value, part):
                raise ValueError(f"{module_name} has no {name.strip()!r}")
            value = getattr(value, part)
        found.append(value)
    return found[0] if len(found) == 1 else tuple(found)


def arguments(text: str) -> tuple:
    """Arguments as specifications, from text.

    `f32[8,16]` is a floating array of that shape (whichever the dtype: the form is checked in all
    four, the numbers in float64), `i32[8]<10` integers of that dtype from 0 to 9,
    `f32[3]:positive` numbers of a domain, `key` a key of jax.random, `none` None, and brackets
    make tuples.

    Raises:
      ValueError: the text has another form.
    """
    at, stack = 0, [[]]  # type: ignore[var-annotated]
    while text[at:].strip():
        found = _TOKEN.match(text, at)
        if found is None:
            raise ValueError(f"--args: expected arguments {_FORM}, got {text[at:].strip()!r}")
        at = found.end()
        match found["mark"]:
            case "(":
                stack.append([])
            case ")":
                if len(stack) == 1:
                    raise ValueError(f"--args: a bracket is closed that was not opened: {text!r}")
                inner = tuple(stack.pop())
                stack[-1].append(inner)
            case ",":
                pass
            case _:
                word = found["word"]
                stack[-1].append(Spec((), word) if word else _spec(found))
    if len(stack) > 1:
        raise ValueError(f"--args: a bracket is not closed: {text!r}")
    return tuple(stack[0])


def _spec(found: re.Match) -> Spec:
    dtype, domain = found["dtype"], found["domain"]
    shape = tuple(int(n) for n in found["shape"].split(",") if n.strip())
    if dtype in _INTEGERS:
        if domain is not None:
            raise ValueError(f"--args: integers have no domain: write {dtype}[...]<10")
        below = 2 if dtype == "bool" else int(found["below"] or 2)
        return Spec(shape, "integers", below, _INTEGERS[dtype])
    if dtype not in _FLOATS:
        known = ", ".join(sorted(_FLOATS | set(_INTEGERS)))
        raise ValueError(f"--args: expected a dtype of {known}, got {dtype!r}")
    if found["below"] is not None:
        raise ValueError(f"--args: only integers have a bound: write {dtype}[...]:unit or the like")
    if domain is not None and domain not in DOMAINS:
        raise ValueError(f"--args: expected a domain of {', '.join(DOMAINS)}, got {domain!r}")
    return Spec(shape, domain or "real")
