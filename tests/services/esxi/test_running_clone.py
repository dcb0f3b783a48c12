"""Clones of VMs that run: the writes of one instant, the guest goes on, a fall leaves all or
nothing (CLN-01, VTPM-07)."""

from __future__ import annotations

import pytest

from protocol.errors import DatastoreFault, EncryptionKeyRequired
from protocol.guest import challenge_digest, guest_block, guest_seed, read_guest_block
from protocol.messages.host.crypto import RemoveKeys
from protocol.messages.host.vms import (
    GuestChallenge,
    HostAddDisk,
    HostAddVtpm,
    HostCloneVm,
    HostCreateVm,
    HostPowerOffVm,
    HostPowerOnVm,
    QueryVmConfig,
    TpmProvisionPolicy,
)
from protocol.terms import PowerState, VmName
from services.esxi.vms.guest import SPAN, decrypt_blocks, split_image
from services.esxi.vms.power import unwrap_deks
from tests.services.esxi.rig import MARKER, VM, Rig
from tests.services.esxi.test_clone import (
    ANEW,
    CLONE,
    COPY,
    KEK,
    lives,
    no_room,
    ready,
)
from tests.services.esxi.test_crash_points import WAYS, sweep
from tests.services.esxi.test_vtpm import Asker


def running(rig: Rig, **knobs: float) -> None:
    """As ``ready``, with a second disk, and the guest at work."""
    ready(rig, knobs=knobs)
    rig.command(HostAddDisk(vm=VM, operation_id="disk", blocks=4))
    rig.command(HostPowerOnVm(vm=VM))
    rig.console(GuestChallenge(vm=VM, nonce=b"n", blocks=(2,)))


def starts_with_its_data(rig: Rig, vm: VmName) -> bool:
    """Whether it starts, and its first disk has what was written into that of its source."""
    rig.command(HostPowerOnVm(vm=vm))
    asked, seed = (4, 5), guest_seed(MARKER)
    answer = rig.console(GuestChallenge(vm=vm, nonce=b"n", blocks=asked))
    return answer.digest == challenge_digest(b"n", [guest_block(seed, at, 0) for at in asked])


def generations(rig: Rig, vm: VmName) -> list[int]:
    """How often the guest has rewritten the journal of each disk, as it lies on the datastore."""
    host = rig.host()
    config = host.vms[vm].config
    assert config is not None
    found = []
    for disk, dek in zip(config.disks, unwrap_deks(host, config).deks, strict=True):
        stored = split_image(bytes(rig.array.folders[vm][disk.file]), vm, disk)
        plain = decrypt_blocks(dek, stored)[disk.blocks]
        _, generation = read_guest_block(plain, (disk.number - 1) * SPAN + disk.blocks)
        found.append(generation)
    return found


@pytest.mark.parametrize("message", [CLONE, ANEW])
def test_a_vm_that_runs_goes_on_and_its_clone_is_off(rig: Rig, message: HostCloneVm) -> None:
    running(rig)
    before = rig.console(GuestChallenge(vm=VM, nonce=b"n", blocks=(3,)))
    made = rig.command(message).summary
    assert made.power is PowerState.OFF and rig.vm(VM).power is PowerState.ON
    after = rig.console(GuestChallenge(vm=VM, nonce=b"n", blocks=(3,)))
    assert after.run == before.run, "nobody has powered it off"
    started = rig.command(HostPowerOnVm(vm=COPY)).summary
    assert started.power is PowerState.ON
    # It was told that block 3 is written, before the clone was asked for: the clone has it.
    there = rig.console(GuestChallenge(vm=COPY, nonce=b"n", blocks=(3,)))
    assert (before.generation, there.generation, after.generation) == (1, 2, 2)
    assert there.run != before.run
    rig.command(message)  # twice is once


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(12))
def test_a_clone_is_of_one_instant(seed: int) -> None:
    """The guest rewrites the journals of both disks in one step: none is a step ahead."""
    rig = Rig(seed=seed)
    running(rig, workload_period_s=0.004)
    clones = [VmName(f"copy-{number}") for number in range(6)]
    for vm in clones:
        rig.command(HostCloneVm(vm=vm, source=VM))
    rig.command(HostPowerOffVm(vm=VM))
    first, second = generations(rig, VM)
    found = [generations(rig, vm) for vm in clones]
    assert {there - other for there, other in found} == {first - second}
    assert len({other for _, other in found}) == len(clones), "it was at work meanwhile"
    rig.close()


def test_the_guest_works_while_its_clone_is_written() -> None:
    """It stands still while its disks are read, and no longer."""
    rig = Rig(seed=3)
    running(rig, workload_period_s=0.001)
    rig.command(CLONE)
    (there, _), (now, _) = generations(rig, COPY), generations(rig, VM)
    assert now > there
    rig.close()


def test_a_key_that_the_host_lost_is_needed_for_a_clone_though_the_vm_runs(rig: Rig) -> None:
    """LOCK-04: the guest needs it no more, who wraps its DEKs for another VM does."""
    running(rig)
    rig.command(RemoveKeys(keys=(KEK,)))
    for message in (CLONE, ANEW):
        error = rig.refused_command(message)
        assert isinstance(error, EncryptionKeyRequired) and error.keys == (KEK,)
    assert COPY not in rig.array.folders and rig.works()


def test_a_vm_in_clear_is_cloned_while_it_runs(rig: Rig) -> None:
    ready(rig)
    clear = VmName("clear")
    rig.command(HostCreateVm(vm=clear, blocks=8))
    rig.command(HostPowerOnVm(vm=clear))
    assert rig.command(HostCloneVm(vm=COPY, source=clear)).summary.crypto is None
    assert lives(rig, COPY) and rig.vm(clear).power is PowerState.ON


@pytest.mark.parametrize("policy", list(TpmProvisionPolicy))
def test_a_virtual_tpm_of_a_vm_that_runs(rig: Rig, policy: TpmProvisionPolicy) -> None:
    """VTPM-07. A copy has what was acknowledged: it is as after a power cut."""
    ready(rig)
    rig.command(HostAddVtpm(vm=VM))
    rig.command(HostPowerOnVm(vm=VM))
    asker = Asker(rig)
    asker.seal()
    for _ in range(3):
        assert asker.flaw() == ""
    rig.command(HostCloneVm(vm=COPY, source=VM, tpm=policy))
    of_copy, of_source = (rig.console(QueryVmConfig(vm=vm)) for vm in (COPY, VM))
    copied = policy is TpmProvisionPolicy.COPY
    assert of_copy.vtpm and (of_copy.ek == of_source.ek) is copied
    assert asker.flaw() == "", "that of the source goes on"
    rig.command(HostPowerOnVm(vm=COPY))
    asker.vm, asker.last = COPY, asker.last - 1
    assert (asker.flaw() == "") is copied


def test_no_room_leaves_nothing_and_the_vm_runs(rig: Rig) -> None:
    running(rig)
    for files in range(3):
        with no_room(rig, COPY, files):
            assert isinstance(rig.refused_command(CLONE), DatastoreFault)
        assert COPY not in rig.array.folders and COPY not in rig.host().archive.now.vms
        assert rig.vm(VM).power is PowerState.ON and rig.works()
    rig.command(CLONE)
    assert starts_with_its_data(rig, COPY)


@pytest.mark.slow
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("message", [CLONE, ANEW])
def test_a_fall_leaves_a_whole_clone_or_nothing_of_it(way: str, message: HostCloneVm) -> None:
    """And the source starts by itself: it ran."""
    seen = set()
    for rig in sweep(way, running, lambda rig: rig.command(message)):
        rig.sleep(30)
        assert rig.vm(VM).power is PowerState.ON
        whole = COPY in rig.host().vms
        seen.add(whole)
        if not whole:
            assert not rig.array.folders.get(COPY)
            assert COPY not in rig.host().archive.now.vms
        assert guest_seed(MARKER) not in b"".join(d for _, d in rig.array.images())
        rig.command(message)
        assert starts_with_its_data(rig, COPY)
        rig.console(GuestChallenge(vm=VM, nonce=b"n", blocks=(1,)))
    assert seen == {True, False}
