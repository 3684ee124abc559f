"""What the judge says: a verdict, its evidence, and where a rule fails, a lesson."""

import re
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

import jax
import numpy as np

Verdict = Literal["PASS", "FAIL", "UNDECIDED"]


@dataclass(frozen=True)
class Evidence:
    """What one rung of the ladder found.

    Attributes:
      rung: "contract", "autodiff" or "exact".
      verdict: of this rung.
      text: one line.
      compared: how many numbers it compared.
    """

    rung: str
    verdict: Verdict
    text: str
    compared: int = 0


@dataclass(frozen=True)
class Counterexample:
    """An input at which the rule is wrong.

    Attributes:
      args: the arguments, as arrays.
      cotangent: of the value: dy.
      argument: which result is wrong: "value", or the argument whose gradient it is.
      index: of the wrong entry.
      expected: the truth there; at a kink, the two one-sided derivatives.
      got: what the rule gives.
      truth: what decided: "autodiff" or "difference quotients".
      ulps: the error in units in the last place of the expected number, in the rule's dtype.
      code: lines of Python that show it, where the rule is called as `rule`.
    """

    args: tuple
    cotangent: Any
    argument: str
    index: tuple
    expected: Any
    got: float
    truth: str
    ulps: float | None = None
    code: str = ""


@dataclass(frozen=True)
class Branches:
    """Which ways the comparisons of both programs went.

    Attributes:
      ways: that there are, two for each side of a comparison.
      taken: so many of them were.
      unvisited: those that were not, and where in the code they stand.
    """

    ways: int
    taken: int
    unvisited: tuple[str, ...] = ()


@dataclass(frozen=True)
class Proof:
    """What is known of a backward pass, for arguments of small shapes.

    Attributes:
      verdict: "PROVED", on every open branch the definition's value and derivative;
        "REFUTED", at a point it is not; or "NOT PROVED".
      shapes: of the arguments and cotangents.
      branches: how many were met on which the definition has a value.
      point: that refutes: arrays of arguments, then cotangents.
      remaining: what was not proved, or why not.
      seconds: that it took.
    """

    verdict: Literal["PROVED", "REFUTED", "NOT PROVED"]
    shapes: str = ""
    branches: int = 0
    point: tuple | None = None
    remaining: str = ""
    seconds: float = field(default=0.0, compare=False)

    def __str__(self) -> str:
        match self.verdict:
            case "PROVED":
                return f"on every open branch ({self.branches}), for {self.shapes}"
            case "REFUTED":
                return f"{self.remaining}, for {self.shapes}"
        return f"{self.remaining or 'no reason'}, for {self.shapes}"


@dataclass(frozen=True)
class Report:
    """The judgement of one rule.

    Attributes:
      name: of the rule.
      verdict: PASS, FAIL or UNDECIDED.
      evidence: one entry a rung.
      counterexample: where it fails, if it does.
      diagnosis: the kind of bug, in words.
      notes: what is worth knowing of a pass too: kinks met, autodiff itself wrong.
      seed: that repeats the run.
      decided_by: how many entries each truth decided.
      branches: of both programs, where they have any.
      power: of a pass: the smallest relative error of one entry of a gradient that this run would
        have caught, found by planting such errors.
      proof: what was proved for small shapes, where that was tried.
    """

    name: str
    verdict: Verdict
    evidence: tuple[Evidence, ...]
    counterexample: Counterexample | None = None
    diagnosis: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    seed: int = 0
    decided_by: dict[str, int] = field(default_factory=dict)
    branches: Branches | None = None
    power: float | None = None
    proof: Proof | None = None

    def to_dict(self) -> dict[str, Any]:
        """The report in Python's own types, ready for json."""
        return _plain(asdict(self))

    def __str__(self) -> str:
        lines = [f"{self.verdict}  {self.name}  (seed {self.seed})"]
        lines += [f"  {e.rung:<9} {e.verdict:<10} {e.text}" for e in self.evidence]
        if self.branches is not None:
            lines.append(f"  branches  {self.branches.taken} of {self.branches.ways} ways taken")
            lines += [f"    not taken: {text}" for text in self.branches.unvisited]
        if self.power is not None:
            lines.append(
                f"  power     one entry wrong by a factor of 1 + {self.power:.0e} would be caught"
            )
        if self.proof is not None:
            lines.append(f"  {'proof':<9} {self.proof.verdict:<10} {self.proof}")
        if self.counterexample is not None:
            lines += _render(self.counterexample)
        lines += [f"  diagnosis: {line}" for line in self.diagnosis]
        lines += [f"  note: {line}" for line in self.notes]
        return "\n".join(lines)


def _render(c: Counterexample) -> list[str]:
    lines = ["  counterexample"]
    lines += [f"    argument {i} = {_source(a)}" for i, a in enumerate(c.args)]
    lines.append(f"    cotangent  = {_source(c.cotangent)}")
    what = "value" if c.argument == "value" else f"gradient of {c.argument}"
    at = "" if c.index == () else f" at index {c.index}"
    expected = (
        f"between {c.expected[0]:.9g} and {c.expected[1]:.9g}"
        if isinstance(c.expected, tuple)
        else f"{c.expected:.9g}"
    )
    error = "" if c.ulps is None or not np.isfinite(c.ulps) else f"  ({c.ulps:.2g} ULP)"
    lines.append(f"    {what}{at}: expected {expected} ({c.truth}), got {c.got:.9g}{error}")
    if c.code:
        lines += ["  to reproduce", *(f"    {line}" for line in c.code.splitlines())]
    return lines


def reproduction(importing: str, args: tuple, cotangent: Any, path: str, index: tuple) -> str:
    """Python that prints the wrong entry, with JAX alone but for the rule itself.

    Args:
      importing: the line that imports the rule, as `rule`; or says in a comment how to get it.
      args: of the rule.
      cotangent: of its value.
      path: of the result that is wrong: "value", or as "argument 0['w']".
      index: of the entry.
    """
    entry = "" if index == () else f"[{', '.join(map(str, index))}]"
    lines = [
        "import jax, jax.numpy as jnp",
        'jax.config.update("jax_enable_x64", True)',
        importing,
        "args = (",
        *(f"    {_array_source(x)}," for x in args),
        ")",
    ]
    found = re.fullmatch(r"argument (\d+)(.*)", path)
    if found is None:
        return "\n".join([*lines, f"print(rule(*args){entry})"])
    leaves = cotangent if isinstance(cotangent, tuple) else (cotangent,)
    return "\n".join(
        [
            *lines,
            "y, pull = jax.vjp(rule, *args)",
            f"leaves = [{', '.join(map(_array_source, leaves))}]",
            "dy = jax.tree.unflatten(jax.tree.structure(y), leaves)",
            f"print(pull(dy)[{found[1]}]{found[2]}{entry})",
        ]
    )


def _array_source(x: Any) -> str:
    """An argument, or a tree of them, as JAX code."""
    if x is None:
        return "None"
    if isinstance(x, dict):
        return "{" + ", ".join(f"{k!r}: {_array_source(v)}" for k, v in x.items()) + "}"
    if isinstance(x, tuple) and hasattr(x, "_fields"):
        fields = zip(x._fields, x, strict=True)
        return f"{type(x).__name__}({', '.join(f'{k}={_array_source(v)}' for k, v in fields)})"
    if isinstance(x, tuple | list):
        body = ", ".join(map(_array_source, x))
        return f"({body}{',' if len(x) == 1 else ''})"
    if isinstance(x, jax.Array) and jax.dtypes.issubdtype(x.dtype, jax.dtypes.prng_key):
        return f"jax.random.wrap_key_data(jnp.array({jax.random.key_data(x).tolist()}, 'uint32'))"
    if isinstance(x, np.ndarray | np.generic | jax.Array):
        numbers = np.asarray(x).tolist()
        text = repr(numbers).replace("nan", "jnp.nan").replace("inf", "jnp.inf")
        return f"jnp.array({text}, '{x.dtype}')"
    return repr(x)


def _source(x: Any) -> str:
    """An array, or a tree of them, as Python would write it."""
    if isinstance(x, tuple | list):
        body = ", ".join(map(_source, x))
        return f"({body}{',' if len(x) == 1 else ''})"
    if isinstance(x, dict):
        return "{" + ", ".join(f"{k!r}: {_source(v)}" for k, v in x.items()) + "}"
    if isinstance(x, np.ndarray):
        return repr(x.tolist())
    if isinstance(x, jax.Array) and jax.dtypes.issubdtype(x.dtype, jax.dtypes.prng_key):
        return f"a key of data {jax.random.key_data(x).tolist()}"
    return repr(x)


def _plain(x: Any) -> Any:
    if isinstance(x, dict):
        return {str(k): _plain(v) for k, v in x.items()}
    if isinstance(x, tuple | list):
        return [_plain(v) for v in x]
    if isinstance(x, np.ndarray):
        return x.tolist()
    if isinstance(x, np.generic):
        return x.item()
    return x if isinstance(x, str | int | float | bool | None) else repr(x)
