"""What came of a pass of step B8, and what is told of it: marks on VMs, and events.

Decided in ``judgement``, pure; here it is committed, a mark and its event in one transaction.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass, field

from protocol.errors import NotAvailable, ProductError
from protocol.terms import CryptoKeyId, KeyUnavailableReason
from services.vcenter.events import Draft, host_send_error
from services.vcenter.hosts.judgement import Denied, mark_changes, send_errors
from services.vcenter.hosts.once_per_boot import OncePerBoot
from services.vcenter.hosts.session import HostSession
from services.vcenter.inventory import Inventory
from services.vcenter.knobs import VcenterNode
from services.vcenter.tables import VmRow


@dataclass
class PassResult:
    """What came of a pass. ``unsafe``: why the host key cannot be had. ``denied``: keys that the
    host lacks and cannot be given; ``withheld``: those of them that no task gave to its cluster
    (C28). ``not_available``: what it needed is not built. ``unanswered``: why it is not known
    whether the host took the list of providers.
    """

    unsafe: KeyUnavailableReason | None = None
    denied: dict[CryptoKeyId, KeyUnavailableReason] = field(default_factory=dict)
    withheld: tuple[CryptoKeyId, ...] = ()
    not_available: NotAvailable | None = None
    unanswered: ProductError | None = None

    def refuse(self, keys: Iterable[CryptoKeyId]) -> None:
        """The host's mode does not let it take these."""
        self.denied.update(dict.fromkeys(keys, KeyUnavailableReason.MISSING_IN_CACHE))

    def withhold(self, keys: tuple[CryptoKeyId, ...]) -> None:
        """No task gave these to the host's cluster."""
        self.refuse(keys)
        self.withheld = keys


class PassTelling:
    """Commits what a pass has to tell."""

    def __init__(self, node: VcenterNode, inventory: Inventory, once: OncePerBoot) -> None:
        self._node, self._inventory, self._once = node, inventory, once

    async def denied(self, session: HostSession, result: PassResult) -> None:
        """``SendKeyError``, once per boot of the host, provider and cause; of keys that are
        withheld, once for each VM of the host."""
        here = {key for row in self._inventory.vms_on(session.host) for key in row.keys}
        drafts = [
            draft
            for draft in send_errors(session.host, result.denied, here, result.unsafe)
            if self._once.first(session.host, session.boot, f"{draft.provider}", draft.event)
        ]
        drafts += self._withheld(session, frozenset(result.withheld))
        if drafts:
            await self._inventory.commit(events=drafts)

    def _withheld(self, session: HostSession, keys: Collection[CryptoKeyId]) -> list[Draft]:
        drafts: list[Draft] = []
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
        """Marks and events of one host's VMs, in one transaction."""
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
