"""A report as text, for who did not write the rule."""

from typing import Any

import jax
import numpy as np

from manualbp.verify.evidence import Counterexample, Report

# Numbers of an array that are shown, before the rest is left out
_MOST_SHOWN = 24
_MOST_LINES = 40


def text_of(report: Report) -> str:
    """The report as lines of text, a screen at most."""
    lines = [f"{report.verdict}  {report.name}  (seed {report.seed})"]
    if report.asked:
        lines[0] += f"  {'; '.join(report.asked)}"
    lines += [f"  {e.rung:<11} {e.verdict:<10} {e.text}" for e in report.evidence]
    if report.grade:
        lines.append(f"  {'arithmetic':<11} {report.grade}")
    if report.branches is not None:
        lines.append(
            f"  {'branches':<11} {report.branches.taken} of {report.branches.ways} ways taken"
        )
        lines += [f"    not taken: {text}" for text in report.branches.unvisited[:_MOST_UNVISITED]]
        more = len(report.branches.unvisited) - _MOST_UNVISITED
        if more > 0:
            lines.append(f"    and {more} more")
    if report.power is not None:
        lines.append(
            f"  {'power':<11} one entry wrong by a factor of 1 + {report.power:.0e} would be caught"
        )
    if report.proof is not None:
        lines.append(f"  {'proof':<11} {report.proof.verdict:<10} {report.proof}")
    if report.counterexample is not None:
        lines += _render(report.counterexample)
    lines += [f"  diagnosis: {line}" for line in report.diagnosis]
    lines += [f"  note: {line}" for line in report.notes]
    return "\n".join(lines)


_MOST_UNVISITED = 6


def _render(c: Counterexample) -> list[str]:
    lines = ["  counterexample"]
    names = c.names or tuple(f"argument {i}" for i in range(len(c.args)))
    lines += [f"    {name} = {_source(a)}" for name, a in zip(names, c.args, strict=False)]
    lines.append(f"    cotangent = {_source(c.cotangent)}")
    what = "value" if c.argument == "value" else f"gradient of {c.argument}"
    at = "" if c.index == () else f" at index {c.index}"
    expected = (
        f"between {c.expected[0]:.9g} and {c.expected[1]:.9g}"
        if isinstance(c.expected, tuple)
        else f"{c.expected:.9g}"
    )
    error = "" if c.ulps is None or not np.isfinite(c.ulps) else f"  ({c.ulps:.2g} ULP)"
    lines.append(f"    {what}{at}: expected {expected} ({c.truth}), got {c.got:.9g}{error}")
    if c.code and c.code.count("\n") < _MOST_LINES and len(c.code) < 80 * _MOST_LINES:
        lines += ["  to reproduce", *(f"    {line}" for line in c.code.splitlines())]
    return lines


def reproduction(
    importing: str, args: tuple, cotangents: tuple, place: str | None, index: tuple, wide: bool
) -> str:
    """Python that prints the wrong entry, with JAX alone but for the rule itself.

    Args:
      importing: the line that imports the rule, as `rule`; or says in a comment how to get it.
      args: of the rule.
      cotangents: of the leaves of its value.
      place: of the gradient that is wrong among the cotangents, as "[0]['w']"; None of the value.
      index: of the entry.
      wide: whether it is in 64-bit mode.
    """
    entry = "" if index == () else f"[{', '.join(map(str, index))}]"
    lines = [
        "import jax, jax.numpy as jnp",
        *(['jax.config.update("jax_enable_x64", True)'] if wide else []),
        importing,
        "args = (",
        *(f"    {_array_source(x)}," for x in args),
        ")",
    ]
    if place is None:
        return "\n".join([*lines, f"print(jax.tree.leaves(rule(*args))[0]{entry})"])
    return "\n".join(
        [
            *lines,
            "y, pull = jax.vjp(rule, *args)",
            f"leaves = [{', '.join(map(_array_source, cotangents))}]",
            "dy = jax.tree.unflatten(jax.tree.structure(y), leaves)",
            f"print(pull(dy){place}{entry})",
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
    if isinstance(x, np.ndarray | jax.Array) and not jax.dtypes.issubdtype(
        x.dtype, jax.dtypes.prng_key
    ):
        if x.size > _MOST_SHOWN:
            some = ", ".join(repr(v) for v in np.ravel(x)[:6].tolist())
            return f"{x.dtype}{list(x.shape)}, beginning {some}, ..."
        return repr(np.asarray(x).tolist())
    if isinstance(x, jax.Array) and jax.dtypes.issubdtype(x.dtype, jax.dtypes.prng_key):
        return f"a key of data {jax.random.key_data(x).tolist()}"
    return repr(x)
