"""A replacement of a disk that the device refuses: what lies there then decides."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from protocol.errors import DatastoreFault
from protocol.secret import KeyMaterial
from protocol.terms import CryptoKeyId, KeyId, ProviderId
from services.esxi.vsan import disk_groups
from services.esxi.vsan.disk_groups import DiskGroups, DiskImage, Label

KEK = CryptoKeyId(KeyId("kek"), ProviderId("kms-provider"))
OLD = Label(group="group-1", disk="disk-1", kek=KEK, dek_generation=1)
NEW = msgspec.structs.replace(OLD, dek_generation=2)
OTHER = msgspec.structs.replace(OLD, dek_generation=3)
PATH = "vsan/group-1.disk-1"
BEFORE, COMING = KeyMaterial(bytes(32)), KeyMaterial(bytes([1] * 32))


class Drive:
    """Files by their path; ``lies`` is what a refused replacement leaves, None what was there."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.refuses = self.reads = False
        self.lies: bytes | None = None

    async def replace(self, disk: Any, path: str, data: bytes, **how: Any) -> None:
        self.files[path] = self.files.get(path, b"") if self.refuses else data
        if self.refuses:
            self.files[path] = self.files[path] if self.lies is None else self.lies
            raise OSError(28, "No space left on device")

    async def read(self, path: str) -> bytes:
        if self.refuses and not self.reads:
            raise OSError(5, "Input/output error")
        return self.files[path]


@pytest.mark.parametrize(
    ("reads", "lies", "label", "dek", "why"),
    [
        (True, DiskImage(NEW).pack(), NEW, COMING, ""),  # made all the same
        (True, None, OLD, BEFORE, ""),
        (True, b"damaged", OLD, None, "disk disk-1 is not as it was mounted"),
        (True, DiskImage(OTHER).pack(), OLD, None, "disk disk-1 is not as it was mounted"),
        (False, None, OLD, None, "disk disk-1 of group-1 cannot be read: Input/output error"),
    ],
)
async def test_what_lies_there_after_a_refused_replacement(
    monkeypatch: pytest.MonkeyPatch,
    reads: bool,
    lies: bytes | None,
    label: Label,
    dek: KeyMaterial | None,
    why: str,
) -> None:
    drive: Any = Drive()
    monkeypatch.setattr(disk_groups, "replace_durably", drive.replace)
    disks = DiskGroups()
    await disks.write(drive, DiskImage(OLD), BEFORE, is_new=True)
    [group] = disks
    group.mounted = True
    drive.refuses, drive.reads, drive.lies = True, reads, lies
    with pytest.raises(DatastoreFault, match="No space left"):
        await disks.write(drive, DiskImage(NEW), COMING)
    assert group.labels == {"disk-1": label}
    assert group.deks == ({} if dek is None else {"disk-1": dek})
    assert group.mounted is not bool(why) and (group.mounted or group.why == why)
    assert not group.coming


@pytest.mark.parametrize("lies", [DiskImage(NEW).pack(), b"damaged"])
async def test_a_new_disk_that_is_refused_is_there_if_it_was_made(
    monkeypatch: pytest.MonkeyPatch, lies: bytes
) -> None:
    drive: Any = Drive()
    monkeypatch.setattr(disk_groups, "replace_durably", drive.replace)
    drive.refuses, drive.reads, drive.lies = True, True, lies
    disks = DiskGroups()
    with pytest.raises(DatastoreFault):
        await disks.write(drive, DiskImage(NEW), COMING, is_new=True)
    found = [label for group in disks for label in group.labels.values()]
    assert found == ([NEW] if lies != b"damaged" else [])
