"""Endorsement keys: the key in a certificate, who issued it, and whether it is trusted. Pure.

| requireEndorsementKeys | requireCertificateValidation | trusted is (TA-07) |
|---|---|---|
| no | no | every endorsement key |
| yes | no | one that is in the list |
| no | yes | one whose certificate chains to an imported CA |
| yes | yes | one for which both hold |

The path validator for web servers rejects endorsement certificates, so the chain is checked here
as the TCG's EK profile has it: issuer and signature, CA flag, validity, extended key usage.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Final

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from protocol.errors import InvalidArgument
from protocol.messages.attestation import AttestationConfiguration
from protocol.tpm.public import (
    Attributes,
    PublicError,
    ek_public,
    ek_rsa_public,
    parse_public,
    point_of,
    public_key,
)
from protocol.tpm.structures import PublicArea
from protocol.trust import (
    AttestationFinding,
    FindingCode,
    TpmCaCertificate,
    TpmIdentity,
    TrustedEndorsementKey,
)

EK_USAGE: Final = x509.ObjectIdentifier("2.23.133.8.1")
"""tcg-kp-EKCertificate (TCG EK credential profile)."""
CERTIFICATE_LIMIT: Final = 8192  # bytes


def ek_of(identity: TpmIdentity) -> PublicArea:
    """The endorsement key of an identity; ``InvalidArgument`` unless there is exactly one."""
    if bool(identity.certificate) == (identity.public_area is not None):
        raise InvalidArgument("identity: exactly one of certificate and public area")
    if identity.public_area is None:
        return key_of_certificate(identity.certificate)
    try:
        public_key(identity.public_area)
        attributes = parse_public(identity.public_area).attributes
    except PublicError as error:
        raise InvalidArgument(f"identity: {error}") from None
    if not attributes & Attributes.DECRYPT or not attributes & Attributes.RESTRICTED:
        raise InvalidArgument("identity: the public area is not an endorsement key's")
    return identity.public_area


def key_of_certificate(certificate: bytes) -> PublicArea:
    """The endorsement key of a certificate, with the TCG's template for its kind."""
    try:
        key = read_certificate(certificate).public_key()
    except ValueError as error:
        raise InvalidArgument(f"identity: {error}") from None
    except Exception:
        raise InvalidArgument("identity: the certificate has no key of a known kind") from None
    if isinstance(key, ec.EllipticCurvePublicKey) and isinstance(key.curve, ec.SECP256R1):
        return ek_public(point_of(key))
    if isinstance(key, rsa.RSAPublicKey) and key.key_size == 2048:
        return ek_rsa_public(key.public_numbers().n.to_bytes(256, "big"))
    raise InvalidArgument("identity: the certificate's key is neither ECC P-256 nor RSA 2048")


def key_of_entry(entry: TrustedEndorsementKey) -> PublicArea:
    """The key of a registered endorsement key; ``InvalidArgument`` as in ``ek_of``."""
    return ek_of(TpmIdentity(certificate=entry.certificate, public_area=entry.public_area))


def read_certificate(der: bytes) -> x509.Certificate:
    """The certificate; ``ValueError`` for anything else."""
    if len(der) > CERTIFICATE_LIMIT:
        raise ValueError(f"a certificate of {len(der)} bytes is too long")
    try:
        found = x509.load_der_x509_certificate(der)
        _ = found.extensions, found.subject, found.issuer, found.not_valid_after_utc
    except Exception:
        raise ValueError("not a certificate in DER") from None
    return found


def findings(
    settings_of: AttestationConfiguration,
    registered: frozenset[bytes],
    ek: PublicArea,
    certificate: bytes,
    at: float,
) -> list[AttestationFinding]:
    """Why this endorsement key is not trusted. ``registered``: public areas of the list;
    ``at``: Unix seconds, for validity."""
    found = []
    settings = settings_of.settings
    if settings.require_endorsement_keys and ek.raw not in registered:
        text = "the endorsement key of its TPM is not registered"
        found.append(AttestationFinding(FindingCode.ENDORSEMENT_KEY, text))
    if settings.require_certificate_validation:
        why = chain_fault(certificate, settings_of.ca_certificates, at)
        if why:
            found.append(AttestationFinding(FindingCode.CERTIFICATE, why))
    return found


def chain_fault(
    certificate: bytes, authorities: Iterable[TpmCaCertificate], at: float | None = None
) -> str:
    """Why an endorsement certificate does not chain to any of these authorities; empty when it
    does.

    ``at``: when the whole chain must be valid, in Unix seconds; None: validity is not checked.
    """
    if not certificate:
        return "its TPM shows no endorsement certificate"
    try:
        leaf = read_certificate(certificate)
    except ValueError as error:
        return f"endorsement certificate: {error}"
    if why := _leaf_fault(leaf, at):
        return f"endorsement certificate: {why}"
    for authority in authorities:
        issuers = [read_certificate(der) for der in authority.chain]
        if any(_issued(leaf, issuer) for issuer in issuers) and not _expired(issuers, at):
            return ""
    return "no imported certificate authority has issued the endorsement certificate"


def authority_fault(chain: Sequence[bytes]) -> str:
    """Why this is not a chain of authorities, root to leaf; empty when it is one."""
    if not chain:
        return "the chain is empty"
    try:
        found = [read_certificate(der) for der in chain]
    except ValueError as error:
        return str(error)
    if not all(map(_is_authority, found)):
        return "a certificate of the chain is no authority's"
    for above, below in zip([found[0], *found], found, strict=False):
        if not _issued(below, above):
            return "the chain is not ordered from its root to its leaf"
    return ""


def _leaf_fault(leaf: x509.Certificate, at: float | None) -> str:
    try:
        usage = leaf.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    except x509.ExtensionNotFound:
        return "it is of no endorsement key"
    if EK_USAGE not in usage:
        return "it is of no endorsement key"
    if _is_authority(leaf):
        return "it is an authority's"
    return "it is not valid now" if _expired([leaf], at) else ""


def _is_authority(certificate: x509.Certificate) -> bool:
    try:
        constraints = certificate.extensions.get_extension_for_class(x509.BasicConstraints)
    except x509.ExtensionNotFound:
        return False
    return constraints.value.ca


def _issued(below: x509.Certificate, above: x509.Certificate) -> bool:
    try:
        below.verify_directly_issued_by(above)
    except (InvalidSignature, ValueError, TypeError):
        return False
    return _is_authority(above)


def _expired(certificates: Iterable[x509.Certificate], at: float | None) -> bool:
    if at is None:
        return False
    try:
        now = datetime.fromtimestamp(at, UTC)
    except (ValueError, OverflowError, OSError):
        return True
    return any(not c.not_valid_before_utc <= now <= c.not_valid_after_utc for c in certificates)
