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
from collections.abc import Callable
from pathlib import Path
from typing import Final

import msgspec

from lab.errors import KeysteadError
from lab.machines.admission import stands
from lab.machines.issuing import issue
from lab.machines.listening import kept
from lab.machines.machine import Machine
from lab.processes.process_lab import ProcessLab
from lab.supervise.notebook import Notebook
from lab.supervise.state_folder import Invitations, LabFolder, Place
from lab.topology.course import Course, unheard
from lab.topology.lab_file import LabFile
from lab.topology.places import machine_of, next_place, spec_of, vms_of
from lab.topology.provision import provision_host
from lab.topology.trusted_arrivals import TrustedArrivals
from protocol import names
from protocol.errors import ProductError
from protocol.messages.agent import NodeRunState, NodeSpec
from protocol.terms import NodeName

LOOK_EVERY_S: Final = 0.2
AGAIN_S: Final = 2.0  # after a failure
GOOD_FOR_S: Final = 30 * 86_400.0
BOOTS_AT_ONCE: Final = 8


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
        """Answer those that ask now."""
        if kept(self._folder.path) is None:
            return  # the door was never open yet
        pools = {pool.pool for pool in self._lab.topology.pools}
        for machine in self._file.machines:
            asks = sorted((self._at / machine.name).glob("*.ask"))
            if machine.name in pools:
                if asks and self._ready.is_set():
                    await self._give_places(machine.name, [ask.stem for ask in asks])
                    self._answer(asks)
            else:
                self._answer([ask for ask in asks if ask.stem == machine.name])
        self._tell_of_strangers()

    def _tell_of_strangers(self) -> None:
        """They wait, as one does whose lab is not there yet: the Lab file may be the wrong one."""
        known = {machine.name for machine in self._file.machines}
        asking = {ask.parent.name for ask in self._at.glob("*/*.ask")} - known
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
                (self._at / pool / f"{name}.ask").unlink(missing_ok=True)
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
                (spec_of(self._file, place), machine_of(topology, place, first + at))
                for at, place in enumerate(new)
            ]
        )

    def _answer(self, asks: list[Path]) -> None:
        for ask in asks:
            if not ask.exists():
                continue  # it was refused
            bundle = ask.with_suffix(".bundle")
            data = bundle.read_bytes() if bundle.exists() else b""
            digest = hashlib.sha256(data).hexdigest()
            if not stands(self._folder.path, ask.stem, digest, time.time()):
                new = ask.with_suffix(".new")
                new.unlink(missing_ok=True)
                issue(self._folder.name, ask.stem, new, self._address, GOOD_FOR_S)
                os.replace(new, bundle)
            ask.unlink()

    # ---- nodes ----------------------------------------------------------------------------------

    async def _keep_up(self, machine: Machine) -> None:
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
            trusted=self._trusted(spec),
        )
        built = msgspec.structs.replace(place, built=True)
        self._notes.note(
            places=tuple(built if one.machine == machine else one for one in self._places)
        )

    def _trusted(self, spec: NodeSpec) -> TrustedArrivals | None:
        """Who sees to the trust of that host; None for one of a cluster that is not a trusted one,
        or whose Trust Authority is for people to set up."""
        trust = self._lab.topology.trust
        if trust is None or not trust.setup or spec.cluster not in trust.clusters:
            return None
        self._arrivals = self._arrivals or TrustedArrivals(self._lab, trust)
        return self._arrivals
