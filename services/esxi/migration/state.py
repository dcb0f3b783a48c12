"""The migrations in which a host takes part; none outlives the host's life."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from protocol.crypto.stream import StreamCipher
from protocol.errors import InvalidArgument
from protocol.messages.host.vms import VmMigrated
from protocol.terms import NodeName, VmName
from services.esxi.vms.file_formats import VmConfig, VmKeys
from services.esxi.vms.guest import GuestMemory

LIMIT_REQUESTS: Final = 12.0
"""Request timeouts after which neither host waits for the other."""


@dataclass
class Incoming:
    """A VM whose memory is arriving. ``registered``: it was registered for the migration alone."""

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
    """The outcome of an outgoing migration; a repeated request returns it and sends nothing."""

    migration: str
    done: VmMigrated | None = None
    refusal: str = ""


@dataclass
class Migrations:
    """By VM: the incoming migration, the last one that arrived, and the outcome of the last
    outgoing one."""

    incoming: dict[VmName, Incoming] = field(default_factory=dict)
    arrived: dict[VmName, str] = field(default_factory=dict)
    left: dict[VmName, MigrationOutcome] = field(default_factory=dict)

    def require_incoming(self, vm: VmName, migration: str, sender: NodeName) -> Incoming:
        """The incoming migration; ``InvalidArgument`` for one that vCenter has not announced, or
        that comes from another host."""
        incoming = self.incoming.get(vm)
        if incoming is None or incoming.migration != migration or incoming.source != sender:
            raise InvalidArgument(f"{vm} is not expected from {sender} in migration {migration}")
        return incoming
