"""Processes of a lab whose event loop stands still are told of, and named."""

from __future__ import annotations

import asyncio

import pytest

from lab.client import Lab
from lab.schema.answers import LoopStood
from lab.schema.commands import FaultInject, GetNodes, GetStatus
from tests.lab.processes.blocking_agent import BLOCKS_S

pytestmark = pytest.mark.lab


@pytest.mark.slow
async def test_an_agent_that_stood_still_is_named_in_the_status() -> None:
    patch = "tests.lab.processes.blocking_agent"
    async with Lab("lab", hosts=1, vms=0, tpm="none", pace=100, patch=patch) as lab:
        before = {one.process for one in (await lab.do(GetStatus())).stood}
        assert "kms" not in before
        await lab.do(FaultInject("clock.skew", {"on": "kms", "ahead": "5s"}))
        stood: dict[str, LoopStood] = {}
        async with asyncio.timeout(10):
            while "kms" not in stood:  # the watchdog looks every half second
                stood = {one.process: one for one in (await lab.do(GetStatus())).stood}
        assert stood["kms"].times >= 1 and stood["kms"].longest_s >= BLOCKS_S
        (kms,) = [node for node in (await lab.do(GetNodes())).items if node.node == "kms"]
        assert kms.counters["loop_stood"] == stood["kms"].times
