"""Parts of keystead that an experiment can need (``requires: {parts: [...]}``) and that are not
built yet.

A file that needs one is refused before anything else of it is read: what it is about, faults and
all, comes with the part. Who builds a part takes its row away, here and in the files.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

MISSING: Final[Mapping[str, str]] = {
    "hsm": "hardware behind a key server, without which it answers and can release no key",
    "private-key-loss": "a vCenter that loses its private key for a key server, and nothing else",
}
"""What each would be, in words."""


def needed(data: object) -> tuple[str, ...]:
    """The parts that a file's values ask for and that are not built, in order of the file; what is
    no list of names is the linter's."""
    requires = data.get("requires") if isinstance(data, dict) else None
    parts: Any = requires.get("parts") if isinstance(requires, dict) else None
    return tuple(part for part in parts if part in MISSING) if _names(parts) else ()


def _names(parts: object) -> bool:
    return isinstance(parts, list) and all(isinstance(part, str) for part in parts)
