"""Asks a lab for all that a scene is made of."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from lab.cli.watch.scene import LabAnswers
from lab.schema.commands import GetEvents, GetFaults, GetHosts, GetNodes, GetStatus, GetVms
from lab.schema.errors import KeysteadError
from lab.serve.following import Do

_AWAY: Final = ("KS-PRODUCT-001", "KS-USE-002")  # what a silent vCenter answers
_EVENTS: Final = 50


async def ask(do: Do, before: LabAnswers | None) -> LabAnswers:
    """All that a scene is made of. What vCenter does not answer now is taken from ``before``."""
    status, nodes, faults = await do(GetStatus()), await do(GetNodes()), await do(GetFaults())
    made = LabAnswers(status, nodes.items, faults=faults.items)
    last = before.events[-1].sequence if before is not None and before.events else 0
    try:
        hosts, vms = await do(GetHosts()), await do(GetVms())
        events = list(before.events if before is not None else ())
        while news := (await do(GetEvents(after=last))).items:
            events = [*events, *news][-_EVENTS:]
            last = news[-1].sequence
        return replace(made, hosts=hosts.items, vms=vms.items, events=events)
    except KeysteadError as error:
        if error.id not in _AWAY:
            raise
        old = before or made
        return replace(made, hosts=old.hosts, vms=old.vms, events=old.events, away=str(error))
