"""A report as text, for who did not write the rule."""

import re
from typing import Any

import jax
import numpy as np

from manualbp.verify.evidence import Counterexample, Report

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


