"""Note 003, "Neural Networks" (CS114B Lab 5, 2022): batches in rows, the bias inside Theta.

Theta is W with the bias b as one more row, which the dummy feature 1 multiplies. Hidden
layers are tanh. The loss is the mean over the examples, and the sum over the outputs.
"""

import jax
import jax.numpy as jnp

from ._claim import Claim
from ._definitions import (
    append_one,
    binary_cross_entropy,
    cross_entropy,
    derivative,
    pullback,
    sigmoid,
    softmax,
    tanh,
)


def _softmax_loss(z, y):
    return cross_entropy(y, softmax(z)) / len(z)


def _logistic_loss(z, y):
    return jnp.sum(binary_cross_entropy(y, sigmoid(z))) / len(z)


def _score(x, theta1, theta2, theta3):
    """z of the output layer, behind two hidden layers."""
    a1 = append_one(tanh(append_one(x) @ theta1))
    a2 = append_one(tanh(a1 @ theta2))
    return a2 @ theta3


def _backward(output, x, y, theta1, theta2, theta3):
    """The gradients of every layer by the note's equations, from the output backwards."""
    a0 = append_one(x)
    z1 = a0 @ theta1
    a1 = append_one(tanh(z1))
    z2 = a1 @ theta2
    a2 = append_one(tanh(z2))
    w2, w3 = theta2[:-1], theta3[:-1]

    delta3 = output(a2 @ theta3) - y
    delta2 = (delta3 @ w3.T) * derivative(tanh)(z2)
    delta1 = (delta2 @ w2.T) * derivative(tanh)(z1)
    return a0.T @ delta1 / len(x), a1.T @ delta2 / len(x), a2.T @ delta3 / len(x)


def _gradients(loss, x, y, *thetas):
    grads = jax.grad(lambda thetas: loss(_score(x, *thetas), y))(thetas)
    return grads


def _step(grads, rate, thetas):
    return tuple(theta - rate * grad for theta, grad in zip(thetas, grads, strict=True))


_X = [[1.0, 2.0], [0.0, -1.0], [1.0, 0.0]]
_ONE_HOT = [[1.0, 0.0], [0.0, 1.0], [0.0, 1.0]]
_SOFT = [[0.5, 0.5], [0.25, 0.75], [1.0, 0.0]]
_BITS = [[1.0, 1.0], [0.0, 1.0], [0.0, 0.0]]
_THETAS = (
    [[1.0, 0.0, -1.0], [0.5, 1.0, 0.0], [0.0, 0.0, 1.0]],
    [[1.0, 0.0], [0.0, 1.0], [1.0, 1.0], [0.5, 0.0]],
    [[1.0, -1.0], [0.0, 2.0], [0.0, 0.5]],
)
_A = [[1.0, 2.0, 1.0], [0.0, -1.0, 1.0]]
_THETA = [[1.0, 0.0], [0.5, -1.0], [0.0, 1.0]]

CLAIMS = (
    # Forward
    Claim(
        id="003/forward/layer",
        place="note 003, 'Feedforward Neural Networks', l.174",
        printed=r"\mathbf{a}^{[1]} = g(\mathbf{a}^{[0]} \cdot \Theta^{[1]})",
        as_printed=lambda x, w, b: tanh(append_one(x) @ jnp.concatenate([w, b[None]])),
        truth=lambda x, w, b: jax.vmap(lambda x: tanh(x @ w + b))(x),
        points=((_X, [[1.0, 0.0, 2.0], [0.0, 1.0, -1.0]], [1.0, 2.0, 3.0]),),
        remark="a^[0] carries the dummy 1, Theta = W, b.",
    ),
    Claim(
        id="003/forward/network",
        place="note 003, 'Feedforward Neural Networks', l.184-185",
        printed=r"\mathbf{a}^{[2]} = g(\mathbf{a}^{[1]} \cdot \Theta^{[2]})",
        as_printed=lambda x, theta1, theta2: tanh(
            append_one(tanh(append_one(x) @ theta1)) @ theta2
        ),
        truth=lambda x, theta1, theta2: jax.vmap(
            lambda x: tanh(tanh(x @ theta1[:-1] + theta1[-1]) @ theta2[:-1] + theta2[-1])
        )(x),
        points=((_X, *_THETAS[:2]),),
        remark="The dummy 1 joins a^[1] after the activation.",
    ),
    # The gradient of the last layer: rows of a end with the dummy 1
    Claim(
        id="003/last-layer/softmax",
        place="note 003, 'Feedforward Neural Networks', l.197, softmax",
        printed=r"(\nabla L)^{[2]} = \frac{1}{m}"
        r" \left((\mathbf{a}^{[1]})^T \cdot (\hat{\mathbf{y}} - \mathbf{y}) \right)",
        as_printed=lambda theta, a, y: a.T @ (softmax(a @ theta) - y) / len(a),
        truth=jax.grad(lambda theta, a, y: _softmax_loss(a @ theta, y)),
        points=(
            (_THETA, _A, [[1.0, 0.0], [0.0, 1.0]]),
            (_THETA, _A, [[0.5, 0.5], [0.25, 0.75]]),
        ),
        remark="For labels that sum to one.",
        explore=False,
    ),
    Claim(
        id="003/last-layer/logistic",
        place="note 003, 'Feedforward Neural Networks', l.197, logistic",
        printed=r"(\nabla L)^{[2]} = \frac{1}{m}"
        r" \left((\mathbf{a}^{[1]})^T \cdot (\hat{\mathbf{y}} - \mathbf{y}) \right)",
        as_printed=lambda theta, a, y: a.T @ (sigmoid(a @ theta) - y) / len(a),
        truth=jax.grad(lambda theta, a, y: _logistic_loss(a @ theta, y)),
        points=((_THETA, _A, [[1.0, 1.0], [0.0, 1.0]]),),
        remark="A sum over the outputs: a mean over them too would divide by their number.",
    ),
    # Backpropagation
    Claim(
        id="003/backprop/gradient",
        place="note 003, 'Backpropagation', l.239",
        printed=r"(\nabla L)^{[i]} = \frac{1}{m}"
        r" \left((\mathbf{a}^{[i-1]})^T \cdot \delta^{[i]} \right)",
        as_printed=lambda theta, a, delta: a.T @ delta / len(a),
        truth=lambda theta, a, delta: pullback(lambda theta: a @ theta, theta, delta / len(a)),
        points=((_THETA, _A, [[1.0, 0.0], [2.0, -1.0]]),),
        remark="delta is each example's own error: the 1/m of the mean loss stands outside.",
    ),
    Claim(
        id="003/backprop/output-delta-softmax",
        place="note 003, 'Backpropagation', l.270, softmax",
        printed=r"\delta^{[\mathcal{L}]} = \hat{\mathbf{y}} - \mathbf{y}",
        as_printed=lambda z, y: softmax(z) - y,
        truth=jax.grad(lambda z, y: cross_entropy(y, softmax(z))),
        points=(
            ([[0.0, 0.0], [1.0, 2.0]], [[1.0, 0.0], [0.0, 1.0]]),
            ([[0.0, 0.0], [1.0, 2.0]], [[0.5, 0.5], [0.25, 0.75]]),
        ),
        remark="For labels that sum to one.",
        explore=False,
    ),
    Claim(
        id="003/backprop/output-delta-logistic",
        place="note 003, 'Backpropagation', l.270, logistic",
        printed=r"\delta^{[\mathcal{L}]} = \hat{\mathbf{y}} - \mathbf{y}",
        as_printed=lambda z, y: sigmoid(z) - y,
        truth=jax.grad(lambda z, y: jnp.sum(binary_cross_entropy(y, sigmoid(z)))),
        points=(([[0.0, 0.0], [1.0, 2.0]], [[1.0, 0.0], [1.0, 1.0]]),),
    ),
    Claim(
        id="003/backprop/hidden-delta",
        place="note 003, 'Backpropagation', l.286",
        printed=r"\delta^{[i]} = (\delta^{[i+1]} \cdot (\mathbf{W}^{[i+1]})^T)"
        r" \odot g'(\mathbf{z}^{[i]})",
        as_printed=lambda z, theta, delta: (delta @ theta[:-1].T) * derivative(tanh)(z),
        truth=lambda z, theta, delta: pullback(lambda z: append_one(tanh(z)) @ theta, z, delta),
        points=(([[0.0, 1.0], [2.0, -1.0]], _THETA, [[1.0, 0.0], [2.0, -1.0]]),),
    ),
    Claim(
        id="003/backprop/weights-without-bias",
        place="note 003, 'Backpropagation', l.319-337",
        printed=r"\delta^{[i+1]} \cdot (\mathbf{W}^{[i+1]})^T, \quad"
        r" \mathbf{W} \text{ does not include the bias } \mathbf{b}",
        as_printed=lambda a, theta, delta: (delta @ theta[:-1].T).shape,
        truth=lambda a, theta, delta: pullback(lambda a: append_one(a) @ theta, a, delta).shape,
        points=(([[0.0, 1.0], [2.0, -1.0]], _THETA, [[1.0, 0.0], [2.0, -1.0]]),),
        remark="With Theta the product has one column too many for g'(z): the dummy 1 is no unit.",
    ),
    Claim(
        id="003/backprop/every-layer-softmax",
        place="note 003, 'Backpropagation', l.321-337, two hidden layers, softmax",
        printed=r"(\nabla L)^{[i]} = \frac{1}{m}"
        r" \left((\mathbf{a}^{[i-1]})^T \cdot \delta^{[i]} \right) \text{ for all layers } i",
        as_printed=lambda x, y, *thetas: _backward(softmax, x, y, *thetas),
        truth=lambda x, y, *thetas: _gradients(_softmax_loss, x, y, *thetas),
        points=((_X, _ONE_HOT, *_THETAS), (_X, _SOFT, *_THETAS)),
        explore=False,
    ),
    Claim(
        id="003/backprop/every-layer-logistic",
        place="note 003, 'Backpropagation', l.321-337, two hidden layers, logistic",
        printed=r"(\nabla L)^{[i]} = \frac{1}{m}"
        r" \left((\mathbf{a}^{[i-1]})^T \cdot \delta^{[i]} \right) \text{ for all layers } i",
        as_printed=lambda x, y, *thetas: _backward(sigmoid, x, y, *thetas),
        truth=lambda x, y, *thetas: _gradients(_logistic_loss, x, y, *thetas),
        points=((_X, _BITS, *_THETAS),),
    ),
    # Training
    Claim(
        id="003/training/initialise",
        place="note 003, 'Backpropagation', l.351, two hidden tanh layers, softmax",
        printed=r"\Theta = 0 \Rightarrow (\nabla L)^{[1]} = 0, \; (\nabla L)^{[2]} = 0",
        as_printed=lambda x, y, *thetas: tuple(jnp.zeros_like(theta) for theta in thetas[:2]),
        truth=lambda x, y, *thetas: _gradients(
            _softmax_loss, x, y, *(jnp.zeros_like(theta) for theta in thetas)
        )[:2],
        points=((_X, _ONE_HOT, *_THETAS),),
        remark="Why the note starts at random parameters: at 0 no hidden layer would ever move.",
        supplied=True,
    ),
    Claim(
        id="003/training/update",
        place="note 003, 'Backpropagation', l.386, logistic",
        printed=r"\Theta_{t+1}^{[i]} = \Theta_t^{[i]} - \eta(\nabla L)^{[i]}",
        as_printed=lambda x, y, rate, *thetas: _step(
            _backward(sigmoid, x, y, *thetas), rate, thetas
        ),
        truth=lambda x, y, rate, *thetas: _step(
            _gradients(_logistic_loss, x, y, *thetas), rate, thetas
        ),
        points=((_X, _BITS, 0.5, *_THETAS),),
        remark="All gradients first, then all layers: two loops, as the note has them.",
    ),
)
