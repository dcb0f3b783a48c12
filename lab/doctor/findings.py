"""What a probe found."""

from __future__ import annotations

from enum import StrEnum
from typing import NamedTuple


class Health(StrEnum):
    OK = "ok"
    NOTE = "note"  # worth knowing; a lab runs
    PROBLEM = "problem"


class Finding(NamedTuple):
    """One line about one thing; ``fix`` is empty when there is nothing to do."""

    probe: str
    health: Health
    text: str
    fix: str = ""
