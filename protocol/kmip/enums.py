"""Enumerations of messages, attributes and objects, KMIP 1.0 to 1.4 (KMIP 1.4 section 9.1.3); what
all enumerations have in common (a number on the wire, and a name in XML); and the one error of
everything that reads or writes KMIP.
"""

from __future__ import annotations

from enum import IntEnum, IntFlag
from typing import Final, Self

_SPELLED: Final = frozenset(
    """
    AEAD AES ANSIX9 BDK CA CAST5 CBC CCM CFB CMAC CN CRMF CRT CTR CVK D DC DEK DES DES3 DH DN
    DNS DRBG DSA DUKPT EC ECB ECDH ECDSA ECMQV FIPS186 G GCM GF2 HMAC ID IDEA IP ISO10126 IV J
    KEK MAC MAC16609 MAC97971 MAC97972 MAC97973 MAC97974 MAC97975 MARS MD2 MD4 MD5 MGF1 MKAC
    MKCP MKDAC MKDN MKOTH MKSMC MKSMI NIST OAEP OFB OU P PCBC PEM PGP PKCS PKCS1 PKCS5 PSS
    PVKIBM PVKOTH PVKPVV Q RC2 RC4 RC5 RIPEMD RNG RNGS RSA RSASSA SAML SHA SHA1 SHA224 SHA256
    SHA3 SHA384 SHA512 SHAKE SKIPJACK SSL3 ST TCG TPM TRKBK TTLV UID URI X XOR XTS ZPK
    """.split()
)
"""Words that are written in capitals; all others have one capital (``SymmetricKey``)."""

_TITLES: Final = {
    "CESSATION_OF_OPERATION": "Cessation of Operation",
    "INDEX_OUTOF_BOUNDS": "Index Out of Bounds",
    "OPERATION_CANCELED_BY_REQUESTER": "Operation Canceled by Requester",
    "PRE_ACTIVE": "Pre-Active",
    "RE_CERTIFY": "Re-certify",
    "RE_KEY": "Re-key",
    "RE_KEY_KEY_PAIR": "Re-key Key Pair",
    "USERNAME_AND_PASSWORD": "Username and Password",
    "X_500_DISTINGUISHED_NAME": "X.500 Distinguished Name",
}
"""Titles that do not follow from the names of members."""

EXTENSIONS: Final = range(0x8000_0000, 0x1_0000_0000)
"""Values that a vendor may give a meaning of its own (KMIP 1.4 section 9.1.3)."""


class Code(IntEnum):
    """A member of an enumeration.

    ``label`` is its name in KMIP's XML encoding, and ``title`` its name in the tables of the
    specification (KMIP 1.4 section 9.1.3).
    """

    label: str
    title: str

    def __new__(cls, value: int, label: str = "") -> Self:
        """``label`` is given where it does not follow from the member's own name."""
        member = int.__new__(cls, value)
        member._value_ = value
        member.label = label
        return member

    def __init__(self, value: int, label: str = "") -> None:
        self.label = label or spell_name(self._name_)
        self.title = _TITLES.get(self._name_) or " ".join(map(_word, self._name_.split("_")))

    @classmethod
    def find_by_label(cls, label: str) -> Self | None:
        """The member of that name in XML; None when there is none."""
        return next((member for member in cls if member.label == label), None)


def spell_name(name: str) -> str:
    """A member's name as KMIP's XML has it: ``SHA_256`` stays, ``RE_KEY`` is ``ReKey``."""
    text = ""
    for word in name.split("_"):
        written = _word(word)
        text += f"_{written}" if text and word[0].isdigit() else written
    return text


def _word(word: str) -> str:
    return word if word in _SPELLED else word.capitalize()


class Operation(Code):
    """Operations; which of them have typed payloads is said by ``payloads``."""

    CREATE = 1
    CREATE_KEY_PAIR = 2
    REGISTER = 3
    RE_KEY = 4
    DERIVE_KEY = 5
    CERTIFY = 6
    RE_CERTIFY = 7
    LOCATE = 8
    CHECK = 9
    GET = 0xA
    GET_ATTRIBUTES = 0xB
    GET_ATTRIBUTE_LIST = 0xC
    ADD_ATTRIBUTE = 0xD
    MODIFY_ATTRIBUTE = 0xE
    DELETE_ATTRIBUTE = 0xF
    OBTAIN_LEASE = 0x10
    GET_USAGE_ALLOCATION = 0x11
    ACTIVATE = 0x12
    REVOKE = 0x13
    DESTROY = 0x14
    ARCHIVE = 0x15
    RECOVER = 0x16
    VALIDATE = 0x17
    QUERY = 0x18
    CANCEL = 0x19
    POLL = 0x1A
    NOTIFY = 0x1B
    PUT = 0x1C
    RE_KEY_KEY_PAIR = 0x1D
    DISCOVER_VERSIONS = 0x1E
    ENCRYPT = 0x1F
    DECRYPT = 0x20
    SIGN = 0x21
    SIGNATURE_VERIFY = 0x22
    MAC = 0x23
    MAC_VERIFY = 0x24
    RNG_RETRIEVE = 0x25
    RNG_SEED = 0x26
    HASH = 0x27
    CREATE_SPLIT_KEY = 0x28
    JOIN_SPLIT_KEY = 0x29
    IMPORT = 0x2A
    EXPORT = 0x2B


class ResultStatus(Code):
    """How an operation ended."""

    SUCCESS = 0
    OPERATION_FAILED = 1
    OPERATION_PENDING = 2
    OPERATION_UNDONE = 3


class ResultReason(Code):
    """Why an operation failed."""

    ITEM_NOT_FOUND = 1
    RESPONSE_TOO_LARGE = 2
    AUTHENTICATION_NOT_SUCCESSFUL = 3
    INVALID_MESSAGE = 4
    OPERATION_NOT_SUPPORTED = 5
    MISSING_DATA = 6
    INVALID_FIELD = 7
    FEATURE_NOT_SUPPORTED = 8
    OPERATION_CANCELED_BY_REQUESTER = 9
    CRYPTOGRAPHIC_FAILURE = 0xA
    ILLEGAL_OPERATION = 0xB
    PERMISSION_DENIED = 0xC
    OBJECT_ARCHIVED = 0xD
    INDEX_OUTOF_BOUNDS = 0xE
    APPLICATION_NAMESPACE_NOT_SUPPORTED = 0xF
    KEY_FORMAT_TYPE_NOT_SUPPORTED = 0x10
    KEY_COMPRESSION_TYPE_NOT_SUPPORTED = 0x11
    ENCODING_OPTION_ERROR = 0x12
    KEY_VALUE_NOT_PRESENT = 0x13
    ATTESTATION_REQUIRED = 0x14
    ATTESTATION_FAILED = 0x15
    SENSITIVE = 0x16
    NOT_EXTRACTABLE = 0x17
    OBJECT_ALREADY_EXISTS = 0x18
    GENERAL_FAILURE = 0x100


class CredentialType(Code):
    """What proves who asks, in a header."""

    USERNAME_AND_PASSWORD = 1
    DEVICE = 2
    ATTESTATION = 3


class RevocationReasonCode(Code):
    """Why an object is revoked."""

    UNSPECIFIED = 1
    KEY_COMPROMISE = 2
    CA_COMPROMISE = 3
    AFFILIATION_CHANGED = 4
    SUPERSEDED = 5
    CESSATION_OF_OPERATION = 6
    PRIVILEGE_WITHDRAWN = 7


class BatchErrorContinuationOption(Code):
    """What follows a failed item of a batch."""

    CONTINUE = 1
    STOP = 2
    UNDO = 3


class NameType(Code):
    """What a Name is."""

    UNINTERPRETED_TEXT_STRING = 1
    URI = 2


class ObjectType(Code):
    """Kinds of managed objects."""

    CERTIFICATE = 1
    SYMMETRIC_KEY = 2
    PUBLIC_KEY = 3
    PRIVATE_KEY = 4
    SPLIT_KEY = 5
    TEMPLATE = 6
    SECRET_DATA = 7
    OPAQUE_OBJECT = 8
    PGP_KEY = 9


class State(Code):
    """The life of an object."""

    PRE_ACTIVE = 1
    ACTIVE = 2
    DEACTIVATED = 3
    COMPROMISED = 4
    DESTROYED = 5
    DESTROYED_COMPROMISED = 6


class SecretDataType(Code):
    """Kinds of Secret Data."""

    PASSWORD = 1
    SEED = 2


class CertificateType(Code):
    """Kinds of certificates."""

    X_509 = 1
    PGP = 2


class LinkType(Code):
    """What another object is to this one."""

    CERTIFICATE_LINK = 0x101
    PUBLIC_KEY_LINK = 0x102
    PRIVATE_KEY_LINK = 0x103
    DERIVATION_BASE_OBJECT_LINK = 0x104
    DERIVED_KEY_LINK = 0x105
    REPLACEMENT_OBJECT_LINK = 0x106
    REPLACED_OBJECT_LINK = 0x107
    PARENT_LINK = 0x108
    CHILD_LINK = 0x109
    PREVIOUS_LINK = 0x10A
    NEXT_LINK = 0x10B
    PKCS_12_CERTIFICATE_LINK = 0x10C
    PKCS_12_PASSWORD_LINK = 0x10D
    WRAPPING_KEY_LINK = 0x10E


class QueryFunction(Code):
    """What Query asks for."""

    QUERY_OPERATIONS = 1
    QUERY_OBJECTS = 2
    QUERY_SERVER_INFORMATION = 3
    QUERY_APPLICATION_NAMESPACES = 4
    QUERY_EXTENSION_LIST = 5
    QUERY_EXTENSION_MAP = 6
    QUERY_ATTESTATION_TYPES = 7
    QUERY_RNGS = (8, "QueryRNGs")
    QUERY_VALIDATIONS = 9
    QUERY_PROFILES = 0xA
    QUERY_CAPABILITIES = 0xB
    QUERY_CLIENT_REGISTRATION_METHODS = 0xC


class UsageLimitsUnit(Code):
    """What a usage limit counts."""

    BYTE = 1
    OBJECT = 2


class CancellationResult(Code):
    """How Cancel ended."""

    CANCELED = 1
    UNABLE_TO_CANCEL = 2
    COMPLETED = 3
    FAILED = 4
    UNAVAILABLE = 5


class PutFunction(Code):
    """Whether Put brings or replaces an object."""

    NEW = 1
    REPLACE = 2


class CertificateRequestType(Code):
    """Kinds of certificate requests."""

    CRMF = 1
    PKCS_10 = 2
    PEM = 3
    PGP = 4


class ObjectGroupMember(Code):
    """Which member of a group Locate finds."""

    GROUP_MEMBER_FRESH = 1
    GROUP_MEMBER_DEFAULT = 2


class AttestationType(Code):
    """How a client attests."""

    TPM_QUOTE = 1
    TCG_INTEGRITY_REPORT = 2
    SAML_ASSERTION = 3


class AlternativeNameType(Code):
    """What an Alternative Name is."""

    UNINTERPRETED_TEXT_STRING = 1
    URI = 2
    OBJECT_SERIAL_NUMBER = 3
    EMAIL_ADDRESS = 4
    DNS_NAME = 5
    X_500_DISTINGUISHED_NAME = 6
    IP_ADDRESS = 7


class KeyValueLocationType(Code):
    """What a place of key material is."""

    UNINTERPRETED_TEXT_STRING = 1
    URI = 2


class UnwrapMode(Code):
    """What a server does with keys that arrive wrapped."""

    UNSPECIFIED = 1
    PROCESSED = 2
    NOT_PROCESSED = 3


class DestroyAction(Code):
    """What Destroy leaves."""

    UNSPECIFIED = 1
    KEY_MATERIAL_DELETED = 2
    KEY_MATERIAL_SHREDDED = 3
    META_DATA_DELETED = 4
    META_DATA_SHREDDED = 5
    DELETED = 6
    SHREDDED = 7


class ShreddingAlgorithm(Code):
    """How a server shreds."""

    UNSPECIFIED = 1
    CRYPTOGRAPHIC = 2
    UNSUPPORTED = 3


class RNGMode(Code):
    """Whether clients share a random number generator."""

    UNSPECIFIED = 1
    SHARED_INSTANTIATION = 2
    NON_SHARED_INSTANTIATION = 3


class StorageStatusMask(IntFlag):
    """Where Locate looks; a sum of bits on the wire."""

    ON_LINE_STORAGE = 1
    ARCHIVAL_STORAGE = 2


class KmipError(ValueError):
    """Bytes, a tree or a struct that are no message of KMIP; the text says where and why.

    ``reason`` is the Result Reason that a server answers with. The text has names, places and
    sizes, never values: a value may be a key.
    """

    def __init__(self, text: str, reason: ResultReason = ResultReason.INVALID_MESSAGE) -> None:
        super().__init__(text)
        self.reason = reason
