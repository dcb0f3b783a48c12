"""Accepted order is effect order: what comes back to back takes effect in the order in which it was
accepted, whatever the loop runs first; and nothing runs after its time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import pytest

from protocol.errors import EncryptionKeyRequired, NotConnected, ProductError
from protocol.messages.base import Request
from protocol.messages.host import (
    Command,
    GetCryptoKeyStatus,
    HostPowerOffVm,
    HostPowerOnVm,
    HostRegisterVm,
    HostUnregisterVm,
    RemoveKeys,
)
from protocol.terms import PowerState, VmName
from services.runtime.bus import Incoming
from services.runtime.service import Peer
from tests.services.esxi.rig import VCENTER, VM, A, B, Rig, add, key

ENABLE = "system security keypersistence enable"
SEEDS = range(1, 21)


def accepted(
    rig: Rig, messages: Sequence[Command[Any]], *, last_within_s: float = 60.0
) -> list[Any]:
    """What each command comes to, all accepted in this order at one moment; ``last_within_s``
    is the time that the last one has."""
    runner, session = rig.agent.machine(A).runner, rig.controller.sessions[A]
    peer = Peer(VCENTER, rig.controller.node.boot)
    outcomes: list[Any] = [None] * len(messages)

    def respond(place: int) -> Any:
        def put(outcome: Any) -> None:
            outcomes[place] = outcome

        return put

    now = rig.loop.time()
    for place, message in enumerate(messages):
        last = place == len(messages) - 1
        stamped: Request[Any] = session.stamp(message)
        deadline = now + (last_within_s if last else 60.0)
        runner.accept(Incoming(stamped, peer, deadline, "", respond(place)))
    for _ in range(2_000):
        if all(outcome is not None for outcome in outcomes):
            return outcomes
        rig.sleep(0.01)
    raise AssertionError(f"not all were answered: {outcomes}")


def key_of(rig: Rig, name: str) -> tuple[bool, bool]:
    """Whether the host has the key, and whether its store has it."""
    found = rig.console(GetCryptoKeyStatus(keys=(key(name),))).keys[0]
    return found.present, found.stored


@pytest.fixture
def seed() -> int:
    return 1


@pytest.fixture
def keeper(seed: int) -> Iterator[Rig]:
    """A safe host with key persistence."""
    rig = Rig(seed)
    rig.generations = {}
    rig.up(A)
    rig.make_safe()
    assert rig.esxcli(ENABLE).exit_code == 0
    yield rig
    rig.close()


ADD, REMOVE = add(key("a")), RemoveKeys(keys=(key("a"),))


@pytest.mark.parametrize("seed", SEEDS)
def test_keys_that_are_added_and_removed_back_to_back(keeper: Rig) -> None:
    rig = keeper
    for commands, there in (((ADD, REMOVE), False), ((ADD, REMOVE, ADD), True)):
        outcomes = accepted(rig, commands)
        assert not [outcome for outcome in outcomes if isinstance(outcome, ProductError)]
        assert key_of(rig, "a") == (there, there)
    rig.reboot(A, "power_loss")
    assert key_of(rig, "a")[0], "and the store says so too after a loss of power"


@pytest.mark.parametrize("seed", SEEDS)
def test_a_vm_that_is_powered_back_to_back(keeper: Rig) -> None:
    rig = keeper
    rig.encrypted_vm()
    on, off = HostPowerOnVm(vm=VM), HostPowerOffVm(vm=VM)
    for commands, power in (((off, on), PowerState.ON), ((off, on, off), PowerState.OFF)):
        outcomes = accepted(rig, commands)
        assert not [outcome for outcome in outcomes if isinstance(outcome, ProductError)]
        assert (rig.vm().power, rig.vm().wanted) == (power, power)


def test_what_comes_to_its_turn_after_its_deadline_is_not_done(keeper: Rig) -> None:
    """Whoever asked has given up, and may have asked for something else meanwhile."""
    rig = keeper
    first, late = accepted(rig, (ADD, REMOVE), last_within_s=0.001)
    assert not isinstance(first, ProductError)
    assert isinstance(late, NotConnected) and "after its deadline" in str(late)
    assert key_of(rig, "a") == (True, True)
    assert rig.agent.machine(A).runner.bus.counters["late"] == 1


def test_a_vm_whose_start_failed_is_free_for_another_host(rig: Rig) -> None:
    """Its lock on the datastore does not outlive the attempt."""
    rig.up(A)
    rig.make_safe()
    rig.up(B)
    rig.make_safe(B)
    rig.encrypted_vm(on=False)
    rig.reboot(A)  # without persistence: its keys are gone
    rig.connect(A)
    refused = rig.refused_command(HostPowerOnVm(vm=VM))
    assert isinstance(refused, EncryptionKeyRequired)
    assert VmName(VM) not in rig.array.locks
    rig.command(HostUnregisterVm(vm=VM))
    rig.add_keys(key("kek-1"), node=B)
    rig.command(HostRegisterVm(vm=VM), B)
    rig.command(HostPowerOnVm(vm=VM), B)
    assert rig.vm(VM, B).power is PowerState.ON
