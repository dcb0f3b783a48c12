"""What a device that lies about a page leaves for a power loss to show."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from random import Random

import pytest

from services.runtime.sim import database
from services.runtime.sim.database import PageFlaw, StoredDatabase, pages
from services.runtime.sql import check_integrity

DRAW = Random(1).randrange


def filled() -> tuple[StoredDatabase, bytes]:
    """A database of two tables, and its image before the last commit."""
    drive = StoredDatabase()
    for table in "ab":
        drive.connection.execute(f"CREATE TABLE {table} (n INTEGER PRIMARY KEY, body TEXT)")
        drive.connection.execute(f"INSERT INTO {table} VALUES (1, 'old')")  # noqa: S608
    before = drive.image()
    drive.connection.execute("UPDATE a SET body = 'new'")
    return drive, before


def body(drive: StoredDatabase, table: str) -> object:
    return drive.connection.execute(f"SELECT body FROM {table}").fetchall()  # noqa: S608


def test_a_lost_write_shows_the_old_page_after_a_power_loss_and_not_before() -> None:
    drive, before = filled()
    drive.flaws |= database.draw_lost_write(before, drive.image(), DRAW)
    assert body(drive, "a") == [("new",)]
    with closing(drive.lose_power()) as after:
        assert (body(after, "a"), body(after, "b")) == ([("old",)], [("old",)])
        assert after.flaws == {}


def test_a_page_that_is_written_again_is_whole() -> None:
    drive, before = filled()
    drive.flaws |= database.draw_lost_write(before, drive.image(), DRAW)
    drive.connection.execute("UPDATE a SET body = 'newer'")
    with closing(drive.lose_power()) as after:
        assert body(after, "a") == [("newer",)]


def test_a_misdirected_write_takes_the_place_of_another_page() -> None:
    drive, before = filled()
    drive.flaws |= database.draw_misdirected_write(before, drive.image(), DRAW)
    with closing(drive.lose_power()) as after:
        assert (body(after, "a"), body(after, "b")) == ([("old",)], [("new",)])


def test_bit_rot_is_one_bit() -> None:
    drive, before = filled()
    image = drive.image()
    [(page, flaw)] = database.draw_bit_rot(before, image, DRAW).items()
    assert flaw.should_be == pages(image)[page]
    bits = int.from_bytes(flaw.should_be) ^ int.from_bytes(flaw.on_device)
    assert bits.bit_count() == 1
    drive.close()


def test_what_no_page_was_written_for_has_no_flaw() -> None:
    drive, _ = filled()
    image = drive.image()
    assert (
        database.draw_lost_write(image, image, DRAW)
        == database.draw_misdirected_write(image, image, DRAW)
        == {}
    )
    drive.close()


def test_an_index_that_lacks_a_row_is_damage() -> None:
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as connection:
        connection.execute("CREATE TABLE a (n INTEGER PRIMARY KEY, name TEXT UNIQUE)")
        connection.execute("INSERT INTO a VALUES (1, 'x')")
        before = connection.serialize()
        connection.execute("INSERT INTO a VALUES (2, 'y')")
        image = connection.serialize()
        check_integrity(connection, "a")
    old, now = pages(before), pages(image)
    index = max(page for page in range(len(now)) if old[page] != now[page])
    damaged = database.apply_flaws(image, {index: PageFlaw(now[index], old[index])})
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as connection:
        connection.deserialize(damaged)
        with pytest.raises(OSError, match="the database is damaged"):
            check_integrity(connection, "a")
