"""govc, built from its source: command lines that read, and what they print."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.lab.vsphere.clients.conftest import Machine

pytestmark = [pytest.mark.sim, pytest.mark.slow]

READS = {
    "about": r"VMware vCenter Server",
    "about.cert": r"keystead lab CA",
    "ls": r"^/dc/vm$",
    "ls -l /dc/vm": r"^/dc/vm/vm-06 \(VirtualMachine\)$",
    "ls /dc/host/cluster-a": r"^/dc/host/cluster-a/esxi-003$",
    "ls -i /dc/vm": r"^VirtualMachine:vm-\d+$",
    "find / -type m -name vm-0[12]": r"^/dc/vm/vm-02$",
    "find . -type m -runtime.powerState poweredOn": r"^/dc/vm/vm-01$",
    "find . -type h": r"^/dc/host/cluster-a/esxi-001$",
    "tree": r"vm-06",
    "datacenter.info": r"Virtual Machines: +6",
    "host.info esxi-001": r"State: +connected",
    "host.info -json esxi-001": r'"cryptoState": "safe"',
    "host.tpm.info": r"^esxi-001 +accepted .* 2\.0",
    "vm.info vm-01": r"Power state: +poweredOn",
    "vm.info -json vm-01": r'"cryptoState": "unlocked"',
    "vm.info -r vm-01": r"Host: +esxi-00\d",
    "vm.info -vm.ipath /dc/vm/vm-01": r"^Name: +vm-01",
    "device.ls -vm vm-01": r"VirtualDisk",
    "device.info -vm vm-01 disk-1000-0": r"File: +\[datastore-cluster-a\] vm-01/vm-01\.vmdk",
    "cluster.usage cluster-a": r"CPU capacity: +57\.6GHz",
    "datastore.info": r"^Name: +datastore-cluster-a",
    "pool.info *": r"^Name: +Resources",
    "folder.info vm": r"Children: +6",
    "kms.ls": r"^kms-provider +Standard +green +default$",
    "kms.ls kms-provider": r"^kms +kms:5696 +green$",
    "kms.ls -json": r'"managementType": "vCenter"',
    "events": r"Encryption mode is enabled on host esxi-001",
    "events -n 3": r"was encrypted with key kms-provider/",
    "events vm/vm-02": r"\AVM?.*|Virtual machine vm-02",
    "tasks vm/vm-01": r"^PowerOnVM +vm-01 .* success",
    "tasks -l": r"VirtualMachine\.powerOn",
    "tasks -b 24h -s success": r"CreateVM",
    "alarms": r"HostSystem:host-\d+ +Warning",
    "alarm.info": r"alarm\.HostRecoveryKeyBackup",
    "session.ls": r"administrator@vsphere\.local .* govc/",
    "role.ls": r"^NoCryptoAdmin",
    "role.ls Admin": r"^Cryptographer\.Access$",
    "permissions.ls": r"^Admin +/ +administrator@vsphere\.local +Yes$",
    "option.ls VirtualCenter.": r"VirtualCenter\.FQDN: +vcenter",
    "object.collect -s vm/vm-01 runtime.powerState": r"\ApoweredOn\n\Z",
    "object.collect -s vm/vm-01 config.keyId.providerId.id": r"\Akms-provider\n\Z",
    "object.collect -type m / name runtime.cryptoState": r"runtime\.cryptoState +string +unlocked",
    "object.collect -json vm/vm-01 config.keyId": r'"keyId": "[-0-9a-f]{36}"',
    "object.collect vm/vm-01": r"^overallStatus +types.ManagedEntityStatus +green",
    "object.collect -s - content.about.apiVersion": r"\A8\.0\.3\.0\n\Z",
    "license.ls": r"Key:",
    "fields.ls": r"\A\Z",
    "extension.info": r"\A\Z",
    "cluster.rule.ls -cluster cluster-a": r"\A\Z",
    "vm.info -t vm-01": r"ToolsUpgradePolicy: +manual",
    "find host/cluster-a -type m": r"vm-06$",
    "pool.info cluster-a/Resources": r"CPU Usage: +0MHz \(0\.0%\)",
    "alarms -d": r"^alarm\.KeyServerHealth +Folder:group-d1 +Normal",
    "host.tpm.report -host esxi-001": r"^PCR 13 +SHA256 +[0-9a-f]{64}",
    "host.esxcli -host esxi-001 system version get": r"^Version: +8\.0\.3",
    "vm.question -vm vm-01": r"No pending question",
    "host.autostart.info -host esxi-001": r"\AVM +StartAction",
    "object.save -f -d saved": r"^VirtualMachine: 6$",
    "events -type nothing": r"\A\Z",
}


@pytest.mark.parametrize("line", READS)
def test_what_govc_reads(machine: Machine, line: str) -> None:
    done = machine.run("govc", *line.split())
    assert done.returncode == 0, done.stdout
    assert re.search(READS[line], done.stdout, re.MULTILINE), done.stdout


IN_JSON = (
    "vm.info -t vm-01", "tasks vm/vm-01", "alarms -d", "host.tpm.report -host esxi-001",
    "events -type nothing", "host.autostart.info -host esxi-001",
)  # fmt: skip


@pytest.mark.parametrize("line", IN_JSON)
def test_vi_json_says_the_same(machine: Machine, line: str) -> None:
    done = machine.run("govc", *line.split(), GOVC_VI_JSON="1")
    assert done.returncode == 0, done.stdout
    assert re.search(READS[line], done.stdout, re.MULTILINE), done.stdout


REFUSED = {
    "datastore.ls": "keystead does not have SearchDatastore_Task",
    "guest.ls -vm vm-01 -l root:x /": "keystead does not have ListFilesInGuest",
    "host.autostart.add -host esxi-001 vm-01": "keystead does not have ReconfigureAutostart",
    "datastore.rm x": "keystead does not have DeleteDatastoreFile_Task",
    "logs": "keystead does not have BrowseDiagnosticLog",
    "metric.ls vm/vm-01": "keystead does not have QueryPerfProviderSummary",
    "vm.rdm.ls -vm vm-01": "keystead does not have QueryConfigTarget",
    "vm.change -vm vm-01 -c 2": "keystead cannot change numCPUs of a VM",
    "vm.power -suspend vm-01": "keystead does not have SuspendVM_Task",
    "vm.power -on vm-01": "the VM is poweredOn already",
    "vm.power -on nope": "vm 'nope' not found",
    "kms.ls nope": "invalid cluster ID",
    "kms.default -": "the default provider is replaced, never cleared",
    "kms.default nope": "there is no key provider nope",
    "tags.ls": "404 Not Found",
    "library.ls": "404 Not Found",
    "sso.user.ls": "404 Not Found",
    "task.cancel task-1": "this task cannot be cancelled",
    "host.esxcli -host esxi-001 network ip": "Unknown command or namespace network",
}


@pytest.mark.parametrize("line", REFUSED)
def test_what_govc_is_refused(machine: Machine, line: str) -> None:
    """By a fault that says why; govc has its exit code 2 for a crash."""
    done = machine.run("govc", *line.split())
    assert done.returncode == 1 and REFUSED[line] in done.stdout, done.stdout
