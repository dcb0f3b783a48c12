"""The anchor of a server whose audit is ``buffered``: it follows the answer, and soon."""

from __future__ import annotations

import asyncio
import errno

from protocol.messages.kms.administration import RotateKek
from protocol.messages.kms.keys import CreateKey, Locate
from services.kms.custody.anchor import ANCHOR_FILE, SIZE
from tests.services.kms.lazy_rig import clock
from tests.services.kms.ports import LOCAL, Server
from tests.services.kms.replaced import put_back, screen


async def made(server: Server, *operations: str) -> None:
    for operation in operations:
        await server.ask(CreateKey(operation_id=operation))


def anchors(server: Server) -> int:
    """So many lie in the file, durably."""
    size = len(server.disk.contents[ANCHOR_FILE])
    assert server.platter.written[ANCHOR_FILE] == server.disk.contents[ANCHOR_FILE]
    return size // SIZE


async def test_a_change_waits_for_no_anchor_and_one_follows_for_all(lazy: Server) -> None:
    before = anchors(lazy)
    await made(lazy, "1", "2", "3")
    assert anchors(lazy) == before
    assert clock(lazy).slept == [lazy.node.knobs.audit_buffer_s], "one wait for all of them"
    await clock(lazy).pass_by()
    assert anchors(lazy) == before + 1
    image = lazy.platter.image()
    await made(lazy, "4")
    await clock(lazy).pass_by()
    assert anchors(lazy) == before + 2, "and another one for what comes later"
    put_back(lazy, image)
    assert "older than the server" in await screen(lazy)


async def test_a_change_during_the_wait_has_its_anchor_too(lazy: Server) -> None:
    await made(lazy, "1")
    image = lazy.platter.image()
    await made(lazy, "2")
    await clock(lazy).pass_by()
    put_back(lazy, image)
    assert "older than the server" in await screen(lazy)


async def test_no_key_that_was_answered_is_lost_before_its_anchor(lazy: Server) -> None:
    """The key is durable with its answer; the anchor is behind, which is no rollback."""
    await made(lazy, "1", "2")
    await lazy.boot()
    assert (await lazy.ask(Locate())).total == 2


async def test_what_an_administrator_changes_is_anchored_before_it_is_answered(
    lazy: Server,
) -> None:
    """With what was made before it; also a ring, whose old root leaves the disk after it."""
    await made(lazy, "1")
    image = lazy.platter.image()
    await lazy.ask(RotateKek(after=1), LOCAL)
    put_back(lazy, image)
    assert "older than the server" in await screen(lazy)


async def test_a_stop_leaves_no_change_without_an_anchor(lazy: Server) -> None:
    image = lazy.platter.image()
    await made(lazy, "1")
    await lazy.service.stop()
    put_back(lazy, image)
    assert "older than the server" in await screen(lazy)


async def test_a_stop_writes_the_anchor_that_its_background_gave_up(lazy: Server) -> None:
    """A node's background ends before its service stops."""
    append, begun = lazy.disk.append, asyncio.Event()

    async def slow(path: str, data: bytes, *, sync: bool = False) -> None:
        begun.set()
        await asyncio.Event().wait()

    image = lazy.platter.image()
    await made(lazy, "1")
    lazy.disk.append = slow  # type: ignore[method-assign]
    await clock(lazy).pass_by()
    assert begun.is_set()
    for work in list(lazy.node.works):
        work.cancel()
    await asyncio.sleep(0)
    lazy.disk.append = append  # type: ignore[method-assign]
    await lazy.service.stop()
    put_back(lazy, image)
    assert "older than the server" in await screen(lazy)


async def test_a_stop_asks_a_disk_again_that_refused_the_last_anchor(lazy: Server) -> None:
    """Nothing has changed since, which would have asked it."""
    append = lazy.disk.append

    async def full(path: str, data: bytes, *, sync: bool = False) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    image = lazy.platter.image()
    lazy.disk.append = full  # type: ignore[method-assign]
    await made(lazy, "1")
    await clock(lazy).pass_by()
    lazy.disk.append = append  # type: ignore[method-assign]
    await lazy.service.stop()
    assert [kind for kind, _ in lazy.node.records] == ["kms.anchor_failed"]
    put_back(lazy, image)
    assert "older than the server" in await screen(lazy)


async def test_a_disk_that_refuses_it_is_told_and_asked_again(lazy: Server) -> None:
    append = lazy.disk.append

    async def full(path: str, data: bytes, *, sync: bool = False) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    lazy.disk.append = full  # type: ignore[method-assign]
    await made(lazy, "1")
    await clock(lazy).pass_by()
    assert [kind for kind, _ in lazy.node.records] == ["kms.anchor_failed"]
    lazy.disk.append = append  # type: ignore[method-assign]
    image = lazy.platter.image()
    await made(lazy, "2")
    await clock(lazy).pass_by()
    put_back(lazy, image)
    assert "older than the server" in await screen(lazy)
