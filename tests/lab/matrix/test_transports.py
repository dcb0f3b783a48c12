"""The table with every key server behind KMIP: same letters, and the same causes are noticed."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from chaos.matrix.compare import CellRow
from chaos.matrix.grid import Staging
from chaos.matrix.terms import Boot
from chaos.oracle.terms import Block, TableEvent, TableFault
from lab.local.matrix import matrix, outside, story
from lab.matrix.bench import topology_of
from protocol.messages.agent import TpmBackend
from protocol.terms import Role
from services.kms.settings.config import KmsTransport

pytestmark = pytest.mark.sim


@pytest.fixture(autouse=True)
def _home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KEYSTEAD_STATE_HOME", str(tmp_path))


def unheard(text: str, step: int, total: int) -> None:
    """Nobody listens."""


BY_KMIP = KmsTransport.KMIP


def played(
    block: str,
    fault: str,
    *events: str,
    transport: KmsTransport = KmsTransport.KMIP,
    **knobs: object,
) -> tuple[CellRow, ...]:
    answer = matrix(
        (block,),
        (fault,),
        events,
        mode="sim",
        tpm=None,
        seed=1,
        jobs=2,
        isolate=False,
        variants=False,
        report=unheard,
        knobs=knobs,
        transport=transport,
    )
    assert answer.transport == transport
    return answer.items


def seen(row: CellRow) -> dict[int, str]:
    return {witness.reason: witness.seen for witness in row.witness}


@pytest.mark.parametrize("block", [Block.S11, Block.N0X, Block.T10])
def test_every_key_server_of_a_staging_is_behind_the_transport(block: Block) -> None:
    staging = Staging(block=block, fault=TableFault.F1, boot=Boot.ORDERLY, events=(TableEvent.E1,))
    for transport in KmsTransport:
        made = topology_of(staging, TpmBackend.MODEL, transport=transport)
        servers = [spec for spec in made.nodes if spec.role is Role.KMS]
        assert servers and {spec.config.get("transport", "bus") for spec in servers} == {
            transport.value
        }


@pytest.mark.slow
def test_a_fetch_by_kmip_is_witnessed_by_the_key_servers() -> None:
    rows = played("S00", "F0", "E2", "E4", "E6")
    assert [(row.verdict, row.observed) for row in rows] == [
        ("agree", "SAFE"),
        ("agree", "OK"),
        ("agree", "OK"),
    ]
    told = [text for row in rows for reason, text in seen(row).items() if reason in (3, 4)]
    assert len(told) >= 3 and all("keys were fetched by vCenter" in text for text in told)


@pytest.mark.slow
def test_a_key_that_is_gone_at_its_servers_is_witnessed_by_them() -> None:
    [row] = played("S00", "F8", "E6")
    assert (row.verdict, row.observed) == ("agree", "LK")
    assert "has none that may be used" in next(iter(seen(row).values()))


@pytest.mark.slow
def test_a_provider_that_was_deleted_and_comes_back_is_trusted_again() -> None:
    rows = played("S00", "F7", "E4", "E9")
    assert [(row.verdict, row.observed) for row in rows] == [("agree", "LK"), ("agree", "NO")]


@pytest.mark.slow
def test_a_vcenter_that_keeps_keys_is_found_out_at_either_transport() -> None:
    """Letters are right, and the cause is another one: nobody has asked a key server."""
    found = []
    for transport in KmsTransport:
        [row] = played("S00", "F0", "E4", transport=transport, vc_key_cache_s=3600)
        assert (row.verdict, row.observed) == ("disagree", row.expected)
        found.append(row.why.partition(": ")[2].partition(" ")[2])
    assert found == ["was pushed, and no key server was asked for it"] * 2


@pytest.mark.slow
def test_a_row_outside_of_the_grid_is_played_at_that_transport() -> None:
    answer = outside(
        ("X17",), mode="sim", tpm=None, seed=1, jobs=2, report=unheard, transport=KmsTransport.KMIP
    )
    assert (answer.transport, answer.exit_code) == ("kmip", 0)


@pytest.mark.slow
def test_a_story_is_of_the_usual_door_unless_its_run_is_named() -> None:
    played("S00", "F0", "E3")
    again = story("S00", "F0", "E3", run="", report=unheard)
    assert {one.run for one in again.cell.evidence} == {"matrix-sim-1-2"}
    named = story("S00", "F0", "E3", run="matrix-sim-1", report=unheard)
    assert {one.run for one in named.cell.evidence} == {"matrix-sim-1"}
    assert msgspec.structs.replace(named.cell, evidence=()) == msgspec.structs.replace(
        again.cell, evidence=()
    )
