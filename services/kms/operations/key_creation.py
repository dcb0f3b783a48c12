"""Creation of keys: random values of a message (keys, ids, nonces), drawn before its transaction,
and Re-key, which creates the key that replaces another one (KMIP 1.4 section 4.4).
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final

import msgspec

from protocol.attributes import GRANTED_SCOPE, Attribute, ObjectLink, UsageLimitsValue
from protocol.errors import (
    IllegalOperation,
    InvalidField,
    InvalidMessage,
    ItemNotFound,
    ProductError,
)
from protocol.secret import KeyMaterial
from protocol.terms import KeyId, KmipState, NodeName
from services.kms.access.authorization import KeyServerCaller
from services.kms.audit.audit_trail import AuditEntry
from services.kms.commit import store
from services.kms.commit.store import Making, NewKeyOrder
from services.kms.commit.unit_of_work import FreshKey, Work
from services.kms.objects import algorithms, attributes, key_row, request_checks, request_types
from services.kms.objects.algorithms import LONGEST_IV
from services.kms.objects.identifiers import Ids
from services.kms.objects.key_row import StoredKeyRow
from services.kms.objects.request_types import (
    CoreOperation,
    CoreRequest,
    EncryptData,
    ReKey,
    ReplacedKey,
)
from services.kms.operations import attribute_operations
from services.kms.sealing.vault import Vault
from services.runtime.ports import Clock, Rng

NONCE_SIZE, LONGEST_KEY = 12, 32
DRAWN_BY_REKEY: Final = NONCE_SIZE + LONGEST_KEY
"""Bytes to draw for a key whose length is not known yet."""

_SAME: Final = {
    "Cryptographic Algorithm": "algorithm",
    "Cryptographic Length": "length",
    "Cryptographic Usage Mask": "usage_mask",
}
_DATES: Final = (
    attributes.ACTIVATION,
    attributes.PROCESS_START,
    attributes.PROTECT_STOP,
    attributes.DEACTIVATION,
)
_FOLLOWS: Final = ("Replacement Object Link", "Replaced Object Link")


def replace_key(work: Work, request: ReKey) -> ReplacedKey:
    """See ``ReKey``."""
    old = work.object(request)
    try:
        if not key_row.has_material(old.state):
            raise ItemNotFound(f"the key is {old.state}")
        named = _names_in_request(old, request)
        given = [
            *_dates(old, request, work.at, named),
            *_attributes_to_keep(old, named),
            *request.attributes,
        ]
        fresh = _create_fresh_key(work, old, request)
        link = ObjectLink(type=_FOLLOWS[1], linked=old.key_id)
        given.append(Attribute(name="Link", value=link))
        others = [one for one in given if one.name not in _SAME]
        row = attributes.with_template(fresh.row, others, work.at, work.server, brought=False)
        work.update(_without_names(work, old, fresh.row), request.operation)
        for one in given:
            attribute_operations.check_name(work, row, one)
    except ProductError as error:
        raise work.refusal(error, old) from None
    work.insert(FreshKey(row, fresh.secret), request.operation)
    work.placeholder, work.repeated = row.key_id, False
    return ReplacedKey(unique_identifier=row.key_id)


def _names_in_request(old: StoredKeyRow, request: ReKey) -> set[str]:
    """Names of the attributes in the request; ``InvalidField`` for a fixed one that differs (rule
    1)."""
    for one in request.attributes:
        if one.name in _SAME and one.value != getattr(old, _SAME[one.name]):
            raise InvalidField(f"{one.name}: that of the old key stays")
    return {one.name for one in request.attributes}


def _dates(old: StoredKeyRow, request: ReKey, at: float, named: set[str]) -> Iterator[Attribute]:
    """Rule 4."""
    shift = 0.0
    had = attributes.single(old, attributes.ACTIVATION)
    if request.offset is not None:
        if not named.isdisjoint(_DATES):
            raise InvalidMessage("an Offset or dates, not both")
        if had is None and any(attributes.single(old, name) is not None for name in _DATES):
            raise IllegalOperation("an Offset moves no dates of a key without an Activation Date")
        yield Attribute(name=attributes.ACTIVATION, value=at + request.offset)
        shift = at + request.offset - had if isinstance(had, float) else 0.0
    for name in _DATES:
        date = attributes.single(old, name)
        moved = name == attributes.ACTIVATION and request.offset is not None
        if isinstance(date, float) and name not in named and not moved:
            yield Attribute(name=name, value=date + shift)


def _attributes_to_keep(old: StoredKeyRow, named: set[str]) -> Iterator[Attribute]:
    """Rules 2 and 3."""
    for one in attributes.of(old):
        settable = one.name in attributes.RULES or one.name.startswith("x-")
        if not settable or one.name in _DATES or one.name == GRANTED_SCOPE:
            continue  # the grant is for the old key
        if one.name in named and one.name != attributes.NAME:
            continue
        if attributes.RULES.get(one.name, attributes.CUSTOM_RULE).once:
            continue  # the new key has its own
        if isinstance(one.value, ObjectLink) and one.value.type in _FOLLOWS:
            continue
        if isinstance(one.value, UsageLimitsValue):
            one = msgspec.structs.replace(one, value=msgspec.structs.replace(one.value, spent=()))
        yield one


def _create_fresh_key(work: Work, old: StoredKeyRow, request: ReKey) -> FreshKey:
    size = algorithms.key_size(old.algorithm, old.length, old.usage_mask)
    drawn = b"" if request.drawn is None else request.drawn.reveal()
    secret = KeyMaterial(drawn[NONCE_SIZE : NONCE_SIZE + size])
    kind = (old.algorithm, old.length, old.usage_mask)
    aad = store.binding(request.new_id, old.scope, *kind)
    changes: dict[str, Any] = dict.fromkeys(
        ("activation_date", "deactivation_date", "compromise_date", "destroy_date")
    )
    row = msgspec.structs.replace(
        old,
        key_id=request.new_id,
        operation_id=request.new_id,
        origin=work.server,
        state=KmipState.PRE_ACTIVE,
        initial_date=work.at,
        last_change_date=work.at,
        wrapped=work.vault.close(secret, aad, drawn[:NONCE_SIZE]),
        changed=0,
        digest=store.digest(secret),
        attributes=b"",
        **changes,
    )
    return FreshKey(row, secret)


def _without_names(work: Work, old: StoredKeyRow, new: StoredKeyRow) -> StoredKeyRow:
    link = Attribute(name="Link", value=ObjectLink(type=_FOLLOWS[0], linked=new.key_id))
    row, _ = attributes.add_attribute(old, link, work.at, work.server)
    if attributes.single(row, attributes.NAME) is None:
        return row
    return attributes.stamp(row, attributes.NAME, (), work.at, work.server)


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
        drawn, size = self._rng.token(16 + 12), algorithms.key_size(algorithm, length, mask)
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
        new_id, drawn = ids.draw(rng.token(16), at), rng.token(DRAWN_BY_REKEY)
        return msgspec.structs.replace(request, new_id=new_id, drawn=KeyMaterial(drawn))
    return request
