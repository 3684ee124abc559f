"""Who runs in the race of training: each makes run(epochs) -> mean loss of the last epoch.

Frameworks are imported where they are used: a process starts only the one that runs in it. All
start from the same weights but scikit-learn, and shuffle with a generator of their own.
"""

import functools
import itertools

import numpy as np
from torch_side import choose_threads, made_of

RATE = 0.05


def by_hand(widths, x, y, batch):
    """manualbp.train."""
    import jax
    import jax.numpy as jnp

    import manualbp as bp

    network = bp.mlp(widths)
    form = jax.tree.structure(jax.eval_shape(network.init, jax.random.key(0)))
    params = jax.tree.unflatten(form, map(jnp.asarray, sum(_initial(widths), ())))
    data, start = (jnp.asarray(x), jnp.asarray(y)), {"params": params}

    def run(epochs):
        nonlocal start
        done = int(start["resume"].epoch) if "resume" in start else 0
        result = bp.train(
            network, data, bp.gradient_descent(RATE),
            epochs=done + epochs, batch_size=batch, progress=False, **start,
        )  # fmt: skip
        start = {"resume": result.state}
        return float(result.history.loss[-1])

    return run


def _initial(widths):
    """Weights of He et al. 2015, by NumPy, and biases of 0."""
    random, pairs = np.random.default_rng(0), itertools.pairwise(widths)
    w = [random.normal(0, (2 / n) ** 0.5, (n, m)).astype("f4") for n, m in pairs]
    return [(a, np.zeros(a.shape[1], "f4")) for a in w]


def _cross_entropy(logits, y):
    import optax

    return optax.softmax_cross_entropy_with_integer_labels(logits, y).mean()


def _scanned(step, carry, x, y, batch):
    """An epoch as one compiled scan: step(carry, x, y) -> (carry, loss)."""
    import jax
    import jax.numpy as jnp

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
    import jax
    import jax.numpy as jnp
    import optax

    optimizer = optax.sgd(RATE)
    params = jax.tree.map(jnp.asarray, _initial(widths))

    def loss(params, x, y):
        *hidden, (w, b) = params
        for own_w, own_b in hidden:
            x = jax.nn.relu(x @ own_w + own_b)
        return _cross_entropy(x @ w + b, y)

    def step(carry, x, y):
        params, state = carry
        value, gradient = jax.value_and_grad(loss)(params, x, y)
        change, state = optimizer.update(gradient, state, params)
        return (optax.apply_updates(params, change), state), value

    return _scanned(step, (params, optimizer.init(params)), x, y, batch)


def _flax(widths):
    """The network in Flax, with the same weights."""
    import jax.numpy as jnp
    import optax
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
    import jax.numpy as jnp

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
    """PyTorch, eager, on as many threads as it takes by default, or on one where that is faster."""
    import torch

    model = made_of(_initial(widths), "relu")
    optimizer = torch.optim.SGD(model.parameters(), RATE)
    criterion = torch.nn.CrossEntropyLoss()
    inputs, targets = torch.tensor(x), torch.tensor(y.astype(np.int64))
    choose_threads(lambda: criterion(model(inputs[:batch]), targets[:batch]).backward())

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

    options = {"solver": "sgd", "alpha": 0, "learning_rate_init": RATE, "momentum": 0}
    model = MLPClassifier(widths[1:-1], batch_size=batch, random_state=0, **options)

    def run(epochs):
        return [model.partial_fit(x, y, classes=np.arange(10)).loss_ for _ in range(epochs)][-1]

    return run


CONTENDERS = {
    "manualbp": by_hand,
    "JAX + Optax, scanned": jax_scanned,
    "Flax + Optax, scanned": flax_scanned,
    "Flax + Optax, steps": flax_steps,
    "PyTorch, eager": pytorch,
    "scikit-learn": scikit_learn,
}
