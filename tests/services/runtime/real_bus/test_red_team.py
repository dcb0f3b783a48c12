"""What a node's own key lets it do, and what the broker refuses, way by way."""

from __future__ import annotations

import pytest

from lab.brokers.identities import Identities
from lab.brokers.server import Broker
from protocol.terms import NodeName
from services.runtime.real.connection import BrokerConnection
from tests.services.runtime.real_bus.conftest import OpenWire
from tests.services.runtime.real_bus.listeners import Recorder, until

pytestmark = pytest.mark.lab


@pytest.mark.parametrize(
    "subject",
    ["l.c.b.q.Ping", "l.c.b._r.1", "e.c.Said", "l.b.a.q.Ping", "_INBOX.b.x", "b", "ctl.x", "l.x"],
)
async def test_a_node_cannot_publish_under_another_name(open_wire: OpenWire, subject: str) -> None:
    a, _ = await open_wire("a")
    b, heard = await open_wire("b")
    c, other = await open_wire("c")
    a.send(subject, b"forged", "l.b.a._r.1")
    await until(lambda: a.violations == 1, "the broker's refusal")
    a.send("l.a.b.q.Ping", b"honest")
    a.send("l.a.c.q.Ping", b"honest")
    await until(lambda: bool(heard.messages and other.messages), "the honest ones")
    assert heard.payloads() == other.payloads() == [b"honest"]
    assert (b.violations, c.violations) == (0, 0)
    assert a.connected  # a refusal does not cost the link


@pytest.mark.parametrize(
    "subject",
    [
        "l.*.b.>",
        ">",
        "l.>",
        "l.*.*.>",
        "l.*.*.q.Ping",
        "l.c.b.q.*",
        "e.>",
        "e.c.>",
        "_INBOX.>",
        "*",
    ],
)
async def test_a_node_cannot_listen_to_another(
    broker: Broker, identities: Identities, open_wire: OpenWire, subject: str
) -> None:
    spy = BrokerConnection(
        broker.url,
        identities.node(NodeName("a")).seed,
        name="spy",
        subjects=("l.*.a.>", subject),
        probe="l.a.a._r.ready",
    )
    overheard = Recorder()
    await spy.open(overheard)
    await until(lambda: spy.violations == 1, "the broker's refusal")
    c, _ = await open_wire("c")
    _, heard = await open_wire("b")
    c.send("l.c.b.q.Ping", b"secret")
    c.send("e.c.Said", b"secret")
    c.send("l.c.a.q.Fence", b"for a")
    await until(lambda: bool(heard.messages and overheard.messages), "both addressees")
    assert heard.payloads() == [b"secret"]
    assert overheard.payloads() == [b"for a"]
    spy.abort()


@pytest.mark.parametrize(
    "reply", ["l.b.c.q.DeleteKey", "l.b.c._r.1", "e.b.Said", "l.a.b._r.1", "l.c.a._r.1"]
)
async def test_a_forged_reply_subject_arrives_as_it_was_named(
    open_wire: OpenWire, reply: str
) -> None:
    """The broker cannot stop it: whoever answers must compare it with the sender's link."""
    a, _ = await open_wire("a")
    _, heard = await open_wire("b")
    a.send("l.a.b.q.Ping", b"answer there", reply)
    await until(lambda: bool(heard.messages), "the request")
    assert heard.messages == [("l.a.b.q.Ping", reply, b"answer there")]
    assert a.violations == 0


async def test_a_literal_wildcard_passes_no_wire(open_wire: OpenWire) -> None:
    """The server would take ``*`` inside the own space; the driver does not."""
    a, _ = await open_wire("a")
    with pytest.raises(Exception, match="not a valid subject"):
        a.send("l.a.*.q.Ping", b"")
