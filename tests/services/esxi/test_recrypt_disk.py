"""One disk of a VM under another key: the home and the other disks stay as they are (KEY-04)."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec
import pytest

from protocol.errors import DatastoreFault, EncryptionKeyRequired, InvalidState, NotFound
from protocol.messages.host.crypto import RemoveKeys
from protocol.messages.host.vms import HostPowerOffVm, HostPowerOnVm, HostRecryptVm, HostRemoveDisk
from protocol.secret import KeyMaterial
from services.esxi.vms.file_formats import open_vm
from tests.services.esxi.rig import PROVIDER, VM, Rig, key, material
from tests.services.esxi.test_crash_points import WAYS, sweep
from tests.services.esxi.test_disks import (
    ADD,
    ADD_OWN,
    HOME,
    NEW,
    OWN,
    config,
    images,
    on,
    ready,
    second_works,
    seed_of,
)

SHALLOW = HostRecryptVm(vm=VM, old=(HOME,), key=NEW, provider=PROVIDER, disk=2)
DEEP = msgspec.structs.replace(SHALLOW, deep=True)


@pytest.fixture
def rig() -> Iterator[Rig]:
    made = Rig()
    made.generations = {}
    yield made
    made.close()


def deks(rig: Rig) -> tuple[KeyMaterial | None, ...]:
    now = config(rig)
    return open_vm(now, {each: material(each) for each in now.keys}).deks


def test_a_disk_of_a_running_vm_comes_under_a_key_of_its_own(rig: Rig) -> None:
    ready(rig)
    rig.command(ADD)
    before, opened, seed = images(rig), deks(rig), seed_of(rig)
    on(rig)
    assert rig.command(SHALLOW).summary.keys == (HOME, NEW)
    assert [d.dek.key for d in config(rig).disks if d.dek] == [HOME, NEW]
    assert deks(rig) == opened and images(rig).keys() == before.keys() and rig.works()
    rig.command(HostPowerOffVm(vm=VM))
    rig.command(RemoveKeys(keys=(OWN,)))
    on(rig)
    second_works(rig, seed)
    (told,) = rig.kinds("vm.recrypted")
    assert (told["disk"], told["key"]) == (2, str(NEW))


def test_a_deep_one_rewrites_that_disk_alone(rig: Rig) -> None:
    ready(rig)
    rig.command(ADD)
    before, opened, seed, home = images(rig), deks(rig), seed_of(rig), config(rig).home
    assert rig.command(DEEP).summary.keys == (HOME, NEW)
    after = images(rig)
    first, second = config(rig).files
    assert after.keys() == {first, second} and after[first] == before[first]
    assert second not in before and config(rig).home == home
    assert deks(rig)[0] == opened[0] and deks(rig)[1] != opened[1]
    on(rig)
    second_works(rig, seed)


def test_again_is_no_change_and_a_late_one_is_refused(rig: Rig) -> None:
    ready(rig)
    rig.command(ADD_OWN)
    there = msgspec.structs.replace(SHALLOW, old=(HOME, OWN))
    rig.command(there)
    rig.command(RemoveKeys(keys=(OWN,)))
    now = config(rig)
    assert rig.command(there).summary.keys == (HOME, NEW) and config(rig) == now
    first = msgspec.structs.replace(there, disk=1)
    assert isinstance(rig.refused_command(first), InvalidState), "that one is under the old key"
    rig.add_keys(key("kek-4"))
    late = msgspec.structs.replace(there, key=key("kek-4"))
    assert isinstance(rig.refused_command(late), InvalidState)
    assert config(rig) == now


def test_the_only_disk_may_differ_from_its_home(rig: Rig) -> None:
    ready(rig)
    only = msgspec.structs.replace(SHALLOW, disk=1)
    assert rig.command(only).summary.keys == (HOME, NEW)
    home = config(rig).home
    assert home is not None and home.key == HOME
    on(rig)


def test_which_disk_there_is_to_recrypt(rig: Rig) -> None:
    ready(rig)
    refused = rig.refused_command(SHALLOW)
    assert isinstance(refused, NotFound) and "Hard disk 2" in str(refused)
    rig.command(ADD_OWN)
    rig.command(RemoveKeys(keys=(OWN,)))
    before = config(rig)
    there = msgspec.structs.replace(SHALLOW, old=(HOME, OWN))
    refused = rig.refused_command(there)
    assert isinstance(refused, EncryptionKeyRequired) and refused.keys == (OWN,)
    assert config(rig) == before
    rig.command(HostRemoveDisk(vm=VM, disk=2))
    on(rig)


@pytest.mark.parametrize("command", [SHALLOW, DEEP])
def test_a_full_datastore_leaves_it_as_it_was(
    rig: Rig, command: HostRecryptVm, monkeypatch: pytest.MonkeyPatch
) -> None:
    ready(rig)
    rig.command(ADD)
    before, then = images(rig), config(rig)
    write = type(rig.host().datastore).write

    async def full(self: object, vm: str, file: str, data: bytes) -> None:
        if data:
            raise OSError(28, "No space left on device")
        await write(self, vm, file, data)  # type: ignore[arg-type]

    with monkeypatch.context() as there:
        there.setattr(type(rig.host().datastore), "write", full)
        assert isinstance(rig.refused_command(command), DatastoreFault)
    assert (images(rig), config(rig)) == (before, then)
    on(rig)


@pytest.mark.slow
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("command", [SHALLOW, DEEP])
def test_a_crash_leaves_it_under_the_old_key_or_the_new_one(
    way: str, command: HostRecryptVm
) -> None:
    def prepared(rig: Rig) -> None:
        rig.generations = {}
        ready(rig)
        rig.esxcli("system security keypersistence enable")
        rig.command(ADD)

    seen = set()
    for rig in sweep(way, prepared, lambda rig: rig.command(command)):
        rig.sleep(30)
        seen.add(config(rig).keys)
        assert sorted(images(rig)) == sorted(config(rig).files)
        seed = seed_of(rig)
        rig.command(command)
        assert config(rig).keys == (HOME, NEW)
        assert sorted(images(rig)) == sorted(config(rig).files)
        rig.command(HostPowerOnVm(vm=VM))
        second_works(rig, seed)
    assert seen <= {(HOME,), (HOME, NEW)} and (HOME,) in seen
