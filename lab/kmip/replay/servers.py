"""The key servers of a replay, and who asks them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

from lab.kmip.replay.handshake import Attempts, ShownCertificate
from services.keyservers.dialogue import Dialogue


class ReplayRole(StrEnum):
    """Who asks a key server. All but ``OTHER`` have the keys of one owner."""

    VCENTER = "vcenter"
    VSAN = "vsan-host"
    KPS = "key-provider-service"
    OTHER = "other"


@dataclass(frozen=True)
class Client:
    """vCenter, as key servers see it. ``certificate`` (DER) is its own, ``shown`` what it shows;
    ``unknown`` and ``expired`` are what others show, who should get nothing."""

    certificate: bytes
    shown: ShownCertificate
    unknown: ShownCertificate
    expired: ShownCertificate | None = None


@dataclass(frozen=True)
class ReplayedServer:
    """One key server, ``host:port``: how it is tried, and the dialogue that each role has with it;
    by its name also for who rehearses a trust flow."""

    name: str
    host: str
    proxy: Attempts
    talk: Callable[[str], Dialogue]

    @property
    def vcenter(self) -> Dialogue:
        """vCenter's dialogue with it."""
        return self.talk(ReplayRole.VCENTER)
