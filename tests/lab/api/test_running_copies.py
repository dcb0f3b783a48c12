"""Clones of VMs that run, and snapshots with memory, in a simulated lab of real services (CLN-01,
VTPM-06 to VTPM-08)."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator

import pytest

from lab.client import Lab
from lab.schema import commands as c
from protocol.guest import challenge_digest, guest_block, guest_seed
from protocol.terms import PowerState, VmCryptoState
from tests.lab.api import copies_struck
from tests.lab.api.refusals import refused

A, B = "esxi-001", "esxi-002"
MARKER = b"what the questioner wrote"


@pytest.fixture
async def lab() -> AsyncIterator[Lab]:
    async with Lab(mode="sim", seed=11, hosts=2, vms=1) as made:
        await made.do(c.VmGuestWrite("vm-01", MARKER))
        yield made


async def holds(lab: Lab, vm: str, blocks: tuple[int, ...] = (5, 7)) -> bool:
    """Whether the running VM's disk has what was written; one of the blocks is rewritten by it."""
    nonce = secrets.token_bytes(8)
    answer = await lab.do(c.VmGuestChallenge(vm, nonce, blocks))
    seed = guest_seed(MARKER)
    return answer.digest == challenge_digest(nonce, [guest_block(seed, at, 0) for at in blocks])


async def run_of(lab: Lab, vm: str = "vm-01") -> bytes:
    return (await lab.do(c.VmGuestChallenge(vm, b"n", (20,)))).run


async def starts(lab: Lab, vm: str) -> None:
    (item,) = await lab.vm_on(vm)
    assert item.power is PowerState.ON, item.error


def other(host: str) -> str:
    return B if host == A else A


# ---- clones -------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("recrypt", [False, True])
@pytest.mark.parametrize("away", [False, True])
async def test_a_vm_that_runs_is_cloned(lab: Lab, recrypt: bool, away: bool) -> None:
    """On its own host, or sent on to another one, which needs the keys."""
    run, source = await run_of(lab), await lab.vm("vm-01")
    host = other(source.host) if away else ""
    made = await lab.do(c.VmClone("vm-01", "copy", host, recrypt=recrypt))
    assert made.power is PowerState.OFF
    assert made.host == (host or source.host)
    assert (made.key == source.key) is not recrypt
    assert await run_of(lab) == run, "its source ran on"
    await starts(lab, "copy")
    assert await holds(lab, "copy") and await run_of(lab, "copy") != run
    await lab.reboot(A, B)
    await lab.wait_for("vm.running=copy")
    await lab.wait_for("vm.running=vm-01")


async def test_a_cold_target_needs_the_key_server_and_nothing_is_left_of_a_refusal(
    lab: Lab,
) -> None:
    """SC-13."""
    warm = str((await lab.vm("vm-01")).host)
    await lab.cut("vcenter", "kms")
    await lab.reboot(other(warm))
    assert "cannot be made safe" in str(await refused(lab, c.VmClone("vm-01", "copy", other(warm))))
    assert [vm.vm for vm in await lab.vms()] == ["vm-01"]
    await starts(lab, (await lab.do(c.VmClone("vm-01", "copy"))).vm)


async def test_a_vm_with_a_virtual_tpm_is_cloned_while_it_runs(lab: Lab) -> None:
    await lab.vm_off("vm-01")
    await lab.do(c.VmAddTpm("vm-01"))
    await starts(lab, "vm-01")
    for number, policy in enumerate(("copy", "replace")):
        made = await lab.do(c.VmClone("vm-01", f"copy-{number}", tpm=policy))  # type: ignore[arg-type]
        assert made.vtpm
        await starts(lab, made.vm)


# ---- snapshots with memory ----------------------------------------------------------------


async def test_a_vm_runs_again_as_it_ran(lab: Lab) -> None:
    run = await run_of(lab)
    taken = await lab.do(c.VmSnapshotCreate("vm-01", "running", memory=True))
    assert taken.snapshots == taken.with_memory == ("running",)
    await lab.do(c.VmSnapshotCreate("vm-01", "disks"))
    await lab.do(c.VmGuestWrite("vm-01", b"another"))
    await lab.vm_off("vm-01")
    reverted = await lab.do(c.VmSnapshotRevert("vm-01", "running"))
    assert reverted.power is PowerState.ON and await run_of(lab) == run
    assert await holds(lab, "vm-01")
    again = await lab.do(c.VmSnapshotRevert("vm-01", "running"))  # while it runs
    assert again.power is PowerState.ON and await holds(lab, "vm-01")
    off = await lab.do(c.VmSnapshotRevert("vm-01", "running", suppress_power_on=True))
    assert off.power is PowerState.OFF and off.with_memory == ("running",)
    assert (await lab.do(c.VmSnapshotRevert("vm-01", "disks"))).power is PowerState.OFF


async def test_its_new_host_and_another_vcenters_life_know_of_the_memory(lab: Lab) -> None:
    """REG-03: it moves with its snapshots."""
    run = await run_of(lab)
    await lab.do(c.VmSnapshotCreate("vm-01", "running", memory=True))
    source = str((await lab.vm("vm-01")).host)
    await lab.do(c.VmMigrate("vm-01", other(source)))
    await lab.reboot("vcenter")
    await lab.sleep(30)
    assert (await lab.vm("vm-01")).with_memory == ("running",)
    await lab.vm_off("vm-01")
    reverted = await lab.do(c.VmSnapshotRevert("vm-01", "running"))
    assert reverted.host == other(source) and await run_of(lab) == run


async def test_without_its_key_it_does_not_come_back_and_a_recrypt_takes_it_along(
    lab: Lab,
) -> None:
    """VTPM-06 and REK-01: the key of now is what counts."""
    run = await run_of(lab)
    await lab.do(c.VmSnapshotCreate("vm-01", "running", memory=True))
    old = str((await lab.vm("vm-01")).key)
    await lab.do(c.VmRecrypt("vm-01"))
    await lab.do(c.KmsKeyDestroy(old.partition("/")[2]))
    await lab.vm_off("vm-01")
    await lab.cut("vcenter", "kms")
    await lab.reboot(A, B)
    await lab.sleep(60)
    why = str(await refused(lab, c.VmSnapshotRevert("vm-01", "running")))
    assert "vm-01 is locked and invalid" in why and "missing: kms-provider/" in why  # LOCK-02
    locked = await lab.vm("vm-01")
    assert locked.crypto is VmCryptoState.LOCKED and locked.power is PowerState.OFF
    await lab.heal()
    await lab.sleep(400)
    assert (await lab.do(c.VmSnapshotRevert("vm-01", "running"))).power is PowerState.ON
    assert await run_of(lab) == run and await holds(lab, "vm-01")


async def test_who_cannot_go_back_is_not_stopped_for_it(lab: Lab) -> None:
    """LOCK-04: a name that is none, or a key that nobody has any more; and then it is off."""
    run = await run_of(lab)
    await lab.do(c.VmSnapshotCreate("vm-01", "disks"))
    assert "no snapshot disk" in str(await refused(lab, c.VmSnapshotRevert("vm-01", "disk")))
    assert "no snapshot disk" in str(await refused(lab, c.VmSnapshotRemove("vm-01", "disk")))
    key = str((await lab.vm("vm-01")).key)
    await lab.do(c.KmsKeyDestroy(key.partition("/")[2]))
    await lab.do(c.KeyRemove(key, force=True))
    assert "EncryptionKeyRequired" in str(await refused(lab, c.VmSnapshotRevert("vm-01", "disks")))
    assert await run_of(lab) == run and await holds(lab, "vm-01")


# ---- falls in the midst -------------------------------------------------------------------

STRIKES = [
    f"{way} {where}" for where in ("vcenter", "source", "target") for way in ("crash", "power_loss")
]


@pytest.mark.slow
@pytest.mark.parametrize("what", STRIKES)
async def test_whoever_falls_while_a_vm_that_runs_is_cloned(what: str) -> None:
    """A whole clone on one host, which vCenter knows, or nothing of it; and a repeat ends it."""
    async with Lab(mode="sim", seed=11, hosts=2, vms=1) as lab:
        for step in copies_struck.STEPS:
            assert await lab.beside(copies_struck.cloned, what, step) == [], step


@pytest.mark.slow
@pytest.mark.parametrize("what", STRIKES[:4])
async def test_whoever_falls_while_a_vm_goes_back_to_run(what: str) -> None:
    """It runs, as it was or as it is to be; and a repeat brings its memory back."""
    async with Lab(mode="sim", seed=11, hosts=2, vms=1, key_persistence=True) as lab:
        for step in copies_struck.STEPS:
            assert await lab.beside(copies_struck.reverted, what, step) == [], step
