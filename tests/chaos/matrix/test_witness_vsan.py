"""Witnesses of disk groups that were mounted: by whose help, and before whom."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from chaos.conversation import Said
from chaos.matrix.judging.account import Account
from tests.chaos.matrix.evidence import HOST, KEY
from tests.chaos.matrix.test_witness import (
    ID,
    KMS,
    LOADED,
    SAFE_AT_5,
    UNSEALED,
    VC,
    about,
    holds,
    line,
    push,
    said,
)

MOUNTED = line(17, "vsan.mounted", group="group-1", disks=2)
SPOKE = said(20, HOST, VC, "HostState", "reply")


def get(t: float, key: str = ID) -> Said:
    return said(t, HOST, KMS, "GetKeys", id=int(t), body={"key_ids": [key]})


def given(t: float, of: float, *, key: str = ID, state: str = "Active", index: Any = 0) -> Said:
    values = [{"key_id": key, "state": state, "index": index}]
    body = {"values": values}
    return said(t, KMS, HOST, "KeyValues", "reply", id=int(of), body=body, boxes=("fp:1",))


def mounts(**more: Any) -> Account:
    found = about(power_on=10.0, **more)
    return msgspec.structs.replace(found, course=msgspec.structs.replace(found.course, mounts=True))


def test_a_host_that_asks_the_key_server_itself_mounts_before_it_speaks_with_vcenter() -> None:
    asked = [get(15), given(16, of=15)]
    assert holds(15, mounts(records=[MOUNTED], said=[*asked, SPOKE]))
    assert holds(15, mounts(records=[LOADED, MOUNTED], said=[SPOKE]))  # its own store
    for records, said_ in (
        ([], [*asked, SPOKE]),
        ([MOUNTED], [SPOKE]),
        ([MOUNTED], [get(15), SPOKE]),
        ([MOUNTED], [get(15, "other"), given(16, of=15, key="other"), SPOKE]),
        ([MOUNTED], [get(15), given(16, of=15, state="Destroyed", index=None), SPOKE]),
        ([MOUNTED], [*asked, said(16.5, HOST, VC, "HostChanged")]),
        ([MOUNTED], [*asked, push(16, ID), SPOKE]),
        ([MOUNTED, line(30, "vsan.mounted")], [*asked, SPOKE]),
    ):
        assert not holds(15, mounts(records=records, said=said_)), (records, said_)


@pytest.mark.parametrize("reason", [37, 39])
def test_a_host_that_mounts_from_its_store_does_so_before_it_speaks(reason: int) -> None:
    boot = [UNSEALED, LOADED, SAFE_AT_5]
    assert holds(reason, mounts(records=[*boot, MOUNTED], said=[SPOKE]))
    late = line(21, "vsan.mounted")
    for records, said_ in (
        (boot, [SPOKE]),
        ([*boot, late], [SPOKE]),
        ([*boot, MOUNTED], [get(16), SPOKE]),
    ):
        assert not holds(reason, mounts(records=records, said=said_))


def test_a_host_that_derives_its_key_mounts_before_it_has_heard_of_anybody() -> None:
    assert holds(60, mounts(records=[MOUNTED], said=[SPOKE]))
    for records, said_ in (
        ([], [SPOKE]),
        ([MOUNTED], [get(16), SPOKE]),
        ([MOUNTED], [push(16, ID), SPOKE]),
    ):
        assert not holds(60, mounts(records=records, said=said_))


def test_a_key_that_is_gone_was_asked_for_by_the_host_itself() -> None:
    gone = given(16, of=15, state="Destroyed", index=None)
    assert holds(34, mounts(letter="NO", said=[get(15), gone]))
    assert not holds(34, mounts(letter="NO", said=[get(15), given(16, of=15)]))
    assert not holds(34, mounts(letter="NO", said=[SPOKE]))


def test_a_host_says_that_it_lacks_what_its_disks_are_under() -> None:
    lacks = line(16, "vsan.key_missing", key=str(KEY))
    assert holds(64, mounts(letter="NO", records=[lacks]))
    assert not holds(64, mounts(letter="NO", records=[MOUNTED]))
