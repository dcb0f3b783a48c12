"""What lies in the folder of one VM is no other VM's, and in one place of a VM no other place's."""

from __future__ import annotations

import msgspec
import pytest

from protocol.errors import CryptographicFailure, DatastoreFault, GuestFault
from protocol.guest import guest_block
from protocol.messages.host.vms import HostCreateVm, HostPowerOnVm
from protocol.secret import KeyMaterial
from protocol.terms import PowerState, VmName
from services.esxi.vms.file_formats import VmConfig, WrappedDek, encrypt_config, new_config, open_vm
from services.runtime.incarnation import Incarnation
from services.runtime.sim.clock_and_rng import SimRng
from tests.services.esxi.rig import VM, A, Rig, key

OTHER = VmName("vm-02")
KEK, KEK_ID = KeyMaterial(bytes(range(32))), key("k")


def config_of(vm: VmName, seed: int) -> VmConfig:
    rng = SimRng(seed, Incarnation(A, 1))
    return encrypt_config(new_config(vm, 4, rng), KEK_ID, KEK, rng)[0]


def two_vms(rig: Rig) -> tuple[dict[str, bytearray], dict[str, bytearray]]:
    rig.up()
    rig.make_safe()
    for vm in (VM, OTHER):
        rig.encrypted_vm(vm, on=False)
    return rig.array.folders[VM], rig.array.folders[OTHER]


def test_another_vms_configuration_is_not_read_as_ones_own(rig: Rig) -> None:
    """Copied over ours, files and all: whole, readable, under a key that the host has."""
    mine, other = two_vms(rig)
    mine.clear()
    mine.update({name.replace(OTHER, VM): bytearray(data) for name, data in other.items()})
    refused = rig.refused_command(HostPowerOnVm(vm=VM))
    assert isinstance(refused, DatastoreFault)
    assert f"{VM}.vmx belongs to {OTHER}" in str(refused)


def test_another_vms_journal_is_not_read_as_ones_own(rig: Rig) -> None:
    """A block of the right form at the right place under the right key, of another seed."""
    rig.up()
    rig.command(HostCreateVm(vm=VM, blocks=8))
    disk = rig.array.folders[VM]["disk-1.vmdk"]
    config = rig.host().vms[VM].config
    assert config is not None
    journal = guest_block(b"s" * 32, config.disks[0].blocks, 7)
    disk[-len(journal) :] = journal
    refused = rig.refused_command(HostPowerOnVm(vm=VM))
    assert isinstance(refused, GuestFault)
    assert "the journal is another guest's" in str(refused)
    assert rig.vm().power is PowerState.OFF


@pytest.mark.parametrize("field", ["home", "disks", "nvram"])
def test_a_wrapped_key_of_another_vm_does_not_open(field: str) -> None:
    """The DEKs are under one KEK; the seed in the nvram is under the home's own DEK."""
    mine, other = config_of(VM, 1), config_of(OTHER, 2)
    assert open_vm(mine, {KEK_ID: KEK}).seed != open_vm(other, {KEK_ID: KEK}).seed
    changed = msgspec.structs.replace(mine, **{field: getattr(other, field)})
    with pytest.raises(CryptographicFailure):
        open_vm(changed, {KEK_ID: KEK})


def test_what_is_wrapped_for_one_vm_opens_under_no_other_name() -> None:
    renamed = msgspec.structs.replace(config_of(VM, 1), vm=OTHER)
    with pytest.raises(CryptographicFailure):
        open_vm(renamed, {KEK_ID: KEK})


def test_the_wrapped_keys_of_a_vm_cannot_change_places() -> None:
    """The home's DEK in the disk's place would decrypt it to rubbish, and not be refused."""
    mine = config_of(VM, 1)
    (disk,) = mine.disks
    assert mine.home is not None and disk.dek is not None
    swapped = msgspec.structs.replace(disk, dek=WrappedDek(KEK_ID, mine.home.wrapped))
    as_disk = msgspec.structs.replace(mine, disks=(swapped,))
    as_home = msgspec.structs.replace(mine, home=WrappedDek(KEK_ID, disk.dek.wrapped))
    for changed in (as_disk, as_home):
        with pytest.raises(CryptographicFailure):
            open_vm(changed, {KEK_ID: KEK})
