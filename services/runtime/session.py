"""Sessions: numbered commands of vCenter to one host; a late command cannot undo a newer one.

vCenter opens a session; the boot of either side ends it. Both halves are plain state, changed
synchronously at acceptance.
"""

from __future__ import annotations

from typing import Any, TypeVar

import msgspec

from protocol.errors import NotConnected
from protocol.messages.host.session import Command, OpenSession
from protocol.terms import NodeName

C = TypeVar("C", bound=Command[Any])


class SessionGuard:
    """The host's half: admits only the session in force, with increasing numbers."""

    def __init__(self) -> None:
        self.session = ""
        self.controller: NodeName | None = None
        self._boot = 0
        self._last = 0

    def open(self, message: OpenSession, controller: NodeName) -> None:
        """``NotConnected`` for a session of an earlier boot of the same controller."""
        if controller == self.controller and message.vcenter_boot < self._boot:
            raise NotConnected("session of an earlier boot of vCenter")
        self.session, self.controller = message.session, controller
        self._boot, self._last = message.vcenter_boot, 0

    def admit(self, command: Command[Any], sender: NodeName) -> None:
        """``NotConnected`` unless it is the next (or a later) number of the session in force."""
        if not self.session or command.session != self.session or sender != self.controller:
            raise NotConnected("the session is not in force")
        if command.number <= self._last:
            raise NotConnected(f"command {command.number} comes after {self._last}")
        self._last = command.number


class SessionCommands:
    """vCenter's half: stamps each command with session and next number."""

    def __init__(self, session: str) -> None:
        self.session = session
        self._next = 0

    def stamp(self, command: C) -> C:
        """``command`` under this session and the next number."""
        self._next += 1
        return msgspec.structs.replace(command, session=self.session, number=self._next)
