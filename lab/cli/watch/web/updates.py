"""Queries a lab while a page is open, and sends each client the parts that have changed; the same
state for other programs: metrics for Prometheus, events as CloudEvents.
"""

from __future__ import annotations

import asyncio
import contextlib
import traceback
from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterator, Iterable, Mapping
from datetime import UTC, datetime
from typing import Any, Final

import msgspec

from chaos.lab import Directory
from lab.cli.watch.scene import LabAnswers, Tile, ask, scene_of_lab
from lab.cli.watch.web.actions import ExecutedLine
from lab.cli.watch.web.parts import Parts
from lab.schema.answers import LoggedEvent, Node, RuledLink
from lab.schema.commands import GetDirectory, GetLinks
from lab.schema.errors import KeysteadError
from lab.serve.waiting import all_events
from lab.vsphere.executor import Executor
from protocol.messages.agent import KMS_BOUNDS_MS, kms_counter

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


FAILED: Final = "keystead_kms_requests_failed_total"
METRICS_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"


def metrics(seen: LabAnswers) -> str:
    """The lab as it answered last, in Prometheus' text format."""
    scene = scene_of_lab(seen)
    locks = Counter(str(vm.crypto.value) if vm.crypto else "none" for vm in seen.vms)
    kinds = Counter(fault.kind for fault in seen.faults)
    keys = {} if scene.keys is None else vars(scene.keys)
    lines = [
        *_gauge("hosts", "Hosts by encryption mode, or by what keeps them from one.", "state",
                _by_state(scene.hosts)),
        *_gauge("vms", "VMs by state.", "state", _by_state(scene.vms)),
        *_gauge("vm_locks", "VMs by crypto state.", "state", locks),
        *_gauge("servers", "vCenters, key servers and services by state.", "state",
                _by_state(scene.servers)),
        *_gauge("faults_active", "Faults in force.", "kind", kinds),
        *_gauge("keys", "Keys in the memory of hosts, kept by a TPM, missing.", "where", keys),
        *_gauge("vcenter_answers", "1 while vCenter answers.", "", {"": int(not seen.away)}),
        *_gauge("lab_time_seconds", "Lab seconds since the lab began.", "",
                {"": seen.status.lab_time}),
        *_kms_latency(seen.nodes),
    ]  # fmt: skip
    return "\n".join(lines) + "\n"


def _kms_latency(nodes: Iterable[Node]) -> list[str]:
    """A histogram for each role that asks key servers, and the requests that failed."""
    name = "keystead_kms_request_seconds"
    help = "Lab time from a request to a key server to its answer, at the client, by its role."
    rows, failed = [f"# HELP {name} {help}", f"# TYPE {name} histogram"], []
    for role, counted in sorted(_counters_by_role(nodes).items()):
        count = 0
        for bound in KMS_BOUNDS_MS:
            count += counted[kms_counter(bound)]
            rows.append(f'{name}_bucket{{role="{role}",le="{bound / 1e3:g}"}} {count}')
        count += counted[kms_counter(None)]
        rows.append(f'{name}_bucket{{role="{role}",le="+Inf"}} {count}')
        rows.append(f'{name}_sum{{role="{role}"}} {counted["kms_total_us"] / 1e6:.15g}')
        rows.append(f'{name}_count{{role="{role}"}} {count}')
        failed.append(f'{FAILED}{{role="{role}"}} {counted["kms_failed"]}')
    told = "Requests to key servers that ended in an error, by the role of the client."
    return [*rows, f"# HELP {FAILED} {told}", f"# TYPE {FAILED} counter", *failed]


def _counters_by_role(nodes: Iterable[Node]) -> dict[str, Counter[str]]:
    """The sums of what nodes counted about key servers, of the roles that asked any."""
    found: dict[str, Counter[str]] = {}
    for node in nodes:
        counted = {n: value for n, value in node.counters.items() if n.startswith("kms_")}
        if counted:
            found.setdefault(node.role.value, Counter()).update(counted)
    return found


def _by_state(tiles: Iterable[Tile]) -> Counter[str]:
    return Counter(tile.state for tile in tiles)


def _gauge(name: str, help: str, label: str, values: Mapping[str, float]) -> list[str]:
    rows = [
        f'keystead_{name}{{{label}="{value}"}} {count:.15g}'
        if label
        else f"keystead_{name} {count:.15g}"
        for value, count in sorted(values.items())
    ]
    return [f"# HELP keystead_{name} {help}", f"# TYPE keystead_{name} gauge", *rows]


async def cloud_events(looker: Looker, lab: str, after: int) -> AsyncIterator[bytes]:
    """vCenter's events above the number ``after`` as server-sent events, each a CloudEvent in JSON;
    those that come follow, without end. The number is the id, so that a client which comes again
    has lost none."""
    news = new_events(looker, after)
    try:
        async for events in news:
            if not events:
                yield b": nothing new\n\n"
            for event in events:
                data = msgspec.json.encode(cloud_event(event, lab))
                yield b"id: %d\nevent: cloudevent\ndata: %s\n\n" % (event.sequence, data)
    finally:
        await news.aclose()


async def new_events(looker: Looker, after: int) -> AsyncGenerator[tuple[LoggedEvent, ...]]:
    """vCenter's events above the number ``after`` whenever the lab was looked at, without end;
    empty when there was none."""
    news = looker.follow()
    try:
        async for _ in news:
            seen = looker.seen
            if seen is None or not seen.events or seen.events[-1].sequence <= after:
                yield ()
                continue
            try:
                found = await all_events(looker.lab.do, after)
            except KeysteadError:
                continue  # vCenter has gone since; the next look says so
            after = found[-1].sequence if found else after
            yield found
    finally:
        await news.aclose()


def cloud_event(event: LoggedEvent, lab: str) -> dict[str, Any]:
    """An entry of vCenter's log in the JSON format of CloudEvents 1.0."""
    named = {
        name: str(value)
        for name in ("host", "vm", "provider")
        if (value := getattr(event, name)) is not None
    }
    subject = named.get("vm") or named.get("host") or named.get("provider")
    return {
        "specversion": "1.0",
        "id": str(event.sequence),
        "source": f"urn:keystead:lab:{lab}",
        "type": str(event.event.value),
        "time": datetime.fromtimestamp(event.at, UTC).isoformat().replace("+00:00", "Z"),
        **({"subject": subject} if subject else {}),
        "datacontenttype": "application/json",
        "data": {"text": event.text, **named, "keys": list(map(str, event.keys))},
    }
