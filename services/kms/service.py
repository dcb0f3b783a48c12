"""The key server: its settings, its store, and the doors in front of its core.

``start`` opens the store and checks all of it; what was altered, or a master key that is not
the one, halts the server with the reason on its screen.
"""

from __future__ import annotations

from typing import ClassVar

from protocol.errors import CryptographicFailure
from protocol.terms import Role
from services.kms.config import KmsConfig
from services.kms.core import Core
from services.kms.doors.bus import BusDoor
from services.kms.store import open_store
from services.runtime.ports import Ports
from services.runtime.service import Halted, Node


class KmsService(BusDoor):
    """A key server (``NodeSpec.config`` as ``KmsConfig``)."""

    role: ClassVar[Role] = Role.KMS

    def __init__(self, node: Node, ports: Ports, config: KmsConfig) -> None:
        super().__init__(node, ports)
        self.config = config

    async def start(self) -> None:
        """Open the store; ``Halted`` when it is not as this server left it."""
        try:
            database, vault = await open_store(self.disk, self.rng)
        except CryptographicFailure as error:
            raise Halted(f"Key server {self.node.name} does not serve: {error}") from None
        self.core = Core(database, vault, self.clock, self.rng)
