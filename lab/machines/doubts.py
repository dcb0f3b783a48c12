"""Why nothing counts of what was measured on several machines."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final

from lab.machines.machine import MachineProcesses

CLOCK_BOUND_S: Final = 0.25  # real seconds: an eighth of the shortest time limit of a node


def doubts(machines: Iterable[MachineProcesses]) -> Callable[[], list[str]]:
    """Tells why nothing counts of what was measured since this was called: a clock that was not
    known within ``CLOCK_BOUND_S``, or jumped, or a machine that was lost."""
    begun = [(machine, machine.losses, machine.watch_clock_error()) for machine in machines]

    def collect_doubts() -> list[str]:
        lost = [
            f"KS-AGENT-008: machine {machine.name} was lost during the run"
            for machine, losses, _ in begun
            if machine.losses != losses
        ]
        unknown = [
            f"KS-AGENT-010: the clock of machine {machine.name} was known within "
            f"{error_s:.3f} s, and has to be within {CLOCK_BOUND_S:g} s"
            for machine, _, worst in begun
            if (error_s := worst()) > CLOCK_BOUND_S
        ]
        return lost + unknown

    return collect_doubts
