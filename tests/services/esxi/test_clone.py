"""Clones and templates at their host: whose keys, which TPM, and what a fall leaves (CLN-01)."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from protocol.errors import (
    AlreadyExists,
    DatastoreFault,
    EncryptionKeyRequired,
    InvalidPowerState,
    InvalidState,
    NotFound,
)
from protocol.guest import guest_seed
from protocol.messages.host.crypto import RemoveKeys
from protocol.messages.host.vms import (
    GuestChallenge,
    GuestWrite,
    HostAddDisk,
    HostAddVtpm,
    HostCloneVm,
    HostCreateVm,
    HostMarkTemplate,
    HostPowerOffVm,
    HostPowerOnVm,
    HostRegisterVm,
    HostUnregisterVm,
    QueryVmConfig,
    ReconfigureVm,
    TpmProvisionPolicy,
)
from protocol.terms import VmName
from tests.services.esxi.rig import MARKER, VM, A, B, Rig, key
from tests.services.esxi.test_crash_points import WAYS, sweep
from tests.services.esxi.test_vtpm import Asker

KEK, NEW = key("kek-1"), key("kek-2")
COPY = VmName("copy")
CLONE = HostCloneVm(vm=COPY, source=VM)
ANEW = HostCloneVm(vm=COPY, source=VM, recrypt=True, key=NEW)


def ready(rig: Rig, **host: Any) -> None:
    """An encrypted VM with a marked disk, and a second key; its host keeps its keys."""
    rig.up(**host)
    rig.esxcli("system security keypersistence enable")
    rig.make_safe()
    rig.add_keys(KEK, NEW)
    rig.command(HostCreateVm(vm=VM, blocks=8))
    rig.command(HostPowerOnVm(vm=VM))
    rig.console(GuestWrite(vm=VM, marker=MARKER))
    rig.command(HostPowerOffVm(vm=VM))
    rig.command(ReconfigureVm(vm=VM, key=KEK))


@contextmanager
def no_room(rig: Rig, vm: VmName, after: int) -> Iterator[None]:
    """The datastore has no room for more than so many further files of that VM."""
    kind = type(rig.host().datastore)
    write, left = kind.write, after

    async def refusing(self: Any, of: str, file: str, data: bytes) -> None:
        nonlocal left
        left -= of == vm and bool(data)
        if left < 0 and data:
            raise OSError(errno.ENOSPC, "No space left on device")
        await write(self, of, file, data)

    with pytest.MonkeyPatch.context() as full:
        full.setattr(kind, "write", refusing)
        yield


def stored(rig: Rig, vm: VmName, file: str = "disk-2.vmdk") -> bytes:
    return bytes(rig.array.folders[vm][file])


def works(rig: Rig, vm: VmName) -> bool:
    rig.command(HostPowerOnVm(vm=vm))
    return rig.works(vm)


def lives(rig: Rig, vm: VmName) -> bool:
    """Whether the guest of a VM that nobody wrote a marker into goes on with its work."""
    rig.command(HostPowerOnVm(vm=vm))
    rig.console(GuestChallenge(vm=vm, nonce=b"n", blocks=(1,)))
    return True


def test_a_clone_has_the_keys_and_the_data_of_its_source(rig: Rig) -> None:
    ready(rig)
    rig.command(HostAddDisk(vm=VM, operation_id="disk", blocks=4, key=NEW))
    made = rig.command(CLONE).summary
    assert made.keys == (KEK, NEW) and made.disks == rig.vm(VM).disks
    assert stored(rig, COPY) == stored(rig, VM)
    assert works(rig, COPY) and works(rig, VM)
    rig.command(CLONE)  # twice is once


def test_a_clone_with_new_keys_shares_nothing_with_its_source(rig: Rig) -> None:
    ready(rig)
    assert rig.command(ANEW).summary.keys == (NEW,)
    assert stored(rig, COPY, "disk-3.vmdk") != stored(rig, VM)
    rig.command(RemoveKeys(keys=(KEK,)))
    assert works(rig, COPY)
    assert isinstance(rig.refused_command(HostPowerOnVm(vm=VM)), EncryptionKeyRequired)


def test_the_source_needs_its_keys_on_the_host_that_clones_it(rig: Rig) -> None:
    """SC-13: a host without them takes part in nothing."""
    ready(rig)
    rig.command(RemoveKeys(keys=(KEK,)))
    for message in (CLONE, ANEW):
        error = rig.refused_command(message)
        assert isinstance(error, EncryptionKeyRequired) and error.keys == (KEK,)
    assert COPY not in rig.array.folders and COPY not in rig.host().archive.now.vms


def test_what_is_no_source_of_a_clone(rig: Rig) -> None:
    ready(rig)
    clear = VmName("clear")
    rig.command(HostCreateVm(vm=clear, blocks=8))
    refusals: list[tuple[HostCloneVm, type[Exception]]] = [
        (HostCloneVm(vm=COPY, source=VmName("none")), NotFound),
        (HostCloneVm(vm=COPY, source=clear, recrypt=True, key=NEW), InvalidState),
    ]
    for message, kind in refusals:
        assert isinstance(rig.refused_command(message), kind)
    assert rig.command(HostCloneVm(vm=COPY, source=clear)).summary.crypto is None
    assert lives(rig, COPY)
    rig.command(HostPowerOffVm(vm=COPY))
    rig.command(HostUnregisterVm(vm=COPY))
    assert isinstance(rig.refused_command(HostCloneVm(vm=COPY, source=clear)), AlreadyExists)
    assert lives(rig, clear), "what was refused took nothing away"
    rig.command(HostRegisterVm(vm=COPY))
    assert lives(rig, COPY)


def test_a_vm_that_runs_elsewhere_is_not_cloned(rig: Rig) -> None:
    ready(rig)
    rig.up(B)
    rig.make_safe(B)
    rig.add_keys(KEK, node=B)
    rig.command(HostRegisterVm(vm=VM), B)
    rig.command(HostPowerOnVm(vm=VM), B)
    assert isinstance(rig.refused_command(CLONE), DatastoreFault)
    assert COPY not in rig.array.folders


def test_no_room_leaves_nothing(rig: Rig) -> None:
    ready(rig)
    with no_room(rig, COPY, 1):
        assert isinstance(rig.refused_command(CLONE), DatastoreFault)
    assert COPY not in rig.array.folders and COPY not in rig.host().archive.now.vms
    rig.command(CLONE)
    assert works(rig, COPY)


# ---- virtual TPMs -------------------------------------------------------------------------


def with_vtpm(rig: Rig) -> Asker:
    ready(rig)
    rig.command(HostAddVtpm(vm=VM))
    rig.command(HostPowerOnVm(vm=VM))
    asker = Asker(rig)
    asker.seal()
    assert asker.flaw() == ""
    rig.command(HostPowerOffVm(vm=VM))
    return asker


@pytest.mark.parametrize("message", [CLONE, ANEW])
def test_a_copied_vtpm_is_the_same_with_all_that_is_in_it(rig: Rig, message: HostCloneVm) -> None:
    """VTPM-07: two VMs prove the same secret with the same key."""
    asker = with_vtpm(rig)
    rig.command(message)
    of_copy, of_source = (rig.console(QueryVmConfig(vm=vm)) for vm in (COPY, VM))
    assert of_copy.ek == of_source.ek and of_copy.vtpm
    rig.command(HostPowerOnVm(vm=COPY))
    asker.vm = COPY
    assert asker.flaw() == ""
    assert works(rig, VM)


def test_a_replaced_vtpm_has_seeds_of_its_own_and_nothing_sealed(rig: Rig) -> None:
    asker = with_vtpm(rig)
    rig.command(HostCloneVm(vm=COPY, source=VM, tpm=TpmProvisionPolicy.REPLACE))
    of_copy, of_source = (rig.console(QueryVmConfig(vm=vm)) for vm in (COPY, VM))
    assert of_copy.vtpm and of_copy.ek != of_source.ek and not of_copy.certificate
    rig.command(HostPowerOnVm(vm=COPY))
    asker.vm = COPY
    assert asker.flaw() != "", "another TPM with another secret"
    own = Asker(rig, COPY)
    own.seal()
    assert own.flaw() == ""


# ---- templates ----------------------------------------------------------------------------


def test_a_template_is_cloned_and_not_powered_on(rig: Rig) -> None:
    ready(rig)
    assert rig.command(HostMarkTemplate(vm=VM, template=True)).summary.template is True
    error = rig.refused_command(HostPowerOnVm(vm=VM))
    assert isinstance(error, InvalidState) and "template" in str(error)
    rig.reboot()
    rig.connect()
    rig.make_safe()
    assert rig.vm(VM).template is True
    rig.command(CLONE)
    assert works(rig, COPY)
    assert isinstance(
        rig.refused_command(HostMarkTemplate(vm=COPY, template=True)), InvalidPowerState
    )
    rig.command(HostMarkTemplate(vm=VM, template=False))
    assert works(rig, VM)


# ---- falls --------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("message", [CLONE, ANEW])
def test_a_fall_leaves_a_whole_clone_or_nothing_of_it(way: str, message: HostCloneVm) -> None:
    """No folder, no registration, no block in clear; and a repeat ends it."""
    seen = set()
    for rig in sweep(way, ready, lambda rig: rig.command(message)):
        rig.sleep(10)
        whole = COPY in rig.host().vms
        seen.add(whole)
        if not whole:
            assert COPY not in rig.array.folders or not rig.array.folders[COPY]
            assert COPY not in rig.host().archive.now.vms
        elif COPY in rig.array.folders:
            assert not rig.array.folders[COPY].get("cloning"), "nobody makes it any more"
        assert guest_seed(MARKER) not in b"".join(d for _, d in rig.array.images())
        rig.command(message)
        assert works(rig, COPY) and works(rig, VM)
    assert seen == {True, False}


def test_another_hosts_half_made_clone_is_left_alone(rig: Rig) -> None:
    """The mark names its maker: who finds a stranger's in a folder of a VM of its own keeps it."""
    ready(rig)
    rig.command(CLONE)
    folder = rig.array.folders[COPY]
    folder["cloning"][:] = str(B).encode()
    del folder[f"{COPY}.vmx"]
    rig.reboot(A)
    assert COPY in rig.array.folders and COPY in rig.host().vms
