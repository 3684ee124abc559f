"""The custom rules of installed packages: what the judge says of rules it was not built for.

Rules are found by walking a package's modules, and asked about with the arguments of a row of the
table `rows/`, in a process each. What is true of each was established without manualbp, by float64
autodiff of the undecorated function and by central differences; where these do not settle it, the
row says what was seen by hand. PASS is right for a right rule, FAIL for a wrong one and for one
that is meant not to be the gradient (with --intended, which gives the judge the reason, PASS).

    python experiments/packages                              all that are installed
    python experiments/packages --packages jax optax         some
    python experiments/packages --rules 'bessel|jn' --given  at the rows' own points alone
    python experiments/packages --resume                     go on where a run was interrupted
    python experiments/packages --truth                      measure the truth again, no judge

`pip install "manualbp[packages]"` has the packages. Writes results/packages.json.
"""

import argparse
import importlib.metadata
import importlib.util
import json
import platform
import queue
import re
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))

from rich.console import Console  # noqa: E402
from rich.table import Table  # noqa: E402
from rows import NOT_ASKED, PACKAGES, ROOTS, ROWS  # noqa: E402

OUT = HERE.parent / "results" / "packages.json"
OUTCOMES = ("right", "wrong", "undecided", "refused", "crash")
WIDTH = 118  # of the table: a line may wrap in a narrow terminal, a name is never cut
START = 300  # seconds that the imports of a package may take, besides the limit of a question


def answer(words: list[str], limit: float) -> object:
    """What ask.py prints; a line of text where it printed none in time."""
    process = subprocess.Popen(
        [sys.executable, str(HERE / "ask.py"), *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    lines: queue.Queue[str] = queue.Queue()
    errors: list[str] = []

    def read() -> None:
        for line in process.stdout:
            lines.put(line)
        lines.put("")  # it has ended

    reader = threading.Thread(target=read, daemon=True)
    listener = threading.Thread(target=lambda: errors.extend(process.stderr), daemon=True)
    reader.start()
    listener.start()
    try:
        line = lines.get(timeout=START)
        if line == '"asking"\n':
            line = lines.get(timeout=limit)
    except queue.Empty:
        return f"not done after {limit:g} s"
    finally:
        process.kill()
        process.wait()
        listener.join(1)
    if line:
        return json.loads(line)
    return f"ended without an answer: {(errors or ['nothing'])[-1].strip()[:200]}"


def outcome(truth: str, verdict: str, intended: bool) -> str:
    """One of OUTCOMES, or "unknown" where nobody knows what would be right."""
    if verdict in ("refused", "crash"):
        return verdict
    if verdict == "UNDECIDED":
        return "undecided"
    if truth == "unknown":
        return "unknown"
    passes = truth == "right" or (truth == "intended" and intended)
    return "right" if (verdict == "PASS") == passes else "wrong"


def judged(name: str, options: argparse.Namespace) -> dict:
    row = ROWS[name]
    words = ["judge", name, "given" * options.given, "intended" * options.intended]
    start = time.perf_counter()
    said = answer([w for w in words if w], options.limit_seconds)
    if isinstance(said, str):
        late = said.startswith("not done")
        seconds = options.limit_seconds if late else round(time.perf_counter() - start, 1)
        said = {"verdict": "UNDECIDED" if late else "crash", "found": said, "seconds": seconds}
    truth = "intended" if row.beyond and not options.given else row.truth
    said["outcome"] = outcome(truth, said["verdict"], options.intended)
    return {"rule": name, "package": row.package, "truth": truth, **said}


def measured(name: str, options: argparse.Namespace) -> dict:
    said = answer(["truth", name], 10 * options.limit_seconds)
    said = {"measured": said} if isinstance(said, str) else said
    return {"rule": name, "package": ROWS[name].package, "truth": ROWS[name].truth, **said}


def summary(package: str, found: list[str], rows: list[dict]) -> dict:
    """The numbers of one package."""
    mine = [row for row in rows if row["package"] == package]
    asked = {ROWS[row["rule"]].rule for row in mine}
    reasons = {name: NOT_ASKED[name] for name in found if name in NOT_ASKED}
    known = {row.rule for row in ROWS.values()} | set(NOT_ASKED)
    return {
        "version": version(package),
        "rules": len(found),
        "asked": len(asked),
        "questions": len(mine),
        **{k: sum(row.get("outcome") == k for row in mine) for k in OUTCOMES},
        "seconds": round(sum(row.get("seconds", 0) for row in mine), 1),
        "megabytes": max((row.get("megabytes", 0) for row in mine), default=0),
        "not asked, and why": reasons,
        "not asked, no row": [name for name in found if name not in known],
    }


def version(package: str) -> str:
    names = importlib.metadata.packages_distributions().get(package, [package])
    try:
        return importlib.metadata.version(names[0])
    except importlib.metadata.PackageNotFoundError:
        return "?"


COLUMNS = ("rules", "asked", "questions", *OUTCOMES, "seconds", "megabytes")


def totals(packages: dict[str, dict]) -> dict:
    """The sums over packages; of the memory the largest."""
    together = {c: sum if c != "megabytes" else max for c in COLUMNS}
    found = {c: of([n[c] for n in packages.values()] or [0]) for c, of in together.items()}
    return {"packages": len(packages), **found}


def show(console: Console, packages: dict[str, dict], rows: list[dict]) -> None:
    table = Table(title="Custom rules of installed packages", padding=0)
    table.add_column("package", no_wrap=True)
    for column in COLUMNS:
        table.add_column(column, justify="right", no_wrap=True)
    for name, numbers in packages.items():
        table.add_row(f"{name} {numbers['version']}", *(f"{numbers[c]:,}" for c in COLUMNS))
    every = totals(packages)
    table.add_row(f"all {len(packages)}", *(f"{every[c]:,.0f}" for c in COLUMNS), style="bold")
    console.print(table)
    truths = [row["truth"] for row in rows]
    kinds = ("right", "wrong", "intended", "unknown")
    console.print("of the rules asked: " + ", ".join(f"{truths.count(k)} {k}" for k in kinds))


def parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--packages", nargs="+", metavar="NAME", help="default: all installed")
    parser.add_argument("--rules", default="", metavar="PATTERN", help="rows whose name matches")
    parser.add_argument("--limit-seconds", type=float, default=60, help="a question; default 60")
    parser.add_argument("--jobs", type=int, default=2, help="questions at a time; default 2")
    parser.add_argument("--intended", action="store_true", help="give the judge the row's reason")
    parser.add_argument("--truth", action="store_true", help="measure the truth; ask no judge")
    parser.add_argument("--resume", action="store_true", help="keep what --out already has")
    parser.add_argument("--out", type=Path, default=OUT, metavar="FILE")
    points = parser.add_mutually_exclusive_group()
    points.add_argument("--explore", action="store_true", help="other points, too: the default")
    points.add_argument("--given", action="store_true", help="at the rows' own points alone")
    options = parser.parse_args()
    for name in options.packages or ():
        if name not in PACKAGES:
            parser.error(f"--packages: expected some of {', '.join(PACKAGES)}; got '{name}'")
    if options.limit_seconds <= 0 or options.jobs < 1:
        parser.error("--limit-seconds and --jobs: expected more than 0")
    try:
        re.compile(options.rules)
    except re.error as problem:
        parser.error(f"--rules: expected a regular expression, got '{options.rules}': {problem}")
    return options


def main() -> int:
    options, console = parsed(), Console()
    console.width = max(console.width, WIDTH)
    installed = [p for p in options.packages or PACKAGES if importlib.util.find_spec(p)]
    absent = sorted(set(options.packages or PACKAGES) - set(installed))
    if absent:
        console.print(f"not installed: {', '.join(absent)}")
    names = [
        row.name
        for row in ROWS.values()
        if row.package in installed and re.search(options.rules, row.name)
    ]
    if not names:
        console.print("no row of these packages matches")
        return 3
    before = json.loads(options.out.read_text()) if options.resume and options.out.exists() else {}
    rows = [row for row in before.get("rows", []) if row["rule"] in ROWS]
    done = {row["rule"] for row in rows}
    work = [name for name in names if name not in done]
    found: dict[str, list[str]] = before.get("found", {})

    def save() -> None:
        rows.sort(key=lambda row: row["rule"])
        numbers = {p: summary(p, found.get(p, []), rows) for p in sorted(found)}
        about = {"python": platform.python_version(), "machine": platform.machine()}
        points = "given" if options.given else "explored"
        text = {"with": about, "points": points, "all": totals(numbers), "packages": numbers,
                "found": found, "rows": rows}  # fmt: skip
        options.out.parent.mkdir(parents=True, exist_ok=True)
        options.out.write_text(json.dumps(text, indent=1) + "\n")

    ask = measured if options.truth else judged
    with ThreadPoolExecutor(options.jobs) as pool:
        unwalked = {ROWS[n].package for n in names} - set(found)
        wanted = [] if options.truth else sorted(unwalked)
        questions = {pool.submit(ask, name, options): name for name in work}
        walks = {pool.submit(answer, ["rules", ROOTS.get(p, p)], START): p for p in wanted}
        for future in as_completed([*questions, *walks]):
            if future in walks:
                said = future.result()
                found[walks[future]] = said if isinstance(said, list) else []
                continue
            row = future.result()
            rows.append(row)
            told = row.get("outcome") or f"{row['truth']}: {row['measured']}"
            said = row.get("found", "")
            print(f"{told:<10} {row.get('verdict', '')} {row['rule']} {said[:80]}", flush=True)
            save()
    save()
    if not options.truth:
        show(console, json.loads(options.out.read_text())["packages"], rows)
    console.print(f"wrote {options.out}", soft_wrap=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
