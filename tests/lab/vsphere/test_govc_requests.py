"""What govc asks and a client of pyVmomi does not: each request as govc sends it."""

from __future__ import annotations

import re
from typing import Any

import pytest

pytest.importorskip("pyVmomi")

from pyVim.task import WaitForTask
from pyVmomi import vim, vmodl

from lab.schema import commands as c
from lab.serve import vcenters as provider_alarms
from lab.vsphere.vim.alarms import ALARMS
from services.vcenter.key_server_status import AlarmId
from tests.lab.vsphere.conftest import Served

pytestmark = [pytest.mark.sim, pytest.mark.one_worker("vsphere")]


def done(task: Any) -> Any:
    """What came of a task, which a simulated lab has done already."""
    assert task.info.state == "success", task.info.error
    return task.info.result


def vm_named(si: Any, name: str) -> Any:
    found = si.content.searchIndex.FindByInventoryPath(f"dc/vm/{name}")
    assert found is not None
    return found


def test_tasks_of_a_vm_that_has_gone_name_it(si: Any) -> None:
    """``govc tasks`` reads the type of the entity of each Destroy_Task, and crashes without it."""
    folder = si.content.rootFolder.childEntity[0].vmFolder
    pool = folder.parent.hostFolder.childEntity[0].resourcePool
    vm = done(folder.CreateVM_Task(vim.vm.ConfigSpec(name="gone"), pool))
    done(vm.Destroy_Task())
    tasks = [t.info for t in si.content.taskManager.recentTask]
    mine = [t for t in tasks if t.entityName == "gone"]
    assert [t.descriptionId for t in mine] == ["Folder.createVm", "VirtualMachine.destroy"]
    assert {t.entity for t in mine} == {vm}


def test_vcenter_keeps_a_default_provider(si: Any) -> None:
    """``govc kms.default -``."""
    before = si.content.cryptoManager.GetDefaultKmsCluster()
    with pytest.raises(vmodl.fault.NotSupported):
        si.content.cryptoManager.SetDefaultKmsCluster()
    assert si.content.cryptoManager.GetDefaultKmsCluster().id == before.id


def test_no_task_can_be_cancelled(si: Any) -> None:
    with pytest.raises(vmodl.fault.NotSupported):
        si.content.taskManager.recentTask[0].CancelTask()


def test_sessions_have_the_time_of_the_lab(si: Any) -> None:
    """``govc session.ls`` subtracts it from CurrentTime."""
    mine = si.content.sessionManager.currentSession
    assert mine.loginTime <= mine.lastActiveTime <= si.CurrentTime()


@pytest.mark.parametrize("of", ["cluster", "pool", "host"])
def test_a_view_of_what_runs_vms_has_them(si: Any, of: str) -> None:
    """``govc find host/cluster-a -type m``, and names of VMs in ``govc cluster.rule.create``."""
    cluster = si.content.rootFolder.childEntity[0].hostFolder.childEntity[0]
    container = {"cluster": cluster, "pool": cluster.resourcePool, "host": cluster.host[0]}[of]
    view = si.content.viewManager.CreateContainerView(container, [vim.VirtualMachine], True)
    expected = container.vm if of != "cluster" else cluster.resourcePool.vm
    assert view.view and set(view.view) == set(expected)
    everything = si.content.viewManager.CreateContainerView(
        si.content.rootFolder, [vim.VirtualMachine], True
    )
    assert len(everything.view) == len(set(everything.view))


def test_many_vms_are_powered_on_by_one_task(si: Any) -> None:
    vms = [vm_named(si, "vm-01"), vm_named(si, "vm-02")]
    for vm in vms:
        done(vm.PowerOffVM_Task())
    attempted = done(si.content.rootFolder.childEntity[0].PowerOnMultiVM_Task(vms)).attempted
    assert [one.vm for one in attempted] == vms
    for one in attempted:
        done(one.task)
    assert {vm.runtime.powerState for vm in vms} == {"poweredOn"}


def test_a_cluster_recommends_a_host_that_can_run_a_vm(served: Served, si: Any) -> None:
    """``govc vm.create -cluster`` and ``vm.clone -cluster``."""
    cluster = si.content.rootFolder.childEntity[0].hostFolder.childEntity[0]

    def place(**spec: Any) -> Any:
        asked = vim.cluster.PlacementSpec(placementType="create", **spec)
        found = cluster.PlaceVm(asked).recommendations
        return found and found[0].action[0].relocateSpec

    homes = {vm.name: vm.runtime.host.name for vm in cluster.resourcePool.vm}
    served.do(c.VmMigrate("vm-01", "esxi-002"))
    try:
        chosen = place()
        assert len(chosen.host.vm) == min(len(host.vm) for host in cluster.host)
        assert chosen.pool == cluster.resourcePool and chosen.datastore in cluster.datastore
        assert place(hosts=[cluster.host[1]]).host == cluster.host[1]
        served.do(c.HostEnterMaintenance((chosen.host.name,), evacuate=True))
        assert place().host != chosen.host
        assert not place(hosts=[chosen.host])
    finally:
        served.do(c.HostExitMaintenance((chosen.host.name,)))
        for vm in cluster.resourcePool.vm:
            if vm.runtime.host.name != homes[vm.name]:
                served.do(c.VmMigrate(vm.name, homes[vm.name]))
    with pytest.raises(vmodl.fault.NotSupported):
        cluster.PlaceVm(vim.cluster.PlacementSpec(placementType="reconfigure"))


def test_a_vm_moves_to_where_its_files_lie(si: Any) -> None:
    vm = vm_named(si, "vm-01")
    host = vm.runtime.host
    done(vm.RelocateVM_Task(vim.vm.RelocateSpec(datastore=vm.datastore[0])))
    assert vm.runtime.host == host
    with pytest.raises(vmodl.fault.InvalidArgument):
        vm.MigrateVM_Task(priority="defaultPriority")


def test_alarms_are_defined_whether_or_not_they_are_on(si: Any) -> None:
    made = {v for n, v in vars(provider_alarms).items() if n.endswith("_ALARM")}
    assert sorted(ALARMS) == sorted({*AlarmId} | made)
    definitions = si.content.alarmManager.GetAlarm()
    assert [a.info.name for a in definitions] == list(ALARMS)
    assert [s.alarm for s in si.content.rootFolder.declaredAlarmState] == definitions
    assert si.content.alarmManager.GetAlarm(vm_named(si, "vm-01")) == []


def test_the_alarm_of_a_key_server_is_on_at_the_root(served: Served, si: Any) -> None:
    root = si.content.rootFolder
    fault = served.do(c.LinkCut("vcenter", "kms")).fault.id
    served.run(lambda: served.lab.sleep(600.0))
    served.server.watch.forget()
    try:
        on = [s for s in root.triggeredAlarmState if s.entity == root]
        assert [(s.alarm.info.name, s.overallStatus) for s in on] == [
            ("alarm.KeyServerHealth", "red")
        ]
        with pytest.raises(vmodl.fault.NotSupported):
            si.content.alarmManager.AcknowledgeAlarm(on[0].alarm, root)
    finally:
        served.do(c.Heal((fault,), all=False))
        served.run(lambda: served.lab.sleep(600.0))
        served.server.watch.forget()
    assert [s for s in root.triggeredAlarmState if s.entity == root] == []


def test_the_report_of_a_tpm_has_its_pcrs(served: Served, si: Any) -> None:
    host = vm_named(si, "vm-01").runtime.host
    report = host.QueryTpmAttestationReport()
    seen = {
        str(one.pcrNumber): bytes(b & 0xFF for b in one.digestValue).hex()
        for one in report.tpmPcrValues
    }
    assert seen == served.do(c.TpmPcrs(host.name)).pcrs and len(seen) == 14
    assert not report.tpmLogReliable and not report.tpmEvents


def test_what_a_lab_does_not_have_is_refused_by_name(si: Any) -> None:
    """govc crashes where a manager is missing, and prints a fault."""
    content = si.content
    datastore = content.rootFolder.childEntity[0].datastore[0]
    host = datastore.host[0].key
    calls = {
        "SearchDatastore_Task": lambda: datastore.browser.SearchDatastore_Task("[x]"),
        "QueryDescriptions": content.diagnosticManager.QueryDescriptions,
        "DeleteDatastoreFile_Task": lambda: content.fileManager.DeleteDatastoreFile_Task("[x] y"),
        "DeleteVirtualDisk_Task": lambda: content.virtualDiskManager.DeleteVirtualDisk_Task("x"),
        "QueryPerfProviderSummary": lambda: content.perfManager.QueryPerfProviderSummary(datastore),
        "DoesCustomizationSpecExist": lambda: (
            content.customizationSpecManager.DoesCustomizationSpecExist("x")
        ),
        "ListFilesInGuest": lambda: content.guestOperationsManager.fileManager.ListFilesInGuest(
            vm_named(si, "vm-01"), vim.vm.guest.NamePasswordAuthentication(
                interactiveSession=False, username="root", password="x"
            ), "/",
        ),
        "ReconfigureAutostart": lambda: host.configManager.autoStartManager.ReconfigureAutostart(
            vim.host.AutoStartManager.Config()
        ),
        "ParseDescriptor": lambda: content.ovfManager.ParseDescriptor(
            "x", vim.OvfManager.ParseDescriptorParams(locale="", deploymentOption="")
        ),
        "CreateDirectory": lambda: content.datastoreNamespaceManager.CreateDirectory(datastore),
    }  # fmt: skip
    for name, call in calls.items():
        with pytest.raises(vmodl.fault.MethodNotFound, match=re.escape(f"not have {name}")):
            call()


def test_a_vm_has_what_govc_prints_of_it(si: Any) -> None:
    vm = vm_named(si, "vm-01")
    assert vm.config.tools.toolsUpgradePolicy == "manual"
    done(vm.CreateSnapshot_Task("one", memory=False, quiesce=False))
    (layout,) = vm.layoutEx.snapshot
    assert layout.key == vm.snapshot.currentSnapshot
    files = {f.key: f.name for f in vm.layoutEx.file}
    assert files[layout.disk[0].chain[0].fileKey[0]].endswith("vm-01/vm-01.vmdk")
    done(vm.RemoveAllSnapshots_Task())
    pool = vm.resourcePool.runtime
    assert pool.cpu.maxUsage > 0 and pool.memory.maxUsage > 0


def test_no_vm_starts_with_its_host(si: Any) -> None:
    """``govc host.autostart.info``."""
    config = vm_named(si, "vm-01").runtime.host.configManager.autoStartManager.config
    assert not config.defaults.enabled and config.powerInfo == []


def test_hardware_that_vms_may_have_is_not_supported(si: Any) -> None:
    """``govc object.save`` passes over it."""
    browser = vm_named(si, "vm-01").environmentBrowser
    for ask in (
        browser.QueryConfigOption, browser.QueryConfigTarget, browser.QueryTargetCapabilities,
    ):  # fmt: skip
        with pytest.raises(vmodl.fault.NotSupported):
            ask()


def test_tasks_that_failed_are_shown_with_their_faults(si: Any) -> None:
    """``govc tasks`` after a VM that runs was to be unregistered and a template powered on."""
    vm, template = vm_named(si, "vm-01"), vm_named(si, "vm-06")
    with pytest.raises(vim.fault.InvalidPowerState):
        vm.UnregisterVM()
    done(template.PowerOffVM_Task())
    template.MarkAsTemplate()
    with pytest.raises(vmodl.MethodFault):
        WaitForTask(template.PowerOnVM_Task(), si=si)
    template.MarkAsVirtualMachine(template.resourcePool)
    done(template.PowerOnVM_Task())
    failed = [t.info for t in si.content.taskManager.recentTask if t.info.state == "error"]
    faults = {(t.entityName, t.descriptionId): type(t.error) for t in failed}
    assert faults["vm-01", "VirtualMachine.unregister"] is vim.fault.InvalidPowerState
    assert faults["vm-06", "VirtualMachine.powerOn"] is vim.fault.InvalidState


def test_what_is_there_is_not_made_again(si: Any) -> None:
    """``govc vm.clone``, ``vm.register`` and ``role.create``, each a second time."""
    vm, folder = vm_named(si, "vm-01"), si.content.rootFolder.childEntity[0].vmFolder
    where = vim.vm.RelocateSpec(host=vm.runtime.host)
    with pytest.raises(vim.fault.DuplicateName) as refused:
        vm.CloneVM_Task(folder, "vm-02", vim.vm.CloneSpec(location=where, powerOn=False))
    assert refused.value.object == vm_named(si, "vm-02")
    with pytest.raises(vim.fault.AlreadyExists):
        folder.RegisterVM_Task(vm.config.files.vmPathName, asTemplate=False, host=vm.runtime.host)
    roles = si.content.authorizationManager
    number = roles.AddAuthorizationRole("Twice", [])
    try:
        with pytest.raises(vim.fault.AlreadyExists):
            roles.AddAuthorizationRole("Twice", [])
    finally:
        roles.RemoveAuthorizationRole(number, True)


def test_the_level_of_drs_changes_by_itself(si: Any) -> None:
    """``govc cluster.change -drs-mode manual``."""
    cluster = si.content.rootFolder.childEntity[0].hostFolder.childEntity[0]

    def change(**drs: Any) -> Any:
        spec = vim.cluster.ConfigSpecEx(drsConfig=vim.cluster.DrsConfigInfo(**drs))
        return cluster.ReconfigureComputeResource_Task(spec, True)

    with pytest.raises(vmodl.fault.NotSupported):
        change(defaultVmBehavior="manual")
    done(change(enabled=True))
    done(change(defaultVmBehavior="manual"))
    config = cluster.configurationEx.drsConfig
    assert (config.enabled, config.defaultVmBehavior) == (True, "manual")
    done(change(enabled=False))
