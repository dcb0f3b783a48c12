"""A replay from addresses and credentials to its report: its phases in their order, until nothing
more can be played, and the commands of a person that end a key server and start it again.
"""

from __future__ import annotations

import asyncio
import shlex
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Final, Literal

from lab.kmip import credentials
from lab.kmip.credentials import ServerAddress
from lab.kmip.replay import kinds, servers
from lab.kmip.replay.failover import Failover, Outage, Run
from lab.kmip.replay.findings import PlayPhase
from lab.kmip.replay.flow import RELEASES, USUAL, WRAPPING_KEY, Flow, Sleep, WrappedKeyFlow
from lab.kmip.replay.isolation_and_storm import Isolation, cleanup, room_for, storm
from lab.kmip.replay.journal import ReplayJournal
from lab.kmip.replay.reporting import build_report
from lab.kmip.replay.servers import Client, ReplayedServer, ReplayRole, ServerAttempts
from lab.kmip.replay.trust import CertificateTrust
from lab.kmip.replay.trust_flows import FlowPart, Pair
from lab.kmip.standalone import check, standalone
from lab.schema.answers.kmip import ReplayReport
from lab.schema.errors import KeysteadError
from lab.state.checkout import keystead_version
from protocol.kmip.dialect import Login
from protocol.printable import one_line
from protocol.terms import NodeName
from services.keyservers.kmip_sessions import Dialogue
from services.runtime.forking.child import withhold_memory
from services.runtime.streams import TlsIdentity

WITHIN_S: Final = 120.0
_SAID: Final = 200


def split(option: str, command: str) -> list[str]:
    """The words of a command, as a shell has them; KS-USE-003 when it has none, or a quote does
    not end."""
    try:
        words = shlex.split(command)
    except ValueError as error:
        raise KeysteadError("KS-USE-003", f"{option}: {error}") from None
    if not words:
        raise KeysteadError("KS-USE-003", f"{option}: a command is wanted")
    return words


async def run(command: str) -> str:
    """Run it without a shell; why it failed, empty when it did not."""
    words = shlex.split(command)
    try:
        process = await asyncio.create_subprocess_exec(
            *words,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
    except OSError as error:
        return f"{words[0]}: {error.strerror or error}"
    try:
        async with asyncio.timeout(WITHIN_S):
            said, _ = await process.communicate()
    except TimeoutError:
        return f"{words[0]} did not end within {WITHIN_S:g} s"
    finally:
        if process.returncode is None:
            with suppress(ProcessLookupError):
                process.kill()
            await process.wait()
    if process.returncode == 0:
        return ""
    told = one_line(said.decode(errors="replace").strip()[-_SAID:])
    return f"{words[0]} ended with {process.returncode}: {told or 'it said nothing'}"


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
            await WrappedKeyFlow(journal, flow).play(first, keys)
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


ME: Final = NodeName("replay")
Connection = Literal["faithful", "pooled"]


@dataclass(frozen=True, kw_only=True)
class ReplaySettings:
    """Where the servers are, and what clients show them.

    ``client``     what vCenter shows
    ``ca``         what the servers' certificates must lead to
    ``expired``    a certificate of vCenter that has ended
    ``others``     what roles show; vSAN hosts and a Key Provider Service show what vCenter does
                   unless they are here
    ``flows``      what each trust flow shows that is rehearsed
    """

    servers: Sequence[ServerAddress]
    client: Pair
    ca: Path
    expired: Pair | None = None
    others: Mapping[str, Pair] = field(default_factory=dict)
    flows: Mapping[str, Pair] = field(default_factory=dict)
    within_s: float = 30.0
    connection: Connection = "faithful"
    login: Login | None = None


def run_replay(
    settings: ReplaySettings,
    plan: ReplayPlan,
    *,
    tell: Tell,
    interrupted: Callable[[ReplayReport], None],
) -> ReplayReport:
    """Play it to its end; ``interrupted`` gets what there is when a person ends it before.

    KS-KMIP-004 for certificates and keys that are of no use, KS-USE-003 for more hosts than this
    process may have connections.
    """
    withhold_memory()
    if not room_for(plan.hosts):
        text = f"--hosts {plan.hosts}: this process may not open so many files (ulimit -n)"
        raise KeysteadError("KS-USE-003", text)
    identities = _identities(settings)
    client = _client(settings, identities[ReplayRole.VCENTER])
    journal = ReplayJournal([str(address) for address in settings.servers], time.monotonic)
    began, begun = time.time(), time.monotonic()

    def report() -> ReplayReport:
        return build_report(
            journal,
            began=began,
            seconds=time.monotonic() - begun,
            keystead=keystead_version() or "",
            connection=settings.connection,
            vcenter=plan.vcenter,
        )

    try:
        asyncio.run(_play(settings, plan, identities, client, journal, tell))
    except KeyboardInterrupt:
        interrupted(report())
        raise
    return report()


def _identities(settings: ReplaySettings) -> dict[str, TlsIdentity]:
    """By role, and by trust flow."""
    trusted = credentials.certificates(settings.ca)
    pairs: dict[str, Pair] = {
        ReplayRole.VCENTER: settings.client,
        ReplayRole.VSAN: settings.client,
        ReplayRole.KPS: settings.client,
        **settings.others,
        **settings.flows,
    }
    read: dict[Pair, TlsIdentity] = {}
    for pair in pairs.values():
        if pair not in read:
            read[pair] = TlsIdentity(*credentials.pair(pair.certificate, pair.key), trusted)
            check(read[pair])
    return {name: read[pair] for name, pair in pairs.items()}


def _client(settings: ReplaySettings, identity: TlsIdentity) -> Client:
    own = identity.chain[0]
    expired = servers.build_expired(own, identity.key, settings.client.key)
    if settings.expired is not None:
        credentials.pair(settings.expired.certificate, settings.expired.key)
        expired = settings.expired.shown
    return Client(own, settings.client.shown, servers.unknown(own), expired)


async def _play(
    settings: ReplaySettings,
    plan: ReplayPlan,
    identities: Mapping[str, TlsIdentity],
    client: Client,
    journal: ReplayJournal,
    tell: Tell,
) -> None:
    _, _, clock, streams = standalone(ME)
    dialogues: dict[tuple[str, str], Dialogue] = {}

    def talk(name: str, who: str) -> Dialogue:
        known = dialogues.get((name, who))
        if known is None:
            within_s = settings.within_s
            known = dialogues[name, who] = Dialogue(
                partial(streams.connect, name, identities[who], within_s=within_s),
                clock,
                within_s=within_s,
                login=None if who == ReplayRole.OTHER else settings.login,
                pooled=settings.connection == "pooled",
                on_step=journal.step_recorder(name),
                seen=journal.answer_recorder(name),
            )
        return known

    servers = [
        ReplayedServer(
            str(address),
            address.host,
            ServerAttempts(address.host, address.port, settings.within_s),
            partial(talk, str(address)),
        )
        for address in settings.servers
    ]
    replay = Replay(
        servers,
        client,
        journal,
        wall=time.time,
        sleep=asyncio.sleep,
        run=run,
        tell=tell,
    )
    try:
        await replay.run(plan)
    finally:
        for dialogue in dialogues.values():
            dialogue.close()
        streams.close()
