"""Attestations by hand, at the consoles of a trusted host and of a service (``Lab.beside``).

An Attestation Service tells all findings. Who asks at its console is no host that a vCenter vouches
for, and brings another host's TPM: these two findings are always there; the others are about the
evidence.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Final

import msgspec

from lab.core import LabCore
from protocol.errors import InvalidState, ProductError
from protocol.messages.attestation import (
    AttestationChallenge,
    BeginAttestation,
    FinishAttestation,
    QueryAttestationService,
)
from protocol.messages.host import (
    ActivateTpmCredential,
    AttestHost,
    ExportTpmEndorsement,
    QueryTpmAttestationReport,
    TpmAttestationReport,
)
from protocol.messages.keyprovider import (
    GenerateWrappedKey,
    KeyProviderConfiguration,
    SetKeyProviderConfiguration,
)
from protocol.terms import KeyId, NodeName, ProviderId
from protocol.tpm.structures import PCR_ATTESTED
from protocol.trust import (
    AcceptedAttestationService,
    FindingCode,
    KeyServerRecord,
    TpmIdentity,
    TrustedKeyProvider,
)

_OF_THE_CONSOLE: Final = (FindingCode.PRINCIPAL, FindingCode.ENDORSEMENT_KEY)
"""Nobody vouches for who asks there, and the TPM is another host's than theirs."""


class BroughtEvidence(StrEnum):
    """What is brought to the service, in the place of fresh evidence."""

    FRESH = "fresh"
    OTHER_NONCE = "other nonce"
    REPLAYED = "replayed"
    FINISHED = "finished"


class AttestationAnswer(msgspec.Struct, frozen=True):
    """The word of the services that were asked: whether any attests, and all that they say."""

    attested: bool
    said: tuple[str, ...]


async def attest(lab: LabCore, host: str) -> AttestationAnswer:
    """The host attests now, as its administrator has it do."""
    done = await lab.ask(NodeName(host), AttestHost(), within_s=60.0)
    statuses = [report.status.value for report in done.reports]
    said = [text for report in done.reports for text in report.messages]
    return AttestationAnswer("attested" in statuses, tuple(dict.fromkeys(said)))


async def findings(lab: LabCore, host: str, service: str, evidence: str) -> list[str]:
    """The codes of what ``service`` finds in that evidence of the host's TPM, but what it
    finds in who asks; for a context that was finished already: ``refused``."""
    kind = BroughtEvidence(evidence)
    asked, report = await _begin_attestation(lab, host, service)
    if kind is BroughtEvidence.OTHER_NONCE:
        report = await _fetch_quote(lab, host, bytes(len(asked.nonce)))
    first = await _finish_attestation(lab, host, service, asked, report)
    if kind is BroughtEvidence.FINISHED:
        try:
            return await _finish_attestation(lab, host, service, asked, report)
        except InvalidState:
            return ["refused"]
    if kind is BroughtEvidence.REPLAYED:
        again, _ = await _begin_attestation(lab, host, service)
        return await _finish_attestation(lab, host, service, again, report)
    return first


async def _begin_attestation(
    lab: LabCore, host: str, service: str
) -> tuple[AttestationChallenge, TpmAttestationReport]:
    """A challenge, and the host's answer to it."""
    ek = await lab.ask(NodeName(host), ExportTpmEndorsement())
    ak = (await _fetch_quote(lab, host, b"")).ak
    begin = BeginAttestation(identity=TpmIdentity(public_area=ek.public_area), ak=ak)
    asked = await lab.ask(NodeName(service), begin)
    return asked, await _fetch_quote(lab, host, asked.nonce)


async def _fetch_quote(lab: LabCore, host: str, nonce: bytes) -> TpmAttestationReport:
    asked = QueryTpmAttestationReport(nonce=nonce, selection=PCR_ATTESTED)
    return await lab.ask(NodeName(host), asked)


async def _finish_attestation(
    lab: LabCore,
    host: str,
    service: str,
    asked: AttestationChallenge,
    report: TpmAttestationReport,
) -> list[str]:
    opened = await lab.ask(NodeName(host), ActivateTpmCredential(credential=asked.credential))
    finish = FinishAttestation(
        context=asked.context,
        secret=opened.secret,
        quote=report.quote,
        event_log=report.event_log,
    )
    found = (await lab.ask(NodeName(service), finish)).findings
    return [one.code.value for one in found if one.code not in _OF_THE_CONSOLE]


async def ask_for_key(lab: LabCore, service: str, provider: str, token: bytes) -> str:
    """What a Key Provider Service answers who brings this token at its console: the name of the
    error and its text, or ``a key``."""
    wanted = GenerateWrappedKey(token=token, provider=ProviderId(provider), num_of_bytes=32)
    try:
        await lab.ask(NodeName(service), wanted)
    except ProductError as error:
        return f"{type(error).__name__}: {error}"
    return "a key"


async def serve_group(
    lab: LabCore,
    services: list[str],
    group: str,
    attesters: list[str],
    provider: str,
    primary: str,
    servers: list[str],
) -> None:
    """Have Key Provider Services serve another group, whose tokens the same Attestation Services
    would sign: a token that is of the group before is foreign now."""
    accepted = []
    for name in attesters:
        told = await lab.ask(NodeName(name), QueryAttestationService())
        accepted.append(
            AcceptedAttestationService(
                node=NodeName(name), certificate=told.certificate, group=group
            )
        )
    made = TrustedKeyProvider(
        provider=ProviderId(provider),
        primary_key_id=KeyId(primary),
        servers=tuple(KeyServerRecord(node=NodeName(one), trusted=True) for one in servers),
    )
    configuration = KeyProviderConfiguration(
        revision=f"of {group}",
        group=group,
        providers=(made,),
        attestation_services=tuple(accepted),
    )
    for name in services:
        await lab.ask(NodeName(name), SetKeyProviderConfiguration(configuration=configuration))
