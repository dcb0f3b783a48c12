"""What vCenter believes of a host that lists VMs, and what of it fills the inventory (C28)."""

from __future__ import annotations

import pytest

from protocol.events import EventTypeId
from protocol.terms import ClusterName, CryptoKeyId, KeyId, PowerState, ProviderId, VmName
from services.vcenter.hosts.host_reports import disbelief
from services.vcenter.tables import VmRow
from tests.services.vcenter.peers import VmRecord
from tests.services.vcenter.rig import CLUSTER, VM, A, B, Rig

OTHER = ClusterName("other")
MINE, THEIRS = (CryptoKeyId(KeyId(name), ProviderId("p")) for name in ("mine", "theirs"))
SPY = VmName("spy")


@pytest.mark.parametrize(
    ("row", "keys", "believed"),
    [
        (None, (), True),
        (None, (MINE,), True),
        (None, (THEIRS,), False),
        (None, (MINE, THEIRS), False),
        (VmRow(name=VM, cluster=CLUSTER, host=A), (MINE,), True),
        (VmRow(name=VM, cluster=CLUSTER, host=A), (THEIRS,), False),
        (VmRow(name=VM, cluster=CLUSTER, host=A, keys=(MINE,)), (THEIRS,), False),
        (VmRow(name=VM, cluster=CLUSTER, host=B), (MINE,), True),
        (VmRow(name=VM, cluster=OTHER, host=B), (), False),
        (VmRow(name=VM, cluster=OTHER, host=B, keys=(THEIRS,)), (THEIRS,), False),
    ],
)
def test_the_table(row: VmRow | None, keys: tuple[CryptoKeyId, ...], believed: bool) -> None:
    refused = disbelief(CLUSTER, VM, keys, row, lambda _cluster, _vm, key: key == THEIRS)
    assert (refused is None) == believed
    if refused is not None and row is None:
        assert refused.keys == (THEIRS,) and "belong to others" in refused.why


@pytest.mark.parametrize("power", [PowerState.OFF, PowerState.ON])
@pytest.mark.parametrize("vm", [VM, SPY])
def test_a_host_that_lists_a_vm_of_another_cluster_changes_nothing(
    rig: Rig, vm: VmName, power: PowerState
) -> None:
    rig.up(A)
    rig.host(B, cluster=OTHER)
    rig.vm(host=A)
    key, mark = rig.key_of(), rig.mark()
    rig.hosts[B].vms[vm] = VmRecord(keys=(key,), power=power)
    rig.sleep(700)
    assert key not in rig.hosts[B].cache
    assert rig.vm_info().host == A and rig.vcenter.inventory.vms[VM].cluster == CLUSTER
    assert SPY not in rig.vcenter.inventory.vms
    told = [event for event in rig.events(mark) if event.host == B]
    assert [event.event for event in told] == [EventTypeId.HOST_SEND_KEY_ERROR]
    assert str(vm) in told[0].text and told[0].keys == (key,)


def test_each_vm_that_is_not_believed_is_told_of_once(rig: Rig) -> None:
    rig.up(A)
    rig.host(B, cluster=OTHER)
    rig.vm(host=A)
    mark = rig.mark()
    for vm in (SPY, VM):
        rig.hosts[B].vms[vm] = VmRecord(keys=(rig.key_of(),))
        rig.sleep(100)
    told = [event.text for event in rig.events(mark) if event.host == B]
    assert len(told) == 2 and str(SPY) in told[0] and str(VM) in told[1]


def test_with_the_knob_it_does_as_in_the_product() -> None:
    """The control of the test above: the same host, believed."""
    rig = Rig(believe_reports_of_other_clusters=True)
    rig.up(A)
    rig.host(B, cluster=OTHER)
    rig.vm(host=A)
    rig.hosts[B].vms[SPY] = VmRecord(keys=(rig.key_of(),))
    rig.sleep(700)
    assert rig.key_of() in rig.hosts[B].cache
    assert rig.vcenter.inventory.vms[SPY].cluster == OTHER
    rig.healthy()
    rig.close()
