"""Events sent to a receiver: in order, tried again within bounds, and nobody waits for it."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from lab.cli.main import run
from lab.cli.watch.web import webhook
from lab.cli.watch.web.updates import Looker
from lab.cli.watch.web.webhook import TRIES, Receiver, Webhook
from lab.schema.answers import EventList, LoggedEvent
from lab.schema.commands import GetEvents, GetHosts
from lab.schema.errors import KeysteadError
from protocol.events import EventTypeId
from tests.lab.cli.web.canned import CannedLab

LAST = 5


class EventfulLab(CannedLab):
    """A lab with a log that grows."""

    def __init__(self) -> None:
        super().__init__(3)
        self.log: list[LoggedEvent] = []
        self.looks = self.changes = self.sleeps = 0
        self.vcenter_off = False

    async def look(self, command: Any) -> Any:
        return await self.do(command)

    def happen(self, count: int) -> None:
        for _ in range(count):
            number = len(self.log) + 1
            self.log.append(
                LoggedEvent(
                    sequence=number, at=0.0, event=EventTypeId.VM_UNLOCKED, text=f"no. {number}"
                )
            )

    async def do(self, command: Any, vcenter: str = "", user: str = "") -> Any:
        if self.vcenter_off and isinstance(command, GetHosts):
            raise KeysteadError("KS-PRODUCT-001", "vCenter does not answer")
        if isinstance(command, GetEvents):
            self.looks += 1
            return EventList(items=tuple(e for e in self.log if e.sequence > command.after))
        return await super().do(command, vcenter, user)


class Heard(ThreadingHTTPServer):
    """A receiver. ``answers`` are the statuses of its next answers, 200 after these; ``slow_s``:
    so long it waits before each."""

    daemon_threads = True

    def __init__(self, answers: list[int], slow_s: float = 0.0) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.answers, self.slow_s = answers, slow_s
        self.bodies: list[dict[str, Any]] = []
        self.headers: list[dict[str, str]] = []
        self.asked = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/hook?of=secret-path"

    @property
    def taken(self) -> list[str]:
        return [body["id"] for body in self.bodies]


class _Handler(BaseHTTPRequestHandler):
    server: Heard

    def do_POST(self) -> None:
        server = self.server
        server.asked += 1
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        time.sleep(server.slow_s)
        status = server.answers.pop(0) if server.answers else 200
        if status == 200:
            server.bodies.append(body)
            server.headers.append({k.lower(): v for k, v in self.headers.items()})
        self.send_response(status)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Nothing on stderr."""


@contextmanager
def receiver(*answers: int, slow_s: float = 0.0) -> Iterator[Heard]:
    heard = Heard(list(answers), slow_s)
    thread = threading.Thread(target=heard.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield heard
    finally:
        heard.shutdown()
        thread.join()
        heard.server_close()


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(webhook, "FIRST_PAUSE_S", 0.01)
    monkeypatch.setattr(webhook, "LONGEST_PAUSE_S", 0.02)


async def deliver(url: str, count: int = LAST) -> tuple[Webhook, list[str]]:
    """Send so many events, one after another."""
    said: list[str] = []
    sender, lab = Webhook(Receiver(url), "default", said.append), EventfulLab()
    lab.happen(count)
    for event in lab.log:
        await sender.deliver(event)
    return sender, said


async def test_events_are_sent_as_they_come() -> None:
    lab, said = EventfulLab(), list[str]()
    lab.happen(2)
    looker = Looker(lab, 0.01)
    with receiver() as heard:
        sending = asyncio.create_task(Webhook(Receiver(heard.url), "x", said.append).follow(looker))
        try:
            async with asyncio.timeout(20):
                while looker.watchers == 0:
                    await asyncio.sleep(0.01)
                lab.happen(3)
                while len(heard.bodies) < 3:
                    await asyncio.sleep(0.01)
        finally:
            sending.cancel()
            await asyncio.wait([sending])
    assert heard.taken == ["3", "4", "5"], "what was there before is not sent"
    assert heard.headers[0]["content-type"] == "application/cloudevents+json"
    assert heard.bodies[0]["specversion"] == "1.0" and heard.bodies[0]["data"]["text"] == "no. 3"
    assert looker.watchers == 0 and said == []


async def test_what_was_there_before_is_not_sent_where_vcenter_was_off_at_first() -> None:
    lab, said = EventfulLab(), list[str]()
    lab.happen(2)
    lab.vcenter_off = True
    looker = Looker(lab, 0.01)
    with receiver() as heard:
        sending = asyncio.create_task(Webhook(Receiver(heard.url), "x", said.append).follow(looker))
        try:
            async with asyncio.timeout(20):
                while looker.seen is None or looker.watchers == 0:
                    await asyncio.sleep(0.01)
                lab.vcenter_off = False
                while looker.seen.away:
                    await asyncio.sleep(0.01)
                await asyncio.sleep(0.05)
                lab.happen(1)
                while not heard.bodies:
                    await asyncio.sleep(0.01)
        finally:
            sending.cancel()
            await asyncio.wait([sending])
    assert heard.taken == ["3"] and looker.watchers == 0


async def test_a_receiver_that_fails_gets_the_same_event_again_in_order() -> None:
    with receiver(500, 503, 200, 429, 200, 500) as heard:
        sender, said = await deliver(heard.url)
    assert heard.taken == ["1", "2", "3", "4", "5"]
    assert (heard.asked, sender.sent, sender.given_up, said) == (9, 5, 0, [])


async def test_tries_are_bounded_and_later_events_are_tried_once() -> None:
    with receiver(*[500] * (TRIES + 2)) as heard:
        sender, said = await deliver(heard.url)
    assert heard.asked == TRIES + 2 + 2
    assert heard.taken == ["4", "5"] and (sender.sent, sender.given_up) == (2, 3)
    assert len(said) == 2 and "event 1 was given up" in said[0] and "status 500" in said[0]
    assert said[1].endswith("events are taken again")
    assert "secret-path" not in str(said)


async def test_what_is_refused_for_good_is_not_sent_again() -> None:
    with receiver(400, 302) as heard:
        sender, _ = await deliver(heard.url)
    assert heard.taken == ["3", "4", "5"] and (heard.asked, sender.given_up) == (5, 2)


async def test_a_receiver_that_is_down_costs_bounded_tries() -> None:
    with receiver() as heard:
        url = heard.url
    sender, said = await deliver(url)
    assert (sender.sent, sender.given_up) == (0, LAST)
    assert len(said) == 1 and "Connection refused" in said[0]


async def test_a_slow_receiver_holds_up_neither_the_lab_nor_the_page(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(webhook, "TRY_S", 0.2)
    lab, said = EventfulLab(), list[str]()
    looker = Looker(lab, 0.01)
    with receiver(slow_s=1.0) as heard:
        sender = Webhook(Receiver(heard.url), "x", said.append)
        sending = asyncio.create_task(sender.follow(looker))
        while looker.watchers == 0:
            await asyncio.sleep(0.01)
        lab.happen(1)
        async with asyncio.timeout(20):
            while not heard.asked:
                await asyncio.sleep(0.01)
        before, began = lab.looks, time.monotonic()
        while lab.looks < before + 10:
            await asyncio.sleep(0.01)
        assert time.monotonic() - began < 1.0, "the lab is looked at as before"
        async with asyncio.timeout(30):
            while not said:
                await asyncio.sleep(0.01)
        assert "no answer within 0.2 s" in said[0]
        sending.cancel()
        await asyncio.wait([sending])


@pytest.mark.parametrize(
    "url",
    [
        *("ftp://x/", "http://", "http://u:p@host/", "http://host:x/", "host:80", "http://[x/"),
        # Each try of these failed, or ended the sender without a word.
        *(
            "http://host/a b",
            "http://host/\u00e9",
            "http://host/\n",
            "http://a..b/",
            "http://h\u00f4te/",
        ),
        *(f"http://{'a' * 64}/", "http://host:0/"),
    ],
)
def test_what_is_no_address_is_refused(url: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(KeysteadError, match="--webhook"):
        Receiver(url)
    assert run(["watch", "--web", "--webhook", url]) == 64
    err = capsys.readouterr().err
    assert "KS-USE-003: --webhook" in err and "p@host" not in err
    assert run(["watch", "--webhook", "http://127.0.0.1:1/"]) == 64
