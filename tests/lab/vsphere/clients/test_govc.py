"""govc, built from its source: command lines that change a lab, and outages."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.lab.vsphere.clients.conftest import Machine

pytestmark = [pytest.mark.sim, pytest.mark.slow]

CHANGES = (
    ("vm.power -off vm-02", "vm.info vm-02", "poweredOff"),
    ("vm.power -on vm-02", "vm.info vm-02", "poweredOn"),
    ("vm.power -reset vm-02", "vm.info vm-02", "poweredOn"),
    ("vm.power -s vm-02", "vm.info vm-02", "poweredOff"),
    ("vm.power -on -M vm-02", "vm.info vm-02", "poweredOn"),
    ("vm.power -off vm-02", "vm.info vm-02", "poweredOff"),
    ("vm.markastemplate vm-02", "object.collect -s vm/vm-02 config.template", "true"),
    ("vm.markasvm -host esxi-001 vm-02", "object.collect -s vm/vm-02 config.template", "false"),
    ("snapshot.create -vm vm-02 s1", "snapshot.tree -vm vm-02", "s1"),
    ("snapshot.create -m=false -vm vm-02 s2", "snapshot.tree -vm vm-02", "s2"),
    ("snapshot.remove -vm vm-02 s1", "snapshot.tree -vm vm-02", r"\As2"),
    ("snapshot.create -m=false -vm vm-02 s3", "snapshot.tree -s -vm vm-02", r"\[0B\] +s2"),
    ("snapshot.remove -vm vm-02 s3", "snapshot.tree -vm vm-02", r"\As2"),
    ("snapshot.revert -vm vm-02 s2", "snapshot.tree -vm vm-02", "s2"),
    ("snapshot.remove -vm vm-02 *", "snapshot.tree -vm vm-02", r"\A\Z"),
    ("vm.migrate -host esxi-003 vm-01", "vm.info -r vm-01", "esxi-003"),
    ("vm.clone -vm vm-01 -host esxi-003 vm-20", "vm.info vm-20", "poweredOn"),
    ("vm.power -off vm-20", "vm.info vm-20", "poweredOff"),
    ("vm.unregister vm-20", "find . -name vm-20", r"\A\Z"),
    ("vm.register -host esxi-002 vm-20/vm-20.vmx", "vm.info -r vm-20", "esxi-002"),
    ("vm.destroy vm-20", "find . -name vm-20", r"\A\Z"),
    ("tasks -n 3", "tasks -n 3", r"VirtualMachine\.Destroy +vm-20"),
    ("vm.create -on=false -host esxi-001 vm-21", "vm.info vm-21", "poweredOff"),
    ("object.destroy vm/vm-21", "find . -name vm-21", r"\A\Z"),
    ("vm.create -on=false -cluster cluster-a vm-22", "vm.info vm-22", "poweredOff"),
    ("vm.clone -on=false -vm vm-22 -cluster cluster-a vm-23", "vm.info vm-23", "poweredOff"),
    ("vm.destroy vm-22 vm-23", "find . -name vm-2[23]", r"\A\Z"),
    ("host.disconnect esxi-002", "host.info esxi-002", "disconnected"),
    ("host.reconnect esxi-002", "host.info esxi-002", "State: +connected"),
    ("cluster.change -drs-enabled cluster-a",
     "object.collect -s host/cluster-a configurationEx.drsConfig.enabled", "true"),
    ("cluster.add -cluster cluster-a -hostname esxi-009 -username u -password p -noverify",
     "host.info esxi-009", "State: +connected"),
    ("host.maintenance.enter esxi-009",
     "object.collect -s host/cluster-a/esxi-009 runtime.inMaintenanceMode", "true"),
    ("host.maintenance.exit esxi-009",
     "object.collect -s host/cluster-a/esxi-009 runtime.inMaintenanceMode", "false"),
    ("host.remove esxi-009", "find . -name esxi-009", r"\A\Z"),
    ("role.create Keys System.Read Cryptographer.Access", "role.ls Keys", "Cryptographer.Access"),
    ("role.update Keys Cryptographer.ManageKeys", "role.ls Keys", "Cryptographer.ManageKeys"),
    ("permissions.set -principal eve@vsphere.local -role Keys", "permissions.ls", "eve@"),
    ("permissions.remove -principal eve@vsphere.local", "role.usage", r"\A((?!eve@).)*\Z"),
    ("role.remove Keys", "role.ls", r"\A((?!Keys).)*\Z"),
    ("kms.add -N nkp-1", "kms.ls nkp-1", "Has Backup: false"),
    ("kms.export -f nkp.p12 -p secret nkp-1", "kms.ls nkp-1", "Has Backup: true"),
    ("kms.default nkp-1", "kms.ls", r"nkp-1 +Native +\w+ +default"),
    ("kms.default kms-provider", "kms.ls", r"kms-provider +Standard +green +default"),
    ("kms.rm nkp-1", "kms.ls", r"\A((?!nkp-1).)*\Z"),
    ("kms.add -a 127.0.0.1 -p 5696 -n east outside", "kms.ls outside", r"^east +127.0.0.1:5696"),
    ("kms.add -a 127.0.0.1 -p 5697 -n west outside", "kms.ls outside", r"^west +127.0.0.1:5697"),
    ("kms.rm -s east outside", "kms.ls outside", r"\Awest"),
    ("kms.rm outside", "kms.ls", r"\A((?!outside).)*\Z"),
)  # fmt: skip


def test_what_govc_changes_is_so_afterwards(machine: Machine) -> None:
    for line, look, expected in CHANGES:
        done = machine.run("govc", *line.split())
        assert done.returncode == 0, (line, done.stdout)
        seen = machine.run("govc", *look.split())
        flags = re.MULTILINE | re.DOTALL
        assert re.search(expected, seen.stdout, flags), (line, seen.stdout)


def test_govc_sees_that_the_key_server_is_away(machine: Machine) -> None:
    with machine.without_key_server():
        assert re.search(r"^kms-provider +Standard +red", machine.run("govc", "kms.ls").stdout)
        assert re.search(
            r"alarm\.KeyServerHealth +Folder:group-d1 +Alert", machine.run("govc", "alarms").stdout
        )
        events = machine.run("govc", "events", "-l", "-n", "20").stdout
        assert "com.vmware.vc.kms.crypto.Unreachable" in events
        refused = machine.run("govc", "vm.clone", "-vm", "vm-03", "-on=false", "-host", "x", "y")
        assert refused.returncode == 1
    assert re.search(r"^kms-provider +Standard +green", machine.run("govc", "kms.ls").stdout)


def test_govc_sees_a_host_without_power_and_a_vcenter_that_is_off(machine: Machine) -> None:
    with machine.without_host("esxi-001"):
        host = json.loads(machine.run("govc", "host.info", "-json", "esxi-001").stdout)
        runtime = host["hostSystems"][0]["runtime"]
        assert runtime["connectionState"] == "notResponding"
        assert "esxi-001" in machine.run("govc", "find", ".", "-type", "h").stdout
    with machine.without_vcenter():
        off = machine.run("govc", "about")
        assert off.returncode == 1 and "connection refused" in off.stdout
    assert machine.run("govc", "about").returncode == 0
