"""What an agent process is told when it starts."""

from __future__ import annotations

import msgspec

from lab.brokers.configuration import BrokerKind
from services.runtime.real.broker_tls import BrokerTls, ForeignServersTls, LabTls


class AgentConfig(msgspec.Struct, frozen=True, kw_only=True):
    """What the supervisor tells an agent process; ``patch`` names a module that is imported
    before any node is built (planted bugs of tests), ``ledger`` the collector that is told each key
    (``lab.scan``); both are empty in normal use. On another machine than the supervisor's
    ``authority`` is the file of the lab's certificate authority, and ``offset`` that of the offset
    to the clock that ``epoch`` is of (``SharedOffset``). ``theirs``: the data bus is on servers of
    somebody else, which are reached from everywhere alike, and by ``tls`` where they take it."""

    name: str
    folder: str
    control_url: str
    data_url: str
    epoch: float
    wall: float
    pace: float
    seed: int
    patch: str = ""
    ledger: str = ""
    theirs: bool = False
    tls: ForeignServersTls | None = None
    authority: str = ""
    offset: str = ""

    def way_to(self, broker: BrokerKind) -> BrokerTls | None:
        """How that broker is reached; None for one without TLS."""
        if broker is BrokerKind.DATA and self.theirs:
            return self.tls
        return LabTls(self.authority, broker.value) if self.authority else None
