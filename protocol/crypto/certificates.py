"""TLS certificates (X.509, RFC 5280) on P-256 keys: self-signed, or issued by an authority.

The same arguments give the same key and the same certificate: the caller draws the random bytes.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from datetime import UTC, datetime
from ipaddress import ip_address
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_der_private_key,
    load_der_public_key,
)
from cryptography.x509.oid import NameOID

from protocol.errors import InvalidArgument
from protocol.printable import one_line
from protocol.secret import KeyMaterial

SEED_SIZE: Final = 48
"""Random bytes for one key: enough more than the curve's 32 that all keys are equally likely."""
SERIAL_SIZE: Final = 16
_ORDER: Final = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
_ISSUES: Final = x509.KeyUsage(  # and shows itself: some that sign themselves serve as well
    digital_signature=True,
    content_commitment=False,
    key_encipherment=False,
    data_encipherment=False,
    key_agreement=False,
    key_cert_sign=True,
    crl_sign=True,
    encipher_only=False,
    decipher_only=False,
)
_NAME_LIMIT: Final = 64  # characters of a common name (RFC 5280, ub-common-name)


def new_key(seed: KeyMaterial) -> KeyMaterial:
    """A P-256 private key, PKCS#8 DER, from ``SEED_SIZE`` random bytes (FIPS 186-5, A.2.1)."""
    if len(seed) != SEED_SIZE:
        raise ValueError(f"a key is made of {SEED_SIZE} bytes, not of {len(seed)}")
    number = int.from_bytes(seed.reveal(), "big") % (_ORDER - 1) + 1
    private = ec.derive_private_key(number, ec.SECP256R1())
    return KeyMaterial(private.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption()))


def public_key(key: KeyMaterial) -> bytes:
    """The public key (SubjectPublicKeyInfo DER) of a private key of any kind; ``InvalidArgument``
    for other bytes."""
    public = _load_private_key(key).public_key()
    return public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def signing_request(name: str, key: KeyMaterial) -> bytes:
    """A certificate signing request (PKCS#10, DER) for ``key`` under that common name;
    ``InvalidArgument`` as in ``issue_certificate``."""
    _check_name(name)
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    builder = x509.CertificateSigningRequestBuilder().subject_name(subject)
    made = builder.sign(_private(key), hashes.SHA256(), ecdsa_deterministic=True)
    return made.public_bytes(Encoding.DER)


def self_signed(
    name: str, key: KeyMaterial, serial: bytes, start: float, end: float, *, authority: bool = False
) -> bytes:
    """A certificate (DER) that ``key`` signs for itself; the arguments are those of
    ``issue_certificate``."""
    private = _private(key)
    return _sign_as(_builder(name, public_key(key), serial, start, end, authority), name, private)


def issue_certificate(
    name: str,
    public: bytes,
    serial: bytes,
    start: float,
    end: float,
    *,
    issuer: bytes,
    issuer_key: KeyMaterial,
    authority: bool = False,
    hosts: Sequence[str] = (),
) -> bytes:
    """A certificate (DER) for the public key ``public``, issued by the certificate ``issuer``.

    ``name`` becomes the common name, ``serial`` (``SERIAL_SIZE`` random bytes) the serial number.
    It is valid from ``start`` to ``end`` (Unix seconds, rounded down). ``authority``: it may issue
    others. ``hosts``: names and addresses at which clients that verify host names reach its owner.
    ``InvalidArgument`` for a name that is empty or longer than 64 characters, an end not after the
    start, an invalid host name, an ``issuer`` that is not a certificate, or an invalid key, or one
    that is not the issuer's.
    """
    private = _private(issuer_key)
    above = load(issuer)
    if above.public_key() != private.public_key():
        raise InvalidArgument("certificate: this is not the issuer's key")
    builder = _builder(name, public, serial, start, end, authority).issuer_name(above.subject)
    of_issuer = x509.AuthorityKeyIdentifier.from_issuer_public_key(private.public_key())
    builder = builder.add_extension(of_issuer, critical=False)
    if hosts:
        places = x509.SubjectAlternativeName([_place(host) for host in hosts])
        builder = builder.add_extension(places, critical=False)
    return _sign_and_encode(builder, private)


def load(certificate: bytes) -> x509.Certificate:
    """A certificate from DER; ``InvalidArgument`` for other bytes."""
    try:
        return x509.load_der_x509_certificate(certificate)
    except ValueError:
        raise InvalidArgument("certificate: not a certificate in DER") from None


def common_name(certificate: bytes) -> str:
    """The last common name of its subject; empty without one. The requester of the certificate
    chose it: unprintable characters are escaped, and it is one line."""
    found = load(certificate).subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    return one_line(str(found[-1].value)) if found else ""


def key_digest(certificate: bytes) -> bytes:
    """SHA-256 of its public key (SubjectPublicKeyInfo): the same for a renewed certificate."""
    public = load(certificate).public_key()
    spki = public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return hashlib.sha256(spki).digest()


def validity(certificate: bytes) -> tuple[float, float]:
    """The start and end of its validity, in Unix seconds."""
    found = load(certificate)
    return found.not_valid_before_utc.timestamp(), found.not_valid_after_utc.timestamp()


def lifetime(wanted_s: float | None, usual_s: float) -> float:
    """The validity of a new certificate in seconds: ``wanted_s``, which must lie between 1 and
    ``usual_s``, or ``usual_s`` when it is None. ``InvalidArgument`` for any other time."""
    if wanted_s is None:
        return usual_s
    if not 1 <= wanted_s <= usual_s:
        raise InvalidArgument(f"good_for_s: from 1 to {usual_s:g} seconds, not {wanted_s:g}")
    return wanted_s


def _load_private_key(key: KeyMaterial) -> PrivateKeyTypes:
    try:
        return load_der_private_key(key.reveal(), None)
    except (ValueError, TypeError):
        raise InvalidArgument("private key: not a private key in DER") from None


def _private(key: KeyMaterial) -> ec.EllipticCurvePrivateKey:
    private = _load_private_key(key)
    if not isinstance(private, ec.EllipticCurvePrivateKey):
        raise InvalidArgument("private key: not an elliptic-curve key")
    return private


def _check_name(name: str) -> None:
    if not 0 < len(name) <= _NAME_LIMIT:
        raise InvalidArgument(f"certificate: a common name has 1 to {_NAME_LIMIT} characters")


def _builder(
    name: str, public: bytes, serial: bytes, start: float, end: float, authority: bool
) -> x509.CertificateBuilder:
    _check_name(name)
    if int(end) <= int(start):
        raise InvalidArgument("certificate: its end is not after its start")
    try:
        key = load_der_public_key(public)
    except ValueError:
        raise InvalidArgument("public key: not a public key in DER") from None
    if not isinstance(key, ec.EllipticCurvePublicKey):
        raise InvalidArgument("public key: not an elliptic-curve key")
    builder = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]))
        .public_key(key)
        .serial_number(int.from_bytes(b"\x01" + serial[1:], "big"))
        .not_valid_before(datetime.fromtimestamp(int(start), UTC))
        .not_valid_after(datetime.fromtimestamp(int(end), UTC))
        .add_extension(x509.BasicConstraints(ca=authority, path_length=None), critical=True)
    )
    if not authority:
        return builder
    # Who checks strictly (RFC 5280 sections 4.2.1.2, 4.2.1.3) wants both of an authority.
    identifier = x509.SubjectKeyIdentifier.from_public_key(key)
    return builder.add_extension(identifier, critical=False).add_extension(_ISSUES, critical=True)


def _place(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ip_address(host))
    except ValueError:
        pass
    try:
        return x509.DNSName(host.encode("idna").decode())
    except (UnicodeError, ValueError):
        raise InvalidArgument(f"certificate: {host[:_NAME_LIMIT]} is not a host name") from None


def _sign_as(
    builder: x509.CertificateBuilder, name: str, private: ec.EllipticCurvePrivateKey
) -> bytes:
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    return _sign_and_encode(builder.issuer_name(subject), private)


def _sign_and_encode(
    builder: x509.CertificateBuilder, private: ec.EllipticCurvePrivateKey
) -> bytes:
    made = builder.sign(private, hashes.SHA256(), ecdsa_deterministic=True)
    return made.public_bytes(Encoding.DER)
