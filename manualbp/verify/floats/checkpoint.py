"""A sweep's checkpoint: what was done, and what is finished."""

import json
import time
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.progress import Progress

from manualbp.saving import save

SAVE_SECONDS = 20.0


class Checkpoint:
    """A file, or none.

    Attributes:
      state: arrays of a sweep that was begun, or None.
      finished: the dictionary of one that is finished, or None.
    """

    def __init__(self, path: str | Path | None, again: bool, identity: dict):
        self.path = None if path is None else Path(path)
        self.identity = identity
        self.state: Any = None
        self.finished: dict | None = None
        self.failed = False
        if self.path is None:
            return
        if self.path.suffix != ".npz":
            raise ValueError(f"accuracy: expected a checkpoint that ends in .npz, got {self.path}")
        if again or not self.path.exists():
            return
        try:
            with np.load(self.path, allow_pickle=False) as file:
                arrays = {name[2:-2]: file[name] for name in file.files}
            meta = json.loads(arrays.pop("meta").tobytes())
            kept = meta["identity"]
        except Exception:
            raise ValueError(
                f"accuracy: expected a checkpoint at {self.path}, got a file that is none: look at "
                "the path"
            ) from None
        for name, expected in identity.items():
            if kept.get(name) != expected:
                raise ValueError(
                    f"accuracy: expected a checkpoint with {name} {expected}, got {self.path} with "
                    f"{kept.get(name)}: name another file, or again=True to overwrite it"
                )
        self.state, self.finished = arrays, meta["finished"]

    def begin(self, nothing: dict) -> dict:
        """The state to go on from. Says now, not after an hour, that nothing can be written."""
        state = self.state or nothing
        if self.path is not None:
            try:
                self._save(state, None)
            except OSError as e:
                raise OSError(
                    f"accuracy: expected to write the checkpoint {self.path}, got "
                    f"{e.strerror or e}: make room, or name another file"
                ) from None
        return state

    def write(self, state: dict, sweep: Any) -> None:
        """What is known so far, or the result; a failure is a warning, and the work goes on."""
        if self.path is None:
            return
        try:
            self._save(state, sweep)
        except OSError as e:
            if not self.failed or sweep is not None:
                warnings.warn(
                    f"accuracy: could not write {self.path}: {e.strerror or e}; what was there "
                    "still is, and the sweep goes on",
                    stacklevel=3,
                )
            self.failed = True

    def _save(self, state: dict, sweep: Any) -> None:
        assert self.path is not None
        meta = {"identity": self.identity, "finished": sweep and sweep.to_dict()}
        text = np.frombuffer(json.dumps(meta).encode(), np.uint8)
        save(self.path, {**state, "meta": text})

    def steps(self, state: dict, total: int) -> Iterator[int]:
        """The steps not yet done, with a progress bar; kept now and then, and when interrupted."""
        start = saved = time.perf_counter()
        console = Console(stderr=True)
        before, inputs = float(state["seconds"]), int(state["inputs"])
        with Progress(console=console, disable=not console.is_terminal) as bar:
            task = bar.add_task(
                " ".join(self.identity[k] for k in ("function", "dtype")), total=total
            )
            try:
                for step in range(int(state["done"]), total):
                    bar.update(task, completed=step)
                    yield step
                    state["done"] += 1
                    inputs = int(state["inputs"])
                    state["seconds"][...] = before + time.perf_counter() - start
                    if time.perf_counter() - saved > SAVE_SECONDS:
                        self.write(state, None)
                        saved = time.perf_counter()
            except BaseException:
                if inputs == state["inputs"]:  # not half way through a step's results
                    self.write(state, None)
                raise
            bar.update(task, completed=total)
        state["seconds"][...] = before
