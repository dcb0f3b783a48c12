"""The events of the table. Adding one: its class, and a line in the tuple here.

- ``base``         what every event is to a play
- ``running``      events of a VM that runs
- ``host_reboot``  events of a host that boots
- ``power_on``     events of a VM that starts
- ``creation``     e9
- ``host_added``   e11
"""

from __future__ import annotations

from typing import Final

from chaos.matrix.events.base import EventPlay, LockingPlay
from chaos.matrix.events.creation import Creates
from chaos.matrix.events.host_added import HostAddedPlay, TrustedHostAdded
from chaos.matrix.events.host_reboot import Mounts, Reboots
from chaos.matrix.events.power_on import (
    PowersOn,
    PowersOnAfterReboot,
    RestartsWithKey,
    RestartsWithoutKey,
)
from chaos.matrix.events.running import (
    MovesWithKey,
    MovesWithoutKey,
    Recrypts,
    RunsOn,
    RunsOnWithdrawn,
)
from chaos.matrix.faults.base import StagedFault
from chaos.matrix.scene import StagingScene
from chaos.oracle.terms import TableEvent

__all__ = ["EVENTS", "EventPlay", "LockingPlay", "play_of"]

_EVENTS: Final[tuple[type[EventPlay], ...]] = (
    RunsOn,
    Reboots,
    PowersOn,
    PowersOnAfterReboot,
    RestartsWithKey,
    RestartsWithoutKey,
    MovesWithKey,
    MovesWithoutKey,
    Creates,
    Recrypts,
    HostAddedPlay,
    Mounts,
)
EVENTS: Final[dict[TableEvent, type[EventPlay]]] = {kind.event: kind for kind in _EVENTS}
"""Every event that is built, by its name in the table."""
_TRUSTED: Final[dict[TableEvent, type[EventPlay]]] = {
    TableEvent.E1: RunsOnWithdrawn,
    TableEvent.E11: TrustedHostAdded,
}
"""Events that are played in another way where keys are a Trust Authority's; hosts and VMs are the
same."""


def play_of(event: TableEvent, scene: StagingScene, fault: StagedFault) -> EventPlay:
    """The event in this staging, not begun yet."""
    others = _TRUSTED if scene.trusted else {}
    return others.get(event, EVENTS[event])(scene, fault)
