"""The alarms of vCenter that stand now, each with why, and the one that is acknowledged."""

from __future__ import annotations

from typing import Final

from msgspec.structs import replace

from chaos.observe.listing import all_clusters, all_hosts, all_providers, all_vms
from chaos.providers import kind_of
from lab.schema import commands
from lab.schema.answers import Alarm, AlarmList, Host
from lab.serve.executing import executes
from lab.serve.machines import fetch_node
from lab.serve.session import LabSession
from lab.serve.views import host_view
from protocol.messages.vcenter import AcknowledgeAlarm, HostInfo, ProviderInfo
from protocol.terms import HostConnectionState, HostCryptoState, NodeName

KEY_SERVER_ALARM: Final = "alarm.KeyServerHealth"
VSAN_ALARM: Final = "alarm.VsanEncryptionHealth"
NOT_BACKED_UP_ALARM: Final = "alarm.NativeKeyProviderNotBackedUp"
_NOT_BACKED_UP: Final = "NotBackedUp"
"""In the id of a detail of a native provider's health."""


@executes
async def alarms(session: LabSession, command: commands.GetAlarms) -> AlarmList:
    """See ``GetAlarms``."""
    found = [
        replace(alarm, vcenter=session.vcenter_to_show(vcenter))
        for vcenter in session.vcenters()
        for alarm in await _alarms_at(session, vcenter)
    ]
    return AlarmList(items=tuple(found))


async def _alarms_at(session: LabSession, vcenter: NodeName) -> list[Alarm]:
    found: list[Alarm] = []
    for host in await all_hosts(session, vcenter):
        found += [Alarm(of=host.host, alarm=a, why=_why(host, a)) for a in host.alarms]
    for vm in await all_vms(session, vcenter):
        why = "missing: " + ", ".join(str(key) for key in vm.missing)
        found += [Alarm(of=vm.vm, alarm=a, why=why) for a in vm.alarms]
    for provider in await all_providers(session, vcenter):
        found += _of_provider(provider)
    for cluster in await all_clusters(session, vcenter):
        if problems := cluster.vsan_problems or ():
            found.append(Alarm(of=cluster.cluster, alarm=VSAN_ALARM, why="; ".join(problems)))
    return found


@executes
async def acknowledge(session: LabSession, command: commands.AlarmAcknowledge) -> Host:
    """See ``AlarmAcknowledge``."""
    host = session.host(command.host)
    vcenter = session.vcenter_of(host)
    await session.ask(vcenter, AcknowledgeAlarm(host=host))
    found = next(one for one in await all_hosts(session, vcenter) if one.host == host)
    return host_view(found, await fetch_node(session, host))


def _of_provider(provider: ProviderInfo) -> list[Alarm]:
    """Of its key servers that do not answer, or of a backup that is missing (NKP-05)."""
    found: list[Alarm] = []
    if silent := [contact.name for contact in provider.contacts if contact.status == "red"]:
        why = f"{provider.status}: no answer from {', '.join(silent)}"
        found.append(Alarm(of=provider.provider, alarm=KEY_SERVER_ALARM, why=why))
    details = [detail for detail in provider.details if _NOT_BACKED_UP.lower() in detail.lower()]
    if kind_of(provider.management_type).derived and details:
        why = f"{', '.join(details)}: export it once"
        found.append(Alarm(of=provider.provider, alarm=NOT_BACKED_UP_ALARM, why=why))
    return found


def _why(host: HostInfo, alarm: str) -> str:
    if alarm.endswith("RecoveryKeyBackup"):
        return "its recovery key is new: keep it in a safe place, then acknowledge this"
    if host.attestation is not None and alarm.endswith("Attestation"):
        return host.attestation.message
    if host.connection is not HostConnectionState.CONNECTED:
        return host.connection.value
    state = host.crypto_state
    return "" if state in (None, HostCryptoState.SAFE) else f"it is {state.value}"
