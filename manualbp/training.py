"""Training on hand-derived gradients: gradient descent full, stochastic and in mini-batches.

`train` runs an epoch as one compiled loop over batches, in which nothing is differentiated: the
gradient is `loss_and_grad`'s. An optimiser is an (init, update) pair of pure functions, as Optax's
are. The state is a pytree, saved and resumed bit for bit.
"""

import contextlib
import functools
import math
import operator
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from manualbp import losses, saving
from manualbp._checks import brief, finite_leaves, in_range, positive, random_key
from manualbp._rule import Rule, wide_dtype
from manualbp.networks import Network, _check_reduction, weighted_loss_and_grad

Metric = Callable[[jax.Array, jax.Array], jax.Array]

# One call of the compiled loop takes about so long: what Ctrl-C waits for, and a crash can lose
_SECONDS = 1.0
_FIRST_STEPS = 16  # of the first call, when the speed is not known yet


class Optimizer(NamedTuple):
    """Two pure functions, in the shape of Optax's GradientTransformation.

    Attributes:
      init: params -> state.
      update: (gradient, state, params) -> (what to add to params, state).
    """

    init: Callable[[Any], Any]
    update: Callable[..., tuple[Any, Any]]


def gradient_descent(learning_rate: float | Callable[[Any], Any]) -> Optimizer:
    """W <- W - eta dL/dW (note 000, 'Training'; note 001 with eta(t)).

    Args:
      learning_rate: eta, positive; or a schedule, a function of the number of updates so far.

    Returns:
      The optimiser. Its state is that number for a schedule, empty for a constant.

    Raises:
      ValueError: the rate is not positive and finite, or the schedule's first is negative or none.

    Example:
      >>> init, update = gradient_descent(0.1)
      >>> change, state = update(jnp.array([5.0]), init(jnp.array([1.0])))
      >>> float(change[0])
      -0.5
    """
    if not callable(learning_rate):
        return _constant_descent(positive("gradient_descent", "learning_rate", learning_rate))

    schedule = learning_rate
    first = schedule(0)
    try:  # 0 is where a warm-up begins
        ok = np.ndim(first) == 0 and 0 <= float(first) < math.inf
    except (TypeError, ValueError):
        ok = False
    if not ok:
        raise ValueError(
            "gradient_descent: expected a schedule that starts with a finite number of 0 or more, "
            f"got {brief(first)}: give eta(t) for t = 0, 1, ..."
        )

    def update(gradient, count, params=None):
        del params
        eta = schedule(count)
        return jax.tree.map(lambda g: -jnp.asarray(eta, g.dtype) * g, gradient), count + 1

    return Optimizer(lambda params: jnp.zeros((), jnp.int32), update)


@functools.cache  # what is compiled for a rate serves the next training with it
def _constant_descent(rate: float) -> Optimizer:
    def update(gradient, state, params=None):
        del params
        return jax.tree.map(lambda g: -rate * g, gradient), state

    return Optimizer(lambda params: (), update)


class State(NamedTuple):
    """All that a run of `train` goes on from: a pytree.

    Attributes:
      params: of the network.
      optimizer: the optimiser's state.
      sums: the accumulators: the sum of gradients since the last update, and how many examples it
        is of; () where every batch is followed by an update.
      key: of jax.random, from which every order of examples and every draw follows.
      epoch: passes over the data that are finished.
      position: batches done in the epoch under way.
      step: batches done in all.
    """

    params: Any
    optimizer: Any
    sums: Any
    key: Any
    epoch: Any
    position: Any
    step: Any


class History(NamedTuple):
    """What `train` saw, as NumPy arrays; of its own epochs only, where it resumed.

    Attributes:
      step_loss: mean loss of each batch, before its update, shape (steps,).
      loss: mean of those over each epoch, shape (epochs,).
      seconds: spent in training until the end of each epoch, without compilation and evaluation.
      held_out: "loss" and each metric on the held-out data after each epoch.
      compilation: seconds spent in compilation.
    """

    step_loss: np.ndarray
    loss: np.ndarray
    seconds: np.ndarray
    held_out: Mapping[str, np.ndarray]
    compilation: float


class Result(NamedTuple):
    """What `train` returns.

    Attributes:
      state: the last one; train(..., resume=state) goes on from it.
      history: losses, times, metrics.
      stopped: why it ended: "epochs", "steps", "patience" or "interrupted".
    """

    state: State
    history: History
    stopped: str

    @property
    def params(self) -> Any:
        """The trained parameters."""
        return self.state.params


class TrainingError(RuntimeError):
    """Training that cannot go on. Its `result` holds the last good state and the history."""

    def __init__(self, message: str, result: Result):
        super().__init__(message)
        self.result = result


def accuracy_of(loss: Rule) -> Metric | None:
    """What a prediction is right means, for a loss of classes; None for the other losses.

    Args:
      loss: a rule of (prediction, target).

    Returns:
      A function of predictions and targets, first axis the examples, that gives the share of right
      answers of each example (several labels: the share of right labels).
    """
    return _RIGHT.get(loss)


def _integer_right(prediction, y):
    return jnp.argmax(prediction, axis=-1) == y


def _class_right(prediction, y):
    return jnp.argmax(prediction, axis=-1) == jnp.argmax(y, axis=-1)


def _logits_right(prediction, y):
    return (prediction > 0) == (y > 0.5)


def _probabilities_right(prediction, y):
    return (prediction > 0.5) == (y > 0.5)


_RIGHT: dict[Rule, Metric] = {
    losses.softmax_cross_entropy_with_integer_labels: _integer_right,
    losses.negative_log_likelihood: _integer_right,
    losses.softmax_cross_entropy: _class_right,
    losses.cross_entropy: _class_right,
    losses.sigmoid_binary_cross_entropy: _logits_right,
    losses.logistic_loss: _logits_right,
    losses.multilabel_binary_cross_entropy: _logits_right,
    losses.binary_cross_entropy: _probabilities_right,
}


def evaluate(
    network: Network,
    params: Any,
    data: tuple[Any, Any],
    metrics: Mapping[str, Metric] | None = None,
) -> dict[str, float]:
    """Mean loss and metrics on data, compiled once.

    Args:
      network: with a loss.
      params: of the network.
      data: inputs x of shape (examples, inputs), and targets y.
      metrics: functions of (predictions, targets) that give a number an example; "accuracy" where
        the loss is one of classes, if none are given.

    Returns:
      "loss" and each metric, a number each.

    Raises:
      TypeError, ValueError: naming the argument, what was expected, and the remedy.
    """
    x, y = _examples("evaluate", network, "data", data)
    network._validate(params, x, y, None)
    found = _evaluate(network, _named("evaluate", network, metrics), params, x, y)
    return {name: float(value) for name, value in found.items()}


def _named(caller: str, network: Network, metrics: Mapping[str, Metric] | None) -> tuple:
    """Metrics as a hashable value, with the accuracy where none are asked for."""
    if metrics is None:
        right = accuracy_of(network.loss) if network.loss is not None else None
        metrics = {} if right is None else {"accuracy": right}
    if not isinstance(metrics, Mapping) or not all(map(callable, metrics.values())):
        raise TypeError(
            f"{caller}: expected metrics of functions by name, got {brief(metrics)}: pass "
            "{'name': function of (predictions, targets)}"
        )
    return tuple(metrics.items())


@functools.partial(jax.jit, static_argnames=("network", "metrics"))
def _evaluate(network, metrics, params, x, y):
    prediction = network(params, x)
    per_example = jax.vmap(network.loss)(prediction, y)
    wide = wide_dtype(per_example.dtype)
    # a loss of each output: their sum is the example's
    found = {"loss": jnp.sum(per_example, dtype=wide) / x.shape[0]}
    for name, metric in metrics:
        found[name] = jnp.mean(jnp.asarray(metric(prediction, y), wide))
    return found


@dataclass(frozen=True)
class _Plan:
    """What the compiled loop is made for."""

    network: Network
    optimizer: Optimizer
    points: int
    batch_size: int
    update_every: int
    order: str
    reduction: str

    @property
    def batches(self) -> int:
        """Batches of an epoch, the last one smaller where they do not divide the data."""
        return -(-self.points // self.batch_size)

    @property
    def accumulates(self) -> bool:
        """Whether not every batch is followed by an update."""
        return self.update_every > self.batch_size


def batches(
    key: jax.Array, epoch: Any, points: int, batch_size: int, order: str = "shuffle"
) -> tuple[jax.Array, jax.Array]:
    """Which examples `train` takes in an epoch, in which order.

    Args:
      key: the state's.
      epoch: from 0.
      points: examples in the data.
      batch_size: examples a batch.
      order: "shuffle", "sequential" or "sample", as for `train`.

    Returns:
      Indices of shape (batches, batch_size), and how many of each row count, shape (batches,): in
      the last, smaller batch the rest is padding.

    Example:
      >>> indices, counts = batches(jax.random.key(0), 0, 5, 2, "sequential")
      >>> indices.tolist(), counts.tolist()
      ([[0, 1], [2, 3], [4, 4]], [2, 2, 1])
    """
    rows = -(-points // batch_size)
    key = jax.random.fold_in(key, epoch)
    if order == "sample":
        indices = jax.random.randint(key, (rows, batch_size), 0, points)
        return indices, jnp.full(rows, batch_size, jnp.int32)
    every = jnp.arange(points)
    if order == "shuffle":
        every = jax.random.permutation(key, every)
    # padding repeats the last example, with weight 0: of another batch it could be NaN
    indices = jnp.pad(every, (0, rows * batch_size - points), mode="edge")
    counts = jnp.minimum(batch_size, points - batch_size * jnp.arange(rows, dtype=jnp.int32))
    return indices.reshape(rows, batch_size), counts


def _apply(plan: _Plan, state: State, gradient: Any) -> State:
    """One update of the parameters."""
    change, own = plan.optimizer.update(gradient, state.optimizer, state.params)
    params = jax.tree.map(lambda p, u: p + u.astype(p.dtype), state.params, change)
    return state._replace(params=params, optimizer=own)


def _accumulate(plan: _Plan, state: State, gradient: Any, count: Any, last: Any) -> State:
    """Add to the accumulators; every so many examples, and at the end of the data, update."""
    sums, seen = state.sums
    sums = jax.tree.map(lambda s, g: s + _times(g, count), sums, gradient)
    seen = seen + count

    def update(state):
        def whole(s, g):
            return (s / seen.astype(s.dtype) if plan.reduction == "mean" else s).astype(g.dtype)

        state = _apply(plan, state, jax.tree.map(whole, sums, gradient))
        return state._replace(sums=(jax.tree.map(jnp.zeros_like, sums), jnp.zeros_like(seen)))

    due = (seen >= plan.update_every) | last
    return jax.lax.cond(due, update, lambda s: s._replace(sums=(sums, seen)), state)


def _times(gradient: Any, count: Any) -> Any:
    """The sum over a batch from its mean, in the dtype of accumulators."""
    wide = wide_dtype(gradient.dtype)
    return gradient.astype(wide) * count.astype(wide)


def _one_batch(
    plan: _Plan, state: State, key: Any, x: Any, y: Any, count: Any
) -> tuple[State, jax.Array]:
    """The gradient of a batch by hand, and what it does to the state."""
    network = plan.network
    draws = None
    if network.randomized:
        draws = jax.random.fold_in(jax.random.fold_in(key, 2**31), state.step)
    # the mean also where a sum is wanted: float16 would overflow in the sum of a large batch
    weights: Any = 1 / plan.batch_size
    if plan.points % plan.batch_size and plan.order != "sample":
        share = 1 / count.astype(wide_dtype(x.dtype))
        weights = jnp.where(jnp.arange(plan.batch_size, dtype=count.dtype) < count, share, 0)
    loss, gradient = weighted_loss_and_grad(network, state.params, x, y, draws, weights)
    if plan.accumulates:
        last = state.position + 1 == plan.batches
        state = _accumulate(plan, state, gradient, count, last)
    else:
        if plan.reduction == "sum":
            gradient = jax.tree.map(lambda g: _times(g, count).astype(g.dtype), gradient)
        state = _apply(plan, state, gradient)
    loss = loss.astype(wide_dtype(loss.dtype))
    return state._replace(position=state.position + 1, step=state.step + 1), loss


def _run(plan: _Plan, state: State, x: Any, y: Any, stop: int) -> tuple[State, jax.Array]:
    """The state after the batches until `stop`, and their losses."""
    # the key stays as it is, and would be wrapped anew
    rest, seen = _compiled(plan, state._replace(key=None), state.key, x, y, np.int32(stop))
    return rest._replace(key=state.key), seen


@functools.partial(jax.jit, static_argnames=("plan",), donate_argnames=("state",))
def _compiled(plan, state, key, x, y, stop):
    """Batches of the epoch until `stop`, or until a loss is not finite.

    A while loop and no scan over all batches: whole epochs, parts of them and resumed ones are the
    same compiled program, with the same rounding, and it ends where going on is useless.
    """
    indices, counts = batches(key, state.epoch, plan.points, plan.batch_size, plan.order)
    nothing = jnp.zeros(plan.batches, wide_dtype(x.dtype))

    def going(carry):
        state, _, loss = carry
        return (state.position < stop) & jnp.isfinite(loss)

    def body(carry):
        state, seen, _ = carry
        rows, at = indices[state.position], state.position
        inputs, targets = (a.at[rows].get(mode="promise_in_bounds") for a in (x, y))
        state, loss = _one_batch(plan, state, key, inputs, targets, counts[at])
        return state, seen.at[at].set(loss), loss

    state, seen, _ = jax.lax.while_loop(going, body, (state, nothing, nothing[0]))
    ended = state.position == plan.batches
    epoch = jnp.where(ended, state.epoch + 1, state.epoch)
    return state._replace(epoch=epoch, position=jnp.where(ended, 0, state.position)), seen


def train(
    network: Network,
    data: tuple[Any, Any],
    optimizer: Any,
    *,
    epochs: int | None = None,
    steps: int | None = None,
    batch_size: int | Literal["all"] = 32,
    update_every: int | Literal["all"] | None = None,
    order: Literal["shuffle", "sequential", "sample"] = "shuffle",
    reduction: Literal["mean", "sum"] = "mean",
    held_out: tuple[Any, Any] | None = None,
    metrics: Mapping[str, Metric] | None = None,
    patience: int | None = None,
    tolerance: float = 0.0,
    key: jax.Array | None = None,
    params: Any = None,
    resume: State | str | Path | None = None,
    save: str | Path | None = None,
    on_epoch: Callable[[int, Any], object] | None = None,
    progress: bool | None = None,
) -> Result:
    """Train a network on its hand-derived gradient.

    Ctrl-C ends it after the batches under way, with the result until there; a second one at once.

    Args:
      network: with a loss, such as `mlp(...)`.
      data: inputs x of shape (examples, inputs), and targets y as the loss wants them.
      optimizer: `gradient_descent(...)`, or any of Optax.
      epochs: passes over the data, counted from the very first also where a run is resumed.
      steps: batches, counted likewise; whichever comes first.
      batch_size: examples whose gradient is computed at once; the last batch of an epoch may be
        smaller.
      update_every: examples after which the weights are updated, a multiple of batch_size: until
        then gradients are accumulated; "all": at the end of the data. Every batch, if not given.
      order: "shuffle" anew in each epoch, "sequential", or "sample": each batch is drawn from all
        the data, with replacement (note 001, SGD-NEURAL-NET).
      reduction: an update follows the "mean" of the gradients of its examples, or their "sum".
      held_out: like data: evaluated after every epoch.
      metrics: as for `evaluate`.
      patience: stop after so many epochs without a lower loss (held out, if there is that); a
        resumed run counts anew.
      tolerance: a loss is lower if it falls by more than this.
      key: of jax.random, for the initialisation, the order and the draws; key(0) if not given.
      params: to start from; drawn by `network.init` in the dtype of x if not given.
      resume: a state, or the file of one, to go on from, bit for bit, with its own params and key.
      save: where to keep the state: a file that ends in .npz, or a folder (needs orbax-checkpoint).
        Written every few seconds and at the end; what was there is replaced only when the new is
        complete.
      on_epoch: called after every epoch with its number, from 1, and the parameters (NumPy).
      progress: a progress bar on stderr; if not given, where that is a terminal and rich is there.

    Returns:
      The state, the history, and why it stopped.

    Raises:
      TypeError, ValueError: naming the argument, what was expected, and the remedy.
      TrainingError: a loss is not finite, or the state cannot be saved; `.result` has all there is.

    Example:
      >>> import manualbp as bp
      >>> x = jnp.linspace(-1, 1, 64)[:, None]
      >>> network = bp.mlp((1, 16, 1), activation=bp.tanh, loss=bp.squared_error)
      >>> result = train(network, (x, x**2), gradient_descent(0.1), epochs=500)
      >>> bool(result.history.loss[-1] < 0.01)
      True
    """
    x, y = _examples("train", network, "data", data)
    finite_leaves("train", "x", x, "remove such examples, or fill them")
    _check_reduction("train", reduction)
    plan = _Plan(
        network, _optimizer(optimizer), len(x), *_sizes(len(x), batch_size, update_every),
        _choice("order", order, ("shuffle", "sequential", "sample")), reduction,
    )  # fmt: skip
    if epochs is None and steps is None:
        raise ValueError("train: expected epochs or steps, got neither: say epochs=10")
    end = _End(
        _count("epochs", epochs),
        _count("steps", steps),
        _count("patience", patience),
        in_range("train", "tolerance", tolerance, lambda v: v >= 0, "a finite number of 0 or more"),
    )
    fresh = _start(plan, x, key, params)
    state = fresh if resume is None else _resumed(plan, fresh, resume)
    network._validate(state.params, x, y, None)
    if held_out is not None:
        held_out = _examples("train", network, "held_out", held_out)
        network._validate(state.params, *held_out, None)
    elif metrics is not None:
        raise ValueError("train: expected held_out for metrics, got none: pass held_out=(x, y)")
    named = _named("train", network, metrics)
    if on_epoch is not None and not callable(on_epoch):
        raise TypeError(
            f"train: expected on_epoch to be a function of (epoch, params), got {brief(on_epoch)}"
        )

    def look(params):
        return _evaluate(network, named, params, *held_out) if held_out is not None else {}

    keeper = saving.Keeper(save, resume)
    with _interruptible() as interrupted, _bar(progress, epochs, steps, plan) as advance:
        return _train(plan, state, x, y, end, look, keeper, on_epoch, interrupted, advance)


class _End(NamedTuple):
    """When training ends."""

    epochs: int | None
    steps: int | None
    patience: int | None
    tolerance: float


def _train(plan, state, x, y, end, look, keeper, on_epoch, interrupted, advance):
    """The loop of `train`, with everything checked."""
    start, seconds = time.perf_counter(), 0.0
    state, _ = jax.block_until_ready(_run(plan, state, x, y, 0))  # compiles, does nothing
    compilation = time.perf_counter() - start
    log = _Log(compilation)
    done, total, epoch = int(state.position), int(state.step), int(state.epoch)
    # the last state whose loss is known to be finite, and a newer one of which that is not known
    kept = newer = _on_host(state)
    kept_at, pause = time.perf_counter(), _SECONDS
    at_once, best, waited = _FIRST_STEPS, math.inf, 0
    stopped = None
    while stopped is None:
        if end.epochs is not None and epoch >= end.epochs:
            stopped = "epochs"
        elif end.steps is not None and total >= end.steps:
            stopped = "steps"
        elif interrupted():
            stopped = "interrupted"
        if stopped:
            break
        until = min(plan.batches, done + at_once)
        if end.steps is not None:
            until = min(until, done + end.steps - total)
        start = time.perf_counter()
        state, found_losses = _run(plan, state, x, y, until)
        seen = np.asarray(found_losses)[done:until]  # waits for the end of the loop
        took = time.perf_counter() - start
        seconds += took
        if newer is not kept and np.isfinite(seen[0]):
            kept, start = newer, time.perf_counter()
            keeper.save(kept)
            kept_at = time.perf_counter()
            pause = max(_SECONDS, 9 * (kept_at - start))  # at most a tenth of the time for saving
        bad = np.flatnonzero(~np.isfinite(seen))
        if bad.size:
            log.steps.append(seen[: bad[0] + 1])
            bad_step = total + int(bad[0])
            good = _before(plan, kept, x, y, bad_step)
            raise _not_finite(
                plan, good, f"a finite loss, got {seen[bad[0]]}", bad_step, log, keeper
            )
        log.steps.append(seen)
        total += until - done
        at_once = max(1, min(16 * at_once, int((until - done) * _SECONDS / max(took, 1e-6))))
        done = until % plan.batches
        advance(total)
        if done == 0:
            epoch += 1
            found = {k: float(v) for k, v in look(state.params).items()}
            log.epoch(seconds, plan, found)
            if on_epoch is not None:
                on_epoch(epoch, _on_host(state.params))
            latest = found.get("loss", log.loss[-1])
            best, waited = (latest, 0) if latest < best - end.tolerance else (best, waited + 1)
            if end.patience is not None and waited >= end.patience:
                stopped = "patience"
        if newer is kept and time.perf_counter() - kept_at >= pause:
            newer = _on_host(state)
    if log.steps and not _finite(state.params):
        good = _before(plan, kept, x, y, total)
        raise _not_finite(
            plan, good, "finite parameters, got NaN or infinity", total - 1, log, keeper
        )
    return _ended(state, log, stopped, keeper)


class _Log:
    """What becomes the history."""

    def __init__(self, compilation: float):
        self.compilation = compilation
        self.steps: list[np.ndarray] = []
        self.loss: list[float] = []
        self.seconds: list[float] = []
        self.held_out: list[dict[str, float]] = []
        self.began = 0  # how many pieces of `steps` earlier epochs have

    def epoch(self, seconds: float, plan: _Plan, found: dict[str, float]) -> None:
        """Note the end of an epoch."""
        own = np.concatenate(self.steps[self.began :])
        counts = np.full(len(own), plan.batch_size)
        if plan.order != "sample":
            counts[-1] -= plan.batches * plan.batch_size - plan.points
        self.loss.append(float(np.average(own, weights=counts)))
        self.seconds.append(seconds)
        self.held_out.append(found)
        self.began = len(self.steps)

    def history(self) -> History:
        """All of it."""
        names = self.held_out[0] if self.held_out else {}
        return History(
            np.concatenate(self.steps) if self.steps else np.zeros(0),
            np.array(self.loss),
            np.array(self.seconds),
            {name: np.array([found[name] for found in self.held_out]) for name in names},
            self.compilation,
        )


def _ended(state: State, log: _Log, stopped: str, keeper: saving.Keeper) -> Result:
    """The result, with the state saved."""
    result = Result(state, log.history(), stopped)
    try:
        keeper.save(_on_host(state), last=True)
    except OSError as e:
        raise TrainingError(
            f"train: could not save to {keeper.path}: {e.strerror or e}: free space or choose "
            "another place, then manualbp.saving.save(path, error.result.state)",
            result,
        ) from None
    if stopped == "interrupted":
        where = f"; resume={str(keeper.path)!r} goes on from there" if keeper.path else ""
        print(f"train: interrupted after step {int(state.step)}{where}", file=sys.stderr)
    return result


def _not_finite(plan, good, what, step, log, keeper) -> TrainingError:
    """The error that says at which step, with the last good state, saved."""
    result = Result(good, log.history(), "not finite")
    epoch, batch = divmod(step, plan.batches)
    message = (
        f"train: expected {what} at step {step} (batch {batch} of epoch {epoch}, from 0): lower "
        "the learning rate, or look at these examples"
    )
    try:
        keeper.save(_on_host(good), last=True)
    except OSError as e:
        message += f"; the state before it could not be saved: {e.strerror or e}"
    else:
        message += "; the state before it is " + (
            f"in {keeper.path}" if keeper.path else "the error's .result.state"
        )
    return TrainingError(message, result)


def _before(plan: _Plan, kept: State, x: Any, y: Any, bad: int) -> State:
    """The state in which the last finite loss was found: the batches since `kept`, run again."""
    state = _copy(kept)
    while int(state.step) < bad - 1:
        ahead = int(state.position) + bad - 1 - int(state.step)
        state, _ = _run(plan, state, x, y, min(plan.batches, ahead))
    return state


def _finite(tree: Any) -> bool:
    """Whether every number is."""
    return all(np.isfinite(np.asarray(a, np.float64)).all() for a in jax.tree.leaves(tree))


def _on_host(tree: Any) -> Any:
    """A copy of all arrays, which no donation can take away."""
    return jax.tree.map(lambda a: jnp.array(a) if saving.is_key(a) else np.array(a), tree)


def _examples(caller: str, network: Any, argument: str, data: Any) -> tuple[Any, Any]:
    """Inputs and targets."""
    if not isinstance(network, Network):
        raise TypeError(
            f"{caller}: expected a network, got {brief(network)}: make one with manualbp.mlp(...)"
        )
    if not isinstance(data, tuple | list) or len(data) != 2:
        raise TypeError(
            f"{caller}: expected {argument} of inputs and targets, got {brief(data)}: pass (x, y)"
        )
    return network._examples(caller, data[0], data[1])


def _optimizer(given: Any) -> Optimizer:
    """An (init, update) pair, hashable as compilation wants it."""
    pair: Any = given
    if not isinstance(given, tuple):  # such as Optax's MultiSteps
        pair = getattr(given, "init", None), getattr(given, "update", None)
    if len(pair) == 2 and all(map(callable, pair)):
        return Optimizer(*pair)
    raise TypeError(
        f"train: expected an optimizer, a pair (init, update), got {brief(given)}: pass "
        "manualbp.gradient_descent(0.1), or one of Optax"
    )


def _choice(argument: str, value: Any, choices: tuple[str, ...]) -> str:
    if value not in choices:
        names = " or ".join(map(repr, choices))
        raise ValueError(f"train: expected {argument} {names}, got {value!r}")
    return value


def _count(argument: str, value: Any) -> int | None:
    """A positive whole number, or None."""
    if value is None:
        return None
    try:
        found = operator.index(value)
    except TypeError:
        found = 0
    if found < 1 or isinstance(value, bool):
        raise ValueError(
            f"train: expected {argument} to be a positive whole number, got {brief(value)}"
        )
    return found


def _sizes(points: int, batch_size: Any, update_every: Any) -> tuple[int, int]:
    """Examples a batch and an update, as numbers."""
    size = points if batch_size == "all" else _count("batch_size", batch_size)
    if size is None:
        raise ValueError("train: expected a batch_size, got None: say 32, or 'all'")
    if size > points:
        raise ValueError(
            f"train: expected batch_size of at most the {points} examples, got {size}: "
            "say 'all', or give more data"
        )
    if update_every is None:
        return size, size
    if update_every == "all":
        return size, points
    every = _count("update_every", update_every)
    assert every is not None
    if every > points or every % size:
        raise ValueError(
            f"train: expected update_every to be a multiple of batch_size {size} and at most the "
            f"{points} examples, got {every}: change one of them, or say 'all'"
        )
    return size, every


def _start(plan: _Plan, x: jax.Array, key: Any, params: Any) -> State:
    """The state before the first step."""
    key = jax.random.key(0) if key is None else key
    random_key("train", key)
    for_params, for_order = jax.random.split(key)
    if params is None:
        params = plan.network.init(for_params, x.dtype)
    else:
        finite_leaves("train", "params", params)
        tree = jax.tree.structure(jax.eval_shape(lambda: plan.network.init(key, x.dtype)))
        if jax.tree.structure(params) != tree:
            raise ValueError(
                f"train: expected params of the tree that the network's init gives, {tree}, got "
                f"{jax.tree.structure(params)}: start from network.init(key)"
            )
        params = _copy(params)
    sums: Any = ()
    if plan.accumulates:
        wide = lambda p: jnp.zeros(p.shape, wide_dtype(p.dtype))  # noqa: E731
        sums = (jax.tree.map(wide, params), jnp.zeros((), jnp.int32))
    zero = jnp.int32(0)
    own = plan.optimizer.init(params)
    # zeros of an optimiser may be there twice, which donation does not allow
    return _copy(State(params, own, sums, for_order, zero, zero, zero))


def _copy(tree: Any) -> Any:
    """Arrays that may be donated, of dtypes of their own: no Python number's, which could widen."""
    return jax.tree.map(lambda a: jnp.array(a, dtype=jnp.asarray(a).dtype), tree)


def _resumed(plan: _Plan, fresh: State, resume: Any) -> State:
    """The state to go on from, which must be one of this network, optimiser and batches."""
    if isinstance(resume, str | Path):
        state = saving.load(resume, fresh)
    elif isinstance(resume, State):
        saving.fits("train", resume, fresh)
        state = resume
    else:
        raise TypeError(
            f"train: expected resume to be a State or the path of one, got {brief(resume)}: pass "
            "result.state"
        )
    if int(state.position) >= plan.batches:
        raise ValueError(
            f"train: expected a state within the {plan.batches} batches of an epoch, got one at "
            f"batch {int(state.position)}: resume with the same data and batch_size"
        )
    # of the classes that this optimiser has, where only these differ
    return _copy(jax.tree.unflatten(jax.tree.structure(fresh), jax.tree.leaves(state)))


@contextlib.contextmanager
def _interruptible() -> Iterator[Callable[[], bool]]:
    """Whether Ctrl-C was pressed; a second one raises KeyboardInterrupt as ever."""
    pressed: list[int] = []
    before = signal.getsignal(signal.SIGINT)
    # only the main thread may look at signals; what a shell runs in the background ignores this one
    main = threading.current_thread() is threading.main_thread()
    if not main or before in (signal.SIG_IGN, None):
        yield lambda: False
        return

    def note(number, frame):
        pressed.append(number)
        signal.signal(signal.SIGINT, before)

    signal.signal(signal.SIGINT, note)
    try:
        yield lambda: bool(pressed)
    finally:
        signal.signal(signal.SIGINT, before)


@contextlib.contextmanager
def _bar(wanted: bool | None, epochs: int | None, steps: int | None, plan: _Plan) -> Iterator:
    """A function of the steps done, which moves a progress bar where one is wanted."""
    if wanted is None:
        wanted = sys.stderr is not None and sys.stderr.isatty()
    if wanted:
        try:
            from rich.console import Console
            from rich.progress import Progress
        except ImportError:
            wanted = False
    if not wanted:
        yield lambda done: None
        return
    ends = [n for n in (epochs and epochs * plan.batches, steps) if n is not None]
    # what is printed in between goes where it should go, also where that is a file
    console, alike = Console(stderr=True), sys.stdout.isatty()
    with Progress(console=console, transient=True, redirect_stdout=alike) as shown:
        task = shown.add_task("train", total=min(ends))
        yield lambda done: shown.update(task, completed=done)
