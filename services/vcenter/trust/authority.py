"""The Trust Authority vCenter: the configuration of its services, durable, and pushed to all of
them.

A change: 1. is applied to the durable configuration  2. is judged by one service of each kind,
whose refusal ends it  3. is made durable, or undone at the services that have judged it  4. is
pushed to all others. A silent service gets it later: all services are checked in each period, and
their configuration is compared with the desired one (HLT-01). One change at a time (HLT-04).
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any, TypeVar

import msgspec

from protocol import names
from protocol.errors import (
    AlreadyExists,
    HostUnreachable,
    InvalidArgument,
    InvalidState,
    Malformed,
    NotFound,
    ProductError,
    ResourceInUse,
    SaveFailed,
)
from protocol.messages.attestation import (
    AttestationServiceInfo,
    QueryAttestationConfiguration,
    QueryAttestationService,
    SetAttestationConfiguration,
)
from protocol.messages.base import Reply, Request
from protocol.messages.keyprovider import (
    QueryKeyProviderConfiguration,
    QueryKeyProviderService,
    QueryPeerCertificates,
    SetKeyProviderConfiguration,
)
from protocol.messages.vcenter.trust import (
    EnableTrustAuthority,
    ServicesInformation,
    TrustAuthorityState,
    TrustItemHealth,
    TrustKeyServers,
)
from protocol.terms import ClusterName, NodeName, ProviderHealth
from protocol.trust import AcceptedAttestationService, ItemDigest, ServiceRecord, item
from services.runtime.each import try_each
from services.runtime.ports import Bus, Clock
from services.vcenter.hosts.session import UNANSWERED
from services.vcenter.inventory import Inventory, put
from services.vcenter.key_server_status import DAY_S, near_their_end_behind_services
from services.vcenter.knobs import VcenterNode
from services.vcenter.tables import AuthorityRow, DatabaseTable
from services.vcenter.trust.changes import AUTHORITY_ROW as ROW
from services.vcenter.trust.changes import (
    Change,
    apply_change,
    attestation_configuration,
    has_another_role,
    key_provider_configuration,
    warnings_of,
)

R = TypeVar("R", bound=Reply)


def _check_nodes(message: EnableTrustAuthority) -> None:
    """``InvalidName`` or ``InvalidArgument`` unless there are services of both kinds, each once."""
    nodes = (*message.attestation_services, *message.key_provider_services)
    for node in nodes:
        names.NODE.check(node)
    if not message.attestation_services or not message.key_provider_services:
        raise InvalidArgument("services: at least one Attestation and one Key Provider Service")
    for node, times in Counter(nodes).items():
        if times > 1:
            raise InvalidArgument(f"services: {node} is there twice")


def _issuers(
    services: Sequence[AttestationServiceInfo], group: str
) -> tuple[AcceptedAttestationService, ...]:
    """The issuers whose tokens are accepted, by these services' own information."""
    return tuple(
        AcceptedAttestationService(node=info.service, certificate=info.certificate, group=group)
        for info in services
    )


def _has(node: NodeName, row: AuthorityRow, revision: str, items: tuple[ItemDigest, ...]) -> bool:
    """Whether a service has the desired configuration. The revision alone does not show that: a
    failed change may have reached the service, under a number that another change has now."""
    attests = node in row.attestation_services
    wanted = items_of_attestation(row) if attests else items_of_key_providers(row)
    return revision == str(row.revision) and frozenset(items) == frozenset(wanted)


class Authority:
    """See the module's text."""

    def __init__(self, node: VcenterNode, bus: Bus, clock: Clock, inventory: Inventory) -> None:
        self._node, self._bus, self._clock, self._inventory = node, bus, clock, inventory
        self._busy = False
        self._pushing = asyncio.Lock()
        self._repairing = False

    def start(self) -> None:
        """Repair services from now on, if there is a Trust Authority."""
        if not self._repairing and ROW in self._inventory.authority:
            self._repairing = True
            self._node.background("trust.repair", self._repair())

    @property
    def row(self) -> AuthorityRow:
        """The durable configuration; ``NotFound`` before it is enabled."""
        found = self._inventory.authority.get(ROW)
        if found is None:
            raise NotFound("no cluster of this vCenter has its Trust Authority state enabled")
        return found

    @asynccontextmanager
    async def alone(self) -> AsyncIterator[None]:
        """``ResourceInUse`` while another change is in progress (HLT-04). A repair is waited for,
        so that it does not overwrite newer configuration."""
        if self._busy:
            raise ResourceInUse("a change of the Trust Authority is under way")
        self._busy = True
        try:
            async with self._pushing:
                yield
        finally:
            self._busy = False

    # ---- tasks ------------------------------------------------------------------------------

    async def enable(self, message: EnableTrustAuthority) -> TrustAuthorityState:
        """The second step; every service has to answer, because its certificate is recorded."""
        names.CLUSTER.check(message.cluster)
        _check_nodes(message)
        async with self.alone():
            if why := has_another_role(self._inventory, message.cluster, trusted=False):
                raise InvalidState(why)
            if ROW in self._inventory.authority:
                raise AlreadyExists(f"{self.row.cluster} has its Trust Authority state enabled")
            group = f"{self._node.name}/{message.cluster}"
            infos = [
                await self._ask(node, QueryAttestationService())
                for node in message.attestation_services
            ]
            for node in message.key_provider_services:
                await self._ask(node, QueryKeyProviderService())
            row = AuthorityRow(
                name=ROW,
                cluster=message.cluster,
                group=group,
                revision=1,
                attestation_services=message.attestation_services,
                key_provider_services=message.key_provider_services,
                issuers=_issuers(infos, group),
            )
            await self._inventory.commit(put(DatabaseTable.AUTHORITY, ROW, row))
            self.start()
            silent = await self._push(row, self._services(row))
        return await self.state(silent)

    async def change(self, message: Change) -> TrustAuthorityState:
        """One change of the configuration; see the module."""
        async with self.alone():
            shown = (
                await self._fetch_server_certificates(message)
                if isinstance(message, TrustKeyServers)
                else {}
            )
            row = apply_change(self.row, message, shown)
            judges = await self._judge(row)
            try:
                await self._inventory.commit(put(DatabaseTable.AUTHORITY, ROW, row))
            except SaveFailed:
                await self._push(self.row, judges)
                raise
            others = [node for node in self._services(row) if node not in judges]
            silent = await self._push(row, others)
        return await self.state(silent)

    async def _fetch_server_certificates(
        self, message: TrustKeyServers
    ) -> Mapping[NodeName, bytes]:
        """The certificates of the provider's KMIP servers, from the first Key Provider Service that
        can fetch them; vCenter has no connection to them itself."""
        servers = [s for p in self.row.providers if p.provider == message.provider
                   for s in p.servers if s.address]  # fmt: skip
        if not servers:
            return {}
        request = QueryPeerCertificates(provider=message.provider)
        why = "none"
        for node in self.row.key_provider_services:
            try:
                found = await self._ask(node, request)
            except (HostUnreachable, NotFound) as error:  # it may not have that provider yet
                why = str(error)
                continue
            for one in found.servers:
                if not one.certificate:
                    raise HostUnreachable(f"{one.node} shows no certificate: {one.reason}")
            return {one.node: one.certificate for one in found.servers}
        raise HostUnreachable(f"no Key Provider Service looks at its key servers: {why}")

    async def state(self, silent: Sequence[NodeName] = ()) -> TrustAuthorityState:
        """The state, asked of each service."""
        if ROW not in self._inventory.authority:
            return TrustAuthorityState(cluster=ClusterName(""), group="")
        row = self.row
        attestation = {n: await self._items(n, row) for n in row.attestation_services}
        providers = {n: await self._items(n, row) for n in row.key_provider_services}
        both = {**attestation, **providers}
        return TrustAuthorityState(
            cluster=row.cluster,
            group=row.group,
            items=item_health(row, attestation, providers),
            settings=row.settings,
            warnings=warnings_of(row),
            silent=tuple(n for n in both if both[n] is None or n in silent),
        )

    async def export(self) -> ServicesInformation:
        """The eleventh step: every service has to answer. An Attestation Service with a new
        certificate is accepted with it from now on (SC-30)."""
        row = self.row
        records: list[list[ServiceRecord]] = [[], []]
        services = [await self._ask(n, QueryAttestationService()) for n in row.attestation_services]
        await self._accept(row, services)
        for found in services:
            records[0].append(
                ServiceRecord(node=found.service, trusted_ca=found.trusted_ca, group=row.group)
            )
        for node in row.key_provider_services:
            info = await self._ask(node, QueryKeyProviderService())
            records[1].append(ServiceRecord(node=node, trusted_ca=info.trusted_ca, group=row.group))
        return ServicesInformation(
            attestation_services=tuple(records[0]), key_provider_services=tuple(records[1])
        )

    async def _accept(self, row: AuthorityRow, services: Sequence[AttestationServiceInfo]) -> None:
        """Key Provider Services accept tokens that are signed with these certificates."""
        issuers = _issuers(services, row.group)
        if issuers == row.issuers:
            return
        async with self.alone():
            now = self.row
            row = msgspec.structs.replace(now, issuers=issuers, revision=now.revision + 1)
            await self._inventory.commit(put(DatabaseTable.AUTHORITY, ROW, row))
            await self._push(row, self._services(row))

    # ---- services ---------------------------------------------------------------------------

    @staticmethod
    def _services(row: AuthorityRow) -> tuple[NodeName, ...]:
        return (*row.attestation_services, *row.key_provider_services)

    async def _judge(self, row: AuthorityRow) -> tuple[NodeName, ...]:
        """The first available service of each kind has accepted it; their refusal is raised."""
        judges: list[NodeName] = []
        try:
            for nodes in (row.attestation_services, row.key_provider_services):
                judges.append(await self._first_taken(nodes, row))
        except ProductError:
            await self._push(self.row, judges)
            raise
        return tuple(judges)

    async def _first_taken(self, nodes: Sequence[NodeName], row: AuthorityRow) -> NodeName:
        unsaved: SaveFailed | None = None
        for node in nodes:
            try:
                await self._give(node, row)
            except UNANSWERED:
                continue
            except Malformed as error:
                text = f"the configuration of the Trust Authority does not fit a message: {error}"
                raise InvalidArgument(text) from None
            except SaveFailed as error:  # its failing disk says nothing about the change
                unsaved = error
                continue
            return node
        if unsaved is not None:
            raise unsaved
        raise HostUnreachable(f"none of {', '.join(nodes)} answers: nothing was changed")

    async def _push(self, row: AuthorityRow, nodes: Sequence[NodeName]) -> tuple[NodeName, ...]:
        """The services that did not take it."""
        outcomes = await try_each(nodes, lambda node: self._give(node, row))
        silent = []
        for node, outcome in zip(nodes, outcomes, strict=True):
            if isinstance(outcome, ProductError):
                self._node.record(
                    "trust.not_pushed",
                    level="warning",
                    service=node,
                    error=type(outcome).__name__,
                )
                silent.append(node)
            elif isinstance(outcome, Exception):
                raise outcome
        return tuple(silent)

    async def _give(self, node: NodeName, row: AuthorityRow) -> None:
        message: Request[Any]
        if node in row.attestation_services:
            message = SetAttestationConfiguration(configuration=attestation_configuration(row))
        else:
            message = SetKeyProviderConfiguration(configuration=key_provider_configuration(row))
        await self._bus.request(node, message, within_s=self._node.knobs.request_timeout_s)

    async def _items(self, node: NodeName, row: AuthorityRow) -> tuple[ItemDigest, ...] | None:
        found = await self._fetch_state(node, row)
        return None if found is None else found[1]

    async def _fetch_state(
        self, node: NodeName, row: AuthorityRow
    ) -> tuple[str, tuple[ItemDigest, ...]] | None:
        """Revision and items of a service; None when it does not answer."""
        within_s = self._node.knobs.request_timeout_s
        try:
            if node in row.attestation_services:
                state = await self._bus.request(
                    node, QueryAttestationConfiguration(), within_s=within_s
                )
                return state.revision, state.items
            other = await self._bus.request(
                node, QueryKeyProviderConfiguration(), within_s=within_s
            )
            return other.revision, other.items
        except ProductError:
            return None

    async def _ask(self, node: NodeName, message: Request[R]) -> R:
        try:
            return await self._bus.request(
                node, message, within_s=self._node.knobs.request_timeout_s
            )
        except UNANSWERED as error:
            raise HostUnreachable(f"{node} does not answer: {error}") from None

    async def _repair(self) -> None:
        """Send every service what it lacks, in each period."""
        async for _ in self._clock.every(self._node.knobs.remediation_interval_s):
            if self._busy:
                continue
            row = self.row
            states = {node: await self._fetch_state(node, row) for node in self._services(row)}
            behind = [
                node
                for node, found in states.items()
                if found is not None and not _has(node, row, *found)
            ]
            if behind and self.row is row and not self._busy:
                async with self._pushing:
                    await self._push(row, behind)
            await self._report_expiring_certificates()

    async def _report_expiring_certificates(self) -> None:
        """STD-07: an event for each certificate between services and KMIP servers that expires
        soon, once."""
        row = self.row
        if not any(server.address for one in row.providers for server in one.servers):
            return
        shown: dict[NodeName, bytes] = {}
        for node in row.key_provider_services:
            with suppress(ProductError):  # it is asked again in the next period
                shown[node] = (await self._ask(node, QueryKeyProviderService())).client_certificate
        until = self._clock.now() + self._node.knobs.kms_certificate_warning_days * DAY_S
        async with self._pushing:  # no change is made meanwhile
            row = self.row
            known = {node: der for node, der in shown.items() if der}
            found = near_their_end_behind_services(row, known, until)
            if not found:
                return
            row = msgspec.structs.replace(row, ending=(*row.ending, *found))
            try:
                await self._inventory.commit(
                    put(DatabaseTable.AUTHORITY, ROW, row), events=list(found.values())
                )
            except SaveFailed as error:  # the next check repeats it
                self._node.record("inventory.save_failed", level="warning", reason=str(error))


# ---- health --------------------------------------------------------------------------------------
# The health of each item of a Trust Authority's configuration, from what services have. Pure.
#
# | on those that answer | all answer | health |
# |---|---|---|
# | none answers | - | NONE |
# | the same, as desired | yes | OK |
# | the same, as desired | no | WARNING |
# | missing, or another one, on some | - | ERROR |

Seen = Mapping[NodeName, tuple[ItemDigest, ...] | None]
"""The items of each service; None: it does not answer."""


def item_health(
    row: AuthorityRow, attestation: Seen, key_providers: Seen
) -> tuple[TrustItemHealth, ...]:
    """The health of each desired item, then of those that only services have."""
    found = [_judge_item(one, attestation) for one in items_of_attestation(row)]
    found += [_judge_item(one, key_providers) for one in items_of_key_providers(row)]
    return (*found, *_beside(row, attestation, key_providers))


def items_of_attestation(row: AuthorityRow) -> tuple[ItemDigest, ...]:
    """The desired items of each Attestation Service."""
    return (
        *(item("principal", one.name, one) for one in row.principals),
        *(item("caCertificate", one.name, one) for one in row.ca_certificates),
        *(item("endorsementKey", one.name, one) for one in row.endorsement_keys),
        *(item("baseImage", one.version, one) for one in row.base_images),
        item("settings", "tpm", row.settings),
    )


def items_of_key_providers(row: AuthorityRow) -> tuple[ItemDigest, ...]:
    """The desired items of each Key Provider Service."""
    return (
        *(item("provider", one.provider, one) for one in row.providers),
        *(item("attestationService", one.node, one) for one in row.issuers),
    )


def _judge_item(wanted: ItemDigest, seen: Seen) -> TrustItemHealth:
    silent = [node for node, has in seen.items() if has is None]
    wrong = [node for node, has in seen.items() if has is not None and wanted not in has]
    if len(silent) == len(seen):
        health, details = ProviderHealth.NONE, ["no service answers"]
    elif wrong:
        health, details = ProviderHealth.ERROR, [f"{node} does not have it so" for node in wrong]
    elif silent:
        health, details = ProviderHealth.WARNING, [f"{node} does not answer" for node in silent]
    else:
        health, details = ProviderHealth.OK, []
    return TrustItemHealth(
        kind=wanted.kind, name=wanted.name, health=health, details=tuple(details)
    )


def _beside(row: AuthorityRow, attestation: Seen, key_providers: Seen) -> list[TrustItemHealth]:
    there = {
        (one.kind, one.name) for one in (*items_of_attestation(row), *items_of_key_providers(row))
    }
    found: dict[tuple[str, str], list[NodeName]] = {}
    for seen in (attestation, key_providers):
        for node, has in seen.items():
            for one in has or ():
                if (one.kind, one.name) not in there:
                    found.setdefault((one.kind, one.name), []).append(node)
    return [
        TrustItemHealth(
            kind=kind,
            name=name,
            health=ProviderHealth.ERROR,
            details=tuple(f"{node} has it, and should not" for node in nodes),
        )
        for (kind, name), nodes in found.items()
    ]
