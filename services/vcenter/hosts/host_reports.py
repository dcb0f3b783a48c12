"""What a host's report means for the inventory: the host of each VM, which reports vCenter does not
believe (C28), VMs that move between two vCenters (MOB-07), problems of the host as events, and
whether a pass of step B8 would change something. Decisions are pure.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from protocol.events import EventTypeId
from protocol.messages.host.session import HostProblem, HostSummary, VmSummary
from protocol.terms import (
    ClusterName,
    CryptoKeyId,
    ManagementType,
    NodeName,
    PowerState,
    ProviderId,
    VmConnectionState,
    VmName,
)
from services.vcenter.events import EventDraft
from services.vcenter.inventory import Edit, change_vm, new_vm, put
from services.vcenter.key_use import cancel_releases, end_grants, grant_keys, release_keys
from services.vcenter.providers.capabilities import Capability, of_provider
from services.vcenter.tables import DatabaseTable, HostRow, Relocation, RelocationRow, VmRow


class Word(msgspec.Struct, frozen=True):
    """The last report of one host about one VM that it lists.

    ``locked_by``: another host that holds the VM's lock, as this one sees it. Moments of one
    counter: ``session`` came into force, vCenter sent the request, and the answer arrived.
    """

    host: NodeName
    running: bool
    locked_by: NodeName | None
    session: int
    requested_at: int
    received_at: int


class VmPlace(msgspec.Struct, frozen=True):
    """The host of a VM, and its power there."""

    host: NodeName
    power: PowerState


def place_of(
    reports: Sequence[Word], away: Collection[NodeName], was: NodeName | None
) -> VmPlace | None:
    """The place of a VM with these reports, by the table; None: no host lists it.

    ``away``: hosts of the inventory that are not connected. ``was``: its host in the inventory. A
    host that comes back with an outdated registration does not get a powered-off VM.
    """
    running = [report for report in reports if report.running]
    if running:
        return VmPlace(_latest(running).host, PowerState.ON)
    witnesses = [report for report in reports if report.locked_by in away]
    if witnesses:
        holder = _latest(witnesses).locked_by
        if holder is not None:
            return VmPlace(holder, PowerState.ON)
    if not reports:
        return None
    newest = max(reports, key=lambda report: (report.host == was, report.session))
    return VmPlace(newest.host, PowerState.OFF)


def _latest(reports: Sequence[Word]) -> Word:
    """The report than which no other is later; of several, that of the newest session."""
    if len(reports) == 1:
        return reports[0]
    last_requested = max(report.requested_at for report in reports)
    unsurpassed = [report for report in reports if report.received_at >= last_requested]
    return max(unsurpassed, key=lambda report: report.session)


class Registrations:
    """The last report of every host about every VM that it lists."""

    def __init__(self) -> None:
        self._by_vm: dict[VmName, dict[NodeName, Word]] = {}
        self._by_host: dict[NodeName, dict[VmName, None]] = {}
        self._moments = 0

    def moment(self) -> int:
        """The next moment; moments only grow."""
        self._moments += 1
        return self._moments

    def view(
        self,
        host: NodeName,
        session: int,
        vms: Collection[VmSummary],
        requested_at: int,
        received_at: int,
    ) -> None:
        """Record all VMs that the host lists."""
        listed = {vm.vm for vm in vms}
        for name in [name for name in self._by_host.get(host, ()) if name not in listed]:
            self.forget_vm(host, name)
        for vm in vms:
            self.answer(host, session, vm, requested_at, received_at)

    def answer(
        self, host: NodeName, session: int, vm: VmSummary, requested_at: int, received_at: int
    ) -> None:
        """The host's answer about one VM."""
        report = Word(
            host, vm.power is PowerState.ON, vm.locked_by, session, requested_at, received_at
        )
        self._by_vm.setdefault(vm.vm, {})[host] = report
        self._by_host.setdefault(host, {})[vm.vm] = None

    def forget_vm(self, host: NodeName, vm: VmName) -> None:
        """The host does not list that VM any more."""
        self._by_host.get(host, {}).pop(vm, None)
        reports = self._by_vm.get(vm)
        if reports is not None:
            reports.pop(host, None)
            if not reports:
                del self._by_vm[vm]

    def forget(self, host: NodeName) -> None:
        """The host lists nothing: it left the inventory, or has a new session."""
        for vm in list(self._by_host.get(host, ())):
            self.forget_vm(host, vm)
        self._by_host.pop(host, None)

    def lists(self, host: NodeName, vm: VmName) -> bool:
        """Whether the host listed the VM in its last report."""
        return vm in self._by_host.get(host, {})

    def reports(self, vm: VmName) -> tuple[Word, ...]:
        """The last report of each host that lists the VM."""
        return tuple(self._by_vm.get(vm, {}).values())


def edits_of_report(
    known: Mapping[VmName, VmRow],
    hosts: Mapping[NodeName, HostRow],
    host: NodeName,
    reported: Iterable[VmSummary],
    place_of: Callable[[VmName], VmPlace | None],
) -> list[Edit]:
    """Edits that bring ``reported`` by ``host`` into the inventory; none when nothing is new.

    ``place_of``: the place of a VM by all hosts' reports, this one included.
    """
    edits: list[Edit] = []
    for vm in reported:
        row, place = known.get(vm.vm), place_of(vm.vm)
        if place is None or place.host not in hosts:
            continue
        if row is None:
            if place.host == host:
                edits.append(new_vm(row_of(vm, host, hosts[host].cluster)))
        elif row.host != place.host:
            cluster = hosts[place.host].cluster
            edits.append(change_vm(vm.vm, host=place.host, cluster=cluster, power=place.power))
        elif place.host == host:
            if row.power is not vm.power:
                edits.append(change_vm(vm.vm, power=vm.power))
            if vm.keys != row.keys and not is_unreadable(vm):
                edits += _keys_of(row, vm, hosts)
            if vm.vtpm is True and not row.vtpm:
                edits.append(change_vm(vm.vm, vtpm=True))
            copies = copies_of(vm)
            if copies != {name: getattr(row, name) for name in copies}:
                edits.append(change_vm(vm.vm, **copies))
    return edits


def _keys_of(row: VmRow, vm: VmSummary, hosts: Mapping[NodeName, HostRow]) -> tuple[Edit, ...]:
    """Take over the keys of a VM.

    Its earlier keys are released if a task was changing them. A host's report alone removes no key;
    it grants none either (C28), and may be a lie.
    """
    edits = (change_vm(vm.vm, keys=vm.keys, recrypting=False), *cancel_releases(vm.keys))
    if not row.recrypting:
        return edits
    there = [name for name, other in hosts.items() if other.cluster == row.cluster]
    gone = [key for key in row.keys if key not in vm.keys]
    return (*edits, *release_keys(gone, there), *end_grants(vm.vm, gone))


def is_unreadable(vm: VmSummary) -> bool:
    """Whether its host cannot read its configuration, and so knows none of its keys."""
    return vm.connection is VmConnectionState.INVALID and vm.crypto is None


def row_of(vm: VmSummary, host: NodeName, cluster: ClusterName) -> VmRow:
    """The row of a VM that is added to the inventory as its host reports it."""
    return VmRow(
        name=vm.vm,
        cluster=cluster,
        host=host,
        power=vm.power,
        keys=vm.keys,
        vtpm=vm.vtpm is True,
        **copies_of(vm),
    )


def copies_of(vm: VmSummary) -> dict[str, Any]:
    """The fields of a VM that its host alone decides: the next report corrects a late one."""
    return {
        "snapshots": () if vm.snapshots is msgspec.UNSET else vm.snapshots,
        "with_memory": () if vm.with_memory is msgspec.UNSET else vm.with_memory,
        "template": vm.template is True,
        "unreadable": is_unreadable(vm),
    }


BelongsToOthers = Callable[[ClusterName, VmName, CryptoKeyId], bool]
"""Whether a key is known not to belong to a VM in a cluster (``Inventory.belongs_to_others``)."""


@dataclass(frozen=True)
class Disbelief:
    """A report about ``vm`` that is not believed, ``why``, and the keys in it."""

    vm: VmName
    keys: tuple[CryptoKeyId, ...]
    why: str


def disbelief(
    cluster: ClusterName,
    vm: VmName,
    keys: tuple[CryptoKeyId, ...],
    row: VmRow | None,
    belongs_to_others: BelongsToOthers,
) -> Disbelief | None:
    """Why a host of ``cluster`` that lists ``vm`` with ``keys`` is not believed; None when it is.

    ``row``: the VM's row in the inventory.
    """
    if row is not None and row.cluster != cluster:
        why = f"it lists virtual machine {vm}, which is in cluster {row.cluster}"
        return Disbelief(vm, keys, why)
    theirs = tuple(key for key in keys if belongs_to_others(cluster, vm, key))
    if not theirs:
        return None
    return Disbelief(vm, theirs, f"it names keys for {vm} that belong to others")


def split_believed(
    cluster: ClusterName,
    vms: Collection[VmSummary],
    rows: Mapping[VmName, VmRow],
    belongs_to_others: BelongsToOthers,
) -> tuple[tuple[VmSummary, ...], tuple[Disbelief, ...]]:
    """The reports of a host of ``cluster``, split into believed and disbelieved ones."""
    kept: list[VmSummary] = []
    refused: list[Disbelief] = []
    for vm in vms:
        why = disbelief(cluster, vm.vm, vm.keys, rows.get(vm.vm), belongs_to_others)
        if why is None:
            kept.append(vm)
        else:
            refused.append(why)
    return tuple(kept), tuple(refused)


def of_relocations(
    relocations: Mapping[VmName, RelocationRow],
    known: Mapping[VmName, VmRow],
    hosts: Mapping[NodeName, HostRow],
    host: NodeName,
    reported: Iterable[VmSummary],
) -> tuple[tuple[VmSummary, ...], list[Edit], list[EventDraft]]:
    """The VMs of a report by ``host`` that count; and for those that it shows to have arrived, the
    edits and events."""
    news: list[VmSummary] = []
    edits: list[Edit] = []
    events: list[EventDraft] = []
    for vm in reported:
        row = relocations.get(vm.vm)
        if row is None or vm.vm in known:
            news.append(vm)
        elif vm.power is PowerState.ON and row.state is Relocation.EXPECTED:
            if not _is_expected_in(hosts, row.host, host):
                continue
            news.append(vm)
            edits += (
                put(DatabaseTable.RELOCATION, row.name, mark_arrived(row)),
                change_vm(row.name, migrate_encryption=row.migrate_encryption),
                *cancel_releases(vm.keys),
                *grant_keys(row.name, hosts[host].cluster, row.keys),
            )
            events.append(arrival(row.name, host, row.peer, vm.keys))
        elif vm.power is PowerState.ON:
            news.append(vm)
        elif not row.is_past(host):
            news.append(vm)
    return tuple(news), edits, events


def _is_expected_in(hosts: Mapping[NodeName, HostRow], expected: NodeName, host: NodeName) -> bool:
    """Whether ``host`` is in the cluster of the host to which the VM was to move."""
    there = hosts.get(expected)
    return there is not None and there.cluster == hosts[host].cluster


def mark_arrived(row: RelocationRow) -> RelocationRow:
    """The row of a VM that has arrived by that move."""
    return msgspec.structs.replace(row, state=Relocation.ARRIVED, before=None)


def arrival(
    vm: VmName, host: NodeName, peer: NodeName, keys: tuple[CryptoKeyId, ...]
) -> EventDraft:
    """The event of a VM that has arrived."""
    return EventDraft(
        event=EventTypeId.VM_RELOCATED,
        text=f"Virtual machine {vm} was relocated from vCenter {peer} to {host}",
        host=host,
        vm=vm,
        provider=keys[0].provider_id if keys else None,
        keys=keys,
    )


def needs_pass(
    host: NodeName,
    listed: Iterable[VmSummary],
    rows: Mapping[VmName, VmRow],
    types: Mapping[ProviderId, ManagementType],
    *,
    rang: bool,
    auto_unlock: bool,
) -> bool:
    """Whether one of the host's VMs lacks a key that its mark does not name, or no longer lacks one
    that it names, or runs in spite of a mark (LOCK-04).

    ``rang``: the host asked for a look, so a missing key is worth another try although the VM is
    marked for it, or counts as another host's. ``auto_unlock``: marks are removed without a request
    (LOCK-05). Keys that hosts fetch by themselves are no reason to try again: vCenter delivers
    nothing for them. For derived keys it delivers the KDK.
    """
    for vm in listed:
        row = rows.get(vm.vm)
        if row is None:
            continue
        lacking = {key for key in vm.missing if key in row.keys and vm.power is PowerState.OFF}
        brought = {key for key in lacking if _is_brought(of_provider(types, key.provider_id))}
        if brought and rang:
            return True
        if row.host != host:
            continue
        if row.lock_event is not None and vm.power is PowerState.ON:
            return True  # a mark on a running VM is void
        if lacking and (row.lock_event is None or not lacking <= set(row.missing)):
            return True
        if auto_unlock and row.lock_event is not None and not set(row.missing) <= lacking:
            return True
    return False


def _is_brought(can: Capability) -> bool:
    return can.derived or not can.self_served


def list_unreported_problems(row: HostRow, summary: HostSummary) -> tuple[HostProblem, ...]:
    """The problems of the host's present boot without an event so far, in order."""
    if summary.problems is msgspec.UNSET:
        return ()
    boot, number = row.problems_told
    last_reported = number if boot == summary.boot else 0
    return tuple([problem for problem in summary.problems if problem.number > last_reported])


def problem_event(row: HostRow, problem: HostProblem) -> EventDraft:
    """The event for one problem."""
    keys = () if problem.key is None else (problem.key,)
    return EventDraft(
        event=problem.event,
        text=f"{row.name}: {problem.text}",
        host=row.name,
        vm=problem.vm,
        provider=None if problem.key is None else problem.key.provider_id,
        keys=keys,
    )
