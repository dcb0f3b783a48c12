"""Clients whose filters say the same: what they get is found and written once."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec
import pytest

pytest.importorskip("pyVmomi")

from pyVmomi import vim, vmodl

from benchmarks import vsphere as requests
from benchmarks.vsphere_server import LargeLab
from lab.vsphere import soap
from lab.vsphere.service import ApiCall, ApiServer
from lab.vsphere.soap import newest, read_call, write_answer
from lab.vsphere.vim import collector
from protocol.authorization import ADMINISTRATOR

pytestmark = pytest.mark.sim
VMS, CLIENTS = 20, 10
VERSION = newest("8.0.3.0")


class _Counts:
    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.collected = self.written = 0
        collect, serialize = collector.collect, soap._Writer._SerializeDataObject

        def count_collected(*arguments: Any) -> Any:
            self.collected += 1
            return collect(*arguments)

        def count_written(writer: Any, value: Any, *arguments: Any) -> Any:
            self.written += isinstance(value, collector.PC.ObjectUpdate)
            return serialize(writer, value, *arguments)

        monkeypatch.setattr(collector, "collect", count_collected)
        monkeypatch.setattr(soap._Writer, "_SerializeDataObject", count_written)


def test_equal_filters_are_evaluated_and_written_once(monkeypatch: pytest.MonkeyPatch) -> None:
    counts = _Counts(monkeypatch)

    async def ask(server: ApiServer, session: Any, body: str) -> str:
        call = read_call(requests._envelope(body), VERSION)
        kind, object_id = server.references["propertyCollector"]
        found = await ApiCall(server, session).call(kind(object_id), call.name, call.arguments)
        return write_answer(call, found).decode()

    async def play() -> None:
        lab = LargeLab(VMS, virtual=True)
        server = ApiServer(lab, "large", "secret")
        await server.refresh()
        filter_ = requests._retrieve("CreateFilter", ("runtime.powerState",))
        sessions = [server.sessions.open(ADMINISTRATOR) for _ in range(CLIENTS)]
        for session in sessions:
            await ask(server, session, filter_ + requests._END_FILTER)
        assert counts.collected == 1
        versions = []
        for session in sessions:
            text = await ask(server, session, requests._wait(""))
            assert text.count("<objectSet>") == VMS == text.count("poweredOn")
            versions.append(requests._version(text))
        assert counts.written == VMS
        lab.toggle(3)
        server.watch.forget()
        for session, version in zip(sessions, versions, strict=True):
            text = await ask(server, session, requests._wait(version))
            assert text.count("<objectSet>") == 1 and "poweredOff" in text
        assert counts.written == VMS + 1 and counts.collected == 2

    asyncio.run(play())


@pytest.mark.parametrize("ends", ["collector", "session"])
def test_a_wait_is_cancelled_with_its_collector_and_with_its_session(ends: str) -> None:
    async def play() -> None:
        server = ApiServer(LargeLab(VMS, virtual=False), "large", "secret")
        await server.refresh()
        session = server.sessions.open(ADMINISTRATOR)
        call = ApiCall(server, session)
        kind, object_id = server.references["propertyCollector"]
        own = await call.call(kind(object_id), "CreatePropertyCollector", {})
        waits = asyncio.ensure_future(call.call(own, "WaitForUpdatesEx", {}))
        await asyncio.sleep(0.05)
        assert not waits.done()
        if ends == "collector":
            await call.call(own, "DestroyPropertyCollector", {})
        elif session is not None:
            server.sessions.end(session)
        with pytest.raises(vmodl.fault.RequestCanceled):
            await asyncio.wait_for(waits, 5)

    asyncio.run(play())


def test_the_second_of_two_waits_at_a_collector_does_not_cancel_the_first() -> None:
    """The product advises against two, and documents no refusal: each change is given to one."""

    async def play() -> None:
        server = ApiServer(lab := LargeLab(VMS, virtual=False), "large", "secret")
        await server.refresh()
        call = ApiCall(server, server.sessions.open(ADMINISTRATOR))
        kind, object_id = server.references["propertyCollector"]
        own = kind(object_id)
        filter_ = requests._retrieve("CreateFilter", ("runtime.powerState",))
        body = requests._envelope(filter_ + requests._END_FILTER)
        await call.call(own, "CreateFilter", read_call(body, VERSION).arguments)
        first = await call.call(own, "WaitForUpdatesEx", {})
        known = {"version": first.version}
        waits = [asyncio.ensure_future(call.call(own, "WaitForUpdatesEx", known)) for _ in "12"]
        await asyncio.sleep(0.05)
        assert not any(one.done() for one in waits)
        lab.toggle(1)
        done, left = await asyncio.wait(waits, timeout=5, return_when=asyncio.FIRST_COMPLETED)
        assert [one.result().version for one in done] == ["2"] and len(left) == 1
        lab.toggle(2)
        assert (await asyncio.wait_for(left.pop(), 5)).version == "3"

    asyncio.run(play())


def test_a_call_of_a_session_that_vcenter_forgets_meanwhile_is_refused() -> None:
    async def play() -> None:
        server = ApiServer(lab := LargeLab(VMS, virtual=False), "large", "secret")
        await server.refresh()
        call = ApiCall(server, server.sessions.open(ADMINISTRATOR))
        assert await call.call(server.root, "Fetch", {"prop": "name"}) == "Datacenters"
        lab.nodes = (msgspec.structs.replace(lab.nodes[0], boot=2),)
        server.watch.forget()
        with pytest.raises(vim.fault.NotAuthenticated):
            await call.call(server.root, "Fetch", {"prop": "name"})

    asyncio.run(play())
