"""In a worker: a simulated life with every secret written down, and all places it left bytes in."""

from __future__ import annotations

from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import TypeVar

import msgspec

from chaos.engine import run as play
from chaos.experiment.lint import read_experiment
from chaos.experiment.plan import plan as plan_experiment
from chaos.history import History
from chaos.keeper import FaultKeeper
from lab.api.commands import Command
from lab.api.session import Session
from lab.api.table import perform
from lab.simulation.sim_lab import SimLab
from lab.topology.lab_file import load
from lab.topology.plan import plan
from lab.topology.provision import provision
from protocol.guest import guest_seed
from tests.scan.search import Find, Place, search
from tests.scan.story import MARKER, story

A = TypeVar("A")
SHORT = Path(__file__).with_name("short.yaml")


def life(tpm: str, leaky: bool) -> tuple[list[Find], dict[str, int], int]:
    """What a scan finds after the story and a short run; bytes looked at by kind of place; how
    many secrets there were. ``leaky``: with a key planted in every kind of place."""
    seen: dict[bytes, str] = import_module("tests.mutations.bugs.key_ledger").seen
    if leaky:
        import_module("tests.mutations.bugs.key_leaks")
    wire: list[Place] = []
    notes: list[bytes] = []
    topology = plan(load("default", hosts=3, vms=4, tpm=tpm))
    lab = SimLab(topology, 7, tap=lambda *message: wire.append(_heard(*message)))

    async def keep(data: bytes) -> None:
        notes.append(data)

    session = Session(lab, FaultKeeper(lab, save=keep))
    history = History(None, lab.monotonic)
    lab.run(_lived(session, history, tpm=tpm != "none"))
    secrets = dict(seen)
    if leaky:
        secret = next(raw for raw, kind in secrets.items() if "kms.core" in kind)
        history = History(None, lab.monotonic)
        history.add("note", op="leak", text=secret.hex())
    # What a guest's data is made from is no less secret than a key.
    secrets[guest_seed(MARKER)] = "guest"
    for node, private in lab.world._private.items():
        secrets[private.private_bytes_raw()] = f"identity:{node}"
    places = [*wire, *_at_rest(lab), *_told(lab, history, notes)]
    looked: dict[str, int] = {}
    for place in places:
        looked[place.kind] = looked.get(place.kind, 0) + len(place.data)
    return search(secrets, places), looked, len(secrets)


async def _lived(session: Session, history: History, *, tpm: bool) -> None:
    lab = session.lab
    assert isinstance(lab, SimLab)

    async def do(command: Command[A]) -> A:
        return await perform(session, command)

    await lab.start()
    await provision(lab, session.report)
    await story(do, lab.sleep, tpm=tpm)
    made = plan_experiment(read_experiment(SHORT), lab.directory(), 7)
    verdict = await play(made, lab, session.keeper, history)
    assert verdict.exit_code in (0, 1), verdict.reasons


def _heard(subject: str, reply: str, payload: bytes) -> Place:
    return Place("bus", subject, f"{subject} {reply} ".encode() + payload)


def _at_rest(lab: SimLab) -> Iterator[Place]:
    for node, store in lab.world.stores.items():
        for path, data in store.images():
            kind = "database" if path.startswith("databases/") else "disk"
            yield Place(kind, f"{node}/{path}", data)
        for label, copy in store._copies.items():
            for synced in (False, True):
                for path, data in copy.images.walk(synced=synced):
                    yield Place("disk", f"copies/{node}/{label}/{path}", data)
            for name, images in copy.databases.items():
                for image in images:
                    yield Place("database", f"copies/{node}/{label}/{name}", image or b"")
    for name, array in lab.world.arrays.items():
        for path, data in array.images():
            yield Place("datastore", f"{name}/{path}", data)


def _told(lab: SimLab, history: History, notes: list[bytes]) -> Iterator[Place]:
    for record in lab.records:
        yield Place("log", f"{record.node}:{record.kind}", msgspec.json.encode(record))
    for line in history.records:
        yield Place("history", f"{line.type}:{line.op}", msgspec.json.encode(line))
    for data in notes:
        yield Place("faults", "notes", data)
