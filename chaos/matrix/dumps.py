"""Dumps that are written on a host, to see later whether it still has their key."""

from __future__ import annotations

from chaos.matrix.scene import DUMP, StagingScene
from protocol.messages.host.dumps import Dump, WriteDump
from protocol.terms import NodeName


async def write_dump(scene: StagingScene, host: NodeName) -> Dump:
    """A dump with a marker that only we keep."""
    marker = scene.dumped[host] = scene.draws.token(32)
    written = await scene.lab.ask(host, WriteDump(dump=DUMP, marker=marker))
    scene.book.write("note", host, "dumped", key=str(written.dump.key or ""))
    return written.dump
