"""Asks a lab while somebody looks, and tells each of them which parts of the page have changed."""

from __future__ import annotations

import asyncio
import contextlib
import traceback
from collections.abc import AsyncGenerator
from typing import Any, Final

import msgspec

from chaos.lab import Directory
from lab.cli.watch.asking import ask
from lab.cli.watch.scene import LabAnswers
from lab.cli.watch.web.acts import ExecutedLine
from lab.cli.watch.web.parts import Parts
from lab.schema.answers import RuledLink
from lab.schema.commands import GetDirectory, GetLinks
from lab.schema.errors import KeysteadError
from lab.vsphere.executor import Executor

WATCHERS_LIMIT: Final = 16
"""Pages and other followers at a time."""


class News(msgspec.Struct, frozen=True):
    """What has changed since the last news: HTML by the name of its part. ``time`` in lab seconds,
    of which ``pace`` pass in a second; a virtual lab stands still between two looks."""

    parts: dict[str, str]
    time: float
    pace: float


class Looker:
    """One lab and those who look at it. ``done`` is what they did, oldest first. The time of a
    simulated lab passes while somebody looks, unless it is ``still``."""

    def __init__(
        self, lab: Executor, every_s: float, of_lab: str = "", *, still: bool = False
    ) -> None:
        self.lab, self.every_s = lab, every_s
        self._still = still
        self.parts = Parts(of_lab)
        self.done: list[ExecutedLine] = []
        self.seen: LabAnswers | None = None
        self.watchers = 0
        self.streams = 0
        self._directory: Directory | None = None
        self._number = 0
        self._looked = asyncio.Condition()
        self._asking = asyncio.Lock()
        self._task: asyncio.Task[None] | None = None

    async def look(self) -> None:
        """Ask the lab, and draw what it answers. A lab that has gone is said on the page."""
        async with self._asking:
            try:
                answers = await ask(self.lab.do, self.seen)
                directory = await self.directory(answers)
                links = await self._find_links(answers)
                self.parts.draw(answers, directory, links)
            except KeysteadError as error:
                self.parts.draw_loss(error)
            except Exception as error:
                # A defect: the page says it, and goes on looking.
                traceback.print_exc()
                defect = KeysteadError("KS-INT-001", f"{type(error).__name__}: {error}")
                self.parts.draw_loss(defect)
            else:
                self.seen = answers
            self.parts.draw_done(self.done)
        async with self._looked:
            self._number += 1
            self._looked.notify_all()

    async def ensure(self) -> None:
        """Look, unless somebody who follows has it looked at anyway."""
        if self.seen is None or self._task is None:
            await self.look()

    async def follow(self) -> AsyncGenerator[News]:
        """Everything, and from then on what changes; without end."""
        self.watchers += 1
        if self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._go_on())
        try:
            version, number = 0, 0
            while True:
                async with self._looked:
                    while self._number == number:
                        await self._looked.wait()
                    number = self._number
                version, changed = self.parts.list_changes(version)
                yield self._news(changed)
        finally:
            self.watchers -= 1
            if not self.watchers:
                self.stop()

    def stop(self) -> None:
        """Ask no more."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()

    def _news(self, changed: dict[str, str]) -> News:
        status = None if self.seen is None else self.seen.status
        if status is None:
            return News(changed, 0.0, 0.0)
        pace = 0.0 if status.mode == "sim" else status.pace  # its time passes in commands only
        return News(changed, status.lab_time, pace)

    async def _go_on(self) -> None:
        while True:
            await self.look()
            await asyncio.sleep(self.every_s)
            if self.lab.virtual and not self._still and self.seen is not None:
                with contextlib.suppress(KeysteadError):  # the next look says it
                    await self.lab.sleep(self.every_s * self.seen.status.pace)

    async def directory(self, answers: LabAnswers | None = None) -> Directory:
        """Who is there; asked for again when ``answers`` have other nodes."""
        there = None if answers is None else {node.node for node in answers.nodes}
        known = self._directory
        if known is None or there not in (None, {entry.node for entry in known.nodes}):
            known = self._directory = await self.lab.do(GetDirectory())
        return known

    async def _find_links(self, answers: LabAnswers) -> tuple[RuledLink, ...]:
        """Those that a fault is on; a lab without one is not asked for its thousands."""
        if not answers.faults:
            return ()
        found: Any = await self.lab.do(GetLinks())
        return tuple(link for link in found.items if link.rules)
