"""Backpropagation one weight at a time, in Python floats: note 002, for any number of layers.

A second reference for the matrix form that shares no array operation with it. Weights are nested
lists as the note has them: `weights[l][j][i]` leads from unit i below to unit j above.
"""

from collections.abc import Callable, Sequence

Unit = Callable[[float], float]
Matrix = Sequence[Sequence[float]]


def forward(weights: Sequence[Matrix], x: Sequence[float], units: Sequence[Unit]):
    """net_j = sum_i w_ji h_i and h_j = g(net_j), layer by layer.

    Args:
      weights: one matrix a layer.
      x: the inputs.
      units: the activation g of each layer.

    Returns:
      The nets and the outputs of every layer; outputs[0] is x, outputs[-1] the prediction o.
    """
    nets, outputs = [], [list(x)]
    for matrix, g in zip(weights, units, strict=True):
        net = []
        for row in matrix:
            total = 0.0
            for w, h in zip(row, outputs[-1], strict=True):
                total += w * h
            net.append(total)
        nets.append(net)
        outputs.append([g(value) for value in net])
    return nets, outputs


def backprop(
    weights: Sequence[Matrix],
    x: Sequence[float],
    y: Sequence[float],
    units: Sequence[Unit],
    slopes: Sequence[Unit],
):
    """The loss (1/2) sum_k (y_k - o_k)^2 and its derivative in every single weight.

    Note 002, sections 2 to 4: delta_k = (o_k - y_k) g'(net_k) at the output,
    delta_j = g'(net_j) sum_k delta_k u_kj below (the summary of section 4 forgets g'), and
    dL/dw_ji = delta_j h_i, extended to any number of hidden layers.

    Args:
      weights: one matrix a layer.
      x: the inputs.
      y: the targets.
      units: the activation g of each layer.
      slopes: its derivative g', as functions of net.

    Returns:
      The loss and nested lists of the shape of weights.
    """
    nets, outputs = forward(weights, x, units)
    loss = 0.0
    for target, o in zip(y, outputs[-1], strict=True):
        loss += 0.5 * (target - o) ** 2
    top = len(weights) - 1
    delta = []
    for k, o in enumerate(outputs[-1]):
        delta.append((o - y[k]) * slopes[top](nets[top][k]))
    gradients: list[list[list[float]]] = []
    for layer in range(top, -1, -1):
        gradient = []
        for j in range(len(weights[layer])):
            gradient.append([delta[j] * h for h in outputs[layer]])
        gradients.insert(0, gradient)
        if layer == 0:
            break
        below = []
        for j, net in enumerate(nets[layer - 1]):
            back = 0.0
            for k, row in enumerate(weights[layer]):
                back += delta[k] * row[j]
            below.append(slopes[layer - 1](net) * back)
        delta = below
    return loss, gradients
