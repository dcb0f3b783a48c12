"""What the host tells a checker at its console of the keys in its cache and its store."""

from __future__ import annotations

from protocol.messages.fingerprints import KeyFingerprint
from services.esxi.host import Host


def fingerprints(host: Host, secret: bytes) -> tuple[KeyFingerprint, ...]:
    """Those of the cache, then those of the persisted store, used or not."""
    places = (("cache", host.keys.entries()), ("store", host.archive.now.store))
    return tuple(
        KeyFingerprint(
            key_id=entry.key.key_id,
            place=place,
            fingerprint=entry.material.fingerprint(secret),
        )
        for place, entries in places
        for entry in entries
    )
