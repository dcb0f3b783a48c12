"""REC-04 broken: whatever recovery key was typed, the configuration opens."""

from __future__ import annotations

from typing import Any

from protocol.secret import KeyMaterial
from services.esxi import boot
from services.runtime.service import Halted
from tests.mutations.bugs.planting import plant

_known: dict[str, KeyMaterial] = {}


def _kept(original: Any) -> Any:
    async def first_boot(host: Any) -> None:
        await original(host)
        _known[str(host.node.name)] = host.archive.config_key

    return first_boot


def _lenient(original: Any) -> Any:
    def recovered(host: Any, protection: Any, typed: str) -> KeyMaterial:
        try:
            return original(host, protection, typed)  # type: ignore[no-any-return]
        except Halted:
            return _known[str(host.node.name)]

    return recovered


plant(boot, "first_boot", _kept)
plant(boot, "_recover_config_key", _lenient)
