"""The host of a VM, from the reports of hosts. Pure.

A VM may be registered on several hosts: one restarted it while another, which had it before, was
away and came back. Only the latest report of each connected host counts.

| the reports say                                   | the VM is on |
|---|---|
| one host runs it                                  | that host: it holds its lock |
| several hosts run it                              | the one with the later report, see below |
| no host runs it, but a host that is away holds its lock | that host, which runs it unseen |
| no host runs it                                   | where it was, if that host lists it |
| nor does that host list it                        | the host with the newest session |
| no host lists it                                  | where it was |

The lock on the datastore has one holder, so of two hosts that report to run the VM one report is
outdated. A report is later than another if vCenter requested it after it had received the other.
Where the two overlap, because an answer came late, the newer session decides, until the next look.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

import msgspec

from protocol.terms import NodeName, PowerState


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
