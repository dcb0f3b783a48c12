"""Planted bugs, for negative controls: modules of the checkout that change what they are about."""

from __future__ import annotations

import importlib
import importlib.util
import sys

from lab.runs.store import ROOT
from lab.schema.errors import KeysteadError
from protocol.printable import quote_if_needed

BUGS = "tests.mutations.bugs"


def check_bug(bug: str) -> None:
    """KS-CHAOS-018 when there is no bug of that name, or this is no checkout."""
    if str(ROOT) not in sys.path:
        sys.path.insert(0, str(ROOT))
    try:
        found = bug.isidentifier() and importlib.util.find_spec(f"{BUGS}.{bug}") is not None
    except ModuleNotFoundError:
        found = False
    if not found:
        raise KeysteadError("KS-CHAOS-018", f"there is no bug {quote_if_needed(bug)} in {BUGS}")


def plant(bug: str) -> None:
    """Change this process's code as the bug does; before any node is made."""
    check_bug(bug)
    importlib.import_module(f"{BUGS}.{bug}")
