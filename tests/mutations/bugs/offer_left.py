"""A source that goes on leaves its offer in the VM's files, where a late target finds it."""

from __future__ import annotations

from typing import Any

from services.esxi.migration import outgoing
from tests.mutations.bugs.planting import plant


def _leaving(original: Any) -> Any:
    async def write_config(datastore: Any, config: Any) -> None:
        if config.offer is not None:
            await original(datastore, config)

    return write_config


plant(outgoing, "write_config", _leaving)
