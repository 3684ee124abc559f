"""Note 001, "Multilayer Perceptron" (CS60010, 2021): activations, outputs, SGD-NEURAL-NET.

The note writes a layer in two ways, z = W a + b (l.259, l.397) and Z = W^T A + W_0 (l.213,
l.533). Its derivatives of l.502-550 are in the denominator layout: entry ij of dy/dx is
dy_j/dx_i, and vectors are columns.
"""

import math

import jax
import jax.numpy as jnp

from ._claim import Claim
from ._definitions import (
    append_one,
    bernoulli,
    derivative,
    pullback,
    relu,
    sigmoid,
    softmax,
    squared_error,
    tanh,
)

# Activations, as the note's tables define them


def _leaky_relu(z, alpha):
    return jnp.where(z < 0, alpha * z, z)


def _elu(z, alpha):
    return jnp.where(z > 0, z, alpha * (jnp.exp(z) - 1))


def _swish(z, beta):
    return z * sigmoid(beta * z)


def _generalised_relu(z, a):
    return jnp.maximum(0.0, z) + a * jnp.minimum(0.0, z)


# Outputs


def _gaussian(y, mean, sigma):
    return jnp.exp(-((y - mean) ** 2) / (2 * sigma**2)) / jnp.sqrt(2 * jnp.pi * sigma**2)


def _log_softmax(z):
    return jnp.log(softmax(z))


# Layers, with columns for vectors: Z = W^T A + W_0, A = tanh(Z)


def _transposed_layer(w, w0, a):
    return w.T @ a + w0


def _jacobian(f, x):
    """Entry ij is df_j/dx_i, for columns x and f(x)."""
    return jax.jacobian(lambda x: f(x)[:, 0])(x)[:, :, 0].T


def _loss_from_z(z1, w2, w3, y):
    """Squared error of a network of three layers, from the first pre-activation on."""
    return squared_error(y, tanh(w3.T @ tanh(w2.T @ tanh(z1))))


def _layer_jacobians(z1, w2, w3, y):
    """dLoss/dA^3, dA^3/dZ^3, dA^2/dZ^2 and dA^1/dZ^1 of that network."""
    z2 = w2.T @ tanh(z1)
    z3 = w3.T @ tanh(z2)
    loss = jax.grad(lambda a: squared_error(y, a))(tanh(z3))
    return loss, _jacobian(tanh, z3), _jacobian(tanh, z2), _jacobian(tanh, z1)


def _downwards(z1, w2, w3, y):
    """The factors of l.516, from the loss down to layer 1."""
    loss, a3, a2, a1 = _layer_jacobians(z1, w2, w3, y)
    return loss @ a3 @ w3 @ a2 @ w2 @ a1


def _upwards_from_1(z1, w2, w3, y):
    """The factors of l.519, from layer 1 up to the loss."""
    loss, a3, a2, a1 = _layer_jacobians(z1, w2, w3, y)
    return a1 @ w2 @ a2 @ w3 @ a3 @ loss


def _upwards_from_2(z1, w2, w3, y):
    """The factors of l.519, from layer 2 up to the loss."""
    loss, a3, a2, _ = _layer_jacobians(z1, w2, w3, y)
    return a2 @ w3 @ a3 @ loss


# SGD-NEURAL-NET with two layers: a ReLU layer below a linear one, without biases


def _two_layer_loss(w1, w2, x, y):
    return squared_error(y, w2.T @ relu(w1.T @ x))


def _step_inside_the_loop(w1, w2, x, y, rate):
    """Lines 12-21: layer 2 moves before the error reaches layer 1."""
    z1 = w1.T @ x
    a1 = relu(z1)
    dz2 = w2.T @ a1 - y
    w2 = w2 - rate * a1 @ dz2.T
    da1 = w2 @ dz2
    dz1 = derivative(relu)(z1) * da1
    w1 = w1 - rate * x @ dz1.T
    return w1, w2


def _step_after_the_loop(w1, w2, x, y, rate):
    """The same equations: every gradient first, then every update."""
    z1 = w1.T @ x
    a1 = relu(z1)
    dz2 = w2.T @ a1 - y
    dw2 = a1 @ dz2.T
    da1 = w2 @ dz2
    dz1 = derivative(relu)(z1) * da1
    dw1 = x @ dz1.T
    return w1 - rate * dw1, w2 - rate * dw2


def _gradient_step(w1, w2, x, y, rate):
    dw1, dw2 = jax.grad(_two_layer_loss, argnums=(0, 1))(w1, w2, x, y)
    return w1 - rate * dw1, w2 - rate * dw2


_W = [[1.0, 2.0, 0.0], [0.0, 1.0, -1.0]]
_THREE_LAYERS = (
    [[0.5], [-1.0]],
    [[1.0, 0.0, 2.0], [0.0, 1.0, -1.0]],
    [[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]],
    [[1.0], [0.0]],
)

CLAIMS = (
    # Feedforward networks, loss functions
    Claim(
        id="001/network/composition",
        place="note 001, 'Feedforward Networks and Backpropagation', l.23",
        printed=r"f(x) = f^3 \left( f^2 \left( f^1(x) \right) \right)",
        as_printed=lambda w1, w2, w3, x: tanh(w3 @ tanh(w2 @ tanh(w1 @ x))),
        truth=lambda w1, w2, w3, x: jnp.stack(
            [
                tanh(sum(w3[i, j] * tanh(w2[j] @ tanh(w1 @ x)) for j in range(len(w2))))
                for i in range(len(w3))
            ]
        ),
        points=(([[1.0, -1.0], [0.0, 1.0]], [[1.0, 2.0], [0.0, 1.0]], [[1.0, 1.0]], [1.0, 2.0]),),
    ),
    Claim(
        id="001/cost/log-likelihood",
        place="note 001, 'Loss Functions', l.65",
        printed=r"J(\theta) = E_{x,y \sim \hat{p}_{data}} \log p_{model} \cdot (y|x)",
        as_printed=lambda p: jnp.mean(jnp.log(p)),
        truth=lambda p: jnp.mean(-jnp.log(p)),
        points=(([0.5],), ([0.9],), ([0.5, 0.25],)),
        corrected=r"J(\theta) = -E_{x,y \sim \hat{p}_{data}} \log p_{model}(y|x)",
        correction=lambda p: -jnp.mean(jnp.log(p)),
        remark="p holds p_model(y|x) of each example. The sign: the printed cost rises as the model"
        " improves; the dot is a misprint.",
        explore=False,
    ),
    Claim(
        id="001/cost/sum-of-losses",
        place="note 001, 'Backpropagation', l.268",
        printed=r"J(\theta) = \sum_{i} L(NN(x^{(i)}; \theta), y^{(i)})",
        as_printed=lambda w, x, y: sum(squared_error(y[i], w @ x[i]) for i in range(len(x))),
        truth=lambda w, x, y: squared_error(y, x @ w.T),
        points=(([[1.0, 2.0]], [[1.0, 0.0], [2.0, 1.0]], [[0.0], [1.0]]),),
    ),
    # A neuron
    Claim(
        id="001/neuron/augmented",
        place="note 001, 'Artificial Neuron', l.76, l.137, l.279-289, l.316-318 and l.348",
        printed=r"z = b + \sum_{i=1}^{d} w_i x_i"
        r" = [\mathbf{w}^T b] \begin{bmatrix} \mathbf{x} \\ 1 \end{bmatrix}",
        as_printed=lambda w, b, x: (
            jnp.concatenate([w, jnp.stack([b])]) @ jnp.concatenate([x, jnp.ones(1)])
        ),
        truth=lambda w, b, x: b + jnp.sum(w * x),
        points=(([1.0, 2.0], 3.0, [1.0, -1.0]),),
    ),
    Claim(
        id="001/neuron/activation",
        place="note 001, 'Artificial Neuron', l.77 and l.138",
        printed=r"\mathbf{y} = g(z)",
        as_printed=lambda w, b, x: sigmoid(b + jnp.sum(w * x)),
        truth=lambda w, b, x: sigmoid(jnp.dot(jnp.concatenate([w, jnp.stack([b])]), append_one(x))),
        points=(([1.0, 2.0], 3.0, [1.0, -1.0]),),
    ),
    # Activation functions: value and gradient, row by row
    Claim(
        id="001/binary-step/value",
        place="note 001, 'Common Activation Functions for Output', l.99, with y in {0, 1} of l.94",
        printed=r"g(z) = \mathrm{sign}(z)",
        as_printed=jnp.sign,
        truth=lambda z: jnp.heaviside(z, 0.0),
        points=((-1.0,), (1.0,), (0.0,)),
        corrected=r"g(z) = \begin{cases} 1, & z > 0 \\ 0, & z \le 0 \end{cases}",
        correction=lambda z: jnp.where(z > 0, 1.0, 0.0),
        remark="A convention: sign gives -1 and 1, the perceptron's labels are 0 and 1.",
    ),
    Claim(
        id="001/binary-step/gradient",
        place="note 001, 'Common Activation Functions for Output', l.99",
        printed=r"g'(z) = \begin{cases} 0, & z \neq 0 \\ NA, & z = 0 \end{cases}",
        as_printed=jnp.zeros_like,
        truth=derivative(jnp.sign),
        points=((1.0,), (-1.0,)),
    ),
    Claim(
        id="001/sigmoid/value",
        place="note 001, 'Common Activation Functions for Output', l.100 and l.155",
        printed=r"\sigma(z) = \frac{1}{1 + \exp(-z)}",
        as_printed=lambda z: 1 / (1 + jnp.exp(-z)),
        truth=lambda z: jnp.exp(z) / (jnp.exp(z) + 1),
        points=((0.0,), (1.0,), (-1.0,)),
    ),
    Claim(
        id="001/sigmoid/gradient",
        place="note 001, 'Common Activation Functions for Output', l.100 and l.155",
        printed=r"g'(z) = g(z)(1 - g(z))",
        as_printed=lambda z: sigmoid(z) * (1 - sigmoid(z)),
        truth=derivative(sigmoid),
        points=((0.0,), (1.0,), (-1.0,)),
        remark="In floats 1 - g(z) loses the tail of large z; g(z) g(-z) keeps it.",
    ),
    Claim(
        id="001/tanh/value",
        place="note 001, 'Common Activation Functions for Output', l.101 and l.156",
        printed=r"\tanh(z) = \frac{\exp(z) - \exp(-z)}{\exp(z) + \exp(-z)}",
        as_printed=lambda z: (jnp.exp(z) - jnp.exp(-z)) / (jnp.exp(z) + jnp.exp(-z)),
        truth=tanh,
        points=((0.0,), (1.0,), (-1.0,)),
        remark="In floats the printed form is inf/inf for large z, and cancels near 0.",
    ),
    Claim(
        id="001/tanh/gradient",
        place="note 001, 'Common Activation Functions for Output', l.101 and l.156",
        printed=r"g'(z) = 1 - g^2(z)",
        as_printed=lambda z: 1 - tanh(z) ** 2,
        truth=derivative(tanh),
        points=((0.0,), (1.0,), (-1.0,)),
    ),
    Claim(
        id="001/relu/value",
        place="note 001, 'Activation Functions for Hidden Nodes', l.157 and l.172",
        printed=r"g(z) = \max(0, z)",
        as_printed=lambda z: jnp.maximum(0.0, z),
        truth=lambda z: jnp.where(z > 0, z, 0.0),
        points=((0.0,), (1.0,), (-1.0,)),
    ),
    Claim(
        id="001/relu/gradient",
        place="note 001, 'Activation Functions for Hidden Nodes', l.157, z not 0",
        printed=r"g'(z) = \begin{cases} 1, & z \ge 0 \\ 0, & z < 0 \end{cases}",
        as_printed=lambda z: jnp.where(z >= 0, 1.0, 0.0),
        truth=derivative(relu),
        points=((1.0,), (-1.0,)),
    ),
    Claim(
        id="001/relu/gradient-at-0",
        place="note 001, 'Activation Functions for Hidden Nodes', l.157, z = 0",
        printed=r"g'(0) = 1",
        as_printed=lambda z: jnp.where(z >= 0, 1.0, 0.0),
        truth=derivative(jax.nn.relu),
        points=((0.0,),),
        corrected=r"g'(z) = \begin{cases} 1, & z > 0 \\ 0, & z \le 0 \end{cases}",
        correction=lambda z: jnp.where(z > 0, 1.0, 0.0),
        remark="No derivative exists; any value from 0 to 1 is a convention, and JAX and PyTorch"
        " choose 0.",
        explore=False,
        kink=True,
    ),
    Claim(
        id="001/softplus/value",
        place="note 001, 'Activation Functions for Hidden Nodes', l.158",
        printed=r"g(z) = \ln(1 + e^z)",
        as_printed=lambda z: jnp.log(1 + jnp.exp(z)),
        truth=lambda z: jnp.logaddexp(0.0, z),
        points=((0.0,), (1.0,), (-1.0,)),
    ),
    Claim(
        id="001/softplus/gradient",
        place="note 001, 'Activation Functions for Hidden Nodes', l.158, the blank column",
        printed=r"g'(z) = \sigma(z)",
        as_printed=sigmoid,
        truth=derivative(lambda z: jnp.log(1 + jnp.exp(z))),
        points=((0.0,), (1.0,), (-1.0,)),
        remark="The note leaves the column blank.",
        supplied=True,
    ),
    Claim(
        id="001/leaky-relu/value",
        place="note 001, 'More activation functions', l.162",
        printed=r"g(z) = \begin{cases} \alpha z, & z < 0 \\ z, & z \ge 0 \end{cases}",
        as_printed=lambda z, alpha: jnp.where(z < 0, alpha * z, z),
        truth=lambda z, alpha: relu(z) - alpha * relu(-z),
        points=((-1.0, 0.5), (0.0, 0.5), (1.0, 0.5)),
    ),
    Claim(
        id="001/leaky-relu/gradient",
        place="note 001, 'More activation functions', l.162, z not 0",
        printed=r"g'(z) = \begin{cases} \alpha, & z < 0 \\ 1, & z \ge 0 \end{cases}",
        as_printed=lambda z, alpha: jnp.where(z < 0, alpha, 1.0),
        truth=jax.grad(_leaky_relu),
        points=((-1.0, 0.5), (1.0, 0.5)),
    ),
    Claim(
        id="001/leaky-relu/gradient-at-0",
        place="note 001, 'More activation functions', l.162, z = 0",
        printed=r"g'(0) = 1",
        as_printed=lambda z, alpha: jnp.where(z < 0, alpha, 1.0),
        truth=jax.grad(jax.nn.leaky_relu),
        points=((0.0, 0.5), (0.0, 0.01)),
        remark="No derivative exists unless alpha = 1; JAX too chooses 1, PyTorch alpha.",
        explore=False,
        kink=True,
    ),
    Claim(
        id="001/elu/value",
        place="note 001, 'More activation functions', l.163 and l.202",
        printed=r"g(z) = \begin{cases} z, & z > 0 \\ \alpha(e^z - 1), & z \le 0 \end{cases}",
        as_printed=lambda z, alpha: jnp.where(z > 0, z, alpha * (jnp.exp(z) - 1)),
        truth=lambda z, alpha: relu(z) + alpha * (jnp.exp(jnp.minimum(z, 0.0)) - 1),
        points=((-1.0, 2.0), (0.0, 2.0), (1.0, 2.0)),
    ),
    Claim(
        id="001/elu/gradient",
        place="note 001, 'More activation functions', l.163, z not 0",
        printed=r"g'(z) = \begin{cases} 1, & z > 0 \\ \alpha(e^z), & z \le 0 \end{cases}",
        as_printed=lambda z, alpha: jnp.where(z > 0, 1.0, alpha * jnp.exp(z)),
        truth=jax.grad(_elu),
        points=((-1.0, 2.0), (1.0, 2.0)),
    ),
    Claim(
        id="001/elu/gradient-at-0",
        place="note 001, 'More activation functions', l.163, z = 0",
        printed=r"g'(0) = \alpha",
        as_printed=lambda z, alpha: jnp.where(z > 0, 1.0, alpha * jnp.exp(z)),
        truth=jax.grad(jax.nn.elu),
        points=((0.0, 2.0), (0.0, 1.0)),
        remark="No derivative exists unless alpha = 1; JAX and PyTorch too choose alpha.",
        explore=False,
        kink=True,
    ),
    Claim(
        id="001/swish/value",
        place="note 001, 'More activation functions', l.164",
        printed=r"g(z) = z \cdot \sigma(\beta z)",
        as_printed=lambda z, beta: z * sigmoid(beta * z),
        truth=lambda z, beta: z / (1 + jnp.exp(-beta * z)),
        points=((1.0, 2.0), (-1.0, 0.5)),
    ),
    Claim(
        id="001/swish/gradient",
        place="note 001, 'More activation functions', l.164",
        printed=r"g'(z) = \beta g(\beta z) + \sigma(\beta z)(1 - \beta g(\beta z))",
        as_printed=lambda z, beta: (
            beta * _swish(beta * z, beta) + sigmoid(beta * z) * (1 - beta * _swish(beta * z, beta))
        ),
        truth=jax.grad(_swish),
        points=((1.0, 2.0), (1.0, 0.5), (-1.0, 2.0)),
        corrected=r"g'(z) = \beta g(z) + \sigma(\beta z)(1 - \beta g(z))",
        correction=lambda z, beta: (
            beta * _swish(z, beta) + sigmoid(beta * z) * (1 - beta * _swish(z, beta))
        ),
        remark="g already holds the beta of sigma(beta z): the printed form is right at beta = 1"
        " only.",
    ),
    Claim(
        id="001/swish/gradient-beta-1",
        place="note 001, 'More activation functions', l.164, beta = 1",
        printed=r"g'(z) = g(z) + \sigma(z)(1 - g(z))",
        as_printed=lambda z: _swish(z, 1.0) + sigmoid(z) * (1 - _swish(z, 1.0)),
        truth=lambda z: jax.grad(_swish)(z, 1.0),
        points=((1.0,), (-1.0,), (0.0,)),
    ),
    Claim(
        id="001/generalised-relu/value",
        place="note 001, 'Generalized Rectified Linear Units', l.193",
        printed=r"g(z, a)_i = \max\{0, z_i\} + a_i \min\{0, z_i\}",
        as_printed=_generalised_relu,
        truth=lambda z, a: jnp.where(z > 0, z, a * z),
        points=(([-1.0, 0.0, 1.0], [2.0, 2.0, 2.0]),),
    ),
    Claim(
        id="001/generalised-relu/absolute-value",
        place="note 001, 'Generalized Rectified Linear Units', l.194",
        printed=r"a_i = 1 \text{ gives } q(z) = |z|",
        as_printed=lambda z: _generalised_relu(z, 1.0),
        truth=jnp.abs,
        points=((-1.0,), (-2.99,), (1.0,)),
        corrected=r"a_i = -1 \text{ gives } g(z) = |z|",
        correction=lambda z: _generalised_relu(z, -1.0),
        remark="a = 1 is the identity; q is a misprint of g.",
    ),
    Claim(
        id="001/generalised-relu/leaky",
        place="note 001, 'Generalized Rectified Linear Units', l.195",
        printed=r"\text{Leaky ReLU: fix } a_i \text{ to a small value, e.g. } 0.01",
        as_printed=lambda z: _generalised_relu(z, 0.01),
        truth=lambda z: _leaky_relu(z, 0.01),
        points=((-1.0,), (1.0,), (0.0,)),
    ),
    Claim(
        id="001/generalised-relu/parametric-gradient",
        place="note 001, 'Generalized Rectified Linear Units', l.196",
        printed=r"\frac{\partial g(z, a)_i}{\partial a_i} = \min\{0, z_i\}",
        as_printed=lambda z, a: jnp.minimum(0.0, z),
        truth=jax.grad(_generalised_relu, argnums=1),
        points=((-1.0, 0.5), (1.0, 0.5), (0.0, 0.5)),
        remark="The note learns a without printing its gradient.",
        supplied=True,
    ),
    # Output units
    Claim(
        id="001/linear-output/squared-error",
        place="note 001, 'Output Units: Linear', l.105-111",
        printed=r"\text{Maximizing log-likelihood} \Rightarrow \text{Minimizing squared error}",
        as_printed=lambda y, mean, sigma: jax.grad(lambda m: (y - m) ** 2 / 2)(mean) / sigma**2,
        truth=lambda y, mean, sigma: jax.grad(lambda m: -jnp.log(_gaussian(y, m, sigma)))(mean),
        points=((1.0, 0.0, 1.0), (1.0, 3.0, 2.0), (-2.0, 1.0, 1.0)),
        remark="The same gradient up to the fixed factor 1/sigma^2, so the same minimum.",
        explore=False,
    ),
    Claim(
        id="001/sigmoid-output/cost",
        place="note 001, 'Output Units: Sigmoid', l.117-119, y in {0, 1}",
        printed=r"J(\theta) = -\log p(y|x) = -\log \sigma((2y - 1)(w^T a + b))",
        as_printed=lambda y, w, a, b: -jnp.log(sigmoid((2 * y - 1) * (w @ a + b))),
        truth=lambda y, w, a, b: -jnp.log(bernoulli(y, sigmoid(w @ a + b))),
        points=(
            (1.0, [1.0, 2.0], [1.0, -1.0], 0.5),
            (0.0, [1.0, 2.0], [1.0, -1.0], 0.5),
            (0.0, [2.0], [1.0], 0.0),
        ),
        remark="For hard labels only: at y = 1/2 the printed form is log 2, whatever the model.",
        explore=False,
    ),
    Claim(
        id="001/softmax/value",
        place="note 001, 'Output Softmax Units', l.126",
        printed=r"\operatorname{softmax}(z)_i = \frac{\exp(z_i)}{\sum_j \exp(z_j)}",
        as_printed=lambda z: jnp.stack(
            [jnp.exp(z[i]) / sum(jnp.exp(z[j]) for j in range(len(z))) for i in range(len(z))]
        ),
        truth=jax.grad(lambda z: jnp.log(jnp.sum(jnp.exp(z)))),
        points=(([0.0, 0.0],), ([1.0, 2.0, 0.5],)),
    ),
    Claim(
        id="001/log-softmax/sum-index",
        place="note 001, 'Output Softmax Units', l.128",
        printed=r"\log \operatorname{softmax}(z)_i = z_i - \log \sum_i \exp(z_j)",
        as_printed=lambda z: z - jnp.log(len(z) * jnp.exp(z)),
        truth=_log_softmax,
        points=(([1.0, 0.0],), ([1.0, 2.0, 0.5],)),
        corrected=r"\log \operatorname{softmax}(z)_i = z_i - \log \sum_j \exp(z_j)",
        correction=lambda z: z - jnp.log(jnp.sum(jnp.exp(z))),
        remark="The sum is over j: read literally, n terms exp(z_j) that do not depend on i.",
    ),
    # Universality and depth, notations
    Claim(
        id="001/layers/transposed",
        place="note 001, 'Universality and Depth', l.213-214, and SGD-NEURAL-NET, l.533-534",
        printed=r"a^{1} = g^{1} (W^{1^{T}} x + b^{1})",
        as_printed=lambda w, b, x: sigmoid(w.T @ x + b),
        truth=lambda w, b, x: sigmoid(jnp.einsum("kj,k->j", w, x) + b),
        points=((_W, [1.0, 0.0, 2.0], [1.0, -1.0]),),
    ),
    Claim(
        id="001/regions/depth",
        place="note 001, 'Some results', l.232",
        printed=r"O\left(\binom{n}{d}^{d(1-1)}n^d\right)",
        as_printed=lambda n, d, depth: float(math.comb(n, d) ** (d * (1 - 1)) * n**d),
        truth=lambda n, d, depth: float((n / d) ** (d * (depth - 1)) * n**d),
        points=((2, 1, 2), (4, 2, 3)),
        corrected=r"\Omega\left(\left(\frac{n}{d}\right)^{d(l-1)}n^d\right)",
        correction=lambda n, d, depth: float((n / d) ** (d * (depth - 1)) * n**d),
        remark="Against the bound of the cited paper, which is from below: a ratio, not a binomial,"
        " and the exponent holds the depth l.",
        explore=False,
    ),
    Claim(
        id="001/layers/unit",
        place="note 001, 'Notations', l.258",
        printed=r"a_j^l = g\big(\sum_k w_{jk}^l \, a_k^{l-1} + b_j^l\big)",
        as_printed=lambda w, b, a: jnp.stack(
            [sigmoid(sum(w[j, k] * a[k] for k in range(len(a))) + b[j]) for j in range(len(b))]
        ),
        truth=lambda w, b, a: sigmoid(w @ a + b),
        points=((_W, [1.0, 0.0], [1.0, -1.0, 2.0]),),
        remark="'gig' in the text is a misprint of g and a parenthesis.",
    ),
    Claim(
        id="001/layers/vectorised",
        place="note 001, 'Notations', l.259, and 'Forward Pass in a Nutshell', l.397-404",
        printed=r"z^l = w^l a^{l-1} + b^l, \quad a^l = g(z^l)",
        as_printed=lambda w, b, a: sigmoid(w @ a + b),
        truth=lambda w, b, a: sigmoid(jnp.einsum("jk,k->j", w, a) + b),
        points=((_W, [1.0, 0.0], [1.0, -1.0, 2.0]),),
    ),
    Claim(
        id="001/layers/output",
        place="note 001, 'Forward Pass in a Nutshell', l.410, with l.348-353",
        printed=r"y = a^{(L)} = o(z^{(L)}) = f(x, \theta)",
        as_printed=lambda w1, b1, w2, b2, x: softmax(w2 @ sigmoid(w1 @ x + b1) + b2),
        truth=lambda w1, b1, w2, b2, x: softmax(
            jnp.column_stack([w2, b2])
            @ append_one(sigmoid(jnp.column_stack([w1, b1]) @ append_one(x)))
        ),
        points=((_W, [1.0, 0.0], [[1.0, 0.0], [0.0, 1.0]], [0.0, 1.0], [1.0, -1.0, 2.0]),),
    ),
    # The layer, row by row and stacked
    Claim(
        id="001/stacked/last-row",
        place="note 001, l.295",
        printed=r"z_{M}^{1} = \begin{bmatrix} w_{1}^{1}b_{1}^{1} \end{bmatrix}"
        r" \begin{bmatrix} x \\ 1 \end{bmatrix}",
        as_printed=lambda w, b, x: w[0] @ x + b[0],
        truth=lambda w, b, x: (w @ x + b)[-1],
        points=(([[1.0], [2.0]], [0.0, 0.0], [1.0]), (_W, [1.0, 3.0], [1.0, -1.0, 2.0])),
        corrected=r"z_{M}^{1} = \begin{bmatrix} w_{M}^{1}b_{M}^{1} \end{bmatrix}"
        r" \begin{bmatrix} x \\ 1 \end{bmatrix}",
        correction=lambda w, b, x: w[-1] @ x + b[-1],
    ),
    Claim(
        id="001/stacked/last-row-bias-2",
        place="note 001, l.297-304",
        printed=r"z_{M}^{1} = \begin{bmatrix} w_{1}^{1}b_{2}^{1} \end{bmatrix}"
        r" \begin{bmatrix} x \\ 1 \end{bmatrix}",
        as_printed=lambda w, b, x: w[0] @ x + b[1],
        truth=lambda w, b, x: (w @ x + b)[-1],
        points=(([[1.0], [2.0]], [0.0, 0.0], [1.0]), (_W, [1.0, 3.0], [1.0, -1.0, 2.0])),
        corrected=r"z_{M}^{1} = \begin{bmatrix} w_{M}^{1}b_{M}^{1} \end{bmatrix}"
        r" \begin{bmatrix} x \\ 1 \end{bmatrix}",
        correction=lambda w, b, x: w[-1] @ x + b[-1],
    ),
    Claim(
        id="001/stacked/last-row-other-bias",
        place="note 001, l.322",
        printed=r"z_M^1 = \begin{bmatrix} \mathbf{w}_m^1 b_2^1 \end{bmatrix}"
        r" \begin{bmatrix} \mathbf{x} \\ 1 \end{bmatrix}",
        as_printed=lambda w, b, x: w[-1] @ x + b[1],
        truth=lambda w, b, x: (w @ x + b)[-1],
        points=(
            ([[0.0], [0.0], [0.0]], [0.0, 0.0, 1.0], [0.0]),
            ([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]], [1.0, 2.0, 3.0], [1.0, -1.0]),
        ),
        corrected=r"z_M^1 = \begin{bmatrix} \mathbf{w}_m^1 b_m^1 \end{bmatrix}"
        r" \begin{bmatrix} \mathbf{x} \\ 1 \end{bmatrix}",
        correction=lambda w, b, x: w[-1] @ x + b[-1],
    ),
    Claim(
        id="001/stacked/pre-activation",
        place="note 001, l.324-326",
        printed=r"\mathbf{z}^1 = [\mathbf{W}^1 \mathbf{b}^1]"
        r" \begin{bmatrix} \mathbf{x} \\ 1 \end{bmatrix}",
        as_printed=lambda w, b, x: jnp.column_stack([w, b]) @ append_one(x),
        truth=lambda w, b, x: w @ x + b,
        points=((_W, [1.0, 3.0], [1.0, -1.0, 2.0]),),
    ),
    Claim(
        id="001/stacked/last-activation",
        place="note 001, l.306 and l.328",
        printed=r"\begin{bmatrix} a_1^1 \\ a_2^1 \\ \vdots \\ a_1^1 \end{bmatrix}"
        r" = \begin{bmatrix} g(z_1^1) \\ g(z_2^1) \\ \vdots \\ g(z_1^1) \end{bmatrix}",
        as_printed=lambda z: jnp.concatenate([sigmoid(z[:-1]), sigmoid(z[:1])]),
        truth=sigmoid,
        points=(([0.0, 1.0],), ([0.0, 1.0, -1.0],)),
        corrected=r"\begin{bmatrix} a_1^1 \\ a_2^1 \\ \vdots \\ a_m^1 \end{bmatrix}"
        r" = \begin{bmatrix} g(z_1^1) \\ g(z_2^1) \\ \vdots \\ g(z_m^1) \end{bmatrix}",
        correction=lambda z: jnp.concatenate([sigmoid(z[:-1]), sigmoid(z[-1:])]),
        remark="The last entry is a_m; the vector form a = g(z) beside it is right.",
    ),
    Claim(
        id="001/stacked/bias-dropped",
        place="note 001, l.310 and l.335",
        printed=r"z^{(1)} = \mathbf{w}^{(1)} \mathbf{a}^{(0)}",
        as_printed=lambda w, b, a: w @ a,
        truth=lambda w, b, a: w @ a + b,
        points=(([[0.0]], [1.0], [0.0]), (_W, [1.0, 3.0], [1.0, -1.0, 2.0])),
        corrected=r"z^{(1)} = \mathbf{w}^{(1)} \mathbf{a}^{(0)} + \mathbf{b}^{(1)}",
        correction=lambda w, b, a: jnp.einsum("jk,k->j", w, a) + b,
        remark="Right only if w holds the bias as a column and a the 1 that goes with it.",
    ),
    Claim(
        id="001/stacked/shapes",
        place="note 001, l.339",
        printed=r"W^1: m \times n \text{ matrix}, \quad X: d \times 1, \quad Z^1: m \times 1",
        as_printed=lambda m, n, d: (jnp.zeros((m, n)) @ jnp.zeros((d, 1))).shape,
        truth=lambda m, n, d: (m, 1),
        points=((1, 1, 2), (2, 4, 3)),
        corrected=r"W^1: m \times d \text{ matrix}, \quad X: d \times 1, \quad Z^1: m \times 1",
        correction=lambda m, n, d: (jnp.zeros((m, d)) @ jnp.zeros((d, 1))).shape,
        remark="m units, each with one weight for each of the d inputs.",
        explore=False,
    ),
    # Loss: y holds one model's probability of the right class in each entry
    Claim(
        id="001/likelihood/max-log",
        place="note 001, 'Training a Neural Network - Loss Function', l.369-372",
        printed=r"\max \mathbf{y}_c \equiv \max (\log \mathbf{y}_c)",
        as_printed=lambda z: jnp.argmax(jnp.log(sigmoid(z))),
        truth=lambda z: jnp.argmax(sigmoid(z)),
        points=(([0.0, 1.0, -1.0],),),
        remark="z are the logits of competing models; the same one wins.",
    ),
    Claim(
        id="001/likelihood/min-negative-log",
        place="note 001, 'Training a Neural Network - Loss Function', l.369-374",
        printed=r"\max \mathbf{y}_c \equiv \min (-\log \mathbf{y}_c)",
        as_printed=lambda z: jnp.argmin(-jnp.log(sigmoid(z))),
        truth=lambda z: jnp.argmax(sigmoid(z)),
        points=(([0.0, 1.0, -1.0],),),
        remark="z are the logits of competing models; the same one wins.",
    ),
    Claim(
        id="001/cross-entropy/product-sign",
        place="note 001, 'Training a Neural Network - Loss Function', l.379, c = 0",
        printed=r"-\sum_{i} \prod_{i=c} \log(y_i)",
        as_printed=lambda y: (
            -sum(math.prod(jnp.log(y[k]) for k in range(len(y)) if k == 0) for _ in range(len(y)))
        ),
        truth=lambda y: -jnp.log(y[0]),
        points=(([0.5, 0.5],), ([0.7, 0.2, 0.1],)),
        corrected=r"-\sum_{i} \mathbb{1}[i = c] \log(y_i)",
        correction=lambda y: -sum(jnp.where(i == 0, jnp.log(y[i]), 0.0) for i in range(len(y))),
        remark="An indicator misread as a product. Taken literally, the product over all i = c is"
        " log y_c, counted once for each class.",
        explore=False,
    ),
    # Chain rules
    Claim(
        id="001/chain/last-layer",
        place="note 001, 'Error back-propagation', l.423, Z = W^T A",
        printed=r"\frac{\partial Loss}{\partial W^{L}} = \frac{\partial Loss}{\partial A^{L}}"
        r" \cdot \frac{\partial A^{L}}{\partial Z^{L}} \cdot"
        r" \frac{\partial Z^{L}}{\partial W^{L}}",
        as_printed=lambda w, a, y: jnp.einsum(
            "i,ij,jkl->kl",
            jax.grad(lambda out: squared_error(y, out))(tanh(w.T @ a)),
            jax.jacobian(tanh)(w.T @ a),
            jax.jacobian(lambda w: w.T @ a)(w),
        ),
        truth=jax.grad(lambda w, a, y: squared_error(y, tanh(w.T @ a))),
        points=((_W, [1.0, 2.0], [1.0, 0.0, 0.0]),),
        remark="As a contraction of Jacobians; the product of two vectors is an outer product.",
    ),
    Claim(
        id="001/chain/last-layer-factors",
        place="note 001, 'Error back-propagation', l.425, the notes under l.423, one output unit",
        printed=r"\frac{\partial A^{L}}{\partial Z^{L}} = g^{I'}, \quad"
        r" \frac{\partial Z^{L}}{\partial W^{L}} = A^{L-1}",
        as_printed=lambda w, a: (derivative(tanh)(w @ a), a),
        truth=lambda w, a: (jax.grad(tanh)(w @ a), jax.grad(lambda w: w @ a)(w)),
        points=(([1.0, 2.0], [1.0, -0.5]),),
        remark="With several units the second factor joins by an outer product.",
    ),
    Claim(
        id="001/chain/layer-input",
        place="note 001, 'Backpropagation', l.447 and l.492, y = f(x, w) = tanh(w x)",
        printed=r"\frac{\partial J}{\partial x} = \frac{\partial J}{\partial y}"
        r" \frac{\partial y}{\partial x}",
        as_printed=lambda x, w, dy: dy @ jax.jacobian(lambda x: tanh(w @ x))(x),
        truth=lambda x, w, dy: pullback(lambda x: tanh(w @ x), x, dy),
        points=(([0.0, 1.0, -1.0], _W, [1.0, 2.0]),),
    ),
    Claim(
        id="001/chain/layer-weights",
        place="note 001, 'Backpropagation', l.449, J = the squared length of y / 2",
        printed=r"\frac{\partial J}{\partial w} = \frac{\partial J}{\partial v}"
        r" \frac{\partial y}{\partial w}",
        as_printed=lambda x, w, v: jnp.einsum(
            "i,ijk->jk",
            jax.grad(lambda v: squared_error(0.0, tanh(w @ x)) + 0 * jnp.sum(v))(v),
            jax.jacobian(lambda w: tanh(w @ x))(w),
        ),
        truth=lambda x, w, v: jax.grad(lambda w: squared_error(0.0, tanh(w @ x)))(w),
        points=(([1.0], [[1.0]], [0.0]), ([0.0, 1.0, -1.0], _W, [0.0, 0.0])),
        corrected=r"\frac{\partial J}{\partial w} = \frac{\partial J}{\partial y}"
        r" \frac{\partial y}{\partial w}",
        correction=lambda x, w, v: jnp.einsum(
            "i,ijk->jk",
            jax.grad(lambda y: squared_error(0.0, y))(tanh(w @ x)),
            jax.jacobian(lambda w: tanh(w @ x))(w),
        ),
        remark="There is no v: J does not depend on it, so its derivative is zero.",
    ),
    Claim(
        id="001/chain/scalar",
        place="note 001, 'Calculus Chain Rule', l.463, y = tanh(z), z = e^x",
        printed=r"\frac{dy}{dx} = \frac{dy}{dz} \frac{dz}{dx}",
        as_printed=lambda x: derivative(tanh)(jnp.exp(x)) * derivative(jnp.exp)(x),
        truth=derivative(lambda x: tanh(jnp.exp(x))),
        points=((0.0,), (-1.0,)),
    ),
    Claim(
        id="001/chain/sum-cut-off",
        place="note 001, 'Calculus Chain Rule', l.469, y = a . z, z = b x",
        printed=r"\frac{dy}{dx} = \sum_{x}",
        as_printed=lambda a, b, x: jnp.sum(jnp.zeros(0)),
        truth=lambda a, b, x: jax.grad(lambda x: a @ (b * x))(x),
        points=(([1.0], [1.0], 0.0), ([1.0, 2.0], [3.0, 4.0], 0.0)),
        corrected=r"\frac{dy}{dx} = \sum_i \frac{\partial y}{\partial z_i} \frac{d z_i}{d x}",
        correction=lambda a, b, x: sum(a[i] * b[i] for i in range(len(a))),
        remark="The summand is cut off: a sum of nothing is zero.",
    ),
    Claim(
        id="001/chain/multivariate",
        place="note 001, 'Calculus Chain Rule', l.477, y = tanh(A z), z = B x",
        printed=r"\frac{dy_i}{dx_k} = \sum_j \frac{\partial y_i}{\partial z_j}"
        r" \frac{\partial z_j}{\partial z_j}",
        as_printed=lambda a, b, x: jnp.einsum(
            "ij,jk->ik", jax.jacobian(lambda z: tanh(a @ z))(b @ x), jnp.ones_like(b)
        ),
        truth=lambda a, b, x: jax.jacobian(lambda x: tanh(a @ (b @ x)))(x),
        points=(
            ([[1.0]], [[2.0]], [0.0]),
            ([[1.0, 0.0, 2.0], [0.0, 1.0, 1.0]], [[1.0, 0.0], [0.0, 2.0], [1.0, 1.0]], [0.5, 0.0]),
        ),
        corrected=r"\frac{dy_i}{dx_k} = \sum_j \frac{\partial y_i}{\partial z_j}"
        r" \frac{\partial z_j}{\partial x_k}",
        correction=lambda a, b, x: jnp.einsum(
            "ij,jk->ik",
            jax.jacobian(lambda z: tanh(a @ z))(b @ x),
            jax.jacobian(lambda x: b @ x)(x),
        ),
        remark="dz_j/dz_j is 1: the dependence of z on x is lost.",
    ),
    Claim(
        id="001/accumulate/weights",
        place="note 001, 'Backpropagation (layerwise)', l.487-494, rows of x and dy are examples",
        printed=r"\frac{\partial J}{\partial w} = 0, \quad \frac{\partial J}{\partial w}"
        r" \mathrel{+}= \frac{\partial J}{\partial y} \frac{\partial y}{\partial w}",
        as_printed=lambda w, x, dy: sum(
            (
                jnp.einsum("i,ijk->jk", dy[n], jax.jacobian(lambda w, n=n: tanh(w @ x[n]))(w))
                for n in range(len(x))
            ),
            start=jnp.zeros_like(w),
        ),
        truth=lambda w, x, dy: pullback(lambda w: tanh(x @ w.T), w, dy),
        points=(([[1.0, -1.0]], [[1.0, 0.0], [2.0, 1.0]], [[1.0], [2.0]]),),
    ),
    Claim(
        id="001/accumulate/input",
        place="note 001, 'Backpropagation (layerwise)', l.492, x feeds two layers v x and w x",
        printed=r"\frac{\partial J}{\partial x} \mathrel{+}= \frac{\partial J}{\partial y}"
        r" \frac{\partial y}{\partial x}",
        as_printed=lambda x, v, w: (
            jnp.zeros_like(x)
            + jax.grad(lambda x: jnp.sum(tanh(v @ x)))(x)
            + jax.grad(lambda x: jnp.sum(tanh(w @ x)))(x)
        ),
        truth=jax.grad(lambda x, v, w: jnp.sum(tanh(v @ x)) + jnp.sum(tanh(w @ x))),
        points=(([0.0, 1.0], [[1.0, 2.0]], [[1.0, 0.0], [0.0, 1.0]]),),
        remark="It needs dJ/dx = 0 at the start too; the note sets only dJ/dw.",
    ),
    # Application of the chain rule: columns, denominator layout
    Claim(
        id="001/layout/loss-shape",
        place="note 001, 'Informal Derivation', l.502",
        printed=r"\frac{\partial Loss}{\partial A^L} \text{ is } n^L \times 1",
        as_printed=lambda a, y: (len(a), 1),
        truth=lambda a, y: jax.grad(lambda a: squared_error(y, a))(a).shape,
        points=(([[1.0], [2.0], [3.0]], [[0.0], [0.0], [0.0]]),),
    ),
    Claim(
        id="001/layout/transposed-weights",
        place="note 001, 'Informal Derivation', l.504, with Z = W^T A + W_0 of l.533",
        printed=r"\frac{\partial Z^l}{\partial A^{l-1}} \text{ is } m^l \times n^l"
        r" \text{ and is just } W^l",
        as_printed=lambda w, w0, a: w,
        truth=lambda w, w0, a: _jacobian(lambda a: _transposed_layer(w, w0, a), a),
        points=((_W, [[1.0], [0.0], [2.0]], [[1.0], [2.0]]),),
        remark="In the denominator layout; in the other it is the transpose.",
    ),
    Claim(
        id="001/layout/plain-weights",
        place="note 001, 'Informal Derivation', l.504, with z = W a + b of l.259 and l.397",
        printed=r"\frac{\partial Z^l}{\partial A^{l-1}} \text{ is } m^l \times n^l"
        r" \text{ and is just } W^l",
        as_printed=lambda w, b, a: w,
        truth=lambda w, b, a: _jacobian(lambda a: w @ a + b, a),
        points=(
            ([[1.0, 2.0]], [[0.0]], [[0.0], [0.0]]),
            (_W, [[1.0], [0.0]], [[1.0], [2.0], [0.0]]),
        ),
        corrected=r"\frac{\partial Z^l}{\partial A^{l-1}} = (W^l)^T",
        correction=lambda w, b, a: w.T,
        remark="A convention: the note writes a layer both ways, and only Z = W^T A + W_0 gives W.",
    ),
    Claim(
        id="001/layout/off-diagonal",
        place="note 001, 'Informal Derivation', l.507",
        printed=r"\frac{\partial a_i^l}{\partial z_i^l} = 0 \text{ whenever } i \neq j",
        as_printed=jnp.zeros_like,
        truth=lambda z: jnp.diagonal(jax.jacobian(tanh)(z)),
        points=(([0.0, 0.0],), ([0.5, 1.0, -1.0],)),
        corrected=r"\frac{\partial a_i^l}{\partial z_j^l} = 0 \text{ whenever } i \neq j, \quad"
        r" \frac{\partial a_i^l}{\partial z_i^l} = g^{l'}(z_i^l)",
        correction=lambda z: jnp.diagonal(jnp.diag(1 - tanh(z) ** 2)),
        remark="The index: a_i by z_j vanishes, a_i by its own z_i does not.",
    ),
    Claim(
        id="001/layout/diagonal",
        place="note 001, 'Informal Derivation', l.507-510, an elementwise activation",
        printed=r"\frac{\partial A^l}{\partial Z^l} \text{ is diagonal}, \quad"
        r" \frac{\partial a_i^l}{\partial z_j^l} = g^{l'}(z_j^l)",
        as_printed=lambda z: jnp.diag(derivative(tanh)(z)),
        truth=jax.jacobian(tanh),
        points=(([0.0, 1.0, -1.0],),),
    ),
    Claim(
        id="001/layout/diagonal-softmax",
        place="note 001, 'Informal Derivation', l.507-510, the softmax output of l.126",
        printed=r"\frac{\partial A^l}{\partial Z^l} \text{ is diagonal}, \quad"
        r" \frac{\partial a_i^l}{\partial z_j^l} = g^{l'}(z_j^l)",
        as_printed=lambda z: jnp.diag(softmax(z) * (1 - softmax(z))),
        truth=jax.jacobian(softmax),
        points=(([0.0, 0.0],), ([1.0, 2.0, 0.5],)),
        corrected=r"\frac{\partial a_i^l}{\partial z_j^l} = a_i^l (\mathbb{1}[i = j] - a_j^l)",
        correction=lambda z: jnp.diag(softmax(z)) - jnp.outer(softmax(z), softmax(z)),
        remark="Softmax is not elementwise: every output depends on every input.",
    ),
    Claim(
        id="001/layout/product-order",
        place="note 001, 'Rewrite the equation', l.516, and l.500 up to its first brace, L = 3",
        printed=r"\frac{\partial Loss}{\partial Z^{1}} = \frac{\partial Loss}{\partial A^{L}}"
        r" \cdot \frac{\partial A^{L}}{\partial Z^{L}} \cdot"
        r" \frac{\partial Z^{L}}{\partial A^{L-1}} \cdot"
        r" \frac{\partial A^{L-1}}{\partial Z^{L-1}} \cdot \cdots \cdot"
        r" \frac{\partial A^{2}}{\partial Z^{2}} \cdot \frac{\partial Z^{2}}{\partial A^{1}}"
        r" \cdot \frac{\partial A^{1}}{\partial Z^{1}}",
        as_printed=_downwards,
        truth=jax.grad(_loss_from_z),
        points=(
            ([[0.0]], [[1.0]], [[1.0, 1.0]], [[1.0], [1.0]]),
            _THREE_LAYERS,
        ),
        corrected=r"\frac{\partial Loss}{\partial Z^{1}} = \frac{\partial A^{1}}{\partial Z^{1}}"
        r" \cdot W^{2} \cdot \frac{\partial A^{2}}{\partial Z^{2}} \cdots W^{L} \cdot"
        r" \frac{\partial A^{L}}{\partial Z^{L}} \cdot \frac{\partial Loss}{\partial A^{L}}",
        correction=_upwards_from_1,
        remark="With n x 1 gradients the factors do not conform in this order; the rest of l.500 is"
        " illegible.",
    ),
    Claim(
        id="001/layout/product",
        place="note 001, 'Rewrite the equation', l.519, the superscript on the left read as the"
        " letter l, l = 1 and l = 2, L = 3",
        printed=r"\frac{\partial Loss}{\partial Z^{1}} = \frac{\partial A^{l}}{\partial Z^{l}}"
        r" \cdot W^{l+1} \cdot \frac{\partial A^{l+1}}{\partial Z^{l+1}} \cdot \cdots \cdot"
        r" W^{L-1} \cdot \frac{\partial A^{L-1}}{\partial Z^{L-1}} \cdot W^{L} \cdot"
        r" \frac{\partial A^{L}}{\partial Z^{L}} \cdot \frac{\partial Loss}{\partial A^{L}}",
        as_printed=lambda *args: (_upwards_from_1(*args), _upwards_from_2(*args)),
        truth=lambda z1, w2, w3, y: (
            jax.grad(_loss_from_z)(z1, w2, w3, y),
            jax.grad(lambda z2: squared_error(y, tanh(w3.T @ tanh(z2))))(w2.T @ tanh(z1)),
        ),
        points=(_THREE_LAYERS,),
    ),
    Claim(
        id="001/layout/product-left-side",
        place="note 001, 'Rewrite the equation', l.519, the superscript on the left as printed,"
        " l = 2, L = 3",
        printed=r"\frac{\partial Loss}{\partial Z^{1}} = \frac{\partial A^{l}}{\partial Z^{l}}"
        r" \cdot W^{l+1} \cdot \frac{\partial A^{l+1}}{\partial Z^{l+1}} \cdot \cdots \cdot"
        r" W^{L-1} \cdot \frac{\partial A^{L-1}}{\partial Z^{L-1}} \cdot W^{L} \cdot"
        r" \frac{\partial A^{L}}{\partial Z^{L}} \cdot \frac{\partial Loss}{\partial A^{L}}",
        as_printed=_upwards_from_2,
        truth=jax.grad(_loss_from_z),
        points=(
            ([[0.0]], [[2.0]], [[1.0]], [[1.0]]),
            _THREE_LAYERS,
        ),
        corrected=r"\frac{\partial Loss}{\partial Z^{1}} = \frac{\partial A^{1}}{\partial Z^{1}}"
        r" \cdot W^{2} \cdot \frac{\partial A^{2}}{\partial Z^{2}} \cdots W^{L} \cdot"
        r" \frac{\partial A^{L}}{\partial Z^{L}} \cdot \frac{\partial Loss}{\partial A^{L}}",
        correction=_upwards_from_1,
        remark="The right side begins at layer l: it is dLoss/dZ^l, not dLoss/dZ^1.",
    ),
    # SGD-NEURAL-NET: noise is standard normal; w and dz belong to the layer above, columns
    Claim(
        id="001/sgd/initial-weights",
        place="note 001, SGD-NEURAL-NET, l.526",
        printed=r"W_{ii}^{l} \sim \text{Gaussian}(0, 1/m^{l})",
        as_printed=lambda noise: jnp.eye(*noise.shape) * noise / jnp.sqrt(len(noise)),
        truth=lambda noise: noise / jnp.sqrt(len(noise)),
        points=(([[1.0, 1.0]],), ([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]],)),
        corrected=r"W_{ij}^{l} \sim \text{Gaussian}(0, 1/m^{l})",
        correction=lambda noise: noise / len(noise) ** 0.5,
        remark="noise stands for the standard normal draws: ii would fill the diagonal alone.",
    ),
    Claim(
        id="001/sgd/activation-gradient",
        place="note 001, SGD-NEURAL-NET, line 13, l.542",
        printed=r"\partial loss/\partial A^l = \partial loss/\partial Z^{l+1}"
        r" \cdot \partial Z^{l+1}/\partial A^l",
        as_printed=lambda w, w0, a, dz: dz @ w,
        truth=lambda w, w0, a, dz: pullback(lambda a: _transposed_layer(w, w0, a), a, dz),
        points=(
            ([[1.0], [1.0]], [[0.0]], [[0.0], [0.0]], [[1.0]]),
            (_W, [[1.0], [0.0], [2.0]], [[1.0], [2.0]], [[1.0], [-1.0], [2.0]]),
        ),
        corrected=r"\partial loss/\partial A^l = W^{l+1} \, \partial loss/\partial Z^{l+1}",
        correction=lambda w, w0, a, dz: w @ dz,
        remark="The factors do not conform in this order.",
    ),
    Claim(
        id="001/sgd/pre-activation-gradient",
        place="note 001, SGD-NEURAL-NET, line 14, l.544",
        printed=r"\partial \log \partial Z^{l} = \partial \log \partial A^{l}"
        r" \cdot \partial A^{l} \partial Z^{l}",
        as_printed=lambda z, da: da @ _jacobian(tanh, z),
        truth=lambda z, da: pullback(tanh, z, da),
        points=(
            ([[0.0], [0.0]], [[1.0], [1.0]]),
            ([[0.5], [1.0], [-1.0]], [[1.0], [2.0], [3.0]]),
        ),
        corrected=r"\partial loss/\partial Z^{l} = g'(Z^{l}) \odot \partial loss/\partial A^{l}",
        correction=lambda z, da: derivative(tanh)(z) * da,
        remark="The factors do not conform in this order; 'log' is a misprint of 'loss /'.",
    ),
    Claim(
        id="001/sgd/weight-gradient",
        place="note 001, SGD-NEURAL-NET, line 17, l.548",
        printed=r"\partial \log \partial W^{l} = \partial \log \partial Z^{l}"
        r" \cdot \partial Z^{l} \partial W^{l}",
        as_printed=lambda w, w0, a, dz: dz @ a,
        truth=lambda w, w0, a, dz: pullback(lambda w: _transposed_layer(w, w0, a), w, dz),
        points=(
            ([[1.0], [1.0]], [[0.0]], [[1.0], [2.0]], [[1.0]]),
            (_W, [[1.0], [0.0], [2.0]], [[1.0], [2.0]], [[1.0], [-1.0], [2.0]]),
        ),
        corrected=r"\partial loss/\partial W^{l} = A^{l-1} (\partial loss/\partial Z^{l})^T",
        correction=lambda w, w0, a, dz: a @ dz.T,
        remark="The factors do not conform in this order; dZ/dW stands for A^{l-1}.",
    ),
    Claim(
        id="001/sgd/bias-gradient",
        place="note 001, SGD-NEURAL-NET, line 18, l.550, the superscripts read as the letter l",
        printed=r"\partial \log \partial W_0^1 = \partial \log \partial Z^1"
        r" \cdot \partial Z^1 / \partial W_0^1",
        as_printed=lambda w, w0, a, dz: dz @ _jacobian(lambda w0: _transposed_layer(w, w0, a), w0),
        truth=lambda w, w0, a, dz: pullback(lambda w0: _transposed_layer(w, w0, a), w0, dz),
        points=(
            ([[1.0, 1.0]], [[0.0], [0.0]], [[0.0]], [[1.0], [2.0]]),
            (_W, [[1.0], [0.0], [2.0]], [[1.0], [2.0]], [[1.0], [-1.0], [2.0]]),
        ),
        corrected=r"\partial loss/\partial W_0^l = \partial loss/\partial Z^l",
        correction=lambda w, w0, a, dz: dz,
        remark="The factors do not conform in this order, though dZ/dW_0 is the identity.",
    ),
    Claim(
        id="001/sgd/update-order",
        place="note 001, SGD-NEURAL-NET, lines 12-21, l.539-556, a ReLU layer below a linear one",
        printed=r"\text{for } l = L \text{ to } 1: \ldots \;"
        r" W^{l} = W^{l} - \eta(t) \cdot \partial loss / \partial W^{l}",
        as_printed=_step_inside_the_loop,
        truth=_gradient_step,
        points=(
            ([[1.0]], [[1.0]], [[1.0]], [[0.0]], 1.0),
            (
                [[1.0, 0.0, 1.0], [0.0, 1.0, 1.0]],
                [[1.0, 2.0], [0.0, 1.0], [1.0, 0.0]],
                [[1.0], [2.0]],
                [[1.0], [0.0]],
                0.5,
            ),
        ),
        corrected=r"\text{for } l = L \text{ to } 1: \partial loss / \partial W^{l}; \quad"
        r" \text{then, for all } l: W^{l} = W^{l} - \eta(t) \cdot \partial loss / \partial W^{l}",
        correction=_step_after_the_loop,
        remark="W^{l+1} has already moved when the error is carried down through it.",
    ),
)
