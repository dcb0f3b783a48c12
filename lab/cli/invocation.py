"""What a command line says of the lab and of the output.

Importing this costs nothing: ``options``, which gives these values their names on the command line,
imports cyclopts.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Protocol


class Format(StrEnum):
    TABLE = "table"
    WIDE = "wide"
    JSON = "json"
    YAML = "yaml"
    NAME = "name"


class Asked(Protocol):
    """``name`` of the lab; ``vcenter`` that executes the command, empty: the first one."""

    @property
    def name(self) -> str: ...
    @property
    def vcenter(self) -> str: ...
    @property
    def output(self) -> Format: ...
    @property
    def quiet(self) -> bool: ...
