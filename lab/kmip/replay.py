"""vCenter's flow against a key server, step by step: what worked, how fast, and what if not.

The servers of one provider are given together: keys are made at the first, and asked of each. A
replay leaves its keys at the server, as vCenter does: it destroys nothing.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Final, NamedTuple, TypeVar

from lab.kmip.consequences import Phase, Weight, consequence
from protocol.errors import ProductError
from protocol.kmip import dialect
from protocol.kmip.enums import ResultReason, State
from protocol.secret import KeyMaterial
from services.keyservers.dialogue import Dialogue, Tags
from services.keyservers.session import Step

R = TypeVar("R")

PRODUCT_TAGS: Final[Tags] = tuple(
    zip(dialect.PRODUCT, ("8.0.1 build-21560480", "VMware, Inc.", "VMware vSphere"), strict=True)
)
NOBODYS: Final = "00000000-0000-4000-8000-000000000000"
"""An id that no server has given to a key."""
HEALTH_EVERY_S: Final = 300.0

Sleep = Callable[[float], Awaitable[None]]
Tell = Callable[[str, int, int], None]


class Finding(NamedTuple):
    """What went wrong, as often as it did, and what vCenter would do."""

    server: str
    phase: Phase
    step: str
    weight: Weight
    error: str
    vcenter: str
    times: int = 1


@dataclass
class Latency:
    """Seconds that a step took, each time."""

    seconds: list[float] = field(default_factory=list)
    failed: int = 0

    def quantile(self, share: float) -> float:
        """The time within which that share of them ended."""
        order = sorted(self.seconds)
        return order[min(len(order) - 1, int(share * len(order)))] if order else 0.0


@dataclass
class Replay:
    """One replay. ``servers``: a dialogue for each, by address; ``now``: seconds of any clock."""

    servers: dict[str, Dialogue]
    now: Callable[[], float] = time.monotonic
    steps: dict[tuple[str, str], Latency] = field(default_factory=dict)
    findings: dict[tuple[str, Phase, str, str], Finding] = field(default_factory=dict)
    keys: dict[str, KeyMaterial] = field(default_factory=dict)
    made: int = 0
    phase: Phase = Phase.ADD

    def heard(self, server: str) -> Callable[[Step], None]:
        """What a dialogue with ``server`` is to tell its steps to."""

        def hear(step: Step) -> None:
            latency = self.steps.setdefault((server, step.name), Latency())
            latency.seconds.append(step.seconds)
            if step.error:
                latency.failed += 1
                self._find(server, step.name, step.error)

        return hear

    @property
    def verdict(self) -> str:
        """``works``; ``degraded`` as long as VMs come up; else ``fails``."""
        weights = {finding.weight for finding in self.findings.values()}
        if Weight.FAILS in weights:
            return "fails"
        return "degraded" if Weight.DEGRADED in weights else "works"

    async def run(self, keys: int, soak_s: float, sleep: Sleep, tell: Tell) -> None:
        """Add the servers, make and use ``keys`` keys, look at what is missing; then go on for
        ``soak_s`` seconds with a key at a time and a look at health each five minutes."""
        first = next(iter(self.servers))
        for number, name in enumerate(self.servers, 1):
            tell(f"{name}: added to a provider", number, len(self.servers))
            await self._try(Phase.ADD, self.servers[name].add_server)
        if self.verdict == "fails":
            return
        await self._look(self.servers)
        for number in range(1, keys + 1):
            tell(f"key {number} of {keys}", number, keys)
            await self._key(first, number)
        tell("keys asked for again", keys, keys)
        await self._again()
        await self._missing()
        if soak_s:
            await self._soak(first, soak_s, sleep, tell)

    async def _soak(self, first: str, soak_s: float, sleep: Sleep, tell: Tell) -> None:
        begun = looked = self.now()
        while (at := self.now()) - begun < soak_s:
            tell(f"soak: {at - begun:.0f} of {soak_s:.0f} s", self.made, 0)
            if at - looked >= HEALTH_EVERY_S:
                looked = at
                await self._look(self.servers)
            await self._key(first, self.made + 1)
            await self._again(list(self.keys)[-1:])
            await sleep(min(1.0, max(0.0, soak_s - (self.now() - begun))))

    # ---- phases -----------------------------------------------------------------------------

    async def _look(self, names: Iterable[str]) -> None:
        for name in names:
            await self._try(Phase.HEALTH, self.servers[name].health)

    async def _key(self, name: str, number: int) -> None:
        """A key as the first encryption of a VM has it made, tagged and used."""
        server = self.servers[name]
        uid = await self._try(Phase.CREATE, server.create)
        if uid is None:
            return
        self.made += 1
        use: Tags = tuple(
            zip(dialect.USE, (f"vm-{number}", "Virtual Machine", f"replay-{number}"), strict=True)
        )
        await self._try(Phase.TAG, partial(server.tag, uid, PRODUCT_TAGS))
        used = await self._try(Phase.USE, partial(server.use, uid))
        if used is None:
            return
        if used.state is not State.ACTIVE:
            self._find(name, "Get Attributes (State)", f"State: {used.state}, and not Active")
            return
        self.keys[uid] = used.material
        await self._try(Phase.TAG, partial(server.tag, uid, use))

    async def _again(self, uids: Sequence[str] | None = None) -> None:
        """Each key of each server, as hosts that have rebooted need it: the same value."""
        for name, server in self.servers.items():
            for uid in self.keys if uids is None else uids:
                used = await self._try(Phase.REFETCH, partial(server.use, uid))
                if used is not None and used.material != self.keys[uid]:
                    self._find(name, "Get", "Value: it is another one than before")
            for uid in list(self.keys)[:1]:
                await self._try(Phase.STATE, partial(server.state, uid))

    async def _missing(self) -> None:
        """A key that nobody has: the reason is to be Item Not Found."""
        for name, server in self.servers.items():
            self.phase, heard = Phase.MISSING, dict(self.findings)
            try:
                await server.use(NOBODYS)
            except dialect.OperationFailed as refused:
                if refused.reason == ResultReason.ITEM_NOT_FOUND:
                    self.findings = heard
                    latency = self.steps.get((name, "Get"))
                    if latency is not None:
                        latency.failed -= 1
            except ProductError:
                pass
            else:
                self._find(name, "Get", "Value: for an id that no key has")

    async def _try(self, phase: Phase, act: Callable[[], Awaitable[R]]) -> R | None:
        """What ``act`` gives; None when it failed, which its steps have told."""
        self.phase = phase
        try:
            return await act()
        except (ProductError, dialect.OperationFailed):
            return None

    def _find(self, server: str, step: str, error: str) -> None:
        weight, vcenter = consequence(self.phase, error)
        key = server, self.phase, step, error.partition(":")[0]
        known = self.findings.get(key)
        self.findings[key] = (
            Finding(server, self.phase, step, weight, error, vcenter)
            if known is None
            else known._replace(times=known.times + 1)
        )
