"""Bad input: one line that says who expected what, what came, and the remedy, before compiling."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import manualbp as bp
from manualbp import Dense


def ones(*shape):
    return jnp.ones(shape, jnp.float32)


def array(*values):
    return jnp.asarray(values)


W, B = (3, 2), (2,)
NETWORK = bp.mlp((3, 4, 2), activation=bp.tanh)
CHAIN = "chain(dense, tanh, dense, identity)"
CE = "softmax_cross_entropy_with_integer_labels"
RANDOMIZED = "randomized_relu(lower=0.125, upper=0.3333333333333333)"
CLASSES = "give one row an example, one column a class"
ALIKE = "reshape or broadcast it first"
CONVERT = "convert one of them with .astype"
HARD = "map labels of -1 and 1 with (labels + 1) / 2"
SCORES = "for scores before the sigmoid or softmax use the loss of logits"


def params():
    return (
        Dense(ones(3, 4), ones(4)),
        (),
        Dense(ones(4, 2), ones(2)),
        (),
    )


def step(*, p=None, x=None, y=None, network=NETWORK, **options):
    """loss_and_grad of five examples, with one argument in another form."""
    x = ones(5, 3) if x is None else x
    y = jnp.zeros(5, jnp.int32) if y is None else y
    return network.loss_and_grad(params() if p is None else p, x, y, **options)


def regression(y, loss=bp.squared_error):
    network = bp.mlp((3, 2), loss=loss)
    return step(network=network, p=(Dense(ones(3, 2), ones(2)), ()), y=y)


# Exact texts: name of the mistake, call, error, message

FORMS = {
    # dtypes
    "integers into an activation": (
        lambda: bp.sigmoid(array(1, 2)),
        TypeError,
        "sigmoid: expected floating-point z, got int32: convert it with z.astype(jnp.float32)",
    ),
    "a Python int into an activation": (
        lambda: bp.relu(3),
        TypeError,
        "relu: expected floating-point z, got int32: convert it with z.astype(jnp.float32)",
    ),
    "booleans into an activation": (
        lambda: bp.tanh(array(True, False)),
        TypeError,
        "tanh: expected floating-point z, got bool: convert it with z.astype(jnp.float32)",
    ),
    "integers into softmax": (
        lambda: bp.softmax(array(1, 2)),
        TypeError,
        "softmax: expected floating-point z, got int32: convert it with z.astype(jnp.float32)",
    ),
    "integers into a randomised activation": (
        lambda: bp.randomized_relu()(None, array(1, 2)),
        TypeError,
        f"{RANDOMIZED}: expected floating-point z, got int32: "
        "convert it with z.astype(jnp.float32)",
    ),
    "slope of another dtype": (
        lambda: bp.prelu(jnp.float16(1), ones(2, 3)),
        TypeError,
        f"prelu: expected slope of dtype float32 to match z, got float16: {CONVERT}",
    ),
    "beta of another dtype": (
        lambda: bp.learnable_swish(jnp.float16(1), ones(2, 3)),
        TypeError,
        f"learnable_swish: expected beta of dtype float32 to match z, got float16: {CONVERT}",
    ),
    "targets of another dtype": (
        lambda: bp.squared_error(ones(3), jnp.ones(3, jnp.float16)),
        TypeError,
        f"squared_error: expected targets of dtype float32 to match predictions, got float16: "
        f"{CONVERT}",
    ),
    "integer targets": (
        lambda: bp.half_squared_error(ones(3), array(1, 2, 3)),
        TypeError,
        "half_squared_error: expected floating-point targets, got int32: "
        "convert it with targets.astype(jnp.float32)",
    ),
    "variance of another dtype": (
        lambda: bp.gaussian_nll(ones(3), jnp.ones(3, jnp.float16), ones(3)),
        TypeError,
        f"gaussian_nll: expected variance of dtype float32 to match mean, got float16: {CONVERT}",
    ),
    "integer labels into a loss of soft ones": (
        lambda: bp.softmax_cross_entropy(ones(2, 3), array(0, 1)),
        TypeError,
        "softmax_cross_entropy: expected floating-point labels, got int32: "
        "convert it with labels.astype(jnp.float32)",
    ),
    "floating labels into a loss of integer ones": (
        lambda: getattr(bp, CE)(ones(2, 3), ones(2)),
        TypeError,
        f"{CE}: expected integer labels, got float32: convert them with "
        "labels.astype(jnp.int32), or use the loss for one-hot and soft labels",
    ),
    "boolean labels": (
        lambda: bp.negative_log_likelihood(ones(2, 3), array(True, False)),
        TypeError,
        "negative_log_likelihood: expected integer labels, got bool: convert them with "
        "labels.astype(jnp.int32), or use the loss for one-hot and soft labels",
    ),
    "integers into a layer": (
        lambda: bp.dense(Dense(ones(*W), ones(*B)), jnp.ones((5, 3), jnp.int32)),
        TypeError,
        "dense: expected floating-point x, got int32: convert it with x.astype(jnp.float32)",
    ),
    "a layer of another dtype": (
        lambda: bp.dense(Dense(ones(*W), ones(*B)), jnp.ones((5, 3), jnp.float16)),
        TypeError,
        f"dense: expected x of dtype float32 to match w, got float16: {CONVERT}",
    ),
    "a bias of another dtype": (
        lambda: bp.dense(Dense(ones(*W), jnp.ones(B, jnp.float16)), ones(5, 3)),
        TypeError,
        f"dense: expected b of dtype float32 to match w, got float16: {CONVERT}",
    ),
    "integers into a network": (
        lambda: step(x=jnp.ones((5, 3), jnp.int32)),
        TypeError,
        "loss_and_grad: expected floating-point x, got int32: "
        "convert it with x.astype(jnp.float32)",
    ),
    "integer parameters": (
        lambda: step(p=jax.tree.map(lambda a: a.astype(jnp.int32), params())),
        TypeError,
        "dense: expected floating-point w, got int32: convert it with w.astype(jnp.float32)",
    ),
    "floating labels into a network for integer ones": (
        lambda: step(y=ones(5)),
        TypeError,
        f"{CE}: expected integer labels, got float32: convert them with "
        "labels.astype(jnp.int32), or use the loss for one-hot and soft labels",
    ),
    # shapes and ranks
    "slope of a higher rank than z": (
        lambda: bp.prelu(ones(2, 3), ones(3)),
        ValueError,
        "prelu: expected slope to broadcast to z of shape (3,), got (2, 3): "
        "one slope a layer () or a channel (3,)",
    ),
    "softmax of a number": (
        lambda: bp.softmax(ones()),
        ValueError,
        "softmax: expected z with at least one entry on a last axis, got shape (): " + CLASSES,
    ),
    "softmax of no class": (
        lambda: bp.log_softmax(ones(2, 0)),
        ValueError,
        "log_softmax: expected z with at least one entry on a last axis, got shape (2, 0): "
        + CLASSES,
    ),
    "targets of another shape": (
        lambda: bp.squared_error(ones(2, 3), ones(2, 2)),
        ValueError,
        "squared_error: expected targets of shape (2, 3) to match predictions, got (2, 2): "
        + ALIKE,
    ),
    "targets that would broadcast": (
        lambda: bp.mean_squared_error(ones(2, 1), ones(2)),
        ValueError,
        "mean_squared_error: expected targets of shape (2, 1) to match predictions, got (2,): "
        + ALIKE,
    ),
    "one-hot labels of another rank": (
        lambda: bp.cross_entropy(0.5 * ones(2, 3), ones(3)),
        ValueError,
        "cross_entropy: expected labels of shape (2, 3) to match probabilities, got (3,): " + ALIKE,
    ),
    "logits and labels of different shapes": (
        lambda: bp.sigmoid_binary_cross_entropy(ones(3, 1), ones(3)),
        ValueError,
        "sigmoid_binary_cross_entropy: expected labels of shape (3, 1) to match logits, "
        f"got (3,): {ALIKE}",
    ),
    "logits without classes": (
        lambda: bp.multilabel_binary_cross_entropy(ones(), ones()),
        ValueError,
        "multilabel_binary_cross_entropy: expected logits with at least one entry on a last "
        f"axis, got shape (): {CLASSES}",
    ),
    "labels in a column": (
        lambda: getattr(bp, CE)(ones(2, 3), jnp.zeros((2, 1), jnp.int32)),
        ValueError,
        f"{CE}: expected labels of shape (2,) to match scores of shape (2, 3), got (2, 1): "
        "give one integer an example",
    ),
    "too few inputs for a layer": (
        lambda: bp.dense(Dense(ones(*W), ones(*B)), ones(5, 4)),
        ValueError,
        "dense: expected x of shape (..., 3) to match w (3, 2), got (5, 4)",
    ),
    "a number into a layer": (
        lambda: bp.dense_without_bias(ones(3, 2), ones()),
        ValueError,
        "dense_without_bias: expected x of shape (..., 3) to match w (3, 2), got ()",
    ),
    "the dummy feature forgotten": (
        lambda: bp.dense_augmented(ones(3, 2), ones(5, 3)),
        ValueError,
        "dense_augmented: expected x of shape (..., 2) to match w (3, 2), got (5, 3)",
    ),
    "weights that are no matrix": (
        lambda: bp.dense_without_bias(ones(3), ones(5, 3)),
        ValueError,
        "dense_without_bias: expected w of shape (inputs, outputs), got (3,): one column an output",
    ),
    "a bias for each input": (
        lambda: bp.dense(Dense(ones(3, 2), ones(3)), ones(5, 3)),
        ValueError,
        "dense: expected b of shape (2,) to match w (3, 2), got (3,)",
    ),
    "inputs of another width": (
        lambda: step(x=ones(5, 4)),
        ValueError,
        "loss_and_grad: expected x of shape (examples, 3), got (5, 4): put one example a row",
    ),
    "one example without a batch axis": (
        lambda: step(x=ones(3)),
        ValueError,
        "loss_and_grad: expected x of shape (examples, 3), got (3,): put one example a row",
    ),
    "a batch of another size": (
        lambda: step(y=jnp.zeros(4, jnp.int32)),
        ValueError,
        "loss_and_grad: expected y with 5 examples to match x, got shape (4,)",
    ),
    "a label alone": (
        lambda: step(y=jnp.zeros((), jnp.int32)),
        ValueError,
        "loss_and_grad: expected y with 5 examples to match x, got shape ()",
    ),
    "an empty batch": (
        lambda: step(x=ones(0, 3), y=jnp.zeros(0, jnp.int32)),
        ValueError,
        "loss_and_grad: expected at least one example, got an empty batch: skip it, its mean "
        "loss does not exist",
    ),
    "parameters of another network": (
        lambda: step(p=params()[:-1]),
        ValueError,
        f"{CHAIN}: expected params with 4 entries, one a rule, got 3: put () for a rule "
        "without parameters",
    ),
    "weights that do not fit each other": (
        lambda: step(p=(params()[0], (), Dense(ones(3, 2), ones(2)), ())),
        ValueError,
        "dense: expected x of shape (..., 3) to match w (3, 2), got (5, 4)",
    ),
    # hyperparameters
    "elu with alpha 0": (
        lambda: bp.elu(0.0),
        ValueError,
        "elu: expected alpha to be a positive finite number, got 0.0",
    ),
    "an infinite slope": (
        lambda: bp.leaky_relu(np.inf),
        ValueError,
        "leaky_relu: expected slope to be a finite number, got inf",
    ),
    "a beta that is not a number": (
        lambda: bp.swish(np.nan),
        ValueError,
        "swish: expected beta to be a finite number, got nan",
    ),
    "bounds in the wrong order": (
        lambda: bp.randomized_relu(0.5, 0.25),
        ValueError,
        "randomized_relu: expected lower to be at most upper=0.25, got 0.5",
    ),
    # names and forms
    "an argument too many": (
        lambda: bp.dense(ones(3, 2), ones(2), ones(5, 3)),
        TypeError,
        "dense: expected 2 arguments (params, x), got 3",
    ),
    "saves of neither input nor output": (
        lambda: bp.elementwise("sine", jnp.sin, jnp.cos, tex="", source="", saves="z"),
        ValueError,
        "elementwise: expected saves='x' or saves='y', got 'z'",
    ),
    "a chain of nothing": (
        bp.chain,
        ValueError,
        "chain: expected at least one rule, got none",
    ),
    "a chain of a rule of three arguments": (
        lambda: bp.chain(bp.gaussian_nll),
        ValueError,
        "chain: expected rules of (x) or (params, x), got gaussian_nll of (mean, variance, "
        "targets): close over its other arguments",
    ),
    "a loss around an activation": (
        lambda: bp.with_loss(bp.tanh, bp.squared_error),
        ValueError,
        "with_loss: expected a rule of (params, x) and a loss of (prediction, target), got tanh "
        "of (z) and squared_error of (predictions, targets)",
    ),
    "one width": (
        lambda: bp.mlp((3,)),
        ValueError,
        "mlp: expected at least two positive integer widths, got (3,): inputs first, outputs last",
    ),
    "a width of 0": (
        lambda: bp.mlp((3, 0, 2)),
        ValueError,
        "mlp: expected at least two positive integer widths, got (3, 0, 2): inputs first, "
        "outputs last",
    ),
    "too many activations": (
        lambda: bp.mlp((3, 4, 2), activation=[bp.tanh, bp.tanh]),
        ValueError,
        "mlp: expected one activation or 1, one for each hidden layer of widths (3, 4, 2), got 2",
    ),
    "an activation whose start is not known": (
        lambda: bp.mlp((3, 4, 2), activation=bp.dense),
        ValueError,
        "mlp: expected an activation whose start is known, got dense of (params, x): chain it "
        "with chain(...) and make its parameters yourself",
    ),
    "a learned output unit": (
        lambda: bp.mlp((3, 4, 2), output=bp.prelu),
        ValueError,
        "mlp: expected an output unit of z alone, got prelu of (slope, z): pass a rule such as "
        "manualbp.identity",
    ),
    "an unknown layer": (
        lambda: bp.mlp((3, 4, 2), layer="dense"),
        ValueError,
        "mlp: expected layer dense, dense_without_bias or dense_augmented, got 'dense': chain "
        "other layers with chain(...)",
    ),
    "an unknown memory": (
        lambda: bp.mlp((3, 4, 2), memory="low"),
        ValueError,
        "mlp: expected memory 'fast' or 'lean', got 'low'",
    ),
    "an unknown reduction": (
        lambda: step(reduction="none"),
        ValueError,
        "loss_and_grad: expected reduction 'mean' or 'sum', got 'none'",
    ),
    "a network without a loss": (
        lambda: step(network=bp.mlp((3, 4, 2), loss=None)),
        ValueError,
        "loss_and_grad: expected a network with a loss, got none: mlp(..., loss=...)",
    ),
}

VALUES = {
    "a label too large": (
        lambda: getattr(bp, CE)(ones(2, 3), array(0, 3)),
        ValueError,
        f"{CE}: expected labels in 0..2, got 3: count classes from 0, and drop or weight "
        "examples without a class",
    ),
    "a negative label": (
        lambda: bp.negative_log_likelihood(-ones(2, 3), array(0, -1)),
        ValueError,
        "negative_log_likelihood: expected labels in 0..2, got -1: count classes from 0, and "
        "drop or weight examples without a class",
    ),
    "a label too large for a network": (
        lambda: step(y=jnp.full(5, 2)),
        ValueError,
        f"{CE}: expected labels in 0..1, got 2: count classes from 0, and drop or weight "
        "examples without a class",
    ),
    "labels of -1 and 1": (
        lambda: bp.logistic_loss(ones(2), array(-1.0, 1.0)),
        ValueError,
        f"logistic_loss: expected labels in [0, 1], got -1: {HARD}",
    ),
    "labels of -1 and 1 in a network": (
        lambda: regression(-ones(5, 2), bp.multilabel_binary_cross_entropy),
        ValueError,
        f"multilabel_binary_cross_entropy: expected labels in [0, 1], got -1: {HARD}",
    ),
    "a label that is not a number": (
        lambda: bp.sigmoid_binary_cross_entropy(ones(2), array(np.nan, 1.0)),
        ValueError,
        f"sigmoid_binary_cross_entropy: expected labels in [0, 1], got nan: {HARD}",
    ),
    "scores for probabilities": (
        lambda: bp.binary_cross_entropy(array(1.5, -0.5), ones(2)),
        ValueError,
        f"binary_cross_entropy: expected probabilities in [0, 1], got 1.5: {SCORES}",
    ),
    "scores for the probabilities of classes": (
        lambda: bp.cross_entropy(array(0.5, -0.5), ones(2)),
        ValueError,
        f"cross_entropy: expected probabilities in [0, 1], got -0.5: {SCORES}",
    ),
    "parameters that are not numbers": (
        lambda: step(p=jax.tree.map(lambda a: jnp.nan * a, params())),
        ValueError,
        "loss_and_grad: expected finite params, got NaN or infinity in params[0].w: lower the "
        "learning rate, or start again from the last finite state",
    ),
    "an infinite bias": (
        lambda: step(p=(*params()[:2], Dense(ones(4, 2), jnp.inf * ones(2)), ())),
        ValueError,
        "loss_and_grad: expected finite params, got NaN or infinity in params[2].b: lower the "
        "learning rate, or start again from the last finite state",
    ),
}

# Texts of which the beginning counts: name of the mistake, call, pattern

BEGINNINGS = {
    "a slope for another number of channels": (
        lambda: bp.prelu(ones(4), ones(2, 3)),
        r"prelu: expected slope to broadcast to z of shape \(2, 3\), got \(4,\): .",
    ),
    "the generalised form's slope": (
        lambda: bp.generalized_relu(ones(2), ones(2, 3)),
        r"generalized_relu: expected slope to broadcast to z of shape \(2, 3\), got \(2,\): .",
    ),
    "a beta for another number of channels": (
        lambda: bp.learnable_swish(ones(4), ones(2, 3)),
        r"learnable_swish: expected beta to broadcast to z of shape \(2, 3\), got \(4,\): .",
    ),
    "a variance for each example": (
        lambda: bp.gaussian_nll(ones(2, 3), ones(2), ones(2, 3)),
        r"gaussian_nll: expected variance to broadcast to mean of shape \(2, 3\), got \(2,\): .",
    ),
    "a slope in a network": (
        lambda: step(
            network=bp.mlp((3, 4, 2), activation=bp.prelu),
            p=(params()[0], ones(3), params()[2], ()),
        ),
        r"prelu: expected slope to broadcast to z of shape \(5, 4\), got \(3,\): .",
    ),
    "a variance of 0": (
        lambda: bp.gaussian_nll(ones(3), 0 * ones(3), ones(3)),
        r"gaussian_nll: expected (a )?positive,? (finite )?variance, got 0: .",
    ),
    "labels of a number": (
        lambda: getattr(bp, CE)(ones(), jnp.zeros((), jnp.int32)),
        rf"{CE}: expected logits with at least one entry on a last axis, got shape \(\): .",
    ),
    "log-probabilities of a number": (
        lambda: bp.negative_log_likelihood(ones(), jnp.zeros((), jnp.int32)),
        r"negative_log_likelihood: expected log_probabilities with at least one entry on a last "
        r"axis, got shape \(\): .",
    ),
    "labels of no class": (
        lambda: getattr(bp, CE)(ones(2, 0), array(0, 0)),
        rf"{CE}: expected logits with at least one entry on a last axis, got shape \(2, 0\): .",
    ),
    "weights alone where there is a bias": (
        lambda: bp.dense(ones(3, 2), ones(5, 3)),
        r"dense: expected params .*w.*b.*, got .",
    ),
    "three parameters of a layer": (
        lambda: bp.dense((ones(3, 2), ones(2), ones(2)), ones(5, 3)),
        r"dense: expected params .*w.*b.*, got .",
    ),
    "no parameters": (
        lambda: bp.dense(None, ones(5, 3)),
        r"dense: expected params .*w.*b.*, got .",
    ),
    "weights and bias where there is none": (
        lambda: bp.dense_without_bias(Dense(ones(3, 2), ones(2)), ones(5, 3)),
        r"dense_without_bias: expected .*w.*, got .",
    ),
    "no row for the bias": (
        lambda: bp.dense_augmented(ones(0, 2), ones(5, 3)),
        r"dense_augmented: expected (w|theta) (?!.*-1).*got \(0, 2\)",
    ),
    "no parameters of a chain": (
        lambda: bp.chain(bp.dense, bp.tanh)(None, ones(5, 3)),
        r"chain\(dense, tanh\): expected params with 2 entries, one a rule, got .",
    ),
    "a name in a chain": (lambda: bp.chain("relu"), r"chain: expected rules.*, got 'relu'"),
    "a factory in a chain": (lambda: bp.chain(bp.elu), r"chain: expected rules.*, got .*elu"),
    "a function in a chain": (
        lambda: bp.chain(bp.relu, jnp.tanh),
        r"chain: expected rules.*, got ",
    ),
    "a loss by name": (
        lambda: bp.with_loss(NETWORK.rule, "mse"),
        r"with_loss: expected .*, got .*'mse'",
    ),
    "one number for the widths": (
        lambda: bp.mlp(3),
        r"mlp: expected at least two positive integer widths, got 3: .",
    ),
    "a truth for a width": (
        lambda: bp.mlp((True, 2)),
        r"mlp: expected at least two positive integer widths, got \(True, 2\): .",
    ),
    "an activation by name": (
        lambda: bp.mlp((3, 4, 2), activation="tanh"),
        r"mlp: expected .*activation.*, got 'tanh'",
    ),
    "activations by name": (
        lambda: bp.mlp((3, 4, 2), activation=["tanh"]),
        r"mlp: expected .*activation.*, got .*'tanh'",
    ),
    "a factory for an activation": (
        lambda: bp.mlp((3, 4, 2), activation=bp.elu),
        r"mlp: expected .*activation.*, got .*elu",
    ),
    "a function for an activation": (
        lambda: bp.mlp((3, 4, 2), activation=[jnp.tanh]),
        r"mlp: expected .*activation.*, got .",
    ),
    "an output unit by name": (
        lambda: bp.mlp((3, 4, 2), output="softmax"),
        r"mlp: expected .*output.*, got 'softmax'",
    ),
    "a loss of a network by name": (
        lambda: bp.mlp((3, 4, 2), loss="mse"),
        r"mlp: expected .*loss.*, got 'mse'",
    ),
    "an activation for a loss": (
        lambda: bp.mlp((3, 4, 2), loss=bp.relu),
        r"mlp: expected .*loss.*, got .*relu",
    ),
    "a loss of three arguments": (
        lambda: bp.mlp((3, 4, 2), loss=bp.gaussian_nll),
        r"mlp: expected .*loss.*, got .*gaussian_nll",
    ),
    "an initialisation by name": (
        lambda: bp.mlp((3, 4, 2), init="he"),
        r"mlp: expected .*init.*, got 'he'",
    ),
    "a seed for a key": (lambda: NETWORK.init(0), r"init: expected .*key.*, got .*: .*jax\.random"),
    "a seed for the key of a draw": (
        lambda: bp.randomized_relu()(3, ones(2)),
        r"randomized_relu.*: expected .*key.*, got .*: .*jax\.random",
    ),
    "integer weights": (
        lambda: NETWORK.init(jax.random.key(0), jnp.int32),
        r"init: expected .*dtype.*, got .*int32",
    ),
    "a name for a slope": (
        lambda: bp.leaky_relu("0.1"),
        r"leaky_relu: expected slope to be a finite number, got '0.1'",
    ),
    "the input of a rule into its factory": (
        lambda: bp.elu(ones(3)),
        r"elu: expected alpha to be a positive finite number, got .",
    ),
    "a word into an activation": (lambda: bp.sigmoid("abc"), r"sigmoid: expected .*z.*, got 'abc'"),
    "nothing into an activation": (lambda: bp.sigmoid(None), r"sigmoid: expected .*z.*, got None"),
    "labels that are words": (
        lambda: getattr(bp, CE)(ones(2, 3), np.array(["cat", "dog"])),
        rf"{CE}: expected .*labels.*, got .*U3.*: .",
    ),
    "no parameters of a network": (
        lambda: step(p=0),
        r"(loss_and_grad|chain.*): expected params .*, got .",
    ),
    "no labels": (
        lambda: NETWORK.loss_and_grad(params(), ones(5, 3), None),
        r"loss_and_grad: expected y .*, got .*None",
    ),
    "a shape that was not broadcast": (
        lambda: bp.sum_to(ones(2, 3), (2,)),
        r"sum_to: expected .*shape.*\(2,\).*got .*\(2, 3\)",
    ),
}


@pytest.fixture
def programs(caplog):
    """The programs that XLA compiles, by name."""
    with jax.log_compiles(True):
        yield lambda: re.findall(r"Finished XLA compilation of (\S+)", caplog.text)


def refuses(call, error):
    with pytest.raises(error) as raised:
        call()
    message = str(raised.value)
    assert "\n" not in message
    assert re.match(r"[\w(][\w(), .=]*: expected .+, got .", message), message
    return message


@pytest.mark.parametrize("mistake", FORMS)
def test_a_mistake_of_form_is_told_in_these_words(mistake):
    """The same where nothing is compiled, nor could be: shapes and dtypes are all there is."""
    call, error, expected = FORMS[mistake]
    assert refuses(call, error) == expected
    assert refuses(lambda: jax.eval_shape(call), error) == expected


@pytest.mark.parametrize("mistake", VALUES)
def test_a_mistake_of_value_is_told_in_these_words(mistake, programs, caplog):
    call, error, expected = VALUES[mistake]
    params(), ones(2, 3), ones(5, 3), ones(5, 2)
    caplog.clear()
    assert refuses(call, error) == expected
    # no more than the making of the arguments
    assert not re.search("loss|entropy|likelihood|dot|exp|log|where", " ".join(programs()))


@pytest.mark.parametrize("mistake", BEGINNINGS)
def test_a_mistake_is_told_in_one_line(mistake):
    call, pattern = BEGINNINGS[mistake]
    message = refuses(call, (TypeError, ValueError))
    assert re.match(pattern, message), message


def test_what_a_mistake_resembles_is_no_mistake():
    """NumPy integers as widths, lists as batches."""
    network = bp.mlp((np.int64(3), 4, np.int32(2)), activation=bp.tanh)
    wanted = step()
    found = network.loss_and_grad(params(), ones(5, 3).tolist(), [0] * 5)
    for a, b in zip(jax.tree.leaves(found), jax.tree.leaves(wanted), strict=True):
        np.testing.assert_array_equal(a, b)
