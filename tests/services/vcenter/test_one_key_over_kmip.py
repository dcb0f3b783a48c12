"""A standard provider over KMIP: what a server says of one key decides nothing for the others."""

from __future__ import annotations

from typing import Any, cast

import pytest

from lab.kmip.alone import NoBus
from protocol.errors import WrongKeyLifecycleState
from protocol.kmip.enums import ResultReason, State
from protocol.messages.vcenter.providers import KmipServer
from protocol.terms import KeyId, KeyUnavailableReason, ProviderId
from services.keyservers.client import KeyServers
from services.runtime import ports
from services.runtime.streams import Streams
from services.vcenter.key_server_status import KeyServerContacts
from services.vcenter.providers.standard import StandardProvider
from tests.services.keyservers.scripted import QuickClock, ScriptedServer, value_of

VENDORS_STATE = cast(State, 0x8000_0001)
GOOD, ODD, GONE = KeyId("good"), KeyId("odd"), KeyId("gone")


class Contacts:
    """Which answers a provider has told of."""

    def __init__(self) -> None:
        self.told: list[str] = []

    async def record_answer(self, *_: str) -> None:
        self.told.append("worked")

    async def record_failure(self, *_: str) -> None:
        self.told.append("failed")

    def all_failed(self, *_: str) -> None:
        self.told.append("all failed")


def provider_of(server: ScriptedServer, contacts: Contacts) -> StandardProvider:
    clock = cast(ports.Clock, QuickClock())
    asked = KeyServers(NoBus(), cast(Streams, server), clock, lambda: cast(Any, None))
    return StandardProvider(
        ProviderId("p"),
        tuple(KmipServer(name=name, address=f"kmip://{name}") for name in ("kms", "other")),
        asked,
        cast(KeyServerContacts, contacts),
        within_s=5,
        failover_on_missing=False,
    )


async def test_a_state_of_a_vendor_is_of_one_key_alone() -> None:
    """STD-20: a key that the server has is not said to be missing, either."""
    server, contacts = ScriptedServer(keys={GOOD: State.ACTIVE, ODD: VENDORS_STATE}), Contacts()
    provider = provider_of(server, contacts)
    found = await provider.fetch_keys((ODD, GOOD, GONE))
    assert found.material == {GOOD: value_of(GOOD)}
    reasons = {
        ODD: KeyUnavailableReason.NOT_ACTIVE_OR_ENABLED,
        GONE: KeyUnavailableReason.MISSING_IN_KMS,
    }
    assert found.missing == reasons
    assert await provider.status((ODD, GOOD, GONE)) == {**reasons, GOOD: None}
    assert set(contacts.told) == {"worked"}
    assert server.open == 0


async def test_a_key_that_its_server_does_not_activate_is_not_active() -> None:
    """STD-18, STD-20: its servers answer, and it is there."""
    server, contacts = ScriptedServer(keys={GOOD: State.ACTIVE, ODD: State.PRE_ACTIVE}), Contacts()
    server.refuses["Activate"] = ResultReason.PERMISSION_DENIED
    provider = provider_of(server, contacts)
    found = await provider.fetch_keys((ODD, GOOD))
    assert found.material == {GOOD: value_of(GOOD)}
    assert found.missing == {ODD: KeyUnavailableReason.NOT_ACTIVE_OR_ENABLED}
    assert set(contacts.told) == {"worked"}
    activations = [name for messages in server.connections for name in messages]
    assert activations.count("Activate") == 1
    with pytest.raises(WrongKeyLifecycleState):
        await provider.create_key("op")
    made = [name for messages in server.connections for name in messages]
    assert made.count("Create") == 1, "another server would make another key that is not Active"
