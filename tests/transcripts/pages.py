"""A report's page as text: what a person reads on it, from its first line to its last."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from itertools import groupby

_SKIPPED = frozenset({"script", "style"})
_CELLS = frozenset({"td", "th"})
_INLINE = frozenset(
    {"a", "b", "code", "em", "i", "span", "strong", "sub", "sup", "tspan", "small", "abbr"}
)


class _Text(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.parts: list[str] = []
        self.ids: set[str] = set()
        self.links: set[str] = set()
        self._skipping = 0

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        given = dict(attributes)
        if (name := given.get("id")) is not None:
            self.ids.add(name)
        if (link := given.get("href") or "").startswith("#"):
            self.links.add(link[1:])
        self._skipping += tag in _SKIPPED
        if tag in _CELLS:
            self.parts.append(" | ")
        elif tag not in _INLINE:
            self.parts.append("\n")

    def handle_endtag(self, tag: str) -> None:
        self._skipping -= tag in _SKIPPED
        if tag not in _INLINE and tag not in _CELLS:
            self.parts.append("\n")

    def handle_data(self, data: str) -> None:
        if not self._skipping:
            self.parts.append(re.sub(r"\s+", " ", data))


def text_of(page: str) -> str:
    """Its text, a block or a row of a table in a line; every link within the page leads somewhere.

    Drawings are told by the words in them.
    """
    read = _Text()
    read.feed(page)
    read.close()
    assert read.links <= read.ids, read.links - read.ids
    rows = (" ".join(row.split()) for row in "".join(read.parts).split("\n"))
    told = [(row, len(list(same))) for row, same in groupby(row for row in rows if row)]
    return "".join(f"{row}{f' ({times} times)' if times > 1 else ''}\n" for row, times in told)
