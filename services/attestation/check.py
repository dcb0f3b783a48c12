"""Whether a configuration makes sense, before it is put in force. Pure.

A name, an image version or a principal that is there twice is ``AlreadyExists``; what cannot be
understood is ``InvalidArgument``, and so is an endorsement certificate of no imported CA while
certificates are to be validated.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from protocol.crypto.tokens import check_certificate
from protocol.errors import AlreadyExists, InvalidArgument
from protocol.messages.attestation import AttestationConfiguration
from protocol.tpm.structures import DIGEST_SIZE
from protocol.trust import GROUP_LIMIT, BaseImage, TrustedEndorsementKey
from services.attestation.identities import (
    authority_fault,
    chain_fault,
    registered_key,
)
from services.attestation.policy import IMAGE_PCRS


def check(configuration: AttestationConfiguration, at: float) -> tuple[str, ...]:
    """Warnings of a configuration that may be put in force. ``at``: Unix seconds."""
    if not 1 <= len(configuration.group) <= GROUP_LIMIT:
        raise InvalidArgument(f"group: an id of 1 to {GROUP_LIMIT} characters")
    _unique("CA certificate", (ca.name for ca in configuration.ca_certificates))
    _unique("endorsement key", (key.name for key in configuration.endorsement_keys))
    _unique("base image", (image.version for image in configuration.base_images))
    _unique("principal", (principal.name for principal in configuration.principals))
    for authority in configuration.ca_certificates:
        if why := authority_fault(authority.chain):
            raise InvalidArgument(f"CA certificate {authority.name}: {why}")
    for entry in configuration.endorsement_keys:
        _check_key(configuration, entry, at)
    for image in configuration.base_images:
        _check_image(image)
    for principal in configuration.principals:
        for certificate in principal.certificates:
            check_certificate(certificate)
    settings = configuration.settings
    if settings.require_endorsement_keys or settings.require_certificate_validation:
        return ()
    return ("the TPM settings require nothing: every endorsement key is taken",)


def _check_key(
    configuration: AttestationConfiguration, entry: TrustedEndorsementKey, at: float
) -> None:
    registered_key(entry)
    validated = configuration.settings.require_certificate_validation
    if entry.certificate and validated:
        why = chain_fault(entry.certificate, configuration.ca_certificates, at)
        if why:
            raise InvalidArgument(f"endorsement key {entry.name}: {why}")


def _check_image(image: BaseImage) -> None:
    files = image.measurements
    if not files or any(
        file.pcr not in IMAGE_PCRS or len(file.digest) != DIGEST_SIZE for file in files
    ):
        raise InvalidArgument(f"base image {image.version}: it is none")


def _unique(what: str, names: Iterable[str]) -> None:
    for name, times in Counter(names).items():
        if not name:
            raise InvalidArgument(f"{what}: it has no name")
        if times > 1:
            raise AlreadyExists(f"{what} {name} is there already")
