"""The attributes of a key: what each may be, who may change it and when, and how a row has them.

Facts that never change and the dates of a state are columns of a row; every other attribute lies
in its ``attributes``: per name the instances with their indices, and a stamp that says when and
where they were written last, by which two servers agree (``replication.key_merge``). A name whose
instances are all gone keeps its stamp. Pure; refusals are KMIP's (KMIP 1.4 sections 3 and 11).

1. What only a server sets, and a ``y-`` attribute, is Permission Denied to a client.
2. An index never changes while its instance lives; a new one is above those that are there.
3. Activation Date and Process Start Date are set while Pre-Active, Protect Stop Date and
   Deactivation Date until the key is deactivated, and none that has come. Dates are not deleted.
   Activation is not after Process Start, nor Protect Stop or Activation after Deactivation.
4. Original Creation Date and Random Number Generator of a key that was brought are set once, if
   not when it was brought, and never change.
5. A stamp is above the one that it replaces, so a change that was made knowing another wins over
   it whatever the clocks of two servers say.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Final

import msgspec

from protocol import names as name_rules
from protocol.attributes import (
    GRANTED_SCOPE,
    INTEGERS,
    RAW,
    AlternativeNameValue,
    ApplicationData,
    Attribute,
    CryptographicParametersValue,
    ObjectDigest,
    ObjectLink,
    ObjectName,
    RandomNumberGenerator,
    Stamped,
    Structure,
    Typed,
    UsageLimitsValue,
    Value,
)
from protocol.errors import (
    IllegalOperation,
    IndexOutofBounds,
    InvalidField,
    ItemNotFound,
    PermissionDenied,
    ProductError,
)
from protocol.terms import KmipState
from services.kms.objects import key_row
from services.kms.objects.key_row import StoredKeyRow

NAME: Final = "Name"
ACTIVATION, DEACTIVATION = "Activation Date", "Deactivation Date"
PROCESS_START, PROTECT_STOP = "Process Start Date", "Protect Stop Date"
OCCURRENCE, REVOCATION = "Compromise Occurrence Date", "Revocation Reason"
PARAMETERS: Final = "Cryptographic Parameters"
LIMITS: Final = "Usage Limits"

BYTES_LIMIT: Final = 16 * 1024
"""Bytes of all attributes of one key that clients have set; a message has room for more. The
server's own additions are never refused for this limit: a full key can still be revoked."""

INSTANCES_LIMIT: Final = 64
NAME_LIMIT: Final = 128
MESSAGE_LIMIT: Final = 1000
"""Characters of the message of a revocation."""

_STEP: Final = 1e-6  # least difference of consecutive stamps, in seconds

_DATE: Final = (int, float)
_CUSTOM: Final = (str, int, bool, Typed, Structure)


class AttributeRule(msgspec.Struct, frozen=True):
    """What a client may do with an attribute.

    ``kinds`` of its values. ``once``: it does not change after it was set. ``until``: the states in
    which it may be set; None: in every state.
    """

    kinds: tuple[type, ...]
    many: bool = False
    deletable: bool = True
    once: bool = False
    until: tuple[KmipState, ...] | None = None


_EARLY: Final = (KmipState.PRE_ACTIVE,)
_IN_USE: Final = (KmipState.PRE_ACTIVE, KmipState.ACTIVE)

RULES: Final[Mapping[str, AttributeRule]] = {
    NAME: AttributeRule((ObjectName,), many=True),
    "Alternative Name": AttributeRule((AlternativeNameValue,), many=True),
    "Object Group": AttributeRule((str,), many=True),
    "Link": AttributeRule((ObjectLink,), many=True),
    "Application Specific Information": AttributeRule((ApplicationData,), many=True),
    "Contact Information": AttributeRule((str,)),
    "Comment": AttributeRule((str,)),
    "Description": AttributeRule((str,)),
    "Operation Policy Name": AttributeRule((str,)),
    PARAMETERS: AttributeRule((CryptographicParametersValue,), many=True),
    LIMITS: AttributeRule((UsageLimitsValue,)),
    ACTIVATION: AttributeRule(_DATE, deletable=False, until=_EARLY),
    PROCESS_START: AttributeRule(_DATE, deletable=False, until=_EARLY),
    PROTECT_STOP: AttributeRule(_DATE, deletable=False, until=_IN_USE),
    DEACTIVATION: AttributeRule(_DATE, deletable=False, until=_IN_USE),
    key_row.MADE: AttributeRule(_DATE, deletable=False, once=True),
    key_row.GENERATOR: AttributeRule((RandomNumberGenerator,), deletable=False, once=True),
    key_row.SENSITIVE: AttributeRule((bool,), deletable=False),
    key_row.EXTRACTABLE: AttributeRule((bool,), deletable=False),
}
CUSTOM_RULE: Final = AttributeRule(_CUSTOM, many=True)
_COLUMNS: Final = {ACTIVATION: "activation_date", DEACTIVATION: "deactivation_date"}
_NOT_AFTER: Final = (
    (ACTIVATION, DEACTIVATION),
    (ACTIVATION, PROCESS_START),
    (PROTECT_STOP, DEACTIVATION),
)

READ_ONLY: Final = (
    *(name for name in key_row.NAMES if name not in RULES),
    OCCURRENCE,
    REVOCATION,
)
_FRESH: Final = key_row.FRESH.encode()
_GRANTED: Final = GRANTED_SCOPE.encode()
_DIGEST: Final = key_row.DIGEST.encode()
_INDEXED: Final = (OCCURRENCE, REVOCATION, key_row.FRESH, *key_row.EVER_SINCE.values())
"""Attributes without a rule that are in the index all the same."""

_encode = msgspec.msgpack.Encoder().encode
_name = msgspec.msgpack.Decoder(ObjectName)
_decoder = msgspec.msgpack.Decoder(tuple[Stamped, ...])


class _Raw(msgspec.Struct, frozen=True, array_like=True):
    """A ``Stamped`` whose values are not decoded."""

    name: str
    at: float
    by: str
    instances: tuple[tuple[int, msgspec.Raw], ...] = ()


_raw = msgspec.msgpack.Decoder(tuple[_Raw, ...])


def unpack(packed: bytes) -> dict[str, Stamped]:
    """The attributes of a row by name."""
    return {held.name: held for held in _decoder.decode(packed)} if packed else {}


def pack(held: Mapping[str, Stamped]) -> bytes:
    """The attributes as bytes: equal attributes give equal bytes, and none give no bytes."""
    return _encode([held[name] for name in sorted(held)]) if held else b""


# ---- reading ------------------------------------------------------------------------------


def of(row: StoredKeyRow, names: Sequence[str] = ()) -> tuple[Attribute, ...]:
    """The attributes of the key with these names, in that order; without names, all of them.

    A name that the key does not have adds nothing.
    """
    held = unpack(row.attributes)
    others = (name for name in held if name not in key_row.NAMES)
    chosen = names or (*key_row.implied_names(row, held), *others)
    return tuple([one for name in chosen for one in _instances(row, held, name)])


def names(row: StoredKeyRow) -> tuple[str, ...]:
    """The names of the key's attributes, each once."""
    return tuple(dict.fromkeys(attribute.name for attribute in of(row)))


def like(row: StoredKeyRow, attribute: Attribute) -> Attribute | None:
    """The instance with that name and value; None when there is none."""
    there = _instances(row, unpack(row.attributes), attribute.name)
    alike = [one for one in there if key_of(one.value) == key_of(attribute.value)]
    return alike[0] if alike else None


def single(row: StoredKeyRow, name: str) -> Value | None:
    """The value of an attribute with one instance; None when the key does not have it."""
    found = _instances(row, unpack(row.attributes), name)
    return found[0].value if found else None


def granted_scopes(row: StoredKeyRow) -> frozenset[str]:
    """The scopes to which the key was granted, besides its own."""
    return _granted_scopes(row.attributes) if _GRANTED in row.attributes else frozenset()


@lru_cache(maxsize=4096)
def _granted_scopes(packed: bytes) -> frozenset[str]:
    held = unpack(packed).get(GRANTED_SCOPE)
    return frozenset(str(value) for _, value in held.instances) if held else frozenset()


def protect_stop(row: StoredKeyRow) -> float | None:
    """The Protect Stop Date, in Unix seconds."""
    return _date(row, PROTECT_STOP)


def _instances(row: StoredKeyRow, held: Mapping[str, Stamped], name: str) -> tuple[Attribute, ...]:
    if name in key_row.NAMES:
        value = key_row.implied_value(row, held, name)
        return () if value is None else (Attribute(name=name, value=value),)
    if name in held:
        return tuple(
            [Attribute(name=name, index=i, value=value) for i, value in held[name].instances]
        )
    return ()


def format_of(row: StoredKeyRow) -> str:
    """The format in which the material was registered, or raw."""
    if _DIGEST not in row.attributes:  # cheaper than decoding all attributes
        return RAW
    digest = single(row, key_row.DIGEST)
    return digest.format if isinstance(digest, ObjectDigest) else RAW


# ---- changing, by a client ------------------------------------------------------------------


def with_template(
    row: StoredKeyRow, given: Iterable[Attribute], at: float, by: str, *, brought: bool
) -> StoredKeyRow:
    """A new key with the attributes of its template; ``brought``: it was registered, not created
    here."""
    stated: dict[str, Value] = {}
    given = given if brought else _without_generators(given)
    for attribute in given:
        kinds = key_row.AT_FIRST.get(attribute.name)
        try:
            if kinds is None:
                row, _ = add_attribute(row, attribute, at, by)
            elif attribute.name in stated:
                raise IllegalOperation(f"{attribute.name} is given twice")
            else:
                stated[attribute.name] = _check_value(
                    AttributeRule(kinds), attribute.name, attribute.value
                )
        except IllegalOperation as error:
            raise InvalidField(str(error)) from None  # the template has it twice
    # The server's own attributes are not among them: no client may add them.
    held = unpack(row.attributes)
    for name, value in key_row.initial_values(stated, brought=brought).items():
        held[name] = Stamped(name, float(at), by, ((0, value),))
    return msgspec.structs.replace(row, attributes=pack(held), last_change_date=at)


def _without_generators(given: Iterable[Attribute]) -> list[Attribute]:
    """The template of a key to create, without generators. One of them must be this server's (KMIP
    1.4 section 3.44)."""
    given = list(given)
    wanted = [one.value for one in given if one.name == key_row.GENERATOR]
    if wanted and key_row.OWN_GENERATOR not in wanted:
        raise InvalidField(f"{key_row.GENERATOR}: Unspecified is the only one here")
    return [one for one in given if one.name != key_row.GENERATOR]


def mark_served(row: StoredKeyRow, at: float, by: str, *, unheard: bool) -> StoredKeyRow:
    """The row after its material was given out; unchanged if that had happened before.

    ``unheard``: no client has ever seen the key as fresh.
    """
    if not is_fresh(row):
        return row
    if not unheard:
        return stamp(row, key_row.FRESH, (), at, by)
    held = unpack(row.attributes)
    del held[key_row.FRESH]
    return msgspec.structs.replace(row, attributes=pack(held))


def is_fresh(row: StoredKeyRow) -> bool:
    """Whether the material was given to no client yet."""
    return _is_fresh(row.attributes)


@lru_cache(maxsize=4096)
def _is_fresh(packed: bytes) -> bool:
    """As ``is_fresh``, for packed attributes; cached, because it is called at each Get."""
    return _FRESH in packed and key_row.is_fresh(unpack(packed))


def add_attribute(
    row: StoredKeyRow, attribute: Attribute, at: float, by: str
) -> tuple[StoredKeyRow, Attribute]:
    """The row with a new instance, and that instance with its index."""
    name = attribute.name
    rule = _rule(row, name, at)
    value = _check_value(rule, name, attribute.value)
    held = unpack(row.attributes)
    there = _instances(row, held, name)
    if there and not rule.many:
        raise IllegalOperation(f"the key has {name} already: modify it")
    if like(row, attribute) is not None:
        raise IllegalOperation(f"the key has that {name} already")
    if len(there) >= INSTANCES_LIMIT:
        raise IndexOutofBounds(f"a key has {INSTANCES_LIMIT} of {name} at most")
    index = max((one.index for one in there), default=-1) + 1
    made = Attribute(name=name, index=index, value=value)
    return _with_instances(row, name, (*there, made), at, by), made


def modify_attribute(
    row: StoredKeyRow, attribute: Attribute, at: float, by: str
) -> tuple[StoredKeyRow, Attribute]:
    """The row with another value in an existing instance, and that instance."""
    name = attribute.name
    rule = _rule(row, name, at, unknown=InvalidField)
    value = _check_value(rule, name, attribute.value)
    there = _instances(row, unpack(row.attributes), name)
    if not there:
        raise InvalidField(f"the key has no {name}: add it")
    if rule.once:
        raise PermissionDenied(f"{name} does not change when it is set")
    _instance(there, name, attribute.index)
    made = Attribute(name=name, index=attribute.index, value=value)
    changed = [made if one.index == attribute.index else one for one in there]
    return _with_instances(row, name, changed, at, by), made


def delete_attribute(
    row: StoredKeyRow, name: str, index: int, at: float, by: str
) -> tuple[StoredKeyRow, Attribute]:
    """The row without an instance, and that instance."""
    rule = _rule(row, name, at, unknown=ItemNotFound)
    there = _instances(row, unpack(row.attributes), name)
    gone = _instance(there, name, index)
    if not rule.deletable:
        raise PermissionDenied(f"{name} is not deleted: modify it")
    return _with_instances(row, name, [one for one in there if one is not gone], at, by), gone


def _instance(there: Sequence[Attribute], name: str, index: int) -> Attribute:
    for one in there:
        if one.index == index:
            return one
    raise ItemNotFound(f"the key has no {name} with index {index}")


def _rule(
    row: StoredKeyRow, name: str, at: float, *, unknown: type[ProductError] = PermissionDenied
) -> AttributeRule:
    """The rule of an attribute that may be set at this time; otherwise raises the refusal.

    ``unknown``: the error for a name that no key here has (KMIP 1.4 sections 11.15 to 11.17).
    """
    if name.startswith("x-"):
        if len(name) > NAME_LIMIT:
            raise InvalidField(f"an attribute's name has {NAME_LIMIT} characters at most")
        return CUSTOM_RULE
    rule = RULES.get(name)
    if rule is None:
        if name in READ_ONLY or name.startswith("y-"):
            raise PermissionDenied(f"{name[:NAME_LIMIT]} is set by the server only")
        raise unknown(f"{name[:NAME_LIMIT]} is no attribute of a key here")
    if rule.until is not None and row.state not in rule.until:
        raise PermissionDenied(f"{name} of a key that is {row.state} does not change")
    held = single(row, name) if name == LIMITS else None
    if isinstance(held, UsageLimitsValue) and held.spent:
        raise PermissionDenied(f"some of {name} is taken: it does not change any more")
    if rule.kinds == _DATE and (date := _date(row, name)) is not None and date <= at:
        raise PermissionDenied(f"{name} has come: it does not change any more")
    return rule


def _date(row: StoredKeyRow, name: str) -> float | None:
    value = single(row, name)
    return value if isinstance(value, float) else None


def _check_value(rule: AttributeRule, name: str, value: Value) -> Value:
    if type(value) not in rule.kinds:
        raise InvalidField(f"{name}: that is no value of its type")
    if name == GRANTED_SCOPE and (not isinstance(value, str) or name_rules.SCOPE.fault(value)):
        raise InvalidField(f"{name}: that is no name of a scope")
    if rule.kinds != _DATE or not isinstance(value, int | float):
        if not _fits(value):
            raise InvalidField(f"{name}: that is no value of its type")
        return value
    check_date(name, value)
    return float(value)


def check_date(name: str, value: float) -> None:
    """``InvalidField`` for an invalid time in Unix seconds."""
    if not math.isfinite(value) or not 0 <= value < 2**53:
        raise InvalidField(f"{name}: a date is meant, in seconds since 1970")


def _fits(value: Value) -> bool:
    """Whether KMIP can represent the value: its numbers have 32 bits unless defined otherwise."""
    if isinstance(value, Typed | Structure | UsageLimitsValue):
        return value.fits
    parts = msgspec.structs.astuple(value) if isinstance(value, msgspec.Struct) else (value,)
    return all(part in INTEGERS for part in parts if isinstance(part, int))


# ---- writing into a row ---------------------------------------------------------------------


def _with_instances(
    row: StoredKeyRow, name: str, instances: Sequence[Attribute], at: float, by: str
) -> StoredKeyRow:
    changes: dict[str, object] = {"last_change_date": at}
    column = _COLUMNS.get(name)
    if column is not None:
        [changes[column]] = [one.value for one in instances]
        instances = ()  # the value is the column; the stamp stays
    ever_since = key_row.EVER_SINCE.get(name)
    if ever_since is not None and instances[0].value is key_row.BY_DEFAULT[name]:
        instances = ()
        if ever_since in unpack(row.attributes):
            row = stamp(row, ever_since, (), at, by)
    row = msgspec.structs.replace(row, **changes)
    row = stamp(row, name, tuple([(one.index, one.value) for one in instances]), at, by)
    for first, second in _NOT_AFTER if name in RULES else ():
        dates = [date for one in (first, second) if (date := _date(row, one)) is not None]
        if name in (first, second) and dates != sorted(dates):
            raise InvalidField(f"{second} is before {first}")
    return row


def stamp(
    row: StoredKeyRow, name: str, instances: tuple[tuple[int, Value], ...], at: float, by: str
) -> StoredKeyRow:
    """The row with these instances under that name, without checking who may set it (rule 5)."""
    held = unpack(row.attributes)
    if name in held:
        at = max(at, held[name].at + _STEP)
    packed = pack({**held, name: Stamped(name, float(at), by, instances)})
    if name not in READ_ONLY and len(packed) > max(BYTES_LIMIT, len(row.attributes)):
        raise IndexOutofBounds(f"all attributes of a key have {BYTES_LIMIT} bytes at most")
    return msgspec.structs.replace(row, attributes=packed)


# ---- for Locate -----------------------------------------------------------------------------


def raw_index(packed: bytes) -> list[tuple[str, bytes]]:
    """What Locate finds the key by: names with their values' bytes. Row and index have the same
    bytes, so they are not decoded here."""
    if not packed:
        return []
    return [(it.name, bytes(value)) for it in _raw.decode(packed) for _, value in it.instances]


def key_of(value: Value) -> bytes:
    """A value as it is stored in the index of attributes."""
    return _encode(value)


def name_of(key: bytes) -> str:
    """The text of a Name in the index."""
    return _name.decode(key).value


def is_indexed(name: str) -> bool:
    """Whether a key with that attribute is in the index."""
    return name not in _COLUMNS and (name not in READ_ONLY or name in _INDEXED)
