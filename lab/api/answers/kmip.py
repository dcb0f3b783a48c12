"""What commands about KMIP without a lab are answered with."""

from __future__ import annotations

from typing import Final

from lab.api.answers.base import Answer
from lab.api.answers.replay import ReplayReport, TrustFlowList
from lab.kmip.told import KmipClient, PlayedCase


class KmipCases(Answer, frozen=True, kw_only=True):
    """Conversations in KMIP's XML, and how many of them went as they say."""

    passed: int
    failed: int
    skipped: int
    cases: tuple[PlayedCase, ...]


class KmipRoot(Answer, frozen=True, kw_only=True):
    """What seals the keys of a key server without a lab; ``kek``: the number of the current KEK."""

    folder: str
    root: str
    kek: int


class KmipTrail(Answer, frozen=True, kw_only=True):
    """Rows ``first`` to ``last`` of a key server's audit trail, with the times of both (Unix
    seconds); ``digest`` of the last one. No row: ``last`` is 0."""

    rows: int
    first: int
    last: int
    since: float
    until: float
    digest: str


class KmipServer(Answer, frozen=True, kw_only=True):
    """A key server that serves: paths of PEM files, and who may ask it.

    ``client_certificate`` and ``client_key`` are those of a first client; empty when the
    certificates are not of its making.
    """

    address: str
    folder: str
    certificate: str
    authority: str
    client_certificate: str
    client_key: str
    clients: tuple[KmipClient, ...]
    pid: int


KMIP: Final = (KmipCases, ReplayReport, TrustFlowList, KmipServer, KmipRoot, KmipTrail)
"""What is answered without a lab."""
