"""A native provider under the name of a standard one: keys that were brought are what they were."""

from __future__ import annotations

import pytest

from protocol.errors import EncryptionKeyRequired
from protocol.messages.base import Sealed
from protocol.messages.host.crypto import SetProviders
from protocol.messages.host.session import ProviderRef
from protocol.messages.host.vms import HostPowerOffVm, HostPowerOnVm
from protocol.secret import KeyMaterial
from protocol.terms import HostCryptoState, ManagementType, PowerState
from tests.services.esxi.rig import PROVIDER, VM, Rig, key

NAMESAKE = SetProviders(
    providers=(
        ProviderRef(
            provider_id=PROVIDER,
            management_type=ManagementType.NATIVE_PROVIDER,
            key_id="kdk-1",
            revision="1",
        ),
    ),
    kdks=(PROVIDER,),
    material=Sealed.of(KeyMaterial(b"k" * 32)),
)


def turned(rig: Rig, *, stored: bool) -> None:
    """A VM under a key that was brought, whose provider's name is a native one's now."""
    rig.up()
    if stored:
        rig.esxcli("system security keypersistence enable")
    rig.make_safe()
    rig.encrypted_vm()
    rig.command(NAMESAKE)
    assert rig.works()


def test_the_cache_serves_until_the_reboot(rig: Rig) -> None:
    turned(rig, stored=False)
    rig.command(HostPowerOffVm(vm=VM))
    rig.command(HostPowerOnVm(vm=VM))
    assert rig.works()


@pytest.mark.parametrize("way", ["stop", "power_loss"])
def test_what_is_stored_is_used_and_nothing_is_derived(rig: Rig, way: str) -> None:
    turned(rig, stored=True)
    rig.reboot(way=way)
    assert rig.summary().crypto_state is HostCryptoState.SAFE
    rig.sleep(60)
    assert rig.vm().power is PowerState.ON and rig.works()


def test_without_a_store_the_key_is_missed_and_does_no_harm(rig: Rig) -> None:
    """A derived one opens nothing, and is told as missing; the true one is taken again."""
    turned(rig, stored=False)
    rig.reboot()
    assert rig.summary().crypto_state is HostCryptoState.PREPARED, "nothing is its host key"
    rig.connect()
    rig.make_safe()
    refused = rig.refused_command(HostPowerOnVm(vm=VM))
    assert isinstance(refused, EncryptionKeyRequired) and refused.keys == (key("kek-1"),)
    assert rig.vm().missing == (key("kek-1"),)
    rig.add_keys(key("kek-1"))
    rig.command(HostPowerOnVm(vm=VM))
    assert rig.works()
