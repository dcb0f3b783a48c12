"""What all enumerations of KMIP have in common: a number on the wire, and a name in XML."""

from __future__ import annotations

from enum import IntEnum
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
