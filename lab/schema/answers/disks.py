"""Disks of virtual machines."""

from __future__ import annotations

import msgspec

from lab.schema.answers.base import Answer, KeyRef
from lab.schema.tables import ColumnTable, field, short_key
from protocol.terms import VmName


class VmDisk(msgspec.Struct, frozen=True, kw_only=True):
    """A disk of a VM: ``blocks`` of 4,096 bytes, and the key that it is encrypted under."""

    disk: int
    label: str
    blocks: int
    key: KeyRef | None = None

    table = ColumnTable(
        "label",
        (
            field("label", "DISK"),
            field("blocks"),
            ("KEY", lambda disk: short_key(disk.key) or "not encrypted"),
        ),
    )


class VmDisks(Answer, frozen=True, kw_only=True):
    """The disks of ``vm`` in their order; ``added``: the number of the one that is new."""

    vm: VmName
    items: tuple[VmDisk, ...]
    added: int | None = None
