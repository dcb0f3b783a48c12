"""Files of backups that a machine has no room for."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Any, cast

import pytest

from lab.api import native
from lab.api.commands import ProviderExport
from lab.api.session import Session
from lab.errors import KeysteadError


async def test_vcenter_is_not_asked_for_a_backup_that_has_no_room(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A download counts as a backup, so its file must have its place before."""

    def full(*_: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full)
    file = tmp_path / "nkp.p12"
    with pytest.raises(KeysteadError, match="No space left") as told:
        await native.export(cast(Session, object()), ProviderExport("nkp", str(file)))
    assert told.value.id == "KS-USE-003"
    assert not file.exists()
