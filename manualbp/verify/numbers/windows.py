"""Primitives that slide a window over an array: pooling and convolution."""

import functools
import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from manualbp.verify.numbers.arithmetic import Straddles, array, each


def windows(shape: Sequence[int], params: dict[str, Any]) -> np.ndarray:
    """Which entries of a raveled array each window holds; -1 in the padding.

    Args:
      shape: of the array.
      params: of a primitive that reduces windows.

    Returns:
      Integers, (*shape of the result, entries of a window).
    """
    n = len(shape)
    return _windows(
        tuple(shape),
        tuple(params["window_dimensions"]),
        tuple(params["window_strides"]),
        tuple(map(tuple, params["padding"])),
        tuple(params.get("base_dilation") or (1,) * n),
        tuple(params.get("window_dilation") or (1,) * n),
    )


@functools.lru_cache(maxsize=256)
def _windows(shape, sizes, strides, padding, base_dilation, window_dilation) -> np.ndarray:
    along = [
        _places(*axis)
        for axis in zip(shape, sizes, strides, padding, base_dilation, window_dilation, strict=True)
    ]
    out = [len(places) for places in along]
    total, inside = np.zeros((*out, *sizes), int), np.ones((*out, *sizes), bool)
    for i, places in enumerate(along):
        # of this axis, what windows stand at each position, and what each holds
        kept = [1] * (2 * len(shape))
        kept[i], kept[len(shape) + i] = places.shape
        step = math.prod(shape[i + 1 :])
        total = total + places.reshape(kept) * step
        inside = inside & (places.reshape(kept) >= 0)
    return np.where(inside, total, -1).reshape(*out, math.prod(sizes))


def _places(n, size, stride, padding, base_dilation, window_dilation) -> np.ndarray:
    """Of one axis: the entry at each position of each window; -1 in padding and gaps."""
    low, high = padding
    length = max(n - 1, 0) * base_dilation + (1 if n else 0)
    reach = (size - 1) * window_dilation + 1
    count = max((low + length + high - reach) // stride + 1, 0)
    at = np.arange(count)[:, None] * stride - low + np.arange(size)[None, :] * window_dilation
    entry, gap = at // base_dilation, at % base_dilation
    return np.where((gap == 0) & (at >= 0) & (at < length), entry, -1)


def reduce_windows(method: str, start: float) -> Callable[..., Any]:
    def apply(eqn, xs, ar):
        (x,) = xs
        places = windows(x.shape, eqn.params)
        pool = np.append(x.ravel(), array([ar.lift(start)], (1,)))
        total = pool[np.full(places.shape[:-1], -1)]
        for k in range(places.shape[-1]):
            total = each(getattr(ar, method), total, pool[places[..., k]])
        return total

    return apply


def _selected(eqn, operand, ar) -> np.ndarray:
    """The entry that each window selects, the first among equal ones; -1 where it holds none."""
    places = windows(operand.shape, eqn.params)
    name = eqn.params["select_prim"].name
    flat = operand.ravel()
    chosen = []
    for window in places.reshape(-1, places.shape[-1]):
        best = -1
        for i in window[window >= 0]:
            if best < 0:
                best = i
                continue
            keep = ar.compare(name, flat[best], flat[i])
            if keep is None:
                raise Straddles("a window's tie left open")
            best = best if keep else i
        chosen.append(best)
    return np.array(chosen, int).reshape(places.shape[:-1])


def select_and_scatter_add(eqn, xs, ar):
    source, operand = xs
    out = array([ar.lift(0.0)] * operand.size, (operand.size,))
    for i, x in zip(_selected(eqn, operand, ar).ravel(), source.ravel(), strict=True):
        if i >= 0:
            out[i] = ar.add(out[i], x)
    return out.reshape(operand.shape)


def select_and_gather_add(eqn, xs, ar):
    tangents, operand = xs
    pool = np.append(tangents.ravel(), array([ar.lift(0.0)], (1,)))
    return pool[_selected(eqn, operand, ar)]


def convolution(eqn, xs, ar):
    p = eqn.params
    spec = p["dimension_numbers"]
    left, right = (
        x.transpose(axes) for x, axes in zip(xs, (spec.lhs_spec, spec.rhs_spec), strict=True)
    )
    n, channels, *area = left.shape
    outputs, inputs, *kernel = right.shape
    groups, batches = p["feature_group_count"], p["batch_group_count"]
    places = _windows(
        tuple(area),
        tuple(kernel),
        tuple(p["window_strides"]),
        tuple(map(tuple, p["padding"])),
        tuple(p["lhs_dilation"]),
        tuple(p["rhs_dilation"]),
    )
    out_area, size = places.shape[:-1], places.shape[-1]
    zeros = array([ar.lift(0.0)] * (n * channels), (n, channels, 1))
    pool = np.concatenate([left.reshape(n, channels, math.prod(area)), zeros], 2)
    # (batch groups, rows of the batch, feature groups, channels, places, window)
    seen = pool[:, :, places.reshape(-1, size)].reshape(
        batches, n // batches, groups, channels // groups, math.prod(out_area), size
    )
    weights = right.reshape(batches * groups, outputs // (batches * groups), inputs * size)
    blocks = []
    for g in range(batches * groups):
        block = seen[g, :, 0] if batches > 1 else seen[0, :, g]
        rows = block.transpose(0, 2, 1, 3).reshape(
            n // batches * math.prod(out_area), inputs * size
        )
        product = ar.matmul(rows, weights[g].T)  # (rows and places, outputs of the group)
        blocks.append(product.reshape(n // batches, math.prod(out_area), len(weights[g])))
    out = np.concatenate(blocks, 2).transpose(0, 2, 1).reshape(n // batches, outputs, *out_area)
    return out.transpose(np.argsort(spec.out_spec))
