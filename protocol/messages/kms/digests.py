"""How a checker learns whether servers that replicate have the same, whatever number of keys."""

from __future__ import annotations

import msgspec

from protocol.messages.base import Reply, Request
from protocol.terms import KeyId


class QueryDigests(Request["KeyDigests"], frozen=True, kw_only=True):
    """A digest of each key, in order of the ids, of the first keys behind the id ``after``; an
    operator's question. Who compares several servers asks all of them behind the same id."""

    after: KeyId = KeyId("")


class KeyDigest(msgspec.Struct, frozen=True, kw_only=True):
    """SHA-256 over all that servers which replicate must agree upon about a key: not how each of
    them keeps it."""

    key_id: KeyId
    digest: bytes


class KeyDigests(Reply, frozen=True, kw_only=True):
    """Where ``more`` is set, there are keys behind the last of these."""

    keys: tuple[KeyDigest, ...]
    more: bool = False
