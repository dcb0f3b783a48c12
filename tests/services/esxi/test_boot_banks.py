"""Going back to the other boot bank: its release, its archive, and nothing that came since."""

from __future__ import annotations

from typing import Any

import pytest

from protocol.messages.agent import BootBanks, NodeRunState
from protocol.messages.host.vms import HostCreateVm
from protocol.terms import ProtectionMode, VmName
from services.esxi.boot import SCREEN_A, SCREEN_B
from services.esxi.configuration.boot_banks import BANK
from tests.services.esxi.rig import HOST_KEY, VM, A, Rig, key
from tests.services.esxi.test_crash_points import falling

OLD, SEALED, NEW = "7.0U1", "7.0U3", "8.0U3"
LATER = VmName("vm-later")
CALLS = 60


def upgraded(rig: Rig, old: str = SEALED, **host: Any) -> None:
    """A host with a key persisted before the upgrade and one after it, and a VM of each time."""
    rig.up(version=old, **host)
    if old != OLD:
        assert rig.esxcli("system security keypersistence enable").exit_code == 0
    rig.make_safe()
    rig.encrypted_vm(on=False)
    rig.power_off()
    rig.set_firmware(banks=BootBanks(release=NEW))
    rig.power_on()
    rig.connect()
    assert rig.esxcli("system security keypersistence enable").exit_code == 0
    rig.add_keys(key("kek-2"))
    rig.command(HostCreateVm(vm=LATER, blocks=8))


def back(rig: Rig, old: str = SEALED, **options: str) -> NodeRunState:
    rig.power_off()
    rig.set_firmware(banks=BootBanks(release=old, rolled_back=True))
    return rig.power_on(**options).state


def test_the_other_bank_has_its_release_and_its_own_archive(rig: Rig) -> None:
    upgraded(rig)
    assert back(rig) is NodeRunState.RUNNING
    told = rig.summary()
    assert (told.version, told.protection_mode) == (SEALED, ProtectionMode.TPM)
    assert told.key_persistence and told.crypto_key_id == HOST_KEY
    assert [one.vm for one in told.vms] == [VM], "what was registered since is not there"
    stored = {entry.key for entry in rig.host().archive.now.store}
    assert key("kek-1") in stored and key("kek-2") not in stored
    rig.reboot()
    assert rig.summary().version == SEALED
    with pytest.raises(FileNotFoundError):
        rig.store().on_disk.read(BANK)


def test_a_release_before_encryption_has_its_archive_in_clear(rig: Rig) -> None:
    """What such a build could not read, the newer archive, is not what it boots from."""
    upgraded(rig, OLD)
    sealed = rig.summary()
    assert sealed.protection_mode is ProtectionMode.TPM
    assert back(rig, OLD) is NodeRunState.RUNNING
    told = rig.summary()
    assert (told.version, told.protection_mode, told.recovery_id) == (OLD, ProtectionMode.NONE, "")
    assert not told.key_persistence and [one.vm for one in told.vms] == [VM]
    rig.power_off()
    rig.set_firmware(banks=BootBanks(release=NEW))
    rig.power_on()
    again = rig.summary()
    assert again.protection_mode is ProtectionMode.TPM
    assert again.recovery_id not in ("", sealed.recovery_id)


def test_the_sealed_archive_of_then_opens_by_the_policy_and_the_recovery_key_of_then(
    rig: Rig,
) -> None:
    upgraded(rig)
    of_then = rig.esxcli("system settings encryption recovery list").output.split()[-1]
    rig.esxcli("system settings encryption recovery rotate")
    of_now = rig.esxcli("system settings encryption recovery list").output.split()[-1]
    rig.set_firmware(secure_boot=False)
    rig.power_off()
    rig.set_firmware(banks=BootBanks(release=SEALED, rolled_back=True))
    status = rig.power_on()
    assert (status.state, status.screen) == (NodeRunState.HALTED, SCREEN_A)
    rig.power_off()
    assert rig.power_on(encryptionRecoveryKey=of_now).screen == SCREEN_B
    rig.power_off()
    assert rig.power_on(encryptionRecoveryKey=of_then).state is NodeRunState.RUNNING
    assert rig.summary().version == SEALED


def test_a_counter_of_archives_takes_it_for_an_older_one(rig: Rig) -> None:
    """``archive_counter``: only who types the recovery key takes an older archive as it is."""
    upgraded(rig, knobs={"archive_counter": True})
    digits = rig.esxcli("system settings encryption recovery list").output.split()[-1]
    assert back(rig) is NodeRunState.HALTED
    assert rig.status().screen == SCREEN_B
    rig.power_off()
    assert rig.power_on(encryptionRecoveryKey=digits).state is NodeRunState.RUNNING
    assert rig.summary().version == SEALED


@pytest.mark.slow
@pytest.mark.parametrize("way", ["crash", "power_loss"])
def test_a_host_that_falls_on_its_way_back_goes_on_with_it(way: str) -> None:
    for nth in range(1, CALLS):
        rig = Rig(seed=nth)
        rig.generations = {}
        upgraded(rig, OLD)
        rig.power_off()
        rig.set_firmware(banks=BootBanks(release=OLD, rolled_back=True))
        with falling(rig, nth, way) as fall:
            rig.power_on()
            rig.sleep(5)
        if not fall.happened:
            assert nth > 8
            rig.close()
            return
        rig.power_off(A, way)
        assert rig.power_on().state is NodeRunState.RUNNING
        told = rig.summary()
        assert (told.version, told.protection_mode) == (OLD, ProtectionMode.NONE), nth
        assert [one.vm for one in told.vms] == [VM], nth
        rig.close()
    raise AssertionError("the boot has more calls")


def test_a_damaged_bank_boots_nothing_and_loses_nothing(rig: Rig) -> None:
    upgraded(rig)
    before = rig.summary()

    good = rig.store().on_disk.read(BANK)
    rig.power_off()
    rig.set_firmware(banks=BootBanks(release=SEALED, rolled_back=True))
    for at in (0, len(good) // 2, len(good) - 1):
        rig.store().on_disk.write(BANK, good[:at] + bytes([good[at] ^ 1]) + good[at + 1 :])
        status = rig.power_on()
        assert status.screen == SCREEN_B, (at, status)
        rig.power_off()
    rig.set_firmware(banks=BootBanks(release=NEW))
    rig.power_on()
    assert [vm.vm for vm in rig.summary().vms] == [vm.vm for vm in before.vms]
    assert rig.summary().version == NEW


@pytest.mark.parametrize("old", [OLD, SEALED])
def test_no_release_boots_from_the_configuration_of_a_later_one(rig: Rig, old: str) -> None:
    """Without its own archive it stops, and the later release has lost nothing (UPG-02)."""
    upgraded(rig, old)
    before = rig.summary()
    rig.power_off()
    rig.set_firmware(banks=BootBanks(release="7.0U2", rolled_back=True))  # no bank has that
    status = rig.power_on()
    assert (status.state, status.screen) == (NodeRunState.HALTED, SCREEN_B)
    rig.power_off()
    rig.set_firmware(banks=BootBanks(release=NEW))
    rig.power_on()
    told = rig.summary()
    assert (told.version, told.recovery_id) == (NEW, before.recovery_id)
    assert [vm.vm for vm in told.vms] == [vm.vm for vm in before.vms]


def test_options_of_the_loader_go_with_the_bank(rig: Rig) -> None:
    """The sealed archive of then may be bound to an option of then (POL-04)."""
    rig.up(version=SEALED)
    for line in (
        "system settings kernel set --setting=execInstalledOnly --value=TRUE",
        "system settings encryption set --require-secure-boot=T",
    ):
        assert rig.esxcli(line).exit_code == 0, rig.esxcli(line).output
    rig.reboot()
    only = "system settings encryption set --require-exec-installed-only="
    assert rig.esxcli(only + "T").exit_code == 0
    rig.power_off()
    rig.set_firmware(banks=BootBanks(release=NEW))
    rig.power_on()
    assert rig.esxcli(only + "F").exit_code == 0
    off = "system settings kernel set --setting=execInstalledOnly --value=FALSE"
    assert rig.esxcli(off).exit_code == 0
    assert back(rig) is NodeRunState.RUNNING
    assert "Installed VIBs: true" in rig.esxcli("system settings encryption get").output


def test_an_upgrade_that_the_policy_does_not_open_is_taken_back(rig: Rig) -> None:
    """``seal_pcrs`` with the loader's register: the new image is no way in, the old one still is
    (POL-06). What never booted has put nothing into the other bank."""
    rig.up(version=SEALED, knobs={"seal_pcrs": [4, 7]})
    rig.make_safe()
    rig.power_off()
    rig.set_firmware(banks=BootBanks(release=NEW))
    assert rig.power_on().screen == SCREEN_A
    assert back(rig) is NodeRunState.RUNNING
    assert (rig.summary().version, rig.summary().crypto_key_id) == (SEALED, HOST_KEY)
