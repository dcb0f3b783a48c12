"""Another root for the keys of a server without a lab, while it does not run.

What seals them is one row of the database (``services.kms.sealing.key_ring``), exchanged in one
transaction: a crash at any moment leaves the old root or the new one. The keys themselves are not
touched.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from lab.kmip.alone import Alone
from lab.kmip.keeping import OLD_OPTION, OPTION, passphrase_options
from lab.kmip.offline import open_server
from lab.schema.errors import KeysteadError
from protocol.errors import InvalidState, ProductError
from protocol.secret import KeyMaterial
from protocol.terms import RootKind
from services.kms.access.authorization import caller_at
from services.kms.custody.rotation import Custodian
from services.kms.sealing.roots.passphrase import PASSPHRASE_OPTION

_NO_TPM: Final = (
    "--root tpm is not available here: a server without a lab has no TPM, and one in software "
    f"beside its keys would open them for whoever has the disk; --root passphrase {OPTION} FILE "
    "keeps them from who has it"
)


@dataclass(frozen=True)
class Reseal:
    """``passphrase_file``: its first line is the new passphrase; ``old_passphrase_file``: that of
    the one that opens the keys now."""

    folder: Path
    root: RootKind
    passphrase_file: Path | None = None
    old_passphrase_file: Path | None = None


async def reseal(wanted: Reseal, record: Callable[[str, dict[str, Any]], None]) -> Custodian:
    """Durable on return. KS-USE-003 for words that lack or do not fit, and for a folder without
    keys; KS-KMIP-001 when a server runs in it or its disk refuses, KS-KMIP-003 when what is in it
    is not served from."""
    new = _words(wanted)
    async with open_server(wanted.folder, wanted.old_passphrase_file, record, OLD_OPTION) as server:
        return await _change_root(server, wanted, new)


async def _change_root(server: Alone, wanted: Reseal, new: KeyMaterial | None) -> Custodian:
    service = server.service
    local = caller_at(service.config, server.node.name, local=True)
    now = await service.custody.status()
    if wanted.old_passphrase_file is not None and now.root is not RootKind.PASSPHRASE:
        text = f"{OLD_OPTION}: no passphrase seals these keys, but their {now.root.value}"
        raise KeysteadError("KS-USE-003", text)
    try:
        await service.custody.change_root(local, wanted.root, new)
        return await service.custody.status()
    except InvalidState as error:
        raise KeysteadError("KS-USE-003", f"--root {wanted.root.value}: {error}") from None
    except ProductError as error:
        raise KeysteadError("KS-KMIP-001", str(error)) from None


def _words(wanted: Reseal) -> KeyMaterial | None:
    if wanted.root is RootKind.TPM:
        raise KeysteadError("KS-USE-003", _NO_TPM)
    given = wanted.passphrase_file is not None
    if given != (wanted.root is RootKind.PASSPHRASE):
        text = "names the passphrase of --root passphrase, and of no other root"
        raise KeysteadError("KS-USE-003", f"{OPTION} {text}")
    words = passphrase_options(wanted.passphrase_file).get(PASSPHRASE_OPTION)
    return None if words is None else KeyMaterial(words.encode())
