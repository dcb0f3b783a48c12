"""A key server without connections, as tests of its service have one."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.services.kms.ports import Server, booted


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    """A fresh one that serves."""
    async for made in booted():
        yield made
