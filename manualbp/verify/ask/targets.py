"""What the command line names: functions as package.module:function, arguments as f32[8,16]."""

import importlib
import re
from typing import Any

from manualbp.verify.ask.domains import DOMAINS, Spec

_FLOATS = {
    "f16": "float16",
    "bf16": "bfloat16",
    "f32": "float32",
    "f64": "float64",
    "c64": "complex64",
    "c128": "complex128",
}
_INTEGERS = {
    **{f"i{n}": f"int{n}" for n in (4, 8, 16, 32, 64)},
    **{f"u{n}": f"uint{n}" for n in (4, 8, 16, 32, 64)},
    "bool": "bool",
}
_WORDS = {
    "key": Spec((), "key"),
    "none": Spec((), "none"),
    "None": Spec((), "none"),
    "True": True,
    "False": False,
}
# The domains that bound a sorted or symmetric array, too
_SIGNS = ("positive", "negative", "nonnegative", "nonpositive", "unit", "probability")
_CLOSING = {"(": ")", "[": "]", "{": "}"}

_ARRAY = re.compile(r"(?P<dtype>[a-z]+\d*)\[(?P<shape>[\d,\s]*)\]")
_NUMBER = r"-?(?:\d+(?:\.(?!\.)\d*)?|\.\d+)(?:[eE][+-]?\d+)?"
_PLAIN = re.compile(rf"{_NUMBER}(?![\w.])")
_TEXT = re.compile(r"'([^'\\]*)'|\"([^\"\\]*)\"")
_WORD = re.compile(rf"(?:{'|'.join(_WORDS)})\b(?!\[)")
# What follows the shape: <10, :name, :-1..1 and |-100
_SAID = re.compile(
    rf"\s*(?:<\s*(?P<below>\d+)|:\s*(?P<low>{_NUMBER})?\.\.(?P<high>{_NUMBER})?"
    r"|:\s*(?P<name>[a-z]+)|\|\s*(?P<mark>-?\d+))"
)
_FORM = "such as 'f32[8,16], (f32[16], f32[]), i32[8]<10, f32[3]:positive, key'"


def load(target: str) -> Any:
    """The object that `package.module:name` names; a pair where two names follow, `m:fwd,bwd`.

    Raises:
      ValueError: it is not of that form, there is no such module or name, or importing it fails.
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
    except SyntaxError as problem:
        raise ValueError(
            f"{module_name} is no Python: {problem.msg} ({problem.filename}, line {problem.lineno})"
        ) from problem
    except SystemExit as stop:
        raise ValueError(
            f"importing {module_name} calls sys.exit({stop.code!r}): expected a module that only "
            'defines: put what it runs under if __name__ == "__main__":'
        ) from stop
    except Exception as problem:  # whatever the user's module raises
        raise ValueError(f"importing {module_name} raises {told(problem)}") from problem
    found = []
    for name in names.split(","):
        value: Any = module
        for part in name.strip().split("."):
            if not hasattr(value, part):
                raise ValueError(f"{module_name} has no {name.strip()!r}")
            value = getattr(value, part)
        found.append(value)
    return found[0] if len(found) == 1 else tuple(found)


def told(problem: BaseException) -> str:
    """An exception on one line."""
    text = " ".join(str(problem).split())[:300]
    return f"{type(problem).__name__}: {text}" if text else type(problem).__name__


def arguments(text: str) -> tuple:
    """Arguments from text: specifications of arrays, and plain values as Python has them.

    An array is its dtype and shape: `f32[8,16]`, of f16, bf16, f32, f64, c64, c128, bool and
    integers such as i32 and u8. What it contains follows:

    - `f32[3]:positive`, a domain that `Spec` knows; `f32[4]:sorted:positive`, both;
    - `f32[3]:-1..1`, an interval with its ends; `f32[]:0.5..`, with one;
    - `i32[8]<10`, integers from 0 to 9; `i32[8]:-5..5`; `i32[8]<10|-100`, and a further one;
      `i32[8]<10:distinct`, each once; `i32[4]:permutation`; of groups of 128 rows
      `i32[4]<129:counts` and `i32[5]<129:offsets`; `bool[4,4]:mask`, a True in each row.

    Numbers, strings in quotes, True and False are themselves, `none` or `None` is None, `key` a
    key of jax.random and `key[3]` three; brackets make tuples, lists and dictionaries.

    Raises:
      ValueError: the text has another form.

    Example:
      >>> arguments("f32[8,16], bf16[3]:positive, i32[8]<10|-100")
      (Spec((8, 16), dtype='float32'), Spec((3,), 'positive', dtype='bfloat16'), Spec((8,), ...
      >>> arguments("({'w': f32[2]:-1..1}, [0.5, -3]), 'mean', key")[0][1]
      [0.5, -3]
    """
    return tuple(_Reader(text).items(""))


class _Reader:
    """Reads arguments from left to right."""

    def __init__(self, text: str):
        self.text, self.at = text, 0
        self._skip()

    def items(self, closing: str) -> list:
        """What stands between brackets, separated by commas."""
        found = []
        while not self._closed(closing):
            found.append(self._pair() if closing == "}" else self._item())
            if not self._take(",") and not self._closed(closing, take=False):
                raise self._unexpected()
        return found

    def _closed(self, closing: str, take: bool = True) -> bool:
        rest = self.text[self.at :]
        if not rest:
            if closing:
                raise ValueError(f"--args: a bracket is not closed: {self.text!r}")
            return True
        if rest[0] in _CLOSING.values() and rest[0] != closing:
            raise ValueError(f"--args: a bracket is closed that was not opened: {self.text!r}")
        if closing and rest[0] == closing:
            return bool(self._take(closing)) if take else True
        return False

    def _item(self) -> Any:
        for opening, closing in _CLOSING.items():
            if self._take(opening):
                inner = self.items(closing)
                return {"(": tuple, "[": list, "{": dict}[opening](inner)
        if found := self._match(_ARRAY):
            return self._array(found["dtype"], found["shape"])
        if found := self._match(_PLAIN):
            return (int if found[0].lstrip("-").isdigit() else float)(found[0])
        if found := self._match(_TEXT):
            return found[1] if found[1] is not None else found[2]
        if found := self._match(_WORD):
            return _WORDS[found[0]]
        raise self._unexpected()

    def _pair(self) -> tuple[str, Any]:
        found = self._match(_TEXT)
        if found is None or not self._take(":"):
            raise ValueError(
                f"--args: expected a dictionary such as {{'w': f32[3,2]}}, got "
                f"{self.text[self.at :]!r}: put its names in quotes"
            )
        return found[1] if found[1] is not None else found[2], self._item()

    def _array(self, dtype: str, axes: str) -> Spec:
        shape = tuple(int(n) for n in axes.split(",") if n.strip())
        said: dict[str, Any] = {"names": [], "marks": []}
        while found := self._match(_SAID):
            if found["below"]:
                said["below"] = int(found["below"])
            elif found["name"]:
                said["names"].append(found["name"])
            elif found["mark"]:
                said["marks"].append(int(found["mark"]))
            elif found["low"] or found["high"]:
                said["ends"] = found["low"], found["high"]
            else:
                raise ValueError("--args: expected an interval such as 0..1 or 0.5.., got '..'")
        if dtype == "key" and said == {"names": [], "marks": []}:
            return Spec(shape, "key")
        if dtype in _INTEGERS:
            return _integers(dtype, shape, said)
        if dtype not in _FLOATS:
            known = ", ".join(sorted({*_FLOATS, *_INTEGERS}))
            raise ValueError(f"--args: expected a dtype of {known}, got {dtype!r}")
        return _floats(dtype, shape, said)

    def _match(self, pattern: re.Pattern) -> re.Match | None:
        found = pattern.match(self.text, self.at)
        if found is not None:
            self.at = found.end()
            self._skip()
        return found

    def _take(self, mark: str) -> bool:
        if not self.text.startswith(mark, self.at):
            return False
        self.at += 1
        self._skip()
        return True

    def _skip(self) -> None:
        while self.text[self.at : self.at + 1].isspace():
            self.at += 1

    def _unexpected(self) -> ValueError:
        return ValueError(f"--args: expected arguments {_FORM}, got {self.text[self.at :]!r}")


def _floats(dtype: str, shape: tuple[int, ...], said: dict) -> Spec:
    if "below" in said or said["marks"]:
        raise ValueError(
            f"--args: only integers have a bound: write {dtype}[...]:unit, {dtype}[...]:-1..1 or "
            "the like"
        )
    kind, names, ends = _FLOATS[dtype], said["names"], said.get("ends")
    for name in names:
        if name not in DOMAINS or name == "interval":
            known = ", ".join(d for d in DOMAINS if d != "interval")
            raise ValueError(
                f"--args: expected a domain of {known} or an interval such as -1..1, got {name!r}"
            )
    low, high = (None if end is None else float(end) for end in ends or (None, None))
    if len(names) == 2 and names[1] in _SIGNS and ends is None:
        low, high = Spec((), names[1], dtype=kind).bounds
    elif len(names) > 1:
        raise ValueError(
            f"--args: expected one domain, got {' and '.join(names)}: only sorted and symmetric "
            "take a sign after it"
        )
    domain = names[0] if names else "real" if ends is None else "interval"
    return Spec(shape, domain, dtype=kind, low=low, high=high)


def _integers(dtype: str, shape: tuple[int, ...], said: dict) -> Spec:
    kind, names, ends = _INTEGERS[dtype], said["names"], said.get("ends")
    if names == ["permutation"] and len(said) == 2 and not said["marks"]:
        return Spec(shape, "permutation", kind=kind)
    if names == ["mask"] and dtype == "bool" and len(said) == 2 and not said["marks"]:
        return Spec(shape, "mask", kind=kind)
    if names in (["counts"], ["offsets"]) and "below" in said and ends is None:
        return Spec(shape, names[0], said["below"], kind)
    if set(names) - {"distinct"}:
        raise ValueError(
            f"--args: integers have no domain {names[0]}: write {dtype}[...]<10, "
            f"{dtype}[...]:-5..5, {dtype}[...]:permutation or {dtype}[...]<129:counts"
        )
    low, below = None, 2 if dtype == "bool" else said.get("below", 2)
    if ends is not None:
        if "below" in said or not all(e and e.lstrip("-").isdigit() for e in ends):
            raise ValueError(
                f"--args: expected integers from one to another, such as {dtype}[...]:-5..5, got "
                f"{ends[0] or ''}..{ends[1] or ''}"
            )
        low, below = int(ends[0]), int(ends[1]) + 1
    return Spec(
        shape,
        "integers",
        below,
        kind,
        low=low,
        values=tuple(said["marks"]),
        distinct="distinct" in names,
    )
