"""Answers about the keys on a host: whether they are cached or stored, where they are managed, and
their fingerprints for a check at the host's console.
"""

from __future__ import annotations

from itertools import islice
from typing import Final

import msgspec

from protocol.messages.fingerprints import FingerprintKeys, KeyFingerprint, KeyFingerprints
from protocol.messages.host.crypto import (
    MANAGED_STATUS_BYTES,
    STATUS_BYTES,
    KeyStatus,
    KeyStatusList,
)
from protocol.pages import first_page
from protocol.releases import Feature
from protocol.secret import KeyMaterial
from protocol.terms import CryptoKeyId, KeyId
from services.esxi.host import EsxiHost
from services.esxi.providers.capabilities import capability


def status_size(*, managed: bool) -> int:
    """The size of one key's status in an answer, in bytes, beyond its id."""
    return MANAGED_STATUS_BYTES if managed else STATUS_BYTES


def statuses_of(
    host: EsxiHost, keys: tuple[CryptoKeyId, ...], *, managed: bool = False
) -> KeyStatusList:
    """The status of each of these keys, in their order; ``present`` means cached.

    ``managed``: also where the key came from, and where it is managed, from the release on that
    reports it (HEM-08).
    """
    stored = host.archive.stored
    has_management = managed and host.config.has(Feature.KEY_MANAGEMENT)
    return KeyStatusList(
        keys=tuple(
            KeyStatus(
                key=key,
                present=key in host.keys,
                stored=key in stored,
                loaded=host.keys.was_loaded(key) if managed else msgspec.UNSET,
                management_type=capability(host.management_type(key)).management
                if has_management
                else msgspec.UNSET,
            )
            for key in keys
        )
    )


def list_statuses(
    host: EsxiHost, after: CryptoKeyId | None, *, managed: bool, in_pages: bool
) -> KeyStatusList:
    """The status of all cached or stored keys by id, after ``after``; ``in_pages``: as many as fit
    into a message."""
    here = {*host.keys.ids(), *(entry.key for entry in host.archive.stored)}
    left = [key for key in sorted(here) if after is None or key > after]
    page = first_page(left, extra=status_size(managed=managed)) if in_pages else tuple(left)
    found = statuses_of(host, page, managed=managed)
    return msgspec.structs.replace(found, more=len(page) < len(left))


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
