"""Events of one staging that wait for another: they end when that one fails too."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest

from chaos.matrix.play import _one
from chaos.matrix.scene import Void
from chaos.oracle.terms import Block, TableEvent, TableFault
from protocol.errors import TimedOut


class Play:
    """An event of which only its end counts."""

    def __init__(self, scene: Any, event: TableEvent, error: Exception | None = None) -> None:
        self.scene, self.event, self.error = scene, event, error
        self.judged: object = None
        self.went: object = None

    def waits_for_b(self, block: Block, fault: TableFault) -> bool:
        return self.event is not TableEvent.E2

    async def play(self, begins_at: float) -> str:
        if self.error is not None:
            raise self.error
        self.scene.b_is_up.set()
        return "judged"

    def course(self) -> str:
        return "went"


@pytest.mark.parametrize(
    ("error", "why"),
    [(Void("its boot took 200 s"), "its boot took 200 s"), (TimedOut("late"), "TimedOut: late")],
)
async def test_who_waits_for_a_boot_that_fails_is_void(error: Exception, why: str) -> None:
    scene = SimpleNamespace(
        block=Block.S10, fault=TableFault.F5A, begins_at=30.0, b_is_up=asyncio.Event()
    )
    for failed in (None, error):
        voids: dict[TableEvent, str] = {}
        boots, waits = Play(scene, TableEvent.E2, failed), Play(scene, TableEvent.E9)
        async with asyncio.timeout(5):
            await asyncio.gather(_one(waits, voids), _one(boots, voids))  # type: ignore[arg-type]
        if failed is None:
            assert voids == {} and waits.judged == "judged"
            scene.b_is_up.clear()
        else:
            assert voids[TableEvent.E2] == why and waits.judged is None
            assert voids[TableEvent.E9] == f"no host has booted under the fault: {why}"
