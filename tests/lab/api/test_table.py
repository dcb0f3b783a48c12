"""Every command has a struct that checks itself, an answer, a function, and a way over the wire."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pkgutil import iter_modules
from typing import Any, get_type_hints

import msgspec
import pytest

from lab.schema import answers, commands
from lab.schema import commands as c
from lab.schema.answers import HostList, Vm
from lab.schema.errors import KeysteadError
from lab.schema.wire import (
    commands_by_name,
    decode_answer,
    decode_command,
    encode_answer,
    encode_command,
)
from lab.serve.session import LabSession, executes
from lab.serve.table import COMMANDS, Served
from protocol.terms import ClusterName, NodeName, PowerState, VmConnectionState, VmName

ALL = [pytest.param(served, id=served.name) for served in COMMANDS.values()]


def test_every_command_is_served() -> None:
    assert set(COMMANDS) == set(commands_by_name().values())


@pytest.mark.parametrize("served", ALL)
def test_the_answer_is_the_one_that_the_command_and_its_function_name(served: Served) -> None:
    assert c.answer_type(served.command) is served.answer
    hints = get_type_hints(served.run)
    assert issubclass(served.command, hints["command"])
    assert hints["return"] is served.answer


def test_what_looks_is_told_by_its_name() -> None:
    """The words ``get`` and ``describe`` promise that nothing changes."""
    looking = [served for served in COMMANDS.values() if served.name.startswith(("get.", "desc"))]
    assert looking and not [served.name for served in looking if served.changes]


def test_one_function_executes_a_command() -> None:
    with pytest.raises(TypeError, match="VmEncrypt is executed by encrypt already"):

        @executes
        async def again(session: LabSession, command: commands.VmEncrypt) -> Vm:
            raise AssertionError("nobody calls it")


def test_each_name_leads_to_its_own_struct() -> None:
    """The modules of a subject are imported whole: none hides a name of another."""
    for package in (answers, commands):
        for module in iter_modules(package.__path__, f"{package.__name__}."):
            if module.name not in sys.modules:
                continue
            for name, kind in vars(sys.modules[module.name]).items():
                own = isinstance(kind, type) and kind.__module__ == module.name
                if own and not name.startswith("_") and hasattr(package, name):
                    assert getattr(package, name) is kind, f"{module.name}.{name}"


def test_commands_travel_and_come_back() -> None:
    for command in (
        c.VmEncrypt("vm-01", "second"),
        c.LinkDelay("a", "b", 0.5, one_way=True, lease_s=3.0),
        c.FaultInject("link.cut", {"between": ["a", "b"], "p": 0.5}),
        c.HostPowerOn(("esxi-001",), {"encryptionRecoveryKey": "K"}),
    ):
        assert decode_command(encode_command(command)) == command
    assert msgspec.msgpack.decode(encode_command(c.VmEncrypt("v"))) == {
        "command": "vm.encrypt",
        "vm": "v",
        "provider": "",
    }


def test_answers_travel_and_come_back() -> None:
    vm = Vm(
        vm=VmName("vm-01"),
        cluster=ClusterName("c"),
        host=NodeName("h"),
        power=PowerState.ON,
        connection=VmConnectionState.CONNECTED,
    )
    assert decode_answer(c.VmEncrypt("vm-01"), encode_answer(vm)) == vm
    with pytest.raises(msgspec.DecodeError):
        decode_answer(c.VmEncrypt("vm-01"), encode_answer(HostList(items=())))


@pytest.mark.parametrize(
    ("sent", "id", "said"),
    [
        (b"", "KS-USE-001", "no command"),
        (b"\x80", "KS-USE-001", "no command"),
        (b"\xc3", "KS-USE-001", "no command"),
        (msgspec.msgpack.encode({"command": "nope"}), "KS-USE-001", "there is no command nope"),
        (msgspec.msgpack.encode({"command": "vm.unlock"}), "KS-USE-003", "`vm`"),
        (msgspec.msgpack.encode({"command": "vm.unlock", "vm": 7}), "KS-USE-003", "str"),
        (
            msgspec.msgpack.encode({"command": "get.vms", "colour": "red"}),
            "KS-USE-003",
            "`colour`",
        ),
        (msgspec.msgpack.encode({"command": "heal"}), "KS-USE-003", "--all"),
    ],
)
def test_what_is_no_command_is_refused(sent: bytes, id: str, said: str) -> None:
    with pytest.raises(KeysteadError) as caught:
        decode_command(sent)
    assert caught.value.id == id and said in str(caught.value)


WRONG: list[tuple[Callable[[], c.Command[Any]], str]] = [
    *(
        (lambda kind=kind: kind(()), "at least one host")
        for kind in (
            c.HostPowerOn,
            c.HostReboot,
            c.HostPowerOff,
            c.HostCrash,
            c.HostPowerLoss,
            c.HostPause,
            c.HostResume,
        )
    ),
    (c.VmOn, "name VMs"),
    (c.VmOff, "name VMs"),
    (lambda: c.VmOn(("vm-01",), on_host=True), "--on-host needs --host"),
    (lambda: c.ProviderAdd("p", ()), "--server"),
    (lambda: c.LinkCut("a", "a"), "two different nodes"),
    (lambda: c.LinkHeal("a", "a"), "two different nodes"),
    (lambda: c.LinkCut("a", "b", lease_s=0), "above 0s"),
    (lambda: c.FaultInject("link.cut", lease_s=-1), "above 0s"),
    (lambda: c.LinkDelay("a", "b", 0), "a delay is between 1ms"),
    (lambda: c.LinkDelay("a", "b", 1, jitter_s=-1), "a delay is between 1ms"),
    (lambda: c.LinkLoss("a", "b", 0), "has no effect"),
    (lambda: c.LinkDup("a", "b", 1.5), "between 0 and 1"),
    (lambda: c.Heal(), "--all"),
    (lambda: c.Heal(("x",), all=True), "--all"),
    (lambda: c.GetEvents(limit=0), "at least 1"),
]


@pytest.mark.parametrize(("make", "said"), WRONG)
def test_wrong_values_are_refused_where_the_command_is_made(
    make: Callable[[], c.Command[Any]], said: str
) -> None:
    with pytest.raises(KeysteadError) as caught:
        make()
    assert caught.value.id == "KS-USE-003" and said in str(caught.value)


def test_names_are_the_words_of_the_command_line() -> None:
    assert c.name_of(c.VmEncrypt) == c.name_of(c.VmEncrypt("vm-01")) == "vm.encrypt"


def test_a_command_without_an_answer_is_found() -> None:
    class Mute(c.Command[Any], frozen=True, tag="mute"):
        pass

    with pytest.raises(TypeError, match="Mute does not say"):
        c.answer_type(Mute)
