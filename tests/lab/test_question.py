"""A plain ``get``: what it prints, how little it imports, and when it asks the longer way."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest

from lab.brokers.configuration import BrokerKind
from lab.brokers.control_plane import ControlClient, ControlServer
from lab.brokers.identities import SUPERVISOR, Identities
from lab.brokers.server import Broker
from lab.cli.invocation import Format
from lab.cli.plain_get import parse
from lab.local.direct_query import ask
from lab.schema.answers import Vm, VmList
from lab.schema.commands import GetVms
from lab.schema.errors import KeysteadError
from lab.schema.wire import CommandDone, RunCommand, decode_command, encode_answer
from lab.state.state_folder import LabFolder
from protocol.errors import NotAvailable
from protocol.terms import ClusterName, NodeName, PowerState, VmConnectionState, VmName

pytestmark = pytest.mark.lab
HEAVY = ("asyncio", "cryptography", "cyclopts", "jinja2", "nats", "pydantic", "rich", "subprocess")
"""Each takes as long to import as the lab takes to answer, or longer."""

Handler = Callable[[RunCommand], CommandDone]


def vms(number: int) -> VmList:
    def vm(place: int) -> Vm:
        return Vm(
            vm=VmName(f"vm-{place:02}"),
            cluster=ClusterName("cluster-a"),
            host=NodeName("esxi-001"),
            power=PowerState.ON,
            connection=VmConnectionState.CONNECTED,
        )

    return VmList(items=tuple(map(vm, range(1, number + 1))))


class Supervisor:
    """One that answers commands by ``handler``."""

    def __init__(self) -> None:
        self.asked: list[RunCommand] = []
        self.handler: Handler = lambda _: CommandDone(answer=encode_answer(vms(2)))
        self.leave: Callable[[], Awaitable[None]]

    async def run(self, message: RunCommand, sender: str) -> CommandDone:
        self.asked.append(message)
        return self.handler(message)


@pytest.fixture
async def supervisor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Supervisor]:
    for name in ("KEYSTEAD_OUTPUT", "KEYSTEAD_NAME", "KEYSTEAD_VCENTER", "KEYSTEAD_USER"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("KEYSTEAD_STATE_HOME", str(tmp_path))
    folder, made = LabFolder("default"), Supervisor()
    with folder.lock():
        identities = Identities.create(folder.path)
        broker = Broker(folder.path, identities, BrokerKind.CONTROL)
        await broker.start()
        client = ControlClient(broker.url, identities.control(SUPERVISOR).seed, SUPERVISOR)
        await client.open()
        await ControlServer(client).serve({RunCommand: made.run})
        folder.note_supervisor(serving=True)
        made.leave = client.close
        yield made
        client.abort()
        await broker.kill()


async def test_a_plain_get_imports_nothing_heavy(supervisor: Supervisor) -> None:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-X", "importtime", "-m", "lab.cli.main", "get", "vms"),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env={**os.environ, "NO_COLOR": "1"},
    )
    out, err = map(bytes.decode, await process.communicate())
    assert out.splitlines()[0].split()[:2] == ["VM", "HOST"] and out.count("vm-0") == 2, err
    lines = [line for line in err.splitlines() if line.startswith("import time:")]
    imported = {line.rpartition("|")[2].strip().split(".")[0] for line in lines}
    assert "msgspec" in imported and imported.isdisjoint(HEAVY)
    assert [decode_command(one.command) for one in supervisor.asked] == [GetVms()]


async def test_the_answer_or_the_error_of_the_lab(supervisor: Supervisor) -> None:
    many = vms(3000)  # arrives in several parts
    supervisor.handler = lambda _: CommandDone(answer=encode_answer(many))
    assert await asyncio.to_thread(ask, "default", GetVms(), "vc-2", "anna") == many
    assert (supervisor.asked[0].vcenter, supervisor.asked[0].user) == ("vc-2", "anna")
    supervisor.handler = lambda _: CommandDone(error_id="KS-USE-002", error="gone", fix="look")
    with pytest.raises(KeysteadError, match="gone") as error:
        await asyncio.to_thread(ask, "default", GetVms())
    assert (error.value.id, error.value.fix) == ("KS-USE-002", "look")


async def test_whatever_is_unusual_is_left_to_the_longer_way(
    supervisor: Supervisor, tmp_path: Path
) -> None:
    def refuse(_: RunCommand) -> CommandDone:
        raise NotAvailable("not now")

    assert await asyncio.to_thread(ask, "other", GetVms()) is None  # there is no such lab
    supervisor.handler = refuse
    assert await asyncio.to_thread(ask, "default", GetVms()) is None
    identity = tmp_path / "labs" / "default" / "identity" / "control" / "cli.json"
    identity.write_text(identity.read_text().replace('"seed":"SU', '"seed":"SA'))
    assert await asyncio.to_thread(ask, "default", GetVms()) is None  # the broker knows no such key
    assert len(supervisor.asked) == 1


async def test_a_command_that_nobody_serves_yet_is_left_to_the_longer_way(
    supervisor: Supervisor,
) -> None:
    """A broker that was started again answers before the supervisor has found it."""
    await supervisor.leave()
    async with asyncio.timeout(10):
        assert await asyncio.to_thread(ask, "default", GetVms()) is None
    assert supervisor.asked == []


@pytest.mark.parametrize(
    ("line", "asked"),
    [
        ("get vms", ("vms", [], "default", Format.TABLE, False)),
        ("get vm a b -o json -n second", ("vm", ["a", "b"], "second", Format.JSON, False)),
        ("get hosts -q a", ("hosts", ["a"], "default", Format.NAME, True)),
        ("get hosts -q -o yaml", ("hosts", [], "default", Format.YAML, True)),
        ("get hosts -o wide -q", ("hosts", [], "default", Format.NAME, True)),
    ],
)
def test_which_lines_are_plain(line: str, asked: tuple[object, ...]) -> None:
    found = parse(line.split())
    assert found is not None
    assert (found.noun, found.names, found.name, found.output, found.quiet) == asked


@pytest.mark.parametrize(
    "line",
    ["get", "get -h", "get vms --help", "get vms -w", "get vms -o", "get vms -o xml", "get vms -n",
     "get vms -n -q", "vm list", "get vms --vcenter b", "get vms -ojson"],
)  # fmt: skip
def test_which_lines_are_not(line: str) -> None:
    assert parse(line.split()) is None


@pytest.mark.parametrize("name", ["KEYSTEAD_OUTPUT", "KEYSTEAD_VCENTER", "KEYSTEAD_USER"])
def test_a_variable_that_changes_what_is_asked(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name, "json")
    assert parse(["get", "vms"]) is None
