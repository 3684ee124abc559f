"""The rules that are asked about, the packages that they are of, and those that are not asked."""

from . import jax_, learning, science, solvers, tfp
from .common import Row

TABLES = (jax_, tfp, learning, solvers, science)
ROWS: dict[str, Row] = {row.name: row for table in TABLES for row in table.ROWS}
NOT_ASKED: dict[str, str] = {k: why for table in TABLES for k, why in table.NOT_ASKED.items()}

# Where the rules of a package are looked for, where that is not the package's own name
ROOTS = {
    "mujoco": "mujoco.mjx",
    "tensorflow_probability": "tensorflow_probability.substrates.jax",
}
PACKAGES = tuple(sorted({name.split(":")[0].split(".")[0] for name in (*ROWS, *NOT_ASKED)}))
assert len(ROWS) == sum(len(table.ROWS) for table in TABLES), "two rows of one name: label one"
