"""Accepted order is effect order: what comes back to back takes effect in the order in which it was
accepted, whatever the loop runs first; and nothing runs after its time."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from protocol.errors import EncryptionKeyRequired, NotConnected, ProductError
from protocol.messages.host.crypto import GetCryptoKeyStatus, RemoveKeys
from protocol.messages.host.session import Esxcli
from protocol.messages.host.vms import (
    HostPowerOffVm,
    HostPowerOnVm,
    HostRegisterVm,
    HostUnregisterVm,
)
from protocol.terms import PowerState, VmName
from tests.services.esxi.rig import VM, A, B, Rig, add, key

ENABLE = "system security keypersistence enable"
SEEDS = range(1, 21)


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
        outcomes = rig.accepted(commands)
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
        outcomes = rig.accepted(commands)
        assert not [outcome for outcome in outcomes if isinstance(outcome, ProductError)]
        assert (rig.vm().power, rig.vm().wanted) == (power, power)


def test_what_comes_to_its_turn_after_its_deadline_is_not_done(keeper: Rig) -> None:
    """Whoever asked has given up, and may have asked for something else meanwhile."""
    rig = keeper
    rig.command(ADD)
    rotate = Esxcli(arguments=("system", "settings", "encryption", "recovery", "rotate"))
    first, late = rig.accepted((rotate, REMOVE), last_within_s=0.001)
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
