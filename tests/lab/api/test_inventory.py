"""VMs and hosts that come into vCenter's inventory and leave it, as a person does it."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from lab.api.commands import Command, GetHostView, GetVms, ProviderDelete, VmCreate
from lab.client import Lab
from lab.errors import KeysteadError
from protocol.terms import HostCryptoState

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


async def test_a_deleted_provider_leaves_cache_store_and_the_next_boot(lab: Lab) -> None:
    for host in (HOST, "esxi-002"):
        await lab.esx(host, "system security keypersistence enable")
    await lab.esx("esxi-002", "system security keypersistence disable")  # its store is kept
    held = await lab.do(GetHostView("esxi-002"))
    assert held.stored_keys
    await lab.do(ProviderDelete("kms-provider"))
    await lab.sleep(400)
    for host in (HOST, "esxi-002"):
        view = await lab.do(GetHostView(host))
        assert (view.cached_keys, view.stored_keys) == (0, 0)
        assert view.crypto_state is HostCryptoState.SAFE  # the host key in memory stays
    await lab.reboot(HOST)
    view = await lab.do(GetHostView(HOST))
    assert view.crypto_state is HostCryptoState.PREPARED and view.stored_keys == 0
