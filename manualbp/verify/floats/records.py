"""What was measured once is not measured again: a folder of errors in ULPs, a file for each rule.

The errors of one program on one machine are the same in every run. A record says what they were
measured with; where anything of that has changed, it is no record.
"""

import datetime
import functools
import hashlib
import importlib.metadata
import json
import os
import platform
import re
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import jax

import manualbp
from manualbp.verify.ask.definitions import reference
from manualbp.verify.floats.sampled import Accuracy, Error

_PACKAGES = ("jax", "jaxlib", "numpy", "optax", "python-flint")


def recorded(
    folder: str | Path | None,
    name: str,
    seed: int,
    measure: Callable[[], dict[str, Accuracy]],
    again: bool = False,
) -> tuple[dict[str, Accuracy], str]:
    """The errors of a rule by dtype, and the date of their record where they were not measured now.

    Args:
      folder: of the records; None for none.
      name: of the rule.
      seed: of the inputs.
      measure: gives the errors.
      again: whether to measure what there is a record of.
    """
    if folder is None:
        return measure(), ""
    file = Path(folder) / f"{re.sub(r'[^a-z0-9_.=]+', '-', name)}.{seed}.json"
    measured_with = {**_measured_with(), "rule": name, "seed": seed}
    if not again:
        try:
            record = json.loads(file.read_text())
            if record["measured with"] == measured_with:
                errors = {d: _accuracy(**fields) for d, fields in record["errors"].items()}
                return errors, str(record["date"])
        except (OSError, ValueError, LookupError, TypeError):
            pass  # none, or of an older form, or damaged
    errors = measure()
    record = {
        "date": datetime.date.today().isoformat(),
        "measured with": measured_with,
        "errors": {dtype: asdict(a) for dtype, a in errors.items()},
    }
    _write(file, json.dumps(record, indent=1))
    return errors, ""


def _accuracy(value: dict, gradient: dict, autodiff: dict, inputs: int) -> Accuracy:
    return Accuracy(Error(**value), Error(**gradient), Error(**autodiff), inputs)


def _write(file: Path, text: str) -> None:
    """All of it or nothing; where there is no room, the next run measures again."""
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        new = file.with_name(f".{file.name}.new")
        new.write_text(text)
        new.replace(file)
    except OSError:
        pass


@functools.cache
def _measured_with() -> dict[str, Any]:
    """Every line of this package, versions, machine and settings."""
    digest = hashlib.sha256()
    folders = {Path(str(m.__file__)).resolve().parent for m in (manualbp, reference())}
    for folder in sorted(folders):
        for file in sorted(folder.rglob("*.py")):
            digest.update(f"{file.relative_to(folder)}\0".encode() + file.read_bytes() + b"\0")
    return {
        "code": digest.hexdigest(),
        "python": platform.python_version(),
        "packages": {name: _version(name) for name in _PACKAGES},
        "machine": [platform.node(), platform.platform(), platform.machine(), os.cpu_count()],
        "devices": [f"{d.platform} {d.device_kind}" for d in jax.devices()],
        "settings": {k: v for k, v in sorted(os.environ.items()) if k[:4] in ("JAX_", "XLA_")},
    }


def _version(name: str) -> str:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return "none"
