"""What a host's report changes, alarms, and edits that meet in one row."""

from __future__ import annotations

import asyncio

import pytest

from protocol.messages.host.session import VmSummary
from protocol.terms import (
    AttestationStatus,
    ClusterName,
    CryptoKeyId,
    HostConnectionState,
    HostCryptoState,
    KeyId,
    NodeName,
    PowerState,
    ProviderId,
    VmConnectionState,
    VmName,
)
from services.vcenter.hosts.host_reports import VmPlace, edits_of_report
from services.vcenter.inventory import DropVmsOf, change_vm, drop, new_vm, put
from services.vcenter.key_server_status import host_alarms, provider_status
from services.vcenter.tables import DatabaseTable, HostRow, VmRow
from tests.services.vcenter.rig import CLUSTER, VM, A, B, Rig

KEY = CryptoKeyId(KeyId("k"), ProviderId("p"))
NEW = CryptoKeyId(KeyId("new"), ProviderId("p"))
ON, OFF = PowerState.ON, PowerState.OFF


def row(
    *,
    host: NodeName = A,
    power: PowerState = OFF,
    keys: tuple[CryptoKeyId, ...] = (),
    unreadable: bool = False,
    recrypting: bool = False,
) -> VmRow:
    return VmRow(
        name=VM,
        cluster=CLUSTER,
        host=host,
        power=power,
        keys=keys,
        unreadable=unreadable,
        recrypting=recrypting,
    )


def said(*, power: PowerState = OFF, keys: tuple[CryptoKeyId, ...] = ()) -> VmSummary:
    return VmSummary(vm=VM, power=power, keys=keys)


UNREADABLE = VmSummary(vm=VM, power=OFF, connection=VmConnectionState.INVALID)


HOSTS = {name: HostRow(name=name, cluster=CLUSTER) for name in (A, B)}


@pytest.mark.parametrize(
    ("known", "report", "place", "becomes"),
    [
        (None, said(), VmPlace(A, OFF), row()),
        (None, said(power=ON, keys=(KEY,)), VmPlace(A, ON), row(power=ON, keys=(KEY,))),
        (None, said(), VmPlace(B, ON), None),  # B's own report takes it in
        (row(), said(), VmPlace(A, OFF), None),
        (row(), said(power=ON), VmPlace(A, ON), row(power=ON)),
        (row(), said(keys=(KEY,)), VmPlace(A, OFF), row(keys=(KEY,))),
        (row(keys=(KEY,)), said(), VmPlace(A, OFF), row()),
        (row(keys=(KEY,)), said(keys=(NEW,)), VmPlace(A, OFF), row(keys=(NEW,))),
        (row(keys=(KEY,)), said(keys=(NEW,)), VmPlace(B, OFF), row(host=B, keys=(KEY,))),  # not A's
        (row(keys=(KEY,)), UNREADABLE, VmPlace(A, OFF), row(keys=(KEY,), unreadable=True)),
        (
            row(keys=(KEY,), recrypting=True),
            UNREADABLE,
            VmPlace(A, OFF),
            row(keys=(KEY,), recrypting=True, unreadable=True),
        ),
        (row(host=B), said(power=ON), VmPlace(A, ON), row(power=ON)),
        (row(host=B, power=ON), said(), VmPlace(B, ON), None),
        (row(), said(), VmPlace(B, ON), row(host=B, power=ON)),  # it runs there
        (row(), said(power=ON), VmPlace(NodeName("gone"), ON), None),  # no host of the inventory
        (row(), said(power=ON), None, None),
    ],
)
def test_report(
    known: VmRow | None, report: VmSummary, place: VmPlace | None, becomes: VmRow | None
) -> None:
    there = {} if known is None else {VM: known}
    edits = edits_of_report(there, HOSTS, A, (report,), lambda _: place)
    now: VmRow | None = known
    for edit in (edit for edit in edits if edit.table is DatabaseTable.VM):
        changed = edit.change(now)
        assert changed is None or isinstance(changed, VmRow)
        now = changed
    assert now == (becomes or known)
    assert bool(edits) == (becomes is not None)


@pytest.mark.parametrize("recrypting", [True, False])
def test_keys_leave_hosts_when_a_task_changed_them_and_not_on_a_hosts_word(
    recrypting: bool,
) -> None:
    """C28: what a host says grants no key and takes none away."""
    known = {VM: row(keys=(KEY,), recrypting=recrypting)}
    edits = edits_of_report(known, HOSTS, A, (said(keys=(NEW,)),), lambda _: VmPlace(A, OFF))
    old = {edit.table for edit in edits if str(KEY) in edit.name}
    assert old == ({DatabaseTable.RELEASED, DatabaseTable.GRANT} if recrypting else set())


def test_a_vm_that_moved_is_in_the_cluster_of_its_host_and_those_after_it_are_looked_at() -> None:
    """With belief in other clusters; and one VM that is nowhere does not end the report."""
    far = HostRow(name=A, cluster=ClusterName("other"))
    second = VmName("vm-02")
    known = {VM: row(host=B), second: VmRow(name=second, cluster=CLUSTER, host=B)}
    places = {VM: None, second: VmPlace(A, ON)}
    report = (said(), VmSummary(vm=second, power=ON))
    edits = edits_of_report(known, HOSTS | {A: far}, A, report, places.get)
    assert [edit.change(known[VmName(edit.name)]) for edit in edits] == [
        VmRow(name=second, cluster=ClusterName("other"), host=A, power=ON)
    ]


@pytest.mark.parametrize(
    ("connection", "crypto", "wanted", "alarms"),
    [
        (HostConnectionState.CONNECTED, HostCryptoState.SAFE, True, ()),
        (HostConnectionState.CONNECTED, HostCryptoState.PREPARED, False, ()),
        (
            HostConnectionState.CONNECTED,
            HostCryptoState.PREPARED,
            True,
            ("alarm.HostRequiresEncryptionMode",),
        ),
        (
            HostConnectionState.NOT_RESPONDING,
            HostCryptoState.PREPARED,
            True,
            ("alarm.HostConnectionFailure",),
        ),
        (HostConnectionState.DISCONNECTED, None, True, ()),  # by an administrator
    ],
)
def test_host_alarms(
    connection: HostConnectionState,
    crypto: HostCryptoState | None,
    wanted: bool,
    alarms: tuple[str, ...],
) -> None:
    assert host_alarms(connection, crypto, wanted, None) == alarms
    assert host_alarms(connection, crypto, wanted, AttestationStatus.ACCEPTED) == alarms
    refused = host_alarms(connection, crypto, wanted, AttestationStatus.NOT_ACCEPTED)
    assert refused == (*alarms, "alarm.HostTpmAttestation")


@pytest.mark.parametrize(
    ("servers", "down", "unknown", "status"),
    [
        (2, 0, 0, "green"),
        (2, 1, 0, "yellow"),
        (2, 2, 0, "red"),
        (2, 0, 2, "yellow"),
        (1, 1, 0, "red"),
    ],
)
def test_provider_status(servers: int, down: int, unknown: int, status: str) -> None:
    assert provider_status(servers, down, unknown) == status


def test_edits_of_one_row_at_the_same_time_both_count(rig: Rig) -> None:
    """Each is applied to the row as it is in its transaction, not as its caller read it."""
    inventory = rig.vcenter.inventory

    async def work() -> None:
        await inventory.commit(put(DatabaseTable.VM, VM, row()))
        async with asyncio.TaskGroup() as group:
            group.create_task(inventory.commit(change_vm(VM, power=ON)))
            group.create_task(inventory.commit(change_vm(VM, keys=(KEY,))))
            group.create_task(inventory.commit(change_vm(VmName("gone"), power=ON)))

    rig.run(work())
    assert inventory.vms == {VM: row(power=ON, keys=(KEY,))}
    rig.reboot(NodeName("vcenter"))
    assert rig.vcenter.inventory.vms == {VM: row(power=ON, keys=(KEY,))}


def test_no_vm_comes_in_of_a_host_that_has_left(rig: Rig) -> None:
    """What a host said arrives at the database before or after the removal of the host."""
    inventory = rig.vcenter.inventory

    async def work() -> None:
        await inventory.commit(*(put(DatabaseTable.HOST, name, row) for name, row in HOSTS.items()))
        async with asyncio.TaskGroup() as group:
            group.create_task(inventory.commit(new_vm(row())))
            group.create_task(inventory.commit(drop(DatabaseTable.HOST, A), DropVmsOf(A)))
            group.create_task(inventory.commit(new_vm(row())))

    rig.run(work())
    assert inventory.vms == {} and list(inventory.hosts) == [B]
    rig.reboot(NodeName("vcenter"))
    assert rig.vcenter.inventory.vms == {}
