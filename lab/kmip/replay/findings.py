"""What a replay finds: levels, the kinds of findings, single findings, and the verdict.

A *notice* is against the standard or against good practice, and a vCenter works all the same as
far as is known. An *error* means that encryption fails, that a VM does not come back, or that keys
are not secret. Each kind has an id that stays, so that pipelines can name it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from enum import StrEnum
from typing import Final, NamedTuple


class FindingLevel(StrEnum):
    """How much a finding weighs."""

    NOTICE = "notice"
    ERROR = "error"


class ReplayVerdict(StrEnum):
    """What a replay says of a key server."""

    WORKS = "works"
    NOTICES = "works with notices"
    FAILS = "does not work"


EXIT_CODES: Final[Mapping[ReplayVerdict, int]] = {
    ReplayVerdict.WORKS: 0,
    ReplayVerdict.NOTICES: 1,
    ReplayVerdict.FAILS: 2,
}


class PlayPhase(StrEnum):
    """A part of a replay, in the order of play."""

    TRUST = "trust"
    FLOW = "flow"
    FAILOVER = "failover"
    ISOLATION = "isolation"
    STORM = "storm"
    SOAK = "soak"
    CLEANUP = "cleanup"


class ServerCheck(NamedTuple):
    """Something that is played against a server, and judged."""

    phase: PlayPhase
    title: str


class FindingKind(NamedTuple):
    """A kind of finding. ``vcenter``: what a vCenter makes of it; ``fix``: what the owner of the
    server can do; ``source``: a section of KMIP 1.1, or a rule of ``docs/rules.md``."""

    id: str
    check: ServerCheck
    level: FindingLevel
    title: str
    vcenter: str
    fix: str
    source: str


class ServerFinding(NamedTuple):
    """What was found at a server, and how often. ``step``: the message, or the handshake;
    ``seen``: what the server said or did; ``vcenter``: what a vCenter makes of it."""

    kind: FindingKind
    server: str
    step: str
    seen: str
    vcenter: str
    times: int = 1


def verdict_of(findings: Iterable[ServerFinding]) -> ReplayVerdict:
    """The worst of the findings decides."""
    levels = {finding.kind.level for finding in findings}
    if FindingLevel.ERROR in levels:
        return ReplayVerdict.FAILS
    return ReplayVerdict.NOTICES if levels else ReplayVerdict.WORKS
