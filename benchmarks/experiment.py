"""An outage at the edge with eight hosts, six minutes of the product's time, simulated."""

from __future__ import annotations

import asyncio
import time
from typing import ClassVar

import msgspec

from benchmarks.benchmark import Bar, Benchmark, CannotRun, Figures, Report, Sense
from benchmarks.staging import folder, need_tpm
from chaos.experiment.plan import dump_plan
from chaos.history import verify
from chaos.verdict import Verdict
from lab.play.play import simulate
from lab.play.prepare import prepare
from lab.simulation.workers import simulations
from protocol.messages.agent import TpmBackend
from services.runtime.sim.runner import run_in_worker

EXPERIMENT = "edge-outage-reboot"
SEED = 7
LIMIT_S = 600.0  # seconds; no bar, only the end of a run that hangs


class _Simulated(Benchmark):
    """From the order to the verdict: fork, a provisioned lab, the experiment, its history.

    The imports are those of the fork server, which has started before.
    """

    unit: ClassVar[str] = "s"
    tpm: ClassVar[TpmBackend]

    async def run(self, report: Report) -> Figures:
        if self.tpm is TpmBackend.LIBTPMS:
            need_tpm()
        fewer = {"hosts": 2, "vms": 2} if self.quick else {}
        prepared = prepare(EXPERIMENT, SEED, {"tpm": self.tpm.value, **fewer})
        plan, topology = dump_plan(prepared.plan), msgspec.msgpack.encode(prepared.topology)

        def play(history: str) -> tuple[float, bytes]:
            server = simulations()
            server.start()
            begun = time.perf_counter()
            answer = run_in_worker(
                simulate, plan, topology, "bench", history, timeout_s=LIMIT_S, server=server
            )
            return time.perf_counter() - begun, answer

        with folder() as where:
            history = where / "history.msgpack"
            taken, answer = await asyncio.to_thread(play, str(history))
            last = verify(history)[-1]
        verdict = msgspec.msgpack.decode(answer, type=Verdict)
        if verdict.exit_code != 0:
            raise CannotRun(f"{EXPERIMENT} ended with {verdict.verdict}: {verdict.reasons}")
        return Figures(taken, {"virtual_s": last.t})


class SimulatedWithModel(_Simulated):
    name = "sim-model"
    measures = "experiment edge-outage-reboot in sim, 8 hosts, TPM model"
    tpm = TpmBackend.MODEL
    bar = Bar(Sense.BELOW, 1.0)


class SimulatedWithLibtpms(_Simulated):
    name = "sim-libtpms"
    measures = "experiment edge-outage-reboot in sim, 8 hosts, libtpms"
    tpm = TpmBackend.LIBTPMS
    bar = Bar(Sense.BELOW, 3.0)
