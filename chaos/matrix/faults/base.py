"""What every fault of the table is to a play: made, seen, ended, each by the harness itself."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar

from chaos.faults.base import Fault as LabFault
from chaos.faults.base import Notes
from chaos.matrix import clock
from chaos.matrix.looks import plain
from chaos.matrix.scene import StagingScene, Void
from chaos.matrix.terms import Variant
from chaos.oracle.terms import TableFault
from protocol.messages.agent import NodeRunState
from protocol.terms import NodeName

HEAL_TRIES, HEAL_PAUSE_S = 30, 2.0
OFF_S = 2.0
"""How long a host is off at least: what it said last has arrived by then."""


class DrivenFault:
    """A fault of ``chaos.faults`` that is driven step by step, without a keeper."""

    def __init__(self, scene: StagingScene, fault: LabFault) -> None:
        self._lab, self.fault = scene.lab, fault
        self._notes: Notes = {}
        self._surveyed = False

    async def survey(self) -> None:
        """Learn what must be put back."""
        self._notes = await self.fault.survey(self._lab)
        self._surveyed = True

    async def begin(self) -> None:
        """Make it so; what must be put back is learnt first, unless it is known."""
        if not self._surveyed:
            await self.survey()
        await self.fault.begin(self._lab, 0.0, self._notes)

    async def bites(self) -> str:
        """Empty when it is seen to bite."""
        return await self.fault.bites(self._lab, self._notes)

    async def heal(self) -> None:
        """Take it back; an irreversible one is cured."""
        await self.fault.heal(self._lab, self._notes)
        if not self.fault.reversible:
            await self.fault.cure(self._lab, self._notes)

    async def verify_heal(self) -> str:
        """Empty when it is seen gone."""
        return await self.fault.verify_heal(self._lab, self._notes)


class StagedFault(ABC):
    """A fault of the table in one staging.

    ``of_a_host``: it is made on single hosts, by their next boot, or is latent on one that is not
    booted. ``vcenter_away``: vCenter does not answer while it holds. ``restores_keys``: its
    end puts the keys of before it back, and what has come since is lost. ``variants``: the ways in
    which it can be made. ``wrong``: what the product did at its end that it must not do.
    ``held``: the fault of ``chaos.faults`` that it is, if it is one of the whole lab.
    """

    fault: ClassVar[TableFault]
    of_a_host: ClassVar[bool] = False
    vcenter_away: ClassVar[bool] = False
    restores_keys: ClassVar[bool] = False
    variants: ClassVar[tuple[Variant, ...]] = (Variant.USUAL,)

    def __init__(self, scene: StagingScene, held: LabFault | None = None) -> None:
        self.scene = scene
        self.held = None if held is None else DrivenFault(scene, held)
        self.booted: list[NodeName] = []
        self.wrong = ""

    async def prepare(self) -> bool:
        """Whether hosts were set up for it, before it and in good time, so that the lab has to
        settle once more."""
        return False

    # ---- the whole lab --------------------------------------------------------------------------

    async def begin(self) -> None:
        """At t0: what is done to the lab as a whole."""
        if self.held is not None:
            await self.held.begin()

    async def bites(self) -> str:
        """Empty when what ``begin`` did is seen."""
        return "" if self.held is None else await self.held.bites()

    async def end(self) -> None:
        """Take everything back, with the administrator's steps."""
        if self.held is not None:
            await self.held.heal()

    async def verify_heal(self) -> str:
        """Empty when nothing of it is seen any more."""
        return "" if self.held is None else await self.held.verify_heal()

    # ---- hosts ----------------------------------------------------------------------------------

    async def make_latent(self, host: NodeName) -> None:
        """Make it on a host that is not booted: it stays latent until its next boot."""
        return

    async def down(self, host: NodeName, way: str) -> None:
        """End the host's life, after a look at what must be put back later."""
        await self.survey(host)
        self.write("host", host, "down", way=way)
        await self.scene.lab.power_off(host, way)

    async def up(self, host: NodeName) -> float:
        """Boot the host under the fault; the lab's time at its power-on. ``Void`` when the boot
        takes too long, or does not show what was changed."""
        await self.change(host)
        lab = self.scene.lab
        began = lab.monotonic()
        status = await lab.power_on(host)
        took = lab.monotonic() - began
        self.booted.append(host)
        self.write("host", host, "up", took=took, **plain(_status_fields(status)))
        if status.state not in (NodeRunState.RUNNING, NodeRunState.HALTED):
            raise Void(f"{host} is {status.state.value} after its power-on")
        if took > clock.BOOT_LIMIT_S + self.scene.patience + self.scene.in_turn:
            raise Void(f"the boot of {host} took {took:.0f} s")
        if wrong := await self.verify_on_host(host):
            raise Void(f"{self.fault} does not bite on {host}: {wrong}")
        return began

    async def reboot(self, host: NodeName) -> float:
        """``down`` in the way of this staging, then ``up``."""
        await self.down(host, self.scene.boot.way)
        await self.scene.lab.sleep(OFF_S)
        return await self.up(host)

    async def survey(self, host: NodeName) -> None:
        """Learn what of the host must be put back."""
        return

    async def change(self, host: NodeName) -> None:
        """While the host is off: what its next boot finds changed."""
        return

    async def verify_on_host(self, host: NodeName) -> str:
        """After the boot: empty when what was changed is seen."""
        return ""

    def write(self, what: str, node: str, op: str, **data: object) -> None:
        """A record of what the harness did."""
        type = "heal" if what == "heal" else "fault"
        self.scene.book.write(type, node, f"{self.fault}.{op}", **data)


class ReturningVcenter(StagedFault, ABC):
    """A fault under which vCenter is down: it may return with its way of supply still shut."""

    vcenter_away: ClassVar[bool] = True

    @abstractmethod
    async def return_shut(self) -> None:
        """Start vCenter, while it can get keys from nobody."""

    @abstractmethod
    async def open(self) -> None:
        """Open vCenter's way to the keys."""


async def until_healed(fault: StagedFault) -> str:
    """The last thing that ``verify_heal`` has seen, when it is asked again for a while."""
    seen = await fault.verify_heal()
    for _ in range(HEAL_TRIES):
        if not seen:
            break
        await fault.scene.lab.sleep(HEAL_PAUSE_S)
        seen = await fault.verify_heal()
    return seen


def _status_fields(status: object) -> dict[str, object]:
    return {name: getattr(status, name) for name in ("state", "boot", "screen")}
