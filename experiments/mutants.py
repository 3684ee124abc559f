"""The tests of the verifier, fed with the verifier's own code broken.

Each mutant is one file of the package with one thing changed: a branch dropped, operands swapped,
a comparison turned round, a constant moved by one. Tests run on a copy of the package; a mutant
that they pass is printed, as a place that no test looks at.

Run: python experiments/mutants.py --limit 100
"""

import argparse
import ast
import collections
import os
import random
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
NUMBERS = (
    "walk", "primitives", "balls", "arithmetic", "linear", "windows", "formulas", "wide",
    "against_floats", "needed", "operations",
)  # fmt: skip
FILES = [f"manualbp/verify/numbers/{name}.py" for name in NUMBERS]
FILES.append("manualbp/verify/verdict/decide.py")
# Quick ones first: the first that fails ends the run
INTERPRETER = ("interpreter", "balls", "against_floats", "harnesses")
TESTS = {
    "formulas": ("proof", "componentwise"),
    "wide": ("verdicts", "question", "harnesses"),
    "needed": ("size", "harnesses"),
    "operations": ("size", "question"),
    "decide": ("decide", "verdicts", "judge_catches"),
}
# A mutant that loops is refused, too
SECONDS = 600

# Mutants that change no result: (a part of the line as it stands, the kind), and why
EQUIVALENT: dict[tuple[str, str], str] = {
    ("strict=True", "constant"): "a check of lengths that are equal",
    ("lru_cache", "constant"): "how many results are kept",
    ("functools.cache", "constant"): "how many results are kept",
    ("_MOST_STEPS = 10_000", "constant"): "an effort, not a result",
    ("_FEW_PRODUCTS", "constant"): "the same product, by another way",
    ("precision(4096)", "constant"): "more bits than any program is run at, as before",
    ("range(0, len(found), 52)", "constant"): "updates by 51 at a time instead of 52",
    ("x.str(6)", "constant"): "digits of a message",
    ("z.str(6)", "constant"): "digits of a message",
    ("y.str(6)", "constant"): "digits of a message",
}


@dataclass(frozen=True)
class Mutant:
    """One change of one file: the number-th of those that there are."""

    file: str
    number: int
    line: int
    kind: str
    before: str
    after: str


FLIPPED: dict[type, type] = {
    ast.Lt: ast.GtE,
    ast.GtE: ast.Lt,
    ast.Gt: ast.LtE,
    ast.LtE: ast.Gt,
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.Is: ast.IsNot,
    ast.IsNot: ast.Is,
    ast.In: ast.NotIn,
    ast.NotIn: ast.In,
}
ON_THE_EDGE: dict[type, type] = {
    ast.Lt: ast.LtE,
    ast.LtE: ast.Lt,
    ast.Gt: ast.GtE,
    ast.GtE: ast.Gt,
}
OTHER: dict[type, type] = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.Div,
    ast.Div: ast.Mult,
    ast.And: ast.Or,
    ast.Or: ast.And,
}


def changes(node: ast.AST) -> Iterator[tuple[str, ast.AST]]:
    """What a node may be replaced by, and the kind of the change."""
    if isinstance(node, ast.Compare) and len(node.ops) == 1:
        for kind, table in (("comparison", FLIPPED), ("bound", ON_THE_EDGE)):
            other = table.get(type(node.ops[0]))
            if other is not None:
                yield kind, ast.Compare(node.left, [other()], node.comparators)
    if isinstance(node, ast.BinOp):
        if type(node.op) in OTHER:
            yield "operator", ast.BinOp(node.left, OTHER[type(node.op)](), node.right)
        if not isinstance(node.op, ast.Add | ast.Mult | ast.BitAnd | ast.BitOr):
            yield "operands", ast.BinOp(node.right, node.op, node.left)
    if isinstance(node, ast.BoolOp):
        yield "operator", ast.BoolOp(OTHER[type(node.op)](), node.values)
        for i in range(len(node.values)):
            rest = node.values[:i] + node.values[i + 1 :]
            yield "condition", rest[0] if len(rest) == 1 else ast.BoolOp(node.op, rest)
    if isinstance(node, ast.Constant) and type(node.value) in (int, float):
        yield "constant", ast.Constant(node.value + 1)
    if isinstance(node, ast.Constant) and type(node.value) is bool:
        yield "constant", ast.Constant(not node.value)
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub | ast.Not):
        yield "sign", node.operand
    if isinstance(node, ast.IfExp):
        yield "branch", node.body
        yield "branch", node.orelse
    if isinstance(node, ast.If):
        yield "branch", ast.If(ast.Constant(False), node.body, node.orelse)
    if isinstance(node, ast.Call) and len(node.args) == 2 and _in_order(node.func):
        yield "operands", ast.Call(node.func, node.args[::-1], [])


def _in_order(function: ast.expr) -> bool:
    """Whether it is a method of an arithmetic whose operands are no equals."""
    return isinstance(function, ast.Attribute) and function.attr in ("sub", "div", "power")


def mutants(file: str) -> list[Mutant]:
    """Every mutant of a file; what is said of types and in messages is left alone."""
    text = (ROOT / file).read_text()
    lines = text.splitlines()
    found = []
    for _, _, _, node, kind, other in _all_changes(ast.parse(text)):
        line = getattr(node, "lineno", 1)
        after = ast.unparse(ast.fix_missing_locations(other)).splitlines()[0]
        found.append(Mutant(file, len(found), line, kind, lines[line - 1].strip(), after))
    return found


def source(mutant: Mutant) -> str:
    """The file with the one change in it."""
    tree = ast.parse((ROOT / mutant.file).read_text())
    parent, name, index, _, _, other = list(_all_changes(tree))[mutant.number]
    if index is None:
        setattr(parent, name, other)
    else:
        getattr(parent, name)[index] = other
    return ast.unparse(ast.fix_missing_locations(tree))


def _all_changes(tree: ast.AST) -> Iterator[tuple]:
    for parent, name, index, node in _places(tree):
        for kind, other in changes(node):
            yield parent, name, index, node, kind, other


LEFT_ALONE = (ast.Raise, ast.Assert, ast.JoinedStr, ast.Import, ast.ImportFrom)
OF_TYPES = {"annotation", "returns"}


def _places(node: ast.AST) -> Iterator[tuple[ast.AST, str, int | None, ast.AST]]:
    if isinstance(node, LEFT_ALONE) or _is_protocol(node):
        return
    for name, value in ast.iter_fields(node):
        if name in OF_TYPES:
            continue
        for index, child in enumerate(value) if isinstance(value, list) else [(None, value)]:
            if isinstance(child, ast.AST):
                yield node, name, index, child
                yield from _places(child)


def _is_protocol(node: ast.AST) -> bool:
    bases = node.bases if isinstance(node, ast.ClassDef) else []
    return any(isinstance(base, ast.Name) and base.id == "Protocol" for base in bases)


def tests_of(file: str) -> list[str]:
    return [f"tests/test_{name}.py" for name in TESTS.get(Path(file).stem, INTERPRETER)]


def refused(mutant: Mutant, tests: list[str], copied: Path) -> bool:
    """Whether a test fails, on a copy of the package with the mutant in it."""
    file = copied / mutant.file
    original = file.read_text()
    file.write_text(source(mutant))
    try:
        return not passes(tests, copied)
    finally:
        file.write_text(original)


def passes(tests: list[str], copied: Path) -> bool:
    command = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", *tests]
    environment = {**os.environ, "PYTHONPATH": str(copied), "PYTHONDONTWRITEBYTECODE": "1"}
    try:
        done = subprocess.run(
            command, cwd=copied, env=environment, capture_output=True, timeout=SECONDS
        )
    except subprocess.TimeoutExpired:
        return False
    return done.returncode == 0


def why_equivalent(mutant: Mutant) -> str | None:
    for (part, kind), reason in EQUIVALENT.items():
        if part in mutant.before and kind == mutant.kind:
            return reason
    return None


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--files", nargs="+", default=FILES, help="what is broken")
    parser.add_argument("--tests", nargs="+", help="what pytest is given; default: as TESTS has it")
    parser.add_argument("--limit", type=int, default=100, help="how many mutants are drawn")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args(arguments)

    found = [m for file in options.files for m in mutants(file) if why_equivalent(m) is None]
    random.Random(options.seed).shuffle(found)
    drawn = found[: options.limit]
    survived = []
    with tempfile.TemporaryDirectory() as folder:
        copied = Path(folder)
        for name in ("manualbp", "reference", "tests", "pyproject.toml"):
            source = ROOT / name
            if source.is_dir():
                shutil.copytree(source, copied / name, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                shutil.copy(source, copied / name)
        tests = {file: options.tests or tests_of(file) for file in options.files}
        for each in sorted(set(map(tuple, tests.values()))):
            if not passes(list(each), copied):
                print(f"these tests fail as they are: {' '.join(each)}")
                return 3
        for number, mutant in enumerate(drawn, 1):
            if not refused(mutant, tests[mutant.file], copied):
                survived.append(mutant)
                print(
                    f"survived: {mutant.file}:{mutant.line} {mutant.kind}: "
                    f"{mutant.before}  ->  {mutant.after}",
                    flush=True,
                )
            if number % 10 == 0:
                print(f"{number - len(survived)} of {number} refused", flush=True)
    kinds = collections.Counter(m.kind for m in survived)
    share = 1 - len(survived) / max(len(drawn), 1)
    print(f"refused {share:.1%} of {len(drawn)} drawn from {len(found)}; survived: {dict(kinds)}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
