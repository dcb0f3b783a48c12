"""How an Attestation Service judges a host's evidence: all findings, not only the first. Pure.

| evidence | finding | rule |
|---|---|---|
| no imported principal vouches for this host | principal | ATT-01 |
| endorsement key not registered, or certified by nobody | endorsementKey, certificate | TA-07 |
| no attestation key, or the credential was not opened by that TPM | attestationKey | ATT-01 |
| signature, nonce, registers, values of the quote | quote | ATT-02 |
| log without room for all entries, or of more than 1,000 | eventLogOverflow | ATT-10 |
| log malformed, or does not lead to the quoted values | eventLog | ATT-02 |
| a digest that is not its body's, where the type defines it so | eventBody | ATT-02 |
| Secure Boot off, or not measured | secureBoot | ATT-02 |
| measurements of no imported base image | baseImage | ATT-02, ATT-07 |
| its TPM is another host's: lent, or copied | endorsementKey | ATT-02 |
| reset counter or clock went back, now or before | resetCounter | ATT-02 |

Firmware versions and boot options are measured and quoted, and no finding is about them: what is
compared with imported images is the signed image, loader and modules. Only a host without any
finding is attested.
"""

from __future__ import annotations

import hmac
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

import msgspec

from protocol.crypto.tokens import TokenRefused, VoucherClaims, verify_token
from protocol.messages.attestation import AttestationConfiguration
from protocol.messages.host.crypto import LOG_LIMIT
from protocol.terms import NodeName
from protocol.tpm.event_log import (
    EventLogError,
    body_mismatches,
    event_digest,
    parse_log,
    replay,
    secure_boot_on,
)
from protocol.tpm.quote import Attested, QuoteFlaw, QuoteRefused, verify_quote
from protocol.tpm.structures import (
    PCR_ATTESTED,
    EventType,
    MeasuredEvent,
    PcrSelection,
    PublicArea,
    Quote,
)
from protocol.trust import AttestationFinding, BaseImage, FindingCode, TrustedPrincipal

SELECTION: Final = PCR_ATTESTED
IMAGE_PCRS: Final = (4, 8)
"""The PCRs of the signed image: the loader, and the modules."""
_SEPARATOR: Final = (bytes(4), b"\xff" * 4)  # bodies of the one event that is no file of an image
_SEPARATED: Final = range(8)  # PCRs that end with one (TCG PC client profile)


@dataclass(frozen=True)
class HostEvidence:
    """What a host has sent; ``secret``: what its TPM found in the credential."""

    host: NodeName
    voucher: bytes
    ak: PublicArea
    secret: bytes
    quote: Quote
    event_log: bytes
    log_truncated: bool


@dataclass(frozen=True)
class Challenge:
    """What the host has to answer, and the secret in its credential."""

    nonce: bytes
    secret: bytes
    selection: PcrSelection = SELECTION


@dataclass(frozen=True)
class Examined:
    """``findings`` of the table except its last two lines. ``quoted``: what the TPM reports, None
    when the quote proves nothing about this TPM. ``image``: the imported base image, empty when
    none."""

    findings: tuple[AttestationFinding, ...]
    quoted: Attested | None
    image: str
    secure_boot: bool


class Counters(msgspec.Struct, frozen=True):
    """The last known counters of a TPM. ``set_back``: they went back once. ``host``: the first host
    that attested with it. Only a new registration of the endorsement key resets either."""

    reset_count: int
    clock: int
    set_back: bool = False
    host: NodeName = NodeName("")


def examine(
    configuration: AttestationConfiguration, evidence: HostEvidence, challenge: Challenge
) -> Examined:
    """All findings except those of the endorsement key (``identities``) and the counters
    (``update_counters``)."""
    found = voucher_findings(evidence, configuration.principals)
    quoted, more = _verify_quote(evidence, challenge)
    found += more
    log, more = _log_findings(evidence, quoted)
    found += more
    image, on = "", False
    if log is not None:
        image, on = image_of(log, configuration.base_images), secure_boot_on(log)
        if not on:
            found.append(
                AttestationFinding(FindingCode.SECURE_BOOT, "it booted without Secure Boot")
            )
        if not image:
            text = "what it booted is no imported base image"
            found.append(AttestationFinding(FindingCode.BASE_IMAGE, text))
    return Examined(tuple(found), quoted, image, on)


def voucher_findings(
    evidence: HostEvidence, principals: Iterable[TrustedPrincipal]
) -> list[AttestationFinding]:
    """Whether an imported principal vouches for the host."""
    why = "it has no voucher"
    for principal in principals if evidence.voucher else ():
        try:
            claims = verify_token(evidence.voucher, principal.certificates, VoucherClaims)
        except TokenRefused as refusal:
            why = f"its voucher: {refusal}"
            continue
        if (claims.sub, claims.iss) == (evidence.host, principal.issuer):
            return []
        why = "its voucher is of another host or issuer"
    return [
        AttestationFinding(FindingCode.PRINCIPAL, f"no imported principal vouches for it: {why}")
    ]


def _verify_quote(
    evidence: HostEvidence, challenge: Challenge
) -> tuple[Attested | None, list[AttestationFinding]]:
    """The content of the quote; None unless key, signature, nonce and registers are right."""
    found = []
    proved = hmac.compare_digest(evidence.secret, challenge.secret)
    if not proved:
        text = "its attestation key is not of the TPM with that endorsement key"
        found.append(AttestationFinding(FindingCode.ATTESTATION_KEY, text))
    try:
        quoted = verify_quote(evidence.ak, evidence.quote, challenge.nonce, challenge.selection)
    except QuoteRefused as refusal:
        is_key = refusal.flaw is QuoteFlaw.KEY
        code = FindingCode.ATTESTATION_KEY if is_key else FindingCode.QUOTE
        return None, [*found, AttestationFinding(code, f"the quote is refused: {refusal}")]
    return (quoted if proved else None), found


def _log_findings(
    evidence: HostEvidence, quoted: Attested | None
) -> tuple[tuple[MeasuredEvent, ...] | None, list[AttestationFinding]]:
    """The events of the log, None when it cannot be read; and the findings about them."""
    if evidence.log_truncated:
        text = "the event log had no room for all entries"
        return None, [AttestationFinding(FindingCode.EVENT_LOG_OVERFLOW, text)]
    try:
        events = parse_log(evidence.event_log)
    except (EventLogError, ValueError) as error:
        return None, [
            AttestationFinding(FindingCode.EVENT_LOG, f"the event log is malformed: {error}")
        ]
    found = []
    if len(events) > LOG_LIMIT:
        text = f"the event log has {len(events)} entries, more than the {LOG_LIMIT} of a TPM's"
        found.append(AttestationFinding(FindingCode.EVENT_LOG_OVERFLOW, text))
    if quoted is not None and (off := _off(events, quoted)):
        pcrs = ", ".join(str(pcr) for pcr in off)
        text = f"the event log does not lead to PCR {pcrs} as quoted"
        found.append(AttestationFinding(FindingCode.EVENT_LOG, text))
    if body_mismatches(events):
        text = "the event log has entries that differ from what was measured"
        found.append(AttestationFinding(FindingCode.EVENT_BODY, text))
    return events, found


def _off(events: Sequence[MeasuredEvent], quoted: Attested) -> list[int]:
    """The registers to whose values the log does not lead."""
    measured = replay(events, PcrSelection.of(quoted.pcrs))
    return [pcr for pcr, value in sorted(quoted.pcrs.items()) if measured[pcr] != value]


def image_of(events: Iterable[MeasuredEvent], images: Iterable[BaseImage]) -> str:
    """The version of the image whose files, all and in order, are what these events measured."""
    measured = [
        (event.pcr, event_digest(event))
        for event in events
        if event.pcr in IMAGE_PCRS and event.type is not EventType.NO_ACTION and _is_file(event)
    ]
    for image in images:
        if measured == [(file.pcr, file.digest) for file in image.measurements]:
            return image.version
    return ""


def _is_file(event: MeasuredEvent) -> bool:
    """Everything but the firmware's separators: a body of another length is a file."""
    is_separator = event.type is EventType.SEPARATOR and event.body in _SEPARATOR
    return not (is_separator and event.pcr in _SEPARATED)


def update_counters(
    known: Counters | None, quoted: Attested, host: NodeName
) -> tuple[Counters, list[AttestationFinding]]:
    """What is known of the TPM from now on, and whether it is another host's, or went back.

    A quote can be fresh and valid although another host brings it: a TPM can be lent, and its state
    copied. Counters that another host brings are not taken, so that they do not harm the host that
    has the TPM.
    """
    if known is not None and known.host not in ("", host):
        text = f"the TPM with that endorsement key is that of {known.host}"
        return known, [AttestationFinding(FindingCode.ENDORSEMENT_KEY, text)]
    back = known is not None and (known.set_back or _went_back(known, quoted))
    after = Counters(quoted.reset_count, quoted.clock, back, host)
    if not back:
        return after, []
    text = "the counters of its TPM went back: it was cleared, or an older state was put back"
    return after, [AttestationFinding(FindingCode.RESET_COUNTER, text)]


def _went_back(known: Counters, quoted: Attested) -> bool:
    """Whether the counters went back. After a power cut the clock may go back, but each start
    counts a reset."""
    if quoted.reset_count != known.reset_count:
        return quoted.reset_count < known.reset_count
    return quoted.safe and quoted.clock < known.clock
