"""The configuration of an Attestation Service: checked before it is put in force, and stored with
TPM counters and the last use of images. Each row has a check sum, so that a flipped bit is an
error and not a wrong value.
"""

from __future__ import annotations

import errno
import sqlite3
import zlib
from collections import Counter
from collections.abc import Callable, Iterable
from typing import Final, TypeVar

import msgspec

from protocol import names
from protocol.crypto.tokens import check_certificate
from protocol.errors import AlreadyExists, InvalidArgument, SaveFailed
from protocol.messages.attestation import AttestationConfiguration
from protocol.printable import is_text
from protocol.terms import NodeName
from protocol.tpm.quote import Attested
from protocol.tpm.structures import DIGEST_SIZE
from protocol.trust import (
    GROUP_LIMIT,
    AttestationFinding,
    BaseImage,
    TrustedEndorsementKey,
    TrustedPrincipal,
)
from services.attestation.identities import (
    authority_fault,
    chain_fault,
    key_of_entry,
)
from services.attestation.policy import IMAGE_PCRS, Counters, update_counters
from services.runtime.ports import Database

TEXT_LIMIT: Final = 256
"""Characters of an issuer, a display name, a file name or a revision."""


def check(configuration: AttestationConfiguration) -> tuple[str, ...]:
    """The warnings of a valid configuration.

    Expired certificates are accepted: otherwise one that expires would block every later change,
    and an empty service could not be configured. Validity is checked when a host attests.
    """
    _text("group", configuration.group, GROUP_LIMIT)
    _text("revision", configuration.revision)
    _unique("CA certificate", (ca.name for ca in configuration.ca_certificates))
    _unique("endorsement key", (key.name for key in configuration.endorsement_keys))
    _unique("base image", (image.version for image in configuration.base_images))
    _unique("principal", (principal.name for principal in configuration.principals))
    for authority in configuration.ca_certificates:
        if why := authority_fault(authority.chain):
            raise InvalidArgument(f"CA certificate {authority.name}: {why}")
    for entry in configuration.endorsement_keys:
        _check_key(configuration, entry)
    for image in configuration.base_images:
        _check_image(image)
    for principal in configuration.principals:
        _check_principal(principal)
    settings = configuration.settings
    if settings.require_endorsement_keys or settings.require_certificate_validation:
        return ()
    return ("the TPM settings require nothing: every endorsement key is taken",)


def _check_key(configuration: AttestationConfiguration, entry: TrustedEndorsementKey) -> None:
    try:
        key_of_entry(entry)
    except InvalidArgument as error:
        raise InvalidArgument(f"endorsement key {entry.name}: {error}") from None
    validated = configuration.settings.require_certificate_validation
    if entry.certificate and validated:
        why = chain_fault(entry.certificate, configuration.ca_certificates)
        if why:
            raise InvalidArgument(f"endorsement key {entry.name}: {why}")


def _check_principal(principal: TrustedPrincipal) -> None:
    _text(f"issuer of principal {principal.name}", principal.issuer)
    if not principal.certificates:
        raise InvalidArgument(f"principal {principal.name}: no certificate")
    for certificate in principal.certificates:
        check_certificate(certificate)


def _check_image(image: BaseImage) -> None:
    files = image.measurements
    _text(f"display name of base image {image.version}", image.display_name)
    for file in files:
        _text(f"a file of base image {image.version}", file.name)
    if not files or any(
        file.pcr not in IMAGE_PCRS or len(file.digest) != DIGEST_SIZE for file in files
    ):
        raise InvalidArgument(f"base image {image.version}: no measurements")


def _unique(what: str, found: Iterable[str]) -> None:
    for name, times in Counter(found).items():
        names.TRUST_ITEM.check(name)
        if times > 1:
            raise AlreadyExists(f"{what} {name} exists already")


def _text(what: str, text: str, longest: int = TEXT_LIMIT) -> None:
    if not is_text(text, longest):
        raise InvalidArgument(f"{what}: 1 to {longest} printable characters of ASCII")


DATABASE: Final = "attestation"
SCHEMA: Final = (
    "CREATE TABLE IF NOT EXISTS configuration (one INTEGER PRIMARY KEY, body BLOB) STRICT",
    "CREATE TABLE IF NOT EXISTS tpms (ek BLOB PRIMARY KEY, body BLOB) STRICT, WITHOUT ROWID",
    "CREATE TABLE IF NOT EXISTS images (version TEXT PRIMARY KEY, attested REAL) STRICT",
)
_CHECK: Final = 4  # bytes of a CRC-32

S = TypeVar("S", bound=msgspec.Struct)
T = TypeVar("T")

_encode = msgspec.msgpack.Encoder().encode


class AttestationStore:
    """See the module. ``SaveFailed`` when the disk fails; nothing has changed then."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def configuration(self) -> AttestationConfiguration | None:
        """The configuration in force; None before the first."""
        return await self._database.query(_configuration)

    async def images(self) -> dict[str, float]:
        """When each base image was last used to attest, in Unix seconds."""

        def read(connection: sqlite3.Connection) -> dict[str, float]:
            return dict(connection.execute("SELECT version, attested FROM images"))

        return await self._database.query(read)

    async def configure(
        self, configuration: AttestationConfiguration, forget: tuple[bytes, ...]
    ) -> None:
        """Put it in force, and forget the counters of these TPMs (digests of their keys)."""
        body = _pack_row(b"configuration", configuration)

        def write(connection: sqlite3.Connection) -> None:
            connection.execute("INSERT OR REPLACE INTO configuration VALUES (1, ?)", (body,))
            connection.executemany("DELETE FROM tpms WHERE ek = ?", [(ek,) for ek in forget])

        await self._transact(write)

    async def count(
        self, ek: bytes, host: NodeName, quoted: Attested, image: str, at: float
    ) -> tuple[AttestationFinding, ...]:
        """Compare the TPM of ``host`` with its stored counters, and store the new ones. Without a
        finding, also store that ``image`` (empty: none) was used ``at``."""

        def compare(connection: sqlite3.Connection) -> list[AttestationFinding]:
            row = connection.execute("SELECT body FROM tpms WHERE ek = ?", (ek,)).fetchone()
            known = None if row is None else _unpack_row(ek, row[0], Counters)
            after, findings = update_counters(known, quoted, host)
            packed = _pack_row(ek, after)
            connection.execute("INSERT OR REPLACE INTO tpms VALUES (?, ?)", (ek, packed))
            if image and not findings:
                connection.execute("INSERT OR REPLACE INTO images VALUES (?, ?)", (image, at))
            return findings

        return tuple(await self._transact(compare))

    async def _transact(self, work: Callable[[sqlite3.Connection], T]) -> T:
        try:
            return await self._database.transact(work)
        except OSError as error:
            reason = error.strerror or str(error)
            raise SaveFailed(f"the Attestation Service could not save: {reason}") from None


def _configuration(connection: sqlite3.Connection) -> AttestationConfiguration | None:
    row = connection.execute("SELECT body FROM configuration").fetchone()
    if row is None:
        return None
    return _unpack_row(b"configuration", row[0], AttestationConfiguration)


def _pack_row(place: bytes, value: msgspec.Struct) -> bytes:
    body = _encode(value)
    return zlib.crc32(place + body).to_bytes(_CHECK, "big") + body


def _unpack_row(place: bytes, packed: bytes, kind: type[S]) -> S:
    check, body = packed[:_CHECK], packed[_CHECK:]
    if zlib.crc32(place + body).to_bytes(_CHECK, "big") != check:
        raise OSError(errno.EIO, "a row of the Attestation Service was damaged")
    return msgspec.msgpack.decode(body, type=kind)
