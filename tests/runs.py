"""What tests of training and of saving share: states to the bit, and a slow machine."""

import jax
import jax.numpy as jnp
import numpy as np


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
