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
    with ``kdks`` of a host's key derivation keys too. The answer begins behind ``after`` in
    ``place``, which are the ``last`` and ``place`` of the answer before."""

    secret: bytes
    kdks: bool = False
    after: KeyId = KeyId("")
    place: str = ""


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
    """Keys that have a value here, in order of arrival in each place, as many as a page holds.

    ``last`` is the key that was looked at last, empty when that was the last of all, and ``place``
    where a host has it. When a host has it there no more, its next answer tells of the whole place
    again.
    """

    keys: tuple[KeyFingerprint, ...]
    last: KeyId = KeyId("")
    place: str = ""
