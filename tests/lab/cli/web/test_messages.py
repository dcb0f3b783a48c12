"""The pane of what travels: chosen by node and kind, and never a key."""

from __future__ import annotations

import html
import json
from typing import Any

import pytest

from lab.cli.watch.web.messages import read_choice, travelling
from lab.client import Lab
from lab.core import LabCore
from lab.local.vsphere import of_lab
from lab.scan.search import SearchedPlace
from lab.schema import commands as c
from lab.schema.errors import KeysteadError
from lab.topology.lab_file import load
from lab.vsphere.executor import Serial, ServedCall
from tests.lab.cli.web.asking import server_for, simulated

pytestmark = pytest.mark.sim


def told(body: bytes) -> list[dict[str, Any]]:
    lines = [line for line in body.splitlines() if line.startswith(b"data: ")]
    return [json.loads(line.removeprefix(b"data: ")) for line in lines]


async def search(lab: LabCore, data: bytes) -> tuple[int, list[str]]:
    """How many secrets the lab knows, and which of them lie in these bytes."""
    assert lab.watch is not None
    found = lab.watch.search_places([SearchedPlace("page", "answer", data)])
    return found.secrets, list(found.leaks) + list(found.hits)


async def test_no_key_is_in_any_byte_that_the_page_received() -> None:
    file = load("default", hosts=2, vms=2, key_persistence=True).model_dump(by_alias=True)
    file["kms"][0]["transport"] = "kmip"
    async with Lab("sim", topology=file, seed=7, watched=True) as lab:
        server = server_for(Serial(of_lab(lab)))
        await lab.do(c.GetMessages())
        await lab.do(c.VmRecrypt("vm-01", deep=False))
        await lab.reboot("esxi-002")
        bus = await server.ask("/messages", None, b"AddKeys")
        kmip = await server.ask("/messages?kind=kmip", None, b"data: ")
        bodies = [bus.body, kmip.body]
        paths = ("/", "/metrics", "/why?of=host:esxi-001", "/why?of=vm:vm-01", "/live.js")
        bodies += [(await server.ask(path)).body for path in paths]
        server.looker.stop()
        text = html.unescape("".join(one["html"] for one in told(bus.body)))
        assert "sealed keys: fp:" in text and "AddKeys" in text
        assert "Create" in kmip.text and "AddKeys" not in kmip.text
        secrets, found = await lab.beside(search, b"\n".join([*bodies, text.encode()]))
        assert secrets > 10 and found == []
        (some, *_) = await lab.beside(known_secrets)
        _, planted = await lab.beside(search, text.encode() + some.hex().encode())
        assert planted, "the search finds a key in the form that a page would show"


async def known_secrets(lab: LabCore) -> list[bytes]:
    assert lab.watch is not None
    return [secret for secret, kind in lab.watch.secrets.items() if len(secret) == 32][:1]


async def test_a_stream_that_is_lost_goes_on_behind_its_last_message() -> None:
    async with simulated(hosts=2, vms=1, tpm="none") as server:
        lab = server.looker.lab
        await lab.do(c.GetMessages())
        await lab.do(c.VmRecrypt("vm-01"))
        first = await server.ask("/messages?node=kms", None, b"CreateKey")
        (last,) = [line for line in first.text.splitlines() if line.startswith("id: ")]
        number = int(last.removeprefix("id: ").partition(".")[0])
        assert number > 0 and "AddKeys" not in first.text
        await lab.do(c.VmRecrypt("vm-01"))
        again = await server.ask("/messages", None, b"VmState", last_event_id=f"{number}.0")
        assert again.text.count(" CreateKey") == 1
        wrong = await server.ask("/messages?node=esxi-009", None, b"data: ")
        assert "KS-USE-002" in told(wrong.body)[0]["error"]


@pytest.mark.parametrize("query", [{"kind": "secret"}, {"last": "x"}, {"last": "1"}])
def test_a_wrong_choice_is_refused(query: dict[str, str]) -> None:
    with pytest.raises(KeysteadError, match=r"kind secret|Last-Event-ID"):
        read_choice(query, query.get("last", ""))


async def test_calls_of_clients_are_shown_beside_the_messages() -> None:
    async with simulated(hosts=1, vms=1, tpm="none") as server:
        looker = server.looker
        wall: Any = await looker.lab.look(c.GetClock())
        calls = [
            ServedCall(1, wall.time, "alice", "vcenter", "Login", "SessionManager", "InvalidLogin"),
            ServedCall(2, wall.time, "bob", "vcenter", "PowerOffVM_Task", "vm-1", ""),
        ]
        for kind, node, shown in (
            ("soap", "", 2),
            ("soap", "bob", 1),
            ("reply", "", 0),
            ("", "", 2),
        ):
            rows = await first_of(looker, {"kind": kind, "node": node}, calls)
            assert rows.count("k-soap") == shown
        whole = await first_of(looker, {"kind": "soap"}, calls)
        assert "InvalidLogin" in whole and whole.index("PowerOffVM_Task") < whole.index("Login")


async def first_of(looker: Any, query: dict[str, str], calls: list[ServedCall]) -> str:
    stream: Any = travelling(looker, read_choice(query, ""), calls)
    try:
        one = await anext(stream)
    finally:
        await stream.aclose()
    return told(one)[0]["html"] if one.startswith(b"id") else ""
