"""The lab that most commands are tried on."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from lab.client import Lab


@pytest.fixture
async def lab() -> AsyncIterator[Lab]:
    """Two hosts and two encrypted VMs in the simulation."""
    async with Lab(
        mode="sim", seed=3, hosts=2, vms=2, knobs={"remediation_interval_s": 60}
    ) as made:
        yield made
