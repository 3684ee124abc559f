"""Verifying the whole catalogue: every rule of the library through every rung."""

import functools
import gc
import signal
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from multiprocessing import active_children, get_context
from multiprocessing.process import BaseProcess
from typing import Any

import jax

import manualbp
from manualbp._rule import Rule
from manualbp.verify._check import check, with_proof
from manualbp.verify.ask.definitions import base_name, definition_of
from manualbp.verify.ask.domains import in_dtype
from manualbp.verify.ask.problem import Problem
from manualbp.verify.ask.question import problem_of
from manualbp.verify.ask.subject import subject_of
from manualbp.verify.cases import CASES, OF_VECTORS, bound_of, networks
from manualbp.verify.claims import judge_note
from manualbp.verify.evidence import Evidence, Report
from manualbp.verify.floats.line_accuracy import line_accuracy
from manualbp.verify.floats.peers import peer_of
from manualbp.verify.floats.records import recorded
from manualbp.verify.floats.sampled import Accuracy, sampled_accuracy
from manualbp.verify.rungs.contract import DTYPES, portability

# For a proof
_SECONDS_FOR_NETWORKS = 5.0


@dataclass(frozen=True)
class Row:
    """One rule of the catalogue, verified.

    Attributes:
      name: of the rule.
      report: of `check`, strict, in float64; its form is that of the other dtypes, too.
      accuracy: errors in ULPs, by dtype; empty for whole networks.
      verdict: PASS where the report passes and no error is above its bound.
      seconds: that it took.
      measured: the date when its errors were, where they are on record; else nothing.
    """

    name: str
    report: Report
    accuracy: dict[str, Accuracy] = field(default_factory=dict)
    verdict: str = "PASS"
    seconds: float = 0.0
    measured: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Plain Python, for json."""
        return {
            "name": self.name,
            "verdict": self.verdict,
            "seconds": round(self.seconds, 2),
            "report": self.report.to_dict(),
            "ulps on record since": self.measured or None,
            "ulps": {
                dtype: {"bound": bound_of(self.name, dtype)[0]}
                | {
                    part: {"ulps": error.ulps, "at": error.at}
                    for part, error in (
                        ("value", a.value),
                        ("gradient", a.gradient),
                        ("jax.grad", a.autodiff),
                    )
                }
                for dtype, a in self.accuracy.items()
            },
        }


def names() -> tuple[str, ...]:
    """Every rule and network that can be verified, as `manualbp verify` lists them."""
    return (*(rule.name for rule in manualbp.RULES), *networks())


def verify_one(name: str, seed: int = 0, records: str | None = None, again: bool = False) -> Row:
    """One rule of the catalogue, by its full name, through every rung.

    Args:
      name: of the rule or network.
      seed: of the inputs.
      records: a folder of errors that were measured before; None for none.
      again: whether to measure those, too.
    """
    start = time.perf_counter()
    by_name = {rule.name: rule for rule in manualbp.RULES}
    if name not in by_name:
        rule, textbook, args = networks()[name]
        report = _judged(rule, textbook, args, seed)
        # formulas of a batch are too long, and branches too many
        params, *data = args
        one = tuple(replace(spec, shape=spec.shape[1:]) for spec in data)
        problem = problem_of(subject_of(rule), textbook, (params, *one))
        report = with_proof(report, problem, _SECONDS_FOR_NETWORKS)
        return Row(name, report, {}, report.verdict, time.perf_counter() - start)
    rule = by_name[name]
    args, definition = CASES[base_name(rule)], definition_of(rule)
    assert definition is not None
    report = _judged(rule, definition, args, seed)
    report = with_proof(report, problem_of(subject_of(rule), definition, args))
    accuracy, measured = recorded(
        records, name, seed, lambda: _accuracy(rule, definition, seed), again
    )
    verdict = report.verdict
    if any(a.worst > bound_of(name, dtype)[0] for dtype, a in accuracy.items()):
        verdict = "FAIL"
    return Row(name, report, accuracy, verdict, time.perf_counter() - start, measured)


def _judged(rule: Rule, definition: Callable[..., Any], args: tuple, seed: int) -> Report:
    """What this library holds its own rules to: no digit lost, and the form of every dtype."""
    args = in_dtype(args, "float64")  # the other dtypes' digits are counted in ULPs
    report = check(rule, *args, definition=definition, seed=seed, strict=True)
    return with_form_everywhere(report, problem_of(subject_of(rule), definition, args))


def with_form_everywhere(report: Report, problem: Problem) -> Report:
    """The report, which fails where the form is broken in another dtype than the one asked for."""
    with jax.enable_x64(True), jax.numpy_dtype_promotion("standard"):
        broken = portability(problem)
    if not broken:
        return report
    text = "; ".join(f"in {dtype}: {why}" for dtype, why in broken.items())
    evidence = (*report.evidence, Evidence("contract", "FAIL", text, len(broken)))
    return replace(report, verdict="FAIL", evidence=evidence)


def _accuracy(rule: Rule, definition: Callable, seed: int) -> dict[str, Accuracy]:
    peer = peer_of(rule)
    assert peer is not None
    if base_name(rule) not in OF_VECTORS:
        # float32 first: its check of the float64 form is that of half precision
        order = sorted(DTYPES, key=lambda d: d != "float32")
        return {d: line_accuracy(rule, peer, d, definition, seed) for d in order}
    args = in_dtype(CASES[base_name(rule)], "float64")
    problem = problem_of(subject_of(rule), definition, args)
    return {d: sampled_accuracy(problem, d, peer, seed=seed) for d in DTYPES}


def verify_all(
    chosen: Sequence[str],
    notes: Sequence[str],
    jobs: int,
    cache: str | None = None,
    seed: int = 0,
    records: str | None = None,
    again: bool = False,
) -> Iterator[Row | list[dict[str, Any]]]:
    """A row for each rule, and the judgements of each lecture note, as they are done.

    Args:
      chosen: full names of rules.
      notes: numbers of lecture notes.
      jobs: processes, this one among them.
      cache: a folder for JAX's persistent compilation cache in these processes.
      seed: of the inputs.
      records: a folder of errors that were measured before; None for none.
      again: whether to measure those, too.
    """
    # the slow ones first, so that no process waits for one at the end
    whole = networks()
    order = sorted(chosen, key=lambda n: (n not in whole, "softmax" not in n, "entropy" not in n))
    one = functools.partial(verify_one, records=records, again=again)
    work: list[tuple[Callable[..., Any], str]] = [(one, n) for n in order if n in whole]
    work += [(judge_note, name) for name in notes]
    work += [(one, name) for name in order if name not in whole]
    if jobs <= 1 or len(work) == 1:
        _use_cache(cache)
        for function, name in work:
            yield function(name, seed)
        return
    _use_cache(cache)
    others = set(active_children())
    pool = ProcessPoolExecutor(
        min(jobs, len(work)) - 1, get_context("spawn"), initializer=_use_cache, initargs=(cache,)
    )
    try:
        with _interrupts_ignored():
            submitted = [pool.submit(f, name, seed) for f, name in work]
        # this process, which has JAX loaded already, takes from the end what no other has begun
        for future, (function, name) in reversed(list(zip(submitted, work, strict=True))):
            if future.cancel():
                yield function(name, seed)
        for future in as_completed(f for f in submitted if not f.cancelled()):
            yield future.result()
    except BaseException:  # Ctrl-C above all: no process finishes what it does
        threading.Timer(0.1, _end, [set(active_children()) - others]).start()
        pool.shutdown(cancel_futures=True)  # first, so that it misses none of what is cancelled
        raise
    pool.shutdown()


def _end(processes: Iterable[BaseProcess]) -> None:
    for process in processes:
        process.terminate()


@contextmanager
def _interrupts_ignored() -> Iterator[None]:
    """Processes that start meanwhile leave Ctrl-C to this one, which ends them."""
    if threading.current_thread() is not threading.main_thread():  # where none can be ignored
        yield
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _use_cache(folder: str | None) -> None:
    """In a process of the command line's own."""
    # what is imported stays, and traced programs are many small objects that stay, too
    gc.freeze()
    gc.set_threshold(100_000, 50, 100)
    if folder is not None:
        jax.config.update("jax_compilation_cache_dir", folder)
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)
        jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)
