"""What a run has to have done, to prove anything."""

from __future__ import annotations

from collections.abc import Sequence

from chaos.checks.result import CheckOutcome, CheckResult
from chaos.experiment.plan import Plan, Planned


def never_begun(missed: Sequence[Planned]) -> list[CheckResult]:
    """What waited for something that did not come proves nothing, unless it was ``optional``."""
    return [
        CheckResult(
            name=f"entry {planned.id}",
            result=CheckOutcome.UNKNOWN,
            text=f"it never began: {planned.cue.what.text()} did not come",
        )
        for planned in missed
        if planned.cue is not None and not planned.cue.optional
    ]


def nothing_done(plan: Plan) -> list[CheckResult]:
    """A run that does nothing to its lab proves nothing: no entry, none that was drawn, no load."""
    if plan.entries() or plan.arrivals:
        return []
    text = "nothing was done to the lab: no fault, no action and no operation"
    return [CheckResult(name="schedule", result=CheckOutcome.UNKNOWN, text=text)]
