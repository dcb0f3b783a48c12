"""The phase *failover*: what the servers of one provider are to each other.

vCenter asks them in turn and takes the next one when one does not answer (STD-08). So each must
have the keys of the others, and make keys by itself. Whether it does so with another one down is
seen where one *is* down: at the beginning, or by commands that end it and start it again.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Final, NamedTuple

from lab.kmip.replay import kinds
from lab.kmip.replay.findings import FindingKind, PlayPhase
from lab.kmip.replay.flow import PRIMARY_KEY, VIRTUAL_MACHINE, Flow, Sleep
from lab.kmip.replay.journal import FailedStep, MadeKey, PlayedPhase, ReplayJournal, failures
from lab.kmip.replay.servers import ReplayedServer
from protocol.errors import ProductError
from protocol.kmip.dialect import OperationFailed
from protocol.kmip.enums import ResultReason

POLL_S: Final = 0.1
DOWN_WITHIN_S: Final = 60.0
UP_WITHIN_S: Final = 120.0
_NO_OUTAGE: Final = "every server answers: end one and play again, or give --outage and --recovery"
_STEP: Final = "Get"

Run = Callable[[str], Awaitable[str]]
"""Runs a command of a person; why it failed, empty when it did not."""


class Outage(NamedTuple):
    """Commands that end the first server and start it again."""

    end: str
    start: str


class Failover:
    """``visible_s``: for how long a key of one server is waited for at another one."""

    def __init__(
        self, journal: ReplayJournal, flow: Flow, visible_s: float, sleep: Sleep, run: Run
    ) -> None:
        self._journal, self._flow, self._visible_s = journal, flow, visible_s
        self._sleep, self._run = sleep, run

    async def play(
        self,
        servers: Sequence[ReplayedServer],
        usable: Sequence[ReplayedServer],
        outage: Outage | None,
    ) -> None:
        """``servers`` are all of the provider, ``usable`` those that answered at the beginning."""
        with self._journal.phase(PlayPhase.FAILOVER) as played:
            for server in usable:
                await self._probe_replication(server, usable, played)
            down = [server for server in servers if server not in usable]
            if down:
                await self._takeover(down[0], usable[0], played)
            elif outage is not None:
                await self._outage(usable, outage, played)
            else:
                self._journal.check(kinds.TAKEN_OVER, usable[0].name, skipped=_NO_OUTAGE)

    # ---- keys at other servers ------------------------------------------------------------------

    async def _probe_replication(
        self, maker: ReplayedServer, usable: Sequence[ReplayedServer], played: PlayedPhase
    ) -> None:
        """Keys of the flow that ``maker`` has made, and a new one, are at each other server."""
        others = [server for server in usable if server is not maker]
        if not others:
            return
        earlier = [key for key in self._journal.keys_with_value() if key.server == maker.name]
        primary = [
            key for key in self._journal.keys if key.use == PRIMARY_KEY and key.server == maker.name
        ]
        key = await self._new(maker)
        for other in others:
            if key is not None:
                await self._wait_for_key(other, key, kinds.KEY_NOT_REPLICATED, played, "visible_s")
            await self._flow.fetch(other, earlier, kinds.KEY_NOT_REPLICATED)
            if self._journal.has_found(kinds.KEY_NOT_REPLICATED, other.name):
                continue  # no key of another server is there, and this one is no exception
            for one in primary:
                await self._flow.fetch_primary(other, one.uid)

    async def _wait_for_key(
        self,
        server: ReplayedServer,
        key: MadeKey,
        kind: FindingKind,
        played: PlayedPhase,
        measure: str,
    ) -> None:
        """Wait until the server has the key; the longest wait is the measure."""
        journal, begun = self._journal, self._journal.now()
        journal.check(kind.check, server.name)
        late = False
        while True:
            failed, gone = await self._missing(server, key)
            waited = journal.now() - begun
            if failed is None:
                break
            if not gone or waited >= self._visible_s:
                seen = failed.error + (f", after {waited:.1f} s" if gone else "")
                journal.fail(kind, server.name, [FailedStep(failed.step, seen)])
                return
            late = True
            await self._sleep(POLL_S)
        if late:
            played.measures[measure] = max(waited, played.measures.get(measure, 0.0))
            if kind is kinds.KEY_NOT_REPLICATED:
                seen = f"a key of {key.server} was there after {waited:.1f} s"
                journal.find(kinds.KEY_LATE, server.name, _STEP, seen)
        else:
            played.measures.setdefault(measure, 0.0)

    async def _missing(
        self, server: ReplayedServer, key: MadeKey
    ) -> tuple[FailedStep | None, bool]:
        """Why a key cannot be fetched there, None when it can, and whether the server has none."""
        with failures() as failed:
            try:
                await server.vcenter.use(key.uid, activate=False)
            except (ProductError, OperationFailed) as error:
                gone = getattr(error, "reason", None) == ResultReason.ITEM_NOT_FOUND
                if not failed:
                    failed.append(FailedStep(_STEP, f"{type(error).__name__}: {error}"))
                return failed[0], gone
        return None, False

    async def _new(self, server: ReplayedServer) -> MadeKey | None:
        key = await self._flow.create(server, VIRTUAL_MACHINE)
        return key if key is not None and await self._flow.use(server, key) else None

    # ---- a server that is down ------------------------------------------------------------------

    async def _takeover(
        self, down: ReplayedServer, up: ReplayedServer, played: PlayedPhase
    ) -> MadeKey | None:
        """Ask ``down`` for a key as vCenter does, and then ``up``; how long that took together."""
        journal, begun = self._journal, self._journal.now()
        journal.check(kinds.TAKEN_OVER, up.name)
        with failures():
            try:
                uid = await down.vcenter.create()
                journal.record_key(uid, down.name, VIRTUAL_MACHINE)
            except (ProductError, OperationFailed):
                pass
        with failures() as failed:
            try:
                uid = await up.vcenter.create()
                played.measures["failover_s"] = journal.now() - begun
                key = journal.record_key(uid, up.name, VIRTUAL_MACHINE)
                key.value = (await up.vcenter.use(uid)).material
            except (ProductError, OperationFailed):
                journal.fail(kinds.TAKEOVER_FAILED, up.name, failed)
                return None
        for earlier in self._journal.keys_with_value():
            if earlier.server == down.name:
                await self._flow.attempt(
                    kinds.TAKEOVER_FAILED, up, up.vcenter.use(earlier.uid, activate=False)
                )
        return key

    async def _outage(
        self, usable: Sequence[ReplayedServer], outage: Outage, played: PlayedPhase
    ) -> None:
        """End the first server, go on with the second one, and start the first one again."""
        down, up = usable[0], usable[1]
        if why := await self._run(outage.end):
            self._skip(up, f"--outage: {why}")
            return
        if not await self._comes_to(down, answers=False, within_s=DOWN_WITHIN_S):
            self._skip(up, f"--outage: {down.name} still answers after {DOWN_WITHIN_S:g} s")
            return
        meanwhile = await self._takeover(down, up, played)
        begun = self._journal.now()
        if why := await self._run(outage.start):
            self._journal.check(kinds.CAUGHT_UP, down.name, skipped=f"--recovery: {why}")
            return
        if not await self._comes_to(down, answers=True, within_s=UP_WITHIN_S):
            why = f"--recovery: {down.name} does not answer after {UP_WITHIN_S:g} s"
            self._journal.check(kinds.CAUGHT_UP, down.name, skipped=why)
            return
        played.measures["recovery_s"] = self._journal.now() - begun
        if meanwhile is not None:
            await self._wait_for_key(down, meanwhile, kinds.CATCH_UP_FAILED, played, "caught_up_s")

    def _skip(self, up: ReplayedServer, why: str) -> None:
        self._journal.check(kinds.TAKEN_OVER, up.name, skipped=why)

    async def _comes_to(self, server: ReplayedServer, *, answers: bool, within_s: float) -> bool:
        """Whether the server answers, or does not any more, within that time."""
        begun = self._journal.now()
        while True:
            with failures():
                try:
                    await server.vcenter.health()
                    answered = True
                except (ProductError, OperationFailed):
                    answered = False
            if answered is answers or self._journal.now() - begun >= within_s:
                return answered is answers
            await self._sleep(POLL_S)
