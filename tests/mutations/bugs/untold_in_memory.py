"""Replication broken: what the other servers were not told is known in memory only, so a server
that begins anew tells nothing of it."""

from __future__ import annotations

from typing import Any

from services.kms import oplog
from tests.mutations.bugs.planting import plant


def _forgets(original: Any) -> Any:
    def begin(connection: Any, me: Any, *rest: Any, **more: Any) -> None:
        original(connection, me, *rest, **more)
        connection.execute("DELETE FROM oplog WHERE node = ?", (me,))

    return begin


plant(oplog, "begin", _forgets)
