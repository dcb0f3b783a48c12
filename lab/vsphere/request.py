"""Who is logged in, and what an object is given with each call: the session, and ways to the lab
and to other objects. Sessions live in memory: they are gone when the server or its vCenter ends.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, Protocol

from lab.schema.commands import Command
from lab.vsphere.vim.managed import Managed
from protocol.authorization import Privilege

SESSION_LIMIT = 500
IDLE_LIMIT_S = 1800.0
"""Real seconds after which a session that nobody used has ended, as in the product."""
HELD_LIMIT = 200
"""Views, filters, collectors and tasks that one session may hold."""
FAILURE_DELAY_S = 0.5
FAILURE_DELAY_MAX_S = 8.0


@dataclass
class ApiSession:
    """One login. ``held``: objects that live as long as it: views, filters, collectors, tasks.

    ``login_time`` and ``last_active`` are times of the lab, which clients compare with CurrentTime;
    ``used_at`` is real time, by which a session expires.
    """

    token: str
    key: str
    user: str
    agent: str
    address: str
    login_time: float
    last_active: float
    used_at: float
    calls: int = 0
    held: dict[str, Any] = field(default_factory=dict)
    counter: int = 0
    closed: bool = False

    def fresh_id(self, prefix: str) -> str:
        """An id for an object that this session holds; no other session has it."""
        self.counter += 1
        return f"session[{self.key}]{prefix}{self.counter}"


class ApiSessions:
    """All sessions of one vCenter."""

    def __init__(
        self, lab_time: Callable[[], float] = time.time, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._lab_time, self._clock = lab_time, clock
        self._by_token: dict[str, ApiSession] = {}
        self._failures: dict[str, int] = {}

    def open(self, user: str, agent: str = "", address: str = "") -> ApiSession | None:
        """A new session; None when there are ``SESSION_LIMIT`` of them."""
        self.list()
        if len(self._by_token) >= SESSION_LIMIT:
            return None
        at = self._lab_time()
        made = ApiSession(
            secrets.token_hex(20), secrets.token_hex(16), user, agent, address, at, at,
            self._clock(),
        )  # fmt: skip
        self._by_token[made.token] = made
        self._failures.pop(user, None)
        return made

    def find(self, token: str) -> ApiSession | None:
        """The session of a token that has not expired; it is in use from now on."""
        found = self._by_token.get(token)
        if found is None:
            return None
        now = self._clock()
        if now - found.used_at > IDLE_LIMIT_S:
            self.end(found)
            return None
        found.used_at, found.last_active = now, self._lab_time()
        found.calls += 1
        return found

    def list(self) -> list[ApiSession]:
        """Sessions that have not expired, oldest first."""
        now = self._clock()
        for one in list(self._by_token.values()):
            if now - one.used_at > IDLE_LIMIT_S:
                self.end(one)
        return list(self._by_token.values())

    def end(self, session: ApiSession) -> None:
        """End a session and everything that it holds."""
        self._by_token.pop(session.token, None)
        session.closed = True
        session.held.clear()

    def end_all(self) -> None:
        """vCenter has ended: so have all its sessions."""
        for one in list(self._by_token.values()):
            self.end(one)

    def delay_after_failure(self, user: str) -> float:
        """Seconds by which the answer to a failed login of this user is delayed; it doubles."""
        if len(self._failures) > SESSION_LIMIT:
            self._failures.clear()
        count = self._failures[user] = self._failures.get(user, 0) + 1
        return float(min(FAILURE_DELAY_S * 2 ** min(count - 1, 10), FAILURE_DELAY_MAX_S))


Work = Callable[[Callable[[Command[Any]], Awaitable[Any]]], Awaitable[Any]]
"""What a task does, given a function that gives a command to the lab."""


class ApiRequest(Protocol):
    """One call. ``lab.vsphere.service`` has the only implementation."""

    server: Any
    session_or_none: ApiSession | None
    agent: str
    address: str
    opened: ApiSession | None
    ended: bool

    @property
    def session(self) -> ApiSession:
        """The session of the caller; ``NotAuthenticated`` without one."""
        ...

    @property
    def inventory(self) -> Any:
        """The inventory as of this call."""
        ...

    @property
    def virtual(self) -> bool:
        """Whether time passes only while somebody waits."""
        ...

    async def refresh(self) -> None:
        """Look at the lab again, if that is due."""
        ...

    def mark(self) -> int:
        """Differs when something that a filter may show has changed."""
        ...

    async def pause(self, seconds: float, tries: int) -> float:
        """Let some time pass for a client that waits; how much."""
        ...

    async def do(self, command: Command[Any]) -> Any:
        """Give a command to the lab as the user of this session."""
        ...

    async def ask(self, command: Command[Any]) -> Any:
        """Give a command that changes nothing."""
        ...

    def may(self, privilege: Privilege) -> bool:
        """Whether the user of this session has a privilege."""
        ...

    async def require(self, privilege: Privilege, shown: str = "", ref: Any = None) -> None:
        """``NoPermission`` on ``ref``, else the root folder, without a privilege."""
        ...

    def hold(self, thing: Any) -> Any:
        """Keep an object for as long as the session lives, and give it back."""
        ...

    def find(self, ref: Any) -> Managed:
        """The object of a reference; ``ManagedObjectNotFound`` where there is none."""
        ...

    def look_up(self, ref: Any) -> Managed | None:
        """The object of a reference, None where there is none of that id and type."""
        ...

    async def start(self, entity: Any, name: str, work: Work, beside: bool = False) -> Any:
        """Do something as a task, and give its reference."""
        ...
