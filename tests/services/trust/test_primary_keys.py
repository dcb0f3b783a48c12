"""What a Key Provider Service keeps of primary keys holds under one configuration only."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest

from protocol.errors import (
    ItemNotFound,
    KeyProviderUnreachable,
    PermissionDenied,
    ProductError,
    TlsFailure,
    WrongKeyLifecycleState,
)
from protocol.messages.base import Sealed
from protocol.messages.kms.keys import KeyValue, KeyValues
from protocol.secret import KeyMaterial
from protocol.terms import KeyId, KmipState, NodeName, ProviderHealth, ProviderId
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


@pytest.mark.parametrize(
    ("refusal", "client_trusts", "server_trusts"),
    [
        (None, True, True),
        (PermissionDenied("not a client"), True, False),
        (TlsFailure("the other end refused the handshake: alert unknown ca"), True, False),
        (TlsFailure("certificate verify failed"), False, None),
        (ItemNotFound("no such key"), True, True),
        (WrongKeyLifecycleState("deactivated"), True, True),
        (KeyProviderUnreachable("no answer"), True, None),
    ],
    ids=["takes", "denied", "alert", "unverified", "no key", "wrong state", "silent"],
)
async def test_who_refuses_a_key_server_says_who_trusts_whom(
    refusal: ProductError | None, client_trusts: bool, server_trusts: bool | None
) -> None:
    """A server that this end refuses was never asked, so nobody knows what it thinks."""

    async def request(to: object, message: object, *, within_s: float) -> KeyValues:
        if refusal is not None:
            raise refusal
        value = KeyValue(key_id=KEY, state=KmipState.ACTIVE, index=0)
        return KeyValues(values=(value,), material=Sealed.of(KeyMaterial(bytes(32))))

    node: Any = SimpleNamespace(knobs=SimpleNamespace(primary_key_timeout_s=5))
    own: Any = SimpleNamespace(client_for=lambda server: SimpleNamespace(request=request))
    [told] = (await PrimaryKeys(node, own).health(NEW)).servers
    assert (told.client_trust_server, told.server_trust_client) == (client_trusts, server_trusts)
    assert (told.health is ProviderHealth.OK) is (refusal is None)
    assert str(refusal or "") in told.reason
