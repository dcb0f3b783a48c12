"""Enumerations of cryptography, KMIP 1.0 to 1.4 (KMIP 1.4 section 9.1.3)."""

from __future__ import annotations

from enum import IntFlag

from protocol.kmip.enums import Code


class CryptographicAlgorithm(Code):
    """Ciphers, signatures and MACs."""

    DES = 1
    DES3 = 2
    AES = 3
    RSA = 4
    DSA = 5
    ECDSA = 6
    HMAC_SHA1 = (7, "HMAC_SHA1")
    HMAC_SHA224 = (8, "HMAC_SHA224")
    HMAC_SHA256 = (9, "HMAC_SHA256")
    HMAC_SHA384 = (0xA, "HMAC_SHA384")
    HMAC_SHA512 = (0xB, "HMAC_SHA512")
    HMAC_MD5 = (0xC, "HMAC_MD5")
    DH = 0xD
    ECDH = 0xE
    ECMQV = 0xF
    BLOWFISH = 0x10
    CAMELLIA = 0x11
    CAST5 = 0x12
    IDEA = 0x13
    MARS = 0x14
    RC2 = 0x15
    RC4 = 0x16
    RC5 = 0x17
    SKIPJACK = 0x18
    TWOFISH = 0x19
    EC = 0x1A
    ONE_TIME_PAD = 0x1B
    CHA_CHA20 = 0x1C
    POLY1305 = 0x1D
    CHA_CHA20_POLY1305 = 0x1E
    SHA3_224 = 0x1F
    SHA3_256 = 0x20
    SHA3_384 = 0x21
    SHA3_512 = 0x22
    HMAC_SHA3_224 = (0x23, "HMAC_SHA3_224")
    HMAC_SHA3_256 = (0x24, "HMAC_SHA3_256")
    HMAC_SHA3_384 = (0x25, "HMAC_SHA3_384")
    HMAC_SHA3_512 = (0x26, "HMAC_SHA3_512")
    SHAKE_128 = 0x27
    SHAKE_256 = 0x28


class BlockCipherMode(Code):
    """Modes of a block cipher."""

    CBC = 1
    ECB = 2
    PCBC = 3
    CFB = 4
    OFB = 5
    CTR = 6
    CMAC = 7
    CCM = 8
    GCM = 9
    CBC_MAC = (0xA, "CBC_MAC")
    XTS = 0xB
    AES_KEY_WRAP_PADDING = 0xC
    NIST_KEY_WRAP = 0xD
    X9_102_AESKW = (0xE, "X9_102AESKW")
    X9_102_TDKW = (0xF, "X9_102TDKW")
    X9_102_AKW1 = (0x10, "X9_102AKW1")
    X9_102_AKW2 = (0x11, "X9_102AKW2")
    AEAD = 0x12


class PaddingMethod(Code):
    """How a last block is filled."""

    NONE = 1
    OAEP = 2
    PKCS5 = 3
    SSL3 = 4
    ZEROS = 5
    ANSIX9_23 = 6
    ISO10126 = 7
    PKCS1_V1_5 = 8
    X9_31 = 9
    PSS = 0xA


class HashingAlgorithm(Code):
    """Hashes."""

    MD2 = 1
    MD4 = 2
    MD5 = 3
    SHA_1 = 4
    SHA_224 = 5
    SHA_256 = 6
    SHA_384 = 7
    SHA_512 = 8
    RIPEMD_160 = 9
    TIGER = 0xA
    WHIRLPOOL = 0xB
    SHA_512_224 = 0xC
    SHA_512_256 = 0xD
    SHA_3_224 = 0xE
    SHA_3_256 = 0xF
    SHA_3_384 = 0x10
    SHA_3_512 = 0x11


class DigitalSignatureAlgorithm(Code):
    """Signatures with their hash."""

    MD2_WITH_RSA_ENCRYPTION = 1
    MD5_WITH_RSA_ENCRYPTION = 2
    SHA_1_WITH_RSA_ENCRYPTION = 3
    SHA_224_WITH_RSA_ENCRYPTION = 4
    SHA_256_WITH_RSA_ENCRYPTION = 5
    SHA_384_WITH_RSA_ENCRYPTION = 6
    SHA_512_WITH_RSA_ENCRYPTION = 7
    RSASSA_PSS = (8, "RSASSA_PSS")
    DSA_WITH_SHA_1 = 9
    DSA_WITH_SHA224 = 0xA
    DSA_WITH_SHA256 = 0xB
    ECDSA_WITH_SHA_1 = 0xC
    ECDSA_WITH_SHA224 = 0xD
    ECDSA_WITH_SHA256 = 0xE
    ECDSA_WITH_SHA384 = 0xF
    ECDSA_WITH_SHA512 = 0x10
    SHA3_256_WITH_RSA_ENCRYPTION = 0x11
    SHA3_384_WITH_RSA_ENCRYPTION = 0x12
    SHA3_512_WITH_RSA_ENCRYPTION = 0x13


class KeyRoleType(Code):
    """What a key is for in banking."""

    BDK = 1
    CVK = 2
    DEK = 3
    MKAC = 4
    MKSMC = 5
    MKSMI = 6
    MKDAC = 7
    MKDN = 8
    MKCP = 9
    MKOTH = 0xA
    KEK = 0xB
    MAC16609 = 0xC
    MAC97971 = 0xD
    MAC97972 = 0xE
    MAC97973 = 0xF
    MAC97974 = 0x10
    MAC97975 = 0x11
    ZPK = 0x12
    PVKIBM = 0x13
    PVKPVV = 0x14
    PVKOTH = 0x15
    DUKPT = 0x16
    IV = 0x17
    TRKBK = 0x18


class MaskGenerator(Code):
    """How OAEP and PSS make their mask."""

    MGF1 = 1


class KeyFormatType(Code):
    """How key material is written."""

    RAW = 1
    OPAQUE = 2
    PKCS_1 = 3
    PKCS_8 = 4
    X_509 = 5
    EC_PRIVATE_KEY = 6
    TRANSPARENT_SYMMETRIC_KEY = 7
    TRANSPARENT_DSA_PRIVATE_KEY = 8
    TRANSPARENT_DSA_PUBLIC_KEY = 9
    TRANSPARENT_RSA_PRIVATE_KEY = 0xA
    TRANSPARENT_RSA_PUBLIC_KEY = 0xB
    TRANSPARENT_DH_PRIVATE_KEY = 0xC
    TRANSPARENT_DH_PUBLIC_KEY = 0xD
    TRANSPARENT_ECDSA_PRIVATE_KEY = 0xE
    TRANSPARENT_ECDSA_PUBLIC_KEY = 0xF
    TRANSPARENT_ECDH_PRIVATE_KEY = 0x10
    TRANSPARENT_ECDH_PUBLIC_KEY = 0x11
    TRANSPARENT_ECMQV_PRIVATE_KEY = 0x12
    TRANSPARENT_ECMQV_PUBLIC_KEY = 0x13
    TRANSPARENT_EC_PRIVATE_KEY = 0x14
    TRANSPARENT_EC_PUBLIC_KEY = 0x15
    PKCS_12 = 0x16


class KeyCompressionType(Code):
    """How the point of a key is compressed."""

    EC_PUBLIC_KEY_TYPE_UNCOMPRESSED = 1
    EC_PUBLIC_KEY_TYPE_X9_62_COMPRESSED_PRIME = 2
    EC_PUBLIC_KEY_TYPE_X9_62_COMPRESSED_CHAR2 = 3
    EC_PUBLIC_KEY_TYPE_X9_62_HYBRID = 4


class WrappingMethod(Code):
    """How a key is wrapped."""

    ENCRYPT = 1
    MAC_SIGN = 2
    ENCRYPT_THEN_MAC_SIGN = 3
    MAC_SIGN_THEN_ENCRYPT = 4
    TR_31 = (5, "TR_31")


class EncodingOption(Code):
    """Whether wrapped bytes are TTLV."""

    NO_ENCODING = 1
    TTLV_ENCODING = 2


class SplitKeyMethod(Code):
    """How a key is split."""

    XOR = 1
    POLYNOMIAL_SHARING_GF2_16 = 2
    POLYNOMIAL_SHARING_PRIME_FIELD = 3
    POLYNOMIAL_SHARING_GF2_8 = 4


class RNGAlgorithm(Code):
    """Kinds of random number generators (KMIP 1.4 section 9.1.3.2.60)."""

    UNSPECIFIED = 1
    FIPS186_2 = 2
    DRBG = 3
    NRBG = 4
    ANSIX9_31 = (5, "ANSIX9_31")
    ANSIX9_62 = (6, "ANSIX9_62")


class DRBGAlgorithm(Code):
    """Constructions of a deterministic generator."""

    UNSPECIFIED = 1
    DUAL_EC = (2, "Dual_EC")
    HASH = 3
    HMAC = 4
    CTR = 5


class FIPS186Variation(Code):
    """Variations of the generators of FIPS 186-2."""

    UNSPECIFIED = 1
    GP_X_ORIGINAL = (2, "GPXOriginal")
    GP_X_CHANGE_NOTICE = (3, "GPXChangeNotice")
    X_ORIGINAL = 4
    X_CHANGE_NOTICE = 5
    K_ORIGINAL = (6, "KOriginal")
    K_CHANGE_NOTICE = (7, "KChangeNotice")


class RecommendedCurve(Code):
    """Elliptic curves of FIPS 186."""

    P_192 = 1
    K_163 = 2
    B_163 = 3
    P_224 = 4
    K_233 = 5
    B_233 = 6
    P_256 = 7
    K_283 = 8
    B_283 = 9
    P_384 = 0xA
    K_409 = 0xB
    B_409 = 0xC
    P_521 = 0xD
    K_571 = 0xE
    B_571 = 0xF


class KeyWrapType(Code):
    """Whether Get returns a key wrapped as it was registered."""

    NOT_WRAPPED = 1
    AS_REGISTERED = 2


class CryptographicUsageMask(IntFlag):
    """What a key may be used for; a sum of bits on the wire."""

    SIGN = 0x1
    VERIFY = 0x2
    ENCRYPT = 0x4
    DECRYPT = 0x8
    WRAP_KEY = 0x10
    UNWRAP_KEY = 0x20
    EXPORT = 0x40
    MAC_GENERATE = 0x80
    MAC_VERIFY = 0x100
    DERIVE_KEY = 0x200
    CONTENT_COMMITMENT = 0x400
    KEY_AGREEMENT = 0x800
    CERTIFICATE_SIGN = 0x1000
    CRL_SIGN = 0x2000
    GENERATE_CRYPTOGRAM = 0x4000
    VALIDATE_CRYPTOGRAM = 0x8000
    TRANSLATE_ENCRYPT = 0x10000
    TRANSLATE_DECRYPT = 0x20000
    TRANSLATE_WRAP = 0x40000
    TRANSLATE_UNWRAP = 0x80000
