"""What ``get kms`` and ``describe kms`` say of a Name that several keys have."""

from __future__ import annotations

import pytest

from lab.serve.views import group_text, pair_text
from protocol.messages.kms.replication import GroupStatus, PairStatus, SharedName
from protocol.terms import KeyId, NodeName

NAMES = tuple(
    SharedName(name=name, key_ids=(KeyId("1"), KeyId("2"))) for name in ("db", "web", "mail")
)


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (0, ""),
        (1, "; Name of several keys: db (1, 2)"),
        (2, "; Name of several keys: db (1, 2), and 1 more such Name"),
        (3, "; Name of several keys: db (1, 2), and 2 more such Names"),
    ],
)
def test_names_are_told_of_behind_how_the_servers_stand(number: int, text: str) -> None:
    names = NAMES[:number]
    pair = PairStatus(peer=NodeName("kms-2"), names_shared=number, shared_names=names)
    group = GroupStatus(mode="async", names_shared=number, shared_names=names)
    assert (pair_text(pair), group_text(group)) == (f"kms-2 in step{text}", f"async{text}")
    assert pair_text(PairStatus()) == group_text(GroupStatus()) == ""
