"""VMs and hosts that come into vCenter's inventory and leave it, as a person does it."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from lab.api.commands import Command, GetHostView, GetVms, VmCreate
from lab.client import Lab
from lab.errors import KeysteadError

pytestmark = pytest.mark.sim

HOST = "esxi-001"


@pytest.fixture
async def lab() -> AsyncIterator[Lab]:
    async with Lab(
        mode="sim", seed=3, hosts=2, vms=2, knobs={"remediation_interval_s": 60}
    ) as made:
        yield made


async def refused(lab: Lab, command: Command[object]) -> KeysteadError:
    with pytest.raises(KeysteadError) as caught:
        await lab.do(command)
    return caught.value


async def names(lab: Lab) -> list[str]:
    return [vm.vm for vm in (await lab.do(GetVms())).items]


async def test_an_encrypted_vm_is_made_whole_or_not_at_all(lab: Lab) -> None:
    await lab.cut("vcenter", "kms")
    await refused(lab, VmCreate("vm-03", host=HOST, encrypted=True))
    assert await names(lab) == ["vm-01", "vm-02"]
    view = await lab.do(GetHostView(HOST))
    assert "vm-03" not in [vm.vm for vm in view.vms]
    await lab.heal()
    made = await lab.do(VmCreate("vm-03", host=HOST, encrypted=True))
    assert made.key and await names(lab) == ["vm-01", "vm-02", "vm-03"]
