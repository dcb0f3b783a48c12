"""The body of a request, bounded in size and in time, and clients that go away."""

from __future__ import annotations

import asyncio
from typing import Any

from pyVmomi import vmodl
from starlette.requests import ClientDisconnect, Request

BODY_LIMIT = 1 << 20
BODY_TIMEOUT_S = 30.0
"""Real seconds that a client has to send a body."""


async def read_body(web: Request) -> bytes:
    """The body; ``InvalidRequest`` when it is too large, or not there in time."""
    parts, size = [], 0
    try:
        async with asyncio.timeout(BODY_TIMEOUT_S):
            async for part in web.stream():
                size += len(part)
                if size > BODY_LIMIT:
                    raise vmodl.fault.InvalidRequest(msg=f"the request is over {BODY_LIMIT} bytes")
                parts.append(part)
    except TimeoutError:
        text = f"the request was not complete after {BODY_TIMEOUT_S:g} seconds"
        raise vmodl.fault.InvalidRequest(msg=text) from None
    return b"".join(parts)


async def while_connected(web: Request, work: Any) -> Any:
    """The result of ``work``, which ends when its client goes away."""
    doing = asyncio.ensure_future(work)
    watching = asyncio.ensure_future(_wait_for_disconnect(web))
    try:
        await asyncio.wait({doing, watching}, return_when=asyncio.FIRST_COMPLETED)
        if not doing.done():
            raise ClientDisconnect
        return doing.result()
    finally:
        doing.cancel()
        watching.cancel()


async def _wait_for_disconnect(web: Request) -> None:
    while (await web.receive())["type"] != "http.disconnect":
        pass


def address_of(web: Request) -> str:
    """Where the client's connection comes from, whatever its headers say."""
    return web.client.host if web.client else ""
