"""The command line: `manualbp verify`, `check`, `notes`, `list` and `show`."""

import argparse
import datetime
import difflib
import json
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import manualbp

OK, FAILED, UNDECIDED, USAGE = 0, 1, 2, 3


class UsageError(Exception):
    """What the user typed cannot be done; the text says what can."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; the exit status is 0 only if everything asked for holds."""
    parser = _parser()
    try:
        arguments = parser.parse_args(argv)
    except SystemExit as stop:  # argparse's own status for a wrong command line is 2
        return USAGE if stop.code else OK
    if arguments.command is None:
        parser.print_help()
        return USAGE
    try:
        return arguments.run(arguments)
    except BrokenPipeError:  # what reads the output has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return OK
    except (UsageError, ModuleNotFoundError, OSError) as problem:
        print(f"manualbp: {problem}", file=sys.stderr)
        return USAGE
    except KeyboardInterrupt:
        print("manualbp: interrupted", file=sys.stderr)
        return 130


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="manualbp",
        description="Gradients derived by hand, and proof that they are right.",
    )
    parser.add_argument("--version", action="version", version=manualbp.__version__)
    commands = parser.add_subparsers(dest="command", metavar="COMMAND")
    verify = commands.add_parser(
        "verify",
        help="decide every rule of the library, or those named",
        description="Decides rules: their form, against autodiff of the textbook definition, in "
        "exact arithmetic, and in ULPs beside jax.grad. Exit status 0 only if all pass.",
    )
    verify.add_argument("names", nargs="*", metavar="NAME", help="rules; all if none is named")
    verify.add_argument("--json", metavar="FILE", type=Path, help="write all findings to it")
    verify.add_argument("--jobs", type=_positive, metavar="N", help="processes (default: CPUs)")
    verify.add_argument("--seed", type=int, default=0, metavar="N", help="of inputs (default 0)")
    verify.add_argument(
        "--again", action="store_true", help="measure errors that are on record, too"
    )
    verify.set_defaults(run=_verify)
    check = commands.add_parser(
        "check",
        help="judge a gradient of your own",
        description="Judges a hand-written gradient against the function that it belongs to. Exit "
        "status 0 where it is right, 1 where it is wrong, 2 where that is undecided, 3 where the "
        "question cannot be put; 0 too where a waiver in pyproject.toml covers the verdict.",
    )
    check.add_argument(
        "target",
        metavar="MODULE:FUNCTION",
        help="a jax.custom_vjp or custom_jvp function, a Rule, or MODULE:FWD,BWD",
    )
    check.add_argument(
        "--args",
        required=True,
        metavar="ARGS",
        help="its arguments, such as 'f32[8,16], (f32[16], f32[]), i32[8]<10|-100': arrays by "
        "dtype and shape, with what they contain: bf16[3]:positive, f32[3]:-1..1, "
        "f32[4]:sorted:unit, i32[8]<10:distinct, i32[4]:permutation; numbers, 'text', True, None "
        "and key; in (), [] and {'name': ...}",
    )
    check.add_argument(
        "--definition",
        metavar="MODULE:FUNCTION",
        help="the function in plain jax.numpy (default: what a custom_vjp function decorates)",
    )
    check.add_argument(
        "--argnums",
        type=_places,
        metavar="N,N",
        help="arguments to differentiate (default: all floating ones)",
    )
    check.add_argument("--level", choices=("quick", "standard", "full"), default="standard")
    check.add_argument("--seed", type=int, default=0, metavar="N", help="of inputs (default 0)")
    check.add_argument(
        "--strict",
        action="store_true",
        help="fail, too, where its floats lose digits that the problem does not lose",
    )
    check.add_argument(
        "--order",
        type=int,
        choices=(1, 2),
        default=2,
        help="1: the gradient alone; 2: its own derivative, too (default)",
    )
    check.add_argument(
        "--intended",
        metavar="REASON",
        help="it is meant not to be the gradient, for this reason: pass only if it is not",
    )
    check.add_argument("--json", metavar="FILE", type=Path, help="write the report to it")
    check.add_argument("--junit", metavar="FILE", type=Path, help="write it as JUnit XML")
    check.set_defaults(run=_check)
    notes = commands.add_parser(
        "notes",
        help="judge the equations of the lecture notes, as printed",
        description="Every equation of the lecture notes as printed: does it hold? Where not, a "
        "counterexample and the equation that does.",
    )
    notes.add_argument("names", nargs="*", metavar="FILE", help="000 to 004; all if none is named")
    notes.add_argument("--all", action="store_true", help="list the equations that hold too")
    notes.add_argument("--json", metavar="FILE", type=Path, help="write all findings to it")
    notes.set_defaults(run=_notes)
    listing = commands.add_parser("list", help="the rules, a line each")
    listing.set_defaults(run=_list)
    show = commands.add_parser("show", help="one rule: equation, derivative, kink, source")
    show.add_argument("name", metavar="NAME")
    show.set_defaults(run=_show)
    return parser


def _between(dates: Sequence[str]) -> str:
    first, last = min(dates), max(dates)
    return f"on {first}" if first == last else f"from {first} to {last}"


def _positive(text: str) -> int:
    n = int(text)
    if n < 1:
        raise argparse.ArgumentTypeError(f"expected at least 1, got {n}")
    return n


def _places(text: str) -> tuple[int, ...]:
    try:
        return tuple(int(n) for n in text.split(","))
    except ValueError:
        raise argparse.ArgumentTypeError(f"expected places such as 0,2, got {text!r}") from None


# Names


def _resolve(names: Sequence[str], known: Sequence[str], what: str) -> list[str]:
    """Full names for what was typed: exact, without hyperparameters, or the start of a name."""
    found: list[str] = []
    for name in names:
        matches = [k for k in known if name in (k, k.partition("(")[0])]
        matches = matches or [k for k in known if k.startswith(f"{name} ") or k == name]
        if not matches:
            raise UsageError(_unknown(name, known, what))
        found += [m for m in matches if m not in found]
    return found


def _unknown(name: str, known: Sequence[str], what: str) -> str:
    plain = [k.partition("(")[0] for k in known]
    close = difflib.get_close_matches(name, plain, n=1, cutoff=0.5)
    hint = f"did you mean {close[0]}?" if close else f"one of {', '.join(plain)}"
    return f"no {what} is called {name!r}: {hint}"


# Output: rich draws tables where it is installed; colours only on a terminal


def _console() -> Any:
    try:
        from rich.console import Console
    except ModuleNotFoundError as missing:
        raise ModuleNotFoundError(
            "expected the extra 'verify', found no rich: pip install 'manualbp[verify]'"
        ) from missing
    terminal = sys.stdout.isatty()
    return Console(width=None if terminal else 132, highlight=False, soft_wrap=False)


def _table(*columns: str, right: Sequence[str] = ()) -> Any:
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, collapse_padding=True)
    for column in columns:
        table.add_column(
            column,
            justify="right" if column in right else "left",
            no_wrap=column not in ("rule", "equation"),
            overflow="fold",  # no name is cut
        )
    return table


_STYLE = {"PASS": "green", "holds": "green", "FAIL": "bold red", "does not hold": "bold red",
          "UNDECIDED": "yellow", "PROVED": "green", "REFUTED": "bold red"}  # fmt: skip


def _coloured(word: str) -> str:
    style = _STYLE.get(word)
    return f"[{style}]{word}[/]" if style else word


def _write_json(path: Path | None, content: Any) -> None:
    if path is not None:
        _write(path, "--json", json.dumps(content, indent=1, default=str) + "\n")


def _write(path: Path, option: str, text: str) -> None:
    try:
        path.write_text(text)
    except OSError as problem:
        raise UsageError(
            f"{option}: cannot write {path}: {problem.strerror}: "
            "name a file in a folder that exists"
        ) from problem


# Commands


def _verify(arguments: argparse.Namespace) -> int:
    console = _console()
    from manualbp.verify import catalogue as _catalogue

    known = _catalogue.names()
    chosen = _resolve(arguments.names, known, "rule") if arguments.names else list(known)
    jobs = arguments.jobs or min(os.cpu_count() or 1, 8)
    start = time.perf_counter()
    notes = [] if arguments.names else _note_numbers()
    rows, judged = {}, []
    done = _catalogue.verify_all(
        chosen,
        notes,
        jobs,
        _cache_folder(),
        arguments.seed,
        records=_own_folder("errors"),
        again=arguments.again,
    )
    for result in _progress(console, done, len(chosen) + len(notes)):
        if isinstance(result, _catalogue.Row):
            rows[result.name] = result
        else:
            judged += result
    table = _table(
        "rule", "contract", "autodiff", "exact", "proof",
        "ULP f16", "bf16", "f32", "f64", "verdict",
        right=("ULP f16", "bf16", "f32", "f64"),
    )  # fmt: skip
    for name in chosen:
        row = rows[name]
        by_rung = {e.rung: e for e in row.report.evidence}
        table.add_row(
            name,
            *(_rung(by_rung.get(rung)) for rung in ("contract", "autodiff")),
            _rung(_decisive(row.report.evidence)),
            _proof(row.report.proof),
            *(_ulps(name, d, row.accuracy.get(d)) for d in _DTYPES),
            _coloured(row.verdict),
        )
    console.print(table)
    console.print(
        "ULP: worst error of value and gradient in units in the last place < its bound | worst of "
        "jax.grad's gradient."
    )
    since = [row.measured for row in rows.values() if row.measured]
    if since:
        console.print(
            f"ULPs on record for {len(since)} of {len(chosen)}: measured {_between(since)} with "
            "this code, on this machine; --again measures them now."
        )
    console.print("proof: on every open branch, for small shapes; - where none was found.")
    for name in chosen:
        if rows[name].report.verdict != "PASS":
            console.print(str(rows[name].report), markup=False)
    if judged:
        console.print(_notes_summary(judged))
    failed = [name for name in chosen if rows[name].verdict != "PASS"]
    seconds = time.perf_counter() - start
    console.print(
        f"{len(chosen) - len(failed)} of {len(chosen)} pass, seed {arguments.seed}, "
        f"{seconds:.1f} s on {jobs} processes."
        + (f" Not passing: {', '.join(failed)}." if failed else "")
    )
    _write_json(
        arguments.json,
        {
            "rules": [rows[name].to_dict() for name in chosen],
            "notes": sorted(judged, key=lambda j: j["id"].partition("/")[0]),
            "seconds": round(seconds, 1),
            "versions": _versions(),
        },
    )
    return FAILED if failed else OK


def _check(arguments: argparse.Namespace) -> int:
    """One gradient of the user's own."""
    from manualbp.verify import check
    from manualbp.verify.ask.targets import arguments as parse
    from manualbp.verify.ask.targets import load, told
    from manualbp.verify.verdict import waivers as _waivers

    sys.path.insert(0, os.getcwd())  # as python -m has it, for modules of the user's own
    try:
        target = load(arguments.target)
        definition = load(arguments.definition) if arguments.definition else None
        given = parse(arguments.args)
        waivers = _waivers.load(Path.cwd())
    except ValueError as problem:
        raise UsageError(str(problem)) from problem
    try:
        report = check(
            target,
            *given,
            definition=definition,
            argnums=arguments.argnums,
            level=arguments.level,
            seed=arguments.seed,
            intended=arguments.intended,
            strict=arguments.strict,
            order=arguments.order,
        )
    except (TypeError, ValueError) as problem:
        raise UsageError(str(problem).splitlines()[0]) from problem
    except (Exception, SystemExit) as problem:  # whatever the user's code raises when it is called
        raise UsageError(f"{arguments.target} raises {told(problem)}") from problem
    names = _waivers.names_of(target, report.name, arguments.target)
    outcome = _waivers.apply(waivers, names, report.verdict, datetime.date.today())
    print("\n".join([str(report), *outcome.lines]))
    _write_json(
        arguments.json,
        {
            **report.to_dict(),
            "waived": outcome.waived,
            "waivers": outcome.lines,
            "versions": _versions(),
        },
    )
    if arguments.junit is not None:
        _write(arguments.junit, "--junit", _junit(arguments.target, report, outcome))
    if outcome.waived:
        return OK
    return {"PASS": OK, "FAIL": FAILED, "UNDECIDED": UNDECIDED}[report.verdict]


def _junit(name: str, report: Any, outcome: Any) -> str:
    """One test case, as CI systems read it; what is waived is skipped."""
    import xml.etree.ElementTree as ElementTree

    suite = ElementTree.Element(
        "testsuite",
        name="manualbp",
        tests="1",
        failures=str(int(report.verdict == "FAIL" and not outcome.waived)),
        skipped=str(int(report.verdict == "UNDECIDED" or outcome.waived)),
    )
    case = ElementTree.SubElement(suite, "testcase", classname="manualbp.check", name=name)
    if outcome.waived:
        skipped = ElementTree.SubElement(case, "skipped", message="; ".join(outcome.lines))
        skipped.text = str(report)
    elif report.verdict == "FAIL":
        message = "; ".join(report.diagnosis) or "not the gradient"
        ElementTree.SubElement(case, "failure", message=message).text = str(report)
    elif report.verdict == "UNDECIDED":
        ElementTree.SubElement(case, "skipped", message=report.evidence[-1].text)
    else:
        ElementTree.SubElement(case, "system-out").text = str(report)
    return ElementTree.tostring(suite, encoding="unicode", xml_declaration=True) + "\n"


def _progress(console: Any, rows: Any, total: int) -> Any:
    """Rows as they come, with a bar on a terminal and a line each elsewhere."""
    if not console.is_terminal:
        for n, row in enumerate(rows, 1):
            text = (
                f"judged    {len(row)} equations of note {row[0]['id'][:3]}"
                if isinstance(row, list)
                else f"{row.verdict:<9} {row.name} ({row.seconds:.1f} s)"
            )
            print(f"[{n}/{total}] {text}", flush=True)
            yield row
        return
    from rich.progress import track

    yield from track(rows, "verifying", total, console=console, transient=True)


def _decisive(evidence: Sequence[Any]) -> Any:
    """What the last rung found beyond autodiff: exact arithmetic, differences or floats."""
    found = [e for e in evidence if e.rung not in ("contract", "autodiff")]
    return found[-1] if found else None


def _rung(evidence: Any) -> str:
    """A rung's verdict; left to the next rung where it alone cannot decide."""
    if evidence is None:
        return "-"
    word = evidence.verdict
    if evidence.rung == "autodiff" and word == "UNDECIDED":
        return "differs"  # where float64 differs, exact arithmetic says who is right
    return _coloured(word)


def _proof(proof: Any) -> str:
    """What a proof showed; why it showed nothing is in the JSON."""
    return "-" if proof is None or proof.verdict == "NOT PROVED" else _coloured(proof.verdict)


_DTYPES = ("float16", "bfloat16", "float32", "float64")


def _ulps(name: str, dtype: str, accuracy: Any) -> str:
    from manualbp.verify.cases import bound_of

    if accuracy is None:
        return "-"
    worst, bound = accuracy.worst, bound_of(name, dtype)[0]
    sign = "<" if worst <= bound else ">"
    return f"{_digits(worst)}{sign}{bound:g} | {_digits(accuracy.autodiff.ulps)}"


def _bounds(name: str) -> str:
    """Those of a rule in each dtype, with the causes of exceptions."""
    from manualbp.verify.cases import bound_of

    parts = []
    for dtype in _DTYPES:
        bound, cause = bound_of(name, dtype)
        parts.append(f"{bound:g} in {dtype}" + (f" ({cause})" if cause else ""))
    return "in ULPs: " + ", ".join(parts)


def _digits(ulps: float) -> str:
    if ulps == float("inf"):
        return "NaN"
    return f"{ulps:.1f}" if ulps < 100 else f"{ulps:.0e}".replace("e+0", "e").replace("e+", "e")


def _versions() -> dict[str, str]:
    import platform

    import jax
    import numpy

    return {
        "manualbp": manualbp.__version__,
        "jax": jax.__version__,
        "numpy": numpy.__version__,
        "python": platform.python_version(),
        "backend": jax.default_backend(),
    }


def _cache_folder() -> str | None:
    """Where JAX keeps compiled programs from one run to the next."""
    if "JAX_COMPILATION_CACHE_DIR" in os.environ:
        return os.environ["JAX_COMPILATION_CACHE_DIR"] or None
    return _own_folder("jax")


def _own_folder(name: str) -> str | None:
    """A folder of the user's own, in the cache; None where there can be none."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    folder = Path(base) / "manualbp" / name
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:
        return None
    return str(folder)


def _note_numbers() -> list[str]:
    from manualbp.verify.ask.definitions import lecture_notes

    return sorted(lecture_notes().NOTES)


def _notes(arguments: argparse.Namespace) -> int:
    console = _console()
    from manualbp.verify.claims import judge_note

    known = _note_numbers()
    typed = [Path(name).name.partition("_")[0] for name in arguments.names]
    chosen = _resolve(typed, known, "lecture note") if typed else known
    judged = [j for name in chosen for j in judge_note(name)]
    for j in judged:
        if j["verdict"] == "holds" and not arguments.all:
            continue
        console.print(f"[bold]{j['id']}[/]  {_coloured(j['verdict'])}  ({j['place']})")
        lines = [("printed", j["printed"])]
        if j["counterexample"] is not None:
            lines += [
                ("at", ", ".join(j["counterexample"])),
                ("it gives", j["printed gives"]),
                ("truth", j["truth"]),
            ]
        if j["corrected"]:
            lines.append(("corrected", f"{j['corrected']}   ({j['correction']})"))
        if j["remark"]:
            lines.append(("remark", j["remark"]))
        for label, text in lines:
            console.print(f"  {label:<10}{text}", markup=False, soft_wrap=True)
    console.print(_notes_summary(judged))
    _write_json(arguments.json, judged)
    return OK if all(j["correction"] != "does not hold" for j in judged) else FAILED


def _notes_summary(judged: Sequence[dict[str, Any]]) -> Any:
    columns = ("equations", "hold", "do not hold", "corrections that hold")
    table = _table("note", *columns, right=columns)
    by_note: dict[str, list] = {}
    for j in judged:
        by_note.setdefault(j["id"].partition("/")[0], []).append(j)
    for note, group in sorted(by_note.items()):
        wrong = [j for j in group if j["verdict"] != "holds"]
        right = [j for j in wrong if j["correction"] == "holds"]
        counts = (len(group), len(group) - len(wrong), len(wrong), len(right))
        table.add_row(note, *map(str, counts))
    return table


def _list(arguments: argparse.Namespace) -> int:
    del arguments
    from manualbp._rule import argument_names

    width = max(len(rule.name) for rule in manualbp.RULES)
    for title, module in (
        ("activations", manualbp.activations),
        ("losses", manualbp.losses),
        ("layers", manualbp.layers),
    ):
        print(title)
        for rule in module.RULES:
            print(f"  {rule.name:<{width}}  ({', '.join(argument_names(rule))})")
    return OK


def _show(arguments: argparse.Namespace) -> int:
    from manualbp._rule import argument_names

    known = [rule.name for rule in manualbp.RULES]
    (name, *_) = _resolve([arguments.name], known, "rule")
    rule = next(rule for rule in manualbp.RULES if rule.name == name)
    value, _, derivatives = rule.tex.partition(r", \quad ")
    print(rule.name)
    for label, text in (
        ("arguments", ", ".join(argument_names(rule))),
        ("value", value),
        ("derivative", derivatives.replace(r" \quad ", " ")),
        ("kink", "where the value of the derivative is a convention, given above in brackets"
                 if rule.kink is not None else "none"),
        ("saves", rule.saves),
        ("bound", _bounds(name)),
        ("source", rule.source),
    ):  # fmt: skip
        print(f"  {label:<11} {text}")
    return OK


if __name__ == "__main__":
    sys.exit(main())
