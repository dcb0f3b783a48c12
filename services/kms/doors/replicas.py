"""A key on its way between servers that replicate: its row, and its material beside it.

Fields of the store and of the message stand here one by one: what is not listed stays at home,
such as how the material is wrapped.
"""

from __future__ import annotations

from collections.abc import Sequence

from protocol.messages import kms as m
from protocol.messages.base import Sealed
from protocol.pages import KEY_BYTES, first_page
from services.kms import attributes
from services.kms.audit import TrailEnd
from services.kms.keyrow import StoredKeyRow
from services.kms.merging import KeyReplica


def as_many_as_fit(replicas: Sequence[KeyReplica]) -> Sequence[KeyReplica]:
    """The first of ``replicas``, as many as one message holds by their weight."""
    page = first_page(
        (build_replica(r.row, None if r.secret is None else 0) for r in replicas), extra=KEY_BYTES
    )
    return replicas[: len(page)]


def message(
    replicas: Sequence[KeyReplica], seen: TrailEnd, end: TrailEnd, *, last: bool
) -> m.ReplicateKeys:
    """What tells the peer of these keys; ``last``: nothing else waits for it.

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
        KeyReplica(_row(key), None if key.index is None else secrets[key.index]) for key in keys
    ]


def build_replica(row: StoredKeyRow, index: int | None = None) -> m.Replica:
    """A row as the others learn it: all that they must agree upon."""
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


def _row(key: m.Replica) -> StoredKeyRow:
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
