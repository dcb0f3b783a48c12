"""Patches: code of a checkout that changes a process before any node is made (planted bugs)."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Final

from lab.schema.errors import KeysteadError
from protocol.printable import quote_if_needed

BUGS: Final = "tests.mutations.bugs"
_CHECKOUT: Final = str(Path(__file__).parents[2])


def apply_patch(patch: str) -> None:
    """Change this process as ``patch`` says: ``MODULE`` is imported, of ``MODULE:FUNCTION`` the
    function is called too. Nothing for an empty name.

    ``ImportError`` or ``AttributeError`` when it names nothing.
    """
    if patch:
        _load(patch)()


def is_patch(patch: str) -> bool:
    """Whether ``patch`` names a module, or a function of a module; the module is imported then."""
    try:
        _load(patch)
    except (AttributeError, ImportError, ValueError):
        return False
    return True


def bug_patch(bug: str) -> str:
    """The patch that plants this bug; KS-CHAOS-018 when there is none of that name, or this is no
    checkout."""
    if _CHECKOUT not in sys.path:
        sys.path.insert(0, _CHECKOUT)
    if not bug.isidentifier() or not is_patch(f"{BUGS}:{bug}"):
        raise KeysteadError("KS-CHAOS-018", f"there is no bug {quote_if_needed(bug)} in {BUGS}")
    return f"{BUGS}:{bug}"


def _load(patch: str) -> Callable[[], object]:
    module, _, function = patch.partition(":")
    found = importlib.import_module(module)
    return getattr(found, function) if function else (lambda: None)
