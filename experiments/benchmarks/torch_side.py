"""The steps of torch_step.py in PyTorch, in a process of their own, which starts no JAX.

Weights come as NumPy arrays (w, b) with w of shape (inputs, outputs), and gradients go back so.
"""

import importlib.util
import time

import numpy as np
from measure import turn

CLIP = 1.0
_steps, _threads = {}, {}


def made_of(weights, activation):
    """The network, with these weights."""
    import torch

    layers = []
    for w, b in weights:
        layer = torch.nn.Linear(*w.shape)
        layer.weight.data, layer.bias.data = torch.tensor(w.T.copy()), torch.tensor(b)
        layers += [layer, {"tanh": torch.nn.Tanh, "relu": torch.nn.ReLU, "silu": torch.nn.SiLU}[
            activation]()]  # fmt: skip
    return torch.nn.Sequential(*layers[:-1])


def choose_threads(call):
    """As many threads as by default, or one: what is faster here, as threads on busy cores wait."""
    import torch

    times = {}
    for n in (torch.get_num_threads(), 1):
        torch.set_num_threads(n)
        call()
        times[n] = turn(call, 5)[0]
    torch.set_num_threads(min(times, key=times.get))
    return torch.get_num_threads()


def _gradient(model, x, y, compiling):
    import torch

    def loss(x, y):
        return torch.nn.functional.cross_entropy(model(x), y)

    forward, parameters = torch.compile(loss) if compiling else loss, list(model.parameters())
    return lambda: torch.autograd.grad(forward(x, y), parameters)


def _clipped(each):
    """The mean of g / max(1, ||g|| / C), of gradients with the examples first."""
    import torch

    norms = torch.sqrt(sum((g.flatten(1) ** 2).sum(1) for g in each))
    scale = 1 / (len(norms) * torch.clamp(norms / CLIP, min=1))
    return [torch.tensordot(scale, g, dims=1) for g in each]


def _by_vmap(model, x, y):
    import torch

    params = {name: p.detach() for name, p in model.named_parameters()}

    def loss(params, x, y):
        z = torch.func.functional_call(model, params, (x[None],))
        return torch.nn.functional.cross_entropy(z, y[None])

    each = torch.func.vmap(torch.func.grad(loss), in_dims=(None, 0, 0))
    return lambda: _clipped(list(each(params, x, y).values()))


def _by_opacus(model, x, y):
    import torch
    from opacus.grad_sample import GradSampleModule

    wrapped = GradSampleModule(model, loss_reduction="sum")

    def step():
        wrapped.zero_grad()
        torch.nn.functional.cross_entropy(wrapped(x), y, reduction="sum").backward()
        return _clipped([p.grad_sample for p in wrapped.parameters()])

    return step


def prepare(name, activation, weights, x, y):
    """Make a step, call it: its gradients as NumPy arrays, seconds of this first call, threads.

    Raises:
      ImportError: where what it needs is not installed.
    """
    import torch

    if name == "Opacus" and not importlib.util.find_spec("opacus"):
        raise ImportError("not installed")
    model, x, y = made_of(weights, activation), torch.tensor(x), torch.tensor(y.astype("i8"))
    torch.set_num_threads(_threads.setdefault("by default", torch.get_num_threads()))
    _threads[name] = choose_threads(_gradient(model, x, y, compiling=False))
    _steps[name] = {
        "PyTorch, eager": lambda: _gradient(model, x, y, compiling=False),
        "PyTorch, torch.compile": lambda: _gradient(model, x, y, compiling=True),
        "PyTorch, vmap(grad)": lambda: _by_vmap(model, x, y),
        "Opacus": lambda: _by_opacus(model, x, y),
    }[name]()
    start = time.perf_counter()
    found = _steps[name]()
    seconds = time.perf_counter() - start
    return [np.array(g.T if g.ndim == 2 else g) for g in found], seconds, None, _threads[name]


def go(name, calls):
    """Wall and CPU seconds of a call, medians of so many."""
    import torch

    torch.set_num_threads(_threads[name])
    return turn(_steps[name], calls)
