"""check: a rule and a definition go in, a verdict with evidence comes out."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import jax
import numpy as np

from manualbp._rule import Rule
from manualbp.verify.ask.definitions import definition_of
from manualbp.verify.ask.problem import Problem, first_line
from manualbp.verify.ask.question import check_argnums, examine, problem_of, with_static
from manualbp.verify.ask.sampling import EFFORT, Level
from manualbp.verify.ask.subject import Subject, subject_of
from manualbp.verify.evidence import Report
from manualbp.verify.judge import Run, judge
from manualbp.verify.rungs.proof import prove

# What a judge must not raise, whatever it is asked
_NET: tuple[type[Exception], ...] = (Exception,)


def check(
    rule: Any,
    *args: Any,
    definition: Callable[..., Any] | None = None,
    argnums: int | Sequence[int] | None = None,
    explore: bool = True,
    level: Level = "standard",
    seed: int = 0,
    intended: str | Callable | tuple[str, Callable] | None = None,
    strict: bool = False,
    order: int = 2,
) -> Report:
    """Judge a hand-derived gradient against a definition.

    Args:
      rule: a Rule, a `jax.custom_vjp` or `jax.custom_jvp` function, or a pair (fwd, bwd).
      *args: its arguments: arrays, pytrees of arrays, or `Spec`s that say shape and domain.
      definition: the function it should be the gradient of; for a rule of this library its
        textbook definition, for a custom function the undecorated one.
      argnums: the arguments to differentiate; all floating ones if None.
      explore: try other values of the same shapes; otherwise only the given ones.
      level: "quick", "standard" or "full": how many inputs; "full" also tries a proof for small
        shapes, if it may explore.
      seed: of the inputs; the same seed gives the same report.
      intended: the reason why the rule is meant not to be the gradient (a straight-through
        estimator, say); then it passes if only its gradient is another's, and fails if it is the
        gradient. Or what it is meant to be, `intended(*args, dy) -> cotangents`, alone or behind
        the reason: then it is held to that.
      strict: fail where float results lose digits at all that the problem does not lose.
      order: 1 asks for the gradient alone, 2 for the gradient's own derivative, too.

    Returns:
      A Report: verdict "PASS", "FAIL" or "UNDECIDED", evidence, counterexample, diagnosis.

    Raises:
      TypeError, ValueError: the question cannot be put; says what was expected and the remedy.

    Example:
      >>> import manualbp
      >>> from manualbp.verify import Spec, check
      >>> check(manualbp.sigmoid, Spec((3,)), level="quick").verdict
      'PASS'
    """
    numbers = (argnums,) if isinstance(argnums, int) else argnums
    subject = subject_of(rule, numbers)
    definition = _definition(rule, subject, definition)
    if not args:
        raise ValueError(
            f"check: expected the arguments of {subject.name}, got none: pass arrays or Spec((3,))"
        )
    if level not in EFFORT:
        raise ValueError(f"check: expected level 'quick', 'standard' or 'full', got {level!r}")
    if order not in (1, 2):
        raise ValueError(f"check: expected order 1 or 2, got {order!r}")
    check_argnums(numbers, len(args))
    args = with_static(rule, args)
    reason, pull = _intention(intended)
    ambient = bool(jax.config.jax_enable_x64)  # type: ignore[attr-defined]
    # promotion as JAX has it by default; 64-bit mode is ours where numbers are, and a program has
    # it where it was asked for
    with (
        jax.enable_x64(True),
        jax.numpy_dtype_promotion("standard"),
        np.errstate(all="ignore"),
    ):
        problem = problem_of(subject, definition, args, numbers, ambient, pull)
        unclear = examine(problem, rule)
        run = Run(problem, seed, strict, order)
        if unclear:
            run.saw("contract", "UNDECIDED", unclear)
            return run.report("UNDECIDED")
        try:
            report = judge(run, args, explore, level, linear=_linear(intended, pull))
        except jax.errors.JaxRuntimeError as error:  # of the compiler or a device, not of a rule
            run.saw("judge", "UNDECIDED", f"JAX raises: {first_line(error)}")
            report = run.report("UNDECIDED")
        except _NET as error:
            text = f"the judge raises {type(error).__name__}, please report it: {first_line(error)}"
            run.saw("judge", "UNDECIDED", text)
            report = run.report("UNDECIDED")
    if level == "full" and explore and intended is None:
        report = with_proof(report, problem)
    return report if intended is None or pull is not None else _as_intended(report, reason)


def with_proof(report: Report, problem: Problem, seconds: float = 2.0) -> Report:
    """The report with what was proved; a refutation fails it."""
    proof = prove(problem, seconds)
    verdict = "FAIL" if proof.verdict == "REFUTED" else report.verdict
    return replace(report, proof=proof, verdict=verdict)


def assert_correct(rule: Any, *args: Any, **options: Any) -> None:
    """`check`, for a test: raises AssertionError with the report unless the verdict is PASS.

    Args:
      rule: as `check` takes it.
      args: its arguments, arrays or `Spec`s.
      options: of `check`.

    Returns:
      None, where the verdict is PASS.

    Raises:
      AssertionError: it is FAIL or UNDECIDED; the text is the report.

    Example:
      >>> import manualbp
      >>> from manualbp.verify import Spec, assert_correct
      >>> assert_correct(manualbp.tanh, Spec((3,)), level="quick")
    """
    __tracebackhide__ = True  # pytest shows the line of the test, and the report
    report = check(rule, *args, **options)
    if report.verdict != "PASS":
        raise AssertionError(str(report))


def _definition(rule: Any, subject: Subject, given: Callable | None) -> Callable[..., Any]:
    if given is None and isinstance(rule, Rule):
        given = definition_of(rule)
    if given is None:
        given = subject.definition
    if given is None:
        raise ValueError(
            f"check: expected a definition for {subject.name}, got none: pass definition=, the "
            "function in plain jax.numpy whose gradient this is"
        )
    if isinstance(given, Rule):
        raise ValueError(
            f"check: expected a definition in plain jax.numpy, got the rule {given.name}: its "
            "derivative is hand-written too, and would be compared with itself"
        )
    return given


def _intention(intended: Any) -> tuple[str, Callable | None]:
    """The reason, and the derivative that is meant, of what was given as intended."""
    if intended is None or isinstance(intended, str):
        return intended or "", None
    reason, pull = (
        intended if isinstance(intended, tuple) and len(intended) == 2 else ("", intended)
    )
    if not callable(pull) or not isinstance(reason, str):
        raise TypeError(
            "check: expected intended as a reason, a function (*args, dy) -> cotangents or both, "
            f"got {intended!r}"
        )
    return reason, pull


def _linear(intended: Any, pull: Callable | None) -> bool | None:
    """Whether linearity is asked: of what clips that it is odd; nothing of what is given."""
    return True if intended is None else None if pull is not None else False


# What an intention explains: the gradient itself, and nothing beside it
_GRADIENT_SHAPED = ("exact", "differences")


def _as_intended(report: Report, reason: str) -> Report:
    """The verdict on a rule that is meant not to be the gradient, for a reason."""
    note = f"intended not to be the gradient: {reason}"
    last = report.evidence[-1]
    example = report.counterexample
    explained = (
        report.verdict == "FAIL"
        and last.rung in _GRADIENT_SHAPED
        and example is not None
        and example.argument != "value"
        and not np.any(~np.isfinite(np.asarray(example.got)))
    )
    if report.verdict == "PASS":
        note += "; but nothing that differs from the gradient was found"
    elif report.verdict == "FAIL" and not explained:
        note += "; but what is wrong is not that"
    verdict: Any = {"PASS": "FAIL", "FAIL": "PASS" if explained else "FAIL"}.get(
        report.verdict, report.verdict
    )
    return replace(report, verdict=verdict, notes=(*report.notes, note))


__all__ = ["Level", "assert_correct", "check"]
