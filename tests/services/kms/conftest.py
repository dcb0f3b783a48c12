"""A key server over fresh ports for each test."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.services.kms.lazy_rig import held
from tests.services.kms.ports import Server, booted


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    async for made in booted():
        yield made


@pytest.fixture
async def lazy() -> AsyncIterator[Server]:
    """A server whose audit is ``buffered``, and where no time passes by itself."""
    async for made in held():
        yield made
