"""vCenter's part in clones: what a refusal, a fall and a repeat leave (CLN-01)."""

from __future__ import annotations

import pytest

from protocol.errors import DatastoreFault, InvalidArgument, ProductError, TimedOut
from protocol.messages.vcenter import CloneVm, ListVms
from protocol.terms import ClusterName, NodeName, VmName
from tests.services.vcenter.peers import VCENTER
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
