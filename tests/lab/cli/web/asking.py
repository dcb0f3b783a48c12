"""The page's server without a port: requests are given to its application."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from lab.cli.watch.web.app import Application, LabPage, application
from lab.cli.watch.web.updates import Looker
from lab.client import Lab
from lab.local.vsphere import of_lab
from lab.vsphere.executor import Serial

PORT, TOKEN = 8799, "a-token"
HOST = f"127.0.0.1:{PORT}"


@dataclass
class Answered:
    """What came back."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def text(self) -> str:
        return self.body.decode()

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass
class Server:
    """An application that is asked."""

    app: Application
    looker: Looker
    port: list[int]

    def listen_on(self, port: int) -> None:
        """Say where it listens, when it does."""
        self.port[:] = [port]

    async def ask(
        self, path: str, body: bytes | None = None, until: bytes = b"", /, **headers: str
    ) -> Answered:
        """The answer to a GET, or to a POST of ``body``. ``until``: of a stream, hang up when this
        has come."""
        whole: dict[str, str] = {"host": HOST, **headers}
        target, _, query = path.partition("?")
        scope = {
            "type": "http",
            "method": "GET" if body is None else "POST",
            "path": target,
            "query_string": query.encode(),
            "headers": [
                (name.replace("_", "-").encode(), value.encode()) for name, value in whole.items()
            ],
        }
        answered, enough, sent = Answered(0, {}, b""), asyncio.Event(), False

        async def receive() -> Any:
            nonlocal sent
            if sent:
                await enough.wait()
                return {"type": "http.disconnect"}
            sent = True
            return {"type": "http.request", "body": body or b"", "more_body": False}

        async def send(message: Any) -> None:
            if message["type"] == "http.response.start":
                answered.status = message["status"]
                answered.headers = {k.decode(): v.decode() for k, v in message["headers"]}
                return
            answered.body += message.get("body", b"")
            if until and until in answered.body:
                enough.set()

        async with asyncio.timeout(60):
            await self.app(scope, receive, send)
        return answered

    async def do(self, line: str, **headers: str) -> Answered:
        """Send a button's line, with the token."""
        headers = {"x_keystead_token": TOKEN, **headers}
        return await self.ask("/do", json.dumps({"line": line}).encode(), **headers)


def server_for(lab: Any, topology: Any = None) -> Server:
    """The server of a lab behind this executor."""
    looker = Looker(lab, 0.01)
    page = LabPage(looker, "default", lambda: topology or {"use": "default"}, "")
    port = [PORT]
    return Server(application(page.routes(), lambda: port[0], TOKEN), looker, port)


@asynccontextmanager
async def simulated(**options: Any) -> AsyncIterator[Server]:
    """The server of a lab in virtual time."""
    async with Lab("sim", seed=7, **options) as lab:
        server = server_for(Serial(of_lab(lab)))
        try:
            yield server
        finally:
            server.looker.stop()
