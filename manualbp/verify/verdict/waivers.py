"""Waivers: verdicts that a project lives with, each for a reason and until a date.

They stand in the project's pyproject.toml:

    [[tool.manualbp.waivers]]
    rule = "mymodel.losses:fused_loss"   # as reported, or the target of `manualbp check`
    verdict = "UNDECIDED"                # or "FAIL"
    reason = "the kernel has no exact form yet"
    expires = 2026-12-31                 # the last day on which it holds
"""

import datetime
import tomllib
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_KEYS = ("rule", "verdict", "reason", "expires")
_FILE = "pyproject.toml"


@dataclass(frozen=True)
class Waiver:
    """One verdict of one rule that fails nothing for a while.

    Attributes:
      rule: its name as reported, or what `manualbp check` calls it, `package.module:function`.
      verdict: "FAIL" or "UNDECIDED": another verdict is not waived.
      reason: why.
      expires: the last day on which it holds.
    """

    rule: str
    verdict: str
    reason: str
    expires: datetime.date


@dataclass(frozen=True)
class Outcome:
    """What the waivers make of one verdict.

    Attributes:
      waived: the verdict fails nothing.
      lines: what to tell the user, a line for each waiver of that rule.
    """

    waived: bool
    lines: tuple[str, ...] = ()


def apply(
    waivers: Sequence[Waiver], names: Collection[str], verdict: str, today: datetime.date
) -> Outcome:
    """What the waivers make of a rule's verdict on a day.

    Args:
      waivers: of the project.
      names: of the rule, any of which a waiver may use.
      verdict: "PASS", "FAIL" or "UNDECIDED".
      today: the day.

    Returns:
      Whether the verdict is waived, and a line for each waiver of that rule.
    """
    waived, lines = False, []
    for w in waivers:
        if w.rule not in names:
            continue
        if verdict == "PASS":
            lines.append(f"STALE  waiver of {w.rule}: the rule passes now: remove it from {_FILE}")
        elif verdict != w.verdict:
            lines.append(
                f"UNUSED  waiver of {w.rule}: expected {w.verdict}, got {verdict}, which it does "
                "not waive: mend the rule, or the waiver"
            )
        elif today > w.expires:
            lines.append(
                f"EXPIRED  waiver of {w.rule}: it held until {w.expires} ({w.reason}): mend the "
                "rule, or give the waiver a new date"
            )
        else:
            waived = True
            lines.append(f"WAIVED  {w.rule}: {verdict} until {w.expires}: {w.reason}")
    return Outcome(waived, tuple(lines))


def load(folder: Path) -> tuple[Waiver, ...]:
    """The waivers of the pyproject.toml nearest to a folder, there or above; none without one.

    Raises:
      ValueError: the file is no TOML, or a waiver in it lacks something; says where and what.
    """
    for place in (folder, *folder.parents):
        file = place / _FILE
        if file.is_file():
            try:
                content = tomllib.loads(file.read_text(encoding="utf-8"))
            except ValueError as problem:  # of the encoding, too
                raise ValueError(f"{file}: expected TOML, got {problem}: mend it") from problem
            return parse(content)
    return ()


def parse(content: dict[str, Any]) -> tuple[Waiver, ...]:
    """The waivers in the content of a pyproject.toml.

    Raises:
      ValueError: a waiver lacks something, has a key too many, or is there twice.
    """
    table = content.get("tool", {}).get("manualbp", {})
    _only(f"{_FILE}: [tool.manualbp]", table, ("waivers",))
    entries = table.get("waivers", [])
    if not (isinstance(entries, list) and all(isinstance(x, dict) for x in entries)):
        raise ValueError(
            f"{_FILE}: expected waivers as tables, got {entries!r}: begin each with "
            "[[tool.manualbp.waivers]]"
        )
    waivers = tuple(_waiver(f"{_FILE}: waiver {n}", x) for n, x in enumerate(entries, 1))
    seen = set()
    for w in waivers:
        if (w.rule, w.verdict) in seen:
            raise ValueError(
                f"{_FILE}: expected one waiver of {w.rule} for {w.verdict}, got two: remove one"
            )
        seen.add((w.rule, w.verdict))
    return waivers


def _waiver(where: str, entry: dict[str, Any]) -> Waiver:
    if isinstance(entry.get("rule"), str):
        where = f"{where} ({entry['rule']})"
    _only(where, entry, _KEYS)
    for key in ("rule", "verdict", "reason"):
        text = entry.get(key)
        if not (isinstance(text, str) and text.strip()):
            raise ValueError(
                f'{where}: expected {key} as text, got {_found(text)}: write {key} = "..."'
            )
    if entry["verdict"] not in ("FAIL", "UNDECIDED"):
        raise ValueError(
            f"{where}: expected the verdict FAIL or UNDECIDED, got {entry['verdict']!r}: "
            "no other needs a waiver"
        )
    expires = entry.get("expires")
    if not isinstance(expires, datetime.date) or isinstance(expires, datetime.datetime):
        raise ValueError(
            f"{where}: expected expires as a date, got {_found(expires)}: write "
            "expires = 2030-12-31, without quotes or time"
        )
    return Waiver(**entry)


def _only(where: str, table: Any, keys: tuple[str, ...]) -> None:
    if not isinstance(table, dict):
        raise ValueError(f"{where}: expected a table, got {table!r}: see the README")
    unknown = [key for key in table if key not in keys]
    if unknown:
        raise ValueError(
            f"{where}: expected only {', '.join(keys)}, got {unknown[0]}: remove or rename it"
        )


def _found(x: Any) -> str:
    return "nothing" if x is None else repr(x)


def names_of(rule: Any, *others: str) -> set[str]:
    """What a waiver may call a rule: the names given, and `package.module:function` if it has one.

    A pair is called `package.module:fwd,bwd`.
    """
    parts = rule if isinstance(rule, tuple) else (rule,)
    words = [getattr(part, "__qualname__", "") for part in parts]  # a Rule has none
    if not all(words):
        return set(others)
    return {*others, f"{parts[0].__module__}:{','.join(words)}"}
