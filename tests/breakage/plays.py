"""More judges that come with keystead: each plays a bug from the start, in processes of its own.

A judge has *plays*: conversations of KMIP, replays against a key server, conformance assertions,
experiments. A play is accepted when it finds nothing on sound code.
"""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Final, NamedTuple

from lab.building.course import unheard
from lab.conformance.assertions import ASSERTIONS
from lab.fuzz.play import failures
from lab.kmip.cases import SHIPPED, play_case
from lab.kmip.credentials import server_addresses
from lab.kmip.replay import trust_flows
from lab.kmip.replay.flow import RELEASES
from lab.kmip.replay.running import ReplayPlan, ReplaySettings, run_replay
from lab.kmip.replay.servers import ReplayRole
from lab.kmip.replay.trust_flows import Pair, of_flows
from lab.kmip.server import KmipServerSettings, ServingNotice, serve
from lab.local.conformance import conformance
from lab.play.play import simulate_plan
from lab.play.prepare import list_shipped, prepare
from lab.schema.answers.kmip import ReplayReport
from lab.simulation.sim_lab import make
from lab.simulation.workers import simulations
from lab.state.checkout import apply_patch
from services.runtime.sim.runner import run_in_worker


class Judge(NamedTuple):
    """``plays``: names, in their order. ``play`` one of them on code that ``patch`` has changed
    (a module, empty: none): what it found, empty when nothing. A bug is in ``most`` plays at most,
    of ``limit_s`` real seconds each."""

    plays: Callable[[], Sequence[str]]
    play: Callable[[str, str], str]
    most: int
    limit_s: float


def play(judge: str, name: str, patch: str) -> str:
    """One play in a process of its own: what it found. ``TimeoutError``, and what ends the play."""
    of = JUDGES[judge]
    return run_in_worker(of.play, name, patch, timeout_s=of.limit_s, server=simulations())


# ---- in the process of a play --------------------------------------------------------------------


def _converse(name: str, patch: str) -> str:
    apply_patch(patch)
    played = asyncio.run(play_case(SHIPPED / name, name))
    return "" if played.result == "passed" else f"{played.result}: {played.why}"


def _assert(name: str, patch: str) -> str:
    apply_patch(patch)  # of what is done outside of its labs
    [one] = conformance([name], seed=1, report=unheard, quick=True, patch=patch).items
    return "" if one.standing.value == "pass" else one.seen


def _experiment(name: str, patch: str) -> str:
    apply_patch(patch)
    prepared = prepare(name, None, {"tpm": "model"})
    lab, _ = make(prepared.topology, prepared.plan.seed)
    verdict, _ = simulate_plan(lab, prepared.plan, "breakage")
    return ", ".join(map(str, failures(verdict)))


def _replay(name: str, patch: str) -> str:
    apply_patch(patch)
    with tempfile.TemporaryDirectory(prefix="keystead-breakage-") as folder:
        report = asyncio.run(_replay_served(Path(folder), name))
    found = [f"{one.id}: {one.seen}" for one in report.findings]
    if report.verdict != "works":
        found.append(report.verdict)
    return "; ".join(found)


async def _replay_served(folder: Path, release: str) -> ReplayReport:
    """A whole replay of that release of vCenter against a key server of this process, with a
    client of another owner and two trust flows; the server starts twice."""
    flows, other = folder / "flows", folder / "other"
    trust_flows.ensure_parts(other, "app.example")
    parts = trust_flows.ensure_parts(flows, "vc.example")
    vcenters = of_flows(flows, parts)
    app = of_flows(other, trust_flows.parts(other))[trust_flows.TrustFlow.CERTIFICATE]
    at = KmipServerSettings(folder=folder / "keys", host="127.0.0.1", port=0)
    first = replace(at, trust=tuple(pair.certificate for pair in vcenters.values()))
    async with _serving(first):
        pass  # whom it trusts stays in its table
    async with _serving(replace(at, trust=(app.certificate,), scope="apps")) as notice:
        files = notice.files
        assert files.client is not None and files.client_key is not None
        settings = ReplaySettings(
            servers=server_addresses((notice.address,)),
            client=Pair(certificate=files.client, key=files.client_key),
            ca=files.authority,
            others={ReplayRole.OTHER: app},
            flows=vcenters,
            within_s=10.0,
        )
        plan = ReplayPlan(vcenter=release, hosts=8, flows=parts, isolation=True, cleanup=True)
        return await asyncio.to_thread(
            run_replay, settings, plan, tell=unheard, interrupted=lambda report: None
        )


@asynccontextmanager
async def _serving(settings: KmipServerSettings) -> AsyncIterator[ServingNotice]:
    """A life of ``kmip serve``."""
    loop = asyncio.get_running_loop()
    ready: asyncio.Future[ServingNotice] = loop.create_future()
    life = loop.create_task(serve(settings, ready.set_result, lambda kind, fields: None))
    await asyncio.wait((life, ready), return_when=asyncio.FIRST_COMPLETED)
    if life.done():
        life.result()
    try:
        yield ready.result()
    finally:
        life.cancel()
        with suppress(asyncio.CancelledError):
            await life


JUDGES: Final = {
    "cases": Judge(
        lambda: [file.name for file in sorted(SHIPPED.glob("*.xml"))], _converse, 12, 60.0
    ),
    "replay": Judge(lambda: [max(RELEASES)], _replay, 1, 120.0),
    "conformance": Judge(lambda: [one.id for one in ASSERTIONS], _assert, 6, 180.0),
    "experiments": Judge(lambda: [file.stem for file in list_shipped()], _experiment, 8, 180.0),
}
"""By their names, the cheapest first."""
