"""What is written down of a replay while it is played: steps, findings, keys, servers, phases, and
what single exchanges show of a server beyond whether they went well.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Final, NamedTuple

from chaos.percentiles import value_at
from lab.kmip.replay import kinds
from lab.kmip.replay.findings import (
    FindingKind,
    PlayPhase,
    ReplayVerdict,
    ServerCheck,
    ServerFinding,
    verdict_of,
)
from lab.kmip.replay.servers import ReplayRole
from lab.schema.answers.kmip import ReplayCertificate
from protocol.kmip import dialect
from protocol.kmip.algorithms import CryptographicAlgorithm
from protocol.kmip.enums import ResultStatus
from protocol.kmip.message import RequestItem, RequestMessage, ResponseItem, ResponseMessage
from protocol.kmip.objects import KeyBlock, KeyValue, ProtocolVersion, SymmetricKey
from protocol.kmip.payloads import (
    CreateResponse,
    DiscoverVersionsResponse,
    GetResponse,
    QueryResponse,
)
from protocol.printable import one_line
from protocol.secret import KeyMaterial
from services.keyservers.kmip_sessions import OnStep, Seen, SessionStep

_BITS: Final = 8


class SeenFinding(NamedTuple):
    """A kind of finding, and what was seen."""

    kind: FindingKind
    text: str


class Inspector:
    """Looks at exchanges with the servers of one provider; it remembers keys by their digests."""

    def __init__(self) -> None:
        self._made: set[str] = set()
        self._values: dict[bytes, str] = {}  # digest -> the identifier that it was seen under first
        self._digests: dict[str, bytes] = {}  # identifier -> the digest that it had first

    def inspect(self, asked: RequestMessage, answer: ResponseMessage) -> Iterator[SeenFinding]:
        """What is found in an answer that can be read, whether it is a refusal or not."""
        yield from _version(answer)
        for item, back in zip(asked.batch_item, answer.batch_item, strict=False):
            yield from _batch_id(item, back)
            if back.result_status == ResultStatus.SUCCESS:
                yield from self._payload(back)

    def _payload(self, item: ResponseItem) -> Iterator[SeenFinding]:
        match item.response_payload:
            case DiscoverVersionsResponse(protocol_version=offered):
                if dialect.VERSION not in offered:
                    said = ", ".join(map(_format_version, offered)) or "no version"
                    yield SeenFinding(kinds.VERSION_NOT_OFFERED, f"it offers {said}")
            case CreateResponse(unique_identifier=uid):
                if uid in self._made:
                    yield SeenFinding(kinds.ID_REPEATED, f"{uid} was given to an earlier key")
                self._made.add(uid)
            case GetResponse(unique_identifier=uid, object=SymmetricKey(key_block=block)):
                yield from _claims(block)
                yield from self._value(uid, block)

    def _value(self, uid: str, block: KeyBlock) -> Iterator[SeenFinding]:
        material = _material(block)
        if material is None:
            return
        if len(set(material.reveal())) == 1:
            yield SeenFinding(kinds.KEY_CONSTANT, f"every byte of key {uid} is the same")
            return
        digest = sha256(material.reveal()).digest()
        first = self._values.setdefault(digest, uid)
        if first != uid:
            yield SeenFinding(kinds.KEY_REPEATED, f"keys {first} and {uid} have the same value")
        elif self._digests.setdefault(uid, digest) != digest:
            yield SeenFinding(kinds.KEY_CHANGED, f"key {uid} has another value than before")


def _version(answer: ResponseMessage) -> Iterator[SeenFinding]:
    """Who did not understand a message does not know of which version it was."""
    version = answer.response_header.protocol_version
    understood = any(item.operation is not None for item in answer.batch_item)
    if understood and version != dialect.VERSION:
        yield SeenFinding(
            kinds.VERSION_CHANGED, f"it answers under KMIP {_format_version(version)}"
        )


def _batch_id(asked: RequestItem, item: ResponseItem) -> Iterator[SeenFinding]:
    """An item without an operation refuses the whole message, of which nothing was understood."""
    if asked.unique_batch_item_id and not item.unique_batch_item_id and item.operation is not None:
        yield SeenFinding(kinds.BATCH_ID_MISSING, "the answer has no Unique Batch Item ID")


def _claims(block: KeyBlock) -> Iterator[SeenFinding]:
    """What the Key Block says of its value; it may leave both out."""
    algorithm, length = block.cryptographic_algorithm, block.cryptographic_length
    if algorithm not in (None, CryptographicAlgorithm.AES):
        named = getattr(algorithm, "label", algorithm)
        yield SeenFinding(kinds.KEY_ALGORITHM, f"the Cryptographic Algorithm is {named}")
    material = _material(block)
    if material is None or length is None:
        return
    bits = len(material.reveal()) * _BITS
    if length != bits:
        text = f"the Cryptographic Length is {length}, and the value has {bits} bits"
        yield SeenFinding(kinds.KEY_LENGTH, text)


def _material(block: KeyBlock) -> KeyMaterial | None:
    """The value in clear; None for a wrapped one, a transparent one, and none."""
    value = block.key_value.key_material if isinstance(block.key_value, KeyValue) else None
    return value if isinstance(value, KeyMaterial) else None


def _format_version(version: ProtocolVersion) -> str:
    return f"{version.protocol_version_major}.{version.protocol_version_minor}"


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
