"""Private copies of libtpms, and what crosses between the TSS and a copy."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from protocol.messages.agent import TpmBackend
from protocol.tpm.quote import policy_pcr_digest
from protocol.tpm.structures import PCR_SECURE_BOOT, EventType, MeasuredEvent
from services.runtime.tpm import library
from services.runtime.tpm.backends import missing_for_libtpms, open_device, probe_libtpms
from services.runtime.tpm.device import MemoryNv, TpmDevice
from services.runtime.tpm.library import Engine, LibraryMissing, library_path

try:
    _ABSENT = ""
    library_path()
except LibraryMissing as error:
    _ABSENT = str(error)

pytestmark = [pytest.mark.tpm, pytest.mark.skipif(_ABSENT != "", reason=_ABSENT or "-")]

SECRET = b"0123456789abcdefghijklmnopqrstuv"


def _mapped() -> int:
    return Path("/proc/self/maps").read_text().count("keystead-tpm-")


def test_available_and_probe() -> None:
    assert missing_for_libtpms() == ""
    first, second = probe_libtpms(), probe_libtpms()
    assert len(first) == len(second) == 16
    assert first != second


def test_copies_are_private_and_leave_nothing_behind() -> None:
    mapped = _mapped()
    descriptors = len(os.listdir("/proc/self/fd"))
    devices = [open_device(TpmBackend.LIBTPMS, MemoryNv()) for _ in range(12)]
    assert len({device.ek_digest() for device in devices}) == 12
    for device in devices:
        device.power_on()
    devices[3].extend_log([MeasuredEvent(7, EventType.EFI_ACTION, b"only here")])
    values = [device.pcrs(PCR_SECURE_BOOT)[7] for device in devices]
    assert values.count(bytes(32)) == 11
    assert _mapped() > mapped
    for device in devices:
        device.close()
    assert _mapped() == mapped
    assert len(os.listdir("/proc/self/fd")) == descriptors


def test_guard_refuses_a_shared_copy(monkeypatch: pytest.MonkeyPatch) -> None:
    first = Engine(lambda: b"", lambda state: None)
    monkeypatch.setattr(library, "_private_copy", lambda: first._library)
    with pytest.raises(RuntimeError, match="same copy"):
        Engine(lambda: b"", lambda state: None)
    monkeypatch.undo()
    first.close()


def test_missing_library_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(library, "_source", [])
    monkeypatch.setattr(library, "_FOLDERS", (str(tmp_path),))
    monkeypatch.delenv("LD_LIBRARY_PATH", raising=False)
    assert "not installed" in missing_for_libtpms()
    with pytest.raises(LibraryMissing):
        open_device(TpmBackend.LIBTPMS, MemoryNv())
    with pytest.raises(LibraryMissing):
        probe_libtpms()


def test_command_bytes_stay_as_they_were() -> None:
    """The engine decrypts in place; our immutable bytes must not be that place."""
    device = open_device(TpmBackend.LIBTPMS, MemoryNv())
    device.power_on()
    device.ensure_srk()
    engine = device._engine  # type: ignore[attr-defined]
    process, kept = engine.process, []

    def noted(command: bytes) -> bytes:
        before = bytearray(command)
        response: bytes = process(command)
        kept.append(before == command)
        return response

    engine.process = noted
    device.power_off(orderly=True)
    device.power_on()
    device.seal(SECRET, bytes(32))
    assert len(kept) > 3
    assert all(kept)
    device.close()


def _tapped(device: TpmDevice, monkeypatch: pytest.MonkeyPatch) -> list[bytes]:
    """Every command and response between the TSS and the engine, from the next power-on."""
    engine = device._engine  # type: ignore[attr-defined]  # the bus of the real backend
    process: Callable[[bytes], bytes] = engine.process
    tap: list[bytes] = []

    def tapped(command: bytes) -> bytes:
        response = process(command)
        tap.extend((command, response))
        return response

    monkeypatch.setattr(engine, "process", tapped)
    return tap


def test_secret_never_crosses_the_bus_in_clear(monkeypatch: pytest.MonkeyPatch) -> None:
    device = open_device(TpmBackend.LIBTPMS, MemoryNv())
    tap = _tapped(device, monkeypatch)
    device.power_on()
    device.ensure_srk()
    policy = policy_pcr_digest(PCR_SECURE_BOOT, device.pcrs(PCR_SECURE_BOOT))
    blob = device.seal(SECRET, policy)
    assert device.unseal(blob, PCR_SECURE_BOOT) == SECRET
    assert len(tap) > 20
    assert not any(SECRET[:8] in message or SECRET[-8:] in message for message in tap)
    device.nv_write(0x01800001, SECRET)  # the tap does see what is not encrypted
    assert any(SECRET in message for message in tap)
    device.close()


def test_only_the_sha256_bank_is_active(monkeypatch: pytest.MonkeyPatch) -> None:
    """An untouched bank could be filled by anybody with the values of a good boot."""
    device = open_device(TpmBackend.LIBTPMS, MemoryNv())
    device.power_on()
    esys = device._context.esys  # type: ignore[attr-defined]
    for bank in ("sha1", "sha384", "sha512"):
        _, _, digests = esys.pcr_read(f"{bank}:7")
        assert len(digests) == 0
    _, _, digests = esys.pcr_read("sha256:7")
    assert len(digests) == 1
    device.close()


def test_two_tpms_work_in_two_threads_at_once() -> None:
    devices = [open_device(TpmBackend.LIBTPMS, MemoryNv()) for _ in range(2)]
    opened: dict[int, list[bytes]] = {0: [], 1: []}

    def work(number: int) -> None:
        device = devices[number]
        device.power_on()
        device.ensure_srk()
        policy = policy_pcr_digest(PCR_SECURE_BOOT, device.pcrs(PCR_SECURE_BOOT))
        blob = device.seal(bytes([number]) * 32, policy)
        for _ in range(20):
            opened[number].append(device.unseal(blob, PCR_SECURE_BOOT))

    threads = [threading.Thread(target=work, args=(number,)) for number in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert opened == {0: [bytes(32)] * 20, 1: [b"\x01" * 32] * 20}
    for device in devices:
        device.close()


def test_forked_child_has_a_tpm_of_its_own() -> None:
    """The simulation forks with TPMs open: the child's goes its own way, the parent's stays."""
    device = open_device(TpmBackend.LIBTPMS, MemoryNv())
    device.power_on()
    device.ensure_srk()
    policy = policy_pcr_digest(PCR_SECURE_BOOT, device.pcrs(PCR_SECURE_BOOT))
    blob = device.seal(SECRET, policy)
    child = os.fork()
    if child == 0:
        try:
            same = device.unseal(blob, PCR_SECURE_BOOT) == SECRET
            device.clear()
            os._exit(0 if same else 1)
        finally:
            os._exit(2)
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 0
    assert device.unseal(blob, PCR_SECURE_BOOT) == SECRET
    device.close()
