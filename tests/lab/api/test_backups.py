"""The administrator of a key server takes a backup, loses a key, and restores."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from lab.client import Lab
from lab.schema import commands as c
from protocol.terms import KmipState, PowerState
from tests.lab.api.refusals import refused

pytestmark = pytest.mark.sim

VM = "vm-01"


@pytest.fixture
async def lab() -> AsyncIterator[Lab]:
    """A pair of key servers, and a second provider on one of its own."""
    async with Lab(mode="sim", seed=3, hosts=2, vms=2, kms=2, providers=2) as made:
        yield made


async def key_of(lab: Lab, vm: str) -> str:
    key = (await lab.vm(vm)).key
    assert key is not None
    return key


async def state(lab: Lab, key: str, kms: str) -> KmipState:
    return (await lab.do(c.KmsKeyShow(key, kms))).state


async def restores(lab: Lab, kms: str) -> int:
    rows = (await lab.do(c.GetAudit(kms))).items
    return sum(row.operation == "Restore" for row in rows)


async def boots(lab: Lab) -> dict[str, int]:
    return {n.node: n.boot for n in (await lab.do(c.GetNodes())).items if n.node.startswith("kms")}


async def machine(lab: Lab, node: str) -> str:
    return next(n.state for n in (await lab.do(c.GetNodes())).items if n.node == node)


async def test_a_destroyed_key_is_there_again_and_the_trails_say_why(lab: Lab) -> None:
    key = await key_of(lab, VM)
    taken = await lab.do(c.KmsBackup("before", ("kms-1",)))
    assert taken.kms == ("kms-1", "kms-2"), "both, for they replicate"
    assert await boots(lab) == {"kms-1": 2, "kms-2": 2, "kms-3": 1}
    await lab.do(c.KmsKeyDestroy(key))
    assert await state(lab, key, "kms-2") is KmipState.DESTROYED
    back = await lab.do(c.KmsRestore("before", ("kms-2",)))
    assert back.kms == ("kms-1", "kms-2")
    for kms in ("kms-1", "kms-2"):
        assert await state(lab, key, kms) is KmipState.ACTIVE
        assert await restores(lab, kms) == 1
    await lab.sleep(60)
    assert await state(lab, key, "kms-1") is KmipState.ACTIVE, "no peer knows better"
    assert await restores(lab, "kms-3") == 0
    await lab.vm_off(VM)
    await lab.reboot("esxi-001")
    assert [row.power for row in await lab.vm_on(VM)] == [PowerState.ON]


async def test_a_fault_uses_a_backup_of_before_and_is_no_outage(lab: Lab) -> None:
    key = await key_of(lab, VM)
    await lab.do(c.KmsBackup("setup"))
    before = await boots(lab)
    await lab.fault("kms.key_state", vm=VM, state="destroy", backup="setup")
    assert await boots(lab) == before
    (left,) = (await lab.heal()).left
    assert "keystead kms restore setup" in left.cure
    assert (await lab.heal(with_cure=True)).left == ()
    assert await state(lab, key, "kms-1") is KmipState.ACTIVE


async def test_a_backup_without_keys_in_use_is_not_kept(lab: Lab) -> None:
    await lab.do(c.KmsBackup("early"))
    await lab.do(c.VmCreate("newer", encrypted=True))
    newer, old = await key_of(lab, "newer"), await key_of(lab, VM)
    await lab.fault("kms.key_state", vm=VM, state="deactivate", backup="early")
    (left,) = (await lab.heal(with_cure=True)).left
    assert "KS-CHAOS-108" in left.seen and newer.split("/")[1] in left.seen
    assert await state(lab, newer, "kms-1") is KmipState.ACTIVE
    assert await state(lab, old, "kms-2") is KmipState.DEACTIVATED


async def test_a_backup_that_is_not_there_leaves_all_servers_running(lab: Lab) -> None:
    error = await refused(lab, c.KmsRestore("never"))
    assert error.id == "KS-USE-002" and "never" in str(error)
    assert {n.state for n in (await lab.do(c.GetNodes())).items} == {"running"}
    assert await restores(lab, "kms-1") == 0
    error = await refused(lab, c.KmsBackup("x", ("esxi-001",)))
    assert error.id == "KS-USE-002" and "no key server: esxi-001" in str(error)


async def test_a_server_that_was_off_is_copied_and_stays_off(lab: Lab) -> None:
    await lab.do(c.HostPowerOff(("kms-3",)))
    await lab.do(c.KmsBackup("off", ("kms-3",)))
    assert await machine(lab, "kms-3") == "off"
    await lab.do(c.KmsRestore("off", ("kms-3",)))
    assert await machine(lab, "kms-3") == "running"
    assert await restores(lab, "kms-3") == 1
