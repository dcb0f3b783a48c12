"""Hosts that are removed, let alone, connected again, or in maintenance mode."""

from __future__ import annotations

import pytest

from protocol.errors import HostUnreachable, InvalidState, NotAvailable, NotFound, TimedOut
from protocol.events import EventTypeId as E
from protocol.messages.agent import DelayRule
from protocol.messages.base import Request
from protocol.messages.vcenter.inventory import (
    AddHost,
    DisconnectHost,
    EnterMaintenanceMode,
    ExitMaintenanceMode,
    HostChanged,
    ListHosts,
    ReconfigureComputeResource,
    ReconnectHost,
    RemoveHost,
)
from protocol.messages.vcenter.vms import CreateVm, ListVms, PowerOnVm, RegisterVm
from protocol.terms import HostConnectionState, PowerState, Role, VmConnectionState, VmName
from tests.services.vcenter.peers import VCENTER, ScriptedHost, VmRecord
from tests.services.vcenter.rig import CLUSTER, KMS, VM, A, B, Rig

S = HostConnectionState
VM2, VM3 = VmName("vm-02"), VmName("vm-03")


def opened(rig: Rig) -> int:
    return len([name for _, to, name in rig.sent if to == A and name == "OpenSession"])


def test_a_disconnected_host_is_let_alone_until_somebody_connects_it(rig: Rig) -> None:
    rig.up(A, B)
    rig.vm()
    rig.power_on_vm()
    rig.do(DisconnectHost(host=A))
    rig.do(DisconnectHost(host=A))  # twice is once
    before, asked = opened(rig), len(rig.sent)
    assert rig.host_info(A).connection is S.DISCONNECTED
    assert rig.vm_info().connection is VmConnectionState.DISCONNECTED
    assert rig.hosts[A].vms[VM].power is PowerState.ON  # it goes on
    rig.reboot(A)  # it rings, boot after boot
    rig.sleep(60)
    rig.reboot(VCENTER)
    rig.sleep(400)
    assert rig.host_info(A).connection is S.DISCONNECTED
    assert opened(rig) == before and [m for m in rig.sent[asked:] if m[:2] == (VCENTER, A)] == []
    assert isinstance(rig.refused(PowerOnVm(vm=VM)), HostUnreachable)
    back = rig.do(ReconnectHost(host=A)).host
    assert back.connection is S.CONNECTED and rig.key_of() in rig.hosts[A].cache
    rig.reboot(VCENTER)
    rig.sleep(10)
    assert rig.host_info(A).connection is S.CONNECTED
    assert rig.power_on_vm().power is PowerState.ON


def test_a_host_is_let_alone_also_when_its_answer_was_on_the_way(rig: Rig) -> None:
    """It boots, and is disconnected while vCenter opens a session with it."""
    rig.up(A)
    rig.reboot(A)
    slow = DelayRule(id="slow", src=A, dst=VCENTER, base_s=0.5)
    rig.world.rules.apply(rig.rules.put([slow]))
    before = opened(rig)
    while opened(rig) == before:
        rig.sleep(0.05)
    rig.do(DisconnectHost(host=A))
    rig.sleep(30)
    assert rig.host_info(A).connection is S.DISCONNECTED
    assert opened(rig) == before + 1


def test_a_host_that_does_not_answer_stays_disconnected(rig: Rig) -> None:
    rig.up(A)
    rig.do(DisconnectHost(host=A))
    rig.power_off(A)
    assert isinstance(rig.refused(ReconnectHost(host=A)), HostUnreachable)
    rig.power_on(A)
    rig.sleep(60)
    assert rig.host_info(A).connection is S.DISCONNECTED


def test_reconnecting_does_not_wait_for_the_next_try(rig: Rig) -> None:
    rig.up(A)
    rig.cut((VCENTER, A))
    rig.sleep(200)
    assert rig.host_info(A).connection is S.NOT_RESPONDING
    rig.heal()
    assert rig.do(ReconnectHost(host=A)).host.connection is S.CONNECTED
    assert rig.do(ReconnectHost(host=A)).host.connection is S.CONNECTED


def test_a_connection_that_was_being_made_ends_with_the_disconnection(rig: Rig) -> None:
    rig.up(A)
    rig.cut((VCENTER, A))
    rig.sleep(100)
    rig.heal()
    for _ in range(400):  # a try is on its way
        rig.sleep(0.05)
        if rig.sent[-1] == (VCENTER, A, "OpenSession"):
            break
    rig.do(DisconnectHost(host=A))
    rig.sleep(60)
    assert rig.host_info(A).connection is S.DISCONNECTED
    assert rig.vcenter.sessions.find_connected(A) is None


def test_a_host_that_boots_while_its_silence_is_waited_for_is_connected_at_once() -> None:
    """A limit of a request is minutes of the lab where time is real: autostart ends before."""
    rig = Rig(request_timeout_s=300.0)
    rig.up(A)
    rig.power_off(A)
    before = opened(rig)
    rig.reboot(VCENTER)
    rig.sleep(5)
    assert opened(rig) == before + 1  # and it waits for the answer
    rig.power_on(A)
    rig.sleep(5)
    assert rig.host_info(A).connection is S.CONNECTED
    rig.healthy()
    rig.close()


def test_until_it_has_answered_a_host_is_not_responding(rig: Rig) -> None:
    rig.up(A)
    rig.power_off(A)
    rig.reboot(VCENTER)
    assert rig.host_info(A).connection is S.NOT_RESPONDING


def test_a_host_whose_vm_was_started_while_it_was_removed_stays(rig: Rig) -> None:
    """The host's agent of HA is told to rest before the removal, and takes two seconds to say so;
    a VM's start is answered in that time."""
    rig.up(A, B)
    rig.vm()
    rig.do(ReconfigureComputeResource(cluster=CLUSTER, das_enabled=True))
    late = DelayRule(id="late", src=A, dst=VCENTER, base_s=2)
    rig.world.rules.apply(rig.rules.put([late]))

    async def start() -> None:
        await rig.ask(PowerOnVm(vm=VM))

    rig.world.spawn(None, "start", start())
    for _ in range(200):
        if rig.hosts[A].vms[VM].power is PowerState.ON:
            break
        rig.sleep(0.01)
    rig.sleep(1)  # the start is not answered yet
    error = rig.refused(RemoveHost(host=A))
    assert isinstance(error, InvalidState)
    assert f"runs {VM}" in str(error)
    assert rig.vm_info().power is PowerState.ON


def test_a_connected_host_that_does_not_answer_stays_until_it_is_not_responding(rig: Rig) -> None:
    """Whether VMs run there is not known before."""
    rig.up(A, B)
    rig.do(ReconfigureComputeResource(cluster=CLUSTER, das_enabled=True))
    rig.cut((VCENTER, A))
    assert isinstance(rig.refused(RemoveHost(host=A)), TimedOut)
    assert [host.host for host in rig.do(ListHosts()).hosts] == [A, B]
    rig.sleep(120)
    assert rig.host_info(A).connection is S.NOT_RESPONDING
    rig.do(RemoveHost(host=A))
    assert [host.host for host in rig.do(ListHosts()).hosts] == [B]


def test_a_removed_host_takes_its_vms_and_its_marks_with_it(rig: Rig) -> None:
    rig.up(A, B)
    rig.vm()
    rig.vm(VM2, B)
    key, other = rig.key_of(), rig.key_of(VM2)
    rig.power_on_vm()
    assert isinstance(rig.refused(RemoveHost(host=A)), InvalidState)
    rig.do(DisconnectHost(host=A))
    rig.do(RemoveHost(host=A))  # what runs there goes on without vCenter
    assert rig.hosts[A].vms[VM].power is PowerState.ON
    assert [vm.vm for vm in rig.do(ListVms()).vms] == [VM2]
    assert [host.host for host in rig.do(ListHosts()).hosts] == [B]
    rig.sleep(5)
    assert key not in rig.hosts[B].cache and other in rig.hosts[B].cache  # STD-17
    assert key in rig.hosts[A].cache  # it is vCenter's host no more
    rig.do(RemoveHost(host=A))
    rig.do(AddHost(host=A, cluster=CLUSTER))
    rig.sleep(5)
    assert rig.host_info(A).connection is S.CONNECTED
    assert rig.vm_info().host == A and key in rig.hosts[B].cache
    assert rig.vcenter.inventory.released == {}


@pytest.mark.parametrize(("version", "managed"), [("7.0", True), ("7.0U3", True), ("8.0", False)])
def test_a_vcenter_manages_hosts_that_are_not_newer(version: str, managed: bool) -> None:
    rig = Rig(config={"version": "7.0U3"})
    rig.provider()
    rig.add(A, Role.ESXI)
    rig.hosts[A].version = version
    if managed:
        rig.host(A)
        assert rig.host_info(A).version == version
    else:
        error = rig.refused(AddHost(host=A, cluster=CLUSTER))
        assert isinstance(error, NotAvailable)
        assert f"host {A} is 8.0, and vcenter is 7.0 U3: a vCenter manages" in str(error)
        assert not rig.do(ListHosts()).hosts
        assert rig.vcenter.sessions.get(A) is None
        rig.hosts[A].version = "7.0U2"
        rig.host(A)  # of an older image it is taken
    rig.healthy()
    rig.close()


def test_a_host_that_could_not_be_added_is_unknown(rig: Rig) -> None:
    """Nothing of it stays in memory either: its ring is a stranger's, and it can be added later."""
    rig.up(A)
    rig.add(B, Role.ESXI)
    rig.cut((VCENTER, B))
    assert isinstance(rig.refused(AddHost(host=B, cluster=CLUSTER)), HostUnreachable)
    rig.heal()
    host = rig.services[B]
    assert isinstance(host, ScriptedHost)
    with pytest.raises(NotFound):
        rig.run(host.bus.request(VCENTER, HostChanged(boot=host.node.boot), within_s=5))
    before = len(rig.sent)
    rig.sleep(60)
    assert [message for message in rig.requests(before) if message[:2] == (VCENTER, B)] == []
    assert [info.host for info in rig.do(ListHosts()).hosts] == [A]
    rig.host(B)
    assert rig.host_info(B).connection is S.CONNECTED


def test_what_was_told_of_a_host_is_forgotten_with_it(rig: Rig) -> None:
    """Removed and added again in one boot, it needs its mode still: that is news."""
    rig.up(A, B)
    rig.vm(VM, A)
    rig.cut((VCENTER, KMS))
    mark = rig.mark()
    rig.reboot(B)
    rig.sleep(30)
    assert rig.ids(mark).count(E.HOST_REQ_ENABLE_KMS_CLUSTER_ERROR) == 1
    rig.do(RemoveHost(host=B))
    rig.do(AddHost(host=B, cluster=CLUSTER))
    rig.sleep(30)
    assert rig.ids(mark).count(E.HOST_REQ_ENABLE_KMS_CLUSTER_ERROR) == 2


def test_a_key_that_came_back_with_its_host_is_to_be_dropped_by_nobody(rig: Rig) -> None:
    rig.up(A, B)
    rig.vm()
    rig.power_off(B)
    rig.do(RemoveHost(host=A))
    rig.sleep(60)
    assert str(rig.hosts[A].vms[VM].keys[0]) in rig.vcenter.inventory.released
    rig.do(AddHost(host=A, cluster=CLUSTER))
    assert rig.vcenter.inventory.released == {}


@pytest.mark.parametrize(
    "message",
    [
        DisconnectHost(host=B),
        ReconnectHost(host=B),
        EnterMaintenanceMode(host=B),
        ExitMaintenanceMode(host=B),
    ],
)
def test_a_host_that_is_not_in_the_inventory(rig: Rig, message: Request[object]) -> None:
    rig.up(A)
    assert isinstance(rig.refused(message), NotFound)


def test_nothing_is_placed_on_a_host_in_maintenance_mode(rig: Rig) -> None:
    rig.up(A, B)
    rig.vm(VM, A)
    rig.power_on_vm()
    assert isinstance(rig.refused(EnterMaintenanceMode(host=A)), InvalidState)
    assert not rig.host_info(A).in_maintenance_mode
    rig.do(EnterMaintenanceMode(host=B))
    rig.do(EnterMaintenanceMode(host=B))
    assert rig.host_info(B).in_maintenance_mode
    made = rig.do(CreateVm(operation_id="1", vm=VM2, cluster=CLUSTER)).vm
    assert made.host == A  # though B has no VM
    on_b = CreateVm(operation_id="2", vm=VM3, cluster=CLUSTER, host=B)
    assert isinstance(rig.refused(on_b), InvalidState)
    rig.hosts[B].files[VM3] = VmRecord()
    register = RegisterVm(vm=VM3, cluster=CLUSTER, host=B)
    assert isinstance(rig.refused(register), InvalidState)
    rig.reboot(B)
    rig.reboot(VCENTER)
    rig.sleep(30)
    assert rig.host_info(B).in_maintenance_mode  # it is the host's own, and it keeps it
    assert rig.key_of() in rig.hosts[B].cache  # and has the keys of its cluster
    rig.do(ExitMaintenanceMode(host=B))
    assert rig.do(register).vm.host == B
    assert not rig.host_info(B).in_maintenance_mode
