"""The trusted provider in whole labs: two vCenters, thirteen steps, and who needs whom."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from lab.client import Lab
from lab.schema import commands as c
from lab.schema.answers import Vm
from lab.schema.errors import KeysteadError
from lab.topology.lab_file import SHIPPED
from lab.topology.lab_file import load as read_lab
from protocol.messages.host.vms import HostPowerOnVm
from protocol.terms import HostCryptoState, PowerState, ProviderHealth, VmCryptoState, VmName
from protocol.trust import TrustItem
from services.runtime.each import for_each
from tests.e2e.modes import MODES

A = "esxi-001"
TA, WORKLOAD, PROVIDER = "ta-vcenter", "vcenter", "trusted-provider"
_VC = "com.vmware.vc."

BARE: dict[str, Any] = {  # nothing of the thirteen steps is done for it
    "apiVersion": "keystead/v1",
    "kind": "Lab",
    "name": "bare",
    "vcenters": [{"name": WORKLOAD}, {"name": TA}],
    "kms": [{"name": "kms"}],
    "trust_authority": {"vcenter": TA, "hosts": 2, "clusters": [], "setup": False},
    "clusters": [{"name": "cluster-a", "hosts": {"count": 1, "tpm": "model"}}],
}


UNSET_UP: dict[str, Any] = {  # the steps are for who has it to do, as this file says them
    **BARE,
    "providers": [{"name": PROVIDER, "type": "trusted", "vcenter": WORKLOAD, "servers": ["kms"]}],
    "trust_authority": {"vcenter": TA, "hosts": 2, "clusters": ["cluster-a"], "setup": False},
}


def trusted(mode: str = "sim", **changes: Any) -> Lab:
    changes.setdefault("tpm", "model")
    return Lab(mode, topology="trusted", seed=7, **{"hosts": 2, "vms": 2, **changes})  # type: ignore[arg-type]


async def vm_of(lab: Lab, host: str) -> Vm:
    return next(vm for vm in (await lab.do(c.GetVms())).items if vm.host == host)


async def events(lab: Lab) -> list[str]:
    return [e.event.value.removeprefix(_VC) for e in (await lab.do(c.GetEvents())).items]


async def refused(lab: Lab, command: Any, vcenter: str = "", user: str = "") -> str:
    with pytest.raises(KeysteadError) as error:
        await lab.do(command, vcenter, user)
    return str(error.value)


@pytest.mark.parametrize("how", MODES)
async def test_both_vcenters_are_on_no_keys_path(how: dict[str, Any]) -> None:
    """R46, A11: hosts ask the services themselves."""
    async with trusted(**how) as lab:
        await lab.do(c.FaultInject("vcenter.down", {}))
        await lab.do(c.HostPowerLoss((A,)))
        for _ in range(60):
            view = await lab.do(c.GetHostView(A))
            if view.vms and view.vms[0].power is PowerState.ON:
                break
            await lab.sleep(5)
        assert view.crypto_state is HostCryptoState.SAFE
        assert [(vm.power, vm.missing) for vm in view.vms] == [(PowerState.ON, ())]
        assert view.session == ""  # no vCenter has commanded it in this life


@pytest.mark.parametrize("how", MODES)
async def test_without_its_services_a_rebooted_host_gets_no_key(how: dict[str, Any]) -> None:
    """R48 and the minimum order of events: what was lost, the attestation, the lock; and back."""
    services = ("attestation-1", "attestation-2", "keyprovider-1", "keyprovider-2")
    async with trusted(**how) as lab:
        await lab.sleep(30)
        assert "TaHostAttestPassEvent" in await events(lab)
        await lab.do(c.HostPowerOff(services))
        await lab.do(c.HostPowerLoss((A,)))
        await lab.wait_for("vm.locked=1", within_s=900)
        assert (await vm_of(lab, "esxi-002")).power is PowerState.ON  # R47
        lock = (await vm_of(lab, A)).lock_event
        assert lock is not None and lock.value.endswith("TAKMSClusterUnavaliable")
        said = [e for e in await events(lab) if "TaHost" in e or "Locked" in e or "TrustAuth" in e]
        unset, lost = said.index("TaHostAttestUnsetEvent"), "vm.Crypto.VMLocked."
        assert unset < next(n for n, e in enumerate(said) if e.startswith(lost))
        await lab.do(c.HostPowerOn(services))
        await lab.wait_for("vm.unlocked=all", within_s=1200)
        for _ in range(60):  # a host tells the event when it has a moment
            last = {kind: n for n, kind in enumerate(await events(lab))}
            locked = last["vm.Crypto.VMLocked.TAKMSClusterUnavaliable"]
            if last.get("vm.Crypto.VMUnlocked", -1) > locked:
                break
            await lab.sleep(1)
        assert last.get("vm.Crypto.VMUnlocked", -1) > locked


async def test_vcenter_waits_as_long_as_a_host_may_ask_silent_services() -> None:
    """KPS-06: the host asks one after the other, and then starts a VM whose key it has (C6)."""
    knobs = {"trust_timeout_s": 12, "token_lifetime_s": 600}
    async with trusted(knobs=knobs) as lab:
        vm = (await vm_of(lab, A)).vm
        await lab.do(c.VmOff((vm,)))
        for service in ("attestation-1", "attestation-2"):
            await lab.do(c.LinkCut(A, service))
        await lab.sleep(610)
        await lab.do(c.VmOn((vm,)))
        assert (await vm_of(lab, A)).power is PowerState.ON


async def test_who_waits_for_an_attestation_has_its_result_also_when_it_is_in_vain() -> None:
    """Two VMs are started at once while every service is silent: each service is asked once."""
    async with trusted(hosts=1, knobs={"token_lifetime_s": 600}) as lab:
        vms = tuple(vm.vm for vm in (await lab.do(c.GetVms())).items)
        await lab.do(c.VmOff(vms))
        for service in ("attestation-1", "attestation-2"):
            await lab.do(c.LinkCut(A, service))
        await lab.sleep(610)
        asked = await lab.beside(silent_while_started, A, list(vms))
        assert {vm.power for vm in (await lab.do(c.GetHostView(A))).vms} == {PowerState.ON}
        assert sorted(asked) == ["attestation-1", "attestation-2"]


async def silent_while_started(lab: Any, host: str, vms: list[str]) -> list[str]:
    """Start these VMs at once; the services that the host found silent, as often as it did."""
    began = lab.monotonic()
    await for_each(vms, lambda vm: lab.ask(host, HostPowerOnVm(vm=VmName(vm)), within_s=60.0))
    lines = await lab.log_lines("trust.unreachable", began)
    return [str(line.fields["service"]) for line in lines if line.node == host]


async def test_one_command_takes_all_thirteen_steps_and_repeats_none() -> None:
    async with Lab("sim", topology=UNSET_UP, seed=3) as lab:
        with pytest.raises(KeysteadError):
            await lab.do(c.VmCreate("early", encrypted=True, provider=PROVIDER))
        for _ in range(2):
            (host,) = (await lab.do(c.TrustSetup())).items
            assert host.host == A
            assert [p.provider for p in (await lab.do(c.GetProviders())).items] == [PROVIDER]
        await lab.do(c.VmCreate("late", encrypted=True, provider=PROVIDER))
        await lab.sleep(30)  # the host tells the event when it has a moment
        assert "TaHostAttestPassEvent" in await events(lab)
        assert (await vm_of(lab, A)).crypto is VmCryptoState.UNLOCKED


async def test_a_pair_of_services_is_one_machine_and_one_of_two_is_enough() -> None:
    async with trusted() as lab:
        assert ("attestation-1", "keyprovider-1") in lab.topology.groups
        await lab.do(c.HostPowerOff(("attestation-1", "keyprovider-1")))
        await lab.do(c.HostReboot((A,)))
        await lab.wait_for("vm.running=all", within_s=900)


async def test_the_thirteen_steps_by_hand(tmp_path: Path) -> None:
    """In their order; each is refused where it has to be (TA-04, HLT-01, HLT-02)."""
    async with Lab("sim", topology=BARE, seed=3) as lab:

        async def passed(item: Any, host: str = "", name: str = "") -> str:
            file = str(tmp_path / (name or f"{item}{host}"))
            await lab.do(c.TrustExport(item, file, host))
            return file

        assert "TrustedAdmins" in await refused(lab, c.TrustEnable())
        await lab.do(c.UserSet("ops", "Admin"), TA)
        admins = (await lab.do(c.TrustAdmin())).items  # 1
        assert {found.vcenter for found in admins} == {TA, WORKLOAD}
        assert "TrustedAdmins" in await refused(lab, c.TrustEnable(), user="ops")
        await lab.do(c.TrustEnable())  # 2
        assert "AlreadyExists" in await refused(lab, c.TrustEnable())
        files = [
            await passed("principal"),  # 3
            await passed("endorsement-key", A),  # 4
            await passed("base-image", A),  # 5
        ]
        await lab.do(c.TrustSettings(True, False))
        for file in files:  # 6, 7, 8
            await lab.do(c.TrustImport(file))
            assert "AlreadyExists" in await refused(lab, c.TrustImport(file))
        primary = (await lab.do(c.KmsKeyCreate("kms"))).key_id
        create = c.TrustKeyProvider(PROVIDER, primary, ("kms",))
        await lab.do(create)  # 9
        assert "AlreadyExists" in await refused(lab, create)
        no_cluster = await refused(lab, c.TrustCluster("cluster-a"))
        assert "no services information" in no_cluster
        await lab.do(c.TrustImport(await passed("services-information")))  # 11, 12
        await lab.do(c.TrustCluster("cluster-a"))
        assert "AlreadyExists" in await refused(lab, c.TrustCluster("cluster-a"))
        await lab.do(c.TrustRegister(PROVIDER, True))  # 13
        vm = c.VmCreate("vm-x", encrypted=True)
        said = await refused(lab, vm)  # the key servers were not reviewed: no key
        assert "cannot be made safe" in said
        await lab.do(c.TrustServers(PROVIDER))  # 10
        await lab.do(c.VmCreate("vm-y", encrypted=True))
        state = await lab.do(c.GetTrustAuthority())
        assert {item.health for item in state.items} == {ProviderHealth.OK} and not state.silent
        (host,) = (await lab.do(c.GetTrustedHosts())).items
        assert (host.health, host.attestation) == (ProviderHealth.OK, "attested")


async def test_neither_nor_takes_any_key_and_is_warned_about() -> None:
    """TA-07."""
    async with trusted() as lab:
        assert not (await lab.do(c.GetTrustAuthority())).warnings
        answer = await lab.do(c.TrustSettings(False, False))
        assert "any endorsement key" in answer.warnings[0]
        for host in (A, "esxi-002"):
            await lab.do(c.TrustRemove(TrustItem.ENDORSEMENT_KEY, host))
        await lab.do(c.HostReboot((A,)))
        await lab.wait_for("vm.running=all", within_s=900)


async def test_a_service_that_was_away_gets_the_configuration_when_it_is_back() -> None:
    """HLT-01: WARNING while one is silent, ERROR while it is behind, OK after the repair."""
    async with trusted(knobs={"remediation_interval_s": 60}) as lab:
        await lab.do(c.HostPowerOff(("attestation-2",)))
        answer = await lab.do(c.TrustRemove(TrustItem.BASE_IMAGE, await image_of(lab)))
        assert answer.silent == ("attestation-2",)
        kinds = {item.health for item in answer.items if item.kind == "principal"}
        assert kinds == {ProviderHealth.WARNING}
        await lab.do(c.HostPowerOn(("attestation-2",)))
        behind = await lab.do(c.GetTrustAuthority())
        image = [item for item in behind.items if item.kind == "baseImage"]
        assert [item.health for item in image] == [ProviderHealth.ERROR]
        await lab.sleep(130)
        assert {i.health for i in (await lab.do(c.GetTrustAuthority())).items} == {
            ProviderHealth.OK
        }


async def image_of(lab: Lab) -> str:
    items = (await lab.do(c.GetTrustAuthority())).items
    return next(item.name for item in items if item.kind == "baseImage")


async def test_a_host_that_is_patched_before_its_image_is_imported_is_not_attested() -> None:
    """ATT-07, R50: the refusal is told, and its VMs are locked for lack of a key on the host."""
    async with trusted() as lab:
        await lab.do(c.TrustRemove(TrustItem.BASE_IMAGE, await image_of(lab)))
        await lab.do(c.HostPowerLoss((A,)))
        await lab.wait_for("vm.locked=1", within_s=900)
        lock = (await vm_of(lab, A)).lock_event
        assert lock is not None and lock.value.endswith("TAKeyMissingOnHost")
        assert "TaHostAttestFailEvent" in await events(lab)


async def test_a_new_host_is_told_of_and_not_configured_until_it_is_remediated() -> None:
    """HLT-03."""
    async with trusted() as lab:
        await lab.do(c.HostAdd())
        hosts = {str(h.host): h for h in (await lab.do(c.GetTrustedHosts())).items}
        assert hosts["esxi-003"].health is ProviderHealth.ERROR
        assert "TrustAuthority.HostNotConfigured" in await events(lab)
        await lab.sleep(700)  # nobody configures it by itself
        hosts = {str(h.host): h for h in (await lab.do(c.GetTrustedHosts())).items}
        assert hosts["esxi-003"].health is ProviderHealth.ERROR
        await refused(lab, c.VmCreate("vm-n", host="esxi-003", encrypted=True))
        await lab.do(c.TrustRemediate("cluster-a"))
        refusal = await refused(lab, c.VmCreate("vm-n", host="esxi-003", encrypted=True))
        assert "cannot be made safe" in refusal  # its endorsement key is not known
        state = {str(h.host): h for h in (await lab.do(c.GetTrustedHosts())).items}["esxi-003"]
        assert state.health is ProviderHealth.OK


async def test_a_renewed_certificate_is_stale_until_it_is_imported_and_applied(
    tmp_path: Path,
) -> None:
    """HLT-05."""
    async with trusted() as lab:
        renewed = await lab.do(c.TrustRenewCertificate())
        assert renewed.stale_principal
        assert {h.health for h in renewed.items} == {ProviderHealth.ERROR}
        assert "TrustAuthority.StsCertificatesChange" in await events(lab)
        await lab.do(c.TrustRemove(TrustItem.PRINCIPAL, WORKLOAD))
        file = str(tmp_path / "principal")
        await lab.do(c.TrustExport("principal", file))
        await lab.do(c.TrustImport(file))
        remedied = await lab.do(c.TrustRemediate("cluster-a"))
        assert not remedied.stale_principal
        assert {h.health for h in remedied.items} == {ProviderHealth.OK}
        await lab.do(c.HostReboot((A,)))
        await lab.wait_for("vm.running=all", within_s=900)


async def test_a_deleted_provider_is_gone_for_its_hosts_and_comes_back_by_name() -> None:
    """R52, KEY-01."""
    async with trusted(knobs={"provider_delete_grace_s": 30}) as lab:
        await lab.do(c.ProviderDelete(PROVIDER))
        await lab.do(c.HostPowerLoss((A,)))
        await lab.wait_for("vm.locked=1", within_s=900)
        await lab.do(c.TrustRegister(PROVIDER, True))
        await lab.wait_for("vm.unlocked=all", within_s=900)
        assert (await vm_of(lab, A)).crypto is VmCryptoState.UNLOCKED


def test_a_trust_authority_that_does_not_fit_is_refused() -> None:
    file = read_lab("trusted")
    assert file.trust_authority is not None and (SHIPPED / "trusted.yaml").exists()
    for change, said in (
        ({"vcenter": "vcenter"}, "first vCenter"),
        ({"vcenter": "none"}, "there is no vCenter"),
        ({"clusters": ["cluster-b"]}, "there is no cluster"),
        ({"clusters": []}, "trusted cluster"),
    ):
        data = file.model_dump(mode="json")
        data["trust_authority"] |= change
        with pytest.raises(KeysteadError, match=said):
            read_lab(data)


async def test_a_host_that_missed_the_end_of_trust_is_to_be_decommissioned() -> None:
    """HLT-03: its cluster is no trusted one any more, and it was cut off; remediation wipes it."""
    async with trusted() as lab:
        await lab.do(c.LinkCut(WORKLOAD, "esxi-002"))
        await lab.sleep(30)
        assert "did not answer" in await refused(lab, c.TrustCluster("cluster-a", off=True))
        await lab.do(c.Heal(all=True))
        await lab.sleep(120)
        assert "TrustAuthority.DecommissionHost" in await events(lab)
        (left,) = (await lab.do(c.GetTrustedHosts())).items
        assert (left.host, left.health) == ("esxi-002", ProviderHealth.ERROR)
        await lab.do(c.TrustRemediate("cluster-a", delete=True))
        assert not (await lab.do(c.GetTrustedHosts())).items
