"""The commands of a lab, as the library and the command line give them: in virtual time."""

from __future__ import annotations

import asyncio
import contextlib

import msgspec
import pytest

from lab.client import Lab
from lab.schema import commands as c
from lab.schema.answers import MachineState, TpmState
from lab.schema.errors import KeysteadError
from lab.serve.table import perform
from lab.simulation.sim_lab import make
from lab.topology.lab_file import load
from lab.topology.plan import plan
from protocol.messages.agent import NodeSpec, TpmBackend
from protocol.terms import (
    AttestationStatus,
    HostConnectionState,
    HostCryptoState,
    KmipState,
    PowerState,
    VmCryptoState,
)
from tests.lab.api.refusals import refused

pytestmark = pytest.mark.sim

VM, HOST = "vm-01", "esxi-001"


async def test_looking_changes_nothing_and_agrees(lab: Lab) -> None:
    await lab.sleep(2)  # a new key is given to the other hosts of its cluster soon (STD-12)
    nodes = (await lab.do(c.GetNodes())).items
    assert [n.node for n in nodes] == ["kms", "vcenter", "esxi-001", "esxi-002"]
    assert {n.state for n in nodes} == {MachineState.RUNNING}
    there = await lab.do(c.GetDirectory())
    assert [n.node for n in there.nodes] == [n.node for n in nodes]
    keys = (await lab.do(c.GetKeys())).items
    assert len(keys) == 3 and all(k.available for k in keys)  # host key and two VMs
    assert {vm for k in keys for vm in k.encrypted_vms} == {"vm-01", "vm-02"}
    await lab.sleep(5)  # keys of other hosts' VMs are gathered a moment
    view = await lab.do(c.GetHostView(HOST))
    assert view.crypto_state is HostCryptoState.SAFE and view.cached_keys == 3
    assert view.crypto_key_id in {k.key for k in keys}
    (server,) = (await lab.do(c.GetKms())).items
    assert server.keys == 3 and server.states == {KmipState.ACTIVE: 3}
    rows = (await lab.do(c.GetAudit())).items
    assert {"Create", "Activate", "Get"} <= {r.operation for r in rows}
    assert [r.sequence for r in rows] == list(range(1, len(rows) + 1))
    before = await lab.trace()
    status = await lab.do(c.GetStatus())
    assert status.vms is not None and msgspec.structs.astuple(status.vms) == (2, 0, 0)
    assert status.nodes == {MachineState.RUNNING: 4} and status.pids == ()
    assert before != await lab.trace()  # asking takes steps, and the trace tells


async def test_a_provider_says_why_it_is_red(lab: Lab) -> None:
    good = await lab.do(c.DescribeProvider("kms-provider"))
    assert good.reasons == () and good.vcenter is not None and good.vcenter.status == "green"
    await lab.cut("vcenter", "kms")
    await lab.do(c.HostPowerOff(("kms",)))
    bad = await lab.do(c.DescribeProvider("kms-provider"))
    assert [r.rule for r in bad.reasons] == ["STD-08", "STD-08"]
    [was], [now] = good.servers, bad.servers
    assert (was.server, was.machine, was.status, was.why) == ("kms", "running", "green", "")
    assert was.last_contact is not None
    assert (now.machine, now.status, now.last_contact) == ("off", "green", was.last_contact)
    assert was.peer == now.peer == ""
    await lab.sleep(301)  # the next question of health finds it silent
    [late] = (await lab.do(c.DescribeProvider("kms-provider"))).servers
    assert (late.status, late.last_contact) == ("red", was.last_contact) and late.why
    none = await lab.do(c.DescribeProvider("other"))
    assert none.vcenter is None and none.reasons[0].rule == "DEL-01"


async def test_a_host_and_a_vm_are_described_in_every_view(lab: Lab) -> None:
    host = await lab.do(c.DescribeHost(HOST))
    assert host.vcenter == await lab.host(HOST) and host.host_view is not None
    assert host.host_view.crypto_key_id == host.vcenter.crypto_key_id
    assert host.tpm.ek == (await lab.do(c.TpmInspect(HOST))).ek and host.reasons[0].rule == "HEM-01"
    vm = await lab.do(c.DescribeVm(VM))
    assert vm.vcenter == await lab.vm(VM) and vm.host_view in host.host_view.vms
    (key,) = vm.keys
    assert (key.key, key.state, key.stored) == (vm.vcenter.key, KmipState.ACTIVE, False)
    assert vm.events and vm.faults == ()


async def test_providers_come_and_go(lab: Lab) -> None:
    second = await lab.do(c.ProviderAdd("second", ("kms",)))
    assert second.servers == ("kms",) and not second.default
    assert (await lab.do(c.ProviderDefault("second"))).default
    gone = await lab.do(c.ProviderDelete("second"))
    assert gone.fault.kind == "provider.delete" and gone.fault.cure
    there = (await lab.do(c.GetProviders())).items
    assert [p.provider for p in there] == ["kms-provider"]
    error = await refused(lab, c.ProviderDelete("second"))
    assert error.id == "KS-USE-002" and "there are: kms-provider" in str(error)


async def test_a_shut_down_host_is_off_and_comes_back_with_its_vms(lab: Lab) -> None:
    (row,) = (await lab.do(c.HostPowerOff((HOST,)))).items
    assert (row.machine, row.ended) == (MachineState.OFF, "stop")
    why = await lab.why(VM)
    assert why[0].rule == "BOOT-01" and "host power-on" in why[0].cure
    await lab.do(c.HostPowerOn((HOST,)))
    await lab.sleep(60)
    assert (await lab.vm(VM)).power is PowerState.ON


async def test_a_paused_host_is_silent_and_goes_on(lab: Lab) -> None:
    (row,) = (await lab.do(c.HostPause((HOST,)))).items
    assert row.paused
    assert [t.state for t in (await lab.do(c.GetTpm())).items] == [TpmState.UNKNOWN, TpmState.ON]
    await lab.sleep(120)
    silent = await lab.host(HOST)
    assert silent.connection is HostConnectionState.NOT_RESPONDING and silent.stale
    (row,) = (await lab.do(c.HostResume((HOST,)))).items
    assert not row.paused
    await lab.sleep(120)
    assert (await lab.host(HOST)).connection is HostConnectionState.CONNECTED
    assert (await lab.vm(VM)).power is PowerState.ON


async def test_keys_change_state_at_the_key_server(lab: Lab) -> None:
    """Deactivated keys are not brought to hosts any more; who has them goes on (STD-19)."""
    key = (await lab.vm(VM)).key
    assert key is not None
    revoked = await lab.do(c.KmsKeyRevoke(key))
    assert revoked.fault.kind == "kms.key_state" and revoked.fault.cure
    assert (await lab.do(c.KmsKeyShow(key))).state is KmipState.DEACTIVATED
    assert (await lab.vm(VM)).power is PowerState.ON
    error = await refused(lab, c.KmsKeyActivate(key))
    assert error.id == "KS-PRODUCT-001" and "KeyStateNotActiveOrEnabled" in str(error)
    await lab.do(c.KmsKeyDestroy(key))
    assert (await lab.do(c.KmsKeyShow(key))).state is KmipState.DESTROYED
    error = await refused(lab, c.KmsKeyShow("nothing"))
    assert error.id == "KS-USE-002"
    error = await refused(lab, c.KmsKeyRevoke("nothing"))
    assert error.id == "KS-USE-002"


async def test_unlock_is_refused_while_the_cause_is_there(lab: Lab) -> None:
    """CryptoUnlock_Task (LOCK-05): InvalidVmState while locked; afterwards it powers nothing on."""
    await lab.cut("vcenter", "kms")
    await lab.reboot(HOST)
    await lab.sleep(60)
    error = await refused(lab, c.VmUnlock(VM))
    assert "InvalidVmState" in str(error)
    await lab.heal()
    vm = await lab.do(c.VmUnlock(VM))
    assert (vm.crypto, vm.power) == (VmCryptoState.UNLOCKED, PowerState.OFF)


async def test_the_guest_answers_from_its_disk(lab: Lab) -> None:
    written = await lab.do(c.VmGuestWrite(VM, b"a marker of the test"))
    asked = c.VmGuestChallenge(VM, b"fresh", (1, 5, 60))
    first = await lab.do(asked)
    assert len(written.digest) == len(first.digest) == 32
    assert first.generation == 1 and 0 <= first.rewritten < 64
    other = await lab.do(c.VmGuestChallenge(VM, b"another", (1, 5, 60)))
    assert other.digest != first.digest
    await lab.vm_off(VM)
    error = await refused(lab, asked)
    assert "InvalidPowerState" in str(error)


async def test_the_tpm_tells_of_itself_and_can_be_changed(lab: Lab) -> None:
    tpm = await lab.do(c.TpmInspect(HOST))
    assert (tpm.backend, tpm.state, tpm.lockout) == (TpmBackend.MODEL, TpmState.ON, False)
    assert (await lab.do(c.TpmPcrs(HOST))).pcrs == tpm.pcrs
    assert set(tpm.pcrs) == {str(pcr) for pcr in range(14)}
    assert (await lab.do(c.TpmLockout(HOST))).lockout
    swapped = await lab.do(c.TpmSwap(HOST))
    assert swapped.fault.kind == "tpm.swap" and (await lab.do(c.TpmInspect(HOST))).ek != tpm.ek


async def test_a_tpm_that_vcenter_does_not_accept_is_explained_until_its_record_is_cleared(
    lab: Lab,
) -> None:
    await lab.fault("host.boot_measure", on=HOST, version="2.0")
    await lab.do(c.HostReboot((HOST,)))
    await lab.sleep(30)
    told = await lab.do(c.DescribeHost(HOST))
    assert told.vcenter is not None and told.vcenter.attestation is not None
    assert told.vcenter.attestation.status is AttestationStatus.NOT_ACCEPTED
    assert "alarm.HostTpmAttestation" in told.vcenter.alarms
    (reason,) = [r for r in told.reasons if r.rule == "ATT-09"]
    assert "PCR 0" in reason.why and reason.cure.endswith(f"keystead host clear-tpm {HOST}")
    cleared = await lab.do(c.HostClearTpm(HOST))
    assert cleared.attestation is not None
    assert cleared.attestation.status is AttestationStatus.ACCEPTED
    assert "alarm.HostTpmAttestation" not in cleared.alarms
    after = await lab.do(c.DescribeHost(HOST))
    assert "ATT-09" not in [r.rule for r in after.reasons]


async def test_links_show_their_rules_and_are_healed_by_their_ends(lab: Lab) -> None:
    await lab.do(c.LinkDelay("vcenter", "kms", 0.25, jitter_s=0.05, one_way=True))
    await lab.do(c.LinkLoss("vcenter", HOST, 0.5, lease_s=3600))
    links = {link.link: link for link in (await lab.do(c.GetLinks())).items}
    (rule,) = links["vcenter->kms"].rules
    assert (rule.id, rule.kind, rule.base_s, rule.jitter_s) == ("link-delay-1", "delay", 0.25, 0.05)
    assert links["kms->vcenter"].rules == ()
    assert [r.share for r in links[f"{HOST}->vcenter"].rules] == [0.5]
    assert (await lab.do(c.LinkHeal("kms", "vcenter"))).healed == ("link-delay-1",)
    error = await refused(lab, c.LinkHeal("kms", "vcenter"))
    assert error.id == "KS-USE-002"
    assert (await lab.do(c.Heal(("link-loss-1",)))).healed == ("link-loss-1",)


async def test_healing_a_link_leaves_other_faults_of_its_two_ends(lab: Lab) -> None:
    cut = await lab.cut("vcenter", HOST)
    pause = await lab.fault("proc.pause", on=["vcenter", HOST])
    assert (await lab.do(c.LinkHeal(HOST, "vcenter"))).healed == (cut,)
    assert [f.id for f in (await lab.do(c.GetFaults())).items] == [pause]
    assert (await lab.heal()).healed == (pause,)


def test_a_host_that_is_added_is_told_to_who_keeps_the_lab() -> None:
    lab, session = make(plan(load("default", hosts=1, vms=0, tpm="model")), 3)
    kept: list[NodeSpec] = []
    session.host_added = kept.append
    with contextlib.closing(lab.loop):
        added = lab.run(perform(session, c.HostAdd()))
    assert added.host == "esxi-002" and kept == [lab.spec(added.host)]


def test_hosts_that_are_added_at_once_are_so_many_hosts() -> None:
    lab, session = make(plan(load("default", hosts=1, vms=0, tpm="model")), 3)

    async def three() -> list[str]:
        tasks = [asyncio.ensure_future(perform(session, c.HostAdd())) for _ in range(3)]
        return sorted([(await task).host for task in tasks])

    with contextlib.closing(lab.loop):
        assert lab.run(three()) == ["esxi-002", "esxi-003", "esxi-004"]


async def test_vcenter_has_nothing_of_a_wrong_name(lab: Lab) -> None:
    for look in (lab.vm, lab.host):
        with pytest.raises(KeysteadError) as caught:
            await look("nobody")
        assert caught.value.id == "KS-USE-002"
