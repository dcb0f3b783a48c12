"""The background process of ``up``: owns brokers, agents and faults of one lab.

``python -m lab.supervise.supervisor NAME FD [LOCK]`` writes its progress to FD as JSON lines until
the lab is ready or has failed, then serves the command line over the control broker until ``down``.
LOCK is the lab's lock, held already by who started it (``LabFolder.lock``).
Killed, it takes every process of the lab along; what is on disk is enough to go on.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import resource
import signal
import sys
import time
from typing import Any

import msgspec

from chaos.keeper import FaultKeeper
from lab.api.session import Session
from lab.api.table import perform
from lab.api.wire import CommandDone, Progress, RunCommand, decode_command, encode_answer
from lab.brokers.control_plane import ControlServer
from lab.errors import KeysteadError
from lab.processes.process_lab import ProcessLab
from lab.supervise.state_folder import LabFolder, LabRecord
from lab.topology.course import Course
from lab.topology.lab_file import LabFile
from lab.topology.plan import plan
from lab.topology.provision import provision, start_nodes, wait_ready
from protocol.errors import ProductError
from protocol.messages.agent import NodeRunState, NodeSpec
from services.runtime.real.world import LabTime

CHECKPOINT_EVERY_S = 5.0  # real seconds between notes of how long the lab has lived


class ProgressLine(msgspec.Struct, frozen=True, kw_only=True):
    """One JSON line to the command that waits for the lab: a step, or the end."""

    text: str = ""
    step: int = 0
    total: int = 0
    ready: bool = False
    error_id: str = ""
    fix: str = ""


class Waiting:
    """The command that waits for the lab, at the other end of a pipe; it may have left."""

    def __init__(self, fd: int) -> None:
        os.set_inheritable(fd, False)
        self._fd = fd

    def tell(self, line: ProgressLine) -> None:
        if self._fd >= 0:
            with contextlib.suppress(OSError):
                os.write(self._fd, msgspec.json.encode(line) + b"\n")

    def close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


class Supervisor:
    """One lab from its record to its end."""

    def __init__(self, folder: LabFolder, record: LabRecord) -> None:
        self.folder, self.record = folder, record
        file = LabFile.model_validate(record.file)
        clock = LabTime(time.monotonic() - record.elapsed_s / file.pace, record.wall, file.pace)
        self.lab = ProcessLab(folder.path, plan(file), clock, record.seed)
        self.keeper = FaultKeeper(self.lab, save=self._keep_faults)
        self.stopping = asyncio.Event()
        self.session = Session(
            self.lab,
            self.keeper,
            report=self._report,
            host_added=self._keep_host,
            folder=folder.path,
        )

    async def _keep_faults(self, data: bytes) -> None:
        self.folder.write("faults", data)
        (self.folder.path / "faults").chmod(0o600)

    def _report(self, text: str, step: int, total: int) -> None:
        with contextlib.suppress(ProductError):
            self.lab.client.publish(Progress(text=text, step=step, total=total))

    def _keep_host(self, spec: NodeSpec) -> None:
        """Of hosts that the Lab file does not have, each once: adding one again changes nothing."""
        added = self.record.hosts_added
        known = {*(s.node for s in self.lab.topology.nodes), *(raw["node"] for raw in added)}
        if spec.node not in known:
            self._note(hosts_added=(*added, msgspec.to_builtins(spec)))

    def _note(self, **changes: Any) -> None:
        elapsed_s = self.lab.monotonic()
        self.record = msgspec.structs.replace(self.record, elapsed_s=elapsed_s, **changes)
        self.folder.save(self.record)

    async def run(self, waiting: Waiting) -> None:
        """Start, say when ready, serve until asked to stop, end everything."""

        def report(text: str, step: int, total: int) -> None:
            waiting.tell(ProgressLine(text=text, step=step, total=total))

        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self.stopping.set)
        report("start brokers and the fork server", 0, 5)
        try:
            starting = loop.create_task(self._begin(report))
            stop = loop.create_task(self.stopping.wait())
            await asyncio.wait({starting, stop}, return_when=asyncio.FIRST_COMPLETED)
            if not starting.done():
                starting.cancel()
                await asyncio.wait({starting})
                raise KeysteadError("KS-LAB-007", "the lab was stopped while it started")
            stop.cancel()
            starting.result()
            await ControlServer(self.lab.client).serve({RunCommand: self._serve})
            waiting.tell(ProgressLine(ready=True))
        except BaseException:
            await self.lab.close()
            raise
        waiting.close()
        await self._live()

    async def _begin(self, report: Any) -> None:
        await self.lab.start(report)
        if self.record.ready:
            await self._resume(report)
        else:
            await provision(self.lab, report)
            self._note(ready=True)

    async def _resume(self, report: Any) -> None:
        """Power everything on again and take back what can be taken back."""
        faults = self.folder.read("faults")
        if faults:
            self.keeper.load(faults)
        for raw in self.record.hosts_added:
            await self.lab.add_node(msgspec.convert(raw, NodeSpec))
        course = Course(self.lab, report, 3)
        await start_nodes(self.lab, course, strict=False)
        if self.keeper.active():
            course.begin(2, "heal the faults of the last time")
            await self.keeper.heal_all()
        course.begin(3, "wait until hosts are connected")
        up = [s.node for s in await self.lab.nodes() if s.state is NodeRunState.RUNNING]
        if self.lab.vcenter in up:
            await wait_ready(self.lab, course, hosts=up)

    async def _live(self) -> None:
        async with asyncio.TaskGroup() as group:
            tasks = [
                group.create_task(self.keeper.keep_leases(self.lab.lease_tick_s)),
                group.create_task(self._checkpoints()),
            ]
            await self.stopping.wait()
            for task in tasks:
                task.cancel()
        self._note()
        await self.lab.close(orderly=True)

    async def _checkpoints(self) -> None:
        while True:
            await asyncio.sleep(CHECKPOINT_EVERY_S)
            self._note()

    async def _serve(self, message: RunCommand, sender: str) -> CommandDone:
        try:
            answer = await perform(self.session, decode_command(message.command))
        except KeysteadError as error:
            return CommandDone(error_id=error.id, error=str(error), fix=error.fix)
        return CommandDone(answer=encode_answer(answer))


def _failed(error: BaseException) -> ProgressLine:
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    if isinstance(error, KeysteadError):
        return ProgressLine(error_id=error.id, text=str(error), fix=error.fix)
    if isinstance(error, ProductError):
        return ProgressLine(error_id="KS-LAB-003", text=f"{type(error).__name__}: {error}")
    if isinstance(error, OSError):
        where = error.filename or "the lab's folder"
        return ProgressLine(error_id="KS-LAB-005", text=f"{where}: {error.strerror or error}")
    return ProgressLine(error_id="KS-INT-001", text=f"{type(error).__name__}: {error}")


def main() -> None:
    folder, waiting = LabFolder(sys.argv[1]), Waiting(int(sys.argv[2]))
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))  # brokers and agents inherit it
    try:
        with folder.lock(int(sys.argv[3]) if len(sys.argv) > 3 else -1):
            folder.write("supervisor", str(os.getpid()).encode())
            record = folder.record()
            if record is None:
                raise KeysteadError("KS-LAB-001", f"there is no lab {folder.name}")
            asyncio.run(Supervisor(folder, record).run(waiting))
            folder.forget_supervisor()
    except BaseException as error:
        waiting.tell(_failed(error))
        if isinstance(error, KeysteadError):
            sys.exit(error.exit_code)
        raise


if __name__ == "__main__":
    main()
