"""VMs and hosts that come into vCenter's inventory and leave it, as a person does it."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from lab.api.commands import (
    Command,
    DescribeHost,
    GetHostView,
    GetKeys,
    GetVms,
    HostAdd,
    HostDisconnect,
    HostEnterMaintenance,
    HostExitMaintenance,
    HostReconnect,
    HostRemove,
    ProviderDelete,
    VmCreate,
    VmDestroy,
    VmRegister,
    VmUnregister,
)
from lab.client import Lab
from lab.errors import KeysteadError
from protocol.terms import HostConnectionState, HostCryptoState, PowerState, VmCryptoState

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


async def keys_at_hosts(lab: Lab) -> set[int]:
    views = [await lab.do(GetHostView(host)) for host in (HOST, "esxi-002")]
    return {view.cached_keys for view in views}


async def test_a_vm_leaves_with_its_key_and_comes_back(lab: Lab) -> None:
    for host in (HOST, "esxi-002"):
        await lab.esx(host, "system security keypersistence enable")
    await lab.sleep(5)
    assert await keys_at_hosts(lab) == {3}
    running = (await lab.do(VmDestroy(("vm-01",)))).items
    assert [(r.vm, r.host, r.error_id) for r in running] == [("vm-01", HOST, "KS-PRODUCT-001")]
    await lab.vm_off("vm-01", "vm-02")
    gone = await lab.do(VmUnregister(("vm-01",)))
    assert [(r.vm, r.error) for r in gone.items] == [("vm-01", None)] and not gone.refused
    assert await names(lab) == ["vm-02"]
    assert [k.encrypted_vms for k in (await lab.do(GetKeys())).items if k.encrypted_vms] == [
        ("vm-02",)
    ]
    await lab.sleep(5)
    views = [await lab.do(GetHostView(host)) for host in (HOST, "esxi-002")]
    assert [(v.cached_keys, v.stored_keys) for v in views] == [(2, 2), (2, 2)]
    error = await refused(lab, VmUnregister(("vm-01",)))
    assert error.id == "KS-USE-002"
    back = await lab.do(VmRegister("vm-01", host="esxi-002"))
    assert (back.host, back.crypto) == ("esxi-002", VmCryptoState.UNLOCKED)
    await lab.vm_on("vm-01")
    assert (await lab.vm("vm-01")).power is PowerState.ON
    assert (await lab.do(VmDestroy(("vm-02",)))).refused == ()
    error = await refused(lab, VmRegister("vm-02"))
    assert error.id == "KS-USE-002" and "no files" in str(error)
    assert await names(lab) == ["vm-01"]


async def test_a_host_leaves_with_its_vms_and_comes_back(lab: Lab) -> None:
    running = await refused(lab, HostRemove((HOST,)))
    assert running.id == "KS-PRODUCT-001" and "vm-01" in str(running)
    (there,) = (await lab.do(HostDisconnect((HOST,)))).items
    assert there.connection is HostConnectionState.DISCONNECTED and there.stale
    await lab.sleep(30)
    told = (await lab.do(DescribeHost(HOST))).reasons
    assert f"keystead host reconnect {HOST}" in [reason.cure for reason in told]
    (there,) = (await lab.do(HostReconnect((HOST,)))).items
    assert there.connection is HostConnectionState.CONNECTED
    await lab.do(HostDisconnect((HOST,)))
    (gone,) = (await lab.do(HostRemove((HOST,)))).items
    assert (gone.host, gone.vms) == (HOST, ("vm-01",))
    assert [h.host for h in await lab.hosts()] == ["esxi-002"] and await names(lab) == ["vm-02"]
    told = (await lab.do(DescribeHost(HOST))).reasons
    assert f"keystead host add {HOST}" in [reason.cure for reason in told]
    back = await lab.do(HostAdd(HOST))
    assert back.connection is HostConnectionState.CONNECTED
    assert (await lab.vm("vm-01")).power is PowerState.ON  # it ran all the time
    error = await refused(lab, HostAdd(HOST, "elsewhere"))
    assert error.id == "KS-USE-003"


async def test_a_host_in_maintenance_takes_nothing(lab: Lab) -> None:
    running = await refused(lab, HostEnterMaintenance((HOST,)))
    assert running.id == "KS-PRODUCT-001" and "vm-01" in str(running)
    await lab.vm_off("vm-01")
    (there,) = (await lab.do(HostEnterMaintenance((HOST,)))).items
    assert there.in_maintenance_mode
    (power,) = await lab.vm_on("vm-01")
    assert power.error and "maintenance" in power.error
    assert (await lab.do(VmCreate("vm-03"))).host == "esxi-002"
    told = (await lab.do(DescribeHost(HOST))).reasons
    assert f"keystead host exit-maintenance {HOST}" in [reason.cure for reason in told]
    await lab.reboot(HOST)
    assert (await lab.host(HOST)).in_maintenance_mode
    (there,) = (await lab.do(HostExitMaintenance((HOST,)))).items
    assert not there.in_maintenance_mode
    (power,) = await lab.vm_on("vm-01")
    assert power.power is PowerState.ON
