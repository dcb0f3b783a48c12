"""Versions of what is installed here, and code of a checkout that no wheel holds: planted bugs, the
crash sweep, the benchmarks.
"""

from __future__ import annotations

import importlib
import sys
import tomllib
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from types import ModuleType
from typing import Final

from lab.schema.errors import KeysteadError
from protocol.printable import quote_if_needed

_TREE: Final = Path(__file__).resolve().parents[2]


def version_of(package: str) -> str | None:
    """The version of an installed package; None when it is not installed."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def keystead_version() -> str | None:
    """The version of keystead, also of a checkout that is not installed; None where neither is."""
    installed = version_of("keystead")
    if installed is not None:
        return installed
    try:
        with (_TREE / "pyproject.toml").open("rb") as file:
            return str(tomllib.load(file)["project"]["version"])
    except (OSError, KeyError):
        return None


BUGS: Final = "tests.mutations.bugs"
CHECKOUT = Path(__file__).parents[2]


def load_module(module: str, command: str) -> ModuleType:
    """The module that executes ``command``; KS-USE-006 when this is no checkout."""
    if not CHECKOUT.joinpath(*module.split(".")).with_suffix(".py").is_file():
        raise KeysteadError("KS-USE-006", f"`{command}` needs a checkout; {CHECKOUT} is none")
    _look_in_checkout()
    return importlib.import_module(module)


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
    _look_in_checkout()
    if not bug.isidentifier() or not is_patch(f"{BUGS}:{bug}"):
        raise KeysteadError("KS-CHAOS-018", f"there is no bug {quote_if_needed(bug)} in {BUGS}")
    return f"{BUGS}:{bug}"


def _look_in_checkout() -> None:
    if str(CHECKOUT) not in sys.path:
        sys.path.insert(0, str(CHECKOUT))


def _load(patch: str) -> Callable[[], object]:
    module, _, function = patch.partition(":")
    found = importlib.import_module(module)
    return getattr(found, function) if function else (lambda: None)
