"""The events of the table. Adding one: its class, and a line in the tuple here.

- ``base``             what every event is to a play
- ``e1_running``       a VM runs on
- ``e1_withdrawn``     the same where the image of its host is withdrawn
- ``e2_reboot``        a host reboots
- ``e3_power_on``      a VM is powered on, on a host that has not booted since it got the key
- ``e4_after_reboot``  the same, on a host that has booted
- ``restart``          E5, E6: HA starts a VM on another host
- ``moves``            E7, E8: a running VM moves to another host
- ``e9_creation``      a new encrypted VM; ``e9_vtpm``: a virtual TPM is added to a VM in clear
- ``e10_recrypt``      a VM gets another key
- ``e11_host_added``   a host is added
- ``e11_trusted``      the same where keys are a Trust Authority's
- ``e12_vsan``         a host with an encrypted vSAN reboots
"""

from __future__ import annotations

from typing import Final

from chaos.matrix.events.base import EventPlay, LockingPlay
from chaos.matrix.events.e1_running import RunsOn
from chaos.matrix.events.e1_withdrawn import RunsOnWithdrawn
from chaos.matrix.events.e2_reboot import Reboots
from chaos.matrix.events.e3_power_on import PowersOn
from chaos.matrix.events.e4_after_reboot import PowersOnAfterReboot
from chaos.matrix.events.e9_creation import Creates
from chaos.matrix.events.e10_recrypt import Recrypts
from chaos.matrix.events.e11_host_added import HostAddedPlay
from chaos.matrix.events.e11_trusted import TrustedHostAdded
from chaos.matrix.events.e12_vsan import Mounts
from chaos.matrix.events.moves import MovesWithKey, MovesWithoutKey
from chaos.matrix.events.restart import RestartsWithKey, RestartsWithoutKey
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
