"""The TSS's end of a session, done by us: published vectors, and a TPM that checks."""

from __future__ import annotations

import hashlib
import hmac
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from protocol.messages.agent import TpmBackend
from protocol.tpm.errors import TpmError
from protocol.tpm.quote import policy_pcr_digest
from protocol.tpm.structures import PCR_SECURE_BOOT
from services.runtime.tpm.backends import missing_for_libtpms, open_device
from services.runtime.tpm.device import MemoryNv

pytestmark = [
    pytest.mark.tpm,
    pytest.mark.skipif(bool(missing_for_libtpms()), reason=f"no real TPM: {missing_for_libtpms()}"),
]
SECRET = b"sealed to the secure boot PCR 07"
AES, CFB, CBC, P256, P521 = 0x0006, 0x0043, 0x0042, 0x0003, 0x0005
HASHES = {0x0004: "sha1", 0x000B: "sha256", 0x000C: "sha384", 0x000D: "sha512"}
SM3 = 0x0012


@pytest.fixture
def crypto() -> Any:
    """The module, which loads the TSS: not before a test wants it."""
    from services.runtime.tpm import tss

    assert tss._works == {}
    return tss


class Called:
    """The functions as C calls them."""

    def __init__(self, crypto: Any) -> None:
        self.crypto, self.ffi, self.table = crypto, crypto.ffi, crypto._table

    def started(self, algorithm: int, key: bytes | None = None) -> tuple[int, Any]:
        blob = self.ffi.new("ESYS_CRYPTO_CONTEXT_BLOB **")
        if key is None:
            return self.table.hash_start(blob, algorithm, self.ffi.NULL), blob
        return self.table.hmac_start(blob, algorithm, key, len(key), self.ffi.NULL), blob

    def digest(self, algorithm: int, data: bytes, key: bytes | None = None) -> bytes:
        """In pieces of 7 bytes."""
        result, blob = self.started(algorithm, key)
        assert result == 0
        for at in range(0, len(data), 7):
            piece = data[at : at + 7]
            assert self.table.hash_update(blob[0], piece, len(piece), self.ffi.NULL) == 0
        result, found = self.finished(blob, 64)
        assert result == 0
        return found

    def finished(self, blob: Any, room: int) -> tuple[int, bytes]:
        out, size = self.ffi.new("uint8_t[]", room), self.ffi.new("size_t *", room)
        result = self.table.hmac_finish(blob, out, size, self.ffi.NULL)
        assert blob[0] == self.ffi.NULL
        return result, bytes(self.ffi.buffer(out, size[0]))

    def aes(self, name: str, data: bytes, mode: int = CFB) -> tuple[int, bytes]:
        """CFB128-AES128 of NIST SP 800-38A, F.3.13."""
        key = bytes.fromhex("2b7e151628aed2a6abf7158809cf4f3c")
        iv, held = bytes(range(16)), self.ffi.new("uint8_t[]", data)
        act = getattr(self.table, name)
        result = act(key, AES, 128, mode, held, len(data), iv, self.ffi.NULL)
        return result, bytes(self.ffi.buffer(held, len(data)))

    def ecdh(self, x: int, y: int, curve: int = P256) -> tuple[int, bytes, bytes]:
        """What it returns, the shared secret, and the ephemeral key's point as it is sent."""
        key = self.ffi.new("TPM2B_PUBLIC *")
        key.publicArea.parameters.eccDetail.curveID = curve
        for place, number in ((key.publicArea.unique.ecc.x, x), (key.publicArea.unique.ecc.y, y)):
            place.size, place.buffer = 32, number.to_bytes(32, "big")
        shared, point = self.ffi.new("TPM2B_ECC_PARAMETER *"), self.ffi.new("TPMS_ECC_POINT *")
        out, size = self.ffi.new("uint8_t[]", 128), self.ffi.new("size_t *")
        result = self.table.get_ecdh_point(key, 128, shared, point, out, size, self.ffi.NULL)
        sent = bytes(self.ffi.buffer(out, size[0]))
        return result, bytes(self.ffi.buffer(shared.buffer, shared.size)), sent


@pytest.mark.parametrize(("algorithm", "name"), HASHES.items())
def test_hashes_and_hmacs_are_those_of_the_standard(crypto: Any, algorithm: int, name: str) -> None:
    called = Called(crypto)
    for data in (b"", b"abc", bytes(range(256))):
        assert called.digest(algorithm, data) == hashlib.new(name, data).digest()
        for key in (b"", b"Jefe", bytes(200)):
            assert called.digest(algorithm, data, key) == hmac.digest(key, data, name)
    assert crypto._works == {}


def test_a_known_hmac() -> None:
    """RFC 4231, test case 2: the comparison above is with the right function."""
    found = hmac.digest(b"Jefe", b"what do ya want for nothing?", "sha256")
    assert found.hex().startswith("5bdcc146bf60754e6a042426089575c7")


def test_parameters_are_encrypted_as_the_standard_says(crypto: Any) -> None:
    clear = bytes.fromhex("6bc1bee22e409f96e93d7e117393172aae2d8a571e03ac9c9eb76fac45af8e51")
    coded = bytes.fromhex("3b3fd92eb72dad20333449f8e83cfb4ac8a64537a0b3a93fcde3cdad9f1ce58b")
    called = Called(crypto)
    assert called.aes("aes_encrypt", clear) == (0, coded)
    assert called.aes("aes_decrypt", coded) == (0, clear)
    assert called.aes("aes_decrypt", coded[:21]) == (0, clear[:21])  # no whole blocks


def test_both_ends_have_the_same_secret(crypto: Any) -> None:
    theirs = ec.generate_private_key(ec.SECP256R1())
    numbers = theirs.public_key().public_numbers()
    result, shared, sent = Called(crypto).ecdh(numbers.x, numbers.y)
    assert (result, len(sent), sent[:2], sent[34:36]) == (0, 68, b"\0\x20", b"\0\x20")
    x, y = (int.from_bytes(sent[at : at + 32], "big") for at in (2, 36))
    once = ec.EllipticCurvePublicNumbers(x, y, ec.SECP256R1()).public_key()
    assert theirs.exchange(ec.ECDH(), once) == shared
    assert Called(crypto).ecdh(numbers.x, numbers.y)[2] != sent


def test_random_bytes_are_as_many_as_asked_for(crypto: Any) -> None:
    drawn = []
    for size in (16, 16, 0):
        into = crypto.ffi.new("TPM2B_DIGEST *")
        assert crypto._table.get_random2b(into, size, crypto.ffi.NULL) == 0
        drawn.append(bytes(crypto.ffi.buffer(into.buffer, into.size)))
    assert [len(one) for one in drawn] == [16, 16, 64]
    assert len(set(drawn)) == 3


def test_what_is_not_built_is_said_to_be(crypto: Any) -> None:
    called, refused = Called(crypto), crypto._NOT_IMPLEMENTED
    assert called.started(SM3)[0] == called.started(SM3, b"key")[0] == refused
    assert called.aes("aes_encrypt", bytes(16), CBC) == (refused, bytes(16))
    assert called.aes("aes_decrypt", bytes(16), CBC) == (refused, bytes(16))
    assert called.ecdh(1, 1, P521)[0] == refused
    null = crypto.ffi.NULL
    assert crypto._table.rsa_pk_encrypt(null, 0, null, 0, null, null, null, null) == refused


def test_a_point_off_the_curve_is_refused(crypto: Any) -> None:
    """The secret with it would tell of the key for once."""
    assert Called(crypto).ecdh(1, 1)[0] == crypto._BAD_VALUE


def test_what_fails_is_a_return_code(crypto: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[Any] = []
    monkeypatch.setattr("sys.unraisablehook", lambda why: told.append(why.exc_type))
    nobodys = crypto.ffi.cast(crypto._BLOB, 4711)
    assert crypto._table.hash_update(nobodys, b"abc", 3, crypto.ffi.NULL) == crypto._FAILED
    assert told == [KeyError]


def test_what_does_not_fit_is_refused_and_what_is_given_up_is_forgotten(crypto: Any) -> None:
    called = Called(crypto)
    _, blob = called.started(0x000B)
    assert called.finished(blob, 31)[0] == crypto._BAD_SIZE
    for abort in (crypto._table.hash_abort, crypto._table.hmac_abort):
        _, blob = called.started(0x000B, b"key")
        abort(blob, crypto.ffi.NULL)
        assert blob[0] == crypto.ffi.NULL
    assert crypto._works == {}


def sealed_and_opened() -> bytes:
    """What a TPM gives back of a secret, in sessions that are salted and encrypted."""
    device = open_device(TpmBackend.LIBTPMS, MemoryNv())
    try:
        device.power_on()
        device.ensure_srk()
        policy = policy_pcr_digest(PCR_SECURE_BOOT, device.pcrs(PCR_SECURE_BOOT))
        return device.unseal(device.seal(SECRET, policy), PCR_SECURE_BOOT)
    finally:
        device.close()


def test_a_tpm_takes_our_sessions_and_nothing_of_them_is_left(crypto: Any) -> None:
    assert sealed_and_opened() == SECRET
    assert crypto._works == {}


def test_a_tpm_refuses_a_session_with_wrong_hmacs(
    crypto: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Negative control: it is our functions that the TSS calls, and the TPM that checks them."""
    digest = crypto._Work.digest

    def wrong(self: Any) -> bytes:
        found: bytes = digest(self)
        return found if self.key is None else bytes([found[0] ^ 1]) + found[1:]

    monkeypatch.setattr(crypto._Work, "digest", wrong)
    with pytest.raises(TpmError):
        sealed_and_opened()
