"""A server without a lab that does not run, opened for a change that nobody sees half done."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from lab.kmip.alone import Alone
from lab.kmip.keeping import OPTION, passphrase_options, running
from lab.kmip.serving import lock_folder
from lab.schema.errors import KeysteadError
from services.kms.custody.opening import DATABASE
from services.kms.settings.config import KmsConfig


@asynccontextmanager
async def open_server(
    folder: Path,
    passphrase_file: Path | None,
    record: Callable[[str, dict[str, Any]], None],
    option: str = OPTION,
) -> AsyncIterator[Alone]:
    """What is in ``folder``, with its lock held. ``option`` is the one that names the file.

    KS-USE-003 for a folder without keys and for a passphrase, KS-KMIP-001 when a server runs there
    or its disk refuses, KS-KMIP-003 when what is in it is not served from.
    """
    if not any((folder / "disk").glob(f"*/{DATABASE}.db")):  # to open it would begin a new one
        raise KeysteadError("KS-USE-003", f"{folder}: no key server has kept anything there")
    words = passphrase_options(passphrase_file)
    with lock_folder(folder):
        server = Alone(folder / "disk", KmsConfig(), record=record, options=words)
        async with running(server, option):
            yield server
