"""The way from the command line to a running lab: its control broker, as ``cli``."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable
from typing import Any

import msgspec

from lab.broker import Broker
from lab.broker_config import BrokerKind
from lab.cli.options import Options
from lab.cli.output import say
from lab.control import ControlClient
from lab.errors import KeysteadError
from lab.identity import CLI, SUPERVISOR, Identities
from lab.state import LabFolder
from protocol.errors import Disconnected, LabError, NotSent, Refused, TimedOut
from protocol.messages.base import Event
from protocol.messages.control import Progress, RunVerb

VERB_LIMIT = 900.0  # real seconds; experiments and boots of many hosts take their time


class Connection:
    """``async with Connection(options) as lab: await lab.call("get.vms")``."""

    def __init__(self, options: Options) -> None:
        self._folder = LabFolder(options.name)
        self._client: ControlClient | None = None

    async def __aenter__(self) -> Connection:
        folder = self._folder
        not_running = KeysteadError("KS-LAB-001", f"the lab {folder.name} is not running")
        if folder.record() is None or not folder.locked():
            raise not_running
        try:
            identities = Identities.load(folder.path)
            url = Broker(folder.path, identities, BrokerKind.CONTROL).url
            self._client = ControlClient(url, identities.control(CLI).seed, CLI)
            async with asyncio.timeout(5.0):
                await self._client.open()
        except (NotSent, RuntimeError, TimeoutError):
            raise not_running from None
        return self

    async def __aexit__(self, *error: object) -> None:
        if self._client is not None:
            await self._client.close()

    async def follow(self, callback: Callable[[Event], None]) -> None:
        """``callback`` for each event of the lab from now on."""
        if self._client is not None:
            await self._client.subscribe_events(lambda _, event: callback(event))

    async def call(self, verb: str, **arguments: Any) -> Any:
        """Run a verb; its plain result. Every failure is a ``KeysteadError``."""
        if self._client is None:
            raise KeysteadError("KS-LAB-001")
        message = RunVerb(verb=verb, arguments=msgspec.msgpack.encode(arguments))
        try:
            done = await self._client.request(SUPERVISOR, message, within=VERB_LIMIT)
        except (NotSent, Refused) as error:
            raise KeysteadError("KS-LAB-001", f"{self._folder.name}: {error}") from None
        except (Disconnected, TimedOut) as error:
            raise KeysteadError("KS-LAB-007", f"{verb}: {error}") from None
        except LabError as error:
            raise KeysteadError("KS-INT-001", f"{verb}: {error}") from None
        if done.error_id:
            raise KeysteadError(done.error_id, done.error, done.fix)
        return msgspec.msgpack.decode(done.result) if done.result else None


def call(options: Options, verb: str, **arguments: Any) -> Any:
    """Run one verb of a running lab and return its result; long steps are told on stderr."""

    async def one() -> Any:
        async with Connection(options) as lab:
            if sys.stderr.isatty():
                await lab.follow(_progress)
            return await lab.call(verb, **arguments)

    return asyncio.run(one())


def _progress(event: Event) -> None:
    if isinstance(event, Progress) and event.total > 1:
        say(f"[{event.step}/{event.total}] {event.text}")
