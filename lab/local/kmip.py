"""Commands about KMIP that need no lab."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from lab.building.course import Report
from lab.kmip import trails
from lab.kmip.cases import play
from lab.kmip.server import KmipServerSettings, Reseal, ServingNotice, reseal
from lab.kmip.server import serve as run
from lab.kmip.trails import Cutting, TrailPart, Verifying
from lab.schema.answers.kmip import KmipCases, KmipRoot, KmipServer, KmipTrail
from lab.schema.errors import KeysteadError


def cases(folder: Path, report: Report) -> KmipCases:
    """Play every conversation below ``folder``; KS-USE-003 when there is none."""
    if not folder.is_dir():
        raise KeysteadError("KS-USE-003", f"{folder}: there is no such folder")
    played = asyncio.run(play(folder, report))
    if not played:
        raise KeysteadError("KS-USE-003", f"{folder}: there is no *.xml in it or below")

    def count(result: str) -> int:
        return sum(one.result == result for one in played)

    return KmipCases(
        passed=count("passed"), failed=count("failed"), skipped=count("skipped"), cases=played
    )


def serve(
    settings: KmipServerSettings,
    ready: Callable[[KmipServer], None],
    record: Callable[[str, dict[str, Any]], None],
) -> None:
    """Serve until somebody ends it; ``ready`` is told of it once. Errors as ``server.serve``."""
    asyncio.run(run(settings, lambda serving: ready(_server(serving)), record))


def set_root(wanted: Reseal, record: Callable[[str, dict[str, Any]], None]) -> KmipRoot:
    """Have another root seal the keys of a server that does not run. Errors as ``reseal``."""
    now = asyncio.run(reseal(wanted, record))
    return KmipRoot(folder=str(wanted.folder), root=now.root.value, kek=now.kek)


def cut_trail(wanted: Cutting, record: Callable[[str, dict[str, Any]], None]) -> KmipTrail:
    """Have old rows of a trail in a file, and no more at its server. Errors as ``trails.cut``."""
    return _trail(asyncio.run(trails.cut(wanted, record)))


def verify_trail(wanted: Verifying, record: Callable[[str, dict[str, Any]], None]) -> KmipTrail:
    """What files have together. Errors as ``trails.verify``."""
    return _trail(asyncio.run(trails.verify(wanted, record)))


def _trail(part: TrailPart | None) -> KmipTrail:
    if part is None:
        return KmipTrail(rows=0, first=0, last=0, since=0.0, until=0.0, digest="")
    return KmipTrail(
        rows=part.last - part.first + 1,
        first=part.first,
        last=part.last,
        since=part.since,
        until=part.until,
        digest=part.digest,
    )


def _server(serving: ServingNotice) -> KmipServer:
    files = serving.files
    return KmipServer(
        address=serving.address,
        folder=str(serving.folder),
        certificate=str(files.certificate),
        authority=str(files.authority),
        client_certificate=str(files.client or ""),
        client_key=str(files.client_key or ""),
        clients=serving.clients,
        pid=os.getpid(),
    )
