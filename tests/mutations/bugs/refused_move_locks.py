"""MOB-05 broken: a VM whose move is refused for lack of a key is marked as locked."""

from __future__ import annotations

from typing import Any

from protocol.errors import EncryptionKeyRequired
from protocol.events import EventTypeId
from services.vcenter.events import EventDraft
from services.vcenter.inventory import change_vm
from services.vcenter.tasks import migrate
from tests.mutations.bugs.planting import plant


def _marking(original: Any) -> Any:
    async def bring_keys(vc: Any, session: Any, row: Any, *, caller: Any) -> None:
        try:
            await original(vc, session, row, caller=caller)
        except EncryptionKeyRequired as error:
            event = EventTypeId.VM_LOCKED_KMS_CLUSTER_ERROR
            edit = change_vm(row.name, lock_event=event, missing=error.keys)
            told = EventDraft(
                event=event,
                text=f"Virtual machine {row.name} is locked",
                host=session.host,
                vm=row.name,
                provider=error.keys[0].provider_id,
                keys=error.keys,
            )
            await vc.inventory.commit(edit, events=[told])
            raise

    return bring_keys


plant(migrate, "bring_keys", _marking)
