"""C15: what vCenter can bring while no key server answers, by how long it keeps values of keys."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from protocol.errors import EncryptionKeyRequired
from protocol.messages.vcenter.providers import RemoveKey, UnregisterKmsCluster
from protocol.messages.vcenter.vms import PowerOffVm, PowerOnVm
from protocol.terms import HostCryptoState, PowerState, VmCryptoState
from services.vcenter.providers.registry import KeptValues
from tests.services.vcenter.peers import VCENTER
from tests.services.vcenter.rig import KMS, A, P, Rig


@pytest.fixture
def up() -> Iterator[Callable[..., Rig]]:
    """Makes a lab with these knobs: one safe host with an encrypted VM."""
    made: list[Rig] = []

    def make(**knobs: Any) -> Rig:
        rig = Rig(**knobs)
        made.append(rig)
        rig.up(A)
        rig.vm()
        return rig

    yield make
    for rig in made:
        rig.healthy()
        rig.close()


def kept(rig: Rig) -> KeptValues:
    return rig.vcenter.providers._kept


def outage_and_boot(rig: Rig) -> None:
    rig.power_off(KMS)
    rig.reboot(A)
    rig.sleep(40)


def fails(rig: Rig) -> bool:
    return isinstance(rig.refused(PowerOnVm(vm=rig.vm_info().vm)), EncryptionKeyRequired)


def test_at_the_default_a_host_that_boots_in_an_outage_gets_no_key(
    up: Callable[..., Rig],
) -> None:
    rig = up()
    outage_and_boot(rig)
    assert rig.host_info(A).crypto_state is HostCryptoState.PREPARED
    assert fails(rig) and rig.vm_info().crypto is VmCryptoState.LOCKED
    assert not kept(rig)._kept


def test_what_is_kept_is_brought_without_the_key_server(up: Callable[..., Rig]) -> None:
    rig = up(vc_key_cache_s=3600)
    outage_and_boot(rig)
    assert rig.host_info(A).crypto_state is HostCryptoState.SAFE
    assert rig.power_on_vm().power is PowerState.ON


def test_a_value_is_dropped_at_its_time_though_nobody_asks(up: Callable[..., Rig]) -> None:
    rig = up(vc_key_cache_s=600)
    assert len(kept(rig)._kept) == 2  # the host key and the VM's
    rig.power_off(KMS)
    rig.sleep(590)
    assert kept(rig)._kept
    rig.sleep(15)
    assert not kept(rig)._kept
    rig.reboot(A)
    rig.sleep(40)
    assert fails(rig)


def test_a_value_that_was_fetched_is_kept_from_then_on(up: Callable[..., Rig]) -> None:
    rig = up(vc_key_cache_s=600)
    rig.sleep(700)
    assert not kept(rig)._kept
    rig.reboot(A)  # its keys are fetched again
    rig.sleep(40)
    outage_and_boot(rig)
    assert rig.power_on_vm().power is PowerState.ON


@pytest.mark.parametrize("way", ["vcenter", "provider", "key"])
def test_what_ends_a_stay_before_its_time(up: Callable[..., Rig], way: str) -> None:
    rig = up(vc_key_cache_s=3600)
    key = rig.key_of()
    match way:
        case "vcenter":
            rig.reboot(VCENTER)
        case "provider":
            rig.do(UnregisterKmsCluster(provider=P))
        case "key":
            rig.do(RemoveKey(key=key, force=True))
            rig.sleep(5)
    outage_and_boot(rig)
    assert key not in kept(rig)._kept
    assert fails(rig)


def test_the_running_vm_is_none_of_its_business(up: Callable[..., Rig]) -> None:
    rig = up(vc_key_cache_s=60)
    rig.power_on_vm()
    rig.power_off(KMS)
    rig.sleep(700)
    rig.do(PowerOffVm(vm=rig.vm_info().vm))
    assert rig.power_on_vm().power is PowerState.ON  # the host has it still
