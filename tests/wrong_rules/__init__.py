"""Gradient rules that are wrong on purpose, each beside its correct twin.

A judge of gradients is only worth what it refuses. Each entry is one mistake that somebody made,
in a released library more often than not, and the same rule without it: the judge must refuse the
first and pass the second. An entry is added to the file of its kind, beside the right rule that it
mistakes; the tests run over the table.
"""

from tests.wrong_rules import (
    boundaries,
    broadcasting,
    calls,
    cotangents,
    divisions,
    floats,
    forms,
    labels,
    layouts,
    regions,
    terms,
)
from tests.wrong_rules.shared import KINDS, WrongRule, pair, slope

_FILES = (
    boundaries, broadcasting, calls, cotangents, divisions, floats, forms, labels, layouts, regions,
    terms,
)  # fmt: skip

WRONG_RULES = tuple(
    sorted((rule for file in _FILES for rule in file.RULES), key=lambda r: KINDS.index(r.kind))
)

__all__ = ["KINDS", "WRONG_RULES", "WrongRule", "pair", "slope"]
