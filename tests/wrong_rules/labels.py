"""Losses right for some labels only."""

import jax.numpy as jnp

import manualbp
import reference
from manualbp.verify import Spec
from tests.wrong_rules.shared import (
    BATCH_OF_LABELS,
    CROSS_ENTROPY,
    LABELS,
    REAL23,
    no_cotangent,
    of_kind,
    of_rule,
    one_hot,
    sigmoid,
    softmax,
)

labels_only = of_kind(LABELS)

SIGMOID_CROSS_ENTROPY = of_rule(
    manualbp.sigmoid_binary_cross_entropy,
    reference.sigmoid_binary_cross_entropy,
    (Spec((3,)), Spec((3,), "labels")),
)
LIKELIHOOD = of_rule(
    manualbp.negative_log_likelihood, reference.negative_log_likelihood, (REAL23, BATCH_OF_LABELS)
)
LOGISTIC = of_rule(
    manualbp.logistic_loss, reference.logistic_loss, (Spec((3,)), Spec((3,), "labels"))
)

RULES = (
    labels_only(
        "cross_entropy_for_labels_that_sum_to_1",
        CROSS_ENTROPY,
        "term|sum|label",
        pull=lambda z, y, dy: (dy[:, None] * (softmax(z) - y), CROSS_ENTROPY.pull(z, y, dy)[1]),
    ),
    labels_only(
        "cross_entropy_for_hard_labels",
        CROSS_ENTROPY.on(REAL23, Spec((2, 3), "simplex")),
        "label|only|term",
        pull=lambda z, y, dy: CROSS_ENTROPY.pull(z, one_hot(jnp.argmax(y, axis=-1), y), dy),
    ),
    labels_only(
        "binary_cross_entropy_for_hard_labels",
        SIGMOID_CROSS_ENTROPY,
        "label|only|term",
        pull=lambda z, y, dy: (dy * jnp.where(y > 0.5, -sigmoid(-z), sigmoid(z)), -dy * z),
    ),
    labels_only(
        "wrong_for_the_last_class",
        LIKELIHOOD,
        "class|only",
        pull=lambda z, labels, dy: (
            jnp.where(labels == 2, 0, -dy)[:, None] * one_hot(labels, z),
            no_cotangent(labels),
        ),
    ),
    labels_only(
        "labels_of_minus_1_and_1_taken_for_0_and_1",
        LOGISTIC,
        "label|term|only",
        pull=lambda z, y, dy: (dy * (sigmoid(z) - (y + 1) / 2), LOGISTIC.pull(z, y, dy)[1]),
    ),
)
