"""Contact with key servers: which answered last, and the consequences of a change.

Every call to a key server reports here, health probes included, so ``Unreachable`` is raised by the
*first* failed contact, once (STD-09). When a provider none of whose servers answered answers again,
``recovered`` is called at once.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from protocol.messages.vcenter import KmipServer, KmipServerStatus
from protocol.terms import ProviderId
from services.runtime.ports import Clock
from services.runtime.service import ServiceNode
from services.vcenter import events
from services.vcenter.alarms import UNKNOWN_STATUS, provider_status

Emit = Callable[[events.EventDraft], Awaitable[None]]


@dataclass
class _Contact:
    """``answered`` the last time; ``at``: when it last did, in Unix seconds, None: never."""

    answered: bool
    at: float | None = None
    why: str = ""


class KeyServerContacts:
    """The result of the last call, per (provider, server); none before the first."""

    def __init__(
        self, node: ServiceNode, clock: Clock, emit: Emit, recovered: Callable[[], None]
    ) -> None:
        self._node, self._clock, self._emit, self._recovered = node, clock, emit, recovered
        self._found: dict[tuple[ProviderId, str], _Contact] = {}
        self._down_at: dict[ProviderId, float] = {}

    async def record_answer(self, provider: ProviderId, server: str) -> None:
        """The server has answered."""
        before = self._found.get((provider, server))
        self._found[provider, server] = _Contact(True, self._clock.now())
        was_down = self._down_at.pop(provider, None) is not None
        if before is None or not before.answered:
            self._record_reachability(provider, server, reachable=True)
        if was_down:
            self._recovered()

    async def record_failure(self, provider: ProviderId, server: str, why: str) -> None:
        """The server has not answered; the first failure since its last answer raises an event."""
        before = self._found.get((provider, server))
        at = None if before is None else before.at
        self._found[provider, server] = _Contact(False, at, why)
        if before is None or before.answered:
            self._record_reachability(provider, server, reachable=False)
            await self._emit(events.unreachable(provider, server, why))

    def all_failed(self, provider: ProviderId) -> None:
        """A call has just failed on every server of the provider."""
        self._down_at[provider] = self._clock.monotonic()

    def just_failed(self, provider: ProviderId, within_s: float) -> bool:
        """Whether that was less than ``within_s`` lab seconds ago.

        Passes over hosts use it, so that a storm does not wait for the same silent servers once per
        host. Requests of users do not.
        """
        at = self._down_at.get(provider)
        return at is not None and self._clock.monotonic() - at < within_s

    def rows(
        self, provider: ProviderId, servers: Sequence[KmipServer]
    ) -> tuple[KmipServerStatus, ...]:
        """The last result of each server (RetrieveKmipServersStatus)."""
        found = [(server.name, self._found.get((provider, server.name))) for server in servers]
        return tuple(
            KmipServerStatus(name=name, status=UNKNOWN_STATUS)
            if contact is None
            else KmipServerStatus(
                name=name,
                status=provider_status(1, int(not contact.answered), 0),
                last_contact=contact.at,
                why=contact.why,
            )
            for name, contact in found
        )

    def status(self, provider: ProviderId, servers: Sequence[KmipServer]) -> str:
        """Green, yellow or red; yellow too before the first contact."""
        found = [self._found.get((provider, server.name)) for server in servers]
        unknown = sum(contact is None for contact in found)
        down = sum(contact is not None and not contact.answered for contact in found)
        return provider_status(len(servers), down, unknown)

    def forget(self, provider: ProviderId) -> None:
        """The provider was deleted."""
        self._down_at.pop(provider, None)
        for key in [key for key in self._found if key[0] == provider]:
            del self._found[key]

    def _record_reachability(self, provider: ProviderId, server: str, *, reachable: bool) -> None:
        self._node.record(
            "provider.contact",
            level="info" if reachable else "warning",
            provider=provider,
            server=server,
            reachable=reachable,
        )
