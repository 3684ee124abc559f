"""What gradient checkers refuse: one table of wrong rules, each through seven tools.

The rules are those of tests/wrong_rules: each is one mistake beside its correct twin. Every
tool runs at its defaults on one ordinary random draw a seed, and never on inputs chosen for
another; `check` runs strictly, as these rules ask for every digit, and by default, too. What it
says of rules that it was not built for, experiments/packages measures: its totals are shown. A JAX
rule reaches torch and autograd through a bridge: a function of theirs whose forward and backward
passes call the rule's own fwd and bwd. Any error counts as a refusal.

    python experiments/scorecard.py             all, under an hour on two shared cores
    python experiments/scorecard.py --resume    go on where a run was interrupted
    python experiments/scorecard.py --tools jax64 torch --rules relu --seeds 3 --out few.json
"""

import argparse
import importlib.metadata
import json
import multiprocessing
import os
import platform
import re
import statistics
import sys
import tempfile
import time
import warnings
from pathlib import Path

import jax
import numpy as np
from checkers import Bridge, autograd_tool, chex_tool, jax_tool, torch_tool
from rich.console import Console
from rich.progress import track
from rich.table import Table

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))  # the table of wrong rules is no part of the installed package

import manualbp  # noqa: E402
from manualbp.verify import check  # noqa: E402
from manualbp.verify.catalogue import _use_cache  # noqa: E402
from tests.wrong_rules import KINDS, WRONG_RULES  # noqa: E402

RULES = {entry.name: entry for entry in WRONG_RULES}
OUT = ROOT / "experiments" / "results" / "scorecard.json"
PACKAGES = OUT.with_name("packages.json")
CAUGHT = 0.9  # the share of seeds in which a wrong rule must be refused

# Which tools cannot be asked about which mistake, and why. What a library has no place for, or what
# makes no difference in the dtype that a tool works in, counts neither for nor against it.
FLOAT32 = ("jax32", "chex")
TORCH = ("torch", "torch-fast")
BRIDGED = (*TORCH, "autograd")
EVERY = (*FLOAT32, "jax64", *BRIDGED)
NOT_SAID = {
    "half_precision_comes_back_wide": (EVERY, "wrong below float32 only"),
    "value_comes_back_wide": (EVERY, "wrong below float32 only"),
    "cotangent_always_float32": (FLOAT32, "right in float32"),
    "relative_error_1e-8_everywhere": (FLOAT32, "right in float32"),
    "secretly_in_float32": (FLOAT32, "right in float32"),
    "value_secretly_in_float32": (FLOAT32, "right in float32"),
    "bare_array_for_a_tuple": (BRIDGED, "a bare gradient is allowed there"),
    "integer_argument_gets_integer_zeros": (BRIDGED, "integers have no gradient there"),
    "jit_differs_from_eager": (TORCH, "nothing is traced there"),
    "primal_and_forward_pass_differ": (BRIDGED, "there is one forward function there"),
    "vmap_differs_from_a_loop": (TORCH, "JAX's batching rules are not run there"),
    "bias_gradient_not_summed": (TORCH, "torch sums it to the argument's shape: right there"),
    "second_derivative_of_a_wrong_helper": (TORCH, "gradcheck and the bridge are of first order"),
    "second_derivative_stopped": (TORCH, "gradcheck and the bridge are of first order"),
}


# Each tool: its label, its library, the dtype of its inputs, and what makes it for an order
TOOLS = {
    "manualbp": ("manualbp check, strict", "manualbp", None, None),
    "manualbp-default": ("manualbp check", "manualbp", None, None),
    "jax32": ("JAX check_grads float32", "jax", "float32", jax_tool),
    "jax64": ("JAX check_grads float64", "jax", "float64", jax_tool),
    "chex": ("chex assert_numerical_grads float32", "chex", "float32", chex_tool),
    "torch": ("torch gradcheck float64", "torch", "float64", torch_tool),
    "torch-fast": (
        "torch gradcheck, fast mode, float64",
        "torch",
        "float64",
        lambda order: torch_tool(order, fast=True),
    ),
    "autograd": ("autograd check_grads float64", "autograd", "float64", autograd_tool),
}


def refusals(run, dtype, rule, args, seeds):
    """In how many seeds the tool raises, and the median of its seconds."""
    count, seconds = 0, []
    for seed in range(seeds):
        with jax.enable_x64(dtype == "float64"), np.errstate(all="ignore"):
            bridge = Bridge(rule, args, seed, dtype)
            start = time.perf_counter()
            try:
                run(bridge, seed)
            except Exception:
                count += 1
            seconds.append(time.perf_counter() - start)
    return count, statistics.median(seconds)


def others(run, dtype, name, seeds):
    """A wrong rule and its twin through a tool that is none of ours."""
    entry = RULES[name]
    refused, seconds = refusals(run, dtype, entry.wrong, entry.args, seeds)
    twin = refusals(run, dtype, entry.right, entry.args, seeds)[0]
    return {"refused": refused, "seeds": seeds, "twin refused": twin, "seconds": seconds}


def judged(name, folder, twin, strict):
    """In a process of its own: the verdicts of `check`, and the seconds of the first."""
    _use_cache(folder)
    entry = RULES[name]
    options = {"definition": entry.definition, "strict": strict}
    start = time.perf_counter()
    verdict = check(entry.wrong, *entry.args, **options).verdict
    seconds = time.perf_counter() - start
    right = check(entry.right, *entry.args, **options).verdict if twin else ""
    return verdict, seconds, right


def ours(name, strict):
    """A wrong rule and its twin through `check`, in fresh processes: cold, then warm.

    Each rule has a cache of its own, so that no other rule has compiled anything for it.
    """
    context = multiprocessing.get_context("forkserver")  # has imported all, and compiled nothing
    context.set_forkserver_preload(["jax.numpy", "rich.table", "tests.wrong_rules"])
    with tempfile.TemporaryDirectory() as folder:
        runs = []
        for twin in (True, False):
            with context.Pool(1) as pool:
                runs.append(pool.apply(judged, (name, folder, twin, strict)))
    (verdict, cold, right), (again, warm, _) = runs
    return {
        "refused": int(verdict == again == "FAIL"),  # UNDECIDED has not caught it
        "seeds": 1,
        "verdict": verdict,
        "twin refused": int(right != "PASS"),
        "seconds": warm,
        "seconds cold": cold,
    }


def alarms(run, dtype, name, seeds, strict):
    """How often a correct twin is refused. One that `check` leaves undecided counts as refused."""
    entry = RULES[name]
    if run is not None:
        refused = refusals(run, dtype, entry.right, entry.args, seeds)[0]
        return {"refused": refused, "seeds": seeds}
    options = {"definition": entry.definition, "strict": strict}
    verdicts = [check(entry.right, *entry.args, seed=seed, **options).verdict
                for seed in range(seeds)]  # fmt: skip
    return {"refused": seeds - verdicts.count("PASS"), "seeds": seeds}


def measure(tool, chosen, options, results, save, console):
    """All that is not yet in the results, saved as it comes."""
    label, library, dtype, make = TOOLS[tool]
    row = results["tools"].setdefault(tool, {"label": label, "rules": {}, "alarms": {}})
    row.pop("missing", None)
    try:
        run = None if make is None else make(options.order)
    except ImportError:
        row["missing"] = f"{library} is not installed: pip install 'manualbp[scorecard]'"
        save()
        return
    seeds, strict = 1 if run is None else options.seeds, tool == "manualbp"
    # the same correct rules for all: the first twin of each kind
    first = {RULES[name].kind: name for name in reversed(chosen)}
    jobs = [("rules", name, seeds) for name in chosen]
    jobs += [("alarms", name, options.false_alarm_seeds) for name in reversed(first.values())]
    jobs = [job for job in jobs if row[job[0]].get(job[1], {}).get("seeds") != job[2]]
    if not console.is_terminal:
        console.print(f"{label}: {len(jobs)} measurements")
    for part, name, count in track(jobs, label, console=console, disable=not console.is_terminal):
        if part == "alarms":
            row[part][name] = alarms(run, dtype, name, count, strict)
        elif tool in NOT_SAID.get(name, ((), ""))[0]:
            row[part][name] = {"not said": NOT_SAID[name][1], "seeds": count}
        else:
            one = ours(name, strict) if run is None else others(run, dtype, name, count)
            row[part][name] = one
        save()


def caught(result):
    return result["refused"] >= CAUGHT * result["seeds"]


def summary(row):
    """One line of the table of tools."""
    said = [r for r in row["rules"].values() if "refused" in r]
    found = [r for r in said if caught(r)]
    times = {key: [r[key] for r in said if key in r] for key in ("seconds", "seconds cold")}
    return {
        "tool": row["label"],
        "caught": len(found),
        "of said": len(said),
        "less often": sum(r["refused"] > 0 and not caught(r) for r in said),
        "not said": len(row["rules"]) - len(said),
        "twin refused too": sum(r["twin refused"] >= CAUGHT * r["seeds"] for r in found),
        "false alarms": sum(r["refused"] for r in row["alarms"].values()),
        "of": sum(r["seeds"] for r in row["alarms"].values()),
    } | {f"median {key}": statistics.median(t) if t else "" for key, t in times.items()}


def by_kind(rows):
    """For each kind, caught / said of each tool."""
    table = []
    for kind in KINDS:
        line = {"kind": kind.split(":")[0]}
        for tool, row in rows.items():
            own = [r for name, r in row["rules"].items() if RULES[name].kind == kind]
            said = [r for r in own if "refused" in r]
            line[tool] = f"{sum(map(caught, said))}/{len(said)}" if said else "n/a"
        table.append(line)
    return table


def show(console, title, lines):
    table = Table(title=title)
    for column in lines[0]:
        table.add_column(column, justify="left" if column in ("tool", "kind") else "right")
    for line in lines:
        table.add_row(*(f"{v:.3g}" if isinstance(v, float) else str(v) for v in line.values()))
    console.print(table)


def report(console, results):
    """The tables, and by name what `check` fell short in."""
    rows = {tool: results["tools"][tool] for tool in TOOLS if tool in results["tools"]}
    for row in rows.values():
        if "missing" in row:
            console.print(f"{row['label']}: {row['missing']}", markup=False)
    rows = {tool: row for tool, row in rows.items() if row["rules"]}
    if not rows:
        return
    results["summary"] = [summary(row) for row in rows.values()]
    results["by kind"] = by_kind(rows)
    show(console, "caught: refused in at least 90 % of the seeds", results["summary"])
    show(console, "by kind, caught / said", results["by kind"])
    for tool in ("manualbp", "manualbp-default"):
        fell_short(console, rows.get(tool, {"label": "", "rules": {}, "alarms": {}}))
    if PACKAGES.exists():
        found = json.loads(PACKAGES.read_text())
        results["packages"] = found["all"]
        show(console, "manualbp check, rules of installed packages", [found["all"]])


def fell_short(console, row):
    """By name, which wrong rules `check` does not fail, and which right ones it does not pass."""
    for name, result in row["rules"].items():
        if not caught(result):
            below = " (below the natural scale)" if RULES[name].below_scale else ""
            console.print(f"{row['label']} misses {name}: {result['verdict']}{below}")
        if result["twin refused"]:
            console.print(f"{row['label']} does not pass the twin of {name}")
    for name, result in row["alarms"].items():
        if result["refused"]:
            console.print(f"{row['label']}: {result['refused']} false alarms at {name}")


def versions():
    found = {"Python": platform.python_version(), "manualbp": manualbp.__version__}
    for library in ("jax", "numpy", "chex", "torch", "autograd"):
        try:
            found[library] = importlib.metadata.version(library)
        except importlib.metadata.PackageNotFoundError:
            found[library] = "not installed"
    return found


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--tools",
        nargs="+",
        choices=TOOLS,
        default=list(TOOLS),
        metavar="TOOL",
        help=f"of {', '.join(TOOLS)} (default: all)",
    )
    parser.add_argument("--seeds", type=int, default=10, help="draws a rule (default: 10)")
    parser.add_argument(
        "--false-alarm-seeds", type=int, default=200, help="draws a correct rule (default: 200)"
    )
    parser.add_argument("--rules", default="", metavar="PATTERN", help="names to search for")
    parser.add_argument(
        "--order", type=int, default=1, help="of JAX and chex, which have no default (default: 1)"
    )
    parser.add_argument(
        "--out",
        type=Path,
        default=OUT,
        metavar="FILE.json",
        help="of the results (default: experiments/results/scorecard.json)",
    )
    parser.add_argument("--resume", action="store_true", help="keep what FILE.json already has")
    options = parser.parse_args()
    chosen = [name for name in RULES if re.search(options.rules, name)]
    if not chosen:
        parser.error(f"--rules: expected a pattern that some rule's name has, got {options.rules}")
    warnings.simplefilter("ignore")  # some wrong rules ask for dtypes that are not enabled
    console = Console(width=None if os.isatty(1) else 165)
    results = {"tools": {}}
    if options.resume and options.out.exists():
        results = json.loads(options.out.read_text())
    results["versions"] = versions()
    results["machine"] = f"{os.cpu_count()} CPUs ({platform.machine()})"
    results["order of JAX and chex"] = options.order
    options.out.parent.mkdir(parents=True, exist_ok=True)

    def save():
        half = options.out.with_suffix(".part")
        half.write_text(json.dumps(results, indent=1) + "\n")
        half.replace(options.out)  # whole or not at all, whenever the run is interrupted

    for tool in options.tools:
        measure(tool, chosen, options, results, save, console)
    report(console, results)
    console.print(", ".join(f"{name} {version}" for name, version in results["versions"].items()))
    save()


if __name__ == "__main__":
    main()
