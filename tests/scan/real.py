"""A life of real processes with every secret written down, and all places it left bytes in."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import TypeVar

import msgspec
import nkeys
import psutil

from chaos.conversation import ConversationEnd, conversation
from chaos.experiment.lint import read_experiment
from chaos.experiment.resolve import plan as plan_experiment
from chaos.keeper import FaultKeeper
from lab.brokers.identities import TAP
from lab.building.provision import provision
from lab.play.own_lab import record_build, searching
from lab.play.prepare import Prepared
from lab.processes.process_lab import ProcessLab
from lab.runs.live import play_on
from lab.runs.store import RunFolder, RunRecord
from lab.scan.ledger import Collector
from lab.scan.search import Find, SearchedPlace, files_of, search
from lab.schema.commands import Command
from lab.serve.session import LabSession
from lab.serve.table import perform
from lab.topology.lab_file import load
from lab.topology.plan import plan
from protocol.guest import guest_seed
from services.runtime.real.bus import TapWire
from services.runtime.real.world import LabTime
from tests.scan.story import MARKER, story

A = TypeVar("A")
SHORT = Path(__file__).with_name("short.yaml")
PACE = 60.0
RECORD = RunRecord(
    run="short",
    experiment="short",
    mode="lab",
    seed=7,
    code="",
    python="",
    lock="",
    began=0.0,
    scan=True,
)


class Life:
    """One lab in ``home/lab``, whose keys are collected; ``patch`` is planted in its processes."""

    def __init__(self, home: Path, collector: Collector, patch: str = "") -> None:
        self.home, self.folder, self.collector = home, home / "lab", collector
        topology = plan(load("default", hosts=3, vms=4, tpm="libtpms", pace=PACE))
        clock = LabTime(time.monotonic(), time.time(), PACE)
        self.lab = ProcessLab(self.folder, topology, clock, 7, patch=patch)
        self.lab.ledger = collector.name
        self.notes: list[bytes] = []
        self.wire: list[SearchedPlace] = []
        self.processes: list[SearchedPlace] = []
        self.files: list[SearchedPlace] = []
        self.cores: list[str] = []
        self.session = LabSession(self.lab, FaultKeeper(self.lab, save=self._keep))
        self.run = RunFolder("short", home / "runs")
        self.text = SHORT.read_text()

    async def _keep(self, data: bytes) -> None:
        self.notes.append(data)

    async def _do(self, command: Command[A]) -> A:
        return await perform(self.session, command)

    async def live(self, *, whole: bool) -> None:
        """From the first process to the last; ``whole``: with the story, else a short run only."""
        lab = self.lab
        await lab.start()
        tap = TapWire(lab.data.url, lab.identities.control(TAP).seed, self._hear)
        await tap.open()
        try:
            async with record_build(lab):
                await provision(lab, self.session.report)
            if whole:
                await story(self._do, lab.sleep, tpm=True)
            made = plan_experiment(read_experiment(SHORT), lab.directory(), 7)
            self.run.make()
            self.run.write("run.json", msgspec.json.encode(RECORD))
            prepared = Prepared(plan=made, topology=lab.topology, text=self.text)
            scan = searching(lab, self.session.keeper, prepared, self.run, self.collector)
            keeper = self.session.keeper
            verdict = await play_on(made, self.run, lab, keeper, lambda *_: None, scan=scan)
            [self.judged] = [c for c in verdict.checks if c.name == "no_plaintext_key"]
            assert verdict.exit_code in (0, 1), verdict.reasons
            assert tap.gaps == 0
            with self.run.bus.open("rb") as file:
                *said, end = conversation(file)
            assert end == ConversationEnd(messages=len(said), dropped=0, gaps=0), end
            self._look_at_processes()
            self.files += files_of(self.folder)  # logs of databases are gone after an orderly end
        finally:
            await tap.close()
            await lab.close(orderly=True)
        self.files += files_of(self.folder)

    def _hear(self, subject: str, reply: str, payload: bytes) -> None:
        self.wire.append(SearchedPlace("bus", subject, f"{subject} {reply} ".encode() + payload))

    def _look_at_processes(self) -> None:
        """What everybody on the machine may read of them, and whether they would leave cores."""
        for pid in self.lab.agents.pids:
            process = Path(f"/proc/{pid}")
            for file in ("cmdline", "environ"):
                self.processes.append(SearchedPlace("process", file, (process / file).read_bytes()))
            limits = psutil.Process(pid).rlimit(psutil.RLIMIT_CORE)
            self.cores.append(f"{limits}")

    # ---- afterwards -------------------------------------------------------------------------

    def secrets(self) -> dict[bytes, str]:
        """Bytes -> who made it."""
        found = dict(self.collector.secrets)
        for name, _ in self.lab.identities.node_nkeys():
            node = self.lab.identities.node(name)
            found[node.sealing.private_bytes_raw()] = "identity"
            found[node.seed.encode()] = "identity"
            found[nkeys.decode_seed(node.seed.encode())[1]] = "identity"
        found[guest_seed(MARKER)] = "guest"
        return found

    def places(self) -> Iterator[SearchedPlace]:
        yield from self.wire
        yield from self.processes
        for data in self.notes:
            yield SearchedPlace("faults", "notes", data)
        for path in sorted(self.run.path.rglob("*")):
            if path.is_file():
                yield SearchedPlace("history", path.name, path.read_bytes())
        yield from self.files

    def scan(self) -> tuple[list[Find], dict[str, int]]:
        """What is found, and bytes looked at by kind of place."""
        places = list(self.places())
        looked: dict[str, int] = {}
        for place in places:
            looked[place.kind] = looked.get(place.kind, 0) + len(place.data)
        return search(self.secrets(), places), looked
