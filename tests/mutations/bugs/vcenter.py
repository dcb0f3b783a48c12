"""Bugs of vCenter: its database, events and alarms."""

from __future__ import annotations

from typing import Any

import msgspec

from protocol.events import EventTypeId
from protocol.terms import KeyUnavailableReason
from services.vcenter import events, inventory, service, vcenter
from services.vcenter.inventory import Inventory, change_vm
from services.vcenter.key_server_status import AlarmId, KeyServerContacts
from services.vcenter.vcenter import VCenter
from tests.mutations.bugs.planting import plant, replaces


def alarm_never_clears() -> None:
    """An alarm that never clears: once locked, a VM has its alarm for as long as its vCenter
    lives."""

    def _sticking(original: Any) -> Any:
        rung: set[str] = set()

        def vm_info(row: Any, **state: Any) -> Any:
            info = original(row, **state)
            if AlarmId.VM_LOCKED.value in info.alarms:
                rung.add(row.name)
            elif row.name in rung:
                return msgspec.structs.replace(info, alarms=(*info.alarms, AlarmId.VM_LOCKED.value))
            return info

        return vm_info

    plant(vcenter, "vm_info", _sticking)


def event_apart() -> None:
    """Events broken: vCenter writes a change first, and what tells of it in a second
    transaction."""

    @replaces(Inventory, "commit")
    async def commit(original: Any, self: Any, *edits: Any, events: Any = ()) -> Any:
        if edits and events:
            await original(self, *edits)
            return await original(self, events=events)
        return await original(self, *edits, events=events)


def inventory_unsealed() -> None:
    """What is shown is what was written last, broken: vCenter does not compare its rows with their
    seal, and shows what is left where a device has lost a page."""

    plant(inventory, "_read_seal", lambda sealed: lambda connection: None)


def lock_untold() -> None:
    """LOCK-01 broken: a VM is marked as locked, and the event that tells of it is missing."""

    @replaces(Inventory, "commit")
    async def commit(original: Any, self: Any, *edits: Any, events: Any = ()) -> Any:
        told = [draft for draft in events if ".VMLocked." not in draft.event.value]
        return await original(self, *edits, events=told)


def locks_on_first_silence() -> None:
    """LOCK-01 broken: a key server that is silent locks every VM of its provider at once."""

    _EVENT = EventTypeId.VM_LOCKED_KMS_CLUSTER_ERROR
    _REASON = KeyUnavailableReason.CLUSTER_UNREACHABLE
    _vcenters: dict[int, Any] = {}

    @replaces(VCenter, "__init__")
    def init(original: Any, self: Any, *ports: Any, **named: Any) -> None:
        original(self, *ports, **named)
        _vcenters[id(self.contacts)] = self

    @replaces(KeyServerContacts, "record_failure")
    async def failed(original: Any, self: Any, provider: Any, server: str, why: str) -> None:
        await original(self, provider, server, why)
        inventory = _vcenters[id(self)].inventory
        for row in list(inventory.vms.values()):
            keys = tuple(key for key in row.keys if key.provider_id == provider)
            if keys and row.lock_event is None:
                reasons = dict.fromkeys(keys, _REASON)
                await inventory.commit(
                    change_vm(row.name, lock_event=_EVENT, missing=keys),
                    events=[events.vm_locked(row.name, row.host, _EVENT, keys, reasons)],
                )


def outage_untold() -> None:
    """A22 broken: that a key server does not answer is known, and no event tells of it."""

    @replaces(Inventory, "commit")
    async def commit(original: Any, self: Any, *edits: Any, events: Any = ()) -> Any:
        told = [draft for draft in events if draft.event is not EventTypeId.KMS_UNREACHABLE]
        return await original(self, *edits, events=told)


def vcenter_answers_early() -> None:
    """Durable before acknowledged, broken: vCenter commits without waiting for the disk."""

    plant(service, "SCHEMA", lambda schema: ("PRAGMA synchronous = OFF", *schema))
