"""Bundles without a hand that carries them: a folder that a lab and its machines share.

    <folder>/<machine>/<machine>.ask      a machine of the Lab file wants its bundle
    <folder>/<pool>/<name>.ask            one more machine wants a place in a pool
    .../<name>.bundle                     there when the ask has gone

Who may write into the folder may join, and who may read it may join in another's name: it is shared
with nobody else, and each part of it with those that the part is for. A machine that was invited is
powered on as a machine is by its switch: its nodes boot when it joins.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import os
import time
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import Final, TypeVar

import msgspec

from lab.building.course import Course, unheard
from lab.building.provision import provision_host
from lab.building.trust import TrustedArrivals
from lab.machines.bundle import LARGEST
from lab.machines.issuing import issue, stands, write_new
from lab.machines.listening import find_address
from lab.machines.machine import MachineProcesses
from lab.processes.notebook import Notebook
from lab.processes.process_lab import ProcessLab
from lab.schema.errors import KeysteadError
from lab.state.in_thread import in_thread
from lab.state.state_folder import Invitations, LabFolder, Place
from lab.topology.lab_file import LabFile
from lab.topology.plan import machine_of_host, next_place, spec_of, vms_of
from protocol import names
from protocol.errors import ProductError
from protocol.messages.agent import NodeRunState, NodeSpec
from protocol.terms import NodeName
from services.runtime.real.files import read_regular_file

LOOK_EVERY_S: Final = 0.2
AGAIN_S: Final = 2.0  # after a failure
GOOD_FOR_S: Final = 30 * 86_400.0
BOOTS_AT_ONCE: Final = 8
ANSWER_S: Final = 10.0  # real seconds for the folder that machines share

T = TypeVar("T")


def _read_bundle_place(ask: Path, bundle: Path) -> bytes | None:
    """What lies in the place of a bundle, nothing for what is no file: whoever asks may have put a
    pipe there. None when nobody asks any more."""
    if not ask.exists():
        return None
    try:
        return read_regular_file(bundle, LARGEST)
    except (FileNotFoundError, ValueError):
        return b""


def _put(bundle: Path, data: bytes) -> None:
    new = bundle.with_suffix(".new")
    new.unlink(missing_ok=True)
    write_new(new, data)
    os.replace(new, bundle)


class Inviter:
    """``ready`` is set when the lab is built: from then on places are given."""

    def __init__(
        self,
        folder: LabFolder,
        file: LabFile,
        lab: ProcessLab,
        notes: Notebook,
        invitations: Invitations,
        ready: asyncio.Event,
        warn: Callable[[str], None],
    ) -> None:
        self._folder, self._file, self._lab, self._notes = folder, file, lab, notes
        self._at, self._address = Path(invitations.folder), invitations.address
        self._warn, self._told = warn, ""
        self._ready = ready
        self._boots = asyncio.Semaphore(BOOTS_AT_ONCE)
        self._arrivals: TrustedArrivals | None = None

    async def run(self) -> None:
        """Until cancelled. What fails is told, once, and tried again."""
        async with asyncio.TaskGroup() as group:
            kept_up: set[str] = set()
            while True:
                try:
                    await self._look()
                except (KeysteadError, ProductError, OSError) as error:
                    self._tell(f"invitations in {self._at}: {error}")
                    await asyncio.sleep(AGAIN_S)
                if self._ready.is_set() and self._lab.roster is not None:
                    for name, machine in list(self._lab.roster.machines.items()):
                        if name not in kept_up:
                            kept_up.add(name)
                            group.create_task(self._keep_up(machine))
                await asyncio.sleep(LOOK_EVERY_S)

    def _tell(self, text: str) -> None:
        if text != self._told:
            self._warn(text)
        self._told = text

    @property
    def _places(self) -> tuple[Place, ...]:
        return self._notes.record.places or ()

    # ---- bundles --------------------------------------------------------------------------------

    async def _look(self) -> None:
        """Answer those that ask now. The folder is looked at in a thread: it may be on a mount
        that does not answer."""
        if find_address(self._folder.path) is None:
            return  # the TLS proxy was never open yet
        asking = await self._outside(self._asking)
        pools = {pool.pool for pool in self._lab.topology.pools}
        for machine in self._file.machines:
            asks = asking.pop(machine.name, [])
            if machine.name in pools:
                if asks and self._ready.is_set():
                    await self._give_places(machine.name, [ask.stem for ask in asks])
                    await self._answer(asks)
            elif own := [ask for ask in asks if ask.stem == machine.name]:
                await self._answer(own)
        self._tell_of_strangers(asking)

    async def _outside(self, work: Callable[[], T]) -> T:
        """Work in the folder that machines share; ``OSError`` when it does not answer."""
        try:
            return await in_thread(work, ANSWER_S)
        except TimeoutError:
            raise OSError(f"the folder has not answered for {ANSWER_S:g} s") from None

    def _asking(self) -> dict[str, list[Path]]:
        """Those that ask, by the folder that they ask in."""
        found: dict[str, list[Path]] = {}
        for ask in sorted(self._at.glob("*/*.ask")):
            found.setdefault(ask.parent.name, []).append(ask)
        return found

    def _tell_of_strangers(self, asking: Iterable[str]) -> None:
        """They wait, as one does whose lab is not there yet: the Lab file may be the wrong one."""
        if asking:
            names = ", ".join(repr(name[:60]) for name in sorted(asking))
            self._tell(f"asked for a bundle of {names}, and the Lab file has no such machine")

    async def _give_places(self, pool: str, asking: list[str]) -> None:
        """Each that has none gets one, noted before the lab has it."""
        there = {machine.name for machine in self._file.machines}
        given = list(self._places)
        for name in asking:
            mine = next((place for place in given if place.machine == name), None)
            if names.MACHINE.fault(name) or name in there or (mine and mine.pool != pool):
                refused = self._at / pool / f"{name}.ask"
                await self._outside(partial(refused.unlink, missing_ok=True))
                self._tell(f"a machine that calls itself {name[:60]!r} gets no place in {pool}")
            elif mine is None:
                given.append(next_place(self._file, given, pool, name))
        new = given[len(self._places) :]
        if not new:
            return
        first = self._lab.next_process
        self._notes.note(places=tuple(given))
        topology = self._lab.topology
        await self._lab.open_places(
            [
                (spec_of(self._file, place), machine_of_host(topology, place, first + at))
                for at, place in enumerate(new)
            ]
        )

    async def _answer(self, asks: list[Path]) -> None:
        for ask in asks:
            bundle = ask.with_suffix(".bundle")
            content = await self._outside(partial(_read_bundle_place, ask, bundle))
            if content is None:
                continue  # it was refused
            digest = hashlib.sha256(content).hexdigest()
            if not stands(self._folder.path, ask.stem, digest, time.time()):
                await self._outside(partial(_put, bundle, self._issue_bundle(ask.stem)))
            await self._outside(partial(ask.unlink, missing_ok=True))

    def _issue_bundle(self, machine: str) -> bytes:
        """The bytes of a new bundle, which is written in the folder of the lab first."""
        file = self._folder.path / f"{machine}.new"
        file.unlink(missing_ok=True)
        try:
            issue(self._folder.name, machine, file, self._address, GOOD_FOR_S)
            return file.read_bytes()
        finally:
            file.unlink(missing_ok=True)

    # ---- nodes ----------------------------------------------------------------------------------

    async def _keep_up(self, machine: MachineProcesses) -> None:
        """Boot its nodes each time that it has joined, and build the host of a new place."""
        seen = ""
        while True:
            await machine.joined.wait()
            if machine.run == seen:
                await asyncio.sleep(LOOK_EVERY_S)
                continue
            run = machine.run
            # Hosts take turns; what they wait for, key servers and vCenter, waits for none of them.
            turn = self._boots if machine.plan.pool else contextlib.nullcontext()
            try:
                async with turn:
                    for node in machine.plan.nodes:
                        await self._boot(node)
                    await self._build(machine.name)
            except (KeysteadError, ProductError) as error:
                self._tell(f"machine {machine.name}: {error}")
                await asyncio.sleep(AGAIN_S)
            else:
                seen = run

    async def _boot(self, node: NodeName) -> None:
        if (await self._lab.status(node)).state is NodeRunState.OFF:
            await self._lab.power_on(node)

    async def _build(self, machine: str) -> None:
        place = next((place for place in self._places if place.machine == machine), None)
        if place is None or place.built:
            return
        spec = self._lab.spec(place.node)
        persistent = {c.name for c in self._file.clusters if c.hosts.key_persistence}
        await provision_host(
            self._lab,
            Course(self._lab, unheard, 0),
            place.node,
            vms_of(self._file, self._places, place),
            persistent=spec.cluster in persistent,
            trusted=self._find_arrivals(spec),
        )
        built = msgspec.structs.replace(place, built=True)
        self._notes.note(
            places=tuple(built if one.machine == machine else one for one in self._places)
        )

    def _find_arrivals(self, spec: NodeSpec) -> TrustedArrivals | None:
        """Who sees to the trust of that host; None for one of a cluster that is not a trusted one,
        or whose Trust Authority is for people to set up."""
        trust = self._lab.topology.trust
        if trust is None or not trust.setup or spec.cluster not in trust.clusters:
            return None
        self._arrivals = self._arrivals or TrustedArrivals(self._lab, trust)
        return self._arrivals
