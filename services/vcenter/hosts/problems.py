"""Problems that hosts report, as events: each once, even over a restart of vCenter."""

from __future__ import annotations

import msgspec

from protocol.messages.host import HostProblem, HostSummary
from services.vcenter.events import EventDraft
from services.vcenter.tables import HostRow


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
