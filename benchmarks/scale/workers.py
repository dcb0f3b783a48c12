"""A measurement inside of the simulation, in a worker of its own."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, TypeVar

import msgspec

from lab.simulation.workers import simulations
from lab.topology.plan import Topology
from services.runtime.sim.runner import run_in_worker

T = TypeVar("T")

LIMIT_S = 1800.0  # seconds; no bar, only the end of a run that hangs


async def measure_in_worker(function: Callable[..., T], *arguments: Any) -> T:
    """What ``function`` (of ``within``) returns; a ``Topology`` is sent as msgpack."""
    sent = [msgspec.msgpack.encode(a) if isinstance(a, Topology) else a for a in arguments]

    def call() -> T:
        return run_in_worker(function, *sent, timeout_s=LIMIT_S, server=simulations())

    return await asyncio.to_thread(call)
