"""The processes of one machine, held for a supervisor that is elsewhere as long as it is reached;
and what the machine keeps in its own state folder of a lab that it has joined.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import shutil
import signal
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any, Final

import msgspec

from lab.arrays.shared_datastore import link
from lab.brokers.configuration import AgentConfig
from lab.brokers.control_plane import Handler, NoAnswer
from lab.brokers.monitoring import NoServer, fetch_greeting
from lab.machines.bundle import AUTHORITY, Bundle, MachinePart, identity_files, unseal_part
from lab.machines.health import MachineHealth
from lab.machines.listening import digest_of
from lab.processes.agents import Agents
from lab.schema.errors import KeysteadError
from lab.state.scratch import hold, no_room, state_home
from protocol.crypto.transfer import OneTimeKey
from protocol.errors import HostUnreachable, InvalidState, NotAvailable, SaveFailed
from protocol.messages.base import Request
from protocol.messages.host.session import Done
from protocol.messages.machines import (
    Beat,
    Beaten,
    EndProcess,
    HeldProcess,
    KeepIdentities,
    KnowNodes,
    ProcessStarted,
    RefuseMachine,
    ReleaseMachine,
    StartProcess,
    StopProcess,
    TakeMachine,
)
from protocol.names import NODE
from services.runtime.forking.children import ChildProcess
from services.runtime.real.broker_tls import ForeignServersTls
from services.runtime.real.files import replace_file
from services.runtime.real.shared_offset import SharedOffset, machine_clock
from services.runtime.real.streams import write_gate_addresses

_HOLDER_BYTES: Final = 16
_HOLD_AGAIN_S: Final = 0.01
_HOLD_TRIES: Final = 20
_MACHINE_ID: Final = Path("/etc/machine-id")
_BOOT_ID: Final = Path("/proc/sys/kernel/random/boot_id")


class _Joined(msgspec.Struct, frozen=True):
    bundle: str
    holder: str


class _LastRun(msgspec.Struct, frozen=True):
    """``place``: the boot of the machine, and which folder it was; a copy is another one."""

    run: str
    place: str


class JoinedFolder:
    """The folder of one machine of one lab, and its lock, held until ``close``."""

    def __init__(self, bundle: Bundle, home: Path | None = None) -> None:
        """``home`` in place of this user's state folder. KS-AGENT-005 when an agent runs in it,
        KS-AGENT-009 when it is another machine's, KS-LAB-005 when nothing can be written."""
        self._bundle, manifest = bundle, bundle.manifest
        self.lab, self.machine = manifest.lab, manifest.machine
        agents = (home or state_home()) / "agents"
        self.path = agents / f"{manifest.lab}-{manifest.machine}-{digest_of(bundle.authority)}"
        try:
            self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
            lock, tries = hold(self.path), _HOLD_TRIES
            while lock is None and (tries := tries - 1):  # a look at its health lasts for a moment
                time.sleep(_HOLD_AGAIN_S)
                lock = hold(self.path)
            if lock is None:
                text = f"an agent of machine {manifest.machine} runs here already ({self.path})"
                raise KeysteadError("KS-AGENT-005", text)
            self._lock = lock
            self.holder = _holder(agents)
            self._fill(bundle)
        except OSError as error:
            raise no_room(error) from None

    def _fill(self, bundle: Bundle) -> None:
        note, manifest = self.path / "joined.json", bundle.manifest
        if note.exists():
            try:
                before = msgspec.json.decode(note.read_bytes(), type=_Joined)
            except msgspec.DecodeError:
                before = _Joined("", self.holder)
            if before.holder != self.holder:
                text = f"{self.path} was brought here from another machine"
                raise KeysteadError("KS-AGENT-009", text)
        for folder in ("node", "control", "public"):
            (self.path / "identity" / folder).mkdir(mode=0o700, parents=True, exist_ok=True)
        for name in identity_files(manifest):
            replace_file(self.path / name, bundle.files[name], mode=0o600, durable=False)
        self.authority.write_bytes(bundle.files[AUTHORITY])
        kept = msgspec.json.encode(_Joined(manifest.id, self.holder))
        replace_file(note, kept, durable=True)

    @property
    def authority(self) -> Path:
        """The lab's certificate authority (PEM)."""
        return self.path / AUTHORITY

    def share(self, arrays: Path | None) -> dict[str, Path]:
        """Where the folder of each shared datastore is: ``arrays``, or what the Lab file says, or
        for want of both this folder. KS-USE-003 for ``arrays`` that nothing lies in, KS-LAB-005
        when nothing can be written here."""
        shared = self._bundle.manifest.shared
        if arrays is not None and not shared:
            text = f"--arrays {arrays}: no datastore of this machine lies in a shared folder"
            raise KeysteadError("KS-USE-003", text)
        own = self.path / "arrays"
        found = {one.name: arrays or Path(one.folder or own) for one in shared}
        link(own, {name: at for name, at in found.items() if at != own})
        return found

    def know(self, public: dict[str, bytes], where: dict[str, str]) -> None:
        """Public identities of nodes, by their names, which were checked; and where those of other
        machines take connections."""
        lab, _, _ = self._bundle.manifest.address.rpartition(":")
        write_gate_addresses(
            self.path, {n: f"{lab}{at}" if at.startswith(":") else at for n, at in where.items()}
        )
        for node, data in public.items():
            path = self.path / "identity" / "public" / f"{node}.json"
            if not path.exists() or path.read_bytes() != data:
                replace_file(path, data, mode=0o644, durable=False)

    def keep(self, part: MachinePart) -> None:
        """Have what is private of a host that came later, durably; raises ``OSError``."""
        for name, data in part.files.items():
            path = self.path / name
            if not path.exists() or path.read_bytes() != data:
                replace_file(path, data, mode=0o600, durable=True)

    def last_run(self) -> str:
        """The run that was kept last in this boot and in this very folder; else empty."""
        try:
            kept = msgspec.json.decode((self.path / "run.json").read_bytes(), type=_LastRun)
        except (OSError, msgspec.DecodeError):
            return ""
        return kept.run if kept.place == self._place() else ""

    def keep_run(self, run: str) -> None:
        """That run is taken, durably; raises ``OSError``."""
        if self.last_run() != run:
            kept = msgspec.json.encode(_LastRun(run, self._place()))
            replace_file(self.path / "run.json", kept, mode=0o600, durable=True)

    def _place(self) -> str:
        there = self.path.stat()
        return f"{_BOOT_ID.read_text().strip()} {there.st_dev} {there.st_ino}"

    def remove(self) -> None:
        """The lab is no more, nor is what it has here."""
        shutil.rmtree(self.path, ignore_errors=True)

    def close(self) -> None:
        """Let another agent have it."""
        os.close(self._lock)


def _holder(agents: Path) -> str:
    """A name of this machine: drawn once, and bound to what the system calls it."""
    path = agents / "holder"
    if not path.exists():
        lock = None
        while (lock := hold(agents)) is None:  # two first agents at once would draw two names
            time.sleep(_HOLD_AGAIN_S)
        try:
            if not path.exists():
                drawn = os.urandom(_HOLDER_BYTES).hex().encode()
                replace_file(path, drawn, mode=0o600, durable=True)
        finally:
            os.close(lock)
    system = _MACHINE_ID.read_bytes() if _MACHINE_ID.is_file() else b""
    return hashlib.sha256(path.read_bytes() + system).hexdigest()[: 2 * _HOLDER_BYTES]


LOOK_EVERY_S: Final = 0.2


@dataclass
class _Held:
    life: int
    child: ChildProcess


class Holding:
    """``say`` hears in a sentence what happens; ``refused`` gets the error of a refusal for good,
    ``purged`` is set when the lab is no more.

    ``run`` names this life with this supervisor; ``ended`` the one before, when its processes are
    gone: also that of an agent that was killed. ``url`` is the lab's TLS proxy; ``gate`` is where
    other machines find this one's, or empty.
    """

    def __init__(
        self, folder: JoinedFolder, url: str, agents: Agents, say: Callable[[str], None]
    ) -> None:
        self._folder, self._url, self._agents, self.say = folder, url, agents, say
        self.page = SharedOffset(folder.path / "offset")
        self.page.seconds = float("nan")  # that of another boot says nothing
        self.run, self.ended = os.urandom(8).hex(), ""
        self._key = OneTimeKey()  # of this run
        self._before = folder.last_run()
        self._runs = {self.run}
        self.look_back()
        self.taken, self.gate = False, ""
        self.purged = asyncio.Event()  # the lab is removed for good
        self.refused: asyncio.Future[KeysteadError] = asyncio.get_running_loop().create_future()
        self._lease_s = 0.0
        self._heard = 0.0
        self._told_to_wait = ""
        self.epoch = 0.0  # of the lab's time in what is held
        self._held: dict[str, _Held] = {}
        self._starting: dict[str, asyncio.Lock] = {}
        self._lives = count(1)
        agents.on_end = self._child_ended
        self.handlers: Mapping[type[Request[Any]], Handler] = {
            TakeMachine: self._take,
            RefuseMachine: self._refuse,
            Beat: self._beat,
            StartProcess: self._start,
            StopProcess: self._stop,
            EndProcess: self._end,
            KnowNodes: self._know,
            KeepIdentities: self._keep,
            ReleaseMachine: self._release,
        }

    def list_processes(self) -> tuple[HeldProcess, ...]:
        """What runs, by name."""
        found = sorted(self._held.items())
        return tuple(HeldProcess(name=name, life=one.life) for name, one in found)

    @property
    def key(self) -> bytes:
        """Public: what is sealed to it only this run opens."""
        return self._key.public

    @property
    def silent_s(self) -> float:
        """How long the supervisor has not been heard."""
        return machine_clock() - self._heard

    def look_back(self) -> None:
        """Whether processes of an agent before this one, which was killed, have ended: this one has
        its folder, so no more of them are started."""
        if self._before and self.page.deserted():
            self.ended, self._before = self._before, ""

    async def health(self) -> MachineHealth:
        """Whether the supervisor holds this machine, and what runs."""
        if not self.taken:
            return MachineHealth(well=False, text="not taken by the lab")
        names = tuple(self._held)
        well = bool(names) and self.silent_s <= self._lease_s
        text = f"{len(names)} processes; the supervisor was heard {self.silent_s:.1f} s ago"
        return MachineHealth(well=well, text=text, processes=names)

    async def watch(self) -> None:
        """End everything when the lease is over; until cancelled."""
        while True:
            await asyncio.sleep(LOOK_EVERY_S)
            if self.taken and self._lease_is_over():
                await self.let_go()
                self.say(
                    f"the supervisor was not heard for {self._lease_s:g} s: all processes are "
                    "ended, and with them their nodes and faults"
                )

    def _lease_is_over(self) -> bool:
        return machine_clock() > self.page.lease_end

    async def let_go(self) -> None:
        """Nothing of this run is alive on return; another run begins."""
        self.taken = False
        self.page.lease_end = float("-inf")  # one that is being forked ends by itself
        while self._held:
            children = [held.child for held in self._held.values()]
            for child in children:
                child.kill()
            for child in children:
                await child.gone.wait()
        self.ended, self.run, self._key = self.run, os.urandom(8).hex(), OneTimeKey()
        self._runs.add(self.run)
        self.page.seconds = float("nan")

    def check_run(self, run: str) -> None:
        """``NoAnswer`` for what is not: another agent of this machine, with a copy of its bundle,
        hears what we are told."""
        if run not in self._runs:
            raise NoAnswer

    def _ours(self, run: str) -> None:
        self.check_run(run)
        if run != self.run or not self.taken or self._lease_is_over():
            raise InvalidState("this agent was not taken in that run, or its lease is over")

    # ---- what the supervisor says ---------------------------------------------------------------

    async def _take(self, message: TakeMachine, sender: str) -> Done:
        self.check_run(message.run)
        if message.run != self.run or (self.taken and self._lease_is_over()):
            raise InvalidState("this agent is in another run, or its lease is over")
        self._learn(message.public, message.where)
        self._keep_run()
        self._lease_s, self._heard = message.lease_s, machine_clock()
        self.page.lease_end = self._heard + message.lease_s
        if not self.taken:
            self.taken, self._told_to_wait = True, ""
            self.say(f"joined: the lease is {message.lease_s:g} s")
        return Done()

    async def _refuse(self, message: RefuseMachine, sender: str) -> Done:
        self.check_run(message.run)
        if message.run != self.run or self.taken:
            raise InvalidState("this agent is in another run")
        if not message.wait:
            if not self.refused.done():
                error = KeysteadError(message.error_id, message.text, message.fix)
                self.refused.set_result(error)
        elif not self._told_to_wait:
            self._told_to_wait = message.text
            self.say(f"waits: {message.text}")
        return Done()

    async def _beat(self, message: Beat, sender: str) -> Beaten:
        received = machine_clock()
        self._ours(message.run)
        self._heard = machine_clock()
        self.page.lease_end = max(self.page.lease_end, self._heard + message.grant_s)
        if message.offset_s is not None:
            self.page.seconds = message.offset_s
        return Beaten(
            received=received,
            wall=time.time(),
            load=os.getloadavg()[0],
            processes=self.list_processes(),
            answered=machine_clock(),
        )

    async def _start(self, message: StartProcess, sender: str) -> ProcessStarted:
        self._ours(message.run)
        if message.bus:
            await _check_reachable(message.bus)
            self._ours(message.run)
        config = AgentConfig(
            name=message.name,
            folder=str(self._folder.path),
            control_url=self._url,
            data_url=message.bus or self._url,
            theirs=bool(message.bus),
            tls=ForeignServersTls(message.authority) if message.bus.startswith("tls:") else None,
            epoch=message.epoch,
            wall=message.wall,
            pace=message.pace,
            seed=message.seed,
            authority=str(self._folder.authority),
            offset=str(self._folder.path / "offset"),
        )
        async with self._starting.setdefault(message.name, asyncio.Lock()):
            await self._kill_process(message.name)
            self._ours(message.run)
            try:
                child = await self._agents.spawn(message.label, config)
            except KeysteadError as error:
                raise NotAvailable(str(error)) from None
            held = _Held(next(self._lives), child)
            if message.run != self.run or not self.taken:  # the lease ended meanwhile
                child.kill()
                await child.gone.wait()
                self._ours(message.run)
            self._held[message.name], self.epoch = held, message.epoch
        return ProcessStarted(life=held.life)

    async def _stop(self, message: StopProcess, sender: str) -> Done:
        self._ours(message.run)
        held = self._held.get(message.name)
        if held is not None and held.life == message.life:
            held.child.signal(signal.SIGSTOP if message.stopped else signal.SIGCONT)
        return Done()

    async def _end(self, message: EndProcess, sender: str) -> Done:
        self._ours(message.run)
        held = self._held.get(message.name)
        if held is not None and held.life == message.life:
            await self._kill_process(message.name)
        return Done()

    async def _know(self, message: KnowNodes, sender: str) -> Done:
        self._learn(message.public, message.where)
        return Done()

    async def _keep(self, message: KeepIdentities, sender: str) -> Done:
        self._ours(message.run)
        part = unseal_part(message.box, self.run, self._key, self._folder.lab, self._folder.machine)
        try:
            self._folder.keep(part)
        except OSError as error:
            raise _not_written(error) from None
        return Done()

    async def _release(self, message: ReleaseMachine, sender: str) -> Done:
        self._ours(message.run)
        await self.let_go()
        if message.purged:
            self.say(f"the lab is removed, and so is {self._folder.path}")
            self.purged.set()
        else:
            self.say("the lab is taken down; this agent waits until it is up again")
        return Done()

    async def _kill_process(self, name: str) -> None:
        held = self._held.get(name)
        if held is not None:
            held.child.kill()
            await held.child.gone.wait()

    def _learn(self, public: dict[str, bytes], where: dict[str, str]) -> None:
        known = {node: data for node, data in public.items() if not NODE.fault(node)}
        try:
            self._folder.know(known, where)
        except OSError as error:
            raise _not_written(error) from None

    def _keep_run(self) -> None:
        try:
            self._folder.keep_run(self.run)
        except OSError as error:
            raise _not_written(error) from None

    def _child_ended(self, child: ChildProcess) -> None:
        for name, held in list(self._held.items()):
            if held.child is child:
                del self._held[name]


async def _check_reachable(urls: str) -> None:
    """Return when a server of the bus answers from here: a node that reaches none would boot
    without a network, and say so to nobody. ``HostUnreachable`` when none does."""
    away: list[str] = []
    for url in urls.split(","):
        try:
            await fetch_greeting(url)
        except NoServer as error:
            away.append(str(error))
        else:
            return
    raise HostUnreachable("; ".join(away))


def _not_written(error: OSError) -> SaveFailed:
    return SaveFailed(f"its state folder cannot be written: {error.strerror or error}")
