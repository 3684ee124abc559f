"""Epochs a second: manualbp against JAX with Optax, Flax, PyTorch and scikit-learn.

The same multilayer perceptron (ReLU, softmax cross-entropy, plain stochastic gradient descent, data
shuffled anew in every epoch, float32) on the same data, each in a process of its own. They run in
turn, one at a time, each for about as long; medians of the rounds. Compilation and first calls are
timed apart. Before the race the losses of the first epoch must be the same but for the shuffling.

    pip install "manualbp[benchmark]"
    python experiments/benchmarks/training.py            all, about eight minutes on two cores
    python experiments/benchmarks/training.py --quick    the digits at one batch size, three rounds

PyTorch for CPUs alone: pip install torch --index-url https://download.pytorch.org/whl/cpu
"""

import time
import warnings
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack
from multiprocessing import get_context

import numpy as np
from contenders import CONTENDERS
from measure import finish, options, plt, target
from rich.progress import track
from sklearn.datasets import load_digits

OWN, OTHER = "manualbp", "JAX + Optax, scanned"
_run = {}  # in a contender's process: its function


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


def start(name, widths, x, y, batch):
    """In the contender's process: seconds of its first epoch, with compilation, and its loss."""
    warnings.filterwarnings("ignore", category=FutureWarning)
    _run["epochs"] = CONTENDERS[name](widths, x, y, batch)
    begin = time.perf_counter()
    loss = _run["epochs"](1)
    return time.perf_counter() - begin, loss


def go(epochs):
    """In the contender's process: seconds an epoch, and the last loss."""
    begin = time.perf_counter()
    loss = _run["epochs"](epochs)
    return (time.perf_counter() - begin) / epochs, loss


def measure(widths, x, y, batch, rounds, seconds):
    """name -> seconds an epoch in each round and in the first, and losses; or what is missing."""
    with ExitStack() as stack:
        pools, found = {}, {}
        for name in CONTENDERS:
            pool = ProcessPoolExecutor(1, get_context("spawn"))
            pools[name] = stack.enter_context(pool)
            try:
                first, loss = pool.submit(start, name, widths, x, y, batch).result()
            except ImportError as error:
                found[name] = {"missing": str(error)}
                continue
            each = 1
            for share in (4, 2, 1):  # epochs a round: so many that a round takes `seconds`
                own, _ = pool.submit(go, each).result()
                each = max(1, int(seconds / share / own))
            found[name] = {"first": first, "first loss": loss, "each": each, "times": []}
        runs = [name for name in CONTENDERS if "missing" not in found[name]]
        for name in set(runs) - {"scikit-learn"}:  # which starts elsewhere
            wanted = found[OTHER]["first loss"]
            np.testing.assert_allclose(found[name]["first loss"], wanted, rtol=0.05, err_msg=name)
        for r in range(rounds):
            for name in runs[:: 1 if r % 2 else -1]:  # nobody always runs after the same
                own, found[name]["last loss"] = pools[name].submit(go, found[name]["each"]).result()
                found[name]["times"].append(own)
    return found


def row(case, name, found):
    """A line of the table."""
    if "missing" in found[name]:
        return [case, name, found[name]["missing"], *[""] * 5]
    times, own = np.array(found[name]["times"]), np.array(found[OWN]["times"])
    low, middle, high = np.percentile(times / own, [25, 50, 75])
    return [
        case,
        name,
        float(1 / np.median(times)),
        float(middle),
        f"{low:.2f} to {high:.2f}",
        found[name]["first"],
        found[name]["first loss"],
        found[name]["last loss"],
    ]


def main():
    parser = options(__doc__, rounds=7, seconds=1.7)
    args = parser.parse_args()
    if args.rounds < 1 or not args.seconds > 0:
        parser.error("--rounds and --seconds: expected positive numbers")
    rounds, seconds = (3, 1.0) if args.quick else (args.rounds, args.seconds)
    cases = {"digits, batch 32": (*digits(), 32)}
    if not args.quick:
        cases["digits, batch 256"] = (*digits(), 256)
        for batch in (32, 256):
            cases[f"784-256-128-10, batch {batch}"] = (*like_mnist(args.seed), batch)
    rows = []
    for case in track(cases, description="cases", transient=True):
        found = measure(*cases[case], rounds, seconds)
        rows += [row(case, name, found) for name in CONTENDERS]
    columns = ["", "", "epochs / s", "manualbp is so many times as fast", "quartiles",
               "first epoch s", "first loss", "last loss"]  # fmt: skip
    beside = [r[3] for r in rows if r[1] == OTHER]
    targets = [
        target(f"speed beside {OTHER}, median of the cases", np.median(beside), 1.0, least=True),
        target(f"speed beside {OTHER}, worst case", min(beside), 0.9, least=True),
    ]
    figure, axes = plt.subplots(1, len(cases), figsize=(3.2 * len(cases) + 1, 3.2), squeeze=False)
    for axis, case in zip(axes[0], cases, strict=True):
        bars = {r[1]: r[2] for r in rows if r[0] == case and not isinstance(r[2], str)}
        axis.barh(list(bars), list(bars.values()))
        axis.set(title=case, xlabel="epochs / second")
        axis.invert_yaxis()
        if axis is not axes[0, 0]:
            axis.set_yticklabels([])
    title = f"training, medians of {rounds} rounds, each contender in its own process"
    finish(args, "training", title, columns, rows, targets, figure)


if __name__ == "__main__":
    main()
