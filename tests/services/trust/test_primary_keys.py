"""What a Key Provider Service keeps of primary keys holds under one configuration only."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

from protocol.messages.base import Sealed
from protocol.messages.kms import KeyValue, KeyValues
from protocol.secret import KeyMaterial
from protocol.terms import KeyId, KmipState, NodeName, ProviderId
from protocol.trust import KeyServerRecord, TrustedKeyProvider
from services.keyprovider.primary_key import TO_WRAP, PrimaryKeys

KEY = KeyId("k1")
OLD, NEW = (
    TrustedKeyProvider(
        provider=ProviderId("p"),
        primary_key_id=KEY,
        servers=(KeyServerRecord(node=NodeName(server), trusted=True),),
    )
    for server in ("kms-old", "kms-new")
)


class Servers:
    """Key servers that all have the key; ``kms-old`` answers when it is let."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.waiting, self.let = asyncio.Event(), asyncio.Event()

    def client_for(self, server: KeyServerRecord) -> Any:
        async def request(to: object, message: object, *, within_s: float) -> KeyValues:
            self.asked.append(server.node)
            if server.node == "kms-old":
                self.waiting.set()
                await self.let.wait()
            value = KeyValue(key_id=KEY, state=KmipState.ACTIVE, index=0)
            return KeyValues(values=(value,), material=Sealed.of(KeyMaterial(bytes(32))))

        return SimpleNamespace(request=request)


async def test_a_key_that_comes_after_a_new_configuration_is_not_kept() -> None:
    """The server that gives it may not be trusted any more."""
    servers = Servers()
    knobs = SimpleNamespace(primary_key_timeout_s=5, kps_primary_key_cache=True)
    node: Any = SimpleNamespace(knobs=knobs, record=lambda *given, **more: None)
    own: Any = servers
    keys = PrimaryKeys(node, own)
    first = asyncio.create_task(keys.key(OLD, KEY, TO_WRAP))
    await servers.waiting.wait()
    keys.forget()  # another configuration is in force: its server is kms-new
    servers.let.set()
    await first  # who asked before has an answer
    for _ in range(2):
        await keys.key(NEW, KEY, TO_WRAP)
    assert servers.asked == ["kms-old", "kms-new"], "asked once, and kept then"
