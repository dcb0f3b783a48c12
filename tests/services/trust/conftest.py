"""A Trust Authority for each test."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.services.trust.rig import TrustRig


@pytest.fixture
def rig() -> Iterator[TrustRig]:
    made = TrustRig()
    yield made
    made.close()
    assert not made.loop.escapes, made.loop.escapes
    assert not made.loop.unhandled, made.loop.unhandled
