"""What labels of disks say against the configuration of their host (VSAN-14). Pure."""

from __future__ import annotations

from collections.abc import Iterable
from typing import cast

import pytest

from protocol.terms import CryptoKeyId, KeyId, ProviderId
from protocol.vsan import VsanEncryption, VsanEncryptionIssue
from services.esxi.vsan.disk_groups import DiskGroup, DiskGroups, Label
from services.esxi.vsan.handlers import find_disk_issues

PROVIDER = ProviderId("kms-provider")
KEK, OTHER = CryptoKeyId(KeyId("kek"), PROVIDER), CryptoKeyId(KeyId("other"), PROVIDER)
ON = VsanEncryption(encryption_enabled=True, kek_id=KEK, dek_generation_id=2)


def _disks(*labels: Label) -> DiskGroups:
    group = DiskGroup("group-1", labels={label.disk: label for label in labels})
    return cast(DiskGroups, cast(Iterable[DiskGroup], [group]))


def _label(disk: str, kek: CryptoKeyId | None = KEK, generation: int = 2) -> Label:
    return Label(group="group-1", disk=disk, kek=kek, dek_generation=generation)


@pytest.mark.parametrize(
    ("second", "encrypted", "issues"),
    [
        (_label("disk-2"), True, []),
        (_label("disk-2", OTHER), True, [VsanEncryptionIssue.KEK]),
        (_label("disk-2", generation=1), True, [VsanEncryptionIssue.DEK]),
        (_label("disk-2", None, 0), True, [VsanEncryptionIssue.DISABLED_WHEN_CLUSTER_ENABLED]),
        (_label("disk-2", None, 0), False, [VsanEncryptionIssue.ENABLED_WHEN_CLUSTER_DISABLED]),
    ],
)
def test_one_disk_that_is_not_as_the_other(
    second: Label, encrypted: bool, issues: list[VsanEncryptionIssue]
) -> None:
    now = ON if encrypted else VsanEncryption()
    assert find_disk_issues(_disks(_label("disk-1"), second), now) == issues
