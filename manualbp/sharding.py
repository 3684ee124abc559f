"""Many devices: where the examples of a batch and the weights of a network lie on a mesh.

`network.loss_and_grad` is compiled for the places of its arguments; XLA adds the collectives:

- An axis "data" of the mesh splits the examples. Each device sums the gradient over its own, and
  one all-reduce adds these sums: the mean over the batch is a psum.
- An axis "model" splits the weights: one dense layer by its outputs, the next by its inputs
  (Shoeybi et al. 2019, arXiv:1909.08053). Such a pair needs one all-reduce forward, of its
  outputs, and one backward, of the gradient of its inputs.
"""

import functools
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

from manualbp._checks import brief


def auto_axes(caller: str, mesh: Any) -> Mesh:
    """The mesh, its axes left to XLA: those of `jax.make_mesh` are Explicit in newer JAX."""
    if not isinstance(mesh, Mesh) or not {"data", "model"} & set(mesh.axis_names):
        got = f"axes {mesh.axis_names}" if isinstance(mesh, Mesh) else brief(mesh)
        raise (ValueError if isinstance(mesh, Mesh) else TypeError)(
            f"{caller}: expected a mesh with an axis 'data' or 'model', got {got}: make it with "
            "jax.sharding.Mesh(jax.devices(), ('data',))"
        )
    return Mesh(mesh.devices, mesh.axis_names)


def place_batch(mesh: Mesh, x: Any, y: Any) -> tuple[jax.Array, jax.Array]:
    """The examples of a batch, split over the axis "data" of the mesh.

    With several processes each gives its own examples, equally many, and gets the whole batch.

    Args:
      mesh: of devices, with an axis "data", "model", or both.
      x: inputs, first axis the examples.
      y: targets, first axis the examples.

    Returns:
      x and y, placed.

    Raises:
      TypeError, ValueError: no such mesh, or it does not divide the examples.
    """
    mesh = auto_axes("place_batch", mesh)
    rows = NamedSharding(mesh, P("data") if "data" in mesh.axis_names else P())
    n = mesh.shape.get("data", 1)
    here = len({str(i) for i in rows.addressable_devices_indices_map((n,)).values()})

    def place(name, a):
        a = a if isinstance(a, jax.Array) else np.asarray(a)  # device_put takes a list apart
        if a.ndim == 0 or a.shape[0] % here:
            raise ValueError(
                f"place_batch: expected {name} with a multiple of {here} examples, one part for "
                f"each device of this process along 'data', got shape {a.shape}: "
                f"take a batch of {-(-a.shape[0] // here) * here if a.ndim else here}"
            )
        if jax.process_count() == 1:
            return jax.device_put(a, rows)
        return jax.make_array_from_process_local_data(rows, np.asarray(a))

    return place("x", x), place("y", y)


def param_shardings(mesh: Mesh, params: Any) -> tuple:
    """Where `place_params` puts each parameter, a tree of `jax.sharding.NamedSharding`.

    Args:
      mesh: of devices, with an axis "data", "model", or both.
      params: as `Network.init` gives them, or their shapes (`jax.eval_shape`).

    Returns:
      A tree like params.

    Raises:
      TypeError, ValueError: no such mesh, or it does not divide the hidden units.
    """
    mesh = auto_axes("place_params", mesh)
    n = mesh.shape.get("model", 1)
    specs: list[Any] = [jax.tree.map(lambda leaf: P(), own) for own in params]
    layers = [i for i, own in enumerate(params) if any(a.ndim == 2 for a in jax.tree.leaves(own))]
    # a last layer without a partner is small: each device has all of it, and all scores of a row
    for first, second in zip(layers[::2], layers[1::2], strict=False) if n > 1 else ():
        units = max(jax.tree.leaves(params[first]), key=lambda a: a.ndim).shape[1]
        inputs = max(jax.tree.leaves(params[second]), key=lambda a: a.ndim).shape[0]
        if units % n or inputs % n:
            raise ValueError(
                f"place_params: expected {n} devices along 'model' to divide the {units} units "
                f"of params[{first}] and {inputs} rows of weights of params[{second}]: choose "
                f"hidden widths of multiples of {n}, in layers dense or dense_without_bias"
            )

        def by_outputs(a, units=units):
            return P(*[None] * (a.ndim - 1), "model") if a.shape[-1:] == (units,) else P()

        for i in range(first, second):  # and what an activation between keeps for each unit
            specs[i] = jax.tree.map(by_outputs, params[i])
        specs[second] = jax.tree.map(lambda a: P("model") if a.ndim == 2 else P(), params[second])
    of_spec = functools.partial(NamedSharding, mesh)
    return jax.tree.map(of_spec, tuple(specs), is_leaf=lambda spec: isinstance(spec, P))


def place_params(mesh: Mesh, params: Any) -> Any:
    """Parameters on a mesh: split over its axis "model", on each device where it has none.

    An optimiser's state made from them lies likewise if its init is not under `jax.jit`, where
    zeros_like forgets places.
    With several processes each gives the same parameters (the same key of `init`).

    Args:
      mesh: of devices, with an axis "data", "model", or both.
      params: as `Network.init` gives them.

    Returns:
      params, placed.
    """
    return jax.device_put(params, param_shardings(mesh, params))
