"""The sorts of places that a lab of real processes leaves bytes in."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final

from lab.scan.search import SearchedPlace

BUILD: Final = "build-bus.msgpack"
"""The file with what was said on the bus while the lab was built."""
TPM: Final = "tpm"
"""The folder that is not looked at: a TPM's own memory, which the lab cannot encrypt for it."""


def files_of(folder: Path) -> Iterator[SearchedPlace]:
    """Every file of a lab's folder that is still there when it is read."""
    for path in sorted(folder.rglob("*")):
        where = path.relative_to(folder)
        with suppress(FileNotFoundError):  # replaced under our eyes
            if path.is_file() and not path.is_symlink() and where.parts[0] != TPM:
                yield place_of(where, path.read_bytes())


def place_of(where: Path, data: bytes) -> SearchedPlace:
    """A file of a lab's folder by its sort of place; ``where`` it lies in that folder."""
    match where.parts:
        case ("nodes", node, "disk", "databases", *rest):
            return SearchedPlace("database", "/".join((node, *rest)), data)
        case ("nodes", node, "disk", "copies", *rest):
            return SearchedPlace("disk", "/".join(("copies", node, *rest)), data)
        case ("nodes", node, *rest):
            return SearchedPlace("disk", "/".join((node, *rest)), data)
        case ("arrays", *rest):
            return SearchedPlace("datastore", "/".join(rest), data)
        case ("logs", *rest):
            return SearchedPlace("log", "/".join(rest), data)
        case (("broker-data" | "broker-control") as broker, *rest):
            return SearchedPlace("broker", "/".join((broker, *rest)), data)
        case (file,) if file == BUILD:
            return SearchedPlace("bus", file, data)
        case ("identity", *rest):
            return SearchedPlace("identity", "/".join(rest), data)
        case _:
            return SearchedPlace("other", str(where), data)
