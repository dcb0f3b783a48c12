"""The status of keys on a host: whether they are cached or stored, and where they are managed."""

from __future__ import annotations

import msgspec

from protocol.messages.host import MANAGED_STATUS_BYTES, STATUS_BYTES, KeyStatus, KeyStatusList
from protocol.pages import first_page
from protocol.releases import Feature
from protocol.terms import CryptoKeyId
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
