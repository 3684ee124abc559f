"""Does softmax and logistic regression by hand find what scikit-learn's LogisticRegression finds?

Note 000, 'Logistic Regression': output = softmax(X W); with two classes the logistic function of
one score; with several labels an example, one logistic function a label (note 004). Full gradient
descent beside LogisticRegression, on tables bundled with scikit-learn and on a made one of several
labels: without a penalty on the weights (C = infinity), and with the same one (C = 0.01), where
both must find the same minimum. Features are standardised with the mean and spread of the
training examples alone.

    python experiments/logistic_regression.py
    python experiments/logistic_regression.py --epochs 5000 --splits 5

Look at: with the penalty the same probabilities, to some digits. Without, where planes separate
the classes (every training example right), the loss has no minimum: it falls, and the weights
grow, for ever, and who goes on longer need not predict better.
"""

import functools
import warnings

import jax
import jax.numpy as jnp
import numpy as np
from common import at_least, keep, options, plt, show
from sklearn.datasets import (
    load_breast_cancer,
    load_digits,
    load_iris,
    load_wine,
    make_multilabel_classification,
)
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.multiclass import OneVsRestClassifier
from tables import standardised_split

import manualbp as bp

C = 0.01  # the penalty |w|^2 / (2 C m) on the weights of m examples, scikit-learn's parameter
STEPS = 2000  # of full descent with the penalty
BOTH = ("by hand", "scikit-learn")
RATE = 0.25  # below the limit 2 / (largest eigenvalue of the loss's Hessian) on all these tables


def tables():
    """Name -> features, targets as the loss wants them, loss."""
    softmax = bp.softmax_cross_entropy_with_integer_labels
    made = make_multilabel_classification(600, 20, n_classes=5, random_state=0)
    cancer, cancer_y = load_breast_cancer(return_X_y=True)
    return {
        "iris": (*load_iris(return_X_y=True), softmax),
        "wine": (*load_wine(return_X_y=True), softmax),
        "breast cancer": (
            cancer, cancer_y[:, None].astype(float), bp.sigmoid_binary_cross_entropy
        ),
        "digits": (*load_digits(return_X_y=True), softmax),
        "multi-label": (
            made[0], made[1].astype(float), bp.multilabel_binary_cross_entropy
        ),
    }  # fmt: skip


def regression(x, y, loss):
    """One layer of scores, one a class or label; the loss has their softmax or logistic."""
    outputs = y.shape[1] if y.ndim == 2 else int(y.max()) + 1
    return bp.mlp((x.shape[1], outputs), loss=loss, init=bp.initializers.zeros)


@functools.partial(jax.jit, static_argnames=("network", "steps"))
def penalised(network, start, x, y, decay, steps):
    """Full descent on loss + decay / 2 |w|^2, whose gradient is dw + decay w; none on the bias."""

    def step(params, _):
        _, gradient = network.loss_and_grad(params, x, y, check=False)
        dense = gradient[0]
        dense = dense._replace(w=dense.w + decay * params[0].w)
        return jax.tree.map(lambda p, g: p - RATE * g, params, (dense, ())), None

    return jax.lax.scan(step, start, length=steps)[0]


def scikit(train, strength):
    """Weights of LogisticRegression, in the form of ours."""
    x, y = train
    model = LogisticRegression(
        C=strength, max_iter=1000, tol=1e-8 if np.isfinite(strength) else 1e-6
    )
    with warnings.catch_warnings():
        # on separable data without a penalty it ends where its steps do
        warnings.simplefilter("ignore", ConvergenceWarning)
        if y.ndim == 2 and y.shape[1] > 1:
            parts = OneVsRestClassifier(model).fit(x, y).estimators_
        else:
            parts = [model.fit(x, y.ravel())]
    w = np.concatenate([part.coef_ for part in parts]).T
    return (bp.Dense(jnp.asarray(w), jnp.concatenate([part.intercept_ for part in parts])), ())


def probabilities(network, params, x):
    scores = network(params, x)
    integer = network.loss is bp.softmax_cross_entropy_with_integer_labels
    return bp.softmax(scores) if integer else bp.sigmoid(scores)


def compare(x, y, loss, epochs, seed):
    """One split without a penalty: curves of ours, and how it and scikit-learn's do."""
    train, held_out = standardised_split(x, y, seed)
    network = regression(x, y, loss)
    norms = []
    result = bp.train(
        network, train, bp.gradient_descent(RATE), epochs=epochs, batch_size="all", progress=False,
        on_epoch=lambda epoch, params: norms.append(np.linalg.norm(params[0].w)),
    )  # fmt: skip
    found = measures(network, result.params, scikit(train, np.inf), train, held_out)
    return {"loss": result.history.loss, "norm": norms, **found}


def compare_penalised(x, y, loss, steps, seed):
    """The same with a penalty: a minimum that both must find."""
    train, held_out = standardised_split(x, y, seed)
    network = regression(x, y, loss)
    start = network.init(jax.random.key(0), x.dtype)
    params = penalised(network, start, *train, 1 / (C * len(train[0])), steps)
    return measures(network, params, scikit(train, C), train, held_out)


def measures(network, ours, theirs, train, held_out):
    """What two sets of weights are worth, and how far their probabilities are apart."""
    p, q = (probabilities(network, w, jnp.asarray(held_out[0])) for w in (ours, theirs))
    found = {
        "held out": len(held_out[0]),
        "largest difference of a held-out probability": float(jnp.max(jnp.abs(p - q))),
    }
    for who, params in zip(BOTH, (ours, theirs), strict=True):
        seen, unseen = (bp.evaluate(network, params, part) for part in (train, held_out))
        found[who] = {
            "training loss": seen["loss"],
            "training accuracy": seen["accuracy"],
            "held-out loss": unseen["loss"],
            "held-out accuracy": unseen["accuracy"],
            "norm": float(jnp.linalg.norm(params[0].w)),
        }
    return found


def mean(splits, who, what):
    return float(np.mean([split[who][what] for split in splits]))


def without_curves(split):
    return {name: value for name, value in split.items() if name not in ("loss", "norm")}


def separable(splits):
    """Whether the planes of one of the two have every training example right, in every split."""
    return all(max(split[who]["training accuracy"] for who in BOTH) == 1 for split in splits)


def picture(found):
    figure, (a, b, c) = plt.subplots(1, 3, figsize=(14, 4.8), width_ratios=(1.3, 1, 1))
    for i, (name, splits) in enumerate(found.items()):
        color, at = f"C{i}", len(found) - 1 - i
        for who, marker, up in (("by hand", "o", 0.13), ("scikit-learn", "x", -0.13)):
            own = [100 * split[who]["held-out accuracy"] for split in splits]
            a.plot(own, np.full(len(own), at + up), marker, color=color, alpha=0.9)
        style = "-" if separable(splits) else "--"
        epochs = np.arange(1, len(splits[0]["loss"]) + 1)
        b.loglog(epochs, splits[0]["loss"], style, color=color, label=name)
        c.semilogx(epochs, splits[0]["norm"], style, color=color)
        b.plot(epochs[-1] * 1.3, splits[0]["scikit-learn"]["training loss"], "x", color=color)
    a.set_yticks(range(len(found)), list(found)[::-1])
    a.set(title="Held-out accuracy, a mark a split", xlabel="right (%)")
    b.set(
        title="Training loss (crosses off the scale not shown)",
        xlabel="epochs",
        ylabel="mean loss an example (nats)",
        ylim=(1e-3, None),
    )
    b.plot([], [], "-", color="grey", label="separable")
    b.plot([], [], "--", color="grey", label="not separable")
    b.plot([], [], "o", color="grey", label="by hand")
    b.plot([], [], "x", color="grey", label="scikit-learn, no penalty either")
    c.set(title="Size of the weights", xlabel="epochs", ylabel="norm of W")
    figure.legend(*b.get_legend_handles_labels(), loc="outside lower center", ncols=5)
    return figure


def main():
    parser = options(__doc__, epochs=500, splits=3)
    args = parser.parse_args()
    at_least(parser, args, seed=0, epochs=1, splits=1)
    jax.config.update("jax_enable_x64", True)  # as scikit-learn computes
    found = {
        name: [compare(*table, args.epochs, args.seed + i) for i in range(args.splits)]
        for name, table in tables().items()
    }
    same = {name: compare_penalised(*table, STEPS, args.seed) for name, table in tables().items()}
    what = ("held-out accuracy", "training loss", "norm")
    show(
        f"By hand | scikit-learn, no penalty; mean of {args.splits} splits, {args.epochs} epochs",
        ("table", "held-out accuracy", "training loss", "|W|", "separable"),
        [
            (name, *(" | ".join(f"{mean(splits, who, w):.3g}" for who in BOTH) for w in what),
             "yes" if separable(splits) else "no")
            for name, splits in found.items()
        ],
    )  # fmt: skip
    apart = "largest difference of a held-out probability"
    show(
        f"By hand | scikit-learn, the same penalty C = {C}, first split, {STEPS} steps",
        ("table", "held-out accuracy", "training loss", "largest |p - p'|"),
        [
            (name, *(" | ".join(f"{row[who][w]:.6f}" for who in BOTH) for w in what[:2]),
             f"{row[apart]:.1e}")
            for name, row in same.items()
        ],
    )  # fmt: skip
    numbers = {"seed": args.seed, "epochs": args.epochs, "rate": RATE, "C": C, "tables": {}}
    for name, splits in found.items():
        numbers["tables"][name] = {
            "separable": separable(splits),
            "without penalty": [without_curves(split) for split in splits],
            "with penalty": without_curves(same[name]),
        }
    keep(args.out, "logistic_regression", picture(found), numbers)


if __name__ == "__main__":
    main()
