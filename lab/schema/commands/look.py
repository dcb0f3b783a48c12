"""Looking at the lab itself: its machines, events, tasks, a status."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from lab.schema.commands.arguments import doc
from lab.schema.commands.base import Look, wrong

if TYPE_CHECKING:
    from lab.schema.answers import EventList, LabStatus, MachineList, TaskList

EVENTS_AT_ONCE = 1000
LARGEST = (1 << 63) - 1  # number that an event can have


class GetMachines(Look["MachineList"], frozen=True, tag="get.machines"):
    """Machines that the lab stands on: who has joined, how far, with which clock.

    keystead get machines
    keystead get machines -o wide

    CLOCK is how far a machine's clock is ahead, ERROR within how much that is known. Time of day is
    in the wide table: nothing of a lab goes by it.
    """


class GetEvents(Look["EventList"], frozen=True, tag="get.events"):
    """vCenter's events with a number above ``after``, oldest first, ``limit`` at most.

    A shorter answer may come for one longer log: ask again after its last, until none come.
    """

    words = ""  # `events`, which pages and follows
    after: int = 0
    limit: int = EVENTS_AT_ONCE

    def __post_init__(self) -> None:
        if not 1 <= self.limit <= LARGEST:
            raise wrong(f"limit {self.limit}: at least 1, and below 2^63")
        if not 0 <= self.after <= LARGEST:
            raise wrong(f"after {self.after}: a number of an event is 0 or more, and below 2^63")


class GetTasks(Look["TaskList"], frozen=True, tag="get.tasks"):
    """vCenter's recent tasks, oldest first: what it was asked, of what, and how it ended.

    keystead get tasks
    keystead get tasks --running -w
    """

    running: Annotated[bool, doc("Only what has not ended.")] = False


class GetStatus(Look["LabStatus"], frozen=True, tag="get.status"):
    """The lab in short: nodes by state, VMs by state, faults in force, processes."""

    words = ""  # `status`, which also tells of a lab that does not run
