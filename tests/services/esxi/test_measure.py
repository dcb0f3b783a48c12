"""What a boot measures: which change shows in which PCR, and in no other."""

from __future__ import annotations

import pytest

from protocol.messages.agent import Firmware, FirmwareEvent
from protocol.tpm.event_log import body_mismatches, encode_log, parse_log, replay
from protocol.tpm.structures import EventType, PcrSelection
from services.esxi.measured_boot import measurements, sealing_selection

ALL = PcrSelection(tuple(range(24)))


def pcrs(
    firmware: Firmware | None = None,
    version: str = "8.0U3",
    build: str = "1",
    options: dict[str, str] | None = None,
) -> dict[int, bytes]:
    return replay(measurements(firmware or Firmware(), version, build, options or {}), ALL)


def changed(**what: object) -> set[int]:
    base, other = pcrs(), pcrs(**what)  # type: ignore[arg-type]
    return {pcr for pcr in ALL.pcrs if base[pcr] != other[pcr]}


def test_each_change_shows_in_its_own_pcr() -> None:
    assert changed() == set()
    assert changed(firmware=Firmware(secure_boot=False)) == {7}
    assert changed(firmware=Firmware(version="1.1")) == {0}
    assert changed(build="2") == {8}
    assert changed(version="8.0U2") == {4, 8}
    assert changed(options={"debug": "1"}) == {9}
    assert changed(options={"execInstalledOnly": "TRUE"}) == {9, 13}
    extra = FirmwareEvent(7, EventType.EFI_ACTION, b"another certificate")
    assert changed(firmware=Firmware(extra=(extra,))) == {7}


def test_the_recovery_key_is_never_measured() -> None:
    assert changed(options={"encryptionRecoveryKey": "123456"}) == set()
    log = encode_log(measurements(Firmware(), "8.0U3", "1", {"encryptionRecoveryKey": "123456"}))
    assert b"123456" not in log


def test_the_log_parses_and_its_bodies_are_what_was_measured() -> None:
    events = measurements(Firmware(), "8.0U3", "1", {"a": "b"})
    parsed = parse_log(encode_log(events))
    assert replay(parsed, ALL) == replay(events, ALL)
    assert body_mismatches(parsed) == ()


@pytest.mark.parametrize(
    ("seal", "secure_boot", "exec_only", "pcrs"),
    [
        ((7,), True, False, (7,)),
        ((7,), True, True, (7, 13)),
        ((7,), False, False, (23,)),
        ((0, 2, 4, 7), True, False, (0, 2, 4, 7)),
        ((0, 2, 4, 7), False, False, (0, 2, 4)),
        ((0,), True, False, (0, 7)),
    ],
)
def test_what_the_policy_covers(
    seal: tuple[int, ...], secure_boot: bool, exec_only: bool, pcrs: tuple[int, ...]
) -> None:
    selection = sealing_selection(
        seal, require_secure_boot=secure_boot, require_exec_installed_only=exec_only
    )
    assert selection.pcrs == pcrs
