"""Machines that a lab stands on, and the files that they join with."""

from __future__ import annotations

from enum import StrEnum
from typing import Final

import msgspec

from lab.schema.answers.base import Answer
from lab.schema.tables import Column, ColumnTable, field
from protocol.terms import NodeName


class MachineStanding(StrEnum):
    """``here``: the supervisor's own. ``joined``: its agent answers. ``silent``: it has not
    answered the last beats, and its lease is not over. ``away``: nothing of the lab runs there."""

    HERE = "here"
    JOINED = "joined"
    SILENT = "silent"
    AWAY = "away"


def _number(name: str, title: str, unit: str, *, signed: bool = False) -> Column:
    """A column of a number that may not be known."""

    def cell(row: LabMachine) -> str | None:
        value: float | None = getattr(row, name)
        if value is None:
            return None
        return f"{value:+.3f}{unit}" if signed else f"{value:.2f}{unit}"

    return title, cell


class LabMachine(msgspec.Struct, frozen=True, kw_only=True):
    """A machine of a lab; what nobody has measured is None.

    ``nodes`` stand there, ``processes`` run there. ``delay_ms``: what a beat takes there and back;
    ``clock_offset_s``: how far its monotonic clock is ahead, known within ``clock_error_ms``
    (``worst_error_ms``: the largest since it joined, ``jumps``: how often the clock was found
    elsewhere); ``wall_offset_s`` the same of its time of day, which nothing of a lab goes by.
    ``load``: processes that wanted a core, averaged over a minute. ``lease_s`` in real seconds.
    ``pool``: which asked for a place for it; ``shared``: its datastores in a shared folder.
    """

    machine: str
    standing: MachineStanding
    nodes: int
    processes: int
    node_names: tuple[NodeName, ...] = ()
    pool: str = ""
    shared: tuple[str, ...] = ()
    lease_s: float | None = None
    heard_s_ago: float | None = None
    delay_ms: float | None = None
    clock_offset_s: float | None = None
    clock_error_ms: float | None = None
    worst_error_ms: float | None = None
    jumps: int = 0
    wall_offset_s: float | None = None
    load: float | None = None

    table = ColumnTable(
        "machine",
        (
            field("machine"),
            field("standing", "STATE"),
            field("nodes"),
            field("processes"),
            _number("delay_ms", "DELAY", "ms"),
            _number("clock_offset_s", "CLOCK", "s", signed=True),
            _number("clock_error_ms", "ERROR", "ms"),
            _number("load", "LOAD", ""),
        ),
        wide=(
            _number("lease_s", "LEASE", "s"),
            _number("heard_s_ago", "HEARD", "s ago"),
            _number("worst_error_ms", "WORST ERROR", "ms"),
            field("jumps"),
            ("POOL", lambda machine: machine.pool or None),
            ("SHARED", lambda machine: ", ".join(machine.shared) or None),
            _number("wall_offset_s", "TIME OF DAY", "s", signed=True),
        ),
    )


class MachineList(Answer, frozen=True, kw_only=True):
    """The machines of a lab, the supervisor's own first; ``listens`` is where others join."""

    listens: str
    items: tuple[LabMachine, ...]


class MachineBundle(Answer, frozen=True, kw_only=True):
    """A file that one machine joins with, once, until ``expires`` (Unix seconds); ``address`` is
    where it will look for the lab, ``nodes`` those whose identities are in it."""

    machine: str
    file: str
    lab: str
    address: str
    expires: float
    nodes: tuple[NodeName, ...]


class AgentTold(Answer, frozen=True, kw_only=True):
    """What the agent of a machine tells, a line each; ``at`` in Unix seconds."""

    at: float
    text: str


MACHINES: Final = (MachineBundle, AgentTold)
"""What is answered on a machine without asking a lab."""
