"""A replay from addresses and credentials to its report, with connections of its own."""

from __future__ import annotations

import asyncio
import resource
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final, Literal

from lab.api.answers.replay import ReplayReport
from lab.doctor.installed import keystead_version
from lab.errors import KeysteadError
from lab.kmip import certificates
from lab.kmip.addresses import ServerAddress
from lab.kmip.replay import strangers
from lab.kmip.replay.handshake import Door, Shown
from lab.kmip.replay.journal import Journal
from lab.kmip.replay.playing import Plan, Replay, Tell
from lab.kmip.replay.reporting import reported
from lab.kmip.replay.servers import Client, Server
from lab.kmip.standalone import check, standalone
from protocol.kmip.dialect import Login
from protocol.terms import NodeName
from services.keyservers.dialogue import Dialogue
from services.runtime.streams import TlsIdentity

ME: Final = NodeName("replay")
Connection = Literal["faithful", "pooled"]


@dataclass(frozen=True, kw_only=True)
class Pair:
    """PEM files of a certificate, with those above it, and of its private key."""

    certificate: Path
    key: Path

    @property
    def shown(self) -> Shown:
        """As a client shows it."""
        return Shown(self.certificate, self.key)


def pair_of(option: str, certificate: Path | None, key: Path | None) -> Pair | None:
    """Both or none; KS-USE-003 for one without the other. ``option`` is what both begin with."""
    if certificate is None and key is None:
        return None
    if certificate is None or key is None:
        raise KeysteadError("KS-USE-003", f"{option}-cert and {option}-key: give both, or none")
    return Pair(certificate=certificate, key=key)


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Where the servers are, and what a client shows them. ``ca``: what their certificates must
    lead to; ``expired``: a certificate of the client that has ended."""

    servers: Sequence[ServerAddress]
    client: Pair
    ca: Path
    expired: Pair | None = None
    within_s: float = 30.0
    connection: Connection = "faithful"
    login: Login | None = None


def replayed(
    settings: Settings, plan: Plan, *, tell: Tell, interrupted: Callable[[ReplayReport], None]
) -> ReplayReport:
    """Play it to its end; ``interrupted`` gets what there is when a person ends it before.

    KS-KMIP-004 for certificates and keys that are of no use.
    """
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # its memory has the keys that it gets
    chain, key = certificates.pair(settings.client.certificate, settings.client.key)
    identity = TlsIdentity(chain, key, certificates.certificates(settings.ca))
    check(identity)
    expired = strangers.expired(chain[0], key, settings.client.key)
    if settings.expired is not None:
        certificates.pair(settings.expired.certificate, settings.expired.key)
        expired = settings.expired.shown
    client = Client(chain[0], settings.client.shown, strangers.unknown(chain[0]), expired)
    journal = Journal([str(address) for address in settings.servers], time.monotonic)
    began, begun = time.time(), time.monotonic()

    def report() -> ReplayReport:
        return reported(
            journal,
            began=began,
            seconds=time.monotonic() - begun,
            keystead=keystead_version() or "",
            connection=settings.connection,
        )

    try:
        asyncio.run(_play(settings, plan, identity, client, journal, tell))
    except KeyboardInterrupt:
        interrupted(report())
        raise
    return report()


async def _play(
    settings: Settings,
    plan: Plan,
    identity: TlsIdentity,
    client: Client,
    journal: Journal,
    tell: Tell,
) -> None:
    _, _, clock, streams = standalone(ME)

    def server(address: ServerAddress) -> Server:
        name, within_s = str(address), settings.within_s
        dialogue = Dialogue(
            partial(streams.connect, name, identity, within_s=within_s),
            clock,
            within_s=within_s,
            login=settings.login,
            pooled=settings.connection == "pooled",
            heard=journal.heard(name),
            seen=journal.seen(name),
        )
        return Server(name, address.host, Door(address.host, address.port, within_s), dialogue)

    servers = [server(address) for address in settings.servers]
    replay = Replay(servers, client, journal, wall=time.time, sleep=asyncio.sleep, tell=tell)
    try:
        await replay.run(plan)
    finally:
        for one in servers:
            one.vcenter.close()
        streams.close()
