"""A replay from addresses and credentials to its report, with connections of its own."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from lab.api.answers.kmip import ReplayFinding, ReplayReport, ReplayStep
from lab.errors import KeysteadError
from lab.kmip.replay import Latency, Replay, Tell
from lab.kmip.standalone import check, standalone
from lab.topology.secret_files import secret_in
from protocol.errors import InvalidArgument
from protocol.kmip.dialect import Login
from protocol.secret import KeyMaterial
from protocol.terms import NodeName
from services.keyservers.address import KMIP_PORT, Kmip, parse
from services.keyservers.dialogue import Dialogue
from services.runtime.streams import TlsIdentity


def server_names(given: Sequence[str]) -> tuple[str, ...]:
    """``HOST:PORT`` each, once; the port is KMIP's own when it is left out."""
    names = []
    for text in given:
        try:
            found = parse(text if "://" in text else f"kmip://{text}")
        except InvalidArgument:
            found = None
        if not isinstance(found, Kmip):
            raise KeysteadError("KS-USE-003", f"--server {text}: write HOST or HOST:PORT")
        host = f"[{found.host}]" if ":" in found.host else found.host
        names.append(f"{host}:{found.port or KMIP_PORT}")
    if len(set(names)) != len(names):
        raise KeysteadError("KS-USE-003", "--server: one is named twice")
    return tuple(names)


def login(username: str, password_file: Path | None) -> Login | None:
    """The user name and password of a server's entry; None without a name, and an empty password
    without a file. KS-USE-003 for a file that has none, or cannot be read."""
    if not username:
        if password_file is not None:
            raise KeysteadError("KS-USE-003", "--password-file: name whose it is: --username")
        return None
    password = "" if password_file is None else secret_in(str(password_file))
    return Login(username, KeyMaterial(password.encode()))


def wanted(username: str, password_file: Path | None) -> Login | None:
    """What a server asks its clients for; KS-USE-003 for a user name without a password, which
    would keep nobody out."""
    if username and password_file is None:
        raise KeysteadError("KS-USE-003", "--username: its password is in a file: --password-file")
    return login(username, password_file)


def replayed(
    names: Sequence[str],
    identity: TlsIdentity,
    *,
    keys: int,
    soak_s: float,
    within_s: float,
    pooled: bool,
    login: Login | None,
    tell: Tell,
    interrupted: Callable[[ReplayReport], None],
) -> ReplayReport:
    """Play it to its end; ``interrupted`` gets what there is when a person ends it before.

    KS-KMIP-004 for an ``identity`` that no server can be shown.
    """
    check(identity)
    replay = Replay({})
    begun = time.monotonic()

    async def play() -> None:
        _, _, clock, streams = standalone(NodeName("replay"))
        for name in names:
            replay.servers[name] = Dialogue(
                partial(streams.connect, name, identity, within_s=within_s),
                clock,
                within_s=within_s,
                login=login,
                pooled=pooled,
                heard=replay.heard(name),
            )
        try:
            await replay.run(keys, soak_s, asyncio.sleep, tell)
        finally:
            for dialogue in replay.servers.values():
                dialogue.close()
            streams.close()

    try:
        asyncio.run(play())
    except KeyboardInterrupt:
        interrupted(_report(replay, time.monotonic() - begun, pooled=pooled))
        raise
    return _report(replay, time.monotonic() - begun, pooled=pooled)


def _report(replay: Replay, seconds: float, *, pooled: bool) -> ReplayReport:
    return ReplayReport(
        verdict=replay.verdict,
        connection="pooled" if pooled else "faithful",
        keys=replay.made,
        seconds=seconds,
        items=tuple(_step(*place, latency) for place, latency in replay.steps.items()),
        findings=tuple(ReplayFinding(**found._asdict()) for found in replay.findings.values()),
    )


def _step(server: str, step: str, latency: Latency) -> ReplayStep:
    def ms(share: float) -> float:
        return round(latency.quantile(share) * 1000, 3)

    return ReplayStep(
        server=server,
        step=step,
        times=len(latency.seconds),
        failed=latency.failed,
        p50_ms=ms(0.5),
        p99_ms=ms(0.99),
        worst_ms=ms(1.0),
    )
