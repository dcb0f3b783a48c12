"""Events sent to an address as CloudEvents, in order: ``watch --web --webhook URL``.

The sender reads vCenter's log like any follower, from the number that was sent last: nothing of the
lab waits for it, and nothing is queued. Messages to people name the receiver's host and port only,
because a path may be a secret of the receiver.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Callable
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from typing import Final

import msgspec

from lab.cli.watch.web.updates import Looker, cloud_event, new_events
from lab.local.http_address import read_http_address
from lab.schema.answers import LoggedEvent

TRIES: Final = 6
"""How often an event is sent to a receiver that took the one before it, until it is given up. An
event after that is tried once, until one is taken again."""
TRY_S: Final = 5.0
"""Real seconds for a try, from the connection to the status of the answer."""
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.5, 15.0
"""Real seconds between two tries; each pause is twice the one before it."""
_AGAIN: Final = frozenset({408, 425, 429, *range(500, 600)})
"""Statuses after which the same event is sent again; any other one that is not 2xx is final."""


class Receiver:
    """Where events go. KS-USE-003 as of ``read_http_address``."""

    def __init__(self, url: str) -> None:
        self._address = read_http_address("--webhook", url)

    @property
    def name(self) -> str:
        """Host and port, for people."""
        return self._address.name

    async def send(self, body: bytes) -> int:
        """The status of the answer to a CloudEvent. ``OSError`` and ``HTTPException`` without one,
        ``TimeoutError`` after ``TRY_S``."""
        kind = HTTPSConnection if self._address.tls else HTTPConnection
        connection = kind(self._address.host, self._address.port, timeout=TRY_S)
        asking = asyncio.create_task(asyncio.to_thread(self._post, connection, body))
        try:
            async with asyncio.timeout(TRY_S):
                return await asyncio.shield(asking)
        finally:
            if not asking.done():  # a thread ends when its socket does
                with contextlib.suppress(OSError, AttributeError):
                    connection.sock.shutdown(socket.SHUT_RDWR)
                asking.add_done_callback(lambda task: task.cancelled() or task.exception())

    def _post(self, connection: HTTPConnection, body: bytes) -> int:
        with contextlib.closing(connection):
            headers = {"Content-Type": "application/cloudevents+json", "User-Agent": "keystead"}
            connection.request("POST", self._address.path, body, headers)
            return connection.getresponse().status


async def _find_last_event(looker: Looker) -> int:
    """The number of the last event as soon as vCenter has answered; 0 if there is none."""
    await looker.ensure()
    news = looker.follow()
    try:
        while looker.seen is None or (looker.seen.away and not looker.seen.events):
            await anext(news)
    finally:
        await news.aclose()
    return looker.seen.events[-1].sequence if looker.seen.events else 0


class Webhook:
    """Sends the events of one lab to one receiver. ``say`` tells people of events that were given
    up, and of the first that is taken after that."""

    def __init__(self, receiver: Receiver, lab: str, say: Callable[[str], None]) -> None:
        self._receiver, self._lab, self._say = receiver, lab, say
        self.sent = self.given_up = 0
        self._works = True

    async def follow(self, looker: Looker) -> None:
        """Send what happens from now on; without end. While vCenter does not answer yet, its first
        answer is now."""
        news = new_events(looker, await _find_last_event(looker))
        try:
            async for events in news:
                for event in events:
                    await self.deliver(event)
        finally:
            await news.aclose()

    async def deliver(self, event: LoggedEvent) -> None:
        """Send one event until it is taken or given up."""
        body = msgspec.json.encode(cloud_event(event, self._lab))
        pause_s, why = FIRST_PAUSE_S, ""
        for left in reversed(range(TRIES if self._works else 1)):
            try:
                status = await self._receiver.send(body)
            except TimeoutError:
                why = f"no answer within {TRY_S:g} s"
            except (OSError, HTTPException) as error:
                why = getattr(error, "strerror", None) or type(error).__name__
            else:
                why = f"status {status}"
                if 200 <= status < 300:
                    self._take()
                    return
                if status not in _AGAIN:
                    break
            if left:
                await asyncio.sleep(pause_s)
                pause_s = min(2 * pause_s, LONGEST_PAUSE_S)
        self._give_up(event, why)

    def _take(self) -> None:
        self.sent += 1
        if not self._works:
            self._say(f"webhook {self._receiver.name}: events are taken again")
        self._works = True

    def _give_up(self, event: LoggedEvent, why: str) -> None:
        self.given_up += 1
        if self._works:
            text = f"event {event.sequence} was given up, and so are later ones until one is taken"
            self._say(f"webhook {self._receiver.name}: {text}: {why}")
        self._works = False
