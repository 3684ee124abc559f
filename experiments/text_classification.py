"""Can a linear classifier of words understand "not good"? Reviews, in the notation of note 003.

Short reviews are made by a seeded generator: one or two opinions (a word that praises or blames,
perhaps intensified, which doubles it, perhaps negated, which turns it) among neutral words. The
label is the sign of their sum. Features are counts of words, or of words and adjacent pairs; layers
are a[i] = g([a[i-1] 1] Theta[i]), Theta = [w; b]. Two classes have the logistic function and binary
cross-entropy, three classes (with neutral) softmax and cross-entropy.

    python experiments/text_classification.py
    python experiments/text_classification.py --reviews 6000 --hidden 32

Look at: the weights of praise and blame have the right signs, but no weight of "not" is right, as
its effect depends on the word after it: the linear model of words fails at negations. Pairs help,
a hidden layer more. From Theta = 0 (note 003: "not 0") hidden units stay equal for ever, and with
tanh they do not even move.
"""

import itertools
import random

import jax
import numpy as np
from common import at_least, keep, options, plt, show

import manualbp as bp

PRAISE = ("good", "great", "lovely", "funny", "clever", "moving", "sharp", "warm")
BLAME = ("bad", "poor", "dull", "boring", "silly", "weak", "flat", "cold")
NEGATIONS = ("not", "never", "hardly")
INTENSIFIERS = ("very", "really", "so")
NEUTRAL = (
    *("the", "a", "this", "film", "plot", "actor", "scene", "music"),
    *("story", "camera", "was", "is", "and", "with", "we", "saw"),
)
RATE = 0.5


def opinion(rng):
    """Its words, and what it is worth: 1 or 2, with a sign."""
    praises = rng.random() < 0.5
    words, worth = [rng.choice(PRAISE if praises else BLAME)], 1 if praises else -1
    if rng.random() < 0.3:
        words, worth = [rng.choice(INTENSIFIERS), *words], 2 * worth
    if rng.random() < 0.35:
        words, worth = [rng.choice(NEGATIONS), *words], -worth
    return words, worth


def review(rng, opinions):
    """So many opinions between neutral words, and their sum."""
    words, total = [], 0
    for _ in range(opinions):
        words += rng.choices(NEUTRAL, k=rng.randint(1, 3))
        own, worth = opinion(rng)
        words, total = words + own, total + worth
    return words + rng.choices(NEUTRAL, k=rng.randint(1, 3)), total


def reviews(seed, count, classes):
    """Reviews as lists of words, with labels from 0: as many of each class.

    Args:
      seed: of the generator; the same reviews each time.
      count: how many.
      classes: 2, negative and positive; or 3, with neutral between them: no opinion, or two that
        cancel.
    """
    rng = random.Random(seed)
    labels = np.arange(count) % classes
    texts = []
    for label in labels:
        sign = (-1, 1)[label] if classes == 2 else label - 1
        while True:
            words, total = review(rng, rng.randint(0 if classes == 3 else 1, 2))
            if np.sign(total) == sign:
                break
        texts.append(words)
    return texts, labels


def grams(words, pairs):
    """Words, and with pairs the adjacent pairs too."""
    return words + [f"{a} {b}" for a, b in itertools.pairwise(words)] if pairs else words


def vocabulary(texts, pairs, least=5):
    """What occurs so often in the training texts, sorted."""
    found, counts = np.unique(
        [g for words in texts for g in grams(words, pairs)], return_counts=True
    )
    return [str(g) for g in found[counts >= least]]


def features(texts, names, pairs):
    """Counts, shape (texts, names); what is not in the vocabulary is left out."""
    place = {name: i for i, name in enumerate(names)}
    x = np.zeros((len(texts), len(names)), np.float32)
    for row, words in zip(x, texts, strict=True):
        for gram in grams(words, pairs):
            if gram in place:
                row[place[gram]] += 1
    return x


def classifier(inputs, hidden, classes, activation=bp.tanh, init=bp.initializers.glorot):
    """Note 003's network: augmented layers, with a hidden one or without."""
    loss = bp.sigmoid_binary_cross_entropy
    if classes == 3:
        loss = bp.softmax_cross_entropy_with_integer_labels
    widths = (inputs, *([hidden] if hidden else []), 1 if classes == 2 else 3)
    return bp.mlp(widths, activation=activation, loss=loss, layer=bp.dense_augmented, init=init)


def targets(labels, classes):
    return labels.astype(np.float32)[:, None] if classes == 2 else labels.astype(np.int32)


def is_right(network, params, x, y):
    """Whether the class of each review is found."""
    right = bp.training.accuracy_of(network.loss)(network(params, x), y)
    return np.asarray(right).reshape(len(x))


def four_models(seed, count, hidden, epochs, classes):
    """Linear or with a hidden layer, of words or of pairs too: accuracies and parameters."""
    texts, labels = reviews(seed, count + count // 2, classes)
    train, unseen = texts[:count], texts[count:]
    y, y_unseen = targets(labels[:count], classes), targets(labels[count:], classes)
    negated = np.array([any(w in NEGATIONS for w in words) for words in unseen])
    found = {}
    for pairs in (False, True):
        names = vocabulary(train, pairs)
        x, x_unseen = features(train, names, pairs), features(unseen, names, pairs)
        for units in (0, hidden):
            network = classifier(len(names), units, classes)
            result = bp.train(
                network, (x, y), bp.gradient_descent(RATE), epochs=epochs, batch_size=32,
                key=jax.random.key(seed), progress=False,
            )  # fmt: skip
            name = f"{'hidden layer' if units else 'linear'}, {'pairs too' if pairs else 'words'}"
            right = is_right(network, result.params, x_unseen, y_unseen)
            found[name] = {
                "features": len(names),
                "training": float(np.mean(is_right(network, result.params, x, y))),
                "held out": float(np.mean(right)),
                "no negation": float(np.mean(right[~negated])),
                "negation": float(np.mean(right[negated])),
            }
            if not units and not pairs:
                weights = dict(zip(names, np.asarray(result.params[0])[:-1], strict=True))
    return found, weights


def starts(seed, count, hidden, epochs):
    """Loss and difference between hidden units after each epoch, from zero and from a draw."""
    texts, labels = reviews(seed, count, 2)
    names = vocabulary(texts, pairs=False)
    data = features(texts, names, pairs=False), targets(labels, 2)
    found = {}
    for name, units, activation, init in (
        ("random, logistic units", hidden, bp.sigmoid, bp.initializers.glorot),
        ("zero, logistic units", hidden, bp.sigmoid, bp.initializers.zeros),
        ("random, one logistic unit", 1, bp.sigmoid, bp.initializers.glorot),
        ("zero, tanh units", hidden, bp.tanh, bp.initializers.zeros),
    ):
        apart, moved = [], []

        def note(epoch, params, apart=apart, moved=moved):
            theta = params[0]
            apart.append(float(np.max(np.abs(theta - theta[:, :1]))))
            moved.append(float(np.max(np.abs(theta))))

        network = classifier(len(names), units, 2, activation, init)
        result = bp.train(
            network, data, bp.gradient_descent(RATE), epochs=epochs, batch_size=32,
            key=jax.random.key(seed), on_epoch=note, progress=False,
        )  # fmt: skip
        found[name] = {
            "loss": result.history.loss,
            "accuracy": float(np.mean(is_right(network, result.params, *data))),
            "largest weight": moved[-1],
            "largest difference between units": max(apart),
        }
    return found


def picture(two, three, weights, weights_three, from_starts):
    figure, axes = plt.subplots(2, 2, figsize=(11, 9.5), height_ratios=(1.45, 1))
    (a, b), (c, d) = axes
    words = [*PRAISE, *BLAME, *NEGATIONS, *INTENSIFIERS, *NEUTRAL[3:7]]
    kinds = [
        (PRAISE, "C0"),
        (BLAME, "C1"),
        (NEGATIONS, "C3"),
        (INTENSIFIERS, "C2"),
        (NEUTRAL, "C6"),
    ]
    names = ("praise", "blame", "negation", "intensifier", "neutral (some)")
    for (kind, color), name in zip(kinds, names, strict=True):
        own = [i for i, word in enumerate(words) if word in kind]
        a.barh(own, [weights[words[i]][0] for i in own], color=color, label=name)
    a.set_yticks(range(len(words)), words, fontsize=8)
    a.invert_yaxis()
    a.set(title="Linear, two classes: weight of each word", xlabel="weight (logit a word)")
    a.legend(loc="lower left")
    table = np.stack([weights_three[word] for word in words])
    table -= table.mean(axis=1, keepdims=True)  # softmax does not see what all classes share
    most = np.max(np.abs(table))
    image = b.imshow(table, cmap="RdBu", vmin=-most, vmax=most, aspect="auto")
    b.set_xticks(range(3), ["negative", "neutral", "positive"])
    b.set_yticks(range(len(words)), words, fontsize=8)
    b.set_title("Linear, three classes: weights")
    b.grid(False)
    figure.colorbar(image, ax=b, label="weight, less the mean of the classes")
    at = np.arange(len(two))
    for k, (part, color) in enumerate((("no negation", "C0"), ("negation", "C1"))):
        for found, shift, alpha in ((two, -0.2, 1.0), (three, 0.2, 0.45)):
            values = [100 * row[part] for row in found.values()]
            where = at + shift + (k - 0.5) * 0.18
            label = f"{part}, {'two' if found is two else 'three'} classes"
            c.bar(where, values, 0.17, color=color, alpha=alpha, label=label)
    c.set_xticks(at, [name.replace(", ", "\n") for name in two])
    c.set(title="Held-out reviews", ylabel="right (%)", ylim=(0, 135), yticks=range(0, 101, 20))
    c.legend(ncols=2, loc="upper left", fontsize=8)
    styles = ("-", "-", ":", "-")
    for (name, run), style in zip(from_starts.items(), styles, strict=True):
        epochs = np.arange(1, len(run["loss"]) + 1)
        d.plot(epochs, run["loss"], style, linewidth=2.5 if style == ":" else 1.5, label=name)
    d.set(
        title="Two classes, words, hidden layer: from where it starts",
        xlabel="epochs",
        ylabel="training loss (nats a review)",
        ylim=(0, 0.8),
    )
    d.legend(loc="lower left", fontsize=9)
    return figure


def main():
    parser = options(__doc__, reviews=2000, hidden=16, epochs=40)
    args = parser.parse_args()
    at_least(parser, args, seed=0, reviews=300, hidden=2, epochs=1)
    two, weights = four_models(args.seed, args.reviews, args.hidden, args.epochs, classes=2)
    three, weights_three = four_models(args.seed, args.reviews, args.hidden, args.epochs, classes=3)
    from_starts = starts(args.seed, args.reviews, args.hidden, args.epochs)

    parts = ("training", "held out", "no negation", "negation")
    for classes, found in ((2, two), (3, three)):
        show(
            f"Right of reviews of {classes} classes ({args.reviews} to train, "
            f"{args.reviews // 2} held out)",
            ("model", "features", *parts),
            [(name, row["features"], *(row[p] for p in parts)) for name, row in found.items()],
        )
    show(
        f"Theta at the start; {args.hidden} hidden units, words, two classes",
        ("start", "training loss", "right", "largest weight", "units differ by"),
        [
            (name, float(run["loss"][-1]), run["accuracy"], run["largest weight"],
             run["largest difference between units"])
            for name, run in from_starts.items()
        ],
    )  # fmt: skip
    numbers = {
        "seed": args.seed,
        "epochs": args.epochs,
        "example": " ".join(reviews(args.seed, 1, 2)[0][0]),
        "two classes": two,
        "three classes": three,
        "weights, two classes": {word: float(w[0]) for word, w in weights.items()},
        "starts": {
            name: {**run, "loss": float(run["loss"][-1])} for name, run in from_starts.items()
        },
    }
    figure = picture(two, three, weights, weights_three, from_starts)
    keep(args.out, "text_classification", figure, numbers)


if __name__ == "__main__":
    main()
