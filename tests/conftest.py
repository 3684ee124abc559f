"""JAX as the tests want it; what the verifier needs it sets itself, so that it holds anywhere."""

import functools
import gc

import jax
import pytest
from hypothesis import settings
from jax._src import compiler
from jax._src.interpreters import mlir

from manualbp.verify.ask.problem import quick_options

# A dtype that widens unasked is a bug here: tests mix no dtypes by accident, nor does the library
jax.config.update("jax_numpy_dtype_promotion", "strict")
# Every run compiles what it tests, also where the environment names a cache
jax.config.update("jax_enable_compilation_cache", False)

# The same examples in every run; a first example compiles, so that no deadline can hold
settings.register_profile("deterministic", derandomize=True, deadline=None, database=None)
settings.load_profile("deterministic")


_optimized = True  # until a test begins


def pytest_runtest_setup(item):
    """What is computed is most tests' question; XLA's passes are half of their time.

    Rounding, memory, operation counts and bits are asked of programs as users have them.
    """
    global _optimized
    before, _optimized = _optimized, item.get_closest_marker("optimized") is not None
    if _optimized and not before:
        jax.clear_caches()


_as_usual, _QUICK = compiler.get_compile_options, list(quick_options().items())


def _compile_options(*args, **keywords):
    options = _as_usual(*args, **keywords)
    if not _optimized:
        options.env_option_overrides = [*options.env_option_overrides, *_QUICK]
        options.executable_build_options.debug_options.xla_llvm_disable_expensive_passes = True
    return options


# `compiler_options` of every jax.jit, which JAX has no setting for
compiler.get_compile_options = _compile_options

# A context of MLIR takes longer to make than most tests' programs to write in it
mlir.make_ir_context = functools.cache(mlir.make_ir_context)


def pytest_collection_modifyitems(items):
    # one change from optimized programs to quick ones, as each clears what was compiled
    items.sort(key=lambda item: item.get_closest_marker("optimized") is None)


def pytest_collection_finish(session):
    # what is imported stays, and traced programs are many small objects that stay, too
    gc.freeze()
    gc.set_threshold(100_000, 50, 100)


_compiled: list[str] = []


def _count(event: str, duration: float, **details: object) -> None:
    if event == "/jax/core/compile/backend_compile_duration":
        _compiled.append(event)


jax.monitoring.register_event_duration_secs_listener(_count)


@pytest.fixture
def compilations():
    """A function: how many programs XLA has compiled since the test began."""
    before = len(_compiled)
    return lambda: len(_compiled) - before
