"""Wrapped material is bound to the key that it is of: in no other row does it open."""

from __future__ import annotations

import msgspec
import pytest

from protocol.errors import CryptographicFailure
from protocol.messages.kms.keys import CreateKey
from services.kms.commit.store import find, material
from services.kms.objects.key_row import StoredKeyRow
from services.kms.sealing.vault import Vault
from tests.services.kms.ports import Server


async def two_rows(server: Server) -> tuple[Vault, StoredKeyRow, StoredKeyRow]:
    vault = server.vault
    rows = []
    for operation_id in ("1", "2"):
        created = await server.ask(CreateKey(operation_id=operation_id))
        row = find(server.platter.databases["keys"], vault, created.key_id)
        assert row is not None and material(vault, row) is not None
        rows.append(row)
    return vault, rows[0], rows[1]


async def test_the_material_of_one_key_is_not_another_keys(server: Server) -> None:
    vault, one, other = await two_rows(server)
    for row, wrapped in ((one, other.wrapped), (other, one.wrapped)):
        with pytest.raises(CryptographicFailure):
            material(vault, msgspec.structs.replace(row, wrapped=wrapped))


@pytest.mark.parametrize(
    "changed",
    [
        {"key_id": "another"},
        {"scope": "another"},
        {"algorithm": "3DES"},
        {"length": 128},
        {"usage_mask": 1},
    ],
    ids=lambda changed: next(iter(changed)),
)
async def test_facts_that_never_change_are_bound(
    server: Server, changed: dict[str, object]
) -> None:
    vault, row, _ = await two_rows(server)
    with pytest.raises(CryptographicFailure):
        material(vault, msgspec.structs.replace(row, **changed))
