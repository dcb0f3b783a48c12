"""Other keys for VMs, as people ask for them, on a whole lab in virtual time."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from lab.client import Lab
from lab.schema import commands as c
from protocol.terms import KmipState, PowerState
from tests.lab.api.refusals import refused

A, B = "esxi-001", "esxi-002"


@pytest.fixture
async def lab() -> AsyncIterator[Lab]:
    knobs = {"remediation_interval_s": 60, "kms_health_interval_s": 60}
    async with Lab(mode="sim", seed=5, hosts=2, vms=0, providers=2, knobs=knobs) as made:
        await made.do(c.VmCreate("one", host=A, encrypted=True))
        await made.do(c.VmOn(("one",)))
        await made.do(c.VmGuestWrite("one", b"marker"))
        yield made


async def works(lab: Lab, vm: str = "one") -> bool:
    await lab.do(c.VmGuestChallenge(vm, b"nonce", (1, 5)))
    return (await lab.vm(vm)).power is PowerState.ON


async def told(lab: Lab) -> list[str]:
    return [
        e.event.value.removeprefix("com.vmware.vc.") for e in (await lab.do(c.GetEvents())).items
    ]


async def test_a_running_vm_comes_under_a_new_key_of_the_same_provider(lab: Lab) -> None:
    """A17: when the old key is destroyed afterwards, everything works, also after a reboot."""
    old = (await lab.vm("one")).key
    new = (await lab.do(c.VmRecrypt("one"))).key
    assert old is not None and new is not None and new != old
    assert await works(lab)
    assert (await lab.do(c.KmsKeyShow(old))).state is KmipState.ACTIVE, "it stays there (REK-03)"
    await lab.sleep(120)
    users = {key.key: key.encrypted_vms for key in (await lab.do(c.GetKeys())).items}
    assert users[new] == ("one",) and old not in users
    await lab.do(c.KmsKeyDestroy(old))
    await lab.do(c.HostReboot((A,)))
    await lab.sleep(120)
    assert (await lab.vm("one")).power is PowerState.ON and await works(lab)


async def test_another_provider_serves_it_afterwards(lab: Lab) -> None:
    moved = await lab.do(c.VmRecrypt("one", provider="kms-provider-2"))
    assert moved.key is not None and moved.key.startswith("kms-provider-2/")
    await lab.fault("link.cut", between=["vcenter", "kms"])
    await lab.do(c.HostReboot((A,)))
    await lab.sleep(300)
    assert (await lab.vm("one")).crypto == "unlocked"


async def test_a_deep_one_and_decrypting_need_it_powered_off(lab: Lab) -> None:
    assert "InvalidPowerState" in str(await refused(lab, c.VmRecrypt("one", deep=True)))
    assert "InvalidPowerState" in str(await refused(lab, c.VmDecrypt("one")))
    await lab.do(c.VmOff(("one",)))
    before = (await lab.vm("one")).key
    deep = await lab.do(c.VmRecrypt("one", deep=True))
    assert deep.key != before
    await lab.do(c.VmOn(("one",)))
    assert await works(lab)
    await lab.do(c.VmOff(("one",)))
    clear = await lab.do(c.VmDecrypt("one"))
    assert (clear.key, clear.crypto) == (None, None)
    await lab.do(c.VmOn(("one",)))
    assert await works(lab)
    assert "InvalidState" in str(await refused(lab, c.VmRecrypt("one")))


async def test_what_fails_leaves_the_old_key_and_tells_of_it(lab: Lab) -> None:
    """REK-04."""
    old = (await lab.vm("one")).key
    await lab.fault("link.cut", between=["vcenter", "kms"])
    assert "no server of key provider" in str(await refused(lab, c.VmRecrypt("one")))
    assert (await lab.vm("one")).key == old and await works(lab)
    assert "vm.crypto.RekeyFail" in await told(lab)


async def test_a_locked_vm_is_refused_with_the_keys_that_it_needs(lab: Lab) -> None:
    """REK-05, LOCK-02."""
    old = (await lab.vm("one")).key
    assert old is not None
    await lab.fault("link.cut", between=["vcenter", "kms"])
    await lab.do(c.HostReboot((A,)))
    await lab.sleep(120)
    failed = await refused(lab, c.VmRecrypt("one", provider="kms-provider-2"))
    assert "InvalidVmState" in str(failed) and old in str(failed)
    assert (await lab.vm("one")).key == old


async def disk_keys(lab: Lab) -> list[str | None]:
    described = await lab.do(c.DescribeVm("one"))
    assert described.host_view is not None
    return [disk.key for disk in described.host_view.disks]


async def test_for_a_disk_that_is_not_there_no_key_is_made(lab: Lab) -> None:
    """Neither at the key server nor on a host, and no task of another disk hears of it."""
    made = len((await lab.do(c.GetAudit("kms"))).items)
    for disk in (3, 0, -1):
        assert f"Hard disk {disk}" in str(await refused(lab, c.VmRecrypt("one", disk=disk)))
    assert len((await lab.do(c.GetAudit("kms"))).items) == made
    await lab.do(c.VmRecrypt("one", disk=1))


async def test_a_disk_alone_comes_under_another_provider(lab: Lab) -> None:
    """KEY-04: the VM needs both then, and a recrypt of the whole gives it one key again."""
    await lab.do(c.VmOff(("one",)))
    await lab.do(c.VmAddDisk("one", blocks=4))
    await lab.do(c.VmOn(("one",)))
    home = (await lab.vm("one")).key
    await lab.do(c.VmRecrypt("one", provider="kms-provider-2", disk=2))
    keys = await disk_keys(lab)
    assert [str(key).partition("/")[0] for key in keys] == ["kms-provider", "kms-provider-2"]
    assert (await lab.vm("one")).key == home and await works(lab)
    assert "vm.crypto.DiskchainUsingMixedKeys" in await told(lab)
    await lab.do(c.VmRecrypt("one", provider="kms-provider-2"))
    assert len(set(await disk_keys(lab))) == 1
    await lab.do(c.HostReboot((A,)))
    await lab.sleep(120)
    assert await works(lab)
