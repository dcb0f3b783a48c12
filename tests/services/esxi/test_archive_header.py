"""The clear header of an archive file is not believed: whatever stands there, a boot that it
cannot serve ends at a screen of the product, and never in an error of ours."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from protocol.messages.agent import NodeRunState, TpmBackend
from protocol.terms import ProtectionMode
from services.esxi.boot import SCREEN_A, SCREEN_B, SCREEN_C
from tests.services.esxi.rig import Rig, key

FILE = "bootbank/state.tgz"
Header = dict[str, Any]
JUNK = {"private": b"junk", "public": b"junk"}

HEADERS: list[tuple[str, Header, str]] = [
    ("a PCR that no TPM has", {"pcrs": [99]}, SCREEN_B),
    ("a PCR below zero", {"pcrs": [-1]}, SCREEN_B),
    ("a PCR beyond all numbers", {"pcrs": [2**63]}, SCREEN_B),
    ("a PCR twice", {"pcrs": [7, 7]}, SCREEN_B),
    ("no PCR", {"pcrs": []}, SCREEN_B),
    ("other PCRs", {"pcrs": [0, 7]}, SCREEN_A),
    ("PCRs that are text", {"pcrs": "7"}, SCREEN_B),
    ("nothing sealed", {"sealed": None}, SCREEN_B),
    ("junk sealed", {"sealed": JUNK}, SCREEN_A),
    ("half a blob", {"sealed": {"private": b"x"}}, SCREEN_B),
    ("a mode that is none", {"mode": "BOTH"}, SCREEN_B),
    ("mode NONE without material", {"mode": "NONE"}, SCREEN_B),
    ("mode NONE with short material", {"mode": "NONE", "material": bytes(31)}, SCREEN_B),
    ("mode NONE with any material", {"mode": "NONE", "material": bytes(32)}, SCREEN_B),
    ("a policy that was not sealed", {"require_secure_boot": False}, SCREEN_B),
    ("a recovery id that is bytes", {"recovery_id": b"\xff"}, SCREEN_B),
    ("another recovery id", {"recovery_id": "{}"}, SCREEN_B),
]


def _parts(data: bytes) -> list[Any]:
    """The parts of the one piece that a file has after an orderly stop."""
    parts: list[Any] = msgspec.msgpack.decode(data[8:])
    return parts


def _file(parts: Any) -> bytes:
    content = msgspec.msgpack.encode(parts)
    length = len(content).to_bytes(4, "big")
    return length + zlib.crc32(length).to_bytes(4, "big") + content


def _changed(data: bytes, changes: Header) -> bytes:
    number, header, nonce, box = _parts(data)
    changed = msgspec.msgpack.encode(msgspec.msgpack.decode(header) | changes)
    return _file([number, changed, nonce, box])


@pytest.fixture
def sealed(rig: Rig) -> bytes:
    """The archive of a host in mode TPM with persisted keys; the host is off."""
    rig.up()
    assert rig.summary().protection_mode is ProtectionMode.TPM
    rig.esxcli("system security keypersistence enable")
    rig.make_safe()
    rig.add_keys(key("kek-1"))
    rig.power_off()
    return rig.store().on_disk.read(FILE)


def _screen(rig: Rig, data: bytes, **options: str) -> str:
    rig.store().on_disk.write(FILE, data)
    status = rig.power_on(**options)
    assert status.state is NodeRunState.HALTED, status.screen
    rig.power_off()
    return status.screen


def test_a_header_that_makes_no_sense_is_a_screen(rig: Rig, sealed: bytes) -> None:
    found = {name: _screen(rig, _changed(sealed, changes)) for name, changes, _ in HEADERS}
    assert found == {name: screen for name, _, screen in HEADERS}
    rig.store().on_disk.write(FILE, sealed)
    assert rig.power_on().state is NodeRunState.RUNNING
    assert rig.summary().stored_keys == 2


@pytest.mark.parametrize("wrapped", [b"", b"short", bytes(60)])
def test_a_wrapped_key_that_makes_no_sense_is_a_screen(
    rig: Rig, sealed: bytes, wrapped: bytes
) -> None:
    data = _changed(sealed, {"recovery_wrapped": wrapped})
    digits = "-".join(["123456"] * 16)
    screen = _screen(rig, data, encryptionRecoveryKey=digits)
    assert screen == (SCREEN_B if wrapped else SCREEN_C)


@pytest.mark.parametrize(
    "file",
    [
        lambda parts: [3, *parts[1:]],
        lambda parts: parts[:3],
        lambda parts: [*parts[:2], b"", parts[3]],
        lambda parts: [*parts[:3], b""],
        lambda parts: [parts[0], b"\x93" * 3000, *parts[2:]],
        lambda parts: {"format": 1},
    ],
)
def test_a_file_of_another_form_is_a_screen(
    rig: Rig, sealed: bytes, file: Callable[[list[Any]], Any]
) -> None:
    assert _screen(rig, _file(file(_parts(sealed)))) == SCREEN_B


@pytest.mark.parametrize("tpm", [TpmBackend.MODEL, TpmBackend.NONE])
def test_any_flipped_byte_is_a_screen(rig: Rig, tpm: TpmBackend) -> None:
    rig.up(tpm=tpm)
    rig.power_off()
    good = rig.store().on_disk.read(FILE)
    for at in range(0, len(good), 7):
        bad = good[:at] + bytes([good[at] ^ 0x41]) + good[at + 1 :]
        assert _screen(rig, bad) in (SCREEN_A, SCREEN_B)
