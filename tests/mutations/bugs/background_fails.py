"""Isolation broken: a loop of the host in the background ends with an exception after a boot."""

from __future__ import annotations

from typing import Any

from services.esxi import boot
from tests.mutations.bugs.planting import plant


async def _fails(host: Any) -> None:
    await host.clock.sleep(5.0)
    if host.node.boot > 1:
        raise LookupError("a defect in a loop")


def _careless(original: Any) -> Any:
    def start_loops(host: Any, *more: Any) -> None:
        original(host, *more)
        host.node.background("loop", _fails(host))

    return start_loops


plant(boot, "start_loops", _careless)
