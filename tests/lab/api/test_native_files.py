"""Backups of native providers, and what is told of a wrong one."""

from __future__ import annotations

from pathlib import Path

import pytest

from lab.client import Lab
from lab.schema.commands import ProviderCreate, ProviderExport, ProviderImport
from tests.lab.api.refusals import refused


@pytest.mark.slow
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
