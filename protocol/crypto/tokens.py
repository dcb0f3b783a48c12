"""Signed documents: tokens of an Attestation Service, and vouchers of a workload vCenter.

They are JSON Web Signatures in compact form (RFC 7515) with EdDSA (RFC 8037): header, claims and
signature in base64url, joined by dots. Ed25519 is the only algorithm: a header with another one, or
none, is refused first. The signer has a self-signed certificate; the verifier is configured with
that certificate and uses no other.

Reading claims checks only the signature: the receiver of a document checks expiry, audience and
group.
"""

from __future__ import annotations

import hashlib
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Final, TypeVar

import msgspec
from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from protocol.errors import InvalidArgument
from protocol.secret import KeyMaterial
from protocol.terms import NodeName
from protocol.trust import TokenType

TOKEN_LIMIT: Final = 4096
"""Bytes of a document; a longer one is refused without parsing."""
SECRET_SIZE: Final = 32
SERIAL_SIZE: Final = 16
AUDIENCE: Final = "keyProviderService"
"""Audience of a KMS_AUTH_JWT."""
REPORTING_AUDIENCE: Final = "reporting"
"""Audience of a REPORTING_JWT, which grants access to nothing."""

_YEARS: Final = timedelta(days=3_650)
_ALGORITHM: Final = "EdDSA"

C = TypeVar("C", bound=msgspec.Struct)


class TokenRefused(ValueError):
    """Not a document, or not signed with one of the expected keys."""


class AttestationClaims(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The claims of a token (ATT-03). ``iss`` and ``sub`` are node names: the service, and the
    host.

    ``iat``, ``nbf``, ``exp``: Unix seconds of the issuer's clock. ``ek``: SHA-256 of the
    endorsement key's public area, in hex.
    """

    iss: NodeName
    sub: NodeName
    aud: str
    typ: TokenType
    group: str
    iat: float
    nbf: float
    exp: float
    jti: str
    ek: str
    base_image: str
    secure_boot: bool
    reset_count: int


class VoucherClaims(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A workload vCenter vouches that the host ``sub`` is in a trusted cluster of its own.

    It does not expire: it is valid as long as the certificate that signed it is an imported
    principal's.
    """

    iss: str
    sub: NodeName
    iat: float
    use: str = "trustedHost"


class _Header(msgspec.Struct, frozen=True, kw_only=True):
    alg: str
    kid: str
    typ: str = "JWT"


_header = msgspec.json.Decoder(_Header)
_encode = msgspec.json.Encoder().encode


class Signer:
    """A signing key with its certificate (DER). The key is given out only to be stored."""

    def __init__(self, secret: KeyMaterial, certificate: bytes) -> None:
        """``InvalidArgument`` when the certificate is not of that key."""
        self._private = Ed25519PrivateKey.from_private_bytes(secret.reveal())
        self.certificate = certificate
        if _key_of(certificate).public_bytes_raw() != self._private.public_key().public_bytes_raw():
            raise InvalidArgument("certificate: not of this key")
        self._kid = key_id(certificate)

    def sign_claims(self, claims: msgspec.Struct) -> bytes:
        """A signed document with these claims."""
        head = _encode(_Header(alg=_ALGORITHM, kid=self._kid))
        signing = _encode_base64url(head) + b"." + _encode_base64url(_encode(claims))
        return signing + b"." + _encode_base64url(self._private.sign(signing))

    def issue_certificate(self, builder: x509.CertificateBuilder) -> bytes:
        """The certificate (DER) that ``builder`` describes, issued by this signer's certificate."""
        issuer = x509.load_der_x509_certificate(self.certificate).subject
        return builder.issuer_name(issuer).sign(self._private, None).public_bytes(Encoding.DER)

    def voucher(self, issuer: str, host: NodeName, at: float) -> bytes:
        """A voucher for ``host``, signed by this signer; ``at`` in Unix seconds."""
        return self.sign_claims(VoucherClaims(iss=issuer, sub=host, iat=at))


def new_certificate(name: str, secret: KeyMaterial, serial: bytes, at: float) -> bytes:
    """A self-signed certificate (DER) for the Ed25519 key ``secret`` (32 bytes).

    ``name`` becomes its common name, ``serial`` (16 bytes) its serial number; valid for ten years
    from ``at`` (Unix seconds). The same arguments give the same certificate.
    """
    key = Ed25519PrivateKey.from_private_bytes(secret.reveal())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    start = datetime.fromtimestamp(int(at), UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(int.from_bytes(b"\x01" + serial[1:], "big"))
        .not_valid_before(start)
        .not_valid_after(start + _YEARS)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, None)
    )
    return made.public_bytes(Encoding.DER)


def key_id(certificate: bytes) -> str:
    """The key id in headers: the first half of the certificate's SHA-256, in hex."""
    return hashlib.sha256(certificate).hexdigest()[:32]


def check_certificate(certificate: bytes) -> None:
    """``InvalidArgument`` unless it is a certificate with an Ed25519 key."""
    _key_of(certificate)


def is_self_signed(certificate: bytes) -> bool:
    """Whether the certificate is signed by its own key, and unchanged."""
    try:
        found = x509.load_der_x509_certificate(certificate)
        found.verify_directly_issued_by(found)
    except (ValueError, TypeError, InvalidSignature, UnsupportedAlgorithm):
        return False
    return True


def _key_of(certificate: bytes) -> Ed25519PublicKey:
    try:
        key = x509.load_der_x509_certificate(certificate).public_key()
    except Exception:
        raise InvalidArgument("certificate: not a certificate in DER") from None
    if not isinstance(key, Ed25519PublicKey):
        raise InvalidArgument("certificate: not an Ed25519 key")
    return key


def verify_token(token: bytes, certificates: Iterable[bytes], kind: type[C]) -> C:
    """The claims of ``token`` if one of ``certificates`` (DER) has signed it.

    ``TokenRefused`` for anything else: another algorithm, another signer, claims of another kind.
    """
    if len(token) > TOKEN_LIMIT:
        raise TokenRefused(f"a document of {len(token)} bytes is too long")
    parts = token.split(b".")
    if len(parts) != 3:
        raise TokenRefused("it does not have three parts")
    head, body, signature = (_decode_base64url(part) for part in parts)
    try:
        header = _header.decode(head)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise TokenRefused("its header is malformed") from None
    if header.alg != _ALGORITHM or header.typ != "JWT":
        raise TokenRefused("its header names another algorithm")
    signer = next((found for found in certificates if key_id(found) == header.kid), None)
    if signer is None:
        raise TokenRefused("its issuer is unknown")
    try:
        _key_of(signer).verify(signature, parts[0] + b"." + parts[1])
    except InvalidSignature:
        raise TokenRefused("its signature is wrong") from None
    try:
        return msgspec.json.decode(body, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise TokenRefused("its claims are of another kind") from None


def _encode_base64url(data: bytes) -> bytes:
    return urlsafe_b64encode(data).rstrip(b"=")


def _decode_base64url(part: bytes) -> bytes:
    """Decode strictly: RFC 7515 has no padding and no other characters."""
    try:
        data = urlsafe_b64decode(part + b"=" * (-len(part) % 4))
    except ValueError:
        raise TokenRefused("one of its parts is not base64url") from None
    if _encode_base64url(data) != part:
        raise TokenRefused("one of its parts is not base64url")
    return data
