"""Who comes to a TLS proxy of another lab, or with a key that is not known, hears that it was
refused, and is not told to look at the network."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest
import pytest_asyncio

from lab.brokers.configuration import BrokerKind
from lab.brokers.identities import CLI, Identities
from lab.brokers.server import Broker
from lab.local.remote import Remote
from lab.machines import listening
from lab.machines.access import attach
from lab.machines.attached import Access
from lab.machines.bundle import read
from lab.machines.issuing import issue
from lab.machines.listening import Address, TlsProxy, find_address
from lab.members import joining
from lab.members.holding import JoinedFolder
from lab.schema.errors import KeysteadError
from lab.state.state_folder import LabFolder

pytestmark = pytest.mark.lab


@pytest_asyncio.fixture
async def proxy(tmp_path: Path) -> AsyncIterator[Path]:
    """The folder of a lab ``other`` whose TLS proxy is open, with its control broker behind it."""
    folder = tmp_path / "other"
    identities = Identities.create(folder)
    control, proxy = (
        Broker(folder, identities, BrokerKind.CONTROL),
        TlsProxy(folder, "other", Address("127.0.0.1", 0)),
    )
    await control.start()
    await proxy.start({"control": control.url})
    yield folder
    await proxy.stop()
    await control.stop()


def access(folder: Path, address: object = None, seed: str = "", authority: str = "") -> bytes:
    """What gives access to the lab in ``folder``, or does not."""
    return msgspec.json.encode(
        Access(
            lab="other",
            address=str(address or find_address(folder)),
            seed=seed or Identities.load(folder).control(CLI).seed,
            authority=authority or (folder / "tls-proxy" / "ca.pem").read_text(),
        )
    )


async def refused(data: bytes) -> tuple[str, str, str]:
    attach(data, "known")
    with pytest.raises(KeysteadError) as caught:
        async with Remote(LabFolder("known")):
            pass
    return caught.value.id, str(caught.value), caught.value.fix


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KEYSTEAD_STATE_HOME", str(tmp_path / "home"))


@pytest.mark.slow
async def test_a_key_that_the_lab_does_not_know(proxy: Path, tmp_path: Path) -> None:
    stranger = Identities.create(tmp_path / "stranger").control(CLI).seed
    attach(access(proxy), "right")
    async with Remote(LabFolder("right")) as lab:
        assert lab.client.connected
    id, text, fix = await refused(access(proxy, seed=stranger))
    assert id == "KS-AGENT-011" and "answered at" in text and "does not know the key" in text
    assert "new file" in fix and "port" not in fix


@pytest.mark.slow
async def test_the_proxy_of_another_lab(proxy: Path, tmp_path: Path) -> None:
    made, _ = listening.ensure_proxy_certificate(tmp_path / "third", "third")
    authority = (made.parent / "ca.pem").read_text()
    id, text, fix = await refused(access(proxy, authority=authority))
    assert id == "KS-AGENT-011" and "no certificate of this lab" in text and "new file" in fix


@pytest.mark.slow
async def test_something_that_is_no_proxy_and_nobody(proxy: Path) -> None:
    async def greet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(64)
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        await reader.read()
        writer.close()

    other = await asyncio.start_server(greet, "127.0.0.1", 0)
    try:
        id, text, _ = await refused(access(proxy, f"127.0.0.1:{other.sockets[0].getsockname()[1]}"))
    finally:
        other.close()
    assert id == "KS-AGENT-011" and "no TLS port of a lab" in text, text
    id, text, fix = await refused(access(proxy, "127.0.0.1:1"))
    assert id == "KS-AGENT-006" and "not reached at 127.0.0.1:1: " in text and "port" in fix


@pytest.mark.slow
async def test_an_agent_with_a_bundle_of_another_lab(
    proxy: Path, folder: LabFolder, tmp_path: Path
) -> None:
    """As when a lab was made anew at the same address: its authority is another one."""
    path = tmp_path / "east.bundle"
    issue("far", "east", path, str(find_address(proxy)), 60.0)
    bundle = read(path)
    joined = JoinedFolder(bundle)
    holding: Any = SimpleNamespace(page=SimpleNamespace(supervisor_time=time.monotonic))
    with pytest.raises(KeysteadError, match="no certificate of this lab") as caught:
        await joining._open_client(bundle, joined, f"nats://{bundle.manifest.address}", holding)
    joined.close()
    assert caught.value.id == "KS-AGENT-011" and "port is open" not in caught.value.fix
