"""Every state against every step, with the expectation written out by hand from the rules."""

from __future__ import annotations

from itertools import product

import pytest

from protocol.errors import WrongKeyLifecycleState
from protocol.messages.base import Request
from protocol.messages.kms.keys import (
    Activate,
    CreateKey,
    Destroy,
    GetAttributes,
    GetKeys,
    KeyState,
    Revoke,
)
from protocol.terms import KeyId, KmipState, RevocationReason
from services.kms.objects.key_row import Transition, has_material, revocation, state_after
from tests.services.kms.ports import OPERATOR, Server

# state:                (Activate, Revoke other, Revoke compromise, Destroy); None = refused
EXPECTED: dict[str, tuple[str | None, str | None, str | None, str | None]] = {
    "Pre-Active": ("Active", None, "Compromised", "Destroyed"),
    "Active": ("Active", "Deactivated", "Compromised", None),
    "Deactivated": (None, "Deactivated", "Compromised", "Destroyed"),
    "Compromised": (None, None, "Compromised", "Destroyed Compromised"),
    "Destroyed": (None, None, "Destroyed Compromised", "Destroyed"),
    "Destroyed Compromised": (None, None, "Destroyed Compromised", "Destroyed Compromised"),
}
TRANSITIONS = (
    Transition.ACTIVATE,
    Transition.DEACTIVATE,
    Transition.COMPROMISE,
    Transition.DESTROY,
)
WITH_MATERIAL = ("Pre-Active", "Active", "Deactivated", "Compromised")
CELLS = [(state, number, EXPECTED[state][number]) for state, number in product(EXPECTED, range(4))]

# How a key gets into a state, as operations of a client and an operator.
ROADS: dict[str, tuple[int, ...]] = {
    "Pre-Active": (),
    "Active": (0,),
    "Deactivated": (0, 1),
    "Compromised": (2,),
    "Destroyed": (3,),
    "Destroyed Compromised": (2, 3),
}


def test_table_is_whole() -> None:
    assert set(EXPECTED) == {state.value for state in KmipState}
    assert set(TRANSITIONS) == set(Transition)


@pytest.mark.parametrize(("state", "number", "expected"), CELLS)
def test_step(state: str, number: int, expected: str | None) -> None:
    found = state_after(KmipState(state), TRANSITIONS[number])
    assert (None if found is None else found.value) == expected


@pytest.mark.parametrize("state", EXPECTED)
def test_material(state: str) -> None:
    assert has_material(KmipState(state)) == (state in WITH_MATERIAL)


def test_revocation_reasons() -> None:
    compromise = {r for r in RevocationReason if revocation(r) is Transition.COMPROMISE}
    assert compromise == {RevocationReason.KEY_COMPROMISE, RevocationReason.CA_COMPROMISE}
    assert {revocation(r) for r in RevocationReason} == {
        Transition.COMPROMISE,
        Transition.DEACTIVATE,
    }


def operation(number: int, key_id: KeyId) -> Request[KeyState]:
    return (
        Activate(key_id=key_id),
        Revoke(key_id=key_id, reason=RevocationReason.SUPERSEDED),
        Revoke(key_id=key_id, reason=RevocationReason.KEY_COMPROMISE),
        Destroy(key_id=key_id),
    )[number]


async def do(server: Server, number: int, key_id: KeyId) -> KeyState:
    return await server.ask(operation(number, key_id), OPERATOR)


async def state_of(server: Server, key_id: KeyId) -> str:
    listed = await server.ask(GetAttributes(key_ids=(key_id,)))
    return listed.keys[0].state.value


@pytest.mark.parametrize(("state", "number", "expected"), CELLS)
async def test_step_on_a_server(
    server: Server, state: str, number: int, expected: str | None
) -> None:
    """The same table through the door: reply, attributes, material, and after a restart."""
    created = await server.ask(CreateKey(operation_id="1"))
    key_id = created.key_id
    for step in ROADS[state]:
        await do(server, step, key_id)
    assert await state_of(server, key_id) == state
    if expected is None:
        with pytest.raises(WrongKeyLifecycleState, match=state):
            await do(server, number, key_id)
        expected = state
    else:
        assert await do(server, number, key_id) == KeyState(
            key_id=key_id, state=KmipState(expected)
        )
    await server.boot()
    assert await state_of(server, key_id) == expected
    got = await server.ask(GetKeys(key_ids=(key_id,)))
    assert got.values[0].state == KmipState(expected)
    assert (got.values[0].index is not None) == (expected in WITH_MATERIAL)
    assert len(got.material.keys) == (expected in WITH_MATERIAL)


async def test_dates(server: Server) -> None:
    """Each step stamps its own date and Last Change Date; a step that changes nothing, none."""
    created = await server.ask(CreateKey(operation_id="1"))
    key_id, start = created.key_id, server.clock.wall
    for number in (0, 0, 1, 1, 2, 2, 3, 3):
        server.clock.wall += 1
        await do(server, number, key_id)
    listed = await server.ask(GetAttributes(key_ids=(key_id,)))
    key = listed.keys[0]
    assert key.state is KmipState.DESTROYED_COMPROMISED
    assert (key.initial_date, key.activation_date, key.deactivation_date) == (
        start,
        start + 1,
        start + 3,
    )
    assert (key.compromise_date, key.destroy_date) == (start + 5, start + 7)
    assert key.last_change_date == start + 7
