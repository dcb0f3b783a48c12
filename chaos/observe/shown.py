"""vCenter's view of hosts, VMs and key providers at the end of a run, compared with the hosts' own.

While something differs, the look is repeated for a minute: vCenter may just be about to learn it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

import msgspec

from chaos.history import History
from chaos.lab import LabUnderTest
from chaos.observe.look import LabLook
from chaos.observe.vcenters import leaders
from protocol.messages.host import HostSummary, VmSummary
from protocol.messages.vcenter import HostInfo, ProviderInfo, VmInfo
from protocol.terms import (
    AttestationStatus,
    HostConnectionState,
    ManagementType,
    NodeName,
    PowerState,
    ProviderHealth,
    VmConnectionState,
    VmName,
)

SETTLE_S: Final = 60.0
"""Lab seconds within which vCenter shows what has changed on a host that it is connected to."""
AGAIN_S: Final = 5.0
_OF_HOSTS: Final = (
    *("boot", "version", "crypto_state", "crypto_key_id", "key_persistence", "cached_keys"),
    *("tpm_present", "in_maintenance_mode"),
)
_OF_VMS: Final = (
    *("connection", "crypto", "missing", "vtpm", "snapshots", "with_memory", "template"),
)
"""Fields that vCenter shows of a VM as its host reports them, beside power and key."""
_NOT_ON_ALL_HOSTS: Final = "com.vmware.vim.vpxd.encryption.keyProviderNotOnAllHosts"


class ShownDifferences(msgspec.Struct):
    """``differ``: a sentence for each host, VM or key provider that vCenter shows differently.
    ``refused``: hosts whose TPM vCenter does not accept."""

    hosts: int = 0
    vms: int = 0
    differ: dict[str, str] = {}
    refused: list[str] = []


async def look_at_what_is_shown(lab: LabUnderTest, history: History) -> None:
    """Compare the hosts that answer and are connected, their VMs, and the key providers."""
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
    listed_hosts = await look.vcenter_hosts()
    connected = {
        host
        for host, info in listed_hosts.items()
        if info.connection is HostConnectionState.CONNECTED
    }
    shown = {host: info for host, info in listed_hosts.items() if host in connected & own.keys()}
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
    # Of several vCenters each has its own hosts. One that does not answer here may lack the key.
    whole = len(leaders(lab)) == 1 and connected <= own.keys()
    hosts = {host: own[host] for host in shown} if whole else {}
    for provider in await look.providers() or ():
        if text := "; ".join(_of_provider(provider, hosts)):
            found.differ[f"key provider {provider.provider}"] = text
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
        elif _is_unreadable(own):
            continue
        elif not _has_key(info, own):
            keys = ", ".join(map(str, own.keys)) or "no key"
            yield place, f"it is under {keys}, and vCenter shows {info.key or 'no key'}"
        elif other := _find_other(info, own):
            yield place, other


def _of_provider(info: ProviderInfo, hosts: Mapping[NodeName, HostSummary]) -> Iterator[str]:
    """Its status follows from its servers (STD-09). A native one has an id of its key, and vCenter
    shows whether each of the connected ``hosts`` has that key (NKP-02)."""
    if info.management_type is ManagementType.VCENTER:
        contacts = {contact.status for contact in info.contacts}
        due = next(iter(contacts)) if contacts in ({"green"}, {"red"}) else "yellow"
        if contacts and info.status != due:
            servers = ", ".join(sorted(contacts))
            yield f"its servers are {servers}, and vCenter shows {info.status}"
    if info.management_type is not ManagementType.NATIVE_PROVIDER:
        return
    if not info.key_id or info.health is ProviderHealth.NONE:
        yield f"vCenter shows no {'health' if info.key_id else 'id'} of its key"
        return
    without = [
        str(host)
        for host, own in hosts.items()
        if (own.tpm_present or not info.tpm_required) and not _derives(own, info)
    ]
    if hosts and bool(without) != (_NOT_ON_ALL_HOSTS in info.details):
        missing = ", ".join(without) or "no connected host"
        yield f"{missing} is without its key, and vCenter shows {info.health} {info.details}"


def _derives(own: HostSummary, info: ProviderInfo) -> bool:
    """Whether a host has the key derivation key that vCenter names."""
    right = any(
        (one.provider_id, one.key_id) == (info.provider, info.key_id) for one in own.providers
    )
    return right and info.provider in own.kdks


def _is_unreadable(own: VmSummary) -> bool:
    """Whether its host cannot read its configuration, and so knows none of its keys."""
    return own.connection is VmConnectionState.INVALID and own.crypto is None


def _has_key(info: VmInfo, own: VmSummary) -> bool:
    return info.key in own.keys if info.key is not None else not own.keys


def _find_other(info: VmInfo, own: VmSummary) -> str:
    """The first of ``_OF_VMS`` that is not as its host says; empty for none."""
    for name in _OF_VMS:
        here, there = getattr(own, name), getattr(info, name)
        if here != there:
            return f"{name} is {here}, and vCenter shows {there}"
    return ""
