"""What a host's own administrator does there, and what HA does by hand: vCenter is not asked."""

from __future__ import annotations

import pytest

from lab.client import Lab
from lab.schema import commands as c
from lab.schema.answers import Vm, VmOnHost, VmPower
from protocol.terms import HostCryptoState, PowerState, VmConnectionState, VmCryptoState
from tests.lab.api.refusals import refused

pytestmark = pytest.mark.sim

A, B, VM = "esxi-001", "esxi-002", "vm-01"
"""The VM's own host, and the other one of its cluster."""


async def own(lab: Lab, host: str, vm: str = VM) -> VmOnHost:
    """The VM as that host has it."""
    return next(v for v in (await lab.do(c.GetHostView(host))).vms if v.vm == vm)


async def started(lab: Lab, host: str) -> VmPower:
    """What came of a power-on at that host."""
    (row,) = (await lab.do(c.VmOn((VM,), host=host, on_host=True))).items
    return row


async def key_of(lab: Lab) -> str:
    key = (await lab.vm(VM)).key
    assert key is not None
    return key


async def taken_over(lab: Lab) -> Vm:
    """A loses its power for good; the VM is registered at B by B alone."""
    await lab.do(c.HostPowerLoss((A,), stay_off=True))
    return await lab.do(c.VmRegister(VM, host=B, on_host=True))


async def test_a_provider_that_a_host_has_not_cannot_leave_it(lab: Lab) -> None:
    told = await refused(lab, c.HostRemoveProvider(A, "ghost"))
    assert told.id == "KS-USE-002" and "no key provider ghost; it has" in str(told)


async def test_a_key_in_the_cache_is_enough(lab: Lab) -> None:
    """E3 with vCenter down: the host asks nobody."""
    await lab.vm_off(VM)
    await lab.do(c.HostPowerOff(("vcenter", "kms")))
    assert (await started(lab, A)).power is PowerState.ON
    assert (await own(lab, A)).crypto is VmCryptoState.UNLOCKED


async def test_a_key_in_the_store_is_enough_after_a_reboot(lab: Lab) -> None:
    """E4 with vCenter down and persistence on (R36)."""
    await lab.esx(A, "system security keypersistence enable")
    await lab.vm_off(VM)
    await lab.do(c.HostPowerOff(("vcenter", "kms")))
    await lab.reboot(A)
    assert (await lab.do(c.GetHostView(A))).crypto_state is HostCryptoState.SAFE
    assert (await started(lab, A)).power is PowerState.ON


async def test_what_no_means_of_the_host_finds_is_named_and_the_vm_stays_locked(lab: Lab) -> None:
    """E4 with vCenter down and no persistence: the refusal names this VM's key and no other."""
    key = await key_of(lab)
    await lab.vm_off(VM)
    await lab.do(c.HostPowerOff(("vcenter",)))
    await lab.reboot(A)
    row = await started(lab, A)
    assert row.power is None and row.error_id == "KS-PRODUCT-001"
    assert row.error is not None and "EncryptionKeyRequired" in row.error
    assert row.error.endswith(f"(keys: {key})")
    there = await own(lab, A)
    assert (there.crypto, there.connection) == (VmCryptoState.LOCKED, VmConnectionState.INVALID)
    assert (there.missing, there.power, there.wanted) == ((key,), PowerState.OFF, PowerState.OFF)
    await lab.do(c.HostPowerOn(("vcenter",)))
    await lab.sleep(60)
    assert (await own(lab, A)).crypto is VmCryptoState.UNLOCKED
    assert (await started(lab, A)).power is PowerState.ON


async def test_a_connected_vcenter_is_asked_for_what_the_host_lacks(lab: Lab) -> None:
    """Step 5 of the search; the key was taken away at the host, which vCenter was not told."""
    key = await key_of(lab)
    await lab.vm_off(VM)
    gone = await lab.do(c.HostRemoveKeys(A, (key,)))
    assert [(row.key, row.removed, row.stored) for row in gone.items] == [(key, True, False)]
    assert (await own(lab, A)).crypto is VmCryptoState.LOCKED
    assert (await started(lab, A)).power is PowerState.ON


async def test_a_key_removed_at_a_host_leaves_its_store_and_a_running_vm_alone(lab: Lab) -> None:
    key = await key_of(lab)
    await lab.esx(A, "system security keypersistence enable")
    await lab.do(c.HostPowerOff(("vcenter",)))
    (row,) = (await lab.do(c.HostRemoveKeys(A, (key,)))).items
    assert row.removed and not row.stored
    assert (await own(lab, A)).power is PowerState.ON
    (row,) = (await lab.do(c.HostRemoveKeys(A, (key,)))).items
    assert not row.removed and row.reason == "not in the key cache"
    await lab.reboot(A)
    assert (await own(lab, A)).crypto is VmCryptoState.LOCKED


async def test_another_host_with_the_key_restarts_a_vm_by_itself(lab: Lab) -> None:
    """E5 with vCenter down, and what becomes of it when all are back (HA-01)."""
    await lab.sleep(5)  # until B has the key too (STD-12)
    await lab.do(c.HostPowerOff(("vcenter", "kms")))
    there = await taken_over(lab)
    assert (there.host, there.power, there.crypto) == (B, PowerState.OFF, VmCryptoState.UNLOCKED)
    assert (await own(lab, B)).wanted is PowerState.ON, "its last accepted command came along"
    assert (await started(lab, B)).power is PowerState.ON
    await lab.do(c.HostPowerOn((A,)))
    await lab.sleep(90)
    assert (await own(lab, A)).power is PowerState.OFF, "its lock is held at B"
    row = await started(lab, A)
    assert row.power is None and row.error is not None and B in row.error
    await lab.do(c.HostPowerOn(("kms", "vcenter")))
    await lab.sleep(60)
    vm = await lab.vm(VM)
    assert (vm.host, vm.power, vm.stale) == (B, PowerState.ON, False)
    (left,) = (await lab.do(c.VmUnregister((VM,), host=A, on_host=True))).items
    assert left.error is None
    assert VM not in [v.vm for v in (await lab.do(c.GetHostView(A))).vms]
    assert (await lab.vm(VM)).host == B
    (kept,) = (await lab.do(c.VmUnregister((VM,), host=B, on_host=True))).refused
    assert kept.error is not None and "InvalidPowerState" in kept.error


async def test_a_running_vm_is_not_taken_from_a_host_that_holds_its_lock(lab: Lab) -> None:
    await lab.do(c.HostPowerOff(("vcenter",)))
    await lab.do(c.VmRegister(VM, host=B, on_host=True))
    row = await started(lab, B)
    assert row.power is None and row.error is not None
    assert "FileFault" in row.error and A in row.error
    assert (await own(lab, A)).power is PowerState.ON
    assert (await own(lab, B)).power is PowerState.OFF


async def test_another_host_without_the_key_has_the_vm_locked(lab: Lab) -> None:
    """E6 with vCenter down: three looks tell that it is locked, and that it can be helped."""
    key = await key_of(lab)
    cut = await lab.cut("vcenter", "kms")
    await lab.do(c.HostPowerOff(("vcenter",)))
    await lab.reboot(B)
    there = await taken_over(lab)
    assert (there.crypto, there.missing) == (VmCryptoState.LOCKED, (key,))
    for _ in range(2):
        row = await started(lab, B)
        assert row.error is not None and row.error.endswith(f"(keys: {key})")
    assert (await own(lab, B)).crypto is VmCryptoState.LOCKED
    assert (await own(lab, B)).connection is VmConnectionState.INVALID

    await lab.do(c.HostPowerOn(("vcenter",)))
    await lab.sleep(60)
    vm = await lab.vm(VM)
    assert (vm.host, vm.crypto, vm.connection) == (
        B,
        VmCryptoState.LOCKED,
        VmConnectionState.INVALID,
    )
    assert vm.missing == (key,) and vm.lock_event is not None
    await lab.heal(cut)
    await lab.sleep(360)
    vm = await lab.vm(VM)
    assert (vm.host, vm.crypto) == (B, VmCryptoState.UNLOCKED)
    assert (await started(lab, B)).power is PowerState.ON


async def test_with_vcenter_there_the_key_comes_to_the_host_that_takes_over(lab: Lab) -> None:
    """E6 of F0: B lacks the key and vCenter is not told; its power-on rings, and vCenter brings."""
    key = await key_of(lab)
    await lab.do(c.HostRemoveKeys(B, (key,)))
    await taken_over(lab)
    assert (await started(lab, B)).power is PowerState.ON
    await lab.sleep(30)
    vm = await lab.vm(VM)
    assert (vm.host, vm.power) == (B, PowerState.ON)


async def test_a_host_that_is_asked_itself_refuses_in_its_own_words(lab: Lab) -> None:
    error = await refused(lab, c.VmRegister("vm-99", host=B, on_host=True))
    assert error.id == "KS-USE-002" and "no files" in str(error)
    assert [vm.vm for vm in (await lab.do(c.GetVms())).items] == ["vm-01", "vm-02"]


async def test_a_core_dump_is_read_again_when_its_host_key_is_back(lab: Lab) -> None:
    """DUMP-01, DUMP-02: prepared after a reboot with vCenter down, safe when it is back."""
    first = await lab.do(c.HostDumpWrite(A, marker=b"of this test"))
    assert (first.dump, first.boot, first.readable) == ("hostd-zdump.000", 1, True)
    assert first.key == (await lab.host(A)).crypto_key_id is not None
    assert (await lab.do(c.HostDumpWrite(A))).dump == "hostd-zdump.001"
    process = await lab.do(c.HostDumpWrite(A, vm="vm-01"))
    assert process.dump == "vmx-zdump.000" and process.key == (await lab.vm(VM)).key
    await lab.do(c.HostDumpRemove(A, process.dump))
    read = await lab.do(c.HostDumpDecrypt(A, first.dump))
    assert read.content.endswith(b"of this test") and b"vm-01 poweredOn" in read.content
    await lab.do(c.HostPowerOff(("vcenter",)))
    await lab.reboot(A)
    dumps = (await lab.do(c.HostDumpList(A))).items
    assert [(dump.key, dump.readable) for dump in dumps] == [(first.key, False)] * 2
    error = await refused(lab, c.HostDumpDecrypt(A, first.dump))
    assert error.id == "KS-PRODUCT-001" and str(first.key) in str(error)
    await lab.do(c.HostPowerOn(("vcenter",)))
    await lab.sleep(60)
    assert (await lab.do(c.HostDumpDecrypt(A, first.dump))).content == read.content
    left = (await lab.do(c.HostDumpRemove(A, first.dump))).items
    assert [dump.dump for dump in left] == ["hostd-zdump.001"]
    error = await refused(lab, c.HostDumpRemove(A, first.dump))
    assert error.id == "KS-USE-002"


async def test_a_core_dump_goes_along_with_the_host_key_and_its_host(lab: Lab) -> None:
    """REK-06, DUMP-03: over another host key, and a host that left and came back."""
    dump = await lab.do(c.HostDumpWrite(B, marker=b"of this test"))
    key = (await lab.do(c.KeyGenerate())).key
    await lab.do(c.HostEnableCrypto(B, key))
    (moved,) = (await lab.do(c.HostDumpList(B))).items
    assert (dump.key != key, moved.key, moved.readable) == (True, key, True)
    await lab.do(c.VmOff(tuple(v.vm for v in (await lab.do(c.GetVms())).items if v.host == B)))
    await lab.do(c.HostRemove((B,)))
    await lab.reboot(B)
    assert [one.readable for one in (await lab.do(c.HostDumpList(B))).items] == [False]
    assert key in str(await refused(lab, c.HostDumpDecrypt(B, dump.dump)))
    await lab.do(c.HostAdd(B))
    await lab.do(c.HostEnableCrypto(B, key))
    assert (await lab.do(c.HostDumpDecrypt(B, dump.dump))).content.endswith(b"of this test")
