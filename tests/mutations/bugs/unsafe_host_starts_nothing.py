"""BOOT-01 broken: a host that is not safe starts no VM, encrypted or not."""

from __future__ import annotations

from typing import Any

from protocol.errors import InvalidState
from protocol.terms import HostCryptoState
from services.esxi.vms import power
from tests.mutations.bugs.planting import plant


def _safe_only(original: Any) -> Any:
    async def start_guest(host: Any, vm: Any, *, ask: bool) -> Any:
        if host.mode is not HostCryptoState.SAFE:
            raise InvalidState(f"{host.node.name} is {host.mode.value}, and starts no VM")
        return await original(host, vm, ask=ask)

    return start_guest


plant(power, "_start_guest", _safe_only)
