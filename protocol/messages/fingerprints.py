"""The question by which a checker learns whether two places hold the same key, and not which.

Key servers and hosts answer it at their local console only. The answer gives nothing away: a
fingerprint is 48 bits of HMAC-SHA-256 under a secret of the asker, over keys of 256 random bits,
so that equal keys can be told from others, no key can be had back, and fingerprints made under
another secret say nothing.
"""

from __future__ import annotations

import msgspec

from protocol.messages.base import Reply, Request
from protocol.terms import KeyId, NodeName


class FingerprintKeys(Request["KeyFingerprints"], frozen=True, kw_only=True, omit_defaults=True):
    """Fingerprints under ``secret`` (the asker's, 32 random bytes) of every key that is here;
    with ``kdks`` of a host's key derivation keys too. A key server begins behind ``after``, which
    is the ``last`` that it told before."""

    secret: bytes
    kdks: bool = False
    after: KeyId = KeyId("")


class KeyFingerprint(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """``place``: ``server``, or at a host ``cache``, ``store``, or ``kdk``.

    A key server tells under which ``operation`` of a client the key was made, by which server
    (``origin``) and in which ``scope``.
    """

    key_id: KeyId
    place: str
    fingerprint: str
    operation: str = ""
    origin: NodeName = NodeName("")
    scope: str = ""


class KeyFingerprints(Reply, frozen=True, kw_only=True, omit_defaults=True):
    """Every key that has a value here, in order of arrival in each place. A key server ends where
    a page does: ``last`` is the key that it has looked at then, empty when that was the last one.
    """

    keys: tuple[KeyFingerprint, ...]
    last: KeyId = KeyId("")
