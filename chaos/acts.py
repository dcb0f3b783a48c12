"""Plays the actions of a plan: each command and its outcome are records of the history."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

from chaos.actions.base import Acting, Action
from chaos.cues import Cues
from chaos.errors import ChaosError
from chaos.experiment.plan import Plan, PlannedAction
from chaos.history import History
from chaos.lab import Lab
from chaos.observe.guests import Guests
from chaos.progress import Phases
from chaos.workload import Outcome
from protocol.errors import ProductError
from protocol.secret import KeyMaterial


@dataclass
class Acts:
    """The actions of one plan. ``name`` begins the names of what they make: unique in a lab that
    lives on."""

    plan: Plan
    lab: Lab
    history: History
    cues: Cues
    phases: Phases
    name: str
    guests: Guests
    _number: int = field(default=0, init=False)
    _exports: dict[str, KeyMaterial] = field(default_factory=dict, init=False)

    async def play(self, planned: PlannedAction) -> None:
        """Give the command when its time has come, to all targets at once.

        What is refused is a result like any other; KS-CHAOS-110 when the file says otherwise.
        """
        if await self.cues.begin(planned) is None:
            return
        action = planned.action()
        self.phases.tell(f"{planned.id}: {planned.summary()}")
        async with asyncio.TaskGroup() as group:
            tasks = [
                group.create_task(self._give(planned, action, place), name=f"do-{planned.id}")
                for place in range(len(planned.targets))
            ]
        outcomes = [task.result() for task in tasks]
        self.cues.ended(planned)
        for target, outcome in zip(planned.targets, outcomes, strict=True):
            if planned.must and outcome.kind != planned.must:
                text = f"{planned.id}: {planned.do} {target}".rstrip()
                why = f" ({outcome.data['error']})" if "error" in outcome.data else ""
                text += f" must end {planned.must}, and ended {outcome.kind}{why}"
                raise ChaosError("KS-CHAOS-110", text)

    async def _give(self, planned: PlannedAction, action: Action, place: int) -> Outcome:
        self._number += 1
        number, target = len(self.plan.arrivals) + self._number, planned.targets[place]
        about = {"n": number, "action": planned.id}
        self.history.add("invoke", target, op=planned.do, **about, **planned.values)
        several = f"-{place + 1}" if len(planned.targets) > 1 else ""
        acting = Acting(self.lab, f"{self.name}-{planned.id}{several}", self._exports, self.guests)
        try:
            params = action.params.model_validate(_fields(planned, target))
            outcome = await action.run(acting, target, params)
        except ProductError as error:
            kind = "fail" if error.definite else "info"
            outcome = Outcome(kind, {"error": type(error).__name__})
        self.history.add(outcome.kind, target, op=planned.do, **about, **outcome.data)
        return outcome


def _fields(planned: PlannedAction, target: str) -> dict[str, object]:
    """The action's own fields, for one target."""
    return {**planned.values, "on": target} if target else dict(planned.values)
