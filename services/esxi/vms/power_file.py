"""The file ``power`` beside a VM: its last accepted power command (step B9), and the host whose VM
it is. Pure."""

from __future__ import annotations

import msgspec

from protocol.terms import NodeName, PowerState


class PowerRecord(msgspec.Struct, frozen=True):
    """The last accepted power command. ``owner``: the host that accepted it, or that the VM has
    moved to since; None in a file of a release that did not record it. ``epoch``: of the owner's
    HA; empty when that was off."""

    wanted: PowerState
    owner: NodeName | None = None
    epoch: str = ""


def power_text(record: PowerRecord) -> bytes:
    """What the file holds."""
    mark = "" if record.owner is None else f" {record.owner} {record.epoch}"
    return f"{record.wanted.value}{mark}".encode()


def power_record(body: bytes) -> PowerRecord:
    """What ``power_text`` has written; ``ValueError`` for anything else."""
    wanted, *mark = body.decode().split(" ")
    if not mark:
        return PowerRecord(PowerState(wanted))
    owner, epoch = mark
    return PowerRecord(PowerState(wanted), NodeName(owner), epoch)
