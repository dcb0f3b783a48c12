"""On which host a VM is that several hosts list: the decision, and the stories around it."""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Any

import pytest

from protocol.messages.agent import DelayRule
from protocol.messages.vcenter.inventory import AddHost, ListHosts, RemoveHost
from protocol.messages.vcenter.vms import ListVms, MigrateVm, PowerOnVm
from protocol.terms import HostConnectionState, NodeName, PowerState, VmName
from services.vcenter.hosts.host_reports import VmPlace, Word, place_of
from tests.services.vcenter.peers import VCENTER, ServerRecord, VmRecord
from tests.services.vcenter.rig import CLUSTER, KMS, VM, A, B, C, Rig

ON, OFF = PowerState.ON, PowerState.OFF
NOBODY: frozenset[NodeName] = frozenset()


def says(
    host: NodeName,
    *,
    runs: bool = False,
    locked_by: NodeName | None = None,
    session: int = 1,
    asked: int = 10,
    heard: int = 11,
) -> Word:
    return Word(host, runs, locked_by, session, asked, heard)


@pytest.mark.parametrize(
    ("words", "away", "place"),
    [
        ([], NOBODY, None),
        ([says(A)], NOBODY, VmPlace(A, OFF)),
        ([says(A, runs=True)], NOBODY, VmPlace(A, ON)),
        # One runs it: it has the lock, whoever else lists it, and however new their sessions.
        ([says(A, session=9), says(C, runs=True)], NOBODY, VmPlace(C, ON)),
        ([says(C, runs=True), says(A, session=9, asked=90, heard=91)], NOBODY, VmPlace(C, ON)),
        # Both say so: the later word, whichever session is newer.
        (
            [says(A, runs=True, session=9), says(C, runs=True, asked=12, heard=13)],
            NOBODY,
            VmPlace(C, ON),
        ),
        (
            [says(A, runs=True, asked=20, heard=21), says(C, runs=True, session=9)],
            NOBODY,
            VmPlace(A, ON),
        ),
        # Words that overlap: one answer came late, nobody can tell. The newer session.
        (
            [
                says(A, runs=True, asked=10, heard=30),
                says(C, runs=True, session=2, asked=15, heard=16),
            ],
            NOBODY,
            VmPlace(C, ON),
        ),
        (
            [
                says(A, runs=True, session=3, asked=10, heard=30),
                says(C, runs=True, session=2, asked=15, heard=16),
            ],
            NOBODY,
            VmPlace(A, ON),
        ),
        # Of three, one is out of date, and the two others overlap.
        (
            [
                says(A, runs=True, session=9, asked=1, heard=2),
                says(B, runs=True, session=5, asked=10, heard=30),
                says(C, runs=True, session=7, asked=15, heard=16),
            ],
            NOBODY,
            VmPlace(C, ON),
        ),
        # Nobody runs it, and a host that vCenter cannot hear holds its lock.
        ([says(C, locked_by=A)], {A}, VmPlace(A, ON)),
        ([says(B, locked_by=A, asked=10, heard=11), says(C, session=4)], {A}, VmPlace(A, ON)),
        (
            [
                says(B, locked_by=A, asked=10, heard=11),
                says(C, locked_by=B, asked=20, heard=21),
            ],
            {A},
            VmPlace(A, ON),  # B is connected, and speaks for itself
        ),
        ([says(C, locked_by=A)], NOBODY, VmPlace(C, OFF)),  # A is connected: it would say so
        ([says(C, locked_by=NodeName("foreign"))], {A}, VmPlace(C, OFF)),
        ([says(C, runs=True), says(B, locked_by=A)], {A}, VmPlace(C, ON)),
        # Nobody runs it and nobody holds it: where it was, which is B, or the newest session.
        ([says(B, session=2), says(C, session=3, asked=50, heard=60)], NOBODY, VmPlace(B, OFF)),
        ([says(A, session=3), says(C, session=2)], NOBODY, VmPlace(A, OFF)),
        ([says(C, session=2), says(A, session=1, asked=50, heard=60)], NOBODY, VmPlace(C, OFF)),
    ],
)
def test_where_a_vm_is(words: list[Word], away: set[NodeName], place: VmPlace | None) -> None:
    assert place_of(words, away, B) == place
    assert place_of(words[::-1], away, B) == place  # in whichever order they spoke


def test_a_host_that_comes_back_with_a_registration_of_the_past_does_not_get_the_vm(
    rig: Rig,
) -> None:
    """The VM was moved away while it was off; the host's disk has lost that, or its save failed."""
    rig.up(A, C)
    rig.vm(encrypted=False)
    rig.hosts[C].files[VM] = VmRecord()
    rig.do(MigrateVm(vm=VM, host=C))
    rig.power_off(A)
    rig.hosts[A].vms[VM] = VmRecord()
    rig.power_on(A)
    rig.sleep(60)
    assert rig.vm_info().host == C


def both(rig: Rig) -> None:
    """A VM on A, registered on C too."""
    rig.up(A, C)
    rig.vm(encrypted=False)
    rig.power_on_vm()
    rig.hosts[C].vms[VM] = VmRecord()


def on(rig: Rig, host: NodeName, power: PowerState = ON) -> None:
    rig.hosts[host].vms[VM].power = power


def test_restarted_elsewhere_then_both_there_then_power_cycled(rig: Rig) -> None:
    both(rig)
    rig.power_off(A)
    on(rig, C)
    rig.sleep(15)
    assert (rig.vm_info().host, rig.vm_info().power) == (C, ON)
    rig.power_on(A)  # it comes back, and still lists the VM
    rig.sleep(30)
    assert rig.hosts[A].vms.keys() == {VM} and rig.vm_info().host == C
    rig.power_off(C)
    rig.sleep(60)
    assert (rig.vm_info().host, rig.vm_info().power) == (A, OFF)
    rig.power_on(C)
    on(rig, C)
    rig.sleep(25)
    assert (rig.vm_info().host, rig.vm_info().power) == (C, ON)
    rig.sleep(60)
    assert rig.vm_info().host == C


def test_a_host_out_of_sight_keeps_what_it_runs(rig: Rig) -> None:
    """Its link is cut; it holds the lock, so the VM is not that of the one who sees the lock."""
    both(rig)
    rig.hosts[C].vms[VM].locked_by = A
    rig.cut((VCENTER, A))
    rig.sleep(90)
    assert rig.host_info(A).connection is HostConnectionState.NOT_RESPONDING
    assert (rig.vm_info().host, rig.vm_info().power) == (A, ON)
    rig.hosts[C].vms[VM].locked_by = None  # A has died
    rig.sleep(15)
    assert (rig.vm_info().host, rig.vm_info().power) == (C, OFF)


def test_the_answer_to_a_command_is_later_than_the_view_before(rig: Rig) -> None:
    both(rig)
    on(rig, A, OFF)
    on(rig, C)
    rig.sleep(15)
    assert rig.vm_info().host == C
    on(rig, A)
    on(rig, C, OFF)
    rig.sleep(15)
    assert rig.vm_info().host == A
    on(rig, A, OFF)
    on(rig, C)
    rig.sleep(15)
    on(rig, C, OFF)  # neither runs it
    rig.sleep(15)
    assert (rig.vm_info().host, rig.vm_info().power) == (C, OFF)
    assert rig.do(PowerOnVm(vm=VM)).vm.host == C
    rig.sleep(15)
    assert (rig.vm_info().host, rig.vm_info().power) == (C, ON)


def slow(rig: Rig, host: NodeName, seconds: float) -> None:
    rule = DelayRule(id="slow", src=host, dst=VCENTER, base_s=seconds)
    rig.world.rules.apply(rig.rules.put([rule]))


def beside(rig: Rig, work: Coroutine[Any, Any, Any]) -> None:
    rig.world.spawn(None, "beside", work)


def test_a_view_that_comes_late_does_not_take_a_vm_back(rig: Rig) -> None:
    """A was asked while it ran the VM; its answer arrives when C runs it and has said so."""
    both(rig)
    rig.sleep(15)
    slow(rig, A, 4)
    rig.sleep(30)
    seen: set[NodeName] = set()
    on(rig, A, OFF)
    on(rig, C)
    rig.sleep(25)
    for _ in range(80):
        rig.sleep(0.5)
        seen.add(rig.vm_info().host)
    assert seen == {C}


def test_a_host_that_was_removed_while_it_answered_leaves_nothing(rig: Rig) -> None:
    rig.up(A, B)
    rig.vm(encrypted=False)
    rig.hosts[A].vms[VmName("made-there")] = VmRecord()
    slow(rig, A, 3)
    rig.sleep(11)  # a heartbeat is on its way, with a VM that vCenter does not know
    rig.do(RemoveHost(host=A))
    rig.sleep(60)
    assert rig.do(ListVms()).vms == ()
    assert [host.host for host in rig.do(ListHosts()).hosts] == [B]


def test_a_host_removed_while_its_pass_waits_and_added_again(rig: Rig) -> None:
    """The pass of its first stay ends without a word; the one of its second brings the keys."""
    rig.up(A)
    rig.vm()
    rig.power_off(A)
    server: ServerRecord = rig.servers[KMS]
    server.asked.clear()
    slow(rig, KMS, 6)
    rig.power_on(A)
    for _ in range(200):
        if server.asked:
            break
        rig.sleep(0.1)
    rig.do(RemoveHost(host=A))
    assert rig.do(ListVms()).vms == ()
    rig.world.rules.apply(rig.rules.drop("slow"))
    rig.do(AddHost(host=A, cluster=CLUSTER))
    rig.sleep(60)
    assert rig.vm_info().host == A and rig.key_of() in rig.hosts[A].cache
    assert rig.power_on_vm().power is ON
