"""Making hosts safe: the host key is created on first need, fetched, delivered, and renewed if
necessary.

There is one host key per cluster or per host (HEM-06, ``host_key_scope``), or the one that an
administrator chose for this host. Its value is fetched for each delivery and dropped afterwards.
``mode`` decides which step a host needs. Callers ensure that only one of them works on a host at a
time.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from protocol.errors import AlreadyExists, InvalidState, ProductError
from protocol.messages.base import Sealed
from protocol.messages.host.crypto import (
    ChangeHostKey,
    CryptoManagerHostDisable,
    CryptoManagerHostEnable,
    CryptoManagerHostPrepare,
)
from protocol.secret import KeyMaterial
from protocol.terms import (
    CryptoKeyId,
    HostCryptoState,
    KeyId,
    KeyUnavailableReason,
    NodeName,
    ProviderId,
)
from services.vcenter import events
from services.vcenter.events import OncePerBoot
from services.vcenter.hosts.mode import ModeStep, is_adoptable, may_renew, next_mode_step
from services.vcenter.hosts.session import UNANSWERED, HostSession
from services.vcenter.inventory import Edit, Inventory, change_cluster, change_host
from services.vcenter.key_server_status import KeyServerContacts
from services.vcenter.knobs import VcenterNode
from services.vcenter.providers.provider import ESXI_SERVER, KeyUse, reason_of
from services.vcenter.providers.registry import ProviderRegistry
from services.vcenter.tables import ClusterRow, HostRow, ProviderRow


@dataclass(frozen=True)
class HostKey:
    """A host key for one host: with its value, or with the check value of the key that the host
    derives."""

    key: CryptoKeyId
    material: KeyMaterial | None
    check: str = ""

    @property
    def sealed(self) -> Sealed | None:
        """The sealed value; None: the host derives it."""
        return None if self.material is None else Sealed.of(self.material)


class HostKeys:
    """See the module. Raises ``NotAvailable`` when vCenter cannot ask the provider."""

    def __init__(
        self,
        node: VcenterNode,
        inventory: Inventory,
        providers: ProviderRegistry,
        contacts: KeyServerContacts,
        once: OncePerBoot,
    ) -> None:
        self._node, self._inventory = node, inventory
        self._providers, self._contacts, self._once = providers, contacts, once
        self._making: dict[str, asyncio.Lock] = {}  # one maker per scope

    def find_host_key(self, row: HostRow) -> CryptoKeyId | None:
        """The recorded host key for this host; None when there was never one."""
        return self._scope(row).host_key

    async def make_safe(
        self,
        session: HostSession,
        *,
        needed: bool,
        fresh: bool,
        requested: bool = False,
        fallback: ProviderId | None = None,
    ) -> KeyUnavailableReason | None:
        """Take the step that the host needs by its latest view; returns None, or why its key is not
        available.

        ``needed``: it should be safe. ``requested``: an administrator asks for it
        (``next_mode_step``). ``fresh``: ask a provider even if it has just been silent.
        ``fallback``: makes the very first host key if there is no default provider. Raises the
        host's errors.
        """
        summary, row = session.summary, self._inventory.hosts.get(session.host)
        if summary is None or row is None:
            return None
        recorded = self.find_host_key(row)
        step = next_mode_step(
            summary.crypto_state,
            summary.crypto_key_id,
            recorded,
            needed=needed,
            requested=requested,
            adoptable=is_adoptable(summary, self._inventory.management_types()),
        )
        match step:
            case ModeStep.NONE:
                return None
            case ModeStep.RECORD:
                recorded_now = self._record(
                    row, host_key=summary.crypto_key_id, host_key_check=summary.crypto_key_check
                )
                await self._inventory.commit(recorded_now)
                return None
            case ModeStep.PREPARE:
                await self._prepare(session)
            case ModeStep.ENABLE | ModeStep.CHANGE:
                pass
        if (name := self._find_trusted_provider(row, fallback)) is not None:
            return await self._let_host_fetch(session, row, name, change=step is ModeStep.CHANGE)
        got = await self._obtain(session.host, fresh=fresh, fallback=fallback)
        if isinstance(got, KeyUnavailableReason):
            if step is ModeStep.CHANGE:
                return None  # it is safe with its old key; the next pass tries again
            await self._report_unsafe(session, recorded, got)
            return got
        if step is ModeStep.CHANGE:
            await self._change(session, got)
        else:
            await self._enable(session, got)
        return None

    async def report_safe(self, session: HostSession) -> None:
        """Post ``Enabled`` for a host that had a ``ReqEnable`` event and has got its key by itself
        since: derived, or from a Key Provider Service."""
        summary = session.summary
        key = None if summary is None else summary.crypto_key_id
        if summary is None or key is None or summary.crypto_state is not HostCryptoState.SAFE:
            return
        if self._once.over(session.host, "mode"):
            self._node.record("host.safe", host=session.host, key=str(key))
            await self._inventory.commit(events=[events.host_enabled(session.host, key)])

    def _find_trusted_provider(
        self, row: HostRow, fallback: ProviderId | None
    ) -> ProviderId | None:
        """The trusted provider whose services give hosts their key; None for another kind of
        provider."""
        recorded = self.find_host_key(row)
        name = self._inventory.host_key_provider(row.cluster, fallback)
        name = name if recorded is None else recorded.provider_id
        return name if name is not None and self._providers.capability(name).fetched else None

    async def _let_host_fetch(
        self, session: HostSession, row: HostRow, provider: ProviderId, *, change: bool
    ) -> KeyUnavailableReason | None:
        """The host has a Key Provider Service unwrap its key, or make the first one of this scope;
        vCenter records the id that the host returns (KEY-02, R46)."""
        async with self._making.setdefault(self._scope_name(row), asyncio.Lock()):
            recorded = self.find_host_key(row)
            key = recorded or CryptoKeyId(KeyId(""), provider)
            try:
                if change:
                    await session.command(ChangeHostKey(key=key))
                else:
                    await session.command(CryptoManagerHostEnable(key=key))
            except AlreadyExists:
                return None
            except UNANSWERED:
                raise
            except ProductError:
                reason = KeyUnavailableReason.CLUSTER_UNREACHABLE
                if not change:
                    await self._report_unsafe(session, recorded, reason)
                return reason
            named = (await session.look()).crypto_key_id or key
            if recorded is None:
                await self._note(row, HostKey(named, None), self._scope(row).generation + 1)
        self._once.over(session.host, "mode")
        self._node.record("host.safe", host=session.host, key=str(named))
        event = events.host_key_updated if change else events.host_enabled
        await self._inventory.commit(events=[event(session.host, named)])
        return None

    async def _prepare(self, session: HostSession) -> None:
        try:
            await session.command(CryptoManagerHostPrepare())
        # It is not incapable (any more): an answer was lost, or the host did it itself.
        except InvalidState:
            if await session.mode_now() is HostCryptoState.INCAPABLE:
                raise
        else:
            session.view.apply(crypto_state=HostCryptoState.PREPARED)

    async def disable(self, session: HostSession) -> None:
        """Disable the host's mode: at once, or from its next boot on (pendingIncapable).

        Raises the host's errors: ``ResourceInUse`` while encrypted VMs are there (HEM-03),
        ``InvalidState`` when it was pendingIncapable before.
        """
        before = await session.mode_now()
        try:
            await session.command(CryptoManagerHostDisable())
        except InvalidState:  # a repeat, whose first answer was lost
            if before is _PENDING or await session.mode_now() is not _PENDING:
                raise
        await session.mode_now()
        self._node.record("host.disabled", host=session.host)

    async def _enable(self, session: HostSession, got: HostKey) -> None:
        try:
            await session.command(
                CryptoManagerHostEnable(key=got.key, material=got.sealed, check=got.check)
            )
        except AlreadyExists:
            return  # safe with another key since the look: the next pass compares
        session.view.apply(crypto_state=HostCryptoState.SAFE, crypto_key_id=got.key)
        self._once.over(session.host, "mode")
        self._node.record("host.safe", host=session.host, key=str(got.key))
        await self._inventory.commit(events=[events.host_enabled(session.host, got.key)])

    async def _change(self, session: HostSession, got: HostKey) -> None:
        command = ChangeHostKey(key=got.key, material=got.sealed, check=got.check)
        await session.command(command)
        session.view.apply(crypto_key_id=got.key)
        await self._inventory.commit(events=[events.host_key_updated(session.host, got.key)])

    async def _report_unsafe(
        self, session: HostSession, key: CryptoKeyId | None, reason: KeyUnavailableReason
    ) -> None:
        """``ReqEnable``, once per boot of the host and cause."""
        draft = events.host_needs_mode(session.host, key, reason)
        self._node.record("host.unsafe", level="warning", host=session.host, reason=reason.value)
        if self._once.first(session.host, session.boot, "mode", draft.event):
            await self._inventory.commit(events=[draft])

    # ---- the key itself ---------------------------------------------------------------------

    async def _obtain(
        self, host: NodeName, *, fresh: bool, fallback: ProviderId | None
    ) -> HostKey | KeyUnavailableReason:
        """The host key in force with its value: fetched, or created now, or renewed."""
        row = self._inventory.hosts.get(host)
        if row is None:
            return KeyUnavailableReason.CLUSTER_INVALID
        async with self._making.setdefault(self._scope_name(row), asyncio.Lock()):
            key = self._scope(row).host_key
            if key is None:
                return await self._make(row, None, None, fresh=fresh, fallback=fallback)
            got = await self._value(row, key, fresh=fresh)
            if isinstance(got, HostKey):
                return got
            reason = got
            if may_renew(
                reason,
                key.provider_id,
                self._renewing_provider(row),
                knob=self._node.knobs.host_key_renewal,
            ):
                made = await self._make(row, key, reason, fresh=fresh, fallback=None)
                return reason if isinstance(made, KeyUnavailableReason) else made
            return reason

    async def _value(
        self, row: HostRow, key: CryptoKeyId, *, fresh: bool
    ) -> HostKey | KeyUnavailableReason:
        """The recorded host key with its value; or why it is not available."""
        if self._providers.derives(key.provider_id) is not None:
            check = self._scope(row).host_key_check
            # without a check value it is of an earlier provider of this name, with another type
            return HostKey(key, None, check) if check else KeyUnavailableReason.MISSING_IN_KMS
        if self._scope(row).host_key_check and key.provider_id in self._inventory.providers:
            return KeyUnavailableReason.MISSING_IN_KMS  # hosts derived it: vCenter has no value
        bundle = await self._providers.fetch(key.provider_id, (key,), fresh=fresh)
        return HostKey(key, bundle.values[0][1]) if bundle.values else bundle.denied[key]

    def _renewing_provider(self, row: HostRow) -> ProviderId | None:
        """The provider of the cluster's host keys, if vCenter can have it make one. None too when
        the policy names the key, which must not be replaced (HEM-05)."""
        name = self._inventory.host_key_provider(row.cluster)
        if name is None or self._inventory.clusters[row.cluster].policy.key is not None:
            return None
        can = self._providers.capability(name)
        return name if can.pushed or can.derived else None

    async def _make(
        self,
        row: HostRow,
        old: CryptoKeyId | None,
        reason: KeyUnavailableReason | None,
        *,
        fresh: bool,
        fallback: ProviderId | None,
    ) -> HostKey | KeyUnavailableReason:
        name = self._inventory.host_key_provider(row.cluster, fallback)
        if name is None or name not in self._inventory.providers:
            return KeyUnavailableReason.CLUSTER_INVALID
        if (native := self._providers.derives(name)) is not None:
            return await self._name(row, native, old, reason)
        self._providers.require_provider(name)  # raises unless it makes keys for vCenter
        if not fresh and self._contacts.just_failed(name, self._node.knobs.request_timeout_s):
            return KeyUnavailableReason.CLUSTER_UNREACHABLE
        generation = self._scope(row).generation + 1
        operation = f"{self._node.name}/hostkey/{self._scope_name(row)}/{generation}"
        try:
            made = await self._providers.create_key(name, operation, KeyUse(ESXI_SERVER, row.name))
        except ProductError as error:
            await self._inventory.commit(events=[events.generate_failed(name, str(error))])
            return reason_of(error)
        got = HostKey(CryptoKeyId(made.key_id, name), made.material)
        await self._note(row, got, generation, old, reason)
        return got

    async def _name(
        self,
        row: HostRow,
        native: ProviderRow,
        old: CryptoKeyId | None,
        reason: KeyUnavailableReason | None,
    ) -> HostKey | KeyUnavailableReason:
        """The host key of a native provider: an id, and the check value of the derived key."""
        try:
            key = self._providers.native.new_key(native)
            got = HostKey(key, None, self._providers.native.check(native, key))
        except InvalidState as error:
            await self._inventory.commit(events=[events.generate_failed(native.name, str(error))])
            return KeyUnavailableReason.NOT_ACTIVE_OR_ENABLED
        await self._note(row, got, self._scope(row).generation + 1, old, reason)
        return got

    async def _note(
        self,
        row: HostRow,
        got: HostKey,
        generation: int,
        old: CryptoKeyId | None = None,
        reason: KeyUnavailableReason | None = None,
    ) -> None:
        drafts = []
        if old is not None and reason is not None:
            drafts.append(events.host_key_renewed(row.name, old, got.key, reason))
        fields = self._record(
            row, host_key=got.key, host_key_check=got.check, generation=generation
        )
        await self._inventory.commit(fields, events=drafts)
        self._node.record("hostkey.created", scope=self._scope_name(row), key=str(got.key))

    # ---- scope (HEM-06) -------------------------------------------------------------------------

    def _has_own(self, row: HostRow) -> bool:
        """Whether the host has a key of its own: an administrator chose one, or the knob asks for
        it, unless the policy of its cluster names the key for all."""
        now = self._inventory.hosts.get(row.name, row)
        if now.host_key is not None:
            return True
        named = self._inventory.clusters[row.cluster].policy.key
        return named is None and self._node.knobs.host_key_scope == "host"

    def _scope_name(self, row: HostRow) -> str:
        return f"host/{row.name}" if self._has_own(row) else f"cluster/{row.cluster}"

    def _scope(self, row: HostRow) -> HostRow | ClusterRow:
        """The row that records the host key."""
        if self._has_own(row):
            return self._inventory.hosts.get(row.name, row)
        return self._inventory.clusters[row.cluster]

    def _record(self, row: HostRow, **fields: object) -> Edit:
        if self._has_own(row):
            return change_host(row.name, **fields)
        return change_cluster(row.cluster, **fields)


_PENDING = HostCryptoState.PENDING_INCAPABLE
