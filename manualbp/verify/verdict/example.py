"""The counterexample of a finding: arguments, cotangent, and what came out of them."""

from typing import Any

import jax.numpy as jnp
import numpy as np

from manualbp.verify.ask.problem import Problem
from manualbp.verify.evidence import Counterexample, Finding
from manualbp.verify.verdict.report import reproduction


def example_of(problem: Problem, finding: Finding, point: list) -> Counterexample:
    """What a user runs to see it: arrays in the dtypes asked, where these hold the point."""
    n = len(problem.parts)
    asked = problem.asked(point)
    held = all(np.array_equal(a.astype(b.dtype), b) for a, b in zip(asked, point, strict=True))
    shown = asked if held else point
    args, dys = problem.arguments(problem.concrete(shown[:n])), shown[n:]
    entry = finding.entry
    expected = _number(finding.expected)
    got = _number(finding.got)
    if held:
        try:
            values, pulled = problem.native([np.asarray(x)[None] for x in point])[0]
            native = (values if entry.of == "value" else pulled)[entry.leaf][0][entry.index]
            # what the lines print, unless their rounding hides what is wrong
            far = abs(got - np.mean(expected))
            got = float(native) if not abs(native - got) > 1e-3 * far else got
        except Exception:  # what runs in balls need not run alone
            pass
    one = expected if isinstance(expected, float) else np.nan
    spacing = float(jnp.finfo(problem.dtype).eps) * max(abs(one), 1e-300)
    ulps = abs(got - one) / spacing if np.isfinite(one) else None
    path = "value" if entry.of == "value" else problem.name_of(entry.leaf)
    place = None if entry.of == "value" else problem.path_of(entry.leaf)
    halves = any(p.half for p in (*problem.parts, *problem.value_parts))  # of complex numbers
    static = any(s.domain == "static" for s in problem.specs)
    plain = problem.subject.importing and not (static or halves)
    code = (
        reproduction(
            problem.subject.importing, args, tuple(dys), place, entry.index, problem.wide_mode
        )
        if plain
        else ""
    )
    dy = dys[0] if len(dys) == 1 else tuple(dys)
    names = tuple(problem.argument(i) for i in range(len(args)))
    return Counterexample(
        args, dy, path, entry.index, expected, got, finding.truth, ulps, code, names
    )


def _number(x: Any) -> Any:
    return tuple(float(v) for v in x) if isinstance(x, tuple) else float(x)
