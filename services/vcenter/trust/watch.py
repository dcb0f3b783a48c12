"""The health of trusted providers, asked of hosts, in each period and after a failed attestation.

vCenter asks no service of a Trust Authority itself (TA-06). One host of each trusted cluster,
another one each time, asks all of its Key Provider Services whether a primary key can be used.
Hosts' reports of their own attestation count too (HLT-06).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from protocol.errors import ProductError, SaveFailed
from protocol.events import EventTypeId
from protocol.messages.host import QueryTrustedServices, TrustedServiceState
from protocol.releases import Feature, Release, has
from protocol.terms import ManagementType, ProviderHealth, ProviderId
from services.runtime.each import try_each
from services.runtime.ports import Clock
from services.vcenter.events import EventDraft
from services.vcenter.hosts.session import HostSession
from services.vcenter.hosts.sessions import HostSessions
from services.vcenter.inventory import Inventory
from services.vcenter.knobs import VcenterNode
from services.vcenter.ticker import Ticker
from services.vcenter.trust import told
from services.vcenter.trust.judgement import (
    ServiceHealth,
    Trouble,
    summarize_answers,
    summarize_attestations,
    view_of,
    worse,
)

WITHIN_S: Final = 30.0
"""Least lab seconds for a host's answer: it asks all services at once, and waits for each by its
knob."""
_TELLS: Final = {
    Trouble.NOT_AVAILABLE: EventTypeId.KMS_TA_CLUSTER_NOT_AVAILABLE,
    Trouble.UNHEALTHY: EventTypeId.KMS_TA_CLUSTER_UNHEALTHY,
    Trouble.KMS_UNHEALTHY: EventTypeId.KMS_TA_KMS_UNHEALTHY,
}
_UNKNOWN: Final = ServiceHealth(ProviderHealth.NONE)


class TrustWatch:
    """See the module; ``start`` begins it. ``release``: of this vCenter."""

    def __init__(
        self,
        node: VcenterNode,
        clock: Clock,
        inventory: Inventory,
        sessions: HostSessions,
        release: Release,
    ) -> None:
        self.release = release
        self._posts_events = has(release, Feature.TRUST_PROVIDER_EVENTS)
        self._node, self._clock = node, clock
        self._inventory, self._sessions = inventory, sessions
        self._ticker = Ticker(node, clock, "trust.health", node.knobs.kms_health_interval_s)
        self._served: Mapping[ProviderId, ServiceHealth] = {}
        self._reported: dict[ProviderId, ServiceHealth] = {}
        self._rounds = 0

    def start(self) -> None:
        """Check in each period from now on."""
        self._ticker.start()
        self._node.background("trust.watch", self._run())

    def look_now(self) -> None:
        """A host has reported trouble: check now."""
        self._ticker.tick_now()

    def judge_provider(self, provider: ProviderId) -> ServiceHealth:
        """The worse of the answers of services, and of hosts' reports of their attestation."""
        views = (view_of(session.summary) for session in self._sessions.list_connected())
        by_reports = summarize_attestations(view for view in views if view is not None)
        return worse(self._served.get(provider, _UNKNOWN), by_reports)

    def news(self) -> list[EventDraft]:
        """The events for trusted providers whose trouble has changed; none before 7.0 U2."""
        drafts = []
        for name in self._providers():
            now, before = self.judge_provider(name), self._reported.get(name, _UNKNOWN)
            self._reported[name] = now
            if self._posts_events and now.trouble is not None and now.trouble is not before.trouble:
                drafts.append(told.provider(name, _TELLS[now.trouble], now.details))
        return drafts

    async def _run(self) -> None:
        while True:
            await self._ticker.next()
            if not (providers := self._providers()):
                continue
            states = await self._ask()
            self._served = {name: summarize_answers(name, states) for name in providers}
            try:
                if drafts := self.news():
                    await self._inventory.commit(events=drafts)
            # The event is lost, but the cause of the change remains visible.
            except SaveFailed as error:
                self._node.record("inventory.save_failed", level="warning", reason=str(error))

    def _providers(self) -> list[ProviderId]:
        trusted = ManagementType.TRUST_AUTHORITY
        rows = self._inventory.providers.items()
        return [name for name, row in rows if row.management_type is trusted]

    async def _ask(self) -> list[TrustedServiceState]:
        """Ask one host of each cluster; without its answer nothing is known."""
        by_cluster: dict[str, list[HostSession]] = {}
        for session in self._sessions.list_connected():
            row = self._inventory.hosts.get(session.host)
            if row is not None and view_of(session.summary) is not None:
                by_cluster.setdefault(row.cluster, []).append(session)
        self._rounds += 1
        sessions = [hosts[self._rounds % len(hosts)] for hosts in by_cluster.values()]
        message = QueryTrustedServices()
        # The host's wait is a limit of its own, which the clock may raise, like this one.
        within_s = max(WITHIN_S, 2 * self._clock.limit(self._node.knobs.trust_timeout_s))
        outcomes = await try_each(sessions, lambda session: session.ask(message, within_s=within_s))
        found: list[TrustedServiceState] = []
        for outcome in outcomes:
            if isinstance(outcome, ProductError):
                continue
            if isinstance(outcome, Exception):
                raise outcome
            found += outcome.services
        return found
