"""Whether a VM's memory travels encrypted: as its policy says, or always (MOB-02)."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from lab.client import Lab
from lab.schema import commands as c
from protocol.terms import MigrateEncryption
from tests.lab.api.refusals import refused

A, B = "esxi-001", "esxi-002"
DISABLED = MigrateEncryption.DISABLED
REQUIRED = MigrateEncryption.REQUIRED


@pytest.fixture
async def lab() -> AsyncIterator[Lab]:
    async with Lab(mode="sim", seed=8, hosts=2, vms=1) as made:
        await made.do(c.VmCreate("clear", host=A))
        await made.vm_on("clear")
        yield made


async def stream(lab: Lab, vm: str) -> bool | None:
    """Whether the memory of that VM travels encrypted to the other host."""
    there = (await lab.vm(vm)).host
    return (await lab.do(c.VmMigrate(vm, B if there == A else A))).encrypted


async def test_a_clear_vm_moves_as_its_policy_says(lab: Lab) -> None:
    assert await stream(lab, "clear") is True, "opportunistic: both hosts can"
    said = await lab.do(c.VmSetMigrateEncryption("clear", DISABLED))
    assert said.migrate_encryption is DISABLED
    assert await stream(lab, "clear") is False
    await lab.reboot("vcenter")
    await lab.sleep(30)
    assert await stream(lab, "clear") is False
    await lab.do(c.VmSetMigrateEncryption("clear", REQUIRED))
    assert await stream(lab, "clear") is True


async def test_an_encrypted_vm_keeps_required_when_it_is_decrypted(lab: Lab) -> None:
    encrypted = await lab.vm("vm-01")
    assert encrypted.migrate_encryption is REQUIRED
    assert "InvalidState" in str(await refused(lab, c.VmSetMigrateEncryption("vm-01", DISABLED)))
    assert await stream(lab, "vm-01") is True
    await lab.vm_off("vm-01")
    decrypted = await lab.do(c.VmDecrypt("vm-01"))
    assert decrypted.key is None and decrypted.migrate_encryption is REQUIRED
    assert (
        await lab.do(c.VmSetMigrateEncryption("vm-01", DISABLED))
    ).migrate_encryption is DISABLED


async def test_a_virtual_tpm_makes_it_required_and_its_removal_keeps_it(lab: Lab) -> None:
    """VTPM-10."""
    await lab.do(c.VmSetMigrateEncryption("clear", DISABLED))
    await lab.vm_off("clear")
    assert (await lab.do(c.VmAddTpm("clear"))).migrate_encryption is REQUIRED
    await lab.vm_on("clear")
    assert await stream(lab, "clear") is True
    await lab.vm_off("clear")
    assert (await lab.do(c.VmRemoveTpm("clear"))).migrate_encryption is REQUIRED


async def test_who_may_only_look_changes_nothing(lab: Lab) -> None:
    await lab.do(c.UserSet("looker", "ReadOnly"))
    error = await refused(lab, c.VmSetMigrateEncryption("clear", DISABLED), "looker")
    assert "VirtualMachine.Config.Settings" in str(error)
