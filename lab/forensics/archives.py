"""A host's configuration archive, opened from outside: what lies on its disk, whatever it says.

The bytes are those of the disk, read behind the host's back. The way in is an administrator's: the
recovery key that the console lists (REC-03), or in mode NONE the material that lies beside them. No
TPM is asked, so that a host that runs is not disturbed, and one that has stopped can be opened
with the recovery key that was read before.
"""

from __future__ import annotations

import re

import msgspec

from lab.core import LabCore
from protocol.errors import CryptographicFailure
from protocol.messages.host import Esxcli
from protocol.secret import KeyMaterial
from protocol.terms import CryptoKeyId, NodeName, ProtectionMode, ProviderId
from services.esxi.configuration.archive import FILE
from services.esxi.configuration.image import ConfigurationProtection, read_protection, unpack
from services.esxi.configuration.recovery import parse_digits, unwrap_config_key
from services.esxi.configuration.sealing import derive_config_key

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
