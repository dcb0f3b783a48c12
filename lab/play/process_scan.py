"""The scan of a run of real processes: its bus, its folder, its history, and its processes.

Keys come from the ``collector``. A canary is put into each sort of place after the last look of the
run, in a lab that ends with it: on the bus by vCenter itself, which is asked for a key of that id
and asks its key server; into a file beside those of each sort; and so on (decision 39).
"""

from __future__ import annotations

import asyncio
import resource
import subprocess
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import msgspec
import nkeys

from chaos.conversation import read_payloads
from chaos.draws import Draws
from chaos.history import History, Record
from chaos.keeper import FaultKeeper
from chaos.observe.look import all_key_status
from chaos.report.page import page
from chaos.report.story import Story
from lab.processes.process_lab import ProcessLab
from lab.runs.store import RunFolder
from lab.scan.ledger import Collector
from lab.scan.search import CANARY, Find, SearchedPlace, files_of, search_and_count, write
from protocol.errors import ProductError
from protocol.terms import CryptoKeyId, KeyId, ProviderId, Role
from services.runtime.seeded import derive

_FILES: Final = ("nodes/{node}/disk/written", "nodes/{node}/disk/databases", "logs", "broker-data")
"""Folders, one of each sort of place that is made of files; ``node`` is some host."""


@dataclass
class LabScan:
    """Searches what a run in ``lab`` has left; ``story`` is the run without its records,
    and ``heard`` tells what is missing of its recording in the file (empty: nothing)."""

    lab: ProcessLab
    keeper: FaultKeeper
    folder: RunFolder
    collector: Collector
    story: Story
    heard: Callable[[], str]

    async def record(self, history: History) -> None:
        """Search everything, and write down what was found where."""
        canary = Draws(derive(self.lab.seed, CANARY), CANARY).token(32)
        await self._say(canary)
        await self.collector.whole()
        secrets = {**self.collector.secrets, **self._identities()}
        missing = self.heard()
        told = set(self.lab.agents.pids) <= self.collector.pids
        with _process(canary) as pid:
            places = await asyncio.to_thread(
                lambda: list(self._places(canary, history.records, pid))
            )
        found, sorts = await asyncio.to_thread(search_and_count, secrets, canary, places)
        found += _cores(self.lab.agents.pids)
        kept = told and bool(self.collector.secrets)
        write(history, found, sorts, len(secrets), kept=kept, missing=missing)

    async def _say(self, canary: bytes) -> None:
        """Have it said on the bus; a vCenter that does not answer has said nothing, and the scan
        will not find it there."""
        provider = self.lab.directory().default_provider or ProviderId(CANARY)
        wanted = CryptoKeyId(KeyId(canary.hex()), provider)
        for entry in self.lab.directory().nodes:
            if entry.role is Role.VCENTER:
                try:
                    await all_key_status(self.lab, entry.node, (wanted,))
                except ProductError:
                    continue

    def _identities(self) -> dict[bytes, str]:
        """What each node is known by, in the forms in which it is kept."""
        found: dict[bytes, str] = {}
        for name, _ in self.lab.identities.node_nkeys():
            node = self.lab.identities.node(name)
            seed = node.seed.encode()
            for secret in (node.sealing.private_bytes_raw(), seed, nkeys.decode_seed(seed)[1]):
                found[secret] = "identity"
        return found

    def _places(
        self, canary: bytes, records: Sequence[Record], pid: int
    ) -> Iterator[SearchedPlace]:
        self._plant(canary)
        yield from files_of(self.lab.folder)
        with self.folder.bus.open("rb") as file:
            for subject, payload in read_payloads(file):
                yield SearchedPlace("bus", subject, f"{subject} ".encode() + payload)
        yield from _of_run(self.folder)
        for record in (*records, _canary_record(canary)):
            data = msgspec.json.encode(record)
            yield SearchedPlace("history", f"{record.type}:{record.op}", data)
        yield SearchedPlace("faults", "notes", self.keeper.dump())
        yield SearchedPlace("faults", CANARY, canary)
        yield SearchedPlace("report", "page", self._page(records, canary))
        for other in (*self.lab.agents.pids, pid):
            yield from _read_public_files(other)

    def _plant(self, canary: bytes) -> None:
        """In hexadecimal, in a file of its own in a folder of each sort."""
        hosts = self.lab.hosts()
        folders = [self.lab.folder / form.format(node=hosts[0]) for form in _FILES if hosts]
        folders += [path for path in (self.lab.folder / "arrays").iterdir() if path.is_dir()][:1]
        folders += [self.lab.folder / "identity", self.lab.folder]
        for folder in folders:
            folder.joinpath(CANARY).write_bytes(canary.hex().encode())

    def _page(self, records: Sequence[Record], canary: bytes) -> bytes:
        """The report of the run so far, with the canary for the command that shows it again."""
        made = replace(self.story, records=tuple(records), reproduce=canary.hex())
        return page(made).encode()


def _of_run(folder: RunFolder) -> Iterator[SearchedPlace]:
    """The files of the run's folder that are whole by now."""
    for path in sorted(folder.path.rglob("*")):
        if path.is_file() and path not in (folder.bus, folder.history):
            yield SearchedPlace("history", path.name, path.read_bytes())


def _canary_record(canary: bytes) -> Record:
    """A record that is searched and not written."""
    return Record(seq=0, t=0.0, node="", type="note", op=CANARY, data={"text": repr(canary)})


def _read_public_files(pid: int) -> Iterator[SearchedPlace]:
    """What everybody on the machine may see of a process."""
    for file in ("cmdline", "environ"):
        try:
            yield SearchedPlace(
                "process", f"{pid} {file}", Path(f"/proc/{pid}/{file}").read_bytes()
            )
        except OSError:  # it has ended
            continue


@contextmanager
def _process(canary: bytes) -> Iterator[int]:
    """A process that shows the canary."""
    with subprocess.Popen(["sleep", "600"], env={"CANARY": canary.hex()}) as child:
        try:
            yield child.pid
        finally:
            child.kill()


def _cores(pids: Sequence[int]) -> list[Find]:
    """Processes that would leave a core file: every key of theirs would be in it."""
    open_ = []
    for pid in pids:
        try:
            limits = resource.prlimit(pid, resource.RLIMIT_CORE)
        except ProcessLookupError:
            continue
        if limits != (0, 0):
            open_.append(Find("process", f"{pid}", "every key of it", "core file allowed"))
    return open_
