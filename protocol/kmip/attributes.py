"""Attributes (KMIP 1.4 section 3): a name, and a value of the type that the name says."""

from __future__ import annotations

from typing import Annotated, Any, Final

from protocol.kmip.algorithms import CryptographicAlgorithm, DigitalSignatureAlgorithm
from protocol.kmip.enums import CertificateType, ObjectType, State
from protocol.kmip.fields import DateTime, Fields, Integer, Interval, Named
from protocol.kmip.structures import (
    AlternativeName,
    ApplicationSpecificInformation,
    CertificateIdentifier,
    CertificateIssuer,
    CertificateSubject,
    CryptographicParameters,
    Digest,
    KeyValueLocation,
    Link,
    Name,
    RevocationReason,
    RNGParameters,
    UsageLimits,
    X509CertificateIdentifier,
    X509CertificateIssuer,
    X509CertificateSubject,
)

ATTRIBUTES: Final[dict[str, Any]] = {
    "Unique Identifier": str,
    "Name": Name,
    "Object Type": ObjectType,
    "Cryptographic Algorithm": CryptographicAlgorithm,
    "Cryptographic Length": Integer,
    "Cryptographic Parameters": CryptographicParameters,
    "Certificate Type": CertificateType,
    "Certificate Length": Integer,
    "X.509 Certificate Identifier": X509CertificateIdentifier,
    "X.509 Certificate Subject": X509CertificateSubject,
    "X.509 Certificate Issuer": X509CertificateIssuer,
    "Certificate Identifier": CertificateIdentifier,
    "Certificate Subject": CertificateSubject,
    "Certificate Issuer": CertificateIssuer,
    "Digital Signature Algorithm": DigitalSignatureAlgorithm,
    "Digest": Digest,
    "Operation Policy Name": str,
    "Cryptographic Usage Mask": Integer,
    "Lease Time": Interval,
    "Usage Limits": UsageLimits,
    "State": State,
    "Initial Date": DateTime,
    "Activation Date": DateTime,
    "Process Start Date": DateTime,
    "Protect Stop Date": DateTime,
    "Deactivation Date": DateTime,
    "Destroy Date": DateTime,
    "Compromise Occurrence Date": DateTime,
    "Compromise Date": DateTime,
    "Revocation Reason": RevocationReason,
    "Archive Date": DateTime,
    "Object Group": str,
    "Fresh": bool,
    "Link": Link,
    "Application Specific Information": ApplicationSpecificInformation,
    "Contact Information": str,
    "Last Change Date": DateTime,
    "Alternative Name": AlternativeName,
    "Key Value Present": bool,
    "Key Value Location": KeyValueLocation,
    "Original Creation Date": DateTime,
    "Random Number Generator": RNGParameters,
    "PKCS#12 Friendly Name": str,
    "Description": str,
    "Comment": str,
    "Sensitive": bool,
    "Always Sensitive": bool,
    "Extractable": bool,
    "Never Extractable": bool,
}
"""The annotation of each standard attribute's value, as ``fields`` has them.

Not typed: Cryptographic Domain Parameters, which no symmetric key has.
"""

SINCE: Final[dict[str, int]] = {
    "Certificate Length": 1,
    "X.509 Certificate Identifier": 1,
    "X.509 Certificate Subject": 1,
    "X.509 Certificate Issuer": 1,
    "Digital Signature Algorithm": 1,
    "Fresh": 1,
    "Alternative Name": 2,
    "Key Value Present": 2,
    "Key Value Location": 2,
    "Original Creation Date": 2,
    "Random Number Generator": 3,
    "PKCS#12 Friendly Name": 4,
    "Description": 4,
    "Comment": 4,
    "Sensitive": 4,
    "Always Sensitive": 4,
    "Extractable": 4,
    "Never Extractable": 4,
}
"""The minor version of KMIP 1.x with which an attribute came, of those that came later than 1.0."""


class Attribute(Fields, frozen=True, kw_only=True):
    """One instance of an attribute; ``attribute_index`` None is the first.

    The value of a custom attribute (``x-`` of a client, ``y-`` of a server) is ``str``, and a
    ``TtlvItem`` when it is of another type.
    """

    attribute_name: str
    attribute_index: Integer | None = None
    attribute_value: Annotated[Any, Named("attribute_name", ATTRIBUTES)] | None = None


class TemplateAttribute(Fields, frozen=True, kw_only=True):
    """Attributes of an object to be made, and names of templates to take others from."""

    name: tuple[Name, ...] = ()
    attribute: tuple[Attribute, ...] = ()
