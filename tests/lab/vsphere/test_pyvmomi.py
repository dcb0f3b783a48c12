"""pyVmomi, unmodified, as a client of a lab."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

pytest.importorskip("pyVmomi")

from pyVim.task import WaitForTask
from pyVmomi import vim, vmodl
from pyVmomi.VmomiSupport import ManagedObject

from lab.schema import commands as c

if TYPE_CHECKING:
    from tests.lab.vsphere.conftest import Served

pytestmark = [pytest.mark.sim, pytest.mark.one_worker("vsphere")]
PC = vmodl.query.PropertyCollector


def _all(si: Any, kind: Any) -> list[Any]:
    content = si.content
    view = content.viewManager.CreateContainerView(content.rootFolder, [kind], True)
    return list(view.view)


def _spec(ref: Any, *paths: str) -> Any:
    properties = PC.PropertySpec(type=type(ref), pathSet=list(paths), all=not paths)
    return PC.FilterSpec(objectSet=[PC.ObjectSpec(obj=ref)], propSet=[properties])


def _vm(si: Any, name: str = "vm-01") -> Any:
    found = si.content.searchIndex.FindByInventoryPath(f"dc/vm/{name}")
    assert found is not None
    return found


def test_a_client_sees_the_inventory_and_its_keys(si: Any) -> None:
    assert si.content.about.apiType == "VirtualCenter"
    assert si.content.about.apiVersion == "8.0.3.0"
    vms = _all(si, vim.VirtualMachine)
    assert sorted(vm.name for vm in vms) == [f"vm-0{n}" for n in range(1, 7)]
    vm = _vm(si)
    assert vm.runtime.powerState == "poweredOn" and vm.runtime.cryptoState == "unlocked"
    assert vm.config.keyId.providerId.id == "kms-provider"
    assert vm.config.hardware.device[1].backing.keyId.keyId == vm.config.keyId.keyId
    host = vm.runtime.host
    assert host.runtime.cryptoState == "safe" and vm in host.vm
    assert host.parent.parent.parent.name == "dc"
    assert host.summary.tpmAttestation.status == "accepted"


def test_every_object_gives_all_of_its_properties(si: Any) -> None:
    content = si.content
    objects = [si, content.rootFolder, *_all(si, vim.ManagedEntity)]
    managers = [getattr(content, p.name) for p in content._GetPropertyList()]
    objects += [one for one in managers if isinstance(one, ManagedObject)]
    assert len(objects) > 30
    for one in objects:
        found = content.propertyCollector.RetrievePropertiesEx([_spec(one)], PC.RetrieveOptions())
        assert found is None or found.objects[0].obj == one


def test_power_is_a_task_and_the_lab_does_it(si: Any, served: Served) -> None:
    vm = _vm(si)
    assert WaitForTask(vm.PowerOffVM_Task(), si=si) == "success"
    assert vm.runtime.powerState == "poweredOff"
    with pytest.raises(vim.fault.InvalidPowerState):
        WaitForTask(vm.PowerOffVM_Task(), si=si)
    assert WaitForTask(vm.PowerOnVM_Task(), si=si) == "success"
    rows = {str(v.vm): v.power.value for v in served.do(c.GetVms()).items}
    assert rows["vm-01"] == "poweredOn"


def test_a_wait_tells_what_changed_and_a_lost_answer_is_given_again(
    si: Any, served: Served
) -> None:
    collector = si.content.propertyCollector.CreatePropertyCollector()
    collector.CreateFilter(_spec(_vm(si, "vm-02"), "name", "runtime.powerState"), True)
    first = collector.WaitForUpdatesEx("", None)
    assert {x.name for x in first.filterSet[0].objectSet[0].changeSet} == {
        "name",
        "runtime.powerState",
    }
    assert collector.WaitForUpdatesEx(first.version, PC.WaitOptions(maxWaitSeconds=0)) is None
    served.do(c.VmOff(("vm-02",)))
    second = collector.WaitForUpdatesEx(first.version, PC.WaitOptions(maxWaitSeconds=60))
    change = second.filterSet[0].objectSet[0]
    assert [(x.name, x.val) for x in change.changeSet] == [("runtime.powerState", "poweredOff")]
    again = collector.WaitForUpdatesEx(first.version, PC.WaitOptions(maxWaitSeconds=0))
    assert again.version == second.version
    with pytest.raises(vmodl.query.InvalidCollectorVersion):
        collector.WaitForUpdatesEx("77", None)
    served.do(c.VmOn(("vm-02",)))


def test_time_of_a_simulated_lab_passes_while_a_client_waits(si: Any) -> None:
    before = si.CurrentTime()
    options = PC.WaitOptions(maxWaitSeconds=600)
    collector = si.content.propertyCollector.CreatePropertyCollector()
    assert collector.WaitForUpdatesEx("", options) is None
    passed = (si.CurrentTime() - before).total_seconds()
    assert 540 <= passed <= 660


def test_updates_and_retrievals_come_in_pieces(si: Any) -> None:
    content = si.content
    view = content.viewManager.CreateContainerView(content.rootFolder, [vim.VirtualMachine], True)
    walk = PC.TraversalSpec(type=type(view), path="view", skip=False)
    spec = PC.FilterSpec(
        objectSet=[PC.ObjectSpec(obj=view, skip=True, selectSet=[walk])],
        propSet=[PC.PropertySpec(type=vim.VirtualMachine, pathSet=["name"])],
    )
    collector = content.propertyCollector
    piece = collector.RetrievePropertiesEx([spec], PC.RetrieveOptions(maxObjects=4))
    rest = collector.ContinueRetrievePropertiesEx(piece.token)
    assert len(piece.objects) == 4 and len(rest.objects) == 2 and rest.token is None
    collector.CreateFilter(spec, False)
    found = collector.WaitForUpdatesEx("", PC.WaitOptions(maxObjectUpdates=4))
    assert found.truncated and len(found.filterSet[0].objectSet) == 4
    more = collector.WaitForUpdatesEx(found.version, PC.WaitOptions(maxObjectUpdates=4))
    assert not more.truncated and len(more.filterSet[0].objectSet) == 2


def _servers_of(si: Any, provider: str) -> list[tuple[str, str, int]]:
    return [
        (server.name, server.address, server.port)
        for found in si.content.cryptoManager.ListKmipServers()
        if found.clusterId.id == provider
        for server in found.servers
    ]


def test_key_servers_are_registered_changed_and_removed_one_by_one(si: Any, served: Served) -> None:
    """The first one makes the provider, and the last one takes it along."""
    manager = si.content.cryptoManager
    outside = vim.encryption.KeyProviderId(id="outside")

    def server(name: str, port: int, **more: Any) -> Any:
        info = vim.encryption.KmipServerInfo(name=name, address="127.0.0.1", port=port, **more)
        return vim.encryption.KmipServerSpec(clusterId=outside, info=info)

    for name, port in (("east", 5696), ("west", 5697)):
        manager.RegisterKmipServer(server(name, port))
    both = [("east", "127.0.0.1", 5696), ("west", "127.0.0.1", 5697)]
    assert _servers_of(si, "outside") == both
    with pytest.raises(vim.fault.AlreadyExists):
        manager.RegisterKmipServer(server("west", 5698))
    assert not manager.IsKmsClusterActive(outside)
    assert manager.IsKmsClusterActive(vim.encryption.KeyProviderId(id="kms-provider"))
    assert manager.IsKmsClusterActive()
    manager.UpdateKmipServer(server("west", 5697, timeout=7))
    with pytest.raises(vmodl.fault.NotSupported):
        manager.UpdateKmipServer(server("west", 5699))
    with pytest.raises(vmodl.fault.InvalidArgument):
        manager.UpdateKmipServer(server("north", 5697))
    with pytest.raises(vmodl.fault.InvalidArgument):
        manager.RemoveKmipServer(outside, "north")
    assert _servers_of(si, "outside") == both
    manager.RemoveKmipServer(outside, "east")
    assert _servers_of(si, "outside") == both[1:]
    manager.RemoveKmipServer(outside, "west")
    assert {str(row.provider) for row in served.do(c.GetProviders()).items} == {"kms-provider"}


def test_a_cut_key_server_is_red_and_its_keys_are_unreachable(si: Any, served: Served) -> None:
    manager = si.content.cryptoManager
    key = _vm(si).config.keyId

    def status() -> Any:
        task = manager.RetrieveKmipServersStatus_Task()
        WaitForTask(task, si=si)
        return task.info.result[0]

    assert status().overallStatus == "green"
    fault = served.do(c.LinkCut("vcenter", "kms")).fault.id
    try:
        served.run(lambda: served.lab.sleep(600.0))
        served.server.watch.forget()
        assert status().overallStatus == "red"
        assert status().servers[0].connectionStatus != "Normal"
        found = manager.QueryCryptoKeyStatus([key], 1 | 2)[0]
        assert found.keyAvailable is False and found.reason == "KeyStateClusterUnreachable"
        assert [vm.name for vm in found.encryptedVMs] == ["vm-01"]
        result = manager.GenerateKey(vim.encryption.KeyProviderId(id="kms-provider"))
        assert result.success is False and result.reason
        events = si.content.eventManager.QueryEvents(vim.event.EventFilterSpec())
        assert "com.vmware.vc.kms.crypto.Unreachable" in {
            getattr(e, "eventTypeId", "") for e in events
        }
    finally:
        served.do(c.Heal((fault,), all=False))
        served.run(lambda: served.lab.sleep(600.0))
        served.server.watch.forget()
    assert status().overallStatus == "green"


def test_a_vm_is_encrypted_and_decrypted(si: Any) -> None:
    vm: Any = _vm(si, "vm-03")
    provider = vim.encryption.CryptoKeyId(
        keyId="", providerId=vim.encryption.KeyProviderId(id="kms-provider")
    )
    WaitForTask(vm.PowerOffVM_Task(), si=si)
    before = vm.config.keyId.keyId
    recrypt = vim.encryption.CryptoSpecShallowRecrypt(newKeyId=provider)
    WaitForTask(vm.ReconfigVM_Task(vim.vm.ConfigSpec(crypto=recrypt)), si=si)
    assert vm.config.keyId.keyId != before
    decrypt = vim.encryption.CryptoSpecDecrypt()
    WaitForTask(vm.ReconfigVM_Task(vim.vm.ConfigSpec(crypto=decrypt)), si=si)
    assert not vm.config.keyId and vm.runtime.cryptoState is None
    encrypt = vim.encryption.CryptoSpecEncrypt(cryptoKeyId=provider)
    WaitForTask(vm.ReconfigVM_Task(vim.vm.ConfigSpec(crypto=encrypt)), si=si)
    assert vm.config.keyId.providerId.id == "kms-provider"
    with pytest.raises(vmodl.fault.NotSupported):
        vm.ReconfigVM_Task(vim.vm.ConfigSpec(memoryMB=4096))
    WaitForTask(vm.PowerOnVM_Task(), si=si)


def test_a_key_that_a_client_names_for_a_vm_is_not_supported(si: Any) -> None:
    vm: Any = _vm(si)
    key, enc, device = vm.config.keyId, vim.encryption, vim.vm.device
    encrypt = enc.CryptoSpecEncrypt(cryptoKeyId=key)
    disk = device.VirtualDeviceSpec(
        device=vm.config.hardware.device[1],
        backing=device.VirtualDeviceSpec.BackingSpec(crypto=encrypt),
    )
    tpm = device.VirtualDeviceSpec(operation="add", device=device.VirtualTPM(key=-1))
    specs = [
        vim.vm.ConfigSpec(crypto=encrypt),
        vim.vm.ConfigSpec(crypto=enc.CryptoSpecShallowRecrypt(newKeyId=key)),
        vim.vm.ConfigSpec(crypto=enc.CryptoSpecDeepRecrypt(newKeyId=key)),
        vim.vm.ConfigSpec(crypto=enc.CryptoSpecRegister(cryptoKeyId=key)),
        vim.vm.ConfigSpec(crypto=encrypt, deviceChange=[tpm]),
        vim.vm.ConfigSpec(deviceChange=[disk]),
    ]
    for spec in specs:
        with pytest.raises(vmodl.fault.NotSupported):
            vm.ReconfigVM_Task(spec)
    assert vm.config.keyId.keyId == key.keyId


def test_events_are_paged_both_ways(si: Any) -> None:
    collector = si.content.eventManager.CreateCollectorForEvents(vim.event.EventFilterSpec())
    first = collector.ReadNextEvents(5)
    assert [e.key for e in first] == sorted(e.key for e in first) and len(first) == 5
    assert collector.ReadNextEvents(2)[0].key > first[-1].key
    assert [e.key for e in collector.ReadPreviousEvents(7)][:5] == [e.key for e in first]
    collector.SetCollectorPageSize(3)
    page = collector.latestPage
    assert len(page) == 3 and page[0].key > page[1].key
    collector.DestroyCollector()
    with pytest.raises(vmodl.fault.ManagedObjectNotFound):
        collector.ReadNextEvents(1)


@pytest.mark.parametrize("of", ["events", "tasks"])
def test_the_latest_page_of_a_collector_is_followed(si: Any, served: Served, of: str) -> None:
    """``govc events -f`` and ``govc tasks -f``."""
    content, pc = si.content, vmodl.query.PropertyCollector
    if of == "events":
        filter_ = vim.event.EventFilterSpec(eventTypeId=["com.vmware.vc.kms.crypto.Unreachable"])
        made = content.eventManager.CreateCollectorForEvents(filter_)
    else:
        made = content.taskManager.CreateCollectorForTasks(vim.TaskFilterSpec())
    before = made.latestPage
    watched = pc.FilterSpec(
        objectSet=[pc.ObjectSpec(obj=made)],
        propSet=[pc.PropertySpec(type=type(made), pathSet=["latestPage"])],
    )
    collector = content.propertyCollector
    watch = collector.CreateFilter(watched, True)
    seen = collector.WaitForUpdatesEx()
    fault = None
    if of == "events":
        fault = served.do(c.LinkCut("vcenter", "kms")).fault.id
    else:
        served.do(c.VmUnlock("vm-02"))
    try:
        update = collector.WaitForUpdatesEx(seen.version, pc.WaitOptions(maxWaitSeconds=1200))
        (change,) = update.filterSet[0].objectSet[0].changeSet
        assert change.name == "latestPage" and len(change.val) == len(before) + 1
        assert made.latestPage[0].key == change.val[0].key
    finally:
        watch.DestroyPropertyFilter()
        if fault is not None:
            served.do(c.Heal((fault,), all=False))
            served.run(lambda: served.lab.sleep(600.0))
            served.server.watch.forget()


def test_a_vm_that_leaves_the_inventory_and_comes_back_is_in_the_log(si: Any) -> None:
    manager, spec = si.content.eventManager, vim.event.EventFilterSpec
    vm = _vm(si, "vm-05")
    host, folder = vm.runtime.host, vm.parent
    old = manager.CreateCollectorForEvents(spec(eventTypeId=["VmRemovedEvent"]))
    every = manager.CreateCollectorForEvents(spec())
    every.ResetCollector()
    assert WaitForTask(vm.PowerOffVM_Task(), si=si) == "success"
    reference = vm._moId
    vm.UnregisterVM()
    path = "[datastore-cluster-a] vm-05/vm-05.vmx"
    task = folder.RegisterVM_Task(path, None, False, host.parent.resourcePool, host)
    assert WaitForTask(task, si=si) == "success"
    types = (vim.event.VmRemovedEvent, vim.event.VmRegisteredEvent)
    removed, registered = (e for e in every.ReadNextEvents(100) if isinstance(e, types))
    assert isinstance(removed, types[0]) and isinstance(registered, types[1])
    for event in (removed, registered):
        assert (event.vm.name, event.vm.vm._moId, event.host.name) == (
            "vm-05",
            reference,
            host.name,
        )
        assert event.template is False and "vm-05" in event.fullFormattedMessage
    assert removed.key in [e.key for e in old.ReadNextEvents(100)]
    both = spec(eventTypeId=["vim.event.VmRemovedEvent", "vim.event.VmRegisteredEvent"])
    assert [e.key for e in manager.QueryEvents(both)][-2:] == [removed.key, registered.key]
    assert WaitForTask(_vm(si, "vm-05").PowerOnVM_Task(), si=si) == "success"


def test_a_wrong_password_and_a_session_that_ended_are_refused(served: Served) -> None:
    with pytest.raises(vim.fault.InvalidLogin), served.session(password="wrong"):
        pass
    with served.session() as found:
        folder = found.content.rootFolder
        assert len(found.content.sessionManager.sessionList) >= 1
        found.content.sessionManager.Logout()
        with pytest.raises(vim.fault.NotAuthenticated):
            _ = folder.name


def test_a_user_may_do_what_its_role_allows(served: Served) -> None:
    served.do(c.RoleCreate("Reader", like="NoCryptoAdmin"))
    served.do(c.UserSet("reader@vsphere.local", "Reader"))
    crypto = vim.encryption.CryptoSpecShallowRecrypt(newKeyId=vim.encryption.CryptoKeyId(keyId=""))
    try:
        with served.session("reader@vsphere.local") as found:
            vm = _vm(found, "vm-04")
            with pytest.raises(vim.fault.NoPermission) as refused:
                WaitForTask(vm.ReconfigVM_Task(vim.vm.ConfigSpec(crypto=crypto)), si=found)
            assert refused.value.privilegeId.startswith("Cryptographer.")
            assert refused.value.object == vm
    finally:
        served.do(c.UserDelete("reader@vsphere.local"))
        served.do(c.RoleDelete("Reader"))


def test_a_user_reads_what_its_role_allows(served: Served) -> None:
    served.do(c.RoleCreate("Viewer"))
    served.do(c.UserSet("viewer@vsphere.local", "Viewer"))
    try:
        with served.session("viewer@vsphere.local") as found, served.session() as other:
            manager = found.content.cryptoManager
            assert _vm(found).runtime.powerState == "poweredOn"
            for read in (manager.ListKmipServers, lambda: manager.kmipServers):
                with pytest.raises(vim.fault.NoPermission) as refused:
                    read()
                assert refused.value.privilegeId == "Cryptographer.ReadKeyServersInfo"
                assert refused.value.object == manager
            spec = _spec(manager, "enabled", "kmipServers")
            content = found.content.propertyCollector.RetrieveProperties([spec])[0]
            assert [p.name for p in content.propSet] == ["enabled"]
            assert isinstance(content.missingSet[0].fault, vim.fault.NoPermission)
            sessions = found.content.sessionManager
            assert [s.userName for s in sessions.sessionList] == ["viewer@vsphere.local"]
            mine = other.content.sessionManager.currentSession.key
            with pytest.raises(vim.fault.NoPermission) as refused:
                sessions.TerminateSession([mine])
            assert refused.value.privilegeId == "Sessions.TerminateSession"
            served.do(c.UserDelete("viewer@vsphere.local"))
            with pytest.raises(vim.fault.NoPermission):
                _vm(found)
    finally:
        served.do(c.RoleDelete("Viewer"))
    with pytest.raises((vim.fault.NoPermission, vim.fault.InvalidLogin)):
        with served.session("viewer@vsphere.local"):
            pass


def test_an_administrator_ends_a_session_of_another(si: Any, served: Served) -> None:
    with served.session() as other:
        key = other.content.sessionManager.currentSession.key
        assert key in {s.key for s in si.content.sessionManager.sessionList}
        si.content.sessionManager.TerminateSession([key])
        with pytest.raises(vim.fault.NotAuthenticated):
            _ = other.content.rootFolder.name


def test_what_is_not_there_is_not_found_and_what_is_not_served_is_refused(si: Any) -> None:
    with pytest.raises(vmodl.fault.ManagedObjectNotFound):
        _ = vim.VirtualMachine("vm-1&lt;x", si._stub).name
    with pytest.raises(vmodl.fault.ManagedObjectNotFound):
        _ = vim.HostSystem(_vm(si)._moId, si._stub).name
    with pytest.raises(vmodl.query.InvalidProperty):
        si.content.propertyCollector.RetrieveProperties([_spec(_vm(si), "config.nothing")])
    with pytest.raises(vmodl.fault.MethodNotFound):
        _vm(si).ResetGuestInformation()


def test_a_view_is_of_what_contains_something(si: Any) -> None:
    vm = si.content.searchIndex.FindByInventoryPath("dc/vm/vm-01")
    with pytest.raises(vmodl.fault.InvalidArgument) as refused:
        si.content.viewManager.CreateContainerView(vm, [], True)
    assert refused.value.invalidProperty == "container"
