"""Key persistence on a host whose configuration no TPM seals (KP-01, KP-06).

It may be enabled while the host knows only native providers. Keys that vCenter brings are not
stored then, whatever providers come later.
"""

from __future__ import annotations

import pytest

from protocol.messages.agent import Firmware, TpmBackend
from protocol.messages.base import Sealed
from protocol.messages.host.crypto import ChangeHostKey, GetCryptoKeyStatus, SetProviders
from protocol.messages.host.session import ProviderRef
from protocol.terms import ManagementType, ProtectionMode
from tests.services.esxi.rig import HOST_KEY, PROVIDER, Rig, key, material
from tests.services.esxi.test_native import encrypted, ready, ref

ENABLE = "system security keypersistence enable"
SET_TPM = "system settings encryption set --mode=TPM"


def standard_provider_added(rig: Rig) -> None:
    standard = ProviderRef(provider_id=PROVIDER, management_type=ManagementType.VCENTER)
    rig.command(SetProviders(providers=(ref(), standard)))


def stored(rig: Rig) -> tuple[bool, ...]:
    found = rig.console(GetCryptoKeyStatus(keys=(key("kek-1"), HOST_KEY))).keys
    return tuple(one.stored for one in found)


def test_keys_that_vcenter_brings_are_not_stored(rig: Rig) -> None:
    ready(rig, tpm=TpmBackend.NONE)
    native = encrypted(rig)
    assert rig.esxcli(ENABLE).exit_code == 0
    standard_provider_added(rig)
    rig.add_keys(key("kek-1"))
    rig.command(ChangeHostKey(key=HOST_KEY, material=Sealed.of(material(HOST_KEY))))
    assert rig.summary().stored_keys == 0 and stored(rig) == (False, False)
    rig.reboot(way="power_loss")
    (status,) = rig.console(GetCryptoKeyStatus(keys=(key("kek-1"),))).keys
    assert not status.present
    assert rig.vm().missing == () and native in rig.vm().keys  # derived, as ever


def test_what_is_cached_already_is_not_stored_when_it_is_enabled(rig: Rig) -> None:
    """A key in the cache may be of a standard provider that the list does not name any more."""
    ready(rig, tpm=TpmBackend.NONE)
    rig.add_keys(key("kek-1"))
    assert rig.esxcli(ENABLE).exit_code == 0
    assert rig.summary().stored_keys == 0


def test_enabling_it_prints_a_warning_where_no_tpm_seals(rig: Rig) -> None:
    ready(rig, tpm=TpmBackend.NONE)
    printed = rig.esxcli(ENABLE)
    assert printed.exit_code == 0
    assert printed.output.startswith("Warning: ") and "no TPM" in printed.output
    assert "standard or trusted" in printed.output


def test_no_warning_where_a_tpm_seals(rig: Rig) -> None:
    rig.up()
    assert rig.esxcli(ENABLE).output == ""


def test_once_a_tpm_seals_what_is_cached_is_stored(rig: Rig) -> None:
    """The TPM was off in the firmware at the first boot, and is used later (CFG-02)."""
    ready(rig, firmware=Firmware(tpm_enabled=False))
    assert rig.summary().protection_mode is ProtectionMode.NONE
    assert rig.esxcli(ENABLE).exit_code == 0
    standard_provider_added(rig)
    rig.set_firmware(tpm_enabled=True)
    rig.reboot()
    rig.connect()
    rig.add_keys(key("kek-1"))
    assert rig.summary().stored_keys == 0
    assert rig.esxcli(SET_TPM).exit_code == 0
    assert stored(rig)[0]
    rig.add_keys(key("kek-2"))
    rig.reboot(way="power_loss")
    present = rig.console(GetCryptoKeyStatus(keys=(key("kek-1"), key("kek-2")))).keys
    assert [one.present for one in present] == [True, True]


@pytest.mark.parametrize(("on_enable", "is_stored"), [(True, True), (False, False)])
def test_that_follows_the_knob_for_enabling(rig: Rig, on_enable: bool, is_stored: bool) -> None:
    """C5."""
    ready(rig, firmware=Firmware(tpm_enabled=False), knobs={"persist_on_enable": on_enable})
    rig.esxcli(ENABLE)
    rig.set_firmware(tpm_enabled=True)
    rig.reboot()
    rig.connect()
    rig.add_keys(key("kek-1"))
    rig.esxcli(SET_TPM)
    assert stored(rig)[0] is is_stored
