"""What is written down of a replay while it is played: steps, findings, keys, servers, phases."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from chaos.percentiles import value_at
from lab.kmip.replay import kinds
from lab.kmip.replay.exchanges import Inspector
from lab.kmip.replay.findings import (
    FindingKind,
    PlayPhase,
    ReplayVerdict,
    ServerCheck,
    ServerFinding,
    verdict_of,
)
from lab.kmip.replay.servers import ReplayRole
from lab.schema.answers.replay import ReplayCertificate
from protocol.kmip.message import RequestMessage, ResponseMessage
from protocol.kmip.payloads import DiscoverVersionsResponse, QueryResponse
from protocol.printable import one_line
from protocol.secret import KeyMaterial
from services.keyservers.session import OnStep, Seen, SessionStep


class FailedStep(NamedTuple):
    """A step that failed; ``error`` begins with the kind of the failure."""

    step: str
    error: str


@dataclass
class Latency:
    """Seconds that a step took, each time; ``failed`` counts what should have gone well."""

    seconds: list[float] = field(default_factory=list)
    failed: int = 0

    def percentile_s(self, percentile: float) -> float:
        """Seconds of a percentile, 100 for the longest; 0 without values."""
        return value_at(sorted(self.seconds), percentile) or 0.0


@dataclass
class ServerFacts:
    """What a server is, as far as it has said so. ``down``: why it is not played against."""

    vendor: str = ""
    versions: tuple[str, ...] = ()
    tls: str = ""
    cipher: str = ""
    certificate: ReplayCertificate | None = None
    down: str = ""


@dataclass
class MadeKey:
    """A key that the replay has made, and what for. ``by``: whose it is; ``value`` None: it was
    never fetched; ``lost``: it could not be fetched again; ``tags`` that the server took; ``left``:
    why it is still there, empty when it was destroyed."""

    uid: str
    server: str
    use: str
    by: str = ReplayRole.VCENTER
    value: KeyMaterial | None = None
    lost: bool = False
    tags: dict[str, str] = field(default_factory=dict)
    left: str = "made by this replay"


@dataclass
class PlayedPhase:
    """How far a phase came. ``skipped``: why it was not played; ``measures`` by their names."""

    seconds: float = 0.0
    skipped: str = ""
    measures: dict[str, float] = field(default_factory=dict)


_FAILURES: Final[ContextVar[list[FailedStep] | None]] = ContextVar("failures", default=None)


@contextmanager
def failures() -> Iterator[list[FailedStep]]:
    """The steps that fail within the block, tasks that are begun in it included."""
    found: list[FailedStep] = []
    token = _FAILURES.set(found)
    try:
        yield found
    finally:
        _FAILURES.reset(token)


class ReplayJournal:
    """One replay, from its first step to its last."""

    def __init__(self, servers: Sequence[str], now: Callable[[], float]) -> None:
        self.now = now
        self.servers = {name: ServerFacts() for name in servers}
        self.steps: dict[tuple[PlayPhase, str, str], Latency] = {}
        self.keys: list[MadeKey] = []
        self.phases: dict[PlayPhase, PlayedPhase] = {}
        self.checks: dict[
            tuple[ServerCheck, str], str
        ] = {}  # why it was skipped; empty: it was played
        self._findings: dict[tuple[FindingKind, str, str], ServerFinding] = {}
        self._phase = PlayPhase.TRUST
        self._inspector = Inspector()

    @property
    def findings(self) -> tuple[ServerFinding, ...]:
        """What was found, in the order of the kinds."""
        order = {kind.id: number for number, kind in enumerate(kinds.KINDS)}
        return tuple(sorted(self._findings.values(), key=lambda found: order[found.kind.id]))

    @property
    def verdict(self) -> ReplayVerdict:
        """What the findings until now come to."""
        return verdict_of(self._findings.values())

    # ---- what dialogues tell ------------------------------------------------------------------

    def step_recorder(self, server: str) -> OnStep:
        """What a dialogue with ``server`` is to tell its steps to."""

        def hear(step: SessionStep) -> None:
            self._latency(server, step.name).seconds.append(step.seconds)
            found = _FAILURES.get()
            if step.error and found is not None:
                found.append(FailedStep(step.name, step.error))

        return hear

    def answer_recorder(self, server: str) -> Seen:
        """What a dialogue with ``server`` is to show its answers to."""

        def see(step: str, asked: RequestMessage, answer: ResponseMessage) -> None:
            for found in self._inspector.inspect(asked, answer):
                self.find(found.kind, server, step, found.text)
            for item in answer.batch_item:
                self._learn(self.servers[server], item.response_payload)

        return see

    def _learn(self, facts: ServerFacts, payload: object) -> None:
        match payload:
            case QueryResponse(vendor_identification=str(vendor)):
                facts.vendor = one_line(vendor)
            case DiscoverVersionsResponse(protocol_version=versions):
                facts.versions = tuple(
                    f"{one.protocol_version_major}.{one.protocol_version_minor}" for one in versions
                )

    def _latency(self, server: str, step: str) -> Latency:
        return self.steps.setdefault((self._phase, server, step), Latency())

    # ---- findings -----------------------------------------------------------------------------

    def find(
        self, kind: FindingKind, server: str, step: str, seen: str, *, vcenter: str = ""
    ) -> None:
        """Write down a finding; at one server each kind counts once for all its steps."""
        self._add(ServerFinding(kind, server, step, seen, vcenter or kind.vcenter), "")

    def fail(self, kind: FindingKind, server: str, failed: Sequence[FailedStep]) -> None:
        """Write down that steps have failed which should go well; each step is a finding."""
        for step, error in failed:
            self._latency(server, step).failed += 1
            vcenter = kinds.consequence(kind, error)
            self._add(ServerFinding(kind, server, step, error, vcenter), step)

    def has_found(self, kind: FindingKind, server: str = "") -> bool:
        """Whether there is such a finding, at that server if one is named."""
        return any(
            found.kind.id == kind.id and server in ("", found.server)
            for found in self._findings.values()
        )

    def check(self, check: ServerCheck, server: str, *, skipped: str = "") -> None:
        """Write down that something is judged, or why it cannot be."""
        place = check, server
        if not skipped or place not in self.checks:
            self.checks[place] = skipped

    def _add(self, found: ServerFinding, step: str) -> None:
        self.check(found.kind.check, found.server)
        key = found.kind, found.server, step
        known = self._findings.get(key)
        self._findings[key] = found if known is None else known._replace(times=known.times + 1)

    # ---- keys and phases ----------------------------------------------------------------------

    def keys_with_value(self) -> list[MadeKey]:
        """Keys of which a value is known."""
        return [key for key in self.keys if key.value is not None]

    def record_key(self, uid: str, server: str, use: str, by: str = ReplayRole.VCENTER) -> MadeKey:
        """Write down a key that a server has made."""
        key = MadeKey(uid, server, use, by)
        self.keys.append(key)
        return key

    @contextmanager
    def phase(self, phase: PlayPhase) -> Iterator[PlayedPhase]:
        """The block is that phase, or more of it."""
        played = self.phases.setdefault(phase, PlayedPhase())
        self._phase = phase
        begun = self.now()
        try:
            yield played
        finally:
            played.seconds += self.now() - begun

    def skip(self, phase: PlayPhase, why: str) -> None:
        """Write down why a phase is not played."""
        self.phases[phase] = PlayedPhase(skipped=why)
