"""The key servers of a replay, and who asks them."""

from __future__ import annotations

from dataclasses import dataclass

from lab.kmip.replay.handshake import Attempts, Shown
from services.keyservers.dialogue import Dialogue


@dataclass(frozen=True)
class Client:
    """vCenter, as key servers see it. ``certificate`` (DER) is its own, ``shown`` what it shows;
    ``unknown`` and ``expired`` are what others show, who should get nothing."""

    certificate: bytes
    shown: Shown
    unknown: Shown
    expired: Shown | None = None


@dataclass(frozen=True)
class Server:
    """One key server, ``host:port``: how it is tried, and vCenter's dialogue with it."""

    name: str
    host: str
    door: Attempts
    vcenter: Dialogue
