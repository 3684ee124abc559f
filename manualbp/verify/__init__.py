"""The judge: takes a rule and a definition, returns a verdict with evidence.

It needs what `pip install "manualbp[verify]"` installs. Nothing in it changes a JAX setting:
64-bit mode is entered for a block and left again.
"""

try:
    import flint  # noqa: F401
except ModuleNotFoundError as missing:
    raise ModuleNotFoundError(
        "manualbp.verify: expected python-flint, found none: pip install 'manualbp[verify]'"
    ) from missing

from manualbp.verify._check import assert_correct, check
from manualbp.verify.ask.domains import Spec
from manualbp.verify.evidence import Counterexample, Evidence, Proof, Report

__all__ = [
    "Counterexample",
    "Evidence",
    "Proof",
    "Report",
    "Spec",
    "accuracy",
    "assert_correct",
    "check",
]


def __getattr__(name: str) -> object:
    # not needed by `check`, and imported where it is
    if name == "accuracy":
        from manualbp.verify.floats.sweep import accuracy

        return accuracy
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
