"""``async with Lab(...)``: the api for Python, and what tests use.

::

    async with Lab(mode="sim", seed=7) as lab:
        await lab.cut("vcenter", "kms")
        await lab.reboot("esxi-001")
        assert (await lab.vm("vm-01")).crypto == VmCryptoState.LOCKED

``mode="sim"``: a worker process in virtual time; it stands still between commands, ``sleep``
lets it go on. ``mode="lab"``: real processes, started for this block and gone after it.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Mapping
from contextlib import AsyncExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Protocol, TypeVar

import msgspec

from chaos.keeper import FaultKeeper
from lab.building.provision import provision
from lab.processes.process_lab import ProcessLab
from lab.scan.ledger import collecting
from lab.scan.search import SecretWatch
from lab.schema import commands
from lab.schema.answers import HealReport, Host, LoggedEvent, Reason, Vm, VmPower
from lab.schema.commands import Command
from lab.schema.errors import KeysteadError
from lab.serve.files import CommandFiles, carry_files
from lab.serve.session import LabSession
from lab.serve.table import perform
from lab.serve.waiting import all_events, condition, wait_for
from lab.simulation.workers import Beside, Simulated, simulations
from lab.state.scratch import scratch
from lab.topology.lab_file import as_played, load
from lab.topology.plan import Topology, plan
from services.runtime.real.world import LabTime
from services.runtime.sim.runner import Conversation

A = TypeVar("A")
N = TypeVar("N")
T = TypeVar("T")


class Way(Protocol):
    """How commands reach a lab."""

    async def do(self, command: Command[A], vcenter: str = "", user: str = "") -> A:
        """Do a command; its answer, or ``KeysteadError``."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Let this many lab seconds pass."""
        ...

    async def beside(self, work: Beside[T], *values: Any) -> T:
        """See ``Lab.beside``."""
        ...

    async def close(self) -> None:
        """End the lab and everything that was started for it."""
        ...


class Owned:
    """A lab of real processes that this process supervises itself; ``rest`` ends it, and all that
    was begun for it."""

    def __init__(self, lab: ProcessLab, session: LabSession, rest: AsyncExitStack) -> None:
        self.lab, self.session, self._rest = lab, session, rest
        leases = session.keeper.keep_leases(lab.lease_tick_s)
        self._leases = asyncio.get_running_loop().create_task(leases)

    async def do(self, command: Command[A], vcenter: str = "", user: str = "") -> A:
        async with carry_files(command) as carrying:
            files = CommandFiles(carrying.contents)
            answer = await perform(self.session, command, vcenter, user, files)
            await carrying.fill(files.written)
            return answer

    async def sleep(self, seconds: float) -> None:
        await self.lab.sleep(seconds)

    async def beside(self, work: Beside[T], *values: Any) -> T:
        return await work(self.lab, *values)

    async def close(self) -> None:
        self._leases.cancel()
        await self.session.tap.close()
        await self._rest.aclose()  # its folder goes even when this is cancelled on its way


class Lab:
    """A lab for the length of an ``async with`` block. See the module.

    ``topology``: name of a shipped Lab file, a path, or its content; keyword arguments change
    it (``hosts=8``, ``vms=0``, ``key_persistence=True``, ``knobs={...}``). TPMs are those of the
    file, in the simulation played by the model; ``tpm="libtpms"`` or ``"model"`` says what plays
    them, and ``"none"`` takes those of hosts away.
    ``patch``: what every process with nodes applies first (``lab.state.checkout``).
    ``watched``: all that is said and every secret are kept, for searches (``LabCore.watch``).
    """

    def __init__(
        self,
        mode: Literal["sim", "lab"] = "sim",
        *,
        topology: str | Path | Mapping[str, Any] = "default",
        seed: int | None = None,
        patch: str = "",
        watched: bool = False,
        **changes: Any,
    ) -> None:
        if mode not in ("sim", "lab"):  # a word that a type checker would have refused
            raise KeysteadError("KS-USE-003", f"mode {mode!r}: 'sim' or 'lab'")
        file = load(topology, **changes)
        self.mode = mode
        self.topology: Topology = plan(file if changes.get("tpm") else as_played(file, mode))
        self.seed = secrets.randbelow(1 << 31) if seed is None else seed
        self._patch, self._watched = patch, watched
        self._way: Way | None = None

    async def __aenter__(self) -> Lab:
        self._way = await (self._start_simulation() if self.mode == "sim" else self._real())
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._way is not None:
            await self._way.close()
            self._way = None

    async def _start_simulation(self) -> Simulated:
        topology = msgspec.msgpack.encode(self.topology)
        return Simulated(
            await Conversation.open(
                "lab.simulation.worker:serve",
                topology,
                self.seed,
                self._patch,
                self._watched,
                server=simulations(),
            )
        )

    async def _real(self) -> Owned:
        async with AsyncExitStack() as stack:
            folder = stack.enter_context(scratch("library"))
            clock = LabTime(time.monotonic(), time.time(), self.topology.pace)
            lab = ProcessLab(folder, self.topology, clock, self.seed, patch=self._patch)
            if self._watched:
                collector = await stack.enter_async_context(collecting())
                lab.ledger, lab.watch = collector.name, SecretWatch(collector.secrets)
            stack.push_async_callback(lab.close)
            await lab.start()
            if lab.watch is not None:
                await stack.enter_async_context(lab.tap(lab.watch.hear))
            session = LabSession(lab, FaultKeeper(lab), folder=folder)
            await provision(lab, session.report)
            return Owned(lab, session, stack.pop_all())
        raise AssertionError("unreachable")

    @property
    def way(self) -> Way:
        """How this lab is reached; ``RuntimeError`` outside of the block."""
        if self._way is None:
            raise RuntimeError("use `async with Lab(...)`")
        return self._way

    # ---- commands

    async def do(self, command: Command[A], vcenter: str = "", user: str = "") -> A:
        """Do any command of ``lab.schema.commands``, at ``vcenter`` and as ``user`` when they are
        named; its answer. Raises ``KeysteadError``."""
        return await self.way.do(command, vcenter, user)

    async def sleep(self, seconds: float) -> None:
        """Lab seconds: virtual in the simulation, divided by ``pace`` in a real lab."""
        await self.way.sleep(seconds)

    async def beside(self, work: Beside[T], *values: Any) -> T:
        """``await work(lab, *values)`` where the lab is held, with its ``LabCore``: for a look or
        an act behind the nodes' backs, which no command has. ``work`` is a function of a module;
        values and its answer are plain data or structs."""
        return await self.way.beside(work, *values)

    async def wait_for(self, *conditions: str, within_s: float = 600.0) -> None:
        """Until all hold, as in ``keystead wait --for``: ``vm.running=all``. KS-WAIT-001 says what
        does not after ``within_s`` lab seconds, counted by pauses of one."""
        slept = 0

        async def pause() -> None:
            nonlocal slept
            slept += 1
            await self.sleep(1.0)

        wanted = [condition(text) for text in conditions]
        await wait_for(self.do, pause, wanted, lambda: slept >= within_s)

    async def trace(self) -> str:
        """The trace hash of a simulated lab; ``RuntimeError`` for a lab of real processes."""
        return await self.simulated.trace()

    @property
    def simulated(self) -> Simulated:
        """How a simulated lab is reached; ``RuntimeError`` for a lab of real processes."""
        if not isinstance(self.way, Simulated):
            raise RuntimeError("this lab consists of real processes: it has no trace")
        return self.way

    async def hosts(self) -> tuple[Host, ...]:
        """vCenter's view of every host, by name."""
        return (await self.do(commands.GetHosts())).items

    async def vms(self) -> tuple[Vm, ...]:
        """vCenter's view of every VM, by name."""
        return (await self.do(commands.GetVms())).items

    async def vm(self, name: str) -> Vm:
        """vCenter's view of one VM; KS-USE-002 when it has none of that name."""
        return _one(name, {str(vm.vm): vm for vm in await self.vms()})

    async def host(self, name: str) -> Host:
        """vCenter's view of one host; KS-USE-002 when it has none of that name."""
        return _one(name, {str(host.host): host for host in await self.hosts()})

    async def why(self, vm: str) -> tuple[Reason, ...]:
        """Reasons for a VM's state, headline first."""
        return (await self.do(commands.DescribeVm(vm))).reasons

    async def cut(self, a: str, b: str, *, one_way: bool = False) -> str:
        """Cut the link between two nodes; the id of the fault."""
        return (await self.do(commands.LinkCut(a, b, one_way=one_way))).fault.id

    async def fault(self, kind: str, **values: Any) -> str:
        """Begin any fault of ``chaos.faults``; its id."""
        return (await self.do(commands.FaultInject(kind, values))).fault.id

    async def heal(self, *ids: str, with_cure: bool = False) -> HealReport:
        """Take these faults back, or all."""
        return await self.do(commands.Heal(ids, all=not ids, with_cure=with_cure))

    async def reboot(self, *hosts: str) -> None:
        """Reboot hosts in order."""
        await self.do(commands.HostReboot(hosts))

    async def power_loss(self, *hosts: str) -> None:
        """Pull the power and give it back."""
        await self.do(commands.HostPowerLoss(hosts))

    async def vm_on(self, *vms: str) -> tuple[VmPower, ...]:
        """Power VMs on; one that is refused says so in its row."""
        return (await self.do(commands.VmOn(vms))).items

    async def vm_off(self, *vms: str) -> tuple[VmPower, ...]:
        """Power VMs off; one that is refused says so in its row."""
        return (await self.do(commands.VmOff(vms))).items

    async def esx(self, host: str, command: str) -> str:
        """esxcli at the host's console; its output. KS-PRODUCT-001 when it fails."""
        result = await self.do(commands.Esx(host, tuple(command.split())))
        if result.exit_code != 0:
            raise KeysteadError("KS-PRODUCT-001", result.output.strip())
        return result.output

    async def events(self, after: int = 0) -> tuple[LoggedEvent, ...]:
        """vCenter's whole event log above a number, oldest first."""
        return await all_events(self.do, after)


def _one(name: str, there: Mapping[str, N]) -> N:
    found = there.get(name)
    if found is None:
        raise KeysteadError("KS-USE-002", f"vCenter has no {name}; it has {', '.join(there)}")
    return found
