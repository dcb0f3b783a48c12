"""What administrators do to whole machines and to a native provider, as commands of a lab.

Experiments have the same as actions; both call the same code.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from lab.client import Lab
from lab.schema import commands as c
from lab.schema.errors import KeysteadError
from protocol.events import EventTypeId
from tests.lab.api.refusals import refused

pytestmark = pytest.mark.sim

UUID = "6b29fc40-ca47-1067-b31d-00dd010662da"


@pytest.fixture
async def lab() -> AsyncIterator[Lab]:
    async with Lab(mode="sim", seed=3, hosts=2, vms=2) as made:
        yield made


async def boots(lab: Lab) -> dict[str, int]:
    return {node.node: node.boot for node in (await lab.do(c.GetNodes())).items}


# ---- vCenter -------------------------------------------------------------------------------


async def test_a_restored_vcenter_knows_nothing_of_what_came_since(lab: Lab) -> None:
    taken = await lab.do(c.VcenterBackup("monday"))
    assert (taken.vcenter, taken.backup, taken.machine, taken.gone) == (
        "vcenter",
        "monday",
        "running",
        (),
    )
    await lab.wait_for("host.connected=all")
    await lab.do(c.VmCreate("newer", encrypted=True))
    await lab.do(c.ProviderAdd("second", ("kms",)))
    back = await lab.do(c.VcenterRestore("monday"))
    assert (back.machine, back.gone) == ("running", ("second",))
    assert [one.provider for one in (await lab.do(c.GetProviders())).items] == ["kms-provider"]
    await lab.wait_for("host.connected=all")
    await lab.sleep(60)
    assert "newer" in [vm.vm for vm in await lab.vms()], "its host has it registered"
    assert (await boots(lab))["vcenter"] == 3, "stopped and started for each"


async def test_a_backup_that_is_not_there_leaves_vcenter_running(lab: Lab) -> None:
    error = await refused(lab, c.VcenterRestore("never"))
    assert error.id == "KS-USE-002" and "never" in str(error)
    assert len(await lab.vms()) == 2
    with pytest.raises(KeysteadError, match="is no name of a backup"):
        c.VcenterBackup("../x")


async def test_a_vcenter_that_is_off_is_restored_and_stays_off(lab: Lab) -> None:
    await lab.do(c.VcenterBackup("monday"))
    await lab.do(c.HostPowerOff(("vcenter",)))
    back = await lab.do(c.VcenterRestore("monday"))
    assert (back.machine, back.gone) == ("off", ())


async def test_a_rebuilt_vcenter_knows_nobody(lab: Lab) -> None:
    [row] = (await lab.do(c.VcenterRebuild())).items
    assert (row.host, row.machine) == ("vcenter", "running")
    assert await lab.hosts() == () and await lab.vms() == ()
    assert (await lab.do(c.GetProviders())).items == ()


async def test_the_vcenter_that_is_named_is_meant() -> None:
    async with Lab(mode="sim", topology="two-vcenters", seed=3) as lab:
        taken = await lab.do(c.VcenterBackup("monday"), "vcenter-b")
        assert taken.vcenter == "vcenter-b"
        [row] = (await lab.do(c.VcenterRebuild(), "vcenter-b")).items
        assert row.host == "vcenter-b"
        assert {host.vcenter for host in await lab.hosts()} == {"vcenter-a"}


# ---- hosts ---------------------------------------------------------------------------------


async def test_a_reinstalled_host_has_lost_its_configuration_and_nothing_of_its_vms(
    lab: Lab,
) -> None:
    await lab.esx("esxi-001", "system security keypersistence enable")
    [row] = (await lab.do(c.HostReinstall(("esxi-001",)))).items
    assert (row.host, row.machine) == ("esxi-001", "running")
    told = await lab.esx("esxi-001", "system security keypersistence get")
    assert "Enabled: false" in told
    await lab.wait_for("host.safe=all")
    [reason] = await lab.why("vm-01")
    assert (reason.rule, reason.cure) == ("REG-01", "keystead vm register vm-01 --host esxi-001")
    await lab.do(c.VmRegister("vm-01", host="esxi-001"))
    assert [vm.error for vm in await lab.vm_on("vm-01")] == [None]


async def test_a_key_of_the_old_installation_can_be_left_in_the_tpm(lab: Lab) -> None:
    """CFG-01: it cannot be used for sealing then, and the host goes on in mode NONE."""
    await lab.do(c.HostReinstall(("esxi-[001-002]",)))
    sealed = c.Esx("esxi-001", ("system", "settings", "encryption", "get"))
    assert "Mode: TPM" in (await lab.do(sealed)).output
    await lab.do(c.HostReinstall(("esxi-001",), leftover=True))
    assert "Mode: NONE" in (await lab.do(sealed)).output


@pytest.mark.parametrize("node", ["kms", "vcenter"])
async def test_only_hosts_are_reinstalled_as_hosts(lab: Lab, node: str) -> None:
    before = await boots(lab)
    assert (await refused(lab, c.HostReinstall(("esxi-001", node)))).id == "KS-USE-002"
    assert await boots(lab) == before
    with pytest.raises(KeysteadError, match="name at least one host"):
        c.HostReinstall(())


# ---- a native provider ---------------------------------------------------------------------


async def test_an_updated_native_provider_wants_a_new_backup(tmp_path: Path) -> None:
    """NKP-01: NotBackedUpAfterUpdate, the alarm, and the way back."""
    async with Lab(mode="sim", topology="native", hosts=2, vms=1, seed=3) as lab:
        [before] = (await lab.do(c.GetProviders())).items
        changed = await lab.do(c.ProviderUpdate("nkp", UUID))
        assert (changed.key_id, changed.health) == (UUID, "WARNING")
        fresh = await lab.do(c.ProviderUpdate("nkp"))
        assert len({before.key_id, UUID, fresh.key_id}) == 3
        told = [event.event for event in await lab.events()]
        assert told.count(EventTypeId.KMS_NOT_BACKED_UP_AFTER_UPDATE) == 2
        assert "nkp" in [alarm.of for alarm in (await lab.do(c.GetAlarms())).items]
        await lab.do(c.ProviderExport("nkp", str(tmp_path / "nkp.p12")))
        await lab.sleep(60)
        [after] = (await lab.do(c.GetProviders())).items
        assert (after.health, after.details) == ("OK", ())


async def test_a_provider_that_is_not_native_has_no_key_id(lab: Lab) -> None:
    assert (await refused(lab, c.ProviderUpdate("kms-provider", UUID))).id == "KS-USE-003"
    assert (await refused(lab, c.ProviderUpdate("nobody"))).id == "KS-USE-002"
    assert (await refused(lab, c.ProviderUpdate("kms-provider", "7"))).id == "KS-USE-003"


# ---- a Trust Authority ---------------------------------------------------------------------


async def test_renewed_services_are_believed_when_their_information_was_brought(
    tmp_path: Path,
) -> None:
    """TA-08: a host that boots knows them by their certificates of before."""
    async with Lab(mode="sim", topology="trusted", hosts=1, vms=1, seed=3) as lab:
        answer = await lab.do(c.TrustRenewServices(("attestation-[1-2]", "keyprovider-[1-2]")))
        assert answer.cluster == "ta-cluster"
        assert {
            node: boot for node, boot in (await boots(lab)).items() if node.endswith(("-1", "-2"))
        } == dict.fromkeys(("attestation-1", "keyprovider-1", "attestation-2", "keyprovider-2"), 2)
        await lab.reboot("esxi-001")
        await lab.wait_for("vm.locked=all")
        file = str(tmp_path / "services.json")
        await lab.do(c.TrustExport("services-information", file))
        await lab.do(c.TrustImport(file))
        await lab.do(c.TrustRemediate("cluster-a"))
        await lab.wait_for("vm.unlocked=all")
        assert {host.health for host in (await lab.do(c.GetTrustedHosts())).items} == {"OK"}


@pytest.mark.slow
@pytest.mark.parametrize("node", ["esxi-001", "vcenter", "kms"])
async def test_only_services_are_renewed(node: str) -> None:
    async with Lab(mode="sim", topology="trusted", hosts=1, vms=0, seed=3) as lab:
        before = await boots(lab)
        assert (
            await refused(lab, c.TrustRenewServices(("attestation-1", node)))
        ).id == "KS-USE-002"
        assert await boots(lab) == before
