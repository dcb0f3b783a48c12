"""The key server: its settings, its store, and the doors in front of its core.

``start`` opens the store and checks all of it; what was altered, or a master key that is not
the one, halts the server with the reason on its screen.
"""

from __future__ import annotations

from typing import ClassVar

from protocol.errors import CryptographicFailure
from protocol.terms import Role
from services.kms import replication
from services.kms.config import KmsConfig
from services.kms.core import Core
from services.kms.doors.bus import BusDoor
from services.kms.doors.pair import Pair, PairDoor
from services.kms.knobs import KmsNode
from services.kms.store import open_store
from services.runtime.ports import Database, Ports
from services.runtime.service import Halted


class KmsService(BusDoor, PairDoor):
    """A key server (``NodeSpec.config`` as ``KmsConfig``)."""

    role: ClassVar[Role] = Role.KMS
    node: KmsNode

    def __init__(self, node: KmsNode, ports: Ports, config: KmsConfig) -> None:
        super().__init__(node, ports)
        self.config = config

    async def start(self) -> None:
        """Open the store; ``Halted`` when it is not as this server left it."""
        try:
            database, vault = await open_store(self.disk, self.rng)
        except CryptographicFailure as error:
            raise Halted(f"Key server {self.node.name} does not serve: {error}") from None
        self.core = Core(self.node.name, database, vault, self.clock, self.rng)
        await self._pair_up(database)

    async def _pair_up(self, database: Database) -> None:
        peer = self.config.peer
        if peer is None:
            await database.transact(lambda connection: replication.begin(connection, None))
            self.pair = None
            self.core.caught_up.set()
            return
        self.pair = Pair(self.node, self.bus, self.clock, database, self.core, peer)
        self.core.witnesses.append(self.pair)
        await self.pair.start()
