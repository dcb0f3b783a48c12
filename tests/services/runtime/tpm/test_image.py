"""Where a TPM's state is kept: what is damaged there fails as a TPM fails, and is no new one."""

from __future__ import annotations

from pathlib import Path

import pytest

from protocol.messages.agent import TpmBackend
from protocol.tpm.errors import TpmError, TpmErrorKind
from protocol.tpm.structures import PCR_SECURE_BOOT
from services.runtime.real.state_files import FileNv
from services.runtime.tpm.backends import open_device
from services.runtime.tpm.device import ForeignImage, MemoryNv, TpmDevice
from tests.services.runtime.tpm.boots import SECRET, Maker, boot, booted, refused


def test_state_outlives_the_process_in_a_file(make: Maker, tmp_path: Path) -> None:
    nv = FileNv(tmp_path / "tpm" / "esxi-001.nv")
    first = make(nv)
    blob = booted(first)
    digest = first.ek_digest()
    first.close()
    second = make(nv)
    assert second.ek_digest() == digest
    boot(second)
    assert second.unseal(blob, PCR_SECURE_BOOT) == SECRET
    assert (tmp_path / "tpm" / "esxi-001.nv").stat().st_mode & 0o777 == 0o600
    assert [path.name for path in (tmp_path / "tpm").iterdir()] == ["esxi-001.nv"]


def _flipped(image: bytes, at: int) -> bytes:
    damaged = bytearray(image)
    damaged[at] ^= 0x10
    return bytes(damaged)


@pytest.mark.slow
@pytest.mark.parametrize("at", [0, 6, 7, 39, 71, 80, -1])
def test_a_flipped_bit_of_the_file_is_failure_mode(make: Maker, tmp_path: Path, at: int) -> None:
    path = tmp_path / "esxi-001.nv"
    first = make(FileNv(path))
    booted(first)
    first.close()
    path.write_bytes(_flipped(path.read_bytes(), at))
    _fails_until_it_is_swapped(make(FileNv(path, made=True)))


@pytest.mark.slow
@pytest.mark.parametrize("size", [None, 0, 6, 70, 71, 100])
def test_a_file_that_is_cut_or_gone_is_failure_mode_and_no_new_tpm(
    make: Maker, tmp_path: Path, size: int | None
) -> None:
    path = tmp_path / "esxi-001.nv"
    first = make(FileNv(path))
    booted(first)
    first.close()
    image = path.read_bytes()
    path.unlink() if size is None else path.write_bytes(image[:size])
    _fails_until_it_is_swapped(make(FileNv(path, made=True)))


def _fails_until_it_is_swapped(tpm: TpmDevice) -> None:
    with pytest.raises(TpmError) as caught:
        tpm.power_on()
    assert (caught.value.rc, caught.value.__notes__) == (
        0x101,
        ["its NV is damaged or gone; only another TPM helps"],
    )
    tpm.cut_power()
    damaged = tpm.snapshot()
    tpm.restore(damaged)  # a copy of damage is damage
    assert refused(tpm.power_on)[0] == 0x101
    tpm.swap()
    boot(tpm)
    assert not tpm.info().failed


def test_a_tpm_is_stored_when_it_is_finished_or_made_anew(make: Maker) -> None:
    class Killed(Exception):
        pass

    class Short(MemoryNv):
        stores = 0

        def store(self, image: bytes) -> None:
            self.stores += 1
            if self.stores == 1:
                raise Killed
            super().store(image)

    nv = Short()
    with pytest.raises(Killed):
        make(nv)
    assert not nv.load()
    tpm = make(nv)
    assert nv.stores == 2  # each store is a file that is written and synced
    boot(tpm)
    assert tpm.info().reset_count == 3 and tpm.ek_digest() != "00" * 32


def test_store_that_cannot_write_makes_the_tpm_fail(make: Maker) -> None:
    class Full(MemoryNv):
        full = False

        def store(self, image: bytes) -> None:
            if self.full:
                raise OSError(28, "No space left on device")
            super().store(image)

    nv = Full()
    tpm = make(nv)
    tpm.power_on()
    nv.full = True
    with pytest.raises(TpmError) as caught:
        tpm.ensure_srk()
    assert caught.value.kind is TpmErrorKind.FAILURE
    assert "No space left" in "".join(caught.value.__notes__)


def test_image_of_another_backend_is_refused(tpm: TpmDevice, backend: TpmBackend) -> None:
    other = TpmBackend.MODEL if backend is TpmBackend.LIBTPMS else TpmBackend.LIBTPMS
    with pytest.raises(ForeignImage):
        open_device(other, MemoryNv(tpm.snapshot()))
    for image in (b"", b"junk", bytes(100)):
        with pytest.raises(ForeignImage):
            tpm.restore(image)
