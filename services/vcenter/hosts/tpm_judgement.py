"""What vCenter makes of a TPM's report: first whether it proves anything, then what. Pure.

| the report                                            | judgement |
|---|---|
| no quote, log without room, log that does not replay  | not accepted: TPMAttestationFailed |
| another endorsement key than the recorded one         | not accepted: TpmEndorsementKeyMismatch |
| the reset counter or the clock went back              | not accepted until the record is cleared |
| Secure Boot off, or other measurements than recorded  | not accepted as long as it is so |
| as recorded, or nothing was recorded                  | accepted, and recorded |

Attestation prevents nothing (ATT-09): it results in an event, an alarm and a field of ``HostInfo``.
Clear and rollback of a TPM show in its counters only; a replaced board shows in its key (SC-25).
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from protocol.events import EventTypeId
from protocol.messages.host import TpmAttestationReport
from protocol.terms import AttestationStatus
from protocol.tpm.event_log import (
    EventLogError,
    body_mismatches,
    parse_log,
    replay,
    secure_boot_on,
)
from protocol.tpm.public import public_name
from protocol.tpm.quote import QuoteRefused, verify_quote
from protocol.tpm.structures import PCR_ATTESTED
from services.vcenter.tables import AttestationRow, TpmRecord

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
