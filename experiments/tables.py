"""Tables of numbers split into training and held-out examples, as several experiments need them."""

import numpy as np


def standardised_split(x, y, seed, held_out=0.2):
    """Training and held-out examples, features standardised.

    Mean and spread are the training examples' alone: the held-out ones are not to be known yet.

    Args:
      x: features, shape (examples, features).
      y: targets, first axis the examples.
      seed: of the split.
      held_out: share of the examples that are held out.

    Returns:
      (x, y) for training, and (x, y) held out.
    """
    order = np.random.default_rng(seed).permutation(len(x))
    seen, unseen = np.split(order, [len(x) - round(held_out * len(x))])
    mean, spread = x[seen].mean(axis=0), x[seen].std(axis=0)
    x = (x - mean) / np.where(spread > 0, spread, 1)  # a feature that is constant stays 0
    return (x[seen], y[seen]), (x[unseen], y[unseen])
