"""The workload vCenter: services information, trusted clusters, the applied configuration of their
hosts (HLT-02, HLT-03, KPS-00), and the health of trusted providers, for which vCenter asks hosts
and no service of a Trust Authority (TA-06).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from typing import Any, Final

from msgspec.structs import replace

from protocol.crypto.tokens import Signer
from protocol.errors import (
    AlreadyExists,
    InvalidArgument,
    InvalidState,
    NotFound,
    ProductError,
    ResourceInUse,
    SaveFailed,
)
from protocol.events import EventTypeId
from protocol.messages.host.crypto import (
    DeleteTrustedConfiguration,
    QueryTrustedServices,
    SetTrustedConfiguration,
    TrustedServiceState,
)
from protocol.messages.vcenter.trust import (
    ImportServicesInformation,
    PrincipalExported,
    RemediateTrustedCluster,
    ServicesInformation,
    SetTrustedState,
    TrustedClusters,
    TrustedHost,
)
from protocol.printable import quote_if_needed as as_told
from protocol.releases import Feature, Release, check, has
from protocol.service_records import check_records
from protocol.terms import (
    ClusterName,
    CryptoKeyId,
    KeyUnavailableReason,
    ManagementType,
    NodeName,
    ProviderHealth,
    ProviderId,
)
from protocol.trust import TrustAttestationStatus, TrustedConfiguration, TrustedPrincipal
from services.runtime.each import try_each
from services.runtime.node_certificates import load_signer, new_signer
from services.runtime.ports import Clock, Ports
from services.vcenter import events
from services.vcenter.events import EventDraft, OncePerBoot
from services.vcenter.hosts.session import HostSession
from services.vcenter.hosts.sessions import HostSessions
from services.vcenter.inventory import Edit, Inventory, change_host
from services.vcenter.knobs import VcenterNode
from services.vcenter.tables import DatabaseTable, HostRow, TrustRow
from services.vcenter.timers import Ticker
from services.vcenter.trust.changes import TRUST_ROW as ROW
from services.vcenter.trust.changes import has_another_role
from services.vcenter.trust.judgement import (
    ServiceHealth,
    Trouble,
    attestation_news,
    health_of,
    is_behind,
    status_of,
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
                drafts.append(events.provider(name, _TELLS[now.trouble], now.details))
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


STS: Final = "sts"
_TOPIC: Final = "trust"


class WorkloadTrust:
    """See the module. Call ``start`` first."""

    def __init__(
        self,
        node: VcenterNode,
        ports: Ports,
        inventory: Inventory,
        sessions: HostSessions,
        once: OncePerBoot,
        watch: TrustWatch,
    ) -> None:
        self._node, self._ports, self._watch = node, ports, watch
        self._inventory, self._sessions, self._once = inventory, sessions, once
        self._signer: Signer | None = None

    async def start(self) -> None:
        """Read the signing identity, if it vouches for hosts."""
        if self.row.clusters:
            await self.signer()

    @property
    def row(self) -> TrustRow:
        """The durable part."""
        return self._inventory.trust.get(ROW) or TrustRow(name=ROW)

    def edit(self, **fields: Any) -> Edit:
        """An edit of that row."""
        return Edit(
            DatabaseTable.TRUST, ROW, lambda row: replace(row or TrustRow(name=ROW), **fields)
        )

    # ---- identity ---------------------------------------------------------------------------

    async def signer(self) -> Signer:
        """The identity that vouches for hosts, created at its first use; ``SaveFailed``."""
        if self._signer is None:
            ports = self._ports
            try:
                self._signer = await load_signer(
                    ports.disk, ports.rng, ports.clock, self._node.name, STS
                )
            except OSError as error:
                raise SaveFailed(f"{STS}: {error.strerror or error}") from None
        return self._signer

    @property
    def issuer(self) -> str:
        """The issuer in its vouchers."""
        return f"https://{self._node.name}/openidconnect/vsphere.local"

    async def principal(self) -> PrincipalExported:
        """The third step."""
        certificate = (await self.signer()).certificate
        principal = TrustedPrincipal(
            name=str(self._node.name), issuer=self.issuer, certificates=(certificate,)
        )
        return PrincipalExported(principal=principal)

    async def renew(self) -> PrincipalExported:
        """Replace the certificate: hosts may still apply vouchers of the old one (HLT-05)."""
        ports = self._ports
        try:
            made = await new_signer(ports.disk, ports.rng, ports.clock, self._node.name, STS)
        except OSError as error:
            raise SaveFailed(f"{STS}: {error.strerror or error}") from None
        self._signer = made
        if has(self._watch.release, Feature.STS_EVENT):
            await self._inventory.commit(events=[events.certificate_changed(self._node.name)])
        return await self.principal()

    def _fingerprint(self) -> str:
        signer = self._signer
        return "" if signer is None else hashlib.sha256(signer.certificate).hexdigest()

    # ---- tasks ------------------------------------------------------------------------------

    async def import_services(self, message: ImportServicesInformation) -> TrustedClusters:
        """Step 12, first half."""
        services = message.services
        check_records(services.attestation_services)
        check_records(services.key_provider_services)
        groups = {record.group for record in services.attestation_services}
        for record in services.key_provider_services:
            if record.group not in groups:
                raise InvalidArgument(
                    f"{record.node}: no Attestation Service has its group {record.group}"
                )
        if not services.key_provider_services:
            raise InvalidArgument("services: there is no Key Provider Service")
        if self.row.clusters and (lost := _nodes(self.row.services) - _nodes(services)):
            raise ResourceInUse(f"trusted clusters use {', '.join(sorted(lost))}")
        await self.signer()
        if services == self.row.services and self._fingerprint() == self.row.principal:
            return self.state()  # imported already: hosts have the desired configuration
        await self._inventory.commit(
            self.edit(
                services=services,
                revision=self.row.revision + 1,
                principal=self._fingerprint(),
                since=self._ports.clock.now(),
            )
        )
        return self.state()

    async def set_trusted(self, message: SetTrustedState) -> TrustedClusters:
        """Step 12, second half: the connected hosts of the cluster are configured at once."""
        name, row = message.cluster, self.row
        if name not in self._inventory.clusters:
            raise NotFound(f"there is no cluster {as_told(name)}")
        if message.trusted and row.services is None:
            raise NotFound("no services information of a Trust Authority is imported")
        if message.trusted and (why := has_another_role(self._inventory, name, trusted=True)):
            raise InvalidState(why)
        if message.trusted and name in row.clusters:
            raise AlreadyExists(f"{name} is a trusted cluster already")
        limit = self._node.knobs.max_trusted_clusters
        if message.trusted and 0 < limit <= len(row.clusters):
            others = ", ".join(row.clusters)
            raise InvalidState(f"trusted clusters: at most {limit}, and there are {others}")
        await self.signer()
        left = tuple(one for one in row.clusters if one != name)
        clusters = (*left, name) if message.trusted else left
        await self._inventory.commit(self.edit(clusters=clusters))
        await self._send_trust(name, wipe=not message.trusted)
        return self.state()

    async def remediate(self, message: RemediateTrustedCluster) -> TrustedClusters:
        """HLT-02: update, or delete. Raises the first host's refusal; ``NotAvailable`` before 7.0
        U1."""
        check(self._node.name, self._watch.release, Feature.TRUST_REMEDIATION)
        if message.cluster not in self._inventory.clusters:
            raise NotFound(f"there is no cluster {as_told(message.cluster)}")
        await self.signer()
        if self.row.services is not None and self._fingerprint() != self.row.principal:
            await self._inventory.commit(self.edit(principal=self._fingerprint()))
        await self._send_trust(message.cluster, wipe=message.delete)
        return self.state()

    async def _send_trust(self, cluster: ClusterName, *, wipe: bool) -> None:
        hosts = [row.name for row in self._inventory.hosts_of(cluster)]
        sessions = [s for h in hosts if (s := self._sessions.find_connected(h)) is not None]
        outcomes = await try_each(sessions, lambda session: self._apply(session, wipe=wipe))
        for outcome in outcomes:
            if isinstance(outcome, Exception):
                raise outcome

    async def _apply(self, session: HostSession, *, wipe: bool) -> None:
        desired = None if wipe else self.configuration_for(session.host)
        if desired is None:
            await session.command(DeleteTrustedConfiguration())
        else:
            await session.command(SetTrustedConfiguration(configuration=desired))
        self._once.over(session.host, _TOPIC)
        await session.look()

    async def providers_changed(self) -> None:
        """Configured hosts get the list of trusted providers (KPS-00, R52).

        The change is made whatever a host answers. A host that does not answer gets it when it is
        seen again (``see``), and does not delay others (DEL-01).
        """
        await try_each(
            self._sessions.list_connected(), self._bring_up_to_date, name="trust.providers"
        )

    async def _bring_up_to_date(self, session: HostSession) -> None:
        summary = session.summary
        if summary is not None and is_behind(self.configuration_for(session.host), summary):
            await self._apply(session, wipe=False)

    # ---- desired and applied ----------------------------------------------------------------

    def configuration_for(self, host: NodeName) -> TrustedConfiguration | None:
        """The desired configuration of a host; None outside of a trusted cluster."""
        row, there, signer = self.row, self._inventory.hosts.get(host), self._signer
        if there is None or there.cluster not in row.clusters:
            return None
        if row.services is None or signer is None:
            return None
        trusted = ManagementType.TRUST_AUTHORITY
        return TrustedConfiguration(
            revision=str(row.revision),
            attestation_services=row.services.attestation_services,
            key_provider_services=row.services.key_provider_services,
            providers=tuple(
                sorted(
                    name
                    for name, provider in self._inventory.providers.items()
                    if provider.management_type is trusted
                )
            ),
            voucher=signer.voucher(self.issuer, host, row.since),
        )

    def state(self) -> TrustedClusters:
        """The state of all trusted clusters, by the hosts' last views."""
        hosts = []
        for row in self._inventory.hosts.values():
            session = self._sessions.find_connected(row.name)
            summary = None if session is None else session.summary
            desired, view = self.configuration_for(row.name), view_of(summary)
            if desired is None and view is None:
                continue
            health, details = health_of(desired, summary)
            hosts.append(
                TrustedHost(
                    host=row.name,
                    cluster=row.cluster,
                    health=health,
                    details=details,
                    reports=() if view is None else view.reports,
                )
            )
        return TrustedClusters(
            clusters=self.row.clusters,
            hosts=tuple(hosts),
            services=self.row.services,
            stale_principal=self.row.services is not None
            and self._signer is not None
            and self._fingerprint() != self.row.principal,
        )

    def provider_health(self, provider: ProviderId) -> tuple[ProviderHealth, tuple[str, ...]]:
        """The health of a trusted provider, with its problems."""
        found = self._watch.judge_provider(provider)
        return found.health, found.details

    # ---- passes -----------------------------------------------------------------------------

    async def see(self, session: HostSession) -> None:
        """In a pass of step B8: report what is new about the host, and update it."""
        if session.host not in self._inventory.hosts or session.summary is None:
            return
        await self._bring_up_to_date(session)
        row = self._inventory.hosts.get(session.host)
        if row is None:  # it was removed meanwhile
            return
        drafts, edits = self._news(session, row)
        if drafts or edits:
            await self._inventory.commit(*edits, events=drafts)

    def _news(self, session: HostSession, row: HostRow) -> tuple[list[EventDraft], list[Edit]]:
        drafts: list[EventDraft] = []
        edits: list[Edit] = []
        desired, view = self.configuration_for(row.name), view_of(session.summary)
        lacking = desired is not None and view is None
        beside = desired is None and view is not None
        if (lacking or beside) and self._once.first(session.host, session.boot, _TOPIC):
            drafts.append(
                events.not_configured(row.name, row.cluster)
                if lacking
                else events.decommission(row.name)
            )
        drafts += self._watch.news()
        if (news := attestation_news(row.name, view, row.trust_told)) is not None:
            if status_of(view) is not TrustAttestationStatus.ATTESTED:
                self._watch.look_now()
            edits.append(change_host(row.name, trust_told=news[0]))
            drafts.append(news[1])
        return drafts, edits

    def reason(self, session: HostSession, key: CryptoKeyId) -> KeyUnavailableReason:
        """Why a host does not have the key of a trusted provider that a VM lacks (R48, R50,
        R52)."""
        if key.provider_id not in self._inventory.providers:
            return KeyUnavailableReason.CLUSTER_INVALID
        if status_of(view_of(session.summary)) is TrustAttestationStatus.NOT_ATTESTED:
            return KeyUnavailableReason.MISSING_IN_CACHE
        return KeyUnavailableReason.CLUSTER_UNREACHABLE


def _nodes(services: ServicesInformation | None) -> set[NodeName]:
    records: Iterable[Any] = (
        ()
        if services is None
        else (*services.attestation_services, *services.key_provider_services)
    )
    return {record.node for record in records}
