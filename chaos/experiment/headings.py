"""What an experiment file says of itself, without reading all of it: for a list of many files."""

from __future__ import annotations

import re
from itertools import takewhile
from typing import Final

import msgspec

from chaos.yaml_file import read_yaml

_BODY: Final = re.compile(r"^(?:workload|hypothesis|guards|schedule):", re.MULTILINE)


class FileHeading(msgspec.Struct, frozen=True, kw_only=True):
    """``comment`` is what stands before the first value."""

    title: str
    comment: str

    def speaks_of(self, word: str) -> bool:
        """Whether the word occurs in title or comment, in capitals or not."""
        return word.lower() in f"{self.title}\n{self.comment}".lower()


def read_heading(text: str) -> FileHeading:
    """The head of a file with this text; empty where it has none."""
    body = _BODY.search(text)
    head = text[: body.start()] if body else text
    data = read_yaml(head).data
    title = data.get("title", "") if isinstance(data, dict) else ""
    comment = " ".join(line.lstrip("# ") for line in takewhile(_is_comment, head.splitlines()))
    return FileHeading(title=str(title), comment=comment)


def _is_comment(line: str) -> bool:
    return line.startswith("#")
