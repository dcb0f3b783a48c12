"""Boots of hosts: the time until their VMs ran again, and calls to key servers for their keys
meanwhile."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass, field

from chaos.history import History
from chaos.lab import LabUnderTest
from chaos.observe.audit import AuditTail
from chaos.observe.calls import GET, Calls
from chaos.observe.look import WITHIN_S, LabLook
from protocol.messages.agent import NodeRunState, NodeStatus
from protocol.messages.host import HostState, QueryHost
from protocol.terms import NodeName, PowerState, VmName

EVERY_S = 1.0


@dataclass
class Recovery:
    """One boot of one host. ``seconds``: from the boot's end until its last VM runs, infinite while
    some do not. ``kms_calls``: None when a key server did not answer."""

    host: NodeName
    boot: int
    mark: int
    up_at: float | None = None
    seconds: float = math.inf
    missing: tuple[VmName, ...] = ()
    kms_calls: int | None = None


@dataclass
class _Host:
    boot: int
    ran: tuple[VmName, ...]
    keys: frozenset[str]
    current: Recovery | None = None


@dataclass
class Recoveries:
    """The boots of one run.

    Call ``begin`` once and ``look`` every second of the run.
    """

    lab: LabUnderTest
    history: History
    done: list[Recovery] = field(default_factory=list)
    _hosts: dict[NodeName, _Host] = field(default_factory=dict)
    _tail: AuditTail | None = None
    _calls: Calls = field(default_factory=Calls)

    async def begin(self) -> None:
        """Note which VMs run where, and which keys they and the hosts use."""
        look = LabLook(self.lab)
        self._tail, self._calls = AuditTail(self.lab), Calls()
        for host, summary in (await look.hosts()).items():
            keys = {str(key.key_id) for vm in summary.vms for key in vm.keys}
            if summary.crypto_key_id is not None:
                keys.add(str(summary.crypto_key_id.key_id))
            ran = tuple(vm.vm for vm in summary.vms if vm.power is PowerState.ON)
            self._hosts[host] = _Host(summary.boot, ran, frozenset(keys))

    async def look(self) -> dict[NodeName, NodeStatus]:
        """Follow every host that boots or has not recovered yet, by the agents' reports about all
        nodes."""
        seen = await self.lab.statuses(counters=False)
        booted = {
            host: seen[host].boot
            for host, known in self._hosts.items()
            if host in seen and seen[host].boot > known.boot and known.ran
        }
        mark = await self.position() if booted else 0
        for host, boot in booted.items():
            known = self._hosts[host]
            known.boot = boot
            if known.current is not None:
                self._close(known.current)
            known.current = Recovery(host, boot, mark, missing=known.ran)
        await self._follow(
            [
                host
                for host, known in self._hosts.items()
                if known.current is not None
                and host in seen
                and seen[host].state is NodeRunState.RUNNING
            ]
        )
        return seen

    async def _follow(self, hosts: list[NodeName]) -> None:
        """Look at hosts that run and have not recovered yet, all of them at once."""
        if not hosts:
            return
        began = self.lab.monotonic()
        answers = await self.lab.ask_each(hosts, QueryHost(), within_s=WITHIN_S)
        now = self.lab.monotonic()
        recovered: list[tuple[_Host, Recovery]] = []
        for host, answer in answers.items():
            known = self._hosts[host]
            recovery = known.current
            if recovery is None:
                continue
            up_at = recovery.up_at = began if recovery.up_at is None else recovery.up_at
            if not isinstance(answer, HostState):
                continue
            on = {vm.vm for vm in answer.summary.vms if vm.power is PowerState.ON}
            recovery.missing = tuple(vm for vm in known.ran if vm not in on)
            if not recovery.missing:
                recovery.seconds = now - up_at
                recovered.append((known, recovery))
        end = await self.position() if recovered else 0
        for known, recovery in recovered:
            self._count(known, recovery, end)
            self._close(recovery)
            known.current = None

    def _count(self, known: _Host, recovery: Recovery, end: int) -> None:
        if self._tail is None or self._tail.blind:
            return
        recovery.kms_calls = self._calls.count(
            self._tail.rows, recovery.host, known.keys, recovery.mark, end
        )

    async def position(self) -> int:
        """The number of audit rows read by now, as a mark."""
        return 0 if self._tail is None else await self._tail.position()

    async def busiest_second(self) -> int | None:
        """The most keys that key servers returned in one second of their clocks since the first
        boot. None when there was no boot or a key server did not answer."""
        if self._tail is None or not self.done:
            return None
        end = await self.position()
        first = min(recovery.mark for recovery in self.done)
        given = Counter(int(row.at) for row in self._tail.rows[first:end] if row.operation == GET)
        return None if self._tail.blind else max(given.values(), default=0)

    def _close(self, recovery: Recovery) -> None:
        finished = math.isfinite(recovery.seconds)
        self.done.append(recovery)
        self.history.add(
            "state",
            recovery.host,
            op="recovery",
            boot=recovery.boot,
            seconds=round(recovery.seconds, 6) if finished else None,
            missing=list(recovery.missing),
            kms_calls=recovery.kms_calls,
        )

    def end(self) -> None:
        """Close the boots that have not recovered: they count as infinite."""
        for known in self._hosts.values():
            if known.current is not None:
                self._close(known.current)
                known.current = None
