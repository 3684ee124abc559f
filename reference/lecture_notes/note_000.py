"""Note 000, "A Neuron": layers, losses, backpropagation without biases, z = a w."""

import jax
import jax.numpy as jnp

from ._claim import Claim
from ._definitions import (
    cross_entropy,
    derivative,
    partials,
    pullback,
    relu,
    sigmoid,
    softmax,
    squared_error,
)


def _inner_layer(z, w):
    """z of the next layer, when z is the pre-activation of a hidden layer."""
    return sigmoid(z) @ w


def _input_layer(x, w):
    """z of the first layer: the input itself is weighted."""
    return x @ w


def _mean_loss(w, x, y):
    """L_W of one linear layer: the mean over the rows of x and y."""
    return jnp.mean(jax.vmap(lambda x, y: squared_error(y, x @ w))(x, y))


CLAIMS = (
    # A neuron, layers
    Claim(
        id="000/neuron/pre-activation",
        place="note 000, 'A Neuron', l.11",
        printed=r"z = \sum x_i w_i",
        as_printed=lambda x, w: jnp.sum(x * w),
        truth=lambda x, w: jnp.dot(x, w),
        points=(([1.0, 2.0, 3.0], [1.0, 0.0, -1.0]),),
    ),
    Claim(
        id="000/activation/logistic",
        place="note 000, 'A Neuron', l.13-15",
        printed=r"a = \sigma(z), \quad \sigma(t) = \frac{1}{1+e^{-t}}",
        as_printed=lambda t: 1 / (1 + jnp.exp(-t)),
        truth=lambda t: (1 + jnp.tanh(t / 2)) / 2,
        points=((0.0,), (1.0,), (-1.0,)),
    ),
    Claim(
        id="000/activation/relu",
        place="note 000, 'A Neuron', l.15",
        printed=r"\sigma(t) = \begin{cases} t & \text{if } t \geq 0 \\"
        r" 0 & \text{otherwise} \end{cases}",
        as_printed=lambda t: jnp.where(t >= 0, t, 0.0),
        truth=relu,
        points=((0.0,), (1.0,), (-1.0,)),
    ),
    Claim(
        id="000/activation/tanh",
        place="note 000, 'A Neuron', l.15",
        printed=r"\sigma(t) = \tanh(t)",
        as_printed=jnp.tanh,
        truth=lambda t: jnp.sinh(t) / jnp.cosh(t),
        points=((0.0,), (1.0,), (-1.0,)),
    ),
    Claim(
        id="000/layer/pre-activation",
        place="note 000, 'Layers', l.24",
        printed=r"z_l^{(i+1)} = \sum_{j=1}^{n^{(i)}} a_j^{(i)} w_{jl}^{(i+1)}",
        as_printed=lambda a, w: jnp.einsum("j,jl->l", a, w),
        truth=lambda a, w: a @ w,
        points=(([1.0, 2.0, 3.0], [[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]]),),
    ),
    Claim(
        id="000/layer/activation",
        place="note 000, 'Layers', l.26",
        printed=r"a_l^{(i+1)} = \sigma(z_l^{(i+1)})",
        as_printed=lambda z: jnp.stack([sigmoid(z[k]) for k in range(len(z))]),
        truth=sigmoid,
        points=(([0.0, 1.0, -1.0],),),
    ),
    Claim(
        id="000/feed-forward/value",
        place="note 000, 'Layers', l.39",
        printed=r"z^{(0)} \rightarrow z^{(0)} w^{(1)} \rightarrow \sigma(z^{(0)} w^{(1)})"
        r" \rightarrow \sigma(z^{(0)} w^{(1)}) w^{(2)}",
        as_printed=lambda z0, w1, w2: sigmoid(z0 @ w1) @ w2,
        truth=lambda z0, w1, w2: jnp.einsum(
            "nj,jk->nk", sigmoid(jnp.einsum("ni,ij->nj", z0, w1)), w2
        ),
        points=(
            (
                [[1.0, 2.0, 3.0]],
                [[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]],
                [[1.0, 0.0, 2.0], [0.0, 1.0, 1.0]],
            ),
        ),
        remark="The last layer has no activation before F.",
    ),
    Claim(
        id="000/feed-forward/shapes",
        place="note 000, 'Layers', l.33-39",
        printed=r"z^{(0)} \; 1 \times 3, \quad w^{(1)} \; 3 \times 2, \quad w^{(2)} \; 2 \times 3",
        as_printed=lambda z0, w1, w2: (sigmoid(z0 @ w1) @ w2).shape,
        truth=lambda z0, w1, w2: (z0.shape[0], w2.shape[1]),
        points=(([[0.0] * 3], [[0.0] * 2] * 3, [[0.0] * 3] * 2),),
        remark="The output is 1x3: rows are examples.",
    ),
    Claim(
        id="000/linear-regression/output",
        place="note 000, 'Linear Regression', l.66, with sigma(t) = t of l.17",
        printed=r"\text{output} = X W^{(1)}",
        as_printed=lambda x, w: x @ w,
        truth=lambda x, w: jnp.einsum("i,ij->j", x, w),
        points=(([1.0, 2.0, 3.0], [[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]]),),
    ),
    Claim(
        id="000/logistic-regression/output",
        place="note 000, 'Logistic Regression', l.79",
        printed=r"\text{output} = \text{Softmax}(XW^{(1)})",
        as_printed=lambda x, w: softmax(x @ w),
        truth=lambda x, w: jax.grad(lambda z: jnp.log(jnp.sum(jnp.exp(z))))(x @ w),
        points=(([1.0, 2.0], [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]]),),
        remark="Softmax is the gradient of log sum exp.",
    ),
    # Training
    Claim(
        id="000/training/mean-loss",
        place="note 000, 'A \"hidden\" Layer', l.91",
        printed=r"L_W = \frac{1}{M} \sum_{i=1}^M \mathcal{L}(y^{[i]}, F_W(x^{[i]}))",
        as_printed=lambda w, x, y: (
            sum(squared_error(y[i], x[i] @ w) for i in range(len(x))) / len(x)
        ),
        truth=_mean_loss,
        points=(([[1.0], [1.0]], [[1.0, 0.0], [0.0, 2.0]], [[0.0], [1.0]]),),
    ),
    Claim(
        id="000/training/mean-loss-gradient",
        place="note 000, 'A \"hidden\" Layer', l.91-103",
        printed=r"\frac{\partial L_W}{\partial W} = \frac{1}{M} \sum_{i=1}^M"
        r" \frac{\partial}{\partial W} \mathcal{L}(y^{[i]}, F_W(x^{[i]}))",
        as_printed=lambda w, x, y: (
            sum(jax.grad(lambda w, i=i: squared_error(y[i], x[i] @ w))(w) for i in range(len(x)))
            / len(x)
        ),
        truth=jax.grad(_mean_loss),
        points=(([[1.0], [1.0]], [[1.0, 0.0], [0.0, 2.0]], [[0.0], [1.0]]),),
        remark="The note asks for this gradient without printing it.",
        supplied=True,
    ),
    Claim(
        id="000/training/update",
        place="note 000, 'A \"hidden\" Layer', l.105",
        printed=r"W_{ij}^{(l)} = W_{ij}^{(l)} - \lambda \frac{\partial L}{\partial W_{ij}^{(l)}}",
        as_printed=lambda w, x, y, rate: w - rate * partials(lambda w: _mean_loss(w, x, y), w),
        truth=lambda w, x, y, rate: w - rate * jax.grad(_mean_loss)(w, x, y),
        points=(([[1.0], [1.0]], [[1.0, 0.0], [0.0, 2.0]], [[0.0], [1.0]], 0.5),),
        remark="An assignment: every entry moves at once, from gradients at the old weights.",
    ),
    # Losses
    Claim(
        id="000/mse/half",
        place="note 000, 'Backpropagation', step 1, l.117",
        printed=r"\frac{1}{2} \|y^{[i]} - z_j^{(n)}\|^2"
        r" = \frac{1}{2} \sum_{j=1}^{N_n} (y_j^{[i]} - z_j^{(n)})^2",
        as_printed=lambda y, z: jnp.sum((y - z) ** 2) / 2,
        truth=lambda y, z: jnp.linalg.norm(y - z) ** 2 / 2,
        points=(([1.0, 0.0], [3.0, 1.0]),),
    ),
    Claim(
        id="000/mse/half-gradient",
        place="note 000, 'Backpropagation', step 1, l.113-117",
        printed=r"\frac{\partial L}{\partial z_j} = z_j - y_j",
        as_printed=lambda y, z: z - y,
        truth=lambda y, z: jax.grad(lambda z: jnp.sum((y - z) ** 2) / 2)(z),
        points=(([1.0, 0.0], [3.0, 1.0]),),
        remark="For the loss with 1/2; the note does not print it.",
        supplied=True,
    ),
    Claim(
        id="000/mse/full-gradient",
        place="note 000, 'Backpropagation', step 1, l.113-115",
        printed=r"\frac{\partial L}{\partial z_j} = 2 (z_j - y_j)",
        as_printed=lambda y, z: 2 * (z - y),
        truth=lambda y, z: jax.grad(lambda z: jnp.sum((y - z) ** 2))(z),
        points=(([1.0, 0.0], [3.0, 1.0]),),
        remark="For the loss without 1/2; the note does not print it.",
        supplied=True,
    ),
    Claim(
        id="000/mse/two-scales",
        place="note 000, 'Backpropagation', step 1, l.115 against l.117",
        printed=r"L = \sum (y_j - z_j)^2",
        as_printed=lambda y, z: jnp.sum((y - z) ** 2),
        truth=lambda y, z: jnp.linalg.norm(y - z) ** 2 / 2,
        points=(([0.0], [1.0]), ([1.0, 0.0], [3.0, 1.0])),
        corrected=r"L = \frac{1}{2} \sum (y_j - z_j)^2",
        correction=lambda y, z: jnp.sum((y - z) ** 2) / 2,
        remark="A convention: two losses, one twice the other, share the name MSE.",
    ),
    Claim(
        id="000/cross-entropy/value",
        place="note 000, 'Backpropagation', step 1, l.119",
        printed=r"L = \sum_{j=1}^{N_n} y_j \log\left(\frac{e^{z_j}}{H}\right)",
        as_printed=lambda y, z: jnp.sum(y * jnp.log(jnp.exp(z) / jnp.sum(jnp.exp(z)))),
        truth=lambda y, z: cross_entropy(y, softmax(z)),
        points=(([1.0, 0.0], [0.0, 0.0]), ([0.0, 1.0, 0.0], [1.0, 2.0, 0.5])),
        corrected=r"L = -\sum_j y_j \log\left(\frac{e^{z_j}}{H}\right), \quad H = \sum_k e^{z_k}",
        correction=lambda y, z: -jnp.sum(y * jnp.log(jnp.exp(z) / jnp.sum(jnp.exp(z)))),
        remark="The sign: descending the printed loss makes the right class less likely."
        " H is not defined in the note.",
    ),
    Claim(
        id="000/cross-entropy/identity",
        place="note 000, 'Backpropagation', step 1, l.119",
        printed=r"\sum_{j=1}^{N_n} y_j \log\left(\frac{e^{z_j}}{H}\right)"
        r" = \sum_1^{N_n} y_j z_j - \log H",
        as_printed=lambda y, z: jnp.sum(y * z) - jnp.log(jnp.sum(jnp.exp(z))),
        truth=lambda y, z: jnp.sum(y * jnp.log(softmax(z))),
        points=(([1.0, 1.0], [0.0, 0.0]), ([0.5, 1.0, 0.0], [1.0, 2.0, 0.5])),
        corrected=r"\sum_j y_j \log\left(\frac{e^{z_j}}{H}\right)"
        r" = \sum_j y_j z_j - \left(\sum_j y_j\right) \log H",
        correction=lambda y, z: jnp.sum(y * z) - jnp.sum(y) * jnp.log(jnp.sum(jnp.exp(z))),
        remark="True only of labels that sum to one.",
    ),
    Claim(
        id="000/cross-entropy/identity-one-hot",
        place="note 000, 'Backpropagation', step 1, l.119, labels that sum to one",
        printed=r"\sum_{j=1}^{N_n} y_j \log\left(\frac{e^{z_j}}{H}\right)"
        r" = \sum_1^{N_n} y_j z_j - \log H",
        as_printed=lambda y, z: jnp.sum(y * z) - jnp.log(jnp.sum(jnp.exp(z))),
        truth=lambda y, z: jnp.sum(y * jnp.log(softmax(z))),
        points=(
            ([0.0, 1.0, 0.0], [1.0, 2.0, 0.5]),
            ([0.25, 0.25, 0.5], [1.0, 2.0, 0.5]),
            ([1.0, 0.0], [-3.0, 4.0]),
        ),
        explore=False,
    ),
    Claim(
        id="000/cross-entropy/gradient",
        place="note 000, 'Backpropagation', step 1, l.121",
        printed=r"\frac{\partial L}{\partial z_j} = y_j - p_j, \quad p_j = e^{z_j} / H",
        as_printed=lambda y, z: y - jnp.exp(z) / jnp.sum(jnp.exp(z)),
        truth=lambda y, z: jax.grad(lambda z: cross_entropy(y, softmax(z)))(z),
        points=(
            ([1.0, 0.0], [0.0, 0.0]),
            ([0.0, 1.0, 0.0], [1.0, 2.0, 0.5]),
            ([0.5, 1.0, 0.0], [1.0, 2.0, 0.5]),
        ),
        corrected=r"\frac{\partial L}{\partial z_j} = \left(\sum_k y_k\right) p_j - y_j",
        correction=lambda y, z: jnp.sum(y) * softmax(z) - y,
        remark="The sign; p - y for labels that sum to one, and the sum of the labels otherwise.",
    ),
    Claim(
        id="000/cross-entropy/gradient-of-printed-loss",
        place="note 000, 'Backpropagation', step 1, l.121 with l.119",
        printed=r"\frac{\partial}{\partial z_j} \left(\sum_1^{N_n} y_j z_j - \log H\right)"
        r" = y_j - p_j",
        as_printed=lambda y, z: y - jnp.exp(z) / jnp.sum(jnp.exp(z)),
        truth=lambda y, z: jax.grad(lambda z: jnp.sum(y * z) - jnp.log(jnp.sum(jnp.exp(z))))(z),
        points=(([0.0, 1.0, 0.0], [1.0, 2.0, 0.5]),),
        remark="The derivation is right: the wrong sign comes from the printed loss.",
    ),
    # Earlier layers: delta is dL/dz of the layer above, z is this layer's pre-activation
    Claim(
        id="000/hidden-delta/chain",
        place="note 000, 'Earlier Layers', l.129",
        printed=r"\delta_j^{(i-1)} = \sum_l \frac{\partial L}{\partial z_l^{(i)}}"
        r" \frac{\partial z_l^{(i)}}{\partial z_j^{(i-1)}}",
        as_printed=lambda z, w, delta: jnp.einsum(
            "l,lj->j", delta, jax.jacobian(_inner_layer)(z, w)
        ),
        truth=lambda z, w, delta: pullback(lambda z: _inner_layer(z, w), z, delta),
        points=(([0.0, 1.0, 2.0], [[1.0, 0.0], [0.0, 1.0], [2.0, 3.0]], [1.0, -1.0]),),
    ),
    Claim(
        id="000/hidden-delta/sum",
        place="note 000, 'Earlier Layers', l.132",
        printed=r"\delta_j^{(i-1)} = \sum_l \delta_l^{(i)} \sigma'(z_j^{(i-1)}) w_{jl}^{(i)}",
        as_printed=lambda z, w, delta: jnp.einsum("l,j,jl->j", delta, derivative(sigmoid)(z), w),
        truth=lambda z, w, delta: pullback(lambda z: _inner_layer(z, w), z, delta),
        points=(([0.0, 1.0, 2.0], [[1.0, 0.0], [0.0, 1.0], [2.0, 3.0]], [1.0, -1.0]),),
    ),
    Claim(
        id="000/hidden-delta/factored",
        place="note 000, 'Earlier Layers', l.134 and l.138",
        printed=r"\delta_j^{(i-1)} = \sigma'(z_j^{(i-1)}) \sum_l w_{jl}^{(i)} \delta_l^{(i)}",
        as_printed=lambda z, w, delta: derivative(sigmoid)(z) * (w @ delta),
        truth=lambda z, w, delta: pullback(lambda z: _inner_layer(z, w), z, delta),
        points=(([0.0, 1.0, 2.0], [[1.0, 0.0], [0.0, 1.0], [2.0, 3.0]], [1.0, -1.0]),),
    ),
    Claim(
        id="000/hidden-delta/entry",
        place="note 000, 'Earlier Layers', l.136",
        printed=r"\sum_l w_{jl}^{(i)} \delta_l^{(i)} = l^{\text{th}} \text{ entry of }"
        r" W^{(i)} \delta^{(i)}",
        as_printed=lambda w, delta: jnp.stack([(w @ delta)[k] for k in range(len(delta))]),
        truth=lambda w, delta: jnp.einsum("jl,l->j", w, delta),
        points=(
            ([[1.0], [2.0]], [1.0]),
            ([[1.0, 0.0], [0.0, 1.0], [2.0, 3.0]], [1.0, -1.0]),
        ),
        corrected=r"\sum_l w_{jl}^{(i)} \delta_l^{(i)} = j^{\text{th}} \text{ entry of }"
        r" W^{(i)} \delta^{(i)}",
        correction=lambda w, delta: jnp.stack([(w @ delta)[j] for j in range(len(w))]),
        remark="l is summed over: the entries are counted by j, one for each unit below.",
    ),
    Claim(
        id="000/layer/from-pre-activation",
        place="note 000, 'Earlier Layers', l.144 and l.150, layers after the first",
        printed=r"z_l^{(i)} = \sum_j \sigma(z_j^{(i-1)}) w_{jl}^{(i)}",
        as_printed=lambda z, w: jnp.einsum("j,jl->l", sigmoid(z), w),
        truth=lambda z, w: _inner_layer(z, w),
        points=(([0.0, 1.0], [[1.0, 0.0, 2.0], [0.0, 1.0, 3.0]]),),
    ),
    # Weight gradients
    Claim(
        id="000/weight-gradient/entries",
        place="note 000, 'Backpropagation cont'd', l.154-162, layers after the first",
        printed=r"\frac{\partial \mathcal{L}}{\partial w^{(l)}}"
        r" = \left( \delta_j^{(l)} \sigma(z_i^{(l-1)}) \right)",
        as_printed=lambda z, w, delta: jnp.einsum("j,i->ij", delta, sigmoid(z)),
        truth=lambda z, w, delta: pullback(lambda w: _inner_layer(z, w), w, delta),
        points=(([0.0, 1.0, 2.0], [[1.0, 0.0], [0.0, 1.0], [2.0, 3.0]], [1.0, -1.0]),),
    ),
    Claim(
        id="000/weight-gradient/stray-sum",
        place="note 000, 'Backpropagation cont'd', l.148",
        printed=r"\frac{\partial \mathcal{L}}{\partial w_{ij}^{(l)}}"
        r" = \sum \delta_j^{(l)} \sigma(z_i^{(l-1)})",
        as_printed=lambda z, w, delta: jnp.outer(sigmoid(z), jnp.full_like(delta, jnp.sum(delta))),
        truth=lambda z, w, delta: pullback(lambda w: _inner_layer(z, w), w, delta),
        points=(
            ([0.0], [[1.0, 1.0]], [1.0, 1.0]),
            ([0.0, 1.0, 2.0], [[1.0, 0.0], [0.0, 1.0], [2.0, 3.0]], [1.0, -1.0]),
        ),
        corrected=r"\frac{\partial \mathcal{L}}{\partial w_{ij}^{(l)}}"
        r" = \delta_j^{(l)} \sigma(z_i^{(l-1)})",
        correction=lambda z, w, delta: jnp.outer(sigmoid(z), delta),
        remark="Read as a sum over j: w_ij enters z_j alone, so there is nothing to sum over"
        " but examples.",
    ),
    Claim(
        id="000/weight-gradient/sum-over-examples",
        place="note 000, 'Backpropagation cont'd', l.148, the sum read as one over examples",
        printed=r"\frac{\partial \mathcal{L}}{\partial w_{ij}^{(l)}}"
        r" = \sum \delta_j^{(l)} \sigma(z_i^{(l-1)})",
        as_printed=lambda z, w, delta: jnp.einsum("nj,ni->ij", delta, sigmoid(z)),
        truth=lambda z, w, delta: pullback(lambda w: sigmoid(z) @ w, w, delta),
        points=(([[0.0, 1.0], [2.0, 3.0]], [[1.0], [2.0]], [[1.0], [-1.0]]),),
    ),
    Claim(
        id="000/weight-gradient/outer-order",
        place="note 000, 'Backpropagation cont'd', l.164",
        printed=r"\frac{\partial \mathcal{L}}{\partial w^{(l)}} ="
        r" \text{ the outer product of } \delta^{(l)} \text{ and } \sigma(z^{(l-1)})",
        as_printed=lambda z, w, delta: jnp.outer(delta, sigmoid(z)),
        truth=lambda z, w, delta: pullback(lambda w: _inner_layer(z, w), w, delta),
        points=(
            ([0.0, 0.0], [[1.0], [1.0]], [1.0]),
            ([0.0, 1.0, 2.0], [[1.0, 0.0], [0.0, 1.0], [2.0, 3.0]], [1.0, -1.0]),
        ),
        corrected=r"\frac{\partial \mathcal{L}}{\partial w^{(l)}} ="
        r" \text{ the outer product of } \sigma(z^{(l-1)}) \text{ and } \delta^{(l)}",
        correction=lambda z, w, delta: jnp.outer(sigmoid(z), delta),
        remark="w has one row for each input and one column for each output.",
    ),
    Claim(
        id="000/input-layer/forward",
        place="note 000, 'Earlier Layers', l.144 and l.150, i = 1, against l.39",
        printed=r"z_l^{(1)} = \sum_j \sigma(z_j^{(0)}) w_{jl}^{(1)}",
        as_printed=lambda z0, w: jnp.einsum("j,jl->l", sigmoid(z0), w),
        truth=lambda z0, w: _input_layer(z0, w),
        points=(([0.0], [[1.0]]), ([1.0, 2.0, 3.0], [[1.0, 0.0], [0.0, 1.0], [2.0, 3.0]])),
        corrected=r"z_l^{(1)} = \sum_j z_j^{(0)} w_{jl}^{(1)}",
        correction=lambda z0, w: jnp.einsum("j,jl->l", z0, w),
        remark="The input of the network is not a pre-activation.",
    ),
    Claim(
        id="000/input-layer/weight-gradient",
        place="note 000, 'Backpropagation cont'd', l.148 and l.162, l = 1",
        printed=r"\frac{\partial \mathcal{L}}{\partial w_{ij}^{(1)}}"
        r" = \delta_j^{(1)} \sigma(z_i^{(0)})",
        as_printed=lambda z0, w, delta: jnp.einsum("j,i->ij", delta, sigmoid(z0)),
        truth=lambda z0, w, delta: pullback(lambda w: _input_layer(z0, w), w, delta),
        points=(
            ([0.0], [[1.0]], [1.0]),
            ([1.0, 2.0, 3.0], [[1.0, 0.0], [0.0, 1.0], [2.0, 3.0]], [1.0, -1.0]),
        ),
        corrected=r"\frac{\partial \mathcal{L}}{\partial w_{ij}^{(1)}}"
        r" = \delta_j^{(1)} z_i^{(0)}",
        correction=lambda z0, w, delta: jnp.outer(z0, delta),
        remark="The input of the network is not a pre-activation.",
    ),
    # The training algorithm: rows of a and delta are examples
    Claim(
        id="000/accumulate/delta",
        place="note 000, 'Backpropagation cont'd', l.174, and 'Training Algorithm', l.188",
        printed=r"\delta_*^{(i)} = \delta_*^{(i)} + \delta^{(i)}",
        as_printed=lambda a, w, delta: jnp.outer(jnp.sum(a, axis=0), jnp.sum(delta, axis=0)),
        truth=lambda a, w, delta: pullback(lambda w: a @ w, w, delta),
        points=(
            ([[1.0], [0.0]], [[1.0]], [[0.0], [1.0]]),
            ([[1.0, 2.0], [3.0, 4.0]], [[1.0], [2.0]], [[1.0], [-1.0]]),
        ),
        corrected=r"\nabla W_*^{(i)} = \sum_x a^{(i-1)}(x) \, \delta^{(i)}(x)",
        correction=lambda a, w, delta: sum(jnp.outer(a[n], delta[n]) for n in range(len(a))),
        remark="Accumulated deltas cannot give the weight gradient: each belongs with the"
        " activations of its own example. Their sum is the gradient of a bias.",
    ),
    Claim(
        id="000/accumulate/weight-gradient",
        place="note 000, 'Training Algorithm', l.188, a loss that is the sum over the data",
        printed=r"\nabla W_*^{(i)} = \nabla W_*^{(i)} + \nabla W^{(i)}",
        as_printed=lambda a, w, delta: sum(
            (jnp.outer(a[n], delta[n]) for n in range(len(a))), start=jnp.zeros_like(w)
        ),
        truth=lambda a, w, delta: pullback(lambda w: a @ w, w, delta),
        points=(([[1.0, 2.0], [3.0, 4.0]], [[1.0], [2.0]], [[1.0], [-1.0]]),),
    ),
    Claim(
        id="000/accumulate/total-loss",
        place="note 000, 'Backpropagation cont'd', l.174, against L_W of l.91",
        printed=r"L = \sum_i \mathcal{L}(y^{[i]}, F_w(x^{[i]}))",
        as_printed=lambda w, x, y: sum(squared_error(y[i], x[i] @ w) for i in range(len(x))),
        truth=_mean_loss,
        points=(
            ([[1.0]], [[1.0], [1.0]], [[0.0], [0.0]]),
            ([[1.0], [1.0]], [[1.0, 0.0], [0.0, 2.0]], [[0.0], [1.0]]),
        ),
        corrected=r"L = \frac{1}{M} \sum_i \mathcal{L}(y^{[i]}, F_w(x^{[i]}))",
        correction=lambda w, x, y: (
            sum(squared_error(y[i], x[i] @ w) for i in range(len(x))) / len(x)
        ),
        remark="A convention: defined as a mean, later called a sum. State the reduction.",
    ),
    Claim(
        id="000/accumulate/update",
        place="note 000, 'Training Algorithm', l.188-192, against L_W of l.91",
        printed=r"W^{(i)} = W^{(i)} - \lambda \nabla W_*^{(i)}",
        as_printed=lambda w, x, y, rate: (
            w - rate * sum(jnp.outer(x[n], x[n] @ w - y[n]) for n in range(len(x)))
        ),
        truth=lambda w, x, y, rate: w - rate * jax.grad(_mean_loss)(w, x, y),
        points=(
            ([[1.0]], [[1.0], [1.0]], [[0.0], [0.0]], 1.0),
            ([[1.0], [1.0]], [[1.0, 0.0], [0.0, 2.0]], [[0.0], [1.0]], 0.5),
        ),
        corrected=r"W^{(i)} = W^{(i)} - \frac{\lambda}{M} \nabla W_*^{(i)}",
        correction=lambda w, x, y, rate: (
            w - rate / len(x) * sum(jnp.outer(x[n], x[n] @ w - y[n]) for n in range(len(x)))
        ),
        remark="A convention: the summed gradient is M times that of the mean loss.",
    ),
)
