"""What a probe found."""

from __future__ import annotations

from enum import StrEnum
from typing import NamedTuple


class DoctorHealth(StrEnum):
    OK = "ok"
    NOTE = "note"  # worth knowing; a lab runs
    PROBLEM = "problem"


class DoctorFinding(NamedTuple):
    """One line about one thing; ``fix`` is empty when there is nothing to do."""

    probe: str
    health: DoctorHealth
    text: str
    fix: str = ""
