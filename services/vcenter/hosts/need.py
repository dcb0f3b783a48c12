"""Whether a host's view shows something that a pass of step B8 would change, and which missing keys
it shows that the host cannot derive. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from protocol.messages.host import VmSummary
from protocol.terms import (
    ManagementType,
    NodeName,
    PowerState,
    ProviderId,
    VmName,
)
from services.vcenter.providers.capabilities import Capability, of_provider
from services.vcenter.tables import VmRow


def needs_pass(
    host: NodeName,
    listed: Iterable[VmSummary],
    rows: Mapping[VmName, VmRow],
    types: Mapping[ProviderId, ManagementType],
    *,
    rang: bool,
    auto_unlock: bool,
) -> bool:
    """Whether one of the host's VMs lacks a key that its mark does not name, or no longer lacks one
    that it names, or runs in spite of a mark (LOCK-04).

    ``rang``: the host asked for a look, so a missing key is worth another try although the VM is
    marked for it, or counts as another host's. ``auto_unlock``: marks are removed without a request
    (LOCK-05). Keys that hosts fetch by themselves are no reason to try again: vCenter delivers
    nothing for them. For derived keys it delivers the KDK.
    """
    for vm in listed:
        row = rows.get(vm.vm)
        if row is None:
            continue
        lacking = {key for key in vm.missing if key in row.keys and vm.power is PowerState.OFF}
        brought = {key for key in lacking if _is_brought(of_provider(types, key.provider_id))}
        if brought and rang:
            return True
        if row.host != host:
            continue
        if row.lock_event is not None and vm.power is PowerState.ON:
            return True  # a mark on a running VM is void
        if lacking and (row.lock_event is None or not lacking <= set(row.missing)):
            return True
        if auto_unlock and row.lock_event is not None and not set(row.missing) <= lacking:
            return True
    return False


def _is_brought(can: Capability) -> bool:
    return can.derived or not can.self_served
