"""The background process of ``up``: owns brokers, agents and faults of one lab.

``python -m lab.supervise.supervisor NAME FD [LOCK [HOME]]`` writes its progress to FD as JSON lines
until the lab is ready or has failed, then serves the command line over the control broker until
``down``. LOCK is the lab's lock, held already by who started it (``LabFolder.lock``); HOME is the
state folder, by which others know it.
Killed, it takes every process of the lab along; what is on disk is enough to go on. It ends by
itself only when a part of the lab cannot be had again or its folder has gone, and says why; a disk
that is full or read-only is told, and waited for.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import resource
import signal
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

from chaos.errors import ChaosError
from chaos.keeper import FaultKeeper
from chaos.observe.look import all_vms
from lab.brokers.control_plane import ControlServer
from lab.building.course import Course
from lab.building.provision import provision, start_nodes, wait_ready
from lab.machines.checkup import SUPERVISOR
from lab.machines.health import MachineHealth, serve
from lab.machines.listening import DEFAULT
from lab.machines.machine import going_on, remove_clock
from lab.members.inviting import Inviter
from lab.processes.notebook import Notebook
from lab.processes.process_lab import ProcessLab
from lab.schema.errors import KeysteadError
from lab.schema.wire import CommandDone, FilesOpen, OpenFiles, Progress, RunCommand
from lab.serve.machines import all_seen, missing_of
from lab.serve.session import LabSession
from lab.serve.table import carry_out
from lab.state.scratch import no_room, state_home
from lab.state.state_folder import LabFolder, LabRecord, put_aside
from lab.topology.lab_file import LabFile
from lab.topology.model import ServeModel
from lab.topology.plan import as_recorded
from protocol.crypto.transfer import OneTimeKey
from protocol.errors import ProductError
from protocol.messages.agent import BootBanks, NodeRunState, NodeSpec
from protocol.terms import NodeName
from services.runtime.forking.child import withhold_memory
from services.runtime.real.watchdog import Blockage, describe_blockage, run_watched
from services.runtime.real.world import LabTime

MACHINES_PATIENCE_S = 20.0  # real seconds that a lab waits for machines that it had before
CHECKPOINT_EVERY_S = 5.0  # real seconds between notes of how long the lab has lived


_ROOT = Path(__file__).resolve().parents[2]
_LAUNCHER = Path(__file__).parent.parent / "processes" / "die_with_parent.py"
API_READY_LIMIT_S = 30.0
"""Real seconds for which the start of a lab waits for its API server."""
API_RESTART_S = 5.0
"""Real seconds before one that ended is started again."""
_LAST_LINES = 3


class ApiServerProcess:
    """Serves the APIs of a running lab beside its supervisor, and is started again when it ends.

    ``notice`` gets the address where it listens, ``warn`` the reason why it ended.
    """

    def __init__(
        self,
        folder: LabFolder,
        wanted: ServeModel,
        notice: Callable[[str], None],
        warn: Callable[[str], None],
    ) -> None:
        self._folder, self._wanted = folder, wanted
        self._notice, self._warn = notice, warn
        self._listens = asyncio.Event()

    async def wait_until_it_listens(self) -> None:
        """Until it has said where, or has ended; not longer than ``API_READY_LIMIT_S``."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._listens.wait(), API_READY_LIMIT_S)

    async def run(self) -> None:
        """Until this is cancelled."""
        while True:
            last = await self._serve()
            self._listens.set()
            why = " ".join(last) or "it does not say why"
            self._warn(f"the API server of the lab has ended: {why}")
            await asyncio.sleep(API_RESTART_S)

    async def _serve(self) -> list[str]:
        """One life of the process; the signal that ended it, or its last lines."""
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-I", "-S", str(_LAUNCHER), str(os.getpid()), sys.executable,
            "-m", "lab.cli.main", "serve", "--name", self._folder.name,
            "--listen", self._wanted.listen, "--hosts" if self._wanted.hosts else "--no-hosts",
            cwd=_ROOT, env={**os.environ, "KEYSTEAD_STATE_HOME": str(state_home())},
            stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT, start_new_session=True,
        )  # fmt: skip
        last: list[str] = []
        try:
            if process.stdout is not None:
                async for line in process.stdout:
                    text = line.decode(errors="replace").rstrip()
                    last = [*last, text][-_LAST_LINES:]
                    if not self._listens.is_set() and text.startswith("vSphere APIs of"):
                        self._notice(text)
                        self._listens.set()
            await process.wait()
        finally:
            if process.returncode is None:
                process.terminate()
                await process.wait()
        ended_by = -(process.returncode or 0)
        return [signal.Signals(ended_by).name] if ended_by > 0 else last


class ProgressLine(msgspec.Struct, frozen=True, kw_only=True):
    """One JSON line to the command that waits for the lab: a step, or the end."""

    text: str = ""
    step: int = 0
    total: int = 0
    ready: bool = False
    missing: tuple[str, ...] = ()
    notices: tuple[str, ...] = ()
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
    """One lab from its record to its end. ``lock`` is the descriptor that holds the lab's lock."""

    def __init__(self, folder: LabFolder, record: LabRecord, lock: int) -> None:
        self.folder, self._lock = folder, lock
        file = LabFile.model_validate(record.file)
        epoch = time.monotonic() - record.elapsed_s / file.pace
        if file.machines:
            most_s = max(machine.lease_s for machine in file.machines)
            epoch = going_on(folder, epoch, most_s)
        clock = LabTime(epoch, record.wall, file.pace)
        listen = record.listen or DEFAULT
        topology = as_recorded(file, record)
        self.lab = ProcessLab(folder.path, topology, clock, record.seed, listen=listen)
        if self.lab.roster is not None and record.ready:
            self.lab.roster.patience_s = MACHINES_PATIENCE_S
        self.notes = Notebook(folder, record, self.lab.monotonic, self.warn)
        self.keeper = FaultKeeper(self.lab, save=self.notes.keep_faults)
        self.stopping, self.ready = asyncio.Event(), asyncio.Event()
        self.lost: KeysteadError | None = None
        self.lab.warn, self.lab.on_lost = self.warn, self._lose
        self.lab.notice = self.notice
        self._notices: list[str] = []
        self._files_key = OneTimeKey()  # for the files of commands, as long as this process lives
        self.session = LabSession(
            self.lab,
            self.keeper,
            report=self._report,
            host_added=self._keep_host,
            host_dropped=self._drop_host,
            installed=self._keep_banks,
            folder=folder.path,
            roster=self.lab.roster,
        )
        self.api = file.serve and ApiServerProcess(folder, file.serve, self.notice, self.warn)
        self.inviter: Inviter | None = None
        if record.invite:
            self.inviter = Inviter(
                folder, file, self.lab, self.notes, record.invite, self.ready, self.warn
            )

    def warn(self, text: str) -> None:
        """Report a problem that does not end the lab: in the log, in ``status``, and to clients
        that follow a command now."""
        _to_log(text)
        self.session.warnings.append(text)
        self._report(text, 0, 0)

    def report_stall(self, stand: Blockage) -> None:
        """Tell of this process's own event loop, from another thread: in the log and in
        ``status``."""
        self.session.stands.add(stand)
        _to_log(describe_blockage(stand))

    def notice(self, text: str) -> None:
        """Tell of something that is worth knowing, and takes nothing from the lab."""
        self._notices.append(text)
        self.warn(text)

    def _lose(self, error: KeysteadError) -> None:
        """The lab is of no use any more: it ends, with this reason."""
        self.warn(str(error))
        self.lost = self.lost or error
        self.stopping.set()

    def _report(self, text: str, step: int, total: int) -> None:
        with contextlib.suppress(ProductError):
            self.lab.client.publish(Progress(text=text, step=step, total=total))

    def _keep_host(self, spec: NodeSpec) -> None:
        """Of hosts that the Lab file does not have, each once: adding one again changes nothing."""
        added = self.notes.record.hosts_added
        known = {*(s.node for s in self.lab.topology.nodes), *(raw["node"] for raw in added)}
        if spec.node not in known:
            self.notes.note(hosts_added=(*added, msgspec.to_builtins(spec)))

    def _drop_host(self, node: NodeName) -> None:
        added = self.notes.record.hosts_added
        with contextlib.suppress(KeysteadError):  # it is tried again
            self.notes.note(hosts_added=tuple(raw for raw in added if raw["node"] != node))

    def _keep_banks(self, node: NodeName, banks: BootBanks) -> None:
        self.notes.note(installed={**(self.notes.record.installed or {}), node: banks})

    async def run(self, waiting: Waiting) -> None:
        """Start, say when ready, serve until asked to stop, end everything."""
        async with await serve_health(self.folder, self.lab, self.ready):
            if self.inviter is None:
                await self._run(waiting)
            else:
                await self._run_inviting(waiting, self.inviter)

    async def _run_inviting(self, waiting: Waiting, inviter: Inviter) -> None:
        inviting = asyncio.get_running_loop().create_task(inviter.run())
        inviting.add_done_callback(self._report_end_of_inviting)
        try:
            await self._run(waiting)
        finally:
            inviting.cancel()

    def _report_end_of_inviting(self, inviting: asyncio.Task[None]) -> None:
        if not inviting.cancelled() and (error := inviting.exception()) is not None:
            self.warn(f"no machine is invited any more: {type(error).__name__}: {error}")
            traceback.print_exception(error)

    async def _run(self, waiting: Waiting) -> None:

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
                asked = KeysteadError("KS-LAB-007", "the lab was stopped while it started")
                raise self.lost or asked
            stop.cancel()
            starting.result()
            await ControlServer(self.lab.client).serve(
                {RunCommand: self._serve, OpenFiles: self._open_files}
            )
            self.folder.note_supervisor(serving=True)
            serving = loop.create_task(self.api.run()) if self.api else None
            if self.api:
                await self.api.wait_until_it_listens()
            self.ready.set()
            missing = missing_of(await all_seen(self.session))
            wrong = [text for text in self.session.warnings if text not in self._notices]
            ready = ProgressLine(
                ready=True, missing=(*wrong, *missing), notices=tuple(self._notices)
            )
            waiting.tell(ready)
        except BaseException:
            await self.lab.close()
            raise
        waiting.close()
        try:
            await self._live()
        finally:
            if serving is not None:
                serving.cancel()
                await asyncio.wait({serving})

    async def _begin(self, report: Any) -> None:
        await self.lab.start(report)
        if self.notes.record.ready:
            await self._resume(report)
        else:
            await provision(self.lab, report)
            await self.notes.keep_faults(self.keeper.dump())
            self.notes.note(ready=True)

    async def _resume(self, report: Any) -> None:
        """Power everything on again and take back what can be taken back.

        What does not come up is reported; the lab starts without it.
        """
        try:
            self.keeper.load(self.notes.faults())
        except (KeysteadError, ChaosError) as error:
            self.warn(f"{error}; faults of the last time are not known, and were not taken back")
            self.notes.put_faults_aside()
            await self.notes.keep_faults(self.keeper.dump())
        for node, banks in (self.notes.record.installed or {}).items():
            firmware = await self.lab.firmware_of(node)
            await self.lab.firmware(node, msgspec.structs.replace(firmware, banks=banks))
        course = Course(self.lab, report, 3)
        await start_nodes(self.lab, course, strict=False, away=self.lab.away())
        if self.keeper.active():
            course.begin(2, "heal the faults of the last time")
            await self.keeper.heal_all()
        course.begin(3, "wait until hosts are connected")
        up = [s.node for s in await self.lab.nodes() if s.state is NodeRunState.RUNNING]
        vcenters = [vcenter for vcenter in self.lab.topology.vcenters if vcenter in up]
        if vcenters:
            try:
                await wait_ready(self.lab, course, hosts=up)
                for vm in [vm for v in vcenters for vm in await all_vms(self.lab, v)]:
                    self.lab.know_vm(vm.vm)  # the Lab file has none that a command made
            except (KeysteadError, ProductError) as error:
                self.warn(str(error))

    async def _live(self) -> None:
        """Until it is asked to stop, or the lab is lost: then it ends with that error."""
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(work) for work in (self._leases(), self._checkpoints())]
            await self.stopping.wait()
            for task in tasks:
                task.cancel()
        with contextlib.suppress(KeysteadError):
            self.folder.note_supervisor(serving=False)
        self.notes.checkpoint()
        await self.session.tap.close()
        await self.lab.close(orderly=True)
        remove_clock(self.folder)
        if self.lost is not None:
            raise self.lost

    async def _leases(self) -> None:
        """Renew the leases of faults. An error with one fault is reported, and the others are
        renewed. The same error is reported once, however often it repeats.
        """
        told = ""
        while True:
            try:
                await self.keeper.keep_leases(self.lab.lease_tick_s)
            except Exception as error:
                text = f"leases of faults: {type(error).__name__}: {error}"
                if text != told:
                    self.warn(text)
                    if not isinstance(error, KeysteadError | ProductError | ChaosError):
                        traceback.print_exception(error)
                told = text
                await self.lab.sleep(self.lab.lease_tick_s)

    async def _checkpoints(self) -> None:
        while True:
            await asyncio.sleep(CHECKPOINT_EVERY_S)
            if not self.folder.holds(self._lock):
                self._lose(KeysteadError("KS-LAB-005", f"{self.folder.path} has gone"))
                return
            self.notes.checkpoint()
            with contextlib.suppress(OSError):  # a full disk has no room for a new one either
                self._cut_log()

    def _cut_log(self) -> None:
        """Begin the log anew when it is long: this process writes into it all its life."""
        if put_aside(self.folder.log):
            fd = os.open(self.folder.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
            for stream in (1, 2):
                os.dup2(fd, stream)
            os.close(fd)

    async def _serve(self, message: RunCommand, sender: str) -> CommandDone:
        try:
            return await carry_out(self.session, message, self._files_key)
        except (KeysteadError, OSError) as failure:
            error = no_room(failure) if isinstance(failure, OSError) else failure
            return CommandDone(
                error_id=error.id,
                error=str(error),
                fix=error.fix,
                fault=error.fault,
                keys=error.keys,
            )

    async def _open_files(self, message: OpenFiles, sender: str) -> FilesOpen:
        return FilesOpen(public_key=self._files_key.public)


def _to_log(text: str) -> None:
    with contextlib.suppress(OSError):  # the log may be on the disk that is full
        print(f"{time.strftime('%Y-%m-%d %H:%M:%S')} {text}", file=sys.stderr, flush=True)


def _failure_line(error: BaseException) -> ProgressLine:
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    if isinstance(error, KeysteadError):
        return ProgressLine(error_id=error.id, text=str(error), fix=error.fix)
    if isinstance(error, ProductError):
        return ProgressLine(error_id="KS-LAB-003", text=f"{type(error).__name__}: {error}")
    if isinstance(error, OSError):
        return _failure_line(no_room(error))
    return ProgressLine(error_id="KS-INT-001", text=f"{type(error).__name__}: {error}")


def main() -> None:
    folder, waiting = LabFolder(sys.argv[1]), Waiting(int(sys.argv[2]))
    # Brokers and agents inherit both. A core file would have identities, recovery keys, requests.
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    withhold_memory()
    try:
        with folder.lock(int(sys.argv[3]) if len(sys.argv) > 3 else -1) as lock:
            folder.note_supervisor(serving=False)
            folder.note_end("")
            folder.note_purge(False)
            record = folder.record()
            if record is None:
                raise KeysteadError("KS-LAB-001", f"there is no lab {folder.name}")
            supervisor = Supervisor(folder, record, lock)
            run_watched(supervisor.run(waiting), supervisor.report_stall)
            folder.forget_supervisor()
    except BaseException as error:
        line = _failure_line(error)
        waiting.tell(line)
        folder.note_end(line.text)
        if isinstance(error, KeysteadError):
            sys.exit(error.exit_code)
        raise


# ---- health --------------------------------------------------------------------------------------
# How a lab is, as its supervisor says to ``keystead healthcheck``.


async def serve_health(folder: LabFolder, lab: ProcessLab, ready: asyncio.Event) -> asyncio.Server:
    """Answer for the lab, from before it is built. Raises ``OSError``."""

    async def tell() -> MachineHealth:
        if not ready.is_set():
            return await _being_built(folder.name, lab)
        try:
            await lab.client.echo()
        except ProductError as error:
            return MachineHealth(well=False, text=f"the lab {folder.name} does not answer: {error}")
        return MachineHealth(well=True, text=f"the lab {folder.name} answers")

    return await serve(folder.path, SUPERVISOR, tell)


async def _being_built(name: str, lab: ProcessLab) -> MachineHealth:
    """It is well when machines can join: it cannot be built before they have."""
    joins = lab.roster is not None and await lab.roster.proxy.lets_in()
    told = "is being built, and lets machines join" if joins else "lets nobody join yet"
    return MachineHealth(well=joins, text=f"the lab {name} {told}")


if __name__ == "__main__":
    main()
