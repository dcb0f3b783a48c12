"""VSAN-11 broken: a shallow rekey is settled with the last disk of each group left as it was."""

from __future__ import annotations

from typing import Any

from protocol.vsan import VsanEncryption
from services.esxi.host import Host
from services.esxi.vsan import encryption
from services.esxi.vsan.groups import DiskGroup
from tests.mutations.bugs.planting import plant


def _all_but_the_last(original: Any) -> Any:
    async def bring(
        host: Host, group: DiskGroup, name: str, step: Any, wished: VsanEncryption
    ) -> None:
        if step is encryption.DiskStep.REWRAP and name == max(group.labels):
            return
        await original(host, group, name, step, wished)

    return bring


plant(encryption, "_bring_disk", _all_but_the_last)
