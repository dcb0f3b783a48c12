"""Replication broken: a server that finds itself put back tells what it has, and does not ask for
what it has lost; and nobody sees that two servers differ."""

from __future__ import annotations

from typing import Any

from services.kms import contents, oplog
from tests.mutations.bugs.planting import plant


def _silent(original: Any) -> Any:
    def begin_epoch(connection: Any, *rest: Any) -> None:
        original(connection, *rest)
        connection.execute("UPDATE peers SET everything = 0")

    return begin_epoch


def _blind(original: Any) -> Any:
    return lambda connection, vault: b""


plant(oplog, "begin_epoch", _silent)
plant(contents, "total", _blind)
