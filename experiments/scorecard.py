"""What gradient checkers refuse: one table of wrong rules, each through seven tools.

The rules are those of tests/wrong_rules.py: each is one mistake beside its correct twin. Every
tool runs at its defaults on one ordinary random draw a seed, and never on inputs chosen for
another. A JAX rule reaches torch and autograd through a bridge: a function of theirs whose forward
and backward passes call the rule's own fwd and bwd. Any error counts as a refusal.

    python experiments/scorecard.py                          all, about half an hour on two cores
    python experiments/scorecard.py --tools jax64 torch      two tools only
    python experiments/scorecard.py --rules relu --seeds 3   a few rules, some seconds
    python experiments/scorecard.py --resume                 go on where a run was interrupted
"""

import argparse
import functools
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
import jax.numpy as jnp
import numpy as np
from rich.console import Console
from rich.progress import track
from rich.table import Table

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))  # the table of wrong rules is no part of the installed package

from manualbp.verify import check  # noqa: E402
from manualbp.verify._catalogue import _use_cache  # noqa: E402
from manualbp.verify._inputs import draw, spec_of  # noqa: E402
from tests.wrong_rules import KINDS, WRONG_RULES  # noqa: E402

RULES = {entry.name: entry for entry in WRONG_RULES}
OUT = ROOT / "experiments" / "results" / "scorecard.json"
CAUGHT = 0.9  # the share of seeds in which a wrong rule must be refused

# What a tool cannot be asked, and why. A mistake that a library has no place for, or that makes no
# difference in the dtype a tool works in, counts neither for nor against it.
NARROW = "differs from its twin below float32 only"
IN_FLOAT32 = "the same as its twin in float32"
ONLY_JAX = "a matter of JAX alone: "
BELOW_FLOAT32 = dict.fromkeys(("half_precision_comes_back_wide", "value_comes_back_wide"), NARROW)
NOT_IN_FLOAT32 = BELOW_FLOAT32 | dict.fromkeys(
    (
        "cotangent_always_float32",
        "relative_error_1e-8_everywhere",
        "secretly_in_float32",
        "value_secretly_in_float32",
    ),
    IN_FLOAT32,
)
NOT_BRIDGED = BELOW_FLOAT32 | {
    "bare_array_for_a_tuple": ONLY_JAX + "there a bare gradient is allowed",
    "integer_argument_gets_integer_zeros": ONLY_JAX + "integers have no gradient there",
    "jit_differs_from_eager": ONLY_JAX + "nothing is traced there",
    "primal_and_forward_pass_differ": ONLY_JAX + "there is one forward function there",
    "vmap_differs_from_a_loop": ONLY_JAX + "its batching rule is not run there",
}
NOT_IN_TORCH = NOT_BRIDGED | {
    "bias_gradient_not_summed": "torch sums it to the shape of the argument, which makes it right",
    "second_derivative_of_a_wrong_helper": "gradcheck is of first order, and so is the bridge",
    "second_derivative_stopped": "gradcheck is of first order, and so is the bridge",
}


class Bridge:
    """A rule and one draw of its arguments, as plain functions of its floating arrays.

    Integers, booleans and keys are closed over; trees are flattened.
    """

    def __init__(self, rule, args, seed, dtype):
        rng = np.random.default_rng(seed)
        leaves, self.tree = jax.tree.flatten(args)
        self.leaves = [draw(spec_of(leaf), rng, "normal") for leaf in leaves]
        self.free = [k for k, x in enumerate(self.leaves) if np.dtype("float64") == x.dtype]
        self.inputs = tuple(np.asarray(self.leaves[k], dtype) for k in self.free)
        self.rule = rule
        self.fwd, self.bwd = rule if isinstance(rule, tuple) else (rule.fwd, rule.bwd)

    def arguments(self, xs):
        leaves = list(self.leaves)
        for k, x in zip(self.free, xs, strict=True):
            leaves[k] = x
        return self.tree.unflatten(leaves)

    def function(self):
        """The rule as JAX has it, of the floating arrays."""
        call = self.rule
        if isinstance(call, tuple):
            call = jax.custom_vjp(lambda *args: self.fwd(*args)[0])
            call.defvjp(self.fwd, self.bwd)
        return lambda *xs: call(*self.arguments(xs))

    def forward(self, *xs):
        """Leaves of the value, and what `backward` needs."""
        y, residuals = self.fwd(*self.arguments([_copied(x) for x in xs]))
        leaves, tree = jax.tree.flatten(y)
        return leaves, (residuals, tree)

    def backward(self, kept, dys):
        """One cotangent a floating array; as many as there are, where their count is wrong."""
        residuals, tree = kept
        given = self.bwd(residuals, tree.unflatten([_copied(dy) for dy in dys]))
        leaves = jax.tree.leaves(given, is_leaf=lambda x: x is None)
        if len(leaves) != len(self.leaves):
            return leaves
        return [leaves[k] for k in self.free]


def _copied(x):
    """As a JAX array. A tool changes its inputs in place, and JAX would share their memory."""
    return x if isinstance(x, jax.Array) else jnp.asarray(np.array(x))


# The tools: each takes a bridge and a seed, and raises where it refuses


def jax_tool(order):
    from jax.test_util import check_grads

    def run(bridge, seed):  # the default modes raise at every custom_vjp: it has no forward mode
        check_grads(bridge.function(), bridge.inputs, order=order, modes=["rev"])

    return run


def chex_tool(order):
    import chex

    def run(bridge, seed):
        chex.assert_numerical_grads(bridge.function(), bridge.inputs, order=order, modes=["rev"])

    return run


def torch_tool(order, fast):
    import torch

    def run(bridge, seed):
        class Bridged(torch.autograd.Function):
            @staticmethod
            def forward(ctx, *xs):
                ys, ctx.kept = bridge.forward(*(x.detach().numpy() for x in xs))
                return tuple(torch.from_numpy(np.array(y)) for y in ys)

            @staticmethod
            def backward(ctx, *dys):
                given = bridge.backward(ctx.kept, [dy.detach().numpy() for dy in dys])
                return tuple(None if g is None else torch.from_numpy(np.array(g)) for g in given)

        inputs = tuple(torch.tensor(x, requires_grad=True) for x in bridge.inputs)
        torch.autograd.gradcheck(Bridged.apply, inputs, fast_mode=fast)

    return run


def autograd_tool(order):
    from autograd.extend import defvjp, primitive
    from autograd.test_util import check_grads

    def pulled(bridge, k, results):
        """The cotangent of the k-th array, of cotangents and arrays; JAX differentiates it."""

        def pull(*both):
            kept = bridge.forward(*both[results:])[1]
            given = bridge.backward(kept, both[:results])[k]
            return jnp.zeros_like(both[results + k]) if given is None else given

        def second(j, ans, *both):
            back = jax.vjp(pull, *map(_copied, both))[1]
            return lambda g: np.array(back(jnp.asarray(g))[j])

        first = primitive(lambda *both: np.array(pull(*both)))
        both = results + len(bridge.inputs)
        defvjp(first, *(functools.partial(second, j) for j in range(both)))
        return first

    def run(bridge, seed):
        np.random.seed(seed)  # the tool draws its directions from NumPy's own state
        count = len(jax.eval_shape(lambda *xs: bridge.forward(*xs)[0], *bridge.inputs))

        def value(*xs):
            ys = tuple(np.array(y) for y in bridge.forward(*xs)[0])
            return ys if count > 1 else ys[0]

        def pulls(k, ans, *xs):
            first = pulled(bridge, k, count)
            if count == 1:
                return lambda dy: first(dy, *xs)
            return lambda dy: first(*(dy[i] for i in range(count)), *xs)

        function = primitive(value)
        places = tuple(range(len(bridge.inputs)))
        defvjp(function, *(functools.partial(pulls, k) for k in places))
        check_grads(function, places, modes=["rev"])(*bridge.inputs)

    return run


# Each tool: its label, the library whose version counts, the dtype, what it cannot be asked
TOOLS = {
    "manualbp": ("manualbp check", "manualbp", None, {}, None),
    "jax32": ("JAX check_grads float32", "jax", "float32", NOT_IN_FLOAT32, jax_tool),
    "jax64": ("JAX check_grads float64", "jax", "float64", BELOW_FLOAT32, jax_tool),
    "chex": ("chex assert_numerical_grads float32", "chex", "float32", NOT_IN_FLOAT32, chex_tool),
    "torch": (
        "torch gradcheck float64",
        "torch",
        "float64",
        NOT_IN_TORCH,
        functools.partial(torch_tool, fast=False),
    ),
    "torch-fast": (
        "torch gradcheck, fast mode, float64",
        "torch",
        "float64",
        NOT_IN_TORCH,
        functools.partial(torch_tool, fast=True),
    ),
    "autograd": (
        "autograd check_grads float64",
        "autograd",
        "float64",
        NOT_BRIDGED,
        autograd_tool,
    ),
}


def refuses(run, rule, args, seed, dtype):
    """Whether the tool raises, and the seconds that it took."""
    with jax.enable_x64(dtype == "float64"), np.errstate(all="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        bridge = Bridge(rule, args, seed, dtype)
        start = time.perf_counter()
        try:
            run(bridge, seed)
        except Exception:
            return True, time.perf_counter() - start
        return False, time.perf_counter() - start


def others(run, dtype, name, seeds):
    """A wrong rule and its twin through a tool that is none of ours."""
    entry = RULES[name]
    results = [refuses(run, entry.wrong, entry.args, seed, dtype) for seed in range(seeds)]
    twins = [refuses(run, entry.right, entry.args, seed, dtype) for seed in range(seeds)]
    return {
        "refused": sum(refused for refused, _ in results),
        "seeds": seeds,
        "twin refused": sum(refused for refused, _ in twins),
        "seconds": statistics.median(seconds for _, seconds in results),
    }


def judged(name, folder, twin):
    """In a process of its own: the verdicts of `check`, and the seconds of the first."""
    _use_cache(folder)
    entry = RULES[name]
    start = time.perf_counter()
    verdict = check(entry.wrong, *entry.args, definition=entry.definition).verdict
    seconds = time.perf_counter() - start
    right = check(entry.right, *entry.args, definition=entry.definition).verdict if twin else ""
    return verdict, seconds, right


def ours(name):
    """A wrong rule and its twin through `check`, in fresh processes: cold, then warm.

    Each rule has a cache of its own, so that no other rule has compiled anything for it.
    """
    methods = multiprocessing.get_all_start_methods()
    context = multiprocessing.get_context("forkserver" if "forkserver" in methods else "spawn")
    with tempfile.TemporaryDirectory() as folder:
        runs = []
        for twin in (True, False):
            with context.Pool(1) as pool:
                runs.append(pool.apply(judged, (name, folder, twin)))
    (verdict, cold, right), (again, warm, _) = runs
    return {
        "refused": int(verdict == again == "FAIL"),  # UNDECIDED has not caught it
        "seeds": 1,
        "verdict": verdict,
        "twin refused": int(right != "PASS"),
        "seconds": warm,
        "seconds cold": cold,
    }


def alarms(run, dtype, name, seeds):
    """How often a correct twin is refused. One that `check` leaves undecided counts as refused."""
    entry = RULES[name]
    if run is None:
        reports = (
            check(entry.right, *entry.args, definition=entry.definition, seed=seed)
            for seed in range(seeds)
        )
        return {"refused": sum(report.verdict != "PASS" for report in reports), "seeds": seeds}
    results = [refuses(run, entry.right, entry.args, seed, dtype)[0] for seed in range(seeds)]
    return {"refused": sum(results), "seeds": seeds}


def measure(tool, chosen, options, results, save, console):
    """All that is not yet in the results, saved as it comes."""
    label, library, dtype, unsaid, make = TOOLS[tool]
    row = results["tools"].setdefault(tool, {"label": label, "rules": {}, "alarms": {}})
    row.pop("missing", None)
    try:
        run = None if make is None else make(options.order)
    except ImportError:
        row["missing"] = f"{library} is not installed: pip install 'manualbp[scorecard]'"
        save()
        return
    seeds = 1 if run is None else options.seeds
    # the same correct rules for all: the first twin of each kind
    first = {RULES[name].kind: name for name in reversed(chosen)}
    jobs = [("rules", name, seeds) for name in chosen]
    jobs += [("alarms", name, options.false_alarm_seeds) for name in reversed(first.values())]
    jobs = [job for job in jobs if row[job[0]].get(job[1], {}).get("seeds") != job[2]]
    if not console.is_terminal:
        console.print(f"{label}: {len(jobs)} measurements")
    for part, name, count in track(jobs, label, console=console, disable=not console.is_terminal):
        if part == "alarms":
            row[part][name] = alarms(run, dtype, name, count)
        elif name in unsaid:
            row[part][name] = {"not said": unsaid[name], "seeds": count}
        else:
            row[part][name] = ours(name) if run is None else others(run, dtype, name, count)
        save()


def caught(result):
    return result["refused"] >= CAUGHT * result["seeds"]


def summary(row):
    """One line of the table of tools."""
    said = {name: r for name, r in row["rules"].items() if "refused" in r}
    found = [r for r in said.values() if caught(r)]
    both = [r for r in found if r["twin refused"] >= CAUGHT * r["seeds"]]
    refused = sum(r["refused"] for r in row["alarms"].values())
    draws = sum(r["seeds"] for r in row["alarms"].values())
    seconds = [r["seconds"] for r in said.values()]
    cold = [r["seconds cold"] for r in said.values() if "seconds cold" in r]
    return {
        "tool": row["label"],
        "caught": len(found),
        "of said": len(said),
        "not said": len(row["rules"]) - len(said),
        "twin refused too": len(both),
        "false alarms": refused,
        "of": draws,
        "median s": statistics.median(seconds) if seconds else None,
        "median s cold": statistics.median(cold) if cold else None,
    }


def by_kind(rows):
    """For each kind, caught / said of each tool."""
    table = []
    for kind in KINDS:
        line = {"kind": kind.split(":")[0]}
        for tool, row in rows.items():
            said = [
                r for name, r in row["rules"].items() if RULES[name].kind == kind and "refused" in r
            ]
            line[tool] = f"{sum(map(caught, said))}/{len(said)}" if said else "n/a"
        if any(value != "n/a" for value in list(line.values())[1:]):
            table.append(line)
    return table


def show(console, title, lines):
    table = Table(title=title)
    for column in lines[0]:
        table.add_column(column, justify="left" if column in ("tool", "kind") else "right")
    for line in lines:
        cells = (
            "–" if v is None else f"{v:.3g}" if isinstance(v, float) else v for v in line.values()
        )
        table.add_row(*map(str, cells))
    console.print(table)


def report(console, results):
    """The tables, and what `check` fell short in, by name."""
    rows = {t: results["tools"][t] for t in TOOLS if t in results["tools"]}
    for row in rows.values():
        if "missing" in row:
            console.print(f"{row['label']}: {row['missing']}")
    rows = {tool: row for tool, row in rows.items() if "missing" not in row}
    if not rows:
        return
    results["summary"] = [summary(row) for row in rows.values()]
    results["by kind"] = by_kind(rows)
    show(console, "caught: refused in at least 90 % of the seeds", results["summary"])
    show(console, "by kind, caught / said", results["by kind"])
    for name, result in rows.get("manualbp", {"rules": {}})["rules"].items():
        if not caught(result):
            console.print(f"manualbp check misses {name}: {result['verdict']}")
        if result["twin refused"]:
            console.print(f"manualbp check does not pass the twin of {name}")
    for name, result in rows.get("manualbp", {"alarms": {}})["alarms"].items():
        if result["refused"]:
            console.print(f"manualbp check: {result['refused']} false alarms at {name}")


def versions():
    found = {"Python": platform.python_version()}
    for library in ("manualbp", "jax", "numpy", "chex", "torch", "autograd"):
        try:
            found[library] = importlib.metadata.version(library)
        except importlib.metadata.PackageNotFoundError:
            found[library] = "not installed"
    if found["manualbp"] == "not installed":  # run from a checkout
        import manualbp

        found["manualbp"] = manualbp.__version__
    return found


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--tools", nargs="+", choices=TOOLS, default=list(TOOLS), metavar="TOOL")
    parser.add_argument("--seeds", type=int, default=10, help="draws a rule (default: 10)")
    parser.add_argument(
        "--false-alarm-seeds", type=int, default=200, help="draws a correct rule (default: 200)"
    )
    parser.add_argument("--rules", default="", metavar="PATTERN", help="names to search for")
    parser.add_argument(
        "--order", type=int, default=1, help="of JAX and chex, which have no default (default: 1)"
    )
    parser.add_argument("--out", type=Path, default=OUT, metavar="FILE.json")
    parser.add_argument("--resume", action="store_true", help="keep what FILE.json already has")
    options = parser.parse_args()
    chosen = [name for name in RULES if re.search(options.rules, name)]
    if not chosen:
        parser.error(f"--rules: expected a pattern that some rule's name has, got {options.rules}")
    console = Console(width=None if os.isatty(1) else 150)
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
