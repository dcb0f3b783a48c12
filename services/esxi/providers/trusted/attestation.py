"""Attestation of a trusted host: prove to one service after another which TPM this is and what it
booted. A host without a token attests before a VM is powered on (ATT-06).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from protocol.crypto.tokens import AttestationClaims, TokenRefused, verify_token
from protocol.errors import InvalidArgument, InvalidState, NoPermission, ProductError
from protocol.messages.attestation import (
    AttestationReport,
    BeginAttestation,
    FinishAttestation,
)
from protocol.terms import CryptoKeyId, ManagementType, NodeName, VmName
from protocol.tpm.errors import TpmError, TpmErrorKind
from protocol.tpm.structures import EkKind, PublicArea, TpmCredential
from protocol.trust import (
    HostTrustReport,
    ServiceRecord,
    TokenType,
    TpmIdentity,
    TrustAttestationStatus,
    TrustedConfiguration,
)
from services.esxi.host import EsxiHost
from services.esxi.providers.trusted.attestation_state import (
    AttestationOutcome,
    HeldToken,
    is_allowed,
    is_concerned,
)
from services.runtime.ports import Tpm

_HOSTS_FAULT: Final = (InvalidArgument, NoPermission)


@dataclass(frozen=True)
class _ServiceResult:
    """The result of a service; without one, the reason why this host could not ask it
    (``fault``)."""

    report: AttestationReport | None = None
    token: bytes = b""
    fault: str = ""


def groups(configuration: TrustedConfiguration) -> tuple[str, ...]:
    """The groups that have an Attestation Service, in the order of the configuration."""
    return tuple(dict.fromkeys(record.group for record in configuration.attestation_services))


def is_attested(host: EsxiHost) -> bool:
    """Whether this host has a valid token of any group."""
    now = host.clock.monotonic()
    return any(host.trust.find_token(group, now) for group in host.trust.tokens)


async def ensure_attested(host: EsxiHost) -> AttestationOutcome:
    """Whether this host is attested; it attests first if it has no token."""
    now = host.archive.now.trusted
    if now is None or is_attested(host):
        return AttestationOutcome.ATTESTED
    return await attest(host, groups(now))


async def get_token(host: EsxiHost, group: str) -> HeldToken | None:
    """A token of that group; the host attests when it has none (ATT-04). None: it gets none."""
    found = host.trust.find_token(group, host.clock.monotonic())
    if found is None:
        await attest(host, (group,))
        found = host.trust.find_token(group, host.clock.monotonic())
    return found


async def attest(
    host: EsxiHost, wanted: Iterable[str], *, anew: bool = False
) -> AttestationOutcome:
    """Attest with services of these groups, until one attests this host.

    One attestation runs at a time. A caller that waited for another one gets its result, also a
    failure, unless it asked for a new one (``anew``).
    """
    wanted, trust = tuple(wanted), host.trust
    came = trust.attestations
    async with trust.attesting:
        held = (trust.find_token(group, host.clock.monotonic()) for group in wanted)
        if not anew and any(held):
            return AttestationOutcome.ATTESTED
        refused = False
        for group in wanted:
            outcome = None if anew else trust.in_vain_since(group, came)
            if outcome is None:
                outcome = await _attest_in(host, group)
                trust.record_attestation(group, outcome)
            if outcome is AttestationOutcome.ATTESTED:
                return outcome
            refused = refused or outcome is AttestationOutcome.REFUSED
    return AttestationOutcome.REFUSED if refused else AttestationOutcome.UNREACHABLE


async def _attest_in(host: EsxiHost, group: str) -> AttestationOutcome:
    now = host.archive.now.trusted
    if now is None:
        return AttestationOutcome.UNREACHABLE
    refused = False
    for record in _order_services(host, now, group):
        started = host.clock.monotonic()
        try:
            judged = await _ask_service(host, record, now.voucher)
        except ProductError as error:
            if _is_listed(host, record):
                _record_failure(host, record.node, f"{type(error).__name__}: {error}")
            continue
        if not _is_listed(host, record):
            continue  # the configuration has changed meanwhile: this result does not count
        if _keep_result(host, record, judged, started):
            return AttestationOutcome.ATTESTED
        refused = True
        host.trust.tokens.pop(group, None)
    return AttestationOutcome.REFUSED if refused else AttestationOutcome.UNREACHABLE


def _is_listed(host: EsxiHost, record: ServiceRecord) -> bool:
    """Whether the present configuration has that service."""
    now = host.archive.now.trusted
    return now is not None and record in now.attestation_services


def _order_services(host: EsxiHost, now: TrustedConfiguration, group: str) -> list[ServiceRecord]:
    """The services of that group in order, with a doubted one last."""
    of_group = [record for record in now.attestation_services if record.group == group]
    doubted = host.trust.doubted.get(group)
    return sorted(of_group, key=lambda record: record.node == doubted)


async def _ask_service(host: EsxiHost, record: ServiceRecord, voucher: bytes) -> _ServiceResult:
    """The result of a service for this host; a ``ProductError`` when it comes to none."""
    if host.tpm is None:
        return _ServiceResult(fault="the TPM of this host is not there")
    try:
        try:
            report = await _request_report(host, host.tpm, record, voucher)
        except InvalidState:  # the service has restarted in between: begin again
            report = await _request_report(host, host.tpm, record, voucher)
    except TpmError as error:
        return _ServiceResult(fault=f"the TPM of this host gives no evidence: {error}")
    except _HOSTS_FAULT as error:
        return _ServiceResult(fault=str(error))
    except ValueError as error:
        raise InvalidState(f"{record.node} sent a challenge that no TPM accepts: {error}") from None
    if not report.attested:
        return _ServiceResult(report=report)
    return _ServiceResult(report=report, token=_check_token(host, record, report))


async def _request_report(
    host: EsxiHost, tpm: Tpm, record: ServiceRecord, voucher: bytes
) -> AttestationReport:
    """Run both calls of an attestation."""
    within_s = host.node.knobs.trust_timeout_s
    bus = host.ports.bus
    identity, ak = host.trust.shown or await _tpm_identity(tpm)
    host.trust.shown = identity, ak
    begin = BeginAttestation(identity=identity, ak=ak, voucher=voucher)
    begun = await bus.request(record.node, begin, within_s=within_s)
    secret = await _activate_credential(tpm, begun.credential)
    quote = await tpm.quote(begun.selection, begun.nonce)
    fits = host.is_log_complete()
    finish = FinishAttestation(
        context=begun.context,
        secret=secret,
        quote=quote,
        event_log=host.event_log if fits else b"",
        log_truncated=not fits,
    )
    return await bus.request(record.node, finish, within_s=within_s)


async def _tpm_identity(tpm: Tpm) -> tuple[TpmIdentity, PublicArea]:
    """The certificate of the endorsement key if it has one (ATT-01), and the attestation key."""
    ek, certificate = await tpm.ek(EkKind.ECC_P256)
    ak, _ = await tpm.ak()
    if certificate:
        return TpmIdentity(certificate=certificate), ak
    return TpmIdentity(public_area=ek), ak


async def _activate_credential(tpm: Tpm, credential: TpmCredential) -> bytes:
    """The secret in the credential; empty when it is for another TPM: the service then reports
    that."""
    try:
        return await tpm.activate(credential.id_object, credential.encrypted_seed)
    except TpmError as error:
        if error.kind is not TpmErrorKind.INTEGRITY:
            raise
        return b""


def _check_token(host: EsxiHost, record: ServiceRecord, report: AttestationReport) -> bytes:
    """The token of a report; ``InvalidState`` unless the service of that record has signed it for
    this host and that group."""
    kinds = {document.type: document.token for document in report.documents}
    found = kinds.get(TokenType.KMS_AUTH_JWT, b"")
    try:
        claims = verify_token(found, record.trusted_ca[-1:], AttestationClaims)
    except TokenRefused as refusal:
        raise InvalidState(f"{record.node} is not the service it should be: {refusal}") from None
    if (claims.iss, claims.sub, claims.group) != (record.node, host.node.name, record.group):
        raise InvalidState(f"{record.node} has issued a token that is not for this host")
    return found


def _keep_result(
    host: EsxiHost, record: ServiceRecord, judged: _ServiceResult, started: float
) -> bool:
    """Keep the result; returns whether the host is attested."""
    report, trust = judged.report, host.trust
    good = report is not None and report.attested and report.attested_until is not None
    messages: tuple[str, ...] = (judged.fault,) if judged.fault else ()
    at = until = None
    if report is not None:
        messages = tuple(finding.text for finding in report.findings)
        at, until = report.attested_at, report.attested_until
    if good and at is not None and until is not None:
        held = HeldToken(judged.token, record.node, started, started + (until - at))
        trust.tokens[record.group] = held
        _renew_ahead(host, record.group)
    trust.reports[record.node] = HostTrustReport(
        service=record.node,
        status=TrustAttestationStatus.ATTESTED if good else TrustAttestationStatus.NOT_ATTESTED,
        attested_at=at,
        attested_until=until,
        messages=messages,
    )
    if good:
        host.node.record("trust.attested", service=record.node)
    else:
        reasons = list(messages)
        host.node.record("trust.refused", level="warning", service=record.node, reasons=reasons)
    return good


def _renew_ahead(host: EsxiHost, group: str) -> None:
    """C12: start renewing the token of that group before it ends, if the knob says so."""
    if host.node.knobs.token_renew == "ahead" and group not in host.trust.renewing:
        host.trust.renewing.add(group)
        host.node.background(f"trust.renew:{group}", _renew_token(host, group))


async def _renew_token(host: EsxiHost, group: str) -> None:
    """Attest again and again, each time before the token ends, until there is no token. From then
    on an attestation runs on demand."""
    clock = host.clock
    while (held := host.trust.find_token(group, clock.monotonic())) is not None:
        if (wait_s := held.renewed_at - clock.monotonic()) > 0:
            await clock.sleep(wait_s)
        elif await attest(host, (group,), anew=True) is not AttestationOutcome.ATTESTED:
            await clock.sleep(host.node.knobs.trust_retry_s)
    host.trust.renewing.discard(group)


def _record_failure(host: EsxiHost, service: NodeName, reason: str) -> None:
    """The service came to no result: its earlier result is not known to hold (unset)."""
    host.trust.reports[service] = HostTrustReport(
        service=service, status=TrustAttestationStatus.UNKNOWN, messages=(reason,)
    )
    host.node.record("trust.unreachable", level="warning", service=service, reason=reason)


async def check_power_on(host: EsxiHost, vm: VmName, keys: tuple[CryptoKeyId, ...]) -> None:
    """``InvalidState`` when attestation keeps this host from powering the VM on.

    Called when the VM's ``keys`` are available; a missing key is reported before. Under a knob that
    overrides everything no service is asked.
    """
    if host.archive.now.trusted is None:
        return
    knobs = host.node.knobs
    trusted = any(host.management_type(key) is ManagementType.TRUST_AUTHORITY for key in keys)
    if not is_concerned(knobs.unattested_blocks, of_trusted_provider=trusted):
        return
    if knobs.persist_overrides_attestation == "always":
        return
    outcome = await ensure_attested(host)
    if not is_allowed(knobs.persist_overrides_attestation, outcome):
        raise InvalidState(f"{host.node.name} is not attested ({outcome.value}): {vm} stays off")
