"""A03 broken: a host with a persisted host key is not safe before vCenter speaks."""

from __future__ import annotations

from typing import Any

from protocol.terms import HostCryptoState
from services.esxi import boot
from services.esxi.service import EsxiService
from tests.mutations.bugs.planting import plant


def _shy(original: Any) -> Any:
    async def encryption_mode(host: Any) -> None:
        await original(host)
        if host.mode is HostCryptoState.SAFE:
            host.kept_back, host.host_key = host.host_key, None
            host.archive.change(crypto_state=HostCryptoState.PREPARED)

    return encryption_mode


def _bold(original: Any) -> Any:
    async def open_session(self: Any, message: Any, peer: Any) -> Any:
        kept = getattr(self.host, "kept_back", None)
        if kept is not None:
            self.host.kept_back, self.host.host_key = None, kept
            self.host.archive.change(crypto_state=HostCryptoState.SAFE)
        return await original(self, message, peer)

    return open_session


plant(boot, "_encryption_mode", _shy)
plant(EsxiService, "open_session", _bold)
