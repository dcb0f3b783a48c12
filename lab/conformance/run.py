"""Assertions played one after another, each in labs of its own."""

from __future__ import annotations

import time
from collections.abc import Sequence

from lab.conformance.assertions import Assertion
from lab.conformance.bench import Bench, Violated
from lab.conformance.standing import Asserted, Standing
from lab.errors import KeysteadError
from lab.topology.course import Report
from protocol.errors import ProductError


async def play_assertions(
    wanted: Sequence[Assertion], bench: Bench, report: Report
) -> tuple[Asserted, ...]:
    """All of them, in their order."""
    made = []
    for step, one in enumerate(wanted):
        report(f"{one.id} {one.title}", step, len(wanted))
        made.append(await _played(one, bench))
    return tuple(made)


async def _played(one: Assertion, bench: Bench) -> Asserted:
    if one.play is None:
        return Asserted(
            id=one.id, title=one.title, standing=Standing.NOT_AVAILABLE, needs=one.needs
        )
    began, standing = time.monotonic(), Standing.PASS
    try:
        seen = await one.play(bench)
    except Violated as error:
        standing, seen = Standing.FAIL, str(error)
    except KeysteadError as error:
        standing, seen = Standing.FAIL, f"{error.id}: {error}"
    except ProductError as error:
        standing, seen = Standing.FAIL, f"{type(error).__name__}: {error}"
    seconds = round(time.monotonic() - began, 1)
    return Asserted(id=one.id, title=one.title, standing=standing, seen=seen, seconds=seconds)
