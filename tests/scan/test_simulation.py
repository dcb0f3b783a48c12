"""A whole run in virtual time: no secret anywhere it must not be; planted ones are found."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from lab.scan.search import EXEMPT, covers, leaks
from services.runtime.forking.blocking import ForkServer
from services.runtime.sim.runner import run_in_worker
from tests.scan.virtual import life

pytestmark = pytest.mark.sim
KINDS = {"bus", "disk", "database", "datastore", "log", "history", "faults"}


@pytest.fixture(scope="module")
def workers() -> Iterator[ForkServer]:
    made = ForkServer(("tests.scan.virtual",))
    yield made
    made.close()


@pytest.mark.slow
@pytest.mark.parametrize("tpm", ["model", "none"])
def test_no_secret_is_left_anywhere(workers: ForkServer, tpm: str) -> None:
    found, looked, secrets = run_in_worker(life, tpm, False, server=workers)
    assert secrets > 40 and looked.keys() >= KINDS
    assert all(size > 1000 for size in looked.values()), looked
    assert leaks(found) == []
    # What is allowed is really there: an exemption that covers nothing is a hole for later.
    used = {rule.name for rule in EXEMPT for find in found if covers(rule, find)}
    assert r"(kms[^/]*|k\d)/.*master\.key(\.new)?" in used
    assert (r".*/bootbank/state\.tgz(\.new)?" in used) is (tpm == "none")


@pytest.mark.slow
def test_no_wrapping_key_and_no_key_under_it_is_left_anywhere(workers: ForkServer) -> None:
    found, looked, secrets = run_in_worker(life, "model", False, "wrappedKey", server=workers)
    assert secrets > 40 and looked.keys() >= KINDS
    assert leaks(found) == []
    found, _, _ = run_in_worker(life, "model", True, "wrappedKey", server=workers)
    wrapping = {find.form for find in leaks(found) if "kms.operations.key_creation" in find.secret}
    assert {"hex", "repr"} <= wrapping


@pytest.mark.slow
def test_a_key_planted_in_each_kind_of_place_is_found(workers: ForkServer) -> None:
    found, _, _ = run_in_worker(life, "model", True, server=workers)
    where = {find.kind for find in leaks(found)}
    assert where >= KINDS - {"faults"}
    assert {"raw", "backwards", "hex", "base64", "repr"} <= {find.form for find in leaks(found)}
