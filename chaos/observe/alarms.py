"""vCenter's alarms at the end of a run, and what hosts report about their causes."""

from __future__ import annotations

from typing import Any

from chaos.history import History
from chaos.lab import LabUnderTest
from chaos.observe.look import LabLook
from protocol.messages.host import HostSummary
from protocol.messages.vcenter import HostInfo, VmInfo
from protocol.terms import HostCryptoState, PowerState, VmCryptoState


def may_have_rung(history: History) -> bool:
    """Whether a host waited for its key, or a VM was locked, at any look."""
    states = [r for r in history.records if r.type == "state"]
    locked, waits = VmCryptoState.LOCKED.value, HostCryptoState.PREPARED.value
    return any(
        (r.op == "marks" and r.data["locked"])
        or (r.op == "vm" and r.data["crypto"] == locked)
        or (r.op == "host" and r.data.get("crypto") == waits)
        for r in states
    )


async def look_at_alarms(lab: LabUnderTest, history: History) -> None:
    """The alarms of every host and VM, with the report of the host that vCenter names. Entries that
    vCenter changes while hosts are queried, and nodes that do not answer, are left out."""
    before = LabLook(lab)
    hosts, vms = await before.vcenter_hosts(), await before.vcenter_vms()
    own = await before.hosts()
    after = LabLook(lab)
    hosts_then, vms_then = await after.vcenter_hosts(), await after.vcenter_vms()
    told = {(host, vm.vm): vm for host, summary in own.items() for vm in summary.vms}
    history.add(
        "state",
        op="alarms",
        hosts={
            str(name): _host(info, own[name])
            for name, info in hosts.items()
            if name in own and _host_fields(info) == _host_fields(hosts_then.get(name))
        },
        vms={
            str(name): _vm(info, found.crypto, found.power)
            for name, info in vms.items()
            if (found := told.get((info.host, name))) is not None and info == vms_then.get(name)
        },
    )


def _host_fields(info: HostInfo | None) -> Any:
    return None if info is None else (info.alarms, info.connection, info.crypto_state)


def _host(info: HostInfo, own: HostSummary) -> dict[str, Any]:
    return {
        "alarms": list(info.alarms),
        "connection": info.connection.value,
        "crypto": own.crypto_state.value,
    }


def _vm(info: VmInfo, crypto: VmCryptoState | None, power: PowerState) -> dict[str, Any]:
    return {
        "alarms": list(info.alarms),
        "marked": info.lock_event is not None,
        "connection": info.connection.value,
        "crypto": None if crypto is None else crypto.value,
        "power": power.value,
    }
