"""A fault as a keeper lists it, with its notes, and the list as bytes for the next keeper."""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum
from typing import Any

import msgspec

from chaos.errors import ChaosError
from chaos.faults import from_plain, to_plain
from chaos.faults.base import Fault, Notes


class FaultState(StrEnum):
    """How far a listed fault has come."""

    BEGINNING = "beginning"  # begun or about to; not seen to bite yet
    ACTIVE = "active"
    STAYS = "stays"  # irreversible: only its cure takes it away
    NOT_HEALED = "not healed"  # taken back, but not seen gone


class Kept(msgspec.Struct):
    """A listed fault. ``until`` 0 = no lease; ``seen``: why it is not healed. ``ending``: it is
    taken back, and a lease that is carried on would bring it back."""

    fault: Fault
    since: float
    until: float
    state: FaultState
    notes: Notes
    seen: str = ""
    ending: bool = False


def dumped(listed: Iterable[Kept]) -> bytes:
    """The list with all notes, as JSON.

    Notes of a TPM fault hold the hosts' recovery keys, as an administrator's safe would:
    keep these bytes where the lab keeps its secrets, with mode 0600.
    """
    faults = [
        {
            "fault": to_plain(kept.fault),
            "since": kept.since,
            "until": kept.until,
            "state": kept.state.value,
            "notes": kept.notes,
            "seen": kept.seen,
            "ending": kept.ending,
        }
        for kept in listed
    ]
    return msgspec.json.encode({"version": 1, "faults": faults})


def loaded(data: bytes) -> list[Kept]:
    """The list that ``dumped`` wrote; KS-CHAOS-109 when it is none."""
    try:
        state: dict[str, Any] = msgspec.json.decode(data, type=dict[str, Any])
        if state["version"] != 1:
            raise ValueError(f"version {state['version']}")
        return [_loaded(entry) for entry in state["faults"]]
    except (msgspec.DecodeError, KeyError, TypeError, ValueError) as error:
        raise ChaosError("KS-CHAOS-109", str(error)) from None


def _loaded(entry: dict[str, Any]) -> Kept:
    return Kept(
        fault=from_plain(entry["fault"]),
        since=float(entry["since"]),
        until=float(entry["until"]),
        state=FaultState(entry["state"]),
        notes=dict(entry["notes"]),
        seen=str(entry["seen"]),
        ending=bool(entry.get("ending", False)),
    )
