"""What an Attestation Service serves: hosts that attest, and its Trust Authority vCenter.

A host attests in two steps (ATT-01). ``BeginAttestation`` names its TPM and attestation key. The
answer has a nonce, the registers to quote, a credential that only that TPM opens, and a context.
``FinishAttestation`` returns the context with the opened secret, the quote and the event log. A
failed attestation is not an error: the report lists all findings, and the host gets no tokens.
"""

from __future__ import annotations

from typing import ClassVar, Final

import msgspec

from protocol.messages.base import Repeat, Reply, Request
from protocol.terms import NodeName
from protocol.tpm.structures import PcrSelection, PublicArea, Quote, TpmCredential
from protocol.trust import (
    AttestationFinding,
    BaseImage,
    ItemDigest,
    TokenType,
    TpmCaCertificate,
    TpmIdentity,
    TpmSettings,
    TrustedEndorsementKey,
    TrustedPrincipal,
)

CONTEXT_LIMIT: Final = 4096
"""Bytes of a context, which is opaque to hosts."""


class BeginAttestation(Request["AttestationChallenge"], frozen=True, kw_only=True):
    """Report.attest, first step. ``voucher``: see ``TrustedConfiguration``.

    ``InvalidArgument`` when identity or attestation key cannot be parsed. A repeat starts again:
    the service keeps no state.
    """

    repeat: ClassVar[Repeat] = Repeat.READ
    identity: TpmIdentity
    ak: PublicArea
    voucher: bytes = b""


class AttestationChallenge(Reply, frozen=True, kw_only=True):
    """What the host has to answer within ``within_s``; it returns ``context`` with its answer."""

    context: bytes
    nonce: bytes
    selection: PcrSelection
    credential: TpmCredential
    within_s: float


class FinishAttestation(Request["AttestationReport"], frozen=True, kw_only=True):
    """Report.attest, second step.

    ``secret``: the secret that the TPM found in the credential. ``event_log`` is that of this boot;
    ``log_truncated``: the log was full and is left out. ``types``: the wanted documents.

    ``InvalidState`` for a context that is altered, expired, already finished, of another host, or
    of an earlier life of the service: the host begins again.
    """

    repeat: ClassVar[Repeat] = Repeat.CONVERGE
    context: bytes
    secret: bytes
    quote: Quote
    event_log: bytes
    log_truncated: bool = False
    types: tuple[TokenType, ...] = (TokenType.KMS_AUTH_JWT, TokenType.REPORTING_JWT)


class AttestationDocument(msgspec.Struct, frozen=True, kw_only=True):
    """One issued document; ``token`` in the form of ``protocol.crypto.tokens``."""

    type: TokenType
    token: bytes


class AttestationReport(Reply, frozen=True, kw_only=True):
    """``attested`` with documents, or not, with findings. Times in Unix seconds of the service.

    ``base_image``: the version of the imported image that the host booted; empty when not attested.
    """

    attested: bool
    documents: tuple[AttestationDocument, ...] = ()
    findings: tuple[AttestationFinding, ...] = ()
    attested_at: float
    attested_until: float | None = None
    base_image: str = ""


# ---- for the Trust Authority vCenter -----------------------------------------------------------


class AttestationConfiguration(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that an Attestation Service trusts. Names are unique within each list.

    ``revision``: set by the Trust Authority vCenter, different for each configuration. ``group``:
    the id that binds its tokens to Key Provider Services (TA-08).
    """

    revision: str
    group: str
    ca_certificates: tuple[TpmCaCertificate, ...] = ()
    endorsement_keys: tuple[TrustedEndorsementKey, ...] = ()
    base_images: tuple[BaseImage, ...] = ()
    principals: tuple[TrustedPrincipal, ...] = ()
    settings: TpmSettings = TpmSettings()


class SetAttestationConfiguration(Request["AttestationConfigured"], frozen=True, kw_only=True):
    """Replace the whole configuration; durable before the answer.

    ``AlreadyExists`` for a duplicate name or image version. ``InvalidArgument`` for an invalid
    certificate or, when certificates are to be validated, for an endorsement key's certificate that
    no CA of the configuration issued.
    """

    repeat: ClassVar[Repeat] = Repeat.CONVERGE
    configuration: AttestationConfiguration


class AttestationConfigured(Reply, frozen=True, kw_only=True):
    """The configuration is in force, durably. ``warnings``: TPM settings that accept any
    endorsement key (TA-07)."""

    revision: str
    warnings: tuple[str, ...] = ()


class QueryAttestationConfiguration(
    Request["AttestationConfigurationState"], frozen=True, kw_only=True
):
    """The configuration in force, for health (HLT-01)."""


class ImageUse(msgspec.Struct, frozen=True, kw_only=True):
    """When a base image was last used to attest (TA-11), in Unix seconds of the service."""

    version: str
    last_attested_time: float | None = None


class AttestationConfigurationState(Reply, frozen=True, kw_only=True):
    """``revision`` empty: never configured. ``settings`` as in force."""

    revision: str
    group: str
    items: tuple[ItemDigest, ...]
    images: tuple[ImageUse, ...]
    settings: TpmSettings = TpmSettings()


class QueryAttestationService(Request["AttestationServiceInfo"], frozen=True, kw_only=True):
    """The service's information, for export."""


class AttestationServiceInfo(Reply, frozen=True, kw_only=True):
    """``certificate``: DER, with the key that signs tokens. ``trusted_ca``: see ``ServiceRecord``.
    ``group`` is empty until the service is configured."""

    service: NodeName
    certificate: bytes
    trusted_ca: tuple[bytes, ...]
    group: str
