"""Who may ask the page's server, and the headers of every answer.

The server listens on loopback, where every page of the same browser can reach it. So each request
names this server as its ``Host`` (no foreign name can be bound to it), an ``Origin`` is its own,
and what changes a lab carries a token in a header, which no other page can know or send.
"""

from __future__ import annotations

import hmac
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, Final

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse

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
