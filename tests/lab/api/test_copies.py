"""Clones, templates and snapshots in a simulated lab of real services (CLN-01, REK-02, VTPM-07)."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator
from typing import Any

import pytest

from lab.client import Lab
from lab.schema import commands as c
from protocol.authorization import Privilege
from protocol.events import EventTypeId
from protocol.guest import challenge_digest, guest_block, guest_seed
from protocol.terms import PowerState, VmConnectionState, VmCryptoState
from tests.lab.api.refusals import refused

A, B = "esxi-001", "esxi-002"
MARKER = b"what the questioner wrote"


@pytest.fixture
async def lab() -> AsyncIterator[Lab]:
    async with Lab(mode="sim", seed=11, hosts=2, vms=1) as made:
        await made.do(c.VmGuestWrite("vm-01", MARKER))
        yield made


async def holds(
    lab: Lab, vm: str, marker: bytes = MARKER, blocks: tuple[int, ...] = (5, 7)
) -> bool:
    """Whether the running VM's disk has what was written; a question rewrites one of the blocks
    that it asks for, so a second one asks for others."""
    nonce = secrets.token_bytes(8)
    answer = await lab.do(c.VmGuestChallenge(vm, nonce, blocks))
    seed = guest_seed(marker)
    return answer.digest == challenge_digest(nonce, [guest_block(seed, at, 0) for at in blocks])


async def starts(lab: Lab, vm: str) -> None:
    (item,) = await lab.vm_on(vm)
    assert item.power is PowerState.ON, item.error


async def keys_made(lab: Lab) -> int:
    return sum(server.keys or 0 for server in (await lab.do(c.GetKms())).items)


async def test_a_clone_is_under_the_keys_of_its_source_and_has_its_data(lab: Lab) -> None:
    await lab.vm_off("vm-01")
    source, before = await lab.vm("vm-01"), await keys_made(lab)
    made = await lab.do(c.VmClone("vm-01", "copy"))
    assert made.key == source.key and made.power is PowerState.OFF
    assert await keys_made(lab) == before
    await starts(lab, "copy")
    assert await holds(lab, "copy")
    (event,) = [e for e in await lab.events() if e.event is EventTypeId.VM_CLONED]
    assert event.vm == "copy"
    await lab.do(c.VmDestroy(("vm-01",)))
    await lab.sleep(10)
    await lab.reboot(str(made.host))  # the clone's key leaves no host with the source
    await lab.wait_for("vm.running=copy")
    assert await holds(lab, "copy", blocks=(9, 11))


async def test_a_clone_with_new_keys_outlives_its_sources_key(lab: Lab) -> None:
    await lab.vm_off("vm-01")
    source = await lab.vm("vm-01")
    made = await lab.do(c.VmClone("vm-01", "copy", recrypt=True))
    assert made.key is not None and made.key != source.key
    assert source.key is not None
    await lab.do(c.KmsKeyDestroy(source.key.partition("/")[2]))
    await lab.reboot(A, B)
    await starts(lab, "copy")
    assert "EncryptionKeyRequired" in str((await lab.vm_on("vm-01"))[0].error)


async def test_a_cold_host_needs_the_key_server_for_a_clone_and_a_warm_one_does_not(
    lab: Lab,
) -> None:
    """SC-13."""
    await lab.vm_off("vm-01")
    cold = B if (await lab.vm("vm-01")).host == A else A
    await lab.cut("vcenter", "kms")
    await lab.reboot(cold)
    error = await refused(lab, c.VmClone("vm-01", "cold", cold))
    assert "cannot be made safe" in str(error)
    made = await lab.do(c.VmClone("vm-01", "warm", A if cold == B else B))
    await starts(lab, made.vm)
    assert "cold" not in {vm.vm for vm in await lab.vms()}
    await lab.heal()
    await lab.sleep(400)
    await starts(lab, (await lab.do(c.VmClone("vm-01", "cold", cold))).vm)


async def test_what_is_no_clone(lab: Lab) -> None:
    await lab.vm_off("vm-01")
    before, vms = await keys_made(lab), await lab.vms()
    assert "AlreadyExists" in str(await refused(lab, c.VmClone("vm-01", "vm-01")))
    assert "InvalidArgument" in str(
        await refused(lab, c.VmClone("vm-01", "copy", provider="kms-provider"))
    )
    await lab.do(c.RoleCreate("no-clone", like="Admin", without=(Privilege.CLONE,)))
    await lab.do(c.RoleCreate("no-recrypt", like="Admin", without=(Privilege.RECRYPT,)))
    for role, command in (
        ("no-clone", c.VmClone("vm-01", "copy")),
        ("no-recrypt", c.VmClone("vm-01", "copy", recrypt=True)),
    ):
        await lab.do(c.UserSet("alice", role))
        assert "NoPermission" in str(await refused(lab, command, "alice"))
    assert await keys_made(lab) == before and await lab.vms() == vms


@pytest.mark.slow
@pytest.mark.parametrize("policy", ["copy", "replace", ""])
async def test_a_clones_virtual_tpm(lab: Lab, policy: Any) -> None:
    """VTPM-07: copied with its certificate, or new and certified anew; the knob says copy."""
    await lab.vm_off("vm-01")
    await lab.do(c.VmAddTpm("vm-01"))
    await starts(lab, "vm-01")
    await lab.vm_off("vm-01")
    await lab.do(c.VmClone("vm-01", "copy", tpm=policy))
    source, copy = [(await lab.do(c.DescribeVm(vm))).vtpm for vm in ("vm-01", "copy")]
    assert source is not None and copy is not None
    assert (copy.ek == source.ek) is (policy != "replace")
    assert copy.certificate_flaw == source.certificate_flaw == ""
    await starts(lab, "copy")


async def test_a_vm_with_a_virtual_tpm_is_encrypted_under_the_key_of_its_home(lab: Lab) -> None:
    """KEY-04, VTPM-02, and what is encrypted whole is not encrypted again."""
    clear = await lab.do(c.VmCreate("clear"))
    with_tpm = await lab.do(c.VmAddTpm("clear"))
    assert clear.key is None and with_tpm.key is not None
    before = await keys_made(lab)
    await starts(lab, "clear")
    assert "InvalidPowerState" in str(await refused(lab, c.VmEncrypt("clear")))
    await lab.vm_off("clear")
    assert (await lab.do(c.VmEncrypt("clear"))).key == with_tpm.key
    assert await keys_made(lab) == before
    assert "encrypted with" in str(await refused(lab, c.VmEncrypt("clear")))
    await starts(lab, "clear")


async def test_a_template_is_cloned_and_not_started(lab: Lab) -> None:
    await lab.vm_off("vm-01")
    assert (await lab.do(c.VmTemplate("vm-01"))).template
    assert "template" in str((await lab.vm_on("vm-01"))[0].error)
    made = await lab.do(c.VmClone("vm-01", "copy"))
    assert not made.template
    await starts(lab, "copy")
    host = (await lab.vm("vm-01")).host
    await lab.reboot(str(host))
    await lab.sleep(60)
    there = await lab.vm("vm-01")
    assert there.template and there.power is PowerState.OFF
    await lab.do(c.VmUnregister(("vm-01",)))
    assert (await lab.do(c.VmRegister("vm-01"))).template
    assert not (await lab.do(c.VmTemplate("vm-01", off=True))).template
    await starts(lab, "vm-01")


# ---- snapshots ----------------------------------------------------------------------------


async def test_a_second_snapshot_of_one_name_is_refused(lab: Lab) -> None:
    """The VM has changed since: nobody shall believe that this is kept."""
    await lab.do(c.VmSnapshotCreate("vm-01", "before"))
    why = await refused(lab, c.VmSnapshotCreate("vm-01", "before"))
    assert "vm-01 has a snapshot before already" in str(why)


async def test_a_snapshot_that_is_not_there_is_told_with_those_that_are(lab: Lab) -> None:
    none = await refused(lab, c.VmSnapshotRemove("vm-01", "before"))
    assert none.id == "KS-USE-002" and none.fix == "it has none"
    assert "vm-01 has no snapshot before" in str(none)
    await lab.do(c.VmSnapshotCreate("vm-01", "first"))
    await lab.do(c.VmSnapshotCreate("vm-01", "second"))
    assert (await refused(lab, c.VmSnapshotRemove("vm-01", "before"))).fix == "it has first, second"


async def test_a_vm_comes_back_as_it_was(lab: Lab) -> None:
    await lab.do(c.VmSnapshotCreate("vm-01", "before"))
    assert (await lab.vm("vm-01")).snapshots == ("before",)
    await lab.do(c.VmGuestWrite("vm-01", b"another"))
    assert await holds(lab, "vm-01", b"another")
    reverted = await lab.do(c.VmSnapshotRevert("vm-01", "before"))
    assert reverted.power is PowerState.OFF
    await starts(lab, "vm-01")
    assert await holds(lab, "vm-01")
    assert (await lab.do(c.VmSnapshotRemove("vm-01", "before"))).snapshots == ()


async def test_snapshots_block_what_changes_the_data_and_no_shallow_recrypt(lab: Lab) -> None:
    """REK-02, CLN-02, REK-01; nothing is made for what is refused."""
    await lab.do(c.VmSnapshotCreate("vm-01", "before"))
    await lab.vm_off("vm-01")
    before, old = await keys_made(lab), (await lab.vm("vm-01")).key
    for command in (c.VmRecrypt("vm-01", deep=True), c.VmDecrypt("vm-01")):
        assert "has snapshots (before)" in str(await refused(lab, command))
    assert await keys_made(lab) == before
    shallow = await lab.do(c.VmRecrypt("vm-01"))
    assert shallow.key != old and old is not None
    await lab.do(c.KmsKeyDestroy(old.partition("/")[2]))
    await lab.reboot(A, B)
    await lab.sleep(30)
    await lab.do(c.VmSnapshotRevert("vm-01", "before"))
    await starts(lab, "vm-01")
    assert await holds(lab, "vm-01")
    await lab.do(c.VmSnapshotRemove("vm-01", "before"))
    await lab.vm_off("vm-01")
    await lab.do(c.VmDecrypt("vm-01"))
    await lab.do(c.VmSnapshotCreate("vm-01", "clear"))
    assert "has snapshots (clear)" in str(await refused(lab, c.VmEncrypt("vm-01")))


async def test_a_vm_with_snapshots_moves_and_its_host_may_boot(lab: Lab) -> None:
    """REG-03, and what vCenter knows of snapshots is what the VM's host says."""
    await lab.do(c.VmSnapshotCreate("vm-01", "before"))
    source = (await lab.vm("vm-01")).host
    await lab.do(c.VmMigrate("vm-01", B if source == A else A))
    assert (await lab.vm("vm-01")).snapshots == ("before",)
    await lab.reboot("vcenter")
    await lab.sleep(30)
    assert (await lab.vm("vm-01")).snapshots == ("before",)
    await lab.do(c.VmSnapshotRevert("vm-01", "before"))
    await starts(lab, "vm-01")


# ---- registering (REG-01) ------------------------------------------------------------------


async def test_without_its_key_a_vm_is_registered_and_locked(lab: Lab) -> None:
    await lab.vm_off("vm-01")
    host = str((await lab.vm("vm-01")).host)
    await lab.do(c.VmUnregister(("vm-01",)))
    await lab.sleep(10)
    assert (await lab.vms()) == ()
    await lab.do(c.LinkCut("vcenter", "kms"))
    locked = await lab.do(c.VmRegister("vm-01", host=host))
    assert locked.crypto is VmCryptoState.LOCKED and locked.missing
    assert locked.connection is VmConnectionState.INVALID
    assert "EncryptionKeyRequired" in str((await lab.vm_on("vm-01"))[0].error)
    await lab.heal()
    await lab.sleep(400)
    assert (await lab.vm("vm-01")).crypto is VmCryptoState.UNLOCKED
    await starts(lab, "vm-01")
    assert await holds(lab, "vm-01")
