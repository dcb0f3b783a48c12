"""Step B8: bring one host to what the inventory says, in the order of the documents.

1. ask the host's view          2. the list of key providers, if it differs (STD-10)
3. the host key, first (STD-14) 4. take away keys of providers deleted long ago (C4)
5. keys of all encrypted VMs of the cluster that its cache lacks (STD-12)
6. judge the locks of its VMs

The same pass runs when a host connects, at each reconcile, when a host reports missing keys and
when host encryption is re-enabled; it changes only what differs. Key values live in the local
variables of ``_supply`` and ``share`` and end with them (STD-15, A09).
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from typing import assert_never

from protocol.errors import ProductError
from protocol.messages.base import Sealed
from protocol.messages.host import (
    AddKeys,
    GetCryptoKeyStatus,
    HostSummary,
    ProviderRef,
    RemoveKeys,
    SetProviders,
)
from protocol.secret import KeyMaterial
from protocol.terms import (
    CryptoKeyId,
    HostCryptoState,
    KeyUnavailableReason,
    PowerState,
    ProtectionMode,
    ProviderId,
    VmName,
)
from services.runtime.ports import Clock
from services.vcenter import events
from services.vcenter.config import VcenterConfig
from services.vcenter.connection import UNANSWERED, HostLink
from services.vcenter.hostkey import HostKeys
from services.vcenter.inventory import Edit, Inventory, change_host, change_vm
from services.vcenter.knobs import VcenterNode
from services.vcenter.locks import Keep, Lock, Unlock, VmFacts, decide
from services.vcenter.providers import Providers
from services.vcenter.rows import VmRow

Denied = dict[CryptoKeyId, KeyUnavailableReason]

_SILENT = KeyUnavailableReason.CLUSTER_UNREACHABLE  # waited for once; not again in this pass

STATUS_PER_REQUEST = 1000  # keeps a reply under the size limit of messages


class Push:
    """Passes over hosts; ``config.push_concurrency`` of them at the same time (BOOT-03)."""

    def __init__(
        self,
        node: VcenterNode,
        clock: Clock,
        config: VcenterConfig,
        inventory: Inventory,
        providers: Providers,
        hostkeys: HostKeys,
    ) -> None:
        self._node, self._clock, self._config = node, clock, config
        self._inventory, self._providers, self._hostkeys = inventory, providers, hostkeys
        self._slots = asyncio.Semaphore(config.push_concurrency)

    # ---- occasions --------------------------------------------------------------------------

    async def make_good(self, link: HostLink) -> None:
        """A pass by vCenter itself; what a host does not answer is tried again."""
        try:
            await self.run(link, fresh=False, may_unlock=self._node.knobs.auto_unlock)
        except ProductError as error:
            link.incomplete = True
            self._node.record(
                "push.incomplete", level="warning", host=link.host, error=type(error).__name__
            )

    async def run(
        self, link: HostLink, *, fresh: bool, may_unlock: bool, needed: bool = False
    ) -> KeyUnavailableReason | None:
        """One pass; None, or why the host cannot be made safe. Raises what the host answers."""
        async with link.turn, self._slots:
            link.incomplete = False
            summary = await link.view()
            row = self._inventory.hosts.get(link.host)
            if row is None:
                return None
            await self._set_providers(link, summary)
            await self._note_recovery_key(link, summary)
            keys = self._inventory.keys_of(row.cluster)
            reason = await self._make_safe(link, needed=needed or bool(keys), fresh=fresh)
            absent = await self._absent(link, keys)
            absent += await self._evict(link, [key for key in keys if key not in set(absent)])
            denied = await self._supply(link, absent, fresh=fresh and reason is not _SILENT)
            if reason is None:  # else the host's own event tells the story
                await self._tell_denied(link, denied)
            await self._judge(
                link, self._inventory.vms_on(link.host), absent, denied, may_unlock=may_unlock
            )
            return reason

    async def restore(self, link: HostLink, vm: VmName, *, may_unlock: bool) -> None:
        """Do for one VM what a person asks now: its host safe, its keys there, its lock judged."""
        async with link.turn:
            row = self._inventory.vms.get(vm)
            if row is None:
                return
            reason = None
            if link.summary is not None and link.summary.crypto_state is not HostCryptoState.SAFE:
                reason = await self._make_safe(link, needed=True, fresh=True)
            absent = await self._absent(link, row.keys)
            denied = await self._supply(link, absent, fresh=reason is not _SILENT)
            row = self._inventory.vms.get(vm)
            if row is not None:
                await self._judge(link, [row], absent, denied, may_unlock=may_unlock)

    async def share(self, link: HostLink, key: CryptoKeyId, material: KeyMaterial) -> None:
        """A new key for one more host of the cluster; in the background, nobody waits (STD-12)."""
        try:
            refused = await self._deliver(link, [(key, material)])
        except ProductError:
            link.incomplete = True
            return
        if refused:
            link.want_pass()

    # ---- steps ------------------------------------------------------------------------------

    async def _set_providers(self, link: HostLink, summary: HostSummary) -> None:
        wanted = tuple(
            ProviderRef(provider_id=row.name, management_type=row.management_type)
            for row in self._inventory.providers.values()
        )
        if summary.providers != wanted:
            await link.command(SetProviders(providers=wanted))

    async def _make_safe(
        self, link: HostLink, *, needed: bool, fresh: bool
    ) -> KeyUnavailableReason | None:
        """As ``HostKeys.make_safe``; a host that refuses does not end the pass."""
        try:
            return await self._hostkeys.make_safe(link, needed=needed, fresh=fresh)
        except UNANSWERED:
            raise
        except ProductError as error:
            await self._tell_refused(link, (), str(error))
            return KeyUnavailableReason.MISSING_IN_CACHE

    async def _tell_refused(self, link: HostLink, keys: tuple[CryptoKeyId, ...], why: str) -> None:
        """``SendKeyError.HostError``, once per boot of the host."""
        if "send" not in link.told:
            link.told.add("send")
            await self._inventory.commit(events=[events.host_send_error(link.host, keys, why)])

    async def _note_recovery_key(self, link: HostLink, summary: HostSummary) -> None:
        """HostTpmConfigEncryptionEvent: once per recovery key of the host."""
        row = self._inventory.hosts.get(link.host)
        if row is None or summary.protection_mode is not ProtectionMode.TPM:
            return
        if summary.recovery_id and summary.recovery_id != row.recovery_id:
            await self._inventory.commit(
                change_host(row.name, recovery_id=summary.recovery_id),
                events=[events.tpm_encryption(row.name, summary.recovery_id)],
            )

    async def _absent(self, link: HostLink, keys: Sequence[CryptoKeyId]) -> list[CryptoKeyId]:
        """Those of ``keys`` that are not in the host's cache, in their order."""
        absent: list[CryptoKeyId] = []
        for part in _parts(keys, STATUS_PER_REQUEST):
            status = await link.ask(GetCryptoKeyStatus(keys=tuple(part)))
            present = {entry.key for entry in status.keys if entry.present}
            absent += [key for key in part if key not in present]
        return absent

    async def _evict(self, link: HostLink, present: Iterable[CryptoKeyId]) -> list[CryptoKeyId]:
        """C4, DEL-02: after the grace the keys of a deleted provider leave cache and store.

        Host keys stay: the host uses its own until it changes or reboots.
        """
        if not self._node.knobs.evict_on_provider_delete:
            return []
        now = self._clock.monotonic()
        grace = self._node.knobs.provider_delete_grace_s
        gone = {
            row.name
            for row in self._inventory.deleted.values()
            if not now - grace < row.at <= now  # a time to come is of a lab that began anew
        }
        leaving = [key for key in present if key.provider_id in gone]
        for provider, keys in _by_provider(leaving).items():
            for part in _parts(keys, self._config.push_batch):
                await link.command(RemoveKeys(keys=tuple(part)))
            self._node.record("push.evicted", host=link.host, provider=provider, count=len(keys))
        return leaving

    async def _supply(
        self, link: HostLink, absent: Sequence[CryptoKeyId], *, fresh: bool
    ) -> Denied:
        """Fetch and deliver; what cannot be had or is not taken, with the reason."""
        denied: Denied = {}
        for provider, keys in _by_provider(absent).items():
            for part in _parts(keys, self._config.push_batch):
                bundle = await self._providers.fetch(provider, part, fresh=fresh)
                denied.update(bundle.denied)
                if bundle.values:
                    denied.update(await self._deliver(link, bundle.values))
        return denied

    async def _deliver(
        self, link: HostLink, values: Sequence[tuple[CryptoKeyId, KeyMaterial]]
    ) -> Denied:
        """AddKeys; a key it has already is no change (KP-17). Raises when it does not answer."""
        keys = tuple(key for key, _ in values)
        message = AddKeys(keys=keys, material=Sealed.of(*(value for _, value in values)))
        try:
            added = await link.command(message)
        except UNANSWERED:
            raise
        except ProductError as error:
            refused, why = keys, str(error)
        else:
            results = [r for r in added.results if not r.success and r.fault != "AlreadyExists"]
            refused = tuple(result.key for result in results)
            why = results[0].reason or results[0].fault if results else ""
        self._node.record(
            "push.keys",
            host=link.host,
            provider=keys[0].provider_id,
            count=len(keys) - len(refused),
            refused=len(refused),
        )
        if refused:
            await self._tell_refused(link, refused, why)
        return dict.fromkeys(refused, KeyUnavailableReason.MISSING_IN_CACHE)

    async def _tell_denied(self, link: HostLink, denied: Denied) -> None:
        """``SendKeyError`` for keys that no VM of this host is locked for; once per boot."""
        here = {key for row in self._inventory.vms_on(link.host) for key in row.keys}
        drafts: list[events.Draft] = []
        for provider, keys in _by_provider(key for key in denied if key not in here).items():
            for reason in KeyUnavailableReason:
                these = tuple(key for key in keys if denied[key] is reason)
                if not these or reason is KeyUnavailableReason.MISSING_IN_CACHE:
                    continue  # the host's own refusal has an event of its own
                draft = events.send_error(link.host, provider, these, reason)
                if f"{provider}:{draft.event}" not in link.told:
                    link.told.add(f"{provider}:{draft.event}")
                    drafts.append(draft)
        if drafts:
            await self._inventory.commit(events=drafts)

    async def _judge(
        self,
        link: HostLink,
        rows: Iterable[VmRow],
        absent: Sequence[CryptoKeyId],
        denied: Mapping[CryptoKeyId, KeyUnavailableReason],
        *,
        may_unlock: bool,
    ) -> None:
        """Marks and events of one host's VMs, in one transaction."""
        edits: list[Edit] = []
        drafts: list[events.Draft] = []
        # What was absent and is not denied has been delivered.
        lacking = frozenset(key for key in absent if key in denied)
        for row in rows:
            decision = decide(
                VmFacts(
                    keys=row.keys,
                    running=row.power is PowerState.ON,
                    connected=link.session is not None and row.host == link.host,
                    absent=lacking,
                    denied=denied,
                    mark=row.lock_event,
                    marked_missing=row.missing,
                    may_unlock=may_unlock,
                )
            )
            match decision:
                case Keep():
                    continue
                case Lock(event, missing, reason):
                    edits.append(change_vm(row.name, lock_event=event, missing=missing))
                    drafts.append(events.vm_locked(row.name, link.host, event, missing, reason))
                case Unlock():
                    edits.append(change_vm(row.name, lock_event=None, missing=()))
                    drafts.append(events.vm_unlocked(row.name, link.host))
                case _:
                    assert_never(decision)
            self._node.record(
                "vm.unlocked" if isinstance(decision, Unlock) else "vm.locked",
                vm=row.name,
                host=link.host,
                event=drafts[-1].event.value,
                keys=[str(key) for key in drafts[-1].keys],
            )
        if edits:
            await self._inventory.commit(*edits, events=drafts)


def _by_provider(keys: Iterable[CryptoKeyId]) -> dict[ProviderId, list[CryptoKeyId]]:
    """In order of first appearance."""
    found: dict[ProviderId, list[CryptoKeyId]] = {}
    for key in keys:
        found.setdefault(key.provider_id, []).append(key)
    return found


def _parts(keys: Sequence[CryptoKeyId], size: int) -> list[Sequence[CryptoKeyId]]:
    return [keys[start : start + size] for start in range(0, len(keys), size)]
