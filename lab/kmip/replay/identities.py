"""Certificates that a person gives for others than vCenter: ``ROLE=CERT,KEY``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from lab.kmip.replay.handshake import ShownCertificate
from lab.kmip.replay.servers import ReplayRole
from lab.kmip.replay.trust_flows import CERTIFICATE, KEY, FlowPart
from lab.schema.errors import KeysteadError
from protocol.printable import quote_if_needed

EXPIRED: Final = "expired"
_ROLES: Final = (EXPIRED, ReplayRole.OTHER, ReplayRole.VSAN, ReplayRole.KPS)
_FORM: Final = f"write ROLE=CERT,KEY with a role of {', '.join(_ROLES)}"


@dataclass(frozen=True, kw_only=True)
class Pair:
    """PEM files of a certificate, with those above it, and of its private key."""

    certificate: Path
    key: Path

    @property
    def shown(self) -> ShownCertificate:
        """As a client shows it."""
        return ShownCertificate(self.certificate, self.key)


def identities(given: Sequence[str]) -> Mapping[str, Pair]:
    """By role; KS-USE-003 for what is none, and for a role that is given twice."""
    found: dict[str, Pair] = {}
    for text in given:
        role, equals, files = text.partition("=")
        certificate, comma, key = files.rpartition(",")
        if role not in _ROLES or not (equals and comma and certificate and key):
            raise KeysteadError("KS-USE-003", f"--identity {quote_if_needed(text)}: {_FORM}")
        if role in found:
            raise KeysteadError("KS-USE-003", f"--identity: {role} is given twice")
        found[role] = Pair(certificate=Path(certificate), key=Path(key))
    return found


def of_flows(folder: Path, parts: Sequence[FlowPart]) -> Mapping[str, Pair]:
    """What each trust flow shows that is ready."""
    return {
        part.flow: Pair(certificate=folder / part.flow / CERTIFICATE, key=folder / part.flow / KEY)
        for part in parts
        if part.ready
    }
