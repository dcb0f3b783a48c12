"""Names of new keys, and Creates of which nobody knows whether they happened."""

from __future__ import annotations

import asyncio
import errno
import uuid
from collections.abc import Callable
from typing import Any

import pytest

from protocol.errors import GeneralFailure
from services.kms.objects.identifiers import Ids, IdScheme, SequentialIds, TimedIds, ids_of
from services.kms.objects.request_types import Create
from tests.services.kms.core_rig import do
from tests.services.kms.ports import Server

NOON = 1_700_000_000.25


BYTES = pytest.mark.parametrize("random", [bytes(16), b"\xff" * 16, bytes(range(16))])


@BYTES
def test_a_random_id_is_a_uuid_of_version_4(random: bytes) -> None:
    made = uuid.UUID(Ids().draw(random, NOON))
    assert (made.version, made.variant) == (4, uuid.RFC_4122)
    assert str(made) == Ids().draw(random, NOON + 1), "as RFC 9562 writes it, at any time"


@BYTES
def test_a_timed_id_is_a_uuid_of_version_7_that_begins_with_the_time(random: bytes) -> None:
    made = uuid.UUID(TimedIds().draw(random, NOON))
    assert (made.version, made.variant) == (7, uuid.RFC_4122)
    assert made.int >> 80 == 1_700_000_000_250
    assert str(made) == TimedIds().draw(random, NOON), "as RFC 9562 writes it"


@pytest.mark.parametrize(("ids", "bits"), [(Ids(), 122), (TimedIds(), 74)])
def test_so_many_bits_of_an_id_are_random(ids: Ids, bits: int) -> None:
    drawn = [uuid.UUID(ids.draw((1 << bit).to_bytes(16), NOON)).int for bit in range(128)]
    assert len({*drawn}) == bits + 1, "each of them for itself, and all others for nothing"


def test_timed_ids_of_later_keys_stand_behind() -> None:
    """In the order of text, which is that of the indexes."""
    drawn = [TimedIds().draw(b"\xff" * 16, NOON), TimedIds().draw(bytes(16), NOON + 0.001)]
    assert drawn == sorted(drawn)


@pytest.mark.parametrize("at", [-1.0, 2.0**60])
def test_a_clock_that_is_far_off_names_keys_too(at: float) -> None:
    assert uuid.UUID(TimedIds().draw(bytes(16), at)).version == 7


def test_numbers_go_on() -> None:
    ids = SequentialIds(4)
    assert [ids.draw(b"", NOON), ids.draw(b"", NOON)] == ["5", "6"]


async def test_a_scheme_has_its_ids(server: Server) -> None:
    database = server.database
    made = [type(await ids_of(scheme, database)) for scheme in IdScheme]
    assert made == [Ids, TimedIds, SequentialIds]


async def test_a_create_whose_commit_may_have_happened_is_not_done_again(server: Server) -> None:
    """The disk has the keys, and says that it failed: both are told so, and each has one."""
    transact = server.database.transact

    async def fails_late(
        fn: Callable[..., Any], applied: Callable[[Any], None] | None = None
    ) -> Any:
        server.database.transact = transact  # type: ignore[method-assign]
        await transact(fn)
        raise OSError(errno.EIO, "Input/output error")

    server.database.transact = fails_late  # type: ignore[method-assign]
    asked = [do(server, Create()), do(server, Create())]
    told = await asyncio.gather(*asked, return_exceptions=True)
    assert [type(one) for one in told] == [GeneralFailure, GeneralFailure]
    assert server.platter.sql("SELECT count(*) FROM keys") == [(2,)]
    rows = server.platter.sql("SELECT count(*) FROM audit WHERE operation = 'Create'")
    assert rows == [(2,)]
