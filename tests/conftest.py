"""JAX as the tests want it; what the verifier needs it sets itself, so that it holds anywhere."""

import jax
import pytest
from hypothesis import settings

# A dtype that widens unasked is a bug here: tests mix no dtypes by accident, nor does the library
jax.config.update("jax_numpy_dtype_promotion", "strict")
# Every run compiles what it tests, also where the environment names a cache
jax.config.update("jax_enable_compilation_cache", False)

# The same examples in every run; a first example compiles, so that no deadline can hold
settings.register_profile("deterministic", derandomize=True, deadline=None, database=None)
settings.load_profile("deterministic")


def pytest_runtest_setup(item):
    """What is computed is most tests' question; XLA's passes are half of their time.

    Rounding, memory, operation counts and bits are asked of programs as users have them.
    """
    quickly = item.get_closest_marker("optimized") is None
    jax.config.update("jax_disable_most_optimizations", quickly)


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
