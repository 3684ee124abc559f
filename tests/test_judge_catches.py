"""The judge refuses every wrong rule of the table, shows why, and passes its correct twin."""

import functools
import re
from collections import Counter

import numpy as np
import pytest

from manualbp.verify import Report, check
from tests.wrong_rules import KINDS, WRONG_RULES, WrongRule

cases = pytest.mark.parametrize("entry", WRONG_RULES, ids=lambda entry: entry.name)


@functools.cache
def judged(entry: WrongRule) -> Report:
    return check(entry.wrong, *entry.args, definition=entry.definition)
