"""An alarm lasts as long as its cause: a locked VM, a host that needs its encryption mode, or a
host that does not respond.

Ids are spelled as vCenter's answers have them; what is right is read from hosts' own words.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from chaos.checks.result import CheckOutcome, Finding
from chaos.history import Record

VM_LOCKED: Final = "alarm.VmLocked"
NEEDS_MODE: Final = "alarm.HostRequiresEncryptionMode"
CONNECTION: Final = "alarm.HostConnectionFailure"


def alarms_have_causes(records: Sequence[Record]) -> Finding:
    """Pass when at the end of a run each of these alarms has its cause, and each VM that vCenter
    marks as locked has its alarm.

    The state ``alarms`` has hosts with ``alarms``, vCenter's ``connection`` and the host's own
    ``crypto``, and VMs with ``alarms``, whether vCenter has them ``marked``, and the host's own
    ``crypto`` and ``power``. Unknown when they were not looked at: nothing could have rung.
    """
    end = next((r for r in reversed(records) if r.type == "state" and r.op == "alarms"), None)
    if end is None:
        return Finding(CheckOutcome.UNKNOWN, "no VM was locked and no host lacked its key")
    hosts, vms = end.data["hosts"], end.data["vms"]
    wrong = [*_of_hosts(hosts), *_of_vms(vms)]
    if wrong:
        return Finding(CheckOutcome.FAIL, "; ".join(wrong), (end.seq,))
    return Finding(CheckOutcome.PASS, f"alarms of {len(hosts)} hosts and {len(vms)} VMs")


def _of_hosts(hosts: Mapping[str, Any]) -> Iterator[str]:
    for name, seen in hosts.items():
        if NEEDS_MODE in seen["alarms"] and seen["crypto"] == "safe":
            yield f"{name} is safe, and {NEEDS_MODE} stands"
        if (CONNECTION in seen["alarms"]) != (seen["connection"] == "notResponding"):
            stands = "stands" if CONNECTION in seen["alarms"] else "does not stand"
            yield f"{name} is {seen['connection']}, and {CONNECTION} {stands}"


def _of_vms(vms: Mapping[str, Any]) -> Iterator[str]:
    for name, seen in vms.items():
        rings = VM_LOCKED in seen["alarms"]
        if rings and (seen["crypto"] != "locked" or seen["power"] == "poweredOn"):
            yield f"{name} is not locked, and {VM_LOCKED} stands"
        if seen["marked"] and not rings:
            yield f"{name} is marked as locked, and {VM_LOCKED} does not stand"
