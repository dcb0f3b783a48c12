"""What vCenter makes of the TPMs of its hosts: a whole lab in virtual time, faults included."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from chaos.faults import make_fault
from chaos.faults.tpms import recover
from chaos.observe.look import all_events, all_hosts, all_vms
from protocol.events import EventTypeId
from protocol.messages.vcenter.inventory import (
    AddHost,
    ClearTpmRecord,
    HostInfo,
    RemoveHost,
    VcEvent,
)
from protocol.messages.vcenter.vms import PowerOffVm
from protocol.terms import AttestationStatus, HostCryptoState, NodeName
from tests.chaos.worlds import World

pytestmark = pytest.mark.sim
VCENTER, HOST, OTHER = NodeName("vcenter"), NodeName("esxi-001"), NodeName("esxi-002")
ALARM = "alarm.HostTpmAttestation"
MISMATCH = EventTypeId.HOST_TPM_ENDORSEMENT_KEY_MISMATCH
FAILED = EventTypeId.HOST_TPM_ATTESTATION_FAILED


@pytest.fixture
def world() -> Iterator[World]:
    made = World(hosts=2, vms=1, key_persistence=True)
    made.run(made.lab.sleep(30))
    yield made
    made.close()


def info(world: World, host: NodeName = HOST) -> HostInfo:
    listed = world.run(all_hosts(world.lab, VCENTER))
    return next(entry for entry in listed if entry.host == host)


def told(world: World, host: NodeName = HOST) -> list[VcEvent]:
    """Events about the host's TPM, in order."""
    found = world.run(all_events(world.lab, VCENTER))
    return [e for e in found if e.host == host and e.event in (MISMATCH, FAILED)]


def replace_board(world: World, kind: str = "tpm.swap") -> None:
    """The fault, then everything but vCenter's record is made good by the host's administrator."""
    fault: Any = make_fault(kind, "f", {"on": HOST}, world.lab.directory(), seed=3)
    notes = world.run(fault.survey(world.lab))
    world.run(fault.begin(world.lab, 0.0, notes))
    world.run(recover(world.lab, HOST, notes))
    world.run(world.lab.sleep(60))


def alarms(world: World, host: NodeName = HOST) -> tuple[str, ...]:
    """Without that of a recovery key that nobody has acknowledged."""
    return tuple(one for one in info(world, host).alarms if not one.endswith("RecoveryKeyBackup"))


def reboot(world: World, host: NodeName = HOST) -> None:
    world.run(world.lab.power_off(host, "stop"))
    world.run(world.lab.power_on(host))
    world.run(world.lab.sleep(60))


def test_hosts_as_they_were_added_are_accepted_and_nothing_is_told(world: World) -> None:
    for host in (HOST, OTHER):
        reboot(world, host)
        seen = info(world, host).attestation
        assert seen is not None and seen.status is AttestationStatus.ACCEPTED
        assert (seen.message, alarms(world, host), told(world, host)) == ("", (), [])


def test_a_replaced_board_is_told_once_and_stays_in_alarm_until_its_record_is_cleared(
    world: World,
) -> None:
    replace_board(world)
    assert [e.event for e in told(world)] == [MISMATCH]
    seen = info(world).attestation
    assert seen is not None and seen.status is AttestationStatus.NOT_ACCEPTED
    assert ALARM in alarms(world) and "endorsement key" in seen.message
    reboot(world)
    world.run(world.lab.power_off(VCENTER, "crash"))
    world.run(world.lab.power_on(VCENTER))
    world.run(world.lab.sleep(60))
    assert [e.event for e in told(world)] == [MISMATCH]
    assert ALARM in alarms(world)
    assert alarms(world, OTHER) == ()
    world.run(world.lab.ask(VCENTER, ClearTpmRecord(host=HOST)))
    world.run(world.lab.sleep(10))
    accepted = info(world).attestation
    assert accepted is not None and accepted.status is AttestationStatus.ACCEPTED
    assert alarms(world) == ()
    reboot(world)
    assert (alarms(world), len(told(world))) == ((), 1)


def test_a_replaced_board_is_accepted_when_the_host_is_added_anew(world: World) -> None:
    cluster = info(world).cluster
    replace_board(world)
    assert ALARM in alarms(world)
    for vm in world.run(all_vms(world.lab, VCENTER)):
        world.run(world.lab.ask(VCENTER, PowerOffVm(vm=vm.vm)))
    world.run(world.lab.ask(VCENTER, RemoveHost(host=HOST)))
    world.run(world.lab.ask(VCENTER, AddHost(host=HOST, cluster=cluster), within_s=60))
    world.run(world.lab.sleep(30))
    seen = info(world).attestation
    assert seen is not None and seen.status is AttestationStatus.ACCEPTED
    assert alarms(world) == ()


def test_a_cleared_tpm_keeps_its_key_and_shows_in_its_counters(world: World) -> None:
    for _ in range(3):
        reboot(world)
    replace_board(world, "tpm.clear")
    assert [e.event for e in told(world)] == [FAILED]
    assert "counters" in told(world)[0].text
    for _ in range(5):  # the counter passes the old one, the doubt stays
        reboot(world)
    assert ALARM in alarms(world) and len(told(world)) == 1
    world.run(world.lab.ask(VCENTER, ClearTpmRecord(host=HOST)))
    world.run(world.lab.sleep(10))
    assert alarms(world) == ()


def test_another_build_boots_and_raises_an_alarm_that_ends_with_it(world: World) -> None:
    values = {"on": HOST, "version": "2.0"}
    fault: Any = make_fault("host.boot_measure", "f", values, world.lab.directory(), seed=3)
    world.run(world.keeper.inject(fault))
    reboot(world)
    assert [e.event for e in told(world)] == [FAILED]
    assert ALARM in alarms(world)
    assert info(world).crypto_state is HostCryptoState.SAFE  # it gates nothing
    world.run(world.keeper.heal_all())
    reboot(world)
    assert alarms(world) == ()


def test_the_chaos_cure_of_a_lost_tpm_clears_the_record(world: World) -> None:
    fault: Any = make_fault("tpm.swap", "f", {"on": HOST}, world.lab.directory(), seed=3)
    world.run(world.keeper.inject(fault))
    world.run(world.keeper.heal_all(with_cure=True))
    world.run(world.lab.sleep(60))
    assert alarms(world) == ()
