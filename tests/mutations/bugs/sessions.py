"""Bugs of sessions between vCenter and its hosts."""

from __future__ import annotations

from typing import Any

from msgspec.structs import replace

from services.esxi import vcenter_connection
from services.esxi.access import RelationPermission
from services.runtime.session import SessionGuard
from services.vcenter.hosts import sessions
from services.vcenter.hosts.key_delivery import KeyDelivery
from services.vcenter.hosts.session import HostSession
from tests.mutations.bugs.planting import plant, replaces


def doorbell_unheard() -> None:
    """The doorbell broken: a host rings, and vCenter looks at it no sooner than it would have."""

    @replaces(HostSession, "rang")
    def rang(original: Any, self: Any, boot: int) -> None:
        """Nobody is at home."""


def earlier_boot_believed() -> None:
    """vCenter broken: a ring of any other life of a host ends its session, an earlier one's too."""

    @replaces(HostSession, "rang")
    def rang(original: Any, self: HostSession, boot: int) -> None:
        if self.connected and boot != self.boot:
            self._rings += 1
            self._end("the host asks to be connected")
        else:
            original(self, boot)


def keys_sent_elsewhere() -> None:
    """STD-10 broken: keys for one host are pushed to the next one in the order of names."""

    _sessions: dict[str, HostSession] = {}

    @replaces(HostSession, "__init__")
    def init(original: Any, self: Any, host: Any, owner: Any) -> None:
        original(self, host, owner)
        _sessions[str(host)] = self

    @replaces(KeyDelivery, "deliver")
    async def deliver(original: Any, self: Any, session: Any, values: Any) -> Any:
        later = [name for name in sorted(_sessions) if name > session.host]
        other = _sessions[later[0] if later else min(_sessions)]
        return await original(self, other if other.connected else session, values)


def old_session_accepted() -> None:
    """Sessions broken: a host takes commands of any session and any number."""

    def _admit(self: Any, command: Any, sender: Any) -> None:
        """Everything is let in."""

    plant(SessionGuard, "admit", lambda original: _admit)


def old_vcenter_boot_accepted() -> None:
    """Sessions broken: a session of an earlier life of vCenter takes the place of the present
    one."""

    def _open(self: Any, message: Any, controller: Any) -> None:
        self.session, self.controller = message.session, controller
        self._boot, self._last = message.vcenter_boot, 0

    plant(SessionGuard, "open", lambda original: _open)


def refusal_keeps_session() -> None:
    """vCenter broken: a host that refuses the session is still taken for connected."""

    @replaces(HostSession, "_end")
    def end(original: Any, self: HostSession, reason: str) -> None:
        if reason != "the host refuses the session":
            original(self, reason)


def runner_not_believed() -> None:
    """A VM that several hosts list is that of the newest session, whoever runs it."""

    @replaces(sessions, "place_of")
    def place_of(original: Any, words: Any, away: Any, was: Any) -> Any:
        return original([replace(word, running=False) for word in words], away, None)


def silence_unnoticed() -> None:
    """Heartbeats broken: a host that does not answer stays connected."""

    def _miss(self: Any, error: Any) -> None:
        """Nobody counts."""

    plant(HostSession, "_miss", lambda original: _miss)


def strangers_may_speak() -> None:
    """Access broken: a host takes messages from any node that reaches it."""

    plant(
        vcenter_connection,
        "permission_for",
        lambda original: lambda kind, relation: RelationPermission.ALLOWED,
    )
