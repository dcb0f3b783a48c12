"""``async with Lab(...)``: the library's door, and what tests use.

::

    async with Lab(mode="sim", seed=7) as lab:
        await lab.cut("vcenter", "kms")
        await lab.reboot("esxi-001")
        assert (await lab.vm("vm-01"))["crypto"] == "locked"

``mode="sim"``: a worker process in virtual time; it stands still between commands, ``sleep``
lets it go on. ``mode="lab"``: real processes, started for this block and gone after it.
"""

from __future__ import annotations

import asyncio
import secrets
import shutil
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Protocol

import msgspec

from chaos.keeper import FaultKeeper
from lab.api import VERBS, Session, run_verb
from lab.errors import KeysteadError
from lab.processes.process_lab import ProcessLab
from lab.simulation.sim_lab import simulations
from lab.topology.lab_file import Topology, load, plan
from lab.topology.provision import provision
from services.runtime.real.world import LabTime
from services.runtime.sim.runner import Conversation

Row = dict[str, Any]


class Door(Protocol):
    """How verbs reach a lab."""

    async def call(self, name: str, arguments: bytes) -> bytes: ...
    async def sleep(self, seconds: float) -> None: ...
    async def close(self) -> None: ...


class SimDoor:
    """To a worker in virtual time."""

    def __init__(self, conversation: Conversation) -> None:
        self._conversation = conversation

    async def call(self, name: str, arguments: bytes) -> bytes:
        return await self._conversation.call(name, arguments)

    async def sleep(self, seconds: float) -> None:
        await self.call("sleep", msgspec.msgpack.encode(float(seconds)))

    async def close(self) -> None:
        await self._conversation.close()


class OwnDoor:
    """To real processes that this process supervises itself."""

    def __init__(self, lab: ProcessLab, session: Session, folder: Path) -> None:
        self.lab, self.session, self._folder = lab, session, folder
        leases = session.keeper.keep_leases(lab.lease_tick)
        self._leases = asyncio.get_running_loop().create_task(leases)

    async def call(self, name: str, arguments: bytes) -> bytes:
        return await run_verb(self.session, name, arguments)

    async def sleep(self, seconds: float) -> None:
        await self.lab.sleep(seconds)

    async def close(self) -> None:
        self._leases.cancel()
        await self.lab.close()
        shutil.rmtree(self._folder, ignore_errors=True)


class Lab:
    """A lab for the length of an ``async with`` block. See the module.

    ``topology``: name of a shipped Lab file, a path, or its content; keyword arguments change
    it (``hosts=8``, ``vms=0``, ``tpm="model"``, ``key_persistence=True``, ``knobs={...}``).
    ``patch``: a module that every process with nodes imports first (``tests.mutations.bugs``).
    """

    def __init__(
        self,
        mode: Literal["sim", "lab"] = "sim",
        *,
        topology: str | Path | Mapping[str, Any] = "default",
        seed: int | None = None,
        patch: str = "",
        **changes: Any,
    ) -> None:
        if mode == "sim":
            changes.setdefault("tpm", "model")
        self.mode = mode
        self.topology: Topology = plan(load(topology, **changes))
        self.seed = secrets.randbelow(1 << 31) if seed is None else seed
        self._patch = patch
        self._door: Door | None = None

    async def __aenter__(self) -> Lab:
        self._door = await (self._simulated() if self.mode == "sim" else self._real())
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._door is not None:
            await self._door.close()
            self._door = None

    async def _simulated(self) -> Door:
        topology = msgspec.msgpack.encode(self.topology)
        return SimDoor(
            await Conversation.open(
                "lab.simulation.sim_lab:serve",
                topology,
                self.seed,
                self._patch,
                server=simulations(),
            )
        )

    async def _real(self) -> Door:
        folder = Path(tempfile.mkdtemp(prefix="keystead-"))
        clock = LabTime(time.monotonic(), time.time(), self.topology.pace)
        lab = ProcessLab(folder, self.topology, clock, self.seed, patch=self._patch)
        session = Session(lab, FaultKeeper(lab))
        door = OwnDoor(lab, session, folder)
        try:
            await lab.start()
            await provision(lab, session.report)
        except BaseException:
            await door.close()
            raise
        return door

    @property
    def door(self) -> Door:
        if self._door is None:
            raise RuntimeError("use `async with Lab(...)`")
        return self._door

    # ---- commands

    async def do(self, verb: str, **arguments: Any) -> Any:
        """Run any verb of ``lab.api`` by name; its plain result. Raises ``KeysteadError``."""
        made = msgspec.convert(arguments, VERBS[verb].arguments)
        return msgspec.msgpack.decode(await self.door.call(verb, msgspec.msgpack.encode(made)))

    async def sleep(self, seconds: float) -> None:
        """Lab seconds: virtual in the simulation, divided by ``pace`` in a real lab."""
        await self.door.sleep(seconds)

    async def hosts(self) -> list[Row]:
        return list((await self.do("get.hosts"))["items"])

    async def vms(self) -> list[Row]:
        return list((await self.do("get.vms"))["items"])

    async def vm(self, name: str) -> Row:
        """vCenter's view of one VM."""
        return next(v for v in await self.vms() if v["vm"] == name)

    async def host(self, name: str) -> Row:
        """vCenter's view of one host."""
        return next(h for h in await self.hosts() if h["host"] == name)

    async def why(self, vm: str) -> list[Row]:
        """Reasons for a VM's state, headline first: ``why``, ``rule``, ``cure``."""
        return list((await self.do("describe.vm", name=vm))["reasons"])

    async def cut(self, a: str, b: str, *, one_way: bool = False) -> str:
        """Cut the link between two nodes; the id of the fault."""
        return await self.fault("link.cut", between=[a, b], dir="to" if one_way else "both")

    async def fault(self, kind: str, **values: Any) -> str:
        """Begin any fault of ``chaos.faults``; its id."""
        made = await self.do("fault.inject", kind=kind, values=values)
        return str(made["fault"]["id"])

    async def heal(self, *ids: str, with_cure: bool = False) -> Row:
        """Take these faults back, or all."""
        row: Row = await self.do("heal", ids=list(ids), all=not ids, with_cure=with_cure)
        return row

    async def reboot(self, *hosts: str) -> None:
        await self.do("host.reboot", hosts=list(hosts))

    async def power_loss(self, *hosts: str) -> None:
        """Pull the power and give it back."""
        await self.do("host.power-loss", hosts=list(hosts))

    async def vm_on(self, *vms: str) -> list[Row]:
        return list((await self.do("vm.on", vms=list(vms)))["items"])

    async def vm_off(self, *vms: str) -> list[Row]:
        return list((await self.do("vm.off", vms=list(vms)))["items"])

    async def esx(self, host: str, command: str) -> str:
        """esxcli at the host's console; its output. KS-PRODUCT-001 when it fails."""
        row = await self.do("esx", host=host, arguments=command.split())
        if row["exit_code"] != 0:
            raise KeysteadError("KS-PRODUCT-001", str(row["output"]).strip())
        return str(row["output"])

    async def events(self, after: int = 0) -> list[Row]:
        return list((await self.do("events", after=after))["items"])
