"""The other machines of a lab: who has joined, who is refused, and what each holds."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Final

import msgspec

from lab.arrays.machines import HERE, Guest, Meeting, RemoteGuest
from lab.arrays.shared_datastore import link
from lab.brokers.control_plane import ControlClient
from lab.brokers.identities import Identities, agent_name, machine_agent
from lab.building.course import Report
from lab.logs.records import RecordLog
from lab.machines.bundle import part_of
from lab.machines.issuing import last_run, note_run, read_issued, use
from lab.machines.listening import TlsProxy, address, find_address
from lab.machines.machine import BEAT_LIMIT_S, MARGIN_S, MachineProcesses, RemoteProcess
from lab.schema.errors import KeysteadError
from lab.state.scratch import no_room
from lab.state.state_folder import is_purged
from lab.topology.machine_plan import MachinePlan, with_later
from lab.topology.plan import Topology
from protocol.errors import ProductError
from protocol.messages.agent import NodeRecord
from protocol.messages.base import Event
from protocol.messages.machines import (
    KnowNodes,
    MachineLeaves,
    MachineSeeks,
    RefuseMachine,
    ReleaseMachine,
)
from protocol.terms import ClusterName, NodeName
from services.runtime.real.streams import write_gate_addresses

TELL_EVERY_S: Final = 5.0  # real seconds between words to who waits for machines
RELEASE_LIMIT_S: Final = 5.0


def _elsewhere(topology: Topology) -> dict[str, str]:
    """Where each datastore lies that is not here too, in words for people."""
    found: dict[str, list[str]] = {}
    here = {one.name for one in topology.shared}
    for plan in topology.machines:
        for name in {*plan.arrays} - here:
            found.setdefault(name, []).append(plan.machine)
    for pool in topology.pools:
        for one in pool.shared:
            found.setdefault(one.name, []).append(pool.pool)
    return {name: " and ".join(machines) for name, machines in found.items() if name not in here}


class _Superseded(Exception):
    """Another run of the same agent has come meanwhile."""


class Roster:
    """See ``MachineProcesses`` and ``Replaced`` for the callbacks; ``epoch`` is that of the lab's
    time. ``patience_s``: how long a start waits for machines that were there before; None: until
    they join."""

    def __init__(
        self,
        folder: Path,
        topology: Topology,
        identities: Identities,
        listen: str,
        epoch: float,
        client: Callable[[], ControlClient],
        on_end: Callable[[RemoteProcess], None],
        reload: Callable[[], Awaitable[None]],
        warn: Callable[[str], None],
    ) -> None:
        self._folder, self._identities, self._lab = folder, identities, topology.name
        self._gates = topology.gates
        self.proxy = TlsProxy(
            folder, topology.name, address("--listen", listen), gate=topology.gates
        )
        self.machines: dict[str, MachineProcesses] = {}
        self._on_end, self._warn = on_end, warn
        self.patience_s: float | None = None
        self._epoch = epoch
        self._begun = time.monotonic()
        self._client = client
        self._of_process: dict[int, MachineProcesses] = {}
        self._of_node: dict[NodeName, MachineProcesses] = {}
        self.arrays = _elsewhere(topology)
        self._replaced = Replaced(folder, self.machines, reload, warn)
        self._watching: asyncio.Task[None] | None = None
        self._meeting, self._shared_here = Meeting(folder, topology.name), topology.shared
        self._here = Guest(HERE, {a.name: Path(a.folder) for a in topology.shared}, lambda _: None)
        self._admitting: set[str] = set()
        self._coming: dict[str, tuple[str, asyncio.Task[None]]] = {}
        self._seeking: dict[str, tuple[str, float]] = {}
        self._logs: dict[str, RecordLog] = {}
        self._speaks_of: dict[str, tuple[NodeName, ...]] = {}
        for plan in topology.machines:
            self.add(plan, [topology.groups[number - 1] for number in plan.processes])

    def add(self, plan: MachinePlan, groups: Sequence[tuple[NodeName, ...]]) -> MachineProcesses:
        """One more machine may join; ``groups`` are the nodes of each of its processes. The brokers
        hear of its agents from who calls."""
        machine = MachineProcesses(plan, self._client, self._on_end, self._warn)
        self.machines[plan.machine] = machine
        self._identities.add_machine(plan.machine)
        for number, nodes in zip(plan.processes, groups, strict=True):
            self._process(machine, number, nodes)
        return machine

    def _process(self, machine: MachineProcesses, number: int, nodes: tuple[NodeName, ...]) -> None:
        agent = agent_name(number)
        self._of_process[number] = machine
        self._of_node.update(dict.fromkeys(nodes, machine))
        self._speaks_of[agent] = nodes
        if number in machine.plan.later:
            machine.parts[agent] = partial(
                part_of, self._identities, self._lab, machine.name, agent, nodes
            )

    def grow(self, machine: MachineProcesses, number: int, node: NodeName) -> None:
        """A host is added there, in the process of that number."""
        machine.plan = with_later(machine.plan, number, node)
        self._process(machine, number, (node,))

    def shrink(self, number: int, node: NodeName) -> None:
        """It was not: as before."""
        machine, agent = self._of_process.pop(number, None), agent_name(number)
        if machine is None:
            return
        plan = machine.plan
        machine.plan = msgspec.structs.replace(
            plan,
            nodes=tuple(one for one in plan.nodes if one != node),
            processes=tuple(one for one in plan.processes if one != number),
            later=tuple(one for one in plan.later if one != number),
        )
        del self._of_node[node], self._speaks_of[agent], machine.parts[agent]

    def of_cluster(self, cluster: ClusterName) -> MachineProcesses | None:
        """Where hosts of a cluster are added; None: here."""
        for machine in self.machines.values():
            if cluster in machine.plan.clusters:
                return machine
        return None

    def of_process(self, number: int) -> MachineProcesses | None:
        """Where process ``number`` (from 1) of the topology stands; None: here."""
        return self._of_process.get(number)

    def of_node(self, node: NodeName) -> MachineProcesses | None:
        """Where a node stands; None: here."""
        return self._of_node.get(node)

    @property
    def listens(self) -> str:
        """Where machines join; empty before the first start."""
        return str(find_address(self._folder) or "")

    async def start(self, brokers: dict[str, str]) -> None:
        """Open the TLS proxy, and hear of machines that seek. KS-ARRAY-001 to KS-ARRAY-007 when the
        folder of a shared datastore does not fit here."""
        shared = {one.name: Path(one.folder) for one in self._shared_here}
        if shared:
            link(self._folder / "arrays", shared)
            await self._meeting.come(self._here, "", tuple(shared))
        await self.proxy.start(brokers)
        write_gate_addresses(self._folder, self._where(None))
        await self._client().subscribe_events(self._hear)
        self._watching = asyncio.get_running_loop().create_task(self._replaced.watch())

    async def wait(self, report: Report) -> None:
        """Until every machine has joined, or the patience has ended."""
        begun = told = time.monotonic()
        needed = [machine for machine in self.machines.values() if not machine.plan.pool]
        while missing := [machine.name for machine in needed if not machine.joined.is_set()]:
            now = time.monotonic()
            if self.patience_s is not None and now - begun > self.patience_s:
                return
            if now - told > TELL_EVERY_S or told == begun:
                told = now
                more = "" if self._lab == "default" else f" --name {self._lab}"
                report(
                    f"wait for machine {', '.join(missing)}: `keystead lab bundle {missing[0]} -o "
                    f"FILE{more}` here, `keystead agent join FILE` there",
                    0,
                    5,
                )
            await asyncio.sleep(0.1)

    def _hear(self, sender: str, event: Event) -> None:
        match event:
            case MachineSeeks() if self._said_by(sender, event.machine):
                machine = self.machines[event.machine]
                if event.run != machine.run and event.machine not in self._admitting:
                    self._admitting.add(event.machine)
                    machine.do(self._admit(machine, event))
                elif event.run != machine.run:
                    self._supersede(event)
            case MachineLeaves() if self._said_by(sender, event.machine):
                machine = self.machines[event.machine]
                if event.run == machine.run:
                    note_run(self._folder, machine.name, "")
                    machine.lose("has left", ended=True)
            case NodeRecord() if event.node in self._speaks_of.get(sender, ()):
                if sender not in self._logs:
                    self._logs[sender] = RecordLog(self._folder / "logs" / f"{sender}.jsonl")
                self._logs[sender].write(event)

    def _said_by(self, sender: str, machine: str) -> bool:
        return machine in self.machines and sender == machine_agent(machine)

    async def _admit(self, machine: MachineProcesses, seeks: MachineSeeks) -> None:
        try:
            try:
                refusal = await self._refusal(machine, seeks)
            except _Superseded:
                return
            if refusal is None:
                held = seeks.held if seeks.epoch == self._epoch else ()
                moved = machine.gate != seeks.gate
                machine.gate = seeks.gate
                where = self._where(machine)
                await machine.take(seeks.run, self._public(), held, seeks.key, where)
                if moved and self._gates:
                    self._tell_where(machine)
            else:
                with suppress(ProductError):
                    await machine.ask(refusal, BEAT_LIMIT_S)
        finally:
            self._admitting.discard(machine.name)

    async def _refusal(
        self, machine: MachineProcesses, seeks: MachineSeeks
    ) -> RefuseMachine | None:
        """Why it is not taken, now or for good; a disk that refuses is waited for."""
        wait = False
        try:
            use(self._folder, seeks, time.time())
            self._believe(machine, seeks.ended)
            left_s = self._end_time_s(machine, seeks.run) - time.monotonic()
            if machine.run and machine.heard_s > self._sought_since(machine, seeks.run):
                text = f"another agent of machine {machine.name} has joined, and answers"
                raise KeysteadError("KS-AGENT-005", text)
            if machine.run or left_s > 0:
                wait = True
                text = f"the lease of an earlier agent of machine {machine.name} is not over yet"
                raise KeysteadError("KS-AGENT-005", f"{text}; {max(left_s, 0):.0f} s are left")
            await self._come(machine, seeks.run)
            note_run(self._folder, machine.name, seeks.run)
        except OSError as failure:
            error, wait = no_room(failure), True
        except ProductError as failure:
            error, wait = KeysteadError("KS-ARRAY-007", str(failure)), True
        except KeysteadError as failure:
            error = failure
        else:
            return None
        return RefuseMachine(
            run=seeks.run, error_id=error.id, text=str(error), fix=error.fix, wait=wait
        )

    async def _come(self, machine: MachineProcesses, run: str) -> None:
        """See that its folders fit, unless another run of its agent comes meanwhile."""
        arrays = tuple(one.name for one in machine.plan.shared)
        come = self._meeting.come(self._guest(machine), run, arrays)
        coming = asyncio.get_running_loop().create_task(come)
        self._coming[machine.name] = run, coming
        try:
            await asyncio.wait({coming})
            if coming.cancelled():
                raise _Superseded
            coming.result()
        finally:
            coming.cancel()
            del self._coming[machine.name]

    def _supersede(self, seeks: MachineSeeks) -> None:
        """Of two runs with one holder the older has ended: its folder lets one agent in. Who was
        killed while its shared folders were tried holds up nobody in its place."""
        run, coming = self._coming.get(seeks.machine, (seeks.run, None))
        if coming is not None and run != seeks.run:
            with suppress(KeysteadError, OSError):
                use(self._folder, seeks, time.time())
                coming.cancel()

    def _guest(self, machine: MachineProcesses) -> RemoteGuest:
        """``machine`` when it comes, and later, as one whose folders others are compared with."""

        def there() -> bool:
            joined = machine.joined.is_set() and not machine.silent
            return joined or machine.name in self._admitting

        return RemoteGuest(machine.name, machine.ask, there)

    def _believe(self, machine: MachineProcesses, ended: str) -> None:
        """Of a run that has ended, as who has its folder says, nothing is alive any more."""
        if ended and ended == machine.run:
            machine.lose("has ended its nodes", ended=True)
        if ended and ended == last_run(self._folder, machine.name):
            note_run(self._folder, machine.name, "")
            machine.ended_by_s = 0.0

    def _sought_since(self, machine: MachineProcesses, run: str) -> float:
        """When this run of an agent was first heard of: who has answered since then is another
        one; an answer before it may be the last of an agent that was killed."""
        if self._seeking.get(machine.name, ("", 0.0))[0] != run:
            self._seeking[machine.name] = run, time.monotonic()
        return self._seeking[machine.name][1]

    def _end_time_s(self, machine: MachineProcesses, run: str) -> float:
        """When nothing of an earlier run can be alive, also of one that a supervisor took which was
        killed: it has sent no beat since this one began."""
        last = last_run(self._folder, machine.name)
        if last == run:
            return 0.0  # it is that run itself
        if machine.ended_by_s or not last:
            return machine.ended_by_s
        return self._begun + machine.plan.lease_s + MARGIN_S

    def _public(self) -> dict[str, bytes]:
        files = self._identities.files((), ())
        return {Path(path).stem: data for path, data in files.items()}

    def _where(self, machine: MachineProcesses | None) -> dict[str, str]:
        """The gates of nodes that do not stand on ``machine``; None: that do not stand here."""
        if not self._gates:
            return {}
        found: dict[str, str] = {}
        for node in self._identities.directory():
            its = self._of_node.get(node)
            at = f":{self.proxy.gate_port}" if its is None else its.gate
            if its is not machine and at:
                found[node] = at
        return found

    def _tell_where(self, moved: MachineProcesses) -> None:
        """Its gate is another one: let all others know."""
        write_gate_addresses(self._folder, self._where(None))
        for machine in self.machines.values():
            if machine is not moved:
                machine.do(self._tell_machine(machine))

    async def _tell_machine(self, machine: MachineProcesses) -> None:
        """As often as it takes; one that joins later hears it as it is taken."""
        while machine.joined.is_set():
            try:
                await machine.ask(KnowNodes(public={}, where=self._where(machine)))
            except ProductError:
                await asyncio.sleep(BEAT_LIMIT_S)
            else:
                return

    async def know(self) -> None:
        """Let all machines know the nodes that have come to the lab."""
        public = self._public()
        if self._gates:
            write_gate_addresses(self._folder, self._where(None))
        for machine in self.machines.values():
            if machine.joined.is_set():
                await machine.ask(KnowNodes(public=public, where=self._where(machine)))

    async def release(self) -> None:
        """Let every machine end its processes: the lab is taken down in order. When it is removed
        for good, so is what they keep of it, and what lies in shared folders."""
        purged = is_purged(self._folder)

        async def one(machine: MachineProcesses) -> None:
            with suppress(ProductError):
                release = ReleaseMachine(run=machine.run, purged=purged)
                await machine.ask(release, RELEASE_LIMIT_S)
                note_run(self._folder, machine.name, "")

        there = [machine for machine in self.machines.values() if machine.joined.is_set()]
        await asyncio.gather(*map(one, there))
        if purged:
            await self._here.remove()

    async def close(self) -> None:
        """End the TLS proxy, and forget everybody."""
        for machine in self.machines.values():
            machine.close()
        self._here.close()
        if self._watching is not None:
            self._watching.cancel()
        for log in self._logs.values():
            log.close()
        await self.proxy.stop()


# ---- replaced ------------------------------------------------------------------------------------
# Bundles that were replaced by newer ones: what they held is not let in at the brokers any more.
#
# Whoever writes a bundle (``issuing``) gives its machine new nkeys, in the lab's folder; it may be
# another process. The supervisor sees that there is another bundle, and has the brokers read their
# lists of users again, which ends the connections of those that are not in it any more.

LOOK_EVERY_S: Final = 0.3
AGAIN_S: Final = 2.0  # after a broker that did not read its list


class Replaced:
    """Of the lab in ``folder``; ``reload`` has the brokers read their lists of users."""

    def __init__(
        self,
        folder: Path,
        machines: Mapping[str, MachineProcesses],
        reload: Callable[[], Awaitable[None]],
        warn: Callable[[str], None],
    ) -> None:
        self._folder, self._machines = folder, machines
        self._reload, self._warn = reload, warn
        self._changed = 0
        self._known: dict[str, str] = {}

    async def watch(self) -> None:
        """Until cancelled."""
        self._look()
        while True:
            await asyncio.sleep(LOOK_EVERY_S)
            if names := self._look():
                await self.let_go(names)

    def _look(self) -> list[str]:
        """Machines whose bundle is another one than it was."""
        try:
            changed = (self._folder / "bundles").stat().st_mtime_ns
        except FileNotFoundError:
            return []
        if changed == self._changed:
            return []
        found, all_read = [], True
        for name in self._machines:
            try:
                bundle = read_issued(self._folder, name)
            except (OSError, msgspec.DecodeError):
                all_read = False
                continue
            if bundle is not None:
                if self._known.get(name, bundle.id) != bundle.id:
                    found.append(name)
                self._known[name] = bundle.id
        if all_read:  # one that is not readable at this moment is looked at again
            self._changed = changed
        return found

    async def let_go(self, names: list[str]) -> None:
        """End what earlier agents of these machines say, as often as it takes."""
        while True:
            try:
                await self._reload()
                break
            except (KeysteadError, OSError) as error:
                self._warn(f"what older bundles held is not refused yet: {error}")
                await asyncio.sleep(AGAIN_S)
        for name in names:
            self._machines[name].lose("has got a new bundle")
