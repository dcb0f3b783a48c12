"""The routes of the page's server, which clients it accepts, and the headers of every answer."""

from __future__ import annotations

import asyncio
import hmac
from collections.abc import AsyncIterator, Awaitable, Callable, MutableMapping, Sequence
from typing import Any, Final

import msgspec
import uvicorn
from starlette.applications import Starlette
from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route

from chaos.report.filling import fill, fill_part, read_asset
from lab.cli.watch.web import runs, what_if
from lab.cli.watch.web.actions import ExecutedLine, experiment, ids_of, read_line
from lab.cli.watch.web.messages import API, read_choice, travelling
from lab.cli.watch.web.parts import TEMPLATE, describe_error, drawer
from lab.cli.watch.web.sent import read_line_sent
from lab.cli.watch.web.updates import METRICS_TYPE, WATCHERS_LIMIT, Looker, cloud_events, metrics
from lab.schema.answers import MessageKind
from lab.schema.commands import GetStatus
from lab.schema.errors import KeysteadError
from lab.vsphere.executor import ServedCall
from lab.vsphere.http.protocol import HEAD_LIMIT, BoundedHeadProtocol

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Any]]
Send = Callable[[Any], Awaitable[None]]
Application = Callable[[Scope, Receive, Send], Awaitable[None]]

TOKEN_HEADER: Final = "x-keystead-token"
POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src data:; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_LOOK: Final = ("GET", "HEAD")
_OWN_SITE: Final = ("same-origin", "none")


class Guard:
    """An application that refuses before ``inner`` hears of a request. ``token`` empty: nothing
    may change the lab."""

    def __init__(self, inner: Application, port: Callable[[], int], token: str) -> None:
        self._inner, self._port, self._token = inner, port, token

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            raise RuntimeError(f"no {scope['type']} is served here")
        if why := self._refusal(scope["method"], Headers(scope=scope)):
            answer = PlainTextResponse(f"{why}\n", 403)
            await answer(scope, receive, _with_headers(send))
            return
        await self._inner(scope, receive, _with_headers(send))

    def _refusal(self, method: str, headers: Headers) -> str:
        """Why a request is refused; empty: it is not."""
        own = {f"{name}:{self._port()}" for name in ("127.0.0.1", "localhost", "[::1]")}
        if headers.get("host", "") not in own:
            return "this server answers under its own address only"
        origin = headers.get("origin")
        if origin is not None and origin not in {f"http://{name}" for name in own}:
            return "requests of other pages are refused"
        site, dest = headers.get("sec-fetch-site", "none"), headers.get("sec-fetch-dest", "")
        if site not in _OWN_SITE and dest != "document":  # a picture or a frame has no Origin
            return "requests of other pages are refused"
        if method in _LOOK:
            return ""
        given = headers.get(TOKEN_HEADER, "").encode()
        if not self._token or not hmac.compare_digest(given, self._token.encode()):
            return f"what changes the lab needs the token of the printed address in {TOKEN_HEADER}"
        return ""


def _with_headers(send: Send) -> Send:
    async def sending(message: Any) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            headers.setdefault("content-security-policy", POLICY)
            headers["x-content-type-options"] = "nosniff"
            headers["referrer-policy"] = "no-referrer"
            headers["cross-origin-resource-policy"] = "same-origin"
            headers["cache-control"] = "no-store"
        await send(message)

    return sending


IDLE_S: Final = 30
"""Seconds after which a connection without a whole head of a request is closed."""
_STYLES: Final = ("colours.css", "style.css", "blocks.css", "live.css")


class LabPage:
    """The page of one lab. ``topology`` gives what an experiment says of the lab; it raises
    ``KeysteadError`` where that is not known. ``changed`` is called after each command.
    ``calls`` are the newest of clients of an API server."""

    def __init__(
        self, looker: Looker, name: str, topology: Callable[[], Any], of_lab: str,
        changed: Callable[[], Awaitable[None]] | None = None, calls: Sequence[ServedCall] = (),
    ) -> None:  # fmt: skip
        self.looker, self.name, self.topology, self.of_lab = looker, name, topology, of_lab
        self._changed, self._calls = changed, calls

    def routes(self) -> list[Route]:
        """The routes of the lab."""
        return [
            Route("/", self.show),
            Route("/live", self.follow),
            Route("/why", self.why),
            Route("/do", self.do, methods=["POST"]),
            Route("/experiment.yaml", self.save),
            Route("/metrics", self.metrics),
            Route("/events", self.events),
            Route("/messages", self.messages),
        ]

    async def show(self, _: Request) -> Response:
        """The page with the lab as it is now."""
        await self.looker.ensure()
        parts = self.looker.parts.html
        values = {
            "title": f"keystead: {self.name}",
            "parts": parts,
            "stream": "live",
            "kinds": (*MessageKind, API),
        }
        return Response(fill("live.html", values), media_type="text/html")

    async def follow(self, _: Request) -> Response:
        """The parts of the page, each again when it changes."""
        return stream(self.looker, _as_messages(self.looker))

    async def why(self, request: Request) -> Response:
        """The drawer of a host, a VM, a server or a link."""
        try:
            await self.looker.ensure()
            directory = await self.looker.directory()
            of = request.query_params.get("of", "")
            html = await drawer(self.looker.lab, directory, of, self.of_lab)
        except KeysteadError as error:
            html = fill_part(TEMPLATE, "failure", f"{error.id}: {error}")
        return Response(html, media_type="text/html")

    async def do(self, request: Request) -> Response:
        """Give the command of a line to the lab; what came of it."""
        try:
            text = await self._perform(await read_line_sent(request))
        except KeysteadError as error:
            await self.looker.look()
            return JSONResponse({"ok": False, "text": describe_error(error)}, 409)
        return JSONResponse({"ok": True, "text": text})

    async def _perform(self, line: str) -> str:
        order, looker = read_line(line), self.looker
        at = (await looker.lab.do(GetStatus())).lab_time
        try:
            answer: Any = await looker.lab.do(order.command, order.vcenter, order.user)
        finally:
            if self._changed is not None:
                await self._changed()
        looker.done.append(ExecutedLine(at, line, order.command, ids_of(answer)))
        await looker.look()
        said = [f"done: keystead {line}{self.of_lab}", *answer.remarks()]
        return "; ".join([*said, *answer.errors(self.of_lab)])

    async def save(self, _: Request) -> Response:
        """What was done here, as an experiment."""
        try:
            text = experiment(self.name, self.topology(), self.looker.done)
        except KeysteadError as error:
            return PlainTextResponse(f"{error.id}: {error}\n", 409)
        name = f'attachment; filename="watched-{self.name}.yaml"'
        headers = {"content-disposition": name}
        return Response(text, media_type="application/yaml", headers=headers)

    async def metrics(self, _: Request) -> Response:
        """The lab as it is now, for Prometheus; 503 while it does not answer."""
        await self.looker.ensure()
        if self.looker.seen is None:
            return PlainTextResponse("the lab does not answer\n", 503)
        return Response(metrics(self.looker.seen), media_type=METRICS_TYPE)

    async def events(self, request: Request) -> Response:
        """vCenter's events as CloudEvents, from the one after ``Last-Event-ID`` or ``?after=``."""
        given = request.headers.get("last-event-id") or request.query_params.get("after", "0")
        if not given.isascii() or not given.isdigit() or len(given) > 18:
            return PlainTextResponse("after is the number of an event\n", 400)
        return stream(self.looker, cloud_events(self.looker, self.name, int(given)))

    async def messages(self, request: Request) -> Response:
        """What travels, chosen by ``node`` and ``kind``."""
        try:
            begin = read_choice(request.query_params, request.headers.get("last-event-id", ""))
        except KeysteadError as error:
            return PlainTextResponse(f"{error}\n", 400)
        return stream(self.looker, travelling(self.looker, begin, self._calls))


def stream(looker: Looker, messages: AsyncIterator[bytes]) -> Response:
    """Server-sent events; refused when as many look as may."""
    if looker.streams >= WATCHERS_LIMIT:
        return PlainTextResponse("too many pages look at this lab\n", 503)
    return _CountedStream(looker, messages)


class _CountedStream(StreamingResponse):  # type: ignore[misc]
    """Server-sent events that count from the moment at which they are accepted: requests that
    come at once would else all be below the limit."""

    def __init__(self, looker: Looker, messages: AsyncIterator[bytes]) -> None:
        super().__init__(messages, media_type="text/event-stream")
        self._looker = looker
        looker.streams += 1

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """As of the base class."""
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._looker.streams -= 1


async def _as_messages(looker: Looker) -> AsyncIterator[bytes]:
    news = looker.follow()
    try:
        async for one in news:
            yield b"data: " + msgspec.json.encode(one) + b"\n\n"
    finally:
        await news.aclose()


def application(routes: list[Route], port: Callable[[], int], token: str) -> Application:
    """The server's application, behind its guard."""

    async def styles(_: Request) -> Response:
        return Response(read_asset(*_STYLES), media_type="text/css")

    async def script(_: Request) -> Response:
        text = read_asset("live.js", "messages.js", "what_if.js")
        return Response(text, media_type="text/javascript")

    assets = [Route("/live.css", styles), Route("/live.js", script)]
    return Guard(
        Starlette(routes=[*routes, *runs.routes(), *what_if.routes(), *assets]), port, token
    )


async def serve(app: Application, bound: Any, stopped: asyncio.Event) -> None:
    """Serve on a bound socket until ``stopped``."""
    config = uvicorn.Config(
        app,
        http=BoundedHeadProtocol,
        ws="none",
        lifespan="off",
        loop="none",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        limit_concurrency=4 * WATCHERS_LIMIT,
        timeout_keep_alive=IDLE_S,
        h11_max_incomplete_event_size=HEAD_LIMIT,
        timeout_graceful_shutdown=1,
    )
    config.load()
    web = uvicorn.Server(config)
    web.lifespan = config.lifespan_class(config)
    await web.startup(sockets=[bound])
    try:
        await stopped.wait()
    finally:
        web.force_exit = True
        for one in list(web.servers):
            one.close()
        for connection in list(web.server_state.connections):
            if (transport := getattr(connection, "transport", None)) is not None:
                transport.abort()
        await web.shutdown()
