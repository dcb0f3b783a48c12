"""Checks of a configuration before it is put in force. Pure.

A duplicate name, image version or principal is ``AlreadyExists``. A name that could be misread is
``InvalidName``. What cannot be parsed is ``InvalidArgument``, and so is an endorsement certificate
of no imported CA while certificates are to be validated.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Final

from protocol import names
from protocol.crypto.tokens import check_certificate
from protocol.errors import AlreadyExists, InvalidArgument
from protocol.messages.attestation import AttestationConfiguration
from protocol.printable import is_text
from protocol.tpm.structures import DIGEST_SIZE
from protocol.trust import GROUP_LIMIT, BaseImage, TrustedEndorsementKey, TrustedPrincipal
from services.attestation.identities import (
    authority_fault,
    chain_fault,
    key_of_entry,
)
from services.attestation.policy import IMAGE_PCRS

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
