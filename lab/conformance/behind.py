"""What plays look at and do behind the backs of a lab's nodes (``Lab.beside``)."""

from __future__ import annotations

import hashlib
from pathlib import Path

import msgspec

from lab.core import LabCore
from lab.forensics.forensics import Forensics
from lab.scan.files import place_of
from lab.scan.search import SearchedPlace, search
from lab.scan.watch import Found, SecretWatch
from protocol.subjects import parse_link
from protocol.terms import NodeName
from services.esxi.configuration.archive import FILE
from services.esxi.configuration.image import read_protection


class Keys(msgspec.Struct, frozen=True):
    """Persisted keys that were found: how many ``archived`` ones an administrator's recovery key
    opens, and the paths of places in which any of them lies in clear."""

    archived: int
    clear: tuple[str, ...]


class SealedKey(msgspec.Struct, frozen=True):
    """SHA-256 of what a host's TPM has sealed, and the bytes of the archive that it is in."""

    digest: bytes
    archive: bytes


async def search_disk(lab: LabCore, node: str) -> Found:
    """Look for every secret on everything that ``node`` has on its disk, its database too, as it
    was written and as it is synced."""
    return _watch(lab).search_places(await _disk(lab, node))


async def search_bus(lab: LabCore) -> Found:
    """Look for every secret in every message that was said since the lab was begun."""
    return _watch(lab).search_places(_watch(lab).wire)


async def texts_on_disk(lab: LabCore, node: str, texts: list[str]) -> list[str]:
    """Those of these texts that lie anywhere on the disk of ``node``."""
    return _find_texts(texts, await _disk(lab, node))


async def texts_on_bus(lab: LabCore, texts: list[str]) -> list[str]:
    """Those of these texts that were in any message."""
    return _find_texts(texts, _watch(lab).wire)


async def keys_on(lab: LabCore, host: str) -> Keys:
    """The persisted keys of a host that runs: in its archive, and elsewhere on its disk."""
    found = await Forensics(lab).keys_on(NodeName(host))
    archived = {id for path, ids in found.items() if FILE in path for id in ids or ()}
    clear = [path for path, ids in found.items() if FILE not in path and ids]
    return Keys(len(archived), tuple(clear))


async def read_sealed_key(lab: LabCore, host: str) -> SealedKey:
    """What lies on the host's disk; nobody is asked."""
    archive = await lab.disk_file(NodeName(host), FILE)
    sealed = read_protection(archive).sealed
    raw = b"" if sealed is None else sealed.private + sealed.public
    return SealedKey(hashlib.sha256(raw).digest(), archive)


async def put_archive(lab: LabCore, host: str, archive: bytes) -> None:
    """Let a host that is off find this archive at its next boot."""
    await lab.put_disk_file(NodeName(host), FILE, archive)


async def count_sent_by(lab: LabCore, host: str) -> int:
    """How many messages a node has sent to others since the lab was begun."""
    links = (parse_link(place.name) for place in _watch(lab).wire)
    return sum(link is not None and link.src == host != link.dst for link in links)


async def list_reasons(lab: LabCore, kind: str, since: float) -> list[str]:
    """The reasons in log lines of that kind, of all nodes, since then (lab seconds)."""
    lines = await lab.log_lines(kind, since)
    return [f"{line.fields.get('status', '')} {line.fields.get('reason', '')}" for line in lines]


async def now_s(lab: LabCore) -> float:
    """Lab seconds."""
    return lab.monotonic()


def _watch(lab: LabCore) -> SecretWatch:
    if lab.watch is None:
        raise ValueError("this lab was not made to be searched")
    return lab.watch


async def _disk(lab: LabCore, node: str) -> list[SearchedPlace]:
    """Everything of that node's disk, by the sorts of places that exemptions know."""
    found = []
    for path, data in await lab.at_rest():
        real = path.startswith("nodes/")
        kind = "database" if "/databases/" in path else "disk"
        place = place_of(Path(path), data) if real else SearchedPlace(kind, path, data)
        if place.name.startswith(f"{node}/"):
            found.append(place)
    return found


def _find_texts(texts: list[str], places: list[SearchedPlace]) -> list[str]:
    wanted = {text.encode(): text for text in texts}
    met = {find.secret for find in search(wanted, places)}
    return [text for text in texts if text in met]
