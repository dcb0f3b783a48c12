"""What an object is given with each call: who asks, and ways to the lab and to other objects."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Protocol

from lab.schema.commands import Command
from lab.vsphere.sessions import ApiSession
from lab.vsphere.vim.managed import Managed
from protocol.authorization import Privilege

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

    async def start(self, entity: Any, name: str, work: Work) -> Any:
        """Do something as a task, and give its reference."""
        ...
