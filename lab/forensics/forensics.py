"""A host's disk and TPM, looked at for persisted keys, behind the host's back.

Each file of the disk is tried, as it was written and as it is synced, with every recovery key that
the host's console has shown to this lab; they stay in memory. So do the keys that were found: once
an archive has them no longer, they are looked for everywhere else on the disk, and in the TPM.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from lab.core import LabCore
from lab.forensics.archives import recovery_key_of, values_in
from lab.scan.search import SearchedPlace, search
from protocol.errors import CryptographicFailure, ProductError
from protocol.terms import NodeName
from services.esxi.configuration.archive import FOLDER

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
