"""JAX as the tests want it; what the verifier needs it sets itself, so that it holds anywhere."""

import jax

# A dtype that widens unasked is a bug here: tests mix no dtypes by accident, nor does the library
jax.config.update("jax_numpy_dtype_promotion", "strict")
# Every run compiles what it tests, also where the environment names a cache
jax.config.update("jax_enable_compilation_cache", False)
