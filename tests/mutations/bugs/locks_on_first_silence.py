"""LOCK-01 broken: a key server that is silent locks every VM of its provider at once."""

from __future__ import annotations

from typing import Any

from protocol.events import EventTypeId
from protocol.terms import KeyUnavailableReason
from services.vcenter import events
from services.vcenter.contacts import KeyServerContacts
from services.vcenter.inventory import change_vm
from services.vcenter.vcenter import VCenter
from tests.mutations.bugs.planting import plant

_EVENT = EventTypeId.VM_LOCKED_KMS_CLUSTER_ERROR
_REASON = KeyUnavailableReason.CLUSTER_UNREACHABLE
_vcenters: dict[int, Any] = {}


def _known(original: Any) -> Any:
    def init(self: Any, *ports: Any, **named: Any) -> None:
        original(self, *ports, **named)
        _vcenters[id(self.contacts)] = self

    return init


def _hasty(original: Any) -> Any:
    async def failed(self: Any, provider: Any, server: str, why: str) -> None:
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

    return failed


plant(VCenter, "__init__", _known)
plant(KeyServerContacts, "record_failure", _hasty)
