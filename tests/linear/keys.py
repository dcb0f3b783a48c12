"""What a key server promises of one key (KMIP 1.4 section 3.22), in terms of what is so of it.

Facts only come to be: a key exists, was activated, revoked, compromised, destroyed. Its state
follows from them, and what two servers know of a key is what either of them knows.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, NamedTuple

from protocol.terms import KmipState
from tests.linear import acts
from tests.linear.acts import Act

EXISTS, ACTIVATED, REVOKED, COMPROMISED, DESTROYED = 1, 2, 4, 8, 16

NOT_FOUND: Final = "ItemNotFound"
WRONG_STATE: Final = "WrongKeyLifecycleState"
UNSEEN: Final = 0
"""The number of a value that no client has seen."""


class Key(NamedTuple):
    """What is so of a key, and the number of its value."""

    facts: int = 0
    value: int = UNSEEN


def state_of(facts: int) -> str:
    """The state in KMIP's words; empty when there is no key."""
    if facts & DESTROYED:
        gone = facts & COMPROMISED
        return KmipState.DESTROYED_COMPROMISED if gone else KmipState.DESTROYED
    for fact, state in (
        (COMPROMISED, KmipState.COMPROMISED),
        (REVOKED, KmipState.DEACTIVATED),
        (ACTIVATED, KmipState.ACTIVE),
        (EXISTS, KmipState.PRE_ACTIVE),
    ):
        if facts & fact:
            return state
    return ""


_MADE: Final = {
    acts.ACTIVATE: ACTIVATED,
    acts.REVOKE: REVOKED,
    acts.COMPROMISE: COMPROMISED,
    acts.DESTROY: DESTROYED,
}
_ALLOWED: Final = {
    acts.ACTIVATE: (KmipState.PRE_ACTIVE, KmipState.ACTIVE),
    acts.REVOKE: (KmipState.ACTIVE, KmipState.DEACTIVATED),
    acts.COMPROMISE: tuple(KmipState),
    acts.DESTROY: tuple(state for state in KmipState if state is not KmipState.ACTIVE),
}
"""In which states each change is made, or was made before."""

Apply = Callable[[Key], Key | None]


def facts_of(act: Act) -> int:
    """The facts that an operation brings about, if it takes effect."""
    if act.op == acts.CREATE:
        return EXISTS | ACTIVATED if act.asked.get("activate") else EXISTS
    if act.op == acts.REGISTER:
        return EXISTS
    return EXISTS | _MADE[act.op] if act.op in _MADE else 0


def at_the_server(act: Act) -> Apply | None:
    """What ``act`` does where it was asked; None when it says nothing of the key."""
    if act.error:
        return _refuse(act)
    if act.op in (acts.CREATE, acts.REGISTER):
        return lambda key: _create(act, key)
    if act.op in _MADE:
        return lambda key: _change(act, key)
    if act.how == "ok" and act.op in (acts.GET, acts.ATTRIBUTES):
        return lambda key: _match_answer(act, key)
    return None


def elsewhere(act: Act) -> Apply | None:
    """What ``act`` does at a server that is told of it; None for what changes nothing."""
    facts = 0 if act.how == "fail" else facts_of(act)
    if not facts:
        return None
    value = int(act.answer.get("value") or UNSEEN)
    return lambda key: _with_value(Key(key.facts | facts, key.value), value)


def _refuse(act: Act) -> Apply | None:
    if act.error == NOT_FOUND:
        return lambda key: None if key.facts else key
    if act.error == WRONG_STATE and act.op in _ALLOWED:
        return lambda key: (
            key if key.facts and state_of(key.facts) not in _ALLOWED[act.op] else None
        )
    return None


def _create(act: Act, key: Key) -> Key | None:
    """One that is there already was made by the same operation; it is told as it is."""
    after = key if key.facts else Key(facts_of(act), key.value)
    return _match_answer(act, after) if act.how == "ok" else after


def _change(act: Act, key: Key) -> Key | None:
    if not key.facts or state_of(key.facts) not in _ALLOWED[act.op]:
        return None
    after = Key(key.facts | _MADE[act.op], key.value)
    if act.how == "ok" and act.answer.get("state") != state_of(after.facts):
        return None
    return after


def _match_answer(act: Act, key: Key) -> Key | None:
    """What the client was told fits the key."""
    if act.answer.get("state", "") != state_of(key.facts):
        return None
    value = int(act.answer.get("value") or UNSEEN)
    if act.op == acts.GET and bool(value) != (bool(key.facts) and not key.facts & DESTROYED):
        return None
    return _with_value(key, value)


def _with_value(key: Key, value: int) -> Key | None:
    if value and key.value not in (UNSEEN, value):
        return None
    return Key(key.facts, value or key.value)
