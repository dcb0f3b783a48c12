"""Transcripts: command lines as a person types them, and all that each of them says.

A transcript is a text file that is played and compared as a whole (``test_transcripts``)::

    # A remark.
    @ lab default hosts=2
    $ keystead get vms
      VM     HOST      POWER      ...
    $ keystead vm on vm-09
    ! keystead: error KS-USE-002: there is no VM vm-09; did you mean vm-01?

``$`` begins a command, ``@`` says what happens beside it (``players.Stage``). Two spaces stand
before standard output, ``!`` before standard error. What follows from another place is left out,
and compared with it (``shortened``): a fix and an exit code that are those of the error's
explanation, or 0; what a document has as the last one of its kind; a text printed already. A YAML
document is written as the same one in JSON. People write the lines with ``$``, ``@`` and ``#``; all
others are written by

    ./keystead test tests/transcripts --snapshot-update

and reviewed as code is: a line that changed without a reason is a defect.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from tests.transcripts.shortened import usual_code

FOLDER = Path(__file__).parent / "played"
OUT, ERR, EXIT = "  ", "! ", "exit "


@dataclass(frozen=True)
class Said:
    """What a command has said, and how it ended."""

    code: int = 0
    out: str = ""
    err: str = ""


class Line(NamedTuple):
    """A line of a transcript that somebody wrote: ``kind`` is ``$``, ``@``, ``#`` or empty."""

    kind: str
    text: str


def read(text: str) -> list[Line]:
    """The lines that were written; those that a play adds are left out."""
    return list(_read(text.splitlines()))


def _read(lines: Sequence[str]) -> Iterator[Line]:
    for line in lines:
        if line[:2] in ("$ ", "@ "):
            yield Line(line[0], line[2:])
        elif line.startswith("#") or not line:
            yield Line(line[:1], line)
        elif not (line.startswith((OUT, "!", EXIT)) or line == OUT.rstrip()):
            raise ValueError(f"not a line of a transcript: {line!r}")


def written(line: Line, said: Said | None = None) -> list[str]:
    """The lines of the file for a line and what came of it."""
    first = f"{line.kind} {line.text}" if line.kind in ("$", "@") else line.text
    if said is None:
        return [first]
    out = [(OUT + row).rstrip() or "  " for row in said.out.splitlines()]
    err = [(ERR + row).rstrip() for row in said.err.splitlines()]
    usual = said.code == usual_code(said.err)
    return [first, *out, *err, *([] if usual else [f"{EXIT}{said.code}"])]


def transcripts() -> dict[str, Path]:
    """Every transcript by its name."""
    return {path.stem: path for path in sorted(FOLDER.glob("*.txt"))}
