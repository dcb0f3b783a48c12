"""The gate of a machine: to a node's endpoint, and to nothing else."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import pytest_asyncio

from lab.machines import gate as module
from lab.machines.gate import Gate, open_gate
from lab.schema.errors import KeysteadError
from lab.topology.lab_file import load
from lab.topology.plan import plan
from protocol.terms import NodeName
from services.runtime.real.streams import GateAddresses, connect_through_gate, write_gate_addresses
from tests.lab.machines.conftest import lab_file

KMS = NodeName("kms")


@pytest_asyncio.fixture
async def gate(tmp_path: Path) -> AsyncIterator[Gate]:
    """Before the endpoint of ``kms``, who says everything back and ends with a last word at "!"."""
    (tmp_path / "doors").mkdir()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(1 << 16):
            writer.write(data)
            if data.endswith(b"!"):
                writer.write(b"the last word")
                break
        writer.close()

    proxy = await asyncio.start_unix_server(answer, tmp_path / "doors" / "kms")
    made = Gate(tmp_path)
    await made.listen("127.0.0.1", 0)
    yield made
    made.close()
    proxy.close()
    await asyncio.sleep(0.05)


async def ends(gate: Gate, node: str = KMS) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    made = await connect_through_gate(f"127.0.0.1:{gate.port}", NodeName(node))
    return await asyncio.open_connection(sock=made)


async def test_all_bytes_pass_and_the_last_word_arrives(gate: Gate) -> None:
    reader, writer = await ends(gate)
    sent = bytes(range(256)) * 4096
    writer.write(sent)
    assert await reader.readexactly(len(sent)) == sent
    writer.write(b"!")
    assert await asyncio.wait_for(reader.read(), 5) == b"!the last word"
    writer.close()
    async with asyncio.timeout(5):
        while gate._open:
            await asyncio.sleep(0.01)


@pytest.mark.parametrize("node", ["esxi-001", "../kms", "", "x" * 200])
async def test_who_names_no_endpoint_is_not_let_in(gate: Gate, node: str) -> None:
    with pytest.raises(OSError):
        await connect_through_gate(f"127.0.0.1:{gate.port}", NodeName(node))


async def test_a_connection_that_names_no_node_in_time_is_closed(
    gate: Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "NAMED_S", 0.1)
    reader, writer = await asyncio.open_connection("127.0.0.1", gate.port)
    assert await asyncio.wait_for(reader.read(), 5) == b"-"
    writer.close()


async def test_a_full_gate_ends_its_oldest_new_connection_for_the_next_one(
    gate: Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "NEW_S", 0.0)
    monkeypatch.setattr(module, "MOST", 4)
    old_reader, old = await ends(gate)
    async with asyncio.timeout(5):
        while gate._new:  # the first one is not new any more
            await asyncio.sleep(0.01)
    monkeypatch.setattr(module, "NEW_S", 60.0)
    strangers = [await ends(gate) for _ in range(6)]
    strangers += [await asyncio.open_connection("127.0.0.1", gate.port) for _ in range(6)]
    reader, writer = await ends(gate)
    for end, said in ((writer, reader), (old, old_reader)):
        end.write(b"hello")
        assert await asyncio.wait_for(said.readexactly(5), 5) == b"hello"
    for silent, _ in strangers[:6]:
        with suppress(ConnectionError):
            assert await asyncio.wait_for(silent.read(), 5) == b""
    for _, end in [*strangers, (reader, writer), (old_reader, old)]:
        end.close()
    async with asyncio.timeout(5):
        while gate._open:
            await asyncio.sleep(0.01)
    assert not gate._new


async def test_a_gate_full_of_proven_connections_lets_nobody_else_in(
    gate: Gate, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "NEW_S", 0.0)
    monkeypatch.setattr(module, "MOST", 1)
    reader, first = await ends(gate)
    async with asyncio.timeout(5):
        while gate._new:
            await asyncio.sleep(0.01)
    with pytest.raises(OSError):
        await ends(gate)
    first.write(b"hello")
    assert await asyncio.wait_for(reader.readexactly(5), 5) == b"hello"
    first.close()


def bundle(gate: str | None) -> Any:
    return SimpleNamespace(gate=gate, address="127.0.0.1:4333", machine="east")


async def test_it_is_at_the_port_of_before_or_where_the_file_says(tmp_path: Path) -> None:
    first, again, other = Gate(tmp_path), Gate(tmp_path), Gate(tmp_path)
    assert await open_gate(first, bundle(None), tmp_path) == "" and not first.port
    at = await open_gate(first, bundle(""), tmp_path)
    assert at == f"127.0.0.1:{first.port}"
    assert await open_gate(other, bundle("east.example:0"), tmp_path) != at, "it is taken"
    first.close()
    other.close()
    (tmp_path / "gate").write_text(str(first.port))
    assert await open_gate(again, bundle(""), tmp_path) == at
    again.close()
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        told = f"east.example:{taken.getsockname()[1]}"
        with pytest.raises(KeysteadError, match="machine east cannot listen at 127") as refused:
            await open_gate(Gate(tmp_path), bundle(told), tmp_path)
    assert refused.value.id == "KS-AGENT-012"
    named = Gate(tmp_path)
    assert await open_gate(named, bundle(told), tmp_path) == told
    named.close()


def test_where_nodes_stand_is_read_again_when_it_is_told_anew(tmp_path: Path) -> None:
    known = GateAddresses(tmp_path)
    write_gate_addresses(tmp_path, {})
    assert not list(tmp_path.iterdir()) and known.of(KMS) == ""
    write_gate_addresses(tmp_path, {"kms": "192.0.2.1:1"})
    assert known.of(KMS) == "192.0.2.1:1" and known.of(NodeName("vcenter")) == ""
    write_gate_addresses(tmp_path, {"kms": "192.0.2.1:2"})
    assert known.of(KMS) == "192.0.2.1:2"
    (tmp_path / "where.json").write_text("{")
    assert known.of(KMS) == "192.0.2.1:2"
    write_gate_addresses(tmp_path, {})
    assert known.of(KMS) == "" and json.loads((tmp_path / "where.json").read_text()) == {}


@pytest.mark.parametrize(
    ("address", "told"),
    [
        ("192.0.2.1:70000", "is no HOST:PORT"),
        ("a b", "is no HOST:PORT"),
        ("u@host", "no user"),
        ("", ""),
        ("host", "host:0"),
        ("[::1]", "[::1]:0"),
        ("host:5696", "host:5696"),
    ],
)
def test_an_address_in_the_lab_file(address: str, told: str) -> None:
    east = {"name": "east", "clusters": ["b"], "address": address}
    kms = [{"name": "kms", "transport": "kmip"}]
    if told.startswith(("is no", "no user")):
        with pytest.raises(KeysteadError, match=told):
            load(lab_file(machines=[east], kms=kms))
        return
    made = plan(load(lab_file(machines=[east], kms=kms)))
    assert made.machines[0].address == told and made.gates
    assert not plan(load(lab_file())).gates
    if address:
        with pytest.raises(KeysteadError, match="no key server has `transport: kmip`"):
            load(lab_file(machines=[east]))
