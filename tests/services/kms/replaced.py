"""A key server whose database file is another one when it starts."""

from __future__ import annotations

import pytest

from services.runtime.service import Halted
from tests.services.kms.memory import in_memory
from tests.services.kms.ports import Server


def put_back(server: Server, image: bytes | None) -> None:
    """What somebody does who replaces the database file, or removes it."""
    connection = in_memory()
    if image:
        connection.deserialize(image)
    server.platter.databases["keys"].close()
    server.platter.databases["keys"] = connection


async def screen(server: Server) -> str:
    """What a start that halts shows."""
    with pytest.raises(Halted) as halted:
        await server.boot()
    return halted.value.screen
