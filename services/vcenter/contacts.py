"""Contact with key servers: who answered last, and what follows from a change.

Every call to a key server reports here, health probes like all others, so ``Unreachable`` is
raised by the *first* failed contact, once (STD-09). When a provider that was down in all
its servers answers again, ``recovered`` is called at once: it recovers with that answer.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence

from protocol.messages.vcenter import KmipServer
from protocol.terms import ProviderId
from services.runtime.ports import Clock
from services.runtime.service import Node
from services.vcenter import events
from services.vcenter.alarms import provider_status

Emit = Callable[[events.Draft], Awaitable[None]]


class KeyServerContacts:
    """State per (provider, server): True answered, False did not, absent never asked."""

    def __init__(self, node: Node, clock: Clock, emit: Emit, recovered: Callable[[], None]) -> None:
        self._node, self._clock, self._emit, self._recovered = node, clock, emit, recovered
        self._answered: dict[tuple[ProviderId, str], bool] = {}
        self._down_at: dict[ProviderId, float] = {}

    async def worked(self, provider: ProviderId, server: str) -> None:
        """That server has just answered."""
        before = self._answered.get((provider, server))
        self._answered[provider, server] = True
        was_down = self._down_at.pop(provider, None) is not None
        if before is not True:
            self._say(provider, server, reachable=True)
        if was_down:
            self._recovered()

    async def failed(self, provider: ProviderId, server: str, why: str) -> None:
        """That server has just not answered; the first time since it did is an event."""
        before = self._answered.get((provider, server))
        self._answered[provider, server] = False
        if before is not False:
            self._say(provider, server, reachable=False)
            await self._emit(events.unreachable(provider, server, why))

    def all_failed(self, provider: ProviderId) -> None:
        """A call has just failed on every server of it."""
        self._down_at[provider] = self._clock.monotonic()

    def just_failed(self, provider: ProviderId, within_s: float) -> bool:
        """Whether that was less than ``within_s`` lab seconds ago.

        The passes over all hosts ask, so that a storm does not wait for the same silence once
        per host; a person's request never does.
        """
        at = self._down_at.get(provider)
        return at is not None and self._clock.monotonic() - at < within_s

    def unreachable(self, provider: ProviderId, servers: Sequence[KmipServer]) -> tuple[str, ...]:
        """Names of the servers that did not answer last."""
        return tuple(s.name for s in servers if self._answered.get((provider, s.name)) is False)

    def status(self, provider: ProviderId, servers: Sequence[KmipServer]) -> str:
        """Green, yellow or red; yellow too before the first contact."""
        unknown = sum((provider, s.name) not in self._answered for s in servers)
        down = len(self.unreachable(provider, servers))
        return provider_status(len(servers), down, unknown)

    def forget(self, provider: ProviderId) -> None:
        """It was deleted."""
        self._down_at.pop(provider, None)
        for key in [key for key in self._answered if key[0] == provider]:
            del self._answered[key]

    def _say(self, provider: ProviderId, server: str, *, reachable: bool) -> None:
        self._node.record(
            "provider.contact",
            level="info" if reachable else "warning",
            provider=provider,
            server=server,
            reachable=reachable,
        )
