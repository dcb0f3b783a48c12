"""Each option of a command does what it says, and what it does not name stays as it is."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from lab.client import Lab
from lab.schema import commands as c
from lab.schema.answers import ActiveFault, LinkState, MachineState
from lab.schema.errors import KeysteadError
from lab.serve.table import perform
from lab.simulation.sim_lab import make
from lab.topology.lab_file import load
from lab.topology.plan import plan
from protocol.errors import NotConnected
from protocol.messages.agent import NodeStatus
from protocol.terms import KmipState, NodeName, PowerState, VmCryptoState

pytestmark = pytest.mark.sim

VM, HOST, OTHER = "vm-01", "esxi-001", "esxi-002"


APART = {
    "apiVersion": "keystead/v1",
    "kind": "Lab",
    "vcenters": [{"name": "vcenter"}],
    "kms": [{"name": "kms-1"}, {"name": "kms-2"}],
    "providers": [
        {"name": "kms-provider", "servers": ["kms-1"]},
        {"name": "second", "servers": ["kms-2"], "default": False},
    ],
    "clusters": [
        {"name": "cluster-a", "hosts": {"count": 2}, "vms": {"count": 2, "provider": "second"}}
    ],
}
"""Two providers whose servers know nothing of each other, as a lab file has them."""


@pytest.fixture
async def lab() -> AsyncIterator[Lab]:
    async with Lab(mode="sim", seed=3, hosts=2, vms=2, kms=2) as made:
        yield made


async def faults(lab: Lab) -> tuple[ActiveFault, ...]:
    return (await lab.do(c.GetFaults())).items


@pytest.mark.slow
@pytest.mark.parametrize(
    "command",
    [
        c.LinkCut("vcenter", "kms-1", lease_s=300),
        c.LinkDelay("vcenter", "kms-1", 0.1, lease_s=300),
        c.LinkLoss("vcenter", "kms-1", 0.5, lease_s=300),
        c.LinkDup("vcenter", "kms-1", 0.5, lease_s=300),
        c.LinkReset("vcenter", "kms-1", lease_s=300),
        c.LinkStall("vcenter", "kms-1", lease_s=300),
        c.FaultInject("link.cut", {"between": ["vcenter", "kms-1"]}, lease_s=300),
    ],
    ids=lambda command: type(command).__name__,
)
async def test_a_fault_with_a_lease_ends_by_itself(lab: Lab, command: c.Command[object]) -> None:
    await lab.do(command)
    [fault] = await faults(lab)
    assert fault.until == pytest.approx(fault.since + 300, abs=5)
    await lab.do(c.LinkCut("vcenter", HOST))
    assert [fault.until for fault in await faults(lab)][1] == 0


async def test_faults_have_the_name_given_or_one_that_is_free(lab: Lab) -> None:
    cut = {"between": ["vcenter", "kms-1"]}
    named = await lab.do(c.FaultInject("link.cut", cut, id="mine"))
    assert named.fault.id == "mine"
    assert await lab.cut("vcenter", HOST) == "link-cut-1"
    assert await lab.cut("vcenter", OTHER) == "link-cut-2"
    healed = await lab.do(c.LinkHeal(HOST, "vcenter"))
    assert healed.healed == ("link-cut-1",) and await lab.cut("vcenter", HOST) == "link-cut-1"


async def test_only_what_is_on_the_link_is_healed_by_its_ends(lab: Lab) -> None:
    await lab.cut("vcenter", HOST, one_way=True)
    await lab.fault("vcenter.down")
    links = {link.link: link.state for link in (await lab.do(c.GetLinks())).items}
    assert links[f"vcenter->{HOST}"] is LinkState.CUT
    assert links[f"{HOST}->vcenter"] is LinkState.UP
    await lab.do(c.LinkDelay(HOST, OTHER, 0.1, one_way=True))
    links = {link.link: link.state for link in (await lab.do(c.GetLinks())).items}
    assert links[f"{HOST}->{OTHER}"] is LinkState.FAULTY and f"{OTHER}->{HOST}" not in links
    assert (await lab.do(c.LinkHeal("vcenter", HOST))).healed == ("link-cut-1",)
    assert [fault.id for fault in await faults(lab)] == ["vcenter-down-1", "link-delay-1"]
    assert set((await lab.heal()).healed) == {"vcenter-down-1", "link-delay-1"}


@pytest.mark.parametrize("all", [False, True])
async def test_a_cure_is_applied_when_it_is_asked_for(lab: Lab, all: bool) -> None:
    key = (await lab.vm(VM)).key
    assert key is not None
    fault = (await lab.do(c.KmsKeyRevoke(key, compromised=True))).fault
    assert (await lab.do(c.KmsKeyShow(key))).state is KmipState.COMPROMISED
    ids = () if all else (fault.id,)
    left = await lab.do(c.Heal(ids, all=all))
    assert left.healed == () and [one.id for one in left.left] == [fault.id]
    cured = await lab.do(c.Heal(ids, all=all, with_cure=True))
    assert cured.healed == (fault.id,) and cured.left == ()
    assert (await lab.do(c.KmsKeyShow(key))).state is KmipState.ACTIVE


async def test_each_way_down_is_its_own(lab: Lab) -> None:
    [row] = (await lab.do(c.HostCrash((HOST,)))).items
    assert (row.machine, row.ended) == (MachineState.OFF, "crash")
    [row] = (await lab.do(c.HostPowerLoss((OTHER,), stay_off=True))).items
    assert (row.machine, row.ended) == (MachineState.OFF, "power_loss")
    await lab.do(c.HostPowerOn((HOST, OTHER)))
    [row] = (await lab.do(c.HostPowerLoss((OTHER,)))).items
    assert (row.machine, row.boot) == (MachineState.RUNNING, 3)
    await lab.power_loss(HOST)
    assert (await lab.host(HOST)).boot == 3


async def test_a_boot_option_reaches_the_boot(lab: Lab) -> None:
    await lab.do(c.HostPowerOff((HOST,)))
    options = {"encryptionRecoveryKey": "no recovery key"}
    [row] = (await lab.do(c.HostPowerOn((HOST,), options))).items
    assert row.machine is MachineState.HALTED and "Unable to recover" in row.screen
    await lab.do(c.HostPowerOff((HOST,)))
    [row] = (await lab.do(c.HostPowerOn((HOST,)))).items
    assert row.machine is MachineState.RUNNING


async def test_a_host_is_added_to_the_cluster_named_under_the_next_number(lab: Lab) -> None:
    added = await lab.do(c.HostAdd())
    assert (added.host, added.cluster) == ("esxi-003", (await lab.host(HOST)).cluster)
    assert (await lab.do(c.HostAdd(host="esxi-new"))).host == "esxi-new"
    with pytest.raises(KeysteadError, match="no cluster elsewhere") as caught:
        await lab.do(c.HostAdd(cluster="elsewhere"))
    assert caught.value.id == "KS-USE-002"


async def test_a_host_that_is_added_has_the_last_of_several_versions() -> None:
    hosts = {"count": 2, "versions": ["7.0U3", "8.0U2"]}
    file = {
        "apiVersion": "keystead/v1",
        "kind": "Lab",
        "vcenters": [{"name": "vcenter"}],
        "kms": [{"name": "kms"}],
        "providers": [{"name": "kms-provider", "servers": ["kms"]}],
        "clusters": [{"name": "cluster-a", "hosts": hosts}],
    }
    async with Lab(topology=file, seed=3) as lab:
        await lab.do(c.HostAdd())
        assert [host.version for host in await lab.hosts()] == ["7.0U3", "8.0U2", "8.0U2"]


async def test_a_vm_is_made_where_and_as_it_is_asked_for(lab: Lab) -> None:
    await lab.do(c.ProviderAdd("second", ("kms-2",)))
    for number, host in enumerate((OTHER, OTHER, HOST, HOST)):  # not what balance would choose
        made = await lab.do(c.VmCreate(f"new-{number}", host=host))
        assert (made.host, made.key) == (host, None)
    crypted = await lab.do(c.VmCreate("crypted", encrypted=True, provider="second"))
    assert crypted.key is not None and crypted.key.startswith("second/")
    later = await lab.do(c.VmEncrypt("new-0", provider="second"))
    assert later.key is not None and later.key.startswith("second/")
    assert [row.power for row in await lab.vm_on("crypted")] == [PowerState.ON]


async def test_vms_are_chosen_by_name_by_host_or_by_both(lab: Lab) -> None:
    where = {vm.vm: vm.host for vm in await lab.vms()}
    mine = [vm for vm in where if where[vm] == HOST]
    assert 0 < len(mine) < len(where)
    assert [row.vm for row in (await lab.do(c.VmOff(host=HOST))).items] == mine
    assert [row.vm for row in (await lab.do(c.VmOn((mine[0],)))).items] == mine[:1]
    assert [row.vm for row in (await lab.do(c.VmOn(("all",), host=HOST))).items] == mine
    assert all([vm.power is PowerState.ON for vm in await lab.vms()])


async def test_a_host_powers_its_vms_itself_while_vcenter_is_down(lab: Lab) -> None:
    host = (await lab.vm(VM)).host
    await lab.do(c.HostPowerOff(("vcenter",)))
    with pytest.raises(KeysteadError, match="vcenter is off"):
        await lab.vm_off(VM)
    [row] = (await lab.do(c.VmOff((VM,), host=host, on_host=True))).items
    assert row.power is PowerState.OFF and not row.error


async def test_one_vm_that_is_refused_keeps_no_other_from_being_asked(lab: Lab) -> None:
    await lab.vm_off("all")
    await lab.cut("vcenter", "kms-1")
    await lab.cut("vcenter", "kms-2")
    await lab.reboot((await lab.vm(VM)).host)
    await lab.do(c.VmCreate("plain"))
    rows = {str(row.vm): row for row in await lab.vm_on("all")}
    assert rows[VM].power is None and rows[VM].error_id == "KS-PRODUCT-001"
    assert rows["plain"].power is PowerState.ON and not rows["plain"].error_id
    status = await lab.do(c.GetStatus())
    assert status.vms is not None and status.vms.locked == 1


async def test_a_key_is_found_at_the_server_that_has_it() -> None:
    async with Lab(topology=APART, seed=3) as lab:
        key = (await lab.do(c.VmCreate("new", encrypted=True, provider="second"))).key
        assert key is not None and key.startswith("second/")
        assert (await lab.do(c.KmsKeyShow(key))).kms == "kms-2"
        assert (await lab.do(c.KmsKeyShow(key, kms="kms-2"))).kms == "kms-2"
        with pytest.raises(KeysteadError, match="no key server has"):
            await lab.do(c.KmsKeyShow(key, kms="kms-1"))
        both = await lab.do(c.ProviderAdd("both", ("kms-1", "kms-2")))
        assert both.servers == ("kms-1", "kms-2") and not both.default
        servers = (await lab.do(c.GetKms())).items
        assert [server.peer for server in servers] == ["", ""]
        await lab.do(c.HostPowerOff(("kms-1",)))
        servers = (await lab.do(c.GetKms())).items
        assert [server.machine for server in servers] == [MachineState.OFF, MachineState.RUNNING]
        assert servers[1].keys == 3


async def test_one_server_of_a_pair_fails_and_nothing_is_missing(lab: Lab) -> None:
    """STD-01, STD-08: fail-over when a key is made and when it is fetched; then both agree."""
    await lab.do(c.HostPowerOff(("kms-1",)))
    made = [(await lab.do(c.VmCreate(f"new-{n}", encrypted=True))).key for n in range(2)]
    one, other = (await lab.do(c.GetKms())).items
    assert one.machine is MachineState.OFF
    assert other.peer.startswith("kms-1 marked as down since")
    assert other.peer.endswith("2 keys wait for it")
    away, here = (await lab.do(c.DescribeProvider("kms-provider"))).servers
    assert (away.server, away.machine, away.status, away.peer) == ("kms-1", "off", "red", "")
    assert away.why and here.last_contact is not None and away.last_contact is not None
    assert away.last_contact < here.last_contact
    assert (here.server, here.status, here.peer) == ("kms-2", "green", other.peer)
    await lab.do(c.HostPowerOn(("kms-1",)))
    await lab.sleep(10)
    await lab.do(c.HostPowerOff(("kms-2",)))
    for host in (HOST, OTHER):  # keys come from the server that was away when they were made
        await lab.reboot(host)
    await lab.sleep(60)
    assert [vm.crypto for vm in await lab.vms()] == [VmCryptoState.UNLOCKED] * 4
    await lab.do(c.HostPowerOn(("kms-2",)))
    await lab.sleep(60)
    servers = (await lab.do(c.GetKms())).items
    assert [server.peer for server in servers] == ["kms-2 in step", "kms-1 in step"]
    assert servers[0].states == servers[1].states
    for key in made:
        assert key is not None
        at = [await lab.do(c.KmsKeyShow(key, kms=kms)) for kms in ("kms-1", "kms-2")]
        assert at[0].initial_date == at[1].initial_date


async def test_events_are_read_from_a_number_and_so_many(lab: Lab) -> None:
    whole = (await lab.do(c.GetEvents())).items
    assert (await lab.do(c.GetEvents(limit=2))).items == whole[:2]
    assert (await lab.do(c.GetEvents(after=whole[1].sequence, limit=2))).items == whole[2:4]
    assert await lab.events(whole[-2].sequence) == whole[-1:]


async def test_what_vcenter_does_not_hear_is_told_as_stale_and_why(lab: Lab) -> None:
    fresh = await lab.do(c.DescribeVm(VM))
    assert fresh.vcenter is not None and not fresh.vcenter.stale
    await lab.cut("vcenter", fresh.host)
    await lab.sleep(60)
    stale = await lab.do(c.DescribeVm(VM))
    assert stale.vcenter is not None and stale.vcenter.stale and (await lab.vm(VM)).stale
    described = await lab.do(c.DescribeHost(fresh.host))
    assert "the link to vCenter is cut" in described.reasons[-1].why
    other = OTHER if fresh.host == HOST else HOST
    assert [reason.rule for reason in (await lab.do(c.DescribeHost(other))).reasons][-1] != "B8"


async def test_the_last_events_are_those_of_the_thing_described(lab: Lab) -> None:
    for _ in range(4):
        await lab.vm_off(VM)
        await lab.vm_on(VM)
        await lab.reboot((await lab.vm(VM)).host)
    mine = [event for event in await lab.events() if event.vm == VM]
    described = await lab.do(c.DescribeVm(VM))
    assert [e.sequence for e in described.events] == [e.sequence for e in mine[-10:]]


async def test_a_locked_vm_says_what_stands_between_vcenter_and_its_key(lab: Lab) -> None:
    for server in (await lab.do(c.GetKms())).items:
        await lab.cut("vcenter", server.kms)
    await lab.reboot((await lab.vm(VM)).host)
    await lab.sleep(60)
    locked = await lab.do(c.DescribeVm(VM))
    assert locked.vcenter is not None and locked.vcenter.crypto is VmCryptoState.LOCKED
    assert locked.vcenter.missing == (locked.vcenter.key,)
    assert [reason.rule for reason in locked.reasons] == ["STD-13", "LOCK-01"]
    assert "the link to the key server is cut" in locked.reasons[1].why
    assert [key.stored for key in locked.keys] == [False]
    [event] = [e for e in await lab.events() if e.vm == VM and e.keys][-1:]
    assert event.keys == locked.vcenter.missing
    await lab.do(c.KmsKeyDestroy(locked.vcenter.missing[0]))
    await lab.heal()
    assert [reason.rule for reason in await lab.why(VM)] == ["STD-13", "STD-18"]


async def test_a_stored_key_is_told_and_a_failed_esxcli_is_an_error() -> None:
    async with Lab(hosts=1, vms=1, seed=3, key_persistence=True) as lab:
        described = await lab.do(c.DescribeVm(VM))
        assert [key.stored for key in described.keys] == [True]
        assert [reason.rule for reason in described.reasons] == ["LOCK-04", "KP-07"]
        own = (await lab.do(c.DescribeHost(HOST))).host_view
        assert own is not None and own.stored_keys == own.cached_keys == 2
        await lab.reboot(HOST)
        disable = "system security keypersistence disable --remove-all-stored-keys"
        await lab.esx(HOST, disable)
        own = (await lab.do(c.DescribeHost(HOST))).host_view
        assert own is not None and (own.stored_keys, own.cached_keys) == (0, 2)
        with pytest.raises(KeysteadError) as caught:
            await lab.esx(HOST, "no such command")
        assert caught.value.id == "KS-PRODUCT-001"


def test_a_seed_that_is_given_is_used_and_one_that_is_not_is_drawn() -> None:
    assert Lab(seed=0).seed == 0
    assert len({Lab().seed for _ in range(4)}) > 1


def test_a_refusal_by_one_of_many_is_told_and_the_others_go_down() -> None:
    lab, session = make(plan(load("default", hosts=2, vms=0, tpm="model")), 3)
    real = lab.power_off

    async def power_off(node: NodeName, way: str) -> NodeStatus:
        if node == HOST:
            raise NotConnected(f"the process of {HOST} is down")
        return await real(node, way)

    lab.power_off = power_off  # type: ignore[method-assign]
    with pytest.raises(KeysteadError, match=f"the process of {HOST} is down"):
        lab.run(perform(session, c.HostCrash((HOST, OTHER))))
    nodes = lab.run(perform(session, c.GetNodes())).items
    states = {str(node.node): node.state for node in nodes if node.node.startswith("esxi")}
    lab.loop.close()
    assert states == {HOST: MachineState.RUNNING, OTHER: MachineState.OFF}


async def test_a_cut_link_is_told_of_its_own_two_ends_only(lab: Lab) -> None:
    await lab.cut("vcenter", HOST)
    assert not (await lab.do(c.DescribeProvider("kms-provider"))).reasons
    await lab.cut("vcenter", "kms-1")
    texts = [r.why for r in (await lab.do(c.DescribeProvider("kms-provider"))).reasons]
    assert texts == ["The link between vCenter and kms-1 is cut."]
