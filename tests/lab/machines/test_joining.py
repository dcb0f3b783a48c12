"""``keystead agent join`` between its beginning and its end, with parts that the test moves."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest

from lab.members import joining
from lab.processes import agents as revival
from lab.schema.errors import KeysteadError


class Agents:
    """A fork server that ends when the test says so, and starts if it may."""

    def __init__(self) -> None:
        self.alive, self.starts, self.may = True, 0, True

    async def close(self) -> None:
        self.alive = False

    async def start(self, within_s: float) -> None:
        self.starts += 1
        if not self.may:
            raise KeysteadError("KS-INT-001", "no memory")
        self.alive = True


class Holding:
    """Held by nobody."""

    def __init__(self) -> None:
        self.refused: asyncio.Future[KeysteadError] = asyncio.get_running_loop().create_future()
        self.said: list[str] = []
        self.taken, self.silent_s, self.run, self.ended, self.epoch = False, 0.0, "r1", "", 0.0
        self.key, self.gate = b"", ""
        self.say, self.purged = self.said.append, asyncio.Event()

    async def watch(self) -> None:
        await asyncio.Event().wait()

    def look_back(self) -> None:
        pass

    def list_processes(self) -> tuple[()]:
        return ()


def until(agents: Agents, holding: Holding, client: Any, ended: asyncio.Event) -> Any:
    manifest = SimpleNamespace(lab="far", machine="east", id="i")
    bundle: Any = SimpleNamespace(manifest=manifest, digest="d")
    folder: Any = SimpleNamespace(holder="h")
    return joining._until(ended, agents, holding, bundle, folder, client)  # type: ignore[arg-type]


def link(connected: bool, trouble: str = "") -> Any:
    return SimpleNamespace(connected=connected, trouble=trouble, publish=lambda event: None)


async def test_a_fork_server_that_ends_is_started_again() -> None:
    agents, holding, ended = Agents(), Holding(), asyncio.Event()
    task = asyncio.create_task(until(agents, holding, link(True), ended))
    await asyncio.sleep(0.05)
    agents.alive = False
    async with asyncio.timeout(5):
        while not agents.starts:
            await asyncio.sleep(0.02)
    assert agents.alive and "the fork server has ended" in holding.said[0]
    ended.set()
    await asyncio.wait_for(task, 5)


async def test_one_that_cannot_be_had_again_is_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(revival, "PAUSES_S", (0.01,))
    agents, holding, ended = Agents(), Holding(), asyncio.Event()
    agents.alive = agents.may = False
    with pytest.raises(KeysteadError, match="fork server cannot be had again: no memory"):
        await asyncio.wait_for(until(agents, holding, link(True), ended), 5)


async def test_why_nobody_is_heard_is_told_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(joining, "SEEK_EVERY_S", 0.01)
    monkeypatch.setattr(joining, "SILENT_S", 0.03)
    agents, holding, ended = Agents(), Holding(), asyncio.Event()
    client = link(False, "[SSL: CERTIFICATE_VERIFY_FAILED] certificate verify failed")
    task = asyncio.create_task(until(agents, holding, client, ended))
    await asyncio.sleep(0.3)
    assert [text.split("; ")[0] for text in holding.said] == [
        "the lab far is not reached: what listens there has no certificate of this lab"
    ]
    client.trouble = "connection refused"
    await asyncio.sleep(0.1)
    assert "connection refused" in holding.said[1] and len(holding.said) == 2
    client.connected = True
    await asyncio.sleep(0.1)
    assert holding.said[2:] == ["the lab far is reached again"]
    ended.set()
    await asyncio.wait_for(task, 5)


async def test_an_agent_whose_bundle_was_replaced_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(joining, "SEEK_EVERY_S", 0.01)
    monkeypatch.setattr(joining, "SILENT_S", 0.03)
    client = link(False, "nats: 'Authorization Violation'")
    with pytest.raises(KeysteadError, match="a newer one has taken its place") as refused:
        await asyncio.wait_for(until(Agents(), Holding(), client, asyncio.Event()), 5)
    assert refused.value.id == "KS-AGENT-004"
