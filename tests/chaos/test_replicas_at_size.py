"""Key servers with 20,000 keys each, compared: no answer is too large, and one key that is not the
same is found among them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Final

import msgspec
import pytest

from chaos.checks.keys.one_key_one_value import one_key_one_value
from chaos.checks.keys.replicas_agree import replicas_agree
from chaos.checks.result import CheckOutcome, Finding
from chaos.draws import Draws
from chaos.history import History
from chaos.observe.key_values import Values
from chaos.observe.replicas import LISTED, Groups
from protocol.codec import SIZE_LIMIT
from protocol.secret import KeyMaterial
from protocol.terms import KeyId, KmipState, NodeName
from services.kms.commit import store
from services.kms.custody.opening import DATABASE
from services.kms.objects.key_row import StoredKeyRow
from services.kms.replication import checksums
from services.kms.service import KmsService
from tests.chaos.worlds import World

KEYS: Final = 20_000
ALL: Final = KEYS + 2  # with those of the lab itself
ONE: Final = KeyId("bulk-004321")


def _secret(number: int) -> KeyMaterial:
    return KeyMaterial(number.to_bytes(32))


class Filled(World):
    """Two servers that replicate after the answer, with the same keys, which nobody has made."""

    def __init__(self) -> None:
        super().__init__(hosts=1, vms=1, kms={"replicas": 2, "mode": "async"})
        self.servers = [e.node for e in self.lab.directory().nodes if e.replication]
        for server in self.servers:
            for number in range(KEYS):
                self.put(server, KeyId(f"bulk-{number:06d}"), _secret(number))
        self.heaviest = 0
        tell: Any = self.lab.tell

        async def weighed(*args: Any) -> Any:
            reply = await tell(*args)
            self.heaviest = max(self.heaviest, len(msgspec.msgpack.encode(reply)))
            return reply

        self.lab.tell = weighed  # type: ignore[assignment, method-assign]

    def service(self, server: NodeName) -> KmsService:
        service = self.lab.agent.machine(server).runner.service
        assert isinstance(service, KmsService)
        return service

    def put(self, server: NodeName, key_id: KeyId, secret: KeyMaterial) -> None:
        """A row as if the key had been made at the first server."""
        vault = self.service(server)._vault
        row = StoredKeyRow(
            key_id=key_id,
            scope="vcenter",
            operation_id=f"made {key_id}",
            origin=self.servers[0],
            algorithm="AES",
            length=256,
            usage_mask=12,
            state=KmipState.ACTIVE,
            initial_date=1.0,
            activation_date=1.0,
            deactivation_date=None,
            compromise_date=None,
            destroy_date=None,
            last_change_date=1.0,
            wrapped=vault.close(
                secret, store.binding(key_id, "vcenter", "AES", 256, 12), bytes(12)
            ),
            changed=1,
            digest=store.digest(secret),
        )
        store.insert(self.connection(server), vault, row)

    def connection(self, server: NodeName) -> Any:
        return self.lab.world.stores[server].drives[DATABASE].connection

    def edit(self, server: NodeName, key_id: KeyId, **changes: Any) -> None:
        """The row as it never came to be by a message."""
        vault, connection = self.service(server)._vault, self.connection(server)
        row = store.find(connection, vault, key_id)
        assert row is not None
        store.update(connection, vault, msgspec.structs.replace(row, **changes))

    def agree(self) -> tuple[Finding, Sequence[dict[str, Any]]]:
        """What the check says of what is seen at the end, and what was seen."""
        history = History(None, self.lab.monotonic)
        self.run(Groups(self.lab, history).end())
        told = [one.data for one in history.records if one.op == "replicas"]
        return replicas_agree(history.records), told


@pytest.fixture(scope="module")
def filled() -> Iterator[Filled]:
    world = Filled()
    yield world
    assert world.heaviest < SIZE_LIMIT
    world.close()


def test_the_same_keys_are_the_same(filled: Filled) -> None:
    found, told = filled.agree()
    assert found.result is CheckOutcome.PASS and f"have the same {ALL} keys" in found.text
    assert [one["keys"] for one in told] == [ALL] * 2
    assert filled.heaviest > SIZE_LIMIT // 10  # what was weighed are pages


@pytest.mark.slow
def test_one_state_that_differs_is_found(filled: Filled) -> None:
    filled.edit(filled.servers[1], ONE, state=KmipState.DEACTIVATED)
    found, _ = filled.agree()
    filled.edit(filled.servers[1], ONE, state=KmipState.ACTIVE)
    assert found.result is CheckOutcome.FAIL
    assert found.text == f"1 of {ALL} keys differ: {ONE} is not in the same state everywhere"


@pytest.mark.slow
def test_keys_that_one_lacks_are_counted_and_the_first_listed(filled: Filled) -> None:
    lacks, other = filled.servers
    only = [KeyId(f"bulk-005000-{number:03d}") for number in range(LISTED + 50)]
    for key_id in only:
        filled.put(other, key_id, _secret(1))
    found, told = filled.agree()
    filled.connection(other).execute("DELETE FROM keys WHERE key_id LIKE 'bulk-005000-%'")
    assert found.result is CheckOutcome.FAIL
    assert found.text == f"{len(only)} of {ALL + 150} keys differ: {only[0]} is not on {lacks}"
    assert [one["keys"] for one in told] == [ALL, ALL + 150]
    assert [list(one["differ"]) for one in told] == [[], only[:LISTED]]


@pytest.mark.slow
def test_one_id_with_two_values_is_found(filled: Filled) -> None:
    server = filled.servers[1]
    before = store.find(filled.connection(server), filled.service(server)._vault, ONE)
    assert before is not None
    one_value = _one_value(filled)
    assert one_value.result is CheckOutcome.PASS and f"{ALL} keys" in one_value.text
    aad = store.binding(ONE, "vcenter", "AES", 256, 12)
    vault = filled.service(server)._vault
    filled.edit(server, ONE, wrapped=vault.close(_secret(7), aad, bytes(12)))
    found = _one_value(filled)
    filled.edit(server, ONE, wrapped=before.wrapped)
    assert found.result is CheckOutcome.FAIL and found.text.startswith(f"{ONE} in the server of")


def _one_value(filled: Filled) -> Finding:
    history = History(None, filled.lab.monotonic)
    filled.run(Values(filled.lab, history, Draws(1, "values")).whole(end=True))
    [made] = {one.data["keys"] for one in history.records if one.op == "creations"}
    assert made == ALL and not history.dropped
    return one_key_one_value(history.records)


def test_the_digest_is_of_all_that_must_agree(filled: Filled) -> None:
    server = filled.servers[0]
    row = store.find(filled.connection(server), filled.service(server)._vault, ONE)
    assert row is not None
    kept = msgspec.structs.replace(row, wrapped=b"otherwise", changed=9)
    moved = msgspec.structs.replace(row, deactivation_date=5.0)
    assert checksums.digest(kept) == checksums.digest(row) != checksums.digest(moved)
