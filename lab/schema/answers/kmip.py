"""What commands about KMIP without a lab are answered with, among them ``kmip replay``: a verdict
on key servers, and everything that it stands on.
"""

from __future__ import annotations

from typing import Final, Literal

import msgspec

from lab.schema.answers.base import Answer


class ReplayCertificate(msgspec.Struct, frozen=True, kw_only=True):
    """A server's certificate. ``names``: its Subject Alternative Names; ``start`` and ``end`` are
    Unix seconds; ``sha256`` is the digest of the certificate."""

    subject: str
    issuer: str
    names: tuple[str, ...]
    start: float
    end: float
    key: str
    sha256: str


class ReplayServer(msgspec.Struct, frozen=True, kw_only=True):
    """A key server as it has shown itself. ``vendor``: its answer to Query; ``versions`` of KMIP
    that it offers; ``down``: why nothing was played against it, empty when it was."""

    address: str
    vendor: str
    versions: tuple[str, ...]
    tls: str
    cipher: str
    certificate: ReplayCertificate | None
    down: str


class ReplayStep(msgspec.Struct, frozen=True, kw_only=True):
    """A message of vCenter, or a handshake: how often, how fast in milliseconds, and how often it
    failed where it should not."""

    phase: str
    server: str
    step: str
    times: int
    failed: int
    p50_ms: float
    p99_ms: float
    worst_ms: float


class ReplayFinding(msgspec.Struct, frozen=True, kw_only=True):
    """What was found at a server, ``times``. ``level``: notice or error; ``seen``: what the server
    said or did; ``vcenter``: what a vCenter makes of it; ``fix``: what its owner can do."""

    id: str
    level: str
    phase: str
    check: str
    title: str
    server: str
    step: str
    times: int
    seen: str
    vcenter: str
    fix: str
    source: str


class ReplayCheck(msgspec.Struct, frozen=True, kw_only=True):
    """Something that was judged at a server. ``result``: passed, notice, error or skipped; ``why``
    it was skipped."""

    phase: str
    check: str
    server: str
    result: str
    why: str = ""


class ReplayPhase(msgspec.Struct, frozen=True, kw_only=True):
    """A part of the replay. ``result`` is the worst of its checks, or skipped, and ``why``;
    ``measures`` are seconds and counts by their names."""

    phase: str
    result: str
    seconds: float
    why: str = ""
    measures: dict[str, float] = {}


class ReplayKey(msgspec.Struct, frozen=True, kw_only=True):
    """A key that is left at the servers. ``use``: what it was made for; ``why`` it is left."""

    id: str
    server: str
    use: str
    why: str


class ReplayReport(Answer, frozen=True, kw_only=True):
    """``verdict``: works, works with notices, or does not work. ``date``: when it began, UTC;
    ``keystead``: the version that played it; ``vcenter``: the release that was played. ``keys``
    were made; those in ``left`` are still at the servers. ``items`` are the steps, in the order in
    which they were first taken."""

    verdict: str
    date: str
    keystead: str
    vcenter: str
    connection: str
    seconds: float
    keys: int
    servers: tuple[ReplayServer, ...]
    phases: tuple[ReplayPhase, ...]
    checks: tuple[ReplayCheck, ...]
    findings: tuple[ReplayFinding, ...]
    left: tuple[ReplayKey, ...]
    items: tuple[ReplayStep, ...]


class TrustFlowPart(msgspec.Struct, frozen=True, kw_only=True):
    """A way in which a key server comes to trust vCenter. ``give``: the file to hand over, empty
    when there is none; ``then``: what the owner of the server does; ``ready``: it can be played."""

    flow: str
    give: str
    then: str
    ready: bool


class TrustFlowList(Answer, frozen=True, kw_only=True):
    """vCenter's part of each trust flow, in files."""

    items: tuple[TrustFlowPart, ...]


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
