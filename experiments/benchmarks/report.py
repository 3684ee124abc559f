"""results.md and results.json from what each benchmark wrote, and the machine they ran on."""

import json
import os
import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

PACKAGES = ("jax", "jaxlib", "numpy", "optax", "flax", "torch", "scikit-learn", "opacus")


def _lines(path):
    return Path(path).read_text().splitlines() if Path(path).exists() else []


def machine():
    """CPU, memory, system and versions: name -> text."""
    models = [s.split(":")[1].strip() for s in _lines("/proc/cpuinfo") if "model name" in s]
    system = dict(s.split("=", 1) for s in _lines("/etc/os-release") if "=" in s)
    pages = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    found = {
        "CPU": models[0] if models else platform.processor() or platform.machine(),
        "cores": str(os.cpu_count()),
        "memory": f"{pages / 2**30:.1f} GiB",
        "system": system.get("PRETTY_NAME", platform.system()).strip('"')
        + f", {platform.system()}",
        "Python": platform.python_version(),
    }
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "not installed"
    return found


def _cell(x):
    return f"{x:.3g}" if isinstance(x, float) else str(x).replace("|", "\\|")


def table(columns, rows):
    """A table of Markdown."""
    lines = [columns, ["-"] * len(columns), *rows]
    return "\n".join("| " + " | ".join(map(_cell, line)) + " |" for line in lines)


def section(name, of, out):
    """One benchmark: its command, tables and picture, or why it has none."""
    text = [f"## {name}", f"`{of['command']}`, {of['seconds']:.0f} s"]
    if "failed" in of:
        return [*text, table(["", "result"], [[name, f"FAILED: {of['failed']}"]])]
    text += [of["title"], table(of["columns"], of["rows"])]
    text.append(table(["target", "measured", "bound", "met"], of["targets"]))
    if (out / "pictures" / f"{name}.png").exists():
        text.append(f"![{of['title']}](pictures/{name}.png)")
    return text


def summary(found):
    """A line for each benchmark: how many targets are met, and which are not."""
    rows = []
    for name, of in found.items():
        targets = of.get("targets", [])
        met = [what for what, *_, yes in targets if yes == "yes"]
        missed = [f"{t[0]}: {_cell(t[1])}, not {t[2]}" for t in targets if t[3] == "NO"]
        if "failed" in of:
            rows.append([name, f"FAILED: {of['failed']}", ""])
        elif met or missed:
            rows.append([name, f"{len(met)} of {len(met) + len(missed)}", "; ".join(missed)])
        else:
            rows.append([name, "not judged (--quick)", ""])
    return table(["benchmark", "targets met", "missed"], rows)


def write(out, command, found):
    """Write results.md and results.json.

    Args:
      out: folder.
      command: that made them.
      found: name -> what the benchmark wrote, with command and seconds; or failed.

    Returns:
      Their paths.
    """
    with_ = machine()
    text = [
        "# Results of the benchmarks",
        f"Made by `{command}`. Ratios are by hand / the other: below 1 is better, unless the "
        "column says otherwise. Times are medians; quartiles are of the ratio within a round, in "
        "which contenders run one after another. Temporary memory is XLA's count for the compiled "
        "program, and exact; results themselves are not in it.",
        table(["", ""], list(with_.items())),
        summary(found),
    ]
    for name, of in found.items():
        text += section(name, of, out)
    written = out / "results.md", out / "results.json"
    written[0].write_text("\n\n".join(text) + "\n")
    numbers = {"command": command, "machine": with_, "benchmarks": found}
    written[1].write_text(json.dumps(numbers, indent=1) + "\n")
    return written
