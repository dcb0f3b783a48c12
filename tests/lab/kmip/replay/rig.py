"""Replays against servers of this process: scripted ones in memory, and doors that are good."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from typing import cast

from cryptography import x509
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_der_private_key,
)

from lab.kmip.replay import servers
from lab.kmip.replay.failover import Run
from lab.kmip.replay.journal import ReplayJournal
from lab.kmip.replay.running import Replay, ReplayPlan
from lab.kmip.replay.servers import (
    Attempt,
    Attempts,
    Client,
    ReplayedServer,
    ShownCertificate,
    TlsOffer,
)
from protocol.crypto.certificates import SERIAL_SIZE, issue_certificate, public_key
from protocol.kmip.enums import State
from protocol.secret import KeyMaterial
from services.keyservers.kmip_sessions import Dialogue
from services.runtime.ports import Clock
from tests.lab.kmip.tls import Party, fresh_key
from tests.services.keyservers.scripted import QuickClock, ScriptedServer

DAY_S = 86_400.0
AUTHORITY = Party.named("authority", authority=True)


def certified(
    name: str, *hosts: str, issuer: Party = AUTHORITY, days: float = 365, since: float = -1
) -> Party:
    """Somebody whose certificate is good for so many days more, at these hosts."""
    key, now = fresh_key(), time.time()
    made = issue_certificate(
        name,
        public_key(key),
        os.urandom(SERIAL_SIZE),
        now + since * DAY_S,
        now + days * DAY_S,
        issuer=issuer.certificate,
        issuer_key=issuer.key,
        hosts=hosts,
    )
    return Party(made, key)


def pem(certificate: bytes) -> bytes:
    return x509.load_der_x509_certificate(certificate).public_bytes(Encoding.PEM)


def key_pem(key: KeyMaterial) -> bytes:
    private = load_der_private_key(key.reveal(), None)
    return private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def shown(party: Party) -> ShownCertificate:
    return ShownCertificate(pem(party.certificate), key_pem(party.key))


KMS = certified("kms", "kms-1", "kms-2", "127.0.0.1")
VCENTER = certified("vcenter")


def client(party: Party = VCENTER, expired: Party | None = None) -> Client:
    return Client(
        party.certificate,
        shown(party),
        servers.unknown(party.certificate),
        None if expired is None else shown(expired),
    )


class GoodDoor(Attempts):
    """Lets vCenter in by TLS 1.3, and nobody else."""

    async def attempt(
        self, shown: ShownCertificate | None, uid: str = "", *, offer: TlsOffer = TlsOffer.USUAL
    ) -> Attempt:
        if shown != client_of_tests.shown or offer is not TlsOffer.USUAL:
            return Attempt(refused="handshake failure", alert=True)
        return Attempt(
            version="TLSv1.3", cipher="TLS_AES_256_GCM_SHA384", certificate=KMS.certificate
        )


client_of_tests = client()


def tell(text: str, step: int, total: int) -> None:
    """Nobody looks."""


class Time:
    """Seconds that pass when somebody sleeps: so many at least."""

    def __init__(self, least: float = 0.0) -> None:
        self.at, self._least = 0.0, least

    def now(self) -> float:
        return self.at

    async def sleep(self, seconds: float) -> None:
        self.at += max(seconds, self._least)


def reached(
    server: ScriptedServer,
    journal: ReplayJournal,
    name: str = "kms-1:5696",
    views: Mapping[str, ScriptedServer] | None = None,
) -> ReplayedServer:
    """A scripted server as a replay has it; ``views`` are what it is to others than vCenter."""

    def talk(who: str) -> Dialogue:
        return Dialogue(
            (views or {}).get(who, server).connect,
            cast(Clock, QuickClock()),
            within_s=5,
            on_step=journal.step_recorder(name),
            seen=journal.answer_recorder(name),
        )

    return ReplayedServer(name, name.partition(":")[0], GoodDoor(), talk)


async def no_command(command: str) -> str:
    """There is nobody who would run one."""
    return "no command can be run here"


async def played(
    *servers: ScriptedServer,
    plan: ReplayPlan | None = None,
    at: Time | None = None,
    views: Mapping[str, Sequence[ScriptedServer]] | None = None,
    run: Run = no_command,
) -> ReplayJournal:
    """The journal of a replay against ``kms-1:5696``, ``kms-2:5696`` and so on; ``views`` are what
    these servers are to others than vCenter, by role."""
    names = [f"kms-{number}:5696" for number, _ in enumerate(servers, 1)]
    at = at or Time()
    journal = ReplayJournal(names, at.now)

    against = [
        reached(server, journal, name, {who: seen[n] for who, seen in (views or {}).items()})
        for n, (server, name) in enumerate(zip(servers, names, strict=True))
    ]
    replay = Replay(
        against,
        client_of_tests,
        journal,
        wall=time.time,
        sleep=at.sleep,
        run=run,
        tell=tell,
    )
    await replay.run(plan or ReplayPlan(keys=2, hosts=3))
    assert all(server.open == 0 for server in servers)
    return journal


def found(journal: ReplayJournal) -> list[tuple[str, str]]:
    """The ids of what was found, each with its server."""
    return [(one.kind.id, one.server.partition(":")[0]) for one in journal.findings]


def of_one_provider(count: int) -> Sequence[ScriptedServer]:
    """Servers that have the same keys."""
    keys: dict[str, State] = {}
    return [ScriptedServer(keys=keys) for _ in range(count)]
