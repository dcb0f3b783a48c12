"""Locate: the keys that match all requested attributes (KMIP 1.4 section 4.9).

Each requested attribute is a condition, and all must hold: a value that the key has; of a usage
mask, every bit; of a date, that moment, or one between two when it is given twice. The store is
queried in SQL, where attributes are found by their index. Keys that the message itself has drafted
are checked one by one (``matches``), so a batch finds what it has just made.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from typing import Final, NamedTuple

from protocol.attributes import Attribute, ObjectDigest, Value
from protocol.errors import InvalidField
from protocol.terms import KeyId, KmipState
from services.kms.objects import attributes, key_row
from services.kms.objects.key_row import DESTROYED, StoredKeyRow, as_at

STATE, MASK = "State", "Cryptographic Usage Mask"
LENGTH, LAST_CHANGE = "Cryptographic Length", "Last Change Date"
_DATES: Final = {
    "Initial Date": "initial_date",
    attributes.ACTIVATION: "activation_date",
    attributes.DEACTIVATION: "deactivation_date",
    "Compromise Date": "compromise_date",
    "Destroy Date": "destroy_date",
    LAST_CHANGE: "last_change_date",
    attributes.PROCESS_START: "",
    attributes.PROTECT_STOP: "",
    attributes.OCCURRENCE: "",
    key_row.MADE: "",
}
"""Names of dates, with their columns; those without a column are in the index."""

_COLUMNS: Final = {
    "Unique Identifier": "key_id",
    "Cryptographic Algorithm": "algorithm",
    LENGTH: "length",
}
_OF_ALL: Final[dict[str, Value]] = {
    "Object Type": key_row.OBJECT_TYPE,
    key_row.LEASE: key_row.LEASE_S,
}
"""Attributes with one value for every key."""

_SELECTIVE: Final = "key_id IN (SELECT key_id FROM attribute_index WHERE name = ? AND value {})"
_WITHOUT: Final = "key_id NOT IN (SELECT key_id FROM attribute_index WHERE name = ?)"
_FROM_KEYS: Final = "FROM keys WHERE 1"
# SQLite runs a CROSS JOIN in the order in which it is written: few rows of the index, not all keys.
_FROM_INDEX: Final = (
    "FROM (SELECT key_id FROM attribute_index WHERE name = ? AND value {}) AS few "
    "CROSS JOIN keys USING (key_id) WHERE 1"
)


class Sought(NamedTuple):
    """The search: keys of ``scope`` (None: all scopes), in their state at the time ``at``.

    ``destroyed``: whether destroyed keys are included.
    """

    scope: str | None
    wanted: tuple[Attribute, ...]
    at: float
    destroyed: bool = True


class _Term(NamedTuple):
    """A condition. ``few``: a query by the index for the keys that meet it alone; or empty."""

    sql: str
    values: tuple[object, ...]
    few: str = ""


def reveals_states(wanted: Sequence[Attribute]) -> bool:
    """Whether the result reveals in which state keys are, or since when."""
    return any(one.name in (STATE, LAST_CHANGE) for one in wanted)


def includes_destroyed(wanted: Sequence[Attribute]) -> bool:
    """Whether a client that asks for these attributes means destroyed keys too.

    It does when it names a key, a date of destruction or a destroyed state. Otherwise a destroyed
    key, of which only the attributes are left, is no answer to "which keys exist?".
    """
    return any(
        one.name in ("Unique Identifier", "Destroy Date")
        or (one.name == STATE and one.value in DESTROYED)
        for one in wanted
    )


def check(wanted: Sequence[Attribute]) -> None:
    """``InvalidField`` for conditions that cannot be searched."""
    for one in wanted:
        date = one.name in _DATES
        number = date or one.name in (MASK, LENGTH)
        if number and (isinstance(one.value, bool) or not isinstance(one.value, int | float)):
            raise InvalidField(f"Locate: {one.name} is a number")
        if number and not 0 <= one.value < 2**53:  # type: ignore[operator]
            raise InvalidField(f"Locate: {one.name} is 0 or above")
        if one.name == STATE and one.value not in list(KmipState):
            raise InvalidField(f"Locate: there is no state {one.value!r}")
        if one.name == attributes.LIMITS:
            raise InvalidField("Locate: no key is looked for by how much may be done with it")
        if date and len(_wanted_values(wanted, one.name)) > 2:
            raise InvalidField(f"Locate: {one.name} may appear twice at most, as a range")


def find_matching(
    connection: sqlite3.Connection,
    sought: Sought,
    after: int,
    limit: int,
    *,
    newest_first: bool = False,
) -> tuple[tuple[KeyId, ...], int]:
    """Ids above the ordinal ``after`` in order of creation, and how many match in all."""
    where, values = statement(sought)
    order = "ordinal DESC" if newest_first else "ordinal"
    rows = connection.execute(
        f"SELECT key_id {where} AND ordinal > ? ORDER BY {order} LIMIT ?",
        (*values, after, limit),
    )
    found = tuple([KeyId(row[0]) for row in rows])
    if after == 0 and len(found) < limit:
        return found, len(found)
    total = connection.execute(f"SELECT count(*) {where}", values)
    return found, int(total.fetchone()[0])


def statement(sought: Sought) -> tuple[str, tuple[object, ...]]:
    """The FROM and WHERE of the search in SQL, and its values."""
    terms = _terms(sought)
    first = next((term for term in terms if term.few), None)
    if first is not None:
        terms.remove(first)
    where = " AND ".join([_FROM_KEYS if first is None else first.few, *(t.sql for t in terms)])
    kept = terms if first is None else [first, *terms]
    return where, tuple([value for term in kept for value in term.values])


def matches(row: StoredKeyRow, sought: Sought) -> bool:
    """Whether one key meets all conditions."""
    if sought.scope not in (None, row.scope):
        return False
    row = as_at(row, sought.at)
    if not sought.destroyed and row.state in DESTROYED:
        return False
    for name in dict.fromkeys(one.name for one in sought.wanted):
        has = [one.value for one in attributes.of(row, (name,))]
        values = _wanted_values(sought.wanted, name)
        if name == MASK:
            if any(row.usage_mask & _number(mask) != mask for mask in values):
                return False
        elif name in _DATES:
            if not any(min(values) <= date <= max(values) for date in has):  # type: ignore[type-var, operator]
                return False
        elif not {*map(attributes.key_of, values)} <= {*map(attributes.key_of, has)}:
            return False
    return True


def _wanted_values(wanted: Sequence[Attribute], name: str) -> list[Value]:
    return [one.value for one in wanted if one.name == name]


def _number(value: Value) -> int:
    return int(value) if isinstance(value, int | float) else 0


def _terms(sought: Sought) -> list[_Term]:
    terms = [] if sought.scope is None else [_Term("scope = ?", (sought.scope,))]
    if not sought.destroyed:
        terms.append(_Term("state NOT IN (?, ?)", DESTROYED))
    for name in dict.fromkeys(one.name for one in sought.wanted):
        values = _wanted_values(sought.wanted, name)
        if name in _DATES:
            terms.append(_date(name, values, sought.at))
        else:
            terms += [_term(name, value, sought.at) for value in values]
    return terms


_CHANGED: Final = (
    "max(last_change_date, CASE "
    "WHEN (state = 'Active' OR (state = 'Pre-Active' AND activation_date <= ?)) "
    "AND deactivation_date <= ? THEN deactivation_date "
    "WHEN state = 'Pre-Active' AND activation_date <= ? THEN activation_date ELSE 0 END)"
)
"""What ``key_row.as_at`` returns for the last change, in SQL."""


def _date(name: str, values: Sequence[Value], at: float) -> _Term:
    """The bytes of dates in the index sort like the dates, because none is negative."""
    dates = sorted([float(date) for date in values])  # type: ignore[arg-type]
    ends: tuple[object, ...] = (dates[0], dates[-1])
    if name == LAST_CHANGE:
        return _Term(f"{_CHANGED} BETWEEN ? AND ?", (at, at, at, *ends))
    if _DATES[name]:
        return _Term(f"{_DATES[name]} BETWEEN ? AND ?", ends)
    keys = (attributes.key_of(dates[0]), attributes.key_of(dates[-1]))
    if name == key_row.MADE:  # for a key created here it is not in the index
        sql = f"({_SELECTIVE} OR (initial_date BETWEEN ? AND ? AND {_WITHOUT}))"
        return _Term(sql.format("BETWEEN ? AND ?"), (name, *keys, *ends, name))
    return _index_term("BETWEEN ? AND ?", name, *keys)


def _term(name: str, value: Value, at: float) -> _Term:
    if name in key_row.BY_DEFAULT and value is key_row.BY_DEFAULT[name]:
        return _Term(_WITHOUT, (name,))  # only the opposite is in the index
    if name == key_row.GENERATOR and value == key_row.OWN_GENERATOR:
        # for a key created here it is not in the index
        sql = f"({_SELECTIVE.format('= ?')} OR ({_WITHOUT} AND {_WITHOUT}))"
        return _Term(sql, (name, attributes.key_of(value), name, key_row.MADE))
    if attributes.is_indexed(name):
        return _index_term("= ?", name, attributes.key_of(value))
    if name == STATE:
        return _state(KmipState(str(value)), at)
    if name == MASK:
        return _Term("usage_mask & ? = ?", (_number(value), _number(value)))
    if name in _OF_ALL:
        same = attributes.key_of(value) == attributes.key_of(_OF_ALL[name])
        return _Term("1" if same else "0", ())
    if name == key_row.DIGEST:
        if value == ObjectDigest(digest=getattr(value, "digest", b"")):
            return _Term(f"digest = ? AND {_WITHOUT}", (value.digest, name))
        return _index_term("= ?", name, attributes.key_of(value))
    column = _COLUMNS.get(name)
    if column is None or (name != LENGTH and not isinstance(value, str)):
        return _Term("0", ())
    return _Term(f"{column} = ?", (value,))


def _index_term(condition: str, *values: object) -> _Term:
    return _Term(_SELECTIVE.format(condition), values, _FROM_INDEX.format(condition))


def _state(state: KmipState, at: float) -> _Term:
    """What ``key_row.at`` returns, in SQL."""
    match state:
        case KmipState.PRE_ACTIVE:
            return _Term(
                "state = 'Pre-Active' AND (activation_date IS NULL OR activation_date > ?)", (at,)
            )
        case KmipState.ACTIVE:
            return _Term(
                "state IN ('Pre-Active', 'Active') "
                "AND (state = 'Active' OR activation_date <= ?) "
                "AND (deactivation_date IS NULL OR deactivation_date > ?)",
                (at, at),
            )
        case KmipState.DEACTIVATED:
            return _Term(
                "state IN ('Pre-Active', 'Active', 'Deactivated') AND (state = 'Deactivated' OR "
                "(deactivation_date <= ? AND (state = 'Active' OR activation_date <= ?)))",
                (at, at),
            )
        case _:
            return _Term("state = ?", (state.value,))
