"""Fingerprints of the keys in a host's cache and store, for a check at its console."""

from __future__ import annotations

from itertools import islice
from typing import Final

from protocol.messages.fingerprints import FingerprintKeys, KeyFingerprint, KeyFingerprints
from protocol.pages import first_page
from protocol.secret import KeyMaterial
from protocol.terms import KeyId
from services.esxi.host import EsxiHost

PAGE: Final = 2000
"""Keys in one answer."""
PLACES: Final = ("cache", "store", "kdk")
"""The order of places in the answer."""

_Key = tuple[str, KeyId, KeyMaterial]


def list_fingerprints(host: EsxiHost, message: FingerprintKeys) -> KeyFingerprints:
    """The cached keys, then those of the persisted store, used or not; then KDKs, if requested."""
    keys = _list_keys(host, kdks=message.kdks)
    begin = _first_index(keys, message.place, message.after)
    left = [
        KeyFingerprint(key_id=key, place=place, fingerprint=material.fingerprint(message.secret))
        for place, key, material in islice(keys, begin, begin + PAGE)
    ]
    page = first_page(left)
    if begin + len(page) == len(keys):
        return KeyFingerprints(keys=page)
    return KeyFingerprints(keys=page, last=page[-1].key_id, place=page[-1].place)


def _list_keys(host: EsxiHost, *, kdks: bool) -> list[_Key]:
    found: list[_Key] = [("cache", one.key.key_id, one.material) for one in host.keys.entries()]
    kept = host.archive.now
    found += [("store", one.key.key_id, one.material) for one in kept.store]
    if kdks:
        found += [("kdk", one.key.key_id, one.material) for one in kept.kdks]
    return found


def _first_index(keys: list[_Key], place: str, after: KeyId) -> int:
    """The first key after that one in that place; the first of the place when it is gone."""
    if not place:
        return 0
    those = [number for number, (where, _, _) in enumerate(keys) if where == place]
    later = (number + 1 for number in those if keys[number][1] == after)
    order = PLACES.index(place) if place in PLACES else 0
    whole = (n for n, (where, _, _) in enumerate(keys) if PLACES.index(where) >= order)
    return next(later, next(whole, len(keys)))
