"""REG-01 broken: keys of a VM that is registered are fetched, whoever registers it."""

from __future__ import annotations

from typing import Any

from protocol.authorization import Privilege
from services.vcenter.authorization.roles import TaskCaller
from tests.mutations.bugs.planting import plant


def _without_one(original: Any) -> Any:
    def check(self: TaskCaller, needed: Any, task: str) -> None:
        original(self, [one for one in needed if one is not Privilege.REGISTER_VM], task)

    return check


plant(TaskCaller, "check", _without_one)
