"""vCenter's sessions with a key server: which connections, which messages, what is forgiven."""

from __future__ import annotations

import asyncio
from typing import cast

import pytest

from protocol.errors import Disconnected, GeneralFailure, ProductError, Refused, TimedOut
from protocol.kmip import dialect
from protocol.kmip.enums import ResultReason, State
from protocol.kmip.message import RequestItem, ResponseItem
from services.keyservers.kmip_sessions import IDLE_S, Dialogue, SessionStep
from services.runtime.ports import Clock
from tests.services.keyservers.scripted import QuickClock, ScriptedServer, value_of

PRODUCT = [(name, "vSphere") for name in dialect.PRODUCT]
DV = "DiscoverVersions"


def talk(server: ScriptedServer, steps: list[SessionStep], *, pooled: bool = False) -> Dialogue:
    return Dialogue(
        server.connect,
        cast(Clock, QuickClock()),
        within_s=5,
        pooled=pooled,
        on_step=steps.append,
    )


@pytest.fixture
def server() -> ScriptedServer:
    return ScriptedServer()


@pytest.fixture
def steps() -> list[SessionStep]:
    return []


@pytest.fixture
def vcenter(server: ScriptedServer, steps: list[SessionStep]) -> Dialogue:
    return talk(server, steps)


async def test_a_key_takes_four_connections_and_sixteen_messages(
    server: ScriptedServer, steps: list[SessionStep], vcenter: Dialogue
) -> None:
    uid = await vcenter.create()
    assert await vcenter.tag(uid, PRODUCT)
    used = await vcenter.use(uid)
    assert await vcenter.tag(uid, [(name, "x") for name in dialect.USE])
    assert used == (value_of(uid), State.ACTIVE)
    looked = [f"GetAttributes({name})" for name in dialect.PRODUCT]
    assert server.connections[:3] == [
        [DV, "Create"],
        [DV, *looked, *["AddAttribute"] * 3],
        [DV, "Get", "GetAttributes(State)", "Activate"],
    ]
    assert len(server.connections) == 4
    assert sum(step.name != "TLS handshake" for step in steps) == 16
    assert server.open == 0


async def test_adding_a_server_takes_seven_connections(
    server: ScriptedServer, vcenter: Dialogue
) -> None:
    await vcenter.add_server()
    assert sorted(server.connections) == sorted([[], [DV, DV], [], [DV, "Query"], [], [DV, DV], []])
    assert server.open == 0


async def test_health_is_a_probe_and_a_session(server: ScriptedServer, vcenter: Dialogue) -> None:
    assert await vcenter.health() == ("1.1",)
    assert server.connections == [[], [DV, DV]]


async def test_an_active_key_is_not_activated_again(
    server: ScriptedServer, vcenter: Dialogue
) -> None:
    server.keys["k"] = State.ACTIVE
    assert (await vcenter.use("k")).state is State.ACTIVE
    assert await vcenter.activate("k") is State.ACTIVE
    assert "Activate" not in [name for messages in server.connections for name in messages]


@pytest.mark.parametrize("no", ["AddAttribute", "GetAttributes"])
async def test_tags_that_are_refused_are_forgiven(
    server: ScriptedServer, steps: list[SessionStep], vcenter: Dialogue, no: str
) -> None:
    """PyKMIP's server knows no Add Attribute, and vCenter uses it all the same."""
    uid = await vcenter.create()
    server.refuses[no] = ResultReason.OPERATION_NOT_SUPPORTED
    assert not await vcenter.tag(uid, PRODUCT)
    assert "Operation Not Supported" in steps[-1].error
    assert (await vcenter.use(uid)).state is State.ACTIVE
    assert server.open == 0


@pytest.mark.parametrize("no", ["Get", "State", "Activate"])
async def test_what_use_needs_is_not_forgiven(
    server: ScriptedServer, vcenter: Dialogue, no: str
) -> None:
    server.keys["k"] = State.PRE_ACTIVE
    server.refuses[no] = ResultReason.PERMISSION_DENIED
    with pytest.raises(dialect.OperationFailed, match="Permission Denied"):
        await vcenter.use("k")
    assert server.open == 0


async def test_a_key_of_another_length_is_not_used(
    server: ScriptedServer, steps: list[SessionStep], vcenter: Dialogue
) -> None:
    server.keys["k"], server.key_size = State.ACTIVE, 16
    with pytest.raises(GeneralFailure, match="256 bits"):
        await vcenter.use("k")
    assert "256 bits" in steps[-1].error
    assert server.open == 0


@pytest.mark.parametrize(
    ("trouble", "error", "text"),
    [
        ("down", Refused, "nobody"),
        ("silent", TimedOut, "within 5 s"),
        ("garbage", Disconnected, "no answer"),
    ],
)
async def test_a_server_that_does_not_answer_is_one_error(
    server: ScriptedServer,
    steps: list[SessionStep],
    vcenter: Dialogue,
    trouble: str,
    error: type[ProductError],
    text: str,
) -> None:
    setattr(server, trouble, True)
    with pytest.raises(error, match=text):
        await vcenter.create()
    assert text in steps[-1].error
    assert server.open == 0


async def test_pooled_keeps_a_connection(server: ScriptedServer, steps: list[SessionStep]) -> None:
    vcenter = talk(server, steps, pooled=True)
    uid = await vcenter.create()
    await vcenter.tag(uid, PRODUCT)
    await vcenter.use(uid)
    [messages] = server.connections
    assert messages.count(DV) == 1
    assert server.open == 1
    vcenter.close()
    assert server.open == 0


async def test_a_connection_that_failed_is_not_kept(
    server: ScriptedServer, steps: list[SessionStep]
) -> None:
    vcenter = talk(server, steps, pooled=True)
    with pytest.raises(dialect.OperationFailed):
        await vcenter.use("nobody's")
    assert server.open == 0
    await vcenter.create()
    assert len(server.connections) == 2


async def test_a_connection_that_was_idle_for_long_is_not_used(
    server: ScriptedServer, steps: list[SessionStep], monkeypatch: pytest.MonkeyPatch
) -> None:
    vcenter = talk(server, steps, pooled=True)
    await vcenter.create()
    late = QuickClock().monotonic() + IDLE_S
    monkeypatch.setattr(QuickClock, "monotonic", lambda _: late)
    await vcenter.create()
    assert len(server.connections) == 2
    assert server.open == 1


@pytest.mark.parametrize("act", ["use", "state", "activate"])
async def test_an_answer_about_another_key_is_none(
    server: ScriptedServer, vcenter: Dialogue, act: str
) -> None:
    """The value of one key must never be taken for that of another."""
    server.keys["k"], server.mistaken = State.PRE_ACTIVE, True
    with pytest.raises(Disconnected, match="another key"):
        await getattr(vcenter, act)("k")
    assert server.open == 0


async def test_a_kept_connection_that_the_server_has_ended_is_made_anew(
    server: ScriptedServer, steps: list[SessionStep]
) -> None:
    """A server that was restarted answers: it is not one that is down."""
    vcenter = talk(server, steps, pooled=True)
    uid = await vcenter.create()
    server.lives += 1
    assert (await vcenter.use(uid)).state is State.ACTIVE
    assert server.connections[1] == [DV, "Get", "GetAttributes(State)", "Activate"]
    assert server.open == 1


async def test_a_connection_that_breaks_in_use_is_not_made_anew(
    server: ScriptedServer, steps: list[SessionStep], monkeypatch: pytest.MonkeyPatch
) -> None:
    vcenter = talk(server, steps, pooled=True)
    uid = await vcenter.create()
    answered = server.answer

    def ended(item: RequestItem) -> ResponseItem:
        server.lives += "Get" in server.connections[-1]
        return answered(item)

    monkeypatch.setattr(server, "answer", ended)
    with pytest.raises(Disconnected, match="before it had answered"):
        await vcenter.use(uid)
    assert (len(server.connections), server.open) == (1, 0)


async def test_what_is_closed_keeps_no_connection(
    server: ScriptedServer, steps: list[SessionStep]
) -> None:
    """One that was in use when the dialogue was closed is not kept afterwards."""
    vcenter = talk(server, steps, pooled=True)
    making = asyncio.create_task(vcenter.create())
    while not server.open:
        await asyncio.sleep(0)
    vcenter.close()
    await making
    assert server.open == 0
