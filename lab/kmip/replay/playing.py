"""One replay: its phases in their order, until nothing more can be played."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from lab.kmip.replay import kinds
from lab.kmip.replay.cleanup import cleanup
from lab.kmip.replay.failover import Failover, Outage, Run
from lab.kmip.replay.findings import PlayPhase
from lab.kmip.replay.flow import WRAPPING_KEY, Flow, Sleep
from lab.kmip.replay.isolation import Isolation
from lab.kmip.replay.journal import ReplayJournal
from lab.kmip.replay.releases import RELEASES, USUAL
from lab.kmip.replay.servers import Client, ReplayedServer
from lab.kmip.replay.storm import storm
from lab.kmip.replay.trust import CertificateTrust
from lab.kmip.replay.trust_flows import FlowPart
from lab.kmip.replay.wrapping import KeyWrapping

HEALTH_EVERY_S: Final = 300.0
DAY_S: Final = 86_400.0
PHASES: Final = (PlayPhase.FLOW, PlayPhase.FAILOVER, PlayPhase.ISOLATION, PlayPhase.STORM)
"""Phases that a person can choose; trust is always played, since the others stand on it."""
_NO_SERVER: Final = "no server can be added to a provider"
_ONE_SERVER: Final = "one --server was given; name each server of the provider"
_NO_OTHER: Final = "there is no other client: give one with --identity other=CERT,KEY"
_NO_KEYS: Final = "there is no key to fetch"
_NOT_ASKED: Final = "it was not asked for"

Tell = Callable[[str, int, int], None]


@dataclass(frozen=True, kw_only=True)
class ReplayPlan:
    """What is played.

    ``keys``         of VMs
    ``hosts``        that fetch at once in the storm
    ``soak_s``       for how long it goes on afterwards
    ``expiry_days``  how many days before its end a certificate ends soon
    ``visible_s``    for how long a key of one server is waited for at another one
    ``primary_key``  identifier of the primary key of a trusted provider; empty: one is made
    ``flows``        trust flows that are rehearsed
    ``outage``       commands that end the first server and start it again
    ``isolation``    whether there is another client
    ``cleanup``      whether keys are destroyed at the end
    """

    vcenter: str = USUAL
    phases: frozenset[PlayPhase] = frozenset(PHASES)
    keys: int = 3
    hosts: int = 32
    soak_s: float = 0.0
    expiry_days: float = 30.0
    visible_s: float = 30.0
    primary_key: str = ""
    flows: Sequence[FlowPart] = ()
    outage: Outage | None = None
    isolation: bool = False
    cleanup: bool = False


class Replay:
    """``wall``: Unix seconds, by which certificates are judged; ``run`` runs a person's command."""

    def __init__(
        self,
        servers: Sequence[ReplayedServer],
        client: Client,
        journal: ReplayJournal,
        *,
        wall: Callable[[], float],
        sleep: Sleep,
        run: Run,
        tell: Tell,
    ) -> None:
        self._servers, self._client, self._journal = servers, client, journal
        self._wall, self._sleep, self._run, self._tell = wall, sleep, run, tell

    async def run(self, plan: ReplayPlan) -> None:
        """Play it to its end; a person who ends it before has the keys destroyed all the same, if
        that is wanted."""
        try:
            await self._phases(plan)
        finally:
            if plan.cleanup and self._journal.keys:
                self._tell("cleanup: keys are destroyed", 0, 0)
                await cleanup(self._journal, self._servers)

    async def _phases(self, plan: ReplayPlan) -> None:
        journal, flow = self._journal, Flow(self._journal, RELEASES[plan.vcenter])
        self._tell("trust: the servers are added", 0, 0)
        trust = CertificateTrust(journal, self._client, self._wall(), plan.expiry_days * DAY_S)
        usable = await trust.play(self._servers, plan.flows)
        for phase in PHASES:
            if why := self._reason_to_skip(phase, plan, usable):
                journal.skip(phase, why)
                continue
            self._tell(f"{phase}: begun", 0, 0)
            match phase:
                case PlayPhase.FLOW:
                    with journal.phase(phase):
                        await self._flow(flow, usable, plan)
                case PlayPhase.FAILOVER:
                    failover = Failover(journal, flow, plan.visible_s, self._sleep, self._run)
                    await failover.play(self._servers, usable, plan.outage)
                case PlayPhase.ISOLATION:
                    await Isolation(journal, flow).play(usable)
                case _:
                    apart = journal.has_found(kinds.KEY_NOT_REPLICATED)
                    await storm(journal, usable, plan.hosts, apart=apart)
        if plan.soak_s and usable:
            with journal.phase(PlayPhase.SOAK):
                await self._soak(flow, usable, plan.soak_s)

    def _reason_to_skip(
        self, phase: PlayPhase, plan: ReplayPlan, usable: Sequence[ReplayedServer]
    ) -> str:
        """Why a phase is not played; empty when it is."""
        if phase not in plan.phases:
            return _NOT_ASKED
        if not usable:
            return _NO_SERVER
        if phase is PlayPhase.FAILOVER and len(self._servers) == 1:
            return _ONE_SERVER
        if phase is PlayPhase.ISOLATION and not plan.isolation:
            return _NO_OTHER
        if phase is PlayPhase.STORM and not self._journal.keys_with_value():
            return _NO_KEYS
        return ""

    async def _flow(self, flow: Flow, servers: Sequence[ReplayedServer], plan: ReplayPlan) -> None:
        """Keys are made at the first server; what is no matter of keys is asked of each."""
        first, journal, keys = servers[0], self._journal, plan.keys
        for server in servers:
            await flow.look(server)
        for number in range(1, keys + 1):
            self._tell(f"flow: key {number} of {keys}", number, keys)
            if number == 1:
                await flow.encrypt_first(first, number)
            else:
                await flow.encrypt(first, number)
        release = RELEASES[plan.vcenter]
        if release.attributes:
            await flow.generate(first)
        if release.wrapping:
            self._tell("flow: wrapped keys", 0, 0)
            await KeyWrapping(journal, flow).play(first, keys)
        self._tell("flow: hosts of a vSAN and a Key Provider Service", 0, 0)
        await flow.vsan(first)
        if plan.primary_key:
            for server in servers:
                await flow.fetch_primary(server, plan.primary_key)
        else:
            await flow.primary(first)
        self._tell("flow: keys are fetched again", 0, 0)
        again = [key for key in journal.keys_with_value() if key.use != WRAPPING_KEY]
        await flow.fetch(first, again, kinds.FETCH_FAILED)
        for key in self._journal.keys_with_value()[:1]:
            await flow.status(first, key)
        for key in [key for key in journal.keys if key.tags][-1:]:
            await flow.verify_tag(first, key)
        for server in servers:
            await flow.missing(server)

    async def _soak(self, flow: Flow, servers: Sequence[ReplayedServer], soak_s: float) -> None:
        journal, now = self._journal, self._journal.now
        begun = looked = now()
        while (at := now()) - begun < soak_s:
            self._tell(f"soak: {at - begun:.0f} of {soak_s:.0f} s", len(journal.keys), 0)
            if at - looked >= HEALTH_EVERY_S:
                looked = at
                for server in servers:
                    await flow.look(server)
            key = await flow.encrypt(servers[0], len(journal.keys) + 1)
            if key is not None and key.value is not None:
                await flow.fetch(servers[0], [key], kinds.FETCH_FAILED)
            await self._sleep(min(1.0, max(0.0, soak_s - (now() - begun))))
