"""A host's disk and TPM, looked at for persisted keys behind the host's back: its configuration
archive is opened from outside.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Final

import msgspec

from lab.core import LabCore
from lab.scan.search import SearchedPlace, search
from protocol.errors import CryptographicFailure, ProductError
from protocol.messages.host.session import Esxcli
from protocol.secret import KeyMaterial
from protocol.terms import CryptoKeyId, NodeName, ProtectionMode, ProviderId
from services.esxi.configuration.archive import (
    FILE,
    FOLDER,
    ConfigurationProtection,
    read_protection,
    unpack,
)
from services.esxi.configuration.sealing import derive_config_key
from services.esxi.configuration.sections import parse_digits, unwrap_config_key

_LIST = ("system", "settings", "encryption", "recovery", "list")
_DIGITS = re.compile(r"\b(?:\d{6}-){15}\d{6}\b")


class Archived(msgspec.Struct, frozen=True, kw_only=True):
    """What an archive holds, ids only. ``stored`` are the entries of the key store, used or not;
    ``persistence``: they are loaded at the next boot. ``kdks``: the providers whose KDK it has."""

    mode: ProtectionMode
    persistence: bool
    stored: tuple[CryptoKeyId, ...]
    kdks: tuple[ProviderId, ...]
    host_key: CryptoKeyId | None
    vms: tuple[str, ...]


def open_archive(data: bytes, recovery_key: str = "") -> Archived:
    """Open the bytes of an archive. ``CryptographicFailure`` for another recovery key, none where
    one is needed, and bytes that were altered."""
    protection = read_protection(data)
    found = unpack(data, _config_key(protection, recovery_key)).configuration
    return Archived(
        mode=protection.mode,
        persistence=found.persistence,
        stored=tuple(entry.key for entry in found.store),
        kdks=tuple(entry.key.provider_id for entry in found.kdks),
        host_key=found.host_key,
        vms=found.vms,
    )


def values_in(data: bytes, recovery_key: str = "") -> dict[bytes, str]:
    """The persisted keys themselves, each with its id, for who looks where else they lie; errors
    as ``opened``."""
    found = unpack(data, _config_key(read_protection(data), recovery_key)).configuration
    return {entry.material.reveal(): str(entry.key) for entry in found.store}


def _config_key(protection: ConfigurationProtection, recovery_key: str) -> KeyMaterial:
    if protection.mode is ProtectionMode.NONE:
        return derive_config_key(protection.material)
    digits = parse_digits(recovery_key)
    if digits is None:
        raise CryptographicFailure("the archive is sealed, and no recovery key was given")
    return unwrap_config_key(digits, protection.recovery_id, protection.recovery_wrapped)


async def recovery_key_of(lab: LabCore, host: NodeName) -> str:
    """The recovery key as the console of a running host lists it; empty in mode NONE."""
    listed = await lab.ask(host, Esxcli(arguments=_LIST))
    found = _DIGITS.search(listed.output)
    return "" if found is None else found[0]


async def archive_of(lab: LabCore, host: NodeName, recovery_key: str | None = None) -> Archived:
    """The archive of a host, as its disk has it now. ``recovery_key`` None: the host runs, and is
    asked for it. ``FileNotFoundError`` before its first boot."""
    if recovery_key is None:
        recovery_key = await recovery_key_of(lab, host)
    return open_archive(await lab.disk_file(host, FILE), recovery_key)


TPM: Final = "tpm"
"""The place of what a host's TPM keeps without power, among the paths of its disk."""


class Forensics:
    """Looks at the disks and TPMs of one lab."""

    def __init__(self, lab: LabCore) -> None:
        self._lab = lab
        self._ways: dict[NodeName, dict[str, None]] = {}
        self._values: dict[NodeName, dict[bytes, str]] = {}

    async def keys_on(self, host: NodeName) -> Mapping[str, Sequence[str] | None]:
        """The ids of persisted keys by where they lie: in each archive on the disk of ``host``
        (None for one that no recovery key opens), and, in clear, anywhere on it or in its TPM."""
        ways = self._ways.setdefault(host, {})
        try:
            ways[await recovery_key_of(self._lab, host)] = None
        except ProductError:  # it does not run: what was shown before is tried
            pass
        values = self._values.setdefault(host, {})
        found: dict[str, Sequence[str] | None] = {}
        images = await self._lab.disk_images(host)
        for path, data in images:
            if f"{FOLDER}/state." in path:
                here = _values(data, tuple(ways))
                found[path] = None if here is None else tuple(here.values())
                values |= here or {}
        places = [SearchedPlace("disk", path, data) for path, data in images]
        places.append(SearchedPlace(TPM, TPM, await self._lab.tpm_nv(host)))
        for find in search(values, places):
            ids = found.get(find.name) or ()
            found[find.name] = tuple(dict.fromkeys((*ids, find.secret)))
        return found


def _values(data: bytes, ways: Sequence[str]) -> dict[bytes, str] | None:
    for way in ways:
        try:
            return values_in(data, way)
        except CryptographicFailure:
            continue
    return None
