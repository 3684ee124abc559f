"""The one abstraction: a rule is a function beside its hand-derived backward pass."""

import functools
import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np

from manualbp._checks import Array, brief, floating, numbers


@dataclass(frozen=True)
class Rule:
    """A function and its gradient, derived by hand.

    Calling a rule gives the value, as a JAX function whose reverse-mode derivative is `bwd`:
    it goes through jit, vmap, scan, grad, and grad of grad. It has no forward mode
    (`jax.jvp`, `jax.jacfwd`): that is a limit of `jax.custom_vjp`.

    Attributes:
      name: the name by which the reference defines it; a factory adds its hyperparameters, as
        in `leaky_relu(slope=0.01)`.
      fwd: `fwd(*args) -> (y, residuals)`.
      bwd: `bwd(residuals, dy) -> cotangents`, a tuple with one cotangent per argument, of the
        argument's tree, shapes and dtypes (`float0` for integers).
      tex: the equation of y and of its derivatives, with the value chosen at each kink.
      source: lecture note, book or paper, with the place.
      kink: where it is not differentiable: the zero set of `kink(*args)`.
      saves: what the residuals are, and why.
      validate: checks of values, which only concrete arguments allow; called before tracing.
      parts: the rules that a chain composes, first to last; a rule of its own has none.
      second: y'' of a rule that acts entry by entry, from the residuals; 0 where it
        vanishes wherever it exists. None: not known, and `second_order` refuses the rule.

    Example:
      >>> import jax, manualbp
      >>> print(f"{jax.grad(manualbp.sigmoid)(20.0):.3g}")   # jax.grad(jax.nn.sigmoid) gives 0
      2.06e-09
    """

    name: str
    fwd: Callable[..., tuple[Any, Any]]
    bwd: Callable[[Any, Any], tuple]
    tex: str
    source: str
    kink: Callable[..., Any] | None = None
    saves: str = ""
    validate: Callable[..., None] | None = None
    # fwd and bwd say already which rule it is
    parts: tuple["Rule", ...] = field(default=(), compare=False)
    second: Callable[[Any], Any] | Literal[0] | None = None

    def __call__(self, *args: Any) -> Any:
        expected = argument_names(self)
        if len(args) != len(expected):
            raise TypeError(
                f"{self.name}: expected {len(expected)} arguments ({', '.join(expected)}), "
                f"got {len(args)}"
            )
        for argument, arg in zip(expected, args, strict=True):
            numbers(self.name, argument, arg)
        if self.validate is not None:
            self.validate(*args)
        return self._differentiable(*args)

    def __repr__(self) -> str:
        return f"Rule({self.name})"

    @functools.cached_property
    def _differentiable(self) -> Callable[..., Any]:
        def call(*args: Any) -> Any:
            return self.fwd(*args)[0]

        call.__name__ = call.__qualname__ = self.name
        differentiable = jax.custom_vjp(call)
        differentiable.defvjp(self.fwd, self.bwd)
        return differentiable


def argument_names(rule: Rule) -> tuple[str, ...]:
    """The names of a rule's arguments, which are those of its `fwd`.

    >>> import manualbp
    >>> argument_names(manualbp.dense)
    ('params', 'x')
    """
    return tuple(inspect.signature(rule.fwd).parameters)


def described(rule: Any) -> str:
    """A rule's name and arguments, for a message; what came, where it is none."""
    if isinstance(rule, Rule):
        return f"{rule.name} of ({', '.join(argument_names(rule))})"
    return brief(rule)


def only_rules(caller: str, what: str, given: Sequence[Any], example: str) -> None:
    """Raise TypeError at the first that is no rule."""
    for rule in given:
        if not isinstance(rule, Rule):
            raise TypeError(
                f"{caller}: expected {what}, got {brief(rule)}: pass a rule such as "
                f"manualbp.{example}, and call a factory such as manualbp.elu()"
            )


def named(name: str, **hyperparameters: float | None) -> str:
    """The name of a rule made by a factory, from which the reference rebuilds its definition."""
    return f"{name}({', '.join(f'{key}={value!r}' for key, value in hyperparameters.items())})"


def wide_dtype(dtype: Any) -> Any:
    """float32 for half precision, which computes inside in it and rounds once; else itself."""
    return jnp.float32 if jnp.finfo(dtype).bits < 32 else dtype


def widen(x: Array) -> Array:
    """x in the dtype that it computes in."""
    return x.astype(wide_dtype(x.dtype))


def sum_to(x: Array, shape: tuple[int, ...]) -> Array:
    """Undo broadcasting: sum x over the axes along which `shape` was broadcast to it.

    Args:
      x: a cotangent of the broadcast array.
      shape: of the array before it was broadcast.

    Returns:
      The sum, of that shape.

    Raises:
      ValueError: no array of that shape broadcasts to x.

    >>> sum_to(jnp.ones((5, 3)), (3,))
    Array([5., 5., 5.], dtype=float32)
    """
    if x.shape == shape:
        return x
    if len(shape) > x.ndim or any(
        n not in (1, m) for n, m in zip(shape, x.shape[x.ndim - len(shape) :], strict=True)
    ):
        raise ValueError(
            f"sum_to: expected a shape {shape} that broadcasts to x, got x of shape {x.shape}"
        )
    new = x.ndim - len(shape)
    stretched = [new + i for i, n in enumerate(shape) if n == 1 and x.shape[new + i] != 1]
    return jnp.sum(x, axis=(*range(new), *stretched)).reshape(shape)


def align(x: Array, ndim: int) -> Array:
    """x with leading axes of length 1, so that it broadcasts without rank promotion.

    >>> align(jnp.ones(3), 2).shape
    (1, 3)
    """
    return x.reshape((1,) * (ndim - x.ndim) + x.shape) if 0 < x.ndim < ndim else x


def no_cotangent(x: Any) -> Any:
    """The cotangent of an integer argument: zeros of JAX's dtype without information."""
    return np.zeros(jnp.shape(x), jax.dtypes.float0)


def elementwise(
    name: str,
    value: Callable[[Array], Array],
    derivative: Callable[[Array], Array],
    *,
    tex: str,
    source: str,
    saves: str = "x",
    half: Callable[[Array], Array] | None = None,
    kink: Callable[[Array], Array] | None = None,
    second: Callable[[Array], Array] | Literal[0] | None = None,
) -> Rule:
    r"""A rule of one array, applied entry by entry: dz = dy * derivative.

    Args:
      name: its name.
      value: y from z.
      derivative: dy/dz from z (saves="x") or from y (saves="y"). A boolean derivative is an
        indicator: dy passes where it holds.
      tex: the equation of y and y'.
      source: where they stand.
      saves: "x", or "y" where the output has not lost what the derivative needs: the next
        layer keeps that array anyway.
      half: where saves="y", dy/dz from z for half precision, whose rounded output has lost what
        the derivative needs; z is saved there.
      kink: its zero set is where y' does not exist.
      second: d2y/dz2 from z or y, whichever saves says, or 0, for those who want Hessians
        (`second_order`).

    Returns:
      The rule.

    Example:
      >>> square = elementwise("square", lambda z: z * z, lambda z: 2 * z,
      ...                      tex=r"z^2, \quad y' = 2z", source="calculus")
      >>> print(jax.grad(square)(3.0))
      6.0
    """
    if saves not in ("x", "y"):
        raise ValueError(f"elementwise: expected saves='x' or saves='y', got {saves!r}")

    def is_half(dtype):
        return wide_dtype(dtype) != dtype

    def fwd(z):
        z = floating(name, "z", z)
        y = value(widen(z)).astype(z.dtype)
        from_output = saves == "y" and not (half and is_half(z.dtype))
        return y, y if from_output else z

    def bwd(saved, dy):
        # computed anew: what fwd has in common with it XLA would keep, one more array a layer
        saved = jax.lax.optimization_barrier(saved)
        slope = (half if half and is_half(saved.dtype) else derivative)(widen(saved))
        if slope.dtype == bool:
            return (jnp.where(slope, dy, jnp.where(jnp.isnan(saved), saved, 0)),)
        return ((widen(dy) * slope).astype(dy.dtype),)

    kept = {"x": "the input z", "y": "the output, which the next layer keeps anyway"}[saves]

    def bend(saved):
        wide = widen(saved)
        return second(value(wide) if half and is_half(saved.dtype) else wide)  # type: ignore

    known = bend if callable(second) else second
    return Rule(name, fwd, bwd, tex, source, kink, kept, second=known)


def chain(*rules: Rule) -> Rule:
    """The composition of rules, first to last, and its backward pass, last to first.

    Arguments are `(params, x)`: `params` has one entry a rule, `()` for a rule of x alone. Where
    no rule has parameters, the only argument is x.

    Args:
      rules: each of (x) or (params, x).

    Returns:
      The rule of the composition.

    Raises:
      TypeError, ValueError: no rule, something that is none, or one of other arguments.

    >>> import manualbp
    >>> block = chain(manualbp.dense, manualbp.tanh)
    >>> params = (manualbp.Dense(jnp.ones((3, 2)), jnp.zeros(2)), ())
    >>> print(block(params, jnp.zeros(3)))
    [0. 0.]
    """
    if not rules:
        raise ValueError("chain: expected at least one rule, got none")
    only_rules("chain", "rules", rules, "relu")
    for rule in rules:
        if len(argument_names(rule)) not in (1, 2):
            raise ValueError(
                f"chain: expected rules of (x) or (params, x), got {described(rule)}: "
                "close over its other arguments"
            )
    has_params = tuple(len(argument_names(rule)) == 2 for rule in rules)
    name = f"chain({', '.join(rule.name for rule in rules)})"

    def forward(params, x):
        given = len(params) if isinstance(params, tuple | list) else brief(params)
        if given != len(rules):
            raise ValueError(
                f"{name}: expected params with {len(rules)} entries, one a rule, "
                f"got {given}: put () for a rule without parameters"
            )
        saved = []
        for rule, own, has in zip(rules, params, has_params, strict=True):
            x, residuals = rule.fwd(own, x) if has else rule.fwd(x)
            saved.append(residuals)
        return x, tuple(saved)

    def backward(saved, dy):
        cotangents = []
        for rule, residuals in zip(reversed(rules), reversed(saved), strict=True):
            *own, dy = rule.bwd(residuals, dy)
            cotangents.append(own[0] if own else ())
        return tuple(reversed(cotangents)), dy

    def fwd(x):
        return forward(((),) * len(rules), x)

    def bwd(saved, dy):
        return backward(saved, dy)[1:]

    with_params = any(has_params)
    return Rule(
        name,
        forward if with_params else fwd,
        backward if with_params else bwd,
        tex=r"y = f_n(\cdots f_1(x)), \quad dx_i = (\partial f_i / \partial x_i)^T dx_{i+1}",
        source="note 001, 'Informal Derivation: Application of Chain Rule'; note 000, "
        "'Earlier Layers'",
        saves="the residuals of each rule",
        parts=rules,
    )


def checkpointed(rule: Rule) -> Rule:
    """The same rule, which keeps its arguments alone and makes its residuals again to go back.

    The backward pass runs `rule.fwd` once more (Chen et al. 2016, arXiv:1604.06174). Worth it for
    a chain, a block of a deep network. A random draw follows its key, and is the same.

    Args:
      rule: any rule.

    Returns:
      A rule of the same arguments, value and gradients. Where all of dy is 0, so are they.

    Raises:
      TypeError: it is no rule.

    >>> import manualbp
    >>> block = chain(manualbp.tanh, manualbp.silu, manualbp.tanh)
    >>> [len(b.fwd(jnp.ones(3))[1]) for b in (block, checkpointed(block))]
    [3, 1]
    """
    only_rules("checkpointed", "a rule", (rule,), "dense")

    def fwd(*args):
        return rule.fwd(*args)[0], args

    def bwd(args, dy):
        def again(args, dy):
            cotangents = rule.bwd(rule.fwd(*args)[1], dy)
            # XLA has no array of float0
            return jax.tree.map(
                lambda d: jnp.zeros(d.shape, bool) if d.dtype == jax.dtypes.float0 else d,
                cotangents,
            )

        def nothing(args, dy):
            form = jax.eval_shape(again, args, dy)
            return jax.tree.map(lambda d: jnp.zeros(d.shape, d.dtype), form)

        # XLA does not merge a branch with the first pass; on CPUs an optimization_barrier is
        # dropped before it merges what is common
        found = jax.lax.cond(jnp.any(dy != 0), again, nothing, args, dy)
        return jax.tree.map(lambda d: no_cotangent(d) if d.dtype == bool else d, found)

    fwd.__signature__ = inspect.signature(rule.fwd)  # type: ignore[attr-defined]
    return replace(rule, fwd=fwd, bwd=bwd, saves="the arguments; the residuals are made again")
