"""Epochs a second: manualbp against JAX with Optax, Flax, PyTorch and scikit-learn.

The same multilayer perceptron (ReLU, softmax cross-entropy, plain stochastic gradient descent, data
shuffled anew in every epoch, float32) on the same data. All run in one process, in turn, each for
about as long; medians of the rounds. Compilation and first calls are timed apart.

    pip install "manualbp[benchmark]"
    python experiments/bench_training.py            all, about six minutes on two cores
    python experiments/bench_training.py --quick    the digits, three rounds

PyTorch for CPUs alone: pip install torch --index-url https://download.pytorch.org/whl/cpu
"""

import functools
import statistics
import time
import warnings

import jax
import jax.numpy as jnp
import numpy as np
import optax
from common import keep, options, plt, show
from rich.progress import track
from sklearn.datasets import load_digits

import manualbp as bp

RATE = 0.05


def digits():
    """1,536 of scikit-learn's digits, 48 batches of 32."""
    x, y = load_digits(return_X_y=True)
    return (64, 128, 10), (x[:1536] / 16).astype(np.float32), y[:1536].astype(np.int32)


def like_mnist(seed=0, points=10_240):
    """Made-up data of MNIST's shape: a random image a class, with noise."""
    random = np.random.default_rng(seed)
    y = random.integers(0, 10, points, np.int32)
    centres = random.random((10, 784), np.float32)
    noise = random.standard_normal((points, 784), np.float32)
    return (784, 256, 128, 10), centres[y] + 0.5 * noise, y


def by_hand(widths, x, y, batch):
    """manualbp.train."""
    network = bp.mlp(widths, init=bp.initializers.he)
    data, state, losses = (jnp.asarray(x), jnp.asarray(y)), None, []

    def run(epochs):
        nonlocal state
        done = 0 if state is None else int(state.epoch)
        result = bp.train(
            network, data, bp.gradient_descent(RATE),
            epochs=done + epochs, batch_size=batch, resume=state, progress=False,
        )  # fmt: skip
        state = result.state
        losses.append(result.history.loss[-1])
        return losses[-1]

    return run


def _initial(widths):
    """Weights of He et al. 2015, as all of them start."""
    network = bp.mlp(widths, init=bp.initializers.he)
    return [(np.array(p.w), np.array(p.b)) for p in network.init(jax.random.key(0))[::2]]


def _cross_entropy(logits, y):
    return optax.softmax_cross_entropy_with_integer_labels(logits, y).mean()


def _scanned(step, carry, x, y, batch):
    """An epoch as one compiled scan: step(carry, x, y) -> (carry, loss)."""
    x, y = jnp.asarray(x), jnp.asarray(y)

    @functools.partial(jax.jit, donate_argnums=0)
    def epoch(carry, key, x, y):
        order = jax.random.permutation(key, len(x)).reshape(-1, batch)
        return jax.lax.scan(lambda c, i: step(c, x[i], y[i]), carry, order)

    key = jax.random.key(0)

    def run(epochs):
        nonlocal carry, key
        for _ in range(epochs):
            key, own = jax.random.split(key)
            carry, losses = epoch(carry, own, x, y)
            loss = float(losses.mean())
        return loss

    return run


def jax_scanned(widths, x, y, batch):
    """JAX written plainly, jax.value_and_grad and optax.sgd, an epoch as one compiled scan."""
    optimizer = optax.sgd(RATE)
    params = jax.tree.map(jnp.asarray, _initial(widths))

    def loss(params, x, y):
        for i, (w, b) in enumerate(params):
            x = x @ w + b
            if i < len(params) - 1:
                x = jax.nn.relu(x)
        return _cross_entropy(x, y)

    def step(carry, x, y):
        params, state = carry
        value, gradient = jax.value_and_grad(loss)(params, x, y)
        change, state = optimizer.update(gradient, state, params)
        return (optax.apply_updates(params, change), state), value

    return _scanned(step, (params, optimizer.init(params)), x, y, batch)


def _flax(widths):
    """The network in Flax, with the same weights."""
    from flax import nnx

    layers = []
    for w, b in _initial(widths):
        layer = nnx.Linear(*w.shape, rngs=nnx.Rngs(0))
        layer.kernel[...], layer.bias[...] = jnp.asarray(w), jnp.asarray(b)
        layers += [layer, nnx.relu]
    model = nnx.Sequential(*layers[:-1])
    return nnx, model, nnx.Optimizer(model, optax.sgd(RATE), wrt=nnx.Param)


def flax_steps(widths, x, y, batch):
    """Flax (nnx) as its tutorials have it: a compiled step, a loop in Python."""
    nnx, model, optimizer = _flax(widths)
    random = np.random.default_rng(0)

    @nnx.jit
    def step(model, optimizer, x, y):
        loss, gradient = nnx.value_and_grad(lambda m: _cross_entropy(m(x), y))(model)
        optimizer.update(model, gradient)
        return loss

    def run(epochs):
        for _ in range(epochs):
            order = random.permutation(len(x)).reshape(-1, batch)
            losses = [step(model, optimizer, x[i], y[i]) for i in order]
            loss = float(jnp.stack(losses).mean())
        return loss

    return run


def flax_scanned(widths, x, y, batch):
    """Flax (nnx) split into arrays, an epoch as one compiled scan."""
    nnx, model, optimizer = _flax(widths)
    graph, arrays = nnx.split((model, optimizer))

    def step(arrays, x, y):
        model, optimizer = nnx.merge(graph, arrays)
        loss, gradient = nnx.value_and_grad(lambda m: _cross_entropy(m(x), y))(model)
        optimizer.update(model, gradient)
        return nnx.split((model, optimizer))[1], loss

    return _scanned(step, arrays, x, y, batch)


def pytorch(widths, x, y, batch):
    """PyTorch, eager, on as many threads as it takes by default."""
    import torch

    layers = []
    for w, b in _initial(widths):
        layer = torch.nn.Linear(*w.shape)
        layer.weight.data, layer.bias.data = torch.tensor(w.T.copy()), torch.tensor(b)
        layers += [layer, torch.nn.ReLU()]
    model = torch.nn.Sequential(*layers[:-1])
    optimizer = torch.optim.SGD(model.parameters(), RATE)
    criterion = torch.nn.CrossEntropyLoss()
    inputs, targets = torch.tensor(x), torch.tensor(y.astype(np.int64))

    def run(epochs):
        for _ in range(epochs):
            losses = []
            for i in torch.randperm(len(inputs)).split(batch):
                optimizer.zero_grad()
                loss = criterion(model(inputs[i]), targets[i])
                loss.backward()
                optimizer.step()
                losses.append(loss.detach())
            mean = torch.stack(losses).mean().item()
        return mean

    return run


def scikit_learn(widths, x, y, batch):
    """MLPClassifier; its own Glorot initialisation, and no momentum."""
    from sklearn.neural_network import MLPClassifier

    model = MLPClassifier(
        widths[1:-1], solver="sgd", alpha=0, batch_size=batch, learning_rate_init=RATE,
        momentum=0, random_state=0,
    )  # fmt: skip

    def run(epochs):
        for _ in range(epochs):
            model.partial_fit(x, y, classes=np.arange(10))
        return model.loss_

    return run


CONTENDERS = {
    "manualbp": by_hand,
    "JAX + Optax, scanned": jax_scanned,
    "Flax + Optax, scanned": flax_scanned,
    "Flax + Optax, steps": flax_steps,
    "PyTorch, eager": pytorch,
    "scikit-learn": scikit_learn,
}


def measure(widths, x, y, batch, rounds, seconds):
    """Median seconds an epoch, seconds of the first epoch, and the last loss of each contender."""
    runs, first, each = {}, {}, {}
    for name, make in CONTENDERS.items():
        run = make(widths, x, y, batch)
        start = time.perf_counter()
        run(1)
        first[name] = time.perf_counter() - start
        start = time.perf_counter()
        run(2)
        # epochs a round: enough that a round takes `seconds`
        each[name] = max(1, int(seconds / ((time.perf_counter() - start) / 2)))
        runs[name] = run
    times = {name: [] for name in runs}
    losses = {}
    for r in range(rounds):
        for name in list(runs)[:: 1 if r % 2 else -1]:  # nobody always runs after the same
            start = time.perf_counter()
            losses[name] = runs[name](each[name])
            times[name].append((time.perf_counter() - start) / each[name])
    return {
        name: {
            "epochs_per_second": 1 / statistics.median(times[name]),
            "first_epoch_seconds": first[name],
            "epochs": 3 + rounds * each[name],
            "last_loss": losses[name],
        }
        for name in runs
    }


def main():
    parser = options(__doc__, rounds=7, seconds=1.7)
    parser.add_argument("--quick", action="store_true", help="the digits alone, three rounds")
    args = parser.parse_args()
    if args.rounds < 1 or not args.seconds > 0:
        parser.error("--rounds and --seconds: expected positive numbers")
    warnings.filterwarnings("ignore", category=FutureWarning)
    rounds = 3 if args.quick else args.rounds
    tasks = {"digits": digits()}
    if not args.quick:
        tasks["784-256-128-10"] = like_mnist(args.seed)
    cases = [(task, batch) for task in tasks for batch in (32, 256)]
    found = {}
    for task, batch in track(cases, description="rounds", transient=True):
        found[f"{task}, batch {batch}"] = measure(*tasks[task], batch, rounds, args.seconds)
    rows = []
    for name in CONTENDERS:
        cells = [
            f"{case[name]['epochs_per_second']:.1f} "
            f"({case['manualbp']['epochs_per_second'] / case[name]['epochs_per_second']:.2f})"
            for case in found.values()
        ]
        compiling = max(case[name]["first_epoch_seconds"] for case in found.values())
        rows.append((name, *cells, f"{compiling:.2f}"))
    show(
        "epochs a second (in brackets: manualbp is so many times as fast)",
        ("", *found, "first epoch, s"),
        rows,
    )
    figure, axes = plt.subplots(1, len(found), figsize=(3.2 * len(found), 3.2), squeeze=False)
    for axis, (title, case) in zip(axes[0], found.items(), strict=True):
        axis.barh(list(case), [v["epochs_per_second"] for v in case.values()])
        axis.set(title=title, xlabel="epochs / second")
        axis.invert_yaxis()
        if axis is not axes[0, 0]:
            axis.set_yticklabels([])
    keep(args.out, "bench_training", figure, {"rounds": rounds, "cases": found})


if __name__ == "__main__":
    main()
