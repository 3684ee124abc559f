"""Does gradient descent find the least-squares weights, and as fast as their eigenvalues say?

Note 000, 'Linear Regression': output = X W, here on scikit-learn's diabetes table (a column of
ones is the bias), with the mean over the examples of half the squared error. Its Hessian is
H = X^T X / m, so that a step of full gradient descent multiplies the distance to the closed-form
weights along an eigenvector of H by 1 - eta lambda: the slowest factor is 1 - eta lambda_min, and
nothing converges beyond eta = 2 / lambda_max.

    python experiments/linear_regression.py
    python experiments/linear_regression.py --epochs 500 --batch 8

Look at: full descent goes on towards W*, the noisy ones are faster at first and then go no further
unless their rate falls; all predict equally well long before that; and every measured factor lies
on its predicted curve.
"""

import jax
import jax.numpy as jnp
import numpy as np
from common import at_least, keep, options, plt, show
from sklearn.datasets import load_diabetes
from tables import standardised_split

import manualbp as bp

# Without these features the others depend on each other less: smaller condition numbers
DROPPED = ((), ("s1",), ("s1", "s2"), ("s1", "s4"), ("s1", "s3", "s4"))


def linear(inputs):
    """Output = X W (note 000), with the loss that the note calls MSE."""
    return bp.mlp(
        (inputs, 1),
        layer=bp.dense_without_bias,
        loss=bp.half_squared_error,
        init=bp.initializers.zeros,
    )


def least_squares(x, y):
    """The weights of the smallest squared error, in closed form (by singular values)."""
    return np.linalg.lstsq(x, y, rcond=None)[0]


def eigenvalues(x):
    """Of the Hessian X^T X / m, from the smallest to the largest."""
    return np.linalg.eigvalsh(x.T @ x / len(x))


def with_ones(x):
    return np.concatenate([x, np.ones((len(x), 1), x.dtype)], axis=1)


def relative_distance(w, best):
    return float(np.linalg.norm(w - best) / np.linalg.norm(best))


def root_mean_square(network, w, x, y):
    """Of the errors, in the unit of y: the loss is half their square."""
    loss = bp.evaluate(network, (jnp.asarray(w), ()), (x, y))["loss"]
    return float(np.sqrt(2 * loss))


def follow(x, y, start, best, eta, steps):
    """Distances to the best weights along full gradient descent, from 0 steps on."""
    network = linear(x.shape[1])

    @jax.jit
    def run(start, eta):
        def step(w, _):
            _, gradient = network.loss_and_grad((w, ()), x, y, check=False)
            return w - eta * gradient[0], jnp.linalg.norm(w - best)

        return jax.lax.scan(step, start, length=steps)[1]

    return np.stack([run(start, e) for e in eta])


def factor(distances):
    """By which a step multiplies the distance in the end: the mean over the second half.

    Below 1e-9 of the first distance rounding comes into sight, above 1e9 of it enough is seen.
    """
    relative = distances / distances[0]
    outside = np.flatnonzero((relative < 1e-9) | (relative > 1e9))
    last = (outside[0] if outside.size else len(relative)) - 1
    half = last // 2
    return float((relative[last] / relative[half]) ** (1 / (last - half)))


def race(train, held_out, best, epochs, batch):
    """Full, mini-batch and stochastic descent: distance and held-out error after each epoch."""
    network = linear(train[0].shape[1])
    steady = 1 / eigenvalues(train[0])[-1]
    # a single example's Hessian is x x^T, whose eigenvalue |x|^2 its step must not exceed
    single = 1 / np.max(np.sum(train[0] ** 2, axis=1))
    falling = bp.schedules.inverse_time(single, half_after=10 * len(train[0]))
    runs = {}
    for name, size, rate in (
        ("full batch", "all", steady),
        (f"mini-batches of {batch}", batch, steady / 4),
        ("stochastic: one example", 1, single),
        ("stochastic, falling rate", 1, falling),
    ):
        distances = []

        def note(epoch, params, distances=distances):
            distances.append(relative_distance(params[0], best))

        result = bp.train(
            network, train, bp.gradient_descent(rate), epochs=epochs, batch_size=size,
            held_out=held_out, on_epoch=note, progress=False,
        )  # fmt: skip
        runs[name] = {
            "rate": rate(0).item() if callable(rate) else rate,
            "distance": distances,
            "held_out": np.sqrt(2 * result.history.held_out["loss"]),
        }
    return runs


def rates(x, y, names, seed):
    """Measured and predicted factors: over the learning rate, and over the condition number."""
    over_rate, over_condition = [], []
    for dropped in DROPPED:
        kept = with_ones(x[:, [name not in dropped for name in names]])
        lam, best = eigenvalues(kept), least_squares(kept, y)
        start = best + np.random.default_rng(seed).normal(size=best.shape)
        steps = max(2000, int(30 * lam[-1] / lam[0]))
        measured = factor(follow(kept, y, start, best, [1 / lam[-1]], steps)[0])
        over_condition.append(
            {
                "without": dropped,
                "condition": lam[-1] / lam[0],
                "predicted": 1 - lam[0] / lam[-1],
                "measured": measured,
            }
        )
        if dropped in ((), ("s1", "s4")):
            relative = np.array([0.1, 0.25, 0.5, 1, 1.5, 1.75, 1.9, 1.99, 2.01, 2.1, 2.2])
            distances = follow(kept, y, start, best, relative / lam[-1], steps)
            over_rate.append(
                {
                    "condition": lam[-1] / lam[0],
                    "eigenvalues": lam,
                    "eta lambda_max": relative,
                    "predicted": [np.max(np.abs(1 - e * lam / lam[-1])) for e in relative],
                    "measured": [factor(d) for d in distances],
                }
            )
    return over_rate, over_condition


def picture(runs, floor, over_rate, over_condition):
    figure, ((a, b), (c, d)) = plt.subplots(2, 2, figsize=(11, 8.5))
    for name, run in runs.items():
        # evenly on the logarithmic axis: all of them would be a band of ink
        at = np.unique(np.geomspace(1, len(run["distance"]), 120).astype(int)) - 1
        a.loglog(at + 1, np.asarray(run["distance"])[at], label=name)
        b.loglog(at + 1, run["held_out"][at], label=name)
    a.set(
        title="Distance to the closed-form weights W*",
        xlabel="epochs",
        ylabel=r"$|W - W^*| \,/\, |W^*|$",
    )
    a.legend(loc="lower left")
    b.axhline(floor, color="black", linestyle="--", label="closed form")
    b.set(
        title="Error on held-out patients",
        xlabel="epochs",
        ylabel="root mean square error (units of the disease score)",
    )
    b.set_yticks([50, 60, 80, 100, 140], ["50", "60", "80", "100", "140"])
    b.minorticks_off()
    b.legend()
    for run, color in zip(over_rate, ("C0", "C1"), strict=True):
        lam = run["eigenvalues"] / run["eigenvalues"][-1]
        eta = np.linspace(0.02, 2.25, 400)
        label = f"condition number {run['condition']:.3g}"
        c.plot(eta, np.max(np.abs(1 - eta[:, None] * lam), axis=1), color=color, label=label)
        c.plot(run["eta lambda_max"], run["measured"], "o", color=color)
    c.axvline(2, color="black", linestyle="--")
    c.axhspan(1, 1.3, color="C1", alpha=0.08)
    c.text(0.1, 1.12, "diverges", color="C1")
    c.set(
        title="Factor a step, full batch: line predicted, dots measured",
        xlabel=r"learning rate, as $\eta\,\lambda_{max}$ (the limit 2 dashed)",
        ylabel="factor of the distance to W*",
        ylim=(0.65, 1.3),
    )
    c.legend(loc="lower left")
    condition = np.geomspace(3, 1e3, 50)
    d.loglog(condition, np.log(10) / -np.log1p(-1 / condition), "C0", label="predicted")
    d.loglog(
        [row["condition"] for row in over_condition],
        [np.log(10) / -np.log(row["measured"]) for row in over_condition],
        "oC0",
        label="measured",
    )
    for row in over_condition:
        left = "without " + ", ".join(row["without"]) if row["without"] else "all features"
        at = (row["condition"] * 1.12, np.log(10) / -np.log(row["measured"]) * 0.8)
        d.annotate(left, at)
    d.set(
        title=r"Full batch, $\eta = 1/\lambda_{max}$: what a tenth costs",
        xlabel=r"condition number $\lambda_{max}/\lambda_{min}$ of $X^TX/m$",
        ylabel="epochs until the distance is a tenth",
        xlim=(3, 3e3),
    )
    d.legend(loc="upper left")
    return figure


def main():
    parser = options(__doc__, epochs=2000, batch=32)
    args = parser.parse_args()
    at_least(parser, args, seed=0, epochs=1, batch=1)
    jax.config.update("jax_enable_x64", True)  # distances far below float32's rounding
    table = load_diabetes(scaled=False)
    train, held_out = standardised_split(table.data, table.target[:, None], args.seed)
    if args.batch > len(train[0]):
        parser.error(f"--batch: expected at most {len(train[0])}, got {args.batch}")
    over_rate, over_condition = rates(*train, table.feature_names, args.seed)
    train, held_out = (with_ones(train[0]), train[1]), (with_ones(held_out[0]), held_out[1])
    best = least_squares(*train)
    floor = root_mean_square(linear(best.shape[0]), best, *held_out)
    runs = race(train, held_out, best, args.epochs, args.batch)

    show(
        f"Diabetes: {len(train[0])} patients, {len(held_out[0])} held out, {args.epochs} epochs",
        ("method", "eta", "|W - W*| / |W*|", "held-out error", "closed form"),
        [
            (name, run["rate"], run["distance"][-1], float(run["held_out"][-1]), floor)
            for name, run in runs.items()
        ],
    )
    show(
        "Factor a step of full descent, eta = 1/lambda_max",
        ("without", "condition number", "1 - eta lambda_min", "measured"),
        [
            (", ".join(row["without"]) or "-", float(row["condition"]),
             f"{row['predicted']:.6f}", f"{row['measured']:.6f}")
            for row in over_condition
        ],
    )  # fmt: skip
    show(
        "Factor a step against the learning rate",
        ("eta lambda_max", *(f"condition {run['condition']:.3g}" for run in over_rate)),
        [
            (float(eta), *(f"{r['predicted'][i]:.4f} | {r['measured'][i]:.4f}" for r in over_rate))
            for i, eta in enumerate(over_rate[0]["eta lambda_max"])
        ],
    )
    figure = picture(runs, floor, over_rate, over_condition)
    last = {
        name: {
            "rate": run["rate"],
            "distance": run["distance"][-1],
            "held-out error": run["held_out"][-1],
            "epochs until within 1 % of the closed form": within(run["held_out"], floor),
        }
        for name, run in runs.items()
    }
    numbers = {"seed": args.seed, "epochs": args.epochs, "held-out error, closed form": floor}
    numbers |= {"runs": last, "rates": over_rate, "conditions": over_condition}
    keep(args.out, "linear_regression", figure, numbers)


def within(errors, floor):
    """The first epoch from which the error stays within 1 % of the closed form's, or None."""
    outside = np.flatnonzero(np.abs(errors / floor - 1) > 0.01)
    first = int(outside[-1]) + 2 if outside.size else 1
    return first if first <= len(errors) else None


if __name__ == "__main__":
    main()
