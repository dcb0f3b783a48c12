"""A whole run of real processes: no secret anywhere it must not be; planted ones are found."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from chaos.history import verify
from lab.scan.exempt import EXEMPT, covers, leaks
from lab.scan.ledger import FOLDER
from lab.scan.search import Place, search
from services.runtime.tpm.backends import available
from tests.scan.real import Life

pytestmark = [
    pytest.mark.lab,
    pytest.mark.skipif(bool(available()), reason=f"no real TPM: {available()}"),
]
KINDS = {"bus", "disk", "database", "datastore", "log", "history", "faults", "broker", "process"}


async def test_no_secret_is_left_anywhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(FOLDER, str(tmp_path / "ledger"))
    life = Life(tmp_path, "lab.scan.planted")
    await life.live(whole=True)
    found, looked = life.scan()
    assert len(life.secrets()) > 50 and looked.keys() >= KINDS, looked
    assert leaks(found) == []
    used = {rule.why for rule in EXEMPT for find in found if covers(rule, find)}
    assert any("master key" in why for why in used) and any("identities" in why for why in used)
    assert any("-wal" in place.name for place in life.places() if place.kind == "database")
    # A core file would hold every key: no process may leave one.
    assert life.cores and set(life.cores) == {"(0, 0)"}
    for path in (life.folder / "identity" / "node").iterdir():
        assert path.stat().st_mode & 0o077 == 0, path


async def test_a_key_planted_in_each_kind_of_place_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(FOLDER, str(tmp_path / "ledger"))
    life = Life(tmp_path, "tests.scan.leaky")
    await life.live(whole=False)
    found, _ = life.scan()
    where = {find.kind for find in leaks(found)}
    assert where >= {"bus", "disk", "database", "datastore", "log"}, where
    assert any("-wal" in find.name for find in leaks(found) if find.kind == "database")
    # Places that this process writes itself.
    secret = next(raw for raw, kind in life.secrets().items() if "kms.core" in kind)
    records = [msgspec.structs.replace(r, data={"x": secret}) for r in verify(life.run.history)]
    line = Place("history", "leak", msgspec.json.encode(records[0]))
    for place in (line, Place("process", "cmdline", secret.hex().encode())):
        assert {f.kind for f in leaks(search(life.secrets(), [place]))} == {place.kind}
