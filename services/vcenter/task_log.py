"""The tasks of one life of vCenter: the running ones, and the latest that have ended.

The changes of a task are durable before it ends; the record of the task is not. As with the
product's list of recent tasks, a restarted vCenter begins a new one.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import msgspec

from protocol.errors import ProductError
from protocol.messages.vcenter import TaskInfo, TaskInfoState
from services.runtime.ports import Clock

ENDED_LIMIT: Final = 1000
"""How many ended tasks are kept; running ones always are."""
REASON_LIMIT: Final = 2000
"""Characters of an error's text that are kept."""


class TaskLog:
    """See the module's text."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._tasks: dict[int, TaskInfo] = {}
        self._ended: list[int] = []
        self._number = 0

    @contextmanager
    def task(self, name: str, entity: str, user: str) -> Iterator[None]:
        """While inside, a task of ``user`` runs; it ends with the error that leaves the block.

        The end of the life drops the whole list.
        """
        self._number += 1
        number = self._number
        self._tasks[number] = TaskInfo(
            number=number,
            name=name,
            entity=entity,
            user=user,
            state=TaskInfoState.RUNNING,
            start_time=self._clock.now(),
        )
        try:
            yield
        except ProductError as error:
            self._end(number, TaskInfoState.ERROR, type(error).__name__, str(error))
            raise
        except BaseException as error:
            self._end(number, TaskInfoState.ERROR, "RuntimeFault", type(error).__name__)
            raise
        self._end(number, TaskInfoState.SUCCESS)

    def _end(self, number: int, state: TaskInfoState, error: str = "", reason: str = "") -> None:
        self._tasks[number] = msgspec.structs.replace(
            self._tasks[number],
            state=state,
            complete_time=self._clock.now(),
            error=error,
            reason=reason[:REASON_LIMIT],
        )
        self._ended.append(number)
        if len(self._ended) > ENDED_LIMIT:
            del self._tasks[self._ended.pop(0)]

    def after(self, number: int) -> list[TaskInfo]:
        """The tasks with a higher number, in the order in which they began."""
        return [task for task in self._tasks.values() if task.number > number]
