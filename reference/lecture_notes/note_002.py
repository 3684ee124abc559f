"""Note 002, "Lecture 10. Backpropagation Algorithm (BP)": one hidden layer, no biases.

The note leaves both activations open; here g_h and g_o are logistic. W has a row for each
hidden unit and U a row for each output.
"""

import jax
import jax.numpy as jnp

from ._claim import Claim
from ._definitions import derivative, pullback, sigmoid, squared_error

_g_h = sigmoid
_g_o = sigmoid


def _hidden(w, x):
    return _g_h(w @ x)


def _output(u, h):
    return _g_o(u @ h)


def _loss(w, u, x, y):
    return squared_error(y, _output(u, _hidden(w, x)))


def _delta_k(w, u, x, y):
    """Error of the outputs, l.79: (o_k - y_k) g_o'(net_k)."""
    net = u @ _hidden(w, x)
    return (_g_o(net) - y) * derivative(_g_o)(net)


def _deep_loss(w1, w2, u, x, y):
    return squared_error(y, _g_o(u @ _g_h(w2 @ _g_h(w1 @ x))))


def _deep_gradients(w1, w2, u, x, y):
    """The recursion of the note's summary, corrected, through two hidden layers."""
    h1 = _g_h(w1 @ x)
    h2 = _g_h(w2 @ h1)
    delta3 = (_g_o(u @ h2) - y) * derivative(_g_o)(u @ h2)
    delta2 = derivative(_g_h)(w2 @ h1) * (u.T @ delta3)
    delta1 = derivative(_g_h)(w1 @ x) * (w2.T @ delta2)
    return jnp.outer(delta1, x), jnp.outer(delta2, h1), jnp.outer(delta3, h2)


_POINT = (
    [[1.0, 0.0], [0.0, 1.0], [1.0, -1.0]],
    [[1.0, 2.0, 0.0], [0.0, -1.0, 1.0]],
    [1.0, 2.0],
    [1.0, 0.0],
)

CLAIMS = (
    # Model and loss
    Claim(
        id="002/model/output",
        place="note 002, section 2, l.44 and l.62",
        printed=r"o_k = g_o(\text{net}_k), \quad \text{net}_k = \sum_{j=1}^{n_H} u_{kj} \cdot h_j",
        as_printed=lambda u, h: jnp.stack(
            [_g_o(sum(u[k, j] * h[j] for j in range(len(h)))) for k in range(len(u))]
        ),
        truth=lambda u, h: _g_o(u @ h),
        points=(([[1.0, 2.0, 0.0], [0.0, -1.0, 1.0]], [1.0, 0.5, -1.0]),),
    ),
    Claim(
        id="002/model/hidden",
        place="note 002, section 3, l.64",
        printed=r"h_j = g_h(\text{net}_j), \quad \text{net}_j = \sum_{i=1}^d w_{ji} x_i",
        as_printed=lambda w, x: jnp.stack(
            [_g_h(sum(w[j, i] * x[i] for i in range(len(x)))) for j in range(len(w))]
        ),
        truth=lambda w, x: _g_h(w @ x),
        points=(([[1.0, 0.0], [0.0, 1.0], [1.0, -1.0]], [1.0, 2.0]),),
    ),
    Claim(
        id="002/model/loss",
        place="note 002, section 2, l.41 and l.60",
        printed=r"L(w, u) = \frac{1}{2} \sum_{k=1}^C (y_k - o_k)^2",
        as_printed=lambda y, o: sum((y[k] - o[k]) ** 2 for k in range(len(y))) / 2,
        truth=lambda y, o: jnp.linalg.norm(y - o) ** 2 / 2,
        points=(([1.0, 0.0], [0.5, 0.25]),),
    ),
    Claim(
        id="002/model/loss-gradient",
        place="note 002, section 2, l.48, its first three factors",
        printed=r"\frac{\partial L}{\partial o_k} = \frac{1}{2} \cdot 2 \cdot (o_k - y_k)",
        as_printed=lambda y, o: 1 / 2 * 2 * (o - y),
        truth=lambda y, o: jax.grad(lambda o: jnp.sum((y - o) ** 2) / 2)(o),
        points=(([1.0, 0.0], [0.5, 0.25]),),
    ),
    # Between the output layer and the hidden layer
    Claim(
        id="002/output-weights/chain",
        place="note 002, section 2, l.46",
        printed=r"\nabla_{u_{kj}} L = \frac{\partial L}{\partial o_k} \cdot"
        r" \frac{\partial o_k}{\partial \text{net}_k} \cdot"
        r" \frac{\partial \text{net}_k}{\partial u_{kj}}",
        as_printed=lambda w, u, x, y: jnp.einsum(
            "k,k,kkj->kj",
            jax.grad(lambda o: squared_error(y, o))(_output(u, _hidden(w, x))),
            derivative(_g_o)(u @ _hidden(w, x)),
            jax.jacobian(lambda u: u @ _hidden(w, x))(u),
        ),
        truth=jax.grad(_loss, argnums=1),
        points=(_POINT,),
    ),
    Claim(
        id="002/output-weights/gradient",
        place="note 002, section 2, l.48-50",
        printed=r"\nabla_{u_{kj}} L = (o_k - y_k) \cdot g'_o \cdot h_j",
        as_printed=lambda w, u, x, y: jnp.einsum(
            "k,k,j->kj",
            _output(u, _hidden(w, x)) - y,
            derivative(_g_o)(u @ _hidden(w, x)),
            _hidden(w, x),
        ),
        truth=jax.grad(_loss, argnums=1),
        points=(_POINT,),
    ),
    Claim(
        id="002/output-weights/delta",
        place="note 002, section 2, l.50, and summary, l.75",
        printed=r"\nabla_{u_{kj}} L = \delta_k \cdot h_j",
        as_printed=lambda w, u, x, y: jnp.einsum("k,j->kj", _delta_k(w, u, x, y), _hidden(w, x)),
        truth=jax.grad(_loss, argnums=1),
        points=(_POINT,),
    ),
    # Between the hidden layer and the input layer
    Claim(
        id="002/hidden-weights/chain",
        place="note 002, section 3, l.66",
        printed=r"\nabla_{w_{ji}} L = \sum_{k=1}^C \left(\frac{\partial L}{\partial o_k} \cdot"
        r" \frac{\partial o_k}{\partial \text{net}_k} \cdot"
        r" \frac{\partial \text{net}_k}{\partial h_j} \right) \cdot"
        r" \frac{\partial h_j}{\partial \text{net}_j} \cdot"
        r" \frac{\partial \text{net}_j}{\partial w_{ji}}",
        as_printed=lambda w, u, x, y: jnp.einsum(
            "k,k,kj,j,jji->ji",
            jax.grad(lambda o: squared_error(y, o))(_output(u, _hidden(w, x))),
            derivative(_g_o)(u @ _hidden(w, x)),
            jax.jacobian(lambda h: u @ h)(_hidden(w, x)),
            derivative(_g_h)(w @ x),
            jax.jacobian(lambda w: w @ x)(w),
        ),
        truth=jax.grad(_loss),
        points=(_POINT,),
    ),
    Claim(
        id="002/hidden-weights/gradient",
        place="note 002, section 3, l.68, first form",
        printed=r"\nabla_{w_{ji}} L"
        r" = \left[\sum_{k=1}^C (o_k - y_k) \cdot g'_o \cdot u_{kj} \right] \cdot g'_h \cdot x_i",
        as_printed=lambda w, u, x, y: jnp.einsum(
            "k,k,kj,j,i->ji",
            _output(u, _hidden(w, x)) - y,
            derivative(_g_o)(u @ _hidden(w, x)),
            u,
            derivative(_g_h)(w @ x),
            x,
        ),
        truth=jax.grad(_loss),
        points=(_POINT,),
    ),
    Claim(
        id="002/hidden-weights/delta",
        place="note 002, section 3, l.68-71, second form, and summary, l.77 with this delta_j",
        printed=r"\nabla_{w_{ji}} L = \left[\sum_{k=1}^C (\delta_k \cdot u_{kj}) \cdot g'_h \right]"
        r" \cdot x_i = \delta_j \cdot x_i",
        as_printed=lambda w, u, x, y: jnp.einsum(
            "j,i->ji",
            jnp.einsum("k,kj,j->j", _delta_k(w, u, x, y), u, derivative(_g_h)(w @ x)),
            x,
        ),
        truth=jax.grad(_loss),
        points=(_POINT,),
    ),
    # Summary
    Claim(
        id="002/summary/delta-k",
        place="note 002, summary, l.79",
        printed=r"\delta_k = (o_k - y_k) \cdot g'_o",
        as_printed=lambda net, y: (_g_o(net) - y) * derivative(_g_o)(net),
        truth=lambda net, y: jax.grad(lambda net: squared_error(y, _g_o(net)))(net),
        points=(([0.0, 1.0], [1.0, 0.0]),),
        remark="delta_k is the derivative of L by net_k.",
    ),
    Claim(
        id="002/summary/delta-j",
        place="note 002, summary, l.81",
        printed=r"\delta_j = \sum_{k=1}^c \delta_k \cdot u_{kj}",
        as_printed=lambda net, u, delta: jnp.einsum("k,kj->j", delta, u),
        truth=lambda net, u, delta: pullback(lambda net: u @ _g_h(net), net, delta),
        points=(
            ([0.0], [[1.0]], [1.0]),
            ([0.0, 1.0, 2.0], [[1.0, 2.0, 0.0], [0.0, -1.0, 1.0]], [1.0, -2.0]),
        ),
        corrected=r"\delta_j = g'_h(\text{net}_j) \sum_{k=1}^c \delta_k \cdot u_{kj}",
        correction=lambda net, u, delta: derivative(_g_h)(net) * jnp.einsum("k,kj->j", delta, u),
        remark="The factor g_h' is missing; section 3 has it.",
    ),
    Claim(
        id="002/summary/hidden-weights",
        place="note 002, summary, l.77 with the delta_j of l.81",
        printed=r"\nabla_{w_{ji}} L = \delta_j \cdot x_i, \quad"
        r" \delta_j = \sum_{k=1}^c \delta_k \cdot u_{kj}",
        as_printed=lambda w, u, x, y: jnp.outer(_delta_k(w, u, x, y) @ u, x),
        truth=jax.grad(_loss),
        points=(([[0.0]], [[1.0]], [1.0], [0.0]), _POINT),
        corrected=r"\nabla_{w_{ji}} L = \delta_j \cdot x_i, \quad"
        r" \delta_j = g'_h(\text{net}_j) \sum_{k=1}^c \delta_k \cdot u_{kj}",
        correction=lambda w, u, x, y: jnp.outer(
            derivative(_g_h)(w @ x) * (_delta_k(w, u, x, y) @ u), x
        ),
        remark="The factor g_h' is missing; section 3 has it.",
    ),
    Claim(
        id="002/extension/more-hidden-layers",
        place="note 002, l.83, the question at the end, two hidden layers",
        printed=r"\delta_j^{(l)} = g'_h(\text{net}_j^{(l)})"
        r" \sum_k \delta_k^{(l+1)} \cdot w_{kj}^{(l+1)}, \quad"
        r" \nabla_{w_{ji}^{(l)}} L = \delta_j^{(l)} \cdot h_i^{(l-1)}",
        as_printed=_deep_gradients,
        truth=jax.grad(_deep_loss, argnums=(0, 1, 2)),
        points=(
            (
                [[1.0, 0.0], [0.0, 1.0], [1.0, -1.0]],
                [[1.0, 0.0, 1.0], [0.0, 2.0, -1.0]],
                [[1.0, -1.0]],
                [1.0, 2.0],
                [1.0],
            ),
        ),
        remark="The note asks and does not answer: the same delta, layer after layer, h^(0) = x.",
        supplied=True,
    ),
)
