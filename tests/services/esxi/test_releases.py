"""A host of an older release, by itself: what its console and its doors do not have yet."""

from __future__ import annotations

import pytest

from protocol.errors import EncryptionKeyRequired, InvalidArgument, NotAvailable
from protocol.messages.agent import BootBanks
from protocol.messages.host.crypto import SetProviders
from protocol.messages.host.vms import HostPowerOnVm, HostRegisterVm
from protocol.terms import NodeName, ProtectionMode
from services.esxi.config import esxi_config
from tests.services.esxi.rig import HOST_KEY, VM, A, B, Rig
from tests.services.esxi.test_native import encrypted, push, ready

OLD, NEW = "7.0U1", "7.0U2"
COMMANDS = (
    "system security keypersistence get",
    "system security keypersistence enable",
    "system settings encryption get",
    "system settings encryption set --mode=TPM",
    "system settings encryption recovery list",
)


@pytest.mark.parametrize("line", COMMANDS)
def test_a_command_of_a_later_release_is_unknown(rig: Rig, line: str) -> None:
    rig.up(version=OLD)
    result = rig.esxcli(line)
    named = line.partition(" --")[0]
    assert (result.exit_code, result.output) == (
        1,
        f"Error: Unknown command or namespace {named}",
    )
    rig.up(B, version=NEW)
    assert rig.esxcli(line, B).exit_code == 0


@pytest.mark.parametrize(("version", "listed"), [(OLD, False), (NEW, True)])
def test_help_lists_the_namespaces_that_there_are(rig: Rig, version: str, listed: bool) -> None:
    rig.up(version=version)
    assert ("security" in rig.esxcli("system").output) is listed
    assert ("encryption" in rig.esxcli("system settings").output) is listed
    assert "kernel" in rig.esxcli("system settings").output


@pytest.mark.parametrize(
    ("version", "mode"), [(OLD, ProtectionMode.NONE), (NEW, ProtectionMode.TPM)]
)
def test_the_first_boot_seals_from_7_0_u2_on(rig: Rig, version: str, mode: ProtectionMode) -> None:
    rig.up(version=version)
    assert rig.summary().protection_mode is mode
    assert bool(rig.summary().recovery_id) is (mode is ProtectionMode.TPM)


def test_a_list_with_a_native_provider_is_refused(rig: Rig) -> None:
    rig.up(version=OLD)
    error = rig.refused_command(push())
    assert isinstance(error, NotAvailable)
    assert "native key providers on a host: not supported by esxi-001" in str(error)
    assert rig.summary().providers == ()
    rig.command(SetProviders(providers=()))


def test_a_native_vm_that_comes_to_an_older_host_does_not_start_there(rig: Rig) -> None:
    """As HA may place it: nothing is damaged, and the newer host starts it."""
    ready(rig, version=NEW)
    key = encrypted(rig)
    rig.power_off(A)
    rig.up(B, version=OLD)
    rig.make_safe(B)
    rig.command(HostRegisterVm(vm=VM), B)
    error = rig.refused_command(HostPowerOnVm(vm=VM), B)
    assert isinstance(error, EncryptionKeyRequired) and error.keys == (key,)
    rig.power_on(A)
    rig.connect(A)
    rig.command(HostPowerOnVm(vm=VM), A)
    assert rig.works(VM, A)


@pytest.mark.parametrize("version", ["6.7U3", "8.0U9", ""])
def test_what_is_no_release_is_refused_at_the_door(version: str) -> None:
    with pytest.raises(InvalidArgument, match=r"^host: .* is not a known version"):
        esxi_config({"version": version, "vcenter": NodeName("vcenter")})


def test_the_first_boot_after_an_upgrade_encrypts_the_configuration(rig: Rig) -> None:
    """UPG-01: what was in it stays, and the clear one leaves the disk."""
    rig.up(version=OLD)
    rig.make_safe()
    rig.encrypted_vm()
    assert rig.summary().protection_mode is ProtectionMode.NONE
    rig.power_off()
    rig.set_firmware(banks=BootBanks(release=NEW))
    rig.power_on()
    told = rig.summary()
    assert (told.version, told.protection_mode) == (NEW, ProtectionMode.TPM)
    assert told.recovery_id and told.crypto_key_id == HOST_KEY and [v.vm for v in told.vms] == [VM]
    assert rig.esxcli("system security keypersistence enable").exit_code == 0
    rig.reboot(way="power_loss")
    assert rig.summary().recovery_id == told.recovery_id, "it is made once"


def test_an_upgrade_whose_tpm_fails_boots_in_mode_none_and_stays_so(rig: Rig) -> None:
    rig.up(version=OLD)
    rig.power_off()
    rig.set_firmware(banks=BootBanks(release=NEW), tpm_enabled=False)
    rig.power_on()
    assert rig.summary().protection_mode is ProtectionMode.NONE
    rig.power_off()
    rig.set_firmware(tpm_enabled=True)
    rig.power_on()
    assert rig.summary().protection_mode is ProtectionMode.NONE, "only the first boot does it"
    assert rig.esxcli("system settings encryption set --mode=TPM").exit_code == 0


@pytest.mark.parametrize("way", ["crash", "power_loss"])
def test_an_upgrade_within_encrypted_releases_changes_nothing(rig: Rig, way: str) -> None:
    rig.up(version=NEW)
    before = rig.summary().recovery_id
    rig.power_off(way=way)
    rig.set_firmware(banks=BootBanks(release="8.0U3"))
    rig.power_on()
    assert (rig.summary().version, rig.summary().recovery_id) == ("8.0U3", before)
