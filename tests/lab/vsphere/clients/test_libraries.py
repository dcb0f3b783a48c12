"""VMware's own clients in Python: the Automation SDK for vCenter, and esxcli."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

pytest.importorskip("pyVmomi")

from lab.schema import commands as c
from lab.vsphere.http.host_server import HostListeners
from tests.lab.vsphere.clients.conftest import find_program
from tests.lab.vsphere.conftest import PASSWORD

if TYPE_CHECKING:
    from tests.lab.vsphere.clients.conftest import Machine

pytestmark = [pytest.mark.sim, pytest.mark.slow, pytest.mark.one_worker("vsphere-libraries")]

STORY = """
import os, requests
from com.vmware.vapi.std.errors_client import NotFound
from com.vmware.vcenter.crypto_manager.hosts.kms_client import Providers as OnHost
from com.vmware.vcenter.crypto_manager.kms_client import Providers
from com.vmware.vcenter.trusted_infrastructure_client import TrustAuthorityClusters
from com.vmware.vcenter.trusted_infrastructure.hosts.hardware_client import Tpm
from vmware.vapi.vsphere.client import create_vsphere_client

session = requests.Session()
session.verify = os.environ["REQUESTS_CA_BUNDLE"]
server = "127.0.0.1:" + os.environ["VMWARE_PORT"]
client = create_vsphere_client(
    server, os.environ["VMWARE_USER"], os.environ["VMWARE_PASSWORD"], session=session
)
vcenter, stub = client.vcenter, client._stub_config
(vm,) = vcenter.VM.list(vcenter.VM.FilterSpec(names={"vm-02"}))
info = vcenter.VM.get(vm.vm)
assert info.name == "vm-02" and info.disks["2000"].scsi.unit == 0 and not info.nics
vcenter.vm.Power.stop(vm.vm)
assert vcenter.vm.Power.get(vm.vm).state == "POWERED_OFF"
vcenter.vm.Power.start(vm.vm)
assert [c.name for c in vcenter.Cluster.list()] and [d.name for d in vcenter.Datacenter.list()]
host = vcenter.Host.list()[0].host
providers = Providers(stub)
providers.create(Providers.CreateSpec(provider="nkp-sdk"))
export = providers.export(Providers.ExportSpec(provider="nkp-sdk", password="pw"))
bearer = {"Authorization": "Bearer " + export.location.download_token.token}
backup = session.post(export.location.url, headers=bearer)
assert backup.status_code == 200
key_id = providers.get("nkp-sdk").native_info.key_id
assert [p.provider for p in OnHost(stub).list(host)] == ["nkp-sdk"]
providers.delete("nkp-sdk")
spec = Providers.ImportSpec(config=backup.content, password="pw")
assert providers.import_provider(spec).native_info.key_id == key_id
providers.delete("nkp-sdk")
try:
    providers.get("nkp-sdk")
except NotFound as refused:
    print(refused.messages[0].default_message)
assert [c.state for c in TrustAuthorityClusters(stub).list()] == ["DISABLE"]
assert len(Tpm(stub).get(host, "tpm0").banks[0].pcrs[7]) == 32
"""


def test_the_automation_sdk_tells_a_story(machine: Machine) -> None:
    python = find_program("python")
    there = subprocess.run([python, "-c", "import com.vmware.vcenter_client"], capture_output=True)
    if there.returncode:
        pytest.skip("vmware-vcenter is not installed")
    done = machine.run("python", "-c", STORY)
    assert done.returncode == 0, done.stdout
    assert done.stdout == "there is no key provider nkp-sdk\n"


@pytest.fixture
def hosts(machine: Machine) -> Iterator[HostListeners]:
    """The API servers of all hosts."""
    made = HostListeners(machine.served.server, PASSWORD, machine.served.folder)
    machine.served.run(made.look)
    yield made
    machine.served.run(made.close)


def test_esxcli_by_way_of_vcenter_and_of_the_host(machine: Machine, hosts: HostListeners) -> None:
    find_program("esxcli")
    variables = {
        "VI_SERVER": "127.0.0.1",
        "VI_PORTNUMBER": str(machine.served.port),
        "VI_USERNAME": "administrator@vsphere.local",
        "VI_PASSWORD": PASSWORD,
        "VI_CACERTFILE": str(machine.served.folder / "ca.pem"),
    }

    def esxcli(*words: str, **others: str) -> tuple[int, str]:
        done = machine.run("esxcli", *words, **(variables | others))
        return done.returncode, done.stdout

    words = ("system", "security", "keypersistence", "get")
    assert esxcli("-h", "esxi-001", *words) == (0, "   Enabled: false\n")
    refused = esxcli("-h", "esxi-001", *words[:1], "settings", "encryption", "set", "--mode=NONE")
    assert refused == (1, "Mode TPM cannot be undone.\n")
    machine.served.do(c.HostPowerOff(("vcenter",)))
    try:
        own = {"VI_PORTNUMBER": str(hosts.ports["esxi-001"]), "VI_USERNAME": "root"}
        assert esxcli(*words, **own) == (0, "   Enabled: false\n")
        status, text = esxcli("--formatter=csv", "vm", "process", "list", **own)
        assert status == 0 and text.startswith("ConfigFile,DisplayName,ProcessID,UUID,WorldID,")
        assert len(text.splitlines()) == 3
        key = esxcli("system", "settings", "encryption", "recovery", "list", **own)[1]
        assert key.splitlines()[0].split() == ["Recovery", "ID", "Key"]
    finally:
        machine.served.do(c.HostPowerOn(("vcenter",)))
        machine.pass_time(60.0)


def test_virsh_switches_vms_at_a_host_while_vcenter_is_off(
    machine: Machine, hosts: HostListeners, tmp_path: Path
) -> None:
    auth = tmp_path / "auth.conf"
    auth.write_text(
        f"[credentials-k]\nusername=root\npassword={PASSWORD}\n\n"
        "[auth-esx-127.0.0.1]\ncredentials=k\n"
    )
    where = f"esx://root@127.0.0.1:{hosts.ports['esxi-002']}/?no_verify=1"

    def run(*words: str) -> str:
        done = machine.run("virsh", "-q", "-c", where, *words, LIBVIRT_AUTH_FILE=str(auth))
        assert done.returncode == 0, done.stdout
        lines = [one for one in done.stdout.splitlines() if "warning :" not in one]
        return "\n".join(one for one in lines if "info :" not in one).strip()

    with machine.without_vcenter():
        assert run("hostname") == "esxi-002"
        vm = run("list").split()[1]
        run("shutdown", vm)
        assert run("domstate", vm) == "shut off"
        run("start", vm)
        assert run("domstate", vm) == "running"
