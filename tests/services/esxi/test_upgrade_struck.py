"""The first boot of a later release, struck at each call of its storage (UPG-01)."""

from __future__ import annotations

import errno
import os

import pytest

from protocol.messages.agent import BootBanks, NodeRunState
from protocol.terms import ProtectionMode
from tests.services.esxi.rig import HOST_KEY, VM, A, Rig
from tests.services.esxi.test_crash_points import falling

OLD, NEW = "7.0U1", "8.0U3"
CALLS = 60


def installed(rig: Rig) -> None:
    """A host of an old release with a VM that ran, and the new one in its boot bank."""
    rig.up(version=OLD)
    rig.make_safe()
    rig.encrypted_vm()
    rig.power_off()
    rig.set_firmware(banks=BootBanks(release=NEW))


@pytest.mark.slow
@pytest.mark.parametrize("way", ["crash", "power_loss"])
def test_a_first_boot_that_falls_is_made_good_by_the_next(way: str) -> None:
    """Nothing of the configuration is lost, and the recovery key that is told opens it."""
    for nth in range(1, CALLS):
        rig = Rig(seed=nth)
        rig.generations = {}
        installed(rig)
        with falling(rig, nth, way) as fall:
            rig.power_on()
            rig.sleep(5)
        if not fall.happened:
            assert nth > 5
            rig.close()
            return
        rig.power_off(A, way)
        assert rig.power_on().state is NodeRunState.RUNNING
        told = rig.summary()
        assert (told.version, told.protection_mode) == (NEW, ProtectionMode.TPM), nth
        assert told.crypto_key_id == HOST_KEY and [v.vm for v in told.vms] == [VM], nth
        listed = rig.esxcli("system settings encryption recovery list").output
        digits = listed.split()[-1]
        rig.power_off()
        rig.set_firmware(tpm_enabled=False)
        status = rig.power_on(encryptionRecoveryKey=digits)
        assert status.state is NodeRunState.RUNNING, status.screen
        rig.close()
    raise AssertionError("the boot has more calls")


def test_a_first_boot_whose_disk_refuses_starts_and_encrypts_later() -> None:
    """A device that is full of something else stops no host (BOOT-01)."""
    for nth in range(1, CALLS):
        rig = Rig(seed=nth)
        installed(rig)
        calls = 0

        async def refuse(label: str, rig: Rig = rig, nth: int = nth) -> None:
            nonlocal calls
            if label.startswith(("disk.write", "disk.sync", "disk.replace")):
                calls += 1
                if calls >= nth:
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), label)
            await rig.world.charge(label)

        rig.store().charge = refuse
        status = rig.power_on()
        rig.store().charge = rig.world.charge
        if calls < nth:
            assert nth > 2
            rig.close()
            return
        assert status.state is NodeRunState.RUNNING, (nth, status.screen)
        assert rig.reboot(way="power_loss").state is NodeRunState.RUNNING
        assert rig.summary().protection_mode is ProtectionMode.TPM
        assert [v.vm for v in rig.summary().vms] == [VM]
        rig.close()
    raise AssertionError("the boot has more calls")
