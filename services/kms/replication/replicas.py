"""Keys that travel between servers: read from the store, as fields of a message, and stored; and
reports about Names that several keys have because of it.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence
from typing import Final

from protocol.errors import CryptographicFailure
from protocol.messages.base import Sealed
from protocol.messages.kms import replication as m
from protocol.pages import KEY_BYTES, first_page
from services.kms.access.authorization import KeyServerCaller
from services.kms.audit import audit_trail
from services.kms.audit.audit_trail import AuditTrail, TrailEnd
from services.kms.audit.deferred_rows import Allowance
from services.kms.commit import store
from services.kms.commit.group_commit import DoneMessage
from services.kms.commit.unit_of_work import KeyChange
from services.kms.objects import attributes
from services.kms.objects.key_row import StoredKeyRow
from services.kms.operations import attribute_operations
from services.kms.operations.attribute_operations import NameHolders
from services.kms.operations.core import KeyServerCore
from services.kms.replication import key_merge
from services.kms.replication.key_merge import KeyReplica, Replicated, Taken
from services.kms.settings.knobs import KmsNode

LISTED: Final = 1000
"""Keys, or Names, of a kind that are listed; the rest is only counted."""


def list_shared_names(connection: sqlite3.Connection) -> tuple[tuple[m.SharedName, ...], int]:
    """The first shared Names, and how many there are."""
    found, total = attribute_operations.view(connection, LISTED)
    return tuple([m.SharedName(name=one.name, key_ids=one.key_ids) for one in found]), total


def record_names(node: KmsNode, found: Sequence[NameHolders]) -> None:
    """Record each new shared Name."""
    for one in found:
        keys = ", ".join(one.key_ids)
        node.record("kms.name_shared", level="warning", name=one.name, keys=keys)


async def read_replicas(
    core: KeyServerCore, changes: Sequence[KeyChange]
) -> tuple[KeyReplica, ...]:
    """The keys of these changes, as they are now; ``CryptographicFailure`` as for ``Get``."""

    def read(connection: sqlite3.Connection) -> tuple[KeyReplica, ...]:
        found: list[KeyReplica] = []
        for change in changes:
            row = store.find(connection, core.vault, change.key_id)
            if row is None:
                raise CryptographicFailure(f"the row of key {change.key_id} is gone")
            found.append(KeyReplica(row, store.material(core.vault, row)))
        return tuple(found)

    return await core.database.query(read)


async def store_replicas(
    core: KeyServerCore,
    caller: KeyServerCaller,
    replicas: Sequence[KeyReplica],
    seen: TrailEnd,
    also: Callable[[sqlite3.Connection, Sequence[Taken]], None],
) -> Replicated:
    """Merge the peer's keys into this server's; durable on return.

    ``seen``: the end of this server's trail when the peer last saw it. ``also`` runs in the same
    transaction, after the keys are written, with the outcome of each.
    """
    core.mint.learn([replica.row.key_id for replica in replicas])
    at = core.now()
    nonces = core.mint.nonces(len(replicas))

    def run(
        connection: sqlite3.Connection, trail: AuditTrail, allowance: Allowance
    ) -> DoneMessage[Replicated]:
        intact = audit_trail.has(connection, seen)
        work = core.begin_work(connection, trail, caller, at, allowance=allowance)
        pairs = zip(replicas, nonces, strict=True)
        taken = [key_merge.take(work, replica, nonce) for replica, nonce in pairs]
        refused = [one.theirs.key_id for one in taken if one.refused]
        written = work.write()
        also(connection, taken)
        shared = tuple([one for key in taken for one in key.shared])
        return DoneMessage(Replicated(tuple(refused), trail.end(), intact, shared), written)

    touches = [replica.row.key_id for replica in replicas]
    return await core.commit(caller, run, touches)


def as_many_as_fit(replicas: Sequence[KeyReplica]) -> Sequence[KeyReplica]:
    """The first of ``replicas``, as many as fit into one message."""
    page = first_page(
        (build_replica(r.row, None if r.secret is None else 0) for r in replicas), extra=KEY_BYTES
    )
    return replicas[: len(page)]


def message(
    replicas: Sequence[KeyReplica], seen: TrailEnd, end: TrailEnd, *, last: bool
) -> m.ReplicateKeys:
    """The message that sends the peer these keys; ``last``: nothing else waits for it.

    ``seen``: the end of its trail when it last confirmed something; ``end``: that of this server's.
    """
    keys, material = keys_of(replicas)
    return m.ReplicateKeys(
        keys=keys,
        material=material,
        last=last,
        sequence=seen.sequence,
        digest=seen.digest,
        end_sequence=end.sequence,
        end_digest=end.digest,
    )


def keys_of(replicas: Sequence[KeyReplica]) -> tuple[tuple[m.Replica, ...], Sealed]:
    """These keys as fields of a message: the rows, and beside them the material."""
    keys: list[m.Replica] = []
    secrets = [r.secret for r in replicas if r.secret is not None]
    place = 0
    for row, secret in replicas:
        keys.append(build_replica(row, None if secret is None else place))
        place += secret is not None
    return tuple(keys), Sealed.of(*secrets)


def keys_of_message(message: m.ReplicateKeys) -> list[KeyReplica]:
    """The keys of a message, as the peer has them."""
    return keys_received(message.keys, message.material)


def keys_received(keys: Sequence[m.Replica], material: Sealed) -> list[KeyReplica]:
    """The keys of such fields, as the peer has them."""
    secrets = material.keys
    return [
        KeyReplica(_build_row(key), None if key.index is None else secrets[key.index])
        for key in keys
    ]


def build_replica(row: StoredKeyRow, index: int | None = None) -> m.Replica:
    """A row for other servers: the parts on which they must agree."""
    return m.Replica(
        key_id=row.key_id,
        scope=row.scope,
        operation_id=row.operation_id,
        origin=row.origin,
        algorithm=row.algorithm,
        length=row.length,
        usage_mask=row.usage_mask,
        state=row.state,
        initial_date=row.initial_date,
        activation_date=row.activation_date,
        deactivation_date=row.deactivation_date,
        compromise_date=row.compromise_date,
        destroy_date=row.destroy_date,
        last_change_date=row.last_change_date,
        digest=row.digest,
        attributes=tuple(attributes.unpack(row.attributes).values()),
        index=index,
    )


def _build_row(key: m.Replica) -> StoredKeyRow:
    return StoredKeyRow(
        key_id=key.key_id,
        scope=key.scope,
        operation_id=key.operation_id,
        origin=key.origin,
        algorithm=key.algorithm,
        length=key.length,
        usage_mask=key.usage_mask,
        state=key.state,
        initial_date=key.initial_date,
        activation_date=key.activation_date,
        deactivation_date=key.deactivation_date,
        compromise_date=key.compromise_date,
        destroy_date=key.destroy_date,
        last_change_date=key.last_change_date,
        wrapped=None,
        changed=0,
        digest=key.digest,
        attributes=attributes.pack({held.name: held for held in key.attributes}),
    )
