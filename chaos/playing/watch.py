"""Who looks at the lab all through a run: boots and their TPMs, states, values, guests, remains."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from dataclasses import dataclass, field
from typing import TypeVar

from chaos.draws import Draws
from chaos.history import History
from chaos.lab import LabUnderTest
from chaos.observe.groups import Groups
from chaos.observe.guests import Guests
from chaos.observe.last_looks import last_looks
from chaos.observe.look import LabLook
from chaos.observe.power import power_changes
from chaos.observe.recoveries import EVERY_S, Recoveries
from chaos.observe.remains import Opened, Remains
from chaos.observe.shown import look_at_what_is_shown
from chaos.observe.states import EVERY_S as LOOK_S
from chaos.observe.states import States
from chaos.observe.tpms import Tpms
from chaos.observe.values import Values
from chaos.observe.work import WorkLook
from protocol.messages.agent import TpmBackend
from protocol.terms import NodeName, PowerState, Role

T = TypeVar("T")


@dataclass
class RunWatch:
    """The looks of one run, which are records of its history. ``tpms`` are what was seen under
    each host, ``since`` is when they began, in lab seconds."""

    lab: LabUnderTest
    history: History
    seed: int
    opened: Opened | None
    tpms: dict[NodeName, TpmBackend] = field(default_factory=dict)
    since: float = 0.0

    def __post_init__(self) -> None:
        self.guests = Guests(self.lab, Draws(self.seed, "guests"))
        self.recoveries = Recoveries(self.lab, self.history)
        self.tpm_boots = Tpms(self.lab, self.history)
        self.states = States(self.lab, self.history)
        self.values = Values(self.lab, self.history, Draws(self.seed, "values"))
        self.groups = Groups(self.lab, self.history)
        self.work = WorkLook(self.lab, self.history)
        self.remains = None if self.opened is None else Remains(self.history, self.opened)

    async def plant(self) -> None:
        """Have every running guest fill its disk from a marker of ours."""
        for vm, (host, summary) in (await LabLook(self.lab).vms()).items():
            if summary.power is PowerState.ON:
                problem = await self.guests.plant(vm, host, vtpm=summary.vtpm is True)
                if problem:
                    self.history.add("note", str(vm), op="plant", problem=problem)

    async def counters(self) -> None:
        """What each node has counted."""
        for node, status in (await LabLook(self.lab).status()).items():
            about = {"boot": status.boot, "role": status.role.value}
            self.history.add("state", node, op="counters", **about, **status.counters)
            if status.role is Role.ESXI:
                self.tpms[node] = status.tpm

    async def begin(self) -> None:
        """The first looks, in the steady state."""
        await self.recoveries.begin()
        await self.tpm_boots.begin()
        await self.states.begin()
        self.since = self.lab.monotonic()
        await self.values.whole()

    def aside(self, group: asyncio.TaskGroup) -> list[asyncio.Task[None]]:
        """Tasks that look while something else goes on; who began them cancels them."""
        return [
            group.create_task(self._watch(), name="watch"),
            group.create_task(self._look(), name="look"),
        ]

    async def during(self, work: Awaitable[T]) -> T:
        """``work``, with the lab being looked at meanwhile."""
        async with asyncio.TaskGroup() as group:
            aside = self.aside(group)
            result = await work
            for task in aside:
                task.cancel()
        return result

    async def end_recoveries(self) -> None:
        """The looks that end the watch over recoveries."""
        await self._see()
        await self.states.look()
        self.recoveries.end()

    async def last(self) -> None:
        """What is only to be seen at the end: keys, disks, what remains of removed keys."""
        await self.groups.end()  # which waits until they agree: keys are asked for after it
        await last_looks(self.lab, self.guests, self.history)
        await look_at_what_is_shown(self.lab, self.history)
        await self.values.whole(end=True)
        await power_changes(self.lab, self.history, self.since)
        if self.remains is not None:
            await self.remains.end()
        await self.counters()

    async def _watch(self) -> None:
        while True:
            await self._see()
            await self.work.look()
            await self.lab.sleep(EVERY_S)

    async def _see(self) -> None:
        """Boots of hosts since the last look, with the TPMs under them."""
        seen = await self.recoveries.look()
        self.states.saw(seen)
        await self.tpm_boots.look(seen)

    async def _look(self) -> None:
        while True:
            await self.lab.sleep(LOOK_S)
            await self.states.look()
            await self.values.look()
            await self.groups.look()
