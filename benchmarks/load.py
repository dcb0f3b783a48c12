"""What the generator of a load costs itself: ``load kmip`` at a key server of ours beside it.

What it costs a client to open a connection is a part of it: where each session has one of its own,
as vCenter has it, most of the CPU time is TLS's. That figure stands beside, for one operation.
"""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path
from typing import ClassVar, Final

import msgspec

from benchmarks.benchmark import Bar, Benchmark, CannotRun, Figures, Report, Sense
from benchmarks.kmip_server import serving
from benchmarks.staging import folder
from lab.kmip import credentials
from lab.schema.answers.load import LoadReport

_WORDS: Final = ("-m", "lab.cli.main", "load", "kmip", "--progress", "none", "-o", "json")


class LoadGenerating(Benchmark):
    """Of a core, in which 500 operations a second are offered over connections that are kept.

    ``offered_off_percent``: how far what was offered is from what was drawn.
    """

    name: ClassVar[str] = "load"
    measures: ClassVar[str] = "own CPU of load kmip at 500/s over kept connections"
    unit: ClassVar[str] = "%"
    bar: ClassVar[Bar] = Bar(Sense.AT_MOST, 25.0)
    also: ClassVar[dict[str, Bar]] = {"offered_off_percent": Bar(Sense.AT_MOST, 1.0)}

    async def run(self, report: Report) -> Figures:
        rate, slow, seconds = (50, 10, 1) if self.quick else (500, 50, 20)
        with folder() as where:
            async with serving(where, "buffered") as process:
                address = f"127.0.0.1:{process.server.port}"
                report(f"{rate}/s over kept connections at {address}")
                pooled = await _run_load(where, address, "pooled", rate, seconds)
                report(f"{slow}/s over a connection each at {address}")
                faithful = await _run_load(where, address, "faithful", slow, seconds)
        off = pooled.items[-1].offered_per_s / pooled.generator.drawn_per_s - 1
        details = {
            "offered_off_percent": abs(off) * 100,
            "pooled_us": _each_us(pooled),
            "faithful_us": _each_us(faithful),
            "late_p99_ms": pooled.generator.late_p99_ms,
        }
        return Figures(100 * (pooled.generator.cpu_share or 0.0), details)


def _each_us(report: LoadReport) -> float:
    """CPU time of the generator for one operation."""
    return (report.generator.cpu_share or 0.0) / report.items[-1].ok_per_s * 1e6


async def _run_load(
    where: Path, address: str, connection: str, rate: int, seconds: int
) -> LoadReport:
    tls = where / "buffered" / "tls"
    files = {
        "--ca": f"{credentials.AUTHORITY}.pem",
        "--cert": f"{credentials.CLIENT}.pem",
        "--key": f"{credentials.CLIENT}.key",
    }
    given = [word for name, file in files.items() for word in (name, str(tls / file))]
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *(*_WORDS, "--server", address, *given, "--connection", connection, "--vcenters", "20"),
        *("--rate", f"{rate}/s", "--duration", f"{seconds}s", "--warmup", "1s"),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env={**os.environ, "KEYSTEAD_STATE_HOME": str(where / "state")},
    )
    out, err = await process.communicate()
    if process.returncode:
        raise CannotRun(f"load kmip: {err.decode(errors='replace').strip()[-200:]}")
    return msgspec.json.decode(out, type=LoadReport)
