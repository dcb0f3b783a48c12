"""What seals the keys of a server that is alone: a passphrase in a file, and another KEK."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

from lab.kmip.alone import Alone
from lab.schema.errors import KeysteadError
from lab.topology.secret_files import secret_in
from protocol.errors import ProductError
from protocol.secret import KeyMaterial
from protocol.terms import RootKind
from services.kms.access.authorization import caller_at
from services.kms.sealing.roots.passphrase import CURE, PASSPHRASE_OPTION, flaw_of
from services.runtime.service import Halted

OPTION: Final = "--passphrase-file"
OLD_OPTION: Final = "--old-passphrase-file"


def passphrase_options(file: Path | None) -> dict[str, str]:
    """What is typed at the start of a server whose passphrase is the first line of ``file``.

    KS-USE-003 for a file that cannot be read, or a passphrase that none may be.
    """
    if file is None:
        return {}
    words = secret_in(str(file))
    if (flaw := flaw_of(KeyMaterial(words.encode()))) is not None:
        raise KeysteadError("KS-USE-003", f"{file}: the passphrase in its first line: {flaw}")
    return {PASSPHRASE_OPTION: words}


def screen_error(screen: str, option: str = OPTION) -> KeysteadError:
    """What people are told of a screen of such a server. Its passphrase comes in another way than
    to one of a lab, and one that lacks is a word of theirs and no state of its disk."""
    if CURE in screen:
        return KeysteadError(
            "KS-USE-003", screen.replace(CURE, f"Name a file that has it: {option} FILE")
        )
    return KeysteadError("KS-KMIP-003", screen)


@asynccontextmanager
async def running(server: Alone, option: str = OPTION) -> AsyncIterator[None]:
    """Started, and ended in order; when it halts at its start, as ``halted`` tells it."""
    try:
        await server.start()
    except Halted as end:
        await server.close()
        raise screen_error(end.screen, option) from None
    except OSError:
        await server.close()
        raise
    try:
        yield
    finally:
        await server.stop()


async def keep(server: Alone, *, passphrase: str | None, rotate: bool) -> None:
    """Have a passphrase seal the keys if one was given, and another KEK wrap them if asked for.

    KS-KMIP-001 when the disk refuses: the keys are sealed as they were, or as they shall be.
    """
    service = server.service
    local = caller_at(service.config, server.node.name, local=True)
    now = await service.custody.status()
    try:
        if passphrase is not None and now.root is not RootKind.PASSPHRASE:
            words = KeyMaterial(passphrase.encode())
            await service.custody.change_root(local, RootKind.PASSPHRASE, words)
        if rotate:
            await service.custody.rotate(local, now.kek)
    except ProductError as error:
        raise KeysteadError("KS-KMIP-001", str(error)) from None
