"""VMs and hosts that come into vCenter's inventory and leave it, as a person does it."""

from __future__ import annotations

import contextlib

import pytest

from lab.building.provision import provision
from lab.client import Lab
from lab.schema.commands import (
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
from lab.simulation.sim_lab import SimLab, make
from lab.topology.lab_file import load
from lab.topology.plan import plan
from protocol.messages.agent import CutRule
from protocol.messages.host.vms import HostPowerOnVm, HostRegisterVm
from protocol.messages.vcenter.vms import ListVms, PowerOnVm
from protocol.terms import (
    HostConnectionState,
    HostCryptoState,
    NodeName,
    PowerState,
    VmCryptoState,
    VmName,
)
from tests.lab.api.refusals import refused

pytestmark = pytest.mark.sim

HOST = "esxi-001"


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
    (kept,) = (await lab.do(VmDestroy(("vm-01",)))).refused  # nobody deletes its files
    assert kept.error_id == "KS-USE-002" and "vm-01" in (kept.error or "")
    assert (await lab.do(VmUnregister(("vm-01",)))).refused == ()  # which leaves them alone
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


def two_hosts_with_one_vm() -> SimLab:
    """vm-01 runs on esxi-001, and the administrator of esxi-002 can register it there."""
    made, session = make(plan(load("default", hosts=2, vms=1, tpm="model")), 5)
    made.run(provision(made, session.report))
    return made


async def placed(lab: SimLab) -> tuple[str, PowerState]:
    (vm,) = (await lab.ask(lab.vcenter, ListVms())).vms
    return vm.host, vm.power


def test_a_vm_that_was_restarted_elsewhere_is_where_it_runs() -> None:
    lab = two_hosts_with_one_vm()
    one, two, vm = NodeName(HOST), NodeName("esxi-002"), VmName("vm-01")

    async def story() -> None:
        await lab.power_off(one, "crash")
        await lab.ask(two, HostRegisterVm(vm=vm))  # as high availability would do it
        await lab.ask(two, HostPowerOnVm(vm=vm))
        await lab.sleep(15)
        assert await placed(lab) == (two, PowerState.ON)
        await lab.power_on(one)  # it still has it registered, and would start it
        await lab.sleep(60)
        assert await placed(lab) == (two, PowerState.ON)
        await lab.power_off(two, "crash")
        await lab.sleep(90)  # three heartbeats without an answer
        assert await placed(lab) == (one, PowerState.OFF)
        await lab.power_on(two)
        await lab.sleep(45)
        assert await placed(lab) == (two, PowerState.ON)

    with contextlib.closing(lab.loop):
        lab.run(story())


def test_a_vm_on_a_host_out_of_sight_stays_there_while_its_lock_is_held() -> None:
    lab = two_hosts_with_one_vm()
    one, two, vm = NodeName(HOST), NodeName("esxi-002"), VmName("vm-01")

    async def story() -> None:
        await lab.ask(two, HostRegisterVm(vm=vm))
        ends = ((one, lab.vcenter), (lab.vcenter, one))
        await lab.put_rules([CutRule(id="cut", src=src, dst=dst) for src, dst in ends])
        await lab.sleep(90)
        assert await placed(lab) == (one, PowerState.ON)
        await lab.power_off(one, "power_loss")
        await lab.sleep(15)
        assert await placed(lab) == (two, PowerState.OFF)
        assert (await lab.ask(lab.vcenter, PowerOnVm(vm=vm))).vm.host == two

    with contextlib.closing(lab.loop):
        lab.run(story())
