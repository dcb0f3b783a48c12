"""Which migrations a host has a part in: in this life only, none outlives it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from protocol.crypto.stream import StreamCipher
from protocol.errors import InvalidArgument
from protocol.messages.host import VmMigrated
from protocol.terms import NodeName, VmName
from services.esxi.vms.memory import GuestMemory
from services.esxi.vms.vmx import VmConfig, VmKeys

LIMIT_REQUESTS: Final = 12.0
"""Request timeouts after which neither host waits for the other any more."""


@dataclass
class Incoming:
    """A VM whose memory is on its way here. ``registered``: it was registered for that alone."""

    migration: str
    source: NodeName
    cipher: StreamCipher | None
    config: VmConfig
    keys: VmKeys
    registered: bool
    parts: list[bytes] = field(default_factory=list)
    memory: GuestMemory | None = None


@dataclass
class MigrationOutcome:
    """How a migration from here went: a repeat of it is told so, and never sends again."""

    migration: str
    done: VmMigrated | None = None
    refusal: str = ""


@dataclass
class Migrations:
    """By VM: what comes, what came last, and how the last one that left went."""

    incoming: dict[VmName, Incoming] = field(default_factory=dict)
    arrived: dict[VmName, str] = field(default_factory=dict)
    left: dict[VmName, MigrationOutcome] = field(default_factory=dict)

    def require_incoming(self, vm: VmName, migration: str, sender: NodeName) -> Incoming:
        """``InvalidArgument`` for a migration that vCenter has not announced, or not from there."""
        incoming = self.incoming.get(vm)
        if incoming is None or incoming.migration != migration or incoming.source != sender:
            raise InvalidArgument(f"{vm} is not expected from {sender} in migration {migration}")
        return incoming
