"""LOCK-02 broken: tasks are done on a VM that is locked and invalid."""

from __future__ import annotations

from typing import Any

from services.vcenter import provider_handlers
from services.vcenter.tasks import clone
from tests.mutations.bugs.planting import plant


async def _check_nothing(*_: Any, **__: Any) -> None:
    """In the place of ``check_valid``."""


plant(provider_handlers, "check_valid", lambda original: _check_nothing)
plant(clone, "check_valid", lambda original: _check_nothing)
