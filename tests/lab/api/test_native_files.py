"""Files of backups that a machine has no room for."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Any, cast

import pytest

from lab.api import native
from lab.api.commands import ProviderCreate, ProviderExport, ProviderImport
from lab.api.session import Session
from lab.client import Lab
from lab.errors import KeysteadError
from tests.lab.api.refusals import refused


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


@pytest.mark.sim
async def test_what_is_wrong_with_an_argument_is_told_with_what_helps(
    lab: Lab, tmp_path: Path
) -> None:
    told = await refused(lab, ProviderCreate("nkp", key_id="7"))
    assert (told.id, told.fix.startswith("give --key-id a UUID")) == ("KS-USE-003", True)
    file, word = tmp_path / "nkp.p12", tmp_path / "word"
    word.write_text("secret\n")
    await lab.do(ProviderCreate("nkp"))
    await lab.do(ProviderExport("nkp", str(file), str(word)))
    told = await refused(lab, ProviderImport(str(file), "", dry_run=True))
    assert told.id == "KS-USE-003" and "with no password" in told.fix
