"""The root ``keyfile``: 32 random bytes in the file ``master.key`` on the server's own disk.

The file has mode 0600 and is never in the database. Like a software key server without an HSM or a
TPM, it protects against a copied or leaked database, which alone opens nothing, and an edited one
is noticed. The whole disk contains every key. Without the file every key is lost; the server then
refuses to start rather than make another.
"""

from __future__ import annotations

from typing import Final

from protocol.errors import CryptographicFailure
from protocol.secret import KeyMaterial
from services.kms.sealing.roots.base import ROOT_SIZE, MadeRoot, RootMeans
from services.runtime.durable import replace_durably
from services.runtime.ports import Disk, Rng

MASTER_FILE: Final = "master.key"


class KeyFile:
    """See ``Root``."""

    async def make(self, means: RootMeans) -> MadeRoot:
        """See ``Root``; a file that an earlier life has made and not used is taken."""
        found = await read_master(means.disk)
        return MadeRoot(found or await make_master(means.disk, means.rng), b"")

    async def open(self, means: RootMeans, params: bytes) -> KeyMaterial:
        """See ``Root``."""
        found = await read_master(means.disk)
        if found is None:
            raise CryptographicFailure("the master key is missing: no stored key can be opened")
        return found

    async def drop(self, means: RootMeans) -> None:
        """See ``Root``."""
        there = await means.disk.list()
        left = [name for name in (MASTER_FILE, f"{MASTER_FILE}.new") if name in there]
        for name in left:
            await means.disk.remove(name)
        if left:
            await means.disk.sync_folder()


async def read_master(disk: Disk) -> KeyMaterial | None:
    """The master key; None if there is no such file, ``CryptographicFailure`` if it is truncated,
    or not a file of this disk."""
    try:
        raw = await disk.read(MASTER_FILE)
    except FileNotFoundError:
        return None
    except (IsADirectoryError, ValueError):  # a folder, or a link that leads elsewhere
        raise CryptographicFailure(f"{MASTER_FILE} is no file of its disk") from None
    if len(raw) != ROOT_SIZE:
        raise CryptographicFailure(f"{MASTER_FILE} has {len(raw)} bytes, not {ROOT_SIZE}")
    return KeyMaterial(raw)


async def make_master(disk: Disk, rng: Rng) -> KeyMaterial:
    """A new master key, durable on return; after a crash it is complete or missing."""
    master = KeyMaterial(rng.token(ROOT_SIZE))
    await replace_durably(disk, MASTER_FILE, master.reveal())
    return master
