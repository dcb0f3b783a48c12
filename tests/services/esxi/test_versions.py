"""Versions of a host's view: a heartbeat that is told "as it was" has missed nothing."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest

from protocol.messages.base import Sealed
from protocol.messages.host.crypto import ChangeHostKey, RemoveKeys, SetProviders
from protocol.messages.host.session import (
    CheckForUpdates,
    HostEnterMaintenanceMode,
    HostExitMaintenanceMode,
    HostSummary,
    ProviderRef,
    UpdateSet,
)
from protocol.messages.host.vms import (
    HostCreateVm,
    HostDestroyVm,
    HostPowerOffVm,
    HostPowerOnVm,
    ReconfigureVm,
)
from protocol.terms import CryptoKeyId, ManagementType, PowerState, VmName
from services.runtime.incarnation import Incarnation
from tests.services.esxi.rig import PROVIDER, VM, A, B, Rig, key, material

VM2 = VmName("vm-02")
REF = ProviderRef(provider_id=PROVIDER, management_type=ManagementType.VCENTER)


def check(rig: Rig, version: str = "") -> UpdateSet:
    request = CheckForUpdates(version=version)
    return rig.run(rig.controller.bus.request(A, request, within_s=5))


def other_host_key() -> ChangeHostKey:
    new = key("other-host-key")
    return ChangeHostKey(key=new, material=Sealed.of(material(new)))


def enabled(rig: Rig) -> None:
    assert rig.esxcli("system security keypersistence enable").exit_code == 0


def rotated(rig: Rig) -> None:
    assert rig.esxcli("system settings encryption recovery rotate").exit_code == 0


def locked_elsewhere(rig: Rig) -> None:
    rig.array.locks[VM2] = Incarnation(B, 1)


def unlocked_elsewhere(rig: Rig) -> None:
    del rig.array.locks[VM2]


STORY: tuple[tuple[str, Callable[[Rig], object]], ...] = (
    ("prepared, then safe", lambda rig: rig.make_safe()),
    ("another host key", lambda rig: rig.command(other_host_key())),
    ("a key more", lambda rig: rig.add_keys(key("kek-1"))),
    ("a provider", lambda rig: rig.command(SetProviders(providers=(REF,)))),
    ("another recovery key", rotated),
    ("key persistence", enabled),
    ("a VM more", lambda rig: rig.command(HostCreateVm(vm=VM, blocks=2))),
    ("it is encrypted", lambda rig: rig.command(ReconfigureVm(vm=VM, key=key("kek-1")))),
    ("it runs", lambda rig: rig.command(HostPowerOnVm(vm=VM))),
    ("it stopped", lambda rig: rig.command(HostPowerOffVm(vm=VM))),
    ("its key is gone", lambda rig: rig.command(RemoveKeys(keys=(key("kek-1"),)))),
    ("another VM", lambda rig: rig.command(HostCreateVm(vm=VM2, blocks=2))),
    ("another host holds its lock", locked_elsewhere),
    ("and lets it go", unlocked_elsewhere),
    ("no such VM", lambda rig: rig.command(HostDestroyVm(vm=VM2))),
    ("maintenance", lambda rig: rig.command(HostEnterMaintenanceMode())),
    ("no maintenance", lambda rig: rig.command(HostExitMaintenanceMode())),
    ("another session", lambda rig: rig.connect()),
)


def test_whatever_changes_in_a_view_is_another_version(rig: Rig) -> None:
    rig.up()
    known = check(rig)
    missed: list[str] = []
    versions = [known.version]
    for what, change in STORY:
        assert check(rig, known.version) == UpdateSet(version=known.version)
        change(rig)
        update = check(rig, known.version)
        if update.summary is None or update.summary != rig.summary():
            missed.append(what)
        known = update
        versions.append(known.version)
    assert missed == [] and len(set(versions)) == len(versions)


@pytest.mark.parametrize("way", ["stop", "crash", "power_loss"])
def test_a_version_of_an_earlier_life_is_none_of_this_one(rig: Rig, way: str) -> None:
    rig.up()
    before = [check(rig).version]
    for _ in range(3):
        rig.reboot(A, way)
        assert all(check(rig, version).summary == rig.summary() for version in before)
        before.append(check(rig).version)
    assert len(set(before)) == len(before)


@pytest.mark.parametrize("seed", range(6))
def test_who_follows_versions_has_the_view_that_there_is(rig: Rig, seed: int) -> None:
    """Views that come back, and views that others saw meanwhile, too."""
    rig.up()
    rig.make_safe()
    draw = random.Random(seed)
    known: HostSummary | None = None
    version, same = "", 0
    for _ in range(150):
        match draw.randrange(5):
            case 0:
                chosen = key(f"kek-{draw.randrange(2)}")
                flip_key(rig, chosen)
            case 1:
                flip_vm(rig)
            case 2:
                rig.summary()
            case _:
                update = check(rig, version)
                same += update.summary is None
                known = known if update.summary is None else update.summary
                version = update.version
                assert known == rig.summary()
    assert same > 10


def flip_key(rig: Rig, chosen: CryptoKeyId) -> None:
    if chosen in rig.host().keys:
        rig.command(RemoveKeys(keys=(chosen,)))
    else:
        rig.add_keys(chosen)


def flip_vm(rig: Rig) -> None:
    found = [vm for vm in rig.summary().vms if vm.vm == VM]
    if not found:
        rig.command(HostCreateVm(vm=VM, blocks=2))
    elif found[0].power is PowerState.ON:
        rig.command(HostPowerOffVm(vm=VM))
    else:
        rig.command(HostPowerOnVm(vm=VM))
