"""A standard provider over KMIP: what a server says of one key decides nothing for the others."""

from __future__ import annotations

from typing import Any, cast

from protocol.kmip.enums import State
from protocol.messages.vcenter import KmipServer
from protocol.terms import KeyId, KeyUnavailableReason, ProviderId
from services.keyservers.client import KeyServers
from services.runtime import ports
from services.runtime.streams import Streams
from services.vcenter.contacts import KeyServerContacts
from services.vcenter.providers.standard import StandardProvider
from tests.services.keyservers.scripted import QuickClock, ScriptedServer, value_of

VENDORS_STATE = cast(State, 0x8000_0001)
GOOD, ODD, GONE = KeyId("good"), KeyId("odd"), KeyId("gone")


class Contacts:
    """Which answers a provider has told of."""

    def __init__(self) -> None:
        self.told: list[str] = []

    async def worked(self, *_: str) -> None:
        self.told.append("worked")

    async def failed(self, *_: str) -> None:
        self.told.append("failed")

    def all_failed(self, *_: str) -> None:
        self.told.append("all failed")


async def test_a_state_of_a_vendor_is_of_one_key_alone() -> None:
    """STD-20: a key that the server has is not said to be missing, either."""
    server = ScriptedServer(keys={GOOD: State.ACTIVE, ODD: VENDORS_STATE})
    clock = cast(ports.Clock, QuickClock())
    asked = KeyServers(cast(ports.Bus, None), cast(Streams, server), clock, lambda: cast(Any, None))
    contacts = Contacts()
    provider = StandardProvider(
        ProviderId("p"),
        (KmipServer(name="kms", address="kmip://kms"),),
        asked,
        cast(KeyServerContacts, contacts),
        within_s=5,
        failover_on_missing=False,
    )
    found = await provider.fetch_keys((ODD, GOOD, GONE))
    assert found.material == {GOOD: value_of(GOOD)}
    reasons = {
        ODD: KeyUnavailableReason.CLUSTER_UNREACHABLE,
        GONE: KeyUnavailableReason.MISSING_IN_KMS,
    }
    assert found.missing == reasons
    assert await provider.status((ODD, GOOD, GONE)) == {**reasons, GOOD: None}
    assert set(contacts.told) == {"worked"}
    assert server.open == 0
