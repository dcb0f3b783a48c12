"""A Name that two servers have given to two keys while they were apart: both are told, until one of
the keys has it no more (KMIP 1.4 section 3.2)."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from protocol.attributes import Attribute, ObjectName
from protocol.errors import IllegalOperation
from protocol.messages.kms import keys as key_messages
from protocol.messages.kms import replication as replication_messages
from protocol.terms import KeyId, NodeName, RevocationReason
from tests.services.kms.group_rig import GroupRig
from tests.services.kms.pair_rig import PAIR, A, B, PairRig

NAME = ObjectName(value="db")


@pytest.fixture(params=["sync-pair", "async"])
def rig(request: pytest.FixtureRequest) -> Iterator[PairRig]:
    made = PairRig() if request.param == "sync-pair" else GroupRig(servers=PAIR)
    yield made
    made.close()


def shared(rig: PairRig, server: NodeName) -> tuple[replication_messages.SharedName, ...]:
    status: replication_messages.GroupStatus | replication_messages.PairStatus = rig.at(
        server, replication_messages.QueryPair()
    )
    if isinstance(rig, GroupRig):
        status = rig.group(server)
    assert status.names_shared == len(status.shared_names)
    return status.shared_names


def name(rig: PairRig, server: NodeName, operation_id: str) -> KeyId:
    key = rig.key(server, operation_id)
    rig.ask(server, key_messages.AddAttribute(key_id=key, name="Name", value=NAME))
    return key


def test_both_servers_tell_of_it_until_it_is_settled(rig: PairRig) -> None:
    early = rig.key(A, "early")
    rig.sleep(5)
    rig.cut((A, B))
    keys = (name(rig, A, "1"), name(rig, B, "2"))
    rig.heal()
    rig.sleep(120)
    told = {(record.node, record.fields["name"]) for record in rig.seen("kms.name_shared")}
    assert told == {(A, "db"), (B, "db")}
    sought = key_messages.Locate(attributes=(Attribute(name="Name", value=NAME),))
    for server in PAIR:
        assert shared(rig, server) == (
            replication_messages.SharedName(name="db", key_ids=tuple(sorted(keys))),
        )
        assert set(rig.ask(server, sought).key_ids) == set(keys)
        with pytest.raises(IllegalOperation):
            rig.ask(server, key_messages.AddAttribute(key_id=early, name="Name", value=NAME))
    times = len(rig.seen("kms.name_shared"))
    rig.ask(B, key_messages.Activate(key_id=keys[0]))
    rig.sleep(60)
    assert len(rig.seen("kms.name_shared")) == times, "it is no news"
    rig.at(A, key_messages.DeleteAttribute(key_id=keys[1], name="Name"))
    rig.sleep(60)
    assert [shared(rig, server) for server in PAIR] == [(), ()]
    rig.healthy()


def test_a_destroyed_key_shares_its_name_with_nobody(rig: PairRig) -> None:
    rig.sleep(5)
    rig.cut((A, B))
    first = name(rig, A, "1")
    rig.at(A, key_messages.Revoke(key_id=first, reason=RevocationReason.UNSPECIFIED))
    rig.at(A, key_messages.Destroy(key_id=first))
    name(rig, B, "2")
    rig.heal()
    rig.sleep(120)
    assert not rig.seen("kms.name_shared")
    assert [shared(rig, server) for server in PAIR] == [(), ()]
