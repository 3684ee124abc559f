"""Note 004, "Basic Neural Networks (3/3)" (IM5062, 2024): losses, gradient descent, graphs."""

import itertools

import jax
import jax.numpy as jnp

from ._claim import Claim
from ._definitions import (
    bernoulli,
    binary_cross_entropy,
    cross_entropy,
    partials,
    relu,
    sigmoid,
    softmax,
    squared_error,
)

# Logistic regression, l.535: one example x with its label y


def _logistic_loss(w, x, y, b):
    return binary_cross_entropy(y, sigmoid(w @ x + b))


def _theta_loss(theta, x, y):
    """The same with theta = (w, b)."""
    return _logistic_loss(theta[:-1], x, y, theta[-1])


def _theta_gradient(theta, x, y):
    """l.649: the gradient by w_1, w_2, ..., b."""
    error = sigmoid(theta[:-1] @ x + theta[-1]) - y
    return error * jnp.concatenate([x, jnp.ones(1)])


def _batch_loss(theta, x, y):
    """Mean over the rows of x."""
    return jnp.mean(jax.vmap(_theta_loss, in_axes=(None, 0, 0))(theta, x, y))


# Linear regression, l.349: phi = (phi_0, phi_1)


def _line_loss(phi, x, y):
    return jnp.sum((phi[0] + phi[1] * x - y) ** 2)


# The graph of l.873


def _graph(a, b, c):
    d = 2 * b
    e = a + d
    return c * e


# The network of l.1002, with binary cross-entropy


def _scores(w1, b1, w2, b2, x):
    z1 = w1 @ x + b1
    a1 = relu(z1)
    z2 = w2 @ a1 + b2
    return z1, a1, z2


def _network_loss(w1, b1, w2, b2, x, y):
    return jnp.sum(binary_cross_entropy(y, sigmoid(_scores(w1, b1, w2, b2, x)[2])))


def _deltas(w1, b1, w2, b2, x, y):
    z1, _, z2 = _scores(w1, b1, w2, b2, x)
    delta2 = sigmoid(z2) - y
    delta1 = jnp.where(z1 > 0, w2.T @ delta2, 0.0)
    return delta1, delta2


# The nested network of l.1031: scalars, no activations, l = (y - yhat)^2 / 2


def _nested_loss(w1, w2, b1, b2, x, y):
    return squared_error(y, w2 * (w1 * x + b1) + b2)


def _nested_slope(w1, w2, b1, b2, x, y):
    """l(...)' of l.1033: the derivative of the loss by its argument."""
    return w2 * (w1 * x + b1) + b2 - y


_SENTIMENT_W = [2.5, -5.0, -1.2, 0.5, 2.0, 0.7]
_SENTIMENT_X = [3.0, 2.0, 1.0, 3.0, 0.0, 4.19]
_SENTIMENT = (_SENTIMENT_W, _SENTIMENT_X, 0.1)

_MULTI_LABEL = (
    ([1.0, 1.0, 0.0], [0.5, 0.4, 0.2]),
    ([0.0, 1.0, 1.0], [0.1, 0.4, 0.7]),
    ([1.0, 0.0, 1.0], [0.8, 0.2, 0.4]),
    ([0.0, 1.0, 0.0], [0.3, 0.5, 0.6]),
    ([1.0, 0.0, 0.0], [0.5, 0.9, 0.5]),
)

_LOGISTIC = ([0.5, -1.0], [1.0, 2.0], 1.0, 0.5)

_NETWORK = (
    [[1.0, 0.0], [0.0, 1.0], [1.0, -1.0]],
    [0.5, 0.0, 0.5],
    [[1.0, -1.0, 2.0]],
    [0.5],
    [1.0, 2.0],
    [1.0],
)

CLAIMS = (
    # Cross-entropy
    Claim(
        id="004/binary-cross-entropy/sum",
        place="note 004, 'Cross-entropy loss', l.23 and l.32",
        printed=r"L[\phi] = \sum_{i=1}^I -(1 - y_i) \log [1 - \text{sig}[f[\mathbf{x}_i|\phi]]]"
        r" - y_i \log [\text{sig}[f[\mathbf{x}_i|\phi]]]",
        as_printed=lambda f, y: sum(
            -(1 - y[i]) * jnp.log(1 - sigmoid(f[i])) - y[i] * jnp.log(sigmoid(f[i]))
            for i in range(len(y))
        ),
        truth=lambda f, y: -jnp.log(jnp.prod(bernoulli(y, sigmoid(f)))),
        points=(([0.0, 1.0, -1.0], [1.0, 0.0, 1.0]), ([2.0, -3.0], [0.0, 0.0])),
        remark="The sum covers both terms.",
        explore=False,
    ),
    Claim(
        id="004/binary-cross-entropy/one-observation",
        place="note 004, 'Binary cross-entropy loss with one observation', l.36 and l.65",
        printed=r"L_{BCE}(\hat{y}, y) = -\log p(y|x) ="
        r" -[y \log \hat{y} + (1 - y) \log(1 - \hat{y})]",
        as_printed=lambda p, y: -(y * jnp.log(p) + (1 - y) * jnp.log(1 - p)),
        truth=lambda p, y: -jnp.log(bernoulli(y, p)),
        points=((0.5, 1.0), (0.7, 1.0), (0.7, 0.0)),
        explore=False,
    ),
    Claim(
        id="004/multiclass-cross-entropy/softmax",
        place="note 004, 'Cross-entropy loss', l.28 and l.101",
        printed=r"L[\phi] = - \sum_{i=1}^I \log [\text{softmax}_{y_i} [\mathbf{f}[\mathbf{x}_i,"
        r" \phi]]]",
        as_printed=lambda f, y: -sum(jnp.log(softmax(f[i])[y[i]]) for i in range(len(y))),
        truth=lambda f, y: cross_entropy(jax.nn.one_hot(y, f.shape[1]), softmax(f)),
        points=(([[1.0, 0.0], [0.0, 2.0]], [0, 1]), ([[1.0, 0.0, 3.0]], [1])),
        explore=False,
    ),
    Claim(
        id="004/multiclass-cross-entropy/parentheses",
        place="note 004, 'Cross-entropy loss', l.29 and l.102, one observation of the first class",
        printed=r"L[\phi] = - \sum_{i=1}^I f_{y_i} [\mathbf{x}_i, \phi]"
        r" - \log \left[\sum_{k=1}^K \exp [f_k [\mathbf{x}_i, \phi]] \right]",
        as_printed=lambda f: -f[0] - jnp.log(jnp.sum(jnp.exp(f))),
        truth=lambda f: -jnp.log(softmax(f)[0]),
        points=(([0.0, 0.0],), ([1.0, 0.0],), ([1.0, 2.0, 0.5],)),
        corrected=r"L[\phi] = - \sum_{i=1}^I \left( f_{y_i} [\mathbf{x}_i, \phi]"
        r" - \log \left[\sum_{k=1}^K \exp [f_k [\mathbf{x}_i, \phi]] \right] \right)",
        correction=lambda f: -(f[0] - jnp.log(jnp.sum(jnp.exp(f)))),
        remark="The parentheses: the minus sign belongs to both terms, and so does the sum.",
    ),
    # The sentiment example
    Claim(
        id="004/sentiment/word-count",
        place="note 004, the sentiment example, l.61",
        printed=r"x_6 = \ln(66) = 4.19",
        as_printed=lambda n: 4.19,
        truth=lambda n: jnp.log(n),
        points=((66.0,),),
        decimals=2,
        explore=False,
    ),
    Claim(
        id="004/sentiment/logit",
        place="note 004, the sentiment example, l.70-71",
        printed=r"[2.5, -5.0, -1.2, 0.5, 2.0, 0.7] \cdot [3, 2, 1, 3, 0, 4.19] + 0.1 = .833",
        as_printed=lambda w, x, b: 0.833,
        truth=lambda w, x, b: w @ x + b,
        points=(_SENTIMENT,),
        decimals=3,
        explore=False,
    ),
    Claim(
        id="004/sentiment/positive",
        place="note 004, the sentiment example, l.69-72",
        printed=r"p(+|x) = \sigma(.833) = 0.70",
        as_printed=lambda w, x, b: 0.70,
        truth=lambda w, x, b: sigmoid(w @ x + b),
        points=(_SENTIMENT,),
        decimals=2,
        explore=False,
    ),
    Claim(
        id="004/sentiment/negative",
        place="note 004, the sentiment example, l.81-82",
        printed=r"p(-|x) = 1 - \sigma(w \cdot x + b) = 0.30",
        as_printed=lambda w, x, b: 0.30,
        truth=lambda w, x, b: 1 - sigmoid(w @ x + b),
        points=(_SENTIMENT,),
        decimals=2,
        explore=False,
    ),
    Claim(
        id="004/sentiment/positive-loss",
        place="note 004, the sentiment example, l.73-76 and l.91-94",
        printed=r"L_{CE}(\hat{y}, y) = -\log(0.70) = 0.36",
        as_printed=lambda w, x, b: 0.36,
        truth=lambda w, x, b: _logistic_loss(w, x, 1.0, b),
        points=(_SENTIMENT,),
        decimals=2,
        explore=False,
    ),
    Claim(
        id="004/sentiment/positive-loss-rounded",
        place="note 004, the sentiment example, l.75-76 and l.93-94",
        printed=r"-\log(0.70) = 0.36",
        as_printed=lambda p: 0.36,
        truth=lambda p: -jnp.log(p),
        points=((0.70,),),
        decimals=2,
        explore=False,
    ),
    Claim(
        id="004/sentiment/negative-loss",
        place="note 004, the sentiment example, l.85-88 and l.95-98",
        printed=r"L_{BCE}(\hat{y}, y) = -\log(0.30) = 1.2",
        as_printed=lambda w, x, b: 1.2,
        truth=lambda w, x, b: _logistic_loss(w, x, 0.0, b),
        points=(_SENTIMENT,),
        decimals=1,
        explore=False,
    ),
    Claim(
        id="004/sentiment/negative-loss-rounded",
        place="note 004, the sentiment example, l.87-88 and l.97-98",
        printed=r"-\log(0.30) = 1.2",
        as_printed=lambda p: 1.2,
        truth=lambda p: -jnp.log(p),
        points=((0.30,),),
        decimals=1,
        explore=False,
    ),
    Claim(
        id="004/sentiment/label-1",
        place="note 004, the sentiment example, l.74 and l.92, y = 1",
        printed=r"L_{CE}(\hat{y}, y) = -[\log \sigma(w \cdot x + b)]",
        as_printed=lambda w, x, b: -jnp.log(sigmoid(w @ x + b)),
        truth=lambda w, x, b: _logistic_loss(w, x, 1.0, b),
        points=(([1.0], [1.0], 0.0), _SENTIMENT),
    ),
    Claim(
        id="004/sentiment/label-0",
        place="note 004, the sentiment example, l.86 and l.96, y = 0",
        printed=r"L_{BCE}(\hat{y}, y) = -[\log \sigma(1 - w \cdot x + b)]",
        as_printed=lambda w, x, b: -jnp.log(sigmoid(1 - w @ x + b)),
        truth=lambda w, x, b: _logistic_loss(w, x, 0.0, b),
        points=(([1.0], [1.0], 0.0), _SENTIMENT),
        corrected=r"L_{BCE}(\hat{y}, y) = -[\log (1 - \sigma(w \cdot x + b))]"
        r" = -\log \sigma(-(w \cdot x + b))",
        correction=lambda w, x, b: -jnp.log(sigmoid(-(w @ x + b))),
        remark="The 1 - stands outside sigma; the numbers beside it are right.",
    ),
    Claim(
        id="004/sentiment/label-0-parenthesised",
        place="note 004, the sentiment example, l.86 and l.96, y = 0, the score in parentheses",
        printed=r"L_{BCE}(\hat{y}, y) = -[\log \sigma(1 - (w \cdot x + b))]",
        as_printed=lambda w, x, b: -jnp.log(sigmoid(1 - (w @ x + b))),
        truth=lambda w, x, b: _logistic_loss(w, x, 0.0, b),
        points=(([1.0], [1.0], 0.0), _SENTIMENT),
        corrected=r"L_{BCE}(\hat{y}, y) = -[\log (1 - \sigma(w \cdot x + b))]"
        r" = -\log \sigma(-(w \cdot x + b))",
        correction=lambda w, x, b: -jnp.log(sigmoid(-(w @ x + b))),
        remark="The other reading of the same line fails too.",
    ),
    # Cross-entropy of classes
    Claim(
        id="004/cross-entropy/one-observation",
        place="note 004, 'Multiclass cross-entropy loss', l.105, one-hot y",
        printed=r"L_{CE}(\hat{y}, y) = - \sum_{k=1}^K y_k \log \hat{y}_k",
        as_printed=lambda y, p: -sum(y[k] * jnp.log(p[k]) for k in range(len(y))),
        truth=lambda y, p: -jnp.log(jnp.prod(p**y)),
        points=(
            ([1.0, 0.0, 0.0], [0.5, 0.3, 0.2]),
            ([0.0, 1.0, 0.0], [0.1, 0.2, 0.7]),
            ([0.0, 0.0, 1.0], [0.4, 0.2, 0.4]),
            ([0.0, 1.0, 0.0], [0.3, 0.5, 0.2]),
            ([1.0, 0.0, 0.0], [0.4, 0.1, 0.5]),
        ),
        remark="The points are the rows of the table of l.119.",
        explore=False,
    ),
    Claim(
        id="004/cross-entropy/classes",
        place="note 004, 'Example', l.127-131",
        printed=r"-1 \log 0.5 = 0.693, \quad -0 \log 0.3 = 0, \quad -0 \log 0.2 = 0",
        as_printed=lambda y, p: jnp.stack([0.693, 0.0, 0.0]),
        truth=lambda y, p: -y * jnp.log(p),
        points=(([1.0, 0.0, 0.0], [0.5, 0.3, 0.2]),),
        decimals=3,
        explore=False,
    ),
    Claim(
        id="004/cross-entropy/total",
        place="note 004, 'Example', l.130-131",
        printed=r"\text{Cross entropy} = 0.693 + 0 + 0",
        as_printed=lambda y, p: 0.693 + 0 + 0,
        truth=lambda y, p: cross_entropy(y, p),
        points=(([1.0, 0.0, 0.0], [0.5, 0.3, 0.2]),),
        decimals=3,
        explore=False,
    ),
    # Several labels
    Claim(
        id="004/multi-label/encoding",
        place="note 004, 'Multi-label multi-class classification', l.139",
        printed=r"\text{Output encoding: 1-hot encoding}",
        as_printed=lambda y: jax.nn.one_hot(jnp.argmax(y), len(y)),
        truth=lambda y: y,
        points=(([1.0, 1.0],), ([1.0, 1.0, 0.0],), ([0.0, 1.0, 1.0],), ([0.0, 0.0, 0.0],)),
        corrected=r"\text{Output encoding: multi-hot encoding}",
        correction=lambda y: sum(y[k] * jax.nn.one_hot(k, len(y)) for k in range(len(y))),
        remark="A one-hot vector holds one label; the table of l.159 has rows with two.",
        explore=False,
    ),
    Claim(
        id="004/multi-label/binary-table",
        place="note 004, 'Question?', l.149-155",
        printed=r"L_{CE}(\hat{y}, y) \text{ over the columns } (y, 1 - y), (\hat{y}, 1 - \hat{y})",
        as_printed=lambda y, p: cross_entropy(jnp.stack([y, 1 - y]), jnp.stack([p, 1 - p])),
        truth=lambda y, p: -jnp.log(bernoulli(y, p)),
        points=((1.0, 0.7), (0.0, 0.1), (0.0, 0.8), (0.0, 0.5), (1.0, 0.4)),
        remark="Two complementary classes are one binary label.",
        explore=False,
    ),
    Claim(
        id="004/multi-label/complement-table",
        place="note 004, 'Question?', l.167-173 and l.205-211",
        printed=r"L_{CE}(\hat{y}, y) \text{ over the columns } c_1, c'_1, c_2, c'_2, c_3, c'_3",
        as_printed=lambda y, p: cross_entropy(
            jnp.stack([y, 1 - y], axis=1).ravel(), jnp.stack([p, 1 - p], axis=1).ravel()
        ),
        truth=lambda y, p: -jnp.log(jnp.prod(bernoulli(y, p))),
        points=_MULTI_LABEL,
        remark="The binary cross-entropies of the row.",
        explore=False,
    ),
    Claim(
        id="004/multi-label/class-loss",
        place="note 004, 'Example', l.216",
        printed=r"\text{Loss for class } i = -y_i \log \hat{y}_i",
        as_printed=lambda y, p: -y * jnp.log(p),
        truth=lambda y, p: -jnp.log(bernoulli(y, p)),
        points=(([0.0], [0.5]), *_MULTI_LABEL),
        corrected=r"\text{Loss for class } i ="
        r" -[y_i \log \hat{y}_i + (1 - y_i) \log(1 - \hat{y}_i)]",
        correction=lambda y, p: -(y * jnp.log(p) + (1 - y) * jnp.log(1 - p)),
        remark="A class that is absent costs nothing, however likely it is called; l.225 is right.",
        explore=False,
    ),
    Claim(
        id="004/multi-label/class-loss-binary",
        place="note 004, 'Example', l.225-227",
        printed=r"\text{Loss for class } i ="
        r" -[y_i \log \hat{y}_i + (1 - y_i) \log(1 - \hat{y}_i)]",
        as_printed=lambda y, p: -(y * jnp.log(p) + (1 - y) * jnp.log(1 - p)),
        truth=lambda y, p: -jnp.log(bernoulli(y, p)),
        points=_MULTI_LABEL,
        explore=False,
    ),
    Claim(
        id="004/multi-label/class-numbers",
        place="note 004, 'Example', l.225-227",
        printed=r"-[1 \log 0.5 + 0 \log 0.5], \quad -[1 \log 0.4 + 0 \log 0.6], \quad"
        r" -[0 \log 0.2 + 1 \log 0.8]",
        as_printed=lambda y, p: jnp.stack(
            [
                -(1 * jnp.log(0.5) + 0 * jnp.log(0.5)),
                -(1 * jnp.log(0.4) + 0 * jnp.log(0.6)),
                -(0 * jnp.log(0.2) + 1 * jnp.log(0.8)),
            ]
        ),
        truth=lambda y, p: -jnp.log(bernoulli(y, p)),
        points=_MULTI_LABEL[:1],
        explore=False,
    ),
    Claim(
        id="004/multi-label/total",
        place="note 004, 'Example', l.228-230",
        printed=r"\text{Cross entropy} = (-\log 0.5) + (-\log 0.4) + (-\log 0.8)",
        as_printed=lambda y, p: -jnp.log(0.5) - jnp.log(0.4) - jnp.log(0.8),
        truth=lambda y, p: -jnp.log(jnp.prod(bernoulli(y, p))),
        points=_MULTI_LABEL[:1],
        explore=False,
    ),
    # Gradient descent
    Claim(
        id="004/training/objective",
        place="note 004, 'Our goal: minimize the loss', l.250, i = 1",
        printed=r"\hat{\theta} = \operatorname{argmin}_{\theta} \frac{1}{m}"
        r" L_{CE}(f(x^i; \theta), y^i)",
        as_printed=lambda theta, x, y: _theta_loss(theta, x[0], y[0]) / len(x),
        truth=_batch_loss,
        points=(
            ([0.0, 0.0], [[0.0], [0.0]], [1.0, 1.0]),
            ([1.0, -1.0, 0.5], [[1.0, 2.0], [3.0, 4.0], [0.0, 1.0]], [1.0, 0.0, 1.0]),
        ),
        corrected=r"\hat{\theta} = \operatorname{argmin}_{\theta} \frac{1}{m}"
        r" \sum_{i=1}^m L_{CE}(f(x^i; \theta), y^i)",
        correction=lambda theta, x, y: (
            sum(_theta_loss(theta, x[i], y[i]) for i in range(len(x))) / len(x)
        ),
        remark="The sum over the examples is missing, though the text says averaged.",
    ),
    Claim(
        id="004/linear-regression/loss",
        place="note 004, 'Gradient descent', l.349",
        printed=r"L[\phi] = \sum_{i=1}^I (f[x_i, \phi] - y_i)^2"
        r" = \sum_{i=1}^I (\phi_0 + \phi_1 x_i - y_i)^2",
        as_printed=lambda phi, x, y: sum(
            (phi[0] + phi[1] * x[i] - y[i]) ** 2 for i in range(len(x))
        ),
        truth=lambda phi, x, y: (
            jnp.linalg.norm(jnp.stack([jnp.ones_like(x), x], axis=1) @ phi - y) ** 2
        ),
        points=(([1.0, 2.0], [0.0, 1.0, 2.0], [1.0, 1.0, 1.0]),),
    ),
    Claim(
        id="004/linear-regression/sum-rule",
        place="note 004, 'Gradient descent', l.360",
        printed=r"\frac{\partial L}{\partial \phi}"
        r" = \sum_{i=1}^I \frac{\partial \ell_i}{\partial \phi}",
        as_printed=lambda phi, x, y: sum(
            jax.grad(_line_loss)(phi, x[i], y[i]) for i in range(len(x))
        ),
        truth=jax.grad(_line_loss),
        points=(([1.0, 2.0], [0.0, 1.0, 2.0], [1.0, 1.0, 1.0]),),
    ),
    Claim(
        id="004/linear-regression/gradient",
        place="note 004, 'Gradient descent', l.373",
        printed=r"\frac{\partial \ell_i}{\partial \phi} = \begin{bmatrix}"
        r" 2(\phi_0 + \phi_1 x_i - y_i) \\ 2x_i(\phi_0 + \phi_1 x_i - y_i) \end{bmatrix}",
        as_printed=lambda phi, x, y: jnp.stack(
            [2 * (phi[0] + phi[1] * x - y), 2 * x * (phi[0] + phi[1] * x - y)]
        ),
        truth=jax.grad(_line_loss),
        points=(([1.0, 2.0], 2.0, 1.0), ([0.3, -0.7], 1.7, 0.4)),
    ),
    Claim(
        id="004/gradient-descent/gradient",
        place="note 004, 'Gradient descent algorithm', l.284, and 'The gradient', l.525",
        printed=r"\frac{\partial L}{\partial \phi} = \begin{bmatrix}"
        r" \frac{\partial L}{\partial \phi_0} \\ \frac{\partial L}{\partial \phi_1} \\ \vdots \\"
        r" \frac{\partial L}{\partial \phi_N} \end{bmatrix}",
        as_printed=lambda theta, x, y: partials(lambda theta: _theta_loss(theta, x, y), theta),
        truth=jax.grad(_theta_loss),
        points=(([0.5, -1.0, 0.5], [1.0, 2.0], 1.0),),
    ),
    Claim(
        id="004/gradient-descent/update",
        place="note 004, 'Gradient descent algorithm', l.289, l.327, l.399, l.529, l.603, l.1031",
        printed=r"\phi \longleftarrow \phi - \alpha \frac{\partial L}{\partial \phi}",
        as_printed=lambda phi, x, y, rate: (
            phi
            - rate
            * sum(
                jnp.stack(
                    [
                        2 * (phi[0] + phi[1] * x[i] - y[i]),
                        2 * x[i] * (phi[0] + phi[1] * x[i] - y[i]),
                    ]
                )
                for i in range(len(x))
            )
        ),
        truth=lambda phi, x, y, rate: phi - rate * jax.grad(_line_loss)(phi, x, y),
        points=(([1.0, 2.0], [0.0, 1.0, 2.0], [1.0, 1.0, 1.0], 0.1),),
        remark="With the gradient of l.373.",
    ),
    Claim(
        id="004/gradient-descent/any-start",
        place="note 004, 'Our goal: minimize the loss', l.498-501, L = w^2, ten steps",
        printed=r"\text{Gradient descent starting from any point is guaranteed to find"
        r" the minimum}",
        as_printed=lambda w, rate: 0.0,
        truth=lambda w, rate: jax.lax.fori_loop(
            0, 10, lambda _, w: w - rate * jax.grad(lambda w: w**2)(w), w
        ),
        points=((1.0, 1.0), (1.0, 0.25)),
        corrected=r"w^{t} = (1 - 2 \eta)^t w^0 \to 0 \text{ only for } 0 < \eta < 1",
        correction=lambda w, rate: (1 - 2 * rate) ** 10 * w,
        remark="The step must be small enough: with eta = 1 the parabola throws w from 1 to -1 and"
        " back for ever. Separable logistic regression has no minimum to find.",
        explore=False,
    ),
    # The gradient of binary cross-entropy, line by line
    Claim(
        id="004/logistic-regression/loss",
        place="note 004, 'What are these partial derivatives', l.535",
        printed=r"L_{BCE}(\hat{y}, y) = -[y \log \sigma(w \cdot x + b)"
        r" + (1 - y) \log(1 - \sigma(w \cdot x + b))]",
        as_printed=lambda w, x, y, b: (
            -(y * jnp.log(sigmoid(w @ x + b)) + (1 - y) * jnp.log(1 - sigmoid(w @ x + b)))
        ),
        truth=lambda w, x, y, b: -jnp.log(bernoulli(y, sigmoid(w @ x + b))),
        points=(_LOGISTIC, ([0.5, -1.0], [1.0, 2.0], 0.0, 0.5)),
        explore=False,
    ),
    Claim(
        id="004/logistic-regression/gradient",
        place="note 004, 'What are these partial derivatives', l.539 and l.599",
        printed=r"\frac{\partial L_{BCE}(\hat{y}, y)}{\partial w_j}"
        r" = [\sigma(w \cdot x + b) - y]x_j",
        as_printed=lambda w, x, y, b: (sigmoid(w @ x + b) - y) * x,
        truth=jax.grad(_logistic_loss),
        points=(_LOGISTIC, ([0.0], [1.0], 0.25, 0.0)),
        remark="Soft labels too.",
    ),
    Claim(
        id="004/derivation/split",
        place="note 004, 'Deriving the gradient', l.543",
        printed=r"\frac{\partial L_{BCE}(\hat{y}, y)}{\partial w_j}"
        r" = -\left[\frac{\partial}{\partial w_j} y"
        r" \log \sigma(w \cdot x + b) + \frac{\partial}{\partial w_j} (1 - y)"
        r" \log(1 - \sigma(w \cdot x + b))\right]",
        as_printed=lambda w, x, y, b: (
            -(
                jax.grad(lambda w: y * jnp.log(sigmoid(w @ x + b)))(w)
                + jax.grad(lambda w: (1 - y) * jnp.log(1 - sigmoid(w @ x + b)))(w)
            )
        ),
        truth=jax.grad(_logistic_loss),
        points=(_LOGISTIC,),
    ),
    Claim(
        id="004/derivation/logarithm",
        place="note 004, 'Deriving the gradient', l.549",
        printed=r"\frac{d}{dx} \ln(x) = \frac{1}{x}",
        as_printed=lambda x: 1 / x,
        truth=jax.grad(jnp.log),
        points=((1.0,), (2.0,), (0.5,)),
        explore=False,
    ),
    Claim(
        id="004/derivation/chain-rule",
        place="note 004, 'Deriving the gradient', l.549 and l.898, u = log, v = sigma",
        printed=r"\frac{df}{dx} = \frac{du}{dv} \frac{dv}{dx}",
        as_printed=lambda x: jax.grad(jnp.log)(sigmoid(x)) * jax.grad(sigmoid)(x),
        truth=jax.grad(lambda x: jnp.log(sigmoid(x))),
        points=((0.0,), (1.0,)),
    ),
    Claim(
        id="004/derivation/brackets",
        place="note 004, 'Deriving the gradient', l.551",
        printed=r"\frac{\partial L_{BCE}(\hat{y}, y)}{\partial w_j}"
        r" = -\frac{y}{\sigma(w \cdot x + b)}"
        r" \frac{\partial}{\partial w_j} \sigma(w \cdot x + b)"
        r" - \frac{1 - y}{1 - \sigma(w \cdot x + b)}"
        r" \frac{\partial}{\partial w_j} 1 - \sigma(w \cdot x + b)",
        as_printed=lambda w, x, y, b: (
            -y / sigmoid(w @ x + b) * jax.grad(lambda w: sigmoid(w @ x + b))(w)
            - (1 - y) / (1 - sigmoid(w @ x + b)) * jax.grad(lambda w: jnp.ones(()))(w)
            - sigmoid(w @ x + b)
        ),
        truth=jax.grad(_logistic_loss),
        points=(([0.0], [1.0], 0.0, 0.0), _LOGISTIC),
        corrected=r"\frac{\partial L_{BCE}(\hat{y}, y)}{\partial w_j}"
        r" = -\frac{y}{\sigma(w \cdot x + b)}"
        r" \frac{\partial}{\partial w_j} \sigma(w \cdot x + b)"
        r" - \frac{1 - y}{1 - \sigma(w \cdot x + b)}"
        r" \frac{\partial}{\partial w_j} [1 - \sigma(w \cdot x + b)]",
        correction=lambda w, x, y, b: (
            -y / sigmoid(w @ x + b) * jax.grad(lambda w: sigmoid(w @ x + b))(w)
            - (1 - y) / (1 - sigmoid(w @ x + b)) * jax.grad(lambda w: 1 - sigmoid(w @ x + b))(w)
        ),
        remark="Without brackets the derivative is that of 1, and sigma is left over.",
    ),
    Claim(
        id="004/derivation/rearranged",
        place="note 004, 'Deriving the gradient', l.555",
        printed=r"\frac{\partial L_{BCE}(\hat{y}, y)}{\partial w_j}"
        r" = -\left[\frac{y}{\sigma(w \cdot x + b)}"
        r" - \frac{1 - y}{1 - \sigma(w \cdot x + b)}\right]"
        r" \frac{\partial}{\partial w_j} \sigma(w \cdot x + b)",
        as_printed=lambda w, x, y, b: (
            -(y / sigmoid(w @ x + b) - (1 - y) / (1 - sigmoid(w @ x + b)))
            * jax.grad(lambda w: sigmoid(w @ x + b))(w)
        ),
        truth=jax.grad(_logistic_loss),
        points=(_LOGISTIC,),
    ),
    Claim(
        id="004/derivation/sigmoid",
        place="note 004, 'Deriving the gradient', l.561",
        printed=r"\frac{d\sigma(z)}{dz} = \sigma(z)(1 - \sigma(z))",
        as_printed=lambda z: sigmoid(z) * (1 - sigmoid(z)),
        truth=jax.grad(sigmoid),
        points=((0.0,), (1.0,), (-1.0,)),
    ),
    Claim(
        id="004/derivation/common-denominator",
        place="note 004, 'Deriving the gradient', l.563 and l.571",
        printed=r"\frac{\partial L_{BCE}(\hat{y}, y)}{\partial w_j}"
        r" = - \left[\frac{y - \sigma(w \cdot x + b)}"
        r"{\sigma(w \cdot x + b)[1 - \sigma(w \cdot x + b)]} \right] \sigma(w \cdot x + b)"
        r"[1 - \sigma(w \cdot x + b)] \frac{\partial(w \cdot x + b)}{\partial w_j}",
        as_printed=lambda w, x, y, b: (
            -((y - sigmoid(w @ x + b)) / (sigmoid(w @ x + b) * (1 - sigmoid(w @ x + b))))
            * sigmoid(w @ x + b)
            * (1 - sigmoid(w @ x + b))
            * jax.grad(lambda w: w @ x + b)(w)
        ),
        truth=jax.grad(_logistic_loss),
        points=(_LOGISTIC,),
    ),
    Claim(
        id="004/derivation/input",
        place="note 004, 'Deriving the gradient', l.573",
        printed=r"\frac{\partial L_{BCE}(\hat{y}, y)}{\partial w_j}"
        r" = - \left[\frac{y - \sigma(w \cdot x + b)}"
        r"{\sigma(w \cdot x + b)[1 - \sigma(w \cdot x + b)]} \right] \sigma(w \cdot x + b)"
        r"[1 - \sigma(w \cdot x + b)] x_j",
        as_printed=lambda w, x, y, b: (
            -((y - sigmoid(w @ x + b)) / (sigmoid(w @ x + b) * (1 - sigmoid(w @ x + b))))
            * sigmoid(w @ x + b)
            * (1 - sigmoid(w @ x + b))
            * x
        ),
        truth=jax.grad(_logistic_loss),
        points=(_LOGISTIC,),
    ),
    Claim(
        id="004/derivation/cancelled",
        place="note 004, 'Deriving the gradient', l.585",
        printed=r"\frac{\partial L_{BCE}(\hat{y}, y)}{\partial w_j}"
        r" = -[y - \sigma(w \cdot x + b)]x_j",
        as_printed=lambda w, x, y, b: -(y - sigmoid(w @ x + b)) * x,
        truth=jax.grad(_logistic_loss),
        points=(_LOGISTIC,),
    ),
    # One step on the mini-sentiment example
    Claim(
        id="004/mini-sentiment/gradient",
        place="note 004, 'Example of gradient descent', l.649",
        printed=r"\nabla_{\theta} L(f(x; \theta), y)"
        r" = \begin{bmatrix} (\sigma(w \cdot x + b) - y) x_1 \\"
        r" (\sigma(w \cdot x + b) - y) x_2 \\ \sigma(w \cdot x + b) - y \end{bmatrix}",
        as_printed=_theta_gradient,
        truth=jax.grad(_theta_loss),
        points=(([0.0, 0.0, 0.0], [3.0, 2.0], 1.0),),
    ),
    Claim(
        id="004/mini-sentiment/at-0",
        place="note 004, 'Example of gradient descent', l.667",
        printed=r"\nabla_{\theta} L(f(x; \theta), y) = \begin{bmatrix} (\sigma(0) - 1) x_1 \\"
        r" (\sigma(0) - 1) x_2 \\ \sigma(0) - 1 \end{bmatrix}",
        as_printed=lambda theta, x, y: jnp.stack(
            [(sigmoid(0.0) - 1) * x[0], (sigmoid(0.0) - 1) * x[1], sigmoid(0.0) - 1]
        ),
        truth=jax.grad(_theta_loss),
        points=(([0.0, 0.0, 0.0], [3.0, 2.0], 1.0),),
        explore=False,
    ),
    Claim(
        id="004/mini-sentiment/gradient-numbers",
        place="note 004, 'Example of gradient descent', l.687",
        printed=r"\nabla_{\theta} L(f(x; \theta), y)"
        r" = \begin{bmatrix} -1.5 \\ -1.0 \\ -0.5 \end{bmatrix}",
        as_printed=lambda theta, x, y: jnp.stack([-1.5, -1.0, -0.5]),
        truth=jax.grad(_theta_loss),
        points=(([0.0, 0.0, 0.0], [3.0, 2.0], 1.0),),
        explore=False,
    ),
    Claim(
        id="004/mini-sentiment/step-numbers",
        place="note 004, 'Example of gradient descent', l.703",
        printed=r"\theta^1 = \begin{bmatrix} 0.15 \\ 0.1 \\ 0.05 \end{bmatrix}",
        as_printed=lambda theta, x, y, rate: jnp.stack([0.15, 0.1, 0.05]),
        truth=lambda theta, x, y, rate: theta - rate * jax.grad(_theta_loss)(theta, x, y),
        points=(([0.0, 0.0, 0.0], [3.0, 2.0], 1.0, 0.1),),
        explore=False,
    ),
    # Stochastic gradient descent
    Claim(
        id="004/sgd/uphill",
        place="note 004, 'Stochastic Gradient Descent', l.744",
        printed=r"g \leftarrow \nabla_{\theta} L(f(x_i; \theta), y_i):"
        r" \text{ how should we move } \theta"
        r" \text{ to maximize loss?}",
        as_printed=lambda theta, x, y: jnp.sum(_theta_gradient(theta, x, y) ** 2),
        truth=lambda theta, x, y: jax.grad(
            lambda t: _theta_loss(theta + t * _theta_gradient(theta, x, y), x, y)
        )(0.0),
        points=(([0.0, 0.0, 0.0], [3.0, 2.0], 1.0),),
        remark="Along g the loss rises at the rate |g|^2.",
    ),
    Claim(
        id="004/sgd/step",
        place="note 004, 'Stochastic Gradient Descent', l.746",
        printed=r"\theta \leftarrow \theta - \eta g",
        as_printed=lambda theta, x, y, rate: theta - rate * _theta_gradient(theta, x, y),
        truth=lambda theta, x, y, rate: theta - rate * jax.grad(_theta_loss)(theta, x, y),
        points=(([0.0, 0.0, 0.0], [3.0, 2.0], 1.0, 0.1),),
        remark="l.733 starts from theta = 0: fine here, but a hidden layer would never move.",
    ),
    Claim(
        id="004/mini-batch/gradient",
        place="note 004, 'Mini-batch SGD', l.778",
        printed=r"g_t = \nabla \left(\frac{1}{m} \sum_{i \in b} L(f(x; \theta)_i, y_i) \right)",
        as_printed=lambda theta, x, y: (
            sum(_theta_gradient(theta, x[i], y[i]) for i in range(len(x))) / len(x)
        ),
        truth=jax.grad(_batch_loss),
        points=(([0.5, -1.0, 0.5], [[1.0, 2.0], [3.0, -1.0], [0.0, 1.0]], [1.0, 0.0, 1.0]),),
        remark="f(x; theta)_i stands for f(x_i; theta).",
    ),
    Claim(
        id="004/mini-batch/estimate",
        place="note 004, 'Mini-batch Stochastic Gradient Descent', l.765-767, batches of two",
        printed=r"E_b \left[ \frac{1}{b} \sum_{i \in b} L(f(x; \theta)_i, y_i) \right]"
        r" = \frac{1}{m} \sum_{i=1}^m L(f(x; \theta)_i, y_i)",
        as_printed=lambda theta, x, y: jnp.mean(
            jnp.stack(
                [
                    sum(_theta_loss(theta, x[i], y[i]) for i in batch) / len(batch)
                    for batch in itertools.combinations(range(len(x)), 2)
                ]
            )
        ),
        truth=_batch_loss,
        points=(([0.5, -1.0, 0.5], [[1.0, 2.0], [3.0, -1.0], [0.0, 1.0]], [1.0, 0.0, 1.0]),),
        remark="How a batch approximates the loss: over all batches its mean is exact.",
        supplied=True,
    ),
    Claim(
        id="004/epochs/iterations",
        place="note 004, 'Epochs, Batch, Iteration', l.805",
        printed=r"1000 \text{ examples, batch size } 500: 2 \text{ iterations}",
        as_printed=lambda examples, batch: 2,
        truth=lambda examples, batch: -(-examples // batch),
        points=((1000, 500),),
        explore=False,
    ),
    # The graph L = c (a + 2 b)
    Claim(
        id="004/graph/forward",
        place="note 004, 'Computation graphs', l.873-882",
        printed=r"d = 2 \times b, \quad e = a + d, \quad L = c \times e",
        as_printed=_graph,
        truth=lambda a, b, c: c * (a + 2 * b),
        points=((3.0, 1.0, -2.0),),
    ),
    Claim(
        id="004/graph/local",
        place="note 004, 'Example', l.958",
        printed=r"\frac{\partial L}{\partial e} = c, \frac{\partial L}{\partial c} = e, \quad"
        r" \frac{\partial e}{\partial a} = 1, \frac{\partial e}{\partial d} = 1, \quad"
        r" \frac{\partial d}{\partial b} = 2",
        as_printed=lambda a, b, c: (c, a + 2 * b, 1.0, 1.0, 2.0),
        truth=lambda a, b, c: (
            *jax.grad(lambda e, c: c * e, argnums=(0, 1))(a + 2 * b, c),
            *jax.grad(lambda a, d: a + d, argnums=(0, 1))(a, 2 * b),
            jax.grad(lambda b: 2 * b)(b),
        ),
        points=((3.0, 1.0, -2.0),),
    ),
    Claim(
        id="004/graph/by-c",
        place="note 004, 'Example', l.945",
        printed=r"\frac{\partial L}{\partial c} = e",
        as_printed=lambda a, b, c: a + 2 * b,
        truth=jax.grad(_graph, argnums=2),
        points=((3.0, 1.0, -2.0),),
    ),
    Claim(
        id="004/graph/by-a",
        place="note 004, 'Example', l.947 and l.969",
        printed=r"\frac{\partial L}{\partial a}"
        r" = \frac{\partial L}{\partial e} \frac{\partial e}{\partial a}",
        as_printed=lambda a, b, c: c * 1,
        truth=jax.grad(_graph, argnums=0),
        points=((3.0, 1.0, -2.0),),
    ),
    Claim(
        id="004/graph/by-b",
        place="note 004, 'Example', l.950",
        printed=r"\frac{\partial L}{\partial b} = \frac{\partial L}{\partial e}"
        r" \frac{\partial e}{\partial d} \frac{\partial d}{\partial b}",
        as_printed=lambda a, b, c: c * 1 * 2,
        truth=jax.grad(_graph, argnums=1),
        points=((3.0, 1.0, -2.0),),
    ),
    Claim(
        id="004/graph/by-a-number",
        place="note 004, 'Example', l.983 and l.992, a = 3, b = 1, c = -2",
        printed=r"\frac{\partial L}{\partial a} = -2 * 1 = -2",
        as_printed=lambda a, b, c: -2.0 * 1,
        truth=jax.grad(_graph, argnums=0),
        points=((3.0, 1.0, -2.0),),
        remark="The values of a, b and c were in a figure that the text has lost.",
        explore=False,
    ),
    Claim(
        id="004/graph/text-by-c",
        place="note 004, 'Example', l.990-992, the sentence about dL/dc, a = 3, b = 1, c = -2",
        printed=r"\frac{\partial L}{\partial c} \text{ (the text)} = -2 * 1 = -2",
        as_printed=lambda a, b, c: -2.0 * 1,
        truth=jax.grad(_graph, argnums=2),
        points=((3.0, 1.0, -2.0),),
        corrected=r"\frac{\partial L}{\partial c} = e = 5",
        correction=lambda a, b, c: a + 2 * b,
        remark="The sentence announces dL/dc, the equation under it is dL/da.",
        explore=False,
    ),
    Claim(
        id="004/graph/neuron",
        place="note 004, 'Intuition', l.913 and l.931, y = sigma(z), z = w . x, L = (y - t)^2 / 2",
        printed=r"\frac{\partial L}{\partial w_i} = \frac{\partial L}{\partial y}"
        r" \frac{\partial y}{\partial z} \frac{\partial z}{\partial w_i}",
        as_printed=lambda w, x, t: (
            jax.grad(lambda y: (y - t) ** 2 / 2)(sigmoid(w @ x))
            * jax.grad(sigmoid)(w @ x)
            * jax.grad(lambda w: w @ x)(w)
        ),
        truth=jax.grad(lambda w, x, t: (sigmoid(w @ x) - t) ** 2 / 2),
        points=(([0.5, -1.0], [1.0, 2.0], 1.0),),
    ),
    # The two-layer network
    Claim(
        id="004/network/forward",
        place="note 004, 'Backward differentiation on a two layer network', l.1002",
        printed=r"z^1 = W^1 x + b^1, \quad a^1 = \text{ReLU}(z^1), \quad z^2 = W^2 a^1 + b^2, \quad"
        r" a^2 = \sigma(z^2), \quad \hat{y} = a^2",
        as_printed=lambda w1, b1, w2, b2, x: sigmoid(w2 @ relu(w1 @ x + b1) + b2),
        truth=lambda w1, b1, w2, b2, x: jnp.stack(
            [
                sigmoid(
                    sum(w2[k, j] * jnp.maximum(0.0, w1[j] @ x + b1[j]) for j in range(len(w1)))
                    + b2[k]
                )
                for k in range(len(w2))
            ]
        ),
        points=(_NETWORK[:5],),
    ),
    Claim(
        id="004/network/delta-2",
        place="note 004, 'Backward differentiation on a 2-layer network', l.1004, the lost figure",
        printed=r"\delta^2 = \frac{\partial L_{BCE}}{\partial z^2} = a^2 - y",
        as_printed=lambda z2, y: sigmoid(z2) - y,
        truth=jax.grad(lambda z2, y: jnp.sum(binary_cross_entropy(y, sigmoid(z2)))),
        points=(([0.0, 1.0], [1.0, 0.0]),),
        remark="The derivation was in a figure that the text has lost; the loss is L_BCE.",
        supplied=True,
    ),
    Claim(
        id="004/network/delta-1",
        place="note 004, 'Backward differentiation on a 2-layer network', l.1004, the lost figure",
        printed=r"\delta^1 = \frac{\partial L_{BCE}}{\partial z^1}"
        r" = ((W^2)^T \delta^2) \odot \mathbb{1}[z^1 > 0]",
        as_printed=lambda z1, w2, b2, y: jnp.where(
            z1 > 0, w2.T @ (sigmoid(w2 @ relu(z1) + b2) - y), 0.0
        ),
        truth=jax.grad(
            lambda z1, w2, b2, y: jnp.sum(binary_cross_entropy(y, sigmoid(w2 @ relu(z1) + b2)))
        ),
        points=(([1.0, -1.0, 2.0], [[1.0, -1.0, 2.0]], [0.5], [1.0]),),
        remark="The derivation was in a figure that the text has lost. 0 at z = 0 is a convention.",
        supplied=True,
    ),
    Claim(
        id="004/network/gradients-2",
        place="note 004, 'Backward differentiation on a 2-layer network', l.1004, the lost figure",
        printed=r"\frac{\partial L_{BCE}}{\partial W^2} = \delta^2 (a^1)^T, \quad"
        r" \frac{\partial L_{BCE}}{\partial b^2} = \delta^2",
        as_printed=lambda w1, b1, w2, b2, x, y: (
            jnp.outer(_deltas(w1, b1, w2, b2, x, y)[1], _scores(w1, b1, w2, b2, x)[1]),
            _deltas(w1, b1, w2, b2, x, y)[1],
        ),
        truth=jax.grad(_network_loss, argnums=(2, 3)),
        points=(_NETWORK,),
        remark="The derivation was in a figure that the text has lost.",
        supplied=True,
    ),
    Claim(
        id="004/network/gradients-1",
        place="note 004, 'Backward differentiation on a 2-layer network', l.1004, the lost figure",
        printed=r"\frac{\partial L_{BCE}}{\partial W^1} = \delta^1 x^T, \quad"
        r" \frac{\partial L_{BCE}}{\partial b^1} = \delta^1",
        as_printed=lambda w1, b1, w2, b2, x, y: (
            jnp.outer(_deltas(w1, b1, w2, b2, x, y)[0], x),
            _deltas(w1, b1, w2, b2, x, y)[0],
        ),
        truth=jax.grad(_network_loss, argnums=(0, 1)),
        points=(_NETWORK,),
        remark="The derivation was in a figure that the text has lost.",
        supplied=True,
    ),
    Claim(
        id="004/relu/slope",
        place="note 004, 'ReLU', l.1012",
        printed=r"\text{The derivative is always one for inputs greater than zero}",
        as_printed=lambda z: 1.0,
        truth=jax.grad(relu),
        points=((1.0,), (0.5,), (100.0,)),
        explore=False,
    ),
    # The nested network w(w(...) + b) + b: scalars, two layers, no activations
    Claim(
        id="004/nested/outer-weight",
        place="note 004, 'Backpropagation', l.1033, the outer w its own variable",
        printed=r"\frac{\partial l(\mathbf{y}, \mathbf{w}(\cdots) + \mathbf{b})}"
        r"{\partial \mathbf{w}} = l(\mathbf{y}, \mathbf{w}(\cdots) + \mathbf{b})' \times (\cdots)",
        as_printed=lambda w1, w2, b1, b2, x, y: _nested_slope(w1, w2, b1, b2, x, y) * (w1 * x + b1),
        truth=jax.grad(_nested_loss, argnums=1),
        points=((1.0, 2.0, 0.0, 1.0, 1.0, 0.0),),
    ),
    Claim(
        id="004/nested/outer-bias",
        place="note 004, 'Backpropagation', l.1035, the outer b its own variable",
        printed=r"\frac{\partial l(\mathbf{y}, \mathbf{w}(\cdots) + \mathbf{b})}"
        r"{\partial \mathbf{b}} = l(\mathbf{y}, \mathbf{w}(\cdots) + \mathbf{b})' \times 1",
        as_printed=lambda w1, w2, b1, b2, x, y: _nested_slope(w1, w2, b1, b2, x, y) * 1,
        truth=jax.grad(_nested_loss, argnums=3),
        points=((1.0, 2.0, 0.0, 1.0, 1.0, 0.0),),
    ),
    Claim(
        id="004/nested/inner-weight",
        place="note 004, 'Backpropagation', l.1053, the inner w its own variable",
        printed=r"\frac{\partial l(\mathbf{y}, \mathbf{w}(\mathbf{w}(\cdots) + \mathbf{b})"
        r" + \mathbf{b})}{\partial \mathbf{w}}"
        r" = l(\mathbf{y}, \mathbf{w}(\mathbf{w}(\cdots) + \mathbf{b}) + \mathbf{b})' \times"
        r" (\mathbf{w}(\mathbf{w}(\cdots) + \mathbf{b}))' \times (\cdots)",
        as_printed=lambda w1, w2, b1, b2, x, y: (
            _nested_slope(w1, w2, b1, b2, x, y)
            * jax.grad(lambda inner: w2 * inner)(w1 * x + b1)
            * x
        ),
        truth=jax.grad(_nested_loss, argnums=0),
        points=((1.0, 2.0, 0.0, 1.0, 1.0, 0.0),),
    ),
    Claim(
        id="004/nested/shared-weight",
        place="note 004, 'Backpropagation', l.1053-1074, one w in both places, as the letters say",
        printed=r"\frac{\partial l(\mathbf{y}, \mathbf{w}(\mathbf{w}(\cdots) + \mathbf{b})"
        r" + \mathbf{b})}{\partial \mathbf{w}}"
        r" = l(\mathbf{y}, \mathbf{w}(\mathbf{w}(\cdots) + \mathbf{b}) + \mathbf{b})' \times"
        r" (\mathbf{w}(\mathbf{w}(\cdots) + \mathbf{b}))' \times (\cdots)",
        as_printed=lambda w, b, x, y: (
            _nested_slope(w, w, b, b, x, y) * jax.grad(lambda inner: w * inner)(w * x + b) * x
        ),
        truth=jax.grad(lambda w, b, x, y: _nested_loss(w, w, b, b, x, y)),
        points=((1.0, 0.0, 1.0, 0.0), (2.0, 1.0, 1.0, 0.0)),
        corrected=r"\frac{\partial l(\mathbf{y}, \mathbf{w}(\mathbf{w}(\cdots) + \mathbf{b})"
        r" + \mathbf{b})}{\partial \mathbf{w}}"
        r" = l(\mathbf{y}, \mathbf{w}(\mathbf{w}(\cdots) + \mathbf{b}) + \mathbf{b})' \times"
        r" [\mathbf{w} \times (\cdots) + (\mathbf{w}(\cdots) + \mathbf{b})]",
        correction=lambda w, b, x, y: _nested_slope(w, w, b, b, x, y) * (w * x + (w * x + b)),
        remark="All weights are printed alike. With one shared w the product rule has a second"
        " term;"
        " the printed equation holds for one layer's own weight.",
    ),
    Claim(
        id="004/nested/product",
        place="note 004, 'Backpropagation', l.1080, the inner of two layers",
        printed=r"\frac{\partial l(\mathbf{y}, \hat{\mathbf{y}})}{\partial \mathbf{w}}"
        r" = \frac{\partial l(\mathbf{y}, \hat{\mathbf{y}})}{\partial \mathbf{w}} \times"
        r" \frac{\partial \mathbf{w}}{\partial \mathbf{w}} \times"
        r" \frac{\partial \mathbf{w}}{\partial \mathbf{w}} \times"
        r" \frac{\partial \mathbf{w}}{\partial \cdots} \times \cdots \times"
        r" \frac{\partial \cdots}{\partial \mathbf{w}}",
        as_printed=lambda w1, w2, b1, b2, x, y: (
            jax.grad(_nested_loss, argnums=1)(w1, w2, b1, b2, x, y)
            * jax.grad(lambda w1, w2: w2, argnums=0)(w1, w2)
        ),
        truth=jax.grad(_nested_loss, argnums=0),
        points=((1.0, 1.0, 0.0, 0.0, 1.0, 0.0), (1.0, 2.0, 0.0, 1.0, 1.0, 0.0)),
        corrected=r"\frac{\partial l}{\partial \mathbf{w}^l}"
        r" = \frac{\partial l}{\partial \hat{\mathbf{y}}} \cdot"
        r" \frac{\partial \hat{\mathbf{y}}}{\partial \mathbf{z}^L} \cdot"
        r" \frac{\partial \mathbf{z}^L}{\partial \mathbf{a}^{L-1}} \cdots"
        r" \frac{\partial \mathbf{z}^l}{\partial \mathbf{w}^l}",
        correction=lambda w1, w2, b1, b2, x, y: (
            _nested_slope(w1, w2, b1, b2, x, y)
            * jax.grad(lambda a1: w2 * a1 + b2)(w1 * x + b1)
            * jax.grad(lambda w1: w1 * x + b1)(w1)
        ),
        remark="No layer's weights depend on another's: dw/dw between layers is zero. The factors"
        " are the layers' outputs.",
    ),
)
