"""HA agents: who restarts whose VMs, who does not, and whose a VM is after an outage."""

from __future__ import annotations

import errno
import os
from itertools import permutations

import pytest

from protocol.messages.host.session import (
    HaConfiguration,
    HostEnterMaintenanceMode,
    SetHaConfiguration,
)
from protocol.messages.host.vms import HostCreateVm, HostPowerOffVm, HostPowerOnVm
from protocol.terms import ClusterName, NodeName, PowerState, VmName
from services.runtime.sim.datastore import SimDatastore
from tests.services.esxi.rig import VCENTER, VM, A, B, Rig, add, key

C = NodeName("esxi-003")
ALL = (A, B, C)
HA = HaConfiguration(cluster=ClusterName("cluster-a"), epoch="e1", hosts=ALL)
TRIES = ("ha.restarted", "ha.refused", "ha.left", "vm.refused")
JUDGED_S = 60.0
"""Within it, a host that failed is judged and its VMs were tried once."""


def cluster(rig: Rig, *hosts: NodeName, ha: HaConfiguration = HA, **knobs: object) -> None:
    """Hosts with HA on, and a primary among them. They take vCenter as heard, unless told."""
    for host in hosts or ALL:
        rig.up(host, knobs={"heartbeat_s": 3600.0, **knobs})
        rig.command(SetHaConfiguration(configuration=ha), host)
    rig.sleep(30.0)


def safe(rig: Rig, host: NodeName, *kek: str) -> None:
    rig.make_safe(host)
    if kek:
        rig.command(add(*(key(name) for name in kek)), host)


def clear_vm(rig: Rig, host: NodeName, vm: VmName = VM) -> None:
    rig.command(HostCreateVm(vm=vm, blocks=8), host)
    rig.command(HostPowerOnVm(vm=vm), host)


def running(rig: Rig, vm: VmName = VM, among: tuple[NodeName, ...] = ALL) -> list[NodeName]:
    """Where a guest of it runs: the hosts' own objects, whatever they say."""
    alive = [host for host in among if rig.status(host).state.value == "running"]
    return [host for host in alive if (one := rig.host(host).vms.get(vm)) and one.guest]


def listed(rig: Rig, vm: VmName = VM, among: tuple[NodeName, ...] = ALL) -> list[NodeName]:
    alive = [host for host in among if rig.status(host).state.value == "running"]
    return [host for host in alive if vm in rig.host(host).vms]


def isolate(rig: Rig, host: NodeName, *from_: NodeName) -> None:
    rig.cut(*(pair for other in from_ for pair in ((host, other), (other, host))))


def primary(rig: Rig) -> NodeName:
    """Who became it last."""
    return [r.node for r in rig.records if r.kind == "ha.primary"][-1]


def test_the_first_is_primary_and_the_highest_name_after_it(rig: Rig) -> None:
    """A primary stays one as long as it is heard; then the highest of those that are left is."""
    cluster(rig)
    assert primary(rig) == A
    assert [rig.kinds("ha.follows", host)[-1]["primary"] for host in (B, C)] == [A, A]
    rig.power_off(A, "power_loss")
    rig.sleep(60.0)
    assert primary(rig) == C and rig.kinds("ha.follows", B)[-1]["primary"] == C
    rig.power_on(A)
    rig.sleep(30.0)
    assert primary(rig) == C and rig.kinds("ha.follows", A)[-1]["primary"] == C


def test_without_ha_there_is_no_agent_and_nothing_on_the_datastore(rig: Rig) -> None:
    rig.up(A)
    clear_vm(rig, A)
    rig.sleep(60.0)
    assert set(rig.array.folders) == {VM}
    assert set(rig.array.locks) == {VM}
    assert not [r for r in rig.records if r.kind.startswith("ha.")]


@pytest.mark.parametrize("failed", ALL)
@pytest.mark.parametrize("way", ["power_loss", "crash"])
def test_the_vms_of_a_failed_host_run_elsewhere_within_a_minute(
    rig: Rig, failed: NodeName, way: str
) -> None:
    cluster(rig)
    for host in ALL:
        safe(rig, host, "kek-1")
    rig.encrypted_vm(node=failed)
    rig.power_off(VCENTER, "power_loss")
    rig.power_off(failed, way)
    rig.sleep(JUDGED_S)
    (host,) = running(rig)
    assert host != failed and rig.works(VM, host)


def test_a_cluster_of_two_restarts_too_the_primary_or_the_other(rig: Rig) -> None:
    pair = HaConfiguration(cluster=HA.cluster, epoch="e1", hosts=(A, B))
    cluster(rig, A, B, ha=pair)
    clear_vm(rig, B)
    rig.power_off(B, "power_loss")
    rig.sleep(JUDGED_S)
    assert running(rig, among=(A, B)) == [A]


@pytest.mark.parametrize("cut_off", ALL)
def test_a_partitioned_host_keeps_its_vms(rig: Rig, cut_off: NodeName) -> None:
    cluster(rig)
    clear_vm(rig, cut_off)
    isolate(rig, cut_off, *(host for host in ALL if host != cut_off))
    rig.sleep(200.0)
    assert condition(rig, cut_off) == "networkPartitionedFromMaster"
    assert running(rig) == [cut_off] and listed(rig) == [cut_off]
    assert not [r for r in rig.records if r.kind in TRIES]


def condition(rig: Rig, host: NodeName) -> str:
    """What a primary took it for last."""
    found = [r.fields for r in rig.records if r.kind == "ha.host" and r.fields["host"] == host]
    return str(found[-1]["condition"])


def test_two_primaries_of_a_divided_cluster_become_one_when_they_meet(rig: Rig) -> None:
    cluster(rig)
    isolate(rig, A, B, C)
    rig.sleep(60.0)
    assert primary(rig) == C and condition(rig, A) == "networkPartitionedFromMaster"
    rig.heal()
    rig.sleep(30.0)
    assert rig.kinds("ha.follows", A)[-1]["primary"] == C


def test_an_isolated_host_may_let_go(rig: Rig) -> None:
    cluster(rig, ha_isolation_response="powerOff", heartbeat_s=10.0)
    clear_vm(rig, A)
    rig.power_off(VCENTER, "power_loss")
    isolate(rig, A, B, C)
    rig.sleep(120.0)
    (host,) = running(rig)
    assert host in (B, C) and rig.kinds("ha.isolated", A)
    rig.heal()
    rig.sleep(120.0)
    assert listed(rig) == [host]  # the isolated one has dropped it


def test_an_isolated_host_leaves_its_vms_on_by_default(rig: Rig) -> None:
    cluster(rig, heartbeat_s=10.0)
    clear_vm(rig, A)
    rig.power_off(VCENTER, "power_loss")
    isolate(rig, A, B, C)
    rig.sleep(120.0)
    assert running(rig) == [A] and rig.kinds("ha.isolated", A)


def test_a_host_that_is_back_drops_its_vms(rig: Rig) -> None:
    cluster(rig)
    clear_vm(rig, A)
    rig.power_off(A, "power_loss")
    rig.sleep(JUDGED_S)
    (host,) = running(rig)
    rig.command(HostPowerOffVm(vm=VM), host)  # so no lock tells it
    rig.power_on(A)
    rig.sleep(60.0)
    assert listed(rig) == [host] and running(rig) == []
    assert rig.host(A).archive.now.vms == ()


def test_a_host_that_is_back_before_it_is_judged_starts_its_own(rig: Rig) -> None:
    cluster(rig)
    clear_vm(rig, A)
    rig.reboot(A, "power_loss")
    rig.sleep(100.0)
    assert running(rig) == [A] and listed(rig) == [A]


def test_an_orderly_shutdown_is_no_failure(rig: Rig) -> None:
    cluster(rig)
    clear_vm(rig, A)
    rig.power_off(A, "stop")
    rig.sleep(200.0)
    assert running(rig) == []
    rig.power_on(A)
    rig.sleep(30.0)
    assert running(rig) == [A]


def test_a_host_in_maintenance_mode_gets_nothing(rig: Rig) -> None:
    cluster(rig)
    clear_vm(rig, A)
    rig.command(HostEnterMaintenanceMode(), C)
    rig.power_off(A, "power_loss")
    rig.sleep(JUDGED_S)
    assert running(rig) == [B]


def test_what_was_powered_off_is_not_started(rig: Rig) -> None:
    cluster(rig)
    clear_vm(rig, A)
    rig.command(HostPowerOffVm(vm=VM), A)
    rig.power_off(A, "power_loss")
    rig.sleep(200.0)
    assert running(rig) == []


def test_a_host_that_refused_is_left_for_another_at_the_next_try(rig: Rig) -> None:
    """HA does not know that only B has the key (HA-02)."""
    cluster(rig, ha_retry_interval_s=40.0)
    for host in ALL:
        safe(rig, host)
    rig.encrypted_vm(node=A)
    rig.add_keys(key("kek-1"), node=C)
    clear_vm(rig, C, VmName("load"))  # B has fewer, and is tried first
    rig.power_off(A, "power_loss")
    rig.sleep(JUDGED_S)
    assert running(rig) == [] and listed(rig) == [B]
    assert rig.vm(VM, B).missing == (key("kek-1"),)
    rig.sleep(60.0)
    assert running(rig) == [C]
    rig.sleep(90.0)
    assert listed(rig) == [C]  # B has dropped it


def test_it_gives_up_after_the_last_try(rig: Rig) -> None:
    cluster(rig, ha_retry=3, ha_retry_interval_s=20.0)
    for host in ALL:
        safe(rig, host)
    rig.encrypted_vm(node=A)
    rig.power_off(A, "power_loss")
    rig.sleep(200.0)
    refused = [r.fields for r in rig.records if r.kind == "ha.refused"]
    assert [one["tries"] for one in refused] == [1, 2, 3]
    assert [one["last"] for one in refused] == [False, False, True]
    assert {one["host"] for one in refused} == {B, C}


def test_the_primary_fails_in_the_midst_of_a_restart(rig: Rig) -> None:
    """A fails; the one that judges it fails too; the third restarts the VM all the same."""
    cluster(rig)
    clear_vm(rig, A)
    rig.power_off(A, "power_loss")
    while not [r for r in rig.records if r.kind == "ha.host"]:
        rig.sleep(0.001)
    judge = primary(rig)
    rig.power_off(judge, "crash")
    rig.sleep(2 * JUDGED_S)
    (host,) = running(rig)
    assert host not in (A, judge)


def test_a_site_without_power_comes_back_as_it_was(rig: Rig) -> None:
    cluster(rig)
    vms = {host: VmName(f"vm-{n}") for n, host in enumerate(ALL)}
    for host, vm in vms.items():
        clear_vm(rig, host, vm)
    for host in ALL:
        rig.power_off(host, "power_loss")
    for host in ALL:
        rig.power_on(host)
    rig.sleep(200.0)
    assert [running(rig, vm) for vm in vms.values()] == [[host] for host in ALL]
    assert not [r for r in rig.records if r.kind == "ha.restarted"]


def test_after_a_site_lost_power_a_host_that_stays_away_is_made_up_for(rig: Rig) -> None:
    cluster(rig)
    clear_vm(rig, A)
    for host in ALL:
        rig.power_off(host, "power_loss")
    rig.power_on(B)
    rig.power_on(C)
    rig.sleep(100.0)
    assert running(rig) == []  # it may still be booting
    rig.sleep(100.0)
    assert len(running(rig)) == 1


def test_the_configuration_outlives_a_reboot_and_its_end(rig: Rig) -> None:
    cluster(rig)
    rig.reboot(A, "power_loss")
    assert rig.host(A).ha == HA
    rig.connect(A)
    rig.command(SetHaConfiguration(configuration=None), A)
    rig.sleep(30.0)
    assert rig.host(A).ha is None
    assert not [lock for lock in rig.array.locks if A in lock]


def test_what_was_written_before_ha_was_turned_off_and_on_says_nothing(rig: Rig) -> None:
    cluster(rig)
    clear_vm(rig, A)
    rig.power_off(A, "power_loss")
    rig.sleep(JUDGED_S)
    (host,) = running(rig)
    rig.power_on(A)
    rig.sleep(30.0)
    again = HaConfiguration(cluster=HA.cluster, epoch="e2", hosts=ALL)
    rig.connect(A)
    for one in ALL:
        rig.command(SetHaConfiguration(configuration=again), one)
    rig.sleep(90.0)
    assert running(rig) == [host]


def test_a_power_on_is_answered_when_the_vm_is_protected(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The list cannot be written: the power-on is refused, and what was wanted stays."""
    cluster(rig)
    rig.command(HostCreateVm(vm=VM, blocks=8), A)
    real = SimDatastore.write

    async def full(self: SimDatastore, vm: str, file: str, data: bytes) -> None:
        if file.endswith("-poweron"):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        await real(self, vm, file, data)

    monkeypatch.setattr(SimDatastore, "write", full)
    error = rig.refused_command(HostPowerOnVm(vm=VM), A)
    assert "No space left" in str(error)
    assert rig.vm(VM, A).wanted is PowerState.OFF and not running(rig)
    monkeypatch.undo()
    rig.command(HostPowerOnVm(vm=VM), A)


def test_a_primary_whose_datastore_fails_starts_nothing_and_tries_again(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    cluster(rig)
    clear_vm(rig, A)
    real = SimDatastore.holders

    async def broken(self: SimDatastore, vms: list[str]) -> dict[str, NodeName]:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(SimDatastore, "holders", broken)
    rig.power_off(A, "power_loss")
    rig.sleep(100.0)
    assert running(rig) == [] and condition(rig, A) == "unknown"
    monkeypatch.setattr(SimDatastore, "holders", real)
    rig.sleep(30.0)
    assert len(running(rig)) == 1


@pytest.mark.parametrize("order", list(permutations(ALL, 2)))
def test_never_do_two_hosts_run_one_vm(rig: Rig, order: tuple[NodeName, NodeName]) -> None:
    """The network is divided, a host fails and comes back, in the midst of it all."""
    first, second = order
    cluster(rig)
    clear_vm(rig, first)
    isolate(rig, second, *(host for host in ALL if host != second))
    rig.sleep(20.0)
    rig.power_off(first, "power_loss")
    for _ in range(30):
        rig.sleep(3.0)
        assert len(running(rig)) <= 1
    rig.power_on(first)
    rig.heal()
    for _ in range(30):
        rig.sleep(3.0)
        assert len(running(rig)) <= 1
    assert len(running(rig)) == 1 and len(listed(rig)) == 1


def test_a_vm_lock_decides_in_the_end(rig: Rig) -> None:
    """Its heartbeat on the datastore is lost, and it is cut off: the others try, in vain."""
    cluster(rig)
    clear_vm(rig, A)
    del rig.array.locks[f".vSphere-HA-{A}"]
    isolate(rig, A, B, C)
    rig.sleep(JUDGED_S)
    assert condition(rig, A) == "hostDown"
    assert running(rig) == [A]


def test_a_lock_outlives_its_host_object_only_as_long_as_its_life(rig: Rig) -> None:
    cluster(rig)
    held = rig.array.locks[f".vSphere-HA-{A}"]
    assert held.alive
    rig.power_off(A, "crash")
    assert f".vSphere-HA-{A}" not in rig.array.locks


def test_strangers_say_nothing_to_an_agent(rig: Rig) -> None:
    from protocol.messages.host.session import HaHeartbeat

    cluster(rig)
    ask = rig.controller.bus.request(A, HaHeartbeat(epoch="e1", datastore=True), within_s=5)
    assert type(rig.refusal(ask)).__name__ == "NoPermission"
