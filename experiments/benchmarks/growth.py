"""How do time, peak temporary memory and compile time of a step grow, by hand and by autodiff?

Value and gradients, compiled ahead: `mlp` (fast and lean) beside jax.value_and_grad of the network
written plainly, as width, depth or batch grow; and linear_softmax_cross_entropy beside Optax and
jax.grad as classes grow. Both are checked against each other at every size, then timed in turn.
Axes are logarithmic: a straight line is a power, and a constant ratio a constant distance. The
gradients themselves are results, not temporary: where the batch is no larger than the width, XLA
keeps an array of a layer in the buffer of its gradient, and temporary memory does not show it.

    python experiments/benchmarks/growth.py            about two minutes on two cores
    python experiments/benchmarks/growth.py --quick    tiny sizes
"""

import jax
import jax.numpy as jnp
import numpy as np
import optax
from measure import (
    COLORS,
    agree,
    compiled,
    cross_entropy,
    finish,
    milliseconds,
    options,
    plt,
    scores,
    take_turns,
    target,
)

import manualbp as bp

NETWORK = {"width": 256, "hidden layers": 4, "batch": 1024}
SIZES = {
    "width": (64, 128, 256, 512),
    "hidden layers": (2, 4, 8, 16, 32),
    "batch": (64, 256, 1024, 4096),
    "classes": (2**10, 2**12, 2**14, 2**16),
}
QUICK_NETWORK = {"width": 8, "hidden layers": 2, "batch": 64}
QUICK = {"width": (8, 16), "hidden layers": (2, 4), "batch": (16, 64), "classes": (64, 256)}
WHAT = {"ms": "time, ms", "MB": "temporary memory, MB", "compile s": "compile time, s"}
AUTODIFF, FAST, LEAN = "jax.value_and_grad", "by hand", "by hand, lean"
LOOKS = {AUTODIFF: (COLORS[6], "s", "--"), FAST: (COLORS[0], "o", "-"), LEAN: (COLORS[2], "^", "-")}


def of_a_network(seed, width, layers, batch):
    """Name -> step, and its arguments: tanh, ten classes."""
    widths = (width,) * (layers + 1) + (10,)
    fast, lean = (bp.mlp(widths, activation=bp.tanh, memory=m) for m in ("fast", "lean"))
    keys = jax.random.split(jax.random.key(seed), 3)
    x = jax.random.normal(keys[1], (batch, width))
    labels = jax.random.randint(keys[2], (batch,), 0, 10)
    apply = scores(jnp.tanh)
    steps = {
        AUTODIFF: jax.value_and_grad(lambda p, x, y: cross_entropy(apply(p, x), y)),
        FAST: fast.loss_and_grad,
        LEAN: lean.loss_and_grad,
    }
    return steps, (fast.init(keys[0]), x, labels)


def of_classes(seed, classes, examples=512, features=64):
    """Name -> step, and its arguments: the last layer and its loss."""
    keys = jax.random.split(jax.random.key(seed), 3)
    h = jax.random.normal(keys[0], (examples, features))
    w = jax.random.normal(keys[1], (features, classes)) / features**0.5
    labels = jax.random.randint(keys[2], (examples,), 0, classes)
    fused = bp.linear_softmax_cross_entropy()

    def by_optax(h, w, b, y):
        return optax.softmax_cross_entropy_with_integer_labels(h @ w + b, y)

    def step(loss):
        return jax.value_and_grad(lambda *a: jnp.mean(loss(*a)), argnums=(0, 1, 2))

    return {AUTODIFF: step(by_optax), FAST: step(fused)}, (h, w, jnp.zeros(classes), labels)


def measure(steps, args, rounds):
    """Name -> ms, MB and seconds to compile."""
    found = {name: compiled(step, *args, repeats=1) for name, step in steps.items()}
    programs = {name: program for name, (program, *_) in found.items()}
    wanted = programs[AUTODIFF](*args)
    for program in programs.values():
        agree(program(*args), wanted, rtol=2e-3, atol=1e-4)
    times = take_turns(programs, args, 0, least=rounds)
    return {n: (milliseconds(times, n), mb, seconds) for n, (_, mb, seconds) in found.items()}


def draw(found, settings):
    """A row of time, of memory and of compile time; a column for what grows."""
    figure, axes = plt.subplots(3, len(found), figsize=(13, 8.5), sharex="col", sharey="row")
    for column, (what, sizes) in enumerate(found.items()):
        xs, names = list(sizes), [n for n in LOOKS if n in sizes[min(sizes)]]
        for row in range(len(WHAT)):
            axis, ends = axes[row, column], {}
            for name in names:
                color, marker, line = LOOKS[name]
                ys = [sizes[x][name][row] for x in xs]
                axis.loglog(xs, ys, line, marker=marker, color=color, label=name, markersize=4)
                ends[name] = ys[-1]
            beside = ends.pop(AUTODIFF)
            above = sorted(ends, key=ends.get)
            close = max(ends.values()) < 1.6 * min(ends.values())
            for i, name in enumerate(above):  # two labels that would lie on each other part
                down = -3 + (14 * i - 7 if close and len(above) == 2 else 0)
                axis.annotate(
                    f"x {ends[name] / beside:.2g}", (xs[-1], ends[name]), xytext=(6, down),
                    textcoords="offset points", color=LOOKS[name][0], annotation_clip=False,
                )  # fmt: skip
            axis.set_xticks(xs, [f"{x:,}" for x in xs])
            axis.minorticks_off()
        axes[0, column].set_title(settings[what], fontsize=9)
        axes[-1, column].set_xlabel(what, fontweight="bold")
    for axis, label in zip(axes[:, 0], WHAT.values(), strict=True):
        axis.set_ylabel(label)
    axes[-1, 0].set_ylim(0.1, 10)  # or the noise of compiling fills the panel
    figure.legend(
        *axes[0, 0].get_legend_handles_labels(), loc="outside upper center", ncols=3,
        title="x: the last point beside that of jax.value_and_grad (right: with Optax's loss)",
    )  # fmt: skip
    return figure


def main():
    parser = options(__doc__, rounds=3)
    args = parser.parse_args()
    if not 1 <= args.rounds <= 1000:
        parser.error("--rounds: expected 1 to 1000")
    usual, grown = (QUICK_NETWORK, QUICK) if args.quick else (NETWORK, SIZES)
    known, found, settings = {}, {}, {}
    for what, sizes in grown.items():
        rest = ", ".join(f"{k} {v}" for k, v in usual.items() if k != what)
        settings[what] = "512 examples, 64 features" if what == "classes" else rest
        found[what] = {}
        for size in sizes:
            own = (size,) if what == "classes" else tuple({**usual, what: size}.values())
            if own not in known:  # the usual network is in three columns
                make = of_classes if what == "classes" else of_a_network
                known[own] = measure(*make(args.seed, *own), args.rounds)
            found[what][size] = known[own]
    rows = [
        [what, size, name, *of[name], *(a / b for a, b in zip(of[name], of[AUTODIFF], strict=True))]
        for what, sizes in found.items()
        for size, of in sizes.items()
        for name in of
    ]
    columns = ["grows", "to", "step", *WHAT, *(f"{k} / autodiff" for k in WHAT)]
    last = {what: sizes[max(sizes)] for what, sizes in found.items()}
    ratios = {w: {n: np.divide(of[n], of[AUTODIFF]) for n in of} for w, of in last.items()}
    targets = [
        target("memory, lean / autodiff, deepest", ratios["hidden layers"][LEAN][1], 0.5),
        target("memory, by hand / Optax, most classes", ratios["classes"][FAST][1], 0.1),
        target("memory, lean / autodiff, widest", ratios["width"][LEAN][1], 1.01),
        target("memory, lean / autodiff, largest batch", ratios["batch"][LEAN][1], 1.01),
        *(
            target(f"time, by hand / autodiff, largest {w}", r[FAST][0], 1.0)
            for w, r in ratios.items()
        ),
    ]
    title = f"growth of a step: medians of {args.rounds}"
    finish(args, "growth", title, columns, rows, targets, draw(found, settings), settings=settings)


if __name__ == "__main__":
    main()
