"""Reports about Names that several keys have (``services.kms.operations.shared_names``)."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from typing import Final

from protocol.messages import kms as m
from services.kms.operations import shared_names
from services.kms.operations.shared_names import NameHolders
from services.kms.settings.knobs import KmsNode

LISTED: Final = 1000
"""Keys, or Names, of a kind that are listed; the rest is only counted."""


def list_shared_names(connection: sqlite3.Connection) -> tuple[tuple[m.SharedName, ...], int]:
    """The first shared Names, and how many there are."""
    found, total = shared_names.view(connection, LISTED)
    return tuple([m.SharedName(name=one.name, key_ids=one.key_ids) for one in found]), total


def record_names(node: KmsNode, found: Sequence[NameHolders]) -> None:
    """Record each new shared Name."""
    for one in found:
        keys = ", ".join(one.key_ids)
        node.record("kms.name_shared", level="warning", name=one.name, keys=keys)
