"""Rows outside of the grid about keys that came too late for a host to keep them."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from chaos.matrix import setup
from chaos.matrix.events import EVENTS
from chaos.matrix.faults import StagedFault
from chaos.matrix.faults.f1_key_servers import KeyServersAway
from chaos.matrix.faults.f4_outside import OutsideAway
from chaos.matrix.scene import StagingScene, vm_of
from chaos.matrix.terms import Actor
from chaos.matrix.twist import Twist
from chaos.oracle.terms import TableEvent, TableFault
from protocol.messages.host import SaveConfiguration
from protocol.terms import NodeName, VmName
from services.runtime.each import for_each

SAVED_S: Final = 60.0
"""Lab seconds from a save to the key that it does not have."""


class TargetWasOff(Twist):
    """Hosts that are to start a VM of a host without power were off themselves: C has the key of
    its VM from before; D was off while its VM was made, and boots when the fault holds (KP-15)."""

    async def prepare(self, scene: StagingScene) -> str:
        scene.asleep = frozenset(_targets(scene))
        for host in sorted(scene.asleep):
            await scene.lab.power_off(host, "stop")
        if TableEvent.E6 in scene.casts:
            await setup.make_again(scene, EVENTS[TableEvent.E6])
        return ""

    def fault(self, scene: StagingScene) -> StagedFault | None:
        kind = _Outside if scene.fault is TableFault.F4 else _Servers
        return kind(scene)


class _WakesThem(StagedFault):
    """The hosts that were off are powered on as soon as the fault holds."""

    async def begin(self) -> None:
        await super().begin()
        hosts = _targets(self.scene)
        await for_each(hosts, self.scene.lab.power_on)
        self.write("host", "", "up", hosts=list(hosts))


class _Servers(_WakesThem, KeyServersAway):
    pass


class _Outside(_WakesThem, OutsideAway):
    pass


def _targets(scene: StagingScene) -> tuple[NodeName, ...]:
    wanted = ((TableEvent.E5, Actor.C), (TableEvent.E6, Actor.D))
    return tuple(scene.host(event, actor) for event, actor in wanted if event in scene.casts)


class HourlySaves(Twist):
    """The configuration of hosts is saved by the hour, and was a moment ago (DUR-02)."""

    knobs: Mapping[str, str] = MappingProxyType({"config_save": "hourly"})

    async def prepare(self, scene: StagingScene) -> str:
        for host in scene.hosts():
            await scene.lab.ask(host, SaveConfiguration())
        return ""


class ImmediateSaves(Twist):
    """The control: a new key forces the configuration to disk at once."""

    async def prepare(self, scene: StagingScene) -> str:
        return await _late(scene)


class LateKey(HourlySaves):
    """The judged VM is made on B after the save: its key, and nothing else, is not in the
    archive."""

    in_order = False  # its host has its own key, and is safe

    async def prepare(self, scene: StagingScene) -> str:
        await super().prepare(scene)
        return await _late(scene)

    async def find_deviation(self, scene: StagingScene) -> str:
        """What is in the archive that the boot has found."""
        vm, host = _vm_and_host(scene)
        archived = set(await scene.bench.read_archived_keys(host))
        if not archived.isdisjoint(scene.keys[vm]):
            return f"the archive of {host} has the key of {vm}"
        return "" if archived else f"the archive of {host} has no key at all"


async def _late(scene: StagingScene) -> str:
    """The VM of E4 is made anew, a minute after the save."""
    await scene.lab.sleep(SAVED_S)
    vm, _ = _vm_and_host(scene)
    before = set(scene.keys[vm])
    await setup.make_again(scene, EVENTS[TableEvent.E4])
    again = before.isdisjoint(scene.keys[vm])
    return "" if again else f"{vm} was made anew, and has its old key"


def _vm_and_host(scene: StagingScene) -> tuple[VmName, NodeName]:
    """The VM of E4, and its host."""
    play = EVENTS[TableEvent.E4]
    return vm_of(TableEvent.E4, play.vms[0].what), scene.host(TableEvent.E4, play.cast[0])
