"""All benchmarks, one after another, each in a process of its own, and what they found in a file.

    python experiments/benchmarks                            all: about 40 minutes on two cores
    python experiments/benchmarks --quick                    small sizes: about six minutes
    python experiments/benchmarks --only growth,step         some
    python experiments/benchmarks/step.py --help             one by itself

Writes results.md, results.json, pictures/ and results/. One that fails is said so in the tables,
and the others go on. `pip install "manualbp[benchmark]"` has what they need.
"""

import argparse
import collections
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import report

HERE = Path(__file__).resolve().parent
NAMES = (
    "growth", "step", "compiling", "torch_step", "deep", "per_example", "second_order", "fused",
    "training", "sweep",
)  # fmt: skip


def run(name, out, quick):
    """What the benchmark wrote, with its command and seconds; or failed, and why."""
    command = f"python experiments/benchmarks/{name}.py" + (" --quick" if quick else "")
    print(f"\n{command}", flush=True)
    numbers = out / "results" / f"{name}.json"
    numbers.unlink(missing_ok=True)  # what is there afterwards is of this run
    arguments = [HERE / f"{name}.py", "--out", out, *(["--quick"] if quick else [])]
    # the same manualbp as here, also where it is not installed
    paths = [str(HERE.parents[1]), os.environ.get("PYTHONPATH", "")]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths))}
    start = time.perf_counter()
    with subprocess.Popen(
        [sys.executable, *arguments], stderr=subprocess.PIPE, text=True, env=environment
    ) as process:
        last = collections.deque((line for line in process.stderr if line.strip()), maxlen=30)
    found = {"command": command, "seconds": time.perf_counter() - start}
    if process.returncode == 0 and numbers.exists():
        return found | json.loads(numbers.read_text())
    print("".join(last), file=sys.stderr, end="")
    # JAX says more after the message: the message is where the traceback's indented lines end
    said = [line.strip() for line in last if "Error" in line and not line.startswith(" ")]
    why = said[-1] if said else f"exit status {process.returncode}"
    return found | {"failed": why}


def main(arguments=None):
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="small sizes, targets not judged")
    parser.add_argument("--only", metavar="NAME,...", help=f"of {', '.join(NAMES)}")
    parser.add_argument("--out", type=Path, default=HERE, help="folder to write to, default here")
    given = parser.parse_args(arguments)
    asked = NAMES if given.only is None else given.only.split(",")
    for name in asked:
        if name not in NAMES:
            sys.exit(f"--only: expected names of {', '.join(NAMES)}, got {name!r}")
    given.out.mkdir(parents=True, exist_ok=True)
    found = {name: run(name, given.out.resolve(), given.quick) for name in asked}
    command = "python experiments/benchmarks" + (" --quick" if given.quick else "")
    command += f" --only {given.only}" if given.only else ""
    written = report.write(given.out, command, found)
    print("\n" + report.summary(found) + f"\nwrote {written[0]}, {written[1]}")
    return int(any("failed" in of for of in found.values()))


if __name__ == "__main__":
    sys.exit(main())
