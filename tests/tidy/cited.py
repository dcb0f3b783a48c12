"""Ids of rules that texts cite: ``LOCK-01``, ``B8``, ``C4``, ``A21``, ``R26``, ``F5a``, ``E12``.

Families of several letters cannot be anything else. Those of one letter are told from linter codes
and names of algorithms by their number of digits.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable

from tests.tidy.tree import Source

_FAMILIES = (
    "KEY BOOT HEM PRIV LOCK STD REK DEL DUMP TA ATT KPS HLT NKP CFG POL REC DUR UPG KP VTPM VSAN"
    " MOB HA CLN REG SC"
).split()
_ID = re.compile(
    rf"(?<![\w-])(?:(?:{'|'.join(_FAMILIES)})-\d\d[a-z]?"
    r"|B\d|A\d\d|C\d{1,2}|R\d{1,2}|F\d[a-z]?|E\d{1,2})(?!\w)"
)
_WRITTEN = (".py", ".md", ".yaml", ".toml")


def cited(source: Source) -> Iterable[tuple[int, str]]:
    """The ids that this file cites, with their lines. What programs write cites nothing."""
    if source.path.endswith(_WRITTEN) or source.shell:
        for number, line in enumerate(source.lines, 1):
            for found in _ID.findall(line):
                yield number, found


def unexplained(sources: Iterable[Source], known: Collection[str]) -> list[str]:
    """Findings for ids without a text."""
    return [
        source.at(line, f"nothing explains {id}")
        for source in sources
        for line, id in cited(source)
        if id not in known
    ]
