"""What the host tells a checker at its console of the keys in its cache and its store."""

from __future__ import annotations

from protocol.messages.fingerprints import KeyFingerprint
from services.esxi.host import Host


def fingerprints(host: Host, secret: bytes, *, kdks: bool = False) -> tuple[KeyFingerprint, ...]:
    """Those of the cache, then those of the persisted store, used or not; then KDKs, if asked."""
    cached = {
        entry.key: (entry.material, entry.material.fingerprint(secret))
        for entry in host.keys.entries()
    }
    found = [("cache", key, digits) for key, (_, digits) in cached.items()]
    for entry in host.archive.now.store:
        material, digits = cached.get(entry.key, (None, ""))
        if material is not entry.material:  # what one object holds is one value
            digits = entry.material.fingerprint(secret)
        found.append(("store", entry.key, digits))
    for entry in host.archive.now.kdks if kdks else ():
        found.append(("kdk", entry.key, entry.material.fingerprint(secret)))
    return tuple(
        KeyFingerprint(key_id=key.key_id, place=place, fingerprint=digits)
        for place, key, digits in found
    )
