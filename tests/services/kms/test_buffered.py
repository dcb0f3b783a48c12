"""Audit ``buffered``: reads are answered first, and their rows of the trail come soon after, all of
them, in order, before anything that came later."""

from __future__ import annotations

import asyncio
import errno
import itertools
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import pytest

from protocol.attributes import Attribute
from protocol.errors import GeneralFailure, InvalidArgument, ItemNotFound, ProductError
from protocol.messages.kms.administration import RotateKek
from protocol.secret import KeyMaterial
from protocol.terms import KeyId
from services.kms.audit import audit_trail, deferred_rows
from services.kms.audit.deferred_rows import ROWS
from services.kms.commit import key_cache, store
from services.kms.commit.key_cache import RowCache, keys_touched_by
from services.kms.objects.request_types import (
    ActivateObject,
    AddObjectAttribute,
    CoreRequest,
    Create,
    Created,
    DestroyObject,
    Get,
    GetObjectAttributes,
    KeyWrapping,
    LocateObjects,
    Register,
    RevokeObject,
)
from services.kms.operations import buffered_reads
from services.kms.operations.batches import Continuation
from services.kms.settings.config import Auditing, kms_config
from tests.services.kms.core_rig import OWNER, STRANGER, do, items, named
from tests.services.kms.core_rig import trail as read_trail
from tests.services.kms.lazy_rig import BUFFERED, HeldClock, clock
from tests.services.kms.ports import CONFIG, LOCAL, Server


async def made(server: Server) -> KeyId:
    """A new key that was given once: the first Get of a key changes it."""
    created, _ = await items(server, Create(), Get())
    assert isinstance(created.response, Created)
    return created.response.unique_identifier


def rows(server: Server, column: str = "result") -> list[tuple[Any, ...]]:
    """What the file has, with nobody asked for the rest; without those Gets."""
    wanted = "SELECT operation, key_id, result, at, scope FROM audit ORDER BY sequence"
    place = ("result", "at", "scope").index(column)
    found = [(*row[:2], row[2 + place]) for row in server.platter.sql(wanted)]
    firsts = [
        at
        for at, (one, two) in enumerate(itertools.pairwise(found), 1)
        if one[0] == "Create" and two[:2] == ("Get", one[1])
    ]
    return [row for at, row in enumerate(found) if at not in firsts]


async def trail(server: Server) -> list[tuple[Any, ...]]:
    """As who reads the trail finds it."""
    await read_trail(server)
    return rows(server)


def verified(server: Server) -> None:
    audit_trail.check(server.platter.databases["keys"], server.vault)


async def get(server: Server, key_id: KeyId) -> bytes:
    [key] = (await do(server, Get(unique_identifiers=(key_id,), required=True))).keys
    await asyncio.sleep(0)  # others have their turn
    assert key.material is not None
    return key.material.reveal()


async def test_a_read_waits_for_no_commit_and_its_row_comes(lazy: Server) -> None:
    key_id = await made(lazy)
    await clock(lazy).pass_by()  # its anchor has followed
    clock(lazy).slept.clear()
    commits = lazy.database.commits
    first = await get(lazy, key_id)
    assert [await get(lazy, key_id) for _ in range(3)] == [first] * 3
    assert lazy.database.commits == commits and len(rows(lazy)) == 1
    assert clock(lazy).slept == [lazy.node.knobs.audit_buffer_s], "one wait for all of them"
    await clock(lazy).pass_by()
    assert rows(lazy) == [("Create", key_id, "Success")] + [("Get", key_id, "Success")] * 4
    assert lazy.database.commits == commits + 1
    verified(lazy)
    await get(lazy, key_id)
    assert len(clock(lazy).slept) == 2, "and another one for those that come later"


async def test_the_first_get_of_a_key_is_a_change(lazy: Server) -> None:
    """The key is fresh no more, and that is durable before it leaves."""
    created, _ = await items(lazy, Create(), Create())
    assert isinstance(created.response, Created)
    key_id, commits = created.response.unique_identifier, lazy.database.commits
    await get(lazy, key_id)
    assert lazy.database.commits == commits + 1
    await get(lazy, key_id)
    assert lazy.database.commits == commits + 1
    assert [row[0] for row in rows(lazy)] == ["Create", "Create", "Get", "Serve"]


async def test_rows_go_with_the_next_commit_in_front_of_it(lazy: Server) -> None:
    one, two = await made(lazy), await made(lazy)
    commits = lazy.database.commits
    lazy.clock.wall += 1
    for key_id in (two, one, two):
        await get(lazy, key_id)
    lazy.clock.wall += 1
    await do(lazy, ActivateObject(unique_identifier=one))
    assert lazy.database.commits == commits + 1
    assert rows(lazy)[2:] == [
        ("Get", two, "Success"),
        ("Get", one, "Success"),
        ("Get", two, "Success"),
        ("Activate", one, "Success"),
    ]
    times = [at for _, _, at in rows(lazy, "at")]
    assert times[2:] == [times[0] + 1] * 3 + [times[0] + 2], "each has its own time"
    verified(lazy)
    await clock(lazy).pass_by()
    assert len(rows(lazy)) == 6, "once"


async def test_who_reads_the_trail_sees_all_of_it(lazy: Server) -> None:
    key_id = await made(lazy)
    await get(lazy, key_id)
    assert [row[0] for row in await trail(lazy)] == ["Create", "Get"]


async def test_a_stop_writes_them(lazy: Server) -> None:
    key_id = await made(lazy)
    await get(lazy, key_id)
    await lazy.service.stop()
    assert rows(lazy)[1:] == [("Get", key_id, "Success")]
    verified(lazy)


@dataclass
class HeldDisk:
    """Transactions of a server's database wait until ``go``; so many of the first are refused."""

    server: Server
    go: asyncio.Event = field(default_factory=asyncio.Event)
    refusals: int = 0

    def __post_init__(self) -> None:
        self.right = self.server.database.transact
        self.server.database.transact = self.transact  # type: ignore[method-assign,assignment]

    async def transact(self, *work: Any) -> Any:
        await self.go.wait()
        if self.refusals:
            self.refusals -= 1
            raise OSError(errno.ENOSPC, "No space left on device")
        return await self.right(*work)


async def test_who_reads_the_trail_waits_for_rows_that_are_on_their_way(lazy: Server) -> None:
    key_id = await made(lazy)
    await get(lazy, key_id)
    disk = HeldDisk(lazy)
    await clock(lazy).pass_by()  # they are with the disk now, and nobody has them in memory
    listing = asyncio.ensure_future(read_trail(lazy))
    await asyncio.wait({listing}, timeout=0.01)
    disk.go.set()
    assert (await listing).count(("Get", key_id, "Success")) == 2, "the first one and this one"


async def test_a_stop_waits_for_rows_that_are_on_their_way(lazy: Server) -> None:
    key_id = await made(lazy)
    await get(lazy, key_id)
    disk = HeldDisk(lazy)
    await clock(lazy).pass_by()
    stop = asyncio.ensure_future(lazy.service.stop())
    await asyncio.wait({stop}, timeout=0.01)
    assert not stop.done()
    disk.go.set()
    await stop
    assert rows(lazy)[1:] == [("Get", key_id, "Success")]


@pytest.mark.parametrize("committed", [False, True])
async def test_a_stop_writes_once_what_a_transaction_was_given_up_with(
    lazy: Server, *, committed: bool
) -> None:
    """A node's background ends before its service stops; a commit may be over by then, and nobody
    has heard of it."""
    key_id = await made(lazy)
    await get(lazy, key_id)
    disk = HeldDisk(lazy)
    if committed:

        async def unheard(fn: Callable[[Any], Any], _: Any) -> Any:
            await disk.right(fn)
            await disk.go.wait()

        lazy.database.transact = unheard  # type: ignore[method-assign,assignment]
    await clock(lazy).pass_by()
    for work in list(lazy.node.works):
        work.cancel()
    await asyncio.sleep(0)
    lazy.database.transact = disk.right  # type: ignore[method-assign]
    await lazy.service.stop()
    assert rows(lazy)[1:] == [("Get", key_id, "Success")]
    verified(lazy)


async def test_nothing_overtakes_rows_whose_transaction_was_refused(lazy: Server) -> None:
    key_id = await made(lazy)
    await get(lazy, key_id)
    disk = HeldDisk(lazy, refusals=1)
    await clock(lazy).pass_by()
    destroyed = asyncio.ensure_future(do(lazy, DestroyObject(unique_identifier=key_id)))
    await asyncio.wait({destroyed}, timeout=0.01)
    disk.go.set()
    await destroyed
    await clock(lazy).pass_by()
    assert [row[0] for row in rows(lazy)] == ["Create", "Get", "Destroy"]
    verified(lazy)


async def test_another_kek_stands_behind_the_reads_before_it(lazy: Server) -> None:
    key_id = await made(lazy)
    await get(lazy, key_id)
    await lazy.ask(RotateKek(after=1), LOCAL)
    assert [row[0] for row in rows(lazy)][:3] == ["Create", "Get", "Rotate KEK"]


async def test_a_crash_loses_those_of_the_last_moment_only(lazy: Server) -> None:
    key_id = await made(lazy)
    await get(lazy, key_id)
    await clock(lazy).pass_by()
    await get(lazy, key_id)
    await lazy.boot()  # which checks the whole trail
    assert rows(lazy) == [("Create", key_id, "Success"), ("Get", key_id, "Success")]


async def test_so_many_wait_and_no_more(lazy: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deferred_rows, "BUFFERED_ROWS", 5)
    key_id, waits = await made(lazy), lazy.service.core.commits.unwritten
    commits = lazy.database.commits
    for count in range(1, 6):
        await get(lazy, key_id)
        assert waits.rows == count and lazy.database.commits == commits
    await get(lazy, key_id)
    assert waits.rows == 0 and lazy.database.commits == commits + 1
    assert len(rows(lazy)) == 7
    verified(lazy)


async def test_a_disk_that_refuses_makes_reads_durable_again(lazy: Server) -> None:
    key_id, database = await made(lazy), lazy.database
    await get(lazy, key_id)
    right = database.transact

    async def refuse(*_: Any) -> Any:
        raise OSError(errno.ENOSPC, "No space left on device")

    database.transact = refuse  # type: ignore[method-assign,assignment]
    await clock(lazy).pass_by()
    await clock(lazy).pass_by()
    assert [kind for kind, _ in lazy.node.records].count("kms.audit_waits") == 1
    for _ in range(2):
        with pytest.raises(GeneralFailure, match="storage refused"):
            await get(lazy, key_id)
    with pytest.raises(GeneralFailure, match="storage refused"):
        await trail(lazy)
    assert len(rows(lazy)) == 1
    database.transact = right  # type: ignore[method-assign]
    await get(lazy, key_id)
    assert [row[0] for row in rows(lazy)] == ["Create", "Get", "Get"], "what waited is in front"
    verified(lazy)
    await get(lazy, key_id)
    assert len(rows(lazy)) == 3, "and the next one waits again"


async def test_a_change_that_is_refused_makes_reads_durable_again(lazy: Server) -> None:
    """What the disk refuses is seen at the change; the rows that went with it wait for no timer."""
    key_id, waits = await made(lazy), lazy.service.core.commits.unwritten
    await get(lazy, key_id)
    disk = HeldDisk(lazy, refusals=1)
    disk.go.set()
    with pytest.raises(GeneralFailure, match="storage refused"):
        await do(lazy, Create())
    assert waits.rows == 1
    await get(lazy, key_id)
    assert waits.rows == 0 and [row[0] for row in rows(lazy)] == ["Create", "Get", "Get"]
    verified(lazy)


async def test_a_change_is_seen_by_who_reads_after_it(lazy: Server) -> None:
    """Also by who asks while it is on its way: that one stands behind it in the trail."""
    key_id = await made(lazy)
    await get(lazy, key_id)
    destroyed = asyncio.ensure_future(do(lazy, DestroyObject(unique_identifier=key_id)))
    await asyncio.sleep(0)
    late = asyncio.ensure_future(get(lazy, key_id))
    await destroyed
    with pytest.raises(ItemNotFound):
        await late
    with pytest.raises(ItemNotFound):
        await get(lazy, key_id)
    await trail(lazy)
    assert [(row[0], row[2]) for row in rows(lazy)] == [
        ("Create", "Success"),
        ("Get", "Success"),
        ("Destroy", "Success"),
        ("Get", "Item Not Found"),
        ("Get", "Item Not Found"),
    ]
    verified(lazy)


async def test_a_look_that_a_change_overtakes_is_not_believed(lazy: Server) -> None:
    """What was read from the database before a change, and comes after it, is read again."""
    key_id, database = await made(lazy), lazy.database
    lazy.service.core.commits.kept.clear()
    query, go = database.query, asyncio.Event()

    async def slow(fn: Callable[[Any], Any], *, long: bool = False) -> Any:
        found = await query(fn)
        await go.wait()
        return found

    database.query = slow  # type: ignore[method-assign]
    early = asyncio.ensure_future(get(lazy, key_id))
    await asyncio.sleep(0)
    await do(lazy, DestroyObject(unique_identifier=key_id))
    go.set()
    with pytest.raises(ItemNotFound):
        await early
    assert lazy.service.core.commits.kept.rows([key_id]) is None
    await trail(lazy)
    assert [row[0] for row in rows(lazy)] == ["Create", "Destroy", "Get"]


async def test_a_kept_row_is_for_those_who_may_see_it(lazy: Server) -> None:
    key_id = await made(lazy)
    await get(lazy, key_id)
    with pytest.raises(ItemNotFound):
        await do(lazy, Get(unique_identifiers=(key_id,), required=True), STRANGER)
    assert [(row[0], row[2]) for row in await trail(lazy)] == [
        ("Create", "Success"),
        ("Get", "Success"),
        ("Get", "Item Not Found"),
    ]
    assert [scope for _, _, scope in rows(lazy, "scope")] == ["default", "default", "b"]


async def test_a_row_is_kept_when_its_tag_is_right_and_not_before(lazy: Server) -> None:
    key_id = await made(lazy)
    lazy.platter.sql("UPDATE keys SET state = 'Active'")
    for _ in range(2):
        with pytest.raises(ProductError, match="altered"):
            await get(lazy, key_id)
    lazy.platter.sql("UPDATE keys SET state = 'Pre-Active'")
    material = await get(lazy, key_id)
    lazy.platter.sql("UPDATE keys SET state = 'Active'")
    assert await get(lazy, key_id) == material, "what this server has seen to be its own"
    with pytest.raises(ProductError, match="altered"):
        await do(lazy, RevokeObject(unique_identifier=key_id))


async def test_a_flood_of_refusals_is_counted_here_too(lazy: Server) -> None:
    for _ in range(3 * ROWS):
        with pytest.raises(ItemNotFound):
            await get(lazy, KeyId("made up"))
    found = lazy.platter.sql("SELECT times FROM audit")
    assert len(found) < ROWS
    await trail(lazy)
    assert lazy.platter.sql("SELECT times FROM audit") == [(1,)] * ROWS + [(2 * ROWS,)]


async def test_another_kek_leaves_no_row_under_the_old_one(lazy: Server) -> None:
    key_id = await made(lazy)
    await get(lazy, key_id)
    assert lazy.service.core.commits.kept.rows([key_id]) is not None
    await lazy.ask(RotateKek(after=1), LOCAL)
    assert lazy.service.core.commits.kept.rows([key_id]) is None


async def test_a_key_under_which_another_leaves_is_as_it_is_now(lazy: Server) -> None:
    secret = await made(lazy)
    wrap = Register(material=KeyMaterial(bytes(32)), usage_mask=16)
    under = (await do(lazy, wrap)).unique_identifier
    await do(lazy, ActivateObject(unique_identifier=under))
    request = Get(unique_identifiers=(secret,), required=True, wrapping=KeyWrapping(key_id=under))
    commits = lazy.database.commits
    first = await do(lazy, request)
    assert await do(lazy, request) == first
    assert lazy.database.commits == commits
    await do(lazy, RevokeObject(unique_identifier=under))
    with pytest.raises(ProductError):
        await do(lazy, request)
    await trail(lazy)
    verified(lazy)


async def test_dates_come_to_kept_rows(lazy: Server) -> None:
    key_id = await made(lazy)
    soon = GetObjectAttributes(unique_identifiers=(key_id,))
    assert (await do(lazy, soon)).objects[0].state == "Pre-Active"
    await do(lazy, ActivateObject(unique_identifier=key_id))
    assert (await do(lazy, soon)).objects[0].state == "Active"


def drawn(rng: random.Random, ids: list[KeyId]) -> list[CoreRequest[Any]]:
    """A message: mostly reads, of keys that are there, and of one that is not."""
    some = KeyId("none") if not ids or rng.random() < 0.1 else rng.choice(ids)
    one: CoreRequest[Any] = rng.choice(
        [
            Get(unique_identifiers=(some,), required=True),
            Get(unique_identifiers=(some,), required=True),
            GetObjectAttributes(unique_identifiers=(some,), required=True),
            Create(),
            ActivateObject(unique_identifier=some),
            RevokeObject(unique_identifier=some),
            DestroyObject(unique_identifier=some),
            LocateObjects(maximum_items=3),
        ]
    )
    return [one, *drawn(rng, ids)] if rng.random() < 0.3 else [one]


@pytest.mark.parametrize("seed", range(6))
async def test_it_answers_as_durable_audit_does(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same messages, to both: the same answers, and in the end the same trail."""
    monkeypatch.setattr(key_cache, "KEYS", 2)
    monkeypatch.setattr(deferred_rows, "BUFFERED_ROWS", 7)
    rng, said, trails = random.Random(seed), [], []
    seeds = [rng.random() for _ in range(60)]
    for config in (CONFIG, BUFFERED):
        server = Server(clock=HeldClock(), config=config)
        await server.boot()
        ids, answers = list[KeyId](), []
        for number, one in enumerate(seeds):
            message = drawn(random.Random(one), ids)
            server.clock.wall += 1
            done = await items(server, *message, option=Continuation.CONTINUE, caller=OWNER)
            answers.append([repr(item) for item in done])
            responses = [item.response for item in done]
            ids += [one.unique_identifier for one in responses if isinstance(one, Created)]
            if number % 13 == 0:
                await clock(server).pass_by()
        said.append(answers)
        await trail(server)
        trails.append(server.platter.sql("SELECT * FROM audit ORDER BY sequence"))
        verified(server)
        for row in store.rows(server.platter.databases["keys"], server.vault, 0, 1_000_000):
            assert row.key_id in ids
        for work in list(server.node.works):
            work.cancel()
    assert said[0] == said[1]
    assert trails[0] == trails[1]


ROW = SimpleNamespace(attributes=b"")


async def test_a_row_of_many_attributes_is_read_each_time(lazy: Server) -> None:
    """A client that fills its keys fills no memory."""
    key_id = await made(lazy)
    value = "v" * key_cache.ATTRIBUTES
    await do(
        lazy,
        AddObjectAttribute(unique_identifier=key_id, attribute=Attribute(name="x-a", value=value)),
    )
    first = await get(lazy, key_id)
    assert lazy.service.core.commits.kept.rows([key_id]) is None
    assert await get(lazy, key_id) == first
    await trail(lazy)
    verified(lazy)


def test_rows_are_kept_up_to_a_number_and_the_first_gives_way(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(key_cache, "KEYS", 2)
    shelf, row = RowCache(), ROW
    for name in "abc":
        look = shelf.look([KeyId(name)])
        assert shelf.looked(look, {KeyId(name): row})  # type: ignore[dict-item]
    assert [shelf.rows([KeyId(name)]) is not None for name in "abc"] == [False, True, True]


def test_what_is_about_to_change_is_not_kept() -> None:
    shelf, key_id, row = RowCache(), KeyId("a"), ROW
    for touches in ([key_id], None):
        shelf.change(touches)
        shelf.change(touches)
        for _ in range(2):
            assert not shelf.looked(shelf.look([key_id]), {key_id: row})  # type: ignore[dict-item]
            shelf.end_change(touches)
        assert shelf.looked(shelf.look([key_id]), {key_id: row})  # type: ignore[dict-item]
        look = shelf.look([key_id])
        shelf.change(touches)
        shelf.end_change(touches)
        assert not shelf.looked(look, {key_id: row})  # type: ignore[dict-item]
        assert shelf.rows([key_id]) is None


def test_a_key_that_nobody_named_is_not_kept() -> None:
    """What changed it meanwhile is not known."""
    shelf, one, two, row = RowCache(), KeyId("1"), KeyId("2"), ROW
    look = shelf.look([one])
    assert not shelf.looked(look, {one: row, two: row})  # type: ignore[dict-item]
    assert shelf.rows([one]) is None and shelf.rows([two]) is None


def test_what_a_message_may_change() -> None:
    one, two = KeyId("1"), KeyId("2")
    assert keys_touched_by([Create(), ActivateObject(), Get()]) == []
    assert keys_touched_by(
        [ActivateObject(unique_identifier=one), DestroyObject(unique_identifier=two)]
    ) == [
        one,
        two,
    ]
    assert keys_touched_by([Get(unique_identifiers=(one,)), GetObjectAttributes()]) == [one]
    assert keys_touched_by([LocateObjects(), ActivateObject()]) is None


def test_only_two_kinds_of_audit_are_known() -> None:
    assert kms_config({"audit": "buffered"}).audit is Auditing.BUFFERED
    assert kms_config({}).audit is Auditing.DURABLE
    with pytest.raises(InvalidArgument, match="audit"):
        kms_config({"audit": "never"})


def test_what_reads_without_a_transaction_is_named() -> None:
    named_by = buffered_reads._keys_named_by
    assert named_by([Get(unique_identifiers=(KeyId("1"),))]) == {KeyId("1")}
    for message in (
        [Get()],
        [LocateObjects()],
        [Create()],
        [LocateObjects(attributes=(named("n"),)), Get()],
    ):
        assert named_by(message) is None
