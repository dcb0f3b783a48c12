"""Boots of hosts, watched: how long after each boot the VMs of before ran again, and whether a key
server was needed for it. Also the TPM under each host at its boots, read at the lab's side, and
what hosts did to the power of VMs, read from their logs at the end.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from chaos.history import History
from chaos.lab import REFUSALS, LabUnderTest
from chaos.observe.audit import GET, AuditTail, Calls
from chaos.observe.look import OWN, WITHIN_S, LabLook
from protocol.messages.agent import NodeRunState, NodeStatus, TpmAct, TpmActed, TpmBackend
from protocol.messages.host.session import HostState, QueryHost
from protocol.terms import NodeName, PowerState, ProtectionMode, Role, VmName
from services.runtime.each import try_each

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

    async def look(self, seen: Mapping[NodeName, NodeStatus]) -> None:
        """Follow every host that boots or has not recovered yet, by ``seen``: the agents' reports
        about all nodes."""
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


TPM_OP = "tpm"
"""Of its ``state`` records, one for each boot of a host with a TPM: ``boot``, ``serves`` (the
host's boot went past the point where its configuration is opened), ``ek`` (which TPM it is: the
number under which its endorsement key was first seen, since keys are random), ``pcrs`` (as they
were measured), ``tries`` of ``most`` failed authorizations, ``lockout``."""
SEALED = "protection"
"""Of the ``state`` records that tell of each host whether its configuration is ``sealed``."""
_SETTLED = (NodeRunState.RUNNING, NodeRunState.HALTED)


@dataclass
class Tpms:
    """Call ``look`` each second with the agents' reports; ``boots`` are those recorded so far."""

    lab: LabUnderTest
    history: History
    boots: dict[NodeName, int] = field(default_factory=dict)
    _seen: dict[str, int] = field(default_factory=dict)

    async def begin(self) -> None:
        """Record each host's TPM, and which configurations are sealed by it."""
        for host, summary in (await LabLook(self.lab).hosts()).items():
            sealed = summary.protection_mode is ProtectionMode.TPM
            self.history.add("state", host, op=SEALED, sealed=sealed)
        await self.look(await self.lab.statuses(counters=False))

    async def look(self, seen: Mapping[NodeName, NodeStatus]) -> None:
        """Record the TPM of each host whose boot has ended since the last look."""
        settled = [
            status
            for node, status in seen.items()
            if status.role is Role.ESXI
            and status.tpm is not TpmBackend.NONE
            and status.state in _SETTLED
            and self.boots.get(node) != status.boot
        ]
        answers = await try_each(settled, self._read, failures=REFUSALS)
        for status, found in zip(settled, answers, strict=True):
            if isinstance(found, TpmActed) and found.info is not None:
                self.boots[status.node] = status.boot
                self._write(status, found)

    async def _read(self, status: NodeStatus) -> TpmActed:
        return await self.lab.tpm(status.node, TpmAct.INFO)

    def _write(self, status: NodeStatus, found: TpmActed) -> None:
        if found.info is None:
            return
        self.history.add(
            "state",
            status.node,
            op=TPM_OP,
            boot=status.boot,
            serves=status.state is NodeRunState.RUNNING,
            ek=self._seen.setdefault(found.ek, len(self._seen) + 1),
            pcrs={str(number): value.hex() for number, value in sorted(found.pcrs.items())},
            tries=found.info.lockout_counter,
            most=found.info.max_tries,
            lockout=found.info.lockout,
        )


POWER_OP: Final = "power"
"""Of the ``state`` record: ``changes``, oldest first, each with ``t`` (seconds of the run), ``vm``,
``host``, its ``boot`` and the ``power`` that the VM has from then on."""
LINE: Final = "vm.powered"
"""Of the log lines that hosts write when a guest has started or ended."""


async def power_changes(lab: LabUnderTest, history: History, since: float) -> None:
    """Record the power changes that hosts logged since then, in lab seconds."""
    here = history.add("note", op="logs")
    if here is None:
        return
    zero = lab.monotonic() - here.t
    changes = [
        {
            "t": round(line.at - zero, 6),
            "vm": str(line.fields["vm"]),
            "host": str(line.node),
            "boot": line.boot,
            "power": str(line.fields["power"]),
        }
        for line in await lab.log_lines(LINE, since)
        if not str(line.fields["vm"]).startswith(OWN)
    ]
    history.add("state", op=POWER_OP, changes=changes)
