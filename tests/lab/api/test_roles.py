"""Users with roles in a simulated lab of real services (PRIV-01, HEM-01, MOB-05)."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from lab.client import Lab
from lab.schema.commands import (
    GetKms,
    GetRoles,
    GetTasks,
    GetUsers,
    RoleCreate,
    RoleDelete,
    RoleUpdate,
    UserDelete,
    UserSet,
    VmAddDisk,
    VmCreate,
    VmDestroy,
    VmMigrate,
    VmOff,
    VmRecrypt,
)
from protocol.authorization import Privilege
from protocol.messages.vcenter.inventory import TaskInfoState
from tests.lab.api.refusals import refused

OPS = "ops@vsphere.local"


@pytest.fixture
async def lab() -> AsyncIterator[Lab]:
    async with Lab(mode="sim", seed=5, hosts=2, vms=1) as made:
        yield made


async def keys_at_server(lab: Lab) -> int:
    return sum(server.keys or 0 for server in (await lab.do(GetKms())).items)


async def test_what_is_refused_makes_nothing_and_is_a_task_of_that_user(lab: Lab) -> None:
    await lab.do(UserSet(OPS, "NoCryptoAdmin"))
    before, vms = await keys_at_server(lab), await lab.vms()
    for command in (
        VmCreate("secret", encrypted=True),
        VmRecrypt("vm-01"),
        VmMigrate("vm-01", "esxi-002" if vms[0].host == "esxi-001" else "esxi-001"),
    ):
        assert "NoPermission" in str(await refused(lab, command, OPS))
    assert await keys_at_server(lab) == before and await lab.vms() == vms
    own = [task for task in (await lab.do(GetTasks())).items if task.user == OPS]
    assert [(task.name, task.state, task.error) for task in own] == [
        (name, TaskInfoState.ERROR, "NoPermission")
        for name in ("CreateVm", "RecryptVm", "MigrateVm")
    ]
    assert "Cryptographer.EncryptNew" in own[0].reason


async def test_a_clear_vm_asks_for_no_cryptography(lab: Lab) -> None:
    await lab.do(UserSet(OPS, "NoCryptoAdmin"))
    made = await lab.do(VmCreate("clear", host="esxi-001"), user=OPS)
    await lab.do(VmAddDisk(made.vm), user=OPS)
    moved = await lab.do(VmMigrate(made.vm, "esxi-002"), user=OPS)
    assert moved.vm.host == "esxi-002"
    (off,) = (await lab.do(VmOff(("vm-01",)), user=OPS)).items
    assert off.error is None


async def test_a_role_of_ones_own(lab: Lab) -> None:
    made = await lab.do(RoleCreate("watcher", add=(Privilege.POWER_OFF,)))
    (own,) = [role for role in made.items if role.role == "watcher"]
    assert set(own.privileges) == {Privilege.VIEW, Privilege.READ, Privilege.POWER_OFF}
    assert not own.system and Privilege.CLONE in own.without
    await lab.do(UserSet(OPS, "watcher"))
    (kept,) = (await lab.do(VmDestroy(("vm-01",)), user=OPS)).items
    assert "VirtualMachine.Inventory.Delete" in (kept.error or "")
    assert (await lab.do(VmOff(("vm-01",)), user=OPS)).items[0].error is None
    await lab.do(RoleUpdate("watcher", add=(Privilege.DELETE_VM,)))
    (gone,) = (await lab.do(VmDestroy(("vm-01",)), user=OPS)).items
    assert gone.error is None
    assert "ResourceInUse" in str(await refused(lab, RoleDelete("watcher")))
    await lab.do(UserDelete(OPS))
    await lab.do(RoleDelete("watcher"))
    assert [role.role for role in (await lab.do(GetRoles())).items if not role.system] == []
    assert [one.user for one in (await lab.do(GetUsers())).items] == ["administrator@vsphere.local"]


async def test_what_is_no_role_or_no_user(lab: Lab) -> None:
    assert "there is no role x" in str(await refused(lab, RoleCreate("y", like="x")))
    assert "KS-USE-003" in str((await refused(lab, GetUsers(), "a b")).id)
    assert "System.Read" in str(await refused(lab, GetUsers(), "nobody"))
