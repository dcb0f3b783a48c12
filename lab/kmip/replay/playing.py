"""One replay: its phases in their order, until nothing more can be played."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from lab.kmip.replay import kinds
from lab.kmip.replay.findings import Phase
from lab.kmip.replay.flow import Flow, Sleep
from lab.kmip.replay.journal import Journal, Key
from lab.kmip.replay.servers import Client, Server
from lab.kmip.replay.trust import Trust

HEALTH_EVERY_S: Final = 300.0
DAY_S: Final = 86_400.0
_NO_SERVER: Final = "no server can be added to a provider"
_ONE_SERVER: Final = "one --server was given; name each server of the provider"
_ONE_LEFT: Final = "only one server of the provider answers"

Tell = Callable[[str, int, int], None]


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What is played. ``keys``: of VMs; ``soak_s``: for how long it goes on afterwards;
    ``expiry_days``: how many days before its end a certificate ends soon."""

    keys: int = 3
    soak_s: float = 0.0
    expiry_days: float = 30.0


class Replay:
    """``wall``: Unix seconds, by which certificates are judged."""

    def __init__(
        self,
        servers: Sequence[Server],
        client: Client,
        journal: Journal,
        *,
        wall: Callable[[], float],
        sleep: Sleep,
        tell: Tell,
    ) -> None:
        self._servers, self._client, self._journal = servers, client, journal
        self._wall, self._sleep, self._tell = wall, sleep, tell
        self._flow = Flow(journal)

    async def run(self, plan: Plan) -> None:
        """Play it to its end."""
        journal = self._journal
        self._tell("trust: added to a provider", 0, 0)
        trust = Trust(journal, self._client, self._wall(), plan.expiry_days * DAY_S)
        usable = await trust.play(self._servers)
        if not usable:
            for phase in (Phase.FLOW, Phase.FAILOVER):
                journal.skip(phase, _NO_SERVER)
            return
        with journal.phase(Phase.FLOW):
            await self._flow_of(usable, plan.keys)
        if len(self._servers) == 1:
            journal.skip(Phase.FAILOVER, _ONE_SERVER)
        elif len(usable) == 1:
            journal.skip(Phase.FAILOVER, _ONE_LEFT)
        else:
            with journal.phase(Phase.FAILOVER):
                await self._failover(usable)
        if plan.soak_s:
            with journal.phase(Phase.SOAK):
                await self._soak(usable, plan.soak_s)

    async def _flow_of(self, servers: Sequence[Server], keys: int) -> None:
        """Keys are made at the first server; what is no matter of keys is asked of each."""
        flow, first, journal = self._flow, servers[0], self._journal
        for server in servers:
            await flow.look(server)
        for number in range(1, keys + 1):
            self._tell(f"flow: key {number} of {keys}", number, keys)
            await flow.encrypt(first, number)
        self._tell("flow: keys are fetched again", keys, keys)
        await flow.fetch(first, self._known(), kinds.FETCH_FAILED)
        for key in self._known()[:1]:
            await flow.status(first, key)
        for key in [key for key in journal.keys if key.tags][-1:]:
            await flow.tagged(first, key)
        for server in servers:
            await flow.missing(server)

    async def _failover(self, servers: Sequence[Server]) -> None:
        for server in servers:
            self._tell(f"failover: keys at {server.name}", 0, 0)
            others = [key for key in self._known() if key.server != server.name]
            await self._flow.fetch(server, others, kinds.KEY_NOT_REPLICATED)

    async def _soak(self, servers: Sequence[Server], soak_s: float) -> None:
        journal, now = self._journal, self._journal.now
        begun = looked = now()
        while (at := now()) - begun < soak_s:
            self._tell(f"soak: {at - begun:.0f} of {soak_s:.0f} s", len(journal.keys), 0)
            if at - looked >= HEALTH_EVERY_S:
                looked = at
                for server in servers:
                    await self._flow.look(server)
            key = await self._flow.encrypt(servers[0], len(journal.keys) + 1)
            if key is not None and key.value is not None:
                await self._flow.fetch(servers[0], [key], kinds.FETCH_FAILED)
            await self._sleep(min(1.0, max(0.0, soak_s - (now() - begun))))

    def _known(self) -> list[Key]:
        """Keys of which a value is known."""
        return [key for key in self._journal.keys if key.value is not None]
