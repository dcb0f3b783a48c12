"""KEY-02 broken: a VM that could not be created encrypted is left on its host, in clear."""

from __future__ import annotations

from typing import Any

from protocol.errors import ProductError
from protocol.messages.host import HostCreateVm
from services.vcenter.tasks import vm
from tests.mutations.bugs.planting import plant


def _untidy(original: Any) -> Any:
    async def give_key_of_new_vm(vc: Any, session: Any, operation: Any, **how: Any) -> Any:
        try:
            return await original(vc, session, operation, **how)
        except ProductError:
            await session.command_vm(HostCreateVm(vm=operation.subject))
            raise

    return give_key_of_new_vm


plant(vm, "give_key_of_new_vm", _untidy)
