"""Operations of the workload: arrivals drawn up front, executed without waiting for answers.

An operation ends ``ok``, ``fail`` (it certainly had no effect) or ``info`` (nobody knows).

- ``base``                 what an operation is, and what it acts with
- ``life``                 what an operation has for itself, and the model of it
- ``lives``, ``provider_lives``, ``vsan_lives``, ``consoles``  : of each subject
- ``operations``           the operations of the workload
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from chaos.history import History
from chaos.workload import consoles, lives, operations, provider_lives, vsan_lives
from chaos.workload.base import (
    ARRIVALS_LIMIT,
    WITHIN_S,
    Arrival,
    Means,
    OperationCounts,
    OperationOutcome,
    WorkloadOperation,
    draw_arrivals,
    load_name,
)
from protocol.errors import ProductError

__all__ = [
    "APART",
    "ARRIVALS_LIMIT",
    "OPERATIONS",
    "WITHIN_S",
    "Arrival",
    "Means",
    "OperationOutcome",
    "WorkloadOperation",
    "draw_arrivals",
    "load_name",
    "number_arrivals",
    "perform",
]

OPERATIONS: Final[dict[str, WorkloadOperation]] = {
    operation.name: operation
    for operation in (
        *operations.POWER_OPERATIONS,
        *operations.MOVE_OPERATIONS,
        *operations.KEY_OPERATIONS,
        *operations.HOST_OPERATIONS,
        *operations.GUEST_OPERATIONS,
        *lives.OPERATIONS,
        *consoles.OPERATIONS,
        *provider_lives.OPERATIONS,
        *vsan_lives.OPERATIONS,
    )
}


APART: Final = ("vm.live", "host.console", "vsan.live", "keyprovider.live")
"""Operations that leave the VMs of others, and their hosts, as they are."""


def number_arrivals(placed: Iterable[tuple[float, str, str]]) -> tuple[Arrival, ...]:
    """Arrivals in their order, of times, operations and targets. Those that are ``APART`` have the
    last numbers: what others draw by their numbers is the same with and without them."""
    found = list(placed)
    order = sorted(range(len(found)), key=lambda place: found[place][1] in APART)
    numbers = {place: number for number, place in enumerate(order, start=1)}
    return tuple(
        Arrival(at=at, op=op, target=target, number=numbers[place])
        for place, (at, op, target) in enumerate(found)
    )


async def perform(
    means: Means, arrival: Arrival, history: History, operations: OperationCounts
) -> None:
    """Do what one arrival says; write it and its outcome down, and count for the probes."""
    began = means.lab.monotonic()
    history.add("invoke", arrival.target, op=arrival.op, n=arrival.number)
    try:
        outcome = await OPERATIONS[arrival.op].run(means, arrival)
    except ProductError as error:
        kind = "fail" if error.definite else "info"
        outcome = OperationOutcome(kind, {"error": type(error).__name__})
    history.add(outcome.kind, arrival.target, op=arrival.op, n=arrival.number, **outcome.data)
    if outcome.kind == "ok":
        operations.ok[arrival.op] = operations.ok.get(arrival.op, 0) + 1
        taken = means.lab.monotonic() - began
        operations.seconds.setdefault(arrival.op, []).append(taken)
    else:
        operations.other[arrival.op] = operations.other.get(arrival.op, 0) + 1
