"""Key fingerprints: a checker learns whether two places hold the same key, but not which key.

Key servers and hosts answer only at their local console. A fingerprint is 48 bits of HMAC-SHA-256
under a secret of the checker, over a key of 256 random bits: different keys can be told apart, no
key can be recovered, and fingerprints under another secret are unrelated.
"""

from __future__ import annotations

import msgspec

from protocol.messages.base import Reply, Request
from protocol.terms import KeyId, NodeName


class FingerprintKeys(Request["KeyFingerprints"], frozen=True, kw_only=True, omit_defaults=True):
    """Ask for fingerprints under ``secret`` (32 random bytes of the checker) of every key here;
    ``kdks``: also of a host's key derivation keys. The answer begins after key ``after`` of
    ``place``: ``last`` and ``place`` of the previous answer."""

    secret: bytes
    kdks: bool = False
    after: KeyId = KeyId("")
    place: str = ""


class KeyFingerprint(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """``place``: ``server``, or at a host ``cache``, ``store``, or ``kdk``.

    A key server adds the client's ``operation`` that created the key, the server that created it
    (``origin``) and its ``scope``.
    """

    key_id: KeyId
    place: str
    fingerprint: str
    operation: str = ""
    origin: NodeName = NodeName("")
    scope: str = ""


class KeyFingerprints(Reply, frozen=True, kw_only=True, omit_defaults=True):
    """One page of the keys that have a value here, in order of arrival in each place.

    ``last`` is the last key of the page, empty at the end; ``place`` is its place at a host. If a
    host has lost that key since, its next answer repeats the whole place.
    """

    keys: tuple[KeyFingerprint, ...]
    last: KeyId = KeyId("")
    place: str = ""
