"""What do curvature products, diagonals and factors by hand cost beside a gradient and autodiff?

Compiled ahead, all in one process and in turn: a gradient by hand, Hv and Gauss-Newton products by
hand and by autodiff of the plain network (jvp of grad; jvp, then vjp), the diagonal of the
Gauss-Newton matrix, and Kronecker factors. Products are checked against each other. MB are of
temporary memory. Look at the ratios: 1 is autodiff for a product, and a gradient for the others.

    python experiments/bench_second_order.py            784-1024-1024-10, batch 512
    python experiments/bench_second_order.py --quick    784-256-128-10, batch 128
"""

import statistics
import time

import jax
import jax.numpy as jnp
import numpy as np
from common import keep, options, show

import manualbp as bp

ACTIVATIONS = {"tanh": jnp.tanh, "relu": jax.nn.relu, "softplus": jax.nn.softplus}


def by_autodiff(activation):
    """Hv and the Gauss-Newton product as one writes them in plain JAX."""

    def scores(params, x):
        for i in range(0, len(params), 2):
            x = x @ params[i].w + params[i].b
            x = activation(x) if i < len(params) - 2 else x
        return x

    def loss(z, y):
        return -jnp.mean(jnp.take_along_axis(jax.nn.log_softmax(z), y[:, None], axis=1))

    def hessian(p, x, y, v):
        return jax.jvp(jax.grad(lambda p: loss(scores(p, x), y)), (p,), (v,))[1]

    def gauss_newton(p, x, y, v):
        z, pull = jax.vjp(lambda p: scores(p, x), p)
        _, jv = jax.jvp(lambda p: scores(p, x), (p,), (v,))
        return pull(jax.jvp(jax.grad(lambda z: loss(z, y)), (z,), (jv,))[1])[0]

    return hessian, gauss_newton


def race(network, activation, examples, seconds, seed):
    """Rows of name, ms, MB, Gflop and their ratios, and the number of rounds."""
    keys = jax.random.split(jax.random.key(seed), 4)
    params, v = network.init(keys[0]), network.init(keys[3])
    x = jax.random.normal(keys[1], (examples, network.widths[0]))
    labels = jax.random.randint(keys[2], (examples,), 0, network.widths[-1])
    hessian, gauss_newton = by_autodiff(activation)
    steps = {
        "gradient": (lambda p, x, y, v: network.loss_and_grad(p, x, y), None),
        "Hv, autodiff": (hessian, None),
        "Hv": (lambda p, x, y, v: bp.hessian_vector_product(network, p, x, y, v), "Hv, autodiff"),
        "Gv, autodiff": (gauss_newton, None),
        "Gv": (
            lambda p, x, y, v: bp.gauss_newton_vector_product(network, p, x, y, v),
            "Gv, autodiff",
        ),
        "diagonal of G": (
            lambda p, x, y, v: bp.gauss_newton_diagonal(network, p, x, y),
            "gradient",
        ),
        "factors, exact": (
            lambda p, x, y, v: bp.kronecker_factors(network, p, x, y),
            "gradient",
        ),
        "factors, sampled": (
            lambda p, x, y, v: bp.kronecker_factors(network, p, x, y, keys[3], fisher="sampled"),
            "gradient",
        ),
    }
    arguments = params, x, labels, v
    programs = {n: jax.jit(f).lower(*arguments).compile() for n, (f, _) in steps.items()}
    for name in ("Hv", "Gv"):
        found, wanted = (programs[n](*arguments) for n in (name, f"{name}, autodiff"))
        for a, b in zip(jax.tree.leaves(found), jax.tree.leaves(wanted), strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-5 * float(jnp.abs(b).max()))
    times = {name: [] for name in programs}
    end = time.perf_counter() + seconds
    while time.perf_counter() < end or len(times["Gv"]) < 3:
        for name, program in programs.items():
            start = time.perf_counter()
            jax.block_until_ready(program(*arguments))
            times[name].append(time.perf_counter() - start)
    numbers = {
        name: [
            1e3 * statistics.median(times[name]),
            program.memory_analysis().temp_size_in_bytes / 1e6,
            program.cost_analysis()["flops"] / 1e9,
        ]
        for name, program in programs.items()
    }
    rows = []
    for name, (_, other) in steps.items():
        beside = numbers[other or name]
        ratios = [a / b for a, b in zip(numbers[name], beside, strict=True)] if other else [""] * 3
        rows.append([name, *numbers[name], *ratios])
    return rows, len(times["Gv"])


def main():
    parser = options(__doc__, seconds=20.0)
    parser.add_argument("--quick", action="store_true", help="a small network, a short race")
    given = parser.parse_args()
    if not 0 < given.seconds < 3600:
        parser.error("--seconds: expected a time between 0 and 3600")
    widths, examples = ((784, 256, 128, 10), 128) if given.quick else ((784, 1024, 1024, 10), 512)
    seconds = min(given.seconds, 5.0) if given.quick else given.seconds
    rows, rounds = [], []
    for name, plain in ACTIVATIONS.items():
        network = bp.mlp(widths, activation=getattr(bp, name))
        of_one, n = race(network, plain, examples, seconds, given.seed)
        rows += [[name, *row] for row in of_one]
        rounds.append(n)
    columns = ["", "", "ms", "MB", "Gflop", "time ratio", "MB ratio", "flop ratio"]
    title = f"{'-'.join(map(str, widths))}, batch {examples}, medians of {min(rounds)} or more"
    show(title, columns, rows)
    numbers = {"title": title, "columns": columns, "rows": rows}
    keep(given.out, "bench_second_order", None, numbers)


if __name__ == "__main__":
    main()
