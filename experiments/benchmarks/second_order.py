"""What do curvature products, diagonals and factors by hand cost beside a gradient and autodiff?

Compiled ahead, all in one process and in turn: a gradient by hand, Hv and Gauss-Newton products by
hand and by autodiff of the plain network (jvp of grad; jvp, then vjp), the diagonal of the
Gauss-Newton matrix, and Kronecker factors. Products are checked against each other. MB are of
temporary memory. Look at the ratios: 1 is autodiff for a product, and a gradient for the others.

    python experiments/benchmarks/second_order.py            784-1024-1024-10, batch 512
    python experiments/benchmarks/second_order.py --quick    784-256-128-10, batch 128
"""

from statistics import median

import jax
import jax.numpy as jnp
from measure import (
    agree,
    compiled,
    cross_entropy,
    finish,
    milliseconds,
    options,
    quartiles,
    ratio,
    scores,
    take_turns,
    target,
)

import manualbp as bp

ACTIVATIONS = {"tanh": jnp.tanh, "relu": jax.nn.relu, "softplus": jax.nn.softplus}


def by_autodiff(activation):
    """Hv and the Gauss-Newton product as one writes them in plain JAX."""
    apply, loss = scores(activation), cross_entropy

    def hessian(p, x, y, v):
        return jax.jvp(jax.grad(lambda p: loss(apply(p, x), y)), (p,), (v,))[1]

    def gauss_newton(p, x, y, v):
        z, pull = jax.vjp(lambda p: apply(p, x), p)
        _, jv = jax.jvp(lambda p: apply(p, x), (p,), (v,))
        return pull(jax.jvp(jax.grad(lambda z: loss(z, y)), (z,), (jv,))[1])[0]

    return hessian, gauss_newton


def race(network, activation, examples, seconds, seed):
    """Rows of name, time, memory and operations, with ratios, and the number of rounds."""
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
    programs, memory, compiling = {}, {}, {}
    for name, (step, _) in steps.items():
        programs[name], memory[name], compiling[name] = compiled(step, *arguments, repeats=1)
    for name in ("Hv", "Gv"):
        agree(programs[name](*arguments), programs[f"{name}, autodiff"](*arguments))
    times = take_turns(programs, arguments, seconds)
    flops = {name: program.cost_analysis()["flops"] for name, program in programs.items()}
    rows = []
    for name, (_, other) in steps.items():
        ratios = [""] * 4
        if other:
            ratios = [
                ratio(times, name, other),
                quartiles(times, name, other),
                memory[name] / memory[other],
                flops[name] / flops[other],
            ]
        own = milliseconds(times, name), memory[name], flops[name] / 1e9, compiling[name]
        rows.append([name, *own, *ratios])
    return rows, len(times["Gv"])


def main():
    parser = options(__doc__, seconds=20.0)
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
    columns = ["", "", "ms", "MB", "Gflop", "compile s", "time ratio", "quartiles", "MB ratio",
               "flop ratio"]  # fmt: skip
    products = [row for row in rows if row[1] in ("Hv", "Gv")]
    targets = [
        target("time, Hv and Gv / autodiff, median", median(r[6] for r in products), 1.0),
        target("memory, Hv and Gv / autodiff, worst", max(r[8] for r in products), 1.0),
        target("flop, Hv and Gv / autodiff, worst", max(r[9] for r in products), 1.01),
    ]
    title = f"{'-'.join(map(str, widths))}, batch {examples}, medians of {min(rounds)} or more"
    finish(given, "second_order", title, columns, rows, targets)


if __name__ == "__main__":
    main()
