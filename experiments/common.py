"""What the experiments share: options, pictures, numbers, tables."""

import argparse
import json
import platform
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import matplotlib
import numpy as np
from rich.console import Console
from rich.table import Table

matplotlib.use("Agg")  # pictures are files: no window, no display needed
import matplotlib.pyplot as plt  # the backend must be chosen first

HERE = Path(__file__).resolve().parent

# Okabe and Ito's colours, told apart by colour-blind eyes too (jfly.uni-koeln.de/color)
COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")

plt.rcParams.update(
    {
        "axes.grid": True,
        "axes.prop_cycle": plt.cycler(color=COLORS),
        "axes.spines.right": False,
        "axes.spines.top": False,
        "figure.constrained_layout.use": True,
        "figure.dpi": 100,
        "font.size": 10,
        "grid.alpha": 0.3,
    }
)


def options(doc: str, **defaults: Any) -> argparse.ArgumentParser:
    """Options of an experiment: --seed, --out, and one an integer or float of defaults.

    Args:
      doc: the docstring of the script, which --help prints.
      defaults: name and default of each further option.
    """
    parser = argparse.ArgumentParser(
        description=doc, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    for name, value in {"seed": 0, **defaults}.items():
        parser.add_argument(
            f"--{name.replace('_', '-')}", type=type(value), default=value, help=f"default {value}"
        )
    parser.add_argument(
        "--out", type=Path, default=HERE, help="folder of pictures/ and results/, default here"
    )
    return parser


def at_least(parser: argparse.ArgumentParser, args: argparse.Namespace, **bounds: int) -> None:
    """One line instead of a traceback where an option is too small.

    Args:
      parser: that made args.
      args: the options given.
      bounds: name and least value of each option to look at.
    """
    for name, least in bounds.items():
        if not getattr(args, name) >= least:
            option = "--" + name.replace("_", "-")
            parser.error(f"{option}: expected at least {least}, got {getattr(args, name)}")


def keep(out: Path, name: str, figure: Any, numbers: Mapping[str, Any]) -> None:
    """Write pictures/NAME.png and results/NAME.json, and say where they are.

    Args:
      out: the folder given as --out.
      name: of the experiment.
      figure: of matplotlib, or None.
      numbers: what JSON can say; arrays become lists.
    """
    written = []
    if figure is not None:
        picture = out / "pictures" / f"{name}.png"
        picture.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(picture, metadata={"Software": None})  # the same bytes in any version
        plt.close(figure)
        written.append(picture)
    results = out / "results" / f"{name}.json"
    results.parent.mkdir(parents=True, exist_ok=True)
    measured_with = {"jax": jax.__version__, "device": jax.devices()[0].platform}
    measured_with["machine"] = platform.machine()
    text = json.dumps({"with": measured_with, **numbers}, indent=1, default=_plain)
    results.write_text(_short(text) + "\n")
    written.append(results)
    Console(soft_wrap=True).print("wrote " + ", ".join(map(str, written)), highlight=False)


def _short(text: str) -> str:
    """JSON with each innermost list on one line."""
    one_line = lambda found: "[" + re.sub(r"\n\s*", " ", found[1]) + "]"  # noqa: E731
    return re.sub(r"\[\n\s*([^\[\]{}]*?)\n\s*\]", one_line, text)


def _plain(x: Any) -> Any:
    """Arrays and scalars of JAX and NumPy as JSON has them."""
    return np.asarray(x).tolist()


def show(title: str, columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
    """Print a table; floats with four digits."""
    table = Table(*columns, title=title, title_justify="left")
    for row in rows:
        table.add_row(*(f"{x:.4g}" if isinstance(x, float) else str(x) for x in row))
    Console().print(table)
