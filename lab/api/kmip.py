"""Commands about KMIP that need no lab."""

from __future__ import annotations

import asyncio
from pathlib import Path

from lab.api.answers.kmip import KmipCases
from lab.errors import KeysteadError
from lab.kmip.cases import play
from lab.topology.course import Report


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
