"""REK-02 broken: a deep recrypt of a VM that runs is answered as done, and was a shallow one."""

from __future__ import annotations

from typing import Any

import msgspec

from services.esxi.vms import recrypt as at_host
from services.vcenter.tasks import recrypt as at_vcenter
from tests.mutations.bugs.planting import plant


def _taken(original: Any) -> Any:
    def check(row: Any, *, deep: bool) -> None:
        original(row, deep=False)

    return check


def _shallow(original: Any) -> Any:
    async def recrypt(host: Any, message: Any) -> Any:
        runs = host.require_vm(message.vm).guest is not None
        deep = message.deep and not runs
        return await original(host, msgspec.structs.replace(message, deep=deep))

    return recrypt


plant(at_vcenter, "_check", _taken)
plant(at_host, "recrypt", _shallow)
