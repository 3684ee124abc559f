"""Where does the time to compile a training step go, and how much of it is the loss?

jax.value_and_grad of plain code beside the step by hand, with the library's cross-entropy and with
the textbook's, log sum exp z - z_y and softmax minus one-hot, which loses digits and has fewer
operations. Traced, lowered and compiled from nothing, in turn, and the operations that XLA leaves.
Look at the ratios: what is by hand compiles faster but for the loss that keeps its digits.

    python experiments/benchmarks/compiling.py            three activations, 15 rounds
    python experiments/benchmarks/compiling.py --quick    one, 3 rounds
"""

import time

import jax
import jax.numpy as jnp
import numpy as np
from measure import agree, finish, options, target
from step import ACTIVATIONS, contenders

import manualbp as bp
from manualbp._rule import no_cotangent

WIDTHS, BATCH = (784, 256, 128, 10), 128


def _own(z, labels):
    return labels[..., None] == jnp.arange(z.shape[-1])


def _fwd(z, labels):
    log_sum = jax.nn.logsumexp(z, axis=-1)
    return log_sum - jnp.sum(jnp.where(_own(z, labels), z, 0), axis=-1), (z, log_sum, labels)


def _bwd(saved, dy):
    z, log_sum, labels = saved
    dz = dy[..., None] * (jnp.exp(z - log_sum[..., None]) - _own(z, labels))
    return dz, no_cotangent(labels)


TEXTBOOK = bp.Rule(
    "textbook_cross_entropy",
    _fwd,
    _bwd,
    tex=r"\log \sum_j e^{z_j} - z_y, \quad dz = \mathrm{softmax}(z) - e_y",
    source="the lecture notes, as printed",
    saves="the logits and their log sum exp",
)


def stages(step, args):
    """Seconds to trace, to lower and to compile, and the program, from nothing."""
    jax.clear_caches()
    at = [time.perf_counter()]
    traced = jax.jit(lambda *a: step(*a)).trace(*args)
    at.append(time.perf_counter())
    lowered = traced.lower()
    at.append(time.perf_counter())
    program = lowered.compile()
    at.append(time.perf_counter())
    return np.diff(at), program


def main():
    parser = options(__doc__, rounds=15)
    given = parser.parse_args()
    if not 1 <= given.rounds <= 1000:
        parser.error("--rounds: expected 1 to 1000")
    rounds = 3 if given.quick else given.rounds
    keys = jax.random.split(jax.random.key(given.seed), 3)
    x = jax.random.normal(keys[1], (BATCH, WIDTHS[0]))
    labels = jax.random.randint(keys[2], (BATCH,), 0, WIDTHS[-1])
    rows, ratios = [], {}
    for name in ("relu",) if given.quick else ("relu", "tanh", "silu"):
        network, steps = contenders(name, WIDTHS)
        textbook = bp.mlp(WIDTHS, activation=ACTIVATIONS[name][0], loss=TEXTBOOK)
        steps = {
            "autodiff": steps["autodiff"],
            "by hand": steps["fast"],
            "by hand, textbook loss": textbook.loss_and_grad,
        }
        args = network.init(keys[0]), x, labels
        seconds = {own: [] for own in steps}
        operations, results = {}, {}
        for _ in range(rounds):
            for own, step in steps.items():
                spent, program = stages(step, args)
                seconds[own].append(spent)
                operations[own] = program.as_text().count(" = ")
                results[own] = program(*args)
        for own in steps:
            agree(results[own], results["autodiff"], rtol=2e-3, atol=1e-4)
            parts = np.median(seconds[own], axis=0)
            totals = np.sum(seconds[own], axis=1), np.sum(seconds["autodiff"], axis=1)
            ratios[name, own] = float(np.median(totals[0] / totals[1]))
            rows.append([name, own, *parts.tolist(), ratios[name, own], operations[own]])
    columns = ["activation", "step", "trace s", "lower s", "XLA s", "sum / autodiff", "operations"]
    targets = [
        target(f"compile, {own} / autodiff, worst row",
               max(v for (_, o), v in ratios.items() if o == own), 1.0)
        for own in ("by hand", "by hand, textbook loss")
    ]  # fmt: skip
    title = f"compiling a step of {'-'.join(map(str, WIDTHS))}, medians of {rounds} rounds"
    finish(given, "compiling", title, columns, rows, targets)


if __name__ == "__main__":
    main()
