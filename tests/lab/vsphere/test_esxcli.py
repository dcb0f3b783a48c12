"""esxcli by way of vCenter, as pyVmomi's helpers call it, and the table that it comes from."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

pytest.importorskip("pyVmomi")

from pyVmomi import VmomiSupport as support
from pyVmomi import vim, vmodl
from pyVmomi.SoapAdapter import Deserialize, SerializeToStr

from lab.schema import commands as c
from lab.vsphere.vim.esxcli import COMMANDS
from services.esxi.esxcli import _COMMANDS as OF_THE_CONSOLE

if TYPE_CHECKING:
    from tests.lab.vsphere.conftest import Served

pytestmark = [pytest.mark.sim, pytest.mark.one_worker("vsphere")]


class Executer:
    """A client's end of a host's method executer."""

    def __init__(self, si: Any, host: str) -> None:
        stub = si._stub
        found = si.content.searchIndex.FindByDnsName(None, host, False)
        method = support.GetWsdlMethod("urn:vim25", "RetrieveManagedMethodExecuter").info
        self.executer = stub.InvokeMethod(found, method, ())

    def call(self, moid: str, method: str, **arguments: Any) -> Any:
        """The result of a method on that host; its fault is raised."""
        kind = support.GetVmodlType("vmodl.reflect.ManagedMethodExecuter.SoapArgument")
        given = [
            kind(
                name=name,
                val=SerializeToStr(
                    value,
                    support.Object(
                        name=name, type=type(value), version="vim.version.version5", flags=0
                    ),
                    "vim.version.version5",
                ),
            )
            for name, value in arguments.items()
        ]
        result = self.executer.ExecuteSoap(moid, "urn:vim25/5.0", method, given)
        if result.fault:
            raise Deserialize(result.fault.faultDetail, object)
        return Deserialize(result.response, object)


def test_the_commands_are_those_of_a_hosts_console() -> None:
    described = {
        one.words: (
            one.about,
            {p.option: p.option for p in one.parameters}
            | {p.short: p.option for p in one.parameters},
            {p.option for p in one.parameters if p.flag},
        )
        for one in COMMANDS
    }
    console = {w: (s.about, dict(s.options), set(s.flags)) for w, s in OF_THE_CONSOLE.items()}
    assert described == console


def test_a_client_of_vcenter_reads_and_sets_what_esxcli_does(si: Any) -> None:
    host = Executer(si, "esxi-001")
    persistence = ("ha-cli-handler-system-security-keypersistence", "vim.EsxCLI.system.security")
    was = host.call(persistence[0], f"{persistence[1]}.keypersistence.get").Enabled
    assert host.call(persistence[0], f"{persistence[1]}.keypersistence.enable") is True
    assert host.call(persistence[0], f"{persistence[1]}.keypersistence.get").Enabled is True
    if not was:
        host.call(
            persistence[0], f"{persistence[1]}.keypersistence.disable", removeallstoredkeys=True
        )
    mode = host.call(
        "ha-cli-handler-system-settings-encryption", "vim.EsxCLI.system.settings.encryption.get"
    )
    assert mode.Mode == "TPM" and mode.RequireSecureBoot in (True, False)
    keys = host.call(
        "ha-cli-handler-system-settings-encryption-recovery",
        "vim.EsxCLI.system.settings.encryption.recovery.list",
    )
    assert len(keys) == 1 and len(keys[0].Key.split("-")) == 16


def test_what_a_console_refuses_is_a_fault_with_its_words(si: Any) -> None:
    host = Executer(si, "esxi-001")
    name = "vim.EsxCLI.system.settings.encryption"
    with pytest.raises(vmodl.MethodFault) as refused:
        host.call("ha-cli-handler-system-settings-encryption", f"{name}.set", mode="NONE")
    assert refused.value.errMsg == ["Mode TPM cannot be undone."]
    with pytest.raises(vmodl.MethodFault):
        host.call("ha-cli-handler-system-settings-encryption", f"{name}.erase")


VERSION = ("ha-cli-handler-system-version", "vim.EsxCLI.system.version.get")


def test_a_user_of_vcenter_needs_a_privilege_to_change_a_host(served: Served) -> None:
    served.do(c.RoleCreate("Looker", like="ReadOnly"))
    served.do(c.UserSet("looker@vsphere.local", "Looker"))
    try:
        with served.session("looker@vsphere.local") as found:
            host = Executer(found, "esxi-001")
            assert host.call(*VERSION).Product == "VMware ESXi"
            name = "vim.EsxCLI.system.settings.encryption.recovery.list"
            with pytest.raises(vim.fault.NoPermission) as refused:
                host.call("ha-cli-handler-system-settings-encryption-recovery", name)
            assert refused.value.privilegeId == "Host.Config.Settings"
    finally:
        served.do(c.UserDelete("looker@vsphere.local"))
        served.do(c.RoleDelete("Looker"))


def test_a_host_that_vcenter_does_not_reach_has_no_esxcli_there(si: Any, served: Served) -> None:
    host = Executer(si, "esxi-003")
    fault = served.do(c.LinkCut("vcenter", "esxi-003")).fault.id
    try:
        served.run(lambda: served.lab.sleep(300.0))
        served.server.watch.forget()
        with pytest.raises(vmodl.fault.HostNotConnected):
            host.call(*VERSION)
        with pytest.raises(vmodl.fault.HostNotConnected):
            si.content.searchIndex.FindByDnsName(
                None, "esxi-003", False
            ).QueryTpmAttestationReport()
    finally:
        served.do(c.Heal((fault,), all=False))
        served.run(lambda: served.lab.sleep(300.0))
        served.server.watch.forget()
    assert host.call(*VERSION).Product == "VMware ESXi"
