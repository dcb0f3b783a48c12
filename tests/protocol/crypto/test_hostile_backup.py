"""Backup files that were cut, changed or made to hurt: who reads them tells, at no great cost."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES256
from cryptography.hazmat.primitives.ciphers.modes import CBC
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.pbkdf2 import PBKDF2HMAC
from cryptography.hazmat.primitives.padding import PKCS7
from cryptography.hazmat.primitives.serialization import pkcs12

from protocol.crypto import provider_backup
from protocol.crypto.der import INTEGER, OCTETS, SEQUENCE, Element, NotDer, elements, iterations
from protocol.crypto.provider_backup import (
    BackupContent,
    read_backup,
    write_backup,
)
from protocol.errors import InvalidArgument
from protocol.secret import KeyMaterial
from protocol.terms import ProviderId

BACKUP = BackupContent(
    provider=ProviderId("nkp"),
    key_id=str(uuid.UUID(int=0x0123456789ABCDEF0123456789ABCDEF)),
    kdk=KeyMaterial(bytes(range(32))),
    tpm_required=True,
    exported_at=1_700_000_000.0,
)
Edit = Callable[[Element], bytes | None]
"""What stands for an element instead; None: itself, its parts edited."""


@pytest.fixture
def cheap(monkeypatch: pytest.MonkeyPatch) -> None:
    """Few rounds, so that every file of many can be read."""
    monkeypatch.setattr(provider_backup, "_ROUNDS", 1)


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """Files that were given to the library, which hashes whatever they ask for."""
    seen: list[bytes] = []
    load = pkcs12.load_key_and_certificates

    def watched(data: bytes, *rest: Any) -> Any:
        seen.append(data)
        return load(data, *rest)

    monkeypatch.setattr(pkcs12, "load_key_and_certificates", watched)
    return seen


def der(tag: int, content: bytes) -> bytes:
    """One element."""
    size = len(content)
    if size < 0x80:
        return bytes((tag, size)) + content
    digits = size.to_bytes((size.bit_length() + 7) // 8, "big")
    return bytes((tag, 0x80 | len(digits))) + digits + content


def ber(found: Sequence[Element]) -> bytes:
    """As ``written``, with indefinite lengths wherever BER lets them be."""
    whole = b""
    for one in found:
        if not one.parts or one.tag == OCTETS:
            whole += der(one.tag, one.content)
        else:
            whole += bytes((one.tag, 0x80)) + ber(one.parts) + b"\0\0"
    return whole


def written(found: Sequence[Element], edit: Edit) -> bytes:
    """The elements again, but what ``edit`` makes of them."""
    whole = b""
    for one in found:
        other = edit(one)
        if other is None:
            other = der(one.tag, written(one.parts, edit) if one.parts else one.content)
        whole += other
    return whole


def unchanged(element: Element) -> None:
    """No edit."""


def sealed(scheme: Element, clear: bytes) -> bytes:
    """``clear`` under the password ``secret`` as the PBES2 ``scheme`` says."""
    derivation, cipher = scheme.parts[1].parts
    salt, count, *_ = derivation.parts[1].parts
    rounds = int.from_bytes(count.content, "big")
    key = PBKDF2HMAC(SHA256(), 32, salt.content, rounds).derive(b"secret")
    padder, encryptor = (
        PKCS7(128).padder(),
        Cipher(AES256(key), CBC(cipher.parts[1].content)).encryptor(),
    )
    return encryptor.update(padder.update(clear) + padder.finalize()) + encryptor.finalize()


# ---- every bit, every length -----------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.usefixtures("cheap")
@pytest.mark.parametrize("password", ["", "secret"])
def test_every_changed_byte_is_noticed(password: str) -> None:
    """No bit of it changes what is read without being told."""
    data = write_backup(BACKUP, password)
    noticed = 0
    for place in range(len(data)):
        for bit in (0, 3, 7):
            changed = bytearray(data)
            changed[place] ^= 1 << bit
            try:
                found = read_backup(bytes(changed), password)
            except InvalidArgument as told:
                assert str(told).startswith("config: ")
                noticed += 1
                continue
            assert found == BACKUP, (place, bit)
    assert noticed > 2.5 * len(data), "a few bits are of the file's form alone"


@pytest.mark.usefixtures("cheap")
@pytest.mark.parametrize("password", ["", "secret"])
def test_every_end_that_is_missing_is_noticed(password: str) -> None:
    data = write_backup(BACKUP, password)
    for size in range(len(data)):
        with pytest.raises(InvalidArgument, match="not a backup of a"):
            read_backup(data[:size], password)
    with pytest.raises(InvalidArgument, match="not a backup of a"):
        read_backup(data + b"\0", password)


# ---- counts of rounds --------------------------------------------------------------------------


@pytest.mark.usefixtures("cheap")
@pytest.mark.parametrize(("most", "taken"), [(3, True), (2, False)])
def test_the_bound_is_on_all_rounds_of_a_file_together(
    most: int, taken: bool, monkeypatch: pytest.MonkeyPatch, read: list[bytes]
) -> None:
    monkeypatch.setattr(provider_backup, "MOST_ROUNDS", most)
    data = write_backup(BACKUP, "secret")
    if taken:
        assert read_backup(data, "secret") == BACKUP
        return
    with pytest.raises(InvalidArgument, match="asks for 3 rounds of hashing"):
        read_backup(data, "secret")
    assert not read


@pytest.mark.usefixtures("cheap")
@pytest.mark.parametrize("which", [0, 1, 2])
def test_a_file_that_asks_for_endless_hashing_is_refused_before_it_is_done(
    which: int, read: list[bytes]
) -> None:
    """Wherever it asks: for its certificate, its key or the whole."""
    found = elements(write_backup(BACKUP, "secret"))
    counts = list(iterations(found))
    assert counts == [1, 1, 1]
    seen = 0

    def more(element: Element) -> bytes | None:
        nonlocal seen
        if not any(iterations((element,))) or any(iterations(element.parts)):
            return None
        seen += 1
        if seen != which + 1:
            return None
        at = next(n for n, part in enumerate(element.parts) if part.tag == INTEGER)
        asked = Element(INTEGER, b"\x7f\xff\xff\xff")
        parts = (*element.parts[:at], asked, *element.parts[at + 1 :])
        return der(element.tag, written(parts, unchanged))

    with pytest.raises(InvalidArgument, match=r"asks for 2147\d+ rounds"):
        read_backup(written(found, more), "secret")
    assert not read


@pytest.mark.usefixtures("cheap")
def test_many_small_counts_are_one_large_one(
    read: list[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(provider_backup, "MOST_ROUNDS", 40)
    data = write_backup(BACKUP, "secret")
    found = elements(data)
    info = next(provider_backup._walk_encrypted(found))

    def often(element: Element) -> bytes | None:
        safe = element.parts[0] if element.parts else None
        if (
            safe is not None
            and info in provider_backup._walk_encrypted((safe,))
            and is_list(element)
        ):
            return der(element.tag, written((safe,) * 40, unchanged))
        return None

    with pytest.raises(InvalidArgument, match="asks for 41 rounds of hashing"):
        read_backup(written(found, often), "secret")
    assert not read


def is_list(element: Element) -> bool:
    """Whether it is the AuthenticatedSafe: all its parts are sequences."""
    return {part.tag for part in element.parts} == {SEQUENCE} and len(element.parts) == 2


@pytest.mark.usefixtures("cheap")
def test_what_is_no_der_hides_no_count(read: list[bytes]) -> None:
    """Of indefinite length, within a string: readers of PKCS#12 take it, and no count was seen."""
    data = write_backup(BACKUP, "secret")
    assert written(elements(data), unchanged) == data

    def within(element: Element) -> bytes | None:
        nested = element.tag == OCTETS and element.parts
        return der(OCTETS, ber(element.parts)) if nested else None

    with pytest.raises(InvalidArgument, match="not a backup of a"):
        read_backup(written(elements(data), within), "secret")
    assert not read


@pytest.mark.usefixtures("cheap")
def test_what_is_encrypted_hides_no_count(read: list[bytes]) -> None:
    """Something that is encrypted again, within what the password opens."""
    data = write_backup(BACKUP, "secret")
    found = elements(data)
    info = next(provider_backup._walk_encrypted(found))
    kind, scheme, box = info.parts

    def hiding(clear: bytes) -> bytes:
        parts = (kind, scheme, Element(box.tag, sealed(scheme, clear)))
        inside = der(info.tag, written(parts, unchanged))
        return written(found, lambda element: inside if element == info else None)

    for clear in (data, ber(found)):
        with pytest.raises(InvalidArgument, match="not a backup of a"):
            read_backup(hiding(clear), "secret")
    assert not read
    with pytest.raises(InvalidArgument, match="not a backup of a"):  # its digest is of another file
        read_backup(hiding(der(SEQUENCE, b"")), "secret")
    assert read


@pytest.mark.usefixtures("cheap")
def test_another_way_of_hashing_is_not_ours(read: list[bytes]) -> None:
    """Such as scrypt, whose cost is in other numbers."""
    data = write_backup(BACKUP, "secret")
    pbkdf2 = bytes.fromhex("2a864886f70d01050c")
    assert pbkdf2 in data
    with pytest.raises(InvalidArgument, match="not a backup of a"):
        read_backup(data.replace(pbkdf2, pbkdf2[:-1] + b"\x7f"), "secret")
    assert not read


@pytest.mark.parametrize(
    "data", [b"\x30", b"\x30\x84\xff\xff", b"\x30\x80\x02", b"\xff" * 99, b"\x24\x00"]
)
def test_what_is_no_der_is_told(data: bytes) -> None:
    with pytest.raises(NotDer):
        elements(data)


def test_elements_nested_too_deeply_are_no_file() -> None:
    data = b""
    for _ in range(40):
        data = der(SEQUENCE, data + der(INTEGER, b"\1"))
    with pytest.raises(NotDer):
        elements(data)
