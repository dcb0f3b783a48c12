"""A host's boot with 1,000 persisted keys, on a real TPM and a real disk."""

from __future__ import annotations

import statistics
import time
from typing import ClassVar

from benchmarks.benchmark import Bar, Benchmark, CannotRun, Figures, Report, Sense
from benchmarks.staging import Stage, need_tpm, stage
from lab.building.provision import esxcli
from protocol.messages.agent import NodeRecord
from protocol.messages.base import Event, Sealed
from protocol.messages.host.crypto import AddKeys, CryptoManagerHostPrepare
from protocol.messages.host.session import OpenSession
from protocol.secret import KeyMaterial
from protocol.terms import CryptoKeyId, KeyId, NodeName, ProviderId
from services.runtime.session import SessionCommands

HOST = NodeName("esxi-001")
BATCH = 250
LIMIT_S = 60.0


class HostBoot(Benchmark):
    """From firmware to the keys in the cache: measure, unseal, open the archive, load its keys.

    The steps' own times (knob ``boot_step_s``) are set to nothing. Each boot follows a power
    loss; a run's figure is the median of its boots. ``power_on_ms`` is the whole of it as the
    lab sees it, with the host's connection to the broker.
    """

    name: ClassVar[str] = "host-boot"
    measures: ClassVar[str] = "boot: measure, unseal, archive with 1,000 keys opened, libtpms"
    unit: ClassVar[str] = "ms"
    bar: ClassVar[Bar] = Bar(Sense.BELOW, 50.0)

    async def run(self, report: Report) -> Figures:
        need_tpm()
        keys, boots = (BATCH, 2) if self.quick else (4 * BATCH, 10)
        seen: list[NodeRecord] = []

        def note(sender: str, event: Event) -> None:
            if isinstance(event, NodeRecord) and event.node == HOST:
                seen.append(event)

        async with stage(hosts=1, knobs={"boot_step_s": 0.0}) as staged:
            await staged.lab.listen(note)
            await staged.lab.power_on(HOST)
            await _persist(staged, keys)
            steps: list[dict[str, float]] = []
            whole: list[float] = []
            for _ in range(boots):
                await staged.lab.power_off(HOST, "power_loss")
                seen.clear()
                begun = time.perf_counter()
                await staged.lab.power_on(HOST)
                whole.append(time.perf_counter() - begun)
                steps.append(_steps(seen, keys))

        def between(first: str, last: str) -> float:
            return statistics.median(s[last] - s[first] for s in steps) * 1000

        return Figures(
            between("B0", "B4"),
            {
                "measure_ms": between("B0", "B1"),
                "unseal_ms": between("B1", "B2"),
                "archive_ms": between("B2", "B3"),
                "keys_ms": between("B3", "B4"),
                "power_on_ms": statistics.median(whole) * 1000,
            },
        )


def _steps(seen: list[NodeRecord], keys: int) -> dict[str, float]:
    """When each step was done, in seconds of the lab (pace 1)."""
    found = {r.fields["step"]: r for r in seen if r.kind == "boot.step"}
    if "B4" not in found or found["B4"].fields["loaded"] != keys:
        raise CannotRun(f"the host did not load its {keys} keys: {[r.kind for r in seen]}")
    return {step: record.at for step, record in found.items()}


async def _persist(staged: Stage, count: int) -> None:
    """Fill the host's key store, as vCenter does in a session."""
    commands = SessionCommands("bench")
    opened = OpenSession(session=commands.session, vcenter_boot=staged.life.boot)
    await staged.port.request(HOST, opened, within_s=LIMIT_S)
    await esxcli(staged.lab, HOST, "system security keypersistence enable")
    prepare = commands.stamp(CryptoManagerHostPrepare())
    await staged.port.request(HOST, prepare, within_s=LIMIT_S)
    for first in range(0, count, BATCH):
        names = [f"00000000-0000-4000-8000-{n:012d}" for n in range(first, first + BATCH)]
        message = AddKeys(
            keys=tuple(CryptoKeyId(KeyId(n), ProviderId("kms-provider")) for n in names),
            material=Sealed.of(*(KeyMaterial(n.encode()[-32:]) for n in names)),
        )
        await staged.port.request(HOST, commands.stamp(message), within_s=LIMIT_S)
