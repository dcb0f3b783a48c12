"""What a driver gives to make a node's life: what its ports stand on, and its end.

``services.runtime.sim.world`` and ``services.runtime.real.world`` implement it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, Protocol

from protocol.crypto.seal import Keyring
from protocol.messages.agent import NodeSpec
from protocol.terms import NodeName
from services.runtime.incarnation import Incarnation, WayDown
from services.runtime.links.table import RuleTable
from services.runtime.ports import Clock, Disk, Rng, Tpm
from services.runtime.store import Store
from services.runtime.tpm.device import TpmDevice
from services.runtime.wire import Wire


class World(Protocol):
    """One per process (lab) or per simulation."""

    rules: RuleTable

    def add(self, spec: NodeSpec) -> None:
        """Make what outlives lives: store, TPM, identity. No change when it is there."""
        ...

    def next_boot(self, node: NodeName) -> int:
        """The next boot counter of this node; never repeats, survives the process."""
        ...

    def last_boot(self, node: NodeName) -> int:
        """The boot counter of its latest life, 0 before the first."""
        ...

    def monotonic(self) -> float:
        """Lab seconds since the lab began."""
        ...

    async def sleep(self, seconds: float) -> None: ...
    def clock(self, life: Incarnation) -> Clock: ...
    def rng(self, life: Incarnation) -> Rng: ...
    def wire(self, life: Incarnation) -> Wire: ...
    def disk(self, life: Incarnation) -> Disk: ...
    def tpm(self, life: Incarnation) -> Tpm | None: ...
    def device(self, node: NodeName) -> TpmDevice | None: ...
    def store(self, node: NodeName) -> Store: ...
    def keyring(self, node: NodeName) -> Keyring: ...
    def spawn(
        self, life: Incarnation | None, label: str, work: Coroutine[Any, Any, None]
    ) -> asyncio.Task[None]:
        """The root task of a life (its tasks inherit the life), or of the agent itself."""
        ...

    def mark(self, node: NodeName, boot: int, label: str) -> None:
        """A point of the run for the trace (sim); nothing in the lab."""
        ...

    async def ended(self, life: Incarnation, way: WayDown) -> None:
        """After ``life.end(way)``: roll back databases, free datastore locks, put the synced
        image in place after a power loss, take the TPM's power without Shutdown."""
        ...
