"""A row of the table, and the arrays that rows are written with."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import jax.numpy as jnp
import numpy as np


@dataclass(frozen=True)
class Row:
    """One rule of a package, asked as its users call it.

    Attributes:
      rule: where it is, as `walk.find` reads it; one that is made when it is wanted has a name
        of its own after "module:".
      args: makes the arguments, in the dtypes that users pass.
      truth: "right" and "wrong" as measured without manualbp; "intended" where what the rule
        gives is meant not to be the gradient; "unknown" where neither way has an answer.
      why: what was seen by hand, where autodiff and differences do not settle it or differ, and
        the reason of what is intended.
      make: makes the rule, where no module holds it.
      definition: where it is not the undecorated function.
      argnums: of the arguments to differentiate, where not all floating ones.
      near: whether points near the row's own make sense; a kink or a permutation has none.
      beyond: what the rule is meant to be at other arguments than a user's, where that is not the
        gradient: asked to explore, the judge is to refuse it.
      order: 1 where the rule is for first derivatives alone, and says so.
      in64: whether it takes float64, in which the truth is found where it does.
      label: tells rows of one rule apart.
    """

    rule: str
    args: Callable[[], tuple]
    truth: Literal["right", "wrong", "intended", "unknown"] = "right"
    why: str = ""
    make: Callable[[], Any] | None = None
    definition: Callable | None = None
    argnums: tuple[int, ...] | None = None
    near: bool = True
    label: str = ""
    in64: bool = True
    beyond: str = ""
    order: int = 2

    @property
    def name(self) -> str:
        return f"{self.rule} {self.label}".strip()

    @property
    def package(self) -> str:
        return self.rule.split(":")[0].split(".")[0]


DIFFERENCES = "autodiff of the program has no answer (a loop, a primitive); differences agree"
CLIPPED = "the slope next to -1 and 1, and beyond, is that of a clipped argument"


def normal(*shape: int, seed: int = 0) -> Any:
    return jnp.asarray(np.random.default_rng(seed).normal(size=shape), jnp.float32)


def between(low: float, high: float, *shape: int, seed: int = 0) -> Any:
    return jnp.asarray(np.random.default_rng(seed).uniform(low, high, size=shape), jnp.float32)


def positive(*shape: int, seed: int = 0) -> Any:
    return between(0.3, 2.5, *shape, seed=seed)


def unit(*shape: int, seed: int = 0) -> Any:
    return between(0.1, 0.9, *shape, seed=seed)


def complex_normal(*shape: int, seed: int = 0) -> Any:
    rng = np.random.default_rng(seed)
    return jnp.asarray(rng.normal(size=shape) + 1j * rng.normal(size=shape), jnp.complex64)


def definite(n: int, *batch: int, seed: int = 0) -> Any:
    a = np.random.default_rng(seed).normal(size=(*batch, n, n))
    return jnp.asarray(a @ np.swapaxes(a, -1, -2) / n + np.eye(n), jnp.float32)


def f32(*values: Any) -> Any:
    return jnp.asarray(values[0] if len(values) == 1 else values, jnp.float32)


def i32(*values: Any) -> Any:
    return jnp.asarray(values[0] if len(values) == 1 else values, jnp.int32)
