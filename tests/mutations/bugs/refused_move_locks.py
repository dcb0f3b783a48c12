"""MOB-05 broken: a VM whose move is refused for lack of a key is marked as locked."""

from __future__ import annotations

from typing import Any

from protocol.errors import EncryptionKeyRequired
from protocol.events import EventTypeId
from services.vcenter.inventory import change_vm
from services.vcenter.tasks import migrate
from tests.mutations.bugs.planting import plant


def _marking(original: Any) -> Any:
    async def bring_keys(vc: Any, session: Any, row: Any, *, may_register: bool) -> None:
        try:
            await original(vc, session, row, may_register=may_register)
        except EncryptionKeyRequired as error:
            event = EventTypeId.VM_LOCKED_KMS_CLUSTER_ERROR
            edit = change_vm(row.name, lock_event=event, missing=error.keys)
            await vc.inventory.commit(edit)
            raise

    return bring_keys


plant(migrate, "_bring_keys", _marking)
