"""Key material is shown, written and compared by nobody who does not ask for the bytes."""

from __future__ import annotations

import copy
import json
import pickle
import traceback

import msgspec
import pytest

from protocol.messages.base import Sealed
from protocol.messages.host.crypto import AddKeys
from protocol.secret import KeyMaterial

RAW = bytes(range(1, 33))
KEY = KeyMaterial(RAW)


def shown(text: str) -> bool:
    """Whether the key can be read from ``text``."""
    return any(form in text for form in (RAW.hex(), repr(RAW)[2:-1], repr(RAW[:8])[2:-1]))


def test_no_text_of_it_has_its_bytes() -> None:
    holders = (KEY, [KEY], {"key": KEY}, Sealed.of(KEY), AddKeys(keys=(), material=Sealed.of(KEY)))
    for holder in holders:
        for text in (repr(holder), str(holder), f"{holder}", f"{holder!r}"):
            assert not shown(text), text
    try:
        raise ValueError(KEY)
    except ValueError as error:
        assert not shown("".join(traceback.format_exception(error)))


def test_nothing_writes_it() -> None:
    with pytest.raises(TypeError):
        pickle.dumps(KEY)
    with pytest.raises(TypeError):
        copy.copy(KEY)
    with pytest.raises(TypeError):
        json.dumps(KEY)
    for encode in (msgspec.json.encode, msgspec.msgpack.encode):
        with pytest.raises(TypeError):
            encode(KEY)


def test_it_decides_no_order_and_no_place() -> None:
    with pytest.raises(TypeError):
        hash(KEY)
    assert KEY == KeyMaterial(RAW) and KEY != KeyMaterial(RAW[::-1]) and KEY != RAW
    assert len(KEY) == 32 and KEY.reveal() == RAW


def test_a_fingerprint_tells_the_same_key_and_nothing_of_it() -> None:
    assert KEY.fingerprint(b"s") == KeyMaterial(RAW).fingerprint(b"s")
    assert KEY.fingerprint(b"s") != KEY.fingerprint(b"t")
    assert len(KEY.fingerprint(b"s")) == 12
