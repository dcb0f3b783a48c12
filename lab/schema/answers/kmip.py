"""What commands about KMIP without a lab are answered with."""

from __future__ import annotations

from typing import Final, Literal

import msgspec

from lab.schema.answers.base import Answer
from lab.schema.answers.replay import ReplayReport, TrustFlowList

# ---- told ----------------------------------------------------------------------------------------
# What is told of a key server without a lab, and of conversations with one.
#
# Answers are made of these, and every command line imports the answers: nothing that serves is
# imported here.


class PlayedCase(msgspec.Struct, frozen=True, kw_only=True):
    """What came of a file; ``why`` it did not pass."""

    file: str
    result: Literal["passed", "failed", "skipped"]
    why: str = ""


class KmipClient(msgspec.Struct, frozen=True, kw_only=True):
    """An identity of the server; ``digest`` is the SHA-256 of its public key."""

    name: str
    role: str
    scope: str
    revoked: bool
    digest: str


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
