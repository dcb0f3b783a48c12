"""What travels in the lab now."""

from __future__ import annotations

from itertools import islice

from lab.schema import commands
from lab.schema.answers import MessageList
from lab.serve.session import LabSession, executes


@executes
async def messages(session: LabSession, command: commands.GetMessages) -> MessageList:
    """See ``GetMessages``."""
    node = session.node(command.node) if command.node else ""
    listened = await session.tap.listen(session.lab)
    found = (
        one
        for one in session.tap.newest_first(command.after)
        if node in ("", one.src, one.dst) and command.kind in (None, one.kind)
    )
    items = tuple(islice(found, command.limit))[::-1]
    return MessageList(items=items, last=session.tap.number, began=not listened)
