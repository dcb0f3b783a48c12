"""What vCenter shows of hosts and VMs at the end of a run, held beside what hosts say themselves.

Looked at again for a minute while something differs: what vCenter was about to learn is no
difference.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

import msgspec

from chaos.history import History
from chaos.lab import LabUnderTest
from chaos.observe.look import LabLook
from protocol.messages.host import HostSummary, VmSummary
from protocol.messages.vcenter import HostInfo, VmInfo
from protocol.terms import (
    AttestationStatus,
    HostConnectionState,
    NodeName,
    PowerState,
    VmConnectionState,
    VmName,
)

SETTLE_S: Final = 60.0
"""Lab seconds within which vCenter shows what has changed on a host that it is connected to."""
AGAIN_S: Final = 5.0
_OF_HOSTS: Final = ("boot", "crypto_state", "key_persistence", "tpm_present", "in_maintenance_mode")


class ShownDifferences(msgspec.Struct):
    """``differ``: a sentence for each host or VM that is not as vCenter shows it. ``refused``:
    hosts whose TPM vCenter does not accept."""

    hosts: int = 0
    vms: int = 0
    differ: dict[str, str] = {}
    refused: list[str] = []


async def look_at_what_is_shown(lab: LabUnderTest, history: History) -> None:
    """Of the hosts that answer and are connected, and of their VMs."""
    seen, left = await _look(lab), SETTLE_S
    while left > 0 and (seen.differ or seen.refused):
        await lab.sleep(AGAIN_S)
        before, seen, left = seen, await _look(lab), left - AGAIN_S
        seen.differ = {name: text for name, text in seen.differ.items() if name in before.differ}
        seen.refused = [host for host in seen.refused if host in before.refused]
    history.add("state", op="shown", **msgspec.to_builtins(seen))


async def _look(lab: LabUnderTest) -> ShownDifferences:
    look = LabLook(lab)
    own = await look.hosts()
    shown = {
        host: info
        for host, info in (await look.vcenter_hosts()).items()
        if host in own and info.connection is HostConnectionState.CONNECTED
    }
    vms = {
        (info.host, name): info
        for name, info in (await look.vcenter_vms()).items()
        if info.host in shown and info.connection is not VmConnectionState.ORPHANED
    }
    found = ShownDifferences(hosts=len(shown), vms=len(vms))
    for host, info in shown.items():
        if text := "; ".join(_of_host(info, own[host])):
            found.differ[str(host)] = text
        if info.attestation is not None:
            if info.attestation.status is AttestationStatus.NOT_ACCEPTED:
                found.refused.append(str(host))
    listed = {(host, vm.vm): vm for host in shown for vm in own[host].vms if vm.locked_by is None}
    found.differ |= {str(name): text for (_, name), text in _of_vms(vms, listed)}
    return found


def _of_host(info: HostInfo, own: HostSummary) -> Iterator[str]:
    for name in _OF_HOSTS:
        here, there = getattr(own, name), getattr(info, name)
        if here != there:
            yield f"{name} is {here}, and vCenter shows {there}"
    if own.tpm_present and info.attestation is None:
        yield "vCenter has not attested its TPM"


def _of_vms(
    shown: Mapping[tuple[NodeName, VmName], VmInfo],
    listed: Mapping[tuple[NodeName, VmName], VmSummary],
) -> Iterator[tuple[tuple[NodeName, VmName], str]]:
    """A VM that several hosts list and none of them runs is right on any one of them."""
    right = {name for host, name in listed if (host, name) in shown}
    for place in sorted({*shown, *listed}):
        info, own = shown.get(place), listed.get(place)
        if own is None:
            yield place, f"vCenter shows it on {place[0]}, which does not list it"
        elif info is None:
            if own.power is PowerState.ON or place[1] not in right:
                yield place, f"{place[0]} lists it, and vCenter does not show it there"
        elif info.power is not own.power:
            yield place, f"it is {own.power}, and vCenter shows {info.power}"
        elif not (_is_unreadable(own) or _has_key(info, own)):
            keys = ", ".join(map(str, own.keys)) or "no key"
            yield place, f"it is under {keys}, and vCenter shows {info.key or 'no key'}"


def _is_unreadable(own: VmSummary) -> bool:
    """Whether its host cannot read its configuration, and so knows none of its keys."""
    return own.connection is VmConnectionState.INVALID and own.crypto is None


def _has_key(info: VmInfo, own: VmSummary) -> bool:
    return info.key in own.keys if info.key is not None else not own.keys
