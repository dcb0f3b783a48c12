"""vCenter's own attestation of every host with a TPM, at each connection and on request (ATT-09).

What it makes of a TPM's report is pure: first whether the report proves anything, then what.
"""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import dataclass

import msgspec

from protocol.errors import ProductError, SaveFailed
from protocol.events import EventTypeId
from protocol.messages.host.crypto import (
    ActivateTpmCredential,
    QueryTpmAttestationReport,
    TpmAttestationReport,
)
from protocol.terms import AttestationStatus, NodeName
from protocol.tpm.credential import make_credential
from protocol.tpm.event_log import (
    EventLogError,
    body_mismatches,
    parse_log,
    replay,
    secure_boot_on,
)
from protocol.tpm.public import PublicError, public_name
from protocol.tpm.quote import QuoteRefused, verify_quote
from protocol.tpm.structures import PCR_ATTESTED, PublicArea
from services.runtime.ports import Clock, Rng
from services.vcenter import events
from services.vcenter.hosts.pass_queue import PassQueue
from services.vcenter.hosts.session import UNANSWERED, HostSession
from services.vcenter.hosts.sessions import HostSessions
from services.vcenter.inventory import Edit, Inventory
from services.vcenter.knobs import VcenterNode
from services.vcenter.tables import AttestationRow, DatabaseTable, HostRow, TpmRecord

FAILED = EventTypeId.HOST_TPM_ATTESTATION_FAILED
MISMATCH = EventTypeId.HOST_TPM_ENDORSEMENT_KEY_MISMATCH


@dataclass(frozen=True)
class TpmEvidence:
    """What a report proves about the TPM that signed it; ``ak`` is still to be tied to ``ek``.

    ``safe`` False: power was cut without a shutdown, so the clock may have gone back by itself.
    """

    ek: str
    ak: str
    pcrs: dict[int, str]
    reset_count: int
    clock: int
    safe: bool
    secure_boot: bool


@dataclass(frozen=True)
class Judgement:
    """``flaw``: why the TPM is not accepted, empty when it is; ``event`` reports it.

    ``record``: what vCenter knows of the TPM from now on.
    """

    flaw: str
    event: EventTypeId | None
    record: TpmRecord | None


def examine(report: TpmAttestationReport, nonce: bytes) -> TpmEvidence | str:
    """What the report proves, or why it proves nothing."""
    try:
        quoted = verify_quote(report.ak, report.quote, nonce, PCR_ATTESTED)
    except QuoteRefused as refusal:
        return f"the quote is refused: {refusal}"
    if not report.log_reliable:
        return "the event log had no room for all entries"
    try:
        events = parse_log(report.event_log)
    except EventLogError as error:
        return f"the event log is malformed: {error}"
    measured = replay(events, PCR_ATTESTED)
    if off := [pcr for pcr, value in quoted.pcrs.items() if measured[pcr] != value]:
        return f"the event log does not lead to {_pcrs(off)} as quoted"
    if body_mismatches(events):
        return "the event log has entries that differ from what was measured"
    return TpmEvidence(
        ek=hashlib.sha256(report.ek.raw).hexdigest(),
        ak=public_name(report.ak).hex(),
        pcrs={pcr: value.hex() for pcr, value in quoted.pcrs.items()},
        reset_count=quoted.reset_count,
        clock=quoted.clock,
        safe=quoted.safe,
        secure_boot=secure_boot_on(events),
    )


def judge(known: TpmRecord | None, seen: TpmEvidence) -> Judgement:
    """Compare with the record of the host's TPM, by the table above."""
    if known is not None and known.ek != seen.ek:
        text = "its TPM has another endorsement key than the one recorded: the board was replaced"
        return Judgement(text, MISMATCH, known)
    set_back = known is not None and (known.set_back or _went_back(known, seen))
    record = TpmRecord(
        ek=seen.ek,
        ak=seen.ak,
        pcrs=seen.pcrs if known is None else known.pcrs,
        reset_count=seen.reset_count,
        clock=seen.clock,
        set_back=set_back,
    )
    if set_back:
        return Judgement(
            "the counters of its TPM went back: it was cleared, or an older state was put back",
            FAILED,
            record,
        )
    if not seen.secure_boot:
        return Judgement("it booted without Secure Boot", FAILED, record)
    if changed := [pcr for pcr, value in record.pcrs.items() if seen.pcrs.get(pcr) != value]:
        text = f"it measured something else than when its TPM was recorded, in {_pcrs(changed)}"
        return Judgement(text, FAILED, record)
    return Judgement("", None, record)


def failure_judgement(known: TpmRecord | None, why: str) -> Judgement:
    """There is nothing to compare; the record does not change."""
    return Judgement(why, FAILED, known)


def is_news(before: AttestationRow | None, judgement: Judgement) -> bool:
    """Whether an event reports it: a flaw is reported once, until it is gone or another one
    appears."""
    if not judgement.flaw:
        return False
    return before is None or before.message != judgement.flaw


def attestation_of(judgement: Judgement, at: float) -> AttestationRow:
    """The judgement as stored with the host; ``at`` in Unix seconds."""
    accepted = not judgement.flaw
    status = AttestationStatus.ACCEPTED if accepted else AttestationStatus.NOT_ACCEPTED
    return AttestationRow(at=at, status=status, message=judgement.flaw, event=judgement.event)


def _went_back(known: TpmRecord, seen: TpmEvidence) -> bool:
    if seen.reset_count != known.reset_count:
        return seen.reset_count < known.reset_count
    return seen.safe and seen.clock < known.clock


def _pcrs(indices: list[int]) -> str:
    return f"PCR {', '.join(str(index) for index in indices)}"


AT_ONCE = 2  # hosts whose TPMs are attested at the same time
NONCE_BYTES = 32
SECRET_BYTES = 32


class HostAttestation:
    """Attests TPMs in the order of the queue; the result is stored in the host's row."""

    def __init__(
        self,
        node: VcenterNode,
        clock: Clock,
        rng: Rng,
        inventory: Inventory,
        sessions: HostSessions,
        passes: PassQueue,
    ) -> None:
        self._node, self._clock, self._rng = node, clock, rng
        self._inventory, self._sessions, self._passes = inventory, sessions, passes

    def start(self) -> None:
        """Process the requests from now on."""
        for number in range(AT_ONCE):
            self._node.background(f"attestation:{number}", self._serve())

    async def _serve(self) -> None:
        while True:
            order = await self._passes.take()
            self._passes.begin_pass(order.host)
            self._passes.end_pass(order.host, whole=await self._look(order.host))

    async def _look(self, host: NodeName) -> bool:
        """Attest one host. False when the host did not answer: the next contact repeats it."""
        session = self._sessions.find_connected(host)
        if session is None:
            return False  # the next session requests it again
        name, known = session.name, self._tpm_record_of(host)
        try:
            judgement = await self._judge(session, known)
        except UNANSWERED:
            self._passes.cut_short(host)
            return False
        if judgement is not None and session.name == name:
            try:
                await self._commit(host, known, judgement)
            except SaveFailed as error:  # vCenter's own failure: the next contact repeats it
                self._node.record(
                    "inventory.save_failed", level="warning", host=host, reason=str(error)
                )
                self._passes.cut_short(host)
                return False
        return True

    async def _judge(self, session: HostSession, known: TpmRecord | None) -> Judgement | None:
        """The judgement of the host's TPM; None for a host that never had one."""
        if session.summary is None or not session.summary.tpm_present:
            return (
                None if known is None else failure_judgement(known, "the recorded TPM is not there")
            )
        nonce = self._rng.token(NONCE_BYTES)
        try:
            report = await session.ask(
                QueryTpmAttestationReport(nonce=nonce, selection=PCR_ATTESTED)
            )
        except UNANSWERED:
            raise
        except ProductError as error:
            return failure_judgement(known, str(error))
        seen = examine(report, nonce)
        if isinstance(seen, str):
            return failure_judgement(known, seen)
        if _proved(known, seen) or await self._opens(session, report.ek, report.ak):
            return judge(known, seen)
        return failure_judgement(
            known, "its attestation key is not of the TPM with that endorsement key"
        )

    async def _opens(self, session: HostSession, ek: PublicArea, ak: PublicArea) -> bool:
        """Whether the host's TPM holds both keys: only then it can open the credential."""
        secret = self._rng.token(SECRET_BYTES)
        try:
            credential = make_credential(ek, secret, public_name(ak))
            opened = await session.ask(ActivateTpmCredential(credential=credential))
        except UNANSWERED:
            raise
        except (ProductError, PublicError):
            return False
        return hmac.compare_digest(opened.secret, secret)

    def _tpm_record_of(self, host: NodeName) -> TpmRecord | None:
        row = self._inventory.hosts.get(host)
        return None if row is None else row.tpm

    async def _commit(self, host: NodeName, known: TpmRecord | None, judgement: Judgement) -> None:
        row = self._inventory.hosts.get(host)
        if row is None or row.tpm != known:
            return  # the record was cleared meanwhile, and another attestation is requested
        after = attestation_of(judgement, self._clock.now())
        drafts = []
        if judgement.event is not None and is_news(row.attestation, judgement):
            drafts.append(events.attestation_failed(host, judgement.event, judgement.flaw))
        self._node.record(
            "host.attested",
            level="warning" if judgement.flaw else "info",
            host=host,
            status=after.status.value,
            reason=judgement.flaw,
        )

        def note_judgement(row: HostRow | None) -> HostRow | None:
            if row is None or row.tpm != known:
                return row
            return msgspec.structs.replace(row, tpm=judgement.record, attestation=after)

        await self._inventory.commit(Edit(DatabaseTable.HOST, host, note_judgement), events=drafts)


def _proved(known: TpmRecord | None, seen: TpmEvidence) -> bool:
    """Whether this pair of keys was proved to be of one TPM before."""
    return known is not None and (known.ek, known.ak) == (seen.ek, seen.ak)
