"""The control plane: typed calls, errors, events, permissions, and a broker that goes away."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from lab.brokers.configuration import BrokerKind
from lab.brokers.control_plane import CONTROL_OPTIONS, ControlClient, ControlServer
from lab.brokers.identities import CLI, SUPERVISOR, Identities
from lab.brokers.server import Broker
from protocol.errors import (
    Disconnected,
    Internal,
    InvalidState,
    NotAvailable,
    NotSent,
    ProductError,
    Refused,
    TimedOut,
)
from protocol.messages.agent import Answer, Ask, ListNodes, NodeList, NodeRecord, SetRules
from protocol.messages.base import NIL, Event, Reply
from protocol.messages.host.session import Done
from protocol.terms import NodeName
from services.runtime.incarnation import NodeDown
from services.runtime.multiplexer import Envelopes, Unsealed
from services.runtime.real.connection import BrokerConnection

pytestmark = pytest.mark.lab
AGENT = "agent-1"
LONG = 30.0

Connect = Callable[[str], Awaitable[ControlClient]]


@pytest.fixture
def identities(tmp_path: Path) -> Identities:
    return Identities.create(tmp_path, agents=2)


@pytest.fixture
async def broker(tmp_path: Path, identities: Identities) -> AsyncIterator[Broker]:
    made = Broker(tmp_path, identities, BrokerKind.CONTROL)
    await made.start()
    yield made
    await made.kill()


@pytest.fixture
async def connect(broker: Broker, identities: Identities) -> AsyncIterator[Connect]:
    clients: list[ControlClient] = []

    async def make(name: str) -> ControlClient:
        client = ControlClient(broker.url, identities.control(name).seed, name)
        clients.append(client)
        await client.open()
        return client

    yield make
    for client in clients:
        client.abort()


def record(kind: str, **fields: Any) -> NodeRecord:
    return NodeRecord(at=1.0, node=NodeName("a"), boot=1, level="info", kind=kind, fields=fields)


async def nodes(message: ListNodes, sender: str) -> NodeList:
    return NodeList(nodes=())


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(45):
        while not condition():
            await asyncio.sleep(0.005)


async def test_a_request_has_its_reply_with_its_type(connect: Connect) -> None:
    supervisor, agent = await connect(SUPERVISOR), await connect(AGENT)
    asked: list[tuple[Ask, str]] = []
    large = msgspec.Raw(msgspec.msgpack.encode(bytes(2_000_000)))

    async def ask(message: Ask, sender: str) -> Answer:
        asked.append((message, sender))
        return Answer(name="Pong", body=large)  # more than the data bus would carry

    await ControlServer(agent).serve({Ask: ask, ListNodes: nodes})
    message = Ask(node=NodeName("a"), name="Ping", body=msgspec.Raw(b"\xa2\r\n"), within_s=1.5)
    answer = await supervisor.request(AGENT, message, within_s=LONG)
    assert answer == Answer(name="Pong", body=large)
    assert asked == [(message, SUPERVISOR)]
    assert await supervisor.request(AGENT, ListNodes(), within_s=LONG) == NodeList(nodes=())


async def test_two_clients_of_one_name_ask_the_supervisor_and_each_hears_only_its_own(
    connect: Connect,
) -> None:
    supervisor = await connect(SUPERVISOR)

    async def ask(message: Ask, sender: str) -> Answer:
        return Answer(name=f"{sender}:{message.name}")

    await ControlServer(supervisor).serve({Ask: ask})
    clients = [await connect(name) for name in (CLI, CLI, CLI)]

    async def one(client: ControlClient, n: int) -> str:
        message = Ask(node=NodeName("a"), name=f"{n}", body=NIL, within_s=1.0)
        return (await client.request(SUPERVISOR, message, within_s=LONG)).name

    calls = [(client, n) for n in range(50) for client in clients]
    answers = await asyncio.gather(*(one(client, n) for client, n in calls))
    assert answers == [f"{client.name}:{n}" for client, n in calls]
    assert [client.counts.total() for client in clients] == [0, 0, 0]


@pytest.mark.parametrize(
    ("raised", "seen"),
    [
        (InvalidState("it is off"), InvalidState),
        (ValueError("a bug"), Internal),
        (NodeDown("gone"), Refused),
    ],
)
async def test_what_a_handler_raises_is_raised_by_the_request(
    connect: Connect, raised: BaseException, seen: type[ProductError]
) -> None:
    asyncio.get_running_loop().set_exception_handler(lambda *_: None)
    supervisor, agent = await connect(SUPERVISOR), await connect(AGENT)

    async def fail(message: ListNodes, sender: str) -> NodeList:
        raise raised

    await ControlServer(agent).serve({ListNodes: fail})
    with pytest.raises(seen) as caught:
        await supervisor.request(AGENT, ListNodes(), within_s=LONG)
    if seen is not Internal:
        assert str(raised) in str(caught.value)
    assert agent.counts["internal_errors"] == (seen is Internal)


async def test_a_reply_of_the_wrong_type_or_size_is_an_error(connect: Connect) -> None:
    asyncio.get_running_loop().set_exception_handler(lambda *_: None)
    supervisor, agent = await connect(SUPERVISOR), await connect(AGENT)

    async def wrong(message: ListNodes, sender: str) -> Reply:
        return Done()

    async def huge(message: Ask, sender: str) -> Answer:
        return Answer(body=msgspec.Raw(msgspec.msgpack.encode(bytes(5_000_000))))

    await ControlServer(agent).serve({ListNodes: wrong, Ask: huge})
    with pytest.raises(Internal):
        await supervisor.request(AGENT, ListNodes(), within_s=LONG)
    ask = Ask(node=NodeName("a"), name="", body=NIL, within_s=1.0)
    with pytest.raises(Internal, match="over the limit"):  # it has been done: no refusal
        await supervisor.request(AGENT, ask, within_s=LONG)


async def test_nobody_there_and_nobody_answering_are_told_apart(connect: Connect) -> None:
    supervisor, agent = await connect(SUPERVISOR), await connect(AGENT)
    with pytest.raises(Refused, match="agent-2"):
        await supervisor.request("agent-2", ListNodes(), within_s=LONG)

    async def never(message: ListNodes, sender: str) -> NodeList:
        await asyncio.Event().wait()
        raise AssertionError

    server = ControlServer(agent)
    await server.serve({ListNodes: never})
    with pytest.raises(TimedOut, match=r"agent-1 did not answer within 0\.1 s"):
        await supervisor.request(AGENT, ListNodes(), within_s=0.1)
    with pytest.raises(NotAvailable, match="does not serve this request"):
        await supervisor.request(AGENT, SetRules(epoch=1, rules=()), within_s=LONG)
    with pytest.raises(ValueError, match="none of"):
        await supervisor.request("kms", ListNodes(), within_s=LONG)
    await server.close()  # the one that waits for ever ends too


async def test_serving_twice_is_a_mistake_and_more_handlers_bring_no_copies(
    connect: Connect,
) -> None:
    supervisor, agent = await connect(SUPERVISOR), await connect(AGENT)
    calls = 0

    async def rules(message: SetRules, sender: str) -> Done:
        nonlocal calls
        calls += 1
        return Done()

    server = ControlServer(agent)
    await server.serve({ListNodes: nodes})
    await server.serve({SetRules: rules})
    with pytest.raises(TypeError, match="served already"):
        await server.serve({SetRules: rules})
    for epoch in range(5):
        await supervisor.request(AGENT, SetRules(epoch=epoch, rules=()), within_s=LONG)
    assert calls == 5


async def test_events_come_in_order_with_a_proven_sender(connect: Connect) -> None:
    cli, supervisor = await connect(CLI), await connect(SUPERVISOR)
    agents = [await connect("agent-1"), await connect("agent-2")]
    heard: list[tuple[str, Event]] = []
    await cli.subscribe_events(lambda sender, event: heard.append((sender, event)))
    await supervisor.subscribe_events(lambda sender, event: None)
    for n in range(200):
        for agent in agents:
            agent.publish(record("n", n=n))
    await until(lambda: len(heard) == 400)
    for agent in agents:
        mine = [event for sender, event in heard if sender == agent.name]
        assert mine == [record("n", n=n) for n in range(200)]


@pytest.mark.parametrize(
    "subject",
    [
        "ctl.supervisor.cli.PowerOn",
        "ctl.supervisor.agent-2.PowerOn",
        "ctl.agent.agent-2.supervisor.PowerOn",
        "ctl.agent.agent-1.supervisor.PowerOn",
        "ctl.event.agent-2.NodeRecord",
        "ctl.inbox.cli.agent-1.x.1",
        "ctl.supervisor.agent-1.RunCommand",
        "ctl.supervisor.cli.RunCommand",
        "ctl.agent.agent-2.agent-1.PowerOffNode",
        "ctl.inbox.supervisor.agent-2.x.1",
        "l.a.b.q.Ping",
    ],
)
async def test_an_agent_cannot_speak_as_another(
    broker: Broker, identities: Identities, subject: str
) -> None:
    wire = _raw(broker, identities, AGENT)
    await wire.open(ControlClient(broker.url, "", AGENT))
    wire.send(subject, b"")
    await until(lambda: wire.violations == 1)
    wire.abort()


@pytest.mark.parametrize(
    ("name", "subject"),
    [
        (AGENT, "ctl.event.>"),
        (AGENT, "ctl.agent.agent-2.>"),
        (AGENT, "ctl.inbox.supervisor.>"),
        (AGENT, ">"),
        (CLI, "ctl.supervisor.>"),
        (CLI, "ctl.agent.>"),
        (CLI, "ctl.inbox.supervisor.>"),
    ],
)
async def test_nobody_but_the_supervisor_listens_to_others(
    broker: Broker, identities: Identities, name: str, subject: str
) -> None:
    wire = _raw(broker, identities, name)
    await wire.open(ControlClient(broker.url, "", name))
    await wire.subscribe(subject)
    await until(lambda: wire.violations == 1)
    wire.abort()


def _raw(broker: Broker, identities: Identities, name: str) -> BrokerConnection:
    seed = identities.control(name).seed
    probe = f"ctl.probe.{name}.raw"
    return BrokerConnection(broker.url, seed, name=name, subjects=(probe,), probe=probe)


async def test_bytes_that_are_none_and_forged_replies_are_counted_and_dropped(
    broker: Broker, identities: Identities, connect: Connect
) -> None:
    supervisor = await connect(SUPERVISOR)
    ran: list[str] = []

    async def seen(message: ListNodes, sender: str) -> NodeList:
        ran.append(sender)
        return NodeList(nodes=())

    await ControlServer(supervisor).serve({ListNodes: seen})
    wire = _raw(broker, identities, CLI)
    await wire.open(ControlClient(broker.url, "", CLI))
    for payload in (b"", b"\xff" * 100, b"\x98", b"PUB"):
        wire.send("ctl.supervisor.cli.ListNodes", payload, "ctl.inbox.cli.supervisor.x.1")
    cli = await connect(CLI)
    honest = Envelopes(NodeName(CLI), 0, Unsealed()).request(
        1, NodeName(SUPERVISOR), ListNodes(), deadline=1e12, cause=""
    )
    # The reply would go to an agent, truly said by the supervisor.
    wire.send(
        "ctl.supervisor.cli.ListNodes",
        honest,
        "ctl.inbox.agent-1.supervisor.x.1",
    )
    await until(lambda: supervisor.counts.total() == 5)
    assert supervisor.counts == {"malformed": 4, "forged": 1}
    assert ran == []
    await cli.request(SUPERVISOR, ListNodes(), within_s=LONG)
    assert ran == [CLI]
    wire.abort()


async def test_what_the_broker_should_not_have_let_through_is_not_done(connect: Connect) -> None:
    """Who may ask is judged a second time; so is who speaks in an event, and what comes late."""
    supervisor = await connect(SUPERVISOR)
    ran: list[str] = []
    heard: list[str] = []

    async def seen(message: ListNodes, sender: str) -> NodeList:
        ran.append(sender)
        return NodeList(nodes=())

    await ControlServer(supervisor).serve({ListNodes: seen})
    await supervisor.subscribe_events(lambda sender, event: heard.append(sender))

    def said(sender: str, deadline: float) -> None:
        mine = Envelopes(NodeName(sender), 0, Unsealed())
        asked = mine.request(1, NodeName(SUPERVISOR), ListNodes(), deadline=deadline, cause="")
        reply_to = f"ctl.inbox.{sender}.supervisor.x.1"
        supervisor.on_message(f"ctl.supervisor.{sender}.ListNodes", reply_to, asked)

    said(AGENT, 1e12)
    assert supervisor.counts == {"forged": 1}
    said(CLI, 1.0)
    assert supervisor.counts == {"forged": 1, "late": 1}
    event = Envelopes(NodeName(AGENT), 0, Unsealed()).event(record("n"), cause="")
    supervisor.on_message("ctl.event.agent-2.NodeRecord", "", event)
    supervisor.on_message("ctl.event.agent-1.Progress", "", event)
    assert supervisor.counts == {"forged": 3, "late": 1}
    said(CLI, 1e12)
    await until(lambda: bool(ran))
    supervisor.on_message("ctl.event.agent-1.NodeRecord", "", event)
    assert (ran, heard) == ([CLI], [AGENT])


async def test_it_survives_the_brokers_return(broker: Broker, connect: Connect) -> None:
    supervisor, agent = await connect(SUPERVISOR), await connect(AGENT)
    entered = asyncio.Event()

    async def slow(message: Ask, sender: str) -> Answer:
        entered.set()
        await asyncio.Event().wait()
        raise AssertionError

    server = ControlServer(agent)
    await server.serve({Ask: slow, ListNodes: nodes})
    heard: list[Event] = []
    await supervisor.subscribe_events(lambda sender, event: heard.append(event))
    ask = Ask(node=NodeName("a"), name="", body=NIL, within_s=1.0)
    in_flight = asyncio.create_task(supervisor.request(AGENT, ask, within_s=LONG))
    await entered.wait()
    await broker.kill()
    with pytest.raises(Disconnected):
        await in_flight
    with pytest.raises(NotSent):
        await supervisor.request(AGENT, ListNodes(), within_s=0.1)
    await until(lambda: not agent.connected)
    agent.publish(record("lost"))
    assert agent.counts["events_lost"] == 1
    waiting = asyncio.create_task(supervisor.request(SUPERVISOR, ListNodes(), within_s=LONG))
    await asyncio.sleep(0)
    await ControlServer(supervisor).serve({ListNodes: nodes})  # while the link is away
    await broker.start()
    assert await waiting == NodeList(nodes=())
    await until(lambda: agent.connected)
    assert await supervisor.request(AGENT, ListNodes(), within_s=LONG) == NodeList(nodes=())
    agent.publish(record("after"))
    await until(lambda: heard == [record("after")])
    await server.close()


async def test_a_client_may_be_closed_at_any_moment_of_its_opening(
    broker: Broker, identities: Identities
) -> None:
    seed = identities.control(SUPERVISOR).seed
    for steps in range(25):
        client = ControlClient(broker.url, seed, SUPERVISOR)
        opening = asyncio.create_task(client.open())
        for _ in range(steps):
            await asyncio.sleep(0)
        await client.close()
        await asyncio.gather(opening, return_exceptions=True)
        assert not client.connected


async def test_calls_of_a_client_that_closes_end(connect: Connect) -> None:
    supervisor, agent = await connect(SUPERVISOR), await connect(AGENT)

    async def never(message: ListNodes, sender: str) -> NodeList:
        await asyncio.Event().wait()
        raise AssertionError

    server = ControlServer(agent)
    await server.serve({ListNodes: never})
    call = asyncio.create_task(supervisor.request(AGENT, ListNodes(), within_s=LONG))
    await until(lambda: bool(server._tasks))
    await supervisor.close()
    with pytest.raises(Disconnected):
        await call
    with pytest.raises(NotSent):
        await supervisor.request(AGENT, ListNodes(), within_s=LONG)
    await server.close()


def test_a_slow_machine_is_given_half_a_minute() -> None:
    assert CONTROL_OPTIONS.ping_interval_s * CONTROL_OPTIONS.max_outstanding_pings == 30


async def test_connections_that_prove_nothing_keep_nobody_out(
    broker: Broker, connect: Connect
) -> None:
    """The broker ends whoever has not signed within two seconds (docs/listeners.md)."""
    port = int(broker.url.rsplit(":", 1)[1])
    silent = [await asyncio.open_connection("127.0.0.1", port) for _ in range(1500)]
    async with asyncio.timeout(20):
        supervisor, agent = await connect(SUPERVISOR), await connect(AGENT)
        await ControlServer(agent).serve({ListNodes: nodes})
        assert await supervisor.request(AGENT, ListNodes(), within_s=LONG) == NodeList(nodes=())
        for reader, writer in silent:
            assert b"Authentication Timeout" in await reader.read()
            writer.close()
