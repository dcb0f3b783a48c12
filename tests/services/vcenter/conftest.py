"""A simulated lab with a vCenter for each test."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.services.vcenter.rig import Rig


@pytest.fixture
def rig() -> Iterator[Rig]:
    made = Rig()
    yield made
    made.healthy()
    made.close()
