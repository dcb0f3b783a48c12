"""vCenter's part in clones: what a refusal, a fall and a repeat leave (CLN-01)."""

from __future__ import annotations

import pytest

from protocol.errors import DatastoreFault, InvalidArgument, ProductError, TimedOut
from protocol.messages.vcenter.vms import CloneVm, ListVms, MigrateVm, PowerOnVm
from protocol.terms import ClusterName, NodeName, PowerState, VmName
from tests.services.vcenter.peers import VCENTER, VmRecord
from tests.services.vcenter.rig import KMS, VM, A, B, Rig

COPY = VmName("copy")
SAME = CloneVm(operation_id="same", vm=COPY, source=VM, host=A)
ANEW = CloneVm(operation_id="anew", vm=COPY, source=VM, host=A, recrypt=True)


@pytest.fixture
def ready(rig: Rig) -> Rig:
    rig.up(A, B)
    rig.vm()
    return rig


def listed(rig: Rig) -> list[VmName]:
    return [vm.vm for vm in rig.do(ListVms()).vms]


def test_a_clone_costs_one_command_and_no_key(ready: Rig) -> None:
    before = len(ready.sent)
    assert ready.do(SAME).vm.key == ready.key_of()
    asked = [name for _, _, name in ready.requests(before) if name != "CheckForUpdates"]
    assert asked == ["QueryHost", "GetCryptoKeyStatus", "HostCloneVm"]
    assert ready.do(SAME).vm.vm == COPY  # twice is once
    assert listed(ready) == [COPY, VM]


@pytest.mark.parametrize("message", [SAME, ANEW])
def test_what_certainly_failed_leaves_no_vm_and_no_key_on_a_host(
    ready: Rig, message: CloneVm
) -> None:
    held = set(ready.hosts[A].cache)
    ready.hosts[A].errors["HostCloneVm"] = DatastoreFault("no space")
    assert isinstance(ready.refused(message), DatastoreFault)
    ready.sleep(400)  # STD-17, by the next pass
    assert listed(ready) == [VM]
    assert set(ready.hosts[A].cache) == set(ready.hosts[B].cache) == held
    del ready.hosts[A].errors["HostCloneVm"]
    done = ready.do(message).vm
    ready.sleep(5)
    assert done.key is not None and all(done.key in ready.hosts[h].cache for h in (A, B))


def test_a_repeat_after_a_fall_makes_no_second_key(ready: Rig) -> None:
    """The answer is lost, vCenter falls; the repeat goes to the same host under the same key."""
    ready.hosts[A].errors["HostCloneVm"] = TimedOut("no answer")
    made = len(ready.servers[KMS].keys)
    assert isinstance(ready.refused(ANEW), ProductError)
    ready.reboot(VCENTER)
    ready.sleep(30)
    del ready.hosts[A].errors["HostCloneVm"]
    done = ready.do(ANEW).vm
    assert done.host == A and done.key != ready.key_of()
    assert len(ready.servers[KMS].keys) == made + 1


def test_a_clone_stays_in_its_cluster(ready: Rig) -> None:
    ready.host(NodeName("esxi-009"), cluster=ClusterName("other"))
    away = CloneVm(operation_id="away", vm=COPY, source=VM, host=NodeName("esxi-009"))
    assert isinstance(ready.refused(away), InvalidArgument)


def test_the_knob_says_what_becomes_of_a_virtual_tpm() -> None:
    rig = Rig(clone_tpm_provision_policy="replace")
    rig.up(A)
    rig.vm()
    rig.do(SAME)
    (told,) = rig.hosts[A].cloned
    assert told.tpm.value == "replace"
    rig.close()


# ---- of a VM that runs: its host makes the clone --------------------------------------------

AWAY = CloneVm(operation_id="away", vm=COPY, source=VM, host=B)


@pytest.fixture
def running(ready: Rig) -> Rig:
    ready.do(PowerOnVm(vm=VM))
    return ready


def made(rig: Rig) -> None:
    """What A has made of it lies on the datastore, which B has too."""
    rig.hosts[B].files[COPY] = rig.hosts[A].vms.get(COPY) or VmRecord(keys=(rig.key_of(),))


def test_the_host_of_a_vm_that_runs_clones_it(running: Rig) -> None:
    """Not the emptiest, which has not its lock."""
    chosen = CloneVm(operation_id="chosen", vm=COPY, source=VM)
    assert running.do(chosen).vm.host == A
    assert running.vm_info().power is PowerState.ON


def test_a_clone_for_another_host_is_sent_on(running: Rig) -> None:
    made(running)
    before = len(running.sent)
    done = running.do(AWAY).vm
    assert (done.host, done.power) == (B, PowerState.OFF)
    told = [(to, name) for _, to, name in running.requests(before) if name.startswith("Host")]
    assert told == [(A, "HostCloneVm"), (B, "HostRegisterVm"), (A, "HostUnregisterVm")]
    before = len(running.sent)
    assert running.do(AWAY).vm.host == B  # twice is once
    assert not [n for _, _, n in running.requests(before) if n.startswith("Host")]


def test_a_clone_that_does_not_get_on_stays_and_a_repeat_sends_it_on(running: Rig) -> None:
    running.hosts[B].errors["HostRegisterVm"] = DatastoreFault("no space")
    error = running.refused(AWAY)
    assert isinstance(error, DatastoreFault)
    assert f"copy is cloned, on {A}, and did not get to {B}: no space" in str(error)
    assert running.vm_info(COPY).host == A
    running.reboot(VCENTER)
    running.sleep(30)
    del running.hosts[B].errors["HostRegisterVm"]
    made(running)
    assert running.do(AWAY).vm.host == B
    assert [name for name in running.hosts[A].seen if name == "HostCloneVm"] == ["HostCloneVm"]
    assert COPY not in running.hosts[A].vms


def test_a_repeat_takes_nobodys_clone_back_who_has_moved_it(running: Rig) -> None:
    made(running)
    running.do(AWAY)
    running.hosts[A].files[COPY] = running.hosts[B].vms[COPY]
    running.do(MigrateVm(vm=COPY, host=A))
    assert running.do(AWAY).vm.host == A


def test_a_host_that_cannot_have_the_keys_refuses_before_anything_is_made(running: Rig) -> None:
    """SC-13, also for the host that the clone is sent on to."""
    running.hosts[B].errors["AddKeys"] = DatastoreFault("no")
    running.hosts[B].cache.clear()
    assert isinstance(running.refused(AWAY), ProductError)
    assert listed(running) == [VM] and not running.hosts[A].cloned
