"""A load on a key server of anybody's, from addresses and credentials to its report."""

from __future__ import annotations

import asyncio
import resource
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Final, NamedTuple

from chaos.load.arrivals import Arrivals, draw
from chaos.load.profile import Profile, with_warmup
from lab.api.answers.load import LoadReport
from lab.errors import KeysteadError
from lab.kmip.standalone import check, standalone
from lab.load.generator import SOON_S, Generator
from lab.load.report import Asked, reported
from lab.load.vcenters import Vcenters
from protocol.kmip.dialect import Login
from protocol.terms import NodeName
from services.keyservers.dialogue import Dialogue
from services.keyservers.session import Step as Heard
from services.runtime.streams import TlsIdentity

FILES: Final = 64
"""So many of this process's files are none of a load's connections."""
TELL_EVERY_S: Final = 1.0
Tell = Callable[[str, int, int], None]


class Server(NamedTuple):
    """A key server, and how vCenters come to it: ``within_s`` for each handshake and answer."""

    address: str
    identity: TlsIdentity
    vcenters: int
    within_s: float
    pooled: bool
    login: Login | None


def offered(
    server: Server,
    asked: Asked,
    profile: Profile,
    *,
    tell: Tell,
    interrupted: Callable[[LoadReport], None],
) -> LoadReport:
    """Offer it to its end; ``interrupted`` gets what there is when a person ends it before.

    SIGTERM, or a terminal that goes away, is as good as Ctrl-C. KS-KMIP-004 for an identity that
    cannot be shown, KS-LOAD-002 for a server that does not take the keys which the load is about,
    KS-USE-003 for more under way than this process may have connections.
    """
    check(server.identity)
    _check_files(asked.outstanding)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # its memory has the keys that it gets
    arrivals = draw(
        with_warmup(profile, asked.warmup),
        asked.mix,
        askers=server.vcenters,
        seed=asked.seed,
        spread=asked.spread,
    )
    load = _Load(server, asked, arrivals, tell)
    try:
        asyncio.run(load.run())
    except (KeyboardInterrupt, asyncio.CancelledError):
        if load.began:
            interrupted(load.report(interrupted=True))
        raise KeyboardInterrupt from None
    return load.report()


def _check_files(outstanding: int) -> None:
    """Each operation under way has a connection: without room for them this process would be
    refused them, and seem to be refused by the server."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 2 * outstanding + FILES  # as many are kept beside them, or are being closed
    if hard != resource.RLIM_INFINITY and wanted > hard:
        text = f"--outstanding {outstanding}: this process may have {hard} files open"
        fix = f"at most {max((hard - FILES) // 2, 1)}, or a higher limit (`ulimit -Hn`)"
        raise KeysteadError("KS-USE-003", text, fix)
    if soft != resource.RLIM_INFINITY and wanted > soft:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


@contextmanager
def _cancelled_by_signals() -> Iterator[None]:
    """The running task is, by what asks a process to end; not by what its caller ignores."""
    loop, task = asyncio.get_running_loop(), asyncio.current_task()
    heard = (signal.SIGTERM, signal.SIGHUP)
    mine = [number for number in heard if signal.getsignal(number) is signal.SIG_DFL]
    for number in mine:
        loop.add_signal_handler(number, lambda: task and task.cancel())
    try:
        yield
    finally:
        for number in mine:
            loop.remove_signal_handler(number)


class _Load:
    """One load under way."""

    def __init__(self, server: Server, asked: Asked, arrivals: Arrivals, tell: Tell) -> None:
        self._server, self._asked, self._arrivals, self._tell = server, asked, arrivals, tell
        self._messages = self._handshakes = 0
        self._vcenters: Vcenters | None = None
        self._generator: Generator | None = None
        self._cpu = self._begin_at = 0.0
        self._told_at = time.monotonic()

    @property
    def began(self) -> bool:
        """Whether there is anything to report."""
        return self._generator is not None

    async def run(self) -> None:
        with _cancelled_by_signals():
            await self._run()

    async def _run(self) -> None:
        server = self._server
        _, _, clock, streams = standalone(NodeName("load"))
        dialogues = [
            Dialogue(
                partial(streams.connect, server.address, server.identity, within_s=server.within_s),
                clock,
                within_s=server.within_s,
                login=server.login,
                pooled=server.pooled,
                heard=self._heard,
            )
            for _ in range(server.vcenters)
        ]
        self._vcenters = vcenters = Vcenters(dialogues, self._arrivals)
        telling = None
        try:
            await vcenters.prepare(self._preparing)
            self._messages = self._handshakes = 0
            self._generator = generator = Generator(
                self._arrivals,
                vcenters.act,
                outstanding=self._asked.outstanding,
                drain_s=server.within_s,
            )
            self._cpu, self._begin_at = time.process_time(), time.monotonic()
            warm = asyncio.get_running_loop().call_later(SOON_S + self._asked.warmup, self._warm)
            telling = asyncio.create_task(self._telling(generator), name="telling")
            await generator.run()
        finally:
            if telling is not None:
                telling.cancel()
                warm.cancel()
            for dialogue in dialogues:
                dialogue.close()
            streams.close()

    def _warm(self) -> None:
        """From here on it counts."""
        self._cpu = time.process_time()
        self._messages = self._handshakes = 0

    def _heard(self, step: Heard) -> None:
        if step.name == "TLS handshake":
            self._handshakes += 1
        else:
            self._messages += 1

    def _preparing(self, done: int, of: int) -> None:
        now = time.monotonic()
        if done == of or now - self._told_at >= TELL_EVERY_S:
            self._told_at = now
            self._tell("keys for the load", done, of)

    async def _telling(self, generator: Generator) -> None:
        """A line each second: what was offered, how many went well, what is under way."""
        before, at = 0, 0.0
        total = round(self._asked.warmup + self._asked.length)
        while True:
            await asyncio.sleep(TELL_EVERY_S)
            record, now = generator.record, time.monotonic() - self._begin_at
            rate = (generator.begun - before) / (now - at)
            before, at = generator.begun, now
            text = f"load: {rate:.0f}/s offered, {record.ended - record.failed} ok"
            text += f", {record.failed} failed, {generator.open} under way"
            warming = "warm-up, " if now < self._asked.warmup else ""
            self._tell(f"{warming}{text}", min(round(now), total), total)

    def report(self, *, interrupted: bool = False) -> LoadReport:
        """After the end of ``run``, however it came."""
        generator, server, vcenters = self._generator, self._server, self._vcenters
        if generator is None or vcenters is None:
            raise ValueError("no load was begun")
        facts = {
            "connection": "pooled" if server.pooled else "faithful",
            "vcenters": str(server.vcenters),
            "handshakes": str(self._handshakes),
            "messages": str(self._messages),
            "keys left": str(vcenters.made - vcenters.destroyed),
        }
        return reported(
            self._asked,
            self._arrivals,
            generator,
            ended_s=time.monotonic() - generator.begin_at,
            cpu_s=time.process_time() - self._cpu,
            interrupted=interrupted,
            facts=facts,
        )
