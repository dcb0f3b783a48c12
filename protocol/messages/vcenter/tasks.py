"""vCenter's tasks: what it was asked to do, and how far that has come (vim25 TaskInfo)."""

from __future__ import annotations

from enum import StrEnum

import msgspec

from protocol.messages.base import Reply, Request


class TaskInfoState(StrEnum):
    """TaskInfo.state. No task here is ``queued``: it is made when its turn has come."""

    RUNNING = "running"
    SUCCESS = "success"
    ERROR = "error"


class TaskInfo(msgspec.Struct, frozen=True, kw_only=True):
    """One task. ``number`` counts from 1 in each life of vCenter; ``entity`` is what it is about.

    ``start_time`` and ``complete_time`` (None while it runs) in Unix seconds of vCenter's clock.
    ``user``: who gave it (TaskReasonUser). ``error``: the fault that it ended with,
    ``reason`` its text.
    """

    number: int
    name: str
    entity: str
    user: str
    state: TaskInfoState
    start_time: float
    complete_time: float | None = None
    error: str = ""
    reason: str = ""

    @property
    def key(self) -> str:
        """TaskInfo.key, as clients name it."""
        return f"task-{self.number}"


class ListTasks(Request["TaskList"], frozen=True, kw_only=True):
    """TaskManager.recentTask: what runs, and the latest that have ended, those numbered above
    ``after``, oldest first. They are kept in memory: a vCenter that restarts has none."""

    after: int = 0


class TaskList(Reply, frozen=True, kw_only=True):
    """``more``: there are later ones; ask again with the last number as ``after``."""

    tasks: tuple[TaskInfo, ...]
    more: bool = False
