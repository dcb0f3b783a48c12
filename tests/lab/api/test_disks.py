"""Disks of VMs, as people ask for them, on a whole lab in virtual time."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from lab.client import Lab
from lab.schema import commands as c
from lab.schema.answers import KeyRef
from protocol.terms import PowerState, VmConnectionState, VmCryptoState
from tests.lab.api.refusals import refused

A, B, VM, SECOND = "esxi-001", "esxi-002", "w.two", "kms-provider-2"


@pytest.fixture
async def lab() -> AsyncIterator[Lab]:
    knobs = {"remediation_interval_s": 60, "kms_health_interval_s": 60}
    async with Lab(mode="sim", seed=5, hosts=2, vms=0, providers=2, knobs=knobs) as made:
        await made.do(c.VmCreate(VM, host=A, encrypted=True))
        yield made


async def works(lab: Lab) -> bool:
    await lab.do(c.VmGuestChallenge(VM, b"nonce", (1, 5)))
    return (await lab.vm(VM)).power is PowerState.ON


async def told(lab: Lab) -> list[str]:
    return [
        e.event.value.removeprefix("com.vmware.vc.") for e in (await lab.do(c.GetEvents())).items
    ]


async def with_disks(lab: Lab, **second: object) -> tuple[str, str]:
    """A VM with a second disk, running; the keys of the two."""
    added = await lab.do(c.VmAddDisk(VM, 16, **second))  # type: ignore[arg-type]
    assert added.added == 2 and [disk.label for disk in added.items] == [
        "Hard disk 1",
        "Hard disk 2",
    ]
    await lab.do(c.VmOn((VM,)))
    await lab.do(c.VmGuestWrite(VM, b"marker"))
    first, other = (disk.key for disk in added.items)
    assert first is not None and other is not None
    return first, other


async def test_a_disk_has_the_vms_key_unless_it_is_given_its_own(lab: Lab) -> None:
    """KEY-04: several keys are legal, and warned about."""
    first, other = await with_disks(lab)
    assert first == other and "vm.crypto.DiskchainUsingMixedKeys" not in await told(lab)
    await lab.do(c.VmOff((VM,)))
    third = (await lab.do(c.VmAddDisk(VM, own_key=True))).items[2].key
    assert third is not None and third != first and third.startswith("kms-provider/")
    assert "vm.crypto.DiskchainUsingMixedKeys" in await told(lab)
    described = await lab.do(c.DescribeVm(VM))
    assert described.host_view is not None
    assert [disk.key for disk in described.host_view.disks] == [first, first, third]
    users = {key.key: key.encrypted_vms for key in (await lab.do(c.GetKeys())).items}
    assert users[KeyRef(first)] == users[KeyRef(third)] == (VM,)


async def test_one_shallow_recrypt_gives_it_one_key_again(lab: Lab) -> None:
    first, other = await with_disks(lab, provider=SECOND)
    new = (await lab.do(c.VmRecrypt(VM))).key
    assert new is not None and new not in (first, other) and await works(lab)
    await lab.sleep(120)
    known = {key.key: key.encrypted_vms for key in (await lab.do(c.GetKeys())).items}
    assert known[KeyRef(new)] == (VM,) and first not in known and other not in known
    described = await lab.do(c.DescribeVm(VM))
    assert described.host_view is not None
    assert [disk.key for disk in described.host_view.disks] == [new, new]
    await lab.do(c.HostReboot((A,)))
    await lab.sleep(120)
    assert await works(lab)


async def test_x16_the_second_providers_server_is_cut(lab: Lab) -> None:
    """It runs, it starts again where its keys are cached; a host that booted lacks the one key,
    which alone is named: locked, and not invalid, since it is not the home's (Z24)."""
    first, other = await with_disks(lab, provider=SECOND)
    await lab.fault("link.cut", between=["vcenter", "kms-2"])
    await lab.sleep(400)
    assert await works(lab), "E1"
    await lab.do(c.VmOff((VM,)))
    await lab.do(c.VmOn((VM,)))
    assert await works(lab), "E3"
    await lab.do(c.VmOff((VM,)))
    await lab.do(c.HostReboot((A,)))
    await lab.sleep(120)
    (row,) = (await lab.do(c.VmOn((VM,)))).items
    assert row.error is not None and "EncryptionKeyRequired" in row.error, "E4"
    assert other in row.error and first not in row.error
    vm = await lab.vm(VM)
    assert (vm.crypto, vm.missing) == (VmCryptoState.LOCKED, (other,))
    assert vm.connection is VmConnectionState.CONNECTED
    await lab.do(c.LinkHeal("vcenter", "kms-2"))
    await lab.sleep(400)
    await lab.do(c.VmOn((VM,)))
    assert await works(lab)


async def test_x17_a_disk_whose_key_is_destroyed_is_detached(lab: Lab) -> None:
    """LOCK-03: refused with the disk's path, locked and valid; without the disk it starts."""
    first, other = await with_disks(lab, own_key=True)
    await lab.do(c.VmOff((VM,)))
    await lab.do(c.KmsKeyDestroy(other))
    await lab.do(c.HostReboot((A,)))
    await lab.sleep(120)
    (row,) = (await lab.do(c.VmOn((VM,)))).items
    assert row.error is not None and "EncryptionKeyRequired" in row.error
    assert f"Hard disk 2, [datastore-cluster-a] {VM}/disk-3.vmdk, is encrypted" in row.error
    vm = await lab.vm(VM)
    assert (vm.crypto, vm.connection) == (VmCryptoState.LOCKED, VmConnectionState.CONNECTED)
    assert vm.missing == (other,)
    assert "EncryptionKeyRequired" in str(await refused(lab, c.VmRecrypt(VM))), "REK-05"
    left = await lab.do(c.VmRemoveDisk(VM, 2))
    assert [disk.key for disk in left.items] == [first]
    vm = await lab.vm(VM)
    assert (vm.crypto, vm.missing, vm.lock_event) == (VmCryptoState.UNLOCKED, (), None)
    await lab.do(c.VmOn((VM,)))
    assert await works(lab)


async def test_disks_are_refused_with_the_reason(lab: Lab) -> None:
    await lab.do(c.VmCreate("clear", host=A))
    failed = await refused(lab, c.VmAddDisk("clear", provider=SECOND))
    assert "InvalidState" in str(failed) and "not encrypted" in str(failed)
    assert [d.key for d in (await lab.do(c.VmAddDisk("clear"))).items] == [None, None]
    assert "no key provider nobody" in str(await refused(lab, c.VmAddDisk(VM, provider="nobody")))
    await lab.do(c.VmOn((VM,)))
    assert "InvalidPowerState" in str(await refused(lab, c.VmAddDisk(VM)))
    assert "InvalidPowerState" in str(await refused(lab, c.VmRemoveDisk(VM, 1)))
    await lab.do(c.VmOff((VM,)))
    assert "the only one" in str(await refused(lab, c.VmRemoveDisk(VM, 1)))
