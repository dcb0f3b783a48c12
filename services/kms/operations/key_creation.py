"""Random values of a message, drawn before its transaction: keys, ids and nonces.

A transaction may run twice, and in a thread that must not draw.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final

import msgspec

from protocol.secret import KeyMaterial
from protocol.terms import KeyId, KmipState, NodeName
from services.kms.access.authorization import KeyServerCaller
from services.kms.audit.audit_trail import AuditEntry
from services.kms.commit import store
from services.kms.commit.new_keys import Making, NewKeyOrder
from services.kms.commit.unit_of_work import FreshKey
from services.kms.objects import algorithms, attributes, request_checks, request_types
from services.kms.objects.cipher_modes import LONGEST_IV
from services.kms.objects.identifiers import Ids
from services.kms.objects.key_row import StoredKeyRow
from services.kms.objects.request_types import CoreOperation, CoreRequest, EncryptData, ReKey
from services.kms.operations import rekey
from services.kms.sealing.vault import Vault
from services.runtime.ports import Clock, Rng

_DATE: Final = struct.Struct(">d")
_ODD: Final = 1.5e300 / 7  # an impossible time


class FreshKeys:
    """New keys of one message, in order. The message may be executed again when the outcome of a
    commit is unknown: it may then have made them before."""

    def __init__(self, keys: Sequence[FreshKey]) -> None:
        self._keys, self._taken = keys, False

    def __iter__(self) -> Iterator[FreshKey]:
        if self._taken:
            self._keys = [msgspec.structs.replace(key, unheard=False) for key in self._keys]
        self._taken = True
        return iter(self._keys)


class Mint:
    """Makes keys for the server ``name``; ``ids`` names them."""

    def __init__(self, name: NodeName, vault: Vault, rng: Rng, ids: Ids) -> None:
        self._name, self._vault, self._rng, self._ids = name, vault, rng, ids
        self._around: list[bytes] = []

    def learn(self, key_ids: Iterable[KeyId]) -> None:
        """Other servers have used these ids."""
        self._ids.learn(key_ids)

    def nonces(self, count: int) -> list[bytes]:
        """So many nonces, for wrapping keys of other servers."""
        return [self._rng.token(12) for _ in range(count)]

    def draw_for(self, requests: Sequence[CoreRequest[Any]], at: float) -> list[CoreRequest[Any]]:
        """The requests, with the random values that they need and do not have, at a time in Unix
        seconds."""
        return [with_drawn(request, self._rng, self._ids, at) for request in requests]

    def keys(
        self, caller: KeyServerCaller, requests: Sequence[CoreRequest[Any]], at: float
    ) -> FreshKeys:
        """A new key for each valid request that asks for one."""
        return FreshKeys(
            [
                self._key(caller, request, at)
                for request in requests
                if isinstance(request, request_types.NewKey)
                and request_checks.flaw(request) is None
            ]
        )

    @property
    def unheard(self) -> bool:
        """Whether no other server ever draws an id that this one draws."""
        return self._ids.unheard

    def make_keys(self, clock: Clock, wanted: Sequence[NewKeyOrder]) -> list[Making]:
        """New keys for these valid requests, which have no operation id and no attributes. In one
        call they cost a third of single calls."""
        at, made = clock.now(), list[Making]()
        date = _DATE.pack(at)
        for one in wanted:
            caller, row = one.caller, self._key(one.caller, one.request, at).row
            around = self._around = self._around or _around(row, self._name)
            row = msgspec.structs.replace(row, attributes=date.join(around))
            entry = AuditEntry(caller.who, caller.scope, CoreOperation.CREATE, row.key_id)
            made.append(Making(row, entry))
        return made

    def _key(self, caller: KeyServerCaller, request: request_types.NewKey, at: float) -> FreshKey:
        """The key is dropped when the request is a repeat."""
        algorithm, length, mask = request.algorithm, request.length, request.usage_mask
        drawn, size = self._rng.token(16 + 12), algorithms.size(algorithm, length, mask)
        if isinstance(request, request_types.Register):
            secret = request.material
        else:
            secret = KeyMaterial(self._rng.token(size))
        key_id, scope = self._ids.draw(drawn[:16], at), caller.scope
        aad = store.binding(key_id, scope, algorithm, length, mask)
        # Positional, in the order of the fields: keyword arguments take ten times as long.
        row = StoredKeyRow(
            key_id,
            scope,
            request.operation_id or key_id,
            self._name,
            algorithm,
            length,
            mask,
            KmipState.PRE_ACTIVE,
            at,  # Initial Date
            None,  # Activation Date
            None,  # Deactivation Date
            None,  # Compromise Date
            None,  # Destroy Date
            at,  # Last Change Date
            self._vault.close(secret, aad, drawn[16:]),
            0,  # the trail's row
            store.digest(secret),
        )
        return FreshKey(row, secret, self._ids.unheard and not request.operation_id)


def _around(row: StoredKeyRow, server: NodeName) -> list[bytes]:
    """The bytes around the date in the attributes of a new key without attributes of its own."""
    made = attributes.with_template(row, (), _ODD, server, brought=False)
    return made.attributes.split(_DATE.pack(_ODD))


# ---- values that requests need -------------------------------------------------------------------


def with_drawn(request: CoreRequest[Any], rng: Rng, ids: Ids, at: float) -> CoreRequest[Any]:
    """The request with an IV for an Encrypt that has none, or id and bytes of a Re-key; ``at`` in
    Unix seconds."""
    if isinstance(request, EncryptData) and request.iv is None:
        return msgspec.structs.replace(request, drawn=rng.token(LONGEST_IV))
    if isinstance(request, ReKey):
        new_id, drawn = ids.draw(rng.token(16), at), rng.token(rekey.DRAWN)
        return msgspec.structs.replace(request, new_id=new_id, drawn=KeyMaterial(drawn))
    return request
