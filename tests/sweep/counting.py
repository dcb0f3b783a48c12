"""Port calls counted by wrapping the ports themselves, whatever their drivers tell a gate."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from functools import wraps
from typing import Any, Final

from lab.serve.session import LabSession
from lab.simulation.points import Passage, Points
from lab.simulation.sim_lab import SimLab
from services.runtime import ports
from services.runtime.sim.database import SimDatabase
from services.runtime.sim.disk import SimDisk
from services.runtime.tpm.port import TpmPort
from tests.sweep.play import Play
from tests.sweep.scene import Scene
from tests.sweep.stories import STORIES

Counts = dict[str, int]
_DRIVERS: Final[Mapping[Any, type]] = {
    ports.Disk: SimDisk,
    ports.Database: SimDatabase,
    ports.Tpm: TpmPort,
}
_NAMES: Final[Mapping[Any, str]] = {ports.Disk: "disk", ports.Database: "db", ports.Tpm: "tpm"}
NO_POINTS: Final = {"disk.datastore"}
"""It hands out the shared array, which is no store of one node, and changes nothing."""


def counted(lab: SimLab, session: LabSession, story: str) -> tuple[Counts, Counts]:
    """Of one undisturbed play, by call: how many came back, and how many passed a gate."""
    chosen, scene = STORIES[story], Scene(lab, session)
    lab.run(chosen.prepare(scene))
    calls, passed = Counter[str](), Counter[str]()

    def hear(passage: Passage) -> None:
        passed[f"{passage.point.node} {passage.point.call}"] += 1

    for port, driver in _DRIVERS.items():
        for name in public(port):
            call = f"{_NAMES[port]}.{name}"
            setattr(driver, name, _counting(getattr(driver, name), call, chosen.watched, calls))
    with Points(lab, chosen.watched, hear=hear):
        lab.run(Play(scene, chosen).run())
    return dict(calls), dict(passed)


def public(port: type) -> list[str]:
    """All calls of a port, as its protocol has them."""
    return [name for name in vars(port) if not name.startswith("_")]


def _counting(original: Any, call: str, nodes: tuple[str, ...], calls: Counter[str]) -> Any:
    @wraps(original)
    async def wrapped(self: Any, *arguments: Any, **named: Any) -> Any:
        value = await original(self, *arguments, **named)
        life = vars(self).get("life") or vars(self)["_life"]
        if life.node in nodes and call not in NO_POINTS:
            calls[f"{life.node} {call}"] += 1
        return value

    return wrapped
