"""One row of the table, asked in this process: prints "asking", then the answer as JSON.

python experiments/packages/ask.py judge "optax.projections._projections:_projection_unit_simplex"
python experiments/packages/ask.py truth NAME         what the gradient is, without the judge
python experiments/packages/ask.py rules PACKAGE      the rules that the package holds
"""

import json
import os
import resource
import sys
import time
import warnings
from pathlib import Path

sys.path.insert(1, str(Path(__file__).resolve().parents[2]))
warnings.simplefilter("ignore")
os.environ.setdefault("JAX_PLATFORMS", "cpu")
out, sys.stdout = sys.stdout, sys.stderr  # what packages print as they are imported is no answer

import walk  # noqa: E402


def say(what: object) -> None:
    print(json.dumps(what), file=out, flush=True)


def question(name: str):
    from rows import ROWS

    row = ROWS[name]
    rule = row.make() if row.make else walk.find(row.rule)
    return row, rule, row.args()


def truth(name: str) -> dict:
    from truth import class_of, measure

    row, rule, args = question(name)
    say("asking")
    found = measure(
        rule,
        row.definition or walk.inner(rule),
        args,
        row.argnums,
        tuple(getattr(rule, "nondiff_argnums", ())),
        row.near,
        row.in64,
    )
    return {"truth": row.truth, "measured": class_of(found, row.in64), **found}


def judge(name: str, explore: bool, intended: bool) -> dict:
    from manualbp.verify import check

    row, rule, args = question(name)
    options = {"explore": explore, "argnums": row.argnums, "definition": row.definition}
    options["order"] = row.order
    reason = row.why if row.truth == "intended" else row.beyond if explore else ""
    if intended and reason:
        options["intended"] = reason
    say("asking")
    start = time.perf_counter()
    try:
        report = check(rule, *args, **options)
    except (TypeError, ValueError) as problem:
        refused = str(problem).startswith("check:") and "\n" not in str(problem)
        said = {"verdict": "refused" if refused else "crash", "found": said_by(problem)}
    except Exception as problem:
        said = {"verdict": "crash", "found": said_by(problem)}
    else:
        last = report.evidence[-1].text
        told = (last,) if report.verdict == "UNDECIDED" else report.diagnosis or report.notes
        found = "; ".join(map(str, told))
        said = {"verdict": report.verdict, "found": found[:300]}
    return {**said, "seconds": round(time.perf_counter() - start, 1)}


def said_by(problem: Exception) -> str:
    lines = str(problem).strip().splitlines() or ["nothing"]
    return f"{type(problem).__name__}: {lines[0][:200]}"


def main() -> None:
    what, name = sys.argv[1:3]
    if what == "rules":
        answer: object = sorted(walk.custom_rules(name))
    elif what == "truth":
        answer = truth(name)
    else:
        answer = judge(name, "given" not in sys.argv, "intended" in sys.argv)
    if isinstance(answer, dict):
        kilobytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        answer["megabytes"] = kilobytes // (1 << 10 if sys.platform != "darwin" else 1 << 20)
    say(answer)


if __name__ == "__main__":
    main()
