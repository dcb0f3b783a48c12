"""One command from the command line to the service: encoded once on each hop, and never again."""

from __future__ import annotations

import asyncio
import os
import time
from pathlib import Path
from typing import Any

import msgspec
import pytest

from lab.brokers.control_plane import ControlClient
from lab.brokers.identities import CLI, Identities
from lab.local.remote import ask
from lab.schema.commands import VmCreate, VmEncrypt
from lab.schema.wire import RunCommand, decode_answer, encode_command
from lab.serve.table import perform
from lab.simulation.sim_lab import make
from lab.state.scratch import hold
from lab.state.state_folder import LabFolder, LabRecord
from lab.supervise.supervisor import Supervisor, Waiting
from lab.topology.lab_file import load
from lab.topology.plan import plan
from protocol.terms import VmCryptoState


class Counted:
    """An encoder that writes down what it is given."""

    def __init__(self, encode: Any, seen: list[str]) -> None:
        self._encode, self._seen = encode, seen

    def encode(self, value: Any) -> bytes:
        self._seen.append(type(value).__name__)
        made: bytes = self._encode(value)
        return made


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the structs that any msgpack encoder of this process was given, in order."""
    found: list[str] = []
    for place in ("protocol.codec._encoder", "lab.schema.wire._encoder"):
        plain = msgspec.msgpack.Encoder()
        if place.startswith("protocol"):
            from protocol import codec

            plain = codec._encoder
        monkeypatch.setattr(place, Counted(plain.encode, found))
    monkeypatch.setattr(msgspec.msgpack, "encode", Counted(msgspec.msgpack.encode, found).encode)
    return found


@pytest.mark.lab
async def test_from_the_command_line_to_the_agent(
    seen: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The supervisor and the command line of a real lab, both in this process."""
    monkeypatch.setenv("KEYSTEAD_STATE_HOME", str(tmp_path))
    folder = LabFolder("counted")
    folder.make()
    file = load("default", hosts=1, vms=0, tpm="none", pace=60.0).model_dump(mode="json")
    lock = hold(folder.path)
    assert lock is not None
    record = LabRecord(name=folder.name, file=file, seed=1, wall=time.time())
    supervisor = Supervisor(folder, record, lock)
    ours, theirs = os.pipe()
    running = asyncio.get_running_loop().create_task(supervisor.run(Waiting(theirs)))
    while b'"ready":true' not in await asyncio.to_thread(os.read, ours, 1 << 16):
        pass
    os.close(ours)
    seed = Identities.load(folder.path).control(CLI).seed
    client = ControlClient(supervisor.lab.control.url, seed, CLI)
    try:
        await client.open()
        await ask(client, RunCommand(command=encode_command(VmCreate("vm-01"))))
        seen.clear()
        command = VmEncrypt("vm-01")
        done = await ask(client, RunCommand(command=encode_command(command)))
        on_its_way = list(seen)
    finally:
        await client.close()
        supervisor.stopping.set()
        await running
    assert done.error_id == "", done
    assert decode_answer(command, done.answer).crypto is VmCryptoState.UNLOCKED
    assert on_its_way == [
        *("VmEncrypt", "RunCommand", "Envelope"),  # to the supervisor
        *("EncryptVm", "Ask", "Envelope"),  # to the agent; the service is in its process
        *("Vm", "CommandDone", "ReplyEnvelope"),
    ]


@pytest.mark.sim
def test_from_the_agent_to_the_service(seen: list[str]) -> None:
    """In virtual time all processes are one: nobody between asker and service encodes again."""
    lab, session = make(plan(load("default", hosts=1, vms=0, tpm="model")), 3)
    lab.run(perform(session, VmCreate("first", encrypted=True)))  # with the host's own key
    lab.run(perform(session, VmCreate("vm-01")))
    seen.clear()
    lab.run(perform(session, VmEncrypt("vm-01")))
    assert seen.count("EncryptVm") == seen.count("VmEncrypted") == 1
    assert {"VmEncrypt", "Ask", "Answer"} & set(seen) == set()
    for message in ("CreateKey", "KeyCreated", "AddKeys", "ReconfigureVm"):
        assert seen.count(message) == 1, (message, seen)
    lab.loop.close()
