"""A whole run of real processes: no secret anywhere it must not be; planted ones are found."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest

from chaos.checks.result import CheckOutcome
from chaos.history import verify
from lab.scan.ledger import Collector, collecting
from lab.scan.search import EXEMPT, SearchedPlace, covers, leaks, search
from services.runtime.tpm.backends import missing_for_libtpms
from tests.scan.real import Life

pytestmark = [
    pytest.mark.lab,
    pytest.mark.skipif(bool(missing_for_libtpms()), reason=f"no real TPM: {missing_for_libtpms()}"),
]
KINDS = {"bus", "disk", "database", "datastore", "log", "history", "faults", "broker", "process"}


@pytest.fixture
async def collector() -> AsyncIterator[Collector]:
    async with collecting() as made:
        yield made


@pytest.mark.slow
async def test_no_secret_is_left_anywhere(tmp_path: Path, collector: Collector) -> None:
    life = Life(tmp_path, collector)
    await life.live(whole=True)
    assert life.judged.result is CheckOutcome.PASS, life.judged.text
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


@pytest.mark.slow
async def test_a_key_planted_in_each_kind_of_place_is_found(
    tmp_path: Path, collector: Collector
) -> None:
    life = Life(tmp_path, collector, "tests.mutations.bugs:key_leaks")
    await life.live(whole=False)
    assert life.judged.result is CheckOutcome.FAIL
    [scan] = [r for r in verify(life.run.history) if r.op == "scan"]
    kinds = {found["kind"] for found in scan.data["findings"]}
    assert kinds >= {"bus", "disk", "database", "datastore", "log"}, kinds
    found, _ = life.scan()
    where = {find.kind for find in leaks(found)}
    assert where >= {"bus", "disk", "database", "datastore", "log"}, where
    assert any("-wal" in find.name for find in leaks(found) if find.kind == "database")
    # Places that this process writes itself.
    secret = next(
        raw for raw, kind in life.secrets().items() if "kms.operations.key_creation" in kind
    )
    records = [msgspec.structs.replace(r, data={"x": secret}) for r in verify(life.run.history)]
    line = SearchedPlace("history", "leak", msgspec.json.encode(records[0]))
    for place in (line, SearchedPlace("process", "cmdline", secret.hex().encode())):
        assert {f.kind for f in leaks(search(life.secrets(), [place]))} == {place.kind}
