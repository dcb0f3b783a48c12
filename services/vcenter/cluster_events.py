"""Drafts of the events of vSphere HA and DRS, with their texts (``events``)."""

from __future__ import annotations

from protocol.events import EventTypeId
from protocol.messages.vcenter import HaIncident, HaIncidentKind
from protocol.terms import ClusterName, DrsBehavior, NodeName, VmName
from services.vcenter.events import EventDraft


def ha_switched(cluster: ClusterName, *, on: bool) -> EventDraft:
    event = EventTypeId.DAS_ENABLED if on else EventTypeId.DAS_DISABLED
    return EventDraft(event=event, text=f"vSphere HA is {'en' if on else 'dis'}abled for {cluster}")


def drs_configured(
    cluster: ClusterName, before: DrsBehavior | None, now: DrsBehavior | None
) -> EventDraft:
    """DRS of a cluster was enabled, disabled, or set to another automation level."""
    if now is None:
        return EventDraft(event=EventTypeId.DRS_DISABLED, text=f"DRS is disabled for {cluster}")
    text = f"the automation level of DRS is {now.value}"
    if before is None:
        return EventDraft(
            event=EventTypeId.DRS_ENABLED, text=f"DRS is enabled for {cluster}: {text}"
        )
    return EventDraft(event=EventTypeId.CLUSTER_RECONFIGURED, text=f"{cluster} was changed: {text}")


def drs_powered_on(vm: VmName, host: NodeName) -> EventDraft:
    """``host``: the host that DRS chose, possibly the VM's own."""
    text = f"DRS powered on virtual machine {vm} on host {host}"
    return EventDraft(event=EventTypeId.DRS_VM_POWERED_ON, text=text, host=host, vm=vm)


def drs_migrated(vm: VmName, source: NodeName, host: NodeName) -> EventDraft:
    """DRS moved a running VM because its host is being evacuated."""
    text = f"DRS migrated virtual machine {vm} from host {source} to host {host}"
    return EventDraft(event=EventTypeId.DRS_VM_MIGRATED, text=text, host=host, vm=vm)


def ha_host_failed(host: NodeName) -> EventDraft:
    return EventDraft(
        event=EventTypeId.HA_HOST_FAILED,
        text=f"vSphere HA detected a failure of host {host}",
        host=host,
    )


def ha_host_isolated(host: NodeName) -> EventDraft:
    return EventDraft(
        event=EventTypeId.HA_HOST_ISOLATED,
        text=f"vSphere HA detected that host {host} is isolated from the network",
        host=host,
    )


def ha_of_vm(incident: HaIncident) -> EventDraft:
    """A restart that succeeded, or a try that failed (HA-02)."""
    host, vm, of = incident.host, incident.vm, incident.of
    if incident.kind is HaIncidentKind.VM_RESTARTED:
        text = f"vSphere HA restarted virtual machine {vm} of host {of} on host {host}"
        return EventDraft(event=EventTypeId.VM_RESTARTED_BY_HA, text=text, host=host, vm=vm)
    again = "It is not tried again" if incident.last else "It will be tried again"
    text = (
        f"vSphere HA unsuccessfully failed over virtual machine {vm} of host {of} on host {host}: "
        f"{incident.reason}. {again}"
    )
    return EventDraft(event=EventTypeId.VM_FAILOVER_FAILED, text=text, host=host, vm=vm)
