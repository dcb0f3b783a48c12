"""A replay from addresses and credentials to its report, with connections of its own."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Final, Literal

from lab.kmip import certificates
from lab.kmip.addresses import ServerAddress
from lab.kmip.replay import commands, strangers
from lab.kmip.replay.handshake import ServerAttempts
from lab.kmip.replay.identities import Pair
from lab.kmip.replay.journal import ReplayJournal
from lab.kmip.replay.playing import Replay, ReplayPlan, Tell
from lab.kmip.replay.reporting import build_report
from lab.kmip.replay.servers import Client, ReplayedServer, ReplayRole
from lab.kmip.replay.storm import room_for
from lab.kmip.standalone import check, standalone
from lab.schema.answers.replay import ReplayReport
from lab.schema.errors import KeysteadError
from lab.state.installed import keystead_version
from protocol.kmip.dialect import Login
from protocol.terms import NodeName
from services.keyservers.dialogue import Dialogue
from services.runtime.forking.memory_protection import withhold_memory
from services.runtime.streams import TlsIdentity

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
    trusted = certificates.certificates(settings.ca)
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
            read[pair] = TlsIdentity(*certificates.pair(pair.certificate, pair.key), trusted)
            check(read[pair])
    return {name: read[pair] for name, pair in pairs.items()}


def _client(settings: ReplaySettings, identity: TlsIdentity) -> Client:
    own = identity.chain[0]
    expired = strangers.build_expired(own, identity.key, settings.client.key)
    if settings.expired is not None:
        certificates.pair(settings.expired.certificate, settings.expired.key)
        expired = settings.expired.shown
    return Client(own, settings.client.shown, strangers.unknown(own), expired)


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
        run=commands.run,
        tell=tell,
    )
    try:
        await replay.run(plan)
    finally:
        for dialogue in dialogues.values():
            dialogue.close()
        streams.close()
