"""The audit trail of a server without a lab that does not run: old rows go into a file that proves
itself, so that whoever has it needs no key server.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from io import BufferedReader, FileIO
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

import msgspec

from lab.kmip.alone import Alone
from lab.kmip.server import open_server
from lab.schema.errors import KeysteadError
from protocol.errors import ProductError
from services.kms.access.authorization import caller_at
from services.kms.audit import audit_trail
from services.kms.audit.audit_trail import TrailEnd
from services.runtime.real.files import open_regular

LINE: Final = 1 << 20
"""Bytes of a line at most."""

KIND: Final = "keystead audit trail 1"
FIELDS: Final = (
    *("sequence", "at", "who", "scope", "operation", "key_id", "result", "times", "digest"),
)


class Begin(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The first line."""

    kind: str
    fields: tuple[str, ...]
    after: int
    digest: str


class End(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The last line."""

    rows: int
    last: int
    digest: str


class TrailPart(msgspec.Struct, frozen=True, kw_only=True):
    """A part of a trail: its first row and its last one, with the times of both (Unix seconds)."""

    first: int
    last: int
    since: float
    until: float
    before: str
    digest: str


_begin = msgspec.json.Decoder(Begin).decode
_end = msgspec.json.Decoder(End).decode
_row = msgspec.json.Decoder(tuple[int, float, str, str, str, str, str, int, str]).decode
_encode = msgspec.json.Encoder().encode


class Writer:
    """Writes a part into a file that is not there yet; ``done`` has it there, whole and durable,
    and nothing is there before. KS-USE-003 for a file that cannot be."""

    def __init__(self, file: Path, after: TrailEnd) -> None:
        self._file, self._draft = file, file.parent / f".{file.name}.part"
        self._end, self._rows = after, 0
        with _convert_errors(file):
            if os.path.lexists(file):
                raise _file_error(file, "it is there already: name a file that is not")
            self._draft.unlink(missing_ok=True)
            self._out = _new(self._draft)
        try:
            self._line(Begin(KIND, FIELDS, after.sequence, after.digest.hex()))
        except KeysteadError:
            self.close()
            raise

    def rows(self, rows: Sequence[Sequence[Any]]) -> None:
        """Have these behind it; KS-KMIP-003 when they do not follow it."""
        for *row, digest in rows:
            text = f"audit row {self._end.sequence + 1} was altered or removed"
            self._end = _check_link(self._end, row, digest, KeysteadError("KS-KMIP-003", text))
            self._line([*row, digest.hex()])
            self._rows += 1

    def finish(self) -> TrailEnd:
        """Where it ends."""
        self._line(End(self._rows, self._end.sequence, self._end.digest.hex()))
        with _convert_errors(self._file):
            os.fsync(self._out)
            self._take_name()
            folder = os.open(self._file.parent, os.O_RDONLY)
            os.fsync(folder)
            os.close(folder)
        return self._end

    def _take_name(self) -> None:
        """In one step, and it takes no other file's place; in two where no file has two names."""
        try:
            os.link(self._draft, self._file)
        except FileExistsError:
            raise
        except OSError:
            os.close(_new(self._file))
            os.replace(self._draft, self._file)
        else:
            os.unlink(self._draft)

    def close(self) -> None:
        """Leave no draft behind."""
        os.close(self._out)
        self._draft.unlink(missing_ok=True)

    def _line(self, value: object) -> None:
        data = _encode(value) + b"\n"
        with _convert_errors(self._file):
            while data:
                data = data[os.write(self._out, data) :]


@contextmanager
def _convert_errors(file: Path) -> Iterator[None]:
    """What the system refuses of a file is told with its name."""
    try:
        yield
    except OSError as error:
        raise _file_error(file, error.strerror or str(error)) from None


def _new(place: Path) -> int:
    return os.open(place, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)


def read(file: Path) -> TrailPart:
    """The part in a file, each row of it checked; KS-USE-003 for a file that cannot be read or is
    none, KS-KMIP-005 for one that is not as it was written."""
    with _convert_errors(file), BufferedReader(_regular(file)) as opened:
        return _part(file, iter(partial(opened.readline, LINE), b""))


def _regular(file: Path) -> FileIO:
    try:
        return open_regular(file)
    except ValueError as error:
        raise _file_error(file, str(error)) from None


def _part(file: Path, lines: Iterator[bytes]) -> TrailPart:
    try:
        begin = _begin(next(lines, b""))
    except msgspec.DecodeError:
        raise _file_error(file, "that is no audit trail of a key server") from None
    if begin.kind != KIND or begin.fields != FIELDS:
        raise _file_error(file, f"that is no {KIND}")
    try:
        end = TrailEnd(begin.after, bytes.fromhex(begin.digest))
        since = until = 0.0
        rows, line = 0, b""
        for line in lines:
            if line.startswith(b"{"):
                break
            *fields, digest = _row(line)
            row: Sequence[Any] = fields
            wrong = _tamper_error(file, f"row {end.sequence + 1} was altered or removed")
            end = _check_link(end, row, bytes.fromhex(digest), wrong)
            since, until, rows = since if rows else row[1], row[1], rows + 1
        if _end(line) != End(rows, end.sequence, end.digest.hex()) or next(lines, None) is not None:
            raise _tamper_error(file, f"it does not end at row {end.sequence}")
    except (msgspec.DecodeError, ValueError):
        raise _tamper_error(file, f"what follows row {end.sequence} is no row of it") from None
    return TrailPart(
        first=begin.after + 1,
        last=end.sequence,
        since=since,
        until=until,
        before=begin.digest,
        digest=end.digest.hex(),
    )


def _check_link(end: TrailEnd, row: Sequence[Any], digest: bytes, wrong: KeysteadError) -> TrailEnd:
    if row[0] != end.sequence + 1 or digest != audit_trail.link(end.digest, row):
        raise wrong
    return TrailEnd(row[0], digest)


def check_follows(file: Path, part: TrailPart, before: TrailPart) -> None:
    """KS-KMIP-005 unless the part in ``file`` begins where ``before`` ends."""
    if (part.first, part.before) != (before.last + 1, before.digest):
        raise _tamper_error(
            file, f"it does not begin behind row {before.last} of the file before it"
        )


def check_cut(file: Path, part: TrailPart, ends: Collection[TrailEnd]) -> None:
    """KS-KMIP-005 unless the part in ``file`` is from one of these ends of a trail to another."""
    after = TrailEnd(part.first - 1, bytes.fromhex(part.before))
    end = TrailEnd(part.last, bytes.fromhex(part.digest))
    if after not in ends or end not in ends:
        rows = f"rows {part.first} to {part.last} as they are here"
        raise _tamper_error(file, f"{rows} were never cut from the trail of that server")


def _file_error(file: Path, why: str) -> KeysteadError:
    return KeysteadError("KS-USE-003", f"{file}: {why}")


def _tamper_error(file: Path, why: str) -> KeysteadError:
    return KeysteadError("KS-KMIP-005", f"{file}: {why}")


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
    before = await service.core.look(audit_trail.last_cut)
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
            known = await server.service.core.look(audit_trail.list_cuts)
        ends = [TrailEnd(one.sequence, one.digest) for one in (audit_trail.START, *known)]
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
