"""What tests share: states to the bit, a slow machine, and mistakes told in one line."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest


def bits(tree):
    """Every leaf, so that equal means identical; keys as their numbers."""

    def plain(a):
        key = isinstance(a, jax.Array) and jnp.issubdtype(a.dtype, jax.dtypes.prng_key)
        return np.asarray(jax.random.key_data(a) if key else a)

    return [(a.dtype, a.shape, a.tobytes()) for a in map(plain, jax.tree.leaves(tree))]


class Clock:
    """Each look at it takes a second: as slow a machine as one wants, everywhere."""

    def __init__(self):
        self.now = 0

    def perf_counter(self):
        self.now += 1
        return self.now


def assert_refused(call, expected, caplog, before):
    """A call raises one line that matches, before programs of such names are compiled."""
    with jax.log_compiles(True), pytest.raises((TypeError, ValueError)) as raised:
        call()
    assert re.match(expected, str(raised.value)), str(raised.value)
    assert "\n" not in str(raised.value)
    programs = re.findall(r"Finished XLA compilation of (\S+)", caplog.text)
    assert not re.search(before, " ".join(programs))


def costs(f, *args):
    """Of a compiled program, which is not run: temporary bytes at the peak, and operations."""
    program = jax.jit(f).lower(*args).compile()
    return program.memory_analysis().temp_size_in_bytes, program.cost_analysis()["flops"]
