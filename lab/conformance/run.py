"""Assertions played one after another, each in labs of its own."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Sequence

import msgspec

from lab.building.course import Report
from lab.conformance.assertions import Assertion
from lab.conformance.bench import Bench, Violated
from lab.schema.answers.conformance import Asserted, AssertionStanding
from lab.schema.errors import KeysteadError
from protocol.errors import ProductError


def play_assertions(
    wanted: Sequence[Assertion], bench: Bench, report: Report
) -> tuple[Asserted, ...]:
    """All of them, in their order; blocks."""
    made = []
    for step, one in enumerate(wanted):
        report(f"{one.id} {one.title}", step, len(wanted))
        made.append(_play_assertion(one, _reporting(bench, one, report)))
    return tuple(made)


def _reporting(bench: Bench, one: Assertion, report: Report) -> Bench:
    """What a long play tells of itself is told under its assertion."""

    return msgspec.structs.replace(
        bench, report=lambda text, step, total: report(f"{one.id} {text}", step, total)
    )


def _play_assertion(one: Assertion, bench: Bench) -> Asserted:
    if bench.mode == "lab" and one.sim_only:
        return Asserted(
            id=one.id, title=one.title, standing=AssertionStanding.NOT_AVAILABLE, needs=one.sim_only
        )
    began, standing = time.monotonic(), AssertionStanding.PASS
    try:
        playing = one.play(bench)
        seen = playing if isinstance(playing, str) else asyncio.run(_wait_for(playing))
    except Violated as error:
        standing, seen = AssertionStanding.FAIL, str(error)
    except KeysteadError as error:
        standing, seen = AssertionStanding.FAIL, f"{error.id}: {error}"
    except ProductError as error:
        standing, seen = AssertionStanding.FAIL, f"{type(error).__name__}: {error}"
    seconds = round(time.monotonic() - began, 1)
    return Asserted(id=one.id, title=one.title, standing=standing, seen=seen, seconds=seconds)


async def _wait_for(playing: Awaitable[str]) -> str:
    return await playing
