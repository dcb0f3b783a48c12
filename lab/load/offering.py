"""A load on a key server of anybody's, from addresses and credentials to its report."""

from __future__ import annotations

import asyncio
import resource
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from typing import Final, NamedTuple

from chaos.load.arrivals import MOST_ARRIVALS, Arrivals, Profile, read_rate, with_warmup
from lab.kmip.standalone import check, standalone
from lab.load.generator import SOON_S, Generator
from lab.load.report import LoadTerms, build_report
from lab.load.stored_loads import LoadBegin, LoadJournal, rest_of
from lab.load.vcenters import Vcenters
from lab.runs.load_control import Changed, load_control
from lab.runs.store import RunFolder
from lab.schema.answers.load import LoadChange, LoadReport
from lab.schema.errors import KeysteadError
from lab.state.scratch import no_room
from protocol.kmip.dialect import Login
from protocol.terms import NodeName
from services.keyservers.kmip_sessions import Dialogue
from services.keyservers.kmip_sessions import SessionStep as Heard
from services.runtime.forking.child import withhold_memory
from services.runtime.streams import TlsIdentity

FILES: Final = 64
"""So many of this process's files are none of a load's connections."""
TELL_EVERY_S: Final = 1.0
AHEAD_S: Final = 10.0
"""Another rate comes into force when there are the keys of so many seconds of it."""
TRIES: Final = 8
"""So often keys are made for another rate, until none of these is missing."""
Tell = Callable[[str, int, int], None]


class LoadedServer(NamedTuple):
    """A key server, and how vCenters come to it: ``within_s`` for each handshake and answer."""

    address: str
    identity: TlsIdentity
    vcenters: int
    within_s: float
    pooled: bool
    login: Login | None


def offer_load(
    server: LoadedServer,
    asked: LoadTerms,
    profile: Profile,
    folder: RunFolder,
    *,
    tell: Tell,
    interrupted: Callable[[LoadReport], None],
) -> LoadReport:
    """Offer it to its end, with its journal and its control socket in ``folder``; ``interrupted``
    gets what there is when a person ends it before.

    SIGTERM, or a terminal that goes away, is as good as Ctrl-C. KS-LOAD-002 for a server that does
    not take the keys which the load is about.
    """
    withhold_memory()
    begun = _build_begun(server, asked, with_warmup(profile, asked.warmup))
    try:
        journal = LoadJournal(folder, begun, lambda text: tell(text, 0, 0))
    except OSError as error:
        folder.remove()
        raise no_room(error) from None
    load = _Load(server, asked, begun, journal, tell)
    try:
        asyncio.run(load.run(folder))
    except (KeyboardInterrupt, asyncio.CancelledError):
        if load.began:
            interrupted(load.report(interrupted=True))
        raise KeyboardInterrupt from None
    finally:
        journal.close()
        if not load.began:
            folder.remove()
    return load.report()


def _build_begun(server: LoadedServer, asked: LoadTerms, profile: Profile) -> LoadBegin:
    return LoadBegin(
        target=asked.target,
        rate=asked.rate,
        mix=dict(asked.mix),
        spread=asked.spread.value,
        seed=asked.seed,
        warmup=asked.warmup,
        length=asked.length,
        thresholds=tuple(one.text for one in asked.thresholds),
        outstanding=asked.outstanding,
        askers=server.vcenters,
        steps=tuple((step.begin, step.end, step.seconds) for step in profile),
        facts={
            "connection": "pooled" if server.pooled else "faithful",
            "vcenters": str(server.vcenters),
        },
    )


def fits(server: LoadedServer, asked: LoadTerms) -> None:
    """KS-KMIP-004 for an identity that cannot be shown, KS-USE-003 for more under way than this
    process may have connections."""
    check(server.identity)
    _check_files(asked.outstanding)


def seconds_left(whole_s: float, now: float) -> float:
    """Of a load that takes ``whole_s``, ``now`` seconds after its first arrival is due (negative
    before it): for how long it is offered yet. KS-LOAD-004 when it is over."""
    if now >= whole_s:
        raise KeysteadError("KS-LOAD-004", "all of it has been offered")
    return whole_s - max(now, 0.0)


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
def _cancel_on_signals() -> Iterator[None]:
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

    def __init__(
        self,
        server: LoadedServer,
        asked: LoadTerms,
        begun: LoadBegin,
        journal: LoadJournal,
        tell: Tell,
    ) -> None:
        self._server, self._asked, self._begun, self._tell = server, asked, begun, tell
        self._arrivals, self._journal = begun.arrivals(), journal
        self._changes: list[tuple[float, str, int]] = []
        self._changing = asyncio.Lock()
        self._stocking: asyncio.Task[None] | None = None
        self._messages = self._handshakes = 0
        self._vcenters: Vcenters | None = None
        self._generator: Generator | None = None
        self._cpu = self._begin_at = 0.0
        self._told_at = time.monotonic()

    @property
    def began(self) -> bool:
        """Whether there is anything to report."""
        return self._generator is not None

    async def run(self, folder: RunFolder) -> None:
        with _cancel_on_signals():
            async with load_control(folder, self.change):
                await self._run()

    @property
    def _whole_s(self) -> float:
        return self._asked.warmup + self._asked.length

    async def change(self, text: str) -> Changed:
        """Have the rest of it offered at this rate, drawn anew; KS-USE-003, KS-LOAD-002, 004, 007.

        Keys that the rest is about are made beside the load, those of its first seconds before.
        """
        try:
            rate = read_rate(text)
        except ValueError as error:
            raise KeysteadError("KS-USE-003", str(error)) from None
        async with self._changing:
            generator, vcenters = self._generator, self._vcenters
            if generator is None or vcenters is None:
                raise KeysteadError("KS-LOAD-007", "its keys are being made: it has not begun yet")
            left = self._seconds_left(generator)
            if generator.begun + rate * left > MOST_ARRIVALS:
                text = f"about {generator.begun + rate * left:.0f} operations would be offered"
                raise KeysteadError("KS-LOAD-007", f"{text}; at most {MOST_ARRIVALS} are")
            nth = len(self._changes) + 1
            rest = await asyncio.to_thread(rest_of, self._begun, nth, rate, left)
            if self._stocking is not None:
                self._stocking.cancel()
            await self._stock_keys(generator, vcenters, rest)
            was = self._changes[-1][1] if self._changes else self._asked.rate
            missing = vcenters.missing(rest, generator.due())
            self._stocking = asyncio.create_task(self._stock(missing), name="keys")
            at, first = generator.anew(rest)
            self._changes.append((at, text.strip(), first))
        self._tell(f"load: its rate is {text.strip()} from {at:.1f} s on", round(at), 0)
        return Changed(at=round(at, 3), was=was)

    def _seconds_left(self, generator: Generator) -> float:
        now = asyncio.get_running_loop().time() - generator.begin_at
        return seconds_left(self._whole_s, now)

    async def _stock_keys(self, generator: Generator, vcenters: Vcenters, rest: Arrivals) -> None:
        """Have the keys there that the first of ``rest`` need, while those before take theirs."""
        first = rest.until(AHEAD_S)
        for _ in range(TRIES):
            self._seconds_left(generator)
            if not (missing := vcenters.missing(first, generator.due())):
                return
            await vcenters.stock(missing + missing // 10)
        text = "the server does not make keys as quickly as the load uses them"
        raise KeysteadError("KS-LOAD-007", text, "a lower rate, or a mix without these operations")

    async def _stock(self, count: int) -> None:
        """Beside the load. Where the server makes none any more, that is told by who wants one."""
        with suppress(KeysteadError):
            await self._vcenters.stock(count) if self._vcenters and count else None

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
                on_step=self._count_step,
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
                until_s=self._whole_s,
            )
            self._cpu, self._begin_at = time.process_time(), time.monotonic()
            warm = asyncio.get_running_loop().call_later(SOON_S + self._asked.warmup, self._warm)
            telling = asyncio.create_task(self._telling(generator), name="telling")
            await generator.run()
        finally:
            if self._stocking is not None:
                self._stocking.cancel()
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

    def _count_step(self, step: Heard) -> None:
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
        total = round(self._whole_s)
        while True:
            await asyncio.sleep(TELL_EVERY_S)
            record, now = generator.record, time.monotonic() - self._begin_at
            self._journal.add(
                generator,
                self._changes,
                time.monotonic() - generator.begin_at,
                time.process_time() - self._cpu,
            )
            rate = (generator.begun - before) / (now - at)
            before, at = generator.begun, now
            text = f"load: {rate:.0f}/s offered, {record.ended - record.failed} ok"
            text += f", {record.failed} failed, {generator.open} under way"
            warming = "warm-up, " if now < self._asked.warmup else ""
            self._tell(f"{warming}{text}", min(round(now), total), total)

    def report(self, *, interrupted: bool = False) -> LoadReport:
        """After the end of ``run``, however it came."""
        generator, vcenters = self._generator, self._vcenters
        if generator is None or vcenters is None:
            raise ValueError("no load was begun")
        facts = {
            **self._begun.facts,
            "handshakes": str(self._handshakes),
            "messages": str(self._messages),
            "keys left": str(vcenters.made - vcenters.destroyed),
        }
        return build_report(
            self._asked,
            self._arrivals,
            generator,
            ended_s=time.monotonic() - generator.begin_at,
            cpu_s=time.process_time() - self._cpu,
            interrupted=interrupted,
            facts=facts,
            changes=[LoadChange(at=round(at, 3), rate=rate) for at, rate, _ in self._changes],
        )
