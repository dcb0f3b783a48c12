"""A simulated lab of hosts for each test."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.services.esxi.rig import Rig


@pytest.fixture
def rig() -> Iterator[Rig]:
    made = Rig()
    made.generations = {}
    yield made
    made.close()
    assert not made.loop.escapes, made.loop.escapes
    assert not made.loop.unhandled, made.loop.unhandled
