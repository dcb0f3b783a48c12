"""The body of a request, bounded in size and in time."""

from __future__ import annotations

import asyncio

from pyVmomi import vmodl
from starlette.requests import Request

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
