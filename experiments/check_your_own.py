"""Every custom derivative rule in an installed package, found and judged.

Walks the modules of a package for jax.custom_vjp and jax.custom_jvp functions, makes arguments
for those that take plain arrays, and judges each against its own undecorated function.

    python experiments/check_your_own.py jax.nn jax.scipy.special optax
    python experiments/check_your_own.py mypackage --only loss --json verdicts.json
"""

import argparse
import importlib
import inspect
import itertools
import json
import multiprocessing
import pkgutil
import queue
import re
import sys
import time
import warnings
from collections.abc import Iterator
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from rich.console import Console
from rich.progress import track
from rich.table import Table

from manualbp.verify import Spec, check
from manualbp.verify.ask.domains import draw
from manualbp.verify.ask.subject import custom_of

DOMAINS = ("real", "positive", "unit")
SHAPES = ((3,), (2, 3), (3, 3))


def modules(package: str) -> Iterator[str]:
    root = importlib.import_module(package)
    yield package
    if hasattr(root, "__path__"):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            for found in pkgutil.walk_packages(
                root.__path__, f"{package}.", onerror=lambda name: None
            ):
                yield found.name


def custom_rules(package: str) -> dict[str, object]:
    """Each custom function of a package once, by the shortest of its names."""
    names: dict[int, tuple[str, object]] = {}
    for module_name in modules(package):
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                module = importlib.import_module(module_name)
        except BaseException:  # optional parts that are not installed, scripts that exit
            continue
        for name, value in vars(module).items():
            function = custom_of(value) if callable(value) else None
            if function is not None:
                text = f"{module_name}:{name}"
                if id(function) not in names or len(text) < len(names[id(function)][0]):
                    names[id(function)] = (text, function)
    return dict(sorted(names.values(), key=lambda x: x[0]))


def arguments(function) -> tuple | None:
    """Specifications that the function takes, of the domain where most of it is finite."""
    try:
        parameters = list(inspect.signature(function).parameters.values())
    except (TypeError, ValueError):
        return None
    wanted = []
    for k, p in enumerate(parameters):
        if p.kind in (p.VAR_POSITIONAL, p.VAR_KEYWORD, p.KEYWORD_ONLY):
            continue
        static = k in function.nondiff_argnums
        if static:
            default = 2 if p.default is p.empty else p.default
            wanted.append([default])
        elif p.default is p.empty:
            wanted.append([(shape, domain) for shape in SHAPES for domain in DOMAINS])
        else:
            wanted.append([p.default])
    best, most = None, 0.4
    for shape, domain in itertools.product(SHAPES, DOMAINS):
        args = tuple(Spec(shape, domain) if len(w) > 1 else w[0] for w in wanted)
        if not any(isinstance(a, Spec) for a in args):
            return None
        finite = finite_part(function, args)
        if finite > most + 0.05:
            best, most = args, finite
    return best


def finite_part(function, args: tuple) -> float:
    """How much of the value and gradient is finite at random points; 0 where it raises."""
    rng = np.random.default_rng(0)
    moved = [k for k, a in enumerate(args) if isinstance(a, Spec)]
    definition = function.__wrapped__

    def loss(xs):
        every = list(args)
        for k, x in zip(moved, xs, strict=True):
            every[k] = x
        results = jax.tree.leaves(definition(*every))
        return sum(jnp.sum(y) for y in results if jnp.issubdtype(y.dtype, jnp.floating))

    points = [[draw(args[k], rng, "normal") for k in moved] for _ in range(4)]
    try:
        with jax.enable_x64(True):
            found = [jax.tree.leaves(jax.value_and_grad(loss)(xs)) for xs in points]
    except Exception:  # not a function of arrays of such shapes
        return 0.0
    return float(np.mean([np.mean(np.isfinite(y)) for ys in found for y in ys]))


def judge(name: str) -> dict:
    """One rule, found by its name, judged on arguments that are made for it."""
    module_name, attribute = name.split(":")
    function = custom_of(getattr(importlib.import_module(module_name), attribute))
    args = arguments(function)
    if args is None:
        return {"verdict": "skipped", "found": "no arguments could be made"}
    row = {
        "arguments": [
            f"{a.domain} {list(a.shape)}" if isinstance(a, Spec) else repr(a) for a in args
        ]
    }
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            report = check(function, *args)
    except (TypeError, ValueError) as problem:
        return {**row, "verdict": "skipped", "found": str(problem).splitlines()[0]}
    found = "; ".join(report.diagnosis or report.notes or (report.evidence[-1].text,))
    return {**row, "verdict": report.verdict, "found": found, "report": str(report)}


def worker(name: str, results) -> None:
    results.put(judge(name))


def judge_within(seconds: float, name: str) -> dict:
    """`judge` in a process of its own, which is ended where it takes too long."""
    context = multiprocessing.get_context("spawn")
    results = context.Queue()
    process = context.Process(target=worker, args=(name, results), daemon=True)
    start = time.perf_counter()
    process.start()
    try:
        row = results.get(timeout=seconds)
    except queue.Empty:
        row = {"verdict": "UNDECIDED", "found": f"not done after {seconds:g} s"}
    process.terminate()
    process.join()
    return {"rule": name, **row, "seconds": round(time.perf_counter() - start, 1)}


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("packages", nargs="*", default=["jax.nn", "jax.scipy", "optax"])
    parser.add_argument("--only", default="", metavar="PATTERN", help="names that match")
    parser.add_argument("--limit", type=float, default=60, metavar="SECONDS", help="for each rule")
    parser.add_argument("--json", type=Path, metavar="FILE", help="verdicts as JSON")
    parser.add_argument("--reports", action="store_true", help="print each failure's report")
    options = parser.parse_args()
    console = Console()
    rules: dict[str, object] = {}
    for package in options.packages:
        try:
            rules |= custom_rules(package)
        except ModuleNotFoundError as problem:
            print(f"no package {problem.name}: install it, or correct the name", file=sys.stderr)
            return 3
    names = {id(rules[name]): name for name in sorted(rules, key=len, reverse=True)}
    chosen = sorted(name for name in names.values() if re.search(options.only, name))
    table = Table("rule", "verdict", "seconds", "what was found", title=" ".join(options.packages))
    rows = []
    for name in track(chosen, console=console, disable=not console.is_terminal):
        row = judge_within(options.limit, name)
        rows.append(row)
        table.add_row(name, row["verdict"], f"{row['seconds']:.1f}", row["found"])
        if not console.is_terminal:
            print(f"{row['verdict']:<10} {name}: {row['found']}", flush=True)
        if row["verdict"] == "FAIL" and options.reports:
            console.print(row["report"], markup=False)
        if options.json:
            text = {"versions": {"jax": jax.__version__}, "rules": rows}
            options.json.write_text(json.dumps(text, indent=1) + "\n")
    console.print(table)
    judged = [row for row in rows if row["verdict"] != "skipped"]
    console.print(f"{len(rows)} custom rules found, {len(judged)} judged")
    return int(any(row["verdict"] == "FAIL" for row in rows))


if __name__ == "__main__":
    sys.exit(main())
