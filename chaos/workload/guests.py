"""Guests: challenged to prove that they read their disk."""

from __future__ import annotations

from typing import Final

from chaos.workload.base import Arrival, Means, OperationOutcome, WorkloadOperation
from protocol.terms import VmName


async def _challenge(means: Means, arrival: Arrival) -> OperationOutcome:
    asked = await means.guests.challenge_found(VmName(arrival.target))
    if asked is None:
        return OperationOutcome("fail", {"error": "no host answers for it"})
    host = {"host": asked.host}
    if asked.right is None:
        return OperationOutcome(
            "fail" if asked.definite else "info", {**host, "error": asked.detail}
        )
    return OperationOutcome("ok", host if asked.right else {**host, "wrong": asked.detail})


OPERATIONS: Final = (
    WorkloadOperation(
        "guest.challenge", "vms", "have a guest prove that it reads its disk", _challenge
    ),
)
