"""What a host said last of itself, in which version, and whether a command may have changed it.

A view is a page of evidence with a time: it is believed for what it was when the host wrote it. A
command that was on its way meanwhile may have changed the host before or after, so the view counts
as current only while no command was sent, or answered, since. A host that is asked again says that
its view is still that of a version, and then it is believed for what it was when it came whole.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NamedTuple

import msgspec

from protocol.messages.host import HostSummary


class Told(NamedTuple):
    """A host's view as it came; ``version`` is empty when the host has not said which it is."""

    summary: HostSummary
    version: str = ""


class HostView:
    """The last word of one host; ``moment`` tells moments that only grow."""

    def __init__(self, moment: Callable[[], int]) -> None:
        self._moment = moment
        self._told: Told | None = None
        self._summary: HostSummary | None = None  # with what commands have changed
        self._flying = 0  # commands sent and not answered
        self._activity = 0  # counts their sends and their ends
        self._activity_seen = -1  # the count when the latest view came
        self._times = (0, 0)

    @property
    def summary(self) -> HostSummary | None:
        """The host's last word, with what commands are known to have changed; None before it."""
        return self._summary

    @property
    def told(self) -> Told | None:
        """The host's last word as it came, whatever was changed since; None before it."""
        return self._told

    @property
    def boot(self) -> int:
        """The host's life as it last said; 0 when it has not spoken."""
        return 0 if self._summary is None else self._summary.boot

    @property
    def times(self) -> tuple[int, int]:
        """The moments at which the latest view was asked for, and heard."""
        return self._times

    @property
    def is_current(self) -> bool:
        """Whether no command was sent, or answered, since the host's last word."""
        return self._activity_seen == self._activity

    def apply(self, **changes: object) -> None:
        """Note what a command has just changed, until the host is asked again."""
        if self._summary is not None:
            self._summary = msgspec.structs.replace(self._summary, **changes)

    def take(self, told: Told, asked: int) -> None:
        """The host's word as it came just now, asked for at the moment ``asked``."""
        self._told, self._summary = told, told.summary
        self._times = (asked, self._moment())
        self._activity_seen = self._activity

    def quiet_since(self) -> Callable[[], bool]:
        """Asked later: whether no command was on its way at any time between this call and then.

        An answer that came in between was then neither written before a command nor read after it.
        """
        quiet, activity = self._flying == 0, self._activity
        return lambda: quiet and activity == self._activity

    @contextmanager
    def command_under_way(self) -> Iterator[None]:
        """While a command is sent and its answer is waited for."""
        self._flying += 1
        self._activity += 1
        try:
            yield
        finally:
            self._flying -= 1
            self._activity += 1
