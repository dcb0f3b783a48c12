"""The file ``power`` beside a VM: its last accepted power command (step B9), and its owner.
Pure."""

from __future__ import annotations

import msgspec

from protocol.terms import NodeName, PowerState


class PowerRecord(msgspec.Struct, frozen=True):
    """The last accepted power command. ``owner``: the host that accepted it, or to which the VM has
    moved since; None in a file of a release that did not record it. ``epoch``: that of the owner's
    HA; empty when HA was off."""

    wanted: PowerState
    owner: NodeName | None = None
    epoch: str = ""


def encode_power(record: PowerRecord) -> bytes:
    """The content of the file."""
    mark = "" if record.owner is None else f" {record.owner} {record.epoch}"
    return f"{record.wanted.value}{mark}".encode()


def decode_power(body: bytes) -> PowerRecord:
    """The record in a file; ``ValueError`` for anything else."""
    wanted, *mark = body.decode().split(" ")
    if not mark:
        return PowerRecord(PowerState(wanted))
    owner, epoch = mark
    return PowerRecord(PowerState(wanted), NodeName(owner), epoch)
