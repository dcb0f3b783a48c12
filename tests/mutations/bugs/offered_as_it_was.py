"""A target goes on with the VM as it has opened it, whatever has become of its files since."""

from __future__ import annotations

import dataclasses
from typing import Any

import msgspec

from services.esxi.migration import incoming
from services.esxi.vms.files import read_config
from tests.mutations.bugs.planting import plant


def _unchanged(original: Any) -> Any:
    async def offered(host: Any, expected: Any) -> Any:
        found = await read_config(host.datastore, expected.config.vm)
        seen = msgspec.structs.replace(found, offer=None)
        ours = dataclasses.replace(expected, config=seen)
        return await original(host, ours)

    return offered


plant(incoming, "_read_offered_config", _unchanged)
