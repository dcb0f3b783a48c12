"""A bus on servers that somebody else runs: what their administrator loads, and what is refused."""

from __future__ import annotations

import asyncio
import json
import socket
import struct
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from lab.brokers import foreign_servers
from lab.brokers.bus_servers import bus_of
from lab.brokers.foreign_servers import ForeignServers, broker_config, ensure_keys
from lab.brokers.identities import Identities
from lab.client import Lab
from lab.local.broker_config import text_for, write_new_file
from lab.schema.commands import VmCreate
from lab.schema.errors import KeysteadError
from lab.topology.lab_file import SHIPPED, load
from lab.topology.plan import Topology, plan
from protocol.errors import NotAvailable, NotSent
from protocol.terms import NodeName
from services.runtime.incarnation import Incarnation
from services.runtime.real.bus import NatsWire
from services.runtime.real.connection import BrokerConnection
from tests.lab.brokers.theirs import Theirs, certificate, greeter
from tests.services.runtime.real_bus.listeners import Recorder

pytestmark = pytest.mark.lab
MakeServer = Callable[..., Any]


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("KEYSTEAD_STATE_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(foreign_servers, "LISTEN_S", 0.3)
    monkeypatch.setattr(foreign_servers, "PATIENCE_S", 1.5)


@pytest.fixture
async def serve(tmp_path: Path) -> AsyncIterator[MakeServer]:
    made: list[Theirs] = []

    async def start(accounts: str, more: str = "") -> Theirs:
        made.append(Theirs(tmp_path / f"server-{len(made)}", accounts, more))
        return await made[-1].start()

    yield start
    for server in made:
        await server.stop()


def of(url: str, **more: str) -> Topology:
    return plan(load("default", name="far", hosts=1, vms=0, tpm="none", bus={"url": url, **more}))


def config() -> str:
    return broker_config(of("nats://127.0.0.1:4222"))


async def started(tmp_path: Path, *urls: str, **more: str) -> tuple[ForeignServers, list[str]]:
    told: list[str] = []
    _, bus = bus_of(tmp_path / "lab", of(",".join(urls), **more), told.append)
    assert isinstance(bus, ForeignServers)
    try:
        await bus.start()
    except BaseException:
        bus.abort()
        raise
    return bus, told


async def refused(tmp_path: Path, *urls: str, **more: str) -> tuple[str, str]:
    with pytest.raises(KeysteadError) as caught:
        await started(tmp_path, *urls, **more)
    return caught.value.id, str(caught.value)


@pytest.mark.slow
async def test_what_is_loaded_lets_the_lab_in_and_is_public(
    tmp_path: Path, serve: MakeServer
) -> None:
    text = config()
    assert text == config(), "the same keys again"
    kept = ensure_keys("far")
    seeds = [kept.node(node).seed for node, _ in kept.node_nkeys()]
    assert len(seeds) == 3 and not [seed for seed in seeds if seed in text]
    assert kept.control("tap").seed not in text
    server = await serve(text)
    bus, told = await started(tmp_path, server.url)
    assert bus.answers and not told
    with pytest.raises(NotAvailable):
        await bus.stop_one(1)
    with pytest.raises(KeysteadError) as caught:
        await bus.admit(NodeName("esxi-002"))
    assert caught.value.id == "KS-BROKER-007" and "broker-config -n far" in caught.value.fix
    await bus.stop()
    for _ in range(200):
        if not (left := await server.connections()):
            break
        await asyncio.sleep(0.01)
    assert left == 0, "nothing of a lab that is down is left there"
    assert "esxi-002" in config(), "who came later is in the next one"


async def test_nobody_answers_or_something_else_does(tmp_path: Path) -> None:
    config()
    other = await greeter(b"220 mail ready\r\n")
    port = other.sockets[0].getsockname()[1]
    id, text = await refused(tmp_path, "nats://127.0.0.1:1", f"nats://127.0.0.1:{port}")
    other.close()
    assert id == "KS-BROKER-004"
    assert "127.0.0.1:1 does not answer" in text and f"{port} is no nats-server" in text


@pytest.mark.parametrize(
    ("greeting", "id", "told"),
    [
        ({"version": "2.9.22", "max_payload": 1 << 20, "nonce": "x"}, "006", "2.9.22, older"),
        ({"version": "2.10.1", "max_payload": 1024, "nonce": "x"}, "006", "1024 bytes at most"),
        ({"version": "2.10.1", "max_payload": 1 << 20}, "007", "knows no nkeys"),
    ],
)
async def test_a_server_that_will_not_do(
    tmp_path: Path, greeting: dict[str, Any], id: str, told: str
) -> None:
    config()
    old = await greeter(b"INFO " + json.dumps(greeting).encode() + b"\r\n")
    found = await refused(tmp_path, f"nats://127.0.0.1:{old.sockets[0].getsockname()[1]}")
    old.close()
    assert found[0] == f"KS-BROKER-{id}" and told in found[1]


@pytest.mark.slow
async def test_tls_is_of_the_authority_that_is_named(tmp_path: Path, serve: MakeServer) -> None:
    right, wrong = certificate(tmp_path, "right"), certificate(tmp_path, "wrong")
    key = right.with_suffix(".key")
    server = await serve(config(), f'tls {{ cert_file: "{right}", key_file: "{key}" }}')
    clear = await serve(config())
    address = f"tls://127.0.0.1:{server.port}"
    for url, more, told in (
        (server.url, {}, "takes TLS only"),
        (f"tls://127.0.0.1:{clear.port}", {"authority": str(right)}, "does not require TLS"),
        (address, {"authority": str(wrong)}, "self-signed certificate"),
        (address, {"authority": str(tmp_path / "none.pem")}, "No such file"),
        (address, {"authority": str(server.config)}, "no certificate in PEM"),
    ):
        id, text = await refused(tmp_path, url, **more)
        assert id == "KS-BROKER-005" and told in text, text
    bus, _ = await started(tmp_path, address, authority=str(right))
    assert bus.answers
    await bus.stop()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("days", "told"), [(-1, "certificate has expired"), (4, "certificate is not yet valid")]
)
async def test_a_certificate_that_is_not_valid_now_has_a_fix_of_its_own(
    tmp_path: Path, serve: MakeServer, days: int, told: str
) -> None:
    pem = certificate(tmp_path, "old", until=days)
    server = await serve(
        config(), f'tls {{ cert_file: "{pem}", key_file: "{pem.with_suffix(".key")}" }}'
    )
    with pytest.raises(KeysteadError) as caught:
        await started(tmp_path, f"tls://127.0.0.1:{server.port}", authority=str(pem))
    assert caught.value.id == "KS-BROKER-011" and told in str(caught.value)
    assert "new certificate" in caught.value.fix and "clock" in caught.value.fix


@pytest.mark.slow
@pytest.mark.parametrize("most", [1, 2, 3])
async def test_a_server_that_takes_too_few_connections_says_so_itself(
    tmp_path: Path, serve: MakeServer, most: int
) -> None:
    """The lab has three nodes and who watches; it was told that a node does not start."""
    server = await serve(config(), f"max_connections: {most}")
    id, text = await refused(tmp_path, server.url)
    assert (id, text.startswith(server.url)) == ("KS-BROKER-010", True), text
    assert "takes no more connections" in text and "3 nodes" in text


@pytest.mark.slow
async def test_a_server_whose_words_are_lost_at_most_dials_is_believed_at_one(
    tmp_path: Path,
) -> None:
    """It closes with ours unread, so the kernel throws away what it said before."""
    config()
    dials = 0

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal dials
        info = {"version": "2.10.1", "max_payload": 1 << 20, "nonce": "x", "server_id": "s"}
        writer.write(b"INFO " + json.dumps(info).encode() + b"\r\n")
        if not (await reader.readline()).startswith(b"CONNECT"):
            writer.transport.abort()
            return
        dials += 1
        if dials == 2:
            writer.write(b"-ERR 'maximum account active connections exceeded'\r\n")
            await writer.drain()
            await reader.read()
        writer.get_extra_info("socket").setsockopt(
            socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0)
        )
        writer.transport.abort()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    try:
        found = await refused(tmp_path, f"nats://127.0.0.1:{server.sockets[0].getsockname()[1]}")
    finally:
        server.close()
        await asyncio.sleep(0.1)  # connections end at both ends
    assert found[0] == "KS-BROKER-010" and dials > 2, (found, dials)


@pytest.mark.slow
async def test_a_server_that_takes_just_enough_will_do(tmp_path: Path, serve: MakeServer) -> None:
    server = await serve(config(), "max_connections: 4")
    bus, told = await started(tmp_path, server.url)
    assert bus.answers and not told
    nodes = [Incarnation(NodeName(name), 1) for name in ("kms", "vcenter", "esxi-001")]
    wires = [NatsWire(server.url, ensure_keys("far").node(n.node).seed, n) for n in nodes]
    for wire in wires:
        await wire.open(Recorder())
    with pytest.raises(KeysteadError) as caught:
        await bus._probing.one(NodeName("kms"))  # as of one that has lost its link
    assert caught.value.id == "KS-BROKER-010" and "3 nodes" in str(caught.value)
    for wire in wires:
        wire.abort()
    await bus.stop()


@pytest.mark.slow
async def test_an_account_that_takes_too_few_is_told_as_well(
    tmp_path: Path, serve: MakeServer
) -> None:
    limited = config().replace("users: [", "limits: { max_connections: 2 }\n  users: [", 1)
    assert limited != config()
    id, text = await refused(tmp_path, (await serve(limited)).url)
    assert id == "KS-BROKER-010", text


@pytest.mark.slow
@pytest.mark.parametrize(
    ("old", "new", "id", "told"),
    [
        ("U", "", "KS-BROKER-007", "does not know tap"),
        ('"l.kms.>", "e.kms.>"', '"l.>", "e.kms.>"', "KS-BROKER-008", "kms may speak as others"),
        ('"l.kms.>", "e.kms.>"', '"l.kms.>", "e.>"', "KS-BROKER-008", "kms may tell as others"),
        ('"l.kms.>", "e.kms.>"', '"l.kms.>"', "KS-BROKER-008", "kms may not tell"),
        ('"l.kms.>", "e.kms.>"', '"e.kms.>"', "KS-BROKER-008", "kms may not hear"),
        ('"l.*.kms.>"', '"l.>"', "KS-BROKER-008", "kms may hear what is for others"),
        ('"l.>", "e.>"', '"l.>"', "KS-BROKER-008", "the tap may not hear"),
        ('publish: { deny: [ ">" ] }', 'publish: "l.>"', "KS-BROKER-008", "the tap may speak"),
    ],
)
async def test_more_or_less_than_was_asked_for(
    tmp_path: Path, serve: MakeServer, old: str, new: str, id: str, told: str
) -> None:
    text = config()
    text = "KEYSTEAD-far: { users: [ ] }" if old == "U" else text.replace(old, new)
    server = await serve(text)
    found = await refused(tmp_path, server.url)
    if old == "U":
        assert found[0] == id
    else:
        assert found[0] == id and told in found[1], found


@pytest.mark.parametrize("heard_late", [False, True])
async def test_what_is_not_permitted_at_several_servers_is_named(
    tmp_path: Path, serve: MakeServer, monkeypatch: pytest.MonkeyPatch, heard_late: bool
) -> None:
    """Also where a server on a busy machine says so too late: who was heard with one subject, and
    nowhere with the other, may not say it."""
    if heard_late:

        async def late(connection: BrokerConnection) -> None:
            raise NotSent("late")

        monkeypatch.setattr(BrokerConnection, "echo", late)
    text = config().replace('"l.kms.>", "e.kms.>"', '"l.kms.>"')
    servers = [await serve(text), await serve(text)]
    id, told = await refused(tmp_path, *(server.url for server in servers))
    assert id == "KS-BROKER-008" and "kms may not tell e.kms.>" in told, (id, told)


async def test_two_servers_without_routes_are_not_one_bus(
    tmp_path: Path, serve: MakeServer
) -> None:
    servers = [await serve(config()), await serve(config())]
    id, text = await refused(tmp_path, *(server.url for server in servers))
    assert id == "KS-BROKER-009" and "at another server" in text


async def test_another_lab_in_the_account_is_heard(tmp_path: Path, serve: MakeServer) -> None:
    server = await serve(config())
    node = NodeName("kms")
    seed = ensure_keys("far").node(node).seed
    wire = NatsWire(server.url, seed, Incarnation(node, 1))
    await wire.open(Recorder())
    bus, _ = await started(tmp_path, server.url)  # one that is silent is not heard
    await bus.stop()
    talk = [True]

    async def listen() -> None:
        while talk:
            wire.send("l.kms.vcenter.q.Ping", b"")
            await asyncio.sleep(0.05)

    speaking = asyncio.create_task(listen())
    id, text = await refused(tmp_path, server.url)
    speaking.cancel()
    wire.abort()
    assert id == "KS-BROKER-009" and "speaks in the account of this lab already: kms" in text


def test_keys_at_servers_of_others_outlive_the_lab_and_sealing_keys_do_not(tmp_path: Path) -> None:
    topology = of("nats://127.0.0.1:4222")
    first, _ = bus_of(tmp_path / "one", topology, print)
    again, _ = bus_of(tmp_path / "two", topology, print)
    node = NodeName("kms")
    assert first.node(node).seed == again.node(node).seed == ensure_keys("far").node(node).seed
    raw = [made.node(node).sealing.private_bytes_raw() for made in (first, again)]
    assert raw[0] != raw[1]
    assert Identities.load(tmp_path / "one").node(node).public in config()


async def test_a_lab_lives_there_under_tls(tmp_path: Path, serve: MakeServer) -> None:
    pem = certificate(tmp_path, "right")
    server = await serve(
        config(), f'tls {{ cert_file: "{pem}", key_file: "{pem.with_suffix(".key")}" }}'
    )
    bus = {"url": f"tls://127.0.0.1:{server.port}", "authority": str(pem)}
    async with Lab("lab", name="far", hosts=1, vms=0, tpm="none", pace=60, seed=3, bus=bus) as lab:
        await lab.do(VmCreate("one", encrypted=True, host="esxi-001"))
        with pytest.raises(KeysteadError, match="run by somebody else"):
            await lab.fault("broker.restart")
        assert await server.connections() == 4, "three nodes and who watches"


def test_the_file_is_printed_for_a_lab_that_is_not_there_yet(tmp_path: Path) -> None:
    lab_file = tmp_path / "far.yaml"
    shipped = (SHIPPED / "default.yaml").read_text()
    lab_file.write_text(f"{shipped}bus: nats://a:1\n")
    text = text_for("second", str(lab_file), {"hosts": 5})
    assert "  KEYSTEAD-second: {" in text and '"l.esxi-005.>"' in text
    assert text_for("second", str(lab_file), {"hosts": 5}) == text
    write_new_file(tmp_path / "out.conf", text)
    with pytest.raises(KeysteadError, match="is there already"):
        write_new_file(tmp_path / "out.conf", text)
    with pytest.raises(KeysteadError, match="there is no lab third"):
        text_for("third", "", {})


def test_a_place_of_the_bus_is_told_where_it_is_wrong() -> None:
    for bus, told in (
        ("nats://host", "is no HOST:PORT"),
        ("http://host:1", "is no address of a bus"),
        ("nats://a:1,tls://b:1", "are reached by nats://"),
        ("nats://u:p@a:1", "no user and no password"),
        ("nats://a:1,A:01", "each address once"),
        ("nats://a..b:1", "is no HOST:PORT"),
        ("nats://a\n:1", "is no HOST:PORT"),
        ("nats://[a]:1", "is no HOST:PORT"),
        ("nats://[::1/x]:1", "is no HOST:PORT"),
        ({"servers": 3, "url": "nats://a:1"}, "by their addresses"),
        ({"servers": 9}, "less than or equal to 5"),
        ({"authority": "/ca.pem"}, "reached by tls://"),
        ({"url": "tls://a:1", "authority": "ca.pem"}, "absolute path"),
        ({"account": "X"}, "for servers that somebody else runs"),
        ({"url": "nats://a:1", "account": "a.b"}, "begins with a letter"),
    ):
        with pytest.raises(KeysteadError, match=told):
            load("default", bus=bus)
    made = plan(load("default", name="far", bus="tls://a:1, b:2,tls://[::1]:3")).bus
    assert made.urls == ("tls://a:1", "tls://b:2", "tls://[::1]:3")
    assert msgspec.structs.asdict(made)["account"] == "KEYSTEAD-far"
