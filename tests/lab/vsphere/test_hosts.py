"""API servers of ESXi hosts: they stay when vCenter goes, and go when their host does."""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

pytest.importorskip("pyVmomi")

from pyVim.task import WaitForTask
from pyVmomi import vim, vmodl

from lab.local import vsphere as local
from lab.schema import commands as c
from lab.schema.errors import KeysteadError
from lab.vsphere.http.host_server import HostListeners
from tests.lab.vsphere.conftest import PASSWORD

if TYPE_CHECKING:
    from tests.lab.vsphere.conftest import Served

pytestmark = [pytest.mark.sim, pytest.mark.one_worker("vsphere")]


@pytest.fixture
def hosts(served: Served) -> Iterator[HostListeners]:
    """The servers of all hosts of the lab."""
    made = HostListeners(served.server, PASSWORD, served.folder)
    served.run(made.look)
    yield made
    served.run(made.close)


def is_open(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 5):
        return True
    return False


def on_host(served: Served, hosts: HostListeners, name: str) -> Any:
    return served.session("root", port=hosts.ports[name])


def find_vm(si: Any, name: str) -> Any:
    return si.content.searchIndex.FindByInventoryPath(f"ha-datacenter/vm/{name}")


def test_a_host_shows_itself_and_its_vms(served: Served, hosts: HostListeners) -> None:
    assert sorted(hosts.ports) == ["esxi-001", "esxi-002", "esxi-003"]
    with on_host(served, hosts, "esxi-002") as si:
        about = si.content.about
        assert (about.apiType, about.productLineId) == ("HostAgent", "embeddedEsx")
        assert about.apiVersion == "8.0.3.0" and si.content.rootFolder._moId == "ha-folder-root"
        view = si.content.viewManager.CreateContainerView(
            si.content.rootFolder, [vim.HostSystem, vim.VirtualMachine], True
        )
        found = {one.name: one for one in view.view}
        assert sorted(found) == ["esxi-002", "vm-02", "vm-05"]
        host = found["esxi-002"]
        assert host._moId == "ha-host" and host.runtime.cryptoState == "safe"
        assert host.runtime.stateEncryption.protectionMode == "tpm"
        for one in view.view:
            for part in one._GetPropertyList():
                getattr(one, part.name)
        keys = si.content.cryptoManager.ListKeys()
        assert found["vm-02"].config.keyId.keyId in {key.keyId for key in keys}
        attested = host.summary.tpmAttestation  # govc host.tpm.info
        assert attested.status == "notAccepted" and "no attestation" in attested.message.message
        assert abs(attested.time - si.CurrentTime()).total_seconds() < 60
        assert len(host.QueryTpmAttestationReport().tpmPcrValues) == 14
        assert not host.configManager.autoStartManager.config.defaults.enabled
        assert host.configManager.cryptoManager == si.content.cryptoManager
        status = si.content.cryptoManager.GetCryptoKeyStatus(keys[:1])
        assert status[0].present and status[0].managementType == "external"
        with pytest.raises(vmodl.fault.MethodNotFound):
            host.PrepareCrypto()
    outsider = served.session(port=hosts.ports["esxi-002"])  # vCenter's administrator
    with pytest.raises(vim.fault.InvalidLogin), outsider:
        pass


def test_a_host_has_the_managers_that_govc_takes_for_granted(
    served: Served, hosts: HostListeners
) -> None:
    with on_host(served, hosts, "esxi-002") as si:
        content = si.content
        (role,) = content.authorizationManager.roleList
        (mine,) = content.authorizationManager.RetrieveAllPermissions()
        assert (role.name, role.roleId) == ("Admin", mine.roleId)
        assert (mine.principal, mine.entity) == ("root", content.rootFolder)
        (same,) = content.authorizationManager.RetrieveEntityPermissions(mine.entity, False)
        assert same.principal == "root"
        filter_ = vim.event.EventFilterSpec()
        files = content.guestOperationsManager.fileManager
        login = vim.vm.guest.NamePasswordAuthentication(
            interactiveSession=False, username="root", password="x"
        )
        for refused in (
            lambda: files.ListFilesInGuest(find_vm(si, "vm-02"), login, "/"),
            lambda: content.authorizationManager.AddAuthorizationRole("x", []),
            lambda: content.eventManager.CreateCollectorForEvents(filter_),
            lambda: content.setting.QueryOptions(""),
            content.diagnosticManager.QueryDescriptions,
            lambda: content.vStorageObjectManager.HostListVStorageObject(
                content.rootFolder.childEntity[0].datastore[0]
            ),
        ):
            with pytest.raises(vmodl.fault.MethodNotFound):
                refused()


def test_a_host_is_there_while_vcenter_is_off(served: Served, hosts: HostListeners) -> None:
    served.do(c.HostPowerOff(("vcenter",)))
    try:
        with on_host(served, hosts, "esxi-001") as si:
            vm = find_vm(si, "vm-04")
            assert WaitForTask(vm.PowerOffVM_Task(), si=si) == "success"
            assert vm.runtime.powerState == "poweredOff"
            assert WaitForTask(vm.PowerOnVM_Task(), si=si) == "success"
            vm.ShutdownGuest()
            assert vm.runtime.powerState == "poweredOff"
            assert WaitForTask(vm.PowerOnVM_Task(), si=si) == "success"
            host = si.content.searchIndex.FindByDnsName(None, "esxi-001", False)
            with pytest.raises(vim.fault.NotAuthenticated):  # sessions end with the host's life
                WaitForTask(host.RebootHost_Task(False), si=si)
        served.run(hosts.look)
        with on_host(served, hosts, "esxi-001") as si:
            vm = find_vm(si, "vm-04")
            assert vm.runtime.cryptoState == "locked"  # nobody brings its key
            with pytest.raises(vim.fault.EncryptionKeyRequired) as refused:
                WaitForTask(vm.PowerOnVM_Task(), si=si)
            assert refused.value.requiredKey[0].keyId == vm.config.keyId.keyId
    finally:
        served.do(c.HostPowerOn(("vcenter",)))
        served.run(lambda: served.lab.sleep(300.0))
        served.do(c.VmOn(("vm-01", "vm-04")))
        served.run(served.server.refresh)


def test_a_client_of_a_host_gets_the_task_that_ends_it(
    served: Served, hosts: HostListeners
) -> None:
    """And then loses the connection, as the product documents it."""
    try:
        with pytest.raises(OSError), on_host(served, hosts, "esxi-003") as si:
            host = si.content.searchIndex.FindByDnsName(None, "esxi-003", False)
            task = host.ShutdownHost_Task(False)
            assert task._moId.startswith("session[")
            WaitForTask(task, si=si)
    finally:
        served.do(c.HostPowerOn(("esxi-003",)))
        served.run(lambda: served.lab.sleep(120.0))
        served.do(c.VmOn((), host="esxi-003"))


def test_the_port_of_a_host_that_is_off_is_closed(served: Served, hosts: HostListeners) -> None:
    port = hosts.ports["esxi-003"]
    with pytest.raises(OSError), on_host(served, hosts, "esxi-003") as si:
        assert si.content.rootFolder.name
        served.do(c.HostCrash(("esxi-003",)))
        served.run(hosts.look)
        _ = si.content.rootFolder.name
    assert not is_open(port)
    served.do(c.HostPowerOn(("esxi-003",)))
    served.run(hosts.look)
    assert hosts.ports["esxi-003"] == port and is_open(port)
    with on_host(served, hosts, "esxi-003") as si:
        assert si.content.rootFolder.name
    served.run(lambda: served.lab.sleep(120.0))
    served.do(c.VmOn((), host="esxi-003"))


def test_a_host_that_halts_at_its_recovery_key_has_no_api(
    served: Served, hosts: HostListeners
) -> None:
    port = hosts.ports["esxi-003"]
    text = served.do(
        c.Esx("esxi-003", ("system", "settings", "encryption", "recovery", "list"))
    ).output
    served.do(c.TpmClear("esxi-003"))
    served.do(c.HostReboot(("esxi-003",)))
    served.run(hosts.look)
    assert not is_open(port)
    key = text.split()[-1]
    served.do(c.HostPowerOn(("esxi-003",), options={"encryptionRecoveryKey": key}))
    served.run(hosts.look)
    assert is_open(port)
    served.do(c.Esx("esxi-003", ("system", "settings", "encryption", "set", "--mode=TPM")))
    served.run(lambda: served.lab.sleep(120.0))
    served.do(c.VmOn((), host="esxi-003"))


def test_the_environment_of_a_host_names_its_own_port_and_user(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(local, "folder_of", lambda name: tmp_path)
    where = local.ApiServing("127.0.0.1", 8989, os.getpid(), "me", hosts={"esxi-001": 8990})
    (tmp_path / local.RECORD).write_bytes(msgspec.json.encode(where))
    found = local.environment("lab", "esxi-001")
    assert found["GOVC_URL"] == "https://127.0.0.1:8990/sdk"
    assert (found["VI_USERNAME"], found["VI_PORTNUMBER"]) == ("root", "8990")
    assert local.environment("lab")["GOVC_URL"] == "https://127.0.0.1:8989/sdk"
    with pytest.raises(KeysteadError, match="esxi-002: esxi-001"):
        local.environment("lab", "esxi-002")
