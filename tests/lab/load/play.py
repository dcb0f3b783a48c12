"""A load in virtual time, against servers that are a few lines of arithmetic."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from chaos.load.arrivals import Spread, draw, length, read_profile
from chaos.load.planned import read_threshold
from lab.load.generator import Generator
from lab.load.report import LoadTerms, build_report
from lab.schema.answers.load import LoadReport
from services.runtime.sim.loop import SimLoop


@dataclass
class Stalling:
    """Answers in 2 ms, several at a time; but for ``stall`` seconds of every ``every`` it does
    nothing, and what has come meanwhile is answered when it goes on."""

    stall: float = 2.0
    every: float = 10.0
    took: float = 0.002

    async def __call__(self, number: int = 0) -> str:
        now = asyncio.get_running_loop().time()
        within = now % self.every
        wait = self.every - within if within >= self.every - self.stall else 0.0
        await asyncio.sleep(wait + self.took)
        return ""


def load(
    act: Callable[[int], Awaitable[str]],
    *thresholds: str,
    rate: str = "100/s",
    duration: str = "60s",
    outstanding: int = 10_000,
    spread: Spread = Spread.POISSON,
    seed: int = 1,
    drain_s: float = 30.0,
    mix: dict[str, int] | None = None,
) -> LoadReport:
    """Offer it in virtual time."""
    profile, weights = read_profile(rate, duration), mix or {"get": 1}
    asked = LoadTerms(
        target="arithmetic",
        rate=rate,
        mix=weights,
        spread=spread,
        seed=seed,
        warmup=0.0,
        length=length(profile),
        thresholds=[read_threshold(text, tuple(weights)) for text in thresholds],
        outstanding=outstanding,
    )
    arrivals = draw(profile, weights, askers=1, seed=seed, spread=spread)
    generator = Generator(arrivals, act, outstanding=outstanding, drain_s=drain_s)
    with SimLoop(seed) as loop:
        loop.run(generator.run())
        ended = loop.time() - generator.begin_at
    return build_report(asked, arrivals, generator, ended_s=ended, cpu_s=0.0)
