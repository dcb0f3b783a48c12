"""Durable before acknowledged, broken for the test of these rounds: vCenter answers that a key was
generated, and its disk never hears of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from services.vcenter import inventory
from services.vcenter.tables import DatabaseTable
from tests.mutations.bugs.planting import plant


def _all_but_keys(write: Callable[..., Any]) -> Callable[..., Any]:
    def written(connection: Any, table: DatabaseTable, name: str, row: Any) -> Any:
        if table is DatabaseTable.CRYPTO_KEY:
            return table, name, row
        return write(connection, table, name, row)

    return written


plant(inventory, "_write", _all_but_keys)
