"""Encrypt and Decrypt under a key that stays: what comes out, and who may when."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from cryptography.hazmat.decrepit.ciphers.algorithms import TripleDES
from cryptography.hazmat.primitives.ciphers import Cipher, modes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from protocol.attributes import Attribute, CryptographicParametersValue
from protocol.errors import (
    CryptographicFailure,
    FeatureNotSupported,
    InvalidField,
    InvalidMessage,
    ItemNotFound,
    PermissionDenied,
    ProductError,
    TagLengthNotSupported,
)
from protocol.messages.base import Sealed
from protocol.messages.kms import keys as m
from protocol.secret import KeyMaterial
from protocol.terms import KeyId, KmipState, RevocationReason
from services.kms.objects.request_types import (
    ActivateObject,
    Create,
    DecryptData,
    DestroyObject,
    EncryptData,
    Register,
    RevokeObject,
)
from tests.services.kms.core_rig import OWNER, STRANGER, do, trail
from tests.services.kms.ports import LOCAL, OPERATOR, VCENTER, Server

RAW = bytes(range(32))
CLEAR, AAD, IV = b"what nobody else reads", b"bound to it", bytes(12)
CBC = CryptographicParametersValue(block_cipher_mode="CBC")
ECB = CryptographicParametersValue(block_cipher_mode="ECB")
OAEP = CryptographicParametersValue(block_cipher_mode="ECB", padding_method="OAEP")
PADDED = CryptographicParametersValue(block_cipher_mode="CBC", padding_method="PKCS5")
BARE: dict[str, Any] = {"iv": b"", "tag": b"", "additional_data": b""}
RANDOM = CryptographicParametersValue(block_cipher_mode="GCM", random_iv=True)


async def key(server: Server, *attributes: Attribute, mask: int = 12, active: bool = True) -> KeyId:
    request = Register(material=KeyMaterial(RAW), usage_mask=mask, attributes=attributes)
    key_id = (await do(server, request)).unique_identifier
    if active:
        await do(server, ActivateObject(unique_identifier=key_id))
    return key_id


def encrypting(key_id: KeyId, **more: Any) -> EncryptData:
    fields: dict[str, Any] = {"data": KeyMaterial(CLEAR), "iv": IV, "additional_data": AAD}
    fields |= more
    return EncryptData(unique_identifier=key_id, **fields)


def decrypting(key_id: KeyId, **more: Any) -> DecryptData:
    sealed = AESGCM(RAW).encrypt(IV, CLEAR, AAD)
    fields = {"data": sealed[:-16], "tag": sealed[-16:], "iv": IV, "additional_data": AAD} | more
    return DecryptData(unique_identifier=key_id, **fields)


async def test_it_is_aes_gcm_as_everybody_does_it(server: Server) -> None:
    key_id = await key(server)
    done = await do(server, encrypting(key_id))
    assert done.data + done.tag == AESGCM(RAW).encrypt(IV, CLEAR, AAD)
    assert done.iv is None
    assert (await do(server, decrypting(key_id))).data == KeyMaterial(CLEAR)
    assert [row for row in await trail(server) if row[0] in ("Encrypt", "Decrypt")] == [
        ("Encrypt", key_id, "Success"),
        ("Decrypt", key_id, "Success"),
    ]
    await server.boot()


async def test_a_random_iv_is_the_servers_and_another_each_time(server: Server) -> None:
    key_id = await key(server)
    done = [await do(server, encrypting(key_id, iv=None, parameters=RANDOM)) for _ in range(2)]
    assert done[0].iv != done[1].iv
    for one in done:
        assert one.iv is not None and len(one.iv) == 12
        assert AESGCM(RAW).decrypt(one.iv, one.data + one.tag, AAD) == CLEAR


async def test_the_keys_own_parameters_count_when_none_are_given(server: Server) -> None:
    own = CryptographicParametersValue(block_cipher_mode="GCM", random_iv=True, tag_length=12)
    key_id = await key(server, Attribute(name="Cryptographic Parameters", value=own))
    done = await do(server, encrypting(key_id, iv=None))
    assert done.iv is not None and len(done.tag) == 12
    request = decrypting(key_id, data=done.data, tag=done.tag, iv=done.iv)
    assert (await do(server, request)).data == KeyMaterial(CLEAR)


@pytest.mark.parametrize(
    ("more", "error"),
    [
        ({"iv": None}, InvalidField),
        ({"iv": b"short"}, InvalidField),
        ({"parameters": CryptographicParametersValue(tag_length=4)}, TagLengthNotSupported),
        (
            {"parameters": CryptographicParametersValue(block_cipher_mode="CTR")},
            FeatureNotSupported,
        ),
        ({"parameters": CBC}, InvalidField),  # an IV of 12 bytes, and other data is bound
        ({"parameters": CBC, "iv": bytes(16)}, InvalidField),
        ({"parameters": CBC, "iv": b"", "additional_data": b""}, InvalidMessage),
        ({"parameters": ECB, "additional_data": b""}, InvalidField),
        ({"parameters": OAEP, "iv": None, "additional_data": b""}, FeatureNotSupported),
    ],
    ids=str,
)
async def test_encrypt_refuses(
    server: Server, more: dict[str, Any], error: type[ProductError]
) -> None:
    key_id = await key(server)
    with pytest.raises(error):
        await do(server, encrypting(key_id, **more))


@pytest.mark.parametrize(
    ("more", "error"),
    [
        ({"data": b"another"}, CryptographicFailure),
        ({"tag": bytes(16)}, CryptographicFailure),
        ({"iv": bytes(11) + b"1"}, CryptographicFailure),
        ({"additional_data": b""}, CryptographicFailure),
        ({"tag": bytes(8)}, InvalidField),
        ({"tag": b""}, InvalidField),
        ({"parameters": CBC, "iv": bytes(16)}, InvalidField),
        ({"parameters": CBC, **BARE}, InvalidMessage),
        ({"parameters": CBC, **BARE, "iv": bytes(16), "data": bytes(15)}, InvalidField),
        ({"parameters": PADDED, **BARE, "iv": bytes(16), "data": bytes(16)}, CryptographicFailure),
    ],
    ids=str,
)
async def test_decrypt_refuses(
    server: Server, more: dict[str, Any], error: type[ProductError]
) -> None:
    key_id = await key(server)
    with pytest.raises(error):
        await do(server, decrypting(key_id, **more))


@pytest.mark.parametrize(
    "agreed",
    [
        CryptographicParametersValue(tag_length=13),
        CryptographicParametersValue(iv_length=128),
        CryptographicParametersValue(iv_length=16),
        CryptographicParametersValue(cryptographic_algorithm="3DES"),
    ],
    ids=str,
)
async def test_what_the_parameters_say_is_kept_to(
    server: Server, agreed: CryptographicParametersValue
) -> None:
    """A tag that somebody has cut is no tag; an IV that is drawn has no other length either."""
    key_id = await key(server, Attribute(name="Cryptographic Parameters", value=agreed))
    done = await do(server, encrypting(key_id, parameters=CryptographicParametersValue()))
    with pytest.raises(InvalidField):
        await do(server, decrypting(key_id, data=done.data, tag=done.tag[:12]))
    if agreed.tag_length is None:
        drawn = msgspec.structs.replace(agreed, random_iv=True)
        for request in (encrypting(key_id), encrypting(key_id, iv=None, parameters=drawn)):
            with pytest.raises(InvalidField):
                await do(server, request)


@pytest.mark.parametrize("length", [96, 12])
async def test_the_length_of_an_iv_is_in_bits_or_as_openbao_counts_it(
    server: Server, length: int
) -> None:
    key_id = await key(server)
    parameters = CryptographicParametersValue(block_cipher_mode="GCM", iv_length=length)
    done = await do(server, encrypting(key_id, parameters=parameters))
    assert done.data + done.tag == AESGCM(RAW).encrypt(IV, CLEAR, AAD)


async def test_modes_of_blocks(server: Server) -> None:
    """NIST SP 800-38A, F.1.1 and F.2.1, AES-128; padding, and an IV that the server draws."""
    aes = KeyMaterial(bytes.fromhex("2b7e151628aed2a6abf7158809cf4f3c"))
    made = Register(length=128, material=aes)
    key_id = (await do(server, made)).unique_identifier
    await do(server, ActivateObject(unique_identifier=key_id))
    clear = KeyMaterial(bytes.fromhex("6bc1bee22e409f96e93d7e117393172a"))
    for parameters, iv, sealed in (
        (ECB, None, "3ad77bb40d7a3660a89ecaf32466ef97"),
        (CBC, bytes(range(16)), "7649abac8119b246cee98e9b12e9197d"),
    ):
        encrypt = EncryptData(unique_identifier=key_id, parameters=parameters, data=clear, iv=iv)
        done = await do(server, encrypt)
        assert (done.data.hex(), done.tag, done.iv) == (sealed, b"", None)
        decrypt = DecryptData(
            unique_identifier=key_id, parameters=parameters, data=done.data, iv=iv or b"", tag=b""
        )
        assert (await do(server, decrypt)).data == clear
    drawn = msgspec.structs.replace(PADDED, random_iv=True)
    for size in (0, 1, 15, 16, 17):
        data = KeyMaterial(bytes(size))
        encrypt = EncryptData(unique_identifier=key_id, parameters=drawn, data=data)
        done = await do(server, encrypt)
        assert done.iv is not None and len(done.iv) == 16
        assert len(done.data) == 16 * (size // 16 + 1)
        decrypt = DecryptData(
            unique_identifier=key_id, parameters=drawn, data=done.data, iv=done.iv, tag=b""
        )
        assert (await do(server, decrypt)).data == data


@pytest.mark.parametrize("bits", [112, 168])
async def test_blocks_of_3des(server: Server, bits: int) -> None:
    """A key of 112 bits has its first part again for a third; NIST SP 800-67 has the blocks."""
    parts = ("0123456789abcdef", "23456789abcdef01", "456789abcdef0123")
    secret = bytes.fromhex("".join(parts[: bits // 56]))
    register = Register(algorithm="3DES", length=bits, material=KeyMaterial(secret))
    key_id = (await do(server, register)).unique_identifier
    await do(server, ActivateObject(unique_identifier=key_id))
    clear = KeyMaterial(b"The qufc")
    encrypt = EncryptData(unique_identifier=key_id, parameters=ECB, data=clear)
    sealed = (await do(server, encrypt)).data
    if bits == 168:
        assert sealed.hex() == "a826fd8ce53b855f"
    whole = (secret + secret[:8])[:24]
    block = Cipher(TripleDES(whole), modes.ECB()).decryptor()  # noqa: S305 - it is what is tested
    assert block.update(sealed) == b"The qufc"
    drawn = msgspec.structs.replace(PADDED, random_iv=True)
    done = await do(
        server,
        EncryptData(unique_identifier=key_id, parameters=drawn, data=KeyMaterial(b"123456789")),
    )
    assert done.iv is not None and (len(done.iv), len(done.data)) == (8, 16)
    decrypt = DecryptData(
        unique_identifier=key_id, parameters=drawn, data=done.data, iv=done.iv, tag=b""
    )
    assert (await do(server, decrypt)).data == KeyMaterial(b"123456789")
    with pytest.raises(InvalidField, match="are not whole blocks"):
        await do(server, msgspec.structs.replace(encrypt, data=KeyMaterial(b"1234567")))


async def test_another_algorithm_has_no_gcm_here(server: Server) -> None:
    request = Create(algorithm="3DES", length=168)
    key_id = (await do(server, request)).unique_identifier
    await do(server, ActivateObject(unique_identifier=key_id))
    with pytest.raises(FeatureNotSupported):
        await do(server, encrypting(key_id))


STEPS: dict[KmipState, tuple[Any, ...]] = {
    KmipState.PRE_ACTIVE: (),
    KmipState.ACTIVE: (ActivateObject,),
    KmipState.DEACTIVATED: (ActivateObject, RevokeObject),
    KmipState.COMPROMISED: ("compromise",),
    KmipState.DESTROYED: (DestroyObject,),
    KmipState.DESTROYED_COMPROMISED: ("compromise", DestroyObject),
}
ENCRYPTS = (KmipState.ACTIVE,)
DECRYPTS = (KmipState.ACTIVE, KmipState.DEACTIVATED, KmipState.COMPROMISED)


@pytest.mark.parametrize("state", KmipState)
async def test_every_state(server: Server, state: KmipState) -> None:
    key_id = await key(server, active=False)
    for step in STEPS[state]:
        why = RevocationReason.KEY_COMPROMISE
        revoke = RevokeObject(unique_identifier=key_id, reason=why)
        await do(server, revoke if step == "compromise" else step(unique_identifier=key_id))
    for request, states in ((encrypting(key_id), ENCRYPTS), (decrypting(key_id), DECRYPTS)):
        if state in states:
            await do(server, request)
        else:
            with pytest.raises(PermissionDenied):
                await do(server, request)


@pytest.mark.parametrize("mask", [0, 4, 8])
async def test_the_usage_mask(server: Server, mask: int) -> None:
    key_id = await key(server, mask=mask)
    for request, bit in ((encrypting(key_id), 4), (decrypting(key_id), 8)):
        if mask & bit:
            await do(server, request)
        else:
            with pytest.raises(PermissionDenied, match="usage mask"):
                await do(server, request)


async def test_the_dates_of_use(server: Server) -> None:
    """OASIS CS-BC-M-14: before its Process Start Date nothing is decrypted, after its Protect Stop
    Date nothing encrypted."""
    now = server.clock.wall
    start = Attribute(name="Process Start Date", value=now + 10)
    stop = Attribute(name="Protect Stop Date", value=now + 10)
    key_id = await key(server, start, stop)
    await do(server, encrypting(key_id))
    with pytest.raises(PermissionDenied):
        await do(server, decrypting(key_id))
    server.clock.wall += 10
    await do(server, decrypting(key_id))
    with pytest.raises(PermissionDenied):
        await do(server, encrypting(key_id))


async def test_who_may(server: Server) -> None:
    key_id = await key(server)
    message = m.Encrypt(key_id=key_id, data=Sealed.of(KeyMaterial(CLEAR)), iv=IV)
    for peer in (VCENTER, OPERATOR, LOCAL):
        with pytest.raises(PermissionDenied):
            await server.ask(message, peer)
    with pytest.raises(ItemNotFound):
        await do(server, encrypting(key_id), STRANGER)
    assert (await do(server, encrypting(key_id), OWNER)).data


async def test_nothing_clear_lies_in_the_database(server: Server) -> None:
    key_id = await key(server)
    await do(server, encrypting(key_id))
    await do(server, decrypting(key_id))
    image = server.platter.image()
    assert CLEAR not in image and RAW not in image
