"""Dates that change a state by themselves, and a whole life of keys against a plain model."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    rule,
    run_state_machine_as_test,
)

from protocol.attributes import Attribute
from protocol.errors import InvalidField, PermissionDenied, ProductError
from protocol.terms import KeyId, KmipState, RevocationReason
from services.kms.objects import request_types as r
from services.kms.objects.key_row import rank, state_at
from tests.services.kms.core_rig import do, made, value
from tests.services.kms.ports import Server

P, A, D = KmipState.PRE_ACTIVE, KmipState.ACTIVE, KmipState.DEACTIVATED


def date(name: str, value: float) -> Attribute:
    return Attribute(name=name, value=value)


@pytest.mark.parametrize("state", KmipState)
@pytest.mark.parametrize(
    ("activation", "deactivation", "pre", "active"),
    [
        (None, None, P, A),
        (5.0, None, A, A),
        (10.0, None, A, A),
        (10.5, None, P, A),
        (None, 5.0, P, D),
        (5.0, 10.0, D, D),
        (5.0, 11.0, A, A),
        (11.0, 12.0, P, A),
    ],
)
def test_at(
    state: KmipState,
    activation: float | None,
    deactivation: float | None,
    pre: KmipState,
    active: KmipState,
) -> None:
    """At 10: a date is reached when it is there. Other states have no date ahead."""
    found, since = state_at(state, activation, deactivation, 10.0)
    assert found is {P: pre, A: active}.get(state, state)
    assert (since == 0.0) == (found is state)


async def test_a_key_activates_and_deactivates_by_itself(server: Server) -> None:
    now = server.clock.wall
    key_id = await made(
        server, date("Activation Date", now + 10), date("Deactivation Date", now + 20)
    )
    seen = []
    for _ in range(3):
        active = await do(
            server, r.LocateObjects(attributes=(Attribute(name="State", value="Active"),))
        )
        state = await value(server, key_id, "State")
        changed = await value(server, key_id, "Last Change Date")
        seen.append((state, active.total, changed))
        server.clock.wall += 10
    assert seen == [
        ("Pre-Active", 0, now),
        ("Active", 1, now + 10),
        ("Deactivated", 0, now + 20),
    ]
    with pytest.raises(ProductError):
        await do(server, r.ActivateObject(unique_identifier=key_id))
    await server.boot()
    assert await value(server, key_id, "State") == "Deactivated"
    await do(server, r.DestroyObject(unique_identifier=key_id))


async def test_an_activation_date_that_is_past_is_an_active_key(server: Server) -> None:
    created = await do(server, r.Create(attributes=(date("Activation Date", 5.0),)))
    assert created.state is KmipState.ACTIVE
    key_id = await made(server)
    request = r.AddObjectAttribute(unique_identifier=key_id, attribute=date("Activation Date", 5.0))
    await do(server, request)
    assert await value(server, key_id, "State") == "Active"


async def test_a_date_that_has_come_stays(server: Server) -> None:
    """KMIP 1.4 sections 3.25 to 3.27: else a key whose time is over would encrypt again."""
    now = server.clock.wall
    key_id = await made(server)
    await do(server, r.ActivateObject(unique_identifier=key_id))
    for name in ("Protect Stop Date", "Deactivation Date"):
        await do(
            server, r.AddObjectAttribute(unique_identifier=key_id, attribute=date(name, now + 5))
        )
    server.clock.wall += 5
    for name in ("Protect Stop Date", "Deactivation Date"):
        later = r.ModifyObjectAttribute(unique_identifier=key_id, attribute=date(name, now + 50))
        with pytest.raises(PermissionDenied):
            await do(server, later)


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("Activation Date", "Process Start Date"),
        ("Activation Date", "Deactivation Date"),
        ("Protect Stop Date", "Deactivation Date"),
    ],
)
async def test_dates_are_in_their_order(server: Server, first: str, second: str) -> None:
    """Equal ones too, whichever of them is set last."""
    for earlier, later, name, moved in (
        (5e9, 4e9, second, None),
        (5e9, 5e9, first, 6e9),
        (5e9, 5e9, second, 4e9),
    ):
        key_id = await made(server, date(first, earlier))
        add = r.AddObjectAttribute(unique_identifier=key_id, attribute=date(second, later))
        if moved is None:
            with pytest.raises(InvalidField):
                await do(server, add)
            continue
        await do(server, add)
        with pytest.raises(InvalidField):
            moving = r.ModifyObjectAttribute(unique_identifier=key_id, attribute=date(name, moved))
            await do(server, moving)


@pytest.mark.parametrize("way", ["the clock goes back", "deactivation was past"])
async def test_dates_out_of_order_refuse_nothing_else(server: Server, way: str) -> None:
    """Nobody has set them so: it came by itself, and what is asked is another attribute."""
    now = server.clock.wall
    key_id = await made(server)
    if way == "the clock goes back":
        await do(server, r.ActivateObject(unique_identifier=key_id))
        server.clock.wall -= 50
        await do(server, r.RevokeObject(unique_identifier=key_id))
    else:
        past = date("Deactivation Date", now - 5)
        await do(server, r.AddObjectAttribute(unique_identifier=key_id, attribute=past))
        told = await do(server, r.ActivateObject(unique_identifier=key_id))
        assert told.state is D, "what is told is what everybody is told afterwards"
    assert await value(server, key_id, "State") == "Deactivated"
    x = Attribute(name="x-a", value="1")
    await do(server, r.AddObjectAttribute(unique_identifier=key_id, attribute=x))


class Lives(RuleBasedStateMachine):
    """One key, whatever is asked of it and however time goes: what is told is what KMIP says."""

    @initialize()
    def begin(self) -> None:
        self.loop = asyncio.new_event_loop()
        self.server = Server()
        self.run(self.server.boot())
        self.key: KeyId = self.run(made(self.server))
        self.state = P
        self.dates: dict[str, float | None] = {"Activation Date": None, "Deactivation Date": None}
        self.x: dict[int, str] = {}
        self.highest = 0

    def teardown(self) -> None:
        if hasattr(self, "loop"):
            for connection in self.server.platter.databases.values():
                connection.close()
            self.loop.close()

    def run(self, work: Any) -> Any:
        return self.loop.run_until_complete(work)

    def tried(self, request: Any) -> bool:
        try:
            self.run(do(self.server, request))
        except ProductError:
            return False
        return True

    @property
    def now(self) -> float:
        return self.server.clock.wall

    def settle(self) -> None:
        """Rules of the documentation, written again."""
        started, ended = self.dates["Activation Date"], self.dates["Deactivation Date"]
        if self.state is P and started is not None and started <= self.now:
            self.state = A
        if self.state is A and ended is not None and ended <= self.now:
            self.state = D

    @rule(seconds=st.sampled_from([1.0, 7.0]))
    def time_goes(self, seconds: float) -> None:
        self.server.clock.wall += seconds
        self.settle()

    @rule()
    def restart(self) -> None:
        self.run(self.server.boot())

    @rule()
    def activate(self) -> None:
        assert self.tried(r.ActivateObject(unique_identifier=self.key)) is (self.state is P)
        if self.state is P:
            self.state, self.dates["Activation Date"] = A, self.now
        self.settle()

    @rule()
    def deactivate(self) -> None:
        assert self.tried(r.RevokeObject(unique_identifier=self.key)) is (self.state is A)
        if self.state is A:
            self.state, self.dates["Deactivation Date"] = D, self.now

    @rule()
    def compromise(self) -> None:
        to = {
            KmipState.DESTROYED: KmipState.DESTROYED_COMPROMISED,
            KmipState.COMPROMISED: None,
            KmipState.DESTROYED_COMPROMISED: None,
        }.get(self.state, KmipState.COMPROMISED)
        request = r.RevokeObject(unique_identifier=self.key, reason=RevocationReason.KEY_COMPROMISE)
        assert self.tried(request) is (to is not None)
        self.state = to or self.state

    @rule()
    def destroy(self) -> None:
        to = {
            P: KmipState.DESTROYED,
            D: KmipState.DESTROYED,
            KmipState.COMPROMISED: KmipState.DESTROYED_COMPROMISED,
        }.get(self.state)
        assert self.tried(r.DestroyObject(unique_identifier=self.key)) is (to is not None)
        self.state = to or self.state

    @rule(
        name=st.sampled_from(["Activation Date", "Deactivation Date"]),
        ahead=st.sampled_from([0.0, 3.0, 9.0]),
    )
    def set_date(self, name: str, ahead: float) -> None:
        attribute = date(name, self.now + ahead)
        there = self.dates[name] is not None
        kind = r.ModifyObjectAttribute if there else r.AddObjectAttribute
        dates = self.dates | {name: self.now + ahead}
        started, ended = dates.values()
        may = self.state in ((P,) if name == "Activation Date" else (P, A))
        may = may and (started is None or ended is None or started <= ended)
        may = may and (not there or (self.dates[name] or 0.0) > self.now)
        assert self.tried(kind(unique_identifier=self.key, attribute=attribute)) is may
        if may:
            self.dates = dates
        self.settle()

    @rule(text=st.sampled_from("abc"))
    def add(self, text: str) -> None:
        attribute = Attribute(name="x-a", value=text)
        may = text not in self.x.values()
        request = r.AddObjectAttribute(unique_identifier=self.key, attribute=attribute)
        assert self.tried(request) is may
        if may:
            self.x[max(self.x, default=-1) + 1] = text

    @rule(index=st.integers(0, 2))
    def delete(self, index: int) -> None:
        request = r.DeleteObjectAttribute(unique_identifier=self.key, name="x-a", index=index)
        assert self.tried(request) is (index in self.x)
        self.x.pop(index, None)

    @invariant()
    def it_is_told(self) -> None:
        if not hasattr(self, "key"):
            return
        asked = r.GetObjectAttributes(unique_identifiers=(self.key,), names=("x-a",))
        [told] = self.run(do(self.server, asked)).objects
        assert told.state is self.state
        dates = (told.activation_date, told.deactivation_date)
        assert dates == tuple(self.dates.values())
        assert {one.index: one.value for one in told.attributes} == self.x
        assert rank(told.state) >= self.highest, "a state went down"
        self.highest = rank(told.state)
        [got] = self.run(do(self.server, r.Get(unique_identifiers=(self.key,)))).keys
        assert (got.material is None) is (rank(self.state) >= rank(KmipState.DESTROYED))
        state = Attribute(name="State", value=self.state.value)
        located = self.run(do(self.server, r.LocateObjects(attributes=(state,))))
        assert located.unique_identifiers == (self.key,)


@pytest.mark.slow
def test_whole_lives() -> None:
    run_state_machine_as_test(
        Lives,
        settings=settings(
            max_examples=40,
            stateful_step_count=25,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
