"""Commands over the control broker to a supervisor that says what its script says."""

from __future__ import annotations

import asyncio
import contextlib
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from lab.brokers.configuration import BrokerKind
from lab.brokers.control_plane import ControlClient, ControlServer
from lab.brokers.identities import SUPERVISOR, Identities
from lab.brokers.server import Broker
from lab.local.remote import Remote
from lab.schema.answers import FaultList
from lab.schema.commands import GetFaults
from lab.schema.errors import KeysteadError
from lab.schema.wire import CommandDone, RunCommand, decode_command, encode_answer
from lab.state.scratch import state_home
from lab.state.state_folder import LabFolder, LabRecord
from lab.topology.lab_file import load

pytestmark = pytest.mark.lab


@contextlib.contextmanager
def named(folder: LabFolder) -> Iterator[int]:
    """A process that the folder takes for the lab's supervisor; its pid."""
    words = ["-c", "print(flush=True); input()", "lab.supervise.supervisor", folder.name]
    words += ["5", "3", str(state_home())]
    child = subprocess.Popen([sys.executable, *words], stdin=-1, stdout=-1)
    try:
        assert child.stdout is not None and child.stdout.readline() == b"\n"
        folder.write("supervisor", str(child.pid).encode())
        yield child.pid
    finally:
        child.communicate(b"\n")


class Running:
    """A lab that runs, as its folder and its control broker tell; ``done`` is what it answers.

    Without ``done`` it works on a command for ever; a lab that is ``beginning`` takes none.
    """

    def __init__(self, folder: LabFolder) -> None:
        self.folder = folder
        self.done: CommandDone | None = None
        self.asked: list[object] = []
        self.at_work = asyncio.Event()
        self.pid = 0
        self.lock = contextlib.ExitStack()  # held while the lab runs
        self.identities = Identities.create(folder.path, agents=1)
        self.broker = Broker(folder.path, self.identities, BrokerKind.CONTROL)

    async def serve(self, message: RunCommand, sender: str) -> CommandDone:
        self.asked.append(decode_command(message.command))
        self.at_work.set()
        if self.done is None:
            await asyncio.Event().wait()
        assert self.done is not None
        return self.done

    def end(self) -> None:
        """As after ``down``; the broker is there a while longer."""
        self.lock.close()
        self.folder.forget_supervisor()


@pytest.fixture
async def beginning(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Running]:
    """Its broker is there, and nobody behind it."""
    monkeypatch.setenv("KEYSTEAD_STATE_HOME", str(tmp_path))
    folder = LabFolder("one")
    folder.make()
    file = load("default").model_dump(mode="json")
    folder.save(LabRecord(name="one", file=file, seed=1, wall=0.0))
    made = Running(folder)
    with made.lock, named(folder) as made.pid:
        made.lock.enter_context(folder.lock())
        await made.broker.start()
        yield made
        await made.broker.kill()


@pytest.fixture
async def running(beginning: Running) -> AsyncIterator[Running]:
    """It takes commands."""
    seed = beginning.identities.control(SUPERVISOR).seed
    client = ControlClient(beginning.broker.url, seed, SUPERVISOR)
    await client.open()
    server = ControlServer(client)
    await server.serve({RunCommand: beginning.serve})
    beginning.folder.write("supervisor", f"{beginning.pid} serving".encode())
    yield beginning
    await server.close()
    client.abort()


async def failure(lab: Remote) -> KeysteadError:
    with pytest.raises(KeysteadError) as caught:
        await lab.do(GetFaults())
    return caught.value


async def test_an_answer_comes_with_its_type(running: Running) -> None:
    running.done = CommandDone(answer=encode_answer(FaultList(items=())))
    async with Remote(running.folder) as lab:
        assert await lab.do(GetFaults()) == FaultList(items=())
    assert running.asked == [GetFaults()]


async def test_a_refusal_arrives_whole(running: Running) -> None:
    running.done = CommandDone(error_id="KS-USE-002", error="there is none", fix="look first")
    async with Remote(running.folder) as lab:
        error = await failure(lab)
    assert (error.id, str(error), error.fix) == ("KS-USE-002", "there is none", "look first")


async def test_a_lab_that_ends_while_it_works_is_noticed(running: Running) -> None:
    async with Remote(running.folder) as lab, asyncio.timeout(30):
        asked = asyncio.get_running_loop().create_task(failure(lab))
        await running.at_work.wait()
        assert not asked.done()
        running.end()
        error = await asked
    assert error.id == "KS-LAB-007" and "the lab one has gone" in str(error)


async def test_a_broker_that_ends_while_the_lab_works_leaves_it_open(running: Running) -> None:
    async with Remote(running.folder) as lab, asyncio.timeout(30):
        asked = asyncio.get_running_loop().create_task(failure(lab))
        await running.at_work.wait()
        await running.broker.kill()
        error = await asked
        lab.client.abort()
    assert error.id == "KS-LAB-007" and str(error).startswith("get.faults: ")


async def test_a_command_that_was_not_sent_says_that_the_lab_does_not_run(
    running: Running,
) -> None:
    async with Remote(running.folder) as lab:
        lab.client.abort()
        assert (await failure(lab)).id == "KS-LAB-010", "it runs, and says so"
        running.end()
        error = await failure(lab)
    assert error.id == "KS-LAB-001" and "is stopped" in str(error)
    assert running.asked == []


async def test_a_lab_that_does_not_take_commands_yet_is_being_started(beginning: Running) -> None:
    with pytest.raises(KeysteadError) as caught:
        async with Remote(beginning.folder):
            pass
    assert caught.value.id == "KS-LAB-002"
