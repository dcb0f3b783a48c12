"""check_vsphere, virsh, fence_vmware_rest and rbvmomi: what watches VMs, and what fences them."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import pytest

from tests.lab.vsphere.clients.conftest import USER, find_program
from tests.lab.vsphere.conftest import PASSWORD

if TYPE_CHECKING:
    from pathlib import Path

    from tests.lab.vsphere.clients.conftest import Machine

pytestmark = [pytest.mark.sim, pytest.mark.slow]


def _check(machine: Machine, *words: str) -> tuple[int, str]:
    port = str(machine.served.port)
    login = ("-s", "127.0.0.1", "-o", port, "-u", USER, "-p", PASSWORD, "-nossl")
    done = machine.run("check_vsphere", *words, *login)
    return done.returncode, done.stdout


HEALTHY = {
    "about": "VMware vCenter Server 8.0.3",
    "power-state": r"'up%'=\d+",
    "vm-tools": "",
    "datastores": "datastore-cluster-a used",
    "media": "no connected",
    "snapshots --mode age --warning 1 --critical 2": "snapshots ok",
    "host-runtime --mode status --vihost esxi-001": "yellow|WARNING",
    "host-runtime --mode con --vihost esxi-001": "connected",
    "host-runtime --mode maintenance --vihost esxi-001": "maintenance",
}


@pytest.mark.parametrize("line", HEALTHY)
def test_check_vsphere_of_a_healthy_lab(machine: Machine, line: str) -> None:
    code, text = _check(machine, *line.split())
    assert code in (0, 1) and re.search(HEALTHY[line], text), (code, text)


def test_check_vsphere_is_critical_about_a_host_without_power(machine: Machine) -> None:
    with machine.without_host("esxi-003"):
        code, text = _check(machine, "host-runtime", "--mode", "con", "--vihost", "esxi-003")
        assert code == 2 and "notResponding" in text, text
        code, text = _check(machine, "host-runtime", "--mode", "status", "--vihost", "esxi-003")
        assert code == 2, text
    with machine.without_vcenter():
        code, text = _check(machine, "about")
        assert code in (2, 3), text


def _virsh(machine: Machine, path: Path, host: str = "esxi-001") -> Any:
    auth = path / "auth.conf"
    auth.write_text(
        f"[credentials-k]\nusername={USER}\npassword={PASSWORD}\n\n"
        "[auth-esx-127.0.0.1]\ncredentials=k\n"
    )
    name = USER.replace("@", "%40")
    where = f"127.0.0.1:{machine.served.port}/dc/cluster-a/{host}?no_verify=1"

    def run(*words: str) -> tuple[int, str]:
        done = machine.run(
            "virsh", "-q", "-c", f"vpx://{name}@{where}", *words, LIBVIRT_AUTH_FILE=str(auth)
        )
        lines = [one for one in done.stdout.splitlines() if "warning :" not in one]
        return done.returncode, "\n".join(one for one in lines if "info :" not in one)

    return run


def test_virsh_sees_and_switches_vms(machine: Machine, tmp_path: Path) -> None:
    run = _virsh(machine, tmp_path)
    code, text = run("list", "--all")
    assert code == 0
    vm = text.split()[1]
    assert re.search(rf"\d+ +{vm} +running", text), text
    assert re.search(rf"Name: +{vm}", run("dominfo", vm)[1])
    assert run("hostname")[1].strip() == "esxi-001"
    assert run("shutdown", vm)[0] == 0 and run("domstate", vm)[1].strip() == "shut off"
    assert run("start", vm)[0] == 0 and run("domstate", vm)[1].strip() == "running"
    assert run("destroy", vm)[0] == 0 and run("domstate", vm)[1].strip() == "shut off"
    assert run("start", vm)[0] == 0
    with machine.without_vcenter():
        code, text = run("list")
        assert code == 1 and "onnect" in text


def test_fence_agent_switches_a_vm(machine: Machine) -> None:
    def fence(*words: str) -> tuple[int, str]:
        done = machine.run(
            "fence_vmware_rest", "--ip=127.0.0.1", f"--ipport={machine.served.port}", "--ssl",
            "--ssl-insecure", f"--username={USER}", f"--password={PASSWORD}", *words,
        )  # fmt: skip
        return done.returncode, done.stdout

    code, text = fence("--action=list")
    assert code == 0 and re.search("^vm-02,", text, re.MULTILINE), text
    assert fence("--action=status", "--plug=vm-02") == (0, "Status: ON\n")
    assert fence("--action=off", "--plug=vm-02") == (0, "Success: Powered OFF\n")
    assert fence("--action=status", "--plug=vm-02") == (2, "Status: OFF\n")
    assert fence("--action=on", "--plug=vm-02") == (0, "Success: Powered ON\n")
    assert fence("--action=monitor")[0] == 0
    with machine.without_vcenter():
        assert fence("--action=status", "--plug=vm-02")[0] == 1


RUBY = """
require 'rbvmomi'
e = ENV
v = RbVmomi::VIM.connect(host: e['VMWARE_HOST'], port: e['VMWARE_PORT'].to_i, insecure: true,
                         user: e['VMWARE_USER'], password: e['VMWARE_PASSWORD'])
dc = v.serviceInstance.find_datacenter('dc')
vm = dc.find_vm('vm-03')
puts vm.runtime.powerState
vm.PowerOffVM_Task.wait_for_completion
puts vm.runtime.powerState
begin
  vm.PowerOffVM_Task.wait_for_completion
rescue RbVmomi::Fault => error
  puts error.fault.class
end
vm.PowerOnVM_Task.wait_for_completion
puts v.propertyCollector.collectMultiple(dc.vmFolder.children, 'name').length
v.close
"""


def test_rbvmomi_waits_for_tasks_and_gets_their_faults(machine: Machine, tmp_path: Path) -> None:
    find_program("ruby")
    if machine.run("ruby", "-e", "require 'rbvmomi'").returncode:
        pytest.skip("rbvmomi is not installed")
    script = tmp_path / "client.rb"
    script.write_text(RUBY)
    done = machine.run("ruby", str(script))
    expected = ["poweredOn", "poweredOff", "InvalidPowerState", "6"]
    assert done.stdout.split() == expected, done.stdout
