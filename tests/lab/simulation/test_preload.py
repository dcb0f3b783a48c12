"""A run of the simulation finds every message worked out already."""

from __future__ import annotations

from lab.simulation.workers import simulations
from protocol import codec
from protocol.messages import base
from services.runtime.sim import trace
from services.runtime.sim.runner import run_in_worker


def not_known() -> tuple[set[str], int, int]:
    """Messages of which a fork server's child knows no decoder; of how many it does not know their
    fields with keys, or whether they have bytes."""
    every = base.registry()
    return (
        {name for name, message in every.items() if message not in codec._decoders},
        len(every) - base.fields_with_keys.cache_info().currsize,
        len(every) - trace.has_no_bytes.cache_info().currsize,
    )


def test_no_run_works_out_what_a_message_is() -> None:
    assert run_in_worker(not_known, server=simulations()) == (set(), 0, 0)
