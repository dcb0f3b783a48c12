"""Ports of who is no node of a lab: real time, and connections to the world outside."""

from __future__ import annotations

import time
from pathlib import Path

from lab.errors import KeysteadError
from protocol.errors import InvalidArgument
from protocol.terms import NodeName
from services.runtime.incarnation import Incarnation
from services.runtime.links.table import RuleTable
from services.runtime.ports import Clock
from services.runtime.real.clock import LabClock
from services.runtime.real.rng import LabRng
from services.runtime.real.streams import LabStreams
from services.runtime.streams import Streams, TlsIdentity
from services.runtime.tls.endpoint import Credentials
from services.runtime.tls.port import StreamPort


def check(identity: TlsIdentity) -> None:
    """KS-KMIP-004 when a client cannot show it."""
    try:
        Credentials(identity, server=False)
    except InvalidArgument:
        text = "the client's certificate or its key: TLS finds them too weak, or cannot use them"
        raise KeysteadError("KS-KMIP-004", text) from None


def connections(name: str) -> tuple[Clock, Streams]:
    """A clock at the world's pace, and connections from here, to which no link rule applies."""
    life = Incarnation(NodeName(name), 1)
    clock = LabClock(life, LabRng(0, life), epoch=time.monotonic(), wall=time.time(), pace=1.0)
    rules = RuleTable(0, time.monotonic)
    driver = LabStreams(Path(), life, rules, time.monotonic, 1.0)
    return clock, StreamPort(life, rules, clock, driver)
