"""In a worker: a simulated life with every secret written down, and all places it left bytes in."""

from __future__ import annotations

from pathlib import Path
from typing import TypeVar

from chaos.experiment.lint import read_experiment
from chaos.experiment.resolve import plan as plan_experiment
from chaos.history import History
from chaos.keeper import FaultKeeper
from chaos.playing.engine import run as play
from lab.building.provision import provision
from lab.scan import ledger
from lab.scan.search import Find, SearchedPlace, search
from lab.schema.commands import Command
from lab.serve.session import LabSession
from lab.serve.table import perform
from lab.simulation.scan import at_rest, bus_place, history_places, log_places, summary
from lab.simulation.sim_lab import SimLab
from lab.state.checkout import apply_patch
from lab.topology.lab_file import load
from lab.topology.plan import plan
from protocol.guest import guest_seed
from tests.scan.story import MARKER, story

A = TypeVar("A")
SHORT = Path(__file__).with_name("short.yaml")


def life(
    tpm: str, leaky: bool, key_type: str | None = None
) -> tuple[list[Find], dict[str, int], int]:
    """What a scan finds after the story and a short run; bytes looked at by kind of place; how
    many secrets there were. ``leaky``: with a key planted in every kind of place. ``key_type``: of
    the keys that the provider makes."""
    ledger.keep()
    if leaky:
        apply_patch("tests.mutations.bugs:key_leaks")
    wire: list[SearchedPlace] = []
    notes: list[bytes] = []
    topology = plan(load("default", hosts=3, vms=4, tpm=tpm, key_type=key_type))
    lab = SimLab(topology, 7, tap=lambda *message: wire.append(bus_place(*message)))

    async def keep(data: bytes) -> None:
        notes.append(data)

    session = LabSession(lab, FaultKeeper(lab, save=keep))
    history = History(None, lab.monotonic)
    lab.run(_lived(session, history, tpm=tpm != "none"))
    secrets = dict(ledger.seen)
    if leaky:
        secret = next(raw for raw, kind in secrets.items() if "kms.operations.key_creation" in kind)
        history = History(None, lab.monotonic)
        history.add("note", op="leak", text=secret.hex())
    # What a guest's data is made from is no less secret than a key.
    secrets[guest_seed(MARKER)] = "guest"
    secrets |= lab.world.identities()
    noted = [SearchedPlace("faults", "notes", data) for data in notes]
    places = [*wire, *at_rest(lab), *log_places(lab.records), *history_places(history), *noted]
    return search(secrets, places), summary(places), len(secrets)


async def _lived(session: LabSession, history: History, *, tpm: bool) -> None:
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
