"""Reads what a button sends: a command line."""

from __future__ import annotations

from typing import Final

import msgspec
from starlette.requests import Request

from lab.schema.errors import KeysteadError

BODY_LIMIT: Final = 4096
"""Bytes of what a button sends."""


class LineSent(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a button sends."""

    line: str


async def read_line_sent(request: Request) -> str:
    """The line; KS-USE-003 for a body that has none, and as soon as it is over ``BODY_LIMIT``,
    whatever is still to come."""
    body = b""
    async for part in request.stream():
        body += part
        if len(body) > BODY_LIMIT:
            raise KeysteadError("KS-USE-003", f"a line has at most {BODY_LIMIT} bytes")
    try:
        return msgspec.json.decode(body, type=LineSent).line
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise KeysteadError("KS-USE-003", str(error)) from None
