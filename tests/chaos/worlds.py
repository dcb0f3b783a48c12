"""Simulated labs for the tests of chaos, and a lab whose verbs can be made to do nothing."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Mapping
from typing import Any, TypeVar

from chaos.keeper import FaultKeeper
from chaos.lab import LabUnderTest
from lab.building.provision import esxcli
from lab.simulation.sim_lab import SimLab, make
from lab.topology.lab_file import load
from lab.topology.plan import plan

T = TypeVar("T")


class World:
    """A simulated lab that stands still between two calls of ``run``."""

    def __init__(
        self, seed: int = 1, use: str | Mapping[str, Any] = "default", **changes: Any
    ) -> None:
        changes.setdefault("tpm", "model")
        self.lab, self.session = make(plan(load(use, **changes)), seed)
        self.keeper: FaultKeeper = self.session.keeper

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        return self.lab.run(work)

    def close(self) -> None:
        self.lab.loop.close()


async def exec_installed_only(lab: SimLab) -> None:
    """All hosts boot with the option ``execInstalledOnly``, and require it (POL-04)."""
    for host in lab.hosts():
        await esxcli(lab, host, "system settings kernel set -s execInstalledOnly -v TRUE")
        await lab.power_off(host, "stop")
        await lab.power_on(host)
        await esxcli(lab, host, "system settings encryption set --require-exec-installed-only=T")


class Limp:
    """A lab whose named verbs return without doing anything (or raise what is given)."""

    def __init__(self, lab: SimLab, **verbs: Exception | None) -> None:
        self._lab = lab
        self.verbs = verbs

    def __getattr__(self, name: str) -> Any:
        if name not in self.verbs:
            return getattr(self._lab, name)
        return self._idle(self.verbs[name])

    @staticmethod
    def _idle(error: Exception | None) -> Callable[..., Coroutine[Any, Any, None]]:
        async def verb(*args: Any, **kwargs: Any) -> None:
            if error is not None:
                raise error

        return verb


def limp(world: World, **verbs: Exception | None) -> tuple[Any, FaultKeeper]:
    """A limp lab over ``world`` and a keeper of its own; give ``verbs`` None to do nothing."""
    made: Any = Limp(world.lab, **verbs)
    checked: LabUnderTest = made
    return made, FaultKeeper(checked)
