"""Making hosts safe: the host key is made on first need, fetched, delivered, perhaps renewed.

One host key per cluster or per host (C2, ``host_key_scope``). Its value is fetched for each
delivery and forgotten with it.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from protocol.errors import AlreadyExists, KeyProviderUnreachable, ProductError
from protocol.messages.base import Sealed
from protocol.messages.host import (
    ChangeHostKey,
    CryptoManagerHostEnable,
    CryptoManagerHostPrepare,
)
from protocol.secret import KeyMaterial
from protocol.terms import (
    CryptoKeyId,
    HostCryptoState,
    KeyUnavailableReason,
    NodeName,
    ProviderId,
)
from services.vcenter import events
from services.vcenter.connection import HostLink
from services.vcenter.health import Contacts
from services.vcenter.host_mode import Step, may_renew, next_step
from services.vcenter.inventory import Edit, Inventory, change_cluster, change_host
from services.vcenter.knobs import VcenterNode
from services.vcenter.providers import Providers
from services.vcenter.rows import ClusterRow, HostRow


@dataclass(frozen=True)
class HostKey:
    """A host key with its value, on its way to one host."""

    key: CryptoKeyId
    material: KeyMaterial


class HostKeys:
    """See the module's text. Callers hold the link's ``turn``."""

    def __init__(
        self, node: VcenterNode, inventory: Inventory, providers: Providers, contacts: Contacts
    ) -> None:
        self._node, self._inventory = node, inventory
        self._providers, self._contacts = providers, contacts
        self._making: dict[str, asyncio.Lock] = {}  # one maker per scope

    async def make_safe(
        self, link: HostLink, *, needed: bool, fresh: bool, fallback: ProviderId | None = None
    ) -> KeyUnavailableReason | None:
        """Bring the host to its mode; None if it has it, else why its key cannot be had.

        ``fresh``: ask a provider even if it has just been silent. ``fallback``: makes the very
        first host key where there is no default provider. Raises what the host answers.
        """
        summary, row = link.summary, self._inventory.hosts.get(link.host)
        if summary is None or row is None:
            return None
        recorded = self._scope(row).host_key
        step = next_step(summary.crypto_state, summary.crypto_key_id, recorded, needed=needed)
        match step:
            case Step.NONE:
                return None
            case Step.ADOPT:
                await self._inventory.commit(self._record(row, host_key=summary.crypto_key_id))
                return None
            case Step.PREPARE:
                await link.command(CryptoManagerHostPrepare())
                link.learn(crypto_state=HostCryptoState.PREPARED)
            case Step.ENABLE | Step.CHANGE:
                pass
        got = await self._obtain(link.host, fresh=fresh, fallback=fallback)
        if isinstance(got, KeyUnavailableReason):
            if step is not Step.CHANGE:
                await self._report(link, recorded, got)
                return got
            return None  # it is safe with its old key; again at the next pass
        if step is Step.CHANGE:
            await self._change(link, got)
        else:
            await self._enable(link, got)
        return None

    async def _enable(self, link: HostLink, got: HostKey) -> None:
        try:
            await link.command(
                CryptoManagerHostEnable(key=got.key, material=Sealed.of(got.material))
            )
        except AlreadyExists:
            return  # safe with another one since we looked: the next pass compares
        link.learn(crypto_state=HostCryptoState.SAFE, crypto_key_id=got.key)
        link.told = {what for what in link.told if not what.startswith("mode:")}
        self._node.record("host.safe", host=link.host, key=str(got.key))
        await self._inventory.commit(events=[events.host_enabled(link.host, got.key)])

    async def _change(self, link: HostLink, got: HostKey) -> None:
        await link.command(ChangeHostKey(key=got.key, material=Sealed.of(got.material)))
        link.learn(crypto_key_id=got.key)
        await self._inventory.commit(events=[events.host_key_updated(link.host, got.key)])

    async def _report(
        self, link: HostLink, key: CryptoKeyId | None, reason: KeyUnavailableReason
    ) -> None:
        """``ReqEnable``, once per boot of the host and cause."""
        draft = events.host_needs_mode(link.host, key, reason)
        self._node.record("host.unsafe", level="warning", host=link.host, reason=reason.value)
        if f"mode:{draft.event}" not in link.told:
            link.told.add(f"mode:{draft.event}")
            await self._inventory.commit(events=[draft])

    # ---- the key itself ---------------------------------------------------------------------

    async def _obtain(
        self, host: NodeName, *, fresh: bool, fallback: ProviderId | None
    ) -> HostKey | KeyUnavailableReason:
        """The host key in force with its value: fetched, or made now, or renewed."""
        row = self._inventory.hosts.get(host)
        if row is None:
            return KeyUnavailableReason.CLUSTER_INVALID
        async with self._making.setdefault(self._scope_name(row), asyncio.Lock()):
            key = self._scope(row).host_key
            if key is None:
                return await self._make(row, None, None, fresh=fresh, fallback=fallback)
            bundle = await self._providers.fetch(key.provider_id, (key,), fresh=fresh)
            if bundle.values:
                return HostKey(key, bundle.values[0][1])
            reason = bundle.denied[key]
            default = self._inventory.default_provider()
            if may_renew(
                reason,
                key.provider_id,
                None if default is None else default.name,
                knob=self._node.knobs.host_key_renewal,
            ):
                made = await self._make(row, key, reason, fresh=fresh, fallback=None)
                return reason if isinstance(made, KeyUnavailableReason) else made
            return reason

    async def _make(
        self,
        row: HostRow,
        old: CryptoKeyId | None,
        reason: KeyUnavailableReason | None,
        *,
        fresh: bool,
        fallback: ProviderId | None,
    ) -> HostKey | KeyUnavailableReason:
        default = self._inventory.default_provider()
        name = fallback if default is None else default.name
        provider = None if name is None else self._providers.find(name)
        if name is None or provider is None:
            return KeyUnavailableReason.CLUSTER_INVALID
        if not fresh and self._contacts.just_failed(name, self._node.knobs.request_timeout_s):
            return KeyUnavailableReason.CLUSTER_UNREACHABLE
        generation = self._scope(row).generation + 1
        operation = f"{self._node.name}/hostkey/{self._scope_name(row)}/{generation}"
        try:
            made = await provider.create_key(operation)
        except KeyProviderUnreachable as error:
            await self._inventory.commit(events=[events.generate_failed(name, str(error))])
            return KeyUnavailableReason.CLUSTER_UNREACHABLE
        except ProductError as error:
            await self._inventory.commit(events=[events.generate_failed(name, str(error))])
            return KeyUnavailableReason.CLUSTER_INVALID
        key = CryptoKeyId(made.key_id, name)
        drafts = []
        if old is not None and reason is not None:
            drafts.append(events.host_key_renewed(row.name, old, key, reason))
        await self._inventory.commit(
            self._record(row, host_key=key, generation=generation), events=drafts
        )
        self._node.record("hostkey.created", scope=self._scope_name(row), key=str(key))
        return HostKey(key, made.material)

    # ---- scope (C2) -------------------------------------------------------------------------

    @property
    def _per_host(self) -> bool:
        return self._node.knobs.host_key_scope == "host"

    def _scope_name(self, row: HostRow) -> str:
        return f"host/{row.name}" if self._per_host else f"cluster/{row.cluster}"

    def _scope(self, row: HostRow) -> HostRow | ClusterRow:
        """The row that records the host key, as it is now."""
        if self._per_host:
            return self._inventory.hosts.get(row.name, row)
        return self._inventory.clusters[row.cluster]

    def _record(self, row: HostRow, **fields: object) -> Edit:
        if self._per_host:
            return change_host(row.name, **fields)
        return change_cluster(row.cluster, **fields)
