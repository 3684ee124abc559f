"""States of training on disk: an .npz file, or a folder of orbax-checkpoint for large ones.

What is on disk is whole at every moment: a new state takes the old one's place when it is complete.
"""

import contextlib
import os
import warnings
import zipfile
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from manualbp.networks import Network


def save(path: str | Path, state: Any) -> None:
    """Write a pytree of arrays.

    Args:
      path: a file that ends in .npz, or a folder (needs orbax-checkpoint).
      state: such as the state of `train`.

    Raises:
      OSError: it cannot be written; what was there is still there.
      ImportError: a folder was asked for, and orbax-checkpoint is not installed.
    """
    path = Path(path)
    arrays = {name: _plain(leaf) for name, leaf in _leaves(state)}
    if path.suffix != ".npz":
        orbax = _orbax()
        try:
            with _folder(path) as manager:
                manager.save(1 + (manager.latest_step() or 0), args=orbax.args.StandardSave(arrays))
        except ValueError as e:  # what Orbax makes of a full disk
            raise OSError(f"Orbax: {str(e)[:200]}") from None
        return
    # beside it, so that taking its place is one step of the file system
    new = path.with_name(f".{path.name}.new")
    try:
        with open(new, "wb") as file:
            # np.savez takes some names for itself; on errors NumPy 2.1 leaves the archive open
            with zipfile.ZipFile(file, "w") as archive:
                for name, array in arrays.items():
                    with archive.open(f"{name}.npy", "w", force_zip64=True) as entry:
                        np.lib.format.write_array(entry, array, allow_pickle=False)
            file.flush()
            os.fsync(file.fileno())
        os.replace(new, path)
    finally:
        new.unlink(missing_ok=True)


def load(path: str | Path, like: Any) -> Any:
    """Read a pytree of arrays.

    Args:
      path: as for `save`.
      like: a tree of the same structure, shapes and dtypes.

    Returns:
      The tree.

    Raises:
      FileNotFoundError: there is nothing.
      ValueError: it is no state, or another network's or optimiser's.
      ImportError: it is a folder, and orbax-checkpoint is not installed.
    """
    return _tree("load", _arrays(Path(path)), like)


def load_params(path: str | Path, network: Network) -> Any:
    """Read the parameters of a saved state of `train`, to predict with.

    Args:
      path: as for `save`.
      network: that was trained.

    Returns:
      Its parameters, as NumPy arrays.

    Raises:
      FileNotFoundError, ValueError, ImportError: as `load`; ValueError for another network's.

    Example:
      >>> import tempfile, manualbp as bp
      >>> network = bp.mlp((1, 1), loss=bp.squared_error)
      >>> x = jnp.arange(8.0)[:, None]
      >>> with tempfile.TemporaryDirectory() as folder:
      ...     file = f"{folder}/run.npz"
      ...     result = bp.train(
      ...         network, (x, 2 * x), bp.gradient_descent(0.01), epochs=50, batch_size=8, save=file
      ...     )
      ...     params = load_params(file, network)
      >>> bool(network(params, x)[3, 0] == network(result.params, x)[3, 0])
      True
    """
    arrays = _arrays(Path(path))
    own = {n.removeprefix("params"): a for n, a in arrays.items() if n.startswith("params")}
    bits = next((a.dtype for a in own.values()), np.dtype(np.float32))
    dtype = jnp.bfloat16 if bits == np.uint16 else bits
    shapes = jax.eval_shape(network.init, jax.random.key(0))
    return _tree("load_params", own, jax.tree.map(lambda s: np.zeros(s.shape, dtype), shapes))


def _arrays(path: Path) -> dict[str, Any]:
    """All that a file or a folder has."""
    if not path.exists():
        raise FileNotFoundError(f"load: expected a state at {path}, got nothing: look at the path")
    if path.suffix == ".npz":
        return _from_file(path)
    if path.is_dir():
        return _from_folder(path)
    raise ValueError(f"load: expected a state at {path}, got a file without .npz: look at the path")


def _tree(caller: str, arrays: dict[str, Any], like: Any) -> Any:
    """Named arrays as a tree, which they must be all of."""
    _same(caller, {name: (a.shape, a.dtype) for name, a in arrays.items()}, like)
    leaves = [_typed(arrays[name], leaf) for name, leaf in _leaves(like)]
    return jax.tree.unflatten(jax.tree.structure(like), leaves)


def _from_file(path: Path) -> dict[str, Any]:
    with open(path, "rb") as file:
        try:
            with np.load(file, allow_pickle=False) as found:
                return dict(found)
        except Exception:  # each broken byte has its own
            raise ValueError(
                f"load: expected a state at {path}, got a file that is none or broken: look at the "
                "path, or take another state"
            ) from None


def _from_folder(path: Path) -> dict[str, Any]:
    orbax = _orbax()
    try:
        with _folder(path) as manager:
            if manager.latest_step() is not None:
                return manager.restore(manager.latest_step(), args=orbax.args.StandardRestore())
    except Exception:
        raise ValueError(
            f"load: expected a state in {path}, got one that is broken: move its newest folder "
            "away, or take another state"
        ) from None
    raise ValueError(f"load: expected a state in {path}, got a folder without one")


def fits(caller: str, state: Any, like: Any) -> None:
    """Refuse a state of another structure, shape or dtype.

    Args:
      caller: named in the error.
      state: a pytree of arrays.
      like: another.

    Raises:
      ValueError: naming the first leaf that differs.
    """
    found = {name: _plain(leaf) for name, leaf in _leaves(state)}
    _same(caller, {name: (a.shape, a.dtype) for name, a in found.items()}, like)


def _same(caller: str, found: dict[str, tuple], like: Any) -> None:
    expected = {name: _plain(leaf) for name, leaf in _leaves(like)}
    for name in [*expected, *found]:
        wanted = expected.get(name)
        has = found.get(name)
        if wanted is None or has != (wanted.shape, wanted.dtype):
            raise ValueError(
                f"{caller}: expected a state with {_said(name, wanted)}, got one with "
                f"{_said(name, has)}: resume with the network, optimizer and accumulators that it "
                "was saved from"
            )


def _said(name: str, array: Any) -> str:
    if array is None:
        return f"no {name}"
    shape, dtype = array if isinstance(array, tuple) else (array.shape, array.dtype)
    # of the dtypes of parameters, the one that a file has as bits
    return f"{name} of {'bfloat16' if dtype == np.uint16 else dtype} of shape {shape}"


def _leaves(tree: Any) -> list[tuple[str, Any]]:
    """Each leaf with its name, such as params[0].w."""
    found = jax.tree_util.tree_leaves_with_path(tree)
    return [(jax.tree_util.keystr(path).lstrip("."), leaf) for path, leaf in found]


def is_key(a: Any) -> bool:
    """Whether it is a key of jax.random, new style: no number that NumPy could hold."""
    return isinstance(a, jax.Array) and jnp.issubdtype(a.dtype, jax.dtypes.prng_key)


def _plain(a: Any) -> np.ndarray:
    """As a file has it: keys as their numbers, half precision of JAX as its bits."""
    a = np.asarray(jax.random.key_data(a) if is_key(a) else a)
    return a if a.dtype.kind in "biufc" and a.dtype.isbuiltin == 1 else a.view(_bits(a.dtype))


def _bits(dtype: np.dtype) -> np.dtype:
    return np.dtype(f"u{dtype.itemsize}")


def _typed(a: Any, like: Any) -> Any:
    """What was made plain, as it was."""
    a = np.asarray(a)
    if is_key(like):
        return jax.random.wrap_key_data(a, impl=jax.random.key_impl(like))
    dtype = np.asarray(like).dtype
    return a.view(dtype) if a.dtype != dtype else a


def _orbax() -> Any:
    try:
        import orbax.checkpoint
    except ImportError:
        raise ImportError(
            "save: expected orbax-checkpoint for a folder of states, which is not installed: "
            "pip install 'manualbp[train]', or give a path that ends in .npz"
        ) from None
    return orbax.checkpoint


def _folder(path: Path) -> Any:
    """Orbax's manager of a folder, which keeps the last two states and removes older ones."""
    ocp = _orbax()
    chosen = ocp.CheckpointManagerOptions(max_to_keep=2, enable_async_checkpointing=False)
    return contextlib.closing(ocp.CheckpointManager(path.resolve(), options=chosen))


class Keeper:
    """Where `train` keeps its state."""

    def __init__(self, path: str | Path | None, resume: Any):
        self.path = None if path is None else Path(path)
        self.failed = False
        if self.path is None:
            return
        same = isinstance(resume, str | Path) and Path(resume).resolve() == self.path.resolve()
        if not self.path.parent.is_dir():
            raise FileNotFoundError(
                f"train: expected the folder {self.path.parent} to save in, got none: make it first"
            )
        empty = self.path.is_dir() and not any(self.path.iterdir())
        if self.path.exists() and not (same or empty):
            raise FileExistsError(
                f"train: expected nothing at {self.path}, got a state that would be lost: "
                f"resume={str(path)!r}, or remove it"
            )
        if self.path.suffix != ".npz":
            _orbax()  # says now, not after a while of training, that it is not there

    def save(self, state: Any, last: bool = False) -> None:
        """Write the state; only the last time is it an error that it cannot be written."""
        if self.path is None:
            return
        try:
            save(self.path, state)
        except OSError as e:
            if last:
                raise
            if not self.failed:
                warnings.warn(
                    f"train: could not save to {self.path}: {e.strerror or e}; what was there "
                    "still is, and training goes on",
                    stacklevel=4,
                )
            self.failed = True
