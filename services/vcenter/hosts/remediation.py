"""Step B8: make a host match the inventory, in the order of the documents.

One pass: *look* (the host's view), *plan* (``plan``, pure), *carry out* (commands to the host, keys
from their providers); then the same for its keys, which are queried when its mode is reached;
*judge* the locks of its VMs (``plan``, pure), *commit* marks and events at once. A pass belongs to
one session; a reconnected host has a new pass. It runs when a host connects, at each
reconciliation, when keys are missing and when its mode is enabled. An error with one key does not
affect the others.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Protocol, assert_never

from protocol.errors import HostUnreachable, NotAvailable, ProductError
from protocol.messages.host.session import ProviderRef
from protocol.terms import (
    CryptoKeyId,
    KeyUnavailableReason,
    NodeName,
    ProviderId,
    VmName,
)
from services.runtime.ports import Clock
from services.vcenter import events
from services.vcenter.config import VcenterConfig
from services.vcenter.events import EventDraft, OncePerBoot, host_send_error
from services.vcenter.hosts.availability import HaConfigurations
from services.vcenter.hosts.host_key import HostKeys
from services.vcenter.hosts.key_delivery import HeldKeys, KeyDelivery
from services.vcenter.hosts.mode import is_safe, takes_keys
from services.vcenter.hosts.pass_queue import PassOrder, PassQueue
from services.vcenter.hosts.plan import (
    Action,
    Denied,
    Evict,
    NoteDisabled,
    NoteRecoveryKey,
    PlannedHostFacts,
    PlannedKeyFacts,
    ReachMode,
    SetProviderList,
    Supply,
    TakeAway,
    find_expired_providers,
    keys_refused_by_mode,
    keys_removed_by,
    mark_changes,
    not_granted,
    plan_host,
    plan_keys,
    send_errors,
)
from services.vcenter.hosts.session import UNANSWERED, HostSession
from services.vcenter.hosts.sessions import HostSessions
from services.vcenter.inventory import Inventory, change_host
from services.vcenter.knobs import VcenterNode
from services.vcenter.providers.capabilities import of_provider
from services.vcenter.providers.native import references
from services.vcenter.tables import VmRow


class Remediation:
    """Passes over hosts; ``config.passes_at_once`` of them at the same time (BOOT-03)."""

    def __init__(
        self,
        node: VcenterNode,
        clock: Clock,
        config: VcenterConfig,
        inventory: Inventory,
        sessions: HostSessions,
        passes: PassQueue,
        host_keys: HostKeys,
        delivery: KeyDelivery,
        once: OncePerBoot,
        held: HeldKeys,
        trust: HostTrust,
        availability: HaConfigurations,
    ) -> None:
        self._held, self._trust, self._availability = held, trust, availability
        self._node, self._clock, self._config = node, clock, config
        self._inventory, self._sessions, self._passes = inventory, sessions, passes
        self._host_keys, self._delivery = host_keys, delivery
        self._reports = PassTelling(node, inventory, once)
        self._working: dict[NodeName, asyncio.Lock] = {}  # one pass over a host at a time

    # ---- occasions --------------------------------------------------------------------------

    def start(self) -> None:
        """Make the requested passes from now on."""
        for number in range(self._config.passes_at_once):
            self._node.background(f"remediation:{number}", self._serve())

    async def _serve(self) -> None:
        while True:
            order = await self._passes.take()
            self._held.pass_begins(order.host)
            whole = await self._remedy(order)
            self._held.pass_ends(order.host)
            self._passes.end_pass(order.host, whole=whole)

    async def _remedy(self, order: PassOrder) -> bool:
        """A pass by vCenter itself; returns whether it was complete. Otherwise it is tried
        again."""
        session = self._sessions.find_connected(order.host)
        if session is None:
            return False  # a pass comes with its next session
        try:
            await self.run(
                session,
                look=order.look,
                fresh=False,
                may_unlock=self._node.knobs.auto_unlock,
                removing=order.removing,
            )
        except ProductError as error:
            self._node.record(
                "remediation.incomplete",
                level="warning",
                host=order.host,
                error=type(error).__name__,
            )
            if isinstance(error, NotAvailable) or order.host not in self._inventory.hosts:
                return True  # repeating would not help
            self._passes.cut_short(order.host)
            return False
        return True

    async def run(
        self,
        session: HostSession,
        *,
        fresh: bool,
        may_unlock: bool,
        look: bool = True,
        requested: bool = False,
        removing: bool = False,
    ) -> KeyUnavailableReason | None:
        """One pass; returns None, or why the host cannot be made safe. Raises the host's errors.

        ``look``: request the host's view first. ``fresh``: ask providers that have just been
        silent. ``may_unlock``: whether this occasion removes marks. ``requested``: an administrator
        asks for the host's mode, also when its cluster has no encrypted VM. ``removing``: also
        remove keys that it should not have.
        """
        async with self._alone(session.host):
            self._passes.begin_pass(session.host)
            name, result = session.name, PassResult()
            facts = await self._look(session, look=look, requested=requested)
            if facts is None:
                return None
            await self._availability.hand_out(session)
            await self._trust.see(session)
            await self._carry_out(session, name, plan_host(facts), result, fresh=fresh)
            await self._host_keys.report_safe(session)
            key_facts = await self._look_for_keys(session, removing=removing)
            absent, actions = key_facts.absent, plan_keys(key_facts)
            result.refuse(keys_refused_by_mode(key_facts))
            result.withhold(not_granted(key_facts))
            await self._carry_out(session, name, actions, result, fresh=fresh)
            if keys_removed_by(actions):
                await session.look()  # to see what its VMs lack now
            result.denied.update(lost := not_had(session, self._inventory, self._trust))
            await self._reports.report_denied(session, result)
            rows = self._inventory.vms_on(session.host)
            lacking = absent | keys_removed_by(actions) | lost.keys()
            await self._reports.marks(session, rows, lacking, result.denied, may_unlock=may_unlock)
            if result.not_available is not None:
                raise result.not_available
            if result.unanswered is not None:
                raise result.unanswered
            return result.unsafe

    async def restore(self, session: HostSession, vm: VmName, *, may_unlock: bool) -> None:
        """Do for one VM what a user requests now: make its host safe, deliver its keys, judge its
        lock."""
        async with self._alone(session.host):
            row = self._inventory.vms.get(vm)
            if row is None:
                return
            name, result = session.name, PassResult()
            host = self._inventory.hosts.get(session.host)
            await self._hand_out_providers(session)  # before the mode: a host key may need its KDK
            wanted = host is not None and self._inventory.wants_safe(host)
            if wanted and not is_safe(session.summary):
                safe = ReachMode(needed=True)
                await self._carry_out(session, name, [safe], result, fresh=True)
            lost = not_had(session, self._inventory, self._trust)
            result.denied.update(lost)
            absent = await self._bring(session, name, row.keys, result)
            row = self._inventory.vms.get(vm)
            if row is not None:
                lacking = absent | lost.keys()
                await self._reports.marks(
                    session, [row], lacking, result.denied, may_unlock=may_unlock
                )

    async def provide(
        self, session: HostSession, keys: tuple[CryptoKeyId, ...], *, vouched: bool = False
    ) -> dict[CryptoKeyId, KeyUnavailableReason]:
        """Deliver ``keys`` that a VM brings with it to the host; returns those not available, and
        why.

        Keys that it has are not fetched, and nothing is judged or marked. ``vouched``: another
        vCenter gives the keys to this host's cluster (MOB-07); otherwise they are granted already.
        """
        async with self._alone(session.host):
            name, result = session.name, PassResult()
            await self._hand_out_providers(session)
            await self._bring(session, name, keys, result, vouched=vouched)
            return result.denied

    async def _bring(
        self,
        session: HostSession,
        name: str,
        keys: tuple[CryptoKeyId, ...],
        result: PassResult,
        *,
        vouched: bool = False,
    ) -> frozenset[CryptoKeyId]:
        """Fetch and push those of ``keys`` that the host lacks; returns these."""
        absent = await self._delivery.absent(session, keys)
        facts = PlannedKeyFacts(
            keys,
            absent,
            (),
            (),
            self._inventory.lock_types(),
            takes_keys=takes_keys(session.summary),
            granted=frozenset(keys) if vouched else self._filter_granted(session.host, absent),
        )
        result.refuse(keys_refused_by_mode(facts))
        result.withhold(not_granted(facts))
        await self._carry_out(session, name, plan_keys(facts), result, fresh=True)
        return absent

    def _filter_granted(
        self, host: NodeName, keys: Iterable[CryptoKeyId]
    ) -> frozenset[CryptoKeyId]:
        """Those of ``keys`` that the host may get (C28)."""
        if self._node.knobs.believe_reports_of_other_clusters:
            return frozenset(keys)
        row = self._inventory.hosts.get(host)
        if row is None:
            return frozenset()
        return frozenset(key for key in keys if self._inventory.is_granted(row.cluster, key))

    async def hand_out_providers(self, session: HostSession) -> None:
        """Send the host the present list of providers, for a task that needs one there."""
        async with self._alone(session.host):
            await self._hand_out_providers(session)

    async def _hand_out_providers(self, session: HostSession) -> None:
        summary = session.summary
        if summary is None:
            return
        wanted = references(self._inventory.providers.values(), summary)
        if summary.providers != wanted or self._delivery.lacks_kdk(summary):
            if (lost := await self._set_providers(session, wanted)) is not None:
                raise lost

    async def make_safe(
        self, session: HostSession, *, fallback: ProviderId
    ) -> KeyUnavailableReason | None:
        """HEM-01: make this host safe for a task; returns None, or why its host key is not
        available.

        ``fallback`` makes the very first host key if there is no default provider.
        """
        async with self._alone(session.host):
            return await self._host_keys.make_safe(
                session, needed=True, fresh=True, fallback=fallback
            )

    async def disable(self, session: HostSession) -> None:
        """Disable the host's mode, and do not enable it again without a request (HEM-02,
        HEM-03)."""
        async with self._alone(session.host):
            row = self._inventory.hosts.get(session.host)
            before = row is not None and row.kept_off
            await self._inventory.commit(change_host(session.host, kept_off=True))
            try:
                await self._host_keys.disable(session)
            except ProductError:
                await self._inventory.commit(change_host(session.host, kept_off=before))
                raise

    def forget(self, host: NodeName) -> None:
        """The host left the inventory; a pass in progress ends by itself."""
        self._working.pop(host, None)

    def _alone(self, host: NodeName) -> asyncio.Lock:
        return self._working.setdefault(host, asyncio.Lock())

    # ---- look -------------------------------------------------------------------------------

    async def _look(
        self, session: HostSession, *, look: bool, requested: bool
    ) -> PlannedHostFacts | None:
        """The facts for the plan; None when the host has left the inventory."""
        summary = None if look or not session.view.is_current else session.summary
        if summary is None:
            summary = await session.look()
        row = self._inventory.hosts.get(session.host)
        if row is None:
            return None
        return PlannedHostFacts(
            summary=summary,
            row=row,
            providers=tuple(self._inventory.providers.values()),
            host_key=self._host_keys.find_host_key(row),
            needed=requested or self._inventory.wants_safe(row),
            requested=requested,
            lacks_kdk=self._delivery.lacks_kdk(summary),
        )

    async def _look_for_keys(self, session: HostSession, *, removing: bool) -> PlannedKeyFacts:
        """The facts for the plan of the keys of the host's cluster."""
        row, knobs = self._inventory.hosts.get(session.host), self._node.knobs
        keys = () if row is None else self._inventory.keys_of(row.cluster)
        absent = await self._delivery.absent(session, keys)
        expired = find_expired_providers(
            self._inventory.deleted.values() if knobs.evict_on_provider_delete and removing else (),
            session.host,
            self._clock.monotonic(),
            knobs.provider_delete_grace_s,
        )
        released = self._inventory.keys_released_on(session.host) if removing else ()
        types = self._inventory.lock_types()
        return PlannedKeyFacts(
            keys,
            absent,
            expired,
            released,
            types,
            takes_keys=takes_keys(session.summary),
            forgotten=frozenset(self._inventory.index.forgotten),
            granted=self._filter_granted(session.host, keys if released or expired else absent),
        )

    # ---- carry out --------------------------------------------------------------------------

    async def _carry_out(
        self,
        session: HostSession,
        name: str,
        actions: Sequence[Action],
        result: PassResult,
        *,
        fresh: bool,
    ) -> None:
        """Execute the actions in order, in the session of that name, and note the outcome in
        ``result``.

        Raises only when the host does not answer, or has a new session.
        """
        for action in actions:
            self._check_session(session, name)
            match action:
                case SetProviderList(providers):
                    result.unanswered = await self._set_providers(session, providers)
                case NoteRecoveryKey(recovery_id):
                    await self._note_recovery_key(session.host, recovery_id)
                case NoteDisabled():
                    await self._inventory.commit(change_host(session.host, kept_off=True))
                case ReachMode():
                    await self._reach_mode(session, action, result, fresh=fresh)
                case Evict(provider, _):
                    await self._delivery.evict(session, provider)
                case TakeAway(keys):
                    await self._delivery.take_away(session, keys)
                case Supply(provider, keys):
                    # A silent provider of the host key was waited for once; not again in this pass.
                    again = fresh and result.unsafe is not KeyUnavailableReason.CLUSTER_UNREACHABLE
                    denied = await self._delivery.supply(session, provider, keys, fresh=again)
                    result.denied.update(denied)
                case _:
                    assert_never(action)
        self._check_session(session, name)

    def _check_session(self, session: HostSession, name: str) -> None:
        """``HostUnreachable`` when the session of the pass is over: the facts are of an earlier
        life."""
        if not name or session.name != name:
            raise HostUnreachable(f"{session.host} is not connected as when its pass began")

    async def _set_providers(
        self, session: HostSession, providers: tuple[ProviderRef, ...]
    ) -> ProductError | None:
        """STD-10; a host that refuses the list gets its keys all the same.

        When the answer is lost but the host can be seen, its pass continues and ends in the
        returned error: vCenter cannot supply a KDK that does not reach it (LOCK-01).
        """
        try:
            await self._delivery.set_providers(session, providers)
        except UNANSWERED as error:
            await session.look()
            self._node.record(
                "providers.unanswered", level="warning", host=session.host, reason=str(error)
            )
            return error
        except ProductError as error:
            self._node.record(
                "providers.refused", level="warning", host=session.host, reason=str(error)
            )
            return None
        await session.look()  # the keys that it can derive have changed
        return None

    async def _note_recovery_key(self, host: NodeName, recovery_id: str) -> None:
        """HostTpmConfigEncryptionEvent: once per recovery key of the host (REC-03)."""
        await self._inventory.commit(
            change_host(host, recovery_id=recovery_id),
            events=[events.tpm_encryption(host, recovery_id)] if recovery_id else [],
        )

    async def _reach_mode(
        self, session: HostSession, wish: ReachMode, result: PassResult, *, fresh: bool
    ) -> None:
        """As ``HostKeys.make_safe``; a refusal of the host does not end the pass."""
        try:
            result.unsafe = await self._host_keys.make_safe(
                session, needed=wish.needed, requested=wish.requested, fresh=fresh
            )
        except UNANSWERED:
            raise
        except NotAvailable as error:
            result.not_available = error
            self._node.record("host.unsafe", level="warning", host=session.host, reason=str(error))
        except ProductError as error:
            await self._delivery.report_refused(session, (), str(error))
            result.unsafe = KeyUnavailableReason.MISSING_IN_CACHE


# ---- trusted hosts -------------------------------------------------------------------------------


class HostTrust(Protocol):
    """The part of a pass for trusted hosts (``services.vcenter.trust``)."""

    async def see(self, session: HostSession) -> None:
        """Report what is new about the host, and update it."""
        ...

    def reason(self, session: HostSession, key: CryptoKeyId) -> KeyUnavailableReason:
        """Why the host does not have the key of a trusted provider."""
        ...


def not_had(
    session: HostSession, inventory: Inventory, trust: HostTrust
) -> dict[CryptoKeyId, KeyUnavailableReason]:
    """Keys that hosts derive or fetch (also of deleted providers), that VMs need there and the host
    reports as missing; each with the reason."""
    types, summary = inventory.lock_types(), session.summary
    found: dict[CryptoKeyId, KeyUnavailableReason] = {}
    for key in [key for vm in (() if summary is None else summary.vms) for key in vm.missing]:
        can = of_provider(types, key.provider_id)
        if can.fetched:
            found[key] = trust.reason(session, key)
        elif can.derived:
            found[key] = (
                KeyUnavailableReason.MISSING_IN_CACHE
                if key.provider_id in inventory.providers
                else KeyUnavailableReason.CLUSTER_INVALID
            )
    return found


# ---- outcome of a pass ---------------------------------------------------------------------------


@dataclass
class PassResult:
    """The outcome of a pass. ``unsafe``: why the host key is not available. ``denied``: keys that
    the host lacks and cannot be given; ``withheld``: those of them that no task granted to its
    cluster (C28). ``not_available``: a needed feature is not built. ``unanswered``: why it is
    unknown whether the host took the list of providers."""

    unsafe: KeyUnavailableReason | None = None
    denied: dict[CryptoKeyId, KeyUnavailableReason] = field(default_factory=dict)
    withheld: tuple[CryptoKeyId, ...] = ()
    not_available: NotAvailable | None = None
    unanswered: ProductError | None = None

    def refuse(self, keys: Iterable[CryptoKeyId]) -> None:
        """The host's mode does not accept these keys."""
        self.denied.update(dict.fromkeys(keys, KeyUnavailableReason.MISSING_IN_CACHE))

    def withhold(self, keys: tuple[CryptoKeyId, ...]) -> None:
        """No task granted these keys to the host's cluster."""
        self.refuse(keys)
        self.withheld = keys


class PassTelling:
    """Commits the outcome of a pass."""

    def __init__(self, node: VcenterNode, inventory: Inventory, once: OncePerBoot) -> None:
        self._node, self._inventory, self._once = node, inventory, once

    async def report_denied(self, session: HostSession, result: PassResult) -> None:
        """Post ``SendKeyError``, once per boot of the host, provider and cause; for withheld keys,
        once for each VM of the host."""
        here = {key for row in self._inventory.vms_on(session.host) for key in row.keys}
        drafts = [
            draft
            for draft in send_errors(session.host, result.denied, here, result.unsafe)
            if self._once.first(session.host, session.boot, f"{draft.provider}", draft.event)
        ]
        drafts += self._withheld(session, frozenset(result.withheld))
        if drafts:
            await self._inventory.commit(events=drafts)

    def _withheld(self, session: HostSession, keys: Collection[CryptoKeyId]) -> list[EventDraft]:
        drafts: list[EventDraft] = []
        for row in self._inventory.vms_on(session.host) if keys else ():
            named = tuple(key for key in row.keys if key in keys)
            if named and self._once.first(session.host, session.boot, "withheld", row.name):
                why = f"cluster {row.cluster} was not given the keys that it names for {row.name}"
                drafts.append(host_send_error(session.host, named, why))
        return drafts

    async def marks(
        self,
        session: HostSession,
        rows: Iterable[VmRow],
        lacking: Collection[CryptoKeyId],
        denied: Denied,
        *,
        may_unlock: bool,
    ) -> None:
        """Commit marks and events of one host's VMs, in one transaction."""
        changes = mark_changes(
            session.host,
            rows,
            [key for key in lacking if key in denied],  # the others have been delivered
            denied,
            self._inventory.lock_types(),
            connected=session.connected,
            may_unlock=may_unlock,
        )
        for change in changes:
            self._node.record(
                "vm.locked" if change.locked else "vm.unlocked",
                vm=change.vm,
                host=session.host,
                event=change.draft.event.value,
                keys=[str(key) for key in change.draft.keys],
            )
        if changes:
            await self._inventory.commit(
                *(change.edit for change in changes), events=[change.draft for change in changes]
            )
