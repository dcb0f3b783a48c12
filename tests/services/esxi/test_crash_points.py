"""Crash a host before each call of its storage: what was answered is kept, nothing is half.

Every call of disk and datastore is a point. Before the n-th one the host falls (crash or power
loss); a sweep goes on until the story runs to its end without reaching its point.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

import pytest

from protocol.errors import ProductError
from protocol.guest import guest_seed
from protocol.messages.agent import NodeRunState, PowerOff
from protocol.messages.host.crypto import GetCryptoKeyStatus
from protocol.messages.host.vms import (
    GuestWrite,
    HostCreateVm,
    HostPowerOffVm,
    HostPowerOnVm,
    ReconfigureVm,
)
from protocol.terms import PowerState, VmCryptoState
from tests.services.esxi.rig import MARKER, VM, A, Rig, add, key

LIMIT = 60
WAYS = ("crash", "power_loss")


class Fall:
    """Ends the host's life before its n-th storage call from now on."""

    def __init__(self, rig: Rig, nth: int, way: str) -> None:
        self.happened = False
        self._rig, self._left, self._way = rig, nth, way
        self._charge = rig.world.charge

    async def charge(self, label: str) -> None:
        self._left -= 1
        if self._left == 0:
            self.happened = True
            power_off = PowerOff(node=A, way=self._way)
            self._rig.world.spawn(None, "fall", self._fall(power_off))
            await asyncio.Event().wait()  # its life ends here
        await self._charge(label)

    async def _fall(self, message: PowerOff) -> None:
        await self._rig.agent.power_off(message)


@contextmanager
def falling(rig: Rig, nth: int, way: str) -> Iterator[Fall]:
    fall = Fall(rig, nth, way)
    storage = (rig.store(), rig.array)
    for kept in storage:
        kept.charge = fall.charge
    try:
        yield fall
    finally:
        for kept in storage:
            kept.charge = rig.world.charge


def sweep(
    way: str, prepare: Callable[[Rig], None], story: Callable[[Rig], object]
) -> Iterator[Rig]:
    """A rig per point, fallen and rebooted; ends when the story ends by itself."""
    for nth in range(1, LIMIT):
        rig = Rig(seed=nth)
        rig.generations = {}
        prepare(rig)
        with falling(rig, nth, way) as fall:
            try:
                story(rig)
            except ProductError:
                assert fall.happened
        if not fall.happened:
            assert nth > 2
            rig.close()
            return
        rig.power_off(A, way)  # wait until it is down
        assert rig.power_on().state is NodeRunState.RUNNING
        rig.connect()
        yield rig
        rig.close()
    raise AssertionError(f"the story has more than {LIMIT} points")


def ready(rig: Rig) -> None:
    rig.up()
    rig.esxcli("system security keypersistence enable")
    rig.make_safe()
    rig.add_keys(key("kek-1"))


def with_clear_vm(rig: Rig) -> None:
    ready(rig)
    rig.command(HostCreateVm(vm=VM, blocks=8))
    rig.command(HostPowerOnVm(vm=VM))
    rig.console(GuestWrite(vm=VM, marker=MARKER))
    rig.command(HostPowerOffVm(vm=VM))


@pytest.mark.parametrize("way", WAYS)
def test_encryption_leaves_the_old_or_the_new_whole(way: str) -> None:
    """And a repeat ends it, with no clear block left on the datastore."""
    seen = set()
    encrypt = ReconfigureVm(vm=VM, key=key("kek-1"))
    for rig in sweep(way, with_clear_vm, lambda rig: rig.command(encrypt)):
        vm = rig.vm()
        assert vm.crypto in (None, VmCryptoState.UNLOCKED)
        seen.add(vm.crypto)
        rig.sleep(10)
        if vm.crypto is not None:  # the boot has tidied up what the crash left
            assert guest_seed(MARKER) not in b"".join(d for _, d in rig.array.images())
        rig.command(HostPowerOnVm(vm=VM))
        assert rig.works()
        rig.command(HostPowerOffVm(vm=VM))
        rig.command(encrypt)
        rig.command(HostPowerOnVm(vm=VM))
        assert rig.works()
        assert guest_seed(MARKER) not in b"".join(d for _, d in rig.array.images())
    assert seen == {None, VmCryptoState.UNLOCKED}


@pytest.mark.parametrize("way", WAYS)
def test_a_vm_is_created_or_a_repeat_creates_it(way: str) -> None:
    create = HostCreateVm(vm=VM, blocks=8)
    for rig in sweep(way, ready, lambda rig: rig.command(create)):
        rig.command(create)
        rig.command(HostPowerOnVm(vm=VM))
        rig.console(GuestWrite(vm=VM, marker=MARKER))
        assert rig.works()


@pytest.mark.parametrize("way", WAYS)
def test_added_keys_are_there_or_the_earlier_ones_are(way: str) -> None:
    for rig in sweep(way, ready, lambda rig: rig.command(add(key("a"), key("b")))):
        asked = (key("kek-1"), key("a"), key("b"))
        status = rig.console(GetCryptoKeyStatus(keys=asked)).keys
        first, *later = [entry.present for entry in status]
        assert first
        assert later in ([True, True], [False, False])


@pytest.mark.parametrize("way", WAYS)
def test_a_power_command_is_remembered_whole(way: str) -> None:
    for rig in sweep(way, with_clear_vm, lambda rig: rig.command(HostPowerOnVm(vm=VM))):
        rig.sleep(20)
        vm = rig.vm()
        assert vm.power is vm.wanted
        rig.command(HostPowerOnVm(vm=VM))
        assert rig.works()
        assert rig.vm().wanted is PowerState.ON


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(
    "line",
    [
        "system settings encryption recovery rotate",
        "system settings encryption set --mode=TPM --require-secure-boot=F",
        "system security keypersistence disable --remove-all-stored-keys",
    ],
)
def test_a_change_at_the_console_is_there_or_not(way: str, line: str) -> None:
    """The host boots by itself after every one of them, with the keys it should have."""
    for rig in sweep(way, ready, lambda rig: rig.esxcli(line)):
        summary = rig.summary()
        assert summary.stored_keys == (2 if summary.key_persistence else 0)
        table = rig.esxcli("system settings encryption recovery list").output.splitlines()
        recovery_id, digits = table[2].split()
        assert recovery_id == summary.recovery_id
        rig.power_off()
        device = rig.world.device(A)
        assert device is not None
        device.clear()
        assert rig.power_on(encryptionRecoveryKey=digits).state is NodeRunState.RUNNING


def test_what_a_boot_has_found_stays_though_the_life_before_never_synced_it() -> None:
    """A host that says that a key is stored is believed: nobody brings the key again."""
    rig = Rig(seed=1)
    rig.generations = {}
    ready(rig)
    asked = GetCryptoKeyStatus(keys=(key("a"),))
    with falling(rig, 2, "crash"), suppress(ProductError):  # between the append and its sync
        rig.command(add(key("a")))
    for way in ("crash", "power_loss"):
        rig.power_off(A, way)
        assert rig.power_on().state is NodeRunState.RUNNING
        rig.sleep(10)
        (status,) = rig.console(asked).keys
        assert (status.stored, status.present) == (True, True), way
    rig.close()
