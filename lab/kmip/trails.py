"""The audit trail of a server without a lab that does not run: what is old goes into a file."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

from lab.kmip.alone import Alone
from lab.kmip.offline import open_server
from lab.kmip.trail_file import TrailPart, Writer, check_cut, check_follows, read
from lab.schema.errors import KeysteadError
from protocol.errors import ProductError
from services.kms.access.authorization import caller_at
from services.kms.audit import audit_trail, trail_cuts
from services.kms.audit.audit_trail import TrailEnd

PAGE: Final = 1000
"""Rows that are read at once."""


@dataclass(frozen=True)
class Cutting:
    """``before``: rows of that time (Unix seconds) and later stay; ``to``: a file that is not
    there yet, in which the others are then."""

    folder: Path
    before: float
    to: Path
    passphrase_file: Path | None = None


async def cut(wanted: Cutting, record: Callable[[str, dict[str, Any]], None]) -> TrailPart | None:
    """What is in the file and no more at the server; None, and no file, when no row is so old.

    The file is durable, and was read again, before a row goes. KS-USE-003 for words that do not
    fit, KS-KMIP-001 when a server runs in the folder or a disk refuses, KS-KMIP-003 when it is not
    served from, KS-KMIP-005 when the file is not as it was written.
    """
    async with open_server(wanted.folder, wanted.passphrase_file, record) as server:
        try:
            return await _cut(server, wanted)
        except ProductError as error:
            raise KeysteadError("KS-KMIP-001", str(error)) from None


async def _cut(server: Alone, wanted: Cutting) -> TrailPart | None:
    service = server.service
    last = await service.retention.older(wanted.before)
    if last is None:
        return None
    before = await service.core.look(trail_cuts.last)
    end = TrailEnd(before.sequence, before.digest)
    out = Writer(wanted.to, end)
    try:
        end = await _write_rows(server, out, end.sequence, last.sequence)
    finally:
        out.close()
    part = read(wanted.to)  # whatever the device has made of it
    if part.digest != end.digest.hex():
        text = f"{wanted.to}: somebody else has written that file: name another one"
        raise KeysteadError("KS-KMIP-005", text)
    local = caller_at(service.config, server.node.name, local=True)
    try:
        await service.retention.cut(local, end)
    except ProductError as error:
        text = f"{error}; {wanted.to} has rows up to {end.sequence}, which may be there still"
        raise KeysteadError("KS-KMIP-001", text) from None
    return part


async def _write_rows(server: Alone, out: Writer, after: int, last: int) -> TrailEnd:
    while after < last:
        rows = await server.service.core.look(partial(_page, after=after, until=last))
        out.rows(rows)
        after = rows[-1][0]
    return out.finish()


def _page(connection: Any, _: object, *, after: int, until: int) -> Any:
    return audit_trail.raw(connection, after, until, PAGE)


@dataclass(frozen=True)
class Verifying:
    """``files`` in their order. ``folder``: of the server that they are from, which then does not
    run and is asked; None: nobody is."""

    files: tuple[Path, ...]
    folder: Path | None = None
    passphrase_file: Path | None = None


async def verify(wanted: Verifying, record: Callable[[str, dict[str, Any]], None]) -> TrailPart:
    """What the files have together, each a part that begins where the one before it ends.

    KS-KMIP-005 when they do not, a row is not as it was written, or the server was never cut there;
    errors of its folder as of ``cut``.
    """
    parts = [(file, read(file)) for file in wanted.files]
    for (_, before), (file, part) in pairwise(parts):
        check_follows(file, part, before)
    if wanted.folder is not None:
        async with open_server(wanted.folder, wanted.passphrase_file, record) as server:
            known = await server.service.core.look(trail_cuts.all_of)
        ends = [TrailEnd(one.sequence, one.digest) for one in (trail_cuts.START, *known)]
        for file, part in parts:
            check_cut(file, part, ends)
    (_, first), (_, last) = parts[0], parts[-1]
    return TrailPart(
        first=first.first,
        last=last.last,
        since=first.since,
        until=last.until,
        before=first.before,
        digest=last.digest,
    )
