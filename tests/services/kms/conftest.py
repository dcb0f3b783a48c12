"""A key server over fresh ports for each test."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.services.kms.ports import Server, booted


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    async for made in booted():
        yield made
