"""Bugs of vCenter: how it makes hosts safe, brings keys and marks VMs."""

from __future__ import annotations

import asyncio
import dataclasses
from contextlib import nullcontext
from typing import Any

from protocol.messages.host.vms import HostPowerOnVm
from protocol.terms import HostCryptoState, KeyUnavailableReason
from services.vcenter import locks
from services.vcenter.hosts import host_reports, plan, remediation, sessions
from services.vcenter.hosts.host_key import HostKeys
from services.vcenter.hosts.key_delivery import KeyDelivery, KeySharing
from services.vcenter.hosts.pass_queue import PassQueue
from services.vcenter.hosts.remediation import PassTelling
from services.vcenter.hosts.sessions import Reconciliation
from tests.mutations.bugs.planting import plant, replaces


def empty_host_left_alone() -> None:
    """HEM-02 broken: a host that has lost its configuration in a reboot is not made safe again."""

    @replaces(HostKeys, "make_safe")
    async def make_safe(original: Any, self: Any, session: Any, **how: Any) -> Any:
        summary = session.summary
        empty = summary is not None and summary.crypto_state is HostCryptoState.INCAPABLE
        return None if empty and session.boot > 1 else await original(self, session, **how)


def host_key_renewed_anyway() -> None:
    """HEM-07 broken: a host key that cannot be had is made anew with any provider."""

    @replaces(HostKeys, "_renewing_provider")
    def renewing_provider(original: Any, self: Any, row: Any) -> Any:
        return original(self, row) or next(iter(self._inventory.providers), None)

    @replaces(HostKeys, "_make")
    async def make(
        original: Any, self: Any, row: Any, *facts: Any, fresh: bool, fallback: Any
    ) -> Any:
        chosen = fallback or self._renewing_provider(row)
        return await original(self, row, *facts, fresh=fresh, fallback=chosen)


def locks_running_vm() -> None:
    """LOCK-04 broken: a VM that runs is judged as if it did not."""

    @replaces(plan, "decide")
    @replaces(locks, "decide")
    def decide(original: Any, facts: Any) -> Any:
        return original(dataclasses.replace(facts, running=False))


def marks_before_it_tries() -> None:
    """LOCK-01 broken: a VM is marked for a key that vCenter can supply."""

    _REASON = KeyUnavailableReason.CLUSTER_UNREACHABLE

    @replaces(PassTelling, "marks")
    async def marks(
        original: Any, self: Any, session: Any, rows: Any, lacking: Any, denied: Any, **how: Any
    ) -> None:
        refused = {**dict.fromkeys(lacking, _REASON), **denied}
        await original(self, session, rows, lacking, refused, **how)


def new_key_for_one_host() -> None:
    """STD-12 broken: a new key goes to the host in charge; the others get it at a pass."""

    plant(KeySharing, "give", lambda original: lambda self, *key, **how: None)


def newer_keys_not_learned() -> None:
    """LOCK-01 broken: vCenter records a VM's keys once, and never learns those that came since."""

    @replaces(host_reports, "_keys_of")
    def keys_of(original: Any, row: Any, vm: Any, hosts: Any) -> Any:
        return original(row, vm, hosts) if row.recrypting or not row.keys else ()


def no_eviction() -> None:
    """C4 broken: keys of a provider that was deleted long ago stay on the hosts."""

    @replaces(remediation, "find_expired_providers")
    def expired_providers(original: Any, *facts: Any) -> tuple[Any, ...]:
        return ()


def reconcile_never() -> None:
    """STD-10 broken: vCenter repairs nothing by itself."""

    async def _idle(self: Any) -> None:
        """The loop ends at once."""

    @replaces(sessions, "needs_pass")
    def needs_pass(original: Any, *facts: Any, **how: Any) -> bool:
        return False

    plant(Reconciliation, "_run", lambda original: _idle)


def retry_storm() -> None:
    """BOOT-03 broken: a host whose pass was once cut short has passes without end."""

    _PAUSE_S = 0.3
    _stormy: set[str] = set()

    @replaces(PassQueue, "end_pass")
    def ended(original: Any, self: Any, host: Any, *, whole: bool) -> None:
        original(self, host, whole=whole)
        if not whole:
            _stormy.add(str(host))
        elif str(host) in _stormy:
            asyncio.get_running_loop().call_later(_PAUSE_S, self.want, host)


def returned_vcenter_marks_nobody() -> None:
    """LOCK-01 broken: a vCenter that was started again marks no VM as locked."""

    @replaces(PassTelling, "marks")
    async def marks(
        original: Any, self: Any, session: Any, rows: Any, lacking: Any, denied: Any, **how: Any
    ) -> None:
        lacked = () if self._node.boot > 1 else lacking
        await original(self, session, rows, lacked, denied, **how)


def second_vcenter_brings_nothing() -> None:
    """STD-14 broken at one of two vCenters: it says that a host which has booted got its keys."""

    @replaces(KeyDelivery, "deliver")
    async def deliver(original: Any, self: Any, session: Any, values: Any) -> Any:
        if self._node.name == "vcenter-b" and session.boot > 1:
            return {}
        return await original(self, session, values)


def two_host_keys() -> None:
    """vCenter broken: two hosts of a cluster that need a host key at once have one made each."""

    class _Open(dict[str, Any]):
        """No scope has a lock."""

        def setdefault(self, key: str, default: Any = None) -> Any:
            return nullcontext()

    @replaces(HostKeys, "__init__")
    def init(original: Any, self: HostKeys, *given: Any, **options: Any) -> None:
        original(self, *given, **options)
        self._making = _Open()


def unlock_powers_on() -> None:
    """LOCK-05 broken: a VM that is unlocked is powered on too."""

    @replaces(PassTelling, "marks")
    async def commit(
        original: Any, self: Any, session: Any, rows: Any, *args: Any, **kwargs: Any
    ) -> None:
        rows = list(rows)
        locked = [row.name for row in rows if row.lock_event is not None]
        await original(self, session, rows, *args, **kwargs)
        for name in locked:
            row = self._inventory.vms.get(name)
            if row is not None and row.lock_event is None:
                await session.command(HostPowerOnVm(vm=name))
