"""Ports of who is no node of a lab: real time, and connections to the world outside."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Final, NamedTuple

from lab.schema.errors import KeysteadError
from protocol.errors import InvalidArgument
from protocol.terms import NodeName
from services.runtime.incarnation import Incarnation
from services.runtime.link_rules import RuleTable
from services.runtime.real.clock_and_rng import LabRng, PacedClock
from services.runtime.real.streams import LabStreams
from services.runtime.streams import TlsIdentity
from services.runtime.tls.endpoint import Credentials
from services.runtime.tls.port import StreamPort

RULELESS: Final = RuleTable(0, time.monotonic)
"""No rule is about a connection to or from the world outside."""


def check(identity: TlsIdentity) -> None:
    """KS-KMIP-004 when a client cannot show it."""
    try:
        Credentials(identity, server=False)
    except InvalidArgument:
        text = "the client's certificate or its key: TLS finds them too weak, or cannot use them"
        raise KeysteadError("KS-KMIP-004", text) from None


class Standalone(NamedTuple):
    """One life without a lab; its clock goes at the pace of the world, and a limit is
    as long as it says. Who has it closes ``streams``."""

    life: Incarnation
    rng: LabRng
    clock: PacedClock
    streams: StreamPort


def standalone(name: NodeName, folder: Path | None = None) -> Standalone:
    """Under that name. ``folder``: of who lets others come."""
    life = Incarnation(name, 1)
    rng = LabRng(0, life)
    clock = PacedClock(life, rng, epoch=time.monotonic(), wall=time.time(), floor_s=0.0)
    driver = LabStreams(folder or Path(), life, RULELESS, clock.monotonic, 1.0)
    return Standalone(life, rng, clock, StreamPort(life, RULELESS, clock, driver))
